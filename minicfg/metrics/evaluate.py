"""`evaluate` scores samples with a classifier of real images, next to the scores of real images.

A sample is relevant if it belongs to the class that was requested. The measures of relevance are
the classifier's accuracy, the Inception score and precision. Diversity is measured by the spread
within a class and by recall. The Frechet distance depends on both. All distances are taken between
the classifier's features, so scores are comparable only for one data set and one classifier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import mean, stdev
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from minicfg.config import check_integer
from minicfg.data import Dataset
from minicfg.errors import UsageError, check_type
from minicfg.metrics.classifier import (
    Classifier,
    accuracy,
    check_counts,
    features_and_log_probabilities,
)
from minicfg.metrics.frechet import Moments, distance_of_moments, moments
from minicfg.metrics.inception_score import inception_score
from minicfg.metrics.precision_recall import precision_recall, precision_recall_of_distances
from minicfg.metrics.spread import within_class_spread
from minicfg.metrics.stratified import limit_size, stratified_order, stratified_part

if TYPE_CHECKING:
    from jaxtyping import Float, Int

HALVINGS = 10  # of the real images, for the Frechet distance and its floor
FOLDS = 20  # of the samples, for the jackknife's standard errors
HALVES = 40  # of the samples, for the standard errors of precision and recall
MIN_SAMPLES_PER_CLASS = 4
MIN_REAL_IMAGES = 8


@dataclass(frozen=True)
class Scores:
    """The scores of `n` samples; `_se` is the standard error over the draw of the samples."""

    accuracy: float
    frechet: float
    frechet_floor: float
    inception_score: float
    spread: float
    precision: float
    recall: float
    n: int
    accuracy_se: float
    frechet_se: float
    inception_score_se: float
    spread_se: float
    precision_se: float
    recall_se: float


def evaluate(
    x: Float[Tensor, "n C H W"], y: Int[Tensor, " n"], classifier: Classifier, real: Dataset
) -> Scores:
    """Score samples `x`, which were asked to be of the classes `y`, against `real` images.

    The scores are functions of the arguments: every random choice has a fixed seed. N is the number
    of real images; of more than 10,000, a fixed random part of 10,000 is used, in which the classes
    have their proportions.

    - `accuracy`: the fraction, in 0..1, that the classifier assigns to the class asked for. Its
      standard error is that of the posterior under a uniform prior, which is not 0 if every sample
      is right.
    - `frechet`: the Frechet distance (Heusel et al. 2017, arXiv:1706.08500), 0 or more, is biased
      upward, and more so for fewer samples. So it is measured at one size only, `m = min(n, N / 2)`
      samples against m real images, next to `frechet_floor`, m *other* real images against the same
      m. Both are averages over 10 fixed random halvings of the real images, each with the classes
      in their proportions. A generator that samples the distribution of the data scores its floor
      beside held-out images. Beside its training images, a generator that has memorised them scores
      the floor too, or less.
    - `inception_score`: from 1 to K (Salimans et al. 2016, arXiv:1606.03498), with the classifier
      in place of Inception, as `inception_score` defines it.
    - `spread`: `within_class_spread` of the samples, 0 or more, grouped by the class asked for,
      divided by that of the real images. At 1 the samples are as diverse as the real images.
    - `precision`, `recall`: `precision_recall` of m samples and the first m of those real images,
      in 0..1 (Kynkaanniemi et al. 2019, arXiv:1904.06991).

    The other standard errors come from a jackknife: they follow from how much the score changes
    when one of 20 parts of the samples is left out. Precision and recall jump when a single sample
    is left out; for such statistics Shao and Wu (1989, Annals of Statistics 17) leave out more.
    Their standard errors are the scatter over 40 random halves. A bootstrap is not used, because it
    draws some samples twice: in a trial this raised the Frechet distance and its standard error by
    half, and lowered the standard error of recall to three quarters of its value. The standard
    errors describe the draw of the samples, not that of the real images.

    Args:
        x: samples in the shape of the real images, floats. They are clipped to [-1, 1] first, as a
            picture of them would be.
        y: labels 0..K-1, int64, each at least 4 times, in about the proportions of the real ones.
        classifier: the result of `train_classifier` for the classes of `real`. It may have been
            trained on `real` or on other images of the same classes.
        real: real images, at least two per class and eight in all. Held-out images are better than
            the training images of the generator.

    Returns:
        The scores of all n samples.

    Raises:
        UsageError: if an argument has a wrong shape, type or value; it is named.
    """
    _check(x, y, classifier, real)
    labels = y.cpu().numpy()
    features, log_p = features_and_log_probabilities(classifier, x)
    real_features, real_labels = _real_features(classifier, real)
    real_spread = within_class_spread(real_features, real_labels)
    parts = _halvings(real_features, real_labels, len(x))
    first_half = parts[0][0]
    m = len(first_half)

    # Every random order of the samples comes from one generator, so the sequence of draws matters.
    rng = np.random.default_rng(0)
    subsets = [stratified_order(labels, rng)[:m] for _ in parts]
    chosen = stratified_order(labels, rng)[:m]
    folds = np.array_split(stratified_order(labels, rng), min(FOLDS, len(x)))

    halves = [moments(half) for half, _ in parts]
    others = [moments(other) for _, other in parts]
    distances = [
        distance_of_moments(moments(features[subset]), half)
        for subset, half in zip(subsets, halves, strict=True)
    ]
    floors = [distance_of_moments(half, other) for half, other in zip(halves, others, strict=True)]
    frechet_se, inception_score_se, spread_se = _jackknife(
        features, log_p, labels, folds, halves, real_spread
    )
    (precision, recall), (precision_se, recall_se) = _precision_recall(
        features[chosen], labels[chosen], first_half, rng
    )
    right, right_se = accuracy(log_p, labels)
    return Scores(
        accuracy=right,
        frechet=mean(distances),
        frechet_floor=mean(floors),
        inception_score=inception_score(log_p),
        spread=within_class_spread(features, labels) / real_spread,
        precision=precision,
        recall=recall,
        n=len(x),
        accuracy_se=right_se,
        frechet_se=frechet_se,
        inception_score_se=inception_score_se,
        spread_se=spread_se,
        precision_se=precision_se,
        recall_se=recall_se,
    )


def evaluate_real(classifier: Classifier, real: Dataset, unseen: Dataset, n: int) -> Scores:
    """The scores of real images under the same conditions as `n` samples, for comparison.

    Accuracy, Inception score and spread are those of `unseen`, or of `n` of these images if there
    are more. Frechet distance, precision and recall compare images of `real` with others of `real`,
    and their standard errors are the scatter over the halvings.

    Args:
        classifier: as for `evaluate`.
        real: as for `evaluate`.
        unseen: real images that the classifier was not trained on, at least 4 per class: `real`
            itself if it is held out, else `classifier.held_out`.
        n: the number of samples, at least 4 per class.

    Raises:
        UsageError: if an argument has a wrong type or value.
    """
    check_type("classifier", classifier, Classifier, "pass the result of train_classifier")
    check_type("real", real, Dataset, "pass a minicfg.Dataset of real images")
    check_type("unseen", unseen, Dataset, "pass a minicfg.Dataset of real images")
    check_integer("n", n, MIN_SAMPLES_PER_CLASS * max(real.num_classes, 1), 2**32)
    parts = _halvings(*_real_features(classifier, real), n)
    floors = [distance_of_moments(moments(half), moments(other)) for half, other in parts]
    covered = np.array([precision_recall(other, half) for half, other in parts])
    precision, recall = covered.mean(0).tolist()
    precision_se, recall_se = covered.std(0, ddof=1).tolist()
    some = stratified_part(unseen.labels.numpy(), n, least=MIN_SAMPLES_PER_CLASS)
    return replace(
        evaluate(unseen.x[some], unseen.labels[some], classifier, real),
        frechet=mean(floors),
        frechet_floor=mean(floors),
        frechet_se=stdev(floors),
        precision=precision,
        recall=recall,
        precision_se=precision_se,
        recall_se=recall_se,
    )


def _jackknife(
    features: np.ndarray,
    log_p: np.ndarray,
    labels: np.ndarray,
    folds: list[np.ndarray],
    halves: list[Moments],
    real_spread: float,
) -> list[float]:
    """The standard errors of the Frechet distance, the Inception score and the spread."""
    without_a_fold: list[tuple[float, float, float]] = []
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(features)), fold)
        rest_moments = moments(features[rest])
        scores = (
            mean([distance_of_moments(rest_moments, half) for half in halves]),
            inception_score(log_p[rest]),
            within_class_spread(features[rest], labels[rest]) / real_spread,
        )
        without_a_fold.append(scores)
    return np.sqrt((len(folds) - 1) * np.array(without_a_fold).var(axis=0)).tolist()


def _precision_recall(
    samples: np.ndarray, labels: np.ndarray, real: np.ndarray, rng: np.random.Generator
) -> tuple[tuple[float, float], list[float]]:
    """Precision and recall of m samples, and their standard errors from random halves of these."""
    m = len(samples)
    among_samples = cdist(samples, samples)
    among_real = cdist(real, real)
    across = cdist(samples, real)
    k = min(3, m - 1)
    k_of_half = min(k, m // 2 - 1)
    of_halves: list[tuple[float, float]] = []
    for _ in range(HALVES):
        half = stratified_order(labels, rng)[: m // 2]
        among_half = among_samples[np.ix_(half, half)]
        of_halves.append(
            precision_recall_of_distances(among_half, among_real, across[half], k_of_half)
        )
    return (
        precision_recall_of_distances(among_samples, among_real, across, k),
        np.std(of_halves, axis=0, ddof=1).tolist(),
    )


@lru_cache(maxsize=1)  # samples at many weights are compared with the same images
def _real_features(classifier: Classifier, real: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The features and labels of the real images, or of `MAX_REAL_IMAGES` of them.

    Neither the images nor a trained classifier change any more.
    """
    some = limit_size(real)
    features, _ = features_and_log_probabilities(classifier, some.x)
    return features, some.labels.numpy()


def _halvings(features: np.ndarray, y: np.ndarray, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random disjoint pairs of parts of the real images, each of `n`, or of half if too few."""
    m = min(n, len(y) // 2)
    rng = np.random.default_rng(0)
    orders = [stratified_order(y, rng) for _ in range(HALVINGS)]
    return [(features[order[:m]], features[order[m : 2 * m]]) for order in orders]


def _check(x: Tensor, y: Tensor, classifier: Classifier, real: Dataset) -> None:
    """Refuse samples, labels and classifiers that do not fit the real images."""
    check_type("x", x, Tensor, "pass a tensor of samples (n, C, H, W)")
    check_type("y", y, Tensor, "pass an int64 tensor, one label per sample")
    check_type("classifier", classifier, Classifier, "pass the result of train_classifier")
    check_type("real", real, Dataset, "pass a minicfg.Dataset of real images")
    K = real.num_classes
    if classifier.shape != real.shape or classifier.num_classes != K:
        raise UsageError(
            f"classifier has {classifier.num_classes} classes of {classifier.shape}, "
            f"but {real.name} has {K} of {real.shape}: use train_classifier on {real.name}"
        )
    if x.ndim != 4 or x.shape[1:] != real.shape or not x.is_floating_point():
        raise UsageError(
            f"x is {x.dtype} {tuple(x.shape)}: pass floats in the shape (n, *{real.shape})"
        )
    if not bool(torch.isfinite(x).all()):
        raise UsageError("x holds values that are not finite: find out why the sampler made them")
    if y.dtype != torch.int64 or y.shape != x.shape[:1]:
        raise UsageError(
            f"y is {y.dtype} {tuple(y.shape)}: pass int64 ({len(x)},), one label per sample"
        )
    if len(y) and (int(y.min()) < 0 or int(y.max()) >= K):
        raise UsageError(f"y holds {int(y.min())}..{int(y.max())}: labels are 0..{K - 1}")
    check_counts("y", y, K, MIN_SAMPLES_PER_CLASS)  # so that two are left when a part is left out
    check_counts("real", real.labels, K)
    if len(real) < MIN_REAL_IMAGES:
        raise UsageError(
            f"real has {len(real)} images: pass {MIN_REAL_IMAGES} or more, so that each half has a "
            "covariance and nearest neighbours"
        )
