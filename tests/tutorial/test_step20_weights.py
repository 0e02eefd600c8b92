"""Step 20: the interval and the ramp row by row, CFG++ by its two lines of algorithm, as DDIM."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

import tutorial.step20_weights as lesson
from tests.tutorial.noise import Given
from tutorial.contract import Denoiser
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step13_tilted import moments_on_grid, tilted_on_grid
from tutorial.step14_modes import CLASS_OF, ModesOracle, fraction_below, two_modes
from tutorial.step16_log_snr import schedule_from
from tutorial.step17_solvers import (
    Table,
    chain_var,
    ddim,
    ddim_without_noise,
    ddpm,
    noise_variances,
    run,
)
from tutorial.step19_rules import top_class
from tutorial.step20_weights import (
    as_ddim,
    cfgpp,
    cfgpp_step,
    fraction_in_rare_mode,
    weights_of_ddim,
    with_interval,
    with_ramp,
)

SCHEDULE = Schedule.cosine(40)
Y = np.arange(30) % 3
MODEL = oracle_eps(three_gaussians(), SCHEDULE)
ALGEBRA = 1e-10  # float64, dozens of rows, and 1 / sqrt(abar_T) = 5e2


def chain(table: Table, w: float, model: Denoiser = MODEL) -> np.ndarray:
    return run(model, Y, table, w, np.random.default_rng(0))


def test_20_1_by_rows_one_by_one() -> None:
    table = ddpm(SCHEDULE, 13)
    ends = SCHEDULE.log_snr[table.t[9]], SCHEDULE.log_snr[table.t[4]]  # both are times of rows
    window = with_interval(table, SCHEDULE, float(ends[1]), float(ends[0]))
    assert window.rows[:, 7].tolist() == [0] * 4 + [1] * 5 + [0] * 4  # low is in it, high is not
    np.testing.assert_array_equal(window.rows[:, :7], table.rows[:, :7])
    assert (table.rows[:, 7] == 1).all()


def test_20_1_by_noise_level() -> None:
    """The source's sigma, noise over signal, in (0.5, 2]."""
    window = with_interval(ddim(SCHEDULE), SCHEDULE, -2 * np.log(2), -2 * np.log(0.5))
    sigma = np.sqrt((1 - SCHEDULE.alpha_bar) / SCHEDULE.alpha_bar)[window.t]
    np.testing.assert_array_equal(window.rows[:, 7], (sigma > 0.5) & (sigma <= 2))


def test_20_1_by_all_and_nothing() -> None:
    table = ddim(SCHEDULE, 10)
    everything = with_interval(table, SCHEDULE, -np.inf, np.inf)
    np.testing.assert_array_equal(everything.rows, table.rows)
    nothing = with_interval(table, SCHEDULE, 1.0, 1.0)
    np.testing.assert_array_equal(chain(nothing, 3.0), chain(table, 0.0))
    twice = with_interval(with_interval(table, SCHEDULE, -2.0, 2.0), SCHEDULE, 0.0, 4.0)
    np.testing.assert_array_equal(twice.rows, with_interval(table, SCHEDULE, 0.0, 2.0).rows)


@pytest.mark.parametrize(
    ("low", "high", "height", "var_y"),
    [(-np.inf, -2.0, 2.19, 0.145), (-2.0, 2.0, 1.97, 0.063), (2.0, np.inf, 1.52, 0.208)],
)
def test_20_1_by_samples(low: float, high: float, height: float, var_y: float) -> None:
    schedule = Schedule.cosine(1000)
    x = top_class(table=with_interval(ddim(schedule, 50), schedule, low, high), n=2000)
    assert x[:, 1].mean() == pytest.approx(height, abs=5 * (var_y / 2000) ** 0.5)
    assert x[:, 1].var() == pytest.approx(var_y, rel=5 * (4 / 2000) ** 0.5)


def test_20_1_by_counts_in_the_text() -> None:
    """Evaluations: one in each of 50 rows, and one more in each row that is guided."""
    schedule = Schedule.cosine(1000)
    for low, high, wanted in ((-np.inf, -2.0, 62), (-2.0, 2.0, 78), (2.0, np.inf, 60)):
        table = with_interval(ddim(schedule, 50), schedule, low, high)
        assert 50 + np.count_nonzero(table.rows[:, 7]) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("other", [0, -4, 4])
def test_20_1_by_modes_in_the_text(other: int) -> None:
    """The row of the table; one of 2,000 starts more or less is 0.0005."""
    schedule = Schedule.cosine(1000)
    plain = ddim(schedule, 50)
    tables = (
        with_interval(plain, schedule, 0.0, 0.0),
        plain,
        with_interval(plain, schedule, -np.inf, -2.0),
        with_interval(plain, schedule, -2.0, 2.0),
        with_interval(plain, schedule, 2.0, np.inf),
        with_ramp(plain, schedule, 0.0, 2.0),
    )
    found = [fraction_in_rare_mode(table, schedule, float(other), 3.0) for table in tables]
    np.testing.assert_allclose(found, numbers_in_row(str(other)), atol=1.01e-3)


def test_20_1_by_modes_without_guidance() -> None:
    """Shorter steps of the same schedule end with the fraction of the data, 0.300."""
    schedule = Schedule.cosine(1000)
    found = [fraction_in_rare_mode(ddim(schedule, n), schedule, 0.0, 0.0) for n in (50, 500)]
    np.testing.assert_allclose(found, [0.297, 0.300], atol=6e-4)


def test_20_1_by_variances_without_guidance() -> None:
    """Both variances in the first row of the table, within three of the standard errors named."""
    schedule = Schedule.cosine(1000)
    exact = chain_var(ddim(schedule, 50), schedule, 0.25)
    assert exact == pytest.approx(0.235, abs=5e-4)
    _, across, along = numbers_in_row("no guidance, $w = 0$")
    np.testing.assert_allclose([across, along], exact, rtol=3 * 0.022)


@pytest.mark.slow
def test_20_1_by_modes_of_step_14() -> None:
    """The boundary of step 14, by bisection, where the weight is constant: its table has 0.198."""
    schedule = Schedule.cosine(250)
    found = fraction_in_rare_mode(ddim(schedule), schedule, 0.0, 3.0)
    wanted = fraction_below(ModesOracle(two_modes(), CLASS_OF, schedule), 0, schedule, 3.0)
    assert found == pytest.approx(wanted, abs=1e-3)


def top_class_guided_near_the_data(steps: int) -> np.ndarray:
    """Mean height and both variances of DDIM from log SNR 2 on, by quadrature over the start.

    The start has the distribution of the noised class. The end is a smooth function of it, so
    24 Gauss-Hermite nodes per axis give all digits that are compared.
    """
    schedule = schedule_from(np.linspace(2.0, 14.0, steps))
    z, weight = np.polynomial.hermite_e.hermegauss(24)
    nodes = np.stack(np.meshgrid(z, z), -1).reshape(-1, 2)
    weights = np.outer(weight, weight).ravel() / weight.sum() ** 2
    abar = schedule.alpha_bar[-1]
    start = np.sqrt(abar) * np.array([0.0, 1.5]) + np.sqrt(abar / 4 + 1 - abar) * nodes
    model = oracle_eps(three_gaussians(), schedule)
    table = with_interval(ddim(schedule), schedule, 2.0 - 1e-9, np.inf)
    x = run(model, np.zeros(len(nodes), int), table, 3.0, Given({0: start}))
    mean, cov = moments_on_grid(x, weights)
    return np.array([mean[1], cov[0, 0], cov[1, 1]])


def test_20_1_by_the_tilted_distribution() -> None:
    """With short steps the guided end of the chain is near the tilted distribution, but not it.

    DDIM is of first order, so twice the values of 400 steps minus those of 200 have an error of
    the order 1e-5.
    """
    found = 2 * top_class_guided_near_the_data(400) - top_class_guided_near_the_data(200)
    np.testing.assert_allclose(found, [1.518, 0.239, 0.221], atol=6e-4)
    mean, cov = moments_on_grid(*tilted_on_grid(three_gaussians(), 0, 3.0))
    tilted = np.array([mean[1], cov[0, 0], cov[1, 1]])
    np.testing.assert_allclose(tilted, [1.526, 0.241, 0.226], atol=6e-4)
    assert (np.abs(found - tilted) > 1e-3).all()
    assert (np.abs(found - tilted) < 0.01).all()


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (float("nan"), 1.0), (0.0, float("nan"))])
def test_20_1_by_refusal(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=f"low = {low} is not at most high = {high}"):
        with_interval(ddim(SCHEDULE, 5), SCHEDULE, low, high)


def numbers_in_row(name: str) -> list[float]:
    """The numbers of the row of the table in the text that begins with `name`."""
    row = re.search(rf"\n\| {re.escape(name)} \|(.*)\|\n", lesson.__doc__ or "")
    assert row is not None
    return [float(number) for number in row[1].split("|")]


def test_20_2_by_each_step() -> None:
    """The ratio of noise to signal is the root of step 17's variance, and the two ends."""
    t = np.array([1, 7, 20, 39])
    abar = SCHEDULE.alpha_bar[t]
    sigma = np.sqrt((1 - abar) / abar)
    np.testing.assert_allclose(sigma**2, noise_variances(SCHEDULE)[t], rtol=1e-13)
    np.testing.assert_allclose(SCHEDULE.log_snr[t], -2 * np.log(sigma), rtol=1e-12)
    low, high = -2 * np.log(2.0), -2 * np.log(0.5)
    np.testing.assert_allclose([low, high], [-1.386, 1.386], atol=5e-4)


def test_20_2_by_fractions() -> None:
    """A weight in exact arithmetic for each row, beside a column that was there."""
    table = with_interval(ddim(SCHEDULE, 8), SCHEDULE, -3.0, np.inf)
    before = table.rows[:, 7].copy()
    found = with_ramp(table, SCHEDULE, 0.5, 2.0)
    exact = [2 - Fraction(3, 2) * Fraction(int(t), 40) for t in table.t]
    np.testing.assert_allclose(found.rows[:, 7], [float(m) for m in exact] * before, atol=1e-15)
    np.testing.assert_array_equal(found.rows[:, :7], table.rows[:, :7])
    np.testing.assert_array_equal(table.rows[:, 7], before)
    late = with_ramp(ddim(SCHEDULE, [20, 10]), SCHEDULE, 0.0, 2.0)  # T counts, not the first row
    np.testing.assert_allclose(late.rows[:, 7], [1.0, 1.5], atol=1e-15)


def test_20_2_by_its_ends() -> None:
    """Equal ends are a factor of w. At T the weight is the first one, and only there."""
    table = ddim(SCHEDULE, 10)
    flat = with_ramp(table, SCHEDULE, 2.0, 2.0)
    np.testing.assert_allclose(chain(flat, 1.5), chain(table, 3.0), atol=ALGEBRA)
    one = ddim(SCHEDULE, 1)
    np.testing.assert_allclose(
        chain(with_ramp(one, SCHEDULE, 0.0, 5.0), 2.0), chain(one, 0.0), atol=ALGEBRA
    )


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("ramp, $m_T = 0$ and $m_0 = 2$", 0.0, 2.0), ("ramp, $m_T = 2$ and $m_0 = 0$", 2.0, 0.0)],
)
def test_20_2_by_samples(name: str, first: float, last: float) -> None:
    """The rows of the text, with 2,000 of the 4,000 samples, within five standard errors."""
    schedule = Schedule.cosine(1000)
    height, var_x, var_y = numbers_in_row(name)
    x = top_class(table=with_ramp(ddim(schedule, 50), schedule, first, last), n=2000)
    assert x[:, 1].mean() == pytest.approx(height, abs=5 * (var_y / 2000) ** 0.5)
    np.testing.assert_allclose(x.var(0), (var_x, var_y), rtol=5 * (2 / 2000) ** 0.5)


@pytest.mark.parametrize(("first", "last"), [(float("nan"), 1.0), (0.0, float("inf"))])
def test_20_2_by_refusal(first: float, last: float) -> None:
    with pytest.raises(ValueError, match=f"first = {first}, last = {last}: both ends"):
        with_ramp(ddim(SCHEDULE, 5), SCHEDULE, first, last)


@dataclass
class InUnit:
    """The oracle, its answer put into another unit by (3.2) and (5.4)."""

    prediction: str
    num_classes: int = 3

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
        signal = SCHEDULE.alpha_bar[t] ** 0.5
        noise = (1 - SCHEDULE.alpha_bar[t]) ** 0.5
        eps = MODEL(xt, t, y)
        x0 = (xt - noise * eps) / signal
        return {"eps": eps, "x0": x0, "v": signal * eps - noise * x0}[self.prediction]


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("scale", [0.0, 0.6, 1.0])
def test_20_3_by_the_papers_algorithm(scale: float, prediction: str) -> None:
    """Guess with the mix of this scale, renoise with the null eps, from the oracle's eps alone."""
    x = np.random.default_rng(0).standard_normal((30, 2))
    null = np.full(30, 3)
    for t, s in zip(range(40, 0, -4), range(36, -1, -4), strict=True):
        eps_null = MODEL(x, t, null)
        eps_y = MODEL(x, t, Y)
        mix = eps_null + scale * (eps_y - eps_null)
        abar_t, abar_s = SCHEDULE.alpha_bar[[t, s]]
        x0 = (x - np.sqrt(1 - abar_t) * mix) / np.sqrt(abar_t)
        xs = np.sqrt(abar_s) * x0 + np.sqrt(1 - abar_s) * eps_null
        step = cfgpp_step(x, eps_y, eps_null, t, s, scale - 1, SCHEDULE)
        np.testing.assert_allclose(step, xs, atol=ALGEBRA)
        x = xs
    found = chain(cfgpp(SCHEDULE, 10, prediction), scale - 1, InUnit(prediction))
    np.testing.assert_allclose(found, x, atol=ALGEBRA)


def test_20_3_by_each_step() -> None:
    """The loss of a candidate, a step down its gradient, and the guess of step 11."""
    rng = np.random.default_rng(5)
    xt, candidate = rng.standard_normal((2, 1, 2))
    t, y = 24, np.zeros(1, int)
    abar = SCHEDULE.alpha_bar[t]
    eps_y, eps_null = MODEL(xt, t, y), MODEL(xt, t, y + 3)
    x_y, x_null = ((xt - np.sqrt(1 - abar) * eps) / np.sqrt(abar) for eps in (eps_y, eps_null))

    def loss(x: np.ndarray) -> float:
        eps = (xt - np.sqrt(abar) * x) / np.sqrt(1 - abar)
        return float(((eps - eps_y) ** 2).sum())

    factor = abar / (1 - abar)
    assert loss(candidate) == pytest.approx(factor * ((candidate - x_y) ** 2).sum(), rel=1e-12)
    h = 1e-5
    changes = [loss(x_null + h * axis) - loss(x_null - h * axis) for axis in np.eye(2)]
    gradient = np.array([changes]) / (2 * h)
    # A difference of a quadratic function has no error but rounding, 1e-16 / h.
    np.testing.assert_allclose(gradient, 2 * factor * (x_null - x_y), atol=1e-9)
    multiple = 0.6 / (2 * factor)
    moved = x_null - multiple * gradient
    np.testing.assert_allclose(moved, x_null + 0.6 * (x_y - x_null), atol=1e-9)
    mix = 0.6 * eps_y + 0.4 * eps_null
    np.testing.assert_allclose(moved, (xt - np.sqrt(1 - abar) * mix) / np.sqrt(abar), atol=1e-9)


def test_20_3_by_step_11() -> None:
    """At w = -1 the step is DDIM without a label, and to s = 0 it is the guided guess."""
    rng = np.random.default_rng(1)
    xt, eps_y, eps_null = rng.standard_normal((3, 5, 2))
    abar_t, abar_s = SCHEDULE.alpha_bar[[24, 12]]
    x0 = (xt - np.sqrt(1 - abar_t) * eps_null) / np.sqrt(abar_t)
    wanted = np.sqrt(abar_s) * x0 + np.sqrt(1 - abar_s) * eps_null
    found = cfgpp_step(xt, eps_y, eps_null, 24, 12, -1.0, SCHEDULE)
    np.testing.assert_allclose(found, wanted, atol=1e-13)
    mix = 0.6 * eps_y + 0.4 * eps_null
    wanted = (xt - np.sqrt(1 - abar_t) * mix) / np.sqrt(abar_t)
    found = cfgpp_step(xt, eps_y, eps_null, 24, 0, -0.4, SCHEDULE)
    np.testing.assert_allclose(found, wanted, atol=1e-13)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_20_4_by_one_step(prediction: str) -> None:
    """A row of the table in each unit, and the step that is written out for eps."""
    xt = np.random.default_rng(2).standard_normal((30, 2))
    null = np.full(30, 3)
    model = InUnit(prediction)
    table = cfgpp(SCHEDULE, [24, 12], prediction)
    p, q, a, b, c, d, e, m = table.rows[0]
    g_y, g_null = model(xt, 24, Y), model(xt, 24, null)
    x0hat = p * xt + q * (0.6 * g_y + 0.4 * g_null)
    found = a * x0hat + b * xt + d * g_null
    wanted = cfgpp_step(xt, MODEL(xt, 24, Y), MODEL(xt, 24, null), 24, 12, -0.4, SCHEDULE)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert (c, e, m) == (0, 0, 1)


CLOSED = {  # eps from x_t and from the output, for each unit, with abar
    "eps": lambda abar: (0.0, 1.0),
    "x0": lambda abar: (1 / np.sqrt(1 - abar), -np.sqrt(abar / (1 - abar))),
    "v": lambda abar: (np.sqrt(1 - abar), np.sqrt(abar)),
}


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_20_4_by_closed_forms(prediction: str) -> None:
    table = cfgpp(SCHEDULE, 8, prediction)
    noise = np.sqrt(1 - SCHEDULE.alpha_bar[table.s])
    of_xt, _ = CLOSED[prediction](SCHEDULE.alpha_bar[table.t])
    np.testing.assert_allclose(table.rows[:, 3], noise * of_xt, atol=1e-12)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_20_5_by_closed_forms(prediction: str) -> None:
    table = cfgpp(SCHEDULE, 8, prediction)
    noise = np.sqrt(1 - SCHEDULE.alpha_bar[table.s])
    _, of_output = CLOSED[prediction](SCHEDULE.alpha_bar[table.t])
    np.testing.assert_allclose(table.rows[:, 5], noise * of_output, atol=1e-12)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_20_5_by_differences(prediction: str) -> None:
    """At w = 0 the null output acts through d alone: two of them, and the step written out."""
    p, q, _, _, _, d, *_ = cfgpp(SCHEDULE, [24, 12], prediction).rows[0]
    p_eps, q_eps = cfgpp(SCHEDULE, [24, 12]).rows[0, :2]
    xt = np.zeros((1, 2))
    ends: list[np.ndarray] = []
    for g in (0.3, 1.7):
        eps_null = (p * xt + q * g - p_eps * xt) / q_eps
        ends.append(cfgpp_step(xt, xt, eps_null, 24, 12, 0.0, SCHEDULE))
    np.testing.assert_allclose(ends[1] - ends[0], d * 1.4, atol=1e-13)


def test_20_4_by_each_step() -> None:
    """The guess without a label from eps and from v, and eps from the output v."""
    xt = np.random.default_rng(3).standard_normal((30, 2))
    null = np.full(30, 3)
    abar = SCHEDULE.alpha_bar[24]
    p, q = np.sqrt(abar), -np.sqrt(1 - abar)
    p_eps, q_eps = 1 / np.sqrt(abar), -np.sqrt(1 - abar) / np.sqrt(abar)
    g, eps = InUnit("v")(xt, 24, null), MODEL(xt, 24, null)
    np.testing.assert_allclose(p * xt + q * g, p_eps * xt + q_eps * eps, atol=1e-12)
    noise = np.sqrt(1 - SCHEDULE.alpha_bar[12])
    _, _, _, b, _, d, _, _ = cfgpp(SCHEDULE, [24, 12], "v").rows[0]
    np.testing.assert_allclose(b * xt + d * g, noise * eps, atol=1e-12)


def test_20_6_by_each_step() -> None:
    """Both displayed steps in units of the signal, against the rows of DDIM and of CFG++."""
    rng = np.random.default_rng(4)
    xt, eps_y, eps_null = rng.standard_normal((3, 5, 2))
    t, s, w, scale = 24, 12, -0.4, 2.3
    signal = np.sqrt(SCHEDULE.alpha_bar)
    sigma = np.sqrt(1 - SCHEDULE.alpha_bar) / signal
    bar = xt / signal[t]
    guess = (xt - np.sqrt(1 - signal[t] ** 2) * eps_y) / signal[t]
    np.testing.assert_allclose(guess, bar - sigma[t] * eps_y, atol=1e-12)
    after = ddim_without_noise(bar, eps_y, t, s, SCHEDULE)
    np.testing.assert_allclose(after, guess + sigma[s] * eps_y, atol=1e-12)
    equal = sigma[t] * (1 + w) / (sigma[t] - sigma[s])
    assert (sigma[t] - sigma[s]) * equal == pytest.approx(sigma[t] * (1 + w), rel=1e-14)
    assert weights_of_ddim(w, Schedule.cosine(40), 20)[8] == pytest.approx(
        (1 + w) * sigma[24] / (sigma[24] - sigma[22]) - 1, rel=1e-12
    )
    p, q, a, b, *_ = ddim(SCHEDULE, [t, s]).rows[0]
    mix = eps_null + scale * (eps_y - eps_null)
    moved = (a * (p * xt + q * mix) + b * xt) / signal[s] - bar
    np.testing.assert_allclose(moved, -(sigma[t] - sigma[s]) * mix, atol=1e-12)
    moved = cfgpp_step(xt, eps_y, eps_null, t, s, w, SCHEDULE) / signal[s] - bar
    first = -sigma[t] * (eps_null + (1 + w) * (eps_y - eps_null)) + sigma[s] * eps_null
    np.testing.assert_allclose(moved, first, atol=1e-12)
    second = -(sigma[t] - sigma[s]) * eps_null - sigma[t] * (1 + w) * (eps_y - eps_null)
    np.testing.assert_allclose(moved, second, atol=1e-12)


def test_20_6_by_the_example() -> None:
    """sigma = 2 and 1.5, where a scale of 0.6 becomes 2.4."""
    abar = 1 / (1 + np.array([0.0, 1.5, 2.0]) ** 2)
    schedule = Schedule(np.concatenate([[0.0], 1 - abar[1:] / abar[:-1]]))
    found = weights_of_ddim(-0.4, schedule, 2)
    np.testing.assert_allclose(found, [1.4, -0.4], atol=1e-12)


def test_20_3_by_its_ends() -> None:
    """w = -1 is the unconditional DDIM; one row is plain guidance; more rows at w = 0 are not."""
    plain = ddim(SCHEDULE, 10)
    np.testing.assert_allclose(chain(cfgpp(SCHEDULE, 10), -1.0), chain(plain, -1.0), atol=ALGEBRA)
    one = chain(cfgpp(SCHEDULE, 1), -0.4)
    np.testing.assert_allclose(one, chain(ddim(SCHEDULE, 1), -0.4), atol=ALGEBRA)
    assert np.abs(chain(cfgpp(SCHEDULE, 10), 0.0) - chain(plain, 0.0)).max() > 0.1


def test_20_3_by_samples() -> None:
    schedule = Schedule.cosine(1000)
    for n, height, var_y in ((10, 1.75, 0.073), (50, 2.47, 0.036), (200, 3.39, 0.019)):
        x = top_class(w=-0.4, table=cfgpp(schedule, n), n=500)
        assert x[:, 1].mean() == pytest.approx(height, abs=5 * (var_y / 500) ** 0.5)


@pytest.mark.parametrize("w", [-1.0, -0.4, 0.0])
def test_20_6_by_ddim_with_these_weights(w: float) -> None:
    """The same samples, through a table whose m is the weight."""
    table = ddim(SCHEDULE, 10)
    rows = np.column_stack([table.rows[:, :7], weights_of_ddim(w, SCHEDULE, 10)])
    weighted = chain(Table(table.t, table.s, rows), 1.0)
    np.testing.assert_allclose(weighted, chain(cfgpp(SCHEDULE, 10), w), atol=ALGEBRA)


def test_20_6_by_numbers_in_the_text() -> None:
    for n, scale in ((50, 5.839), (1000, 109.83)):
        found = weights_of_ddim(-0.4, Schedule.linear(1000), n)
        assert 1 + found[n // 2] == pytest.approx(scale, rel=1e-4)
        assert found[-1] == pytest.approx(-0.4, abs=1e-15)


def test_20_6_by_growth() -> None:
    """Twice as many rows, twice the scale, in the limit: 2 at t = T / 2 within 1%."""
    half, full = (1 + weights_of_ddim(-0.4, Schedule.linear(1000), n)[n // 2] for n in (500, 1000))
    assert full / half == pytest.approx(2, rel=0.01)


def test_20_7_by_each_step() -> None:
    """(20.6) solved for the scale of CFG++, and the ratio of the two noise levels."""
    t, s = 24, 22
    sigma = np.sqrt(noise_variances(SCHEDULE))
    ratio = sigma[s] / sigma[t]
    assert ratio == pytest.approx(
        np.exp(-(SCHEDULE.log_snr[s] - SCHEDULE.log_snr[t]) / 2), rel=1e-12
    )
    solved = 2.5 * (1 - ratio)
    again = 1 + weights_of_ddim(solved - 1, SCHEDULE, 20)[8]
    assert again == pytest.approx(2.5, rel=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0])
def test_20_7_by_samples_of_ddim(scale: float) -> None:
    found = chain(as_ddim(cfgpp(SCHEDULE, 10), SCHEDULE, scale), 1.0)
    np.testing.assert_allclose(found, chain(ddim(SCHEDULE, 10), scale - 1), atol=ALGEBRA)


def test_20_7_by_there_and_back() -> None:
    """(20.6) undoes it: a fixed scale of DDIM's, to the weight of CFG++, to DDIM's."""
    table = as_ddim(cfgpp(SCHEDULE, 10), SCHEDULE, 2.5)
    for k, m in enumerate(table.rows[:, 7]):
        assert 1 + weights_of_ddim(m, SCHEDULE, 10)[k] == pytest.approx(2.5, rel=1e-12)
