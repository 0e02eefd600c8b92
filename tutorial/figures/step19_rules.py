"""The rules on one guess of two numbers, and samples of the top class under each rule."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from matplotlib.figure import Figure, SubFigure

from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Check
from tutorial.step19_rules import (
    after_equal_rows,
    apg,
    as_one_picture,
    as_one_picture_of_x0,
    dynamic_threshold,
    longest_move,
    plain,
    project,
    rescale,
    top_class,
    top_class_moved,
    top_class_with_momentum,
)

if TYPE_CHECKING:
    from jaxtyping import Float

# The example of the lesson: the guesses with the label and without it.
WITH_LABEL = np.array([[0.6, 0.8]])
WITHOUT_LABEL = np.array([[0.6, 0.2]])


def checks_of_rules() -> list[Check]:
    """Heights of the lesson's table within five standard errors, and half of a rescaling."""
    dynamic = partial(dynamic_threshold, P=1.0, bound=2.0)
    one = np.array([[1.0, 2.0, 4.0]])
    half = rescale(one, 0 * one, 1.0, phi=0.5)
    return [
        Check("(19.2) std, half way", half.std(), 1.5 * one.std(), 1e-14),
        Check("(19.2) height, in eps", top_class(as_one_picture)[:, 1].mean(), 2.38, 0.025),
        Check("(19.2) height, in x0", top_class(as_one_picture_of_x0)[:, 1].mean(), 1.85, 0.025),
        Check("(19.5) height, dynamic at 2", top_class(dynamic)[:, 1].mean(), 1.71, 0.025),
    ]


def checks_of_apg() -> list[Check]:
    """Heights of the lesson's table within five standard errors, and the bound of (19.10)."""
    aside = top_class_moved((6.0, 0.0), apg)[:, 1].mean()
    moved = top_class_moved((6.0, 0.0), plain)[:, 1].mean()
    same = top_class(partial(apg, eta=1.0))
    bounded = top_class(partial(apg, eta=1.0, r=0.3))
    added = 3 * project(WITH_LABEL, WITH_LABEL - WITHOUT_LABEL, 1.0, 0.3)
    return [
        Check("(19.8) eta = 1, and plain", np.abs(same - top_class()).max(), 0, 1e-9),
        Check("(19.8) height, eta = 0", top_class(apg)[:, 1].mean(), 1.52, 0.04),
        Check("(19.7) height, eta = 0, moved", aside, 2.34, 0.025),
        Check("(19.7) height, plain, moved", moved, 2.37, 0.025),
        Check("(19.6) height, r = 0.3", bounded[:, 1].mean(), 1.91, 0.03),
        Check("(19.10) the bound is reached", np.hypot(*added[0]), longest_move(3.0, 0.3), 1e-14),
        Check("(19.12) height", top_class_with_momentum(-0.5)[:, 1].mean(), 2.16, 0.03),
    ]


def draw_points(ax: Any, points: dict[str, tuple[Float[np.ndarray, "1 2"], str]]) -> None:
    """Points with their names in the legend, and dashed lines from the origin to each."""
    for name, (x, color) in points.items():
        ax.plot([0, x[0, 0]], [0, x[0, 1]], "--", color=color, lw=0.8)
        ax.plot(*x[0], "o", color=color, label=name)
    ax.plot(0, 0, "k+", ms=10)
    ax.set(xlabel="first number", ylabel="second number", aspect="equal")
    ax.set(xlim=(-1.3, 3.9), ylim=(-0.4, 2.8))
    ax.legend(fontsize=8, loc="upper right")


def draw_example(fig: Figure | SubFigure) -> None:
    """Three panels: rescaling and thresholds on the example; APG on it; momentum row by row."""
    bounds, turned, momentum = fig.subplots(1, 3, width_ratios=(1.15, 1.15, 1))
    # A network that predicts x0 has p = 0 and q = 1.
    outputs = (WITH_LABEL, WITHOUT_LABEL, 3.0, WITH_LABEL, 0.0, 1.0)
    unguided = {
        "with the label": (WITH_LABEL, "black"),
        "plain guidance, w = 3": (plain(*outputs), GREY),
    }
    draw_points(
        bounds,
        unguided
        | {
            "rescaled in x0, phi = 0.4": (rescale(*outputs, phi=0.4), PURPLE),
            "static threshold at 1": (np.clip(plain(*outputs), -1, 1), ORANGE),
            "dynamic threshold at 1": (dynamic_threshold(*outputs, P=1.0, bound=1.0), BLUE),
        },
    )
    bounds.plot([-1, 1, 1, -1], [1, 1, -1, -1], ":", color="black")
    bounds.plot([-1, -1], [-1, 1], ":", color="black")
    bounds.set(title="Thresholds keep a guess in the square of the data")
    draw_points(
        turned,
        unguided
        | {
            "APG, eta = 0": (apg(*outputs, eta=0.0), RED),
            "APG, eta = 1, r = 0.3": (apg(*outputs, eta=1.0, r=0.3), GREEN),
        },
    )
    turn = np.concatenate([WITH_LABEL, apg(*outputs, eta=0.0)])
    turned.plot(*turn.T, color=RED, lw=1)
    angle = np.linspace(0, 2 * np.pi, 100)
    reach = longest_move(3.0, 0.3)
    circle = WITH_LABEL.T + reach * np.array([np.cos(angle), np.sin(angle)])
    turned.plot(*circle, ":", color=GREEN)
    turned.set(title="APG: orthogonal part; bound w r")
    k = np.arange(1, 11)
    for beta, color in ((-0.25, ORANGE), (-0.5, BLUE), (-0.75, PURPLE)):
        factor = [after_equal_rows(np.ones(1), beta, int(j))[0] for j in k]
        momentum.plot(k, factor, "o-", ms=4, color=color, label=f"beta = {beta}")
        momentum.axhline(1 / (1 - beta), color=color, ls=":", lw=1)
    momentum.set(title="Momentum, equal differences", xlabel="row k of the chain")
    momentum.set(ylabel="factor of the difference", ylim=(0, 1.05))
    momentum.legend(fontsize=8)


def side_by_side(fig: Figure | SubFigure, panels: dict[str, Float[np.ndarray, "n 2"]]) -> None:
    """Five panels: samples in blue, over the class without guidance in grey."""
    unguided = top_class(w=0.0, n=1000)
    axes = fig.subplots(1, 5, sharey=True)
    for ax, (title, x) in zip(axes, panels.items(), strict=True):
        ax.scatter(*unguided.T, s=3, color=GREY, alpha=0.4)
        ax.scatter(*x.T, s=3, color=BLUE)
        ax.axhline(1.5, color="black", lw=0.8, ls=":")
        ax.set_title(title, fontsize=10)
        ax.set(xlim=(-2.5, 2.5), ylim=(-0.5, 4.5), aspect="equal", xlabel="across")
    axes[0].set(ylabel="height (dotted: class mean)")


def draw_rules(fig: Figure | SubFigure) -> None:
    """The top class at w = 3: plain guidance, rescaling in two ways, and both thresholds."""
    panels = {
        "Plain guidance, w = 3": top_class(n=1000),
        "Each point rescaled": top_class(rescale, n=1000),
        "Rescaled in x0, as one picture": top_class(as_one_picture_of_x0, n=1000),
        "Static threshold at 2": top_class(clip=2.0, n=1000),
        "Dynamic threshold at 2": top_class(partial(dynamic_threshold, P=1.0, bound=2.0), n=1000),
    }
    side_by_side(fig, panels)


def draw_apg(fig: Figure | SubFigure) -> None:
    """The top class at w = 3: plain guidance, and APG in four forms."""
    panels = {
        "Plain guidance, w = 3": top_class(n=1000),
        "APG: nothing parallel\n" + r"$\eta = 0$": top_class(apg, n=1000),
        "APG, all data moved by (6, 0)\n" + r"$\eta = 0$": top_class_moved((6.0, 0.0), apg, n=1000),
        "APG: difference at most 0.3\n" + r"$\eta = 1$, $r = 0.3$": top_class(
            partial(apg, eta=1.0, r=0.3), n=1000
        ),
        "APG: momentum\n" + r"$\eta = 1$, $\beta = -1/2$": top_class_with_momentum(-0.5, n=1000),
    }
    side_by_side(fig, panels)


def checks() -> list[Check]:
    """The heights of the lesson's table, and the bounds."""
    return [
        *checks_of_rules(),
        *checks_of_apg(),
    ]


def figure() -> Figure:
    """The example of two numbers, then samples under rescaling and thresholds, then under APG."""
    fig = Figure(figsize=(13, 11), layout="constrained")
    example, top, bottom = cast(Any, fig).subfigures(3, 1, height_ratios=(3.6, 3.2, 3.4))
    draw_example(example)
    draw_rules(top)
    draw_apg(bottom)
    return fig
