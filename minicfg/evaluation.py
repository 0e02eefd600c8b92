"""How good samples are: by a judge that has seen real images only, beside what real images score.

Relevance (is it the class that was asked for?) is the judge's accuracy and the Inception-style
score; diversity is the spread within a class; the Frechet distance feels both. The features are
the judge's own, so the figures compare samples of one data set under one judge, and nothing else.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minicfg.data import Dataset, split
from minicfg.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Float, Int

HALVINGS = 10  # of the real images, for the Frechet distance and its floor
FOLDS = 20  # of the samples, for standard errors


Moments = tuple[Tensor, Tensor]  # a mean, and a root of a covariance


class Judge(nn.Module):
    """A small convolutional classifier of (C, H, W) images; `train_judge` makes one.

    `features` are scaled to a mean variance of 1 a coordinate over the images it was trained on:
    the squared spread of real images is then `dim`, and a Frechet distance reads as a part of it.
    """

    feature_scale: Tensor
    held_out: Dataset
    held_out_accuracy: float

    def __init__(self, shape: tuple[int, int, int], num_classes: int, dim: int = 48) -> None:
        super().__init__()
        self.shape, self.num_classes = shape, num_classes
        channels, *size = shape
        width, layers = 16, [nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU()]
        while min(size) > 4:
            layers += [nn.Conv2d(width, 32, 3, stride=2, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
            width, size = 32, [(side + 1) // 2 for side in size]
        layers += [nn.Flatten(), nn.Dropout(0.2), nn.Linear(width * math.prod(size), dim)]
        self.body, self.head = nn.Sequential(*layers), nn.Linear(dim, num_classes)
        self.register_buffer("feature_scale", torch.ones(()))

    def features(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B dim"]:
        """What the last layer reads, before its ReLU, scaled."""
        return self.body(x) * self.feature_scale

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Logits of the classes."""
        return self.head(F.relu(self.body(x)))


@dataclass(frozen=True)
class Scores:
    """What `evaluate` found of `n` samples; `_se` is the standard error over drawing them."""

    accuracy: float
    frechet: float
    frechet_floor: float
    inception_score: float
    spread: float
    n: int
    accuracy_se: float
    frechet_se: float
    inception_score_se: float
    spread_se: float


def train_judge(data: Dataset, *, seed: int = 0, steps: int = 400) -> Judge:
    """Train a judge on 4/5 of real `data`; the rest is `judge.held_out`.

    Its accuracy there, `judge.held_out_accuracy`, is about 99 % on digits. AdamW on images slightly
    turned, stretched, sheared and shifted; never mirrored, for a mirrored digit is none. A function
    of (data, seed, steps); torch's global generator is left as it was.

    Args:
        data: real images, at least 8x8, at least two a class.
        seed: of the split, the weights and the batches, 0..2^64-1.
        steps: of 128 images, at least 1.

    Raises:
        UsageError: naming what is too small.
    """
    if min(data.shape[1:]) < 8:
        raise UsageError(f"data = {data.name}: images are {data.shape}, 8x8 or more is needed")
    if steps < 1:
        raise UsageError(f"steps = {steps}: at least 1 is needed")
    _check_counts("data", data.y, data.num_classes)
    train, held_out = split(data, 0.2, seed)
    threads = 1 if math.prod(data.shape) <= 256 else torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), _threads(threads):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
        judge = Judge(data.shape, data.num_classes)
        optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=0.01, fused=True)
        for i in range(steps):
            batch = torch.randint(len(train), (128,))
            warm_up, decay = min(1, 5 * (i + 1) / steps), math.cos(math.pi / 2 * i / steps) ** 2
            optimizer.param_groups[0]["lr"] = 3e-3 * warm_up * decay
            optimizer.zero_grad()
            F.cross_entropy(judge(_augment(train.x[batch])), train.y[batch]).backward()
            optimizer.step()
    judge.eval().requires_grad_(False)
    features, _ = look(judge, train.x)
    judge.feature_scale.fill_(features.var(axis=0).mean() ** -0.5)
    judge.held_out = held_out
    judge.held_out_accuracy = _accuracy(look(judge, held_out.x)[1], held_out.y.numpy())[0]
    return judge


@contextlib.contextmanager
def _threads(n: int) -> Iterator[None]:
    """Let torch use `n` threads for a while.

    On small work several gain little, and lose tenfold where the cores are shared with others.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _augment(x: Tensor) -> Tensor:
    """Each image under an affine map of its own, near the identity; what comes in is background."""
    u = 2 * torch.rand(5, len(x)) - 1
    angle, stretch, shear = 0.15 * u[0], 1 + 0.1 * u[1], 0.15 * u[2]
    right, down = 0.12 * u[3], 0.12 * u[4]  # in half-widths
    cos, sin = stretch * angle.cos(), stretch * angle.sin()
    theta = torch.stack([cos, shear - sin, right, sin, cos, down], dim=1).reshape(-1, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x + 1, grid, align_corners=False) - 1


@torch.no_grad()
def look(
    judge: Judge, x: Float[Tensor, "n C H W"]
) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, "n K"]]:
    """The judge's features and log-probabilities of `x` clipped to [-1, 1], in float64."""
    parts = [part.to(judge.feature_scale).clamp(-1, 1) for part in x.split(2048)]
    features = torch.cat([judge.features(part) for part in parts])
    log_p = torch.cat([judge(part) for part in parts]).double().log_softmax(dim=1)
    return features.double().cpu().numpy(), log_p.cpu().numpy()


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
    with _threads(1):
        return mu, torch.linalg.qr(rows - mu, mode="r").R / math.sqrt(len(rows) - 1)


def _distance(a: Moments, b: Moments) -> float:
    """`frechet_distance` of what `_moments` found."""
    (mu_a, R_a), (mu_b, R_b) = a, b
    with _threads(1):
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

    The other standard errors are a jackknife's, by how much the figure moves when one of 20 parts
    of the samples is left out. (A bootstrap's repeated samples inflate a Frechet distance and, by
    trial, its error by half.) They cover the draw of the samples, not that of the real images.

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
    real_features, _ = look(judge, real.x)
    labels, rng = y.cpu().numpy(), np.random.default_rng(0)
    real_spread = within_class_spread(real_features, real.y.numpy())
    halvings, m = _halvings(real_features, real.y.numpy(), len(x))
    frechet = [
        _distance(_moments(features[_stratified(labels, rng)[:m]]), half) for half, _ in halvings
    ]
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
    accuracy, accuracy_se = _accuracy(log_p, labels)
    return Scores(
        accuracy=accuracy,
        frechet=mean(frechet),
        frechet_floor=mean([_distance(half, other) for half, other in halvings]),
        inception_score=inception_score(log_p),
        spread=within_class_spread(features, labels) / real_spread,
        n=len(x),
        accuracy_se=accuracy_se,
        frechet_se=frechet_se,
        inception_score_se=inception_score_se,
        spread_se=spread_se,
    )


def evaluate_real(judge: Judge, real: Dataset, n: int) -> Scores:
    """What real images score where `n` samples are scored: the row to read the others against.

    Accuracy, Inception-style score and spread are those of `judge.held_out`, which the judge has
    not seen; the Frechet distance is the floor, and its error the scatter among its halvings.
    """
    halvings, _ = _halvings(look(judge, real.x)[0], real.y.numpy(), n)
    floors = [_distance(half, other) for half, other in halvings]
    scores = evaluate(judge.held_out.x, judge.held_out.y, judge, real)
    return replace(
        scores, frechet=mean(floors), frechet_floor=mean(floors), frechet_se=stdev(floors)
    )


def _halvings(
    features: np.ndarray, y: np.ndarray, n: int
) -> tuple[list[tuple[Moments, Moments]], int]:
    """`_moments` of random disjoint pairs of parts, each as large as `n` if there are so many."""
    m, rng = min(n, len(y) // 2), np.random.default_rng(0)
    orders = [_stratified(y, rng) for _ in range(HALVINGS)]
    parts = [(features[order[:m]], features[order[m : 2 * m]]) for order in orders]
    return [(_moments(half), _moments(other)) for half, other in parts], m


def _stratified(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order in which every stretch holds the classes in their proportions, within two."""
    place = np.empty(len(y))
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        place[members] = (rng.permutation(len(members)) + rng.random(len(members))) / len(members)
    return np.argsort(place)


def _accuracy(log_p: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The share judged right, and the standard deviation of Beta(right + 1, wrong + 1)."""
    right, n = int((log_p.argmax(1) == y).sum()), len(y)
    p = (right + 1) / (n + 2)
    return right / n, math.sqrt(p * (1 - p) / (n + 3))


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
    _check_counts("y", y, K, 4)  # so that two are left when a part is left out
    _check_counts("real", real.y, K)


def _check_counts(name: str, y: Tensor, K: int, least: int = 2) -> None:
    counts = torch.bincount(y.cpu(), minlength=K)
    if int(counts.min()) < least:
        raise UsageError(
            f"{name} has {int(counts.min())} of class {int(counts.argmin())}: "
            f"{least} or more of each class are needed"
        )
