"""Samples of the top class at w = 3 by plain guidance and by four forms of APG."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import Check
from tutorial.figures.step17_rules import side_by_side
from tutorial.step17_apg import apg, moved, remembering
from tutorial.step17_rules import plain, top_class


def checks() -> list[Check]:
    """Mean heights of the table above, within five standard errors."""
    aside = moved((6.0, 0.0), apg)[:, 1].mean()
    rounded = moved((6.0, 0.0), plain)[:, 1].mean()
    same = top_class(partial(apg, eta=1.0))
    bounded = top_class(partial(apg, eta=1.0, r=0.3))
    return [
        Check("(17.7) eta = 1, and plain", np.abs(same - top_class()).max(), 0, 1e-9),
        Check("(17.7) height, eta = 0", top_class(apg)[:, 1].mean(), 1.52, 0.04),
        Check("(17.6) height, eta = 0, moved", aside, 2.34, 0.025),
        Check("(17.6) height, plain, moved", rounded, 2.37, 0.025),
        Check("(17.5) height, r = 0.3", bounded[:, 1].mean(), 1.91, 0.03),
        Check("(17.8) height, beta = -1/2", remembering(-0.5)[:, 1].mean(), 2.16, 0.03),
    ]


def figure() -> Figure:
    """Five ways of w = 3."""
    panels = {
        "Plain, w = 3": top_class(n=1000),
        r"$\eta = 0$": top_class(apg, n=1000),
        r"$\eta = 0$, data 6 aside": moved((6.0, 0.0), apg, n=1000),
        r"$r = 0.3$": top_class(partial(apg, eta=1.0, r=0.3), n=1000),
        r"$\beta = -1/2$": remembering(-0.5, n=1000),
    }
    return side_by_side(panels)
