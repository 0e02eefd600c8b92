"""The eight rungs as a list: what each adds, what it must move, and how it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from kernels import triton_step
from kernels.bench.contenders import CLIP, QUIET_ROW, ROW, SEED, Problem, W
from kernels.inspection.compile import Launch, record_launch
from kernels.ladder import (
    rung1_mix,
    rung2_step,
    rung3_noise,
    rung4_four_from_one,
    rung5_our_normals,
    rung6_tiles,
    rung7_look_back,
)

STEP = 7


@dataclass(frozen=True)
class Rung:
    """One rung; its traffic and instructions are per element of x_t, or of g on rung 1."""

    number: int
    adds: str
    reads: int  # of a tensor of x_t's size
    writes: int
    by_hand: str  # instructions of the formula; a + where functions of a library are not counted
    module: ModuleType
    kernel: str  # the name of the kernel in its module
    # From a problem to the call of the wrapper. It makes what the call needs beforehand, because a
    # CUDA graph cannot record a copy from the host, and what it did record would be timed.
    prepare: Callable[[Problem], Callable[[], Any]]

    def bytes_per_element(self, dtype: torch.dtype = torch.float32) -> int:
        """What must be read and written."""
        return (self.reads + self.writes) * dtype.itemsize

    def launch(self, dtype: torch.dtype = torch.float32) -> Launch:
        """The launch for a batch of 64 x 4 x 64 x 64, recorded on tensors without data."""
        problem = Problem.of((64, 4, 64, 64), dtype, "meta")
        return record_launch(self.module, self.kernel, self.prepare(problem), problem.xt.numel())


def _mix(p: Problem) -> Callable[[], Any]:
    return lambda: rung1_mix.mix(p.out, W)


def _step(p: Problem) -> Callable[[], Any]:
    return lambda: rung2_step.step(p.xt, p.out, QUIET_ROW, W, CLIP)


def _noise(p: Problem) -> Callable[[], Any]:
    return lambda: rung3_noise.step(p.xt, p.out, ROW, W, CLIP, SEED)


def _four_from_one(p: Problem) -> Callable[[], Any]:
    return lambda: rung4_four_from_one.step(p.xt, p.out, ROW, W, CLIP, SEED)


def _our_normals(p: Problem) -> Callable[[], Any]:
    return lambda: rung5_our_normals.step(p.xt, p.out, ROW, W, CLIP, SEED, STEP)


def _tiles(p: Problem) -> Callable[[], Any]:
    w = torch.full((len(p.xt),), W, device=p.xt.device)
    return lambda: rung6_tiles.step(p.xt, p.out, ROW, w, CLIP, SEED, STEP, p.ids)


def _look_back(p: Problem) -> Callable[[], Any]:
    return lambda: rung7_look_back.step(p.xt, p.out, ROW, W, CLIP, SEED, STEP, p.ids, want_x0=False)


def _the_kernel(p: Problem) -> Callable[[], Any]:
    rows = torch.tensor([ROW], device=p.xt.device)
    return lambda: triton_step.guided_step(
        p.xt, p.out, rows, 0, W, seed=SEED, sample_ids=p.ids, clip=CLIP, want_x0=False
    )


RUNGS = (
    Rung(1, "mix", 2, 1, "2.75", rung1_mix, "mix_kernel", _mix),
    Rung(2, "step", 3, 1, "9", rung2_step, "step_kernel", _step),
    Rung(3, "noise", 3, 1, "70+", rung3_noise, "step_kernel", _noise),
    Rung(4, "four from one", 3, 1, "25+", rung4_four_from_one, "step_kernel", _four_from_one),
    Rung(5, "our own normals", 3, 1, "43.5", rung5_our_normals, "step_kernel", _our_normals),
    Rung(6, "tiles", 3, 1, "43.5", rung6_tiles, "step_kernel", _tiles),
    Rung(7, "look back, or do not", 3, 1, "43.5", rung7_look_back, "step_kernel", _look_back),
    Rung(8, "the kernel", 3, 1, "43.5", triton_step, "step_kernel", _the_kernel),
)
