"""The figure shows chains of three classes, the variance along a chain, and what is lost over T."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, Check
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step07_oracle import oracle_eps
from tutorial.step08_sampling import ancestral_sample, ancestral_steps, chain_law, dkw_bound


def sup_distance(x: np.ndarray, law: NormalDist) -> float:
    """The largest distance between the distribution function of the samples and that of `law`."""
    n = len(x)
    F = np.array([law.cdf(a) for a in np.sort(x)])
    F_n = np.arange(n + 1) / n
    above = F_n[1:] - F
    below = F - F_n[:-1]
    return float(np.maximum(above, below).max())


def checks() -> list[Check]:
    """The sampler against its own law, and against the data; what closes in with T, and how."""
    mean = np.array([1.0, -0.5])
    cov = np.array([[0.5, 0.2], [0.2, 0.3]])
    schedule = Schedule.linear(20)
    n = 20_000
    rng = np.random.default_rng(0)
    model = oracle_eps(GaussianMixture(mean[None], cov[None], np.ones(1)), schedule)
    x = ancestral_sample(model, np.zeros(n, dtype=int), schedule, 0.0, rng)[:, 0]
    m, V, _ = chain_law(mean, cov, schedule)
    own = sup_distance(x, NormalDist(m[0, 0], np.sqrt(V[0, 0, 0])))
    from_data = sup_distance(x, NormalDist(mean[0], np.sqrt(cov[0, 0])))
    d = dkw_bound(n, 1e-6)

    _, _, G_500 = chain_law(mean, cov, Schedule.linear(500))
    _, _, G_1000 = chain_law(mean, cov, Schedule.linear(1000))
    ratio = G_1000[0, 0, 0] / G_500[0, 0, 0]
    return [
        Check("(8.7) distance from its own law", own, 0, d),
        Check("(8.10) farther than that from the data's", from_data > d, 1, 0),
        Check("(8.9) T = 1000 loses half of T = 500", ratio, 0.5, 0.02),
    ]


def figure() -> Figure:
    """Chains of three classes; the variance of the chain and of the data; the loss over T."""
    fig = Figure(figsize=(11, 3.5), layout="constrained")
    chains, spread, lost = fig.subplots(1, 3)
    schedule = Schedule.cosine(100)
    y = np.repeat([0, 1, 2], 200)
    rng = np.random.default_rng(0)
    model = oracle_eps(three_gaussians(), schedule)
    path = np.array([x for _, x in ancestral_steps(model, y, schedule, 0.0, rng)])
    for k, color in enumerate(CLASS_COLORS[:3]):
        chains.scatter(*path[-1, y == k].T, s=4, color=color, alpha=0.5, label=f"y = {k}")
        chains.plot(*path[:, 200 * k].T, color=color, lw=0.8)
    chains.set(title="Samples, and a chain a class", xlabel="T = 100", aspect="equal")
    mean = np.zeros(1)
    cov = np.array([[0.25]])
    Ts = (10, 20, 50, 100, 200, 500, 1000)
    for T, color in ((10, ORANGE), (30, BLUE)):
        time = np.arange(T + 1) / T
        _, V, G = chain_law(mean, cov, Schedule.linear(T))
        spread.plot(time, V[:, 0, 0], color=color, label=f"T = {T}")
        spread.plot(time, (V + G)[:, 0, 0], ":", color=color, label="noised data")
    spread.set(xlabel="t / T", title="Variance of $x_t$, data of 0.25")
    for kind, color in ((Schedule.linear, BLUE), (Schedule.cosine, ORANGE)):
        gaps = list[float]()
        for steps in Ts:
            gap = chain_law(mean, cov, kind(steps))[2]
            gaps.append(gap[0, 0, 0])
        lost.loglog(Ts, gaps, "o-", ms=4, color=color, label=kind.__name__)
    lost.loglog(Ts, [1 / T for T in Ts], "--", color=GREY, label="1 / T")
    lost.set(xlabel="T", title="0.25 less the variance of samples")
    for ax in (chains, spread, lost):
        ax.legend(fontsize=8)
    return fig
