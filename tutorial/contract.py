"""What a sampler needs: a denoiser and a source of noise, with these members and no others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

Item = TypeVar("Item")


@runtime_checkable
class Denoiser(Protocol):
    """`out = model(xt, t, y)`: the oracle of a mixture, or a trained network.

    `xt` (n, 2), `t` in 1..T, `y` (n,) in 0..K; `out` has the shape of `xt`.
    """

    @property
    def num_classes(self) -> int:
        """K, which is also the null label."""
        ...

    @property
    def prediction(self) -> str:
        """The kind of output: eps, x0, v or velocity."""
        ...

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        """The prediction for each row of `xt`."""
        ...


@runtime_checkable
class Normals(Protocol):
    """A source of noise: a NumPy generator, or noise as a function of a seed."""

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
