"""The figure shows fits of both outputs for two values of p, and one output that serves as both."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, Check
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import three_gaussians
from tutorial.step03_marginal import xt_from_x0
from tutorial.step07_oracle import oracle_eps
from tutorial.step09_label_dropout import (
    drop_labels,
    dropped_var,
    joint_fit,
    joint_loss,
    one_copy_each,
)


def four_errors(a: np.ndarray) -> float:
    """Four standard errors of the mean of `a`."""
    return float(4 * a.std() / np.sqrt(len(a)))


def checks() -> list[Check]:
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


def figure() -> Figure:
    """Fits of both outputs for two shares; then one output for both, over all shares."""
    fig = Figure(figsize=(11, 3.6), layout="constrained")
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
    return fig
