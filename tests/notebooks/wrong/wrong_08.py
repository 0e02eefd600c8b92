"""Wrong answers in sitting 8: exercise, answer, and a phrase of the hint that is meant for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Noise = Callable[..., Any]
SHAPE, IDS = (1, 2, 2), torch.arange(7)


def test_of_the_shape(noise: Noise) -> None:
    """Nothing but that."""
    assert noise(7, IDS, SHAPE).shape == (7, *SHAPE)


def test_that_asks_twice(noise: Noise) -> None:
    """The same question, the same answer."""
    assert torch.equal(noise(7, IDS, SHAPE), noise(7, IDS, SHAPE))


def test_that_asks_for_some(noise: Noise) -> None:
    """In the order they had."""
    assert torch.equal(noise(7, IDS, SHAPE)[2:4], noise(7, torch.tensor([2, 3]), SHAPE))


def test_that_asks_backwards(noise: Noise) -> None:
    """In another order too."""
    test_that_asks_for_some(noise)
    assert torch.equal(noise(7, IDS, SHAPE).flip(0), noise(7, IDS.flip(0), SHAPE))


def test_that_compares_two(noise: Noise) -> None:
    """Of one seed."""
    test_that_asks_backwards(noise)
    x = noise(7, IDS, SHAPE)
    assert not torch.equal(x[0], x[1])


def test_of_two_seeds(noise: Noise) -> None:
    """And of two, for one id."""
    test_that_compares_two(noise)
    assert not torch.equal(noise(7, IDS, SHAPE), noise(8, IDS, SHAPE))


def test_that_wants_one_noise_for_all(noise: Noise) -> None:
    """Wrong about what is right."""
    x = noise(7, IDS, SHAPE)
    assert torch.equal(x[0], x[1])


WRONG: list[tuple[str, Any, str]] = [
    ("8.1", lambda y, u, p, null: torch.full_like(y, null) if u[0] < p else y, "one coin"),
    ("8.1", lambda y, u, p, null: torch.where(u >= p, null, y), "the other way round"),
    ("8.1", lambda y, u, p, null: torch.where(u < p, torch.full_like(y, 10), y), "written as 10"),
    ("8.1", lambda y, u, p, null: y * (u >= p), "0 is a class"),
    ("8.1", lambda y, u, p, null: y * (1 - 2 * (u < p).long()), "multiplied by -1"),
    ("8.1", lambda y, u, p, null: y.masked_fill(u < p, null - 1), "is the last class"),
    ("8.2", 0, "but not nothing"),
    ("8.2", 0.778, "the rest of 1"),
    ("8.2", 1 - 0.995, "the newest step alone"),
    ("8.2", 0.995, "multiplied 300 times"),
    ("8.2", 0.0033, "a plain mean"),
    ("8.2", 0.5, "about 140 steps"),
    ("8.3", lambda c, n, w: (1 + w) * c - w * n, "each column of pixels"),
    ("8.3", lambda c, n, w: c + w.reshape(-1, 1, 1) * (c - n), "weighs channels"),
    ("8.3", lambda c, n, w: (1 + w.mean()) * c - w.mean() * n, "everybody gets the same"),
    ("8.3", lambda c, n, w: torch.lerp(n, c, w.reshape(-1, 1, 1, 1)), "the other convention"),
    ("8.3", lambda c, n, w: c + float(w[0]) * (c - n), "the first sample's weight"),
    ("8.4", test_of_the_shape, "torch's own stream"),
    ("8.4", test_that_asks_twice, "by place in the batch"),
    ("8.4", test_that_asks_for_some, "sorts the ids"),
    ("8.4", test_that_asks_backwards, "the same noise for all"),
    ("8.4", test_that_compares_two, "never looks at the seed"),
    ("8.4", test_of_two_seeds, "seeds share nearly all"),
    ("8.4", test_that_wants_one_noise_for_all, "which is right"),
]  # fmt: skip
