r"""Appendix B. The exact distribution of what the reverse chain samples.

**Claim.** For data $N(\mu, S)$, the oracle and $w = 0$ the law of every $x_t$ of step 7's chain is
known. At finite $T$ it is not that of the noised data.

**Why.** Let $C_t = \bar\alpha_t S + (1 - \bar\alpha_t) I$, as in (5.11). The mean of (7.2) is
$E[x_{t-1} | x_t]$ (6.1). As $x_t$ is $\sqrt{\alpha_t} x_{t-1}$ plus noise, the two have covariance
$\sqrt{\alpha_t} C_{t-1}$, and the regression of one Gaussian on the other is

$$ E[x_{t-1} | x_t] = \sqrt{\bar\alpha_{t-1}} \mu + A_t (x_t - \sqrt{\bar\alpha_t} \mu) $$ (B.1)
$$ A_t = \sqrt{\alpha_t} C_{t-1} C_t^{-1} $$ (B.2)

Affine steps keep a Gaussian Gaussian: from $m_T = 0$ and $V_T = I$, for $t = T, \dots, 1$,

$$ m_{t-1} = \sqrt{\bar\alpha_{t-1}} \mu + A_t (m_t - \sqrt{\bar\alpha_t} \mu) $$ (B.3)
$$ V_{t-1} = A_t V_t A_t + \tilde\beta_t I $$ (B.4)

All $C_t$ commute and the product $A_1 \cdots A_T$ collapses to $\sqrt{\bar\alpha_T} S C_T^{-1}$, so

$$ m_0 = \mu - \bar\alpha_T S C_T^{-1} \mu $$ (B.5)

The mean errs only by what (7.1) forgot. The spread errs at every step: (B.4) for the true $C_t$ has
a second term (6.3), $c_0^2 Var(x_0 | x_t)$. So $G_t = C_t - V_t$ starts at $C_T - I \approx 0$, and

$$ G_{t-1} = A_t G_t A_t + c_0^2 (1 - \bar\alpha_t) S C_t^{-1} $$ (B.6)

$T$ terms of order $\beta_t^2$: samples are too narrow, by a constant times $1 / T$. The constant
depends on the schedule and on $S$, and step 7 has numbers. (A term near the data is $\beta_1 / t$,
so $T G_0$ is a constant plus $T \beta_1 \log T$; the linear $T \beta_1$ is 0.1.)

**A test with known errors.** For $n$ samples of distribution function $F$, any $n$ and any $F$,

$$ P(\sup |F_n - F| > d) \le r, \quad d = \sqrt{\log(2 / r) / (2 n)} $$ (B.7)

Refuse what strays beyond $d$: a right sampler is refused at a rate of at most $r$. A wrong one, its
law $D$ away, passes only if its $F_n$ strays from that by $D - d$: read (B.7) again for its rate.

**Source.** Massart 1990, Ann. Probab. 18:1269 (B.7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import posterior_coefficients

if TYPE_CHECKING:
    from jaxtyping import Float


def chain_law(
    mean: Float[np.ndarray, " D"], cov: Float[np.ndarray, "D D"], schedule: Schedule
) -> tuple[Float[np.ndarray, "T1 D"], Float[np.ndarray, "T1 D D"], Float[np.ndarray, "T1 D D"]]:
    """`m` and `V` of the sampler's `x_t` for t = 0..T, and `G`, if the data are N(mean, cov)."""
    abar = schedule.alpha_bar
    eye = np.eye(len(mean))
    C = np.array([a * cov + (1 - a) * eye for a in abar])
    centre = np.sqrt(abar)[:, None] * mean
    m = np.zeros_like(centre)
    V = np.zeros_like(C) + eye
    G = C - eye
    inverse = np.linalg.inv(C)
    for t in range(schedule.T, 0, -1):
        c_0, _, posterior_var = posterior_coefficients(t, schedule)
        A = np.sqrt(schedule.alpha[t]) * C[t - 1] @ inverse[t]  # (B.2)
        m[t - 1] = centre[t - 1] + A @ (m[t] - centre[t])  # (B.3), the mean of (B.1)
        V[t - 1] = A @ V[t] @ A + posterior_var * eye  # (B.4)
        G[t - 1] = A @ G[t] @ A + c_0**2 * (1 - abar[t]) * cov @ inverse[t]  # (B.6)
    return m, V, G


def final_mean(
    mean: Float[np.ndarray, " D"], cov: Float[np.ndarray, "D D"], schedule: Schedule
) -> Float[np.ndarray, " D"]:
    """The mean of the samples in closed form, if the data are N(mean, cov)."""
    abar_T = schedule.alpha_bar[-1]
    C_T: np.ndarray = abar_T * cov + (1 - abar_T) * np.eye(len(mean))
    return mean - abar_T * cov @ np.linalg.inv(C_T) @ mean  # (B.5)


def dkw_bound(n: int, rate: float) -> float:
    """What `sup |F_n - F|` of `n` samples exceeds at a rate of at most `rate`, in (0, 1)."""
    return float(np.sqrt(np.log(2 / rate) / (2 * n)))  # (B.7)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.b_chain_distribution")
