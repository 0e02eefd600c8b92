"""The figure shows labelled data dissolving into noise, and the variance for three coefficients.

The figure shows both schedules over time: the noise of one step, the signal, and the log SNR.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure, SubFigure

from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, RED, Check
from tutorial.step01_toy_data import pinwheel
from tutorial.step02_forward import (
    Schedule,
    forward_chain,
    moments_after,
    neighbour_correlation,
    q_xt_given_xprev,
)


def checks_of_forward() -> list[Check]:
    """A hundred thousand chains from two points: moments and memory after ten linear steps."""
    schedule = Schedule.linear(10)
    rng = np.random.default_rng(0)
    n = 100_000
    x0 = np.where(rng.random((n, 1)) < 0.25, 3.0, -1.0)  # mean 0, variance 3
    chain = [x0, *forward_chain(x0, schedule, rng)]
    mean = 0.0
    var = 3.0
    for t in range(1, 4):
        mean, var = moments_after(mean, var, t, schedule)
    unit = rng.standard_normal((n, 1))
    after = q_xt_given_xprev(unit, 5, schedule).sample(rng)
    correlation = np.corrcoef(unit[:, 0], after[:, 0])[0, 1]
    expected = neighbour_correlation(5, schedule)
    # Four standard errors of the variance of a Gaussian; the tails of x_3 are not heavier.
    var_error = 4 * np.sqrt(2 / n) * var
    x3_var = chain[3].var()
    return [
        Check("(2.2) mean of x_3", chain[3].mean(), mean, 4 * np.sqrt(var / n)),
        Check("(2.3) variance of x_3, data of variance 3", x3_var, var, var_error),
        Check("(2.4) excess over 1 left at t = 3", (x3_var - 1) / 2, (var - 1) / 2, 0.01),
        Check("(2.5) correlation of neighbours at t = 5", correlation, expected, 0.01),
    ]


def draw_forward(fig: Figure | SubFigure) -> None:
    """Labelled data dissolving; what becomes of the variance by three choices of coefficient."""
    *clouds, variance = fig.subplots(1, 5, width_ratios=[1, 1, 1, 1, 1.5])
    schedule = Schedule.linear(100)
    rng = np.random.default_rng(0)
    x0, y = pinwheel().sample(1500, rng)
    chain = [x0, *forward_chain(x0, schedule, rng)]
    colors = [CLASS_COLORS[int(label)] for label in y]
    for axes, t in zip(clouds, (0, 10, 30, 100), strict=True):
        axes.scatter(*chain[t].T, s=2, c=colors)
        axes.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title=f"t = {t}")
        axes.set(xticks=[], yticks=[])
    for start, color in ((4.0, RED), (1.0, BLUE), (0.1, ORANGE)):
        var = [start]
        for t in range(1, 101):
            var.append(moments_after(0.0, var[-1], t, schedule)[1])
        variance.plot(var, color=color, label=f"from {start:g}")
    walk = 1 + np.cumsum(schedule.beta)  # the variance if the coefficient is 1
    slip = [1.0]  # the variance if the coefficient is 1 - beta
    for beta in schedule.beta[1:]:
        slip.append((1 - beta) ** 2 * slip[-1] + beta)
    variance.plot(walk[walk < 4.2], "--", color=GREY, label="coefficient 1")
    variance.plot(slip, ":", color=GREY, label=r"coefficient $1 - \beta_t$")
    variance.set(xlabel="t", title="Variance", ylim=(0, 4.2))
    variance.legend(fontsize=7)


def checks_of_schedules() -> list[Check]:
    """Where the linear schedule ends at T = 1000."""
    abar_T = Schedule.linear(1000).alpha_bar[-1]
    return [Check("(2.8, 2.10) linear: alpha_bar at T", abar_T, 4e-5, 1e-6)]


def draw_schedules(fig: Figure | SubFigure) -> None:
    """The table itself, the signal and the log SNR over time, for both schedules."""
    noise, signal, ratio = fig.subplots(1, 3)
    t = np.arange(1, 1001)
    linear = Schedule.linear(1000)
    cosine = Schedule.cosine(1000)
    for name, schedule, color in (("linear", linear, BLUE), ("cosine", cosine, ORANGE)):
        noise.semilogy(t, schedule.beta[1:], color=color, label=name)
        signal.plot(t, schedule.alpha_bar[1:], color=color)
        ratio.plot(t, schedule.log_snr[1:], color=color)
    noise.set(xlabel="t", ylabel=r"$\beta_t$", title="Noise added by one step (T = 1000)")
    signal.set(xlabel="t", ylabel=r"$\bar\alpha_t$", title="Share of the variance that is data")
    ratio.set(xlabel="t", ylabel=r"$\lambda_t$", title="Log signal-to-noise ratio")
    noise.legend(fontsize=8)


def checks() -> list[Check]:
    """All numbers that the lesson checks."""
    return [
        *checks_of_forward(),
        *checks_of_schedules(),
    ]


def figure() -> Figure:
    """Labelled data dissolving; what becomes of the variance by three choices of coefficient.

    Below: the table itself, the signal and the log SNR over time, for both schedules.
    """
    fig = Figure(figsize=(11, 6.6), layout="constrained")
    top, bottom = cast(Any, fig).subfigures(2, 1, height_ratios=(3.2, 3.4))
    draw_forward(top)
    draw_schedules(bottom)
    return fig
