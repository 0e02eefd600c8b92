"""Wrong answers in sitting 2: exercise, answer, and a phrase of the hint that is meant for it."""

from __future__ import annotations

from typing import Any

import numpy as np


def root(x: Any) -> Any:
    return np.sqrt(x)


def mean_of(xt: Any, x0: Any, t: int, h: Any) -> Any:
    """The mean of Exercise 2.1."""
    return (root(h.alpha_bar[t - 1]) * h.beta[t] * x0
            + root(h.alpha[t]) * (1 - h.alpha_bar[t - 1]) * xt) / (1 - h.alpha_bar[t])  # fmt: skip


def from_eps(xt: Any, eps: Any, t: int, h: Any) -> Any:
    """The guess of x_0."""
    return (xt - root(1 - h.alpha_bar[t]) * eps) / root(h.alpha_bar[t])


WRONG: list[tuple[str, Any, str]] = [
    ("2.1", lambda x0, xt, t, h: (root(h.alpha_bar[t - 1]) * h.beta[t] * xt
     + root(h.alpha[t]) * (1 - h.alpha_bar[t - 1]) * x0) / (1 - h.alpha_bar[t]), "swapped"),
    ("2.1", lambda x0, xt, t, h: (root(h.alpha_bar[t]) * h.beta[t] * x0
     + root(h.alpha[t]) * (1 - h.alpha_bar[t - 1]) * xt) / (1 - h.alpha_bar[t]),
     "c_0 has alpha_bar of t"),
    ("2.1", lambda x0, xt, t, h: (root(h.alpha_bar[t - 1]) * h.beta[t] * x0
     + root(h.alpha_bar[t]) * (1 - h.alpha_bar[t - 1]) * xt) / (1 - h.alpha_bar[t]),
     "c_t has alpha_bar under"),
    ("2.1", lambda x0, xt, t, h: (h.alpha_bar[t - 1] * h.beta[t] * x0
     + h.alpha[t] * (1 - h.alpha_bar[t - 1]) * xt) / (1 - h.alpha_bar[t]), "roots are missing"),
    ("2.1", lambda x0, xt, t, h: root(h.alpha_bar[t - 1]) * x0
     + root(h.alpha[t]) * (1 - h.alpha_bar[t - 1]) * xt / h.beta[t],
     "1 - alpha in the denominator"),
    ("2.1", lambda x0, xt, t, h: root(h.alpha_bar[t - 1]) * x0, "only one of the two factors"),
    ("2.1", lambda x0, xt, t, h: root(h.alpha_bar[t]) * h.beta[t] / (1 - h.alpha_bar[t]) * x0
     + root(h.alpha[t]) * xt, "stands twice"),
    ("2.1", lambda x0, xt, t, h: (root(h.alpha_bar[t - 1]) * (1 - h.alpha_bar[t - 1]) * x0
     + root(h.alpha[t]) * h.beta[t] * xt) / (1 - h.alpha_bar[t]), "are exchanged: each mean"),
    ("2.1", lambda x0, xt, t, h: np.average(
     [root(h.alpha_bar[t - 1]) * x0, xt / root(h.alpha[t])], 0,
     [1 - h.alpha_bar[t - 1], h.beta[t] / h.alpha[t]]), "weighted by its own variance"),
    ("2.1", lambda x0, xt, t, h: mean_of(xt, x0, t, h) * (1 - h.alpha_bar[t]),
     "this is the numerator"),
    ("2.1", lambda x0, xt, t, h: np.average(
     [root(h.alpha_bar[t - 1]) * x0, xt / root(h.alpha[t])], 0,
     [h.beta[t], 1 - h.alpha_bar[t - 1]]), "is taken as beta"),
    ("2.1", lambda x0, xt, t, h: mean_of(xt * h.alpha[t], x0, t, h), "is taken as sqrt(alpha) x_t"),
    ("2.1", lambda x0, xt, t, h: mean_of(xt, x0 / root(h.alpha_bar[t - 1]), t, h),
     "you have taken x_0 itself"),
    ("2.2", lambda t, h: 1 - h.alpha[t], "variance of a step forward"),
    ("2.2", lambda t, h: h.beta[1] if t == 1 else
     h.beta[t] * (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t]), "The formula gives that"),
    ("2.2", lambda t, h: h.beta[2] * h.beta[1] / (1 - h.alpha_bar[2]) if t == 1 else
     h.beta[t] * (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t]), "value of t = 2"),
    ("2.2", lambda t, h: (h.beta[t] * (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t])) ** 0.5,
     "this is the standard deviation"),
    ("2.2", lambda t, h: h.beta[t] / ((1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t])),
     "fraction is upside down"),
    ("2.2", lambda t, h: 1 / (1 - h.alpha_bar[t - 1]) + h.alpha[t] / h.beta[t],
     "this is the precision"),
    ("2.2", lambda t, h: 1 - h.alpha_bar[t - 1], "x_t contains information"),
    ("2.2", lambda t, h: h.beta[t] / h.alpha[t] + (1 - h.alpha_bar[t - 1]),
     "the two variances are added"),
    ("2.2", lambda t, h: 1 / (1 / h.beta[t] + 1 / np.float64(1 - h.alpha_bar[t - 1])),
     "is taken as 1 / beta"),
    ("2.2", lambda t, h: h.beta[t] - h.beta[t] * h.alpha_bar[t - 1], "product of both variances"),
    ("2.2", lambda t, h: (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t]), "the ratio to beta"),
    ("2.2", lambda t, h: h.beta[t] / h.alpha[t], "a ratio of two alpha_bars"),
    ("2.3", lambda v, xt, t, h: root(h.alpha_bar[t]) * xt + root(1 - h.alpha_bar[t]) * v,
     "the sign of v"),
    ("2.3", lambda v, xt, t, h: root(h.alpha_bar[t]) * v + root(1 - h.alpha_bar[t]) * xt,
     "this is the noise"),
    ("2.3", lambda v, xt, t, h: (xt - root(1 - h.alpha_bar[t]) * v) / root(h.alpha_bar[t]),
     "takes v for eps"),
    ("2.3", lambda v, xt, t, h: h.alpha_bar[t] * (xt + v) - v, "square roots are missing"),
    ("2.3", lambda v, xt, t, h: v + 0 * xt, "takes v for x_0"),
    ("2.3", lambda v, xt, t, h: root(1 - h.alpha_bar[t]) * xt - root(h.alpha_bar[t]) * v,
     "the two factors are exchanged"),
    ("2.3", lambda v, xt, t, h: (root(h.alpha_bar[t]) * xt - v) / root(1 - h.alpha_bar[t]),
     "in the place of eps in the definition"),
    ("2.3", lambda v, xt, t, h: root(1 - h.beta[t]) * xt - root(h.beta[t]) * v,
     "alpha where alpha_bar belongs"),
    ("2.4", lambda xt, eps, t, h, clip:
     (xt - h.beta[t] / root(1 - h.alpha_bar[t]) * eps) / root(1 - h.beta[t]), "the old eps"),
    ("2.4", lambda xt, eps, t, h, clip: np.clip(
     (xt - h.beta[t] / root(1 - h.alpha_bar[t]) * eps) / root(1 - h.beta[t]), -clip, clip),
     "clipped the mean of x_{t-1}"),
    ("2.4", lambda xt, eps, t, h, clip:
     (xt - h.beta[t] / root(1 - h.alpha_bar[t]) * np.clip(eps, -clip, clip)) / root(h.alpha[t]),
     "clipped eps"),
    ("2.4", lambda xt, eps, t, h, clip: np.clip(
     (xt - root(1 - h.alpha_bar[t]) * eps) / root(h.alpha_bar[t]), -clip, clip),
     "clipped guess of x_0 itself"),
    ("2.4", lambda xt, eps, t, h, clip: (root(h.alpha_bar[t - 1]) * h.beta[t]
     * (xt - root(1 - h.alpha_bar[t]) * eps) / root(h.alpha_bar[t]) + root(h.alpha[t])
     * (1 - h.alpha_bar[t - 1]) * np.clip(xt, -clip, clip)) / (1 - h.alpha_bar[t]),
     "you have clipped x_t"),
    ("2.4", lambda xt, eps, t, h, clip: mean_of(
     np.clip(xt, -clip, clip), from_eps(np.clip(xt, -clip, clip), eps, t, h), t, h),
     "x_t is clipped before"),
    ("2.4", lambda xt, eps, t, h, clip: mean_of(
     np.clip(from_eps(xt, eps, t, h), -clip, clip), xt, t, h), "x_t and the guess are exchanged"),
    ("2.4", lambda xt, eps, t, h, clip: mean_of(xt, np.clip(eps, -clip, clip), t, h),
     "eps stands in the place of x_0"),
    ("2.4", lambda xt, eps, t, h, clip: (xt - h.beta[t] / root(1 - h.alpha_bar[t])
     * np.clip(from_eps(xt, eps, t, h), -clip, clip)) / root(h.alpha[t]),
     "stands in the place of eps in the old formula"),
    ("2.4", lambda xt, eps, t, h, clip: mean_of(
     xt, np.minimum(from_eps(xt, eps, t, h), clip), t, h), "from above only"),
    ("2.4", lambda xt, eps, t, h, clip: mean_of(
     xt, np.clip(from_eps(xt, eps, t, h), 0, clip), t, h), "clipped to 0..clip"),
    ("2.4", lambda xt, eps, t, h, clip: root(1 - h.alpha_bar[t - 1]) * eps
     + root(h.alpha_bar[t - 1]) * np.clip(from_eps(xt, eps, t, h), -clip, clip), "a step of DDIM"),
    ("2.4", lambda xt, eps, t, h, clip: mean_of(
     xt, from_eps(np.clip(xt, -clip, clip), eps, t, h), t, h), "from a clipped x_t"),
    ("2.4", lambda xt, eps, t, h, clip: (np.clip(from_eps(xt, eps, t, h), -clip, clip)
     - h.beta[t] / root(1 - h.alpha_bar[t]) * eps) / root(h.alpha[t]),
     "in the place of x_t in the formula"),
]  # fmt: skip
