r"""Step 6, part 2. The loss: from the bound to a regression on the noise.

**Claim.** Up to weights over time, maximum likelihood for the reverse chain is a regression on the
noise; the simple loss drops the weights.

**Weights.** A term of (6.3) is a KL of two Gaussians, in which a network moves one mean. By (6.4)
it pays $|m_1 - m_2|^2 / (2 \sigma_t^2)$, where $\sigma_t^2$ is the variance of $p$. Both means are
(5.4), one with $\epsilon$ and one with $\epsilon_\theta$, so they lie
$\beta_t / \sqrt{\alpha_t (1 - \bar\alpha_t)} |\epsilon - \epsilon_\theta|$ apart. With a $C$ that
does not depend on the network,

$$ \kappa_t = \beta_t^2 / (2 \sigma_t^2 \alpha_t (1 - \bar\alpha_t)) $$ (6.5)
$$ L = C + \sum_t \kappa_t E |\epsilon - \epsilon_\theta(x_t, t, y)|^2 $$ (6.6)

For $\sigma_t^2 = \tilde\beta_t$ write the distance as $c_0 |x_0 - \hat x_0|$ (5.2). Then
$c_0^2 / \tilde\beta_t = \bar\alpha_{t-1} \beta_t / ((1 - \bar\alpha_t) (1 - \bar\alpha_{t-1}))$.
With $\beta_t \bar\alpha_{t-1} = \bar\alpha_{t-1} - \bar\alpha_t$ that is a difference of
signal-to-noise ratios $SNR_t = e^{\lambda_t}$; and by (5.3) errors in $x_0$ and $\epsilon$ differ
by the factor $SNR_t$: $|\epsilon - \epsilon_\theta|^2 = SNR_t |x_0 - \hat x_0|^2$. For $t \ge 2$,

$$ L_{t-1} = (SNR_{t-1} - SNR_t) |x_0 - \hat x_0|^2 / 2 $$ (6.7)
$$ \kappa_t = (e^{\lambda_{t-1} - \lambda_t} - 1) / 2 $$ (6.8)

In small steps $\kappa_t$ is half the fall of $\lambda$: the bound is the error in $\epsilon$
integrated over log SNR, and the schedule only says where it is sampled.

**The simple loss** puts 1 for every weight and draws $t$ uniformly from 1..T. With (3.2),

$$ L_{simple} = E |\epsilon - \epsilon_\theta(x_t, t, y)|^2 $$ (6.9)

is all that training computes. On the linear schedule, $T = 1000$, the share of $t = 2$ falls
56-fold and that of $t = 350$ doubles: the last, nearly noiseless touches count less, what is
decided under much noise counts more. (On the cosine schedule the capped last step alone holds 97%
of the bound's weight; the simple loss takes that away too.)

A model that is free at every $t$ does not notice: its minimum is $E[\epsilon | x_t, y]$ for any
positive weights. One that shares parameters over $t$ must compromise. Take one slope for all,
$\epsilon_\theta = \rho x_t$, and data of mean 0; the derivative of (6.6) in $\rho$ is 0 at

$$ \rho = \sum_t \kappa_t \sqrt{1 - \bar\alpha_t} / \sum_t \kappa_t Var(x_t) $$ (6.10)

Data $N(0, 1)$: 0.54 with the weights, 0.81 without; the best at each $t$ runs from 0.01 to 1.

**Boundary.** At $t = 1$, $\tilde\beta_1 = 0$ and the weight is infinite: a point gives the data no
density. Ho et al. let $p(x_0 | x_1)$ fill a pixel's bin. Here it gets a width, in both choices:

$$ \sigma_1^2 = \beta_1, \quad \kappa_1 = 1 / (2 \alpha_1) $$ (6.11)

which is what (5.8) leaves open at $t = 1$ for data $N(0, I)$. At $t = T$, $L_T$ is part of $C$.

**Source.** Ho et al. 2020, arXiv:2006.11239, eqs. 8, 12 and 14; Kingma et al. 2021,
arXiv:2107.00630 (SNR); Kingma and Gao 2023, arXiv:2303.00848 (the simple loss as a weighted ELBO).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step00_notation import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step06_elbo import EpsModel, sigma_squared

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def eps_weight(t: int, schedule: Schedule, choice: str = "posterior") -> float:
    """What the bound charges for a squared error in eps at `t` in 1..T."""
    sigma2 = sigma_squared(t, schedule, choice)
    beta = schedule.beta[t]
    alpha = schedule.alpha[t]
    abar = schedule.alpha_bar[t]
    # At t = 1, sigma2 = beta = 1 - abar, so that kappa = 1 / (2 alpha) (6.11).
    kappa = beta**2 / (2 * sigma2 * alpha * (1 - abar))  # (6.5)
    return float(kappa)


def eps_weight_by_log_snr(t: int, schedule: Schedule) -> float:
    """The same weight from the fall of the log SNR, `t` in 2..T, and the posterior's variance."""
    fall = schedule.log_snr[schedule.check_t(t, first=2) - 1] - schedule.log_snr[t]
    return float(np.expm1(fall) / 2)  # (6.8)


def x0_weight(t: int, schedule: Schedule) -> float:
    """The same for a squared error in `x_0`, `t` in 2..T, and the posterior's variance."""
    schedule.check_t(t, first=2)
    snr_prev = np.exp(schedule.log_snr[t - 1])
    snr = np.exp(schedule.log_snr[t])
    return float((snr_prev - snr) / 2)  # (6.7)


def simple_loss(
    model: EpsModel,
    x0: Float[np.ndarray, "n D"],
    y: Int[np.ndarray, " n"],
    t: int,
    eps: Float[np.ndarray, "n D"],
    schedule: Schedule,
) -> float:
    """Mean over the batch of the squared length of the error in eps, at one `t` in 1..T."""
    xt = xt_from_x0(x0, eps, schedule.check_t(t), schedule)
    error = eps - model(xt, t, y)
    return float((error**2).sum(-1).mean())  # (6.9)


def bound_by_regression(
    C: float, kappa: Float[np.ndarray, " T"], losses: Float[np.ndarray, " T"]
) -> float:
    """The bound L from the weights and the simple losses at t = 1..T."""
    return float(C + kappa @ losses)  # (6.6)


def shared_slope(weights: Float[np.ndarray, " T"], var_x0: float, schedule: Schedule) -> float:
    """The best `rho` for data of mean 0 and variance `var_x0`, with a weight for each t in 1..T."""
    abar = schedule.alpha_bar[1:]
    var_xt = abar * var_x0 + 1 - abar
    covariance = (weights * np.sqrt(1 - abar)).sum()
    variance = (weights * var_xt).sum()
    return float(covariance / variance)  # (6.10)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step06_loss")
