"""The figure shows the classifier's probability along chains, and relevance against entropy."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.d_relevance import EXAMPLE, along, pair_law, pair_limit, pair_relevance
from tutorial.contract import last
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, Check
from tutorial.step02_forward import Schedule


def checks() -> list[Check]:
    """Chains at three weights; a chain of the exact case, and its limit."""
    n = 1000
    found, _ = last(along(-1.0, n, 200))
    p = found[0]
    p_error = 4 * p.std() / np.sqrt(n)
    found, total = last(along(1.0, n, 200))
    beyond = found[0] - total[0]
    found, _ = last(along(-0.5, n, 200))
    log_p = found[1]
    log_p_error = 4 * log_p.std() / np.sqrt(n)

    M, V = pair_law(*EXAMPLE, 2.0, Schedule.cosine(2000))
    M_0, V_0 = pair_limit(*EXAMPLE, 2.0)
    return [
        Check("(D.1) w = -1: p(y | x_0)", p.mean(), 1 / 3, p_error),
        Check("(D.2) w = 1: beyond the sum", beyond.mean(), 0, 0.1),
        Check("(D.4) w = -1/2: log p(y | x_0)", log_p.mean(), np.log(1 / 3), log_p_error),
        Check("(D.8) M_0 of 2000 steps", M[0], M_0, 1e-3),
        Check("(D.9) V_0 of 2000 steps", V[0], V_0, 1e-3),
    ]


def figure() -> Figure:
    """The classifier's mean and mean log along chains; relevance against entropy, exactly."""
    fig = Figure(figsize=(11, 3.6), layout="constrained")
    mean, mean_log, exact = fig.subplots(1, 3)
    time = np.arange(101) / 100
    for w, color in ((-1.0, GREY), (-0.5, ORANGE), (0.0, GREEN), (1.0, BLUE)):
        steps = np.array(list(along(w, 600, 100)))  # (t, found or total, p or log p, n)
        means = steps.mean(3)
        for ax, i in ((mean, 0), (mean_log, 1)):
            found = means[:, 0, i]
            total = means[:, 1, i]
            ax.plot(time, found, color=color, label=f"w = {w:g}")
            ax.plot(time, total, ":", color=color)
    mean.set(title="Mean of $p(y | x_t)$; dotted: the sum", xlabel="1 - t / T")
    mean_log.set(title=r"Mean of $\log p(y | x_t)$", xlabel="1 - t / T", ylim=(-2.5, 0.1))
    mean.legend(fontsize=8)
    ws = np.linspace(-1, 8, 91)
    few = [pair_law(*EXAMPLE, w, Schedule.cosine(20))[:, 0] for w in ws]
    limit = [pair_limit(*EXAMPLE, w) for w in ws]
    for laws, color, name in ((few, ORANGE, "20 steps"), (limit, BLUE, "limit")):
        relevance = [pair_relevance(M, V, *EXAMPLE, 0.25) for M, V in laws]
        spread = [np.log(2 * np.pi * np.e * V) / 2 for _, V in laws]
        exact.plot(relevance, spread, "o-", ms=4, markevery=10, color=color, label=name)
    exact.set(title="Exactly, w = -1, 0, ..., 8", xlabel="relevance", ylabel="entropy")
    exact.legend(fontsize=8)
    return fig
