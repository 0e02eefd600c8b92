"""The numbers of an ancestral table, samples with fewer steps, and three properties of DDIM.

The properties are the paths of its chains, the variance they lose, and the effect of a wrong eps.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure, SubFigure

from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step07_sampling import ancestral_sample
from tutorial.step17_solvers import (
    chain_var,
    ddim,
    ddpm,
    distance_without_noise,
    heights,
    run,
    run_steps,
    times,
)


def checks_of_rows() -> list[Check]:
    """The loop and that of step 7; a table of 20 of 100 times and the full one of 20 times."""
    schedule = Schedule.linear(100)
    y = np.arange(300) % 3
    model = oracle_eps(three_gaussians(), schedule)
    kept = schedule.alpha_bar[::5]
    x = run(model, y, ddpm(schedule), 1.5, np.random.default_rng(0))
    of_step_7 = ancestral_sample(model, y, schedule, 1.5, np.random.default_rng(0))
    apart = x - of_step_7
    shorter = Schedule(np.concatenate([[0.0], 1 - kept[1:] / kept[:-1]]))
    strided = ddpm(schedule, 20).rows - ddpm(shorter).rows
    starts, _ = times(Schedule.linear(1000), 7)
    return [
        Check("(17.3) the loop and that of step 7", np.abs(apart).max(), 0, 1e-11),
        Check("(17.4) 20 of 100 times, and a schedule of 20", np.abs(strided).max(), 0, 1e-11),
        Check("(17.5) the last start of 7 of 1000", starts[-1], 143, 0),
    ]


def draw_rows(fig: Figure | SubFigure) -> None:
    """The numbers of one table, and samples from the same labels with fewer and fewer steps."""
    schedule = Schedule.cosine(1000)
    y = np.arange(600) % 3
    model = oracle_eps(three_gaussians(), schedule)
    table = ddpm(schedule, 20)
    numbers, *panels = fig.subplots(1, 4)
    for column, name, color in ((2, "a", BLUE), (3, "b", ORANGE), (4, "c", GREY)):
        numbers.plot(table.t, table.rows[:, column], "o-", ms=3, color=color, label=name)
    numbers.set(title="Ancestral table, 20 of 1000 times", xlabel="t", ylabel="number in the row")
    numbers.legend(fontsize=8, loc="lower center", ncols=3)
    for ax, steps in zip(panels, (1000, 20, 5), strict=True):
        x = run(model, y, ddpm(schedule, steps), 1.0, np.random.default_rng(0))
        ax.scatter(*x.T, s=4, c=[CLASS_COLORS[k] for k in y])
        ax.set(title=f"{steps} steps, w = 1", xlim=(-3, 3.5), ylim=(-3, 3.5), aspect="equal")
        ax.set(xlabel="first coordinate", ylabel="second coordinate")


def checks_of_ddim() -> list[Check]:
    """The rows at eta = 1, the variance after 10 steps for two eta, and the mistake."""
    schedule = Schedule.cosine(1000)
    apart = ddim(schedule, 50, 1.0).rows - ddpm(schedule, 50).rows
    noisy = chain_var(ddim(schedule, 10, 1.0), schedule, 0.25)
    still = chain_var(ddim(schedule, 10, 0.0), schedule, 0.25)
    right, wrong = heights(ddim(schedule, 250), schedule)
    apart_100 = distance_without_noise(100)
    return [
        Check("(17.12) eta = 1 and ancestral rows", np.abs(apart).max(), 0, 1e-12),
        Check("(17.13) variance after 10 rows, eta = 1", noisy, 0.151, 5e-4),
        Check("(17.13) variance after 10 rows, eta = 0", still, 0.182, 5e-4),
        Check("(17.14) mean height, clipped", right, 1.67, 0.05),
        Check("(17.14) mean height, eps not re-derived", wrong, -2, 0.01),
        Check("(17.17) distance from the ends, 100 steps", apart_100, 0.0088, 5e-5),
    ]


def draw_ddim(fig: Figure | SubFigure) -> None:
    """Two chains from one start; the variance of the samples; the mean height with the mistake."""
    schedule = Schedule.cosine(1000)
    chains, spread, height = fig.subplots(1, 3)
    counts = (5, 10, 20, 50, 100, 250)
    for eta, color in ((1.0, ORANGE), (0.0, BLUE)):
        name = rf"$\eta$ = {eta:g}"
        tables = [ddim(schedule, n, eta) for n in counts]
        model = oracle_eps(three_gaussians(), schedule)
        rng = np.random.default_rng(3)
        of_50_rows = ddim(schedule, 50, eta)
        path = np.array([x for _, x in run_steps(model, np.zeros(1, int), of_50_rows, 0.0, rng)])
        if eta == 1.0:
            chains.plot(*path[0, 0], "o", ms=7, color="black", label="start")
        chains.plot(*path[:, 0].T, color=color, lw=0.9, label=name)
        chains.plot(*path[-1, 0], "s", ms=6, color=color)
        var = [chain_var(table, schedule, 0.25) for table in tables]
        spread.semilogx(counts, var, "o-", ms=4, color=color, label=name)
        right: list[float] = []
        wrong: list[float] = []
        for table in tables:
            right_height, wrong_height = heights(table, schedule)
            right.append(right_height)
            wrong.append(wrong_height)
        height.semilogx(counts, right, "o-", ms=4, color=color, label=f"{name}, right")
        height.semilogx(counts, wrong, "o--", ms=4, color=color, label=f"{name}, wrong eps")
    chains.set(title="Two chains from one start, 50 steps", aspect="equal")
    chains.set(xlabel="first coordinate", ylabel="second coordinate")
    chains.legend(fontsize=8)
    spread.axhline(0.25, color=GREY, lw=1, label="data")
    spread.set(title="Gaussian data of variance 0.25", xlabel="steps", ylabel="variance of samples")
    height.set(title="Top class, guesses clipped", xlabel="steps", ylabel="mean height")
    spread.legend(fontsize=8)
    height.legend(fontsize=8)


def checks() -> list[Check]:
    """All numbers that the lesson checks."""
    return [
        *checks_of_rows(),
        *checks_of_ddim(),
    ]


def figure() -> Figure:
    """Above: the numbers of one table, and samples with fewer steps. Below: DDIM."""
    fig = Figure(figsize=(11, 6.4), layout="constrained")
    top, bottom = cast(Any, fig).subfigures(2, 1, height_ratios=(3.0, 3.4))
    draw_rows(top)
    draw_ddim(bottom)
    return fig
