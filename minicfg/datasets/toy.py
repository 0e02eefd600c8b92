"""A toy data set with a known distribution: points of a Gaussian mixture, drawn as dots."""

from __future__ import annotations

import numpy as np
import torch

from minicfg.data import Dataset

DOT_STD = 1.2  # Standard deviation of the brightness of a dot, in pixels.


def dots(n: int = 3000, side: int = 16) -> Dataset:
    """Draw `n` points of three Gaussians in the plane, each as an image with one soft dot.

    The images have `side` x `side` pixels. The points come from a fixed seed, so the data set is
    always the same.

    Class k is N(mean_k, I / 4). The three means lie on a circle of radius 1.5, the first at the
    top. An image shows the square from -4 to 4.
    """
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    angle = np.pi / 2 + 2 * np.pi / 3 * y
    means = 1.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = means + 0.5 * rng.standard_normal((n, 2))
    right = points[:, 0]
    up = points[:, 1]
    # Distances from the dot to the columns and to the rows, in units of its standard deviation.
    pixel = np.arange(side)
    centre = (side - 1) / 2
    column = (pixel - (centre + right[:, None] * side / 8)) / DOT_STD
    row = (pixel - (centre - up[:, None] * side / 8)) / DOT_STD
    x = 2 * np.exp(-(row[:, :, None] ** 2 + column[:, None, :] ** 2) / 2) - 1
    return Dataset(
        x=torch.from_numpy(x[:, None]).float(),
        y=torch.from_numpy(y),
        classes=("top", "left", "right"),
        name="toy:dots",
    )
