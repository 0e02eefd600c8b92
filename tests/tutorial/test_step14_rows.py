"""Step 14: each column by what it multiplies, strides by iteration, times by fractions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutorial.step00_notation import Gaussian, Schedule, product
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step07_oracle import oracle_eps
from tutorial.step08_sampling import ancestral_sample
from tutorial.step10_guidance import guided_x0
from tutorial.step14_rows import Table, ddpm, run, run_steps, table_of, times

SCHEDULE = Schedule.linear(20)
K = 3
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
ALGEBRA = 1e-11  # float64, some dozens of steps of operations of order one to a hundred


@dataclass
class Given:
    """Noise that is given: `draws[k]` answers the k-th question, zeros where nothing is given."""

    draws: dict[int, np.ndarray] = field(default_factory=dict)
    asked: int = 0

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        self.asked += 1
        return self.draws.get(self.asked - 1, np.zeros(size))


@dataclass
class Script:
    """An x0-network that says `answers[t, y]` whatever it sees; label 0 and the null label 1."""

    answers: dict[tuple[int, int], float]
    prediction: str = "x0"
    num_classes: int = 1
    asked: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        self.asked.append((t, int(y[0])))
        return np.full_like(xt, self.answers.get((t, int(y[0])), 0.0))


@dataclass
class InUnit:
    """The oracle of MIXTURE, its answer put into another unit by (3.2) and (5.5)."""

    prediction: str
    schedule: Schedule
    num_classes: int = K

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        signal = self.schedule.alpha_bar[t] ** 0.5
        noise = (1 - self.schedule.alpha_bar[t]) ** 0.5
        eps = oracle_eps(MIXTURE, self.schedule)(xt, t, y)
        x0 = (xt - noise * eps) / signal
        return {"eps": eps, "x0": x0, "v": signal * eps - noise * x0}[self.prediction]


def one_row(**columns: float) -> Table:
    """From t = 1 to 0, with p = 0 and q = 1: the guess is what an x0-network says."""
    row = [columns.get(name, 0.0) for name in "abcdem"]
    return Table(np.array([1]), np.array([0]), np.array([[0.0, 1.0, *row]]))


ONE = np.zeros(1, dtype=int)


@pytest.mark.parametrize("m", [0.0, 0.5, 1.0, 3.0])
def test_14_1_by_impulses_of_the_two_answers(m: float) -> None:
    """One answer is 1 and the other 0: what each of the two counts in the guess."""
    table = one_row(a=1.0, m=m)
    for answers, counts in (({(1, 0): 1.0}, 1 + 2.5 * m), ({(1, 1): 1.0}, -2.5 * m)):
        x = run(Script(answers), ONE, table, 2.5, Given())
        np.testing.assert_allclose(x, counts, atol=1e-15)


def test_14_1_by_guidance_that_is_switched() -> None:
    """m = 0 in some rows: those are rows of the conditional chain, the others of the guided one."""
    model = oracle_eps(MIXTURE, SCHEDULE)
    y = np.array([0, 1, 2])
    table = ddpm(SCHEDULE)
    on = np.where((table.t > 5) & (table.t <= 15), 1.0, 0.0)
    rows = np.column_stack([table.rows[:, :7], on])
    path = dict(run_steps(model, y, Table(table.t, table.s, rows), 2.0, Given()))
    for k, t in enumerate(table.t):
        short = Table(table.t[k : k + 1], table.s[k : k + 1], table.rows[k : k + 1])
        x = run(model, y, short, 2.0 if on[k] else 0.0, Given({0: path[int(t)]}))
        np.testing.assert_allclose(path[int(t) - 1], x, atol=ALGEBRA)


def test_14_1_by_weights_that_multiply() -> None:
    """m = 2 with w = 1.5 is m = 1 with w = 3, and both differ from w = 1.5."""
    model = oracle_eps(MIXTURE, SCHEDULE)
    y = np.array([0, 1, 2])
    table = ddpm(SCHEDULE)
    twice = Table(table.t, table.s, table.rows * [1, 1, 1, 1, 1, 1, 1, 2])
    x, same, less = (
        run(model, y, each, w, np.random.default_rng(0))
        for each, w in ((twice, 1.5), (table, 3.0), (table, 1.5))
    )
    np.testing.assert_allclose(x, same, atol=ALGEBRA)
    assert np.abs(x - less).max() > 0.1


@pytest.mark.parametrize(
    ("w", "columns", "labels"),
    [
        (2.0, {"m": 1.0}, [0, 1]),
        (2.0, {"m": 0.0}, [0]),
        (0.0, {"m": 1.0}, [0]),
        (0.0, {"m": 1.0, "d": 0.1}, [0, 1]),
    ],
)
def test_14_1_by_calls(w: float, columns: dict[str, float], labels: list[int]) -> None:
    """The null label is asked about where guidance is on, or where the row has d."""
    model = Script({})
    run(model, ONE, one_row(a=1.0, **columns), w, Given())
    assert model.asked == [(1, y) for y in labels]


@pytest.mark.parametrize("prediction", ["x0", "v"])
@pytest.mark.parametrize("steps", [20, 6, 1])
def test_14_2_by_three_units(prediction: str, steps: int) -> None:
    """What the network puts out is of no matter, if the table is made for it. Clipped, guided."""
    y = np.array([0, 1, 2, K])
    x, as_eps = (
        run(
            InUnit(unit, SCHEDULE),
            y,
            ddpm(SCHEDULE, steps, unit),
            1.5,
            np.random.default_rng(1),
            clip=1.0,
        )
        for unit in (prediction, "eps")
    )
    np.testing.assert_allclose(x, as_eps, atol=ALGEBRA)


def test_14_2_by_one_guess_of_step_10() -> None:
    """A single row to t = 0 is step 10's guess, mixed first and clipped last; inf clips nothing."""
    model = oracle_eps(MIXTURE, SCHEDULE)
    y = np.arange(50) % 3
    x = 2 * np.random.default_rng(2).standard_normal((50, 2))
    answers = model(x, 8, y), model(x, 8, np.full(50, K))
    for clip in (1.0, np.inf):
        found = run(model, y, ddpm(SCHEDULE, [8]), 3.0, Given({0: x}), clip)
        wanted = guided_x0(*answers, x, 8, SCHEDULE, 3.0, clip=clip)
        np.testing.assert_allclose(found, wanted, atol=ALGEBRA)
        assert (np.abs(found) <= clip).all()
    assert (np.abs(found) > 1).any()


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_14_2_by_refusal_of_clip(clip: float) -> None:
    with pytest.raises(ValueError, match=f"clip = {clip} is not above 0"):
        run(oracle_eps(MIXTURE, SCHEDULE), ONE, ddpm(SCHEDULE), 0.0, Given(), clip)


@pytest.mark.parametrize("prediction", ["score", "epsilon"])
def test_14_2_by_refusal_of_prediction(prediction: str) -> None:
    with pytest.raises(ValueError, match=f"prediction = '{prediction}' is none of eps, x0, v"):
        ddpm(SCHEDULE, 5, prediction)


def test_14_3_by_impulses_of_each_column() -> None:
    """Seven things go by a row. Each is 1 in turn, all else 0: its column comes out, and no other.

    Row 1 of two is looked at; the guess of row 0 is 7, to be told from row 1's.
    """
    column = dict(zip("abcde", (0.3, -0.5, 0.7, 1.1, -1.3), strict=True))
    rows = np.array([[0, 1, 0, 1, 0, 0, 0, 0], [0, 1, *column.values(), 0]], dtype=float)
    table = Table(np.array([2, 1]), np.array([1, 0]), rows)

    def end(answers: dict[tuple[int, int], float], draws: dict[int, float]) -> np.ndarray:
        noise = Given({k: np.full((1, 2), z) for k, z in draws.items()})
        return run(Script(answers), ONE, table, 9.0, noise)

    for answers, draws, wanted in (
        ({(1, 0): 1.0}, {}, column["a"]),
        ({}, {0: 1.0}, column["b"]),
        ({}, {2: 1.0}, column["c"]),
        ({(1, 1): 1.0}, {}, column["d"]),
        ({(2, 0): 7.0}, {}, 7 * column["e"]),
        ({}, {1: 1.0}, 0.0),  # row 0 has c = 0: its draw is made, and goes nowhere
        ({(2, 1): 1.0}, {}, 0.0),
    ):
        np.testing.assert_allclose(end(answers, draws), wanted, atol=1e-15)


@pytest.mark.parametrize("schedule", [Schedule.linear(20), Schedule.cosine(30)])
@pytest.mark.parametrize("w", [-1.0, 0.0, 1.5])
def test_14_3_by_the_loop_of_step_8(schedule: Schedule, w: float) -> None:
    """The ancestral table is the chain of step 8, draw by draw."""
    model = oracle_eps(MIXTURE, schedule)
    y = np.array([0, 1, 2, K])
    x = run(model, y, ddpm(schedule), w, np.random.default_rng(3))
    wanted = ancestral_sample(model, y, schedule, w, np.random.default_rng(3))
    # A cosine chain starts at p = 1 / sqrt(abar_T) of some hundreds, times 1e-16.
    np.testing.assert_allclose(x, wanted, atol=ALGEBRA)


def test_14_3_by_states_and_draws() -> None:
    """A state a time, from the first draw on; a draw a row, used or not; no label sees another."""
    model = oracle_eps(MIXTURE, SCHEDULE)
    y = np.array([0, K, 2])
    table = ddpm(SCHEDULE, 7)
    still = Table(table.t, table.s, table.rows * [1, 1, 1, 1, 0, 1, 1, 1])
    for each in (table, still):
        noise = Given({0: np.full((3, 2), 0.5)})
        start = np.full((3, 2), 0.5)
        path = list(run_steps(model, y, each, 0.7, noise))
        assert [t for t, _ in path] == [*table.t, 0] and noise.asked == 8
        np.testing.assert_array_equal(path[0][1], start)
        for i in range(3):
            alone = run(model, y[i : i + 1], each, 0.7, Given({0: start[:1]}))
            np.testing.assert_allclose(path[-1][1][i], alone[0], atol=ALGEBRA)
    assert run(model, y[:0], table, 0.0, np.random.default_rng(0)).shape == (0, 2)


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_14_3_by_a_loud_last_draw(steps: int) -> None:
    """The last row ends in its guess, without noise, at whatever t it starts."""
    table = ddpm(SCHEDULE, steps)
    _, _, a, b, c, d, e, m = table.rows[-1]
    assert a == pytest.approx(1, abs=1e-14) and (b, c, d, e, m) == (0, 0, 0, 0, 1)
    loud = Given({steps: np.full((1, 2), 1e6)})
    quiet = run(oracle_eps(MIXTURE, SCHEDULE), ONE, table, 1.0, Given())
    x = run(oracle_eps(MIXTURE, SCHEDULE), ONE, table, 1.0, loud)
    np.testing.assert_array_equal(x, quiet)


@pytest.mark.parametrize(("t", "s"), [(20, 13), (13, 12), (12, 1), (7, 2)])
def test_14_4_by_bayes_on_iterated_noise(t: int, s: int) -> None:
    """(2.1) step by step from s to t, as a Gaussian in x_s, times q(x_s | x_0): the posterior."""
    x0 = np.array([1.3])
    xt = np.array([-0.4])
    scale = 1.0
    var = 0.0
    for u in range(s + 1, t + 1):
        keep = 1 - SCHEDULE.beta[u]
        scale = np.sqrt(keep) * scale
        var = keep * var + SCHEDULE.beta[u]
    from_xt = Gaussian(xt / scale, float(var / scale**2))
    from_x0 = Gaussian(np.sqrt(SCHEDULE.alpha_bar[s]) * x0, float(1 - SCHEDULE.alpha_bar[s]))
    law = product(from_xt, from_x0)
    row = ddpm(SCHEDULE, [t, s]).rows[0]
    np.testing.assert_allclose(row[2] * x0 + row[3] * xt, law.mean, atol=1e-13)
    assert row[4] ** 2 == pytest.approx(law.var, abs=1e-14)


def test_14_4_by_a_shorter_schedule() -> None:
    """Every fifth time of 100 is the full chain of the schedule that has those `alpha_bar`."""
    schedule = Schedule.linear(100)
    kept = schedule.alpha_bar[::5]
    shorter = Schedule(np.concatenate([[0.0], 1 - kept[1:] / kept[:-1]]))
    strided = ddpm(schedule, 20)
    full = ddpm(shorter)
    np.testing.assert_array_equal(strided.t, 5 * full.t)
    np.testing.assert_allclose(strided.rows, full.rows, rtol=1e-12, atol=1e-13)


def test_14_4_by_regression_on_chains() -> None:
    """Forward chains from one x_0: the slope of x_2 on x_6, and what is left, are b and c^2.

    100,000 chains, seed 5; 5 standard errors each, a false alarm in a million or so.
    """
    rng = np.random.default_rng(5)
    n = 100_000
    x = np.zeros(100_000)
    early = x
    for u in range(1, 7):
        x = np.sqrt(1 - SCHEDULE.beta[u]) * x + np.sqrt(SCHEDULE.beta[u]) * rng.standard_normal(n)
        early = x if u == 2 else early
    _, _, _, b, c, *_ = ddpm(SCHEDULE, [6, 2]).rows[0]
    slope = (early @ x) / (x @ x)
    left = ((early - slope * x) ** 2).mean()
    assert slope == pytest.approx(b, abs=5 * np.sqrt(left / (x @ x)))
    assert left == pytest.approx(c**2, abs=5 * c**2 * np.sqrt(2 / n))


def test_14_5_by_fractions() -> None:
    """Rounded half up, in exact arithmetic, for every n of every T up to 25, some of T = 1000."""
    cases = [(T, n) for T in range(1, 26) for n in range(1, T + 1)]
    for T, n in [*cases, (1000, 7), (1000, 16), (1000, 300), (1000, 999)]:
        t, s = times(Schedule.linear(T), n)
        wanted = [floor(Fraction(T * i, n) + Fraction(1, 2)) for i in range(n, -1, -1)]
        assert [*t, s[-1]] == wanted and [*s] == wanted[1:]


@given(st.integers(1, 500).flatmap(lambda T: st.tuples(st.just(T), st.integers(1, T))))
def test_14_5_by_properties(case: tuple[int, int]) -> None:
    """From T to 0, strictly down, n of them, none farther than a half from even spacing."""
    T, n = case
    t, s = times(Schedule.linear(T), n)
    assert len(t) == n and t[0] == T and s[-1] == 0
    assert (t > s).all() and (t[1:] == s[:-1]).all()
    assert (np.abs(t - np.arange(n, 0, -1) * T / n) <= 0.5).all()


def test_14_5_by_times_that_are_given() -> None:
    for steps in ([10], [10, 7, 1], range(9, 0, -2)):
        t, s = times(Schedule.linear(10), list(steps))
        assert [*t] == list(steps) and [*s] == [*list(steps)[1:], 0]
    assert [*times(Schedule.linear(4))[0]] == [4, 3, 2, 1]


@pytest.mark.parametrize("steps", [0, -1, 11, [], [3, 3], [1, 2], [11, 1], [5, 0]])
def test_14_5_by_refusal_of_steps(steps: int | list[int]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"steps = {steps}") + r".* 1\.\.10"):
        times(Schedule.linear(10), steps)


def test_14_3_by_columns_of_table_of() -> None:
    """Numbers stand for whole columns, and p, q are of the network's unit at each t."""
    t, s = times(SCHEDULE, 4)
    table = table_of(SCHEDULE, t, s, "v", np.arange(4.0), 2.0, 0.0, 0.5, -1.0, 1.0)
    signal = np.sqrt(SCHEDULE.alpha_bar[t])
    noise = np.sqrt(1 - SCHEDULE.alpha_bar[t])
    ones = np.ones(4)
    wanted = [signal, -noise, np.arange(4.0), 2 * ones, 0 * ones, 0.5 * ones, -ones, ones]
    np.testing.assert_allclose(table.rows, np.stack(wanted, 1), atol=1e-15)
