"""Wrong answers in sitting 2: exercise, answer, and a phrase of the hint that is meant for it."""

from __future__ import annotations

from typing import Any

import numpy as np


def root(x: Any) -> Any:
    return np.sqrt(x)


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
    ("2.2", lambda t, h: 1 - h.alpha[t], "variance of a step forward"),
    ("2.2", lambda t, h: h.beta[1] if t == 1 else
     h.beta[t] * (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t]), "The formula gives that"),
    ("2.2", lambda t, h: h.beta[2] * h.beta[1] / (1 - h.alpha_bar[2]) if t == 1 else
     h.beta[t] * (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t]), "value of t = 2"),
    ("2.2", lambda t, h: (h.beta[t] * (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t])) ** 0.5,
     "this is the standard deviation"),
    ("2.2", lambda t, h: h.beta[t] / ((1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t])),
     "fraction is upside down"),
    ("2.2", lambda t, h: 1 / (1 - h.alpha_bar[t - 1]) + h.alpha[t] / h.beta[t], "the precision"),
    ("2.2", lambda t, h: 1 - h.alpha_bar[t - 1], "x_t contains information"),
    ("2.3", lambda v, xt, t, h: root(h.alpha_bar[t]) * xt + root(1 - h.alpha_bar[t]) * v,
     "the sign of v"),
    ("2.3", lambda v, xt, t, h: root(h.alpha_bar[t]) * v + root(1 - h.alpha_bar[t]) * xt,
     "this is the noise"),
    ("2.3", lambda v, xt, t, h: (xt - root(1 - h.alpha_bar[t]) * v) / root(h.alpha_bar[t]),
     "takes v for eps"),
    ("2.3", lambda v, xt, t, h: h.alpha_bar[t] * (xt + v) - v, "square roots are missing"),
    ("2.3", lambda v, xt, t, h: v + 0 * xt, "takes v for x_0"),
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
     "clipped x_t"),
]  # fmt: skip
