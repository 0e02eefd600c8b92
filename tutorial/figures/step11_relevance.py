"""The figure shows the classifier's probability along chains, and relevance against entropy."""

from __future__ import annotations

from collections import deque

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, Check
from tutorial.step00_notation import Schedule
from tutorial.step11_relevance import EXAMPLE, along, pair_law, pair_limit, pair_relevance


def checks() -> list[Check]:
    """Chains at three weights; a chain of the exact case, and its limit."""
    fair, half, one = (deque(along(w, 1000, 200), maxlen=1).pop() for w in (-1.0, -0.5, 1.0))
    errors = [4 * a.std() / 1000**0.5 for a in (fair[0, 0], half[0, 1])]
    M, V = pair_law(*EXAMPLE, 2.0, Schedule.cosine(2000))
    limit = pair_limit(*EXAMPLE, 2.0)
    return [
        Check("(11.10) w = -1: p(y | x_0)", fair[0, 0].mean(), 1 / 3, errors[0]),
        Check("(11.11) w = 1: beyond the sum", (one[0] - one[1])[0].mean(), 0, 0.1),
        Check("(11.13) w = -1/2: log p(y | x_0)", half[0, 1].mean(), np.log(1 / 3), errors[1]),
        Check("(11.17) M_0 of 2000 steps", M[0], limit[0], 1e-3),
        Check("(11.18) V_0 of 2000 steps", V[0], limit[1], 1e-3),
    ]


def figure() -> Figure:
    """The classifier's mean and mean log along chains; relevance against entropy, exactly."""
    fig = Figure(figsize=(11, 3.6), layout="constrained")
    mean, mean_log, exact = fig.subplots(1, 3)
    for w, color in ((-1.0, GREY), (-0.5, ORANGE), (0.0, GREEN), (1.0, BLUE)):
        path = np.mean(list(along(w, 600, 100)), 3).transpose(2, 1, 0)
        for ax, (found, said) in zip((mean, mean_log), path, strict=True):
            ax.plot(np.arange(101) / 100, found, color=color, label=f"w = {w:g}")
            ax.plot(np.arange(101) / 100, said, ":", color=color)
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
