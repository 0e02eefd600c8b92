"""The figure shows the null output between those of the classes, and what a label tells.

The figure shows fits of both outputs for two values of p, and one output that serves as both.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure, SubFigure

from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule, q_xt_given_xprev
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import eps_from_x0, noised, oracle_eps
from tutorial.step09_condition import (
    drop_labels,
    dropped_var,
    eps_of_all,
    joint_fit,
    joint_loss,
    one_copy_each,
    p_xprev_given_xt_y,
    told_by_label,
)


def four_errors(a: np.ndarray) -> float:
    """Four standard errors of the mean of `a`."""
    return float(4 * a.std() / np.sqrt(len(a)))


def checks_of_condition() -> list[Check]:
    """20,000 steps of a chain of labelled data: the mean given the label; two losses; one class."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    t = 40
    n = 20_000
    model = oracle_eps(mixture, schedule)
    rng = np.random.default_rng(0)
    x0, y = mixture.sample(n, rng)
    null = np.full(n, 3)
    xprev = xt_from_x0(x0, rng.standard_normal((n, 2)), t - 1, schedule)
    xt = q_xt_given_xprev(xprev, t, schedule).sample(rng)
    eps = eps_from_x0(x0, xt, t, schedule)
    mean = p_xprev_given_xt_y(model, xt, t, y, schedule).mean
    missed = (xt * (xprev - mean)).sum(1)
    missed_null = (xt * (eps - eps_of_all(xt, t, mixture, schedule))).sum(1)

    loss_null = ((eps - model(xt, t, null)) ** 2).sum(1)
    loss_y = ((eps - model(xt, t, y)) ** 2).sum(1)
    more = loss_null - loss_y
    told = told_by_label(xt, t, y, mixture, schedule)
    end = told_by_label(xt, 100, y, mixture, schedule).max()
    return [
        Check("(9.2) what the mean misses, times x_t", missed.mean(), 0, four_errors(missed)),
        Check(
            "(9.3) what the null mean misses, times x_t",
            missed_null.mean(),
            0,
            four_errors(missed_null),
        ),
        Check(
            "(9.4) loss without the label, more",
            more.mean(),
            told.mean(),
            four_errors(more - told),
        ),
        Check("(9.4) what a label tells at T", end, 0, 1e-5),
    ]


def draw_condition(fig: Figure | SubFigure) -> None:
    """The null output between those of classes, on a line; what a label tells at each t."""
    outputs, worth = fig.subplots(1, 2)
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    t = 40
    n = 5000
    model = oracle_eps(mixture, schedule)
    height = np.linspace(-2, 2.5, 200)
    line = np.stack([0 * height, height], 1)
    p = np.exp(noised(mixture, t, schedule).log_class_probability(line)[:, 0])
    outputs.fill_between(height, -4.2, 8 * p - 4.2, color=BLUE, alpha=0.12, lw=0)
    for k, color, name in ((0, BLUE, "y = 0"), (1, ORANGE, "y = 1 or 2"), (3, GREY, "null label")):
        up = model(line, t, np.full(200, k))[:, 1]
        outputs.plot(height, up, color=color, label=name, lw=3 if k == 3 else 1.5)
    outputs.set(title="$\\epsilon(x_t, y)$ upwards, on the line $x = 0$ (t = 40)", ylim=(-4.2, 3.8))
    outputs.set(xlabel="height of $x_t$; shade: $p(y = 0 | x_t)$ from 0 to 1")
    rng = np.random.default_rng(0)
    times = range(1, 101, 3)
    x0, y = mixture.sample(n, rng)
    null = np.full(n, 3)
    eps = rng.standard_normal((n, 2))
    told = list[float]()
    more = list[float]()
    for t in times:
        xt = xt_from_x0(x0, eps, t, schedule)
        told.append(told_by_label(xt, t, y, mixture, schedule).mean())
        loss_null = ((eps - model(xt, t, null)) ** 2).sum(1).mean()
        loss_y = ((eps - model(xt, t, y)) ** 2).sum(1).mean()
        more.append(loss_null - loss_y)
    worth.plot(times, told, color=BLUE, label="$E|d|^2$")
    worth.plot(times, more, "+", color=GREY, label="difference of two losses")
    worth.set(title="What a label tells of the noise", xlabel="t of 100")
    for ax in (outputs, worth):
        ax.legend(fontsize=8)


def checks_of_label_dropout() -> list[Check]:
    """The loss with coins and without; what a wrong pair costs; two fits, and the oracle."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    t = 40
    n = 10_000
    model = oracle_eps(mixture, schedule)
    rng = np.random.default_rng(0)
    null = np.full(n, 3)
    x0, y = mixture.sample(n, rng)
    eps = rng.standard_normal((n, 2))
    xt = xt_from_x0(x0, eps, t, schedule)
    f_y = model(xt, t, y)
    f_null = model(xt, t, null)
    loss = joint_loss(eps, f_y, f_null, 0.2)
    y_drawn = drop_labels(y, 0.2, 3, rng)
    drawn = ((eps - model(xt, t, y_drawn)) ** 2).sum(1)
    drawn_error = four_errors(drawn - loss)

    # Outputs that are a tenth too large, and what that costs by the right side of (9.7).
    more = joint_loss(eps, 1.1 * f_y, 1.1 * f_null, 0.2) - loss
    cost = joint_loss(0 * eps, 0.1 * f_y, 0.1 * f_null, 0.2)
    cost_error = four_errors(more - cost)

    features = np.hstack([xt, np.ones((n, 1)), f_null])
    with_y = one_copy_each(features, y, 3)
    without = one_copy_each(features, null, 3)
    rare = joint_fit(with_y, without, eps, 0.1)
    often = joint_fit(with_y, without, eps, 0.9)
    off_y = ((f_y - with_y @ rare) ** 2).sum(1).mean()
    off_null = ((f_null - without @ rare) ** 2).sum(1).mean()
    off = off_y + off_null

    dropped = drop_labels(np.zeros(400_000, int), 0.2, 3, rng) == 3
    count = dropped.reshape(4000, 100).sum(1)
    var = dropped_var(100, 0.2)
    var_error = 4 * var * np.sqrt(2 / 4000)
    return [
        Check("(9.6) loss, labels drawn", drawn.mean(), loss.mean(), drawn_error),
        Check("(9.7) what a tenth too much costs", more.mean(), cost.mean(), cost_error),
        Check("(9.7) fits, p = .1 less p = .9", np.abs(rare - often).max(), 0, 1e-9),
        # 5 weights of 4 labels in 2 outputs cost at most 1 / n each, on average; four times that.
        Check("(9.7) fit, distance from the oracle", off, 0, 160 / n),
        Check("(9.8) variance of n', n = 100", count.var(), var, var_error),
    ]


def draw_label_dropout(fig: Figure | SubFigure) -> None:
    """Fits of both outputs for two shares; then one output for both, over all shares."""
    fits, shared = fig.subplots(1, 2)
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    n = 12_000
    model = oracle_eps(mixture, schedule)
    rng = np.random.default_rng(0)
    probabilities = np.arange(11) / 10
    x0, y = mixture.sample(n, rng)
    eps = rng.standard_normal((n, 2))
    xt = xt_from_x0(x0, eps, 40, schedule)
    height = np.arange(-1.9, 2.4, 0.2)
    bins = (np.abs(xt[:, [1]] - height) < 0.1).astype(np.float64)

    # A null label of its own: one fit per p, a row per label and a column per bin.
    null = np.full_like(y, 3)
    with_y = one_copy_each(bins, y, 3)
    without = one_copy_each(bins, null, 3)
    rare = joint_fit(with_y, without, eps, 0.1)[:, 1].reshape(4, -1)
    often = joint_fit(with_y, without, eps, 0.9)[:, 1].reshape(4, -1)

    # A null label that shares its number with class 0: the row of that number, for each p.
    with_y = one_copy_each(bins, y, 2)
    without = one_copy_each(bins, 0 * y, 2)
    both = [joint_fit(with_y, without, eps, p)[: len(height), 1] for p in probabilities]

    for k, shown, color, name in ((0, y == 0, BLUE, "y = 0"), (3, y < 3, GREY, "null label")):
        seen = bins[shown]
        exact = model(xt[shown], 40, 0 * y[shown] + k)[:, 1]
        here = seen.sum(0) > 30  # samples in a bin
        line = exact @ seen[:, here] / seen[:, here].sum(0)
        fits.plot(height[here], line, color=color, label=f"{name}: oracle")
        for table, marker, p in ((rare, "+", "0.1"), (often, "o", "0.9")):
            label = f"{name}: fit, p = {p}"
            fits.plot(
                height[here], table[k, here], marker, mfc="none", ms=7, color=color, label=label
            )
        far = [seen.mean(0) @ (row - rare[k]) ** 2 for row in both]
        shared.plot(
            probabilities, far, "o-", ms=4, color=color, label=f"{name}: one number for both"
        )
    shared.axhline(0, color="black", lw=1, label="either: a number each")
    fits.set(title="One fit of both, on bins of height (t = 40)", xlabel="height of $x_t$")
    fits.set_ylabel("eps, upwards")
    shared.set(title="Null label with the number of class 0: square off", xlabel="$p$")
    for ax in (fits, shared):
        ax.legend(fontsize=7)


def checks() -> list[Check]:
    """All numbers that the lesson checks."""
    return [
        *checks_of_condition(),
        *checks_of_label_dropout(),
    ]


def figure() -> Figure:
    """The null output between those of classes, on a line; what a label tells at each t.

    Below: fits of both outputs for two shares; then one output for both, over all shares.
    """
    fig = Figure(figsize=(11, 7.2), layout="constrained")
    top, bottom = cast(Any, fig).subfigures(2, 1, height_ratios=(3.6, 3.6))
    draw_condition(top)
    draw_label_dropout(bottom)
    return fig
