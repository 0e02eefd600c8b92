"""The kernel over everything it may be handed: 1,656 cases against float64 NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from kernels import triton_step
from tests.kernels.device import there_and_back

guided_step = there_and_back(triton_step.guided_step)
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
# One element; around a block of noise (4), powers of 2 and the tile (1024); primes between.
SIZES = [
    *(1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19, 24, 29, 31, 32, 33, 48, 63, 64, 65, 97),
    *(127, 128, 129, 191, 255, 256, 257, 383, 509, 511, 512, 513, 769, 1021, 1023, 1024, 1025),
    *(1536, 2047, 2048, 2049),
]
WEIGHTS = [2.0, "each", None, 0.0, -1]
LAYOUTS = ["as it is", "channels-last out", "strided"]
# (abar_t, abar_s) of a step near noise, one between, and the last. The first is the cosine
# schedule's start, where 1 / sqrt(abar_t) is 20,291 and x_0hat, unclipped, is past float16.
STEPS = [(2.4288e-9, 0.01), (0.3, 0.6), (0.99, 1.0)]


def eps_row(abar_t: float, abar_s: float, **columns: float) -> list[float]:
    """(p, q, a, b, c, d, e, m) of a network that puts out eps; DDPM's unless `columns` say else."""
    alpha, left = abar_t / abar_s, 1 - abar_t
    row = dict(
        p=1 / math.sqrt(abar_t),
        q=-math.sqrt(left / abar_t),
        a=math.sqrt(abar_s) * (1 - alpha) / left,
        b=math.sqrt(alpha) * (1 - abar_s) / left,
        c=math.sqrt((1 - alpha) * (1 - abar_s) / left),
        d=0.0,
        e=0.0,
        m=1.0,
    )
    return list((row | columns).values())


def ddim(abar_t: float, abar_s: float, eta: float) -> list[float]:
    c = eta * math.sqrt((1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s))
    b = math.sqrt((1 - abar_s - c * c) / (1 - abar_t))
    return eps_row(abar_t, abar_s, a=math.sqrt(abar_s) - b * math.sqrt(abar_t), b=b, c=c)


def dpmpp_2m(abar_t: float, abar_s: float) -> list[float]:
    b = math.sqrt((1 - abar_s) / (1 - abar_t))
    a = math.sqrt(abar_s) - b * math.sqrt(abar_t)
    return eps_row(abar_t, abar_s, a=1.4 * a, b=b, c=0.0, e=-0.4 * a)


def cfgpp(abar_t: float, abar_s: float) -> list[float]:
    return eps_row(abar_t, abar_s, a=math.sqrt(abar_s), b=0.0, c=0.0, d=math.sqrt(1 - abar_s))


def algorithm_2(abar_t: float, abar_s: float) -> list[float]:
    """The paper's: standard deviation between the posterior's and the forward step's, v = 0.3."""
    forward, left = 1 - abar_t / abar_s, (1 - abar_s) / (1 - abar_t)
    return eps_row(abar_t, abar_s, c=math.sqrt((forward * left) ** 0.7 * forward**0.3))


def v_prediction(abar_t: float, abar_s: float) -> list[float]:
    return eps_row(abar_t, abar_s, p=math.sqrt(abar_t), q=-math.sqrt(1 - abar_t))


SOLVERS: dict[str, Callable[[float, float], list[float]]] = {
    "ddpm": eps_row,
    "ddim": lambda t, s: ddim(t, s, 0.0),
    "ddim of eta 0.7": lambda t, s: ddim(t, s, 0.7),
    "dpmpp_2m": dpmpp_2m,
    "cfgpp": cfgpp,
    "algorithm 2 on v": lambda t, s: [*v_prediction(t, s)[:4], *algorithm_2(t, s)[4:]],
    "ddpm on x0, guidance halved": lambda t, s: eps_row(t, s, p=0.0, q=1.0, m=0.5),
    "everything at once": lambda t, s: eps_row(t, s, d=0.3, e=-0.2, m=0.7),
}


@dataclass(frozen=True)
class Case:
    dtype: torch.dtype
    n: int
    solver: str
    w: float | str | None
    layout: str
    k: int
    clip: float

    def arguments(self, make: Callable[..., dict]) -> dict:
        B = 1 if self.n > 512 else 1 + (self.n + self.k) % 3
        args = make((B, *shape_of(self.n)), self.dtype, self.w, clip=self.clip, seed=self.n)
        rows = torch.tensor([SOLVERS[self.solver](*step) for step in STEPS], dtype=torch.float64)
        args |= dict(rows=rows, k=self.k)
        if self.layout == "channels-last out":
            args["out"] = channels_last(args["out"])
        if self.layout == "strided":
            args |= {name: strided(v) for name, v in args.items() if isinstance(v, Tensor)}
        return args


def shape_of(n: int) -> tuple[int, int]:
    """(C, pixels), several channels where n has divisors."""
    C = next((c for c in (3, 4, 2, 5, 7) if n % c == 0 and n > c), 1)
    return C, n // C


def channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def strided(x: Tensor) -> Tensor:
    """The same numbers, and others between them in memory."""
    return torch.stack([x, x + 1], dim=-1)[..., 0]


def cases() -> Iterator[Case]:
    """Every dtype and size 12 times, while options take turns of 8, 5, 3, and so on.

    120 cases in a row hold every solver with every w and every layout, 360 with every row.
    """
    turn = 0
    for dtype in DTYPES:
        for n in SIZES:
            for _ in range(12):
                turn += 1
                solver, w = list(SOLVERS)[turn % 8], WEIGHTS[turn % 5]
                layout, k, clip = LAYOUTS[turn % 3], turn // 120 % 3, (math.inf, 1.0)[turn // 7 % 2]
                yield Case(dtype, n, solver, w, layout, k, clip)


CASES = list(cases())


def test_the_cases_are_many_and_mixed() -> None:
    assert len(SIZES) >= 40 and len(CASES) == len(set(CASES)) >= 1500
    for names in (("solver", "w", "layout"), ("dtype", "n", "layout"), ("dtype", "solver", "k")):
        seen = {tuple(str(getattr(case, name)) for name in names) for case in CASES}
        every = math.prod(len({str(getattr(case, name)) for case in CASES}) for name in names)
        assert len(seen) == every, names
    used = torch.tensor([solver(0.3, 0.6) for solver in SOLVERS.values()])
    assert all(len(column.unique()) > 1 for column in used.T)  # each at several values


# No option takes turns of a multiple of 23, so that every part has every value of each.
PARTS = 23


@pytest.mark.slow
@pytest.mark.exhaustive(one_in=4)
@pytest.mark.parametrize("part", range(PARTS))
def test_case(part: int, case: Callable, numpy_step, assert_exact) -> None:
    for each in CASES[part::PARTS]:
        args = each.arguments(case)
        with np.errstate(over="ignore"):  # an x0hat past float16 becomes infinite
            got = guided_step(**args)
        assert_exact(got, numpy_step(**args), str(each))
