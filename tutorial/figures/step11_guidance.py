"""The figure shows the guided field for three weights, and the effect of the order of clipping.

The figure shows the two distributions of the example at one t, and their moments over time.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure, SubFigure

from tutorial.figures.program import BLUE, GREY, ORANGE, RED, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import noised, oracle_eps, score_from_eps, x0_from
from tutorial.step11_guidance import (
    both_orders,
    farthest,
    gap,
    guide,
    guided_score,
    guided_x0,
    log_tilted,
    w_from_scale,
)


def checks_of_guidance() -> list[Check]:
    """One guided step in two units; the conventions; both orders of mixing and clipping."""
    schedule = Schedule.cosine(100)
    t = 40
    rng = np.random.default_rng(0)
    model = oracle_eps(three_gaussians(), schedule)
    x0, y = three_gaussians().sample(1000, rng)
    xt = xt_from_x0(x0, rng.standard_normal((1000, 2)), t, schedule)
    eps_cond = model(xt, t, y)
    eps_null = model(xt, t, np.full_like(y, model.num_classes))
    changed = (guide(eps_cond, eps_null, 0.0) != eps_cond).sum()

    by_w = guide(eps_cond, eps_null, w_from_scale(4.0))
    by_scale = eps_null + 4.0 * (eps_cond - eps_null)
    gap = np.abs(by_w - by_scale).max()

    x0_cond = x0_from(eps_cond, xt, t, schedule)
    x0_null = x0_from(eps_null, xt, t, schedule)
    as_eps = guided_x0(eps_cond, eps_null, xt, t, schedule, 3.0)
    as_x0 = guided_x0(x0_cond, x0_null, xt, t, schedule, 3.0, "x0")

    cond = np.array([0.5])
    null = np.array([1.5])
    one = np.ones(1)
    short = Schedule.cosine(4)
    last = guided_x0(cond, null, one, 2, short, 1.0, "x0", clip=1.0)[0]
    first = guide(np.clip(cond, -1, 1), np.clip(null, -1, 1), 1.0)[0]
    return [
        Check("(11.2) at w = 0: eps that changed", changed, 0, 0),
        Check("(11.3) scale 4, w = 3", gap, 0, 1e-13),
        Check("(11.4) eps mixed, x0 mixed", np.abs(as_eps - as_x0).max(), 0, 1e-13),
        Check("(11.5) clipped last", last, -0.5, 0),
        Check("(11.5) clipped first", first, 0, 0),
        Check("(11.6) clipped first, w = 3", guide(one, -one, 3.0)[0], farthest(3.0, 1.0), 0),
    ]


def draw_guidance(fig: Figure | SubFigure) -> None:
    """The field that is followed for three weights, and what the order of clipping does."""
    *fields, orders = fig.subplots(1, 4)
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    t = 40
    model = oracle_eps(mixture, schedule)
    law = noised(mixture, t, schedule)
    fine = np.linspace(-3, 3, 121)
    coarse = np.linspace(-2.7, 2.7, 11)
    grid = np.stack(np.meshgrid(fine, fine), -1).reshape(-1, 2)
    points = np.stack(np.meshgrid(coarse, coarse), -1).reshape(-1, 2)
    density = np.exp(law.log_density(grid)).reshape(121, 121)
    eps_cond = model(points, t, np.full(len(points), 0))
    eps_null = model(points, t, np.full(len(points), 3))
    for ax, w in zip(fields, (-1.0, 0.0, 3.0), strict=True):
        s = score_from_eps(guide(eps_cond, eps_null, w), t, schedule)
        ax.contourf(fine, fine, density, 12, cmap="Blues")
        ax.quiver(*points.T, *s.T, angles="xy", scale=90, width=0.005)
        ax.set(title=f"w = {w:g}: the field followed", xlabel="t = 40 of 100", aspect="equal")
    null = np.linspace(-3, 3, 301)[:, None]
    cond = np.full_like(null, 0.5)
    short = Schedule.cosine(4)
    for w, color in ((1.0, BLUE), (3.0, ORANGE)):
        last = guided_x0(cond, null, null, 2, short, w, "x0", clip=1.0)
        first = guide(np.clip(cond, -1, 1), np.clip(null, -1, 1), w)
        orders.plot(null, last, color=color, label=f"w = {w:g}, clipped last")
        orders.plot(null, first, "--", color=color, label=f"w = {w:g}, clipped first")
    orders.axhspan(-1, 1, color=GREY, alpha=0.2, label="data")
    orders.set(xlabel=r"null guess $\hat x_\phi$", title=r"Guided x0, $\hat x_y = 0.5$")
    orders.legend(fontsize=8)


def checks_of_guidance_score() -> list[Check]:
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
        Check("(11.7) score, by a finite difference", s, slope, 1e-7),
        Check("(11.10) variance aimed at", aimed.var, wanted.var + delta_V, 1e-15),
        Check("(11.10) variance of the noised tilted law", wanted.var, 0.538, 5e-4),
        Check("(11.11) mean aimed at", aimed.mean[0], wanted.mean[0] + delta_M[0], 1e-15),
        Check("(11.11) mean of the noised tilted law", wanted.mean[0], 0.870, 5e-4),
    ]


def draw_guidance_score(fig: Figure | SubFigure) -> None:
    """The tilted density in the plane; the two laws at one t; both their moments over t."""
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


def checks() -> list[Check]:
    """All numbers that the lesson checks."""
    return [
        *checks_of_guidance(),
        *checks_of_guidance_score(),
    ]


def figure() -> Figure:
    """The field that is followed for three weights, and what the order of clipping does.

    Below: the tilted density in the plane; the two laws at one t; both their moments over t.
    """
    fig = Figure(figsize=(14, 7.1), layout="constrained")
    top, bottom = cast(Any, fig).subfigures(2, 1, height_ratios=(3.6, 3.5))
    draw_guidance(top)
    draw_guidance_score(bottom)
    return fig
