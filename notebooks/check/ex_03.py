"""Sitting 3. The loss, the oracle and sampling: the exercises, and the mistakes they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import lowest_loss, oracle_eps, x0_from
from tutorial.step06_reverse import p_xprev_given_xt
from tutorial.step08_loss import simple_loss

from .exercise import SCHEDULES, TIMES, A, B, C, formula, prediction

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
        lambda eps, out: np.sqrt(((eps - out) ** 2).sum(-1)).mean(),
        "this is the length of the error, not its square: its minimum is a median, not the mean "
        "of eps.",
    ),
    (
        lambda eps, out: (eps - out).sum(-1).mean(),
        "errors of both signs cancel: square them first.",
    ),
    (lambda eps, out: ((eps - out) ** 2).sum(-1), "a number for each sample; take their mean."),
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
    (0.2, "this is the error in one coordinate; the loss adds up both."),
    (
        0.5,
        "this is the variance of the data, summed over both coordinates: the error in x_0 of a "
        "guess without x_t.",
    ),
    (1.6, "this is what the oracle explains, E|eps*|^2. Its loss is the rest of 2."),
    (1.0, "half of x_t's recipe is noise, but its variance is not 1: the data's is only 1/4."),
)


def _exact_eps(xt: Any, abar: float, mu: Any, var: float) -> Any:
    schedule = Schedule(np.array([0.0, 1 - abar]))
    return oracle_eps(_single(mu, var), schedule)(xt, 1, np.zeros(len(xt), int))


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
        "1 - alpha_bar where its root belongs: that is what Tweedie's formula for x_0 has.",
    ),
    (
        lambda xt, abar, mu, var: (xt - np.sqrt(abar) * mu) / np.sqrt(1 - abar),
        "this is the noise if x_0 were mu, the mean of its class; the data spread around it.",
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
)
