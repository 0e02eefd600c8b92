"""The variance of samples over T for three v, and the v that is right at w = 0."""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from tutorial.appendix.f_variance import law_of_samples, limit_var, right_v, spread
from tutorial.figures.program import BLUE, GREY, ORANGE, RED, Check
from tutorial.step16_log_snr import log_snr_grid

LONGEST = 1024 if "--full" in sys.argv else 128
COLORS = {0.0: BLUE, 0.3: ORANGE, 1.0: RED}


def checks(longest: int = LONGEST) -> list[Check]:
    """How laws near their limit as T doubles; what v does to three Gaussians as T grows."""
    _, late = law_of_samples(0.8, 0.25, 1.0, log_snr_grid(512), 1.0, 0.0)
    _, later = law_of_samples(0.8, 0.25, 1.0, log_snr_grid(1024), 1.0, 0.0)
    limit = limit_var(0.25, 1.0, 1.0)
    left = (later - limit) / (late - limit)
    few = spread(16, 1.0, 4000) - spread(16, 0.0, 4000)
    many = spread(longest, 1.0, 4000) - spread(longest, 0.0, 4000)
    return [
        Check("(F.4) left of the way, T = 1024 over 512", left, 0.5, 0.02),
        Check("(F.4) at w = -1: all data", limit_var(0.25, 1.0, -1.0), 1, 1e-15),
        Check("(16.11) variance, v = 1 less v = 0, T = 16", few, 0.1028, 0.01),
        Check(f"(16.11) T times the same, T = {longest}", longest * many, 2.2, 0.2),
    ]


def figure(longest: int = LONGEST) -> Figure:
    """Variances over T, by the exact law and by samples; the v that would be right."""
    fig = Figure(figsize=(11, 3.6), layout="constrained")
    exact, sampled, right = fig.subplots(1, 3)
    Ts = 2 ** np.arange(3, 11)
    few = [2**k for k in range(3, 11) if 2**k <= longest]
    bar = tqdm(total=3 * sum(few), desc="steps", disable=None)
    for v, color in COLORS.items():
        laws = [law_of_samples(0.8, 0.25, 1.0, log_snr_grid(int(T)), 1.0, v) for T in Ts]
        exact.plot(Ts, [V for _, V in laws], "o-", color=color, label=f"v = {v:g}")
        found: list[float] = []
        for T in few:
            found.append(spread(T, v, 4000))
            bar.update(T)
        error = np.array(found) * (2 / 4000) ** 0.5
        sampled.errorbar(few, found, error, fmt="o-", color=color, label=f"v = {v:g}")
    bar.close()
    exact.axhline(limit_var(0.25, 1.0, 1.0), ls="--", color=GREY, label="limit (F.4)")
    exact.set(title="A class of 0.25 in data of 1, w = 1", ylabel="variance, exact")
    sampled.set(title="Three Gaussians, w = 1", ylabel="variance across, 4000 samples")
    for ax in (exact, sampled):
        ax.set_xscale("log", base=2)
        ax.set_xlabel("T")
    x = np.linspace(-8, 8, 201)
    for var, style in ((0.05, ":"), (0.25, "-"), (1.0, "--")):
        right.plot(x, right_v(var, x), style, color=GREY, label=f"class of {var}")
    right.set(title="The v that is right at w = 0", xlabel=r"$\lambda$", ylabel="v", ylim=(0, 1.05))
    for ax in (exact, sampled, right):
        ax.legend(fontsize=8)
    return fig
