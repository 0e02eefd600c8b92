r"""Appendix F. What v does: at few steps much, in the limit nothing.

**Claim.** Whatever $v$ is, as $T$ grows Algorithm 2 samples one and the same law. At finite $T$ it
is off by about $1 / T$, and $v$ decides by how much, and to which side.

**The exact law.** Let the class be $N(\mu, S_y)$ and all data $N(0, S)$, on a line. Write
$C_y = a_\lambda^2 S_y + \sigma_\lambda^2$, and $C$ likewise for $S$. By (5.9) the two eps are
$\sigma_\lambda (z - a_\lambda \mu) / C_y$ and $\sigma_\lambda z / C$, so with
$r = e^{\lambda - \lambda'}$ the guess (16.10) is

$$ \tilde x = (1 - \sigma_\lambda^2 g) z / a_\lambda + (1 + w) \sigma_\lambda^2 \mu / C_y $$ (F.1)

with $g = (1 + w) / C_y - w / C$. This is affine in $z$, and so is the mean of (16.12), $A z + b$.
A Gaussian stays one. From mean 0 and variance 1,

$$ m' = A m + b, \quad V' = A^2 V + \sigma^2 $$ (F.2)

and (F.1) once more, at $\lambda_T$, for the samples.

**The limit.** In small steps the two variances of (16.11) agree: all $v$ are one. Let
$\tau = e^{-\lambda}$, so that $z / a_\lambda$ is data plus noise of variance $\tau$, and let $V$ be
its variance. A step down by $d\tau$ is $(1 - r) = d\tau / \tau$, and (F.2) becomes

$$ dV / d\tau = 2 V ((1 + w) / (S_y + \tau) - w / (S + \tau)) - 1 $$ (F.3)

Without the -1, $H = (S_y + \tau)^{2 + 2 w} (S + \tau)^{-2 w}$ solves it; $V / H$ then has the
slope $-1 / H$. $V$ is like $\tau$ far out, and $H$ like $\tau^2$, so $V / H$ is 0 there and
$V = H \int_\tau^\infty 1 / H$. In $\rho = (S + \tau) / (S_y + \tau)$ the integrand is a power. At
$\tau = 0$, with $R = S / S_y$,

$$ V = S_y (R - R^{-2 w}) / ((1 + 2 w) (R - 1)) $$ (F.4)

**The right v.** At $w = 0$ the true variance of a step is known, (6.3). In small steps the larger
variance of (16.11) exceeds the smaller by the share $(1 - r) a_\lambda^2$, and the true one does by
$(1 - r) a_\lambda^2 S_y / C_y$. So what would be right is not one number, but

$$ v = S_y / (a_\lambda^2 S_y + \sigma_\lambda^2) $$ (F.5)

from $S_y$ under much noise to 1 under little. For $S_y \le 1$ all of it is in 0..1: $v = 0$ makes
samples too narrow, $v = 1$ too wide. The paper takes one number, 0.2 or 0.3.

**Three Gaussians** ($w = 1$, top class, variance across): at $T = 16$ it is 0.154, 0.175, 0.257
for $v$ = 0, 0.3, 1, by a sum over the plane; at $T = 1024$ it is 0.227, 0.227, 0.229 in 40,000
samples from the same noise for all $v$. With noise of its own, each would err by 0.0016.

**Boundary.** (F.4) is $S_y$ at $w = 0$ and $S$ at $w = -1$; at $w = -1/2$ it is a limit,
$S_y R \log R / (R - 1)$. For $w > 0$ it is below $S_y$: guidance narrows, with no error to blame.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 4 (their v); Bao et al. 2022,
arXiv:2201.06503 (the best variance); Bradley and Nakkiran 2024, arXiv:2408.09000 (R = 2).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import three_gaussians
from tutorial.step05_best_guess import oracle_eps
from tutorial.step16_log_snr import (
    algorithm_2,
    log_snr_grid,
    reverse_var,
    schedule_from,
    signal_noise,
)

if TYPE_CHECKING:
    from jaxtyping import Float


def step_of_z(
    mean: float, var: float, var_all: float, log_snr: float, log_snr_next: float, w: float
) -> tuple[float, float]:
    """`A` and `b` of the mean of a step, for a class N(`mean`, `var`) in N(0, `var_all`)."""
    a, sigma = signal_noise(log_snr)
    a_next, _ = signal_noise(log_snr_next)
    C_y = a**2 * var + sigma**2
    C = a**2 * var_all + sigma**2
    g = (1 + w) / C_y - w / C
    slope = (1 - sigma**2 * g) / a  # (F.1), the factor of z
    offset = (1 + w) * sigma**2 * mean / C_y  # (F.1), the rest
    # The mean of Algorithm 2's step, with slope * z + offset for its guess.
    r = np.exp(log_snr - log_snr_next)
    k = a / a_next
    A = r / k + (1 - r) * a_next * slope
    b = (1 - r) * a_next * offset
    return float(A), float(b)


def law_of_samples(
    mean: float, var: float, var_all: float, log_snr: Float[np.ndarray, " T"], w: float, v: float
) -> tuple[float, float]:
    """Mean and variance of what Algorithm 2 returns, for `v` in 0..1."""
    m = 0.0
    variance = 1.0
    for here, there in pairwise([*log_snr.tolist(), np.inf]):
        A, b = step_of_z(mean, var, var_all, here, there, w)  # at inf, the guess itself
        noise = reverse_var(here, there, v) if there < np.inf else 0.0
        m = A * m + b  # (F.2)
        variance = A**2 * variance + noise  # (F.2)
    return m, variance


def limit_var(var: float, var_all: float, w: float) -> float:
    """The variance of samples in the limit of many steps; `var` < `var_all`, and not w = -1/2."""
    R = var_all / var
    return var * (R - R ** (-2 * w)) / ((1 + 2 * w) * (R - 1))  # (F.4), which solves (F.3)


def right_v(var: float, log_snr: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """The `v` of a step's true variance in the limit of small steps, at w = 0."""
    a, sigma = signal_noise(log_snr)
    return var / np.asarray(a**2 * var + sigma**2)  # (F.5)


def spread(T: int, v: float, n: int) -> float:
    """The variance across of `n` samples of the top class of three Gaussians, w = 1."""
    grid = log_snr_grid(T)
    rng = np.random.default_rng(0)
    model = oracle_eps(three_gaussians(), schedule_from(grid))
    x = algorithm_2(model, np.zeros(n, dtype=int), grid, 1.0, v, rng)
    return float(x[:, 0].var())


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.f_variance")
