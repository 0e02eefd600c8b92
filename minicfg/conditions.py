"""Conditions: one tensor, or a tuple of tensors, that the distribution of a sample depends on.

The first dimension of every tensor is the batch. An integer label per sample is the simplest
condition; two attributes are a tuple of two such tensors; a text is a tensor of embeddings
(B, L, D). Classifier-free guidance needs one more condition, the null, which stands for "no
condition was given". It has the same structure as `y`, and the model supplies it:

- `model.null(y)` returns it, if the model has this method;
- otherwise the condition is a label 0..K-1, and the null label is K = `model.num_classes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from minicfg.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Bool

Condition = Tensor | tuple[Tensor, ...]


def parts_of(y: Condition) -> tuple[Tensor, ...]:
    """The tensors of a condition."""
    return (y,) if isinstance(y, Tensor) else y


def batch_size(y: Condition) -> int:
    """The number of samples that a condition is for."""
    return len(parts_of(y)[0])


def each_part(function: Callable[..., Tensor], *conditions: Condition) -> Condition:
    """Apply `function` to the tensors of conditions of equal structure, one after the other.

    >>> each_part(torch.add, (torch.tensor([1]), torch.tensor([2])), (torch.tensor([3]),) * 2)
    (tensor([4]), tensor([5]))
    """
    if isinstance(conditions[0], Tensor):
        return function(*conditions)
    return tuple(function(*tensors) for tensors in zip(*conditions, strict=True))


def drop(y: Condition, null: Condition, dropped: Sequence[Bool[Tensor, " B"]]) -> Condition:
    """Replace `y` by `null` where a mask is true. `dropped` contains one mask per tensor of `y`."""
    replaced = tuple(
        torch.where(mask.reshape(-1, *[1] * (part.ndim - 1)), null_part, part)
        for part, null_part, mask in zip(parts_of(y), parts_of(null), dropped, strict=True)
    )
    return replaced[0] if isinstance(y, Tensor) else replaced


def null_condition(model: object, y: Condition) -> Condition:
    """The null condition of a model, for as many samples as `y`.

    Raises:
        UsageError: if the model has neither `null(y)` nor `num_classes`, or if `null(y)` returns a
            condition of another structure, shape or dtype than `y`.
    """
    null = getattr(model, "null", None)
    if callable(null):
        condition = null(y)
        check_alike("model.null(y)", condition, y)
        return cast(Condition, condition)
    num_classes = getattr(model, "num_classes", None)
    if not isinstance(num_classes, int):
        raise UsageError(
            f"model is a {type(model).__name__} without a null condition; give it a method null(y) "
            "that returns the null in the shape of y, or, for labels 0..K-1, an attribute "
            "num_classes = K"
        )
    if not isinstance(y, Tensor):
        raise UsageError(
            f"y is a tuple of {len(y)} tensors, but model has only num_classes = {num_classes}; "
            "give it a method null(y) that returns the null in the shape of y"
        )
    return torch.full_like(y, num_classes)


def check_condition(name: str, y: object) -> Condition:
    """Return `y` if it is a condition of at least one sample.

    Raises:
        UsageError: if it is not a tensor or a tuple of tensors, or their first sizes differ.
    """
    parts = (y,) if isinstance(y, Tensor) else y
    if not isinstance(parts, tuple) or not parts:
        raise UsageError(f"{name} is a {type(y).__name__}; pass a tensor or a tuple of tensors")
    sizes: list[int] = []
    for part in parts:
        if not isinstance(part, Tensor):
            raise UsageError(
                f"{name} contains a {type(part).__name__}; pass a tensor or a tuple of tensors"
            )
        if part.ndim == 0 or part.numel() == 0:
            raise UsageError(
                f"{name} contains a tensor of shape {tuple(part.shape)}; its first dimension must "
                "be the batch, and no size may be 0"
            )
        if part.is_floating_point() and not bool(part.isfinite().all()):
            raise UsageError(f"{name} contains values that are not finite; pass finite numbers")
        sizes.append(len(part))
    if len(set(sizes)) > 1:
        raise UsageError(
            f"{name} has tensors for {sizes} samples; the first dimension of each must be the batch"
        )
    return parts[0] if isinstance(y, Tensor) else parts


def check_alike(name: str, condition: object, y: Condition) -> None:
    """Refuse a condition whose structure, shapes, dtypes or device differ from those of `y`."""
    found = _described(condition)
    wanted = _described(y)
    if found != wanted:
        raise UsageError(
            f"{name} is {found}, but y is {wanted}; give it the structure, "
            "shapes, dtypes and device of y"
        )


def _described(condition: object) -> str:
    """The dtypes, shapes and devices of a condition in one line."""
    if isinstance(condition, tuple):
        return f"({', '.join(map(_described, condition))})"
    if isinstance(condition, Tensor):
        return f"{condition.dtype} {tuple(condition.shape)} on {condition.device}"
    return f"a {type(condition).__name__}"
