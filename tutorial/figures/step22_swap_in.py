"""The same samples by NumPy, torch, the fused kernel and a trained network."""

# pyright: basic
from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import CLASS_COLORS, Check
from tutorial.step22_swap_in import ORACLE, in_minicfg, swaps


def checks() -> list[Check]:
    """The three that agree and the one that does not; a few of them in another order."""
    exact, in_torch, fused, learned = swaps(2.0).values()
    few = np.array([70, 3, 149])
    moved = np.abs(in_minicfg(ORACLE, 2.0, few) - in_torch[few]).max()
    return [
        Check("(22.3) NumPy to torch, furthest", float(np.abs(in_torch - exact).max()), 0, 2e-6),
        Check("(22.3) NumPy to the kernel, furthest", float(np.abs(fused - exact).max()), 0, 2e-6),
        Check("(22.3) three of 150, in another order", float(moved), 0, 0),
        Check("the UNet's are more than 0.001 away", np.abs(learned - exact).mean() > 1e-3, 1, 0),
    ]


def figure() -> Figure:
    """The four swaps, at w = 2; lines lead to where the first has each sample."""
    fig = Figure(figsize=(12, 3.4), layout="constrained")
    exact = swaps(2.0)["NumPy, oracle"]
    for ax, (name, x) in zip(fig.subplots(1, 4), swaps(2.0).items(), strict=True):
        lines = np.stack([exact, x])  # (2, n, D)
        ax.plot(lines[:, :, 0], lines[:, :, 1], color="0.7", lw=0.6)
        colors = [CLASS_COLORS[i % 3] for i in range(150)]
        ax.scatter(*x.T, s=8, c=colors)
        far = f"furthest from the first: {np.abs(x - exact).max():.1g}"
        ax.set(title=f"{name}\n{far}", xlim=(-0.7, 0.7), ylim=(-0.5, 0.7), aspect="equal")
    return fig
