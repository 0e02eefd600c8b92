"""Step 13, part 2: each step by impulses, whole chains by step 8, samples by a sum over the plane.

The mistakes of the lesson's table are planted in a sampler written out by hand: the figures of the
table are tested, and for each mistake that it is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from mpmath import mp, mpf

from tutorial.contract import Denoiser, Normals
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step07_oracle import mean_x0, oracle_eps
from tutorial.step08_sampling import ancestral_steps
from tutorial.step13_log_snr import algorithm_2, algorithm_2_steps, reverse_var
from tutorial.step13_process import (
    forward_var,
    log_snr_grid,
    q_posterior_log_snr,
    schedule_from,
    signal_noise,
)

Steps = Callable[
    [Denoiser, np.ndarray, np.ndarray, float, float, Normals], Iterator[tuple[int, np.ndarray]]
]

# Full covariances and unequal shares: no symmetry that could hide a swap.
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
K = 3
GRID = log_snr_grid(6, -7.0, 5.0)
SCHEDULE = schedule_from(GRID)
MODEL = oracle_eps(MIXTURE, SCHEDULE)
PAIRS = [(-20.0, -4.0), (-1.0, 1.0), (2.0, 2.1), (4.5, 20.0)]
# Exact to four digits, by `over_the_plane`: across and upwards, w = 1, T = 16.
EXACT = {0.0: (0.1542, 0.1356), 0.3: (0.1755, 0.1550), 1.0: (0.2570, 0.2305)}
ALGEBRA = 1e-10  # float64, some dozens of operations of order one to a hundred


@dataclass
class Given:
    """Noise that is given: `draws[k]` answers the k-th question, zeros where nothing is given."""

    draws: dict[int, np.ndarray] = field(default_factory=dict)
    asked: int = 0

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        self.asked += 1
        return self.draws.get(self.asked - 1, np.zeros(size))


@dataclass
class Answers:
    """A denoiser that says `cond` whatever it is asked, but `null` to the null label."""

    cond: np.ndarray
    null: np.ndarray
    num_classes: int = 1
    prediction: str = "eps"
    asked: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        self.asked.append((t, int(y[0])))
        return np.where((y == 1)[:, None], self.null, self.cond)


def end_of(steps: Iterator[tuple[int, np.ndarray]]) -> np.ndarray:
    return list(steps)[-1][1]


def planted(mistake: str) -> Steps:
    """Algorithm 2 written out by hand, with one mistake in it."""

    def steps(
        model: Denoiser, y: np.ndarray, log_snr: np.ndarray, w: float, v: float, rng: Normals
    ) -> Iterator[tuple[int, np.ndarray]]:
        T = len(log_snr)
        null = np.full_like(y, model.num_classes)
        a = 1 / np.sqrt(1 + np.exp(-log_snr))
        sigma = 1 / np.sqrt(1 + np.exp(log_snr))
        z = rng.standard_normal((len(y), 2))
        yield T, z
        for i in range(T):
            scale = {"s for w": w, "weight on the wrong answer": -w}.get(mistake, 1 + w)
            eps = scale * model(z, T - i, y) + (1 - scale) * model(z, T - i, null)
            x = (z - sigma[i] * eps) / a[i]
            if mistake == "clipped":
                x = np.clip(x, -1, 1)
            if i == T - 1:
                noise = sigma[i] * rng.standard_normal(z.shape)
                loud = x + noise if mistake == "noise on the last guess" else x
                yield 0, z if mistake == "z returned" else loud
                return
            r = np.exp(log_snr[i] - log_snr[i + 1])
            narrow = (1 - r) * sigma[i + 1] ** 2
            wide = (1 - r) * sigma[i] ** 2
            var = {
                "v ignored": narrow,
                "v between the variances": (1 - v) * narrow + v * wide,
                "v and 1 - v exchanged": narrow**v * wide ** (1 - v),
                "v of deviations": ((1 - v) * narrow**0.5 + v * wide**0.5) ** 2,
            }.get(mistake, narrow ** (1 - v) * wide**v)
            std = var if mistake == "no square root" else var**0.5
            n = z if mistake == "z as noise" else rng.standard_normal(z.shape)
            kept = {"no z term": 0.0, "r twice": r}.get(mistake, 1.0) * r * a[i + 1] / a[i] * z
            z = kept + (mistake != "no x term") * (1 - r) * a[i + 1] * x + std * n
            yield T - i - 1, z

    return steps


MISTAKES = [
    "v ignored",
    "v between the variances",
    "v and 1 - v exchanged",
    "v of deviations",
    "no square root",
    "z as noise",
    "no x term",
    "no z term",
    "r twice",
    "clipped",
    "s for w",
    "weight on the wrong answer",
    "noise on the last guess",
    "z returned",
]


def every_step_is_right(steps: Steps, w: float = 0.7, v: float = 0.4) -> bool:
    """Each state from the one before and its draw, by step 7's guess and sums in log variances.

    The draws are given, so each step is compared with what it should have made of its own start.
    """
    rng = np.random.default_rng(5)
    y = np.array([0, 1, 2, 0, 1])
    draws = {k: 3 * rng.standard_normal((5, 2)) for k in range(len(GRID) + 1)}
    path = list(steps(MODEL, y, GRID, w, v, Given(draws)))
    if [t for t, _ in path] != list(range(len(GRID), -1, -1)) or (path[0][1] != draws[0]).any():
        return False
    for k, ((t, z), (_, found)) in enumerate(pairwise(path)):
        cond, null = (mean_x0(z, t, label, MIXTURE, SCHEDULE) for label in (y, 0 * y + K))
        wanted = (1 + w) * cond - w * null
        if t > 1:
            here, there = (1 - SCHEDULE.alpha_bar[s] for s in (t, t - 1))
            logs = (1 - v) * np.log(there) + v * np.log(here)
            var = (1 - np.exp(SCHEDULE.log_snr[t] - SCHEDULE.log_snr[t - 1])) * np.exp(logs)
            # The mean as the line from the noise in z: a' x + sigma'^2 / sigma^2 k (z - a x).
            signal = np.sqrt(SCHEDULE.alpha_bar)
            noise = 1 - SCHEDULE.alpha_bar
            slope = noise[t - 1] / noise[t] * signal[t] / signal[t - 1]
            mean = signal[t - 1] * wanted + slope * (z - signal[t] * wanted)
            wanted = mean + np.sqrt(var) * draws[k + 1]
        if not np.allclose(found, wanted, rtol=1e-8, atol=1e-8):
            return False
    return True


def spread(steps: Steps, n: int, seed: int, grid: np.ndarray, v: float = 0.3) -> np.ndarray:
    """Variances, across and upwards, of samples of the top of three Gaussians, w = 1."""
    model = oracle_eps(three_gaussians(), schedule_from(grid))
    rng = np.random.default_rng(seed)
    return end_of(steps(model, np.zeros(n, int), grid, 1.0, v, rng)).var(0)


def over_the_plane(T: int, v: float, w: float, h: float) -> np.ndarray:
    """The variances of Algorithm 2's samples for the top of three Gaussians, without a sample.

    The density of z is carried from step to step as a sum over a grid of width `h`: a kernel is
    a product, so all of them are two matrices. (Such a sum errs little while h is not much above
    the narrowest kernel's deviation, 0.09.) The last kernel, and the last guess, by Hermite's
    quadrature with four nodes an axis.
    """
    log_snr = log_snr_grid(T)
    axis = np.arange(-5, 5 + h / 2, h)
    model = oracle_eps(three_gaussians(), schedule_from(log_snr))
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)

    def guess(z: np.ndarray, t: int) -> np.ndarray:
        y = np.zeros(len(z), int)
        a, sigma = signal_noise(float(log_snr[T - t]))
        eps = (1 + w) * model(z, t, y) - w * model(z, t, y + 3)
        return (z - sigma * eps) / a

    def kernel(t: int) -> tuple[np.ndarray, float]:
        here, there = log_snr[T - t : T - t + 2].tolist()
        law = q_posterior_log_snr(guess(points, t), points, here, there)
        wide = float(forward_var(here, there))
        return law.mean, np.exp((1 - v) * np.log(law.var) + v * np.log(wide)) ** 0.5

    p = np.exp(-(points**2).sum(1) / 2) / (2 * np.pi)
    for t in range(T, 2, -1):
        mean, std = kernel(t)
        across, up = (
            np.exp(-((((axis[:, None] - mean[:, i]) / std) ** 2) / 2)) / (std * (2 * np.pi) ** 0.5)
            for i in (0, 1)
        )
        p = (h**2 * (across * p) @ up.T).reshape(-1)
    mean, std = kernel(2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    first = second = np.zeros(2)
    for i, j in np.ndindex(4, 4):
        x = guess(mean + std * nodes[[i, j]], 1)
        share = h**2 * p * weights[i] * weights[j] / weights.sum() ** 2
        first = first + share @ x
        second = second + share @ x**2
    return second - first**2


@pytest.mark.parametrize("w", [-1.0, -0.3, 0.0, 2.0])
def test_13_9_by_two_answers(w: float) -> None:
    """The guess from two fixed answers: the last state of a chain of one step."""
    z, cond, null = np.random.default_rng(0).standard_normal((3, 4, 2))
    found = end_of(
        algorithm_2_steps(Answers(cond, null), np.zeros(4, int), GRID[2:3], w, 0.3, Given({0: z}))
    )
    lam = GRID[2]
    wanted = np.sqrt(1 + np.exp(-lam)) * z - np.exp(-lam / 2) * ((1 + w) * cond - w * null)
    np.testing.assert_allclose(found, wanted, atol=ALGEBRA)


def test_13_9_by_calls() -> None:
    """w = 0 costs one call a step and never asks for the null label; any other w costs two."""
    for w, labels in ((0.0, {0}), (1.0, {0, 1}), (-1.0, {0, 1})):
        model = Answers(np.zeros((4, 2)), np.zeros((4, 2)))
        algorithm_2(model, np.zeros(4, int), GRID, w, 0.3, np.random.default_rng(0))
        assert sorted(model.asked) == sorted((t, y) for t in range(1, 7) for y in labels)


def test_13_9_by_null_chain() -> None:
    """w = -1 is the chain of the null label; and a null row is the same for every w."""
    y = np.array([0, 1, 2])
    rng = np.random.default_rng
    null = algorithm_2(MODEL, 0 * y + K, GRID, 0.0, 0.3, rng(1))
    for label, w in ((y, -1.0), (0 * y + K, 3.0)):
        x = algorithm_2(MODEL, label, GRID, w, 0.3, rng(1))
        np.testing.assert_allclose(x, null, atol=ALGEBRA)


@pytest.mark.parametrize("t", [1, 3, 6])
def test_13_10_by_best_guess_of_step_7(t: int) -> None:
    """From the oracle's eps, the mean of the data given z (a chain of the last step alone)."""
    z = 2 * np.random.default_rng(t).standard_normal((6, 2))
    y = np.array([0, 1, 2, K, 0, K])
    lam = GRID[6 - t : 7 - t]
    model = oracle_eps(MIXTURE, schedule_from(lam))
    found = end_of(algorithm_2_steps(model, y, lam, 0.0, 0.3, Given({0: z})))
    wanted = mean_x0(z, t, y, MIXTURE, SCHEDULE)
    np.testing.assert_allclose(found, wanted, atol=1e-9)  # 1 / a is up to 33


def test_13_10_by_data_at_a_point() -> None:
    """All guesses are that point, from the first step on, and nothing is clipped: it is at 40."""
    point = GaussianMixture(np.array([[40.0, -3.0]]), 1e-18 * np.eye(2)[None], np.ones(1))
    for T in (1, 2, 7):
        grid = log_snr_grid(T)
        model = oracle_eps(point, schedule_from(grid))
        x = algorithm_2(model, np.zeros(5, int), grid, 0.0, 0.3, np.random.default_rng(0))
        np.testing.assert_allclose(x, np.tile([40.0, -3.0], (5, 1)), rtol=1e-6)


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_13_11_by_fifty_digits(here: float, there: float) -> None:
    with mp.workdps(50):
        r = mp.exp(mpf(here) - mpf(there))
        narrow, wide = ((1 - r) / (1 + mp.exp(mpf(x))) for x in (there, here))
        for v in (0.0, 0.2, 0.3, 0.5, 1.0):
            wanted = mp.exp((1 - mpf(v)) * mp.log(narrow) + mpf(v) * mp.log(wide))
            assert abs(mpf(reverse_var(here, there, v)) / wanted - 1) < 1e-12


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_13_11_by_its_ends(here: float, there: float) -> None:
    """Posterior and forward variance, and between them a geometric series."""
    zero = np.zeros(1)
    narrow = q_posterior_log_snr(zero, zero, here, there).var
    assert reverse_var(here, there, 0.0) == pytest.approx(narrow, rel=1e-14)
    assert reverse_var(here, there, 1.0) == pytest.approx(forward_var(here, there), rel=1e-14)
    series = np.array([reverse_var(here, there, v) for v in np.linspace(0, 1, 6)])
    np.testing.assert_allclose(series[1:] / series[:-1], series[1] / series[0], rtol=1e-12)


@pytest.mark.parametrize("v", [0.0, 0.3, 1.0])
def test_13_11_by_impulses_of_one_draw(v: float) -> None:
    """A 1 in the k-th draw moves its own step by the deviation, and that draw alone does."""
    for k, (here, there) in enumerate(pairwise(GRID), start=1):
        draw = {k: np.array([[1.0, 0.0], [0.0, -1.0], [0.0, 0.0]])}
        path = dict(algorithm_2_steps(MODEL, np.ones(3, int), GRID, 0.0, v, Given(draw)))
        moved = path[6 - k] - path[6 - k][2]
        before = path[7 - k] - path[7 - k][2]
        std = np.sqrt(-np.expm1(here - there)) * (1 + np.exp(there)) ** (-(1 - v) / 2)
        std *= (1 + np.exp(here)) ** (-v / 2)
        np.testing.assert_allclose(moved, std * draw[k], atol=ALGEBRA)
        np.testing.assert_allclose(before, 0, atol=ALGEBRA)


@pytest.mark.parametrize("v", [0.0, 0.3, 1.0])
def test_13_11_by_samples(v: float) -> None:
    """10,000 samples (seed 1) of three Gaussians against the exact variances, 5 standard errors."""
    found = spread(algorithm_2_steps, 10_000, 1, log_snr_grid(16), v)
    assert (np.abs(found / EXACT[v] - 1) < 5 * (2 / 10_000) ** 0.5).all()


@pytest.mark.slow
@pytest.mark.parametrize("v", [0.0, 0.3, 1.0])
def test_13_11_by_a_sum_over_the_plane(v: float) -> None:
    """The four digits of `EXACT`; a finer grid, a wider one, or more nodes change them by 5e-5."""
    np.testing.assert_allclose(over_the_plane(16, v, 1.0, 0.12), EXACT[v], atol=1e-4)


@pytest.mark.parametrize(("w", "v"), [(0.0, 0.0), (0.7, 0.4), (-0.5, 1.0)])
def test_13_12_by_every_step(w: float, v: float) -> None:
    assert every_step_is_right(algorithm_2_steps, w, v)
    assert every_step_is_right(planted("none"), w, v)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_13_12_by_planted_mistakes(mistake: str) -> None:
    assert not every_step_is_right(planted(mistake))


@pytest.mark.parametrize("w", [0.0, 1.5])
@pytest.mark.parametrize("T", [1, 2, 16])
def test_13_12_by_step_8(T: int, w: float) -> None:
    """With v = 0 it is the chain of step 8 on the schedule of its grid: same noise, same samples.

    From -20 the two find 1 / a_lambda by different roads, each exact to 1e-9 of it; but of a right
    eps the error is as small there as a_lambda is.
    """
    grid = log_snr_grid(T)
    y = np.array([0, 1, 2, K, 1])
    schedule = schedule_from(grid)
    model = oracle_eps(MIXTURE, schedule)
    runs = (
        algorithm_2_steps(model, y, grid, w, 0.0, np.random.default_rng(4)),
        ancestral_steps(model, y, schedule, w, np.random.default_rng(4)),
    )
    for (t, z), (s, x) in zip(*runs, strict=True):
        assert t == s
        np.testing.assert_allclose(z, x, atol=1e-8)


def test_13_12_by_rows_alone_and_together() -> None:
    rng = np.random.default_rng(3)
    y = np.array([0, K, 2, 1])
    draws = {k: rng.standard_normal((4, 2)) for k in range(6)}
    together = end_of(algorithm_2_steps(MODEL, y, GRID, 0.7, 0.3, Given(draws)))
    for i in range(4):
        own = Given({k: draw[i : i + 1] for k, draw in draws.items()})
        alone = algorithm_2(MODEL, y[i : i + 1], GRID, 0.7, 0.3, own)
        np.testing.assert_allclose(together[i], alone[0], atol=ALGEBRA)
    assert algorithm_2(MODEL, y[:0], GRID, 0.0, 0.3, rng).shape == (0, 2)


@pytest.mark.parametrize(
    ("mistake", "variance"),
    [
        ("none", 0.175),
        ("v ignored", 0.154),
        ("v between the variances", 0.185),
        ("v and 1 - v exchanged", 0.211),
        ("even steps", 0.122),
        ("z as noise", 67),
        ("no x term", 2.1e-7),
        ("noise on the last guess", 0.175),
        ("z returned", 0.175),
    ],
)
def test_13_12_by_the_lessons_table(mistake: str, variance: float) -> None:
    """What each mistake does to the variance across: 10,000 samples (seed 2), 5 standard errors."""
    grid = np.linspace(-20, 20, 16) if mistake == "even steps" else log_snr_grid(16)
    found = spread(planted(mistake), 10_000, 2, grid)[0]
    assert found == pytest.approx(variance, rel=5 * (2 / 10_000) ** 0.5)


def test_13_13_by_a_loud_last_draw() -> None:
    """T draws are asked for and no more; the sample is the best guess from the last state."""
    y = np.array([1, 2])
    noise = Given({k: np.full((2, 2), 1e6) for k in (6, 7)})
    path = list(algorithm_2_steps(MODEL, y, GRID, 0.0, 1.0, noise))
    assert noise.asked == len(GRID)
    (s, z), (t, x) = path[-2:]
    assert (s, t) == (1, 0)
    np.testing.assert_allclose(x, mean_x0(z, 1, y, MIXTURE, SCHEDULE), atol=ALGEBRA)


def test_13_13_by_a_step_to_data() -> None:
    """The posterior of part 1, with the guess for x, at lambda' = inf: mean and variance."""
    y = np.array([1, 2])
    (_, z), (_, x) = list(algorithm_2_steps(MODEL, y, GRID, 0.0, 0.3, Given()))[-2:]
    a, sigma = signal_noise(float(GRID[-1]))
    law = q_posterior_log_snr((z - sigma * MODEL(z, 1, y)) / a, z, float(GRID[-1]), np.inf)
    np.testing.assert_allclose(x, law.mean, atol=ALGEBRA)
    assert law.var == 0
    assert [reverse_var(3.0, np.inf, v) for v in (0.0, 0.3)] == [0, 0]
    assert reverse_var(3.0, np.inf, 1.0) == pytest.approx(1 / (1 + np.exp(3.0)))  # not for v = 1


@pytest.mark.parametrize("v", [-0.1, 1.5, float("nan")])
def test_13_11_by_refusal_of_v(v: float) -> None:
    with pytest.raises(ValueError, match=rf"v = {v} is outside 0\.\.1"):
        algorithm_2(MODEL, np.zeros(2, int), GRID, 0.0, v, np.random.default_rng(0))
    with pytest.raises(ValueError, match=rf"v = {v} is outside 0\.\.1"):
        reverse_var(0.0, 1.0, v)


def test_13_12_by_refusal_of_a_falling_grid() -> None:
    with pytest.raises(ValueError, match=r"log_snr = .* is not below log_snr_next"):
        algorithm_2(MODEL, np.zeros(2, int), GRID[::-1], 0.0, 0.3, np.random.default_rng(0))


def test_13_10_by_refusal_of_another_output() -> None:
    model = Answers(np.zeros((2, 2)), np.zeros((2, 2)), prediction="v")
    with pytest.raises(ValueError, match="prediction = 'v': Algorithm 2 is written for eps"):
        algorithm_2(model, np.zeros(2, int), GRID, 0.0, 0.3, np.random.default_rng(0))


def test_13_12_by_refusal_of_no_schedule() -> None:
    """(The schedule that models are asked on is part 1's, which refuses for both.)"""
    with pytest.raises(ValueError, match="outside"):
        algorithm_2(
            oracle_eps(MIXTURE, Schedule.linear(3)),
            np.zeros(2, int),
            GRID,
            0.0,
            0.3,
            np.random.default_rng(0),
        )
