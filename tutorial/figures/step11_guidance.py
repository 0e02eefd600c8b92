"""The figure of step 11: guided scores, clipping, extrapolation, and tilt with noise."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure, SubFigure

from tutorial.figures.program import BLUE, GREY, ORANGE, RED, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import noised, oracle_eps, x0_from
from tutorial.step10_classifier import classifier_gradient, classifier_guided_eps
from tutorial.step11_guidance import (
    both_orders,
    gap,
    guide,
    guided_score,
    guided_x0,
    largest_mix,
    log_tilted,
    w_from_scale,
)


def checks_of_guidance() -> list[Check]:
    """A classifier's weight, two conventions, two units, and both orders of mixing and clipping."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    t = 40
    rng = np.random.default_rng(0)
    model = oracle_eps(mixture, schedule)
    x0, y = mixture.sample(1000, rng)
    xt = xt_from_x0(x0, rng.standard_normal((1000, 2)), t, schedule)
    eps_cond = model(xt, t, y)
    eps_null = model(xt, t, np.full_like(y, model.num_classes))
    guided = guide(eps_cond, eps_null, 3.0)
    gradient = classifier_gradient(xt, t, y, mixture, schedule)
    by_classifier = classifier_guided_eps(eps_null, gradient, 4.0, t, schedule)
    changed = (guide(eps_cond, eps_null, 0.0) != eps_cond).sum()

    by_w = guide(eps_cond, eps_null, w_from_scale(4.0))
    by_scale = eps_null + 4.0 * (eps_cond - eps_null)

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
        Check("(11.1) four gradients, w = 3", np.abs(guided - by_classifier).max(), 0, 1e-12),
        Check("(11.2) at w = 0: eps that changed", changed, 0, 0),
        Check("(11.3) scale 4, w = 3", np.abs(by_w - by_scale).max(), 0, 1e-13),
        Check("(11.4) eps mixed, x0 mixed", np.abs(as_eps - as_x0).max(), 0, 1e-13),
        Check("(11.5) clipped last", last, -0.5, 0),
        Check("(11.5) clipped first", first, 0, 0),
        Check("(11.6) clipped first, w = 3", guide(one, -one, 3.0)[0], largest_mix(3.0, 1.0), 0),
    ]


def checks_of_score() -> list[Check]:
    """The slope of the product of powers at one point, and the two Gaussians of the example."""
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
    noise_first, tilt_first = both_orders(given_y, 1.0, 3.0, 1, half)
    delta_M, delta_V = gap(given_y, 1.0, 3.0, 1, half)
    return [
        Check("(11.7) score, by a finite difference", s, slope, 1e-7),
        Check("(11.10) variance, noise first", noise_first.var, tilt_first.var + delta_V, 1e-15),
        Check("(11.10) variance, tilt first", tilt_first.var, 0.538, 5e-4),
        Check(
            "(11.11) mean, noise first",
            noise_first.mean[0],
            tilt_first.mean[0] + delta_M[0],
            1e-15,
        ),
        Check("(11.11) mean, tilt first", tilt_first.mean[0], 0.870, 5e-4),
    ]


def checks() -> list[Check]:
    """The numbers of both halves of the lesson."""
    return [*checks_of_guidance(), *checks_of_score()]


def draw_field(ax: Any, w: float, name: str) -> None:
    """The guided score for class 0 at t = 40, over the density of all data with noise."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    t = 40
    fine = np.linspace(-3, 3, 121)
    coarse = np.linspace(-2.7, 2.7, 11)
    grid = np.stack(np.meshgrid(fine, fine), -1).reshape(-1, 2)
    points = np.stack(np.meshgrid(coarse, coarse), -1).reshape(-1, 2)
    density = np.exp(noised(mixture, t, schedule).log_density(grid)).reshape(121, 121)
    s = guided_score(points, t, np.zeros(len(points), int), w, mixture, schedule)
    ax.contourf(fine, fine, density, 12, cmap="Blues")
    ax.quiver(*points.T, *s.T, angles="xy", scale=90, width=0.005)
    ax.set(title=f"w = {w:g}: {name}", aspect="equal")
    ax.set_xlabel("t = 40 of 100; shading: all data")


def draw_clipping(ax: Any) -> None:
    """The guided guess if it is clipped last, and if both guesses are clipped first."""
    null = np.linspace(-3, 3, 301)[:, None]
    cond = np.full_like(null, 0.5)
    short = Schedule.cosine(4)
    for w, color in ((1.0, BLUE), (3.0, ORANGE)):
        last = guided_x0(cond, null, null, 2, short, w, "x0", clip=1.0)
        first = guide(np.clip(cond, -1, 1), np.clip(null, -1, 1), w)
        ax.plot(null, last, color=color, label=f"w = {w:g}, clipped last")
        ax.plot(null, first, "--", color=color, label=f"w = {w:g}, clipped first")
    ax.axhspan(-1, 1, color=GREY, alpha=0.2, label="range of the data")
    ax.set(title=r"Guided guess of $x_0$ for $\hat x_y = 0.5$")
    ax.set(xlabel=r"guess without a label, $\hat x_\phi$")
    ax.legend(fontsize=8)


def draw_example(ax: Any) -> None:
    """The guess for the data as a function of w, for the two images 1 and -1 of the text."""
    root = np.sqrt(0.5)
    p = 1 / (1 + np.exp(-2 * root * 0.4 / 0.5))
    eps_y = np.array([(0.4 - root) / root])
    eps_other = np.array([(0.4 + root) / root])
    eps_null = p * eps_y + (1 - p) * eps_other
    weights = np.array([-1.0, 0.0, 1.0, 3.0])
    guesses = np.array([(0.4 - root * guide(eps_y, eps_null, w)[0]) / root for w in weights])
    ax.plot(weights, guesses, "-o", color=BLUE, label="guess")
    ax.plot(weights, np.minimum(guesses, 1), "x", color=RED, ms=8, label="clipped to [-1, 1]")
    ax.axhline(1, color=GREY, lw=1, label="the image of class 0")
    ax.set(title="The example: extrapolation in w", xlabel="w", ylabel="guess for the data")
    ax.legend(fontsize=8)


def draw_two_densities(ax: Any) -> None:
    """The two Gaussians of the example at one t, and the class without guidance."""
    half = Schedule(np.array([0, 0.5]))
    given_y = Gaussian(np.ones(1), 0.25)
    x = np.linspace(-2.5, 4, 400)[:, None]
    plain, _ = both_orders(given_y, 1.0, 0.0, 1, half)
    noise_first, tilt_first = both_orders(given_y, 1.0, 3.0, 1, half)
    for gaussian, name, style, color in (
        (plain, "the class with noise, w = 0", "-", GREY),
        (noise_first, "noise first (guidance), w = 3", "-", RED),
        (tilt_first, "tilt first, w = 3", "--", RED),
    ):
        ax.plot(x, np.exp(gaussian.log_density(x)), style, color=color, label=name)
    ax.set(title=r"Two orders at $\bar\alpha_t$ = 1/2", xlabel="$x_t$", ylabel="density")
    ax.set_ylim(0, 1.05)
    ax.legend(fontsize=7)


def draw_moments(spread: Any, place: Any) -> None:
    """Variance and mean of both orders at each t."""
    schedule = Schedule.cosine(100)
    given_y = Gaussian(np.ones(1), 0.25)
    times = range(101)
    for w, color in ((0.0, GREY), (1.0, BLUE), (3.0, RED)):
        pairs = [both_orders(given_y, 1.0, w, t, schedule) for t in times]
        for order, name, style in ((0, "noise first", "-"), (1, "tilt first", "--")):
            label = f"w = {w:g}, {name}"
            if w == 0:
                label = "w = 0, both orders" if order == 0 else None
            spread.plot(times, [p[order].var for p in pairs], style, color=color, label=label)
            place.plot(times, [p[order].mean[0] for p in pairs], style, color=color)
    spread.set(title="Variance: noise first is narrower", xlabel="t of 100")
    place.set(title="Mean: noise first is further out", xlabel="t of 100")
    spread.legend(fontsize=7)


def draw_guidance(fig: Figure | SubFigure) -> None:
    """The guided score for three weights, and the two orders of mixing and clipping."""
    axes = fig.subplots(1, 4)
    draw_field(axes[0], -1.0, "score of all data")
    draw_field(axes[1], 0.0, "score of class 0")
    draw_field(axes[2], 3.0, "guided score")
    draw_clipping(axes[3])


def draw_two_orders(fig: Figure | SubFigure) -> None:
    """The example of two images, and tilt and noise in two orders."""
    axes = fig.subplots(1, 4)
    draw_example(axes[0])
    draw_two_densities(axes[1])
    draw_moments(axes[2], axes[3])


def figure() -> Figure:
    """Above: guided scores and clipping. Below: extrapolation, and tilt and noise in two orders."""
    fig = Figure(figsize=(14.5, 7.4), layout="constrained")
    top, bottom = cast(Any, fig).subfigures(2, 1)
    draw_guidance(top)
    draw_two_orders(bottom)
    return fig
