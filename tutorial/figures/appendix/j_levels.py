"""Two tilted distributions that noise does not link, and the rate at which density is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.h_gaussian_pairs import EXAMPLE
from tutorial.appendix.j_levels import (
    added,
    added_in_noise,
    chi_squared,
    chi_squared_slope,
    langevin,
    log_level,
    mean_and_spread,
    of_gaussians,
    of_mixture,
)
from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Gaussian
from tutorial.step11_guidance import tilt

W = 3.0


def bell(line: np.ndarray, mean: float, var: float) -> np.ndarray:
    """The normal density along a line."""
    return np.exp(-((line - mean) ** 2) / (2 * var)) / (2 * np.pi * var) ** 0.5


def checks() -> list[Check]:
    """The change of a level, samples under Langevin steps, the rate in the noise, a distance."""
    three = three_gaussians()
    tau = 0.7
    h = 1e-3
    point = np.array([[0.3, -0.2]])

    def q(tau: float, right: float, up: float) -> float:
        """The tilted density of the level at the point, moved to the right and up."""
        x = point + np.array([[right, up]])
        return float(np.exp(log_level(x, tau, 0, W, three))[0])

    change = (q(tau + h, 0, 0) - q(tau - h, 0, 0)) / (2 * h)
    around = q(tau, h, 0) + q(tau, -h, 0) + q(tau, 0, h) + q(tau, 0, -h) - 4 * q(tau, 0, 0)
    spread = around / (2 * h**2)
    rate = float(added(of_mixture(three, 0)(point, tau), W)[0])
    lost = rate * q(tau, 0, 0)
    given_y = Gaussian(np.array([0.6, -0.4]), 0.8)
    n = 100_000
    # With w = 0 the tilted distribution is the class. 10 steps of 0.02 widen it by 0.3 %.
    x = given_y.mean + given_y.var**0.5 * np.random.default_rng(0).standard_normal((n, 2))
    rng = np.random.default_rng(1)
    for _ in range(10):
        x = langevin(x, 0.0, 0.0, 0.02, of_gaussians(given_y, 1.0), rng)
    allowed = 0.003 + 5 * 0.8 / n**0.5
    mean, _ = mean_and_spread(1e4, 0, W, three)
    line = np.linspace(-9, 9, 301)
    side = float(line[1] - line[0])
    target = np.outer(bell(line, 0.0, 1.0), bell(line, 0.0, 1.0))
    samples = np.outer(bell(line, 0.5, 1.0), bell(line, 0.0, 1.0))
    later = np.outer(bell(line, 0.5 * float(np.exp(-0.005)), 1.0), bell(line, 0.0, 1.0))
    fall = (chi_squared(later, target, side) - chi_squared(samples, target, side)) / 0.01
    slope = chi_squared_slope(samples, target, side)
    return [
        # The differences are off by h^2 times derivatives of the order of q.
        Check("(J.2) change of q with tau", change, spread - lost, 1e-5),
        Check("(J.1) variance after Langevin steps", x.var(0).mean(), given_y.var, allowed),
        # 1 / sqrt(tau) = 0.01, squared, and some factor.
        Check("(J.4) rate in the noise, ratio", mean / added_in_noise(1e4, 0, W, three), 1, 5e-3),
        # The first order of a difference of 0.01 in the running time.
        Check("(J.5) slope of chi^2", slope, fall, 0.01),
    ]


def draw_two_levels(ax: Any) -> None:
    """The example of the text: densities of numbers, along the first coordinate."""
    given_y, var_all = EXAMPLE
    line = np.linspace(-3, 6, 300)
    clean = tilt(given_y, var_all, 2.0)
    level = tilt(Gaussian(given_y.mean, given_y.var + 1), var_all + 1, 2.0)
    m = float(clean.mean[0])
    ax.plot(line, bell(line, m, clean.var), color=GREY, label=r"tilted, $\tau$ = 0: N(1.5, 0.5)")
    with_noise = bell(line, m, clean.var + 1)
    ax.plot(line, with_noise, color=ORANGE, label="the same with noise 1: N(1.5, 1.5)")
    at_level = bell(line, float(level.mean[0]), level.var)
    ax.plot(line, at_level, color=BLUE, label=r"tilted, $\tau$ = 1: N(1.8, 1.2)")
    ax.set(title="Noise does not lead from one\ntilted distribution to the next")
    ax.set(xlabel="x (two Gaussians, w = 2)", ylabel="density", ylim=(0, 0.85))
    ax.legend(fontsize=8)


def draw_rate(ax: Any) -> None:
    """The rate along the axis of the top class, at four levels, and where its samples are."""
    height = np.linspace(-1, 4, 300)
    x = np.stack([0 * height, height], 1)
    scores = of_mixture(three_gaussians(), 0)
    for tau, color in ((0.1, "0.75"), (0.3, "0.5"), (1.0, "0.25"), (3.0, "0")):
        rate = added(scores(x, tau), W)
        ax.semilogy(height, rate, color=color, label=rf"$\tau$ = {tau:g}")
    ax.axvline(1.5, color=BLUE, ls=":", label="mean of the class")
    ax.set(title="The rate g: large between the\nclasses, small inside the class")
    ax.set(xlabel="height (three classes, w = 3)", ylabel=r"rate g, as $\tau$ falls by 1")
    ax.set(ylim=(1e-3, 300))
    ax.legend(fontsize=8)


def draw_levels(ax: Any) -> None:
    """Mean and standard deviation of the rate over each level, per unit of log tau."""
    taus = np.geomspace(1e-3, 1e3, 37)
    found = np.array([mean_and_spread(float(tau), 0, W, three_gaussians()) for tau in taus])
    ax.semilogx(taus, taus * found[:, 0], color=GREY, label="mean (only changes the mass)")
    ax.semilogx(taus, taus * found[:, 1], color=ORANGE, label="standard deviation")
    far = taus[taus > 20]
    limit = [tau * added_in_noise(float(tau), 0, W, three_gaussians()) for tau in far]
    ax.semilogx(far, limit, "--", color="black", lw=1, label="limit (J.4) of the mean")
    ax.set(title="The middle levels change\nthe shape of the density")
    ax.set(
        xlabel=r"noise level $\tau$", ylabel=r"$\tau$ g over the tilted distribution", ylim=(0, 1.9)
    )
    ax.legend(fontsize=8)


def figure() -> Figure:
    """Left: two levels. Middle: the rate over places. Right: the rate over levels."""
    fig = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = fig.subplots(1, 3)
    draw_two_levels(left)
    draw_rate(middle)
    draw_levels(right)
    return fig
