"""Samples of the top class at w = 3 by plain guidance, rescaling and two thresholds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, Check
from tutorial.step17_rules import (
    as_one_picture,
    as_one_picture_of_x0,
    dynamic_threshold,
    rescale,
    top_class,
)

if TYPE_CHECKING:
    from jaxtyping import Float


def checks() -> list[Check]:
    """Mean heights of the table above, within five standard errors; half of the way of (17.2)."""
    whole = partial(dynamic_threshold, P=1.0, bound=2.0)
    one = np.array([[1.0, 2.0, 4.0]])
    half = rescale(one, 0 * one, 1.0, phi=0.5)
    return [
        Check("(17.2) std, half way", half.std(), 1.5 * one.std(), 1e-14),
        Check("(17.2) height, in eps", top_class(as_one_picture)[:, 1].mean(), 2.38, 0.025),
        Check("(17.2) height, in x0", top_class(as_one_picture_of_x0)[:, 1].mean(), 1.85, 0.025),
        Check("(17.4) height, dynamic at 2", top_class(whole)[:, 1].mean(), 1.71, 0.025),
    ]


def side_by_side(panels: dict[str, Float[np.ndarray, "n 2"]]) -> Figure:
    """The top class, grey, and what becomes of it."""
    fig = Figure(figsize=(12, 3.2), layout="constrained")
    for ax, (title, x) in zip(fig.subplots(1, 5, sharey=True), panels.items(), strict=True):
        ax.scatter(*top_class(w=0.0, n=1000).T, s=3, color=GREY, alpha=0.4)
        ax.scatter(*x.T, s=3, color=BLUE)
        ax.set(title=title, xlim=(-2.5, 2.5), ylim=(-0.5, 4.5), aspect="equal")
    return fig


def figure() -> Figure:
    """Five ways of w = 3."""
    panels = {
        "Plain, w = 3": top_class(n=1000),
        r"Points rescaled, $\varphi = 0.7$": top_class(rescale, n=1000),
        "All as one picture of x0": top_class(as_one_picture_of_x0, n=1000),
        "Static, at 2": top_class(clip=2.0, n=1000),
        "Dynamic, at 2": top_class(partial(dynamic_threshold, P=1.0, bound=2.0), n=1000),
    }
    return side_by_side(panels)
