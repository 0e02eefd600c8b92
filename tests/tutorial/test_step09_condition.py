"""Step 9 by two routes an equation: Bayes on points and grids, joint Gaussians, chains, slopes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from tutorial.contract import Denoiser
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step07_oracle import lowest_loss, oracle_eps, score
from tutorial.step09_condition import eps_of_all, p_xprev_given_xt_y, told_by_label

SCHEDULE = Schedule.linear(20)
K = 3
ALGEBRA = 1e-11  # float64, a few dozen operations of order one to a hundred
# Full covariances, unequal shares: no symmetry that could hide a swap.
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
MODEL = oracle_eps(MIXTURE, SCHEDULE)
POINTS = np.array([[0.2, -0.3], [-1.4, 0.9], [0.5, 1.1], [2.5, -2.0]])
N = 100_000


def abar(t: int) -> float:
    return float(np.prod(1 - SCHEDULE.beta[1 : t + 1]))


def law(k: int, t: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of `x_t` in class `k`, by running the chain's moments step by step."""
    mean = MIXTURE.means[k]
    cov = MIXTURE.covs[k]
    for s in range(1, t + 1):
        mean = np.sqrt(SCHEDULE.alpha[s]) * mean
        cov = SCHEDULE.alpha[s] * cov + SCHEDULE.beta[s] * np.eye(2)
    return mean, cov


def shares(x: np.ndarray, t: int) -> np.ndarray:
    """SciPy's `pi_y p(x_t | y)`, a row a class."""
    p = [multivariate_normal(*law(k, t)).pdf(x) for k in range(K)]
    return MIXTURE.weights[:, None] * np.array(p)


def slope(x: np.ndarray, t: int, h: float = 1e-5) -> np.ndarray:
    """The gradient of `log p(x_t)` by differences of SciPy's densities."""
    steps = h * np.eye(2)
    up, down = (np.log([shares(x + s * a, t).sum(0) for a in steps]) for s in (1, -1))
    return (up - down).T / (2 * h)


def labels(y: int, n: int = len(POINTS)) -> np.ndarray:
    return np.full(n, y)


@dataclass(frozen=True)
class InOtherUnits:
    """The oracle, saying x0 or v."""

    prediction: str
    num_classes: int = K

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        eps = MODEL(xt, t, y)
        signal = np.sqrt(abar(t))
        noise = np.sqrt(1 - abar(t))
        x0 = (xt - noise * eps) / signal
        return x0 if self.prediction == "x0" else signal * eps - noise * x0


@dataclass(frozen=True)
class Echo:
    """A model that refuses nothing."""

    prediction: str = "eps"
    num_classes: int = K

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        return xt


@pytest.fixture(scope="module")
def chains() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Label, `x_7`, `x_8` and the noise in `x_8` of 100,000 chains run step by step (seed 9)."""
    rng = np.random.default_rng(9)
    y = rng.choice(K, size=N, p=MIXTURE.weights)
    roots = np.linalg.cholesky(MIXTURE.covs)
    x0 = MIXTURE.means[y] + np.einsum("nij,nj->ni", roots[y], rng.standard_normal((N, 2)))
    xprev = x = x0
    for s in range(1, 9):
        z = rng.standard_normal((N, 2))
        xprev = x
        x = np.sqrt(SCHEDULE.alpha[s]) * xprev + np.sqrt(SCHEDULE.beta[s]) * z
    return y, xprev, x, (x - np.sqrt(abar(8)) * x0) / np.sqrt(1 - abar(8))


def assert_mean_is_zero(values: np.ndarray) -> None:
    """Within 5 standard errors: a false alarm in 1 of 1.7 million, each."""
    error = values.std(0) / np.sqrt(len(values))
    assert (np.abs(values.mean(0)) < 5 * error).all(), values.mean(0) / error


@pytest.mark.parametrize("t", [2, 8, 20])
def test_9_1_by_bayes_on_data_that_are_points(t: int) -> None:
    """If each class is a point the true reverse law given the label is Gaussian: this one.

    Its log density is that of the step there, of the state before, and of the state after.
    """
    points = GaussianMixture(MIXTURE.means, np.tile(1e-12 * np.eye(2), (K, 1, 1)), MIXTURE.weights)
    rng = np.random.default_rng(1)
    y = np.array([0, 1, 2, 0])
    xprev = rng.standard_normal((4, 2))
    alpha = SCHEDULE.alpha[t]
    found = p_xprev_given_xt_y(oracle_eps(points, SCHEDULE), POINTS, t, y, SCHEDULE)
    there = norm.logpdf(POINTS, np.sqrt(alpha) * xprev, np.sqrt(1 - alpha))
    before, after = (
        norm.logpdf(x, np.sqrt(abar(s)) * MIXTURE.means[y], np.sqrt(1 - abar(s)))
        for x, s in ((xprev, t - 1), (POINTS, t))
    )
    # The classes' variance of 1e-12, beside one of .005 at least, times squares of some hundreds.
    np.testing.assert_allclose(found.log_density(xprev), (there + before - after).sum(1), rtol=1e-7)


def test_9_1_by_spread_of_chains(chains: tuple[np.ndarray, ...]) -> None:
    """Around the mean, chains have its variance and that which the data still have, (5.8)."""
    y, xprev, xt, _ = chains
    p = p_xprev_given_xt_y(MODEL, xt, 8, y, SCHEDULE)
    alpha = SCHEDULE.alpha[8]
    a_prev = abar(7)
    c_0 = np.sqrt(a_prev) / (1 - a_prev) / (alpha / (1 - alpha) + 1 / (1 - a_prev))
    for k in range(K):
        S = MIXTURE.covs[k]
        C = law(k, 8)[1]
        var_x0 = S - abar(8) * S @ np.linalg.inv(C) @ S  # of two joint Gaussians
        left = (xprev - p.mean)[y == k]
        expected = p.var * np.eye(2) + c_0**2 * var_x0
        assert_mean_is_zero((left[:, :, None] * left[:, None] - expected).reshape(-1, 4))


@pytest.mark.parametrize("y", range(K))
def test_9_1_by_point_at_t_1(y: int) -> None:
    """The last step ends in E[x_0 | x_1, y], the regression of one Gaussian on another."""
    p = p_xprev_given_xt_y(MODEL, POINTS, 1, labels(y), SCHEDULE)
    mean, cov = law(y, 1)
    gain = np.sqrt(abar(1)) * MIXTURE.covs[y] @ np.linalg.inv(cov)
    assert p.var == 0
    np.testing.assert_allclose(p.mean, MIXTURE.means[y] + (POINTS - mean) @ gain.T, atol=ALGEBRA)


@pytest.mark.parametrize("unit", ["x0", "v"])
@pytest.mark.parametrize("t", [1, 8, 20])
def test_9_1_by_three_units(t: int, unit: str) -> None:
    """What the model says of its unit is heeded; labels of all kinds in one batch."""
    model = InOtherUnits(unit)
    y = np.array([2, K, 0, 1])
    assert isinstance(model, Denoiser)
    found, expected = (p_xprev_given_xt_y(m, POINTS, t, y, SCHEDULE) for m in (model, MODEL))
    np.testing.assert_allclose(found.mean, expected.mean, atol=ALGEBRA)
    assert found.var == expected.var


@pytest.mark.parametrize("t", [1, 2, 8, 20])
def test_9_2_by_regression_of_two_gaussians(t: int) -> None:
    """`(x_{t-1}, x_t)` of one class is a Gaussian in four dimensions, by moments of the chain."""
    y = np.array([2, 0, 1, 0])
    found = p_xprev_given_xt_y(MODEL, POINTS, t, y, SCHEDULE).mean
    for i, k in enumerate(y):
        m_prev, C_prev = law(k, t - 1)
        m, C = law(k, t)
        gain = np.sqrt(SCHEDULE.alpha[t]) * C_prev @ np.linalg.inv(C)
        np.testing.assert_allclose(found[i], m_prev + gain @ (POINTS[i] - m), atol=ALGEBRA)


@pytest.mark.parametrize("t", [1, 8, 20])
@pytest.mark.parametrize("y", [0, 2, K])
def test_9_2_by_bayes_on_a_grid(y: int, t: int) -> None:
    """The mean of x_{t-1}, its law in the class or in all data times the step to x_t, in sums.

    The grid spans the states, or 9 deviations of what the step allows if that is less: smooth and
    0 at the border, so exact to rounding.
    """
    alpha = SCHEDULE.alpha[t]
    reach = 9 * np.sqrt((1 - alpha) / alpha)
    found = p_xprev_given_xt_y(MODEL, POINTS[:2], t, labels(y, 2), SCHEDULE).mean
    for x, mean in zip(POINTS, found, strict=False):
        centre, half = (x / np.sqrt(alpha), reach) if reach < 6 else (np.zeros(2), 6.5)
        line = np.linspace(-half, half, 240)
        xprev = centre + np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
        each = shares(xprev, t - 1)
        before = each.sum(0) if y == K else each[y]
        p = before * norm.pdf(x, np.sqrt(alpha) * xprev, np.sqrt(1 - alpha)).prod(1)
        np.testing.assert_allclose(mean, p @ xprev / p.sum(), atol=1e-8)


def test_9_2_by_errors_of_chains(chains: tuple[np.ndarray, ...]) -> None:
    """A conditional mean misses by what no function of `x_t` (and of the label) foretells."""
    y, xprev, xt, _ = chains
    for label in (y, labels(K, N)):
        missed = xprev - p_xprev_given_xt_y(MODEL, xt, 8, label, SCHEDULE).mean
        for g in (1, xt, xt[:, ::-1], np.sin(2 * xt)):
            assert_mean_is_zero(missed * g)
    for k in range(K):
        missed = xprev - p_xprev_given_xt_y(MODEL, xt, 8, y, SCHEDULE).mean
        assert_mean_is_zero(missed * (y == k)[:, None])


@pytest.mark.parametrize("t", [1, 8, 20])
def test_9_3_by_slope_of_log_density(t: int) -> None:
    """Tweedie, without a label: SciPy's sum over classes, differentiated."""
    found = eps_of_all(POINTS, t, MIXTURE, SCHEDULE)
    # h^2 / 6 times a third derivative of some hundreds, and 1e-14 / h of rounding
    np.testing.assert_allclose(found, -np.sqrt(1 - abar(t)) * slope(POINTS, t), atol=1e-6)


@pytest.mark.parametrize("t", [1, 8, 20])
def test_9_3_by_null_label(t: int) -> None:
    """What the oracle says at the null label is the mean over classes, far from all of them too."""
    x = np.vstack([POINTS, [[0.0, 1e3], [-1e3, 20.0]]])
    found = eps_of_all(x, t, MIXTURE, SCHEDULE)
    np.testing.assert_allclose(found, MODEL(x, t, labels(K, 6)), rtol=1e-11, atol=ALGEBRA)
    assert eps_of_all(x[:0], t, MIXTURE, SCHEDULE).shape == (0, 2)


def test_9_3_by_errors_of_chains(chains: tuple[np.ndarray, ...]) -> None:
    """The noise of all images together: nothing in `x_t` foretells what its mean misses."""
    _, _, xt, eps = chains
    missed = eps - eps_of_all(xt, 8, MIXTURE, SCHEDULE)
    for g in (1, xt, xt[:, ::-1], np.sin(2 * xt)):
        assert_mean_is_zero(missed * g)


@pytest.mark.parametrize("t", [0, 1, 8, 20])
def test_9_3_by_scores_of_classes(t: int) -> None:
    """Sum over y of p(y | x_t) s(x_t | y) is s(x_t); SciPy's shares, scores in closed form."""
    p = shares(POINTS, t)
    each = []
    for k in range(K):
        mean, cov = law(k, t)
        each.append(-np.linalg.solve(cov, (POINTS - mean).T).T)
    mixed = np.einsum("kn,kni->ni", p / p.sum(0), each)
    np.testing.assert_allclose(score(POINTS, t, labels(K), MIXTURE, SCHEDULE), mixed, atol=1e-9)
    np.testing.assert_allclose(slope(POINTS, t), mixed, atol=1e-6)
    if t > 0:
        found = eps_of_all(POINTS, t, MIXTURE, SCHEDULE)
        np.testing.assert_allclose(found, -np.sqrt(1 - abar(t)) * mixed, atol=1e-9)


def test_9_3_by_places_of_one_class() -> None:
    """Where one class alone can be, all images are that class; elsewhere they are not."""
    apart = GaussianMixture(10 * MIXTURE.means, MIXTURE.covs, MIXTURE.weights)
    model = oracle_eps(apart, SCHEDULE)
    for k in range(K):
        x = np.sqrt(abar(3)) * apart.means[[k]] + 0.1
        found = eps_of_all(x, 3, apart, SCHEDULE)
        np.testing.assert_allclose(found, model(x, 3, np.array([k])), atol=ALGEBRA)
        assert np.abs(found - model(x, 3, np.array([(k + 1) % K]))).max() > 1


def two_losses(chains: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The loss of each chain without its label less that with it; and what the label tells."""
    y, _, xt, eps = chains
    without, with_y = (((eps - MODEL(xt, 8, k)) ** 2).sum(1) for k in (labels(K, N), y))
    return without - with_y, told_by_label(xt, 8, y, MIXTURE, SCHEDULE)


def test_9_4_by_two_losses_of_chains(chains: tuple[np.ndarray, ...]) -> None:
    more, told = two_losses(chains)
    assert_mean_is_zero(more - told)
    assert more.mean() > 20 * more.std() / np.sqrt(N)  # it could have failed


@pytest.mark.parametrize("t", [1, 8, 20])
def test_9_4_by_floors_on_a_grid(t: int) -> None:
    """The floor with labels is (7.9), the one without is 2 - (1 - abar) E|slope of log p|^2."""
    line = np.arange(-7, 7, 0.05)
    x = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    p = shares(x, t) * 0.05**2
    some = p.sum(0) > 1e-25  # elsewhere SciPy's density may be 0 and has no logarithm
    x = x[some]
    p = p[:, some]
    told = [told_by_label(x, t, labels(k, len(x)), MIXTURE, SCHEDULE) for k in range(K)]
    without = 2 - (1 - abar(t)) * (p.sum(0) @ (slope(x, t) ** 2).sum(1))
    with_y = sum(MIXTURE.weights[k] * lowest_loss(k, t, MIXTURE, SCHEDULE) for k in range(K))
    assert (p * told).sum() == pytest.approx(without - with_y, abs=1e-8)  # slopes err by 1e-9


def test_9_4_by_ends_of_the_chain() -> None:
    """As abar at T (2e-9, times some tens), and as 1 - abar at the data (.0001); most in between.

    Near the data the two scores differ by something finite, that of the data: here |.|^2 < 40.
    """
    mixture = three_gaussians()
    rng = np.random.default_rng(2)
    x, y = mixture.sample(2000, rng)
    end = Schedule.cosine(1000)
    start = Schedule.linear(1000)
    noise = rng.standard_normal(x.shape)
    assert 0 < told_by_label(noise, 1000, y, mixture, end).max() < 1e-7
    gap = [score(x, 0, label, mixture, start) for label in (y, 0 * y + 3)]
    expected = 1e-4 * ((gap[0] - gap[1]) ** 2).sum(1)
    found = told_by_label(x, 1, y, mixture, start)
    np.testing.assert_allclose(found, expected, atol=1e-4 * 0.1)
    rest = [
        told_by_label(np.sqrt(a) * x + np.sqrt(1 - a) * noise, t, y, mixture, start).mean()
        for t, a in enumerate(start.alpha_bar)
        if t % 50 == 1
    ]
    assert 3 < np.argmax(rest) < 10 and max(rest) > 0.5 and max(rest[0], rest[-1]) < 0.02


@pytest.mark.parametrize("t", [1, 8, 20])
def test_9_4_by_labels_that_tell_nothing(t: int) -> None:
    """A single class is all images; and the null label is what the others are compared with."""
    alone = GaussianMixture(MIXTURE.means[:1], MIXTURE.covs[:1], np.ones(1))
    assert np.abs(told_by_label(POINTS, t, labels(0), alone, SCHEDULE)).max() < 1e-25
    one = oracle_eps(alone, SCHEDULE)(POINTS, t, labels(0))
    np.testing.assert_allclose(eps_of_all(POINTS, t, alone, SCHEDULE), one, atol=ALGEBRA)
    assert not told_by_label(POINTS, t, labels(K), MIXTURE, SCHEDULE).any()


@pytest.mark.parametrize("t", [-1, 0, 21])
def test_9_1_by_refusal_of_t(t: int) -> None:
    """Also where the model itself takes any t."""
    for model in (MODEL, Echo()):
        with pytest.raises(ValueError, match=f"t = {t} is outside 1..20"):
            p_xprev_given_xt_y(model, POINTS, t, labels(0), SCHEDULE)
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..20"):
        eps_of_all(POINTS, t, MIXTURE, SCHEDULE)
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..20"):
        told_by_label(POINTS, t, labels(0), MIXTURE, SCHEDULE)


@pytest.mark.parametrize("y", [-1, 4])
def test_9_1_by_refusal_of_y(y: int) -> None:
    with pytest.raises(ValueError, match=rf"y in {y}\.\.{y} is outside 0\.\.3"):
        p_xprev_given_xt_y(MODEL, POINTS, 8, labels(y), SCHEDULE)
    with pytest.raises(ValueError, match=rf"y in {y}\.\.{y} is outside 0\.\.3"):
        told_by_label(POINTS, 8, labels(y), MIXTURE, SCHEDULE)
