"""Improved precision and recall, from the distances between nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist

from kernels.philox import as_integer
from minicfg.errors import UsageError, short_repr
from minicfg.metrics.features import check_two_samples

if TYPE_CHECKING:
    from jaxtyping import Float


def precision_recall(
    samples: Float[np.ndarray, "n d"], real: Float[np.ndarray, "m d"], k: int = 3
) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, arXiv:1904.06991), each in 0..1.

    Around each point of a set lies a ball that reaches to the point's `k`-th nearest neighbour in
    the set. The set covers the union of its balls. Precision is the fraction of samples that the
    real images cover; recall is the fraction of real images that the samples cover. Both depend on
    `n` and `m`, so compare them only between samples of equal sizes.

    Raises:
        UsageError: if an argument is not an array of finite numbers, the arrays differ in d, or one
            has no more than `k` rows.
    """
    _check(samples, real, k)
    return precision_recall_of_distances(
        cdist(samples, samples), cdist(real, real), cdist(samples, real), k
    )


def precision_recall_of_distances(
    among_samples: Float[np.ndarray, "n n"],
    among_real: Float[np.ndarray, "m m"],
    across: Float[np.ndarray, "n m"],
    k: int,
) -> tuple[float, float]:
    """The same from three tables of distances, for callers who use a table more than once."""
    # A point is its own nearest neighbour, at place 0, so its k-th other neighbour is at place k.
    radius = np.partition(among_samples, k, axis=1)[:, k]
    real_radius = np.partition(among_real, k, axis=1)[:, k]
    precision = (across <= real_radius).any(1).mean()
    recall = (radius >= across.T).any(1).mean()
    return float(precision), float(recall)


def _check(samples: np.ndarray, real: np.ndarray, k: int) -> None:
    """Refuse features whose distances are undefined, and sets without a `k`-th neighbour."""
    check_two_samples(samples=samples, real=real)
    if as_integer(k) is None:
        raise UsageError(f"k = {short_repr(k)} is not an integer: choose k >= 1, such as 3")
    if k < 1 or min(len(samples), len(real)) <= k:
        raise UsageError(
            f"k = {k}, {len(samples)} samples, {len(real)} real images: choose k >= 1, and pass "
            "more than k of each"
        )
