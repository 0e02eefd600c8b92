"""Sitting 1. The forward process: the exercises, and the mistakes they name."""

from __future__ import annotations

from typing import Any

import numpy as np

from tutorial.step02_forward import Schedule, moments_after, q_xt_given_xprev
from tutorial.step03_marginal import q_xt_given_xs, xt_from_x0

from .exercise import PAIRS, SCHEDULES, A, B, C, formula, prediction
from .interpreter import Solution


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
    (
        lambda x, beta, z: np.sqrt(1 - beta) * (x + np.sqrt(beta) * z),
        "the noise is added before the state is scaled, so it shrinks as well: its variance is "
        "(1 - beta) beta. Scale x first.",
    ),
    (
        lambda x, beta, z: (1 - np.sqrt(beta)) * x + np.sqrt(beta) * z,
        "the factor of x is 1 minus the root of beta, where the root of 1 - beta is right.",
    ),
    look="The result is a factor times x, plus a factor times z. Set z to 0 and find the first.",
    solutions=(
        Solution(
            """
        def solved(x, beta, z):
            return np.sqrt(1 - beta) * x + np.sqrt(beta) * z
        """,
        ),
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
    (
        0.64 * 4 + 0.6,
        "0.6 is the standard deviation of the noise. A sum of variances needs its variance, beta.",
    ),
    (
        0.8 * 4 + 0.6,
        "these are the two coefficients of the step; a variance is multiplied by their squares.",
    ),
    (0.64 * 2 + 0.36, "you have started from 2, the standard deviation; the variance is 4."),
    (0.8 * 2 + 0.6, "standard deviations do not add up. Variances do: work with them throughout."),
    (
        0.64**2 * 4 + 0.36**2,
        "both fractions are squared: 0.64 and 0.36 are the squares of 0.8 and 0.6 already.",
    ),
    (0.36 * 4 + 0.64, "the two fractions are swapped: the step keeps 1 - beta of the variance."),
    look="It is a sum: what is left of the variance 4, and the variance of the noise.",
    given={"beta": 0.36, "variance": 4.0},
    source="(1 - beta) * variance + beta",
)


def _same_noise_in_each_step(x0: Any, e: Any, t: int, schedule: Schedule) -> Any:
    x = x0
    for k in range(1, t + 1):
        x = np.sqrt(schedule.alpha[k]) * x + np.sqrt(schedule.beta[k]) * e
    return x


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
    (
        lambda x0, e, t, s: np.sqrt(s.alpha_bar[t]) * x0 + (1 - np.sqrt(s.alpha_bar[t])) * e,
        "the factor of eps is 1 minus the root of alpha_bar, where the root of 1 - alpha_bar is "
        "right.",
    ),
    (
        lambda x0, e, t, s: np.sqrt(s.alpha_bar[t]) * x0 + np.sqrt(s.beta[t]) * e,
        "this is the noise of step t alone; that of the earlier steps is in x_t as well.",
    ),
    (
        lambda x0, e, t, s: np.sqrt(1 - s.alpha_bar[t]) * x0 + np.sqrt(s.alpha_bar[t]) * e,
        "the two factors are exchanged: at small t the state is nearly x0.",
    ),
    (
        _same_noise_in_each_step,
        "these are the steps one by one, with the same eps in each. The noises of the steps are "
        "independent, so their variances add up, not their values.",
    ),
    look="The factors of x0 and eps have squares that add up to 1.",
    solutions=(
        Solution(
            """
        def solved(x0, eps, t, schedule):
            abar = schedule.alpha_bar[t]
            return np.sqrt(abar) * x0 + np.sqrt(1 - abar) * eps
        """,
            shown={"abar": "alpha_bar[t]"},
        ),
    ),
)


def _stride(s: int, t: int, schedule: Schedule) -> Any:
    law = q_xt_given_xs(np.ones(1), s, t, schedule)
    return law.mean[0], law.var


def _from_kept(kept: float) -> Any:
    """The factor and the variance, if `kept` is the fraction of the variance that is kept."""
    return np.sqrt(kept), 1 - kept


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
        lambda s, t, h: (np.sqrt(h.alpha_bar[t] / h.alpha_bar[s]), 1 - h.alpha_bar[t]),
        "the factor is right; the variance is that of a jump from 0 to t. Only the noise of the "
        "steps s + 1 to t is asked for.",
    ),
    (
        lambda s, t, h: (
            np.sqrt(h.alpha_bar[t] / h.alpha_bar[s]),
            h.beta[s + 1 : t + 1].sum(),
        ),
        "the factor is right; the variance is the sum of the betas. The noise of each step is "
        "scaled by all later ones, so less of it is left.",
    ),
    (
        lambda s, t, h: _from_kept(h.alpha_bar[s] - h.alpha_bar[t]),
        "this takes the difference of two alpha_bars for what is kept. They are products, so it "
        "is their quotient, alpha_bar_t / alpha_bar_s.",
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
    (
        lambda s, t, h: _from_kept(np.prod(h.alpha[s:t])),
        "the product runs over the steps s to t - 1; those between x_s and x_t are s + 1 to t.",
    ),
    (
        lambda s, t, h: _from_kept(np.prod(h.alpha[max(s, 1) : t + 1])),
        "the product begins with step s, which x_s has behind it: begin with s + 1.",
    ),
    (
        lambda s, t, h: _from_kept(h.alpha[t] * h.alpha[s]),
        "this multiplies two alphas only; each of the steps s + 1 to t has one.",
    ),
    (
        lambda s, t, h: (
            np.sqrt(h.alpha_bar[t] / h.alpha_bar[s]),
            np.sqrt(1 - h.alpha_bar[t] / h.alpha_bar[s]),
        ),
        "the second number is the standard deviation; return its square, the variance.",
    ),
    (
        lambda s, t, h: _from_kept(1 - h.alpha_bar[s] + h.alpha_bar[t]),
        "this subtracts two alpha_bars. They are products, so a quotient leaves the steps between.",
    ),
    (
        lambda s, t, h: _from_kept(h.alpha_bar[t - s]),
        "this is the jump over the first t - s steps; the steps s + 1 to t have other betas.",
    ),
    (
        lambda s, t, h: _from_kept(h.alpha_bar[t] / h.alpha_bar[s])[::-1],
        "both numbers are right and in the wrong order: the factor first, then the variance.",
    ),
    (
        lambda s, t, h: np.sqrt(h.alpha_bar[t] / h.alpha_bar[s]),
        "this is the factor of x_s; return the variance of the noise as well.",
    ),
    look="For s = 2 and t = 5 the steps between are 3, 4 and 5: multiply their three alphas.",
    solutions=(
        Solution(
            """
        def solved(s, t, schedule):
            kept = schedule.alpha_bar[t] / schedule.alpha_bar[s]
            return np.sqrt(kept), 1 - kept
        """,
            shown={"kept": "alpha_bar[t] / alpha_bar[s]"},
        ),
    ),
)
