"""The time as the network sees it, and the error of the gradient by hand over the step h."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.e_backprop import angles, furthest
from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, Check
from tutorial.step02_forward import Schedule


def checks() -> list[Check]:
    """Every number of every gradient against a difference, whose own rounding is about 1e-11."""
    found: list[Check] = []
    for name, off in furthest(1e-5).items():
        equation = "12.8" if name == "E" else "12.6"
        found.append(Check(f"({equation}) gradient in {name}, furthest", off, 0, 1e-9))
    return found


def figure() -> Figure:
    """What the network is told of time, and the check of its gradient over the step h."""
    fig = Figure(figsize=(11, 3.6), layout="constrained")
    times, check = fig.subplots(1, 2)
    h = np.logspace(-11, 0, 23)
    names = (r"$\cos \theta_t$", r"$\sin \theta_t$", r"$\cos 2\theta_t$", r"$\sin 2\theta_t$")
    for k, tau in enumerate(angles(np.arange(101), Schedule.linear(100)).T):
        times.plot(tau, color=CLASS_COLORS[k], label=names[k])
    times.set(xlabel="t", title="Time as the network sees it (linear, T = 100)")
    check.loglog(h, [max(furthest(x).values()) for x in h], color=BLUE, marker=".")
    check.loglog(h[12:], 0.01 * h[12:] ** 2, color=GREY, ls="--", label="slope of $h^2$")
    check.loglog(h[:14], 1e-16 / h[:14], color=GREY, ls=":", label="$10^{-16} / h$")
    check.set(xlabel="h", title="By hand against central differences, furthest number")
    times.legend(fontsize=8)
    check.legend(fontsize=8)
    return fig
