"""`minicfg bench`: time the kernel, then the sampler with and without a recorded CUDA graph.

`python -m minicfg.bench` does the same from a checkout that is not installed, with only torch,
triton, numpy and tqdm.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from kernels.bench import report
from kernels.bench import run as kernel_bench
from minicfg import solvers
from minicfg.errors import MachineError
from minicfg.io.atomic import check_writable
from minicfg.sampling import sample
from minicfg.schedule import Schedule
from minicfg.unet import UNet


def bench(out: Path, *, cpu: bool) -> int:
    """Print tables, write JSON and a picture into `out`, and return the exit code."""
    if why := kernel_bench.refusal(cpu):
        raise MachineError(why)
    check_writable(out)
    result, measurements = kernel_bench.measure(cpu)
    report.write(out, result, measurements)  # now, in case timing the sampler fails
    if not cpu:
        result["sampler"] = time_sampler("cuda")
        print("\n".join(sampler_lines(result["sampler"])))
    for path in report.write(out, result, measurements):
        print(path)
    return 0


def time_sampler(
    device: str,
    *,
    shape: tuple[int, int, int] = (3, 32, 32),
    batch: int = 16,
    steps: Sequence[int] = (50, 250),
    repeats: int = 5,
) -> dict[str, Any]:
    """Seconds of whole calls of `sample`, with and without recording, and the time of one step.

    The time of a call includes that of recording the graph. So the time of one step is the slope
    between two numbers of steps. Nothing is timed unless both ways give the same images, up to the
    rounding of convolutions that read 10 bits of their inputs.
    """
    torch.manual_seed(0)
    model = UNet(channels=shape[0], num_classes=10).to(device).eval()
    for parameter in model.parameters():
        if not parameter.any():  # an output of 0 would make any two images agree
            torch.nn.init.normal_(parameter, std=0.02)
    y = torch.arange(batch, device=device) % 10
    tables = {n: solvers.ddpm(Schedule.cosine(1000), n) for n in steps}

    def draw(n: int, capture: bool) -> torch.Tensor:
        return sample(model, y, tables[n], shape=shape, w=2.0, seed=7, clip=1.0, capture=capture)

    def seconds(n: int, capture: bool) -> float:
        began = time.perf_counter()
        draw(n, capture).sum().item()  # waits for the GPU
        return time.perf_counter() - began

    apart = float((draw(steps[0], True) - draw(steps[0], False)).abs().max())
    if not apart <= 0.05:  # cuDNN may take another algorithm, and rounds inputs to 2^-11
        raise SystemExit(f"recorded and eager samples differ by {apart:.3g}: not timed")
    found: dict[str, Any] = {"batch": batch, "shape": shape, "steps": list(steps), "apart": apart}
    for way, capture in (("eager", False), ("recorded", True)):
        medians = []
        for n in steps:
            seconds(n, capture)
            medians.append(statistics.median(seconds(n, capture) for _ in range(repeats)))
        found[way] = medians
        found[f"{way}, a step"] = (medians[-1] - medians[0]) / (steps[-1] - steps[0])
    return found


def sampler_lines(found: dict[str, Any]) -> list[str]:
    """The lines to print for the result of `time_sampler`."""
    C, H, W = found["shape"]
    lines = [
        "",
        f"The sampler, {found['batch']} images of {C}x{H}x{W}, the package's UNet in float32; "
        f"recorded and eager samples differ by {found['apart']:.1e}.",
    ]
    for n, eager, recorded in zip(found["steps"], found["eager"], found["recorded"], strict=True):
        lines.append(
            f"{n} steps: eager {eager:.3f} s, recorded {recorded:.3f} s, {eager / recorded:.2f}x"
        )
    eager, recorded = found["eager, a step"], found["recorded, a step"]
    lines.append(
        f"one step: eager {1e3 * eager:.3f} ms, recorded {1e3 * recorded:.3f} ms, "
        f"{eager / recorded:.2f}x"
    )
    return lines
