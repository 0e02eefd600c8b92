"""Chains of the same draws, the variance that few rows leave, and where stale eps end."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, ORANGE, Check
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import three_gaussians
from tutorial.step07_oracle import oracle_eps
from tutorial.step14_ddim import chain_var, ddim, heights
from tutorial.step14_rows import ddpm, run_steps


def checks() -> list[Check]:
    """eta = 1 is ancestral; what 10 rows leave, of all noise and of none; the mistake."""
    schedule = Schedule.cosine(1000)
    apart = ddim(schedule, 50, 1.0).rows - ddpm(schedule, 50).rows
    noisy = chain_var(ddim(schedule, 10, 1.0), schedule, 0.25)
    still = chain_var(ddim(schedule, 10, 0.0), schedule, 0.25)
    right, wrong = heights(ddim(schedule, 250), schedule)
    return [
        Check("(14.12) eta = 1 and ancestral rows", np.abs(apart).max(), 0, 1e-12),
        Check("(14.13) variance after 10 rows, eta = 1", noisy, 0.151, 5e-4),
        Check("(14.13) variance after 10 rows, eta = 0", still, 0.182, 5e-4),
        Check("(14.14) mean height, clipped", right, 1.67, 0.05),
        Check("(14.14) mean height, eps not re-derived", wrong, -2, 0.01),
    ]


def figure() -> Figure:
    """Chains of the same draws; the variance that few rows leave; where the mistake ends."""
    fig = Figure(figsize=(11, 3.4), layout="constrained")
    schedule = Schedule.cosine(1000)
    chains, spread, height = fig.subplots(1, 3)
    counts = (5, 10, 20, 50, 100, 250)
    for eta, color in ((1.0, ORANGE), (0.0, BLUE)):
        name = rf"$\eta$ = {eta:g}"
        tables = [ddim(schedule, n, eta) for n in counts]
        model = oracle_eps(three_gaussians(), schedule)
        rng = np.random.default_rng(3)
        of_50_rows = ddim(schedule, 50, eta)
        path = np.array([x for _, x in run_steps(model, np.arange(3), of_50_rows, 0.0, rng)])
        chains.plot(path[:, :, 0], path[:, :, 1], color=color, lw=0.8)
        var = [chain_var(table, schedule, 0.25) for table in tables]
        spread.semilogx(counts, var, "o-", ms=4, color=color, label=name)
        right: list[float] = []
        wrong: list[float] = []
        for table in tables:
            right_height, wrong_height = heights(table, schedule)
            right.append(right_height)
            wrong.append(wrong_height)
        height.semilogx(counts, right, "o-", ms=4, color=color, label=f"{name}, right")
        height.semilogx(counts, wrong, "o--", ms=4, color=color, label=f"{name}, stale eps")
    chains.set(title="Three chains of the same draws", aspect="equal")
    spread.set(title="Variance left, of 0.25", xlabel="rows")
    height.set(title="Mean height of the top class, clipped", xlabel="rows")
    spread.legend(fontsize=8)
    height.legend(fontsize=8)
    return fig
