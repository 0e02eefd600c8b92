r"""Step 14. Every solver is a table of rows, and one loop runs them all.

**Claim.** A sampler moves $x_t$ to an earlier $x_s$. Every solver of this course does it by

$$ g = g_y + m w (g_y - g_\phi) $$ (14.1)
$$ \hat x_0 = clip(p x_t + q g) $$ (14.2)
$$ x_s = a \hat x_0 + b x_t + d g_\phi + e \hat x_0' + c z $$ (14.3)

from the network's two answers $g_y$ and $g_\phi$, the guess $\hat x_0'$ of the row before, and
fresh noise $z$. A solver is no more than its table: a row $(p, q, a, b, c, d, e, m)$ a step.

**Why this form.** (14.1) is (10.2), with a weight $m$ over time: 0 where guidance is to be off.
(14.2) is (5.7), the only place where the network's unit matters. (14.3) is affine in all there is.
Step 8's chain has $a = c_0$, $b = c_t$, $c^2 = \tilde\beta_t$, $d = e = 0$; parts 2 and 3 find
other numbers, step 17 a use for $d$, and rules that bend $g$ before (14.2).

**Strides.** Nothing asks $s$ to be $t - 1$. Noise between any two times is one jump of step 3,
$q(x_t | x_s) = N(\sqrt{\alpha_{t|s}} x_s, (1 - \alpha_{t|s}) I)$, where $\sqrt{\bar\alpha_t}$ of
the data has to be left of $\sqrt{\bar\alpha_s}$:

$$ \alpha_{t|s} = \bar\alpha_t / \bar\alpha_s $$ (14.4)

So the times that are visited are a chain of their own, with $\alpha_{t|s}$ for $\alpha_t$ and $s$
for $t - 1$ in all of step 4. Its table is `ddpm`. Of $T$ times take $n$,

$$ t_i = \lfloor T i / n + 1 / 2 \rfloor, \quad i = n, \dots, 1, 0 $$ (14.5)

from $T$ to 0 with no repeats: as $T / n \ge 1$ these are at least 1 apart, rounded or not.

**Boundary.** $\bar\alpha_0 = 1$: the last row has $a = 1$ and $b = c = 0$, and ends in its guess.
The loop draws noise in every row, used or not, so that solvers with as many rows share it.

**Source.** Ho et al. 2020, arXiv:2006.11239; Nichol and Dhariwal 2021, arXiv:2102.09672, sec. 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser, Normals, last
from tutorial.step00_notation import Schedule
from tutorial.step05_reverse import x0_coefficients
from tutorial.step10_guidance import guide

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Table:
    """Row k, `(p, q, a, b, c, d, e, m)`, moves from `t[k]` to the earlier `s[k]`; `s[-1]` is 0."""

    t: Int[np.ndarray, " n"]
    s: Int[np.ndarray, " n"]
    rows: Float[np.ndarray, "n 8"]


def times(
    schedule: Schedule, steps: int | Sequence[int] | None = None
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Where the rows start, and where each ends: at the next one's start, the last at 0.

    `steps` is how many, 1..T, or the starts themselves, decreasing in 1..T; all by default.

    >>> times(Schedule.linear(10), 4)
    (array([10,  8,  5,  3]), array([8, 5, 3, 0]))
    """
    T = schedule.T
    if steps is None:
        steps = T
    if isinstance(steps, int):
        n = steps
        if not 1 <= n <= T:
            raise ValueError(f"steps = {n} is outside 1..{T}")
        t = [(T * i + n // 2) // n for i in range(n, 0, -1)]  # (14.5)
    else:
        t = [*steps]
    if not t or any(s >= u for u, s in pairwise([T + 1, *t, 0])):
        raise ValueError(f"steps = {t}: decreasing times in 1..{T} are needed")
    s = np.array([*t[1:], 0])
    return np.array(t), s


def table_of(
    schedule: Schedule,
    t: Int[np.ndarray, " n"],
    s: Int[np.ndarray, " n"],
    prediction: str,
    *columns: Float[np.ndarray, " n"] | float,
) -> Table:
    """Columns `a, b, c, d, e, m`, one a row or one for all, beside the `p, q` of `prediction`."""
    p, q = np.array([x0_coefficients(int(u), schedule, prediction) for u in t]).T
    rows = np.stack(np.broadcast_arrays(p, q, *columns), 1)
    return Table(t, s, rows)


def ddpm(
    schedule: Schedule, steps: int | Sequence[int] | None = None, prediction: str = "eps"
) -> Table:
    """Ancestral sampling: the posterior of step 4, from any t to any earlier s."""
    t, s = times(schedule, steps)
    abar_t = schedule.alpha_bar[t]
    abar_s = schedule.alpha_bar[s]
    alpha = abar_t / abar_s  # (14.4)
    left = (1 - abar_s) / (1 - abar_t)
    a = np.sqrt(abar_s) * (1 - alpha) / (1 - abar_t)
    b = np.sqrt(alpha) * left
    c = np.sqrt((1 - alpha) * left)
    return table_of(schedule, t, s, prediction, a, b, c, 0.0, 0.0, 1.0)


def run_steps(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    table: Table,
    w: float,
    rng: Normals,
    clip: float = np.inf,
) -> Iterator[tuple[int, Float[np.ndarray, "n 2"]]]:
    """Yield `(t, x_t)` from noise at `table.t[0]` to 0, a chain a label in 0..K; `clip` > 0.

    `rng` draws once at the start and once a row, also where c = 0.
    """
    if not clip > 0:
        raise ValueError(f"clip = {clip} is not above 0 (inf: no clipping)")
    xt = rng.standard_normal((len(y), 2))
    null = np.full_like(y, model.num_classes)
    x0prev = 0.0
    yield int(table.t[0]), xt
    for t, s, (p, q, a, b, c, d, e, m) in zip(table.t, table.s, table.rows, strict=True):
        of_y = model(xt, int(t), y)
        null_is_used = m * w != 0 or d != 0
        of_null = model(xt, int(t), null) if null_is_used else of_y
        g = guide(of_y, of_null, m * w)  # (14.1)
        x0hat = np.clip(p * xt + q * g, -clip, clip)  # (14.2)
        z = rng.standard_normal(xt.shape)
        xt = a * x0hat + b * xt + d * of_null + e * x0prev + c * z  # (14.3)
        x0prev = x0hat
        yield int(s), xt


def run(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    table: Table,
    w: float,
    rng: Normals,
    clip: float = np.inf,
) -> Float[np.ndarray, "n 2"]:
    """One sample of each label in `y`: where `run_steps` ends."""
    _, x = last(run_steps(model, y, table, w, rng, clip))
    return x


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step14_rows")
