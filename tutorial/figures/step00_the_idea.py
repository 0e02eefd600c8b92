"""The figure shows data becoming noise, noise becoming data, and what guidance changes."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, Check
from tutorial.step00_the_idea import (
    MEANS,
    VAR,
    add_noise,
    alpha_bar,
    class_probability,
    guess_with_guidance,
    guess_without_label,
    sample,
    step_back,
)

SHOWN = (0, 35, 65, 100)  # the times of the panels


def checks() -> list[Check]:
    """The example of the lesson, and the samples of class 0 at two weights."""
    n = 40_000
    origin = np.zeros((1, 2))
    guess = guess_with_guidance(origin, 0.5, 0, 0.0)
    guided = guess_with_guidance(origin, 0.5, 0, 1.0)
    plain = sample(n, 0, 0.0, np.random.default_rng(0))
    strong = sample(n, 0, 3.0, np.random.default_rng(0))
    error = 4 * 0.5 / np.sqrt(n)
    return [
        Check("(0.2) guess for class 0 at the origin", guess[0, 1], 1.2, 1e-12),
        Check("(0.7) the same with w = 1", guided[0, 1], 2.4, 1e-12),
        Check("(0.6) mean height, w = 0", plain[:, 1].mean(), 1.5, error),
        Check("(0.6) mean height, w = 3", strong[:, 1].mean(), 2.37, error),
        Check("(0.6) variance of the height, w = 3", strong[:, 1].var(), 0.08, 0.005),
    ]


def forward_chain(x0: np.ndarray, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Noisy points at the times of the panels. Each point keeps its noise, as if followed."""
    abar = alpha_bar(100)
    eps = rng.standard_normal(x0.shape)
    return {t: add_noise(x0, eps, abar[t]) for t in SHOWN}


def backward_chain(n: int, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Samples of all classes on their way from noise to data, at the times of the panels."""
    abar = alpha_bar(100)
    x = rng.standard_normal((n, 2))
    states = {100: x}
    for t in range(100, 0, -1):
        x0hat = guess_without_label(x, abar[t])
        x = step_back(x, x0hat, abar[t], abar[t - 1])
        states[t - 1] = x
    return {t: states[t] for t in SHOWN}


def figure() -> Figure:
    """Three rows: adding noise, removing it with the best guess, and guidance to class 0."""
    n = 500
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    x0 = MEANS[y] + np.sqrt(VAR) * rng.standard_normal((n, 2))
    colors = [CLASS_COLORS[int(label)] for label in y]
    fig = Figure(figsize=(10, 7.8), layout="constrained")
    panels = fig.subplots(3, 4, gridspec_kw={"wspace": 0.2})
    for axes in panels.flat:
        axes.set(xlim=(-3.6, 3.6), ylim=(-3.6, 3.9), aspect="equal", xticks=[], yticks=[])

    forward = forward_chain(x0, rng)
    backward = backward_chain(n, rng)
    for column, t in enumerate(SHOWN):
        panels[0, column].scatter(*forward[t].T, s=4, c=colors)
        panels[0, column].set_title(f"t = {t}")
        panels[1, column].scatter(*backward[t].T, s=4, c=GREY)
        panels[1, column].set_title(f"t = {t}")
    for axes in panels[0, :3]:
        draw_arrow(axes, 1.03, 1.19)
    for axes in panels[1, :3]:
        draw_arrow(axes, 1.19, 1.03)
    panels[0, 0].set_ylabel("Noise is added:\nthis process is known")
    panels[1, 0].set_ylabel("Noise is removed:\nthis has to be learned")
    panels[2, 0].set_ylabel("Samples for class 0\n(circles: 1 and 2 std of it)")

    turn = np.linspace(0, 2 * np.pi, 100)
    circle = np.sqrt(VAR) * np.stack([np.cos(turn), np.sin(turn)], 1)
    for axes, w in zip(panels[2], (-1.0, 0.0, 1.0, 3.0), strict=True):
        x = sample(n, 0, w, np.random.default_rng(1))
        ambiguous = np.mean(class_probability(x, 1.0)[:, 0] < 0.9)
        axes.scatter(*x.T, s=4, c=BLUE)
        axes.plot(*(MEANS[0] + circle).T, color="black", lw=0.8)
        axes.plot(*(MEANS[0] + 2 * circle).T, color="black", lw=0.8)
        axes.set_title("w = -1 (no label)" if w == -1 else f"w = {w:g}")
        axes.set_xlabel(
            f"mean height {x[:, 1].mean():.2f}\np(class 0) < 0.9: {ambiguous:.1%}", fontsize=9
        )
    return fig


def draw_arrow(axes: Axes, start: float, end: float) -> None:
    """Draw an arrow at half the height of the panel, between two fractions of its width."""
    style = {"arrowstyle": "->", "lw": 2}
    cast(Any, axes).annotate(
        "", (end, 0.5), (start, 0.5), xycoords="axes fraction", arrowprops=style
    )
