"""The figure shows scales of DDIM equal to CFG++, heights over steps, and a moving interval."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step02_forward import Schedule
from tutorial.step17_solvers import ddim, times
from tutorial.step19_rules import top_class
from tutorial.step20_weights import as_ddim, cfgpp, weights_of_ddim, with_interval, with_ramp


def checks() -> list[Check]:
    """Heights of the lesson's table, two scales of DDIM, and CFG++ with a limit."""
    schedule = Schedule.cosine(1000)
    linear = Schedule.linear(1000)
    of_50_rows = ddim(schedule, 50)
    early = top_class(table=with_interval(of_50_rows, schedule, -np.inf, -2))
    late = top_class(table=with_interval(of_50_rows, schedule, 2, np.inf))
    rising = top_class(table=with_ramp(of_50_rows, schedule, 0.0, 2.0))
    few = 1 + weights_of_ddim(-0.4, linear, 50)
    many = 1 + weights_of_ddim(-0.4, linear, 1000)
    in_10_rows = top_class(w=-0.4, table=cfgpp(schedule, 10), n=1000)
    in_200_rows = top_class(w=-0.4, table=cfgpp(schedule, 200), n=1000)
    restored = top_class(w=1.0, table=as_ddim(cfgpp(schedule, 50), schedule, 4.0))
    apart = restored - top_class()
    return [
        Check("(20.1) height, log SNR < -2", early[:, 1].mean(), 2.19, 0.035),
        Check("(20.1) height, log SNR >= 2", late[:, 1].mean(), 1.52, 0.04),
        Check("(20.2) height, ramp towards the data", rising[:, 1].mean(), 1.97, 0.025),
        Check("(20.6) scale in 50 rows", few[25], 5.8, 0.05),
        Check("(20.6) scale in 1000 rows", many[500], 110, 0.5),
        Check("(20.3) height in 10 rows", in_10_rows[:, 1].mean(), 1.75, 0.05),
        Check("(20.3) height in 200 rows", in_200_rows[:, 1].mean(), 3.39, 0.03),
        Check("(20.7) scale 4 of DDIM", np.abs(apart).max(), 0, 1e-7),
    ]


def figure() -> Figure:
    """The scale of DDIM for each row of CFG++; mean heights over steps; an interval that moves."""
    fig = Figure(figsize=(11, 3.3), layout="constrained")
    schedule = Schedule.cosine(1000)
    scales, heights, window = fig.subplots(1, 3)
    counts = (5, 10, 20, 50, 100, 200)
    for n, color in ((20, GREY), (50, BLUE), (200, ORANGE)):
        t, _ = times(schedule, n)
        scale = 1 + weights_of_ddim(-0.4, schedule, n)
        scales.semilogy(t, scale, color=color, label=f"{n} steps")
    for w, color in ((-0.8, GREY), (-0.4, BLUE), (0.0, ORANGE)):
        y = [top_class(w=w, table=cfgpp(schedule, n), n=500)[:, 1].mean() for n in counts]
        heights.semilogx(counts, y, "o-", ms=4, color=color, label=f"CFG++, w = {w:g}")
    y = [top_class(table=ddim(schedule, n), n=500)[:, 1].mean() for n in counts]
    heights.semilogx(counts, y, "k--", label="DDIM, w = 3")
    middles = range(-7, 7)
    y: list[float] = []
    for middle in middles:
        table = with_interval(ddim(schedule, 50), schedule, middle - 1, middle + 1)
        y.append(top_class(table=table, n=500)[:, 1].mean())
    window.plot(middles, y, "o-", ms=4, color=BLUE)
    scales.set(
        title="CFG++ with w = -0.4:\nthe equal scale of DDIM", xlabel="t", ylabel=r"scale $1 + w_t$"
    )
    heights.axhline(1.5, color=GREY, lw=1, ls=":", label="the class")
    heights.set(
        title="With more steps CFG++\nmoves the top class further out",
        xlabel="steps",
        ylabel="mean height",
    )
    window.axhline(1.5, color=GREY, lw=1, ls=":")
    window.set(title="DDIM guided in one interval only,\nw = 3", ylabel="mean height")
    window.set(xlabel="log SNR, middle of an interval of length 2")
    scales.legend(fontsize=8)
    heights.legend(fontsize=8)
    return fig
