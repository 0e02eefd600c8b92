"""What a sampler asks for: a denoiser, and noise. Nothing else of either is ever looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

Item = TypeVar("Item")


@runtime_checkable
class Denoiser(Protocol):
    """`out = model(xt, t, y)`: the oracle of a mixture and a trained network are the same thing.

    `xt` (n, 2), `t` in 1..T, `y` (n,) in 0..K; `out` has the shape of `xt`.
    """

    @property
    def num_classes(self) -> int:
        """K, which is also the null label."""
        ...

    @property
    def prediction(self) -> str:
        """What comes out: eps, x0 or v."""
        ...

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        """What the model says about the noise or the data in each row of `xt`."""
        ...


@runtime_checkable
class Normals(Protocol):
    """Where noise comes from: a NumPy generator, or noise as a function of a seed."""

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        """Independent standard normals of that shape."""
        ...


def last(steps: Iterable[Item]) -> Item:
    """The last item of `steps`. Only one item is kept in memory at a time."""
    iterator = iter(steps)
    item = next(iterator)
    for later in iterator:
        item = later
    return item
