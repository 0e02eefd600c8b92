r"""Step 8. Sampling: the reverse chain, and the exact law of what comes out of it.

**Claim.** A sampler starts from noise and takes the reverse step of step 5, $T$ times:

$$ x_T \sim N(0, I) $$ (8.1)
$$ x_{t-1} = c_0 \hat x_0 + c_t x_t + \sqrt{\tilde\beta_t} z, \quad z \sim N(0, I) $$ (8.2)

$$ \epsilon = (1 + w) \epsilon(x_t, y) - w \epsilon(x_t, \phi) $$ (8.3)

with $\hat x_0$ from a noise predictor, mixed as step 10 explains. For data $N(\mu, S)$, the oracle
and $w = 0$ the law of every $x_t$ is known. At finite $T$ it is not that of the noised data.

**Why.** Let $C_t = \bar\alpha_t S + (1 - \bar\alpha_t) I$, as in (7.1). The mean of (8.2) is
$E[x_{t-1} | x_t]$ (5.1). As $x_t$ is $\sqrt{\alpha_t} x_{t-1}$ plus noise, the two have covariance
$\sqrt{\alpha_t} C_{t-1}$, and the regression of one Gaussian on the other is

$$ E[x_{t-1} | x_t] = \sqrt{\bar\alpha_{t-1}} \mu + A_t (x_t - \sqrt{\bar\alpha_t} \mu) $$ (8.4)
$$ A_t = \sqrt{\alpha_t} C_{t-1} C_t^{-1} $$ (8.5)

Affine steps keep a Gaussian Gaussian: from $m_T = 0$ and $V_T = I$, for $t = T, \dots, 1$,

$$ m_{t-1} = \sqrt{\bar\alpha_{t-1}} \mu + A_t (m_t - \sqrt{\bar\alpha_t} \mu) $$ (8.6)
$$ V_{t-1} = A_t V_t A_t + \tilde\beta_t I $$ (8.7)

All $C_t$ commute and the product $A_1 \cdots A_T$ collapses to $\sqrt{\bar\alpha_T} S C_T^{-1}$, so

$$ m_0 = \mu - \bar\alpha_T S C_T^{-1} \mu $$ (8.8)

The mean errs only by what (8.1) forgot. The spread errs at every step: (8.7) for the true $C_t$ has
a second term (5.8), $c_0^2 Var(x_0 | x_t)$. So $G_t = C_t - V_t$ starts at $C_T - I \approx 0$, and

$$ G_{t-1} = A_t G_t A_t + c_0^2 (1 - \bar\alpha_t) S C_t^{-1} $$ (8.9)

$T$ terms of order $\beta_t^2$: samples are too narrow, by about $1 / T$. (A term near the data is
$\beta_1 / t$, so $T G_0$ is a constant plus $T \beta_1 \log T$; the linear $T \beta_1$ is 0.1.)

**A test with known errors.** For $n$ samples of distribution function $F$, any $n$ and any $F$,

$$ P(\sup |F_n - F| > d) \le r, \quad d = \sqrt{\log(2 / r) / (2 n)} $$ (8.10)

Refuse what strays beyond $d$: a right sampler is refused at a rate of at most $r$. A wrong one, its
law $D$ away, passes only if its $F_n$ strays from that by $D - d$: read (8.10) again for its rate.

**Boundary.** At $t = 1$, $c_0 = 1$ and $c_t = \tilde\beta_1 = 0$. Noise added there hides in the
samples (with $T = 50$ it takes millions to see), but not in a single step:

$$ x_0 = \hat x_0(x_1) $$ (8.11)

**Source.** Ho et al. 2020, arXiv:2006.11239, alg. 2; Massart 1990, Ann. Probab. 18:1269 (8.10).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser, Normals, last
from tutorial.step00_notation import Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_reverse import p_xprev_given_xt

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def ancestral_steps(
    model: Denoiser, y: Int[np.ndarray, " n"], schedule: Schedule, w: float, rng: Normals
) -> Iterator[tuple[int, Float[np.ndarray, "n 2"]]]:
    """Yield `(t, x_t)` for t = T..0, a chain a label of `y` in 0..K; `rng` draws T + 1 times."""
    null = np.full_like(y, model.num_classes)
    xt = rng.standard_normal((len(y), 2))  # (8.1)
    yield schedule.T, xt
    for t in range(schedule.T, 0, -1):
        out = model(xt, t, y)
        if w != 0:
            out_null = model(xt, t, null)
            out = (1 + w) * out - w * out_null  # (8.3); step10_guidance.guide
        law = p_xprev_given_xt(xt, out, t, schedule, model.prediction)
        z = rng.standard_normal(xt.shape)
        # At t = 1 the variance is 0, so that x_0 is the guess of the data (8.11).
        xt = law.mean + np.sqrt(law.var) * z  # (8.2)
        yield t - 1, xt


def ancestral_sample(
    model: Denoiser, y: Int[np.ndarray, " n"], schedule: Schedule, w: float, rng: Normals
) -> Float[np.ndarray, "n 2"]:
    """One sample of each label in `y`, in 0..K, with guidance weight `w`.

    >>> from tutorial.step01_toy_data import three_gaussians
    >>> from tutorial.step07_oracle import oracle_eps
    >>> model = oracle_eps(three_gaussians(), Schedule.cosine(10))
    >>> y, rng = np.array([0, 1, 2]), np.random.default_rng(0)
    >>> ancestral_sample(model, y, Schedule.cosine(10), 0.0, rng).shape
    (3, 2)
    """
    _, x0 = last(ancestral_steps(model, y, schedule, w, rng))
    return x0


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
        A = np.sqrt(schedule.alpha[t]) * C[t - 1] @ inverse[t]  # (8.5)
        m[t - 1] = centre[t - 1] + A @ (m[t] - centre[t])  # (8.6), the mean of (8.4)
        V[t - 1] = A @ V[t] @ A + posterior_var * eye  # (8.7)
        G[t - 1] = A @ G[t] @ A + c_0**2 * (1 - abar[t]) * cov @ inverse[t]  # (8.9)
    return m, V, G


def final_mean(
    mean: Float[np.ndarray, " D"], cov: Float[np.ndarray, "D D"], schedule: Schedule
) -> Float[np.ndarray, " D"]:
    """The mean of the samples in closed form, if the data are N(mean, cov)."""
    abar_T = schedule.alpha_bar[-1]
    C_T: np.ndarray = abar_T * cov + (1 - abar_T) * np.eye(len(mean))
    return mean - abar_T * cov @ np.linalg.inv(C_T) @ mean  # (8.8)


def dkw_bound(n: int, rate: float) -> float:
    """What `sup |F_n - F|` of `n` samples exceeds at a rate of at most `rate`, in (0, 1)."""
    return float(np.sqrt(np.log(2 / rate) / (2 * n)))  # (8.10)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step08_sampling")
