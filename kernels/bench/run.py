"""How fast the kernel is, beside what else there is: `python -m kernels.bench --out DIR`.

Needs torch, triton and a CUDA device; nothing is installed, it runs from the checkout. Correctness
first: a kernel that is wrong is not timed. Then one step, in float32 and bfloat16, from one image
of 1 x 32 x 32 to tensors of 1 GiB, in each of the ways that `kernels.bench.ways` has.

Every way is recorded as a CUDA graph, as the sampler records its steps, and times are those of a
replay by the GPU's clock, its cache emptied before: the median and the middle 80 %. Launched, small
tensors would tell of the host, which takes longer to launch than the GPU to run (`minicfg bench`
times the sampler both ways). The copy alone is launched: recorded, an H100 did it a fifth slower
where tensors are large.

Without a CUDA device, `--cpu` times the plain torch reference against the nine operations and,
where diffusers is installed, against its schedulers.
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
from kernels.bench.report import Measurement, Timing
from kernels.bench.ways import (
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

NO_GPU = "no CUDA device here: --cpu times the plain torch reference instead"
SIZES = (2**12, 2**16, 2**20, 2**22, 2**24, 2**26, 2**28, 2**30)  # bytes of x_t
CPU_SHAPES = ((16, 1, 8, 8), (128, 1, 8, 8), (16, 3, 32, 32))


def shape_of(nbytes: int, dtype: torch.dtype) -> tuple[int, int, int, int]:
    """A batch of x_t with so many bytes: one small image, or latents of 4 x 64 x 64."""
    numel = nbytes // dtype.itemsize
    return (1, 1, 32, 32) if numel < 2**14 else (numel // 2**14, 4, 64, 64)


def timed(run: Callable[[], object], device: str, record: bool = True) -> Timing:
    """How long `run` takes, by the GPU's clock, recorded or not; or, on the CPU, by the wall's."""
    if device == "cuda":
        from triton.testing import do_bench

        replay = recorded(run).replay if record else run
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


def recorded(run: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """`run` as a graph, after a run that loads and compiles what cannot be while it is recorded."""
    run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph


@torch.no_grad()
def time_gpu(sizes: Sequence[int]) -> Iterator[list[Measurement]]:
    """The measurements of one size and dtype at a time; an empty list where memory was short."""
    for dtype in (torch.float32, torch.bfloat16):
        for nbytes in sizes:
            shape = shape_of(nbytes, dtype)
            found: list[Measurement] = []
            try:
                for way, (passes, run) in contenders(Problem.of(shape, dtype, "cuda")).items():
                    if way.startswith("compiled") and not _runs(run):
                        continue
                    took = timed(run, "cuda", record=way != "copy")
                    found.append(Measurement(str(dtype)[6:], shape, way, passes, took))
            except torch.OutOfMemoryError:
                found = []
            yield found


def _runs(run: Callable[[], object]) -> bool:
    """Whether torch.compile can: what it lacks must not cost the other times."""
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
    """The reference, the nine operations, and diffusers' schedulers where they are installed."""
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
    """Instructions an element of the fused step on this GPU, read from what it compiles."""
    from triton.runtime import driver

    target = driver.active.get_current_target()
    counts: dict[str, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        p = Problem.of((64, 4, 64, 64), dtype, "cuda")
        for given in (False, True):
            counts[f"{str(dtype)[6:]}, fused{', given' * given}"] = counted(p, given, target)
    return counts


def counted(p: Problem, given: bool, target: Any) -> float:
    """The static count of one way to launch; the launch is recorded and not carried out."""
    from kernels import triton_step
    from kernels.inspection import inspect as inspection

    row = torch.tensor([GIVEN_ROW if given else ROW], device=p.xt.device)
    launch = inspection.recorded(
        triton_step, "step_kernel", lambda: p.step(row, given), p.xt.numel()
    )
    found = inspection.inspect(launch, target)
    return found.per_element_without_noise if given else found.per_element


def measure(cpu: bool) -> tuple[dict[str, Any], list[Measurement]]:
    """Check, time, print as it comes; what goes into the JSON file, and its measurements."""
    device = "cpu" if cpu else "cuda"
    if cpu:
        torch.set_num_threads(1)  # two that wait for one another time the machine's other work
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
        except Exception as error:  # a chip the disassembler does not know must not cost the times
            print(f"instructions were not counted: {error}")
    return result | {"measurements": [asdict(m) for m in measurements]}, measurements


def refusal(cpu: bool) -> str | None:
    """Why there is nothing to time here, if so."""
    if cpu:
        return None
    if not torch.cuda.is_available():
        return NO_GPU
    return None if importlib.util.find_spec("triton") else "triton is not installed: no kernel here"


def run(out: Path, *, cpu: bool) -> int:
    """Time, print, and write into `out`; the exit code."""
    out.mkdir(parents=True, exist_ok=True)
    for path in report.write(out, *measure(cpu)):
        print(path)
    return 0


def main(job: Callable[..., int] = run) -> int:
    """Do `job` as the flags say; the exit code, 4 where there is no GPU or no place to write."""
    parser = argparse.ArgumentParser(
        prog="python -m kernels.bench",
        description="Time the fused step against torch's, beside the speed of memory.",
        epilog="example: python -m kernels.bench --out runs/bench",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder to write to")
    parser.add_argument("--cpu", action="store_true", help="time the plain torch reference instead")
    given = parser.parse_args()
    why = refusal(given.cpu)
    try:
        return job(given.out, cpu=given.cpu) if why is None else _fail(why)
    except OSError as error:
        return _fail(str(error))


def _fail(why: str) -> int:
    print(f"kernels.bench: {why}", file=sys.stderr)
    return 4
