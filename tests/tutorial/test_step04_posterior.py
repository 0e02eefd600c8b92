"""Step 4 by two routes an equation: algebra, quadrature, Bayes on a grid, and chains that ran."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from scipy.integrate import quad

from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step04_posterior import (
    likelihood_of_xprev,
    posterior_coefficients,
    product,
    q_posterior,
)

ROUNDING = 1e-15  # one or two float64 operations on numbers up to 1
# 4000 multiplications of numbers below 1, each rounded by at most 1.1e-16.
ITERATED = 1e-12


def log_normal(x: np.ndarray | float, mean: np.ndarray | float, std: float) -> np.ndarray:
    """The log density of a Gaussian on a line, written here once more."""
    return np.asarray(-(((x - mean) / std) ** 2) / 2 - np.log(std * np.sqrt(2 * np.pi)))


def normal(x: np.ndarray | float, mean: np.ndarray | float, std: float) -> np.ndarray:
    return np.exp(log_normal(x, mean, std))


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


def test_4_1_by_sympy() -> None:
    assert product(G1, G2).var == pytest.approx(float(completed_square()[0]), rel=ROUNDING)


def test_4_1_by_quadrature() -> None:
    found = product_moment(2, about=product_moment(1))
    assert product(G1, G2).var == pytest.approx(found, abs=1e-9)  # quad's own


def test_4_2_by_sympy() -> None:
    assert product(G1, G2).mean[0] == pytest.approx(float(completed_square()[1]), rel=ROUNDING)


def test_4_2_by_quadrature() -> None:
    assert product(G1, G2).mean[0] == pytest.approx(product_moment(1), abs=1e-9)  # quad's own


def test_4_2_by_constant_difference_of_log_densities() -> None:
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


def test_4_2_by_product_with_a_point() -> None:
    """The limit of ever more precise Gaussians: a point multiplied by anything is that point."""
    g = product(G1, Gaussian(np.array([0.2]), 0.0))
    assert (g.mean[0], g.var) == (pytest.approx(0.2, abs=ROUNDING), 0)
    near = product(G1, Gaussian(np.array([0.2]), 1e-12))
    np.testing.assert_allclose([*near.mean, near.var], [*g.mean, g.var], atol=1e-11)


SCHEDULE = Schedule.linear(10)
ALGEBRA = 1e-12  # float64, a handful of operations of order one: a thousand roundings of room


def posterior_completed_square() -> tuple[float, float, float]:
    """`c_0`, `c_t`, variance at t = 4, read off the exponent of Bayes' product by sympy."""
    x, x0, xt, alpha, abar_prev = sympy.symbols("x x0 xt alpha abar_prev", positive=True)
    step = (xt - sympy.sqrt(alpha) * x) ** 2
    marginal = (x - sympy.sqrt(abar_prev) * x0) ** 2
    exponent = sympy.expand(-step / (2 * (1 - alpha)) - marginal / (2 * (1 - abar_prev)))
    precision = -2 * exponent.coeff(x, 2)
    mean = sympy.expand(exponent.coeff(x, 1) / precision)
    at = {alpha: SCHEDULE.alpha[4], abar_prev: SCHEDULE.alpha_bar[3]}
    c_0, c_t = (float(mean.coeff(s, 1).subs(at)) for s in (x0, xt))
    return c_0, c_t, float((1 / precision).subs(at))


def bayes_moments(x0: float, xt: float, t: int) -> tuple[float, float]:
    """Mean and variance of `q(x_t | x) q(x | x_0)` normalised by quadrature over x = x_{t-1}."""
    alpha = SCHEDULE.alpha[t]
    abar_prev = SCHEDULE.alpha_bar[t - 1]

    def density(x: float) -> float:
        step = (xt - np.sqrt(alpha) * x) ** 2 / (1 - alpha)
        return float(np.exp(-0.5 * (step + (x - np.sqrt(abar_prev) * x0) ** 2 / (1 - abar_prev))))

    mass, first, second = (
        quad(lambda x, k=k: x**k * density(x), -8, 8, points=(x0, xt), epsabs=1e-13)[0]
        for k in range(3)
    )
    return first / mass, second / mass - (first / mass) ** 2


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """`(x_3, x_4)` of 400,000 chains that started at x_0 = 0 (seed 4)."""
    rng = np.random.default_rng(4)
    x = np.zeros(400_000)
    for s in range(1, 5):
        x_prev = x
        x = np.sqrt(SCHEDULE.alpha[s]) * x + np.sqrt(SCHEDULE.beta[s]) * rng.standard_normal(len(x))
    return x_prev, x


def test_4_5_by_completed_square() -> None:
    assert posterior_coefficients(4, SCHEDULE)[0] == pytest.approx(
        posterior_completed_square()[0], abs=ALGEBRA
    )


@pytest.mark.parametrize("t", [2, 4, 10])
def test_4_5_by_quadrature(t: int) -> None:
    """c_0 is how far the posterior mean moves when x_0 moves by one."""
    moved = bayes_moments(1.5, 0.3, t)[0] - bayes_moments(0.5, 0.3, t)[0]
    assert posterior_coefficients(t, SCHEDULE)[0] == pytest.approx(moved, abs=1e-8)  # quad's own


def test_4_6_by_completed_square() -> None:
    assert posterior_coefficients(4, SCHEDULE)[1] == pytest.approx(
        posterior_completed_square()[1], abs=ALGEBRA
    )


@pytest.mark.parametrize("t", [2, 4, 10])
def test_4_6_by_quadrature(t: int) -> None:
    moved = bayes_moments(0.5, 1.3, t)[0] - bayes_moments(0.5, 0.3, t)[0]
    assert posterior_coefficients(t, SCHEDULE)[1] == pytest.approx(moved, abs=1e-8)


def test_4_6_by_regression_on_chains(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    """From x_0 = 0, c_t is the slope of x_{t-1} on x_t; its error is known from the residuals."""
    x_prev, x = pairs
    slope = (x_prev @ x) / (x @ x)
    error = np.std(x_prev - slope * x) / np.sqrt(x @ x)
    assert abs(slope - posterior_coefficients(4, SCHEDULE)[1]) < 4 * error


def test_4_4_by_completed_square() -> None:
    assert posterior_coefficients(4, SCHEDULE)[2] == pytest.approx(
        posterior_completed_square()[2], abs=ALGEBRA
    )


@pytest.mark.parametrize("t", [2, 4, 10])
def test_4_4_by_quadrature(t: int) -> None:
    assert posterior_coefficients(t, SCHEDULE)[2] == pytest.approx(
        bayes_moments(0.5, 0.3, t)[1], abs=1e-8
    )


def test_4_4_by_residuals_of_chains(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    x_prev, x = pairs
    residual = x_prev - (x_prev @ x) / (x @ x) * x
    error = np.sqrt(2 / len(x)) * residual.var()  # of a Gaussian's sample variance
    assert abs(residual.var() - posterior_coefficients(4, SCHEDULE)[2]) < 4 * error


@pytest.mark.parametrize("t", range(2, 11))
def test_4_4_by_product_of_gaussians(t: int) -> None:
    """The lesson's derivation run as code: its product of step 2's and step 3's laws."""
    x0 = np.array([0.7, -1.2])
    xt = np.array([-0.4, 0.1])
    alpha = SCHEDULE.alpha[t]
    abar_prev = SCHEDULE.alpha_bar[t - 1]
    step = Gaussian(xt / np.sqrt(alpha), float((1 - alpha) / alpha))
    both = product(step, Gaussian(np.sqrt(abar_prev) * x0, float(1 - abar_prev)))
    posterior = q_posterior(x0, xt, t, SCHEDULE)
    assert posterior.var == pytest.approx(both.var, rel=ALGEBRA)
    np.testing.assert_allclose(posterior.mean, both.mean, atol=ALGEBRA)


def test_4_4_by_curvature_of_log_density() -> None:
    """Minus the second difference of the log of Bayes' product is its precision, at any x."""
    alpha = SCHEDULE.alpha[4]
    abar_prev = SCHEDULE.alpha_bar[3]
    h = 1e-3

    def log_bayes(x: float) -> float:
        forward = Gaussian(np.sqrt(alpha) * np.array([x]), float(1 - alpha))
        start = Gaussian(np.sqrt(abar_prev) * np.array([0.7]), float(1 - abar_prev))
        return float(forward.log_density(np.array([-0.4])) + start.log_density(np.array([x])))

    curvature = (log_bayes(0.2 + h) - 2 * log_bayes(0.2) + log_bayes(0.2 - h)) / h**2
    # A quadratic has no truncation error; the rounding is about 1e-16 / h^2.
    assert -1 / curvature == pytest.approx(posterior_coefficients(4, SCHEDULE)[2], rel=1e-8)


def test_4_8_by_table() -> None:
    c_0, c_t, var = posterior_coefficients(1, SCHEDULE)
    assert c_0 == pytest.approx(1, abs=ALGEBRA)
    assert (c_t, var) == (0, 0)


def test_4_8_by_sampling_the_last_step() -> None:
    x0 = np.array([[0.3, -2.0]] * 5)
    rng = np.random.default_rng(0)
    drawn = q_posterior(x0, rng.standard_normal((5, 2)), 1, SCHEDULE).sample(rng)
    np.testing.assert_allclose(drawn, x0, atol=ALGEBRA)


def test_4_4_by_end_of_chain() -> None:
    """At t = T a cosine chain has forgotten x_0; the posterior is still finite and below beta."""
    schedule = Schedule.cosine(1000)
    c_0, c_t, var = posterior_coefficients(1000, schedule)
    assert np.isfinite([c_0, c_t, var]).all()
    assert 0 < var < schedule.beta[1000]


@pytest.mark.parametrize("t", [0, -1, 11])
def test_4_5_by_refusal_of_wrong_t(t: int) -> None:
    """t = 0 would read alpha_bar[-1], the last entry, and answer."""
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..10"):
        q_posterior(np.zeros(2), np.zeros(2), t, SCHEDULE)


def test_4_1_by_each_step() -> None:
    """The two quadratic functions of the text: equal coefficients, so they differ by a constant."""
    g1 = Gaussian(np.array([0.9]), 0.2)
    g2 = Gaussian(np.array([-0.4]), 0.7)
    m_1, v_1, m_2, v_2 = 0.9, 0.2, -0.4, 0.7
    x = np.linspace(-2, 2, 9)
    two = (x - m_1) ** 2 / v_1 + (x - m_2) ** 2 / v_2
    collected = (1 / v_1 + 1 / v_2) * x**2 - 2 * (m_1 / v_1 + m_2 / v_2) * x
    assert np.ptp(two - collected) < ALGEBRA
    both = product(g1, g2)
    m = both.mean[0]
    one = (x - m) ** 2 / both.var
    np.testing.assert_allclose(
        one, x**2 / both.var - 2 * m / both.var * x + m**2 / both.var, atol=ALGEBRA
    )
    assert np.ptp(two - one) < ALGEBRA


@pytest.mark.parametrize("t", [2, 4, 10])
def test_4_3_by_each_step(t: int) -> None:
    """Bayes' rule for three densities, and the square of the text, at several x_{t-1}."""
    x0 = 0.7
    xt = -0.4
    x = np.linspace(-2, 2, 9)
    alpha = SCHEDULE.alpha[t]
    beta = SCHEDULE.beta[t]
    abar = SCHEDULE.alpha_bar[t]
    abar_prev = SCHEDULE.alpha_bar[t - 1]
    forward = log_normal(xt, np.sqrt(alpha) * x, np.sqrt(beta))
    before = log_normal(x, np.sqrt(abar_prev) * x0, np.sqrt(1 - abar_prev))
    denominator = log_normal(xt, np.sqrt(abar) * x0, np.sqrt(1 - abar))
    posterior = q_posterior(np.array([x0]), np.array([xt]), t, SCHEDULE)
    np.testing.assert_allclose(
        posterior.log_density(x[:, None]), forward + before - denominator, atol=1e-10
    )
    square = (xt - np.sqrt(alpha) * x) ** 2
    np.testing.assert_allclose(square, alpha * (x - xt / np.sqrt(alpha)) ** 2, atol=ALGEBRA)
    likelihood = likelihood_of_xprev(np.array([xt]), t, SCHEDULE)
    assert np.ptp(likelihood.log_density(x[:, None]) - forward) < 1e-10  # proportional


@pytest.mark.parametrize("t", [2, 3, 4])
def test_4_3_by_quadrature(t: int) -> None:
    """The forward density as a function of x_{t-1}: mean and variance after normalising it."""
    xt = 0.3
    x = np.linspace(-40, 40, 80_001)  # the widest standard deviation, at t = 4 of 10, is 1.4
    f = normal(xt, np.sqrt(SCHEDULE.alpha[t]) * x, np.sqrt(SCHEDULE.beta[t]))
    mean = (f @ x) / f.sum()
    found = likelihood_of_xprev(np.array([xt]), t, SCHEDULE)
    assert found.mean[0] == pytest.approx(mean, abs=1e-8)
    assert found.var == pytest.approx((f @ (x - mean) ** 2) / f.sum(), rel=1e-8)


@pytest.mark.parametrize("t", [2, 4, 10])
def test_4_4_by_each_step(t: int) -> None:
    """Precisions add, and the numerator of their sum is 1 - abar_t."""
    alpha = SCHEDULE.alpha[t]
    beta = SCHEDULE.beta[t]
    abar_prev = SCHEDULE.alpha_bar[t - 1]
    var = posterior_coefficients(t, SCHEDULE)[2]
    assert 1 / var == pytest.approx(alpha / beta + 1 / (1 - abar_prev), rel=ALGEBRA)
    numerator = alpha * (1 - abar_prev) + beta
    assert numerator == pytest.approx(1 - SCHEDULE.alpha_bar[t], abs=ALGEBRA)


@pytest.mark.parametrize("t", [2, 4, 10])
def test_4_5_by_each_step(t: int) -> None:
    """Each clue enters with its mean, its precision and the variance of the posterior."""
    alpha = SCHEDULE.alpha[t]
    abar_prev = SCHEDULE.alpha_bar[t - 1]
    c_0, c_t, var = posterior_coefficients(t, SCHEDULE)
    assert c_0 == pytest.approx(var * np.sqrt(abar_prev) / (1 - abar_prev), rel=ALGEBRA)
    assert c_t == pytest.approx(var * np.sqrt(alpha) / SCHEDULE.beta[t], rel=ALGEBRA)
    on_average = c_0 + c_t * np.sqrt(SCHEDULE.alpha_bar[t])
    assert on_average == pytest.approx(np.sqrt(abar_prev), rel=ALGEBRA)


def test_4_7_by_example_in_the_text() -> None:
    """abar 0.8 and 0.72, x_0 = 1, x_t = 0.2; then the linear schedule with 100 steps."""
    schedule = Schedule(np.array([0.0, 0.2, 0.1]))
    x0 = np.array([1.0])
    xt = np.array([0.2])
    likelihood = likelihood_of_xprev(xt, 2, schedule)
    assert likelihood.mean[0] == pytest.approx(0.211, abs=5e-4)
    assert likelihood.var == pytest.approx(0.111, abs=5e-4)
    assert posterior_coefficients(2, schedule) == pytest.approx((0.319, 0.678, 0.0714), abs=5e-4)
    posterior = q_posterior(x0, xt, 2, schedule)
    both = product(likelihood, Gaussian(np.sqrt(0.8) * x0, 0.2))
    for found in (posterior, both):
        assert found.mean[0] == pytest.approx((5 * 0.8944 + 9 * 0.2108) / 14, abs=1e-4)
        assert found.var == pytest.approx(1 / 14, abs=ALGEBRA)
    linear = Schedule.linear(100)
    for t, expected in ((80, (0.006, 0.916)), (2, (0.75, 0.25))):
        assert posterior_coefficients(t, linear)[:2] == pytest.approx(expected, abs=1e-3)
    abar_prev = linear.alpha_bar[79]
    assert np.sqrt(abar_prev) == pytest.approx(0.036, abs=5e-4)
    assert 1 / (1 - abar_prev) == pytest.approx(1.001, abs=5e-4)
    assert linear.alpha[80] / linear.beta[80] == pytest.approx(5.3, abs=0.05)


def test_4_7_by_density_on_a_grid() -> None:
    """Bayes' product of two densities, scaled to integral 1, at every point of a grid."""
    x = np.linspace(-8, 8, 4001)
    for t in (2, 5, 10):
        alpha = SCHEDULE.alpha[t]
        abar_prev = SCHEDULE.alpha_bar[t - 1]
        forward = normal(-0.4, np.sqrt(alpha) * x, np.sqrt(1 - alpha))
        bayes = forward * normal(x, np.sqrt(abar_prev) * 0.7, np.sqrt(1 - abar_prev))
        posterior = q_posterior(np.array([0.7]), np.array([-0.4]), t, SCHEDULE)
        found = np.exp(posterior.log_density(x[:, None]))
        np.testing.assert_allclose(found, bayes / (bayes.sum() * 0.004), atol=1e-9)


def test_4_8_by_each_step() -> None:
    """The posterior's variance over the forward step's: the factor of the text, always below 1."""
    linear = Schedule.linear(100)
    said = {2: 0.25, 20: 0.92, 80: 0.9998}
    for t in range(1, 101):
        abar = linear.alpha_bar[t]
        abar_prev = linear.alpha_bar[t - 1]
        factor = posterior_coefficients(t, linear)[2] / linear.beta[t]
        assert factor == pytest.approx((1 - abar_prev) / (1 - abar), rel=ALGEBRA)
        assert factor < 1
        if t in said:
            assert factor == pytest.approx(said[t], rel=5e-3)  # to the digits of the text


def test_4_8_by_data_of_variance_one() -> None:
    """Data N(0, 1): x_t alone leaves the variance beta_t, which is more than the posterior's."""
    for t in range(1, 11):
        correlation = np.sqrt(SCHEDULE.alpha[t])
        assert 1 - correlation**2 == pytest.approx(SCHEDULE.beta[t], abs=ALGEBRA)
        assert posterior_coefficients(t, SCHEDULE)[2] < SCHEDULE.beta[t]


CASES = [(5.0, 1.0, 0), (0.0, 4.0, 1), (0.0, 0.2, -1)]


@pytest.mark.parametrize(("mean", "data_var", "sign"), CASES)
def test_4_8_by_other_gaussian_data(mean: float, data_var: float, sign: int) -> None:
    """x_t alone leaves beta_t for every mean, and more or less than it for other variances."""
    t = 4
    abar_prev = SCHEDULE.alpha_bar[t - 1]
    x = np.linspace(-20, 30, 50_001)
    std_prev = np.sqrt(abar_prev * data_var + 1 - abar_prev)
    earlier = normal(x, np.sqrt(abar_prev) * mean, std_prev)
    forward = normal(0.4, np.sqrt(SCHEDULE.alpha[t]) * x, np.sqrt(SCHEDULE.beta[t]))
    p = earlier * forward / (earlier @ forward)
    excess = p @ x**2 - (p @ x) ** 2 - SCHEDULE.beta[t]
    assert excess == pytest.approx(0, abs=1e-9) if sign == 0 else sign * excess > 1e-3
