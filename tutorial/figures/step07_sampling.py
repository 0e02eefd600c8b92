"""Chains of three classes, and how much too narrow samples are over T."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.b_chain_distribution import chain_law
from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, Check
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import mean_x0, oracle_eps
from tutorial.step07_sampling import ancestral_steps


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
        Check("(7.4) x_0 and the guess at t = 1", last, 0, 1e-12),
    ]


def figure() -> Figure:
    """Chains of three classes; what samples lack of the data's variance, over T."""
    fig = Figure(figsize=(11, 3.9), layout="constrained")
    chains, lost = fig.subplots(1, 2)
    schedule = Schedule.cosine(100)
    y = np.repeat([0, 1, 2], 200)
    rng = np.random.default_rng(0)
    model = oracle_eps(three_gaussians(), schedule)
    path = np.array([x for _, x in ancestral_steps(model, y, schedule, 0.0, rng)])
    for k, color in enumerate(CLASS_COLORS[:3]):
        chains.scatter(*path[-1, y == k].T, s=4, color=color, alpha=0.5, label=f"y = {k}")
        chains.plot(*path[:, 200 * k].T, color=color, lw=0.8)
    chains.set(title="Samples, and one chain per class (T = 100)", aspect="equal")
    mean = np.zeros(1)
    cov = np.array([[0.25]])
    Ts = (10, 20, 50, 100, 200, 500, 1000)
    for kind, color in ((Schedule.linear, BLUE), (Schedule.cosine, ORANGE)):
        gaps = list[float]()
        for steps in Ts:
            gap = chain_law(mean, cov, kind(steps))[2]
            gaps.append(gap[0, 0, 0])
        lost.loglog(Ts, gaps, "o-", ms=4, color=color, label=kind.__name__)
    lost.loglog(Ts, [1 / T for T in Ts], "--", color=GREY, label="1 / T")
    lost.set(xlabel="T", title="0.25, the variance of the data, less that of samples")
    for ax in (chains, lost):
        ax.legend(fontsize=8)
    return fig
