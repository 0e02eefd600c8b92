"""Step 17: each rule at its neutral parameter, by definition, and by samples."""

from __future__ import annotations

import statistics
from functools import partial

import numpy as np
import pytest

from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import three_gaussians
from tutorial.step07_oracle import oracle_eps
from tutorial.step10_guidance import guide
from tutorial.step14_ddim import ddim
from tutorial.step14_dpmpp import dpmpp_2m
from tutorial.step14_rows import ddpm, run
from tutorial.step17_rules import (
    as_one_picture,
    as_one_picture_of_x0,
    dynamic_threshold,
    plain,
    rescale,
    run_rule,
    top_class,
)

COND, NULL, XT = np.random.default_rng(0).standard_normal((3, 40, 3, 5))
P = 1.6
Q = -1.3
ROUNDING = 1e-13  # float64, some operations on numbers below a hundred
N = 4000


def of(rule, w: float = 2.0, **parameter: float) -> np.ndarray:
    return rule(COND, NULL, w, XT, P, Q, **parameter)


def test_17_1_by_neutral_share() -> None:
    np.testing.assert_array_equal(of(rescale, phi=0.0), guide(COND, NULL, 2.0))
    for phi in (0.3, 1.0):
        np.testing.assert_allclose(of(rescale, 0.0, phi=phi), COND, atol=ROUNDING)


def test_17_1_by_one_sample_and_the_standard_library() -> None:
    for i, found in enumerate(of(rescale, phi=0.4)):
        g = (3 * COND[i] - 2 * NULL[i]).ravel().tolist()
        ratio = statistics.pstdev(COND[i].ravel().tolist()) / statistics.pstdev(g)
        expected = [0.4 * x * ratio + 0.6 * x for x in g]
        np.testing.assert_allclose(found.ravel(), expected, atol=ROUNDING)


def test_17_1_by_mix_without_deviation() -> None:
    """Equal numbers have no deviation: the factor would be 1 / 0, and 0 / 0 where cond has none."""
    cond = np.array([[1.0, 2.0], [2.0, 2.0]])
    null = np.array([[0.0, 2.0], [1.0, 1.0]])
    g = guide(cond, null, 1.0)
    np.testing.assert_array_equal(g[:, 0], g[:, 1])
    for phi in (0.5, 1.0):
        np.testing.assert_array_equal(rescale(cond, null, 1.0, phi=phi), g)


@pytest.mark.parametrize("phi", [0.0, 0.3, 1.0])
def test_17_2_by_deviations(phi: float) -> None:
    after = of(rescale, phi=phi).reshape(40, -1).std(1)
    before = guide(COND, NULL, 2.0).reshape(40, -1).std(1)
    np.testing.assert_allclose(after, phi * COND.reshape(40, -1).std(1) + (1 - phi) * before)


def test_17_2_by_ratio_of_ranges() -> None:
    """Of a scaled sample every other spread scales alike, and the mean as well."""
    g = guide(COND, NULL, 2.0)
    found = of(rescale, phi=0.7)
    ratio = np.ptp(found, axis=(1, 2)) / np.ptp(g, axis=(1, 2))
    np.testing.assert_allclose(ratio, found.mean((1, 2)) / g.mean((1, 2)), rtol=1e-9)
    share = 0.7 * COND.std((1, 2)) / g.std((1, 2)) + 0.3
    np.testing.assert_allclose(ratio, share, rtol=1e-12)


@pytest.mark.parametrize(
    ("rule", "height", "var_x", "var_y"),
    [
        (plain, 2.37, 0.137, 0.079),
        (as_one_picture, 2.38, 0.149, 0.087),
        (as_one_picture_of_x0, 1.85, 0.117, 0.062),
    ],
)
def test_17_2_by_table_in_the_text(rule, height: float, var_x: float, var_y: float) -> None:
    """Another seed: two samples of 4,000, so five standard errors times the root of 2."""
    schedule = Schedule.cosine(1000)
    y = np.zeros(N, int)
    model = oracle_eps(three_gaussians(), schedule)
    rng = np.random.default_rng(1)
    x = run_rule(model, y, ddim(schedule, 50), 3.0, rng, rule)
    error = 5 * np.sqrt(2 / N)
    assert x[:, 1].mean() == pytest.approx(height, abs=error * var_y**0.5 + 0.005)
    # The variance of a sample's variance: 2 V^2 / N if it is Gaussian, and 2 for its tails.
    assert x.var(0) == pytest.approx([var_x, var_y], rel=2 * error * 2**0.5)


def test_17_2_by_points_that_fly_off() -> None:
    """One in 50 of single points ends far out: 80 +- 9 of 4,000, where plain guidance has none."""
    off = (np.abs(top_class(rescale)).max(1) > 5).mean()
    assert 0.01 < off < 0.03
    assert np.abs(top_class()).max() < 5


def test_17_3_by_sorted_numbers() -> None:
    """P = 0.5 of 15 numbers is the 8th; a guess inside the bound is left alone."""
    guess = np.abs(P * XT + Q * guide(COND, NULL, 2.0)).reshape(40, -1)
    for i, middle in enumerate(np.sort(guess, axis=1)[:, 7]):
        bound = 0.9 * middle
        found = dynamic_threshold(
            COND[i : i + 1], NULL[i : i + 1], 2.0, XT[i : i + 1], P, Q, P=0.5, bound=bound
        )
        x0 = np.abs(P * XT[i] + Q * found[0])
        # The eight largest (the middle one too) sit on the border, the others at 0.9 of theirs.
        assert (np.abs(x0 - bound) < 1e-12).sum() == 8
        assert np.sort(x0.ravel())[:7] == pytest.approx(0.9 * np.sort(guess[i])[:7], abs=1e-12)


def test_17_3_by_bounds_that_change_nothing() -> None:
    g = guide(COND, NULL, 2.0)
    np.testing.assert_array_equal(of(dynamic_threshold, bound=np.inf), g)
    largest = np.abs(P * XT + Q * g).max()
    np.testing.assert_array_equal(of(dynamic_threshold, bound=largest), g)


def test_17_4_by_guesses_that_stay_inside() -> None:
    for share in (0.0, 0.5, 0.9, 1.0):
        x0 = P * XT + Q * of(dynamic_threshold, P=share, bound=0.7)
        assert np.abs(x0).max() <= 0.7 + 1e-12


def test_17_4_by_both_ends_of_the_quantile() -> None:
    """P = 1 scales a guess, P = 0 clips it, as the static threshold does."""
    guess = P * XT + Q * guide(COND, NULL, 2.0)
    whole = P * XT + Q * of(dynamic_threshold, P=1.0, bound=1.0)
    largest = np.abs(guess).max((1, 2), keepdims=True)
    np.testing.assert_allclose(whole, guess / np.maximum(largest, 1), atol=1e-12)
    cut = P * XT + Q * of(dynamic_threshold, P=0.0, bound=1.0)
    some = np.abs(guess).min((1, 2)) < 1
    assert some.sum() > 20
    np.testing.assert_allclose(cut[some], np.clip(guess[some], -1, 1), atol=1e-12)


def test_17_4_by_samples() -> None:
    """The top class ends below 2, at the height of the table and wider than with the static one."""
    x = top_class(partial(dynamic_threshold, P=1.0, bound=2.0), n=2000)
    static = top_class(clip=2.0)
    assert max(np.abs(x).max(), np.abs(static).max()) <= 2 + 1e-12
    assert x[:, 1].mean() == pytest.approx(1.71, abs=5 * (0.073 / 2000) ** 0.5)
    assert x[:, 0].var() > 1.3 * static[:, 0].var()  # .101 and .069, each within a twentieth


@pytest.mark.parametrize("table", [ddpm, dpmpp_2m])
def test_17_1_by_the_loop_of_step_14(table) -> None:
    """Without a rule the loop is `run`, noise, rows that look back and clip included."""
    schedule = Schedule.cosine(40)
    y = np.arange(9) % 3
    model = oracle_eps(three_gaussians(), schedule)
    rows = table(schedule, 12)
    rows.rows[:, 7] = np.linspace(0, 2, 12)  # a weight over time
    a, b = (
        loop(model, y, rows, 2.0, np.random.default_rng(0), clip=2.0) for loop in (run_rule, run)
    )
    np.testing.assert_allclose(a, b, atol=1e-11)
