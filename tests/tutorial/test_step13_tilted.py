"""Step 13: the tilted distribution by other quadratures, SciPy's densities and rejection.

The table is verified by simulation, and without random numbers by sums over grids.

DDIM is a map: grid points of x_T, weighed by N(0, I), are sent through it. Algorithm 2 is a Markov
chain: the mean of f(x_0) given x_t is carried back, one step after the other, on a grid of x_t.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates
from scipy.stats import kstest, multivariate_normal, norm

from tutorial.appendix.b_chain_distribution import dkw_bound
from tutorial.figures.step13_tilted import TABLE, guided_samples
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step13_tilted import (
    keep,
    moments_on_grid,
    slope_in_w,
    step_without_noise,
    steps_without_noise,
    summary,
    tilted_mass,
    tilted_on_grid,
)
from tutorial.step16_log_snr import algorithm_2, log_snr_grid, schedule_from
from tutorial.step17_solvers import ddim, run

THREE = three_gaussians()
K = 3
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
HALF = 6.0
SIDE = 151  # what MIXTURE needs; a step of 0.08 against deviations of 0.35 and more
WEIGHTS = [-0.6, 0.0, 1.0, 3.0]


def scipy_log_p(x: np.ndarray) -> np.ndarray:
    """SciPy's log p(x | y), a row a class; the last row is log p(x)."""
    pairs = zip(MIXTURE.means, MIXTURE.covs, strict=True)
    rows = [multivariate_normal(mean, cov).logpdf(x) for mean, cov in pairs]
    return np.array([*rows, np.log(MIXTURE.weights @ np.exp(rows))])


def by_hermite(y: int, w: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Z, mean and covariance as means over the class alone, by 100 x 100 Gauss-Hermite points.

    No square that could cut anything off: the points are those of the class. Off by 1e-6 at most,
    as 120 points show, because p(y | x) has poles near the real axis.
    """
    z, share = np.polynomial.hermite_e.hermegauss(100)
    z = np.stack(np.meshgrid(z, z), -1).reshape(-1, 2)
    x = MIXTURE.means[y] + z @ np.linalg.cholesky(MIXTURE.covs[y]).T
    log_p = scipy_log_p(x)
    weights = np.outer(share, share).ravel() / share.sum() ** 2 * np.exp(w * (log_p[y] - log_p[K]))
    mean = weights @ x / weights.sum()
    return weights.sum(), mean, (weights[:, None] * (x - mean)).T @ (x - mean) / weights.sum()


@pytest.mark.parametrize("w", WEIGHTS)
@pytest.mark.parametrize("y", range(K))
def test_13_1_by_gauss_hermite(y: int, w: float) -> None:
    mean, cov = moments_on_grid(*tilted_on_grid(MIXTURE, y, w, HALF, SIDE))
    _, expected_mean, expected_cov = by_hermite(y, w)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-5)
    np.testing.assert_allclose(cov, expected_cov, atol=1e-5)


@pytest.mark.parametrize("w", WEIGHTS)
def test_13_1_by_scipy_densities(w: float) -> None:
    """Probabilities add up to 1, and over a cell's area are powers of SciPy's densities over Z."""
    for y in range(K):
        points, p = tilted_on_grid(MIXTURE, y, w, HALF, SIDE)
        assert p.sum() == pytest.approx(1, abs=1e-12)
        near = np.abs(points - MIXTURE.means[y]).max(1) < 1
        log_p = scipy_log_p(points[near])
        powers = np.exp((1 + w) * log_p[y] - w * log_p[K])
        found = p[near] / (2 * HALF / (SIDE - 1)) ** 2
        np.testing.assert_allclose(found, powers / by_hermite(y, w)[0], rtol=1e-5)


def test_13_1_by_order_of_points() -> None:
    """Row by row from the lowest, as the docstring has it: what a picture needs."""
    points, p = tilted_on_grid(THREE, 0, 1.0)
    assert points.shape == (401 * 401, 2) and p.shape == (401 * 401,)
    np.testing.assert_allclose(points[[0, 400, -401, -1]], [[-4, -4], [4, -4], [-4, 4], [4, 4]])
    image = p.reshape(401, 401)
    assert image[275:].sum() > 0.5 > image[:, 275:].sum()  # the top class: rows are heights


def test_13_1_by_figures_in_the_text() -> None:
    """The heights and variances of the top class, printed to three digits."""
    said = {0.0: (1.500, 0.250, 0.250), 1.0: (1.515, 0.244, 0.235), 3.0: (1.526, 0.241, 0.226)}
    for w, figures in said.items():
        mean, cov = moments_on_grid(*tilted_on_grid(THREE, 0, w))
        assert (mean[1], cov[0, 0], cov[1, 1]) == pytest.approx(figures, abs=5e-4)
        np.testing.assert_allclose([mean[0], cov[0, 1]], 0, atol=1e-9)  # it is symmetric


def test_13_2_by_crude_grids() -> None:
    """A Gaussian of variance 1/4 on a grid of step 0.7: off by the factors that the text names.

    One of its points on the mean is worst in one direction, four around it in the other.
    """
    covs = np.tile(0.25 * np.eye(2), (2, 1, 1))
    for mean, error in ((0.0, 1.7e-4), (0.35, -1.7e-4)):
        mixture = GaussianMixture(np.full((2, 2), mean), covs, np.full(2, 0.5))
        assert tilted_mass(mixture, 0, 0.0, half=4.2, n=13) - 1 == pytest.approx(error, abs=2e-6)


def test_13_1_by_refusal_of_what_is_cut_off() -> None:
    """A square too small, and a weight at which the density grows without end."""
    with pytest.raises(ValueError, match=r"w = 1.0: .* lies on the edge of half = 2.5; take"):
        tilted_on_grid(THREE, 0, 1.0, half=2.5)
    wide = GaussianMixture(
        np.zeros((2, 2)), np.array([1.0, 0.2])[:, None, None] * np.eye(2), np.full(2, 0.5)
    )
    with pytest.raises(ValueError, match=r"w = -2.0: .* lies on the edge"):
        tilted_on_grid(wide, 1, -2.0)


def test_13_1_by_weights_of_any_sum() -> None:
    """`moments_on_grid` takes samples, each of weight 1, for what they are."""
    x = np.random.default_rng(0).standard_normal((50, 2)) @ [[1.0, 0.5], [0.0, 2.0]] + [3, -1]
    mean, cov = moments_on_grid(x, np.ones(50))
    np.testing.assert_allclose(mean, x.mean(0), atol=1e-12)
    np.testing.assert_allclose(cov, np.cov(x.T, bias=True), atol=1e-12)


@pytest.mark.parametrize("w", WEIGHTS)
@pytest.mark.parametrize("y", range(K))
def test_13_2_by_gauss_hermite(y: int, w: float) -> None:
    assert tilted_mass(MIXTURE, y, w, HALF, SIDE) == pytest.approx(by_hermite(y, w)[0], rel=1e-5)


@pytest.mark.parametrize("w", [-0.6, 1.0, 3.0])
def test_13_2_by_integral_on_a_line(w: float) -> None:
    """Two classes that differ along one axis: there Z is one integral, done by `quad`."""
    means = np.array([[1.0, 0.3], [-1.0, 0.3]])
    share = np.array([0.3, 0.7])
    mixture = GaussianMixture(means, np.tile(0.4 * np.eye(2), (2, 1, 1)), share)

    def integrand(x: float) -> float:
        of_0, of_1 = (norm.pdf(x, a, 0.4**0.5) for a in (1, -1))
        return of_0 * (of_0 / (0.3 * of_0 + 0.7 * of_1)) ** w

    expected = quad(integrand, -6, 6, epsabs=1e-11)[0]  # beyond, less than 1e-14 of both classes
    assert tilted_mass(mixture, 0, w, HALF, SIDE) == pytest.approx(expected, abs=1e-9)


def test_13_2_by_shares_in_the_text() -> None:
    """98.6% and 97.5% are kept; nothing is tilted at w = 0; at w = -1 it is the data's own mass."""
    for w, said in ((1.0, 0.986), (3.0, 0.975)):
        assert tilted_mass(THREE, 0, w) / 3**w == pytest.approx(said, abs=5e-4)
    for w in (0.0, -1.0):
        assert tilted_mass(MIXTURE, 1, w, HALF, SIDE) == pytest.approx(1, abs=1e-6)


def test_13_2_by_each_step() -> None:
    """Both integrals for class 1 of MIXTURE at w = 2, as sums over a grid of SciPy's densities."""
    axis = np.linspace(-HALF, HALF, 301)
    x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    area = (axis[1] - axis[0]) ** 2
    log_p = scipy_log_p(x)
    p_y = np.exp(log_p[1])
    p = np.exp(log_p[K])
    share = MIXTURE.weights[1]
    by_powers = (p_y**3 / p**2).sum() * area
    by_classifier = share**-2 * (p_y * (share * p_y / p) ** 2).sum() * area
    assert by_powers == pytest.approx(by_classifier, rel=1e-12)
    assert by_powers == pytest.approx(by_hermite(1, 2.0)[0], rel=1e-5)


def test_13_3_by_example_in_the_text() -> None:
    """The three points of the table, the unambiguous 97.2 %, and the smallest factor there."""
    x = np.array([[0.0, 1.5], [0.0, 0.3], [0.0, 0.0]])
    joint = np.exp(-2 * ((x[:, None] - THREE.means) ** 2).sum(2))  # equal classes, variance 1/4
    p = joint[:, 0] / joint.sum(1)
    assert p == pytest.approx([0.999997, 0.882, 0.333], abs=6e-4)
    assert p**3 == pytest.approx([0.99999, 0.685, 0.037], abs=6e-4)
    axis = np.linspace(-4, 4, 801)
    x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    joint = np.exp(-2 * ((x[:, None] - THREE.means) ** 2).sum(2))
    sure = joint[:, 0] / joint.sum(1) > 0.9
    assert joint[sure, 0].sum() / joint[:, 0].sum() == pytest.approx(0.972, abs=6e-4)
    assert pytest.approx(0.729) == 0.9**3


@pytest.fixture(scope="module")
def asked() -> tuple[np.ndarray, np.ndarray]:
    """300,000 of class 1 of MIXTURE, by NumPy's sampler, and who is kept at w = 2 (seed 15)."""
    rng = np.random.default_rng(15)
    x = rng.multivariate_normal(MIXTURE.means[1], MIXTURE.covs[1], 300_000)
    return x, keep(x, 1, 2.0, MIXTURE, rng)


def test_13_3_by_law_of_those_kept(asked: tuple[np.ndarray, np.ndarray]) -> None:
    """Both coordinates against the grid's distribution, (B.7) at 1e-6; the class itself fails."""
    x, kept = asked
    _, p = tilted_on_grid(MIXTURE, 1, 2.0, HALF, 301)
    mass = p.reshape(301, 301)
    bound = dkw_bound(int(kept.sum()), 1e-6)
    axis = np.linspace(-HALF, HALF, 301)
    for i in (0, 1):
        of_axis = mass.sum(i)  # the sum over rows leaves the first coordinate
        cdf = np.cumsum(of_axis) - of_axis / 2  # half of its cell: off by 1e-3 of a deviation^2

        def F(v: np.ndarray, cdf: np.ndarray = cdf) -> np.ndarray:
            return np.interp(v, axis, cdf)

        # Straight lines between grid points of 0.04: off by up to 0.04^2 / 8 times |p'| < 3.
        assert kstest(x[kept, i], F).statistic < bound + 6e-4
        assert kstest(x[:, i], F).statistic > bound + 5e-3


def test_13_3_by_share_and_mean(asked: tuple[np.ndarray, np.ndarray]) -> None:
    """The share that is kept is Z pi^w, and their mean is the tilted law's: 5 standard errors."""
    x, kept = asked
    share, mean, cov = by_hermite(1, 2.0)
    share *= MIXTURE.weights[1] ** 2.0
    assert abs(kept.mean() - share) < 5 * (share * (1 - share) / len(x)) ** 0.5
    errors = np.sqrt(np.diag(cov) / kept.sum())
    assert (np.abs(x[kept].mean(0) - mean) < 5 * errors).all()
    assert abs(x[:, 0].mean() - mean[0]) > 50 * errors[0]  # who takes all of them is found


class Even(np.random.Generator):
    """A generator of evenly spread numbers."""

    def random(self, n: int) -> np.ndarray:
        return (np.arange(n) + 0.5) / n


def test_13_3_by_given_uniforms() -> None:
    """Of 10,000 evenly spread numbers a share of SciPy's p(y | x)^w is small enough."""
    rng = Even(np.random.PCG64())
    for x in ([0.2, -0.3], [-0.4, 0.9], [0.5, 1.1]):
        log_p = scipy_log_p(np.array([x]))
        for y, w in ((0, 1.0), (1, 0.5), (2, 3.0), (1, 0.0)):
            p = (MIXTURE.weights[y] * np.exp(log_p[y] - log_p[K])).item() ** w
            share = keep(np.tile(x, (10_000, 1)), y, w, MIXTURE, rng).mean()
            assert share == pytest.approx(p, abs=1e-4)


def test_13_3_by_refusal_of_negative_w() -> None:
    with pytest.raises(ValueError, match=r"w = -0\.1 is below 0"):
        keep(np.zeros((2, 2)), 0, -0.1, THREE, np.random.default_rng(0))


@pytest.mark.parametrize("w", WEIGHTS)
@pytest.mark.parametrize("y", range(K))
def test_13_4_by_finite_difference(y: int, w: float) -> None:
    """Of the means of three functions in w; by Gauss-Hermite for the coordinates."""
    h = 1e-3
    points, p = tilted_on_grid(MIXTURE, y, w, HALF, SIDE)
    (_, after, _), (_, before, _) = (by_hermite(y, w + step) for step in (h, -h))
    found = [slope_in_w(points[:, i], y, MIXTURE, points, p) for i in (0, 1)]
    # h^2 / 6 times a third derivative of order 1, and 1e-6 of the quadrature over 2 h
    np.testing.assert_allclose(found, (after - before) / (2 * h), atol=1e-4)


@pytest.mark.parametrize(("y", "w"), [(0, 1.0), (1, 2.0), (2, 3.0)])
def test_13_4_by_kept_samples(y: int, w: float) -> None:
    """The covariance of x_0 - x_1 and SciPy's log p(y | x) over those kept (seed 4)."""
    rng = np.random.default_rng(4)
    x = rng.multivariate_normal(MIXTURE.means[y], MIXTURE.covs[y], 200_000)
    x = x[keep(x, y, w, MIXTURE, rng)]
    log_p = scipy_log_p(x)
    sure = log_p[y] - log_p[K]
    f = x @ [1, -1]
    each = (f - f.mean()) * (sure - sure.mean())
    points, p = tilted_on_grid(MIXTURE, y, w, HALF, SIDE)
    found = slope_in_w(points @ [1, -1], y, MIXTURE, points, p)
    assert abs(found - each.mean()) < 5 * each.std() / len(x) ** 0.5
    assert abs(found) > 10 * each.std() / len(x) ** 0.5


def test_13_4_by_growing_relevance() -> None:
    """The mean of log p(y | x) grows with w: by its variance, added up over w (Gauss, 10 nodes)."""
    nodes, shares = np.polynomial.legendre.leggauss(10)
    values = []
    slopes = []
    for w in (0.0, *(1.5 + 1.5 * nodes), 3.0):
        points, p = tilted_on_grid(MIXTURE, 0, float(w), HALF, SIDE)
        sure = MIXTURE.log_class_probability(points)[:, 0]
        values.append(p @ sure)
        slopes.append(slope_in_w(sure, 0, MIXTURE, points, p))
    assert min(slopes) > 0 and (np.diff(values) > 0).all()
    assert values[-1] - values[0] == pytest.approx(1.5 * shares @ slopes[1:-1], rel=1e-5)


def test_13_4_by_each_step() -> None:
    """The three lines for class 1 of MIXTURE at w = 1, by central differences on a grid."""
    axis = np.linspace(-HALF, HALF, 201)
    x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    area = (axis[1] - axis[0]) ** 2
    log_p = scipy_log_p(x)
    log_class = np.log(MIXTURE.weights[1]) + log_p[1] - log_p[K]

    def log_Z(w: float) -> float:
        return float(np.log((np.exp(log_p[1] + w * log_class)).sum() * area))

    def log_tilted(w: float) -> np.ndarray:
        return log_p[1] + w * log_class - log_Z(w)

    h = 1e-4  # central differences: an error of h^2 and of 1e-16 / h
    powers = 2 * log_p[1] - log_p[K]
    normalised = powers - np.log(np.exp(powers).sum() * area)
    np.testing.assert_allclose(log_tilted(1.0), normalised, atol=1e-9)
    p = np.exp(normalised) * area
    mean = p @ log_class
    assert (log_Z(1 + h) - log_Z(1 - h)) / (2 * h) == pytest.approx(mean, abs=1e-6)
    slope = (log_tilted(1 + h) - log_tilted(1 - h)) / (2 * h)
    np.testing.assert_allclose(slope, log_class - mean, atol=1e-6)
    for f in (x[:, 0], x[:, 1] ** 2):
        found = slope_in_w(f, 1, MIXTURE, x, p)
        assert found == pytest.approx(p @ (f * slope), abs=1e-6)


def test_13_4_by_rates_in_the_text() -> None:
    """The mean height grows at 0.031 at w = 0 and at 0.004 at w = 3: differences of means."""
    for w, rate in ((0.0, 0.031), (3.0, 0.004)):
        means = [of_tilt(w + h)[0] for h in (-0.01, 0.01)]
        assert (means[1] - means[0]) / 0.02 == pytest.approx(rate, abs=6e-4)
        points, p = tilted_on_grid(THREE, 0, w)
        assert slope_in_w(points[:, 1], 0, THREE, points, p) == pytest.approx(rate, abs=6e-4)


def test_13_5_by_each_step() -> None:
    """The example: both lines in numbers, from the images 1 and -1 of step 11 with w = 1."""
    p = 1 / (1 + np.exp(-2 * 0.4 * 0.5**0.5 / 0.5))  # of image 1, given x_t = 0.4
    of_image = (0.4 - 0.5**0.5) / 0.5**0.5
    of_other = (0.4 + 0.5**0.5) / 0.5**0.5
    eps = 2 * of_image - (p * of_image + (1 - p) * of_other)
    x0hat = (0.4 - 0.5**0.5 * eps) / 0.5**0.5
    assert (eps, x0hat) == pytest.approx((-0.922, 1.488), abs=6e-4)
    assert 0.5**0.5 * x0hat + 0.5**0.5 * eps == pytest.approx(0.4, abs=1e-12)
    schedule = Schedule(np.array([0, 0.4, 1 / 6]))  # alpha_bar = 1, 0.6, 0.5
    found = step_without_noise(np.array([[0.4]]), np.array([[eps]]), 2, schedule)
    assert found.item() == pytest.approx(0.6**0.5 * x0hat + 0.4**0.5 * eps, abs=1e-12)
    assert found.item() == pytest.approx(0.569, abs=6e-4)


@pytest.mark.parametrize("w", [0.0, 2.0])
def test_13_5_by_rows_of_step_17(w: float) -> None:
    """The chain ends where step 17's table of rows ends, from the same noise."""
    schedule = Schedule.cosine(12)
    model = oracle_eps(MIXTURE, schedule)
    y = np.arange(30) % K
    z = np.random.default_rng(6).standard_normal((30, 2))
    times, states = zip(*steps_without_noise(model, y, schedule, w, z), strict=True)
    assert times == tuple(range(12, -1, -1))
    np.testing.assert_array_equal(states[0], z)
    # The same sums in another order; factors up to 1 / sqrt(alpha_bar_T) = 700 multiply rounding.
    expected = run(model, y, ddim(schedule), w, Start(z))
    np.testing.assert_allclose(states[-1], expected, atol=1e-9)


def test_13_5_by_true_guess() -> None:
    """With the true data and noise each step ends at the noised data of t - 1, at x_0 for t = 1."""
    schedule = Schedule.linear(8)
    rng = np.random.default_rng(7)
    x0 = rng.standard_normal((5, 2))
    eps = rng.standard_normal((5, 2))
    abar = np.cumprod(1 - schedule.beta)
    for t in range(1, 9):
        before, xt = (np.sqrt(abar[s]) * x0 + np.sqrt(1 - abar[s]) * eps for s in (t - 1, t))
        found = step_without_noise(xt, eps, t, schedule)
        np.testing.assert_allclose(found, before, atol=1e-12)


@pytest.mark.parametrize("t", [0, 9])
def test_13_5_by_refusal_of_t(t: int) -> None:
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..8"):
        step_without_noise(np.zeros((1, 2)), np.zeros((1, 2)), t, Schedule.linear(8))


def aimed_height(abar: float, w: float, side: int = 301) -> float:
    """The mean height of p(x_t | top)^(1 + w) p(x_t)^(-w), over sqrt(abar), by SciPy on a grid."""
    axis = np.linspace(-9, 9, side)
    x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    var = abar / 4 + 1 - abar
    rows = [multivariate_normal(abar**0.5 * m, var).logpdf(x) for m in THREE.means]
    p = np.exp((1 + w) * rows[0] - w * np.log(np.exp(rows).mean(0)))
    return float(p @ x[:, 1] / p.sum() / abar**0.5)


def test_13_6_by_aimed_heights_in_the_text() -> None:
    """The table of the guided score's distribution at w = 3, and its limit 6 at the noise end."""
    for abar, height in ((0.99, 1.530), (0.9, 1.582), (0.5, 2.200), (0.1, 4.403), (0.01, 5.801)):
        assert aimed_height(abar, 3.0) == pytest.approx(height, abs=6e-4)
    assert aimed_height(1e-4, 3.0) == pytest.approx(6, abs=0.01)
    assert aimed_height(0.5, 0.0) == pytest.approx(1.5, abs=1e-6)


def test_13_6_by_ambiguity_in_the_text() -> None:
    """At abar = 0.024, 90 % of the noisy class have p(y | x_t) in 0.23..0.49 (200,000 samples)."""
    abar = Schedule.cosine(100).alpha_bar[90]
    assert abar == pytest.approx(0.024, abs=6e-4)
    var = abar / 4 + 1 - abar
    z = np.random.default_rng(0).standard_normal((200_000, 2))
    x = abar**0.5 * THREE.means[0] + var**0.5 * z
    joint = np.exp(-((x[:, None] - abar**0.5 * THREE.means) ** 2).sum(2) / (2 * var))
    p = joint[:, 0] / joint.sum(1)
    assert np.quantile(p, [0.05, 0.95]) == pytest.approx([0.23, 0.49], abs=6e-3)
    # The guess of a class is its mean and a part of x_t; these parts cancel in the difference.
    signal = abar**0.5 / 4 / var
    guesses = THREE.means + signal * (x[:, None] - abar**0.5 * THREE.means)
    push = guesses[:, 0] - (joint[:, :, None] * guesses).sum(1) / joint.sum(1)[:, None]
    assert push[:, 1].mean() == pytest.approx(1.45, abs=6e-3)
    assert np.quantile(push[:, 1], [0.05, 0.95]) == pytest.approx([1.15, 1.72], abs=6e-3)


DIGITS = 6e-4  # half of the table's last digit, and 1e-4 of the grids
# 40,000 samples of another program: standard errors of 0.002 for its means and its variances.
RUN = {
    0.0: ((1.500, 0.246, 0.245), (1.498, 0.246, 0.247)),
    1.0: ((1.678, 0.225, 0.206), (1.915, 0.173, 0.127)),
    3.0: ((1.797, 0.221, 0.197), (2.367, 0.141, 0.084)),
}
OVERSHOOT_WEIGHTS = list(TABLE)


@dataclass
class Start:
    """Noise that is a given array, the first time and ever after."""

    z: np.ndarray

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        assert size == self.z.shape
        return self.z


def square(half: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of -half..half in both coordinates, the first one slowest, and N(0, I) on them."""
    axis = np.linspace(-half, half, n)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(-(points**2).sum(1) / 2)
    return points, p / p.sum()


@cache
def of_tilt(w: float) -> tuple[float, float, float]:
    mean, cov = moments_on_grid(*tilted_on_grid(THREE, 0, w, n=201))
    return mean[1], cov[0, 0], cov[1, 1]


@cache
def of_ddim(w: float, T: int = 256) -> tuple[float, float, float]:
    """Height and variances of DDIM's x_0: the map on a grid of step 0.25, to 5 deviations."""
    start, p = square(5.0, 41)
    schedule = schedule_from(log_snr_grid(T))
    model = oracle_eps(THREE, schedule)
    y = np.zeros(len(p), dtype=int)
    mean, cov = moments_on_grid(run(model, y, ddim(schedule), w, Start(start)), p)
    return mean[1], cov[0, 0], cov[1, 1]


def eps_of_top(z: np.ndarray, log_snr: float, w: float) -> np.ndarray:
    """The guided noise of the top class, written out for three classes of variance 1/4."""
    abar = 1 / (1 + np.exp(-log_snr))
    var = abar / 4 + 1 - abar
    away = z[:, None] - np.sqrt(abar) * THREE.means  # (n, 3, 2)
    p = np.exp(-(away**2).sum(2) / (2 * var))
    p = p / p.sum(1, keepdims=True)
    of_all = (p[:, :, None] * away).sum(1)
    return np.sqrt(1 - abar) / var * ((1 + w) * away[:, 0] - w * of_all)


@cache
def of_algorithm_2(w: float, T: int = 256, v: float = 0.3) -> tuple[float, float, float]:
    """Height and variances of Algorithm 2's x_0.

    The paper's formulas give each step's mean and variance. A Gaussian smooths along each axis in
    turn: one matrix, of 9 Gauss-Hermite points of a cubic spline. Then the step's mean is looked
    up. A grid of 81 instead of 61 points moves the result by less than 1e-4.
    """
    z, _ = square(6.0, 61)
    axis = np.linspace(-6, 6, 61)
    spline = CubicSpline(axis, np.eye(61))
    nodes, shares = np.polynomial.hermite_e.hermegauss(9)
    grid = [float(x) for x in log_snr_grid(T)]
    a, sigma = (1 / np.sqrt(1 + np.exp(sign * np.array(grid))) for sign in (-1, 1))
    x0 = (z - sigma[-1] * eps_of_top(z, grid[-1], w)) / a[-1]
    u = np.stack([x0[:, 1], x0[:, 0] ** 2, x0[:, 1] ** 2]).reshape(3, 61, 61)
    for k in range(T - 2, -1, -1):
        x0 = (z - sigma[k] * eps_of_top(z, grid[k], w)) / a[k]
        kept = np.exp(grid[k] - grid[k + 1])
        mean = kept * a[k + 1] / a[k] * z + (1 - kept) * a[k + 1] * x0
        narrow = (1 - kept) * sigma[k + 1] ** 2
        wide = (1 - kept) * sigma[k] ** 2
        noise = np.sqrt(narrow ** (1 - v) * wide**v)
        seen = spline(np.clip(axis[:, None] + noise * nodes, -6, 6))  # (61, 9, 61)
        smooth = np.einsum("iqj,q->ij", seen, shares / shares.sum())
        at = np.clip((mean.T + 6) / 0.2, 0, 60)
        smoothed = smooth @ u @ smooth.T
        u = np.stack([map_coordinates(s, at, order=3, mode="mirror") for s in smoothed])
        u = u.reshape(3, 61, 61)
    mean, across, along = u.reshape(3, -1) @ square(6.0, 61)[1]
    return mean, across, along - mean**2


@pytest.fixture(scope="module", params=[1.0, 3.0])
def sampled(request: pytest.FixtureRequest) -> tuple[float, np.ndarray]:
    """Height and variances, (2 samplers, 3, value and error), of 4,000 samples each (seed 15)."""
    x = guided_samples(request.param, 4000, seed=15)
    return request.param, np.array([summary(samples) for samples in x])


def test_13_6_by_few_samples() -> None:
    """The heights of 500 samples at w = 3 are 8 standard errors apart: no need of the table."""
    (of_algorithm, of_ode) = (summary(x)[0] for x in guided_samples(3.0, 500, seed=16))
    tilted = of_tilt(3.0)[0]
    assert tilted + 8 * of_algorithm[1] < of_algorithm[0]
    assert of_algorithm[0] + 8 * (of_algorithm[1] + of_ode[1]) < of_ode[0]


@pytest.mark.slow
def test_13_6_by_simulation(sampled: tuple[float, np.ndarray]) -> None:
    """Heights are the table's to 5 standard errors, and 8 of them apart from one another."""
    w, found = sampled
    table = [row[0] for row in TABLE[w]]
    values, errors = found[:, 0].T
    assert (np.abs(values - table[1:]) < 5 * errors + DIGITS).all()
    assert table[0] + 8 * errors[0] < values[0] < values[1] - 8 * errors.max()


@pytest.mark.slow
def test_13_7_by_simulation(sampled: tuple[float, np.ndarray]) -> None:
    """The variances too. The tilted law's are 4 standard errors above, so the order holds."""
    w, found = sampled
    for i in (1, 2):
        table = [row[i] for row in TABLE[w]]
        values, errors = found[:, i].T
        assert (np.abs(values - table[1:]) < 5 * errors + DIGITS).all()
        assert table[0] > values[0] > values[1] + 5 * errors.max()


@pytest.mark.parametrize("w", OVERSHOOT_WEIGHTS)
def test_13_6_by_grids(w: float) -> None:
    """The table's heights to their last digit, in order for w above 0."""
    heights = [law(w)[0] for law in (of_tilt, of_algorithm_2, of_ddim)]
    assert heights == pytest.approx([row[0] for row in TABLE[w]], abs=DIGITS)
    if w > 0:
        assert heights[0] + 0.1 < heights[1] < heights[2] - 0.1


@pytest.mark.parametrize("w", OVERSHOOT_WEIGHTS)
def test_13_7_by_grids(w: float) -> None:
    """And its variances; what finite steps lose at w = 0 is less than 0.005."""
    laws = [law(w) for law in (of_tilt, of_algorithm_2, of_ddim)]
    for i in (1, 2):
        values = [law[i] for law in laws]
        assert values == pytest.approx([row[i] for row in TABLE[w]], abs=DIGITS)
        if w > 0:
            assert values[0] - 0.01 > values[1] > values[2] + 0.01
        else:
            assert values == pytest.approx([0.25] * 3, abs=0.005)


@pytest.mark.parametrize("w", OVERSHOOT_WEIGHTS)
def test_13_6_by_an_independent_run(w: float) -> None:
    """The grids against 40,000 samples of another program: 4 standard errors and a last digit."""
    for said, (height, _, var) in zip(RUN[w], (of_algorithm_2(w), of_ddim(w)), strict=True):
        assert abs(said[0] - height) < 4 * (var / 40_000) ** 0.5 + 1e-3


@pytest.mark.parametrize("w", OVERSHOOT_WEIGHTS)
def test_13_7_by_an_independent_run(w: float) -> None:
    for said, row in zip(RUN[w], (of_algorithm_2(w), of_ddim(w)), strict=True):
        for i in (1, 2):
            assert abs(said[i] - row[i]) < 4 * row[i] * (2 / 40_000) ** 0.5 + 1e-3


def test_13_6_by_median_in_the_text() -> None:
    """Half of DDIM's samples at w = 3 lie above 2.34, where the class has 5 %; 2.37 is the mean.

    The map is smooth, so a cubic spline of it is exact enough on a fine grid of starts.
    """
    start, p = square(5.0, 61)
    schedule = schedule_from(log_snr_grid(256))
    model = oracle_eps(THREE, schedule)
    x = run(model, np.zeros(len(p), dtype=int), ddim(schedule), 3.0, Start(start))
    fine, weights = square(5.0, 401)
    at = (fine.T + 5) * 6  # the coarse grid has six points per unit
    height = map_coordinates(x[:, 1].reshape(61, 61), at, order=3, mode="mirror")
    assert weights @ height == pytest.approx(2.365, abs=1e-3)
    assert weights[height > 2.34].sum() == pytest.approx(0.5, abs=0.005)
    assert weights[height > 2.37].sum() < 0.47
    assert norm.sf((2.34 - 1.5) / 0.5) == pytest.approx(0.05, abs=0.005)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_13_7_by_a_very_large_weight() -> None:
    """At w = 128 the tilted distribution is the narrower one along the height (seed 0)."""
    log_snr = log_snr_grid(256)
    model = oracle_eps(THREE, schedule_from(log_snr))
    rng = np.random.default_rng(0)
    parts = [
        algorithm_2(model, np.zeros(4000, dtype=int), log_snr, 128.0, 0.3, rng) for _ in range(6)
    ]
    value, error = summary(np.concatenate(parts))[2]
    tilted = of_tilt(128.0)[2]
    assert tilted == pytest.approx(0.186, abs=DIGITS)
    assert value == pytest.approx(0.200, abs=4 * error)
    assert error == pytest.approx(0.002, abs=5e-4)
    assert value > tilted + 4 * error


@pytest.mark.parametrize("w", [-0.5, -0.2])
def test_13_6_by_weights_below_0(w: float) -> None:
    """The other way round, with 64 steps."""
    assert of_tilt(w)[0] > of_algorithm_2(w, 64)[0] + 0.05 > of_ddim(w, 64)[0] + 0.1


@pytest.mark.parametrize("w", [-0.5, -0.2])
def test_13_7_by_weights_below_0(w: float) -> None:
    for i in (1, 2):
        assert of_tilt(w)[i] + 0.005 < of_algorithm_2(w, 64)[i] < of_ddim(w, 64)[i] - 0.02


@pytest.mark.slow
@pytest.mark.exhaustive
def test_13_6_by_many_more_steps() -> None:
    """1,024 steps, w = 1: what the text says of them, and both are as far away as before."""
    assert of_algorithm_2(1.0, 1024) == pytest.approx((1.677, 0.228, 0.206), abs=DIGITS)
    assert of_ddim(1.0, 1024) == pytest.approx((1.914, 0.175, 0.128), abs=DIGITS)


def test_13_7_by_summary() -> None:
    """What `summary` calls a standard error is the spread of its values over many small samples."""
    rng = np.random.default_rng(0)
    each = np.array([summary(rng.standard_normal((400, 2)) * [1, 2]) for _ in range(400)])
    assert each[:, :, 0].mean(0) == pytest.approx([0, 1, 4], rel=0.02, abs=0.02)
    assert each[:, :, 0].std(0) == pytest.approx(each[:, :, 1].mean(0), rel=0.15)  # 4 of 0.035
