"""Step 19: each rule at its neutral parameter, by definition, and by samples.

The projection by geometry, the momentum by a series, the rest by samples.
"""

from __future__ import annotations

import statistics
from functools import partial

import numpy as np
import pytest

from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step11_guidance import guide
from tutorial.step17_solvers import ddim, ddpm, run
from tutorial.step18_dpmpp import dpmpp_2m
from tutorial.step19_rules import (
    apg,
    as_one_picture,
    as_one_picture_of_x0,
    dynamic_threshold,
    moved,
    plain,
    project,
    remembering,
    rescale,
    run_apg,
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


def test_19_1_by_neutral_share() -> None:
    np.testing.assert_array_equal(of(rescale, phi=0.0), guide(COND, NULL, 2.0))
    for phi in (0.3, 1.0):
        np.testing.assert_allclose(of(rescale, 0.0, phi=phi), COND, atol=ROUNDING)


def test_19_1_by_one_sample_and_the_standard_library() -> None:
    for i, found in enumerate(of(rescale, phi=0.4)):
        g = (3 * COND[i] - 2 * NULL[i]).ravel().tolist()
        ratio = statistics.pstdev(COND[i].ravel().tolist()) / statistics.pstdev(g)
        expected = [0.4 * x * ratio + 0.6 * x for x in g]
        np.testing.assert_allclose(found.ravel(), expected, atol=ROUNDING)


def test_19_1_by_mix_without_deviation() -> None:
    """Equal numbers have no deviation: the factor would be 1 / 0, and 0 / 0 where cond has none."""
    cond = np.array([[1.0, 2.0], [2.0, 2.0]])
    null = np.array([[0.0, 2.0], [1.0, 1.0]])
    g = guide(cond, null, 1.0)
    np.testing.assert_array_equal(g[:, 0], g[:, 1])
    for phi in (0.5, 1.0):
        np.testing.assert_array_equal(rescale(cond, null, 1.0, phi=phi), g)


@pytest.mark.parametrize("phi", [0.0, 0.3, 1.0])
def test_19_2_by_deviations(phi: float) -> None:
    after = of(rescale, phi=phi).reshape(40, -1).std(1)
    before = guide(COND, NULL, 2.0).reshape(40, -1).std(1)
    np.testing.assert_allclose(after, phi * COND.reshape(40, -1).std(1) + (1 - phi) * before)


def test_19_2_by_ratio_of_ranges() -> None:
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
def test_19_2_by_table_in_the_text(rule, height: float, var_x: float, var_y: float) -> None:
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


def test_19_2_by_points_that_fly_off() -> None:
    """One in 50 of single points ends far out: 80 +- 9 of 4,000, where plain guidance has none."""
    off = (np.abs(top_class(rescale)).max(1) > 5).mean()
    assert 0.01 < off < 0.03
    assert np.abs(top_class()).max() < 5


def test_19_3_by_sorted_numbers() -> None:
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


def test_19_3_by_bounds_that_change_nothing() -> None:
    g = guide(COND, NULL, 2.0)
    np.testing.assert_array_equal(of(dynamic_threshold, bound=np.inf), g)
    largest = np.abs(P * XT + Q * g).max()
    np.testing.assert_array_equal(of(dynamic_threshold, bound=largest), g)


def test_19_4_by_guesses_that_stay_inside() -> None:
    for share in (0.0, 0.5, 0.9, 1.0):
        x0 = P * XT + Q * of(dynamic_threshold, P=share, bound=0.7)
        assert np.abs(x0).max() <= 0.7 + 1e-12


def test_19_4_by_both_ends_of_the_quantile() -> None:
    """P = 1 scales a guess, P = 0 clips it, as the static threshold does."""
    guess = P * XT + Q * guide(COND, NULL, 2.0)
    whole = P * XT + Q * of(dynamic_threshold, P=1.0, bound=1.0)
    largest = np.abs(guess).max((1, 2), keepdims=True)
    np.testing.assert_allclose(whole, guess / np.maximum(largest, 1), atol=1e-12)
    cut = P * XT + Q * of(dynamic_threshold, P=0.0, bound=1.0)
    some = np.abs(guess).min((1, 2)) < 1
    assert some.sum() > 20
    np.testing.assert_allclose(cut[some], np.clip(guess[some], -1, 1), atol=1e-12)


def test_19_4_by_samples() -> None:
    """The top class ends below 2, at the height of the table and wider than with the static one."""
    x = top_class(partial(dynamic_threshold, P=1.0, bound=2.0), n=2000)
    static = top_class(clip=2.0)
    assert max(np.abs(x).max(), np.abs(static).max()) <= 2 + 1e-12
    assert x[:, 1].mean() == pytest.approx(1.71, abs=5 * (0.073 / 2000) ** 0.5)
    assert x[:, 0].var() > 1.3 * static[:, 0].var()  # .101 and .069, each within a twentieth


@pytest.mark.parametrize("table", [ddpm, dpmpp_2m])
def test_19_1_by_the_loop_of_step_17(table) -> None:
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


GUESS = P * XT + Q * COND
D = Q * (COND - NULL)
ALGEBRA = 1e-12  # float64, dozens of operations on numbers of order ten


def guess_of(g: np.ndarray) -> np.ndarray:
    return P * XT + Q * g


def flat(a: np.ndarray) -> np.ndarray:
    return a.reshape(40, -1)


def test_19_5_by_lengths() -> None:
    lengths = np.linalg.norm(flat(D), axis=1)
    r = float(np.median(lengths))
    bounded = project(GUESS, D, 1.0, r)
    found = np.linalg.norm(flat(bounded), axis=1)
    np.testing.assert_allclose(found, np.minimum(lengths, r), atol=ALGEBRA)
    same = np.einsum("ni,ni->n", flat(bounded), flat(D)) / found / lengths
    np.testing.assert_allclose(same, 1, atol=ALGEBRA)  # no other direction


def test_19_5_by_bounds_that_change_nothing() -> None:
    np.testing.assert_array_equal(project(GUESS, D, 1.0, np.inf), D)
    zero = np.zeros_like(D)
    np.testing.assert_array_equal(project(GUESS, zero, 0.3, 0.5), zero)


def test_19_6_by_least_squares() -> None:
    """What is taken away at eta = 0 is the best multiple of the guess, sample by sample."""
    along = D - project(GUESS, D, 0.0, np.inf)
    for guess, d, found in zip(flat(GUESS), flat(D), flat(along), strict=True):
        best = np.linalg.lstsq(guess[:, None], d, rcond=None)[0]
        np.testing.assert_allclose(found, best * guess, atol=ALGEBRA)


def test_19_6_by_a_guess_of_zero() -> None:
    np.testing.assert_array_equal(project(0 * GUESS, D, 0.0, np.inf), D)


def test_19_6_by_moving_the_data() -> None:
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
def test_19_7_by_neutral_parameters(w: float) -> None:
    found = apg(COND, NULL, w, XT, P, Q, eta=1.0)
    np.testing.assert_allclose(found, guide(COND, NULL, w), atol=ALGEBRA)
    np.testing.assert_array_equal(apg(COND, NULL, 0.0, XT, P, Q, eta=0.2, r=0.1), COND)


def test_19_7_by_straight_line_in_eta() -> None:
    a, b, c = (guess_of(apg(COND, NULL, 2.0, XT, P, Q, eta=eta)) for eta in (0.0, 0.25, 1.0))
    np.testing.assert_allclose(b, 0.75 * a + 0.25 * c, atol=ALGEBRA)
    np.testing.assert_allclose(c - a, 2 * (D - project(GUESS, D, 0.0, np.inf)), atol=ALGEBRA)


def test_19_7_by_two_units() -> None:
    """The same answers as guesses (p = 0, q = 1) give the same guess; projecting eps does not."""
    as_x0 = apg(GUESS, GUESS - D, 2.0, XT, 0.0, 1.0, eta=0.0)
    np.testing.assert_allclose(guess_of(apg(COND, NULL, 2.0, XT, P, Q)), as_x0, atol=ALGEBRA)
    of_eps = guess_of(apg(COND, NULL, 2.0, XT, 0.0, 1.0))
    assert np.abs(of_eps - as_x0).max() > 0.1


def test_19_7_by_samples() -> None:
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


def test_19_8_by_geometric_series() -> None:
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


def test_19_8_by_neutral_momentum() -> None:
    schedule = Schedule.cosine(40)
    y = np.arange(9) % 3
    model = oracle_eps(three_gaussians(), schedule)
    table = ddpm(schedule, 12)
    a = run_apg(model, y, table, 2.0, np.random.default_rng(0), eta=1.0, beta=0.0)
    np.testing.assert_allclose(a, run(model, y, table, 2.0, np.random.default_rng(0)), atol=1e-11)
    # Without memory it is the rule of (19.7), whatever of the difference that keeps.
    kept = {"eta": 0.2, "r": 0.8}
    a = run_apg(model, y, table, 2.0, np.random.default_rng(0), **kept)
    b = run_rule(model, y, table, 2.0, np.random.default_rng(0), partial(apg, **kept))
    np.testing.assert_allclose(a, b, atol=1e-11)
    # A second chain starts without the memory of the first.
    b, c = (run_apg(model, y, table, 2.0, np.random.default_rng(0), beta=-0.5) for _ in range(2))
    np.testing.assert_array_equal(b, c)


def test_19_8_by_samples() -> None:
    x = remembering(-0.5, 2000)
    assert x[:, 1].mean() == pytest.approx(2.16, abs=5 * (0.093 / 2000) ** 0.5)


@pytest.mark.parametrize("w", [1.0, 5.0])
def test_19_9_by_pythagoras(w: float) -> None:
    x0 = flat(guess_of(apg(COND, NULL, w, XT, P, Q, eta=0.0, r=2.0)))
    across = flat(project(GUESS, D, 0.0, 2.0))
    squares = [(a**2).sum(1) for a in (x0, flat(GUESS), across)]
    np.testing.assert_allclose(squares[0], squares[1] + w**2 * squares[2], rtol=1e-12)


def test_19_9_by_two_dimensions() -> None:
    """In the plane: a guess straight up, D at 30 degrees from it. Across is sin, along is cos."""
    up = np.array([[0.0, 2.0]])
    angle = np.pi / 6
    d = np.array([[np.sin(angle), np.cos(angle)]])
    x0 = apg(up, up - d, 3.0, up, 0.0, 1.0, eta=0.0)
    np.testing.assert_allclose(x0, [[1.5, 2.0]], atol=1e-15)
    assert (x0**2).sum() == pytest.approx(4 + 9 / 4, abs=1e-14)
