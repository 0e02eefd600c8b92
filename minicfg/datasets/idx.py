"""Images and labels in IDX files, the format of MNIST."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from minicfg.data import Dataset
from minicfg.datasets.arrays import (
    check_every_class_occurs,
    check_memory,
    images_from_bytes,
    numbered_classes,
    read_at_most,
)
from minicfg.errors import DataError

IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


def read_idx(folder: Path, name: str) -> Dataset:
    """Read the two files of a training set from `folder`, gzipped or not.

    Raises:
        DataError: if a file is missing or damaged, or if the two do not belong together.
    """
    images = _read_file(folder, IMAGES, ndim=3)
    labels = _read_file(folder, LABELS, ndim=1)
    if len(images) != len(labels) or len(labels) == 0:
        raise DataError(
            f"{name} has {len(images)} images and {len(labels)} labels: use two files with the "
            "same number of each, 1 or more"
        )
    K = int(labels.max()) + 1
    check_every_class_occurs(name, labels, K, named=False)
    return Dataset(
        x=images_from_bytes(images[:, None]),
        y=torch.from_numpy(labels.astype(np.int64)),
        classes=numbered_classes(K),
        name=name,
    )


def _read_file(folder: Path, stem: str, ndim: int) -> np.ndarray:
    """Return the array of bytes in an IDX file.

    The file begins with two zeros, the type (8: bytes), the number of dimensions, and their sizes.
    """
    plain = folder / stem
    gzipped = folder / f"{stem}.gz"
    if not (plain.is_file() or gzipped.is_file()):
        raise DataError(
            f"{plain} is not there, nor is {stem}.gz: put the files {IMAGES} and {LABELS} of MNIST "
            "into that folder, gzipped or not"
        )
    file = plain if plain.is_file() else gzipped
    try:
        with file.open("rb") if file == plain else gzip.open(file) as stream:
            head = stream.read(4 + 4 * ndim)
            if len(head) < 4 + 4 * ndim or head[:4] != bytes([0, 0, 8, ndim]):
                raise DataError(
                    f"{file} does not begin as an IDX file of bytes in {ndim} dimensions: use the "
                    "file of MNIST with that name"
                )
            shape = struct.unpack(f">{ndim}I", head[4:])
            check_memory(file, shape, 4 * math.prod(shape[1:]))
            found = read_at_most(stream.read, math.prod(shape))
            if stream.read(1) or len(found) < math.prod(shape):
                raise DataError(
                    f"{file} has more or fewer bytes than its shape {shape}: restore a whole copy"
                )
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} is damaged ({error}): restore a whole copy") from error
    return np.frombuffer(found, np.uint8).reshape(shape)
