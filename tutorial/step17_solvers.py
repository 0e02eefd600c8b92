r"""Step 17. Every solver is a table of rows, and one loop runs them all.

**Claim.** A sampler moves $x_t$ to an earlier $x_s$. Every solver of this course does it by

$$ g = g_y + m w (g_y - g_\phi) $$ (17.1)
$$ \hat x_0 = clip(p x_t + q g) $$ (17.2)
$$ x_s = a \hat x_0 + b x_t + d g_\phi + e \hat x_0' + c z $$ (17.3)

from the network's two answers $g_y$ and $g_\phi$, the guess $\hat x_0'$ of the row before, and
fresh noise $z$. A solver is no more than its table: a row $(p, q, a, b, c, d, e, m)$ a step.

**Why this form.** (17.1) is (11.2), with a weight $m$ over time: 0 where guidance is to be off.
(17.2) is (6.5), the only place where the network's unit matters. (17.3) is affine in all there is.
Step 7's chain has $a = c_0$, $b = c_t$, $c^2 = \tilde\beta_t$, $d = e = 0$; DDIM, below, and
step 18 find other numbers, step 20 a use for $d$, and rules that bend $g$ before (17.2).

**Strides.** Nothing asks $s$ to be $t - 1$. Noise between any two times is one jump of step 3,
$q(x_t | x_s) = N(\sqrt{\alpha_{t|s}} x_s, (1 - \alpha_{t|s}) I)$, where $\sqrt{\bar\alpha_t}$ of
the data has to be left of $\sqrt{\bar\alpha_s}$:

$$ \alpha_{t|s} = \bar\alpha_t / \bar\alpha_s $$ (17.4)

So the times that are visited are a chain of their own, with $\alpha_{t|s}$ for $\alpha_t$ and $s$
for $t - 1$ in all of step 4. Its table is `ddpm`. Of $T$ times take $n$,

$$ t_i = \lfloor T i / n + 1 / 2 \rfloor, \quad i = n, \dots, 1, 0 $$ (17.5)

from $T$ to 0 with no repeats: as $T / n \ge 1$ these are at least 1 apart, rounded or not.

**Boundary.** $\bar\alpha_0 = 1$: the last row has $a = 1$ and $b = c = 0$, and ends in its guess.
The loop draws noise in every row, used or not, so that solvers with as many rows share it.

**Source.** Ho et al. 2020, arXiv:2006.11239; Nichol and Dhariwal 2021, arXiv:2102.09672, sec. 4.

**DDIM: one trained network, a family of chains, from noisy to a map.**

**Claim.** The loss of step 8 sees each $q(x_t | x_0)$ alone, never two times together. So a network
trained for (3.1) serves any process with those marginals. Here is one such process for each $c$:

$$ q(x_s|x_t,x_0) = N(\sqrt{\bar\alpha_s} x_0 + \sqrt{1-\bar\alpha_s-c^2} \epsilon, c^2 I) $$ (17.6)
$$ \epsilon = (x_t - \sqrt{\bar\alpha_t} x_0) / \sqrt{1 - \bar\alpha_t} $$ (17.7)

**Why the marginals survive.** By induction, from $T$ down. If $x_t$ given $x_0$ has the law (3.1),
then (17.7) is the noise in it, $N(0, I)$ and independent of the fresh $z$. In
$x_s = \sqrt{\bar\alpha_s} x_0 + \sqrt{1 - \bar\alpha_s - c^2} \epsilon + c z$ variances add:

$$ q(x_s | x_0) = N(\sqrt{\bar\alpha_s} x_0, (1 - \bar\alpha_s) I) $$ (17.8)

which is (3.1) at $s$, whatever $c$. Only laws of several times together depend on $c$, and but for
one $c$ they are no Markov chain's. That one is the deviation of step 4's posterior, our unit:

$$ c = \eta \sqrt{(1 - \alpha_{t|s}) (1 - \bar\alpha_s) / (1 - \bar\alpha_t)} $$ (17.9)

**The row.** Put the guess in the place of $x_0$, in (17.7) as well, and collect:

$$ b^2 = (1 - \bar\alpha_s - c^2) / (1 - \bar\alpha_t) $$ (17.10)
$$ a = \sqrt{\bar\alpha_s} - b \sqrt{\bar\alpha_t} $$ (17.11)

Let $r = (1 - \bar\alpha_s) / (1 - \bar\alpha_t)$. The share $c^2 / (1 - \bar\alpha_s)$ is $\eta^2$
times $1 - \alpha_{t|s} r$, so $b^2$ is a mean of two ends, a form in which nothing cancels:

$$ b^2 = (1 - \eta^2) r + \eta^2 \alpha_{t|s} r^2 $$ (17.12)

At $\eta = 1$, $b = \sqrt{\alpha_{t|s}} r$ is step 4's $c_t$, and $a$ its $c_0$, as both bring $x_0$
to $\sqrt{\bar\alpha_s} x_0$: DDIM is `ddpm`. At $\eta = 0$ nothing is drawn after $x_T$: a sample
is a function of its first noise.

**What few rows cost.** Let the data be $N(\mu, S)$ along an axis. The oracle's guess is affine in
$x_t$, of slope $k = \sqrt{\bar\alpha_t} S / (\bar\alpha_t S + 1 - \bar\alpha_t)$. So a row without
$d$ takes the deviations of $(x_t, \hat x_0')$ from their means to those of $(x_s, \hat x_0)$ by a
matrix $M$, and their covariance $P$, at first $diag(1, 0)$, by (B.4) again:

$$ P_s = M P_t M^T + diag(c^2, 0), \quad M = ((a k + b, e), (k, 0)) $$ (17.13)

Each row lacks $a^2 Var(x_0 | x_t)$, (6.3), and a smaller $\eta$ makes $a$ smaller. Data of variance
1/4 leave 10 rows of the cosine chain with 0.151 at $\eta = 1$, with 0.182 at $\eta = 0$.

**Clip, then re-derive.** The eps of a row is (17.7) for the *clipped* guess. A common mistake clips
and goes on with the network's own eps, which belongs to the guess before it was clipped:

$$ x_s^{wrong} - x_s = b \sqrt{\bar\alpha_t} (clip(\hat x_0) - \hat x_0) $$ (17.14)

As $s \to t$, $b \to 1$: a jump, however short the step, and more rows make more jumps. At
$\eta = 0$ the top one of step 1's classes, at height 1.5, $w = 1$, clipped to $[-2, 2]$, ends at a
mean height of 1.35, -0.2, -2.0 in 10, 50, 250 rows: on the far border. Right: 1.69, 1.67, 1.67.

**Boundary.** At $s = 0$, $r = 0$: for every $\eta$ the last row is $a = 1$, $b = c = 0$.

**Source.** Song et al. 2021, arXiv:2010.02502, eqs. 7, 12, 16 and lemma 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser, Normals, last
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps, x0_coefficients
from tutorial.step11_guidance import guide

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
        t = [(T * i + n // 2) // n for i in range(n, 0, -1)]  # (17.5)
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
    alpha = abar_t / abar_s  # (17.4)
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
        g = guide(of_y, of_null, m * w)  # (17.1)
        x0hat = np.clip(p * xt + q * g, -clip, clip)  # (17.2)
        z = rng.standard_normal(xt.shape)
        xt = a * x0hat + b * xt + d * of_null + e * x0prev + c * z  # (17.3)
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


def ddim(
    schedule: Schedule,
    steps: int | Sequence[int] | None = None,
    eta: float = 0.0,
    prediction: str = "eps",
) -> Table:
    """DDIM: `eta` = 1 is `ddpm`, `eta` = 0 a map without noise, and 0..1 is what lies between."""
    if not 0 <= eta <= 1:
        raise ValueError(f"eta = {eta} is outside 0..1")
    t, s = times(schedule, steps)
    abar_t = schedule.alpha_bar[t]
    abar_s = schedule.alpha_bar[s]
    alpha = abar_t / abar_s
    r = (1 - abar_s) / (1 - abar_t)
    b = np.sqrt((1 - eta**2) * r + eta**2 * alpha * r**2)  # (17.12), which is (17.10)
    a = np.sqrt(abar_s) - b * np.sqrt(abar_t)  # (17.11)
    c = eta * np.sqrt((1 - alpha) * r)  # (17.9)
    # With x0 for its guess, a row draws from (17.6), by the noise of (17.7). So (17.8) holds.
    return table_of(schedule, t, s, prediction, a, b, c, 0.0, 0.0, 1.0)


def chain_var(table: Table, schedule: Schedule, var: float) -> float:
    """The variance of samples along an axis where the data are Gaussian, of variance `var`."""
    cov = np.diag([1.0, 0.0])
    for t, (_, _, a, b, c, _, e, _) in zip(table.t, table.rows, strict=True):
        abar = schedule.alpha_bar[t]
        k = np.sqrt(abar) * var / (abar * var + 1 - abar)
        M = np.array([[a * k + b, e], [k, 0]])
        cov = M @ cov @ M.T + np.diag([c**2, 0])  # (17.13)
    return float(cov[0, 0])


def run_with_stale_eps(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    table: Table,
    schedule: Schedule,
    w: float,
    rng: Normals,
    clip: float,
) -> Float[np.ndarray, "n 2"]:
    """The mistake, to be seen: `run` for a table of `ddim` with eps that are not re-derived."""
    xt = rng.standard_normal((len(y), 2))
    null = np.full_like(y, model.num_classes)
    for t, (p, q, a, b, c, _, _, _) in zip(table.t, table.rows, strict=True):
        g = guide(model(xt, int(t), y), model(xt, int(t), null), w)
        x0hat = p * xt + q * g
        clipped = np.clip(x0hat, -clip, clip)
        z = rng.standard_normal(xt.shape)
        jump = b * np.sqrt(schedule.alpha_bar[t]) * (clipped - x0hat)  # (17.14)
        xt = a * clipped + b * xt + c * z + jump
    return xt


def heights(table: Table, schedule: Schedule) -> tuple[float, float]:
    """Where the top one of three classes ends, w = 1, clipped to [-2, 2]: rightly, and wrongly."""
    model = oracle_eps(three_gaussians(), schedule)
    y = np.zeros(1000, int)
    right = run(model, y, table, 1.0, np.random.default_rng(0), 2.0)
    wrong = run_with_stale_eps(model, y, table, schedule, 1.0, np.random.default_rng(0), 2.0)
    return float(right[:, 1].mean()), float(wrong[:, 1].mean())


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step17_solvers")
