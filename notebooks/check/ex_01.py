"""Sitting 1. The forward process: the exercises, and the mistakes they name."""

from __future__ import annotations

from typing import Any

import numpy as np

from tutorial.step02_forward import Schedule, moments_after, q_xt_given_xprev
from tutorial.step03_marginal import q_xt_given_xs, xt_from_x0

from .exercise import PAIRS, SCHEDULES, A, B, C, formula, prediction


def _one_step(x: Any, beta: float, z: Any) -> Any:
    law = q_xt_given_xprev(x, 1, Schedule(np.array([0.0, beta])))
    return law.mean + np.sqrt(law.var) * z


ex_1_1 = formula(
    "1.1",
    "tutorial/step02_forward.py, (2.1) to (2.4)",
    _one_step,
    [(A, 0.36, B), (B, 0.1, C), (A, 0.81, C)],
    (
        lambda x, beta, z: (1 - beta) * x + np.sqrt(beta) * z,
        "1 - beta is what the variance keeps. The factor of x is its square root; with yours the "
        "variance sinks to near one half.",
    ),
    (
        lambda x, beta, z: x + np.sqrt(beta) * z,
        "nothing shrinks x: this is a random walk, and its variance grows without bound.",
    ),
    (
        lambda x, beta, z: np.sqrt(1 - beta) * x + beta * z,
        "beta is the variance of the noise; noise of that variance is sqrt(beta) z.",
    ),
    (
        lambda x, beta, z: np.sqrt(beta) * x + np.sqrt(1 - beta) * z,
        "the two coefficients are swapped: a small beta has to change little.",
    ),
    (
        lambda x, beta, z: (1 - beta) * x + beta * z,
        "the coefficients add up to 1, as for an average. It is their squares that have to.",
    ),
)

ex_1_2 = prediction(
    "1.2",
    "tutorial/step02_forward.py, (2.4) and (2.5)",
    moments_after(0.0, 4.0, 1, Schedule(np.array([0.0, 0.36])))[1],
    0.005,
    (4.0, "only a variance of 1 is kept. From 4 the step takes more out than it mixes in."),
    (0.64**2 * 4 + 0.36, "the factor 1 - beta is already squared: it comes from sqrt(1 - beta)."),
    (
        0.8 * 4 + 0.36,
        "a factor multiplies the variance by its square: 0.8 x has 0.64 times the variance of x.",
    ),
    (4.36, "you have added the noise and forgotten that the data shrink."),
    (0.64 * 4, "you have shrunk the data and forgotten the noise that is mixed in."),
    (1.0, "1 is where the variance goes in the end; one step only goes part of the way."),
)

ex_1_3 = formula(
    "1.3",
    "tutorial/step03_marginal.py, (3.1) to (3.3)",
    xt_from_x0,
    PAIRS,
    (
        lambda x0, e, t, s: s.alpha_bar[t] * x0 + np.sqrt(1 - s.alpha_bar[t]) * e,
        "the data come with sqrt(alpha_bar), not with alpha_bar.",
    ),
    (
        lambda x0, e, t, s: np.sqrt(s.alpha_bar[t]) * x0 + (1 - s.alpha_bar[t]) * e,
        "1 - alpha_bar is the variance of the noise; eps is multiplied by its root.",
    ),
    (
        lambda x0, e, t, s: np.sqrt(s.alpha[t]) * x0 + np.sqrt(s.beta[t]) * e,
        "this is a single step: alpha_t where the running product alpha_bar_t belongs.",
    ),
    (
        lambda x0, e, t, s: np.sqrt(s.alpha_bar[t - 1]) * x0 + np.sqrt(1 - s.alpha_bar[t - 1]) * e,
        "one step short: tables here begin at t = 0, so time t is at index t, not t - 1.",
    ),
    (
        lambda x0, e, t, s: np.sqrt(s.alpha_bar[t]) * x0 + np.sqrt(s.beta[1 : t + 1].sum()) * e,
        "the noise of an early step shrinks in all later ones; their plain sum is too much.",
    ),
    (
        lambda x0, e, t, s: s.alpha_bar[t] * x0 + (1 - s.alpha_bar[t]) * e,
        "both square roots are missing: alpha_bar and 1 - alpha_bar are fractions of the variance.",
    ),
)


def _stride(s: int, t: int, schedule: Schedule) -> Any:
    law = q_xt_given_xs(np.ones(1), s, t, schedule)
    return law.mean[0], law.var


ex_1_4 = formula(
    "1.4",
    "tutorial/step03_marginal.py, (3.4) and (3.5)",
    _stride,
    [(s, t, schedule) for schedule in SCHEDULES for s, t in ((2, 5), (1, 10), (4, 5), (0, 3))],
    (
        lambda s, t, h: (np.sqrt(h.alpha[t] / h.alpha[s]), 1 - h.alpha[t] / h.alpha[s]),
        "this is the mistake itself: alpha is of one step. What is left of the data is alpha_bar.",
    ),
    (
        lambda s, t, h: (h.alpha_bar[t] / h.alpha_bar[s], 1 - h.alpha_bar[t] / h.alpha_bar[s]),
        "the ratio is what is kept of the variance; the factor of x_s is its root.",
    ),
    (
        lambda s, t, h: (np.sqrt(h.alpha_bar[t] / h.alpha_bar[s]), h.alpha_bar[s] - h.alpha_bar[t]),
        "this subtracts the two variances, but the noise that is in x_s shrinks on the way as "
        "well.",
    ),
    (
        lambda s, t, h: (np.sqrt(h.alpha_bar[t]), 1 - h.alpha_bar[t]),
        "this is the jump from the data, from 0 to t; here half of the way is already behind you.",
    ),
    (
        lambda s, t, h: (
            np.sqrt(h.alpha_bar[s] / h.alpha_bar[t]),
            1 - h.alpha_bar[s] / h.alpha_bar[t],
        ),
        "the ratio is upside down: less is left at t than at s, so it has to be below 1.",
    ),
)
