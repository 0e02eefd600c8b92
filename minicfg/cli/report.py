"""The page at the end of `minicfg train`: the loss, samples at several weights, and next steps."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from minicfg.cli.run_folder import read_log
from minicfg.cli.training_data import data_flag
from minicfg.data import Dataset
from minicfg.training import TrainState
from minicfg.viz import plots
from minicfg.viz.page import Picture, write_report

if TYPE_CHECKING:
    from jaxtyping import Float

MAX_INTERMEDIATE_PICTURES = 4  # of samples during training, the last one among them
MAX_CLASS_NAMES = 20


def write_training_report(
    out: Path,
    data: Dataset,
    state: TrainState,
    samples: Sequence[tuple[float, Float[Tensor, "n K C H W"]]],
    sampling: str,
    duration: str,
) -> Path:
    """Write `out / "report.html"` from the folder of a finished run and from samples of its model.

    Args:
        out: the folder, with `loss.png` and, if there are any, `samples/*.png`.
        data: the training data.
        state: the last state.
        samples: for each w, n samples of each of the first K classes, from the same noise.
        sampling: the solver, its steps and the seed, in words.
        duration: how long training took, and on which device, in words.
    """
    K = data.num_classes
    size = " x ".join(map(str, data.shape))
    names = ", ".join(data.classes[:MAX_CLASS_NAMES]) + (", ..." if K > MAX_CLASS_NAMES else "")
    weights = sum(p.numel() for p in state.model.parameters())
    model = shlex.quote(str(out / "model"))
    scores = shlex.quote(str(out / "scores"))
    sweep = shlex.quote(str(out / "sweep"))
    where = data_flag(state.config.data)
    # Without --steps the commands take 50 steps, and a schedule has at most T.
    T = state.config.T
    steps = f" --steps {T}" if T < 50 else ""
    write_report(
        out / "report.html",
        title=f"A model of {data.name}",
        sentences=[
            f"After {state.step} steps of training the network draws the samples below, given "
            "only a label. Move the slider to change the guidance weight w; the noise is the same "
            "at every w.",
            *_extensions(out),
            "This page has no scores. The commands evaluate and sweep, below, compare samples with "
            "real images.",
        ],
        stops=_sample_pictures(data, samples),
        pictures=[
            Picture(
                (out / "loss.png").read_bytes(), "The loss at every step, and its running mean."
            ),
            *_intermediate_pictures(out, state.step),
        ],
        commands=[
            ("save samples as a picture", f"minicfg sample {model} --w 2{steps} --out samples.png"),
            ("compare with real images", f"minicfg evaluate {model}{where}{steps} --out {scores}"),
            (
                "score over w",
                f"minicfg sweep {model}{where} --w 0:4:0.5{steps} --out {sweep}",
            ),
        ],
        made={
            "model": f"{out / 'model.safetensors'}, {weights:,} weights, averaged",
            "data": f"{data.name}: {len(data)} images of {size}, {K} classes: {names}",
            "training": ", ".join(
                f"{name} {value}" for name, value in asdict(state.config).items()
            ),
            "samples": sampling,
            "time": duration,
            "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        },
    )
    return out / "report.html"


def _extensions(out: Path) -> list[str]:
    """A sentence for each time that the run was resumed with a larger number of steps."""
    sentences: list[str] = []
    for line in read_log(out):
        if "extended" in line:
            before, after = line["extended"]
            sentences.append(
                f"At step {line['step']} the run was extended from {before} to {after} steps. The "
                "learning rate of a step depends on the number of steps, so its cycle was "
                "stretched, and the model differs from one that was trained for "
                f"{after} steps from the start."
            )
    return sentences


def _sample_pictures(
    data: Dataset,
    samples: Sequence[tuple[float, Float[Tensor, "n K C H W"]]],
) -> list[tuple[str, Picture]]:
    """A grid of samples for each w, one column per class."""
    stops: list[tuple[str, Picture]] = []
    for w, x in samples:
        n, K = x.shape[:2]
        caption = f"w = {w:g}: {n} samples of each class; the noise is the same at every w"
        grid = plots.image_grid(x, [""] * n, data.classes[:K], caption)
        stops.append((f"w = {w:g}", Picture(plots.png_bytes(grid), caption)))
    return stops


def _intermediate_pictures(out: Path, last_step: int) -> list[Picture]:
    """Pictures saved during training: at most a few, evenly spaced, up to the last step."""
    steps = {
        int(path.stem.removeprefix("step-")): path for path in (out / "samples").glob("step-*.png")
    }
    saved = sorted(step for step in steps if step <= last_step)
    count = min(MAX_INTERMEDIATE_PICTURES, len(saved))
    chosen = [saved[int(i)] for i in np.linspace(0, len(saved) - 1, count)]
    return [Picture(steps[step].read_bytes(), f"Samples after step {step}.") for step in chosen]
