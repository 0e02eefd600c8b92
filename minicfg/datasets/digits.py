"""The handwritten digits that come with scikit-learn."""

from __future__ import annotations

import torch

from minicfg.data import Dataset
from minicfg.datasets.arrays import numbered_classes


def digits() -> Dataset:
    """Return the 1,797 digits: grey images of 8x8 pixels, whose values 0..16 become -1..1."""
    from sklearn.datasets import load_digits  # This import takes a second.

    images, labels = load_digits(return_X_y=True)
    return Dataset(
        x=(torch.from_numpy(images) / 8 - 1).float().reshape(-1, 1, 8, 8),
        y=torch.from_numpy(labels).long(),
        classes=numbered_classes(10),
        name="digits",
    )
