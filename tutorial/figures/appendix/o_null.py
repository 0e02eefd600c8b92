"""Variance under autoguidance, two means over labels over t, and samples of four rules."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.o_null import (
    autoguided,
    autoguided_var,
    both_eps,
    mean_over_labels,
    random_label,
    ratio,
    recfg,
    right_weight,
)
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import oracle_eps
from tutorial.step19_rules import top_class


def checks() -> list[Check]:
    """Numbers of the lesson's table within five standard errors, the weight, the exact ratio."""
    w = right_weight(0.25, 0.3, 0.4)
    exact_pair = autoguided(3.0)
    repaired = autoguided(w, 0.3, 0.4)
    half = top_class(partial(recfg, rho=0.5))
    point = top_class(partial(recfg, rho=0.0))
    moved = random_label(1.0, drawn=False)
    cond, null = both_eps(500, 20_000, Schedule.cosine(1000))
    error = 1 / 141 / abs(null[:, 1].mean())  # sqrt(20,000) is 141
    return [
        Check("(O.2) autoguidance, height", exact_pair[:, 1].mean(), 1.5, 0.015),
        Check("(O.2) autoguidance, variance", exact_pair.var(0).mean(), 0.0275, 0.0025),
        Check("(O.3) the right weight", w, 0.634, 0.0005),
        Check("(O.3) its variance", repaired.var(0).mean(), 0.236, 0.019),
        Check("(O.4) ReCFG, rho = 1/2, height", half[:, 1].mean(), 1.6, 0.015),
        Check("(O.5) exact ratio", ratio(cond, null)[1], 0, 5 * error),
        Check("(O.6) ReCFG, rho = 0, std", point.std(0).max(), 0, 1e-3),
        Check("(O.9) mean over labels, height", moved[:, 1].mean(), 3.0, 0.04),
    ]


def draw_variances(ax: Any) -> None:
    """Lines of (O.2) over w, dots of samples, and the variance of the class."""
    w = np.linspace(0, 3, 61)
    few = (0.0, right_weight(0.25, 0.3, 0.4), 1.0, 2.0, 3.0)
    pairs = (
        (0.25, 0.5, GREY, "exact good model, bad 0.5"),
        (0.3, 0.4, BLUE, "good 0.3, bad 0.4"),
    )
    for good, bad, color, label in pairs:
        V = [autoguided_var(good, bad, a) for a in w]
        ax.plot(w, V, color=color, label=label)
        found = [autoguided(a, good, bad, n=1000).var(0).mean() for a in few]
        ax.plot(few, found, "o", ms=4, color=color)
    ax.axhline(0.25, color=RED, lw=1, ls="--", label="the class, 0.25")
    ax.axvline(few[1], color=RED, lw=1, ls=":", label=f"w* = {few[1]:.3f}")
    ax.set(title="Autoguidance: (O.2); dots are samples", ylim=(0, 0.34))
    ax.set(xlabel="guidance weight w", ylabel="variance of the samples")


def draw_differences(ax: Any) -> None:
    """The root mean square by which a label changes eps, against both means over labels."""
    data = three_gaussians()
    schedule = Schedule.cosine(100)
    model = oracle_eps(data, schedule)
    rng = np.random.default_rng(0)
    x0, y = data.sample(4000, rng)
    times = np.arange(1, 101, 3)
    against_null: list[float] = []
    against_mean: list[float] = []
    for t in times:
        xt = xt_from_x0(x0, rng.standard_normal(x0.shape), int(t), schedule)
        cond = model(xt, int(t), y)
        null = model(xt, int(t), np.full_like(y, 3))
        mean = mean_over_labels(model, xt, int(t), data.weights)
        against_null.append(((cond - null) ** 2).sum(1).mean() ** 0.5)
        against_mean.append(((cond - mean) ** 2).sum(1).mean() ** 0.5)
    ax.plot(times, against_mean, color=GREEN, label="compared with the mean over random labels")
    ax.plot(times, against_null, color=BLUE, label="compared with the null output")
    ax.set(title="How much the label changes eps", ylim=(0, 1.9))
    ax.set(xlabel="t (0 is data, T = 100 is noise)", ylabel="root mean square")


def draw_samples(ax: Any) -> None:
    """Samples of the top class by four rules; the class itself is grey."""
    w = right_weight(0.25, 0.3, 0.4)
    kinds = (
        (top_class(w=0.0, n=600), GREY, "the class"),
        (top_class(w=1.0, n=600), ORANGE, "plain, w = 1"),
        (random_label(1.0, n=600), GREEN, "random label, w = 1"),
        (autoguided(w, 0.3, 0.4, n=600), BLUE, "autoguidance, w*"),
    )
    for k, (x, color, label) in enumerate(kinds):
        ax.scatter(x[:, 0] + 3.5 * k, x[:, 1], s=3, color=color, label=label)
    point = top_class(partial(recfg, rho=0.0), w=1.0, n=600)
    ax.scatter(
        point[:, 0] + 3.5 * len(kinds), point[:, 1], s=25, color=PURPLE, label="ReCFG, rho = 0"
    )
    ax.axhline(1.5, color=RED, lw=1, ls="--")
    ax.set(title="Samples of the top class, side by side", ylim=(-0.6, 7))
    ax.set(xticks=[], xlabel="one column per rule", ylabel="height (mean of the class: 1.5)")


def figure() -> Figure:
    """The variance over w; the change of eps over t; samples."""
    fig = Figure(figsize=(13, 3.9), layout="constrained")
    left, middle, right = fig.subplots(1, 3)
    draw_variances(left)
    draw_differences(middle)
    draw_samples(right)
    left.legend(fontsize=8)
    middle.legend(fontsize=8)
    right.legend(fontsize=8, ncols=2, markerscale=2)
    return fig
