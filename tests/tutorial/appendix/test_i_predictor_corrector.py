"""Appendix I: the split of a step, for scores of a mixture, in samples and in exact variances."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import norm

import tutorial.appendix.i_predictor_corrector as lesson
from tests.tutorial.noise import Given, GivenInOrder, Impulses
from tutorial.appendix.h_gaussian_pairs import EXAMPLE, TwoGaussians, ddpm_law, score_at
from tutorial.appendix.i_predictor_corrector import (
    chain_variance,
    ddpm_variance,
    levels,
    precision,
    predictor_corrector_steps,
    slope_of_variance,
    split_score,
    with_many_correctors,
)
from tutorial.contract import last
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import oracle_eps
from tutorial.step07_sampling import ancestral_steps
from tutorial.step11_guidance import guided_score, log_tilted, tilt

THREE = three_gaussians()
OTHER = (Gaussian(np.array([0.9, -1.3]), 0.3), 1.1)
POINTS = np.array([[0.2, -0.3], [-1.4, 0.9], [0.5, 1.1], [2.5, -2.0]])
SPLITS = [(0.0, 4.0), (2.0, 2.0), (4.0, 0.0), (1.0, 3.0)]  # all of mean weight 2
CASES = [(0.0, 4.0, 1), (2.0, 2.0, 3), (4.0, 0.0, 2), (-0.5, 1.0, 1)]  # a, b, n
TEXT = lesson.__doc__ or ""


def row_of(name: str, table: int) -> list[float]:
    """The numbers of the row that begins with `name`, of the given table of the text."""
    tables = re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE)
    (row,) = re.findall(rf"^\| {re.escape(name)} \| (.*) \|$", tables[table], re.MULTILINE)
    return [float(Fraction(cell.strip())) for cell in row.split("|")]


def in_text(words: str) -> bool:
    """Whether the text contains these words, with any line breaks between them."""
    return words in " ".join(TEXT.split())


def k_of(tau: float, w: float, pair: tuple[Gaussian, float] = EXAMPLE) -> float:
    """The precision of the tilted distribution of weight w at the level tau, by (11.9)."""
    given_y, var_all = pair
    return 1 / tilt(Gaussian(given_y.mean, given_y.var + tau), var_all + tau, w).var


def exact_end(
    taus: np.ndarray, a: float, b: float, n: int, pair: tuple[Gaussian, float]
) -> tuple[np.ndarray, float]:
    """Mean and variance with which the lesson's steps end, from N(0, taus[0]), by impulses."""
    draws = n * (len(taus) - 1)
    start = np.zeros((draws + 2, 2))
    start[-1] = taus[0] ** 0.5
    x = last(predictor_corrector_steps(start, taus, a, b, n, *pair, Impulses()))
    return x[0], float(((x[1:] - x[0]) ** 2).sum(0)[0])


def plain_slope(tau: float, V: float, a: float, b: float, n: int) -> float:
    """The right side of (I.5) for the example, S_y = 1 and S = 2, typed once more for speed."""
    k_a = (1 + a) / (1 + tau) - a / (2 + tau)
    k_b = (1 + b) / (1 + tau) - b / (2 + tau)
    return k_a * V + n * (k_b * V - 1)


@cache
def end_of_equation(a: float, b: float, n: int) -> float:
    """V at tau = 0 by SciPy's solution of (I.5) in the logarithm of tau, from V = tau = 1e8.

    It ends at tau = 1e-8. The tolerance leaves eight digits.
    """

    def slope(minus_log_tau: float, V: np.ndarray) -> list[float]:
        tau = float(np.exp(-minus_log_tau))
        return [-tau * plain_slope(tau, float(V[0]), a, b, n)]

    ends = (-np.log(1e8), np.log(1e8))
    solution = solve_ivp(slope, ends, [1e8], method="LSODA", rtol=1e-10, atol=1e-13)
    return float(solution.y[0, -1])


# (I.1)


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_1_by_scores_of_a_mixture(a: float, b: float) -> None:
    """No Gaussian class is necessary: the guided score of three classes, at three times."""
    schedule = Schedule.cosine(50)
    y = np.array([0, 1, 2, 0])
    for t in (1, 20, 50):
        s_w, s_a, s_b = (
            guided_score(POINTS, t, y, w, THREE, schedule) for w in ((a + b) / 2, a, b)
        )
        # Rounding of scores of the order of 1000 at t = 1.
        np.testing.assert_allclose(s_w, (s_a + s_b) / 2, atol=1e-11)
        assert np.abs(s_w - s_a).max() > 1e-3 or a == b


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_1_by_densities(a: float, b: float) -> None:
    """The tilted density of weight w is the geometric mean of those of a and b.

    The slope of its logarithm is computed with densities of SciPy, by central differences.
    """
    schedule = Schedule.cosine(50)
    y = np.array([0, 1, 2, 0])
    t = 20
    log_w, log_a, log_b = (log_tilted(POINTS, t, y, w, THREE, schedule) for w in (2.0, a, b))
    np.testing.assert_allclose(log_w, (log_a + log_b) / 2, atol=1e-11)  # rounding
    given_y, var_all = OTHER
    h = 1e-5
    tau = 0.6

    def log_p(x: np.ndarray, w: float) -> np.ndarray:
        of_y = norm.logpdf(x, given_y.mean, (given_y.var + tau) ** 0.5)
        return (1 + w) * of_y - w * norm.logpdf(x, 0, (var_all + tau) ** 0.5)

    slope = sum(log_p(POINTS + h, w) - log_p(POINTS - h, w) for w in (a, b)) / (4 * h)
    # The logarithm is quadratic, so only rounding is left: 1e-15 times 10, over h.
    np.testing.assert_allclose(score_at(POINTS, tau, 2.0, *OTHER), slope, atol=1e-8)
    np.testing.assert_allclose(split_score(POINTS, tau, a, b, *OTHER), slope, atol=1e-8)


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_1_by_each_step(a: float, b: float) -> None:
    """Both sides of each display; then the weights, and the scales of the other convention."""
    tau = 0.6
    s_y = score_at(POINTS, tau, 0.0, *OTHER)
    s = score_at(POINTS, tau, -1.0, *OTHER)
    w = (a + b) / 2
    # Rounding of a few operations on numbers of the order of 10.
    np.testing.assert_allclose(score_at(POINTS, tau, w, *OTHER), s_y + w * (s_y - s), rtol=1e-12)
    mean = s_y + (a + b) / 2 * (s_y - s)
    np.testing.assert_allclose(split_score(POINTS, tau, a, b, *OTHER), mean, rtol=1e-12)
    assert in_text("$1 + 2 w = 2 \\gamma - 1$. In the example these are 3 and 5.")
    gamma = 1 + 2.0
    assert (gamma, 2 * gamma - 1, 1 + 2 * 2.0) == (3, 5, 5)


def test_i_1_by_numbers_in_the_text() -> None:
    """The scores of the example at tau = 1 and x = 2, and their multiples by delta = 0.06."""
    x = np.array([[2.0, 0.0]])
    weights = row_of("weight", 0)
    scores = [score_at(x, 1.0, w, *EXAMPLE)[0, 0] for w in weights]
    assert weights == [0, 2, 4]
    assert scores == pytest.approx(row_of("guided score", 0), rel=1e-12)
    assert 0.06 * np.array(scores) == pytest.approx(row_of("size times score", 0), rel=1e-12)
    assert in_text("the scores are -1/2 for the class and -2/3 for all data")
    assert score_at(x, 1.0, 0.0, *EXAMPLE)[0, 0] == pytest.approx(-1 / 2, rel=1e-12)
    assert score_at(x, 1.0, -1.0, *EXAMPLE)[0, 0] == pytest.approx(-2 / 3, rel=1e-12)
    assert in_text("has the mean 2.14, which lies beyond 2")
    target = tilt(Gaussian(np.array([1.0, 0.0]), 2.0), 3.0, 4.0)
    assert target.mean[0] == pytest.approx(2.14, abs=5e-3)
    assert in_text("of the two moves is -0.01 + 0.015 = 0.005. This is half of 0.01")
    of_ddpm, of_ddim = 0.06 * scores[1], 0.06 * scores[0] / 2
    assert of_ddpm - of_ddim == pytest.approx(0.005, rel=1e-12)
    assert of_ddpm - of_ddim == pytest.approx(0.06 * scores[2] / 2, rel=1e-12)
    # A weight of the corrector for which no tilted distribution exists at the level 1.
    assert in_text("For $a = 10$ and $b = -6$ it is infinite at the level 1")
    assert (10 - 6) / 2 == 2 and precision(1.0, -6.0, *EXAMPLE) < 0


# (I.2)


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_2_by_small_steps_of_the_reverse_chain(a: float, b: float) -> None:
    """One step of step 7 with the oracle of three classes, w = 2, and its split, made by hand.

    Both are in x = x_t / sqrt(abar) and have the same z. Their difference has a part in delta^2,
    and z times a part in delta^(3/2). So a step 10 times smaller leaves 10^-1.5 of it.
    """
    y = np.array([0, 1, 2, 0])
    z = np.array([[0.3, -1.0], [1.2, 0.1], [-0.4, 0.8], [0.0, 0.5]])
    tau = 0.4
    gaps = []
    for step in (1e-3, 1e-4):
        abar = 1 / (1 + np.array([tau - step, tau]))
        schedule = Schedule(np.array([0, 1 - abar[0], 1 - abar[1] / abar[0]]))

        def s(x: np.ndarray, t: int, w: float, schedule: Schedule = schedule) -> np.ndarray:
            signal = schedule.alpha_bar[t] ** 0.5  # d / dx of log p(signal x) has this factor
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

    The factor of two is good to 20 %: the 400 numbers leave about 4 %, the rest is the next power
    of the distance of the levels.
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
    """Every split of weight 2 ends in the Gaussian of (H.3) and (H.4) as the levels get finer."""
    for pair in (EXAMPLE, OTHER):
        limit = ddpm_law(*pair, 2.0)
        (mean, var), (mean_2, var_2) = (exact_end(levels(k), a, b, 1, pair) for k in (250, 500))
        # The extrapolation leaves the square of the distance of the levels.
        assert 2 * var_2 - var == pytest.approx(limit.var, rel=0.01)
        np.testing.assert_allclose(2 * mean_2 - mean, limit.mean, atol=0.02)  # and a start at 0
        assert abs(var_2 / var - 1) > 1e-3  # there was something to extrapolate


def test_i_2_by_each_step() -> None:
    """The score after the predictor differs by O(delta); the noise is that of the posterior."""
    tau, a, b = 0.7, 1.0, 3.0
    off = []
    for delta in (1e-3, 1e-4):
        moved = POINTS + delta * score_at(POINTS, tau, a, *OTHER) / 2
        change = score_at(moved, tau - delta, b, *OTHER) - score_at(POINTS, tau, b, *OTHER)
        off.append(np.abs(change).max())
    assert 0 < off[1] < off[0] / 9.9  # O(delta): a tenth, up to the next power of 1e-3
    taus = np.array([0.3, 0.7])
    abar = 1 / (1 + taus)
    schedule = Schedule(np.array([0, 1 - abar[0], 1 - abar[1] / abar[0]]))
    posterior_var = posterior_coefficients(2, schedule)[2] / abar[0]  # of x, not of x_t
    delta = taus[1] - taus[0]
    assert posterior_var == pytest.approx(delta * taus[0] / taus[1], rel=1e-12)  # rounding
    assert posterior_var == pytest.approx(delta - delta**2 / taus[1], rel=1e-12)


def test_i_2_by_one_step_of_the_example() -> None:
    """The predictor, the score after it and the sum of both moves, by the lesson's own steps."""
    x = np.array([[2.0, 0.0]])
    taus = np.array([1.0, 0.94])
    (moved,) = predictor_corrector_steps(x, taus, 0.0, 4.0, 0, *EXAMPLE, Given())
    (ended,) = predictor_corrector_steps(x, taus, 0.0, 4.0, 1, *EXAMPLE, Given())
    s_4 = score_at(moved, 0.94, 4.0, *EXAMPLE)
    assert in_text("the predictor leads to the state 1.985 at the level 0.94")
    assert in_text("is 0.1620 and not 0.1667. The two moves add up to -0.01014 and not to -0.01.")
    assert moved[0, 0] == pytest.approx(1.985, rel=1e-12)
    assert s_4[0, 0] == pytest.approx(0.1620, abs=5e-5)
    assert ended[0, 0] - 2 == pytest.approx(-0.01014, abs=5e-6)
    # The noise of the corrector has the standard deviation sqrt(delta).
    (noisy,) = predictor_corrector_steps(
        x, taus, 0.0, 4.0, 1, *EXAMPLE, Given({0: np.array([[1.0, -2.0]])})
    )
    np.testing.assert_allclose(noisy - ended, 0.06**0.5 * np.array([[1.0, -2.0]]), rtol=1e-10)


@pytest.mark.parametrize("w", [0.0, 2.0])
def test_i_2_by_impulses_of_ancestral_steps(w: float) -> None:
    """The variance of DDPM is that of step 7's chain with the exact denoiser, in x.

    The levels end at 0. The chain starts with x_T of variance 1, so x has the variance 1 + tau_T,
    and the part of the start is reduced to that of tau_T.
    """
    for pair in (EXAMPLE, OTHER):
        taus = np.append(levels(30, 200.0, 0.02), 0.0)
        abar = 1 / (1 + taus[::-1])
        beta = np.append(0.0, 1 - abar[1:] / abar[:-1])
        schedule = Schedule(beta)
        impulses = Impulses()
        y = np.zeros(schedule.T + 2, dtype=int)
        x0 = last(ancestral_steps(TwoGaussians(*pair, schedule), y, schedule, w, impulses))[1]
        squared = (x0[1:, 0] - x0[0, 0]) ** 2
        squared[0] *= taus[0] / (1 + taus[0])
        # Rounding in 31 steps, some with the large factor 1 / sqrt(abar).
        assert ddpm_variance(taus, w, *pair) == pytest.approx(squared.sum(), rel=1e-9)


def test_i_2_by_finite_levels() -> None:
    """With 50 levels the chains are not one chain: they differ by up to 0.14, as in the text."""
    ends = [chain_variance(levels(50), a, b, 1, *EXAMPLE) for a, b in SPLITS[:3]]
    ends.append(ddpm_variance(levels(50), 2.0, *EXAMPLE))
    assert in_text("With 50 levels the chains still differ by up to 0.14.")
    assert max(ends) - min(ends) == pytest.approx(0.14, abs=5e-3)


# (I.3) and (I.4)


@pytest.mark.parametrize(("a", "b", "n"), CASES)
def test_i_3_by_impulses(a: float, b: float, n: int) -> None:
    for pair in (EXAMPLE, OTHER):
        for taus in (levels(60, 30.0, 0.01), np.array([9.0, 2.0, 0.3, 0.0])):
            found = exact_end(taus, a, b, n, pair)[1]
            # Rounding in up to 240 affine moves.
            assert chain_variance(taus, a, b, n, *pair) == pytest.approx(found, rel=1e-10)


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_3_by_predictor_alone(a: float, b: float) -> None:
    """Without correctors a level is a factor; the product of all, and SciPy's dV = k V dtau."""
    end = solve_ivp(lambda s, V: k_of(s, a) * V, (30, 0.01), [30.0], rtol=1e-10).y[0, -1]
    var, var_2 = (chain_variance(levels(k, 30.0, 0.01), a, b, 0, *EXAMPLE) for k in (400, 800))
    assert 2 * var_2 - var == pytest.approx(end, rel=2e-3)  # the next power of 1 / levels
    assert var == pytest.approx(end, rel=0.1)


@pytest.mark.parametrize("pair", [EXAMPLE, OTHER])
def test_i_3_by_each_step(pair: tuple[Gaussian, float]) -> None:
    """The precision is that of (11.9) and the slope of the score; both moves are affine."""
    tau, tau_next, a, b = 0.8, 0.5, 1.0, 3.0
    delta = tau - tau_next
    zero = np.zeros((1, 2))
    for level in (tau, tau_next, 0.0):
        for w in (a, b, -0.5):
            shown = (1 + w) / (pair[0].var + level) - w / (pair[1] + level)
            assert precision(level, w, *pair) == pytest.approx(shown, rel=1e-12)
            assert precision(level, w, *pair) == pytest.approx(k_of(level, w, pair), rel=1e-12)
    for level, w in ((tau, a), (tau_next, b)):
        k = precision(level, w, *pair)
        M = score_at(zero, level, w, *pair) / k
        moved = POINTS + delta * score_at(POINTS, level, w, *pair) / 2
        shown = (1 - delta * k / 2) * POINTS + delta * k * M / 2
        np.testing.assert_allclose(moved, shown, rtol=1e-11, atol=1e-12)  # rounding


def test_i_3_by_levels() -> None:
    """A constant ratio from each level to the next, falling, and both ends exact."""
    taus = levels(8, high=16.0, low=1 / 16)
    np.testing.assert_allclose(taus, 2.0 ** np.arange(4, -5, -1), rtol=1e-12)
    assert (levels(3)[0], levels(3)[-1]) == (1e4, 1e-4)  # the ends of the text


def test_i_3_by_numbers_in_the_text() -> None:
    """The table of one corrector per level, and the rate with which all rows tend to 0.3876."""
    counts = row_of("levels", 1)
    assert counts == [50, 100, 400, 1600]
    at_zero = ddpm_law(*EXAMPLE, 2.0).var
    assert at_zero == pytest.approx(0.3875, abs=1e-12)
    limit = at_zero + 1e-4 * slope_of_variance(0.0, at_zero, 0.0, 4.0, 1, *EXAMPLE)
    assert in_text("All rows tend to 0.3876.") and in_text("exceeds it by $5.5 \\cdot 10^{-5}$")
    assert limit - at_zero == pytest.approx(5.5e-5, rel=1e-6)
    assert in_text("the slope $2 \\cdot 2 \\cdot 0.3875 - 1 = 0.55$")
    assert 2 * k_of(0.0, 2.0) * at_zero - 1 == pytest.approx(0.55, abs=1e-9)
    assert round(limit, 4) == 0.3876
    rows = {f"a = {a:g}, b = {b:g}": (a, b) for a, b in SPLITS[:3]}
    for name, split in rows.items():
        found = [chain_variance(levels(int(k)), *split, 1, *EXAMPLE) for k in counts]
        np.testing.assert_allclose(found, row_of(name, 1), atol=5.1e-5)  # four digits
        # Four times the levels: a quarter, up to the next power of the ratio of the levels.
        assert (found[2] - limit) / (found[3] - limit) == pytest.approx(4, rel=0.05)
    found = [ddpm_variance(levels(int(k)), 2.0, *EXAMPLE) for k in counts]
    np.testing.assert_allclose(found, row_of("DDPM", 1), atol=5.1e-5)
    assert (found[2] - limit) / (found[3] - limit) == pytest.approx(4, rel=0.05)


def test_i_4_by_two_mistakes_of_the_text() -> None:
    """The variance with the noise delta z, and with the corrector at the level before it."""

    def end(steps: int, a: float, b: float, *, power: float, late: bool) -> float:
        taus = levels(steps)
        V = float(taus[0])
        for tau, tau_next in pairwise(map(float, taus)):
            delta = tau - tau_next
            V *= (1 - delta * k_of(tau, a) / 2) ** 2
            V = (1 - delta * k_of(tau if late else tau_next, b) / 2) ** 2 * V + delta**power
        return V

    assert in_text("the variance is then 0.0299 and not 0.3892")
    found = [end(400, 0.0, 4.0, power=power, late=False) for power in (2, 1)]
    assert found == pytest.approx([0.0299, 0.3892], abs=5e-5)
    assert in_text("with 50 levels and $a = b = 2$ the variance is 0.4924 and not 0.4302")
    found = [end(50, 2.0, 2.0, power=1, late=late) for late in (True, False)]
    assert found == pytest.approx([0.4924, 0.4302], abs=5e-5)
    # In the limit it makes no difference: the distance falls like 1 / levels.
    apart = [
        end(k, 2.0, 2.0, power=1, late=True) - end(k, 2.0, 2.0, power=1, late=False)
        for k in (400, 1600)
    ]
    assert apart[1] == pytest.approx(apart[0] / 4, rel=0.1)


@pytest.mark.parametrize(("a", "b", "n"), CASES)
def test_i_4_by_differential_equation(a: float, b: float, n: int) -> None:
    """The limit of fine levels is dV = (k_a + n k_b) V dtau - n dtau; SciPy, with k of (11.9)."""

    def slope(tau: float, V: np.ndarray) -> np.ndarray:
        return (k_of(tau, a) + n * k_of(tau, b)) * V - n

    end = solve_ivp(slope, (30, 0.01), [30.0], method="LSODA", rtol=1e-10).y[0, -1]
    var, var_2 = (chain_variance(levels(k, 30.0, 0.01), a, b, n, *EXAMPLE) for k in (400, 800))
    assert 2 * var_2 - var == pytest.approx(end, rel=2e-3)  # the next power of 1 / levels


@pytest.mark.exhaustive(one_in=6)
@pytest.mark.parametrize("b", [0.0, 2.0, 4.0])
@pytest.mark.parametrize("a", [0.0, 2.0])
def test_i_4_by_many_correctors(a: float, b: float) -> None:
    """They lead to the tilted distribution of weight b for any a; finite steps leave 0.5 %."""
    var = chain_variance(levels(200), a, b, 600, *EXAMPLE)
    assert var == pytest.approx(tilt(*EXAMPLE, b).var, rel=5e-3)


def test_i_4_by_simulation() -> None:
    """10,000 chains, 2 correctors per level: 5 standard errors of a normal variance (seed 16)."""
    rng = np.random.default_rng(16)
    taus = levels(60, high=30.0, low=0.01)
    start = 30.0**0.5 * rng.standard_normal((10_000, 2))
    x = last(predictor_corrector_steps(start, taus, 0.0, 2.0, 2, *OTHER, rng))
    V = chain_variance(taus, 0.0, 2.0, 2, *OTHER)
    assert abs(x.var(0).mean() - V) < 5 * V * (2 / x.size) ** 0.5


def test_i_4_by_divergence() -> None:
    """At tau' = 0 the precision is 1 for b = 0: a size of 3.9 converges, one of 4.1 diverges."""
    for step, converges in ((3.9, True), (4.1, False)):
        taus = np.array([step, 0.0])
        var, var_2 = (chain_variance(taus, 0.0, 0.0, n, *EXAMPLE) for n in (2000, 4000))
        assert (var_2 == pytest.approx(var, rel=1e-6)) is converges


def test_i_4_by_levels_at_a_constant_distance() -> None:
    """The text: 20 equal steps fail at the last level, where the precision is largest."""
    equal = np.linspace(100.0, 0.0, 21)
    k_b = [precision(float(tau), 4.0, *EXAMPLE) for tau in equal]
    assert max(k_b) == k_b[-1] == pytest.approx(3)
    assert in_text("For $b = 4$ it may be at most 4/3")
    assert 4 / k_b[-1] == pytest.approx(4 / 3)
    for distance, shrinks in ((1.33, True), (1.34, False)):  # on both sides of 4/3
        assert ((1 - distance * k_b[-1] / 2) ** 2 < 1) is shrinks
    assert in_text("multiplies the variance by 42.25")
    assert (1 - 5 * k_b[-1] / 2) ** 2 == pytest.approx(42.25)
    assert in_text("with $a = 0$ ends with the variance 87.4. With 20 levels at a constant ratio")
    assert in_text("from 100 to $10^{-4}$, it ends with 0.422.")
    assert chain_variance(equal, 0.0, 4.0, 1, *EXAMPLE) == pytest.approx(87.4, abs=0.05)
    assert exact_end(equal, 0.0, 4.0, 1, EXAMPLE)[1] == pytest.approx(87.4, abs=0.05)
    ratio = chain_variance(levels(20, 100.0, 1e-4), 0.0, 4.0, 1, *EXAMPLE)
    assert ratio == pytest.approx(0.422, abs=5e-4)


# (I.5) and (I.6)


@pytest.mark.parametrize(("a", "b", "n"), CASES)
def test_i_5_by_each_step(a: float, b: float, n: int) -> None:
    """Each display leaves O(delta^2): a step 10 times smaller has a 100 times smaller error."""
    tau = 0.9
    k_a = precision(tau, a, *OTHER)
    k_b = precision(tau, b, *OTHER)
    squares = []
    changes = []
    for delta in (1e-2, 1e-3):
        squares.append((1 - delta * k_a / 2) ** 2 - (1 - delta * k_a))
        V = tau
        change = chain_variance(np.array([tau, tau - delta]), a, b, n, *OTHER) - V
        changes.append(change - (-delta * (k_a + n * k_b) * V + n * delta))
    # The next power leaves some delta of these ratios.
    assert squares[0] / squares[1] == pytest.approx(100, rel=1e-3)
    assert changes[0] / changes[1] == pytest.approx(100, rel=0.25)


@pytest.mark.parametrize(("a", "b", "n"), CASES)
def test_i_5_by_finite_difference(a: float, b: float, n: int) -> None:
    """The slope of one level of the lesson's own chain, extrapolated from two sizes."""
    tau = 1.7
    slopes = []
    for delta in (1e-3, 5e-4):
        end = chain_variance(np.array([tau, tau - delta]), a, b, n, *OTHER)
        slopes.append((tau - end) / delta)
    found = slope_of_variance(tau, tau, a, b, n, *OTHER)
    # What is left is delta^2 times a power of (1 + n) k, below 30.
    assert 2 * slopes[1] - slopes[0] == pytest.approx(found, abs=3e-5)


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_5_by_closed_form(a: float, b: float) -> None:
    """For n = 1 only the mean weight matters, and the solution is (H.3)."""
    both = slope_of_variance(0.4, 0.9, a, b, 1, *OTHER)
    # Rounding: the sum of the precisions is 2 k_w.
    assert both == pytest.approx(2 * precision(0.4, 2.0, *OTHER) * 0.9 - 1, rel=1e-12)
    for tau, V, n in ((0.0, 0.3, 1), (2.0, 1.5, 3), (1e4, 9e3, 16)):
        found = slope_of_variance(tau, V, a, b, n, *EXAMPLE)
        assert found == pytest.approx(plain_slope(tau, V, a, b, n), rel=1e-9, abs=1e-9)
    assert end_of_equation(a, b, 1) == pytest.approx(ddpm_law(*EXAMPLE, 2.0).var, rel=1e-7)


def test_i_5_by_numbers_in_the_text() -> None:
    """The table of n, its limits, and the two splits of weight 0."""
    counts = [1, 4, 16, 64]
    assert in_text("| correctors per level | 1 | 4 | 16 | 64 | tilted, weight b |")
    for a, b in SPLITS[:3]:
        *ends, target = row_of(f"a = {a:g}, b = {b:g}", 2)
        found = [end_of_equation(a, b, n) for n in counts]
        np.testing.assert_allclose(found, ends, atol=5.1e-5)  # four digits
        assert tilt(*EXAMPLE, b).var == pytest.approx(target, abs=5.1e-5)
    assert in_text("it ends with 1 for one corrector per level. For four it ends with 0.7464.")
    assert end_of_equation(-1.0, 1.0, 1) == pytest.approx(1, abs=1e-7)
    assert end_of_equation(-1.0, 1.0, 4) == pytest.approx(0.7464, abs=5e-5)
    for n in (0, 1, 4):
        assert end_of_equation(0.0, 0.0, n) == pytest.approx(1, abs=1e-7)


def test_i_5_by_the_weight_that_ddpm_does_not_sample() -> None:
    """One corrector does not reach weight 2 w; more of them move away from the variance of w."""
    of_w, of_2w = tilt(*EXAMPLE, 2.0).var, tilt(*EXAMPLE, 4.0).var
    ends = [end_of_equation(0.0, 4.0, n) for n in (1, 4, 16, 64)]
    assert ends[0] - of_2w > 0.05
    away = [of_w - end for end in ends]
    assert (np.diff(away) > 0).all() and min(away) > 0


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_6_by_each_step(a: float, b: float) -> None:
    """The equation of U, exactly; then the U at which its right side is 0, for large n."""
    h = 1e-5
    for tau, U in ((0.1, 0.4), (0.6, -0.2)):
        k_a, k_b = k_of(tau, a, OTHER), k_of(tau, b, OTHER)
        V_b = 1 / k_b
        # A central difference: h^2 times a third derivative below 100.
        slope_of_V_b = (1 / k_of(tau + h, b, OTHER) - 1 / k_of(tau - h, b, OTHER)) / (2 * h)
        for n in (3, 8):
            shown = (k_a + n * k_b) * U + k_a * V_b - slope_of_V_b
            slope_of_U = slope_of_variance(tau, V_b + U, a, b, n, *OTHER) - slope_of_V_b
            assert shown == pytest.approx(slope_of_U, rel=1e-10)
        off = []
        for n in (1000, 2000):
            balanced = (slope_of_V_b - k_a * V_b) / (k_a + n * k_b)
            off.append(with_many_correctors(tau, a, b, n, *OTHER) - V_b - balanced)
        # Without k_a U the balance leaves 1 / n^2.
        assert off[0] / off[1] == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_6_by_solution_of_the_equation(a: float, b: float) -> None:
    """It leaves 1 / n^2: twice the correctors have a quarter of the error, up to the next power."""
    errors = []
    for n in (100, 200):
        errors.append(end_of_equation(a, b, n) - with_many_correctors(0.0, a, b, n, *EXAMPLE))
        assert abs(errors[-1]) < 5 / n**2  # the largest: 4.9, for a = 4 and b = 0
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_6_by_insertion_into_the_equation(a: float, b: float) -> None:
    """The two sides of (I.5) differ by O(1 / n). Without the second term they differ by O(1)."""
    h = 1e-5
    for tau in (0.2, 0.9):
        apart = []
        for n in (1000, 2000):
            low, V, high = (
                with_many_correctors(at, a, b, n, *OTHER) for at in (tau - h, tau, tau + h)
            )
            apart.append((high - low) / (2 * h) - slope_of_variance(tau, V, a, b, n, *OTHER))
        # The sides are of order n times V with rounding 1e-12; the difference quotient has 1e-10.
        assert apart[0] / apart[1] == pytest.approx(2, rel=1e-3)
        assert abs(apart[0]) < 20 / 1000
        V_b = 1 / precision(tau, b, *OTHER)
        without = 1 / (2 * h) / precision(tau + h, b, *OTHER)
        without -= 1 / (2 * h) / precision(tau - h, b, *OTHER)
        assert abs(without - slope_of_variance(tau, V_b, a, b, 1000, *OTHER)) > 0.02


def test_i_6_by_the_interval_that_it_needs() -> None:
    """From U = 1 at the level 1 it takes about log n intervals of 1 / (n k_b), not a fixed number.

    Between n = 64 and 4,096 the logarithm grows by log 64 = 4.16.
    """
    assert in_text("About $\\log n$ such intervals divide it by $n$.")
    k_b = k_of(1.0, 4.0)
    counts = []
    for n in (64, 4096):

        def slope(tau: float, V: np.ndarray, n: int = n) -> list[float]:
            return [plain_slope(tau, float(V[0]), 0.0, 4.0, n)]

        def excess(tau: float, V: np.ndarray, n: int = n) -> float:
            return float(V[0]) - 1 / k_of(tau, 4.0) - 1 / n

        excess.terminal = True  # type: ignore[attr-defined]
        start = [1 / k_b + 1]
        solution = solve_ivp(
            slope, (1.0, 0.0), start, method="LSODA", events=excess, rtol=1e-9, atol=1e-11
        )
        (reached,) = solution.t_events[0]
        counts.append((1 - reached) * n * k_b)
    # The other terms and the slope of k_b leave a few per cent.
    assert counts == pytest.approx(np.log([64, 4096]), rel=0.03)
    assert counts[1] - counts[0] == pytest.approx(np.log(64), rel=0.05)


@pytest.mark.parametrize(("a", "b"), SPLITS)
def test_i_6_by_the_mean(a: float, b: float) -> None:
    """The change of the mean in one level, and its limit for many correctors.

    Without noise a state is the mean.
    """
    given_y, var_all = OTHER
    zero = np.zeros((1, 2))

    def centre(tau: float, w: float) -> np.ndarray:
        return score_at(zero, tau, w, given_y, var_all) / k_of(tau, w, OTHER)

    M = np.array([[0.4, 0.1]])
    tau, n = 0.9, 3
    shown_a = k_of(tau, a, OTHER) * (centre(tau, a) - M)
    shown_b = k_of(tau, b, OTHER) * (centre(tau, b) - M)
    off = []
    for delta in (1e-3, 1e-4):
        taus = np.array([tau, tau - delta])
        moved = last(predictor_corrector_steps(M, taus, a, b, n, *OTHER, Given())) - M
        off.append(np.abs(moved - delta * (shown_a + n * shown_b) / 2).max())
    assert off[0] / off[1] == pytest.approx(100, rel=0.05)  # the next power of delta
    # What is left for n correctors is of the order of 1 / n. The levels are fine enough for n = 24.
    apart = []
    for n in (12, 24):
        end = last(predictor_corrector_steps(M, levels(250, 1.0, 0.1), a, b, n, *OTHER, Given()))
        apart.append(np.abs(end - centre(0.1, b)).max())
    assert apart[0] / apart[1] == pytest.approx(2, rel=0.1)
    assert apart[1] < 0.15


def test_i_6_by_numbers_in_the_text() -> None:
    """Both slopes at tau = 0, and what they leave: too wide for a = 0, too narrow for a = 2."""
    h = 1e-5
    for a, b, slope, along, left, words in (
        (0.0, 4.0, 4 / 9, 1 / 3, 1 / 27, "the bracket is 4/9 - 1/3 for $a = 0$ and $b = 4$"),
        (2.0, 2.0, 5 / 8, 1.0, -3 / 16, "For $a = b = 2$ it is 5/8 - 1."),
    ):
        assert in_text(words)
        # A central difference: h^2 times a third derivative below 10.
        assert (1 / k_of(h, b) - 1 / k_of(-h, b)) / (2 * h) == pytest.approx(slope, abs=1e-8)
        assert k_of(0.0, a) / k_of(0.0, b) == pytest.approx(along, rel=1e-12)
        excess = with_many_correctors(0.0, a, b, 7, *EXAMPLE) - 1 / k_of(0.0, b)
        assert 7 * excess == pytest.approx(left, rel=1e-12)
    assert in_text("too wide, by $1 / (27 n)$") and in_text("too narrow, by $3 / (16 n)$")
