"""Step 18: the flow by ODE solvers, 2M as its paper has it, errors by series and slopes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import sympy
from scipy.integrate import quad, solve_ivp

import tutorial.step18_dpmpp as lesson
from tests.tutorial.noise import Given
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import mean_x0, oracle_eps, score
from tutorial.step17_solvers import Table, chain_var, ddim, flow_velocity, run, run_steps
from tutorial.step18_dpmpp import (
    before_last,
    change_of_u,
    data_fraction,
    dpmpp_2m,
    euler_step,
    even_in_log_snr,
    flow_error,
    flow_state,
    guided,
    leading_error,
    left_by_last_row,
)

SCHEDULE = Schedule.linear(20)
MEAN = 0.8
VARS = (0.1, 0.25, 1.7)
SOLVERS: list[tuple[int, Callable[[Schedule], Table]]] = [(1, ddim), (2, dpmpp_2m)]


@dataclass
class Curve:
    """An x0-network whose guess is a function of log SNR alone."""

    f: Callable[[float], float]
    schedule: Schedule
    num_classes: int = 1
    prediction: str = "x0"

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        return np.full_like(xt, self.f(float(self.schedule.log_snr[t])))


def one_class(var: float) -> GaussianMixture:
    return GaussianMixture(np.full((1, 2), MEAN), var * np.eye(2)[None], np.ones(1))


def at(log_snr: float) -> Schedule:
    """A schedule whose t = 1 has this log SNR: how a model is asked about any noise there is."""
    return Schedule(np.array([0.0, 1 / (1 + np.exp(log_snr))]))


def guess(x: np.ndarray, log_snr: float, y: np.ndarray, w: float, data: GaussianMixture):
    """The oracle's guess of x_0, guided, at any log SNR."""
    of_y, of_null = (
        mean_x0(x, 1, label, data, at(log_snr)) for label in (y, np.full_like(y, data.num_classes))
    )
    return of_y + w * (of_y - of_null)


def kappa(t: int | np.ndarray, schedule: Schedule) -> np.ndarray:
    return np.exp(schedule.log_snr[t] / 2)


def exact(t: int, schedule: Schedule, var: float, xi: float) -> float:
    """(18.5) in one dimension."""
    abar = schedule.alpha_bar[t]
    return float(np.sqrt(abar) * MEAN + np.sqrt(abar * var + 1 - abar) * xi)


def numbers_in_row(name: str) -> list[float]:
    """The numbers of the row of a table in the text that begins with `name`."""
    row = re.search(rf"\n\| {re.escape(name)} \|(.*)\|\n", lesson.__doc__ or "")
    assert row is not None
    return [float(number) for number in row[1].split("|")]


def test_18_1_by_each_step() -> None:
    """u and kappa from alpha_bar; kappa squared is the SNR; a and b divided by the noise at s."""
    t, s = 13, 6
    abar_t, abar_s = SCHEDULE.alpha_bar[[t, s]]
    kappa_t = np.sqrt(abar_t / (1 - abar_t))
    assert kappa_t == pytest.approx(kappa(t, SCHEDULE), rel=1e-13)
    _, _, a, b, *_ = ddim(SCHEDULE, [t, s]).rows[0]
    noise_s = np.sqrt(1 - abar_s)
    assert b == pytest.approx(np.sqrt((1 - abar_s) / (1 - abar_t)), abs=1e-15)
    assert a == pytest.approx(np.sqrt(abar_s) - b * np.sqrt(abar_t), abs=1e-14)
    assert a / noise_s == pytest.approx(kappa(s, SCHEDULE) - kappa_t, abs=1e-13)
    assert b * 0.4 / noise_s == pytest.approx(0.4 / np.sqrt(1 - abar_t), abs=1e-14)


@pytest.mark.parametrize(("t", "s"), [(20, 13), (13, 12), (7, 7)])
def test_18_1_by_row_of_ddim(t: int, s: int) -> None:
    """The step in u, and the row that step 17 derives; a step of no length changes nothing."""
    rng = np.random.default_rng(6)
    xt, x0hat = rng.standard_normal((2, 5, 2))
    found = euler_step(xt, x0hat, t, s, SCHEDULE)
    if t == s:
        wanted = xt
    else:
        _, _, a, b, *_ = ddim(SCHEDULE, [t, s]).rows[0]
        wanted = a * x0hat + b * xt
    np.testing.assert_allclose(found, wanted, atol=1e-13)


@pytest.mark.parametrize(("t", "s"), [(21, 3), (5, 0), (0, 0)])
def test_18_1_by_refusal_of_times(t: int, s: int) -> None:
    x = np.zeros((1, 2))
    with pytest.raises(ValueError, match=r"outside 1\.\.20"):
        euler_step(x, x, t, s, SCHEDULE)


def test_18_1_by_chain_of_the_oracle() -> None:
    """u and the guess of every state of a DDIM chain, the guess asked of the oracle anew."""
    data = three_gaussians()
    y = np.array([0, 1, 2, 3])
    path = list(
        run_steps(oracle_eps(data, SCHEDULE), y, ddim(SCHEDULE, 7), 1.5, np.random.default_rng(0))
    )
    for (t, x), (s, x_s) in pairwise(path[:-1]):
        u = x / np.sqrt(1 - SCHEDULE.alpha_bar[t])
        u_s = x_s / np.sqrt(1 - SCHEDULE.alpha_bar[s])
        step = (kappa(s, SCHEDULE) - kappa(t, SCHEDULE)) * guess(
            x, float(SCHEDULE.log_snr[t]), y, 1.5, data
        )
        np.testing.assert_allclose(u_s - u, step, atol=1e-11)
        x0hat = guess(x, float(SCHEDULE.log_snr[t]), y, 1.5, data)
        np.testing.assert_allclose(euler_step(x, x0hat, t, s, SCHEDULE), x_s, atol=1e-11)


@pytest.mark.parametrize("steps", [7, 20])
def test_18_1_by_exponentials(steps: int) -> None:
    """The row in powers of e, as the papers have it: a = sqrt(abar_s) (1 - e^{-h / 2})."""
    table = ddim(SCHEDULE, steps)
    t = table.t[:-1]
    s = table.s[:-1]
    h = SCHEDULE.log_snr[s] - SCHEDULE.log_snr[t]
    a = -np.sqrt(SCHEDULE.alpha_bar[s]) * np.expm1(-h / 2)
    np.testing.assert_allclose(table.rows[:-1, 2], a, atol=1e-14)
    ratio = np.sqrt(SCHEDULE.alpha_bar[s] / SCHEDULE.alpha_bar[t])
    np.testing.assert_allclose(table.rows[:-1, 3], ratio * np.exp(-h / 2), atol=1e-13)


def test_18_2_by_each_step() -> None:
    """The equation of step 17 in the unit of this step, for one prediction; and d kappa."""
    k = 1.4
    tau = 1 / k**2
    eps = np.array([[0.3, -1.1]])
    bar_x = np.array([[0.9, 0.2]])
    abar = k**2 / (1 + k**2)
    assert tau == pytest.approx((1 - abar) / abar, abs=1e-15)
    x = np.sqrt(abar) * bar_x
    np.testing.assert_allclose(x / np.sqrt(1 - abar), k * bar_x, atol=1e-15)
    np.testing.assert_allclose(k * bar_x, bar_x / np.sqrt(tau), atol=1e-15)
    # d tau / d kappa = -2 / kappa^3
    of_bar_x = flow_velocity(eps, tau) * (-2 / k**3)
    np.testing.assert_allclose(of_bar_x, eps * k / 2 * (-2 / k**3), atol=1e-15)
    np.testing.assert_allclose(of_bar_x, -eps / k**2, atol=1e-15)
    of_u = bar_x + k * of_bar_x
    np.testing.assert_allclose(of_u, bar_x - np.sqrt(tau) * eps, atol=1e-15)
    x0hat = (x - np.sqrt(1 - abar) * eps) / np.sqrt(abar)
    np.testing.assert_allclose(of_u, x0hat, atol=1e-15)
    h = 1e-6  # the difference of e^{lambda / 2} has an error of h^2 / 24
    first, last = (np.exp((2 * np.log(k) + sign * h) / 2) for sign in (-1, 1))
    assert (last - first) / (2 * h) == pytest.approx(k / 2, abs=1e-9)


def test_18_2_by_antiderivatives() -> None:
    """A constant guess gives the change of kappa, and kappa itself half that of its square.

    The midpoint rule errs by the third derivative times (4 / 1000)^2 / 24, here below 1e-5.
    """
    for f, F in ((lambda _: 3.0, lambda k: 3 * k), (lambda v: np.exp(v / 2), lambda k: k**2 / 2)):
        found = change_of_u(lambda v, f=f: float(f(v)), -2.0, 2.0)
        assert found == pytest.approx(F(np.exp(1)) - F(np.exp(-1)), abs=1e-5)


def test_18_2_by_the_flow_of_one_class() -> None:
    """The guess along (18.5), integrated, leads from one state of the flow to the next."""
    var = 0.25
    xi = 1.3
    t, s = 13, 4

    def guess_on_the_flow(log_snr: float) -> float:
        x = np.full((1, 2), exact(1, at(log_snr), var, xi))
        return float(guess(x, log_snr, np.zeros(1, int), 0.0, one_class(var))[0, 0])

    first, last = (float(SCHEDULE.log_snr[k]) for k in (t, s))
    u_t, u_s = (exact(k, SCHEDULE, var, xi) / np.sqrt(1 - SCHEDULE.alpha_bar[k]) for k in (t, s))
    found = change_of_u(guess_on_the_flow, first, last, 200)
    # The interval is 3.1 long: its square / 200^2 / 24 is 1e-5, times a second derivative near 1.
    assert found == pytest.approx(u_s - u_t, abs=1e-4)


@pytest.mark.parametrize("var", VARS)
def test_18_2_by_quadrature(var: float) -> None:
    """Along the exact flow of one Gaussian the integral of the guess is the change of u."""
    xi = 1.3
    for t, s in ((20, 13), (13, 4), (4, 1)):
        ends = SCHEDULE.log_snr[[t, s]]

        def integrand(log_snr: float) -> float:
            x = np.full((1, 2), exact(1, at(log_snr), var, xi))
            D = guess(x, log_snr, np.zeros(1, int), 0.0, one_class(var))
            return float(D[0, 0] * np.exp(log_snr / 2) / 2)

        integral = quad(integrand, *ends, epsabs=1e-12)[0]
        u_t, u_s = (
            exact(k, SCHEDULE, var, xi) / np.sqrt(1 - SCHEDULE.alpha_bar[k]) for k in (t, s)
        )
        assert u_s - u_t == pytest.approx(integral, abs=1e-9)


def test_18_2_by_many_short_rows() -> None:
    """DDIM of three classes, guided, nears the solution by SciPy, as Euler's method does."""
    data = three_gaussians()
    y = np.array([0, 1, 2, 3])
    w = 1.5
    start = np.random.default_rng(1).standard_normal((4, 2))

    def slope(k: float, u: np.ndarray) -> np.ndarray:
        x = u.reshape(4, 2) / np.sqrt(1 + k**2)
        return guess(x, 2 * np.log(k), y, w, data).ravel()

    coarse = even_in_log_snr(100, -4.0, 3.0)
    k = float(kappa(coarse.T, coarse)), float(kappa(1, coarse))
    u = (start * np.sqrt(1 + k[0] ** 2)).ravel()
    solved = solve_ivp(slope, k, u, method="DOP853", rtol=1e-10, atol=1e-10).y[:, -1]
    solved = solved.reshape(4, 2) / np.sqrt(1 + k[1] ** 2)
    ends = []
    for n in (100, 200):
        schedule = even_in_log_snr(n, -4.0, 3.0)
        model = oracle_eps(data, schedule)
        ends.append(dict(run_steps(model, y, ddim(schedule), w, Given({0: start})))[1])
    # Halving h halves the error: extrapolated to h = 0 what is left is of order h^2, 0.035^2 / 10.
    assert np.abs(ends[1] - solved).max() > 4e-3
    np.testing.assert_allclose(2 * ends[1] - ends[0], solved, atol=1e-4)


def run_rows(f: Callable[[float], float], schedule: Schedule) -> list[np.ndarray]:
    """What stands for the guess in each row of 2M, if the guess is f of log SNR."""
    table = dpmpp_2m(schedule, prediction="x0")
    plain = ddim(schedule, prediction="x0").rows
    path = run_steps(Curve(f, schedule), np.zeros(1, int), table, 0.0, np.random.default_rng(2))
    states = [x for _, x in path]
    return [
        (after - row[3] * x) / row[2]
        for (x, after), row in zip(pairwise(states), plain, strict=True)
    ]


UNEVEN = Schedule(np.array([0.0, 0.05, 0.2, 0.1, 0.4, 0.3, 0.6]))


def test_18_3_by_each_step() -> None:
    """The line through two guesses, by its values at both ends and in the middle; two examples."""
    before = 0.5
    now = 0.7
    h_before = 1.0

    def line(tau: float) -> float:
        return now + tau / h_before * (now - before)

    assert line(-h_before) == pytest.approx(before)
    assert line(0.0) == now
    for h, wanted in ((1.0, 0.8), (2.0, 0.9)):
        D = now + h / (2 * h_before) * (now - before)
        assert line(h / 2) == pytest.approx(D, abs=1e-15)
        assert pytest.approx(wanted, abs=1e-15) == D


def test_18_3_by_guess_on_a_line() -> None:
    """A guess that is linear in log SNR: from row 2 on, its value half way to the row's end."""
    found = run_rows(lambda v: 0.7 - 0.3 * v, UNEVEN)
    log_snr = UNEVEN.log_snr
    for k, t in enumerate(range(6, 0, -1)):
        inner = 0 < k < 5
        where = (log_snr[t] + log_snr[t - 1]) / 2 if inner else log_snr[t]
        np.testing.assert_allclose(found[k], 0.7 - 0.3 * where, atol=1e-12)


def test_18_3_by_error_of_one_row() -> None:
    """Of a curved guess, from log SNR 0 to h, the integral by quadrature less the row, h halved.

    kappa is 1 at the start, so it is (f' + 10 f'') h^3 / 48 but for a share of order h.
    """
    off = []
    for h in (0.04, 0.02):
        schedule = even_in_log_snr(2, -h, h)
        D = float(run_rows(lambda v: np.sin(v + 1), schedule)[1][0, 0])
        integral = quad(lambda v: np.sin(v + 1) * np.exp(v / 2) / 2, 0, h, epsabs=1e-15)[0]
        off.append((integral - np.expm1(h / 2) * D) * 48 / h**3)
    assert 2 * off[1] - off[0] == pytest.approx(np.cos(1) - 10 * np.sin(1), abs=1e-2)
    assert off[1] == pytest.approx(np.cos(1) - 10 * np.sin(1), abs=0.2)


def test_18_4_by_each_step() -> None:
    """The line less its middle: what is displayed, of integral 0, and with the weight h^3."""
    now, slope = 0.7, 0.4  # the guess and its change per unit of log SNR
    left = []
    for h in (0.2, 0.1):
        h_before = 0.7 * h
        before = now - slope * h_before
        middle = now + h / (2 * h_before) * (now - before)

        def apart(ell: float, h: float = h, of_row: float = h_before, before: float = before):
            return (ell - h / 2) / of_row * (now - before)

        for ell in (0.0, 0.3 * h, h):
            line = now + ell / h_before * (now - before)
            assert line - middle == pytest.approx(apart(ell), abs=1e-15)
        assert quad(apart, 0, h)[0] == pytest.approx(0, abs=1e-15)
        left.append(quad(lambda ell, f=apart: f(ell) * np.exp(ell / 2) / 2, 0, h)[0])
    assert left[0] / left[1] == pytest.approx(8, rel=0.05)  # and a part of order h


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_18_4_by_the_papers_algorithm(prediction: str) -> None:
    """Algorithm 2 as printed: its lambda is half of ours, its sigma and alpha deviations."""
    model = oracle_eps(three_gaussians(), UNEVEN)
    rng = np.random.default_rng(3)
    y = np.array([0, 1, 2, 3])
    x = rng.standard_normal((4, 2))
    alpha = np.sqrt(UNEVEN.alpha_bar)
    sigma = np.sqrt(1 - UNEVEN.alpha_bar)
    lam = np.log(alpha[1:] / sigma[1:])
    wanted = x
    h_before = 0.0
    x0_before = x
    for t in range(6, 0, -1):
        x0 = (wanted - sigma[t] * model(wanted, t, y)) / alpha[t]
        if t == 1:
            wanted = x0
            break
        h = lam[t - 2] - lam[t - 1]
        r = h_before / h
        D = x0 if t == 6 else (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * x0_before
        wanted = sigma[t - 1] / sigma[t] * wanted - alpha[t - 1] * (np.exp(-h) - 1) * D
        h_before = h
        x0_before = x0

    @dataclass
    class InUnit:
        num_classes: int = 3
        prediction: str = "eps"

        def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
            eps = model(xt, t, y)
            x0 = (xt - sigma[t] * eps) / alpha[t]
            return {"eps": eps, "x0": x0, "v": alpha[t] * eps - sigma[t] * x0}[prediction]

    table = dpmpp_2m(UNEVEN, prediction=prediction)
    found = run(InUnit(prediction=prediction), y, table, 0.0, Given({0: x}))
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_18_4_by_rows_of_ddim() -> None:
    """a + e is DDIM's a, b is DDIM's; the first row and the last are; no noise, no null answer."""
    for schedule, steps in ((SCHEDULE, 7), (Schedule.cosine(1000), 50), (SCHEDULE, None)):
        two = dpmpp_2m(schedule, steps).rows
        one = ddim(schedule, steps).rows
        np.testing.assert_allclose(two[:, 2] + two[:, 6], one[:, 2], atol=1e-14)
        np.testing.assert_allclose(two[:, 3], one[:, 3], atol=1e-14)
        np.testing.assert_allclose(two[[0, -1]], one[[0, -1]], atol=1e-14)
        assert (two[1:-1, 6] < 0).all() and not two[:, [4, 5]].any()
    for steps in (1, 2):
        np.testing.assert_allclose(dpmpp_2m(SCHEDULE, steps).rows, ddim(SCHEDULE, steps).rows)


def test_18_5_by_the_flow_in_time() -> None:
    """Song's equation, dx/dt = -beta(t) (x + score) / 2, from t = 0.9 to 0.1 by SciPy.

    Its beta(t) is -d log(abar) / dt, for abar = cos(pi t / 2)^2: pi tan(pi t / 2).
    """
    var = 0.25
    x = np.array([[1.4, -0.6]])

    def abar(t: float) -> float:
        return float(np.cos(np.pi * t / 2) ** 2)

    def slope(t: float, x: np.ndarray) -> np.ndarray:
        schedule = Schedule(np.array([0.0, 1 - abar(t)]))
        s = score(x.reshape(1, 2), 1, np.zeros(1, int), one_class(var), schedule)[0]
        return -np.pi * np.tan(np.pi * t / 2) * (x + s) / 2

    solved = solve_ivp(slope, (0.9, 0.1), x[0], rtol=1e-10, atol=1e-12).y[:, -1]
    first = abar(0.9)
    last = abar(0.1)
    xi = (x[0] - np.sqrt(first) * MEAN) / np.sqrt(first * var + 1 - first)
    wanted = np.sqrt(last) * MEAN + np.sqrt(last * var + 1 - last) * xi
    np.testing.assert_allclose(solved, wanted, atol=1e-8)


@pytest.mark.parametrize("var", VARS)
def test_18_5_by_each_step(var: float) -> None:
    """The derivative of u in kappa, by a difference, and the oracle's guess, both as displayed."""
    xi = -0.9
    for k in (0.5, 2.0):
        abar = k**2 / (1 + k**2)
        C = abar * var + 1 - abar
        derivative = MEAN + k * var * xi / np.sqrt(1 + k**2 * var)
        h = 1e-5
        up, down = (v * MEAN + np.sqrt(1 + v**2 * var) * xi for v in (k + h, k - h))
        assert (up - down) / (2 * h) == pytest.approx(derivative, abs=1e-8)
        of_mean = MEAN + np.sqrt(abar) * var * xi / np.sqrt(C)
        assert of_mean == pytest.approx(derivative, abs=1e-13)
        x = np.full((1, 2), np.sqrt(abar) * MEAN + np.sqrt(C) * xi)
        found = guess(x, 2 * np.log(k), np.zeros(1, int), 0.0, one_class(var))
        np.testing.assert_allclose(found, of_mean, atol=1e-12)
        one_step = Schedule(np.array([0.0, 1 - abar]))
        assert flow_state(1, one_step, MEAN, var, xi) == pytest.approx(x[0, 0], abs=1e-13)


@pytest.mark.parametrize("var", VARS)
def test_18_5_by_moments(var: float) -> None:
    """The flow takes N(0, 1) in xi to the mean and variance of the noised data, at every t."""
    for t in (0, 1, 13, 20):
        at_mean, at_one = (flow_state(t, SCHEDULE, MEAN, var, xi) for xi in (0.0, 1.0))
        abar = SCHEDULE.alpha_bar[t]
        assert at_mean == pytest.approx(np.sqrt(abar) * MEAN, abs=1e-14)
        assert (at_one - at_mean) ** 2 == pytest.approx(abar * var + 1 - abar, abs=1e-14)
        found = flow_state(t, SCHEDULE, MEAN, var, -0.9)
        assert found == pytest.approx(exact(t, SCHEDULE, var, -0.9), abs=1e-14)


@pytest.mark.parametrize("var", VARS)
def test_18_5_by_differences(var: float) -> None:
    """du / dkappa is the oracle's guess, at five noises; u by (18.5) and a finite difference."""
    h = 1e-5
    for k in (0.1, 0.5, 1.0, 2.0, 8.0):
        up, down = (
            exact(1, at(2 * np.log(v)), var, -0.9) * np.sqrt(1 + v**2) for v in (k + h, k - h)
        )
        x = np.full((1, 2), exact(1, at(2 * np.log(k)), var, -0.9))
        D = guess(x, 2 * np.log(k), np.zeros(1, int), 0.0, one_class(var))
        # h^2 times a third derivative of order 10, and 1e-15 / h of rounding
        np.testing.assert_allclose((up - down) / (2 * h), D, atol=1e-8)


def test_18_5_by_fine_chain() -> None:
    """2M in 400 rows ends where (18.5) says, to 2e-6: its (18.7), h = 0.03."""
    var = 0.25
    schedule = even_in_log_snr(400, -8.0, 4.0)
    start = np.array([[1.4, -0.6]])
    model = oracle_eps(one_class(var), schedule)
    T = schedule.T
    x = dict(run_steps(model, np.zeros(1, int), dpmpp_2m(schedule), 0.0, Given({0: start})))[1]
    abar = schedule.alpha_bar[T]
    xi = (start[0] - np.sqrt(abar) * MEAN) / np.sqrt(abar * var + 1 - abar)
    wanted = [exact(1, schedule, var, value) for value in xi]
    np.testing.assert_allclose(x[0], wanted, atol=2e-5)
    assert flow_error(before_last(dpmpp_2m(schedule)), schedule, var) == pytest.approx(
        np.ptp(x[0]) / np.ptp(wanted) - 1, abs=1e-12
    )


@pytest.mark.parametrize("solver", [solver for _, solver in SOLVERS])
def test_18_5_by_a_start_on_the_mean(solver: Callable[..., Table]) -> None:
    """From the mean a chain follows the mean; other starts share one relative error."""
    var = 0.25
    table = before_last(solver(SCHEDULE, [20, 13, 8, 3, 1]))
    xis = np.array([0.0, 1.0, -2.5])
    starts = np.array([exact(20, SCHEDULE, var, xi) for xi in xis])
    given = Given({0: np.stack([starts, starts], axis=1)})
    x = run(oracle_eps(one_class(var), SCHEDULE), np.zeros(3, int), table, 0.0, given)
    ends = np.array([exact(1, SCHEDULE, var, xi) for xi in xis])
    assert x[0] == pytest.approx([ends[0]] * 2, abs=1e-13)
    delta = (x[1:, 0] - ends[0]) / (ends[1:] - ends[0]) - 1
    assert abs(delta[0]) > 1e-3
    assert delta[1] == pytest.approx(delta[0], abs=1e-12)


def test_18_6_by_each_step() -> None:
    """Each display of the derivation, by sympy, and the sum over rows as an integral."""
    k, S, h = sympy.symbols("kappa S h", positive=True)
    sigma = sympy.sqrt(1 + k**2 * S)
    first = sympy.diff(sigma, k)
    second = sympy.diff(first, k)
    assert sympy.simplify(first - k * S / sigma) == 0
    assert sympy.simplify(second - S / sigma**3) == 0
    series = sympy.series(sigma.subs(k, k + h), h, 0, 3).removeO()
    assert sympy.simplify(series - (sigma + h * first + h**2 * second / 2)) == 0
    mean, xi = sympy.symbols("mu xi")
    slope = sympy.diff(k * mean + sigma * xi, k)
    assert sympy.simplify(slope - (mean + first * xi)) == 0
    distance = k * mean + sigma * xi + h * slope - (k + h) * mean
    assert sympy.simplify(distance - (sigma + first * h) * xi) == 0
    one_step = -((k * h / 2) ** 2) * second / (2 * sigma)
    assert sympy.simplify(one_step + h**2 / 8 * k**2 * S / sigma**4) == 0
    zeta = k**2 * S / (1 + k**2 * S)
    assert sympy.simplify(k**2 * S / sigma**4 - zeta * (1 - zeta)) == 0
    # d lambda = 2 d kappa / kappa
    assert sympy.simplify(sympy.diff(zeta, k) * k / 2 - zeta * (1 - zeta)) == 0
    for t in (1, 13):
        abar = SCHEDULE.alpha_bar[t]
        C = abar * 0.25 + 1 - abar
        wanted = data_fraction(t, SCHEDULE, 0.25)
        assert abar * 0.25 / C == pytest.approx(wanted, abs=1e-14)
        assert float(zeta.subs({k: kappa(t, SCHEDULE), S: 0.25})) == pytest.approx(wanted)


def test_18_6_by_numbers_in_the_text() -> None:
    """Both rows of the table, and the leading terms that the text compares with the last column."""
    for order, name, solver in ((1, "DDIM", ddim), (2, "2M", dpmpp_2m)):
        found = []
        for n in (8, 16, 32, 64, 128):
            schedule = even_in_log_snr(n, -8.0, 8.0)
            found.append(flow_error(before_last(solver(schedule)), schedule, 0.25))
        np.testing.assert_allclose(found, numbers_in_row(name), atol=5.01e-4)
        fall = np.array(found[1:]) / found[:-1]
        if order == 1:
            np.testing.assert_allclose(fall, 1 / 2, atol=0.04)
        else:  # with 16 steps half of the error with 8 is left, and from then on a quarter
            np.testing.assert_allclose(fall, [1 / 2, 1 / 4, 1 / 4, 1 / 4], atol=0.03)
        leading = leading_error(order, 0.125, 0.0, 1.0)
        assert leading == pytest.approx(-1 / 64 if order == 1 else 1 / 4096)
        assert leading == pytest.approx(found[-1], rel=0.02)


def test_18_6_by_series_of_one_row() -> None:
    """The row's factor over the flow's, in h, by sympy: 1 - h^2 p (1 - p) / 8."""
    q, h = sympy.symbols("q h", positive=True)  # q = S e^lambda, p = q / (1 + q)
    # u -> u + (kappa_s - kappa_t) k u, with the guess kappa S / (1 + q) u; kappa^2 S = q.
    row = 1 + (sympy.exp(h / 2) - 1) * q / (1 + q)
    flow = sympy.sqrt((1 + q * sympy.exp(h)) / (1 + q))
    series = sympy.series(row / flow, h, 0, 3).removeO()
    p = q / (1 + q)
    assert sympy.simplify(series - (1 - h**2 * p * (1 - p) / 8)) == 0


def test_18_7_by_each_step() -> None:
    """Each display from the expanded guess to the error of a chain, by sympy, and one row."""
    h, ell, k, S, xi = sympy.symbols("h ell kappa S xi", positive=True)
    g0, g1, g2, mean = sympy.symbols("g0 g1 g2 mu")

    def along(distance: sympy.Expr) -> sympy.Expr:  # the guess, to second order
        return g0 + g1 * distance + g2 * distance**2 / 2

    now, before = along(sympy.Integer(0)), along(-h)
    middle = now + (now - before) / 2  # (18.3) with h' = h
    assert sympy.expand(middle - (g0 + g1 * h / 2 - g2 * h**2 / 4)) == 0
    apart = g1 * (h / 2 - ell) - g2 * (h**2 / 4 + ell**2 / 2)
    assert sympy.expand(middle - along(ell) - apart) == 0
    weight = sympy.series(sympy.exp(ell / 2), ell, 0, 2).removeO()
    assert sympy.expand(weight - (1 + ell / 2)) == 0
    assert sympy.integrate(h / 2 - ell, (ell, 0, h)) == 0
    assert sympy.integrate(ell / 2 * (h / 2 - ell), (ell, 0, h)) == -(h**3) / 24
    assert sympy.integrate(h**2 / 4 + ell**2 / 2, (ell, 0, h)) == 5 * h**3 / 12
    whole = sympy.series(sympy.integrate(sympy.expand(weight * apart), (ell, 0, h)), h, 0, 4)
    error = k / 2 * (-g1 * h**3 / 24 - 5 * g2 * h**3 / 12)
    assert sympy.expand(k / 2 * whole.removeO() - error) == 0
    assert sympy.expand(error + k * h**3 / 48 * (g1 + 10 * g2)) == 0

    # The guess of the class, and its derivatives: d / d lambda is (kappa / 2) d / d kappa.
    sigma = sympy.sqrt(1 + k**2 * S)
    zeta = k**2 * S / (1 + k**2 * S)

    def rate(f: sympy.Expr) -> sympy.Expr:
        return k / 2 * sympy.diff(f, k)

    guess_0 = mean + k * S * xi / sigma
    root = sympy.sqrt(S * zeta) * xi
    assert sympy.simplify(guess_0 - mean - root) == 0
    half = zeta * (1 - zeta) / (2 * sympy.sqrt(zeta))
    assert sympy.simplify(rate(sympy.sqrt(zeta)) - half) == 0
    assert sympy.simplify(half - sympy.sqrt(zeta) * (1 - zeta) / 2) == 0
    guess_1 = root * (1 - zeta) / 2
    guess_2 = root * (1 - zeta) * (1 - 3 * zeta) / 4
    assert sympy.simplify(rate(guess_0) - guess_1) == 0
    assert sympy.simplify(rate(guess_1) - guess_2) == 0
    five_halves = sympy.Rational(5, 2)
    both = 3 * root * (1 - zeta) * (1 - five_halves * zeta)
    assert sympy.simplify(guess_1 + 10 * guess_2 - both) == 0
    assert sympy.simplify(k * sympy.sqrt(S) / sigma - sympy.sqrt(zeta)) == 0
    relative = error.subs({g1: guess_1, g2: guess_2}) / (sigma * xi)
    one_row = -(h**3) / 16 * zeta * (1 - zeta) * (1 - five_halves * zeta)
    assert sympy.simplify(relative - one_row) == 0

    z, first, last = sympy.symbols("z first last")
    integral = sympy.integrate(1 - five_halves * z, (z, first, last))
    of_middle = (last - first) * (1 - five_halves * (first + last) / 2)
    assert sympy.expand(integral - of_middle) == 0
    first_row = -(h**2) / 8 * first * (1 - first)
    numbers = {h: 0.1, first: 0.2, last: 0.9}
    wanted = float((first_row - h**2 / 16 * integral).subs(numbers))
    assert leading_error(2, 0.1, 0.2, 0.9) == pytest.approx(wanted, abs=1e-15)
    # One row from zeta = 1/5, where kappa^2 S = 1/4, with both guesses on the flow. The display
    # lacks a part of order h.
    step = 0.02

    def deviation(log_snr: float) -> float:
        return np.sqrt(1 + 0.25 * np.exp(log_snr))

    def of_guess(log_snr: float) -> float:
        return 0.25 * np.exp(log_snr / 2) / deviation(log_snr)

    D = of_guess(0.0) + (of_guess(0.0) - of_guess(-step)) / 2
    found = (deviation(0.0) + np.expm1(step / 2) * D) / deviation(step) - 1
    row = -(step**3) / 16 * 0.2 * 0.8 * (1 - 5 * 0.2 / 2)
    assert found == pytest.approx(row, rel=0.05)
    start = even_in_log_snr(1, 0.0, 0.01)
    found = flow_error(before_last(dpmpp_2m(start)), start, 0.25)
    assert found == pytest.approx(-(0.01**2) / 8 * 0.2 * 0.8, rel=0.01)


def test_18_7_by_series_of_one_row() -> None:
    """The same for 2M, both its guesses on the flow: 1 - h^3 p (1 - p) (1 - 5 p / 2) / 16."""
    q, h = sympy.symbols("q h", positive=True)

    def deviation(step: sympy.Expr) -> sympy.Expr:  # of the flow's u from the mean
        return sympy.sqrt(1 + q * sympy.exp(step))

    def of_guess(step: sympy.Expr) -> sympy.Expr:  # times kappa at the row's start
        return q * sympy.exp(step / 2) / deviation(step)

    D = sympy.Rational(3, 2) * of_guess(sympy.Integer(0)) - of_guess(-h) / 2
    ratio = (deviation(sympy.Integer(0)) + (sympy.exp(h / 2) - 1) * D) / deviation(h)
    series = sympy.series(ratio, h, 0, 4).removeO()
    p = q / (1 + q)
    wanted = 1 - h**3 * p * (1 - p) * (1 - sympy.Rational(5, 2) * p) / 16
    assert sympy.simplify(series - wanted) == 0


# log SNR at both ends, and the variance of the data: noise to data, and parts of the way.
WAYS = [(-8.0, 8.0, 0.25), (-2.0, 4.0, 0.25), (-8.0, 4.0, 1.5), (-1.0, 1.0, 2.0)]


def ratios(order: int, solver: Callable[[Schedule], Table], way: tuple[float, float, float]):
    """The error over its leading term, for h halved twice."""
    first, last, var = way
    for n in (64, 128, 256):
        schedule = even_in_log_snr(n, first, last)
        ends = data_fraction(n + 1, schedule, var), data_fraction(1, schedule, var)
        delta = flow_error(before_last(solver(schedule)), schedule, var)
        yield delta / leading_error(order, (last - first) / n, *ends)


@pytest.mark.parametrize("way", WAYS)
def test_18_6_by_limit(way: tuple[float, float, float]) -> None:
    """The ratio nears 1 as h does 0, and what it lacks is of order h: it halves with h."""
    coarse, middle, fine = ratios(1, ddim, way)
    assert fine == pytest.approx(1, abs=5e-3)
    assert (1 - coarse) / (1 - middle) == pytest.approx(2, abs=0.1)
    assert (1 - middle) / (1 - fine) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("way", WAYS)
def test_18_7_by_limit(way: tuple[float, float, float]) -> None:
    """As above; where p_T is near 0 the ratio lacks less than order h, so only falling is asked."""
    coarse, middle, fine = (abs(1 - ratio) for ratio in ratios(2, dpmpp_2m, way))
    assert coarse > 1.8 * middle > 1.8**2 * fine
    assert fine < 0.03


@cache
def end(solver: Callable[[Schedule], Table], n: int, label: int, w: float) -> np.ndarray:
    """40 samples of a label of step 1's three classes at t = 1, after n rows."""
    schedule = even_in_log_snr(n, -6.0, 4.0)
    rng = np.random.default_rng(4)
    model = oracle_eps(three_gaussians(), schedule)
    y = np.full(40, label)
    return dict(run_steps(model, y, solver(schedule), w, rng))[1]


def slope_of_error(solver: Callable[[Schedule], Table], label: int, w: float) -> float:
    """log2 of the fall of the error from 64 rows to 128, beside 2M in 1,024."""
    fine = end(dpmpp_2m, 1024, label, w)
    coarse, middle = (np.abs(end(solver, n, label, w) - fine).mean() for n in (64, 128))
    return float(np.log2(coarse / middle))


@pytest.mark.exhaustive(one_in=3)
@pytest.mark.parametrize(("label", "w"), [(0, 0.0), (3, 0.0), (0, 2.0)])
def test_18_6_by_slope(label: int, w: float) -> None:
    """A class, the mixture, the class guided. The next order adds a share of h = 1/6 a halving."""
    assert slope_of_error(ddim, label, w) == pytest.approx(1, abs=0.05)


@pytest.mark.exhaustive(one_in=3)
@pytest.mark.parametrize(("label", "w"), [(0, 0.0), (3, 0.0), (0, 2.0)])
def test_18_7_by_slope(label: int, w: float) -> None:
    """As above. The reference errs by 1 / 64 of what 128 rows do, which moves a slope by 0.02."""
    assert slope_of_error(dpmpp_2m, label, w) == pytest.approx(2, abs=0.15)


def test_18_7_by_eight_guided_rows() -> None:
    """With 8 guided steps 2M is the worse of the two and with 32 the better, as in the text."""
    exact_ends = guided(dpmpp_2m, 512)
    few, more = (
        [np.abs(guided(solver, n) - exact_ends).mean() for _, solver in SOLVERS] for n in (8, 32)
    )
    assert few[1] > 1.2 * few[0] and more[1] < 0.5 * more[0]
    for k, name in enumerate(("DDIM, guided", "2M, guided")):
        wanted = numbers_in_row(name)
        np.testing.assert_allclose((few[k], more[k]), (wanted[0], wanted[2]), atol=6e-4)


@pytest.mark.parametrize("var", VARS)
def test_18_8_by_each_step(var: float) -> None:
    """The guess of the oracle on the flow, beside both displayed forms."""
    xi = 1.3
    for t in (1, 13):
        abar = SCHEDULE.alpha_bar[t]
        C = abar * var + 1 - abar
        x = np.full((1, 2), exact(t, SCHEDULE, var, xi))
        found = guess(x, float(SCHEDULE.log_snr[t]), np.zeros(1, int), 0.0, one_class(var))
        np.testing.assert_allclose(found - MEAN, np.sqrt(abar) * var * xi / np.sqrt(C), atol=1e-12)
        end = np.sqrt(var) * xi
        np.testing.assert_allclose(found - MEAN, np.sqrt(abar * var / C) * end, atol=1e-12)


def test_18_8_by_numbers_in_the_text() -> None:
    """The four rows of the table for times that are uniform in t, to their last digit."""
    schedule = Schedule.cosine(2**14)
    for k, n in enumerate((20, 50, 100, 256, 1024)):
        two = dpmpp_2m(schedule, n)
        for name, found, digit in (
            ("DDIM, all rows", flow_error(ddim(schedule, n), schedule, 0.25), 1e-3),
            ("2M, before the last row", flow_error(before_last(two), schedule, 0.25), 1e-4),
            ("last row alone", left_by_last_row(int(two.t[-1]), schedule, 0.25) - 1, 1e-4),
            ("2M, all rows", flow_error(two, schedule, 0.25), 1e-4),
        ):
            assert numbers_in_row(name)[k] == pytest.approx(found, abs=0.51 * digit)
    assert np.diff(schedule.log_snr[dpmpp_2m(schedule, 100).t])[-1] == pytest.approx(1.02, abs=5e-3)
    longest = np.diff(schedule.log_snr[dpmpp_2m(schedule, 8192).t])[-1]
    assert longest == pytest.approx(0.70, abs=5e-3) and longest > np.log(2)


@pytest.mark.slow  # 16,384 rows
def test_18_8_by_the_fall_of_both_parts() -> None:
    """From n rows to 4 n, and to 2 n: the factors 9.6 and 2.2 of the rows before the last one.

    The last row's part is half of 1 - zeta, which falls by 2 if the variance is linear in t.
    """
    schedule = Schedule.cosine(2**14)
    tables = {n: dpmpp_2m(schedule, n) for n in (256, 1024, 8192, 16384)}
    part = {n: flow_error(before_last(table), schedule, 0.25) for n, table in tables.items()}
    assert part[256] / part[1024] == pytest.approx(9.6, abs=0.05)
    assert part[8192] / part[16384] == pytest.approx(2.2, abs=0.05)
    zeta = {n: data_fraction(int(table.t[-1]), schedule, 0.25) for n, table in tables.items()}
    assert (1 - zeta[8192]) / (1 - zeta[16384]) == pytest.approx(2, abs=0.01)
    last = left_by_last_row(int(tables[1024].t[-1]), schedule, 0.25) - 1
    assert last == pytest.approx(-(1 - zeta[1024]) / 2, rel=1e-3)


@pytest.mark.parametrize("solver", [solver for _, solver in SOLVERS])
@pytest.mark.parametrize("var", VARS)
def test_18_8_by_the_last_row(solver: Callable[..., Table], var: float) -> None:
    """From a point of the flow at t, one row: beside the exact end, whatever rows came before."""
    for t in (1, 5):
        table = solver(SCHEDULE, [20, 13, 8, t])
        last = Table(table.t[-1:], table.s[-1:], table.rows[-1:])
        start = Given({0: np.full((1, 2), exact(t, SCHEDULE, var, 1.3))})
        found = run(oracle_eps(one_class(var), SCHEDULE), np.zeros(1, int), last, 0.0, start)
        short = left_by_last_row(t, SCHEDULE, var) * (exact(0, SCHEDULE, var, 1.3) - MEAN)
        np.testing.assert_allclose(found, MEAN + short, atol=1e-12)
        # Not the distance itself, but the distance in standard deviations, has this factor.
        abar = SCHEDULE.alpha_bar[t]
        here = exact(t, SCHEDULE, var, 1.3) - np.sqrt(abar) * MEAN
        width = np.sqrt((abar * var + 1 - abar) / var)
        factor = (found[0, 0] - MEAN) / here
        assert factor * width == pytest.approx(left_by_last_row(t, SCHEDULE, var), rel=1e-12)
        assert abs(width - 1) > 1e-5  # so the two factors differ


def test_18_8_by_regression_of_the_data() -> None:
    """sqrt(p) is the correlation of x_0 and x_t: 200,000 pairs, seed 5, 5 standard errors."""
    rng = np.random.default_rng(5)
    n = 200_000
    var = 0.25
    for t in (2, 8):
        abar = SCHEDULE.alpha_bar[t]
        p = data_fraction(t, SCHEDULE, var)
        x0 = np.sqrt(var) * rng.standard_normal(n)
        eps = rng.standard_normal(n)
        found = np.corrcoef(x0, np.sqrt(abar) * x0 + np.sqrt(1 - abar) * eps)[0, 1]
        assert found == pytest.approx(np.sqrt(p), abs=5 * (1 - p) / np.sqrt(n))


@pytest.mark.parametrize("kind", [Schedule.linear, Schedule.cosine])
def test_18_8_by_times_even_in_t(kind: Callable[[int], Schedule]) -> None:
    """Two errors of 2M, of opposite signs, both first order at last: halved, not quartered."""
    schedule = kind(2**14)
    var = 0.25
    whole = []
    before = []
    last = []
    for n in (128, 256, 4096, 8192):
        table = dpmpp_2m(schedule, n)
        whole.append(flow_error(table, schedule, var))
        before.append(flow_error(before_last(table), schedule, var))
        last.append(np.sqrt(data_fraction(int(table.t[-1]), schedule, var)) - 1)
    assert min(before) > 0 > max(last)
    both = (1 + np.array(before)) * (1 + np.array(last)) - 1
    np.testing.assert_allclose(whole, both, atol=1e-12)
    orders = [np.log2(abs(e[2] / e[3])) for e in (whole, last)]
    np.testing.assert_allclose(orders, 1, atol=0.15)
    assert np.log2(before[2] / before[3]) < 1.5
    assert np.log2(abs(whole[0] / whole[1])) > 2.2  # luck: they cancel


@pytest.mark.parametrize("n", [1, 10])
def test_18_6_by_schedule_that_is_even(n: int) -> None:
    """What orders are measured with: ends as asked, equal h, and the data at t = 0."""
    schedule = even_in_log_snr(n, -5.0, 4.0)
    assert n + 1 == schedule.T
    np.testing.assert_allclose(schedule.log_snr[1:], np.linspace(4, -5, n + 1), atol=1e-11)
    assert data_fraction(0, schedule, 0.25) == 1
    assert chain_var(ddim(schedule), schedule, 1e-9) < 1e-9
