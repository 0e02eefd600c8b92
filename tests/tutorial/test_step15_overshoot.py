"""Step 15, part 2: the table by simulation, and without it, by sums over grids.

DDIM is a map: grid points of x_T, weighed by N(0, I), are sent through it. Algorithm 2 is a Markov
chain: the mean of f(x_0) given x_t is carried back, one step after the other, on a grid of x_t.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates

from tutorial.step01_toy_data import three_gaussians
from tutorial.step07_oracle import oracle_eps
from tutorial.step13_process import log_snr_grid, schedule_from
from tutorial.step14_ddim import ddim
from tutorial.step14_rows import run
from tutorial.step15_overshoot import TABLE, guided_samples, summary
from tutorial.step15_tilted import moments_on_grid, tilted_on_grid

THREE = three_gaussians()
DIGITS = 6e-4  # half of the table's last digit, and 1e-4 of the grids
# An independent run of 40,000 samples: its means are good to 0.002, its variances to 0.002.
RUN = {
    0.0: ((1.500, 0.246, 0.245), (1.498, 0.246, 0.247)),
    1.0: ((1.678, 0.225, 0.206), (1.915, 0.173, 0.127)),
    3.0: ((1.797, 0.221, 0.197), (2.367, 0.141, 0.084)),
}
WEIGHTS = list(TABLE)


@dataclass
class Start:
    """Noise that is a given array, the first time and ever after."""

    z: np.ndarray

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        assert size == self.z.shape
        return self.z


def square(half: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of -half..half in both coordinates, the first one slowest, and N(0, I) on them."""
    axis = np.linspace(-half, half, n)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(-(points**2).sum(1) / 2)
    return points, p / p.sum()


@cache
def of_tilt(w: float) -> tuple[float, float, float]:
    mean, cov = moments_on_grid(*tilted_on_grid(THREE, 0, w, n=201))
    return mean[1], cov[0, 0], cov[1, 1]


@cache
def of_ddim(w: float, T: int = 256) -> tuple[float, float, float]:
    """Height and variances of DDIM's x_0: the map on a grid of step 0.25, to 5 deviations."""
    start, p = square(5.0, 41)
    schedule = schedule_from(log_snr_grid(T))
    model = oracle_eps(THREE, schedule)
    y = np.zeros(len(p), dtype=int)
    mean, cov = moments_on_grid(run(model, y, ddim(schedule), w, Start(start)), p)
    return mean[1], cov[0, 0], cov[1, 1]


def eps_of_top(z: np.ndarray, log_snr: float, w: float) -> np.ndarray:
    """The guided noise of the top class, written out for three classes of variance 1/4."""
    abar = 1 / (1 + np.exp(-log_snr))
    var = abar / 4 + 1 - abar
    away = z[:, None] - np.sqrt(abar) * THREE.means  # (n, 3, 2)
    p = np.exp(-(away**2).sum(2) / (2 * var))
    p = p / p.sum(1, keepdims=True)
    of_all = (p[:, :, None] * away).sum(1)
    return np.sqrt(1 - abar) / var * ((1 + w) * away[:, 0] - w * of_all)


@cache
def of_algorithm_2(w: float, T: int = 256, v: float = 0.3) -> tuple[float, float, float]:
    """Height and variances of Algorithm 2's x_0.

    The paper's formulas give each step's mean and variance. A Gaussian smooths along each axis in
    turn: one matrix, of 9 Gauss-Hermite points of a cubic spline. Then the step's mean is looked
    up. A grid of 81 instead of 61 points moves the result by less than 1e-4.
    """
    z, _ = square(6.0, 61)
    axis = np.linspace(-6, 6, 61)
    spline = CubicSpline(axis, np.eye(61))
    nodes, shares = np.polynomial.hermite_e.hermegauss(9)
    grid = [float(x) for x in log_snr_grid(T)]
    a, sigma = (1 / np.sqrt(1 + np.exp(sign * np.array(grid))) for sign in (-1, 1))
    x0 = (z - sigma[-1] * eps_of_top(z, grid[-1], w)) / a[-1]
    u = np.stack([x0[:, 1], x0[:, 0] ** 2, x0[:, 1] ** 2]).reshape(3, 61, 61)
    for k in range(T - 2, -1, -1):
        x0 = (z - sigma[k] * eps_of_top(z, grid[k], w)) / a[k]
        kept = np.exp(grid[k] - grid[k + 1])
        mean = kept * a[k + 1] / a[k] * z + (1 - kept) * a[k + 1] * x0
        narrow = (1 - kept) * sigma[k + 1] ** 2
        wide = (1 - kept) * sigma[k] ** 2
        noise = np.sqrt(narrow ** (1 - v) * wide**v)
        seen = spline(np.clip(axis[:, None] + noise * nodes, -6, 6))  # (61, 9, 61)
        smooth = np.einsum("iqj,q->ij", seen, shares / shares.sum())
        at = np.clip((mean.T + 6) / 0.2, 0, 60)
        smoothed = smooth @ u @ smooth.T
        u = np.stack([map_coordinates(s, at, order=3, mode="mirror") for s in smoothed])
        u = u.reshape(3, 61, 61)
    mean, across, along = u.reshape(3, -1) @ square(6.0, 61)[1]
    return mean, across, along - mean**2


@pytest.fixture(scope="module", params=[1.0, 3.0])
def sampled(request: pytest.FixtureRequest) -> tuple[float, np.ndarray]:
    """Height and variances, (2 samplers, 3, value and error), of 4,000 samples each (seed 15)."""
    x = guided_samples(request.param, 4000, seed=15)
    return request.param, np.array([summary(samples) for samples in x])


@pytest.mark.slow
def test_15_5_by_simulation(sampled: tuple[float, np.ndarray]) -> None:
    """Heights are the table's to 5 standard errors, and 8 of them apart from one another."""
    w, found = sampled
    table = [row[0] for row in TABLE[w]]
    values, errors = found[:, 0].T
    assert (np.abs(values - table[1:]) < 5 * errors + DIGITS).all()
    assert table[0] + 8 * errors[0] < values[0] < values[1] - 8 * errors.max()


@pytest.mark.slow
def test_15_6_by_simulation(sampled: tuple[float, np.ndarray]) -> None:
    """The variances too. The tilted law's are 4 standard errors above, so the order holds."""
    w, found = sampled
    for i in (1, 2):
        table = [row[i] for row in TABLE[w]]
        values, errors = found[:, i].T
        assert (np.abs(values - table[1:]) < 5 * errors + DIGITS).all()
        assert table[0] > values[0] > values[1] + 5 * errors.max()


@pytest.mark.parametrize("w", WEIGHTS)
def test_15_5_by_grids(w: float) -> None:
    """The table's heights to their last digit, in order for w above 0."""
    heights = [law(w)[0] for law in (of_tilt, of_algorithm_2, of_ddim)]
    assert heights == pytest.approx([row[0] for row in TABLE[w]], abs=DIGITS)
    if w > 0:
        assert heights[0] + 0.1 < heights[1] < heights[2] - 0.1


@pytest.mark.parametrize("w", WEIGHTS)
def test_15_6_by_grids(w: float) -> None:
    """And its variances; what finite steps lose at w = 0 is less than 0.005."""
    laws = [law(w) for law in (of_tilt, of_algorithm_2, of_ddim)]
    for i in (1, 2):
        values = [law[i] for law in laws]
        assert values == pytest.approx([row[i] for row in TABLE[w]], abs=DIGITS)
        if w > 0:
            assert values[0] - 0.01 > values[1] > values[2] + 0.01
        else:
            assert values == pytest.approx([0.25] * 3, abs=0.005)


@pytest.mark.parametrize("w", WEIGHTS)
def test_15_5_by_an_independent_run(w: float) -> None:
    """Heights of 40,000 samples: within 4 standard errors, and the two printed last digits."""
    for said, (height, _, var) in zip(RUN[w], TABLE[w][1:], strict=True):
        assert abs(said[0] - height) < 4 * (var / 40_000) ** 0.5 + 1e-3


@pytest.mark.parametrize("w", WEIGHTS)
def test_15_6_by_an_independent_run(w: float) -> None:
    for said, row in zip(RUN[w], TABLE[w][1:], strict=True):
        for i in (1, 2):
            assert abs(said[i] - row[i]) < 4 * row[i] * (2 / 40_000) ** 0.5 + 1e-3


@pytest.mark.parametrize("w", [-0.5, -0.2])
def test_15_5_by_weights_below_0(w: float) -> None:
    """The other way round, with 64 steps."""
    assert of_tilt(w)[0] > of_algorithm_2(w, 64)[0] + 0.05 > of_ddim(w, 64)[0] + 0.1


@pytest.mark.parametrize("w", [-0.5, -0.2])
def test_15_6_by_weights_below_0(w: float) -> None:
    for i in (1, 2):
        assert of_tilt(w)[i] + 0.005 < of_algorithm_2(w, 64)[i] < of_ddim(w, 64)[i] - 0.02


@pytest.mark.slow
@pytest.mark.exhaustive
def test_15_5_by_many_more_steps() -> None:
    """1,024 steps, w = 1: what the text says of them, and both are as far away as before."""
    assert of_algorithm_2(1.0, 1024) == pytest.approx((1.677, 0.228, 0.206), abs=DIGITS)
    assert of_ddim(1.0, 1024) == pytest.approx((1.914, 0.175, 0.128), abs=DIGITS)


def test_15_6_by_summary() -> None:
    """What `summary` calls a standard error is the spread of its values over many small samples."""
    rng = np.random.default_rng(0)
    each = np.array([summary(rng.standard_normal((400, 2)) * [1, 2]) for _ in range(400)])
    assert each[:, :, 0].mean(0) == pytest.approx([0, 1, 4], rel=0.02, abs=0.02)
    assert each[:, :, 0].std(0) == pytest.approx(each[:, :, 1].mean(0), rel=0.15)  # 4 of 0.035
