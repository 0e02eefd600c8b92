"""The figure shows the gradient of the exact classifier at three times, and its length."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import noised, oracle_eps
from tutorial.step09_condition import p_xprev_given_xt_y
from tutorial.step10_classifier import (
    classifier_free_eps,
    classifier_gradient,
    classifier_guided_eps,
    late_gradient,
    mean_gradient,
    mean_shift,
)


def checks() -> list[Check]:
    """The slope of a classifier; the pulls of all classes; the identity; a step; the end."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    t = 40
    h = 1e-5
    w = 3.0
    x = np.array([[0.3, -0.2], [0.3, -0.2 + h], [0.3, -0.2 - h]])
    ones = np.ones(3, int)
    model = oracle_eps(mixture, schedule)
    law = noised(mixture, t, schedule)
    log_p = law.log_class_probability(x)
    slope = (log_p[1, 0] - log_p[2, 0]) / (2 * h)
    pull = [classifier_gradient(x, t, k * ones, mixture, schedule) for k in range(3)]
    balance = mean_gradient(np.exp(log_p), np.array(pull))
    cond = model(x, t, 0 * ones)
    null = model(x, t, 3 * ones)
    free = classifier_free_eps(cond, null, w)
    on_null = classifier_guided_eps(null, pull[0], 1 + w, t, schedule) - free
    on_cond = classifier_guided_eps(cond, pull[0], w, t, schedule) - free
    mean_cond = p_xprev_given_xt_y(model, x, t, 0 * ones, schedule).mean
    mean_null = p_xprev_given_xt_y(model, x, t, 3 * ones, schedule).mean
    moved = mean_cond - mean_null - mean_shift(pull[0], t, schedule)
    late = classifier_gradient(x, 99, 0 * ones, mixture, schedule)[0, 1]
    limit = late_gradient(99, mixture, schedule)[0, 1]
    return [
        Check("(10.1) gradient, by a finite difference", pull[0][0, 1], slope, 1e-8),
        Check("(10.2) pulls of all classes, weighed", np.abs(balance).max(), 0, 1e-14),
        Check("(10.4) weight 1 + w on null", np.abs(on_null).max(), 0, 1e-13),
        Check("(10.4) weight w on conditional", np.abs(on_cond).max(), 0, 1e-13),
        Check("(10.5) label moves the mean", np.abs(moved).max(), 0, 1e-14),
        Check("(10.6) gradient at t = 99 of 100", late, limit, 0.05 * limit),
    ]


def figure() -> Figure:
    """Where a classifier pulls at three times, on the probability it gives the class."""
    fig = Figure(figsize=(13, 3.6), layout="constrained")
    *fields, size = fig.subplots(1, 4)
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    fine = np.linspace(-3, 3, 121)
    coarse = np.linspace(-2.7, 2.7, 11)
    grid = np.stack(np.meshgrid(fine, fine), -1).reshape(-1, 2)
    points = np.stack(np.meshgrid(coarse, coarse), -1).reshape(-1, 2)
    top = np.zeros(len(points), int)
    for ax, t in zip(fields, (10, 40, 80), strict=True):
        law = noised(mixture, t, schedule)
        p = np.exp(law.log_class_probability(grid)[:, 0]).reshape(121, 121)
        pull = classifier_gradient(points, t, top, mixture, schedule)
        ax.contourf(fine, fine, p, np.linspace(0, 1, 11), cmap="Blues")
        ax.quiver(*points.T, *pull.T, angles="xy", width=0.006)
        ax.plot(*law.means.T, "o", color=ORANGE, ms=5)
        ax.set(title=f"t = {t}: longest arrow {np.hypot(*pull.T).max():.2g}", aspect="equal")
        ax.set(xlabel="shade: $p(y = 0 | x_t)$; dots: classes")
    times = range(1, 101, 3)
    rng = np.random.default_rng(0)
    x0, y = mixture.sample(4000, rng)
    eps = rng.standard_normal((4000, 2))
    rms = list[float]()
    late = list[float]()
    for t in times:
        xt = xt_from_x0(x0, eps, t, schedule)
        gradient = classifier_gradient(xt, t, y, mixture, schedule)
        rms.append(np.sqrt((gradient**2).sum(1).mean()))
        late.append(np.hypot(*late_gradient(t, mixture, schedule)[0]))
    size.plot(times, rms, color=BLUE, label="over all data")
    size.plot(times, late, "--", color=GREY, label=r"$\sqrt{\bar\alpha_t} |\mu_y - m|$")
    size.set(title="Length of the gradient (rms)", xlabel="t of 100", ylim=(0, 1.6))
    size.legend(fontsize=8)
    return fig
