"""The factors of each step, the distance of a network from the oracle, and samples of 16 steps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.e_backprop import MLP, Arrays
from tutorial.appendix.g_grids import all_factors, factor_of_step, factors, first_factor
from tutorial.contract import Denoiser
from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, RED, Check
from tutorial.step05_best_guess import oracle_eps
from tutorial.step16_log_snr import (
    MIXTURE,
    STEPS,
    algorithm_2,
    log_snr_grid,
    schedule_from,
    trained,
)

if TYPE_CHECKING:
    from jaxtyping import Float


CHOSEN = 8 * STEPS if "--full" in sys.argv else STEPS


def samples(
    model: Denoiser, log_snr: Float[np.ndarray, " T"], w: float
) -> Float[np.ndarray, "300 2"]:
    """100 samples of each class from the same noise, whatever the model."""
    y = np.repeat([0, 1, 2], 100)
    return algorithm_2(model, y, log_snr, w, 0.3, np.random.default_rng(1))


def both(
    params: Arrays, log_snr: Float[np.ndarray, " T"], w: float
) -> tuple[np.ndarray, np.ndarray]:
    """Samples of a network and of the oracle."""
    schedule = schedule_from(log_snr)
    ours = samples(MLP(params, schedule, MIXTURE.num_classes), log_snr, w)
    exact = samples(oracle_eps(MIXTURE, schedule), log_snr, w)
    return ours, exact


def apart(params: Arrays, T: int, low: float, w: float = 0.0) -> float:
    """How far, on average, samples of the network end from the oracle's, same grid, same noise."""
    ours, exact = both(params, log_snr_grid(T, low), w)
    return float(np.linalg.norm(ours - exact, axis=1).mean())


def checks(steps: int = CHOSEN) -> list[Check]:
    """The factors of the first step and of all; one network on four grids."""
    grid = log_snr_grid(16)
    params = trained(steps)
    first = factor_of_step(float(grid[0]), float(grid[1]))
    fine = factors(0.25, log_snr_grid(4096))
    return [
        Check("(G.1) first step, T = 16", first, 2303, 1),
        Check("(G.2) the same, to the end", factors(0.25, grid)[0], 60.7, 0.05),
        Check("(G.3) about the same", first_factor(0.25, -20.0, 16), 60.7, 1.0),
        Check("(G.4) all factors, T = 4096", fine.sum(), all_factors(0.25), 0.01),
        Check("from the oracle's, T = 64 from -20", apart(params, 64, -20.0), 0, 0.4),
        Check("from the oracle's, T = 64 from -8", apart(params, 64, -8.0), 0, 0.1),
        Check("from the oracle's, T = 16 from -8", apart(params, 16, -8.0), 0, 0.1),
        Check("T = 16 from -20: farther than 0.5", apart(params, 16, -20.0) > 0.5, 1, 0),
    ]


def figure(steps: int = CHOSEN) -> Figure:
    """The factors over lambda; distances over T; samples of 16 steps from two starts."""
    fig = Figure(figsize=(13, 3.5), layout="constrained")
    factor, distance, *panels = fig.subplots(1, 4)
    params = trained(steps)
    Ts = [8, 16, 32, 64, 128]
    for low, color in ((-20.0, RED), (-8.0, BLUE)):
        grid = log_snr_grid(16, low)
        factor.semilogy(grid, factors(0.25, grid), "o-", ms=4, color=color, label=f"from {low:g}")
        found = [apart(params, T, low) for T in Ts]
        distance.loglog(Ts, found, "o-", color=color, label=f"from {low:g}")
    error = 0.05 * 2**0.5
    expected = [error * first_factor(0.25, -20.0, T) for T in Ts]
    distance.loglog(Ts, expected, "--", color=GREY, label="0.07 of (G.3)")
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
