"""The judge: a small classifier that has seen real images only, whose features scores live in."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minicfg.data import Dataset, split
from minicfg.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Float


class Judge(nn.Module):
    """A small convolutional classifier of (C, H, W) images; `train_judge` makes one.

    `features` are scaled to a mean variance of 1 a coordinate over the images it was trained on:
    the squared spread of real images is then `dim`, and a Frechet distance reads as a part of it.
    """

    feature_scale: Tensor
    held_out: Dataset
    held_out_accuracy: float

    def __init__(self, shape: tuple[int, int, int], num_classes: int, dim: int = 48) -> None:
        super().__init__()
        self.shape, self.num_classes = shape, num_classes
        channels, *size = shape
        width, layers = 16, [nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU()]
        while min(size) > 4:
            layers += [nn.Conv2d(width, 32, 3, stride=2, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
            width, size = 32, [(side + 1) // 2 for side in size]
        layers += [nn.Flatten(), nn.Dropout(0.2), nn.Linear(width * math.prod(size), dim)]
        self.body, self.head = nn.Sequential(*layers), nn.Linear(dim, num_classes)
        self.register_buffer("feature_scale", torch.ones(()))

    def features(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B dim"]:
        """What the last layer reads, before its ReLU, scaled."""
        return self.body(x) * self.feature_scale

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Logits of the classes."""
        return self.head(F.relu(self.body(x)))


def train_judge(data: Dataset, *, seed: int = 0, steps: int = 400) -> Judge:
    """Train a judge on 4/5 of real `data`; the rest is `judge.held_out`.

    Its accuracy there, `judge.held_out_accuracy`, is about 99 % on digits. AdamW on images slightly
    turned, stretched, sheared and shifted; never mirrored, for a mirrored digit is none. A function
    of (data, seed, steps); torch's global generator is left as it was.

    Args:
        data: real images, at least 8x8, at least two a class.
        seed: of the split, the weights and the batches, 0..2^64-1.
        steps: of 128 images, at least 1.

    Raises:
        UsageError: naming what is too small.
    """
    check_images(data)
    if steps < 1:
        raise UsageError(f"steps = {steps}: at least 1 is needed")
    train, held_out = split(data, 0.2, seed)
    with torch.random.fork_rng(devices=[]), threads(enough(data.shape)):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
        judge = Judge(data.shape, data.num_classes)
        optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=0.01, fused=True)
        for i in range(steps):
            batch = torch.randint(len(train), (128,))
            warm_up, decay = min(1, 5 * (i + 1) / steps), math.cos(math.pi / 2 * i / steps) ** 2
            optimizer.param_groups[0]["lr"] = 3e-3 * warm_up * decay
            optimizer.zero_grad()
            F.cross_entropy(judge(_augment(train.x[batch])), train.y[batch]).backward()
            optimizer.step()
    judge.eval().requires_grad_(False)
    features, _ = look(judge, train.x)
    judge.feature_scale.fill_(features.var(axis=0).mean() ** -0.5)
    judge.held_out = held_out
    judge.held_out_accuracy = accuracy(look(judge, held_out.x)[1], held_out.y.numpy())[0]
    return judge


def enough(shape: Sequence[int]) -> int:
    """Threads for images of `shape`: 1 up to 16x16 grey, where a second hardly helps."""
    return 1 if math.prod(shape) <= 256 else torch.get_num_threads()


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Let torch use `n` threads for a while.

    On small work several gain little, and lose tenfold where the cores are shared with others.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _augment(x: Tensor) -> Tensor:
    """Each image under an affine map of its own, near the identity; what comes in is background."""
    u = 2 * torch.rand(5, len(x)) - 1
    angle, stretch, shear = 0.15 * u[0], 1 + 0.1 * u[1], 0.15 * u[2]
    right, down = 0.12 * u[3], 0.12 * u[4]  # in half-widths
    cos, sin = stretch * angle.cos(), stretch * angle.sin()
    theta = torch.stack([cos, shear - sin, right, sin, cos, down], dim=1).reshape(-1, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x + 1, grid, align_corners=False) - 1


@torch.no_grad()
def look(
    judge: Judge, x: Float[Tensor, "n C H W"]
) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, "n K"]]:
    """The judge's features and log-probabilities of `x` clipped to [-1, 1], in float64."""
    parts = [part.to(judge.feature_scale).clamp(-1, 1) for part in x.split(2048)]
    features = torch.cat([judge.features(part) for part in parts])
    log_p = torch.cat([judge(part) for part in parts]).double().log_softmax(dim=1)
    return features.double().cpu().numpy(), log_p.cpu().numpy()


def accuracy(log_p: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The share judged right, and the standard deviation of Beta(right + 1, wrong + 1)."""
    right, n = int((log_p.argmax(1) == y).sum()), len(y)
    p = (right + 1) / (n + 2)
    return right / n, math.sqrt(p * (1 - p) / (n + 3))


def check_images(data: Dataset, least: int = 2) -> None:
    """Refuse images that are too small for a judge, or fewer than `least` of a class."""
    if min(data.shape[1:]) < 8:
        raise UsageError(f"data = {data.name}: images are {data.shape}, 8x8 or more is needed")
    check_counts("data", data.y, data.num_classes, least)


def check_counts(name: str, y: Tensor, K: int, least: int = 2) -> None:
    """Refuse labels that have a class of fewer than `least`."""
    counts = torch.bincount(y.cpu(), minlength=K)
    if int(counts.min()) < least:
        raise UsageError(
            f"{name} has {int(counts.min())} of class {int(counts.argmin())}: "
            f"{least} or more of each class are needed"
        )
