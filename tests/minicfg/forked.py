"""A part of a test in a process of its own, without the seconds that a new Python takes."""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 60  # longer than any of it takes on a busy machine


class Child:
    """Both ends of it: what the child says and waits for, and what the test sends and reads."""

    def __init__(self, log: Path) -> None:
        self.log, self.pid, self.status = log, 0, -1
        (self.heard, self.saying), (self.waiting, self.going) = os.pipe(), os.pipe()

    def say(self, word: str) -> None:
        """In the child."""
        os.write(self.saying, f"{word}\n".encode())

    def wait_for_go(self) -> None:
        """In the child."""
        os.read(self.waiting, 1)

    def go(self) -> None:
        """In the test."""
        os.write(self.going, b"!")

    def wait_for(self, word: str) -> None:
        """In the test, until the child says so."""
        heard = b""
        while f"{word}\n".encode() not in heard:
            assert select.select([self.heard], [], [], SECONDS)[0], f"no {word!r}: {self.said()}"
            piece = os.read(self.heard, 4096)
            assert piece, f"ended without {word!r}: {self.said()}"
            heard += piece

    def send(self, number: int) -> None:
        """In the test."""
        os.kill(self.pid, number)

    def code(self, seconds: float = SECONDS) -> int:
        """Its exit code, or minus the signal that ended it; waits for it."""
        deadline = time.monotonic() + seconds
        while self.status < 0:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else -1
            assert pid or time.monotonic() < deadline, f"still there: {self.said()}"
            time.sleep(0.01)
        return os.waitstatus_to_exitcode(self.status)

    def said(self) -> str:
        """Its standard output and error."""
        return self.log.read_text()


@contextmanager
def forked(work: Callable[[Child], int]) -> Iterator[Child]:
    """`work` in a fork of this process; what it returns, or exits with, is its code."""
    with tempfile.TemporaryDirectory() as folder:
        child = Child(Path(folder, "said"))
        child.log.touch()
        with warnings.catch_warnings():  # of threads that a fork leaves behind; torch has one here
            warnings.simplefilter("ignore", DeprecationWarning)
            child.pid = os.fork()
        if not child.pid:
            os._exit(_run(work, child))
        os.close(child.saying)
        try:
            yield child
        finally:
            if child.status < 0:
                child.send(signal.SIGKILL)
                child.code()
            for end in (child.heard, child.waiting, child.going):
                os.close(end)


def _run(work: Callable[[Child], int], child: Child) -> int:
    """In the child: as a new Python would, with the signals and streams of its own."""
    os.close(child.heard)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    log = os.open(child.log, os.O_WRONLY | os.O_APPEND)
    sys.stdout = open(log, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = sys.stdout
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    try:
        return work(child)
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 99
    finally:
        sys.stdout.flush()
