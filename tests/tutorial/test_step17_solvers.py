"""Step 17: each column by what it multiplies, strides by iteration, times by fractions.

DDIM is tested with the true x_0, where all distributions are known, and with the oracle's guess.

Statistical tests name their rate of false alarms, 1e-6 a comparison (B.7).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp
from scipy.stats import kstest, norm

import tutorial.step17_solvers as lesson
from tests.tutorial.noise import Given
from tutorial.appendix.b_chain_distribution import dkw_bound
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step03_marginal import q_xt_given_x0, xt_from_x0
from tutorial.step04_posterior import posterior_coefficients, product
from tutorial.step05_best_guess import oracle_eps
from tutorial.step07_sampling import ancestral_sample
from tutorial.step11_guidance import guide, guided_x0
from tutorial.step17_solvers import (
    Table,
    chain_var,
    change_of_density,
    ddim,
    ddim_without_noise,
    ddpm,
    distance_without_noise,
    flow_velocity,
    heights,
    noise_variances,
    q_xs_given_x0,
    q_xs_given_xt_x0,
    quantiles_of_two_classes,
    run,
    run_steps,
    run_with_stale_eps,
    table_of,
    times,
)
from tutorial.step18_dpmpp import dpmpp_2m

SCHEDULE = Schedule.linear(20)
K = 3
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
ALGEBRA = 1e-11  # float64, some dozens of steps of operations of order one to a hundred


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
    """The oracle of MIXTURE, its answer put into another unit by (3.2) and (5.4)."""

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
def test_17_1_by_impulses_of_the_two_answers(m: float) -> None:
    """One answer is 1 and the other 0: what each of the two counts in the guess."""
    table = one_row(a=1.0, m=m)
    for answers, counts in (({(1, 0): 1.0}, 1 + 2.5 * m), ({(1, 1): 1.0}, -2.5 * m)):
        x = run(Script(answers), ONE, table, 2.5, Given())
        np.testing.assert_allclose(x, counts, atol=1e-15)


def test_17_1_by_guidance_that_is_switched() -> None:
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


def test_17_1_by_weights_that_multiply() -> None:
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
def test_17_1_by_calls(w: float, columns: dict[str, float], labels: list[int]) -> None:
    """The null label is asked about where guidance is on, or where the row has d."""
    model = Script({})
    run(model, ONE, one_row(a=1.0, **columns), w, Given())
    assert model.asked == [(1, y) for y in labels]


@pytest.mark.parametrize("prediction", ["x0", "v"])
@pytest.mark.parametrize("steps", [20, 6, 1])
def test_17_2_by_three_units(prediction: str, steps: int) -> None:
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


def test_17_2_by_one_guess_of_step_11() -> None:
    """A single row to t = 0 is step 11's guess, mixed first and clipped last; inf clips nothing."""
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


def test_17_2_by_a_table_with_a_single_row() -> None:
    """The text: at w = 0 its sample is nearly the mean of the class, or of all data.

    An earlier text had it near the mean of the data always; at w = 3 it is beyond the class.
    """
    data = three_gaussians()
    schedule = Schedule.cosine(1000)
    model = oracle_eps(data, schedule)
    y = np.arange(4)
    of_all = data.weights @ data.means
    means = np.vstack([data.means, of_all])
    for w in (0.0, 3.0):
        x = run(model, y, ddim(schedule, 1), w, np.random.default_rng(0))
        # The factor of the data is 5e-5 at T, and the states are below 4.
        np.testing.assert_allclose(x, means + w * (means - of_all), atol=2e-3)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_17_2_by_refusal_of_clip(clip: float) -> None:
    with pytest.raises(ValueError, match=f"clip = {clip} is not above 0"):
        run(oracle_eps(MIXTURE, SCHEDULE), ONE, ddpm(SCHEDULE), 0.0, Given(), clip)


@pytest.mark.parametrize("prediction", ["score", "epsilon"])
def test_17_2_by_refusal_of_prediction(prediction: str) -> None:
    with pytest.raises(ValueError, match=f"prediction = '{prediction}' is none of eps, x0, v"):
        ddpm(SCHEDULE, 5, prediction)


def test_17_3_by_impulses_of_each_column() -> None:
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
def test_17_3_by_the_loop_of_step_7(schedule: Schedule, w: float) -> None:
    """The ancestral table is the chain of step 7, draw by draw."""
    model = oracle_eps(MIXTURE, schedule)
    y = np.array([0, 1, 2, K])
    x = run(model, y, ddpm(schedule), w, np.random.default_rng(3))
    wanted = ancestral_sample(model, y, schedule, w, np.random.default_rng(3))
    # A cosine chain starts at p = 1 / sqrt(abar_T) of some hundreds, times 1e-16.
    np.testing.assert_allclose(x, wanted, atol=ALGEBRA)


def test_17_3_by_states_and_draws() -> None:
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
def test_17_3_by_a_loud_last_draw(steps: int) -> None:
    """The last row ends in its guess, without noise, at whatever t it starts."""
    table = ddpm(SCHEDULE, steps)
    _, _, a, b, c, d, e, m = table.rows[-1]
    assert a == pytest.approx(1, abs=1e-14) and (b, c, d, e, m) == (0, 0, 0, 0, 1)
    loud = Given({steps: np.full((1, 2), 1e6)})
    quiet = run(oracle_eps(MIXTURE, SCHEDULE), ONE, table, 1.0, Given())
    x = run(oracle_eps(MIXTURE, SCHEDULE), ONE, table, 1.0, loud)
    np.testing.assert_array_equal(x, quiet)


@pytest.mark.parametrize(("t", "s"), [(20, 13), (13, 12), (12, 1), (7, 2)])
def test_17_4_by_bayes_on_iterated_noise(t: int, s: int) -> None:
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


def test_17_4_by_a_shorter_schedule() -> None:
    """Every fifth time of 100 is the full chain of the schedule that has those `alpha_bar`."""
    schedule = Schedule.linear(100)
    kept = schedule.alpha_bar[::5]
    shorter = Schedule(np.concatenate([[0.0], 1 - kept[1:] / kept[:-1]]))
    strided = ddpm(schedule, 20)
    full = ddpm(shorter)
    np.testing.assert_array_equal(strided.t, 5 * full.t)
    np.testing.assert_allclose(strided.rows, full.rows, rtol=1e-12, atol=1e-13)


def test_17_4_by_regression_on_chains() -> None:
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


def test_17_5_by_fractions() -> None:
    """Rounded half up, in exact arithmetic, for every n of every T up to 25, some of T = 1000."""
    cases = [(T, n) for T in range(1, 26) for n in range(1, T + 1)]
    for T, n in [*cases, (1000, 7), (1000, 16), (1000, 300), (1000, 999)]:
        t, s = times(Schedule.linear(T), n)
        wanted = [floor(Fraction(T * i, n) + Fraction(1, 2)) for i in range(n, -1, -1)]
        assert [*t, s[-1]] == wanted and [*s] == wanted[1:]


@given(st.integers(1, 500).flatmap(lambda T: st.tuples(st.just(T), st.integers(1, T))))
def test_17_5_by_properties(case: tuple[int, int]) -> None:
    """From T to 0, strictly down, n of them, none farther than a half from even spacing."""
    T, n = case
    t, s = times(Schedule.linear(T), n)
    assert len(t) == n and t[0] == T and s[-1] == 0
    assert (t > s).all() and (t[1:] == s[:-1]).all()
    assert (np.abs(t - np.arange(n, 0, -1) * T / n) <= 0.5).all()


def test_17_5_by_times_that_are_given() -> None:
    for steps in ([10], [10, 7, 1], range(9, 0, -2)):
        t, s = times(Schedule.linear(10), list(steps))
        assert [*t] == list(steps) and [*s] == [*list(steps)[1:], 0]
    assert [*times(Schedule.linear(4))[0]] == [4, 3, 2, 1]


@pytest.mark.parametrize("steps", [0, -1, 11, [], [3, 3], [1, 2], [11, 1], [5, 0]])
def test_17_5_by_refusal_of_steps(steps: int | list[int]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"steps = {steps}") + r".* 1\.\.10"):
        times(Schedule.linear(10), steps)


def test_17_3_by_columns_of_table_of() -> None:
    """Numbers stand for whole columns, and p, q are of the network's unit at each t."""
    t, s = times(SCHEDULE, 4)
    table = table_of(SCHEDULE, t, s, "v", np.arange(4.0), 2.0, 0.0, 0.5, -1.0, 1.0)
    signal = np.sqrt(SCHEDULE.alpha_bar[t])
    noise = np.sqrt(1 - SCHEDULE.alpha_bar[t])
    ones = np.ones(4)
    wanted = [signal, -noise, np.arange(4.0), 2 * ones, 0 * ones, 0.5 * ones, -ones, ones]
    np.testing.assert_allclose(table.rows, np.stack(wanted, 1), atol=1e-15)


COSINE = Schedule.cosine(1000)
ETAS = [0.0, 0.3, 0.5, 1.0]
X0 = np.array([1.5, -0.7])
N = 20_000
ALARM = 1e-6


def posterior_coefficients_between(t: int, s: int) -> tuple[float, float, float]:
    """Those of step 4 for a schedule whose only times are s and t of SCHEDULE."""
    abar = SCHEDULE.alpha_bar[[s, t]]
    shorter = Schedule(np.array([0.0, 1 - abar[0], 1 - abar[1] / abar[0]]))
    return posterior_coefficients(2, shorter)


@dataclass
class Marginal:
    """Random noise whose first draw is turned into an x_T of the marginal (3.1) around X0."""

    schedule: Schedule
    rng: np.random.Generator
    started: bool = False

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        z = self.rng.standard_normal(size)
        if self.started:
            return z
        self.started, abar = True, self.schedule.alpha_bar[-1]
        return np.sqrt(abar) * X0 + np.sqrt(1 - abar) * z


@dataclass
class Truth:
    """A network that knows the data: x_0 is X0, whatever it is asked."""

    num_classes: int = 1
    prediction: str = "x0"

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        return np.zeros_like(xt) + X0


def one_class(var: float) -> GaussianMixture:
    return GaussianMixture(np.array([[0.8, -0.4]]), var * np.eye(2)[None], np.ones(1))


def abars(table: Table, schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
    return schedule.alpha_bar[table.t], schedule.alpha_bar[table.s]


def impulses(n: int) -> dict[int, np.ndarray]:
    """Row 0 sees no noise, row 1 + k a 1 in draw k: with the first of the two axes, responses."""
    draws = {k: np.zeros((n + 2, 2)) for k in range(n + 1)}
    for k, draw in draws.items():
        draw[1 + k] = 1.0
    return draws


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("steps", [20, 6, 1])
def test_17_7_by_noise_that_is_known(eta: float, steps: int) -> None:
    """x_t is made of X0 and a known eps; the row has to find that eps, and put in fresh z."""
    table = ddim(SCHEDULE, steps, eta, "x0")
    rng = np.random.default_rng(0)
    abar_t, abar_s = abars(table, SCHEDULE)
    for k, row in enumerate(table.rows):
        eps, z = rng.standard_normal((2, 5, 2))
        xt = np.sqrt(abar_t[k]) * X0 + np.sqrt(1 - abar_t[k]) * eps
        c = row[4]
        wanted = np.sqrt(abar_s[k]) * X0 + np.sqrt(max(1 - abar_s[k] - c**2, 0)) * eps + c * z
        one = Table(table.t[k : k + 1], table.s[k : k + 1], row[None])
        found = run(Truth(), np.zeros(5, int), one, 0.0, Given({0: xt, 1: z}))
        np.testing.assert_allclose(found, wanted, atol=1e-12)
        t, s = int(table.t[k]), int(table.s[k])
        step = q_xs_given_xt_x0(xt, X0 + 0 * xt, t, s, float(c), SCHEDULE)
        np.testing.assert_allclose(step.mean + np.sqrt(step.var) * z, wanted, atol=1e-12)


def test_17_7_by_regression() -> None:
    """Chains with the true x_0: x_6 on x_13, given x_0, has slope b and residual variance c^2.

    20,000 chains of two axes each, seed 1; 5 standard errors.
    """
    table = ddim(SCHEDULE, [20, 13, 6], 0.5, "x0")
    path = dict(
        run_steps(
            Truth(), np.zeros(N, int), table, 0.0, Marginal(SCHEDULE, np.random.default_rng(1))
        )
    )
    late, early = ((path[t] - np.sqrt(SCHEDULE.alpha_bar[t]) * X0).ravel() for t in (13, 6))
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    c2 = 0.25 * (1 - abar_t / abar_s) * (1 - abar_s) / (1 - abar_t)
    slope = (late @ early) / (late @ late)
    left = ((early - slope * late) ** 2).mean()
    b = np.sqrt((1 - abar_s - c2) / (1 - abar_t))
    assert slope == pytest.approx(b, abs=5 * np.sqrt(left / (late @ late)))
    assert left == pytest.approx(c2, abs=5 * c2 * np.sqrt(2 / late.size))


@pytest.mark.parametrize("eta", ETAS)
def test_17_7_by_rows_of_ddim(eta: float) -> None:
    """With the data as the guess, a row of `ddim` has the mean and the variance of the step."""
    table = ddim(SCHEDULE, 7, eta)
    xt = np.array([[0.4, -1.2], [2.0, 0.0]])
    for t, s, (_, _, a, b, c, *_) in zip(table.t, table.s, table.rows, strict=True):
        step = q_xs_given_xt_x0(xt, X0 + 0 * xt, int(t), int(s), float(c), SCHEDULE)
        np.testing.assert_allclose(step.mean, a * X0 + b * xt, atol=1e-13)
        assert step.var == pytest.approx(c**2, abs=1e-15)


@pytest.mark.parametrize("c", [0.5, -0.5, float("nan")])
def test_17_7_by_refusal_of_c(c: float) -> None:
    """0.25 is more than the variance of the noise at s = 1."""
    if c < 0:
        assert q_xs_given_xt_x0(X0, X0, 20, 10, c, SCHEDULE).var == 0.25
    with pytest.raises(ValueError, match=f"c = {c}: its square is above the noise variance at s"):
        q_xs_given_xt_x0(X0, X0, 2, 1, c, SCHEDULE)


@pytest.mark.parametrize("s", [5, 6, -1])
def test_17_7_by_refusal_of_s(s: int) -> None:
    with pytest.raises(ValueError, match=f"s = {s} is outside 0..4"):
        q_xs_given_xt_x0(X0, X0, 5, s, 0.0, SCHEDULE)


def test_17_6_by_step_3() -> None:
    """Without new noise, the state at s is the data with the noise that the state at t had."""
    eps = np.array([0.3, -1.1])
    step = q_xs_given_xt_x0(xt_from_x0(X0, eps, 13, SCHEDULE), X0, 13, 6, 0.0, SCHEDULE)
    np.testing.assert_allclose(step.mean, xt_from_x0(X0, eps, 6, SCHEDULE), atol=1e-14)


@pytest.mark.parametrize("eta", ETAS)
def test_17_6_by_the_networks_own_eps(eta: float) -> None:
    """Unclipped, the noise left by the guess is what an eps-network said: the paper's eq. 12."""
    model = oracle_eps(three_gaussians(), SCHEDULE)
    y = np.array([0, 1, 2, 3])
    table = ddim(SCHEDULE, 7, eta)
    rng = np.random.default_rng(2)
    xt = rng.standard_normal((4, 2))
    draws = {0: xt}
    for k, (abar_t, abar_s) in enumerate(zip(*abars(table, SCHEDULE), strict=True)):
        eps = model(xt, int(table.t[k]), y)
        z = rng.standard_normal((4, 2))
        c = table.rows[k, 4]
        x0 = (xt - np.sqrt(1 - abar_t) * eps) / np.sqrt(abar_t)
        xs = np.sqrt(abar_s) * x0 + np.sqrt(max(1 - abar_s - c**2, 0)) * eps + c * z
        step = q_xs_given_xt_x0(xt, x0, int(table.t[k]), int(table.s[k]), float(c), SCHEDULE)
        np.testing.assert_allclose(step.mean + c * z, xs, atol=ALGEBRA)
        xt = xs
        draws[k + 1] = z
    np.testing.assert_allclose(run(model, y, table, 0.0, Given(draws)), xt, atol=ALGEBRA)


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_17_6_by_laws_of_what_is_left(eta: float) -> None:
    """With the true x_0 what is left of x_t is N(0, I) at each t; seed 3."""
    table = ddim(SCHEDULE, 4, eta, "x0")
    noise = Marginal(SCHEDULE, np.random.default_rng(3))
    for t, x in run_steps(Truth(), np.zeros(N, int), table, 0.0, noise):
        if t > 0:
            abar = SCHEDULE.alpha_bar[t]
            eps = (x - np.sqrt(abar) * X0) / np.sqrt(1 - abar)
            for u in ([1, 0], [0, 1], [0.6, 0.8]):
                assert kstest(eps @ u, "norm").statistic < dkw_bound(N, ALARM)


@pytest.mark.parametrize(("t", "s"), [(20, 13), (13, 6), (4, 0)])
def test_17_8_by_step_3(t: int, s: int) -> None:
    """The distribution of step 3 at s, for no new noise, for some, and for new noise alone."""
    wanted = q_xt_given_x0(X0, s, SCHEDULE)
    for fraction in (0.0, 0.3, 1.0):
        c = float(np.sqrt(fraction * (1 - SCHEDULE.alpha_bar[s])))
        c = min(c, float(np.nextafter(c, 0)))  # its square may not exceed the variance
        found = q_xs_given_x0(X0, t, s, c, SCHEDULE)
        np.testing.assert_allclose(found.mean, wanted.mean, atol=1e-14)
        assert found.var == pytest.approx(wanted.var, abs=1e-14)


def test_17_8_by_each_step() -> None:
    """x_s from known noises: its mean, and its response to each of the two noises."""
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    c = 0.3
    rng = np.random.default_rng(8)
    eps, z = rng.standard_normal((2, 4, 2))
    xt = np.sqrt(abar_t) * X0 + np.sqrt(1 - abar_t) * eps
    step = q_xs_given_xt_x0(xt, X0 + 0 * xt, 13, 6, c, SCHEDULE)
    right = np.sqrt(abar_s) * X0 + np.sqrt(1 - abar_s - c**2) * eps + c * z
    np.testing.assert_allclose(step.mean + np.sqrt(step.var) * z, right, atol=1e-14)
    assert (1 - abar_s - c**2) + c**2 == pytest.approx(1 - abar_s, abs=1e-15)


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("steps", [20, 6])
def test_17_8_by_impulses(eta: float, steps: int) -> None:
    """Each draw's response, squared and summed: at every t the variance is 1 - abar_t, exactly."""
    table = ddim(SCHEDULE, steps, eta, "x0")
    draws = impulses(steps)
    start = SCHEDULE.alpha_bar[-1]
    draws[0] = np.sqrt(start) * X0 + np.sqrt(1 - start) * draws[0]
    for t, x in run_steps(Truth(), np.zeros(steps + 2, int), table, 0.0, Given(draws)):
        abar = SCHEDULE.alpha_bar[t]
        np.testing.assert_allclose(x[0], np.sqrt(abar) * X0, atol=1e-13)
        np.testing.assert_allclose(((x[1:] - x[0]) ** 2).sum(0), 1 - abar, atol=1e-13)


@pytest.mark.parametrize("eta", ETAS)
def test_17_8_by_laws_of_two_times(eta: float) -> None:
    """Given x_0 they covary by sqrt(alpha_{t|s}) (1 - abar_s), as if noised, at eta = 1 only.

    Both times' own laws being right, that is all there is to a Markov chain from x_0 to x_s to x_t.
    """
    table = ddim(SCHEDULE, [13, 6], eta, "x0")
    draws = impulses(2)
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    draws[0] = np.sqrt(1 - abar_t) * draws[0]
    path = dict(run_steps(Truth(), np.zeros(4, int), table, 0.0, Given(draws)))
    late, early = ((path[t][1:] - path[t][0])[:, 0] for t in (13, 6))
    forward = np.sqrt(abar_t / abar_s) * (1 - abar_s)
    assert (late @ early == pytest.approx(forward, abs=1e-13)) == (eta == 1)


@pytest.mark.parametrize("eta", ETAS)
def test_17_9_by_all_kept_times(eta: float) -> None:
    """Given x_0, every pair of kept times covaries as in the forward process, at eta = 1 only."""
    kept = [20, 13, 6, 2]
    table = ddim(SCHEDULE, kept, eta, "x0")
    draws = impulses(4)
    draws[0] = np.sqrt(1 - SCHEDULE.alpha_bar[20]) * draws[0]
    path = dict(run_steps(Truth(), np.zeros(6, int), table, 0.0, Given(draws)))
    states = np.array([(path[t][1:] - path[t][0])[:, 0] for t in kept])
    abar = SCHEDULE.alpha_bar[kept]
    forward = np.array(
        [
            [np.sqrt(min(u, v) / max(u, v)) * (1 - max(u, v)) for v in abar.tolist()]
            for u in abar.tolist()
        ]
    )
    assert np.allclose(states @ states.T, forward, atol=1e-12) == (eta == 1)


def test_17_8_by_simulation() -> None:
    """20,000 chains, seed 4, against (3.1) at each t of four; and what a wrong c or b makes of it.

    The wrong ones: fresh noise on top of all the old (b of eta = 0), and a variance for a c.
    """
    right = ddim(SCHEDULE, 4, 0.7, "x0")
    on_top = right.rows.copy()
    squared = right.rows.copy()
    on_top[:, 2:4] = ddim(SCHEDULE, 4, 0.0, "x0").rows[:, 2:4]
    squared[:, 4] **= 2
    for rows, wrong in ((right.rows, False), (on_top, True), (squared, True)):
        table = Table(right.t, right.s, rows)
        noise = Marginal(SCHEDULE, np.random.default_rng(4))
        refused = False
        for t, x in run_steps(Truth(), np.zeros(N, int), table, 0.0, noise):
            abar = SCHEDULE.alpha_bar[t]
            along = np.array([0.6, 0.8])
            if t > 0:
                law = (np.sqrt(abar) * X0 @ along, np.sqrt(1 - abar))
                refused |= kstest(x @ along, "norm", law).statistic > dkw_bound(N, ALARM)
        assert refused == wrong


def test_17_8_by_quadrature() -> None:
    """The density of x_s, as a sum over x_t of (17.7) times (3.1), on a grid of step 0.01."""
    _, _, a, b, c, *_ = ddim(SCHEDULE, [13, 6], 0.6).rows[0]
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    grid = np.arange(-8, 8, 0.01)
    x0 = 1.5

    def normal(x: np.ndarray, m: np.ndarray | float, v: float) -> np.ndarray:
        return np.exp(-((x - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)

    p_t = normal(grid, np.sqrt(abar_t) * x0, 1 - abar_t)
    xs = np.linspace(-2, 4, 13)
    p_s = normal(xs[:, None], a * x0 + b * grid, c**2) @ p_t * 0.01
    # The narrowest factor has a deviation of 0.2, twenty steps: the sum is exact to rounding.
    np.testing.assert_allclose(p_s, normal(xs, np.sqrt(abar_s) * x0, 1 - abar_s), atol=1e-12)
    found = q_xs_given_x0(np.array([x0]), 13, 6, float(c), SCHEDULE)
    np.testing.assert_allclose(p_s, normal(xs, found.mean[0], found.var), atol=1e-12)


@pytest.mark.parametrize("eta", ETAS)
def test_17_9_by_posterior_of_step_4(eta: float) -> None:
    for row, t in zip(ddim(SCHEDULE, None, eta).rows, range(20, 0, -1), strict=True):
        deviation = np.sqrt(posterior_coefficients(t, SCHEDULE)[2])
        assert row[4] == pytest.approx(eta * deviation, abs=1e-14)


def test_17_9_by_each_step() -> None:
    """The two covariances, and each line from their equality to the posterior variance."""
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    alpha = abar_t / abar_s
    rho = (1 - abar_s) / (1 - abar_t)
    c = np.sqrt(posterior_coefficients_between(13, 6)[2])
    assert np.sqrt(1 - abar_t) * np.sqrt(1 - abar_s - c**2) == pytest.approx(
        np.sqrt(alpha) * (1 - abar_s), abs=1e-14
    )
    assert 1 - abar_s - c**2 == pytest.approx(alpha * rho * (1 - abar_s), abs=1e-14)
    assert c**2 == pytest.approx((1 - alpha * rho) * (1 - abar_s), abs=1e-14)
    assert c**2 == pytest.approx((1 - alpha) * rho, abs=1e-14)
    assert alpha * rho == pytest.approx((alpha - abar_t) / (1 - abar_t), abs=1e-14)
    assert 1 - alpha * rho == pytest.approx((1 - alpha) / (1 - abar_t), abs=1e-14)
    assert ddim(SCHEDULE, [13, 6], 1.0).rows[0, 4] == pytest.approx(c, abs=1e-14)
    for other in (0.0, 0.9 * c):  # no other c gives the covariance of the forward process
        covariance = np.sqrt(1 - abar_t) * np.sqrt(1 - abar_s - other**2)
        assert abs(covariance - np.sqrt(alpha) * (1 - abar_s)) > 0.01


@pytest.mark.parametrize("steps", [7, 3])
def test_17_9_by_precisions(steps: int) -> None:
    """1 / c^2 at eta = 1 is what x_t says of x_s and what x_0 says of it, together (4.1)."""
    table = ddim(COSINE, steps, 1.0)
    abar_t, abar_s = (a[:-1] for a in abars(table, COSINE))  # the last c is 0
    keep = abar_t / abar_s
    both = keep / (1 - keep) + 1 / (1 - abar_s)
    np.testing.assert_allclose(table.rows[:-1, 4], both**-0.5, rtol=1e-11)
    half = ddim(COSINE, steps, 0.25).rows[:-1, 4]
    np.testing.assert_allclose(half, both**-0.5 / 4, rtol=1e-11)


@pytest.mark.parametrize("eta", ETAS)
def test_17_10_by_each_step(eta: float) -> None:
    """The step of the sampler with b as a quotient of two roots, against the row."""
    table = ddim(SCHEDULE, [13, 6], eta)
    _, _, a, b, c, *_ = table.rows[0]
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    quotient = np.sqrt(1 - abar_s - c**2) / np.sqrt(1 - abar_t)
    xt, x0hat, z = 0.4, 1.3, -0.8
    left = np.sqrt(abar_s) * x0hat + quotient * (xt - np.sqrt(abar_t) * x0hat) + c * z
    assert left == pytest.approx(a * x0hat + b * xt + c * z, abs=1e-14)


@pytest.mark.parametrize("eta", ETAS)
def test_17_10_by_fractions(eta: float) -> None:
    """What is left of 1 - abar_s beside c^2, in exact arithmetic from the schedule's numbers."""
    table = ddim(COSINE, 12, eta)
    for row, t, s in zip(table.rows, table.t, table.s, strict=True):
        abar_t, abar_s = (Fraction(float(COSINE.alpha_bar[u])) for u in (t, s))
        c2 = Fraction(eta) ** 2 * (1 - abar_t / abar_s) * (1 - abar_s) / (1 - abar_t)
        b2 = float((1 - abar_s - c2) / (1 - abar_t))
        assert row[3] ** 2 == pytest.approx(b2, rel=1e-10, abs=1e-30)


@pytest.mark.parametrize("eta", ETAS)
def test_17_10_by_response_to_the_start(eta: float) -> None:
    """With the true x_0, a unit of x_t becomes b units of x_s; so b^2 of its variance, and c^2."""
    table = ddim(SCHEDULE, [13, 6], eta, "x0")
    draws = impulses(2)
    path = dict(run_steps(Truth(), np.zeros(4, int), table, 0.0, Given(draws)))
    of_start, of_fresh = (path[6][1:3] - path[6][0])[:, 0]
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    assert of_start**2 * (1 - abar_t) + of_fresh**2 == pytest.approx(1 - abar_s, abs=1e-14)


@pytest.mark.parametrize("eta", ETAS)
def test_17_11_by_data_without_noise(eta: float) -> None:
    """If there is no noise in x_T, and none is drawn, every x_t is the data, scaled."""
    start = Given({0: np.sqrt(SCHEDULE.alpha_bar[-1]) * X0[None]})
    for t, x in run_steps(Truth(), np.zeros(1, int), ddim(SCHEDULE, 7, eta, "x0"), 0.0, start):
        np.testing.assert_allclose(x[0], np.sqrt(SCHEDULE.alpha_bar[t]) * X0, atol=1e-14)


def test_17_11_by_posterior_of_step_4() -> None:
    for row, t in zip(ddim(SCHEDULE, None, 1.0).rows, range(20, 0, -1), strict=True):
        # A difference of numbers of order one, where step 4 has a product.
        assert row[2] == pytest.approx(posterior_coefficients(t, SCHEDULE)[0], abs=1e-13)


@pytest.mark.parametrize("schedule", [SCHEDULE, COSINE, Schedule.linear(1000)])
@pytest.mark.parametrize("steps", [1, 2, 7, None])
def test_17_12_by_ancestral_rows(schedule: Schedule, steps: int | None) -> None:
    """eta = 1 is `ddpm`; 1e-12 is what a difference of numbers up to 1 leaves of a small `a`."""
    for prediction in ("eps", "x0", "v"):
        found = ddim(schedule, steps, 1.0, prediction).rows
        np.testing.assert_allclose(found, ddpm(schedule, steps, prediction).rows, atol=1e-12)


@pytest.mark.parametrize("eta", [Fraction(0), Fraction(1, 3), Fraction(1)])
def test_17_12_by_each_step(eta: Fraction) -> None:
    """In exact arithmetic, with the numbers of the example, from (17.10) to (17.12)."""
    abar_t = Fraction(1, 2)
    abar_s = Fraction(4, 5)
    alpha = abar_t / abar_s
    rho = (1 - abar_s) / (1 - abar_t)
    c2 = eta**2 * (1 - alpha) * (1 - abar_s) / (1 - abar_t)
    b2 = (1 - abar_s - c2) / (1 - abar_t)
    assert c2 == eta**2 * (1 - alpha) * rho
    assert b2 == rho - eta**2 * rho * (1 - alpha) / (1 - abar_t)
    assert b2 == rho - eta**2 * rho * (1 - alpha * rho)
    assert b2 == (1 - eta**2) * rho + eta**2 * alpha * rho**2


def test_17_12_by_the_example() -> None:
    """The rows of the example, their numbers in the text, and the states they lead to."""
    schedule = Schedule(np.array([0.0, 0.2, 0.375]))  # alpha_bar = 1, 0.8, 0.5
    text = lesson.__doc__ or ""
    rows = re.findall(r"\| ([01]) \| (0\.\d+) \| (0\.\d+) \| (0[.\d]*) \| (.*) \|\n", text)
    assert [row[0] for row in rows] == ["0", "1"]
    for eta, *numbers, state in rows:
        a, b, c = ddim(schedule, None, float(eta)).rows[0, 2:5]
        np.testing.assert_allclose([float(x) for x in numbers], [a, b, c], atol=5e-4)
        assert f"{a * 1 + b * 0.4:.3f}" in state.rpartition("=")[2]


@pytest.mark.parametrize("eta", ETAS)
def test_17_12_by_a_mean_of_two_ends(eta: float) -> None:
    """b^2 at eta, between b^2 at 0 and at 1, at eta^2 of the way; all by (17.10)."""
    abar_t, abar_s = abars(ddim(SCHEDULE, 7), SCHEDULE)
    c = np.array([ddim(SCHEDULE, 7, e).rows[:, 4] for e in (0.0, eta, 1.0)])
    low, found, high = (1 - abar_s - c**2) / (1 - abar_t)
    np.testing.assert_allclose(found, (1 - eta**2) * low + eta**2 * high, atol=1e-15)
    np.testing.assert_allclose(ddim(SCHEDULE, 7, eta).rows[:, 3] ** 2, found, atol=1e-14)


def test_17_12_by_what_cancels_in_the_other_form() -> None:
    """From T to 1 nearly all of 1 - abar_s is c^2: (17.10) loses b there, (17.12) does not."""
    abar_t, abar_s = (Fraction(float(COSINE.alpha_bar[u])) for u in (1000, 1))
    exact = float(abar_t / abar_s) ** 0.5 * float((1 - abar_s) / (1 - abar_t))
    b, c = ddim(COSINE, [1000, 1], 1.0).rows[0, 3:5]
    assert b == pytest.approx(exact, rel=1e-10)  # of a ratio of differences from 1, of 4e-5
    left = float(1 - COSINE.alpha_bar[1] - c**2) / float(1 - COSINE.alpha_bar[1000])
    assert abs(max(left, 0.0) ** 0.5 / exact - 1) > 1e-6


def test_17_12_by_later_draws() -> None:
    """eta = 0: a sample is a function of its first noise. eta > 0: it is not."""
    model = oracle_eps(three_gaussians(), SCHEDULE)
    y = np.array([0, 1, 2])
    start = np.random.default_rng(5).standard_normal((3, 2))
    loud = {0: start} | {k: np.full((3, 2), 1e3) for k in range(1, 8)}
    for eta in ETAS:
        table = ddim(SCHEDULE, 7, eta)
        same = run(model, y, table, 1.0, Given({0: start})) == run(
            model, y, table, 1.0, Given(loud)
        )
        assert same.all() == (eta == 0)


@pytest.mark.parametrize("eta", ETAS)
def test_17_12_by_the_last_row(eta: float) -> None:
    """At s = 0 every eta ends in its guess."""
    for steps in (1, 5, 20):
        for prediction in ("eps", "x0", "v"):
            row = ddim(SCHEDULE, steps, eta, prediction).rows[-1]
            np.testing.assert_array_equal(row[2:], [1, 0, 0, 0, 0, 1])


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan"), float("inf")])
def test_17_9_by_refusal_of_eta(eta: float) -> None:
    with pytest.raises(ValueError, match=f"eta = {eta} is outside 0..1"):
        ddim(SCHEDULE, 5, eta)


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "dpmpp_2m"])
@pytest.mark.parametrize("var", [0.1, 1.7])
def test_17_13_by_impulses(solver: str, var: float) -> None:
    """Every draw's response in the loop with the oracle, which is affine; 2M looks back a row."""
    if solver == "ddim":
        table = ddim(SCHEDULE, 7, 0.6)
    elif solver == "ddpm":
        table = ddpm(SCHEDULE)
    else:
        table = dpmpp_2m(SCHEDULE, 9)
    n = len(table.t)
    model = oracle_eps(one_class(var), SCHEDULE)
    x = run(model, np.zeros(n + 2, int), table, 0.0, Given(impulses(n)))
    responses = ((x[1:] - x[0]) ** 2).sum(0)
    np.testing.assert_allclose(responses, chain_var(table, SCHEDULE, var), atol=ALGEBRA)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_17_13_by_simulation(eta: float) -> None:
    """The sample variance of 20,000 chains of two axes, seed 6, within 5 standard errors."""
    table = ddim(SCHEDULE, 6, eta)
    model = oracle_eps(one_class(0.25), SCHEDULE)
    x = run(model, np.zeros(N, int), table, 0.0, np.random.default_rng(6))
    var = chain_var(table, SCHEDULE, 0.25)
    error = var * np.sqrt(2 / N)
    np.testing.assert_allclose(x.var(0), var, rtol=0, atol=5 * error)


def test_17_13_by_what_a_mean_lacks() -> None:
    """Start from the true law, take one row: what it lacks is a^2 Var(x_0 | x_t), (6.3)."""
    var = 0.25
    table = ddim(SCHEDULE, [13, 6], 0.5)
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    C_t = abar_t * var + 1 - abar_t
    C_s = abar_s * var + 1 - abar_s
    start = np.sqrt(abar_t) * np.array([0.8, -0.4]) + np.sqrt(C_t) * impulses(1)[0]
    draws = {0: start, 1: impulses(1)[1]}
    model = oracle_eps(one_class(var), SCHEDULE)
    x = dict(run_steps(model, np.zeros(3, int), table, 0.0, Given(draws)))[6]
    lacks = C_s - ((x[1:] - x[0]) ** 2).sum(0)
    a = table.rows[0, 2]
    np.testing.assert_allclose(lacks, a**2 * var * (1 - abar_t) / C_t, atol=1e-14)
    assert lacks[0] > 0.01


def numbers_in_row(name: str) -> list[float]:
    """The numbers of the row of a table in the text that begins with `name`."""
    row = re.search(rf"\n\| {re.escape(name)} \|(.*)\|\n", lesson.__doc__ or "")
    assert row is not None
    return [float(number) for number in row[1].split("|")]


def test_17_13_by_numbers_in_the_text() -> None:
    """And fewer rows, or more noise, leave less, in this schedule and in the other."""
    for eta in (1.0, 0.5, 0.0):
        wanted = numbers_in_row(rf"$\eta = {eta:g}$")
        found = [
            chain_var(ddim(COSINE, n, eta), COSINE, 0.25) for n in (2, 5, 10, 20, 50, 100, 1000)
        ]
        np.testing.assert_allclose(found, wanted, atol=5.01e-4)
    for n, wanted in ((10, 0.68), (100, 0.78), (1000, 0.81)):
        lost = 0.25 - chain_var(ddim(COSINE, n), COSINE, 0.25)
        assert n * lost == pytest.approx(wanted, abs=5e-3)
    for n, eta, wanted in ((5, 0.0, 0.75), (5, 1.0, 0.73), (20, 0.0, 0.27), (20, 1.0, 0.28)):
        lost = 1 - chain_var(ddim(COSINE, n, eta), COSINE, 25.0) / 25
        assert lost == pytest.approx(wanted, abs=5e-3)
    for schedule in (COSINE, Schedule.linear(1000)):
        left = np.array(
            [[chain_var(ddim(schedule, n, e), schedule, 0.25) for e in ETAS] for n in (5, 20, 100)]
        )
        assert (np.diff(left, axis=0) > 0).all() and (np.diff(left, axis=1) < 0).all()


def test_17_13_by_each_step() -> None:
    """The slope from the oracle, one row of `chain_var`, and the true and the lost variance.

    A schedule of two times starts at t = 2 with variance 1, which `chain_var` assumes.
    """
    S = 0.25
    schedule = Schedule(np.array([0.0, 0.2, 0.375]))
    model = oracle_eps(one_class(S), schedule)
    table = ddim(schedule, None, 0.5)
    p, q, a, b, c, *_ = table.rows[0]
    abar_t = 0.5
    C_t = abar_t * S + 1 - abar_t
    C_s = 0.8 * S + 1 - 0.8
    xt = np.array([[0.0, 0.0], [1.0, 1.0]])
    guesses = p * xt + q * model(xt, 2, np.zeros(2, int))
    J = np.sqrt(abar_t) * S / C_t
    np.testing.assert_allclose(guesses[1] - guesses[0], J, atol=1e-14)
    V_s = (a * J + b) ** 2 * 1 + c**2
    first = Table(table.t[:1], table.s[:1], table.rows[:1])
    assert chain_var(first, schedule, S) == pytest.approx(V_s, abs=1e-15)
    left_over = S - abar_t * S**2 / C_t  # Var(x_0 | x_t)
    total = (a * J + b) ** 2 * C_t + c**2 + a**2 * left_over
    assert total == pytest.approx(C_s, abs=1e-14)
    # The chain starts with variance 1, and the noised data have C_t.
    lost = (a * J + b) ** 2 * (C_t - 1) + a**2 * left_over
    assert C_s - V_s == pytest.approx(lost, abs=1e-14)
    factor = np.sqrt(0.8) * J + b * (1 - np.sqrt(abar_t) * J)
    assert a * J + b == pytest.approx(factor, abs=1e-15)
    assert 1 - np.sqrt(abar_t) * J == pytest.approx((1 - abar_t) / C_t, abs=1e-15)
    # The row with the data in the place of the guess.
    x0, state, z = 1.2, 0.4, -0.7
    guess = J * state
    first_part = a * guess + b * state + c * z
    assert a * x0 + b * state + c * z == pytest.approx(first_part + a * (x0 - guess), abs=1e-15)


def test_17_13_by_two_steps() -> None:
    """The numbers that explain the first column: 0.506 and the slope 0.279, at t = 500."""
    abar = COSINE.alpha_bar[500]
    J = np.sqrt(abar) * 0.25 / (abar * 0.25 + 1 - abar)
    assert 1 - abar == pytest.approx(0.506, abs=5e-4)
    assert pytest.approx(0.279, abs=5e-4) == J
    for eta in ETAS:
        found = chain_var(ddim(COSINE, 2, eta), COSINE, 0.25)
        assert found == pytest.approx(J**2 * (1 - abar), rel=1e-4)  # J_T is 1e-5


def stale(
    table: Table, schedule: Schedule, y: np.ndarray, w: float, draws: dict[int, np.ndarray]
) -> np.ndarray:
    """The mistake as it is written in programs: clip the guess, go on with the network's eps."""
    model = oracle_eps(three_gaussians(), schedule)
    xt = draws[0]
    for k, (abar_t, abar_s) in enumerate(zip(*abars(table, schedule), strict=True)):
        t = int(table.t[k])
        c = table.rows[k, 4]
        eps = guide(model(xt, t, y), model(xt, t, np.full_like(y, 3)), w)
        x0 = np.clip((xt - np.sqrt(1 - abar_t) * eps) / np.sqrt(abar_t), -1, 1)
        xt = np.sqrt(abar_s) * x0 + np.sqrt(max(1 - abar_s - c**2, 0)) * eps + c * draws[k + 1]
    return xt


@pytest.mark.parametrize("eta", ETAS)
def test_17_14_by_the_mistake_written_out(eta: float) -> None:
    """Beside it the right chain, which differs; and where nothing is clipped, all are one."""
    model = oracle_eps(three_gaussians(), SCHEDULE)
    y = np.arange(30) % 3
    rng = np.random.default_rng(7)
    table = ddim(SCHEDULE, 7, eta)
    draws = {k: rng.standard_normal((30, 2)) for k in range(8)}
    wrong = run_with_stale_eps(model, y, table, SCHEDULE, 1.5, Given(draws), 1.0)
    np.testing.assert_allclose(wrong, stale(table, SCHEDULE, y, 1.5, draws), atol=ALGEBRA)
    right = run(model, y, table, 1.5, Given(draws), 1.0)
    assert np.abs(right - wrong).max() > 0.1
    far = run_with_stale_eps(model, y, table, SCHEDULE, 1.5, Given(draws), np.inf)
    np.testing.assert_allclose(far, run(model, y, table, 1.5, Given(draws)), atol=ALGEBRA)


def test_17_14_by_a_step_of_no_length() -> None:
    """Two times that are all but one: the right row stays where it is, the wrong one jumps."""
    schedule = Schedule(np.array([0.0, 0.5, 1e-12]))
    model = oracle_eps(three_gaussians(), schedule)
    x = np.array([[0.0, 4.0]])
    table = ddim(schedule)
    y = np.zeros(1, int)
    eps = model(x, 2, y)
    guess = (x - np.sqrt(0.5) * eps) / np.sqrt(0.5)
    assert guess[0, 1] > 2
    first = Table(table.t[:1], table.s[:1], table.rows[:1])
    stays = run(model, y, first, 0.0, Given({0: x}), 1.0)
    np.testing.assert_allclose(stays, x, atol=1e-11)
    jumps = run_with_stale_eps(model, y, first, schedule, 0.0, Given({0: x}), 1.0)
    np.testing.assert_allclose(jumps - x, np.sqrt(0.5) * (1 - guess) * [0, 1], atol=1e-11)


def test_17_14_by_the_example() -> None:
    """0.700 and 0.482 in the text: the jump from the right state to the wrong one."""
    schedule = Schedule(np.array([0.0, 0.2, 0.375]))
    table = ddim(schedule)
    first = Table(table.t[:1], table.s[:1], table.rows[:1])
    model = Script({(2, 0): -0.4343, (2, 1): 0.0535}, "eps")
    start = Given({0: np.full((1, 2), 0.4)})
    right = run(model, ONE, first, 1.0, start, 1.0)
    start = Given({0: np.full((1, 2), 0.4)})
    wrong = run_with_stale_eps(model, ONE, first, schedule, 1.0, start, 1.0)
    np.testing.assert_allclose(right, 0.700, atol=5e-4)
    np.testing.assert_allclose(wrong, 0.482, atol=5e-4)


def test_17_14_by_heights_in_the_text() -> None:
    """1,000 samples, seed 0, with a spread of 0.45 at most: 0.05 is 3.5 standard errors."""
    right = numbers_in_row("right")
    wrong = numbers_in_row("wrong")
    for n, good, bad in zip((10, 50, 250), right, wrong, strict=True):
        found = heights(ddim(COSINE, n), COSINE)
        np.testing.assert_allclose(found, (good, bad), atol=0.05)


def test_17_14_by_where_the_push_ends() -> None:
    """The guess of 3 at T, and at t = 700 a guess at the border and a state divided to -25."""
    model = oracle_eps(three_gaussians(), COSINE)
    y = np.zeros(200, int)
    rows = ddim(COSINE, 250)
    starts = np.random.default_rng(0)
    draws: dict[int, np.ndarray] = {0: starts.standard_normal((200, 2))}
    for last, guess_there, place in ((1000, 3.0, None), (700, 2.0, -25.3)):
        n = int((rows.t > last).sum())
        head = Table(rows.t[:n], rows.s[:n], rows.rows[:n])
        x = run_with_stale_eps(model, y, head, COSINE, 1.0, Given(dict(draws)), 2.0)
        eps = guide(model(x, last, y), model(x, last, np.full_like(y, 3)), 1.0)
        abar = COSINE.alpha_bar[last]
        guess = (x - np.sqrt(1 - abar) * eps) / np.sqrt(abar)
        assert guess[:, 1].mean() == pytest.approx(guess_there, abs=0.05)
        if place is not None:
            assert (x[:, 1] / np.sqrt(abar)).mean() == pytest.approx(place, abs=0.3)


def test_17_15_by_each_step() -> None:
    """The states of (3.2) divided, and a row of `ddim` divided, from the same two parts."""
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    tau = noise_variances(SCHEDULE)
    assert tau[13] == pytest.approx((1 - abar_t) / abar_t, abs=1e-15)
    eps = np.array([0.3, -1.1])
    divided = xt_from_x0(X0, eps, 13, SCHEDULE) / np.sqrt(abar_t)
    np.testing.assert_allclose(divided, X0 + np.sqrt(tau[13]) * eps, atol=1e-14)
    _, _, a, b, *_ = ddim(SCHEDULE, [13, 6]).rows[0]
    after = (a * X0 + b * xt_from_x0(X0, eps, 13, SCHEDULE)) / np.sqrt(abar_s)
    np.testing.assert_allclose(after, X0 + np.sqrt(tau[6]) * eps, atol=1e-14)
    found = ddim_without_noise(divided[None], eps[None], 13, 6, SCHEDULE)
    np.testing.assert_allclose(found[0], after, atol=1e-14)


@pytest.mark.parametrize(("t", "s"), [(20, 13), (13, 12), (4, 0)])
def test_17_15_by_rows_of_ddim(t: int, s: int) -> None:
    """A row for a network that predicts eps, and the same row for divided states."""
    rng = np.random.default_rng(8)
    xt, eps = rng.standard_normal((2, 5, 2))
    p, q, a, b, *_ = ddim(SCHEDULE, [t, s] if s else [t]).rows[0]
    wanted = (a * (p * xt + q * eps) + b * xt) / np.sqrt(SCHEDULE.alpha_bar[s])
    found = ddim_without_noise(xt / np.sqrt(SCHEDULE.alpha_bar[t]), eps, t, s, SCHEDULE)
    np.testing.assert_allclose(found, wanted, atol=1e-13)


def at_variance(tau: float) -> GaussianMixture:
    """MIXTURE with noise of variance tau added."""
    return GaussianMixture(MIXTURE.means, MIXTURE.covs + tau * np.eye(2), MIXTURE.weights)


def density(x: np.ndarray, tau: float, y: int = K) -> np.ndarray:
    return np.exp(at_variance(tau).log_density(x, None if y == K else y))


def velocity(x: np.ndarray, tau: float, y: int = K) -> np.ndarray:
    """The velocity from the oracle's eps, at a schedule whose t = 1 has this tau."""
    schedule = Schedule(np.array([0.0, tau / (1 + tau)]))
    eps = oracle_eps(MIXTURE, schedule)(x / np.sqrt(1 + tau), 1, np.full(len(x), y))
    return flow_velocity(eps, tau)


POINTS = np.random.default_rng(9).standard_normal((40, 2)) * 1.5


def test_17_16_by_each_step() -> None:
    """A short row over its change of tau; and the oracle's eps against a difference of log p."""
    tau = 0.6
    abar_s, abar_t = 1 / (1 + tau - 1e-6), 1 / (1 + tau)
    schedule = Schedule(np.array([0.0, 1 - abar_s, 1 - abar_t / abar_s]))
    eps = oracle_eps(MIXTURE, schedule)(np.sqrt(abar_t) * POINTS, 2, np.full(40, K))
    moved = ddim_without_noise(POINTS, eps, 2, 1, schedule) - POINTS
    assert np.sqrt(tau - 1e-6) - np.sqrt(tau) == pytest.approx(-1e-6 / (2 * np.sqrt(tau)), rel=1e-5)
    # The root's second derivative: 1e-6 / (4 tau) of the quotient; rounding 1e-16 / 1e-6.
    np.testing.assert_allclose(moved / -1e-6, eps / (2 * np.sqrt(tau)), atol=1e-5)
    np.testing.assert_allclose(moved / -1e-6, flow_velocity(eps, tau), atol=1e-5)
    h = 1e-5
    for k in range(2):
        move = h * np.eye(2)[k]
        up, down = (np.log(density(POINTS + sign * move, tau)) for sign in (1, -1))
        gradient = (up - down) / (2 * h)
        np.testing.assert_allclose(eps[:, k], -np.sqrt(tau) * gradient, atol=1e-8)


@pytest.mark.parametrize("y", [0, 1, K])
@pytest.mark.parametrize("tau", [0.05, 1.0, 30.0])
def test_17_16_by_differences(y: int, tau: float) -> None:
    """Minus half the gradient of the log density of data plus noise, without any schedule."""
    h = 1e-5
    gradient = np.stack(
        [
            np.log(density(POINTS + h * axis, tau, y)) - np.log(density(POINTS - h * axis, tau, y))
            for axis in np.eye(2)
        ],
        axis=1,
    ) / (2 * h)
    # h^2 times third derivatives up to 1e3 at tau = 0.05
    np.testing.assert_allclose(velocity(POINTS, tau, y), -gradient / 2, atol=1e-6)


def test_17_17_by_each_step() -> None:
    """An interval's balance by quadrature, the Gaussian's displays by sympy, and the gradient."""
    tau = 0.4
    slope = 1e-4

    def p(x: float, noise: float) -> float:
        parts = norm.pdf(x, [1.0, -1.0], np.sqrt(0.25 + noise))
        return float(parts.mean())

    def flux(x: float) -> float:  # p times the velocity; the velocity is minus half of p' / p
        return -(p(x + 1e-5, tau) - p(x - 1e-5, tau)) / 4e-5

    left, right = -0.3, 1.6
    grown = quad(lambda x: p(x, tau + slope) - p(x, tau - slope), left, right)[0] / (2 * slope)
    assert grown == pytest.approx(flux(left) - flux(right), abs=1e-7)
    inside = quad(lambda x: (flux(x + 1e-3) - flux(x - 1e-3)) / 2e-3, left, right)[0]
    assert flux(left) - flux(right) == pytest.approx(-inside, abs=1e-6)
    # the density itself, at a point: the continuity equation in one dimension
    x = 0.7
    change = (p(x, tau + slope) - p(x, tau - slope)) / (2 * slope)
    assert change == pytest.approx(-(flux(x + 1e-3) - flux(x - 1e-3)) / 2e-3, abs=1e-6)
    found = change_of_density(
        lambda x: np.array([p(float(x[0, 0]), tau)]),
        lambda x: np.array([[flux(float(x[0, 0])) / p(float(x[0, 0]), tau)]]),
        np.array([[x]]),
    )
    assert found[0] == pytest.approx(change, abs=1e-6)

    a, b, c, noise = sympy.symbols("a b c tau", positive=True)
    square = a**2 + b**2 + c**2
    g = (2 * sympy.pi * noise) ** sympy.Rational(-3, 2) * sympy.exp(-square / (2 * noise))
    rate = (square / (2 * noise**2) - 3 / (2 * noise)) * g
    assert sympy.simplify(sympy.diff(g, noise) - rate) == 0
    curvature = sum(sympy.diff(g, axis, 2) for axis in (a, b, c))
    assert sympy.simplify(curvature - (square / noise**2 - 3 / noise) * g) == 0
    assert sympy.simplify(rate - curvature / 2) == 0
    # The heat equation of the mixture, and its gradient as a product.
    h = 1e-3
    second = np.zeros(40)
    for axis in np.eye(2):
        up, here, down = (density(POINTS + s * h * axis, tau) for s in (1, 0, -1))
        second += (up - 2 * here + down) / h**2
        # Fourth derivatives of the density are below 1e2, so both differ by h^2 times 10.
        gradient = (up - down) / (2 * h)
        product = -2 * here * (velocity(POINTS, tau) @ axis)
        np.testing.assert_allclose(gradient, product, atol=1e-5)
    change = (density(POINTS, tau + slope) - density(POINTS, tau - slope)) / (2 * slope)
    np.testing.assert_allclose(change, second / 2, atol=1e-5)


@pytest.mark.parametrize("y", [0, K])
@pytest.mark.parametrize("tau", [0.05, 0.5, 5.0])
def test_17_17_by_the_change_of_the_density(y: int, tau: float) -> None:
    """The density of data plus noise at two variances, and the points that move with the oracle."""
    slope = 1e-4 * tau
    later, before = (density(POINTS, tau + s * slope, y) for s in (1, -1))
    wanted = (later - before) / (2 * slope)
    found = change_of_density(
        lambda x: density(x, tau, y), lambda x: velocity(x, tau, y), POINTS, 1e-4
    )
    # Differences of second order: 1e-8 times a third derivative of at most 1e3.
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(wanted).max() > 1e-3


def test_17_17_by_quantiles_along_paths() -> None:
    """SciPy's solution of (17.16) on a line keeps the fraction of the data below each point."""

    def velocity_of_two(tau: float, x: np.ndarray) -> np.ndarray:
        deviation = np.sqrt(0.25 + tau)
        parts = norm.pdf(x[:, None], [1.0, -1.0], deviation)
        slopes = -(x[:, None] - [1.0, -1.0]) / deviation**2
        return -(parts * slopes).sum(1) / parts.sum(1) / 2

    fraction = np.array([0.003, 0.2, 0.48, 0.7, 0.999])
    ends = quantiles_of_two_classes(fraction, 0.25)
    starts = quantiles_of_two_classes(fraction, 0.25 + 40.0)
    solved = solve_ivp(velocity_of_two, (40.0, 0.0), starts, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(solved.y[:, -1], ends, atol=1e-7)
    below = norm.cdf(ends[:, None], [1.0, -1.0], 0.5).mean(1)
    np.testing.assert_allclose(below, fraction, atol=1e-12)


def test_17_17_by_numbers_in_the_text() -> None:
    """The table of distances, and the loop `run` on the same starts."""
    wanted = numbers_in_row("mean distance")
    counts = (10, 20, 50, 100, 1000)
    found = [distance_without_noise(n) for n in counts]
    for value, number in zip(found, wanted, strict=True):
        assert value == pytest.approx(number, abs=5.01e-4 if number > 0.01 else 5.01e-5)
    data = GaussianMixture(
        np.array([[1.0, 0.0], [-1.0, 0.0]]), np.stack([np.eye(2) / 4] * 2), np.array([0.5, 0.5])
    )
    fraction = (np.arange(400) + 0.5) / 400
    start = Given({0: np.stack([norm.ppf(fraction), np.zeros(400)], axis=1)})
    x = run(oracle_eps(data, COSINE), np.full(400, 2), ddim(COSINE, 20), 0.0, start)
    ends = quantiles_of_two_classes(fraction, 0.25)
    assert np.abs(x[:, 0] - ends).mean() == pytest.approx(found[1], abs=1e-9)
