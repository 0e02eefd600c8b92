"""Scores against closed forms, scipy, and draws of known scatter; a classifier that learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import entropy
from torch import Tensor

from minicfg.data import Dataset, split
from minicfg.datasets.load import load_data
from minicfg.errors import UsageError
from minicfg.metrics import classifier as classifier_module
from minicfg.metrics import evaluate as evaluate_module
from minicfg.metrics import nearest, stratified
from minicfg.metrics.classifier import Classifier, train_classifier
from minicfg.metrics.evaluate import Scores, evaluate, evaluate_real
from minicfg.metrics.frechet import frechet_distance
from minicfg.metrics.inception_score import inception_score
from minicfg.metrics.nearest import distance_ratio, nearest_images
from minicfg.metrics.precision_recall import precision_recall
from minicfg.metrics.spread import within_class_spread
from minicfg.metrics.stratified import limit_size, stratified_part

DIGITS = load_data("digits")
K = 10


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """Trained for a quarter of the usual time: good enough to tell better from worse."""
    return train_classifier(DIGITS, steps=100)


class KnownLaw(Classifier):
    """3x3 images of two classes, Gaussian around -0.3 and 0.3; pixels are the features.

    What is asked of a sample, in expectation, is then known in closed form.
    """

    def __init__(self) -> None:
        super().__init__((1, 3, 3), 2)
        self.eval()

    def features_and_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = x.mean((1, 2, 3))
        return x.flatten(1), torch.stack([-1000 * mean, 1000 * mean], dim=1)

    @staticmethod
    def draw(n: int, seed: int, sd: float = 0.05, shift: float = 0.0) -> Dataset:
        generator = torch.Generator().manual_seed(seed)
        y = torch.arange(n) % 2
        z = torch.randn(n, 1, 3, 3, generator=generator)
        x = (0.6 * y - 0.3).reshape(-1, 1, 1, 1) + sd * z + shift
        return Dataset(x, y, ("low", "high"), "known")


def with_moments(mean: np.ndarray, cov: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """A sample whose own mean and covariance (over n - 1) are exactly these; `cov` full rank."""
    z = rng.standard_normal((n, len(mean)))
    z -= z.mean(0)
    z = np.linalg.solve(np.linalg.cholesky(np.cov(z.T)), z.T).T
    return mean + z @ np.linalg.cholesky(cov).T


# The Frechet distance. Figures are of order one to a hundred in float64: 1e-10 is a million
# roundings of room, and far below any error in the formula.


def test_frechet_distance_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((60, 7)) @ rng.standard_normal((7, 7)) + 1
    b = rng.standard_normal((45, 7)) @ rng.standard_normal((7, 7))
    S_a, S_b = np.cov(a.T), np.cov(b.T)
    root = np.real(sqrtm(S_a @ S_b))
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(S_a + S_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_of_diagonal_gaussians() -> None:
    """For commuting covariances it is the distance of means and of standard deviations."""
    rng = np.random.default_rng(1)
    mu, sd = rng.standard_normal((2, 5)), rng.uniform(0.1, 3, (2, 5))
    a, b = (with_moments(mu[i], np.diag(sd[i] ** 2), 30 + i, rng) for i in range(2))
    expected = np.sum((mu[0] - mu[1]) ** 2) + np.sum((sd[0] - sd[1]) ** 2)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_of_singular_covariances() -> None:
    """Dead features cost no digits, as the root of an eigenvalue of 1e-17 would: 3e-9 of them."""
    rng = np.random.default_rng(2)
    a, b = (rng.standard_normal((20, 3)) * 3 for _ in range(2))
    turn, _ = np.linalg.qr(rng.standard_normal((40, 40)))
    padded = [np.pad(s, ((0, 0), (0, 37))) @ turn for s in (a, b)]
    assert frechet_distance(*padded) == pytest.approx(frechet_distance(a, b), abs=1e-12)


def test_frechet_distance_of_disjoint_planes() -> None:
    """Covariances without a common direction: the cross term is 0, the traces add."""
    rng = np.random.default_rng(3)
    a, b = np.zeros((2, 30, 4))
    a[:, :2], b[:, 2:] = rng.standard_normal((2, 30, 2))
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.sum(np.var(a, 0, ddof=1))
    assert frechet_distance(a, b) == pytest.approx(expected + np.sum(np.var(b, 0, ddof=1)))


def test_frechet_distance_to_itself_is_nothing() -> None:
    a = np.random.default_rng(4).standard_normal((50, 8)) * 1e3
    assert frechet_distance(a, a) <= 1e-12 * 8e6  # of the traces, which cancel


def test_frechet_distance_leaves_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    frechet_distance(np.eye(3), np.eye(3))
    assert torch.get_num_threads() == before


# The Inception-style score and the spread.


def test_inception_score_of_sure_and_even_is_the_number_of_classes() -> None:
    with np.errstate(divide="ignore"):
        sure = np.log(np.eye(5).repeat(3, axis=0))
    assert inception_score(sure) == pytest.approx(5, rel=1e-12)


def test_inception_score_of_two_classes_by_hand() -> None:
    """exp of the mutual information log 2 - H(0.9), H in nats."""
    p = np.array([[0.9, 0.1], [0.1, 0.9]])
    information = math.log(2) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1)
    assert inception_score(np.log(p)) == pytest.approx(math.exp(information), rel=1e-12)


def test_inception_score_by_entropies() -> None:
    """KL to the mean is the mean's entropy less the mean entropy; many probabilities are small."""
    p = np.random.default_rng(5).dirichlet(np.full(10, 0.3), 200)
    information = entropy(p.mean(0)) - entropy(p, axis=1).mean()
    assert inception_score(np.log(p)) == pytest.approx(np.exp(information), rel=1e-10)


def test_inception_score_that_tells_nothing_is_one() -> None:
    p = np.tile([0.7, 0.2, 0.1], (4, 1))
    assert inception_score(np.log(p)) == pytest.approx(1, rel=1e-12)


def test_within_class_spread_is_the_mean_trace() -> None:
    """Traces 2 and 32, whatever the means: 17, the larger class counting no more."""
    features = np.array([[0.0, 0], [2, 0], [100, 0], [100, 8], [100, 0], [100, 8]])
    y = np.array([0, 0, 7, 7, 7, 7])
    assert within_class_spread(features, y) == pytest.approx((2 + 64 / 3) / 2)


# Precision and recall.


def covers(cloud: np.ndarray, point: np.ndarray, k: int) -> bool:
    """Straight from the definition: is it in a ball that holds k neighbours of its centre?"""
    for i, centre in enumerate(cloud):
        others = sorted(np.linalg.norm(np.delete(cloud, i, axis=0) - centre, axis=1))
        if np.linalg.norm(point - centre) <= others[k - 1]:
            return True
    return False


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_the_definition(k: int) -> None:
    rng = np.random.default_rng(0)
    samples, real = rng.standard_normal((30, 3)) + 0.7, rng.standard_normal((40, 3))
    precision = np.mean([covers(real, point, k) for point in samples])
    recall = np.mean([covers(samples, point, k) for point in real])
    assert precision_recall(samples, real, k) == (precision, recall)
    assert 0 < precision < 1 and 0 < recall < 1


def test_precision_and_recall_at_their_ends() -> None:
    """A set covers itself and nothing far off; a narrow one is covered, and covers little."""
    rng = np.random.default_rng(1)
    real = rng.standard_normal((300, 2))
    assert precision_recall(real, real) == (1, 1)
    assert precision_recall(real + 100, real) == (0, 0)
    precision, recall = precision_recall(0.1 * rng.standard_normal((300, 2)), real)
    assert precision > 0.95 and recall < 0.1


@pytest.mark.parametrize(("n", "k"), [(3, 3), (300, 0)])
def test_precision_refuses_too_few(n: int, k: int) -> None:
    with pytest.raises(UsageError, match=f"k = {k}, {n} samples"):
        precision_recall(np.zeros((n, 2)), np.zeros((300, 2)), k)


# The classifier.


def test_classifier_knows_digits_it_never_saw(classifier: Classifier) -> None:
    """About 94 % after 100 steps; 88 % of 359 would be five standard errors off."""
    assert classifier.held_out_accuracy > 0.88
    x, y = classifier.held_out.x, classifier.held_out.labels
    right = (classifier(x).argmax(1) == y).double().mean()
    assert classifier.held_out_accuracy == pytest.approx(float(right))


@pytest.mark.exhaustive
@pytest.mark.slow
def test_classifier_knows_99_percent_of_digits() -> None:
    """4 of 359 wrong (2 to 5 by seed); 10 would be three standard errors more."""
    assert train_classifier(DIGITS).held_out_accuracy > 0.973


def test_classifier_sees_the_training_part_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained on 0..4 and held to 5..9 it is never right; had it seen all, it would be often."""
    low, high = (
        Dataset(DIGITS.x[part], DIGITS.labels[part], DIGITS.classes, "part")
        for part in (DIGITS.labels < 5, DIGITS.labels >= 5)
    )
    monkeypatch.setattr(classifier_module, "split", lambda *_: (low, high))
    classifier = train_classifier(DIGITS, steps=40)
    assert classifier.held_out is high
    assert classifier.held_out_accuracy == 0


def test_classifier_features_have_mean_variance_one_where_it_was_trained(
    classifier: Classifier,
) -> None:
    train, _ = split(DIGITS, 0.2, 0)
    assert float(classifier.features(train.x).var(0).mean()) == pytest.approx(1, rel=0.01)


def test_features_and_log_probabilities_run_the_network_once(classifier: Classifier) -> None:
    """Both are those of `features` and `forward`, from a single pass through the body."""
    x = DIGITS.x[:20]
    expected = classifier.features(x).double(), classifier(x).double().log_softmax(1)
    sizes = list[int]()
    hook = classifier.body.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    features, log_p = classifier_module.features_and_log_probabilities(classifier, x)
    hook.remove()
    assert sizes == [20]
    np.testing.assert_array_equal(features, expected[0])
    np.testing.assert_array_equal(log_p, expected[1])


def test_classifier_is_a_function_of_its_seed_and_leaves_the_generator() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    few = [train_classifier(DIGITS, seed=seed, steps=3) for seed in (0, 0, 1)]
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    torch.manual_seed(5)
    few.append(train_classifier(DIGITS, steps=3))
    x = DIGITS.x[:4]
    first, same, other, also_same = (classifier.features(x) for classifier in few)
    assert torch.equal(first, same)
    assert torch.equal(first, also_same)
    assert not torch.allclose(first, other)


def test_classifier_takes_other_shapes_and_colours() -> None:
    x = torch.rand(40, 3, 9, 17, generator=torch.Generator().manual_seed(0)) * 2 - 1
    data = Dataset(x, torch.arange(40) % 4, tuple("abcd"), "colours")
    classifier = train_classifier(data, steps=2)
    assert classifier(x).shape == (40, 4)
    assert classifier.features(x).shape == (40, 48)


# evaluate, by laws that are known. REAL's own sampling errors are about 1/sqrt(2000) of a figure.

REAL = KnownLaw.draw(2000, seed=0)


def known(n: int, seed: int, **law: float) -> Scores:
    sample = KnownLaw.draw(n, seed, **law)
    return evaluate(sample.x, sample.labels, KnownLaw(), REAL)


@pytest.mark.parametrize("n", [40, 400, 3000])
def test_samples_of_the_real_law_score_the_floor(n: int) -> None:
    """At any n, though the floor itself is biased upward as 1/n: few samples are not punished."""
    scores = known(n, seed=1)
    assert abs(scores.frechet - scores.frechet_floor) < 5 * scores.frechet_se
    assert scores.spread == pytest.approx(1, abs=5 * scores.spread_se)
    assert scores.accuracy == 1
    assert scores.inception_score == pytest.approx(2, rel=1e-6)
    assert scores.n == n


def test_floor_falls_with_the_number_of_samples() -> None:
    """As 1/m: from 40 to 400, tenfold, up to the scatter of ten halvings."""
    assert 5 < known(40, seed=1).frechet_floor / known(400, seed=1).frechet_floor < 20


def test_narrow_samples_have_a_quarter_of_the_spread() -> None:
    scores = known(2000, seed=2, sd=0.025)
    assert abs(scores.spread - 0.25) < 5 * (scores.spread_se + 0.25 * (2 / 18000) ** 0.5)
    # Every one of the 9 coordinates: 0.025 in the standard deviation within a class. Between the
    # classes, along (1, ..., 1), the spread of 0.9 is common to both and hides it, but for 4 %.
    assert scores.frechet - scores.frechet_floor == pytest.approx(8 * 0.025**2, rel=0.1)


def test_shifted_samples_are_their_shift_away() -> None:
    scores = known(2000, seed=3, shift=0.1)
    assert scores.frechet - scores.frechet_floor == pytest.approx(9 * 0.1**2, rel=0.05)
    assert scores.spread == pytest.approx(1, abs=0.05)  # 5 times sqrt(2 / 18000), twice


@pytest.mark.exhaustive
def test_standard_errors_are_the_scatter_of_other_draws() -> None:
    """20 draws know a scatter to 16 %; the jackknife's own error is as large: within 60 %."""
    drawn = [known(200, seed, shift=0.02) for seed in range(10, 30)]
    for name in ("frechet", "spread", "precision", "recall"):
        scatter = np.std([getattr(scores, name) for scores in drawn], ddof=1)
        claimed = np.mean([getattr(scores, f"{name}_se") for scores in drawn])
        assert 0.6 < claimed / scatter < 1.6, name


def test_wrong_classes_are_counted() -> None:
    sample = KnownLaw.draw(400, seed=4)
    wrong = torch.arange(400) < 100
    scores = evaluate(
        sample.x, torch.where(wrong, 1 - sample.labels, sample.labels), KnownLaw(), REAL
    )
    assert scores.accuracy == 0.75
    assert scores.accuracy_se == pytest.approx((0.75 * 0.25 / 400) ** 0.5, rel=0.01)
    assert scores.inception_score == pytest.approx(2, rel=1e-6)  # it does not look at y


def test_standard_error_of_a_perfect_accuracy_is_not_zero() -> None:
    """Of Beta(n + 1, 1), whose variance is about 1/n^2."""
    assert known(40, seed=5).accuracy_se == pytest.approx(1 / 42, rel=0.05)


def test_values_beyond_one_are_clipped() -> None:
    sample = KnownLaw.draw(200, seed=6)
    x = sample.x * 4
    assert bool((x.abs() > 1).any())
    scores, clipped = (evaluate(v, sample.labels, KnownLaw(), REAL) for v in (x, x.clamp(-1, 1)))
    assert scores == clipped


def test_what_real_digits_score(classifier: Classifier) -> None:
    scores = evaluate_real(classifier, DIGITS, classifier.held_out, 400)
    assert scores.accuracy == classifier.held_out_accuracy
    assert scores.frechet == scores.frechet_floor > 0
    assert scores.n == len(classifier.held_out)
    ours = evaluate(DIGITS.x[:400], DIGITS.labels[:400], classifier, DIGITS)
    assert scores.frechet_floor == ours.frechet_floor  # of the same halvings


def test_features_of_real_images_are_computed_once(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of weights; but other images, or another classifier, are others."""
    sizes = list[int]()
    run = classifier_module.features_and_log_probabilities

    def counted(classifier: Classifier, x: Tensor) -> object:
        sizes.append(len(x))
        return run(classifier, x)

    monkeypatch.setattr(evaluate_module, "features_and_log_probabilities", counted)
    evaluate_module._real_features.cache_clear()
    x, y = DIGITS.x[:300], DIGITS.labels[:300]
    first, second = (evaluate(x, y, classifier, DIGITS) for _ in range(2))
    assert first == second
    assert sizes == [300, len(DIGITS), 300]
    few = replace(DIGITS, x=DIGITS.x[:900], y=DIGITS.labels[:900])
    assert evaluate(x, y, classifier, few) != first
    assert sizes[3:] == [300, 900]


# Parts of large data sets.


def test_a_part_keeps_the_proportions_and_the_rare_class() -> None:
    y = np.array([0] * 600 + [1] * 300 + [2] * 10)
    part = stratified_part(y, 91, least=8)
    counts = np.bincount(y[part])
    assert abs(counts[0] - 60) <= 2 and abs(counts[1] - 30) <= 2
    assert counts[2] == 8
    assert len(np.unique(part)) == len(part)
    np.testing.assert_array_equal(part, stratified_part(y, 91, least=8))
    assert np.bincount(y[stratified_part(y, 91, least=20)])[2] == 10  # all that there are


def test_a_small_data_set_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limit_size(DIGITS) is DIGITS
    monkeypatch.setattr(stratified, "MAX_REAL_IMAGES", 400)
    few = limit_size(DIGITS)
    assert (len(few), few.name) == (400, "400 images of digits")
    assert few.classes == DIGITS.classes


def test_features_of_a_large_data_set_are_those_of_a_part(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither training nor scoring runs the classifier over more real images than the bound."""
    monkeypatch.setattr(stratified, "MAX_REAL_IMAGES", 300)
    sizes = list[int]()
    run = classifier_module.features_and_log_probabilities

    def counted(classifier: Classifier, x: Tensor) -> object:
        sizes.append(len(x))
        return run(classifier, x)

    for module in (classifier_module, evaluate_module):
        monkeypatch.setattr(module, "features_and_log_probabilities", counted)
    evaluate_module._real_features.cache_clear()
    trained = train_classifier(DIGITS, steps=1)
    assert sizes == [300, 300] and len(trained.held_out) == 300
    evaluate(DIGITS.x[:100], DIGITS.labels[:100], classifier, DIGITS)
    assert sizes[2:] == [100, 300]
    evaluate_module._real_features.cache_clear()


def test_a_rare_class_is_among_the_real_images_that_are_scored() -> None:
    """A hundredth of the images is of it: 40 images in proportion would contain none or one."""
    real = KnownLaw.draw(1000, seed=0)
    rare = (real.labels == 0) | (torch.arange(1000) < 20)
    few = Dataset(real.x[rare], real.labels[rare], real.classes, "rare")
    assert evaluate_real(KnownLaw(), few, few, 40).accuracy == 1


def test_training_a_classifier_shows_its_progress() -> None:
    pieces = list[tuple[int, str]]()
    train_classifier(DIGITS, steps=3, advance=lambda n, note: pieces.append((n, note)))
    assert pieces == [(1, ""), (1, ""), (1, "")]


def test_worse_digits_score_worse(classifier: Classifier) -> None:
    """Noise added to half of the real digits is felt by every figure but the spread."""
    x, y = DIGITS.x[::2], DIGITS.labels[::2]
    noisy = x + 0.7 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    good, bad = (evaluate(pictures, y, classifier, DIGITS) for pictures in (x, noisy))
    assert good.accuracy > bad.accuracy + 0.05
    assert good.inception_score > bad.inception_score + 0.5
    assert good.frechet < good.frechet_floor  # real images, partly the very same: learnt by heart
    assert bad.frechet > 5 * bad.frechet_floor


# The nearest training image.


def test_nearest_image_is_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts of 10, of which the last is smaller."""
    monkeypatch.setattr(nearest, "PART", 10)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 2, 3, 3, generator=generator)
    images = torch.randn(33, 2, 3, 3, generator=generator)
    x[0] = images[32] + 0.1
    distance, index = nearest_images(x, images)
    table = (x[:, None] - images).flatten(2).norm(dim=2)
    torch.testing.assert_close(distance, table.min(1).values)
    assert torch.equal(index, table.argmin(1))
    assert index[0] == 32 and bool((index < 10).any())  # the parts are all compared


def test_a_copy_has_distance_nothing() -> None:
    """Exactly: a product of large vectors is not rounded to a distance above 0."""
    distance, index = nearest_images(DIGITS.x[40:44], DIGITS.x)
    assert distance.tolist() == [0, 0, 0, 0]
    assert index.tolist() == [40, 41, 42, 43]


def test_an_image_itself_is_left_out() -> None:
    some = torch.tensor([3, 1500, 1796])
    distance, index = nearest_images(DIGITS.x[some], DIGITS.x, skip=some)
    table = torch.cdist(DIGITS.x[some].flatten(1).double(), DIGITS.x.flatten(1).double())
    table[torch.arange(3), some] = torch.inf
    assert torch.equal(index, table.argmin(1))
    torch.testing.assert_close(distance.double(), table.min(1).values, rtol=1e-6, atol=0)


def test_distance_ratio_compares_within_a_class() -> None:
    """Distances 1 and 3 where 2 is typical, and 30 where 10 is: ratios 0.5, 1.5 and 3."""
    real = torch.tensor([2.0, 1.0, 9.0, 10.0, 10.0, 10.0])
    real_y = torch.tensor([0, 0, 0, 1, 1, 1])
    distances = torch.tensor([1.0, 3.0, 30.0])
    assert distance_ratio(distances, torch.tensor([0, 0, 1]), real, real_y) == 1.5


def test_distance_ratio_of_copies_and_of_real_images() -> None:
    """Real images are as far from the others as real images are; copies are at distance 0."""
    some = torch.arange(0, 1797, 2)
    others = torch.arange(1, 1797, 2)
    of_real = nearest_images(DIGITS.x[some], DIGITS.x, some)[0], DIGITS.labels[some]
    as_real, _ = nearest_images(DIGITS.x[others], DIGITS.x, others)
    assert distance_ratio(as_real, DIGITS.labels[others], *of_real) == pytest.approx(1, abs=0.05)
    copies, _ = nearest_images(DIGITS.x[others], DIGITS.x)
    assert distance_ratio(copies, DIGITS.labels[others], *of_real) == 0
    assert distance_ratio(copies, DIGITS.labels[others], 0 * of_real[0], of_real[1]) is None


# Refusals.

IMAGES, LABELS = torch.zeros(80, 1, 3, 3), torch.arange(80) % 2


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (IMAGES[:, 0], LABELS, r"x is torch.float32 \(80, 3, 3\)"),
        (torch.zeros(80, 3, 3, 3), LABELS, r"x is torch.float32 \(80, 3, 3, 3\)"),
        (IMAGES.long(), LABELS, "x is torch.int64"),
        (IMAGES / 0, LABELS, "x holds values that are not finite"),
        (IMAGES, LABELS[1:], r"y is torch.int64 \(79,\)"),
        (IMAGES, LABELS.int(), "y is torch.int32"),
        (IMAGES, LABELS - 1, r"y holds -1..0: labels are 0..1"),
        (IMAGES, LABELS + 1, r"y holds 1..2: labels are 0..1"),
        (IMAGES, 0 * LABELS, "y has 0 of class 1: 4 or more"),
        (IMAGES[:7], LABELS[:7], "y has 3 of class 1: 4 or more"),
        (IMAGES[:0], LABELS[:0], "y has 0 of class 0: 4 or more"),
    ],
)
def test_evaluate_refuses(x: torch.Tensor, y: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(x, y, KnownLaw(), REAL)


def test_evaluate_refuses_another_data_sets_classifier() -> None:
    with pytest.raises(
        UsageError, match=r"classifier has 2 classes of \(1, 3, 3\), but digits has 10"
    ):
        evaluate(DIGITS.x, DIGITS.labels, KnownLaw(), DIGITS)


@pytest.mark.parametrize("n", [2, 7])
def test_evaluate_refuses_fewer_than_eight_real_images(n: int) -> None:
    few = Dataset(REAL.x[:n], torch.zeros(n, dtype=torch.int64), ("a",), "few")
    classifier = KnownLaw()
    classifier.num_classes = 1
    x, y = REAL.x[:8], torch.zeros(8, dtype=torch.int64)
    with pytest.raises(UsageError, match=f"real has {n} images: pass 8 or more"):
        evaluate(x, y, classifier, few)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: frechet_distance(np.zeros((3, 2)), np.zeros((3, 4))), r"b \(3, 4\)"),
        (lambda: frechet_distance(np.zeros((1, 2)), np.zeros((3, 2))), "a has 1 rows"),
        (lambda: frechet_distance(np.zeros((3, 2)), np.full((3, 2), np.nan)), "b has 3 rows"),
        (lambda: precision_recall(np.full((4, 2), np.nan), np.zeros((4, 2))), "samples has 4 rows"),
        (lambda: precision_recall(np.zeros((4, 2)), np.full((4, 2), np.inf)), "real has 4 rows"),
        (lambda: precision_recall(np.zeros((4, 2)), np.zeros((4, 3))), r"and real \(4, 3\): pass"),
        (
            lambda: within_class_spread(np.full((3, 2), np.nan), np.zeros(3, int)),
            "features has 3 rows, not all finite",
        ),
        (lambda: inception_score(np.full((3, 2), np.nan)), r"log_probabilities, \(3, 2\)"),
        (lambda: inception_score(np.zeros((3, 2))), r"log_probabilities, \(3, 2\)"),
        (lambda: inception_score(np.zeros((0, 2))), r"log_probabilities, \(0, 2\)"),
        (lambda: within_class_spread(np.zeros((3, 2)), np.zeros(2, int)), r"y, \(2,\)"),
        (lambda: within_class_spread(np.zeros((3, 2)), np.array([0, 0, 1])), "fewer than 2"),
        (lambda: nearest_images(DIGITS.x, REAL.x), r"images \(2000, 1, 3, 3\): pass images of one"),
        (
            lambda: nearest_images(REAL.x[:1], REAL.x[:1], torch.tensor([0])),
            "at least one that is not left out",
        ),
        (
            lambda: distance_ratio(
                torch.ones(1), torch.ones(1).long(), torch.ones(1), 0 * LABELS[:1]
            ),
            "real_y has no label 1",
        ),
        (lambda: train_classifier(REAL), "8x8 or more"),
        (lambda: train_classifier(DIGITS, steps=0), "steps = 0"),
        (
            lambda: train_classifier(
                Dataset(DIGITS.x[:9], DIGITS.labels[:9], DIGITS.classes, "few")
            ),
            "data has 0 of class 9: 2 or more",
        ),
    ],
)
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
