"""Step 11: the mix by fractions and impulses, its table, its units, and a clip out of order.

Slopes and sums over SciPy's densities, and laws tilted and noised on grids.
"""

from __future__ import annotations

import re
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy
from scipy.optimize import linprog
from scipy.stats import multivariate_normal, norm

import tutorial.step11_guidance as lesson
from tutorial.step01_toy_data import GaussianMixture, pinwheel
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import noised, oracle_eps, x0_from
from tutorial.step06_reverse import p_xprev_given_xt
from tutorial.step10_classifier import classifier_gradient, classifier_guided_eps
from tutorial.step11_guidance import (
    both_orders,
    gap,
    guide,
    guided_score,
    guided_x0,
    largest_mix,
    log_tilted,
    tilt,
    w_from_scale,
)

SCHEDULE = Schedule.linear(20)
K = 3
WEIGHTS = [-2.5, -1.0, -0.4, 0.0, 0.3, 1.0, 4.0]
ALGEBRA = 1e-11  # float64, a few dozen operations of order one to a hundred
# Full covariances and unequal shares: no symmetry that could hide a swap.
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
COND, NULL = np.random.default_rng(0).standard_normal((2, 50, 2))


@pytest.mark.parametrize("w", WEIGHTS)
def test_11_1_by_fractions(w: float) -> None:
    """Equation 6 of the paper in exact arithmetic; three roundings of what is at most 40."""
    for c, n, found in zip(COND.flat, NULL.flat, guide(COND, NULL, w).flat, strict=True):
        exact = (1 + Fraction(w)) * Fraction(float(c)) - Fraction(w) * Fraction(float(n))
        assert float(Fraction(float(found)) - exact) == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("t", [1, 8, 20])
def test_11_1_by_a_classifier(t: int) -> None:
    """The unconditional eps, pushed by 1 + w gradients of log p(y | x_t), finite differences."""
    rng = np.random.default_rng(1)
    h = 1e-5
    w = 2.0
    x = rng.standard_normal((30, 2))
    y = rng.integers(0, K, 30)
    law = noised(MIXTURE, t, SCHEDULE)
    model = oracle_eps(MIXTURE, SCHEDULE)
    p = [
        [law.log_class_probability(x + s * a)[np.arange(30), y] for s in (h, -h)] for a in np.eye(2)
    ]
    gradient = np.array([above - below for above, below in p]).T / (2 * h)
    null = model(x, t, np.full(30, K))
    expected = null - (1 + w) * np.sqrt(1 - SCHEDULE.alpha_bar[t]) * gradient
    # h^2 of truncation times third derivatives of some hundreds, 1e-15 / h of rounding
    np.testing.assert_allclose(guide(model(x, t, y), null, w), expected, atol=1e-6)


def test_11_1_by_impulses() -> None:
    """One answer is 1 and the other 0: what each counts, and which of the two is which."""
    one = np.ones((1, 2))
    none = np.zeros((1, 2))
    for w in WEIGHTS:
        np.testing.assert_allclose(guide(one, none, w), 1 + w, atol=1e-15)
        np.testing.assert_allclose(guide(none, one, w), -w, atol=1e-15)


@pytest.mark.parametrize("w", WEIGHTS)
def test_11_2_by_last_bit_where_the_label_says_nothing(w: float) -> None:
    np.testing.assert_array_equal(guide(COND, COND, w), COND)
    np.testing.assert_array_equal(guide(COND, NULL, 0.0), COND)


def test_11_2_by_other_forms_that_round() -> None:
    """(11.1) misses the equal answers, (11.3) misses w = 0, and (11.2) only w = -1."""
    assert ((1 + 0.3) * COND - 0.3 * COND != COND).any()
    assert (NULL + 1.0 * (COND - NULL) != COND).any()
    assert (guide(COND, NULL, -1.0) != NULL).any()
    # Two roundings, each of half a unit in the last place of a number below 8.
    np.testing.assert_allclose(guide(COND, NULL, -1.0), NULL, atol=1e-15)


def test_11_2_by_straight_line_in_w() -> None:
    """Equal steps of w make equal steps of the mix, each the difference that the label makes."""
    path = np.array([guide(COND, NULL, w) for w in (-1.5, -0.5, 0.5, 1.5, 2.5)])
    np.testing.assert_allclose(np.diff(path, axis=0), np.tile(COND - NULL, (4, 1, 1)), atol=1e-14)


def test_11_3_by_table_in_the_text() -> None:
    """Each row of the printed table, against what the code does with that w and that scale."""
    rows = re.findall(r"^\| (-?\d) \| (-?\d) \| (-?\d) \| (-?\d) \|", lesson.__doc__ or "", re.M)
    assert len(rows) == 4
    for w, scale, of_cond, of_null in (map(float, row) for row in rows):
        assert w_from_scale(scale) == w
        expected = of_cond * COND + of_null * NULL
        np.testing.assert_allclose(guide(COND, NULL, w), expected, atol=1e-14)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0, 7.5])
def test_11_3_by_walk_from_the_null_answer(scale: float) -> None:
    """`scale` is how many times the way from null to conditional is gone, from null on."""
    found = guide(COND, NULL, w_from_scale(scale))
    np.testing.assert_allclose(found, NULL + scale * (COND - NULL), atol=1e-13)
    gone = np.linalg.norm(found - NULL) / np.linalg.norm(COND - NULL)
    assert gone == pytest.approx(scale, abs=1e-14)


def test_11_3_by_guiding_twice() -> None:
    """Guide what was guided, against the same null answer: scales multiply, weights do not."""
    twice = guide(guide(COND, NULL, w_from_scale(2.0)), NULL, w_from_scale(3.0))
    np.testing.assert_allclose(twice, guide(COND, NULL, w_from_scale(6.0)), atol=1e-13)


def answers(t: int, prediction: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`x_t` and both answers, in any unit, of a network whose eps are COND and NULL.

    The change of unit is done from (3.2): the data from the noise, v from both, no table of rows.
    """
    xt = 2 * np.random.default_rng(t).standard_normal(COND.shape)
    signal = np.sqrt(SCHEDULE.alpha_bar[t])
    noise = np.sqrt(1 - SCHEDULE.alpha_bar[t])
    x0 = [(xt - noise * eps) / signal for eps in (COND, NULL)]
    v = [signal * eps - noise * x for eps, x in zip((COND, NULL), x0, strict=True)]
    cond, null = {"eps": (COND, NULL), "x0": x0, "v": v}[prediction]
    return xt, cond, null


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("t", [1, 8, 20])
def test_11_4_by_three_units(prediction: str, t: int) -> None:
    """Mixed in any unit, the data come out that (3.2) gives for the guided eps."""
    xt, cond, null = answers(t, prediction)
    eps = 3.5 * COND - 2.5 * NULL
    expected = (xt - np.sqrt(1 - SCHEDULE.alpha_bar[t]) * eps) / np.sqrt(SCHEDULE.alpha_bar[t])
    found = guided_x0(cond, null, xt, t, SCHEDULE, 2.5, prediction)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=ALGEBRA)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("t", [1, 8, 20])
def test_11_4_by_mixing_whole_steps(prediction: str, t: int) -> None:
    """The reverse step of the mix is the mix of the two reverse steps, in mean."""
    xt, cond, null = answers(t, prediction)
    steps = [p_xprev_given_xt(xt, out, t, SCHEDULE, prediction).mean for out in (cond, null)]
    mixed = p_xprev_given_xt(xt, guide(cond, null, 2.5), t, SCHEDULE, prediction).mean
    np.testing.assert_allclose(mixed, guide(steps[0], steps[1], 2.5), atol=ALGEBRA)


def test_11_4_by_two_xt_that_break_it() -> None:
    """Answers about different x_t: mixing guesses and mixing outputs then differ, by p w dx_t."""
    xt, cond, null = answers(8, "eps")
    late = xt + 0.1
    guesses = [x0_from(out, x, 8, SCHEDULE) for out, x in ((cond, xt), (null, late))]
    apart = guided_x0(cond, null, xt, 8, SCHEDULE, 2.5) - guide(guesses[0], guesses[1], 2.5)
    expected = np.full_like(xt, 2.5 * 0.1 / np.sqrt(SCHEDULE.alpha_bar[8]))
    np.testing.assert_allclose(apart, expected, atol=ALGEBRA)


def both_clips(cond: np.ndarray, null: np.ndarray, w: float) -> tuple[np.ndarray, np.ndarray]:
    """Clipped last, as the lesson does; and first."""
    last = guided_x0(cond, null, np.zeros_like(cond), 8, SCHEDULE, w, "x0", clip=1.0)
    return last, guide(np.clip(cond, -1, 1), np.clip(null, -1, 1), w)


def test_11_5_by_numbers_in_the_text() -> None:
    last, first = both_clips(np.array([0.5]), np.array([1.5]), 1.0)
    assert (last[0], first[0]) == (-0.5, 0.0)


def test_11_5_by_where_they_agree() -> None:
    """Nothing was cut, neither guesses nor mix: no difference. A guess was, the mix not: always."""
    last, first = both_clips(COND, NULL, 1.5)
    mix = 2.5 * COND - 1.5 * NULL
    uncut = np.maximum(np.abs(COND), np.abs(NULL)) < 1
    inside = np.abs(mix) < 1
    both = uncut & inside
    some = ~uncut & inside
    assert both.sum() > 5 and some.sum() > 5
    np.testing.assert_allclose(last[both], first[both], atol=1e-15)
    assert (np.abs(last - first)[some] > 1e-3).all()
    assert (np.abs(last) <= 1).all() and np.abs(first).max() > 1


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_11_5_by_one_clip_of_the_chain(prediction: str) -> None:
    """The guess behind the reverse step of step 6, which clips once, is the one given here."""
    xt, cond, null = answers(8, prediction)
    guess = guided_x0(cond, null, xt, 8, SCHEDULE, 2.5, prediction, clip=1.0)
    assert (np.abs(guess) == 1).any() and (np.abs(guess) < 1).any()
    wanted = p_xprev_given_xt(xt, guess, 8, SCHEDULE, "x0").mean
    found = p_xprev_given_xt(xt, guide(cond, null, 2.5), 8, SCHEDULE, prediction, clip=1.0).mean
    np.testing.assert_allclose(found, wanted, atol=ALGEBRA)


@pytest.mark.parametrize("w", WEIGHTS)
def test_11_6_by_linear_programming(w: float) -> None:
    """The largest (1 + w) a - w b for a and b in [-2, 2], by SciPy's solver."""
    best = linprog([-(1 + w), w], bounds=[(-2, 2), (-2, 2)])
    assert largest_mix(w, 2.0) == pytest.approx(-best.fun, abs=1e-9)  # the solver's tolerance


@pytest.mark.parametrize("w", WEIGHTS)
def test_11_6_by_clipped_guesses(w: float) -> None:
    """Of 20,000 wild pairs none is beyond it, one comes close: half of all guesses are cut."""
    cond, null = 2 * np.random.default_rng(3).standard_normal((2, 20_000, 1))
    _, first = both_clips(cond, null, w)
    assert np.abs(first).max() == pytest.approx(largest_mix(w, 1.0), abs=1e-12)
    if -1 <= w <= 0:
        assert largest_mix(w, 1.0) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("w", [float("nan"), float("inf"), -float("inf")])
def test_11_1_by_refusal_of_w(w: float) -> None:
    with pytest.raises(ValueError, match=f"w = {w} is not a finite number"):
        guide(COND, NULL, w)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(50, 1), (1, 2), (2,), (51, 2)])
def test_11_1_by_refusal_of_shapes(shape: tuple[int, ...]) -> None:
    """Three of these four would broadcast without a word."""
    with pytest.raises(
        ValueError, match=re.escape(f"eps_null has shape {shape}, eps_cond has (50, 2)")
    ):
        guide(COND, np.zeros(shape), 1.0)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_11_5_by_refusal_of_clip(clip: float) -> None:
    with pytest.raises(ValueError, match=f"clip = {clip} is not above 0"):
        guided_x0(COND, NULL, COND, 8, SCHEDULE, 1.0, clip=clip)


POINTS = np.array([[0.2, -0.3], [-1.4, 0.9], [0.5, 1.1], [2.5, -2.0]])
SCORE_WEIGHTS = [-1.0, -0.4, 0.0, 1.0, 3.0]
LINE = np.linspace(-9, 9, 901)  # sums of smooth, decaying functions: exact to rounding
STEP = 0.02
GIVEN_Y = Gaussian(np.array([0.9]), 0.3)
ALL = 1.1


def moments_at(t: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and covariance of `x_t` in each class, by running the chain's moments step by step."""
    moments: list[tuple[np.ndarray, np.ndarray]] = []
    for mean, cov in zip(MIXTURE.means, MIXTURE.covs, strict=True):
        for s in range(1, t + 1):
            mean = np.sqrt(SCHEDULE.alpha[s]) * mean
            cov = SCHEDULE.alpha[s] * cov + SCHEDULE.beta[s] * np.eye(2)
        moments.append((mean, cov))
    return moments


def scipy_log_p(x: np.ndarray, t: int) -> np.ndarray:
    """SciPy's log p(x_t | y), one row per class; the last row is log p(x_t)."""
    rows = [multivariate_normal(mean, cov).logpdf(x) for mean, cov in moments_at(t)]
    return np.array([*rows, np.log(MIXTURE.weights @ np.exp(rows))])


def labels(y: int, n: int = len(POINTS)) -> np.ndarray:
    return np.full(n, y)


@pytest.mark.parametrize("t", [1, 8, 20])
@pytest.mark.parametrize("w", SCORE_WEIGHTS)
@pytest.mark.parametrize("y", range(K))
def test_11_7_by_finite_difference(y: int, w: float, t: int) -> None:
    """Of the powers of SciPy's densities."""
    h = 1e-5
    found = guided_score(POINTS, t, labels(y), w, MIXTURE, SCHEDULE)
    for i, step in enumerate(h * np.eye(2)):
        above, below = (scipy_log_p(POINTS + s * step, t) for s in (1, -1))
        slope = ((1 + w) * (above - below)[y] - w * (above - below)[K]) / (2 * h)
        # h^2 / 6 times third derivatives of some hundreds, 1e-14 / h of rounding, and 1 + w
        np.testing.assert_allclose(found[:, i], slope, atol=3e-6)


@pytest.mark.parametrize(("t", "w"), [(1, 1.0), (8, 2.0), (20, 3.0)])
def test_11_7_by_parts_on_a_grid(t: int, w: float) -> None:
    """Stein: the mean of g s + grad g is 0 under the density that s is the score of, g bounded."""
    axis = np.arange(-8, 8, 0.06)
    x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    for y in range(K):
        log_p = scipy_log_p(x, t)
        p = np.exp((1 + w) * log_p[y] - w * log_p[K])
        s = guided_score(x, t, labels(y, len(x)), w, MIXTURE, SCHEDULE)
        sums = (p / p.sum()) @ (np.tanh(x) * s + 1 - np.tanh(x) ** 2)
        turned = (p / p.sum()) @ (np.tanh(x[:, ::-1]) * s)  # g of the other axis: no derivative
        np.testing.assert_allclose([sums, turned], 0, atol=1e-9)  # tails beyond 8


@pytest.mark.parametrize("t", [0, 1, 8, 20])
@pytest.mark.parametrize("w", SCORE_WEIGHTS)
def test_11_8_by_scipy(w: float, t: int) -> None:
    """The lesson computes the classifier's form; this is the left side, in SciPy's densities."""
    log_p = scipy_log_p(POINTS, t)
    for y in range(K):
        found = log_tilted(POINTS, t, labels(y), w, MIXTURE, SCHEDULE)
        np.testing.assert_allclose(found, (1 + w) * log_p[y] - w * log_p[K], atol=1e-11)
    each = log_tilted(POINTS[:3], t, np.array([2, 0, 1]), w, MIXTURE, SCHEDULE)
    expected = (1 + w) * log_p[[2, 0, 1], [0, 1, 2]] - w * log_p[K, :3]
    np.testing.assert_allclose(each, expected, atol=1e-11)


@pytest.mark.parametrize("y", range(K))
def test_11_8_by_weighted_samples(y: int) -> None:
    """Data of a class, weighed by what a classifier gives them, to the power of w (seed 5).

    The classifier is SciPy's. The mean weight is the mass of the tilted density times pi_y^w, and
    weighted means are its means: both by sums of the lesson's density over a grid.
    """
    n = 100_000
    w = 2.0
    x = np.random.default_rng(5).multivariate_normal(MIXTURE.means[y], MIXTURE.covs[y], n)
    log_p = scipy_log_p(x, 0)
    sure = (MIXTURE.weights[y] * np.exp(log_p[y] - log_p[K])) ** w
    axis = np.arange(-6, 6, 0.04)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    p = np.exp(log_tilted(grid, 0, labels(y, len(grid)), w, MIXTURE, SCHEDULE)) * 0.04**2
    mean = p @ grid / p.sum()
    for off in (sure - p.sum() * MIXTURE.weights[y] ** w, *(sure[:, None] * (x - mean)).T):
        assert abs(off.mean()) < 5 * off.std() / np.sqrt(n)


def on_grid(density: np.ndarray) -> tuple[float, float]:
    """Mean and variance of a density on LINE that need not be normalised."""
    p = density / density.sum()
    return float(p @ LINE), float(p @ LINE**2 - (p @ LINE) ** 2)


def powers(given_y: np.ndarray, everything: np.ndarray, w: float) -> np.ndarray:
    """`given_y^(1 + w) everything^-w` of log densities, at the scale of its largest value."""
    log_p = (1 + w) * given_y - w * everything
    return np.exp(log_p - log_p.max())


@pytest.mark.parametrize("w", [*SCORE_WEIGHTS, -1.05])
def test_11_9_by_grid(w: float) -> None:
    log_y = norm.logpdf(LINE, GIVEN_Y.mean[0], GIVEN_Y.var**0.5)
    density = powers(log_y, norm.logpdf(LINE, 0, ALL**0.5), w)
    law = tilt(GIVEN_Y, ALL, w)
    assert (law.mean[0], law.var) == pytest.approx(on_grid(density), abs=1e-11)


def test_11_9_by_sympy() -> None:
    """The exponent's derivatives: minus the second is a precision, the root of the first a mean."""
    x, m, S_y, S, w = sympy.symbols("x m S_y S w", positive=True)
    exponent = -(1 + w) * (x - m) ** 2 / (2 * S_y) + w * x**2 / (2 * S)
    var = -1 / sympy.diff(exponent, x, 2)
    (mean,) = sympy.solve(sympy.diff(exponent, x), x)
    at = {m: 0.9, S_y: 0.3, S: 1.1, w: 2.0}
    law = tilt(GIVEN_Y, ALL, 2.0)
    found = (law.mean[0], law.var)
    assert found == pytest.approx([float(e.subs(at)) for e in (mean, var)], abs=1e-14)


@pytest.mark.parametrize("w", [-1.4, -2.0, -5.0])
def test_11_9_by_refusal_of_no_mass(w: float) -> None:
    """R = 1.1 + 0.8 w is 0 at w = -1.375: from there on the exponent opens upwards."""
    with pytest.raises(ValueError, match=f"w = {w} makes R = -"):
        tilt(GIVEN_Y, ALL, w)
    assert tilt(GIVEN_Y, ALL, -1.37).var > 50


def grids(w: float, t: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Mean and variance of both orders at t, with powers and noise done on the grid of x."""
    abar = SCHEDULE.alpha_bar[t]
    signal = np.sqrt(abar)
    noise = np.sqrt(1 - abar)
    start = [norm.pdf(LINE, 0.9, 0.3**0.5), norm.pdf(LINE, 0, ALL**0.5)]
    kernel = norm.pdf(LINE[:, None], signal * LINE, noise)  # (x_t, x_0)
    aimed = powers(*(np.log(kernel @ p * STEP) for p in start), w)
    tilted = powers(*map(np.log, start), w)
    return on_grid(aimed), on_grid(kernel @ tilted)


@pytest.mark.parametrize("t", [1, 8, 20])
def test_11_10_by_grids(t: int) -> None:
    """Every integral is a sum over the same grid; the kernel's deviation at t = 1 is 0.07."""
    for w in (-0.4, 2.0):
        (_, aimed), (_, wanted) = grids(w, t)
        laws = both_orders(GIVEN_Y, ALL, w, t, SCHEDULE)
        assert [law.var for law in laws] == pytest.approx([aimed, wanted], abs=1e-9)
        assert gap(GIVEN_Y, ALL, w, t, SCHEDULE)[1] == pytest.approx(aimed - wanted, abs=1e-9)


@pytest.mark.parametrize("t", [1, 8, 20])
def test_11_11_by_grids(t: int) -> None:
    for w in (-0.4, 2.0):
        (aimed, _), (wanted, _) = grids(w, t)
        laws = both_orders(GIVEN_Y, ALL, w, t, SCHEDULE)
        assert [law.mean[0] for law in laws] == pytest.approx([aimed, wanted], abs=1e-9)
        assert gap(GIVEN_Y, ALL, w, t, SCHEDULE)[0] == pytest.approx(aimed - wanted, abs=1e-9)


def symbolic_gaps() -> tuple[sympy.Expr, sympy.Expr, dict[str, sympy.Symbol]]:
    """Mean and variance of the first order less the second's, for all symbols, from (11.9)."""
    names = sympy.symbols("m S_y S w abar", positive=True)
    m, S_y, S, w, abar = names

    def tilted(m: sympy.Expr, S_y: sympy.Expr, S: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
        var = 1 / ((1 + w) / S_y - w / S)
        return (1 + w) * m / S_y * var, var

    C_y, C = (abar * V + 1 - abar for V in (S_y, S))
    aimed = tilted(sympy.sqrt(abar) * m, C_y, C)
    start = tilted(m, S_y, S)
    mean = aimed[0] - sympy.sqrt(abar) * start[0]
    var = aimed[1] - abar * start[1] - 1 + abar
    return mean, var, {str(s): s for s in names}


def test_11_10_by_sympy() -> None:
    _, var, s = symbolic_gaps()
    R = (1 + s["w"]) * s["S"] - s["w"] * s["S_y"]
    R_t = s["abar"] * R + 1 - s["abar"]
    a = s["abar"]
    said = -s["w"] * (1 + s["w"]) * a * (1 - a) * (s["S"] - s["S_y"]) ** 2 / (R * R_t)
    assert sympy.simplify(var - said) == 0
    at = {"m": 0.9, "S_y": 0.3, "S": 1.1, "w": 2.0, "abar": SCHEDULE.alpha_bar[8]}
    number = float(said.subs({s[name]: value for name, value in at.items()}))
    assert gap(GIVEN_Y, ALL, 2.0, 8, SCHEDULE)[1] == pytest.approx(number, abs=1e-14)


def test_11_11_by_sympy() -> None:
    mean, _, s = symbolic_gaps()
    R = (1 + s["w"]) * s["S"] - s["w"] * s["S_y"]
    R_t = s["abar"] * R + 1 - s["abar"]
    a = s["abar"]
    said = s["w"] * (1 + s["w"]) * sympy.sqrt(a) * (1 - a) * s["m"] * (s["S"] - s["S_y"])
    assert sympy.simplify(mean - said / (R * R_t)) == 0
    at = {"m": 0.9, "S_y": 0.3, "S": 1.1, "w": 2.0, "abar": SCHEDULE.alpha_bar[8]}
    number = float((said / (R * R_t)).subs({s[name]: value for name, value in at.items()}))
    assert gap(GIVEN_Y, ALL, 2.0, 8, SCHEDULE)[0][0] == pytest.approx(number, abs=1e-14)


def test_11_10_by_numbers_in_the_text() -> None:
    """The printed example, and that a class of a quarter, but not of 0.26, fits into the data."""
    half = Schedule(np.array([0, 0.5]))
    given_y = Gaussian(np.ones(1), 0.25)
    laws = both_orders(given_y, 1.0, 3.0, 1, half)
    printed = [(1.331, 0.294), (0.870, 0.538)]
    for law, said in zip(laws, printed, strict=True):
        assert (law.mean[0], law.var) == pytest.approx(said, abs=5e-4)
    rest = norm.pdf(LINE) - 0.25 * norm.pdf(LINE, 1, 0.5)
    assert rest.min() > 0 > (norm.pdf(LINE) - 0.26 * norm.pdf(LINE, 1, 0.5)).min()


@pytest.mark.parametrize("w", SCORE_WEIGHTS)
def test_11_10_by_boundaries(w: float) -> None:
    """No gap at w = 0, -1, at t = 0, nor for a class like all the data; too narrow at w > 0."""
    narrower = [-gap(GIVEN_Y, ALL, w, t, SCHEDULE)[1] for t in range(21)]
    assert narrower[0] == 0
    assert np.allclose(np.sign(narrower[1:]), np.sign(w * (1 + w)))
    alike = Gaussian(np.array([0.9]), ALL)
    assert gap(alike, ALL, w, 8, SCHEDULE)[1] == 0
    end = Schedule.cosine(1000)  # abar_T is 2.4e-9 there, and the gap at most some tens of it
    assert gap(GIVEN_Y, ALL, w, 1000, end)[1] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("w", SCORE_WEIGHTS)
def test_11_11_by_boundaries(w: float) -> None:
    """The same for the mean: too far from the middle of all data at w > 0, on either side of it."""
    for m in (0.9, -0.9):
        law = Gaussian(np.array([m]), 0.3)
        further = [gap(law, ALL, w, t, SCHEDULE)[0][0] for t in range(21)]
        assert further[0] == 0
        assert np.allclose(np.sign(further[1:]), np.sign(w * (1 + w) * m))
    end = Schedule.cosine(1000)  # of order sqrt(abar_T), 4.9e-5
    assert gap(GIVEN_Y, ALL, w, 1000, end)[0][0] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("t", [-1, 21])
def test_11_10_by_refusal_of_t(t: int) -> None:
    for f in (both_orders, gap):
        with pytest.raises(ValueError, match=f"t = {t} is outside 0..20"):
            f(GIVEN_Y, ALL, 1.0, t, SCHEDULE)


@pytest.mark.parametrize("w", WEIGHTS)
def test_11_1_by_each_step(w: float) -> None:
    """Classifier guidance with the gradient replaced by a difference, then gamma by 1 + w."""
    abar = SCHEDULE.alpha_bar[8]
    gamma = 1 + w
    gradient = (NULL - COND) / np.sqrt(1 - abar)
    first = NULL - gamma * np.sqrt(1 - abar) * gradient
    second = NULL + gamma * (COND - NULL)
    np.testing.assert_allclose(first, second, atol=1e-14)
    np.testing.assert_allclose(second, (1 + w) * COND - w * NULL, atol=1e-14)
    np.testing.assert_allclose(guide(COND, NULL, w), second, atol=1e-14)


def test_11_1_by_example_in_the_text() -> None:
    """The table of the two images: mixtures, and the guesses for the data that they imply."""
    root = np.sqrt(0.5)
    p = 1 / (1 + np.exp(-2 * root * 0.4 / 0.5))
    eps_0 = np.array([(0.4 - root) / root])
    eps_1 = np.array([(0.4 + root) / root])
    eps_null = p * eps_0 + (1 - p) * eps_1
    rows = re.findall(r"^\| (-?\d) \| (-?\d\.\d+) \| (\d\.\d+)", lesson.__doc__ or "", re.M)
    assert len(rows) == 4
    for w, mixture, guess in (map(float, row) for row in rows):
        found = guide(eps_0, eps_null, w)
        assert found[0] == pytest.approx(mixture, abs=5e-4)
        assert (0.4 - root * found[0]) / root == pytest.approx(guess, abs=5e-4)
    half = Schedule(np.array([0, 0.5]))
    x = np.array([0.4])
    assert guided_x0(eps_0, eps_null, x, 1, half, 3.0, clip=1.0)[0] == 1


def test_11_2_by_numbers_in_the_text() -> None:
    """Two cases in which (11.1) and (11.3) round and (11.2) does not."""
    assert (1 + 3) * 0.1 - 3 * 0.1 == 0.09999999999999998
    assert 0.4 + 1 * (0.1 - 0.4) == 0.09999999999999998
    tenth = np.array([0.1])
    assert guide(tenth, tenth, 3.0)[0] == 0.1
    assert guide(tenth, np.array([0.4]), 0.0)[0] == 0.1


def test_11_5_by_each_step() -> None:
    """An affine function passes each line of the proof; clipping fails the first.

    The function u^3 / (u^2 + v^2) is straight along every ray, so it passes the line with b = 0.
    It fails the line with w = -1/2.
    """
    A = np.array([[0.3, -1.2], [0.7, 0.4]])

    def affine(x: np.ndarray) -> np.ndarray:
        return x @ A + np.array([0.5, -2.0])

    def bent(x: np.ndarray) -> np.ndarray:
        u, v = x.T
        return np.stack([u**3 / (u**2 + v**2), 0 * u], 1)

    zero = affine(np.zeros(2))
    for w in (-0.5, 1.0, 2.5):
        mixed = affine((1 + w) * COND - w * NULL)
        np.testing.assert_allclose(mixed, (1 + w) * affine(COND) - w * affine(NULL), atol=1e-13)
        clipped = np.clip((1 + w) * COND - w * NULL, -1, 1)
        other = (1 + w) * np.clip(COND, -1, 1) - w * np.clip(NULL, -1, 1)
        assert np.abs(clipped - other).max() > 0.1
        for f, at_zero in ((affine, zero), (bent, 0)):
            scaled = f((1 + w) * COND) - at_zero
            np.testing.assert_allclose(scaled, (1 + w) * (f(COND) - at_zero), atol=1e-13)
    for f, at_zero, passes in ((affine, zero, True), (bent, 0, False)):
        middle = f((COND + NULL) / 2) - at_zero
        mean = (f(COND) + f(NULL)) / 2 - at_zero
        assert np.allclose(middle, mean, atol=1e-13) == passes
        whole = f(COND + NULL) - at_zero
        np.testing.assert_allclose(whole, 2 * middle, atol=1e-13)
        assert np.allclose(whole, f(COND) + f(NULL) - 2 * at_zero, atol=1e-13) == passes


@pytest.mark.parametrize("w", SCORE_WEIGHTS)
def test_11_7_by_each_step(w: float) -> None:
    """Predictions over minus the noise are scores; the mixture of slopes is that of the product."""
    h = 1e-5
    t = 8
    noise = np.sqrt(1 - SCHEDULE.alpha_bar[t])
    model = oracle_eps(MIXTURE, SCHEDULE)
    eps_null = model(POINTS, t, labels(K))
    for y in range(K):
        eps_y = model(POINTS, t, labels(y))
        mixture = (1 + w) * eps_y - w * eps_null
        for i, step in enumerate(h * np.eye(2)):
            above = scipy_log_p(POINTS + step, t)
            below = scipy_log_p(POINTS - step, t)
            s_y = (above - below)[y] / (2 * h)
            s_all = (above - below)[K] / (2 * h)
            found = -mixture[:, i] / noise
            # h^2 / 6 times third derivatives of some hundreds, 1e-14 / h of rounding, and 1 + w
            np.testing.assert_allclose(found, (1 + w) * s_y - w * s_all, atol=3e-6)
            product = [np.exp((1 + w) * p[y] - w * p[K]) for p in (above, below)]
            slope = np.log(product[0] / product[1]) / (2 * h)
            np.testing.assert_allclose(found, slope, atol=3e-6)


def test_11_8_by_numbers_in_the_text() -> None:
    """The pinwheel's fractions and the sum of its variances, at three weights."""
    line = np.arange(-6, 6, 0.05)
    x = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    mixture = pinwheel()
    schedule = Schedule.cosine(10)
    log_joint = [
        multivariate_normal(m, C).logpdf(x)
        for m, C in zip(mixture.means, mixture.covs, strict=True)
    ]
    lost = np.argmax(log_joint, 0) != 0
    found = []
    for w in (0.0, 1.0, 3.0):
        p = np.exp(log_tilted(x, 0, labels(0, len(x)), w, mixture, schedule))
        p /= p.sum()
        var = p @ x**2 - (p @ x) ** 2
        found.append([p[lost].sum(), var.sum()])
    fractions, variances = np.array(found).T
    # The border of the classes cuts cells of the grid. Moving the grid changes the first
    # fraction by 0.001 (standard deviation over 40 positions).
    np.testing.assert_allclose(fractions, [0.099, 0.026, 0.004], atol=2e-3)
    np.testing.assert_allclose(variances, [0.56, 0.47, 0.44], atol=5e-3)


# Variances of the class and of all, w: also a class wider than all, which no data have.
TILTS = [(0.3, 1.1, 2.0), (0.3, 1.1, -0.4), (1.4, 1.1, 2.0), (1.4, 1.1, -0.4)]


@pytest.mark.parametrize(("S_y", "S", "w"), TILTS)
def test_11_9_by_each_step(S_y: float, S: float, w: float) -> None:
    """The factor of x^2, and the exponent that both factors make, up to a constant."""
    m = 0.9
    R = (1 + w) * S - w * S_y
    factor = -(1 + w) / (2 * S_y) + w / (2 * S)
    assert factor == pytest.approx(-R / (2 * S_y * S), abs=1e-14)
    x = np.linspace(-3, 3, 7)
    left = -(1 + w) * (x - m) ** 2 / (2 * S_y) + w * x**2 / (2 * S)
    right = factor * x**2 + (1 + w) * m * x / S_y
    np.testing.assert_allclose(left - right, (left - right)[0], atol=1e-13)
    law = tilt(Gaussian(np.array([m]), S_y), S, w)
    as_gaussian = -(x**2) / (2 * law.var) + law.mean[0] * x / law.var
    np.testing.assert_allclose(as_gaussian, right, atol=1e-13)


@pytest.mark.parametrize(("S_y", "S", "w"), TILTS)
@pytest.mark.parametrize("t", [1, 8, 20])
def test_11_10_by_each_step(t: int, S_y: float, S: float, w: float) -> None:
    """Each displayed line at numbers, also where the class is wider than all data.

    The sign of S - S_y does not matter here: it is squared.
    """
    a = SCHEDULE.alpha_bar[t]
    C_y = a * S_y + 1 - a
    C = a * S + 1 - a
    R = (1 + w) * S - w * S_y
    R_t = (1 + w) * C - w * C_y
    assert R_t == pytest.approx(a * R + 1 - a, abs=1e-14)
    squares = a**2 * S_y * S + (1 - a) ** 2
    assert C_y * C == pytest.approx(squares + a * (1 - a) * (S_y + S), abs=1e-14)
    second = (a * S_y * S / R + 1 - a) * R_t
    assert second == pytest.approx(squares + a * (1 - a) * (S_y * S / R + R), abs=1e-13)
    delta_V = C_y * C / R_t - (a * S_y * S / R + 1 - a)
    bracket = S_y + S - S_y * S / R - R
    assert R_t * delta_V == pytest.approx(a * (1 - a) * bracket, abs=1e-14)
    assert bracket == pytest.approx(-(R - S_y) * (R - S) / R, abs=1e-14)
    given_y = Gaussian(np.array([0.9]), S_y)
    assert gap(given_y, S, w, t, SCHEDULE)[1] == pytest.approx(delta_V, abs=1e-14)
    aimed, noised_tilt = both_orders(given_y, S, w, t, SCHEDULE)
    assert aimed.var - noised_tilt.var == pytest.approx(delta_V, abs=1e-14)


@pytest.mark.parametrize(("S_y", "S", "w"), TILTS)
@pytest.mark.parametrize("t", [1, 8, 20])
def test_11_11_by_each_step(t: int, S_y: float, S: float, w: float) -> None:
    """The means; their difference has the sign of S - S_y, so a wider class reverses it."""
    a = SCHEDULE.alpha_bar[t]
    C = a * S + 1 - a
    R = (1 + w) * S - w * S_y
    R_t = a * R + 1 - a
    difference = C / R_t - S / R
    assert difference == pytest.approx((1 - a) * (R - S) / (R * R_t), abs=1e-14)
    delta_M = (1 + w) * np.sqrt(a) * 0.9 * difference
    given_y = Gaussian(np.array([0.9]), S_y)
    assert gap(given_y, S, w, t, SCHEDULE)[0][0] == pytest.approx(delta_M, abs=1e-14)
    assert np.sign(delta_M) == np.sign(w * (S - S_y))
    aimed, noised_tilt = both_orders(given_y, S, w, t, SCHEDULE)
    assert aimed.mean[0] - noised_tilt.mean[0] == pytest.approx(delta_M, abs=1e-14)


def test_11_11_by_numbers_in_the_text() -> None:
    """The whole guided chain of the example, and the largest ratio of the two densities.

    Each step is affine in x, so its values at 0 and at 1 give the mean and the variance.
    """
    schedule = Schedule.cosine(1000)
    x = np.array([0.0, 1.0])
    mean = 0.0
    var = 1.0
    for t in range(1000, 0, -1):
        abar = schedule.alpha_bar[t]
        noise = np.sqrt(1 - abar)
        eps_cond = noise * (x - np.sqrt(abar)) / (abar / 4 + 1 - abar)
        eps_null = noise * x
        step = p_xprev_given_xt(x[:, None], guide(eps_cond, eps_null, 3.0)[:, None], t, schedule)
        offset, at_one = step.mean[:, 0]
        # As in the text: the guess is linear in x_t, by the distribution of the guided score.
        aimed, _ = both_orders(Gaussian(np.ones(1), 0.25), 1.0, 3.0, t, schedule)
        k_t = (1 - (1 - abar) / aimed.var) / np.sqrt(abar)
        c_0, c_t, _ = posterior_coefficients(t, schedule)
        assert at_one - offset == pytest.approx(c_0 * k_t + c_t, rel=1e-9)
        assert offset == pytest.approx(
            c_0 * (1 - abar) * aimed.mean[0] / aimed.var / np.sqrt(abar), rel=1e-9
        )
        mean = offset + (at_one - offset) * mean
        var = (at_one - offset) ** 2 * var + step.var
    assert (mean, var) == pytest.approx((1.328, 0.047), abs=5e-4)
    law = tilt(Gaussian(np.ones(1), 0.25), 1.0, 3.0)
    assert (law.mean[0], law.var) == pytest.approx((1.231, 0.077), abs=5e-4)
    ratio = norm.pdf(LINE, 1, 0.5) / norm.pdf(LINE)
    # The grid has a step of 0.02; near its maximum the logarithm has the curvature 3.
    assert ratio.max() == pytest.approx(2 * np.exp(2 / 3), rel=3 * 0.01**2)
    assert 2 * np.exp(2 / 3) == pytest.approx(3.895, abs=5e-4)


MODEL = oracle_eps(MIXTURE, SCHEDULE)
Y = np.array([2, 0, 1, 0])  # a label for each of the POINTS


def log_classifier(x: np.ndarray, t: int) -> np.ndarray:
    """SciPy's `log p(y | x_t)`, one row per class."""
    log_p = scipy_log_p(x, t)
    return np.log(MIXTURE.weights)[:, None] + log_p[:K] - log_p[K]


def exact_slope(x: np.ndarray, t: int, y: int, w: float, v: float) -> np.ndarray:
    """The gradient of `w log p(x | y) + v log p(x)`, by differences of numbers with 40 digits."""
    mpmath.mp.dps = 40
    moments = [(mean, cov.tolist()) for mean, cov in moments_at(t)]

    def log_p(*at: mpmath.mpf) -> mpmath.mpf:
        each = []
        for mean, cov in moments:
            d = [a - m for a, m in zip(at, mean, strict=True)]
            P = mpmath.matrix(cov) ** -1
            squared = sum(d[i] * P[i, j] * d[j] for i in range(2) for j in range(2))
            each.append(mpmath.exp(-squared / 2) * mpmath.sqrt(mpmath.det(P)))
        every = sum(float(s) * p for s, p in zip(MIXTURE.weights, each, strict=True))
        return w * mpmath.log(each[y]) + v * mpmath.log(every)

    return np.array([float(mpmath.diff(log_p, tuple(x), n)) for n in ((1, 0), (0, 1))])


@pytest.mark.parametrize("w", SCORE_WEIGHTS)
@pytest.mark.parametrize("t", [1, 14])
def test_11_1_by_forty_digits(t: int, w: float) -> None:
    """Both guidances are the slope of (1 + w) log p(x | y) - w log p(x), times the noise."""
    null = MODEL(POINTS, t, labels(K))
    cond = MODEL(POINTS, t, Y)
    gradient = classifier_gradient(POINTS, t, Y, MIXTURE, SCHEDULE)
    with_one = classifier_guided_eps(null, gradient, 1 + w, t, SCHEDULE)
    without = guide(cond, null, w)
    noise = np.sqrt(1 - SCHEDULE.alpha_bar[t])
    for i in range(3):
        slope = exact_slope(POINTS[i], t, int(Y[i]), 1 + w, -w)
        for found in (with_one, without):
            np.testing.assert_allclose(found[i], -noise * slope, atol=ALGEBRA)


@pytest.mark.parametrize("w", SCORE_WEIGHTS)
@pytest.mark.parametrize("t", [1, 8, 14])
def test_11_1_by_weights_on_either_model(t: int, w: float) -> None:
    """1 + w on the unconditional model is w on the conditional one; the gradient is SciPy's."""
    h = 1e-5
    rows = np.arange(len(POINTS))
    ends = [[log_classifier(POINTS + s * a, t)[Y, rows] for s in (h, -h)] for a in np.eye(2)]
    gradient = np.array([up - down for up, down in ends]).T / (2 * h)
    null = MODEL(POINTS, t, labels(K))
    cond = MODEL(POINTS, t, Y)
    on_null = classifier_guided_eps(null, gradient, 1 + w, t, SCHEDULE)
    on_cond = classifier_guided_eps(cond, gradient, w, t, SCHEDULE)
    # as in the finite differences above, times 1 + w
    np.testing.assert_allclose(on_null, on_cond, atol=4e-6)
    np.testing.assert_allclose(on_null, guide(cond, null, w), atol=4e-6)


def test_11_1_by_the_unit_between_them() -> None:
    """The same weight on both models is off by one whole gradient, d = eps of y less eps of all."""
    null = MODEL(POINTS, 8, labels(K))
    cond = MODEL(POINTS, 8, Y)
    gradient = classifier_gradient(POINTS, 8, Y, MIXTURE, SCHEDULE)
    for w in SCORE_WEIGHTS:
        pair = [classifier_guided_eps(e, gradient, w, 8, SCHEDULE) for e in (cond, null)]
        np.testing.assert_allclose(pair[0] - pair[1], cond - null, atol=ALGEBRA)
    assert np.abs(cond - null).max() > 0.5
