"""The exercises of the notebooks: `check.ex_2_1(solution)` prints "right", or raises with a hint.

The exercises of a sitting are imported when the first of them is used. Some of them import torch,
and the sittings that do without torch run where it is not installed.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from .exercise import Exercise, NotRightError

SITTINGS = tuple(sorted(int(path.stem[3:]) for path in Path(__file__).parent.glob("ex_*.py")))

__all__ = ["SITTINGS", "NotRightError", "exercises"]


def exercises(sitting: int) -> tuple[Exercise, ...]:
    """The exercises of one sitting, in their order."""
    module = importlib.import_module(f".ex_{sitting:02}", __name__)
    return tuple(found for found in vars(module).values() if isinstance(found, Exercise))


def __getattr__(name: str) -> Exercise:
    """Find `ex_2_1` among the exercises of sitting 2."""
    if found := re.fullmatch(r"ex_(\d+)_(\d)", name):
        sitting = int(found[1])
        if sitting in SITTINGS:
            for exercise in exercises(sitting):
                if exercise.number == f"{found[1]}.{found[2]}":
                    return exercise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
