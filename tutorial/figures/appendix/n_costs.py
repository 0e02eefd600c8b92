"""The distance of each sampler to the tilted distribution over its network evaluations."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.h_gaussian_pairs import EXAMPLE
from tutorial.appendix.n_costs import (
    N,
    chain_cost,
    distance_of_gaussians,
    floor,
    measured,
    rounds_cost,
    sliced_wasserstein,
    table,
)
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Check
from tutorial.step02_forward import Gaussian
from tutorial.step11_guidance import tilt

STYLES = {
    "guided DDIM": (ORANGE, "o-"),
    "guided DDPM": (RED, "s-"),
    "correctors": (BLUE, "o-"),
    "weights": (GREEN, "o"),
    "weights, corrector": (GREEN, "^"),
    "rounds, tau = 1": (PURPLE, "o:"),
    "rounds, tau = 0.1": (PURPLE, "s--"),
    "rounds, tau = 0.03": (PURPLE, "^-"),
    "rounds, tau = 0.1, one step": ("black", "s--"),
    "rounds, tau = 0.03, one step": ("black", "^-"),
}


def checks() -> list[Check]:
    """Two points; two Gaussians and their floor; costs; near the floor, and far from it."""
    origin = np.zeros((1, 2))
    point = np.array([[3.0, 4.0]])
    rng = np.random.default_rng(0)
    n = 20_000
    narrow = Gaussian(np.zeros(2), 1.0)
    wide = Gaussian(np.array([1.0, 0.0]), 4.0)
    x = rng.standard_normal((n, 2))
    y = wide.mean + 2 * rng.standard_normal((n, 2))
    apart = distance_of_gaussians(narrow, wide)
    same = [sliced_wasserstein(x[:N], other) for other in np.split(x[N : 5 * N], 4)]
    mean_square = float(np.mean(np.square(same)))
    at_least = floor(N, 1.0, N, 1.0)
    tilted = tilt(*EXAMPLE, 2.0)
    rows = {(row.sampler, row.evaluations): row.distance for row in table("two Gaussians")}
    of_class = distance_of_gaussians(EXAMPLE[0], tilted)
    return [
        Check("(N.1) two points, 5 apart", sliced_wasserstein(origin, point), 12.5**0.5, 1e-12),
        # Allowed: 1 % for the tails beyond the quantiles; 5 standard errors of a distance.
        Check("(N.2) two Gaussians", sliced_wasserstein(x, y), apart, 0.01 + 7.5 / n**0.5),
        Check("(N.3) class and tilted", of_class, (0.125 + (1 - 0.5**0.5) ** 2) ** 0.5, 1e-12),
        # Four distances that have one set in common: their mean is as random as that of two.
        Check("(N.4) floor", mean_square**0.5, at_least, 0.5 * at_least),
        Check("(N.5) squares add up", measured(3.0, 4.0), 5, 1e-12),
        Check("(N.6) 11 correctors, 30 levels", chain_cost(30, 11), 720, 0),
        Check("(N.6) 40 rounds", rounds_cost(40, 30), 350, 0),
        Check("correctors reach the floor", rows["correctors", 720], 0, 0.05),
        Check("DDIM does not", rows["guided DDIM", 720] > 0.35, 1, 0),
    ]


def draw(ax: Any, name: str, title: str) -> None:
    """One example: distance over evaluations."""
    exact, of_class, *_ = table(name)
    start = of_class.evaluations
    ax.loglog(start, of_class.distance, "kX", ms=9, label="class without guidance")
    for sampler, (color, style) in STYLES.items():
        rows = [row for row in table(name) if row.sampler == sampler]
        costs = [row.evaluations for row in rows]
        distances = [row.distance for row in rows]
        ax.loglog(costs, distances, style, color=color, label=sampler.replace("tau", r"$\tau$"))
    ax.axhline(exact.distance, color=GREY, ls=":", label="exact samples: the floor")
    ticks = (30, 60, 120, 240, 360, 720)
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks((0.01, 0.03, 0.1, 0.3, 1), ["0.01", "0.03", "0.1", "0.3", "1"])
    ax.set(xlabel="network evaluations per sample", ylim=(0.01, 1), title=title)


def figure() -> Figure:
    """The table of the text for one seed, as two panels."""
    fig = Figure(figsize=(12, 4.2), layout="constrained")
    far, near = fig.subplots(1, 2, sharey=True)
    draw(
        far, "two Gaussians", "Two Gaussians, w = 2: the class is far\nfrom the tilted distribution"
    )
    draw(near, "three classes", "Three classes, w = 3: the class is near\nthe tilted distribution")
    far.set(ylabel="sliced Wasserstein distance\nto the tilted distribution")
    near.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def print_table() -> None:
    """Print the tables of one seed."""
    first = table("two Gaussians")
    second = table("three classes")
    print("\n  sampler              evaluations  two Gaussians  three classes")
    for a, b in zip(first, second, strict=True):
        print(f"  {a.sampler:20} {a.evaluations:11} {a.distance:14.3f} {b.distance:14.3f}")
