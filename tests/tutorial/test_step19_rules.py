"""Step 19: each rule at its neutral parameter, by definition, by geometry, and by samples."""

from __future__ import annotations

import re
import statistics
from functools import partial

import numpy as np
import pytest
import sympy

import tutorial.step19_rules as lesson
from tutorial import step13_tilted
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps, x0_coefficients
from tutorial.step11_guidance import guide
from tutorial.step17_solvers import ddim, ddpm, run
from tutorial.step18_dpmpp import dpmpp_2m
from tutorial.step19_rules import (
    Rule,
    after_equal_rows,
    apg,
    as_one_picture,
    as_one_picture_of_x0,
    dynamic_threshold,
    guess_after,
    longest_move,
    plain,
    project,
    rescale,
    run_apg,
    run_rule,
    squared_length,
    std_after,
    top_class,
    top_class_moved,
    top_class_with_momentum,
)

# 40 samples of 3 x 5 numbers: outputs with and without the label, and states.
COND, NULL, XT = np.random.default_rng(0).standard_normal((3, 40, 3, 5))
P = 1.6
Q = -1.3
GUESS = P * XT + Q * COND
D = Q * (COND - NULL)
ROUNDING = 1e-13  # float64, some operations on numbers below a hundred
ALGEBRA = 1e-12  # float64, dozens of operations on numbers of order ten
N = 4000
DYNAMIC = partial(dynamic_threshold, P=1.0, bound=2.0)

# The example of the text: the guesses with the label and without it. In the unit x0, p = 0, q = 1.
WITH_LABEL = np.array([[0.6, 0.8]])
WITHOUT_LABEL = np.array([[0.6, 0.2]])
EXAMPLE = (WITH_LABEL, WITHOUT_LABEL, 3.0, WITH_LABEL, 0.0, 1.0)


def of(rule, w: float = 2.0, **parameter: float) -> np.ndarray:
    return rule(COND, NULL, w, XT, P, Q, **parameter)


def guess_of(g: np.ndarray) -> np.ndarray:
    return P * XT + Q * g


def flat(a: np.ndarray) -> np.ndarray:
    return a.reshape(40, -1)


def row_of_the_table(name: str) -> list[float]:
    """Height and variances of the row of the table in the text that begins with `name`."""
    row = re.search(rf"\n\| {re.escape(name)} \|(.*)\|\n", lesson.__doc__ or "")
    assert row is not None, name
    return [float(number) for number in row[1].split("|")]


def assert_row(name: str, x: np.ndarray) -> None:
    """Samples with the random numbers of the table: its entries up to their rounding."""
    height, var_across, var_along = row_of_the_table(name)
    assert x[:, 1].mean() == pytest.approx(height, abs=0.0051)
    assert x.var(0) == pytest.approx([var_across, var_along], abs=0.00051)


def test_19_1_by_neutral_phi() -> None:
    np.testing.assert_array_equal(of(rescale, phi=0.0), guide(COND, NULL, 2.0))
    for phi in (0.3, 1.0):
        np.testing.assert_allclose(of(rescale, 0.0, phi=phi), COND, atol=ROUNDING)


def test_19_1_by_one_sample_and_the_standard_library() -> None:
    for i, found in enumerate(of(rescale, phi=0.4)):
        g = (3 * COND[i] - 2 * NULL[i]).ravel().tolist()
        ratio = statistics.pstdev(COND[i].ravel().tolist()) / statistics.pstdev(g)
        expected = [0.4 * x * ratio + 0.6 * x for x in g]
        np.testing.assert_allclose(found.ravel(), expected, atol=ROUNDING)


def test_19_1_by_the_example() -> None:
    """The standard deviations are 0.1 and 1, so the factor is 0.7 / 10 + 0.3."""
    assert WITH_LABEL.std() == pytest.approx(0.1, abs=1e-15)
    assert plain(*EXAMPLE).std() == pytest.approx(1.0, abs=1e-15)
    np.testing.assert_allclose(rescale(*EXAMPLE), [[0.222, 0.962]], atol=1e-15)
    np.testing.assert_allclose(rescale(*EXAMPLE), 0.37 * plain(*EXAMPLE), atol=1e-15)


def test_19_1_by_mix_without_deviation() -> None:
    """Equal numbers have no deviation: the factor would be 1 / 0, and 0 / 0 where cond has none."""
    cond = np.array([[1.0, 2.0], [2.0, 2.0]])
    null = np.array([[0.0, 2.0], [1.0, 1.0]])
    g = guide(cond, null, 1.0)
    np.testing.assert_array_equal(g[:, 0], g[:, 1])
    for phi in (0.5, 1.0):
        np.testing.assert_array_equal(rescale(cond, null, 1.0, phi=phi), g)


@pytest.mark.parametrize("table", [ddpm, dpmpp_2m])
def test_19_1_by_the_loop_of_step_17(table) -> None:
    """Without a rule the loop is `run`, noise, rows that look back and clip included."""
    schedule = Schedule.cosine(40)
    y = np.arange(9) % 3
    model = oracle_eps(three_gaussians(), schedule)
    rows = table(schedule, 12)
    rows.rows[:, 7] = np.linspace(0, 2, 12)  # a weight over time
    found = run_rule(model, y, rows, 2.0, np.random.default_rng(0), clip=2.0)
    expected = run(model, y, rows, 2.0, np.random.default_rng(0), clip=2.0)
    np.testing.assert_allclose(found, expected, atol=1e-11)  # 12 rows, factors up to 500


def test_19_1_by_rows_that_add_the_null_output() -> None:
    """CFG++ has d != 0 in its rows, and d multiplies the null output, as in `run`."""
    schedule = Schedule.cosine(40)
    y = np.arange(9) % 3
    model = oracle_eps(three_gaussians(), schedule)
    rows = ddim(schedule, 12)
    rows.rows[:, 5] = np.linspace(0.1, 0.3, 12)
    found = run_rule(model, y, rows, 2.0, np.random.default_rng(0))
    expected = run(model, y, rows, 2.0, np.random.default_rng(0))
    np.testing.assert_allclose(found, expected, atol=1e-10)  # 12 rows, factors up to 500


@pytest.mark.parametrize("phi", [0.0, 0.3, 1.0])
def test_19_2_by_deviations(phi: float) -> None:
    after = flat(of(rescale, phi=phi)).std(1)
    before = flat(guide(COND, NULL, 2.0)).std(1)
    of_cond = flat(COND).std(1)
    for found, a, b in zip(after, of_cond, before, strict=True):
        assert found == pytest.approx(std_after(float(a), float(b), phi), abs=ROUNDING)
        # The bound: never outside the two.
        assert min(a, b) - ROUNDING <= found <= max(a, b) + ROUNDING


def test_19_2_by_a_large_weight() -> None:
    """Only phi = 1 bounds the standard deviation; below it the mixture's grows with w."""
    spread = []
    for w in (3.0, 30.0, 3e6):
        before = plain(*EXAMPLE[:2], w).std()
        after = rescale(*EXAMPLE[:2], w, phi=0.7).std()
        assert after == pytest.approx(std_after(0.1, float(before), 0.7), rel=1e-12)
        assert 0.3 * before <= after < before
        assert rescale(*EXAMPLE[:2], w, phi=1.0).std() == pytest.approx(0.1, rel=1e-9)
        spread.append((before, after))
    np.testing.assert_allclose(spread[:2], [[1.0, 0.37], [9.1, 2.8]], atol=1e-12)
    assert spread[2][1] > 1e5
    text = " ".join((lesson.__doc__ or "").split())
    assert "With $w = 30$ it would be 2.80, instead of 9.1 without the rule." in text


def test_19_2_by_ratio_of_ranges() -> None:
    """Of a scaled sample every other spread scales alike, and the mean as well."""
    g = guide(COND, NULL, 2.0)
    found = of(rescale, phi=0.7)
    ratio = np.ptp(found, axis=(1, 2)) / np.ptp(g, axis=(1, 2))
    np.testing.assert_allclose(ratio, found.mean((1, 2)) / g.mean((1, 2)), rtol=1e-9)
    share = [
        std_after(float(a), float(b), 0.7) / b
        for a, b in zip(COND.std((1, 2)), g.std((1, 2)), strict=True)
    ]
    np.testing.assert_allclose(ratio, share, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("plain guidance", plain),
        ("rescaling in eps, $\\varphi = 0.7$", as_one_picture),
        ("rescaling in $x_0$, $\\varphi = 0.7$", as_one_picture_of_x0),
        ("APG, $\\eta = 0$", apg),
    ],
)
def test_19_2_by_another_seed(name: str, rule: Rule) -> None:
    """Another seed: two samples of 4,000, so five standard errors times the root of 2."""
    height, var_x, var_y = row_of_the_table(name)
    schedule = Schedule.cosine(1000)
    y = np.zeros(N, int)
    model = oracle_eps(three_gaussians(), schedule)
    rng = np.random.default_rng(1)
    x = run_rule(model, y, ddim(schedule, 50), 3.0, rng, rule)
    error = 5 * np.sqrt(2 / N)
    assert x[:, 1].mean() == pytest.approx(height, abs=error * var_y**0.5 + 0.005)
    # The variance of a sample's variance: 2 V^2 / N if it is Gaussian, and 2 for its tails.
    assert x.var(0) == pytest.approx([var_x, var_y], rel=2 * error * 2**0.5)


@pytest.mark.parametrize(
    ("name", "rule", "w"),
    [
        ("no guidance, $w = 0$", plain, 0.0),
        ("plain guidance", plain, 3.0),
        ("plain guidance, $w = 2$", plain, 2.0),
        ("rescaling in eps, $\\varphi = 0.7$", as_one_picture, 3.0),
        ("rescaling in $x_0$, $\\varphi = 0.7$", as_one_picture_of_x0, 3.0),
    ],
)
def test_19_2_by_table_in_the_text(name: str, rule: Rule, w: float) -> None:
    x = top_class(rule, w)
    assert_row(name, x)
    # The standard error of the height that the text states: 1 / sqrt(4,000) is 0.0158.
    assert x[:, 1].std() / np.sqrt(N) < 0.008


def test_19_2_by_the_table_of_step_13() -> None:
    """The row of the tilted distribution, from the table that step 13 computes."""
    tilted = re.search(r"\n\| 3 \| ([\d.]+) \(([\d.]+), ([\d.]+)\) \|", step13_tilted.__doc__ or "")
    assert tilted is not None
    found = row_of_the_table("the tilted distribution (step 13)")
    assert found == pytest.approx([float(x) for x in tilted.groups()], abs=0.005)


def test_19_2_by_points_that_fly_off() -> None:
    """One in 50 of single points ends far out: 80 +- 9 of 4,000, where plain guidance has none."""
    off = (np.abs(top_class(rescale)).max(1) > 5).mean()
    assert 0.01 < off < 0.03
    assert np.abs(top_class()).max() < 5


def test_19_2_by_two_numbers() -> None:
    """The standard deviation of two numbers is half their distance; of many it is steady."""
    assert np.std([0.3, 1.7]) == pytest.approx(0.7, abs=1e-15)
    # 2,000 standard deviations of 5,000 normals: a spread of 1 %, itself known to 1 / sqrt(4,000).
    found = np.random.default_rng(0).standard_normal((2000, 5000)).std(1)
    assert found.std() / found.mean() == pytest.approx(0.01, rel=5 / np.sqrt(4000))


def test_19_3_by_each_step() -> None:
    """Both steps, and the result, for the factor of one sample after the other."""
    for i in range(40):
        g = guide(COND[i], NULL[i], 2.0)
        f = 0.7 * COND[i].std() / g.std() + 0.3
        first = P * XT[i] + f * Q * g
        second = f * (P * XT[i] + Q * g) + (1 - f) * P * XT[i]
        third = guess_after(P * XT[i] + Q * g, XT[i], P, float(f))
        np.testing.assert_allclose(second, first, atol=ROUNDING)
        np.testing.assert_allclose(third, first, atol=ROUNDING)
        np.testing.assert_allclose(guess_of(of(rescale))[i], first, atol=ALGEBRA)


def test_19_3_by_where_the_guess_goes() -> None:
    """A factor of 0 leads to p x_t, one of 1 to the guess, and one half to the middle of both."""
    x0hat = guess_of(guide(COND, NULL, 2.0))
    np.testing.assert_array_equal(guess_after(x0hat, XT, P, 0.0), P * XT)
    np.testing.assert_array_equal(guess_after(x0hat, XT, P, 1.0), x0hat)
    middle = guess_after(x0hat, XT, P, 0.5)
    np.testing.assert_allclose(middle - P * XT, x0hat - middle, atol=ROUNDING)
    # An earlier text had every factor lead towards p x_t. Beyond 1 it leads away from it, and this
    # happens when the mixture has the smaller standard deviation: 0.5 against 1 in this sample.
    away = guess_after(x0hat, XT, P, 1.5)
    np.testing.assert_allclose(away - P * XT, 1.5 * (x0hat - P * XT), atol=ROUNDING)
    narrower = rescale(np.array([[2.0, 0.0]]), np.array([[3.0, 0.0]]), 1.0, phi=0.7)
    np.testing.assert_allclose(narrower, [[1.7, 0.0]], atol=1e-15)
    # In x0, where p = 0, the guess goes towards 0: it keeps its direction.
    g = of(rescale, w=2.0)
    in_x0 = rescale(GUESS, GUESS - D, 2.0)
    plain_guess = flat(guess_of(guide(COND, NULL, 2.0)))
    ratio = flat(in_x0) / plain_guess
    np.testing.assert_allclose(ratio, ratio[:, :1] + 0 * ratio, rtol=1e-9)  # divided by 1e-3
    assert np.abs(flat(guess_of(g)) - flat(in_x0)).max() > 0.1  # another rule


def test_19_3_by_factors_in_the_chain() -> None:
    """The factors in eps, 0.968 to 1.002, and that of the first row in x0, 0.475.

    In eps both variances rise by a tenth.
    """
    factors: list[float] = []

    def in_eps(cond, null, w, xt, p, q):
        g = as_one_picture(cond, null, w)
        factors.append(float(g[0, 0] / guide(cond, null, w)[0, 0]))
        return g

    def in_x0(cond, null, w, xt, p, q):
        g = as_one_picture_of_x0(cond, null, w, xt, p, q)
        found = p * xt + q * g
        factors.append(float(found[0, 1] / (p * xt + q * guide(cond, null, w))[0, 1]))
        return g

    rise = top_class(in_eps).var(0) / top_class().var(0)
    np.testing.assert_allclose(rise, 1.1, atol=0.02)
    assert min(factors) == pytest.approx(0.968, abs=0.0006)  # rounded to the third digit
    assert 1 < max(factors) < 1.002
    factors.clear()
    top_class(in_x0)
    # In the first row the guess is the mean of the class, (0, 1.5), and the mixture is (0, 6).
    spread = [np.tile([0.0, height], 4000).std() for height in (1.5, 6.0)]
    assert spread == [0.75, 3.0]
    assert factors[0] == pytest.approx(0.7 * spread[0] / spread[1] + 0.3, abs=1e-5)
    assert factors[0] == pytest.approx(0.475, abs=0.0006)


def test_19_3_by_moving_the_data() -> None:
    """Rescaling in eps moves with the data, because the noise in x_t does not. In x0 it does not.

    The start is not moved: it lacks sqrt(abar_T) v, 5e-5 of 6.
    """
    v = (6.0, 0.0)
    for rule, moves in ((as_one_picture, True), (as_one_picture_of_x0, False)):
        gap = np.abs(top_class_moved(v, rule, 500) - top_class(rule, n=500)).max()
        assert (gap < 3e-4) == moves
        assert moves or gap > 0.1


def test_19_3_by_the_output_zero_in_each_unit() -> None:
    """The guess that belongs to the output 0 is p x_t: in x0, eps and v as the text says."""
    schedule = Schedule.cosine(1000)
    root = np.sqrt(schedule.alpha_bar[500])
    for unit, wanted in (("x0", 0.0), ("eps", 1 / root), ("v", root)):
        p, _ = x0_coefficients(500, schedule, unit)
        assert p == pytest.approx(wanted, abs=1e-12)
    assert np.sqrt(schedule.alpha_bar[1000]) == pytest.approx(0.00005, rel=0.02)


def test_19_4_by_sorted_numbers() -> None:
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


def test_19_4_by_a_line_between_neighbours() -> None:
    """P = 0.995 of 15 numbers is at position 13.93, counted from 0: 0.07 of one and 0.93 of next.

    All numbers below u are shrunk by bound / u, so the smallest one shows u.
    """
    guess = np.abs(flat(guess_of(guide(COND, NULL, 2.0))))
    x0 = np.abs(flat(guess_of(of(dynamic_threshold, bound=0.5))))
    ordered = np.sort(guess, axis=1)
    u = 0.07 * ordered[:, 13] + 0.93 * ordered[:, 14]
    np.testing.assert_allclose(np.sort(x0, axis=1)[:, 0], ordered[:, 0] * 0.5 / u, atol=ALGEBRA)


def test_19_4_by_bounds_that_change_nothing() -> None:
    g = guide(COND, NULL, 2.0)
    np.testing.assert_array_equal(of(dynamic_threshold, bound=np.inf), g)
    largest = np.abs(P * XT + Q * g).max()
    np.testing.assert_array_equal(of(dynamic_threshold, bound=largest), g)


def test_19_5_by_guesses_that_stay_inside() -> None:
    """At w = 0 too: a threshold does not need guidance to act."""
    for w in (0.0, 2.0):
        for share in (0.0, 0.5, 0.9, 1.0):
            x0 = P * XT + Q * of(dynamic_threshold, w, P=share, bound=0.7)
            assert np.abs(x0).max() == pytest.approx(0.7, abs=1e-12)


def test_19_5_by_both_ends_of_the_quantile() -> None:
    """P = 1 scales a guess, P = 0 clips it, as the static threshold does."""
    guess = P * XT + Q * guide(COND, NULL, 2.0)
    whole = P * XT + Q * of(dynamic_threshold, P=1.0, bound=1.0)
    largest = np.abs(guess).max((1, 2), keepdims=True)
    np.testing.assert_allclose(whole, guess / np.maximum(largest, 1), atol=1e-12)
    cut = P * XT + Q * of(dynamic_threshold, P=0.0, bound=1.0)
    some = np.abs(guess).min((1, 2)) < 1
    assert some.sum() > 20
    np.testing.assert_allclose(cut[some], np.clip(guess[some], -1, 1), atol=1e-12)


def test_19_5_by_the_direction_of_a_clip() -> None:
    """A clip keeps the direction if all numbers have one absolute value; in general it does not."""
    guess = np.array([[2.0, -2.0], [0.6, 2.6]])
    cut = dynamic_threshold(guess, guess, 0.0, guess, 0.0, 1.0, P=0.0, bound=1.0)
    np.testing.assert_allclose(cut, [[1.0, -1.0], [0.6, 1.0]], atol=1e-15)


def test_19_5_by_the_example() -> None:
    np.testing.assert_allclose(plain(*EXAMPLE), [[0.6, 2.6]], atol=1e-15)
    found = dynamic_threshold(*EXAMPLE, P=1.0, bound=1.0)
    np.testing.assert_allclose(found, [[0.6 / 2.6, 1.0]], atol=1e-15)
    assert found[0, 0] == pytest.approx(0.231, abs=0.0005)


def test_19_5_by_two_units() -> None:
    """Both thresholds act on the guess: outputs, and guesses with p = 0 and q = 1, agree."""
    for P_quantile in (0.0, 0.9, 1.0):
        found = guess_of(of(dynamic_threshold, P=P_quantile, bound=0.7))
        as_x0 = dynamic_threshold(GUESS, GUESS - D, 2.0, XT, 0.0, 1.0, P=P_quantile, bound=0.7)
        np.testing.assert_allclose(found, as_x0, atol=ALGEBRA)
    # Rescaling does not act on the guess.
    rescaled = rescale(GUESS, GUESS - D, 2.0, XT, 0.0, 1.0)
    assert np.abs(guess_of(of(rescale)) - rescaled).max() > 0.1


def test_19_5_by_samples() -> None:
    """The top class ends below 2, at the height of the table and wider than with the static one."""
    x = top_class(DYNAMIC)
    static = top_class(clip=2.0)
    assert_row("dynamic threshold, $c = 2$, $P = 1$", x)
    assert_row("static threshold, $c = 2$", static)
    assert max(np.abs(x).max(), np.abs(static).max()) <= 2 + 1e-12
    assert x[:, 0].var() > 1.3 * static[:, 0].var()  # .101 and .069, each within a twentieth


def test_19_6_by_lengths() -> None:
    lengths = np.linalg.norm(flat(D), axis=1)
    r = float(np.median(lengths))
    bounded = project(GUESS, D, 1.0, r)
    found = np.linalg.norm(flat(bounded), axis=1)
    np.testing.assert_allclose(found, np.minimum(lengths, r), atol=ALGEBRA)
    same = np.einsum("ni,ni->n", flat(bounded), flat(D)) / found / lengths
    np.testing.assert_allclose(same, 1, atol=ALGEBRA)  # no other direction


def test_19_6_by_bounds_that_change_nothing() -> None:
    np.testing.assert_array_equal(project(GUESS, D, 1.0, np.inf), D)
    zero = np.zeros_like(D)
    np.testing.assert_array_equal(project(GUESS, zero, 0.3, 0.5), zero)


def test_19_7_by_least_squares() -> None:
    """What is taken away at eta = 0 is the best multiple of the guess, sample by sample."""
    along = D - project(GUESS, D, 0.0, np.inf)
    for guess, d, found in zip(flat(GUESS), flat(D), flat(along), strict=True):
        best = np.linalg.lstsq(guess[:, None], d, rcond=None)[0]
        np.testing.assert_allclose(found, best * guess, atol=ALGEBRA)


def test_19_7_by_a_guess_of_zero() -> None:
    np.testing.assert_array_equal(project(0 * GUESS, D, 0.0, np.inf), D)


def test_19_7_by_moving_the_data() -> None:
    """Plain guidance and a bound on the difference move with the data; a projection does not.

    The start is not moved: it lacks sqrt(abar_T) v, 5e-5 of 6.
    """
    v = (6.0, 0.0)
    for rule in (plain, partial(apg, eta=1.0, r=0.3)):
        still = top_class(rule, n=500)
        np.testing.assert_allclose(top_class_moved(v, rule, 500), still, atol=3e-4)
    assert_row("APG, $\\eta = 0$, all data moved by $(6, 0)$", top_class_moved(v, apg))


def test_19_7_by_a_line_through_the_origin() -> None:
    """At eta = 0, 22 % of the samples lie within 0.02 of the axis. Of the class, 3 % do.

    4,000 samples: standard errors of 0.7 and 0.3 percent.
    """
    x = top_class(apg)
    assert_row("APG, $\\eta = 0$", x)
    assert (np.abs(x[:, 0]) < 0.02).mean() == pytest.approx(0.22, abs=5 * 0.0066)
    of_class = (np.abs(top_class(w=0.0)[:, 0]) < 0.02).mean()
    assert of_class == pytest.approx(0.03, abs=5 * 0.0027)
    # "A sixth of that of the class": 0.043 / 0.239 is between 1/6.5 and 1/5.5.
    assert 1 / 6.5 < x[:, 0].var() / top_class(w=0.0)[:, 0].var() < 1 / 5.5


@pytest.mark.parametrize("w", [0.0, 0.5, 3.0])
def test_19_8_by_neutral_parameters(w: float) -> None:
    found = apg(COND, NULL, w, XT, P, Q, eta=1.0)
    np.testing.assert_allclose(found, guide(COND, NULL, w), atol=ALGEBRA)
    np.testing.assert_array_equal(apg(COND, NULL, 0.0, XT, P, Q, eta=0.2, r=0.1), COND)


def test_19_8_by_straight_line_in_eta() -> None:
    a, b, c = (guess_of(apg(COND, NULL, 2.0, XT, P, Q, eta=eta)) for eta in (0.0, 0.25, 1.0))
    np.testing.assert_allclose(b, 0.75 * a + 0.25 * c, atol=ALGEBRA)
    np.testing.assert_allclose(c - a, 2 * (D - project(GUESS, D, 0.0, np.inf)), atol=ALGEBRA)


def test_19_8_by_two_units() -> None:
    """Predictions and guesses (p = 0, q = 1) give the same guess; projecting eps does not."""
    as_x0 = apg(GUESS, GUESS - D, 2.0, XT, 0.0, 1.0, eta=0.0)
    np.testing.assert_allclose(guess_of(apg(COND, NULL, 2.0, XT, P, Q)), as_x0, atol=ALGEBRA)
    of_eps = guess_of(apg(COND, NULL, 2.0, XT, 0.0, 1.0))
    assert np.abs(of_eps - as_x0).max() > 0.1


def test_19_8_by_samples() -> None:
    x = top_class(partial(apg, eta=1.0, r=0.3))
    assert_row("APG, $\\eta = 1$, $r = 0.3$", x)
    # "About half of the overshoot": of 2.37 - 1.5.
    assert (x[:, 1].mean() - 1.5) / (2.37 - 1.5) == pytest.approx(0.5, abs=0.05)


def test_19_8_by_the_example() -> None:
    """Of the difference (0, 0.6), (0.288, 0.384) is parallel to (0.6, 0.8)."""
    difference = WITH_LABEL - WITHOUT_LABEL
    orthogonal = project(WITH_LABEL, difference, 0.0, np.inf)
    np.testing.assert_allclose(orthogonal, [[-0.288, 0.216]], atol=1e-15)
    np.testing.assert_allclose(difference - orthogonal, [[0.288, 0.384]], atol=1e-15)
    np.testing.assert_allclose(apg(*EXAMPLE), [[-0.264, 1.448]], atol=1e-15)
    np.testing.assert_allclose(apg(*EXAMPLE, eta=1.0, r=0.3), [[0.6, 1.7]], atol=1e-15)


@pytest.mark.parametrize("w", [1.0, 5.0])
def test_19_9_by_pythagoras(w: float) -> None:
    x0 = flat(guess_of(apg(COND, NULL, w, XT, P, Q, eta=0.0, r=2.0)))
    orthogonal = project(GUESS, D, 0.0, 2.0)
    found = squared_length(GUESS, orthogonal, w).ravel()
    np.testing.assert_allclose((x0**2).sum(1), found, rtol=1e-12)


def test_19_9_by_two_dimensions() -> None:
    """In the plane: a guess straight up, D at 30 degrees from it. Across is sin, along is cos."""
    up = np.array([[0.0, 2.0]])
    angle = np.pi / 6
    d = np.array([[np.sin(angle), np.cos(angle)]])
    x0 = apg(up, up - d, 3.0, up, 0.0, 1.0, eta=0.0)
    np.testing.assert_allclose(x0, [[1.5, 2.0]], atol=1e-15)
    assert (x0**2).sum() == pytest.approx(4 + 9 / 4, abs=1e-14)
    across = np.array([[np.sin(angle), 0.0]])
    assert float(squared_length(up, across, 3.0)[0, 0]) == pytest.approx(4 + 9 / 4, abs=1e-14)


def test_19_9_by_each_step() -> None:
    """The orthogonal part is orthogonal, as the difference of two equal products."""
    bounded = project(GUESS, D, 1.0, 2.0)
    orthogonal = project(GUESS, D, 0.0, 2.0)
    parallel = bounded - orthogonal
    for i in range(40):
        of_bounded = (bounded[i] * GUESS[i]).sum()
        of_parallel = (parallel[i] * GUESS[i]).sum()
        assert of_parallel == pytest.approx(of_bounded, abs=1e-11)  # lengths up to 15
        assert (orthogonal[i] * GUESS[i]).sum() == pytest.approx(0, abs=1e-11)
        assert ((bounded - parallel)[i] * GUESS[i]).sum() == pytest.approx(0, abs=1e-11)


def test_19_9_by_a_long_difference() -> None:
    """At a fixed w and eta = 0 the orthogonal part, and so the guess, can have any length."""
    for length in (1.0, 1e3, 1e6):
        orthogonal = project(WITH_LABEL, length * np.array([[-0.8, 0.6]]), 0.0, np.inf)
        found = float(squared_length(WITH_LABEL, orthogonal, 3.0)[0, 0])
        assert found == pytest.approx(1 + 9 * length**2, rel=1e-12)


def test_19_9_by_the_example() -> None:
    """1 + 9 * 0.1296."""
    orthogonal = project(WITH_LABEL, WITH_LABEL - WITHOUT_LABEL, 0.0, np.inf)
    assert (orthogonal**2).sum() == pytest.approx(0.1296, abs=1e-15)
    found = float(squared_length(WITH_LABEL, orthogonal, 3.0)[0, 0])
    assert found == pytest.approx(2.1664, abs=1e-14)
    assert (apg(*EXAMPLE) ** 2).sum() == pytest.approx(found, abs=1e-14)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_19_10_by_each_step(eta: float) -> None:
    """Pythagoras for the two parts, the two bounds, and the bound on the guess."""
    r = 2.0
    bounded = project(GUESS, D, 1.0, r)
    orthogonal = project(GUESS, D, 0.0, r)
    parallel = bounded - orthogonal
    left = (flat(orthogonal + eta * parallel) ** 2).sum(1)
    middle = (flat(orthogonal) ** 2).sum(1) + eta**2 * (flat(parallel) ** 2).sum(1)
    np.testing.assert_allclose(left, middle, rtol=1e-12)
    squares = (flat(bounded) ** 2).sum(1)
    assert (middle <= squares * (1 + 1e-12)).all()
    assert (squares <= r**2 * (1 + 1e-12)).all()
    for w in (-2.0, 3.0):
        added = flat(guess_of(apg(COND, NULL, w, XT, P, Q, eta=eta, r=r)) - GUESS)
        lengths = np.linalg.norm(added, axis=1)
        assert lengths.max() <= longest_move(w, r) + ALGEBRA


def test_19_10_by_where_it_is_reached() -> None:
    """At eta = 1 every difference longer than r adds exactly |w| r; without r there is no bound."""
    long = np.linalg.norm(flat(D), axis=1) > 2
    assert long.sum() > 20
    for w in (-0.5, 3.0):
        added = flat(guess_of(apg(COND, NULL, w, XT, P, Q, eta=1.0, r=2.0)) - GUESS)[long]
        np.testing.assert_allclose(np.linalg.norm(added, axis=1), longest_move(w, 2.0), rtol=1e-12)
    lengths = [np.linalg.norm(guess_of(of(apg, w, eta=0.0))) for w in (1.0, 10.0, 100.0)]
    assert lengths[2] > 5 * lengths[1] > 5 * lengths[0]


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


def test_19_11_by_geometric_series() -> None:
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


def test_19_11_by_the_defaults() -> None:
    """Without parameters the chain is that of `apg`: eta = 0, no bound and no momentum."""
    schedule = Schedule.cosine(40)
    y = np.arange(9) % 3
    model = oracle_eps(three_gaussians(), schedule)
    table = ddim(schedule, 12)
    found = run_apg(model, y, table, 2.0, np.random.default_rng(0))
    expected = run_rule(model, y, table, 2.0, np.random.default_rng(0), apg)
    np.testing.assert_array_equal(found, expected)


def test_19_11_by_neutral_momentum() -> None:
    schedule = Schedule.cosine(40)
    y = np.arange(9) % 3
    model = oracle_eps(three_gaussians(), schedule)
    table = ddpm(schedule, 12)
    a = run_apg(model, y, table, 2.0, np.random.default_rng(0), eta=1.0, beta=0.0)
    np.testing.assert_allclose(a, run(model, y, table, 2.0, np.random.default_rng(0)), atol=1e-11)
    # Without memory it is the rule of (19.8), for any eta and r.
    kept = {"eta": 0.2, "r": 0.8}
    a = run_apg(model, y, table, 2.0, np.random.default_rng(0), **kept)
    b = run_rule(model, y, table, 2.0, np.random.default_rng(0), partial(apg, **kept))
    np.testing.assert_allclose(a, b, atol=1e-11)
    # A second chain starts without the memory of the first.
    b, c = (run_apg(model, y, table, 2.0, np.random.default_rng(0), beta=-0.5) for _ in range(2))
    np.testing.assert_array_equal(b, c)


def test_19_12_by_each_step() -> None:
    """The sum of powers and the quotient: by sympy for k = 1..6, at numbers by the recursion."""
    beta = sympy.symbols("beta")
    for k in range(1, 7):
        powers = sum(beta**j for j in range(k))
        assert sympy.simplify(powers - (1 - beta**k) / (1 - beta)) == 0
    for value in (-0.9, -0.5, 0.0):
        total = np.zeros((1, 2))
        difference = np.array([[0.7, -1.1]])
        for k in range(1, 20):
            total = difference + value * total  # (19.11)
            powers = difference * sum(value**j for j in range(k))
            np.testing.assert_allclose(total, powers, atol=1e-14)
            np.testing.assert_allclose(after_equal_rows(difference, value, k), powers, atol=1e-14)


def test_19_12_by_the_factors_in_the_text() -> None:
    factors = [float(after_equal_rows(np.ones(1), -0.5, k)[0]) for k in range(1, 6)]
    assert factors == pytest.approx([1, 0.5, 0.75, 0.625, 0.6875], abs=1e-15)
    assert float(after_equal_rows(np.ones(1), -0.5, 60)[0]) == pytest.approx(2 / 3, abs=1e-15)
    # An earlier text had every momentum near its limit after a few rows.
    for k, factor in ((5, 0.91), (500, 0.51)):
        assert float(after_equal_rows(np.ones(1), -0.95, k)[0]) == pytest.approx(factor, abs=0.005)


def test_19_12_by_a_chain() -> None:
    """Each row of a chain with an equal difference, through the state that it leads to.

    At s = 0 the last row returns its guess, so a chain of n rows shows the sum of row n.
    """
    schedule = Schedule.cosine(50)
    y = np.zeros(1, int)
    model = Constant(schedule, 0.7)
    for n in (1, 2, 3, 4):
        rng = np.random.default_rng(0)
        x = run_apg(model, y, ddim(schedule, n), 3.0, rng, eta=1.0, beta=-0.25)
        wanted = 0.7 + 3 * after_equal_rows(np.full((1, 2), 0.7), -0.25, n)
        np.testing.assert_allclose(x, wanted, atol=1e-10)  # 1 / sqrt(abar_T) is 600


def test_19_12_by_samples() -> None:
    """Momentum of -1/2 at w = 3 is nearly the weight 2: less than 0.01 in each moment."""
    x = top_class_with_momentum(-0.5)
    assert_row("APG, $\\eta = 1$, $\\beta = -1/2$", x)
    smaller = top_class(w=2.0)
    assert x[:, 1].mean() == pytest.approx(smaller[:, 1].mean(), abs=0.01)
    np.testing.assert_allclose(x.var(0), smaller.var(0), atol=0.01)
