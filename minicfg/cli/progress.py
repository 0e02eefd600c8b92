"""Progress of long work: a bar on a terminal, and a line now and then in a file or a pipe."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 15.0


# The function to call after each piece of the work, with the number of units that it had and a note
# to show beside the count.
Advance = Callable[[int, str], None]


def advance_silently(_n: int, _note: str) -> None:
    """Show nothing."""


@contextmanager
def progress(
    total: int,
    label: str,
    unit: str,
    *,
    done: int = 0,
    show: bool = True,
) -> Iterator[Advance]:
    """Show on standard error how much of the work is done.

    Args:
        total: the whole work, in units.
        label: what is being done, such as `sampling`.
        unit: the name of the units, in the plural.
        done: how many units were done before.
        show: whether to show anything. Of several ranks, one does.
    """
    if not show:
        yield advance_silently
    elif sys.stderr.isatty():
        with tqdm(
            total=total, initial=done, desc=label, unit=f" {unit}", unit_scale=total >= 10_000
        ) as bar:

            def advance(n: int, note: str) -> None:
                bar.set_postfix_str(note, refresh=False)
                bar.update(n)

            yield advance
    else:
        yield from _progress_in_lines(total, label, unit, done)


def _progress_in_lines(total: int, label: str, unit: str, done: int) -> Iterator[Advance]:
    """At most one line in `SECONDS_BETWEEN_LINES`; none for work that ends before the first.

    The time left, as mm:ss or h:mm:ss, is an estimate from the rate since the line before.
    """
    count = done
    count_in_line = done
    last_line = time.perf_counter()

    def advance(n: int, note: str) -> None:
        nonlocal count, count_in_line, last_line
        count += n
        now = time.perf_counter()
        if now - last_line < SECONDS_BETWEEN_LINES:
            return
        rate = (count - count_in_line) / max(now - last_line, 1e-9)
        left = tqdm.format_interval((total - count) / rate) if rate > 0 else "?"
        line = (
            f"{label}: {count} of {total} {unit} ({count / total:.0%}), {rate:.3g} {unit}/s, "
            f"{left} left"
        )
        # A reader of the lines that has gone away does not end the work.
        with contextlib.suppress(OSError):
            print(f"{line}, {note}" if note else line, file=sys.stderr, flush=True)
        count_in_line = count
        last_line = now

    yield advance
