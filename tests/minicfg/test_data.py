"""What a data set must be, what digits are, and what is held out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from minicfg.data import Dataset, permutation, split
from minicfg.datasets import load_data
from minicfg.datasets.arrays import images_from_bytes
from minicfg.errors import DataError, UsageError

X, Y, CLASSES = torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 1, 0]), ("a", "b")


def at(value: float) -> Tensor:
    x = X.clone()
    x[1, 0, 1, 1] = value
    return x


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


def test_digits_are_scikit_learns(digits: Dataset) -> None:
    bunch: Any = load_digits()
    assert digits.x.shape == (1797, 1, 8, 8) and digits.shape == (1, 8, 8)
    assert digits.num_classes == 10 and digits.classes == tuple("0123456789")
    assert (float(digits.x.min()), float(digits.x.max())) == (-1, 1)
    # Sixteenths are exact in float32, so the way back is too.
    assert np.array_equal((digits.x[:, 0].numpy() + 1) * 8, bunch.images)
    assert np.array_equal(digits.y.numpy(), bunch.target)


def test_ends_of_the_range_are_within() -> None:
    assert len(Dataset(at(-1.0), Y, CLASSES, "ends")) == len(Dataset(at(1.0), Y, CLASSES, "e")) == 4


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"x": at(math.nan)}, "finite values in -1..1"),
        ({"x": X.flatten(1) + math.nan}, "x holds values that are not finite"),
        ({"x": X.numpy()}, r"x is a ndarray: pass a tensor, torch.as_tensor"),
        ({"x": at(math.inf)}, "inf: scale the images to finite values"),
        ({"x": at(1.001)}, r"x holds 0..1.001\d*: .*finite values in -1..1"),
        ({"x": at(-16.0)}, "x holds -16..0:"),
        ({"x": X.double()}, "x is torch.float64"),
        ({"x": X[:, 0, 0, 0]}, r"\(4,\): pass float32 \(N, C, H, W\)"),
        ({"x": X[:0], "y": Y[:0]}, r"\(0, 1, 2, 2\)"),
        ({"x": X[:, :0]}, r"\(4, 0, 2, 2\)"),
        ({"y": Y.int()}, r"y is torch.int32 \(4,\): pass int64 \(4,\)"),
        ({"y": Y[:3]}, r"y is torch.int64 \(3,\): pass int64 \(4,\)"),
        ({"y": Y + 1}, r"y holds 1..2: labels are 0..1"),
        ({"y": Y - 1}, r"y holds -1..0: labels are 0..1"),
        ({"classes": ()}, r"classes = \(\) has no name: pass one"),
        (
            {"classes": ("a", "a")},
            r"classes = \('a', 'a'\) has a name twice: make all names different",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_what_would_train_wrongly_is_refused(changed: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=f"^shoes: .*{complaint}"):
        Dataset(**{"x": X, "y": Y, "classes": CLASSES, "name": "shoes", **changed})


def test_images_in_0_to_1_are_refused(digits: Dataset) -> None:
    """As ToTensor and x / 255 give them; with no black pixel, and nearly without a white one."""
    in_0_to_1 = (digits.x + 1) / 2
    as_bytes = torch.arange(256).reshape(4, 1, 8, 8)
    for x in (in_0_to_1, 0.92 * in_0_to_1 + 0.01, as_bytes / 255, as_bytes / 256):
        y = torch.arange(len(x)) % 2
        with pytest.raises(DataError, match=r"^dark: x holds .* black is -1 .*: use 2 \* x - 1$"):
            Dataset(x, y, CLASSES, "dark")
        assert len(Dataset(2 * x - 1, y, CLASSES, "scaled")) == len(x)


def test_bright_images_and_other_samples_in_0_to_1_are_taken() -> None:
    x = torch.arange(256).reshape(4, 1, 8, 8)
    bright = images_from_bytes((128 + x // 2).byte().numpy())
    grey_and_white = (x % 3 == 0).float()
    grey = x / 256 * 0.9  # no value is near white
    for images in (bright, grey_and_white, grey):
        assert len(Dataset(images, Y, CLASSES, "bright")) == 4
    assert len(Dataset((x / 255).flatten(1), Y, CLASSES, "points")) == 4


@pytest.mark.parametrize("spec", ["mnist", "", "Digits", "digits:"])
def test_unknown_data_are_refused_with_what_there_is(spec: str) -> None:
    with pytest.raises(UsageError, match=f"data = '{spec}' is not a data set: .* digits"):
        load_data(spec)


@pytest.mark.parametrize(
    "name, hint",
    [
        ("pictures", r"to read the pictures in that folder, write folder:pictures$"),
        ("pets.npz", r"to read that file, write npz:pets.npz$"),
        ("pets.txt", r"toy:dots$"),
        ("", r"toy:dots$"),
    ],
)
def test_a_path_without_its_kind_is_refused_with_the_kind(
    name: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pets.npz").touch()
    (tmp_path / "pets.txt").touch()
    with pytest.raises(UsageError, match=hint):
        load_data(name)


def test_digest_feels_every_part() -> None:
    parts = {"x": X, "y": Y, "classes": CLASSES, "name": "a"}
    same = Dataset(**{**parts, "name": "b"}).digest
    assert Dataset(**parts).digest == same
    for changed in (
        {"x": at(1e-7)},
        {"y": 1 - Y},
        {"classes": ("a", "c")},
        {"x": X.view(4, 1, 4, 1)},
    ):
        assert Dataset(**{**parts, **changed}).digest != same


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_split_holds_out_the_same_share_of_every_class(digits: Dataset, share: float) -> None:
    train, held_out = split(digits, share, seed=3)
    counts = torch.bincount(held_out.y, minlength=10)
    assert counts.tolist() == [round(share * int(n)) for n in torch.bincount(digits.y)]
    assert len(train) + len(held_out) == len(digits)


def test_split_parts_the_images_and_keeps_them_with_their_labels() -> None:
    n = 40
    x = (torch.arange(n) / n)[:, None]
    data = Dataset(x, torch.arange(n) % 4, tuple("abcd"), "numbered")
    train, held_out = split(data)
    numbers = [(part.x.flatten() * n).round().long() for part in (train, held_out)]
    assert torch.equal(torch.cat(numbers).sort().values, torch.arange(n))
    for part, number in zip((train, held_out), numbers, strict=True):
        assert torch.equal(part.y, number % 4) and torch.equal(number, number.sort().values)


def test_split_is_a_function_of_its_seed_alone(digits: Dataset) -> None:
    before = torch.random.get_rng_state()
    first = split(digits, seed=5)[1].x
    torch.rand(1)
    assert torch.equal(split(digits, seed=5)[1].x, first)
    assert not torch.equal(split(digits, seed=6)[1].x, first)
    torch.random.set_rng_state(before)
    split(digits)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_split_draws_every_image_alike() -> None:
    """20 images, half held out, 1,000 seeds: each is held out 500 times, give or take 16."""
    data = Dataset((torch.arange(20) / 20)[:, None], torch.arange(20) % 2, CLASSES, "twenty")
    held = torch.zeros(20)
    for seed in range(1000):
        held[(split(data, 0.5, seed)[1].x.flatten() * 20).round().long()] += 1
    assert (held - 500).abs().max() < 4.5 * math.sqrt(1000 / 4)


def test_split_leaves_something_to_train_on_and_something_held_out() -> None:
    data = Dataset(X, Y, CLASSES, "four")
    train, held_out = split(data, 0.9)
    assert sorted(train.y.tolist()) == sorted(held_out.y.tolist()) == [0, 1]
    with pytest.raises(UsageError, match=r"held_out = 0.2 of four, 4 images, is none"):
        split(data, 0.2)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, math.nan])
def test_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="held_out = "):
        split(Dataset(X, Y, CLASSES, "four"), share)


def test_order_is_a_permutation_and_another_one_each_epoch() -> None:
    orders = torch.stack([permutation(1, epoch, 50) for epoch in range(100)])
    with pytest.raises(UsageError, match=r"n = -1: a permutation has 0 or more images"):
        permutation(1, 0, -1)
    assert torch.equal(orders.sort(dim=1).values, torch.arange(50).expand(100, 50))
    assert len(orders.unique(dim=0)) == 100


def test_order_puts_every_image_everywhere() -> None:
    """Image i in place j over 1,000 epochs: 100 times, give or take 9.5; of 100 cells none by 5."""
    counts = torch.zeros(10, 10)
    for epoch in range(1000):
        counts[permutation(7, epoch, 10), torch.arange(10)] += 1
    assert (counts - 100).abs().max() < 5 * math.sqrt(1000 * 0.1 * 0.9)
