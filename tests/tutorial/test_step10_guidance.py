"""Step 10: the mix by fractions and impulses, its table, its units, and a clip out of order."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import linprog

import tutorial.step10_guidance as lesson
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step05_reverse import p_xprev_given_xt, x0_from
from tutorial.step07_oracle import noised, oracle_eps
from tutorial.step10_guidance import farthest, guide, guided_x0, w_from_scale

SCHEDULE = Schedule.linear(20)
K = 3
WEIGHTS = [-2.5, -1.0, -0.4, 0.0, 0.3, 1.0, 4.0]
ALGEBRA = 1e-11  # float64, a few dozen operations of order one to a hundred
# Full covariances and unequal shares: no symmetry that could hide a swap.
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
COND, NULL = np.random.default_rng(0).standard_normal((2, 50, 2))


@pytest.mark.parametrize("w", WEIGHTS)
def test_10_1_by_fractions(w: float) -> None:
    """Equation 6 of the paper in exact arithmetic; three roundings of what is at most 40."""
    for c, n, found in zip(COND.flat, NULL.flat, guide(COND, NULL, w).flat, strict=True):
        exact = (1 + Fraction(w)) * Fraction(float(c)) - Fraction(w) * Fraction(float(n))
        assert float(Fraction(float(found)) - exact) == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("t", [1, 8, 20])
def test_10_1_by_a_classifier(t: int) -> None:
    """The unconditional eps, pushed by 1 + w gradients of log p(y | x_t), finite differences."""
    rng = np.random.default_rng(1)
    h = 1e-5
    w = 2.0
    x = rng.standard_normal((30, 2))
    y = rng.integers(0, K, 30)
    law = noised(MIXTURE, t, SCHEDULE)
    model = oracle_eps(MIXTURE, SCHEDULE)
    p = [
        [law.log_class_probability(x + s * a)[np.arange(30), y] for s in (h, -h)] for a in np.eye(2)
    ]
    gradient = np.array([above - below for above, below in p]).T / (2 * h)
    null = model(x, t, np.full(30, K))
    expected = null - (1 + w) * np.sqrt(1 - SCHEDULE.alpha_bar[t]) * gradient
    # h^2 of truncation times third derivatives of some hundreds, 1e-15 / h of rounding
    np.testing.assert_allclose(guide(model(x, t, y), null, w), expected, atol=1e-6)


def test_10_1_by_impulses() -> None:
    """One answer is 1 and the other 0: what each counts, and which of the two is which."""
    one = np.ones((1, 2))
    none = np.zeros((1, 2))
    for w in WEIGHTS:
        np.testing.assert_allclose(guide(one, none, w), 1 + w, atol=1e-15)
        np.testing.assert_allclose(guide(none, one, w), -w, atol=1e-15)


@pytest.mark.parametrize("w", WEIGHTS)
def test_10_2_by_last_bit_where_the_label_says_nothing(w: float) -> None:
    np.testing.assert_array_equal(guide(COND, COND, w), COND)
    np.testing.assert_array_equal(guide(COND, NULL, 0.0), COND)


def test_10_2_by_other_forms_that_round() -> None:
    """(10.1) misses the equal answers, (10.3) misses w = 0, and (10.2) only w = -1."""
    assert ((1 + 0.3) * COND - 0.3 * COND != COND).any()
    assert (NULL + 1.0 * (COND - NULL) != COND).any()
    assert (guide(COND, NULL, -1.0) != NULL).any()
    # Two roundings, each of half a unit in the last place of a number below 8.
    np.testing.assert_allclose(guide(COND, NULL, -1.0), NULL, atol=1e-15)


def test_10_2_by_straight_line_in_w() -> None:
    """Equal steps of w make equal steps of the mix, each the difference that the label makes."""
    path = np.array([guide(COND, NULL, w) for w in (-1.5, -0.5, 0.5, 1.5, 2.5)])
    np.testing.assert_allclose(np.diff(path, axis=0), np.tile(COND - NULL, (4, 1, 1)), atol=1e-14)


def test_10_3_by_table_in_the_text() -> None:
    """Each row of the printed table, against what the code does with that w and that scale."""
    rows = re.findall(r"^\| (-?\d) \| (-?\d) \| (-?\d) \| (-?\d) \|", lesson.__doc__ or "", re.M)
    assert len(rows) == 4
    for w, scale, of_cond, of_null in (map(float, row) for row in rows):
        assert w_from_scale(scale) == w
        expected = of_cond * COND + of_null * NULL
        np.testing.assert_allclose(guide(COND, NULL, w), expected, atol=1e-14)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0, 7.5])
def test_10_3_by_walk_from_the_null_answer(scale: float) -> None:
    """`scale` is how many times the way from null to conditional is gone, from null on."""
    found = guide(COND, NULL, w_from_scale(scale))
    np.testing.assert_allclose(found, NULL + scale * (COND - NULL), atol=1e-13)
    gone = np.linalg.norm(found - NULL) / np.linalg.norm(COND - NULL)
    assert gone == pytest.approx(scale, abs=1e-14)


def test_10_3_by_guiding_twice() -> None:
    """Guide what was guided, against the same null answer: scales multiply, weights do not."""
    twice = guide(guide(COND, NULL, w_from_scale(2.0)), NULL, w_from_scale(3.0))
    np.testing.assert_allclose(twice, guide(COND, NULL, w_from_scale(6.0)), atol=1e-13)


def answers(t: int, prediction: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`x_t` and both answers, in any unit, of a network whose eps are COND and NULL.

    The change of unit is done from (3.2): the data from the noise, v from both, no table of rows.
    """
    xt = 2 * np.random.default_rng(t).standard_normal(COND.shape)
    signal = np.sqrt(SCHEDULE.alpha_bar[t])
    noise = np.sqrt(1 - SCHEDULE.alpha_bar[t])
    x0 = [(xt - noise * eps) / signal for eps in (COND, NULL)]
    v = [signal * eps - noise * x for eps, x in zip((COND, NULL), x0, strict=True)]
    cond, null = {"eps": (COND, NULL), "x0": x0, "v": v}[prediction]
    return xt, cond, null


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("t", [1, 8, 20])
def test_10_4_by_three_units(prediction: str, t: int) -> None:
    """Mixed in any unit, the data come out that (3.2) gives for the guided eps."""
    xt, cond, null = answers(t, prediction)
    eps = 3.5 * COND - 2.5 * NULL
    expected = (xt - np.sqrt(1 - SCHEDULE.alpha_bar[t]) * eps) / np.sqrt(SCHEDULE.alpha_bar[t])
    found = guided_x0(cond, null, xt, t, SCHEDULE, 2.5, prediction)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=ALGEBRA)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("t", [1, 8, 20])
def test_10_4_by_mixing_whole_steps(prediction: str, t: int) -> None:
    """The reverse step of the mix is the mix of the two reverse steps, in mean."""
    xt, cond, null = answers(t, prediction)
    steps = [p_xprev_given_xt(xt, out, t, SCHEDULE, prediction).mean for out in (cond, null)]
    mixed = p_xprev_given_xt(xt, guide(cond, null, 2.5), t, SCHEDULE, prediction).mean
    np.testing.assert_allclose(mixed, guide(steps[0], steps[1], 2.5), atol=ALGEBRA)


def test_10_4_by_two_xt_that_break_it() -> None:
    """Answers about different x_t: mixing guesses and mixing outputs then differ, by p w dx_t."""
    xt, cond, null = answers(8, "eps")
    late = xt + 0.1
    guesses = [x0_from(out, x, 8, SCHEDULE) for out, x in ((cond, xt), (null, late))]
    apart = guided_x0(cond, null, xt, 8, SCHEDULE, 2.5) - guide(guesses[0], guesses[1], 2.5)
    expected = np.full_like(xt, 2.5 * 0.1 / np.sqrt(SCHEDULE.alpha_bar[8]))
    np.testing.assert_allclose(apart, expected, atol=ALGEBRA)


def both_clips(cond: np.ndarray, null: np.ndarray, w: float) -> tuple[np.ndarray, np.ndarray]:
    """Clipped last, as the lesson does; and first."""
    last = guided_x0(cond, null, np.zeros_like(cond), 8, SCHEDULE, w, "x0", clip=1.0)
    return last, guide(np.clip(cond, -1, 1), np.clip(null, -1, 1), w)


def test_10_5_by_numbers_in_the_text() -> None:
    last, first = both_clips(np.array([0.5]), np.array([1.5]), 1.0)
    assert (last[0], first[0]) == (-0.5, 0.0)


def test_10_5_by_where_they_agree() -> None:
    """Nothing was cut, neither guesses nor mix: no difference. A guess was, the mix not: always."""
    last, first = both_clips(COND, NULL, 1.5)
    mix = 2.5 * COND - 1.5 * NULL
    uncut = np.maximum(np.abs(COND), np.abs(NULL)) < 1
    inside = np.abs(mix) < 1
    both = uncut & inside
    some = ~uncut & inside
    assert both.sum() > 5 and some.sum() > 5
    np.testing.assert_allclose(last[both], first[both], atol=1e-15)
    assert (np.abs(last - first)[some] > 1e-3).all()
    assert (np.abs(last) <= 1).all() and np.abs(first).max() > 1


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_10_5_by_one_clip_of_the_chain(prediction: str) -> None:
    """The guess behind the reverse step of step 5, which clips once, is the one given here."""
    xt, cond, null = answers(8, prediction)
    guess = guided_x0(cond, null, xt, 8, SCHEDULE, 2.5, prediction, clip=1.0)
    assert (np.abs(guess) == 1).any() and (np.abs(guess) < 1).any()
    wanted = p_xprev_given_xt(xt, guess, 8, SCHEDULE, "x0").mean
    found = p_xprev_given_xt(xt, guide(cond, null, 2.5), 8, SCHEDULE, prediction, clip=1.0).mean
    np.testing.assert_allclose(found, wanted, atol=ALGEBRA)


@pytest.mark.parametrize("w", WEIGHTS)
def test_10_6_by_linear_programming(w: float) -> None:
    """The largest (1 + w) a - w b for a and b in [-2, 2], by SciPy's solver."""
    best = linprog([-(1 + w), w], bounds=[(-2, 2), (-2, 2)])
    assert farthest(w, 2.0) == pytest.approx(-best.fun, abs=1e-9)  # the solver's tolerance


@pytest.mark.parametrize("w", WEIGHTS)
def test_10_6_by_clipped_guesses(w: float) -> None:
    """Of 20,000 wild pairs none is beyond it, one comes close: half of all guesses are cut."""
    cond, null = 2 * np.random.default_rng(3).standard_normal((2, 20_000, 1))
    _, first = both_clips(cond, null, w)
    assert np.abs(first).max() == pytest.approx(farthest(w, 1.0), abs=1e-12)
    if -1 <= w <= 0:
        assert farthest(w, 1.0) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("w", [float("nan"), float("inf"), -float("inf")])
def test_10_1_by_refusal_of_w(w: float) -> None:
    with pytest.raises(ValueError, match=f"w = {w} is not a finite number"):
        guide(COND, NULL, w)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(50, 1), (1, 2), (2,), (51, 2)])
def test_10_1_by_refusal_of_shapes(shape: tuple[int, ...]) -> None:
    """Three of these four would broadcast without a word."""
    with pytest.raises(
        ValueError, match=re.escape(f"eps_null has shape {shape}, eps_cond has (50, 2)")
    ):
        guide(COND, np.zeros(shape), 1.0)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_10_5_by_refusal_of_clip(clip: float) -> None:
    with pytest.raises(ValueError, match=f"clip = {clip} is not above 0"):
        guided_x0(COND, NULL, COND, 8, SCHEDULE, 1.0, clip=clip)
