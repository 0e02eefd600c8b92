"""The errors that a user can cause. Each message is one line: argument, value, fault and remedy.

The command line turns each class into an exit code: UsageError 2, DataError 3, MachineError 4.
"""


class UsageError(ValueError):
    """An argument is invalid: out of range, of the wrong shape, or in conflict with another one."""


class DataError(ValueError):
    """A data set or a checkpoint cannot be read, or its content is not what it must be."""


class MachineError(RuntimeError):
    """The machine lacks something: a device, memory, disk space, a permission, or a package."""
