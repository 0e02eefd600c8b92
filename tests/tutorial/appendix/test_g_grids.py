"""Appendix G: a nudge of eps, followed to the end; the sum and the first term; a network."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.integrate import quad

from tutorial.appendix.f_variance import step_of_z
from tutorial.appendix.g_grids import all_factors, factor_of_step, factors, first_factor
from tutorial.contract import Denoiser, last
from tutorial.figures.appendix.g_grids import apart
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step05_best_guess import Oracle, oracle_eps
from tutorial.step16_log_snr import (
    algorithm_1,
    algorithm_2_steps,
    log_snr_grid,
    q_posterior_log_snr,
    schedule_from,
    signal_noise,
)

VAR = 0.3
GRIDS = [log_snr_grid(5), log_snr_grid(8, -6.0, 9.0), np.linspace(-3, 7, 6)]


@dataclass(frozen=True)
class Nudged:
    """The oracle of one class N((1, -2), VAR I), whose eps is too large by `e` at one `t`."""

    oracle: Oracle
    t: int
    e: float
    num_classes: int = 1
    prediction: str = "eps"

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        return self.oracle(xt, t, y) + self.e * (t == self.t)


def path(model: Denoiser, grid: np.ndarray) -> dict[int, np.ndarray]:
    y = np.zeros(4, int)
    rng = np.random.default_rng(0)
    return dict(algorithm_2_steps(model, y, grid, 0.0, 0.3, rng))


def effect(grid: np.ndarray, k: int) -> dict[int, np.ndarray]:
    """By how much each state is lower if eps was too large by 1e-3 at the k-th value, in units."""
    one = GaussianMixture(np.array([[1.0, -2.0]]), VAR * np.eye(2)[None], np.ones(1))
    model = Nudged(oracle_eps(one, schedule_from(grid)), len(grid) - k, 0.0)
    right = path(model, grid)
    wrong = path(replace(model, e=1e-3), grid)
    return {t: (right[t] - wrong[t]) / 1e-3 for t in right}


@pytest.mark.parametrize("grid", GRIDS, ids=len)
def test_g_1_by_a_nudge(grid: np.ndarray) -> None:
    """The chain is affine: the next state, on all rows and axes, is lower by this; not before."""
    for k in range(len(grid) - 1):
        moved = effect(grid, k)
        t = len(grid) - k
        np.testing.assert_array_equal(moved[t], 0)
        wanted = factor_of_step(float(grid[k]), float(grid[k + 1]))
        np.testing.assert_allclose(moved[t - 1], wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("grid", GRIDS, ids=len)
def test_g_1_by_the_posterior(grid: np.ndarray) -> None:
    """A guess that is too small by sigma / a, in the mean of step 16."""
    for here, there in zip(grid, [*grid[1:], np.inf], strict=True):
        low = np.array([-np.exp(-here / 2)])
        zero = np.zeros(1)
        moved = q_posterior_log_snr(low, zero, float(here), float(there)).mean
        assert factor_of_step(float(here), float(there)) == pytest.approx(-moved[0], rel=1e-10)


@pytest.mark.parametrize("grid", GRIDS, ids=len)
def test_g_2_by_a_nudge(grid: np.ndarray) -> None:
    """The sample, at the end of all steps, is lower by this."""
    for k, wanted in enumerate(factors(VAR, grid)):
        np.testing.assert_allclose(effect(grid, k)[0], wanted, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("grid", GRIDS, ids=len)
def test_g_2_by_a_product_of_steps(grid: np.ndarray) -> None:
    """Appendix F's A, one step after another, from the next state to the sample."""
    ends = [*grid.tolist(), np.inf]
    for k, found in enumerate(factors(VAR, grid)):
        slopes = [
            step_of_z(0.0, VAR, 1.0, *ends[i : i + 2], 0.0)[0] for i in range(k + 1, len(grid))
        ]
        assert found == pytest.approx(factor_of_step(*ends[k : k + 2]) * np.prod(slopes), rel=1e-8)


@pytest.mark.parametrize("T", [10, 30, 100])
def test_g_3_by_the_factor_itself(T: int) -> None:
    """From -24 the neglected, r, C' and the bend of the sine, are of a few percent and less."""
    exact = factors(VAR, log_snr_grid(T, -24.0))[0]
    bend = VAR * (np.pi / (2 * (T - 1))) ** 2 / VAR  # C' is 1 - (1 - S) a'^2
    assert first_factor(VAR, -24.0, T) == pytest.approx(exact, rel=2 * bend + 0.005)


def test_g_3_by_scaling() -> None:
    """Twice as many gaps of the grid, a fourth; 2 log 2 nearer, a half; linear in S."""
    base = first_factor(0.25, -20.0, 101)
    assert first_factor(0.25, -20.0, 201) == pytest.approx(base / 4, rel=1e-12)
    assert first_factor(0.25, -20.0 + 2 * np.log(2), 101) == pytest.approx(base / 2, rel=1e-12)
    assert first_factor(0.5, -20.0, 101) == pytest.approx(2 * base, rel=1e-12)


@pytest.mark.parametrize(("T", "number"), [(16, 61), (128, 0.85), (1024, 0.014)])
def test_g_3_by_numbers_in_the_text(T: int, number: float) -> None:
    exact = factors(0.25, log_snr_grid(T))[0]
    assert exact == pytest.approx(number, rel=0.02)
    assert first_factor(0.25, -20.0, T) == pytest.approx(exact, rel=0.06)
    assert factors(0.25, log_snr_grid(16, -8.0))[0] == pytest.approx(0.2, abs=0.005)
    assert factor_of_step(*log_snr_grid(16)[:2].tolist()) == pytest.approx(2303, abs=0.5)
    lacking = [0.25 * a**2 / (0.25 * a**2 + s**2) for a, s in map(signal_noise, (-8.0, -4.0))]
    np.testing.assert_allclose(lacking, [0.00008, 0.005], rtol=0.1)


@pytest.mark.parametrize("var", [0.05, 0.25, 1.0, 2.0])
def test_g_4_by_sums(var: float) -> None:
    """The sum over 1000 and 2000 steps, and where the two point at.

    The ends at -12 and 12 cut 2.5e-3 of the angle off at either end, of weight 2 and 2 S.
    """
    less, more = (factors(var, log_snr_grid(T, -12.0, 12.0)).sum() for T in (1000, 2000))
    cut = 0.0025 * 2 * (1 + var)
    assert 2 * more - less == pytest.approx(all_factors(var), abs=1.2 * cut)


@pytest.mark.parametrize("var", [0.05, 0.25, 1.0, 2.0])
def test_g_4_by_quadrature(var: float) -> None:
    """Over lambda: F / d lambda is a sigma S / C."""

    def speed(x: float) -> float:
        a, sigma = signal_noise(x)
        return float(a * sigma * var / (a**2 * var + sigma**2))

    assert quad(speed, -40, 40, limit=200)[0] == pytest.approx(all_factors(var), rel=1e-6)


@pytest.mark.slow
def test_g_3_by_a_network() -> None:
    """After 1000 steps, samples end within .1 of the oracle's on grids from -8, short and long.

    16 steps from -20 are far off. Over twelve seeds the distances are .034...053, and 3..19.
    Labels, noise and grid are the same for both.
    """
    run = algorithm_1(three_gaussians(), 0.2, 1000, np.random.default_rng(0))
    _, _, params = last(run)
    assert apart(params, 16, -8.0) < 0.1
    assert apart(params, 64, -8.0) < 0.1
    assert apart(params, 16, -20.0) > 1
