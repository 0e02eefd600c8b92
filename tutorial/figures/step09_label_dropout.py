"""The figure shows fits of both outputs for two values of p, and one output that serves as both."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, Check
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import three_gaussians
from tutorial.step03_marginal import xt_from_x0
from tutorial.step07_oracle import oracle_eps
from tutorial.step09_label_dropout import drop_labels, joint_fit, joint_loss, one_copy_each


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
    drawn = ((eps - model(xt, t, drop_labels(y, 0.2, 3, rng))) ** 2).sum(1)
    more = joint_loss(eps, 1.1 * f_y, 1.1 * f_null, 0.2) - loss
    cost = joint_loss(0 * eps, 0.1 * f_y, 0.1 * f_null, 0.2)  # (9.7)
    base = np.hstack([xt, np.ones((n, 1)), f_null])
    of_y, of_null = (one_copy_each(base, label, 3) for label in (y, null))
    rare, often = (joint_fit(of_y, of_null, eps, p) for p in (0.1, 0.9))
    pairs = ((f_y, of_y), (f_null, of_null))
    off = sum(((best - of @ rare) ** 2).sum(1).mean() for best, of in pairs)
    count = (drop_labels(np.zeros(400_000, int), 0.2, 3, rng).reshape(4000, 100) == 3).sum(1)
    allowed = [4 * a.std() / n**0.5 for a in (drawn - loss, more - cost)]
    return [
        Check("(9.6) loss, labels drawn", drawn.mean(), loss.mean(), allowed[0]),
        Check("(9.7) what a tenth too much costs", more.mean(), cost.mean(), allowed[1]),
        Check("(9.7) fits, p = .1 less p = .9", np.abs(rare - often).max(), 0, 1e-9),
        # 5 weights of 4 labels in 2 outputs cost at most 1 / n each, on average; four times that.
        Check("(9.7) fit, distance from the oracle", off, 0, 160 / n),
        Check("(9.8) variance of n', n = 100", count.var(), 16, 4 * 16 * (2 / 4000) ** 0.5),
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
    shares = np.arange(11) / 10
    x0, y = mixture.sample(n, rng)
    eps = rng.standard_normal((n, 2))
    xt = xt_from_x0(x0, eps, 40, schedule)
    height = np.arange(-1.9, 2.4, 0.2)
    bins = (np.abs(xt[:, [1]] - height) < 0.1).astype(np.float64)
    of_y, of_null = (one_copy_each(bins, label, 3) for label in (y, 0 * y + 3))
    tables = [joint_fit(of_y, of_null, eps, p)[:, 1].reshape(4, -1) for p in (0.1, 0.9)]
    of_y, of_null = (one_copy_each(bins, label, 2) for label in (y, 0 * y))
    both = [joint_fit(of_y, of_null, eps, p)[: len(height), 1] for p in shares]
    for k, shown, color, name in ((0, y == 0, BLUE, "y = 0"), (3, y < 3, GREY, "null label")):
        seen = bins[shown]
        exact = model(xt[shown], 40, 0 * y[shown] + k)[:, 1]
        here = seen.sum(0) > 30  # samples in a bin
        line = exact @ seen[:, here] / seen[:, here].sum(0)
        fits.plot(height[here], line, color=color, label=f"{name}: oracle")
        for table, style, p in zip(tables, "+o", ("0.1", "0.9"), strict=True):
            look = {"mfc": "none", "ms": 7, "color": color, "label": f"{name}: fit, p = {p}"}
            fits.plot(height[here], table[k, here], style, **look)
        far = [seen.mean(0) @ (table - tables[0][k]) ** 2 for table in both]
        shared.plot(shares, far, "o-", ms=4, color=color, label=f"{name}: one number for both")
    shared.axhline(0, color="black", lw=1, label="either: a number each")
    fits.set(title="One fit of both, on bins of height (t = 40)", xlabel="height of $x_t$")
    fits.set_ylabel("eps, upwards")
    shared.set(title="Null label with the number of class 0: square off", xlabel="$p$")
    for ax in (fits, shared):
        ax.legend(fontsize=7)
    return fig
