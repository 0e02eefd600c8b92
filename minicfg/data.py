"""Labelled images: what a data set is, its order in an epoch, and what is held out of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kernels import philox
from minicfg.errors import DataError, UsageError

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images in [-1, 1], a label 0..K-1 for each, and the K classes' names. Checked when made.

    Raises:
        DataError: naming the data set, what is wrong with it and what it has to be.
    """

    x: Float[Tensor, "N C H W"]
    y: Int[Tensor, " N"]
    classes: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        """Refuse what would train wrongly without a word."""
        x, y, K = self.x, self.y, len(self.classes)
        if x.dtype != torch.float32 or x.ndim != 4 or 0 in x.shape:
            raise DataError(f"{self.name}: x is {x.dtype} {tuple(x.shape)}: float32 (N, C, H, W)")
        if y.dtype != torch.int64 or y.shape != x.shape[:1]:
            raise DataError(f"{self.name}: y is {y.dtype} {tuple(y.shape)}: int64 ({len(x)},)")
        # Written so that a NaN, which compares false with everything, is refused too.
        if not bool(((x >= -1) & (x <= 1)).all()):
            raise DataError(
                f"{self.name}: x holds {x.min():.6g}..{x.max():.6g}: finite values in -1..1"
            )
        if K == 0 or len(set(self.classes)) < K:
            raise DataError(f"{self.name}: classes = {self.classes}: one or more, all different")
        for name in self.classes:
            try:
                name.encode()
            except UnicodeEncodeError:  # a folder's, in bytes that are no UTF-8
                raise DataError(f"{self.name}: class {name!r} is no text: rename it") from None
        if int(y.min()) < 0 or int(y.max()) >= K:
            raise DataError(
                f"{self.name}: y holds {int(y.min())}..{int(y.max())}: labels are 0..{K - 1}"
            )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def num_classes(self) -> int:
        """K; also the null label."""
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: channels, height, width."""
        _, channels, height, width = self.x.shape
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """SHA-256 of images, labels and class names: whether two data sets are the same."""
        told = hashlib.sha256(repr((self.classes, tuple(self.x.shape))).encode())
        for values in (self.x, self.y):
            told.update(values.contiguous().numpy().tobytes())
        return told.hexdigest()


def split(data: Dataset, held_out: float = 0.2, seed: int = 0) -> tuple[Dataset, Dataset]:
    """`(train, held_out)`: the same share of every class is held out, whichever the seed draws.

    A class keeps at least one image to train on. Order within each part is that of `data`. Which
    images are held out is a function of (seed, index): epoch 0 of the order that training follows
    from epoch 1 on, so the two share no counter.

    Args:
        data: what to split.
        held_out: share of each class, in (0, 1), rounded to the nearest image.
        seed: 0..2^64-1.
    """
    if not 0 < held_out < 1:
        raise UsageError(f"held_out = {held_out}: a share in (0, 1) is needed")
    order = permutation(seed, 0, len(data))
    out = torch.zeros(len(data), dtype=torch.bool)
    for label in range(data.num_classes):
        members = order[data.y[order] == label]
        out[members[: min(round(held_out * len(members)), len(members) - 1)]] = True
    if not bool(out.any()):
        raise UsageError(f"held_out = {held_out} of {data.name}, {len(data)} images, is none")
    return _part(data, ~out, "training part"), _part(data, out, "held-out part")


def permutation(seed: int, epoch: int, n: int) -> Int[Tensor, " n"]:
    """The order of `n` images in an epoch, a function of (seed, epoch): sorted by a random word.

    Two images share a word about once in 2^33 / n^2 epochs, and then keep their order.
    """
    word = philox.words(check_seed(seed), torch.arange(n), epoch, 1, philox.DATA_ORDER)[:, 0, 0]
    return torch.argsort(word, stable=True)


def check_seed(seed: int) -> int:
    """Return `seed`, an integer in 0..2^64-1, or refuse it."""
    try:
        return philox.check_seed(seed)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _part(data: Dataset, mask: Tensor, name: str) -> Dataset:
    return Dataset(data.x[mask], data.y[mask], data.classes, f"{data.name}, {name}")
