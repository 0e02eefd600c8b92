"""Labelled images: the `Dataset` type, its split into two parts, and its order in each epoch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, SupportsIndex

import torch
from torch import Tensor

from kernels import philox
from minicfg.errors import DataError, UsageError

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with one label each.

    Args:
        x: images, float32 in [-1, 1].
        y: labels, int64 in 0..K-1.
        classes: the names of the K classes, all different.
        name: the name of the data set, for titles and error messages.

    Raises:
        DataError: if the parts do not fit together, or a value is out of range.
    """

    x: Float[Tensor, "N C H W"]
    y: Int[Tensor, " N"]
    classes: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        """Check what would otherwise train wrongly without an error."""
        x = self.x
        y = self.y
        K = len(self.classes)
        if x.dtype != torch.float32 or x.ndim != 4 or 0 in x.shape:
            raise DataError(
                f"{self.name}: x is {x.dtype} {tuple(x.shape)}: pass float32 (N, C, H, W) with no "
                "size 0"
            )
        if y.dtype != torch.int64 or y.shape != x.shape[:1]:
            raise DataError(
                f"{self.name}: y is {y.dtype} {tuple(y.shape)}: pass int64 ({len(x)},), one label "
                "per image"
            )
        # A comparison with NaN is false, so a NaN is refused too.
        if not bool(((x >= -1) & (x <= 1)).all()):
            raise DataError(
                f"{self.name}: x holds {x.min():.6g}..{x.max():.6g}: scale the images to finite "
                "values in -1..1"
            )
        if K == 0:
            raise DataError(f"{self.name}: classes = () has no name: pass one name per class")
        if len(set(self.classes)) < K:
            raise DataError(
                f"{self.name}: classes = {self.classes} has a name twice: make all names different"
            )
        for name in self.classes:
            try:
                name.encode()
            except UnicodeEncodeError:  # the name of a folder in bytes that are not UTF-8
                raise DataError(
                    f"{self.name}: class {name!r} is not valid UTF-8 text: rename it"
                ) from None
        if int(y.min()) < 0 or int(y.max()) >= K:
            raise DataError(
                f"{self.name}: y holds {int(y.min())}..{int(y.max())}: labels are 0..{K - 1}, "
                f"because there are {K} class names; correct y or classes"
            )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def num_classes(self) -> int:
        """K, the number of classes. The null label is K too."""
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image: channels, height, width."""
        _, channels, height, width = self.x.shape
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """SHA-256 of images, labels and class names, to compare two data sets."""
        sha256 = hashlib.sha256(repr((self.classes, tuple(self.x.shape))).encode())
        for values in (self.x, self.y):
            sha256.update(values.contiguous().numpy().tobytes())
        return sha256.hexdigest()


def split(data: Dataset, held_out: float = 0.2, seed: SupportsIndex = 0) -> tuple[Dataset, Dataset]:
    """Split into `(training part, held-out part)`, with the same fraction of every class held out.

    At least one image of each class stays in the training part. Both parts keep the order of
    `data`. The held-out images are the first of their class in `permutation(seed, 0, n)`. Training
    shuffles with epochs 1, 2, ..., so the split uses other random numbers.

    Args:
        data: the data set to split.
        held_out: fraction of each class to hold out, in (0, 1), rounded to a number of images.
        seed: 0..2^64-1.
    """
    if not 0 < held_out < 1:
        raise UsageError(f"held_out = {held_out} is out of range: use a fraction in (0, 1)")
    order = permutation(seed, 0, len(data))
    is_held_out = torch.zeros(len(data), dtype=torch.bool)
    for label in range(data.num_classes):
        members = order[data.y[order] == label]
        count = min(round(held_out * len(members)), len(members) - 1)
        is_held_out[members[:count]] = True
    if not bool(is_held_out.any()):
        raise UsageError(
            f"held_out = {held_out} of {data.name}, {len(data)} images, is none: use a larger "
            "fraction or more images"
        )
    train = _part(data, ~is_held_out, "training part")
    test = _part(data, is_held_out, "held-out part")
    return train, test


def permutation(seed: SupportsIndex, epoch: int, n: int) -> Int[Tensor, " n"]:
    """The order of `n` images in an epoch, which is a function of (seed, epoch).

    Each image gets a random 32-bit word, and the images are sorted by it. Two images get the same
    word about once in 2^33 / n^2 epochs, and then keep their order.
    """
    word = philox.words(check_seed(seed), torch.arange(n), epoch, 1, philox.DATA_ORDER)[:, 0, 0]
    return torch.argsort(word, stable=True)


def check_seed(seed: SupportsIndex) -> int:
    """Return `seed` as a Python integer in 0..2^64-1, and raise a UsageError if it is none."""
    try:
        return philox.check_seed(seed)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _part(data: Dataset, mask: Tensor, name: str) -> Dataset:
    return Dataset(data.x[mask], data.y[mask], data.classes, f"{data.name}, {name}")
