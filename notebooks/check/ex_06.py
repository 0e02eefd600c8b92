"""Sitting 6. The paper's algorithms, and solvers as rows: exercises, and the mistakes they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tutorial.step02_forward import Schedule
from tutorial.step16_log_snr import (
    forward_var,
    log_snr_of,
    map_ends,
    q_posterior_log_snr,
    reverse_var,
    signal_noise,
)
from tutorial.step17_solvers import Table, ddim, table_of, times

from .exercise import A, B, C, formula, prediction, proof
from .interpreter import Solution

_u = np.linspace(0.05, 0.95, 7)


def _angle(u: Any, low: float, high: float) -> Any:
    a, b = map_ends(low, high)
    return a * u + b


ex_6_1 = formula(
    "6.1",
    "tutorial/step16_log_snr.py, (16.6) and (16.7)",
    log_snr_of,
    [(_u, -20.0, 20.0), (_u, -8.0, 8.0), (_u, -3.0, 10.0)],
    (
        lambda u, low, high: -np.log(np.tan(_angle(u, low, high))),
        "half of it: the tangent is a ratio of standard deviations, and a log SNR is one of "
        "variances.",
    ),
    (
        lambda u, low, high: 2 * np.log(np.tan(_angle(u, low, high))),
        "the sign: a large angle is much noise, so a low log SNR.",
    ),
    (
        lambda u, low, high: high + (low - high) * u,
        "linear in the log SNR itself; it is the angle that grows linearly.",
    ),
    (
        lambda u, low, high: log_snr_of(1 - u, low, high),
        "the wrong way round: u = 0 is the end with little noise, `high`.",
    ),
    (
        lambda u, low, high: -2 * np.log(np.tan(np.pi / 2 * u)),
        "the whole quarter turn: it has to start at the angle of `high` and end at that of `low`.",
    ),
    (
        lambda u, low, high: low + (high - low) * u,
        "linear in the log SNR itself, and from low to high. The angle grows linearly, "
        "from that of `high` to that of `low`.",
    ),
    (
        lambda u, low, high: (
            -2 * np.log(np.tan((1 - u) * np.arctan(np.exp(-high)) + u * np.arctan(np.exp(-low))))
        ),
        "the angle of lambda is arctan(e^(-lambda / 2)); you have left out the half.",
    ),
    (
        lambda u, low, high: -2 * np.log((1 - u) * np.exp(-high / 2) + u * np.exp(-low / 2)),
        "the tangent of the angle grows linearly here. Take arctan at both ends, and let the angle "
        "grow linearly between them.",
    ),
    (_angle, "this is the angle. The log SNR is -2 log tan of it."),
    (
        lambda u, low, high: np.tan(_angle(u, low, high)),
        "this is the tangent, sigma / a. The log SNR is -2 times its logarithm.",
    ),
    (
        lambda u, low, high: np.tan(_angle(u, low, high)) ** -2,
        "this is the ratio of signal to noise itself; take its logarithm.",
    ),
    (
        lambda u, low, high: -2 * np.log(np.sin(_angle(u, low, high))),
        "the sine is sigma alone; the ratio sigma / a is the tangent.",
    ),
    (
        lambda u, low, high: -2 * np.log(np.arctan(_angle(u, low, high))),
        "arctan twice: it gave the angles of the two ends. From the angle to sigma / a leads tan.",
    ),
    (
        lambda u, low, high: -2 * np.log(np.tan(u * (_angle(1, low, high) - _angle(0, low, high)))),
        "the angle starts at 0; add that of `high`, where u = 0 is.",
    ),
    look="Try u = 0 and u = 1: there lambda has to be high and low. Between them only the angle is "
    "linear.",
    solutions=(
        Solution(
            """
        def solved(u, low, high):
            first = np.arctan(np.exp(-high / 2))
            last = np.arctan(np.exp(-low / 2))
            angle = first + (last - first) * u
            return -2 * np.log(np.tan(angle))
        """,
            shown={"first": "angle(high)", "last": "angle(low)", "angle": "angle(u)"},
        ),
    ),
)


def _step(
    law: Callable[..., Any], noise: Callable[..., Any], x_too: float = 1.0
) -> Callable[..., Any]:
    """A step of Algorithm 2, by its variance and by what is multiplied by its root."""

    def step(z: Any, eps: Any, n: Any, here: float, there: float, v: float) -> Any:
        a, sigma = signal_noise(here)
        x = (z - sigma * eps) / a
        mean = q_posterior_log_snr(x_too * x, z, here, there).mean
        narrow = q_posterior_log_snr(x, z, here, there).var
        return mean + noise(law(narrow, forward_var(here, there), v), z, n)

    return step


def _in_logs(narrow: float, wide: float, v: float) -> float:
    return narrow ** (1 - v) * wide**v


def _between(narrow: float, wide: float, v: float) -> float:
    return (1 - v) * narrow + v * wide


def _by_n(var: float, z: Any, n: Any) -> Any:
    return np.sqrt(var) * n


def _by_z(var: float, z: Any, n: Any) -> Any:
    return np.sqrt(var) * z


def _step_from(x_of: Callable[..., Any]) -> Callable[..., Any]:
    """A step of Algorithm 2 with another guess of x."""

    def step(z: Any, eps: Any, n: Any, here: float, there: float, v: float) -> Any:
        x = x_of(z, eps, n, *signal_noise(here))
        mean = q_posterior_log_snr(x, z, here, there).mean
        return mean + np.sqrt(reverse_var(here, there, v)) * n

    return step


def _algorithm_2_with(
    z: Any, eps: Any, n: Any, here: float, there: float, v: float, of_guess: float
) -> Any:
    """A step whose guess takes a and sigma from the level `of_guess`."""
    a, sigma = signal_noise(of_guess)
    mean = q_posterior_log_snr((z - sigma * eps) / a, z, here, there).mean
    return mean + np.sqrt(reverse_var(here, there, v)) * n


def _algorithm_2(z: Any, eps: Any, n: Any, here: float, there: float, v: float) -> Any:
    a, sigma = signal_noise(here)
    law = q_posterior_log_snr((z - sigma * eps) / a, z, here, there)
    return law.mean + np.sqrt(reverse_var(here, there, v)) * n


ex_6_2 = formula(
    "6.2",
    "tutorial/step16_log_snr.py, (16.10) to (16.12)",
    _algorithm_2,
    [
        (A, B, C, here, there, v)
        for here, there in ((-3.0, 1.0), (2.0, 9.0), (-8.0, -1.0))
        for v in (0.3, 0.8)
    ],
    (_step(_between, _by_z), "this is the code as it was, with both of its mistakes."),
    (
        _step(_in_logs, _by_z),
        "one is left: z, the state, for the noise. It is in the mean already; n is fresh.",
    ),
    (
        _step(_between, _by_n),
        "one is left: v goes between the variances. It has to go between their logarithms, so each "
        "of the two is a factor with a power.",
    ),
    (
        _step(lambda narrow, wide, v: _in_logs(narrow, wide, 1 - v), _by_n),
        "v and 1 - v are exchanged: v = 0 has to be the variance of the posterior, law.var.",
    ),
    (
        _step(_in_logs, lambda var, z, n: var * n),
        "n is multiplied by a variance; it is its square root that belongs there.",
    ),
    (
        _step(lambda narrow, wide, v: narrow, _by_n),
        "v is ignored: this is the posterior's variance, right for v = 0 only.",
    ),
    (_step(_in_logs, _by_n, 0.0), "the mean without its x: then only noise is left in the end."),
    (
        _step(lambda narrow, wide, v: ((1 - v) * narrow**0.5 + v * wide**0.5) ** 2, _by_n),
        "v goes between the standard deviations. It has to go between the logarithms.",
    ),
    (
        _step(lambda narrow, wide, v: narrow ** (1 - v) + wide**v, _by_n),
        "the two powers are added. A sum of logarithms is a product of powers: multiply them.",
    ),
    (
        _step(lambda narrow, wide, v: (1 - v) * narrow * v * wide, _by_n),
        "1 - v and v are factors here. As factors of the logarithms they become exponents.",
    ),
    (
        _step(_in_logs, lambda var, z, n: 0 * n),
        "no noise: this is the mean alone. Add n times the standard deviation.",
    ),
    (
        _step(_in_logs, lambda var, z, n: var**0.25 * n),
        "the root is taken twice. One of a variance is its standard deviation.",
    ),
    (
        _step_from(lambda z, eps, n, a, sigma: (z - sigma * n) / a),
        "the guess x is computed with the fresh noise n; it needs the prediction eps.",
    ),
    (
        _step_from(lambda z, eps, n, a, sigma: (z - sigma * eps) * a),
        "the guess is multiplied by a. z = a x + sigma eps, so divide by a.",
    ),
    (
        lambda z, eps, n, here, there, v: _algorithm_2_with(z, eps, n, here, there, v, there),
        "a and sigma are those of `there`. z has the noise level `here`.",
    ),
    (
        lambda z, eps, n, here, there, v: (
            q_posterior_log_snr(
                z, (z - signal_noise(here)[1] * eps) / signal_noise(here)[0], here, there
            ).mean
            + np.sqrt(reverse_var(here, there, v)) * n
        ),
        "x and z are exchanged in q_posterior_log_snr: its first argument is the guess.",
    ),
    (
        lambda z, eps, n, here, there, v: (
            (z - signal_noise(here)[1] * eps) / signal_noise(here)[0]
            + np.sqrt(reverse_var(here, there, v)) * n
        ),
        "the noise is added to the guess x. It belongs around law.mean.",
    ),
    look="Keep the lines that are shown, and change two: the one of var, and what is multiplied by "
    "its root.",
    solutions=(
        Solution(
            """
        def solved(z, eps, n, here, there, v):
            a, sigma = signal_noise(here)
            x = (z - sigma * eps) / a
            law = q_posterior_log_snr(x, z, here, there)
            var = law.var ** (1 - v) * forward_var(here, there) ** v
            return law.mean + np.sqrt(var) * n
        """,
            {
                "signal_noise": signal_noise,
                "q_posterior_log_snr": q_posterior_log_snr,
                "forward_var": forward_var,
            },
        ),
        Solution(
            """
            def solved(z, eps, n, here, there, v):
                a, sigma = signal_noise(here)
                law = q_posterior_log_snr((z - sigma * eps) / a, z, here, there)
                log_var = (1 - v) * np.log(law.var) + v * np.log(forward_var(here, there))
                return law.mean + np.exp(log_var / 2) * n
            """,
            {
                "signal_noise": signal_noise,
                "q_posterior_log_snr": q_posterior_log_snr,
                "forward_var": forward_var,
            },
            most_pairs=2000,
        ),
    ),
)

_64_ROWS = 9.6e-4

ex_6_3 = prediction(
    "6.3",
    "tutorial/step18_dpmpp.py, (18.6) and (18.7)",
    _64_ROWS / 16,
    2e-6,
    (_64_ROWS / 4, "a quarter: that is a solver of first order, such as DDIM."),
    (_64_ROWS / 64, "a 64th: that would be a solver of third order."),
    (_64_ROWS / 256, "divided by the number of rows: they are 4 times as many as before."),
    (_64_ROWS / 2, "four times as many rows are h / 4, and the error goes with a power of h."),
    (_64_ROWS * 16, "the wrong way round: more rows are shorter ones, and err less."),
    (
        _64_ROWS * 4,
        "larger, and by h only: more rows are shorter ones, so the error falls; for second order "
        "it falls with the square of h.",
    ),
    (_64_ROWS, "this is the error with 64 rows. With 256 each row is a quarter as long."),
    (
        _64_ROWS / 9,
        "the factor is 256 / 64 = 4, not 192 / 64 = 3: compare the numbers of rows.",
    ),
    (
        _64_ROWS**2,
        "the error is squared. It is h that is squared: h becomes h / 4, and h^2 becomes h^2 / 16.",
    ),
    (16.0, "this is the factor by which the error falls. Divide the given error by it."),
    look="Each of the 256 rows is a quarter as long as one of 64. With the error proportional to "
    "h^2, what becomes of it?",
    given={"error": _64_ROWS},
    source="error / (256 / 64) ** 2",
)


def _ddim_with(
    a: Callable[..., Any] = lambda abar_t, abar_s, b: np.sqrt(abar_s) - b * np.sqrt(abar_t),
    b: Callable[..., Any] = lambda r, alpha, eta: (1 - eta**2) * r + eta**2 * alpha * r**2,
    c: Callable[..., Any] = lambda r, alpha, eta: eta**2 * (1 - alpha) * r,
    alpha_of: Callable[..., Any] = lambda h, t, s: h.alpha_bar[t] / h.alpha_bar[s],
    times_of: Callable[..., Any] = times,
) -> Callable[..., Table]:
    """DDIM with one formula changed: `a`, the squares of `b` and `c`, alpha, or the times."""

    def solver(schedule: Schedule, steps: int, eta: float) -> Table:
        t, s = times_of(schedule, steps)
        abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
        given = (1 - abar_s) / (1 - abar_t), alpha_of(schedule, t, s), eta
        of_x, of_z = np.sqrt(b(*given)), np.sqrt(c(*given))
        of_guess = a(abar_t, abar_s, of_x)
        return table_of(schedule, t, s, "eps", of_guess, of_x, of_z, 0.0, 0.0, 1.0)

    return solver


def _right_at_the_end(schedule: Schedule, steps: int, eta: float) -> Table:
    """DDIM with a, b and c twice too large in all rows but the last."""
    table = ddim(schedule, steps, eta)
    factor = np.ones_like(table.rows)
    factor[:-1, 2:5] = 2.0
    return replace(table, rows=factor * table.rows)


def _not_from_T(schedule: Schedule, steps: int) -> Any:
    t = np.array([max(schedule.T * i // steps, 1) for i in range(steps - 1, -1, -1)])
    return t, np.array([*t[1:], 0])


def _ends_where_it_begins(schedule: Schedule, steps: int) -> Any:
    t, _ = times(schedule, steps)
    return t, np.array([*t[1:], t[-1]])


ex_6_4 = proof(
    "6.4",
    "tutorial/step17_solvers.py, (17.8) to (17.11)",
    ddim,
    (
        _right_at_the_end,
        "your test lets one through with wrong a, b and c in every row but the last. There a = 1 "
        "and b = c = 0, whatever eta is: compare all rows.",
    ),
    (
        _ddim_with(a=lambda abar_t, abar_s, b: np.sqrt(abar_s)),
        "your test lets one through with a = sqrt(abar_s). b x_t contains data as well: compare "
        "the whole factor of x_0 in x_s.",
    ),
    (
        _ddim_with(b=lambda r, alpha, eta: r),
        "your test lets one through that adds fresh noise and removes none of the old: compare "
        "the variance of all noise in x_s, at an eta above 0.",
    ),
    (
        _ddim_with(c=lambda r, alpha, eta: eta * (1 - alpha) * r),
        "your test lets one through in which eta multiplies the variance: at 0 and 1 both are "
        "equal, so try an eta between.",
    ),
    (
        _ddim_with(alpha_of=lambda h, t, s: h.alpha[t]),
        "your test lets one through that takes alpha of single steps, which is right where s is t "
        "- 1. Try fewer rows than T.",
    ),
    (
        _ddim_with(times_of=_not_from_T),
        "your test lets one through that does not start at T, where the noise is: look at table.t.",
    ),
    (
        _ddim_with(times_of=_ends_where_it_begins),
        "your test lets one through in which the last row does not reach 0: look at table.s.",
    ),
)
