"""Step 13, part 1: fifty digits, Bayes, joint Gaussians, small steps, and step 4's own chain."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from mpmath import mp, mpf
from scipy.integrate import quad
from scipy.stats import kstest

from tutorial.step00_notation import Gaussian, Schedule, product
from tutorial.step03_marginal import q_xt_given_xs
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step08_sampling import dkw_bound
from tutorial.step13_process import (
    forward_var,
    log_snr_density,
    log_snr_grid,
    log_snr_of,
    map_ends,
    q_posterior_log_snr,
    schedule_from,
    signal_noise,
)

ALGEBRA = 1e-12  # float64, a few operations of order one
PAIRS = [(-20.0, -4.0), (-3.0, -2.9), (-1.0, 1.0), (0.5, 8.0), (2.0, 2.001), (5.0, 20.0)]
ENDS = [(-20.0, 20.0), (-6.0, 3.0), (1.0, 2.0)]
U = np.linspace(0, 1, 41)


@pytest.mark.parametrize("log_snr", [-1000.0, -20.0, -1.3, 0.0, 4.0, 20.0, 1000.0])
def test_13_1_by_fifty_digits(log_snr: float) -> None:
    """Both to 1e-14 of themselves, also where they are 1e-217: nothing is rounded to 0 or 1."""
    with mp.workdps(50):
        exact = [1 / mp.sqrt(1 + mp.exp(sign * mpf(log_snr))) for sign in (-1, 1)]
        for found, wanted in zip(signal_noise(log_snr), exact, strict=True):
            # Half of log_snr goes through exp: its rounding, 500 times 1e-16, is relative there.
            assert abs(mpf(float(found)) / wanted - 1) < 1e-13


def test_13_1_by_its_log_ratio() -> None:
    log_snr = np.linspace(-30, 30, 61)
    a, sigma = signal_noise(log_snr)
    np.testing.assert_allclose(2 * np.log(a / sigma), log_snr, atol=ALGEBRA)
    np.testing.assert_allclose(a**2 + sigma**2, 1, atol=ALGEBRA)


def test_13_1_by_both_ends() -> None:
    """Data at one end, noise at the other, exactly; no overflow on the way."""
    assert signal_noise(np.inf) == (1, 0)
    assert signal_noise(-np.inf) == (0, 1)


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_13_2_by_small_steps(here: float, there: float) -> None:
    """A thousand small steps, variances added as in step 2, are the one step."""
    path = np.linspace(there, here, 1001)
    var = 0.0
    for late, early in pairwise(path):
        k = signal_noise(early)[0] / signal_noise(late)[0]
        var = float(k**2 * var + forward_var(early, late))
    assert forward_var(here, there) == pytest.approx(var, rel=1e-10)  # a thousand roundings


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_13_2_by_step_3(here: float, there: float) -> None:
    """The same two noise levels as t = 1 and 2 of a schedule, and its stride between them."""
    beta = [0, 1 / (1 + np.exp(there)), 1 - (1 + np.exp(-there)) / (1 + np.exp(-here))]
    law = q_xt_given_xs(np.ones(2), 1, 2, Schedule(np.array(beta)))
    a, _ = signal_noise(here)
    a_next, _ = signal_noise(there)
    np.testing.assert_allclose(law.mean, a / a_next, rtol=1e-7, atol=1e-9)  # 1 - beta loses digits
    np.testing.assert_allclose(law.var, forward_var(here, there), atol=ALGEBRA)


def test_13_2_by_simulation() -> None:
    """From -1 the process goes on to -2: there, variance, signal and noise are its marginal's.

    200,000 draws (seed 0), 5 standard errors.
    """
    rng = np.random.default_rng(0)
    n = 200_000
    x, eps, new = rng.standard_normal((3, n))
    a, sigma = signal_noise(-2.0)
    a_next, sigma_next = signal_noise(-1.0)
    k = a / a_next
    z = k * (a_next * x + sigma_next * eps) + np.sqrt(forward_var(-2.0, -1.0)) * new
    assert abs(np.mean(x * z) - a) < 5 * (x * z).std() / n**0.5
    rest = z - a * x
    assert abs(rest.var() - sigma**2) < 5 * sigma**2 * (2 / n) ** 0.5


def x0_and_z() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((2, 30, 2))


def by_bayes(here: float, there: float) -> Gaussian:
    """(13.2), read in `z'`, times the marginal of `z'`: a product of step 0."""
    x0, z = x0_and_z()
    a, _ = signal_noise(here)
    a_next, sigma_next = signal_noise(there)
    k = a / a_next
    back = Gaussian(z / k, float(forward_var(here, there) / k**2))
    return product(back, Gaussian(a_next * x0, float(sigma_next**2)))


def by_regression(here: float, there: float) -> Gaussian:
    """Given x, `z` and `z'` are jointly Gaussian, of covariance `k sigma'^2`: regress."""
    x0, z = x0_and_z()
    a, sigma = signal_noise(here)
    a_next, sigma_next = signal_noise(there)
    slope = a / a_next * sigma_next**2 / sigma**2
    var = sigma_next**2 - slope * a / a_next * sigma_next**2
    return Gaussian(a_next * x0 + slope * (z - a * x0), float(var))


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_13_3_by_bayes(here: float, there: float) -> None:
    found = q_posterior_log_snr(*x0_and_z(), here, there).mean
    # At -20, z / k is 1e4 and its weight 1e-8: both exact to 1e-16 of themselves.
    np.testing.assert_allclose(found, by_bayes(here, there).mean, rtol=1e-10, atol=ALGEBRA)


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_13_3_by_regression(here: float, there: float) -> None:
    found = q_posterior_log_snr(*x0_and_z(), here, there).mean
    np.testing.assert_allclose(found, by_regression(here, there).mean, rtol=1e-10, atol=ALGEBRA)


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_13_4_by_bayes(here: float, there: float) -> None:
    found = q_posterior_log_snr(*x0_and_z(), here, there).var
    assert found == pytest.approx(by_bayes(here, there).var, rel=1e-10)


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_13_4_by_regression(here: float, there: float) -> None:
    """(A difference of two numbers of the size of sigma'^2, hence an absolute error.)"""
    found = q_posterior_log_snr(*x0_and_z(), here, there).var
    assert found == pytest.approx(by_regression(here, there).var, abs=ALGEBRA)


@pytest.mark.parametrize("here", [-20.0, 0.0, 20.0])
def test_13_3_by_a_step_to_data(here: float) -> None:
    """At the end of all steps the state is x."""
    law = q_posterior_log_snr(*x0_and_z(), here, np.inf)
    np.testing.assert_allclose(law.mean, x0_and_z()[0], atol=1e-15)
    assert law.var == 0


@pytest.mark.parametrize("T", [2, 16, 128])
@pytest.mark.parametrize("ends", [(-20.0, 20.0), (-6.0, 8.0)])
def test_13_5_by_coefficients_of_step_4(T: int, ends: tuple[float, float]) -> None:
    """c_0, c_t and the variance of the discrete chain are the ones in log SNR, to 1e-12.

    (Step 4 divides by 1 - alpha_bar, of which 1e-16 is lost: 1e-12 is reached where that is above
    1e-4, which is everywhere but at t = 1, and there they are exact.)
    """
    grid = log_snr_grid(T, *ends)
    x0, z = np.eye(2)
    schedule = schedule_from(grid)
    assert schedule.T == T
    for t in range(2, T + 1):
        law = q_posterior_log_snr(x0, z, float(grid[T - t]), float(grid[T - t + 1]))
        found = posterior_coefficients(t, schedule)
        np.testing.assert_allclose(found, [*law.mean, law.var], atol=1e-12)
    assert posterior_coefficients(1, schedule) == (1, 0, 0)


@pytest.mark.parametrize("T", [1, 2, 16, 1024])
def test_13_5_by_alpha_bar(T: int) -> None:
    """Its running product is a_lambda^2, noisiest last; T roundings, each 1e-16 of 1."""
    grid = log_snr_grid(T, -20.0, 12.0)
    schedule = schedule_from(grid)
    np.testing.assert_allclose(schedule.alpha_bar[1:], 1 / (1 + np.exp(-grid[::-1])), atol=1e-13)
    np.testing.assert_allclose(schedule.log_snr[1:], grid[::-1], atol=1e-7)
    assert schedule.alpha_bar[0] == 1 and (np.diff(schedule.alpha_bar) < 0).all()


def test_13_5_by_a_short_grid() -> None:
    """By hand: SNRs of 1/3, 1 and 3 are alpha_bar of 1/4, 1/2 and 3/4."""
    schedule = schedule_from(np.log([1 / 3, 1.0, 3.0]))
    np.testing.assert_allclose(schedule.beta, [0, 1 / 4, 1 / 3, 1 / 2], atol=1e-15)


@pytest.mark.parametrize("ends", ENDS)
def test_13_6_by_its_ends(ends: tuple[float, float]) -> None:
    low, high = ends
    # The tangent of nearly a right angle: 1e-16 of the angle is 1e-16 e^10 of it at -20.
    assert log_snr_of(1.0, low, high) == pytest.approx(low, abs=1e-11)
    assert log_snr_of(0.0, low, high) == pytest.approx(high, abs=1e-11)


@pytest.mark.parametrize("ends", ENDS)
def test_13_6_by_its_inverse(ends: tuple[float, float]) -> None:
    """The arctangent of sigma / a runs evenly, and all the way from end to end."""
    angle = np.arctan(np.exp(-np.asarray(log_snr_of(U, *ends)) / 2))
    first, last = np.arctan(np.exp(-np.array(ends[::-1]) / 2))
    np.testing.assert_allclose(angle, first + (last - first) * U, atol=1e-14)


def test_13_6_by_symmetry() -> None:
    """With ends -l and l the map is odd around u = 1/2."""
    log_snr = np.asarray(log_snr_of(U))
    np.testing.assert_allclose(log_snr, -log_snr[::-1], atol=1e-11)
    assert log_snr[20] == pytest.approx(0, abs=ALGEBRA)


@pytest.mark.parametrize("T", [1, 2, 5, 100])
def test_13_6_by_the_grid(T: int) -> None:
    """From the low end up, at uniformly spaced u; one value is the low end."""
    grid = log_snr_grid(T, -6.0, 3.0)
    assert grid.shape == (T,) and (np.diff(grid) > 0).all()
    assert grid[0] == pytest.approx(-6, abs=ALGEBRA)
    if T > 1:
        assert grid[-1] == pytest.approx(3, abs=ALGEBRA)
        gaps = np.diff(np.arctan(np.exp(-grid / 2)))
        np.testing.assert_allclose(gaps, gaps[0], atol=1e-14)


@pytest.mark.parametrize("ends", ENDS)
def test_13_7_by_signal_noise(ends: tuple[float, float]) -> None:
    a, b = map_ends(*ends)
    signal, noise = signal_noise(log_snr_of(U, *ends))
    np.testing.assert_allclose(signal, np.cos(a * U + b), atol=ALGEBRA)
    np.testing.assert_allclose(noise, np.sin(a * U + b), atol=ALGEBRA)


@pytest.mark.parametrize("ends", ENDS)
def test_13_7_by_a_rotation(ends: tuple[float, float]) -> None:
    """As u grows, (a, sigma) turns at the speed of the whole angle: finite differences, h = 1e-5.

    The error is h^2 and 1e-16 / h, about 1e-10.
    """
    u = U[1:-1]
    h = 1e-5
    up, down = (signal_noise(log_snr_of(u + s, *ends)) for s in (h, -h))
    signal, noise = signal_noise(log_snr_of(u, *ends))
    whole = np.subtract(*np.arctan(np.exp(-np.array(ends) / 2)))
    np.testing.assert_allclose((up[0] - down[0]) / (2 * h), -whole * noise, atol=1e-9)
    np.testing.assert_allclose((up[1] - down[1]) / (2 * h), whole * signal, atol=1e-9)


def test_13_7_by_the_cosine_schedule() -> None:
    """Nichol and Dhariwal's, at s = 0 and without its cap, is the map with ends at infinity."""
    t = np.arange(1, 50)
    abar = np.cos(t / 50 * np.pi / 2) ** 2
    far = schedule_from(log_snr_grid(51, -30.0, 30.0))
    np.testing.assert_allclose(far.alpha_bar[1:][t], abar, atol=1e-6)  # e^-15 short of the ends


@pytest.mark.parametrize("ends", ENDS)
def test_13_8_by_quadrature(ends: tuple[float, float]) -> None:
    """It is a density on its interval, 0 outside, and its integral from x up is the u of x."""
    low, high = ends

    def density(x: float) -> float:
        return float(log_snr_density(np.array([x]), low, high)[0])

    assert quad(density, low, high, limit=200)[0] == pytest.approx(1, abs=1e-9)
    assert density(low - 0.1) == density(high + 0.1) == 0
    for u in (0.1, 0.5, 0.8):
        x = float(log_snr_of(u, low, high))
        assert quad(density, x, high, limit=200)[0] == pytest.approx(u, abs=1e-9)


@pytest.mark.parametrize("ends", ENDS)
def test_13_8_by_slope_of_the_map(ends: tuple[float, float]) -> None:
    """Draws lie thick where the map is flat: the density is 1 over its slope (h = 1e-6)."""
    u = U[1:-1]
    h = 1e-6
    above, here, below = (np.asarray(log_snr_of(u + s, *ends)) for s in (h, 0.0, -h))
    # h^2 times a third derivative of up to 1e5, near the ends; 1e-15 / h
    np.testing.assert_allclose(
        log_snr_density(here, *ends), 2 * h / (below - above), rtol=1e-6, atol=1e-9
    )


def test_13_8_by_draws() -> None:
    """50,000 draws (seed 0) against the integral of the density; one false alarm in a million.

    A uniform lambda, or one of the logistic density that a uniform alpha_bar has, is refused.
    """
    n = 50_000
    rng = np.random.default_rng(0)
    x = np.linspace(-20, 20, 8001)
    density = log_snr_density(x)
    cdf = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))])

    def strays(draws: np.ndarray) -> float:
        return float(kstest(draws, lambda v: np.interp(v, x, cdf)).statistic)

    u = rng.random(n)
    assert strays(np.asarray(log_snr_of(u))) < dkw_bound(n, 1e-6)
    assert strays(20 - 40 * u) > 4 * dkw_bound(n, 1e-6)
    assert strays(np.log(u / (1 - u))) > 4 * dkw_bound(n, 1e-6)
    half = 2 * np.log(1 + np.sqrt(2))
    assert quad(lambda v: log_snr_density(np.array([v]))[0], -half, half)[0] == pytest.approx(
        0.5,
        abs=1e-4,  # the ends cut 6e-5 of the angle off
    )


@pytest.mark.parametrize(("here", "there"), [(1.0, 1.0), (2.0, -1.0), (np.inf, np.inf)])
def test_13_2_by_refusal_of_a_wrong_order(here: float, there: float) -> None:
    with pytest.raises(ValueError, match=f"log_snr = {here} is not below log_snr_next = {there}"):
        forward_var(here, there)
    with pytest.raises(ValueError, match=f"log_snr = {here} is not below"):
        q_posterior_log_snr(np.zeros((1, 2)), np.zeros((1, 2)), here, there)


@pytest.mark.parametrize("grid", [[], [1.0, 0.0], [0.0, 0.0], [0.0, np.nan], [20.0, 5.0, -20.0]])
def test_13_5_by_refusal_of_a_falling_grid(grid: list[float]) -> None:
    with pytest.raises(ValueError, match="increasing values are needed, at least one"):
        schedule_from(np.array(grid))


@pytest.mark.parametrize("u", [-0.01, 1.01, np.nan, np.array([0.5, 2.0])])
def test_13_6_by_refusal_of_u(u: float | np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"u = .* is outside 0\.\.1"):
        log_snr_of(u)


@pytest.mark.parametrize(
    ("low", "high"), [(1.0, 1.0), (20.0, -20.0), (-np.inf, 20.0), (0.0, np.inf), (np.nan, 1.0)]
)
def test_13_6_by_refusal_of_ends(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=f"low = {low}, high = {high}: finite ends are needed"):
        log_snr_grid(3, low, high)


@pytest.mark.parametrize("T", [0, -1, 2.5])
@pytest.mark.usefixtures("unchecked")
def test_13_6_by_refusal_of_T(T: int) -> None:
    with pytest.raises(ValueError, match=f"T = {T}: a grid needs a whole number of values"):
        log_snr_grid(T)


def test_13_7_by_the_default_ends() -> None:
    """At -20 and 20, within 1e-9: the tangent near a right angle loses 1e-16 over 4.5e-5."""
    np.testing.assert_allclose(log_snr_grid(2), [-20, 20], rtol=0, atol=1e-9)
