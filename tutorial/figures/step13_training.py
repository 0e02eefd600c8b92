"""The lowest loss and two weights over the log SNR, and the errors of networks trained by both."""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step07_oracle import lowest_loss
from tutorial.step13_process import log_snr_grid, schedule_from
from tutorial.step13_training import (
    MIXTURE,
    STEPS,
    errors,
    floors,
    trained,
    uniform,
)

CHOSEN = 8 * STEPS if "--full" in sys.argv else STEPS


def checks(steps: int = CHOSEN) -> list[Check]:
    """The floor of each distribution, by a sum; how near the network is, and if it is uniform."""
    mapped = schedule_from(log_snr_grid(200))
    even = schedule_from(uniform(np.linspace(1, 0, 200)))
    low = np.mean([lowest_loss(0, t, MIXTURE, mapped) for t in range(1, 201)])
    low_uniform = np.mean([lowest_loss(0, t, MIXTURE, even) for t in range(1, 201)])
    floor, floor_uniform = floors(0.25, 2)
    cond = np.mean(errors(trained(steps), log_snr_grid(50), False))
    null = np.mean(errors(trained(steps), log_snr_grid(50), True))
    middle = np.linspace(-1.76, 1.76, 9)
    ours = np.mean(errors(trained(steps), middle, False))
    theirs = np.mean(errors(trained(steps, uniform), middle, False))
    return [
        Check("(13.21) floor, mean over 200 t", float(low), floor, 0.005),
        Check("(13.22) floor, 200 even lambdas", float(low_uniform), floor_uniform, 0.005),
        Check("(13.20) conditional error, mean over u", float(cond), 0, 0.01),
        Check("(13.20) null error, mean over u", float(null), 0, 0.03),
        Check("(13.20) middle: uniform over the map", float(theirs / ours), 3.5, 1.5),
    ]


def figure(steps: int = CHOSEN) -> Figure:
    """The lowest loss over lambda with both densities; the errors of both trainings."""
    fig = Figure(figsize=(11, 3.6), layout="constrained")
    loss, *panels = fig.subplots(1, 3)
    x = np.linspace(-12, 12, 49)
    least = [lowest_loss(0, t, MIXTURE, schedule_from(x)) for t in range(49, 0, -1)]
    loss.plot(x, least, color=GREY, label=r"lowest $L(\lambda)$, one class")
    loss.plot(x, 1 / np.cosh(x / 2), color=BLUE, label="weight: the paper's map")
    loss.axhline(2 * np.pi / 40, color=ORANGE, label="weight: uniform")  # both times 2 pi
    loss.set(title="The loss and its weight", xlabel=r"$\lambda$")
    for ax, null, name in zip(panels, (False, True), ("with labels", "null label"), strict=True):
        of_map = errors(trained(steps), x, null)
        of_uniform = errors(trained(steps, uniform), x, null)
        ax.semilogy(x, of_map, color=BLUE, label="the paper's map")
        ax.semilogy(x, of_uniform, color=ORANGE, label="uniform")
        ax.set(title=f"Mean square error, {name}", xlabel=r"$\lambda$", ylim=(3e-4, 0.2))
    for ax in (loss, panels[0]):
        ax.legend(fontsize=8)
    return fig
