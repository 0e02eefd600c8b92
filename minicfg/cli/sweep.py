"""What `minicfg evaluate` and `sweep` do: a trained model scored, at a few w and over many.

A sweep reproduces in small the shape of the paper's tables 1 and 2 (Ho and Salimans 2022,
arXiv:2207.12598): Frechet distance and Inception-style score over w, for several shares of dropped
labels or numbers of steps. It says in words whether these images show what ImageNet showed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save as to_bytes
from tqdm import tqdm

from minicfg.cli.options import How
from minicfg.cli.train import MOST, draw, held, run_training
from minicfg.config import TrainConfig
from minicfg.data import Dataset, check_seed
from minicfg.datasets.load import load_data
from minicfg.distributed import Ranks
from minicfg.errors import DataError, UsageError
from minicfg.io.atomic import check_writable, write_atomic
from minicfg.io.checkpoint import Checkpoint, load
from minicfg.metrics.classifier import Judge, check_images, train_judge
from minicfg.metrics.evaluate import Scores, evaluate, evaluate_real
from minicfg.viz import plots
from minicfg.viz.page import SCORE_COLUMNS, Picture, print_table, score_row, write_report

EACH = 8  # samples of a class in the sweep's pictures
MOST_WS = 1000


def parse_ws(text: str) -> tuple[float, ...]:
    """`0:4:0.1` is 0, 0.1, ..., 4; `0,0.3,1` is these three. Finite, increasing.

    >>> parse_ws("0:1:0.5"), parse_ws("-1,2")
    ((0.0, 0.5, 1.0), (-1.0, 2.0))
    """
    needed = f"--w {text}: from:to:step with a step above 0, or increasing numbers like 0,0.3,1"
    try:
        numbers = [float(part) for part in text.replace(":", ",").split(",")]
    except ValueError:
        raise UsageError(f"{needed}, is needed") from None
    if not all(map(math.isfinite, numbers)):
        raise UsageError(f"{needed}, is needed")
    if ":" in text:
        if text.count(":") != 2 or "," in text or numbers[2] <= 0 or numbers[1] < numbers[0]:
            raise UsageError(f"{needed}, is needed")
        low, high, step = numbers
        if (high - low) / step >= MOST_WS:
            raise UsageError(f"--w {text}: too many weights; at most {MOST_WS} are allowed")
        count = int((high - low) / step + 1e-9) + 1
        numbers = [round(low + i * step, 10) for i in range(count)]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise UsageError(f"{needed}, is needed")
    return tuple(numbers)


def evaluate_into(
    out: Path, path: Path, *, ws: Sequence[float], steps: int, n: int, seed: int, how: How,
    device: str = "cpu",
) -> int:  # fmt: skip
    """Score a model at each w beside real images; `metrics.json` and the judge go into `out`."""
    trained, data = _prepared(out, path, ws, [steps], n, seed, how, device)
    with held(out):
        judge = _judge(out, data, trained.device, seed)
        scores = _scores(trained, data, judge, ws, steps, n, seed, how)
        real = evaluate_real(judge, data, n)
        print_table(SCORE_COLUMNS, _rows(ws, scores, real))
        metrics = {
            "real": asdict(real),
            "scores": [{"w": w, **asdict(s)} for w, s in zip(ws, scores, strict=True)],
            "sampling": {"how": str(how), "steps": steps, "seed": seed, "samples": n},
            "judge": _about(judge, seed),
        }
        write_atomic(out / "metrics.json", f"{json.dumps(metrics, indent=1)}\n".encode())
    print(out / "metrics.json")
    return 0


def sweep_into(
    out: Path, path: Path, *, ws: Sequence[float], steps: Sequence[int],
    p_uncond: Sequence[float], n: int, seed: int, how: How, device: str = "cpu",
) -> int:  # fmt: skip
    """Score over `ws` for each number of steps and each p_uncond; tables, curves and a page.

    Returns the exit code: 0, or 130 and 143 where a signal stopped the training of a variant.
    """
    steps = tuple(dict.fromkeys(steps))
    for p in p_uncond:
        TrainConfig(p_uncond=p)  # refuses what is no share, before any work
    trained, data = _prepared(out, path, ws, steps, n, seed, how, device)
    with held(out):
        judge = _judge(out, data, trained.device, seed)
        models = {f"p_uncond = {trained.config.p_uncond:g}": trained}
        if p_uncond:
            models = {}
            for p in dict.fromkeys(p_uncond):
                model, code = _variant(trained, data, p, out / f"p_uncond-{p:g}")
                if code or model is None:
                    return code
                models[f"p_uncond = {p:g}"] = model
        found: dict[str, list[Scores]] = {}
        for name, model in models.items():
            for count in steps:
                key = name if len(steps) == 1 else f"{name}, {count} steps"
                found[key] = _scores(model, data, judge, ws, count, n, seed, how)
        _write(out, next(iter(models.values())), data, judge, ws, steps, found, n, seed, how)
    return 0


def findings(ws: Sequence[float], found: Mapping[str, Sequence[Scores]]) -> list[str]:
    """What the paper found on ImageNet, said of these scores, their errors beside them."""
    said: list[str] = []
    for name, scores in found.items():
        score = [s.inception_score for s in scores]
        top = max(range(len(ws)), key=lambda i: score[i])
        end = f"{score[-1]:.2f} +- {scores[-1].inception_score_se:.2f} at w = {ws[-1]:g}"
        if top == len(ws) - 1:
            said.append(f"{name}: the Inception-style score is highest at the largest w, {end}.")
        else:
            said.append(
                f"{name}: the Inception-style score is highest at w = {ws[top]:g}, "
                f"{score[top]:.2f} +- {scores[top].inception_score_se:.2f}, and {end}; on ImageNet "
                "it rose throughout."
            )
        low = min(range(len(ws)), key=lambda i: scores[i].frechet)
        lowest, first = scores[low], scores[0]
        gap = first.frechet - lowest.frechet
        bar = math.hypot(first.frechet_se, lowest.frechet_se)
        where = f"lowest at w = {ws[low]:g}, {lowest.frechet:.3g} +- {lowest.frechet_se:.2g}"
        told = f"{gap:.2g} below that of w = {ws[0]:g}"
        if 0 < low < len(ws) - 1 and gap > 2 * bar:
            said.append(f"{name}: the Frechet distance is {where}, {told}: as on ImageNet.")
        else:
            said.append(
                f"{name}: the Frechet distance is {where}, {told}, whose error is {bar:.2g}: no "
                "minimum at a small w above 0, as ImageNet showed, that can be told from chance."
            )
    return said


def _prepared(
    out: Path, path: Path, ws: Sequence[float], steps: Sequence[int], n: int, seed: int, how: How,
    device: str,
) -> tuple[Checkpoint, Dataset]:  # fmt: skip
    """Refuse what cannot be before any work and before `out` is there; the model and its data."""
    if not ws or not steps:
        raise UsageError(f"--{'steps' if ws else 'w'} is empty: one or more are needed")
    check_seed(seed)
    how.check_ws(ws)
    how.mix()
    trained = load(path, Ranks().device(device))
    for count in steps:
        how.table(trained.schedule, count, trained.config.prediction)
    data = load_data(trained.config.data, trained.config.size)
    if data.classes != trained.classes or data.shape != trained.shape:
        raise DataError(
            f"{trained.config.data} has {data.num_classes} classes of {data.shape}: {path} was "
            f"trained on {len(trained.classes)} of {trained.shape}, other data"
        )
    if not 4 * data.num_classes <= n <= MOST:
        raise UsageError(
            f"n = {n}: at least {4 * data.num_classes}, 4 a class, and at most {MOST} are needed"
        )
    check_images(data, 18)  # of which the judge's held-out fifth has 4, as `evaluate` needs
    check_writable(out)
    return trained, data


def _judge(out: Path, data: Dataset, device: torch.device, seed: int) -> Judge:
    """A judge of `data` on `device`; what it has learnt, on the CPU as ever, goes into `out`."""
    judge = train_judge(data, seed=seed)
    write_atomic(out / "judge.safetensors", to_bytes(judge.state_dict()))
    return judge.to(device)


def _about(judge: Judge, seed: int) -> dict[str, object]:
    return {
        "file": "judge.safetensors",
        "network": str(judge),
        "images": judge.shape,
        "seed": seed,
        "held_out_accuracy": judge.held_out_accuracy,
    }


def _scores(
    trained: Checkpoint, data: Dataset, judge: Judge, ws: Sequence[float], steps: int, n: int,
    seed: int, how: How,
) -> list[Scores]:  # fmt: skip
    """The scores at each w, of `n` samples from the same noise."""
    table, rule = how.table(trained.schedule, steps, trained.config.prediction), how.mix()
    y = torch.arange(n, device=trained.device) % data.num_classes
    scores = list[Scores]()
    label = f"p_uncond = {trained.config.p_uncond:g}, {steps} steps"
    with tqdm(total=n * len(ws), desc=label, unit=" images", disable=None) as bar:
        for w in ws:
            x = draw(trained.model, y, table, data.shape, w=w, seed=seed, rule=rule, bar=bar)
            scores.append(evaluate(x, y, judge, data))
    return scores


def _variant(
    trained: Checkpoint, data: Dataset, p: float, out: Path
) -> tuple[Checkpoint | None, int]:
    """The same run with another share of dropped labels: found in `out`, or trained into it."""
    config = replace(trained.config, p_uncond=p)
    if config == trained.config:
        return trained, 0
    if (out / "model.safetensors").exists():
        model = load(out / "model", trained.device)
        if model.config == config and model.step == config.steps:
            return model, 0
    check_writable(out)
    state, code = run_training(data, config, out, device=trained.device)
    return Checkpoint.of(state), code


def _rows(ws: Sequence[float], scores: Sequence[Scores], real: Scores) -> list[list[str]]:
    rows = [score_row(f"{w:g}", s) for w, s in zip(ws, scores, strict=True)]
    return [*rows, score_row("real images", real)]


def _write(
    out: Path, trained: Checkpoint, data: Dataset, judge: Judge, ws: Sequence[float],
    steps: Sequence[int], found: Mapping[str, Sequence[Scores]], n: int, seed: int, how: How,
) -> None:  # fmt: skip
    """`sweep.json`, the table in the paper's layout, `curves.png`, `trade_off.png`, the page."""
    real, first = evaluate_real(judge, data, n), next(iter(found.values()))
    head = ["w", *(f"Frechet, {name}" for name in found), *(f"score, {name}" for name in found)]
    rows = [
        [
            f"{w:g}",
            *(f"{s[i].frechet:.3f} +- {s[i].frechet_se:.3f}" for s in found.values()),
            *(
                f"{s[i].inception_score:.2f} +- {s[i].inception_score_se:.2f}"
                for s in found.values()
            ),
        ]
        for i, w in enumerate(ws)
    ]
    print_table(head, rows)
    said = findings(ws, found)
    print("\n".join(said))
    every = {name: [asdict(s) for s in scores] for name, scores in found.items()}
    about = {"ws": list(ws), "scores": every, "real": asdict(real), "findings": said}
    about |= {"how": str(how), "samples": n, "seed": seed, "judge": _about(judge, seed)}
    write_atomic(out / "sweep.json", f"{json.dumps(about, indent=1)}\n".encode())
    curves, trade_off = plots.sweep_curves(ws, found), plots.trade_off(ws, first, real)
    plots.save_figure(curves, out / "curves.png")
    plots.save_figure(trade_off, out / "trade_off.png")
    K, stops = data.num_classes, list[tuple[str, Picture]]()
    table, rule = how.table(trained.schedule, steps[0], trained.config.prediction), how.mix()
    y = torch.arange(EACH * K, device=trained.device) % K
    for w in ws:
        x = draw(trained.model, y, table, data.shape, w=w, seed=seed, rule=rule)
        caption = f"w = {w:g}: {EACH} samples of each class; the noise is the same at every w"
        grid = plots.image_grid(x.unflatten(0, (EACH, K)), [""] * EACH, data.classes, caption)
        stops.append((f"w = {w:g}", Picture(plots.png_bytes(grid), caption)))
    write_report(
        out / "report.html",
        title=f"Guidance over w: {data.name}",
        sentences=said,
        stops=stops,
        head=SCORE_COLUMNS,
        rows=_rows(ws, first, real),
        pictures=[
            Picture(
                plots.png_bytes(curves), "Over w, a curve a variant, as in the paper's tables."
            ),
            Picture(
                plots.png_bytes(trade_off), "Left: relevance against diversity. Right: distance."
            ),
        ],
        made={
            "the table's variant": next(iter(found)),
            "classifier": f"{judge.held_out_accuracy:.1%} right on real images held out",
            "sampling": f"{how}, {n} samples, {', '.join(map(str, steps))} steps, seed {seed}",
            "training": ", ".join(f"{k} {v}" for k, v in asdict(trained.config).items()),
        },
    )
    print(f"Report: {(out / 'report.html').resolve()}")
