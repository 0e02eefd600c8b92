"""Step 3 by two routes per equation: the chain iterated, integrated, simulated; and by algebra."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import sympy
from scipy.integrate import quad

from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step03_marginal import (
    kl_to_noise,
    one_more_step,
    q_xt_given_x0,
    q_xt_given_xs,
    var_given_xs_by_log_snr,
    xt_from_x0,
)

SCHEDULE = Schedule.linear(10)
LONG = [Schedule.linear(1000), Schedule.cosine(1000)]
ONE = np.ones(1)
# float64: a thousand multiplications of numbers below one, each rounded by at most 1.1e-16.
ITERATED = 1e-12


def chain_moments(schedule: Schedule, s: int, t: int) -> tuple[float, float]:
    """Mean and variance of x_t from x_s = 1, one forward step at a time."""
    mean = 1.0
    var = 0.0
    for u in range(s + 1, t + 1):
        mean = np.sqrt(1 - schedule.beta[u]) * mean
        var = (1 - schedule.beta[u]) * var
        var += schedule.beta[u]
    return mean, var


def run_chain(x: np.ndarray, s: int, t: int, rng: np.random.Generator) -> np.ndarray:
    for u in range(s + 1, t + 1):
        noise = rng.standard_normal(x.shape)
        x = np.sqrt(1 - SCHEDULE.beta[u]) * x + np.sqrt(SCHEDULE.beta[u]) * noise
    return x


def test_3_1_by_each_step() -> None:
    """The example, with betas 0.2 and 0.3: each line evaluated, and the numbers in the text."""
    x0, eps_1, eps_2 = np.random.default_rng(30).standard_normal((3, 5))
    schedule = Schedule(np.array([0.0, 0.2, 0.3]))
    x1 = np.sqrt(0.8) * x0 + np.sqrt(0.2) * eps_1
    x2 = np.sqrt(0.7) * x1 + np.sqrt(0.3) * eps_2
    two_noises = np.sqrt(0.56) * x0 + np.sqrt(0.14) * eps_1 + np.sqrt(0.3) * eps_2
    np.testing.assert_allclose(x2, two_noises, atol=ITERATED)
    eps = (np.sqrt(0.14) * eps_1 + np.sqrt(0.3) * eps_2) / np.sqrt(0.44)
    np.testing.assert_allclose(x2, np.sqrt(0.56) * x0 + np.sqrt(0.44) * eps, atol=ITERATED)
    g = q_xt_given_x0(x0, 2, schedule)
    np.testing.assert_allclose(g.mean, np.sqrt(0.56) * x0, atol=ITERATED)
    assert g.var == pytest.approx(0.44, abs=ITERATED)
    assert np.sqrt([0.14, 0.3, 0.44]) == pytest.approx([0.374, 0.548, 0.663], abs=5e-4)
    assert (np.sqrt(0.14) + np.sqrt(0.3)) ** 2 == pytest.approx(0.850, abs=5e-4)


@pytest.mark.parametrize("schedule", LONG, ids=["linear", "cosine"])
@pytest.mark.parametrize("t", [1, 2, 500, 1000])
def test_3_1_by_iteration(schedule: Schedule, t: int) -> None:
    g = q_xt_given_x0(ONE, t, schedule)
    mean, var = chain_moments(schedule, 0, t)
    assert g.mean[0] == pytest.approx(mean, abs=ITERATED)
    assert g.var == pytest.approx(var, abs=ITERATED)


def test_3_1_by_simulation() -> None:
    """200,000 chains from three x_0 at once (seed 3), in standard errors of mean and variance."""
    n = 200_000
    x0 = np.array([-1.5, 0.0, 2.0])
    x = run_chain(np.tile(x0, (n, 1)), 0, 3, np.random.default_rng(3))
    g = q_xt_given_x0(x0, 3, SCHEDULE)
    np.testing.assert_array_less(np.abs(x.mean(0) - g.mean), 4.5 * np.sqrt(g.var / n))
    np.testing.assert_array_less(np.abs(x.var(0) - g.var), 4.5 * g.var * np.sqrt(2 / n))


def test_3_2_by_the_example() -> None:
    """From x_0 = 1 with the noise -0.5, two steps of 0.2 and 0.3 lead to 0.417."""
    schedule = Schedule(np.array([0.0, 0.2, 0.3]))
    found = xt_from_x0(np.array([1.0]), np.array([-0.5]), 2, schedule)
    assert found[0] == pytest.approx(0.417, abs=5e-4)


def test_3_2_by_moments_of_chains() -> None:
    """Jumped and walked to t = 3 from the same x_0, 200,000 draws each (seed 5)."""
    n = 200_000
    rng = np.random.default_rng(5)
    eps = rng.standard_normal((n, 1))
    end = run_chain(np.full((n, 1), 1.3), 0, 3, rng)
    xt = xt_from_x0(np.full((n, 1), 1.3), eps, 3, SCHEDULE)
    # Two samples of the same law: their means differ by two standard errors in quadrature.
    assert abs(xt.mean() - end.mean()) < 4.5 * np.sqrt((xt.var() + end.var()) / n)
    assert abs(xt.var() - end.var()) < 4.5 * end.var() * np.sqrt(4 / n)


@pytest.mark.parametrize("t", [1, 4, 10])
def test_3_2_by_weighted_noises_of_the_chain(t: int) -> None:
    """Run a chain on known noises; their mix, by products of sqrt(alpha), is the eps of (3.2)."""
    rng = np.random.default_rng(1)
    steps = rng.standard_normal((t, 3))
    x0 = rng.standard_normal(3)
    x = x0
    mix = np.zeros(3)
    for u in range(1, t + 1):
        x = np.sqrt(SCHEDULE.alpha[u]) * x + np.sqrt(SCHEDULE.beta[u]) * steps[u - 1]
        later = np.prod(SCHEDULE.alpha[u + 1 : t + 1])
        mix = mix + np.sqrt(SCHEDULE.beta[u] * later) * steps[u - 1]
    eps = mix / np.sqrt(chain_moments(SCHEDULE, 0, t)[1])
    np.testing.assert_allclose(xt_from_x0(x0, eps, t, SCHEDULE), x, atol=ITERATED)


@pytest.mark.parametrize(("A", "alpha"), [(0.8, 0.7), (1.0, 0.3), (0.2, 0.999)])
def test_3_3_by_each_step(A: float, alpha: float) -> None:
    """One step put into the next, with given noises; then the two variances added."""
    x0, eps, eps_next = np.random.default_rng(31).standard_normal((3, 5))
    x = np.sqrt(A) * x0 + np.sqrt(1 - A) * eps
    x_next = np.sqrt(alpha) * x + np.sqrt(1 - alpha) * eps_next
    two_noises = np.sqrt(alpha * (1 - A)) * eps + np.sqrt(1 - alpha) * eps_next
    np.testing.assert_allclose(x_next, np.sqrt(alpha * A) * x0 + two_noises, atol=ITERATED)
    A_next, noise = one_more_step(A, alpha)
    assert A_next == pytest.approx(alpha * A, abs=1e-15)
    assert noise == pytest.approx(np.sqrt(alpha * (1 - A)) ** 2 + (1 - alpha), abs=1e-15)
    assert noise == pytest.approx(1 - A_next, abs=1e-15)


def test_3_3_by_sympy_induction() -> None:
    """If t - 1 steps leave the noise 1 - abar, one more leaves 1 - alpha abar, for all symbols."""
    alpha, abar, x0, first, second = sympy.symbols("alpha abar x0 first second", positive=True)
    x_prev = sympy.sqrt(abar) * x0 + sympy.sqrt(1 - abar) * first
    x = sympy.expand(sympy.sqrt(alpha) * x_prev + sympy.sqrt(1 - alpha) * second)
    noise = sum(x.coeff(e) ** 2 for e in (first, second))
    assert sympy.simplify(noise - (1 - alpha * abar)) == 0
    kept = x.coeff(x0) ** 2
    assert sympy.simplify(kept - alpha * abar) == 0
    at = {abar: sympy.Rational(3, 5), alpha: sympy.Rational(7, 10)}
    assert one_more_step(0.6, 0.7) == pytest.approx(
        (float(kept.subs(at)), float(noise.subs(at))), abs=1e-15
    )


def test_3_3_by_convolution() -> None:
    """The density of the sum of both noises, integrated, has the merged variance."""
    alpha_1 = 0.6
    alpha_2 = 0.7
    early = Gaussian(np.zeros(1), alpha_2 * (1 - alpha_1))
    x = np.linspace(-9, 9, 1801)[:, None]  # sums of a Gaussian on a fine grid: exact to rounding
    late = [Gaussian(u, 1 - alpha_2).log_density(x) for u in x]
    density = np.exp(late).T @ np.exp(early.log_density(x)) * 0.01
    second_moment = (x[:, 0] ** 2 * density).sum() * 0.01
    assert one_more_step(alpha_1, alpha_2)[1] == pytest.approx(second_moment, abs=1e-12)


@pytest.mark.parametrize(("s", "u", "t"), [(0, 1, 2), (2, 5, 9), (1, 9, 10)])
def test_3_5_by_chapman_kolmogorov(s: int, u: int, t: int) -> None:
    """Summing over the state between two jumps gives the one jump, at several end points."""
    xs = np.array([0.8])

    def path(between: float, xt: float) -> float:
        x_u = np.array([between])
        late = q_xt_given_xs(x_u, u, t, SCHEDULE).log_density(np.array([xt]))
        return float(np.exp(q_xt_given_xs(xs, s, u, SCHEDULE).log_density(x_u) + late))

    near = q_xt_given_xs(xs, s, u, SCHEDULE)
    bounds = near.mean[0] + 9 * np.sqrt(near.var) * np.array([-1, 1])
    for xt in (-1.0, 0.3, 1.2):
        summed = quad(path, *bounds, args=(xt,), epsabs=1e-12)[0]
        direct = np.exp(q_xt_given_xs(xs, s, t, SCHEDULE).log_density(np.array([xt])))
        assert direct == pytest.approx(summed, abs=1e-9)  # quad's own, over nine deviations


def test_3_5_by_simulation() -> None:
    n = 200_000
    xs = np.array([1.7])  # seed 8
    x = run_chain(np.tile(xs, (n, 1)), 2, 4, np.random.default_rng(8))
    g = q_xt_given_xs(xs, 2, 4, SCHEDULE)
    assert abs(x.mean() - g.mean[0]) < 4.5 * np.sqrt(g.var / n)
    assert abs(x.var() - g.var) < 4.5 * g.var * np.sqrt(2 / n)


@pytest.mark.parametrize("schedule", LONG, ids=["linear", "cosine"])
@pytest.mark.parametrize(("s", "t"), [(0, 1), (1, 2), (300, 700), (999, 1000), (0, 1000)])
def test_3_4_by_iteration(schedule: Schedule, s: int, t: int) -> None:
    g = q_xt_given_xs(ONE, s, t, schedule)
    mean, var = chain_moments(schedule, s, t)
    assert g.mean[0] == pytest.approx(mean, abs=ITERATED)
    assert g.var == pytest.approx(var, abs=ITERATED)


def test_3_4_by_visited_times_as_a_schedule() -> None:
    """A chain that stops at four times only is a schedule of its own, with the same marginals."""
    visited = [0, 130, 400, 720, 1000]
    long = LONG[1]
    strides = [q_xt_given_xs(ONE, s, t, long).var for s, t in pairwise(visited)]
    short = Schedule(np.array([0.0, *strides]))
    np.testing.assert_allclose(short.alpha_bar, long.alpha_bar[visited], atol=ITERATED)


@pytest.mark.parametrize(("s", "t"), [(1, 2), (4, 5), (2, 10), (3, 3)])
def test_3_6_by_each_step(s: int, t: int) -> None:
    """The ratio of both signal-to-noise ratios, times the noise variance, less from that."""
    abar_s, abar_t = SCHEDULE.alpha_bar[[s, t]]
    ratio = np.exp(SCHEDULE.log_snr[t] - SCHEDULE.log_snr[s])
    alpha_ts = np.prod(SCHEDULE.alpha[s + 1 : t + 1])
    # The log SNRs are at most 20 in size here, so the ratio is right to 20 roundings.
    assert ratio == pytest.approx(alpha_ts * (1 - abar_s) / (1 - abar_t), rel=ITERATED)
    assert ratio * (1 - abar_t) == pytest.approx(alpha_ts - abar_t, rel=ITERATED)
    found = var_given_xs_by_log_snr(s, t, SCHEDULE)
    assert found == pytest.approx(1 - alpha_ts, abs=ITERATED)


def test_3_6_by_the_example() -> None:
    """Signal-to-noise ratios of 4 and 1.273: the variance of the second noise, 0.3."""
    schedule = Schedule(np.array([0.0, 0.2, 0.3]))
    np.testing.assert_allclose(np.exp(schedule.log_snr[1:]), [4, 1.273], atol=5e-4)
    assert var_given_xs_by_log_snr(1, 2, schedule) == pytest.approx(0.3, abs=ITERATED)
    assert var_given_xs_by_log_snr(0, 2, schedule) == pytest.approx(0.44, abs=ITERATED)
    assert var_given_xs_by_log_snr(0, 0, schedule) == 0


@pytest.mark.parametrize(("s", "t"), [(0, 5), (4, 5), (2, 10)])
def test_3_6_by_log_snr(s: int, t: int) -> None:
    """The paper's form, from the two log SNRs alone; at s = 0 the first is infinite."""
    early = SCHEDULE.log_snr[s]
    late = SCHEDULE.log_snr[t]
    noise = (1 - np.exp(late - early)) / (1 + np.exp(late))
    assert q_xt_given_xs(ONE, s, t, SCHEDULE).var == pytest.approx(noise, abs=ITERATED)
    assert var_given_xs_by_log_snr(s, t, SCHEDULE) == pytest.approx(noise, abs=ITERATED)


def test_3_6_by_sympy() -> None:
    early, late = sympy.symbols("early late", real=True)
    abar_s, abar_t = (1 / (1 + sympy.exp(-x)) for x in (early, late))
    claimed = (1 - sympy.exp(late - early)) * (1 - abar_t)
    assert sympy.simplify(claimed - (1 - abar_t / abar_s)) == 0


def test_3_7_by_table() -> None:
    x0 = np.array([[0.3, -2.0], [1.0, 5.0]])
    for g in (q_xt_given_x0(x0, 0, SCHEDULE), q_xt_given_xs(x0, 0, 0, SCHEDULE)):
        np.testing.assert_array_equal(g.mean, x0)
        assert g.var == 0


@pytest.mark.parametrize("beta", [1e-4, 1e-8, 1e-12])
def test_3_7_by_a_first_step_that_shrinks(beta: float) -> None:
    """The distribution at t = 1 approaches that at t = 0 as the first step becomes small."""
    schedule = Schedule(np.array([0.0, beta]))
    x0 = np.array([0.3, -2.0])
    start = q_xt_given_x0(x0, 0, schedule)
    first = q_xt_given_x0(x0, 1, schedule)
    np.testing.assert_allclose(first.mean, start.mean, rtol=beta)  # 1 - sqrt(1 - beta) < beta
    assert first.var == pytest.approx(start.var + beta, rel=1e-3)  # rounding of 1 - 1e-12


def test_3_7_by_drawing_at_time_zero() -> None:
    x0 = np.array([[0.3, -2.0]] * 5)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(q_xt_given_x0(x0, 0, SCHEDULE).sample(rng), x0)
    np.testing.assert_array_equal(xt_from_x0(x0, rng.standard_normal((5, 2)), 0, SCHEDULE), x0)


def test_3_8_by_each_step() -> None:
    """The log ratio at points, and the mean of each of its terms under q by Gauss-Hermite."""
    m, v = 0.7, 0.4
    q = Gaussian(np.array([m]), v)
    p = Gaussian(np.zeros(1), 1.0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)  # exact for these squares
    x = m + np.sqrt(v) * nodes
    weights = weights / weights.sum()
    ratio = -((x - m) ** 2) / (2 * v) - np.log(v) / 2 + x**2 / 2
    direct = [float(q.log_density(at) - p.log_density(at)) for at in x[:, None]]
    np.testing.assert_allclose(direct, ratio, atol=1e-10)  # squares up to 100, over 2 v
    kl = -1 / 2 - np.log(v) / 2 + (m**2 + v) / 2
    assert weights @ ratio == pytest.approx(kl, abs=1e-12)
    schedule = Schedule(np.array([0.0, v]))
    abar = 1 - v
    x0 = np.array([m / np.sqrt(abar), 0.0])
    in_abar = (abar * x0[0] ** 2 + (1 - abar) - 1 - np.log(1 - abar)) / 2
    assert in_abar == pytest.approx(kl, abs=1e-12)
    found = kl_to_noise(x0, 1, schedule)
    second = -1 / 2 - np.log(v) / 2 + v / 2  # the coordinate whose mean is 0
    assert found == pytest.approx(kl + second, abs=1e-12)


def test_3_8_by_the_average_over_data() -> None:
    """Data +-1: averaged over both, x_T is no farther from noise than given one of them."""
    schedule = Schedule.linear(10)
    noise = Gaussian(np.zeros(1), 1.0)
    for t in (1, 3, 5):
        both = [q_xt_given_x0(np.array([x]), t, schedule) for x in (-1.0, 1.0)]
        x = np.linspace(-8, 8, 4001)[:, None]
        density = np.exp(np.array([g.log_density(x) for g in both])).mean(0)
        small = density < 1e-300  # p log p is 0 there
        log_density = np.log(np.where(small, 1, density))
        kl = (density * (log_density - noise.log_density(x)))[~small].sum() * 0.004
        assert 0 < kl < kl_to_noise(np.ones(1), t, schedule)


@pytest.mark.parametrize("t", [1, 5, 10])
def test_3_8_by_quadrature(t: int) -> None:
    g = q_xt_given_x0(np.array([1.4]), t, SCHEDULE)
    noise = Gaussian(np.zeros(1), 1.0)

    def integrand(x: float) -> float:
        log_q = g.log_density(np.array([x]))
        return float(np.exp(log_q) * (log_q - noise.log_density(np.array([x]))))

    bounds = g.mean[0] + 10 * np.sqrt(g.var) * np.array([-1, 1])
    nats = quad(integrand, *bounds, epsabs=1e-12)[0]
    assert kl_to_noise(np.array([1.4]), t, SCHEDULE) == pytest.approx(nats, abs=1e-9)


def test_3_8_by_mean_log_ratio_of_draws() -> None:
    """KL is a mean under q: 200,000 draws in three dimensions (seed 6), in standard errors."""
    x0 = np.array([0.5, -1.0, 2.0])
    n = 200_000
    g = q_xt_given_x0(x0, 4, SCHEDULE)
    x = Gaussian(np.tile(g.mean, (n, 1)), g.var).sample(np.random.default_rng(6))
    ratio = g.log_density(x) - Gaussian(np.zeros(3), 1.0).log_density(x)
    error = np.std(ratio) / np.sqrt(n)
    assert abs(np.mean(ratio) - kl_to_noise(x0, 4, SCHEDULE)) < 4.5 * error


def test_3_8_by_the_numbers_at_the_end() -> None:
    """The numbers in the text, to the digits printed there."""
    linear, cosine = (s.alpha_bar[1000] for s in LONG)
    assert np.sqrt(linear) == pytest.approx(0.0064, abs=5e-5)
    assert np.sqrt(cosine) == pytest.approx(0.000049, abs=5e-7)
    assert kl_to_noise(ONE, 1000, LONG[0]) == pytest.approx(2.0e-5, abs=0.05e-5)
    assert kl_to_noise(ONE, 1000, LONG[1]) == pytest.approx(1.2e-9, abs=0.05e-9)
    picture = np.full(3 * 64 * 64, 0.5)
    nats = kl_to_noise(picture, 1000, LONG[0])
    assert nats == pytest.approx(0.062, abs=5e-4)
    assert np.sqrt(nats / 2) == pytest.approx(0.18, abs=5e-3)
    assert kl_to_noise(picture, 1000, LONG[1]) == pytest.approx(3.7e-6, abs=0.05e-6)


def test_3_8_by_three_gaussians_at_the_end() -> None:
    """The average divergence is 5.55e-5 nats, that of the average 1.1e-10 (sum over a grid)."""
    three = three_gaussians()
    abar = LONG[0].alpha_bar[1000]
    mean_square = (three.means**2).sum(1).mean() + 2 * 0.25
    average = (abar * mean_square - 2 * abar - 2 * np.log1p(-abar)) / 2
    assert abar * 2.75 / 2 == pytest.approx(5.55e-5, abs=0.005e-5)
    assert average == pytest.approx(5.55e-5, abs=0.005e-5)
    axis = np.arange(-8, 8, 0.05)
    x = np.stack(np.meshgrid(axis, axis), -1)[:, :, None]
    C = abar * 0.25 + 1 - abar
    squared = ((x - np.sqrt(abar) * three.means) ** 2).sum(-1)
    exponent = (x**2).sum(-1) / 2 - squared / (2 * C) - np.log(C)
    # log q - log p is about 1e-5, so the mean of exp(exponent) is computed without the 1.
    ratio = np.log1p(np.expm1(exponent).mean(-1))
    p = np.exp(-(x[:, :, 0] ** 2).sum(-1) / 2) / (2 * np.pi)
    # The mean of q / p - 1 under p is 0. Subtracting it leaves terms of one sign.
    kl = (p * (np.exp(ratio) * ratio - np.expm1(ratio))).sum() * 0.05**2
    assert kl == pytest.approx(1.1e-10, abs=0.05e-10)


@pytest.mark.parametrize("t", [-1, 11])
def test_3_1_by_refusal_of_wrong_t(t: int) -> None:
    with pytest.raises(ValueError, match=f"t = {t} is outside 0..10"):
        q_xt_given_x0(ONE, t, SCHEDULE)


@pytest.mark.parametrize("s", [-1, 6, 11])
def test_3_5_by_refusal_of_an_s_after_t(s: int) -> None:
    with pytest.raises(ValueError, match=f"s = {s} is outside 0..5"):
        q_xt_given_xs(ONE, s, 5, SCHEDULE)
    with pytest.raises(ValueError, match=f"s = {s} is outside 0..5"):
        var_given_xs_by_log_snr(s, 5, SCHEDULE)


def test_3_8_by_refusal_of_a_point() -> None:
    """At t = 0 the divergence is infinite; the formula would say so only with a warning."""
    with pytest.raises(ValueError, match=r"t = 0 is outside 1\.\.10"):
        kl_to_noise(ONE, 0, SCHEDULE)
