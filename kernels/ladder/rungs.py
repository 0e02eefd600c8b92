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
    call: Callable[[Problem], Any]  # the wrapper, on the tensors of a problem

    def bytes_per_element(self, dtype: torch.dtype = torch.float32) -> int:
        """What must be read and written."""
        return (self.reads + self.writes) * dtype.itemsize

    def launch(self, dtype: torch.dtype = torch.float32) -> Launch:
        """The launch for a batch of 64 x 4 x 64 x 64, recorded on tensors without data."""
        problem = Problem.of((64, 4, 64, 64), dtype, "meta")
        return record_launch(
            self.module, self.kernel, lambda: self.call(problem), problem.xt.numel()
        )


def _mix(problem: Problem) -> Any:
    return rung1_mix.mix(problem.out, W)


def _step(problem: Problem) -> Any:
    return rung2_step.step(problem.xt, problem.out, QUIET_ROW, W, CLIP)


def _noise(problem: Problem) -> Any:
    return rung3_noise.step(problem.xt, problem.out, ROW, W, CLIP, SEED)


def _four_from_one(problem: Problem) -> Any:
    return rung4_four_from_one.step(problem.xt, problem.out, ROW, W, CLIP, SEED)


def _our_normals(problem: Problem) -> Any:
    return rung5_our_normals.step(problem.xt, problem.out, ROW, W, CLIP, SEED, STEP)


def _tiles(problem: Problem) -> Any:
    w = torch.full((len(problem.xt),), W, device=problem.xt.device)
    return rung6_tiles.step(problem.xt, problem.out, ROW, w, CLIP, SEED, STEP, problem.ids)


def _look_back(problem: Problem) -> Any:
    return rung7_look_back.step(
        problem.xt, problem.out, ROW, W, CLIP, SEED, STEP, problem.ids, want_x0=False
    )


def _the_kernel(problem: Problem) -> Any:
    return triton_step.guided_step(
        problem.xt,
        problem.out,
        torch.tensor([ROW], device=problem.xt.device),
        0,
        W,
        seed=SEED,
        sample_ids=problem.ids,
        clip=CLIP,
        want_x0=False,
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
