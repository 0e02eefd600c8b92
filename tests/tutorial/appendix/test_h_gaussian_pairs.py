"""Appendix H: closed forms against differential equations and against the samplers' own laws.

The denoiser is affine, so a sampler of a finite number of steps has a Gaussian law that needs no
samples: row 0 of a batch sees no noise and is the mean, every other row sees a 1 in one draw, and
the variance is the sum of the squared responses. From T and 2 T steps, whose errors are about
1 / T, the limit follows (Richardson).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp
from scipy.stats import norm

from tests.tutorial.noise import GivenInOrder, Impulses
from tutorial.appendix.h_gaussian_pairs import (
    EXAMPLE,
    TwoGaussians,
    ddim_law,
    ddpm_law,
    sampled,
    score_at,
)
from tutorial.contract import Denoiser
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step07_sampling import ancestral_steps
from tutorial.step11_guidance import tilt
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
    """The slope of a DDIM step tends to the drift, at the rate of the step."""
    drift = score_at(X, 0.6, w, *PAIRS["other"]) / 2
    errors = []
    for step in (1e-3, 1e-4):
        after, added = one_step("DDIM", X, 0.6, step, w)
        assert added == 0
        errors.append(np.abs((after - X) / step - drift).max())
    assert errors[0] < 0.1 and errors[1] == pytest.approx(errors[0] / 10, rel=0.01)


@pytest.mark.parametrize("w", [0.0, 2.0, -1.0])
def test_h_6_by_small_steps_of_the_reverse_chain(w: float) -> None:
    drift = score_at(X, 0.6, w, *PAIRS["other"])
    errors = []
    for step in (1e-3, 1e-4):
        after, added = one_step("DDPM", X, 0.6, step, w)
        errors.append([np.abs((after - X) / step - drift).max(), abs(added / step - 1)])
    assert max(errors[0]) < 0.1
    # The mean of (7.2) is exact in the score: no error of order `step` at all.
    np.testing.assert_allclose(errors[1], np.array(errors[0]) / 10, rtol=0.01, atol=1e-9)


def marginal(x: np.ndarray, tau: float, w: float) -> np.ndarray:
    """SciPy's density of axis 0 at tau: the class at w = 0, all data at w = -1."""
    given_y, var_all = PAIRS["other"]
    mean, var = (given_y.mean[0], given_y.var) if w == 0 else (0.0, var_all)
    return norm.pdf(x, mean, (var + tau) ** 0.5)


def transport(w: float, share: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of Fokker-Planck at tau = 0.6, by finite differences on a line.

    A chain dx = -share s dtau and noise of variance `noise` |dtau|, run towards smaller tau, moves
    a density p by dp / dtau = share (s p)' - noise p'' / 2.
    """
    h = 1e-3
    x = np.linspace(-3, 3, 13)

    def flow(x: np.ndarray) -> np.ndarray:
        both = np.stack([x, x], 1)
        return share * score_at(both, 0.6, w, *PAIRS["other"])[:, 0] * marginal(x, 0.6, w)

    p = [marginal(x + k * h, 0.6, w) for k in (-1, 0, 1)]
    right = (flow(x + h) - flow(x - h)) / (2 * h) - noise / 2 * (p[2] - 2 * p[1] + p[0]) / h**2
    return (marginal(x, 0.6 + h, w) - marginal(x, 0.6 - h, w)) / (2 * h), right


@pytest.mark.parametrize("w", [0.0, -1.0])
def test_h_5_by_fokker_planck(w: float) -> None:
    """Without guidance the noised data are carried to less noised data; by twice the drift not."""
    left, right = transport(w, 0.5, 0.0)
    np.testing.assert_allclose(left, right, atol=3e-6)  # h^2 times derivatives of some units
    assert np.abs(left - transport(w, 1.0, 0.0)[1]).max() > 0.05


@pytest.mark.parametrize("w", [0.0, -1.0])
def test_h_6_by_fokker_planck(w: float) -> None:
    left, right = transport(w, 1.0, 1.0)
    np.testing.assert_allclose(left, right, atol=3e-6)
    assert np.abs(left - transport(w, 0.5, 1.0)[1]).max() > 0.05


@pytest.mark.parametrize("pair", PAIRS)
def test_h_1_by_boundaries(pair: str) -> None:
    """All three laws agree at w = 0, at w = -1, and at any w if the label only moves the data."""
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
    """(13.6); at large w all come to r / (r - 1), the most likely place; DDIM from beyond it."""
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
    """r = 2: 20% beyond the most likely place at w = 6, more than a bit before and after."""
    beyond = [float(laws(2.0, w)[2].mean[0]) / 2 - 1 for w in (3.0, 6.0, 12.0)]
    assert beyond[1] == pytest.approx(0.2, abs=5e-4) and beyond[1] > max(beyond[0], beyond[2])


@pytest.mark.parametrize("t", [0, 3])
def test_h_5_by_refusal_of_t(t: int) -> None:
    model = TwoGaussians(*EXAMPLE, Schedule(np.array([0, 0.1, 0.2])))
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..2"):
        model(np.zeros((1, 2)), t, np.zeros(1, dtype=int))
