"""Appendix Q: information by sums and by entropies, its slope by differences, and its area."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.stats import norm

import tutorial.appendix.q_information as lesson
from tests.tutorial.checks import assert_mean_is_zero
from tutorial.appendix.q_information import (
    area,
    cells,
    entropies,
    entropy_slopes,
    information,
    information_from_entropies,
    information_from_losses,
    label_rate,
    label_rate_in_noise,
    level,
)
from tutorial.step01_toy_data import GaussianMixture, pinwheel, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import noised, oracle_eps, score

SUMS = 1e-7  # the lattice's error is 1e-8 and less, and differences lose a digit
SKEW = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
SETS = {"three": three_gaussians(), "pinwheel": pinwheel(), "skew": SKEW}
# The images 1 and -1 of the example in the first coordinate; the second one shows nothing.
TWO_IMAGES = GaussianMixture(
    np.array([[1.0, 0.0], [-1.0, 0.0]]), np.tile(1e-8 * np.eye(2), (2, 1, 1)), np.full(2, 0.5)
)
TEXT = lesson.__doc__ or ""


def of_two_images(log_snr: float) -> tuple[float, float]:
    """The information and `E|d|^2` of the two images, by a sum over one coordinate.

    With a label the noise is known. Without one it has two values, which differ by
    2 signal / noise, and their variance is this difference squared times p (1 - p).
    """
    signal = np.sqrt(1 / (1 + np.exp(-log_snr)))
    noise = np.sqrt(1 / (1 + np.exp(log_snr)))

    x = np.linspace(-signal - 9 * noise, signal + 9 * noise, 4001)
    densities = norm.pdf(x[:, None], [signal, -signal], noise)
    p = densities / densities.sum(1, keepdims=True)
    gained = (p * np.log(2 * p + 1e-300)).sum(1)
    spread = 4 * np.exp(log_snr) * p[:, 0] * p[:, 1]
    weight = densities.mean(1) * (x[1] - x[0])
    return float(weight @ gained), float(weight @ spread)


@pytest.mark.parametrize("log_snr", [-3.0, 0.0, 2.5])
def test_q_1_by_integral_over_a_line(log_snr: float) -> None:
    assert information(TWO_IMAGES, log_snr) == pytest.approx(of_two_images(log_snr)[0], abs=SUMS)


@pytest.mark.parametrize("name", SETS)
def test_q_1_by_samples(name: str) -> None:
    """The mean over 20,000 labelled samples with noise, from Bayes' rule and a plain density."""
    rng = np.random.default_rng(1)
    mixture = SETS[name]
    signal = np.sqrt(1 / (1 + np.exp(-0.5)))
    x0, y = mixture.sample(20_000, rng)
    xt = signal * x0 + np.sqrt(1 - signal**2) * rng.standard_normal(x0.shape)
    joint = np.zeros((len(xt), mixture.num_classes))
    for k in range(mixture.num_classes):
        C = signal**2 * mixture.covs[k] + (1 - signal**2) * np.eye(2)
        off = xt - signal * mixture.means[k]
        squared = (off @ np.linalg.inv(C) * off).sum(1)
        joint[:, k] = mixture.weights[k] * np.exp(-squared / 2) / np.sqrt(np.linalg.det(C))
    p = joint[np.arange(len(y)), y] / joint.sum(1)
    assert_mean_is_zero(np.log(p / mixture.weights[y]) - information(mixture, 0.5))


@pytest.mark.parametrize("name", SETS)
def test_q_1_by_its_bounds(name: str) -> None:
    """Each x_t contributes a KL divergence, never negative; all together at most the entropy."""
    mixture = SETS[name]
    entropy = -float(mixture.weights @ np.log(mixture.weights))
    for log_snr in (-5.0, 0.0, 4.0):
        law = noised(mixture, 1, level(log_snr))
        x, p = cells(law)
        logs = law.log_class_probability(x)
        divergence = (np.exp(logs) * (logs - np.log(mixture.weights))).sum(1)
        assert divergence.min() > -1e-12
        found = information(mixture, log_snr)
        assert found == pytest.approx(float(p.sum(1) @ divergence), abs=SUMS)
        assert 0 < found < entropy


@pytest.mark.parametrize("log_snr", [-4.0, 0.5, 9.0])
@pytest.mark.parametrize("name", SETS)
def test_q_2_by_each_step(name: str, log_snr: float) -> None:
    """Bayes' rule in logarithms, for xbar; and the means of both sides."""
    mixture = SETS[name]
    law = noised(mixture, 1, level(log_snr))
    x, _ = cells(law)
    signal = np.sqrt(1 / (1 + np.exp(-log_snr)))
    tau = np.exp(-log_snr)
    assert (1 - signal**2) / signal**2 == pytest.approx(tau, rel=1e-12)
    near = x[::97]
    scaled = GaussianMixture(mixture.means, mixture.covs + tau * np.eye(2), mixture.weights)
    for y in range(mixture.num_classes):
        left = law.log_class_probability(near)[:, y] - np.log(mixture.weights[y])
        x_bar = near / signal
        right = scaled.log_density(x_bar, y) - scaled.log_density(x_bar)
        # Exponents reach some hundreds, in float64.
        np.testing.assert_allclose(left, right, atol=1e-9, rtol=1e-10)
    found = information_from_entropies(mixture, log_snr)
    assert found == pytest.approx(information(mixture, log_snr), abs=SUMS)


@pytest.mark.parametrize("log_snr", [-2.0, 1.0])
def test_q_2_by_entropies_of_gaussians(log_snr: float) -> None:
    """Within a class xbar is a Gaussian, whose entropy is (C.3)."""
    h, h_y = entropies(SKEW, log_snr)
    V = SKEW.covs + np.exp(-log_snr) * np.eye(2)
    closed = np.log(2 * np.pi * np.e) + np.log(np.linalg.det(V)) / 2
    np.testing.assert_allclose(h_y, closed, atol=SUMS)
    wanted = h - SKEW.weights @ closed
    assert information_from_entropies(SKEW, log_snr) == pytest.approx(wanted, abs=SUMS)


def density(x_bar: np.ndarray, tau: float, mixture: GaussianMixture = SKEW) -> np.ndarray:
    """The density of the data plus noise of variance `tau`."""
    wide = GaussianMixture(mixture.means, mixture.covs + tau * np.eye(2), mixture.weights)
    return np.exp(wide.log_density(x_bar))


def test_q_3_by_each_step() -> None:
    """The kernel's two derivatives, the heat equation, and the three integrals, by differences."""
    tau = 0.4
    step = 1e-4  # differences are off by about step**2, and by 1e-16 / step**2 for second ones
    line = np.arange(-7, 7, 0.1)
    x = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    shifts = step * np.eye(2)
    cell = 0.1**2

    def kernel(x: np.ndarray, tau: float) -> np.ndarray:
        return np.exp(-((x - [0.3, -0.2]) ** 2).sum(1) / (2 * tau)) / (2 * np.pi * tau)

    def curvature(f: object, x: np.ndarray) -> np.ndarray:
        assert callable(f)
        return sum(f(x + s, tau) - 2 * f(x, tau) + f(x - s, tau) for s in shifts) / step**2

    g = kernel(x, tau)
    r2 = ((x - [0.3, -0.2]) ** 2).sum(1)
    by_tau = (kernel(x, tau + step) - kernel(x, tau - step)) / (2 * step)
    np.testing.assert_allclose(by_tau, (r2 / (2 * tau**2) - 2 / (2 * tau)) * g, atol=1e-6)
    np.testing.assert_allclose(curvature(kernel, x), (r2 / tau**2 - 2 / tau) * g, atol=1e-6)

    p = density(x, tau)
    by_tau = (density(x, tau + step) - density(x, tau - step)) / (2 * step)
    np.testing.assert_allclose(by_tau, curvature(density, x) / 2, atol=1e-6)
    gradient = np.stack(
        [(density(x + s, tau) - density(x - s, tau)) / (2 * step) for s in shifts], 1
    )
    log_p = np.log(p)
    slope, _ = entropy_slopes(SKEW, -float(np.log(tau)))
    first = -((log_p + 1) * by_tau).sum() * cell
    second = -(log_p * curvature(density, x)).sum() * cell / 2
    third = (gradient / p[:, None] * gradient).sum() * cell / 2
    assert [first, second, third] == pytest.approx([slope] * 3, abs=1e-5)


@pytest.mark.parametrize("name", SETS)
def test_q_3_by_differences(name: str) -> None:
    """Entropies at two levels around each, over the difference of tau."""
    for log_snr in (-1.0, 1.5):
        up, up_y = entropies(SETS[name], log_snr - 1e-3)
        down, down_y = entropies(SETS[name], log_snr + 1e-3)
        rise = np.exp(-log_snr + 1e-3) - np.exp(-log_snr - 1e-3)
        slope, slope_y = entropy_slopes(SETS[name], log_snr)
        # The error of a difference is 1e-6 times a third derivative, which is at most some tens.
        assert (up - down) / rise == pytest.approx(slope, abs=5e-5)
        np.testing.assert_allclose((up_y - down_y) / rise, slope_y, atol=5e-5)


def test_q_3_by_a_gaussian() -> None:
    """The entropy log(S + tau) + const of a round Gaussian in the plane has slope 1 / (S + tau)."""
    _, slope_y = entropy_slopes(three_gaussians(), 0.7)
    np.testing.assert_allclose(slope_y, 1 / (0.25 + np.exp(-0.7)), atol=SUMS)


@pytest.mark.parametrize("log_snr", [-2.0, 0.0, 3.0])
@pytest.mark.parametrize("name", SETS)
def test_q_4_by_each_step(name: str, log_snr: float) -> None:
    """Mean squares of scores and of predictions, their cross term, and the slope over tau."""
    mixture = SETS[name]
    K = mixture.num_classes
    schedule = level(log_snr)
    x, p = cells(noised(mixture, 1, schedule))
    tau = np.exp(-log_snr)
    model = oracle_eps(mixture, schedule)
    eps_null = model(x, 1, np.full(len(x), K))
    eps_y = [model(x, 1, np.full(len(x), y)) for y in range(K)]
    square_null = p.sum(1) @ (eps_null**2).sum(1)
    square_y = sum(p[:, y] @ (eps_y[y] ** 2).sum(1) for y in range(K))
    cross = sum(p[:, y] @ (eps_y[y] * eps_null).sum(1) for y in range(K))
    mean_d2 = sum(p[:, y] @ ((eps_y[y] - eps_null) ** 2).sum(1) for y in range(K))
    slope, slope_y = entropy_slopes(mixture, log_snr)
    assert 2 * slope == pytest.approx(square_null / tau, rel=1e-9)
    dI_dtau = slope - mixture.weights @ slope_y
    assert dI_dtau == pytest.approx((square_null - square_y) / (2 * tau), rel=1e-6)
    assert cross == pytest.approx(square_null, rel=1e-9)
    assert mean_d2 == pytest.approx(square_y - square_null, abs=SUMS)
    assert label_rate(mixture, log_snr) == pytest.approx(-tau * dI_dtau, abs=SUMS)


@pytest.mark.parametrize("log_snr", [-5.0, -1.0, 0.5, 4.0])
@pytest.mark.parametrize("name", SETS)
def test_q_4_by_differences(name: str, log_snr: float) -> None:
    """The information at two levels around each; off by 1e-6 times a third derivative below 1."""
    up, down = (information(SETS[name], log_snr + step) for step in (1e-3, -1e-3))
    assert label_rate(SETS[name], log_snr) == pytest.approx((up - down) / 2e-3, abs=1e-6)


def test_q_4_by_integral_over_a_line() -> None:
    for log_snr in (-3.0, 0.0, 2.0):
        wanted = of_two_images(log_snr)[1] / 2
        assert label_rate(TWO_IMAGES, log_snr) == pytest.approx(wanted, abs=SUMS)


def test_q_4_by_numbers_in_the_text() -> None:
    """The example: the information and the mean square at 0 and at 0.1."""
    information_0, square_0 = of_two_images(0.0)
    information_1, square_1 = of_two_images(0.1)
    found = [information_0, information_1, information_1 - information_0, square_0, square_1]
    assert found == pytest.approx([0.3368, 0.3596, 0.0228, 0.4496, 0.4617], abs=5e-5)
    assert (square_0 + square_1) / 2 == pytest.approx(0.4556, abs=5e-5)
    assert (square_0 + square_1) / 4 * 0.1 == pytest.approx(0.0228, abs=5e-5)


def table_rows() -> list[list[float]]:
    """The rows of the table in the text: the levels, the rates, the information."""
    rows = re.findall(r"^\| (?:\$\\lambda\$|rate|information) \|(.+)\|$", TEXT, re.M)
    return [[float(cell) for cell in row.split("|")] for row in rows]


def test_q_5_by_table_in_the_text() -> None:
    levels, rates, known = table_rows()
    mixture = three_gaussians()
    assert [label_rate(mixture, x) for x in levels] == pytest.approx(rates, abs=5e-5)
    assert [information(mixture, x) for x in levels] == pytest.approx(known, abs=5e-5)
    assert len(levels) == 7


@pytest.mark.parametrize(
    ("name", "total", "label", "half"),
    [
        ("three", 1.0734, 1.0986, -0.21),
        pytest.param("pinwheel", 1.3447, 1.6094, 0.67, marks=pytest.mark.slow),
    ],
)
def test_q_5_by_numbers_in_the_text(name: str, total: float, label: float, half: float) -> None:
    """Area and information at 12 agree; half of it has been gained where the text states."""
    mixture = SETS[name]
    grid = np.arange(-12, 12.1)
    rates = np.array([label_rate(mixture, float(x)) for x in grid])
    # The rule's error falls faster than any power of the step; this grid leaves 1e-5.
    assert area(rates, grid) == pytest.approx(total, abs=1e-4)
    assert information(mixture, 12.0) == pytest.approx(total, abs=5e-5)
    assert np.log(mixture.num_classes) == pytest.approx(label, abs=5e-5)
    for off, sign in ((-0.01, -1), (0.01, 1)):
        assert (information(mixture, half + off) - total / 2) * sign > 0


def test_q_5_by_fraction_in_the_text() -> None:
    mixture = three_gaussians()
    total = information(mixture, 12.0)
    middle = information(mixture, 2.0) - information(mixture, -2.0)
    assert middle / total == pytest.approx(0.81, abs=0.005)
    assert np.log(3) - total == pytest.approx(0.0252, abs=5e-5)


def test_q_5_by_two_images() -> None:
    """Classes that do not overlap: the area is log 2. It is exact from -16 on to 1e-7."""
    grid = np.arange(-16, 5.1, 0.5)
    rates = np.array([of_two_images(float(x))[1] / 2 for x in grid])
    assert area(rates, grid) == pytest.approx(np.log(2), abs=1e-5)


@pytest.mark.parametrize(
    ("schedule", "half"), [(Schedule.cosine(100), 53), (Schedule.linear(100), 28)]
)
def test_q_5_by_steps_of_a_chain(schedule: Schedule, half: int) -> None:
    """The information at t is more than half of the total from this t on, and not before."""
    mixture = three_gaussians()
    total = information(mixture, float(schedule.log_snr[1]))
    at = [information(mixture, float(schedule.log_snr[t])) for t in (half - 1, half + 1)]
    assert at[0] > total / 2 > at[1]
    assert information(mixture, float(schedule.log_snr[half])) == pytest.approx(total / 2, rel=0.02)
    assert total == pytest.approx(1.073, abs=5e-4)  # nothing is lost at either end
    left = information(mixture, float(schedule.log_snr[-1]))
    assert left < 2.5e-5
    if half == 28:
        assert f"100 steps of the linear schedule it is {left:.5f}" in " ".join(TEXT.split())


def losses_of_linear_outputs(
    mixture: GaussianMixture, log_snr: float, c_null: float, c_y: float
) -> tuple[float, float]:
    """`E|eps - c x_t|^2` for both outputs: x_t has eps times the noise's factor in it."""
    signal2 = 1 / (1 + np.exp(-log_snr))
    noise = np.sqrt(1 - signal2)
    m, S = mixture.moments()
    power = np.trace(S) + m @ m
    both = [2 * (1 - c * noise) ** 2 + c**2 * signal2 * power for c in (c_null, c_y)]
    return both[0], both[1]


def test_q_6_by_linear_outputs() -> None:
    """Outputs c x_t, whose losses are known, and their distances from the oracle, by sums."""
    mixture = SKEW
    c_null, c_y = 0.7, 0.9
    grid = np.arange(-8, 8.1)
    losses = np.array([losses_of_linear_outputs(mixture, float(x), c_null, c_y) for x in grid])
    distances = np.zeros((len(grid), 2))
    for i, log_snr in enumerate(grid):
        schedule = level(float(log_snr))
        x, p = cells(noised(mixture, 1, schedule))
        model = oracle_eps(mixture, schedule)
        off = c_null * x - model(x, 1, np.full(len(x), 3))
        distances[i, 0] = p.sum(1) @ (off**2).sum(1)
        for y in range(3):
            off = c_y * x - model(x, 1, np.full(len(x), y))
            distances[i, 1] += p[:, y] @ (off**2).sum(1)
    found = information_from_losses(losses[:, 0], losses[:, 1], grid)
    gained = information(mixture, 8.0) - information(mixture, -8.0)
    error = np.trapezoid(distances[:, 0] - distances[:, 1], grid) / 2
    assert found == pytest.approx(gained + error, abs=1e-4)  # the trapezoid rule's error
    assert abs(error) > 0.1


def test_q_6_by_each_step() -> None:
    """Losses of outputs that are 10 % too large, from samples; the estimate is 1 % too small."""
    mixture = three_gaussians()
    log_snr = 0.0
    schedule = level(log_snr)
    model = oracle_eps(mixture, schedule)
    rng = np.random.default_rng(2)
    x0, y = mixture.sample(20_000, rng)
    eps = rng.standard_normal(x0.shape)
    xt = np.sqrt(schedule.alpha_bar[1]) * x0 + np.sqrt(1 - schedule.alpha_bar[1]) * eps
    best_y = model(xt, 1, y)
    best_null = model(xt, 1, np.full(len(y), 3))
    d2 = ((best_y - best_null) ** 2).sum(1)
    loss_y = ((eps - 1.1 * best_y) ** 2).sum(1)
    loss_null = ((eps - 1.1 * best_null) ** 2).sum(1)
    delta_y = 0.01 * (best_y**2).sum(1)
    delta_null = 0.01 * (best_null**2).sum(1)
    assert_mean_is_zero(loss_null - loss_y - (d2 + delta_null - delta_y))
    assert_mean_is_zero(delta_null - delta_y + 0.01 * d2)
    # Between two levels next to each other the estimate is the rate times their distance.
    grid = np.array([-0.01, 0.01])
    mean_null, mean_y = np.full(2, loss_null.mean()), np.full(2, loss_y.mean())
    found = information_from_losses(mean_null, mean_y, grid)
    error = 0.02 * 5 * (loss_null - loss_y).std() / 2 / np.sqrt(20_000)
    gained = information(mixture, 0.01) - information(mixture, -0.01)
    assert found == pytest.approx(0.99 * gained, abs=error)


def test_q_6_by_best_outputs() -> None:
    """The lowest losses of (5.16) and the excess without a label give the area itself."""
    mixture = three_gaussians()
    grid = np.arange(-12, 12.1)
    loss_y = np.zeros(len(grid))
    loss_null = np.zeros(len(grid))
    for i, log_snr in enumerate(grid):
        schedule = level(float(log_snr))
        abar = schedule.alpha_bar[1]
        loss_y[i] = 2 * 0.25 * abar / (0.25 * abar + 1 - abar)
        x, p = cells(noised(mixture, 1, schedule))
        s = score(x, 1, np.full(len(x), 3), mixture, schedule)
        loss_null[i] = 2 - (1 - abar) * (p.sum(1) @ (s**2).sum(1))
    found = information_from_losses(loss_null, loss_y, grid)
    assert found == pytest.approx(information(mixture, 12.0), abs=1e-4)


@pytest.mark.parametrize("name", SETS)
def test_q_7_by_the_exact_rate(name: str) -> None:
    """The ratio is 1 to the order of e^lambda."""
    for log_snr in (-7.0, -10.0):
        ratio = label_rate(SETS[name], log_snr) / label_rate_in_noise(SETS[name], log_snr)
        assert ratio == pytest.approx(1, abs=8 * np.exp(log_snr))


def test_q_7_by_total_variance() -> None:
    """B is the trace of all variance less that within the classes."""
    _, S = SKEW.moments()
    within = np.tensordot(SKEW.weights, SKEW.covs, 1)
    B = np.trace(S - within)
    assert label_rate_in_noise(SKEW, -9.0) == pytest.approx(np.exp(-9) * B / 2, rel=1e-12)


def test_q_7_by_numbers_in_the_text() -> None:
    mixture = three_gaussians()
    found = [label_rate_in_noise(mixture, -6.0), label_rate(mixture, -6.0)]
    assert found == pytest.approx([0.00279, 0.00278], abs=5e-6)
    found = [label_rate_in_noise(mixture, -2.0), label_rate(mixture, -2.0)]
    assert found == pytest.approx([0.1523, 0.1231], abs=5e-5)
    assert label_rate_in_noise(mixture, 0.0) * 2 == pytest.approx(2.25, abs=1e-12)


def test_q_4_by_equal_classes() -> None:
    """No information, and no effect of a label."""
    same = GaussianMixture(np.zeros((2, 2)), np.tile(np.eye(2), (2, 1, 1)), np.full(2, 0.5))
    assert information(same, 1.0) == pytest.approx(0, abs=1e-12)
    assert label_rate(same, 1.0) == pytest.approx(0, abs=1e-12)
