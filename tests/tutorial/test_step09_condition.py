"""Step 9 by two routes an equation: Bayes on points and grids, joint Gaussians, chains, slopes.

Given coins, all coins, counted means, a general minimiser, and binomial laws.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import binom, chisquare, multivariate_normal, norm

import tutorial.step09_condition as lesson
from tests.tutorial.checks import assert_mean_is_zero
from tutorial.contract import Denoiser
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import lowest_loss, noised, oracle_eps, score
from tutorial.step09_condition import (
    columns_of_label,
    drop_labels,
    dropped_var,
    eps_null_from_classes,
    excess_joint_loss,
    joint_fit,
    joint_loss,
    p_xprev_given_xt_y,
    squared_label_effect,
)

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
    """Around the mean, chains have its variance and that which the data still have, (6.3)."""
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
    found = eps_null_from_classes(POINTS, t, MIXTURE, SCHEDULE)
    # h^2 / 6 times a third derivative of some hundreds, and 1e-14 / h of rounding
    np.testing.assert_allclose(found, -np.sqrt(1 - abar(t)) * slope(POINTS, t), atol=1e-6)


@pytest.mark.parametrize("t", [1, 8, 20])
def test_9_3_by_null_label(t: int) -> None:
    """What the oracle says at the null label is the mean over classes, far from all of them too."""
    x = np.vstack([POINTS, [[0.0, 1e3], [-1e3, 20.0]]])
    found = eps_null_from_classes(x, t, MIXTURE, SCHEDULE)
    np.testing.assert_allclose(found, MODEL(x, t, labels(K, 6)), rtol=1e-11, atol=ALGEBRA)
    assert eps_null_from_classes(x[:0], t, MIXTURE, SCHEDULE).shape == (0, 2)


def test_9_3_by_errors_of_chains(chains: tuple[np.ndarray, ...]) -> None:
    """The noise of all images together: nothing in `x_t` foretells what its mean misses."""
    _, _, xt, eps = chains
    missed = eps - eps_null_from_classes(xt, 8, MIXTURE, SCHEDULE)
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
        found = eps_null_from_classes(POINTS, t, MIXTURE, SCHEDULE)
        np.testing.assert_allclose(found, -np.sqrt(1 - abar(t)) * mixed, atol=1e-9)


def test_9_3_by_places_of_one_class() -> None:
    """Where one class alone can be, all images are that class; elsewhere they are not."""
    apart = GaussianMixture(10 * MIXTURE.means, MIXTURE.covs, MIXTURE.weights)
    model = oracle_eps(apart, SCHEDULE)
    for k in range(K):
        x = np.sqrt(abar(3)) * apart.means[[k]] + 0.1
        found = eps_null_from_classes(x, 3, apart, SCHEDULE)
        np.testing.assert_allclose(found, model(x, 3, np.array([k])), atol=ALGEBRA)
        assert np.abs(found - model(x, 3, np.array([(k + 1) % K]))).max() > 1


def test_9_3_by_a_probable_class_near_the_data() -> None:
    """The two images at abar = 0.9999: with p = 0.99 for class 0 the predictions differ by 2.

    They differ by 2 sqrt(SNR) = 200 between the classes. The images have the variance 1e-12.
    """
    images = GaussianMixture(
        np.array([[1.0, 0.0], [-1.0, 0.0]]), np.tile(1e-12 * np.eye(2), (2, 1, 1)), np.full(2, 0.5)
    )
    late = Schedule(np.array([0, 1e-4]))
    x = np.array([[np.log(99) * 1e-4 / (2 * np.sqrt(0.9999)), 0.0]])
    p = np.exp(noised(images, 1, late).log_class_probability(x))[0]
    assert p[0] == pytest.approx(0.99, abs=1e-6)
    model = oracle_eps(images, late)
    eps_0, eps_1 = (model(x, 1, np.array([k]))[0, 0] for k in (0, 1))
    assert eps_1 - eps_0 == pytest.approx(2 * np.sqrt(0.9999 / 0.0001), rel=1e-6)
    found = eps_null_from_classes(x, 1, images, late)[0, 0]
    assert found - eps_0 == pytest.approx(2, abs=1e-3)
    halfway = np.sqrt(0.9999) / np.sqrt(0.0001)  # in standard deviations of the noise
    assert halfway == pytest.approx(100, abs=0.01)


def two_losses(chains: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The loss of each chain without its label less that with it; and what the label tells."""
    y, _, xt, eps = chains
    without, with_y = (((eps - MODEL(xt, 8, k)) ** 2).sum(1) for k in (labels(K, N), y))
    return without - with_y, squared_label_effect(xt, 8, y, MIXTURE, SCHEDULE)


def test_9_4_by_two_losses_of_chains(chains: tuple[np.ndarray, ...]) -> None:
    more, told = two_losses(chains)
    assert_mean_is_zero(more - told)
    assert more.mean() > 20 * more.std() / np.sqrt(N)  # it could have failed


@pytest.mark.parametrize("t", [1, 8, 20])
def test_9_4_by_floors_on_a_grid(t: int) -> None:
    """The floor with labels is (5.16), the one without is 2 - (1 - abar) E|slope of log p|^2."""
    line = np.arange(-7, 7, 0.05)
    x = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    p = shares(x, t) * 0.05**2
    some = p.sum(0) > 1e-25  # elsewhere SciPy's density may be 0 and has no logarithm
    x = x[some]
    p = p[:, some]
    told = [squared_label_effect(x, t, labels(k, len(x)), MIXTURE, SCHEDULE) for k in range(K)]
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
    assert 0 < squared_label_effect(noise, 1000, y, mixture, end).max() < 1e-7
    gap = [score(x, 0, label, mixture, start) for label in (y, 0 * y + 3)]
    expected = 1e-4 * ((gap[0] - gap[1]) ** 2).sum(1)
    found = squared_label_effect(x, 1, y, mixture, start)
    np.testing.assert_allclose(found, expected, atol=1e-4 * 0.1)
    rest = [
        squared_label_effect(np.sqrt(a) * x + np.sqrt(1 - a) * noise, t, y, mixture, start).mean()
        for t, a in enumerate(start.alpha_bar)
        if t % 50 == 1
    ]
    assert 3 < np.argmax(rest) < 10 and max(rest) > 0.5 and max(rest[0], rest[-1]) < 0.02


@pytest.mark.parametrize("t", [1, 8, 20])
def test_9_4_by_labels_that_tell_nothing(t: int) -> None:
    """A single class is all images; and the null label is what the others are compared with."""
    alone = GaussianMixture(MIXTURE.means[:1], MIXTURE.covs[:1], np.ones(1))
    assert np.abs(squared_label_effect(POINTS, t, labels(0), alone, SCHEDULE)).max() < 1e-25
    one = oracle_eps(alone, SCHEDULE)(POINTS, t, labels(0))
    np.testing.assert_allclose(eps_null_from_classes(POINTS, t, alone, SCHEDULE), one, atol=ALGEBRA)
    assert not squared_label_effect(POINTS, t, labels(K), MIXTURE, SCHEDULE).any()


@pytest.mark.parametrize("t", [-1, 0, 21])
def test_9_1_by_refusal_of_t(t: int) -> None:
    """Also where the model itself takes any t."""
    for model in (MODEL, Echo()):
        with pytest.raises(ValueError, match=f"t = {t} is outside 1..20"):
            p_xprev_given_xt_y(model, POINTS, t, labels(0), SCHEDULE)
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..20"):
        eps_null_from_classes(POINTS, t, MIXTURE, SCHEDULE)
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..20"):
        squared_label_effect(POINTS, t, labels(0), MIXTURE, SCHEDULE)


@pytest.mark.parametrize("y", [-1, 4])
def test_9_1_by_refusal_of_y(y: int) -> None:
    with pytest.raises(ValueError, match=rf"y in {y}\.\.{y} is outside 0\.\.3"):
        p_xprev_given_xt_y(MODEL, POINTS, 8, labels(y), SCHEDULE)
    with pytest.raises(ValueError, match=rf"y in {y}\.\.{y} is outside 0\.\.3"):
        squared_label_effect(POINTS, 8, labels(y), MIXTURE, SCHEDULE)


DROPOUT_ALGEBRA = 1e-12  # float64, sums of some dozen terms of order one
SHARES = [1e-3, 0.1, 0.5, 0.9, 1 - 1e-3]  # of labels dropped


class GivenCoins(np.random.Generator):
    """A generator whose uniform draws are the given coins."""

    def __init__(self, coins: list[float]) -> None:
        super().__init__(np.random.PCG64(0))
        self.coins = np.array(coins)

    def random(self, size: int) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        assert size == len(self.coins)
        return self.coins


@pytest.fixture(scope="module")
def dropout_chains() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Label, `x_8` and its noise of 100,000 chains (seed 10); the oracle with and without label."""
    rng = np.random.default_rng(10)
    y = rng.choice(K, size=N, p=MIXTURE.weights)
    roots = np.linalg.cholesky(MIXTURE.covs)
    x0 = MIXTURE.means[y] + np.einsum("nij,nj->ni", roots[y], rng.standard_normal((N, 2)))
    x = x0
    abar = np.prod(1 - SCHEDULE.beta[1:9])
    for s in range(1, 9):
        x = np.sqrt(SCHEDULE.alpha[s]) * x + np.sqrt(SCHEDULE.beta[s]) * rng.standard_normal((N, 2))
    eps = (x - np.sqrt(abar) * x0) / np.sqrt(1 - abar)
    model = oracle_eps(MIXTURE, SCHEDULE)
    return y, x, eps, model(x, 8, y), model(x, 8, np.full(N, K))


def test_9_5_by_given_coins() -> None:
    """A label goes where its coin, in [0, 1), is below p: never at p = 0, always at p = 1."""
    y = np.array([2, 0, 1, 1, 0])
    last = 1 - 2**-53
    coins = [0.0, 0.3, 0.29, last, 0.31]
    for p, expected in ((0.3, [7, 0, 7, 1, 0]), (0.0, [2, 0, 1, 1, 0]), (1.0, [7] * 5)):
        np.testing.assert_array_equal(drop_labels(y, p, 7, GivenCoins(coins)), expected)


def test_9_5_by_what_is_kept() -> None:
    """A label either stays or becomes the null label; the labels given stay what they were."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    before = y.copy()
    seen = drop_labels(y, 0.5, 3, rng)
    assert set(seen) == {0, 1, 2, 3} and seen.dtype == y.dtype
    np.testing.assert_array_equal(seen[seen != 3], y[seen != 3])
    np.testing.assert_array_equal(y, before)
    assert drop_labels(y[:0], 0.5, 3, rng).shape == (0,)


def test_9_5_by_many_passes() -> None:
    """In 100 passes over 200 samples each is seen with its label and without it.

    Only the fraction of the draws is p: 5 standard errors of 20,000 coins. That a sample is seen in
    one way alone has a probability below 200 * 0.8^100, which is 4e-8.
    """
    rng = np.random.default_rng(3)
    y = np.arange(200) % 3
    hidden = np.array([drop_labels(y, 0.2, 3, rng) == 3 for _ in range(100)])
    assert hidden.any(0).all() and not hidden.all(0).any()
    assert abs(hidden.mean() - 0.2) < 5 * (0.2 * 0.8 / hidden.size) ** 0.5


def test_9_5_by_independence_of_everything(dropout_chains: tuple[np.ndarray, ...]) -> None:
    """The share dropped is p whatever the class, the noise, the place, or the neighbour's coin."""
    y, x, eps = dropout_chains[:3]
    gone = (drop_labels(y, 0.2, K, np.random.default_rng(1)) == K) - 0.2
    assert abs(gone.mean()) < 5 * np.sqrt(0.2 * 0.8 / N)
    for g in (y == 0, y == 2, np.arange(N) > N / 2, x[:, 0], eps[:, 1], np.sign(eps[:, 0])):
        assert_mean_is_zero(gone * g)
    for apart in (1, 2, 7):
        assert_mean_is_zero(gone[apart:] * gone[:-apart])


def test_9_6_by_all_coins() -> None:
    """Six samples, all 64 ways their coins can fall, each at its probability: no simulation."""
    rng = np.random.default_rng(2)
    n = 6
    p = 0.3
    eps, f_y, f_null = rng.standard_normal((3, n, 2))
    found = joint_loss(eps, f_y, f_null, p)
    total = np.zeros(n)
    for coins in product((False, True), repeat=n):
        gone = np.array(coins)
        shown = np.where(gone[:, None], f_null, f_y)
        total += p ** gone.sum() * (1 - p) ** (n - gone.sum()) * ((eps - shown) ** 2).sum(1)
    np.testing.assert_allclose(found, total, atol=DROPOUT_ALGEBRA)
    assert found.std() > 0.1


@pytest.mark.parametrize("p", [0.05, 0.3, 0.8])
def test_9_6_by_drawn_labels(p: float, dropout_chains: tuple[np.ndarray, ...]) -> None:
    """The loss of the labels that training shows, with coins tossed, for any f: here not f*."""
    y, x, eps = dropout_chains[:3]
    embedding = np.array([[0.5, 0.0], [-0.5, 0.2], [0.1, 0.7], [-0.3, -0.4]])
    shown = drop_labels(y, p, K, np.random.default_rng(3))
    drawn = ((eps - 0.4 * x - embedding[shown]) ** 2).sum(1)
    both = joint_loss(eps, 0.4 * x + embedding[y], 0.4 * x + embedding[K], p)
    assert_mean_is_zero(drawn - both)
    swapped = joint_loss(eps, 0.4 * x + embedding[K], 0.4 * x + embedding[y], p)
    error = (drawn - swapped).std() / np.sqrt(N)
    assert abs((drawn - swapped).mean()) > 8 * error  # it could have failed


def test_9_6_by_ends() -> None:
    """At p = 0 the loss knows nothing of the null output, at p = 1 nothing of the other."""
    eps, f, g, other = np.random.default_rng(4).standard_normal((4, 9, 2))
    for p, pairs in ((0.0, ((f, g), (f, other))), (1.0, ((g, f), (other, f)))):
        for f_y, f_null in pairs:
            expected = ((eps - f) ** 2).sum(1)
            np.testing.assert_allclose(
                joint_loss(eps, f_y, f_null, p), expected, atol=DROPOUT_ALGEBRA
            )


@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
def test_9_7_by_perturbation(p: float, dropout_chains: tuple[np.ndarray, ...]) -> None:
    """Every change of the pair costs its mean square in its own label's weight; both signs do."""
    _, x, eps, best_y, best_null = dropout_chains
    least = joint_loss(eps, best_y, best_null, p)
    zero = np.zeros_like(x)
    bend = 0.1 * np.sin(3 * x)
    shift = np.full_like(x, 0.1)
    for in_y, in_null in ((bend, zero), (zero, bend), (bend, shift), (0.1 * x[:, ::-1], -shift)):
        for sign in (1, -1):
            more = joint_loss(eps, best_y + sign * in_y, best_null + sign * in_null, p) - least
            cost = excess_joint_loss(
                best_y + sign * in_y, best_null + sign * in_null, best_y, best_null, p
            )
            assert_mean_is_zero(more - cost)


def population() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A cell of four, a class of three and a noise for each of about a hundred samples."""
    rng = np.random.default_rng(5)
    counts = rng.integers(3, 15, (4, K))
    cell, y = np.indices((4, K)).reshape(2, -1).repeat(counts.ravel(), axis=1)
    return cell, y, rng.standard_normal((len(y), 2)) + cell[:, None] * y[:, None]


def counted(cell: np.ndarray, y: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """The mean noise of each (label, cell), and below them that of each cell: (K + 1, 4, 2)."""
    rows = [[eps[(cell == c) & (y == k)].mean(0) for c in range(4)] for k in range(K)]
    return np.array([*rows, [eps[cell == c].mean(0) for c in range(4)]])


def fit_of_cells(
    cell: np.ndarray, y: np.ndarray, eps: np.ndarray, p: float, null: int = K
) -> np.ndarray:
    """A number for each (label, cell), fitted: what a network of boundless freedom could learn."""
    pair = (columns_of_label(np.eye(4)[cell], label, max(K, null)) for label in (y, 0 * y + null))
    return joint_fit(*pair, eps, p).reshape(-1, 4, 2)


@pytest.mark.parametrize("p", SHARES)
def test_9_7_by_counted_means(p: float) -> None:
    """Where `x_t` has four values the conditional means are counted: the fit is they, any p."""
    cell, y, eps = population()
    found = fit_of_cells(cell, y, eps, p)
    np.testing.assert_allclose(found, counted(cell, y, eps), atol=DROPOUT_ALGEBRA)


@pytest.mark.parametrize("p", SHARES[1:4])
def test_9_7_by_tossed_coins(p: float) -> None:
    """Training's own way: drop labels of endless data, then the mean noise at each label shown.

    That is the least loss of a table. 60,000 draws (seed 6), within 5 standard errors.
    """
    cell, y, eps = population()
    rng = np.random.default_rng(6)
    pick = rng.integers(len(y), size=60_000)
    shown = drop_labels(y[pick], p, K, rng)
    table = fit_of_cells(cell, y, eps, p)
    for k, c in product(range(K + 1), range(4)):
        assert_mean_is_zero(eps[pick][(shown == k) & (cell[pick] == c)] - table[k, c])


@pytest.mark.parametrize("p", SHARES[1:4])
def test_9_7_by_a_general_minimiser(p: float) -> None:
    """SciPy walks down the mean of `joint_loss`, of a network that cannot be right at both labels.

    There, and only there, the share matters: the pair of weights at p is not that at p / 2.
    """
    rng = np.random.default_rng(7)
    with_y = rng.random((40, 4))
    without = rng.random((40, 4))
    eps = rng.random((40, 1))

    def loss(W: np.ndarray) -> float:
        return float(joint_loss(eps, with_y @ W[:, None], without @ W[:, None], p).mean())

    found = joint_fit(with_y, without, eps, p)[:, 0]
    walked = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-7})
    # The walk's gradient is a difference of losses, good to 1e-8, over curvatures of .05 and more.
    np.testing.assert_allclose(found, walked.x, atol=2e-6)
    for _ in range(20):
        assert loss(found + 0.1 * rng.standard_normal(4)) > loss(found)
    assert np.abs(joint_fit(with_y, without, eps, p / 2)[:, 0] - found).max() > 1e-3


@pytest.mark.parametrize("p", SHARES[1:4])
def test_9_7_by_oracle_among_features(p: float, dropout_chains: tuple[np.ndarray, ...]) -> None:
    """Offered x_t, a bend and the null answer, each label finds its own conditional mean.

    F numbers for each of 2 outputs cost 2 F times a variance, of at most 1, over the samples seen.
    Of that mean the bound is four times. (In a class the oracle is affine in x_t.)
    """
    y, x, eps, _, best_null = (a[:20_000] for a in dropout_chains)
    features = np.hstack([best_null, np.ones_like(x[:, :1]), x, np.sin(2 * x)])
    pair = [columns_of_label(features, label, K) for label in (y, 0 * y + K)]
    W = joint_fit(*pair, eps, p)
    model = oracle_eps(MIXTURE, SCHEDULE)
    for k in range(K + 1):
        seen = y == k if k < K else y < K
        off = columns_of_label(features, 0 * y + k, K) @ W - model(x, 8, 0 * y + k)
        assert (off[seen] ** 2).sum(1).mean() < 4 * 2 * features.shape[1] / seen.sum()
    apart = columns_of_label(features, 0 * y, K) @ W - best_null
    assert (apart**2).sum(1).mean() > 0.1  # the bounds above are below 0.02


@pytest.mark.parametrize(("p", "silent"), [(0.0, [K]), (1.0, [0, 1, 2])])
def test_9_7_by_labels_that_nothing_is_said_of(p: float, silent: list[int]) -> None:
    """At p = 0 the null label's numbers are left at 0, at p = 1 all others; the rest is right."""
    cell, y, eps = population()
    table = fit_of_cells(cell, y, eps, p)
    means = counted(cell, y, eps)
    for k in range(K + 1):
        expected = 0 * means[k] if k in silent else means[k]
        np.testing.assert_allclose(table[k], expected, atol=DROPOUT_ALGEBRA)


@pytest.mark.parametrize("p", SHARES)
def test_9_7_by_a_single_class(p: float) -> None:
    """Then both labels stand for the same images."""
    cell, y, eps = population()
    table = fit_of_cells(cell, 0 * y, eps, p, null=1)
    np.testing.assert_allclose(table[0], table[1], atol=DROPOUT_ALGEBRA)
    np.testing.assert_allclose(table[0], counted(cell, y, eps)[K], atol=DROPOUT_ALGEBRA)


def test_9_7_by_a_number_shared_with_a_class() -> None:
    """If the null label is class 0's number one output serves two means: p decides whose.

    A cell's number is the mean of both, weighed by how many samples ask for each. The more of
    them are asked without label, the nearer to all images and the farther from the class.
    """
    cell, y, eps = population()
    means = counted(cell, y, eps)
    counts = np.array([(cell == c).sum() for c in range(4)])
    of_class = np.array([((cell == c) & (y == 0)).sum() for c in range(4)])
    paths = []
    for p in SHARES:
        shared = fit_of_cells(cell, y, eps, p, null=0)
        a = ((1 - p) * of_class)[:, None]
        b = (p * counts)[:, None]
        np.testing.assert_allclose(
            shared[0], (a * means[0] + b * means[K]) / (a + b), atol=DROPOUT_ALGEBRA
        )
        np.testing.assert_allclose(shared[1], means[1], atol=DROPOUT_ALGEBRA)
        paths.append([((shared[0] - means[k]) ** 2).sum() for k in (0, K)])
    from_class, from_null = np.array(paths).T
    assert (np.diff(from_class) > 0).all() and (np.diff(from_null) < 0).all()
    assert max(from_class[0], from_null[-1]) < 0.01 < 0.5 < min(from_class[-1], from_null[0])


def test_9_7_by_columns_of_a_label() -> None:
    """Features stand where the label says, and nowhere else."""
    found = columns_of_label(np.array([[5.0, 6.0], [7.0, 8.0]]), np.array([2, 0]), 2)
    np.testing.assert_array_equal(found, [[0, 0, 0, 0, 5, 6], [7, 8, 0, 0, 0, 0]])
    assert columns_of_label(np.zeros((0, 2)), np.zeros(0, dtype=int), 2).shape == (0, 6)


def count(p: float, n: int, batches: int, seed: int) -> np.ndarray:
    """How many labels each of many batches loses."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % K
    return np.array([(drop_labels(y, p, K, rng) == K).sum() for _ in range(batches)])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_9_8_by_variance_of_batches(p: float) -> None:
    """4000 batches of 100 (seed 11): 5 standard errors of a variance, nearly Gaussian."""
    expected = 100 * p * (1 - p)
    assert abs(count(p, 100, 4000, 11).var() - expected) < 5 * expected * np.sqrt(2 / 4000)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_9_8_by_binomial_law(p: float) -> None:
    """The whole law: chi square on 5000 batches of 12 (seed 12), tails pooled, alarm at 1e-6."""
    assert dropped_var(12, p) == pytest.approx(binom.var(12, p), rel=1e-12)
    found = np.bincount(count(p, 12, 5000, 12), minlength=13)
    expected = 5000 * binom.pmf(np.arange(13), 12, p)
    many = expected > 20
    pooled = [np.append(a[many], a[~many].sum()) for a in (found, expected)]
    assert chisquare(*pooled).pvalue > 1e-6


def test_9_8_by_pairs_of_places() -> None:
    """A variance of a sum is that of each term, and twice what each pair shares: nothing."""
    rng = np.random.default_rng(13)
    p = 0.3
    y = np.zeros(10, int)
    gone = np.array([drop_labels(y, p, 1, rng) for _ in range(20_000)]) - p
    shared = (gone[:, :, None] * gone[:, None]).mean(0)
    # The square of one coin deviates by |1 - 2 p| of the coin's own deviation.
    one = np.eye(10) * (1 - 2 * p) * np.sqrt(p * (1 - p)) + (1 - np.eye(10)) * p * (1 - p)
    error = one / np.sqrt(20_000)
    assert (np.abs(shared - p * (1 - p) * np.eye(10)) < 5 * error).all()


def test_9_8_by_one_coin_for_the_batch() -> None:
    """The text's other coin: as many labels dropped on average, and n times the variance."""
    whole = 100 * (drop_labels(np.zeros(4000, int), 0.2, K, np.random.default_rng(14)) == K)
    assert abs(whole.mean() - 20) < 5 * 40 / np.sqrt(4000)
    # A two-point law's fourth moment: p (1 - p) (1 - 3 p (1 - p)) n^4.
    error = 100**2 * np.sqrt(0.16 * (1 - 3 * 0.16) - 0.16**2) / np.sqrt(4000)
    assert abs(whole.var() - 100**2 * 0.16) < 5 * error
    assert set(whole) == {0, 100}
    each = count(0.2, 100, 1000, 15)
    assert each.min() > 0 and each.max() < 100


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_9_5_by_refusal_of_p(p: float) -> None:
    one = np.ones((1, 1))
    y = np.zeros(1, dtype=int)
    for call in (
        lambda: drop_labels(y, p, 3, np.random.default_rng(0)),
        lambda: joint_loss(one, one, one, p),
        lambda: joint_fit(one, one, one, p),
    ):
        with pytest.raises(ValueError, match=rf"p_uncond = {p} is outside 0\.\.1"):
            call()


@pytest.mark.parametrize("label", [[-1, 1], [1, 4]])
def test_9_7_by_refusal_of_a_label(label: list[int]) -> None:
    """It would have no columns, and its output would be 0 without a word."""
    message = rf"label in {label[0]}\.\.{label[1]} is outside 0\.\.3"
    with pytest.raises(ValueError, match=message):
        columns_of_label(np.ones((2, 1)), np.array(label), 3)


TWO_IMAGES = np.array([1.0, -1.0])  # the example of the text: class 0 is 1, class 1 is -1
# Five images on a line, of two classes, and their probabilities; everything about them is a sum.
IMAGES = np.array([1.2, 0.4, -0.1, -0.9, -1.5])
CLASS = np.array([0, 0, 0, 1, 1])
FREQUENCY = np.array([0.3, 0.1, 0.15, 0.25, 0.2])
X = np.linspace(-9, 9, 3601)  # smooth densities that are 0 at the ends: sums are exact to rounding


def by_images(a: float) -> tuple[np.ndarray, np.ndarray]:
    """`p(x_0, x_t)` and eps of each of the IMAGES, one row per image, on X, for abar = `a`."""
    p = FREQUENCY[:, None] * norm.pdf(X, np.sqrt(a) * IMAGES[:, None], np.sqrt(1 - a))
    eps = (X - np.sqrt(a) * IMAGES[:, None]) / np.sqrt(1 - a)
    return p, eps


def by_classes(a: float) -> tuple[np.ndarray, np.ndarray]:
    """`p(y, x_t)` and `E[eps | x_t, y]`, one row per class, summed over the images of the class."""
    p, eps = by_images(a)
    p_y = np.array([p[k == CLASS].sum(0) for k in (0, 1)])
    eps_y = np.array([(p * eps)[k == CLASS].sum(0) for k in (0, 1)]) / p_y
    return p_y, eps_y


def mean_square(p: np.ndarray, off: np.ndarray) -> float:
    """`E|off|^2` under `p`, both one row per image or class on X."""
    return float((p * off**2).sum() * (X[1] - X[0]))


def test_9_3_by_each_step() -> None:
    """The mean over all images is the mean over classes of their means: sums over five images."""
    for a in (0.1, 0.5, 0.9):
        p, eps = by_images(a)
        p_y, eps_y = by_classes(a)
        over_images = (p * eps).sum(0) / p.sum(0)
        over_classes = (p_y * eps_y).sum(0) / p_y.sum(0)
        np.testing.assert_allclose(over_images, over_classes, atol=ALGEBRA)


def test_9_3_by_numbers_in_the_text() -> None:
    """The two images of the example, and the mean with the frequencies as weights."""
    eps = (0.4 - np.sqrt(0.5) * TWO_IMAGES) / np.sqrt(0.5)
    density = np.exp(-((0.4 - np.sqrt(0.5) * TWO_IMAGES) ** 2))
    p = density / density.sum()
    eps_null = p @ eps
    guess = (0.4 - np.sqrt(0.5) * eps_null) / np.sqrt(0.5)
    found = [*eps, *density, *p, eps_null, guess, eps.mean()]
    printed = [-0.434, 1.566, 0.910, 0.294, 0.756, 0.244, 0.054, 0.512, 0.566]
    np.testing.assert_allclose(found, printed, atol=5e-4)
    for number in printed:
        assert f"{number:.3f}" in (lesson.__doc__ or "")


def test_9_4_by_each_step() -> None:
    """The loss of any f of (x_t, y): the lowest, and its distance; a bent f, and the null one."""
    for a in (0.1, 0.5, 0.9):
        p, eps = by_images(a)
        p_y, eps_y = by_classes(a)
        eps_null = (p * eps).sum(0) / p.sum(0)
        lowest = mean_square(p, eps - eps_y[CLASS])
        bent = np.array([np.sin(X), 0.3 * X])
        for f in (bent, np.array([eps_null, eps_null])):
            loss = mean_square(p, eps - f[CLASS])
            assert loss == pytest.approx(lowest + mean_square(p_y, f - eps_y), abs=ALGEBRA)
        d = eps_y - eps_null
        more = mean_square(p, eps - eps_null) - lowest
        assert more == pytest.approx(mean_square(p_y, d), abs=ALGEBRA)
        assert more > 0.01


def by_sums(t: int, schedule: Schedule) -> tuple[float, float, float]:
    """`E|d|^2` of the three Gaussians in eps and in x_0, and the entropy of the label, by sums."""
    mixture = three_gaussians()
    line = np.arange(-6.5, 6.5, 0.15)
    x = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    a = schedule.alpha_bar[t]
    var = a / 4 + 1 - a
    p = np.array([norm.pdf(x, m, np.sqrt(var)).prod(1) / 3 for m in np.sqrt(a) * mixture.means])
    p *= 0.15**2
    squared = np.array(
        [squared_label_effect(x, t, labels(k, len(x)), mixture, schedule) for k in range(3)]
    )
    in_eps = (p * squared).sum()
    entropy = -(p * np.log(p / p.sum(0))).sum()
    return in_eps, in_eps * (1 - a) / a, entropy


def test_9_4_by_table_in_the_text() -> None:
    """Each number of the printed table; only the first row is largest inside the chain."""
    schedule = Schedule.cosine(100)
    named = r"^\| (?:t|alpha_bar|mean squared|entropy)[^|]*\|(.+)\|$"
    rows = re.findall(named, lesson.__doc__ or "", re.M)
    times, abar, *printed = [np.array([float(cell) for cell in row.split("|")]) for row in rows]
    np.testing.assert_allclose(schedule.alpha_bar[times.astype(int)], abar, atol=5e-4)
    found = np.array([by_sums(int(t), schedule) for t in times]).T
    np.testing.assert_allclose(found, printed, atol=5.1e-4)  # three digits are printed
    assert len(times) == 6 and 0 < found[0].argmax() < 5
    assert (np.diff(found[1:], axis=1) > 0).all()
    # From t = 50 to t = 40: half the mean of the first row times the rise of the log SNR.
    rise = schedule.log_snr[40] - schedule.log_snr[50]
    product = rise * (found[0, 2] + found[0, 3]) / 4
    fall = found[2, 3] - found[2, 2]
    assert [rise, product, fall] == pytest.approx([0.633, 0.181, 0.185], abs=5e-4)
    # The ten steps between, each in the same way.
    rows = np.array([by_sums(t, schedule) for t in range(40, 51)])
    rises = -np.diff(schedule.log_snr[40:51])
    products = rises * (rows[:-1, 0] + rows[1:, 0]) / 4
    assert products.sum() == pytest.approx(0.185, abs=5e-4)
    assert products.sum() == pytest.approx(rows[-1, 2] - rows[0, 2], abs=1e-4)
    slopes = -np.diff(rows[:, 0]) / rises
    assert np.diff(slopes).min() > 0  # concave: the slope grows as the log SNR falls


def test_9_4_by_information() -> None:
    """Half of it is the slope of the information over log SNR; the total is what is gained.

    The chain has 240 steps, each a tenth in log SNR from 12 to -12. The trapezoid's error is of
    the order of its step squared over 12 times a second derivative below 0.1, which is 1e-4.
    """
    log_snr = np.linspace(12, -12, 241)
    abar = 1 / (1 + np.exp(-log_snr))
    steps = 1 - abar / np.concatenate([[1.0], abar[:-1]])
    schedule = Schedule(np.concatenate([[0.0], steps]))
    times = range(1, 242, 10)
    found = np.array([by_sums(t, schedule) for t in times])
    rate = found[:, 0] / 2
    information = np.log(3) - found[:, 2]
    total = np.trapezoid(rate, -log_snr[::10])
    assert total == pytest.approx(information[0] - information[-1], abs=3e-4)


def test_9_7_by_each_step() -> None:
    """Both losses split into a floor and a distance; with the weights 1 - p and p, the excess."""
    p = 0.3
    a = 0.5
    joint, eps = by_images(a)
    p_y, eps_y = by_classes(a)
    eps_null = (joint * eps).sum(0) / joint.sum(0)
    f_y = np.array([np.sin(X), 0.3 * X])
    f_null = 0.5 * X + 0.1
    delta_y = mean_square(p_y, f_y - eps_y)
    delta_null = mean_square(p_y, f_null - eps_null)
    loss_y = mean_square(joint, eps - f_y[CLASS])
    loss_null = mean_square(joint, eps - f_null)
    floor_y = mean_square(joint, eps - eps_y[CLASS])
    floor_null = mean_square(joint, eps - eps_null)
    assert loss_y == pytest.approx(floor_y + delta_y, abs=ALGEBRA)
    assert loss_null == pytest.approx(floor_null + delta_null, abs=ALGEBRA)
    more = (1 - p) * loss_y + p * loss_null - (1 - p) * floor_y - p * floor_null
    assert more == pytest.approx((1 - p) * delta_y + p * delta_null, abs=ALGEBRA)
    # The lesson's functions, with one row per image and place.
    outputs = (f_y[CLASS], f_null, eps_y[CLASS], eps_null)
    rows = [np.broadcast_to(f, eps.shape).reshape(-1, 1) for f in outputs]
    density = joint.ravel() * (X[1] - X[0])
    loss = density @ joint_loss(eps.reshape(-1, 1), rows[0], rows[1], p)
    least = density @ joint_loss(eps.reshape(-1, 1), rows[2], rows[3], p)
    excess = density @ excess_joint_loss(rows[0], rows[1], rows[2], rows[3], p)
    assert loss - least == pytest.approx(more, abs=ALGEBRA)
    assert excess == pytest.approx(more, abs=ALGEBRA)


def test_9_7_by_numbers_in_the_text() -> None:
    """The two images at abar = 1/2: with a label the loss can be 0, without it 0.450 is lowest.

    That is the mean over x_t; at x_t = 0.4 the variance of the noise is 0.738.
    """
    eps = (X[:, None] - np.sqrt(0.5) * TWO_IMAGES) / np.sqrt(0.5)
    joint = norm.pdf(X[:, None], np.sqrt(0.5) * TWO_IMAGES, np.sqrt(0.5)) / 2
    eps_null = (joint * eps).sum(1) / joint.sum(1)
    lowest = 0.0
    for k in (0, 1):
        eps_y = eps[:, [k]]  # the label determines the image, so the noise is known
        lowest += joint[:, k] @ joint_loss(eps_y, eps_y, eps_null[:, None], 0.2) * (X[1] - X[0])
    assert lowest == pytest.approx(0.2 * 0.450, abs=0.2 * 5e-4)
    here = np.abs(X - 0.4).argmin()
    p = joint[here] / joint[here].sum()
    var = p @ eps[here] ** 2 - (p @ eps[here]) ** 2
    assert var == pytest.approx(0.738, abs=5e-4)


def test_9_8_by_numbers_in_the_text() -> None:
    """64 labels at p = 0.2: the mean, and both standard deviations."""
    expected = 64 * 0.2
    assert expected == pytest.approx(12.8)
    assert np.sqrt(dropped_var(64, 0.2)) == pytest.approx(3.2, abs=0.05)
    assert np.sqrt(64 * dropped_var(64, 0.2)) == pytest.approx(25.6, abs=0.05)
