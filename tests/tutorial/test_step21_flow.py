"""Step 21: the flow against the chain of steps 3, 5 and 17, and CFG-Zero* by its definition."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import tutorial.step21_flow as lesson
from tests.tutorial.checks import assert_mean_is_zero
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import eps_from_x0, mean_x0, oracle_eps, x0_coefficients
from tutorial.step17_solvers import Table, ddim, run
from tutorial.step19_rules import Rule, plain
from tutorial.step21_flow import (
    VelocityOracle,
    euler,
    flow_schedule,
    flow_state,
    flow_times,
    guess_from_velocity,
    top_class,
    velocity,
    velocity_coefficients,
    with_zero_init,
    zero_is_closer_from,
    zero_star,
)

SCHEDULE = Schedule.cosine(40)
RNG = np.random.default_rng(0)
X0, EPS, F_Y, F_NULL = RNG.standard_normal((4, 30, 2))
ALGEBRA = 1e-12  # float64, a few operations of order one to a hundred


def text() -> str:
    """The lecture, each run of white space as one space."""
    return " ".join((lesson.__doc__ or "").split())


def rows(t: int) -> tuple[float, float]:
    p, q = velocity_coefficients(np.array([t]), SCHEDULE)
    return float(p[0]), float(q[0])


def test_21_1_by_its_ends_and_middle() -> None:
    np.testing.assert_array_equal(flow_state(X0, EPS, 0.0), X0)
    np.testing.assert_array_equal(flow_state(X0, EPS, 1.0), EPS)
    np.testing.assert_allclose(flow_state(X0, EPS, 0.5), (X0 + EPS) / 2, atol=ALGEBRA)


def test_21_1_by_the_chain() -> None:
    """Divided by R_u it is the state of step 3, at each noise level of another schedule."""
    for t in (1, 13, 40):
        u = flow_times(SCHEDULE)[t]
        abar = SCHEDULE.alpha_bar[t]
        state = flow_state(X0, EPS, float(u)) / np.sqrt((1 - u) ** 2 + u**2)
        wanted = np.sqrt(abar) * X0 + np.sqrt(1 - abar) * EPS
        np.testing.assert_allclose(state, wanted, atol=ALGEBRA)


def test_21_1_by_two_times() -> None:
    """Two times share one noise, as in (17.7) with c = 0; in the forward chain they do not."""
    t, s = 24, 12
    u = flow_times(SCHEDULE)
    R = np.sqrt((1 - u) ** 2 + u**2)
    x_t, x_s = (flow_state(X0, EPS, float(u[k])) / R[k] for k in (t, s))
    abar = SCHEDULE.alpha_bar
    eps = (x_t - np.sqrt(abar[t]) * X0) / np.sqrt(1 - abar[t])
    np.testing.assert_allclose(x_s, np.sqrt(abar[s]) * X0 + np.sqrt(1 - abar[s]) * eps, atol=1e-11)
    # The covariance of the two states, given x_0, from the states with x_0 = 0 and eps = 1.
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    of_flow = np.prod([flow_state(zero, one, float(u[k])) / R[k] for k in (t, s)])
    of_chain = np.sqrt(abar[t] / abar[s]) * (1 - abar[s])
    assert of_flow == pytest.approx(np.sqrt((1 - abar[t]) * (1 - abar[s])), abs=ALGEBRA)
    assert of_flow > of_chain + 0.1


def test_21_2_by_simulation() -> None:
    """The squared correlation of data of variance 1 with the state is abar."""
    x0, eps = np.random.default_rng(1).standard_normal((2, 20_000, 1))
    for t in (2, 5, 8):
        r = np.corrcoef(x0[:, 0], flow_state(x0, eps, t / 10)[:, 0])[0, 1]
        abar = flow_schedule(10).alpha_bar[t]
        # The standard error of a correlation r is (1 - r^2) / sqrt(n); five of them.
        assert r == pytest.approx(np.sqrt(abar), abs=5 * (1 - abar) / np.sqrt(20_000))


def test_21_2_by_log_snr() -> None:
    """2 log((1 - u) / u) at all times but the capped one, and the cap of step 2 there."""
    schedule = flow_schedule(50)
    u = np.arange(1, 50) / 50
    np.testing.assert_allclose(schedule.log_snr[1:50], 2 * np.log((1 - u) / u), atol=1e-10)
    assert schedule.beta[50] == 0.999


def test_21_3_by_there_and_back() -> None:
    schedule = flow_schedule(50)
    np.testing.assert_allclose(flow_times(schedule)[:50], np.arange(50) / 50, atol=ALGEBRA)


def test_21_3_by_the_example() -> None:
    schedule = Schedule(np.array([0.0, 0.2, 1 - 0.5 / 0.8]))  # abar is 1, 0.8, 0.5
    np.testing.assert_allclose(flow_times(schedule), [0, 1 / 3, 1 / 2], atol=ALGEBRA)


def test_21_3_by_the_cosine() -> None:
    """The clock of the cosine without its offset differs by less than 2 log(pi / 2)."""
    u = np.linspace(1e-4, 1 - 1e-4, 9999)
    flow = 2 * np.log((1 - u) / u)
    cosine = -2 * np.log(np.tan(np.pi * u / 2))
    most = np.abs(flow - cosine).max()
    assert 2 * np.log(np.pi / 2) - 0.001 < most < 2 * np.log(np.pi / 2)  # a grid to 1e-4
    assert f"{2 * np.log(np.pi / 2):.2f}" == "0.90"
    ratio = (1 - u) * np.tan(np.pi * u / 2) / u
    np.testing.assert_allclose(ratio * ratio[::-1], 1, atol=1e-9)  # k(1 - u) = 1 / k(u)
    np.testing.assert_allclose(flow - cosine, 2 * np.log(ratio), atol=ALGEBRA)
    assert (np.diff(ratio) < 0).all()  # so it is largest and smallest at the two ends
    assert ratio[[0, 4999, -1]] == pytest.approx([np.pi / 2, 1, 2 / np.pi], abs=1e-3)


def test_21_3_by_the_offset() -> None:
    """With its offset the cosine schedule differs by more near the data, to t = 83 of 1000."""
    cosine = Schedule.cosine(1000).log_snr[1:1000]
    u = np.arange(1, 1000) / 1000
    apart = 2 * np.log((1 - u) / u) - cosine
    assert f"it is {apart[0]:.1f} at $t = 1$ and falls below" in text()
    t = np.arange(1, 1000)
    assert f"falls below 0.90 at $t = {t[np.abs(apart) < 2 * np.log(np.pi / 2)][0]}$" in text()
    assert (np.abs(apart[83:]) < 2 * np.log(np.pi / 2)).all()
    assert 1 - Schedule.cosine(1000).alpha_bar[1] > 40 * u[0] ** 2  # u^2 in the flow


def test_21_4_by_each_step() -> None:
    """Why k falls: the slope of its logarithm, by differences, and the signs of f."""
    u = np.linspace(0.001, 0.999, 999)

    def log_k(u: np.ndarray) -> np.ndarray:
        return np.log((1 - u) * np.tan(np.pi * u / 2) / u)

    h = 1e-5  # the slope is finite at both ends too, so the next term is of the order h^2
    slope = np.pi / np.sin(np.pi * u) - 1 / (u * (1 - u))
    np.testing.assert_allclose((log_k(u + h) - log_k(u - h)) / (2 * h), slope, atol=1e-5)
    f = np.sin(np.pi * u) - np.pi * u * (1 - u)
    np.testing.assert_allclose(slope, -f / (u * (1 - u) * np.sin(np.pi * u)), atol=1e-9)
    assert (f > 0).all()
    half = u[:500]  # to 1/2
    first = np.pi * np.cos(np.pi * half) - np.pi + 2 * np.pi * half
    second = 2 * np.pi - np.pi**2 * np.sin(np.pi * half)
    # The next terms: the spacing 0.001 squared, times pi^3 / 6 and pi^4 / 6.
    np.testing.assert_allclose(np.gradient(f, u)[1:499], first[1:499], atol=1e-5)
    np.testing.assert_allclose(np.gradient(first, half)[1:-1], second[1:-1], atol=2e-5)
    assert (first[:-1] > 0).all()
    assert first[-1] == pytest.approx(0, abs=ALGEBRA)
    assert (np.diff(np.sign(second)) != 0).sum() == 1
    assert second[0] > 0 > second[-1]


def test_21_3_by_the_last_level() -> None:
    """10^-9 at T = 1000, as the text says: the square of 1 / 999 times what beta leaves."""
    assert FLOW.alpha_bar[999] == pytest.approx(1e-6, rel=0.01)
    assert FLOW.alpha_bar[-1] == pytest.approx(1e-9, rel=0.01)


def test_21_4_by_differences() -> None:
    h = 1e-4
    slope = (flow_state(X0, EPS, 0.3 + h) - flow_state(X0, EPS, 0.3 - h)) / (2 * h)
    np.testing.assert_allclose(velocity(X0, EPS), slope, atol=1e-10)  # linear: rounding / h


def test_21_4_by_the_best_output() -> None:
    """Its mean over data and noise near x_t is the oracle's: the error has no slope on F."""
    rng = np.random.default_rng(2)
    data = three_gaussians()
    x0, y = data.sample(20_000, rng)
    eps = rng.standard_normal(x0.shape)
    abar = SCHEDULE.alpha_bar[20]
    xt = np.sqrt(abar) * x0 + np.sqrt(1 - abar) * eps
    F = VelocityOracle(data, SCHEDULE, 3)(xt, 20, y)
    assert_mean_is_zero(velocity(x0, eps) - F)
    assert_mean_is_zero((velocity(x0, eps) - F) * xt)


def test_21_5_by_each_step() -> None:
    """The line through one pair; the exact mean guess and velocity of a state add up to it."""
    u = 0.3
    X = flow_state(X0, EPS, u)
    np.testing.assert_allclose(X0 + u * (EPS - X0), X, atol=ALGEBRA)
    # The same with means: of two data points, by Bayes' rule at one state on a line.
    points = np.array([1.0, -1.0])
    state = 0.4
    density = np.exp(-((state - (1 - u) * points) ** 2) / (2 * u**2))
    p = density / density.sum()
    F = p @ ((state - (1 - u) * points) / u - points)
    assert p @ points + u * F == pytest.approx(state, abs=ALGEBRA)


def test_21_5_by_weights_of_the_losses() -> None:
    """The squared error of F and of eps, for a wrong guess of any data at any state."""
    for t in (1, 13, 40):
        p, q = rows(t)
        p_eps, q_eps = x0_coefficients(t, SCHEDULE)
        guess = X0 + 0.1 * EPS
        error = ((guess - X0) ** 2).sum()
        in_F = (((guess - p * F_Y) / q - (X0 - p * F_Y) / q) ** 2).sum()
        in_eps = (((guess - p_eps * F_Y) / q_eps - (X0 - p_eps * F_Y) / q_eps) ** 2).sum()
        u = flow_times(SCHEDULE)[t]
        assert in_F / error == pytest.approx(1 / u**2, rel=1e-9)
        assert in_eps / error == pytest.approx((1 - u) ** 2 / u**2, rel=1e-9)


def test_21_5_by_data_and_noise() -> None:
    for t in (1, 20, 40):
        p, q = rows(t)
        abar = SCHEDULE.alpha_bar[t]
        xt = np.sqrt(abar) * X0 + np.sqrt(1 - abar) * EPS
        np.testing.assert_allclose(p * xt + q * velocity(X0, EPS), X0, atol=ALGEBRA)


def test_21_5_by_the_oracle() -> None:
    data = three_gaussians()
    y = np.arange(30) % 4
    for t in (1, 20, 40):
        p, q = rows(t)
        F = VelocityOracle(data, SCHEDULE, 3)(X0, t, y)
        wanted = mean_x0(X0, t, y, data, SCHEDULE)
        # x_0 of the last times is a difference of numbers up to 500.
        np.testing.assert_allclose(p * X0 + q * F, wanted, atol=1e-9)


@pytest.mark.parametrize("w", [-1.0, 0.0, 2.5])
def test_21_6_by_guided_guesses(w: float) -> None:
    p, q = rows(20)
    y, null = p * X0 + q * F_Y, p * X0 + q * F_NULL
    found = guess_from_velocity(F_Y, F_NULL, X0, 20, w, SCHEDULE)
    np.testing.assert_allclose(found, (1 + w) * y - w * null, atol=ALGEBRA)


def test_21_6_by_guided_eps() -> None:
    """The same samples as a chain guided in eps."""
    y = np.arange(30) % 3
    data = three_gaussians()
    eps = run(oracle_eps(data, SCHEDULE), y, ddim(SCHEDULE, 8), 2.0, np.random.default_rng(3))
    model = VelocityOracle(data, SCHEDULE, 3)
    F = run(model, y, euler(SCHEDULE, 8), 2.0, np.random.default_rng(3))
    np.testing.assert_allclose(F, eps, atol=1e-8)  # 8 rows, and 1 / sqrt(abar_T) = 5e2


def test_21_6_by_each_step() -> None:
    p, q = rows(20)
    w = 1.7
    left = (1 + w) * (p * X0 + q * F_Y) - w * (p * X0 + q * F_NULL)
    right = p * X0 + q * ((1 + w) * F_Y - w * F_NULL)
    np.testing.assert_allclose(left, right, atol=ALGEBRA)
    found = guess_from_velocity(F_Y, F_NULL, X0, 20, w, SCHEDULE)
    np.testing.assert_allclose(right, found, atol=ALGEBRA)


def test_21_7_by_each_step() -> None:
    """A step along the velocity, the same with the guess, and the row of the table."""
    u = flow_times(SCHEDULE)
    u_t, u_s = u[24], u[12]
    R = np.sqrt((1 - u) ** 2 + u**2)
    X = R[24] * X0
    x0hat = X - u_t * F_Y
    along = X + (u_s - u_t) * F_Y
    mixed = u_s / u_t * X + (1 - u_s / u_t) * x0hat
    np.testing.assert_allclose(along, mixed, atol=ALGEBRA)
    p, q, a, b, *_ = euler(SCHEDULE, [24, 12]).rows[0]
    found = a * (p * X0 + q * F_Y) + b * X0
    np.testing.assert_allclose(found, along / R[12], atol=ALGEBRA)


@pytest.mark.parametrize("schedule", [SCHEDULE, flow_schedule(40), Schedule.linear(40)])
def test_21_7_by_ddim(schedule: Schedule) -> None:
    found, wanted = euler(schedule, 7), ddim(schedule, 7)
    np.testing.assert_allclose(found.rows[:, 3], wanted.rows[:, 3], atol=ALGEBRA)
    assert found.rows[-1, 3] == 0


@pytest.mark.parametrize("schedule", [SCHEDULE, flow_schedule(40), Schedule.linear(40)])
def test_21_8_by_ddim(schedule: Schedule) -> None:
    found, wanted = euler(schedule, 7), ddim(schedule, 7)
    np.testing.assert_allclose(found.rows[:, 2], wanted.rows[:, 2], atol=ALGEBRA)
    np.testing.assert_allclose(found.rows[:, 4:], wanted.rows[:, 4:], atol=0)


def test_21_8_by_each_step() -> None:
    """(17.11) with the factors of the flow: the root of abar is (1 - u) / R_u."""
    u = flow_times(SCHEDULE)
    root = np.sqrt(SCHEDULE.alpha_bar)
    R = np.sqrt((1 - u) ** 2 + u**2)
    t, s = 24, 12
    a, b = euler(SCHEDULE, [t, s]).rows[0, 2:4]
    fraction = ((1 - u[s]) - u[s] / u[t] * (1 - u[t])) / R[s]
    assert root[s] - b * root[t] == pytest.approx(fraction, abs=ALGEBRA)
    assert a == pytest.approx(fraction, abs=ALGEBRA)


def test_21_8_by_the_example() -> None:
    """The two images of step 17: x_t = 0.4 becomes 0.700."""
    schedule = Schedule(np.array([0.0, 0.2, 1 - 0.5 / 0.8]))
    p, q, a, b, *_ = euler(schedule).rows[0]
    eps = eps_from_x0(np.ones((1, 1)), np.full((1, 1), 0.4), 2, schedule)
    F = velocity(np.ones((1, 1)), eps)[0]
    assert F[0] == pytest.approx(-1.434, abs=5e-4)  # three digits of the text
    assert (a * (p * 0.4 + q * F) + b * 0.4)[0] == pytest.approx(0.700, abs=5e-4)


def test_21_9_by_minimisation() -> None:
    """The factor that is in the rule, read off at w = -1, where the output is nu F_null."""
    scaled = zero_star(F_Y, F_NULL, -1.0)
    for k in range(5):

        def distance(nu: float, k: int = k) -> float:
            return float(((F_Y[k] - nu * F_NULL[k]) ** 2).sum())

        best = minimize_scalar(distance).x
        np.testing.assert_allclose(scaled[k], best * F_NULL[k], rtol=1e-6)  # a flat minimum


def test_21_9_by_orthogonality() -> None:
    rest = F_Y - zero_star(F_Y, F_NULL, -1.0)
    np.testing.assert_allclose((rest * F_NULL).sum(1), 0, atol=ALGEBRA)
    np.testing.assert_array_equal(zero_star(F_Y, 0 * F_NULL, -1.0), 0 * F_Y)


def test_21_10_by_the_example() -> None:
    y, null = np.array([[2.0, 1.0]]), np.array([[1.0, 0.0]])
    np.testing.assert_allclose(zero_star(y, null, 1.0), [[2, 2]], atol=ALGEBRA)
    np.testing.assert_allclose(plain(y, null, 1.0), [[3, 2]], atol=ALGEBRA)


def test_21_10_by_the_authors_form() -> None:
    """Their nu F_null + scale (F_y - nu F_null), with the scale 1 + w."""
    nu = (F_Y * F_NULL).sum(1, keepdims=True) / (F_NULL**2).sum(1, keepdims=True)
    wanted = nu * F_NULL + 3.5 * (F_Y - nu * F_NULL)
    np.testing.assert_allclose(zero_star(F_Y, F_NULL, 2.5), wanted, atol=1e-10)  # nu up to 1e2


def test_21_10_by_another_unit() -> None:
    """Plain guidance commutes with the conversion, and this rule does not."""
    p, q = rows(20)
    guess = zero_star(p * X0 + q * F_Y, p * X0 + q * F_NULL, 2.0)
    of_velocity = p * X0 + q * zero_star(F_Y, F_NULL, 2.0)
    assert np.abs(guess - of_velocity).max() > 0.1


def test_21_11_by_a_velocity_of_zero() -> None:
    """A row of Euler's with F = 0, in place of a and b, and all other rows unchanged."""
    table = euler(SCHEDULE, 10)
    changed = with_zero_init(table, SCHEDULE, 2)
    for k in range(2):
        p, _, a, b, *_ = table.rows[k]
        assert changed.rows[k, 3] == pytest.approx(a * p + b, abs=ALGEBRA)
        assert (changed.rows[k, [2, 4, 5, 6]] == 0).all()
    np.testing.assert_array_equal(changed.rows[2:], table.rows[2:])
    assert (table.rows[:2, 2] != 0).all()


def test_21_11_by_the_state_of_the_flow() -> None:
    """R x is the same before and after, whatever the network predicts."""
    R = np.sqrt((1 - flow_times(SCHEDULE)) ** 2 + flow_times(SCHEDULE) ** 2)
    table = with_zero_init(euler(SCHEDULE, 10), SCHEDULE)
    a, b = table.rows[0, 2:4]
    np.testing.assert_allclose(R[table.s[0]] * (a * F_Y + b * X0), R[40] * X0, atol=ALGEBRA)


@pytest.mark.parametrize("wrong", [-1, 11])
def test_21_11_by_refusal(wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"rows = {wrong} is outside 0\.\.10"):
        with_zero_init(euler(SCHEDULE, 10), SCHEDULE, wrong)


def test_21_12_by_simulation() -> None:
    """At this weight both mean squared distances to the exact velocity are equal, at u = 1."""
    x = np.random.default_rng(4).standard_normal((20_000, 2))
    data = three_gaussians()
    model = VelocityOracle(data, flow_schedule(1000), 3)
    F_y = model(x, 1000, np.zeros(20_000, int))
    F_null = model(x, 1000, np.full(20_000, 3))
    w = zero_is_closer_from(data.means[0], np.zeros(2))
    guided = ((plain(F_y, F_null, w) - F_y) ** 2).sum(1)
    zero = (F_y**2).sum(1)
    # sqrt(abar_T) = 3e-5 of information remains, far below the standard error of about 0.03.
    assert_mean_is_zero(guided - zero)


def test_21_12_by_the_example() -> None:
    found = zero_is_closer_from(np.array([0.0, 1.5]), np.zeros(2))
    assert found == pytest.approx((4.25 / 2.25) ** 0.5, abs=ALGEBRA)
    moved = zero_is_closer_from(np.array([3.0, 0.0, 4.0]), np.array([0.0, 0.0, 4.0]))
    assert moved == pytest.approx((28 / 9) ** 0.5, abs=ALGEBRA)


def without_guidance_in_first_row(table: Table) -> Table:
    changed = table.rows.copy()
    changed[0, 7] = 0
    return Table(table.t, table.s, changed)


FLOW = flow_schedule(1000)
PLAIN = euler(FLOW, 50)
ZERO = with_zero_init(PLAIN, FLOW)
MEASURED = {
    "plain | 0": (plain, 0.0, PLAIN),
    "plain, zero-init | 0": (plain, 0.0, ZERO),
    "plain | 3": (plain, 3.0, PLAIN),
    "no guidance in the first row | 3": (plain, 3.0, without_guidance_in_first_row(PLAIN)),
    "plain, zero-init | 3": (plain, 3.0, ZERO),
    r"factor $\nu$ | 3": (zero_star, 3.0, PLAIN),
    r"factor $\nu$, zero-init | 3": (zero_star, 3.0, ZERO),
}


@pytest.mark.parametrize(("name", "run_of"), MEASURED.items(), ids=MEASURED)
def test_21_10_by_samples(name: str, run_of: tuple[Rule, float, Table]) -> None:
    """The rows of the text, with the same samples: half a unit of the last digit, and rounding."""
    rule, w, table = run_of
    row = re.search(rf"\n\| {re.escape(name)} \|(.*)\|\n", lesson.__doc__ or "")
    assert row is not None
    height, across, along = [float(number) for number in row[1].split("|")]
    x = top_class(rule, w, table)
    assert x[:, 1].mean() == pytest.approx(height, abs=0.0055)
    np.testing.assert_allclose(x.var(0), (across, along), atol=0.00055)


def test_21_10_by_the_tilted_distribution() -> None:
    """Its mean height and variances at w = 3 by a sum over a lattice, as the text has them."""
    axis = np.linspace(-5, 6, 441)  # a side of 0.025, a twentieth of the standard deviation
    x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    data = three_gaussians()
    log_p = np.array([-2 * ((x - mean) ** 2).sum(1) for mean in data.means])
    tilted = np.exp(4 * log_p[0]) / np.exp(log_p).sum(0) ** 3
    tilted /= tilted.sum()
    mean = tilted @ x
    across, along = tilted @ (x - mean) ** 2
    wanted = f"has the mean height {mean[1]:.2f} and the variances {across:.2f} and {along:.2f}"
    assert wanted in text()


def test_21_10_by_moved_data() -> None:
    """Plain guidance does not depend on the origin; the rule does. Standard errors below 0.012."""
    moved = (0.0, 3.0)
    assert top_class(n=2000, moved=moved)[:, 1].mean() == pytest.approx(2.37, abs=0.05)
    assert top_class(zero_star, n=2000, moved=moved)[:, 1].mean() == pytest.approx(1.55, abs=0.06)


def test_21_5_by_one_row() -> None:
    """One Euler step from noise returns the mean of the class, up to sqrt(abar_T) = 3e-5."""
    x = top_class(w=0.0, table=euler(FLOW, 1), n=50)
    np.testing.assert_allclose(x, np.tile([0, 1.5], (50, 1)), atol=1e-3)
