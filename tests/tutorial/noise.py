"""Sources of noise that a test chooses, in the place of a random generator.

Each class has the method `standard_normal` of `tutorial.contract.Normals`, so a sampler of the
lessons accepts it as its `rng`. The draws are counted from k = 0, in the order in which the sampler
makes them; `asked` is the number of draws so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Given:
    """A source of normals that returns given arrays: `draws[k]` in draw k.

    A draw without an entry in `draws` is zeros.
    """

    draws: dict[int, np.ndarray] = field(default_factory=dict)
    asked: int = 0

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        self.asked += 1
        return self.draws.get(self.asked - 1, np.zeros(size))


class GivenInOrder:
    """A source of normals that returns given arrays in their order; one draw more is an error."""

    def __init__(self, *draws: np.ndarray) -> None:
        self.draws = iter(draws)

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        return next(self.draws)


class Impulses:
    """A source of normals that returns unit impulses: draw k is 1 in row k + 1, and 0 elsewhere.

    Row 0 has no noise. Where a sampler is affine in its noise, the squared differences between the
    other rows and row 0 add up to the variance of a sample.
    """

    def __init__(self) -> None:
        self.asked = 0

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        self.asked += 1
        z = np.zeros(size)
        z[self.asked] = 1
        return z


class ImpulsesOnAxis0:
    """As `Impulses`, along axis 0 alone: draw k is 1 in row k, column 0, and 0 elsewhere.

    The last row has no noise if there are more rows than draws.
    """

    def __init__(self) -> None:
        self.asked = 0

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        z = np.zeros(size)
        z[self.asked, 0] = 1
        self.asked += 1
        return z
