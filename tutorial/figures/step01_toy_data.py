"""The figure shows samples of both data sets, and the class probabilities at every point."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from tutorial.figures.program import CLASS_COLORS, Check
from tutorial.step01_toy_data import log_odds, pinwheel, three_gaussians


def checks() -> list[Check]:
    """200,000 draws: how often Bayes' rule names their class, and how straight a border is."""
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
    beyond = log_p[:, 0] - log_p[:, 1] - line
    return [
        Check("(1.4) best guess of y is right", hits, largest.mean(), 4 * error),
        Check("(1.7) odds beyond the formula", np.abs(beyond).max(), 0, 1e-11),
    ]


def figure() -> Figure:
    """Both sets: labelled samples on the contours of p(x), and whose point each point would be."""
    fig = Figure(figsize=(11, 3.1), layout="constrained")
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
        points.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title=f"{name}: $p(x)$")
        mix = (np.exp(mixture.log_class_probability(grid)) @ colors).reshape(301, 301, 3)
        regions.imshow(mix, origin="lower", extent=(-3.5, 3.5, -3.5, 3.5))
        regions.set(title="$p(y | x)$: colours mixed by it")
    return fig
