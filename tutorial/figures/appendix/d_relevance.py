"""The figure shows the probability of the class along chains, and relevance against entropy."""

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
        Check("(D.2) w = 1: found minus the sum", beyond.mean(), 0, 0.1),
        Check("(D.4) w = -1/2: log p(y | x_0)", log_p.mean(), np.log(1 / 3), log_p_error),
        Check("(D.8) M_0 of 2000 steps", M[0], M_0, 1e-3),
        Check("(D.9) V_0 of 2000 steps", V[0], V_0, 1e-3),
    ]


def figure() -> Figure:
    """Means of the probability and of its logarithm along chains; relevance against entropy."""
    fig = Figure(figsize=(13, 4.2), layout="constrained")
    mean, mean_log, exact = fig.subplots(1, 3)
    n = 2000
    time = np.arange(101) / 100
    for w, color in ((-1.0, GREY), (-0.5, ORANGE), (0.0, GREEN), (1.0, BLUE)):
        steps = np.array(list(along(w, n, 100)))  # (t, found or sum, p or log p, n)
        means = steps.mean(3)
        errors = 2 * steps.std(3) / np.sqrt(n)
        for ax, i in ((mean, 0), (mean_log, 1)):
            found = means[:, 0, i]
            error = errors[:, 0, i]
            ax.fill_between(time, found - error, found + error, color=color, alpha=0.3, lw=0)
            ax.plot(time, found, color=color, label=f"w = {w:g}")
            ax.plot(time, means[:, 1, i], ":", color=color)
    mean.set(title="Mean of $p(y | x_t)$ over 2000 chains", ylabel="mean probability")
    mean_log.set(title=r"Mean of $\log p(y | x_t)$", ylabel="mean log probability, in nats")
    mean_log.set(ylim=(-3, 0.1))
    for ax in (mean, mean_log):
        ax.set(xlabel="1 - t / T, 1 at the data")
    mean.plot([], [], ":", color="black", label="sum of the changes, (D.2)")
    mean.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 0.1))
    mean_log.plot([], [], ":", color="black", label="sum of the changes, (D.3)")
    mean_log.fill_between([], [], [], color=GREY, alpha=0.3, label="2 standard errors")
    mean_log.legend(fontsize=7, loc="lower right")
    ws = np.linspace(-1, 8, 91)
    few = [pair_law(*EXAMPLE, w, Schedule.cosine(20))[:, 0] for w in ws]
    limit = [pair_limit(*EXAMPLE, w) for w in ws]
    for pairs, color, name in ((few, ORANGE, "20 steps"), (limit, BLUE, "limit of small steps")):
        relevance = [pair_relevance(M, V, *EXAMPLE, 0.25) for M, V in pairs]
        entropy = [np.log(2 * np.pi * np.e * V) / 2 for _, V in pairs]
        exact.plot(relevance, entropy, "o-", ms=4, markevery=10, color=color, label=name)
    exact.set(title="The exact case, dots at w = -1, 0, ..., 8")
    exact.set(xlabel="relevance", ylabel="entropy, in nats")
    exact.legend(fontsize=8)
    return fig
