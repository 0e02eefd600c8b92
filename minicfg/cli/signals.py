"""Ctrl-C and SIGTERM: asked about between steps where there is work to save, at once elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class Terminated(KeyboardInterrupt):
    """SIGTERM, as Ctrl-C is a KeyboardInterrupt: what is half-written is taken away on the way."""


@contextmanager
def sigterm_is_raised() -> Iterator[None]:
    """Have SIGTERM end what runs in here by `Terminated`, not by ending the process on the spot."""

    def end(_number: int, _frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass
class Stop:
    """Whether a signal has asked the run to end; `exit_code` is 130 for Ctrl-C, 143 for SIGTERM."""

    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells count."""
        return 128 + (self.signal or 0)


@contextmanager
def stop_between_steps() -> Iterator[Stop]:
    """Hold back the first Ctrl-C or SIGTERM for the loop to see; a second one ends the program."""
    stop = Stop()

    def ask(number: int, _frame: object) -> None:
        stop.signal = number
        for n, handler in before.items():
            signal.signal(n, handler)

    before = {n: signal.signal(n, ask) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
