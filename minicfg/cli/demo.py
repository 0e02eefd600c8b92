"""The main job: from digits that come with scikit-learn to a page that shows what guidance does."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from minicfg import solvers
from minicfg.cli.train import draw, held, run_training
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.datasets.load import load_data
from minicfg.io.atomic import check_writable, write_atomic
from minicfg.io.checkpoint import Checkpoint
from minicfg.metrics.classifier import train_judge
from minicfg.metrics.evaluate import Scores, evaluate
from minicfg.sampling import sample_steps
from minicfg.viz import plots
from minicfg.viz.page import SCORE_COLUMNS, Picture, print_table, score_row, write_report

WS = (0.0, 0.1, 0.3, 0.5, 1.0, 2.0, 4.0)
GIF_W, GIF_STEPS = 1.0, 40
SENTENCES = (
    "One network learnt to denoise digits with their label and, one time in ten, without it; w "
    "says how far to go past the labelled answer, away from the unlabelled one.",
    "Move the slider: only w changes, never the noise; watch doubtful digits become sure of their "
    "class, and classes lose their variety.",
    "In the table, a little w buys accuracy with spread, which is 1 for real digits; a large w "
    "overdraws them, and the Frechet distance says how far from real digits that leads: its floor "
    "is what real digits score against other real digits.",
)
CAPTIONS = (
    ("grid.png", "One row a class; along a row only w differs."),
    ("trade_off.png", "Left: relevance against diversity. Right: distance to the real digits."),
    ("denoising.gif", "The reverse chain at w = 1: x_t above, the guess of x_0 below."),
)


def demo(out: Path, *, quick: bool, seed: int) -> int:
    """Train, sample every class at every w from the same noise, score, write `report.html`.

    Returns the exit code: 0, or 130 and 143 where a signal stopped the training.
    """
    config = TrainConfig(seed=seed)
    n, steps, judge_steps = 900, 50, 400
    if quick:
        config, n, steps, judge_steps = replace(config, steps=200), 200, 10, 150
    check_writable(out)
    with held(out):
        return _demo(out, config, n, steps, judge_steps)


def _demo(out: Path, config: TrainConfig, n: int, steps: int, judge_steps: int) -> int:
    """What `demo` does into its folder: `n` samples at each w, in so many steps."""
    seed = config.seed
    seconds: dict[str, float] = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        seconds[name] = round(time.perf_counter() - began - sum(seconds.values()), 1)

    data = load_data(config.data, config.size)
    lap("data")
    state, code = run_training(data, config, out)
    if code:
        return code
    lap("training")
    judge = train_judge(data, seed=seed, steps=judge_steps)
    lap("judge")
    trained = Checkpoint.of(state)
    table = solvers.ddpm(trained.schedule, steps, config.prediction)
    # Sample i is of class i mod 10 and has noise i at every w: the first ten are the picture's.
    y = torch.arange(n) % data.num_classes
    samples: list[Tensor] = []
    scores: list[Scores] = []
    with tqdm(total=n * len(WS), desc="sampling", unit=" images", disable=None) as bar:
        for w in WS:
            samples.append(draw(trained.model, y, table, data.shape, w=w, seed=seed, bar=bar))
            scores.append(evaluate(samples[-1], y, judge, data))
    lap("sampling and scoring")
    cells = torch.stack([x[: data.num_classes] for x in samples], dim=1)
    columns = [f"w = {w:g}" for w in WS]
    title = "One row a class; along a row, only w differs"
    plots.save_figure(plots.image_grid(cells, data.classes, columns, title), out / "grid.png")
    plots.save_figure(plots.trade_off(WS, scores), out / "trade_off.png")
    plots.denoising_gif(_chain(trained, seed), out / "denoising.gif", ["x_t", "guess of x_0"])
    lap("pictures")
    metrics = {
        "judge_held_out_accuracy": judge.held_out_accuracy,
        "scores": [{"w": w, **asdict(score)} for w, score in zip(WS, scores, strict=True)],
        "seconds": seconds,
        "config": asdict(config),
        "sampling": {"steps": steps, "seed": seed, "samples": n},
    }
    write_atomic(out / "metrics.json", f"{json.dumps(metrics, indent=1)}\n".encode())
    rows = [score_row(f"{w:g}", score) for w, score in zip(WS, scores, strict=True)]
    _page(out, data, samples, rows, metrics)
    print_table(SCORE_COLUMNS, rows)
    print(f"The judge, on real digits it never saw: {judge.held_out_accuracy:.1%} right.")
    print(f"Report, in {sum(seconds.values()):.0f} s: {(out / 'report.html').resolve()}")
    return 0


def _page(
    out: Path,
    data: Dataset,
    samples: list[Tensor],
    rows: list[list[str]],
    metrics: dict[str, Any],
) -> None:
    K, each = data.num_classes, 8
    stops: list[tuple[str, Picture]] = []
    for w, x in zip(WS, samples, strict=True):
        cells = x[: each * K].unflatten(0, (each, K))
        caption = f"w = {w:g}: eight samples of each class; the noise is the same at every w"
        grid = plots.image_grid(cells, [""] * each, data.classes, caption)
        stops.append((f"w = {w:g}", Picture(plots.png_bytes(grid), caption)))
    write_report(
        out / "report.html",
        title="What guidance does to handwritten digits",
        sentences=SENTENCES,
        stops=stops,
        head=SCORE_COLUMNS,
        rows=rows,
        pictures=[Picture((out / name).read_bytes(), caption) for name, caption in CAPTIONS],
        made={
            "classifier": f"{metrics['judge_held_out_accuracy']:.1%} right on real digits held out",
            "seconds": ", ".join(f"{name} {s:g}" for name, s in metrics["seconds"].items()),
            "training": ", ".join(f"{name} {value}" for name, value in metrics["config"].items()),
            "sampling": ", ".join(f"{name} {value}" for name, value in metrics["sampling"].items()),
            "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        },
    )


def _chain(trained: Checkpoint, seed: int) -> Iterator[tuple[int, Tensor]]:
    """x_t and the guess of x_0, one of each class, at every step of a short chain."""
    table = solvers.ddpm(trained.schedule, GIF_STEPS, trained.config.prediction)
    y = torch.arange(len(trained.classes))
    for state in sample_steps(
        trained.model, y, table, shape=trained.shape, w=GIF_W, seed=seed, clip=1.0
    ):
        yield state.s, torch.stack([state.x, state.x0])
