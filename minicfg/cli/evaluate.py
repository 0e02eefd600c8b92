"""The command `minicfg evaluate`, and what it shares with `minicfg sweep`: the scores of a model.

A model is scored by a classifier of real images, which is trained first and saved with the scores.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save as to_bytes

from minicfg.cli.options import MAX_SAMPLES, SamplingOptions
from minicfg.cli.progress import progress
from minicfg.cli.run_folder import lock_run_folder
from minicfg.cli.sample import draw, model_path
from minicfg.data import Dataset, check_seed
from minicfg.datasets import load_data
from minicfg.distributed import Ranks
from minicfg.errors import DataError, UsageError
from minicfg.io.atomic import check_writable, write_atomic
from minicfg.io.checkpoint import Checkpoint, load
from minicfg.metrics.classifier import Classifier, check_images, train_classifier
from minicfg.metrics.evaluate import Scores, evaluate, evaluate_real
from minicfg.viz.page import SCORE_COLUMNS, print_table, score_row

# Smallest number of images per class to train a classifier on: of 18, the fifth that is held out
# has 4, which is what `evaluate` needs.
MIN_IMAGES_PER_CLASS = 18
MIN_SAMPLES_PER_CLASS = 4


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
    device: str = "cpu",
) -> int:
    """Score a model at each w beside real images; write `metrics.json` and the classifier."""
    plan = ScoringPlan(ws, (steps,), n, seed, options)
    trained, data = load_and_check(out, path, plan, device)
    with lock_run_folder(out):
        classifier = train_and_save_classifier(out, data, trained.device, seed)
        scores = score_at_each_weight(trained, data, classifier, plan, steps)
        real = evaluate_real(classifier, data, n)
        print_table(SCORE_COLUMNS, score_rows(ws, scores, real))
        metrics = {
            "real": asdict(real),
            "scores": [{"w": w, **asdict(s)} for w, s in zip(ws, scores, strict=True)],
            "sampling": {"options": str(options), "steps": steps, "seed": seed, "samples": n},
            "classifier": describe_classifier(classifier, seed),
        }
        write_atomic(out / "metrics.json", f"{json.dumps(metrics, indent=1)}\n".encode())
    print(out / "metrics.json")
    return 0


def load_and_check(
    out: Path,
    path: Path,
    plan: ScoringPlan,
    device: str,
) -> tuple[Checkpoint, Dataset]:
    """Load the model and the data it was trained on.

    Everything that can be refused is refused here, before any work and before `out` exists.
    """
    if not plan.ws:
        raise UsageError("--w is empty; give one or more weights.")
    if not plan.steps:
        raise UsageError("--steps is empty; give one or more numbers of solver steps.")
    check_seed(plan.seed)
    plan.options.check_weights(plan.ws)
    plan.options.make_rule()
    trained = load(model_path(path), Ranks().device(device))
    for steps in plan.steps:
        plan.options.make_table(trained.schedule, steps, trained.config.prediction)
    data = load_data(trained.config.data, trained.config.size)
    if data.classes != trained.classes or data.shape != trained.shape:
        raise DataError(
            f"{trained.config.data} has {data.num_classes} classes of images {data.shape}, but "
            f"{path} was trained on {len(trained.classes)} classes of images {trained.shape}; "
            "restore the data that the model was trained on."
        )
    fewest = MIN_SAMPLES_PER_CLASS * data.num_classes
    if not fewest <= plan.n <= MAX_SAMPLES:
        raise UsageError(
            f"--n {plan.n} is outside {fewest}..{MAX_SAMPLES}; choose at least "
            f"{MIN_SAMPLES_PER_CLASS} samples per class."
        )
    check_images(data, MIN_IMAGES_PER_CLASS)
    check_writable(out)
    return trained, data


def train_and_save_classifier(
    out: Path,
    data: Dataset,
    device: torch.device,
    seed: int,
) -> Classifier:
    """Train a classifier of the real images on the CPU, save it, and move it to `device`."""
    classifier = train_classifier(data, seed=seed)
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
    data: Dataset,
    classifier: Classifier,
    plan: ScoringPlan,
    steps: int,
) -> list[Scores]:
    """Draw and score `plan.n` samples at each w, from the same noise."""
    table = plan.options.make_table(trained.schedule, steps, trained.config.prediction)
    rule = plan.options.make_rule()
    y = torch.arange(plan.n, device=trained.device) % data.num_classes
    scores = list[Scores]()
    label = f"p_uncond = {trained.config.p_uncond:g}, {steps} steps"
    total = plan.n * len(plan.ws)
    with progress(total, label, "images") as advance:
        for w in plan.ws:
            x = draw(
                trained.model,
                y,
                table,
                data.shape,
                w=w,
                seed=plan.seed,
                clip=plan.options.clip,
                rule=rule,
                advance=advance,
            )
            scores.append(evaluate(x, y, classifier, data))
    return scores


def score_rows(ws: Sequence[float], scores: Sequence[Scores], real: Scores) -> list[list[str]]:
    """Rows of the table of scores: one per weight, then the real images."""
    rows = [score_row(f"{w:g}", s) for w, s in zip(ws, scores, strict=True)]
    return [*rows, score_row("real images", real)]
