"""The inputs that represent time, the check of the gradient, and the loss with a wrong gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.e_backprop import (
    Arrays,
    angles,
    backward,
    forward,
    furthest,
    init,
    squared_error,
)
from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step09_condition import drop_labels

Backward = Callable[[Arrays, np.ndarray, Arrays], Arrays]


def not_transposed(p: Arrays, Gf: np.ndarray, passed: Arrays) -> Arrays:
    """The gradient with a mistake: the square array `W2` is not transposed."""
    return backward(p | {"W2": p["W2"].T}, Gf, passed)


def descend(gradient: Backward, updates: int = 500) -> np.ndarray:
    """The loss before each plain update `p - 0.1 G`, on batches of 256 that are always the same."""
    rng = np.random.default_rng(0)
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    n = 256
    p = init(3, 32, rng)
    losses = np.zeros(updates)
    for k in range(updates):
        x0, y = mixture.sample(n, rng)
        t = rng.integers(1, 101, n)
        eps = rng.standard_normal((n, 2))
        signal = np.sqrt(schedule.alpha_bar[t])[:, None]
        noise = np.sqrt(1 - schedule.alpha_bar[t])[:, None]
        xt = signal * x0 + noise * eps  # (3.2), with a time per row
        shown = drop_labels(y, 0.2, 3, rng)
        f, passed = forward(p, xt, angles(t, schedule), shown)
        losses[k], Gf = squared_error(eps, f)
        G = gradient(p, Gf, passed)
        for name in p:
            p[name] = p[name] - 0.1 * G[name]
    return losses


def checks() -> list[Check]:
    """Every number of every gradient against a difference, whose own rounding is about 1e-11."""
    found: list[Check] = []
    for name, off in furthest(1e-5).items():
        equation = "E.8" if name == "E" else "E.6"
        found.append(Check(f"({equation}) gradient of {name}, largest error", off, 0, 1e-9))
    right = descend(backward)[-100:].mean()
    wrong = descend(not_transposed)[-100:].mean()
    found.append(Check("loss with the right gradient", right, 0.77, 0.01))
    found.append(Check("loss, W2 not transposed", wrong, 0.786, 0.01))
    return found


def figure() -> Figure:
    """Time as four inputs; the error of the check over the distance r; two losses."""
    fig = Figure(figsize=(13, 3.9), layout="constrained")
    times, check, losses = fig.subplots(1, 3)
    names = (r"$\cos \omega_t$", r"$\sin \omega_t$", r"$\cos 2\omega_t$", r"$\sin 2\omega_t$")
    for k, tau in enumerate(angles(np.arange(101), Schedule.linear(100)).T):
        times.plot(tau, color=CLASS_COLORS[k], label=names[k])
    times.set(title="The four inputs that represent the time\n(linear schedule, T = 100)")
    times.set(xlabel="t", ylabel="value of the input")
    times.legend(fontsize=8)

    r = np.logspace(-11, 0, 23)
    check.loglog(r, [max(furthest(x).values()) for x in r], color=BLUE, marker=".")
    check.loglog(r[12:], 0.01 * r[12:] ** 2, color=GREY, ls="--", label="proportional to $r^2$")
    check.loglog(r[:14], 1e-16 / r[:14], color=GREY, ls=":", label="$10^{-16} / r$")
    check.set(title="Backpropagation and central differences\nagree best near r = $10^{-5}$")
    check.set(xlabel="distance r", ylabel="largest difference of a derivative")
    check.legend(fontsize=8)

    for name, gradient, color in (
        ("right gradient", backward, BLUE),
        ("$W_2$ not transposed", not_transposed, ORANGE),
    ):
        mean = descend(gradient).reshape(-1, 20).mean(1)
        losses.plot(10 + 20 * np.arange(len(mean)), mean, color=color, marker=".", label=name)
    losses.set(title="A wrong gradient also lowers the loss:\nthe curves alone do not reveal it")
    losses.set(xlabel="plain updates", ylabel="loss, mean over 20 batches", ylim=(0.6, 1.6))
    losses.legend(fontsize=8)
    return fig
