r"""Step 20. Rules that stay in the table: guidance for part of the time, and CFG++.

**Claim.** A rule that is linear in both answers needs no code but numbers of the row. Two of them:

**Limited interval.** Guide only while the log SNR lies in a window, by the row's weight

$$ m = 1 \text{ if } low \le \lambda_t < high, \text{ else } 0 $$ (20.1)

The source has $\sigma_{lo} < \sigma \le \sigma_{hi}$, with $\lambda = -2 \log \sigma$. Plain
guidance from $-\infty$ to $\infty$; an empty window is the conditional model. Rows outside ask the
network once, not twice. Any other course of the weight over time is another column $m$.

**CFG++** guesses the data from a mix, and puts noise back on by the null model's eps alone. Its
scale, in 0..1, is our $1 + w$: so $-1 \le w \le 0$, and the mix is an average (11.6).

$$ x_s = \sqrt{\bar\alpha_s} \hat x_0 + \sqrt{1 - \bar\alpha_s} \epsilon(x_t, \phi) $$ (20.2)

In the network's unit, $\epsilon = (\hat x_0 - p x_t) / q$ with the $p$ and $q$ of eps in (5.6).
That of $\phi$ goes into $b$ and $d$.

**It is DDIM at another weight each row.** Divide by the signal: $x = x_t / \sqrt{\bar\alpha_t}$ and
$\sigma = \sqrt{(1 - \bar\alpha) / \bar\alpha}$, so $\hat x_0 = x - \sigma_t \epsilon$. With the
scale $k$ and $D = \epsilon(x_t, y) - \epsilon(x_t, \phi)$, DDIM goes by
$-(\sigma_t - \sigma_s) (\epsilon(x_t, \phi) + k D)$ and CFG++ by
$-(\sigma_t - \sigma_s) \epsilon(x_t, \phi) - \sigma_t k D$. Without a clip these are equal if DDIM
has the scale

$$ 1 + w_t = (1 + w) \sigma_t / (\sigma_t - \sigma_s) $$ (20.3)

So CFG++ **is** plain guidance, of DDIM, in the last row, where $\sigma_s = 0$, and hence with one
row; in all others it is more than its scale says. At $w = -1$ it is the unconditional DDIM; at
$w = 0$ it is not the conditional one.

**No limit.** A fixed scale pushes by $\sigma_t k D$ in each row, however short. At $t = 500$ of the
linear chain and $k = 0.6$, (20.3) is 5.8 in 50 rows and 110 in 1000. To have a limit $k$ must fall
as rows get shorter: by (20.3) with $\sigma_s / \sigma_t = e^{-(\lambda_s - \lambda_t) / 2}$,

$$ 1 + w = s (1 - e^{-(\lambda_s - \lambda_t) / 2}) \quad \text{is DDIM of scale } s $$ (20.4)

**Measured.** As in step 19, but $w = -0.4$ for CFG++ and 1,000 samples for it (standard errors
below .012):

| rule | mean height | variance across, along | |
|---|---|---|---|
| plain, $w = 3$ | 2.37 | .137, .079 | |
| $\lambda < -2$, 12 rows | 2.19 | .174, .145 | most of the overshoot, half of the shrinking |
| $-2 \le \lambda < 2$, 28 rows | 1.97 | .127, .063 | most of the shrinking |
| $2 \le \lambda$, 10 rows | 1.52 | .229, .208 | next to nothing |
| CFG++, 10 rows | 1.75 | .121, .073 | |
| CFG++, 50 rows | 2.47 | .099, .036 | |
| CFG++, 200 rows | 3.39 | .078, .019 | |
| CFG++, 500 rows | 4.23 | .069, .014 | further out and narrower with more rows |

**Source.** Kynkaanniemi et al. 2024, arXiv:2404.07724; Chung et al. 2024, arXiv:2406.08070.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import x0_coefficients
from tutorial.step17_solvers import Table, table_of, times

if TYPE_CHECKING:
    from jaxtyping import Float


def with_interval(table: Table, schedule: Schedule, low: float, high: float) -> Table:
    """The table with guidance where `low <= log_snr < high` alone."""
    if not low <= high:
        raise ValueError(f"low = {low} is not at most high = {high}")
    log_snr = schedule.log_snr[table.t]
    m = (low <= log_snr) & (log_snr < high)  # (20.1)
    rows = table.rows.copy()
    rows[:, 7] *= m
    return Table(table.t, table.s, rows)


def cfgpp(
    schedule: Schedule, steps: int | Sequence[int] | None = None, prediction: str = "eps"
) -> Table:
    """CFG++, for `w` in -1..0: its own scale less 1."""
    t, s = times(schedule, steps)
    signal = np.sqrt(schedule.alpha_bar[s])
    noise = np.sqrt(1 - schedule.alpha_bar[s])
    p, q = np.array([x0_coefficients(int(u), schedule, prediction) for u in t]).T
    p_eps, q_eps = np.array([x0_coefficients(int(u), schedule) for u in t]).T
    # The eps of the null output g is (p x_t + q g - p_eps x_t) / q_eps.
    b = noise * (p - p_eps) / q_eps  # (20.2)
    d = noise * q / q_eps  # (20.2)
    return table_of(schedule, t, s, prediction, signal, b, 0.0, d, 0.0, 1.0)


def weights_of_ddim(w: float, schedule: Schedule, steps: int) -> Float[np.ndarray, " n"]:
    """The weight at which each row of `ddim` is that of `cfgpp` at `w`."""
    t, s = times(schedule, steps)
    sigma = np.sqrt((1 - schedule.alpha_bar) / schedule.alpha_bar)
    return (1 + w) * sigma[t] / (sigma[t] - sigma[s]) - 1  # (20.3)


def as_ddim(table: Table, schedule: Schedule, scale: float) -> Table:
    """The table of `cfgpp` whose rows at w = 1 are those of `ddim` at this scale, 1 + its w."""
    log_snr = schedule.log_snr
    rows = table.rows.copy()
    shorter = -np.expm1((log_snr[table.t] - log_snr[table.s]) / 2)  # 1 - sigma_s / sigma_t
    rows[:, 7] = scale * shorter - 1  # (20.4)
    return Table(table.t, table.s, rows)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step20_weights")
