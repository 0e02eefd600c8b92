"""The page that `minicfg train` ends with: how the loss fell, what is drawn, what to do next."""

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

from minicfg.data import Dataset
from minicfg.training import TrainState
from minicfg.viz import plots
from minicfg.viz.page import Picture, write_report

if TYPE_CHECKING:
    from jaxtyping import Float

ON_THE_WAY = 4  # pictures of the way at most, the last among them


def write_page(
    out: Path,
    data: Dataset,
    state: TrainState,
    drawn: Sequence[tuple[float, Float[Tensor, "n K C H W"]]],
    how_drawn: str,
    took: str,
) -> Path:
    """Write `out / "report.html"` from a finished run's folder and from samples of its end.

    Args:
        out: the folder, with `loss.png` and, if there are any, `samples/*.png`.
        data: what was learnt from.
        state: the last one.
        drawn: for each w, n samples of each of the first K classes, from the same noise.
        how_drawn: the solver, its steps and the seed.
        took: how long it all took, and where.
    """
    stops: list[tuple[str, Picture]] = []
    for w, x in drawn:
        n, shown = x.shape[:2]
        caption = f"w = {w:g}: {n} samples of each class; the noise is the same at every w"
        grid = plots.image_grid(x, [""] * n, data.classes[:shown], caption)
        stops.append((f"w = {w:g}", Picture(plots.png_bytes(grid), caption)))
    loss = Picture((out / "loss.png").read_bytes(), "The loss of every step, and its running mean.")
    way = sorted((out / "samples").glob("step-*.png"))
    way = [path for path in way if int(path.stem.removeprefix("step-")) <= state.step]
    few = {int(i) for i in np.linspace(0, len(way) - 1, min(ON_THE_WAY, len(way)))}
    pictures = [
        Picture(way[i].read_bytes(), f"On the way, after step {int(way[i].stem[5:])}.")
        for i in sorted(few)
    ]
    K, model = data.num_classes, shlex.quote(str(out / "model"))
    size = " x ".join(map(str, data.shape))
    names = ", ".join(data.classes[:20]) + (", ..." if K > 20 else "")
    write_report(
        out / "report.html",
        title=f"What was learnt from {data.name}",
        sentences=[
            f"After {state.step} steps the network draws what is below, given a label alone. "
            "Move the slider: only w, the weight of guidance, changes; the noise is the same.",
            "Nothing is scored here: evaluate and sweep, below, hold samples against real images.",
        ],
        stops=stops,
        pictures=[loss, *pictures],
        commands=[
            ("samples into a picture", f"minicfg sample {model} --w 2 --out samples.png"),
            ("scores beside real images", f"minicfg evaluate {model} --out {_at(out, 'scores')}"),
            ("scores over w", f"minicfg sweep {model} --w 0:4:0.5 --out {_at(out, 'sweep')}"),
        ],
        made={
            "model": f"{out / 'model.safetensors'}, {_count(state)} weights, averaged",
            "data": f"{data.name}: {len(data)} images of {size}, {K} classes: {names}",
            "training": ", ".join(
                f"{name} {value}" for name, value in asdict(state.config).items()
            ),
            "samples": how_drawn,
            "time": took,
            "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        },
    )
    return out / "report.html"


def _at(out: Path, name: str) -> str:
    return shlex.quote(str(out / name))


def _count(state: TrainState) -> str:
    return f"{sum(p.numel() for p in state.model.parameters()):,}"
