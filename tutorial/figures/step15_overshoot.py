"""Samples of both samplers on the tilted density, and their height and variance over w."""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step15_overshoot import CHUNK, TABLE, guided_samples, summary
from tutorial.step15_tilted import moments_on_grid, tilted_on_grid

SIZE = 10 * CHUNK if "--full" in sys.argv else CHUNK


def checks(n: int = SIZE) -> list[Check]:
    """The whole table, each number of a sampler within 4 standard errors and the last digit."""
    found: list[Check] = []
    for w, (of_tilt, of_algorithm_2, of_ddim) in TABLE.items():
        mean, cov = moments_on_grid(*tilted_on_grid(three_gaussians(), 0, w))
        tilted = np.array([[mean[1], 0], [cov[0, 0], 0], [cov[1, 1], 0]])  # exact: no errors
        by_algorithm_2, by_ddim = guided_samples(w, n)
        for name, measured, table in (
            ("tilted", tilted, of_tilt),
            ("Algorithm 2", summary(by_algorithm_2), of_algorithm_2),
            ("DDIM", summary(by_ddim), of_ddim),
        ):
            for i, what in enumerate(("(15.5) height", "(15.6) across", "(15.6) along")):
                value, error = measured[i]
                allowed = 4 * error + 5e-4
                found.append(Check(f"{what}, w = {w:g}, {name}", value, table[i], allowed))
    return found


def figure(n: int = SIZE) -> Figure:
    """Samples on the tilted density; the height and the variance over w."""
    fig = Figure(figsize=(14, 3.9), layout="constrained")
    *panels, height, spread = fig.subplots(1, 5)
    three = three_gaussians()
    axis = np.linspace(-4, 4, 401)
    for ax, w in zip(panels, TABLE, strict=True):
        by_algorithm_2, by_ddim = guided_samples(w, n)
        ax.scatter(*by_algorithm_2[:500].T, s=3, color=BLUE, alpha=0.6, label="Algorithm 2")
        ax.scatter(*by_ddim[:500].T, s=3, color=ORANGE, alpha=0.6, label="DDIM")
        _, p = tilted_on_grid(three, 0, w)
        ordered = np.sort(p)
        levels = ordered[np.searchsorted(np.cumsum(ordered), [0.01, 0.1, 0.5])]
        ax.contour(axis, axis, p.reshape(401, 401), levels, colors="black", linewidths=0.8)
        ax.plot([], [], color="black", lw=0.8, label="tilted: 50, 90, 99%")
        ax.set(title=f"w = {w:g}: the top class", xlim=(-1.9, 1.9), ylim=(-0.9, 3.4))
        ax.set_aspect("equal")
    weights = np.linspace(0, 3, 13)
    laws = [moments_on_grid(*tilted_on_grid(three, 0, w)) for w in weights]
    height.plot(weights, [mean[1] for mean, _ in laws], color=GREY, label="tilted")
    spread.plot(weights, [cov[1, 1] for _, cov in laws], color=GREY)
    for k, name, color in ((1, "Algorithm 2", BLUE), (2, "DDIM", ORANGE)):
        rows = np.array([row[k] for row in TABLE.values()])
        height.plot(list(TABLE), rows[:, 0], "o", color=color, label=name)
        spread.plot(list(TABLE), rows[:, 2], "o", color=color)
    height.set(title="Height: overshoot", xlabel="w")
    spread.set(title="Variance along it: shrinkage", xlabel="w", ylim=(0, None))
    for ax in (panels[0], height):
        ax.legend(fontsize=7)
    return fig
