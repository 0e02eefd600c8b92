"""How commands end on Ctrl-C and SIGTERM: at once, or after the current training step.

Training has work to save, so `stop_between_steps` lets its loop finish the step. Everything else
ends where it is, by an exception, which removes half-written files on its way.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, as Python raises KeyboardInterrupt on Ctrl-C."""


@contextmanager
def sigterm_is_raised() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM within this context, instead of ending the process at once."""

    def end(_number: int, _frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass
class Stop:
    """The number of the signal that asked the run to end, or None."""

    signal: int | None = None


@contextmanager
def stop_between_steps() -> Iterator[Stop]:
    """Record the first Ctrl-C or SIGTERM for the loop to see; a second one ends the program."""
    stop = Stop()

    def record(number: int, _frame: object) -> None:
        stop.signal = number
        for n, handler in before.items():
            signal.signal(n, handler)

    before = {n: signal.signal(n, record) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
