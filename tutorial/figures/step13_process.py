"""The angle and the log SNR of three schedules, and the density of the log SNR in training."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step00_notation import Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step13_process import (
    log_snr_density,
    log_snr_grid,
    log_snr_of,
    q_posterior_log_snr,
    schedule_from,
    signal_noise,
)


def checks() -> list[Check]:
    """Step 4's coefficients beside those in log SNR; draws of the map."""
    grid = log_snr_grid(16)
    x0, z = np.eye(2)
    n = 100_000
    schedule = schedule_from(grid)
    law = q_posterior_log_snr(x0, z, grid[7], grid[8])
    gap = np.append(law.mean, law.var) - posterior_coefficients(9, schedule)
    draws = log_snr_of(np.random.default_rng(0).random(n))
    inner = float((np.abs(draws) < 1.763).mean())
    return [
        Check("(13.3, 13.4) step 4 at t = 9 of 16", float(np.abs(gap).max()), 0, 1e-12),
        Check("(13.5) log SNR of the table, at t = T", schedule.log_snr[-1], -20, 1e-9),
        Check("(13.8) share of draws within 1.763", inner, 0.5, 2 / n**0.5),
    ]


def figure() -> Figure:
    """The angle and the log SNR of three schedules; where the paper's map puts its draws."""
    fig = Figure(figsize=(11, 3.4), layout="constrained")
    angle, ratio, density = fig.subplots(1, 3)
    u = np.arange(1, 1001) / 1000
    for name, log_snr, style, color in (
        ("linear", Schedule.linear(1000).log_snr[1:], "-", GREY),
        ("the paper's map", log_snr_of(u), "-", BLUE),
        ("cosine", Schedule.cosine(1000).log_snr[1:], "--", ORANGE),
    ):
        angle.plot(u, np.arccos(signal_noise(log_snr)[0]), style, color=color, label=name)
        ratio.plot(u, log_snr, style, color=color)
    angle.set(title="Angle: its cosine is the signal", xlabel="u, or t / T")
    ratio.set(title=r"Log SNR $\lambda$", xlabel="u, or t / T", ylim=(-21, 21))
    draws = log_snr_of(np.random.default_rng(0).random(100_000))
    x = np.linspace(-12, 12, 241)
    density.hist(draws, x[::4], density=True, color=BLUE, alpha=0.3, label="100,000 draws")
    density.plot(x, log_snr_density(x), color=BLUE, label="(13.8)")
    density.axhline(1 / 40, ls="--", color=GREY, label="uniform on -20..20")
    density.set(title=r"Density of $\lambda$", xlabel=r"$\lambda$", ylim=(0, 0.22))
    for ax in (angle, density):
        ax.legend(fontsize=8)
    return fig
