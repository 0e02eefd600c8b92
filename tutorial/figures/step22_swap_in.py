"""The same samples by four programs, how far apart they are, and what becomes of an error."""

# pyright: basic
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, CLASS_COLORS, GREEN, GREY, ORANGE, Check
from tutorial.step02_forward import Schedule
from tutorial.step17_solvers import ddpm, run, run_steps
from tutorial.step22_swap_in import (
    ORACLE,
    Noise,
    T,
    box_muller,
    error_at_the_end,
    in_minicfg,
    swaps,
)

SCHEDULE = Schedule.linear(T)


@dataclass
class After:
    """Normal numbers for the rest of a chain: the state `start`, then the noise of later steps."""

    start: np.ndarray
    noise: Noise
    started: bool = False

    def standard_normal(self, size: tuple[int, ...]) -> np.ndarray:
        """The start in the first draw, and new noise in all others."""
        if self.started:
            return self.noise.standard_normal(size)
        self.started = True
        return self.start


def measured(t: int, w: float, error: float = 1e-5, n: int = 300) -> float:
    """The mean size of the error at 0, divided by an error in the state at t.

    A chain of the oracle runs from T to t. From there it runs on twice, with and without the error.
    """
    ids = np.arange(n)
    y = ids % 3
    states = dict(run_steps(ORACLE.model, y, ddpm(SCHEDULE), w, Noise(ids)))
    rest = ddpm(SCHEDULE, list(range(t, 0, -1)))
    ends: list[np.ndarray] = []
    for shift in (0.0, error):
        source = After(states[t] + shift, Noise(ids, step=T - t))
        ends.append(run(ORACLE.model, y, rest, w, source))
    return float(np.abs(ends[1] - ends[0]).mean() / error)


def checks() -> list[Check]:
    """The three programs that agree, the one that does not, and an error in the first state."""
    exact, in_torch, fused, learned = swaps(2.0).values()
    few = np.array([70, 3, 149])
    moved = np.abs(in_minicfg(ORACLE, 2.0, few, clip=1.0) - in_torch[few]).max()
    left = error_at_the_end(1.0, 10, SCHEDULE, 1 / 64)
    return [
        Check("(22.3) NumPy to torch, largest", float(np.abs(in_torch - exact).max()), 0, 2e-6),
        Check("(22.3) NumPy to the kernel, largest", float(np.abs(fused - exact).max()), 0, 2e-6),
        Check("(22.3) three of 150, in another order", float(moved), 0, 0),
        Check("(22.5) error of t = 10 at the end", left, 0.024, 0.0005),
        Check("the UNet's are more than 0.001 away", np.abs(learned - exact).mean() > 1e-3, 1, 0),
    ]


def draw_swaps(axes: np.ndarray) -> None:
    """Samples of the four programs; grey lines lead to those of the first."""
    programs = swaps(2.0)
    exact = programs["NumPy, oracle"]
    colors = [CLASS_COLORS[i % 3] for i in range(len(exact))]
    for ax, (name, x) in zip(axes, programs.items(), strict=True):
        lines = np.stack([exact, x])  # (2, n, D)
        ax.plot(lines[:, :, 0], lines[:, :, 1], color="0.7", lw=0.6)
        ax.scatter(*x.T, s=8, c=colors)
        largest = np.abs(x - exact).max()
        ax.set_title(f"{name}\nlargest difference from NumPy: {largest:.1g}", fontsize=9)
        ax.set(xlim=(-0.7, 0.7), ylim=(-0.5, 0.7), aspect="equal", xlabel="first coordinate")
    axes[0].set(ylabel="second coordinate")


def draw_box_muller(ax) -> None:
    """Circles for equal u and rays for equal v: what the map makes of a square grid."""
    fine = np.linspace(0, 1, 200)
    for u in np.arange(0.1, 1.0, 0.1):
        ax.plot(*box_muller(np.full(200, u), fine), color=BLUE, lw=1)
    for v in np.arange(0, 1, 0.1):
        ax.plot(*box_muller(np.linspace(0.01, 1, 200), np.full(200, v)), color=ORANGE, lw=1)
    ax.set(title="Box-Muller: circles of equal u, rays of equal v", aspect="equal")
    ax.set(xlabel="first normal number", ylabel="second normal number")


def draw_errors(ax) -> None:
    """The factor of an error in the state at t: one Gaussian in theory, three classes measured."""
    t = np.arange(1, T + 1)
    factor = [error_at_the_end(1.0, int(k), SCHEDULE, 1 / 64) for k in t]
    ax.semilogy(t, factor, color=GREY, lw=3, label="(22.5)")
    some = (1, 2, 3, 5, 8, 12, 17, 23, 30, 40)
    for w, color in ((0.0, BLUE), (2.0, GREEN)):
        found = [measured(k, w) for k in some]
        ax.semilogy(some, found, "o", ms=4, color=color, label=f"measured, w = {w:g}")
    ax.set(
        title="Error of the sample per error of the state at t",
        xlabel="t",
        ylabel="error at 0 / error at t",
    )
    ax.legend(fontsize=8)


def draw_differences(ax) -> None:
    """Differences from the first program, on a logarithmic axis."""
    exact, *others = swaps(2.0).values()
    bins = np.linspace(-11, 0, 45)
    names = ("torch, oracle", "fused kernel, oracle", "torch, trained UNet")
    for x, name, color in zip(others, names, (BLUE, GREEN, ORANGE), strict=True):
        size = np.log10(np.maximum(np.abs(x - exact), 1e-11)).ravel()
        ax.hist(size, bins, histtype="step", lw=1.5, color=color, label=name)
    ax.set(title="Differences from the samples of NumPy", ylabel="number of coordinates")
    ax.set(xlabel="logarithm to base 10 of the difference")
    ax.legend(fontsize=8, loc="upper center")


def figure() -> Figure:
    """Above: the four programs. Below: Box-Muller, the growth of errors, and the differences."""
    fig = Figure(figsize=(13, 7.4), layout="constrained")
    top, bottom = cast(Any, fig).subfigures(2, 1)
    draw_swaps(top.subplots(1, 4, sharey=True))
    left, middle, right = bottom.subplots(1, 3)
    draw_box_muller(left)
    draw_errors(middle)
    draw_differences(right)
    return fig
