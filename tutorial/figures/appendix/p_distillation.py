"""Heights of two students over w, the scale of model guidance, and how fast it is approached."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.p_distillation import (
    gap_after_rounds,
    gap_after_steps,
    learnt_weights,
    next_round,
    settled,
    top_by_student,
)
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, RED, Check
from tutorial.step02_forward import Schedule
from tutorial.step17_solvers import ddim
from tutorial.step19_rules import top_class


def checks() -> list[Check]:
    """The student against the guided oracle; model guidance by regression; both speeds."""
    table = ddim(Schedule.cosine(1000), 50)
    apart = top_by_student(3.0) - top_class(w=3.0, table=table, n=2000)
    blind = top_by_student(0.0, with_w=False)
    best = np.array([[1.0, -2.0]])
    null = np.array([[0.5, 1.0]])
    end = settled(best, null, 0.8)
    stays = next_round(best, end, null, 0.8) - end
    now = best
    for _ in range(10):
        now = next_round(best, now, null, 0.8)
    left = (now - end) / (best - end)
    factors = learnt_weights(0.5, 40_000, 12)
    negative = learnt_weights(-2.0, 40_000, 60, rate=0.1)
    return [
        Check("(P.2) student and guided oracle, w = 3", np.abs(apart).max(), 0, 1e-9),
        Check("(P.3) height without w, at w = 0", blind[:, 1].mean(), 2.17, 0.035),
        Check("(P.8) factor 1 / (1 - .5), learned", factors[0], 2.0, 0.05),
        Check("(P.8) factor of the null output", factors[1], -1.0, 0.05),
        Check("(P.8) one round more", float(np.abs(stays).max()), 0, 1e-14),
        Check("(P.8) factor 1 / 3 at omega = -2", negative[0], 1 / 3, 0.05),
        Check("(P.9) left after 10 rounds", left[0, 0], gap_after_rounds(0.8, 10), 1e-12),
    ]


def draw_heights(ax: Any) -> None:
    """The mean height of the top class: guided oracle, a student, and one without w."""
    table = ddim(Schedule.cosine(1000), 50)
    ws = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0)
    oracle = [top_class(w=w, table=table, n=500)[:, 1].mean() for w in ws]
    student = [top_by_student(w, n=500)[:, 1].mean() for w in ws]
    blind = [top_by_student(w, with_w=False, n=500)[:, 1].mean() for w in ws]
    ax.plot(ws, oracle, color=GREY, lw=5, alpha=0.5, label="guided oracle, two outputs per row")
    ax.plot(ws, student, "o", color=BLUE, label="student, one output per row")
    ax.plot(ws, blind, "s--", ms=4, color=RED, label="student without w")
    ax.axhline(1.5, color=GREY, lw=1, ls=":")
    ax.text(4, 1.51, "mean of the class", ha="right", va="bottom", fontsize=8)
    ax.set(title="A student takes w as an input", ylim=(1.4, 2.9))
    ax.set(xlabel="guidance weight w", ylabel="mean height of the samples")


def draw_scales(ax: Any) -> None:
    """The scale at which model guidance ends, by its formula and by regressions."""
    omega = np.linspace(-2.2, 0.85, 200)
    few = (-2.0, -1.0, -0.5, 0.25, 0.5, 0.75)
    learned = [learnt_weights(a, 4000, 300, rate=0.1)[0] for a in few]
    ax.plot(omega, 1 / (1 - omega), color=BLUE, label="1 / (1 - omega)")
    ax.plot(few, learned, "o", color=ORANGE, label="learned from 4,000 draws")
    ax.plot(omega, 1 + omega, "--", color=GREY, label="1 + omega: read as the weight w")
    ax.set(title="Scale learned by model guidance", ylim=(-1.3, 7))
    ax.set(xlabel="factor omega in the target", ylabel="scale 1 + w")


def draw_gaps(ax: Any) -> None:
    """The fraction of the distance that is left after k rounds, and after k steps."""
    k = np.arange(0, 121)
    for omega, color in ((0.8, RED), (0.0, GREEN), (-2.0, BLUE)):
        steps = [gap_after_steps(omega, 0.1, int(a)) for a in k]
        ax.semilogy(k, steps, color=color, label=f"steps of r = 0.1, omega = {omega:g}")
    few = np.arange(0, 31)
    rounds = [gap_after_rounds(0.8, int(a)) for a in few]
    ax.semilogy(few, rounds, ".", color=RED, label="rounds, omega = 0.8")
    growing = [abs(gap_after_rounds(-2.0, a)) for a in range(6)]
    ax.semilogy(range(6), growing, ".", color=BLUE, label="rounds, omega = -2: no limit")
    ax.set(title="How fast the limit is approached", ylim=(1e-3, 1e3))
    ax.set(xlabel="rounds or steps k", ylabel="fraction of the distance left")


def figure() -> Figure:
    """Heights over w; the scale over omega; the distance over rounds and steps."""
    fig = Figure(figsize=(13, 3.9), layout="constrained")
    left, middle, right = fig.subplots(1, 3)
    draw_heights(left)
    draw_scales(middle)
    draw_gaps(right)
    left.legend(fontsize=8, loc="upper left")
    middle.legend(fontsize=8)
    right.legend(fontsize=8)
    return fig
