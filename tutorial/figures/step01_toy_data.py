"""The figure shows samples of both data sets, and the class probabilities at every point."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from tutorial.figures.program import CLASS_COLORS, Check
from tutorial.step01_toy_data import log_odds, pinwheel, three_gaussians


def checks() -> list[Check]:
    """How often the most probable class of a draw is its own, and how straight a border is."""
    n = 200_000
    mixture = pinwheel()
    x, y = mixture.sample(n, np.random.default_rng(0))
    p = np.exp(mixture.log_class_probability(x))
    largest = p.max(1)
    hits = float((p.argmax(1) == y).mean())
    error = np.sqrt((largest * (1 - largest)).mean() / n)

    three = three_gaussians()
    log_p = three.log_class_probability(x)
    line = log_odds(x, three.means[0], three.means[1], 1 / 3, 1 / 3, 0.25)
    difference = log_p[:, 0] - log_p[:, 1] - line
    return [
        Check("(1.4) the most probable class is right", hits, largest.mean(), 4 * error),
        Check("(1.8) log odds minus the formula", np.abs(difference).max(), 0, 1e-11),
    ]


def figure() -> Figure:
    """Both sets: labelled samples with contours of p(x), and the class probabilities."""
    fig = Figure(figsize=(12, 3.3), layout="constrained")
    panels = fig.subplots(1, 4)
    axis = np.linspace(-3.5, 3.5, 301)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    sets = (("three_gaussians", three_gaussians()), ("pinwheel", pinwheel()))
    for (name, mixture), (points, regions) in zip(sets, panels.reshape(2, 2), strict=True):
        x, y = mixture.sample(800, np.random.default_rng(0))
        colors = np.array([to_rgb(c) for c in CLASS_COLORS[: mixture.num_classes]])
        density = np.exp(mixture.log_density(grid)).reshape(301, 301)
        points.scatter(*x.T, s=3, c=colors[y])
        points.contour(axis, axis, density, 6, colors="black", linewidths=0.6)
        points.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title=f"{name}, $p(x)$")
        mix = (np.exp(mixture.log_class_probability(grid)) @ colors).reshape(301, 301, 3)
        regions.imshow(mix, origin="lower", extent=(-3.5, 3.5, -3.5, 3.5))
        regions.set(title="Colours mixed by $p(y | x)$")
        for axes in (points, regions):
            axes.set(xlabel="first coordinate", ylabel="second coordinate")
    for axes in panels[:2]:
        axes.plot(0.3, 0.3, "x", color="black", label="(0.3, 0.3)")
    panels[0].legend(fontsize=7, loc="upper left")
    return fig
