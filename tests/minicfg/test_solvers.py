"""Every row is the lecture's step; times are exact; the network's three outputs say the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels import guided_step, philox
from minicfg import Schedule, guide, solvers
from minicfg.errors import UsageError
from minicfg.sampling import sample, sample_steps
from minicfg.schedule import log_snr_grid
from tutorial import (
    step16_log_snr,
    step17_solvers,
    step18_dpmpp,
    step20_weights,
    step21_flow,
)
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule as LectureSchedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import mean_x0, oracle_eps, x0_coefficients


class Affine:
    """Not a good denoiser: a fixed affine function of `x_t`, another for each label and time."""

    num_classes = 2
    prediction = "eps"

    def __call__(self, xt: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 0.3 * xt + 0.2 * (1 + y)[:, None] + 0.01 * t[:, None]


def test_full_ddpm_rows_are_the_lectures_posterior() -> None:
    table, lecture = solvers.ddpm(Schedule.cosine(50)), LectureSchedule.cosine(50)
    for row, t in zip(table.rows.tolist(), table.t.tolist(), strict=True):
        c_0, c_t, var = posterior_coefficients(t, lecture)
        # a, b, c of the same formula by other operations (1 - abar_t/abar_s for beta_t): the
        # difference loses digits where beta is small, at worst 1e-16 / beta_1 of a relative error.
        np.testing.assert_allclose(row[2:5], [c_0, c_t, np.sqrt(var)], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_rows_begin_with_the_lectures_guess_at_t(prediction: solvers.Prediction) -> None:
    table, lecture = solvers.ddpm(Schedule.cosine(50), 7, prediction), LectureSchedule.cosine(50)
    wanted = [x0_coefficients(t, lecture, prediction) for t in table.t.tolist()]
    # Both are a root and a quotient of the same alpha_bar: a few roundings.
    np.testing.assert_allclose(table.rows[:, :2], wanted, rtol=1e-14)


def test_strided_ddpm_rows_are_a_shorter_chain() -> None:
    """Visiting every fifth time is the full chain of the schedule that keeps those `alpha_bar`."""
    schedule = Schedule.linear(100)
    kept = schedule.alpha_bar[::5]
    coarse = Schedule(torch.cat([torch.zeros(1, dtype=torch.float64), 1 - kept[1:] / kept[:-1]]))
    strided, full = solvers.ddpm(schedule, 20), solvers.ddpm(coarse)
    torch.testing.assert_close(strided.rows, full.rows, rtol=1e-10, atol=1e-12)


def test_last_row_lands_on_the_guess_without_noise() -> None:
    for steps in (1, 7, 100):
        table = solvers.ddpm(Schedule.linear(100), steps)
        _, _, a, b, c, d, e, m = table.rows[-1].tolist()
        assert a == pytest.approx(1, abs=1e-12)
        assert (b, c, d, e, m) == (0, 0, 0, 0, 1)


@given(st.integers(1, 300).flatmap(lambda T: st.tuples(st.just(T), st.integers(1, T))))
def test_times_are_exact(case: tuple[int, int]) -> None:
    """From T to 0, strictly down, `steps` of them, none further from even spacing than a half."""
    T, steps = case
    t, s = solvers.times(Schedule.linear(T), steps)
    assert (len(t), int(t[0]), int(s[-1])) == (steps, T, 0)
    assert (t > s).all()
    assert torch.equal(t[1:], s[:-1])
    even = torch.arange(steps, 0, -1) * T / steps
    assert (t - even).abs().max() <= 0.5


@pytest.mark.parametrize("steps", [0, -1, 11, True, [], [3, 3], [1, 2], [11, 1], [5, 0]])
def test_steps_are_refused(steps: int | list[int]) -> None:
    with pytest.raises(UsageError, match=r"steps = .*1\.\.10"):
        solvers.ddpm(Schedule.linear(10), steps)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("prediction", ["score", "EPS", "flow", "x1"])
def test_prediction_is_refused(prediction: solvers.Prediction) -> None:
    with pytest.raises(
        UsageError, match=f"prediction = '{prediction}' is unknown: use eps, x0, v or velocity"
    ):
        solvers.ddpm(Schedule.linear(10), 5, prediction=prediction)


@given(st.integers(1, 40), st.floats(-3, 3), st.floats(-3, 3))
def test_predictions_say_the_same(t: int, x0: float, eps: float) -> None:
    """From the true output of any kind, at the same x_t, a row finds the same x_0."""
    schedule = Schedule.cosine(40)
    abar = schedule.alpha_bar[t : t + 1]
    signal, noise = float(abar.sqrt()), float((1 - abar).sqrt())
    xt = signal * x0 + noise * eps
    outs = {"eps": eps, "x0": x0, "v": signal * eps - noise * x0, "velocity": eps - x0}
    for prediction, out in outs.items():
        p, q = solvers.x0_coefficients(abar, prediction)  # pyright: ignore[reportArgumentType]
        # eps is divided by the signal, which at t = T is 5e-4 here: 1e-16 / 5e-4, and room.
        assert float(p * xt + q * out) == pytest.approx(x0, abs=1e-11)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [1, 2, 7, 60, [60, 31, 30, 2]])
@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_tables_are_the_lectures(
    kind: str, steps: int | list[int], prediction: solvers.Prediction
) -> None:
    schedule, lecture = Schedule.named(kind, 60), getattr(LectureSchedule, kind)(60)
    pairs = [
        (
            solvers.ddpm(schedule, steps, prediction),
            step17_solvers.ddpm(lecture, steps, prediction),
        ),
        (
            solvers.dpmpp_2m(schedule, steps, prediction),
            step18_dpmpp.dpmpp_2m(lecture, steps, prediction),
        ),
        (
            solvers.cfgpp(schedule, steps, prediction),
            step20_weights.cfgpp(lecture, steps, prediction),
        ),
    ]
    pairs += [
        (
            solvers.ddim(schedule, steps, prediction, eta),
            step17_solvers.ddim(lecture, steps, eta, prediction),
        )
        for eta in (0.0, 0.5, 1.0)
    ]
    for ours, lectures in pairs:
        assert ours.t.tolist() == list(lectures.t) and ours.s.tolist() == list(lectures.s)
        # The same operations but for the order of some, on the same alpha_bar.
        np.testing.assert_allclose(ours.rows.numpy(), lectures.rows, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("steps", [1, 2, 50, None])
def test_ddim_with_all_noise_is_ddpm(steps: int | None) -> None:
    schedule = Schedule.cosine(1000)
    torch.testing.assert_close(
        solvers.ddim(schedule, steps, eta=1.0).rows,
        solvers.ddpm(schedule, steps).rows,
        rtol=1e-12,
        atol=1e-12,  # `a` is a difference of numbers up to 1 in one, a product in the other
    )


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan"), float("inf")])
def test_eta_is_refused(eta: float) -> None:
    with pytest.raises(UsageError, match=rf"eta = {eta} is outside 0\.\.1"):
        solvers.ddim(Schedule.linear(10), 5, eta=eta)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "velocity"])
def test_cfgpp_says_the_same_in_every_unit(prediction: solvers.Prediction) -> None:
    """At a true x_t the null output, in any unit, is put back as the noise that is in there."""
    schedule, x0, eps = Schedule.cosine(40), 0.7, -1.2
    table = solvers.cfgpp(schedule, 9, prediction)
    for t, s, row in zip(table.t, table.s, table.rows.tolist(), strict=True):
        signal, noise = (
            float(schedule.alpha_bar[t].sqrt()),
            float((1 - schedule.alpha_bar[t]).sqrt()),
        )
        xt = signal * x0 + noise * eps
        v = signal * eps - noise * x0
        null = {"eps": eps, "x0": x0, "v": v, "velocity": eps - x0}[prediction]
        p, q, a, b, c, d, e, m = row
        abar = float(schedule.alpha_bar[s])
        wanted = abar**0.5 * x0 + (1 - abar) ** 0.5 * eps
        assert a * (p * xt + q * null) + b * xt + d * null == pytest.approx(wanted, abs=1e-11)
        assert (c, e, m) == (0, 0, 1)


@pytest.mark.parametrize("w", [-1.0, -0.4])
def test_cfgpp_is_ddim_at_the_lectures_weights(w: float) -> None:
    schedule, y = Schedule.cosine(40), torch.tensor([0, 1, 1])
    table = solvers.ddim(schedule, 9)
    rows = table.rows.clone()
    weights = step20_weights.weights_of_ddim(w, LectureSchedule.cosine(40), 9)
    rows[:, 7] = torch.from_numpy(weights)
    found = sample(Affine(), y, solvers.cfgpp(schedule, 9), shape=(5,), w=w)
    weighted = solvers.Table(table.t, table.s, rows)
    # float32, nine rows, with 1 / signal = 27 in the first
    torch.testing.assert_close(
        found, sample(Affine(), y, weighted, shape=(5,), w=1.0), rtol=1e-4, atol=1e-4
    )


def test_the_weight_of_cfgpp_is_in_its_range() -> None:
    table = solvers.cfgpp(Schedule.linear(10), 5)
    for w in (-1.0, 0.0, torch.tensor([-1.0, -0.3, 0.0])):
        solvers.check_w_of_table(table, w)
    for w in (-1.01, 2.0, torch.tensor([-0.3, 0.5])):
        with pytest.raises(UsageError, match=r"w = .* is outside -1\.\.0, the range of this table"):
            solvers.check_w_of_table(table, w)
        solvers.check_w_of_table(solvers.ddim(Schedule.linear(10), 5), w)


@pytest.mark.usefixtures("unchecked")
def test_cfgpp_refuses_a_prediction() -> None:
    with pytest.raises(
        UsageError, match="prediction = 'score' is unknown: use eps, x0, v or velocity"
    ):
        solvers.cfgpp(Schedule.linear(10), 5, prediction="score")  # pyright: ignore


@pytest.mark.parametrize(
    ("low", "high"), [(-2.0, 2.0), (-float("inf"), 0.0), (0.0, float("inf")), (1.0, 1.0)]
)
def test_interval_is_the_lectures(low: float, high: float) -> None:
    table, lecture = solvers.ddim(Schedule.cosine(60)), LectureSchedule.cosine(60)
    ours = solvers.with_interval(table, Schedule.cosine(60), low, high)
    wanted = step20_weights.with_interval(step17_solvers.ddim(lecture), lecture, low, high)
    assert ours.rows[:, 7].tolist() == wanted.rows[:, 7].tolist()
    assert torch.equal(ours.rows[:, :7], table.rows[:, :7]) and bool((table.rows[:, 7] == 1).all())


def test_interval_of_everything_and_of_nothing() -> None:
    schedule, y, inf = Schedule.cosine(40), torch.tensor([0, 1, 1]), float("inf")
    table = solvers.ddim(schedule, 9)
    guided, plain = (sample(Affine(), y, table, shape=(5,), w=w) for w in (2.0, 0.0))
    everything = solvers.with_interval(table, schedule, -inf, inf)
    assert torch.equal(sample(Affine(), y, everything, shape=(5,), w=2.0), guided)
    nothing = solvers.with_interval(table, schedule, 0.0, 0.0)
    assert torch.equal(sample(Affine(), y, nothing, shape=(5,), w=2.0), plain)


def test_interval_is_refused() -> None:
    schedule = Schedule.cosine(40)
    for low, high in ((1.0, 0.0), (float("nan"), 0.0)):
        with pytest.raises(UsageError, match=f"low = {low}, high = {high}; pass log SNRs"):
            solvers.with_interval(solvers.ddim(schedule, 9), schedule, low, high)


@pytest.mark.parametrize("solver", [solvers.ddpm, solvers.ddim, solvers.dpmpp_2m, solvers.cfgpp])
def test_weight_over_time_is_w_at_each_row(solver: Callable[..., solvers.Table]) -> None:
    """w = 0.7 weighed by a ramp, beside every row run alone with the ramp's own w."""

    def ramp(log_snr: torch.Tensor) -> torch.Tensor:
        return (log_snr + 5).clamp(0, 10) / 10

    schedule, y, w = Schedule.cosine(40), torch.tensor([0, 1, 1]), -0.7
    table = solver(schedule, 9)
    weighted = solvers.with_weight(table, schedule, ramp)
    assert torch.equal(weighted.rows[:, :7], table.rows[:, :7])
    assert len(set(weighted.rows[:, 7].tolist())) > 3 and bool((table.rows[:, 7] == 1).all())
    found = sample(Affine(), y, weighted, shape=(5,), w=w)

    class Mixed(Affine):
        """Mixes on its own, by the w of its time, and says so to whoever asks for any label."""

        def __call__(self, xt: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            abar = schedule.alpha_bar[t]
            m = ramp(torch.log(abar / (1 - abar))).to(xt.dtype)[:, None]
            label, none = super().__call__(xt, t, y), super().__call__(xt, t, torch.full_like(y, 2))
            return label + m * w * (label - none)

    # Asked of none, Mixed answers as before, so that rows with d put the null output back.
    wanted = sample(Mixed(), y, table, shape=(5,), w=torch.zeros(3))
    # float32, nine rows, with 1 / signal = 27 in the first
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_weights_and_intervals_are_multiplied() -> None:
    schedule = Schedule.cosine(40)
    table = solvers.ddim(schedule, 9)
    same = solvers.with_weight(table, schedule, torch.ones_like)
    assert torch.equal(same.rows, table.rows)
    both = solvers.with_interval(
        solvers.with_weight(table, schedule, lambda log_snr: 2 + 0 * log_snr), schedule, -2.0, 2.0
    )
    inside = solvers.with_interval(table, schedule, -2.0, 2.0).rows[:, 7]
    assert torch.equal(both.rows[:, 7], 2 * inside) and 0 < int(inside.sum()) < 9
    assert both.prediction == "eps"


def test_weights_that_cannot_be_are_refused() -> None:
    schedule = Schedule.cosine(40)
    table = solvers.ddim(schedule, 3)
    for weight in (lambda log_snr: log_snr / 0, lambda log_snr: log_snr[:2]):
        with pytest.raises(UsageError, match="return 3 finite numbers"):
            solvers.with_weight(table, schedule, weight)
    with pytest.raises(UsageError, match="schedule has T = 20 and the table begins at t = 40"):
        solvers.with_weight(table, Schedule.cosine(20), torch.ones_like)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "steps",
    [
        *(2.0, float("nan"), "50", [9.0, 4.0], [9, True], [], [3, 3]),
        *(np.float64(2.0), np.array([9.0, 4.0]), np.array([True]), np.array([[9, 4]])),
        *(torch.tensor([9.0, 4.0]), torch.tensor([3, 3]), torch.tensor([]), [np.float64(9)]),
    ],
)
def test_steps_that_are_no_times_are_refused(steps: object) -> None:
    with pytest.raises(UsageError, match=r"steps = .*; pass decreasing integer times in 1\.\.10"):
        solvers.times(Schedule.linear(10), steps)  # pyright: ignore


def test_solvers_by_name() -> None:
    for name in ("ddpm", "ddim", "dpmpp_2m", "cfgpp"):
        assert solvers.named(name) is getattr(solvers, name)
    with pytest.raises(UsageError, match="solver = 'heun' is unknown: use ddpm, ddim"):
        solvers.named("heun")


@pytest.mark.parametrize("solver", [solvers.ddim, solvers.dpmpp_2m, solvers.cfgpp])
def test_new_solvers_refuse_steps_too(solver: Callable[..., solvers.Table]) -> None:
    with pytest.raises(UsageError, match=r"steps = 11 is outside 1\.\.10"):
        solver(Schedule.linear(10), 11)


@pytest.mark.parametrize(
    "solver",
    [solvers.ddim, partial(solvers.ddim, eta=0.5), solvers.dpmpp_2m, solvers.cfgpp],
    ids=["ddim", "ddim, eta = 0.5", "dpmpp_2m", "cfgpp"],
)
@pytest.mark.parametrize("w", [0.0, 1.5])
def test_the_loop_runs_every_column(solver: Callable[..., solvers.Table], w: float) -> None:
    """Row by row from the loop's own states: guess, this x, the last guess, and the noise."""
    table = solver(Schedule.cosine(40), 9)
    w = -0.4 if solver is solvers.cfgpp and w else w  # its range is -1..0
    y, ids, seed = torch.tensor([0, 1, 1]), torch.tensor([4, 9, 2**32 - 1]), 7
    states = sample_steps(Affine(), y, table, shape=(5,), w=w, seed=seed, sample_ids=ids, clip=2.0)
    x, before, k = philox.normal(seed, ids, 0, (5,)), torch.zeros(3, 5), 0
    for state, row, t in zip(states, table.rows.tolist(), table.t, strict=True):
        p, q, a, b, c, d, e, m = row
        out, null = (Affine()(x, t.expand(3), label) for label in (y, torch.full_like(y, 2)))
        x0 = (p * x + q * (out + m * w * (out - null))).clamp(-2, 2)
        z = philox.normal(seed, ids, k + 1, (5,))
        x, k = a * x0 + b * x + d * null + e * before + c * z, k + 1
        before = x0
        # float32: a dozen operations on numbers of order 1, and 1 / signal = 27 at t = T.
        torch.testing.assert_close(state.x0hat, x0, rtol=0, atol=2e-5)
        torch.testing.assert_close(state.x, x, rtol=0, atol=2e-5)


def test_samples_without_noise_are_a_function_of_the_first() -> None:
    """The solver's noise is keyed by the step, so it is seen by what more noise would change."""
    schedule, y = Schedule.cosine(40), torch.tensor([0, 1])
    still, noisy = (
        sample(Affine(), y, solvers.ddim(schedule, 9, eta=eta), shape=(5,), seed=3)
        for eta in (0.0, 0.5)
    )
    again = sample(Affine(), y, solvers.ddim(schedule, 9), shape=(5,), seed=3)
    assert torch.equal(still, again)
    assert (still - noisy).abs().max() > 0.01


def test_looking_back_errs_a_tenth() -> None:
    """With the exact denoiser of N(0, 1/4), x_0 should be x_T / 2; 20 and 40 steps, float32.

    The error of DDIM halves. That of 2M is no power of so few steps, even in t (step 18).
    """

    class Gaussian:
        num_classes, prediction = 1, "x0"

        def __call__(self, xt: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            abar = schedule.alpha_bar[t].to(xt.dtype)[:, None]
            return abar.sqrt() / 4 / (abar / 4 + 1 - abar) * xt

    schedule, y = Schedule.cosine(1000), torch.zeros(4, dtype=torch.int64)
    exact = philox.normal(0, torch.arange(4), 0, (6,)) / 2
    errors = [
        (sample(Gaussian(), y, solver(schedule, n, prediction="x0"), shape=(6,)) - exact)
        .abs()
        .max()
        for solver in (solvers.ddim, solvers.dpmpp_2m)
        for n in (20, 40)
    ]
    assert 1.8 < errors[0] / errors[1] < 2.2
    assert max(errors[2:]) < min(errors[:2]) / 10


@pytest.mark.parametrize(
    "schedule", [Schedule.cosine(40).zero_terminal_snr(), Schedule.flow(40)], ids=["cosine", "flow"]
)
def test_rows_at_zero_terminal_snr(schedule: Schedule) -> None:
    """Where x_T is noise alone log SNR starts at minus infinity; all rows are finite still."""
    for steps in (1, 2, 3, 9, 40):
        for table in (
            solvers.ddpm(schedule, steps, prediction="v"),
            solvers.ddim(schedule, steps, "v", 0.5),
            solvers.dpmpp_2m(schedule, steps, prediction="v"),
        ):
            assert table.rows.isfinite().all()
            assert table.rows[-1, 2:].tolist() == pytest.approx([1, 0, 0, 0, 0, 1], abs=1e-12)
    looks_back = solvers.dpmpp_2m(schedule, 9, prediction="v").rows[:, 6] != 0
    assert looks_back.tolist() == [False, False, *[True] * 6, False]


def algorithm_2_table(
    steps: int,
    v: float,
    low: float = -20.0,
    high: float = 20.0,
    prediction: solvers.Prediction = "eps",
) -> solvers.Table:
    """Algorithm 2 of the guidance paper: `ddpm` on the paper's grid of log SNRs."""
    schedule = Schedule.from_log_snr(log_snr_grid(steps, low, high))
    return solvers.ddpm(schedule, prediction=prediction, v=v)


@pytest.mark.parametrize("v", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    ("steps", "low", "high"), [(1, -20.0, 20.0), (16, -20.0, 20.0), (7, -6.0, 9.0)]
)
def test_ancestral_log_snr_rows_are_the_lectures(
    steps: int, low: float, high: float, v: float
) -> None:
    """Step 16: the posterior's mean of each of its two arguments, and the variance."""
    table = algorithm_2_table(steps, v, low, high)
    assert table.t.tolist() == list(range(steps, 0, -1))
    assert table.s.tolist() == list(range(steps - 1, -1, -1))
    grid = [*step16_log_snr.log_snr_grid(steps, low, high).tolist(), np.inf]
    schedule = Schedule.from_log_snr(log_snr_grid(steps, low, high))
    x0, z = np.eye(2)
    for k, row in enumerate(table.rows):
        a, b = step16_log_snr.q_posterior_log_snr(x0, z, grid[k], grid[k + 1]).mean
        var = step16_log_snr.reverse_var(grid[k], grid[k + 1], v) if k < steps - 1 else 0.0
        # The table holds abar: at a log SNR of 20, 1 - abar = 2e-9 keeps 8 of its 16 digits.
        np.testing.assert_allclose(row[2:5].numpy(), [a, b, var**0.5], rtol=1e-6, atol=1e-12)
        p, q = solvers.x0_coefficients(schedule.alpha_bar[steps - k : steps - k + 1], "eps")
        assert row[[0, 1, 5, 6, 7]].tolist() == [float(p), float(q), 0, 0, 1]
    assert table.rows[-1, 2:5].tolist() == [1, 0, 0]


class Step13Oracle:
    """The exact denoiser of three Gaussians on a grid of log SNRs, in the unit asked for."""

    num_classes = 3

    def __init__(self, log_snr: np.ndarray, prediction: solvers.Prediction) -> None:
        self.schedule, self.prediction = step16_log_snr.schedule_from(log_snr), prediction

    def __call__(self, xt: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x, label, time = xt.double().numpy(), y.numpy(), int(t[0])
        abar = self.schedule.alpha_bar[time]
        eps = oracle_eps(three_gaussians(), self.schedule)(x, time, label)
        x0 = mean_x0(x, time, label, three_gaussians(), self.schedule)
        v = np.sqrt(abar) * eps - np.sqrt(1 - abar) * x0
        return torch.from_numpy({"eps": eps, "x0": x0, "v": v}[self.prediction]).to(xt.dtype)


class PhiloxNoise:
    """The noise of the sampling loop, question by question, for the lecture's sampler."""

    def __init__(self, seed: int, n: int) -> None:
        self.seed, self.ids, self.k = seed, np.arange(n), -1

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        self.k += 1
        return philox.normal_numpy(self.seed, self.ids, self.k, size[1:])


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize(("w", "v"), [(0.0, 0.0), (1.5, 0.3), (-1.0, 1.0)])
def test_algorithm_2_by_rows_draws_the_lectures_samples(
    w: float, v: float, prediction: solvers.Prediction
) -> None:
    """Same seed, labels, w and v through `minicfg.sample` and step 16's `algorithm_2`.

    In float32 an error of 1e-7 in the first eps is one of 1e-7 times 60 in a sample (G.2).
    """
    grid, y = step16_log_snr.log_snr_grid(16), np.array([0, 1, 2, 2, 0])
    table = algorithm_2_table(16, v, prediction=prediction)
    model = Step13Oracle(grid, prediction)
    ours = sample(model, torch.from_numpy(y), table, shape=(2,), w=w, seed=11)
    oracle = oracle_eps(three_gaussians(), model.schedule)
    lecture = step16_log_snr.algorithm_2(oracle, y, grid, w, v, PhiloxNoise(11, len(y)))
    np.testing.assert_allclose(ours.double().numpy(), lecture, rtol=0, atol=1e-4)


@pytest.mark.parametrize("v", [-0.1, 1.1, float("nan")])
def test_v_is_refused(v: float) -> None:
    with pytest.raises(UsageError, match=rf"v = {v} is outside 0\.\.1"):
        algorithm_2_table(5, v)


@pytest.mark.parametrize("steps", [0, -1, True, 2.0])
@pytest.mark.usefixtures("unchecked")
def test_steps_in_log_snr_are_refused(steps: int) -> None:
    with pytest.raises(UsageError, match=f"steps = {steps} .*: use an integer of at least 1"):
        log_snr_grid(steps)


@pytest.mark.parametrize(
    ("low", "high"),
    [(20.0, -20.0), (1.0, 1.0), (-50.0, 20.0), (0.0, float("inf")), (float("nan"), 1.0)],
)
def test_ends_of_log_snr_are_refused(low: float, high: float) -> None:
    with pytest.raises(UsageError, match=f"log_snr_min = {low}, log_snr_max = {high}: use two"):
        algorithm_2_table(5, 0.3, low, high)


def test_ddpm_refuses_a_v_that_is_none() -> None:
    with pytest.raises(UsageError, match=r"v = -0.1 is outside 0\.\.1"):
        solvers.ddpm(Schedule.linear(10), v=-0.1)


def test_given_times_may_begin_after_T_and_end_at_1() -> None:
    t, s = solvers.times(Schedule.linear(10), [7, 4, 1])
    assert (t.tolist(), s.tolist()) == ([7, 4, 1], [4, 1, 0])


def test_eps_is_refused_where_x_T_is_noise_alone() -> None:
    with pytest.raises(UsageError, match="prediction = 'eps': at zero terminal SNR"):
        solvers.ddim(Schedule.cosine(40).zero_terminal_snr(), 5)


def test_a_table_equals_itself_alone() -> None:
    """Tensors have no truth to compare by."""
    table = solvers.ddpm(Schedule.linear(10), 3)
    assert table == table and table != solvers.ddpm(Schedule.linear(10), 3)


# Made by hand, so that this file can be imported with a mistake in a solver.
ROWS_BY_HAND = torch.arange(1.0, 33.0, dtype=torch.float64).reshape(4, 8)
ROWS_BY_HAND[0, 6] = 0  # the first row looks at nothing
GOOD = solvers.Table(torch.tensor([30, 20, 9, 2]), torch.tensor([20, 9, 2, 0]), ROWS_BY_HAND)
TIMES = [
    ({"t": [30, 20, 9, 2]}, r"t is \[30, 20, 9, 2\]; pass an int64 tensor of shape \(4,\)"),
    ({"t": [30.0, 20.0, 9.0, 2.0]}, r"t is \[30.0, 20.0, 9.0, 2.0\]; pass an int64"),
    ({"t": None}, "t is None; pass an int64"),
    ({"t": GOOD.t.float()}, r"t is torch.float32 \(4,\); pass an int64"),
    ({"t": GOOD.t.int()}, r"t is torch.int32 \(4,\); pass an int64"),
    ({"t": GOOD.t[:3]}, r"t is torch.int64 \(3,\); pass an int64 tensor of shape \(4,\)"),
    ({"t": GOOD.t[:, None]}, r"t is torch.int64 \(4, 1\); pass an int64"),
    ({"t": torch.tensor([2, 9, 20, 30])}, r"t = \[2, 9, 20, 30\] does not decrease"),
    ({"t": torch.tensor([30, 20, 20, 2])}, r"t = \[30, 20, 20, 2\] does not decrease"),
    ({"t": torch.tensor([30, 20, 9, 0])}, r"t = \[30, 20, 9, 0\] does not decrease in 1..T"),
    ({"s": GOOD.s.tolist()}, r"s is \[20, 9, 2, 0\]; pass an int64 tensor"),
    ({"s": GOOD.s[:3]}, r"s is torch.int64 \(3,\); pass an int64 tensor of shape \(4,\)"),
    ({"s": torch.tensor([20, 20, 2, 0])}, r"s = \[20, 20, 2, 0\] is not below t = \[30, 20,"),
    ({"s": torch.tensor([20, 21, 2, 0])}, r"s = \[20, 21, 2, 0\] is not below t"),
    ({"s": torch.tensor([20, -1, 2, 0])}, r"s = \[20, -1, 2, 0\] is not below t"),
    ({"s": torch.tensor([20, 9, 2, 1])}, r"s = \[20, 9, 2, 1\] does not end at 0"),
]
ROWS = [
    ({"rows": GOOD.rows.tolist()}, "rows is .*; pass a float64 tensor"),
    ({"rows": GOOD.rows.float()}, r"rows is torch.float32 \(4, 8\); pass a float64 tensor"),
    ({"rows": GOOD.rows[:, :7]}, r"rows has shape \(4, 7\); pass n >= 1 rows of 8 columns"),
    ({"rows": GOOD.rows[0]}, r"rows has shape \(8,\)"),
    ({"rows": GOOD.rows / 0}, r"rows\[0\] = .* is not finite"),
    ({"rows": GOOD.rows / (GOOD.t[:, None] - 9)}, r"rows\[2\] = .* is not finite"),
    ({"rows": GOOD.rows[[2, 1, 0, 3]]}, r"rows\[0\] has e = .* looks back to a step that does"),
    ({"t": GOOD.t[:0], "s": GOOD.s[:0], "rows": GOOD.rows[:0]}, r"rows has shape \(0, 8\)"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("changed", "message"), TIMES + ROWS)
def test_a_table_checks_itself(changed: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(GOOD, **changed)  # pyright: ignore


def test_a_table_knows_its_schedule() -> None:
    schedule, other = Schedule.cosine(40), Schedule.linear(40)
    for solver in (solvers.ddpm, solvers.ddim, solvers.dpmpp_2m, solvers.cfgpp):
        table = solver(schedule, 9)
        assert table.schedule is schedule
        weighted = solvers.with_weight(table, Schedule.cosine(40), torch.ones_like)
        assert weighted.schedule is schedule
        message = "schedule is 'linear' with T = 40, .* made from 'cosine' with T = 40"
        with pytest.raises(UsageError, match=message):
            solvers.with_weight(table, other, torch.ones_like)
        with pytest.raises(UsageError, match=message):
            solvers.with_interval(table, other, -2.0, 2.0)
        unknown = replace(table, schedule=None)
        solvers.with_interval(unknown, other, -2.0, 2.0)


def test_numpy_and_tensors_of_steps_mean_what_integers_mean() -> None:
    schedule = Schedule.cosine(1000)
    t, _ = solvers.times(schedule, 20)
    for steps in (np.int64(20), np.array(20), torch.tensor(20)):
        assert torch.equal(solvers.ddim(schedule, steps).t, t)
    given = [1000, 500, 1]
    for steps in (torch.tensor(given), np.array(given), list(np.array(given)), tuple(given)):
        assert solvers.ddim(schedule, steps).t.tolist() == given
    with pytest.raises(UsageError, match=r"steps = 0 is outside 1\.\.1000"):
        solvers.ddim(schedule, np.int64(0))


@pytest.mark.usefixtures("unchecked")
def test_the_third_argument_of_every_solver_is_the_prediction() -> None:
    schedule = Schedule.cosine(40)
    for solver in (solvers.ddpm, solvers.ddim, solvers.dpmpp_2m, solvers.cfgpp):
        table = solver(schedule, 9, "v")
        assert table.prediction == "v"
        assert torch.equal(table.rows, solver(schedule, 9, prediction="v").rows)
    assert torch.equal(
        solvers.ddim(schedule, 9, "v", 0.5).rows,
        solvers.ddim(schedule, 9, prediction="v", eta=0.5).rows,
    )
    for solver in (solvers.ddpm, solvers.ddim):
        with pytest.raises(
            UsageError, match=r"prediction = 0\.5 is unknown: use eps, x0, v or velocity"
        ):
            solver(schedule, 9, 0.5, "v")  # pyright: ignore


# Flow matching, step 21. The prediction "velocity" is eps - x_0, and R is the scale of the state.


@pytest.mark.parametrize("kind", ["linear", "cosine", "flow"])
@pytest.mark.parametrize("steps", [1, 2, 7, 60, [60, 31, 30, 2]])
def test_ddim_of_a_velocity_is_the_lectures_euler(kind: str, steps: int | list[int]) -> None:
    """On the lecture's own table of the flow, whose last beta is 0.999, and on two others."""
    if kind == "flow":
        lecture = step21_flow.flow_schedule(60)
    else:
        lecture = getattr(LectureSchedule, kind)(60)
    table = solvers.ddim(Schedule(torch.from_numpy(lecture.beta)), steps, "velocity")
    euler = step21_flow.euler(lecture, steps)
    assert table.t.tolist() == list(euler.t) and table.s.tolist() == list(euler.s)
    # The same few operations on the same alpha_bar, but `a` is a difference in ours.
    np.testing.assert_allclose(table.rows.numpy(), euler.rows, rtol=1e-12, atol=1e-13)


def test_rows_of_the_flow_at_every_t_are_the_lectures() -> None:
    """Also at t = T, which the lecture leaves out: there u = R = 1, and its formulas are short."""
    T = 60
    table = solvers.ddim(Schedule.flow(T), None, "velocity")
    lecture = step21_flow.euler(step21_flow.flow_schedule(T))
    np.testing.assert_allclose(table.rows[1:].numpy(), lecture.rows[1:], rtol=1e-12, atol=1e-13)
    u_s = (T - 1) / T
    R_s = ((1 - u_s) ** 2 + u_s**2) ** 0.5
    first = [1, -1, (1 - u_s) / R_s, u_s / R_s, 0, 0, 0, 1]
    np.testing.assert_allclose(table.rows[0].numpy(), first, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("w", [0.0, 3.0, -0.5])
def test_a_row_is_a_step_of_euler_along_the_guided_velocity(w: float) -> None:
    """`X_s = X_t + (u_s - u_t) F` in the unit of the flow, from t = T to the data, in float64."""
    T, steps = 40, 7
    table = solvers.ddim(Schedule.flow(T), steps, "velocity")
    generator = torch.Generator().manual_seed(1)
    x, F_y, F_null = torch.randn(3, 5, 2, generator=generator, dtype=torch.float64)
    u = torch.arange(T + 1, dtype=torch.float64) / T
    R = ((1 - u) ** 2 + u**2).sqrt()
    for k, (t, s) in enumerate(zip(table.t, table.s, strict=True)):
        found, _ = guided_step(
            x, torch.cat([F_y, F_null]), table.rows, k, w, seed=0, sample_ids=torch.arange(5)
        )
        F = F_y + w * (F_y - F_null)
        wanted = (R[t] * x + (u[s] - u[t]) * F) / R[s]
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("w", [0.0, 3.0, -0.5])
def test_guiding_the_velocity_is_guiding_the_guess_at_every_t(w: float) -> None:
    """(21.6), beside the lecture's function and beside the guesses of both outputs."""
    lecture = step21_flow.flow_schedule(40)
    schedule = Schedule(torch.from_numpy(lecture.beta))
    generator = torch.Generator().manual_seed(2)
    x, F_y, F_null = torch.randn(3, 5, 2, generator=generator, dtype=torch.float64)
    p, q = solvers.x0_coefficients(schedule.alpha_bar, "velocity")
    for t in range(1, 41):
        found = p[t] * x + q[t] * guide(F_y, F_null, w)
        wanted = step21_flow.guess_from_velocity(
            F_y.numpy(), F_null.numpy(), x.numpy(), t, w, lecture
        )
        np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-12)
        guesses = guide(p[t] * x + q[t] * F_y, p[t] * x + q[t] * F_null, w)
        torch.testing.assert_close(found, guesses, rtol=0, atol=1e-12)


def test_velocity_has_finite_coefficients_at_both_ends() -> None:
    """p = R and q = -u: (1, 0) for the data and (1, -1) for pure noise."""
    p, q = solvers.x0_coefficients(Schedule.flow(50).alpha_bar, "velocity")
    assert p[[0, -1]].tolist() == [1, 1] and q[[0, -1]].tolist() == [0, -1]
    assert float(p.min()) == pytest.approx(0.5**0.5, abs=1e-12)  # at u = 1/2
    assert bool((q.diff() < 0).all())


class ExactFlow:
    """The exact velocity, in the unit of the flow: x_0 ~ N(1, 0.5^2), and N(0, 1.5^2) for label 1.

    Data and noise are regressed on the state `X = (1 - u) x_0 + u eps`, whose variance is
    `(1 - u)^2 var + u^2`.
    """

    num_classes = 1
    prediction = "velocity"
    schedule = Schedule.flow(1000)

    def of_state(self, X: torch.Tensor, u: float, label: int) -> torch.Tensor:
        mu, var = ((1.0, 0.25), (0.0, 2.25))[label]
        standard = (X - (1 - u) * mu) / ((1 - u) ** 2 * var + u**2)
        x0 = mu + (1 - u) * var * standard
        eps = u * standard
        return eps - x0

    def __call__(self, xt: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        u = int(t[0]) / 1000
        X = ((1 - u) ** 2 + u**2) ** 0.5 * xt.double()
        each = [self.of_state(X, u, label) for label in (0, 1)]
        return torch.where(y[:, None] == 1, each[1], each[0]).to(xt.dtype)


@pytest.mark.parametrize("w", [0.0, 1.5])
def test_exact_velocities_carry_noise_to_the_class(w: float) -> None:
    """The velocity is affine in X, so 100 steps of Euler are one affine map of the noise.

    Its slope and offset are found from two starting points in float64, without rows. At w = 0 they
    approach the class's standard deviation 0.5 and mean 1: the error of Euler's method with 100
    steps is below 0.02, and half of it with 200. The samples, N = 4000, have the map's mean and
    variance within five standard errors, s / sqrt(N) and s^2 sqrt(2 / N).
    """
    model = ExactFlow()
    steps, N = 100, 4000

    def euler(X: torch.Tensor, steps: int) -> torch.Tensor:
        for k in range(steps, 0, -1):
            F_y, F_null = (model.of_state(X, k / steps, label) for label in (0, 1))
            X = X - (F_y + w * (F_y - F_null)) / steps
        return X

    ends = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    (offset,), (both,) = euler(ends, steps).tolist()
    slope = both - offset
    if w == 0:
        assert abs(offset - 1) < 0.02 and abs(slope - 0.5) < 0.02
        error = abs(slope - 0.5)
        (zero,), (one,) = euler(ends, 2 * steps).tolist()
        assert abs(one - zero - 0.5) == pytest.approx(error / 2, rel=0.1)
    y = torch.zeros(N, dtype=torch.int64)
    table = solvers.ddim(model.schedule, steps, "velocity")
    x = sample(model, y, table, shape=(1,), w=w, seed=3).double()
    assert float(x.mean()) == pytest.approx(offset, abs=5 * abs(slope) / N**0.5)
    assert float(x.var()) == pytest.approx(slope**2, rel=5 * (2 / N) ** 0.5)
    # Each sample is the map's value at its own noise; 100 float32 steps of numbers below 5.
    noise = philox.normal(3, torch.arange(N), 0, (1,)).double()
    torch.testing.assert_close(x, offset + slope * noise, rtol=0, atol=100 * 5 * 2**-23)
