"""The figure of step 10: the gradient of the exact classifier at three times, and its length."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import noised, oracle_eps
from tutorial.step09_condition import p_xprev_given_xt_y
from tutorial.step10_classifier import (
    classifier_gradient,
    classifier_guided_eps,
    gradient_at_noise_end,
    gradient_from_eps,
    mean_gradient,
    mean_shift,
)


def checks() -> list[Check]:
    """The slope of a classifier by two routes, the balance of all classes, a step, the end."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    t = 40
    h = 1e-5
    x = np.array([[0.3, -0.2], [0.3, -0.2 + h], [0.3, -0.2 - h]])
    ones = np.ones(3, int)
    model = oracle_eps(mixture, schedule)
    log_p = noised(mixture, t, schedule).log_class_probability(x)
    slope = (log_p[1, 0] - log_p[2, 0]) / (2 * h)
    gradients = [classifier_gradient(x, t, y * ones, mixture, schedule) for y in range(3)]
    total = mean_gradient(np.exp(log_p), np.array(gradients))

    eps_y = model(x, t, 0 * ones)
    eps_null = model(x, t, 3 * ones)
    conditional = classifier_guided_eps(eps_null, gradients[0], 1.0, t, schedule)
    free = gradient_from_eps(eps_y, eps_null, t, schedule)

    mean_y = p_xprev_given_xt_y(model, x, t, 0 * ones, schedule).mean
    mean_null = p_xprev_given_xt_y(model, x, t, 3 * ones, schedule).mean
    moved = mean_y - mean_null - mean_shift(gradients[0], t, schedule)
    late = classifier_gradient(x, 99, 0 * ones, mixture, schedule)[0, 1]
    limit = gradient_at_noise_end(99, mixture, schedule)[0, 1]
    return [
        Check("(10.1) gradient, by a finite difference", gradients[0][0, 1], slope, 1e-8),
        Check("(10.2) weighted sum over the classes", np.abs(total).max(), 0, 1e-14),
        Check(
            "(10.3) gamma = 1 is the conditional model",
            np.abs(conditional - eps_y).max(),
            0,
            1e-13,
        ),
        Check("(10.4) gradient, from two predictions", free[0, 1], slope, 1e-8),
        Check("(10.5) shift of the mean", np.abs(moved).max(), 0, 1e-14),
        Check("(10.6) gradient at t = 99 of 100", late, limit, 0.05 * limit),
    ]


def draw_gradient(ax: Any, t: int) -> None:
    """The gradient for class 0 on a grid of points, over the probability of the class."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    fine = np.linspace(-3, 3, 121)
    coarse = np.linspace(-2.7, 2.7, 11)
    grid = np.stack(np.meshgrid(fine, fine), -1).reshape(-1, 2)
    points = np.stack(np.meshgrid(coarse, coarse), -1).reshape(-1, 2)
    mixture_t = noised(mixture, t, schedule)
    p = np.exp(mixture_t.log_class_probability(grid)[:, 0]).reshape(121, 121)
    gradient = classifier_gradient(points, t, np.zeros(len(points), int), mixture, schedule)
    ax.contourf(fine, fine, p, np.linspace(0, 1, 11), cmap="Blues")
    ax.quiver(*points.T, *gradient.T, angles="xy", width=0.006)
    ax.plot(*mixture_t.means.T, "o", color=ORANGE, ms=5)
    longest = np.hypot(*gradient.T).max()
    ax.set(title=f"t = {t}: longest arrow {longest:.2g}", aspect="equal")
    ax.set(xlabel="shading: $p(y = 0 | x_t)$\ndots: means of the classes")


def draw_length(ax: Any) -> None:
    """The root mean square length of the gradient at each t, and its limit at the noise end."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    rng = np.random.default_rng(0)
    x0, y = mixture.sample(4000, rng)
    eps = rng.standard_normal((4000, 2))
    times = range(1, 101, 3)
    rms = list[float]()
    limit = list[float]()
    for t in times:
        xt = xt_from_x0(x0, eps, t, schedule)
        gradient = classifier_gradient(xt, t, y, mixture, schedule)
        rms.append(np.sqrt((gradient**2).sum(1).mean()))
        limit.append(np.hypot(*gradient_at_noise_end(t, mixture, schedule)[0]))
    ax.plot(times, rms, color=BLUE, label="root mean square over the data")
    ax.plot(times, limit, "--", color=GREY, label=r"limit $\sqrt{\bar\alpha_t} |\mu_y - m|$")
    ax.set(title="Length of the gradient", xlabel="t of 100", ylim=(0, 1.6))
    ax.legend(fontsize=8)


def figure() -> Figure:
    """The gradient for class 0 at three times, and how long it is at each t."""
    fig = Figure(figsize=(13, 3.8), layout="constrained")
    axes = fig.subplots(1, 4)
    for ax, t in zip(axes[:3], (10, 40, 80), strict=True):
        draw_gradient(ax, t)
    draw_length(axes[3])
    return fig
