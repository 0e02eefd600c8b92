"""The rate of information and its area, the information itself, and its gain per step."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.q_information import (
    area,
    information,
    information_from_entropies,
    label_rate,
    label_rate_in_noise,
)
from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step01_toy_data import GaussianMixture, pinwheel, three_gaussians
from tutorial.step02_forward import Schedule


def checks() -> list[Check]:
    """The slope of the information, its area, two ways to compute it, and the noise end."""
    three = three_gaussians()
    wheel = pinwheel()
    slope = (information(wheel, 0.001) - information(wheel, -0.001)) / 0.002
    grid = np.arange(-12, 13.0)
    rates = np.array([label_rate(three, float(level)) for level in grid])
    by_entropies = information_from_entropies(wheel, 1.0)
    weak = label_rate_in_noise(three, -8.0) / label_rate(three, -8.0)
    return [
        Check("(Q.2) information by entropies", by_entropies, information(wheel, 1.0), 1e-7),
        Check("(Q.4) slope of the information", label_rate(wheel, 0.0), slope, 1e-6),
        Check("(Q.5) area, three Gaussians", area(rates, grid), information(three, 12.0), 1e-4),
        Check("(Q.7) rate in the noise, ratio", weak, 1, 1e-3),
    ]


def draw_rate(ax: Any, grid: np.ndarray, rates: dict[str, np.ndarray], half: float) -> None:
    """The rate over the log SNR, with the area up to the level of half of the information."""
    name = "three Gaussians"
    gained = grid <= half
    for each, color in ((name, BLUE), ("pinwheel", ORANGE)):
        ax.plot(grid, rates[each], color=color, label=f"{each}: area {area(rates[each], grid):.3f}")
    ax.fill_between(
        grid[gained], rates[name][gained], color=BLUE, alpha=0.2, lw=0, label="half of its area"
    )
    ax.set(title="The rate of information is half of the\nmean squared effect of a label on eps")
    ax.set(
        xlabel="log SNR: noise on the left, data on the right", ylabel="nats per unit of log SNR"
    )
    ax.set(ylim=(0, 0.46), xlim=(-9, 9), xticks=range(-8, 9, 4))
    ax.legend(fontsize=8, loc="upper left")


def draw_information(ax: Any, grid: np.ndarray, rates: dict[str, np.ndarray]) -> None:
    """The area under the rate up to each level, and the information from p(y | x_t)."""
    for name, mixture, color in (
        ("three Gaussians", three_gaussians(), BLUE),
        ("pinwheel", pinwheel(), ORANGE),
    ):
        rate = rates[name]
        areas = np.cumsum(np.append(0, np.diff(grid) * (rate[1:] + rate[:-1]) / 2))
        ax.plot(grid, areas, color=color, label=f"area: {name}")
        levels = np.arange(-8, 9.0)
        exact = [information(mixture, float(level)) for level in levels]
        ax.plot(levels, exact, "o", ms=4, mfc="none", color=color)
        ax.axhline(np.log(mixture.num_classes), ls=":", lw=1, color=color)
    ax.plot([], [], "o", ms=4, mfc="none", color=GREY, label="mean of (Q.1)")
    ax.annotate("log 5: entropy of the label", (-8, np.log(5) - 0.09), fontsize=8, color=GREY)
    ax.annotate("log 3: entropy of the label", (-8, np.log(3) - 0.09), fontsize=8, color=GREY)
    ax.set(title="The area up to a log SNR is the\ninformation of $x_t$ about the label")
    ax.set(xlabel="log SNR", ylabel="information, nats")
    ax.set(xlim=(-9, 9), xticks=range(-8, 9, 4))
    ax.legend(fontsize=8, loc="lower right")


def draw_steps(ax: Any) -> None:
    """The gain of each step of two chains; the sum is the same."""
    mixture: GaussianMixture = three_gaussians()
    for name, schedule, color in (
        ("cosine", Schedule.cosine(100), BLUE),
        ("linear", Schedule.linear(100), ORANGE),
    ):
        known = np.array([information(mixture, float(level)) for level in schedule.log_snr[1:]])
        gain = known[:-1] - known[1:]
        t = np.arange(2, 101)
        half = int(np.abs(known - known[0] / 2).argmin()) + 1
        ax.plot(t, gain, color=color, label=f"{name}: sum {gain.sum():.3f}, half at t = {half}")
        ax.axvline(half, ls=":", lw=1, color=color)
    ax.invert_xaxis()
    ax.set(title="The gain of a step from t to t - 1\ndepends on the schedule (three Gaussians)")
    ax.set(xlabel="t of 100: noise on the left, data on the right", ylabel="nats per step")
    ax.set(ylim=(0, 0.042))
    ax.legend(fontsize=8, loc="upper left")


def figure() -> Figure:
    """Left: the rate. Middle: its area and the information. Right: the gain per step."""
    fig = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = fig.subplots(1, 3)
    grid = np.arange(-12, 12.1, 0.25)
    rates: dict[str, np.ndarray] = {}
    for name, mixture in (("three Gaussians", three_gaussians()), ("pinwheel", pinwheel())):
        rates[name] = np.array([label_rate(mixture, float(level)) for level in grid])
    draw_rate(left, grid, rates, half=-0.21)
    draw_information(middle, grid, rates)
    draw_steps(right)
    return fig
