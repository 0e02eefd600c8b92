"""Exact distributions of chains with affine steps, planted mistakes, and a test of samples.

Step 7 and appendix B test the same sampler. A statistical test has a rate of false alarms of 1e-6
in each of four directions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import kstest, norm

from tests.tutorial.noise import Given
from tutorial.appendix.b_chain_distribution import dkw_bound
from tutorial.contract import Denoiser, Normals
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import oracle_eps, x0_from
from tutorial.step06_reverse import p_xprev_given_xt
from tutorial.step07_sampling import ancestral_steps

Steps = Callable[[Denoiser, np.ndarray, Schedule, float, Normals], Iterator[tuple[int, np.ndarray]]]

# abar_T = 0.5, so that the start shows in the end; and an everyday schedule.
SHORT = Schedule(np.array([0, 0.1, 0.2, 0.3]))
SCHEDULE = Schedule.linear(20)
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
N = 20_000
ALARM = 1e-6
MISS = 0.01
DIRECTIONS = np.array([[1, 0], [0, 1], [0.6, 0.8], [0.8, -0.6]])
ALGEBRA = 1e-10  # float64, some dozens of steps of operations of order one to ten


def exact_law(
    steps: Steps, model: Denoiser, label: int, schedule: Schedule, w: float = 0.0
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Mean and covariance of `x_t` at each t, for any sampler whose steps are affine.

    Row 0 sees no noise and is the mean. Every other row sees a 1 in one draw on one axis: what it
    adds to row 0 is the response to that draw, and the covariance is the sum of their squares.
    """
    rows = 1 + 2 * (schedule.T + 1)
    draws = {k: np.zeros((rows, 2)) for k in range(schedule.T + 1)}
    for k, draw in draws.items():
        draw[1 + 2 * k : 3 + 2 * k] = np.eye(2)
    path = steps(model, np.full(rows, label), schedule, w, Given(draws))
    return {t: (x[0], (x[1:] - x[0]).T @ (x[1:] - x[0])) for t, x in path}


def end_of(steps: Iterator[tuple[int, np.ndarray]]) -> np.ndarray:
    return list(steps)[-1][1]


def planted(mistake: str) -> Steps:
    """The sampler written out by hand, with one mistake in it."""

    def steps(
        model: Denoiser, y: np.ndarray, schedule: Schedule, w: float, rng: Normals
    ) -> Iterator[tuple[int, np.ndarray]]:
        xt = rng.standard_normal((len(y), 2))
        yield schedule.T, xt
        for t in range(schedule.T, int(mistake == "last step skipped"), -1):
            c_0, c_t, var = posterior_coefficients(t, schedule)
            beta = schedule.beta[t]
            late = t > 1
            std = {
                "beta for its posterior": late * beta**0.5,
                "no square root": var,
                "no noise": 0.0,
                "noise at the end": (var if late else beta) ** 0.5,
            }.get(mistake, var**0.5)
            early = t - 1 if mistake == "time off by one" and late else t
            x0 = x0_from(model(xt, early, y), xt, early, schedule)
            if mistake == "weights swapped":
                c_0, c_t = c_t, c_0
            if mistake == "no x_t in the mean":
                c_t = 0.0
            xt = c_0 * x0 + c_t * xt + std * rng.standard_normal(xt.shape)
            yield t - 1, xt

    return steps


def is_refused(x: np.ndarray, law: tuple[np.ndarray, np.ndarray]) -> bool:
    """Whether samples stray from N(mean, cov) beyond the bound, in one direction at least."""
    mean, cov = law
    far = [kstest(x @ u, "norm", (u @ mean, np.sqrt(u @ cov @ u))).statistic for u in DIRECTIONS]
    return max(far) > dkw_bound(len(x), ALARM)


def rate_of_misses(
    n: int, law: tuple[np.ndarray, np.ndarray], true: tuple[np.ndarray, np.ndarray]
) -> float:
    """A bound, by (B.7), on how often samples of `law` are taken for samples of `true`."""
    x = np.linspace(-8, 8, 20_001)
    misses = 1.0
    for u in DIRECTIONS:
        a, b = (norm.cdf(x, u @ mean, max(u @ cov @ u, 1e-12) ** 0.5) for mean, cov in (law, true))
        room = np.abs(a - b).max() - dkw_bound(n, ALARM)
        misses = min(misses, 2 * np.exp(-2 * n * max(room, 0) ** 2))
    return misses


def sample_path() -> dict[int, np.ndarray]:
    """All times of 20,000 chains of class 1, T = 20 (seed 8)."""
    y = np.full(N, 1)
    rng = np.random.default_rng(8)
    return dict(ancestral_steps(oracle_eps(MIXTURE, SCHEDULE), y, SCHEDULE, 0.0, rng))


def A_and_b(t: int, schedule: Schedule, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The reverse step of class `k` as `A x + b`, read off the sampler's mean at three points."""
    x = np.vstack([np.zeros((1, 2)), np.eye(2)])
    y = np.full(3, k)
    mean = p_xprev_given_xt(x, oracle_eps(MIXTURE, schedule)(x, t, y), t, schedule).mean
    return (mean[1:] - mean[0]).T, mean[0]
