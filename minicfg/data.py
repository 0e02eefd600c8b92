"""Data to train on: the `Dataset` type, its split in two parts, and its order in each epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, SupportsIndex

import torch
from torch import Tensor

from kernels import philox
from minicfg.conditions import Condition, batch_size, check_condition, each_part, parts_of
from minicfg.errors import DataError, UsageError, check_number, check_type, short_repr

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples, each with a label or another condition.

    Args:
        x: float32 samples with the batch as first dimension. Images are (N, C, H, W) in [-1, 1].
        y: labels, int64 in 0..K-1; or another condition, a tensor or a tuple of tensors, with one
            row per sample (`minicfg.conditions`).
        classes: the names of the K classes, all different; empty if `y` is not a label.
        name: the name of the data set, for titles and error messages.
        factors: what else is known of each sample, by name: tensors with the batch as first
            dimension, such as the typeface of a letter. Nothing is trained on them, and they are
            not part of the digest.

    Raises:
        DataError: if the parts do not fit together, or a value is out of range.
    """

    x: Float[Tensor, "N *D"]
    y: Condition
    classes: tuple[str, ...] = ()
    name: str = "data"
    factors: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def __post_init__(self) -> None:
        """Check what would otherwise train wrongly without an error."""
        self._check_names()
        self._check_samples()
        self._check_factors()
        labels = isinstance(self.y, Tensor) and self.y.dtype == torch.int64 and self.y.ndim == 1
        if self.classes or labels:
            self._check_labels()
            return
        try:
            check_condition("y", self.y)
        except UsageError as error:
            raise DataError(f"{self.name}: {error}") from None
        if batch_size(self.y) != len(self.x):
            raise DataError(
                f"{self.name}: y is a condition for {batch_size(self.y)} samples, but x has "
                f"{len(self.x)}: pass one row per sample"
            )

    def _check_names(self) -> None:
        if not isinstance(self.name, str):
            raise DataError(f"name = {short_repr(self.name)} is not text: pass a str")
        names = self.classes
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise DataError(
                f"{self.name}: classes = {short_repr(names)} is not a tuple of names: pass one "
                "name per class, for example classes=('cat', 'dog')"
            )

    def _check_samples(self) -> None:
        x = self.x
        if not isinstance(x, Tensor):
            raise DataError(
                f"{self.name}: x is a {type(x).__name__}: pass a tensor, torch.as_tensor(x)"
            )
        if x.is_meta or x.layout != torch.strided:
            raise DataError(
                f"{self.name}: x has layout {x.layout} on {x.device}: pass a dense tensor with "
                "values, x.to_dense() if it is sparse"
            )
        if x.dtype != torch.float32 or x.ndim < 2 or 0 in x.shape:
            raise DataError(
                f"{self.name}: x is {x.dtype} {tuple(x.shape)}: pass float32 (N, C, H, W), or "
                "(N, ...) for samples that are not images, with no size 0"
            )
        are_images = x.ndim == 4
        if are_images and min(x.shape[1:3]) > 4 >= x.shape[3]:
            raise DataError(
                f"{self.name}: x has shape {tuple(x.shape)}, with the channels last: transpose it "
                "to (N, C, H, W), x.permute(0, 3, 1, 2)"
            )
        # A comparison with NaN is false, so a NaN is refused too.
        if are_images and not bool(((x >= -1) & (x <= 1)).all()):
            raise DataError(
                f"{self.name}: x holds {x.min():.9g}..{x.max():.9g}: scale the images to finite "
                "values in -1..1"
            )
        if not bool(x.isfinite().all()):
            raise DataError(f"{self.name}: x holds values that are not finite: remove them")
        if are_images and _look_like_0_to_1(x):
            raise DataError(
                f"{self.name}: x holds {x.min():.9g}..{x.max():.9g}, but black is -1 and white is "
                "1: use 2 * x - 1"
            )

    def _check_factors(self) -> None:
        for name, values in self.factors.items():
            if not isinstance(values, Tensor) or values.shape[:1] != self.x.shape[:1]:
                found = tuple(values.shape) if isinstance(values, Tensor) else short_repr(values)
                raise DataError(
                    f"{self.name}: factors[{name!r}] is {found}: pass a tensor with one row for "
                    f"each of the {len(self.x)} samples"
                )

    def _check_labels(self) -> None:
        y = self.y
        K = len(self.classes)
        if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.shape != self.x.shape[:1]:
            found = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise DataError(
                f"{self.name}: y is {found}: pass int64 ({len(self.x)},), one label per sample"
            )
        if K == 0:
            raise DataError(
                f"{self.name}: classes = () has no name: pass one name per class, for example "
                f"classes=tuple(map(str, range({int(y.max()) + 1})))"
            )
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

    def select(self, rows: Tensor, name: str) -> Dataset:
        """Return some of the samples, with their conditions and factors, under a new name.

        Args:
            rows: a mask (N,) of the samples, or their numbers in the order of the result.
            name: of the result.
        """
        return Dataset(
            self.x[rows],
            each_part(lambda part: part[rows], self.y),
            self.classes,
            name,
            {key: values[rows] for key, values in self.factors.items()},
        )

    @property
    def labels(self) -> Int[Tensor, " N"]:
        """The labels, for what works on labelled data only.

        Raises:
            UsageError: if `y` is another condition.
        """
        if not self.classes or not isinstance(self.y, Tensor):
            raise UsageError(
                f"{self.name} has no classes: pass a data set with one label per sample"
            )
        return self.y

    @property
    def num_classes(self) -> int:
        """K, the number of classes, which is the null label too; 0 without labels."""
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample; of an image: channels, height, width."""
        return tuple(self.x.shape[1:])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of samples, conditions and class names, to compare two data sets."""
        tensors = (self.x, *parts_of(self.y))
        kinds = [(str(values.dtype), tuple(values.shape)) for values in tensors]
        sha256 = hashlib.sha256(repr((self.classes, kinds)).encode())
        for values in tensors:
            sha256.update(values.contiguous().view(torch.uint8).numpy().tobytes())
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
    check_type("data", data, Dataset, "pass a minicfg.Dataset")
    check_number("held_out", held_out, "pass a fraction in (0, 1)")
    if not 0 < held_out < 1:
        raise UsageError(f"held_out = {held_out} is out of range: use a fraction in (0, 1)")
    order = permutation(seed, 0, len(data))
    is_held_out = torch.zeros(len(data), dtype=torch.bool)
    stratum = data.labels if data.classes else torch.zeros(len(data), dtype=torch.int64)
    for label in range(max(data.num_classes, 1)):
        members = order[stratum[order] == label]
        count = min(round(held_out * len(members)), len(members) - 1)
        is_held_out[members[:count]] = True
    if not bool(is_held_out.any()):
        raise UsageError(
            f"held_out = {held_out} of {data.name}, {len(data)} images, is none: use a larger "
            "fraction or more images"
        )
    train = data.select(~is_held_out, f"{data.name}, training part")
    test = data.select(is_held_out, f"{data.name}, held-out part")
    return train, test


def permutation(seed: SupportsIndex, epoch: int, n: int) -> Int[Tensor, " n"]:
    """The order of `n` images in an epoch, which is a function of (seed, epoch).

    Each image gets a random 32-bit word, and the images are sorted by it. Two images get the same
    word about once in 2^33 / n^2 epochs, and then keep their order.
    """
    if n < 0:
        raise UsageError(f"n = {n}: a permutation has 0 or more images")
    word = philox.words(check_seed(seed), torch.arange(n), epoch, 1, philox.DATA_ORDER)[:, 0, 0]
    return torch.argsort(word, stable=True)


def check_seed(seed: SupportsIndex) -> int:
    """Return `seed` as a Python integer in 0..2^64-1, and raise a UsageError if it is none."""
    try:
        return philox.check_seed(seed)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _look_like_0_to_1(x: Float[Tensor, "N C H W"]) -> bool:
    """Whether images in -1..1 look as if they were scaled to 0..1, as x / 255 and ToTensor do.

    No value is then below 0, and the largest is near 1. Bright images can be like that too: bytes
    above 127 that were scaled to -1..1, which are odd multiples of 1/255, and images of two values,
    grey and white. These are left alone.
    """
    if not (x.min() >= 0 and 0.9 < x.max() <= 1):
        return False
    byte = (x + 1) * 127.5
    # float32 rounds a byte by 2e-5 at most; those of x / 255 lie on halves too.
    if bool(((byte - byte.round()).abs() < 1e-3).all()):
        return False
    return len(x.unique()) > 2
