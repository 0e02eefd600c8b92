r"""Step 13, part 5. One network on every grid, and what a grid does to its errors.

**Claim.** The network of part 4 can be sampled with any $T$ and from any $\lambda_1$. But a step
multiplies errors, the first one from $\lambda_1 = -20$ by a lot: a few steps from there go astray,
as an oracle's never would. A later start costs nothing and cures it.

**One step.** Let eps be too large by $e$ at $\lambda$. Then the guess (13.10) is too small by
$e \sigma_\lambda / a_\lambda$, and the mean of (13.12) by $e$ times

$$ (1 - r) a_{\lambda'} \sigma_\lambda / a_\lambda $$ (13.23)

At $\lambda = -20$, $\sigma_\lambda / a_\lambda = e^{10} = 22026$, and $a_{\lambda'}$ is near
$\pi / (2 (T - 1))$, one step of the angle. That makes 2303 at $T = 16$.

**To the end.** Later steps take $z'$ for a draw like any other. For a class $N(\mu, S)$ and $w = 0$
they are (8.4), whose product collapses as in (8.8): what $z'$ is off its mean counts
$a_{\lambda'} S / C'$ in the sample, with $C' = a_{\lambda'}^2 S + \sigma_{\lambda'}^2$. From much
noise on, nearly all is forgotten. Both together:

$$ F = (1 - r) a_{\lambda'}^2 \sigma_\lambda S / (a_\lambda C') $$ (13.24)

**Large or small.** If the first step starts far out, $r$ is near 0 and $C'$ near 1, so

$$ F_1 \approx e^{-\lambda_1 / 2} S (\pi / (2 (T - 1)))^2 $$ (13.25)

falls like $1 / T^2$. At small steps the others add up to what does not depend on $T$: $1 - r$ is
$d\lambda$, which by (13.6) is $2 d\theta / (a_\lambda \sigma_\lambda)$, so $F$ is $2 S d\theta / C$
and $C = S \cos^2 \theta + \sin^2 \theta$, for a quarter turn:

$$ \sum F \to \pi \sqrt S $$ (13.26)

or 1.57 at $S = 1/4$. With $\lambda_1 = -20$, $F_1$ is 61 at $T = 16$, 0.85 at 128 and 0.014 at
1024, and the error of our network there is 0.05 a coordinate. So it may start from -20 in the
paper's 128 steps or more, but not in 16. From -8, $F_1$ is 0.2 at $T = 16$.

**What a later start costs** is known from (8.8): $z \sim N(0, I)$ lacks the data that $z$ should
have in it at $\lambda_1$, and the mean of samples lacks $a_{\lambda_1}^2 S / C$ of $\mu$. With
$S = 1/4$ that is 0.00008 from -8 and 0.005 from -4.

**Boundary.** At the last step $r$ is 0, $a_{\lambda'}$ 1, $C' = S$: $F$ is
$\sigma_\lambda / a_\lambda$, 4.5e-5 at 20. With guidance, $e$ is $e_y + w (e_y - e_\phi)$ (12.14).

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 4 (their grids); Lin et al. 2023,
arXiv:2305.08891, on eps where there is no signal.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tutorial.contract import Denoiser
from tutorial.program import BLUE, CLASS_COLORS, GREY, RED, Check, present
from tutorial.step07_oracle import oracle_eps
from tutorial.step12_backprop import MLP, Arrays
from tutorial.step13_log_snr import algorithm_2
from tutorial.step13_process import log_snr_grid, schedule_from, signal_noise
from tutorial.step13_training import MIXTURE, STEPS, trained

if TYPE_CHECKING:
    from jaxtyping import Float


def factor_of_step(log_snr: float, log_snr_next: float) -> float:
    """How much the mean of the next state loses for each unit that eps is too large."""
    (a, sigma), (a_next, _) = signal_noise(log_snr), signal_noise(log_snr_next)
    return float(-np.expm1(log_snr - log_snr_next) * a_next * sigma / a)  # (13.23)


def factors(var: float, log_snr: Float[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """How much a sample of a class of `var` loses for each unit too much of eps, step by step."""
    found: list[float] = []
    for here, there in pairwise([*log_snr.tolist(), np.inf]):
        a_next, sigma_next = signal_noise(there)
        kept = a_next * var / (a_next**2 * var + sigma_next**2)
        found.append(float(factor_of_step(here, there) * kept))  # (13.24)
    return np.array(found)


def first_factor(var: float, low: float, T: int) -> float:
    """About the first of `factors` on the paper's grid from `low`, far out, with `T` >= 2."""
    return np.exp(-low / 2) * var * (np.pi / (2 * (T - 1))) ** 2  # (13.25)


def all_factors(var: float) -> float:
    """What `factors` add up to in the limit of many steps."""
    return np.pi * var**0.5  # (13.26)


def samples(
    model: Denoiser, log_snr: Float[np.ndarray, " T"], w: float
) -> Float[np.ndarray, "300 2"]:
    """100 samples of each class from the same noise, whatever the model."""
    return algorithm_2(model, np.repeat([0, 1, 2], 100), log_snr, w, 0.3, np.random.default_rng(1))


def both(
    params: Arrays, log_snr: Float[np.ndarray, " T"], w: float
) -> tuple[np.ndarray, np.ndarray]:
    """Samples of a network and of the oracle."""
    schedule = schedule_from(log_snr)
    models = MLP(params, schedule, MIXTURE.num_classes), oracle_eps(MIXTURE, schedule)
    ours, exact = (samples(model, log_snr, w) for model in models)
    return ours, exact


def apart(params: Arrays, T: int, low: float, w: float = 0.0) -> float:
    """How far, on average, samples of the network end from the oracle's, same grid, same noise."""
    ours, exact = both(params, log_snr_grid(T, low), w)
    return float(np.linalg.norm(ours - exact, axis=1).mean())


def checks(steps: int = STEPS) -> list[Check]:
    """The factors of the first step and of all; one network on four grids."""
    grid, params = log_snr_grid(16), trained(steps)
    fine = factors(0.25, log_snr_grid(4096))
    return [
        Check("(13.23) first step, T = 16", factor_of_step(*grid[:2].tolist()), 2303, 1),
        Check("(13.24) the same, to the end", factors(0.25, grid)[0], 60.7, 0.05),
        Check("(13.25) about the same", first_factor(0.25, -20.0, 16), 60.7, 1.0),
        Check("(13.26) all factors, T = 4096", fine.sum(), all_factors(0.25), 0.01),
        Check("from the oracle's, T = 64 from -20", apart(params, 64, -20.0), 0, 0.4),
        Check("from the oracle's, T = 64 from -8", apart(params, 64, -8.0), 0, 0.1),
        Check("from the oracle's, T = 16 from -8", apart(params, 16, -8.0), 0, 0.1),
        Check("T = 16 from -20: farther than 0.5", apart(params, 16, -20.0) > 0.5, 1, 0),
    ]


def figure(steps: int = STEPS) -> Figure:
    """The factors over lambda; distances over T; samples of 16 steps from two starts."""
    fig = Figure(figsize=(13, 3.5), layout="constrained")
    factor, distance, *panels = fig.subplots(1, 4)
    params, Ts = trained(steps), [8, 16, 32, 64, 128]
    for low, color in ((-20.0, RED), (-8.0, BLUE)):
        grid = log_snr_grid(16, low)
        factor.semilogy(grid, factors(0.25, grid), "o-", ms=4, color=color, label=f"from {low:g}")
        found = [apart(params, T, low) for T in Ts]
        distance.loglog(Ts, found, "o-", color=color, label=f"from {low:g}")
    error = 0.05 * 2**0.5
    distance.loglog(
        Ts,
        [error * first_factor(0.25, -20.0, T) for T in Ts],
        "--",
        color=GREY,
        label="0.07 of (13.25)",
    )
    factor.set(title="F of each of 16 steps", xlabel=r"$\lambda$")
    distance.set(title="Network to oracle, same noise", xlabel="T")
    distance.set_xscale("log", base=2)
    for ax, low in zip(panels, (-20.0, -8.0), strict=True):
        x, _ = both(params, log_snr_grid(16, low), 0.0)
        ax.scatter(*x.T, s=4, c=np.repeat(CLASS_COLORS[:3], 100))
        ax.set(title=f"Samples, T = 16 from {low:g}", aspect="equal", xlim=(-5, 5), ylim=(-5, 5))
    for ax in (factor, distance):
        ax.legend(fontsize=8)
    return fig


if __name__ == "__main__":
    chosen = 8 * STEPS if "--full" in sys.argv else STEPS
    present("step13_grids", __doc__ or "", checks(chosen), figure(chosen))
