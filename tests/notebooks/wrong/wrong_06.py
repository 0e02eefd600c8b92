"""Wrong answers in sitting 6: exercise, answer, and a phrase of the hint that is meant for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tutorial.step02_forward import Schedule
from tutorial.step16_log_snr import forward_var, q_posterior_log_snr, signal_noise


def angle(u: Any, low: float, high: float) -> Any:
    b, end = np.arctan(np.exp(-high / 2)), np.arctan(np.exp(-low / 2))
    return b + (end - b) * u


def a_step(noise: Any) -> Any:
    """Algorithm 2's mean, and noise of a student's own from (narrow, wide, v, z, n)."""

    def step(z: Any, eps: Any, n: Any, here: float, there: float, v: float) -> Any:
        a, sigma = signal_noise(here)
        law = q_posterior_log_snr((z - sigma * eps) / a, z, here, there)
        return law.mean + noise(law.var, forward_var(here, there), v, z, n)

    return step


def step(
    var: Any = lambda narrow, wide, v: narrow * (wide / narrow) ** v,
    guess: Any = lambda z, eps, n, a, s: (z - s * eps) / a,
    mean: Any = lambda x, z, law: law(x, z),
    level: int = 0,
) -> Any:
    """A student's step with one line changed."""

    def stepped(z: Any, eps: Any, n: Any, here: float, there: float, v: float) -> Any:
        x = guess(z, eps, n, *signal_noise((here, there)[level]))
        narrow = q_posterior_log_snr(x, z, here, there).var

        def law(x: Any, z: Any) -> Any:
            return q_posterior_log_snr(x, z, here, there).mean

        return mean(x, z, law) + np.sqrt(var(narrow, forward_var(here, there), v)) * n

    return stepped


def without_x(z: Any, eps: Any, n: Any, here: float, there: float, v: float) -> Any:
    law = q_posterior_log_snr(0 * z, z, here, there)
    return law.mean + np.sqrt(law.var ** (1 - v) * forward_var(here, there) ** v) * n


def tested(
    exactly: bool = False,
    data: bool = True,
    noise: bool = True,
    start: bool = True,
    end: bool = True,
    etas: tuple[float, ...] = (0.0, 0.5, 1.0),
    steps: tuple[int, ...] = (20, 7),
    last: bool = False,
) -> Any:
    """A student's test of a solver, which may leave something out."""

    def test(solver: Any) -> None:
        schedule = Schedule.cosine(20)
        for eta, n in ((eta, n) for eta in etas for n in steps):
            table = solver(schedule, n, eta)
            a, b, c = table.rows.T[2:5]
            before, after = schedule.alpha_bar[table.t], schedule.alpha_bar[table.s]
            left = a + b * np.sqrt(before) - np.sqrt(after)
            off = b**2 * (1 - before) + c**2 - (1 - after)
            within = 0 if exactly else 1e-9
            if last:
                left, off = left[-1:], off[-1:]
            assert not data or abs(left).max() <= within
            assert not noise or abs(off).max() <= within
            assert not start or table.t[0] == 20
            assert not end or table.s[-1] == 0

    return test


WRONG: list[tuple[str, Any, str]] = [
    ("6.1", lambda u, low, high: -np.log(np.tan(angle(u, low, high))), "half of it"),
    ("6.1", lambda u, low, high: 2 * np.log(np.tan(angle(u, low, high))), "the sign"),
    ("6.1", lambda u, low, high: (1 - u) * high + u * low, "it is the angle"),
    ("6.1", lambda u, low, high: -2 * np.log(np.tan(angle(1 - u, low, high))),
     "the wrong way round"),
    ("6.1", lambda u, low, high: -2 * np.log(np.tan(u * np.pi / 2)), "the whole quarter turn"),
    ("6.2", a_step(lambda p, q, v, z, n: np.sqrt((1 - v) * p + v * q) * z), "both of its mistakes"),
    ("6.2", a_step(lambda p, q, v, z, n: np.sqrt(p ** (1 - v) * q**v) * z), "z, the state"),
    ("6.2", a_step(lambda p, q, v, z, n: np.sqrt((1 - v) * p + v * q) * n), "their logarithms"),
    ("6.2", a_step(lambda p, q, v, z, n: np.sqrt(p**v * q ** (1 - v)) * n), "1 - v are exchanged"),
    ("6.2", a_step(lambda p, q, v, z, n: p ** (1 - v) * q**v * n), "multiplied by a variance"),
    ("6.2", a_step(lambda p, q, v, z, n: np.sqrt(p) * n), "v is ignored"),
    ("6.2", without_x, "without its x"),
    ("6.3", 9.6e-4 / 4, "of first order"),
    ("6.3", 9.6e-4 / 4**3, "of third order"),
    ("6.3", 9.6e-4 / 256, "the number of rows"),
    ("6.3", 4.8e-4, "a power of h"),
    ("6.3", 9.6e-4 * 16, "err less"),
    ("6.4", tested(exactly=True), "the lesson's own function"),
    ("6.4", tested(data=False), "the whole factor of x_0"),
    ("6.4", tested(noise=False), "fresh noise"),
    ("6.4", tested(etas=(0.0, 1.0)), "an eta between"),
    ("6.4", tested(steps=(20,)), "fewer rows than T"),
    ("6.4", tested(start=False), "does not start at T"),
    ("6.4", tested(end=False), "does not reach 0"),
    ("6.1", lambda u, low, high: u * high + (1 - u) * low, "and from low to high"),
    ("6.1", lambda u, low, high: (
     lambda a, b: -2 * np.log(np.tan(a + u * (b - a))))(*np.arctan(np.exp([-high, -low]))),
     "left out the half"),
    ("6.1", lambda u, low, high: (
     lambda a, b: -2 * np.log(a + u * (b - a)))(*np.exp([-high / 2, -low / 2])),
     "the tangent of the angle grows"),
    ("6.1", lambda u, low, high: angle(u, low, high), "this is the angle"),
    ("6.1", lambda u, low, high: np.tan(angle(u, low, high)), "this is the tangent, sigma"),
    ("6.1", lambda u, low, high: 1 / np.tan(angle(u, low, high)) ** 2, "take its logarithm"),
    ("6.1", lambda u, low, high: -2 * np.log(np.sin(angle(u, low, high))), "is sigma alone"),
    ("6.1", lambda u, low, high: -2 * np.log(np.arctan(angle(u, low, high))), "arctan twice"),
    ("6.1", lambda u, low, high: -2 * np.log(np.tan(angle(u, low, high) - angle(0, low, high))),
     "the angle starts at 0"),
    ("6.2", step(lambda n, w, v: (n**0.5 + v * (w**0.5 - n**0.5)) ** 2), "the standard deviations"),
    ("6.2", step(lambda n, w, v: n ** (1 - v) + w**v), "the two powers are added"),
    ("6.2", step(lambda n, w, v: v * (1 - v) * n * w), "are factors here"),
    ("6.2", step(lambda n, w, v: 0.0), "no noise: this is the mean"),
    ("6.2", step(lambda n, w, v: (n ** (1 - v) * w**v) ** 0.5), "the root is taken twice"),
    ("6.2", step(guess=lambda z, eps, n, a, s: (z - s * n) / a), "with the fresh noise n"),
    ("6.2", step(guess=lambda z, eps, n, a, s: a * (z - s * eps)), "so divide by a"),
    ("6.2", step(level=1), "are those of `there`"),
    ("6.2", step(mean=lambda x, z, law: law(z, x)), "exchanged in q_posterior"),
    ("6.2", step(mean=lambda x, z, law: x), "added to the guess x"),
    ("6.3", 9.6e-4 * 4, "larger, and by h only"),
    ("6.3", 9.6e-4, "the error with 64 rows"),
    ("6.3", 9.6e-4 / 9, "not 192 / 64"),
    ("6.3", 16, "the factor by which"),
    ("6.3", 9.2e-7, "the error is squared"),
    ("6.4", tested(last=True), "in every row but the last"),
]  # fmt: skip
