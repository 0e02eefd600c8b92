"""Sitting 2. The posterior, and the reverse step: the exercises, and the mistakes they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import posterior_coefficients, q_posterior
from tutorial.step05_best_guess import x0_from
from tutorial.step06_reverse import p_xprev_given_xt

from .exercise import PAIRS, TIMES, formula
from .interpreter import Solution


def _posterior_with(c_0: Callable[..., Any], c_t: Callable[..., Any]) -> Callable[..., Any]:
    """A mean of two terms, from formulas in beta, alpha, abar and abar_{t-1}."""

    def mean(x0: Any, xt: Any, t: int, h: Schedule) -> Any:
        letters = h.beta[t], h.alpha[t], h.alpha_bar[t], h.alpha_bar[t - 1]
        return c_0(*letters) * x0 + c_t(*letters) * xt

    return mean


def _c_0(b: float, a: float, abar: float, prev: float) -> float:
    return np.sqrt(prev) * b / (1 - abar)


def _c_t(b: float, a: float, abar: float, prev: float) -> float:
    return np.sqrt(a) * (1 - prev) / (1 - abar)


ex_2_1 = formula(
    "2.1",
    "tutorial/step04_posterior.py, (4.5) and (4.6)",
    lambda x0, xt, t, h: q_posterior(x0, xt, t, h).mean,
    PAIRS,
    (
        _posterior_with(_c_t, _c_0),
        "c_0 and c_t are swapped: at t = 1 all the weight has to be on x_0.",
    ),
    (
        _posterior_with(lambda b, a, abar, prev: np.sqrt(abar) * b / (1 - abar), _c_t),
        "c_0 has alpha_bar of t under its root; the factor q(x_{t-1} | x_0) has that of t - 1.",
    ),
    (
        _posterior_with(_c_0, lambda b, a, abar, prev: np.sqrt(abar) * (1 - prev) / (1 - abar)),
        "c_t has alpha_bar under its root; the factor q(x_t | x_{t-1}) is one step, so alpha.",
    ),
    (
        _posterior_with(
            lambda b, a, abar, prev: prev * b / (1 - abar),
            lambda b, a, abar, prev: a * (1 - prev) / (1 - abar),
        ),
        "the square roots are missing: means come with the roots of alpha and alpha_bar.",
    ),
    (
        _posterior_with(
            lambda b, a, abar, prev: np.sqrt(prev) * b / (1 - a),
            lambda b, a, abar, prev: np.sqrt(a) * (1 - prev) / (1 - a),
        ),
        "1 - alpha in the denominator: it is 1 - alpha_bar, from the sum of both precisions.",
    ),
    (
        _posterior_with(lambda b, a, abar, prev: np.sqrt(prev), lambda b, a, abar, prev: 0.0),
        "this is the mean of q(x_{t-1} | x_0): only one of the two factors of Bayes, without x_t.",
    ),
    (
        _posterior_with(
            lambda b, a, abar, prev: np.sqrt(abar) * b / (1 - abar),
            lambda b, a, abar, prev: np.sqrt(a) * (1 - abar) / (1 - abar),
        ),
        "alpha_bar of t stands twice where that of t - 1 belongs: the jump ends at t - 1.",
    ),
    (
        _posterior_with(
            lambda b, a, abar, prev: np.sqrt(prev) * (1 - prev) / (1 - abar),
            lambda b, a, abar, prev: np.sqrt(a) * b / (1 - abar),
        ),
        "the weights beta and 1 - alpha_bar_{t-1} are exchanged: each mean is multiplied by the "
        "variance of the other factor, since the narrower factor counts more.",
    ),
    (
        _posterior_with(
            lambda b, a, abar, prev: np.sqrt(prev) * (1 - prev) / (b / a + 1 - prev),
            lambda b, a, abar, prev: b / a / np.sqrt(a) / (b / a + 1 - prev),
        ),
        "each mean is weighted by its own variance; the weights are the precisions, 1 / variance.",
    ),
    (
        _posterior_with(
            lambda b, a, abar, prev: np.sqrt(prev) * b,
            lambda b, a, abar, prev: np.sqrt(a) * (1 - prev),
        ),
        "this is the numerator; divide it by the sum of both weights, 1 - alpha_bar_t.",
    ),
    (
        _posterior_with(
            lambda b, a, abar, prev: np.sqrt(prev) * b / (1 - prev + b),
            lambda b, a, abar, prev: (1 - prev) / np.sqrt(a) / (1 - prev + b),
        ),
        "the variance of the factor q(x_t | x_{t-1}) is taken as beta; as a function of x_{t-1} it "
        "is beta / alpha.",
    ),
    (
        _posterior_with(_c_0, lambda b, a, abar, prev: a * np.sqrt(a) * (1 - prev) / (1 - abar)),
        "the mean of the factor q(x_t | x_{t-1}) is taken as sqrt(alpha) x_t; as a function of "
        "x_{t-1} it is x_t / sqrt(alpha).",
    ),
    (
        _posterior_with(lambda b, a, abar, prev: b / (1 - abar), _c_t),
        "the jump to t - 1 has the mean sqrt(alpha_bar_{t-1}) x_0; you have taken x_0 itself.",
    ),
    look="Write down both means and both variances, and check by hand that t = 1 gives x_0.",
    solutions=(
        Solution(
            """
        def solved(x0, xt, t, schedule):
            abar = schedule.alpha_bar[t]
            prev = schedule.alpha_bar[t - 1]
            c_0 = np.sqrt(prev) * schedule.beta[t] / (1 - abar)
            c_t = np.sqrt(schedule.alpha[t]) * (1 - prev) / (1 - abar)
            return c_0 * x0 + c_t * xt
        """,
            shown={"abar": "alpha_bar[t]", "prev": "alpha_bar[t - 1]"},
        ),
        Solution(
            """
            def solved(x0, xt, t, schedule):
                var_0 = 1 - schedule.alpha_bar[t - 1]
                var_t = schedule.beta[t] / schedule.alpha[t]
                mean_0 = np.sqrt(schedule.alpha_bar[t - 1]) * x0
                mean_t = xt / np.sqrt(schedule.alpha[t])
                return (var_t * mean_0 + var_0 * mean_t) / (var_0 + var_t)
            """,
            shown={
                "var_0": "1 - alpha_bar[t - 1]",
                "var_t": "beta[t] / alpha[t]",
                "mean_0": "sqrt(alpha_bar[t - 1]) * x0",
                "mean_t": "xt / sqrt(alpha[t])",
            },
        ),
    ),
)

ex_2_2 = formula(
    "2.2",
    "tutorial/step04_posterior.py, (4.4) and (4.8)",
    lambda t, h: posterior_coefficients(t, h)[2],
    TIMES,
    (
        lambda t, h: h.beta[t],
        "beta is the variance of a step forward. Knowing x_0 leaves less to guess on the way back.",
    ),
    (
        lambda t, h: h.beta[t] * (1 - h.alpha_bar[t - 1 if t > 1 else t]) / (1 - h.alpha_bar[t]),
        "right except at t = 1, where it has to be 0. The formula gives that: alpha_bar[0] is 1.",
    ),
    (
        lambda t, h: posterior_coefficients(max(t, 2), h)[2],
        "right except at t = 1, where you take the value of t = 2, as code does that takes its "
        "logarithm. The posterior at t = 1 is a point.",
    ),
    (
        lambda t, h: np.sqrt(h.beta[t] * (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t])),
        "this is the standard deviation; return its square, the variance.",
    ),
    (
        lambda t, h: h.beta[t] * (1 - h.alpha_bar[t]) / (1 - h.alpha_bar[t - 1]),
        "the fraction is upside down: yours is above beta, and infinite at t = 1.",
    ),
    (
        lambda t, h: h.alpha[t] / h.beta[t] + 1 / (1 - h.alpha_bar[t - 1]),
        "this is the precision, the sum of both factors'; the variance is one over it.",
    ),
    (
        lambda t, h: 1 - h.alpha_bar[t - 1],
        "this is the variance of q(x_{t-1} | x_0) alone: x_t contains information too.",
    ),
    (
        lambda t, h: h.beta[t] / h.alpha[t] + 1 - h.alpha_bar[t - 1],
        "the two variances are added. In a product the precisions add up, so it becomes narrower.",
    ),
    (
        lambda t, h: h.beta[t] * (1 - h.alpha_bar[t - 1]) / (h.beta[t] + 1 - h.alpha_bar[t - 1]),
        "the precision of the factor from x_t is taken as 1 / beta; it is alpha / beta.",
    ),
    (
        lambda t, h: h.beta[t] * (1 - h.alpha_bar[t - 1]),
        "this is the product of both variances, times alpha; divide it by 1 - alpha_bar_t.",
    ),
    (
        lambda t, h: (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t]),
        "this is the ratio to beta; multiply it by beta.",
    ),
    (
        lambda t, h: h.beta[t] * h.alpha_bar[t - 1] / h.alpha_bar[t],
        "beta is multiplied by a ratio of two alpha_bars; it is the ratio of 1 minus each.",
    ),
    look="Multiply both sides of the fraction 1 / (sum of precisions) by both denominators.",
    solutions=(
        Solution(
            """
        def solved(t, schedule):
            abar = schedule.alpha_bar[t]
            prev = schedule.alpha_bar[t - 1]
            return schedule.beta[t] * (1 - prev) / (1 - abar)
        """,
            shown={"abar": "alpha_bar[t]", "prev": "alpha_bar[t - 1]"},
        ),
        Solution(
            """
            def solved(t, schedule):
                var_0 = 1 - schedule.alpha_bar[t - 1]
                var_t = schedule.beta[t] / schedule.alpha[t]
                return var_0 * var_t / (var_0 + var_t)
            """,
            shown={"var_0": "1 - alpha_bar[t - 1]", "var_t": "beta[t] / alpha[t]"},
        ),
    ),
)


ex_2_3 = formula(
    "2.3",
    "tutorial/step05_best_guess.py, (5.2) and (5.4)",
    lambda v, xt, t, h: x0_from(v, xt, t, h, "v"),
    PAIRS,
    (
        lambda v, xt, t, h: np.sqrt(h.alpha_bar[t]) * xt + np.sqrt(1 - h.alpha_bar[t]) * v,
        "the sign of v: x_0 comes in (5.4) with a minus.",
    ),
    (
        lambda v, xt, t, h: np.sqrt(1 - h.alpha_bar[t]) * xt + np.sqrt(h.alpha_bar[t]) * v,
        "this is the noise, eps. The other row of the same rotation is the data.",
    ),
    (
        lambda v, xt, t, h: x0_from(v, xt, t, h, "eps"),
        "this takes v for eps: (5.2) is for a network that predicts the noise.",
    ),
    (
        lambda v, xt, t, h: h.alpha_bar[t] * xt - (1 - h.alpha_bar[t]) * v,
        "the square roots are missing: only with them do the squares of both factors add up to 1.",
    ),
    (
        lambda v, xt, t, h: v,
        "this takes v for x_0. A network with prediction v does not return x_0 itself.",
    ),
    (
        lambda v, xt, t, h: np.sqrt(1 - h.alpha_bar[t]) * xt - np.sqrt(h.alpha_bar[t]) * v,
        "the two factors are exchanged: at small t, x_t is nearly x_0, so it has the larger one.",
    ),
    (
        lambda v, xt, t, h: (np.sqrt(h.alpha_bar[t]) * xt - v) / np.sqrt(1 - h.alpha_bar[t]),
        "this puts x_t in the place of eps in the definition of v. Eliminate eps instead.",
    ),
    (
        lambda v, xt, t, h: np.sqrt(h.alpha[t]) * xt - np.sqrt(1 - h.alpha[t]) * v,
        "alpha where alpha_bar belongs: both equations are about the jump from x_0 to x_t.",
    ),
    look="Insert the two equations for x_t and v into your result: eps has to cancel.",
    solutions=(
        Solution(
            """
        def solved(v, xt, t, schedule):
            abar = schedule.alpha_bar[t]
            return np.sqrt(abar) * xt - np.sqrt(1 - abar) * v
        """,
            shown={"abar": "alpha_bar[t]"},
        ),
    ),
)


def _mean_from_eps(xt: Any, eps: Any, t: int, h: Schedule) -> Any:
    return (xt - (1 - h.alpha[t]) / np.sqrt(1 - h.alpha_bar[t]) * eps) / np.sqrt(h.alpha[t])


def _clipped_guess(xt: Any, eps: Any, t: int, h: Schedule, clip: float) -> Any:
    return np.clip(x0_from(eps, xt, t, h), -clip, clip)


ex_2_4 = formula(
    "2.4",
    "tutorial/step06_reverse.py, (6.2), (6.4) and (6.5)",
    lambda xt, eps, t, h, clip: p_xprev_given_xt(xt, eps, t, h, clip=clip).mean,
    [(2 * xt, eps, t, h, clip) for xt, eps, t, h in PAIRS for clip in (1.0, 0.5)],
    (
        lambda xt, eps, t, h, clip: _mean_from_eps(xt, eps, t, h),
        "this is the mistake itself: (6.4) with the old eps, so the clip has no effect at all.",
    ),
    (
        lambda xt, eps, t, h, clip: np.clip(_mean_from_eps(xt, eps, t, h), -clip, clip),
        "you have clipped the mean of x_{t-1}. That is a noisy state and may leave the range; the "
        "guess of x_0 may not.",
    ),
    (
        lambda xt, eps, t, h, clip: _mean_from_eps(xt, np.clip(eps, -clip, clip), t, h),
        "you have clipped eps, which is a normal number and often beyond 1; clip the guess of x_0.",
    ),
    (
        lambda xt, eps, t, h, clip: np.clip(x0_from(eps, xt, t, h), -clip, clip),
        "this is the clipped guess of x_0 itself; the mean of x_{t-1} is c_0 of it and c_t of x_t.",
    ),
    (
        lambda xt, eps, t, h, clip: (
            q_posterior(x0_from(eps, xt, t, h), np.clip(xt, -clip, clip), t, h).mean
        ),
        "you have clipped x_t. It carries noise and may leave the range; the guess of x_0 may not.",
    ),
    (
        lambda xt, eps, t, h, clip: _mean_from_eps(np.clip(xt, -clip, clip), eps, t, h),
        "x_t is clipped before anything is computed from it. It is noisy and may leave the "
        "range; clip the guess of x_0, which is computed from the full x_t.",
    ),
    (
        lambda xt, eps, t, h, clip: (
            q_posterior(x0_from(eps, np.clip(xt, -clip, clip), t, h), xt, t, h).mean
        ),
        "the guess of x_0 is computed from a clipped x_t. Compute it from x_t as it is, and clip "
        "the guess.",
    ),
    (
        lambda xt, eps, t, h, clip: _mean_from_eps(_clipped_guess(xt, eps, t, h, clip), eps, t, h),
        "the guess of x_0 stands in the place of x_t in the formula with eps. That formula starts "
        "from the noisy x_t; use the mean of Exercise 2.1, which takes a guess of x_0.",
    ),
    (
        lambda xt, eps, t, h, clip: q_posterior(xt, _clipped_guess(xt, eps, t, h, clip), t, h).mean,
        "x_t and the guess are exchanged: posterior_mean takes the guess of x_0 first.",
    ),
    (
        lambda xt, eps, t, h, clip: q_posterior(np.clip(eps, -clip, clip), xt, t, h).mean,
        "eps stands in the place of x_0. Compute the guess of x_0 from eps and x_t first.",
    ),
    (
        lambda xt, eps, t, h, clip: _mean_from_eps(xt, _clipped_guess(xt, eps, t, h, clip), t, h),
        "the guess of x_0 stands in the place of eps in the old formula.",
    ),
    (
        lambda xt, eps, t, h, clip: (
            q_posterior(np.minimum(x0_from(eps, xt, t, h), clip), xt, t, h).mean
        ),
        "clipped from above only: the range is -clip to clip.",
    ),
    (
        lambda xt, eps, t, h, clip: (
            q_posterior(np.clip(x0_from(eps, xt, t, h), 0, clip), xt, t, h).mean
        ),
        "clipped to 0..clip: the range is -clip to clip.",
    ),
    (
        lambda xt, eps, t, h, clip: (
            np.sqrt(h.alpha_bar[t - 1]) * _clipped_guess(xt, eps, t, h, clip)
            + np.sqrt(1 - h.alpha_bar[t - 1]) * eps
        ),
        "this is the guess, jumped to t - 1 with the same eps, which is a step of DDIM. The mean "
        "of the step back is that of Exercise 2.1.",
    ),
    look="Three lines: the guess of x_0, the clip, and the mean of Exercise 2.1.",
    solutions=(
        Solution(
            """
        def solved(xt, eps, t, schedule, clip):
            abar = schedule.alpha_bar[t]
            x0hat = (xt - np.sqrt(1 - abar) * eps) / np.sqrt(abar)
            clipped = np.clip(x0hat, -clip, clip)
            return posterior_mean(clipped, xt, t, schedule)
        """,
            {"posterior_mean": ex_2_1.solutions[0]},
            shown={"abar": "alpha_bar[t]", "clipped": "clip(x0hat)"},
        ),
    ),
)
