"""The scale that model guidance settles at, over w, and how many rounds it takes."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.p_distillation import learnt_weights, next_round, settled
from tutorial.figures.program import BLUE, GREY, ORANGE, RED, Check


def checks() -> list[Check]:
    """A regression by rounds; the fixed point; how fast it is neared."""
    best = np.array([[1.0, -2.0]])
    null = np.array([[0.5, 1.0]])
    end = settled(best, null, 0.8)
    stays = next_round(best, end, null, 0.8) - end
    now = best
    for _ in range(10):
        now = next_round(best, now, null, 0.8)
    left = (now - end) / (best - end)
    share = learnt_weights(0.5, 40_000, 12)
    return [
        Check("(P.2) scale 1 / (1 - .5), learnt", share[0], 2.0, 0.05),
        Check("(P.2) of the null output, learnt", share[1], -1.0, 0.05),
        Check("(P.3) settled, one round more", float(np.abs(stays).max()), 0, 1e-14),
        Check("(P.4) off after 10 rounds, w = .8", float(left[0, 0]), 0.8**10, 1e-12),
    ]


def figure() -> Figure:
    """The scale over w; and how many rounds it takes."""
    fig = Figure(figsize=(9, 3.6), layout="constrained")
    scale, rounds = fig.subplots(1, 2)
    w = np.linspace(-0.95, 0.85, 200)
    k = np.arange(31)
    scale.plot(w, 1 / (1 - w), color=BLUE, label="settled")
    scale.plot(w, 1 + w, "--", color=GREY, label="the same w in the sampler")
    few = (-0.5, 0.25, 0.5, 0.75)
    learnt = [learnt_weights(a, 4000, 30)[0] for a in few]
    scale.plot(few, learnt, "o", color=ORANGE, label="learnt from 4,000 draws")
    scale.set(xlabel="w of training", title="Scale of guidance")
    for a, color in ((0.25, GREY), (0.5, BLUE), (0.8, RED)):
        label = f"w = {a:g}: scale {1 / (1 - a):.3g}"
        rounds.semilogy(k, a**k, ".-", color=color, label=label)
    rounds.set(xlabel="round", ylabel="share of the gap left", title="Strong guidance takes longer")
    rounds.set_ylim(1e-6, 2)
    for ax in (scale, rounds):
        ax.legend(fontsize=8)
    return fig
