"""The command `minicfg demo`: from handwritten digits to a page that shows what guidance does."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minicfg import solvers
from minicfg.cli.progress import progress
from minicfg.cli.run_folder import lock_run_folder, read_config_of_run, state_file
from minicfg.cli.sample import draw
from minicfg.cli.train import run_training
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.datasets import load_data
from minicfg.errors import UsageError
from minicfg.io.atomic import check_writable, write_atomic
from minicfg.io.checkpoint import WEIGHTS, Checkpoint, load
from minicfg.metrics.classifier import train_classifier
from minicfg.metrics.evaluate import Scores, evaluate
from minicfg.sampling import sample_steps
from minicfg.viz import plots
from minicfg.viz.page import SCORE_COLUMNS, Picture, print_table, score_row, write_report

WS = (0.0, 0.1, 0.3, 0.5, 1.0, 2.0, 4.0)
ANIMATION_W = 1.0
ANIMATION_STEPS = 40
PICTURES_PER_CLASS = 8
GLYPH_LETTERS = "AEGKMRSW"
GLYPH_WS = (0.0, 1.0, 2.0, 4.0, 8.0)
GLYPH_STEPS = 25
SENTENCES = (
    "One network was trained to denoise digits with their label and, for one image in ten, without "
    "it. The guidance weight w sets how far a step extrapolates from the unconditional output, "
    "beyond the conditional one.",
    "Move the slider: only w changes, the noise stays the same. As w grows, ambiguous digits "
    "become clear members of their class, and each class loses variety.",
    "In the table, a small w raises the accuracy and lowers the spread, which is 1 for real "
    "digits. A large w exaggerates the digits, and the Frechet distance measures how far they are "
    "from real ones; its floor is the distance between two sets of real digits.",
)
CAPTIONS = (
    ("grid.png", "One row per class; along a row only w differs."),
    ("trade_off.png", "Left: relevance against diversity. Right: distance to the real digits."),
    ("denoising.gif", "The reverse chain at w = 1: x_t above, the guess of x_0 below."),
    (
        "glyphs.png",
        "Samples of a larger network, which was trained on letters in 17 typefaces and comes with "
        "minicfg. One row per letter; along a row only w differs. Compare the strokes, the "
        "typefaces and the colours.",
    ),
    (
        "modes.png",
        "What guidance does to the modes of these letters, counted in 780 samples for each point; "
        "this was measured once and comes with the network. With a constant w the bold faces grow "
        "and others vanish, and even the colours, which say nothing about the letter, lose their "
        "variety. A weight that is small or 0 while there is much noise keeps most of both.",
    ),
)


def run_demo(out: Path, *, quick: bool, seed: int) -> int:
    """Train, sample every class at every w from the same noise, score, write `report.html`.

    The results of an earlier demo in the folder are replaced.

    Returns:
        The exit code: 0, or 130 or 143 where a signal stopped the training.

    Raises:
        UsageError: if the folder contains another training run, whose model would be lost.
    """
    config = TrainConfig(data="digits", seed=seed)
    n = 900
    steps = 50
    classifier_steps = 400
    if quick:
        config = replace(config, steps=200)
        n = 200
        steps = 10
        classifier_steps = 150
    check_writable(out)
    with lock_run_folder(out):
        if state_file(out).exists() and not _is_result_of_demo(out):
            raise UsageError(
                f"--out {out} contains a training run, whose model the demo would overwrite; "
                "choose another folder, or delete this one if you no longer need the run."
            )
        return make_demo(out, config, n=n, steps=steps, classifier_steps=classifier_steps)


def _is_result_of_demo(out: Path) -> bool:
    """Whether the run in the folder is that of a finished demo, and was not trained further."""
    try:
        metrics = json.loads((out / "metrics.json").read_bytes())
    except (OSError, ValueError):
        return False
    config = read_config_of_run(out)
    if config is None or not isinstance(metrics, dict):
        return False
    return metrics.get("config") == json.loads(json.dumps(asdict(config)))


def make_demo(
    out: Path,
    config: TrainConfig,
    *,
    n: int,
    steps: int,
    classifier_steps: int,
) -> int:
    """Run all parts of the demo into `out`, with `n` samples at each w in `steps` steps."""
    seconds: dict[str, float] = {}
    began = time.perf_counter()

    def record_time(name: str) -> None:
        seconds[name] = round(time.perf_counter() - began - sum(seconds.values()), 1)

    data = load_data(config.data, config.size)
    record_time("data")
    state, code = run_training(data, config, out)
    if code:
        return code
    record_time("training")
    classifier = train_classifier(data, seed=config.seed, steps=classifier_steps)
    record_time("classifier")
    trained = Checkpoint.of(state)
    table = solvers.ddpm(trained.schedule, steps, config.prediction)
    # Sample i is of class i mod 10 and has noise i at every w. The first ten are in the picture.
    y = torch.arange(n) % data.num_classes
    samples: list[Tensor] = []
    scores: list[Scores] = []
    with progress(n * len(WS), "sampling", "images") as advance:
        for w in WS:
            x = draw(trained.model, y, table, data.shape, w=w, seed=config.seed, advance=advance)
            samples.append(x)
            scores.append(evaluate(x, y, classifier, data))
    record_time("sampling and scoring")
    _save_pictures(out, data, trained, samples, scores)
    record_time("pictures")
    _save_glyphs(out, config.seed)
    record_time("glyphs")
    metrics = {
        "classifier_held_out_accuracy": classifier.held_out_accuracy,
        "scores": [{"w": w, **asdict(score)} for w, score in zip(WS, scores, strict=True)],
        "seconds": seconds,
        "config": asdict(config),
        "sampling": {"steps": steps, "seed": config.seed, "samples": n},
    }
    write_atomic(out / "metrics.json", f"{json.dumps(metrics, indent=1)}\n".encode())
    rows = [score_row(f"{w:g}", score) for w, score in zip(WS, scores, strict=True)]
    _write_page(out, data, samples, rows, metrics)
    print_table(SCORE_COLUMNS, rows)
    print(f"Accuracy of the classifier on held-out real digits: {classifier.held_out_accuracy:.1%}")
    print(f"Report, in {sum(seconds.values()):.0f} s: {(out / 'report.html').resolve()}")
    return 0


def _save_pictures(
    out: Path,
    data: Dataset,
    trained: Checkpoint,
    samples: Sequence[Tensor],
    scores: Sequence[Scores],
) -> None:
    cells = torch.stack([x[: data.num_classes] for x in samples], dim=1)
    columns = [f"w = {w:g}" for w in WS]
    title = "One row per class; along a row, only w differs"
    plots.save_figure(plots.image_grid(cells, data.classes, columns, title), out / "grid.png")
    plots.save_figure(plots.trade_off(WS, scores), out / "trade_off.png")
    plots.denoising_gif(_chain(trained), out / "denoising.gif", ["x_t", "guess of x_0"])


def _save_glyphs(out: Path, seed: int) -> None:
    """Draw some letters at several w with the network that comes with minicfg.

    The figure of `minicfg.bench.modes`, which takes an hour to measure, is copied beside them.
    """
    write_atomic(out / "modes.png", (WEIGHTS / "modes.png").read_bytes())
    trained = load("glyphs")
    table = solvers.ddim(trained.schedule, GLYPH_STEPS, trained.config.prediction)
    y = torch.tensor([trained.classes.index(letter) for letter in GLYPH_LETTERS])
    columns: list[Tensor] = []
    with progress(len(y) * len(GLYPH_WS), "sampling glyphs", "images") as advance:
        for w in GLYPH_WS:
            x = draw(trained.model, y, table, trained.shape, w=w, seed=seed, advance=advance)
            columns.append(x)
    cells = torch.stack(columns, dim=1)
    names = [f"w = {w:g}" for w in GLYPH_WS]
    title = "One row per letter; along a row, only w differs"
    plots.save_figure(plots.image_grid(cells, GLYPH_LETTERS, names, title), out / "glyphs.png")


def _chain(trained: Checkpoint) -> Iterator[tuple[int, Tensor]]:
    """x_t and the guess of x_0 at every step of a short chain, one sample of each class."""
    table = solvers.ddpm(trained.schedule, ANIMATION_STEPS, trained.config.prediction)
    y = torch.arange(len(trained.classes))
    states = sample_steps(
        trained.model,
        y,
        table,
        shape=trained.shape,
        w=ANIMATION_W,
        seed=trained.config.seed,
        clip=1.0,
    )
    for state in states:
        yield state.s, torch.stack([state.x, state.x0hat])


def _write_page(
    out: Path,
    data: Dataset,
    samples: Sequence[Tensor],
    rows: Sequence[Sequence[str]],
    metrics: Mapping[str, Any],
) -> None:
    K = data.num_classes
    stops: list[tuple[str, Picture]] = []
    for w, x in zip(WS, samples, strict=True):
        cells = x[: PICTURES_PER_CLASS * K].unflatten(0, (PICTURES_PER_CLASS, K))
        caption = f"w = {w:g}: eight samples of each class; the noise is the same at every w"
        grid = plots.image_grid(cells, [""] * PICTURES_PER_CLASS, data.classes, caption)
        stops.append((f"w = {w:g}", Picture(plots.png_bytes(grid), caption)))
    accuracy = metrics["classifier_held_out_accuracy"]
    write_report(
        out / "report.html",
        title="What guidance does to handwritten digits",
        sentences=SENTENCES,
        stops=stops,
        head=SCORE_COLUMNS,
        rows=rows,
        pictures=[Picture((out / name).read_bytes(), caption) for name, caption in CAPTIONS],
        made={
            "classifier": f"{accuracy:.1%} accuracy on held-out real digits",
            "seconds": ", ".join(f"{name} {s:g}" for name, s in metrics["seconds"].items()),
            "training": ", ".join(f"{name} {value}" for name, value in metrics["config"].items()),
            "sampling": ", ".join(f"{name} {value}" for name, value in metrics["sampling"].items()),
            "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        },
    )
