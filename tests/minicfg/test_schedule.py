"""The torch tables are the lecture's tables, and refuse what is no schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from minicfg import Schedule
from minicfg.errors import UsageError
from minicfg.schedule import log_snr_angle, log_snr_grid
from tutorial import step16_log_snr, step21_flow
from tutorial.step02_forward import Schedule as LectureSchedule


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("T", [1, 2, 10, 1000, 4000])
def test_tables_equal_the_lectures(name: str, T: int) -> None:
    """Each table is made by the same few float64 operations: equal to a rounding or two."""
    ours, lecture = Schedule.named(name, T), getattr(LectureSchedule, name)(T)
    for letter in ("beta", "alpha", "alpha_bar", "log_snr"):
        np.testing.assert_allclose(
            getattr(ours, letter).numpy(), getattr(lecture, letter), rtol=1e-13, err_msg=letter
        )


@pytest.mark.parametrize("schedule", [Schedule.linear(50), Schedule.cosine(1)])
def test_boundaries(schedule: Schedule) -> None:
    assert schedule.beta[0] == 0
    assert schedule.alpha_bar[0] == 1
    assert schedule.posterior_var[0] == schedule.posterior_var[1] == 0
    assert schedule.log_snr[0] == torch.inf
    assert torch.isfinite(schedule.log_snr[1:]).all()


def test_posterior_var_equals_the_lectures() -> None:
    from tutorial.step04_posterior import posterior_coefficients

    lecture = LectureSchedule.cosine(20)
    expected = [posterior_coefficients(t, lecture)[2] for t in range(1, 21)]
    np.testing.assert_allclose(Schedule.cosine(20).posterior_var[1:].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("T", [0, -3, 2.0, True])
@pytest.mark.usefixtures("unchecked")
def test_T_is_refused(T: object) -> None:
    with pytest.raises(UsageError, match=f"T = {T} is not a number of steps: use an integer"):
        Schedule.linear(T)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "beta",
    [
        torch.tensor([0.0], dtype=torch.float64),
        torch.tensor([0.1, 0.2], dtype=torch.float64),
        torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64),
        torch.tensor([0.0, 1.1, 0.5], dtype=torch.float64),
        torch.tensor([0.0, -0.1, 0.5], dtype=torch.float64),
        torch.tensor([0.0, 0.1, 1.1], dtype=torch.float64),
        torch.tensor([0.0, 0.1, 0.0], dtype=torch.float64),
        torch.tensor([0.0, float("nan")], dtype=torch.float64),
        torch.tensor([0.0, 0.1], dtype=torch.float32),
    ],
    ids=[
        *("no step", "noisy data", "forgets all", "forgets more", "less than no noise"),
        *("more than all at T", "none at T", "nan", "float32"),
    ],
)
def test_table_that_is_no_schedule_is_refused(beta: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="beta"):
        Schedule(beta)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(
        UsageError, match="'sigmoidal' is unknown: use cosine, linear, sigmoid, log_snr or flow"
    ):
        Schedule.named("sigmoidal", 10)


@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid"])
@pytest.mark.parametrize("T", [2, 3, 10, 1000])
def test_zero_terminal_snr_moves_the_end_and_leaves_the_start(name: str, T: int) -> None:
    """Its own words: nothing is left at T, t = 1 is unchanged, sqrt(abar) is the old one's line."""
    old, new = Schedule.named(name, T), Schedule.named(name, T).zero_terminal_snr()
    assert new.alpha_bar[-1] == 0 and new.beta[-1] == 1
    assert new.log_snr[-1] == -torch.inf
    torch.testing.assert_close(new.alpha_bar[:2], old.alpha_bar[:2], rtol=1e-14, atol=0)
    x, y = (s.alpha_bar[1:].sqrt() for s in (old, new))
    torch.testing.assert_close(y, (x - x[-1]) * x[0] / (x[0] - x[-1]), rtol=0, atol=1e-13)


def test_zero_terminal_snr_of_one_step_is_refused() -> None:
    with pytest.raises(UsageError, match="T = 1"):
        Schedule.linear(1).zero_terminal_snr()


@pytest.mark.parametrize("T", [1, 2, 10, 1000, 4000])
def test_flow_equals_the_lectures_and_ends_in_pure_noise(T: int) -> None:
    """The lecture caps its last beta at 0.999; all before it are the same few operations."""
    ours, lecture = Schedule.flow(T), step21_flow.flow_schedule(T)
    for letter in ("beta", "alpha", "alpha_bar", "log_snr"):
        found, wanted = getattr(ours, letter)[:-1].numpy(), getattr(lecture, letter)[:-1]
        np.testing.assert_allclose(found, wanted, rtol=1e-13, err_msg=letter)
    assert ours.beta[-1] == 1 and ours.alpha_bar[-1] == 0 and ours.log_snr[-1] == -torch.inf
    assert ours.name == "flow"


@pytest.mark.parametrize("T", [1, 7, 1000])
def test_x_t_of_the_flow_is_a_state_of_the_straight_line(T: int) -> None:
    """`x_t sqrt((1 - u)^2 + u^2) = (1 - u) x_0 + u eps` with u = t / T, at every t.

    A product of up to 1,000 alphas has an error of at most 1,000 x 1.1e-16. The root of 1 - abar,
    which is at least 1e-3, then has an error of at most 1.1e-13 / 2e-3 = 6e-11.
    """
    u = torch.arange(T + 1, dtype=torch.float64) / T
    scale = ((1 - u) ** 2 + u**2).sqrt()
    abar = Schedule.flow(T).alpha_bar
    torch.testing.assert_close(abar.sqrt() * scale, 1 - u, rtol=0, atol=1e-10)
    torch.testing.assert_close((1 - abar).sqrt() * scale, u, rtol=0, atol=1e-10)


def test_sigmoid_is_its_formula_and_symmetric() -> None:
    """abar(t) + abar(T - t) = 1, as sigma(-x) = 1 - sigma(x); only the last is capped."""
    T = 100
    abar = Schedule.sigmoid(T).alpha_bar
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.sigmoid(3 - 6 * t / T)
    wanted = (f - torch.sigmoid(torch.tensor(-3.0, dtype=torch.float64))) / torch.tanh(
        torch.tensor(1.5, dtype=torch.float64)
    )
    torch.testing.assert_close(abar[:-1], wanted[:-1], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(abar[1:-1] + abar[1:-1].flip(0), torch.ones(T - 1).double())


@pytest.mark.parametrize("T", [1, 2, 16, 1000])
@pytest.mark.parametrize(("low", "high"), [(-20.0, 20.0), (-5.0, 12.0)])
def test_log_snr_grid_and_its_schedule_equal_the_lectures(T: int, low: float, high: float) -> None:
    """The grids to 1e-11, the rounding of the tangent near a right angle; the tables to 1e-12."""
    ours, lecture = log_snr_grid(T, low, high), step16_log_snr.log_snr_grid(T, low, high)
    np.testing.assert_allclose(ours.numpy(), lecture, rtol=0, atol=1e-11)
    assert ours.dtype == torch.float64
    schedule, table = Schedule.from_log_snr(ours), step16_log_snr.schedule_from(lecture)
    assert schedule.T == T
    np.testing.assert_allclose(schedule.beta.numpy(), table.beta, rtol=0, atol=1e-12)
    np.testing.assert_allclose(schedule.alpha_bar.numpy(), table.alpha_bar, rtol=0, atol=1e-12)


def test_log_snr_of_a_schedule_comes_back() -> None:
    """A grid to a schedule to its log SNRs: noisiest first becomes noisiest last."""
    grid = torch.tensor([-4.0, -1.0, 0.5, 6.0], dtype=torch.float64)
    log_snr = Schedule.from_log_snr(grid).log_snr
    # 1e-16 over 1 - abar at 6, .0025
    torch.testing.assert_close(log_snr[1:].flip(0), grid, rtol=0, atol=1e-12)
    again = Schedule.from_log_snr(Schedule.linear(50).log_snr[1:].flip(0))
    torch.testing.assert_close(again.beta, Schedule.linear(50).beta, rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", [[], [1.0, 0.0], [0.0, 0.0], [0.0, float("nan")]])
def test_log_snrs_that_do_not_rise_are_refused(grid: list[float]) -> None:
    with pytest.raises(UsageError, match=r"log_snr = \[.* does not increase: pass one or more"):
        Schedule.from_log_snr(torch.tensor(grid, dtype=torch.float64))


@pytest.mark.parametrize("grid", [[0.0, 40.0], [-37.0], [0.0, float("inf")], [float("nan")]])
def test_log_snrs_beyond_float64_are_refused(grid: list[float]) -> None:
    with pytest.raises(UsageError, match=r"is not within -36\.\.36"):
        Schedule.from_log_snr(torch.tensor(grid, dtype=torch.float64))


def test_log_snrs_up_to_its_limits_are_not_refused() -> None:
    schedule = Schedule.from_log_snr(log_snr_grid(5, -36.0, 36.0))
    assert 0 < schedule.alpha_bar[-1] < 1e-15 and schedule.alpha_bar[1] < 1


@pytest.mark.parametrize(
    ("low", "high"), [(-36.5, 0.0), (0.0, 36.5), (1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)]
)
def test_ends_of_a_grid_are_refused(low: float, high: float) -> None:
    with pytest.raises(
        UsageError, match=f"log_snr_min = {low}, log_snr_max = {high}: use two values"
    ):
        log_snr_grid(3, low, high)


@pytest.mark.parametrize("steps", [0, -1, True, 2.0])
@pytest.mark.usefixtures("unchecked")
def test_steps_of_a_grid_are_refused(steps: int) -> None:
    with pytest.raises(
        UsageError, match=f"steps = {steps} is not a number of steps: use an integer of at least 1"
    ):
        log_snr_grid(steps)


def test_the_papers_angle_runs_from_log_snr_20_to_minus_20() -> None:
    """Within 1e-9: the tangent near a right angle loses 1e-16 over `b`, 4.5e-5."""
    u = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float32)
    angle = log_snr_angle(u)
    lecture = step16_log_snr.log_snr_of(u.double().numpy(), -20.0, 20.0)
    np.testing.assert_allclose(-2 * torch.log(torch.tan(angle)), lecture, rtol=0, atol=1e-9)
    assert angle.dtype == torch.float64
    ends = log_snr_grid(2)  # by default
    torch.testing.assert_close(ends, torch.tensor([-20.0, 20.0]).double(), rtol=0, atol=1e-9)


def test_a_schedule_stays_what_it_is_and_equals_itself_alone() -> None:
    """Its tables are computed once, from `beta`; tensors have no truth to compare by."""
    schedule = Schedule.linear(5)
    with pytest.raises(FrozenInstanceError):
        schedule.beta = Schedule.cosine(5).beta  # pyright: ignore[reportAttributeAccessIssue]
    assert schedule.alpha_bar is schedule.alpha_bar
    assert schedule == schedule and schedule != Schedule.linear(5)


@pytest.mark.parametrize(
    "make", [Schedule.linear, Schedule.cosine, Schedule.sigmoid, Schedule.flow]
)
def test_a_schedule_has_a_thousand_steps_by_default(make: Callable[..., Schedule]) -> None:
    assert make().T == 1000 and torch.equal(make().beta, make(1000).beta)
