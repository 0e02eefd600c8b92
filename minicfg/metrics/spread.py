"""The spread within a class: how much the samples of one class differ from each other."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from minicfg.errors import UsageError
from minicfg.metrics.features import check_array

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def within_class_spread(features: Float[np.ndarray, "n d"], y: Int[np.ndarray, " n"]) -> float:
    """The trace of a class's covariance, averaged over the classes in `y`.

    It is 0 if all samples of a class are equal. Every class has the same weight in the average.
    """
    _check(features, y)
    groups = [features[y == label] for label in np.unique(y)]
    return mean([float(group.var(axis=0, ddof=1).sum()) for group in groups])


def _check(features: np.ndarray, y: np.ndarray) -> None:
    """Refuse features without labels, or without a variance in each class."""
    check_array("features", features)
    check_array("y", y)
    if features.ndim != 2 or y.shape != features.shape[:1]:
        raise UsageError(
            f"features, {features.shape}, and y, {y.shape}: pass (n, d) and (n,), one label per row"
        )
    if not np.isfinite(features).all():
        raise UsageError(
            f"features has {len(features)} rows, not all finite: "
            "remove the rows with NaN or infinity"
        )
    _, counts = np.unique(y, return_counts=True)
    if not len(counts) or counts.min() < 2:
        raise UsageError(
            "y has a class of fewer than 2 samples, too few for a variance: add samples of it"
        )
