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

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tutorial.contract import Denoiser, Normals
from tutorial.program import BLUE, CLASS_COLORS, GREY, ORANGE, Check, present
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import three_gaussians
from tutorial.step05_reverse import x0_coefficients
from tutorial.step07_oracle import oracle_eps
from tutorial.step08_sampling import ancestral_sample
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
    T, n = schedule.T, schedule.T if steps is None else steps
    if isinstance(n, int) and not 1 <= n <= T:
        raise ValueError(f"steps = {n} is outside 1..{T}")
    t = [(T * i + n // 2) // n for i in range(n, 0, -1)] if isinstance(n, int) else [*n]  # (14.5)
    if not t or any(s >= u for u, s in pairwise([T + 1, *t, 0])):
        raise ValueError(f"steps = {t}: decreasing times in 1..{T} are needed")
    return np.array(t), np.array([*t[1:], 0])


def table_of(
    schedule: Schedule, t: Int[np.ndarray, " n"], s: Int[np.ndarray, " n"], prediction: str,
    *columns: Float[np.ndarray, " n"] | float,
) -> Table:  # fmt: skip
    """Columns `a, b, c, d, e, m`, one a row or one for all, beside the `p, q` of `prediction`."""
    p, q = np.array([x0_coefficients(int(u), schedule, prediction) for u in t]).T
    return Table(t, s, np.stack(np.broadcast_arrays(p, q, *columns), 1))


def ddpm(
    schedule: Schedule, steps: int | Sequence[int] | None = None, prediction: str = "eps"
) -> Table:
    """Ancestral sampling: the posterior of step 4, from any t to any earlier s."""
    t, s = times(schedule, steps)
    abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    alpha, left = abar_t / abar_s, (1 - abar_s) / (1 - abar_t)  # (14.4)
    a, b = np.sqrt(abar_s) * (1 - alpha) / (1 - abar_t), np.sqrt(alpha) * left
    return table_of(schedule, t, s, prediction, a, b, np.sqrt((1 - alpha) * left), 0.0, 0.0, 1.0)


def run_steps(
    model: Denoiser, y: Int[np.ndarray, " n"], table: Table, w: float, rng: Normals,
    clip: float = np.inf,
) -> Iterator[tuple[int, Float[np.ndarray, "n 2"]]]:  # fmt: skip
    """Yield `(t, x_t)` from noise at `table.t[0]` to 0, a chain a label in 0..K; `clip` > 0.

    `rng` draws once at the start and once a row, also where c = 0.
    """
    if not clip > 0:
        raise ValueError(f"clip = {clip} is not above 0 (inf: no clipping)")
    xt, null, x0prev = rng.standard_normal((len(y), 2)), np.full_like(y, model.num_classes), 0.0
    yield int(table.t[0]), xt
    for t, s, (p, q, a, b, c, d, e, m) in zip(table.t, table.s, table.rows, strict=True):
        of_y = model(xt, int(t), y)
        of_null = model(xt, int(t), null) if m * w != 0 or d != 0 else of_y  # not asked in vain
        x0hat = np.clip(p * xt + q * guide(of_y, of_null, m * w), -clip, clip)  # (14.1) (14.2)
        z = rng.standard_normal(xt.shape)
        xt = a * x0hat + b * xt + d * of_null + e * x0prev + c * z  # (14.3)
        x0prev = x0hat
        yield int(s), xt


def run(
    model: Denoiser, y: Int[np.ndarray, " n"], table: Table, w: float, rng: Normals,
    clip: float = np.inf,
) -> Float[np.ndarray, "n 2"]:  # fmt: skip
    """One sample of each label in `y`: where `run_steps` ends."""
    return deque(run_steps(model, y, table, w, rng, clip), maxlen=1).pop()[1]


def checks() -> list[Check]:
    """The loop against step 8's; a strided table against the full one of a shorter schedule."""
    schedule, y = Schedule.linear(100), np.arange(300) % 3
    model, kept = oracle_eps(three_gaussians(), schedule), schedule.alpha_bar[::5]
    x = run(model, y, ddpm(schedule), 1.5, np.random.default_rng(0))
    apart = x - ancestral_sample(model, y, schedule, 1.5, np.random.default_rng(0))
    shorter = Schedule(np.concatenate([[0.0], 1 - kept[1:] / kept[:-1]]))
    strided = ddpm(schedule, 20).rows - ddpm(shorter).rows
    return [
        Check("(14.3) the loop, and step 8's", np.abs(apart).max(), 0, 1e-11),
        Check("(14.4) strided, and shorter schedule", np.abs(strided).max(), 0, 1e-11),
        Check("(14.5) the last start of 7 of 1000", times(Schedule.linear(1000), 7)[0][-1], 143, 0),
    ]


def figure() -> Figure:
    """The numbers of one table; what the same labels become in ever fewer rows."""
    schedule, y, fig = Schedule.cosine(1000), np.arange(600) % 3, Figure((11, 3), layout="tight")
    model, table = oracle_eps(three_gaussians(), schedule), ddpm(schedule, 20)
    numbers, *panels = fig.subplots(1, 4)
    for column, name, color in ((2, "a", BLUE), (3, "b", ORANGE), (4, "c", GREY)):
        numbers.plot(table.t, table.rows[:, column], "o-", ms=3, color=color, label=name)
    numbers.set(title="Ancestral rows, 20 of 1000", xlabel="t")
    numbers.legend(fontsize=8, loc="lower center", ncols=3)
    for ax, steps in zip(panels, (1000, 20, 5), strict=True):
        x = run(model, y, ddpm(schedule, steps), 1.0, np.random.default_rng(0))
        ax.scatter(*x.T, s=4, c=[CLASS_COLORS[k] for k in y])
        ax.set(title=f"{steps} rows, w = 1", xlim=(-3, 3.5), ylim=(-3, 3.5), aspect="equal")
    return fig


if __name__ == "__main__":
    present("step14_rows", __doc__ or "", checks(), figure())
