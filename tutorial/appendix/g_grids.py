r"""Appendix G. One network on every grid, and what a grid does to its errors.

**Claim.** The network of step 16 can be sampled with any $T$ and from any $\lambda_1$. But a step
multiplies errors, the first one from $\lambda_1 = -20$ by a lot: a few steps from there go astray,
as an oracle's never would. A later start costs next to nothing and cures it.

**One step.** Let $r = e^{\lambda - \lambda'}$. Let eps be too large by $e$ at $\lambda$. Then the
guess (16.10) is too small by $e \sigma_\lambda / a_\lambda$, and the mean of (16.12) by $e$ times

$$ (1 - r) a_{\lambda'} \sigma_\lambda / a_\lambda $$ (G.1)

At $\lambda = -20$, $\sigma_\lambda / a_\lambda = e^{10} = 22026$, and $a_{\lambda'}$ is near
$\pi / (2 (T - 1))$, one step of the angle. That makes 2303 at $T = 16$.

**To the end.** Later steps take $z'$ for a draw like any other. For a class $N(\mu, S)$ and $w = 0$
they are (B.1), whose product collapses as in (B.5): what $z'$ is off its mean counts
$a_{\lambda'} S / C'$ in the sample, with $C' = a_{\lambda'}^2 S + \sigma_{\lambda'}^2$. From much
noise on, nearly all is forgotten. Both together:

$$ F = (1 - r) a_{\lambda'}^2 \sigma_\lambda S / (a_\lambda C') $$ (G.2)

**Large or small.** If the first step starts far out, $r$ is near 0 and $C'$ near 1, so

$$ F_1 \approx e^{-\lambda_1 / 2} S (\pi / (2 (T - 1)))^2 $$ (G.3)

falls like $1 / T^2$. At small steps the others add up to what does not depend on $T$: $1 - r$ is
$d\lambda$, which by (16.6) is $2 d\theta / (a_\lambda \sigma_\lambda)$, so $F$ is $2 S d\theta / C$
and $C = S \cos^2 \theta + \sin^2 \theta$, for a quarter turn:

$$ \sum F \to \pi \sqrt S $$ (G.4)

or 1.57 at $S = 1/4$. With $\lambda_1 = -20$, $F_1$ is 61 at $T = 16$, 0.85 at 128 and 0.014 at
1024, and the error of our network there is 0.05 a coordinate. So it may start from -20 in the
paper's 128 steps or more, but not in 16. From -8, $F_1$ is 0.2 at $T = 16$.

**What a later start costs** is known from (B.5): $z \sim N(0, I)$ lacks the data that $z$ should
have in it at $\lambda_1$, and the mean of samples lacks $a_{\lambda_1}^2 S / C$ of $\mu$. With
$S = 1/4$ that is 0.00008 from -8 and 0.005 from -4.

**Boundary.** At the last step $r$ is 0, $a_{\lambda'}$ 1, $C' = S$: $F$ is
$\sigma_\lambda / a_\lambda$, 4.5e-5 at 20. With guidance, $e$ is $e_y + w (e_y - e_\phi)$ (15.6).

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 4 (their grids); Lin et al. 2023,
arXiv:2305.08891, on eps where there is no signal.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step16_log_snr import signal_noise

if TYPE_CHECKING:
    from jaxtyping import Float


def factor_of_step(log_snr: float, log_snr_next: float) -> float:
    """How much the mean of the next state loses for each unit that eps is too large."""
    a, sigma = signal_noise(log_snr)
    a_next, _ = signal_noise(log_snr_next)
    one_minus_r = -np.expm1(log_snr - log_snr_next)  # 1 - r, without a difference of near numbers
    return float(one_minus_r * a_next * sigma / a)  # (G.1)


def factors(var: float, log_snr: Float[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """How much a sample of a class of `var` loses for each unit too much of eps, step by step."""
    found: list[float] = []
    for here, there in pairwise([*log_snr.tolist(), np.inf]):
        a_next, sigma_next = signal_noise(there)
        C_next = a_next**2 * var + sigma_next**2
        kept = a_next * var / C_next
        F = factor_of_step(here, there) * kept  # (G.2)
        found.append(float(F))
    return np.array(found)


def first_factor(var: float, low: float, T: int) -> float:
    """About the first of `factors` on the paper's grid from `low`, far out, with `T` >= 2."""
    return np.exp(-low / 2) * var * (np.pi / (2 * (T - 1))) ** 2  # (G.3)


def all_factors(var: float) -> float:
    """What `factors` add up to in the limit of many steps."""
    return np.pi * var**0.5  # (G.4)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.g_grids")
