"""Wrong answers in sitting 1: exercise, answer, and a phrase of the hint that is meant for it."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np


def root(x: Any) -> Any:
    return np.sqrt(x)


WRONG: list[tuple[str, Any, str]] = [
    ("1.1", lambda x, beta, z: x - beta * x + z * beta**0.5, "sinks to near one half"),
    ("1.1", lambda x, beta, z: x + z * beta**0.5, "random walk"),
    ("1.1", lambda x, beta, z: x * (1 - beta) ** 0.5 + z * beta, "beta is the variance"),
    ("1.1", lambda x, beta, z: z * (1 - beta) ** 0.5 + x * beta**0.5, "swapped"),
    ("1.1", lambda x, beta, z: x + beta * (z - x), "as for an average"),
    ("1.1", lambda x, beta, z: root(1 - beta) * (x + root(beta) * z), "so it shrinks as well"),
    ("1.1", lambda x, beta, z: x + root(beta) * (z - x), "1 minus the root of beta"),
    ("1.2", 4, "only a variance of 1 is kept"),
    ("1.2", 2.0, "already squared"),
    ("1.2", 3.56, "the variance by its square"),
    ("1.2", 4.36, "forgotten that the data shrink"),
    ("1.2", 2.56, "forgotten the noise"),
    ("1.2", 1, "where the variance goes in the end"),
    ("1.2", 3.8, "the two coefficients of the step"),
    ("1.2", 1.64, "started from 2"),
    ("1.2", 2.2, "standard deviations do not add up"),
    ("1.2", 1.768, "both fractions are squared"),
    ("1.2", 2.08, "the two fractions are swapped"),
    ("1.3", lambda x0, e, t, s: x0 * s.alpha_bar[t] + e * root(1 - s.alpha_bar[t]),
     "not with alpha_bar"),
    ("1.3", lambda x0, e, t, s: x0 * root(s.alpha_bar[t]) + e - e * s.alpha_bar[t],
     "multiplied by its root"),
    ("1.3", lambda x0, e, t, s: x0 * root(1 - s.beta[t]) + e * root(s.beta[t]), "a single step"),
    ("1.3", lambda x0, e, t, s: x0 * root(np.cumprod(s.alpha[1:])[t - 2] if t > 1 else 1.0)
     + e * root(1 - np.cumprod(s.alpha[1:])[t - 2] if t > 1 else 0.0), "one step short"),
    ("1.3", lambda x0, e, t, s: root(s.alpha_bar[t]) * x0 + e * root(np.sum(s.beta[: t + 1])),
     "shrinks in all later ones"),
    ("1.3", lambda x0, e, t, s: e + s.alpha_bar[t] * (x0 - e), "both square roots"),
    ("1.3", lambda x0, e, t, s: e + root(s.alpha_bar[t]) * (x0 - e),
     "1 minus the root of alpha_bar"),
    ("1.3", lambda x0, e, t, s: root(s.alpha_bar[t]) * x0 + root(s.beta[t]) * e,
     "the noise of step t alone"),
    ("1.3", lambda x0, e, t, s: root(s.alpha_bar[t]) * e + root(1 - s.alpha_bar[t]) * x0,
     "the two factors are exchanged"),
    ("1.3", lambda x0, e, t, s: reduce(
     lambda x, k: root(s.alpha[k]) * x + root(s.beta[k]) * e, range(1, t + 1), x0),
     "the same eps in each"),
    ("1.4", lambda s, t, h: (root(h.alpha[t] / h.alpha[s]), 1 - h.alpha[t] / h.alpha[s]),
     "alpha is of one step"),
    ("1.4", lambda s, t, h: (np.prod(h.alpha[s + 1 : t + 1]), 1 - np.prod(h.alpha[s + 1 : t + 1])),
     "the factor of x_s is its root"),
    ("1.4", lambda s, t, h: (root(h.alpha_bar[t] / h.alpha_bar[s]),
                             (1 - h.alpha_bar[t]) - (1 - h.alpha_bar[s])), "subtracts the two"),
    ("1.4", lambda s, t, h: (root(h.alpha_bar[t]), 1 - h.alpha_bar[t]), "the jump from the data"),
    ("1.4", lambda s, t, h: (1 / root(np.prod(h.alpha[s + 1 : t + 1])),
                             1 - 1 / np.prod(h.alpha[s + 1 : t + 1])), "upside down"),
    ("1.4", lambda s, t, h: (root(np.prod(h.alpha[s:t])), 1 - np.prod(h.alpha[s:t])),
     "the steps s to t - 1"),
    ("1.4", lambda s, t, h: (root(h.alpha_bar[t] / h.alpha_bar[max(s - 1, 0)]),
                             1 - h.alpha_bar[t] / h.alpha_bar[max(s - 1, 0)]),
     "begins with step s"),
    ("1.4", lambda s, t, h: (root(h.alpha[s] * h.alpha[t]), 1 - h.alpha[s] * h.alpha[t]),
     "two alphas only"),
    ("1.4", lambda s, t, h: (root(h.alpha_bar[t] / h.alpha_bar[s]),
                             root(1 - h.alpha_bar[t] / h.alpha_bar[s])), "the standard deviation"),
    ("1.4", lambda s, t, h: (root(1 - (h.alpha_bar[s] - h.alpha_bar[t])),
                             h.alpha_bar[s] - h.alpha_bar[t]), "subtracts two alpha_bars"),
    ("1.4", lambda s, t, h: (root(h.alpha_bar[t - s]), 1 - h.alpha_bar[t - s]),
     "the first t - s steps"),
    ("1.4", lambda s, t, h: (1 - np.prod(h.alpha[s + 1 : t + 1]),
                             root(np.prod(h.alpha[s + 1 : t + 1]))), "in the wrong order"),
    ("1.4", lambda s, t, h: root(np.prod(h.alpha[s + 1 : t + 1])), "return the variance"),
    ("1.2", 3.16, "the standard deviation of the noise"),
    ("1.4", lambda s, t, h: (root(h.alpha_bar[t] / h.alpha_bar[s]), 1 - h.alpha_bar[t]),
     "that of a jump from 0 to t"),
    ("1.4", lambda s, t, h: (root(np.prod(h.alpha[s + 1 : t + 1])),
                             sum(h.beta[k] for k in range(s + 1, t + 1))), "the sum of the betas"),
    ("1.4", lambda s, t, h: (root(h.alpha_bar[s] - h.alpha_bar[t]),
                             1 - (h.alpha_bar[s] - h.alpha_bar[t])), "for what is kept"),
]  # fmt: skip
