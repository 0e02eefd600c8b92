"""The variance with and without weights, and the effective sample size, over w."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.i_predictor_corrector import levels
from tutorial.appendix.l_feynman_kac import (
    CENTRED,
    effective_share,
    exact,
    mean_of,
    one_run,
    three_classes,
)
from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step11_guidance import tilt
from tutorial.step13_tilted import tilted_mass


def checks() -> list[Check]:
    """Weighted samples against the exact result of their chain; this against the tilted one."""
    found: list[Check] = []
    for w in (1.0, 2.0):  # with more w, no standard error is finite
        x, log_weights = one_run(w)
        mass, V = exact(levels(400, 1e4, 1e-3), w, 1)
        weights = np.exp(log_weights)
        square = (x**2).mean(1)
        what = f"w = {w:g}"
        var = mean_of(square[:, None], log_weights)[0]
        error_of_var = (weights * (square - V) / mass**2).std() / len(x) ** 0.5
        error_of_mass = weights.std() / len(x) ** 0.5
        found += [
            Check(f"(L.2) variance of a run, {what}", var, V, 5 * error_of_var),
            Check(f"(L.2) mass, {what}", weights.mean(), mass**2, 5 * error_of_mass),
        ]
    for w in (1.0, 2.0, 4.0):
        _, of_1600 = exact(levels(1600), w, 1)
        _, of_3200 = exact(levels(3200), w, 1)
        fine = 2 * of_3200 - of_1600  # without the error of first order
        found.append(Check(f"(L.5) variance, w = {w:g}", fine, tilt(*CENTRED, w).var, 1e-3))
    return found


def figure() -> Figure:
    """Variance with and without weights, and n_eff / n, over w; three classes beside them."""
    fig = Figure(figsize=(13, 3.8), layout="constrained")
    ws = [w / 4 for w in range(17)]
    spread, share, mass = fig.subplots(1, 3)
    unweighted = [exact(levels(800), w, 0) for w in ws]
    weighted = [exact(levels(800), w, 1) for w in ws]
    twice_weighted = [exact(levels(800), w, 2) for w in ws]
    spread.plot(ws, [tilt(*CENTRED, w).var for w in ws], color=GREY, lw=5, label="tilted")
    spread.plot(ws, [V for _, V in weighted], color=BLUE, label="DDPM, weighted")
    spread.plot(ws, [V for _, V in unweighted], color=ORANGE, label="DDPM, all weights equal")
    spread.set(xlabel="guidance weight w", ylabel="variance at the end", ylim=(0, 1.05))
    spread.set(title="Two Gaussians: weights\ncorrect the variance")
    shares: list[float] = []
    for (mass_of_W, _), (mass_of_square, _) in zip(weighted, twice_weighted, strict=True):
        shares.append(mass_of_W**2 / mass_of_square)
    share.plot(ws, shares, "o-", color=BLUE, label="exact, many chains")
    runs: list[float] = []
    for w in ws[::4]:
        _, log_weights = one_run(w, 2000)
        runs.append(effective_share(log_weights) ** 0.5)  # of two axes: the root is that of one
    share.plot(ws[::4], runs, "x", color=ORANGE, label="run of 2000 chains")
    share.set(xlabel="guidance weight w", ylabel="n_eff / n for one axis")
    share.set(
        title="The effective sample size falls with w,\nto 0 above about w = 3 (two Gaussians)"
    )
    few = (0.25, 0.5, 1.0, 2.0, 3.0)
    for below, color, label in ((0.0, BLUE, "not resampled"), (0.5, ORANGE, "resampled")):
        ratios: list[float] = []
        for w in few:
            _, log_weights = three_classes(w, below, 2000)
            ratios.append(np.exp(log_weights).mean() / tilted_mass(three_gaussians(), 0, w))
        mass.plot(few, ratios, "o-", color=color, label=label)
    mass.axhline(1, color=GREY, ls=":", label="correct")
    mass.set(xlabel="guidance weight w", ylabel="mean weight / exact mass", ylim=(0, 1.3))
    mass.set(title="Three classes: these runs miss a part\nof the mass (2000 chains per point)")
    for ax in (spread, share, mass):
        ax.legend(fontsize=8, loc="lower left")
    return fig
