"""The clock of the flow beside the cosine, samples by Euler's steps, and CFG-Zero*."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, Check
from tutorial.step17_solvers import ddim
from tutorial.step19_rules import plain
from tutorial.step21_flow import (
    euler,
    flow_schedule,
    top_class,
    with_zero_init,
    zero_is_closer_from,
    zero_star,
)


def checks() -> list[Check]:
    """Euler against DDIM, and heights of the lesson's table."""
    schedule = flow_schedule(1000)
    table = euler(schedule, 50)
    apart = table.rows[:, 2:] - ddim(schedule, 50).rows[:, 2:]
    zero = with_zero_init(table, schedule)
    threshold = zero_is_closer_from(np.array([0.0, 1.5]), np.zeros(2))
    return [
        Check("(21.7) Euler against DDIM", np.abs(apart).max(), 0, 1e-12),
        Check("(21.6) height, plain", top_class()[:, 1].mean(), 2.37, 0.03),
        Check("(21.10) height, factor", top_class(zero_star)[:, 1].mean(), 1.97, 0.03),
        Check("(21.11) height, zero-init", top_class(table=zero)[:, 1].mean(), 2.34, 0.03),
        Check("(21.12) least weight", threshold, 1.374, 0.001),
    ]


def figure() -> Figure:
    """The log SNR over the flow's time; mean heights and variances over the guidance weight."""
    fig = Figure(figsize=(12, 3.6), layout="constrained")
    clock, heights, widths = fig.subplots(1, 3)
    u = np.linspace(0.01, 0.99, 99)
    clock.plot(u, 2 * np.log((1 - u) / u), color=BLUE, label="flow")
    clock.plot(u, -2 * np.log(np.tan(np.pi * u / 2)), "--", color=ORANGE, label="cosine, no offset")
    schedule = flow_schedule(1000)
    table = euler(schedule, 50)
    zero = with_zero_init(table, schedule)
    weights = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 4.0])
    for rule, run, color, style, label in (
        (plain, table, BLUE, "o-", "plain"),
        (plain, zero, GREY, "s--", "plain, zero-init"),
        (zero_star, table, ORANGE, "o-", r"factor $\nu$"),
    ):
        x = [top_class(rule, float(w), run, n=1000) for w in weights]
        heights.plot(weights, [s[:, 1].mean() for s in x], style, ms=4, color=color, label=label)
        widths.plot(weights, [s[:, 1].var() for s in x], style, ms=4, color=color, label=label)
    heights.axhline(1.5, color=GREEN, lw=1, ls=":", label="class")
    widths.axhline(0.25, color=GREEN, lw=1, ls=":", label="class")
    clock.set(title="The clock of the flow is close\nto that of a cosine")
    clock.set(xlabel="time u: 0 is data, 1 is noise", ylabel="log SNR")
    heights.set(title="Guided velocities overshoot,\nwith the factor about half as much")
    heights.set(xlabel="weight w", ylabel="mean height of the top class")
    widths.set(title="Guided samples vary too little,\nalso with the factor")
    widths.set(xlabel="weight w", ylabel="variance along the height", ylim=(0, 0.34))
    for ax in (clock, heights, widths):
        ax.legend(fontsize=8)
    return fig
