"""Solvers as tables: one row (p, q, a, b, c, d, e, m) per step, built in float64.

    g     = (1 + m w) out_cond - m w out_null
    x0hat = clip(p x_t + q g)
    x_s   = a x0hat + b x_t + d out_null + e x0prev + c z

A solver is a function that returns a `Table`. One loop (`minicfg.sampling`) runs any table, and one
kernel (`kernels`) computes any row. `p` and `q` depend on what the network predicts, and the other
columns on the solver:

    ddpm, ddim    a, b, c
    dpmpp_2m      a, b, e      e: the previous guess of x_0
    cfgpp         a, b, d      d: the null output
    m             1, or a weight that changes with t (`with_weight`, `with_interval`)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np
import torch
from torch import Tensor

from kernels.philox import as_integer
from minicfg.config import DDIM_ETA, DDPM_V, Prediction, SolverName, check_choice
from minicfg.errors import UsageError, check_number, check_type, short_repr
from minicfg.schedule import Schedule

if TYPE_CHECKING:
    from jaxtyping import Float, Int


# A number of steps, or the times themselves.
Steps = SupportsIndex | Sequence[SupportsIndex] | Tensor | np.ndarray


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of a solver. Row k moves from time `t[k]` to the less noisy `s[k]`; time 0 is data.

    Attributes:
        t: times at which the network is evaluated, decreasing, in 1..T.
        s: the time that each row reaches; the last is 0.
        rows: float64 columns (p, q, a, b, c, d, e, m).
        prediction: the kind of output that p and q are made for; None if it was not given.
        schedule: the noise schedule from which the rows were made; None if it was not given.
        w_range: the guidance weights for which the solver is defined, smallest and largest.

    Raises:
        UsageError: naming the attribute that is wrong.
    """

    t: Int[Tensor, " n"]
    s: Int[Tensor, " n"]
    rows: Float[Tensor, "n 8"]
    prediction: Prediction | None = None
    schedule: Schedule | None = None
    w_range: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        """Check the types, the times and the rows."""
        _check_rows(self.rows)
        _check_times("t", self.t, len(self.rows))
        _check_times("s", self.s, len(self.rows))
        if self.prediction is not None:
            check_choice("prediction", self.prediction, Prediction)
        if bool((self.t.diff() >= 0).any()) or int(self.t[-1]) < 1:
            raise UsageError(
                f"t = {self.t.tolist()} does not decrease in 1..T; pass each time once, from the "
                "noisiest to the least noisy"
            )
        if bool((self.s >= self.t).any()) or bool((self.s < 0).any()):
            raise UsageError(
                f"s = {self.s.tolist()} is not below t = {self.t.tolist()}; pass for each row the "
                "less noisy time that it reaches"
            )
        if not torch.equal(self.s[:-1], self.t[1:]):
            raise UsageError(
                f"s = {self.s.tolist()} does not lead to t = {self.t.tolist()}; pass for each row "
                "the time at which the next one begins, and 0 for the last row"
            )
        if int(self.s[-1]) != 0:
            raise UsageError(
                f"s = {self.s.tolist()} does not end at 0, which is the data; add the rows that "
                "lead there"
            )
        if self.schedule is not None:
            check_schedule(self, self.schedule)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def uses_null(self) -> bool:
        """Whether a row adds the null output by itself (d != 0), as those of CFG++ do."""
        return bool(self.rows[:, 5].any())

    @property
    def looks_back(self) -> bool:
        """Whether a row uses the previous guess of x_0 (e != 0), as in DPM-Solver++(2M)."""
        return bool(self.rows[:, 6].any())


def _check_rows(rows: object) -> None:
    """Refuse rows that are not (n, 8) finite float64 numbers, or whose first one looks back."""
    if not isinstance(rows, Tensor) or rows.dtype != torch.float64:
        raise UsageError(f"rows is {described(rows)}; pass a float64 tensor of shape (n, 8)")
    if rows.ndim != 2 or rows.shape[1] != 8 or len(rows) == 0:
        raise UsageError(
            f"rows has shape {tuple(rows.shape)}; pass n >= 1 rows of 8 columns (p, q, a, b, c, d, "
            "e, m)"
        )
    if not bool(rows.isfinite().all()):
        k = int(rows.isfinite().all(dim=1).long().argmin())
        raise UsageError(f"rows[{k}] = {rows[k].tolist()} is not finite; pass finite numbers")
    if rows[0, 6] != 0:
        raise UsageError(
            f"rows[0] has e = {float(rows[0, 6]):g} and looks back to a step that does not exist; "
            "begin with a row that has e = 0"
        )


def _check_times(name: str, times: object, n: int) -> None:
    """Refuse times that are not an int64 tensor with one time per row."""
    if not isinstance(times, Tensor) or times.dtype != torch.int64 or times.shape != (n,):
        raise UsageError(
            f"{name} is {described(times)}; pass an int64 tensor of shape ({n},), one time per row"
        )


def described(value: object) -> str:
    """The type and shape of a tensor or an array, or the value itself, in one line."""
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{value.dtype} {tuple(value.shape)}"
    return short_repr(value)


def ddpm(
    schedule: Schedule,
    steps: Steps | None = None,
    prediction: Prediction = "eps",
    v: float = DDPM_V,
) -> Table:
    """Ancestral sampling (Ho et al. 2020, arXiv:2006.11239), strided where `steps` < T.

    `a`, `b` and `c` are the two mean coefficients and the standard deviation of the posterior
    `q(x_s | x_t, x_0)`, which is step 4 of the course with `alpha_{t|s} = abar_t / abar_s`.

    Args:
        schedule: with T steps.
        steps: number of steps, 1..T, uniformly spaced in t; or the times themselves, decreasing,
            without the final 0; all T by default.
        prediction: what the network predicts, `"eps"`, `"x0"`, `"v"` or `"velocity"`.
        v: 0..1, interpolates the variance linearly in the logarithm, from that of the posterior (0)
            to that of the forward step (1).

    Algorithm 2 of the guidance paper (arXiv:2207.12598; step 16 of the course) is this solver on a
    schedule in log SNR, unclipped; the paper takes v = 0.2 or 0.3:

    >>> from minicfg.schedule import log_snr_grid
    >>> table = ddpm(Schedule.from_log_snr(log_snr_grid(256)), v=0.3)
    """
    check_choice("prediction", prediction, Prediction)
    check_number("v", v, "pass a number in 0..1")
    if not 0 <= v <= 1:
        raise UsageError(f"v = {v} is outside 0..1; pass a number inside")
    t, s = times(schedule, steps)
    abar_t = schedule.alpha_bar[t]
    abar_s = schedule.alpha_bar[s]
    alpha_ts = abar_t / abar_s
    a = abar_s.sqrt() * (1 - alpha_ts) / (1 - abar_t)
    b = alpha_ts.sqrt() * (1 - abar_s) / (1 - abar_t)
    var = (1 - alpha_ts) * ((1 - abar_s) / (1 - abar_t)) ** (1 - v)
    var[-1] = 0  # the last row ends at the guess of x_0, without noise, for any v
    return _table(schedule, t, s, prediction, a=a, b=b, c=var.sqrt())


def ddim(
    schedule: Schedule,
    steps: Steps | None = None,
    prediction: Prediction = "eps",
    eta: float = DDIM_ETA,
) -> Table:
    """DDIM (Song et al. 2021, arXiv:2010.02502, eqs. 12 and 16), step 17 of the course.

    `x_s` is a sum of three parts: the guess of x_0; the noise that this guess implies in `x_t`; and
    fresh noise. If the guess has been clipped, the implied noise is that of the clipped guess (in
    diffusers: `use_clipped_model_output=True`).

    Args:
        schedule: with T steps.
        steps: as in `ddpm`.
        prediction: what the network predicts, `"eps"`, `"x0"`, `"v"` or `"velocity"`.
        eta: 0..1, standard deviation of the fresh noise in units of that of `ddpm`. At 1 the table
            is that of `ddpm`; at 0 a sample is a function of the noise from which it starts.
    """
    check_choice("prediction", prediction, Prediction)
    check_number("eta", eta, "pass a number in 0..1")
    if not 0 <= eta <= 1:
        raise UsageError(f"eta = {eta} is outside 0..1; pass a number inside")
    t, s = times(schedule, steps)
    abar_t = schedule.alpha_bar[t]
    abar_s = schedule.alpha_bar[s]
    alpha_ts = abar_t / abar_s
    ratio = (1 - abar_s) / (1 - abar_t)
    c = eta * (ratio * (1 - alpha_ts)).sqrt()
    # b = sqrt((1 - abar_s - c^2) / (1 - abar_t)), written as a sum of terms that are never
    # negative.
    b = (ratio * (1 - eta**2 + eta**2 * ratio * alpha_ts)).sqrt()
    a = abar_s.sqrt() - b * abar_t.sqrt()
    return _table(schedule, t, s, prediction, a=a, b=b, c=c)


def dpmpp_2m(
    schedule: Schedule, steps: Steps | None = None, prediction: Prediction = "eps"
) -> Table:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, alg. 2), step 18 of the course.

    `ddim` without noise, with another guess of x_0: the line through the guesses of this step and
    of the previous one is continued to the middle of the step. The error is then of second order in
    the step of log SNR, where that of `ddim` is of first order. The first row has no previous
    guess, and the last row ends where log SNR is infinite: these two are those of `ddim`.

    Args:
        schedule: with T steps.
        steps: as in `ddpm`.
        prediction: what the network predicts, `"eps"`, `"x0"`, `"v"` or `"velocity"`.
    """
    t, s = times(schedule, steps)
    abar_t = schedule.alpha_bar[t]
    abar_s = schedule.alpha_bar[s]
    b = ((1 - abar_s) / (1 - abar_t)).sqrt()
    a = abar_s.sqrt() - b * abar_t.sqrt()
    h = schedule.log_snr[t[1:]] - schedule.log_snr[t[:-1]]  # steps of log SNR
    previous = torch.zeros_like(a)  # weight of the previous guess
    previous[1:-1] = -h[1:] / (2 * h[:-1])
    return _table(schedule, t, s, prediction, a=a * (1 - previous), b=b, e=a * previous)


def cfgpp(schedule: Schedule, steps: Steps | None = None, prediction: Prediction = "eps") -> Table:
    """CFG++ (Chung et al. 2024, arXiv:2406.08070), step 20 of the course: sample with w in -1..0.

    `ddim` that adds the noise of the null output only. The paper's scale, in 0..1, is `1 + w`. It
    is equal to `ddim` with a weight that changes with t and grows with the number of steps, so a
    value of w belongs to a number of steps.

    Args:
        schedule: with T steps.
        steps: as in `ddpm`.
        prediction: what the network predicts, `"eps"`, `"x0"`, `"v"` or `"velocity"`.
    """
    t, s = times(schedule, steps)
    abar_t = schedule.alpha_bar[t]
    abar_s = schedule.alpha_bar[s]
    u, v = eps_coefficients(abar_t, prediction)
    noise_s = (1 - abar_s).sqrt()
    table = _table(schedule, t, s, prediction, a=abar_s.sqrt(), b=noise_s * u, d=noise_s * v)
    return replace(table, w_range=(-1.0, 0.0))


def with_weight(
    table: Table,
    schedule: Schedule,
    weight: Callable[[Float[Tensor, " n"]], Float[Tensor, " n"]],
) -> Table:
    """`table` with guidance that changes with t: at each time, w is multiplied by `weight`.

    Args:
        table: any table.
        schedule: the one from which the table was made.
        weight: a function of the table's log SNRs, all at once, in float64. It returns one finite
            number for each. The first log SNR is -infinity at zero terminal SNR. `torch.ones_like`
            changes nothing.
    """
    check_schedule(table, schedule)
    if not callable(weight):
        raise UsageError(
            f"weight = {short_repr(weight)} is not a function; pass a function of the log SNRs"
        )
    m = weight(schedule.log_snr[table.t])
    if not isinstance(m, Tensor) or m.shape != table.t.shape or m.is_complex():
        raise UsageError(
            f"weight returned {described(m)}; return {len(table)} finite numbers, one per row, in "
            "a tensor"
        )
    if not bool(m.isfinite().all()):
        raise UsageError(
            f"weight returned {m.tolist()}; return {len(table)} finite numbers, one per row"
        )
    rows = table.rows.clone()
    rows[:, 7] *= m
    return replace(table, rows=rows)


def check_schedule(table: Table, schedule: Schedule) -> None:
    """Refuse a schedule other than the one from which the table was made.

    A table without a schedule is refused only where it begins after the schedule's T.
    """
    check_type("table", table, Table, "pass a table from minicfg.solvers")
    check_type("schedule", schedule, Schedule, "pass a minicfg.Schedule")
    if int(table.t[0]) > schedule.T:
        raise UsageError(
            f"schedule has T = {schedule.T} and the table begins at t = {int(table.t[0])}; pass "
            "the schedule from which the table was made"
        )
    own = table.schedule
    if own is not None and not torch.equal(own.alpha_bar, schedule.alpha_bar):
        raise UsageError(
            f"schedule is {schedule.name!r} with T = {schedule.T}, and the table was made from "
            f"{own.name!r} with T = {own.T} and another alpha_bar; pass one schedule to both"
        )


def check_w_of_table(table: Table, w: float | Tensor) -> None:
    """Refuse a weight outside the range of the table; that of CFG++ is -1..0."""
    weights = torch.as_tensor(w)
    low, high = table.w_range
    if not bool(((weights >= low) & (weights <= high)).all()):
        raise UsageError(
            f"w = {weights.tolist()} is outside {low:g}..{high:g}, the range of this table's "
            "solver; pass w in this range, or use another solver"
        )


def with_interval(table: Table, schedule: Schedule, low: float, high: float) -> Table:
    """`table` with guidance only where `low <= log_snr < high`.

    Kynkaanniemi et al. 2024, arXiv:2404.07724, whose sigma is `exp(-log_snr / 2)`; step 20 of the
    course. The interval from -infinity to infinity changes nothing. `schedule` is the one from
    which the table was made.
    """
    for name, value in (("low", low), ("high", high)):
        check_number(name, value, "pass a log SNR, which may be infinite")
    if not low <= high:
        raise UsageError(f"low = {low}, high = {high}; pass log SNRs with low <= high")
    return with_weight(
        table, schedule, lambda log_snr: ((low <= log_snr) & (log_snr < high)).double()
    )


def named(name: str) -> Callable[..., Table]:
    """The solver of that name: `ddpm`, `ddim`, `dpmpp_2m` or `cfgpp`."""
    check_choice("solver", name, SolverName)
    return {"ddpm": ddpm, "ddim": ddim, "dpmpp_2m": dpmpp_2m, "cfgpp": cfgpp}[name]


def times(schedule: Schedule, steps: Steps | None) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """The times `t` at which a solver evaluates the network, from T down, and the ends `s`."""
    check_type(
        "schedule",
        schedule,
        Schedule,
        "pass a minicfg.Schedule, such as Schedule.cosine(1000) or checkpoint.schedule",
    )
    T = schedule.T
    if isinstance(steps, (Tensor, np.ndarray, np.generic)):
        steps = steps.tolist()
    if steps is None:
        steps = T
    if isinstance(steps, int):
        if isinstance(steps, bool) or not 1 <= steps <= T:
            raise UsageError(
                f"steps = {steps} is outside 1..{T}; choose a number of steps from 1 to T = {T}"
            )
        # T i / steps, rounded to the nearest integer in integer arithmetic: no time occurs twice.
        visited = [(2 * T * i + steps) // (2 * steps) for i in range(steps, 0, -1)]
    else:
        visited = whole_times(steps, T)
    return torch.tensor(visited), torch.tensor([*visited[1:], 0])


def whole_times(steps: object, T: int) -> list[int]:
    """The given times as Python integers, which must decrease within 1..T."""
    given = list(steps) if isinstance(steps, Sequence) else [steps]
    visited = [t for t in map(as_integer, given) if t is not None]
    whole = len(visited) == len(given) > 0
    ordered = whole and all(later < earlier for earlier, later in pairwise(visited))
    if not ordered or visited[0] > T or visited[-1] < 1:
        raise UsageError(
            f"steps = {short_repr(steps)}; pass decreasing integer times in 1..{T}, or how many "
            "of them to use"
        )
    return visited


def x0_coefficients(
    alpha_bar: Float[Tensor, " n"], prediction: Prediction
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """`p`, `q` with `x0hat = p x_t + q out`, for each kind of output (steps 5 and 21)."""
    check_choice("prediction", prediction, Prediction)
    signal = alpha_bar.sqrt()
    noise = (1 - alpha_bar).sqrt()
    if prediction == "eps":
        if bool((signal == 0).any()):
            raise UsageError(
                "prediction = 'eps': at zero terminal SNR x_T is pure noise, and eps determines no "
                "x_0 (0 / 0); use a network that predicts 'velocity', 'v' or 'x0'"
            )
        return 1 / signal, -noise / signal
    if prediction == "x0":
        return torch.zeros_like(signal), torch.ones_like(signal)
    if prediction == "v":
        return signal, -noise
    # The state of the flow, x_t / (signal + noise), is (1 - u) x_0 + u eps = x_0 + u velocity.
    u = noise / (signal + noise)
    return 1 / (signal + noise), -u


def eps_coefficients(
    alpha_bar: Float[Tensor, " n"], prediction: Prediction
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """`u`, `v` with `eps = u x_t + v out`, for each kind of output (steps 5 and 21)."""
    check_choice("prediction", prediction, Prediction)
    signal = alpha_bar.sqrt()
    noise = (1 - alpha_bar).sqrt()
    if prediction == "eps":
        return torch.zeros_like(signal), torch.ones_like(signal)
    if prediction == "x0":
        return 1 / noise, -signal / noise
    if prediction == "v":
        return noise, signal
    # The state of the flow, x_t / (signal + noise), is also eps - (1 - u) velocity.
    return 1 / (signal + noise), signal / (signal + noise)


def _table(
    schedule: Schedule,
    t: Tensor,
    s: Tensor,
    prediction: Prediction,
    *,
    a: Tensor,
    b: Tensor,
    c: Tensor | float = 0.0,
    d: Tensor | float = 0.0,
    e: Tensor | float = 0.0,
) -> Table:
    p, q = x0_coefficients(schedule.alpha_bar[t], prediction)
    m = 1.0
    rows = torch.stack([torch.as_tensor(x).expand_as(p) for x in (p, q, a, b, c, d, e, m)], dim=1)
    return Table(t, s, rows, prediction, schedule)
