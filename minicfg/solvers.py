"""Solvers as tables: one row `(p, q, a, b, c, d, e, m)` a step, built in float64.

    g     = out_cond + m w (out_cond - out_null)
    x0hat = clip(p x_t + q g)
    x_s   = a x0hat + b x_t + d out_null + e x0prev + c z

One loop (`minicfg.sampling`) runs any table; one kernel (`kernels`) computes any row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from minicfg.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from minicfg.schedule import Schedule

Prediction = Literal["eps", "x0", "v"]


@dataclass(frozen=True, eq=False)
class Table:
    """Row k moves from `t[k]` to the earlier `s[k]`; `s[-1] = 0` is data."""

    t: Int[Tensor, " n"]
    s: Int[Tensor, " n"]
    rows: Float[Tensor, "n 8"]

    def __len__(self) -> int:
        return len(self.rows)


def ddpm(
    schedule: Schedule, steps: int | Sequence[int] | None = None, prediction: Prediction = "eps"
) -> Table:
    """Ancestral sampling (Ho et al. 2020, arXiv:2006.11239), strided where `steps` < T.

    `a`, `b` and `c` are the two mean coefficients and the standard deviation of the posterior
    `q(x_s | x_t, x_0)`, which is step 4 of the course with `alpha_{t|s} = abar_t / abar_s`.

    Args:
        schedule: with T steps.
        steps: how many of them to take, 1..T, evenly spread; or the times themselves, decreasing,
            without the final 0; all of them by default.
        prediction: what the network puts out, `"eps"`, `"x0"` or `"v"`.
    """
    t, s = times(schedule, steps)
    abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    alpha_ts = abar_t / abar_s
    a = abar_s.sqrt() * (1 - alpha_ts) / (1 - abar_t)
    b = alpha_ts.sqrt() * (1 - abar_s) / (1 - abar_t)
    c = ((1 - alpha_ts) * (1 - abar_s) / (1 - abar_t)).sqrt()
    return _table(schedule, t, s, prediction, a=a, b=b, c=c)


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
        visited = list(steps)
        ordered = all(later < earlier for earlier, later in pairwise(visited))
        if not visited or not ordered or visited[0] > T or visited[-1] < 1:
            raise UsageError(f"steps = {visited}: decreasing times in 1..{T} are needed")
    return torch.tensor(visited), torch.tensor([*visited[1:], 0])


def x0_coefficients(
    alpha_bar: Float[Tensor, " n"], prediction: Prediction
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """`p`, `q` with `x0hat = p x_t + q out`, for each kind of output (step 5 of the course)."""
    signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    if prediction == "eps":
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
    return Table(t, s, torch.stack([torch.as_tensor(x).expand_as(p) for x in columns], dim=1))
