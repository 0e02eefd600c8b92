"""The figure of step 9: both predictions, the effect of a label, and label dropout."""

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
    columns_of_label,
    drop_labels,
    dropped_var,
    eps_null_from_classes,
    excess_joint_loss,
    joint_fit,
    joint_loss,
    p_xprev_given_xt_y,
    squared_label_effect,
)


def four_errors(a: np.ndarray) -> float:
    """Four standard errors of the mean of `a`."""
    return float(4 * a.std() / np.sqrt(len(a)))


def checks_of_condition() -> list[Check]:
    """20,000 steps of a chain of labelled data: the mean given the label, and two losses."""
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
    missed_null = (xt * (eps - eps_null_from_classes(xt, t, mixture, schedule))).sum(1)

    loss_null = ((eps - model(xt, t, null)) ** 2).sum(1)
    loss_y = ((eps - model(xt, t, y)) ** 2).sum(1)
    more = loss_null - loss_y
    effect = squared_label_effect(xt, t, y, mixture, schedule)
    end = squared_label_effect(xt, 100, y, mixture, schedule).max()
    return [
        Check("(9.2) error of the mean, times x_t", missed.mean(), 0, four_errors(missed)),
        Check(
            "(9.3) error of the null mean, times x_t",
            missed_null.mean(),
            0,
            four_errors(missed_null),
        ),
        Check(
            "(9.4) increase of the loss without the label",
            more.mean(),
            effect.mean(),
            four_errors(more - effect),
        ),
        Check("(9.4) squared effect of a label at T", end, 0, 1e-5),
    ]


def checks_of_label_dropout() -> list[Check]:
    """The loss with labels drawn and averaged; the excess of a wrong pair; two fits; a variance."""
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
    best_y = model(xt, t, y)
    best_null = model(xt, t, null)
    loss = joint_loss(eps, best_y, best_null, 0.2)
    y_drawn = drop_labels(y, 0.2, 3, rng)
    drawn = ((eps - model(xt, t, y_drawn)) ** 2).sum(1)
    drawn_error = four_errors(drawn - loss)

    # Outputs that are a tenth too large.
    f_y = 1.1 * best_y
    f_null = 1.1 * best_null
    more = joint_loss(eps, f_y, f_null, 0.2) - loss
    excess = excess_joint_loss(f_y, f_null, best_y, best_null, 0.2)
    excess_error = four_errors(more - excess)

    features = np.hstack([xt, np.ones((n, 1)), best_null])
    with_y = columns_of_label(features, y, 3)
    with_null = columns_of_label(features, null, 3)
    small_p = joint_fit(with_y, with_null, eps, 0.1)
    large_p = joint_fit(with_y, with_null, eps, 0.9)
    off = excess_joint_loss(with_y @ small_p, with_null @ small_p, best_y, best_null, 0.5)

    dropped = drop_labels(np.zeros(400_000, int), 0.2, 3, rng) == 3
    count = dropped.reshape(4000, 100).sum(1)
    var = dropped_var(100, 0.2)
    var_error = 4 * var * np.sqrt(2 / 4000)
    return [
        Check("(9.6) loss, labels drawn", drawn.mean(), loss.mean(), drawn_error),
        Check("(9.7) excess of a tenth too much", more.mean(), excess.mean(), excess_error),
        Check("(9.7) fits, p = .1 minus p = .9", np.abs(small_p - large_p).max(), 0, 1e-9),
        # 5 weights of 4 labels in 2 outputs add at most 1 / n each to the mean squared distances
        # with and without the label. `off` is half their sum; the limit is four times that.
        Check("(9.7) fit, distance from the oracle", off.mean(), 0, 80 / n),
        Check("(9.8) variance of n', n = 100", count.var(), var, var_error),
    ]


def checks() -> list[Check]:
    """The numbers of both halves of the lesson."""
    return [*checks_of_condition(), *checks_of_label_dropout()]


def draw_predictions(ax: Any) -> None:
    """The predictions with and without a label along a vertical line through the data."""
    schedule = Schedule.cosine(100)
    mixture = three_gaussians()
    model = oracle_eps(mixture, schedule)
    height = np.linspace(-2, 2.5, 200)
    line = np.stack([0 * height, height], 1)
    p = np.exp(noised(mixture, 40, schedule).log_class_probability(line)[:, 0])
    ax.fill_between(height, -4.2, 8 * p - 4.2, color=BLUE, alpha=0.12, lw=0)
    for y, color, name in (
        (0, BLUE, "class 0"),
        (1, ORANGE, "class 1 or 2"),
        (3, GREY, "without a label"),
    ):
        eps = model(line, 40, np.full(200, y))
        ax.plot(height, eps[:, 1], color=color, label=name, lw=3 if y == 3 else 1.5)
    ax.set(title="Predictions on the vertical line through 0 (t = 40 of 100)", ylim=(-4.2, 3.8))
    ax.set(xlabel="height of $x_t$; shading: $p(y = 0 | x_t)$ from 0 to 1")
    ax.set_ylabel("vertical component of eps")
    ax.legend(fontsize=8)


def draw_label_effect(ax: Any) -> None:
    """The mean squared effect of a label in two units, and the uncertainty of the label."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    n = 5000
    model = oracle_eps(mixture, schedule)
    rng = np.random.default_rng(0)
    x0, y = mixture.sample(n, rng)
    null = np.full(n, 3)
    eps = rng.standard_normal((n, 2))
    times = range(1, 101, 3)
    in_eps = list[float]()
    in_x0 = list[float]()
    entropy = list[float]()
    more = list[float]()
    for t in times:
        xt = xt_from_x0(x0, eps, t, schedule)
        abar = schedule.alpha_bar[t]
        effect = squared_label_effect(xt, t, y, mixture, schedule).mean()
        in_eps.append(effect)
        in_x0.append(effect * (1 - abar) / abar)
        log_p = noised(mixture, t, schedule).log_class_probability(xt)
        entropy.append(-(np.exp(log_p) * log_p).sum(1).mean())
        loss_null = ((eps - model(xt, t, null)) ** 2).sum(1)
        loss_y = ((eps - model(xt, t, y)) ** 2).sum(1)
        more.append((loss_null - loss_y).mean())
    ax.plot(times, in_x0, color=ORANGE, label="mean squared effect on the guess of $x_0$")
    ax.plot(times, entropy, "--", color=GREY, label="entropy of the label given $x_t$, nats")
    ax.plot(times, in_eps, color=BLUE, label="mean squared effect on the prediction of eps")
    ax.plot(times, more, "+", color=BLUE, label="difference of the two losses")
    ax.set(title="How much does a label help? It depends on the unit", xlabel="t of 100")
    ax.legend(fontsize=8)


def draw_fits(fits: Any, shared: Any) -> None:
    """Fits of both outputs for two values of p, and one output that serves both labels."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    n = 12_000
    model = oracle_eps(mixture, schedule)
    rng = np.random.default_rng(0)
    x0, y = mixture.sample(n, rng)
    eps = rng.standard_normal((n, 2))
    xt = xt_from_x0(x0, eps, 40, schedule)
    height = np.arange(-1.9, 2.4, 0.2)
    bins = (np.abs(xt[:, [1]] - height) < 0.1).astype(np.float64)

    # The null label has its own number: one fit per p, one row per label and one column per bin.
    null = np.full_like(y, 3)
    with_y = columns_of_label(bins, y, 3)
    with_null = columns_of_label(bins, null, 3)
    small_p = joint_fit(with_y, with_null, eps, 0.1)[:, 1].reshape(4, -1)
    large_p = joint_fit(with_y, with_null, eps, 0.9)[:, 1].reshape(4, -1)

    # The null label has the number of class 0: the row of this number, for each p.
    with_y = columns_of_label(bins, y, 2)
    with_null = columns_of_label(bins, 0 * y, 2)
    probabilities = np.arange(11) / 10
    rows = [joint_fit(with_y, with_null, eps, p)[: len(height), 1] for p in probabilities]

    for label, shown, color, name in (
        (0, y == 0, BLUE, "class 0"),
        (3, y < 3, GREY, "without a label"),
    ):
        seen = bins[shown]
        exact = model(xt[shown], 40, 0 * y[shown] + label)[:, 1]
        here = seen.sum(0) > 30  # samples in a bin
        line = exact @ seen[:, here] / seen[:, here].sum(0)
        fits.plot(height[here], line, color=color, label=f"{name}: oracle")
        for table, marker, p in ((small_p, "+", "0.1"), (large_p, "o", "0.9")):
            fits.plot(
                height[here],
                table[label, here],
                marker,
                mfc="none",
                ms=7,
                color=color,
                label=f"{name}: fit with $p_u$ = {p}",
            )
        distance = [seen.mean(0) @ (row - small_p[label]) ** 2 for row in rows]
        shared.plot(probabilities, distance, "o-", ms=4, color=color, label=name)
    fits.set(title="One fit of both outputs: $p_u$ does not matter", xlabel="height of $x_t$")
    fits.set_ylabel("vertical component of eps")
    fits.legend(fontsize=7)
    shared.set(title="The null label has the number of class 0: $p_u$ decides")
    shared.set(xlabel="$p_u$", ylabel="distance to the separate fit (mean square)")
    shared.legend(fontsize=8)


def draw_condition(fig: Figure | SubFigure) -> None:
    """The predictions with and without a label, and the effect of a label at each t."""
    predictions, effect = fig.subplots(1, 2)
    draw_predictions(predictions)
    draw_label_effect(effect)


def draw_label_dropout(fig: Figure | SubFigure) -> None:
    """One network for both predictions: with a number for the null label, and without."""
    fits, shared = fig.subplots(1, 2)
    draw_fits(fits, shared)


def figure() -> Figure:
    """Above: the predictions and the effect of a label. Below: label dropout, right and wrong."""
    fig = Figure(figsize=(12, 7.6), layout="constrained")
    top, bottom = cast(Any, fig).subfigures(2, 1)
    draw_condition(top)
    draw_label_dropout(bottom)
    return fig
