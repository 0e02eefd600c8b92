r"""Appendix A. The likelihood bound: a sum of KL divergences between Gaussians

**The question.** Step 8 used a lower bound of the likelihood without deriving it in full. The
reverse chain defines a density of the data, $p(x_0)$, but it is an integral over all paths from the
noise to the data. For images of 3,072 numbers and 1000 steps it has three million coordinates. What
can be computed in its place, and how far is it from the likelihood?

**An example.** Let the chain have one step, with $\beta_1 = 0.5$ on a line, and let the network
always predict the noise 0. The reverse step is then $p(x_0 | x_1) = N(x_1 / \sqrt{0.5}, 0.5)$, with
the variance (8.7). The chain starts from a standard normal $x_1$, so its samples have the mean 0
and the variance 1 / 0.5 + 0.5 = 2.5. At $x_0 = 1$ the negative log likelihood is then 1.577, in
nats. The bound has two terms here. The first is the mean of $-\log p(x_0 | x_1)$ over the forward
step. The forward step draws $x_1 = \sqrt{0.5} (1 + \epsilon)$ with a standard normal $\epsilon$. So
the mean of the reverse step is $x_1 / \sqrt{0.5} = 1 + \epsilon$, and its squared distance from
$x_0 = 1$ has the mean 1. The logarithm of the density contains this squared distance divided by
twice the variance, which is $2 \cdot 0.5 = 1$. So the first term is
$\log(2 \pi \cdot 0.5) / 2 + 1 = 1.572$. The second is the KL divergence from
$q(x_1 | x_0) = N(0.707, 0.5)$ to $N(0, 1)$, which is 0.347. The sum is $L = 1.919$. It exceeds the
negative log likelihood by 0.342.

**The claim.** Let the model be $p(x_{0:T}) = p(x_T) \prod_t p(x_{t-1} | x_t)$ with
$p(x_T) = N(0, I)$ and Gaussian reverse steps of positive variance. Then at every data point the log
likelihood is at least $-L$, where $L$ is a sum of $T + 1$ terms. Each term needs one noised point
and not a whole path. The gap is known, too: it is a KL divergence between two distributions of
paths. If there is a label $y$, every density of the model is conditional on it, and nothing else
changes.

**The gap.** Step 8 defined $L$ by Jensen's inequality, which does not show what is lost. We call
the difference of the two log densities the cost of a path. The mean cost over the forward process
is $L$:

$$ L = E_q[\log q(x_{1:T} | x_0) - \log p(x_{0:T})] $$

The joint density of the model is a product of the density of the data point and the conditional
density of the rest of the path. This is the definition of a conditional density:

$$ p(x_{0:T}) = p(x_0) p(x_{1:T} | x_0) $$

Insert it. The factor $p(x_0)$ does not depend on the path, so its logarithm leaves the mean. What
remains is the mean of a log ratio of two densities of the same path. By definition this is a KL
divergence:

$$ L = -\log p(x_0) + KL(q(x_{1:T} | x_0), p(x_{1:T} | x_0)) $$ (A.1)

A KL divergence is never negative, so $-L$ is a lower bound of the log likelihood. It is called the
evidence lower bound, or ELBO. The two are equal if and only if the two distributions of paths are
equal. This means that, given the data point, the model's paths are those of the forward chain. The
gap depends on the model. A model with a better bound may therefore have a worse likelihood. The two
rows of the table below are an example.

**The forward process, written backwards.** The model is a product of steps from $T$ to 0, and the
forward process is a product of steps from 0 to $T$. To compare them step by step, we write $q$
backwards as well. The chain is a Markov chain, so $q(x_t | x_{t-1})$ does not change if $x_0$ is
given in addition. Bayes' rule with $x_0$ given reads, for $t \ge 2$,

$$ q(x_t | x_{t-1}) = q(x_{t-1} | x_t, x_0) q(x_t | x_0) / q(x_{t-1} | x_0) $$

Multiply these equations for all $t$ from 2 to $T$. In the product of the quotients, the numerator
of each step cancels the denominator of the next. The last numerator and the first denominator
remain:

$$ \prod_{t=2}^T q(x_t | x_0) / q(x_{t-1} | x_0) = q(x_T | x_0) / q(x_1 | x_0) $$

The first forward step has not been used yet. Its factor is $q(x_1 | x_0)$, which cancels the
denominator:

$$ q(x_{1:T} | x_0) = q(x_T | x_0) \prod_{t=2}^T q(x_{t-1} | x_t, x_0) $$ (A.2)

The factors of the product on the right are the posteriors (4.7).

**One term per step.** Now both products have one factor for each $x_{t-1}$. The cost of a path is a
sum of log ratios, one for each factor. The factor of $x_0$ occurs only in the model:

$$ C_T = \log(q(x_T | x_0) / p(x_T)) $$
$$ C_{t-1} = \log(q(x_{t-1} | x_t, x_0) / p(x_{t-1} | x_t)), \quad t \ge 2 $$
$$ C_0 = -\log p(x_0 | x_1) $$

Take the mean in two stages. First keep $x_0$ and $x_t$ fixed, and average over the previous state
$x_{t-1}$. Under the forward process its density is the numerator of the quotient in $C_{t-1}$, so
the mean is a KL divergence. We call it $L_{t-1}$; it is a function of $x_t$. In the same way $L_T$
is the mean of $C_T$, and $L_0 = C_0$ because nothing is left to average:

$$ L_{t-1} = KL(q(x_{t-1} | x_t, x_0), p(x_{t-1} | x_t)) $$

The second stage averages over $x_t$, which (3.2) draws in one step. The sum of all means is

$$ L = E_q[L_0 + L_1 + \cdots + L_T] $$ (A.3)

Training does not need whole paths: it draws one time and one noised point, and estimates the sum
from these.

**The KL divergence of two Gaussians.** Let both have independent coordinates of equal variance, $D$
of them, as everywhere in the bound. The first, $N_1$, has the mean $m_1$ and the variance $v_1$ in
each coordinate, and the second, $N_2$, has $m_2$ and $v_2$. By (2.2) the log ratio at $x$ is

$$ \log(N_1 / N_2) = |x - m_2|^2 / (2 v_2) - |x - m_1|^2 / (2 v_1) + (D / 2) \log(v_2 / v_1) $$

We need its mean when $x$ has the first distribution. The mean squared distance from its own mean is
$D v_1$. The distance from the other mean is $x - m_2 = (x - m_1) + (m_1 - m_2)$. Squared, it has a
mixed term, whose mean is 0 because $x - m_1$ has the mean 0:

$$ E|x - m_2|^2 = D v_1 + |m_1 - m_2|^2 $$

Insert both. With the ratio $r = v_1 / v_2$ the divergence is, in nats,

$$ KL(N_1, N_2) = |m_1 - m_2|^2 / (2 v_2) + (D / 2) (r - 1 - \log r) $$ (A.4)

In the example the squared distance of the means is 0.5 and the ratio is 0.5. So the divergence is
0.25 + (0.5 - 1 + 0.693) / 2 = 0.347. A network changes only $m_2$. Its part of each term is
therefore a squared distance of means, and step 8 turns it into an error of the noise.

**When the gap is zero.** Let the data be standard normal, and let the network be exact. Then all
states of the forward chain are standard normal (step 2), and neighbours have the correlation
$\sqrt{\alpha_t}$ in each coordinate (2.9). This joint distribution remains the same if the two are
exchanged. So given $x_t$, the previous state has the distribution

$$ q(x_{t-1} | x_t) = N(\sqrt{\alpha_t} x_t, \beta_t I) $$

and the joint density of the two is a product in either direction:

$$ N(x_{t-1}; 0, I) q(x_t | x_{t-1}) = N(x_t; 0, I) q(x_{t-1} | x_t) $$

The density of a whole forward path is $N(x_0; 0, I)$ times all forward steps. Use the line above
for $t = 1$, then for $t = 2$, and so on. Each use turns one step round, and the normal density
moves to the next state. In the end

$$ N(x_0; 0, I) \prod_t q(x_t | x_{t-1}) = N(x_T; 0, I) \prod_t q(x_{t-1} | x_t) $$

Now compare this with the model. The exact prediction of the noise is $\sqrt{1 - \bar\alpha_t} x_t$.
Inserted into (6.4), it gives the mean $\sqrt{\alpha_t} x_t$. If the model also has the variance
$\sigma_t^2 = \beta_t$, its density of the path is the right side. So $p(x_{0:T})$ is $N(x_0; 0, I)$
times $q(x_{1:T} | x_0)$. In the cost of a path everything cancels except the density of the data
point:

$$ \log q(x_{1:T} | x_0) - \log p(x_{0:T}) = -\log N(x_0; 0, I) $$ (A.5)

This is stronger than equality in the mean. *Every* path has the same cost.

**The same data with a gap.** Let $\sigma_t^2 = \tilde\beta_t$ instead, on the cosine schedule with
$T = 10$. The table is for $x_0 = 0.7$ on a line, in nats. (The gap was rounded after the
subtraction.)

| variance | $-\log p(x_0)$ | $L$ | gap |
|---|---|---|---|
| $\beta_t$ | 1.164 | 1.164 | 0 |
| $\tilde\beta_t$ | 1.092 | 2.016 | 0.923 |

The samples of the second chain have the variance 0.708 and not 1, so this $x_0$ is a little more
likely. The bound is much worse. Why? For these data a reverse step has the variance $\beta_t$, as
we saw, so $\tilde\beta_t$ is too small. In (A.4) both variances are then $\tilde\beta_t$, so
$r - 1 - \log r$ is 0, but the squared distance of the means is divided by a smaller number. The
largest term is $L_1$, next to the data: it is 1.247, where the model with $\beta_t$ has 0.626. The
left panel of the figure shows the costs of 20,000 paths, and the right panel shows the terms.

**At the boundary.** At $t = 1$ the posterior is a point, because $\tilde\beta_1 = 0$. A model with
variance 0 has no finite $L_0$: it is $-\infty$ if its guess is exact, and $\infty$ otherwise. So
here its variance is $\beta_1$ for both choices (8.7). Ho et al. integrate the density of the last
step over the interval of one grey level instead. At the other end, no network can change $L_T$. By
(3.8) it is small if $\bar\alpha_T$ is near 0.

**What goes wrong.** The arguments of the divergence are exchanged. With $v_1 < v_2$ the result is
then too large, and it is a mean over the wrong distribution. The logarithm is taken after the mean
and not before: the mean of $e^{-cost}$ over forward paths is exactly $p(x_0)$, without a gap. But
the logarithm of this mean does not split into terms, and in high dimension a few rare paths
determine the mean. Two bounds are compared although the data are scaled differently. If the data
are divided by a number $s$, the negative log likelihood falls by $D \log s$. Terms for densities
may also be negative, as $L_0$ is in the figure.

**Where it goes on.** Step 8 simplifies the terms to a regression on the noise. Appendix B computes
the distribution of the samples exactly, for Gaussian data.

**Source.** Ho et al. 2020, arXiv:2006.11239, eqs. 3 and 5, sec. 3.3 and app. A. Sohl-Dickstein et
al. 2015, arXiv:1503.03585 (the bound).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step03_marginal import q_xt_given_x0, xt_from_x0
from tutorial.step04_posterior import q_posterior
from tutorial.step06_reverse import p_xprev_given_xt
from tutorial.step08_loss import EpsModel, sigma_squared

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def gaussian_kl(g1: Gaussian, g2: Gaussian) -> Float[np.ndarray, "*n"] | float:
    """`KL(g1, g2)` in nats, summed over the last axis. Both variances are above 0."""
    for name, g in (("g1", g1), ("g2", g2)):
        if not g.var > 0:
            raise ValueError(f"{name}.var = {g.var} is not above 0; a KL divergence needs it")
    r = g1.var / g2.var
    distance = (g1.mean - g2.mean) ** 2 / g2.var
    return 0.5 * (distance + r - 1 - np.log(r)).sum(-1)  # (A.4)


def reverse_step(
    model: EpsModel,
    xt: Float[np.ndarray, "n D"],
    y: Int[np.ndarray, " n"],
    t: int,
    schedule: Schedule,
    choice: str = "posterior",
) -> Gaussian:
    """`p(x_{t-1} | x_t)` of the bound: the mean of step 6, and a variance that is never 0."""
    mean = p_xprev_given_xt(xt, model(xt, t, y), t, schedule).mean
    return Gaussian(mean, sigma_squared(t, schedule, choice))


def path_cost(
    model: EpsModel,
    path: Float[np.ndarray, "T1 n D"],
    y: Int[np.ndarray, " n"],
    schedule: Schedule,
    choice: str = "posterior",
) -> Float[np.ndarray, " n"]:
    """The cost `log q(x_{1:T} | x_0) - log p(x_{0:T})` of each path, where `path[t]` is `x_t`."""
    x0 = path[0]
    xT = path[-1]
    T = schedule.T
    prior = Gaussian(0 * x0, 1.0)
    cost = q_xt_given_x0(x0, T, schedule).log_density(xT) - prior.log_density(xT)
    for t in range(T, 0, -1):
        p = reverse_step(model, path[t], y, t, schedule, choice)
        cost -= p.log_density(path[t - 1])
        if t > 1:  # the product over q has no factor for x_0
            q = q_posterior(x0, path[t], t, schedule)
            cost += q.log_density(path[t - 1])  # (A.2)
    return np.asarray(cost)  # its mean over forward paths is L (A.1)


def elbo_terms(
    model: EpsModel,
    x0: Float[np.ndarray, "n D"],
    y: Int[np.ndarray, " n"],
    eps: Float[np.ndarray, "T1 n D"],
    schedule: Schedule,
    choice: str = "posterior",
) -> Float[np.ndarray, "T1 n"]:
    """One draw of each term `L_0 .. L_T`. `eps[t]` is the noise in `x_t`; `eps[0]` is not used."""
    T = schedule.T
    terms = np.empty(eps.shape[:2])
    prior = Gaussian(0 * x0, 1.0)
    terms[T] = gaussian_kl(q_xt_given_x0(x0, T, schedule), prior)
    for t in range(T, 0, -1):
        xt = xt_from_x0(x0, eps[t], t, schedule)
        p = reverse_step(model, xt, y, t, schedule, choice)
        if t > 1:
            q = q_posterior(x0, xt, t, schedule)
            terms[t - 1] = gaussian_kl(q, p)  # (A.3)
        else:
            terms[0] = -p.log_density(x0)
    return terms


def exact_eps(schedule: Schedule) -> EpsModel:
    """`E[eps | x_t]` for data N(0, I)."""
    return lambda xt, t, y: np.sqrt(1 - schedule.alpha_bar[t]) * xt


def tight_cost(x0: Float[np.ndarray, "n D"]) -> Float[np.ndarray, " n"]:
    """The cost of every path for data N(0, I), `exact_eps` and the variances beta_t."""
    return -np.asarray(Gaussian(0 * x0, 1.0).log_density(x0))  # (A.5)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.a_elbo")
