"""The Inception score, computed with the classifier of the course in place of Inception."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minicfg.errors import UsageError
from minicfg.metrics.features import check_array

if TYPE_CHECKING:
    from jaxtyping import Float


def inception_score(log_probabilities: Float[np.ndarray, "n K"]) -> float:
    """`exp E KL(p(y|x) || p(y))`, from 1 to K (Salimans et al. 2016, arXiv:1606.03498).

    It is large if the classifier is certain about each image and the classes are equally frequent.
    It does not measure how much the images of one class differ; `within_class_spread` does. Because
    the classifier is not Inception, the values are not comparable with those in papers.
    """
    _check(log_probabilities)
    log_p = log_probabilities
    p = np.exp(log_p)
    marginal = np.log(np.maximum(p.mean(0), np.finfo(np.float64).tiny))
    # p log p is 0 where p is 0, though the logarithm is not finite.
    divergence = np.where(p > 0, p * (np.maximum(log_p, -1e300) - marginal), 0).sum(1)
    return float(np.exp(divergence.mean()))


def _check(log_p: np.ndarray) -> None:
    """Refuse what is not the logarithm of one distribution per row."""
    check_array("log_probabilities", log_p)
    if log_p.ndim != 2 or not len(log_p) or not np.allclose(np.exp(log_p).sum(1), 1, atol=1e-4):
        raise UsageError(
            f"log_probabilities, {log_p.shape}: pass (n, K) with n >= 1, each row's exponentials "
            "adding up to 1 (log_softmax of logits)"
        )
