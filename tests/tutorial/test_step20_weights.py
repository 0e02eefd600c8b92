"""Step 20: the window row by row, CFG++ by its two lines of algorithm, and as DDIM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step17_solvers import Table, ddim, ddpm, run
from tutorial.step19_rules import top_class
from tutorial.step20_weights import as_ddim, cfgpp, weights_of_ddim, with_interval

SCHEDULE = Schedule.cosine(40)
Y = np.arange(30) % 3
MODEL = oracle_eps(three_gaussians(), SCHEDULE)
ALGEBRA = 1e-10  # float64, dozens of rows, and 1 / sqrt(abar_T) = 5e2


def chain(table: Table, w: float, model=MODEL) -> np.ndarray:
    return run(model, Y, table, w, np.random.default_rng(0))


def test_20_1_by_rows_one_by_one() -> None:
    table = ddpm(SCHEDULE, 13)
    ends = SCHEDULE.log_snr[table.t[9]], SCHEDULE.log_snr[table.t[4]]  # both are times of rows
    window = with_interval(table, SCHEDULE, float(ends[1]), float(ends[0]))
    assert window.rows[:, 7].tolist() == [0] * 4 + [1] * 5 + [0] * 4  # low is in it, high is not
    np.testing.assert_array_equal(window.rows[:, :7], table.rows[:, :7])
    assert (table.rows[:, 7] == 1).all()


def test_20_1_by_noise_level() -> None:
    """The source's sigma, noise over signal, in (0.5, 2]."""
    window = with_interval(ddim(SCHEDULE), SCHEDULE, -2 * np.log(2), -2 * np.log(0.5))
    sigma = np.sqrt((1 - SCHEDULE.alpha_bar) / SCHEDULE.alpha_bar)[window.t]
    np.testing.assert_array_equal(window.rows[:, 7], (sigma > 0.5) & (sigma <= 2))


def test_20_1_by_all_and_nothing() -> None:
    table = ddim(SCHEDULE, 10)
    everything = with_interval(table, SCHEDULE, -np.inf, np.inf)
    np.testing.assert_array_equal(everything.rows, table.rows)
    nothing = with_interval(table, SCHEDULE, 1.0, 1.0)
    np.testing.assert_array_equal(chain(nothing, 3.0), chain(table, 0.0))
    twice = with_interval(with_interval(table, SCHEDULE, -2.0, 2.0), SCHEDULE, 0.0, 4.0)
    np.testing.assert_array_equal(twice.rows, with_interval(table, SCHEDULE, 0.0, 2.0).rows)


@pytest.mark.parametrize(
    ("low", "high", "height", "var_y"),
    [(-np.inf, -2.0, 2.19, 0.145), (-2.0, 2.0, 1.97, 0.063), (2.0, np.inf, 1.52, 0.208)],
)
def test_20_1_by_samples(low: float, high: float, height: float, var_y: float) -> None:
    schedule = Schedule.cosine(1000)
    x = top_class(table=with_interval(ddim(schedule, 50), schedule, low, high), n=2000)
    assert x[:, 1].mean() == pytest.approx(height, abs=5 * (var_y / 2000) ** 0.5)
    assert x[:, 1].var() == pytest.approx(var_y, rel=5 * (4 / 2000) ** 0.5)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (float("nan"), 1.0), (0.0, float("nan"))])
def test_20_1_by_refusal(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=f"low = {low} is not at most high = {high}"):
        with_interval(ddim(SCHEDULE, 5), SCHEDULE, low, high)


@dataclass
class InUnit:
    """The oracle, its answer put into another unit by (3.2) and (5.4)."""

    prediction: str
    num_classes: int = 3

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
        signal = SCHEDULE.alpha_bar[t] ** 0.5
        noise = (1 - SCHEDULE.alpha_bar[t]) ** 0.5
        eps = MODEL(xt, t, y)
        x0 = (xt - noise * eps) / signal
        return {"eps": eps, "x0": x0, "v": signal * eps - noise * x0}[self.prediction]


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("scale", [0.0, 0.6, 1.0])
def test_20_2_by_the_papers_algorithm(scale: float, prediction: str) -> None:
    """Guess with the mix of this scale, renoise with the null eps, from the oracle's eps alone."""
    x = np.random.default_rng(0).standard_normal((30, 2))
    null = np.full(30, 3)
    for t, s in zip(range(40, 0, -4), range(36, -1, -4), strict=True):
        eps_null = MODEL(x, t, null)
        eps_y = MODEL(x, t, Y)
        mix = eps_null + scale * (eps_y - eps_null)
        abar_t, abar_s = SCHEDULE.alpha_bar[[t, s]]
        x0 = (x - np.sqrt(1 - abar_t) * mix) / np.sqrt(abar_t)
        x = np.sqrt(abar_s) * x0 + np.sqrt(1 - abar_s) * eps_null
    found = chain(cfgpp(SCHEDULE, 10, prediction), scale - 1, InUnit(prediction))
    np.testing.assert_allclose(found, x, atol=ALGEBRA)


def test_20_2_by_its_ends() -> None:
    """w = -1 is the unconditional DDIM; one row is plain guidance; more rows at w = 0 are not."""
    plain = ddim(SCHEDULE, 10)
    np.testing.assert_allclose(chain(cfgpp(SCHEDULE, 10), -1.0), chain(plain, -1.0), atol=ALGEBRA)
    one = chain(cfgpp(SCHEDULE, 1), -0.4)
    np.testing.assert_allclose(one, chain(ddim(SCHEDULE, 1), -0.4), atol=ALGEBRA)
    assert np.abs(chain(cfgpp(SCHEDULE, 10), 0.0) - chain(plain, 0.0)).max() > 0.1


def test_20_2_by_samples() -> None:
    schedule = Schedule.cosine(1000)
    for n, height, var_y in ((10, 1.75, 0.073), (50, 2.47, 0.036), (200, 3.39, 0.019)):
        x = top_class(w=-0.4, table=cfgpp(schedule, n), n=500)
        assert x[:, 1].mean() == pytest.approx(height, abs=5 * (var_y / 500) ** 0.5)


@pytest.mark.parametrize("w", [-1.0, -0.4, 0.0])
def test_20_3_by_ddim_with_these_weights(w: float) -> None:
    """The same samples, through a table whose m is the weight."""
    table = ddim(SCHEDULE, 10)
    rows = np.column_stack([table.rows[:, :7], weights_of_ddim(w, SCHEDULE, 10)])
    weighted = chain(Table(table.t, table.s, rows), 1.0)
    np.testing.assert_allclose(weighted, chain(cfgpp(SCHEDULE, 10), w), atol=ALGEBRA)


def test_20_3_by_numbers_in_the_text() -> None:
    for n, scale in ((50, 5.839), (1000, 109.83)):
        found = weights_of_ddim(-0.4, Schedule.linear(1000), n)
        assert 1 + found[n // 2] == pytest.approx(scale, rel=1e-4)
        assert found[-1] == pytest.approx(-0.4, abs=1e-15)


def test_20_3_by_growth() -> None:
    """Twice as many rows, twice the scale, in the limit: 2 at t = T / 2 within 1%."""
    half, full = (1 + weights_of_ddim(-0.4, Schedule.linear(1000), n)[n // 2] for n in (500, 1000))
    assert full / half == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0])
def test_20_4_by_samples_of_ddim(scale: float) -> None:
    found = chain(as_ddim(cfgpp(SCHEDULE, 10), SCHEDULE, scale), 1.0)
    np.testing.assert_allclose(found, chain(ddim(SCHEDULE, 10), scale - 1), atol=ALGEBRA)


def test_20_4_by_there_and_back() -> None:
    """(20.3) undoes it: a fixed scale of DDIM's, to the weight of CFG++, to DDIM's."""
    table = as_ddim(cfgpp(SCHEDULE, 10), SCHEDULE, 2.5)
    for k, m in enumerate(table.rows[:, 7]):
        assert 1 + weights_of_ddim(m, SCHEDULE, 10)[k] == pytest.approx(2.5, rel=1e-12)
