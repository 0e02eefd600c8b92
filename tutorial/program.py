"""The names of `tutorial.figures.program`, until every lesson has a file of figures."""

from tutorial.figures.program import (
    BLUE,
    CLASS_COLORS,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    Check,
    present,
)

__all__ = [
    "BLUE",
    "CLASS_COLORS",
    "GREEN",
    "GREY",
    "ORANGE",
    "PURPLE",
    "RED",
    "Check",
    "present",
]
