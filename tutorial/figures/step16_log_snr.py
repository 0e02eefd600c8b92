"""The angle and the log SNR of three schedules, and the density of the log SNR in training.

The variance of each step for three v, and chains of Algorithm 2 with and without guidance.

The lowest loss and two weights over the log SNR, and the errors of networks trained by both.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure, SubFigure

from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, RED, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import lowest_loss, oracle_eps
from tutorial.step07_sampling import ancestral_sample
from tutorial.step16_log_snr import (
    MIXTURE,
    STEPS,
    algorithm_2,
    algorithm_2_steps,
    errors,
    floors,
    log_snr_density,
    log_snr_grid,
    log_snr_of,
    q_posterior_log_snr,
    reverse_var,
    schedule_from,
    signal_noise,
    trained,
    uniform,
)


def checks_of_process() -> list[Check]:
    """Step 4's coefficients beside those in log SNR; draws of the map."""
    grid = log_snr_grid(16)
    x0, z = np.eye(2)
    n = 100_000
    schedule = schedule_from(grid)
    posterior = q_posterior_log_snr(x0, z, grid[7], grid[8])
    gap = np.append(posterior.mean, posterior.var) - posterior_coefficients(9, schedule)
    draws = log_snr_of(np.random.default_rng(0).random(n))
    inner = float((np.abs(draws) < 1.763).mean())
    return [
        Check("(16.3, 16.4) step 4 at t = 9 of 16", float(np.abs(gap).max()), 0, 1e-12),
        Check("(16.5) log SNR of the table, at t = T", schedule.log_snr[-1], -20, 1e-9),
        Check("(16.8) fraction of draws within 1.763", inner, 0.5, 2 / n**0.5),
    ]


def draw_process(fig: Figure | SubFigure) -> None:
    """The angle and the log SNR of three schedules; the density of the draws of the paper."""
    angle, ratio, density = fig.subplots(1, 3)
    u = np.arange(1, 1001) / 1000
    for name, log_snr, style, color in (
        ("linear", Schedule.linear(1000).log_snr[1:], "-", GREY),
        ("the rule of the paper", log_snr_of(u), "-", BLUE),
        ("cosine", Schedule.cosine(1000).log_snr[1:], "--", ORANGE),
    ):
        angle.plot(u, np.arccos(signal_noise(log_snr)[0]), style, color=color, label=name)
        ratio.plot(u, log_snr, style, color=color)
    angle.set(title=r"Angle $\omega$ of (16.7)", xlabel="u, or t / T")
    ratio.set(title=r"Log SNR $\lambda$", xlabel="u, or t / T", ylim=(-21, 21))
    draws = log_snr_of(np.random.default_rng(0).random(100_000))
    x = np.linspace(-12, 12, 241)
    density.hist(draws, x[::4], density=True, color=BLUE, alpha=0.3, label="100,000 draws")
    density.plot(x, log_snr_density(x), color=BLUE, label="(16.8)")
    density.axhline(1 / 40, ls="--", color=GREY, label="uniform on -20..20")
    density.set(title=r"Density of $\lambda$", xlabel=r"$\lambda$", ylim=(0, 0.22))
    for ax in (angle, density):
        ax.legend(fontsize=8)


def checks_of_log_snr() -> list[Check]:
    """Step 7 on the same grid and noise; the variance across of the top class, w = 1, T = 16."""
    grid = log_snr_grid(16)
    y = np.zeros(10_000, dtype=int)
    schedule = schedule_from(grid)
    model = oracle_eps(three_gaussians(), schedule)
    of_step_7 = ancestral_sample(model, y, schedule, 1.0, np.random.default_rng(0))
    x = algorithm_2(model, y, grid, 1.0, 0.0, np.random.default_rng(0))
    found = [Check("(16.12) v = 0 is step 7", float(np.abs(x - of_step_7).max()), 0, 1e-9)]
    # The expected values are exact, by a sum over the plane. The standard error of a variance is
    # V sqrt(2 / n).
    for v, V in ((0.0, 0.1542), (0.3, 0.1755), (1.0, 0.2570)):
        x = algorithm_2(model, y, grid, 1.0, v, np.random.default_rng(0))
        across = float(x[:, 0].var())
        found.append(Check(f"(16.11) variance across, v = {v}", across, V, 4 * V / 5000**0.5))
    return found


def draw_log_snr(fig: Figure | SubFigure) -> None:
    """The variance of each step for three v; chains of Algorithm 2 without and with guidance."""
    steps, *chains = fig.subplots(1, 3)
    gaps = list(pairwise(log_snr_grid(16).tolist()))
    for v, color in ((1.0, RED), (0.3, ORANGE), (0.0, BLUE)):
        var = [reverse_var(here, there, v) for here, there in gaps]
        steps.semilogy(range(2, 17), var, "o-", ms=3, color=color, label=f"v = {v:g}")
    wide = np.array([reverse_var(here, there, 1.0) for here, there in gaps])
    narrow = np.array([reverse_var(here, there, 0.0) for here, there in gaps])
    steps.semilogy(
        range(2, 17), 0.7 * narrow + 0.3 * wide, ":", color=GREY, label="v = 0.3, not in logarithms"
    )
    steps.set(title=r"Variance $\sigma^2$ of each step, T = 16", xticks=range(2, 17, 2))
    steps.set(xlabel=r"k of the $\lambda_k$ where it ends")
    y = np.repeat([0, 1, 2], 200)
    grid = log_snr_grid(64)
    model = oracle_eps(three_gaussians(), schedule_from(grid))
    for ax, w in zip(chains, (0.0, 3.0), strict=True):
        run = algorithm_2_steps(model, y, grid, w, 0.3, np.random.default_rng(2))
        path = np.array([z for _, z in run])
        for k, color in enumerate(CLASS_COLORS[:3]):
            ax.scatter(*path[-1, y == k].T, s=4, color=color, alpha=0.5, label=f"y = {k}")
            ax.plot(*path[:, 200 * k].T, color=color, lw=0.8)
        ax.set(title=f"Samples, w = {w:g}", xlabel="one chain per class, v = 0.3, T = 64")
        ax.set(aspect="equal", xlim=(-4, 4), ylim=(-3.5, 3.5))
    for ax in (steps, chains[0]):
        ax.legend(fontsize=8)


CHOSEN = 8 * STEPS if "--full" in sys.argv else STEPS


def checks_of_training(steps: int = CHOSEN) -> list[Check]:
    """The floor of each distribution, by a sum; how near the network is, and if it is uniform."""
    mapped = schedule_from(log_snr_grid(200))
    even = schedule_from(uniform(np.linspace(1, 0, 200)))
    low = np.mean([lowest_loss(0, t, MIXTURE, mapped) for t in range(1, 201)])
    low_uniform = np.mean([lowest_loss(0, t, MIXTURE, even) for t in range(1, 201)])
    floor, floor_uniform = floors(0.25, 2)
    cond = np.mean(errors(trained(steps), log_snr_grid(50), False))
    null = np.mean(errors(trained(steps), log_snr_grid(50), True))
    middle = np.linspace(-1.76, 1.76, 9)
    ours = np.mean(errors(trained(steps), middle, False))
    theirs = np.mean(errors(trained(steps, uniform), middle, False))
    return [
        Check("(16.16) floor, mean over 200 t", float(low), floor, 0.005),
        Check("(16.17) floor, 200 even lambdas", float(low_uniform), floor_uniform, 0.005),
        Check("(16.15) conditional error, mean over u", float(cond), 0, 0.01),
        Check("(16.15) null error, mean over u", float(null), 0, 0.03),
        Check("(16.15) error in the middle: uniform / (16.6)", float(theirs / ours), 3.5, 1.5),
    ]


def draw_training(fig: Figure | SubFigure, steps: int = CHOSEN) -> None:
    """The lowest loss over lambda with both densities; the errors of both trainings."""
    loss, *panels = fig.subplots(1, 3)
    x = np.linspace(-12, 12, 49)
    least = [lowest_loss(0, t, MIXTURE, schedule_from(x)) for t in range(49, 0, -1)]
    loss.plot(x, least, color=GREY, label=r"lowest $L(\lambda)$, one class")
    loss.plot(x, 1 / np.cosh(x / 2), color=BLUE, label="weight: the rule of the paper")
    loss.axhline(2 * np.pi / 40, color=ORANGE, label="weight: uniform")  # both times 2 pi
    loss.set(title="The loss and its weight", xlabel=r"$\lambda$")
    for ax, null, name in zip(panels, (False, True), ("with labels", "null label"), strict=True):
        of_map = errors(trained(steps), x, null)
        of_uniform = errors(trained(steps, uniform), x, null)
        ax.semilogy(x, of_map, color=BLUE, label="by the rule of the paper")
        ax.semilogy(x, of_uniform, color=ORANGE, label="uniformly")
        ax.set(title=f"Mean square error, {name}", xlabel=r"$\lambda$", ylim=(3e-4, 0.2))
    for ax in (loss, panels[0]):
        ax.legend(fontsize=8)


def checks(steps: int = CHOSEN) -> list[Check]:
    """All numbers that the lesson checks."""
    return [
        *checks_of_process(),
        *checks_of_log_snr(),
        *checks_of_training(steps),
    ]


def figure(steps: int = CHOSEN) -> Figure:
    """The angle and the log SNR of three schedules; the density of the draws of the paper.

    In the middle: the variance of each step for three v; chains of Algorithm 2 without and with
    guidance. Below: the lowest loss over lambda with both densities; the errors of both
    trainings.
    """
    fig = Figure(figsize=(11, 10.6), layout="constrained")
    top, middle, bottom = cast(Any, fig).subfigures(3, 1, height_ratios=(3.4, 3.6, 3.6))
    draw_process(top)
    draw_log_snr(middle)
    draw_training(bottom, steps)
    return fig
