"""The variance along the chain, and by how much that of the noised data exceeds it."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.b_chain_distribution import chain_law, dkw_bound
from tutorial.figures.program import BLUE, ORANGE, Check
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step07_sampling import ancestral_sample


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
        Check("(B.4) distance from its own law", own, 0, d),
        Check("(B.7) farther than that from the data's", from_data > d, 1, 0),
        Check("(B.6) T = 1000 loses half of T = 500", ratio, 0.5, 0.02),
    ]


def figure() -> Figure:
    """The variance of the chain and of the noised data; their difference along the chain."""
    fig = Figure(figsize=(11, 3.9), layout="constrained")
    spread, missing = fig.subplots(1, 2)
    mean = np.zeros(1)
    cov = np.array([[0.25]])
    for T, color in ((10, ORANGE), (30, BLUE)):
        time = np.arange(T + 1) / T
        _, V, G = chain_law(mean, cov, Schedule.linear(T))
        spread.plot(time, V[:, 0, 0], color=color, label=f"T = {T}")
        spread.plot(time, (V + G)[:, 0, 0], ":", color=color, label=f"noised data, T = {T}")
        missing.plot(time, G[:, 0, 0], color=color, label=f"T = {T}")
    spread.set(xlabel="t / T", title="Variance of $x_t$, data of variance 0.25")
    missing.set(xlabel="t / T", title="$G_t$: noised data less chain")
    for ax in (spread, missing):
        ax.legend(fontsize=8)
    return fig
