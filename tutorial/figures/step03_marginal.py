"""The figure shows chains inside their marginal, the marginal at four times, and its KL."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, RED, Check
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import (
    kl_to_noise,
    one_more_step,
    q_xt_given_x0,
    q_xt_given_xs,
    var_given_xs_by_log_snr,
)


def checks() -> list[Check]:
    """A thousand merged steps, simulated chains, a longer step, and the divergence at the end."""
    linear = Schedule.linear(1000)
    kept = 1.0
    noise = 0.0
    for alpha in linear.alpha[1:]:
        kept, noise = one_more_step(kept, float(alpha))

    short = Schedule.linear(10)
    rng = np.random.default_rng(0)
    n = 200_000
    one = np.ones(1)
    x = np.full(n, 1.0)
    for s in range(1, 5):
        x = np.sqrt(short.alpha[s]) * x + np.sqrt(short.beta[s]) * rng.standard_normal(n)
    g = q_xt_given_x0(one, 4, short)
    error = x.std() / np.sqrt(n)
    direct_var = q_xt_given_xs(one, 300, 700, linear).var
    by_log_snr = var_given_xs_by_log_snr(300, 700, linear)
    nats = float(kl_to_noise(one, 1000, linear))
    return [
        Check("(3.3) noise after 1000 merged steps", noise, 1 - linear.alpha_bar[-1], 1e-13),
        Check("(3.1) mean at t = 4, by 200,000 chains", x.mean(), g.mean[0], 4 * error),
        Check("(3.1) variance, the same chains", x.var(), g.var, 4 * g.var * np.sqrt(2 / n)),
        Check("(3.6) variance from 300 to 700", direct_var, by_log_snr, 1e-13),
        Check("(3.7) variance at t = 0", q_xt_given_x0(one, 0, linear).var, 0, 0),
        Check("(3.8) nats at T, linear, first order", nats, linear.alpha_bar[-1] / 2, 1e-9),
    ]


def figure() -> Figure:
    """Chains inside their marginal; the marginal at four times; its divergence from noise."""
    fig = Figure(figsize=(11, 3.4), layout="constrained")
    chains, densities, divergence = fig.subplots(1, 3)
    schedule = Schedule.linear(100)
    rng = np.random.default_rng(1)
    x0 = np.array([2.0])
    x = np.full((101, 12), x0[0])
    for t in range(1, 101):
        noise = np.sqrt(schedule.beta[t]) * rng.standard_normal(12)
        x[t] = np.sqrt(schedule.alpha[t]) * x[t - 1] + noise
    mean = np.sqrt(schedule.alpha_bar) * x0
    band = 2 * np.sqrt(1 - schedule.alpha_bar)
    chains.plot(x, color=GREY, lw=0.6)
    chains.plot(mean, color=BLUE, label=r"$\sqrt{\bar\alpha_t}\, x_0$")
    chains.fill_between(
        range(101),
        mean - band,
        mean + band,
        color=BLUE,
        alpha=0.15,
        lw=0,
        label="2 standard deviations",
    )
    chains.set(xlabel="t", ylabel="$x_t$", title="12 chains and their marginals, $x_0 = 2$")
    chains.set(ylim=(-3.4, 4.6))
    chains.legend(fontsize=8, loc="upper right")
    grid = np.linspace(-3.5, 3.5, 500)[:, None]
    for t, color in ((5, BLUE), (20, ORANGE), (50, RED), (100, GREY)):
        density = np.exp(q_xt_given_x0(x0, t, schedule).log_density(grid))
        densities.plot(grid, density, color=color, label=f"t = {t}")
    densities.set(xlabel="$x_t$", ylabel="density", title="$q(x_t | x_0 = 2)$, linear, T = 100")
    densities.legend(fontsize=8)
    linear = Schedule.linear(1000)
    cosine = Schedule.cosine(1000)
    for name, long, color in (("linear", linear, BLUE), ("cosine", cosine, ORANGE)):
        nats = [kl_to_noise(np.ones(1), t, long) for t in range(1, 1001)]
        divergence.semilogy(range(1, 1001), nats, color=color, label=name)
    divergence.set(xlabel="t", ylabel="nats", title="KL from $N(0, 1)$, $x_0 = 1$, T = 1000")
    divergence.legend(fontsize=8)
    return fig
