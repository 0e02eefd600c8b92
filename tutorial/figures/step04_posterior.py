"""The figure shows the two factors of the posterior, its weights, and its variance."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, RED, Check
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step04_posterior import (
    likelihood_of_xprev,
    posterior_coefficients,
    product,
    q_posterior,
)


def checks() -> list[Check]:
    """A million chains from one x_0, kept if they pass near one x_2: where were they at t = 1?

    Then a product of two Gaussians beside the sum of their logarithms, point by point.
    """
    schedule = Schedule.linear(10)
    rng = np.random.default_rng(0)
    n = 1_000_000
    x0 = 1.0
    t = 3
    target = 0.2
    window = 0.02
    x = [np.full(n, x0)]
    for s in range(1, t + 1):
        z = rng.standard_normal(n)
        x.append(np.sqrt(schedule.alpha[s]) * x[-1] + np.sqrt(schedule.beta[s]) * z)
    kept = x[t - 1][np.abs(x[t] - target) < window]
    posterior = q_posterior(np.array([x0]), np.array([target]), t, schedule)
    error = kept.std() / np.sqrt(len(kept))
    c_0, c_t, var = posterior_coefficients(1, schedule)
    g1 = Gaussian(np.ones(1), 0.5)
    g2 = Gaussian(-np.ones(1), 2.0)
    grid = np.linspace(-3, 3)[:, None]
    left = g1.log_density(grid) + g2.log_density(grid) - product(g1, g2).log_density(grid)
    return [
        Check("(4.5, 4.6) mean, by chains", kept.mean(), posterior.mean[0], 4 * error),
        Check("(4.4) variance, the same chains", kept.var(), posterior.var, 0.02 * posterior.var),
        Check("(4.8) at t = 1: weight of x_0", c_0, 1, 1e-15),
        Check("(4.8) at t = 1: weight of x_1", c_t, 0, 0),
        Check("(4.8) at t = 1: variance", var, 0, 0),
        Check("(4.1, 4.2) what is left varies by", float(np.ptp(left)), 0, 1e-12),
    ]


def figure() -> Figure:
    """The two clues and their product at one t; then the coefficients and the variance over t."""
    fig = Figure(figsize=(11, 3.4), layout="constrained")
    bayes, weights, variances = fig.subplots(1, 3)
    schedule = Schedule.linear(10)
    t = 3
    x0 = np.array([1.0])
    xt = np.array([0.2])
    x = np.linspace(-2, 3, 400)[:, None]
    abar_prev = schedule.alpha_bar[t - 1]
    marginal = Gaussian(np.sqrt(abar_prev) * x0, float(1 - abar_prev))
    for label, g, color in (
        ("first clue: $x_0 = 1$", marginal, BLUE),
        ("second clue: $x_3 = 0.2$", likelihood_of_xprev(xt, t, schedule), ORANGE),
        ("posterior", q_posterior(x0, xt, t, schedule), RED),
    ):
        bayes.plot(x, np.exp(g.log_density(x)), color=color, label=label)
    bayes.set(xlabel="$x_2$", ylabel="density", title="Two clues and the posterior (T = 10)")
    schedule = Schedule.linear(100)
    times = range(1, 101)
    table = np.array([posterior_coefficients(t, schedule) for t in times])
    c_0 = table[:, 0]
    c_t = table[:, 1]
    posterior_var = table[:, 2]
    weights.plot(times, c_0, color=BLUE, label="$c_0$, of the data point")
    weights.plot(times, c_t, color=ORANGE, label="$c_t$, of the later state")
    weights.set(xlabel="t", ylabel="coefficient", title="Coefficients of the mean (T = 100)")
    variances.plot(times, posterior_var / schedule.beta[1:], ".-", color=RED)
    variances.axhline(1, color=GREY, lw=0.8)
    variances.set(xlabel="t", ylim=(0, 1.05), title="Posterior variance divided by $\\beta_t$")
    variances.set_ylabel(r"$\tilde\beta_t / \beta_t$")
    for ax in (bayes, weights):
        ax.legend(fontsize=8)
    bayes.set_ylim(0, 1.25 * bayes.get_ylim()[1])  # room for the legend
    return fig
