"""The errors that a user can cause, and the checks of an argument's type.

Each message is one line: argument, value, fault and remedy.

The command line turns each class into an exit code: UsageError 2, DataError 3, MachineError 4.
Messages contain names from files, so they are escaped before they are printed.
"""

from __future__ import annotations

from numbers import Real

# These join or separate letters of Persian, Hindi and other scripts, and change nothing else.
_JOINERS = "\u200c\u200d"


class UsageError(ValueError):
    """An argument is invalid: out of range, of the wrong shape, or in conflict with another one."""


class DataError(ValueError):
    """A data set or a checkpoint cannot be read, or its content is not what it must be."""


class MachineError(RuntimeError):
    """The machine lacks something: a device, memory, disk space, a permission, or a package."""


def short_repr(value: object) -> str:
    """The representation of a value in one line of at most 60 characters."""
    line = " ".join(repr(value).split())
    return line if len(line) <= 60 else f"{line[:57]}..."


def check_type(name: str, value: object, expected: type | tuple[type, ...], remedy: str) -> None:
    """Raise a UsageError unless `value` is an instance of a type in `expected`."""
    if not isinstance(value, expected):
        found = f"the class {value.__name__}" if isinstance(value, type) else short_repr(value)
        raise UsageError(f"{name} = {found} has type {type(value).__name__}; {remedy}")


def check_number(name: str, value: object, remedy: str) -> None:
    """Raise a UsageError unless `value` is a real number; True and False are none."""
    if isinstance(value, bool):
        raise UsageError(f"{name} = {value} has type bool; {remedy}")
    check_type(name, value, Real, remedy)


def escape_controls(text: str) -> str:
    r"""Replace control characters by their escapes, such as `\x1b`, and keep letters of any script.

    Names of classes and of files come from strangers. Printed as they are, they could clear a
    terminal, change its colours, or reverse the text that follows them (U+202E).
    """
    return "".join(
        c if c.isprintable() or c in _JOINERS else c.encode("unicode_escape").decode() for c in text
    )
