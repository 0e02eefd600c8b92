"""The figure shows the two factors of the posterior, its weights, and its variance."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, RED, Check
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step04_posterior import posterior_coefficients, product, q_posterior


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
        Check("(4.1, 4.2) mean, by chains", kept.mean(), posterior.mean[0], 4 * error),
        Check("(4.3) variance, the same chains", kept.var(), posterior.var, 0.02 * posterior.var),
        Check("(4.5) at t = 1: weight of x_0", c_0, 1, 1e-15),
        Check("(4.5) at t = 1: weight of x_1", c_t, 0, 0),
        Check("(4.5) at t = 1: variance", var, 0, 0),
        Check("(4.6, 4.7) what is left varies by", float(np.ptp(left)), 0, 1e-12),
    ]


def figure() -> Figure:
    """The two factors and their product at one t; then both weights and both variances over t."""
    fig = Figure(figsize=(11, 3.4), layout="constrained")
    bayes, weights, variances = fig.subplots(1, 3)
    schedule = Schedule.linear(10)
    t = 3
    x0 = np.array([1.0])
    xt = np.array([0.2])
    x = np.linspace(-2, 3, 400)[:, None]
    alpha = schedule.alpha[t]
    beta = schedule.beta[t]
    abar_prev = schedule.alpha_bar[t - 1]
    step = Gaussian(xt / np.sqrt(alpha), float(beta / alpha))
    marginal = Gaussian(np.sqrt(abar_prev) * x0, float(1 - abar_prev))
    posterior = q_posterior(x0, xt, t, schedule)
    for label, g, color in (
        ("$q(x_t | x)$ in $x$", step, ORANGE),
        ("$q(x | x_0)$", marginal, BLUE),
        ("posterior", posterior, RED),
    ):
        bayes.plot(x, np.exp(g.log_density(x)), color=color, label=label)
    bayes.set(xlabel="$x_{t-1}$", ylabel="density", title="Bayes at t = 3 of 10")
    bayes.legend(fontsize=8)
    schedule = Schedule.linear(100)
    table = np.array([posterior_coefficients(t, schedule) for t in range(1, 101)])
    c_0 = table[:, 0]
    c_t = table[:, 1]
    posterior_var = table[:, 2]
    weights.plot(range(1, 101), c_0, color=BLUE, label="$c_0$, of the data")
    weights.plot(range(1, 101), c_t, color=ORANGE, label="$c_t$, of the present")
    weights.set(xlabel="t", title="What the mean listens to (T = 100)")
    weights.legend(fontsize=8)
    variances.semilogy(range(1, 101), schedule.beta[1:], color=GREY, label=r"$\beta_t$")
    label = r"$\tilde\beta_t$, 0 at t = 1"
    variances.semilogy(range(2, 101), posterior_var[1:], color=RED, label=label)
    variances.set(xlabel="t", title="Its variance is not $\\beta_t$")
    variances.legend(fontsize=8)
    return fig
