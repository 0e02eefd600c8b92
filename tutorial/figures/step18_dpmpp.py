"""The errors of DDIM and 2M over the number of steps: one class, guided classes, uniform times."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step02_forward import Schedule
from tutorial.step17_solvers import ddim
from tutorial.step18_dpmpp import (
    before_last,
    data_fraction,
    dpmpp_2m,
    even_in_log_snr,
    flow_error,
    guided,
    leading_error,
    left_by_last_row,
)


def checks() -> list[Check]:
    """Both leading errors, both orders with guidance, and the error of the last row."""
    schedule = even_in_log_snr(1024, -8.0, 8.0)
    var = 0.25
    zeta_first = data_fraction(1025, schedule, var)
    zeta_last = data_fraction(1, schedule, var)
    exact = guided(dpmpp_2m, 1024)
    found: list[Check] = []
    for order, name, solver in ((1, "(18.6) DDIM", ddim), (2, "(18.7) 2M", dpmpp_2m)):
        delta = flow_error(before_last(solver(schedule)), schedule, var)
        ratio = delta / leading_error(order, 1 / 64, zeta_first, zeta_last)
        coarse = np.abs(guided(solver, 64) - exact).mean()
        fine = np.abs(guided(solver, 128) - exact).mean()
        found.append(Check(f"{name}: error over its leading term", ratio, 1, 2e-3))
        found.append(Check(f"{name}: order, guided", np.log2(coarse / fine), order, 0.1))
    last = 1 + flow_error(ddim(schedule, [1]), schedule, var)
    short = left_by_last_row(1, schedule, var)
    found.append(Check("(18.8) the last row alone", last, short, 1e-12))
    return found


def figure() -> Figure:
    """Errors with steps of equal length in log SNR, for one class and guided, and uniform in t."""
    fig = Figure(figsize=(11, 3.6), layout="constrained")
    single, mixed, uneven = fig.subplots(1, 3)
    var = 0.25
    exact = guided(dpmpp_2m, 1024)
    schedule = Schedule.cosine(2**14)
    few = [2**k for k in range(3, 9)]
    many = [2**k for k in range(3, 13)]
    for order, name, solver, color in ((1, "DDIM", ddim, ORANGE), (2, "2M", dpmpp_2m, BLUE)):
        grids = [even_in_log_snr(n, -8.0, 8.0) for n in few]
        delta = [abs(flow_error(before_last(solver(g)), g, var)) for g in grids]
        single.loglog(few, delta, "o-", ms=4, color=color, label=name)
        leading = [abs(leading_error(order, 16 / n, 0.0, 1.0)) for n in few]
        single.loglog(few, leading, "--", color=color, label=f"{name}, leading term")
        gap = [np.abs(guided(solver, n) - exact).mean() for n in few]
        mixed.loglog(few, gap, "o-", ms=4, color=color, label=f"{name}, w = 2")
        tables = [solver(schedule, n) for n in many]
        total = [abs(flow_error(table, schedule, var)) for table in tables]
        uneven.loglog(many, total, "o-", ms=4, color=color, label=name)
        if order == 2:
            parts = [abs(flow_error(before_last(table), schedule, var)) for table in tables]
            last = [1 - left_by_last_row(int(table.t[-1]), schedule, var) for table in tables]
            uneven.loglog(many, parts, ":", color=BLUE, label="2M, before the last row")
            uneven.loglog(many, last, "--", color=GREY, label="the last row alone")
    single.set(title="Uniform in log SNR, one class", xlabel="steps", ylabel="relative error")
    mixed.set(title="Uniform in log SNR, guided", xlabel="steps", ylabel="mean error")
    uneven.set(title="Uniform in t, one class", xlabel="steps", ylabel="relative error")
    for ax in (single, mixed, uneven):
        ax.legend(fontsize=8)
    return fig
