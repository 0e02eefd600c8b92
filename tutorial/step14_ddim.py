r"""Step 14, part 2. DDIM: one trained network, a family of chains, from noisy to a map.

**Claim.** The loss of step 6 sees each $q(x_t | x_0)$ alone, never two times together. So a network
trained for (3.1) serves any process with those marginals. Here is one such process for each $c$:

$$ q(x_s|x_t,x_0) = N(\sqrt{\bar\alpha_s} x_0 + \sqrt{1-\bar\alpha_s-c^2} \epsilon, c^2 I) $$ (14.6)
$$ \epsilon = (x_t - \sqrt{\bar\alpha_t} x_0) / \sqrt{1 - \bar\alpha_t} $$ (14.7)

**Why the marginals survive.** By induction, from $T$ down. If $x_t$ given $x_0$ has the law (3.1),
then (14.7) is the noise in it, $N(0, I)$ and independent of the fresh $z$. In
$x_s = \sqrt{\bar\alpha_s} x_0 + \sqrt{1 - \bar\alpha_s - c^2} \epsilon + c z$ variances add:

$$ q(x_s | x_0) = N(\sqrt{\bar\alpha_s} x_0, (1 - \bar\alpha_s) I) $$ (14.8)

which is (3.1) at $s$, whatever $c$. Only laws of several times together depend on $c$, and but for
one $c$ they are no Markov chain's. That one is the deviation of step 4's posterior, our unit:

$$ c = \eta \sqrt{(1 - \alpha_{t|s}) (1 - \bar\alpha_s) / (1 - \bar\alpha_t)} $$ (14.9)

**The row.** Put the guess in the place of $x_0$, in (14.7) as well, and collect:

$$ b^2 = (1 - \bar\alpha_s - c^2) / (1 - \bar\alpha_t) $$ (14.10)
$$ a = \sqrt{\bar\alpha_s} - b \sqrt{\bar\alpha_t} $$ (14.11)

Let $r = (1 - \bar\alpha_s) / (1 - \bar\alpha_t)$. The share $c^2 / (1 - \bar\alpha_s)$ is $\eta^2$
times $1 - \alpha_{t|s} r$, so $b^2$ is a mean of two ends, a form in which nothing cancels:

$$ b^2 = (1 - \eta^2) r + \eta^2 \alpha_{t|s} r^2 $$ (14.12)

At $\eta = 1$, $b = \sqrt{\alpha_{t|s}} r$ is step 4's $c_t$, and $a$ its $c_0$, as both bring $x_0$
to $\sqrt{\bar\alpha_s} x_0$: DDIM is `ddpm`. At $\eta = 0$ nothing is drawn after $x_T$: a sample
is a function of its first noise.

**What few rows cost.** Let the data be $N(\mu, S)$ along an axis. The oracle's guess is affine in
$x_t$, of slope $k = \sqrt{\bar\alpha_t} S / (\bar\alpha_t S + 1 - \bar\alpha_t)$. So a row without
$d$ takes the deviations of $(x_t, \hat x_0')$ from their means to those of $(x_s, \hat x_0)$ by a
matrix $M$, and their covariance $P$, at first $diag(1, 0)$, by (8.7) again:

$$ P_s = M P_t M^T + diag(c^2, 0), \quad M = ((a k + b, e), (k, 0)) $$ (14.13)

Each row lacks $a^2 Var(x_0 | x_t)$, (5.8), and a smaller $\eta$ makes $a$ smaller. Data of variance
1/4 leave 10 rows of the cosine chain with 0.151 at $\eta = 1$, with 0.182 at $\eta = 0$.

**Clip, then re-derive.** The eps of a row is (14.7) for the *clipped* guess. A common mistake clips
and goes on with the network's own eps, which belongs to the guess before it was clipped:

$$ x_s^{wrong} - x_s = b \sqrt{\bar\alpha_t} (clip(\hat x_0) - \hat x_0) $$ (14.14)

As $s \to t$, $b \to 1$: a jump, however short the step, and more rows make more jumps. At
$\eta = 0$ the top one of step 1's classes, at height 1.5, $w = 1$, clipped to $[-2, 2]$, ends at a
mean height of 1.35, -0.2, -2.0 in 10, 50, 250 rows: on the far border. Right: 1.69, 1.67, 1.67.

**Boundary.** At $s = 0$, $r = 0$: for every $\eta$ the last row is $a = 1$, $b = c = 0$.

**Source.** Song et al. 2021, arXiv:2010.02502, eqs. 7, 12, 16 and lemma 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser, Normals
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import three_gaussians
from tutorial.step07_oracle import oracle_eps
from tutorial.step10_guidance import guide
from tutorial.step14_rows import Table, run, table_of, times

if TYPE_CHECKING:
    from jaxtyping import Float, Int


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
    b = np.sqrt((1 - eta**2) * r + eta**2 * alpha * r**2)  # (14.12), which is (14.10)
    a = np.sqrt(abar_s) - b * np.sqrt(abar_t)  # (14.11)
    c = eta * np.sqrt((1 - alpha) * r)  # (14.9)
    # With x0 for its guess, a row draws from (14.6), by the noise of (14.7). So (14.8) holds.
    return table_of(schedule, t, s, prediction, a, b, c, 0.0, 0.0, 1.0)


def chain_var(table: Table, schedule: Schedule, var: float) -> float:
    """The variance of samples along an axis where the data are Gaussian, of variance `var`."""
    cov = np.diag([1.0, 0.0])
    for t, (_, _, a, b, c, _, e, _) in zip(table.t, table.rows, strict=True):
        abar = schedule.alpha_bar[t]
        k = np.sqrt(abar) * var / (abar * var + 1 - abar)
        M = np.array([[a * k + b, e], [k, 0]])
        cov = M @ cov @ M.T + np.diag([c**2, 0])  # (14.13)
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
        jump = b * np.sqrt(schedule.alpha_bar[t]) * (clipped - x0hat)  # (14.14)
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

    present("step14_ddim")
