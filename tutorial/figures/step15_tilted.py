"""Figure 2 of the paper, and which samples of the top class rejection sampling keeps."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, ORANGE, RED, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step15_tilted import (
    keep,
    slope_in_w,
    tilted_mass,
    tilted_on_grid,
)


def checks() -> list[Check]:
    """The height of the tilted top class, by the grid and by hand; its mass; its slope in w."""
    three = three_gaussians()
    w = 3.0
    h = 0.01
    n = 400_000
    points, p = tilted_on_grid(three, 0, w)
    _, p_after = tilted_on_grid(three, 0, w + h)
    _, p_before = tilted_on_grid(three, 0, w - h)
    difference = float((p_after - p_before) @ points[:, 1]) / (2 * h)
    slope = slope_in_w(points[:, 1], 0, three, points, p)
    rng = np.random.default_rng(0)
    x = three.means[0] + 0.5 * rng.standard_normal((n, 2))
    kept = keep(x, 0, w, three, rng)
    mean = float(p @ points[:, 1])
    share = tilted_mass(three, 0, w) / 3**w
    error = (share * (1 - share) / n) ** 0.5
    height = x[kept, 1]
    return [
        Check("(15.1) height at w = 3, a sum", mean, 1.526, 5e-4),
        Check("(15.3) the same, of those kept", height.mean(), mean, 4 * 0.5 / n**0.5),
        Check("(15.2) share kept", kept.mean(), share, 4 * error),
        # The difference is off by h^2 / 6 times a third derivative far below 1.
        Check("(15.4) slope of the height", slope, difference, 1e-5),
    ]


def figure() -> Figure:
    """The paper's figure 2; and who is kept of the top class."""
    fig = Figure(figsize=(14, 3.9), layout="constrained")
    *panels, chosen = fig.subplots(1, 4)
    three = three_gaussians()
    axis = np.linspace(-4, 4, 401)
    rng = np.random.default_rng(0)
    for ax, w in zip(panels, (0.0, 1.0, 3.0), strict=True):
        probabilities: list[np.ndarray] = []
        for y in range(3):
            _, p = tilted_on_grid(three, y, w)
            probabilities.append(p)
        density = np.mean(probabilities, axis=0).reshape(401, 401) / 0.02**2
        ax.contourf(axis, axis, density, np.geomspace(2e-4, 0.25, 12), cmap="Blues", norm="log")
        ax.set(title=f"w = {w:g}: mean of $p_w(x | y)$ over y", aspect="equal")
        ax.set(xlim=(-3.3, 3.3), ylim=(-2.8, 3.5), xlabel="a shade: a factor of 1.9")
    x = three.means[0] + 0.5 * rng.standard_normal((3000, 2))
    kept = keep(x, 0, 3.0, three, rng)
    chosen.scatter(*x[kept].T, s=2, color=BLUE, alpha=0.4, label="kept, w = 3")
    chosen.scatter(*x[~kept].T, s=8, color=RED, label="not kept")
    points, _ = tilted_on_grid(three, 0, 0.0)
    sure = np.exp(three.log_class_probability(points)[:, 0])
    chosen.contour(axis, axis, sure.reshape(401, 401), [0.5], colors=ORANGE)
    chosen.plot([], [], color=ORANGE, label="$p(y | x)$ = 1/2")
    chosen.set(title="The top class, asked one by one", aspect="equal")
    chosen.set(xlim=(-3.3, 3.3), ylim=(-2.8, 3.5))
    chosen.legend(fontsize=8)
    return fig
