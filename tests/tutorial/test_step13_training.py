"""Step 13, part 4: what a network is shown, the weight by integrals and draws, floors, learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

import tutorial.step13_training as lesson
from tutorial.contract import last
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step07_oracle import lowest_loss
from tutorial.step08_sampling import dkw_bound
from tutorial.step12_backprop import Arrays, angles
from tutorial.step13_process import log_snr_density, log_snr_grid, log_snr_of, schedule_from
from tutorial.step13_training import algorithm_1, errors, floors, four_numbers, uniform

ALGEBRA = 1e-12  # float64, a few operations of order one
MIDDLE = np.linspace(-1.76, 1.76, 9)


def loss_at(log_snr: np.ndarray, var: float) -> np.ndarray:
    """The lowest loss a dimension of a class of that variance, from (7.9), by SNRs alone."""
    return var * np.exp(log_snr) / (var * np.exp(log_snr) + 1)


@dataclass
class Shown:
    """What the network was given in training, batch by batch, and asked for."""

    z: list[np.ndarray] = field(default_factory=list)
    tau: list[np.ndarray] = field(default_factory=list)
    y: list[np.ndarray] = field(default_factory=list)
    eps: list[np.ndarray] = field(default_factory=list)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    seen = Shown()
    forward = lesson.forward
    squared_error = lesson.squared_error

    def watched_forward(p: Arrays, z: np.ndarray, tau: np.ndarray, y: np.ndarray) -> object:
        seen.z.append(z)
        seen.tau.append(tau)
        seen.y.append(y)
        return forward(p, z, tau, y)

    def watched_error(eps: np.ndarray, f: np.ndarray) -> object:
        seen.eps.append(eps)
        return squared_error(eps, f)

    monkeypatch.setattr(lesson, "forward", watched_forward)
    monkeypatch.setattr(lesson, "squared_error", watched_error)
    return seen


def learned(steps: int, draw: Callable[..., np.ndarray] = log_snr_of, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    run = algorithm_1(three_gaussians(), 0.2, steps, rng, draw)  # pyright: ignore[reportArgumentType]
    _, _, params = last(run)
    return params


@pytest.mark.parametrize("T", [3, 50])
def test_13_19_by_step_12(T: int) -> None:
    """The same four numbers as at the times of a schedule, whose angle is an arccosine."""
    grid = log_snr_grid(T, -10.0, 12.0)
    wanted = angles(np.arange(T, 0, -1), schedule_from(grid))
    np.testing.assert_allclose(four_numbers(grid), wanted, atol=1e-9)  # arccos near 1


def test_13_19_by_the_even_angle() -> None:
    angle = np.arctan(np.exp(-np.linspace(-20, 20, 41) / 2))
    wanted = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)], axis=1)
    np.testing.assert_allclose(four_numbers(np.linspace(-20, 20, 41)), wanted, atol=ALGEBRA)


@pytest.mark.parametrize("var", [0.05, 0.25, 1.0, 3.0])
def test_13_20_by_integral_and_grid(var: float) -> None:
    """The integral over lambda with the density, and the mean over an even grid of u."""
    integral = quad(lambda x: loss_at(x, var) * log_snr_density(np.array([x]))[0], -20, 20)[0]
    u = (np.arange(2000) + 0.5) / 2000
    grid = loss_at(np.asarray(log_snr_of(u)), var).mean()
    assert integral == pytest.approx(grid, abs=1e-6)


@pytest.mark.parametrize("draw", [log_snr_of, uniform])
def test_13_20_by_what_training_shows(shown: Shown, draw: Callable[..., np.ndarray]) -> None:
    """Data at the origin leave only noise in z, so its size says which lambda each row has.

    6720 draws, seed 0. Each row has one of its own; their law is the density's (one false alarm in
    a million), and the four numbers, the noise asked for and the one in z are all of that lambda.
    """
    origin = GaussianMixture(np.zeros((1, 2)), 1e-30 * np.eye(2)[None], np.ones(1))
    run = algorithm_1(origin, 0.2, 60, np.random.default_rng(0), draw)  # pyright: ignore[reportArgumentType]
    losses = [loss for _, loss, _ in run]
    z, tau, eps = (np.concatenate(a) for a in (shown.z, shown.tau, shown.eps))
    n = len(z)
    assert n == 60 * 112
    log_snr = -2 * np.log(tau[:, 1] / tau[:, 0])
    np.testing.assert_allclose(z, tau[:, 1:2] * eps, atol=ALGEBRA)
    np.testing.assert_allclose(tau, four_numbers(log_snr), atol=1e-9)
    assert len(np.unique(log_snr)) == n
    u = np.arctan(np.exp(-log_snr / 2)) * 2 / np.pi
    if draw is uniform:
        u = (log_snr + 20) / 40
    assert kstest(u, "uniform").statistic < dkw_bound(n, 1e-6)
    assert set(np.concatenate(shown.y)) == {0, 1}  # one class, and K = 1
    f = lesson.forward(lesson.init(1, 48, np.random.default_rng(0)), z[:112], tau[:112], shown.y[0])
    assert losses[0] == pytest.approx(((eps[:112] - f[0]) ** 2).sum(1).mean(), abs=ALGEBRA)


def test_13_20_by_data_without_noise(shown: Shown) -> None:
    """Where eps is taken out of z, the data are left, times the first of the four numbers."""
    point = GaussianMixture(np.array([[3.0, -1.0]]), 1e-30 * np.eye(2)[None], np.ones(1))
    list(algorithm_1(point, 0.2, 5, np.random.default_rng(0)))
    z, tau, eps = (np.concatenate(a) for a in (shown.z, shown.tau, shown.eps))
    np.testing.assert_allclose(z - tau[:, 1:2] * eps, tau[:, :1] * [3.0, -1.0], atol=ALGEBRA)


def test_13_20_by_labels_dropped(shown: Shown) -> None:
    """Of 22,400 labels a share of .3 becomes null (5 standard errors), in every batch of 112."""
    list(algorithm_1(three_gaussians(), 0.3, 200, np.random.default_rng(0)))
    dropped = np.array(shown.y) == 3
    assert abs(dropped.mean() - 0.3) < 5 * (0.3 * 0.7 / dropped.size) ** 0.5
    assert dropped.mean(1).min() > 0.05 and dropped.mean(1).max() < 0.55
    assert set(np.concatenate(shown.y)) == {0, 1, 2, 3}


def test_13_20_by_nothing_changed_in_place() -> None:
    run = algorithm_1(three_gaussians(), 0.2, 4, np.random.default_rng(0))
    _, _, first = next(run)
    copy = {name: a.copy() for name, a in first.items()}
    models = [p for _, _, p in run]
    for name, a in copy.items():
        np.testing.assert_array_equal(first[name], a)
        assert np.abs(models[-1][name] - a).max() > 1e-3
    # The first update is by the rate, the last of four by a quarter of it (Adam: signs).
    start = lesson.init(3, 48, np.random.default_rng(0))
    assert np.abs(first["W2"] - start["W2"]).max() == pytest.approx(0.01, rel=1e-3)
    assert np.abs(models[2]["W2"] - models[1]["W2"]).max() < 0.0026


@pytest.mark.slow
def test_13_20_by_learning() -> None:
    """1000 steps of each. Over twelve seeds the paper's map leaves, in the middle and with labels,

    a mean square error of .0031...0058, and a uniform log SNR 1.7..3.8 times that.
    """
    ours, theirs = (learned(1000, draw) for draw in (log_snr_of, uniform))
    near, far = (np.mean(errors(p, MIDDLE, False)) for p in (ours, theirs))
    assert near < 0.009
    assert far > 1.2 * near


@pytest.mark.parametrize("var", [0.05, 0.25, 2.0])
def test_13_21_by_quadrature(var: float) -> None:
    """Over the angle of a quarter turn, and over lambda with the density, whose ends lie far."""
    angle = quad(lambda q: var / (var + np.tan(q) ** 2) * 2 / np.pi, 0, np.pi / 2)[0]
    assert floors(var, 3)[0] == pytest.approx(3 * angle, rel=1e-9)
    weighed = quad(lambda x: loss_at(x, var) * log_snr_density(np.array([x]))[0], -20, 20)[0]
    assert floors(var, 1)[0] == pytest.approx(weighed, abs=1e-4)  # 6e-5 of the angle is cut off


def test_13_21_by_sums_of_step_7() -> None:
    """(6.9) on grids of the paper: the mean over t nears the floor like 1 / T."""
    means = []
    for T in (100, 200):
        table = schedule_from(log_snr_grid(T))
        means.append(
            np.mean([lowest_loss(0, t, three_gaussians(), table) for t in range(1, T + 1)])
        )
    first, second = np.array(means) - floors(0.25, 2)[0]
    assert second / first == pytest.approx(0.5, abs=0.02)
    assert 2 * means[1] - means[0] == pytest.approx(floors(0.25, 2)[0], abs=1e-4)


@pytest.mark.slow
def test_13_21_by_training() -> None:
    """With no label dropped the loss of a network ends at the floor, .667, and its excess, .005.

    The last 300 of 1500 batches have 33,600 samples, whose losses have a deviation of about 1:
    .0055 a standard error; over twelve seeds it ends in .655...677. By a uniform lambda it would
    end near .931.
    """
    run = algorithm_1(three_gaussians(), 0.0, 1500, np.random.default_rng(0))
    losses = [loss for _, loss, _ in run]
    assert np.mean(losses[-300:]) == pytest.approx(floors(0.25, 2)[0] + 0.005, abs=0.03)
    assert abs(np.mean(losses[-300:]) - floors(0.25, 2)[1]) > 0.2


@pytest.mark.parametrize(("var", "end"), [(0.05, 20.0), (0.25, 20.0), (2.0, 30.0)])
def test_13_22_by_quadrature(var: float, end: float) -> None:
    mean = quad(lambda x: loss_at(x, var) / (2 * end), -end, end, limit=200)[0]
    assert floors(var, 3, end)[1] == pytest.approx(3 * mean, rel=1e-8)


def test_13_22_by_draws() -> None:
    """100,000 uniform log SNRs (seed 0), 5 standard errors."""
    losses = 2 * loss_at(uniform(np.random.default_rng(0).random(100_000)), 0.25)
    assert abs(losses.mean() - floors(0.25, 2)[1]) < 5 * losses.std() / 100_000**0.5


def test_13_22_by_symmetry() -> None:
    """At variance 1 either distribution gives half of all noise: a^2 at l and at -l add up to 1."""
    assert floors(1.0, 2) == pytest.approx((1, 1), abs=ALGEBRA)


@pytest.mark.parametrize("p_uncond", [-0.1, 1.5, float("nan")])
def test_13_20_by_refusal_of_p_uncond(p_uncond: float) -> None:
    with pytest.raises(ValueError, match=rf"p_uncond = {p_uncond} is outside 0\.\.1"):
        next(algorithm_1(three_gaussians(), p_uncond, 5, np.random.default_rng(0)))
