"""Appendix J: the two equations by finite differences, sums over a grid, SymPy and samples."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from tutorial.appendix.j_levels import added, langevin, log_level, mix, of_gaussians, of_mixture
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Gaussian
from tutorial.step13_tilted import keep, moments_on_grid, tilted_mass, tilted_on_grid

THREE = three_gaussians()
POINTS = np.array([[0.2, -0.3], [-1.4, 0.9], [0.5, 1.1], [0.0, 2.0]])
given_w = pytest.mark.parametrize("w", [-0.5, 1.0, 3.0])
H = 1e-3  # h^2 times fourth derivatives, of some hundred times the density: 1e-4 of it


def q(x: np.ndarray, tau: float, w: float) -> np.ndarray:
    return np.exp(log_level(x, tau, 0, w, THREE))


def laplacian(tau: float, w: float) -> np.ndarray:
    sides = [sign * H * axis for axis in np.eye(2) for sign in (1, -1)]
    return (sum(q(POINTS + side, tau, w) for side in sides) - 4 * q(POINTS, tau, w)) / H**2


@given_w
def test_j_1_by_finite_difference(w: float) -> None:
    for tau in (0.1, 0.7):
        flow = 0.0
        for i, axis in enumerate(np.eye(2)):
            for sign in (1, -1):
                x = POINTS + sign * H * axis
                pull = mix(of_mixture(THREE, 0)(x, tau), w)[:, i]
                flow = flow + sign * pull * q(x, tau, w) / (2 * H)
        bound = 1e-4 * (1 + np.abs(flow))
        assert (np.abs(laplacian(tau, w) - flow) < bound).all()
        assert np.abs(laplacian(tau, w)).max() > 0.01


def test_j_1_by_waiting_samples() -> None:
    """Exact samples of the tilted law stay so; with the score of all data they leave (seed 16)."""
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
    # too wide by step * k / 4, k = 4
    assert (np.abs(x.var(0) / np.diag(cov) - 1) < step + 5 * (2 / len(x)) ** 0.5).all()
    assert abs(other[:, 1].mean() - mean[1]) > 10 * error[1]


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
        law = GaussianMixture(THREE.means, THREE.covs + tau * np.eye(2), THREE.weights)
        return tilted_mass(law, 0, w, 7.0, 141)

    axis = np.linspace(-7, 7, 141)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    # The tilt of the unnormalised level: tilted_mass is that of the same density
    lost = (added(of_mixture(THREE, 0)(grid, 0.4), w) * q(grid, 0.4, w)).sum() * 0.1**2
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
