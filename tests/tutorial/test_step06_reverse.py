"""Step 6 by two routes an equation: Bayes integrated, chains that ran, derivatives, algebra."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from scipy.stats import norm

from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import posterior_coefficients, q_posterior
from tutorial.step05_best_guess import eps_from_x0, x0_from
from tutorial.step06_reverse import mean_from_eps, p_xprev_given_xt, reverse_var, two_point_density

SCHEDULE = Schedule.cosine(4)
ALGEBRA = 1e-12  # float64, a handful of operations of order one
GRID = np.linspace(-8, 8, 4001)  # sums of smooth, decaying functions: exact to rounding
STEP = 0.004


def normal(x: np.ndarray | float, mean: float, var: float) -> np.ndarray:
    return np.exp(-((x - mean) ** 2) / (2 * var)) / np.sqrt(2 * np.pi * var)


def two_points(x: np.ndarray | float, t: int) -> np.ndarray:
    """The density of x_t when the data are -1 and 1."""
    abar = SCHEDULE.alpha_bar[t]
    return (normal(x, -np.sqrt(abar), 1 - abar) + normal(x, np.sqrt(abar), 1 - abar)) / 2


def bayes(xt: float, t: int) -> np.ndarray:
    """`q(x_t | x) q(x) / q(x_t)` on the grid of x = x_{t-1}: it never mentions x_0 given x_t."""
    alpha = SCHEDULE.alpha[t]
    return (
        normal(xt, np.sqrt(alpha) * GRID, 1 - alpha) * two_points(GRID, t - 1) / two_points(xt, t)
    )


def guess(xt: float, t: int) -> float:
    """`E[x_0 | x_t]` for data -1 and 1: the two likelihoods, weighed."""
    abar = SCHEDULE.alpha_bar[t]
    low, high = (normal(xt, x0 * np.sqrt(abar), 1 - abar) for x0 in (-1, 1))
    return float((high - low) / (high + low))


def moment(density: np.ndarray, k: int) -> float:
    return float((GRID**k * density).sum() * STEP)


def run_chain(x0: np.ndarray, t: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(x_{t-1}, x_t, eps)` of chains from x0; eps is their mixed noise, by products of alpha."""
    rng = np.random.default_rng(seed)
    x = x0
    mix = np.zeros_like(x0)
    for s in range(1, t + 1):
        noise = rng.standard_normal(x0.shape)
        x_prev = x
        x = np.sqrt(SCHEDULE.alpha[s]) * x + np.sqrt(SCHEDULE.beta[s]) * noise
        mix = np.sqrt(SCHEDULE.alpha[s]) * mix + np.sqrt(SCHEDULE.beta[s]) * noise
    return x_prev, x, mix / np.sqrt(1 - np.prod(SCHEDULE.alpha[1 : t + 1]))


@pytest.mark.parametrize("t", [2, 3, 4])
@pytest.mark.parametrize("xt", [0.0, -0.8])
def test_6_1_by_bayes_on_a_grid(xt: float, t: int) -> None:
    np.testing.assert_allclose(two_point_density(GRID, xt, t, SCHEDULE), bayes(xt, t), atol=1e-11)


def test_6_1_by_chains_that_passed_by() -> None:
    """2,000,000 chains from -1 and 1 (seed 1), kept if x_2 is within 0.01 of 0.3: their law."""
    x0 = np.repeat([-1.0, 1.0], 1_000_000)
    x_prev, x, _ = run_chain(x0, 2, 1)
    kept = x_prev[np.abs(x - 0.3) < 0.01]
    law = two_point_density(GRID, 0.3, 2, SCHEDULE)
    for k in (1, 2, 4):
        error = np.sqrt((moment(law, 2 * k) - moment(law, k) ** 2) / len(kept))
        assert abs((kept**k).mean() - moment(law, k)) < 4.5 * error


@pytest.mark.parametrize(("T", "said"), [(4, -1.35), (16, -0.20), (1000, -0.00007)])
def test_6_1_by_kurtosis_in_the_text(T: int, said: float) -> None:
    schedule = Schedule.cosine(T)
    x = np.linspace(-8, 8, 40_001)
    law = two_point_density(x, 0.0, T // 2, schedule)
    second, fourth = ((x**k * law).sum() / law.sum() for k in (2, 4))
    c_0, _, var = posterior_coefficients(T // 2, schedule)
    found = fourth / second**2 - 3
    assert found == pytest.approx(-2 * (c_0**2 / (c_0**2 + var)) ** 2, abs=1e-11)
    assert found == pytest.approx(said, rel=0.06)  # to the digits printed in the lesson


@pytest.mark.parametrize("t", [2, 3, 4])
def test_6_2_by_mean_of_the_true_law(t: int) -> None:
    """With x0hat = E[x_0 | x_t] the mean is exact, however little Gaussian the true law is."""
    for xt in (-0.6, 0.0, 1.1):
        p = p_xprev_given_xt(np.array([xt]), np.array([guess(xt, t)]), t, SCHEDULE, "x0")
        assert p.mean[0] == pytest.approx(moment(bayes(xt, t), 1), abs=1e-11)


def test_6_2_by_regression_on_chains() -> None:
    """Given the data, chains scatter around its mean with its variance (400,000, seed 2)."""
    n = 400_000
    x0 = np.random.default_rng(20).uniform(-2, 2, n)
    x_prev, x, _ = run_chain(x0, 3, 2)
    p = p_xprev_given_xt(x[:, None], x0[:, None], 3, SCHEDULE, "x0")
    left = x_prev - p.mean[:, 0]
    for regressor in (np.ones(n), x0, x):
        product = left * regressor
        assert abs(product.mean()) < 4.5 * product.std() / np.sqrt(n)
    assert abs(left.var() - p.var) < 4.5 * p.var * np.sqrt(2 / n)


def mean_coefficients(t: int) -> list[float]:
    """Factors of x_t and of eps in the mean of the reverse step."""
    one = np.ones(1)
    nothing = np.zeros(1)
    pairs = ((one, nothing), (nothing, one))
    return [float(p_xprev_given_xt(xt, eps, t, SCHEDULE).mean[0]) for xt, eps in pairs]


def test_6_4_by_sympy() -> None:
    """The text's derivation for all symbols, then its numbers at t = 3."""
    alpha, before, xt, eps = sympy.symbols("alpha before xt eps", positive=True)
    abar = alpha * before
    x0hat = (xt - sympy.sqrt(1 - abar) * eps) / sympy.sqrt(abar)
    plugged = sympy.sqrt(before) * (1 - alpha) * x0hat + sympy.sqrt(alpha) * (1 - before) * xt
    claimed = (xt - (1 - alpha) / sympy.sqrt(1 - abar) * eps) / sympy.sqrt(alpha)
    assert sympy.simplify(plugged / (1 - abar) - claimed) == 0
    at = {alpha: SCHEDULE.alpha[3], before: SCHEDULE.alpha_bar[2]}
    factors = [float(sympy.expand(claimed).coeff(s).subs(at)) for s in (xt, eps)]
    assert mean_coefficients(3) == pytest.approx(factors, abs=ALGEBRA)
    one = np.ones(1)
    zero = np.zeros(1)
    of_xt = mean_from_eps(zero, one, 3, SCHEDULE).item()
    of_eps = mean_from_eps(one, zero, 3, SCHEDULE).item()
    assert [of_xt, of_eps] == pytest.approx(factors, abs=ALGEBRA)


@pytest.mark.parametrize("t", [2, 3])
def test_6_4_by_regression_on_chains(t: int) -> None:
    """Least squares of x_{t-1} on (x_t, eps) over 400,000 chains (seed 4), in standard errors."""
    x0 = np.random.default_rng(40).normal(0.0, 1.5, 400_000)
    x_prev, x, eps = run_chain(x0, t, 4)
    design = np.stack([x, eps], axis=1)
    fitted, *_ = np.linalg.lstsq(design, x_prev)
    covariance = np.linalg.inv(design.T @ design) * np.var(x_prev - design @ fitted)
    gap = np.abs(fitted - mean_coefficients(t))
    np.testing.assert_array_less(gap, 4.5 * np.sqrt(np.diag(covariance)))


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_6_5_by_clip_that_reaches_the_mean(prediction: str) -> None:
    """Where x0hat is cut to 1, the step is that of a network that had said 1."""
    xt = np.array([[2.0, -2.5, 0.1]])
    out = np.array([[-3.0, 4.0, 0.05]])
    if prediction == "x0":
        out = -out
    x0hat = np.array([[1.0, -1.0, x0_from(out, xt, 2, SCHEDULE, prediction)[0, 2]]])
    clipped = p_xprev_given_xt(xt, out, 2, SCHEDULE, prediction, clip=1.0)
    np.testing.assert_allclose(clipped.mean, q_posterior(x0hat, xt, 2, SCHEDULE).mean)
    free = p_xprev_given_xt(xt, out, 2, SCHEDULE, prediction)
    assert (np.abs(free.mean - clipped.mean)[0, :2] > 0.1).all()
    # The eps of the clipped guess leads to the clipped mean without any clip: the repair of (6.4).
    repaired = p_xprev_given_xt(xt, eps_from_x0(x0hat, xt, 2, SCHEDULE), 2, SCHEDULE)
    np.testing.assert_allclose(repaired.mean, clipped.mean, atol=ALGEBRA)


@pytest.mark.parametrize("xt", [-0.4, 0.0, 1.2])
@pytest.mark.parametrize("t", [2, 3, 4])
def test_6_3_by_variance_of_the_true_law(xt: float, t: int) -> None:
    law = bayes(xt, t)
    true_var = moment(law, 2) - moment(law, 1) ** 2
    assert reverse_var(1 - guess(xt, t) ** 2, t, SCHEDULE) == pytest.approx(true_var, abs=1e-11)


@pytest.mark.parametrize("t", [1, 2, 3, 4])
@pytest.mark.parametrize("s", [0.0, 0.5, 1.0, 3.0])
def test_6_3_by_conditioning_a_joint_gaussian(s: float, t: int) -> None:
    """Data N(0, s^2): (x_0, x_{t-1}, x_t) is Gaussian; s = 0 gives beta~, s = 1 gives beta."""
    at = [s**2 * SCHEDULE.alpha_bar[u] + 1 - SCHEDULE.alpha_bar[u] for u in (t - 1, t)]
    true_var = at[0] - SCHEDULE.alpha[t] * at[0] ** 2 / at[1]
    var_x0 = s**2 - SCHEDULE.alpha_bar[t] * s**4 / at[1]
    assert reverse_var(var_x0, t, SCHEDULE) == pytest.approx(true_var, abs=ALGEBRA)
    if s in (0, 1):
        extreme = posterior_coefficients(t, SCHEDULE)[2] if s == 0 else SCHEDULE.beta[t]
        assert true_var == pytest.approx(extreme, abs=ALGEBRA)


def test_6_3_by_average_between_the_extremes() -> None:
    """Data -1 and 1 have variance 1: between on average, above beta where the bumps are even."""
    for t in (2, 3, 4):
        low = posterior_coefficients(t, SCHEDULE)[2]
        high = SCHEDULE.beta[t]
        of_xt = [reverse_var(1 - guess(x, t) ** 2, t, SCHEDULE) for x in GRID[::10]]
        average = (np.array(of_xt) * two_points(GRID[::10], t)).sum() * STEP * 10
        assert low < average < high < reverse_var(1.0, t, SCHEDULE)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_6_6_by_point_at_the_last_step(prediction: str) -> None:
    xt = np.array([[0.2, -0.9]])
    out = np.array([[0.5, 0.1]])
    p = p_xprev_given_xt(xt, out, 1, SCHEDULE, prediction)
    assert p.var == 0
    np.testing.assert_allclose(p.mean, x0_from(out, xt, 1, SCHEDULE, prediction), atol=ALGEBRA)


def test_6_6_by_drawing_the_last_step_of_a_chain() -> None:
    """A network that knows the noise ends where the chain began, whatever is drawn."""
    x0 = np.array([[0.3, -2.0], [1.1, 0.4]])
    _, xt, eps = run_chain(x0, 1, 9)
    drawn = p_xprev_given_xt(xt, eps, 1, SCHEDULE).sample(np.random.default_rng(0))
    np.testing.assert_allclose(drawn, x0, atol=ALGEBRA)


@pytest.mark.parametrize("t", [0, -1, 5])
def test_6_2_by_refusal_of_wrong_t(t: int) -> None:
    with pytest.raises(ValueError, match=rf"t = {t} is outside 1\.\.4"):
        p_xprev_given_xt(np.zeros(2), np.zeros(2), t, SCHEDULE)


def test_6_1_by_refusal_of_the_point() -> None:
    with pytest.raises(ValueError, match=r"t = 1 is outside 2\.\.4"):
        two_point_density(GRID, 0.0, 1, SCHEDULE)


@pytest.mark.parametrize("clip", [0.0, -1.0, np.nan])
def test_6_5_by_refusal_of_a_clip_that_is_not_positive(clip: float) -> None:
    with pytest.raises(ValueError, match=f"clip = {clip}"):
        p_xprev_given_xt(np.zeros(2), np.zeros(2), 1, SCHEDULE, clip=clip)


def test_6_1_by_example_in_the_text() -> None:
    """The two humps of x_{t-1} at x_t = 0, half way along a cosine schedule."""
    said = {4: (0.758, 0.355), 1000: (0.00437, 0.0560)}
    for T, (c_0, std) in said.items():
        schedule = Schedule.cosine(T)
        found, _, var = posterior_coefficients(T // 2, schedule)
        assert found == pytest.approx(c_0, rel=2e-3)
        assert np.sqrt(var) == pytest.approx(std, rel=2e-3)
        middle, hump = two_point_density(np.array([0.0, found]), 0.0, T // 2, schedule)
        assert (middle < hump) == (T == 4)  # a valley between two humps, or one hump


@pytest.mark.parametrize("t", [2, 3, 4])
def test_6_3_by_each_step(t: int) -> None:
    """Mean, kurtosis and total variance of the text for data -1 and 1, by sums on a grid."""
    xt = 0.3
    c_0, c_t, var = posterior_coefficients(t, SCHEDULE)
    true = bayes(xt, t)  # the forward density times the density of x_{t-1}, normalised
    np.testing.assert_allclose(two_point_density(GRID, xt, t, SCHEDULE), true, atol=1e-11)
    assert moment(true, 1) == pytest.approx(c_0 * guess(xt, t) + c_t * xt, abs=1e-11)
    even = bayes(0.0, t)
    assert moment(even, 2) == pytest.approx(c_0**2 + var, abs=1e-11)
    assert moment(even, 4) == pytest.approx(c_0**4 + 6 * c_0**2 * var + 3 * var**2, abs=1e-11)
    kurtosis = moment(even, 4) / moment(even, 2) ** 2 - 3
    assert kurtosis == pytest.approx(-2 * c_0**4 / (c_0**2 + var) ** 2, abs=1e-10)
    up = (1 + guess(xt, t)) / 2
    means = c_0 * np.array([1.0, -1.0]) + c_t * xt
    weights = np.array([up, 1 - up])
    var_of_mean = weights @ (means - weights @ means) ** 2
    true_var = moment(true, 2) - moment(true, 1) ** 2
    assert var + var_of_mean == pytest.approx(true_var, abs=1e-11)


@pytest.mark.parametrize("t", [2, 3, 4])
def test_6_4_by_each_step(t: int) -> None:
    """The variance for data N(0, 1), the simpler guess, and the two factors of the mean."""
    alpha = SCHEDULE.alpha[t]
    beta = SCHEDULE.beta[t]
    abar = SCHEDULE.alpha_bar[t]
    abar_prev = SCHEDULE.alpha_bar[t - 1]
    c_0, c_t, var = posterior_coefficients(t, SCHEDULE)
    missing = c_0**2 * (1 - abar)
    assert missing == pytest.approx(abar_prev * beta**2 / (1 - abar), abs=ALGEBRA)
    assert 1 - abar_prev + abar_prev * beta == pytest.approx(1 - abar, abs=ALGEBRA)
    assert var + missing == pytest.approx(beta, abs=ALGEBRA)

    x0 = np.array([1.3, -0.4])
    _, xt, eps = run_chain(x0, t, 16)
    error = x0 - np.sqrt(abar) * xt
    np.testing.assert_allclose(
        error, (1 - abar) * x0 - np.sqrt(abar * (1 - abar)) * eps, atol=ALGEBRA
    )
    for mean_square in (0.0, 0.4, 1.0):  # of x_0; the moments of x_t and of the product follow
        of_xt = abar * mean_square + 1 - abar
        square = mean_square - 2 * np.sqrt(abar) * np.sqrt(abar) * mean_square + abar * of_xt
        claimed = (1 - abar) ** 2 * mean_square + abar * (1 - abar)
        assert square == pytest.approx(claimed, abs=ALGEBRA)
        assert square <= 1 - abar + ALGEBRA

    first = beta / (np.sqrt(alpha) * (1 - abar))
    second = alpha * (1 - abar_prev) / (np.sqrt(alpha) * (1 - abar))
    assert c_0 / np.sqrt(abar) == pytest.approx(first, rel=ALGEBRA)
    assert c_t == pytest.approx(second, rel=ALGEBRA)
    assert first + second == pytest.approx(1 / np.sqrt(alpha), rel=ALGEBRA)
    # At t = 4, abar is 2e-9 and its reciprocal loses digits.
    of_eps = beta / np.sqrt(alpha * (1 - abar))
    assert c_0 * np.sqrt(1 / abar - 1) == pytest.approx(of_eps, rel=1e-9)
    one = np.ones(1)
    assert mean_from_eps(0 * one, one, t, SCHEDULE)[0] == pytest.approx(first + second, rel=ALGEBRA)
    assert mean_from_eps(one, 0 * one, t, SCHEDULE)[0] == pytest.approx(-of_eps, rel=ALGEBRA)


def test_6_5_by_errors_that_only_shrink() -> None:
    """A guess outside [-1, 1] is moved to the nearest end, which is nearer to all data inside."""
    rng = np.random.default_rng(17)
    data = rng.uniform(-1, 1, (200, 2))
    out = rng.normal(0, 3, (200, 2))
    xt = np.zeros((200, 2))
    mean = p_xprev_given_xt(xt, out, 2, SCHEDULE, "x0", clip=1.0).mean
    clipped = mean / posterior_coefficients(2, SCHEDULE)[0]
    nearest = np.where(out > 1, 1.0, np.where(out < -1, -1.0, out))
    np.testing.assert_allclose(clipped, nearest, atol=ALGEBRA)
    assert (np.abs(clipped - data) <= np.abs(out - data) + ALGEBRA).all()


def test_6_1_by_ambiguous_states() -> None:
    """Where the humps are apart, few states lie between them: the numbers of the text, T = 1000."""
    schedule = Schedule.cosine(1000)
    for t, said in ((100, -0.32), (20, -1.92)):
        c_0, _, var = posterior_coefficients(t, schedule)
        assert -2 * (c_0**2 / (c_0**2 + var)) ** 2 == pytest.approx(said, abs=5e-3)
    for t, said in ((500, 0.91), (200, 0.014), (100, 2e-8)):
        abar = schedule.alpha_bar[t]
        std = np.sqrt(1 - abar)
        edge = np.log(99) * (1 - abar) / (2 * np.sqrt(abar))  # log odds of x_0 = 1 are log 99
        signs = np.array([-1.0, 1.0])
        low, high = norm.cdf((signs * edge - np.sqrt(abar)) / std)
        assert high - low == pytest.approx(said, rel=0.2 if t == 100 else 0.04)


def test_6_3_by_two_choices_of_the_variance() -> None:
    """Data N(0, 1/4), 50 linear steps: the variance of samples with each choice, as in the text."""
    schedule = Schedule.linear(50)
    S = 0.25
    C = schedule.alpha_bar * S + 1 - schedule.alpha_bar
    forward = schedule.beta.copy()
    forward[1] = 0
    posterior = np.array([0.0, *(posterior_coefficients(t, schedule)[2] for t in range(1, 51))])
    for var, said in ((posterior, 0.197), (forward, 0.266)):
        V = 1.0
        for t in range(50, 0, -1):
            V = schedule.alpha[t] * (C[t - 1] / C[t]) ** 2 * V + var[t]
        assert abs(V - said) < 5e-4  # the digits of the text
