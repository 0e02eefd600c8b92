"""Sitting 10. Your own data and network, and two conditions: the exercises, and their mistakes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import search
from .exercise import A, B, C, Exercise, formula, prediction, proof
from .interpreter import Solution
from .own_network import HINTS, diagnosis

# 10.1: `my_pictures(images)`. The values are compared to float32 precision.
_images = np.random.default_rng(10).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
_D = np.random.default_rng(11).standard_normal((5, 2))


def _pictures(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _gives(expected: Any) -> Callable[[Any], bool]:
    """Whether the result has these values, in any kind of array."""

    def holds(answer: Any) -> bool:
        found = answer(_images.copy())
        if found is ...:
            raise NotImplementedError
        try:
            found = np.asarray(found, np.float64)
        except (TypeError, ValueError):
            return False
        wanted = np.asarray(expected, np.float64)
        return found.shape == wanted.shape and np.allclose(found, wanted, 0, 1e-5)

    return holds


def _is_standardised(answer: Any) -> bool:
    """Whether the values have mean 0 and standard deviation 1, as a whole or in each channel."""
    found = answer(_images.copy())
    if tuple(np.shape(found)) != tuple(_right.shape):
        return False
    values = np.asarray(found, np.float64)
    return abs(values.mean()) < 1e-3 and abs(values.std() - 1) < 2e-3


_right = _pictures(_images)
_first = np.moveaxis(_images, 3, 1).astype(np.float64)  # (N, 3, 8, 8)
_mixed = _images.reshape(-1, 3, 8, 8).astype(np.float64)
_has_values = _gives(_right)


def _is_float32(answer: Any) -> bool:
    found = answer(_images.copy())
    return isinstance(found, Tensor) and found.dtype == torch.float32


_source = Solution(
    """
    def solved(images):
        x = torch.from_numpy(images).permute(0, 3, 1, 2)
        return x.float() / 127.5 - 1
    """,
    {"torch": torch},
)
_searched = cache(partial(search.Search, _source, [(_images,)]))

ex_10_1 = Exercise(
    "10.1",
    "minicfg/data.py, the class Dataset",
    lambda answer: _has_values(answer) and _is_float32(answer),
    (
        (
            _gives(_mixed / 255),
            "these are both mistakes as they were: reshape mixes pixels and channels, and the "
            "values lie in 0..1.",
        ),
        (
            _gives(_first / 255),
            "the order of the axes is right, and the values lie in 0..1. Black has to be -1 and "
            "white 1.",
        ),
        (
            _gives(_mixed / 127.5 - 1),
            "the range is right, but reshape does not move an axis: it reads the same bytes in "
            "their old order, red, green, blue, red, ... Use permute. `Dataset` cannot notice "
            "this one.",
        ),
        (
            _gives(np.swapaxes(_first, 2, 3) / 127.5 - 1),
            "height and width are exchanged, so each picture is reflected at its diagonal: the "
            "order is 0, 3, 1, 2.",
        ),
        (
            _gives(np.moveaxis(_first, 1, 3) / 127.5 - 1),
            "the channels are still the last axis: the order for torch is (N, 3, 8, 8).",
        ),
        (_gives(_first / 127.5), "the values lie in 0..2: subtract 1."),
        (_gives(_first / 255 - 0.5), "the values lie in -0.5..0.5: take twice as much."),
        (
            _gives(_first / 128 - 1),
            "white is 255 / 128 - 1 = 0.992 and not 1: divide by half of 255, 127.5.",
        ),
        (
            _gives(_first / 127 - 1),
            "white is 255 / 127 - 1 = 1.008, which is above 1: divide by half of 255, 127.5.",
        ),
        (
            _gives(_first - 127.5),
            "the values lie in -127.5..127.5: divide by 127.5 as well.",
        ),
        (
            _gives(_first // 127.5 - 1),
            "// rounds down, so that only -1, 0 and 1 remain: write /.",
        ),
        (
            _gives(_first[:, ::-1] / 127.5 - 1),
            "red and blue are exchanged. (OpenCV reads files in the order blue, green, red; these "
            "are red, green, blue already.)",
        ),
        (
            _gives(((2 * _first) % 256) / 255 - 1),
            "bytes end at 255: twice 200 is 144 in uint8. Convert to float before you multiply.",
        ),
        (
            _is_standardised,
            "the values have mean 0 and standard deviation 1, by numbers of these pictures: other "
            "pictures would be scaled differently, and the values leave -1..1. Take byte / 127.5 - "
            "1 for all.",
        ),
        (
            lambda answer: _has_values(answer) and isinstance(answer(_images.copy()), np.ndarray),
            "the values are right, in a NumPy array. Return a tensor: torch.from_numpy(...).",
        ),
        (
            lambda answer: (
                _has_values(answer)
                and isinstance(found := answer(_images.copy()), Tensor)
                and found.dtype == torch.float64
            ),
            "the values are right, in float64, because NumPy divides into float64. Networks have "
            "float32 weights: add .float().",
        ),
    ),
    lambda answer: search.observation(answer, _pictures, [(_images,)], [_searched]),
    solutions=(_source,),
)

ex_10_2 = Exercise(
    "10.2",
    "minicfg/conditions.py, the function null_condition",
    lambda make: diagnosis(make) == "",
    tuple((lambda make, name=name: diagnosis(make) == name, hint) for name, hint in HINTS.items()),
)

ex_10_3 = prediction(
    "10.3",
    "minicfg/training.py, the function dropped_condition",
    0.8 * 0.2,
    0.004,
    (0.2, "this is every sample without its colour. Some of these have lost their letter as well."),
    (0.04, "these are the samples without both: they train the prediction without a condition."),
    (0.64, "these are the samples that keep both."),
    (0.32, "these are the samples that lose one of the two: half of them lose the letter."),
    (0.8, "this is the fraction that keeps the letter. Of these, one in five loses the colour."),
    (0.36, "this is the fraction that loses something, 1 - 0.64."),
    (0.0, "it is 0 if both are dropped together. Here each is dropped by itself."),
    (0.4, "the two probabilities are added. That both happen, kept and dropped, is a product."),
    (0.25, "the four kinds are equally frequent only if each is dropped with probability 1/2."),
    (
        0.128,
        "one factor too many. Two things have to happen: the letter is kept (0.8), the colour "
        "is dropped (0.2).",
    ),
    (0.1, "half of p is not the probability that one is kept and the other is dropped: multiply."),
    look="A sample trains the prediction from the letter alone if two things happen: its "
    "letter is kept, and its colour is dropped.",
    given={"p": 0.2},
    source="(1 - p) * p",
)


def _two_weights(ab: Any, a: Any, b: Any, null: Any, w_a: float, w_b: float) -> Any:
    return ab + w_a * (a - null) + w_b * (b - null)


ex_10_4 = formula(
    "10.4",
    "minicfg/adapters.py, the class Composed",
    _two_weights,
    [(A, B, C, _D, 2.0, 0.5), (B, C, _D, A, 0.0, 3.0), (C, _D, A, B, 1.5, -1.0)],
    (
        lambda ab, a, b, null, w_a, w_b: null + (1 + w_a) * (a - null) + (1 + w_b) * (b - null),
        "this is `Composed`, without ab. It puts a + b - null in the place of ab, which is right "
        "only if the attributes are independent given x_t.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab + w_a * (ab - b) + w_b * (ab - a),
        "ab - b is the gradient of log p(a given x, b): it measures the letter among pictures of "
        "this colour only. The factor here is p(a given x).",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab + w_a * (ab - a) + w_b * (ab - b),
        "ab - a is what the colour adds when the letter is given, so w_a here strengthens the "
        "colour.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab + (w_a + w_b) * (ab - null),
        "both weights multiply the gradient of log p(a, b given x), so only their sum matters.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab + w_b * (a - null) + w_a * (b - null),
        "w_a and w_b are exchanged.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab + (1 + w_a) * (a - null) + (1 + w_b) * (b - null),
        "one gradient too many of each: at both weights 0 the result has to be ab.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab + w_a * a + w_b * b - null,
        "null has the factor -(w_a + w_b), because each of the two differences contains it.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab - w_a * (a - null) - w_b * (b - null),
        "the sign of both differences: this moves away from the letter and the colour.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: null + w_a * (a - null) + w_b * (b - null),
        "this begins at null. The first factor is p(x given a, b), so it begins at ab.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab + (w_a * (a - null) + w_b * (b - null)) / 2,
        "a mean of the two differences, and the sum is asked for: logarithms of a product add up.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: a + w_a * (a - null) + b + w_b * (b - null),
        "two guided outputs added up: the factors add up to 2, so the result is about twice an "
        "output.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: (a + w_a * (a - null) + b + w_b * (b - null)) / 2,
        "the mean of two guided outputs: half of it knows the letter only, the other half the "
        "colour only. Both together are in ab.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab + w_a * (a - ab) + w_b * (b - ab),
        "a - ab removes the colour. The difference that measures the letter is a - null.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab + w_a * (a - null) - w_b * (b - null),
        "the sign of the colour's difference: this moves away from the colour.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab - w_a * (a - null) + w_b * (b - null),
        "the sign of the letter's difference: this moves away from the letter.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab + w_a * (a - null) * w_b * (b - null),
        "the two differences are multiplied. The densities are multiplied, so their logarithms, "
        "and the gradients of these, are added.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab + w_a * a - null + w_b * b - null,
        "w_a and w_b multiply a and b only: set parentheses, w_a * (a - null).",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: ab + w_a * (a - null) + w_b * (b - a),
        "b - a compares the colour with the letter. Each difference is from null.",
    ),
    (
        lambda ab, a, b, null, w_a, w_b: (1 + w_a) * (1 + w_b) * ab - (w_a + w_b) * null,
        "(1 + w_a) (1 + w_b) is not 1 + w_a + w_b, and a and b do not occur. Each weight "
        "multiplies the difference of its own attribute.",
    ),
    look="Set w_b to 0: what is left is ab, and w_a times what the letter adds to null.",
    solutions=(
        Solution(
            """
        def solved(ab, a, b, null, w_a, w_b):
            return ab + w_a * (a - null) + w_b * (b - null)
        """,
        ),
        Solution(
            """
            def solved(ab, a, b, null, w_a, w_b):
                return ab + w_a * a + w_b * b - (w_a + w_b) * null
            """,
        ),
    ),
)


# 10.5: `split(x, seed)` returns two tensors of row numbers.
def _groups(x: Tensor) -> Tensor:
    """For each row of `x`, the number of its picture; equal rows have the same number."""
    return x.flatten(1).unique(dim=0, return_inverse=True)[1]


def _order(n: int, seed: int | None) -> Tensor:
    """A permutation of 0..n-1; without a seed from torch's global generator."""
    if seed is None:
        return torch.randperm(n)
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def _split(x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Split by pictures: a fifth of the different pictures is held out, with all their rows."""
    group = _groups(x)
    n = int(group.max()) + 1
    held_out = torch.isin(group, _order(n, seed)[: n // 5])
    return (~held_out).nonzero()[:, 0], held_out.nonzero()[:, 0]


def _by_rows(x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    order = _order(len(x), seed)
    return order[len(x) // 5 :], order[: len(x) // 5]


def _drawn_twice(x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    training, held_out = _split(x, seed)
    return torch.cat([training, held_out[:4]]), held_out


def _with_a_gap(x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    training, held_out = _split(x, seed)
    return training[: len(training) // 2], held_out


def _repeated(x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    training, held_out = _split(x, seed)
    return torch.cat([training[:2], training[:-2]]), held_out


def _half_held_out(x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    training, held_out = _split(x, seed)
    return training, held_out[::2]


def _nothing(x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    return torch.arange(len(x)), torch.arange(0)


ex_10_5 = proof(
    "10.5",
    "minicfg/data.py, the function split",
    _split,
    (
        _drawn_twice,
        "your test passes for a split in which some rows are in both parts.",
    ),
    (
        _with_a_gap,
        "your test passes for a split that loses half of the training rows: each row has to be in "
        "one of the parts.",
    ),
    (
        _repeated,
        "your test passes for a split whose training part has the right length, and contains two "
        "rows twice and two others not at all: compare the row numbers themselves.",
    ),
    (
        _half_held_out,
        "your test passes for a split that loses every second held-out row: look at the size of "
        "both parts.",
    ),
    (
        _nothing,
        "your test passes for a split that holds out nothing.",
    ),
    (
        lambda x, seed: tuple(reversed(_split(x, seed))),
        "your test passes for a split that trains on a fifth of the rows and holds out the rest.",
    ),
    (
        lambda x, seed: (torch.arange(len(x) * 4 // 5), torch.arange(len(x) * 4 // 5, len(x))),
        "your test passes for a split that always holds out the last rows. Data are often sorted "
        "by class: two seeds have to hold out different rows.",
    ),
    (
        lambda x, seed: _split(x, int(torch.randint(2**31, ()))),
        "your test passes for a split that is different at every call, so a resumed run would "
        "train on pictures that were held out before.",
    ),
    (
        _by_rows,
        "your test passes for a split of the rows that ignores equal pictures: the data contain "
        "each picture twice, and a copy of a held-out picture is in the training part.",
    ),
)
