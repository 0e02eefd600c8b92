"""Appendix K: exact laws of correctors by impulses, equations and samples."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from tests.tutorial.noise import Impulses
from tutorial.appendix.h_gaussian_pairs import EXAMPLE, score_at
from tutorial.appendix.i_predictor_corrector import levels
from tutorial.appendix.j_levels import langevin, of_gaussians
from tutorial.appendix.k_correctors import (
    chain_law,
    corrected,
    corrected_steps,
    corrector_step,
    settled,
    top_class,
)
from tutorial.contract import last
from tutorial.step02_forward import Gaussian
from tutorial.step11_guidance import tilt

OTHER = Gaussian(np.array([0.9, -1.3]), 0.3), 1.1
CASES = [(1.0, 0.0, 0.1), (3.0, 0.5, 0.3), (0.0, 2.0, 1.5)]  # w, tau, step


def level(w: float, tau: float) -> Gaussian:
    return tilt(Gaussian(OTHER[0].mean, OTHER[0].var + tau), OTHER[1] + tau, w)


def after(w: float, tau: float, step: float, n: int, start: Gaussian) -> tuple[np.ndarray, float]:
    """Mean and variance after n of the lesson's steps, exactly."""
    x = np.tile(start.mean, (n + 2, 1))
    rng = Impulses()
    x[-1] += start.var**0.5
    for _ in range(n):
        x = langevin(x, tau, w, step, of_gaussians(*OTHER), rng)
    return x[0], float(((x[1:] - x[0]) ** 2).sum(0)[0])


START = Gaussian(np.array([2.0, 0.5]), 1.7)


@pytest.mark.parametrize(("w", "tau", "step"), CASES)
def test_k_1_by_impulses(w: float, tau: float, step: float) -> None:
    n = int(60 / (step / level(w, tau).var))  # e^-60 of the start is left
    assert settled(level(w, tau), step).var == pytest.approx(
        after(w, tau, step, n, START)[1], rel=1e-10
    )


def test_k_1_by_sympy() -> None:
    k, d, V = sympy.symbols("k delta V", positive=True)
    (fixed,) = sympy.solve(sympy.Eq(V, (1 - d * k / 2) ** 2 * V + d), V)
    for var, step in ((0.5, 0.2), (2.0, 1.0)):
        found = settled(Gaussian(np.zeros(2), var), step).var
        assert found == pytest.approx(float(fixed.subs({k: 1 / var, d: step})), rel=1e-12)


@pytest.mark.parametrize(("w", "tau", "step"), CASES)
def test_k_2_by_impulses(w: float, tau: float, step: float) -> None:
    for n in (0, 1, 7):
        law = corrected(START, level(w, tau), step, n)
        np.testing.assert_allclose(law.mean, after(w, tau, step, n, START)[0], rtol=1e-11)


@pytest.mark.parametrize(("w", "tau", "step"), CASES)
def test_k_3_by_impulses(w: float, tau: float, step: float) -> None:
    for n in (0, 1, 7):
        law = corrected(START, level(w, tau), step, n)
        assert law.var == pytest.approx(after(w, tau, step, n, START)[1], rel=1e-11)


def test_k_2_by_differential_equation() -> None:
    """Small steps: what is off decays as e^(-k r / 2), at the rate of the step."""
    law = level(2.0, 0.3)
    r = 0.7
    fine = [corrected(START, law, r / n, n).mean for n in (1000, 2000)]
    exact = law.mean + np.exp(-r / law.var / 2) * (START.mean - law.mean)
    np.testing.assert_allclose(2 * fine[1] - fine[0], exact, atol=1e-5)


def test_k_3_by_differential_equation() -> None:
    law = level(2.0, 0.3)
    r = 0.7
    fine = [corrected(START, law, r / n, n).var for n in (1000, 2000)]
    exact = law.var + np.exp(-r / law.var) * (START.var - law.var)
    assert 2 * fine[1] - fine[0] == pytest.approx(exact, abs=1e-5)


def test_k_3_by_simulation_of_a_chain() -> None:
    """10,000 chains of all levels; 5 standard errors of mean and variance (seed 5)."""
    rng = np.random.default_rng(5)
    taus = levels(12, 1e3, 0.1)
    for w, n, rho in ((2.0, 0, 0.2), (2.0, 2, 0.5)):
        start = 1e3**0.5 * rng.standard_normal((10_000, 2))
        chain = corrected_steps(start, taus, w, n, rho, 0.3, of_gaussians(*OTHER), rng)
        x = last(chain)
        law = chain_law(taus, w, n, rho, *OTHER)
        assert (np.abs(x.mean(0) - law.mean) < 5 * (law.var / len(x)) ** 0.5).all()
        assert abs(x.var(0).mean() / law.var - 1) < 5 / len(x) ** 0.5


@pytest.mark.parametrize(
    ("n", "var", "mean"),
    [(0, 0.215, 2.001), (1, 0.477, 1.660), (4, 0.517, 1.508), (16, 0.518, 1.5), (64, 0.518, 1.5)],
)
def test_k_3_by_numbers_in_the_text(n: int, var: float, mean: float) -> None:
    law = chain_law(levels(40, 1e4, 1e-3), 2.0, n, 0.2, *EXAMPLE)
    assert [law.var, law.mean[0]] == pytest.approx([var, mean], abs=5.1e-4)


@pytest.mark.parametrize("w", [0.0, 1.0, 9.0])
@pytest.mark.parametrize("tau", [0.0, 0.3, 1e4])
def test_k_4_by_slope_of_the_score(tau: float, w: float) -> None:
    """Step times curvature is at most rho, and is rho for data of no bounds."""
    x = np.array([[0.0, 0.0], [1.0, 0.0]])
    for pair in (EXAMPLE, OTHER, (OTHER[0], 1e12)):
        low, high = score_at(x, tau, w, *pair)[:, 0]
        product = corrector_step(tau, w, pair[0].var, 0.2) * (low - high)
        assert product <= 0.2 * (1 + 1e-7)  # rounding of a difference
    assert product == pytest.approx(0.2, rel=1e-6)


def test_k_4_by_how_much_too_wide() -> None:
    """At most rho / (4 - rho) at every level and weight, and that nearly, in wide data."""
    for rho in (0.05, 0.5):
        shares = []
        for pair in (EXAMPLE, OTHER, (OTHER[0], 1e9)):
            for w in (0.0, 3.0):
                law = tilt(*pair, w)
                wide = settled(law, corrector_step(0.0, w, pair[0].var, rho)).var
                shares.append(wide / law.var - 1)
        assert min(shares) > 0 and max(shares) == pytest.approx(rho / (4 - rho), rel=1e-6)


def test_k_4_by_three_classes() -> None:
    """12 correctors bring the top class to where quadrature has it, DDIM does not (step 13)."""
    x = top_class(3.0, 12)
    error = (0.226 / 3000) ** 0.5
    assert abs(x[:, 1].mean() - 1.526) < 5 * error
    assert top_class(3.0, 0)[:, 1].mean() > 2.2
