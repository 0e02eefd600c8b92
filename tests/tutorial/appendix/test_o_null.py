"""Appendix O: autoguidance, ReCFG and random labels, by definition, by the ODE, by samples."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import root_scalar
from scipy.stats import norm

import tutorial.appendix.o_null as lesson
from tutorial.appendix.o_null import (
    Autoguided,
    RandomLabel,
    autoguided,
    autoguided_var,
    both_eps,
    gap,
    independent_law,
    mean_over_labels,
    random_label,
    ratio,
    recfg,
    recfg_var,
    right_weight,
    with_var,
)
from tutorial.contract import Denoiser
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step05_best_guess import noised, oracle_eps
from tutorial.step11_guidance import guide
from tutorial.step17_solvers import Table, ddim, run
from tutorial.step19_rules import run_rule, top_class

SCHEDULE = Schedule.cosine(40)
DATA = three_gaussians()
MODEL = oracle_eps(DATA, SCHEDULE)
Y = np.arange(30) % 3
COND, NULL = np.random.default_rng(0).standard_normal((2, 40, 2))
ALGEBRA = 1e-10  # float64, dozens of rows, and 1 / sqrt(abar_T) = 5e2


class Unlabelled:
    """The good model without its label, for every label."""

    num_classes = 3
    prediction = "eps"

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
        return MODEL(xt, t, np.full_like(y, 3))


def chain(model: Denoiser, w: float) -> np.ndarray:
    return run(model, Y, ddim(SCHEDULE, 12, 0.5), w, np.random.default_rng(0))


def row_of(name: str) -> tuple[float, float, float]:
    """Mean height and both variances in the row of the text's table that begins with `name`."""
    row = re.search(rf"\n\| {re.escape(name)} \|(.*)\|\n", lesson.__doc__ or "")
    assert row is not None
    height, var_x, var_y = (float(number) for number in row[1].split("|"))
    return height, var_x, var_y


@pytest.mark.parametrize("w", [0.0, 2.0])
def test_o_1_by_plain_guidance(w: float) -> None:
    """The bad model is the good one without a label; or it is the good one."""
    np.testing.assert_array_equal(chain(Autoguided(MODEL, Unlabelled(), Y), w), chain(MODEL, w))
    same = chain(Autoguided(MODEL, MODEL, Y), w)
    np.testing.assert_array_equal(same, chain(MODEL, 0.0))


def test_o_1_by_one_row() -> None:
    """One row from T to 0 is the guess of the mixture, here of two constants."""

    class Constant:
        num_classes = 3
        prediction = "x0"

        def __init__(self, of_label: float) -> None:
            self.of_label = of_label

        def __call__(self, xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
            return np.broadcast_to(self.of_label * (1 + y)[:, None], xt.shape)

    table = Table(np.array([1]), np.array([0]), np.array([[0.0, 1, 1, 0, 0, 0, 0, 1]]))
    x = run(Autoguided(Constant(1.0), Constant(0.3), Y), Y, table, 2.0, np.random.default_rng(0))
    np.testing.assert_allclose(x[:, 0], (1 + Y) * (3 * 1.0 - 2 * 0.3), atol=1e-14)


def variance(start: float, tau: float, factor: Callable[[float], float]) -> float:
    """The variance at sigma = 0 of dx / d sigma = factor(sigma) x: `start` at sigma^2 = `tau`."""
    solved = solve_ivp(
        lambda sigma, x: x * factor(sigma), (tau**0.5, 0), [1.0], rtol=1e-10, atol=1e-14
    )
    return start * solved.y[0, -1] ** 2


def factor_of_mixture(w: float, good: float, bad: float) -> Callable[[float], float]:
    """The mixture (O.1) per unit of distance from the mean, from the two conditional means."""

    def eps(sigma: float, S: float) -> float:
        # E[eps | x0 + sigma eps = 1] for x0 ~ N(0, S): covariance over variance
        return sigma / (S + sigma**2)

    return lambda sigma: (1 + w) * eps(sigma, good) - w * eps(sigma, bad)


@pytest.mark.parametrize(("good", "bad"), [(0.25, 0.5), (0.3, 0.4)])
@pytest.mark.parametrize("w", [0.0, 1.0, 3.0])
def test_o_2_by_differential_equation(w: float, good: float, bad: float) -> None:
    """From tau = 1e5 on: what is missing is a fraction of the order w / tau of the limit."""
    found = variance(1 + 1e5, 1e5, factor_of_mixture(w, good, bad))
    assert found == pytest.approx(autoguided_var(good, bad, w), rel=1e-4)


def test_o_2_by_samples() -> None:
    """Both moments; 50 rows of DDIM leave an eighth less than the limit at w = 3."""
    for w, var in ((1.0, 0.116), (3.0, 0.0275)):
        x = autoguided(w, n=2000)
        assert x.mean(0) == pytest.approx([0, 1.5], abs=5 * (var / 2000) ** 0.5)
        assert x.var() - x.mean(0).var() == pytest.approx(var, rel=5 / 2000**0.5)
        assert 0.85 < var / autoguided_var(0.25, 0.5, w) < 0.95


def test_o_2_by_ends() -> None:
    assert autoguided_var(0.25, 0.5, 0.0) == 0.25  # no guidance
    assert autoguided_var(0.25, 0.25, 3.0) == 0.25  # two equal models
    assert autoguided_var(1.0, 2.0, 2.0) == 0.25  # Bradley and Nakkiran's, gamma = 3


def test_o_2_by_each_step() -> None:
    """The prediction by Bayes' rule on a grid, the derivative, the integral, and the limit."""
    m, S, good, bad, w = 1.5, 0.25, 0.3, 0.4, 0.7
    schedule = Schedule.cosine(1000)
    one = GaussianMixture(np.array([[m, m]]), S * np.eye(2)[None], np.ones(1))
    abar = schedule.alpha_bar[400]
    sigma = np.sqrt((1 - abar) / abar)
    bar = np.array([[0.3, 2.0]])
    found = oracle_eps(one, schedule)(np.sqrt(abar) * bar, 400, np.array([0]))
    np.testing.assert_allclose(sigma * (bar - m) / (S + sigma**2), found, rtol=1e-12)

    h = 1e-5  # a central difference: its error is of the order h^2
    factor = factor_of_mixture(w, good, bad)
    solved = solve_ivp(
        lambda s, x: factor(s) * (x - m), (sigma - h, sigma + h), [2.0], rtol=1e-12, atol=1e-14
    )
    slope = (np.log(solved.y[0, -1] - m) - np.log(2.0 - m)) / (2 * h)
    right = (1 + w) * sigma / (good + sigma**2) - w * sigma / (bad + sigma**2)
    assert slope == pytest.approx(right, rel=1e-7)

    tau = 9.0
    product = (good / (good + tau)) ** ((1 + w) / 2) * ((bad + tau) / bad) ** (w / 2)
    integral = quad(factor, 3.0, 0.0)[0]  # log of x_0 - m over xbar_T - m
    logs = (1 + w) / 2 * np.log(good / (good + tau)) - w / 2 * np.log(bad / (bad + tau))
    assert logs == pytest.approx(integral, rel=1e-10)
    assert np.log(product) == pytest.approx(integral, rel=1e-10)
    V = (1 + tau) * (good / (good + tau)) ** (1 + w) * ((bad + tau) / bad) ** w
    assert variance(1 + tau, tau, factor) == pytest.approx(V, rel=1e-8)
    tau = 1e9
    V = (1 + tau) * (good / (good + tau)) ** (1 + w) * ((bad + tau) / bad) ** w
    assert autoguided_var(good, bad, w) == pytest.approx(V, rel=1e-8)


@pytest.mark.parametrize(
    ("S", "good", "bad"), [(0.25, 0.3, 0.4), (1.0, 1.05, 1.15), (0.25, 0.25, 0.4)]
)
def test_o_3_by_root_finding(S: float, good: float, bad: float) -> None:
    """The zero of V - S along w, with V by the differential equation at tau = 1e6."""

    def excess(w: float) -> float:
        return variance(1 + 1e6, 1e6, factor_of_mixture(w, good, bad)) - S

    root = root_scalar(excess, bracket=(-0.5, 2.0), xtol=1e-8).root
    # The limit differs by w / tau, and dV / dw = -S log(bad / good) is at least 0.02.
    assert right_weight(S, good, bad) == pytest.approx(root, abs=1e-4)


def test_o_3_by_numbers_of_the_text() -> None:
    assert round(right_weight(0.25, 0.3, 0.4), 3) == 0.634
    assert round(np.log(0.3 / 0.25), 3) == 0.182
    assert round(np.log(0.4 / 0.3), 3) == 0.288
    assert round(right_weight(1.0, 1.05, 1.15), 3) == 0.536  # each adds a constant
    assert right_weight(1.0, 1.2, 1.6) == pytest.approx(right_weight(0.25, 0.3, 0.4), rel=1e-12)
    # With S_g = S nothing has to be repaired.
    assert right_weight(0.25, 0.25, 0.4) == 0


def test_o_3_by_samples() -> None:
    """Two wrong models with w* sample as one row-by-row right model does: both lose a part."""
    w = right_weight(0.25, 0.3, 0.4)
    x = autoguided(w, 0.3, 0.4, n=1000)
    wanted = autoguided(0.0, 0.25, n=1000)  # the same noise, so there is no sampling error
    # Both are affine in the noise with the same limit. The rows differ by less than 1 % of it.
    np.testing.assert_allclose(x, wanted, rtol=0, atol=0.02)
    alone = autoguided(0.0, 0.3, n=1000)
    assert alone.var(0) == pytest.approx(1.2 * wanted.var(0), rel=0.02)


@pytest.mark.parametrize(
    ("S", "good", "bad"), [(0.3, 0.25, 0.4), (0.25, 0.4, 0.4), (0.25, 0.4, 0.3), (0.0, 0.3, 0.4)]
)
def test_o_3_by_refusal(S: float, good: float, bad: float) -> None:
    with pytest.raises(ValueError, match="they must satisfy 0 < S <= S_good < S_bad"):
        right_weight(S, good, bad)


@pytest.mark.parametrize(
    ("name", "w", "good", "bad"),
    [
        ("autoguidance, $S_g = 0.25$, $S_b = 0.5$, $w = 1$", 1.0, 0.25, 0.5),
        ("autoguidance, $S_g = 0.25$, $S_b = 0.5$, $w = 3$", 3.0, 0.25, 0.5),
        ("good model alone, $S_g = 0.3$", 0.0, 0.3, 0.4),
        ("autoguidance, $S_g = 0.3$, $S_b = 0.4$, $w = 0.634$", 0.634, 0.3, 0.4),
    ],
)
def test_o_3_by_the_table(name: str, w: float, good: float, bad: float) -> None:
    """With half of the samples, within five standard errors."""
    assert_row(name, autoguided(w, good, bad, n=2000))


def assert_row(name: str, x: np.ndarray) -> None:
    """The samples have the moments of the row, within five standard errors of fewer samples."""
    height, var_x, var_y = row_of(name)
    n = len(x)
    rounding = 0.0005  # of the variances; the heights have two decimals
    assert x[:, 1].mean() == pytest.approx(height, abs=5 * (var_y / n) ** 0.5 + 0.005)
    for found, var in zip(x.var(0), (var_x, var_y), strict=True):
        assert found == pytest.approx(var, abs=5 * (2 / n) ** 0.5 * var + rounding)


@pytest.mark.parametrize("w", [0.0, 2.0])
def test_o_4_by_neutral_ratio(w: float) -> None:
    np.testing.assert_array_equal(recfg(COND, NULL, w), guide(COND, NULL, w))
    np.testing.assert_array_equal(recfg(COND, NULL, 0.0, rho=0.3), COND)


def test_o_4_by_impulses_of_each_coordinate() -> None:
    one = np.ones((1, 2))
    none = np.zeros((1, 2))
    rho = np.array([0.5, 0.25])
    np.testing.assert_allclose(recfg(one, none, 2.0, rho=rho), [[3, 3]])
    np.testing.assert_allclose(recfg(none, one, 2.0, rho=rho), [[-1, -0.5]])


def test_o_4_by_samples() -> None:
    x = top_class(partial(recfg, rho=0.5), n=2000)
    assert x[:, 1].mean() == pytest.approx(1.6, abs=5 * (0.024 / 2000) ** 0.5)
    assert x.var(0) == pytest.approx([0.036, 0.024], rel=5 * (4 / 2000) ** 0.5)


def test_o_4_by_the_table() -> None:
    assert_row("plain guidance, $w = 3$", top_class(n=2000))
    assert_row(r"ReCFG, $\rho = 0.5$, $w = 3$", top_class(partial(recfg, rho=0.5), n=2000))


def test_o_5_by_mean_that_is_kept() -> None:
    """Outputs with means 2 and 0.8, 0.5 and -1: the mixture has the mean of the first."""
    cond = COND + np.array([2.0, 0.5])
    null = NULL + np.array([0.8, -1.0])
    g = recfg(cond, null, 3.0, rho=ratio(cond, null))
    # E[(1 + w) c - w rho n] = (1 + w) E[c] - w E[c].
    np.testing.assert_allclose(g.mean(0), cond.mean(0), atol=1e-13)
    assert np.abs(guide(cond, null, 3.0).mean(0) - cond.mean(0)).min() > 1


def test_o_5_by_each_step() -> None:
    """The mean of the mixture over noised points of the class, with some other ratio."""
    cond, null = both_eps(500, 1000, Schedule.cosine(1000))
    w, rho = 2.5, np.array([0.7, 0.2])
    left = recfg(cond, null, w, rho=rho).mean(0)
    right = (1 + w) * cond.mean(0) - w * rho * null.mean(0)
    np.testing.assert_allclose(left, right, atol=1e-13)


@cache
def means_by_quadrature(t: int) -> tuple[np.ndarray, np.ndarray]:
    """E[eps_y] and E[eps_null] over the noised top class, by sums over a grid."""
    q = noised(DATA, t, SCHEDULE)
    axis = np.linspace(-8.0, 8.0, 201)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    zero = np.zeros(len(points), int)
    weight = np.exp(q.log_density(points, zero)) * (axis[1] - axis[0]) ** 2
    return weight @ MODEL(points, t, zero), weight @ MODEL(points, t, zero + 3)


def test_o_5_by_quadrature() -> None:
    """With exact outputs, on a grid: E[eps_y] = 0, and E[eps_null] is not."""
    cond, null = means_by_quadrature(20)
    np.testing.assert_allclose(cond, 0, atol=1e-10)  # a smooth density whose tails end inside
    assert abs(null[0]) < 1e-10 and null[1] > 0.1
    # ratio() divides means, here of a single row each.
    assert abs(ratio(cond[None], null[None])[1]) < 1e-9


def test_o_5_by_a_coordinate_without_a_ratio() -> None:
    """Across, both means are 0, so every ratio keeps the mean. Measured ratios are random there."""
    cond, null = means_by_quadrature(20)
    for rho in (0.0, 0.5, 2.0):
        g = recfg(cond[None], null[None], 3.0, rho=rho)
        assert abs(g[0, 0]) < 1e-9
    found = [ratio(*both_eps(500, n, Schedule.cosine(1000)))[0] for n in (1000, 2000, 4000)]
    assert max(found) - min(found) > 0.05  # along, the same three differ by much less


def test_o_5_by_samples() -> None:
    cond, null = both_eps(500, 5000, Schedule.cosine(1000))
    assert np.abs(cond.mean(0)).max() < 5 * cond.std() / 5000**0.5
    assert null[:, 1].mean() > 0.1
    assert abs(ratio(cond, null)[1]) < 5 * cond.std() / 5000**0.5 / null[:, 1].mean()


def test_o_6_by_each_step() -> None:
    """Both equalities of the mean: over x_t it is that of the noise, which is 0."""
    for t in (5, 20, 39):
        cond, _ = means_by_quadrature(t)
        np.testing.assert_allclose(cond, 0, atol=1e-9)
    cond, _ = both_eps(500, 5000, Schedule.cosine(1000))
    rng = np.random.default_rng(0)
    rng.standard_normal((5000, 2))  # x_0, which `both_eps` draws first
    eps = rng.standard_normal((5000, 2))
    difference = eps - cond  # E[eps - E[eps | x_t, y]] = 0
    assert np.abs(difference.mean(0)).max() < 5 * difference.std() / 5000**0.5
    assert np.abs(eps.mean(0)).max() < 5 / 5000**0.5


@pytest.mark.parametrize("w", [0.0, 0.5, 2.0])
def test_o_6_by_differential_equation(w: float) -> None:
    found = variance(1 + 50.0, 50.0, lambda sigma: (1 + w) * sigma / (0.25 + sigma**2))
    assert found == pytest.approx(recfg_var(0.25, 50.0, w), rel=1e-7)


def test_o_6_by_chain() -> None:
    """200 rows of a chain that leaves some signal; 500 samples give the variance to a third."""
    schedule = Schedule(np.concatenate([[0], np.full(1000, 0.003)]))  # tau = 19
    tau = 1 / schedule.alpha_bar[-1] - 1
    model = oracle_eps(DATA, schedule)
    rng = np.random.default_rng(0)
    x = run_rule(model, np.zeros(500, int), ddim(schedule, 200), 0.5, rng, partial(recfg, rho=0.0))
    assert x[:, 0].var() == pytest.approx(recfg_var(0.25, tau, 0.5), rel=5 * (2 / 500) ** 0.5)


def test_o_6_by_collapse() -> None:
    x = top_class(partial(recfg, rho=0.0), n=200)
    assert x.std(0).max() < 1e-3
    assert x.mean(0) == pytest.approx([0, 1.5], abs=1e-3)
    assert row_of(r"ReCFG, $\rho = 0$, $w = 3$") == (1.5, 0.0, 0.0)
    assert recfg_var(0.25, 4e8, 3.0) < 1e-20


UNEQUAL = GaussianMixture(DATA.means, DATA.covs, np.array([0.5, 0.3, 0.2]))
POINTS = np.random.default_rng(3).standard_normal((50, 2))


def test_o_7_by_many_draws() -> None:
    """The mean of 4,000 outputs for random labels at one point, within 5 standard errors."""
    xt = np.tile([[0.4, 0.6]], (4000, 1))
    drawn = RandomLabel(MODEL, UNEQUAL.weights, np.random.default_rng(4))
    outputs = drawn(xt, 20, np.full(4000, 3))
    found = mean_over_labels(MODEL, xt[:1], 20, UNEQUAL.weights)[0]
    assert np.abs(outputs.mean(0) - found).max() < 5 * outputs.std(0).max() / 4000**0.5
    np.testing.assert_array_equal(drawn(xt[:3], 20, np.arange(3)), MODEL(xt[:3], 20, np.arange(3)))


def test_o_7_by_equal_and_single_labels() -> None:
    """All the probability on one label is that label's output; two halves are the midpoint."""
    one = mean_over_labels(MODEL, POINTS, 20, np.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(one, MODEL(POINTS, 20, np.full(50, 1)), atol=1e-14)
    two = mean_over_labels(MODEL, POINTS, 20, np.array([0.5, 0.0, 0.5]))
    ends = [MODEL(POINTS, 20, np.full(50, k)) for k in (0, 2)]
    np.testing.assert_allclose(two, (ends[0] + ends[1]) / 2, atol=1e-14)


@pytest.mark.parametrize("t", [1, 20, 39])
def test_o_8_by_the_null_output(t: int) -> None:
    """With unequal classes: the exact output for the null label, less (O.7)."""
    model = oracle_eps(UNEQUAL, SCHEDULE)
    null = model(POINTS, t, np.full(50, 3))
    found = null - mean_over_labels(model, POINTS, t, UNEQUAL.weights)
    np.testing.assert_allclose(gap(POINTS, t, UNEQUAL, SCHEDULE), found, atol=1e-12)
    if t == 20:
        assert np.abs(found).max() > 0.1  # a random label does not replace the null label


def test_o_8_by_scipy_densities() -> None:
    """The probabilities and the predictions from Gaussian densities, coordinate by coordinate."""
    abar = SCHEDULE.alpha_bar[20]
    sd = np.sqrt(0.25 * abar + 1 - abar)
    means = np.sqrt(abar) * UNEQUAL.means
    joint = UNEQUAL.weights * norm.pdf(POINTS[:, None], means, sd).prod(-1)
    p = joint / joint.sum(1, keepdims=True)
    eps = np.sqrt(1 - abar) * (POINTS[:, None] - means) / sd**2
    wanted = ((p - UNEQUAL.weights)[..., None] * eps).sum(1)
    np.testing.assert_allclose(gap(POINTS, 20, UNEQUAL, SCHEDULE), wanted, atol=1e-12)


@cache
def mean_squares(t: int) -> tuple[float, float, float]:
    """E|eps_y - null|^2, E|eps_y - mean over labels|^2, E|gap|^2 at T = 100, over a grid."""
    schedule = Schedule.cosine(100)
    model = oracle_eps(DATA, schedule)
    axis = np.linspace(-7.0, 7.0, 281)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    q = noised(DATA, t, schedule)
    density = np.exp(q.log_density(points)) * (axis[1] - axis[0]) ** 2
    p = np.exp(q.log_class_probability(points))
    null = model(points, t, np.full(len(points), 3))
    mean = mean_over_labels(model, points, t, DATA.weights)
    against_null = against_mean = 0.0
    for k in range(3):
        cond = model(points, t, np.full(len(points), k))
        against_null += density * p[:, k] @ ((cond - null) ** 2)
        against_mean += density * p[:, k] @ ((cond - mean) ** 2)
    of_gap = density @ gap(points, t, DATA, schedule) ** 2
    return float(np.sum(against_null)), float(np.sum(against_mean)), float(of_gap.sum())


def table_of_squares() -> list[list[float]]:
    doc = lesson.__doc__ or ""
    names = ("t", "against the null output", "against the mean over random labels")
    rows = [re.search(rf"\n\| {name} \|(.*)\|\n", doc) for name in names]
    return [[float(number) for number in row[1].split("|")] for row in rows if row]


def test_o_8_by_mean_squares_of_the_text() -> None:
    """The table by quadrature, to its last digit, and the two comparisons below it."""
    times, of_null, of_mean = table_of_squares()
    assert len(times) == 6
    for t, null, mean in zip(times, of_null, of_mean, strict=True):
        found = mean_squares(int(t))
        digit = 5.1e-5 if t == 1 else 5.1e-4
        assert found[:2] == pytest.approx((null, mean), abs=digit)
        # eps_y - eps_null has mean 0 given x_t, so the squares add.
        assert found[0] + found[2] == pytest.approx(found[1], abs=1e-8)
    assert of_mean[1] / of_null[1] == pytest.approx(15.4, abs=0.1)
    assert of_mean[4] / of_null[4] == pytest.approx(1 + 1 / 8, abs=0.01)


@pytest.mark.parametrize("w", [0.0, 1.0, 3.0])
def test_o_9_by_a_moved_class(w: float) -> None:
    """The chain with the mean over labels is that of the moved class without guidance."""
    model = RandomLabel(oracle_eps(UNEQUAL, SCHEDULE), UNEQUAL.weights)
    y = np.zeros(30, int)
    found = run(model, y, ddim(SCHEDULE, 12), w, np.random.default_rng(0))
    mean_all, _ = UNEQUAL.moments()
    law = independent_law(Gaussian(UNEQUAL.means[0], 0.25), mean_all, w)
    moved = GaussianMixture(law.mean[None], law.var * np.eye(2)[None], np.ones(1))
    wanted = run(oracle_eps(moved, SCHEDULE), y, ddim(SCHEDULE, 12), 0.0, np.random.default_rng(0))
    np.testing.assert_allclose(found, wanted, atol=ALGEBRA)


def test_o_9_by_each_step() -> None:
    """The mean over labels, and the mixture, as functions of the state over its signal."""
    S, w, t = 0.25, 1.7, 20
    abar = SCHEDULE.alpha_bar[t]
    sigma = np.sqrt((1 - abar) / abar)
    xt = np.sqrt(abar) * POINTS
    mean_all = UNEQUAL.weights @ UNEQUAL.means
    model = oracle_eps(UNEQUAL, SCHEDULE)
    mean = mean_over_labels(model, xt, t, UNEQUAL.weights)
    np.testing.assert_allclose(mean, sigma * (POINTS - mean_all) / (S + sigma**2), atol=1e-12)
    cond = model(xt, t, np.full(50, 1))
    m_w = UNEQUAL.means[1] + w * (UNEQUAL.means[1] - mean_all)
    wanted = sigma * (POINTS - m_w) / (S + sigma**2)
    np.testing.assert_allclose(cond + w * (cond - mean), wanted, atol=1e-12)


def test_o_9_by_samples() -> None:
    """The rows of the table, and the height 6 at w = 3; drawn labels widen, more rows less so."""
    assert_row("mean over random labels, $w = 1$", random_label(1.0, drawn=False, n=2000))
    assert_row("one random label per row, $w = 1$", random_label(1.0, n=2000))
    law = independent_law(Gaussian(DATA.means[0], 0.25), np.zeros(2), 3.0)
    np.testing.assert_allclose(law.mean, [0, 6], atol=1e-12)
    x = random_label(3.0, drawn=False, n=1000)
    assert x.mean(0) == pytest.approx(law.mean, abs=5 * (0.25 / 1000) ** 0.5)
    few = random_label(3.0, rows=50, n=1000).var(0).mean()
    many = random_label(3.0, rows=200, n=1000).var(0).mean()
    assert 0.25 < many < 0.36 < few  # .300 and .456, with standard errors of 3 %


def test_o_9_by_the_labels_of_the_text() -> None:
    """The numbers with drawn labels belong to their 4000 samples: to the last digit printed.

    Other labels move them by their standard error, 0.006, and no label is fixed by any argument.
    """
    x = random_label(1.0)
    height, var_x, var_y = row_of("one random label per row, $w = 1$")
    assert x[:, 1].mean() == pytest.approx(height, abs=0.005)
    assert x.var(0) == pytest.approx([var_x, var_y], abs=5.1e-4)
    text = " ".join((lesson.__doc__ or "").split())
    found = [random_label(3.0, rows=rows).var(0).mean() for rows in (50, 200)]
    assert f"is {found[0]:.2f} with 50 rows and {found[1]:.2f} with 200 rows" in text


def test_o_9_by_plain_guidance_at_the_end() -> None:
    """The null output differs: with it the same chain stays below the height 2.4."""
    plain = top_class(n=500)
    assert plain[:, 1].mean() < 2.5 < random_label(3.0, drawn=False, n=500)[:, 1].min()
    wide = with_var(DATA, 0.7)
    assert np.allclose(wide.covs, 0.7 * np.eye(2)) and wide.means is DATA.means
