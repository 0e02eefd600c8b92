"""The Frechet distance between two samples of features, each taken as a Gaussian."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from minicfg.errors import UsageError
from minicfg.metrics.features import check_two_samples
from minicfg.threads import threads

if TYPE_CHECKING:
    from jaxtyping import Float

# The mean of a sample, and a matrix R with R^T R its covariance.
Moments = tuple[Tensor, Tensor]


def frechet_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    """`|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))`, with the moments of the two samples.

    (Heusel et al. 2017, arXiv:1706.08500.) Let `a - mu_a = Q_a R_a` be a QR decomposition. Then
    `S_a` is `R_a^T R_a / (n - 1)`, and `S_a S_b` has the eigenvalues of `M^T M`, where `M` is
    `R_a R_b^T / sqrt((n - 1) (m - 1))`. So the trace of the root is the sum of the singular values
    of `M`. This way never forms a covariance, and never takes the square root of an eigenvalue that
    rounding has made negative, so singular covariances lose no digits. The error is a few roundings
    of `tr S_a + tr S_b`.

    The estimate is biased upward, by an amount that falls as 1/n and 1/m. Compare distances only
    between samples of equal sizes.

    Args:
        a: features of two images or more, one row each.
        b: features of other images.

    Returns:
        The distance, 0 or more.

    Raises:
        UsageError: if an argument is not an array of finite numbers, has fewer than two rows, or
            the arrays differ in d.
    """
    _check(a, b)
    return distance_of_moments(moments(a), moments(b))


def moments(sample: np.ndarray) -> Moments:
    """The mean, and R with `R^T R` the covariance."""
    rows = torch.from_numpy(sample).double()
    mu = rows.mean(0)
    with threads(1):
        R = torch.linalg.qr(rows - mu, mode="r").R
    return mu, R / math.sqrt(len(rows) - 1)


def distance_of_moments(a: Moments, b: Moments) -> float:
    """The Frechet distance between two samples, from what `moments` returned for each."""
    mu_a, R_a = a
    mu_b, R_b = b
    with threads(1):
        overlap = torch.linalg.svdvals(R_a @ R_b.T).sum()
    distance = ((mu_a - mu_b) ** 2).sum() + (R_a**2).sum() + (R_b**2).sum() - 2 * overlap
    return max(0.0, float(distance))


def _check(a: np.ndarray, b: np.ndarray) -> None:
    """Refuse samples without a covariance, or of features that cannot be compared."""
    check_two_samples(a=a, b=b)
    for name, sample in (("a", a), ("b", b)):
        if len(sample) < 2:
            raise UsageError(
                f"{name} has {len(sample)} rows, too few for a covariance: pass two or more"
            )
