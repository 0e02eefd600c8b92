"""The nearest training image of each sample, which shows whether a model copies its data.

Distances are Euclidean, between pixels. In pixels a copy has distance 0, whatever the classifier's
features are. Images that are blurred, or simpler than the real ones, lie nearer to all images. So a
small distance alone does not prove copying: look at the pairs.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from minicfg.errors import UsageError, check_type

if TYPE_CHECKING:
    from jaxtyping import Float, Int

PART = 1024  # images compared at a time, so that the table of distances stays small


def nearest_images(
    x: Float[Tensor, "n C H W"],
    images: Float[Tensor, "N C H W"],
    skip: Int[Tensor, " n"] | None = None,
) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """The Euclidean distance from each image of `x` to the nearest of `images`, and its index.

    Args:
        x: samples.
        images: to compare with, on the same device.
        skip: for each image of `x`, the index of one of `images` to leave out: itself, if `x` is a
            part of `images`.

    Raises:
        UsageError: if the images are not floats, their shapes do not fit, or no image is left.
    """
    for name, values in (("x", x), ("images", images)):
        check_type(name, values, Tensor, "pass a tensor of floats, (n, C, H, W)")
        if not values.is_floating_point():
            raise UsageError(f"{name} is {values.dtype}: pass a tensor of floats, (n, C, H, W)")
    if x.ndim != 4 or x.shape[1:] != images.shape[1:] or len(images) <= (skip is not None):
        raise UsageError(
            f"x has shape {tuple(x.shape)} and images {tuple(images.shape)}: pass images of one "
            "shape, (n, C, H, W), and at least one that is not left out"
        )
    rows = x.flatten(1)
    squares = rows.square().sum(1, keepdim=True)
    least = torch.full((len(x),), torch.inf, device=x.device)
    index = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    for first in range(0, len(images), PART):
        part = images[first : first + PART].flatten(1)
        # |a - b|^2 = |a|^2 + |b|^2 - 2 a b, which rounding may make inexact or negative.
        squared = squares + part.square().sum(1) - 2 * rows @ part.T
        if skip is not None:
            inside = (first <= skip) & (skip < first + len(part))
            squared[inside, skip[inside] - first] = torch.inf
        value, place = squared.min(1)
        index = torch.where(value < least, first + place, index)
        least = torch.minimum(value, least)
    # The distance to the chosen image is exact to a few roundings. Another image can be nearer by
    # less than the rounding error of the squares.
    distance = (rows - images[index].flatten(1)).norm(dim=1)
    return distance, index


def distance_ratio(
    distances: Float[Tensor, " n"],
    y: Int[Tensor, " n"],
    real_distances: Float[Tensor, " m"],
    real_y: Int[Tensor, " m"],
) -> float | None:
    """The median over the samples of distance / median distance of real images of the same class.

    The distances are those to the nearest training image. The ratio is near 1 if the samples are as
    far from the training images as other real images are, and 0 if they are copies. Classes are
    compared with themselves, because the images of some are more alike than those of others.

    Returns:
        The ratio, or None if a median distance of real images is 0, so that there is no ratio: more
        than half of them are training images too.
    """
    ratios: list[float] = []
    for label in y.unique():
        of_real = real_distances[real_y == label]
        if not len(of_real):
            raise UsageError(
                f"real_y has no label {int(label)}: pass distances of real images of each class"
            )
        typical = median(of_real.tolist())
        if typical == 0:
            return None
        ratios += [distance / typical for distance in distances[y == label].tolist()]
    return median(ratios)
