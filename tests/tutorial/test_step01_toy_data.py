"""Step 1 by two routes per equation: SciPy, sums over grids, fifty digits, and counted draws."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from tutorial.step01_toy_data import (
    GaussianMixture,
    log_odds,
    log_sum_exp,
    pinwheel,
    three_gaussians,
)

# Unequal weights and different, full covariances: no symmetry hides a swapped or transposed index.
MIXTURE = GaussianMixture(
    np.array([[0.3, 1.1], [-1.2, 0.4], [0.9, -0.8]]),
    np.array([[[0.5, 0.3], [0.3, 0.4]], [[0.2, -0.1], [-0.1, 0.9]], [[0.3, 0.05], [0.05, 0.1]]]),
    np.array([0.5, 0.2, 0.3]),
)
K = 3
N = 200_000
ALGEBRA = 1e-12  # float64, a few dozen operations of order one to a hundred
STEP = 0.05
AXIS = np.arange(-7, 7, STEP)
# A sum over a grid finer than half the smallest deviation is exact to rounding for Gaussians; the
# narrowest class has a smallest eigenvalue of 0.088, deviation 0.3. Seven is over six deviations.
GRID = np.stack(np.meshgrid(AXIS, AXIS), -1).reshape(-1, 2)
TAIL = 1e-8  # the mass that a Gaussian has beyond 6 deviations is 1e-8 in the plane, less here
POINTS = np.random.default_rng(0).uniform(-3, 3, (40, 2))


def densities(x: np.ndarray) -> np.ndarray:
    """`p(x | y)` by SciPy, a column a class."""
    laws = zip(MIXTURE.means, MIXTURE.covs, strict=True)
    return np.stack([multivariate_normal(m, c).pdf(x) for m, c in laws], 1)  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def draws() -> tuple[np.ndarray, np.ndarray]:
    """200,000 points and labels of MIXTURE (seed 1)."""
    return MIXTURE.sample(N, np.random.default_rng(1))


def test_1_1_by_moments_of_each_class(draws: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = draws
    assert (x.shape, y.shape, y.dtype) == ((N, 2), (N,), np.int64)
    shares = np.bincount(y, minlength=K) / N
    error = np.sqrt(MIXTURE.weights * (1 - MIXTURE.weights) / N)
    assert (np.abs(shares - MIXTURE.weights) < 4.5 * error).all()
    for k in range(K):
        of_class = x[y == k]
        cov = MIXTURE.covs[k]
        n = len(of_class)
        var = np.diag(cov)
        assert (np.abs(of_class.mean(0) - MIXTURE.means[k]) < 4.5 * np.sqrt(var / n)).all()
        # The sampling variance of a covariance of Gaussians (Wishart).
        error = np.sqrt((cov**2 + np.outer(var, var)) / n)
        assert (np.abs(np.cov(of_class.T, ddof=0) - cov) < 4.5 * error).all()


def test_1_1_by_points_inside_ellipses(draws: tuple[np.ndarray, np.ndarray]) -> None:
    """|z|^2 / 2 is exponential, so the ellipse that holds half of a class is at |z|^2 = log 4."""
    x, y = draws
    apart = x - MIXTURE.means[y]
    squared = np.einsum("ni,nij,nj->n", apart, np.linalg.inv(MIXTURE.covs)[y], apart)
    for share in (0.1, 0.5, 0.99):
        inside = np.mean(squared < -2 * np.log(1 - share))
        assert abs(inside - share) < 4.5 * np.sqrt(share * (1 - share) / N)


def test_1_1_by_the_same_generator() -> None:
    """Nothing but the generator decides, and no points are points too."""
    first, again = (MIXTURE.sample(5, np.random.default_rng(2)) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert MIXTURE.sample(0, np.random.default_rng(2))[0].shape == (0, 2)


def test_1_2_by_each_step() -> None:
    """The covariance from the factor, the example, and the density of z over the determinant."""
    S = np.array([[1.0, 0.6], [0.6, 1.0]])
    L = np.array([[1.0, 0.0], [0.6, 0.8]])
    np.testing.assert_allclose(L @ np.eye(2) @ L.T, S, atol=ALGEBRA)
    z = np.random.default_rng(3).standard_normal((N, 2))
    products = (z @ L.T)[:, :, None] * (z @ L.T)[:, None, :]
    error = products.std(0) / np.sqrt(N)
    assert (np.abs(products.mean(0) - S) < 4.5 * error).all()
    for k in range(K):
        factor = np.linalg.cholesky(MIXTURE.covs[k])
        z = np.array([np.linalg.solve(factor, x - MIXTURE.means[k]) for x in POINTS])
        det = factor[0, 0] * factor[1, 1]
        p = np.exp(-(z**2).sum(1) / 2) / (2 * np.pi * det)
        np.testing.assert_allclose(MIXTURE.log_density(POINTS, k), np.log(p), rtol=1e-10)


def test_1_2_by_scipy() -> None:
    expected = np.log(densities(POINTS))
    for k in range(K):
        np.testing.assert_allclose(MIXTURE.log_density(POINTS, k), expected[:, k], rtol=ALGEBRA)
    y = np.arange(len(POINTS)) % K
    by_row = expected[np.arange(len(POINTS)), y]
    np.testing.assert_allclose(MIXTURE.log_density(POINTS, y), by_row, rtol=ALGEBRA)


@pytest.mark.parametrize("k", range(K))
def test_1_2_by_sums_over_a_grid(k: int) -> None:
    """Mass one, and the mean and covariance of the class."""
    p = np.exp(MIXTURE.log_density(GRID, k)) * STEP**2
    assert p.sum() == pytest.approx(1, abs=TAIL)
    apart = GRID - MIXTURE.means[k]
    np.testing.assert_allclose(p @ apart, 0, atol=10 * TAIL)
    np.testing.assert_allclose((apart.T * p) @ apart, MIXTURE.covs[k], atol=100 * TAIL)


@pytest.mark.parametrize("y", [-1, 3, np.array([0, 3]), np.array([-1, 0])])
def test_1_2_by_refusal_of_wrong_labels(y: int | np.ndarray) -> None:
    """-1 would read the last class; K is the null label, which is no class."""
    with pytest.raises(ValueError, match=r"is outside 0\.\.2"):
        MIXTURE.log_density(POINTS[:2], y)


def test_1_3_by_scipy() -> None:
    expected = np.log(densities(POINTS) @ MIXTURE.weights)
    np.testing.assert_allclose(MIXTURE.log_density(POINTS), expected, rtol=ALGEBRA)


def test_1_3_by_counted_draws(draws: tuple[np.ndarray, np.ndarray]) -> None:
    """Boxes of 0.5 by 0.5: the share of draws in each against the density summed over it."""
    edges = np.arange(-7, 7.01, 0.5) - STEP / 2  # grid points fall inside boxes, not on edges
    p = np.exp(MIXTURE.log_density(GRID)) * STEP**2
    expected = np.histogram2d(*GRID.T, bins=(edges, edges), weights=p)[0]
    found = np.histogram2d(*draws[0].T, bins=(edges, edges))[0] / N
    # At least 20 draws expected, or the error is not normal. The sum over a box is a midpoint rule.
    seen = expected * N > 20
    z = (found - expected)[seen] / np.sqrt(expected[seen] / N)
    assert seen.sum() > 50
    assert np.abs(z).max() < 5.5  # one in 10,000 for a hundred boxes
    assert np.mean(z**2) < 1 + 5 * np.sqrt(2 / seen.sum())


def test_1_3_by_fifty_digits_far_away() -> None:
    """Where every density is 0 in float64 the logarithm is still right to the last digits."""
    far = np.array([[40.0, -30.0], [-300.0, 500.0]])
    assert (densities(far) == 0).all()
    with mpmath.workdps(50):
        for x, found in zip(far, MIXTURE.log_density(far), strict=True):
            total = mpmath.mpf(0)
            for m, c, w in zip(MIXTURE.means, MIXTURE.covs, MIXTURE.weights, strict=True):
                apart = mpmath.matrix(x - m)
                cov = mpmath.matrix(c.tolist())
                squared = (apart.T * cov**-1 * apart)[0]
                size = 2 * mpmath.pi * mpmath.sqrt(mpmath.det(cov))
                total += mpmath.mpf(float(w)) * mpmath.exp(-squared / 2) / size
            assert found == pytest.approx(float(mpmath.log(total)), rel=ALGEBRA)


def test_1_3_by_one_class() -> None:
    """K = 1 is allowed: the class is all there is, and the label is certain."""
    one = GaussianMixture(MIXTURE.means[:1], MIXTURE.covs[:1], np.ones(1))
    np.testing.assert_array_equal(one.log_density(POINTS), one.log_density(POINTS, 0))
    np.testing.assert_array_equal(one.log_class_probability(POINTS), np.zeros((len(POINTS), 1)))


def test_1_4_by_the_example() -> None:
    """`three_gaussians` at (0.3, 0.3), to the digits in the text."""
    three = three_gaussians()
    x = np.array([[0.3, 0.3]])
    conditional = np.exp([three.log_density(x, k)[0] for k in range(3)])
    np.testing.assert_allclose(conditional, [0.02985, 0.00042, 0.00954], atol=5e-6)
    assert np.exp(three.log_density(x)[0]) == pytest.approx(0.01327, abs=5e-6)
    found = np.exp(three.log_class_probability(x)[0])
    np.testing.assert_allclose(found, [0.750, 0.011, 0.240], atol=5e-4)


def test_1_4_by_equal_weights_left_out() -> None:
    """Invisible only if they are left out of the sum too: otherwise the three add up to 3."""
    three = three_gaussians()
    x = np.array([[0.3, 0.3]])
    conditional = np.exp([three.log_density(x, k)[0] for k in range(3)])
    found = np.exp(three.log_class_probability(x)[0])
    np.testing.assert_allclose(conditional / conditional.sum(), found, rtol=ALGEBRA)
    assert (conditional / np.exp(three.log_density(x))).sum() == pytest.approx(3, rel=ALGEBRA)


def test_1_4_by_ratio_of_scipy_densities() -> None:
    joint = densities(POINTS) * MIXTURE.weights
    expected = joint / joint.sum(1, keepdims=True)
    found = np.exp(MIXTURE.log_class_probability(POINTS))
    np.testing.assert_allclose(found, expected, rtol=1e-10)  # logs of size 100: 1e-14 each


def test_1_4_by_labels_of_draws(draws: tuple[np.ndarray, np.ndarray]) -> None:
    """Calibration: of the draws that get p(y = k | x) near some p, a share p has the label k."""
    x, y = draws
    p = np.exp(MIXTURE.log_class_probability(x))
    np.testing.assert_allclose(p.sum(1), 1, rtol=ALGEBRA)
    for k in range(K):
        for low in np.arange(0, 1, 0.2):
            near = (p[:, k] >= low) & (p[:, k] < low + 0.2)
            error = np.sqrt((p[near, k] * (1 - p[near, k])).sum())
            assert abs((y[near] == k).sum() - p[near, k].sum()) < 4.5 * error


def test_1_4_by_certainty_far_away() -> None:
    """Finite and of sum one where a ratio of densities would be 0 / 0."""
    far = np.array([[40.0, -30.0], [-300.0, 500.0]])
    log_p = MIXTURE.log_class_probability(far)
    assert np.isfinite(log_p).all()
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1, rtol=ALGEBRA)
    assert (log_p.min(1) < -1000).all()


def test_1_5_by_each_step() -> None:
    """The logarithm of each term, and of the probability, from SciPy's densities."""
    terms = np.log(MIXTURE.weights) + np.log(densities(POINTS))
    direct = terms - np.log(np.exp(terms).sum(1, keepdims=True))
    np.testing.assert_allclose(MIXTURE.log_class_probability(POINTS), direct, atol=1e-10)
    largest = terms.max(1, keepdims=True)
    taken_out = largest + np.log(np.exp(terms - largest).sum(1, keepdims=True))
    np.testing.assert_allclose(log_sum_exp(terms), taken_out, atol=ALGEBRA)


def test_1_5_by_the_direct_sum() -> None:
    """Where nothing underflows the logarithm can be taken of the sum itself."""
    log_p = np.random.default_rng(4).uniform(-20, 20, (50, 4))
    expected = np.log(np.exp(log_p).sum(1, keepdims=True))
    np.testing.assert_allclose(log_sum_exp(log_p), expected, atol=1e-13)  # of logs up to 22


def test_1_5_by_a_common_factor() -> None:
    """A factor of all terms comes out of the sum: exponents far below those of float64."""
    log_p = np.random.default_rng(5).uniform(-20, 20, (50, 4))
    far = log_sum_exp(log_p - 3000)
    np.testing.assert_allclose(far + 3000, log_sum_exp(log_p), atol=1e-11)  # rounding of 3000


def test_1_5_by_the_example_of_underflow() -> None:
    """20 from the mean of a class of variance 1/4: 1e-348, which float64 rounds to 0."""
    one = GaussianMixture(np.zeros((1, 2)), 0.25 * np.eye(2)[None], np.ones(1))
    log_p = one.log_density(np.array([[20.0, 0.0]]))
    assert log_p[0] / np.log(10) == pytest.approx(-348, abs=0.5)
    assert np.exp(log_p[0]) == 0


def test_1_7_by_the_axes_of_the_pinwheel() -> None:
    """Variances of 0.06 and 0.5 in each class, and means at 1.2: 0.28 within, 0.72 between."""
    wheel = pinwheel()
    np.testing.assert_allclose(np.linalg.eigvalsh(wheel.covs), [[0.06, 0.5]] * 5, atol=ALGEBRA)
    np.testing.assert_allclose(np.linalg.norm(wheel.means, axis=1), 1.2, atol=ALGEBRA)
    np.testing.assert_allclose(wheel.covs.mean(0), 0.28 * np.eye(2), atol=ALGEBRA)
    between = wheel.means.T @ wheel.means / 5
    np.testing.assert_allclose(between, 0.72 * np.eye(2), atol=ALGEBRA)


@pytest.mark.parametrize(
    ("mixture", "mean", "cov"),
    [
        (three_gaussians(), np.zeros(2), 1.375 * np.eye(2)),  # 1/4 + 1.5^2 / 2
        (pinwheel(), np.zeros(2), np.eye(2)),
        (pinwheel(3), np.zeros(2), np.eye(2)),
        (pinwheel(8), np.zeros(2), np.eye(2)),
    ],
)
def test_1_7_by_the_named_sets(mixture: GaussianMixture, mean: np.ndarray, cov: np.ndarray) -> None:
    found = mixture.moments()
    np.testing.assert_allclose(found[0], mean, atol=ALGEBRA)
    np.testing.assert_allclose(found[1], cov, atol=ALGEBRA)


def test_1_6_by_sums_over_a_grid() -> None:
    p = np.exp(MIXTURE.log_density(GRID)) * STEP**2
    np.testing.assert_allclose(MIXTURE.moments()[0], p @ GRID, atol=10 * TAIL)


def test_1_6_by_draws(draws: tuple[np.ndarray, np.ndarray]) -> None:
    x, _ = draws
    assert (np.abs(x.mean(0) - MIXTURE.moments()[0]) < 4.5 * x.std(0) / np.sqrt(N)).all()


def test_1_7_by_each_step(draws: tuple[np.ndarray, np.ndarray]) -> None:
    """The vector split in two; within a class the products have means S_y and 0 (200,000 draws)."""
    x, y = draws
    m = MIXTURE.weights @ MIXTURE.means
    np.testing.assert_allclose(x - m, (x - MIXTURE.means[y]) + (MIXTURE.means[y] - m), atol=ALGEBRA)
    for k in range(K):
        inside = x[y == k] - MIXTURE.means[k]
        beside = np.broadcast_to(MIXTURE.means[k] - m, inside.shape)
        for other, expected in ((inside, MIXTURE.covs[k]), (beside, np.zeros((2, 2)))):
            products = inside[:, :, None] * other[:, None, :]
            error = products.std(0) / np.sqrt(len(inside))
            assert (np.abs(products.mean(0) - expected) < 4.5 * error).all()


def test_1_7_by_sums_over_a_grid() -> None:
    p = np.exp(MIXTURE.log_density(GRID)) * STEP**2
    apart = GRID - p @ GRID
    np.testing.assert_allclose(MIXTURE.moments()[1], (apart.T * p) @ apart, atol=100 * TAIL)


def test_1_7_by_draws(draws: tuple[np.ndarray, np.ndarray]) -> None:
    apart = draws[0] - draws[0].mean(0)
    products = apart[:, :, None] * apart[:, None, :]
    error = products.std(0) / np.sqrt(N)
    assert (np.abs(products.mean(0) - MIXTURE.moments()[1]) < 4.5 * error).all()


def test_1_8_by_each_step() -> None:
    """The two squares, and the factor that comes out of their constant part."""
    a = np.array([1.0, 0.2])
    b = np.array([-0.5, 0.9])
    squares = -((POINTS - a) ** 2).sum(1) + ((POINTS - b) ** 2).sum(1)
    constant = a @ a - b @ b
    np.testing.assert_allclose(squares, 2 * POINTS @ (a - b) - constant, atol=ALGEBRA)
    assert constant == pytest.approx((a - b) @ (a + b), abs=ALGEBRA)
    by_steps = np.log(0.8 / 0.2) + squares / (2 * 0.3)
    np.testing.assert_allclose(log_odds(POINTS, a, b, 0.8, 0.2, 0.3), by_steps, atol=1e-11)


def test_1_8_by_certainty_without_data() -> None:
    """At (0, 20) the odds of class 0 are exp(180), where the density is 1e-298."""
    three = three_gaussians()
    x = np.array([[0.0, 20.0]])
    log_p = three.log_class_probability(x)[0]
    np.testing.assert_allclose(log_p[0] - log_p[1:], 180, atol=1e-9)
    apart = three.means[0] - three.means[1]
    halfway = (three.means[0] + three.means[1]) / 2
    np.testing.assert_allclose([*apart, *halfway], [1.3, 2.25, -0.65, 0.375], atol=5e-3)
    assert 2 * np.exp(-180) < 1e-77
    assert three.log_density(x)[0] / np.log(10) == pytest.approx(-298, abs=0.5)


def test_1_8_by_linear_discriminant() -> None:
    """Unequal shares, shared covariance v I; the line by the two squares written out."""
    pi = np.array([0.8, 0.2])
    v = 0.3
    a = np.array([1.0, 0.2])
    b = np.array([-0.5, 0.9])
    two = GaussianMixture(np.stack([a, b]), np.tile(v * np.eye(2), (2, 1, 1)), pi)
    log_p = two.log_class_probability(POINTS)
    line = np.log(pi[0] / pi[1]) + (POINTS - (a + b) / 2) @ (a - b) / v
    np.testing.assert_allclose(log_p[:, 0] - log_p[:, 1], line, atol=1e-11)
    found = log_odds(POINTS, a, b, pi[0], pi[1], v)
    np.testing.assert_allclose(found, line, atol=1e-11)


def test_1_8_by_second_differences() -> None:
    """On any straight walk the log odds of two of the three Gaussians change evenly."""
    walk = np.linspace([-3.0, 1.0], [2.0, 4.0], 21)
    log_p = three_gaussians().log_class_probability(walk)
    odds = log_p[:, 0] - log_p[:, 2]
    np.testing.assert_allclose(np.diff(odds, 2), 0, atol=1e-11)  # of logs up to 100
    # ... and by so much for one unit along the line between the means, sqrt(3) * 1.5 apart.
    a, b = three_gaussians().means[[0, 2]]
    one = (a - b) / np.linalg.norm(a - b)
    ends = three_gaussians().log_class_probability(np.stack([np.zeros(2), one]))
    slope = np.diff(ends[:, 0] - ends[:, 2])[0]
    assert slope == pytest.approx(np.sqrt(3) * 1.5 / 0.25, abs=1e-11)


def test_1_8_by_two_of_three_that_agree() -> None:
    """Two classes at one place leave the third its own: only their odds are constant."""
    means = np.array([[0.0, 0.0], [0.0, 0.0], [1.5, 0.0]])
    covs = np.tile(0.25 * np.eye(2), (3, 1, 1))
    log_p = GaussianMixture(means, covs, MIXTURE.weights).log_class_probability(means[2:])[0]
    ratio = MIXTURE.weights[0] / MIXTURE.weights[1]
    assert log_p[0] - log_p[1] == pytest.approx(np.log(ratio), abs=ALGEBRA)
    assert np.exp(log_p[0]) < 0.1 * MIXTURE.weights[0]


def test_1_8_by_classes_that_agree() -> None:
    """A label that says nothing: the posterior is the share, everywhere."""
    same = GaussianMixture(np.ones((3, 2)), MIXTURE.covs[[0, 0, 0]], MIXTURE.weights)
    found = np.exp(same.log_class_probability(POINTS))
    np.testing.assert_allclose(found, np.tile(MIXTURE.weights, (len(POINTS), 1)), rtol=ALGEBRA)


def test_1_8_by_symmetry_of_the_three() -> None:
    """Class 0 is at the top; all are 1.5 from the middle and a third of a turn apart."""
    three = three_gaussians()
    np.testing.assert_allclose(three.means[0], [0, 1.5], atol=ALGEBRA)
    apart = np.linalg.norm(three.means - np.roll(three.means, 1, 0), axis=1)
    np.testing.assert_allclose(apart, 1.5 * np.sqrt(3), rtol=ALGEBRA)
    # The middle belongs to all, the border of classes 1 and 2 is the axis below it.
    p = np.exp(three.log_class_probability(np.array([[0.0, 0.0], [0.0, -2.0]])))
    np.testing.assert_allclose(p[0], 1 / 3, rtol=1e-10)
    assert p[1, 1] == pytest.approx(p[1, 2], rel=1e-10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": np.zeros((2, 2))}, r"K = 3, but means \(2, 2\), covs \(3, 2, 2\)"),
        ({"covs": np.eye(2)}, r"K = 3, but means \(3, 2\), covs \(2, 2\)"),
        ({"weights": np.array([0.5, 0.5, 0.5])}, r"weights = \[0.5 0.5 0.5\]: they must"),
        ({"weights": np.array([1.0, 0.0, 0.0])}, "they must be positive and add up to 1"),
        ({"weights": np.array([np.nan, 0.5, 0.5])}, "they must be positive and add up to 1"),
        ({"covs": np.tile([[1.0, 2.0], [2.0, 1.0]], (3, 1, 1))}, r"covs\[0\] = \[\[1.0, 2.0\], "),
        ({"covs": np.tile([[1.0, 0.2], [0.0, 1.0]], (3, 1, 1))}, "not symmetric positive definite"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_1_1_by_refusal_of_what_is_no_mixture(change: dict[str, np.ndarray], message: str) -> None:
    """A Cholesky factor takes the last one, reading half of it; densities of it would be wrong."""
    parts = {"means": MIXTURE.means, "covs": MIXTURE.covs, "weights": MIXTURE.weights} | change
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**parts)


def test_1_1_by_refusal_of_points_on_a_line() -> None:
    """Rounding makes the eigenvalue 0 positive for a quarter of the directions of the line."""
    positive = 0
    for angle in np.linspace(0, np.pi, 100):
        v = np.array([np.cos(angle), np.sin(angle)])
        cov = np.outer(v, v)
        positive += np.linalg.eigvalsh(cov)[0] > 0
        with pytest.raises(ValueError, match="not symmetric positive definite"):
            GaussianMixture(np.zeros((1, 2)), cov[None], np.ones(1))
    assert positive > 0


def test_1_7_by_refusal_of_a_pinwheel_of_two() -> None:
    with pytest.raises(ValueError, match="K = 2: a pinwheel has at least 3 classes"):
        pinwheel(2)
