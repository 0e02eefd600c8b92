"""The figure shows the two distributions of the example at one t, and their moments over time."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, RED, Check
from tutorial.step00_notation import Gaussian, Schedule
from tutorial.step01_toy_data import three_gaussians
from tutorial.step10_guidance_score import both_orders, gap, guided_score, log_tilted


def checks() -> list[Check]:
    """The slope of the tilted density at one point; the two laws of the example."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    h = 1e-5
    y = np.zeros(3, dtype=int)
    x = np.array([[0.3, -0.2], [0.3, -0.2 + h], [0.3, -0.2 - h]])
    _, above, below = log_tilted(x, 40, y, 3.0, mixture, schedule)
    slope = (above - below) / (2 * h)
    s = guided_score(x, 40, y, 3.0, mixture, schedule)[0, 1]
    half = Schedule(np.array([0, 0.5]))
    given_y = Gaussian(np.ones(1), 0.25)
    aimed, wanted = both_orders(given_y, 1.0, 3.0, 1, half)
    delta_M, delta_V = gap(given_y, 1.0, 3.0, 1, half)
    return [
        Check("(10.7) score, by a finite difference", s, slope, 1e-7),
        Check("(10.10) variance aimed at", aimed.var, wanted.var + delta_V, 1e-15),
        Check("(10.10) variance of the noised tilted law", wanted.var, 0.538, 5e-4),
        Check("(10.11) mean aimed at", aimed.mean[0], wanted.mean[0] + delta_M[0], 1e-15),
        Check("(10.11) mean of the noised tilted law", wanted.mean[0], 0.870, 5e-4),
    ]


def figure() -> Figure:
    """The tilted density in the plane; the two laws at one t; both their moments over t."""
    fig = Figure(figsize=(11, 3.5), layout="constrained")
    laws, spread, place = fig.subplots(1, 3)
    half = Schedule(np.array([0, 0.5]))
    given_y = Gaussian(np.ones(1), 0.25)
    x = np.linspace(-2.5, 4, 400)[:, None]
    plain, _ = both_orders(given_y, 1.0, 0.0, 1, half)
    aimed, wanted = both_orders(given_y, 1.0, 3.0, 1, half)
    for law, name, style, color in (
        (plain, "the class, w = 0", "-", GREY),
        (aimed, "aimed at, w = 3", "-", RED),
        (wanted, "noised tilted law, w = 3", "--", RED),
    ):
        laws.plot(x, np.exp(law.log_density(x)), style, color=color, label=name)
    laws.set(title=r"The two laws at $\bar\alpha_t$ = 1/2", xlabel="$x_t$", ylabel="density")
    schedule = Schedule.cosine(100)
    times = range(101)
    for w, color in ((0.0, GREY), (1.0, BLUE), (3.0, RED)):
        pairs = [both_orders(given_y, 1.0, w, t, schedule) for t in times]
        for order, name, style in ((0, "aimed at", "-"), (1, "noised tilted", "--")):
            label = f"w = {w:g}, {name}"
            spread.plot(times, [p[order].var for p in pairs], style, color=color, label=label)
            place.plot(times, [p[order].mean[0] for p in pairs], style, color=color)
    spread.set(title="Variance: too narrow for $t > 0$", xlabel="t of 100")
    place.set(title="Mean: too far out for $t > 0$", xlabel="t of 100")
    for ax in (laws, spread):
        ax.legend(fontsize=7)
    return fig
