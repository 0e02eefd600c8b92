"""Variance and mean over the number of correctors, and samples on the tilted density."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.h_gaussian_pairs import EXAMPLE
from tutorial.appendix.i_predictor_corrector import levels
from tutorial.appendix.j_levels import of_gaussians
from tutorial.appendix.k_correctors import chain_law, corrected_steps, top_class
from tutorial.contract import last
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step11_guidance import tilt
from tutorial.step13_tilted import moments_on_grid, tilted_on_grid


def checks() -> list[Check]:
    """Samples against the exact distribution, and of three classes against quadrature."""
    rng = np.random.default_rng(0)
    taus = levels(40, 1e4, 1e-3)
    w = 2.0
    size = 10_000
    found: list[Check] = []
    for n in (0, 4):
        start = 100 * rng.standard_normal((size, 2))
        chain = corrected_steps(start, taus, w, n, 0.2, 1.0, of_gaussians(*EXAMPLE), rng)
        x = last(chain)
        law = chain_law(taus, w, n, 0.2, *EXAMPLE)
        error_of_mean = (law.var / size) ** 0.5
        error_of_var = law.var / size**0.5  # two axes have one variance
        found += [
            Check(f"(K.2) mean, n = {n}", x[:, 0].mean(), law.mean[0], 5 * error_of_mean),
            Check(f"(K.3) variance, n = {n}", x.var(0).mean(), law.var, 5 * error_of_var),
        ]
    points, p = tilted_on_grid(three_gaussians(), 0, 3.0)
    x = top_class(3.0, 12)
    mean, cov = moments_on_grid(points, p)
    error = (cov[1, 1] / len(x)) ** 0.5
    wide = np.trace(cov) / 2
    found.append(Check("(K.4) height, three classes", x[:, 1].mean(), mean[1], 5 * error))
    allowed = wide * (0.2 / 3.8 + 5 / len(x) ** 0.5)  # too wide by rho / (4 - rho)
    found.append(Check("(K.1) variance, three classes", x.var(0).mean(), wide, allowed))
    return found


def figure() -> Figure:
    """Variance and mean over n, for three step sizes; samples on the tilted density."""
    fig = Figure(figsize=(14, 3.8), layout="constrained")
    spread, place, *panels = fig.subplots(1, 4)
    ns = (0, 1, 2, 4, 8, 16)
    taus = levels(40, 1e4, 1e-3)
    aim = tilt(*EXAMPLE, 2.0)
    for rho, color in ((0.05, GREEN), (0.2, BLUE), (0.8, ORANGE)):
        ends = [chain_law(taus, 2.0, n, rho, *EXAMPLE) for n in ns]
        spread.plot(ns, [end.var for end in ends], "o-", color=color, label=rf"$\rho$ = {rho}")
        place.plot(ns, [end.mean[0] for end in ends], "o-", color=color, label=rf"$\rho$ = {rho}")
    spread.axhline(aim.var, color=GREY, ls=":", label="tilted distribution")
    place.axhline(aim.mean[0], color=GREY, ls=":", label="tilted distribution")
    spread.set(title="Small correctors reach the tilted\nvariance (two Gaussians, w = 2)")
    place.set(title="The mean takes about\ntwice as many of them")
    spread.set(ylabel="variance at the end")
    place.set(ylabel="mean at the end")
    spread.set(xlabel="correctors per level, n")
    place.set(xlabel="correctors per level, n")
    spread.legend(fontsize=8)
    place.legend(fontsize=8)
    _, p = tilted_on_grid(three_gaussians(), 0, 3.0)
    density = p.reshape(401, 401)
    for ax, n in zip(panels, (0, 12), strict=True):
        ax.scatter(*top_class(3.0, n)[:1000].T, s=2, color=ORANGE, label="samples")
        ax.contour(density, 5, extent=(-4, 4, -4, 4), colors="black", linewidths=0.8)
        ax.plot([], [], color="black", lw=0.8, label="tilted density")
        title = "DDIM alone overshoots" if n == 0 else f"{n} correctors reach the tilted density"
        ax.set(title=f"{title}\n(top class, w = 3)", xlim=(-1.8, 1.8), ylim=(-0.3, 3.6))
        ax.set(aspect="equal", xlabel="first coordinate", ylabel="second coordinate")
        ax.legend(fontsize=8, loc="lower left")
    return fig
