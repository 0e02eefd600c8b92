"""Sitting 3. The loss, the oracle and sampling: the exercises, and the mistakes they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import lowest_loss, oracle_eps, x0_from
from tutorial.step06_reverse import p_xprev_given_xt
from tutorial.step08_loss import simple_loss

from .exercise import SCHEDULES, TIMES, A, B, C, formula, prediction
from .interpreter import Solution

ex_3_1 = formula(
    "3.1",
    "tutorial/step08_loss.py, (8.5)",
    lambda eps, out: simple_loss(
        lambda xt, t, y: out, 0 * eps, np.zeros(len(eps), int), 1, eps, SCHEDULES[0]
    ),
    [(A, B), (B, 3 * C), (np.eye(4), np.ones((4, 4)))],
    (
        lambda eps, out: ((eps - out) ** 2).mean(),
        "the mean over coordinates as well: that is the loss divided by their number. The square "
        "of a length is a sum over coordinates; only the batch is averaged.",
    ),
    (
        lambda eps, out: ((eps - out) ** 2).sum(),
        "the sum over the batch too: then loss and gradient grow with the size of the batch.",
    ),
    (
        lambda eps, out: ((eps - out) ** 2).sum(0).mean(),
        "the two axes are exchanged: this is a sum over the batch, axis 0, and a mean over the "
        "coordinates. Sum over the coordinates, the last axis.",
    ),
    (
        lambda eps, out: np.sqrt(((eps - out) ** 2).sum(-1)).mean(),
        "this is the length of the error, not its square: its minimum is a median, not the mean "
        "of eps.",
    ),
    (
        lambda eps, out: (eps - out).sum(-1).mean(),
        "errors of both signs cancel: square them first.",
    ),
    (lambda eps, out: ((eps - out) ** 2).sum(-1), "a number for each sample; take their mean."),
    (
        lambda eps, out: np.sqrt(((eps - out) ** 2).sum()),
        "this is one length for the whole batch: the root of the sum of all squares. Square the "
        "length of each sample, and take the mean over the batch.",
    ),
    (
        lambda eps, out: ((eps - out).mean(0) ** 2).sum(),
        "the mean over the batch comes before the square, so errors of two samples cancel.",
    ),
    (
        lambda eps, out: (eps**2 - out**2).sum(-1).mean(),
        "this is a difference of squares; take the difference first, then its square.",
    ),
    (
        lambda eps, out: np.abs(eps - out).sum(-1).mean(),
        "these are absolute values: their best prediction is a median. The loss has squares.",
    ),
    look="Square each entry of the difference, add up each row, and take the mean of the rows.",
    solutions=(
        Solution(
            """
        def solved(eps, out):
            return ((eps - out) ** 2).sum(-1).mean()
        """,
        ),
    ),
)


def _single(mu: Any, var: float) -> GaussianMixture:
    return GaussianMixture(np.asarray(mu, np.float64)[None], var * np.eye(2)[None], np.ones(1))


_half = Schedule(np.array([0.0, 0.5]))

ex_3_2 = prediction(
    "3.2",
    "tutorial/step05_best_guess.py, (5.1) and (5.16)",
    lowest_loss(0, 1, _single(np.zeros(2), 0.25), _half),
    0.005,
    (0.0, "eps is not known, only x_t, in which data and noise are mixed: some error stays."),
    (2.0, "2 is the loss of the prediction 0; x_t contains information about the noise."),
    (
        0.2,
        "half of it: either you have one coordinate only, and the loss adds up both, or you have "
        "not divided by 1 - alpha_bar.",
    ),
    (
        0.1,
        "this is the variance of the noise part of x_t in one coordinate. Divide by 1 - alpha_bar "
        "to get that of eps, and count both coordinates.",
    ),
    (
        2 * 0.125 / 0.75 / 0.5,
        "you have used 1/4 for A. In x_t the data are multiplied by sqrt(alpha_bar), so A is 1/8.",
    ),
    (0.125 / 0.75 / 0.5, "A is 1/8 and not 1/4, and the loss adds up both coordinates."),
    (1.25, "this is the variance of x_t in both coordinates: A + B in place of A B / (A + B)."),
    (0.625, "this is the variance of x_t in one coordinate: A + B in place of A B / (A + B)."),
    (
        2 * (0.5 / 32) / (0.5 + 1 / 32) / 0.5,
        "I/4 is a covariance: the variance of a coordinate is 1/4, and not its square.",
    ),
    (
        2 * 0.1 / np.sqrt(0.5),
        "a variance is divided by the square of the factor: 1 - alpha_bar, not its root.",
    ),
    (
        0.5,
        "this is the variance of the data, summed over both coordinates: the error in x_0 of a "
        "guess without x_t.",
    ),
    (
        1.6,
        "this is what x_t explains of the noise, whose squared length has the mean 2. The loss is "
        "the rest.",
    ),
    (1.0, "half of x_t's recipe is noise, but its variance is not 1: the data's is only 1/4."),
    look="Write down A, then B, then A B / (A + B), and check each with the text.",
    given={"abar": 0.5, "var": 0.25},
    source="2 * (abar * var) * (1 - abar) / (abar * var + (1 - abar)) / (1 - abar)",
)


def _exact_eps(xt: Any, abar: float, mu: Any, var: float) -> Any:
    schedule = Schedule(np.array([0.0, 1 - abar]))
    return oracle_eps(_single(mu, var), schedule)(xt, 1, np.zeros(len(xt), int))


def _scaled_error(xt: Any, abar: float, mu: Any, variance: float) -> Any:
    return np.sqrt(1 - abar) * (xt - np.sqrt(abar) * mu) / variance


ex_3_3 = formula(
    "3.3",
    "tutorial/step05_best_guess.py, (5.11), (5.14) and (5.9)",
    _exact_eps,
    [(A, 0.5, np.array([1.0, -2.0]), 0.25), (B, 0.9, np.array([0.5, 3.0]), 2.0)],
    (
        lambda xt, abar, mu, var: -_exact_eps(xt, abar, mu, var),
        "the sign: noise points away from the data, the score towards them.",
    ),
    (
        lambda xt, abar, mu, var: (np.sqrt(abar) * mu - xt) / (abar * var + 1 - abar),
        "this is the score. eps is it times -sqrt(1 - alpha_bar).",
    ),
    (
        lambda xt, abar, mu, var: np.sqrt(1 - abar) * (xt - mu) / (abar * var + 1 - abar),
        "the mean of x_t is not mu: the data have shrunk by sqrt(alpha_bar).",
    ),
    (
        lambda xt, abar, mu, var: np.sqrt(1 - abar) * (xt - np.sqrt(abar) * mu) / var,
        "you have divided by the variance of the data; x_t has noise in it and another variance.",
    ),
    (
        lambda xt, abar, mu, var: (1 - abar) * (xt - np.sqrt(abar) * mu) / (abar * var + 1 - abar),
        "1 - alpha_bar where its root belongs: eps is the score times -sqrt(1 - alpha_bar).",
    ),
    (
        lambda xt, abar, mu, var: (xt - np.sqrt(abar) * mu) / np.sqrt(1 - abar),
        "this is the noise if x_0 were mu, the mean of its class; the data spread around it.",
    ),
    (
        lambda xt, abar, mu, var: _scaled_error(xt, abar, mu, var + 1 - abar),
        "the data have shrunk in x_t: their part of its variance is abar var, not var.",
    ),
    (
        lambda xt, abar, mu, var: _scaled_error(xt, abar, mu, abar * var**2 + 1 - abar),
        "var is the variance already; you have squared it.",
    ),
    (
        lambda xt, abar, mu, var: _scaled_error(xt, abar, mu, np.sqrt(abar * var + 1 - abar)),
        "divided by the standard deviation of x_t; the score has its variance.",
    ),
    (
        lambda xt, abar, mu, var: _scaled_error(xt, abar, mu, abar * var + 1 - abar) / (1 - abar),
        "divided by sqrt(1 - abar); the noise is the score times -sqrt(1 - abar).",
    ),
    (
        lambda xt, abar, mu, var: _scaled_error(
            xt, abar, np.sqrt(abar) * mu, abar * var + 1 - abar
        ),
        "the mean of x_t is sqrt(abar) mu; you have abar mu.",
    ),
    (
        lambda xt, abar, mu, var: (
            (xt - np.sqrt(1 - abar) * _exact_eps(xt, abar, mu, var)) / np.sqrt(abar)
        ),
        "this is the best guess of x_0; the noise is asked for.",
    ),
    look="x_t is normal with mean sqrt(abar) mu. Write its variance and its score, then scale.",
    solutions=(
        Solution(
            """
        def solved(xt, abar, mu, var):
            return np.sqrt(1 - abar) * (xt - np.sqrt(abar) * mu) / (abar * var + 1 - abar)
        """,
        ),
        Solution(
            """
            def solved(xt, abar, mu, var):
                score = -(xt - np.sqrt(abar) * mu) / (abar * var + 1 - abar)
                return -np.sqrt(1 - abar) * score
            """,
        ),
        Solution(
            """
            def solved(xt, abar, mu, var):
                total = abar * var + 1 - abar
                x0hat = mu + np.sqrt(abar) * var * (xt - np.sqrt(abar) * mu) / total
                return (xt - np.sqrt(abar) * x0hat) / np.sqrt(1 - abar)
            """,
            shown={"total": "abar * var + 1 - abar"},
        ),
    ),
)


def _reverse_step(xt: Any, eps: Any, z: Any, t: int, h: Schedule) -> Any:
    law = p_xprev_given_xt(xt, eps, t, h)
    return law.mean + np.sqrt(law.var) * z


def _step_with(noise: Callable[[int, Schedule], float]) -> Callable[..., Any]:
    return lambda xt, eps, z, t, h: p_xprev_given_xt(xt, eps, t, h).mean + noise(t, h) * z


ex_3_4 = formula(
    "3.4",
    "tutorial/step07_sampling.py, (7.2) and (7.6)",
    _reverse_step,
    [(A, B, C, t, h) for t, h in TIMES],
    (
        _step_with(lambda t, h: np.sqrt(h.beta[t])),
        "the variance is beta, so noise is added at the last step, t = 1, too: the samples are "
        "left noisy. The posterior's variance is 0 there by itself.",
    ),
    (
        _step_with(lambda t, h: np.sqrt(h.beta[t]) * (t > 1)),
        "beta, with t = 1 left out: a choice that Ho et al. allow, right for data N(0, I). Use "
        "the variance of the posterior.",
    ),
    (
        _step_with(lambda t, h: posterior_coefficients(t, h)[2]),
        "the noise is multiplied by a variance; it is its square root that belongs there.",
    ),
    (
        _step_with(lambda t, h: 0.0),
        "no noise is added. This is the mean of the step, and chains of it end too close together.",
    ),
    (
        lambda xt, eps, z, t, h: x0_from(eps, xt, t, h),
        "this jumps to the guess of x_0 in one go; the step only goes from t to t - 1.",
    ),
    (
        _step_with(lambda t, h: np.sqrt(h.beta[t - 1])),
        "beta of the step before. It is 0 at t = 1, but the variance of the step back is back.var.",
    ),
    (
        _step_with(lambda t, h: h.beta[t]),
        "beta without a root: no variance of a step back, and not its standard deviation.",
    ),
    (
        _step_with(lambda t, h: np.sqrt(1 - h.alpha_bar[t - 1])),
        "this is the noise of a jump from x_0 to t - 1. Given x_t as well, there is less.",
    ),
    (
        lambda xt, eps, z, t, h: _reverse_step(xt, eps, eps, t, h),
        "the prediction eps stands in the place of z: the noise of the step is drawn anew.",
    ),
    (
        lambda xt, eps, z, t, h: (
            np.sqrt(h.alpha_bar[t - 1]) * x0_from(eps, xt, t, h)
            + np.sqrt(1 - h.alpha_bar[t - 1]) * z
        ),
        "this jumps from the guess of x_0 to t - 1 and forgets x_t. Keep the mean of the step.",
    ),
    look="`back` is a Gaussian: a sample of it is its mean plus its standard deviation times z.",
    solutions=(
        Solution(
            """
        def solved(xt, eps, z, t, schedule):
            back = p_xprev_given_xt(xt, eps, t, schedule)
            return back.mean + np.sqrt(back.var) * z
        """,
            {"p_xprev_given_xt": p_xprev_given_xt},
        ),
        Solution(
            """
            def solved(xt, eps, z, t, schedule):
                abar = schedule.alpha_bar[t]
                prev = schedule.alpha_bar[t - 1]
                noise = schedule.beta[t] / np.sqrt(1 - abar) * eps
                mean = (xt - noise) / np.sqrt(schedule.alpha[t])
                var = schedule.beta[t] * (1 - prev) / (1 - abar)
                return mean + np.sqrt(var) * z
            """,
            shown={"abar": "alpha_bar[t]", "prev": "alpha_bar[t - 1]"},
        ),
    ),
)


def _sampler(
    times: Callable[[int], Any] = lambda T: range(T, 0, -1),
    variance: Callable[[Any, int, Schedule], Any] = lambda back, t, schedule: back.var,
    noise: Callable[[Any, int, int], Any] = lambda z, t, T: z[t - 1],
    state: Callable[[Any, Any], Any] = lambda x, start: x,
) -> Callable[..., Any]:
    """The sampler, with one part of it replaced."""

    def sampler(model: Any, labels: Any, z: Any, schedule: Schedule) -> Any:
        x = z[schedule.T]
        for t in times(schedule.T):
            eps = model(state(x, z[schedule.T]), t, labels)
            back = p_xprev_given_xt(x, eps, t, schedule)
            x = back.mean + np.sqrt(variance(back, t, schedule)) * noise(z, t, schedule.T)
        return x

    return sampler


def _model_once(model: Any, labels: Any, z: Any, schedule: Schedule) -> Any:
    x = z[schedule.T]
    eps = model(x, schedule.T, labels)
    for t in range(schedule.T, 0, -1):
        x = _reverse_step(x, eps, z[t - 1], t, schedule)
    return x


def _model_of_noise(model: Any, labels: Any, z: Any, schedule: Schedule) -> Any:
    x = z[schedule.T]
    for t in range(schedule.T, 0, -1):
        x = _reverse_step(x, model(z[t], t, labels), z[t - 1], t, schedule)
    return x


def _guess_upon_guess(model: Any, labels: Any, z: Any, schedule: Schedule) -> Any:
    x = z[schedule.T]
    for t in range(schedule.T, 0, -1):
        x = x0_from(model(x, t, labels), x, t, schedule)
    return x


def _guess_noised_again(model: Any, labels: Any, z: Any, schedule: Schedule) -> Any:
    x = z[schedule.T]
    for t in range(schedule.T, 0, -1):
        x = xt_from_x0(x0_from(model(x, t, labels), x, t, schedule), z[t - 1], t - 1, schedule)
    return x


_chains = [
    (
        oracle_eps(three_gaussians(), schedule),
        np.array([0, 1, 2, 0, 1]),
        np.random.default_rng(seed).standard_normal((schedule.T + 1, 5, 2)),
        schedule,
    )
    for seed, schedule in enumerate(SCHEDULES)
]

ex_3_5 = formula(
    "3.5",
    "tutorial/step07_sampling.py, (7.2)",
    _sampler(),
    _chains,
    (
        _sampler(times=lambda T: range(1, T + 1)),
        "the loop runs forward in time: a sampler starts at t = T and ends at t = 1.",
    ),
    (
        _sampler(times=lambda T: range(T, 1, -1)),
        "the last step is missing: the loop also has to take the step from t = 1 to 0.",
    ),
    (
        _sampler(times=lambda T: range(T - 1, 0, -1)),
        "the first step is missing: the loop begins at t = T, not at T - 1.",
    ),
    (
        _sampler(variance=lambda back, t, schedule: schedule.beta[t]),
        "the noise has the variance beta, also in the last step; the step back has another one.",
    ),
    (
        _sampler(variance=lambda back, t, schedule: 0.0),
        "no noise is added on the way: this takes the mean of each step.",
    ),
    (
        _sampler(noise=lambda z, t, T: z[t]),
        "the step from t to t - 1 uses z[t]; so the first step uses the start once more as noise.",
    ),
    (
        _sampler(state=lambda x, start: start),
        "the network is evaluated at the start x_T in every step: evaluate it at the state that "
        "the chain has reached.",
    ),
    (
        _sampler(times=lambda T: range(0)),
        "the loop runs zero times: a range downwards needs the step -1, range(T, 0, -1).",
    ),
    (
        lambda model, labels, z, h: _sampler()(model, labels, np.concatenate([z[: h.T], z[:1]]), h),
        "the chain starts from z[0]; the start x_T is z[T], the last entry.",
    ),
    (
        _model_once,
        "the network is evaluated once, before the loop. Its prediction holds for one x_t and one "
        "t: evaluate it in each step.",
    ),
    (
        lambda model, labels, z, h: _reverse_step(z[h.T], model(z[h.T], 1, labels), z[0], 1, h),
        "the state is not updated: each step starts from x_T again. Write the result of a step "
        "into the variable that the next step starts from.",
    ),
    (
        lambda model, labels, z, h: _reverse_step(
            z[h.T], model(z[h.T], h.T, labels), z[h.T - 1], h.T, h
        ),
        "this is x_{T-1}, the result of the first step: is the `return` inside the loop?",
    ),
    (
        _model_of_noise,
        "the network is evaluated at z[t]. That is fresh noise; evaluate it at the state x_t.",
    ),
    (
        _guess_upon_guess,
        "each step jumps to the guess of x_0 and takes it for x_{t-1}. Use the step of 3.4.",
    ),
    (
        _guess_noised_again,
        "each step jumps to the guess of x_0 and from there to t - 1 with fresh noise, so x_t is "
        "forgotten. Use the step of 3.4, whose mean contains x_t.",
    ),
    look="Look at each step: which state, t and labels the network is given, and which row of z.",
    solutions=(
        Solution(
            """
        def solved(model, labels, z, schedule):
            x = z[schedule.T]
            for t in range(schedule.T, 0, -1):
                eps = model(x, t, labels)
                x = one_step_back(x, eps, z[t - 1], t, schedule)
            return x
        """,
            {"one_step_back": _reverse_step},
            most_pairs=0,
            is_slow=True,
        ),
    ),
)
