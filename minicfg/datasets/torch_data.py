"""Labelled samples from a data set or a data loader of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data import Dataset as TorchDataset

from minicfg.data import Dataset
from minicfg.datasets.arrays import (
    check_channels,
    check_every_class_occurs,
    check_values,
    images_from_bytes,
)
from minicfg.errors import DataError, short_repr

_RANDOM = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


def from_torch(
    data: TorchDataset[Any] | DataLoader[Any],
    classes: Sequence[str],
    name: str = "torch data",
) -> Dataset:
    """Read every pair (x, y) once and keep all of them in memory.

    Images are tensors of shape (C, H, W), with bytes in 0..255 or floats in -1..1. A random
    transform is applied once, when its image is read.

    Args:
        data: a map-style data set of pairs (x, y), or a loader of batches of them that does not
            shuffle. y is an integer in 0..K-1.
        classes: the names of the K classes.
        name: the name of the data set, for titles and error messages.

    Raises:
        DataError: if `data` is of another kind or shuffles, if a class has no sample, or if the
            samples are not tensors of one shape and in range.
    """
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise DataError(
            f"{name}: classes = {short_repr(classes)} is not a list: pass one name per class, for "
            "example ['cat', 'dog']"
        )
    samples = list[Tensor]()
    labels = list[Tensor]()
    for x, y in _batches(data, name):
        if samples and x.shape[1:] != samples[0].shape[1:]:
            raise DataError(
                f"{name}: x has shape {tuple(x.shape[1:])}, and the samples before it "
                f"{tuple(samples[0].shape[1:])}: bring all to one shape in the transform"
            )
        if samples and x.dtype != samples[0].dtype:
            raise DataError(
                f"{name}: x is {x.dtype}, and the samples before it are {samples[0].dtype}: bring "
                "all to one dtype in the transform"
            )
        if y.ndim != 1 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
            raise DataError(
                f"{name}: y is {y.dtype} {tuple(y.shape)}: return one integer label per sample"
            )
        samples.append(x)
        labels.append(y)
    if not samples:
        raise DataError(f"{name} is empty: pass a data set with one sample or more per class")
    y = torch.cat(labels).long()
    check_every_class_occurs(name, y.numpy(), len(classes), named=True)
    return Dataset(
        x=_in_range(torch.cat(samples), name),
        y=y,
        classes=tuple(classes),
        name=name,
    )


def _batches(data: Any, name: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of x and y on the CPU."""
    if isinstance(data, DataLoader):
        _check_loader(data, name)
        pairs = iter(data)
    elif hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        pairs = (data[i] for i in range(len(data)))
    else:
        raise DataError(
            f"{name} is of type {type(data).__name__}: pass a torch.utils.data.Dataset that has a "
            "length, or a DataLoader"
        )
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise DataError(f"{name} returns {type(pair).__name__}: return pairs (x, y)")
        x, y = pair
        if not isinstance(x, Tensor):
            raise DataError(
                f"{name}: x is of type {type(x).__name__}: return tensors, for example with "
                "transform=torchvision.transforms.PILToTensor()"
            )
        try:
            y = torch.as_tensor(y)
        except (TypeError, ValueError, RuntimeError):
            raise DataError(
                f"{name}: y = {short_repr(y)} is not a label: return one integer label per sample"
            ) from None
        if not isinstance(data, DataLoader):
            x = x[None]
            y = y[None]
        yield x.detach().cpu(), y.detach().cpu()


def _check_loader(data: DataLoader[Any], name: str) -> None:
    """Refuse a loader that draws at random, leaves samples out, or does not form batches."""
    if data.batch_size is None and data.batch_sampler is None:
        raise DataError(
            f"{name}: the DataLoader has batch_size = None: pass its data set, or a loader of "
            "batches"
        )
    sampler = getattr(data.batch_sampler, "sampler", data.sampler)
    if isinstance(sampler, _RANDOM):
        raise DataError(
            f"{name}: the DataLoader shuffles, so each run would have other data: pass one "
            "with shuffle=False, or its data set"
        )
    if data.drop_last:
        raise DataError(
            f"{name}: the DataLoader has drop_last = True, which leaves out the last samples: pass "
            "one with drop_last=False, or its data set"
        )


def _in_range(x: Tensor, name: str) -> Tensor:
    """Map bytes to -1..1, and check the values of floats if they are images."""
    if x.ndim == 4:
        check_channels(name, tuple(x.shape))
    if x.dtype == torch.uint8:
        return images_from_bytes(x.numpy())
    if x.is_floating_point() and x.ndim == 4 and x.numel() > 0:
        check_values(name, x.float())
    return x.float() if x.is_floating_point() else x  # `Dataset` refuses other types.
