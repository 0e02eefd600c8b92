"""Means and variances of three distributions over w, why they differ, and samples of the chains."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.h_gaussian_pairs import (
    EXAMPLE,
    ddim_law,
    ddpm_law,
    differences_from_tilted,
    most_probable_point,
    sampled,
)
from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step02_forward import Gaussian
from tutorial.step11_guidance import tilt

ENDS = (("tilted", tilt, GREY), ("DDPM", ddpm_law, BLUE), ("DDIM", ddim_law, ORANGE))


def checks() -> list[Check]:
    """Samples of both chains against the limits for three weights; the two integrals."""
    found: list[Check] = []
    for w in (1.0, 2.0, 4.0):
        by_algorithm_2, by_ddim = sampled(w)
        for name, x, limit, of_mean, of_var in (
            ("Algorithm 2", by_algorithm_2, ddpm_law(*EXAMPLE, w), "H.4", "H.3"),
            ("DDIM", by_ddim, ddim_law(*EXAMPLE, w), "H.2", "H.1"),
        ):
            what = f"w = {w:g}, {name}"
            mean = x[:, 0].mean()
            square = (x - x.mean(0)) ** 2
            var = square.mean()  # both axes have the same variance
            # 256 steps lose up to 2.6 % of the variance, and 0.002 of the mean.
            error_of_mean = x[:, 0].std() / len(x) ** 0.5
            error_of_var = square.std() / square.size**0.5
            of_steps = 0.026 * limit.var
            found += [
                Check(f"({of_mean}) mean, {what}", mean, limit.mean[0], 4 * error_of_mean + 0.002),
                Check(f"({of_var}) variance, {what}", var, limit.var, 4 * error_of_var + of_steps),
            ]
    overshoot, lost = differences_from_tilted(*EXAMPLE, 2.0)
    return [
        *found,
        Check("(H.7) w = 2, overshoot of DDPM", overshoot[0, 0], 0.25, 1e-9),
        Check("(H.7) w = 2, overshoot of DDIM", overshoot[1, 0], 0.5, 1e-9),
        Check("(H.8) w = 2, lost variance of DDPM", lost[0], 0.1125, 1e-9),
        Check("(H.8) w = 2, lost variance of DDIM", lost[1], 0.25, 1e-9),
        Check("(H.10) most probable point", most_probable_point(*EXAMPLE)[0], 2, 1e-12),
    ]


def draw_moments(means: Any, variances: Any) -> None:
    """Means and variances over w; dots are measured."""
    weights = np.linspace(-1, 8, 91)
    for name, end, color in ENDS:
        each = [end(*EXAMPLE, w) for w in weights]
        means.plot(weights, [law.mean[0] for law in each], color=color, label=name)
        variances.semilogy(weights, [law.var for law in each], color=color, label=name)
    for k, color in ((0, BLUE), (1, ORANGE)):
        for w in (1.0, 2.0, 4.0):
            x = sampled(w)[k]
            means.plot(w, x[:, 0].mean(), "o", color=color)
            variances.plot(w, x.var(0).mean(), "o", color=color)
    point = most_probable_point(*EXAMPLE)[0]
    means.axhline(point, color=GREY, ls=":", label="$p(y | x)$ is largest")
    means.plot([], [], "o", color=GREY, label="20,000 samples, 256 levels")
    means.set(title="For w > 0 both chains overshoot the\ntilted mean, DDIM more (class mean 1)")
    means.set(xlabel="w", ylabel="mean of the samples", ylim=(-0.05, 3.6))
    variances.set(title="For w > 0 both variances are too small;\nDDIM's falls exponentially in w")
    variances.set(xlabel="w", ylabel="variance of the samples", ylim=(3e-3, 4))
    means.legend(fontsize=8, loc="upper left")
    variances.legend(fontsize=8, loc="lower left")


def draw_way(ax: Any) -> None:
    """The means of both chains, and of the distribution of the guided score, at each level."""
    given_y, var_all = EXAMPLE
    taus = np.logspace(4, -3, 141)
    names = {"tilted": "mean $h$ of the guided score", "DDPM": "DDPM", "DDIM": "DDIM"}
    for name, end, color in ENDS:
        # Down to a level, a chain runs as if the data contained the noise of this level.
        levels = [(Gaussian(given_y.mean, given_y.var + tau), var_all + tau) for tau in taus]
        means = [end(*pair, 2.0).mean[0] for pair in levels]
        ax.semilogx(taus, means, color=color, label=names[name])
    ax.invert_xaxis()
    ax.set_ylim(1.4, 3.7)
    ax.set(
        title="The mean that a chain follows falls on the way;\nDDIM retains more of earlier levels"
    )
    ax.set(
        xlabel=r"$\tau$: noise on the left, data on the right", ylabel="mean at each level, w = 2"
    )
    ax.legend(fontsize=8, loc="upper right")


def draw_densities(ax: Any) -> None:
    """The three densities at w = 2 along the direction of the mean, and samples."""
    x = np.linspace(-1.5, 4.5, 400)
    for name, end, color in ENDS:
        law = end(*EXAMPLE, 2.0)
        density = np.exp(-((x - law.mean[0]) ** 2) / (2 * law.var)) / np.sqrt(2 * np.pi * law.var)
        ax.plot(x, density, color=color, label=name)
    for k, color in ((0, BLUE), (1, ORANGE)):
        ax.hist(sampled(2.0)[k, :, 0], 80, density=True, color=color, alpha=0.3)
    ax.set(title="w = 2: samples of the chains (bars)\nfollow their own limits (lines)")
    ax.set(xlabel="x along the mean of the class", ylabel="density")
    ax.legend(fontsize=8)


def figure() -> Figure:
    """Means and variances over w; the means on the way to the data; densities at w = 2."""
    fig = Figure(figsize=(16, 4), layout="constrained")
    means, variances, way, densities = fig.subplots(1, 4)
    draw_moments(means, variances)
    draw_way(way)
    draw_densities(densities)
    return fig
