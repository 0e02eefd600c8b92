"""The figure shows the guided field for three weights, and the effect of the order of clipping."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import three_gaussians
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_reverse import score_from_eps, x0_from
from tutorial.step07_oracle import noised, oracle_eps
from tutorial.step10_guidance import farthest, guide, guided_x0, w_from_scale


def checks() -> list[Check]:
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
        Check("(10.2) at w = 0: eps that changed", changed, 0, 0),
        Check("(10.3) scale 4, w = 3", gap, 0, 1e-13),
        Check("(10.4) eps mixed, x0 mixed", np.abs(as_eps - as_x0).max(), 0, 1e-13),
        Check("(10.5) clipped last", last, -0.5, 0),
        Check("(10.5) clipped first", first, 0, 0),
        Check("(10.6) clipped first, w = 3", guide(one, -one, 3.0)[0], farthest(3.0, 1.0), 0),
    ]


def figure() -> Figure:
    """The field that is followed for three weights, and what the order of clipping does."""
    fig = Figure(figsize=(14, 3.6), layout="constrained")
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
    return fig
