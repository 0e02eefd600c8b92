"""Every row is the lecture's step; times are exact; the network's three outputs say the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicfg import Schedule, solvers
from minicfg.errors import UsageError
from tutorial.step00_notation import Schedule as LectureSchedule
from tutorial.step04_posterior import posterior_coefficients


def test_full_ddpm_rows_are_the_lectures_posterior() -> None:
    table, lecture = solvers.ddpm(Schedule.cosine(50)), LectureSchedule.cosine(50)
    for row, t in zip(table.rows.tolist(), table.t.tolist(), strict=True):
        c_0, c_t, var = posterior_coefficients(t, lecture)
        # a, b, c of the same formula by other operations (1 - abar_t/abar_s for beta_t): the
        # difference loses digits where beta is small, at worst 1e-16 / beta_1 of a relative error.
        np.testing.assert_allclose(row[2:5], [c_0, c_t, np.sqrt(var)], rtol=1e-10, atol=1e-12)


def test_strided_ddpm_rows_are_a_shorter_chain() -> None:
    """Visiting every fifth time is the full chain of the schedule that keeps those `alpha_bar`."""
    schedule = Schedule.linear(100)
    kept = schedule.alpha_bar[::5]
    coarse = Schedule(torch.cat([torch.zeros(1, dtype=torch.float64), 1 - kept[1:] / kept[:-1]]))
    strided, full = solvers.ddpm(schedule, 20), solvers.ddpm(coarse)
    torch.testing.assert_close(strided.rows, full.rows, rtol=1e-10, atol=1e-12)


def test_last_row_lands_on_the_guess_without_noise() -> None:
    for steps in (1, 7, 100):
        table = solvers.ddpm(Schedule.linear(100), steps)
        _, _, a, b, c, d, e, m = table.rows[-1].tolist()
        assert a == pytest.approx(1, abs=1e-12)
        assert (b, c, d, e, m) == (0, 0, 0, 0, 1)


@given(st.integers(1, 300).flatmap(lambda T: st.tuples(st.just(T), st.integers(1, T))))
def test_times_are_exact(case: tuple[int, int]) -> None:
    """From T to 0, strictly down, `steps` of them, none further from even spacing than a half."""
    T, steps = case
    t, s = solvers.times(Schedule.linear(T), steps)
    assert (len(t), int(t[0]), int(s[-1])) == (steps, T, 0)
    assert (t > s).all()
    assert torch.equal(t[1:], s[:-1])
    even = torch.arange(steps, 0, -1) * T / steps
    assert (t - even).abs().max() <= 0.5


@pytest.mark.parametrize("steps", [0, -1, 11, True, [], [3, 3], [1, 2], [11, 1], [5, 0]])
def test_steps_are_refused(steps: int | list[int]) -> None:
    with pytest.raises(UsageError, match=r"steps = .*1\.\.10"):
        solvers.ddpm(Schedule.linear(10), steps)


@pytest.mark.usefixtures("unchecked")
def test_prediction_is_refused() -> None:
    with pytest.raises(UsageError, match="prediction = 'score': eps, x0 or v is needed"):
        solvers.ddpm(Schedule.linear(10), 5, prediction="score")  # pyright: ignore[reportArgumentType]


@given(st.integers(1, 40), st.floats(-3, 3), st.floats(-3, 3))
def test_predictions_say_the_same(t: int, x0: float, eps: float) -> None:
    """From the true eps, x0 or v at the same x_t, every kind of row finds the same x_0."""
    schedule = Schedule.cosine(40)
    abar = schedule.alpha_bar[t : t + 1]
    signal, noise = float(abar.sqrt()), float((1 - abar).sqrt())
    xt = signal * x0 + noise * eps
    outs = {"eps": eps, "x0": x0, "v": signal * eps - noise * x0}
    for prediction, out in outs.items():
        p, q = solvers.x0_coefficients(abar, prediction)  # pyright: ignore[reportArgumentType]
        # eps is divided by the signal, which at t = T is 5e-4 here: 1e-16 / 5e-4, and room.
        assert float(p * xt + q * out) == pytest.approx(x0, abs=1e-11)
