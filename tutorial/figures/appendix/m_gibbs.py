"""The error of the guided score, its size for samples, and the variance at the end of rounds."""

from __future__ import annotations

from itertools import islice

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.h_gaussian_pairs import EXAMPLE
from tutorial.appendix.j_levels import mix, of_gaussians, of_mixture
from tutorial.appendix.m_gibbs import (
    crossing,
    errors_of_guidance,
    gibbs_rounds,
    missing,
    missing_from_labels,
    noised_tilt_score,
    stationary_var,
    stationary_var_of_steps,
)
from tutorial.contract import last
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step11_guidance import tilt

THREE = three_gaussians()


def checks() -> list[Check]:
    """The missing term at a point; rounds on samples; a small tau; a large one."""
    x = np.array([0.4, 0.3])
    tau = 0.5
    w = 3.0
    h = 1e-4
    up = missing(x + np.array([0, h]), tau, 0, w, THREE)
    down = missing(x - np.array([0, h]), tau, 0, w, THREE)
    slope = (up - down) / (2 * h)
    guided = mix(of_mixture(THREE, 0)(x[None], tau), w)[0, 1]
    right = noised_tilt_score(x, tau, 0, w, THREE)[1]
    of_labels = missing_from_labels(x, tau, 0, w, THREE)
    rng = np.random.default_rng(0)
    n = 10_000
    w = 2.0
    start = EXAMPLE[0].mean + rng.standard_normal((n, 2))
    rounds = gibbs_rounds(start, 0.5, w, 4, of_gaussians(*EXAMPLE), rng)
    samples = last(islice(rounds, 12))
    V = stationary_var_of_steps(0.5, w, 4, *EXAMPLE)
    ratio = samples.var(0).mean() / V
    near = 2 * stationary_var(0.005, w, *EXAMPLE) - stationary_var(0.01, w, *EXAMPLE)
    tilted = tilt(*EXAMPLE, w)
    return [
        Check("(M.1) score of the noisy tilted", guided + slope, right, 1e-6),
        Check("(M.2) the missing term", of_labels, missing(x, tau, 0, 3.0, THREE), 1e-6),
        Check("(M.4) small tau: the tilted one", near, tilted.var, 1e-4),
        # A variance of 2 n numbers has the relative standard error 1 / sqrt(n).
        Check("(M.7) variance after 12 rounds, over it", ratio, 1, 5 / n**0.5),
        Check("(M.8) sqrt(tau) = half the distance", crossing(4.0, 4.0), 0.1587, 5e-5),
    ]


def figure() -> Figure:
    """The error over the height, its mean over samples, and the variance at the end of rounds."""
    fig = Figure(figsize=(13, 3.8), layout="constrained")
    error, often, ends = fig.subplots(1, 3)
    heights = np.linspace(-1, 2.5, 71)
    x = np.stack([0 * heights, heights], 1)
    for tau, color in ((1.0, ORANGE), (0.1, BLUE), (0.01, GREEN)):
        guided = mix(of_mixture(THREE, 0)(x, tau), 3.0)
        right = np.array([noised_tilt_score(row, tau, 0, 3.0, THREE) for row in x])
        length = np.sqrt(((guided - right) ** 2).sum(1))
        error.plot(heights, length, color=color, label=rf"$\tau$ = {tau:g}")
    error.axvline(1.5, color=GREY, ls=":", label="mean of the class")
    error.set(xlabel="height on the axis of the class", ylabel="error of the guided score")
    error.set(
        title="Three classes, w = 3: with less noise the\nerror is confined to a narrower interval"
    )
    taus = np.geomspace(1e-2, 1, 9)
    means: list[float] = []
    large: list[float] = []
    for tau in taus:
        size, probability = errors_of_guidance(float(tau), 0, 3.0, THREE)
        means.append(float(probability @ size))
        large.append(float(probability[size > 1].sum()))
    often.loglog(taus, means, "o-", color=BLUE, label="mean error")
    often.loglog(taus, large, "s-", color=ORANGE, label="probability of an error above 1")
    often.set(
        xlabel=r"noise variance $\tau$",
        title="Error at samples of the noisy tilted\ndistribution: rarely large at low noise",
    )
    taus = np.geomspace(1e-2, 1e2, 60)
    small_steps = [stationary_var(float(tau), 2.0, *EXAMPLE) for tau in taus]
    ends.semilogx(taus, small_steps, color=BLUE, label="small steps")
    taus = np.geomspace(1e-2, 3, 40)
    four = [stationary_var_of_steps(float(tau), 2.0, 4, *EXAMPLE) for tau in taus]
    ends.semilogx(taus, four, "--", color=GREEN, label="4 steps per round")
    ends.axhline(0.5, color=GREY, ls=":", label="tilted")
    ends.axhline(0.25, color=ORANGE, ls=":", label="guided DDIM alone")
    ends.set(xlabel=r"noise variance $\tau$ of a round", ylabel="variance at the end")
    ends.set(title="Two Gaussians, w = 2: with low noise the\nrounds end near the tilted variance")
    ends.set(ylim=(0.2, 0.56))
    for ax in (error, often, ends):
        ax.legend(fontsize=8)
    return fig
