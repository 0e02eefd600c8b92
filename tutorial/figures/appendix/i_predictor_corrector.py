"""The variance over the number of levels, and over the number of correctors, for three splits."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.h_gaussian_pairs import EXAMPLE, ddpm_law, score_at
from tutorial.appendix.i_predictor_corrector import (
    chain_variance,
    ddpm_variance,
    levels,
    predictor_corrector_steps,
    slope_of_variance,
    split_score,
    with_many_correctors,
)
from tutorial.contract import last
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, Check
from tutorial.step11_guidance import tilt

W = 2.0
SPLITS = ((4.0, 0.0, GREEN), (2.0, 2.0, ORANGE), (0.0, 4.0, BLUE))  # a, b, colour


def checks() -> list[Check]:
    """The split of the score; chains against their exact variance; limits of levels and of n."""
    rng = np.random.default_rng(0)
    taus = levels(400)
    x = 3 * rng.standard_normal((100, 2))
    s_w = score_at(x, 0.7, W, *EXAMPLE)
    apart = np.abs(s_w - split_score(x, 0.7, 0.0, 2 * W, *EXAMPLE)).max()
    found = [Check("(I.1) s_2 minus (s_0 + s_4) / 2", apart, 0, 1e-13)]
    limit = ddpm_law(*EXAMPLE, W).var
    start = taus[0] ** 0.5 * rng.standard_normal((20_000, 2))
    for a, b, _ in SPLITS:
        split = f"a = {a:g}, b = {b:g}"
        x = last(predictor_corrector_steps(start, taus, a, b, 1, *EXAMPLE, rng))
        exact = chain_variance(taus, a, b, 1, *EXAMPLE)
        error = exact * (2 / x.size) ** 0.5  # standard error of the variance of normal samples
        found.append(Check(f"(I.4) samples, {split}", x.var(0).mean(), exact, 4 * error))
        fine = chain_variance(levels(3200), a, b, 1, *EXAMPLE)
        # The distance from the limit is about 3 / levels.
        found.append(Check(f"(I.3) 3,200 levels, {split}", fine, limit, 2e-3))
    fine = ddpm_variance(levels(3200), W, *EXAMPLE)
    found.append(Check("(I.2) 3,200 levels, DDPM", fine, limit, 2e-3))
    delta = 1e-5
    var = chain_variance(np.array([1.0, 1.0 - delta]), 0.0, 4.0, 3, *EXAMPLE)
    slope = slope_of_variance(1.0, 1.0, 0.0, 4.0, 3, *EXAMPLE)
    found.append(Check("(I.5) slope of the variance", (1.0 - var) / delta, slope, 1e-3))
    for a, b, _ in SPLITS[1:]:
        var = chain_variance(levels(400), a, b, 200, *EXAMPLE)
        expected = with_many_correctors(0.0, a, b, 200, *EXAMPLE)
        # A finite size of the corrector leaves a fraction delta k / 4 near the last levels.
        found.append(Check(f"(I.6) n = 200, a = {a:g}, b = {b:g}", var, expected, 1e-3))
    return found


def draw_levels(ax: Any) -> None:
    """The variance over the number of levels, with one corrector per level."""
    counts = (25, 50, 100, 200, 400, 800, 1600)
    for a, b, color in SPLITS:
        var = [chain_variance(levels(k), a, b, 1, *EXAMPLE) for k in counts]
        ax.semilogx(counts, var, "o-", ms=4, color=color, label=f"a = {a:g}, b = {b:g}")
    ddpm = [ddpm_variance(levels(k), W, *EXAMPLE) for k in counts]
    ax.semilogx(counts, ddpm, "s-", ms=4, color="black", label="DDPM of weight 2")
    limit = ddpm_law(*EXAMPLE, W).var
    ax.axhline(limit, color=GREY, ls=":", label=f"limit (H.3): {limit:.4f}")
    ax.set(title="One corrector per level: with finer levels\nall splits of weight 2 approach DDPM")
    ax.set(xlabel="number of levels", ylabel="variance at the end")
    ax.set_xticks(counts, [str(k) for k in counts])
    ax.minorticks_off()
    ax.legend(fontsize=8)


def draw_correctors(ax: Any) -> None:
    """The variance over the number of correctors per level, with 800 levels."""
    counts = (1, 2, 4, 8, 16, 32, 64)
    for a, b, color in SPLITS:
        var = [chain_variance(levels(800), a, b, n, *EXAMPLE) for n in counts]
        ax.semilogx(counts, var, "o-", ms=4, color=color, label=f"a = {a:g}, b = {b:g}")
        ax.axhline(tilt(*EXAMPLE, b).var, color=color, ls=":")
    ax.plot([], [], color=GREY, ls=":", label="tilted distribution of weight b")
    ax.set(title="More correctors: each split approaches\nthe tilted distribution of its own b")
    ax.set(xlabel="correctors per level, n", ylabel="variance at the end", ylim=(0.25, 1.05))
    ax.set_xticks(counts, [str(n) for n in counts])
    ax.minorticks_off()
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, 0.95))


def figure() -> Figure:
    """Left: one corrector and finer levels. Right: more correctors per level."""
    fig = Figure(figsize=(10, 4), layout="constrained")
    left, right = fig.subplots(1, 2)
    draw_levels(left)
    draw_correctors(right)
    return fig
