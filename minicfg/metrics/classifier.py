"""A small classifier, trained on real images, whose predictions and features score samples.

`evaluate` compares the class that it predicts for a sample with the class that was requested, and
compares samples with real images in the space of its features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.philox import as_integer
from minicfg.data import Dataset, split
from minicfg.errors import UsageError, check_type, short_repr
from minicfg.metrics.stratified import limit_size
from minicfg.threads import thread_count, threads

if TYPE_CHECKING:
    from jaxtyping import Float

STEPS = 400
BATCH = 128


class Classifier(nn.Module):
    """A small convolutional classifier of (C, H, W) images; `train_classifier` trains one.

    The features are scaled so that their variance, averaged over the coordinates and taken over the
    training images, is 1. The trace of their covariance is then `dim`, and a Frechet distance reads
    as a fraction of it.
    """

    feature_scale: Tensor
    held_out: Dataset
    held_out_accuracy: float

    def __init__(self, shape: tuple[int, ...], num_classes: int, dim: int = 48) -> None:
        super().__init__()
        self.shape = shape
        self.num_classes = num_classes
        channels, *size = shape
        width = 16
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        while min(size) > 4:
            layers += [nn.Conv2d(width, 32, 3, stride=2, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
            width = 32
            size = [(side + 1) // 2 for side in size]
        layers += [nn.Flatten(), nn.Dropout(0.2), nn.Linear(width * math.prod(size), dim)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(dim, num_classes)
        self.register_buffer("feature_scale", torch.ones(()))

    def features_and_logits(
        self, x: Float[Tensor, "B C H W"]
    ) -> tuple[Float[Tensor, "B dim"], Float[Tensor, "B K"]]:
        """The scaled features, and the logits that the last layer computes from them.

        The last layer reads the features before scaling, after a ReLU.
        """
        hidden = self.body(x)
        return hidden * self.feature_scale, self.head(F.relu(hidden))

    def features(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B dim"]:
        """The scaled features."""
        return self.features_and_logits(x)[0]

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """The logits of the classes."""
        return self.features_and_logits(x)[1]


def train_classifier(
    data: Dataset,
    *,
    seed: int = 0,
    steps: int = STEPS,
    advance: Callable[[int, str], object] | None = None,
) -> Classifier:
    """Train a classifier on 4/5 of the real images in `data`.

    The other fifth, or 10,000 images of it, is `classifier.held_out`. The accuracy on these images,
    about 99 % for digits, is `classifier.held_out_accuracy`. Training uses AdamW, and augments the
    images by small rotations, scalings, shears and shifts. Images are never mirrored, because a
    mirrored digit is not a digit. The result is a function of (data, seed, steps), and torch's
    global generator keeps its state.

    Args:
        data: real images of at least 8x8 pixels, at least two per class.
        seed: seed of the split, the weights and the batches, 0..2^64-1.
        steps: number of training steps, each with 128 images, at least 1.
        advance: called after every step with 1 and a note, which is empty, to show progress; None
            to show nothing.

    Raises:
        UsageError: if `data` has another type or no images, or the images, a class or `steps` is
            too small.
    """
    check_type("data", data, Dataset, "pass a minicfg.Dataset")
    if as_integer(steps) is None:
        raise UsageError(f"steps = {short_repr(steps)} is not an integer: give 1 or more")
    if steps < 1:
        raise UsageError(f"steps = {steps} trains nothing: give 1 or more")
    check_images(data)
    train, held_out = split(data, 0.2, seed)
    with torch.random.fork_rng(devices=[]), threads(thread_count(data.shape)):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
        classifier = Classifier(data.shape, data.num_classes)
        optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.01, fused=True)
        for i in range(steps):
            batch = torch.randint(len(train), (BATCH,))
            warm_up = min(1, 5 * (i + 1) / steps)
            decay = math.cos(math.pi / 2 * i / steps) ** 2
            optimizer.param_groups[0]["lr"] = 3e-3 * warm_up * decay
            optimizer.zero_grad()
            logits = classifier(_augment(train.x[batch]))
            F.cross_entropy(logits, train.labels[batch]).backward()
            optimizer.step()
            if advance is not None:
                advance(1, "")
    classifier.eval().requires_grad_(False)
    features, _ = features_and_log_probabilities(classifier, limit_size(train).x)
    classifier.feature_scale.fill_(features.var(axis=0).mean() ** -0.5)
    classifier.held_out = limit_size(held_out)
    _, log_p = features_and_log_probabilities(classifier, classifier.held_out.x)
    classifier.held_out_accuracy, _ = accuracy(log_p, classifier.held_out.labels.numpy())
    return classifier


def _augment(x: Tensor) -> Tensor:
    """Apply a random affine map near the identity to each image, and fill the border with -1."""
    u = 2 * torch.rand(5, len(x)) - 1
    angle = 0.15 * u[0]
    stretch = 1 + 0.1 * u[1]
    shear = 0.15 * u[2]
    right = 0.12 * u[3]  # in half-widths, as the next line
    down = 0.12 * u[4]
    cos = stretch * angle.cos()
    sin = stretch * angle.sin()
    theta = torch.stack([cos, shear - sin, right, sin, cos, down], dim=1).reshape(-1, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x + 1, grid, align_corners=False) - 1


@torch.no_grad()
def features_and_log_probabilities(
    classifier: Classifier, x: Float[Tensor, "n C H W"]
) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, "n K"]]:
    """The features and the log-probabilities of `x`, clipped to [-1, 1], in float64."""
    features: list[Tensor] = []
    logits: list[Tensor] = []
    for part in x.split(2048):
        clipped = part.to(classifier.feature_scale).clamp(-1, 1)
        some_features, some_logits = classifier.features_and_logits(clipped)
        features.append(some_features)
        logits.append(some_logits)
    log_p = torch.cat(logits).double().log_softmax(dim=1)
    return torch.cat(features).double().cpu().numpy(), log_p.cpu().numpy()


def accuracy(log_p: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The fraction classified correctly, and its standard error.

    The standard error is the standard deviation of the posterior under a uniform prior, which is
    Beta(right + 1, wrong + 1).
    """
    n = len(y)
    right = int((log_p.argmax(1) == y).sum())
    p = (right + 1) / (n + 2)
    return right / n, math.sqrt(p * (1 - p) / (n + 3))


def check_images(data: Dataset, least: int = 2) -> None:
    """Refuse images smaller than 8x8, and classes with fewer than `least` images."""
    if len(data.shape) != 3:
        raise UsageError(
            f"data = {data.name} has samples of shape {data.shape}: the classifier takes images "
            "(C, H, W)"
        )
    if min(data.shape[1:]) < 8:
        raise UsageError(
            f"data = {data.name}: images are {data.shape}, but the classifier takes images of "
            "8x8 or more: enlarge them"
        )
    check_counts("data", data.labels, data.num_classes, least)


def check_counts(name: str, y: Tensor, K: int, least: int = 2) -> None:
    """Refuse labels in which a class occurs fewer than `least` times."""
    counts = torch.bincount(y.cpu(), minlength=K)
    if int(counts.min()) < least:
        raise UsageError(
            f"{name} has {int(counts.min())} of class {int(counts.argmin())}: {least} or more of "
            "each class must be there to be scored, so add some of this class"
        )
