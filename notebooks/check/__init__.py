"""The exercises of the notebooks: `check.ex_2_1(answer)` says right, or wrong and probably why."""

from . import ex_01, ex_02, ex_03, ex_04, ex_05, ex_06, ex_07, ex_08, ex_09
from .exercise import Exercise, NotRightError

EXERCISES = tuple(
    found
    for sitting in (ex_01, ex_02, ex_03, ex_04, ex_05, ex_06, ex_07, ex_08, ex_09)
    for found in vars(sitting).values()
    if isinstance(found, Exercise)
)
globals().update({f"ex_{e.number.replace('.', '_')}": e for e in EXERCISES})

__all__ = ["EXERCISES", "NotRightError"]
