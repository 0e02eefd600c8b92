"""Compare samples with their nearest training images, to show whether a model copies its data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from minicfg.cli.real_images import RealImages
from minicfg.metrics.nearest import distance_ratio, nearest_images
from minicfg.viz import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_COMPARED = 1000  # samples at each w; of real images, at most max(8, 1000 // K) per class
MAX_SHOWN = 10


def distances_of_real_images(real: RealImages) -> tuple[Tensor, Tensor]:
    """The distances from some real images to the nearest training image, and their labels.

    The real images are held-out ones. If there are none, they are training images, and the distance
    is that to the nearest other one.
    """
    y = real.compared.labels
    each = max(8, MAX_COMPARED // real.compared.num_classes)
    of_classes = [torch.nonzero(y == label).flatten()[:each] for label in y.unique()]
    some = torch.cat(of_classes)
    skip = None if real.is_held_out else some
    distances, _ = nearest_images(real.compared.x[some], real.training.x, skip)
    return distances, y[some]


def ratio_and_picture(
    w: float, x: Tensor, y: Tensor, real: RealImages, of_real: tuple[Tensor, Tensor]
) -> tuple[float | None, Figure]:
    """The `distance_ratio` of samples, and a picture of the first ones with their nearest images.

    Args:
        w: their guidance weight, for the title.
        x: the samples, (n, C, H, W), in -1..1.
        y: their labels among the scored classes, int64, (n,), in 0..K-1.
        real: the real images, of which the training images are used.
        of_real: the result of `distances_of_real_images`.
    """
    some = x[:MAX_COMPARED].cpu()
    labels = y[:MAX_COMPARED].cpu()
    distances, index = nearest_images(some, real.training.x)
    ratio = distance_ratio(distances, labels, *of_real)
    shown = min(MAX_SHOWN, len(some))
    cells = torch.stack([some[:shown], real.training.x[index[:shown]]])
    names = [real.training.classes[int(label)] for label in labels[:shown]]
    title = f"w = {w:g}: samples, and the training image nearest to each in pixels"
    return ratio, plots.image_grid(cells, ["sample", "nearest"], names, title)


def ratio_sentence(ws: Sequence[float], ratios: Sequence[float | None], real: RealImages) -> str:
    """Say in words what the ratios are and what they mean."""
    others = (
        "from a held-out image to the nearest training image"
        if real.is_held_out
        else "from a training image to the nearest other one"
    )
    if None in ratios:
        return (
            "It cannot be said whether the samples are copies: of some class, more than half of "
            f"the distances {others} are 0."
        )
    values = ", ".join(f"{r:.2f} at w = {w:g}" for w, r in zip(ws, ratios, strict=True))
    return (
        "The distance from a sample to the nearest training image, divided by the typical distance "
        f"{others} (Euclidean in pixels, medians, within each class), is {values}. Near 0 the "
        "samples are copies. Blurred or simplified samples also have a ratio below 1, so compare "
        "the pairs in nearest.png."
    )
