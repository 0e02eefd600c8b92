"""Step 17, part 2: the projection by geometry, the momentum by a series, the rest by samples."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import three_gaussians
from tutorial.step07_oracle import oracle_eps
from tutorial.step10_guidance import guide
from tutorial.step14_ddim import ddim
from tutorial.step14_rows import ddpm, run
from tutorial.step17_apg import apg, moved, project, remembering, run_apg
from tutorial.step17_rules import plain, run_rule, top_class

COND, NULL, XT = np.random.default_rng(0).standard_normal((3, 40, 3, 5))
P = 1.6
Q = -1.3
GUESS = P * XT + Q * COND
D = Q * (COND - NULL)
ALGEBRA = 1e-12  # float64, dozens of operations on numbers of order ten


def guess_of(g: np.ndarray) -> np.ndarray:
    return P * XT + Q * g


def flat(a: np.ndarray) -> np.ndarray:
    return a.reshape(40, -1)


def test_17_5_by_lengths() -> None:
    lengths = np.linalg.norm(flat(D), axis=1)
    r = float(np.median(lengths))
    bounded = project(GUESS, D, 1.0, r)
    found = np.linalg.norm(flat(bounded), axis=1)
    np.testing.assert_allclose(found, np.minimum(lengths, r), atol=ALGEBRA)
    same = np.einsum("ni,ni->n", flat(bounded), flat(D)) / found / lengths
    np.testing.assert_allclose(same, 1, atol=ALGEBRA)  # no other direction


def test_17_5_by_bounds_that_change_nothing() -> None:
    np.testing.assert_array_equal(project(GUESS, D, 1.0, np.inf), D)
    zero = np.zeros_like(D)
    np.testing.assert_array_equal(project(GUESS, zero, 0.3, 0.5), zero)


def test_17_6_by_least_squares() -> None:
    """What is taken away at eta = 0 is the best multiple of the guess, sample by sample."""
    along = D - project(GUESS, D, 0.0, np.inf)
    for guess, d, found in zip(flat(GUESS), flat(D), flat(along), strict=True):
        best = np.linalg.lstsq(guess[:, None], d, rcond=None)[0]
        np.testing.assert_allclose(found, best * guess, atol=ALGEBRA)


def test_17_6_by_a_guess_of_zero() -> None:
    np.testing.assert_array_equal(project(0 * GUESS, D, 0.0, np.inf), D)


def test_17_6_by_moving_the_data() -> None:
    """Plain guidance moves with the data; APG has to be told where 0 is."""
    still = top_class(n=500)
    # The start is not moved: it lacks sqrt(abar_T) v, 5e-5 of 6.
    np.testing.assert_allclose(moved((6.0, 0.0), plain, 500), still, atol=3e-4)
    aside = moved((6.0, 0.0), apg, 2000)
    here = top_class(apg, n=2000)
    assert aside[:, 1].mean() == pytest.approx(2.34, abs=5 * (0.08 / 2000) ** 0.5)
    assert here[:, 1].mean() == pytest.approx(1.52, abs=5 * (0.24 / 2000) ** 0.5)
    assert here[:, 0].var() < 0.06 < 0.2 < aside[:, 0].var()  # .043 and .244, within a sixth


@pytest.mark.parametrize("w", [0.0, 0.5, 3.0])
def test_17_7_by_neutral_parameters(w: float) -> None:
    found = apg(COND, NULL, w, XT, P, Q, eta=1.0)
    np.testing.assert_allclose(found, guide(COND, NULL, w), atol=ALGEBRA)
    np.testing.assert_array_equal(apg(COND, NULL, 0.0, XT, P, Q, eta=0.2, r=0.1), COND)


def test_17_7_by_straight_line_in_eta() -> None:
    a, b, c = (guess_of(apg(COND, NULL, 2.0, XT, P, Q, eta=eta)) for eta in (0.0, 0.25, 1.0))
    np.testing.assert_allclose(b, 0.75 * a + 0.25 * c, atol=ALGEBRA)
    np.testing.assert_allclose(c - a, 2 * (D - project(GUESS, D, 0.0, np.inf)), atol=ALGEBRA)


def test_17_7_by_two_units() -> None:
    """The same answers as guesses (p = 0, q = 1) give the same guess; projecting eps does not."""
    as_x0 = apg(GUESS, GUESS - D, 2.0, XT, 0.0, 1.0, eta=0.0)
    np.testing.assert_allclose(guess_of(apg(COND, NULL, 2.0, XT, P, Q)), as_x0, atol=ALGEBRA)
    of_eps = guess_of(apg(COND, NULL, 2.0, XT, 0.0, 1.0))
    assert np.abs(of_eps - as_x0).max() > 0.1


def test_17_7_by_samples() -> None:
    x = top_class(partial(apg, eta=1.0, r=0.3), n=2000)
    assert x[:, 1].mean() == pytest.approx(1.91, abs=5 * (0.143 / 2000) ** 0.5)


class Constant:
    """An eps-network whose difference between the labels is `d` everywhere."""

    num_classes = 1
    prediction = "eps"

    def __init__(self, schedule: Schedule, d: float) -> None:
        self.schedule = schedule
        self.d = d

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
        abar = self.schedule.alpha_bar[t]  # the guess of the data is d with a label, and else 0
        return (xt - abar**0.5 * self.d * (y == 0)[:, None]) / (1 - abar) ** 0.5


def test_17_8_by_geometric_series() -> None:
    """A constant difference: the last row's guess is d + w d (1 - beta^n) / (1 - beta)."""
    schedule = Schedule.cosine(50)
    y = np.zeros(2, int)
    n = 5
    beta = -0.5
    w = 3.0
    d = 0.7
    model = Constant(schedule, d)
    rng = np.random.default_rng(0)
    x = run_apg(model, y, ddim(schedule, n), w, rng, eta=1.0, beta=beta)
    np.testing.assert_allclose(x, d + w * d * (1 - beta**n) / (1 - beta), atol=1e-10)


def test_17_8_by_neutral_momentum() -> None:
    schedule = Schedule.cosine(40)
    y = np.arange(9) % 3
    model = oracle_eps(three_gaussians(), schedule)
    table = ddpm(schedule, 12)
    a = run_apg(model, y, table, 2.0, np.random.default_rng(0), eta=1.0, beta=0.0)
    np.testing.assert_allclose(a, run(model, y, table, 2.0, np.random.default_rng(0)), atol=1e-11)
    # Without memory it is the rule of (17.7), whatever of the difference that keeps.
    kept = {"eta": 0.2, "r": 0.8}
    a = run_apg(model, y, table, 2.0, np.random.default_rng(0), **kept)
    b = run_rule(model, y, table, 2.0, np.random.default_rng(0), partial(apg, **kept))
    np.testing.assert_allclose(a, b, atol=1e-11)
    # A second chain starts without the memory of the first.
    b, c = (run_apg(model, y, table, 2.0, np.random.default_rng(0), beta=-0.5) for _ in range(2))
    np.testing.assert_array_equal(b, c)


def test_17_8_by_samples() -> None:
    x = remembering(-0.5, 2000)
    assert x[:, 1].mean() == pytest.approx(2.16, abs=5 * (0.093 / 2000) ** 0.5)


@pytest.mark.parametrize("w", [1.0, 5.0])
def test_17_9_by_pythagoras(w: float) -> None:
    x0 = flat(guess_of(apg(COND, NULL, w, XT, P, Q, eta=0.0, r=2.0)))
    across = flat(project(GUESS, D, 0.0, 2.0))
    squares = [(a**2).sum(1) for a in (x0, flat(GUESS), across)]
    np.testing.assert_allclose(squares[0], squares[1] + w**2 * squares[2], rtol=1e-12)


def test_17_9_by_two_dimensions() -> None:
    """In the plane: a guess straight up, D at 30 degrees from it. Across is sin, along is cos."""
    up = np.array([[0.0, 2.0]])
    angle = np.pi / 6
    d = np.array([[np.sin(angle), np.cos(angle)]])
    x0 = apg(up, up - d, 3.0, up, 0.0, 1.0, eta=0.0)
    np.testing.assert_allclose(x0, [[1.5, 2.0]], atol=1e-15)
    assert (x0**2).sum() == pytest.approx(4 + 9 / 4, abs=1e-14)
