r"""Step 8. The loss: from the bound to a regression on the noise.

**Claim.** Up to weights over time, maximum likelihood for the reverse chain is a regression on the
noise; the simple loss drops the weights.

**Weights.** A term of (A.3) is a KL of two Gaussians, in which a network moves one mean. By (A.4)
it pays $|m_1 - m_2|^2 / (2 \sigma_t^2)$, where $\sigma_t^2$ is the variance of $p$. Both means are
(6.4), one with $\epsilon$ and one with $\epsilon_\theta$, so they lie
$\beta_t / \sqrt{\alpha_t (1 - \bar\alpha_t)} |\epsilon - \epsilon_\theta|$ apart. With a $C$ that
does not depend on the network,

$$ \kappa_t = \beta_t^2 / (2 \sigma_t^2 \alpha_t (1 - \bar\alpha_t)) $$ (8.1)
$$ L = C + \sum_t \kappa_t E |\epsilon - \epsilon_\theta(x_t, t, y)|^2 $$ (8.2)

For $\sigma_t^2 = \tilde\beta_t$ write the distance as $c_0 |x_0 - \hat x_0|$ (6.2). Then
$c_0^2 / \tilde\beta_t = \bar\alpha_{t-1} \beta_t / ((1 - \bar\alpha_t) (1 - \bar\alpha_{t-1}))$.
With $\beta_t \bar\alpha_{t-1} = \bar\alpha_{t-1} - \bar\alpha_t$ that is a difference of
signal-to-noise ratios $SNR_t = e^{\lambda_t}$; and by (5.2) errors in $x_0$ and $\epsilon$ differ
by the factor $SNR_t$: $|\epsilon - \epsilon_\theta|^2 = SNR_t |x_0 - \hat x_0|^2$. For $t \ge 2$,

$$ L_{t-1} = (SNR_{t-1} - SNR_t) |x_0 - \hat x_0|^2 / 2 $$ (8.3)
$$ \kappa_t = (e^{\lambda_{t-1} - \lambda_t} - 1) / 2 $$ (8.4)

In small steps $\kappa_t$ is half the fall of $\lambda$: the bound is the error in $\epsilon$
integrated over log SNR, and the schedule only says where it is sampled.

**The simple loss** puts 1 for every weight and draws $t$ uniformly from 1..T. With (3.2),

$$ L_{simple} = E |\epsilon - \epsilon_\theta(x_t, t, y)|^2 $$ (8.5)

is all that training computes. On the linear schedule, $T = 1000$, the share of $t = 2$ falls
56-fold and that of $t = 350$ doubles: the last, nearly noiseless touches count less, what is
decided under much noise counts more. (On the cosine schedule the capped last step alone holds 97%
of the bound's weight; the simple loss takes that away too.)

A model that is free at every $t$ does not notice: its minimum is $E[\epsilon | x_t, y]$ for any
positive weights. One that shares parameters over $t$ must compromise. Take one slope for all,
$\epsilon_\theta = \rho x_t$, and data of mean 0; the derivative of (8.2) in $\rho$ is 0 at

$$ \rho = \sum_t \kappa_t \sqrt{1 - \bar\alpha_t} / \sum_t \kappa_t Var(x_t) $$ (8.6)

Data $N(0, 1)$: 0.54 with the weights, 0.81 without; the best at each $t$ runs from 0.01 to 1.

**Boundary.** At $t = 1$, $\tilde\beta_1 = 0$ and the weight is infinite: a point gives the data no
density. Ho et al. let $p(x_0 | x_1)$ fill a pixel's bin. Here it gets a width, in both choices:

$$ \sigma_1^2 = \beta_1, \quad \kappa_1 = 1 / (2 \alpha_1) $$ (8.7)

which is what (6.3) leaves open at $t = 1$ for data $N(0, I)$. At $t = T$, $L_T$ is part of $C$.

**Source.** Ho et al. 2020, arXiv:2006.11239, eqs. 8, 12 and 14; Kingma et al. 2021,
arXiv:2107.00630 (SNR); Kingma and Gao 2023, arXiv:2303.00848 (the simple loss as a weighted ELBO).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step04_posterior import posterior_coefficients

if TYPE_CHECKING:
    from jaxtyping import Float, Int

EpsModel = Callable[[np.ndarray, int, np.ndarray], np.ndarray]  # eps (n, D) = model(xt, t, y)


def sigma_squared(t: int, schedule: Schedule, choice: str = "posterior") -> float:
    """The variance of `p(x_{t-1} | x_t)`, `t` in 1..T; `choice` is posterior or beta."""
    if choice not in ("posterior", "beta"):
        raise ValueError(f"choice = {choice!r} is none of posterior, beta")
    schedule.check_t(t)
    if t == 1:  # here the posterior is a point, which would give the data no density
        return float(schedule.beta[1])
    if choice == "beta":
        return float(schedule.beta[t])
    _, _, posterior_var = posterior_coefficients(t, schedule)
    return posterior_var


def eps_weight(t: int, schedule: Schedule, choice: str = "posterior") -> float:
    """What the bound charges for a squared error in eps at `t` in 1..T."""
    sigma2 = sigma_squared(t, schedule, choice)
    beta = schedule.beta[t]
    alpha = schedule.alpha[t]
    abar = schedule.alpha_bar[t]
    # At t = 1, sigma2 = beta = 1 - abar, so that kappa = 1 / (2 alpha) (8.7).
    kappa = beta**2 / (2 * sigma2 * alpha * (1 - abar))  # (8.1)
    return float(kappa)


def eps_weight_by_log_snr(t: int, schedule: Schedule) -> float:
    """The same weight from the fall of the log SNR, `t` in 2..T, and the posterior's variance."""
    fall = schedule.log_snr[schedule.check_t(t, first=2) - 1] - schedule.log_snr[t]
    return float(np.expm1(fall) / 2)  # (8.4)


def x0_weight(t: int, schedule: Schedule) -> float:
    """The same for a squared error in `x_0`, `t` in 2..T, and the posterior's variance."""
    schedule.check_t(t, first=2)
    snr_prev = np.exp(schedule.log_snr[t - 1])
    snr = np.exp(schedule.log_snr[t])
    return float((snr_prev - snr) / 2)  # (8.3)


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
    return float((error**2).sum(-1).mean())  # (8.5)


def bound_by_regression(
    C: float, kappa: Float[np.ndarray, " T"], losses: Float[np.ndarray, " T"]
) -> float:
    """The bound L from the weights and the simple losses at t = 1..T."""
    return float(C + kappa @ losses)  # (8.2)


def shared_slope(weights: Float[np.ndarray, " T"], var_x0: float, schedule: Schedule) -> float:
    """The best `rho` for data of mean 0 and variance `var_x0`, with a weight for each t in 1..T."""
    abar = schedule.alpha_bar[1:]
    var_xt = abar * var_x0 + 1 - abar
    covariance = (weights * np.sqrt(1 - abar)).sum()
    variance = (weights * var_xt).sum()
    return float(covariance / variance)  # (8.6)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step08_loss")
