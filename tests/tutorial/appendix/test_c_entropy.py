"""Appendix C: entropies against SciPy, grids and maps; errors by leaving out, and by repeating.

Where samples are compared, 5 standard errors are allowed (a false alarm in 2 million), the
jackknife's being a quarter too large at that. The bias of `entropy` is known for a Gaussian, and is
a tenth of an error or less elsewhere.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.spatial import KDTree  # pyright: ignore[reportMissingTypeStubs]  # SciPy has none
from scipy.spatial.distance import cdist
from scipy.special import beta as beta_function
from scipy.special import betainc, digamma
from scipy.stats import beta, kstest, multivariate_normal, ncx2

import tutorial.appendix.c_entropy as lesson
from tutorial.appendix.c_entropy import (
    STANDARD,
    Estimate,
    entropy,
    entropy_of_density,
    moment_entropy,
    neighbours,
)
from tutorial.step01_toy_data import GaussianMixture, pinwheel, three_gaussians

N = 4000
ALGEBRA = 1e-10  # float64, sums of some thousand logarithms
B = np.array([[1.3, -0.4], [0.7, 0.6]])
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
SETS = {"three": three_gaussians(), "pinwheel": pinwheel(), "skew": MIXTURE}


def normal(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 2))


def bias(n: int, k: int) -> float:
    """The mean of `entropy` less the entropy of a round Gaussian: no simulation.

    Given x, the mass of the ball of radius r around it is a noncentral chi-square, so whether the
    k-th of n - 1 others is inside is a binomial. |x|^2 / 2 is exponential.
    """
    half_square, weight = np.polynomial.laguerre.laggauss(40)
    log_r2 = np.linspace(-25, 8, 4000)
    inside = betainc(k, n - k, ncx2.cdf(np.exp(log_r2), 2, 2 * half_square[:, None]))
    mean_log_r2 = weight @ np.diff(inside) @ (log_r2[1:] + log_r2[:-1]) / 2
    return digamma(n) - digamma(k) + np.log(np.pi) + mean_log_r2 - np.log(2 * np.pi * np.e)


def on_grid(mixture: GaussianMixture) -> tuple[np.ndarray, np.ndarray, float]:
    """Points, SciPy's density there, and the area of a cell; exact for sums of smooth functions."""
    axis = np.arange(-8, 8, 0.05)
    x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    classes = zip(mixture.means, mixture.covs, strict=True)
    each = np.array([multivariate_normal(mean, cov).pdf(x) for mean, cov in classes])
    return x, mixture.weights @ each, 0.05**2


@pytest.mark.parametrize("name", SETS)
def test_c_1_by_grid(name: str) -> None:
    _, p, cell = on_grid(SETS[name])
    x, _ = SETS[name].sample(N, np.random.default_rng(1))
    for found in (entropy(x), entropy_of_density(SETS[name].log_density(x))):
        assert abs(found.value + (p * np.log(p + 1e-300)).sum() * cell) < 5 * found.error


def exact_entropy(mixture: GaussianMixture) -> float:
    _, p, cell = on_grid(mixture)
    return -float((p * np.log(p + 1e-300)).sum() * cell)


def test_c_1_by_numbers_in_the_text() -> None:
    """The three numbers of the example: the grid's, the estimate's and the bound's."""
    assert f"gives the entropy {exact_entropy(three_gaussians()):.2f}." in text()
    x, _ = three_gaussians().sample(N, np.random.default_rng(1))
    h = entropy(x)
    assert f"is {h.value:.2f} with a standard error of {h.error:.2f}" in text()
    assert f"third number, {moment_entropy(x).value:.2f}." in text()


def test_c_1_by_area() -> None:
    """Even over a rectangle of area 6: log 6. Balls that stick out of it add 0.01 at this n."""
    x = np.random.default_rng(2).random((20_000, 2)) * [3, 2]
    assert entropy(x).value == pytest.approx(np.log(6), abs=0.03)
    exact = entropy_of_density(np.full(len(x), -np.log(6)))
    assert exact.value == pytest.approx(np.log(6), abs=ALGEBRA)


def test_c_2_by_maps() -> None:
    """To the last digits: any map for the bound, and for neighbours one that keeps their order."""
    x = MIXTURE.sample(500, np.random.default_rng(3))[0]
    turned = 2.5 * np.array([[0.6, -0.8], [-0.8, -0.6]])  # and mirrored
    for f, root in ((moment_entropy, B), (moment_entropy, turned), (entropy, turned)):
        before = f(x)
        after = f(x @ root.T + [5, -7])
        gained = np.log(abs(np.linalg.det(root)))
        assert after.value - before.value == pytest.approx(gained, abs=ALGEBRA)
        np.testing.assert_allclose(after.parts - before.parts, gained, atol=1e-8)


def test_c_2_by_each_step() -> None:
    """The density of the image by counting: the fraction of mapped samples in a small disc."""
    x, _ = MIXTURE.sample(1_000_000, np.random.default_rng(24))
    at = np.array([0.3, 0.2])
    y = x @ B.T + [1, -1]
    inside = ((y - B @ at - [1, -1]) ** 2).sum(1) < 0.1**2
    found = inside.mean() / (np.pi * 0.1**2)
    error = inside.std() / np.sqrt(len(x)) / (np.pi * 0.1**2)
    expected = np.exp(MIXTURE.log_density(at[None]))[0] / abs(np.linalg.det(B))
    assert abs(found - expected) < 5 * error + 0.01 * expected  # the disc is not a point: 1 %
    doubled = entropy(2 * x[:500]).value - entropy(x[:500]).value
    assert doubled == pytest.approx(np.log(abs(np.linalg.det(2 * np.eye(2)))), abs=ALGEBRA)
    gained = moment_entropy(y).value - moment_entropy(x).value
    assert gained == pytest.approx(np.log(abs(np.linalg.det(B))), abs=ALGEBRA)


def test_c_2_by_samples_of_a_shear() -> None:
    x = MIXTURE.sample(N, np.random.default_rng(4))[0]
    gained = entropy(x @ B.T) - entropy(x)
    assert abs(gained.value - np.log(np.linalg.det(B))) < 5 * gained.error


def test_c_3_by_scipy() -> None:
    """Points moved to have a given covariance exactly."""
    z = normal(50, 5) - normal(50, 5).mean(0)
    x = (
        np.linalg.solve(np.linalg.cholesky(np.cov(z.T, ddof=0)), z.T).T
        @ np.linalg.cholesky(B @ B.T).T
    )
    expected = multivariate_normal([0, 0], B @ B.T).entropy()
    assert moment_entropy(x).value == pytest.approx(expected, abs=ALGEBRA)
    assert pytest.approx(multivariate_normal([0, 0]).entropy(), abs=1e-14) == STANDARD


def test_c_3_by_each_step() -> None:
    """log(2 pi) + |x|^2 / 2 averaged by Gauss-Hermite, against STANDARD."""
    z, weight = np.polynomial.hermite_e.hermegauss(3)
    weight = weight / weight.sum()
    squared = np.add.outer(z**2, z**2)
    mean = np.log(2 * np.pi) + weight @ squared @ weight / 2
    assert mean == pytest.approx(STANDARD, abs=ALGEBRA)
    assert np.log(2 * np.pi) + 1 == pytest.approx(STANDARD, abs=ALGEBRA)
    x = np.sqrt(2) * np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])  # covariance matrix I
    assert moment_entropy(x).value == pytest.approx(STANDARD, abs=ALGEBRA)


def test_c_3_by_neighbours() -> None:
    found = entropy(normal(N, 6) @ B.T)
    expected = multivariate_normal([0, 0], B @ B.T).entropy() + bias(N, 5)
    assert abs(found.value - expected) < 5 * found.error


def test_c_3_by_law_of_the_determinant() -> None:
    """n det(V) of n normal points is a product of two chi-squares: 3000 sets of 10 points."""
    n = 10
    found = [moment_entropy(x).value for x in normal(30_000, 7).reshape(-1, 10, 2)]
    log_det = digamma((n - 1) / 2) + digamma((n - 2) / 2) + 2 * np.log(2 / n)
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - STANDARD - log_det / 2) < 5 * error


@pytest.mark.parametrize("name", SETS)
def test_c_4_by_divergence_on_a_grid(name: str) -> None:
    """The bound less the entropy, of samples, is KL to SciPy's Gaussian, of densities."""
    x, p, cell = on_grid(SETS[name])
    mean = p @ x * cell
    q = multivariate_normal(mean, (x - mean).T * p * cell @ (x - mean))
    divergence = (p * (np.log(p + 1e-300) - q.logpdf(x))).sum() * cell
    points = SETS[name].sample(N, np.random.default_rng(8))[0]
    room = moment_entropy(points) - entropy(points)
    assert abs(room.value - divergence) < 5 * room.error
    assert divergence > 5 * room.error if name != "skew" else divergence > 0


def test_c_4_by_each_step() -> None:
    """The mean of -log q under p, from SciPy's q on the grid, and from the bound."""
    x, p, cell = on_grid(MIXTURE)
    mean = p @ x * cell
    V = (x - mean).T * p * cell @ (x - mean)
    q = multivariate_normal(mean, V)
    cross = -(p @ q.logpdf(x)) * cell
    form = np.einsum("ni,ij,nj->n", x - mean, np.linalg.inv(V), x - mean)
    log_det = np.log(np.linalg.det(V))
    by_form = np.log(2 * np.pi) + log_det / 2 + p @ form * cell / 2
    assert cross == pytest.approx(by_form, abs=1e-8)  # sums of 100,000 cells
    assert cross == pytest.approx(STANDARD + log_det / 2, abs=1e-8)
    points, _ = MIXTURE.sample(200_000, np.random.default_rng(25))
    bound = moment_entropy(points)
    assert abs(bound.value - cross) < 5 * bound.error


def test_c_4_by_table_in_the_text() -> None:
    """Clusters that move apart: the entropy by a grid, the bound by the mixture's moments."""
    mixture = three_gaussians()
    rows = {
        name: [
            float(x)
            for x in re.findall(rf"\| {name} \| (.*?) \|(?: \||[ ]While)", text())[0].split(" | ")
        ]
        for name in ("entropy", "bound")
    }
    distances = (0, 0.5, 1, 1.5, 3)
    h, bound = [], []
    for d in distances:
        moved = GaussianMixture(mixture.means * d / 1.5, mixture.covs, mixture.weights)
        h.append(exact_entropy(moved))
        bound.append(STANDARD + np.log(np.linalg.det(moved.moments()[1])) / 2)
    np.testing.assert_allclose(rows["entropy"], h, atol=0.0051)  # 2 decimals
    np.testing.assert_allclose(rows["bound"], bound, atol=0.0051)
    assert h[-1] - h[0] == pytest.approx(np.log(3), abs=1e-3)  # "rises by log 3"
    assert h[-1] - h[-2] < 0.03 < 1 < bound[-1] - bound[-2]  # "moving them further adds nothing"
    # The samples of the lesson's functions show the same.
    points, _ = mixture.sample(N, np.random.default_rng(1))
    assert entropy(points).value == pytest.approx(h[3], abs=0.1)
    assert moment_entropy(points).value == pytest.approx(bound[3], abs=0.05)


def test_c_4_by_a_disc() -> None:
    """Even over the unit disc: entropy log(pi), each variance 1/4. 0.02 for the edge."""
    rng = np.random.default_rng(9)
    radius = np.sqrt(rng.random(N))
    angle = 2 * np.pi * rng.random(N)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    room = moment_entropy(x) - entropy(x)
    expected = 1 + np.log(2 * np.pi) - np.log(4) - np.log(np.pi)
    assert abs(room.value - expected) < 5 * room.error + 0.02


def mean_log_mass(n: int, k: int) -> float:
    """What the code takes for the mean of `log P`, read off an estimate."""
    x = normal(n, 10)
    return float(np.log(np.pi * neighbours(x, k + 1)[0][:, k] ** 2).mean() - entropy(x, k).value)


@pytest.mark.parametrize(("n", "k"), [(3, 1), (12, 3), (100, 5), (5000, 40)])
def test_c_5_by_beta_law(n: int, k: int) -> None:
    assert mean_log_mass(n, k) == pytest.approx(digamma(k) - digamma(n), abs=ALGEBRA)
    u, weight = np.polynomial.legendre.leggauss(400)  # quantiles of the law, which are smooth
    by_sum = weight @ np.log(beta.ppf((u + 1) / 2, k, n - k)) / 2
    assert mean_log_mass(n, k) == pytest.approx(by_sum, abs=1e-3)  # log is singular at 0


@pytest.mark.parametrize(("n", "k"), [(12, 3), (100, 5)])
def test_c_5_by_each_step(n: int, k: int) -> None:
    """The beta function and its derivative as integrals, and their quotient."""
    whole = quad(lambda P: P ** (k - 1) * (1 - P) ** (n - k - 1), 0, 1, epsabs=0)[0]
    with_log = quad(lambda P: P ** (k - 1) * (1 - P) ** (n - k - 1) * np.log(P), 0, 1, epsabs=0)[0]
    assert whole == pytest.approx(beta_function(k, n - k), rel=1e-8)  # quad's own
    h = 1e-5
    slope = (beta_function(k + h, n - k) - beta_function(k - h, n - k)) / (2 * h)
    assert with_log == pytest.approx(slope, rel=1e-7)  # h^2
    assert mean_log_mass(n, k) == pytest.approx(with_log / whole, rel=1e-8)
    # The derivative is in the first argument only. Along B(k, n - k) it would be another number.
    both = np.log(beta_function(k + h, n - k - h) / beta_function(k - h, n - k + h)) / (2 * h)
    assert abs(both - mean_log_mass(n, k)) > 0.04  # digamma(n) - digamma(n - k), about k / n


def test_c_5_by_masses_of_balls() -> None:
    """Of the first of 12 points, in 4000 sets: the masses follow the law, and have this mean."""
    sets = normal(48_000, 11).reshape(-1, 12, 2)
    r = np.sort(np.linalg.norm(sets[:, 1:] - sets[:, :1], axis=2), 1)[:, 2]
    P = ncx2.cdf(r**2, 2, (sets[:, 0] ** 2).sum(1))
    assert kstest(P, beta(3, 9).cdf).pvalue > 1e-6
    assert abs(np.log(P).mean() - mean_log_mass(12, 3)) < 5 * np.log(P).std() / np.sqrt(4000)


@pytest.mark.parametrize("k", [1, 5])
def test_c_6_by_exact_mean(k: int) -> None:
    """300 estimates of 100 points: their mean is off by the bias, and by nothing else."""
    found = [entropy(x, k).value for x in normal(30_000, 12).reshape(-1, 100, 2)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - STANDARD - bias(100, k)) < 5 * error
    assert k == 1 or abs(bias(100, k)) > 8 * error  # it would be seen if it were not there


def text() -> str:
    """The lecture, each run of white space as one space."""
    return " ".join((lesson.__doc__ or "").split())


def test_c_6_by_numbers_in_the_text() -> None:
    """The bias by quadrature, the standard errors, and the difference of the naive estimate."""
    ((a, n_a, b, n_b),) = re.findall(
        r"bias is (-0\.\d+) for \$n = (\d+)\$ and (-0\.\d+) for \$n = (\d+)\$", text()
    )
    assert bias(int(n_a), 5) == pytest.approx(float(a), abs=5e-4)
    assert bias(int(n_b), 5) == pytest.approx(float(b), abs=5e-4)
    # The jackknife's value varies by about 4 % between sets of 1000.
    assert entropy(normal(1000, 30)).error == pytest.approx(0.044, rel=0.1)
    # A standard deviation from R draws has the relative error 1 / sqrt(2 R); four of them.
    for n, repeats, sd in ((1000, 400, 0.037), (4000, 100, 0.019)):
        found = [entropy(x).value for x in normal(n * repeats, 30).reshape(repeats, n, 2)]
        assert np.std(found) == pytest.approx(sd, rel=4 / (2 * repeats) ** 0.5)
        if n == 1000:  # the value that the page had, 0.045, is not the spread of the estimates
            assert abs(np.std(found) - 0.045) > 4 * 0.037 / (2 * repeats) ** 0.5
    naive = [np.log(k) - digamma(k) for k in (1, 5)]
    assert naive == pytest.approx([0.58, 0.10], abs=0.005)


def test_c_6_by_each_step() -> None:
    """Where p is constant both approximations are exact up to the edge, which the torus removes.

    20,000 uniform samples on a torus of area 1, so p = 1: the mass is the disc's area.
    """
    x = np.random.default_rng(26).random((20_000, 2))
    r = KDTree(x, boxsize=1).query(x, 6)[0][:, 5]
    P = np.pi * r**2
    error = np.log(P).std() / np.sqrt(20_000)
    # Neighbours share discs, so the standard error is a little larger than that of a mean.
    assert abs(np.log(P).mean() + digamma(20_000) - digamma(5)) < 10 * error
    # The lesson's function has no torus: its discs reach over the edge.
    assert abs(entropy(x).value) < 0.05


@pytest.mark.parametrize("k", [1, 5, 30])
def test_c_6_by_all_distances(k: int) -> None:
    """The definition, with the matrix of all distances."""
    x = MIXTURE.sample(300, np.random.default_rng(13))[0]
    r = np.sort(cdist(x, x), 1)[:, k]
    expected = digamma(300) - digamma(k) + np.log(np.pi * r**2).mean()
    assert entropy(x, k).value == pytest.approx(expected, abs=ALGEBRA)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_c_7_by_leaving_out(k: int) -> None:
    """Each point is really taken away."""
    x = MIXTURE.sample(60, np.random.default_rng(14))[0]
    n = 60
    whole = entropy(x, k)
    left = [n * whole.value - (n - 1) * entropy(np.delete(x, j, 0), k).value for j in range(n)]
    np.testing.assert_allclose(whole.parts, left, atol=1e-9)


def test_c_7_by_leaving_out_equal_points() -> None:
    """Two pairs of equal points, of which either can be the first neighbour of the other."""
    x = MIXTURE.sample(40, np.random.default_rng(30))[0]
    x[[7, 21]] = x[[3, 20]]
    whole = entropy(x)
    left = [40 * whole.value - 39 * entropy(np.delete(x, j, 0)).value for j in range(40)]
    np.testing.assert_allclose(whole.parts, left, atol=1e-9)


def test_c_7_by_each_step() -> None:
    """The recursion of digamma, and the parts as differences of two estimates."""
    for n in (4, 60, 4000):
        left = n * digamma(n) - (n - 1) * digamma(n - 1)
        assert left == pytest.approx(digamma(n) + 1, rel=1e-12)
    x = MIXTURE.sample(40, np.random.default_rng(27))[0]
    whole = entropy(x)
    for j in (0, 17, 39):
        without = entropy(np.delete(x, j, 0)).value
        assert whole.parts[j] == pytest.approx(40 * whole.value - 39 * without, abs=1e-9)


def test_c_7_by_hand() -> None:
    """Four points in a row, at 0, 1, 3, 7: who is whose nearest, and how far the next one is."""
    x = np.array([[0.0, 0], [1, 0], [3, 0], [7, 0]])
    first = np.array([1.0, 1, 2, 4])
    second = np.array([3.0, 2, 3, 6])
    lost = 2 * np.log([second[1] / 1, second[0] / 1 * second[2] / 2, second[3] / 4, 1])
    common = 1 + 1 / 2 + 1 / 3 + 1  # digamma(4) - digamma(1), and 1
    expected = common + np.log(np.pi * first**2) - lost
    np.testing.assert_allclose(entropy(x, 1).parts, expected, atol=1e-14)


def test_c_8_by_hand() -> None:
    a = Estimate(2.5, np.array([1.0, 2, 3, 4]))
    b = Estimate(0.5, np.array([1.0, 1, 1, 1]))
    assert a.error == pytest.approx(np.sqrt(5 / 3) / 2, abs=1e-15)
    assert ((a - b).value, (a - b).error) == (2.0, a.error)


@pytest.mark.parametrize("draw", ["gauss", "three"])
def test_c_8_by_repeating(draw: str) -> None:
    """The spread of 300 estimates. The bound's error is right, the entropy's 10 to 40% too large.

    A spread of 300 has an error of 4%, so 20% are allowed on either side of what is claimed.
    """
    points = (
        normal(90_000, 15)
        if draw == "gauss"
        else three_gaussians().sample(90_000, np.random.default_rng(15))[0]
    )
    for f, low, high in ((moment_entropy, 0.8, 1.2), (entropy, 0.88, 1.68)):
        found = [f(x) for x in points.reshape(-1, 300, 2)]
        claimed = np.sqrt(np.mean([h.error**2 for h in found]))
        assert low < claimed / np.std([h.value for h in found]) < high


@pytest.mark.parametrize(("draw", "k", "percent"), [("uniform", 5, 60), ("gauss", 1, 40)])
def test_c_8_by_repeating_elsewhere(draw: str, k: int, percent: int) -> None:
    """The excess of the standard error in the text, where it is more than a quarter.

    The spread of 1,000 estimates from 300 samples has an error of 2 %; three of them, and the
    difference between 300 and 1,000 samples, which is 3 % for the uniform density.
    """
    where = "on a square" if draw == "uniform" else "with $k = 1$"
    said = " ".join(text().split())
    assert re.search(rf"{re.escape(where)} (it is too large )?by about {percent} %", said)
    rng = np.random.default_rng(16)
    points = rng.random((1000, 300, 2)) if draw == "uniform" else rng.normal(size=(1000, 300, 2))
    found = [entropy(x, k) for x in points]
    claimed = np.sqrt(np.mean([h.error**2 for h in found]))
    ratio = claimed / np.std([h.value for h in found])
    assert ratio == pytest.approx(1 + percent / 100, abs=0.1)


def test_c_8_by_doubling() -> None:
    """The example of the page: differences of log 4 with a standard error of 0."""
    x = normal(N, 29)
    change = entropy(2 * x) - entropy(x)
    assert change.value == pytest.approx(np.log(4), abs=ALGEBRA)
    assert change.error < 1e-12
    assert entropy(x).error == pytest.approx(0.02, abs=0.005)


def test_c_8_by_the_same_noise() -> None:
    """A squeeze by 1% in one direction is seen, though a hundredth of the entropy's own error."""
    x = normal(N, 16)
    change = moment_entropy(x * [1, 0.99]) - moment_entropy(x)
    assert change.value == pytest.approx(np.log(0.99), abs=1e-12)
    assert change.error < 1e-12
    moved = moment_entropy(x + 0.02 * normal(N, 17)) - moment_entropy(x)
    assert moved.error < moment_entropy(x).error / 20


def test_c_9_by_each_step() -> None:
    """The jackknife's variance as a sum over what is left out; the covariance matrix's change.

    This change is a finite difference, and its trace is that of the page.
    """
    x = MIXTURE.sample(50, np.random.default_rng(28))[0]
    left = np.array([entropy(np.delete(x, j, 0)).value for j in range(50)])
    total = ((left - left.mean()) ** 2).sum()
    assert entropy(x).error ** 2 == pytest.approx(49 / 50 * total, rel=1e-9)
    V = np.cov(x.T, ddof=0)
    h = 1e-6
    even = np.full(50, 1 / 50)
    for j in (0, 20, 49):
        toward = np.eye(50)[j] - even
        more = np.cov(x.T, aweights=even + h * toward, ddof=0)
        less = np.cov(x.T, aweights=even - h * toward, ddof=0)
        away = x[j] - x.mean(0)
        dV = np.outer(away, away) - V
        np.testing.assert_allclose((more - less) / (2 * h), dV, atol=1e-7)  # rounding over h
        for eps in (0.1, 0.01):  # the term of second order comes from the move of the mean
            raised = (even + eps * np.eye(50)[j]) / (1 + eps)
            first = (V + eps * np.outer(away, away)) / (1 + eps)
            second = np.outer(away, away) * (eps / (1 + eps)) ** 2
            exact = np.cov(x.T, aweights=raised, ddof=0)
            np.testing.assert_allclose(exact, first - second, atol=ALGEBRA)
        slope = (np.linalg.slogdet(more)[1] - np.linalg.slogdet(less)[1]) / (2 * h)
        trace = np.trace(np.linalg.inv(V) @ dV)
        squared = away @ np.linalg.inv(V) @ away
        assert slope == pytest.approx(trace, abs=1e-6)
        assert trace == pytest.approx(squared - 2, abs=ALGEBRA)
        found = moment_entropy(x)
        assert found.parts[j] == pytest.approx(found.value + trace / 2, abs=ALGEBRA)


def test_c_5_by_the_count_in_the_text() -> None:
    """What log n in the place of psi(n) changes is small; log k changes 0.58 and 0.10."""
    assert np.log(1000) - digamma(1000) == pytest.approx(0.0005, abs=1e-6)
    for k, wanted in ((1, "0.58"), (5, "0.10")):
        assert f"{np.log(k) - digamma(k):.2f}" == wanted


def test_c_9_by_weights() -> None:
    """The slope of the entropy in the weight of each point, by a finite difference."""
    x = MIXTURE.sample(200, np.random.default_rng(18))[0]
    h = 1e-6

    def value(weights: np.ndarray) -> float:
        V = np.cov(x.T, aweights=weights, ddof=0)
        return multivariate_normal([0, 0], V).entropy()

    even = np.full(200, 1 / 200)
    for j in range(0, 200, 20):
        toward = np.eye(200)[j] - even
        slope = (value(even + h * toward) - value(even - h * toward)) / (2 * h)
        found = moment_entropy(x)
        assert found.parts[j] - found.value == pytest.approx(slope, abs=1e-5)


def test_c_9_by_leaving_out() -> None:
    """To first order: what is left out is of order |z|^4 / n, here some hundredths."""
    x = normal(2000, 19)
    n = 2000
    whole = moment_entropy(x)
    for j in range(0, n, 100):
        left = n * whole.value - (n - 1) * moment_entropy(np.delete(x, j, 0)).value
        z = (x[j] ** 2).sum()
        assert whole.parts[j] == pytest.approx(left, abs=(2 + z) ** 2 / n)


def test_c_9_by_error_of_a_gaussian() -> None:
    """|z|^2 is a chi-square of variance 4: the error is 1 / sqrt(n), of which 5% are 5 errors."""
    found = moment_entropy(normal(20_000, 20) @ B.T)
    assert found.error * np.sqrt(20_000) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("k", [0, -1, 9, 50])
def test_c_6_by_refusal_of_k(k: int) -> None:
    with pytest.raises(ValueError, match=f"k = {k} is outside 1..8"):
        entropy(normal(10, 21), k)
    assert np.isfinite(entropy(normal(10, 21), 8).error)


def test_c_6_by_refusal_of_equal_rows() -> None:
    x = normal(20, 22)
    x[3:9] = x[2]
    with pytest.raises(ValueError, match="6 rows of x agree"):
        entropy(x)
    assert np.isfinite(entropy(x, 7).value)


def test_c_4_by_refusal_of_a_line() -> None:
    line = normal(20, 23)[:, :1] * [2, 3]
    for x in (line, np.ones((5, 2)), line[:2]):
        with pytest.raises(ValueError, match="on one line"):
            moment_entropy(x)
