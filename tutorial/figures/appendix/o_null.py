"""Samples of the top class by plain guidance, autoguidance and ReCFG."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from tutorial.appendix.o_null import autoguided, both_eps, ratio, recfg
from tutorial.figures.program import Check
from tutorial.figures.step19_rules import side_by_side
from tutorial.step02_forward import Schedule
from tutorial.step19_rules import top_class


def checks() -> list[Check]:
    """Moments of the table above, within five standard errors; the exact ratio along the class."""
    x = autoguided(3.0)
    half = top_class(partial(recfg, rho=0.5))
    point = top_class(partial(recfg, rho=0.0))
    cond, null = both_eps(500, 20_000, Schedule.cosine(1000))
    error = 1 / 141 / abs(null[:, 1].mean())  # sqrt(20,000) is 141
    return [
        Check("(O.2) autoguidance, height", x[:, 1].mean(), 1.5, 0.015),
        Check("(O.2) autoguidance, variance", x.var(0).mean(), 0.0275, 0.0025),
        Check("(O.3) ReCFG, rho = 1/2, height", half[:, 1].mean(), 1.6, 0.015),
        Check("(O.4) exact ratio", ratio(cond, null)[1], 0, 5 * error),
        Check("(O.5) ReCFG, rho = 0, std", point.std(0).max(), 0, 1e-3),
    ]


def figure() -> Figure:
    """Five ways of w = 3, or of the weight that is said."""
    panels = {
        "Plain, w = 3": top_class(n=1000),
        "Autoguidance, w = 1": autoguided(1.0, n=1000),
        "Autoguidance, w = 3": autoguided(3.0, n=1000),
        r"ReCFG, $\rho = 1/2$, w = 3": top_class(partial(recfg, rho=0.5), n=1000),
        r"ReCFG, $\rho = 0$, w = 3": top_class(partial(recfg, rho=0.0), n=1000),
    }
    fig = Figure(figsize=(12, 3.2), layout="constrained")
    side_by_side(fig, panels)
    return fig
