"""Step 5 by two routes an equation: SciPy's densities, quadrature, differences, and chains.

By two routes an equation: Bayes integrated, chains that ran, derivatives, algebra.
"""

from __future__ import annotations

import time
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import sympy
from scipy.stats import multivariate_normal

from tests.tutorial.checks import assert_mean_is_zero
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import (
    Oracle,
    eps_from_x0,
    excess_loss,
    lowest_loss,
    mean_x0,
    noised,
    oracle_eps,
    score,
    score_from_eps,
    v_from,
    x0_coefficients,
    x0_from,
)
from tutorial.step06_reverse import p_xprev_given_xt

SCHEDULE = Schedule.linear(20)
K = 3
ALGEBRA = 1e-11  # float64, a few dozen operations of order one to a hundred
# Full covariances, unequal shares, no symmetry that could hide a transposed or swapped index.
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
POINTS = np.array([[0.2, -0.3], [-1.4, 0.9], [0.5, 1.1], [2.5, -2.0]])
MODEL = oracle_eps(MIXTURE, SCHEDULE)
N = 100_000
WIDE = np.linspace(-6, 6, 240)


def law(k: int, t: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of `x_t` in class `k`, by running the chain's moments step by step."""
    mean = MIXTURE.means[k]
    cov = MIXTURE.covs[k]
    for s in range(1, t + 1):
        mean = np.sqrt(SCHEDULE.alpha[s]) * mean
        cov = SCHEDULE.alpha[s] * cov + SCHEDULE.beta[s] * np.eye(2)
    return mean, cov


def log_p(x: np.ndarray, t: int, y: int) -> np.ndarray:
    """SciPy's log p(x_t | y), for the null label the log of the weighted sum."""
    each = [multivariate_normal(*law(k, t)).logpdf(x) for k in range(K)]
    shares = MIXTURE.weights[:, None] * np.exp(each)
    return np.log(shares.sum(0)) if y == K else each[y]


def labels(y: int, n: int = len(POINTS)) -> np.ndarray:
    return np.full(n, y)


def by_quadrature(xt: np.ndarray, t: int, y: int) -> tuple[float, np.ndarray]:
    """`p(x_t | y)` and `E[x_0 | x_t, y]` at one point: sums over a grid of 240 x 240 x_0.

    It spans the data, or 9 deviations of what the noise allows if that is less. The integrand is
    smooth and vanishes at the border, where such a sum is exact to rounding: a step is at most
    0.05, the narrowest deviation in the data 0.33.
    """
    signal = np.sqrt(SCHEDULE.alpha_bar[t])
    noise = np.sqrt(1 - SCHEDULE.alpha_bar[t])
    reach = 9 * noise / signal
    line, middle = (np.linspace(-reach, reach, 240), xt / signal) if reach < 6 else (WIDE, 0)
    x0 = middle + np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    prior = [multivariate_normal(MIXTURE.means[k], MIXTURE.covs[k]).pdf(x0) for k in range(K)]
    data = np.einsum("k,kn->n", MIXTURE.weights, prior) if y == K else prior[y]
    squared = ((xt - signal * x0) ** 2).sum(1) / noise**2
    joint = data * np.exp(-squared / 2) / (2 * np.pi * noise**2) * (line[1] - line[0]) ** 2
    return joint.sum(), joint @ x0 / joint.sum()


@pytest.fixture(scope="module")
def chains() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`x_0`, label, `x_8` and the noise in it, of 100,000 chains run step by step (seed 7)."""
    rng = np.random.default_rng(7)
    y = rng.choice(K, size=N, p=MIXTURE.weights)
    root = np.linalg.cholesky(MIXTURE.covs)
    x0 = MIXTURE.means[y] + np.einsum("nij,nj->ni", root[y], rng.standard_normal((N, 2)))
    x = x0
    for s in range(1, 9):
        x = np.sqrt(SCHEDULE.alpha[s]) * x + np.sqrt(SCHEDULE.beta[s]) * rng.standard_normal((N, 2))
    abar = SCHEDULE.alpha_bar[8]
    return x0, y, x, (x - np.sqrt(abar) * x0) / np.sqrt(1 - abar)


@pytest.mark.parametrize("t", [0, 1, 8, 20])
def test_5_11_by_iteration(t: int) -> None:
    for k in range(K):
        mean, cov = law(k, t)
        np.testing.assert_allclose(noised(MIXTURE, t, SCHEDULE).means[k], mean, atol=ALGEBRA)
        np.testing.assert_allclose(noised(MIXTURE, t, SCHEDULE).covs[k], cov, atol=ALGEBRA)


def test_5_11_by_chains(chains: tuple[np.ndarray, ...]) -> None:
    _, y, xt, _ = chains
    for k in range(K):
        away = xt[y == k] - noised(MIXTURE, 8, SCHEDULE).means[k]
        cov = noised(MIXTURE, 8, SCHEDULE).covs[k]
        assert_mean_is_zero(away)
        assert_mean_is_zero((away[:, :, None] * away[:, None, :] - cov).reshape(-1, 4))


@pytest.mark.parametrize("t", [1, 8, 20])
def test_5_12_by_quadrature(t: int) -> None:
    """The law of `x_t` as an integral over the data that may lie behind it."""
    found = noised(MIXTURE, t, SCHEDULE).log_density(POINTS[:3])
    expected = [np.log(by_quadrature(x, t, K)[0]) for x in POINTS[:3]]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("t", [0, 8, 20])
def test_5_12_by_total_mass(t: int) -> None:
    line = np.arange(-8, 8, 0.04)
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    mass = np.exp(noised(MIXTURE, t, SCHEDULE).log_density(grid)).sum() * 0.04**2
    assert mass == pytest.approx(1, abs=1e-9)  # the tails beyond 8


def probabilities_in_the_score(xt: np.ndarray, t: int) -> np.ndarray:
    """`p(y | x_t)`, (n, 3), as the score of the null label contains them.

    That score is the mean of the three classes' scores. Its two coordinates, and that the weights
    have the sum 1, are three equations for three weights.
    """
    n = len(xt)
    each = [score(xt, t, labels(k, n), MIXTURE, SCHEDULE) for k in range(K)]
    matrix = np.concatenate([np.stack(each, 2), np.ones((n, 1, K))], 1)
    of_null = score(xt, t, labels(K, n), MIXTURE, SCHEDULE)
    right = np.concatenate([of_null, np.ones((n, 1))], 1)
    return np.linalg.solve(matrix, right[:, :, None])[:, :, 0]


def test_5_13_by_scipy() -> None:
    found = np.exp(noised(MIXTURE, 8, SCHEDULE).log_class_probability(POINTS))
    np.testing.assert_allclose(probabilities_in_the_score(POINTS, 8), found, atol=1e-9)
    each = [w * np.exp(log_p(POINTS, 8, k)) for k, w in enumerate(MIXTURE.weights)]
    np.testing.assert_allclose(found, (np.array(each) / np.sum(each, axis=0)).T, atol=ALGEBRA)


def test_5_13_by_calibration_on_chains(chains: tuple[np.ndarray, ...]) -> None:
    """A probability given `x_t` errs by 0 on average against every function of `x_t`."""
    _, y, xt, _ = chains
    found = probabilities_in_the_score(xt, 8)
    wrong = (y[:, None] == np.arange(K)) - found
    for g in (1, np.tanh(xt[:, :1]), np.cos(xt[:, 1:]), xt[:, :1] * xt[:, 1:]):
        assert_mean_is_zero(wrong * g)


@pytest.mark.parametrize("t", [0, 1, 8, 20])
@pytest.mark.parametrize("y", range(K))
def test_5_14_by_finite_difference(y: int, t: int) -> None:
    """Of SciPy's log density: a quadratic, so the only error is rounding, about 1e-14 / h."""
    h = 1e-4
    found = score(POINTS, t, labels(y), MIXTURE, SCHEDULE)
    for i, step in enumerate(h * np.eye(2)):
        slope = (log_p(POINTS + step, t, y) - log_p(POINTS - step, t, y)) / (2 * h)
        np.testing.assert_allclose(found[:, i], slope, atol=1e-8)


def test_5_14_by_stein_on_chains(chains: tuple[np.ndarray, ...]) -> None:
    """`E[g s + dg] = 0` for the score of the law that `x_t` has, by parts; here g = tanh."""
    _, y, xt, _ = chains
    for k in range(K):
        x = xt[y == k]
        s = score(xt[y == k], 8, y[y == k], MIXTURE, SCHEDULE)
        assert_mean_is_zero(np.tanh(x) * s + 1 - np.tanh(x) ** 2)
        assert_mean_is_zero(np.tanh(x[:, ::-1]) * s)  # g of the other axis: dg = 0


def test_5_14_by_direction_of_the_mean() -> None:
    """A round class has a score in the direction of its noisy mean, and a long one has not."""
    mean = np.array([0.8, -0.4])
    for cov, is_round in ((0.3 * np.eye(2), True), (np.diag([0.06, 0.5]), False)):
        mixture = GaussianMixture(mean[None], cov[None], np.ones(1))
        found = score(POINTS, 1, labels(0), mixture, SCHEDULE)
        offset = np.sqrt(SCHEDULE.alpha_bar[1]) * mean - POINTS
        products = (found * offset).sum(1)
        cosine = products / np.linalg.norm(found, axis=1) / np.linalg.norm(offset, axis=1)
        assert (np.allclose(cosine, 1, rtol=0, atol=ALGEBRA)) == is_round


@pytest.mark.parametrize("t", [0, 1, 8, 20])
def test_5_15_by_finite_difference(t: int) -> None:
    """Truncation is h^2 / 6 times a third derivative of some hundreds, rounding 1e-14 / h."""
    h = 1e-5
    found = score(POINTS, t, labels(K), MIXTURE, SCHEDULE)
    for i, step in enumerate(h * np.eye(2)):
        slope = (log_p(POINTS + step, t, K) - log_p(POINTS - step, t, K)) / (2 * h)
        np.testing.assert_allclose(found[:, i], slope, atol=1e-6)


def test_5_15_by_stein_on_chains(chains: tuple[np.ndarray, ...]) -> None:
    xt = chains[2]
    s = score(xt, 8, labels(K, N), MIXTURE, SCHEDULE)
    assert_mean_is_zero(np.tanh(xt) * s + 1 - np.tanh(xt) ** 2)
    assert_mean_is_zero(np.tanh(xt[:, ::-1]) * s)


def test_5_15_by_labels_mixed_in_one_batch() -> None:
    """Each row gets its own label, null rows between class rows, in any order."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 2))
    y = rng.integers(0, K + 1, 50)
    together = MODEL(x, 8, y)
    for i in range(50):
        alone = MODEL(x[i : i + 1], 8, y[i : i + 1])
        np.testing.assert_allclose(together[i], alone[0], atol=ALGEBRA)
    assert MODEL(x[:0], 8, y[:0]).shape == (0, 2)


def test_5_15_by_points_far_away() -> None:
    """Where every density is 0 in float64 the nearest class in its own metric takes all."""
    far = np.array([[0.0, 1e4], [-1e4, 0.0], [3e3, -3e3]])
    found = score(far, 1, labels(K, 3), MIXTURE, SCHEDULE)
    nearest = [
        int(np.argmax([multivariate_normal(*law(k, 1)).logpdf(x) for k in range(K)])) for x in far
    ]
    expected = score(far, 1, np.array(nearest), MIXTURE, SCHEDULE)
    np.testing.assert_allclose(found, expected, rtol=ALGEBRA)


def test_5_15_by_stopwatch() -> None:
    """100,000 points, 8 classes, the null label: about 0.25 s of processor time on a slow core.

    Processor time, so that what else the machine does is not counted. The bound of 1 s leaves a
    factor of 4 for slower machines; a Python loop over the points takes over 6 s.
    """
    rng = np.random.default_rng(0)
    eight = GaussianMixture(
        rng.standard_normal((8, 2)), np.tile(np.eye(2), (8, 1, 1)), np.ones(8) / 8
    )
    model = oracle_eps(eight, SCHEDULE)
    x = rng.standard_normal((100_000, 2))
    y = labels(8, 100_000)
    took = []
    for _ in range(2):
        start = time.process_time()
        model(x, 8, y)
        took.append(time.process_time() - start)
    assert min(took) < 1


@pytest.mark.parametrize("t", [1, 8, 20])
@pytest.mark.parametrize("y", [0, 1, 2, K])
def test_5_10_by_quadrature(y: int, t: int) -> None:
    found = mean_x0(POINTS[:2], t, labels(y, 2), MIXTURE, SCHEDULE)
    expected = [by_quadrature(x, t, y)[1] for x in POINTS[:2]]
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_5_10_by_joint_gaussian() -> None:
    """`(x_0, x_t)` of one class is a Gaussian in four dimensions: regress one on the other."""
    abar = SCHEDULE.alpha_bar[8]
    for k in range(K):
        mean, cov = law(k, 8)
        gain = np.sqrt(abar) * MIXTURE.covs[k] @ np.linalg.inv(cov)
        expected = MIXTURE.means[k] + (POINTS - mean) @ gain.T
        found = mean_x0(POINTS, 8, labels(k), MIXTURE, SCHEDULE)
        np.testing.assert_allclose(found, expected, atol=ALGEBRA)


def test_5_10_by_errors_of_chains(chains: tuple[np.ndarray, ...]) -> None:
    """A conditional mean's error is uncorrelated with every function of what is known."""
    x0, y, xt, _ = chains
    for label in (y, labels(K, N)):
        error = x0 - mean_x0(xt, 8, label, MIXTURE, SCHEDULE)
        for g in (1, xt, xt[:, ::-1], np.sin(2 * xt)):
            assert_mean_is_zero(error * g)


@pytest.mark.parametrize("t", [1, 8, 20])
@pytest.mark.parametrize("y", [0, 1, 2, K])
def test_5_9_by_quadrature(y: int, t: int) -> None:
    """The noise is what `x_t` has beyond the data: quadrature's mean of x_0 gives its mean."""
    abar = SCHEDULE.alpha_bar[t]
    x0 = np.array([by_quadrature(x, t, y)[1] for x in POINTS[:2]])
    expected = (POINTS[:2] - np.sqrt(abar) * x0) / np.sqrt(1 - abar)
    np.testing.assert_allclose(MODEL(POINTS[:2], t, labels(y, 2)), expected, atol=1e-8)


def test_5_9_by_errors_of_chains(chains: tuple[np.ndarray, ...]) -> None:
    _, y, xt, eps = chains
    for label in (y, labels(K, N)):
        error = eps - MODEL(xt, 8, label)
        for g in (1, xt, xt[:, ::-1], np.sin(2 * xt)):
            assert_mean_is_zero(error * g)


def test_5_9_by_contract() -> None:
    """What a sampler may know: K, the unit, and nothing to set; `x0_from` turns it into x0."""
    assert (MODEL.num_classes, MODEL.prediction) == (K, "eps")
    with pytest.raises(FrozenInstanceError):
        MODEL.prediction = "v"  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(MODEL, Oracle)
    for t in (1, 8, 20):
        guess = x0_from(MODEL(POINTS, t, labels(K)), POINTS, t, SCHEDULE)
        found = mean_x0(POINTS, t, labels(K), MIXTURE, SCHEDULE)
        np.testing.assert_allclose(guess, found, atol=ALGEBRA)


@pytest.mark.parametrize("null", [False, True])
def test_5_1_by_perturbation(null: bool, chains: tuple[np.ndarray, ...]) -> None:
    """Every change costs its own mean square, and both signs of it cost the same."""
    _, y, xt, eps = chains
    best = MODEL(xt, 8, labels(K, N) if null else y)
    for change in (np.full_like(xt, 0.1), 0.1 * xt, 0.1 * xt[:, ::-1], 0.1 * np.sin(3 * xt)):
        for sign in (1, -1):
            more = ((eps - best - sign * change) ** 2 - (eps - best) ** 2).sum(1)
            assert more.mean() > 5 * more.std() / np.sqrt(N)
            assert_mean_is_zero(more - (change**2).sum(1))
            assert_mean_is_zero(more - excess_loss(best + sign * change, best))


@pytest.mark.parametrize("null", [False, True])
def test_5_1_by_regression(null: bool, chains: tuple[np.ndarray, ...]) -> None:
    """Least squares may mix the oracle with anything: it takes 1 of the oracle, 0 of the rest."""
    _, y, xt, eps = chains
    best = MODEL(xt, 8, labels(K, N) if null else y)
    for i in range(2):
        features = np.column_stack([best[:, i], np.ones(N), xt, np.sin(2 * xt), np.cos(2 * xt)])
        weights, residual, *_ = np.linalg.lstsq(features, eps[:, i])
        errors = np.sqrt(residual[0] / N * np.diag(np.linalg.inv(features.T @ features)))
        # 5 errors of constant-variance least squares, and 1.2 for a variance that moves with x_t
        assert (np.abs(weights - np.eye(len(weights))[0]) < 6 * errors).all()


def test_5_16_by_chains(chains: tuple[np.ndarray, ...]) -> None:
    """The loss of the oracle as training would measure it, against the closed form of a class."""
    _, y, xt, eps = chains
    loss = ((eps - MODEL(xt, 8, y)) ** 2).sum(1)
    for k in range(K):
        assert_mean_is_zero(loss[y == k] - lowest_loss(k, 8, MIXTURE, SCHEDULE))


@pytest.mark.parametrize("t", [1, 8, 20])
def test_5_16_by_score_norm_on_a_grid(t: int) -> None:
    """The dimension less `(1 - abar) E|s|^2`, the mean taken over SciPy's density."""
    for k in range(K):
        mean, cov = law(k, t)
        line = np.arange(-7, 7, 0.05) * np.sqrt(np.trace(cov))
        x = mean + np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
        p = multivariate_normal(mean, cov).pdf(x)
        squared = (score(x, t, labels(k, len(x)), MIXTURE, SCHEDULE) ** 2).sum(1)
        expected = 2 - (1 - SCHEDULE.alpha_bar[t]) * (p @ squared) / p.sum()
        assert lowest_loss(k, t, MIXTURE, SCHEDULE) == pytest.approx(expected, abs=1e-9)


def test_5_16_by_loss_of_the_null_label(chains: tuple[np.ndarray, ...]) -> None:
    """(5.16) needs no Gaussian: the loss without a label, too, is D less `(1 - abar) E|s|^2`."""
    _, _, xt, eps = chains
    loss = ((eps - MODEL(xt, 8, labels(K, N))) ** 2).sum(1)
    s = score(xt, 8, labels(K, N), MIXTURE, SCHEDULE)
    assert_mean_is_zero(loss - 2 + (1 - SCHEDULE.alpha_bar[8]) * (s**2).sum(1))


def test_5_17_by_end_of_chain() -> None:
    """abar_T is 2.4e-9 for this schedule; the limits are approached like its root, 4.9e-5."""
    schedule = Schedule.cosine(1000)
    model = oracle_eps(MIXTURE, schedule)
    means = np.vstack([MIXTURE.means, MIXTURE.weights @ MIXTURE.means])
    for y in range(K + 1):
        np.testing.assert_allclose(model(POINTS, 1000, labels(y)), POINTS, atol=5e-4)
        found = mean_x0(POINTS, 1000, labels(y), MIXTURE, schedule)
        np.testing.assert_allclose(found, np.tile(means[y], (4, 1)), atol=5e-4)


def test_5_17_by_rate() -> None:
    """The distance to the limits shrinks with `sqrt(abar_t)`: a quarter of abar, half of it."""
    gaps = []
    for abar in (4e-6, 1e-6):
        schedule = Schedule(np.array([0.0, 1 - abar]))
        eps = oracle_eps(MIXTURE, schedule)(POINTS, 1, labels(K))
        x0 = mean_x0(POINTS, 1, labels(K), MIXTURE, schedule)
        gaps.append(
            [np.abs(eps - POINTS).max(), np.abs(x0 - MIXTURE.weights @ MIXTURE.means).max()]
        )
    np.testing.assert_allclose(np.divide(*gaps), [2, 2], rtol=0.01)  # next order: sqrt(abar)


@pytest.mark.parametrize("t", [0, -1, 21])
def test_5_9_by_refusal_of_wrong_t(t: int) -> None:
    """At t = 0 no noise is left; t = -1 would read the table's end and answer."""
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..20"):
        MODEL(POINTS, t, labels(0))
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..20"):
        mean_x0(POINTS, t, labels(0), MIXTURE, SCHEDULE)
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..20"):
        lowest_loss(0, t, MIXTURE, SCHEDULE)


@pytest.mark.parametrize("y", [-1, K + 1])
def test_5_15_by_refusal_of_wrong_label(y: int) -> None:
    wrong = np.array([0, K, y, 1])
    with pytest.raises(ValueError, match=rf"{min(wrong)}\.\.{max(wrong)} is outside 0\.\.3 \(3"):
        MODEL(POINTS, 8, wrong)


UNITS_SCHEDULE = Schedule.cosine(4)
UNITS_ALGEBRA = 1e-12  # float64, a handful of operations of order one


def normal(x: np.ndarray | float, mean: float, var: float) -> np.ndarray:
    return np.exp(-((x - mean) ** 2) / (2 * var)) / np.sqrt(2 * np.pi * var)


def two_points(x: np.ndarray | float, t: int) -> np.ndarray:
    """The density of x_t when the data are -1 and 1."""
    abar = UNITS_SCHEDULE.alpha_bar[t]
    return (normal(x, -np.sqrt(abar), 1 - abar) + normal(x, np.sqrt(abar), 1 - abar)) / 2


def guess(xt: float, t: int) -> float:
    """`E[x_0 | x_t]` for data -1 and 1: the two likelihoods, weighed."""
    abar = UNITS_SCHEDULE.alpha_bar[t]
    low, high = (normal(xt, x0 * np.sqrt(abar), 1 - abar) for x0 in (-1, 1))
    return float((high - low) / (high + low))


def run_chain(x0: np.ndarray, t: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(x_{t-1}, x_t, eps)` of chains from x0; eps is their mixed noise, by products of alpha."""
    rng = np.random.default_rng(seed)
    x = x0
    mix = np.zeros_like(x0)
    for s in range(1, t + 1):
        noise = rng.standard_normal(x0.shape)
        x_prev = x
        x = np.sqrt(UNITS_SCHEDULE.alpha[s]) * x + np.sqrt(UNITS_SCHEDULE.beta[s]) * noise
        mix = np.sqrt(UNITS_SCHEDULE.alpha[s]) * mix + np.sqrt(UNITS_SCHEDULE.beta[s]) * noise
    return x_prev, x, mix / np.sqrt(1 - np.prod(UNITS_SCHEDULE.alpha[1 : t + 1]))


@pytest.mark.parametrize("t", [1, 2, 4])
def test_5_2_by_noises_of_a_chain(t: int) -> None:
    """The mixed noise of a chain that really ran leads back to where it started."""
    x0 = np.array([[0.4, -1.3], [2.0, 0.0]])
    _, x, eps = run_chain(x0, t, 3)
    size = 1 / np.sqrt(
        UNITS_SCHEDULE.alpha_bar[t]
    )  # at t = 4, 200: so much does eps's rounding weigh
    np.testing.assert_allclose(x0_from(eps, x, t, UNITS_SCHEDULE), x0, atol=UNITS_ALGEBRA * size)
    np.testing.assert_allclose(eps_from_x0(x0, x, t, UNITS_SCHEDULE), eps, atol=UNITS_ALGEBRA)


@pytest.mark.parametrize("xt", [-0.7, 0.2, 1.5])
def test_5_2_by_slope_of_log_density(xt: float) -> None:
    """Tweedie: E[eps | x_t] is minus the noise's size times a score; it gives E[x_0 | x_t]."""
    h = 1e-5
    t = 2
    slope = (np.log(two_points(xt + h, t)) - np.log(two_points(xt - h, t))) / (2 * h)
    eps = np.array([-np.sqrt(1 - UNITS_SCHEDULE.alpha_bar[t]) * slope])
    # A central difference: h^2 of truncation, 1e-16 / h of rounding.
    assert x0_from(eps, np.array([xt]), t, UNITS_SCHEDULE)[0] == pytest.approx(
        guess(xt, t), abs=1e-8
    )


def test_5_4_by_derivative_along_the_arc() -> None:
    """v as the speed of x_t = x_0 cos(phi) + eps sin(phi), by central difference."""
    x0 = np.array([[0.3, -1.1]])
    eps = np.array([[1.2, 0.4]])
    h = 1e-5
    phi = np.arccos(np.sqrt(UNITS_SCHEDULE.alpha_bar[2]))
    back, here, ahead = (x0 * np.cos(a) + eps * np.sin(a) for a in (phi - h, phi, phi + h))
    # h^2 of truncation, 1e-16 / h of rounding.
    speed = (ahead - back) / (2 * h)
    x0_back = x0_from(speed, here, 2, UNITS_SCHEDULE, "v")
    np.testing.assert_allclose(x0_back, x0, atol=1e-9)
    np.testing.assert_allclose(v_from(x0, eps, 2, UNITS_SCHEDULE), speed, atol=1e-9)


def test_5_5_by_sympy() -> None:
    """(3.2) and (5.4) solved for the data: what multiplies x_t and what multiplies v."""
    x0, eps, xt, v, abar = sympy.symbols("x0 eps xt v abar", positive=True)
    signal = sympy.sqrt(abar)
    noise = sympy.sqrt(1 - abar)
    both = sympy.solve([signal * x0 + noise * eps - xt, signal * eps - noise * x0 - v], [x0, eps])
    data = sympy.expand(sympy.simplify(both[x0]))
    for t in (1, 2, 4):
        factors = [float(data.coeff(s).subs(abar, UNITS_SCHEDULE.alpha_bar[t])) for s in (xt, v)]
        assert x0_coefficients(t, UNITS_SCHEDULE, "v") == pytest.approx(factors, abs=UNITS_ALGEBRA)


@pytest.mark.parametrize("t", [1, 2, 4])
def test_5_8_by_finite_difference(t: int) -> None:
    x0 = np.array([0.7])
    h = 1e-4
    _, xt, eps = run_chain(x0, t, 6)
    abar = UNITS_SCHEDULE.alpha_bar[t]
    law = Gaussian(np.sqrt(abar) * x0, float(1 - abar))
    slope = (law.log_density(xt + h) - law.log_density(xt - h)) / (2 * h)
    # A quadratic: no truncation, and rounding of 1e-16 / h.
    assert score_from_eps(eps, t, UNITS_SCHEDULE)[0] == pytest.approx(slope, abs=1e-9)


def test_5_8_by_stein_identity() -> None:
    """E[score (x_t - x_0)] = -1 for any law of x_0: 400,000 chains (seed 7)."""
    x0 = np.random.default_rng(70).uniform(-2, 2, 400_000)
    _, xt, eps = run_chain(x0, 3, 7)
    product = score_from_eps(eps[:, None], 3, UNITS_SCHEDULE)[:, 0] * (xt - x0)
    assert abs(product.mean() + 1) < 4.5 * product.std() / np.sqrt(len(x0))


def test_5_7_by_closed_form_of_the_cosine() -> None:
    """abar_999 is a ratio of squared cosines, and the capped last step keeps a thousandth of it."""
    f = np.cos((np.array([0.0, 0.999]) + 0.008) / 1.008 * np.pi / 2) ** 2
    abar = 0.001 * f[1] / f[0]
    q = x0_coefficients(1000, Schedule.cosine(1000))[1]
    # abar_999 is a product of 999 factors; the last ones lose digits as 1 - beta.
    assert -q == pytest.approx(np.sqrt((1 - abar) / abar), rel=1e-9)
    assert -q == pytest.approx(20_291, abs=0.5)


def test_5_7_by_an_error_in_the_output() -> None:
    """One per cent of error in eps at T: what x0hat and the mean make of it, with and without."""
    cosine = Schedule.cosine(1000)
    xt = np.full(1, 0.3)
    error = 0.01
    right = np.full(1, 0.3)
    wrong = np.full(1, 0.3 + error)
    of_x0 = np.diff([x0_from(out, xt, 1000, cosine)[0] for out in (right, wrong)])[0]
    assert abs(of_x0) / error == pytest.approx(np.exp(-cosine.log_snr[1000] / 2), rel=1e-9)

    def of_mean(clip: float) -> float:
        low, high = (p_xprev_given_xt(xt, g, 1000, cosine, clip=clip).mean for g in (right, wrong))
        return float(abs(high - low)[0])

    assert of_mean(np.inf) / error == pytest.approx(31.6, abs=0.05)
    assert of_mean(1.0) <= 2 * posterior_coefficients(1000, cosine)[0] < 0.0032
    for prediction in ("x0", "v"):
        assert abs(x0_coefficients(1000, cosine, prediction)[1]) <= 1


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("t", [1, 2, 4])
def test_5_6_by_solving_for_the_row(prediction: str, t: int) -> None:
    """p and q from chains alone: least squares of x_0 on (x_t, out), which fits exactly."""
    x0 = np.linspace(-2, 2, 50)
    _, xt, eps = run_chain(x0, t, 8)
    omega = np.arccos(np.sqrt(UNITS_SCHEDULE.alpha_bar[t]))
    out = {"eps": eps, "x0": x0, "v": eps * np.cos(omega) - x0 * np.sin(omega)}[prediction]
    row, *_ = np.linalg.lstsq(np.stack([xt, out], axis=1), x0)
    # At t = 4 the factors of eps are 200, and x_t and eps nearly parallel: so much of it is lost.
    assert x0_coefficients(t, UNITS_SCHEDULE, prediction) == pytest.approx(row, abs=1e-8)
    found = x0_from(out, xt, t, UNITS_SCHEDULE, prediction)
    np.testing.assert_allclose(found, row[0] * xt + row[1] * out, atol=1e-8)


def test_5_6_by_refusal_of_an_unknown_output() -> None:
    with pytest.raises(ValueError, match="prediction = 'epsilon' is none of eps, x0, v"):
        x0_from(np.zeros(2), np.zeros(2), 1, UNITS_SCHEDULE, "epsilon")


def test_5_1_by_each_step() -> None:
    """The example of the text: two points, the guess 1, and the three terms of the square."""
    p = np.array([0.804, 0.196])
    u = np.array([1.0, -1.0])
    best = p @ u
    f = 1.0
    square = (u - best) ** 2 + 2 * (u - best) * (best - f) + (best - f) ** 2
    np.testing.assert_allclose((u - f) ** 2, square, atol=UNITS_ALGEBRA)
    cross = p @ ((u - best) * (best - f))
    assert cross == pytest.approx(0, abs=UNITS_ALGEBRA)
    assert p @ (u - f) ** 2 == pytest.approx(0.782, abs=3e-3)  # from p with three digits
    assert p @ (u - best) ** 2 == pytest.approx(0.629, abs=3e-3)
    excess = excess_loss(np.array([[f]]), np.array([[best]]))[0]
    assert excess == pytest.approx(p @ (u - f) ** 2 - p @ (u - best) ** 2, abs=UNITS_ALGEBRA)


HALF = Schedule(np.array([0.0, 0.5]))  # abar = 0.5 at t = 1: the example of the text


def test_5_3_by_example_in_the_text() -> None:
    """Data 1 and -1, x_t = 0.5: the noise behind each, and its mean, lead to the guess 0.609."""
    xt = np.array([0.5])
    up = 1 / (1 + np.exp(-2 * np.sqrt(0.5) * 0.5 / 0.5))
    assert up == pytest.approx(0.804, abs=5e-4)
    noises = [eps_from_x0(np.array([x0]), xt, 1, HALF)[0] for x0 in (1.0, -1.0)]
    assert noises == pytest.approx([-0.293, 1.707], abs=5e-4)
    eps = np.array([up * noises[0] + (1 - up) * noises[1]])
    assert eps[0] == pytest.approx(0.098, abs=5e-4)
    assert x0_from(eps, xt, 1, HALF)[0] == pytest.approx(2 * up - 1, abs=UNITS_ALGEBRA)
    assert 2 * up - 1 == pytest.approx(0.609, abs=5e-4)


@pytest.mark.parametrize("t", [1, 2, 4])
def test_5_3_by_noises_of_a_chain(t: int) -> None:
    """The mixed noise of a chain that really ran is recovered from its two ends."""
    x0 = np.array([[0.4, -1.3], [2.0, 0.0]])
    _, x, eps = run_chain(x0, t, 13)
    np.testing.assert_allclose(eps_from_x0(x0, x, t, UNITS_SCHEDULE), eps, atol=UNITS_ALGEBRA)


@pytest.mark.parametrize("t", [1, 2, 4])
def test_5_4_by_each_step(t: int) -> None:
    """The angle of the text: its cosine and sine, and the state on the arc."""
    x0 = np.array([[0.3, -1.1]])
    _, xt, eps = run_chain(x0, t, 11)
    omega = np.arccos(np.sqrt(UNITS_SCHEDULE.alpha_bar[t]))
    np.testing.assert_allclose(np.cos(omega) * x0 + np.sin(omega) * eps, xt, atol=UNITS_ALGEBRA)
    expected = np.cos(omega) * eps - np.sin(omega) * x0
    np.testing.assert_allclose(v_from(x0, eps, t, UNITS_SCHEDULE), expected, atol=UNITS_ALGEBRA)


@pytest.mark.parametrize("t", [1, 2, 4])
def test_5_5_by_each_step(t: int) -> None:
    """Rotating (x_t, v) back by the angle: the noise cancels, and the squares add up to 1."""
    x0 = np.array([[0.3, -1.1]])
    _, xt, eps = run_chain(x0, t, 12)
    omega = np.arccos(np.sqrt(UNITS_SCHEDULE.alpha_bar[t]))
    v = np.cos(omega) * eps - np.sin(omega) * x0
    back = np.cos(omega) * xt - np.sin(omega) * v
    np.testing.assert_allclose(back, (np.cos(omega) ** 2 + np.sin(omega) ** 2) * x0, atol=1e-11)
    np.testing.assert_allclose(x0_from(v, xt, t, UNITS_SCHEDULE, "v"), back, atol=UNITS_ALGEBRA)
    np.testing.assert_allclose(np.sin(omega) * xt + np.cos(omega) * v, eps, atol=1e-11)


@pytest.mark.parametrize("t", [1, 2, 3])
def test_5_6_by_three_outputs(t: int) -> None:
    """The noise, the data and the velocity of one chain lead to the same data."""
    x0 = np.array([[0.3, -1.1], [1.5, 0.2]])
    _, xt, eps = run_chain(x0, t, 14)
    abar = UNITS_SCHEDULE.alpha_bar[t]
    v = np.sqrt(abar) * eps - np.sqrt(1 - abar) * x0
    for out, prediction in ((eps, "eps"), (x0, "x0"), (v, "v")):
        np.testing.assert_allclose(x0_from(out, xt, t, UNITS_SCHEDULE, prediction), x0, atol=1e-10)


@pytest.mark.parametrize("t", [1, 2, 4])
def test_5_8_by_each_step(t: int) -> None:
    """The gradient of the exponent of q(x_t | x_0), before the noise is put in."""
    x0 = np.array([[0.4, -1.3]])
    _, xt, eps = run_chain(x0, t, 15)
    abar = UNITS_SCHEDULE.alpha_bar[t]
    gradient = -(xt - np.sqrt(abar) * x0) / (1 - abar)
    np.testing.assert_allclose(score_from_eps(eps, t, UNITS_SCHEDULE), gradient, atol=1e-11)


@pytest.mark.parametrize("xt", [-0.7, 0.2, 1.5])
def test_5_9_by_each_step(xt: float) -> None:
    """Data 1 and -1: the integral is a sum of two terms, and its gradient a mean of two scores."""
    t = 2
    h = 1e-5
    abar = UNITS_SCHEDULE.alpha_bar[t]
    x0 = np.array([1.0, -1.0])
    q = np.array([float(normal(xt, np.sqrt(abar) * x, 1 - abar)) for x in x0])
    gradient_log_q = -(xt - np.sqrt(abar) * x0) / (1 - abar)
    gradient_p = float(two_points(xt + h, t) - two_points(xt - h, t)) / (2 * h)
    # A central difference: h^2 of truncation, 1e-16 / h of rounding.
    assert (q / 2) @ gradient_log_q == pytest.approx(gradient_p, abs=1e-9)
    posterior = q / q.sum()
    score_of_p = gradient_p / float(two_points(xt, t))
    assert posterior @ gradient_log_q == pytest.approx(score_of_p, abs=1e-8)
    eps = posterior @ ((xt - np.sqrt(abar) * x0) / np.sqrt(1 - abar))
    assert eps == pytest.approx(-np.sqrt(1 - abar) * score_of_p, abs=1e-8)


def test_5_15_by_each_step() -> None:
    """The gradient of the mixture's density is the sum of class densities times class scores."""
    h = 1e-5
    t = 8
    p_class = np.array([w * np.exp(log_p(POINTS, t, k)) for k, w in enumerate(MIXTURE.weights)])
    s_class = np.array([score(POINTS, t, labels(k), MIXTURE, SCHEDULE) for k in range(K)])
    total = np.einsum("kn,kni->ni", p_class, s_class)
    for i, step in enumerate(h * np.eye(2)):
        above = np.exp(log_p(POINTS + step, t, K))
        below = np.exp(log_p(POINTS - step, t, K))
        np.testing.assert_allclose(total[:, i], (above - below) / (2 * h), atol=1e-8)
    s = score(POINTS, t, labels(K), MIXTURE, SCHEDULE)
    np.testing.assert_allclose(s, total / p_class.sum(0)[:, None], atol=1e-9)


def test_5_15_by_example_in_the_text() -> None:
    """Two points are the limit of two narrow classes: scores .414, -2.414, mixed -.139."""
    narrow = GaussianMixture(
        np.array([[1.0, 0.0], [-1.0, 0.0]]), 1e-9 * np.tile(np.eye(2), (2, 1, 1)), np.ones(2) / 2
    )
    x = np.array([[0.5, 0.0]])
    found = [score(x, 1, np.array([y]), narrow, HALF)[0, 0] for y in range(3)]
    assert found == pytest.approx([0.414, -2.414, -0.139], abs=5e-4)
    assert mean_x0(x, 1, np.array([2]), narrow, HALF)[0, 0] == pytest.approx(0.609, abs=5e-4)


def test_5_16_by_each_step() -> None:
    """The dimension less the trace of the inverse covariance, before and after it is one trace."""
    for t in (1, 8, 20):
        noise = 1 - SCHEDULE.alpha_bar[t]
        for k in range(K):
            _, C = law(k, t)
            inverse = np.linalg.inv(C)
            left = 2 - noise * np.trace(inverse)
            assert left == pytest.approx(np.trace((C - noise * np.eye(2)) @ inverse), abs=ALGEBRA)
            assert lowest_loss(k, t, MIXTURE, SCHEDULE) == pytest.approx(left, abs=ALGEBRA)


def test_5_7_by_numbers_in_the_text() -> None:
    """The factor of an error in eps at the end of both schedules with 1000 steps."""
    for schedule, said in ((Schedule.linear(1000), 157), (Schedule.cosine(1000), 20_291)):
        q = x0_coefficients(1000, schedule)[1]
        assert -q == pytest.approx(said, abs=0.5)


def test_5_16_by_classes_of_different_width() -> None:
    """The floor of a wide class may be above that without a label; the mean over classes is not."""
    mixture = GaussianMixture(
        np.zeros((2, 2)), np.array([0.01, 4.0])[:, None, None] * np.eye(2), np.ones(2) / 2
    )
    floors = np.array([lowest_loss(k, 1, mixture, HALF) for k in range(2)])
    line = np.arange(-9, 9, 0.05)
    x = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    p = np.exp(noised(mixture, 1, HALF).log_density(x)) * 0.05**2
    eps = oracle_eps(mixture, HALF)(x, 1, labels(2, len(x)))
    without = 2 - p @ (eps**2).sum(1)
    assert floors.mean() < without < floors[1]
