"""Wrong answers, by sitting: each gets the hint meant for it and no other."""

from tests.notebooks.wrong import (
    wrong_01,
    wrong_02,
    wrong_03,
    wrong_04,
    wrong_05,
    wrong_06,
    wrong_07,
    wrong_08,
    wrong_09,
)

WRONG = [
    case
    for sitting in (
        wrong_01,
        wrong_02,
        wrong_03,
        wrong_04,
        wrong_05,
        wrong_06,
        wrong_07,
        wrong_08,
        wrong_09,
    )
    for case in sitting.WRONG
]
