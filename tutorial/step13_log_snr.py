r"""Step 13, part 2. Algorithm 2: guided sampling in log SNR.

**Claim.** The paper's sampler is step 8's chain on a grid $\lambda_1 < \dots < \lambda_T$ of log
SNRs, with a variance of its own. It starts with $z \sim N(0, I)$ at $\lambda_1$. At each $\lambda$,
with $\lambda'$ the next of the grid, and $r$ and $k$ as in part 1,

$$ \tilde\epsilon = (1 + w) \epsilon(z, y) - w \epsilon(z, \phi) $$ (13.9)
$$ \tilde x = (z - \sigma_\lambda \tilde\epsilon) / a_\lambda $$ (13.10)
$$ \sigma^2 = ((1 - r) \sigma_{\lambda'}^2)^{1 - v} ((1 - r) \sigma_\lambda^2)^v $$ (13.11)
$$ z' = (r / k) z + (1 - r) a_{\lambda'} \tilde x + \sigma n, \quad n \sim N(0, I) $$ (13.12)

**Why.** (13.10) is (13.1) solved for $x$, a guess of it, and (13.12) draws from (13.3) with the
guess in the place of $x$. Nothing is clipped. As for the variance, (5.8) says that (13.4) is right
if the data are one point and (13.2) if they are $N(0, I)$. $v$ in 0..1 goes from one to the other,
evenly in the logarithm: the two differ by the factor $\sigma_\lambda^2 / \sigma_{\lambda'}^2$, near
1 in small steps, but 5e6 on the last way, to $\lambda_T = 20$, if $T = 16$. With $v = 0$ this is
step 8 to the last digits, as (13.5) makes its table the same chain.

**Boundary.** After $\lambda_T$ comes data. (13.12) at $\lambda' = \infty$ has the mean $\tilde x$
and, for $v < 1$, no variance. The paper stops there for every $v$, and returns

$$ x = \tilde x(z_{\lambda_T}) $$ (13.13)

which at $\lambda_T = 20$ is $z$ give or take 4.5e-5: what noise the last (13.12) has added stays.

**Mistakes**, and what they do to the three Gaussians of step 1. The variance across, of the top
class, $w = 1$, $v = 0.3$, $T = 16$, is 0.175. It becomes

| mistake | variance |
|---|---|
| $v$ ignored: the posterior's variance | 0.154 |
| $v$ between the variances, not between their logarithms | 0.185 |
| $v$ and $1 - v$ exchanged | 0.211 |
| $\lambda$ in even steps from -20 to 20 | 0.122 |
| $z$ itself in the place of $n$ | 67 |
| no $x$ term in the mean | 0.0000002 |
| noise on the last guess; or $z$ returned, not $\tilde x$ | 0.175 |

The last row is 0.175 again: no sample would tell, and the tests look at a single step.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, alg. 2 and sec. 2; Nichol and Dhariwal 2021,
arXiv:2102.09672, sec. 3.1 (between the two variances, in the logarithm).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser, Normals, last
from tutorial.step10_guidance import guide
from tutorial.step13_process import (
    forward_var,
    q_posterior_log_snr,
    signal_noise,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def reverse_var(log_snr: float, log_snr_next: float, v: float) -> float:
    """The variance of the noise that Algorithm 2 adds, for `v` in 0..1."""
    if not 0 <= v <= 1:
        raise ValueError(f"v = {v} is outside 0..1")
    zero = np.zeros(1)
    wide = forward_var(log_snr, log_snr_next)
    narrow = q_posterior_log_snr(zero, zero, log_snr, log_snr_next).var
    return float(narrow ** (1 - v) * wide**v)  # (13.11)


def algorithm_2_steps(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    log_snr: Float[np.ndarray, " T"],
    w: float,
    v: float,
    rng: Normals,
) -> Iterator[tuple[int, Float[np.ndarray, "n 2"]]]:
    """Yield `(t, z)` for t = T..0, the times of `schedule_from(log_snr)`; `rng` draws T times.

    `model` predicts eps on that schedule. Labels in 0..K, `v` in 0..1; the last state is `x~`.
    """
    if model.prediction != "eps":
        raise ValueError(f"prediction = {model.prediction!r}: Algorithm 2 is written for eps")
    null = np.full_like(y, model.num_classes)
    T = len(log_snr)
    z = rng.standard_normal((len(y), 2))
    yield T, z
    for t in range(T, 0, -1):
        here = float(log_snr[T - t])
        a, sigma = signal_noise(here)
        eps = model(z, t, y)
        if w != 0:
            eps = guide(eps, model(z, t, null), w)  # (13.9)
        x = (z - sigma * eps) / a  # (13.10)
        if t == 1:
            yield 0, x  # (13.13)
            return
        there = float(log_snr[T - t + 1])
        mean = q_posterior_log_snr(x, z, here, there).mean
        sigma_of_step = np.sqrt(reverse_var(here, there, v))
        n = rng.standard_normal(z.shape)
        z = mean + sigma_of_step * n  # (13.12)
        yield t - 1, z


def algorithm_2(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    log_snr: Float[np.ndarray, " T"],
    w: float,
    v: float,
    rng: Normals,
) -> Float[np.ndarray, "n 2"]:
    """One sample of each label in `y`, with guidance weight `w`."""
    _, x = last(algorithm_2_steps(model, y, log_snr, w, v, rng))
    return x


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step13_log_snr")
