"""Step 2: moments by simulation, by quadrature and by algebra; the slips that look right."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from scipy.stats import kstest, norm

from tutorial.step00_notation import Schedule
from tutorial.step02_forward import (
    forward_chain,
    moments_after,
    neighbour_correlation,
    q_xt_given_xprev,
)

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
    """Kolmogorov-Smirnov against beta from the definition (0.4): a false alarm in 1 of 10^4."""
    beta = min(100 * (1e-4 + (0.02 - 1e-4) * (t - 1) / 9), 0.999)
    test = kstest(drawn(1.3, t, seed=t), norm((1 - beta) ** 0.5 * 1.3, beta**0.5).cdf)
    assert test.pvalue > 1e-4


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


@pytest.mark.parametrize("t", [1, 5, 10])
def test_2_2_by_quadrature(t: int) -> None:
    assert moments_after(1.0, 1 / 3, t, SCHEDULE)[0] == pytest.approx(
        uniform_after(t)[0], abs=ALGEBRA
    )


def test_2_2_by_simulation() -> None:
    """The chain itself from a point at 2: three steps, N chains, 5 standard errors."""
    mean = 2.0
    var = 0.0
    chain = forward_chain(np.full((N, 1), 2.0), SCHEDULE, np.random.default_rng(22))
    for t, x in zip((1, 2, 3), chain, strict=False):
        mean, var = moments_after(mean, var, t, SCHEDULE)
        assert abs(x.mean() - mean) < 5 * np.sqrt(var / N)


@pytest.mark.parametrize("t", [1, 5, 10])
def test_2_3_by_quadrature(t: int) -> None:
    assert moments_after(1.0, 1 / 3, t, SCHEDULE)[1] == pytest.approx(
        uniform_after(t)[1], abs=ALGEBRA
    )


def test_2_3_by_simulation() -> None:
    """The same chain: a Gaussian's sample variance has standard error sqrt(2 / N) of itself."""
    mean = 2.0
    var = 0.0
    chain = forward_chain(np.full((N, 1), 2.0), SCHEDULE, np.random.default_rng(23))
    for t, x in zip((1, 2, 3), chain, strict=False):
        mean, var = moments_after(mean, var, t, SCHEDULE)
        assert abs(x.var() - var) < 5 * np.sqrt(2 / N) * var


def test_2_4_by_sympy() -> None:
    beta, var = sympy.symbols("beta var")
    after = sympy.expand((1 - beta) * var + beta)  # (2.3)
    assert sympy.expand(after - 1 - (1 - beta) * (var - 1)) == 0


@pytest.mark.parametrize("start", [0.0, 0.3, 1.0, 7.0])
def test_2_4_by_iteration_to_the_end(start: float) -> None:
    """Ten steps shrink the distance to 1 by the product of (1 - beta), which is alpha_bar."""
    var = start
    for t in range(1, 11):
        var = moments_after(0.0, var, t, SCHEDULE)[1]
    assert var - 1 == pytest.approx(SCHEDULE.alpha_bar[10] * (start - 1), abs=ALGEBRA)


@pytest.mark.parametrize("t", [1, 5, 10])
def test_2_5_by_simulation(t: int) -> None:
    """A correlation rho of N Gaussian pairs has standard error (1 - rho^2) / sqrt(N)."""
    rng = np.random.default_rng(25)
    x = rng.standard_normal((N, 1))
    after = q_xt_given_xprev(x, t, SCHEDULE).sample(rng)
    rho = np.corrcoef(x[:, 0], after[:, 0])[0, 1]
    assert abs(rho - np.sqrt(SCHEDULE.alpha[t])) < 5 * SCHEDULE.beta[t] / np.sqrt(N)


@pytest.mark.parametrize("t", [1, 5, 10])
def test_2_5_by_joint_covariance(t: int) -> None:
    """Cov(x, m x + z) = m Var(x), with m read off as the mean's slope in x_{t-1}."""
    at = [q_xt_given_xprev(np.array([x]), t, SCHEDULE) for x in (0.0, 1.0)]
    slope = float(at[1].mean[0] - at[0].mean[0])
    total = slope**2 + at[0].var  # Var(x_t) for Var(x_{t-1}) = 1
    assert slope / np.sqrt(total) == pytest.approx(np.sqrt(SCHEDULE.alpha[t]), abs=ALGEBRA)
    assert neighbour_correlation(t, SCHEDULE) == pytest.approx(slope, abs=ALGEBRA)


def test_2_6_by_a_step_too_small_to_see() -> None:
    law = q_xt_given_xprev(np.array([0.7, -2.0]), 1, Schedule(np.array([0.0, 1e-300])))
    np.testing.assert_array_equal(law.sample(np.random.default_rng(0)), [0.7, -2.0])


def test_2_6_by_a_step_that_forgets() -> None:
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
