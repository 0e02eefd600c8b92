"""Time the fused kernel against torch: `python -m kernels.bench --out DIR`.

The benchmark needs torch, triton and a CUDA device, and runs from a checkout that is not installed.
It checks first that the kernel is right. Then it times one step, in float32 and bfloat16, for
tensors from one image of 1 x 32 x 32 to 1 GiB, in each of the ways of `kernels.bench.contenders`.

Every way is recorded as a CUDA graph, as the sampler records its steps. A time is that of a replay
by the GPU's clock, after its cache was emptied; the table shows the median and the middle 80 %.
Without recording, the time of a small tensor would be the time that the host takes to launch
(`minicfg bench` times the sampler both ways). Only the copy is launched and not recorded, because
on an H100 a recorded copy of a large tensor took a fifth longer.

Without a CUDA device, `--cpu` times the plain torch reference against the nine operations and, if
diffusers is installed, against its schedulers.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch

from kernels.bench import report
from kernels.bench.contenders import (
    CLIP,
    GIVEN_ROW,
    QUIET_ROW,
    ROW,
    Problem,
    W,
    check,
    contenders,
    diffusers,
    plain_step_own,
)
from kernels.bench.report import Measurement, Timing

NO_GPU = "there is no CUDA device here: --cpu times the plain torch reference instead"
SIZES = (2**12, 2**16, 2**20, 2**22, 2**24, 2**26, 2**28, 2**30)  # bytes of x_t
CPU_SHAPES = ((16, 1, 8, 8), (128, 1, 8, 8), (16, 3, 32, 32))


def shape_of(nbytes: int, dtype: torch.dtype) -> tuple[int, int, int, int]:
    """The shape of an x_t of `nbytes`: one small image, or a batch of latents of 4 x 64 x 64."""
    numel = nbytes // dtype.itemsize
    return (1, 1, 32, 32) if numel < 2**14 else (numel // 2**14, 4, 64, 64)


def timed(run: Callable[[], object], device: str, record: bool = True) -> Timing:
    """How long `run` takes, by the GPU's clock, recorded or not; on the CPU by the wall clock."""
    if device == "cuda":
        from triton.testing import do_bench

        replay = record_graph(run).replay if record else run
        median, low, high = cast(
            list[float], do_bench(replay, warmup=25, rep=200, quantiles=[0.5, 0.1, 0.9])
        )
        return Timing(median, low, high)
    run()
    seconds: list[float] = []
    while len(seconds) < 9 or (sum(seconds) < 0.5 and len(seconds) < 1000):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    low, median, high = torch.tensor(seconds).quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()
    return Timing(1e3 * median, 1e3 * low, 1e3 * high)


def record_graph(run: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """`run` as a CUDA graph. A first run loads and compiles what recording does not allow."""
    run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph


@torch.no_grad()
def time_gpu(sizes: Sequence[int]) -> Iterator[list[Measurement]]:
    """The measurements of one size and dtype at a time; an empty list if memory is too small."""
    for dtype in (torch.float32, torch.bfloat16):
        for nbytes in sizes:
            shape = shape_of(nbytes, dtype)
            found: list[Measurement] = []
            try:
                for way, (passes, run) in contenders(Problem.of(shape, dtype, "cuda")).items():
                    if way.startswith("compiled") and not _compiles(run):
                        continue
                    took = timed(run, "cuda", record=way != "copy")
                    found.append(Measurement(str(dtype)[6:], shape, way, passes, took))
            except torch.OutOfMemoryError:
                found = []
            yield found


def _compiles(run: Callable[[], object]) -> bool:
    """Whether torch.compile succeeds; if it does not, the other ways are still timed."""
    try:
        run()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        print(f"torch.compile failed: {str(error).splitlines()[:1]}", file=sys.stderr)
        return False
    return True


@torch.no_grad()
def time_cpu(shapes: Sequence[Sequence[int]]) -> Iterator[list[Measurement]]:
    """The reference, the nine operations, and the schedulers of diffusers if it is installed."""
    row, quiet = (torch.tensor([r], dtype=torch.float64) for r in (ROW, QUIET_ROW))
    for shape in shapes:
        p = Problem.of(shape, torch.float32, "cpu")
        ways: dict[str, Callable[[], object]] = {
            "eager": lambda p=p: plain_step_own(p.xt, p.out),
            "reference": lambda p=p: p.step(row),
            "reference, c = 0": lambda p=p: p.step(quiet),
        }
        if importlib.util.find_spec("diffusers"):
            ways |= {"diffusers": diffusers("DDPM", p), "diffusers, c = 0": diffusers("DDIM", p)}
        yield [
            Measurement("float32", tuple(shape), way, 0, timed(run, "cpu"))
            for way, run in ways.items()
        ]


def instructions() -> dict[str, float]:
    """Instructions per element of the fused step on this GPU, from its machine code."""
    from triton.runtime import driver

    target = driver.active.get_current_target()
    counts: dict[str, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        p = Problem.of((64, 4, 64, 64), dtype, "cuda")
        for given in (False, True):
            counts[f"{str(dtype)[6:]}, fused{', given' * given}"] = instructions_per_element(
                p, given, target
            )
    return counts


def instructions_per_element(p: Problem, given: bool, target: Any) -> float:
    """The static count for one way to launch; the launch is recorded and not executed."""
    from kernels import triton_step
    from kernels.inspection.compile import compile_launch, record_launch

    row = torch.tensor([GIVEN_ROW if given else ROW], device=p.xt.device)
    launch = record_launch(triton_step, "step_kernel", lambda: p.step(row, given), p.xt.numel())
    found = compile_launch(launch, target)
    return found.per_element_without_noise if given else found.per_element


def measure(cpu: bool) -> tuple[dict[str, Any], list[Measurement]]:
    """Check and time the ways, and print a table; return what the JSON file has, and the times."""
    device = "cpu" if cpu else "cuda"
    if cpu:
        torch.set_num_threads(1)  # several threads would also measure the machine's other work
    about = report.machine(device)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    errors = check(device)
    print(
        "correct: error over what is allowed,", ", ".join(f"{k} {v:.2f}" for k, v in errors.items())
    )
    print()
    measurements: list[Measurement] = []
    for found in time_cpu(CPU_SHAPES) if cpu else time_gpu(SIZES):
        for line in report.lines(found, first=not measurements):
            print(line, flush=True)
        measurements += found
    result: dict[str, Any] = {"machine": about, "errors": errors, "row": ROW, "w": W, "clip": CLIP}
    if not cpu:
        try:
            result["instructions"] = instructions()
        except (
            Exception
        ) as error:  # the times count even if the disassembler does not know the chip
            print(f"instructions were not counted: {error}")
    return result | {"measurements": [asdict(m) for m in measurements]}, measurements


def refusal(cpu: bool) -> str | None:
    """The reason why the benchmark cannot run here, or None."""
    if cpu:
        return None
    if not torch.cuda.is_available():
        return NO_GPU
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed, so there is no kernel to time: pip install triton"
    return None


def run(out: Path, *, cpu: bool) -> int:
    """Time, print, write into `out`, and return the exit code."""
    out.mkdir(parents=True, exist_ok=True)
    for path in report.write(out, *measure(cpu)):
        print(path)
    return 0


def main(
    job: Callable[..., int] = run,
    *,
    program: str = "kernels.bench",
    description: str = "Time the fused step against torch, and against the speed of memory.",
) -> int:
    """Parse the flags and run `job(out, cpu=...)`.

    `python -m minicfg.bench` passes a job, a name and a description of its own. Returns the exit
    code, which is 4 if there is no GPU or if `out` cannot be written to.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        epilog=f"example: python -m {program} --out runs/bench",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench"), help="folder to write to (%(default)s)"
    )
    parser.add_argument(
        "--cpu", action="store_true", help="time the plain torch reference, without a GPU"
    )
    given = parser.parse_args()
    why = refusal(given.cpu)
    try:
        if why is None:
            return job(given.out, cpu=given.cpu)
    except OSError as error:
        why = str(error)
    print(f"{program}: {why}", file=sys.stderr)
    return 4
