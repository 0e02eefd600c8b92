r"""Step 08. The loss: what is trained, and why its weights may be dropped

**The question.** The loop of step 7 samples well if its guess of the data is good, and step 5
showed that a squared error finds the best guess. So far the guess came from a formula. A network
has to serve all $t$ at once. Its loss is a sum over $t$, and such a sum needs weights. Which
quantity do we want to maximise? Which weights follow from it? And why are these weights usually
omitted?

**The aim.** A model should give the data a high probability. The reverse chain starts from
$p(x_T) = N(0, I)$ and takes the Gaussian steps $p(x_{t-1} | x_t)$ of step 6. It defines a density
$p(x_{0:T})$ of whole paths $x_0, ..., x_T$. The density of the data point $x_0$ alone is an
integral over all the rest of the path. Maximum likelihood chooses the parameters that make
$E \log p(x_0)$ largest, where $E$ is the mean over the data. The integral cannot be computed, so we
look for a lower bound.

**The bound.** The forward chain proposes paths for a given $x_0$, with the density
$q(x_{1:T} | x_0)$. Divide and multiply by it. The integral becomes a mean $E_q$ over these paths.
The logarithm is concave, so the logarithm of a mean is at least the mean of the logarithm (Jensen's
inequality). We call the right side $-L$:

$$ \log p(x_0) = \log E_q[p(x_{0:T}) / q(x_{1:T} | x_0)] $$
$$ \log p(x_0) \ge E_q[\log(p(x_{0:T}) / q(x_{1:T} | x_0))] = -L $$

Both densities are products over the steps. By Bayes' rule each factor of $q$ can be written
backwards: $q(x_t | x_{t-1})$ is $q(x_{t-1} | x_t, x_0) q(x_t | x_0) / q(x_{t-1} | x_0)$ for
$t \ge 2$. In the product over $t = 2, ..., T$ the quotients cancel, except for
$q(x_T | x_0) / q(x_1 | x_0)$. The factor for $t = 1$ is $q(x_1 | x_0)$, and it cancels this
denominator. So $L$ becomes a sum with one term for each step (Appendix A has the details). A term
for $t \ge 2$ compares the posterior of step 4, which is conditioned on $x_0$, with the model's
reverse step, which is not. The comparison is a Kullback-Leibler divergence, the mean under the
first density of the logarithm of the ratio of both (step 3), averaged over $x_t$:

$$ L_{t-1} = E_q KL(q(x_{t-1} | x_t, x_0), p(x_{t-1} | x_t)) $$

The term for $t = 1$ is $L_0 = E_q[-\log p(x_0 | x_1)]$. A last term compares $q(x_T | x_0)$ with
$N(0, I)$, and no network can change it.

**The weights.** For $t \ge 2$ both densities in a term are Gaussians with $D$ independent
coordinates of equal variance. A network changes only the mean of one of them. Let the means be
$m_1$ and $m_2$ and the variances $v_1$ and $v_2$. The divergence is computed as in step 3 (appendix
A has each line):

$$ KL = |m_1 - m_2|^2 / (2 v_2) + D (v_1 / v_2 - 1 - \log(v_1 / v_2)) / 2 $$

Only the first part depends on the network. In it $v_2$ is the variance of $p(x_{t-1} | x_t)$, which
we call $\sigma_t^2$. Here it may be any positive number; (8.7) treats $t = 1$, where
$\tilde\beta_1 = 0$. Both means have the form (6.4), one with the true noise $\epsilon$ and one
with the prediction $\epsilon_\theta$, where $\theta$ are the parameters. In the difference $x_t$
cancels. With $e = \epsilon - \epsilon_\theta$ the distance is

$$ |\mu(\epsilon) - \mu(\epsilon_\theta)| = \beta_t |e| / \sqrt{\alpha_t (1 - \bar\alpha_t)} $$

The term for $t = 1$ contains the same distance. Minus the logarithm of a Gaussian density is the
squared distance of the point from the mean, divided by twice the variance, plus a number. Here the
point is $x_0$, and by (4.8) $x_0$ is the mean (6.4) with the true noise. So for every $t$ we square
the distance and divide by $2 \sigma_t^2$. The factor of the squared error in the noise is the
weight

$$ \kappa_t = \beta_t^2 / (2 \sigma_t^2 \alpha_t (1 - \bar\alpha_t)) $$ (8.1)

Now add all terms and average over the data. Let $C$ be the sum of the parts that do not depend on
the network. From here on $L$ is this average, and $E$ is the mean over data points, their labels
and the noise. If there is a label $y$ (step 9), the network takes it as a further input.

$$ L = C + \sum_t \kappa_t E|\epsilon - \epsilon_\theta(x_t, t, y)|^2 $$ (8.2)

*So maximising the bound is a weighted regression on the noise.* The likelihood itself is not
maximised: it exceeds the bound by a gap that depends on the network (appendix A).

**An example.** Take five steps with $\beta$ = 0.1, 0.2, 0.3, 0.4, 0.5, and
$\sigma_t^2 = \tilde\beta_t$. At $t = 2$, $\alpha_2 = 0.8$, $\bar\alpha_2 = 0.9 \cdot 0.8 = 0.72$
and $\tilde\beta_2 = 0.2 \cdot 0.1 / 0.28 = 0.0714$. So
$\kappa_2 = 0.04 / (2 \cdot 0.0714 \cdot 0.8 \cdot 0.28) = 1.25$. For $t$ = 3, 4, 5 the weights are
0.765, 0.672 and 0.717. With a thousand small steps they differ far more. For the linear schedule
with $T = 1000$ they are 0.600, 0.086, 0.005 and 0.010 at $t$ = 2, 10, 350 and 1000.

**What the weights mean.** With $\sigma_t^2 = \tilde\beta_t$ and $t \ge 2$ they have a simple form.
Let $\hat x_0$ be the guess that the prediction implies. We first express the term by the error
$x_0 - \hat x_0$ of this guess. Both means are weighted sums (4.7) with the same $x_t$, so they
differ by $c_0 (x_0 - \hat x_0)$. Insert $c_0$ and $\tilde\beta_t$ from step 4, and write $N$ for
$(1 - \bar\alpha_t) (1 - \bar\alpha_{t-1})$:

$$ c_0^2 / \tilde\beta_t = \bar\alpha_{t-1} \beta_t / N $$

Because $\bar\alpha_t = \bar\alpha_{t-1} (1 - \beta_t)$, the numerator is
$\bar\alpha_{t-1} - \bar\alpha_t$. Write $SNR_t = \bar\alpha_t / (1 - \bar\alpha_t)$ for the
signal-to-noise ratio. Bringing two of them to a common denominator gives the same expression:

$$ SNR_{t-1} - SNR_t = (\bar\alpha_{t-1} - \bar\alpha_t) / N $$

The two variances of the divergence are now equal, so its second part is 0. The term of the bound is
therefore

$$ L_{t-1} = (SNR_{t-1} - SNR_t) E|x_0 - \hat x_0|^2 / 2 $$ (8.3)

Now return to the noise. By (5.2) an error in the noise is the error in the data times
$-\sqrt{SNR_t}$, so

$$ |\epsilon - \epsilon_\theta|^2 = SNR_t |x_0 - \hat x_0|^2 $$

Divide the weight in (8.3) by $SNR_t$, and write $\lambda_t = \log SNR_t$:

$$ \kappa_t = (e^{\lambda_{t-1} - \lambda_t} - 1) / 2 $$ (8.4)

For small steps this is half the decrease of $\lambda$. If all steps are small in $\lambda$, the sum
in (8.2) becomes an integral of the mean squared error in the noise over $\lambda$, divided by 2.
The integral does not mention a schedule. Two schedules with the same first and last $\lambda$ then
have nearly the same bound, if the network takes $\lambda$ as its input in the place of $t$. (The
first steps of the linear schedule are not small: $\lambda_1 - \lambda_2$ is 0.79 for $T = 1000$,
and tends to $\log 2 = 0.69$ for large $T$.)

**The simple loss.** Ho, Jain and Abbeel replaced every weight by 1 and drew $t$ uniformly from 1 to
$T$. With $x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} \epsilon$ (3.2) the loss is

$$ L_{simple} = E|\epsilon - \epsilon_\theta(x_t, t, y)|^2 $$ (8.5)

Here $E$ is also a mean over $t$. (The function `simple_loss` below computes it at one $t$.) One
step of training draws data points, a $t$ and a noise for each of them, and compares the noise with
its prediction. How does this differ from the bound? Scale the weights of the bound so that their
mean is 1, and compare them with 1. On the linear schedule with $T = 1000$ and $\sigma_t^2 =
\tilde\beta_t$, the weight of $t = 2$ falls by a factor of 56, and that of $t = 350$ rises by a
factor of 2.1. So the simple loss gives less weight to errors near the data and more weight to
errors at high noise. On the cosine schedule with $T = 1000$ the change is of another kind. The step
$t = T$ alone has 97 % of the total weight of the bound, because $\beta_T$ is capped at 0.999 and
$\lambda$ falls by nearly 7 in this step. In the simple loss it has a thousandth, like every other
step.

**When may the weights be dropped?** A model that is free to choose a separate function for every
$t$ is not affected. At each $t$ its best prediction is $E[\epsilon | x_t, y]$, for any positive
weight of the error there (step 5). A network shares its parameters between all $t$ and has to
compromise. The weights determine how. For example, let the data be numbers of mean 0, and let the
model have one slope for all $t$, so that $\epsilon_\theta = \rho x_t$. The derivative of (8.2) with
respect to $\rho$ contains two means, $E[x_t \epsilon] = \sqrt{1 - \bar\alpha_t}$ and
$E[x_t^2] = Var(x_t)$. It is 0 for

$$ \sum_t \kappa_t (\rho Var(x_t) - \sqrt{1 - \bar\alpha_t}) = 0 $$
$$ \rho = \sum_t \kappa_t \sqrt{1 - \bar\alpha_t} / \sum_t \kappa_t Var(x_t) $$ (8.6)

Let the data be $N(0, 1)$. A separate slope for each $t$ would be $\sqrt{1 - \bar\alpha_t}$, which
on the linear schedule runs from 0.01 to 1. A shared slope is 0.54 with the weights of the bound and
0.81 with equal weights ($T = 1000$, $\sigma_t^2 = \tilde\beta_t$). On the cosine schedule the order
is reversed, with 0.99 and 0.64, because of its last step. So the weights matter for a small model.
A large network may be nearly free at each $t$, but this is not shown here. That the simple loss
gives better images is an observation of Ho et al., and does not follow from the bound.

**At the boundary.** At $t = 1$ the posterior has the variance $\tilde\beta_1 = 0$. A model with the
same variance would output a single point. It would give the data no density, and the weight (8.1)
would be infinite. For the bound, and only for it, the last step therefore needs a positive
variance. We choose, for both customary choices of the other variances,

$$ \sigma_1^2 = \beta_1, \quad \kappa_1 = 1 / (2 \alpha_1) $$ (8.7)

It is the true variance of $x_0$ given $x_1$ for data $N(0, I)$, by (6.3). Ho et al. compute instead
the probability of the pixel's interval of grey values. A *sampler* adds no noise in this step (step
7). The two choices do not contradict each other: a sampler may return the guess, but a density has
to stay finite. The simple loss needs neither.

**What goes wrong.** Some programs sum the squared error over the $D$ coordinates, and others
average it. The gradient differs by the factor $D$, and the losses cannot be compared. Some programs
draw $t$ from 0 to $T - 1$, although the first entry of their table is $\bar\alpha_0 = 1$. They
train at $t = 0$, where there is no noise, and never at $t = T$. Others compare the prediction with
$x_0$ or with $x_t$. And a small loss near $t = T$ does not show that a model is good, because there
$x_t$ is almost the noise itself.

**Where it goes on.** Step 9 adds the label and trains one network for all classes and for none.
Step 15 trains a network with (8.5). Appendix A derives the bound in full. Step 16 continues with
$\lambda$ as the time.

**Source.** Ho, Jain and Abbeel 2020, arXiv:2006.11239, eqs. 5, 8, 12 and 14; Kingma et al. 2021,
arXiv:2107.00630 (signal-to-noise ratios, and the limit of small steps); Kingma and Gao 2023,
arXiv:2303.00848 (the simple loss as a weighted bound).
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
    """The variance of `p(x_{t-1} | x_t)` in the bound, `t` in 1..T; `choice`: posterior or beta."""
    if choice not in ("posterior", "beta"):
        raise ValueError(f"choice = {choice!r} is none of posterior, beta; pass one of them")
    schedule.check_t(t)
    if t == 1:  # the posterior is a point, which would give the data no density (8.7)
        return float(schedule.beta[1])
    if choice == "beta":
        return float(schedule.beta[t])
    _, _, posterior_var = posterior_coefficients(t, schedule)
    return posterior_var


def eps_weight(t: int, schedule: Schedule, choice: str = "posterior") -> float:
    """The weight of the squared error in eps at `t` in 1..T, if the bound is the loss."""
    sigma2 = sigma_squared(t, schedule, choice)
    beta = schedule.beta[t]
    alpha = schedule.alpha[t]
    abar = schedule.alpha_bar[t]
    # At t = 1, sigma2 = beta = 1 - abar, so that kappa = 1 / (2 alpha).
    kappa = beta**2 / (2 * sigma2 * alpha * (1 - abar))  # (8.1)
    return float(kappa)


def eps_weight_by_log_snr(t: int, schedule: Schedule) -> float:
    """The same weight for the posterior's variance, from the fall of the log SNR, `t` in 2..T."""
    schedule.check_t(t, first=2)
    fall = schedule.log_snr[t - 1] - schedule.log_snr[t]
    kappa = np.expm1(fall) / 2  # (8.4)
    return float(kappa)


def x0_weight(t: int, schedule: Schedule) -> float:
    """The weight of the squared error in `x_0` for the posterior's variance, `t` in 2..T."""
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
    """The mean over the batch of the squared length of the error in eps, at one `t` in 1..T.

    It is summed over the D coordinates, and not averaged over them.
    """
    xt = xt_from_x0(x0, eps, schedule.check_t(t), schedule)
    eps_theta = model(xt, t, y)
    error = eps - eps_theta
    return float((error**2).sum(-1).mean())  # (8.5)


def bound_by_regression(
    C: float, kappa: Float[np.ndarray, " T"], losses: Float[np.ndarray, " T"]
) -> float:
    """The bound L from the weights and the mean squared errors in eps at t = 1..T."""
    L = C + kappa @ losses  # (8.2)
    return float(L)


def shared_slope(weights: Float[np.ndarray, " T"], var_x0: float, schedule: Schedule) -> float:
    """The best `rho` for data of mean 0 and variance `var_x0`, with a weight for each t in 1..T."""
    abar = schedule.alpha_bar[1:]
    var_xt = abar * var_x0 + 1 - abar
    covariance = (weights * np.sqrt(1 - abar)).sum()
    variance = (weights * var_xt).sum()
    rho = covariance / variance  # (8.6)
    return float(rho)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step08_loss")
