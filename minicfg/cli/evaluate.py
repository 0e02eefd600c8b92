"""The command `minicfg evaluate`, and what it shares with `minicfg sweep`: the scores of a model.

A model is scored by a classifier of real images, which is trained first and saved with the scores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from safetensors.torch import save as to_bytes
from torch import Tensor

from minicfg.cli.copies import distances_of_real_images, ratio_and_picture, ratio_sentence
from minicfg.cli.options import DEFAULT_DATA, MAX_SAMPLES, DataOptions, SamplingOptions
from minicfg.cli.progress import progress
from minicfg.cli.real_images import RealImages, load_real_images
from minicfg.cli.run_folder import check_out_is_outside_data, lock_run_folder
from minicfg.cli.sample import draw, model_path
from minicfg.data import Dataset, check_seed
from minicfg.distributed import Ranks
from minicfg.errors import UsageError
from minicfg.io.atomic import check_writable, write_atomic
from minicfg.io.checkpoint import Checkpoint, load
from minicfg.metrics import classifier as classifiers
from minicfg.metrics.classifier import Classifier, train_classifier
from minicfg.metrics.evaluate import MIN_SAMPLES_PER_CLASS, Scores, evaluate, evaluate_real
from minicfg.sampling import as_student
from minicfg.viz import plots
from minicfg.viz.page import SCORE_COLUMNS, print_table, score_row


@dataclass(frozen=True)
class ScoringPlan:
    """What to draw and score: `n` samples at each weight, once for each number of solver steps.

    `seed` is that of the classifier and of the samples.
    """

    ws: Sequence[float]
    steps: Sequence[int]
    n: int
    seed: int
    options: SamplingOptions


def run_evaluate(
    out: Path,
    path: Path,
    *,
    ws: Sequence[float],
    steps: int,
    n: int,
    seed: int,
    options: SamplingOptions,
    data_spec: str = "",
    real_spec: str = "",
    device: str = "cpu",
    reading: DataOptions = DEFAULT_DATA,
) -> int:
    """Score a model at each w beside real images.

    Writes `metrics.json`, the classifier, and `nearest.png`, which shows samples at the first w and
    the training image that is nearest to each.

    `data_spec` names where the training data are now, and `real_spec` names held-out images. Each
    is "" if its flag is not given.
    """
    plan = ScoringPlan(ws, (steps,), n, seed, options)
    trained, real = load_and_check(out, path, plan, data_spec, real_spec, device, reading)
    with lock_run_folder(out):
        classifier = train_and_save_classifier(out, real.training, trained.device, seed)
        distances_of_real = distances_of_real_images(real)
        scores = list[Scores]()
        ratios = list[float | None]()
        pictures = list[Figure]()
        scored = score_at_each_weight(trained, real, classifier, plan, steps)
        for w, (s, x) in zip(ws, scored, strict=True):
            y = sample_labels(n, real)
            ratio, picture = ratio_and_picture(w, x, y, real, distances_of_real)
            scores.append(s)
            ratios.append(ratio)
            pictures.append(picture)
        of_real = evaluate_real(classifier, real.compared, real.unseen_by(classifier), n)
        print_table(SCORE_COLUMNS, score_rows(ws, scores, of_real))
        print("\n".join(real.sentences()))
        print(ratio_sentence(ws, ratios, real))
        for remark in (
            floor_remark(ws, scores, is_held_out=real.is_held_out),
            classifier_remark(of_real, real.compared.num_classes),
        ):
            if remark:
                print(remark)
        metrics = {
            "real": asdict(of_real),
            "compared_with": real.describe(),
            "scores": [
                {"w": w, **asdict(s), "distance_ratio": ratio}
                for w, s, ratio in zip(ws, scores, ratios, strict=True)
            ],
            "sampling": {"options": str(options), "steps": steps, "seed": seed, "samples": n},
            "classifier": describe_classifier(classifier, seed),
        }
        write_atomic(out / "metrics.json", f"{json.dumps(metrics, indent=1)}\n".encode())
        plots.save_figure(pictures[0], out / "nearest.png")
    print(out / "metrics.json")
    return 0


def load_and_check(
    out: Path,
    path: Path,
    plan: ScoringPlan,
    data_spec: str,
    real_spec: str,
    device: str,
    reading: DataOptions,
    *,
    trains_variants: bool = False,
) -> tuple[Checkpoint, RealImages]:
    """Load the model, the data it was trained on, and held-out images if there are any.

    Everything that can be refused is refused here, before any work and before `out` exists.
    """
    if not plan.ws:
        raise UsageError("--w is empty; give one or more weights.")
    if not plan.steps:
        raise UsageError("--steps is empty; give one or more numbers of solver steps.")
    check_seed(plan.seed)
    plan.options.check_weights(plan.ws)
    rule = plan.options.make_rule()
    trained = load(model_path(path), Ranks().device(device))
    if trains_variants and trained.teacher_digest:
        raise UsageError(
            f"--p-uncond trains variants of a model, and {path} is a student of another one; leave "
            "out --p-uncond, or sweep the teacher."
        )
    for steps in plan.steps:
        table = plan.options.make_table(trained.schedule, steps, trained.config.prediction)
        for w in plan.ws:
            as_student(trained.model, table, w, rule)  # refuses what a student cannot do
    for spec in (data_spec, real_spec):
        if spec:
            check_out_is_outside_data(out, spec)
    real = load_real_images(path, trained, data_spec, real_spec, reading)
    fewest = MIN_SAMPLES_PER_CLASS * real.training.num_classes
    if not fewest <= plan.n <= MAX_SAMPLES:
        raise UsageError(
            f"--n {plan.n} is outside {fewest}..{MAX_SAMPLES}; choose at least "
            f"{MIN_SAMPLES_PER_CLASS} samples per class."
        )
    check_writable(out)
    return trained, real


def train_and_save_classifier(
    out: Path,
    data: Dataset,
    device: torch.device,
    seed: int,
) -> Classifier:
    """Train a classifier of the real images on the CPU, save it, and move it to `device`."""
    with progress(classifiers.STEPS, "training the classifier", "steps") as advance:
        classifier = train_classifier(data, seed=seed, advance=advance)
    write_atomic(out / "classifier.safetensors", to_bytes(classifier.state_dict()))
    return classifier.to(device)


def describe_classifier(classifier: Classifier, seed: int) -> dict[str, object]:
    """What `metrics.json` and `sweep.json` say of the classifier."""
    return {
        "file": "classifier.safetensors",
        "network": str(classifier),
        "images": classifier.shape,
        "seed": seed,
        "held_out_accuracy": classifier.held_out_accuracy,
    }


def score_at_each_weight(
    trained: Checkpoint,
    real: RealImages,
    classifier: Classifier,
    plan: ScoringPlan,
    steps: int,
    variant: str = "",
) -> Iterator[tuple[Scores, Tensor]]:
    """Draw and score `plan.n` samples at each w, from the same noise; yield scores and samples.

    The labels of the samples are those of `sample_labels`. Beside the progress stands `variant`,
    the name of the model where there are several.
    """
    table = plan.options.make_table(trained.schedule, steps, trained.config.prediction)
    rule = plan.options.make_rule()
    y = sample_labels(plan.n, real).to(trained.device)
    labels_of_model = real.labels.to(trained.device)[y]
    label = f"sampling, {len(plan.ws)} weights w, {steps} steps"
    if variant:
        label = f"{label}, {variant}"
    total = plan.n * len(plan.ws)
    with progress(total, label, "images") as advance:
        for w in plan.ws:
            x = draw(
                trained.model,
                labels_of_model,
                table,
                trained.shape,
                w=w,
                seed=plan.seed,
                clip=plan.options.clip,
                rule=rule,
                advance=advance,
            )
            yield evaluate(x, y, classifier, real.compared), x


def sample_labels(n: int, real: RealImages) -> Tensor:
    """The labels of `n` samples among the K scored classes: sample i is of class i mod K."""
    return torch.arange(n) % real.compared.num_classes


def score_rows(ws: Sequence[float], scores: Sequence[Scores], real: Scores) -> list[list[str]]:
    """Rows of the table of scores: one per weight, then the real images."""
    rows = [score_row(f"{w:g}", s) for w, s in zip(ws, scores, strict=True)]
    return [*rows, score_row("real images", real)]


def classifier_remark(of_real: Scores, num_classes: int) -> str:
    """Say that the classifier is not better than chance on real images; "" if it clearly is.

    All scores are computed from its outputs or its features.
    """
    chance = 1 / num_classes
    if of_real.accuracy - chance > 2 * of_real.accuracy_se:
        return ""
    return (
        f"The classifier names the class of {of_real.accuracy:.1%} +- {of_real.accuracy_se:.1%} of "
        f"the real images that it was not trained on, and a random guess names {chance:.1%}: the "
        "scores above are not reliable. Use more images, or judge the samples by eye."
    )


def floor_remark(ws: Sequence[float], scores: Sequence[Scores], *, is_held_out: bool) -> str:
    """Say where the Frechet distance is below its floor, and what that means; "" if it nowhere is.

    Independent samples of the distribution of the data score the floor on average. A model that has
    memorised its training images, or fits their mean and covariance more closely than those of the
    distribution, scores less beside these images. (In a trial with Gaussian classes and as many
    samples as training images, samples with the class means and covariances of the training images
    scored 0.76 of the floor, and fresh samples of the distribution 1.05 +- 0.03 of it.)
    """
    below = list[float]()
    clearly_below = list[float]()
    for w, s in zip(ws, scores, strict=True):
        difference = s.frechet_floor - s.frechet
        if difference > 0:
            below.append(w)
        if difference > 2 * s.frechet_se:
            clearly_below.append(w)
    if not below:
        return ""
    where = ", ".join(f"{w:g}" for w in below)
    what = (
        f"At w = {where} the Frechet distance is below its floor: the samples are closer to the "
        "real images than other real images are."
    )
    if not clearly_below:
        return f"{what} The difference is within two standard errors, so it may be chance."
    where = ", ".join(f"{w:g}" for w in clearly_below)
    how_much = f"At w = {where} the difference is more than two standard errors"
    if is_held_out:
        return f"{what} {how_much}; check that no held-out image is a training image too."
    return (
        f"{what} {how_much}: a sign that the model has copied its training images, or fits their "
        "mean and covariance more closely than those of new images. Compare with held-out images "
        "to find out."
    )
