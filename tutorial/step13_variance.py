r"""Step 13, part 3. What v does: at few steps much, in the limit nothing.

**Claim.** Whatever $v$ is, as $T$ grows Algorithm 2 samples one and the same law. At finite $T$ it
is off by about $1 / T$, and $v$ decides by how much, and to which side.

**The exact law.** Let the class be $N(\mu, S_y)$ and all data $N(0, S)$, on a line. Write
$C_y = a_\lambda^2 S_y + \sigma_\lambda^2$, and $C$ likewise for $S$. By (7.7) the two eps are
$\sigma_\lambda (z - a_\lambda \mu) / C_y$ and $\sigma_\lambda z / C$, so the guess (13.10) is

$$ \tilde x = (1 - \sigma_\lambda^2 g) z / a_\lambda + (1 + w) \sigma_\lambda^2 \mu / C_y $$ (13.14)

with $g = (1 + w) / C_y - w / C$. This is affine in $z$, and so is the mean of (13.12), $A z + b$.
A Gaussian stays one. From mean 0 and variance 1,

$$ m' = A m + b, \quad V' = A^2 V + \sigma^2 $$ (13.15)

and (13.14) once more, at $\lambda_T$, for the samples.

**The limit.** In small steps the two variances of (13.11) agree: all $v$ are one. Let
$\tau = e^{-\lambda}$, so that $z / a_\lambda$ is data plus noise of variance $\tau$, and let $V$ be
its variance. A step down by $d\tau$ is $(1 - r) = d\tau / \tau$, and (13.15) becomes

$$ dV / d\tau = 2 V ((1 + w) / (S_y + \tau) - w / (S + \tau)) - 1 $$ (13.16)

Without the -1, $H = (S_y + \tau)^{2 + 2 w} (S + \tau)^{-2 w}$ solves it; $V / H$ then has the
slope $-1 / H$. $V$ is like $\tau$ far out, and $H$ like $\tau^2$, so $V / H$ is 0 there and
$V = H \int_\tau^\infty 1 / H$. In $\rho = (S + \tau) / (S_y + \tau)$ the integrand is a power. At
$\tau = 0$, with $R = S / S_y$,

$$ V = S_y (R - R^{-2 w}) / ((1 + 2 w) (R - 1)) $$ (13.17)

**The right v.** At $w = 0$ the true variance of a step is known, (5.8). In small steps the larger
variance of (13.11) exceeds the smaller by the share $(1 - r) a_\lambda^2$, and the true one does by
$(1 - r) a_\lambda^2 S_y / C_y$. So what would be right is not one number, but

$$ v = S_y / (a_\lambda^2 S_y + \sigma_\lambda^2) $$ (13.18)

from $S_y$ under much noise to 1 under little. For $S_y \le 1$ all of it is in 0..1: $v = 0$ makes
samples too narrow, $v = 1$ too wide. The paper takes one number, 0.2 or 0.3.

**Three Gaussians** ($w = 1$, top class, variance across): at $T = 16$ it is 0.154, 0.175, 0.257
for $v$ = 0, 0.3, 1, by a sum over the plane; at $T = 1024$ it is 0.227, 0.227, 0.229 in 40,000
samples from the same noise for all $v$. With noise of its own, each would err by 0.0016.

**Boundary.** (13.17) is $S_y$ at $w = 0$ and $S$ at $w = -1$; at $w = -1/2$ it is a limit,
$S_y R \log R / (R - 1)$. For $w > 0$ it is below $S_y$: guidance narrows, with no error to blame.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 4 (their v); Bao et al. 2022,
arXiv:2201.06503 (the best variance); Bradley and Nakkiran 2024, arXiv:2408.09000 (R = 2).
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from tutorial.program import BLUE, GREY, ORANGE, RED, Check, present
from tutorial.step01_toy_data import three_gaussians
from tutorial.step07_oracle import oracle_eps
from tutorial.step13_log_snr import algorithm_2, reverse_var
from tutorial.step13_process import log_snr_grid, q_posterior_log_snr, schedule_from, signal_noise

if TYPE_CHECKING:
    from jaxtyping import Float

COLORS = {0.0: BLUE, 0.3: ORANGE, 1.0: RED}


def step_of_z(
    mean: float, var: float, var_all: float, log_snr: float, log_snr_next: float, w: float
) -> tuple[float, float]:
    """`A` and `b` of the mean of a step, for a class N(`mean`, `var`) in N(0, `var_all`)."""
    a, sigma = signal_noise(log_snr)
    C_y, C = (a**2 * S + sigma**2 for S in (var, var_all))
    slope = (1 - sigma**2 * ((1 + w) / C_y - w / C)) / a  # (13.14)
    guess = np.array([slope, (1 + w) * sigma**2 * mean / C_y])  # what z counts there, and what 1
    A, b = q_posterior_log_snr(guess, np.array([1.0, 0.0]), log_snr, log_snr_next).mean
    return float(A), float(b)


def law_of_samples(
    mean: float, var: float, var_all: float, log_snr: Float[np.ndarray, " T"], w: float, v: float
) -> tuple[float, float]:
    """Mean and variance of what Algorithm 2 returns, for `v` in 0..1."""
    m, total = 0.0, 1.0
    for here, there in pairwise([*log_snr.tolist(), np.inf]):
        A, b = step_of_z(mean, var, var_all, here, there, w)  # at inf, the guess itself
        noise = reverse_var(here, there, v) if there < np.inf else 0.0
        m, total = A * m + b, A**2 * total + noise  # (13.15)
    return m, total


def limit_var(var: float, var_all: float, w: float) -> float:
    """The variance of samples in the limit of many steps; `var` < `var_all`, and not w = -1/2."""
    R = var_all / var
    return var * (R - R ** (-2 * w)) / ((1 + 2 * w) * (R - 1))  # (13.16) (13.17)


def right_v(var: float, log_snr: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """The `v` of a step's true variance in the limit of small steps, at w = 0."""
    a, sigma = signal_noise(log_snr)
    return var / np.asarray(a**2 * var + sigma**2)  # (13.18)


def spread(T: int, v: float, n: int) -> float:
    """The variance across of `n` samples of the top class of three Gaussians, w = 1."""
    grid, rng = log_snr_grid(T), np.random.default_rng(0)
    model = oracle_eps(three_gaussians(), schedule_from(grid))
    return float(algorithm_2(model, np.zeros(n, dtype=int), grid, 1.0, v, rng)[:, 0].var())


def checks(longest: int = 128) -> list[Check]:
    """How laws near their limit as T doubles; what v does to three Gaussians as T grows."""
    law = (law_of_samples(0.8, 0.25, 1.0, log_snr_grid(T), 1.0, 0.0) for T in (512, 1024))
    limit, (late, later) = limit_var(0.25, 1.0, 1.0), (V for _, V in law)
    few, many = (spread(T, 1.0, 4000) - spread(T, 0.0, 4000) for T in (16, longest))
    return [
        Check(
            "(13.17) left of the way, T = 1024 over 512",
            (later - limit) / (late - limit),
            0.5,
            0.02,
        ),
        Check("(13.17) at w = -1: all data", limit_var(0.25, 1.0, -1.0), 1, 1e-15),
        Check("(13.11) variance, v = 1 less v = 0, T = 16", few, 0.1028, 0.01),
        Check(f"(13.11) T times the same, T = {longest}", longest * many, 2.2, 0.2),
    ]


def figure(longest: int = 128) -> Figure:
    """Variances over T, by the exact law and by samples; the v that would be right."""
    fig = Figure(figsize=(11, 3.6), layout="constrained")
    exact, sampled, right = fig.subplots(1, 3)
    Ts, few = 2 ** np.arange(3, 11), [2**k for k in range(3, 11) if 2**k <= longest]
    bar = tqdm(total=3 * sum(few), desc="steps", disable=None)
    for v, color in COLORS.items():
        laws = [law_of_samples(0.8, 0.25, 1.0, log_snr_grid(int(T)), 1.0, v) for T in Ts]
        exact.plot(Ts, [V for _, V in laws], "o-", color=color, label=f"v = {v:g}")
        found: list[float] = []
        for T in few:
            found.append(spread(T, v, 4000))
            bar.update(T)
        error = np.array(found) * (2 / 4000) ** 0.5
        sampled.errorbar(few, found, error, fmt="o-", color=color, label=f"v = {v:g}")
    bar.close()
    exact.axhline(limit_var(0.25, 1.0, 1.0), ls="--", color=GREY, label="limit (13.17)")
    exact.set(title="A class of 0.25 in data of 1, w = 1", ylabel="variance, exact")
    sampled.set(title="Three Gaussians, w = 1", ylabel="variance across, 4000 samples")
    for ax in (exact, sampled):
        ax.set_xscale("log", base=2)
        ax.set_xlabel("T")
    x = np.linspace(-8, 8, 201)
    for var, style in ((0.05, ":"), (0.25, "-"), (1.0, "--")):
        right.plot(x, right_v(var, x), style, color=GREY, label=f"class of {var}")
    right.set(title="The v that is right at w = 0", xlabel=r"$\lambda$", ylabel="v", ylim=(0, 1.05))
    for ax in (exact, sampled, right):
        ax.legend(fontsize=8)
    return fig


if __name__ == "__main__":
    chosen = 1024 if "--full" in sys.argv else 128
    present("step13_variance", __doc__ or "", checks(chosen), figure(chosen))
