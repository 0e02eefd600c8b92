"""Step 0 by two routes per equation: integrals over grids, draws, and the example by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from tutorial.step00_the_idea import (
    MEANS,
    VAR,
    add_noise,
    alpha_bar,
    class_probability,
    guess_of_each_class,
    guess_with_guidance,
    guess_without_label,
    sample,
    step_back,
)

ROUNDING = 1e-12  # float64, some dozens of operations on numbers of size one
N = 200_000
POINTS = np.array([[0.0, 0.0], [0.4, -0.9], [-1.7, 0.3], [0.2, 2.1]])
ABAR = 0.3
AXIS = np.arange(-5, 5, 0.05)
# A sum over a grid of a tenth of the standard deviation is exact to rounding for Gaussians. The
# nearest edge is 3.5, or seven standard deviations, from the means.
GRID = np.stack(np.meshgrid(AXIS, AXIS), -1).reshape(-1, 2)
TAIL = 1e-8  # a Gaussian in the plane has less than 1e-10 of its mass beyond 7 deviations


def density(x: np.ndarray, mean: np.ndarray, var: float) -> np.ndarray:
    """The density of N(mean, var I) in the plane, by SciPy."""
    return norm.pdf(x, mean, np.sqrt(var)).prod(-1)


def class_weights_of_grid(xt: np.ndarray, abar: float) -> np.ndarray:
    """`p(y, x_0 | x_t)` on GRID, of shape (3, points), by Bayes' rule."""
    prior = [density(GRID, m, VAR) for m in MEANS]
    likelihood = np.exp(-((xt - np.sqrt(abar) * GRID) ** 2).sum(1) / (2 * (1 - abar)))
    joint = np.array(prior) * likelihood
    return joint / joint.sum()


@pytest.fixture(scope="module")
def noisy() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, data and noisy points at ABAR, 200,000 of each (seed 0)."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, N)
    x0 = MEANS[y] + np.sqrt(VAR) * rng.standard_normal((N, 2))
    return y, x0, add_noise(x0, rng.standard_normal((N, 2)), ABAR)


def test_0_1_by_moments_of_draws() -> None:
    """From one point the mean is the scaled point, and the variance that of the noise (seed 1)."""
    x0 = np.tile([2.0, -1.0], (N, 1))
    eps = np.random.default_rng(1).standard_normal((N, 2))
    xt = add_noise(x0, eps, ABAR)
    var = 1 - ABAR
    assert (np.abs(xt.mean(0) - np.sqrt(ABAR) * x0[0]) < 5 * np.sqrt(var / N)).all()
    assert (np.abs(xt.var(0) - var) < 5 * var * np.sqrt(2 / N)).all()


def test_0_1_by_the_angle() -> None:
    """Both factors are the cosine and the sine of one angle; 45 degrees is half way."""
    abar = alpha_bar(100)
    x0, eps = np.random.default_rng(2).standard_normal((2, 5, 2))
    for t in (0, 25, 50, 100):
        angle = np.deg2rad(0.9 * t)
        expected = np.cos(angle) * x0 + np.sin(angle) * eps
        # At 90 degrees the squared cosine is 4e-33, and its root 6e-17.
        np.testing.assert_allclose(add_noise(x0, eps, abar[t]), expected, atol=ROUNDING)
    assert abar[50] == pytest.approx(0.5, abs=ROUNDING)
    assert (np.diff(abar) < 0).all() and abar[0] == 1


def test_0_2_by_each_step(noisy: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """The line, its slope and the variance of x_t, measured on the draws of each class."""
    y, x0, xt = noisy
    C = ABAR * VAR + 1 - ABAR
    b = np.sqrt(ABAR) * VAR / C
    for k in range(3):
        data = x0[y == k] - MEANS[k]
        offset = xt[y == k] - np.sqrt(ABAR) * MEANS[k]
        n = len(data)
        assert (np.abs((offset**2).mean(0) - C) < 5 * C * np.sqrt(2 / n)).all()
        slope = (data * offset).sum(0) / (offset**2).sum(0)
        # What the line leaves over has the variance VAR (1 - ABAR) / C.
        error = np.sqrt(VAR * (1 - ABAR) / C / (C * n))
        assert (np.abs(slope - b) < 5 * error).all()
        found = guess_of_each_class(xt[y == k][:3], ABAR)[:, k]
        np.testing.assert_allclose(found, MEANS[k] + b * offset[:3], atol=ROUNDING)


def test_0_2_by_sums_over_a_grid() -> None:
    """The mean of x_0 given x_t and the class, by Bayes' rule on a grid."""
    found = guess_of_each_class(POINTS, ABAR)
    for i, xt in enumerate(POINTS):
        p = class_weights_of_grid(xt, ABAR)
        expected = p @ GRID / p.sum(1, keepdims=True)
        np.testing.assert_allclose(found[i], expected, atol=TAIL)


def test_0_3_by_each_step() -> None:
    """The density of x_t in each class, by SciPy; its three values divided by their sum."""
    C = ABAR * VAR + 1 - ABAR
    p = np.stack([density(POINTS, np.sqrt(ABAR) * m, C) for m in MEANS], 1)
    expected = p / p.sum(1, keepdims=True)
    np.testing.assert_allclose(class_probability(POINTS, ABAR), expected, atol=ROUNDING)


def test_0_3_by_labels_of_draws(noisy: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Of the points with a probability of class 0 near p, a fraction p has the label 0."""
    y, _, xt = noisy
    p = class_probability(xt, ABAR)[:, 0]
    for low in np.arange(0, 1, 0.2):
        near = (p >= low) & (p < low + 0.2)
        error = np.sqrt((p[near] * (1 - p[near])).sum())
        assert abs((y[near] == 0).sum() - p[near].sum()) < 5 * error


def test_0_3_by_the_class_itself(noisy: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Of draws from class 0, without noise, 2.8 % have a probability of class 0 below 0.9."""
    y, x0, _ = noisy
    ambiguous = class_probability(x0[y == 0], 1.0)[:, 0] < 0.9
    assert abs(ambiguous.mean() - 0.028) < 0.0005 + 5 * np.sqrt(0.028 / len(ambiguous))


def test_0_3_by_points_far_from_the_data() -> None:
    """Where all densities are rounded to 0, the probabilities are still finite, with sum 1."""
    p = class_probability(np.array([[0.0, 90.0], [-500.0, 3.0]]), ABAR)
    np.testing.assert_allclose(p, [[1, 0, 0], [0, 1, 0]], atol=ROUNDING)


def test_0_4_by_sums_over_a_grid() -> None:
    """The mean of x_0 given x_t alone, by Bayes' rule on a grid."""
    expected = [class_weights_of_grid(xt, ABAR).sum(0) @ GRID for xt in POINTS]
    np.testing.assert_allclose(guess_without_label(POINTS, ABAR), expected, atol=TAIL)


def test_0_4_by_the_example() -> None:
    """At the origin the three guesses cancel, where the data are 30 times less dense."""
    found = guess_without_label(np.zeros((1, 2)), 0.5)
    np.testing.assert_allclose(found, np.zeros((1, 2)), atol=ROUNDING)
    places = np.array([[0.0, 0.0], [0.0, 1.5]])
    p = np.mean([density(places, m, VAR) for m in MEANS], 0)
    np.testing.assert_allclose(p, [0.0071, 0.212], atol=5e-5, rtol=1e-3)


def test_0_4_by_squared_error(noisy: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Its error is uncorrelated with any function of x_t, so each change increases the square."""
    _, x0, xt = noisy
    error = x0 - guess_without_label(xt, ABAR)
    for change in (np.ones_like(xt), xt, np.sin(3 * xt), xt[:, ::-1] ** 2):
        products = error * change
        standard_error = products.std(0) / np.sqrt(N)
        assert (np.abs(products.mean(0)) < 5 * standard_error).all()


def test_0_5_by_the_noise_that_was_added() -> None:
    """From the true data point the estimate of the noise is the noise, at each time."""
    x0, eps = np.random.default_rng(3).standard_normal((2, 5, 2))
    for abar in (0.01, 0.5, 0.99):
        xt = add_noise(x0, eps, abar)
        # With a weight of 0 for the data, the step returns the estimate of the noise alone.
        np.testing.assert_allclose(step_back(xt, x0, abar, 0.0), eps, atol=ROUNDING)


def test_0_5_by_the_example() -> None:
    """At the origin, with the guess (0, 1.2) and equal weights, the noise is (0, -1.2)."""
    found = step_back(np.zeros((1, 2)), np.array([[0.0, 1.2]]), 0.5, 0.0)
    np.testing.assert_allclose(found, [[0.0, -1.2]], atol=ROUNDING)


def test_0_6_by_the_noise_of_the_time_before() -> None:
    """From the true data point, a step back adds the same noise with the weights of t - 1."""
    x0, eps = np.random.default_rng(4).standard_normal((2, 5, 2))
    abar = alpha_bar(100)
    for t in (1, 2, 50, 100):
        back = step_back(add_noise(x0, eps, abar[t]), x0, abar[t], abar[t - 1])
        np.testing.assert_allclose(back, add_noise(x0, eps, abar[t - 1]), atol=ROUNDING)


def test_0_6_by_the_example() -> None:
    """One step of a hundred moves the point from the origin to (0, 0.027)."""
    abar = alpha_bar(100)
    found = step_back(np.zeros((1, 2)), np.array([[0.0, 1.2]]), abar[50], abar[49])
    np.testing.assert_allclose(found, [[0.0, 0.027]], atol=5e-4)  # as it is printed


def test_0_6_by_one_step() -> None:
    """With T = 1 each sample is the mean of the class: the guess from pure noise."""
    x = sample(5, 0, 0.0, np.random.default_rng(5), T=1)
    np.testing.assert_allclose(x, np.tile(MEANS[0], (5, 1)), atol=ROUNDING)


@pytest.mark.parametrize(("T", "var"), [(10, 0.18), (100, 0.24), (1000, 0.25)])
def test_0_6_by_variance_of_samples(T: int, var: float) -> None:
    """The variances in the text. At w = 0 a sample is a multiple of its noise, plus the mean."""
    x = sample(5, 0, 0.0, np.random.default_rng(0), T)
    noise = np.random.default_rng(0).standard_normal((5, 2))  # where `sample` starts
    factor = (x - MEANS[0]) / noise
    np.testing.assert_allclose(factor, factor[0, 0], rtol=1e-9)  # a hundred steps of rounding
    assert factor[0, 0] ** 2 == pytest.approx(var, abs=0.005)  # printed to two places


def test_0_7_by_each_step() -> None:
    """The difference of the two guesses: its formula, its size, and where it is smallest."""
    b = np.sqrt(ABAR) * VAR / (ABAR * VAR + 1 - ABAR)
    towards = np.random.default_rng(6).normal(0, 2, (2000, 2))  # points of all probabilities
    p = class_probability(towards, ABAR)
    for y in range(3):
        expected = (1 - b * np.sqrt(ABAR)) * p @ (MEANS[y] - MEANS)
        of_y = guess_of_each_class(towards, ABAR)[:, y]
        difference = of_y - guess_without_label(towards, ABAR)
        np.testing.assert_allclose(difference, expected, atol=ROUNDING)
        with_guidance = guess_with_guidance(towards, ABAR, y, 2.0)
        np.testing.assert_allclose(with_guidance - of_y, 2 * expected, atol=ROUNDING)
        # The means are sqrt(3) * 1.5 apart, and 2.25 is the height of their triangle.
        size = np.linalg.norm(difference, axis=1) / (1 - b * np.sqrt(ABAR))
        improbable = 1 - p[:, y]
        assert (size <= np.sqrt(3) * 1.5 * improbable + ROUNDING).all()
        assert (size >= 2.25 * improbable - ROUNDING).all()


def test_0_7_by_the_example() -> None:
    """At the origin and half the noise: 1.2 for class 0, 0 for all, 2.4 with w = 1."""
    origin = np.zeros((1, 2))
    heights = [guess_with_guidance(origin, 0.5, 0, w)[0, 1] for w in (-1.0, 0.0, 1.0)]
    np.testing.assert_allclose(heights, [0, 1.2, 2.4], atol=ROUNDING)


def test_0_7_by_the_other_form() -> None:
    """(1 + w) times the one minus w times the other; w = -1 and 0 are the guesses themselves."""
    of_y = guess_of_each_class(POINTS, ABAR)[:, 1]
    of_all = guess_without_label(POINTS, ABAR)
    for w in (-1.0, 0.0, 0.7, 3.0):
        expected = (1 + w) * of_y - w * of_all
        np.testing.assert_allclose(guess_with_guidance(POINTS, ABAR, 1, w), expected, atol=ROUNDING)


ROWS = {0.0: (1.50, 0.24, 0.24, 0.026), 1.0: (1.91, 0.17, 0.12, 0.0), 3.0: (2.37, 0.14, 0.08, 0.0)}


@pytest.mark.parametrize("n", [2_000, pytest.param(40_000, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("w", ROWS)
def test_0_7_by_samples(w: float, n: int) -> None:
    """The rows of the table, with another seed (7). Half a unit of the last digit is allowed."""
    height, across, along, ambiguous = ROWS[w]
    x = sample(n, 0, w, np.random.default_rng(7))
    error = 5 * np.array([across, along]) * np.sqrt(2 / n)
    assert abs(x[:, 1].mean() - height) < 0.005 + 5 * np.sqrt(along / n)
    assert abs(x[:, 0].mean()) < 5 * np.sqrt(across / n)
    assert (np.abs(x.var(0) - [across, along]) < 0.005 + error).all()
    found = np.mean(class_probability(x, 1.0)[:, 0] < 0.9)
    assert abs(found - ambiguous) < 0.0005 + 5 * np.sqrt(ambiguous / n)


def test_0_7_by_100_steps() -> None:
    """The number of steps of the text is the default."""
    found = sample(4, 1, 2.0, np.random.default_rng(3))
    expected = sample(4, 1, 2.0, np.random.default_rng(3), T=100)
    np.testing.assert_array_equal(found, expected)


def test_0_7_by_all_classes() -> None:
    """w = -1 ignores the label: a third of the samples is nearest to each mean (seed 8)."""
    n = 2_000
    x = sample(n, 0, -1.0, np.random.default_rng(8))
    counts = np.bincount(class_probability(x, 1.0).argmax(1), minlength=3)
    assert (np.abs(counts / n - 1 / 3) < 5 * np.sqrt(2 / 9 / n)).all()


@pytest.mark.parametrize("y", [-1, 3])
def test_0_7_by_refusal_of_a_wrong_label(y: int) -> None:
    with pytest.raises(ValueError, match=rf"y = {y} is outside 0\.\.2"):
        guess_with_guidance(POINTS, ABAR, y, 1.0)


def test_0_1_by_refusal_of_no_steps() -> None:
    with pytest.raises(ValueError, match="T = 0: a chain has at least one step"):
        alpha_bar(0)
