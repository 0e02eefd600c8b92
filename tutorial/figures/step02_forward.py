"""The figure shows a forward chain, its variance for three factors, and the two schedules."""

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
    variance_of_xt,
)


def checks_of_forward() -> list[Check]:
    """A hundred thousand chains from two points, and the correlation of neighbours."""
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
    return [
        Check("(2.3) mean of x_3", chain[3].mean(), mean, 4 * np.sqrt(var / n)),
        Check("(2.4) variance of x_3, data of variance 3", chain[3].var(), var, var_error),
        Check("(2.8) the same, from t = 0", var, variance_of_xt(3.0, 3, schedule), 1e-12),
        Check("(2.9) correlation of neighbours at t = 5", correlation, expected, 0.01),
    ]


def draw_forward(fig: Figure | SubFigure) -> None:
    """A forward chain of labelled data; the variance over time for three choices of the factor."""
    *clouds, variance = fig.subplots(1, 5, width_ratios=[1, 1, 1, 1, 1.5])
    schedule = Schedule.linear(100)
    rng = np.random.default_rng(0)
    x0, y = pinwheel().sample(1500, rng)
    chain = [x0, *forward_chain(x0, schedule, rng)]
    colors = [CLASS_COLORS[int(label)] for label in y]
    for axes, t in zip(clouds, (0, 10, 30, 100), strict=True):
        axes.scatter(*chain[t].T, s=2, c=colors)
        axes.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title=f"$x_t$ at t = {t}")
        axes.set(xticks=[], yticks=[])
    for start, color in ((4.0, RED), (1.0, BLUE), (0.1, ORANGE)):
        var = [start]
        for t in range(1, 101):
            var.append(moments_after(0.0, var[-1], t, schedule)[1])
        variance.plot(var, color=color, label=f"data of variance {start:g}")
    walk = 1 + np.cumsum(schedule.beta)  # the variance if the factor is 1
    too_small = [1.0]  # the variance if the factor is 1 - beta
    for beta in schedule.beta[1:]:
        too_small.append((1 - beta) ** 2 * too_small[-1] + beta)
    variance.plot(walk[walk < 4.2], "--", color=GREY, label="mistake: factor 1")
    variance.plot(too_small, ":", color=GREY, label=r"mistake: factor $1 - \beta_t$")
    variance.set(xlabel="t", title="Variance of a coordinate of $x_t$", ylim=(0, 4.2))
    variance.legend(fontsize=7)


def checks_of_schedules() -> list[Check]:
    """Where the linear schedule ends at T = 1000."""
    abar_T = Schedule.linear(1000).alpha_bar[-1]
    return [Check("(2.7, 2.11) linear: alpha_bar at T", abar_T, 4e-5, 1e-6)]


def draw_schedules(fig: Figure | SubFigure) -> None:
    """`beta`, `alpha_bar` and the log SNR over time, for both schedules."""
    noise, signal, ratio = fig.subplots(1, 3)
    t = np.arange(1, 1001)
    linear = Schedule.linear(1000)
    cosine = Schedule.cosine(1000)
    for name, schedule, color in (("linear", linear, BLUE), ("cosine", cosine, ORANGE)):
        noise.semilogy(t, schedule.beta[1:], color=color, label=name)
        signal.plot(t, schedule.alpha_bar[1:], color=color)
        ratio.plot(t, schedule.log_snr[1:], color=color)
    noise.set(xlabel="t", ylabel=r"$\beta_t$", title="Noise variance of step t, T = 1000")
    signal.set(xlabel="t", ylabel=r"$\bar\alpha_t$", title="Fraction of the data, $Var(x_0) = 1$")
    ratio.set(xlabel="t", ylabel=r"$\lambda_t$", title="Log signal-to-noise ratio")
    signal.axhline(0.01, color=GREY, lw=0.8, ls=":", label="0.01")
    signal.legend(fontsize=8)
    noise.legend(fontsize=8)


def checks() -> list[Check]:
    """All numbers that the lesson checks."""
    return [
        *checks_of_forward(),
        *checks_of_schedules(),
    ]


def figure() -> Figure:
    """Above: a forward chain and its variance. Below: the two schedules."""
    fig = Figure(figsize=(11, 6.6), layout="constrained")
    top, bottom = cast(Any, fig).subfigures(2, 1, height_ratios=(3.2, 3.4))
    draw_forward(top)
    draw_schedules(bottom)
    return fig
