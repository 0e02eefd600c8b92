"""Solvers as tables: one row `(p, q, a, b, c, d, e, m)` a step, built in float64.

    g     = out_cond + m w (out_cond - out_null)
    x0hat = clip(p x_t + q g)
    x_s   = a x0hat + b x_t + d out_null + e x0prev + c z

One loop (`minicfg.sampling`) runs any table; one kernel (`kernels`) computes any row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from minicfg.config import DDIM_ETA, DDPM_V
from minicfg.errors import UsageError
from minicfg.schedule import Schedule, log_snr_grid

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Prediction = Literal["eps", "x0", "v"]


@dataclass(frozen=True, eq=False)
class Table:
    """Row k moves from `t[k]` to the earlier `s[k]`; `s[-1] = 0` is data.

    `prediction` is the network's output that the rows are for; None where nobody said.
    """

    t: Int[Tensor, " n"]
    s: Int[Tensor, " n"]
    rows: Float[Tensor, "n 8"]
    prediction: Prediction | None = None

    def __len__(self) -> int:
        return len(self.rows)


def ddpm(
    schedule: Schedule,
    steps: int | Sequence[int] | None = None,
    prediction: Prediction = "eps",
    v: float = DDPM_V,
) -> Table:
    """Ancestral sampling (Ho et al. 2020, arXiv:2006.11239), strided where `steps` < T.

    `a`, `b` and `c` are the two mean coefficients and the standard deviation of the posterior
    `q(x_s | x_t, x_0)`, which is step 4 of the course with `alpha_{t|s} = abar_t / abar_s`.

    Args:
        schedule: with T steps.
        steps: how many of them to take, 1..T, evenly spread; or the times themselves, decreasing,
            without the final 0; all of them by default.
        prediction: what the network puts out, `"eps"`, `"x0"` or `"v"`.
        v: 0..1, from the posterior's variance to the forward step's, evenly in the logarithm. With
            the schedule `log_snr` this is Algorithm 2 of the guidance paper (step 13).
    """
    if not 0 <= v <= 1:
        raise UsageError(f"v = {v} is outside 0..1")
    t, s = times(schedule, steps)
    abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    alpha_ts = abar_t / abar_s
    a = abar_s.sqrt() * (1 - alpha_ts) / (1 - abar_t)
    b = alpha_ts.sqrt() * (1 - abar_s) / (1 - abar_t)
    var = (1 - alpha_ts) * ((1 - abar_s) / (1 - abar_t)) ** (1 - v)
    var[-1] = 0  # the last row ends at the guess itself, whatever v is
    return _table(schedule, t, s, prediction, a=a, b=b, c=var.sqrt())


def ddim(
    schedule: Schedule,
    steps: int | Sequence[int] | None = None,
    eta: float = DDIM_ETA,
    prediction: Prediction = "eps",
) -> Table:
    """DDIM (Song et al. 2021, arXiv:2010.02502, eqs. 12 and 16), step 14 of the course.

    `x_s` is made of the guess of x_0, of the noise which that guess leaves in `x_t`, and of fresh
    noise, whose share is set by `eta`: at 1 the table is `ddpm`'s, at 0 a sample is a function of
    the noise it starts from. The noise that is left is the clipped guess's, where `clip` clips.

    Args:
        schedule: with T steps.
        steps: as in `ddpm`.
        eta: deviation of the fresh noise, in that of `ddpm`, 0..1.
        prediction: what the network puts out, `"eps"`, `"x0"` or `"v"`.
    """
    if not 0 <= eta <= 1:
        raise UsageError(f"eta = {eta} is outside 0..1")
    t, s = times(schedule, steps)
    abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    alpha_ts, ratio = abar_t / abar_s, (1 - abar_s) / (1 - abar_t)
    c = eta * (ratio * (1 - alpha_ts)).sqrt()
    # 1 - abar_s - c^2 as a sum of two terms that are never negative.
    b = (ratio * (1 - eta**2 + eta**2 * ratio * alpha_ts)).sqrt()
    return _table(schedule, t, s, prediction, a=abar_s.sqrt() - b * abar_t.sqrt(), b=b, c=c)


def dpmpp_2m(
    schedule: Schedule, steps: int | Sequence[int] | None = None, prediction: Prediction = "eps"
) -> Table:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, alg. 2), step 14 of the course.

    `ddim` without noise, but with the guess of x_0 continued half way along the line through this
    step's and the last one's: the error is of second order in the step of log SNR, not of first.
    The first row and the last, which ends where log SNR is infinite, are `ddim`'s.

    Args:
        schedule: with T steps.
        steps: as in `ddpm`.
        prediction: what the network puts out, `"eps"`, `"x0"` or `"v"`.
    """
    t, s = times(schedule, steps)
    abar_t, abar_s, log_snr = schedule.alpha_bar[t], schedule.alpha_bar[s], schedule.log_snr
    b = ((1 - abar_s) / (1 - abar_t)).sqrt()
    a = abar_s.sqrt() - b * abar_t.sqrt()
    h = log_snr[t[1:]] - log_snr[t[:-1]]
    back = torch.zeros_like(a)
    back[1:-1] = -h[1:] / (2 * h[:-1])
    return _table(schedule, t, s, prediction, a=a * (1 - back), b=b, e=a * back)


def cfgpp(
    schedule: Schedule, steps: int | Sequence[int] | None = None, prediction: Prediction = "eps"
) -> Table:
    """CFG++ (Chung et al. 2024, arXiv:2406.08070), step 17 of the course: sample with w in -1..0.

    `ddim` that puts noise back by the null output alone. Its scale, in 0..1, is `1 + w`. That of
    the same strength in `ddim` is larger and grows with the number of steps: the two belong
    together.

    Args:
        schedule: with T steps.
        steps: as in `ddpm`.
        prediction: what the network puts out, `"eps"`, `"x0"` or `"v"`.
    """
    t, s = times(schedule, steps)
    abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    signal, noise, left = abar_t.sqrt(), (1 - abar_t).sqrt(), (1 - abar_s).sqrt()
    # eps = u x_t + v out, from each output.
    eps = {"eps": (0.0, 1.0), "x0": (1 / noise, -signal / noise), "v": (noise, signal)}
    if prediction not in eps:
        raise UsageError(f"prediction = {prediction!r}: eps, x0 or v is needed")
    u, v = eps[prediction]
    return _table(schedule, t, s, prediction, a=abar_s.sqrt(), b=left * u, d=left * v)


def with_weight(
    table: Table,
    schedule: Schedule,
    weight: Callable[[Float[Tensor, " n"]], Float[Tensor, " n"]],
) -> Table:
    """`table` with w times `weight(log_snr)` at each of its times: guidance that changes with t.

    `weight` is given all of the table's log SNRs at once, in float64, and answers one finite number
    for each; the first may be -inf, at zero terminal SNR. `torch.ones_like` changes nothing.
    `schedule` is the one that the table was made of.
    """
    if int(table.t.max()) > schedule.T:
        raise UsageError(f"schedule has T = {schedule.T}: the table begins at {int(table.t[0])}")
    m = weight(schedule.log_snr[table.t])
    if m.shape != table.t.shape or not bool(m.isfinite().all()):
        raise UsageError(f"weight is {m.tolist()}: {len(table)} finite numbers are needed")
    rows = table.rows.clone()
    rows[:, 7] *= m
    return replace(table, rows=rows)


def with_interval(table: Table, schedule: Schedule, low: float, high: float) -> Table:
    """`table` with guidance where `low <= log_snr < high` alone; -inf and inf change nothing.

    Kynkaanniemi et al. 2024, arXiv:2404.07724, whose sigma is `exp(-log_snr / 2)`; step 17 of the
    course. `schedule` is the one that the table was made of.
    """
    if not low <= high:
        raise UsageError(f"low = {low}, high = {high}: an interval of log_snr is needed")
    return with_weight(
        table, schedule, lambda log_snr: ((low <= log_snr) & (log_snr < high)).double()
    )


def ancestral_log_snr(
    steps: int,
    v: float = 0.3,
    log_snr_min: float = -20.0,
    log_snr_max: float = 20.0,
    prediction: Prediction = "eps",
) -> Table:
    """Algorithm 2 of the guidance paper (arXiv:2207.12598), step 13 of the course.

    `ddpm` on `Schedule.from_log_snr(log_snr_grid(steps, log_snr_min, log_snr_max))`, whose t these
    are, with a variance between that of the posterior (`v` = 0) and that of the forward step (1),
    evenly in the logarithm. The paper does not clip: leave `clip` at infinity.

    Args:
        steps: how many, at least 1.
        v: 0..1; the paper takes 0.2 or 0.3.
        log_snr_min: of the first step.
        log_snr_max: of the last one, whose guess of x_0 is the sample.
        prediction: what the network puts out, `"eps"`, `"x0"` or `"v"`.
    """
    if not 0 <= v <= 1:
        raise UsageError(f"v = {v} is outside 0..1")
    log_snr = log_snr_grid(steps, log_snr_min, log_snr_max)
    t = torch.arange(steps, 0, -1)
    signal, noise_var = log_snr.sigmoid().sqrt(), (-log_snr).sigmoid()
    fall = log_snr[:-1] - log_snr[1:]
    new = -torch.expm1(fall)
    var = (new * noise_var[1:]) ** (1 - v) * (new * noise_var[:-1]) ** v
    one, zero = signal.new_ones(1), signal.new_zeros(1)
    return _table(
        Schedule.from_log_snr(log_snr),
        t,
        t - 1,
        prediction,
        a=torch.cat([new * signal[1:], one]),
        b=torch.cat([fall.exp() * signal[1:] / signal[:-1], zero]),
        c=torch.cat([var.sqrt(), zero]),
    )


def named(name: str) -> Callable[..., Table]:
    """The solver that a command line calls `ddpm`, `ddim`, `dpmpp_2m` or `cfgpp`."""
    by_name = {"ddpm": ddpm, "ddim": ddim, "dpmpp_2m": dpmpp_2m, "cfgpp": cfgpp}
    if name not in by_name:
        raise UsageError(f"solver = {name!r}: one of {', '.join(by_name)} is needed")
    return by_name[name]


def times(
    schedule: Schedule, steps: int | Sequence[int] | None
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """The times `t` a solver visits, from T down, and where each step ends, `s`, the last one 0."""
    T = schedule.T
    if steps is None:
        steps = T
    if isinstance(steps, int):
        if isinstance(steps, bool) or not 1 <= steps <= T:
            raise UsageError(f"steps = {steps} is outside 1..{T}")
        # T i / steps rounded to the nearest integer, in integers: no repeats, whatever the stride.
        visited = [(2 * T * i + steps) // (2 * steps) for i in range(steps, 0, -1)]
    else:
        visited = list(steps) if isinstance(steps, Iterable) else [steps]
        whole = visited and all(type(t) is int for t in visited)
        ordered = whole and all(later < earlier for earlier, later in pairwise(visited))
        if not ordered or visited[0] > T or visited[-1] < 1:
            raise UsageError(f"steps = {visited}: decreasing times in 1..{T} are needed")
    return torch.tensor(visited), torch.tensor([*visited[1:], 0])


def x0_coefficients(
    alpha_bar: Float[Tensor, " n"], prediction: Prediction
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """`p`, `q` with `x0hat = p x_t + q out`, for each kind of output (step 5 of the course)."""
    signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    if prediction == "eps":
        if bool((signal == 0).any()):
            raise UsageError(
                "prediction = 'eps': at zero terminal SNR x_T is the noise, and says 0 / 0 of x_0; "
                "v or x0 is needed"
            )
        return 1 / signal, -noise / signal
    if prediction == "x0":
        return torch.zeros_like(signal), torch.ones_like(signal)
    if prediction == "v":
        return signal, -noise
    raise UsageError(f"prediction = {prediction!r}: eps, x0 or v is needed")


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
    columns = (p, q, a, b, c, d, e, 1.0)
    rows = torch.stack([torch.as_tensor(x).expand_as(p) for x in columns], dim=1)
    return Table(t, s, rows, prediction)
