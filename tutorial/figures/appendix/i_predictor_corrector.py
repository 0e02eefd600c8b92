"""The variance over the number of correctors, and the limit that all splits of w share."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.h_gaussian_pairs import EXAMPLE, ddpm_law, score_at
from tutorial.appendix.i_predictor_corrector import (
    chain_variance,
    levels,
    predictor_corrector_steps,
    split_score,
)
from tutorial.contract import last
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, Check
from tutorial.step11_guidance import tilt


def checks() -> list[Check]:
    """The identity; simulated chains against their exact variance; what more correctors do."""
    rng = np.random.default_rng(0)
    w = 2.0
    taus = levels(400)
    n = 20_000
    x = 3 * rng.standard_normal((100, 2))
    s_w = score_at(x, 0.7, w, *EXAMPLE)
    apart = np.abs(s_w - split_score(x, 0.7, 0.0, 2 * w, *EXAMPLE)).max()
    found = [Check("(I.1) s_2 less (s_0 + s_4) / 2", apart, 0, 1e-13)]
    limit = ddpm_law(*EXAMPLE, w).var
    start = taus[0] ** 0.5 * rng.standard_normal((n, 2))
    for a in (0.0, 2.0, 4.0):
        b = 2 * w - a
        x = last(predictor_corrector_steps(start, taus, a, b, 1, *EXAMPLE, rng))
        exact = chain_variance(taus, a, b, 1, *EXAMPLE)
        of_levels = f"a = {a:g}, b = {b:g}"
        error = exact * (2 / x.size) ** 0.5  # of the variance of normal samples
        found.append(Check(f"(I.2) sampled, {of_levels}", x.var(0).mean(), exact, 4 * error))
        fine = chain_variance(levels(3200), a, b, 1, *EXAMPLE)
        found.append(Check(f"(I.3) 3,200 levels, {of_levels}", fine, limit, 2e-3))  # 3 / levels
    for b in (4.0, 2.0):
        V = chain_variance(levels(400), 0.0, b, 200, *EXAMPLE)
        found.append(Check(f"(I.4) n = 200, b = {b:g}", V, tilt(*EXAMPLE, b).var, 5e-3))
    return found


def figure() -> Figure:
    """What more correctors a level do; and that one a level comes to DDPM for every split."""
    fig = Figure(figsize=(11, 3.8), layout="constrained")
    more, finer = fig.subplots(1, 2)
    ns = (1, 2, 4, 8, 16, 32, 64)
    counts = (50, 100, 200, 400, 800)
    limit = ddpm_law(*EXAMPLE, 2.0).var
    for a, b, color in ((4.0, 0.0, GREEN), (2.0, 2.0, ORANGE), (0.0, 4.0, BLUE)):
        label = f"a = {a:g}, b = {b:g}"
        V = [chain_variance(levels(400), a, b, n, *EXAMPLE) for n in ns]
        more.semilogx(ns, V, "o-", color=color, label=label)
        more.axhline(tilt(*EXAMPLE, b).var, color=color, ls=":")
        off = [abs(chain_variance(levels(k), a, b, 1, *EXAMPLE) - limit) for k in counts]
        finer.loglog(counts, off, "o-", color=color, label=label)
    more.set(title="Variance at w = 2 (dotted: the tilt of weight b)", ylim=(0.25, 1.05))
    more.set(xlabel="correctors a level, n")
    more.set_xticks(ns, [str(n) for n in ns])
    more.minorticks_off()
    finer.loglog(counts, [5 / k for k in counts], "--", color=GREY, label="5 / levels")
    finer.set_xticks(counts, [str(k) for k in counts])
    finer.minorticks_off()
    finer.set(title="n = 1: how far from the limit of DDPM, 0.3875", xlabel="levels")
    for ax in (more, finer):
        ax.legend(fontsize=8)
    return fig
