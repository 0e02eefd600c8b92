"""The figure shows scores, the factor of an error for each output, and the lowest loss."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREEN, GREY, RED, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import (
    excess_loss,
    lowest_loss,
    noised,
    oracle_eps,
    score,
    x0_coefficients,
)


def checks() -> list[Check]:
    """The slope of the log density; the loss of the oracle, and of one that is not; the end."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    rng = np.random.default_rng(0)
    h = 1e-5
    x = np.array([[0.3, -0.2], [0.3 + h, -0.2], [0.3 - h, -0.2]])
    null = np.full(3, 3)
    _, above, below = noised(mixture, 50, schedule).log_density(x)
    slope = (above - below) / (2 * h)
    s = score(x, 50, null, mixture, schedule)[0, 0]
    end = oracle_eps(mixture, Schedule.cosine(1000))(x, 1000, null)[0, 0]

    x0, y = mixture.sample(100_000, rng)
    eps = rng.standard_normal((100_000, 2))
    xt = xt_from_x0(x0, eps, 50, schedule)
    best = oracle_eps(mixture, schedule)(xt, 50, y)
    wrong = 0.1 * np.sin(xt)
    loss = ((eps - best) ** 2).sum(1)
    loss_error = 4 * loss.std() / np.sqrt(len(loss))
    cost = excess_loss(best + wrong, best).mean()
    more = ((eps - best - wrong) ** 2).sum(1) - loss
    more_error = 4 * more.std() / np.sqrt(len(more))
    floor = sum(lowest_loss(k, 50, mixture, schedule) for k in range(3)) / 3
    return [
        Check("(5.15) score, by a finite difference", s, slope, 1e-8),
        Check("(5.1) what 0.1 sin(x_t) more costs", more.mean(), cost, more_error),
        Check("(5.16) loss of the oracle", loss.mean(), floor, loss_error),
        Check("(5.17) eps at x_t = 0.3, t = T = 1000", end, x[0, 0], 1e-4),
    ]


def figure() -> Figure:
    """The score with and without the label; the factor of an error; the lowest possible loss."""
    fig = Figure(figsize=(14, 3.6), layout="constrained")
    left, middle, factor, right = fig.subplots(1, 4)
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    rng = np.random.default_rng(0)
    law = noised(mixture, 40, schedule)
    model = oracle_eps(mixture, schedule)
    times = range(1, 101)
    fine = np.linspace(-3, 3, 121)
    coarse = np.linspace(-2.7, 2.7, 13)
    grid = np.stack(np.meshgrid(fine, fine), -1).reshape(-1, 2)
    points = np.stack(np.meshgrid(coarse, coarse), -1).reshape(-1, 2)
    p_all = np.exp(law.log_density(grid))
    p_of_class = p_all * np.exp(law.log_class_probability(grid)[:, 0])
    for ax, k, p, which in ((left, 3, p_all, "All classes"), (middle, 0, p_of_class, "Class 0")):
        s = score(points, 40, np.full(len(points), k), mixture, schedule)
        ax.contourf(fine, fine, p.reshape(121, 121), levels=12, cmap="Blues")
        ax.quiver(*points.T, *s.T, angles="xy", width=0.005)
        ax.set(title=f"{which}: density and score (t = 40)", aspect="equal")
        ax.set(xlabel="first coordinate of $x_t$", ylabel="second coordinate")
    for prediction, label, color in (
        ("eps", "the noise", RED),
        ("x0", "the data", BLUE),
        ("v", "the velocity", GREEN),
    ):
        sizes = [abs(x0_coefficients(t, schedule, prediction)[1]) for t in times]
        factor.semilogy(times, sizes, color=color, label=f"output: {label}")
    factor.set(xlabel="t", ylabel="$|q_t|$", title="Factor of an error of the network")
    x0, y = mixture.sample(20_000, rng)
    eps = rng.standard_normal((20_000, 2))
    for name, label, color in (("without the label", 0 * y + 3, GREY), ("given the label", y, RED)):
        best = [model(xt_from_x0(x0, eps, t, schedule), t, label) for t in times]
        loss = [2 - (b**2).sum(1).mean() for b in best]  # (5.1) with f = 0
        right.plot(times, loss, color=color, label=name)
    right.set(xlabel="t", ylabel="mean of $|\\epsilon - \\hat\\epsilon|^2$")
    right.set(title="The lowest possible loss")
    for ax in (factor, right):
        ax.legend(fontsize=8)
    return fig
