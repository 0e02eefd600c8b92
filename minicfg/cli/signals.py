"""How commands end on Ctrl-C, SIGTERM and SIGHUP: at once, or after the current training step.

Training has work to save, so `stop_between_steps` lets its loop finish the step. Everything else
ends where it is, by an exception, which removes half-written files on its way.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# SIGHUP is sent when the terminal is closed. Windows does not have it.
HANGUP = getattr(signal, "SIGHUP", None)
ENDING = [signal.SIGTERM] if HANGUP is None else [signal.SIGTERM, HANGUP]


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM and SIGHUP, as Python raises KeyboardInterrupt on Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def termination_is_raised() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM and SIGHUP within this context.

    Without it, they end the process at once.
    """

    def end(number: int, _frame: object) -> None:
        _leave_terminal(number)
        raise Terminated(number)

    before = {number: signal.signal(number, end) for number in _not_ignored(ENDING)}
    try:
        yield
    finally:
        _restore(before)


@dataclass
class Stop:
    """The number of the signal that asked the run to end, or None."""

    signal: int | None = None


@contextmanager
def stop_between_steps() -> Iterator[Stop]:
    """Record the first signal for the loop to see; a second one ends the program.

    The signals are those of Ctrl-C, SIGTERM and SIGHUP.
    """
    stop = Stop()

    def record(number: int, _frame: object) -> None:
        stop.signal = number
        _leave_terminal(number)
        _restore(before)

    signals = _not_ignored([signal.SIGINT, *ENDING])
    before = {number: signal.signal(number, record) for number in signals}
    try:
        yield stop
    finally:
        _restore(before)


def _not_ignored(numbers: list[signal.Signals]) -> list[signal.Signals]:
    """The signals that are not ignored. A process under `nohup`, for example, ignores SIGHUP."""
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _leave_terminal(number: int) -> None:
    """After SIGHUP, write to the null device instead of the terminal.

    The terminal is gone, and writing to it would fail. Output to a file or a pipe stays.
    """
    if number != HANGUP:
        return
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            discard(descriptor)


def discard(descriptor: int) -> None:
    """Connect a file descriptor to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)
