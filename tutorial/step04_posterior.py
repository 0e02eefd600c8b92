r"""Step 4. The posterior $q(x_{t-1} | x_t, x_0)$: one step back, if the data were known.

**Claim.** It is Gaussian, with mean $c_0 x_0 + c_t x_t$ and variance $\tilde\beta_t$, where

$$ c_0 = \sqrt{\bar\alpha_{t-1}} \beta_t / (1 - \bar\alpha_t) $$ (4.1)
$$ c_t = \sqrt{\alpha_t} (1 - \bar\alpha_{t-1}) / (1 - \bar\alpha_t) $$ (4.2)
$$ \tilde\beta_t = \beta_t (1 - \bar\alpha_{t-1}) / (1 - \bar\alpha_t) $$ (4.3)

**Why.** Bayes: $q(x_{t-1} | x_t, x_0) \propto q(x_t | x_{t-1}) q(x_{t-1} | x_0)$, because the chain
forgets $x_0$ once $x_{t-1}$ is known. Read both factors as functions of $x_{t-1}$. The first, from
step 2, is a Gaussian around $x_t / \sqrt{\alpha_t}$ of variance $\beta_t / \alpha_t$; the second,
from step 3, one around $\sqrt{\bar\alpha_{t-1}} x_0$ of variance $1 - \bar\alpha_{t-1}$. Precisions
add (4.6):

$$ 1 / \tilde\beta_t = \alpha_t / \beta_t + 1 / (1 - \bar\alpha_{t-1}) $$ (4.4)

The sum is $(\alpha_t (1 - \bar\alpha_{t-1}) + \beta_t) / (\beta_t (1 - \bar\alpha_{t-1}))$, and
since $\alpha_t + \beta_t = 1$ and $\alpha_t \bar\alpha_{t-1} = \bar\alpha_t$ its numerator is
$1 - \bar\alpha_t$: that is (4.3). Weighing the two means by precision (4.7) gives (4.1), (4.2).

**Boundary.** At $t = 1$ the earlier state *is* the data, so the posterior is a point:

$$ c_0 = 1, \quad c_t = 0, \quad \tilde\beta_1 = 0 $$ (4.5)

Noise added at the last step of sampling is therefore a mistake, and a common one.

**Not beta.** $\tilde\beta_t < \beta_t$ always: knowing $x_0$ leaves less to guess than knowing only
$x_t$. Step 6 says when either may stand in for the other.

**Source.** Ho et al. 2020, arXiv:2006.11239, eqs. 6 and 7.

**A product of two Gaussians.** A product of two isotropic Gaussians in the same $x$ is a third, up
to a constant. Precisions add:

$$ 1 / v = 1 / v_1 + 1 / v_2 $$ (4.6)
$$ m = v (m_1 / v_1 + m_2 / v_2) $$ (4.7)

**Why.** Add the two exponents and compare with $-(x - m)^2 / (2 v) = -x^2 / (2 v) + x m / v + ...$:
the terms in $x^2$ give (4.6), those in $x$ give (4.7), and what is left does not depend on $x$.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Gaussian, Schedule

if TYPE_CHECKING:
    from jaxtyping import Float


def product(g1: Gaussian, g2: Gaussian) -> Gaussian:
    """The Gaussian proportional to the product of two densities of the same variable.

    Both fractions are multiplied by the two variances, so that one of the two may be a point.
    """
    both = g1.var + g2.var
    var = g1.var * g2.var / both  # (4.6)
    mean = (g2.var * g1.mean + g1.var * g2.mean) / both  # (4.7)
    return Gaussian(mean, var)


def posterior_coefficients(t: int, schedule: Schedule) -> tuple[float, float, float]:
    """`c_0`, `c_t` and the variance `posterior_var` at time `t` in 1..T."""
    schedule.check_t(t)
    beta = schedule.beta[t]
    alpha = schedule.alpha[t]
    abar = schedule.alpha_bar[t]
    abar_prev = schedule.alpha_bar[t - 1]
    # At t = 1, abar_prev = 1, so that c_0 = 1, c_t = 0 and the variance is 0 (4.5).
    c_0 = np.sqrt(abar_prev) * beta / (1 - abar)  # (4.1)
    c_t = np.sqrt(alpha) * (1 - abar_prev) / (1 - abar)  # (4.2)
    posterior_var = beta * (1 - abar_prev) / (1 - abar)  # (4.3), the reciprocal of (4.4)
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
    mean = c_0 * x0 + c_t * xt
    return Gaussian(mean, posterior_var)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step04_posterior")
