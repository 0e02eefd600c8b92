"""The command `minicfg sweep`: the scores of a model over many weights, with a page.

A sweep reproduces in small the shape of the paper's tables 1 and 2 (Ho and Salimans 2022,
arXiv:2207.12598): Frechet distance and Inception-style score over w, for several fractions of
dropped labels or several numbers of steps. It states whether these images show what ImageNet
showed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import torch

from minicfg.cli.evaluate import (
    ScoringPlan,
    classifier_remark,
    describe_classifier,
    floor_remark,
    load_and_check,
    score_at_each_weight,
    score_rows,
    train_and_save_classifier,
)
from minicfg.cli.options import DEFAULT_DATA, DataOptions, SamplingOptions
from minicfg.cli.real_images import RealImages
from minicfg.cli.run_folder import lock_run_folder
from minicfg.cli.sample import draw
from minicfg.cli.train import run_training
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.errors import UsageError
from minicfg.io.atomic import check_writable, write_atomic
from minicfg.io.checkpoint import Checkpoint, load
from minicfg.metrics.classifier import Classifier
from minicfg.metrics.evaluate import Scores, evaluate_real
from minicfg.viz import plots
from minicfg.viz.page import SCORE_COLUMNS, Picture, print_table, write_report

PICTURES_PER_CLASS = 8  # samples of a class at each w, on the page
MAX_WEIGHTS = 1000


def parse_weights(text: str) -> tuple[float, ...]:
    """Parse `0:4:0.1`, which is 0, 0.1, ..., 4, or `0,0.3,1`; finite and increasing.

    >>> parse_weights("0:1:0.5"), parse_weights("-1,2")
    ((0.0, 0.5, 1.0), (-1.0, 2.0))
    """
    refused = UsageError(
        f"--w {text} is not a range of weights; write from:to:step with a step above 0, such as "
        "0:4:0.1, or increasing numbers, such as 0,0.3,1."
    )
    try:
        numbers = [float(part) for part in text.replace(":", ",").split(",")]
    except ValueError:
        raise refused from None
    if not all(map(math.isfinite, numbers)):
        raise refused
    if ":" in text:
        if text.count(":") != 2 or "," in text:
            raise refused
        low, high, step = numbers
        if step <= 0 or high < low:
            raise refused
        if (high - low) / step >= MAX_WEIGHTS:
            raise UsageError(
                f"--w {text} has too many weights; at most {MAX_WEIGHTS} are allowed, so choose a "
                "larger step."
            )
        count = int((high - low) / step + 1e-9) + 1
        numbers = [round(low + i * step, 10) for i in range(count)]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise refused
    return tuple(numbers)


def run_sweep(
    out: Path,
    path: Path,
    *,
    ws: Sequence[float],
    steps: Sequence[int],
    p_uncond: Sequence[float],
    n: int,
    seed: int,
    options: SamplingOptions,
    data_spec: str = "",
    real_spec: str = "",
    device: str = "cpu",
    reading: DataOptions = DEFAULT_DATA,
) -> int:
    """Score over `ws` for each number of steps and each p_uncond; write tables, curves and a page.

    `data_spec` names where the training data are now, and `real_spec` names held-out images. Each
    is "" if its flag is not given.

    Returns the exit code: 0, or 130 or 143 where a signal stopped the training of a variant.
    """
    for p in p_uncond:
        TrainConfig(p_uncond=p)  # refuses a number that is no probability, before any work
    plan = ScoringPlan(ws, tuple(dict.fromkeys(steps)), n, seed, options)
    trained, real = load_and_check(
        out, path, plan, data_spec, real_spec, device, reading, trains_variants=bool(p_uncond)
    )
    with lock_run_folder(out):
        classifier = train_and_save_classifier(out, real.training, trained.device, seed)
        if not p_uncond:
            models = {f"p_uncond = {trained.config.p_uncond:g}": trained}
        else:
            models = dict[str, Checkpoint]()
            for p in dict.fromkeys(p_uncond):
                model, code = _load_or_train_variant(
                    trained, real.complete, p, out / f"p_uncond-{p:g}"
                )
                if code or model is None:
                    return code
                models[f"p_uncond = {p:g}"] = model
        scores = dict[str, list[Scores]]()
        for name, model in models.items():
            for count in plan.steps:
                variant = name if len(plan.steps) == 1 else f"{name}, {count} steps"
                scores[variant] = [
                    s for s, _ in score_at_each_weight(model, real, classifier, plan, count, name)
                ]
        _write_results(out, next(iter(models.values())), real, classifier, plan, scores)
    return 0


def _load_or_train_variant(
    trained: Checkpoint,
    data: Dataset,
    p_uncond: float,
    out: Path,
) -> tuple[Checkpoint | None, int]:
    """The same run with another fraction of dropped labels, from `out` or trained into it.

    Returns the model, and the exit code of its training.
    """
    config = replace(trained.config, p_uncond=p_uncond)
    if config == trained.config:
        return trained, 0
    if (out / "model.safetensors").exists():
        model = load(out / "model", trained.device)
        is_same_data = model.data_digest == data.digest
        if is_same_data and model.config == config and model.step == config.steps:
            return model, 0
    check_writable(out)
    state, code = run_training(data, config, out, device=trained.device)
    return Checkpoint.of(state), code


def findings(ws: Sequence[float], scores: Mapping[str, Sequence[Scores]]) -> list[str]:
    """Compare each variant's scores with what the paper found on ImageNet, in sentences."""
    sentences: list[str] = []
    for name, of_variant in scores.items():
        sentences.append(_finding_on_inception_score(name, ws, of_variant))
        sentences.append(_finding_on_frechet_distance(name, ws, of_variant))
    return sentences


def _finding_on_inception_score(name: str, ws: Sequence[float], scores: Sequence[Scores]) -> str:
    best = max(range(len(ws)), key=lambda i: scores[i].inception_score)
    at_best = f"{scores[best].inception_score:.2f} +- {scores[best].inception_score_se:.2f}"
    at_end = f"{scores[-1].inception_score:.2f} +- {scores[-1].inception_score_se:.2f}"
    if best == len(ws) - 1:
        return (
            f"{name}: the Inception-style score is highest at the largest w, {at_end} at "
            f"w = {ws[-1]:g}."
        )
    return (
        f"{name}: the Inception-style score is highest at w = {ws[best]:g}, {at_best}, and "
        f"{at_end} at w = {ws[-1]:g}; on ImageNet it rose throughout."
    )


def _finding_on_frechet_distance(name: str, ws: Sequence[float], scores: Sequence[Scores]) -> str:
    best = min(range(len(ws)), key=lambda i: scores[i].frechet)
    lowest = scores[best]
    first = scores[0]
    gap = first.frechet - lowest.frechet
    standard_error = math.hypot(first.frechet_se, lowest.frechet_se)
    comparison = (
        f"{name}: the Frechet distance is lowest at w = {ws[best]:g}, "
        f"{lowest.frechet:.3g} +- {lowest.frechet_se:.2g}, {gap:.2g} below that of w = {ws[0]:g}"
    )
    if 0 < best < len(ws) - 1 and gap > 2 * standard_error:
        return f"{comparison}: as on ImageNet."
    return (
        f"{comparison} (standard error {standard_error:.2g}): no significant minimum at a small w "
        "above 0, where ImageNet has one."
    )


def _write_results(
    out: Path,
    trained: Checkpoint,
    real: RealImages,
    classifier: Classifier,
    plan: ScoringPlan,
    scores: Mapping[str, Sequence[Scores]],
) -> None:
    """Print the table and the findings; write `sweep.json`, both pictures and the page."""
    of_real = evaluate_real(classifier, real.compared, real.unseen_by(classifier), plan.n)
    _print_table_in_papers_layout(plan.ws, scores)
    sentences = findings(plan.ws, scores)
    for name, of_variant in scores.items():
        remark = floor_remark(plan.ws, of_variant, is_held_out=real.is_held_out)
        if remark:
            sentences.append(f"{name}: {remark}")
    remark = classifier_remark(of_real, real.compared.num_classes)
    if remark:
        sentences.append(remark)
    print("\n".join([*real.sentences(), *sentences]))
    results = {
        "ws": list(plan.ws),
        "scores": {name: [asdict(s) for s in values] for name, values in scores.items()},
        "real": asdict(of_real),
        "compared_with": real.describe(),
        "findings": sentences,
        "options": str(plan.options),
        "samples": plan.n,
        "seed": plan.seed,
        "classifier": describe_classifier(classifier, plan.seed),
    }
    write_atomic(out / "sweep.json", f"{json.dumps(results, indent=1)}\n".encode())
    first_name, first_scores = next(iter(scores.items()))
    curves = plots.sweep_curves(plan.ws, scores)
    trade_off = plots.trade_off(plan.ws, first_scores, of_real)
    plots.save_figure(curves, out / "curves.png")
    plots.save_figure(trade_off, out / "trade_off.png")
    steps = ", ".join(map(str, plan.steps))
    write_report(
        out / "report.html",
        title=f"Guidance over w: {real.complete.name}",
        sentences=[*real.sentences(), *sentences],
        stops=_draw_picture_at_each_weight(trained, plan),
        head=SCORE_COLUMNS,
        rows=score_rows(plan.ws, first_scores, of_real),
        pictures=[
            Picture(
                plots.png_bytes(curves),
                "Scores over w, one curve per variant, as in the paper's tables.",
            ),
            Picture(
                plots.png_bytes(trade_off),
                "Left: relevance against diversity. Right: distance to the real images.",
            ),
        ],
        made={
            "variant in the table": first_name,
            "classifier": f"{classifier.held_out_accuracy:.1%} accuracy on held-out real images",
            "sampling": f"{plan.options}, {plan.n} samples, {steps} steps, seed {plan.seed}",
            "training": ", ".join(f"{k} {v}" for k, v in asdict(trained.config).items()),
        },
    )
    print(f"Report: {(out / 'report.html').resolve()}")


def _print_table_in_papers_layout(
    ws: Sequence[float],
    scores: Mapping[str, Sequence[Scores]],
) -> None:
    """Print one row per w, with the Frechet distances and then the scores of all variants."""
    head = ["w"]
    head += [f"Frechet, {name}" for name in scores]
    head += [f"score, {name}" for name in scores]
    rows: list[list[str]] = []
    for i, w in enumerate(ws):
        at_w = [values[i] for values in scores.values()]
        row = [f"{w:g}"]
        row += [f"{s.frechet:.3f} +- {s.frechet_se:.3f}" for s in at_w]
        row += [f"{s.inception_score:.2f} +- {s.inception_score_se:.2f}" for s in at_w]
        rows.append(row)
    print_table(head, rows)


def _draw_picture_at_each_weight(
    trained: Checkpoint,
    plan: ScoringPlan,
) -> list[tuple[str, Picture]]:
    """Draw samples of every class at each w, for the slider of the page."""
    K = len(trained.classes)
    table = plan.options.make_table(trained.schedule, plan.steps[0], trained.config.prediction)
    rule = plan.options.make_rule()
    y = torch.arange(PICTURES_PER_CLASS * K, device=trained.device) % K
    stops: list[tuple[str, Picture]] = []
    for w in plan.ws:
        x = draw(
            trained.model,
            y,
            table,
            trained.shape,
            w=w,
            seed=plan.seed,
            clip=plan.options.clip,
            rule=rule,
        )
        cells = x.unflatten(0, (PICTURES_PER_CLASS, K))
        caption = (
            f"w = {w:g}: {PICTURES_PER_CLASS} samples of each class; the noise is the same at "
            "every w"
        )
        grid = plots.image_grid(cells, [""] * PICTURES_PER_CLASS, trained.classes, caption)
        stops.append((f"w = {w:g}", Picture(plots.png_bytes(grid), caption)))
    return stops
