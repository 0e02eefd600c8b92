"""How good samples are: by a judge that has seen real images only, beside what real images score.

Relevance (is it the class that was asked for?) is the judge's accuracy and the Inception-style
score, and precision; diversity is the spread within a class, and recall; the Frechet distance
feels both. The features are the judge's own, so the figures compare samples of one data set under
one judge, and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import mean, stdev
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from minicfg.data import Dataset
from minicfg.errors import UsageError
from minicfg.metrics.classifier import Judge, accuracy, check_counts, look, threads

if TYPE_CHECKING:
    from jaxtyping import Float, Int

HALVINGS = 10  # of the real images, for the Frechet distance and its floor
FOLDS = 20  # of the samples, for standard errors
HALVES = 40  # of the samples, for those of precision and recall


Moments = tuple[Tensor, Tensor]  # a mean, and a root of a covariance


@dataclass(frozen=True)
class Scores:
    """What `evaluate` found of `n` samples; `_se` is the standard error over drawing them."""

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


def frechet_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    """`|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))`: between the Gaussians of two samples.

    (Heusel et al. 2017, arXiv:1706.08500.) With `a - mu_a = Q_a R_a`, a QR decomposition, `S_a` is
    `R_a^T R_a / (n - 1)`. So `S_a S_b` has the eigenvalues of `M^T M`, where `M` is
    `R_a R_b^T / sqrt((n - 1) (m - 1))`, and the trace of its root is the sum of the singular values
    of `M`. Covariances are never formed, nor a square root taken of what rounding made negative:
    singular ones cost no digits. The error is a few roundings of `tr S_a + tr S_b`.

    Biased upward, by an amount that falls as 1/n and 1/m: compare equal sizes only.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise UsageError(f"a has shape {a.shape} and b {b.shape}: (n, d) and (m, d) are needed")
    for name, sample in (("a", a), ("b", b)):
        if len(sample) < 2 or not np.isfinite(sample).all():
            raise UsageError(f"{name} has {len(sample)} rows: two or more finite ones are needed")
    return _distance(_moments(a), _moments(b))


def _moments(sample: np.ndarray) -> Moments:
    """The mean, and R with `R^T R` the covariance."""
    rows = torch.from_numpy(sample).double()
    mu = rows.mean(0)
    with threads(1):
        return mu, torch.linalg.qr(rows - mu, mode="r").R / math.sqrt(len(rows) - 1)


def _distance(a: Moments, b: Moments) -> float:
    """`frechet_distance` of what `_moments` found."""
    (mu_a, R_a), (mu_b, R_b) = a, b
    with threads(1):
        overlap = torch.linalg.svdvals(R_a @ R_b.T).sum()
    distance = ((mu_a - mu_b) ** 2).sum() + (R_a**2).sum() + (R_b**2).sum() - 2 * overlap
    return max(0.0, float(distance))


def inception_score(log_probabilities: Float[np.ndarray, "n K"]) -> float:
    """`exp E KL(p(y|x) || p(y))`, from 1 to K (Salimans et al. 2016, arXiv:1606.03498).

    Large if each image is surely of one class and the classes come equally often. It cannot see
    whether images of a class differ: that is `within_class_spread`. Here the classifier is the
    judge, not Inception, so figures of papers are not comparable.
    """
    log_p = log_probabilities
    if log_p.ndim != 2 or not len(log_p) or not np.allclose(np.exp(log_p).sum(1), 1, atol=1e-4):
        raise UsageError(
            f"log_probabilities, {log_p.shape}: (n, K) is needed, each row's exponentials adding "
            "up to 1"
        )
    p = np.exp(log_p)
    marginal = np.log(np.maximum(p.mean(0), np.finfo(np.float64).tiny))
    # p log p is 0 where p is 0, though the logarithm is not finite.
    divergence = np.where(p > 0, p * (np.maximum(log_p, -1e300) - marginal), 0).sum(1)
    return float(np.exp(divergence.mean()))


def within_class_spread(features: Float[np.ndarray, "n d"], y: Int[np.ndarray, " n"]) -> float:
    """Mean over the classes in `y` of the trace of a class's covariance: 0 if all are alike."""
    if features.ndim != 2 or y.shape != features.shape[:1]:
        raise UsageError(f"features, {features.shape}, and y, {y.shape}: (n, d) and (n,)")
    groups = [features[y == label] for label in np.unique(y)]
    if not groups or min(map(len, groups)) < 2:
        raise UsageError("y has a class of fewer than 2 samples: a spread needs 2")
    return mean([float(group.var(axis=0, ddof=1).sum()) for group in groups])


def precision_recall(
    samples: Float[np.ndarray, "n d"], real: Float[np.ndarray, "m d"], k: int = 3
) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, arXiv:1904.06991), each in 0..1.

    A set covers what is no farther from one of its points than that point's `k`-th neighbour in
    the set. Precision is the share of samples that the real images cover, recall the share of real
    images that the samples cover. Both depend on `n` and `m`: compare equal sizes only.
    """
    if k < 1 or min(len(samples), len(real)) <= k:
        raise UsageError(
            f"k = {k}, {len(samples)} samples, {len(real)} real images: more of each than k, and "
            "k of 1 or more, are needed"
        )
    return _covered(cdist(samples, samples), cdist(real, real), cdist(samples, real), k)


def _covered(
    within: np.ndarray, real: np.ndarray, across: np.ndarray, k: int
) -> tuple[float, float]:
    """`precision_recall` from distances; a point is its own nearest neighbour, hence place k."""
    radius, real_radius = (np.partition(d, k, axis=1)[:, k] for d in (within, real))
    precision = (across <= real_radius).any(1).mean()
    return float(precision), float((radius >= across.T).any(1).mean())


def evaluate(
    x: Float[Tensor, "n C H W"], y: Int[Tensor, " n"], judge: Judge, real: Dataset
) -> Scores:
    """Score samples `x`, asked to be of classes `y`, against `real` images.

    - `accuracy`: the share that the judge takes for the class asked for. Its standard error is the
      posterior's under a uniform prior, which is not 0 where every sample is right.
    - `frechet`: the Frechet distance is biased upward, the more the fewer the samples, so it is
      measured here at one size only: `m = min(n, N / 2)` samples against m real images, beside
      `frechet_floor`, m *other* real images against the same m. Both are averaged over 10 fixed
      random halvings of the real images, each with the classes in their proportions. A generator
      that samples the law of the data scores its floor; so does one that has learnt the data by
      heart, which these figures cannot tell from it.
    - `inception_score`: up to K; see there.
    - `spread`: `within_class_spread` of the samples by the class asked for, over that of the real
      images: 1 is as diverse as they are.
    - `precision`, `recall`: `precision_recall` of m samples and the first m of those real images.

    The other standard errors are a jackknife's, by how much the figure moves when one of 20 parts
    of the samples is left out. Precision and recall jump where a sample is left out, for which
    Shao and Wu (1989, Annals of Statistics 17) leave out more: theirs are the scatter over 40
    random halves. (A bootstrap draws samples twice. By trial that inflates a Frechet distance and
    its error by half, and makes a neighbour of distance 0: of recall's error it leaves three
    quarters.) They cover the draw of the samples, not that of the real images.

    Args:
        x: in the shape of the real images; clipped to [-1, 1] first, as a picture of them would be.
        y: labels 0..K-1, each at least 4 times, in about the proportions of the real ones.
        judge: `train_judge(real)`.
        real: at least two images a class.

    Raises:
        UsageError: naming the argument.
    """
    _check(x, y, judge, real)
    features, log_p = look(judge, x)
    real_features = _looked_at(judge, real)
    labels, rng = y.cpu().numpy(), np.random.default_rng(0)
    real_spread = within_class_spread(real_features, real.y.numpy())
    parts = _halvings(real_features, real.y.numpy(), len(x))
    halvings, m = [(_moments(half), _moments(other)) for half, other in parts], len(parts[0][0])
    frechet = [
        _distance(_moments(features[_stratified(labels, rng)[:m]]), half) for half, _ in halvings
    ]
    apart, near = cdist(features, features), parts[0][0]
    apart_real, across = cdist(near, near), cdist(features, near)
    first, k = _stratified(labels, rng)[:m], min(3, m - 1)
    precision, recall = _covered(apart[np.ix_(first, first)], apart_real, across[first], k)
    folds = np.array_split(_stratified(labels, rng), min(FOLDS, len(x)))
    without_a_fold = []
    for fold in folds:
        kept = np.setdiff1d(np.arange(len(x)), fold)
        moments = _moments(features[kept])
        figures = (
            mean([_distance(moments, half) for half, _ in halvings]),
            inception_score(log_p[kept]),
            within_class_spread(features[kept], labels[kept]) / real_spread,
        )
        without_a_fold.append(figures)
    jackknife = np.sqrt((len(folds) - 1) * np.array(without_a_fold).var(axis=0))
    frechet_se, inception_score_se, spread_se = jackknife.tolist()
    covered, few = [], min(k, m // 2 - 1)
    for _ in range(HALVES):
        part = first[_stratified(labels[first], rng)[: m // 2]]
        covered.append(_covered(apart[np.ix_(part, part)], apart_real, across[part], few))
    precision_se, recall_se = np.std(covered, axis=0, ddof=1).tolist()
    right, right_se = accuracy(log_p, labels)
    return Scores(
        accuracy=right,
        frechet=mean(frechet),
        frechet_floor=mean([_distance(half, other) for half, other in halvings]),
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


def evaluate_real(judge: Judge, real: Dataset, n: int) -> Scores:
    """What real images score where `n` samples are scored: the row to read the others against.

    Accuracy, Inception-style score and spread are those of `judge.held_out`, which the judge has
    not seen, of `n` of them if there are so many; Frechet distance, precision and recall are those
    of real images against others, and their errors the scatter among the halvings.
    """
    parts = _halvings(_looked_at(judge, real), real.y.numpy(), n)
    floors = [_distance(_moments(half), _moments(other)) for half, other in parts]
    covered = np.array([precision_recall(other, half) for half, other in parts])
    precision, recall = covered.mean(0).tolist()
    precision_se, recall_se = covered.std(0, ddof=1).tolist()
    unseen = judge.held_out
    some = _stratified(unseen.y.numpy(), np.random.default_rng(0))[:n]
    return replace(
        evaluate(unseen.x[some], unseen.y[some], judge, real),
        frechet=mean(floors),
        frechet_floor=mean(floors),
        frechet_se=stdev(floors),
        precision=precision,
        recall=recall,
        precision_se=precision_se,
        recall_se=recall_se,
    )


@lru_cache(maxsize=1)  # at many w, samples are held against the same images
def _looked_at(judge: Judge, real: Dataset) -> np.ndarray:
    """The features of all real images; neither they nor a trained judge are changed any more."""
    return look(judge, real.x)[0]


def _halvings(features: np.ndarray, y: np.ndarray, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random disjoint pairs of parts of the real images, each of `n` if there are so many."""
    m, rng = min(n, len(y) // 2), np.random.default_rng(0)
    orders = [_stratified(y, rng) for _ in range(HALVINGS)]
    return [(features[order[:m]], features[order[m : 2 * m]]) for order in orders]


def _stratified(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order in which every stretch holds the classes in their proportions, within two."""
    place = np.empty(len(y))
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        place[members] = (rng.permutation(len(members)) + rng.random(len(members))) / len(members)
    return np.argsort(place)


def _check(x: Tensor, y: Tensor, judge: Judge, real: Dataset) -> None:
    K = real.num_classes
    if judge.shape != real.shape or judge.num_classes != K:
        raise UsageError(
            f"judge knows {judge.num_classes} classes of {judge.shape}, "
            f"and {real.name} has {K} of {real.shape}"
        )
    if x.ndim != 4 or x.shape[1:] != real.shape or not x.is_floating_point():
        raise UsageError(f"x is {x.dtype} {tuple(x.shape)}: floats (n, *{real.shape}) are needed")
    if not bool(torch.isfinite(x).all()):
        raise UsageError("x holds values that are not finite")
    if y.dtype != torch.int64 or y.shape != x.shape[:1]:
        raise UsageError(f"y is {y.dtype} {tuple(y.shape)}: int64 ({len(x)},) is needed")
    if len(y) and (int(y.min()) < 0 or int(y.max()) >= K):
        raise UsageError(f"y holds {int(y.min())}..{int(y.max())}: labels are 0..{K - 1}")
    check_counts("y", y, K, 4)  # so that two are left when a part is left out
    check_counts("real", real.y, K)
