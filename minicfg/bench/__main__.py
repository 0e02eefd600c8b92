"""`python -m minicfg.bench`."""

import sys

from kernels.bench import run as kernel_bench
from minicfg.bench.sampler import bench

if __name__ == "__main__":
    sys.exit(kernel_bench.main(bench))
