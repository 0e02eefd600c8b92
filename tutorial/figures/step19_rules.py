"""Samples of the top class at w = 3 by plain guidance, rescaling and two thresholds.

Samples of the top class at w = 3 by plain guidance and by four forms of APG.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from matplotlib.figure import Figure, SubFigure

from tutorial.figures.program import BLUE, GREY, Check
from tutorial.step19_rules import (
    apg,
    as_one_picture,
    as_one_picture_of_x0,
    dynamic_threshold,
    moved,
    plain,
    remembering,
    rescale,
    top_class,
)

if TYPE_CHECKING:
    from jaxtyping import Float


def checks_of_rules() -> list[Check]:
    """Mean heights of the table above, within five standard errors; half of the way of (19.2)."""
    whole = partial(dynamic_threshold, P=1.0, bound=2.0)
    one = np.array([[1.0, 2.0, 4.0]])
    half = rescale(one, 0 * one, 1.0, phi=0.5)
    return [
        Check("(19.2) std, half way", half.std(), 1.5 * one.std(), 1e-14),
        Check("(19.2) height, in eps", top_class(as_one_picture)[:, 1].mean(), 2.38, 0.025),
        Check("(19.2) height, in x0", top_class(as_one_picture_of_x0)[:, 1].mean(), 1.85, 0.025),
        Check("(19.4) height, dynamic at 2", top_class(whole)[:, 1].mean(), 1.71, 0.025),
    ]


def side_by_side(fig: Figure | SubFigure, panels: dict[str, Float[np.ndarray, "n 2"]]) -> None:
    """The top class, grey, and what becomes of it."""
    for ax, (title, x) in zip(fig.subplots(1, 5, sharey=True), panels.items(), strict=True):
        ax.scatter(*top_class(w=0.0, n=1000).T, s=3, color=GREY, alpha=0.4)
        ax.scatter(*x.T, s=3, color=BLUE)
        ax.set(title=title, xlim=(-2.5, 2.5), ylim=(-0.5, 4.5), aspect="equal")


def draw_rules(fig: Figure | SubFigure) -> None:
    """Five ways of w = 3."""
    panels = {
        "Plain, w = 3": top_class(n=1000),
        r"Points rescaled, $\varphi = 0.7$": top_class(rescale, n=1000),
        "All as one picture of x0": top_class(as_one_picture_of_x0, n=1000),
        "Static, at 2": top_class(clip=2.0, n=1000),
        "Dynamic, at 2": top_class(partial(dynamic_threshold, P=1.0, bound=2.0), n=1000),
    }
    side_by_side(fig, panels)


def checks_of_apg() -> list[Check]:
    """Mean heights of the table above, within five standard errors."""
    aside = moved((6.0, 0.0), apg)[:, 1].mean()
    rounded = moved((6.0, 0.0), plain)[:, 1].mean()
    same = top_class(partial(apg, eta=1.0))
    bounded = top_class(partial(apg, eta=1.0, r=0.3))
    return [
        Check("(19.7) eta = 1, and plain", np.abs(same - top_class()).max(), 0, 1e-9),
        Check("(19.7) height, eta = 0", top_class(apg)[:, 1].mean(), 1.52, 0.04),
        Check("(19.6) height, eta = 0, moved", aside, 2.34, 0.025),
        Check("(19.6) height, plain, moved", rounded, 2.37, 0.025),
        Check("(19.5) height, r = 0.3", bounded[:, 1].mean(), 1.91, 0.03),
        Check("(19.8) height, beta = -1/2", remembering(-0.5)[:, 1].mean(), 2.16, 0.03),
    ]


def draw_apg(fig: Figure | SubFigure) -> None:
    """Five ways of w = 3."""
    panels = {
        "Plain, w = 3": top_class(n=1000),
        r"$\eta = 0$": top_class(apg, n=1000),
        r"$\eta = 0$, data 6 aside": moved((6.0, 0.0), apg, n=1000),
        r"$r = 0.3$": top_class(partial(apg, eta=1.0, r=0.3), n=1000),
        r"$\beta = -1/2$": remembering(-0.5, n=1000),
    }
    side_by_side(fig, panels)


def checks() -> list[Check]:
    """All numbers that the lesson checks."""
    return [
        *checks_of_rules(),
        *checks_of_apg(),
    ]


def figure() -> Figure:
    """Five ways of w = 3.

    Below: five ways of w = 3.
    """
    fig = Figure(figsize=(12, 6.4), layout="constrained")
    top, bottom = cast(Any, fig).subfigures(2, 1, height_ratios=(3.2, 3.2))
    draw_rules(top)
    draw_apg(bottom)
    return fig
