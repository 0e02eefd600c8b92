"""Appendix I: the split of a step, on scores of a mixture and on exact variances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import norm

from tests.tutorial.noise import GivenInOrder, Impulses
from tutorial.appendix.h_gaussian_pairs import EXAMPLE, ddpm_law, score_at
from tutorial.appendix.i_predictor_corrector import (
    chain_variance,
    levels,
    predictor_corrector_steps,
    split_score,
)
from tutorial.contract import last
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step07_sampling import ancestral_steps
from tutorial.step11_guidance import guided_score, log_tilted, tilt

THREE = three_gaussians()
OTHER = (Gaussian(np.array([0.9, -1.3]), 0.3), 1.1)
POINTS = np.array([[0.2, -0.3], [-1.4, 0.9], [0.5, 1.1], [2.5, -2.0]])
SPLITS = [(0.0, 4.0), (2.0, 2.0), (4.0, 0.0), (1.0, 3.0)]  # all of weight 2


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_1_by_scores_of_a_mixture(a: float, b: float) -> None:
    """No Gaussian is needed: the guided score of three classes, at three times."""
    schedule = Schedule.cosine(50)
    y = np.array([0, 1, 2, 0])
    for t in (1, 20, 50):
        s_w, s_a, s_b = (
            guided_score(POINTS, t, y, w, THREE, schedule) for w in ((a + b) / 2, a, b)
        )
        np.testing.assert_allclose(s_w, (s_a + s_b) / 2, atol=1e-11)
        assert np.abs(s_w - s_a).max() > 1e-3 or a == b


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_1_by_densities(a: float, b: float) -> None:
    """The tilt of weight w is the geometric mean of those of a and b; SciPy's slope of it."""
    schedule = Schedule.cosine(50)
    y = np.array([0, 1, 2, 0])
    t = 20
    log_w, log_a, log_b = (log_tilted(POINTS, t, y, w, THREE, schedule) for w in (2.0, a, b))
    np.testing.assert_allclose(log_w, (log_a + log_b) / 2, atol=1e-11)
    given_y, var_all = OTHER
    h = 1e-5
    tau = 0.6

    def log_p(x: np.ndarray, w: float) -> np.ndarray:
        of_y = norm.logpdf(x, given_y.mean, (given_y.var + tau) ** 0.5)
        return (1 + w) * of_y - w * norm.logpdf(x, 0, (var_all + tau) ** 0.5)

    slope = sum(log_p(POINTS + h, w) - log_p(POINTS - h, w) for w in (a, b)) / (4 * h)
    np.testing.assert_allclose(score_at(POINTS, tau, 2.0, *OTHER), slope, atol=1e-8)
    np.testing.assert_allclose(split_score(POINTS, tau, a, b, *OTHER), slope, atol=1e-8)


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_2_by_small_steps_of_the_reverse_chain(a: float, b: float) -> None:
    """One step of step 7 with the oracle of three classes, w = 2, and its split by hand.

    In x = x_t / sqrt(abar). The same z in both: they differ by the square of the step, 1% of it
    at a step 10 times smaller, and by z times a power 3/2.
    """
    y = np.array([0, 1, 2, 0])
    z = np.array([[0.3, -1.0], [1.2, 0.1], [-0.4, 0.8], [0.0, 0.5]])
    tau = 0.4
    gaps = []
    for step in (1e-3, 1e-4):
        abar = 1 / (1 + np.array([tau - step, tau]))
        schedule = Schedule(np.array([0, 1 - abar[0], 1 - abar[1] / abar[0]]))

        def s(x: np.ndarray, t: int, w: float, schedule: Schedule = schedule) -> np.ndarray:
            signal = schedule.alpha_bar[t] ** 0.5  # d / dx of log p(signal x) has that factor
            return signal * guided_score(signal * x, t, y, w, THREE, schedule)

        steps = ancestral_steps(
            oracle_eps(THREE, schedule), y, schedule, 2.0, GivenInOrder(abar[1] ** 0.5 * POINTS, z)
        )
        next(steps)
        whole = next(steps)[1] / abar[0] ** 0.5
        moved = POINTS + step / 2 * s(POINTS, 2, a)  # the predictor, at tau
        split = moved + step / 2 * s(moved, 1, b) + step**0.5 * z  # the corrector, at tau'
        gaps.append(np.abs(whole - split).max())
    assert gaps[0] < 1e-3 and gaps[1] < gaps[0] / 10**1.45
    wrong = moved + step / 2 * s(moved, 1, 2 * b + 1) + step**0.5 * z
    assert np.abs(whole - wrong).max() > 10 * gaps[1]


@pytest.mark.parametrize(("a", "b"), SPLITS[1:])
def test_i_2_by_chains_of_one_noise(a: float, b: float) -> None:
    """Chains that share their noise come together, twice as close with twice the levels.

    The factor of two is good to 20%: that of 400 numbers, about 4%, and what is left in 1 / levels.
    """
    apart = []
    for count in (400, 800):
        rng = np.random.default_rng(14)
        start = 100 * rng.standard_normal((200, 2))
        taus = levels(count)
        z = rng.standard_normal((count, 200, 2))
        ends = [
            last(predictor_corrector_steps(start, taus, *split, 1, *EXAMPLE, GivenInOrder(*z)))
            for split in ((0.0, 4.0), (a, b))
        ]
        apart.append(np.sqrt(((ends[0] - ends[1]) ** 2).mean()))
    assert apart[0] < 0.05 and apart[1] == pytest.approx(apart[0] / 2, rel=0.2)


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_2_by_the_limit_of_ddpm(a: float, b: float) -> None:
    """Every split of weight 2 ends in DDPM's law, (H.3) and (H.4), at the rate of the levels."""
    for pair in (EXAMPLE, OTHER):
        law = ddpm_law(*pair, 2.0)
        (mean, var), (mean_2, var_2) = (exact_law(levels(k), a, b, 1, pair) for k in (250, 500))
        assert 2 * var_2 - var == pytest.approx(law.var, rel=0.01)  # what is left, in 1 / levels^2
        np.testing.assert_allclose(2 * mean_2 - mean, law.mean, atol=0.02)  # and a start at 0
        assert abs(var_2 / var - 1) > 1e-3  # there was something to extrapolate


def exact_law(
    taus: np.ndarray, a: float, b: float, n: int, pair: tuple[Gaussian, float]
) -> tuple[np.ndarray, float]:
    """Mean and variance of what the lesson's steps end in, from N(0, taus[0]), by impulses."""
    draws = n * (len(taus) - 1)
    start = np.zeros((draws + 2, 2))
    start[-1] = taus[0] ** 0.5
    x = last(predictor_corrector_steps(start, taus, a, b, n, *pair, Impulses()))
    return x[0], float(((x[1:] - x[0]) ** 2).sum(0)[0])


CASES = [(0.0, 4.0, 1), (2.0, 2.0, 3), (4.0, 0.0, 2), (-0.5, 1.0, 1)]


@pytest.mark.parametrize(("a", "b", "n"), CASES)
def test_i_3_by_impulses(a: float, b: float, n: int) -> None:
    for pair in (EXAMPLE, OTHER):
        taus = levels(60, high=30.0, low=0.01)
        found = exact_law(taus, a, b, n, pair)[1]
        assert chain_variance(taus, a, b, n, *pair) == pytest.approx(found, rel=1e-10)


def k_of(tau: float, w: float) -> float:
    """The curvature of the tilted law of weight w at tau: one over its variance, by (11.9)."""
    given_y, var_all = EXAMPLE
    return 1 / tilt(Gaussian(given_y.mean, given_y.var + tau), var_all + tau, w).var


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_3_by_predictor_alone(a: float, b: float) -> None:
    """Without correctors a level is a factor: the product of all, and SciPy's dV = k V dtau."""
    end = solve_ivp(lambda s, V: k_of(s, a) * V, (30, 0.01), [30.0], rtol=1e-10).y[0, -1]
    var, var_2 = (chain_variance(levels(k, 30.0, 0.01), a, b, 0, *EXAMPLE) for k in (400, 800))
    assert 2 * var_2 - var == pytest.approx(end, rel=2e-3)
    assert var == pytest.approx(end, rel=0.1)


@pytest.mark.parametrize(("a", "b", "n"), CASES)
def test_i_4_by_differential_equation(a: float, b: float, n: int) -> None:
    """The limit of fine levels, dV = (k_a + n k_b) V dtau - n dtau, by SciPy, k from (11.9)."""

    def slope(tau: float, V: np.ndarray) -> np.ndarray:
        return (k_of(tau, a) + n * k_of(tau, b)) * V - n

    end = solve_ivp(slope, (30, 0.01), [30.0], method="LSODA", rtol=1e-10).y[0, -1]
    var, var_2 = (chain_variance(levels(k, 30.0, 0.01), a, b, n, *EXAMPLE) for k in (400, 800))
    assert 2 * var_2 - var == pytest.approx(end, rel=2e-3)


@pytest.mark.exhaustive(one_in=6)
@pytest.mark.parametrize("b", [0.0, 2.0, 4.0])
@pytest.mark.parametrize("a", [0.0, 2.0])
def test_i_4_by_many_correctors(a: float, b: float) -> None:
    """They end in the tilt of weight b whatever the predictor did; 0.5% of finite steps."""
    var = chain_variance(levels(200), a, b, 600, *EXAMPLE)
    assert var == pytest.approx(tilt(*EXAMPLE, b).var, rel=5e-3)


@pytest.mark.parametrize(
    ("a", "b", "n", "said"),
    [(0.0, 4.0, 1, 0.3875), (0.0, 4.0, 4, 0.343), (2.0, 2.0, 1, 0.3875), (2.0, 2.0, 4, 0.460)],
)
def test_i_4_by_numbers_in_the_text(a: float, b: float, n: int, said: float) -> None:
    var, var_2 = (chain_variance(levels(k), a, b, n, *EXAMPLE) for k in (800, 1600))
    assert 2 * var_2 - var == pytest.approx(said, abs=5e-4)


def test_i_4_by_simulation() -> None:
    """10,000 chains, two correctors a level: 5 standard errors of a normal variance (seed 16)."""
    rng = np.random.default_rng(16)
    taus = levels(60, high=30.0, low=0.01)
    start = 30.0**0.5 * rng.standard_normal((10_000, 2))
    x = last(predictor_corrector_steps(start, taus, 0.0, 2.0, 2, *OTHER, rng))
    V = chain_variance(taus, 0.0, 2.0, 2, *OTHER)
    assert abs(x.var(0).mean() - V) < 5 * V * (2 / x.size) ** 0.5


def test_i_4_by_divergence() -> None:
    """At tau' = 0, k is 1 for w = 0: a step of 3.9 settles, one of 4.1 grows without end."""
    for step, settles in ((3.9, True), (4.1, False)):
        taus = np.array([step, 0.0])
        var, var_2 = (chain_variance(taus, 0.0, 0.0, n, *EXAMPLE) for n in (2000, 4000))
        assert (var_2 == pytest.approx(var, rel=1e-6)) is settles


def test_i_3_by_levels() -> None:
    """One factor from each level to the next, falling, both ends exact."""
    taus = levels(8, high=16.0, low=1 / 16)
    np.testing.assert_allclose(taus, 2.0 ** np.arange(4, -5, -1), rtol=1e-12)
