r"""Step 3. The marginal $q(x_t | x_0)$: from the data to any time in one jump.

**Claim.** After $t$ steps of step 2 the law of $x_t$ given the data is one Gaussian,

$$ q(x_t | x_0) = N(\sqrt{\bar\alpha_t} x_0, (1 - \bar\alpha_t) I) $$ (3.1)

so no chain is run in training: draw one noise, $\epsilon \sim N(0, I)$, and set

$$ x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} \epsilon $$ (3.2)

**Why.** Put the first step, $x_1 = \sqrt{\alpha_1} x_0 + \sqrt{\beta_1} \epsilon_1$, into the
second, $x_2 = \sqrt{\alpha_2} x_1 + \sqrt{\beta_2} \epsilon_2$. The data come out multiplied by
$\sqrt{\alpha_1 \alpha_2}$, and $\sqrt{\alpha_2 \beta_1} \epsilon_1 + \sqrt{\beta_2} \epsilon_2$
is added. A sum of independent Gaussians is Gaussian, and *variances* add (deviations do not). With
$\beta = 1 - \alpha$ twice,

$$ \alpha_2 \beta_1 + \beta_2 = 1 - \alpha_1 \alpha_2 $$ (3.3)

One noise does the work of two. That is also the induction: if (3.1) holds at $t - 1$, read
$\bar\alpha_{t-1}$ for $\alpha_1$ and $\alpha_t$ for $\alpha_2$, and (3.3) is (3.1) at $t$. The
$\epsilon$ of (3.2) is no single step's noise but the weighted sum of all of them, rescaled to
variance 1. It is what a network will be asked for.

**Strides.** Nothing in this needs to start at 0. For $s \le t$,

$$ q(x_t | x_s) = N(\sqrt{\alpha_{t|s}} x_s, \beta_{t|s} I) $$ (3.4)
$$ \alpha_{t|s} = \bar\alpha_t / \bar\alpha_s, \quad \beta_{t|s} = 1 - \alpha_{t|s} $$ (3.5)

which is how a sampler may skip steps: the times it visits form a chain with these $\alpha$ and
$\beta$. Inverting the definition of $\lambda$, $\bar\alpha = 1 / (1 + e^{-\lambda})$, so the index
$t$ is only a name and two values of `log_snr` are all that a stride depends on:

$$ \beta_{t|s} = (1 - e^{\lambda_t - \lambda_s}) (1 - \bar\alpha_t) $$ (3.6)

**Boundary.** At $t = 0$ nothing has been added, and the law is a point:

$$ q(x_0 | x_0): \text{mean } x_0, \text{ variance } 0 $$ (3.7)

At $t = T$ a sampler starts from $N(0, I)$, which $q(x_T | x_0)$ is not quite. In $D$ dimensions
the distance $KL(q(x_t | x_0), N(0, I))$ is

$$ (\bar\alpha_t |x_0|^2 - D \bar\alpha_t - D \log(1 - \bar\alpha_t)) / 2 $$ (3.8)

With $T = 1000$ the mean at $T$ is still $0.0064 x_0$ on the linear schedule and $0.000049 x_0$ on
the cosine one: about $2 \cdot 10^{-5} |x_0|^2$ and $10^{-9} |x_0|^2$ nats. Little for one number,
but it adds up: 0.06 nats for a linear schedule and a 64 x 64 colour picture of mean square 1/4.

**Source.** Ho et al. 2020, arXiv:2006.11239, eq. 4; Ho and Salimans 2022, arXiv:2207.12598, sec. 2
(3.6); Lin et al. 2023, arXiv:2305.08891, on what is left of the data at $T$.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Gaussian, Schedule

if TYPE_CHECKING:
    from jaxtyping import Float


def q_xt_given_x0(x0: Float[np.ndarray, "*n D"], t: int, schedule: Schedule) -> Gaussian:
    """The law of `x_t` given the data, for `t` in 0..T; a point at t = 0.

    >>> q_xt_given_x0(np.array([2.0, 1.0]), 0, Schedule.linear(10))
    Gaussian(mean=array([2., 1.]), var=0.0)
    """
    schedule.check_t(t, first=0)
    abar = schedule.alpha_bar[t]
    # At t = 0, abar = 1: the mean is x_0 and the variance is 0 (3.7).
    return Gaussian(np.sqrt(abar) * x0, float(1 - abar))  # (3.1)


def xt_from_x0(
    x0: Float[np.ndarray, "*n D"], eps: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n D"]:
    """`x_t` with a given noise in it, for `t` in 0..T: what training shows to a network."""
    g = q_xt_given_x0(x0, t, schedule)
    return g.mean + np.sqrt(g.var) * eps  # (3.2)


def two_steps(alpha_1: float, alpha_2: float) -> tuple[float, float]:
    """What two steps in a row keep of the variance, and the variance of the noise they add."""
    kept = alpha_1 * alpha_2
    noise = alpha_2 * (1 - alpha_1) + (1 - alpha_2)  # (3.3)
    return kept, noise


def q_xt_given_xs(xs: Float[np.ndarray, "*n D"], s: int, t: int, schedule: Schedule) -> Gaussian:
    """The law of `x_t` given an earlier state `x_s`, for `t` in 0..T and `s` in 0..t."""
    schedule.check_t(t, first=0)
    if not 0 <= s <= t:
        raise ValueError(f"s = {s} is outside 0..{t}: the forward process runs from s to t")
    alpha_ts = schedule.alpha_bar[t] / schedule.alpha_bar[s]  # (3.5)
    beta_ts = 1 - alpha_ts
    return Gaussian(np.sqrt(alpha_ts) * xs, float(beta_ts))  # (3.4)


def stride_var_by_log_snr(s: int, t: int, schedule: Schedule) -> float:
    """The variance of `q(x_t | x_s)` from the log SNR of both times, `s` in 0..t, `t` in 0..T."""
    schedule.check_t(t, first=0)
    log_snr = schedule.log_snr
    beta_ts = -np.expm1(log_snr[t] - log_snr[s]) * (1 - schedule.alpha_bar[t])  # (3.6)
    return float(beta_ts)


def kl_to_noise(
    x0: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n"] | float:
    """How far `q(x_t | x_0)` is from N(0, I), in nats, for `t` in 1..T."""
    abar = schedule.alpha_bar[schedule.check_t(t)]
    # log1p: at the end of a chain the two terms without x_0 cancel down to abar^2 / 2.
    return 0.5 * (abar * x0**2 - abar - np.log1p(-abar)).sum(-1)  # (3.8)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step03_marginal")
