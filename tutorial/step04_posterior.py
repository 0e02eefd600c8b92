r"""Step 4. The posterior $q(x_{t-1} | x_t, x_0)$: one step back, if the data were known.

**Claim.** It is Gaussian, with mean $c_0 x_0 + c_t x_t$ and variance $\tilde\beta_t$, where

$$ c_0 = \sqrt{\bar\alpha_{t-1}} \beta_t / (1 - \bar\alpha_t) $$ (4.1)
$$ c_t = \sqrt{\alpha_t} (1 - \bar\alpha_{t-1}) / (1 - \bar\alpha_t) $$ (4.2)
$$ \tilde\beta_t = \beta_t (1 - \bar\alpha_{t-1}) / (1 - \bar\alpha_t) $$ (4.3)

**Why.** Bayes: $q(x_{t-1} | x_t, x_0) \propto q(x_t | x_{t-1}) q(x_{t-1} | x_0)$, because the chain
forgets $x_0$ once $x_{t-1}$ is known. Read both factors as functions of $x_{t-1}$. The first, from
step 2, is a Gaussian around $x_t / \sqrt{\alpha_t}$ of variance $\beta_t / \alpha_t$; the second,
from step 3, one around $\sqrt{\bar\alpha_{t-1}} x_0$ of variance $1 - \bar\alpha_{t-1}$. Precisions
add (0.7):

$$ 1 / \tilde\beta_t = \alpha_t / \beta_t + 1 / (1 - \bar\alpha_{t-1}) $$ (4.4)

The sum is $(\alpha_t (1 - \bar\alpha_{t-1}) + \beta_t) / (\beta_t (1 - \bar\alpha_{t-1}))$, and
since $\alpha_t + \beta_t = 1$ and $\alpha_t \bar\alpha_{t-1} = \bar\alpha_t$ its numerator is
$1 - \bar\alpha_t$: that is (4.3). Weighing the two means by precision (0.8) gives (4.1), (4.2).

**Boundary.** At $t = 1$ the earlier state *is* the data, so the posterior is a point:

$$ c_0 = 1, \quad c_t = 0, \quad \tilde\beta_1 = 0 $$ (4.5)

Noise added at the last step of sampling is therefore a mistake, and a common one.

**Not beta.** $\tilde\beta_t < \beta_t$ always: knowing $x_0$ leaves less to guess than knowing only
$x_t$. Step 5 says when either may stand in for the other.

**Source.** Ho et al. 2020, arXiv:2006.11239, eqs. 6 and 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, RED, Check, present
from tutorial.step00_notation import Gaussian, Schedule

if TYPE_CHECKING:
    from jaxtyping import Float


def posterior_coefficients(t: int, schedule: Schedule) -> tuple[float, float, float]:
    """`c_0`, `c_t` and the variance `posterior_var` at time `t` in 1..T."""
    schedule.check_t(t)
    beta, alpha = schedule.beta[t], schedule.alpha[t]
    abar, abar_prev = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
    c_0 = np.sqrt(abar_prev) * beta / (1 - abar)  # (4.1) (4.5)
    c_t = np.sqrt(alpha) * (1 - abar_prev) / (1 - abar)  # (4.2) (4.5)
    posterior_var = beta * (1 - abar_prev) / (1 - abar)  # (4.3) (4.4) (4.5)
    return float(c_0), float(c_t), float(posterior_var)


def q_posterior(
    x0: Float[np.ndarray, "*n D"], xt: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Gaussian:
    """The law of `x_{t-1}` given both ends, for `t` in 1..T.

    >>> schedule = Schedule.linear(10)
    >>> q_posterior(np.array([2.0, 1.0]), np.array([0.5, 0.5]), 1, schedule).mean  # t = 1: x_0
    array([2., 1.])
    """
    c_0, c_t, posterior_var = posterior_coefficients(t, schedule)
    return Gaussian(c_0 * x0 + c_t * xt, posterior_var)


def checks() -> list[Check]:
    """A million chains from one x_0, kept if they pass near one x_2: where were they at t = 1?"""
    schedule, rng, n = Schedule.linear(10), np.random.default_rng(0), 1_000_000
    x0, t, target, window = 1.0, 3, 0.2, 0.02
    x = [np.full(n, x0)]
    for s in range(1, t + 1):
        z = rng.standard_normal(n)
        x.append(np.sqrt(schedule.alpha[s]) * x[-1] + np.sqrt(schedule.beta[s]) * z)
    kept = x[t - 1][np.abs(x[t] - target) < window]
    posterior = q_posterior(np.array([x0]), np.array([target]), t, schedule)
    error = kept.std() / np.sqrt(len(kept))
    c_0, c_t, var = posterior_coefficients(1, schedule)
    return [
        Check("(4.1, 4.2) mean, by chains", kept.mean(), posterior.mean[0], 4 * error),
        Check("(4.3) variance, the same chains", kept.var(), posterior.var, 0.02 * posterior.var),
        Check("(4.5) at t = 1: weight of x_0", c_0, 1, 1e-15),
        Check("(4.5) at t = 1: weight of x_1", c_t, 0, 0),
        Check("(4.5) at t = 1: variance", var, 0, 0),
    ]


def figure() -> Figure:
    """The two factors and their product at one t; then both weights and both variances over t."""
    fig = Figure(figsize=(11, 3.4), layout="constrained")
    bayes, weights, variances = fig.subplots(1, 3)
    schedule, t, x0, xt = Schedule.linear(10), 3, np.array([1.0]), np.array([0.2])
    x = np.linspace(-2, 3, 400)[:, None]
    alpha, beta, abar_prev = schedule.alpha[t], schedule.beta[t], schedule.alpha_bar[t - 1]
    for label, g, color in (
        ("$q(x_t | x)$ in $x$", Gaussian(xt / np.sqrt(alpha), float(beta / alpha)), ORANGE),
        ("$q(x | x_0)$", Gaussian(np.sqrt(abar_prev) * x0, float(1 - abar_prev)), BLUE),
        ("posterior", q_posterior(x0, xt, t, schedule), RED),
    ):
        bayes.plot(x, np.exp(g.log_density(x)), color=color, label=label)
    bayes.set(xlabel="$x_{t-1}$", ylabel="density", title="Bayes at t = 3 of 10")
    bayes.legend(fontsize=8)
    schedule = Schedule.linear(100)
    table = np.array([posterior_coefficients(t, schedule) for t in range(1, 101)])
    weights.plot(range(1, 101), table[:, 0], color=BLUE, label="$c_0$, of the data")
    weights.plot(range(1, 101), table[:, 1], color=ORANGE, label="$c_t$, of the present")
    weights.set(xlabel="t", title="What the mean listens to (T = 100)")
    weights.legend(fontsize=8)
    variances.semilogy(range(1, 101), schedule.beta[1:], color=GREY, label=r"$\beta_t$")
    variances.semilogy(range(2, 101), table[1:, 2], color=RED, label=r"$\tilde\beta_t$, 0 at t = 1")
    variances.set(xlabel="t", title="Its variance is not $\\beta_t$")
    variances.legend(fontsize=8)
    return fig


if __name__ == "__main__":
    present("step04_posterior", __doc__ or "", checks(), figure())
