"""How the error of a guided network grows with w, samples from the same noise, and the curl."""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, RED, Check
from tutorial.step12_learning import ORACLE, STEPS, trained
from tutorial.step12_learning_guided import (
    apart,
    at,
    guided_curl,
    guided_error,
    parabola,
    same_noise,
)

CHOSEN = 8 * STEPS if "--full" in sys.argv else STEPS


def checks(steps: int = CHOSEN) -> list[Check]:
    """The parabola against guided errors; the curl; where the same noise ends."""
    model, _ = trained(0.2, steps)
    w = 3.0
    xt, t, y = at(20)
    square = (guided_error(model, ORACLE, xt, t, y, w) ** 2).sum(1).mean()
    mixed = float(parabola(model, ORACLE, xt, t, y) @ (1, w, w**2))
    turns = np.abs(guided_curl(model, xt, t, y, w)).mean()
    still = np.abs(guided_curl(ORACLE, xt, t, y, w)).mean()
    near = apart(model, 0.0)
    far = apart(model, w)
    return [
        Check("(12.15) guided excess at t = 20, w = 3", square, mixed, 1e-12),
        Check("(12.16) curl of the guided oracle", still, 0, 1e-8),
        Check("(12.16) curl of the guided network", turns, 0.3, 0.28),
        Check("(12.14) same noise, network to oracle, w = 0", near, 0, 0.15),
        Check("(12.14) more than twice as far at w = 3", far > 2 * near, 1, 0),
    ]


def figure(steps: int = CHOSEN) -> Figure:
    """Excess, distance and curl as w grows; samples from the same noise; where the field turns."""
    fig = Figure(figsize=(11, 6.8), layout="constrained")
    (error, distance, turning), (left, right, where) = fig.subplots(2, 3)
    model, _ = trained(0.2, steps)
    times = range(1, 101, 9)
    ws = np.linspace(-1, 4, 101)
    for t, color in ((10, RED), (28, ORANGE), (55, BLUE)):
        c = parabola(model, ORACLE, *at(t))
        error.semilogy(ws, c[0] + c[1] * ws + c[2] * ws**2, color=color, label=f"t = {t}")
    error.set(xlabel="w", title="Mean square error of the guided eps")
    distance.plot(range(5), [apart(model, float(w)) for w in range(5)], "o-", color=BLUE)
    distance.set(xlabel="w", ylim=0, title="From network to oracle, same noise")
    for m, w, color in ((model, 3.0, RED), (model, 0.0, BLUE), (ORACLE, 3.0, GREY)):
        means = [np.abs(guided_curl(m, *at(t), w)).mean() for t in times]
        name = "oracle" if m is ORACLE else "network"
        turning.semilogy(times, means, color=color, label=f"{name}, w = {w:.0f}")
    turning.set(xlabel="t", title="Mean size of the curl")
    for ax, m, name in ((left, ORACLE, "oracle"), (right, model, "network")):
        ax.scatter(*same_noise(m, 3.0).T, s=4, c=np.repeat(CLASS_COLORS[:3], 100))
        ax.set(title=f"Guided samples, w = 3: {name}", aspect="equal", xlim=(-4, 4), ylim=(-4, 4))
    axis = np.linspace(-4, 4, 61)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    y = np.zeros(61 * 61, int)
    field = guided_curl(model, points, 20, y, 3.0)
    shades = where.pcolormesh(axis, axis, field.reshape(61, 61), cmap="PuOr", vmin=-1.5, vmax=1.5)
    where.set(title="Curl of the network: y = 0, w = 3, t = 20", aspect="equal")
    fig.colorbar(shades, ax=where)  # pyright: ignore[reportUnknownMemberType]  # hole in the stubs
    for ax in (error, turning):
        ax.legend(fontsize=8)
    return fig
