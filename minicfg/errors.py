"""Every error a user can cause, each one line that names the argument, its value and what would do.

The command line turns them into exit codes: `UsageError` 2, `DataError` 3, `MachineError` 4.
"""


class UsageError(ValueError):
    """An argument that cannot be: out of range, of the wrong shape, or at odds with another."""


class DataError(ValueError):
    """A data set or checkpoint that cannot be read, or is not what it says."""


class MachineError(RuntimeError):
    """Something the machine lacks: a device, memory, disk, permission, a package."""
