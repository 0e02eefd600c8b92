"""Appendix P: the target of model guidance, and where its rounds settle."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from tutorial.appendix.p_distillation import learnt_weights, next_round, settled, target
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import oracle_eps
from tutorial.step11_guidance import guide

RNG = np.random.default_rng(0)
BEST, NULL, NOW, EPS = RNG.standard_normal((4, 50, 2))
WS = [-0.5, 0.0, 0.25, 0.8]


@pytest.mark.parametrize("w", WS)
def test_p_1_by_scale(w: float) -> None:
    """Where the label makes no difference nothing is added; else w times the difference."""
    np.testing.assert_array_equal(target(EPS, NULL, NULL, w), EPS)
    np.testing.assert_allclose(
        target(EPS, NOW, NULL, w) - EPS, guide(NOW, NULL, w) - NOW, rtol=0, atol=1e-14
    )


def test_p_1_by_the_mean_of_targets() -> None:
    """Given x_t and y its mean is that of the next round: 40,000 draws, 5 standard errors.

    Tested against functions of x_t: the residual must be uncorrelated with each.
    """
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    t = 40
    n = 40_000
    w = 0.6
    rng = np.random.default_rng(1)
    model = oracle_eps(mixture, schedule)
    x0, y = mixture.sample(n, rng)
    eps = rng.standard_normal((n, 2))
    xt = xt_from_x0(x0, eps, t, schedule)
    best = model(xt, t, y)
    null = model(xt, t, np.full(n, 3))
    now = np.sin(2 * xt)
    residual = target(eps, now, null, w) - next_round(best, now, null, w)
    for f in (np.ones_like(xt), xt, np.cos(3 * xt), np.where(y[:, None] == 1, xt, 0)):
        product = (residual * f).sum(1)
        assert abs(product.mean()) < 5 * product.std() / n**0.5


@pytest.mark.parametrize("w", WS)
def test_p_2_by_many_rounds(w: float) -> None:
    """From anywhere; 0.8^200 is 4e-20."""
    now = NOW
    for _ in range(200):
        now = next_round(BEST, now, NULL, w)
    np.testing.assert_allclose(settled(BEST, NULL, w), now, rtol=0, atol=1e-12)


def test_p_2_by_sympy() -> None:
    best, null, w, e = sympy.symbols("best null w e")
    (fixed,) = sympy.solve(sympy.Eq(e, best + w * (e - null)), e)
    wanted = best + w / (1 - w) * (best - null)
    assert sympy.simplify(fixed - wanted) == 0
    assert sympy.simplify(sympy.diff(wanted, best) - 1 / (1 - w)) == 0


@pytest.mark.parametrize("w", [0.5, -0.5])
def test_p_2_by_regression(w: float) -> None:
    """A linear network of the two means learns the scale; 0.5^12 of the gap is left, 0.0002.

    A coefficient of 40,000 draws of 2 numbers errs by about 0.5 / (0.3 sqrt(80,000)) = 0.006 a
    round, and the rounds share their draws: 1 / (1 - w) times that.
    """
    share = learnt_weights(w, 40_000, 12)
    np.testing.assert_allclose(share, [1 / (1 - w), -w / (1 - w)], rtol=0, atol=0.06)


def test_p_3_by_the_plain_start() -> None:
    """From the plain model one round is guidance of weight w itself."""
    np.testing.assert_allclose(
        next_round(BEST, BEST, NULL, 0.7), guide(BEST, NULL, 0.7), rtol=0, atol=1e-14
    )


def test_p_3_by_least_squares() -> None:
    """One label, one x_t: the constant that is nearest to many targets is their mean."""
    eps = np.random.default_rng(2).standard_normal((10_000, 1)) + 0.3
    now = np.full_like(eps, 2.0)
    null = np.full_like(eps, -1.0)
    nearest = np.linalg.lstsq(np.ones_like(eps), target(eps, now, null, 0.4))[0][0, 0]
    wanted = next_round(eps.mean(0)[None], now[:1], null[:1], 0.4)[0, 0]
    assert nearest == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("w", WS)
def test_p_4_by_rounds(w: float) -> None:
    end = settled(BEST, NULL, w)
    now = NOW
    for _ in range(7):
        now = next_round(BEST, now, NULL, w)
    np.testing.assert_allclose(now - end, w**7 * (NOW - end), rtol=0, atol=1e-12)


def test_p_4_by_finite_difference() -> None:
    """The slope of a round in what it starts from is w, in each number by itself."""
    h = 1e-6
    for w in WS:
        slope = (next_round(BEST, NOW + h, NULL, w) - next_round(BEST, NOW - h, NULL, w)) / (2 * h)
        np.testing.assert_allclose(slope, w, rtol=0, atol=1e-8)


@pytest.mark.parametrize("w", [1.0, -1.0, 2.0, np.nan])
def test_p_4_by_refusal_of_w(w: float) -> None:
    with pytest.raises(ValueError, match="do not settle"):
        settled(BEST, NULL, w)
