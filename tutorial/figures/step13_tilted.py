"""Figure 2 of the paper, and which samples of the top class rejection sampling keeps.

Samples of both samplers on the tilted density, and their height and variance over w.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from matplotlib.figure import Figure, SubFigure
from tqdm import tqdm

from tutorial.figures.program import BLUE, GREY, ORANGE, RED, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step05_best_guess import oracle_eps
from tutorial.step13_tilted import (
    keep,
    moments_on_grid,
    slope_in_w,
    summary,
    tilted_mass,
    tilted_on_grid,
)
from tutorial.step16_log_snr import algorithm_2, log_snr_grid, schedule_from
from tutorial.step17_solvers import ddim, run


def checks_of_tilted() -> list[Check]:
    """The height of the tilted top class, by a sum and by rejection; its Z; its slope in w."""
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
        Check("(13.1) height at w = 3, a sum", mean, 1.526, 5e-4),
        Check("(13.3) the same, of those kept", height.mean(), mean, 4 * 0.5 / n**0.5),
        Check("(13.2) fraction kept", kept.mean(), share, 4 * error),
        # The difference is off by h^2 / 6 times a third derivative far below 1.
        Check("(13.4) slope of the height", slope, difference, 1e-5),
    ]


def draw_tilted(fig: Figure | SubFigure) -> None:
    """The paper's figure 2, and which samples of the top class are kept."""
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
        ax.set(xlim=(-3.3, 3.3), ylim=(-2.8, 3.5), xlabel="one shade: a factor of 1.9")
    x = three.means[0] + 0.5 * rng.standard_normal((3000, 2))
    kept = keep(x, 0, 3.0, three, rng)
    chosen.scatter(*x[kept].T, s=2, color=BLUE, alpha=0.4, label="kept at w = 3")
    chosen.scatter(*x[~kept].T, s=8, color=RED, label="rejected")
    points, _ = tilted_on_grid(three, 0, 0.0)
    sure = np.exp(three.log_class_probability(points)[:, 0])
    chosen.contour(axis, axis, sure.reshape(401, 401), [0.5], colors=ORANGE)
    chosen.plot([], [], color=ORANGE, label="$p(y | x)$ = 1/2")
    chosen.set(title="Rejection sampling of the top class", aspect="equal")
    chosen.set(xlim=(-3.3, 3.3), ylim=(-2.8, 3.5))
    chosen.legend(fontsize=8)


if TYPE_CHECKING:
    from jaxtyping import Float

CHUNK = 4000


TABLE = {
    0.0: ((1.500, 0.250, 0.250), (1.500, 0.245, 0.245), (1.500, 0.247, 0.247)),
    1.0: ((1.515, 0.244, 0.235), (1.678, 0.224, 0.203), (1.914, 0.173, 0.126)),
    3.0: ((1.526, 0.241, 0.226), (1.797, 0.221, 0.198), (2.365, 0.141, 0.083)),
}


@cache
def guided_samples(
    w: float, n: int = CHUNK, T: int = 256, seed: int = 0
) -> Float[np.ndarray, "2 n 2"]:
    """`n` of the top class by Algorithm 2, v = .3, and `n` by DDIM over the same `T` steps."""
    log_snr = log_snr_grid(T)
    rng = np.random.default_rng(seed)
    schedule = schedule_from(log_snr)
    model = oracle_eps(three_gaussians(), schedule)
    table = ddim(schedule)
    by_algorithm_2: list[np.ndarray] = []
    by_ddim: list[np.ndarray] = []
    for start in tqdm(range(0, n, CHUNK), f"w = {w:g}", disable=None):
        y = np.zeros(min(CHUNK, n - start), dtype=int)
        by_algorithm_2.append(algorithm_2(model, y, log_snr, w, 0.3, rng))
        by_ddim.append(run(model, y, table, w, rng))
    return np.array([np.concatenate(by_algorithm_2), np.concatenate(by_ddim)])


SIZE = 10 * CHUNK if "--full" in sys.argv else CHUNK


def checks_of_overshoot(n: int = SIZE) -> list[Check]:
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
            for i, what in enumerate(("(13.6) height", "(13.7) across", "(13.7) along")):
                value, error = measured[i]
                allowed = 4 * error + 5e-4
                found.append(Check(f"{what}, w = {w:g}, {name}", value, table[i], allowed))
    return found


def draw_overshoot(fig: Figure | SubFigure, n: int = SIZE) -> None:
    """Samples on the tilted density; the height and the variance over w."""
    *panels, height, spread = fig.subplots(1, 5)
    three = three_gaussians()
    axis = np.linspace(-4, 4, 401)
    for ax, w in zip(panels, TABLE, strict=True):
        by_algorithm_2, by_ddim = guided_samples(w, n)
        ax.scatter(*by_algorithm_2[:500].T, s=3, color=BLUE, alpha=0.6, label="Algorithm 2")
        ax.scatter(*by_ddim[:500].T, s=3, color=ORANGE, alpha=0.6, label="DDIM")
        for weight, style, name in ((0.0, "dotted", "class"), (w, "solid", "tilted")):
            _, p = tilted_on_grid(three, 0, weight)
            ordered = np.sort(p)
            levels = ordered[np.searchsorted(np.cumsum(ordered), [0.01, 0.5])]
            image = p.reshape(401, 401)
            ax.contour(axis, axis, image, levels, colors="black", linewidths=1, linestyles=style)
            ax.plot([], [], color="black", lw=1, ls=style, label=f"{name}: 50 and 99 %")
        ax.set(title=f"Top class, w = {w:g}", xlim=(-1.9, 1.9), ylim=(-1.7, 3.4))
        ax.set(xlabel="across", ylabel="height", aspect="equal")
    weights = np.linspace(0, 3, 13)
    laws = [moments_on_grid(*tilted_on_grid(three, 0, w)) for w in weights]
    height.plot(weights, [mean[1] for mean, _ in laws], color=GREY, lw=2, label="tilted")
    spread.plot(weights, [cov[1, 1] for _, cov in laws], color=GREY)
    for k, name, color in ((1, "Algorithm 2", BLUE), (2, "DDIM", ORANGE)):
        rows = np.array([row[k] for row in TABLE.values()])
        height.plot(list(TABLE), rows[:, 0], "o--", color=color, label=name)
        spread.plot(list(TABLE), rows[:, 2], "o--", color=color)
    height.set(
        title="Mean height: chains overshoot", xlabel="w", ylabel="mean height", ylim=(1.3, 2.5)
    )
    spread.set(
        title="Variance: chains shrink",
        xlabel="w",
        ylabel="variance along the height",
        ylim=(0, 0.27),
    )
    panels[0].legend(fontsize=7, loc="lower center")
    height.legend(fontsize=8)


def checks(n: int = SIZE) -> list[Check]:
    """All numbers that the lesson checks."""
    return [
        *checks_of_tilted(),
        *checks_of_overshoot(n),
    ]


def figure(n: int = SIZE) -> Figure:
    """The paper's figure 2, and which samples of the top class are kept.

    Below: samples of both chains on the tilted density, and their height and variance over w.
    """
    fig = Figure(figsize=(14, 7.8), layout="constrained")
    top, bottom = cast(Any, fig).subfigures(2, 1, height_ratios=(3.9, 3.9))
    draw_tilted(top)
    draw_overshoot(bottom, n)
    return fig
