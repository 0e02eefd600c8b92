"""The variance of each step for three v, and chains of Algorithm 2 with and without guidance."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, RED, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step07_oracle import oracle_eps
from tutorial.step08_sampling import ancestral_sample
from tutorial.step13_log_snr import algorithm_2, algorithm_2_steps, reverse_var
from tutorial.step13_process import (
    log_snr_grid,
    schedule_from,
)


def checks() -> list[Check]:
    """Step 8 on the same grid and noise; the variance across of the top class, w = 1, T = 16."""
    grid = log_snr_grid(16)
    y = np.zeros(10_000, dtype=int)
    schedule = schedule_from(grid)
    model = oracle_eps(three_gaussians(), schedule)
    of_step_8 = ancestral_sample(model, y, schedule, 1.0, np.random.default_rng(0))
    x = algorithm_2(model, y, grid, 1.0, 0.0, np.random.default_rng(0))
    found = [Check("(13.12) v = 0 is step 8", float(np.abs(x - of_step_8).max()), 0, 1e-9)]
    # The expected values are exact, by a sum over the plane. The standard error of a variance is
    # V sqrt(2 / n).
    for v, V in ((0.0, 0.1542), (0.3, 0.1755), (1.0, 0.2570)):
        x = algorithm_2(model, y, grid, 1.0, v, np.random.default_rng(0))
        across = float(x[:, 0].var())
        found.append(Check(f"(13.11) variance across, v = {v}", across, V, 4 * V / 5000**0.5))
    return found


def figure() -> Figure:
    """The variance of each step for three v; chains of Algorithm 2 without and with guidance."""
    fig = Figure(figsize=(11, 3.6), layout="constrained")
    steps, *chains = fig.subplots(1, 3)
    gaps = list(pairwise(log_snr_grid(16).tolist()))
    for v, color in ((1.0, RED), (0.3, ORANGE), (0.0, BLUE)):
        var = [reverse_var(here, there, v) for here, there in gaps]
        steps.semilogy(range(2, 17), var, "o-", ms=3, color=color, label=f"v = {v:g}")
    wide = np.array([reverse_var(here, there, 1.0) for here, there in gaps])
    narrow = np.array([reverse_var(here, there, 0.0) for here, there in gaps])
    steps.semilogy(range(2, 17), 0.7 * narrow + 0.3 * wide, ":", color=GREY, label="not in logs")
    steps.set(title=r"Variance $\sigma^2$ of each step, T = 16", xticks=range(2, 17, 2))
    steps.set(xlabel=r"k of the $\lambda_k$ where it ends")
    y = np.repeat([0, 1, 2], 200)
    grid = log_snr_grid(64)
    model = oracle_eps(three_gaussians(), schedule_from(grid))
    for ax, w in zip(chains, (0.0, 3.0), strict=True):
        run = algorithm_2_steps(model, y, grid, w, 0.3, np.random.default_rng(2))
        path = np.array([z for _, z in run])
        for k, color in enumerate(CLASS_COLORS[:3]):
            ax.scatter(*path[-1, y == k].T, s=4, color=color, alpha=0.5, label=f"y = {k}")
            ax.plot(*path[:, 200 * k].T, color=color, lw=0.8)
        ax.set(title=f"Samples, and a chain a class: w = {w:g}", xlabel="v = 0.3, T = 64")
        ax.set(aspect="equal", xlim=(-4, 4), ylim=(-3.5, 3.5))
    for ax in (steps, chains[0]):
        ax.legend(fontsize=8)
    return fig
