"""The figure compares the true reverse step for data at -1 and 1 with two Gaussians."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, ORANGE, RED, Check
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import v_from, x0_coefficients
from tutorial.step06_reverse import mean_from_eps, p_xprev_given_xt, reverse_var, two_point_density


def checks() -> list[Check]:
    """The same mean from two units, the variance of data N(0, I), both ends."""
    schedule = Schedule.cosine(1000)
    t = 400
    x0, eps = np.random.default_rng(0).standard_normal((2, 100, 2))
    xt = xt_from_x0(x0, eps, t, schedule)
    v = v_from(x0, eps, t, schedule)
    mean_of_v = p_xprev_given_xt(xt, v, t, schedule, "v").mean
    gap = np.abs(mean_of_v - mean_from_eps(eps, xt, t, schedule)).max()
    var = reverse_var(1 - schedule.alpha_bar[t], t, schedule)
    last = p_xprev_given_xt(xt, eps, 1, schedule)
    _, q = x0_coefficients(1000, schedule)
    return [
        Check("(6.4) mean from eps, mean from v", gap, 0, 1e-12),
        Check("(6.3) data N(0, I)", var, schedule.beta[t], 1e-14),
        Check("(6.6) variance at t = 1", last.var, 0, 0),
        Check("(5.7) |q| at T", -q, np.exp(-schedule.log_snr[-1] / 2), 1e-6),
    ]


def figure() -> Figure:
    """The true reverse step for data at -1 and 1, the model, and a Gaussian of the true moments."""
    fig = Figure(figsize=(11, 3.4), layout="constrained")
    for ax, T in zip(fig.subplots(1, 3), (4, 16, 1000), strict=True):
        schedule = Schedule.cosine(T)
        t = T // 2
        var = reverse_var(1.0, t, schedule)
        model = p_xprev_given_xt(np.zeros(1), np.zeros(1), t, schedule, "x0")
        x = np.sqrt(var) * np.linspace(-3.5, 3.5, 400)
        same_moments = Gaussian(np.zeros(1), var)
        ax.plot(x, two_point_density(x, 0.0, t, schedule), color=BLUE, label="true density")
        for g, style, color, label in (
            (same_moments, "--", ORANGE, "same mean and variance"),
            (model, ":", RED, "model"),
        ):
            ax.plot(x, np.exp(g.log_density(x[:, None])), style, color=color, label=label)
        ax.set(xlabel="$x_{t-1}$, given $x_t = 0$", ylabel="density")
        ax.set_title(rf"T = {T}, t = {t}, $\beta_t$ = {schedule.beta[t]:.2g}")
        ax.set_ylim(0, 1.35 * ax.get_ylim()[1])  # room for the legend
        ax.legend(fontsize=8, loc="upper right")
    return fig
