"""The excess of a trained network over the oracle, over t and over p_uncond.

How the error of a guided network grows with w, samples from the same noise, and the curl.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure, SubFigure

from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, RED, Check
from tutorial.step15_learning import (
    ORACLE,
    STEPS,
    TIMES,
    apart,
    at,
    excess,
    guided_curl,
    guided_error,
    parabola,
    same_noise,
    trained,
)

CHOSEN = 8 * STEPS if "--full" in sys.argv else STEPS
P_UNCOND = (0.1, 0.2, 0.5)


def checks_of_learning(steps: int = CHOSEN) -> list[Check]:
    """The excess by both its sides, and what dropping labels does to either output."""
    _, rare = trained(0.1, steps)
    model, some = trained(0.2, steps)
    _, often = trained(0.5, steps)
    left, right = excess(model, ORACLE, 20, True, 50_000, np.random.default_rng(4))
    error = (left - right).std() / len(left) ** 0.5
    ratio = (rare / often).mean(1)
    return [
        Check("(15.5) null excess at t = 20, by losses", left.mean(), right.mean(), 4 * error),
        Check("(15.5) conditional excess, mean over t", some[0].mean(), 0, 0.01),
        Check("(15.5) null excess, mean over t", some[1].mean(), 0, 0.03),
        Check("(15.4) null excess, p_uncond .1 over .5", ratio[1], 3, 1.5),
        Check("(15.4) conditional excess, .1 over .5", ratio[0], 0.5, 0.25),
    ]


def draw_learning(fig: Figure | SubFigure, steps: int = CHOSEN) -> None:
    """The excess over t and over p_uncond."""
    over_t, over_p = fig.subplots(1, 2)
    styles = (":", "-", "--")
    for i, name, color in ((0, "with the label", BLUE), (1, "null label", ORANGE)):
        means: list[float] = []
        for p, style in zip(P_UNCOND, styles, strict=True):
            _, excesses = trained(p, steps)
            over_t.semilogy(TIMES, excesses[i], style, color=color, label=f"{name}, {p}")
            means.append(excesses[i].mean())
        over_p.loglog(P_UNCOND, means, "o-", color=color, label=name)
    over_t.set(xlabel="t", title="Excess over the oracle's loss, for three $p_{uncond}$")
    over_p.set(ylim=(5e-4, 5e-2), xlabel="$p_{uncond}$", title=f"Mean over t, {steps} steps")
    over_p.set_xticks(P_UNCOND, [str(p) for p in P_UNCOND])
    over_p.minorticks_off()
    for ax in (over_t, over_p):
        ax.legend(fontsize=8)


def checks_of_learning_guided(steps: int = CHOSEN) -> list[Check]:
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
        Check("(15.7) guided excess at t = 20, w = 3", square, mixed, 1e-12),
        Check("(15.8) curl of the guided oracle", still, 0, 1e-8),
        Check("(15.8) curl of the guided network", turns, 0.3, 0.28),
        Check("(15.6) distance of samples, same noise, w = 0", near, 0, 0.15),
        Check("(15.6) more than twice this distance, w = 3", far > 2 * near, 1, 0),
    ]


def draw_learning_guided(fig: Figure | SubFigure, steps: int = CHOSEN) -> None:
    """Excess, distance and curl as w grows; samples from the same noise; where the field turns."""
    (error, distance, turning), (left, right, where) = fig.subplots(2, 3)
    model, _ = trained(0.2, steps)
    times = range(1, 101, 9)
    ws = np.linspace(-1, 4, 101)
    for t, color in ((10, RED), (28, ORANGE), (55, BLUE)):
        c = parabola(model, ORACLE, *at(t))
        error.semilogy(ws, c[0] + c[1] * ws + c[2] * ws**2, color=color, label=f"t = {t}")
    error.set(xlabel="w", title="Mean square error, guided eps")
    distance.plot(range(5), [apart(model, float(w)) for w in range(5)], "o-", color=BLUE)
    distance.set(xlabel="w", ylim=0, title="Distance of samples, same noise")
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


def checks(steps: int = CHOSEN) -> list[Check]:
    """All numbers that the lesson checks."""
    return [
        *checks_of_learning(steps),
        *checks_of_learning_guided(steps),
    ]


def figure(steps: int = CHOSEN) -> Figure:
    """The excess over t and over p_uncond.

    Below: excess, distance and curl as w grows; samples from the same noise; where the field
    turns.
    """
    fig = Figure(figsize=(11, 10.4), layout="constrained")
    top, bottom = cast(Any, fig).subfigures(2, 1, height_ratios=(3.6, 6.8))
    draw_learning(top, steps)
    draw_learning_guided(bottom, steps)
    return fig
