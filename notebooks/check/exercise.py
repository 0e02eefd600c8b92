"""What an exercise is: an answer that is right, and what each mistake in it looks like.

A right answer prints a line. Anything else raises `NotRightError`, an AssertionError, whose message
says that nothing has been tried, or gives a hint that names the mistake and the lesson to read; so
a cell that ends in a check is also what nbgrader grades. A function is asked about several inputs,
and compared with the lesson's own and with what typical mistakes would answer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutorial.step02_forward import Schedule


class NotRightError(AssertionError):
    """What a check has to say about an answer that is not right."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows: the hint, without the lines of this file that it came from."""
        return [str(self)]


@dataclass(frozen=True)
class Exercise:
    """One exercise: what is right, and what each mistake looks like, in the order of trying."""

    number: str
    lesson: str
    right: Callable[[Any], bool]
    mistakes: tuple[tuple[Callable[[Any], bool], str], ...]

    def hint(self, answer: Any) -> str:
        """Empty for a right answer, else the one hint that is meant for it."""
        if answer is None or answer is ...:
            return "not attempted yet."
        try:
            with np.errstate(all="ignore"):
                if self.right(answer):
                    return ""
                hints = [hint for mistaken, hint in self.mistakes if mistaken(answer)]
        except NotImplementedError:
            return "not attempted yet."
        except Exception as error:  # a student's code may raise anything
            return f"your answer stops with {type(error).__name__}: {error}"
        return hints[0] if hints else "wrong, and by none of the mistakes that are known here."

    def __call__(self, answer: Any) -> None:
        """Print that `answer` is right, or raise `NotRightError` with the hint and the lesson."""
        hint = self.hint(answer)
        if hint:
            raise NotRightError(f"Exercise {self.number}: {hint}\nRead {self.lesson}.")
        print(f"Exercise {self.number}: right.")


def like(reference: Callable[..., Any], cases: Sequence[tuple[Any, ...]]) -> Callable[[Any], bool]:
    """Whether a function gives what `reference` gives, shapes included, in every case."""

    def holds(answer: Callable[..., Any]) -> bool:
        for case in cases:
            found = answer(*copy.deepcopy(case))  # a copy: it may write into what it is given
            if found is None or found is ...:
                raise NotImplementedError
            found, expected = np.asarray(found, np.float64), np.asarray(reference(*case))
            if found.shape != expected.shape:
                return False
            # Float64 algebra, in whatever order: about 1e-12 of the largest number in it. A mistake
            # may consist in a NaN.
            if not np.allclose(found, expected, 1e-8, 1e-10, equal_nan=True):
                return False
        return True

    return holds


def near(value: float, within: float) -> Callable[[Any], bool]:
    """Whether a number is `value`, as closely as it was asked for."""
    return lambda answer: bool(abs(float(answer) - value) <= within)


def formula(
    number: str,
    lesson: str,
    reference: Callable[..., Any],
    cases: Sequence[tuple[Any, ...]],
    *mistakes: tuple[Callable[..., Any], str],
) -> Exercise:
    """An exercise whose answer is a function: the lesson's `reference`, and what is not it."""
    wrong = tuple((like(function, cases), hint) for function, hint in mistakes)
    return Exercise(number, lesson, like(reference, cases), wrong)


def prediction(
    number: str, lesson: str, value: float, within: float, *mistakes: tuple[float, str]
) -> Exercise:
    """An exercise whose answer is a number."""
    wrong = tuple((near(other, within), hint) for other, hint in mistakes)
    return Exercise(number, lesson, near(value, within), wrong)


def proof(
    number: str,
    lesson: str,
    reference: Callable[..., Any],
    *mistakes: tuple[Callable[..., Any], str],
) -> Exercise:
    """An exercise whose answer is a test, `test(function)`, which asserts.

    Right if it lets `reference` through and stops every mistake; else the hint is of the first
    one that it lets through.
    """

    def passes(test: Callable[..., None], function: Callable[..., Any]) -> bool:
        try:
            test(function)
        except AssertionError:
            return False
        return True

    def first_through(place: int) -> Callable[[Any], bool]:
        def holds(test: Callable[..., None]) -> bool:
            through = [passes(test, function) for function, _ in mistakes[: place + 1]]
            return passes(test, reference) and through[place] and not any(through[:place])

        return holds

    wrong = [
        (
            lambda test: not passes(test, reference),
            "your test stops the lesson's own function, which is right.",
        ),
        *((first_through(place), hint) for place, (_, hint) in enumerate(mistakes)),
    ]
    return Exercise(
        number,
        lesson,
        lambda test: passes(test, reference) and not any(passes(test, f) for f, _ in mistakes),
        tuple(wrong),
    )


# Inputs: at both ends, where an index that is off by one shows, and between; two schedules, so that
# nothing is right by the accident of one.
A, B, C = np.random.default_rng(0).standard_normal((3, 5, 2))
SCHEDULES = Schedule.cosine(10), Schedule.linear(10)
TIMES = [(t, schedule) for schedule in SCHEDULES for t in (1, 2, 5, 10)]
PAIRS = [(A, B, t, schedule) for t, schedule in TIMES]
