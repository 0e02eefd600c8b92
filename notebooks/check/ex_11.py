"""Sitting 11. Flow matching: the exercises, and the mistakes they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tutorial.step11_guidance import guide
from tutorial.step21_flow import velocity

from .exercise import A, B, C, formula, prediction, proof
from .interpreter import Solution


def _R(u: Any) -> Any:
    """The root of (1 - u)^2 + u^2, by which a state of the flow is divided."""
    return np.hypot(1 - u, u)


def _state(x0: Any, eps: Any, u: Any) -> Any:
    """The state of the flow, with one time for all rows or one per row."""
    return (1 - u) * x0 + u * eps


# 11.1: `my_loss(net, x0, eps, u)`, with one time per row.
def _loss(
    state: Callable[..., Any] = _state,
    target: Callable[..., Any] = lambda x0, eps, u: velocity(x0, eps),
    mean: Callable[[Any], Any] = lambda error: (error**2).sum(1).mean(),
    time: Callable[[Any], Any] = lambda u: u,
) -> Callable[..., Any]:
    """The loss on velocities, with one part of it replaced."""

    def loss(net: Any, x0: Any, eps: Any, u: Any) -> Any:
        return mean(net(state(x0, eps, u), time(u)) - target(x0, eps, u))

    return loss


def _difference_of_squares(net: Any, x0: Any, eps: Any, u: Any) -> Any:
    """The squared length of the output minus that of the velocity."""
    out, V = net(_state(x0, eps, u), u), velocity(x0, eps)
    return ((out**2).sum(1) - (V**2).sum(1)).mean()


def _net(X: Any, u: Any) -> Any:
    """A network that depends on every coordinate of its state, and on its time."""
    return np.tanh(X + X[:, ::-1] ** 2) + u * X


def _other_net(X: Any, u: Any) -> Any:
    return np.cos(2 * X) * u - X / (1 + u)


_u = np.random.default_rng(11).uniform(0.1, 0.9, (5, 1))

ex_11_1 = formula(
    "11.1",
    "tutorial/step21_flow.py, (21.1) and (21.4)",
    _loss(),
    [(_net, A, B, _u), (_other_net, B, 2 * C, 1 - _u), (_net, C, A, _u**2)],
    (
        _loss(target=lambda x0, eps, u: x0 - eps),
        "the target has the other sign. Here the time runs from the data to the noise, so the "
        "velocity is eps - x0.",
    ),
    (
        _loss(state=lambda x0, eps, u: _state(x0, eps, 1 - u)),
        "u and 1 - u are exchanged in the state: at u = 0 it has to be the data.",
    ),
    (
        _loss(
            state=lambda x0, eps, u: _state(x0, eps, 1 - u),
            target=lambda x0, eps, u: x0 - eps,
        ),
        "state and target fit each other, on the clock of some papers: there the time is 0 at the "
        "noise and 1 at the data. Here u = 0 is the data.",
    ),
    (
        _loss(target=lambda x0, eps, u: eps),
        "the output is compared with eps, the target of sitting 3. Here it predicts the velocity.",
    ),
    (_loss(target=lambda x0, eps, u: x0), "the output is compared with x0, the guess of the data."),
    (
        _loss(target=lambda x0, eps, u: eps + x0),
        "the target is eps + x0: out - eps - x0 is not out - (eps - x0). Set parentheses.",
    ),
    (
        _loss(target=lambda x0, eps, u: u * (eps - x0)),
        "the target is X - x0, which is the way travelled so far, u V. Divide it by u: the "
        "velocity does not depend on u.",
    ),
    (
        _loss(target=lambda x0, eps, u: (1 - u) * (x0 - eps)),
        "the target is X - eps, which is -(1 - u) V: the rest of the way, backwards. The target is "
        "V itself.",
    ),
    (
        _loss(state=lambda x0, eps, u: np.sqrt(1 - u) * x0 + np.sqrt(u) * eps),
        "the state has roots, as the chain has. On the straight line the factors are 1 - u and u "
        "themselves.",
    ),
    (
        _loss(state=lambda x0, eps, u: _state(x0, eps, u) / _R(u)),
        "the state is divided by the root of (1 - u)^2 + u^2, which makes it a state of the "
        "chain. The network of the flow is given X itself.",
    ),
    (
        _loss(state=lambda x0, eps, u: x0 + u * eps),
        "the data keep the factor 1 at every u: x0 has the factor 1 - u, so that only noise is "
        "left at u = 1.",
    ),
    (
        _loss(state=lambda x0, eps, u: eps),
        "the network is evaluated at the noise. Evaluate it at the state X, between data and "
        "noise.",
    ),
    (
        _loss(state=lambda x0, eps, u: x0),
        "the network is evaluated at the data. Evaluate it at the state X, between data and noise.",
    ),
    (
        _loss(time=lambda u: 1 - u),
        "the network is given the time 1 - u, and the state belongs to u.",
    ),
    (
        _loss(mean=lambda error: (error**2).mean()),
        "half of the right number. Is it a mean over the two coordinates as well? The square of a "
        "length is a sum over coordinates; only the batch is averaged.",
    ),
    (
        _loss(mean=lambda error: (error**2).sum()),
        "the sum over the batch too: then loss and gradient grow with the size of the batch.",
    ),
    (
        _loss(mean=lambda error: np.sqrt((error**2).sum(1)).mean()),
        "this is the length of the error and not its square. Its minimum is a median, not a mean.",
    ),
    (
        _loss(mean=lambda error: np.sqrt((error**2).sum(1).mean())),
        "this is the root of the right number; the loss is the mean square itself.",
    ),
    (
        _loss(mean=lambda error: np.abs(error).sum(1).mean()),
        "this is the absolute error, which is smallest for a median. Guidance and the sampler use "
        "a mean: take the square.",
    ),
    (
        _loss(mean=lambda error: (error**2).sum(1)),
        "this is one number per sample; take their mean.",
    ),
    (
        _loss(mean=lambda error: (error.sum(1) ** 2).mean()),
        "the two coordinates are added before the square, so errors of opposite sign cancel. "
        "Square first, then add.",
    ),
    (
        _loss(target=lambda x0, eps, u: (1 - u) * (eps - x0)),
        "the target is eps - X, the way that is left, (1 - u) V. Divide it by 1 - u.",
    ),
    (
        _loss(state=lambda x0, eps, u: (1 - u) ** 2 * x0 + u**2 * eps),
        "the factors of the state are squared. On the straight line they are 1 - u and u.",
    ),
    (
        _loss(state=lambda x0, eps, u: _state(x0, eps, 1 - u), time=lambda u: 1 - u),
        "state and time fit each other: the time of the network is 1 - u here, which is right only "
        "if it is drawn uniformly. Use the u that is given, for both.",
    ),
    (
        _difference_of_squares,
        "this is |out|^2 - |V|^2, which is lowest for the output 0. Subtract first, then square.",
    ),
    look="Begin with the state X on the line, evaluate net there, and subtract the "
    "velocity of the line.",
    solutions=(
        Solution(
            """
        def solved(net, x0, eps, u):
            X = (1 - u) * x0 + u * eps
            return ((net(X, u) - (eps - x0)) ** 2).sum(1).mean()
        """,
        ),
    ),
)


# 11.2: `my_euler(F, X, steps)`.
def _euler(
    times: Callable[[int], Any] = lambda n: range(n, 0, -1),
    length: Callable[[int, int], float] = lambda k, n: -1 / n,
    shift: float = 0.0,
    state: Callable[[Any, Any], Any] = lambda X, start: X,
    time: Callable[[float], float] = lambda u: u,
) -> Callable[..., Any]:
    """Euler's method from u = 1 to 0, with one part of it replaced."""

    def sampler(F: Any, X: Any, steps: int) -> Any:
        start = X
        for k in times(steps):
            u = time((k + shift) / steps)
            X = X + length(k, steps) * F(state(X, start), u)
        return X

    return sampler


def _while(F: Any, X: Any, steps: int) -> Any:
    """The loop `while u > 0`, which rounding can make one step longer."""
    u = 1.0
    while u > 0:
        X = X - F(X, u) / steps
        u -= 1 / steps
    return X


def _from_the_start(F: Any, X: Any, steps: int) -> Any:
    """The last step alone, taken from the noise."""
    return X - F(X, 1 / steps) / steps


def _without_state(F: Any, X: Any, steps: int) -> Any:
    """Each step in the place of the state that it should change."""
    for k in range(steps, 0, -1):
        X = -F(X, k / steps) / steps
    return X


def _midpoint(F: Any, X: Any, steps: int) -> Any:
    """The midpoint rule: half a step of Euler's method, then a step with the velocity there."""
    for k in range(steps, 0, -1):
        half = X - F(X, k / steps) / (2 * steps)
        X = X - F(half, (k - 0.5) / steps) / steps
    return X


def _heun(F: Any, X: Any, steps: int) -> Any:
    """The mean of the velocities at both ends of a step."""
    for k in range(steps, 0, -1):
        first = F(X, k / steps)
        X = X - (first + F(X - first / steps, (k - 1) / steps)) / (2 * steps)
    return X


_flows = [(_net, A, 1), (_other_net, B, 4), (_net, C, 7)]

ex_11_2 = formula(
    "11.2",
    "tutorial/step21_flow.py, (21.7) and (21.8)",
    _euler(),
    _flows,
    (
        _euler(length=lambda k, n: 1 / n),
        "the sign of the step: u falls from 1 to 0, so u_s - u_t is negative. F points from the "
        "data to the noise, and a sampler goes the other way.",
    ),
    (
        _euler(times=lambda n: range(1, n + 1)),
        "the times run upwards. The loop starts at u = 1, at the noise, and ends at the data.",
    ),
    (
        _euler(times=lambda n: range(n), length=lambda k, n: 1 / n),
        "the loop runs from u = 0 to 1 along F, which turns data into noise. Start at u = 1, and "
        "subtract.",
    ),
    (
        _euler(times=lambda n: range(n)),
        "the loop begins at u = 0, where the data are, and X contains the noises of u = 1. Let the "
        "times fall.",
    ),
    (
        _euler(times=lambda n: np.linspace(n, 0, n)),
        "the times are `steps` numbers from 1 to 0, both included, so they lie too far apart. F is "
        "evaluated at 1, 1 - 1 / steps, and so on down to 1 / steps.",
    ),
    (
        _euler(times=lambda n: np.linspace(n, 0, n)[:-1], length=lambda k, n: -1 / (n - 1)),
        "the loop takes steps - 1 steps: a grid of `steps` times has one interval less. It has to "
        "have steps + 1 times.",
    ),
    (
        _euler(times=lambda n: [n]),
        "only the first step is taken. Does `return` stand inside the loop?",
    ),
    (
        _while,
        "right for some numbers of steps only. After 7 subtractions of 1/7, rounding leaves u "
        "slightly above 0, and `while u > 0` takes one more step. Count the steps.",
    ),
    (
        _from_the_start,
        "each step starts from the noises, so that only the last one counts. Let it start from "
        "the result of the step before.",
    ),
    (
        _without_state,
        "the state is replaced by the step. Add the step to it: X + (u_s - u_t) F.",
    ),
    (
        lambda F, X, steps: _euler()(lambda state, u: F(state, round(u * steps)), X, steps),
        "F is evaluated at the number of the step. Its time is this number divided by steps.",
    ),
    (
        _euler(time=lambda u: 1.0 * (u == 1)),
        "the time is rounded down to 0 or 1: write k / steps, and not k // steps.",
    ),
    (
        _euler(shift=-1.0),
        "F is evaluated at the time at which the step ends; X is still the state of the time at "
        "which it starts.",
    ),
    (
        _euler(shift=-0.5),
        "F is evaluated in the middle of each step. Euler's method uses the time at which the step "
        "starts.",
    ),
    (
        _euler(times=lambda n: range(n, 1, -1)),
        "the last step is missing: the loop also has to take the step from u = 1 / steps to 0.",
    ),
    (
        _euler(times=lambda n: range(n - 1, 0, -1)),
        "the first step is missing: the loop begins at u = 1.",
    ),
    (
        _euler(times=lambda n: range(n, -1, -1)),
        "one step too many: the step that starts at u = 0 leads beyond the data.",
    ),
    (
        _euler(length=lambda k, n: -1.0),
        "each step has the length 1. The whole way has this length; a step has 1 / steps.",
    ),
    (
        _euler(length=lambda k, n: -k / n),
        "this is X - u F in each step, the guess of the data. A step goes only a part of that way.",
    ),
    (
        _euler(state=lambda X, start: start),
        "F is evaluated at the first X in every step: evaluate it at the X that has been reached.",
    ),
    (
        _euler(time=lambda u: 1.0),
        "F is evaluated at u = 1 in every step: the time has to fall with the steps.",
    ),
    (
        lambda F, X, steps: _euler()(lambda state, u: F(state, round((1 - u) * steps)), X, steps),
        "F is evaluated at 0, 1, 2, ... in place of a time. Step k starts at u = 1 - k / steps.",
    ),
    (
        _midpoint,
        "this is the midpoint rule, which evaluates F twice per step. Euler's method takes the "
        "whole step with the velocity at its start.",
    ),
    (
        _heun,
        "this is Heun's method, which evaluates F at both ends of a step. Euler's method uses the "
        "velocity at the start alone.",
    ),
    look="Begin with steps = 1: the result is X - F(X, 1).",
    solutions=(
        Solution(
            """
        def solved(F, X, steps):
            for k in range(steps, 0, -1):
                X = X - F(X, k / steps) / steps
            return X
        """,
            most_pairs=500,
        ),
        Solution(
            """
            def solved(F, X, steps):
                for k in range(steps):
                    u_t = 1 - k / steps
                    u_s = 1 - (k + 1) / steps
                    X = X + (u_s - u_t) * F(X, u_t)
                return X
            """,
            most_pairs=500,
        ),
    ),
)

_SLOPE = 0.4  # of the guess in the state, at u = 1/2: (1/2) (1/4) / (5/16)

ex_11_3 = prediction(
    "11.3",
    "tutorial/step17_solvers.py, (17.13)",
    _SLOPE**2 / 4,
    0.0005,
    (
        0.25,
        "this is the variance of the class, which Euler's method reaches for many steps only. (By "
        "chance it is also the variance after the first of the two steps.)",
    ),
    (0.0, "this is the variance after a single step. Here the second step starts at u = 1/2."),
    (
        _SLOPE**2 * 0.3125,
        "the second step starts from a variance of 0.3125, which is that of X at u = 1/2. The "
        "first step does not reach it: it halves the distance from the mean.",
    ),
    (_SLOPE / 4, "the last factor is not squared: a variance changes with the square of a factor."),
    (
        _SLOPE**2,
        "this is the square of the last factor. It multiplies the variance after the first step, "
        "which is not 1.",
    ),
    (0.3125, "this is the variance of X at u = 1/2, and of the exact solution there."),
    (
        _SLOPE**2 / 16,
        "the variance of the noise, from which the samples start, is 1 and not 1/4; and the last "
        "factor is 1 - 1.2 / 2 = 0.4, because the step has the length 1/2.",
    ),
    (
        _SLOPE**4,
        "the slope 1.2 is used in both steps. In the first one, which starts at u = 1, it is 1.",
    ),
    (
        1 / 16,
        "the slope 1 is used in both steps. In the second one, which starts at u = 1/2, it is 1.2.",
    ),
    (
        (1 + 0.5) ** 2 * (1 + 0.6) ** 2,
        "the steps go backwards in u, from 1 to 0: a slope of 1 makes the distance from the mean "
        "smaller.",
    ),
    (
        1.2**2,
        "these are the slopes themselves, multiplied and squared. The factor of a step is 1 minus "
        "its length times the slope.",
    ),
    (
        0.25 * 0.6**2,
        "0.6 is the length of the second step times its slope. The factor is 1 minus this.",
    ),
    (
        0.5 + _SLOPE,
        "the factors of the two steps are added. They act one after the other, so they multiply; "
        "then square.",
    ),
    (
        0.25 + _SLOPE**2,
        "the squares of the two factors are added. They act one after the other: multiply them.",
    ),
    (
        (_SLOPE * 1.5) ** 2,
        "these are the slopes at the ends of the steps, 1.2 and -1. Euler's method uses those at "
        "the starts, 1 and 1.2.",
    ),
    look="Begin with the factor of each step: 1 minus the length of the step times the slope.",
    given={"h": 0.5, "slope_1": 1.0, "slope_half": 1.2},
    source="(1 - h * slope_1) ** 2 * (1 - h * slope_half) ** 2",
)


# 11.4: `my_velocity(eps, xt, u)`, from a prediction of the chain.
def _of_eps(eps: Any, xt: Any, u: float) -> Any:
    return (eps - _R(u) * xt) / (1 - u)


def _signal_noise(u: float) -> tuple[float, float]:
    R = _R(u)
    return (1 - u) / R, u / R


def _v_of_step_5(eps: Any, xt: Any, u: float) -> Any:
    signal, noise = _signal_noise(u)
    return signal * eps - noise * (xt - noise * eps) / signal


ex_11_4 = formula(
    "11.4",
    "tutorial/step21_flow.py, (21.4) and (21.5)",
    _of_eps,
    [(A, B, 0.5), (B, C, 0.2), (C, A, 0.9), (B, A, 1 / 3)],
    (
        lambda eps, xt, u: (eps - xt) / (1 - u),
        "x_t has been taken for X. The state of the flow is R_u x_t.",
    ),
    (
        lambda eps, xt, u: (eps - xt / _R(u)) / (1 - u),
        "x_t is divided by R_u. It is X that is divided by R_u to give x_t, so X = R_u x_t.",
    ),
    (
        lambda eps, xt, u: (eps - _R(u) ** 2 * xt) / (1 - u),
        "R_u without its root: R_u is the root of (1 - u)^2 + u^2.",
    ),
    (
        lambda eps, xt, u: -_of_eps(eps, xt, u),
        "the sign: the velocity is eps - x0, from the data to the noise.",
    ),
    (
        lambda eps, xt, u: (eps - _R(u) * xt) / u,
        "divided by u. The state lies 1 - u before the noise: X = eps - (1 - u) V.",
    ),
    (
        lambda eps, xt, u: eps - _R(u) * xt / (1 - u),
        "only X is divided by 1 - u. Set parentheses around eps - X.",
    ),
    (
        lambda eps, xt, u: eps - _R(u) * xt,
        "this is the way from X to the noise. Divide it by the time that it takes, 1 - u.",
    ),
    (
        lambda eps, xt, u: (_R(u) * xt - u * eps) / (1 - u),
        "this is the guess of x0. The velocity is eps minus this guess.",
    ),
    (
        lambda eps, xt, u: (xt - _R(u) * (xt - u / _R(u) * eps) / (1 - u)) / u,
        "the guess of x0 is right, and x_t has been taken for X in (X - x0) / u. The state of the "
        "flow is R_u x_t.",
    ),
    (
        lambda eps, xt, u: eps - (_R(u) * xt - u * eps),
        "the guess of x0 in it is not divided: from X = (1 - u) x0 + u eps it is (X - u eps) / "
        "(1 - u).",
    ),
    (
        lambda eps, xt, u: eps - (xt - np.sqrt(u) * eps) / np.sqrt(1 - u),
        "u has been taken for 1 - alpha_bar. The noise level of u is alpha_bar = (1 - u)^2 / "
        "R_u^2; the two agree only at u = 1/2.",
    ),
    (
        lambda eps, xt, u: (_R(u) * xt - eps) / u,
        "eps has been taken for the data: (X - x0) / u is the velocity, and here eps is known and "
        "x0 is not.",
    ),
    (
        lambda eps, xt, u: (eps - _R(u) * xt) * (1 - u),
        "multiplied by 1 - u. The way from X to the noise is (1 - u) V, so divide by 1 - u.",
    ),
    (
        lambda eps, xt, u: _R(u) * (eps - xt) / (1 - u),
        "eps is multiplied by R_u as well. Only the state changes its unit, X = R_u x_t.",
    ),
    (
        lambda eps, xt, u: (_R(u) * xt - (1 - u) * eps) / u,
        "this solves X = u x0 + (1 - u) eps for x0, with u and 1 - u exchanged, and F is eps minus "
        "x0.",
    ),
    (
        lambda eps, xt, u: (eps - _R(u) * xt) / (1 - u) ** 2,
        "1 - u is squared. Only the weight of the loss has the square.",
    ),
    (
        _v_of_step_5,
        "this is the v of sitting 2, whose factors are the roots of alpha_bar and 1 - alpha_bar. "
        "The velocity of the flow has the factors 1 and -1.",
    ),
    look="Solve X = eps - (1 - u) V for V, and insert X = R_u x_t.",
    solutions=(
        Solution(
            """
        def solved(eps, xt, u):
            R = np.sqrt((1 - u) ** 2 + u ** 2)
            return (eps - R * xt) / (1 - u)
        """,
        ),
        Solution(
            """
            def solved(eps, xt, u):
                R = np.sqrt((1 - u) ** 2 + u**2)
                x0 = (R * xt - u * eps) / (1 - u)
                return eps - x0
            """,
        ),
    ),
)


# 11.5: `my_guided(theirs, X, u, y, null, w)`; `theirs` counts from the noise, 0, to the data, 1.
def _guided(
    time_y: Callable[[float], float] = lambda u: 1 - u,
    time_null: Callable[[float], float] = lambda u: 1 - u,
    sign_y: float = -1.0,
    sign_null: float = -1.0,
    mix: Callable[..., Any] = guide,
    state: Callable[[Any, float], Any] = lambda X, u: X,
    plus: float = 0.0,
) -> Callable[..., Any]:
    """The guided velocity on our clock, with one part of it replaced."""

    def guided(theirs: Any, X: Any, u: float, y: Any, null: Any, w: float) -> Any:
        F_y = plus + sign_y * theirs(state(X, u), time_y(u), y)
        F_null = plus + sign_null * theirs(state(X, u), time_null(u), null)
        return mix(F_y, F_null, w)

    return guided


def _same(u: float) -> float:
    return u


def _theirs(X: Any, time: float, y: Any) -> Any:
    y = np.asarray(y)[..., None]
    return np.tanh(X * (1 + time) + y) - time * y + X[:, ::-1]


_y, _null = np.array([0, 1, 2, 0, 1]), np.full(5, 3)
_calls = [(A, 0.3, 3.0), (B, 0.9, 0.5), (C, 0.15, 1.0)]

ex_11_5 = formula(
    "11.5",
    "tutorial/step21_flow.py, (21.4) and (21.6)",
    _guided(),
    [(_theirs, X, u, _y, _null, w) for X, u, w in _calls],
    (
        _guided(time_y=_same, time_null=_same),
        "this is the code as it was: the sign is right, and the time is not. Their time is 0 at "
        "the noise, where u is 1.",
    ),
    (
        _guided(sign_y=1.0, sign_null=1.0),
        "the time is right, and the sign has been lost: their velocity leads from the noise to the "
        "data, so it is x0 - eps.",
    ),
    (
        _guided(time_y=_same, time_null=_same, sign_y=1.0, sign_null=1.0),
        "neither the time nor the sign is converted: their time is 1 - u, and their velocity is "
        "x0 - eps.",
    ),
    (
        _guided(time_y=lambda u: -u, time_null=lambda u: -u),
        "the time is -u. Their time is 0 where u is 1, and 1 where u is 0: it is 1 - u.",
    ),
    (
        _guided(time_null=_same),
        "the time is converted for the label only. Both evaluations have to be at 1 - u.",
    ),
    (
        _guided(time_y=_same),
        "the time is converted for the null label only. Both evaluations have to be at 1 - u.",
    ),
    (
        _guided(sign_null=1.0),
        "the sign is changed for the label only, or w F_null is added. Both outputs have to change "
        "their sign, and w F_null is subtracted.",
    ),
    (
        _guided(sign_y=1.0),
        "the sign is changed for the null label only. Both outputs have to change it.",
    ),
    (
        _guided(state=lambda X, u: 1 - X),
        "time and sign are right; the state is 1 - X. Only the clock runs the other way: the "
        "network is evaluated at X.",
    ),
    (
        _guided(mix=lambda F_y, F_null, w: F_y - w * (F_y - F_null)),
        "the sign of w is changed too. Both outputs have changed their sign, so their difference "
        "has done so already.",
    ),
    (
        _guided(mix=lambda F_y, F_null, w: F_null + w * (F_y - F_null)),
        "time and sign are right. The mix is the other convention: here w = 0 is the conditional "
        "model.",
    ),
    (
        _guided(mix=lambda F_y, F_null, w: w * (F_y - F_null)),
        "time and sign are right. This is only what guidance adds; add it to F_y.",
    ),
    (
        _guided(mix=lambda F_y, F_null, w: F_y - w * F_null),
        "time and sign are right. The factors have to add up to 1: they are 1 + w and -w.",
    ),
    (
        _guided(mix=lambda F_y, F_null, w: w * F_y - (1 - w) * F_null),
        "time and sign are right. The factors w and -(1 - w) add up to 2 w - 1. Take 1 + w and -w.",
    ),
    (
        _guided(mix=lambda F_y, F_null, w: w * F_y - (1 + w) * F_null),
        "time and sign are right. The factors are exchanged: F_y has the larger one, 1 + w.",
    ),
    (
        _guided(mix=lambda F_y, F_null, w: (1 + w) * (F_y - F_null)),
        "time and sign are right. The factors 1 + w and -(1 + w) add up to 0. The last one is -w.",
    ),
    (
        _guided(mix=lambda F_y, F_null, w: (1 + w) * F_y - F_null),
        "time and sign are right. The factor of F_null is -w and not -1.",
    ),
    (
        _guided(time_y=lambda u: u - 1, time_null=lambda u: u - 1),
        "the time is u - 1, which is negative. It is 1 - u.",
    ),
    (
        _guided(plus=1.0),
        "1 minus the output is the conversion of a time. A velocity only changes its sign.",
    ),
    (
        _guided(time_y=lambda u: 1 / u, time_null=lambda u: 1 / u),
        "the time is 1 / u, which is larger than 1. The two clocks add up to 1.",
    ),
    (
        _guided(
            sign_y=1.0,
            sign_null=1.0,
            mix=lambda F_y, F_null, w: F_y - w * (F_y - F_null),
        ),
        "the time is right. The sign was changed at w, where it has to stay, and not at the "
        "outputs.",
    ),
    (
        _guided(state=lambda X, u: X / _R(u)),
        "X is divided by R_u. Their network is one of a flow too, so it is given X itself.",
    ),
    (
        _guided(state=lambda X, u: -X),
        "the state has changed its sign. It is the same on both clocks; only time and velocity "
        "are converted.",
    ),
    look="Begin at w = 0: F_y is minus their output at the time 1 - u. Then mix as in sitting 4.",
    solutions=(
        Solution(
            """
        def solved(theirs, X, u, y, null, w):
            F_y = -theirs(X, 1 - u, y)
            F_null = -theirs(X, 1 - u, null)
            return F_y + w * (F_y - F_null)
        """,
        ),
        Solution(
            """
            def solved(theirs, X, u, y, null, w):
                F_y = -theirs(X, 1 - u, y)
                F_null = -theirs(X, 1 - u, null)
                return (1 + w) * F_y - w * F_null
            """,
        ),
    ),
)


# 11.6: `row(u_t, u_s)` returns a and b of x_s = a x0hat + b x_t.
def _row(ut: float, us: float) -> tuple[float, float]:
    """Euler's step between two times of the flow, in the unit of the chain."""
    return (1 - us / ut) / _R(us), us * _R(ut) / (ut * _R(us))


def _ddim_a(ut: float, us: float, b: float) -> float:
    """The a of a row with this b, from the levels of the data."""
    return _signal_noise(us)[0] - b * _signal_noise(ut)[0]


def _ddim(abar_t: float, abar_s: float) -> tuple[float, float]:
    """The row of DDIM between two levels."""
    b = np.sqrt((1 - abar_s) / (1 - abar_t))
    return np.sqrt(abar_s) - b * np.sqrt(abar_t), b


def _ancestral(ut: float, us: float) -> tuple[float, float]:
    (signal_t, noise_t), (signal_s, noise_s) = _signal_noise(ut), _signal_noise(us)
    b = signal_t / signal_s * noise_s**2 / noise_t**2
    return signal_s - b * signal_t, b


ex_11_6 = proof(
    "11.6",
    "tutorial/step21_flow.py, (21.7) and (21.8)",
    _row,
    (
        lambda ut, us: (_row(ut, us)[0], us / ut),
        "your test passes for a function with b = u_s / u_t, the factor of X and not of x_t: "
        "compare b too, at u_s above 0 and to 1e-6 or so.",
    ),
    (
        lambda ut, us: (1 - us / ut, _row(ut, us)[1]),
        "your test passes for a function with a = 1 - u_s / u_t, which is not divided by R at u_s: "
        "compare a too, at a u_s above 0, by the size of the difference (abs).",
    ),
    (
        lambda ut, us: (_row(ut, us)[0], us / (ut * _R(us))),
        "your test passes for a function without R at u_t in b, which is right at u_t = 1: try "
        "rows that start elsewhere.",
    ),
    (
        lambda ut, us: _row(ut, us) if us else (0.0, 0.0),
        "your test passes for a function that returns zeros in the last row: try u_s = 0.",
    ),
    (
        _ancestral,
        "your test passes for ancestral sampling. Its factors of the data add up to the right one, "
        "and its b is smaller, because it adds new noise: compare b itself.",
    ),
    (
        lambda ut, us: _row(ut, us)[::-1],
        "your test passes for a function that returns (b, a): compare each of the two numbers.",
    ),
    (
        lambda ut, us: tuple(round(number, 2) for number in _row(ut, us)),
        "your test passes for a function that rounds to two digits: compare to 1e-9 or so.",
    ),
    misread=(
        (
            lambda ut, us: _row(ut, us)[::-1],
            "your test takes the two numbers in the order (b, a), and the function returns (a, b).",
        ),
        (
            lambda ut, us: _row(us, ut),
            "your test exchanges u_t and u_s, in the call or in the levels. The function takes u_t "
            "first, the noisier one, and the step goes from u_t to u_s.",
        ),
        (
            lambda ut, us: (1 - us / ut, us / ut),
            "your test expects the factors of X, which add up to 1. The row is for x_t, so both "
            "are divided by R at u_s, and b is multiplied by R at u_t.",
        ),
        (
            lambda ut, us: _ddim((1 - ut) ** 2, (1 - us) ** 2),
            "your test expects alpha_bar = (1 - u)^2. It is (1 - u)^2 / R_u^2.",
        ),
        (
            lambda ut, us: _ddim(_signal_noise(ut)[0], _signal_noise(us)[0]),
            "your test takes the root of alpha_bar, (1 - u) / R_u, for alpha_bar itself.",
        ),
        (
            lambda ut, us: (_ddim_a(ut, us, 1 / _row(ut, us)[1]), 1 / _row(ut, us)[1]),
            "your test expects the reciprocal of b. The root has 1 - alpha_bar at u_s above, and "
            "at u_t below.",
        ),
        (
            lambda ut, us: _ddim((1 - ut) ** 2 / _R(ut), (1 - us) ** 2 / _R(us)),
            "your test expects alpha_bar = (1 - u)^2 / R_u, without the square of R_u.",
        ),
        (
            lambda ut, us: (_signal_noise(us)[0] - _row(ut, us)[1], _row(ut, us)[1]),
            "your test expects a = sqrt(alpha_bar_s) - b. In a, b is multiplied by "
            "sqrt(alpha_bar_t).",
        ),
        (
            lambda ut, us: (_ddim_a(ut, us, _row(ut, us)[1] ** 2), _row(ut, us)[1] ** 2),
            "your test expects b without its root.",
        ),
    ),
)
