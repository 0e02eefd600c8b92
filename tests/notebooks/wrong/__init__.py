"""Wrong answers, by sitting: each gets the hint meant for it and no other."""

from importlib import import_module

from notebooks import check

WRONG = [
    case
    for sitting in check.SITTINGS
    for case in import_module(f"tests.notebooks.wrong.wrong_{sitting:02}").WRONG
]
