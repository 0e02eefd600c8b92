"""The errors that a user can cause. Each message is one line: argument, value, fault and remedy.

The command line turns each class into an exit code: UsageError 2, DataError 3, MachineError 4.
Messages contain names from files, so they are escaped before they are printed.
"""

# These join or separate letters of Persian, Hindi and other scripts, and change nothing else.
_JOINERS = "\u200c\u200d"


class UsageError(ValueError):
    """An argument is invalid: out of range, of the wrong shape, or in conflict with another one."""


class DataError(ValueError):
    """A data set or a checkpoint cannot be read, or its content is not what it must be."""


class MachineError(RuntimeError):
    """The machine lacks something: a device, memory, disk space, a permission, or a package."""


def escape_controls(text: str) -> str:
    r"""Replace control characters by their escapes, such as `\x1b`, and keep letters of any script.

    Names of classes and of files come from strangers. Printed as they are, they could clear a
    terminal, change its colours, or reverse the text that follows them (U+202E).
    """
    return "".join(
        c if c.isprintable() or c in _JOINERS else c.encode("unicode_escape").decode() for c in text
    )
