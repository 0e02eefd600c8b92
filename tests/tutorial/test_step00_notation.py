"""Step 0 by two routes an equation: exact arithmetic, published numbers, chains, quadrature."""

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

from tutorial.step00_notation import Gaussian, Schedule, product

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
def test_0_1_by_exact_fractions(make: Callable[[int], Schedule]) -> None:
    schedule = make(1000)
    exact = [float(1 - Fraction(float(beta))) for beta in schedule.beta]
    np.testing.assert_array_equal(schedule.alpha, exact)  # both correctly rounded: no difference


@BOTH
def test_0_1_by_ratio_of_what_is_left(make: Callable[[int], Schedule]) -> None:
    """What one step keeps is what is left after it over what was left before."""
    schedule = make(1000)
    ratio = schedule.alpha_bar[1:] / schedule.alpha_bar[:-1]
    np.testing.assert_allclose(schedule.alpha[1:], ratio, rtol=ROUNDING)


@BOTH
def test_0_2_by_exact_product(make: Callable[[int], Schedule]) -> None:
    """The product over the same float64 table, in rational arithmetic."""
    schedule = make(100)
    kept = Fraction(1)
    for t in range(1, 101):
        kept *= 1 - Fraction(float(schedule.beta[t]))
        assert schedule.alpha_bar[t] == pytest.approx(float(kept), rel=ITERATED)


def test_0_2_by_variance_of_chains(chains: tuple[np.ndarray, np.ndarray]) -> None:
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
def test_0_2_by_finite_tables(make: Callable[[int], Schedule], T: int) -> None:
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
def test_0_3_by_inverting_it(make: Callable[[int], Schedule], T: int) -> None:
    """The logistic function of lambda, and of minus lambda, are the two shares."""
    schedule = make(T)
    np.testing.assert_allclose(expit(schedule.log_snr), schedule.alpha_bar, rtol=ITERATED)
    # 1 - alpha_bar is at least 1e-6 here (cosine, T = 4000): 1.1e-16 of rounding is 1e-10 of it.
    np.testing.assert_allclose(expit(-schedule.log_snr), 1 - schedule.alpha_bar, rtol=1e-9)


@BOTH
def test_0_3_by_fifty_digits(make: Callable[[int], Schedule]) -> None:
    """From beta by mpmath, where 1 - alpha_bar loses nothing even at t = 1 of 4000."""
    schedule = make(4000)
    with mpmath.workdps(50):
        kept = mpmath.mpf(1)
        for t in range(1, 4001):
            kept *= 1 - mpmath.mpf(float(schedule.beta[t]))
            if t in (1, 2, 2000, 3999, 4000):
                exact = float(mpmath.log(kept) - mpmath.log(1 - kept))
                assert schedule.log_snr[t] == pytest.approx(exact, abs=1e-9)  # as above


def test_0_4_by_published_ends() -> None:
    """Ho et al. 2020, sec. 4: T = 1000, from 1e-4 to 0.02, in equal steps."""
    beta = Schedule.linear(1000).beta
    assert beta[[1, 1000]] == pytest.approx([1e-4, 0.02], abs=ROUNDING)
    np.testing.assert_allclose(np.diff(beta[1:], 2), 0, atol=1e-17)  # rounding of 0.02: 3e-18


def test_0_4_by_published_prior_loss() -> None:
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
def test_0_4_by_arithmetic_series(T: int) -> None:
    """Half the number of terms times the sum of the ends: 10.05, whatever T."""
    assert Schedule.linear(T).beta.sum() == pytest.approx(10.05, abs=ITERATED)


def test_0_4_by_capped_short_chains() -> None:
    """Above T = 20 nothing is capped, from 2 to 20 the last step is, T = 1 is one small step."""
    assert Schedule.linear(21).beta.max() == pytest.approx(20 / 21, abs=ROUNDING)
    assert [Schedule.linear(T).beta[T] for T in (2, 10, 20)] == [0.999] * 3
    assert Schedule.linear(1).beta[1] == pytest.approx(0.1, abs=ROUNDING)


def test_0_5_by_definition() -> None:
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
def test_0_5_by_equal_angles(T: int) -> None:
    """The amplitude is a cosine whose angle moves evenly and would be a right angle at T."""
    start = np.pi / 2 * 0.008 / 1.008
    angle = np.arccos(np.cos(start) * np.sqrt(Schedule.cosine(T).alpha_bar[:T]))
    np.testing.assert_allclose(np.diff(angle), np.diff(angle).mean(), rtol=1e-9)
    # arccos near 1, at t = 0, has half the digits: 1e-16 / 0.0125.
    assert angle[0] == pytest.approx(start, abs=1e-13)
    assert angle[-1] + np.diff(angle).mean() == pytest.approx(np.pi / 2, abs=1e-9)


@LENGTHS
def test_0_5_by_capped_last_step(T: int) -> None:
    """Nichol and Dhariwal cap beta at 0.999; without it the last step would keep 1e-33."""
    beta = Schedule.cosine(T).beta
    assert beta[T] == 0.999
    assert (beta[:T] < 0.999).all()


def test_0_6_by_scipy() -> None:
    rng = np.random.default_rng(1)
    mean, x = rng.standard_normal((2, 7, 3))
    ours = Gaussian(mean, 0.37).log_density(x)
    theirs = scipy.stats.norm.logpdf(x, mean, np.sqrt(0.37)).sum(-1)
    np.testing.assert_allclose(ours, theirs, rtol=ITERATED)


def test_0_6_by_quadrature() -> None:
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


def test_0_6_by_entropy_of_samples() -> None:
    """Minus the mean log density of 200,000 draws in 2-D is the law's entropy (seed 6)."""
    n = 200_000
    var = 0.6
    g = Gaussian(np.tile([3.0, -2.0], (n, 1)), var)
    x = g.sample(np.random.default_rng(6))
    # The square over v is chi-squared with 2 degrees: its half has variance 1.
    found = -np.mean(g.log_density(x))
    assert abs(found - np.log(2 * np.pi * np.e * var)) < 4.5 / np.sqrt(n)
    assert (np.abs(x.mean(0) - [3.0, -2.0]) < 4.5 * np.sqrt(var / n)).all()


def test_0_6_by_refusal_of_what_has_no_density() -> None:
    point = Gaussian(np.ones(2), 0.0)
    np.testing.assert_array_equal(point.sample(np.random.default_rng(0)), np.ones(2))
    for var in (0.0, -1e-3, np.nan):
        with pytest.raises(ValueError, match=f"var = {var} has no density"):
            Gaussian(np.ones(2), var).log_density(np.ones(2))


def completed_square() -> tuple[sympy.Expr, sympy.Expr]:
    """Variance and mean of a product in symbols: curvature of the sum and where its slope is 0."""
    x, m1, m2 = sympy.symbols("x m1 m2", real=True)
    v1, v2 = sympy.symbols("v1 v2", positive=True)
    exponent = -((x - m1) ** 2) / (2 * v1) - (x - m2) ** 2 / (2 * v2)
    (mean,) = sympy.solve(sympy.diff(exponent, x), x)
    at = {m1: 1.3, m2: -0.7, v1: 0.5, v2: 2.5}
    return (-1 / sympy.diff(exponent, x, 2)).subs(at), mean.subs(at)


G1 = Gaussian(np.array([1.3]), 0.5)
G2 = Gaussian(np.array([-0.7]), 2.5)


def product_moment(power: int, about: float = 0.0) -> float:
    def integrand(x: float, k: int) -> float:
        at = np.array([x])
        return float((x - about) ** k * np.exp(G1.log_density(at) + G2.log_density(at)))

    whole, part = (quad(integrand, -9, 11, args=(k,), epsabs=1e-13)[0] for k in (0, power))
    return part / whole


def test_0_7_by_sympy() -> None:
    assert product(G1, G2).var == pytest.approx(float(completed_square()[0]), rel=ROUNDING)


def test_0_7_by_quadrature() -> None:
    found = product_moment(2, about=product_moment(1))
    assert product(G1, G2).var == pytest.approx(found, abs=1e-9)  # quad's own


def test_0_8_by_sympy() -> None:
    assert product(G1, G2).mean[0] == pytest.approx(float(completed_square()[1]), rel=ROUNDING)


def test_0_8_by_quadrature() -> None:
    assert product(G1, G2).mean[0] == pytest.approx(product_moment(1), abs=1e-9)  # quad's own


def test_0_8_by_constant_difference_of_log_densities() -> None:
    """Pointwise in 2-D: the sum of two log densities differs from the third by one number."""
    rng = np.random.default_rng(2)
    g1 = Gaussian(np.array([0.3, -1.0]), 0.2)
    g2 = Gaussian(np.array([1.5, 0.4]), 0.7)
    x = 2 * rng.standard_normal((50, 2))
    both = product(g1, g2).log_density(x)
    difference = np.asarray(g1.log_density(x) + g2.log_density(x) - both)
    np.testing.assert_allclose(
        difference, difference[0], rtol=0, atol=ITERATED * np.abs(both).max()
    )


def test_0_8_by_product_with_a_point() -> None:
    """The limit of ever more precise Gaussians: a point multiplied by anything is that point."""
    g = product(G1, Gaussian(np.array([0.2]), 0.0))
    assert (g.mean[0], g.var) == (pytest.approx(0.2, abs=ROUNDING), 0)
    near = product(G1, Gaussian(np.array([0.2]), 1e-12))
    np.testing.assert_allclose([*near.mean, near.var], [*g.mean, g.var], atol=1e-11)


@LENGTHS
@BOTH
def test_0_9_by_table(make: Callable[[int], Schedule], T: int) -> None:
    schedule = make(T)
    assert (schedule.beta[0], schedule.alpha[0], schedule.alpha_bar[0]) == (0, 1, 1)
    assert schedule.log_snr[0] == np.inf


@LENGTHS
@BOTH
def test_0_9_by_undoing_the_first_step(make: Callable[[int], Schedule], T: int) -> None:
    """Dividing alpha_bar_1 by what step 1 kept leads back to a share of one, and no noise."""
    schedule = make(T)
    before = expit(schedule.log_snr[1]) / (1 - schedule.beta[1])
    assert before == pytest.approx(schedule.alpha_bar[0], abs=ROUNDING)
    assert np.exp(-schedule.log_snr[0]) == 0


@pytest.mark.parametrize("T", [0, -1, 2.5])
@BOTH
@pytest.mark.usefixtures("unchecked")
def test_0_9_by_refusal_of_no_steps(make: Callable[[int], Schedule], T: int) -> None:
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
def test_0_9_by_refusal_of_a_wrong_table(beta: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(np.array(beta))


def test_0_9_by_refusal_of_wrong_t() -> None:
    schedule = Schedule.cosine(10)
    assert [schedule.check_t(t) for t in (1, 10)] == [1, 10]
    assert schedule.check_t(0, first=0) == 0
    for t, first in ((0, 1), (11, 1), (-1, 0), (-1, 1)):
        with pytest.raises(ValueError, match=f"t = {t} is outside {first}..10"):
            schedule.check_t(t, first)
