"""The table of the ladder: bytes that must move, and what the compiler makes of each rung.

The kernels are compiled for a GPU that need not be here. On a machine with a GPU every rung is also
timed, beside a copy of as many bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from kernels.bench.contenders import Problem
from kernels.bench.run import timed
from kernels.inspection.compile import TARGETS, compile_launch
from kernels.inspection.machine_code import Report
from kernels.ladder.rungs import RUNGS, Rung

HEAD = (
    "rung",
    "reads, writes",
    "bytes",
    "by hand",
    "compiled",
    "no slow path",
    "registers",
    "spills",
    "stack",
)
TIMED_HEAD = ("us", "GB/s", "of a copy")
SHAPE = (1024, 4, 64, 64)  # 64 MiB of float32, far more than a GPU's caches hold


@dataclass(frozen=True)
class Speed:
    """The time of a rung on this GPU, and of a copy that moves as many bytes."""

    microseconds: float
    gigabytes_per_second: float
    of_a_copy: float


def reports(target: str, dtype: torch.dtype = torch.float32) -> Iterator[tuple[Rung, Report]]:
    """Each rung with what is in its machine code for `target`; rung 1 takes float32 alone."""
    for rung in RUNGS:
        if rung.number > 1 or dtype == torch.float32:
            yield rung, compile_launch(rung.launch(dtype), TARGETS[target])


def without_slow_paths(report: Report) -> float:
    """Instructions per element if no slow path of a library function is taken.

    In code for NVIDIA, each slow path contains one backward branch, and the longest slow path is
    the longest stretch that a branch can jump over. This length is subtracted for every slow path,
    so the result is too small if some of them are shorter. Code without backward branches has no
    slow path.
    """
    return (report.instructions - report.repeats * report.skippable) / report.elements


@torch.no_grad()
def speed(rung: Rung, shape: Sequence[int] = SHAPE, device: str = "cuda") -> Speed:
    """Time a rung in float32; the median of repeated runs, recorded as a CUDA graph."""
    problem = Problem.of(shape, torch.float32, device)
    moved = rung.bytes_per_element() * problem.xt.numel()
    source = torch.empty(moved // 2, dtype=torch.uint8, device=device)
    destination = torch.empty_like(source)
    seconds = timed(rung.prepare(problem), device).median / 1e3
    copy_seconds = timed(lambda: destination.copy_(source), device, record=False).median / 1e3
    return Speed(1e6 * seconds, moved / seconds / 1e9, copy_seconds / seconds)


def cells(rung: Rung, report: Report, fast: Speed | None) -> tuple[str, ...]:
    """One row of the table."""
    bound = f"{report.per_element:.1f}" + "+" * (report.repeats > 0)
    numbers = (report.registers, report.spills, report.stack)
    row = (
        f"{rung.number} {rung.adds}",
        f"{rung.reads}, {rung.writes}",
        str(rung.bytes_per_element()),
        rung.by_hand,
        bound,
        f"{without_slow_paths(report):.1f}",
        *map(str, numbers),
    )
    if fast is None:
        return row
    return (
        *row,
        f"{fast.microseconds:.1f}",
        f"{fast.gigabytes_per_second:.0f}",
        f"{fast.of_a_copy:.0%}",
    )


def lines(target: str, found: Iterable[tuple[Rung, Report]], timing: bool = False) -> Iterator[str]:
    """The lines of a Markdown table, each as soon as its rung is compiled."""
    head = (f"rung, {target}", *HEAD[1:], *(TIMED_HEAD if timing else ()))
    longest = max(len(f"{rung.number} {rung.adds}") for rung in RUNGS)
    widths = [max(longest, len(head[0])), *map(len, head[1:])]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(map(str.ljust, row, widths)) + " |"

    yield line(head)
    yield line(["-" * width for width in widths])
    for rung, report in found:
        yield line(cells(rung, report, speed(rung) if timing else None))
