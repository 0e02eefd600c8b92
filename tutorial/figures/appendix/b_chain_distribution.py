"""The figure shows distributions of samples, variances along the chain, and what is missing."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.b_chain_distribution import chain_law, dkw_bound
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, Check
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step07_sampling import ancestral_sample


def sup_distance(x: np.ndarray, normal: NormalDist) -> float:
    """The largest distance between the distribution functions of the samples and of `normal`."""
    n = len(x)
    F = np.array([normal.cdf(a) for a in np.sort(x)])
    F_n = np.arange(n + 1) / n
    above = F_n[1:] - F
    below = F - F_n[:-1]
    return float(np.maximum(above, below).max())


def checks() -> list[Check]:
    """Samples against the loop's own distribution and against the data; the error for two T."""
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
        Check("(B.4) distance from the exact distribution", own, 0, d),
        Check("(B.7) farther than d from the data", from_data > d, 1, 0),
        Check("(B.6) missing at T = 1000, over T = 500", ratio, 0.5, 0.02),
    ]


def figure() -> Figure:
    """A sampled distribution function; the variance along the chain; what is missing of it."""
    fig = Figure(figsize=(13, 4), layout="constrained")
    functions, spread, missing = fig.subplots(1, 3)
    mean = np.zeros(1)
    cov = np.array([[0.25]])

    n = 20_000
    schedule = Schedule.linear(20)
    data = GaussianMixture(np.zeros((1, 2)), 0.25 * np.eye(2)[None], np.ones(1))
    rng = np.random.default_rng(0)
    x = ancestral_sample(oracle_eps(data, schedule), np.zeros(n, int), schedule, 0.0, rng)[:, 0]
    V_0 = chain_law(mean, cov, schedule)[1][0, 0, 0]
    exact = NormalDist(0, np.sqrt(V_0))
    d = dkw_bound(n, 1e-6)
    at = np.sort(x)[:: n // 400]
    F = np.array([exact.cdf(a) for a in at])
    F_n = np.searchsorted(np.sort(x), at, side="right") / n
    grid = np.linspace(-1.5, 1.5, 301)
    F_data = np.array([NormalDist(0, 0.5).cdf(a) for a in grid])
    F_loop = np.array([exact.cdf(a) for a in grid])
    functions.axhspan(-d, d, color=GREY, alpha=0.3, label=f"accepted, d = {d:.3f}")
    functions.plot(at, F_n - F, color=BLUE, label="20,000 samples of the loop")
    functions.plot(grid, F_data - F_loop, color=ORANGE, label="exact, the data")
    functions.set(xlabel="x", ylabel="distribution function minus that of the loop")
    functions.set(
        title="Samples of the loop fit its own distribution,\nnot that of the data (T = 20)"
    )

    for T, color in ((10, ORANGE), (30, BLUE)):
        time = np.arange(T + 1) / T
        _, V, G = chain_law(mean, cov, Schedule.linear(T))
        spread.plot(time, V[:, 0, 0], color=color, label=f"loop, T = {T}")
        spread.plot(time, (V + G)[:, 0, 0], ":", color=color, label=f"noised data, T = {T}")
    spread.set(xlabel="t / T, 0 at the data", ylabel="variance of $x_t$")
    spread.set(title="The variance of the loop is too small\n(data of variance 1/4)")

    time = np.arange(31) / 30
    for S, color in ((0.25, BLUE), (1.0, GREEN), (4.0, ORANGE)):
        _, var, lost = chain_law(mean, np.array([[S]]), Schedule.linear(30))
        fraction = (lost / (var + lost))[:, 0, 0]
        missing.plot(time, fraction, color=color, label=f"data of variance {S:g}")
    missing.set(xlabel="t / T, 0 at the data", ylabel="$G_t / C_t$")
    missing.set(title="The missing fraction of the variance\ngrows towards the data (T = 30)")
    for ax in (functions, spread, missing):
        ax.legend(fontsize=8)
    return fig
