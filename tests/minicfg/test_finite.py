"""No schedule, solver, number of steps, unit, precision or weight yields what is not finite.

A cell is a schedule, T, steps, solver, prediction, a precision of the network and a weight: 53,760
of them, each refused with the documented error or finite in all rows of its table, both singular
ends (t = 1, t = T) included. Of each the first row is taken, the last and the middle one; a test
below takes every t. The chain holds float32, whatever the network computes in; where a caller holds
float16 instead, clipping keeps it in range.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch

from kernels import guided_step
from minicfg import Schedule, solvers
from minicfg.errors import UsageError
from minicfg.solvers import Prediction, Table

SCHEDULES: dict[str, Callable[[int], Schedule]] = {
    "linear": Schedule.linear,
    "cosine": Schedule.cosine,
    "sigmoid": Schedule.sigmoid,
    "log_snr": lambda T: Schedule.named("log_snr", T),
    "flow": Schedule.flow,
    "linear, zero": lambda T: Schedule.linear(T).zero_terminal_snr(),
    "cosine, zero": lambda T: Schedule.cosine(T).zero_terminal_snr(),
    "sigmoid, zero": lambda T: Schedule.sigmoid(T).zero_terminal_snr(),
}
TS = (1, 2, 10, 1000, 4000)
SOLVERS: dict[str, Callable[[Schedule, int, Prediction], Table]] = {
    "ddpm": lambda s, n, p: solvers.ddpm(s, n, p),
    "ddpm, v 0.3": lambda s, n, p: solvers.ddpm(s, n, p, v=0.3),
    "ddpm, v 1": lambda s, n, p: solvers.ddpm(s, n, p, v=1.0),
    "ddim": lambda s, n, p: solvers.ddim(s, n, p),
    "ddim, eta 1": lambda s, n, p: solvers.ddim(s, n, p, 1.0),
    "dpmpp_2m": solvers.dpmpp_2m,
    "cfgpp": solvers.cfgpp,
}
PREDICTIONS: tuple[Prediction, ...] = ("eps", "x0", "v", "velocity")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
WS = torch.tensor([-1.0, 0.0, 2.0, 100.0])


def steps_of(T: int) -> list[int]:
    return sorted({1, min(2, T), max(1, T // 3), T})


def documented(schedule: str, T: int, prediction: str) -> bool:
    """What is refused: zero SNR of a single step, and zero SNR where the noise is predicted."""
    if schedule == "flow":
        return prediction == "eps"
    return schedule.endswith("zero") and (T == 1 or prediction == "eps")


def step_is_finite(table: Table, k: int, dtype: torch.dtype) -> bool:
    """Steps of four samples, a weight each: of a network in `dtype`, and of a chain in it."""
    generator = torch.Generator().manual_seed(k)
    x, ids = torch.randn(4, 3, generator=generator), torch.arange(4)
    out = torch.randn(8, 3, generator=generator).to(dtype)
    found = []
    for held, clip in ((max(dtype, torch.float32, key=lambda d: d.itemsize), math.inf), (dtype, 1)):
        found += guided_step(
            x.to(held),
            out.to(held),
            table.rows,
            k,
            WS,
            seed=0,
            sample_ids=ids,
            x0prev=torch.ones(4, 3, dtype=held),
            clip=float(clip),
        )
    return all(bool(torch.isfinite(tensor).all()) for tensor in found if tensor is not None)


@pytest.mark.exhaustive(one_in=5)
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("T", TS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_cell_is_finite_or_refused(schedule: str, T: int):
    tried = 0
    for steps, solver, prediction in itertools.product(steps_of(T), SOLVERS, PREDICTIONS):
        if documented(schedule, T, prediction):
            of_one_step = T == 1 and schedule != "flow"
            wrong = "T = 1: the only step cannot" if of_one_step else "'eps': at zero terminal SNR"
            with pytest.raises(UsageError, match=wrong):
                SOLVERS[solver](SCHEDULES[schedule](T), steps, prediction)
            continue
        table = SOLVERS[solver](SCHEDULES[schedule](T), steps, prediction)
        assert bool(torch.isfinite(table.rows).all()), (steps, solver, prediction)
        for dtype in DTYPES:
            for k in {0, steps // 2, steps - 1}:
                assert step_is_finite(table, k, dtype), (steps, solver, prediction, dtype, k)
            tried += len(WS)
    cells = len(steps_of(T)) * len(SOLVERS) * len(PREDICTIONS) * len(DTYPES) * len(WS)
    refused = sum(documented(schedule, T, p) for p in PREDICTIONS) / len(PREDICTIONS)
    assert tried == round(cells * (1 - refused))


# The shape checks of the tests cost twenty times what a step of four samples does.
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("schedule", "prediction"),
    [("cosine", "eps"), ("log_snr", "eps"), ("linear, zero", "v"), ("flow", "velocity")],
)
def test_a_step_at_every_t_is_finite(schedule: str, prediction: Prediction):
    table = solvers.ddpm(SCHEDULES[schedule](1000), None, prediction)
    assert table.t.tolist() == list(range(1000, 0, -1))
    for k in range(1000):
        assert step_is_finite(table, k, torch.float16)


def test_half_precision_outputs_do_not_overflow_at_w_100():
    """`1 / sqrt(abar_T)` of the cosine schedule is 20,291: in float16 x0hat would be infinite."""
    table = solvers.ddpm(Schedule.cosine(1000), 50)
    assert float(table.rows[0, 0]) == pytest.approx(20_291, abs=1)  # to the digit that is quoted
    x, ids = torch.randn(2, 64, generator=torch.Generator().manual_seed(0)), torch.arange(2)
    exact = torch.randn(4, 64, generator=torch.Generator().manual_seed(1)).half()
    given = {"seed": 0, "sample_ids": ids, "x0prev": None, "clip": math.inf}
    for dtype in (torch.float16, torch.bfloat16):
        out = exact.to(dtype).float()  # as the network hands it over, beside a float32 x_t
        xs, x0hat = guided_step(x, out, table.rows, 0, 100.0, **given)
        wanted, guess = guided_step(x.double(), out.double(), table.rows, 0, 100.0, **given)
        assert x0hat is not None
        assert guess is not None
        assert float(guess.abs().max()) > torch.finfo(torch.float16).max  # the case is a hard one
        # float32 arithmetic: 1e-7 a rounding, a dozen of them, of the largest terms.
        torch.testing.assert_close(x0hat.double(), guess, rtol=2e-6, atol=2e-6 * 3e6)
        torch.testing.assert_close(xs.double(), wanted, rtol=2e-6, atol=1e-2)
