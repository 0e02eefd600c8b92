"""Step 10: slopes of SciPy's classifier, a trained classifier, chains, and the noise end."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import multivariate_normal

from tests.tutorial.checks import assert_mean_is_zero
from tutorial.step01_toy_data import GaussianMixture, pinwheel
from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import mean_x0, oracle_eps
from tutorial.step06_reverse import p_xprev_given_xt
from tutorial.step09_condition import p_xprev_given_xt_y
from tutorial.step10_classifier import (
    classifier_gradient,
    classifier_guided_eps,
    gradient_at_noise_end,
    gradient_from_eps,
    mean_gradient,
    mean_shift,
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
        limit = gradient_at_noise_end(t, MIXTURE, schedule)[y] / signal
        # Points 3 from the middle, means 2 from each other: what is left is below 20 of the root.
        np.testing.assert_allclose(found, np.tile(limit, (4, 1)), atol=20 * signal)
        assert np.abs(limit).max() > 0.5


def test_10_6_by_rate_of_the_error() -> None:
    """Halve the root of abar and the error of the formula is a quarter: of order abar."""
    off = []
    for signal in (0.02, 0.01):
        schedule = Schedule(np.array([0, 1 - signal**2]))
        pull = [classifier_gradient(POINTS, 1, labels(k), MIXTURE, schedule) for k in range(K)]
        off.append((np.array(pull) - gradient_at_noise_end(1, MIXTURE, schedule)[:, None]).ravel())
    # The order after that is some 3 times the root more.
    assert np.linalg.norm(off[0]) / np.linalg.norm(off[1]) == pytest.approx(4, rel=0.05)


def test_10_6_by_means_of_samples() -> None:
    """The limit's mean over labels is 0; a class's is what its 100,000 samples (seed 18) say."""
    t = 15
    n = 100_000
    x, y = MIXTURE.sample(n, np.random.default_rng(18))
    limit = gradient_at_noise_end(t, MIXTURE, SCHEDULE)
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
            gradient_at_noise_end(t, MIXTURE, SCHEDULE)


@pytest.mark.parametrize("y", [-1, 4])
def test_10_1_by_refusal_of_y(y: int) -> None:
    with pytest.raises(ValueError, match=rf"y in {y}\.\.{y} is outside 0\.\.3"):
        classifier_gradient(POINTS, 8, labels(y), MIXTURE, SCHEDULE)


@pytest.mark.parametrize("t", [1, 8, 14])
def test_10_1_by_each_step(t: int) -> None:
    """The logarithm of Bayes' rule, and its slope, in which the class's frequency is gone."""
    h = 1e-5
    for y in range(K):
        log_given_y = log_shares(POINTS, t)[y] - np.log(MIXTURE.weights[y])
        log_all = np.log(np.exp(log_shares(POINTS, t)).sum(0))
        log_p_y = log_classifier(POINTS, t)[y]
        bayes = log_all + log_p_y - np.log(MIXTURE.weights[y])
        np.testing.assert_allclose(log_given_y, bayes, atol=ALGEBRA)
        s_y = MODEL(POINTS, t, labels(y)) / -np.sqrt(1 - abar(t))
        s_all = MODEL(POINTS, t, labels(K)) / -np.sqrt(1 - abar(t))
        for i, step in enumerate(h * np.eye(2)):
            up = log_classifier(POINTS + step, t)[y]
            down = log_classifier(POINTS - step, t)[y]
            # h^2 / 6 times third derivatives of some hundreds, and 1e-14 / h of rounding
            np.testing.assert_allclose(s_y[:, i], s_all[:, i] + (up - down) / (2 * h), atol=1e-6)


def two_images() -> tuple[float, float, float, float]:
    """Of the example in the text: both eps, their mean, and the probability of class 0."""
    eps_0 = (0.4 - np.sqrt(0.5)) / np.sqrt(0.5)
    eps_1 = (0.4 + np.sqrt(0.5)) / np.sqrt(0.5)
    p = expit(2 * np.sqrt(0.5) * 0.4 / 0.5)
    return eps_0, eps_1, p * eps_0 + (1 - p) * eps_1, p


def test_10_1_by_numbers_in_the_text() -> None:
    """Both sides of the equation for the two images; the left one is a logistic curve's slope."""
    eps_0, eps_1, eps_null, p = two_images()
    root = np.sqrt(0.5)
    slope = 2 * root / 0.5
    scores = [-eps_0 / root, -eps_null / root]
    assert [p, slope * 0.4, *scores] == pytest.approx([0.756, 1.13, 0.614, -0.076], abs=2e-3)
    assert slope * (1 - p) == pytest.approx(scores[0] - scores[1], abs=1e-14)
    assert slope * (1 - p) == pytest.approx(0.690, abs=5e-4)
    assert -slope * p == pytest.approx(-eps_1 / root - scores[1], abs=1e-14)
    assert -slope * p == pytest.approx(-2.139, abs=5e-4)


@pytest.mark.parametrize("p_other", [0.6, 0.99])
def test_10_1_by_weight_of_the_other_class(p_other: float) -> None:
    """The gradient is p(k | x_t) times the difference of two scores, which is 2.83 in the example.

    So it is near this difference only where class k is nearly certain: at 0.6 it is 60 % of it.
    """
    images = GaussianMixture(
        np.array([[1.0, 0.0], [-1.0, 0.0]]), np.tile(1e-12 * np.eye(2), (2, 1, 1)), np.full(2, 0.5)
    )
    half = Schedule(np.array([0, 0.5]))
    difference = 2 * np.sqrt(0.5) / 0.5
    assert difference == pytest.approx(2.83, abs=5e-3)
    x = np.array([[-logit(p_other) / difference, 0.0]])
    gradient = classifier_gradient(x, 1, np.zeros(1, int), images, half)[0, 0]
    assert gradient == pytest.approx(p_other * difference, abs=1e-9)
    assert (abs(gradient / difference - 1) < 0.02) == (p_other > 0.98)


@pytest.mark.parametrize("t", [1, 8, 14])
def test_10_2_by_each_step(t: int) -> None:
    """Differences of scores make the slope; p times that of log p is that of p; their sum is 0."""
    h = 1e-5
    p = np.exp(log_classifier(POINTS, t))
    scores = []
    for k in range(K):
        mean, cov = law(k, t)
        scores.append(-np.linalg.solve(cov, (POINTS - mean).T).T)
    # With any weights, the sum of weighted gradients is that of the slopes, here by differences.
    slopes = np.stack(
        [
            (log_classifier(POINTS + step, t) - log_classifier(POINTS - step, t)) / (2 * h)
            for step in h * np.eye(2)
        ],
        2,
    )
    for weights in (p, p**2):
        by_differences = np.einsum("kn,kni->ni", weights, slopes)
        each = [classifier_gradient(POINTS, t, labels(k), MIXTURE, SCHEDULE) for k in range(K)]
        found = mean_gradient(weights.T, np.array(each))
        np.testing.assert_allclose(found, by_differences, atol=1e-6)  # h^2, and 1e-16 / h
    for y in range(K):
        weighted = [p[k][:, None] * (scores[y] - scores[k]) for k in range(K)]
        found = classifier_gradient(POINTS, t, labels(y), MIXTURE, SCHEDULE)
        np.testing.assert_allclose(found, np.sum(weighted, 0), atol=ALGEBRA)
    for step in h * np.eye(2):
        up = log_classifier(POINTS + step, t)
        down = log_classifier(POINTS - step, t)
        of_log = p * (up - down) / (2 * h)
        of_p = (np.exp(up) - np.exp(down)) / (2 * h)
        np.testing.assert_allclose(of_log, of_p, atol=1e-6)
        np.testing.assert_allclose(of_p.sum(0), 0, atol=1e-9)  # rounding of 1e-15 over 2 h


@pytest.mark.parametrize("gamma", [0.0, 1.0, 3.5])
@pytest.mark.parametrize("t", [1, 8, 14])
def test_10_3_by_each_step(t: int, gamma: float) -> None:
    """Score plus gradients is the slope of log(p(x) p(y | x)^gamma), SciPy's densities."""
    h = 1e-5
    rows = np.arange(len(POINTS))

    def log_product(x: np.ndarray) -> np.ndarray:
        p = np.exp(log_shares(x, t)).sum(0)
        p_y = np.exp(log_classifier(x, t))[Y, rows]
        joint = np.exp(log_shares(x, t))[Y, rows]  # pi_y p(x | y)
        np.testing.assert_allclose(p * p_y**gamma, joint * p_y ** (gamma - 1), rtol=1e-10)
        return np.log(p * p_y**gamma)

    s = MODEL(POINTS, t, labels(K)) / -np.sqrt(1 - abar(t))
    total = s + gamma * classifier_gradient(POINTS, t, Y, MIXTURE, SCHEDULE)
    for i, step in enumerate(h * np.eye(2)):
        slope = (log_product(POINTS + step) - log_product(POINTS - step)) / (2 * h)
        np.testing.assert_allclose(total[:, i], slope, atol=3e-6)


def test_10_3_by_fractions_in_the_text() -> None:
    """How much of p(x) p(y | x)^gamma lies where another class is more probable: the pinwheel."""
    line = np.arange(-6, 6, 0.04)
    x = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    mixture = pinwheel()
    joint = np.array(
        [
            multivariate_normal(m, C).pdf(x) / 5
            for m, C in zip(mixture.means, mixture.covs, strict=True)
        ]
    )
    p_y = joint[0] / joint.sum(0)
    lost = joint.argmax(0) != 0
    found = []
    for gamma in (1, 2, 4):
        density = joint.sum(0) * p_y**gamma
        found.append(density[lost].sum() / density.sum())
    # The border of the classes cuts cells of the grid. Moving the grid changes the first
    # fraction by 0.001 (standard deviation over 40 positions).
    np.testing.assert_allclose(found, [0.099, 0.026, 0.004], atol=2e-3)


@pytest.mark.parametrize("t", [1, 8, 14])
def test_10_4_by_finite_difference(t: int) -> None:
    """The two predictions of the oracle against the slope of SciPy's classifier."""
    h = 1e-5
    rows = np.arange(len(POINTS))
    found = gradient_from_eps(MODEL(POINTS, t, Y), MODEL(POINTS, t, labels(K)), t, SCHEDULE)
    for i, step in enumerate(h * np.eye(2)):
        up = log_classifier(POINTS + step, t)[Y, rows]
        down = log_classifier(POINTS - step, t)[Y, rows]
        np.testing.assert_allclose(found[:, i], (up - down) / (2 * h), atol=1e-6)


def test_10_4_by_numbers_in_the_text() -> None:
    eps_0, _, eps_null, p = two_images()
    half = Schedule(np.array([0, 0.5]))
    found = gradient_from_eps(np.array([eps_0]), np.array([eps_null]), 1, half)
    assert found[0] == pytest.approx(2 * np.sqrt(0.5) / 0.5 * (1 - p), abs=1e-14)
    assert found[0] == pytest.approx(0.690, abs=5e-4)


def test_10_4_by_inverse_of_guidance() -> None:
    """Predictions that one gradient turns into one another give this gradient back."""
    rng = np.random.default_rng(3)
    eps_null, gradient = rng.standard_normal((2, 5, 2))
    for t in (1, 8, 20):
        eps_cond = classifier_guided_eps(eps_null, gradient, 1.0, t, SCHEDULE)
        found = gradient_from_eps(eps_cond, eps_null, t, SCHEDULE)
        np.testing.assert_allclose(found, gradient, atol=ALGEBRA)


@pytest.mark.parametrize("t", [1, 2, 8, 20])
def test_10_5_by_each_step(t: int) -> None:
    """The difference of two means (9.2), for any two predictions."""
    eps_y, eps_null = np.random.default_rng(4).standard_normal((2, 4, 2))
    beta = SCHEDULE.beta[t]
    alpha = 1 - beta
    mu_y = (POINTS - beta / np.sqrt(1 - abar(t)) * eps_y) / np.sqrt(alpha)
    mu_null = (POINTS - beta / np.sqrt(1 - abar(t)) * eps_null) / np.sqrt(alpha)
    step = beta * (eps_null - eps_y) / np.sqrt(alpha * (1 - abar(t)))
    np.testing.assert_allclose(mu_y - mu_null, step, atol=ALGEBRA)
    gradient = gradient_from_eps(eps_y, eps_null, t, SCHEDULE)
    np.testing.assert_allclose(mean_shift(gradient, t, SCHEDULE), step, atol=ALGEBRA)


def test_10_5_by_numbers_in_the_text() -> None:
    """The factor between the two algorithms, for the linear schedule with T = 1000."""
    schedule = Schedule.linear(1000)
    found = []
    for t in range(1, 1001):
        posterior_var = posterior_coefficients(t, schedule)[2]
        found.append(posterior_var / mean_shift(np.ones(1), t, schedule)[0])
    assert [found[9], found[1], found[0]] == pytest.approx([0.85, 0.45, 0], abs=0.005)
    assert 0.98 < min(found[99:]) < max(found[99:]) < 1


@pytest.mark.parametrize("t", [1, 8, 20])
def test_10_5_by_both_algorithms(t: int) -> None:
    """The mean of the guided prediction, minus the mean that is shifted by the variance."""
    gamma = 2.5
    gradient = classifier_gradient(POINTS, t, Y, MIXTURE, SCHEDULE)
    eps_null = MODEL(POINTS, t, labels(K))
    guided = classifier_guided_eps(eps_null, gradient, gamma, t, SCHEDULE)
    plain = p_xprev_given_xt(POINTS, eps_null, t, SCHEDULE)
    shifted = plain.mean + gamma * plain.var * gradient
    beta = SCHEDULE.beta[t]
    factor = beta / np.sqrt(1 - beta) - beta * (1 - abar(t - 1)) / (1 - abar(t))
    found = p_xprev_given_xt(POINTS, guided, t, SCHEDULE).mean - shifted
    np.testing.assert_allclose(found, gamma * factor * gradient, atol=ALGEBRA)


@pytest.mark.parametrize("t", [1, 8, 20])
def test_10_6_by_each_step(t: int) -> None:
    """Scores from the best guesses of the data, which regression gives class by class."""
    guess = []
    for k in range(K):
        m, C = law(k, t)
        gain = np.sqrt(abar(t)) * MIXTURE.covs[k] @ np.linalg.inv(C)
        guess.append(MIXTURE.means[k] + (POINTS - m) @ gain.T)
    p = np.exp(log_classifier(POINTS, t))
    of_all = np.einsum("kn,kni->ni", p, guess)
    for k in range(K):
        m, C = law(k, t)
        s_y = -np.linalg.solve(C, (POINTS - m).T).T
        expected = (np.sqrt(abar(t)) * guess[k] - POINTS) / (1 - abar(t))
        np.testing.assert_allclose(s_y, expected, atol=ALGEBRA)
        found = classifier_gradient(POINTS, t, labels(k), MIXTURE, SCHEDULE)
        difference = np.sqrt(abar(t)) * (guess[k] - of_all) / (1 - abar(t))
        np.testing.assert_allclose(found, difference, atol=ALGEBRA)


def test_10_6_by_expansion_of_the_guess() -> None:
    """E[x_0 | x_t, y] less the mean of the class, over the root of abar, goes to S_y x_t.

    Halve the root, and what is left of that is halved: the next term is of the order of abar.
    """
    left = []
    for signal in (0.02, 0.01):
        schedule = Schedule(np.array([0, 1 - signal**2]))
        for y in range(K):
            guess = mean_x0(POINTS, 1, labels(y), MIXTURE, schedule)
            slope = (guess - MIXTURE.means[y]) / signal
            left.append(slope - POINTS @ MIXTURE.covs[y])
    ratio = np.linalg.norm(left[:K]) / np.linalg.norm(left[K:])
    assert ratio == pytest.approx(2, rel=0.05)  # the term after that is some 2 times 0.02 more
    assert np.abs(left[K:]).max() < 0.05 < np.abs(POINTS @ MIXTURE.covs[0]).max()
