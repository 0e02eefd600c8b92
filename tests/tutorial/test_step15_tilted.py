"""Step 15: the tilted law by other quadratures, by SciPy's densities, and by asking one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest, multivariate_normal, norm

from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step08_sampling import dkw_bound
from tutorial.step15_tilted import keep, moments_on_grid, slope_in_w, tilted_mass, tilted_on_grid

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
def test_15_1_by_gauss_hermite(y: int, w: float) -> None:
    mean, cov = moments_on_grid(*tilted_on_grid(MIXTURE, y, w, HALF, SIDE))
    _, expected_mean, expected_cov = by_hermite(y, w)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-5)
    np.testing.assert_allclose(cov, expected_cov, atol=1e-5)


@pytest.mark.parametrize("w", WEIGHTS)
def test_15_1_by_scipy_densities(w: float) -> None:
    """Probabilities add up to 1, and over a cell's area are powers of SciPy's densities over Z."""
    for y in range(K):
        points, p = tilted_on_grid(MIXTURE, y, w, HALF, SIDE)
        assert p.sum() == pytest.approx(1, abs=1e-12)
        near = np.abs(points - MIXTURE.means[y]).max(1) < 1
        log_p = scipy_log_p(points[near])
        powers = np.exp((1 + w) * log_p[y] - w * log_p[K])
        found = p[near] / (2 * HALF / (SIDE - 1)) ** 2
        np.testing.assert_allclose(found, powers / by_hermite(y, w)[0], rtol=1e-5)


def test_15_1_by_order_of_points() -> None:
    """Row by row from the lowest, as the docstring has it: what a picture needs."""
    points, p = tilted_on_grid(THREE, 0, 1.0)
    assert points.shape == (401 * 401, 2) and p.shape == (401 * 401,)
    np.testing.assert_allclose(points[[0, 400, -401, -1]], [[-4, -4], [4, -4], [-4, 4], [4, 4]])
    image = p.reshape(401, 401)
    assert image[275:].sum() > 0.5 > image[:, 275:].sum()  # the top class: rows are heights


def test_15_1_by_figures_in_the_text() -> None:
    """The heights and variances of the top class, printed to three digits."""
    said = {0.0: (1.500, 0.250, 0.250), 1.0: (1.515, 0.244, 0.235), 3.0: (1.526, 0.241, 0.226)}
    for w, figures in said.items():
        mean, cov = moments_on_grid(*tilted_on_grid(THREE, 0, w))
        assert (mean[1], cov[0, 0], cov[1, 1]) == pytest.approx(figures, abs=5e-4)
        np.testing.assert_allclose([mean[0], cov[0, 1]], 0, atol=1e-9)  # it is symmetric


def test_15_2_by_crude_grids() -> None:
    """A Gaussian of variance 1/4 on a grid of step 0.7: off by the factors that the text names.

    One of its points on the mean is worst in one direction, four around it in the other.
    """
    covs = np.tile(0.25 * np.eye(2), (2, 1, 1))
    for mean, error in ((0.0, 1.7e-4), (0.35, -1.7e-4)):
        mixture = GaussianMixture(np.full((2, 2), mean), covs, np.full(2, 0.5))
        assert tilted_mass(mixture, 0, 0.0, half=4.2, n=13) - 1 == pytest.approx(error, abs=2e-6)


def test_15_1_by_refusal_of_what_is_cut_off() -> None:
    """A square too small, and a weight at which the density grows without end."""
    with pytest.raises(ValueError, match=r"w = 1.0: .* lies on the edge of half = 2.5"):
        tilted_on_grid(THREE, 0, 1.0, half=2.5)
    wide = GaussianMixture(
        np.zeros((2, 2)), np.array([1.0, 0.2])[:, None, None] * np.eye(2), np.full(2, 0.5)
    )
    with pytest.raises(ValueError, match=r"w = -2.0: .* lies on the edge"):
        tilted_on_grid(wide, 1, -2.0)


def test_15_1_by_weights_of_any_sum() -> None:
    """`moments_on_grid` takes samples, each of weight 1, for what they are."""
    x = np.random.default_rng(0).standard_normal((50, 2)) @ [[1.0, 0.5], [0.0, 2.0]] + [3, -1]
    mean, cov = moments_on_grid(x, np.ones(50))
    np.testing.assert_allclose(mean, x.mean(0), atol=1e-12)
    np.testing.assert_allclose(cov, np.cov(x.T, bias=True), atol=1e-12)


@pytest.mark.parametrize("w", WEIGHTS)
@pytest.mark.parametrize("y", range(K))
def test_15_2_by_gauss_hermite(y: int, w: float) -> None:
    assert tilted_mass(MIXTURE, y, w, HALF, SIDE) == pytest.approx(by_hermite(y, w)[0], rel=1e-5)


@pytest.mark.parametrize("w", [-0.6, 1.0, 3.0])
def test_15_2_by_integral_on_a_line(w: float) -> None:
    """Two classes that differ along one axis: there Z is one integral, done by `quad`."""
    means = np.array([[1.0, 0.3], [-1.0, 0.3]])
    share = np.array([0.3, 0.7])
    mixture = GaussianMixture(means, np.tile(0.4 * np.eye(2), (2, 1, 1)), share)

    def integrand(x: float) -> float:
        of_0, of_1 = (norm.pdf(x, a, 0.4**0.5) for a in (1, -1))
        return of_0 * (of_0 / (0.3 * of_0 + 0.7 * of_1)) ** w

    expected = quad(integrand, -6, 6, epsabs=1e-11)[0]  # beyond, less than 1e-14 of both classes
    assert tilted_mass(mixture, 0, w, HALF, SIDE) == pytest.approx(expected, abs=1e-9)


def test_15_2_by_shares_in_the_text() -> None:
    """98.6% and 97.5% are kept; nothing is tilted at w = 0; at w = -1 it is the data's own mass."""
    for w, said in ((1.0, 0.986), (3.0, 0.975)):
        assert tilted_mass(THREE, 0, w) / 3**w == pytest.approx(said, abs=5e-4)
    for w in (0.0, -1.0):
        assert tilted_mass(MIXTURE, 1, w, HALF, SIDE) == pytest.approx(1, abs=1e-6)


@pytest.fixture(scope="module")
def asked() -> tuple[np.ndarray, np.ndarray]:
    """300,000 of class 1 of MIXTURE, by NumPy's sampler, and who is kept at w = 2 (seed 15)."""
    rng = np.random.default_rng(15)
    x = rng.multivariate_normal(MIXTURE.means[1], MIXTURE.covs[1], 300_000)
    return x, keep(x, 1, 2.0, MIXTURE, rng)


def test_15_3_by_law_of_those_kept(asked: tuple[np.ndarray, np.ndarray]) -> None:
    """Both coordinates against the grid's distribution, (8.10) at 1e-6; the class itself fails."""
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


def test_15_3_by_share_and_mean(asked: tuple[np.ndarray, np.ndarray]) -> None:
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


def test_15_3_by_given_uniforms() -> None:
    """Of 10,000 evenly spread numbers a share of SciPy's p(y | x)^w is small enough."""
    rng = Even(np.random.PCG64())
    for x in ([0.2, -0.3], [-0.4, 0.9], [0.5, 1.1]):
        log_p = scipy_log_p(np.array([x]))
        for y, w in ((0, 1.0), (1, 0.5), (2, 3.0), (1, 0.0)):
            p = (MIXTURE.weights[y] * np.exp(log_p[y] - log_p[K])).item() ** w
            share = keep(np.tile(x, (10_000, 1)), y, w, MIXTURE, rng).mean()
            assert share == pytest.approx(p, abs=1e-4)


def test_15_3_by_refusal_of_negative_w() -> None:
    with pytest.raises(ValueError, match=r"w = -0\.1 is below 0"):
        keep(np.zeros((2, 2)), 0, -0.1, THREE, np.random.default_rng(0))


@pytest.mark.parametrize("w", WEIGHTS)
@pytest.mark.parametrize("y", range(K))
def test_15_4_by_finite_difference(y: int, w: float) -> None:
    """Of the means of three functions in w; by Gauss-Hermite for the coordinates."""
    h = 1e-3
    points, p = tilted_on_grid(MIXTURE, y, w, HALF, SIDE)
    (_, after, _), (_, before, _) = (by_hermite(y, w + step) for step in (h, -h))
    found = [slope_in_w(points[:, i], y, MIXTURE, points, p) for i in (0, 1)]
    # h^2 / 6 times a third derivative of order 1, and 1e-6 of the quadrature over 2 h
    np.testing.assert_allclose(found, (after - before) / (2 * h), atol=1e-4)


@pytest.mark.parametrize(("y", "w"), [(0, 1.0), (1, 2.0), (2, 3.0)])
def test_15_4_by_kept_samples(y: int, w: float) -> None:
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


def test_15_4_by_growing_relevance() -> None:
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
