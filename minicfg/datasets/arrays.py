"""What the readers of data sets share: a bound on memory, bounded reads, and bytes as images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from minicfg.errors import DataError

MAX_BYTES = 2**33  # Memory that a data set may take.
_PIECE = 2**24  # Bytes that are read at a time.


def check_memory(file: Path, shape: tuple[int, ...], bytes_each: int) -> None:
    """Refuse an array whose first dimension, times `bytes_each`, takes more than `MAX_BYTES`."""
    if shape[0] * bytes_each > MAX_BYTES:
        raise DataError(
            f"{file} has an array of shape {shape}, which takes more than {MAX_BYTES // 2**30} GiB "
            "in memory: use fewer or smaller images"
        )


def read_at_most(read: Callable[[int], bytes], n: int) -> bytearray:
    """Read up to `n` bytes piece by piece, so that memory grows with the file and not with `n`."""
    found = bytearray()
    while len(found) < n:
        piece = read(min(n - len(found), _PIECE))
        if not piece:
            break
        found += piece
    return found


def images_from_bytes(x: np.ndarray) -> torch.Tensor:
    """Map 0..255 to -1..1, without a second copy in a wider type."""
    return torch.from_numpy(np.ascontiguousarray(x)).float().div_(127.5).sub_(1)


def numbered_classes(K: int) -> tuple[str, ...]:
    """Return the class names "0", "1", ..., one per label."""
    return tuple(str(label) for label in range(K))
