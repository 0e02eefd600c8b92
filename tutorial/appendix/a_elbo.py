r"""Appendix A. The bound: below the likelihood of a chain lies a sum of KL terms.

**Claim.** Below $\log p(x_0)$ of the chain $p(x_{0:T}) = p(x_T) \prod_t p(x_{t-1} | x_t)$, with
$p(x_T) = N(0, I)$ and a label $y$, if there is one, given throughout, lies a sum of terms that need
one $x_t$ each. Let a path of the forward chain cost $\log q(x_{1:T} | x_0) - \log p(x_{0:T})$, and
call its mean cost under $q$ $L$. As $p(x_{0:T}) = p(x_0) p(x_{1:T} | x_0)$,

$$ L = -\log p(x_0) + KL(q(x_{1:T} | x_0), p(x_{1:T} | x_0)) $$ (A.1)

A KL is never negative, so $-L$ is a lower bound of $\log p(x_0)$ (the ELBO), tight if the model
walks back as the data's chain came. (There is no gap before the logarithm: $e^{-cost}$ has the mean
$\int q (p / q) = p(x_0)$. But few paths make it up, and only the logarithm splits into terms.)

**Telescoping.** $p$ is a product backwards; turn $q$ round to match. By Bayes, $x_0$ known,
$q(x_t | x_{t-1}) = q(x_{t-1} | x_t, x_0) q(x_t | x_0) / q(x_{t-1} | x_0)$ for $t \ge 2$. In the
product over $t$ each denominator cancels the numerator before it; the factor $q(x_1 | x_0)$ of
$t = 1$ cancels the first. The last numerator stays:

$$ q(x_{1:T} | x_0) = q(x_T | x_0) \prod_{t=2}^T q(x_{t-1} | x_t, x_0) $$ (A.2)

Now $L$ is a sum of log ratios of two laws of the same $x_{t-1}$. The mean of such a ratio is a KL:

$$ L = E_q[L_0 + L_1 + \cdots + L_T], \quad L_k \text{ about } x_k $$ (A.3)

with $L_T = KL(q(x_T | x_0), p(x_T))$, $L_{t-1} = KL(q(x_{t-1} | x_t, x_0), p(x_{t-1} | x_t))$ for
$t \ge 2$ and $L_0 = -\log p(x_0 | x_1)$. A term needs one $x_t$, drawn by (3.2), and no chain.

**KL.** Under the first law $E |x - m_2|^2 = |m_1 - m_2|^2 + D v_1$. With $r = v_1 / v_2$, in nats,

$$ KL(N(m_1, v_1 I), N(m_2, v_2 I)) = |m_1 - m_2|^2 / (2 v_2) + (D / 2) (r - 1 - \log r) $$ (A.4)

A network moves $m_2$ only: it is charged the squared distance of the means (step 8).

**Boundary.** At $t = 1$, $\tilde\beta_1 = 0$, and a point gives the data no density. Ho et al. let
$p(x_0 | x_1)$ fill a pixel's bin. Here its variance is $\beta_1$ in both choices of $\sigma_t^2$,
$\tilde\beta_t$ and $\beta_t$. At $t = T$, $L_T$ is (3.8): small, and no network moves it.
For data $N(0, I)$ the bound is tight with $\epsilon_\theta = \sqrt{1 - \bar\alpha_t} x_t$ and
$\sigma_t^2 = \beta_t$: by (6.3) the reverse law is then the true one, and every path costs

$$ -\log N(x_0; 0, I) $$ (A.5)

**Source.** Ho et al. 2020, arXiv:2006.11239, eqs. 3, 5, 13 and app. A.
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
    """`KL(g1, g2)` in nats, summed over the last axis; both variances above 0."""
    for name, g in (("g1", g1), ("g2", g2)):
        if not g.var > 0:
            raise ValueError(f"{name}.var = {g.var} is not above 0: a point has no finite KL")
    r = g1.var / g2.var
    return 0.5 * ((g1.mean - g2.mean) ** 2 / g2.var + r - 1 - np.log(r)).sum(-1)  # (A.4)


def reverse_step(
    model: EpsModel,
    xt: Float[np.ndarray, "n D"],
    y: Int[np.ndarray, " n"],
    t: int,
    schedule: Schedule,
    choice: str = "posterior",
) -> Gaussian:
    """`p(x_{t-1} | x_t)` as the bound needs it: step 6's mean, and a variance that is never 0."""
    mean = p_xprev_given_xt(xt, model(xt, t, y), t, schedule).mean
    return Gaussian(mean, sigma_squared(t, schedule, choice))


def path_cost(
    model: EpsModel,
    path: Float[np.ndarray, "T1 n D"],
    y: Int[np.ndarray, " n"],
    schedule: Schedule,
    choice: str = "posterior",
) -> Float[np.ndarray, " n"]:
    """`log q(x_{1:T} | x_0) - log p(x_{0:T})` of whole paths, `path[t]` being `x_t`."""
    x0 = path[0]
    xT = path[-1]
    T = schedule.T
    prior = Gaussian(0 * x0, 1.0)
    cost = q_xt_given_x0(x0, T, schedule).log_density(xT) - prior.log_density(xT)
    for t in range(T, 0, -1):
        p = reverse_step(model, path[t], y, t, schedule, choice)
        cost -= p.log_density(path[t - 1])
        if t > 1:  # the product over q ends where the data begin
            q = q_posterior(x0, path[t], t, schedule)
            cost += q.log_density(path[t - 1])  # (A.2)
    return np.asarray(cost)  # its mean over paths is L (A.1)


def elbo_terms(
    model: EpsModel,
    x0: Float[np.ndarray, "n D"],
    y: Int[np.ndarray, " n"],
    eps: Float[np.ndarray, "T1 n D"],
    schedule: Schedule,
    choice: str = "posterior",
) -> Float[np.ndarray, "T1 n"]:
    """`L_0 .. L_T`, one draw of each; `eps[t]` is the noise in `x_t` and `eps[0]` is not used."""
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
