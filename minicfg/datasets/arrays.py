"""What the readers of data sets share: a bound on memory, bounded reads, and checks of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from minicfg.errors import DataError

MAX_BYTES = 2**33  # Memory that a data set may take.
MAX_CLASSES = 10_000
FLOAT_BYTES = 4  # Every image is stored as float32,
LABEL_BYTES = 8  # and every label as int64.
_PIECE = 2**24  # Bytes that are read at a time.
_SHOWN = 5  # Items of a long list that an error message shows.


def check_memory(file: Path, shape: tuple[int, ...], bytes_each: int, taken: int = 0) -> int:
    """Refuse an array that takes more than `MAX_BYTES` together with what was read before.

    Args:
        file: the file, for the message.
        shape: the shape of the array; its first dimension is the number of items.
        bytes_each: bytes that one item takes, including what it is converted to.
        taken: bytes that were read before, from the same data set.

    Returns:
        The bytes that are then taken.
    """
    taken += shape[0] * bytes_each
    if taken > MAX_BYTES:
        raise DataError(
            f"{file} has an array of shape {shape}, with which the data set takes more than "
            f"{MAX_BYTES // 2**30} GiB in memory: use fewer or smaller images"
        )
    return taken


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


def check_channels(where: object, shape: tuple[int, ...]) -> None:
    """Refuse images of shape (N, C, H, W) that do not have 1 to 4 channels."""
    if 1 <= shape[1] <= 4:
        return
    if 1 <= shape[3] <= 4:
        raise DataError(
            f"{where}: x has shape {shape}, with the channels last: transpose it to (N, C, H, W), "
            "in NumPy x.transpose(0, 3, 1, 2)"
        )
    raise DataError(
        f"{where}: x has {shape[1]} channels: use an array of shape (N, C, H, W) with 1 to 4"
    )


def check_values(where: object, x: torch.Tensor) -> None:
    """Refuse floats that do not lie in -1..1, or that look like 0..1 or 0..255.

    Images in 0..1 would be accepted as images without a dark half.
    """
    low = x.min().item()
    high = x.max().item()
    values = f"x holds {_shortest(low)}..{_shortest(high)}"
    if low >= 0 and high <= 1:
        raise DataError(f"{where}: {values}, but black is -1 and white is 1: use 2 * x - 1")
    if not (low >= -1 and high <= 1):  # A comparison with NaN is false.
        as_bytes = ", or pass bytes: x.astype(numpy.uint8)" if low >= 0 and high <= 255 else ""
        raise DataError(f"{where}: {values}: scale the images to finite values in -1..1{as_bytes}")


def _shortest(value: float) -> str:
    """Return the shortest text of a float32 that no other float32 has: 1 or 1.0000001."""
    return np.format_float_positional(np.float32(value), trim="-")


def numbered_classes(K: int) -> tuple[str, ...]:
    """Return the class names "0", "1", ..., one per label."""
    return tuple(str(label) for label in range(K))


def check_every_class_occurs(where: object, y: np.ndarray, K: int, *, named: bool) -> None:
    """Refuse labels that leave one of the classes 0..K-1 without an image.

    The embedding of such a class would stay untrained, but it would be sampled. Labels outside
    0..K-1 are not refused here, because `Dataset` refuses them.

    Args:
        where: the file or data set, for the message.
        y: the labels, at least one.
        K: the number of classes.
        named: whether the data set gives K names of classes. Otherwise K is the largest label + 1.
    """
    missing = np.setdiff1d(np.arange(K), y)
    if len(missing) == 0:
        return
    labels = f"{y.min()}..{y.max()}"
    if named:
        remedy = "pass the names of the classes that occur, and number the labels from 0"
    elif len(missing) == y.min():
        remedy = f"labels start at 0, so save y - {y.min()} in an .npz file"
    else:
        remedy = "number the classes that occur from 0: numpy.unique(y, return_inverse=True)[1]"
    raise DataError(
        f"{where}: y holds labels {labels} of {K} classes, but no image has the label "
        f"{listed(missing.tolist())}: {remedy}"
    )


def listed(items: Sequence[object], separator: str = ", ") -> str:
    """Return the first five items, and how many others there are."""
    shown = separator.join(map(str, items[:_SHOWN]))
    others = len(items) - _SHOWN
    return shown if others <= 0 else f"{shown} and {others} more"
