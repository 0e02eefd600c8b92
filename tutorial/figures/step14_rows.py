"""The coefficients of one table of ancestral sampling, and samples in fewer and fewer rows."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, Check
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import three_gaussians
from tutorial.step07_oracle import oracle_eps
from tutorial.step08_sampling import ancestral_sample
from tutorial.step14_rows import ddpm, run, times


def checks() -> list[Check]:
    """The loop against step 8's; a strided table against the full one of a shorter schedule."""
    schedule = Schedule.linear(100)
    y = np.arange(300) % 3
    model = oracle_eps(three_gaussians(), schedule)
    kept = schedule.alpha_bar[::5]
    x = run(model, y, ddpm(schedule), 1.5, np.random.default_rng(0))
    of_step_8 = ancestral_sample(model, y, schedule, 1.5, np.random.default_rng(0))
    apart = x - of_step_8
    shorter = Schedule(np.concatenate([[0.0], 1 - kept[1:] / kept[:-1]]))
    strided = ddpm(schedule, 20).rows - ddpm(shorter).rows
    starts, _ = times(Schedule.linear(1000), 7)
    return [
        Check("(14.3) the loop, and step 8's", np.abs(apart).max(), 0, 1e-11),
        Check("(14.4) strided, and shorter schedule", np.abs(strided).max(), 0, 1e-11),
        Check("(14.5) the last start of 7 of 1000", starts[-1], 143, 0),
    ]


def figure() -> Figure:
    """The numbers of one table; what the same labels become in ever fewer rows."""
    schedule = Schedule.cosine(1000)
    y = np.arange(600) % 3
    fig = Figure((11, 3), layout="tight")
    model = oracle_eps(three_gaussians(), schedule)
    table = ddpm(schedule, 20)
    numbers, *panels = fig.subplots(1, 4)
    for column, name, color in ((2, "a", BLUE), (3, "b", ORANGE), (4, "c", GREY)):
        numbers.plot(table.t, table.rows[:, column], "o-", ms=3, color=color, label=name)
    numbers.set(title="Ancestral rows, 20 of 1000", xlabel="t")
    numbers.legend(fontsize=8, loc="lower center", ncols=3)
    for ax, steps in zip(panels, (1000, 20, 5), strict=True):
        x = run(model, y, ddpm(schedule, steps), 1.0, np.random.default_rng(0))
        ax.scatter(*x.T, s=4, c=[CLASS_COLORS[k] for k in y])
        ax.set(title=f"{steps} rows, w = 1", xlim=(-3, 3.5), ylim=(-3, 3.5), aspect="equal")
    return fig
