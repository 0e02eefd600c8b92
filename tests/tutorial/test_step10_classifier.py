"""Step 10: slopes of SciPy's classifier, trained classifiers, 40 digits, chains, the end."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import multivariate_normal

from tests.tutorial.checks import assert_mean_is_zero
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import oracle_eps
from tutorial.step09_condition import p_xprev_given_xt_y
from tutorial.step10_classifier import (
    classifier_free_eps,
    classifier_gradient,
    classifier_guided_eps,
    late_gradient,
    mean_gradient,
    mean_shift,
)
from tutorial.step11_guidance import guide

SCHEDULE = Schedule.linear(20)
K = 3
ALGEBRA = 1e-11  # float64, a few dozen operations of order one to a hundred
WEIGHTS = [-1.0, -0.4, 0.0, 1.0, 3.0]
# Full covariances, unequal shares: no symmetry that could hide a swap.
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
MODEL = oracle_eps(MIXTURE, SCHEDULE)
POINTS = np.array([[0.2, -0.3], [-1.4, 0.9], [0.5, 1.1], [2.5, -2.0]])
Y = np.array([2, 0, 1, 0])


def labels(y: int, n: int = len(POINTS)) -> np.ndarray:
    return np.full(n, y)


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


def log_shares(x: np.ndarray, t: int) -> np.ndarray:
    """SciPy's `log(pi_y p(x_t | y))`, a row a class."""
    each = [multivariate_normal(*law(k, t)).logpdf(x) for k in range(K)]
    return np.log(MIXTURE.weights)[:, None] + each


def log_classifier(x: np.ndarray, t: int) -> np.ndarray:
    """SciPy's `log p(y | x_t)`, a row a class."""
    joint = log_shares(x, t)
    return joint - np.log(np.exp(joint).sum(0))


def exact_slope(x: np.ndarray, t: int, y: int, w: float, v: float) -> np.ndarray:
    """The gradient of `w log p(x | y) + v log p(x)`, differences of numbers with 40 digits."""
    mpmath.mp.dps = 40
    laws = [law(k, t) for k in range(K)]

    def log_p(*at: mpmath.mpf) -> mpmath.mpf:
        each = []
        for mean, cov in laws:
            d = [a - m for a, m in zip(at, mean, strict=True)]
            P = mpmath.matrix(cov.tolist()) ** -1
            squared = sum(d[i] * P[i, j] * d[j] for i in range(2) for j in range(2))
            each.append(mpmath.exp(-squared / 2) * mpmath.sqrt(mpmath.det(P)))
        every = sum(float(s) * p for s, p in zip(MIXTURE.weights, each, strict=True))
        return w * mpmath.log(each[y]) + v * mpmath.log(every)

    return np.array([float(mpmath.diff(log_p, tuple(x), n)) for n in ((1, 0), (0, 1))])


@pytest.fixture(scope="module")
def chains() -> tuple[np.ndarray, np.ndarray]:
    """Label and `x_8` of 100,000 chains run step by step (seed 16)."""
    rng = np.random.default_rng(16)
    n = 100_000
    y = rng.choice(K, size=n, p=MIXTURE.weights)
    roots = np.linalg.cholesky(MIXTURE.covs)
    x = MIXTURE.means[y] + np.einsum("nij,nj->ni", roots[y], rng.standard_normal((n, 2)))
    for s in range(1, 9):
        x = np.sqrt(SCHEDULE.alpha[s]) * x + np.sqrt(SCHEDULE.beta[s]) * rng.standard_normal((n, 2))
    return y, x


@pytest.mark.parametrize("t", [0, 1, 8, 14])
@pytest.mark.parametrize("y", range(K))
def test_10_1_by_finite_difference(y: int, t: int) -> None:
    """Of the log probability that SciPy's densities give the class."""
    h = 1e-5
    found = classifier_gradient(POINTS, t, labels(y), MIXTURE, SCHEDULE)
    for i, step in enumerate(h * np.eye(2)):
        above, below = (log_classifier(POINTS + s * step, t)[y] for s in (1, -1))
        # h^2 / 6 times third derivatives of some hundreds, and 1e-14 / h of rounding
        np.testing.assert_allclose(found[:, i], (above - below) / (2 * h), atol=1e-6)


def test_10_1_by_logistic_curve() -> None:
    """Two classes of one covariance: the odds are a line (1.8), the probability a logistic curve.

    Of that curve the gradient of log p is known: 1 - p times the line's slope.
    """
    S = MIXTURE.covs[0]
    share = np.array([0.7, 0.3])
    two = GaussianMixture(MIXTURE.means[:2], np.array([S, S]), share)
    for t in (0, 1, 8, 14):
        C = abar(t) * S + (1 - abar(t)) * np.eye(2)
        apart, middle = np.sqrt(abar(t)) * np.array([[1, -1], [0.5, 0.5]]) @ two.means
        along = np.linalg.solve(C, apart)
        p = expit(np.log(0.7 / 0.3) + (POINTS - middle) @ along)
        for y, miss in ((0, 1 - p), (1, -p)):
            found = classifier_gradient(POINTS, t, labels(y), two, SCHEDULE)
            np.testing.assert_allclose(found, miss[:, None] * along, atol=ALGEBRA)


def test_10_1_by_a_trained_classifier() -> None:
    """Logistic regression on 50,000 noised, labelled samples (seed 17), by Newton's method.

    The errors of its weights are those of the inverse Hessian; J carries them to the gradient.
    """
    S = MIXTURE.covs[0]
    rng = np.random.default_rng(17)
    t = 8
    n = 50_000
    two = GaussianMixture(MIXTURE.means[:2], np.array([S, S]), np.array([0.7, 0.3]))
    x0, y = two.sample(n, rng)
    xt = np.sqrt(abar(t)) * x0 + np.sqrt(1 - abar(t)) * rng.standard_normal((n, 2))
    features = np.column_stack([xt, np.ones(n)])
    weights = np.zeros(3)
    hessian = np.eye(3)
    for _ in range(8):
        p = expit(features @ weights)  # of class 0
        hessian = (features.T * (p * (1 - p))) @ features
        weights += np.linalg.solve(hessian, features.T @ ((y == 0) - p))
    for x in POINTS[:3]:
        at = np.append(x, 1)
        miss = 1 - expit(at @ weights)
        J = miss * np.eye(2, 3) - miss * (1 - miss) * np.outer(weights[:2], at)
        error = np.sqrt(np.diag(J @ np.linalg.inv(hessian) @ J.T))
        exact = classifier_gradient(x[None], t, labels(0, 1), two, SCHEDULE)[0]
        assert (np.abs(miss * weights[:2] - exact) < 5 * error).all()
        assert (np.abs(exact) > 20 * error).any()


@pytest.mark.parametrize("t", [0, 1, 8, 14])
def test_10_1_by_what_has_no_gradient(t: int) -> None:
    """A single class, and the null label, which stands for all: probability 1 everywhere."""
    alone = GaussianMixture(MIXTURE.means[:1], MIXTURE.covs[:1], np.ones(1))
    assert np.abs(classifier_gradient(POINTS, t, labels(0), alone, SCHEDULE)).max() < ALGEBRA
    assert not classifier_gradient(POINTS, t, labels(K), MIXTURE, SCHEDULE).any()


@pytest.mark.parametrize("t", [0, 1, 8, 14])
def test_10_2_by_probabilities_of_scipy(t: int) -> None:
    p = np.exp(log_classifier(POINTS, t))
    each = [classifier_gradient(POINTS, t, labels(k), MIXTURE, SCHEDULE) for k in range(K)]
    np.testing.assert_allclose(np.einsum("kn,kni->ni", p, each), 0, atol=ALGEBRA)
    np.testing.assert_allclose(mean_gradient(p.T, np.array(each)), 0, atol=ALGEBRA)
    assert np.abs(each).max() > 1e4 * ALGEBRA


def test_10_2_by_labels_of_chains(chains: tuple[np.ndarray, ...]) -> None:
    """Given x_t the labels' gradients have mean 0: against any function of x_t, none is left."""
    y, x = chains
    pull = classifier_gradient(x, 8, y, MIXTURE, SCHEDULE)
    for g in (1, x, x[:, ::-1], np.sin(2 * x)):
        assert_mean_is_zero(pull * g)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 3.5])
@pytest.mark.parametrize("t", [1, 8, 14])
def test_10_3_by_finite_difference(t: int, gamma: float) -> None:
    """The noise times the slope of log p(x_t) + gamma log p(y | x_t), of SciPy's densities."""
    gradient = classifier_gradient(POINTS, t, Y, MIXTURE, SCHEDULE)
    found = classifier_guided_eps(MODEL(POINTS, t, labels(K)), gradient, gamma, t, SCHEDULE)
    h = 1e-5
    rows = np.arange(len(POINTS))
    for i, step in enumerate(h * np.eye(2)):
        up, down = (
            np.log(np.exp(log_shares(x, t)).sum(0)) + gamma * log_classifier(x, t)[Y, rows]
            for x in (POINTS + step, POINTS - step)
        )
        slope = (up - down) / (2 * h)
        np.testing.assert_allclose(found[:, i], -np.sqrt(1 - abar(t)) * slope, atol=3e-6)


@pytest.mark.parametrize("t", [1, 8, 14])
def test_10_3_by_the_conditional_model(t: int) -> None:
    """gamma = 1 is E[eps | x_t, y], here the regression of the noise on x_t in one class."""
    gradient = classifier_gradient(POINTS, t, Y, MIXTURE, SCHEDULE)
    null = MODEL(POINTS, t, Y * 0 + K)
    found = classifier_guided_eps(null, gradient, 1.0, t, SCHEDULE)
    for i, k in enumerate(Y):
        mean, cov = law(k, t)
        expected = np.sqrt(1 - abar(t)) * np.linalg.solve(cov, POINTS[i] - mean)
        np.testing.assert_allclose(found[i], expected, atol=ALGEBRA)
    unasked = classifier_guided_eps(null, gradient, 0.0, t, SCHEDULE)
    np.testing.assert_array_equal(unasked, null)


@pytest.mark.parametrize("w", WEIGHTS)
@pytest.mark.parametrize("t", [1, 14])
def test_10_4_by_forty_digits(t: int, w: float) -> None:
    """Both guidances are the slope of (1 + w) log p(x | y) - w log p(x), times the noise."""
    null = MODEL(POINTS, t, labels(K))
    cond = MODEL(POINTS, t, Y)
    gradient = classifier_gradient(POINTS, t, Y, MIXTURE, SCHEDULE)
    with_one = classifier_guided_eps(null, gradient, 1 + w, t, SCHEDULE)
    without = guide(cond, null, w)
    for i in range(3):
        slope = exact_slope(POINTS[i], t, int(Y[i]), 1 + w, -w)
        for found in (with_one, without, classifier_free_eps(cond, null, w)):
            np.testing.assert_allclose(found[i], -np.sqrt(1 - abar(t)) * slope, atol=ALGEBRA)


@pytest.mark.parametrize("w", WEIGHTS)
@pytest.mark.parametrize("t", [1, 8, 14])
def test_10_4_by_weights_on_either_model(t: int, w: float) -> None:
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


def test_10_4_by_the_unit_between_them() -> None:
    """The same weight on both models is off by one whole gradient, d = eps of y less eps of all."""
    null = MODEL(POINTS, 8, labels(K))
    cond = MODEL(POINTS, 8, Y)
    gradient = classifier_gradient(POINTS, 8, Y, MIXTURE, SCHEDULE)
    for w in WEIGHTS:
        pair = [classifier_guided_eps(e, gradient, w, 8, SCHEDULE) for e in (cond, null)]
        np.testing.assert_allclose(pair[0] - pair[1], cond - null, atol=ALGEBRA)
    assert np.abs(cond - null).max() > 0.5


@pytest.mark.parametrize("t", [1, 2, 8, 14, 20])
def test_10_5_by_two_reverse_steps(t: int) -> None:
    """The mean of the step with the label less that without."""
    given_y, of_all = (
        p_xprev_given_xt_y(MODEL, POINTS, t, y, SCHEDULE).mean for y in (Y, labels(K))
    )
    found = mean_shift(classifier_gradient(POINTS, t, Y, MIXTURE, SCHEDULE), t, SCHEDULE)
    np.testing.assert_allclose(found, given_y - of_all, atol=ALGEBRA)
    assert np.abs(found).max() > 1e4 * ALGEBRA


@pytest.mark.parametrize("t", [1, 2, 8, 14, 20])
def test_10_5_by_means_of_the_state_before(t: int) -> None:
    """E[x_{t-1} | x_t, y] less its mean over classes; regression of two Gaussians a class."""
    each = []
    for k in range(K):
        m_prev, C_prev = law(k, t - 1)
        m, C = law(k, t)
        gain = np.sqrt(SCHEDULE.alpha[t]) * C_prev @ np.linalg.inv(C)
        each.append(m_prev + (POINTS - m) @ gain.T)
    of_all = np.einsum("kn,kni->ni", np.exp(log_classifier(POINTS, t)), each)
    for k in range(K):
        gradient = classifier_gradient(POINTS, t, labels(k), MIXTURE, SCHEDULE)
        found = mean_shift(gradient, t, SCHEDULE)
        np.testing.assert_allclose(found, each[k] - of_all, atol=ALGEBRA)


@pytest.mark.parametrize("schedule", [Schedule.linear(1000), Schedule.cosine(1000)])
def test_10_5_by_another_algorithm(schedule: Schedule) -> None:
    """The variance of the step times the gradient is c_t of that: 0 first, half at 2, then most."""
    one = np.ones((1, 2))
    rows = [posterior_coefficients(t, schedule) for t in range(1, 1000)]
    moved = [mean_shift(one, t, schedule)[0, 0] for t in range(1, 1000)]
    ratio = np.array([var for _, _, var in rows]) / moved
    np.testing.assert_allclose(ratio, [c_t for _, c_t, _ in rows], atol=ALGEBRA)
    beta = schedule.beta[1:1000]
    rest = 1 - schedule.alpha_bar[1:1000]
    assert ratio[0] == 0 and 0.4 < ratio[1] < 0.5
    # c_t is the root of 1 - beta times 1 - abar_{t-1} beta / (1 - abar_t): each is at least this.
    assert (ratio[1:] >= (1 - beta / rest)[1:] ** 1.5).all()
    assert np.median(ratio) > 0.98


@pytest.mark.parametrize("t", [985, 999])
def test_10_6_by_end_of_the_chain(t: int) -> None:
    """The gradient over the root of abar is the limit; what is left falls as that root."""
    schedule = Schedule.cosine(1000)
    signal = np.sqrt(schedule.alpha_bar[t])
    assert signal < 0.03
    for y in range(K):
        found = classifier_gradient(POINTS, t, labels(y), MIXTURE, schedule) / signal
        limit = late_gradient(t, MIXTURE, schedule)[y] / signal
        # Points 3 from the middle, means 2 from each other: what is left is below 20 of the root.
        np.testing.assert_allclose(found, np.tile(limit, (4, 1)), atol=20 * signal)
        assert np.abs(limit).max() > 0.5


def test_10_6_by_rate_of_the_error() -> None:
    """Halve the root of abar and the error of the formula is a quarter: of order abar."""
    off = []
    for signal in (0.02, 0.01):
        schedule = Schedule(np.array([0, 1 - signal**2]))
        pull = [classifier_gradient(POINTS, 1, labels(k), MIXTURE, schedule) for k in range(K)]
        off.append((np.array(pull) - late_gradient(1, MIXTURE, schedule)[:, None]).ravel())
    # The order after that is some 3 times the root more.
    assert np.linalg.norm(off[0]) / np.linalg.norm(off[1]) == pytest.approx(4, rel=0.05)


def test_10_6_by_means_of_samples() -> None:
    """The limit's mean over labels is 0; a class's is what its 100,000 samples (seed 18) say."""
    t = 15
    n = 100_000
    x, y = MIXTURE.sample(n, np.random.default_rng(18))
    limit = late_gradient(t, MIXTURE, SCHEDULE)
    np.testing.assert_allclose(MIXTURE.weights @ limit, 0, atol=ALGEBRA)
    for k in range(K):
        apart = np.sqrt(abar(t)) * (x[y == k].mean(0) - x.mean(0))
        error = np.sqrt(abar(t)) * (x[y == k].std(0) / np.sqrt((y == k).sum()) + x.std(0) / n**0.5)
        assert (np.abs(limit[k] - apart) < 5 * error).all()
        assert (np.abs(limit[k]) > 20 * error).any()


@pytest.mark.parametrize("t", [-1, 0, 21])
def test_10_3_by_refusal_of_t(t: int) -> None:
    """At t = 0 there is no noise to speak of, and no step; the classifier works there too."""
    one = np.ones((1, 2))
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..20"):
        classifier_guided_eps(one, one, 1.0, t, SCHEDULE)
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..20"):
        mean_shift(one, t, SCHEDULE)
    if t != 0:
        with pytest.raises(ValueError, match=f"t = {t} is outside 0..20"):
            classifier_gradient(POINTS, t, Y, MIXTURE, SCHEDULE)
        with pytest.raises(ValueError, match=f"t = {t} is outside 0..20"):
            late_gradient(t, MIXTURE, SCHEDULE)


@pytest.mark.parametrize("y", [-1, 4])
def test_10_1_by_refusal_of_y(y: int) -> None:
    with pytest.raises(ValueError, match=rf"y in {y}\.\.{y} is outside 0\.\.3"):
        classifier_gradient(POINTS, 8, labels(y), MIXTURE, SCHEDULE)
