"""The figure shows the null output between those of the classes, and what a label tells."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import q_xt_given_xprev
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_reverse import eps_from_x0
from tutorial.step07_oracle import noised, oracle_eps
from tutorial.step09_condition import eps_of_all, p_xprev_given_xt_y, told_by_label


def four_errors(a: np.ndarray) -> float:
    """Four standard errors of the mean of `a`."""
    return float(4 * a.std() / np.sqrt(len(a)))


def checks() -> list[Check]:
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


def figure() -> Figure:
    """The null output between those of classes, on a line; what a label tells at each t."""
    fig = Figure(figsize=(11, 3.6), layout="constrained")
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
    return fig
