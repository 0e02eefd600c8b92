"""Appendix O: autoguidance and ReCFG, by definition, by the ODE, and by samples."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tutorial.appendix.o_null import (
    Autoguided,
    autoguided,
    autoguided_var,
    both_eps,
    ratio,
    recfg,
    recfg_var,
)
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import noised, oracle_eps
from tutorial.step11_guidance import guide
from tutorial.step17_solvers import Table, ddim, run
from tutorial.step19_rules import run_rule, top_class

SCHEDULE = Schedule.cosine(40)
DATA = three_gaussians()
MODEL = oracle_eps(DATA, SCHEDULE)
Y = np.arange(30) % 3
COND, NULL = np.random.default_rng(0).standard_normal((2, 40, 2))


class Unlabelled:
    """The good model without its label, whatever label it is asked for."""

    num_classes = 3
    prediction = "eps"

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
        return MODEL(xt, t, np.full_like(y, 3))


def chain(model, w: float) -> np.ndarray:
    return run(model, Y, ddim(SCHEDULE, 12, 0.5), w, np.random.default_rng(0))


@pytest.mark.parametrize("w", [0.0, 2.0])
def test_o_1_by_plain_guidance(w: float) -> None:
    """The bad model is the good one without a label; or it is the good one."""
    np.testing.assert_array_equal(chain(Autoguided(MODEL, Unlabelled(), Y), w), chain(MODEL, w))
    same = chain(Autoguided(MODEL, MODEL, Y), w)
    np.testing.assert_array_equal(same, chain(MODEL, 0.0))


def test_o_1_by_one_row() -> None:
    """One row from T to 0 is the guess of the mix, here of two constants."""

    class Says:
        num_classes = 3
        prediction = "x0"

        def __init__(self, of_label: float) -> None:
            self.of_label = of_label

        def __call__(self, xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
            return np.broadcast_to(self.of_label * (1 + y)[:, None], xt.shape)

    table = Table(np.array([1]), np.array([0]), np.array([[0.0, 1, 1, 0, 0, 0, 0, 1]]))
    x = run(Autoguided(Says(1.0), Says(0.3), Y), Y, table, 2.0, np.random.default_rng(0))
    np.testing.assert_allclose(x[:, 0], (1 + Y) * (3 * 1.0 - 2 * 0.3), atol=1e-14)


def variance(score: float, V: float, of_score) -> float:
    """Of the end of dx = -1/2 s dv from noise `V` down to 0, where s is `of_score(v)` times -x."""
    solved = solve_ivp(lambda v, x: x * of_score(v) / 2, (V, 0), [1.0], rtol=1e-10, atol=1e-14)
    return score * solved.y[0, -1] ** 2


@pytest.mark.parametrize("w", [0.0, 1.0, 3.0])
def test_o_2_by_differential_equation(w: float) -> None:
    """From V = 1e5 on: what is missing is a share 0.5 w / V of the limit."""
    found = variance(1e5, 1e5, lambda v: (1 + w) / (0.25 + v) - w / (0.5 + v))
    assert found == pytest.approx(autoguided_var(0.25, 0.5, w), rel=1e-4)


def test_o_2_by_samples() -> None:
    """Both moments; 50 rows of DDIM leave an eighth less than the limit at w = 3."""
    for w, var in ((1.0, 0.116), (3.0, 0.0275)):
        x = autoguided(w, n=2000)
        assert x.mean(0) == pytest.approx([0, 1.5], abs=5 * (var / 2000) ** 0.5)
        assert x.var() - x.mean(0).var() == pytest.approx(var, rel=5 / 2000**0.5)
        assert 0.85 < var / autoguided_var(0.25, 0.5, w) < 0.95


def test_o_2_by_ends() -> None:
    assert autoguided_var(0.25, 0.5, 0.0) == 0.25  # no guidance
    assert autoguided_var(0.25, 0.25, 3.0) == 0.25  # nothing worse to go away from
    assert autoguided_var(1.0, 2.0, 2.0) == 0.25  # Bradley and Nakkiran's, gamma = 3


@pytest.mark.parametrize("w", [0.0, 2.0])
def test_o_3_by_neutral_ratio(w: float) -> None:
    np.testing.assert_array_equal(recfg(COND, NULL, w), guide(COND, NULL, w))
    np.testing.assert_array_equal(recfg(COND, NULL, 0.0, rho=0.3), COND)


def test_o_3_by_impulses_of_each_coordinate() -> None:
    one = np.ones((1, 2))
    none = np.zeros((1, 2))
    rho = np.array([0.5, 0.25])
    np.testing.assert_allclose(recfg(one, none, 2.0, rho=rho), [[3, 3]])
    np.testing.assert_allclose(recfg(none, one, 2.0, rho=rho), [[-1, -0.5]])


def test_o_3_by_samples() -> None:
    x = top_class(partial(recfg, rho=0.5), n=2000)
    assert x[:, 1].mean() == pytest.approx(1.6, abs=5 * (0.024 / 2000) ** 0.5)
    assert x.var(0) == pytest.approx([0.036, 0.024], rel=5 * (4 / 2000) ** 0.5)


def test_o_4_by_mean_that_is_kept() -> None:
    """Outputs with means 2 and 0.8, 0.5 and -1: the rectified mix has the first's mean."""
    cond = COND + np.array([2.0, 0.5])
    null = NULL + np.array([0.8, -1.0])
    g = recfg(cond, null, 3.0, rho=ratio(cond, null))
    # E[(1 + w) c - w rho n] = (1 + w) E[c] - w E[c].
    np.testing.assert_allclose(g.mean(0), cond.mean(0), atol=1e-13)
    assert np.abs(guide(cond, null, 3.0).mean(0) - cond.mean(0)).min() > 1


def test_o_4_by_quadrature() -> None:
    """With exact outputs, on a grid: E[eps_y] = 0, and E[eps_null] is not."""
    t = 20
    half = 8.0
    law = noised(DATA, t, SCHEDULE)
    axis = np.linspace(-half, half, 201)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    zero = np.zeros(len(points), int)
    weight = np.exp(law.log_density(points, zero)) * (axis[1] - axis[0]) ** 2
    cond, null = (weight @ MODEL(points, t, zero + k) for k in (0, 3))
    np.testing.assert_allclose(cond, 0, atol=1e-10)  # a smooth law whose tails end inside
    assert abs(null[0]) < 1e-10 and null[1] > 0.1


def test_o_4_by_samples() -> None:
    cond, null = both_eps(500, 5000, Schedule.cosine(1000))
    assert np.abs(cond.mean(0)).max() < 5 * cond.std() / 5000**0.5
    assert null[:, 1].mean() > 0.1
    assert abs(ratio(cond, null)[1]) < 5 * cond.std() / 5000**0.5 / null[:, 1].mean()


@pytest.mark.parametrize("w", [0.0, 0.5, 2.0])
def test_o_5_by_differential_equation(w: float) -> None:
    found = variance(1 + 50.0, 50.0, lambda v: (1 + w) / (0.25 + v))
    assert found == pytest.approx(recfg_var(0.25, 50.0, w), rel=1e-7)


def test_o_5_by_chain() -> None:
    """200 rows of a chain that leaves some signal; 500 samples tell the variance to a third."""
    schedule = Schedule(np.concatenate([[0], np.full(1000, 0.003)]))  # tau = 19
    tau = 1 / schedule.alpha_bar[-1] - 1
    model = oracle_eps(DATA, schedule)
    rng = np.random.default_rng(0)
    x = run_rule(model, np.zeros(500, int), ddim(schedule, 200), 0.5, rng, partial(recfg, rho=0.0))
    assert x[:, 0].var() == pytest.approx(recfg_var(0.25, tau, 0.5), rel=5 * (2 / 500) ** 0.5)


def test_o_5_by_collapse() -> None:
    x = top_class(partial(recfg, rho=0.0), n=200)
    assert x.std(0).max() < 1e-3
    assert x.mean(0) == pytest.approx([0, 1.5], abs=1e-3)
    assert recfg_var(0.25, 4e8, 3.0) < 1e-20
