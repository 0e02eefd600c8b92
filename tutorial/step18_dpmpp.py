r"""Step 18. DPM-Solver++(2M): second order from the previous guess

**The question.** At $\eta = 0$ the samples of DDIM are a function of their first noise (step 17).
With more steps they converge. To which function of the noise do they converge? A second question
concerns the speed. With 100 steps DDIM still loses 3 % of the variance of a Gaussian class (step
17). Can another solver come closer with the same number of evaluations of the network?

**The letters.** Several letters of this lesson are new or had another meaning before. Each is
defined again where it first occurs.

| letter | in this lesson | in the other lessons |
|---|---|---|
| $u$ | the state, divided by the factor of its noise | step 16: a number from 0 to 1 |
| $\kappa$ | the factor of the data, divided by that of the noise | step 8: a weight of the loss |
| $h$, $h'$ | the lengths of this row and of the previous one in $\lambda$ | step 16: a tangent |
| $\ell$ | the distance from the start of the row in $\lambda$ | step 1: a logarithm |
| $\xi$ | the distance from the mean in standard deviations | step 16: new noise |
| $\delta$ | the relative error of this distance | step 16: a fraction of noise |
| $\zeta$ | the fraction of the variance that comes from the data | none |
| $g_0$, $g_1$, $g_2$ | the guess and two derivatives of it | step 17: outputs of the network |

**DDIM is Euler's method.** Euler's method solves a differential equation $dy / dx = f$ by the steps
$y + (x' - x) f$. The row of DDIM becomes such a step if we measure the state in units of its noise.
Let

$$ u_t = x_t / \sqrt{1 - \bar\alpha_t}, \quad \kappa_t = \sqrt{\bar\alpha_t / (1 - \bar\alpha_t)} $$

So $\kappa_t$ is the factor of the data divided by the factor of the noise, and $\kappa_t^2$ is the
SNR. At $\eta = 0$ the row has the numbers

$$ b = \sqrt{(1 - \bar\alpha_s) / (1 - \bar\alpha_t)} $$
$$ a = \sqrt{\bar\alpha_s} - b \sqrt{\bar\alpha_t} $$

Divide $x_s = a \hat x_0 + b x_t$ by $\sqrt{1 - \bar\alpha_s}$. The term with $b$ becomes $u_t$, and
the two terms of $a$ become $\kappa_s$ and $-\kappa_t$:

$$ u_s = u_t + (\kappa_s - \kappa_t) \hat x_0 $$ (18.1)

This is Euler's method for $du / d\kappa = \hat x_0$. The variable is $\kappa$, which grows from
noise to data, and the slope is the guess at the current state. With more and shorter steps Euler's
method converges to the solution of the equation, on every interval that ends before the data. (At
the data $\kappa$ is infinite. The last row is treated at the end of this lesson.) So this is the
answer to the first question: the samples converge to the solution that begins at their first noise.

**Which distribution do the solutions have?** The equation is called the probability flow. It is the
limit of (17.15) in another unit. With $\tau_t$ and $\bar x_t$ of step 17, the two definitions above
are

$$ u = \bar x / \sqrt\tau = \kappa \bar x, \quad \tau = 1 / \kappa^2 $$

By (17.16) and the line before it, $\bar x$ changes by $\hat\epsilon / (2 \sqrt\tau)$ per unit of
$\tau$. The chain rule and the product rule give the same equation as (18.1):

$$ d\bar x / d\kappa = (\hat\epsilon \kappa / 2) (-2 / \kappa^3) = -\hat\epsilon / \kappa^2 $$
$$ du / d\kappa = \bar x + \kappa d\bar x / d\kappa = \bar x - \sqrt\tau \hat\epsilon = \hat x_0 $$

So (17.17) holds for the solutions. If the guess is exact for some data, and $x_t$ has the
distribution of the noised data at one $t$, then it has it at all $t$. A guided guess is in general
not the exact guess of any data distribution (step 11). Then the equation and its solvers are the
same, but the distribution of the solutions is another question (step 13).

**The same equation in $\lambda$.** Let $\lambda = 2 \log \kappa$ be the log SNR. Integrating the
equation from $t$ to $s$ gives

$$ d\kappa = (\kappa / 2) d\lambda $$
$$ u_s = u_t + \int_{\lambda_t}^{\lambda_s} \hat x_0 (\kappa / 2) d\lambda $$ (18.2)

This holds exactly along every solution. Everything in the integral is known in advance except the
guess, which changes on the way. A solver has to approximate the guess between $t$ and $s$. DDIM
keeps it constant. Let $h = \lambda_s - \lambda_t$ be the length of the row. Within the row the
guess changes by an amount of the order $h$, and the integral runs over the length $h$. So one step
has an error of the order $h^2$. On a given interval the number of steps is proportional to $1 / h$,
so the sum of their errors is of the order $h$. (The later steps change an error by a bounded
factor, if the derivative of the guess with respect to the state is bounded on the interval. So the
error at the end is of the order $h$, too.) Such a method is called first order: twice the steps,
half the error.

**Using the previous guess.** The loop has already computed one more guess, the $\hat x_0'$ of the
previous row. Let $h' = \lambda_t - \lambda'$ be the length of that row in $\lambda$, where it
started at $\lambda'$. Two points determine a line. Let $\ell = \lambda - \lambda_t$ be the distance
from the start of the row. The line through the two guesses has the value

$$ \hat x_0 + (\ell / h') (\hat x_0 - \hat x_0') $$

By which constant can we replace this line in (18.2)? If the weight $\kappa / 2$ were constant, it
would be the value in the middle, at $\ell = h / 2$. We call it $\hat x_{mid}$:

$$ \hat x_{mid} = \hat x_0 + (h / (2 h')) (\hat x_0 - \hat x_0') $$ (18.3)

How large is the error of one row? It has two parts. The first is the difference of the line and its
middle value, which is

$$ ((\ell - h / 2) / h') (\hat x_0 - \hat x_0') $$

Its size is of the order $h$, because guesses at a distance $h'$ differ by an amount of the order
$h'$. It has opposite signs in the two halves of the row, so with a constant weight its integral
vanishes. But the weight changes within the row by an amount of the order $h$. The product of the
two has the order $h^2$, and its integral over the length $h$ has the order $h^3$. The second part
is the difference of the guess and the line, because the guess may be curved. It is of the order
$h^2$, and its integral is of the order $h^3$ as well. Summed over $1 / h$ steps, the total error is
of the order $h^2$. (This assumes that the guess has two continuous derivatives with respect to
$\lambda$ along the solution, and that the quotient $h / h'$ stays between two positive bounds when
the steps become small.) The method is of second order: twice the steps, a quarter of the error. It
is called DPM-Solver++(2M), where 2 is the order and M abbreviates multistep.

Let $a_0$ and $b_0$ be the numbers of DDIM. Putting $\hat x_{mid}$ in the place of $\hat x_0$ gives
a row that uses the column $e$ of step 17:

$$ a = a_0 (1 + h / (2 h')), \quad e = -a_0 h / (2 h'), \quad b = b_0 $$ (18.4)

The first row has no previous guess. The last row ends at $s = 0$, where $\lambda$ is infinite, and
so is $h$. Both keep the numbers of DDIM. The first row then has an error of the order $h^2$. It
occurs once, so it does not change the order of the method.

For example, let the previous guess be 0.5 and the present guess 0.7. If both rows have the same
length, the value in the middle is $0.7 + 0.2 / 2 = 0.8$. If the present row is twice as long as the
previous one, it is $0.7 + 0.2 = 0.9$. The network is still evaluated once per row.

**An exact solution.** How large are the errors? For a Gaussian class the equation can be solved.
Let the data be $N(\mu, S)$ in one dimension. The noised data have the mean
$\sqrt{\bar\alpha_t} \mu$ and the variance $C_t = \bar\alpha_t S + 1 - \bar\alpha_t$. The solution
keeps the distance from the mean in units of the standard deviation. Call this distance $\xi$:

$$ x_t = \sqrt{\bar\alpha_t} \mu + \sqrt{C_t} \xi $$ (18.5)

To verify it, divide by $\sqrt{1 - \bar\alpha_t}$, which gives
$u = \kappa \mu + \sqrt{1 + \kappa^2 S} \xi$. Its derivative is

$$ du / d\kappa = \mu + \kappa S \xi / \sqrt{1 + \kappa^2 S} $$

The exact guess is $\mu$ plus the slope $J_t = \sqrt{\bar\alpha_t} S / C_t$ (step 17) times the
distance $\sqrt{C_t} \xi$ from the mean:

$$ \hat x_0 = \mu + \sqrt{\bar\alpha_t} S \xi / \sqrt{C_t} $$

Dividing numerator and denominator by $\sqrt{1 - \bar\alpha_t}$ shows that the two right sides are
equal.

So a start at distance $\xi$ should end at distance $\xi$. At $\xi = 0$ the guess is $\mu$ in every
row. Then the rows of DDIM and of 2M make no error, because the guess does not change. For other
$\xi$ we subtract this solution. The rows are linear in the state and the guesses, so they multiply
the distance from the mean by a number that does not depend on $\xi$. A solver without noise
therefore ends at $(1 + \delta) \xi$, with the same relative error $\delta$ for every start. The
table gives $\delta$ for $S = 1/4$ and steps of equal length from $\lambda = -8$ to 8:

| steps | 8 | 16 | 32 | 64 | 128 |
|---|---|---|---|---|---|
| DDIM | -0.221 | -0.117 | -0.0605 | -0.0307 | -0.0155 |
| 2M | 0.028 | 0.014 | 0.0038 | 0.0010 | 0.0002 |

Each column has about half the error of the column before for DDIM, and about a quarter of it for 2M
from 32 steps on. With 32 steps 2M is four times as accurate as DDIM with 128.

**The constant of DDIM.** These errors can be computed for small $h$. Let $\zeta_t$ be the fraction
of the variance of $x_t$ that comes from the data:

$$ \zeta_t = \bar\alpha_t S / C_t = \kappa_t^2 S / (1 + \kappa_t^2 S) $$

It grows from almost 0 at the noise end to almost 1 near the data. The standard deviation of $u$ is
$\sigma_u(\kappa) = \sqrt{1 + \kappa^2 S}$, and the distance of $u$ from its mean $\kappa \mu$ is
$\sigma_u \xi$. By the derivative above, the slope is $\mu + \sigma_u' \xi$. So a step of Euler's
method of the length $\Delta\kappa = \kappa_s - \kappa_t$ leads to the distance

$$ \kappa_t \mu + \sigma_u \xi + \Delta\kappa (\mu + \sigma_u' \xi) - \kappa_s \mu $$
$$ = (\sigma_u + \sigma_u' \Delta\kappa) \xi $$

The exact solution leads to $\sigma_u(\kappa_s) \xi$. Taylor's formula gives its factor:

$$ \sigma_u(\kappa_s) = \sigma_u + \sigma_u' \Delta\kappa + \sigma_u'' (\Delta\kappa)^2/2 + \dots $$

On the right all values belong to $\kappa_t$. So the step lacks the term with the second derivative.
The derivatives are

$$ \sigma_u' = \kappa S / \sigma_u, \quad \sigma_u'' = S / \sigma_u^3 $$

With $\Delta\kappa = \kappa h / 2 + O(h^2)$, the relative error of one step is

$$ -(\kappa h / 2)^2 \sigma_u'' / (2 \sigma_u) = -(h^2 / 8) \kappa^2 S / \sigma_u^4 $$
$$ \kappa^2 S / \sigma_u^4 = \zeta (1 - \zeta) $$

The steps multiply the distance, so their small relative errors add. For many steps of equal length
$h$ the sum becomes an integral, with $h = d\lambda$. It can be solved because $\zeta$ is the
logistic function of $\lambda + \log S$, whose derivative is known:

$$ d\zeta / d\lambda = \zeta (1 - \zeta) $$

So the sum of $(h / 8) \zeta (1 - \zeta) h$ over all steps is $h / 8$ times the change of $\zeta$.
For rows from $T$ to $s$,

$$ \delta = -(h / 8) (\zeta_s - \zeta_T) + O(h^2) $$ (18.6)

From noise to data this is $-h / 8$. At 128 steps $h = 0.125$, and $\delta = -0.0156$ agrees with
the table.

**The constant of 2M.** For a row of 2M the expansion goes one order further. Let $g_0$ be the guess
at the start of the row, and $g_1$ and $g_2$ its first two derivatives with respect to $\lambda$
along the exact solution. Then the guess at the distance $\ell$ is

$$ \hat x_0 = g_0 + g_1 \ell + g_2 \ell^2 / 2 + \dots $$

The previous guess is the value at $\ell = -h$, if the steps have equal lengths. Inserting it into
(18.3) gives the constant of the row, and its difference from the guess:

$$ \hat x_{mid} = g_0 + g_1 h / 2 - g_2 h^2 / 4 $$
$$ \hat x_{mid} - \hat x_0 = g_1 (h / 2 - \ell) - g_2 (h^2 / 4 + \ell^2 / 2) $$

The error of the row is the integral of this difference with the weight of (18.2). With $\kappa$ for
its value at the start, the weight is $(\kappa / 2) e^{\ell / 2}$, or $(\kappa / 2) (1 + \ell / 2)$
up to higher orders. The integrals that we need are

$$ \int_0^h (h / 2 - \ell) d\ell = 0 $$
$$ \int_0^h (\ell / 2) (h / 2 - \ell) d\ell = -h^3 / 24 $$
$$ \int_0^h (h^2 / 4 + \ell^2 / 2) d\ell = 5 h^3 / 12 $$

So the row adds to $u$ the error

$$ (\kappa / 2) (-g_1 h^3 / 24 - 5 g_2 h^3 / 12) = -(\kappa h^3 / 48) (g_1 + 10 g_2) $$

For the Gaussian class the exact guess above is $\mu + \sqrt{\bar\alpha_t} S \xi / \sqrt{C_t}$. With
the definition of $\zeta$ this gives

$$ g_0 - \mu = \sqrt{S \zeta} \xi $$

with $\zeta$ at the start of the row. The derivative of $\zeta$ is known, so the product rule gives
the two derivatives:

$$ d \sqrt\zeta / d\lambda = \zeta (1 - \zeta) / (2 \sqrt\zeta) = \sqrt\zeta (1 - \zeta) / 2 $$
$$ g_1 = \sqrt{S \zeta} \xi (1 - \zeta) / 2 $$
$$ g_2 = \sqrt{S \zeta} \xi (1 - \zeta) (1 - 3 \zeta) / 4 $$
$$ g_1 + 10 g_2 = 3 \sqrt{S \zeta} \xi (1 - \zeta) (1 - 5 \zeta / 2) $$

The relative error is the error of $u$ over its distance $\sigma_u \xi$ from the mean. Because
$\kappa \sqrt S / \sigma_u = \sqrt\zeta$, the relative error of one row is

$$ -(h^3 / 16) \zeta (1 - \zeta) (1 - 5 \zeta / 2) $$

In a chain the two guesses are computed from states that already have relative errors. Suppose that
these two errors were equal. Then the row would lead to the same relative error, plus its own,
because all rows are linear. In fact they differ by the error of one row. The factors of the guesses
in a row are of the order $h$, so the difference changes the sum only by a higher order. But the
first row is one of DDIM. Its error is $-(h^2 / 8) \zeta_T (1 - \zeta_T)$, which is of the order of
the whole sum and must be added. The sum over the other rows is again an integral, because
$\zeta (1 - \zeta) d\lambda$ is $d\zeta$. Let $\zeta_{mid}$ be the mean of $\zeta_s$ and $\zeta_T$:

$$ \int_{\zeta_T}^{\zeta_s} (1 - 5 \zeta / 2) d\zeta = (\zeta_s-\zeta_T) (1 - 5 \zeta_{mid} / 2) $$

Multiply by $-h^2 / 16$ and add the first row. The relative error of the chain is, up to terms of
the order $h^3$,

$$ \delta = -(h^2/16) ((\zeta_s-\zeta_T) (1 - 5 \zeta_{mid}/2) + 2 \zeta_T (1-\zeta_T)) $$ (18.7)

From noise to data this is $h^2 / 64$, which is 0.00024 at 128 steps. The sign is that of the table,
too: 2M leaves slightly too much variance.

**For guided classes** the orders are the same, but the constants are not. We take 60 samples of the
three Gaussians of step 1, with $w = 2$ and the same steps, and compare their states at
$\lambda = 8$ with the ends of the exact solutions. In their place we use 1024 steps of 2M. The
table gives the mean absolute error of a coordinate:

| steps | 8 | 16 | 32 | 64 | 128 |
|---|---|---|---|---|---|
| DDIM, guided | 0.142 | 0.063 | 0.031 | 0.0154 | 0.0077 |
| 2M, guided | 0.215 | 0.047 | 0.010 | 0.0022 | 0.0005 |

With 8 steps DDIM is the better of the two. The line through two guesses helps only if the guess
changes little within a step. A higher order is a statement about many steps and not about few.

**At the boundary.** The last row goes to $s = 0$ and returns its guess. Suppose that it starts on
the exact solution. Let $x_0$ be its end, so that $x_0 - \mu = \sqrt{S} \xi$. By the formula for the
exact guess,

$$ \hat x_0 - \mu = \sqrt{\bar\alpha_t} S \xi / \sqrt{C_t} $$
$$ \hat x_0 - \mu = \sqrt{\zeta_t} (x_0 - \mu) $$ (18.8)

The last row therefore multiplies the distance from the mean, in standard deviations, by
$\sqrt{\zeta_t}$, where $t$ is its start. (It is linear, so this factor is the same after rows with
errors.) The tables above stop before the last row. With times that are uniform in $t$, as in
(17.5), the whole error of 2M is different. For the cosine schedule with $T = 2^{14}$ it is:

| steps | 20 | 50 | 100 | 256 | 1024 |
|---|---|---|---|---|---|
| DDIM, all rows | -0.076 | -0.031 | -0.016 | -0.0062 | -0.0016 |
| 2M, before the last row | 0.0129 | 0.0049 | 0.0017 | 0.00035 | 0.00004 |
| last row alone | -0.0157 | -0.0035 | -0.0013 | -0.00038 | -0.00008 |
| 2M, all rows | -0.0030 | 0.0014 | 0.0004 | -0.00003 | -0.00004 |

Near the data the rows remain long in $\lambda$, however many there are. Very close to the data
$1 - \bar\alpha_t$ is nearly proportional to $t$, so from $2 T / n$ to $T / n$ the log SNR grows by
about $\log 2 = 0.693$. The last finite $h$ is 0.70 at 8192 steps. (At 100 steps it is still 1.02,
because $1 - \bar\alpha_t$ also contains a term proportional to $t^2$.) For the same reason
$1 - \zeta$ falls like $1 / n$ at the start of the last row. The error of this row is
$\sqrt\zeta - 1$, about half as large. The $k$-th row before it goes from $(k + 1) T / n$ to
$k T / n$. Very close to the data its length $h$ is about $\log((k + 1) / k)$ for every $n$, and its
error has the factor $1 - \zeta$. So the sum over these rows falls like $1 / n$ in the end, too, but
later than the table shows. From 256 to 1024 steps it falls by a factor of 9.6, and from 8192 to
16384 by 2.2. The two parts have opposite signs. At some $n$ they cancel by chance, and an order
that is read from such numbers means nothing.

**When is 2M better?** With 100 steps the error of DDIM is -0.016, which is the loss of 3 % of the
variance in the second question. The whole error of 2M is 0.0004. This is partly due to the
cancellation, but its two parts, 0.0017 and -0.0013, are each about a tenth of the error of DDIM. So
the answer to the second question is yes. 2M is not better with 8 guided steps. The rows must be
short enough for the guess to change little from one to the next.

**What goes wrong.** The ratio $h / h'$ is inverted, which has no effect where the steps are equal.
A program goes a whole step along the line and not half of one. The weight of the previous guess has
the wrong sign. The log SNR of this course is twice the $\lambda$ of the paper, which is
$\log \kappa$. The factor 2 cancels in $h / h'$, but not in $\kappa$, which is $e^{\lambda / 2}$
here and $e^\lambda$ in the paper.

**Where it goes on.** A faster solver reproduces the samples of the guided equation more exactly. It
does not change the equation. If the guided samples are too extreme, the guidance itself has to be
changed. This is step 19.

**Source.** Lu et al. 2022, arXiv:2211.01095, prop. 4.1 and alg. 2. Song et al. 2021b,
arXiv:2011.13456, sec. 4.3 (the probability flow). (18.6) and (18.7) are derived here.
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


def euler_step(
    xt: Float[np.ndarray, "n 2"],
    x0hat: Float[np.ndarray, "n 2"],
    t: int,
    s: int,
    schedule: Schedule,
) -> Float[np.ndarray, "n 2"]:
    """One step of Euler's method for the probability flow, from `t` in 1..T to `s` in 1..t."""
    noise = np.sqrt(1 - schedule.alpha_bar)
    with np.errstate(divide="ignore"):  # infinite at t = 0
        kappa = np.sqrt(schedule.alpha_bar) / noise
    schedule.check_t(t)
    schedule.check_t(s)
    u_t = xt / noise[t]
    u_s = u_t + (kappa[s] - kappa[t]) * x0hat  # (18.1)
    return u_s * noise[s]


def change_of_u(guess: Callable[[float], float], first: float, last: float, n: int = 1000) -> float:
    """The change of u between two log SNRs, for a guess that is a known function of the log SNR.

    The integral is computed by the midpoint rule with `n` intervals. Its error falls like 1 / n^2.
    """
    d_log_snr = (last - first) / n
    middles = first + d_log_snr * (np.arange(n) + 0.5)
    change = 0.0
    for log_snr in middles:
        kappa = np.exp(log_snr / 2)
        change += guess(float(log_snr)) * kappa / 2 * d_log_snr  # (18.2)
    return float(change)


def flow_state(t: int, schedule: Schedule, mean: float, var: float, xi: float) -> float:
    """The exact solution at t in 0..T for data N(mean, var), `xi` standard deviations off."""
    abar = schedule.alpha_bar[schedule.check_t(t, first=0)]
    C = abar * var + 1 - abar
    return float(np.sqrt(abar) * mean + np.sqrt(C) * xi)  # (18.5)


def dpmpp_2m(
    schedule: Schedule, steps: int | Sequence[int] | None = None, prediction: str = "eps"
) -> Table:
    """The table of DPM-Solver++(2M): all rows but the first and the last use the previous guess."""
    t, s = times(schedule, steps)
    abar_t = schedule.alpha_bar[t]
    abar_s = schedule.alpha_bar[s]
    h = np.diff(schedule.log_snr[t])
    b = np.sqrt((1 - abar_s) / (1 - abar_t))
    a_0 = np.sqrt(abar_s) - b * np.sqrt(abar_t)
    back = np.zeros(len(t))
    back[1:-1] = h[1:] / (2 * h[:-1])  # (18.3), its factor
    a = a_0 * (1 + back)  # (18.4)
    e = -a_0 * back  # (18.4)
    return table_of(schedule, t, s, prediction, a, b, 0.0, 0.0, e, 1.0)


def even_in_log_snr(n: int, first: float, last: float) -> Schedule:
    """A schedule whose log SNR rises in n equal steps from `first` at T = n + 1 to `last` at 1."""
    log_snr = np.linspace(last, first, n + 1)
    abar = 1 / (1 + np.exp(-log_snr))
    beta = np.concatenate([[0.0, 1 - abar[0]], 1 - abar[1:] / abar[:-1]])
    return Schedule(beta)


def before_last(table: Table) -> Table:
    """The table without its last row."""
    return Table(table.t[:-1], table.s[:-1], table.rows[:-1])


def data_fraction(t: int, schedule: Schedule, var: float) -> float:
    """zeta: the fraction of the variance of `x_t` that comes from data of variance `var`."""
    log_snr = schedule.log_snr[schedule.check_t(t, first=0)]
    return float(1 / (1 + np.exp(-log_snr) / var))


def flow_error(table: Table, schedule: Schedule, var: float) -> float:
    """delta: the relative error of the distance from the mean, at the s of the last row.

    The table adds no noise, and the data are Gaussian with variance `var`.
    """
    C = schedule.alpha_bar * var + 1 - schedule.alpha_bar
    start = C[table.t[0]]
    end = C[table.s[-1]]
    found = chain_var(table, schedule, var) * start  # chain_var starts from variance 1
    return float(np.sqrt(found / end)) - 1


def left_by_last_row(t: int, schedule: Schedule, var: float) -> float:
    """The last row's factor of the distance from the mean in standard deviations, from t."""
    zeta = data_fraction(t, schedule, var)
    return float(np.sqrt(zeta))  # (18.8)


def leading_error(order: int, h: float, zeta_first: float, zeta_last: float) -> float:
    """delta for steps of equal length h, without higher powers of h.

    `order` is 1 for DDIM and 2 for 2M. The rows lead from `zeta_first` to `zeta_last`.
    """
    rise = zeta_last - zeta_first
    if order == 1:
        return -(h / 8) * rise  # (18.6)
    middle = (zeta_first + zeta_last) / 2
    first_row = 2 * zeta_first * (1 - zeta_first)
    return -(h**2 / 16) * (rise * (1 - 5 * middle / 2) + first_row)  # (18.7)


def guided(solver: Callable[[Schedule], Table], n: int) -> Float[np.ndarray, "n 2"]:
    """60 samples at t = 1 of the three classes of step 1, with w = 2 and n rows of equal length.

    The noise is the same for every n.
    """
    schedule = even_in_log_snr(n, -8.0, 8.0)
    rng = np.random.default_rng(0)
    model = oracle_eps(three_gaussians(), schedule)
    y = np.arange(60) % 3
    return run(model, y, before_last(solver(schedule)), 2.0, rng)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step18_dpmpp")
