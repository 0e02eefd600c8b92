"""The figure shows both schedules over time: the noise of one step, the signal, and the log SNR."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, ORANGE, Check
from tutorial.step00_notation import Gaussian, Schedule, product


def checks() -> list[Check]:
    """Where the linear schedule ends at T = 1000; what a product leaves over, point by point."""
    g1 = Gaussian(np.ones(1), 0.5)
    g2 = Gaussian(-np.ones(1), 2.0)
    x = np.linspace(-3, 3)[:, None]
    left = g1.log_density(x) + g2.log_density(x) - product(g1, g2).log_density(x)
    abar_T = Schedule.linear(1000).alpha_bar[-1]
    return [
        Check("(0.2, 0.4) linear: alpha_bar at T", abar_T, 4e-5, 1e-6),
        Check("(0.7, 0.8) what is left varies by", float(np.ptp(left)), 0, 1e-12),
    ]


def figure() -> Figure:
    """The table itself, the signal and the log SNR over time, for both schedules."""
    fig = Figure(figsize=(11, 3.4), layout="constrained")
    noise, signal, ratio = fig.subplots(1, 3)
    t = np.arange(1, 1001)
    linear = Schedule.linear(1000)
    cosine = Schedule.cosine(1000)
    for name, schedule, color in (("linear", linear, BLUE), ("cosine", cosine, ORANGE)):
        noise.semilogy(t, schedule.beta[1:], color=color, label=name)
        signal.plot(t, schedule.alpha_bar[1:], color=color)
        ratio.plot(t, schedule.log_snr[1:], color=color)
    noise.set(xlabel="t", ylabel=r"$\beta_t$", title="Noise added by one step (T = 1000)")
    signal.set(xlabel="t", ylabel=r"$\bar\alpha_t$", title="Share of the variance that is data")
    ratio.set(xlabel="t", ylabel=r"$\lambda_t$", title="Log signal-to-noise ratio")
    noise.legend(fontsize=8)
    return fig
