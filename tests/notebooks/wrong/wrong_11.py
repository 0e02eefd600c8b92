"""Wrong answers in sitting 11: exercise, answer, and a phrase of the hint that is meant for it."""

from __future__ import annotations

from typing import Any

import numpy as np

LOSS = """
def my_loss(net, x0, eps, u):
    X = (1 - u) * x0 + u * eps
    V = eps - x0
    out = net(X, u)
    error = out - V
    return np.mean(np.sum(error * error, axis=1))
"""

EULER = """
def my_euler(F, X, steps):
    h = 1 / steps
    u = 1.0
    start = X
    for step in range(steps):
        X = X - h * F(X, u)
        u = u - h
    return X
"""

GUIDED = """
def my_guided(theirs, X, u, y, null, w):
    s = 1 - u
    with_label = -theirs(X, s, y)
    without = -theirs(X, s, null)
    return (1 + w) * with_label - w * without
"""


def made(source: str, *changes: tuple[str, str]) -> Any:
    """The function of the changed text."""
    for old, new in changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    names: dict[str, Any] = {"np": np}
    exec(source, names)
    return next(names[name] for name in ("my_loss", "my_euler", "my_guided") if name in names)


def loss(*changes: tuple[str, str]) -> Any:
    return made(LOSS, *changes)


def euler(*changes: tuple[str, str]) -> Any:
    return made(EULER, *changes)


def guided(*changes: tuple[str, str]) -> Any:
    return made(GUIDED, *changes)


def R(u: float) -> float:
    return np.hypot(1 - u, u)


def signals(u: float) -> tuple[float, float]:
    abar = (1 - u) ** 2 / ((1 - u) ** 2 + u**2)
    return np.sqrt(abar), np.sqrt(1 - abar)


def v_of_the_chain(eps: Any, xt: Any, u: float) -> Any:
    a, s = signals(u)
    return a * eps - s * ((xt - s * eps) / a)


def tested(
    pairs: tuple[tuple[float, float], ...] = ((1.0, 0.5), (0.7, 0.2), (0.5, 0.4), (0.3, 0.0)),
    within: float = 1e-9,
    a_too: bool = True,
    b_too: bool = True,
    exactly: bool = False,
    only_data: bool = False,
    only_sum: bool = False,
    levels: Any = signals,
    b_of: Any = lambda ratio: ratio,
    called: Any = lambda row, ut, us: row(ut, us),
) -> Any:
    """A student's test of a row, which may leave something out."""

    def test(row: Any) -> None:
        for ut, us in pairs:
            (a_t, s_t), (a_s, s_s) = levels(ut), levels(us)
            a, b = called(row, ut, us)
            if only_data:
                assert abs(a + b * a_t - a_s) < within
                continue
            if only_sum:
                assert abs(a + b - a_s + s_s / s_t * a_t - s_s / s_t) < within
                continue
            if exactly:
                assert a == a_s - s_s / s_t * a_t
            expected = b_of(s_s / s_t)
            assert not b_too or abs(b - expected) < within
            assert not a_too or abs(a - (a_s - expected * a_t)) < within

    return test


def test_of_the_factors_of_X(row: Any) -> None:
    """In the unit of the flow."""
    for ut, us in ((1.0, 0.5), (0.5, 0.4)):
        assert np.allclose(row(ut, us), (1 - us / ut, us / ut))


def test_without_the_signal(row: Any) -> None:
    """The factor of b in a was forgotten."""
    for ut, us in ((1.0, 0.5), (0.5, 0.4)):
        ratio = signals(us)[1] / signals(ut)[1]
        assert np.allclose(row(ut, us), (signals(us)[0] - ratio, ratio))


def midpoint(F: Any, X: Any, steps: int) -> Any:
    for i in range(steps):
        u = 1 - i / steps
        halfway = X - F(X, u) * 0.5 / steps
        X = X - F(halfway, u - 0.5 / steps) / steps
    return X


def heun(F: Any, X: Any, steps: int) -> Any:
    for i in range(steps):
        u = 1 - i / steps
        k1 = F(X, u)
        k2 = F(X - k1 / steps, u - 1 / steps)
        X = X - (k1 + k2) / 2 / steps
    return X


def loss_of_lengths(net: Any, x0: Any, eps: Any, u: Any) -> Any:
    out = net((1 - u) * x0 + u * eps, u)
    lengths = np.linalg.norm(out, axis=1), np.linalg.norm(eps - x0, axis=1)
    return np.mean(lengths[0] ** 2 - lengths[1] ** 2)


MIX = "(1 + w) * with_label - w * without"

WRONG: list[tuple[str, Any, str]] = [
    ("11.1", loss(("V = eps - x0", "V = x0 - eps")), "has the other sign"),
    ("11.1", loss(("out - V", "out + V")), "has the other sign"),
    ("11.1", loss(("(1 - u) * x0 + u * eps", "u * x0 + (1 - u) * eps")), "in the state"),
    ("11.1", loss(("(1 - u) * x0 + u * eps", "u * x0 + (1 - u) * eps"),
                  ("V = eps - x0", "V = x0 - eps")), "clock of some papers"),
    ("11.1", loss(("V = eps - x0", "V = eps")), "the target of sitting 3"),
    ("11.1", loss(("V = eps - x0", "V = x0")), "is compared with x0"),
    ("11.1", loss(("out - V", "out - eps - x0")), "Set parentheses."),
    ("11.1", loss(("V = eps - x0", "V = X - x0")), "travelled so far"),
    ("11.1", loss(("(1 - u) * x0 + u * eps", "(1 - u) ** 0.5 * x0 + u**0.5 * eps")), "has roots"),
    ("11.1", loss(("out = net(X, u)", "out = net(X / np.hypot(1 - u, u), u)")), "X itself"),
    ("11.1", loss(("(1 - u) * x0 + u * eps", "x0 + u * eps")), "keep the factor 1"),
    ("11.1", loss(("net(X, u)", "net(eps, u)")), "evaluated at the noise"),
    ("11.1", loss(("return np.mean(np.sum(error * error, axis=1))",
                   "return np.sqrt(np.mean(np.sum(error * error, axis=1)))")), "this is the root"),
    ("11.1", loss(("net(X, u)", "net(x0, u)")), "evaluated at the data"),
    ("11.1", loss(("net(X, u)", "net(X, 1 - u)")), "given the time 1 - u"),
    ("11.1", loss(("np.mean(np.sum(error * error, axis=1))", "np.mean(error * error)")),
     "half of the right number"),
    ("11.1", loss(("np.mean(np.sum(error * error, axis=1))", "np.sum(error * error)")),
     "the sum over the batch"),
    ("11.1", loss(("np.sum(error * error, axis=1)", "np.linalg.norm(error, axis=1)")),
     "the length of the error"),
    ("11.1", loss(("error * error", "abs(error)")), "the absolute error"),
    ("11.1", loss(("V = eps - x0", "V = X - eps")), "the rest of the way"),
    ("11.1", loss(("np.mean(np.sum(error * error, axis=1))", "np.sum(error * error, axis=1)")),
     "one number per sample"),
    ("11.1", loss(("np.sum(error * error, axis=1)", "np.sum(error, axis=1) ** 2")), "cancel"),
    ("11.1", loss(("V = eps - x0", "V = eps - X")), "the target is eps - X"),
    ("11.1", loss(("(1 - u) * x0 + u * eps", "(1 - u) ** 2 * x0 + u**2 * eps")), "are squared"),
    ("11.1", loss(("(1 - u) * x0 + u * eps", "u * x0 + (1 - u) * eps"),
                  ("net(X, u)", "net(X, 1 - u)")), "if it is drawn uniformly"),
    ("11.1", loss_of_lengths, "lowest for the output 0"),
    ("11.2", euler(("F(X, u)", "F(X, step)")), "in place of a time"),
    ("11.2", midpoint, "the midpoint rule"),
    ("11.2", heun, "Heun's method"),
    ("11.2", euler(("X - h * F", "X + h * F")), "the sign of the step"),
    ("11.2", euler(("u = 1.0", "u = h"), ("u = u - h", "u = u + h")), "the times run upwards"),
    ("11.2", euler(("u = 1.0", "u = 0.0"), ("X - h * F", "X + h * F"), ("u = u - h", "u = u + h")),
     "turns data into noise"),
    ("11.2", euler(("u = 1.0", "u = 0.0"), ("u = u - h", "u = u + h")), "the loop begins at u = 0"),
    ("11.2", euler(("for step in range(steps)", "for u in np.linspace(1, 0, steps)"),
                   ("        u = u - h\n", "")), "they lie too far apart"),
    ("11.2", euler(("h = 1 / steps", "h = 1 / (steps - 1) if steps > 1 else 0"),
                   ("range(steps)", "range(steps - 1)")), "a grid of `steps` times"),
    ("11.2", euler(("    return X\n", "        return X\n")), "inside the loop?"),
    ("11.2", euler(("for step in range(steps)", "while u > 0")), "`while u > 0` takes one more"),
    ("11.2", euler(("X = X - h * F(X, u)", "X = start - h * F(start, u)")), "only the last one"),
    ("11.2", euler(("X - h * F(X, u)", "-h * F(X, u)")), "replaced by the step"),
    ("11.2", euler(("F(X, u)", "F(X, steps - step)")), "the number of the step"),
    ("11.2", euler(("F(X, u)", "F(X, (steps - step) // steps)")), "rounded down"),
    ("11.2", euler(("F(X, u)", "F(X, u - h)")), "at which the step ends"),
    ("11.2", euler(("F(X, u)", "F(X, u - h / 2)")), "in the middle of each step"),
    ("11.2", euler(("range(steps)", "range(steps - 1)")), "the last step is missing"),
    ("11.2", euler(("u = 1.0", "u = 1.0 - h"), ("range(steps)", "range(steps - 1)")),
     "the first step is missing"),
    ("11.2", euler(("range(steps)", "range(steps + 1)")), "one step too many"),
    ("11.2", euler(("X - h * F(X, u)", "X - F(X, u)")), "has the length 1"),
    ("11.2", euler(("X - h * F(X, u)", "X - u * F(X, u)")), "only a part of that way"),
    ("11.2", euler(("F(X, u)", "F(start, u)")), "at the first X in every step"),
    ("11.2", euler(("        u = u - h\n", "")), "at u = 1 in every step"),
    ("11.3", 1 / 4, "the variance of the class"),
    ("11.3", 0, "a single step"),
    ("11.3", 0.05, "0.3125, which is that of X"),
    ("11.3", 0.1, "is not squared"),
    ("11.3", 0.4**2, "which is not 1"),
    ("11.3", 5 / 16, "of the exact solution there"),
    ("11.3", 0.01, "the variance of the noise, from"),
    ("11.3", 0.16**2, "1.2 is used in both"),
    ("11.3", 0.25**2, "1 is used in both"),
    ("11.3", 1.5**2 * 1.6**2, "backwards in u"),
    ("11.3", 1.2**2, "the slopes themselves"),
    ("11.3", (0.5 * 0.6) ** 2, "0.6 is the length"),
    ("11.3", 0.5 + 0.4, "then square"),
    ("11.3", 0.5**2 + 0.4**2, "the squares of the two factors"),
    ("11.3", (1 - 0.6) ** 2 * (1 + 0.5) ** 2, "at the ends of the steps"),
    ("11.4", lambda eps, xt, u: (eps - xt) / (1 - u), "x_t has been taken for X. The"),
    ("11.4", lambda eps, xt, u: (eps - xt / R(u)) / (1 - u), "x_t is divided by R_u"),
    ("11.4", lambda eps, xt, u: (eps - ((1 - u) ** 2 + u**2) * xt) / (1 - u), "without its root"),
    ("11.4", lambda eps, xt, u: (R(u) * xt - eps) / (1 - u), "the sign: the velocity"),
    ("11.4", lambda eps, xt, u: (eps - R(u) * xt) / u, "divided by u. The state"),
    ("11.4", lambda eps, xt, u: eps - R(u) * xt / (1 - u), "only X is divided"),
    ("11.4", lambda eps, xt, u: eps - R(u) * xt, "the way from X to the noise"),
    ("11.4", lambda eps, xt, u: (R(u) * xt - u * eps) / (1 - u), "this is the guess"),
    ("11.4", lambda eps, xt, u: eps - (R(u) * xt - u * eps), "in it is not divided"),
    ("11.4", lambda eps, xt, u: eps - (xt - u**0.5 * eps) / (1 - u) ** 0.5, "for 1 - alpha_bar"),
    ("11.4", lambda eps, xt, u: (R(u) * xt - eps) / u, "taken for the data"),
    ("11.4", lambda eps, xt, u: (xt - (xt - signals(u)[1] * eps) / signals(u)[0]) / u,
     "x0 is right, and x_t"),
    ("11.4", lambda eps, xt, u: (1 - u) * (eps - R(u) * xt), "multiplied by 1 - u"),
    ("11.4", lambda eps, xt, u: R(u) * (eps - xt) / (1 - u), "by R_u as well"),
    ("11.4", lambda eps, xt, u: (R(u) * xt - (1 - u) * eps) / u, "with u and 1 - u exchanged"),
    ("11.4", lambda eps, xt, u: (eps - R(u) * xt) / (1 - u) ** 2, "1 - u is squared"),
    ("11.4", v_of_the_chain, "the v of sitting 2"),
    ("11.5", guided(("s = 1 - u", "s = u")), "the code as it was"),
    ("11.5", guided(("-theirs(X, s, y)", "theirs(X, s, y)"),
                    ("-theirs(X, s, null)", "theirs(X, s, null)")), "the sign has been lost"),
    ("11.5", guided(("s = 1 - u", "s = u"), ("-theirs(X, s, y)", "theirs(X, s, y)"),
                    ("-theirs(X, s, null)", "theirs(X, s, null)")), "neither the time"),
    ("11.5", guided(("s = 1 - u", "s = -u")), "the time is -u"),
    ("11.5", guided(("theirs(X, s, null)", "theirs(X, u, null)")), "for the label only. Both ev"),
    ("11.5", guided(("theirs(X, s, y)", "theirs(X, u, y)")), "for the null label only. Both ev"),
    ("11.5", guided(("-theirs(X, s, null)", "theirs(X, s, null)")), "or w F_null is added"),
    ("11.5", guided(("-theirs(X, s, y)", "theirs(X, s, y)")), "for the null label only. Both out"),
    ("11.5", guided(("(1 + w) * with_label - w * without", "(1 - w) * with_label + w * without")),
     "the sign of w"),
    ("11.5", guided(("(1 + w) * with_label - w * without", "w * with_label + (1 - w) * without")),
     "the other convention"),
    ("11.5", guided(("(1 + w) * with_label - w * without", "w * (with_label - without)")),
     "only what guidance adds"),
    ("11.5", guided(("(1 + w) * with_label - w * without", "with_label - w * without")),
     "have to add up to 1"),
    ("11.5", guided((MIX, "w * with_label - (1 - w) * without")), "2 w - 1"),
    ("11.5", guided((MIX, "w * with_label - (1 + w) * without")), "has the larger one"),
    ("11.5", guided(("-theirs(X, s, y)", "1 - theirs(X, s, y)"),
                    ("-theirs(X, s, null)", "1 - theirs(X, s, null)")), "1 minus the output"),
    ("11.5", guided(("s = 1 - u", "s = 1 / u")), "the time is 1 / u"),
    ("11.5", guided(("-theirs(X, s, y)", "theirs(X, s, y)"),
                    ("-theirs(X, s, null)", "theirs(X, s, null)"),
                    (MIX, "(1 - w) * with_label + w * without")), "not at the outputs"),
    ("11.5", guided(("s = 1 - u", "s = 1 - u\n    X = X / np.hypot(u, s)")), "X is divided by R_u"),
    ("11.5", guided(("s = 1 - u", "s = 1 - u\n    X = -X")), "the state has changed its sign"),
    ("11.5", guided((MIX, "(1 + w) * (with_label - without)")), "add up to 0"),
    ("11.5", guided((MIX, "(1 + w) * with_label - without")), "is -w and not -1"),
    ("11.5", guided(("s = 1 - u", "s = u - 1")), "which is negative"),
    ("11.6", tested(levels=lambda u: ((1 - u) / R(u) ** 0.5, (1 - (1 - u) ** 2 / R(u)) ** 0.5)),
     "without the square of R_u"),
    ("11.6", test_without_the_signal, "a = sqrt(alpha_bar_s) - b"),
    ("11.6", tested(called=lambda row, ut, us: row(ut, us)[::-1]), "the order (b, a)"),
    ("11.6", tested(called=lambda row, ut, us: row(us, ut), pairs=((1.0, 0.5), (0.5, 0.4))),
     "exchanges u_t and u_s"),
    ("11.6", test_of_the_factors_of_X, "expects the factors of X"),
    ("11.6", tested(levels=lambda u: (1 - u, (1 - (1 - u) ** 2) ** 0.5)), "(1 - u)^2. It is"),
    ("11.6", tested(levels=lambda u: (signals(u)[0] ** 0.5, (1 - signals(u)[0]) ** 0.5)),
     "for alpha_bar itself"),
    ("11.6", tested(b_of=lambda ratio: 1 / ratio, pairs=((1.0, 0.5), (0.5, 0.4))),
     "the reciprocal of b"),
    ("11.6", tested(b_of=lambda ratio: ratio**2), "b without its root"),
    ("11.6", tested(exactly=True), "the lesson's own function"),
    ("11.6", tested(b_too=False), "the factor of X and not of x_t"),
    ("11.6", tested(a_too=False), "is not divided by R at u_s"),
    ("11.6", tested(pairs=((1.0, 0.7), (1.0, 0.2), (1.0, 0.0))), "without R at u_t"),
    ("11.6", tested(pairs=((1.0, 0.5), (0.6, 0.3))), "zeros in the last row"),
    ("11.6", tested(only_data=True), "ancestral sampling"),
    ("11.6", tested(only_sum=True), "returns (b, a)"),
    ("11.6", tested(within=0.01), "rounds to two digits"),
    ("11.5", lambda theirs, X, u, y, null, w: w * theirs(1 - X, 1 - u, null)
     - (1 + w) * theirs(1 - X, 1 - u, y), "the state is 1 - X"),
]  # fmt: skip
