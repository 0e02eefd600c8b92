"""Appendix G: a constant error, followed to the end; sums and limits; remedies; one network."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

import tutorial.appendix.g_grids as lesson
from tutorial.appendix.f_variance import moments_of_samples, step_of_z
from tutorial.appendix.g_grids import (
    clipped_bound,
    first_sensitivity,
    guided_sensitivity,
    missing_mean,
    remaining_factor,
    sensitivities,
    sensitivity_of_step,
    sensitivity_of_step_to_v,
    total_sensitivity,
)
from tutorial.contract import Denoiser, last
from tutorial.figures.appendix.g_grids import (
    apart,
    apart_clipped,
    both,
    clipped_samples,
    distance,
    error_length,
    errors_at,
    samples,
)
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step05_best_guess import Oracle, oracle_eps
from tutorial.step16_log_snr import (
    algorithm_1,
    algorithm_2,
    algorithm_2_steps,
    log_snr_grid,
    q_posterior_log_snr,
    schedule_from,
    signal_noise,
    trained,
)
from tutorial.step17_solvers import ddpm, run, run_steps

VAR = 0.3
GRIDS = [log_snr_grid(5), log_snr_grid(8, -6.0, 9.0), np.linspace(-3, 7, 6)]
given_grid = pytest.mark.parametrize("grid", GRIDS, ids=len)
ALGEBRA = 1e-12  # float64, a dozen operations


@dataclass(frozen=True)
class Nudged:
    """An oracle whose prediction is too large by `e` at one `t`."""

    oracle: Oracle
    t: int
    e: float | np.ndarray
    num_classes: int = 1
    prediction: str = "eps"

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        return self.oracle(xt, t, y) + self.e * (t == self.t)


def one_class(var: float = VAR) -> GaussianMixture:
    return GaussianMixture(np.array([[1.0, -2.0]]), var * np.eye(2)[None], np.ones(1))


def path(model: Denoiser, grid: np.ndarray) -> dict[int, np.ndarray]:
    y = np.zeros(4, int)
    rng = np.random.default_rng(0)
    return dict(algorithm_2_steps(model, y, grid, 0.0, 0.3, rng))


def effect(grid: np.ndarray, k: int, e: float = 1e-3) -> dict[int, np.ndarray]:
    """By how much each state is too small, per unit, if eps is too large by `e` at level k."""
    model = Nudged(oracle_eps(one_class(), schedule_from(grid)), len(grid) - k, 0.0)
    right = path(model, grid)
    wrong = path(replace(model, e=e), grid)
    return {t: (right[t] - wrong[t]) / e for t in right}


def with_ends(grid: np.ndarray) -> list[tuple[float, float]]:
    """The two levels of each step; the data are the last level."""
    return list(pairwise([*grid.tolist(), np.inf]))


def row(name: str) -> list[float]:
    """The numbers of the row of a table of the text that begins with `name`."""
    (found,) = re.findall(rf"^\| {re.escape(name)} \|(.+)\|$", lesson.__doc__ or "", re.M)
    return [float(cell.replace(",", "")) for cell in found.split("|")]


@given_grid
def test_g_1_by_a_nudge(grid: np.ndarray) -> None:
    """The next state, on all rows and axes, is too small by this, and no state before it."""
    for k in range(len(grid) - 1):
        moved = effect(grid, k)
        t = len(grid) - k
        np.testing.assert_array_equal(moved[t], 0)
        wanted = sensitivity_of_step(float(grid[k]), float(grid[k + 1]))
        np.testing.assert_allclose(moved[t - 1], wanted, rtol=1e-6, atol=1e-9)


@given_grid
def test_g_1_by_the_posterior(grid: np.ndarray) -> None:
    """A guess that is too small by sigma / a, in the mean of step 16."""
    for here, there in with_ends(grid):
        low = np.array([-np.exp(-here / 2)])
        zero = np.zeros(1)
        moved = q_posterior_log_snr(low, zero, here, there).mean
        assert sensitivity_of_step(here, there) == pytest.approx(-moved[0], rel=1e-10)


@given_grid
def test_g_1_by_each_step(grid: np.ndarray) -> None:
    """The last guess of a chain of one level is too small by sigma / a times the error."""
    for level in grid:
        a, sigma = signal_noise(float(level))
        moved = effect(np.array([level]), 0)[0]
        # rounding: 1e-16 of z over a, divided by the error of 1e-3
        np.testing.assert_allclose(moved, sigma / a, rtol=1e-9, atol=1e-12)
        assert sigma / a == pytest.approx(np.exp(-level / 2), rel=ALGEBRA)


@given_grid
@pytest.mark.parametrize("e", [1e-3, 10.0])
def test_g_2_by_a_nudge(grid: np.ndarray, e: float) -> None:
    """The sample is too small by this, for a small error and for a large one."""
    for k, wanted in enumerate(sensitivities(VAR, grid)):
        np.testing.assert_allclose(effect(grid, k, e)[0], wanted, rtol=1e-5, atol=1e-9)


def test_g_2_by_several_errors() -> None:
    """The effects of errors at all levels add up."""
    grid = GRIDS[1]
    e = np.linspace(-1, 2, len(grid)) ** 3
    oracle = oracle_eps(one_class(), schedule_from(grid))

    @dataclass
    class Wrong:
        num_classes: int = 1
        prediction: str = "eps"

        def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
            return oracle(xt, t, y) + e[len(grid) - t]

    moved = path(Wrong(), grid)[0] - path(oracle, grid)[0]
    np.testing.assert_allclose(moved, -sensitivities(VAR, grid) @ e, rtol=1e-8)


@given_grid
def test_g_2_by_a_product_of_steps(grid: np.ndarray) -> None:
    """Appendix F's A, one step after another, from the next state to the sample."""
    steps = with_ends(grid)
    for k, found in enumerate(sensitivities(VAR, grid)):
        slopes = [step_of_z(0.0, VAR, 1.0, *ends, 0.0)[0] for ends in steps[k + 1 :]]
        wanted = sensitivity_of_step(*steps[k]) * np.prod(slopes)
        assert found == pytest.approx(wanted, rel=1e-8)
        assert remaining_factor(VAR, steps[k][1]) == pytest.approx(np.prod(slopes), rel=1e-8)


def noised_var(var: float, level: float) -> float:
    a, sigma = signal_noise(level)
    return float(a**2 * var + sigma**2)


@given_grid
def test_g_2_by_each_step(grid: np.ndarray) -> None:
    """The covariance of two states, the factor of one step, and the product of all later ones."""
    for here, there in with_ends(grid):
        a, _ = signal_noise(here)
        a_next, sigma_next = signal_noise(there)
        # z is a / a' times z' plus noise that is independent of z'.
        covariance = a / a_next * noised_var(VAR, there)
        # The same from the data and the noise: z' = a' x + sigma' eps, z = (a / a') z' + ...
        assert covariance == pytest.approx(
            a * a_next * VAR + a / a_next * sigma_next**2, rel=ALGEBRA
        )
        A = a / a_next * noised_var(VAR, there) / noised_var(VAR, here)
        slope, _ = step_of_z(0.0, VAR, 1.0, here, there, 0.0)
        assert slope == pytest.approx(A, rel=1e-9)
    product = 1.0
    quotients = 1.0  # the same factors, as the page writes them
    for here, there in reversed(with_ends(grid)):
        a, _ = signal_noise(here)
        a_next, _ = signal_noise(there)
        assert product == pytest.approx(quotients, rel=1e-9)
        quotients *= (a / a_next) * (noised_var(VAR, there) / noised_var(VAR, here))
        assert product == pytest.approx(a_next * VAR / noised_var(VAR, there), rel=1e-9)
        slope, _ = step_of_z(0.0, VAR, 1.0, here, there, 0.0)
        product *= slope


def test_g_2_by_the_example() -> None:
    """The numbers of the example, from the formulas and from Algorithm 2."""
    grid = log_snr_grid(16)
    (here, there), *_ = with_ends(grid)
    a, sigma = signal_noise(here)
    a_next, _ = signal_noise(there)
    delta = 1 - np.exp(here - there)
    assert there == pytest.approx(-4.50, abs=0.005)
    assert 0.01 * sigma / a == pytest.approx(220, abs=0.5)
    assert delta * a_next == pytest.approx(0.1046, abs=5e-5)
    assert 0.01 * sensitivity_of_step(here, there) == pytest.approx(23.0, abs=0.05)
    assert remaining_factor(0.25, there) == pytest.approx(0.0264, abs=5e-5)
    Gamma = sensitivities(0.25, grid)
    assert Gamma[0] == pytest.approx(60.7, abs=0.05)
    assert Gamma[1:].max() == pytest.approx(0.157, abs=5e-4)
    assert Gamma[-1] == pytest.approx(4.5e-5, abs=5e-7)
    model = Nudged(oracle_eps(one_class(0.25), schedule_from(grid)), 16, 0.0)
    moved = path(model, grid)[0] - path(replace(model, e=0.01), grid)[0]
    np.testing.assert_allclose(moved, 0.607, atol=5e-4)
    # half precision: half of the distance of two numbers between 1 and 2
    rounding = float(np.spacing(np.float16(1.5))) / 2
    assert rounding == 2.0**-11
    assert Gamma[0] * rounding == pytest.approx(0.030, abs=5e-4)


def test_g_2_by_its_boundaries() -> None:
    """One level; a narrow class; a wide class, where nothing is forgotten."""
    for level in (-5.0, 2.0):
        Gamma = sensitivities(VAR, np.array([level]))
        assert Gamma == pytest.approx([np.exp(-level / 2)], rel=ALGEBRA)
    grid = log_snr_grid(10, -8.0, 6.0)
    narrow = sensitivities(1e-8, grid)
    assert (narrow[:-1] < 1e-4).all()
    assert narrow[-1] == pytest.approx(np.exp(-3.0), rel=ALGEBRA)
    wide = sensitivities(1e8, grid)
    delta = np.append(1 - np.exp(-np.diff(grid)), 1)
    np.testing.assert_allclose(wide, delta * np.exp(-grid / 2), rtol=1e-5)


@pytest.mark.parametrize("T", [10, 30, 100])
def test_g_3_by_the_factor_itself(T: int) -> None:
    """From -24 all that is neglected is of the order of the squared angle, and of 0.5 %."""
    exact = sensitivities(VAR, log_snr_grid(T, -24.0))[0]
    angle = np.pi / (2 * (T - 1))
    assert first_sensitivity(VAR, -24.0, T) == pytest.approx(exact, rel=2 * angle**2 + 0.005)


def test_g_3_by_scaling() -> None:
    """Twice as many steps, a fourth; 2 log 2 later, a half; linear in the variance."""
    base = first_sensitivity(0.25, -20.0, 101)
    assert first_sensitivity(0.25, -20.0, 201) == pytest.approx(base / 4, rel=1e-12)
    assert first_sensitivity(0.25, -20.0 + 2 * np.log(2), 101) == pytest.approx(base / 2, rel=1e-12)
    assert first_sensitivity(0.5, -20.0, 101) == pytest.approx(2 * base, rel=1e-12)


@pytest.mark.parametrize("T", [8, 16, 100])
def test_g_3_by_each_step(T: int) -> None:
    """The factors that are close to 1, and the factor of the data at the second level.

    The angles of the two ends are off by 6e-6 (-24) and 4.5e-5 (20).
    """
    first, second = log_snr_grid(T, -24.0)[:2].tolist()
    _, sigma = signal_noise(first)
    a_next, _ = signal_noise(second)
    angle = np.pi / (2 * (T - 1))
    close_to_1 = [sigma, 1 - np.exp(first - second), noised_var(VAR, second)]
    np.testing.assert_allclose(close_to_1, 1, atol=1.01 * (1 - VAR) * angle**2)
    assert a_next == pytest.approx(np.cos(np.pi / 2 - angle), abs=2e-5)
    assert a_next == pytest.approx(np.sin(angle), abs=2e-5)
    assert np.sin(angle) == pytest.approx(angle, rel=angle**2 / 6)


def test_g_3_by_table_in_the_text() -> None:
    levels = [8, 16, 32, 64, 128, 256, 1024]
    Gamma = [sensitivities(0.25, log_snr_grid(T)) for T in levels]
    three_digits = 0.005  # half a unit of the last of three digits
    assert [g[0] for g in Gamma] == pytest.approx(row("first level, exact"), rel=three_digits)
    by_3 = [first_sensitivity(0.25, -20.0, T) for T in levels]
    assert by_3 == pytest.approx(row("first level by (G.3)"), rel=three_digits)
    others = [g[1:].sum() for g in Gamma]
    assert others == pytest.approx(row("all other levels together"), abs=0.0051)
    assert by_3[-1] / Gamma[-1][0] == pytest.approx(0.94, abs=0.005)
    many = sensitivities(0.25, log_snr_grid(5000))[0]
    assert first_sensitivity(0.25, -20.0, 5000) / many == pytest.approx(0.78, abs=0.005)


@pytest.mark.parametrize("var", [0.05, 0.25, 1.0, 2.0])
def test_g_4_by_sums(var: float) -> None:
    """The sum over 1000 and 2000 levels, and the limit to which the two point.

    The ends at -12 and 12 cut 2.5e-3 of the angle off at either end, of weight 2 and 2 S_y.
    """
    less, more = (sensitivities(var, log_snr_grid(T, -12.0, 12.0)).sum() for T in (1000, 2000))
    cut = 0.0025 * 2 * (1 + var)
    assert 2 * more - less == pytest.approx(total_sensitivity(var), abs=1.2 * cut)
    # in standard deviations of the class it is pi for every class
    assert total_sensitivity(var) / var**0.5 == pytest.approx(np.pi, rel=ALGEBRA)


@pytest.mark.parametrize("var", [0.05, 0.25, 1.0, 2.0])
def test_g_4_by_quadrature(var: float) -> None:
    """Over lambda: Gamma / d lambda is a sigma S_y / C_y."""

    def speed(x: float) -> float:
        a, sigma = signal_noise(x)
        return float(a * sigma * var / (a**2 * var + sigma**2))

    assert quad(speed, -40, 40, limit=200)[0] == pytest.approx(total_sensitivity(var), rel=1e-6)


def test_g_4_by_errors_that_depend_on_the_state() -> None:
    """No error is above 1: no sample moves by more than the sum, and some by half of it."""
    grid = log_snr_grid(200, -12.0, 12.0)
    oracle = oracle_eps(one_class(), schedule_from(grid))

    @dataclass(frozen=True)
    class Wrong:
        e: float
        num_classes: int = 1
        prediction: str = "eps"

        def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
            return oracle(xt, t, y) + self.e * np.cos(xt / 4)

    moved = np.abs(path(Wrong(1.0), grid)[0] - path(Wrong(0.0), grid)[0])
    total = sensitivities(VAR, grid).sum()
    assert total == pytest.approx(total_sensitivity(VAR), rel=0.05)
    assert (moved <= total).all() and moved.max() > total / 2


@pytest.mark.parametrize("var", [0.05, 0.25, 2.0])
def test_g_4_by_each_step(var: float) -> None:
    """A small step; the derivative of the angle; both integrals."""
    for level in (-3.0, 0.4, 5.0):
        a, sigma = signal_noise(level)
        d = 1e-5
        Gamma = sensitivities(var, np.array([level, level + d]))[0]
        # The next order is d times factors of order one.
        assert Gamma / d == pytest.approx(a * sigma * var / noised_var(var, level), rel=2 * d)
        omega = np.arctan2(sigma, a)
        low, high = (-2 * np.log(np.tan(omega + h)) for h in (-1e-6, 1e-6))
        slope = (high - low) / 2e-6  # a central difference; rounding leaves about 1e-9
        assert slope == pytest.approx(-2 / (np.sin(omega) * np.cos(omega)), rel=1e-6)
        assert slope == pytest.approx(-2 / (a * sigma), rel=1e-6)

    def over_angle(omega: float) -> float:
        return float(2 * var / (var * np.cos(omega) ** 2 + np.sin(omega) ** 2))

    by_angle, _ = quad(over_angle, 0, np.pi / 2)
    by_tangent, _ = quad(lambda h: 2 * var / (var + h**2), 0, np.inf)
    wanted = 2 * var**0.5 * (np.pi / 2)
    assert [by_angle, by_tangent] == pytest.approx([wanted, wanted], rel=1e-8)


@pytest.mark.parametrize("low", [-8.0, -2.0, 0.5])
def test_g_5_by_impulses(low: float) -> None:
    """Algorithm 2 with exact predictions and no noise ends at its mean."""

    class NoNoise:
        def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
            return np.zeros(size)

    grid = log_snr_grid(9, low)
    model = oracle_eps(one_class(), schedule_from(grid))
    x = algorithm_2(model, np.zeros(1, int), grid, 0.0, 0.3, NoNoise())
    wanted = (1 - missing_mean(VAR, low)) * np.array([[1.0, -2.0]])
    np.testing.assert_allclose(x, wanted, atol=1e-9)  # rounding of a table of alpha_bar
    # from the noised class, in the place of N(0, I), nothing is missing
    a, _ = signal_noise(low)

    class FromTheClass(NoNoise):
        first = True

        def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
            start = float(a) * np.array([[1.0, -2.0]]) if self.first else np.zeros(size)
            self.first = False
            return start

    x = algorithm_2(model, np.zeros(1, int), grid, 0.0, 0.3, FromTheClass())
    np.testing.assert_allclose(x, [[1.0, -2.0]], atol=1e-9)


def test_g_5_by_table_in_the_text() -> None:
    """The first sensitivity; the missing mean, also by the moments of appendix F; the variance."""
    for low in (-20.0, -12.0, -8.0, -6.0, -4.0, -2.0):
        grid = log_snr_grid(16, low)
        first, missing, variance = row(f"{low:g}")
        Gamma = sensitivities(0.25, grid)
        mean, V = moments_of_samples(1.0, 0.25, 1.0, grid, 0.0, 0.3)
        assert Gamma[0] == pytest.approx(first, rel=0.005)
        assert missing_mean(0.25, low) == pytest.approx(missing, rel=0.04)
        assert 1 - mean == pytest.approx(missing, rel=0.04)
        assert pytest.approx(variance, abs=5e-5) == V
        if low == -8.0:
            assert Gamma[0] == pytest.approx(0.199, abs=5e-4)
            assert Gamma[1:].max() == pytest.approx(0.156, abs=5e-4)
            assert signal_noise(-8.0)[1] / signal_noise(-8.0)[0] == pytest.approx(54.6, abs=0.05)
            assert pytest.approx(0.8, abs=0.02) == V / 0.25  # a fifth is lacking


@dataclass(frozen=True)
class Absurd:
    """An oracle whose prediction is a huge number of either sign at the first level."""

    oracle: Oracle
    t: int
    sign: float
    num_classes: int = 1
    prediction: str = "eps"

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        if t == self.t:
            return np.full_like(xt, self.sign * 1e6)
        return self.oracle(xt, t, y)


@given_grid
def test_g_6_by_two_absurd_predictions(grid: np.ndarray) -> None:
    """Guesses at the two ends of the interval reach the bound if nothing is clipped later."""
    c = 3.0
    model = oracle_eps(one_class(), schedule_from(grid))
    table = ddpm(schedule_from(grid))
    y = np.zeros(50, int)
    T = len(grid)
    ends: list[np.ndarray] = []
    for sign in (-1.0, 1.0):
        states = run_steps(Absurd(model, T, sign), y, table, 0.0, np.random.default_rng(0), c)
        next(states)
        _, second = next(states)
        ends.append(second)
    moved = (ends[0] - ends[1]) * remaining_factor(VAR, float(grid[1]))
    bound = clipped_bound(VAR, c, *grid[:2].tolist())
    np.testing.assert_allclose(moved, bound, rtol=1e-6)  # alpha_bar near 1 has 8 digits
    # With clipping in the later steps, too, no difference is larger.
    found = [
        run(Absurd(model, T, sign), y, table, 0.0, np.random.default_rng(0), c)
        for sign in (-1.0, 1.0)
    ]
    assert (np.abs(found[0] - found[1]) <= bound * (1 + 1e-6)).all()


@given_grid
def test_g_6_by_each_step(grid: np.ndarray) -> None:
    """The factor of the state in the exact guess; a clipped step increases no difference."""
    schedule = schedule_from(grid)
    model = oracle_eps(one_class(), schedule)
    z = np.linspace(-4, 4, 9)[:, None] * np.ones(2)
    y = np.zeros(len(z), int)
    for t, (here, there) in zip(range(len(grid), 0, -1), with_ends(grid), strict=True):
        a, sigma = signal_noise(here)
        guess = (z - sigma * model(z, t, y)) / a
        C_y = noised_var(VAR, here)
        wanted = a * VAR / C_y
        assert (1 - sigma**2 / C_y) / a == pytest.approx(wanted, rel=1e-6)
        np.testing.assert_allclose(np.diff(guess, axis=0), wanted, rtol=1e-6, atol=1e-9)
        free = np.diff(q_posterior_log_snr(z, guess, here, there).mean, axis=0)
        clipped = np.clip(guess, -1.5, 1.5)
        moved = np.diff(q_posterior_log_snr(z, clipped, here, there).mean, axis=0)
        assert (moved >= 0).all() and (moved <= free + 1e-12).all()


def test_g_6_by_numbers_in_the_text() -> None:
    """The bound takes the place of sigma / a times the error."""
    first, second = log_snr_grid(16)[:2].tolist()
    bound = clipped_bound(0.25, 4.0, first, second)
    assert bound == pytest.approx(0.022, abs=5e-4)
    Gamma = sensitivities(0.25, log_snr_grid(16))[0]
    assert bound == pytest.approx(8.0 * Gamma / np.exp(10.0), rel=1e-8)


@given_grid
def test_g_7_by_a_nudge(grid: np.ndarray) -> None:
    """A denoiser that predicts v, through the table of step 17 (which has v = 0)."""
    schedule = schedule_from(grid)
    eps = oracle_eps(one_class(), schedule)
    T = len(grid)

    @dataclass(frozen=True)
    class Velocity:
        e: float
        num_classes: int = 1
        prediction: str = "v"

        def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
            a, sigma = signal_noise(float(grid[T - t]))
            x = (xt - sigma * eps(xt, t, y)) / a
            return a * eps(xt, t, y) - sigma * x + self.e * (t == T)

    table = ddpm(schedule, prediction="v")
    y = np.zeros(3, int)
    states = [run_steps(Velocity(e), y, table, 0.0, np.random.default_rng(0)) for e in (0.0, 0.1)]
    for each in states:
        next(each)
    moved = (next(states[0])[1] - next(states[1])[1]) / 0.1
    wanted = sensitivity_of_step_to_v(*grid[:2].tolist())
    np.testing.assert_allclose(moved, wanted, rtol=1e-6)  # alpha_bar near 1 has 8 digits


@given_grid
def test_g_7_by_its_ratio_to_eps(grid: np.ndarray) -> None:
    """By the angle of step 5 an error e_v changes the guess as an error a e_v of eps does."""
    for here, there in with_ends(grid):
        a, _ = signal_noise(here)
        ratio = sensitivity_of_step_to_v(here, there) / sensitivity_of_step(here, there)
        assert ratio == pytest.approx(a, rel=1e-10)
    first, second = log_snr_grid(16)[:2].tolist()
    assert sensitivity_of_step_to_v(first, second) == pytest.approx(0.105, abs=5e-4)
    assert sensitivity_of_step(first, second) == pytest.approx(2303, abs=0.5)


def test_g_2_by_guidance() -> None:
    """With guidance the sensitivity is another one: two Gaussians, then three classes.

    The old text put the error of the mixture into (G.2). That would be 60.7 in all these cases.
    """
    grid = log_snr_grid(16)
    assert guided_sensitivity(0.25, 1.0, grid, 0.0) == pytest.approx(60.7, abs=0.05)
    assert guided_sensitivity(0.25, 1.0, grid, 1.0) == pytest.approx(12.7, abs=0.05)
    oracle = oracle_eps(three_gaussians(), schedule_from(grid))
    right = samples(oracle, grid, 1.0)
    found: dict[float, list[float]] = {}
    for e in (1e-4, 0.05):
        for direction in ([1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]):
            wrong = Nudged(oracle, 16, e * np.array(direction), num_classes=3)
            found.setdefault(e, []).append(distance(samples(wrong, grid, 1.0), right) / e)
    np.testing.assert_allclose(found[1e-4], 32, atol=0.5)
    assert [min(found[0.05]), max(found[0.05])] == pytest.approx([41, 48], abs=0.5)


@pytest.mark.parametrize("w", [0.7, 3.0])
def test_g_2_by_a_guided_nudge(w: float) -> None:
    """`guided_sensitivity` for two Gaussians, with their predictions by regression."""
    grid = GRIDS[1]
    T = len(grid)

    @dataclass(frozen=True)
    class Pair:
        e: float
        num_classes: int = 1
        prediction: str = "eps"

        def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
            a, sigma = signal_noise(float(grid[T - t]))
            var = np.where(y == 0, VAR, 1.1)[:, None]
            return sigma * xt / (a**2 * var + sigma**2) + self.e * (t == T)

    found = [path_of(Pair(e), grid, w) for e in (0.0, 0.1)]
    wanted = guided_sensitivity(VAR, 1.1, grid, w)
    np.testing.assert_allclose((found[0] - found[1]) / 0.1, wanted, rtol=1e-9)


def path_of(model: Denoiser, grid: np.ndarray, w: float) -> np.ndarray:
    return algorithm_2(model, np.zeros(3, int), grid, w, 0.3, np.random.default_rng(0))


# Another BLAS rounds sums differently, and 3,000 updates multiply such differences.
TRAINING = 0.15


@pytest.mark.slow
def test_g_3_by_table_of_a_network() -> None:
    """The errors of one trained network, and the distances of its samples."""
    params = trained(3000)
    error = error_length(params, -20.0)
    assert error == pytest.approx(0.054, rel=TRAINING)
    assert error_length(params, -20.0, 3.0) == pytest.approx(0.30, rel=TRAINING)
    loss = (errors_at(params, -20.0) ** 2).sum(1).mean()  # the lowest loss there is 1e-9
    assert loss == pytest.approx(0.004, rel=TRAINING)
    levels = [8, 16, 32, 64, 128, 256]
    expected = [error * sensitivities(0.25, log_snr_grid(T))[0] for T in levels]
    assert expected == pytest.approx(row("from -20, expected from the first error"), rel=TRAINING)
    for low in (-20.0, -8.0):
        found = [apart(params, T, low) for T in levels]
        assert found == pytest.approx(row(f"from {low:g}, measured"), rel=TRAINING)
    assert apart(params, 16, -20.0, 3.0) == pytest.approx(12.4, rel=TRAINING)
    assert apart(params, 16, -8.0, 3.0) == pytest.approx(0.25, rel=TRAINING)


@pytest.mark.slow
def test_g_6_by_a_network() -> None:
    """Clipping to -4..4 removes the displacement, and changes no sample of exact predictions."""
    params = trained(3000)
    grid = log_snr_grid(16)
    unclipped = apart_clipped(params, 16, -20.0, np.inf)
    assert unclipped == pytest.approx(2.36, rel=TRAINING)
    assert apart(params, 16, -20.0) == pytest.approx(
        unclipped, rel=2e-3
    )  # v = 0.3, "as in the table"
    assert apart_clipped(params, 16, -20.0, 4.0) == pytest.approx(0.035, rel=TRAINING)
    _, exact = both(params, grid)
    clipped = clipped_samples(exact, grid, 0.0, 4.0)
    np.testing.assert_array_equal(clipped, clipped_samples(exact, grid, 0.0, np.inf))


@pytest.mark.slow
@pytest.mark.exhaustive(one_in=6)
@pytest.mark.parametrize("seed", range(12))
def test_g_3_by_other_trainings(seed: int) -> None:
    """The ranges in the text, a little wider: another BLAS trains another network."""
    run = algorithm_1(three_gaussians(), 0.2, 3000, np.random.default_rng(seed))
    _, _, params = last(run)
    found = apart(params, 16, -20.0)
    expected = error_length(params, -20.0) * sensitivities(0.25, log_snr_grid(16))[0]
    assert 1.1 < found < 7.5
    assert 0.35 < found / expected < 2.5
    assert 0.022 < apart(params, 16, -8.0) < 0.040
