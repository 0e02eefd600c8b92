"""How many threads torch uses: the number that suits a size of image, and a way to set it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

import torch


def thread_count(shape: Sequence[int]) -> int:
    """The number of threads for images of `shape`.

    It is 1 up to 16x16 grey pixels, where a second thread gains little. Above that it is the number
    that torch has.
    """
    return 1 if math.prod(shape) <= 256 else torch.get_num_threads()


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Let torch use `n` threads inside a `with` block, then restore the old number.

    On small tensors several threads gain little, and if other programs use the same cores, several
    threads can be ten times slower than one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
