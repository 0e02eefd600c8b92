"""Images and labels in IDX files, the format of MNIST."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from minicfg.data import Dataset
from minicfg.datasets.arrays import (
    FLOAT_BYTES,
    LABEL_BYTES,
    check_channels,
    check_every_class_occurs,
    check_memory,
    images_from_bytes,
    numbered_classes,
    read_at_most,
)
from minicfg.errors import DataError

# A file name is one of these. MNIST's own have a hyphen before `idx`; Kaggle, 7-Zip and the macOS
# extractor write a dot.
IMAGES = ("{}-images-idx3-ubyte", "{}-images.idx3-ubyte", "{}-images-idx4-ubyte")
LABELS = ("{}-labels-idx1-ubyte", "{}-labels.idx1-ubyte")


@dataclass(frozen=True)
class IdxStream:
    """An open IDX file after its header: the shape that it states, and a function that reads."""

    file: Path
    shape: tuple[int, ...]
    read: Callable[[int], bytes]


def read_idx(folder: Path, name: str) -> Dataset:
    """Read the images and labels of the training set, in files that may be gzipped.

    Images are of shape (N, H, W), or (N, C, H, W) with 1 to 4 channels.

    Raises:
        DataError: if a file is missing or damaged, if the two do not belong together, or if no
            image has one of the labels up to the largest.
    """
    images, labels = _read_pair(folder, "train", name)
    K = int(labels.max()) + 1
    check_every_class_occurs(name, labels, K, named=False)
    return _dataset(images, labels, K, name)


def read_idx_held_out(folder: Path, name: str) -> Dataset | None:
    """Read the `t10k` files, which MNIST holds out, with the classes of the training set.

    Returns:
        The held-out images, or None if the folder has no `t10k` files.

    Raises:
        DataError: as `read_idx` does, and if the images or labels do not fit the training set.
    """
    if not (_find(folder, IMAGES, "t10k") or _find(folder, LABELS, "t10k")):
        return None
    with _open_idx(folder, IMAGES, "train") as stream:
        shape = stream.shape[1:]
    K = int(_read_all(folder, LABELS, "train").max(initial=0)) + 1
    images, labels = _read_pair(folder, "t10k", f"{name}, held-out part")
    if images.shape[1:] != shape:
        raise DataError(
            f"{name}: the images of t10k have shape {images.shape[1:]}, those of train {shape}: "
            "use files of one data set"
        )
    return _dataset(images, labels, K, f"{name}, held-out part")


def _read_pair(folder: Path, part: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of `train` or `t10k`."""
    images = _read_all(folder, IMAGES, part)
    taken = (1 + FLOAT_BYTES) * images.size
    labels = _read_all(folder, LABELS, part, taken)
    if len(images) != len(labels) or len(labels) == 0:
        raise DataError(
            f"{name} has {len(images)} images and {len(labels)} labels: use two files with the "
            "same number of each, 1 or more"
        )
    return images, labels


def _dataset(images: np.ndarray, labels: np.ndarray, K: int, name: str) -> Dataset:
    if images.ndim == 3:
        images = images[:, None]
    check_channels(name, images.shape)
    return Dataset(
        x=images_from_bytes(images),
        y=torch.from_numpy(labels.astype(np.int64)),
        classes=numbered_classes(K),
        name=name,
    )


def _find(folder: Path, names: tuple[str, ...], part: str) -> Path | None:
    """Return the first of these files that exists, gzipped or not, or None."""
    for name in names:
        plain = folder / name.format(part)
        gzipped = folder / f"{plain.name}.gz"
        for file in (plain, gzipped):
            if file.is_file():
                return file
    return None


def _read_all(folder: Path, names: tuple[str, ...], part: str, taken: int = 0) -> np.ndarray:
    """Return the array of bytes in an IDX file; `taken` bytes are in memory already."""
    with _open_idx(folder, names, part) as stream:
        shape = stream.shape
        file = stream.file
        # The bytes, and what they become: floats or int64.
        bytes_each = 1 + (FLOAT_BYTES if names is IMAGES else LABEL_BYTES)
        check_memory(file, shape, bytes_each * math.prod(shape[1:]), taken)
        found = read_at_most(stream.read, math.prod(shape))
        if stream.read(1) or len(found) < math.prod(shape):
            raise DataError(
                f"{file} has more or fewer bytes than its shape {shape}: restore a whole copy"
            )
    return np.frombuffer(found, np.uint8).reshape(shape)


@contextmanager
def _open_idx(folder: Path, names: tuple[str, ...], part: str) -> Iterator[IdxStream]:
    """Open an IDX file and read its header.

    The file begins with two zeros, the type (8: bytes), the number of dimensions, and their sizes.
    """
    file = _find(folder, names, part)
    if file is None:
        plain = names[0].format(part)
        raise DataError(
            f"{folder / plain} is not there, nor is {plain}.gz: put the files "
            f"{IMAGES[0].format(part)} and {LABELS[0].format(part)} of MNIST into that folder, "
            "gzipped or not"
        )
    dimensions = (3, 4) if names is IMAGES else (1,)
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            start = stream.read(4)
            ndim = start[3] if len(start) == 4 else 0
            sizes = stream.read(4 * ndim) if ndim in dimensions else b""
            if start[:3] != bytes([0, 0, 8]) or not sizes or len(sizes) < 4 * ndim:
                raise DataError(
                    f"{file} does not begin as an IDX file of bytes in "
                    f"{' or '.join(map(str, dimensions))} dimensions: use the file of MNIST with "
                    "that name"
                )
            yield IdxStream(file, struct.unpack(f">{ndim}I", sizes), stream.read)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} is damaged ({error}): restore a whole copy") from error
