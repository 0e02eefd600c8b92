"""Step 8, by two routes an equation: differences, sympy, quadrature, averages, regression.

The terms are at most quadratic in the noise, so Gauss-Hermite with three nodes averages exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sympy

from tests.tutorial.checks import kl_by_quadrature
from tutorial.appendix.a_elbo import elbo_terms, exact_eps, gaussian_kl, reverse_step
from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import q_posterior
from tutorial.step08_loss import (
    bound_by_regression,
    eps_weight,
    eps_weight_by_log_snr,
    shared_slope,
    sigma_squared,
    simple_loss,
    x0_weight,
)

# Short, and with data left at T (alpha_bar = 0.15), so that every term of the bound is of order 1.
SCHEDULE = Schedule(np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5]))
T = 5
X0 = 0.7
BETA = SCHEDULE.beta
ABAR = np.exp(np.cumsum(np.log(1 - SCHEDULE.beta)))
RHO = np.array([np.nan, 0.5, 0.3, 0.8, 0.4, 0.7])  # eps = RHO x_t + SHIFT: no model is this wrong
SHIFT = np.array([np.nan, 0.1, -0.2, 0.3, 0.0, -0.4])
CHOICES = ("posterior", "beta")
ALGEBRA = 1e-11  # float64, sums of some dozen terms of order one to ten: 1e4 roundings of room
NODES, SHARES = np.polynomial.hermite_e.hermegauss(3)
SHARES = SHARES / SHARES.sum()
Y3 = np.zeros(3, int)

Model = Callable[[np.ndarray, int, np.ndarray], np.ndarray]


def affine(rho: np.ndarray = RHO, shift: np.ndarray = SHIFT) -> Model:
    return lambda xt, t, y: rho[t] * xt + shift[t]


def expected_terms(choice: str, model: Model | None = None) -> np.ndarray:
    """`E_q[L_0], .., E_q[L_T]` at X0, exactly."""
    eps = np.tile(NODES[:, None], (T + 1, 1, 1))
    return elbo_terms(model or affine(), np.full((3, 1), X0), Y3, eps, SCHEDULE, choice) @ SHARES


def difference_weight(t: int, choice: str) -> float:
    """Half the second difference of the charge for x_{t-1} as the model's eps moves off the truth.

    The charge is quadratic in eps: no truncation error, and rounding of about 1e-15 at a step of 1.
    """
    x0 = np.array([[X0]])
    xt = np.array([[0.4]])
    eps = 0.3
    y = np.zeros(1, int)

    def charge(off: float) -> float:
        p = reverse_step(lambda xt, t, y: 0 * xt + eps + off, xt, y, t, SCHEDULE, choice)
        if t == 1:
            return -np.asarray(p.log_density(x0)).item()
        return np.asarray(gaussian_kl(q_posterior(x0, xt, t, SCHEDULE), p)).item()

    return (charge(1) - 2 * charge(0) + charge(-1)) / 2


def test_8_1_by_each_step() -> None:
    """Two steps and affine reverse steps on a line: the bound, its terms, and the distance.

    The mean over q of the ratio of the densities is an integral over (x_1, x_2), here a sum over a
    grid. That of its logarithm is quadratic in the noises, so three nodes average it exactly.
    """
    schedule = Schedule(np.array([0, 0.2, 0.4]))
    abar = np.array([1.0, 0.8, 0.48])
    slope = np.array([np.nan, 0.7, 0.6])
    shift = np.array([np.nan, 0.2, -0.1])
    var = np.array([np.nan, 0.2, 0.4 * 0.2 / 0.52])  # beta_1, and the posterior's at t = 2

    def log_normal(x: np.ndarray, mean: np.ndarray | float, var: float) -> np.ndarray:
        return -((x - mean) ** 2) / (2 * var) - np.log(2 * np.pi * var) / 2

    def log_p(x0: np.ndarray, x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
        first = log_normal(x0, slope[1] * x1 + shift[1], var[1])
        second = log_normal(x1, slope[2] * x2 + shift[2], var[2])
        return log_normal(x2, 0.0, 1.0) + second + first

    x0 = np.array(X0)
    mean = slope[1] * shift[2] + shift[1]
    spread = slope[1] ** 2 * (slope[2] ** 2 + var[2]) + var[1]
    exact = float(log_normal(x0, mean, spread))
    axis = np.linspace(-8, 8, 801)
    x1, x2 = np.meshgrid(axis, axis)
    integral = np.exp(log_p(x0, x1, x2)).sum() * (axis[1] - axis[0]) ** 2
    assert exact == pytest.approx(np.log(integral), abs=1e-9)

    z1, z2 = np.meshgrid(NODES, NODES)
    shares = np.outer(SHARES, SHARES)
    x1 = 0.8**0.5 * x0 + 0.2**0.5 * z1
    x2 = 0.6**0.5 * x1 + 0.4**0.5 * z2
    log_q = log_normal(x1, 0.8**0.5 * x0, 0.2) + log_normal(x2, 0.6**0.5 * x1, 0.4)
    L = float((shares * (log_q - log_p(x0, x1, x2))).sum())
    assert exact > -L + 0.01

    def eps_of(xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
        """The eps for which (6.4) gives the reverse mean above."""
        mean = slope[t] * xt + shift[t]
        alpha = 1 - schedule.beta[t]
        return (xt - np.sqrt(alpha) * mean) * np.sqrt(1 - abar[t]) / schedule.beta[t]

    eps = np.zeros((3, 3, 1))
    eps[1] = eps[2] = NODES[:, None]
    terms = elbo_terms(eps_of, np.full((3, 1), X0), Y3, eps, schedule) @ SHARES
    assert terms.sum() == pytest.approx(L, abs=ALGEBRA)

    # The divergence with another variance, and the mean with the true noise at t = 1.
    gap = 0.3 - 1.1
    in_full = gap**2 / (2 * 0.5) + (0.2 / 0.5 - 1 - np.log(0.2 / 0.5)) / 2
    assert in_full == pytest.approx(kl_by_quadrature(0.3, 0.2, 1.1, 0.5), abs=1e-8)  # quad's own
    state = np.array([[0.8**0.5 * X0 + 0.2**0.5 * 0.9]])
    p = reverse_step(lambda xt, t, y: 0 * xt + 0.9, state, np.zeros(1, int), 1, schedule)
    assert p.mean.item() == pytest.approx(X0, abs=ALGEBRA)

    xt = np.array([[0.4]])
    posterior = q_posterior(np.array([[X0]]), xt, 2, schedule)
    p = reverse_step(eps_of, xt, np.zeros(1, int), 2, schedule, "posterior")
    by_kl = kl_by_quadrature(posterior.mean.item(), posterior.var, p.mean.item(), p.var)
    e = (xt.item() - abar[2] ** 0.5 * X0) / (1 - abar[2]) ** 0.5 - eps_of(xt, 2, Y3).item()
    distance = 0.4 * abs(e) / (0.6 * 0.52) ** 0.5
    assert abs(posterior.mean.item() - p.mean.item()) == pytest.approx(distance, abs=ALGEBRA)
    assert distance**2 / (2 * var[2]) == pytest.approx(by_kl, abs=1e-8)  # quad's own
    assert eps_weight(2, schedule) * e**2 == pytest.approx(by_kl, abs=1e-8)


def test_8_1_by_numbers_in_the_text() -> None:
    """The five weights of the example, and four of the linear schedule with T = 1000."""
    found = [eps_weight(t, SCHEDULE) for t in range(2, 6)]
    assert found == pytest.approx([1.25, 0.765, 0.672, 0.717], abs=6e-4)
    linear = Schedule.linear(1000)
    found = [eps_weight(t, linear) for t in (2, 10, 350, 1000)]
    assert found == pytest.approx([0.600, 0.086, 0.005, 0.010], abs=6e-4)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("t", range(1, T + 1))
def test_8_1_by_second_difference(t: int, choice: str) -> None:
    found = eps_weight(t, SCHEDULE, choice)
    assert found == pytest.approx(difference_weight(t, choice), rel=ALGEBRA)


@pytest.mark.parametrize("choice", CHOICES)
def test_8_1_by_sympy(choice: str) -> None:
    """From the posterior's weight of x_0 and (3.2) solved for x_0, simplified by sympy."""
    beta, prev, eps = sympy.symbols("beta prev eps", positive=True)
    abar = prev * (1 - beta)
    x0_off = sympy.sqrt(1 - abar) / sympy.sqrt(abar) * eps
    mean_off = sympy.sqrt(prev) * beta / (1 - abar) * x0_off
    var = {"beta": beta, "posterior": 1 / ((1 - beta) / beta + 1 / (1 - prev))}[choice]
    weight = sympy.simplify(mean_off**2 / (2 * var) / eps**2)
    for t in range(2, T + 1):
        value = weight.subs({beta: BETA[t], prev: ABAR[t - 1]})
        assert eps_weight(t, SCHEDULE, choice) == pytest.approx(float(value), rel=ALGEBRA)


@pytest.mark.parametrize("t", [0, -1, T + 1])
def test_8_1_by_refusal_of_wrong_t(t: int) -> None:
    for choice in CHOICES:
        with pytest.raises(ValueError, match=f"t = {t} is outside 1..5"):
            eps_weight(t, SCHEDULE, choice)


def test_8_1_by_refusal_of_wrong_choice() -> None:
    with pytest.raises(ValueError, match="choice = 'large' is none of posterior, beta"):
        eps_weight(2, SCHEDULE, "large")


@pytest.mark.parametrize("choice", CHOICES)
def test_8_2_by_draw(choice: str) -> None:
    """Noise by noise: what a model costs above one that knows the noise is the weighted loss."""
    rng = np.random.default_rng(1)
    y = np.zeros(1, int)
    x0 = np.array([[0.7, -1.5]])
    eps = rng.standard_normal((T + 1, 1, 2))
    knowing = elbo_terms(lambda xt, t, y: eps[t], x0, y, eps, SCHEDULE, choice)
    terms = elbo_terms(affine(), x0, y, eps, SCHEDULE, choice)
    loss = [simple_loss(affine(), x0, y, t, eps[t], SCHEDULE) for t in range(1, T + 1)]
    weight = [difference_weight(t, choice) for t in range(1, T + 1)]
    np.testing.assert_allclose((terms - knowing)[:T, 0], np.multiply(weight, loss), atol=ALGEBRA)
    C = knowing.sum()
    bound = bound_by_regression(C, np.array(weight), np.array(loss))
    assert bound == pytest.approx(terms.sum(), abs=ALGEBRA)


@pytest.mark.parametrize("choice", CHOICES)
def test_8_2_by_gradient(choice: str) -> None:
    """With the weights the two gradients are one; without them they point elsewhere.

    One slope a time. d loss / d rho_t = 2 E[x_t (rho x_t + shift - eps)], closed form at X0;
    L is quadratic in rho, so a central difference has no truncation error.
    """
    by_bound = np.empty(T)
    by_loss = np.empty(T)
    for t in range(1, T + 1):
        up = RHO.copy()
        down = RHO.copy()
        up[t] = RHO[t] + 0.5
        down[t] = RHO[t] - 0.5
        sides = [expected_terms(choice, affine(rho)).sum() for rho in (up, down)]
        by_bound[t - 1] = sides[0] - sides[1]
        mean = np.sqrt(ABAR[t]) * X0
        second = mean**2 + 1 - ABAR[t]
        by_loss[t - 1] = 2 * (RHO[t] * second + SHIFT[t] * mean - np.sqrt(1 - ABAR[t]))
    weight = np.array([eps_weight(t, SCHEDULE, choice) for t in range(1, T + 1)])
    np.testing.assert_allclose(by_bound, by_loss * weight, atol=ALGEBRA)
    # The bound as a function of the losses alone: one loss at a time is moved by its gradient.
    moved = [bound_by_regression(0.0, weight, step) for step in np.diag(by_loss)]
    np.testing.assert_allclose(by_bound, moved, atol=ALGEBRA)
    np.testing.assert_array_equal(np.sign(by_bound), np.sign(by_loss))  # each t alone: same side
    cosine = by_bound @ by_loss / np.linalg.norm(by_bound) / np.linalg.norm(by_loss)
    assert np.degrees(np.arccos(cosine)) > 5  # across t: another direction


@pytest.mark.parametrize("t", range(2, T + 1))
def test_8_3_by_each_step(t: int) -> None:
    """Both quotients, from the product of the alphas."""
    before, abar = ABAR[t - 1], ABAR[t]
    N = (1 - abar) * (1 - before)
    c_0 = np.sqrt(before) * BETA[t] / (1 - abar)
    posterior_var = BETA[t] * (1 - before) / (1 - abar)
    assert c_0**2 / posterior_var == pytest.approx(before * BETA[t] / N, rel=ALGEBRA)
    assert before * BETA[t] == pytest.approx(before - abar, rel=ALGEBRA)
    fall = before / (1 - before) - abar / (1 - abar)
    assert fall == pytest.approx((before - abar) / N, rel=ALGEBRA)
    assert x0_weight(t, SCHEDULE) == pytest.approx(c_0**2 / posterior_var / 2, rel=ALGEBRA)


@pytest.mark.parametrize("t", range(2, T + 1))
def test_8_3_by_quadrature(t: int) -> None:
    """KL of two posteriors whose data differ by 0.6, integrated."""
    xt = np.array([0.4])
    off = 0.6
    g1, g2 = (q_posterior(np.array([x0]), xt, t, SCHEDULE) for x0 in (X0, X0 + off))
    kl = kl_by_quadrature(g1.mean[0], g1.var, g2.mean[0], g2.var)
    assert x0_weight(t, SCHEDULE) * off**2 == pytest.approx(kl, abs=1e-8)  # quad's own


def test_8_3_by_telescoping() -> None:
    """Differences of SNR add up to what the first state knows and the last does not."""
    first = ABAR[1] / (1 - ABAR[1])
    last = ABAR[T] / (1 - ABAR[T])
    total = sum(x0_weight(t, SCHEDULE) for t in range(2, T + 1))
    assert total == pytest.approx((first - last) / 2, rel=ALGEBRA)


def test_8_3_by_refusal_at_the_data() -> None:
    """SNR_0 is infinite, and so would be the weight at t = 1."""
    with pytest.raises(ValueError, match=r"t = 1 is outside 2..5"):
        x0_weight(1, SCHEDULE)


def test_8_4_by_refusal_at_the_data() -> None:
    """The log SNR falls from infinity there."""
    with pytest.raises(ValueError, match=r"t = 1 is outside 2..5"):
        eps_weight_by_log_snr(1, SCHEDULE)


@pytest.mark.parametrize("t", range(2, T + 1))
def test_8_4_by_each_step(t: int) -> None:
    """The data that two values of eps imply for the same x_t: the ratio of the squares is SNR."""
    xt = 0.4
    x0, other = ((xt - np.sqrt(1 - ABAR[t]) * eps) / np.sqrt(ABAR[t]) for eps in (0.3, -0.5))
    snr = ABAR[t] / (1 - ABAR[t])
    assert snr * (x0 - other) ** 2 == pytest.approx(0.8**2, rel=ALGEBRA)
    assert eps_weight_by_log_snr(t, SCHEDULE) == pytest.approx(
        x0_weight(t, SCHEDULE) / snr, rel=ALGEBRA
    )


def test_8_4_by_last_step_of_the_cosine_schedule() -> None:
    """lambda falls by nearly 7 there, since alpha is 0.001 and almost nothing is left of it."""
    log_snr = Schedule.cosine(1000).log_snr
    assert log_snr[999] - log_snr[1000] == pytest.approx(6.9, abs=0.05)


def test_8_4_by_telescoping() -> None:
    """The factors 1 + 2 kappa_t multiply up to SNR_1 / SNR_T, on a real schedule too."""
    for schedule in (SCHEDULE, Schedule.cosine(1000)):
        kappa = np.array([eps_weight(t, schedule) for t in range(2, schedule.T + 1)])
        abar = np.exp(np.log1p(-schedule.beta[1:]).sum())
        ratio = (1 - schedule.beta[1]) / schedule.beta[1] * (1 - abar) / abar
        # 1 - alpha_bar_1 = 4e-5 has lost four digits of float64; so has kappa_2.
        assert np.prod(1 + 2 * kappa) == pytest.approx(ratio, rel=1e-10)


@pytest.mark.parametrize("t", range(2, T + 1))
def test_8_4_by_log_snr(t: int) -> None:
    fall = SCHEDULE.log_snr[t - 1] - SCHEDULE.log_snr[t]
    assert 2 * eps_weight(t, SCHEDULE) == pytest.approx(np.expm1(fall), rel=ALGEBRA)
    assert eps_weight_by_log_snr(t, SCHEDULE) == pytest.approx(eps_weight(t, SCHEDULE), rel=ALGEBRA)


def test_8_4_by_small_steps() -> None:
    """Half the fall of lambda: the relative error is half a step, here below 0.3%."""
    schedule = Schedule.linear(100_000)
    fall = schedule.log_snr[39_999] - schedule.log_snr[40_000]
    assert eps_weight(40_000, schedule) == pytest.approx(fall / 2, rel=3e-3)


def test_8_5_by_loop() -> None:
    rng = np.random.default_rng(2)
    y = np.array([0, 1, 2, 1])
    x0, eps = rng.standard_normal((2, 4, 2))
    total = 0.0
    for i in range(4):
        for d in range(2):
            xt = np.sqrt(ABAR[3]) * x0[i, d] + np.sqrt(1 - ABAR[3]) * eps[i, d]
            total += (eps[i, d] - 3 * xt - y[i]) ** 2 / 4
    model: Model = lambda xt, t, y: t * xt + y[:, None]  # noqa: E731
    assert simple_loss(model, x0, y, 3, eps, SCHEDULE) == pytest.approx(total, rel=ALGEBRA)


@pytest.mark.parametrize("t", [1, 3, T])
def test_8_5_by_variance_left_over(t: int) -> None:
    """For data N(0, 1) the best denoiser is left with Var(eps | x_t) = alpha_bar_t, by hermite."""
    x0, eps = (a.reshape(-1, 1) for a in np.meshgrid(NODES, NODES))
    shares = np.outer(SHARES, SHARES).ravel()
    each = [
        simple_loss(exact_eps(SCHEDULE), x0[[i]], Y3[:1], t, eps[[i]], SCHEDULE) for i in range(9)
    ]
    assert shares @ each == pytest.approx(ABAR[t], abs=ALGEBRA)


@pytest.mark.parametrize("t", [0, -1, T + 1])
def test_8_5_by_refusal_of_wrong_t(t: int) -> None:
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..5"):
        simple_loss(affine(), np.zeros((3, 1)), Y3, t, np.zeros((3, 1)), SCHEDULE)


def loss_of_slope(rho: float, t: int, var_x0: float) -> float:
    """`E |eps - rho x_t|^2` for data N(0, var_x0), by nine draws that average exactly."""
    x0, eps = (a.reshape(-1, 1) for a in np.meshgrid(np.sqrt(var_x0) * NODES, NODES))
    shared = affine(np.full(T + 1, rho), np.zeros(T + 1))
    each = [simple_loss(shared, x0[[i]], Y3[:1], t, eps[[i]], SCHEDULE) for i in range(9)]
    return float(np.outer(SHARES, SHARES).ravel() @ each)


def test_8_6_by_each_step() -> None:
    """The two means by nine draws that average exactly, and the derivative, which is 0 at rho."""
    x0, eps = np.meshgrid(np.sqrt(0.3) * NODES, NODES)
    shares = np.outer(SHARES, SHARES)
    weights = np.array([2.0, 0.5, 1.0, 3.0, 0.1])
    rho = shared_slope(weights, 0.3, SCHEDULE)
    total = 0.0
    for t in range(1, T + 1):
        xt = np.sqrt(ABAR[t]) * x0 + np.sqrt(1 - ABAR[t]) * eps
        var_xt = 0.3 * ABAR[t] + 1 - ABAR[t]
        assert (shares * xt * eps).sum() == pytest.approx(np.sqrt(1 - ABAR[t]), abs=ALGEBRA)
        assert (shares * xt**2).sum() == pytest.approx(var_xt, abs=ALGEBRA)
        total += weights[t - 1] * (rho * var_xt - np.sqrt(1 - ABAR[t]))
    assert total == pytest.approx(0, abs=ALGEBRA)


@pytest.mark.parametrize("kept", [True, False])
def test_8_6_by_parabola(kept: bool) -> None:
    """The total is a parabola in rho: three of its values give its lowest point."""
    weights = np.array([eps_weight(t, SCHEDULE) if kept else 1.0 for t in range(1, T + 1)])
    left, middle, right = (
        sum(k * loss_of_slope(rho, t, 0.3) for t, k in enumerate(weights, 1)) for rho in (-1, 0, 1)
    )
    lowest = (left - right) / (2 * (left - 2 * middle + right))
    assert shared_slope(weights, 0.3, SCHEDULE) == pytest.approx(lowest, abs=ALGEBRA)


@pytest.mark.parametrize("t", range(1, T + 1))
def test_8_6_by_regression_at_one_t(t: int) -> None:
    """Free at every t, a model finds the slope of eps on x_t, whatever that t's weight."""
    rng = np.random.default_rng(t)
    n = 100_000
    eps = rng.standard_normal(n)
    x0 = np.sqrt(0.3) * rng.standard_normal(n)
    xt = np.sqrt(ABAR[t]) * x0 + np.sqrt(1 - ABAR[t]) * eps
    slope = (eps @ xt) / (xt @ xt)
    error = np.std(eps - slope * xt) / np.sqrt(xt @ xt)
    for weight in (0.01, 1.0, 50.0):
        alone = np.where(np.arange(1, T + 1) == t, weight, 0.0)
        assert abs(shared_slope(alone, 0.3, SCHEDULE) - slope) < 4.5 * error


def test_8_6_by_numbers_in_the_lesson() -> None:
    """What the text says of the linear schedule at T = 1000, and of the cosine one."""
    schedule = Schedule.linear(1000)
    kappa = np.array([eps_weight(t, schedule) for t in range(1, 1001)])
    assert shared_slope(kappa, 1.0, schedule) == pytest.approx(0.54, abs=0.005)
    assert shared_slope(np.ones(1000), 1.0, schedule) == pytest.approx(0.81, abs=0.005)
    raised = kappa.mean() / kappa
    assert 1 / raised[1] == pytest.approx(56, abs=0.5)
    assert raised[349] == raised.max() == pytest.approx(2.1, abs=0.05)
    own = np.sqrt(1 - schedule.alpha_bar[[1, 1000]])
    assert own == pytest.approx([0.01, 1], abs=5e-3)
    capped = Schedule.cosine(1000)
    cosine = np.array([eps_weight(t, capped) for t in range(1, 1001)])
    assert cosine[-1] / cosine.sum() == pytest.approx(0.97, abs=0.005)
    assert shared_slope(cosine, 1.0, capped) == pytest.approx(0.99, abs=0.005)
    assert shared_slope(np.ones(1000), 1.0, capped) == pytest.approx(0.64, abs=0.005)


@pytest.mark.parametrize("choice", CHOICES)
def test_8_7_by_second_difference(choice: str) -> None:
    assert difference_weight(1, choice) == pytest.approx(1 / (2 * 0.9), rel=ALGEBRA)
    assert eps_weight(1, SCHEDULE, choice) == pytest.approx(1 / (2 * 0.9), rel=ALGEBRA)


def test_8_7_by_spread_of_the_data() -> None:
    """beta_1 is what data N(0, 1) leave open: residuals of x_0 on x_1 (N = 200,000, 4.5 errors)."""
    rng = np.random.default_rng(3)
    n = 200_000
    x0 = rng.standard_normal(n)
    x1 = np.sqrt(0.9) * x0 + np.sqrt(0.1) * rng.standard_normal(n)
    left = (x0 - (x0 @ x1) / (x1 @ x1) * x1).var()
    for choice in CHOICES:
        assert abs(sigma_squared(1, SCHEDULE, choice) - left) < 4.5 * left * np.sqrt(2 / n)
