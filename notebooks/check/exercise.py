"""Exercises: the right solution, and the typical mistakes with one hint each.

For a right solution the check prints a line. For any other it raises `NotRightError`, which is an
AssertionError, so that nbgrader can grade the cell. Its message contains a hint and the lesson to
read. A function is evaluated at several inputs, and its results are compared with those of the
lesson's function and of each typical mistake. If no mistake fits, `general` looks at the results.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from tutorial.step02_forward import Schedule

from . import general, search
from .interpreter import Solution


class NotRightError(AssertionError):
    """The solution is not right; the message contains the hint."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows: the hint, without the lines of this file that it came from."""
        return [str(self)]


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        number: such as `4.1`.
        lesson: what to read, with its equations.
        right: whether a solution is right.
        mistakes: for each typical mistake, whether a solution makes it, and the hint.
        observation: a sentence about a solution that is wrong and makes none of these mistakes.
        objection: a sentence about a solution with the right results that must not pass, or "".
        place: where a wrong solution goes wrong, a sentence that follows the hint, or "".
        solutions: right solutions as source, whose small changes are searched.
    """

    number: str
    lesson: str
    right: Callable[[Any], bool]
    mistakes: tuple[tuple[Callable[[Any], bool], str], ...]
    observation: Callable[[Any], str] = lambda answer: general.UNKNOWN
    objection: Callable[[Any], str] = lambda answer: ""
    place: Callable[[Any], str] = lambda answer: ""
    solutions: tuple[Solution, ...] = ()

    def hint(self, answer: Any) -> str:
        """Return "" for a right solution, and otherwise the hint."""
        if answer is None or answer is ...:
            return "not attempted yet."
        try:
            with np.errstate(all="ignore"):
                if self.right(answer):
                    return self.objection(answer)
                hints = [hint for mistaken, hint in self.mistakes if mistaken(answer)]
                return hints[0] if hints else self.observation(answer)
        except NotImplementedError:
            return "not attempted yet."
        except Exception as error:  # a student's code may raise anything
            return general.about_error(error)

    def __call__(self, answer: Any) -> None:
        """Print that the solution is right, or raise `NotRightError` with a hint."""
        hint = self.hint(answer)
        if hint:
            hint += self.place(answer)
            raise NotRightError(f"Exercise {self.number}: {hint}\nRead {self.lesson}.")
        print(f"Exercise {self.number}: right.")


def like(reference: Callable[..., Any], cases: Sequence[tuple[Any, ...]]) -> Callable[[Any], bool]:
    """Whether a function returns what `reference` returns, shapes included, in every case."""

    def holds(answer: Callable[..., Any]) -> bool:
        for case in cases:
            found = answer(*copy.deepcopy(case))  # a copy: the function may write into its input
            if found is ...:
                raise NotImplementedError
            expected = reference(*case)
            if general.wrong_kind([found], [expected]) or not general.equal(found, expected):
                return False
        return True

    return holds


def near(value: float, within: float) -> Callable[[Any], bool]:
    """Whether a number equals `value` within a tolerance. A text is not a number."""

    def holds(answer: Any) -> bool:
        if isinstance(answer, (str, bytes)) or np.ndim(answer):
            return False
        return bool(abs(float(answer) - value) <= within)

    return holds


def near_mistake(value: float, within: float) -> Callable[[Any], bool]:
    """Whether a number is that of a mistake: within a tenth of it, or rounded to 3 digits."""
    if not value:
        return near(value, within)
    of_three_digits = 0.501 * 10.0 ** (np.floor(np.log10(abs(value))) - 2)
    return near(value, max(min(within, 0.1 * abs(value)), of_three_digits))


def formula(
    number: str,
    lesson: str,
    reference: Callable[..., Any],
    cases: Sequence[tuple[Any, ...]],
    *mistakes: tuple[Callable[..., Any], str],
    look: str = "",
    solutions: tuple[Solution, ...] = (),
) -> Exercise:
    """An exercise in which a function is written, such as the lesson's `reference`.

    If no mistake fits, the small changes of `solutions` are searched for one that does. If the
    results show little even so, `look` is a hint where to begin.
    """
    wrong = tuple((like(function, cases), hint) for function, hint in mistakes)

    searches = [cache(partial(search.Search, solution, cases)) for solution in solutions]

    def observation(answer: Callable[..., Any]) -> str:
        return search.observation(answer, reference, cases, searches, mistakes)

    def objection(answer: Callable[..., Any]) -> str:
        changed = general.changed_argument(answer, cases)
        if changed is None:
            return ""
        return (
            f"the numbers are right, but your function writes into {changed}, so the cells below "
            "would use the changed array. Work on a new array: `x = a * x` instead of `x *= a`."
        )

    return Exercise(
        number,
        lesson,
        like(reference, cases),
        wrong,
        lambda answer: general.with_look(observation(answer), look),
        objection,
        solutions=solutions,
    )


def prediction(
    number: str,
    lesson: str,
    value: float,
    within: float,
    *mistakes: tuple[float, str],
    look: str = "",
    given: Mapping[str, float] | None = None,
    source: str = "",
) -> Exercise:
    """An exercise in which a number is predicted; `look` is as in `formula`.

    `source` is an expression in the names of `given` whose value is the number. Its small changes
    are searched if no mistake fits.
    """
    wrong = tuple((near_mistake(other, within), hint) for other, hint in mistakes)

    def observation(answer: Any) -> str:
        if isinstance(answer, (str, bytes)):
            return (
                "your answer is a text, and the cells below compute with it: write a number, "
                "without quotes."
            )
        if np.ndim(answer):
            return f"your answer consists of {np.size(answer)} numbers; one number is asked for."
        sentence = search.about_number(float(answer), value, within, given or {}, source)
        return general.with_look(sentence, look)

    return Exercise(
        number,
        lesson,
        near(value, within),
        wrong,
        observation,
    )


def proof(
    number: str,
    lesson: str,
    reference: Callable[..., Any],
    *mistakes: tuple[Callable[..., Any], str],
    misread: Sequence[tuple[Callable[..., Any], str]] = (),
    lenient: tuple[Callable[[], AbstractContextManager[Any]], str] | None = None,
) -> Exercise:
    """An exercise in which a test is written, `test(function)`, which asserts.

    It is right if it passes for `reference` and fails for every mistake. Otherwise the hint is that
    of the first mistake for which it passes. A test also fails with any other exception, such as a
    comparison of tensors of different sizes; for `reference` the exception itself is reported.
    A test that fails for `reference` may pass for a function of `misread`, which returns what a
    wrong formula in the test expects; the hint is then about this formula. Or it may pass for
    `reference` within `lenient`, a context in which comparisons are less strict; the hint is then
    about these comparisons.
    """

    def passes(test: Callable[..., None], function: Callable[..., Any]) -> bool:
        try:
            test(function)
        except AssertionError:
            return False
        except Exception:
            if function is reference:
                raise
            return False
        return True

    def place(test: Any) -> str:
        """Of a test that fails for the reference: the line that fails."""
        if not callable(test):
            return ""
        try:
            test(reference)
        except AssertionError as error:
            return general.about_assertion(error)
        except Exception:  # the hint is about this error already
            return ""
        return ""

    def why_it_never_fails(test: Callable[..., Any]) -> str:
        """Of a test that passes for all functions because nothing in it can fail: the reason."""
        functions = [reference, *(function for function, _ in mistakes)]
        if not all(passes(test, f) for f in functions):
            return ""
        if test(reference) is not None:
            return (
                "your test never fails, because it returns its verdict: write `assert` before the "
                "condition."
            )
        if not general.can_fail(test):
            return (
                "your test never fails, because it contains no `assert`: write `assert` before "
                "each condition."
            )
        return ""

    def first_through(place: int) -> Callable[[Any], bool]:
        def holds(test: Callable[..., None]) -> bool:
            through = [passes(test, function) for function, _ in mistakes[: place + 1]]
            is_first = through[place] and not any(through[:place])
            return passes(test, reference) and is_first and not why_it_never_fails(test)

        return holds

    fails = "your test fails for the lesson's own function, which is right."

    def why_it_fails(test: Callable[..., None]) -> str:
        """Of a test that fails for the reference: the hint."""
        if passes(test, reference):
            return ""
        for function, hint in misread:
            if passes(test, function):
                return hint
        if lenient is not None:
            context, hint = lenient
            with context():
                if passes(test, reference):
                    return hint
        return fails

    reasons = [fails, *(hint for _, hint in misread), *([] if lenient is None else [lenient[1]])]
    wrong = [
        *((lambda test, hint=hint: why_it_fails(test) == hint, hint) for hint in reasons),
        *((first_through(place), hint) for place, (_, hint) in enumerate(mistakes)),
    ]
    return Exercise(
        number,
        lesson,
        lambda test: passes(test, reference) and not any(passes(test, f) for f, _ in mistakes),
        tuple(wrong),
        lambda test: why_it_never_fails(test) or general.UNKNOWN,
        place=place,
    )


# Inputs at both ends, where an index that is off by one shows, and between. There are two
# schedules, because a wrong formula can be right for one of them.
A, B, C = np.random.default_rng(0).standard_normal((3, 5, 2))
SCHEDULES = Schedule.cosine(10), Schedule.linear(10)
TIMES = [(t, schedule) for schedule in SCHEDULES for t in (1, 2, 5, 10)]
PAIRS = [(A, B, t, schedule) for t, schedule in TIMES]
