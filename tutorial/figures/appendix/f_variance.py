"""The variance of samples over the number of levels, its distance to the limit, and the right v."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from tutorial.appendix.f_variance import limit_var, moments_of_samples, right_v, spread
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, RED, Check
from tutorial.step16_log_snr import log_snr_grid

LONGEST = 1024 if "--full" in sys.argv else 128
COLORS = {0.0: BLUE, 0.3: ORANGE, 1.0: RED}
LEVELS = 2 ** np.arange(3, 11)


def exact(T: int, v: float) -> float:
    """The variance for a class of 1/4 in data of variance 1, with w = 1 and `T` levels."""
    _, V = moments_of_samples(0.0, 0.25, 1.0, log_snr_grid(T), 1.0, v)
    return V


def checks(longest: int = LONGEST) -> list[Check]:
    """Distances to the limit as the levels double; the effect of v on three Gaussians."""
    limit = limit_var(0.25, 1.0, 1.0)
    remaining = (exact(1024, 0.0) - limit) / (exact(512, 0.0) - limit)
    few = spread(16, 1.0, 4000) - spread(16, 0.0, 4000)
    many = spread(longest, 1.0, 4000) - spread(longest, 0.0, 4000)
    return [
        Check("(F.2) variance, 16 levels, v = 1", exact(16, 1.0), 0.1294, 5e-5),
        Check("(F.4) distance to the limit, 1024 levels over 512", remaining, 0.5, 0.02),
        Check("(F.4) limit at w = -1: all data", limit_var(0.25, 1.0, -1.0), 1, 1e-15),
        Check("(16.11) three Gaussians, v = 1 minus v = 0, 16 levels", few, 0.1028, 0.01),
        Check(f"(16.11) the same times levels, {longest} levels", longest * many, 2.2, 0.2),
    ]


def draw_variance(ax: Any) -> None:
    """The exact variance over the number of levels, for three v."""
    for v, color in COLORS.items():
        V = [exact(int(T), v) for T in LEVELS]
        ax.plot(LEVELS, V, "o-", ms=4, color=color, label=f"v = {v:g}")
    ax.axhline(limit_var(0.25, 1.0, 1.0), ls="--", color=GREY, label="limit (F.4)")
    ax.axhline(1 / 7, ls=":", color=GREEN, label="tilted distribution")
    ax.set_xscale("log", base=2)
    ax.set(title="With many levels all v give one variance\n(class of 1/4 in data of 1, w = 1)")
    ax.set(xlabel="levels", ylabel="variance of the samples, exact")
    ax.legend(fontsize=8)


def draw_distance(ax: Any, longest: int) -> None:
    """Distances to the limit; and the effect of v on samples of three Gaussians."""
    limit = limit_var(0.25, 1.0, 1.0)
    for v, color in COLORS.items():
        distance = [abs(exact(int(T), v) - limit) for T in LEVELS]
        side = "wider" if v == 1 else "narrower"
        ax.loglog(LEVELS, distance, "o-", ms=4, color=color, label=f"v = {v:g}: {side}")
    sampled = LEVELS[longest >= LEVELS]
    effect: list[float] = []
    bar = tqdm(total=2 * int(sampled.sum()), desc="steps", disable=None)
    for T in sampled:
        effect.append(spread(int(T), 1.0, 4000) - spread(int(T), 0.0, 4000))
        bar.update(2 * int(T))
    bar.close()
    name = "three Gaussians: v = 1 minus v = 0"
    ax.loglog(sampled, effect, "s", ms=5, mfc="none", color=GREEN, label=name)
    ax.loglog(LEVELS, 4 / LEVELS, "--", color=GREY, label="proportional to 1 / levels")
    ax.set_xscale("log", base=2)
    ax.set(title="The distance to the limit falls like\none over the number of levels")
    ax.set(xlabel="levels", ylabel="distance of variances", ylim=(1e-4, 20))
    ax.legend(fontsize=8)


def draw_right_v(ax: Any) -> None:
    """The right v at each level, without guidance, for three classes."""
    log_snr = np.linspace(-8, 8, 201)
    for var, color in ((1.0, GREY), (0.25, BLUE), (0.05, ORANGE)):
        ax.plot(log_snr, right_v(var, log_snr), color=color, label=f"class of variance {var:g}")
    ax.axhline(0.3, ls=":", color=GREY, label="0.3, as in the paper")
    ax.set(title="The right v changes with the level\n(no guidance, small steps)", ylim=(0, 1.08))
    ax.set(xlabel="log SNR: noise on the left, data on the right", ylabel="right v")
    ax.legend(fontsize=8, loc="center left")


def figure(longest: int = LONGEST) -> Figure:
    """Left: variances over levels. Middle: distances to the limit. Right: the right v."""
    fig = Figure(figsize=(13, 4), layout="constrained")
    variance, distance, right = fig.subplots(1, 3)
    draw_variance(variance)
    draw_distance(distance, longest)
    draw_right_v(right)
    return fig
