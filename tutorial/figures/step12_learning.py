"""The excess of a trained network over the oracle, over t and over p_uncond."""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, ORANGE, Check
from tutorial.step12_learning import (
    ORACLE,
    STEPS,
    TIMES,
    excess,
    trained,
)

CHOSEN = 8 * STEPS if "--full" in sys.argv else STEPS
P_UNCOND = (0.1, 0.2, 0.5)


def checks(steps: int = CHOSEN) -> list[Check]:
    """The excess by both its sides, and what dropping labels does to either output."""
    _, rare = trained(0.1, steps)
    model, some = trained(0.2, steps)
    _, often = trained(0.5, steps)
    left, right = excess(model, ORACLE, 20, True, 50_000, np.random.default_rng(4))
    error = (left - right).std() / len(left) ** 0.5
    ratio = (rare / often).mean(1)
    return [
        Check("(12.13) null excess at t = 20, by losses", left.mean(), right.mean(), 4 * error),
        Check("(12.13) conditional excess, mean over t", some[0].mean(), 0, 0.01),
        Check("(12.13) null excess, mean over t", some[1].mean(), 0, 0.03),
        Check("(12.12) null excess, p_uncond .1 over .5", ratio[1], 3, 1.5),
        Check("(12.12) conditional excess, .1 over .5", ratio[0], 0.5, 0.25),
    ]


def figure(steps: int = CHOSEN) -> Figure:
    """The excess over t and over p_uncond."""
    fig = Figure(figsize=(11, 3.6), layout="constrained")
    over_t, over_p = fig.subplots(1, 2)
    styles = (":", "-", "--")
    for i, name, color in ((0, "with the label", BLUE), (1, "null label", ORANGE)):
        means: list[float] = []
        for p, style in zip(P_UNCOND, styles, strict=True):
            _, excesses = trained(p, steps)
            over_t.semilogy(TIMES, excesses[i], style, color=color, label=f"{name}, {p}")
            means.append(excesses[i].mean())
        over_p.loglog(P_UNCOND, means, "o-", color=color, label=name)
    over_t.set(xlabel="t", title="Excess over the oracle's loss, for three $p_{uncond}$")
    over_p.set(ylim=(5e-4, 5e-2), xlabel="$p_{uncond}$", title=f"Mean over t, {steps} steps")
    over_p.set_xticks(P_UNCOND, [str(p) for p in P_UNCOND])
    over_p.minorticks_off()
    for ax in (over_t, over_p):
        ax.legend(fontsize=8)
    return fig
