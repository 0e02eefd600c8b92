"""Appendix J: the equations by finite differences, sums over a grid, SymPy and samples."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import sympy

import tutorial.appendix.j_levels as lesson
from tests.tutorial.noise import Given
from tutorial.appendix.h_gaussian_pairs import EXAMPLE, ddim_law, ddpm_law
from tutorial.appendix.j_levels import (
    added,
    added_in_noise,
    added_to_shape,
    chi_squared,
    chi_squared_slope,
    langevin,
    log_level,
    mean_and_spread,
    mix,
    noised,
    of_gaussians,
    of_mixture,
)
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Gaussian
from tutorial.step11_guidance import tilt
from tutorial.step13_tilted import keep, moments_on_grid, tilted_mass, tilted_on_grid

THREE = three_gaussians()
POINTS = np.array([[0.2, -0.3], [-1.4, 0.9], [0.5, 1.1], [0.0, 2.0]])
given_w = pytest.mark.parametrize("w", [-0.5, 1.0, 3.0])
H = 1e-3  # h^2 times fourth derivatives, of some hundred times the density: 1e-4 of it
TEXT = lesson.__doc__ or ""
# Classes of different covariances and weights: nothing in (J.1) to (J.4) needs equal ones.
SKEW = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)


def in_text(words: str) -> bool:
    """Whether the text contains these words, with any line breaks between them."""
    return words in " ".join(TEXT.split())


def row_of(name: str) -> list[float]:
    """The numbers of the one row of a table in the text that begins with `name`."""
    (row,) = re.findall(rf"^\| {re.escape(name)} \| (.*) \|$", TEXT, re.MULTILINE)
    return [float(Fraction(cell.strip())) for cell in row.split("|")]


def q(x: np.ndarray, tau: float, w: float, mixture: GaussianMixture = THREE) -> np.ndarray:
    return np.exp(log_level(x, tau, 0, w, mixture))


def laplacian(tau: float, w: float) -> np.ndarray:
    sides = [sign * H * axis for axis in np.eye(2) for sign in (1, -1)]
    return (sum(q(POINTS + side, tau, w) for side in sides) - 4 * q(POINTS, tau, w)) / H**2


def lattice(reach: float, n: int) -> tuple[np.ndarray, float]:
    """n by n points of a square, and the side of a cell."""
    line = np.linspace(-reach, reach, n)
    return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2), float(line[1] - line[0])


# (J.1)


@given_w
def test_j_1_by_finite_difference(w: float) -> None:
    for tau in (0.1, 0.7):
        flow = np.zeros(len(POINTS))
        for i, axis in enumerate(np.eye(2)):
            for sign in (1, -1):
                x = POINTS + sign * H * axis
                drift = mix(of_mixture(THREE, 0)(x, tau), w)[:, i]
                flow = flow + sign * drift * q(x, tau, w) / (2 * H)
        bound = 1e-4 * (1 + np.abs(flow))
        assert (np.abs(laplacian(tau, w) - flow) < bound).all()
        assert np.abs(laplacian(tau, w)).max() > 0.01


def test_j_1_by_langevin_steps_of_samples() -> None:
    """Samples of the tilted distribution stay so; with the score of all data they leave (seed 16).

    Finite steps make the variances larger by a fraction of about step times k / 4, with k = 4.
    """
    rng = np.random.default_rng(16)
    w = 3.0
    step = 0.02
    start = THREE.means[0] + 0.5 * rng.standard_normal((6000, 2))
    start = start[keep(start, 0, w, THREE, rng)]
    mean, cov = moments_on_grid(*tilted_on_grid(THREE, 0, w))
    error = (np.diag(cov) / len(start)) ** 0.5
    x = start
    other = start
    for _ in range(60):
        x = langevin(x, 0.0, w, step, of_mixture(THREE, 0), rng)
        other = langevin(other, 0.0, -1.0, step, of_mixture(THREE, 0), rng)
    assert (np.abs(x.mean(0) - mean) < 5 * error).all()
    assert (np.abs(x.var(0) / np.diag(cov) - 1) < step + 5 * (2 / len(x)) ** 0.5).all()
    assert abs(other[:, 1].mean() - mean[1]) > 10 * error[1]


@pytest.mark.parametrize("tau", [0.1, 0.7])
def test_j_1_by_each_step(tau: float) -> None:
    """The mean of f after one small step, against both forms of its rate; then the gradient of q.

    f is a Gaussian bump, and the density is that of the noisy class with the drift of w = 3.
    """
    x, side = lattice(5.0, 201)
    rho = q(x, tau, 0.0)
    drift = mix(of_mixture(THREE, 0)(x, tau), 3.0) / 2

    def f(x: np.ndarray) -> np.ndarray:
        return np.exp(-((x - [0.3, 1.2]) ** 2).sum(1) / 2)

    # The mean over z, exactly for cubic terms, by the nodes +1 and -1 on both axes.
    h = 1e-4
    moved = np.zeros(len(x))
    for z in np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]):
        moved += f(x + h * drift + h**0.5 * z) / 4
    rate = ((moved - f(x)) * rho).sum() * side**2 / h
    gradient = -(x - [0.3, 1.2]) * f(x)[:, None]
    laplacian_f = (((x - [0.3, 1.2]) ** 2).sum(1) - 2) * f(x)
    shown = (((drift * gradient).sum(1) + laplacian_f / 2) * rho).sum() * side**2
    # What is left is h times products of four factors of the order of the drift, below 10.
    assert rate == pytest.approx(shown, abs=5e-3)
    assert abs(shown) > 0.05
    flow = (drift * rho[:, None]).reshape(201, 201, 2)
    along_0 = np.gradient(flow[:, :, 0], side, axis=1)  # meshgrid: axis 1 is the first coordinate
    along_1 = np.gradient(flow[:, :, 1], side, axis=0)
    density = rho.reshape(201, 201)
    second = np.gradient(np.gradient(density, side, axis=0), side, axis=0)
    second += np.gradient(np.gradient(density, side, axis=1), side, axis=1)
    change = (-(along_0 + along_1) + second / 2).ravel()
    # The differences have errors of side^2 / 6 = 0.0004 times third derivatives.
    assert (f(x) * change).sum() * side**2 == pytest.approx(shown, abs=5e-3)
    s_w = mix(of_mixture(THREE, 0)(POINTS, tau), 3.0)
    for i, axis in enumerate(np.eye(2)):
        up = log_level(POINTS + H * axis, tau, 0, 3.0, THREE)
        down = log_level(POINTS - H * axis, tau, 0, 3.0, THREE)
        slope = (q(POINTS + H * axis, tau, 3.0) - q(POINTS - H * axis, tau, 3.0)) / (2 * H)
        expected = s_w[:, i] * q(POINTS, tau, 3.0)
        scale = 1e-3 * (1 + np.abs(expected))  # H^2 / 6 times third derivatives, below 6000
        assert (np.abs(slope - expected) < scale).all()
        of_log = (up - down) / (2 * H)
        np.testing.assert_allclose(of_log, s_w[:, i], atol=1e-3)  # the same, of the logarithm


def test_j_1_by_given_noise() -> None:
    """One step by hand: half of the size times the score, and its root times the noise."""
    x = np.array([[0.7, -0.2]])
    z = np.array([[0.3, 1.1]])
    s_w = mix(of_mixture(SKEW, 1)(x, 0.4), 2.0)
    found = langevin(x, 0.4, 2.0, 0.09, of_mixture(SKEW, 1), Given({0: z}))
    np.testing.assert_allclose(found, x + 0.045 * s_w + 0.3 * z, rtol=1e-12)


def test_j_1_by_a_drift_that_is_not_halved() -> None:
    """The text: with a whole score the variance of a Gaussian is halved, for small steps."""
    k, step = 2.0, 1e-4
    var = step / (1 - (1 - step * k) ** 2)  # V = (1 - step k)^2 V + step
    assert var == pytest.approx(1 / k / 2, rel=1e-3)  # step times k
    assert in_text("which halves the variance of a Gaussian target")


# (J.2)


@given_w
def test_j_2_by_finite_difference(w: float) -> None:
    for tau in (0.1, 0.7):
        changes = (q(POINTS, tau + H, w) - q(POINTS, tau - H, w)) / (2 * H)
        lost = added(of_mixture(THREE, 0)(POINTS, tau), w) * q(POINTS, tau, w)
        scale = 1e-3 * (1 + np.abs(laplacian(tau, w)))  # h^2 times third derivatives in tau
        assert (np.abs(changes - laplacian(tau, w) / 2 + lost) < scale).all()
        assert np.abs(lost).max() > 3 * scale.max()


@given_w
def test_j_2_by_lost_mass(w: float) -> None:
    """Noise moves mass; only the second term changes how much there is: sums over a grid."""

    def mass(tau: float) -> float:
        return tilted_mass(noised(THREE, tau), 0, w, 7.0, 141)

    grid, side = lattice(7.0, 141)
    lost = (added(of_mixture(THREE, 0)(grid, 0.4), w) * q(grid, 0.4, w)).sum() * side**2
    slope = (mass(0.401) - mass(0.399)) / 0.002
    assert slope == pytest.approx(-lost, rel=1e-4)


def test_j_2_by_sympy() -> None:
    """Two Gaussians on a line, every w."""
    x, tau, w, S = sympy.symbols("x tau w S", positive=True)
    logs = [-sympy.log(V) / 2 - (x - m) ** 2 / (2 * V) for m, V in ((1, 1 + tau), (0, S + tau))]
    log_q = (1 + w) * logs[0] - w * logs[1]
    noise = (sympy.diff(log_q, x, 2) + sympy.diff(log_q, x) ** 2) / 2  # of q, over q
    rate = sympy.lambdify((x, tau, w, S), noise - sympy.diff(log_q, tau))
    at = np.array([[0.3, 0.0], [-2.0, 0.0]])
    pair = of_gaussians(Gaussian(np.array([1.0, 0.0]), 1.0), 2.5)(at, 0.6)
    along = pair[0][:, :1], pair[1][:, :1]
    for weight in (0.5, 2.0):
        expected = rate(at[:, 0], 0.6, weight, 2.5)
        np.testing.assert_allclose(added(along, weight), expected, rtol=1e-12)


@pytest.mark.parametrize("mixture", [THREE, SKEW])
@given_w
def test_j_2_by_each_step(w: float, mixture: GaussianMixture) -> None:
    """Each display on the way, by differences in x and in tau of densities and scores."""
    tau = 0.5
    scores = of_mixture(mixture, 0)
    s_y, s = scores(POINTS, tau)
    s_w = mix((s_y, s), w)

    def divergence(which: int) -> np.ndarray:
        total = np.zeros(len(POINTS))
        for i, axis in enumerate(np.eye(2)):
            up = scores(POINTS + H * axis, tau)[which][:, i]
            down = scores(POINTS - H * axis, tau)[which][:, i]
            total += (up - down) / (2 * H)
        return total

    slopes = []
    for which, weight in ((0, 0.0), (1, -1.0)):  # the class, then all data

        def p(x: np.ndarray, tau: float, weight: float = weight) -> np.ndarray:
            return q(x, tau, weight, mixture)

        score = (s_y, s)[which]
        in_tau = (p(POINTS, tau + H) - p(POINTS, tau - H)) / (2 * H)
        sides = [sign * H * axis for axis in np.eye(2) for sign in (1, -1)]
        of_p = (sum(p(POINTS + side, tau) for side in sides) - 4 * p(POINTS, tau)) / H**2
        # Each difference leaves H^2 times higher derivatives, below 100 times the density.
        np.testing.assert_allclose(in_tau, of_p / 2, atol=1e-4)
        spread = divergence(which) + (score**2).sum(1)
        np.testing.assert_allclose(of_p, spread * p(POINTS, tau), atol=1e-4)
        of_log = np.log(p(POINTS, tau + H)) - np.log(p(POINTS, tau - H))
        np.testing.assert_allclose(of_log / (2 * H), spread / 2, atol=1e-3)
        slopes.append(spread / 2)
    squares = (1 + w) * (s_y**2).sum(1) - w * (s**2).sum(1)
    of_s_w = (1 + w) * divergence(0) - w * divergence(1)
    log_slope = (1 + w) * slopes[0] - w * slopes[1]
    np.testing.assert_allclose(log_slope, (of_s_w + squares) / 2, rtol=1e-12)  # rounding
    difference = ((s_y - s) ** 2).sum(1)
    np.testing.assert_allclose(
        squares, (s_w**2).sum(1) - w * (1 + w) * difference, rtol=1e-10, atol=1e-12
    )
    rate = added((s_y, s), w)
    np.testing.assert_allclose(rate, w * (1 + w) / 2 * difference, rtol=1e-12)
    of_log = log_level(POINTS, tau + H, 0, w, mixture) - log_level(POINTS, tau - H, 0, w, mixture)
    shown = (of_s_w + (s_w**2).sum(1)) / 2 - rate
    np.testing.assert_allclose(of_log / (2 * H), shown, atol=1e-3)

    def density(x: np.ndarray, tau: float) -> np.ndarray:
        return q(x, tau, w, mixture)

    # The changes by a step of DDPM and of DDIM, and the one that leads to the next level.
    flow = np.zeros(len(POINTS))
    around = -4 * density(POINTS, tau)
    for i, axis in enumerate(np.eye(2)):
        for sign in (1, -1):
            x = POINTS + sign * H * axis
            flow += sign * mix(scores(x, tau), w)[:, i] * density(x, tau) / (2 * H)
            around += density(x, tau)
    spread = around / H**2
    in_tau = (density(POINTS, tau + H) - density(POINTS, tau - H)) / (2 * H)
    bound = 1e-3 * (1 + np.abs(spread))  # H^2 times fourth derivatives
    assert (np.abs(-flow + spread / 2 + spread / 2) < bound).all()
    assert (np.abs(-flow / 2 + spread / 2) < bound).all()
    assert (np.abs(-in_tau + spread / 2 - rate * density(POINTS, tau)) < bound).all()
    assert (np.abs(rate * density(POINTS, tau)) > bound).any()


def test_j_2_by_numbers_in_the_text() -> None:
    """The example: two tilted distributions that noise does not link, and the table of the rate."""
    given_y, var_all = EXAMPLE
    clean = tilt(given_y, var_all, 2.0)
    level = tilt(Gaussian(given_y.mean, given_y.var + 1), var_all + 1, 2.0)
    assert (clean.mean[0], clean.var) == pytest.approx((1.5, 0.5), rel=1e-12)
    assert (level.mean[0], level.var) == pytest.approx((1.8, 1.2), rel=1e-12)
    assert in_text("is $N(1.5, 0.5)$") and in_text("the tilted distribution $N(1.8, 1.2)$")
    x = np.array(row_of("x"))
    s_y, s = of_gaussians(*EXAMPLE)(np.stack([x, 0 * x], 1), 1.0)
    rate = added((s_y[:, :1], s[:, :1]), 2.0)
    np.testing.assert_allclose(s_y[:, 0], row_of("score of the class"), atol=1e-12)
    np.testing.assert_allclose(s[:, 0], row_of("score of all data"), atol=5e-5)
    np.testing.assert_allclose(rate, row_of("g(x)"), atol=5e-5)
    for d in (0.1, 1.0, 5.0):  # at the same distance from 1.8, more on the left
        x = np.array([[1.8 - d, 0.0], [1.8 + d, 0.0]])
        s_y, s = of_gaussians(*EXAMPLE)(x, 1.0)
        left, right = added((s_y[:, :1], s[:, :1]), 2.0)
        assert left > right
    assert ddpm_law(*EXAMPLE, 2.0).mean[0] == pytest.approx(1.75, rel=1e-12)
    assert ddim_law(*EXAMPLE, 2.0).mean[0] == pytest.approx(2, rel=1e-9)
    assert in_text("DDPM ends with the mean 1.75, by (H.4), and DDIM with 2, by (H.2).")


def test_j_2_by_chains_from_a_tilted_level() -> None:
    """The means of chains that start with N(1.8, 1.2) at the level 1, by steps and in closed form.

    A displacement is divided by G for DDPM and by its root for DDIM, and the integrals of (H.2) and
    (H.4) run over the levels below 1 alone.
    """
    ends = []
    for drift in (1.0, 0.5):
        mean = np.array([[1.8, 0.0]])
        for tau, below in pairwise(np.linspace(1, 0, 201).tolist()):
            step = (tau - below) * drift
            middle = mean + step / 2 * mix(of_gaussians(*EXAMPLE)(mean, tau), 2.0)
            mean = mean + step * mix(of_gaussians(*EXAMPLE)(middle, (tau + below) / 2), 2.0)
        ends.append(mean[0, 0])
    G = 2**3 / 1.5**2
    r = 1 / np.sqrt(2)
    added_by_ddpm = (2**3 - 1.5**3) / 2**2
    added_by_ddim = 3 * ((1 - r) + (1 - r**3) / 3) / 2
    np.testing.assert_allclose([added_by_ddpm, added_by_ddim], [1.156, 0.763], atol=5e-4)
    assert in_text("from 0 to 1 add 1.156 and 0.763.")
    by_ddpm = 1.8 / G + added_by_ddpm
    by_ddim = 1.8 / np.sqrt(G) + added_by_ddim
    # The midpoint rule with 200 steps: 1 / 200^2, times a constant of order 1.
    np.testing.assert_allclose(ends, [by_ddpm, by_ddim], atol=5e-5)
    np.testing.assert_allclose(ends, [1.66, 1.72], atol=0.005)
    assert in_text("DDPM ends with the mean 1.66 and DDIM with 1.72.")


def test_j_2_by_gradient_of_the_classifier() -> None:
    """The difference of the scores is the gradient of log p(y | x), so it is 0 for one class."""
    s_y, s = of_mixture(SKEW, 2)(POINTS, 0.3)
    law = noised(SKEW, 0.3)
    for i, axis in enumerate(np.eye(2)):
        up = law.log_class_probability(POINTS + H * axis)[:, 2]
        down = law.log_class_probability(POINTS - H * axis)[:, 2]
        # H^2 / 6 times a third derivative below 600.
        np.testing.assert_allclose((s_y - s)[:, i], (up - down) / (2 * H), atol=1e-4)


@pytest.mark.parametrize("w", [0.0, -1.0, -0.5, 2.0])
def test_j_2_by_the_boundary(w: float) -> None:
    """The sign of the rate for each weight."""
    rate = added(of_mixture(SKEW, 0)(POINTS, 0.3), w)
    if w in (0.0, -1.0):
        assert (rate == 0).all()
    else:
        assert (np.sign(rate) == np.sign(w)).all()


# (J.3)


@given_w
def test_j_3_by_normalised_densities(w: float) -> None:
    """The slope of the normalised density, by differences in tau, at cells of a lattice."""
    x, side = lattice(7.0, 141)
    tau = 0.6

    def normalised(tau: float) -> np.ndarray:
        density = q(x, tau, w)
        return density / (density.sum() * side**2)

    slope = (normalised(tau + H) - normalised(tau - H)) / (2 * H)
    density = normalised(tau)
    around = np.zeros(len(x))
    for step in [sign * H * axis for axis in np.eye(2) for sign in (1, -1)]:
        around += q(x + step, tau, w) / q(x, tau, w) - 1
    spread = around / H**2 * density
    rate = added(of_mixture(THREE, 0)(x, tau), w)
    lost = added_to_shape(rate, density * side**2) * density
    # Differences leave H^2 times derivatives below 100; the second one has rounding 1e-10.
    np.testing.assert_allclose(slope, spread / 2 - lost, atol=1e-5)
    assert np.abs(lost).max() > 1e-3


@given_w
def test_j_3_by_each_step(w: float) -> None:
    """The derivative of log Z is minus the mean of the rate; then the quotient rule."""
    x, side = lattice(7.0, 141)
    tau = 0.6

    def Z(tau: float) -> float:
        return float(q(x, tau, w).sum() * side**2)

    rate = added(of_mixture(THREE, 0)(x, tau), w)
    density = q(x, tau, w) / Z(tau)
    mean = float(rate @ density) * side**2
    of_log_Z = (np.log(Z(tau + H)) - np.log(Z(tau - H))) / (2 * H)
    assert of_log_Z == pytest.approx(-mean, abs=1e-5)  # H^2 times a third derivative
    np.testing.assert_allclose(
        added_to_shape(rate, density * side**2), rate - mean, rtol=1e-9, atol=1e-12
    )
    in_tau = (q(x, tau + H, w) / Z(tau + H) - q(x, tau - H, w) / Z(tau - H)) / (2 * H)
    of_q = (q(x, tau + H, w) - q(x, tau - H, w)) / (2 * H)
    np.testing.assert_allclose(in_tau, of_q / Z(tau) - density * of_log_Z, atol=1e-5)


def test_j_3_by_equal_covariances() -> None:
    """Two Gaussians of one covariance: the rate is constant, and noise links the levels."""
    given_y = Gaussian(np.array([1.0, 0.0]), 0.8)
    rate = added(of_gaussians(given_y, 0.8)(POINTS, 0.3), 2.0)
    assert rate.min() > 0.1 and np.ptp(rate) < 1e-12
    weights = np.full(len(POINTS), 1 / len(POINTS))
    assert np.abs(added_to_shape(rate, weights)).max() < 1e-12
    clean = tilt(given_y, 0.8, 2.0)
    level = tilt(Gaussian(given_y.mean, 1.1), 1.1, 2.0)
    np.testing.assert_allclose(level.mean, clean.mean, rtol=1e-12)
    assert level.var == pytest.approx(clean.var + 0.3, rel=1e-12)


def test_j_3_by_numbers_in_the_text() -> None:
    """The table of mean and standard deviation, and what the text reads from it."""
    taus = row_of("tau")
    found = np.array([np.array(mean_and_spread(tau, 0, 3.0, THREE)) * tau for tau in taus])
    digits = [0.0001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001]
    assert (np.abs(found[:, 0] - row_of("mean")) <= 0.51 * np.array(digits)).all()
    assert (np.abs(found[:, 1] - row_of("standard deviation")) <= 0.51e-3).all()
    # In the logarithm the inner columns are at equal distances, and the outer ones twice as far.
    distances = np.diff(np.log(taus))
    np.testing.assert_allclose(distances[1:-1], np.log(10) / 2, rtol=0.05)
    np.testing.assert_allclose(distances[[0, -1]], np.log(10), rtol=1e-12)
    inner = found[1:-1, 1]
    assert inner.min() > max(found[0, 1], found[-1, 1])
    finer = np.array([mean_by_quadrature(tau) * tau for tau in (0.1, 1.0)])
    np.testing.assert_allclose(found[[1, 3]], finer, rtol=1e-6)  # two lattices
    at_0 = [added(of_mixture(THREE, 0)(np.zeros((1, 2)), tau), 3.0)[0] for tau in (1.0, 0.1)]
    assert in_text("it is 8.6 at the level 1 and 110 at the level 0.1")
    assert at_0[0] == pytest.approx(8.6, abs=0.05) and at_0[1] == pytest.approx(110, abs=0.5)
    assert in_text(
        "the tilted distributions of these levels have only the densities 0.0037 and 0.0007"
    )
    assert density_at_0(1.0) == pytest.approx(0.0037, abs=5e-5)
    assert density_at_0(0.1) == pytest.approx(0.0007, abs=5e-5)
    # It is not so that the density falls faster than the rate grows, per unit of tau.
    assert at_0[1] * density_at_0(0.1) > at_0[0] * density_at_0(1.0)


def normalised_on(tau: float, n: int, reach: float) -> tuple[np.ndarray, np.ndarray, float]:
    x, side = lattice(reach, n)
    density = q(x, tau, 3.0)
    return x, density / (density.sum() * side**2), side


def mean_by_quadrature(tau: float) -> np.ndarray:
    """Mean and standard deviation of the rate on another lattice."""
    x, density, side = normalised_on(tau, 301, 9.0)
    s_y, s = of_mixture(THREE, 0)(x, tau)
    rate = 6 * ((s_y - s) ** 2).sum(1)
    mean = (rate * density).sum() * side**2
    return np.array([mean, np.sqrt((rate**2 * density).sum() * side**2 - mean**2)])


def density_at_0(tau: float) -> float:
    x, density, _ = normalised_on(tau, 301, 9.0)
    return float(density[np.abs(x).sum(1).argmin()])


# (J.4)


def test_j_4_by_each_step() -> None:
    """The difference of the scores is that of two guesses, by samples of the data weighted by g."""
    tau = 0.8
    rng = np.random.default_rng(4)
    n = 200_000
    x0, y = SKEW.sample(n, rng)
    for x in POINTS[:2]:
        weight = np.exp(-((x - x0) ** 2).sum(1) / (2 * tau))
        guesses, errors = [], []
        for part in (y == 1, np.full(n, True)):
            p = weight * part / (weight * part).sum()
            guess = p @ x0
            guesses.append(guess)
            errors.append(np.sqrt(p**2 @ (x0 - guess) ** 2))
        s_y, s = of_mixture(SKEW, 1)(x[None], tau)
        shown = (guesses[0] - guesses[1]) / tau
        error = (errors[0] + errors[1]) / tau  # at most the sum, as both use the same samples
        assert (np.abs((s_y - s)[0] - shown) < 5 * error).all()
        assert error.max() < 0.05 * np.abs(shown).max()


@pytest.mark.parametrize("mixture", [THREE, SKEW])
def test_j_4_by_a_limit(mixture: GaussianMixture) -> None:
    """At points within the reach of the noise the ratio tends to 1 like 1 / sqrt(tau)."""
    off = []
    for tau in (1e4, 1e6):
        x = tau**0.5 * POINTS
        rate = added(of_mixture(mixture, 0)(x, tau), 3.0)
        off.append(np.abs(rate / added_in_noise(tau, 0, 3.0, mixture) - 1).max())
    assert off[1] < off[0] / 9 and off[1] < 0.01


def test_j_4_by_finite_levels() -> None:
    """The mean over the level tends to the limit; its standard deviation falls faster."""
    ratios, spreads = [], []
    for tau in (1e2, 1e3, 1e4):
        mean, spread = mean_and_spread(tau, 0, 3.0, THREE)
        ratios.append(mean / added_in_noise(tau, 0, 3.0, THREE))
        spreads.append(spread / mean)
    assert ratios[0] < ratios[1] < ratios[2] < 1 and ratios[2] > 0.995
    assert spreads[0] > 2.5 * spreads[1] > 6 * spreads[2]  # by about sqrt(10) each


def test_j_4_by_numbers_in_the_text() -> None:
    assert 100 * added_in_noise(100.0, 0, 3.0, THREE) == pytest.approx(0.135, rel=1e-12)
    assert in_text("At $\\tau = 100$ this gives $\\tau g = 0.135$.")
    assert 100 * mean_and_spread(100.0, 0, 3.0, THREE)[0] == pytest.approx(0.124, abs=5e-4)
    assert np.linalg.norm(THREE.means[0] - THREE.moments()[0]) == pytest.approx(1.5, rel=1e-12)


# (J.5)


def bell(x: np.ndarray, mean: float, var: float) -> np.ndarray:
    """A normal density with the mean (mean, 0) on the lattice of `x`, as a square array."""
    squared = (x[:, 0] - mean) ** 2 + x[:, 1] ** 2
    side = int(len(x) ** 0.5)
    return (np.exp(-squared / (2 * var)) / (2 * np.pi * var)).reshape(side, side)


def test_j_5_by_closed_form() -> None:
    """The example: N(m, 1) has chi^2 = e^(m^2) - 1, and m falls like e^(-r / 2)."""
    x, side = lattice(9.0, 601)
    target = bell(x, 0.0, 1.0)
    moved = bell(x, 0.5, 1.0)
    assert in_text("$\\chi^2 = e^{0.25} - 1 = 0.284$")
    assert in_text("its derivative is $-0.25 e^{0.25} = -0.321$")
    # The sum is exact to 1e-12; differences have the error side^2 / 6 = 1.5e-4 of them, squared.
    assert chi_squared(moved, target, side) == pytest.approx(np.exp(0.25) - 1, rel=1e-9)
    shown = chi_squared_slope(moved, target, side)
    assert shown == pytest.approx(-0.25 * np.exp(0.25), rel=1e-3)
    assert [np.exp(0.25) - 1, -0.25 * np.exp(0.25)] == pytest.approx([0.284, -0.321], abs=5e-4)
    assert in_text("Then $u = e^{0.5 x - 0.125}$ and $\\nabla u = 0.5 u$.")
    u = np.exp(0.5 * x[:, 0] - 0.125).reshape(target.shape)
    np.testing.assert_allclose(moved / target, u, rtol=1e-9)
    assert (target * u**2).sum() * side**2 == pytest.approx(np.exp(0.5 - 0.25), rel=1e-9)
    of_e_x = (target.ravel() * np.exp(x[:, 0])).sum() * side**2
    assert of_e_x == pytest.approx(np.exp(0.5), rel=1e-9)
    later = bell(x, 0.5 * np.exp(-1e-4 / 2), 1.0)
    slope = (chi_squared(later, target, side) - chi_squared(moved, target, side)) / 1e-4
    assert slope == pytest.approx(shown, rel=1e-3)


def test_j_5_by_widths() -> None:
    """A Gaussian of another variance: under dynamics of precision k it changes by 1 - k V per r."""
    x, side = lattice(9.0, 601)
    target = bell(x, 0.0, 1.4)
    V = 0.9
    h = 1e-4
    later, earlier = (bell(x, 0.0, V + sign * h * (1 - V / 1.4)) for sign in (1, -1))
    slope = chi_squared(later, target, side) - chi_squared(earlier, target, side)
    expected = chi_squared_slope(bell(x, 0.0, V), target, side)
    assert slope / (2 * h) == pytest.approx(expected, rel=1e-3)  # the differences of the lattice


@pytest.mark.parametrize("V", [0.4, 1.4])
def test_j_5_by_a_gaussian_target(V: float) -> None:
    """The text: the integral is at least chi^2 / V, and nearly so for a target that is moved."""
    assert in_text("the integral in (J.5) is at least $\\chi^2 / V$")
    x, side = lattice(8.0, 401)
    target = bell(x, 0.0, V)
    x_0 = x[:, 0].reshape(target.shape)
    bent = target * (1 + 0.9 * np.sin(2 * x_0))  # a density: |0.9 sin| < 1, and odd
    for rho in (bell(x, 0.02, V), bell(x, 0.7, V), bell(x, -0.3, V / 2), bent):
        rate = -chi_squared_slope(rho, target, side) * V / chi_squared(rho, target, side)
        assert rate > 1 - 1e-3  # the differences of the lattice
    near = bell(x, 0.02, V)
    rate = -chi_squared_slope(near, target, side) * V / chi_squared(near, target, side)
    assert rate == pytest.approx(1, rel=2e-3)


def test_j_5_by_wide_samples() -> None:
    """The text: below twice the variance of the target chi^2 is finite, above it is not."""
    assert in_text(
        "is finite only if the variance of the samples is below twice that of the target"
    )
    sums = []
    for V in (1.8, 2.2):
        for reach in (18.0, 24.0):
            x, side = lattice(reach, 301)
            sums.append(chi_squared(bell(x, 0.3, V), bell(x, 0.0, 1.0), side))
    assert sums[1] == pytest.approx(sums[0], rel=1e-3)
    assert sums[3] > 10 * sums[2]  # it grows with the square over which the sum is taken


def test_j_5_by_each_step() -> None:
    """Three classes, w = 3; the samples have a Gaussian density that is narrower than the target.

    The Fokker-Planck equation is evaluated with densities and scores at shifted points.
    """
    x, side = lattice(6.0, 361)
    tau, w, h = 0.5, 3.0, 1e-3
    Z = q(x, tau, w).sum() * side**2

    def rho(x: np.ndarray) -> np.ndarray:
        return np.exp(-((x - [0.1, 2.0]) ** 2).sum(1) / 0.7) / (0.7 * np.pi)

    def target(x: np.ndarray) -> np.ndarray:
        return q(x, tau, w) / Z

    def u(x: np.ndarray) -> np.ndarray:
        return rho(x) / target(x)

    scores = of_mixture(THREE, 0)
    s_w = mix(scores(x, tau), w)
    change = np.zeros(len(x))
    of_u = np.zeros(len(x))
    for i, axis in enumerate(np.eye(2)):
        up, down = x + h * axis, x - h * axis
        along = (rho(up) - rho(down)) / (2 * h)
        grad_u = (u(up) - u(down)) / (2 * h)
        # h^2 times third derivatives, below 100.
        shown = s_w[:, i] * rho(x) + target(x) * grad_u
        np.testing.assert_allclose(along, shown, atol=1e-4)
        drift_up = mix(scores(up, tau), w)[:, i] / 2
        drift_down = mix(scores(down, tau), w)[:, i] / 2
        change += -(drift_up * rho(up) - drift_down * rho(down)) / (2 * h)
        change += (rho(up) - 2 * rho(x) + rho(down)) / h**2 / 2
        half_up, half_down = x + h / 2 * axis, x - h / 2 * axis
        flow = target(half_up) * (u(up) - u(x)) - target(half_down) * (u(x) - u(down))
        of_u += flow / h**2 / 2
    np.testing.assert_allclose(change, of_u, atol=1e-4)
    rate = 2 * (u(x) * change).sum() * side**2
    square = (361, 361)
    found = chi_squared_slope(rho(x).reshape(square), target(x).reshape(square), side)
    assert found == pytest.approx(rate, rel=0.01)  # side^2 times derivatives of u
    assert found < -0.05
    chi = chi_squared(rho(x).reshape(square), target(x).reshape(square), side)
    # The sum of the samples' density over the lattice is 1 up to 1e-7.
    assert chi == pytest.approx((u(x) * rho(x)).sum() * side**2 - 1, abs=1e-6)


def test_j_5_by_two_distant_modes() -> None:
    """The text: if u is constant in each of two distant modes, the distance falls very slowly."""
    x, side = lattice(9.0, 301)
    left, right = bell(x, -5.0, 0.5), bell(x, 5.0, 0.5)
    target = (left + right) / 2
    samples = 0.9 * left + 0.1 * right
    chi = chi_squared(samples, target, side)
    assert chi == pytest.approx(0.64, abs=1e-3)  # the mean of 0.8^2 and 0.8^2
    assert -1e-5 * chi < chi_squared_slope(samples, target, side) < 0
