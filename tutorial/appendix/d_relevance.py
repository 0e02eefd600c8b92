r"""Appendix D. Relevance: why it rises along the chain, and a trade-off that is a theorem.

**Claim.** Relevance is what the exact classifier says of the samples, $E p(y | x_0)$. Write $p_t$
for $p(y | x_t)$ and follow it along the chain. Unguided it is a fair game; guided it is loaded:

$$ w = -1: \quad E[p_{t-1} | x_t] = p_t $$ (D.1)
$$ E[p_{t-1} | x_t] - p_t \approx (1 + w) \beta_t p_t |\nabla \log p_t|^2 $$ (D.2)
$$ E[\log p_{t-1} | x_t] - \log p_t \approx (1 / 2 + w) \beta_t |\nabla \log p_t|^2 $$ (D.3)

**Why.** Noise is blind to labels: next to $x_{t-1}$, $x_t$ says nothing about $y$. So $p(y | x_t)$
is the mean of $p(y | x_{t-1})$ over $p(x_{t-1} | x_t)$, by the law of total probability: (D.1).
Guidance moves the mean of that step by $1 + w$ times (10.5). To first order in $\beta_t$ this moves
$p_t$ by $(1 + w) \beta_t \nabla \log p_t \cdot \nabla p_t$: (D.2). And if $p_t$ is fair, $f(p_t)$
gains $f'' / 2$ times the variance of a step, here $\beta_t |\nabla p_t|^2$. The logarithm's
$f'' = -1 / p_t^2$ leaves $1 / 2 + w$ of $1 + w$: (D.3). The start is $p_T \approx \pi_y$, so for
*any* data, and many small steps,

$$ w = -1: E p(y | x_0) = \pi_y, \quad w = -1/2: E \log p(y | x_0) = \log \pi_y $$ (D.4)

Between these two weights the mean rises while the mean logarithm falls: most samples become right,
and the rest very wrong. Beyond, both rise in every step. At $w = -1$, over unguided chains, the sum
is the slope of relevance in $w$: positive. Elsewhere $w$ also decides where the chain is.

**An exact case.** As in step 11, on a line, let $p(x_0 | y) = N(m, S_y)$ and $p(x_0) = N(0, S)$
with $S_y < S$. Steps are affine, of slope (B.2) for either law, and means of steps mix (11.4). So

$$ A_w = (1 + w) A_y - w A_\phi $$ (D.5)
$$ M_{t-1} = A_w M_t + (1 + w) (\sqrt{\bar\alpha_{t-1}} - A_y \sqrt{\bar\alpha_t}) m $$ (D.6)
$$ V_{t-1} = A_w^2 V_t + \tilde\beta_t $$ (D.7)

**Its limit.** In small steps $A_w \approx A_y^{1 + w} A_\phi^{-w}$. The product of all $A_y$ from
$t$ on is $S_y / (S_y + u)$ in units of $x_t / \sqrt{\bar\alpha_t}$ (appendix B), where
$u = (1 - \bar\alpha_t) / \bar\alpha_t$ is the variance of the noise. What enters at $u$ thus comes
out times $\Phi = (S_y / (S_y + u))^{1 + w} ((S + u) / S)^w$: $V_0$ is the integral of $\Phi^2$ over
all $u$, $M_0$ that of $\Phi (1 + w) m / (S_y + u)$. In $q = (S + u) / (S_y + u)$ both integrate a
power. With $\rho = S_y / S$, $U = S S_y / (S - S_y)$ and $x^* = m S / (S - S_y)$,

$$ M_0 \to x^* (1 - \rho^{1 + w}) $$ (D.8)
$$ V_0 \to U (1 - \rho^{1 + 2 w}) / (1 + 2 w) $$ (D.9)

As $p(y | x)$ goes as $e^{-(x - x^*)^2 / (2 U)}$, $x^*$ is its best point, further out than $m$.
Guidance goes there, and not beyond. The mean of $p(y | x)$ over $N(M, V)$ is

$$ E p(y | x_0) = p(y | x^*) \sqrt{U / (U + V)} e^{-(M - x^*)^2 / (2 (U + V))} $$ (D.10)

(D.9) is $U$ times the integral of $e^{-(1 + 2 w) s}$ from 0 to $\log(1 / \rho)$. So $V_0$ falls
in $w$, at a rate below $2 \log(1 / \rho)$, which is the rate of $(M_0 - x^*)^2$. Hence (D.10)
rises: at *every* $w$ more relevance, and less entropy $\log(2 \pi e V_0) / 2$, without end.

**Boundary.** At $w = -1/2$ (D.9) is $U \log(1 / \rho)$. Few steps overshoot: of 20 (cosine) in
step 11's example one has $A_w < 0$ from $w = 8.1$ on, and $V_0$ rises from $w = 17.8$ on.

**Source.** Bradley and Nakkiran 2024, arXiv:2408.09000 (11.18, at $\rho = 1/2$).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import noised, oracle_eps
from tutorial.step07_sampling import ancestral_steps
from tutorial.step10_classifier import classifier_gradient

if TYPE_CHECKING:
    from jaxtyping import Float, Int

EXAMPLE = 1.0, 0.25, 1.0  # m, S_y and S of step 11


def rises(
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    w: float,
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, "2 n"]:
    """What the next step adds to `p(y | x_t)` in the mean, and to its logarithm; `t` in 1..T."""
    law = noised(mixture, schedule.check_t(t), schedule)
    beta = schedule.beta[t]
    p = np.exp(law.log_class_probability(xt))[np.arange(len(y)), y]
    gradient = classifier_gradient(xt, t, y, mixture, schedule)
    squared = beta * (gradient**2).sum(1)
    # At w = -1 the first is 0, and not only to first order in beta (D.1).
    rise_p = (1 + w) * p * squared  # (D.2)
    rise_log_p = (0.5 + w) * squared  # (D.3)
    return np.stack([rise_p, rise_log_p])


def along(w: float, n: int, T: int) -> Iterator[Float[np.ndarray, "2 2 n"]]:
    """For t = T..0: `p(y | x_t)` and its log, and the same as start and all rises add up to."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(T)
    y = np.zeros(n, int)
    model = oracle_eps(mixture, schedule)
    rng = np.random.default_rng(0)
    total = np.zeros((2, n))
    for t, xt in ancestral_steps(model, y, schedule, w, rng):
        log_p = noised(mixture, t, schedule).log_class_probability(xt)[:, 0]
        found = np.stack([np.exp(log_p), log_p])
        if t == T:
            total = found
        yield np.stack([found, total])
        if t > 0:
            total = total + rises(xt, t, y, w, mixture, schedule)  # (D.4)


def pair_law(m: float, S_y: float, S: float, w: float, schedule: Schedule) -> np.ndarray:
    """Rows `M` and `V` of the guided `x_t`, t = 0..T, for a class N(m, S_y) in data N(0, S)."""
    abar = schedule.alpha_bar
    C_y = abar * S_y + 1 - abar
    C = abar * S + 1 - abar
    signal = abar**0.5
    M = np.zeros(schedule.T + 1)
    V = np.ones(schedule.T + 1)
    for t in range(schedule.T, 0, -1):
        A_y = schedule.alpha[t] ** 0.5 * C_y[t - 1] / C_y[t]
        A_null = schedule.alpha[t] ** 0.5 * C[t - 1] / C[t]
        A = (1 + w) * A_y - w * A_null  # (D.5)
        M[t - 1] = A * M[t] + (1 + w) * (signal[t - 1] - A_y * signal[t]) * m  # (D.6)
        posterior_var = posterior_coefficients(t, schedule)[2]
        V[t - 1] = A**2 * V[t] + posterior_var  # (D.7)
    return np.stack([M, V])


def pair_limit(m: float, S_y: float, S: float, w: float) -> tuple[float, float]:
    """`M_0` and `V_0` after endlessly many steps, for 0 < S_y < S."""
    if not 0 < S_y < S:
        raise ValueError(f"S_y = {S_y}, S = {S}: a class has to be narrower than all the data")
    U = S * S_y / (S - S_y)
    best = m * S / (S - S_y)
    rho = S_y / S
    M_0 = best * (1 - rho ** (1 + w))  # (D.8)
    a = 1 + 2 * w
    log_rho = np.log(rho)
    # (1 - rho^a) / a, and its limit at a = 0.
    integral = -np.expm1(a * log_rho) / a if a != 0 else -log_rho
    V_0 = U * integral  # (D.9)
    return M_0, V_0


def pair_relevance(M: float, V: float, m: float, S_y: float, S: float, share: float) -> float:
    """The mean of `p(y | x)` over N(M, V), for a class that is `share` of the data."""
    U = S * S_y / (S - S_y)
    best = m * S / (S - S_y)
    at_best = share * (S / S_y) ** 0.5 * np.exp(m**2 / (2 * (S - S_y)))
    fades = np.exp(-((M - best) ** 2) / (2 * (U + V)))
    return float(at_best * (U / (U + V)) ** 0.5 * fades)  # (D.10)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.d_relevance")
