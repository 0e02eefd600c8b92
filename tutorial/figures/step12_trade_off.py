"""The figure shows guided samples at five weights, and their relevance and diversity over w."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure

from tutorial.appendix.b_chain_distribution import chain_law
from tutorial.appendix.c_entropy import STANDARD
from tutorial.contract import last
from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, Check
from tutorial.step01_toy_data import pinwheel
from tutorial.step12_trade_off import SCHEDULE, WEIGHTS, chains, errors_of_change, sweep


def checks() -> list[Check]:
    """Both ends that are known; the steps of the sweep."""
    rows = sweep()
    mixture = pinwheel()
    _, V, _ = chain_law(mixture.means[0], mixture.covs[0], SCHEDULE)
    exact = STANDARD + np.log(np.linalg.det(V[0])) / 2
    R, A, _, _ = rows[WEIGHTS.index(-1.0)]
    _, _, h, _ = rows[WEIGHTS.index(0.0)]

    relevance = errors_of_change(rows, 0)
    entropy = errors_of_change(rows, 2)
    bound = errors_of_change(rows, 3)
    up = (relevance[:6] > 20).sum()
    down = ((entropy < -2) & (bound < -15)).sum()
    return [
        Check("(12.1) w = -1: relevance", R.value, 0.2, 4 * R.error),
        Check("(12.2) w = -1: accuracy", A.value, 0.2, 4 * A.error),
        Check("(C.6) w = 0: entropy", h.value, exact, 4 * h.error),
        Check("(12.1) 6 steps to w = 4: relevance up", up, 6, 0),
        Check("(C.6) and entropy and bound down", down, 6, 0),
        Check("(C.4) from w = 8 to 16: bound up", bound[7] > 20, 1, 0),
    ]


def clouds(axes: np.ndarray, ws: tuple[float, ...]) -> Iterator[int]:
    """Draw one panel per weight, and move its dots along the chains; yields t = T..0 after each."""
    mixture = pinwheel()
    y = np.repeat(np.arange(5), 150)
    axis = np.linspace(-4.6, 4.6, 121)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    density = np.exp(mixture.log_density(grid)).reshape(121, 121)
    paths = [chains(mixture, y, w) for w in ws]
    for ax, w in zip(axes, ws, strict=True):
        ax.contourf(axis, axis, density, 6, cmap="Greys", alpha=0.5)
        ax.scatter(*np.zeros((2, len(y))), s=4, lw=0, c=np.array(CLASS_COLORS)[y], zorder=3)
        ax.set(title=f"w = {w:g}", aspect="equal", xticks=[], yticks=[])
    for t in range(SCHEDULE.T, -1, -1):
        for ax, path in zip(axes, paths, strict=True):
            ax.collections[-1].set_offsets(path[SCHEDULE.T - t])
        yield t


def figure() -> Figure:
    """Samples at five weights; relevance and diversity over w; one against the other."""
    fig = Figure(figsize=(11, 5.8), layout="constrained")
    top, bottom = cast(Any, fig).subfigures(2, 1, height_ratios=(1, 1.3))
    last(clouds(top.subplots(1, 5), (-1.0, 0.0, 1.0, 4.0, 16.0)))
    relevance, diversity, both = bottom.subplots(1, 3)
    # One row per measure, one column per weight.
    value = np.array([[f.value for f in row] for row in sweep()]).T
    error = np.array([[f.error for f in row] for row in sweep()]).T
    for ax, k, name, color in (
        (relevance, 1, "accuracy", GREY),
        (relevance, 0, "mean of $p(y | x_0)$", BLUE),
        (diversity, 3, "upper bound", ORANGE),
        (diversity, 2, "entropy", BLUE),
    ):
        ax.errorbar(range(9), value[k], error[k], fmt="o-", ms=4, color=color, label=name)
        ax.set(xlabel="w", xticks=range(9), xticklabels=[f"{w:g}" for w in WEIGHTS])
        ax.legend(fontsize=8)
    relevance.set(title="Relevance rises", ylabel="fraction")
    diversity.set(title="Diversity falls up to w = 4", ylabel="entropy in nats")
    h = value[2, 2:]
    miss = 1 - value[0, 2:]
    both.errorbar(h, miss, error[0, 2:], error[2, 2:], fmt="o-", ms=4, color=BLUE)
    for w, place in zip(WEIGHTS[2:], zip(h, miss, strict=True), strict=True):
        both.annotate(f"w = {w:g}", place, (8, -10), textcoords="offset points", fontsize=8)
    both.set(
        title="Relevance against diversity",
        xlabel="entropy in nats",
        ylabel="1 - relevance",
    )
    both.set(yscale="log", xlim=(0.55, 1.09), ylim=(3e-4, 0.25))
    return fig


def animate(path: Path) -> Path:
    """Save the chains of four weights as a GIF: every fourth step, and the end for a while."""
    fig = Figure(figsize=(8.8, 2.4), layout="constrained")
    writer = cast(Any, PillowWriter(fps=8))
    panels = fig.subplots(1, 4)
    with writer.saving(fig, path, dpi=90):
        for t in clouds(panels, (-1.0, 0.0, 1.0, 4.0)):
            panels[0].set_ylabel(f"t = {t}")
            if t == 0:
                frames = 12
            elif t % 4 == 0:
                frames = 1
            else:
                frames = 0
            for _ in range(frames):
                writer.grab_frame()
    return path
