r"""Step 18. DPM-Solver++(2M): the chain as an equation, and how fast its error falls.

**Claim.** Write $u = x / \sqrt{1 - \bar\alpha}$ and $\kappa = e^{\lambda / 2}$, which is
$\sqrt{\bar\alpha / (1 - \bar\alpha)}$. A row of DDIM at $\eta = 0$ is a step of Euler's method,

$$ u_s = u_t + (\kappa_s - \kappa_t) \hat x_0 $$ (18.1)

and ever shorter ones solve an equation, the probability flow. As $d\kappa = (\kappa / 2) d\lambda$,

$$ u_s = u_t + \int_{\lambda_t}^{\lambda_s} \hat x_0 (\kappa / 2) d\lambda $$ (18.2)

without error. All but the guess is known on the way. DDIM keeps the guess it has: first order. The
line in $\lambda$ through this row's and the last one's is of second order; half way it is near
enough to its mean. With $h = \lambda_s - \lambda_t$ and $r = h' / h$, $h'$ of the row before,

$$ D = \hat x_0 + (\hat x_0 - \hat x_0') / (2 r) $$ (18.3)

takes the place of $\hat x_0$ in DDIM's row of $a_0$ and $b_0$. So DPM-Solver++(2M) has

$$ a = a_0 (1 + 1 / (2 r)), \quad e = -a_0 / (2 r), \quad b = b_0 $$ (18.4)

The first row has none before it, and the last, to $\lambda = \infty$, no $r$: both stay DDIM's.

**The exact answer.** For data $N(\mu, S)$ the flow keeps every point at its quantile $\xi$:

$$ x_t = \sqrt{\bar\alpha_t} \mu + \sqrt{\bar\alpha_t S + 1 - \bar\alpha_t} \xi $$ (18.5)

as $u = \kappa \mu + \sqrt{1 + \kappa^2 S} \xi$ has the oracle's guess as its slope in $\kappa$.
Let $p = \bar\alpha S / (\bar\alpha S + 1 - \bar\alpha)$ be the share of the data in the variance
of $x$. After rows of equal $h$, from $p_T$ to $p_s$, a deviation from the mean is $1 + \delta$
times what it should be. For DDIM, and for 2M,

$$ \delta = -(h / 8) (p_s - p_T) + O(h^2) $$ (18.6)
$$ \delta = -(h^2 / 16) ((p_s - p_T) (1 - 5 (p_s + p_T) / 4) + 2 p_T (1 - p_T)) + O(h^3) $$ (18.7)

**Why.** Euler lacks $(\kappa_s - \kappa_t)^2 / 2$ times the second derivative of
$\sqrt{1 + \kappa^2 S}$, the part $-h^2 p (1 - p) / 8$ of it. The sum over rows is (18.6), since
$dp / d\lambda = p (1 - p)$. 2M lacks $\kappa h^3 (f' + 10 f'') / 48$, with the exact guess's slopes
in $\lambda$; this is $f \propto \sqrt p$, the part $-h^3 p (1 - p) (1 - 5 p / 2) / 16$. Its sum and
the error of the first row, Euler's, are (18.7). From noise to data: $-h / 8$, and $h^2 / 64$. For
other data, and guided, orders hold and constants do not: of 8 guided rows 2M makes the worse use.

**Boundary.** The last row, to $s = 0$, ends in its guess. That errs, whatever came before:

$$ \hat x_0 - \mu = \sqrt{p_t} (x_0 - \mu) $$ (18.8)

if $x_0$ is the exact end. So orders are measured before the last row, and with rows even in
$\lambda$. Where times are even in $t$, the last rows stay as long in $\lambda$ however many there
are, and $1 - p_t$ before it falls like $1 / n$ in the end. So 2M has two errors of first order, of
opposite signs, that cancel for some $n$; a slope read off there is luck.

**Source.** Lu et al. 2022, arXiv:2211.01095, prop. 4.1 and alg. 2. (18.6), (18.7): derived here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step17_solvers import Table, chain_var, run, table_of, times

if TYPE_CHECKING:
    from jaxtyping import Float


def dpmpp_2m(
    schedule: Schedule, steps: int | Sequence[int] | None = None, prediction: str = "eps"
) -> Table:
    """DPM-Solver++(2M): DDIM's first and last row, and between them rows that look back."""
    t, s = times(schedule, steps)
    abar_t = schedule.alpha_bar[t]
    abar_s = schedule.alpha_bar[s]
    h = np.diff(schedule.log_snr[t])
    b = np.sqrt((1 - abar_s) / (1 - abar_t))
    a_0 = np.sqrt(abar_s) - b * np.sqrt(abar_t)  # (18.1), which is (18.2) with a constant guess
    back = np.zeros(len(t))
    back[1:-1] = h[1:] / (2 * h[:-1])  # the factor 1 / (2 r) of (18.3)
    a = a_0 * (1 + back)  # (18.4)
    e = -a_0 * back  # (18.4)
    return table_of(schedule, t, s, prediction, a, b, 0.0, 0.0, e, 1.0)


def even_in_log_snr(n: int, first: float, last: float) -> Schedule:
    """A schedule of n rows of equal h, log SNR `first` at T to `last` at 1, and one to the data."""
    log_snr = np.linspace(last, first, n + 1)
    abar = 1 / (1 + np.exp(-log_snr))
    beta = np.concatenate([[0.0, 1 - abar[0]], 1 - abar[1:] / abar[:-1]])
    return Schedule(beta)


def before_last(table: Table) -> Table:
    """The table without its last row."""
    return Table(table.t[:-1], table.s[:-1], table.rows[:-1])


def data_share(t: int, schedule: Schedule, var: float) -> float:
    """p at t in 0..T, where the data have variance `var`."""
    log_snr = schedule.log_snr[schedule.check_t(t, first=0)]
    return float(1 / (1 + np.exp(-log_snr) / var))


def flow_error(table: Table, schedule: Schedule, var: float) -> float:
    """delta, of a table without noise, at the s of its last row."""
    C = schedule.alpha_bar * var + 1 - schedule.alpha_bar  # the variance of x_t in (18.5)
    start = C[table.t[0]]
    end = C[table.s[-1]]
    found = chain_var(table, schedule, var) * start  # chain_var starts from variance 1
    return float(np.sqrt(found / end)) - 1


def left_by_last_row(t: int, schedule: Schedule, var: float) -> float:
    """The factor that is left of a deviation from the mean if the last row starts at t."""
    p = data_share(t, schedule, var)
    return p**0.5  # (18.8)


def leading_error(order: int, h: float, p_first: float, p_last: float) -> float:
    """delta of `order` 1, DDIM's, or 2, 2M's, but for higher powers of h."""
    if order == 1:
        return -h / 8 * (p_last - p_first)  # (18.6)
    bend = (p_last - p_first) * (1 - 5 * (p_last + p_first) / 4)
    return -(h**2) / 16 * (bend + 2 * p_first * (1 - p_first))  # (18.7)


def guided(solver: Callable[[Schedule], Table], n: int) -> Float[np.ndarray, "n 2"]:
    """60 samples at t = 1 of step 1's classes, w = 2, after n rows; the same noise for every n."""
    schedule = even_in_log_snr(n, -8.0, 8.0)
    rng = np.random.default_rng(0)
    model = oracle_eps(three_gaussians(), schedule)
    y = np.arange(60) % 3
    return run(model, y, before_last(solver(schedule)), 2.0, rng)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step18_dpmpp")
