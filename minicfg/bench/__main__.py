"""Run `python -m minicfg.bench`."""

import sys

from kernels.bench import run as kernel_bench
from minicfg.bench.sampler import bench

if __name__ == "__main__":
    sys.exit(
        kernel_bench.main(
            bench,
            program="minicfg.bench",
            description="Time the fused step against torch, then the sampler around it.",
        )
    )
