"""Wrong answers in sitting 3: exercise, answer, and a phrase of the hint that is meant for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np


def root(x: Any) -> Any:
    return np.sqrt(x)


def noise_with(factor: Callable[[int, Any], float]) -> Callable[..., Any]:
    def step(xt: Any, eps: Any, z: Any, t: int, h: Any) -> Any:
        mean = (xt - h.beta[t] / root(1 - h.alpha_bar[t]) * eps) / root(h.alpha[t])
        return mean + factor(t, h) * z

    return step


def tilde(t: int, h: Any) -> float:
    return h.beta[t] * (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t])


def chain(
    begin: int = 0,
    end: int = 0,
    forward: bool = False,
    late: int = 1,
    still: bool = False,
    factor: Callable[[int, Any], float] = lambda t, h: root(tilde(t, h)),
) -> Callable[..., Any]:
    """A sampler that begins or ends early, runs forward, or uses its noise one step late."""

    def run(model: Any, labels: Any, z: Any, h: Any) -> Any:
        x = z[h.T]
        times = list(range(h.T - begin, end, -1))
        for t in reversed(times) if forward else times:
            out = model(z[h.T] if still else x, t, labels)
            x = noise_with(factor)(x, out, z[t - late], t, h)
        return x

    return run


WRONG: list[tuple[str, Any, str]] = [
    ("3.1", lambda eps, out: np.mean(np.square(out - eps)), "the mean over coordinates"),
    ("3.1", lambda eps, out: np.sum(np.square(out - eps)), "the sum over the batch"),
    ("3.1", lambda eps, out: np.linalg.norm(eps - out, axis=1).mean(), "not its square"),
    ("3.1", lambda eps, out: np.mean(np.sum(eps - out, axis=1)), "both signs cancel"),
    ("3.1", lambda eps, out: np.linalg.norm(eps - out, axis=1) ** 2, "a number for each sample"),
    ("3.1", lambda eps, out: np.linalg.norm(eps - out), "one length for the whole batch"),
    ("3.1", lambda eps, out: np.linalg.norm(np.mean(eps - out, 0)) ** 2, "comes before the square"),
    ("3.1", lambda eps, out: np.mean(np.sum((eps - out) * (eps + out), 1)),
     "difference of squares"),
    ("3.1", lambda eps, out: np.linalg.norm(eps - out, 1, axis=1).mean(), "these are absolute"),
    ("3.2", 0, "eps is not known"),
    ("3.2", 2, "the loss of the prediction 0"),
    ("3.2", 0.2, "half of it"),
    ("3.2", 0.1, "the noise part of x_t in one"),
    ("3.2", 0.667, "so A is 1/8"),
    ("3.2", 0.333, "A is 1/8 and not 1/4"),
    ("3.2", 1.25, "in both coordinates: A + B"),
    ("3.2", 0.625, "in one coordinate: A + B"),
    ("3.2", 0.118, "I/4 is a covariance"),
    ("3.2", 0.283, "divided by the square of the factor"),
    ("3.2", 0.5, "of a guess without x_t"),
    ("3.2", 1.6, "explains"),
    ("3.2", 1, "its variance is not 1"),
    ("3.3", lambda xt, abar, mu, var:
     root(1 - abar) * (root(abar) * mu - xt) / (1 - abar + abar * var), "the sign"),
    ("3.3", lambda xt, abar, mu, var: -(xt - root(abar) * mu) / (1 - abar + abar * var),
     "this is the score"),
    ("3.3", lambda xt, abar, mu, var: (xt - mu) * root(1 - abar) / (1 - abar + abar * var),
     "the mean of x_t is not mu"),
    ("3.3", lambda xt, abar, mu, var: root(1 - abar) / var * (xt - root(abar) * mu),
     "divided by the variance of the data"),
    ("3.3", lambda xt, abar, mu, var: (xt - root(abar) * mu) * (1 - abar) / (1 - abar * (1 - var)),
     "where its root belongs"),
    ("3.3", lambda xt, abar, mu, var: (xt - root(abar) * mu) / root(1 - abar), "if x_0 were mu"),
    ("3.3", lambda xt, abar, mu, var: root(1 - abar) * (xt - root(abar) * mu) / (1 - abar + var),
     "abar var, not var"),
    ("3.3", lambda xt, abar, mu, var: root(1 - abar) * (xt - root(abar) * mu)
     / (1 - abar + abar * var * var), "you have squared it"),
    ("3.3", lambda xt, abar, mu, var: (xt - root(abar) * mu)
     / root((1 - abar + abar * var) / (1 - abar)), "by the standard deviation of x_t"),
    ("3.3", lambda xt, abar, mu, var: (xt - root(abar) * mu) / (1 - abar + abar * var)
     / root(1 - abar), "divided by sqrt(1 - abar)"),
    ("3.3", lambda xt, abar, mu, var: root(1 - abar) * (xt - abar * mu) / (1 - abar + abar * var),
     "you have abar mu"),
    ("3.3", lambda xt, abar, mu, var: mu + root(abar) * var * (xt - root(abar) * mu)
     / (1 - abar + abar * var), "the best guess of x_0"),
    ("3.4", noise_with(lambda t, h: root(h.beta[t])), "added at the last step"),
    ("3.4", noise_with(lambda t, h: root(h.beta[t]) if t > 1 else 0), "that Ho et al. allow"),
    ("3.4", noise_with(tilde), "multiplied by a variance"),
    ("3.4", noise_with(lambda t, h: 0), "no noise is added"),
    ("3.4", lambda xt, eps, z, t, h:
     (xt - root(1 - h.alpha_bar[t]) * eps) / root(h.alpha_bar[t]), "in one go"),
    ("3.4", noise_with(lambda t, h: root(h.beta[t - 1])), "beta of the step before"),
    ("3.4", noise_with(lambda t, h: h.beta[t]), "beta without a root"),
    ("3.4", noise_with(lambda t, h: root(1 - h.alpha_bar[t - 1])), "the noise of a jump"),
    ("3.4", lambda xt, eps, z, t, h: noise_with(lambda t, h: root(tilde(t, h)))(
     xt, eps, eps, t, h), "in the place of z"),
    ("3.4", lambda xt, eps, z, t, h: root(1 - h.alpha_bar[t - 1]) * z
     + (xt - root(1 - h.alpha_bar[t]) * eps) / root(h.alpha[t]), "forgets x_t"),
    ("3.5", chain(forward=True), "runs forward in time"),
    ("3.5", chain(end=1), "the last step is missing"),
    ("3.5", chain(begin=1), "the first step is missing"),
    ("3.5", chain(factor=lambda t, h: root(h.beta[t])), "has the variance beta"),
    ("3.5", chain(factor=lambda t, h: 0.0), "no noise is added on the way"),
    ("3.5", chain(late=0), "uses z[t]"),
    ("3.5", chain(still=True), "evaluated at the start"),
    ("3.5", lambda model, labels, z, h: z[-1], "runs zero times"),
    ("3.5", lambda model, labels, z, h: chain()(model, labels, [*z[:-1], z[0]], h),
     "starts from z[0]"),
    ("3.5", lambda model, labels, z, h: chain()(
     lambda x, t, y: model(z[-1], h.T, labels), labels, z, h),
     "evaluated once, before the loop"),
    ("3.5", lambda model, labels, z, h: noise_with(lambda t, h: 0.0)(
     z[-1], model(z[-1], 1, labels), 0, 1, h), "the state is not updated"),
    ("3.5", lambda model, labels, z, h: chain(
     end=h.T - 1)(model, labels, z, h), "inside the loop"),
    ("3.5", lambda model, labels, z, h: chain()(
     lambda x, t, y: model(z[t], t, y), labels, z, h), "evaluated at z[t]"),
    ("3.5", lambda model, labels, z, h: reduce(
     lambda x, t: (x - root(1 - h.alpha_bar[t]) * model(x, t, labels)) / root(h.alpha_bar[t]),
     range(h.T, 0, -1), z[-1]), "takes it for x_{t-1}"),
    ("3.1", lambda eps, out: np.mean(np.linalg.norm(eps - out, axis=0) ** 2), "the two axes"),
    ("3.5", lambda model, labels, z, h: reduce(
     lambda x, t: root(h.alpha_bar[t - 1] / h.alpha_bar[t])
     * (x - root(1 - h.alpha_bar[t]) * model(x, t, labels))
     + root(1 - h.alpha_bar[t - 1]) * z[t - 1], range(h.T, 0, -1), z[-1]), "x_t is forgotten"),
]  # fmt: skip
