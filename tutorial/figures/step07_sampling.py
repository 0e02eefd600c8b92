"""The figure shows chains of three classes, the variance of the loop, and the missing variance."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.b_chain_distribution import chain_law
from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, Check
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import mean_x0, oracle_eps
from tutorial.step07_sampling import ancestral_steps, loop_variance


def checks() -> list[Check]:
    """The start, the spread of 20,000 samples at T = 20, and the last step."""
    mean = np.array([1.0, -0.5])
    cov = np.array([[0.5, 0.2], [0.2, 0.3]])
    schedule = Schedule.linear(20)
    n = 20_000
    y = np.zeros(n, dtype=int)
    mixture = GaussianMixture(mean[None], cov[None], np.ones(1))
    model = oracle_eps(mixture, schedule)
    chain = [x for _, x in ancestral_steps(model, y, schedule, 0.0, np.random.default_rng(0))]
    start = (chain[0] ** 2).mean()
    _, V, _ = chain_law(mean, cov, schedule)
    var = V[0, 0, 0]
    guess = mean_x0(chain[-2], 1, y, mixture, schedule)
    last = np.abs(chain[-1] - guess).max()
    # Four standard errors; the square of a standard normal has variance 2.
    return [
        Check("(7.1) mean square of x_T", start, 1, 4 * np.sqrt(2 / (2 * n))),
        Check(
            "(7.2) variance of samples, T = 20",
            chain[-1][:, 0].var(),
            var,
            4 * var * (2 / n) ** 0.5,
        ),
        Check("(7.6) x_0 and the guess at t = 1", last, 0, 1e-12),
    ]


def figure() -> Figure:
    """Chains of three classes; the variance of the loop; the missing variance over T."""
    fig = Figure(figsize=(13, 3.9), layout="constrained")
    chains, spread, lost = fig.subplots(1, 3)
    schedule = Schedule.cosine(100)
    y = np.repeat([0, 1, 2], 200)
    rng = np.random.default_rng(0)
    model = oracle_eps(three_gaussians(), schedule)
    path = np.array([x for _, x in ancestral_steps(model, y, schedule, 0.0, rng)])
    for k, color in enumerate(CLASS_COLORS[:3]):
        chains.scatter(*path[-1, y == k].T, s=4, color=color, alpha=0.5, label=f"y = {k}")
        chains.plot(*path[:, 200 * k].T, color=color, lw=0.8)
        chains.plot(*path[0, 200 * k], "o", color=color, ms=6, mec="black")
        chains.plot(*path[-1, 200 * k], "s", color=color, ms=6, mec="black")
    chains.set(title="Samples, and one chain per class (T = 100)", aspect="equal")
    chains.set(xlabel="first coordinate (a chain starts at the circle)", ylabel="second coordinate")
    S = 0.25
    for T, color in ((10, ORANGE), (30, BLUE)):
        time = np.arange(T + 1) / T
        V, G = loop_variance(S, Schedule.cosine(T))
        spread.plot(time, V, ".-", color=color, label=f"loop, T = {T}")
    spread.plot(time, V + G, ":", color=GREY, label="noised data")
    spread.set(xlabel="t / T", ylabel="variance of $x_t$", title="Data of variance 1/4, cosine")
    Ts = np.array([10, 20, 50, 100, 200, 500, 1000])
    for kind, color, constant in ((Schedule.linear, BLUE, 4), (Schedule.cosine, ORANGE, 2)):
        missing = [loop_variance(S, kind(int(T)))[1][0] for T in Ts]
        lost.loglog(Ts, missing, "o-", ms=4, color=color, label=kind.__name__)
        lost.loglog(Ts, constant / Ts, "--", color=color, lw=0.8, label=f"{constant} / T")
    lost.set(xlabel="T", ylabel="$G_0$", title="Missing variance, data of variance 1/4")
    for ax in (chains, spread, lost):
        ax.legend(fontsize=8)
    return fig
