"""The distance of each sampler to the tilted distribution over its network evaluations."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.n_costs import sliced_wasserstein, table
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, PURPLE, Check


def checks() -> list[Check]:
    """Two points; two Gaussians; and in the table, who is near the floor and who is not."""
    origin = np.zeros((1, 2))
    point = np.array([[3.0, 4.0]])
    rng = np.random.default_rng(0)
    n = 20_000
    x = rng.standard_normal((n, 2))
    y = 2 * rng.standard_normal((n, 2))
    far = {(name, cost): distance for name, cost, distance in table()}
    return [
        Check("(N.1) two points, 5 apart", sliced_wasserstein(origin, point), 12.5**0.5, 1e-12),
        # Allowed: the tails beyond 1,000 quantiles, and 5 standard errors of a deviation.
        Check("(N.1) deviations of 1 and 2", sliced_wasserstein(x, y), 1, 0.01 + 7.5 / n**0.5),
        Check("(N.1) floor", far["exact samples: the floor", 0], 0, 0.04),
        Check("(N.1) corrected", far["corrected, n = 11", 720], 0, 0.06),
        Check("(N.1) DDIM is farther than .5", far["guided DDIM", 720] > 0.5, 1, 0),
    ]


def figure() -> Figure:
    """The table, as a picture."""
    fig = Figure(figsize=(7.5, 4), layout="constrained")
    ((ax,),) = fig.subplots(1, 1, squeeze=False)
    kinds = {
        "guided DDIM": ORANGE,
        "guided DDPM": "#8a5a00",
        "corrected": BLUE,
        "weighted": GREEN,
        "rounds": PURPLE,
        "the class": "black",
    }
    _, _, floor = table()[0]
    for kind, color in kinds.items():
        costs = [cost for name, cost, _ in table() if name.startswith(kind)]
        distances = [distance for name, _, distance in table() if name.startswith(kind)]
        joined = "o" if kind in ("weighted", "rounds") else "o-"
        ax.loglog(costs, distances, joined, color=color, label=kind)
    ax.axhline(floor, color=GREY, ls=":", label="exact samples")
    ax.set_xticks((30, 60, 120, 240, 360, 720), ["30", "60", "120", "240", "360", "720"])
    ax.minorticks_off()
    ax.set(xlabel="network evaluations a sample", ylabel="sliced Wasserstein distance")
    ax.set(title="Distance to the tilted law, w = 3", ylim=(0.01, 1))
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def print_table() -> None:
    """Print the table."""
    print("\n  sampler                      evaluations, sliced Wasserstein distance")
    for name, cost, distance in table():
        print(f"  {name:28} {cost:5} {distance:7.3f}")
