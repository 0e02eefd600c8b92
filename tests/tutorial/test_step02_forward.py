"""Step 2 by two routes per equation: exact arithmetic, published numbers, chains, quadrature."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.stats
import sympy
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import kstest, norm

from tutorial.step02_forward import (
    Gaussian,
    Schedule,
    distance_from_one,
    forward_chain,
    moments_after,
    neighbour_correlation,
    q_xt_given_xprev,
    variance_of_xt,
)

BOTH = pytest.mark.parametrize("make", [Schedule.linear, Schedule.cosine])
LENGTHS = pytest.mark.parametrize("T", [1, 2, 10, 4000])
ROUNDING = 1e-15  # one or two float64 operations on numbers up to 1
# 4000 multiplications of numbers below 1, each rounded by at most 1.1e-16.
ITERATED = 1e-12
N_CHAINS = 400_000


@pytest.fixture(scope="module")
def chains() -> tuple[np.ndarray, np.ndarray]:
    """`(x_0, x_4)` of 400,000 chains on `linear(10)`; x_0 is a fair +-1, of variance 1 (seed 0)."""
    schedule = Schedule.linear(10)
    rng = np.random.default_rng(0)
    x0 = rng.choice([-1.0, 1.0], N_CHAINS)
    x = x0
    for t in range(1, 5):
        step = np.sqrt(schedule.beta[t]) * rng.standard_normal(N_CHAINS)
        x = np.sqrt(1 - schedule.beta[t]) * x + step
    return x0, x


@BOTH
def test_2_6_by_exact_fractions(make: Callable[[int], Schedule]) -> None:
    schedule = make(1000)
    exact = [float(1 - Fraction(float(beta))) for beta in schedule.beta]
    np.testing.assert_array_equal(schedule.alpha, exact)  # both correctly rounded: no difference


@BOTH
def test_2_6_by_ratio_of_what_is_left(make: Callable[[int], Schedule]) -> None:
    """What one step keeps is what is left after it over what was left before."""
    schedule = make(1000)
    ratio = schedule.alpha_bar[1:] / schedule.alpha_bar[:-1]
    np.testing.assert_allclose(schedule.alpha[1:], ratio, rtol=ROUNDING)


@BOTH
def test_2_7_by_exact_product(make: Callable[[int], Schedule]) -> None:
    """The product over the same float64 table, in rational arithmetic."""
    schedule = make(100)
    kept = Fraction(1)
    for t in range(1, 101):
        kept *= 1 - Fraction(float(schedule.beta[t]))
        assert schedule.alpha_bar[t] == pytest.approx(float(kept), rel=ITERATED)


def test_2_7_by_variance_of_chains(chains: tuple[np.ndarray, np.ndarray]) -> None:
    """Of the variance of x_4, 1 in all, x_0 explains alpha_bar; the rest is its noise."""
    x0, x = chains
    slope = (x0 @ x) / (x0 @ x0)
    error = np.std(x - slope * x0) / np.sqrt(N_CHAINS)
    abar = Schedule.linear(10).alpha_bar[4]
    noise = np.var(x - slope * x0)
    assert abs(slope - np.sqrt(abar)) < 4.5 * error
    assert abs(noise - (1 - abar)) < 4.5 * (1 - abar) * np.sqrt(2 / N_CHAINS)


@LENGTHS
@BOTH
def test_2_7_by_finite_tables(make: Callable[[int], Schedule], T: int) -> None:
    """Nothing underflows, and every step loses signal; t = 1 and t = T are the ends of the rows."""
    schedule = make(T)
    assert schedule.T == T
    for table in (schedule.beta, schedule.alpha, schedule.alpha_bar, schedule.log_snr):
        assert table.shape == (T + 1,)
        assert np.isfinite(table[1:]).all()
    assert schedule.alpha_bar[T] > 0
    assert (np.diff(schedule.alpha_bar) < 0).all()
    assert (np.diff(schedule.log_snr) < 0).all()


@LENGTHS
@BOTH
def test_2_10_by_inverting_it(make: Callable[[int], Schedule], T: int) -> None:
    """The logistic function of lambda, and of minus lambda, are the two shares."""
    schedule = make(T)
    np.testing.assert_allclose(expit(schedule.log_snr), schedule.alpha_bar, rtol=ITERATED)
    # 1 - alpha_bar is at least 1e-6 here (cosine, T = 4000): 1.1e-16 of rounding is 1e-10 of it.
    np.testing.assert_allclose(expit(-schedule.log_snr), 1 - schedule.alpha_bar, rtol=1e-9)


@BOTH
def test_2_10_by_fifty_digits(make: Callable[[int], Schedule]) -> None:
    """From beta by mpmath, where 1 - alpha_bar loses nothing even at t = 1 of 4000."""
    schedule = make(4000)
    with mpmath.workdps(50):
        kept = mpmath.mpf(1)
        for t in range(1, 4001):
            kept *= 1 - mpmath.mpf(float(schedule.beta[t]))
            if t in (1, 2, 2000, 3999, 4000):
                exact = float(mpmath.log(kept) - mpmath.log(1 - kept))
                assert schedule.log_snr[t] == pytest.approx(exact, abs=1e-9)  # as above


def test_2_11_by_published_ends() -> None:
    """Ho et al. 2020, sec. 4: T = 1000, from 1e-4 to 0.02, in equal steps."""
    beta = Schedule.linear(1000).beta
    assert beta[[1, 1000]] == pytest.approx([1e-4, 0.02], abs=ROUNDING)
    np.testing.assert_allclose(np.diff(beta[1:], 2), 0, atol=1e-17)  # rounding of 0.02: 3e-18


def test_2_11_by_published_prior_loss() -> None:
    """The same section: about 1e-5 bits a dimension are left at T, for data scaled to [-1, 1]."""
    abar = Schedule.linear(1000).alpha_bar[1000]
    noise = Gaussian(np.zeros(1), 1.0)
    end = Gaussian(np.sqrt(abar) * np.array([0.5]), 1 - abar)

    def integrand(x: float) -> float:
        at = np.array([x])
        return float(np.exp(end.log_density(at)) * (end.log_density(at) - noise.log_density(at)))

    bits = quad(integrand, -10, 10, epsabs=1e-12)[0] / np.log(2)
    assert bits == pytest.approx(1e-5, rel=0.5)  # "about", and x_0 is between 0 and 1 in size


@pytest.mark.parametrize("T", [21, 50, 1000, 4000])
def test_2_11_by_arithmetic_series(T: int) -> None:
    """Half the number of terms times the sum of the ends: 10.05, whatever T."""
    assert Schedule.linear(T).beta.sum() == pytest.approx(10.05, abs=ITERATED)


@pytest.mark.parametrize(
    ("T", "end", "digit"),
    [(1000, 4.0e-5, 0.05e-5), (100, 2.0e-5, 0.05e-5), (21, 8.0e-9, 0.05e-9)],
)
def test_2_11_by_the_ends_of_chains(T: int, end: float, digit: float) -> None:
    """Equal sums do not mean equal ends: the numbers in the text, below the common bound."""
    abar = Schedule.linear(T).alpha_bar[T]
    assert abs(abar - end) < digit
    assert abar < np.exp(-10.05)


def test_2_10_by_the_ends_of_both_schedules() -> None:
    """The last log SNR at T = 1000, to the digit in the text."""
    assert Schedule.linear(1000).log_snr[-1] == pytest.approx(-10.1, abs=0.05)
    assert Schedule.cosine(1000).log_snr[-1] == pytest.approx(-19.8, abs=0.05)


def test_2_11_by_steps_in_nearly_pure_noise() -> None:
    """At T = 1000, more than 99 % noise in the last 327 steps; half after a quarter of them."""
    abar = Schedule.linear(1000).alpha_bar
    assert (abar < 0.01).sum() == 327
    assert np.argmax(abar < 0.5) == pytest.approx(250, abs=25)  # "about"
    cosine = Schedule.cosine(1000).alpha_bar
    assert (cosine < 0.01).sum() == 65
    assert np.argmax(cosine < 0.5) == pytest.approx(500, abs=5)


def test_2_11_by_capped_short_chains() -> None:
    """Above T = 20 nothing is capped, from 2 to 20 the last step is, T = 1 is one small step."""
    assert Schedule.linear(21).beta.max() == pytest.approx(20 / 21, abs=ROUNDING)
    assert [Schedule.linear(T).beta[T] for T in range(2, 21)] == [0.999] * 19
    assert Schedule.linear(1).beta[1] == pytest.approx(0.1, abs=ROUNDING)


def test_2_12_by_definition() -> None:
    """alpha_bar from the definition at 50 digits; the code multiplies ratios of neighbours."""
    schedule = Schedule.cosine(4000)

    def f(t: int) -> Any:
        share = (mpmath.mpf(t) / 4000 + mpmath.mpf("0.008")) / mpmath.mpf("1.008")
        return mpmath.cos(share * mpmath.pi / 2) ** 2

    with mpmath.workdps(50):
        for t in (1, 2, 1000, 2000, 3900):
            # cos^2 near its zero turns 1e-16 of angle into 1e-14 of itself.
            assert schedule.alpha_bar[t] == pytest.approx(float(f(t) / f(0)), rel=ITERATED)


@pytest.mark.parametrize("T", [10, 1000])
def test_2_12_by_equal_angles(T: int) -> None:
    """The amplitude is a cosine whose angle moves evenly and would be a right angle at T."""
    start = np.pi / 2 * 0.008 / 1.008
    angle = np.arccos(np.cos(start) * np.sqrt(Schedule.cosine(T).alpha_bar[:T]))
    np.testing.assert_allclose(np.diff(angle), np.diff(angle).mean(), rtol=1e-9)
    # arccos near 1, at t = 0, has half the digits: 1e-16 / 0.0125.
    assert angle[0] == pytest.approx(start, abs=1e-13)
    assert angle[-1] + np.diff(angle).mean() == pytest.approx(np.pi / 2, abs=1e-9)


def test_2_12_by_the_offset() -> None:
    """The angle begins at 0.7 degrees; without the offset the first step of 1000 is 2.5e-6."""
    assert np.rad2deg(0.008 / 1.008 * np.pi / 2) == pytest.approx(0.7, abs=0.05)
    assert 1 - np.cos(np.pi / 2000) ** 2 == pytest.approx(2.5e-6, abs=0.05e-6)
    schedule = Schedule.cosine(1000)
    assert schedule.beta[1] == pytest.approx(4.1e-5, abs=0.05e-5)
    assert np.sqrt(schedule.beta[1]) == pytest.approx(0.0064, abs=5e-5)
    assert np.sqrt(schedule.beta[1]) < 1 / 127.5
    assert schedule.beta[999] == pytest.approx(0.75, abs=5e-3)
    assert schedule.alpha_bar[1000] == pytest.approx(2.4e-9, abs=0.05e-9)


@LENGTHS
def test_2_12_by_capped_last_step(T: int) -> None:
    """Nichol and Dhariwal cap beta at 0.999; without it the last step would keep 1e-33."""
    beta = Schedule.cosine(T).beta
    assert beta[T] == 0.999
    assert (beta[:T] < 0.999).all()


def test_2_2_by_scipy() -> None:
    rng = np.random.default_rng(1)
    mean, x = rng.standard_normal((2, 7, 3))
    ours = Gaussian(mean, 0.37).log_density(x)
    theirs = scipy.stats.norm.logpdf(x, mean, np.sqrt(0.37)).sum(-1)
    np.testing.assert_allclose(ours, theirs, rtol=ITERATED)


def test_2_2_by_quadrature() -> None:
    """Mass 1 and variance v in each of two dimensions, over ten deviations each way.

    Sums of a Gaussian over a grid of a third of a deviation are exact to rounding.
    """
    mean = np.array([0.4, -1.0])
    var = 0.09
    axis = np.linspace(-3, 3, 61)
    x = mean + np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    density = np.exp(Gaussian(np.broadcast_to(mean, x.shape), var).log_density(x))
    assert density.sum() * 0.1**2 == pytest.approx(1, abs=ITERATED)
    second = np.einsum("ab,abi,abj->ij", density, x - mean, x - mean) * 0.1**2
    np.testing.assert_allclose(second, var * np.eye(2), atol=ITERATED)


def test_2_2_by_entropy_of_samples() -> None:
    """Minus the mean log density of 200,000 draws in 2-D is the law's entropy (seed 6)."""
    n = 200_000
    var = 0.6
    g = Gaussian(np.tile([3.0, -2.0], (n, 1)), var)
    x = g.sample(np.random.default_rng(6))
    # The square over v is chi-squared with 2 degrees: its half has variance 1.
    found = -np.mean(g.log_density(x))
    assert abs(found - np.log(2 * np.pi * np.e * var)) < 4.5 / np.sqrt(n)
    assert (np.abs(x.mean(0) - [3.0, -2.0]) < 4.5 * np.sqrt(var / n)).all()


def test_2_2_by_refusal_of_what_has_no_density() -> None:
    point = Gaussian(np.ones(2), 0.0)
    np.testing.assert_array_equal(point.sample(np.random.default_rng(0)), np.ones(2))
    for var in (0.0, -1e-3, np.nan):
        with pytest.raises(ValueError, match=f"var = {var} has no density"):
            Gaussian(np.ones(2), var).log_density(np.ones(2))


@LENGTHS
@BOTH
def test_2_14_by_table(make: Callable[[int], Schedule], T: int) -> None:
    schedule = make(T)
    assert (schedule.beta[0], schedule.alpha[0], schedule.alpha_bar[0]) == (0, 1, 1)
    assert schedule.log_snr[0] == np.inf


@LENGTHS
@BOTH
def test_2_14_by_undoing_the_first_step(make: Callable[[int], Schedule], T: int) -> None:
    """Dividing alpha_bar_1 by what step 1 kept leads back to a share of one, and no noise."""
    schedule = make(T)
    before = expit(schedule.log_snr[1]) / (1 - schedule.beta[1])
    assert before == pytest.approx(schedule.alpha_bar[0], abs=ROUNDING)
    assert np.exp(-schedule.log_snr[0]) == 0


@pytest.mark.parametrize("T", [0, -1, 2.5])
@BOTH
@pytest.mark.usefixtures("unchecked")
def test_2_14_by_refusal_of_no_steps(make: Callable[[int], Schedule], T: int) -> None:
    with pytest.raises(ValueError, match=f"T = {T}: a schedule needs a whole number of steps"):
        make(T)


@pytest.mark.parametrize(
    ("beta", "message"),
    [
        ([0.0], "it must be 0 at t = 0, with a step"),
        ([0.1, 0.2], "it must be 0 at t = 0, with a step"),
        ([0.0, 0.1, 1.0], r"beta\[1:\] has \[1.\], outside \(0, 1\)"),
        ([0.0, 0.0, 0.1], r"beta\[1:\] has \[0.\], outside"),
        ([0.0, 0.1, np.nan, -1.0], r"beta\[1:\] has \[nan -1.\], outside"),
    ],
)
def test_2_14_by_refusal_of_a_wrong_table(beta: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(np.array(beta))


def test_2_14_by_refusal_of_wrong_t() -> None:
    schedule = Schedule.cosine(10)
    assert [schedule.check_t(t) for t in (1, 10)] == [1, 10]
    assert schedule.check_t(0, first=0) == 0
    for t, first in ((0, 1), (11, 1), (-1, 0), (-1, 1)):
        with pytest.raises(ValueError, match=f"t = {t} is outside {first}..10"):
            schedule.check_t(t, first)


SCHEDULE = Schedule.linear(10)
ALGEBRA = 1e-12  # float64, a handful of operations of order one: a thousand roundings of room
N = 200_000


def drawn(xprev: float, t: int, seed: int) -> np.ndarray:
    """`N` draws of x_t after the same x_{t-1}."""
    rng = np.random.default_rng(seed)
    return q_xt_given_xprev(np.full((N, 1), xprev), t, SCHEDULE).sample(rng)[:, 0]


def uniform_after(t: int) -> tuple[float, float]:
    """Mean and variance of x_t by quadrature, for x_{t-1} uniform on [0, 2]: no Gaussian there."""
    outer, share = np.polynomial.legendre.leggauss(8)  # exact for these polynomials
    laws = [q_xt_given_xprev(np.array([x]), t, SCHEDULE) for x in 1 + outer]
    inner, mass = np.polynomial.hermite_e.hermegauss(8)
    after = np.array([law.mean[0] + np.sqrt(law.var) * inner for law in laws])
    weight = np.outer(share / 2, mass / np.sqrt(2 * np.pi))
    mean = (weight * after).sum()
    return mean, (weight * after**2).sum() - mean**2


@pytest.mark.parametrize("t", [1, 5, 10])
def test_2_1_by_the_draws_own_law(t: int) -> None:
    """Kolmogorov-Smirnov against beta from the definition (2.11): a false alarm in 1 of 10^4."""
    beta = min(100 * (1e-4 + (0.02 - 1e-4) * (t - 1) / 9), 0.999)
    test = kstest(drawn(1.3, t, seed=t), norm((1 - beta) ** 0.5 * 1.3, beta**0.5).cdf)
    assert test.pvalue > 1e-4


@pytest.mark.parametrize("beta", [0.1, 0.36, 0.999])
def test_2_1_by_each_step(beta: float) -> None:
    """Of all factors, the one of the step keeps a variance of 1; the two wrong ones do not."""
    schedule = Schedule(np.array([0.0, beta]))
    q = q_xt_given_xprev(np.ones(1), 1, schedule)
    a = float(q.mean[0])
    assert a**2 * 1 + q.var == pytest.approx(1, abs=ALGEBRA)
    assert 1 + beta > 1 and (1 - beta) ** 2 + beta < 1


@pytest.mark.parametrize("t", [1, 5, 10])
def test_2_1_by_log_density(t: int) -> None:
    """The written Gaussian: its log density at a point, term by term, from alpha alone."""
    xprev = np.array([0.4, -1.1])
    xt = np.array([0.1, 0.2])
    alpha = SCHEDULE.alpha[t]
    law = q_xt_given_xprev(xprev, t, SCHEDULE)
    squared = ((xt - alpha**0.5 * xprev) ** 2).sum() / (1 - alpha)
    expected = -0.5 * squared - np.log(2 * np.pi * (1 - alpha))  # two coordinates: 2 x log / 2
    assert law.log_density(xt) == pytest.approx(expected, abs=ALGEBRA)


def test_2_3_by_each_step() -> None:
    """Draws are the scaled state plus scaled noise; the mean of the noise is 0."""
    beta = SCHEDULE.beta[5]
    x = np.array([[1.0, -2.0]])
    z = np.random.default_rng(24).standard_normal(x.shape)
    found = q_xt_given_xprev(x, 5, SCHEDULE).sample(np.random.default_rng(24))
    np.testing.assert_allclose(found, np.sqrt(1 - beta) * x + np.sqrt(beta) * z, atol=ALGEBRA)
    mean, _ = moments_after(1.7, 0.4, 5, SCHEDULE)
    assert mean == pytest.approx(np.sqrt(1 - beta) * 1.7 + np.sqrt(beta) * 0, abs=ALGEBRA)


@pytest.mark.parametrize("t", [1, 5, 10])
def test_2_3_by_quadrature(t: int) -> None:
    assert moments_after(1.0, 1 / 3, t, SCHEDULE)[0] == pytest.approx(
        uniform_after(t)[0], abs=ALGEBRA
    )


def test_2_3_by_simulation() -> None:
    """The chain itself from a point at 2: three steps, N chains, 5 standard errors."""
    mean = 2.0
    var = 0.0
    chain = forward_chain(np.full((N, 1), 2.0), SCHEDULE, np.random.default_rng(22))
    for t, x in zip((1, 2, 3), chain, strict=False):
        mean, var = moments_after(mean, var, t, SCHEDULE)
        assert abs(x.mean() - mean) < 5 * np.sqrt(var / N)


@pytest.mark.parametrize("t", [1, 5, 10])
def test_2_4_by_quadrature(t: int) -> None:
    assert moments_after(1.0, 1 / 3, t, SCHEDULE)[1] == pytest.approx(
        uniform_after(t)[1], abs=ALGEBRA
    )


def test_2_4_by_simulation() -> None:
    """The same chain: a Gaussian's sample variance has standard error sqrt(2 / N) of itself."""
    mean = 2.0
    var = 0.0
    chain = forward_chain(np.full((N, 1), 2.0), SCHEDULE, np.random.default_rng(23))
    for t, x in zip((1, 2, 3), chain, strict=False):
        mean, var = moments_after(mean, var, t, SCHEDULE)
        assert abs(x.var() - var) < 5 * np.sqrt(2 / N) * var


@pytest.mark.parametrize("t", [1, 5, 10])
def test_2_5_by_each_step(t: int) -> None:
    """One subtracted on both sides of the variance, then the common factor taken out."""
    beta = SCHEDULE.beta[t]
    for var in (0.25, 1.0, 7.0):
        after = moments_after(0.0, var, t, SCHEDULE)[1] - 1
        assert after == pytest.approx((1 - beta) * var - (1 - beta), abs=ALGEBRA)
        assert distance_from_one(var, t, SCHEDULE) == pytest.approx(after, abs=ALGEBRA)


def test_2_5_by_the_example() -> None:
    """Data of variance 1/4 and beta = 0.36: 0.52, and a distance of -0.48."""
    schedule = Schedule(np.array([0.0, 0.36]))
    assert moments_after(0.0, 0.25, 1, schedule)[1] == pytest.approx(0.52, abs=ALGEBRA)
    assert distance_from_one(0.25, 1, schedule) == pytest.approx(-0.48, abs=ALGEBRA)


@pytest.mark.parametrize("beta", [0.36, 0.01])
def test_2_5_by_the_factor_without_its_root(beta: float) -> None:
    """With the factor 1 - beta the variance converges to 1 / (2 - beta), not to 1."""
    var = 1.0
    for _ in range(3000):
        var = (1 - beta) ** 2 * var + beta
    assert var == pytest.approx(1 / (2 - beta), abs=ALGEBRA)


def test_2_5_by_sympy() -> None:
    beta, var = sympy.symbols("beta var")
    after = sympy.expand((1 - beta) * var + beta)  # (2.4)
    assert sympy.expand(after - 1 - (1 - beta) * (var - 1)) == 0


@pytest.mark.parametrize("start", [0.0, 0.3, 1.0, 7.0])
def test_2_5_by_iteration_to_the_end(start: float) -> None:
    """Ten steps shrink the distance to 1 by the product of (1 - beta), which is alpha_bar."""
    var = start
    for t in range(1, 11):
        var = moments_after(0.0, var, t, SCHEDULE)[1]
    assert var - 1 == pytest.approx(SCHEDULE.alpha_bar[10] * (start - 1), abs=ALGEBRA)


@pytest.mark.parametrize("start", [0.0, 0.3, 1.0, 7.0])
def test_2_8_by_each_step(start: float) -> None:
    """The distance from 1 after t steps is the product of all factors times the first one."""
    distance = start - 1
    for t in range(1, 11):
        distance = distance_from_one(1 + distance, t, SCHEDULE)
        product = np.prod(SCHEDULE.alpha[1 : t + 1])
        assert distance == pytest.approx(product * (start - 1), abs=ALGEBRA)
        assert variance_of_xt(start, t, SCHEDULE) == pytest.approx(1 + distance, abs=ALGEBRA)
    assert variance_of_xt(start, 0, SCHEDULE) == start


@pytest.mark.parametrize("beta", [0.36, 0.01])
def test_2_8_by_noise_without_its_root(beta: float) -> None:
    """Noise multiplied by beta: the variance converges to beta, not to 1."""
    var = 1.0
    for _ in range(3000):
        var = (1 - beta) * var + beta**2
    assert var == pytest.approx(beta, abs=ALGEBRA)


def test_2_8_by_covariance_of_both_coordinates() -> None:
    """alpha_bar S + (1 - alpha_bar) I, entries off the diagonal included; the mean (seed 29)."""
    L = np.array([[1.5, 0.0], [0.9, 0.4]])
    rng = np.random.default_rng(29)
    x = rng.standard_normal((N, 2)) @ L.T + [1.0, -2.0]
    for t, xt in zip(range(1, 4), forward_chain(x, SCHEDULE, rng), strict=False):
        abar = SCHEDULE.alpha_bar[t]
        centred = xt - np.sqrt(abar) * np.array([1.0, -2.0])
        assert (np.abs(centred.mean(0)) < 5 * xt.std(0) / np.sqrt(N)).all()
        products = centred[:, :, None] * centred[:, None, :]
        error = products.std(0) / np.sqrt(N)
        expected = abar * L @ L.T + (1 - abar) * np.eye(2)
        assert (np.abs(products.mean(0) - expected) < 5 * error).all()


def test_2_8_by_simulation() -> None:
    """Points at 0 and 4, which have variance 4, after one to four steps of a chain (seed 28)."""
    rng = np.random.default_rng(28)
    x0 = rng.choice([0.0, 4.0], (N, 1))
    for t, x in zip(range(1, 5), forward_chain(x0, SCHEDULE, rng), strict=False):
        squared = (x - x.mean()) ** 2
        error = squared.std() / np.sqrt(N)
        assert abs(squared.mean() - variance_of_xt(4.0, t, SCHEDULE)) < 5 * error


@pytest.mark.parametrize("t", [1, 5, 10])
def test_2_9_by_simulation(t: int) -> None:
    """A correlation rho of N Gaussian pairs has standard error (1 - rho^2) / sqrt(N)."""
    rng = np.random.default_rng(25)
    x = rng.standard_normal((N, 1))
    after = q_xt_given_xprev(x, t, SCHEDULE).sample(rng)
    rho = np.corrcoef(x[:, 0], after[:, 0])[0, 1]
    assert abs(rho - neighbour_correlation(t, SCHEDULE)) < 5 * SCHEDULE.beta[t] / np.sqrt(N)


@pytest.mark.parametrize("t", [1, 5, 10])
def test_2_9_by_joint_covariance(t: int) -> None:
    """Cov(x, m x + z) = m Var(x), with m read off as the mean's slope in x_{t-1}."""
    at = [q_xt_given_xprev(np.array([x]), t, SCHEDULE) for x in (0.0, 1.0)]
    slope = float(at[1].mean[0] - at[0].mean[0])
    total = slope**2 + at[0].var  # Var(x_t) for Var(x_{t-1}) = 1
    assert slope / np.sqrt(total) == pytest.approx(np.sqrt(SCHEDULE.alpha[t]), abs=ALGEBRA)
    assert neighbour_correlation(t, SCHEDULE) == pytest.approx(slope, abs=ALGEBRA)


def test_2_13_by_a_step_too_small_to_see() -> None:
    law = q_xt_given_xprev(np.array([0.7, -2.0]), 1, Schedule(np.array([0.0, 1e-300])))
    np.testing.assert_array_equal(law.sample(np.random.default_rng(0)), [0.7, -2.0])


def test_2_13_by_a_step_that_forgets() -> None:
    """At beta = 1 - 1e-16 two far apart inputs and one noise give one output."""
    schedule = Schedule(np.array([0.0, 1 - 2**-53]))
    near, far = (
        q_xt_given_xprev(np.array([x]), 1, schedule).sample(np.random.default_rng(0))
        for x in (0.0, 100.0)
    )
    # sqrt(2^-53) x 100 = 1e-6
    np.testing.assert_allclose(near, far, atol=2e-6)
    np.testing.assert_allclose(near, np.random.default_rng(0).standard_normal(1), atol=1e-12)


def test_2_1_by_the_chains_own_noise() -> None:
    """Markov: given x_1, the noise of step 2 is fresh, uncorrelated with x_0 and with x_1."""
    rng = np.random.default_rng(21)
    x0 = rng.standard_normal((N, 1))
    x1, x2 = [x for x, _ in zip(forward_chain(x0, SCHEDULE, rng), range(2), strict=False)]
    z = (x2 - np.sqrt(SCHEDULE.alpha[2]) * x1) / np.sqrt(SCHEDULE.beta[2])
    for other in (x0, x1):
        assert abs(np.corrcoef(z[:, 0], other[:, 0])[0, 1]) < 5 / np.sqrt(N)
    assert len(list(forward_chain(x0[:5], SCHEDULE, rng))) == 10


@pytest.mark.parametrize("t", [0, -1, 11])
def test_2_1_by_refusal_of_wrong_t(t: int) -> None:
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..10"):
        q_xt_given_xprev(np.zeros(2), t, SCHEDULE)
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..10"):
        moments_after(0.0, 1.0, t, SCHEDULE)
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..10"):
        distance_from_one(1.0, t, SCHEDULE)
