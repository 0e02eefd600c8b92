"""Appendix H: closed forms against differential equations and against the samplers themselves.

The denoiser is affine, so the samples of a finite number of steps are Gaussian, and their mean and
variance can be computed without samples. Row 0 of a batch sees no noise and is the mean. Every
other row sees a 1 in one draw, and the variance is the sum of the squared responses. From T and 2 T
steps, whose errors are about proportional to 1 / T, the limit follows (Richardson).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import sympy
from scipy.integrate import quad, solve_ivp
from scipy.stats import norm

import tutorial.appendix.h_gaussian_pairs as lesson
from tests.tutorial.noise import Given, GivenInOrder, Impulses
from tutorial.appendix.h_gaussian_pairs import (
    EXAMPLE,
    TwoGaussians,
    ddim_law,
    ddpm_law,
    differences_from_tilted,
    growth,
    lost_by_start,
    most_probable_point,
    sampled,
    score_at,
    small_step_of_ddim,
    small_step_of_ddpm,
)
from tutorial.contract import Denoiser
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step07_sampling import ancestral_steps
from tutorial.step11_guidance import guide, tilt
from tutorial.step16_log_snr import algorithm_2, log_snr_grid, schedule_from
from tutorial.step17_solvers import ddim, run, run_steps

PAIRS = {"paper": EXAMPLE, "other": (Gaussian(np.array([0.9, -1.3]), 0.3), 1.1)}
WEIGHTS = [-0.5, 0.7, 2.0, 4.0]
given_pair = pytest.mark.parametrize("pair", PAIRS)
given_w = pytest.mark.parametrize("w", WEIGHTS)


@cache
def finite_law(pair: str, w: float, kind: str, T: int) -> tuple[np.ndarray, float]:
    """Mean and variance of what T steps of a sampler end in, exactly."""
    log_snr = log_snr_grid(T)
    y = np.zeros(T + 3, dtype=int)
    schedule = schedule_from(log_snr)
    rng = Impulses()
    model = TwoGaussians(*PAIRS[pair], schedule)
    if kind == "DDIM":
        x = run(model, y, ddim(schedule), w, rng)
    else:
        x = algorithm_2(model, y, log_snr, w, float(kind), rng)
    var = ((x[1:] - x[0]) ** 2).sum(0)
    assert rng.asked <= T + 2 and var[0] == pytest.approx(var[1], rel=1e-9)
    return x[0], float(var[0])


def limit(pair: str, w: float, kind: str) -> tuple[np.ndarray, float]:
    """By Richardson, from 128 and 256 steps, where errors are some percent and halve."""
    (m, V), (m_2, V_2) = (finite_law(pair, w, kind, T) for T in (128, 256))
    return 2 * m_2 - m, 2 * V_2 - V


@cache
def moments_by_ode(pair: str, w: float, noise: bool) -> tuple[np.ndarray, float]:
    """Mean and variance at tau = 0, from N(0, tau) at tau = e^18; in log tau, to 1e-10.

    The moment equations of dx = -s dtau + noise and of dx = -s dtau / 2: with s = c - k x, the mean
    follows (c - k M), the variance 2 k V, less 1 for each unit of noise. At e^-18 they are done.
    """
    given_y, var_all = PAIRS[pair]

    def slope(log_tau: float, state: np.ndarray) -> np.ndarray:
        tau = np.exp(log_tau)
        *M, V = state
        k = (1 + w) / (given_y.var + tau) - w / (var_all + tau)
        c = (1 + w) * given_y.mean / (given_y.var + tau)
        half = 1.0 if noise else 0.5
        return tau * np.array([*(half * (k * np.array(M) - c)), half * 2 * k * V - noise])

    start = [0.0, 0.0, np.exp(18)]
    end = solve_ivp(slope, (18, -18), start, method="LSODA", rtol=1e-11, atol=1e-11).y[:, -1]
    return end[:2], float(end[2])


ODE = 1e-6  # starting at e^18 and not at infinity
RICHARDSON = 0.015  # of the variance: what is left in 1 / T^2, 1.2% at most; T = 256 is 5% off


@given_w
@given_pair
def test_h_1_by_moment_equation(pair: str, w: float) -> None:
    law = ddim_law(*PAIRS[pair], w)
    assert law.var == pytest.approx(moments_by_ode(pair, w, False)[1], rel=ODE)


@given_w
@given_pair
def test_h_1_by_the_samplers_law(pair: str, w: float) -> None:
    law = ddim_law(*PAIRS[pair], w)
    assert law.var == pytest.approx(limit(pair, w, "DDIM")[1], rel=RICHARDSON)


@given_w
@given_pair
def test_h_2_by_moment_equation(pair: str, w: float) -> None:
    law = ddim_law(*PAIRS[pair], w)
    # What the start forgets of the mean falls as 1 / sqrt(tau): e^-9, times factors of some units.
    np.testing.assert_allclose(law.mean, moments_by_ode(pair, w, False)[0], atol=1e-3)


@given_w
@given_pair
def test_h_2_by_the_samplers_law(pair: str, w: float) -> None:
    law = ddim_law(*PAIRS[pair], w)
    np.testing.assert_allclose(law.mean, limit(pair, w, "DDIM")[0], atol=1e-4)


@given_w
@given_pair
def test_h_3_by_moment_equation(pair: str, w: float) -> None:
    law = ddpm_law(*PAIRS[pair], w)
    assert law.var == pytest.approx(moments_by_ode(pair, w, True)[1], rel=ODE)


@pytest.mark.exhaustive(one_in=3)
@pytest.mark.parametrize("v", ["0.0", "0.3", "1.0"])
@given_pair
def test_h_3_by_the_samplers_law(pair: str, v: str) -> None:
    """Algorithm 2 with any v: its finite steps differ in variance, its limit does not."""
    for w in (0.7, 4.0):
        law = ddpm_law(*PAIRS[pair], w)
        assert law.var == pytest.approx(limit(pair, w, v)[1], rel=RICHARDSON)


@given_w
@given_pair
def test_h_4_by_moment_equation(pair: str, w: float) -> None:
    law = ddpm_law(*PAIRS[pair], w)
    np.testing.assert_allclose(law.mean, moments_by_ode(pair, w, True)[0], atol=ODE)


@given_w
@given_pair
def test_h_4_by_the_samplers_law(pair: str, w: float) -> None:
    law = ddpm_law(*PAIRS[pair], w)
    np.testing.assert_allclose(law.mean, limit(pair, w, "0.3")[0], atol=1e-4)


TAU = sympy.symbols("tau", positive=True)


def arrived(added: sympy.Expr, w: int, power: int) -> sympy.Expr:
    """What is added at each tau, over G^power, summed: the text's integral for S_y = 1, S = 2."""
    G = (1 + TAU) ** (1 + w) * (1 + TAU / 2) ** -w
    return sympy.integrate(sympy.apart(added / G**power, TAU), (TAU, 0, sympy.oo))


@pytest.mark.parametrize("w", [1, 2, 4])
def test_h_1_by_sympy(w: int) -> None:
    """The start of variance tau, over G, in the limit."""
    G = (1 + TAU) ** (1 + w) * (1 + TAU / 2) ** -w
    exact = sympy.limit(sympy.cancel(TAU / G), TAU, sympy.oo)
    assert exact == sympy.Rational(1, 2**w)
    assert ddim_law(*EXAMPLE, float(w)).var == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize("w", [2, 4])
def test_h_2_by_sympy(w: int) -> None:
    """The displayed integral is one of a polynomial for even w: a fraction."""
    s = sympy.symbols("s")
    exact = (1 + w) * sympy.integrate(((1 + s**2) / 2) ** (w // 2), (s, 0, 1))
    assert ddim_law(*EXAMPLE, float(w)).mean == pytest.approx([float(exact), 0], rel=1e-12)


@pytest.mark.parametrize("w", [1, 2, 4])
def test_h_3_by_sympy(w: int) -> None:
    """All noise, over G^2: the displayed fraction, and the code's mean of a power."""
    exact = arrived(sympy.Integer(1), w, 2)
    assert sympy.simplify(exact - (2 - sympy.Integer(2) ** (-2 * w)) / (1 + 2 * w)) == 0
    assert ddpm_law(*EXAMPLE, float(w)).var == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize("w", [1, 2, 4])
def test_h_4_by_sympy(w: int) -> None:
    exact = arrived((1 + w) / (1 + TAU), w, 1)
    assert sympy.simplify(exact - (2 - sympy.Integer(2) ** -w)) == 0
    assert ddpm_law(*EXAMPLE, float(w)).mean == pytest.approx([float(exact), 0], rel=1e-12)


@pytest.mark.parametrize(
    ("w", "tilted", "ddpm", "of_ddim"),
    [(1.0, 0.6667, 0.5833, 0.5), (2.0, 0.5, 0.3875, 0.25), (4.0, 0.3333, 0.2218, 0.0625)],
)
def test_h_3_by_numbers_in_the_text(w: float, tilted: float, ddpm: float, of_ddim: float) -> None:
    found = [law(*EXAMPLE, w).var for law in (tilt, ddpm_law, ddim_law)]
    assert found == pytest.approx([tilted, ddpm, of_ddim], abs=5e-5)
    gamma = 1 + w
    assert found[::2] == pytest.approx([2 / (gamma + 1), 2 ** (1 - gamma)], abs=1e-12)


@pytest.mark.parametrize(("w", "loses"), [(1.0, 0.016), (2.0, 0.020), (4.0, 0.026)])
def test_h_3_by_simulation(w: float, loses: float) -> None:
    """5,000 samples of each sampler: 5 standard errors from what 256 steps end in.

    That is what the lesson's own allowance, 2.6% of the variance and 0.002 of the mean, rests on.
    """
    laws = ddpm_law(*EXAMPLE, w), ddim_law(*EXAMPLE, w)
    for x, kind, law in zip(sampled(w, 5000), ("0.3", "DDIM"), laws, strict=True):
        mean, var = finite_law("paper", w, kind, 256)
        assert (np.abs(x.mean(0) - mean) < 5 * (var / len(x)) ** 0.5).all()
        assert abs(x.var(0).mean() - var) < 5 * var * (2 / x.size) ** 0.5
        assert 0.005 < 1 - var / law.var < loses
        np.testing.assert_allclose(mean, law.mean, atol=0.002)


def one_step(
    kind: str, x: np.ndarray, tau: float, step: float, w: float
) -> tuple[np.ndarray, float]:
    """Where a sampler of step 7 or 17 takes `x` without noise, and the variance it adds."""
    abar = 1 / (1 + np.array([tau - step, tau]))
    schedule = Schedule(np.array([0, 1 - abar[0], 1 - abar[1] / abar[0]]))
    model: Denoiser = TwoGaussians(*PAIRS["other"], schedule)
    y = np.zeros(len(x) + 1, dtype=int)
    # Row 0 starts where row 1 does, and the second draw is an impulse in row 0 alone.
    start = abar[1] ** 0.5 * np.vstack([x[:1], x])
    impulse = np.eye(len(y))[:, :1] * [1.0, 0.0]
    rng = GivenInOrder(start, impulse)

    if kind == "DDIM":
        steps = run_steps(model, y, ddim(schedule), w, rng)
    else:
        steps = ancestral_steps(model, y, schedule, w, rng)
    next(steps)
    after = next(steps)[1] / abar[0] ** 0.5
    return after[1:], float((after[0, 0] - after[1, 0]) ** 2)


X = np.array([[0.3, -2.0], [1.4, 0.2], [-3.0, 0.9]])


@pytest.mark.parametrize("w", [0.0, 2.0, -1.0])
def test_h_5_by_small_steps_of_ddim(w: float) -> None:
    """A step of DDIM differs from the small step by something of second order."""
    errors: list[float] = []
    for step in (1e-3, 1e-4):
        after, added = one_step("DDIM", X, 0.6, step, w)
        assert added == 0
        errors.append(np.abs(after - small_step_of_ddim(X, 0.6, step, w, *PAIRS["other"])).max())
    assert errors[0] < 1e-4
    assert errors[1] == pytest.approx(errors[0] / 100, rel=0.01)


@pytest.mark.parametrize("w", [0.0, 2.0, -1.0])
def test_h_6_by_small_steps_of_the_reverse_chain(w: float) -> None:
    """The mean of a step of DDPM is exact; its variance differs by something of second order."""
    errors: list[float] = []
    for step in (1e-3, 1e-4):
        after, added = one_step("DDPM", X, 0.6, step, w)
        small = small_step_of_ddpm(X, 0.6, step, w, *PAIRS["other"], np.zeros_like(X))
        np.testing.assert_allclose(after, small, atol=1e-11)  # rounding of alpha_bar
        noisy = small_step_of_ddpm(X, 0.6, step, w, *PAIRS["other"], np.ones_like(X))
        errors.append(abs(added - float((noisy - small)[0, 0] ** 2)))
    assert errors[0] < 1e-5
    assert errors[1] == pytest.approx(errors[0] / 100, rel=0.01)


def marginal(x: np.ndarray, tau: float, w: float) -> np.ndarray:
    """SciPy's density of axis 0 at tau: the class at w = 0, all data at w = -1."""
    given_y, var_all = PAIRS["other"]
    mean, var = (given_y.mean[0], given_y.var) if w == 0 else (0.0, var_all)
    return norm.pdf(x, mean, (var + tau) ** 0.5)


def transport(w: float, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of the Fokker-Planck equation at tau = 0.6, by finite differences on a line.

    A chain dx = -f dtau with noise of variance n |dtau|, run towards smaller tau, changes a density
    p by dp / dtau = (f p)' - n p'' / 2. Here f and n are read off a step of the chain.
    """
    h = 1e-3
    x = np.linspace(-3, 3, 13)

    def step(x: np.ndarray, z: float) -> np.ndarray:
        both = np.stack([x, x], 1)
        if kind == "DDIM":
            return small_step_of_ddim(both, 0.6, 1.0, w, *PAIRS["other"])[:, 0]
        return small_step_of_ddpm(both, 0.6, 1.0, w, *PAIRS["other"], np.full_like(both, z))[:, 0]

    def flow(x: np.ndarray) -> np.ndarray:
        return (step(x, 0.0) - x) * marginal(x, 0.6, w)

    noise = (step(x, 1.0) - step(x, 0.0)) ** 2
    p = [marginal(x + k * h, 0.6, w) for k in (-1, 0, 1)]
    right = (flow(x + h) - flow(x - h)) / (2 * h) - noise / 2 * (p[2] - 2 * p[1] + p[0]) / h**2
    return (marginal(x, 0.6 + h, w) - marginal(x, 0.6 - h, w)) / (2 * h), right


@pytest.mark.parametrize("w", [0.0, -1.0])
def test_h_5_by_fokker_planck(w: float) -> None:
    """Without guidance the noised data are carried to less noised data."""
    np.testing.assert_allclose(*transport(w, "DDIM"), atol=3e-6)  # h^2 times derivatives of order 1


@pytest.mark.parametrize("w", [0.0, -1.0])
def test_h_6_by_fokker_planck(w: float) -> None:
    np.testing.assert_allclose(*transport(w, "DDPM"), atol=3e-6)


@pytest.mark.parametrize("pair", PAIRS)
def test_h_1_by_boundaries(pair: str) -> None:
    """All three agree at w = 0, at w = -1, and at any w if the label only moves the data."""
    given_y, var_all = PAIRS[pair]
    alike = Gaussian(given_y.mean, var_all)
    cases = [(given_y, 0.0), (given_y, -1.0), (alike, -0.5), (alike, 0.7), (alike, 3.0)]
    for law, w in cases:
        tilted = tilt(law, var_all, w)
        for chain in (ddpm_law(law, var_all, w), ddim_law(law, var_all, w)):
            assert chain.var == pytest.approx(tilted.var, rel=1e-12)
            np.testing.assert_allclose(chain.mean, tilted.mean, atol=1e-12)


def laws(r: float, w: float) -> list[Gaussian]:
    """Tilted, DDPM and DDIM for a class of mean and variance 1."""
    return [law(Gaussian(np.ones(1), 1.0), r, w) for law in (tilt, ddpm_law, ddim_law)]


@pytest.mark.parametrize("r", [1.05, 1.5, 2.0, 5.0, 30.0])
def test_h_1_by_order(r: float) -> None:
    """(13.7) at every w above 0, and the other way round between -1 and 0."""
    for w in (0.01, 0.3, 1.0, 4.0, 20.0):
        tilted, ddpm, of_ddim = (law.var for law in laws(r, w))
        assert tilted > ddpm > of_ddim
    for w in (-0.99, -0.5, -0.01):
        tilted, ddpm, of_ddim = (law.var for law in laws(r, w))
        assert tilted < ddpm < of_ddim


@pytest.mark.parametrize("r", [1.05, 1.5, 2.0, 5.0, 30.0])
def test_h_2_by_order(r: float) -> None:
    """(13.6); at large w all reach r / (r - 1), the most probable point, DDIM from beyond it."""
    for w in (0.01, 0.3, 1.0, 4.0, 20.0):
        tilted, ddpm, of_ddim = (float(law.mean[0]) for law in laws(r, w))
        assert tilted < ddpm < of_ddim and ddpm < r / (r - 1) + 1e-12  # rounding
    for w in (-0.99, -0.5, -0.01):
        tilted, ddpm, of_ddim = (float(law.mean[0]) for law in laws(r, w))
        assert tilted > ddpm > of_ddim
    x = np.linspace(-30, 30, 600_001)
    best = x[np.argmax(norm.logpdf(x, 1, 1) - norm.logpdf(x, 0, r**0.5))]
    assert best == pytest.approx(r / (r - 1), abs=1e-4)
    # What is left, of the value, is of the order of 1 / (w (r - 1)), and of 1 / w at least.
    for law in laws(r, 200 * max(1.0, 1 / (r - 1))):
        assert law.mean[0] == pytest.approx(best, rel=0.02) and law.var < 0.01 * r


def test_h_2_by_the_overshoot_of_the_text() -> None:
    """r = 2: 20 % beyond the most probable point at w = 6, and less before and after."""
    beyond = [float(laws(2.0, w)[2].mean[0]) / 2 - 1 for w in (3.0, 6.0, 12.0)]
    assert beyond[1] == pytest.approx(0.2, abs=5e-4) and beyond[1] > max(beyond[0], beyond[2])


# --- each displayed step, at numbers


@dataclass
class Level:
    """The letters of the page at one level, for the pair "other" along axis 0."""

    tau: float
    w: float

    def __post_init__(self) -> None:
        given_y, self.S = PAIRS["other"]
        self.S_y = given_y.var
        self.m = float(given_y.mean[0])
        self.R = self.S / self.S_y
        self.k = (1 + self.w) / (self.S_y + self.tau) - self.w / (self.S + self.tau)
        self.c = (1 + self.w) * self.m / (self.S_y + self.tau)
        self.G = float(growth(self.tau, self.w, *PAIRS["other"]))
        self.r = np.sqrt(self.S_y / (self.S_y + self.tau))
        self.rho = (self.S + self.tau) / (self.S_y + self.tau)
        self.h = self.c / self.k
        difference = 1 / (self.S_y + self.tau) - 1 / (self.S + self.tau)
        self.P = self.w * (1 + self.w) * difference**2 / self.k**2


def slope(name: str, tau: float, w: float) -> float:
    """The derivative of a letter with respect to tau, by a central difference."""
    step = 1e-5 * tau
    up, down = (float(getattr(Level(tau + d, w), name)) for d in (step, -step))
    return (up - down) / (2 * step)


SLOPE = 1e-7  # relative: the square of 1e-5, and rounding over it
TAUS = pytest.mark.parametrize("tau", [0.05, 0.7, 6.0])


def over_levels(f: Callable[[Level], float], w: float) -> float:
    """The integral over tau from 0 to infinity; in a square, because roots of tau occur."""
    near, _ = quad(lambda q: f(Level(q, w)), 0, 1, epsabs=1e-12)
    far, _ = quad(lambda q: f(Level(1 / q**2, w)) * 2 / q**3, 0, 1, epsabs=1e-12)
    return near + far


QUADRATURE = 1e-8


@TAUS
@given_w
def test_h_1_by_each_step(tau: float, w: float) -> None:
    """Predictions, their mixture, one step of DDIM, the growth, and its limit."""
    level = Level(tau, w)
    abar = 1 / (1 + tau)
    schedule = Schedule(np.array([0, 1 - abar]))
    model = TwoGaussians(*PAIRS["other"], schedule)
    xt = np.sqrt(abar) * X
    eps_y = model(xt, 1, np.zeros(3, int))[:, 0]
    eps_null = model(xt, 1, np.ones(3, int))[:, 0]
    x = X[:, 0]
    np.testing.assert_allclose(eps_y, np.sqrt(tau) * (x - level.m) / (level.S_y + tau), rtol=1e-9)
    np.testing.assert_allclose(eps_null, np.sqrt(tau) * x / (level.S + tau), rtol=1e-9)
    mixture = guide(eps_y, eps_null, w)
    np.testing.assert_allclose(mixture, np.sqrt(tau) * (level.k * x - level.c), atol=1e-9)
    # one step of DDIM: exactly, and to first order
    left: list[float] = []
    for step in (1e-3 * tau, 1e-4 * tau):
        after, _ = one_step("DDIM", X, tau, step, w)
        moved = after[:, 0] - x
        factor = np.sqrt(tau - step) - np.sqrt(tau)
        np.testing.assert_allclose(moved, factor * mixture, atol=1e-9)
        left.append(np.abs(moved + step * (level.k * x - level.c) / 2).max())
    assert left[0] / left[1] == pytest.approx(100, rel=0.01)
    # the growth is the exponential of an integral, and the limit of tau / G
    integral, _ = quad(lambda q: Level(q, w).k, 0, tau)
    assert np.exp(integral) == pytest.approx(level.G, rel=QUADRATURE)
    far = 1e9
    limit = level.S_y ** (1 + w) * level.S**-w
    assert far / growth(far, w, *PAIRS["other"]) == pytest.approx(limit, rel=1e-7)
    powers = (far / level.S_y) ** (1 + w) * (far / level.S) ** -w
    assert powers == pytest.approx(far * level.S_y ** (-1 - w) * level.S**w, rel=1e-12)
    assert powers == pytest.approx(growth(far, w, *PAIRS["other"]), rel=1e-7)
    assert limit == pytest.approx(level.S_y * level.R**-w, rel=1e-12)


@TAUS
@given_w
def test_h_2_by_each_step(tau: float, w: float) -> None:
    """The integral over levels, the new variables and their derivatives, and G in them."""
    level = Level(tau, w)
    M = over_levels(lambda q: q.c / (2 * np.sqrt(q.G)), w)
    assert pytest.approx(ddim_law(*PAIRS["other"], w).mean[0], rel=QUADRATURE) == M
    assert level.rho == pytest.approx(1 + (level.R - 1) * level.r**2, rel=1e-12)
    dr = -level.r / (2 * (level.S_y + tau))
    assert slope("r", tau, w) == pytest.approx(dr, rel=SLOPE)
    first = (level.S_y + tau) / level.S_y * (level.R / level.rho) ** w
    second = (level.R / level.rho) ** w / level.r**2
    assert [first, second] == pytest.approx([level.G, level.G], rel=1e-12)


@TAUS
@given_w
def test_h_3_by_each_step(tau: float, w: float) -> None:
    """One step of DDPM, both integrals over levels, and the variable rho."""
    level = Level(tau, w)
    step = 0.3 * tau
    after, added = one_step("DDPM", X, tau, step, w)
    x = X[:, 0]
    kept = (tau - step) / tau
    guess = x - tau * (level.k * x - level.c)
    np.testing.assert_allclose(after[:, 0], kept * x + (1 - kept) * guess, atol=1e-9)
    np.testing.assert_allclose(after[:, 0], x - step * (level.k * x - level.c), atol=1e-9)
    assert added == pytest.approx(step * kept, rel=1e-8)
    V = over_levels(lambda q: 1 / q.G**2, w)
    M = over_levels(lambda q: q.c / q.G, w)
    limit = ddpm_law(*PAIRS["other"], w)
    assert pytest.approx([limit.var, limit.mean[0]], rel=QUADRATURE) == [V, M]
    drho = -(level.S - level.S_y) / (level.S_y + tau) ** 2
    assert slope("rho", tau, w) == pytest.approx(drho, rel=SLOPE)
    one_over_G = (level.rho / level.R) ** w * level.S_y / (level.S_y + tau)
    assert one_over_G == pytest.approx(1 / level.G, rel=1e-12)
    power, _ = quad(lambda rho: (rho / level.R) ** (2 * w), 1, level.R)
    assert level.S_y / (level.R - 1) * power == pytest.approx(V, rel=QUADRATURE)


@given_w
def test_h_4_by_each_step(w: float) -> None:
    level = Level(1.0, w)
    power, _ = quad(lambda rho: (rho / level.R) ** w, 1, level.R)
    M = (1 + w) * level.m / (level.R - 1) * power
    assert pytest.approx(ddpm_law(*PAIRS["other"], w).mean[0], rel=QUADRATURE) == M


@TAUS
@given_w
def test_h_5_by_each_step(tau: float, w: float) -> None:
    """The mixture and the guess in terms of the guided score."""
    level = Level(tau, w)
    s_w = score_at(X, tau, w, *PAIRS["other"])[:, 0]
    x = X[:, 0]
    np.testing.assert_allclose(-s_w, level.k * x - level.c, atol=1e-12)
    mixture = -np.sqrt(tau) * s_w
    np.testing.assert_allclose(x - np.sqrt(tau) * mixture, x + tau * s_w, atol=1e-12)


def mean_at(kind: str, tau: float, w: float) -> float:
    """The mean of a chain at a level: its end, if the noise of this level belongs to the data."""
    given_y, var_all = PAIRS["other"]
    end = {"DDIM": ddim_law, "DDPM": ddpm_law}[kind]
    return float(end(Gaussian(given_y.mean, given_y.var + tau), var_all + tau, w).mean[0])


def var_at(kind: str, tau: float, w: float) -> float:
    given_y, var_all = PAIRS["other"]
    end = {"DDIM": ddim_law, "DDPM": ddpm_law}[kind]
    return end(Gaussian(given_y.mean, given_y.var + tau), var_all + tau, w).var


@TAUS
@given_w
def test_h_7_by_each_step(tau: float, w: float) -> None:
    """h and its derivative; the equation of the distance from h; the integral for DDPM."""
    level = Level(tau, w)
    noised = level.S + tau + w * (level.S - level.S_y)
    assert level.h == pytest.approx((1 + w) * level.m * (level.S + tau) / noised, rel=1e-12)
    dh = w * (1 + w) * level.m * (level.S - level.S_y) / noised**2
    assert slope("h", tau, w) == pytest.approx(dh, rel=1e-5, abs=1e-9)
    step = 1e-4 * tau
    for kind, half in (("DDPM", 1.0), ("DDIM", 0.5)):
        up, down = (mean_at(kind, tau + d, w) - Level(tau + d, w).h for d in (step, -step))
        left = (up - down) / (2 * step)
        right = half * level.k * (mean_at(kind, tau, w) - level.h) - dh
        assert left == pytest.approx(right, rel=1e-5, abs=1e-8)
    excess = over_levels(lambda q: slope("h", q.tau, w) / q.G, w)
    given_y, var_all = PAIRS["other"]
    tilted = tilt(given_y, var_all, w).mean[0]
    assert excess == pytest.approx(ddpm_law(given_y, var_all, w).mean[0] - tilted, rel=1e-5)


@TAUS
@given_w
def test_h_8_by_each_step(tau: float, w: float) -> None:
    """The derivative of 1 / k; the equations of the variances, and of their distance from it."""
    level = Level(tau, w)
    step = 1e-4 * tau

    def derivative(f: Callable[[float], float]) -> float:
        return (f(tau + step) - f(tau - step)) / (2 * step)

    k_y = 1 / (level.S_y + tau)
    k_null = 1 / (level.S + tau)
    squares = (1 + w) * k_y**2 - w * k_null**2
    assert squares == pytest.approx(level.k**2 - w * (1 + w) * (k_y - k_null) ** 2, rel=1e-9)
    assert -derivative(lambda q: Level(q, w).k) == pytest.approx(squares, rel=1e-6)
    d_one_over_k = derivative(lambda q: 1 / Level(q, w).k)
    assert d_one_over_k == pytest.approx(1 - level.P, rel=1e-6, abs=1e-7)
    V = {kind: var_at(kind, tau, w) for kind in ("DDPM", "DDIM")}
    dV = {kind: derivative(lambda q, kind=kind: var_at(kind, q, w)) for kind in V}
    assert dV["DDPM"] == pytest.approx(2 * level.k * V["DDPM"] - 1, rel=1e-6, abs=1e-7)
    assert dV["DDIM"] == pytest.approx(level.k * V["DDIM"], rel=1e-6)
    away = {kind: V[kind] - 1 / level.k for kind in V}
    left = {kind: dV[kind] - d_one_over_k for kind in V}
    assert left["DDPM"] == pytest.approx(2 * level.k * away["DDPM"] + level.P, rel=1e-5, abs=1e-6)
    assert left["DDIM"] == pytest.approx(level.k * away["DDIM"] + level.P, rel=1e-5, abs=1e-6)
    as_fraction = level.S + tau + w * (level.S - level.S_y)
    product = (level.S_y + tau) * (level.S + tau)
    assert 1 / level.k == pytest.approx(product / as_fraction, rel=1e-12)
    omitted = [1 / Level(q, w).k - q - level.S_y + w * (level.S - level.S_y) for q in (1e3, 1e4)]
    assert abs(omitted[0]) < 0.02
    assert omitted[1] == pytest.approx(omitted[0] / 10, rel=0.01)  # it goes to 0 like 1 / tau
    lost = over_levels(lambda q: q.P / q.G**2, w)
    tilted = tilt(*PAIRS["other"], w).var
    assert lost == pytest.approx(tilted - ddpm_law(*PAIRS["other"], w).var, rel=1e-6)


@pytest.mark.parametrize(("half", "level"), [(1.0, 98.0), (0.5, 23.0)])
def test_h_7_by_the_level_at_which_a_chain_meets_h(half: float, level: float) -> None:
    """The text: from the level 10^4 DDPM meets h at 98 and DDIM at 23, and ends beyond it.

    Earlier texts had a chain never reach h, or h fall faster than the mean all the way.
    """
    given_y, S = EXAMPLE
    S_y, m, w = given_y.var, float(given_y.mean[0]), 2.0

    def beyond(log_tau: float, M: np.ndarray) -> float:
        tau = np.exp(log_tau)
        return float(M[0]) - (1 + w) * m * (S + tau) / (S + tau + w * (S - S_y))

    def slope_of_mean(log_tau: float, M: np.ndarray) -> np.ndarray:
        tau = np.exp(log_tau)
        score_y, score_all = (M - m) / (S_y + tau), M / (S + tau)
        return half * tau * ((1 + w) * score_y - w * score_all)

    chain = solve_ivp(slope_of_mean, (np.log(1e4), -12), [0.0], rtol=1e-9, atol=1e-9, events=beyond)
    (met,) = np.exp(chain.t_events[0])  # once, and then it stays beyond
    assert met == pytest.approx(level, abs=0.5)
    assert beyond(chain.t[-1], chain.y[:, -1]) > 0.2
    after = np.exp(chain.t) < 0.99 * met
    assert (np.diff(chain.y[0, after]) < 0).all()
    gap = [beyond(*at) for at in zip(chain.t[after], chain.y.T[after], strict=True)]
    assert min(gap) > 0
    assert max(gap) > gap[-1] + 0.01  # near the data the mean falls faster than h


CLOSED = 1e-9  # a quadrature with 60 nodes of functions that are smooth in s


@given_w
@given_pair
def test_h_7_by_closed_forms(pair: str, w: float) -> None:
    given_y, var_all = PAIRS[pair]
    overshoot, _ = differences_from_tilted(given_y, var_all, w)
    tilted = tilt(given_y, var_all, w).mean
    for found, end in zip(overshoot, (ddpm_law, ddim_law), strict=True):
        np.testing.assert_allclose(found, end(given_y, var_all, w).mean - tilted, atol=CLOSED)


@given_w
@given_pair
def test_h_7_by_moment_equation(pair: str, w: float) -> None:
    given_y, var_all = PAIRS[pair]
    overshoot, _ = differences_from_tilted(given_y, var_all, w)
    tilted = tilt(given_y, var_all, w).mean
    for found, noise in zip(overshoot, (True, False), strict=True):
        wanted = moments_by_ode(pair, w, noise)[0] - tilted
        # For DDIM the start at e^18 is felt as e^-9, times factors of some units.
        np.testing.assert_allclose(found, wanted, atol=1e-3)


@given_w
@given_pair
def test_h_8_by_closed_forms(pair: str, w: float) -> None:
    given_y, var_all = PAIRS[pair]
    _, lost = differences_from_tilted(given_y, var_all, w)
    tilted = tilt(given_y, var_all, w).var
    wanted = [tilted - end(given_y, var_all, w).var for end in (ddpm_law, ddim_law)]
    np.testing.assert_allclose(lost, wanted, atol=CLOSED)


@given_w
@given_pair
def test_h_8_by_moment_equation(pair: str, w: float) -> None:
    given_y, var_all = PAIRS[pair]
    _, lost = differences_from_tilted(given_y, var_all, w)
    tilted = tilt(given_y, var_all, w).var
    wanted = [tilted - moments_by_ode(pair, w, noise)[1] for noise in (True, False)]
    np.testing.assert_allclose(lost, wanted, rtol=1e-4, atol=ODE)


def test_h_8_by_signs() -> None:
    """Both orders follow from the signs: w > 0, then -1 < w < 0, then a class wider than all."""
    for w, R, variances, means in (
        (2.0, 2.0, 1, 1),
        (0.1, 30.0, 1, 1),
        (-0.5, 2.0, -1, -1),
        (2.0, 0.8, 1, -1),
    ):
        overshoot, lost = differences_from_tilted(Gaussian(np.ones(1), 1.0), R, w)
        assert (np.sign(lost) == variances).all()
        assert (np.sign(overshoot) == means).all()
        assert abs(lost[1]) > abs(lost[0])
        assert abs(overshoot[1, 0]) > abs(overshoot[0, 0])
    # R = 0.8: the tilted distribution exists for w < 4
    ends = [end(Gaussian(np.ones(1), 1.0), 0.8, 2.0) for end in (tilt, ddpm_law, ddim_law)]
    assert ends[0].var > ends[1].var > ends[2].var
    assert ends[0].mean[0] > ends[1].mean[0] > ends[2].mean[0]
    assert tilt(Gaussian(np.ones(1), 1.0), 0.8, 3.9).var > 0
    with pytest.raises(ValueError, match=r"R"):
        tilt(Gaussian(np.ones(1), 1.0), 0.8, 4.1)


@cache
def from_level(pair: str, w: float, noise: bool, tau: float) -> np.ndarray:
    """The mean of a chain that starts with mean 0 at tau, by SciPy."""
    given_y, var_all = PAIRS[pair]

    def slope(log_tau: float, M: np.ndarray) -> np.ndarray:
        tau = np.exp(log_tau)
        k = (1 + w) / (given_y.var + tau) - w / (var_all + tau)
        c = (1 + w) * given_y.mean / (given_y.var + tau)
        return tau * (1.0 if noise else 0.5) * (k * M - c)

    span = (float(np.log(tau)), -25.0)
    end = solve_ivp(slope, span, np.zeros(2), method="LSODA", rtol=1e-12, atol=1e-13)
    return end.y[:, -1]


@pytest.mark.parametrize("w", [0.7, 2.0])
@given_pair
def test_h_9_by_a_differential_equation(pair: str, w: float) -> None:
    """What is neglected is relatively of the order of S / tau."""
    tau = 1e4
    without = lost_by_start(*PAIRS[pair], w, tau)
    for lacks, noise, end in zip(without, (False, True), (ddim_law, ddpm_law), strict=True):
        found = end(*PAIRS[pair], w).mean - from_level(pair, w, noise, tau)
        np.testing.assert_allclose(found, lacks, rtol=5e-3, atol=1e-9)


@pytest.mark.parametrize("w", [0.7, 2.0])
def test_h_9_by_each_step(w: float) -> None:
    """What is added above a far level arrives as (1 + w) m: roughly, by G and c themselves."""
    tau_1 = 1e4
    far = Level(tau_1, w)
    there = (1 + w) * far.m
    for half, power in ((0.5, 0.5), (1.0, 1.0)):

        def added(q: float, half: float = half, power: float = power) -> float:
            return half * there / q * (tau_1 / q) ** power

        def exact(q: float, half: float = half, power: float = power) -> float:
            level = Level(q, w)
            return half * level.c * (far.G / level.G) ** power

        for f, allowed in ((added, QUADRATURE), (exact, 1e-3)):
            # q = tau_1 / r^2
            found, _ = quad(lambda r, f=f: f(tau_1 / r**2) * 2 * tau_1 / r**3, 0, 1)
            assert found == pytest.approx(there, rel=allowed)


def test_h_9_by_ddim_from_the_linear_schedule() -> None:
    """500 and 1000 steps from the alpha_bar_T of the linear schedule; their limit lacks 0.0095."""
    found: list[float] = []
    for T in (500, 1000):
        low = float(-np.log(1 / 4.036e-5 - 1))
        log_snr = log_snr_grid(T, low)
        schedule = schedule_from(log_snr)
        model = TwoGaussians(*EXAMPLE, schedule)
        x = run(model, np.zeros(1, int), ddim(schedule), 2.0, Given())  # from the mean, 0
        found.append(float(x[0, 0]))
    limit = 2 * found[1] - found[0]
    assert limit == pytest.approx(1.9905, abs=1e-4)
    tau = 1 / 4.036e-5 - 1
    assert tau == pytest.approx(25_000, rel=0.01)
    assert Schedule.linear(1000).alpha_bar[-1] == pytest.approx(4.036e-5, rel=1e-3)
    of_ddim, of_ddpm = (float(v[0]) for v in lost_by_start(*EXAMPLE, 2.0, tau))
    assert limit == pytest.approx(2 - of_ddim, abs=1e-4)
    assert [of_ddim, of_ddpm] == pytest.approx([0.0095, 0.00003], rel=0.02)
    from_20, _ = lost_by_start(*EXAMPLE, 2.0, float(np.exp(20)))
    assert from_20[0] == pytest.approx(0.00007, rel=0.03)


@pytest.mark.parametrize("R", [1.3, 2.0, 7.0])
def test_h_10_by_a_grid(R: float) -> None:
    x = np.linspace(-30, 30, 600_001)
    best = x[np.argmax(norm.logpdf(x, 1, 1) - norm.logpdf(x, 0, R**0.5))]
    assert most_probable_point(Gaussian(np.ones(1), 1.0), R)[0] == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("R", [1.3, 2.0, 7.0])
def test_h_10_by_large_weights(R: float) -> None:
    """What is left is of the order of 1 / (w (R - 1)), relatively."""
    given_y = Gaussian(np.ones(1), 1.0)
    point = most_probable_point(given_y, R)
    for end in (tilt, ddpm_law, ddim_law):
        limit = end(given_y, R, 2000.0)
        np.testing.assert_allclose(limit.mean, point, rtol=0.01)
        assert limit.var < 0.01


def test_h_10_by_each_step() -> None:
    """The mean of DDIM for large w; the derivative of the logarithm, and that it is 0 there."""
    m, S_y, S = 0.9, 0.3, 1.1

    def log_ratio(x: float) -> float:
        return float(norm.logpdf(x, m, S_y**0.5) - norm.logpdf(x, 0, S**0.5))

    for x in (-1.0, 0.4, 2.2):
        found = (log_ratio(x + 1e-5) - log_ratio(x - 1e-5)) / 2e-5
        assert found == pytest.approx(-(x - m) / S_y + x / S, abs=1e-8)
    given_y = Gaussian(np.array([m]), S_y)
    point = float(most_probable_point(given_y, S)[0])
    assert -(point - m) / S_y + point / S == pytest.approx(0, abs=1e-12)
    R = S / S_y
    left: list[float] = []
    for w in (50.0, 100.0):
        area, _ = quad(lambda u, w=w: np.exp(-w * u * (R - 1) / R), 0, np.inf)
        assert (1 + w) * m * area == pytest.approx((1 + 1 / w) * point, rel=1e-8)
        left.append(ddim_law(given_y, S, w).mean[0] / point - (1 + 1 / w))
    # What is neglected is a fraction of the order of 1 / w: half of it for twice the weight.
    assert left[1] == pytest.approx(left[0] / 2, rel=0.1)
    assert abs(left[0]) < 1 / 50


def pairs_in(row: str) -> list[tuple[float, float]]:
    """The entries `mean (variance)` of a row of a table."""
    cell = re.compile(r"([\d.]+) \(([\d.]+)\)")
    return [(float(a), float(b)) for a, b in cell.findall(row)]


def rows(first: str) -> list[tuple[str, list[tuple[float, float]]]]:
    """The rows of the table whose head begins with `first`: name and entries."""
    text = (lesson.__doc__ or "").split(f"| {first} |")[1].split("\n\n")[0]
    lines = [line for line in text.splitlines() if "(" in line]
    return [(line.split("|")[1].strip(), pairs_in(line)) for line in lines]


def test_h_4_by_tables_in_the_text() -> None:
    """The example, and the three distributions over w."""
    found = rows("w")
    assert [name for name, _ in found] == ["0", "1", "2", "4"]
    for name, entries in found:
        ends = [end(*EXAMPLE, float(name)) for end in (tilt, ddpm_law, ddim_law)]
        exact = [(float(end.mean[0]), end.var) for end in ends]
        np.testing.assert_allclose(entries, exact, atol=5.1e-5)
    text = lesson.__doc__ or ""
    assert "| mean | 1.5 | 1.75 | 2 |\n| variance | 0.5 | 0.3875 | 0.25 |" in text
    overshoot, lost = differences_from_tilted(*EXAMPLE, 2.0)
    assert overshoot[:, 0] == pytest.approx([0.25, 0.5], abs=CLOSED)
    assert lost == pytest.approx([0.1125, 0.25], abs=CLOSED)
    h = tilt(Gaussian(EXAMPLE[0].mean, 2.0), 3.0, 2.0).mean[0]  # both variances with tau = 1
    assert h == pytest.approx(1.8, abs=1e-12)


def test_h_1_by_displacements_in_the_text() -> None:
    """What survives from three levels, by the formula and by the samplers' own steps."""
    G = np.array([growth(tau, 2.0, *EXAMPLE) for tau in (1.0, 10.0, 100.0)])
    assert G[0] == pytest.approx(3.56, abs=0.005)
    np.testing.assert_allclose(1 / np.sqrt(G), [0.53, 0.16, 0.05], atol=0.005)
    assert 1 / G[0] == pytest.approx(0.28, abs=0.005)
    assert 1 / G[1] == pytest.approx(0.027, abs=0.0005)
    schedule = schedule_from(log_snr_grid(2000, 0.0))
    model = TwoGaussians(*EXAMPLE, schedule)
    y = np.zeros(2, int)
    start = np.array([[0.0, 0.0], [1.0, 1.0]]) * np.sqrt(schedule.alpha_bar[-1])
    x = run(model, y, ddim(schedule), 2.0, Given({0: start}))
    np.testing.assert_allclose(x[1] - x[0], 0.53, atol=0.005)


@pytest.mark.slow
def test_h_3_by_table_of_finite_steps() -> None:
    found = rows("levels")
    errors: list[tuple[float, float]] = []
    for name, entries in found:
        T = int(name.replace(",", ""))
        exact = [finite_law("paper", 2.0, kind, T) for kind in ("0.3", "DDIM")]
        np.testing.assert_allclose(entries, [(m[0], V) for m, V in exact], atol=5.1e-4)
        errors.append((0.3875 - exact[0][1], 0.25 - exact[1][1]))
    # with four times the levels, a fourth of the error, from 64 levels on up to some percent
    np.testing.assert_allclose(np.divide(errors[3], errors[2]), 0.25, atol=0.02)
    relative = np.divide(errors[2], (0.3875, 0.25))
    assert (relative > 0.01).all() and (relative < 0.02).all()


@pytest.mark.slow
def test_h_3_by_samples_in_the_text() -> None:
    """The 20,000 samples of the lesson's seed; NumPy promises the same normals."""
    x, x_ddim = sampled(2.0)
    assert [x[:, 0].mean(), x.var(0).mean()] == pytest.approx([1.743, 0.381], abs=6e-4)
    assert [x_ddim[:, 0].mean(), x_ddim.var(0).mean()] == pytest.approx([2.004, 0.248], abs=6e-4)
    for each in (x, x_ddim):
        assert each[:, 0].std() / len(each) ** 0.5 < 0.0045
        assert each.var(0).mean() * (2 / each.size) ** 0.5 < 0.003
    # The variance along one coordinate alone is less accurate than the text says of the mean.
    assert x[:, 0].var() * (2 / len(x)) ** 0.5 > 0.0035
    assert "Each variance is a mean over both coordinates" in (lesson.__doc__ or "")


def test_h_2_by_the_way_over_the_point() -> None:
    """DDIM's mean at w = 2, 6 and 20, with R = 2 and m = 1."""
    means = [float(ddim_law(*EXAMPLE, w).mean[0]) for w in (2.0, 6.0, 20.0)]
    assert means == pytest.approx([2, 2.4, 2.13], abs=0.005)
    over = [float(ddim_law(*EXAMPLE, float(w)).mean[0]) for w in np.linspace(3, 20, 171)]
    assert max(over) == pytest.approx(2.4, abs=1e-4)


@pytest.mark.parametrize("t", [0, 3])
def test_h_5_by_refusal_of_t(t: int) -> None:
    model = TwoGaussians(*EXAMPLE, Schedule(np.array([0, 0.1, 0.2])))
    with pytest.raises(ValueError, match=rf"t = {t} is outside 1\.\.2"):
        model(np.zeros((1, 2)), t, np.zeros(1, dtype=int))
