"""Step 10, part 2: slopes and sums over SciPy's densities, and laws tilted and noised on grids."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from scipy.stats import multivariate_normal, norm

from tutorial.step00_notation import Gaussian, Schedule
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step10_guidance_score import both_orders, gap, guided_score, log_tilted, tilt

SCHEDULE = Schedule.linear(20)
K = 3
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
POINTS = np.array([[0.2, -0.3], [-1.4, 0.9], [0.5, 1.1], [2.5, -2.0]])
WEIGHTS = [-1.0, -0.4, 0.0, 1.0, 3.0]
LINE = np.linspace(-9, 9, 901)  # sums of smooth, decaying functions: exact to rounding
STEP = 0.02
GIVEN_Y = Gaussian(np.array([0.9]), 0.3)
ALL = 1.1


def scipy_log_p(x: np.ndarray, t: int) -> np.ndarray:
    """SciPy's log p(x_t | y), moments run step by step, a row a class; the last is log p(x_t)."""
    rows = []
    for mean, cov in zip(MIXTURE.means, MIXTURE.covs, strict=True):
        for s in range(1, t + 1):
            mean = np.sqrt(SCHEDULE.alpha[s]) * mean
            cov = SCHEDULE.alpha[s] * cov + SCHEDULE.beta[s] * np.eye(2)
        rows.append(multivariate_normal(mean, cov).logpdf(x))
    return np.array([*rows, np.log(MIXTURE.weights @ np.exp(rows))])


def labels(y: int, n: int = len(POINTS)) -> np.ndarray:
    return np.full(n, y)


@pytest.mark.parametrize("t", [1, 8, 20])
@pytest.mark.parametrize("w", WEIGHTS)
@pytest.mark.parametrize("y", range(K))
def test_10_7_by_finite_difference(y: int, w: float, t: int) -> None:
    """Of the powers of SciPy's densities."""
    h = 1e-5
    found = guided_score(POINTS, t, labels(y), w, MIXTURE, SCHEDULE)
    for i, step in enumerate(h * np.eye(2)):
        above, below = (scipy_log_p(POINTS + s * step, t) for s in (1, -1))
        slope = ((1 + w) * (above - below)[y] - w * (above - below)[K]) / (2 * h)
        # h^2 / 6 times third derivatives of some hundreds, 1e-14 / h of rounding, and 1 + w
        np.testing.assert_allclose(found[:, i], slope, atol=3e-6)


@pytest.mark.parametrize(("t", "w"), [(1, 1.0), (8, 2.0), (20, 3.0)])
def test_10_7_by_parts_on_a_grid(t: int, w: float) -> None:
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
@pytest.mark.parametrize("w", WEIGHTS)
def test_10_8_by_scipy(w: float, t: int) -> None:
    """The lesson computes the classifier's form; this is the left side, in SciPy's densities."""
    log_p = scipy_log_p(POINTS, t)
    for y in range(K):
        found = log_tilted(POINTS, t, labels(y), w, MIXTURE, SCHEDULE)
        np.testing.assert_allclose(found, (1 + w) * log_p[y] - w * log_p[K], atol=1e-11)
    each = log_tilted(POINTS[:3], t, np.array([2, 0, 1]), w, MIXTURE, SCHEDULE)
    expected = (1 + w) * log_p[[2, 0, 1], [0, 1, 2]] - w * log_p[K, :3]
    np.testing.assert_allclose(each, expected, atol=1e-11)


@pytest.mark.parametrize("y", range(K))
def test_10_8_by_weighted_samples(y: int) -> None:
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


@pytest.mark.parametrize("w", [*WEIGHTS, -1.05])
def test_10_9_by_grid(w: float) -> None:
    log_y = norm.logpdf(LINE, GIVEN_Y.mean[0], GIVEN_Y.var**0.5)
    density = powers(log_y, norm.logpdf(LINE, 0, ALL**0.5), w)
    law = tilt(GIVEN_Y, ALL, w)
    assert (law.mean[0], law.var) == pytest.approx(on_grid(density), abs=1e-11)


def test_10_9_by_sympy() -> None:
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
def test_10_9_by_refusal_of_no_mass(w: float) -> None:
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
def test_10_10_by_grids(t: int) -> None:
    """Every integral is a sum over the same grid; the kernel's deviation at t = 1 is 0.07."""
    for w in (-0.4, 2.0):
        (_, aimed), (_, wanted) = grids(w, t)
        laws = both_orders(GIVEN_Y, ALL, w, t, SCHEDULE)
        assert [law.var for law in laws] == pytest.approx([aimed, wanted], abs=1e-9)
        assert gap(GIVEN_Y, ALL, w, t, SCHEDULE)[1] == pytest.approx(aimed - wanted, abs=1e-9)


@pytest.mark.parametrize("t", [1, 8, 20])
def test_10_11_by_grids(t: int) -> None:
    for w in (-0.4, 2.0):
        (aimed, _), (wanted, _) = grids(w, t)
        laws = both_orders(GIVEN_Y, ALL, w, t, SCHEDULE)
        assert [law.mean[0] for law in laws] == pytest.approx([aimed, wanted], abs=1e-9)
        assert gap(GIVEN_Y, ALL, w, t, SCHEDULE)[0] == pytest.approx(aimed - wanted, abs=1e-9)


def symbolic_gaps() -> tuple[sympy.Expr, sympy.Expr, dict[str, sympy.Symbol]]:
    """Mean and variance of the first order less the second's, for all symbols, from (10.9)."""
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


def test_10_10_by_sympy() -> None:
    _, var, s = symbolic_gaps()
    R = (1 + s["w"]) * s["S"] - s["w"] * s["S_y"]
    R_t = s["abar"] * R + 1 - s["abar"]
    a = s["abar"]
    said = -s["w"] * (1 + s["w"]) * a * (1 - a) * (s["S"] - s["S_y"]) ** 2 / (R * R_t)
    assert sympy.simplify(var - said) == 0
    at = {"m": 0.9, "S_y": 0.3, "S": 1.1, "w": 2.0, "abar": SCHEDULE.alpha_bar[8]}
    number = float(said.subs({s[name]: value for name, value in at.items()}))
    assert gap(GIVEN_Y, ALL, 2.0, 8, SCHEDULE)[1] == pytest.approx(number, abs=1e-14)


def test_10_11_by_sympy() -> None:
    mean, _, s = symbolic_gaps()
    R = (1 + s["w"]) * s["S"] - s["w"] * s["S_y"]
    R_t = s["abar"] * R + 1 - s["abar"]
    a = s["abar"]
    said = s["w"] * (1 + s["w"]) * sympy.sqrt(a) * (1 - a) * s["m"] * (s["S"] - s["S_y"])
    assert sympy.simplify(mean - said / (R * R_t)) == 0
    at = {"m": 0.9, "S_y": 0.3, "S": 1.1, "w": 2.0, "abar": SCHEDULE.alpha_bar[8]}
    number = float((said / (R * R_t)).subs({s[name]: value for name, value in at.items()}))
    assert gap(GIVEN_Y, ALL, 2.0, 8, SCHEDULE)[0][0] == pytest.approx(number, abs=1e-14)


def test_10_10_by_numbers_in_the_text() -> None:
    """The printed example, and that a class of a quarter, but not of 0.26, fits into the data."""
    half = Schedule(np.array([0, 0.5]))
    given_y = Gaussian(np.ones(1), 0.25)
    laws = both_orders(given_y, 1.0, 3.0, 1, half)
    printed = [(1.331, 0.294), (0.870, 0.538)]
    for law, said in zip(laws, printed, strict=True):
        assert (law.mean[0], law.var) == pytest.approx(said, abs=5e-4)
    rest = norm.pdf(LINE) - 0.25 * norm.pdf(LINE, 1, 0.5)
    assert rest.min() > 0 > (norm.pdf(LINE) - 0.26 * norm.pdf(LINE, 1, 0.5)).min()


@pytest.mark.parametrize("w", WEIGHTS)
def test_10_10_by_boundaries(w: float) -> None:
    """No gap at w = 0, -1, at t = 0, nor for a class like all the data; too narrow at w > 0."""
    narrower = [-gap(GIVEN_Y, ALL, w, t, SCHEDULE)[1] for t in range(21)]
    assert narrower[0] == 0
    assert np.allclose(np.sign(narrower[1:]), np.sign(w * (1 + w)))
    alike = Gaussian(np.array([0.9]), ALL)
    assert gap(alike, ALL, w, 8, SCHEDULE)[1] == 0
    end = Schedule.cosine(1000)  # abar_T is 2.4e-9 there, and the gap at most some tens of it
    assert gap(GIVEN_Y, ALL, w, 1000, end)[1] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("w", WEIGHTS)
def test_10_11_by_boundaries(w: float) -> None:
    """The same for the mean: too far from the middle of all data at w > 0, on either side of it."""
    for m in (0.9, -0.9):
        law = Gaussian(np.array([m]), 0.3)
        further = [gap(law, ALL, w, t, SCHEDULE)[0][0] for t in range(21)]
        assert further[0] == 0
        assert np.allclose(np.sign(further[1:]), np.sign(w * (1 + w) * m))
    end = Schedule.cosine(1000)  # of order sqrt(abar_T), 4.9e-5
    assert gap(GIVEN_Y, ALL, w, 1000, end)[0][0] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("t", [-1, 21])
def test_10_10_by_refusal_of_t(t: int) -> None:
    for f in (both_orders, gap):
        with pytest.raises(ValueError, match=f"t = {t} is outside 0..20"):
            f(GIVEN_Y, ALL, 1.0, t, SCHEDULE)
