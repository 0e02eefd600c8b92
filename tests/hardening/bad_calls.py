"""Bad input by kind, to the functions of the package: the call, its error, and what it says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from kernels import philox
from minicfg import editing, guidance, sampling, solvers
from minicfg.adapters import Autoguided, schedule_from_diffusers
from minicfg.config import TrainConfig
from minicfg.data import Dataset, split
from minicfg.datasets import load_data
from minicfg.errors import DataError, MachineError, UsageError
from minicfg.io.atomic import check_writable, write_atomic
from minicfg.io.checkpoint import Checkpoint, load, save
from minicfg.metrics.classifier import train_classifier
from minicfg.metrics.frechet import frechet_distance
from minicfg.metrics.inception_score import inception_score
from minicfg.metrics.precision_recall import precision_recall
from minicfg.metrics.spread import within_class_spread
from minicfg.schedule import Schedule
from minicfg.training import train_steps
from minicfg.unet import UNet
from minicfg.viz import plots
from minicfg.viz.page import write_report

SCHEDULE = Schedule.cosine(10)
CONFIG = TrainConfig(steps=1, batch=4, width=8, multipliers=(1, 2), T=10)
NET = UNet(1, 3, width=8, multipliers=(1, 2))
TABLE = solvers.ddpm(SCHEDULE, 2)
X, Y = torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
DATA = Dataset(X, Y, ("a", "b", "c"), "four")
ROWS = np.ones((4, 2))


@dataclass(frozen=True)
class Call:
    """One call that is refused."""

    kind: str
    name: str
    call: Callable[[], object]
    error: type[Exception]
    said: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


def at(value: float) -> torch.Tensor:
    x = X.clone()
    x[1, 0, 2, 3] = value
    return x


def drawn(y: torch.Tensor = Y, table: solvers.Table = TABLE, **given: Any) -> object:
    return sampling.sample(NET, y, table, **({"shape": (1, 8, 8)} | given))


def data(**changed: Any) -> Dataset:
    return replace(DATA, **changed)


def edited(**changed: Any) -> object:
    given: dict[str, Any] = {"strength": 0.5} | changed
    return editing.image_to_image(NET, given.pop("x0", X), Y, TABLE, SCHEDULE, **given)


def page(**changed: Any) -> object:
    given = {"title": "", "sentences": [], "stops": [], "pictures": [], "made": {}} | changed
    return write_report("x.html", **given)  # pyright: ignore


# Of `name: (call, what is said)`; a UsageError where no other error is put first.
CALLS: dict[str, dict[str, tuple[Any, ...]]] = {
    "labels of chains": {
        "below 0": (lambda: drawn(Y - 1), "y holds -1..1; labels are 0..2, and 3 is the null"),
        "beyond none": (lambda: drawn(Y + 2), r"y holds 2..4"),
        "int32": (lambda: drawn(Y.int()), "y is torch.int32"),
        "floats": (lambda: drawn(Y.float()), "y is torch.float32"),
        "none at all": (lambda: drawn(Y[:0]), r"y is torch.int64 \(0,\)"),
        "a table": (lambda: drawn(Y[:, None]), r"y is torch.int64 \(4, 1\)"),
    },
    "numbers of samples": {
        "below 0": (lambda: drawn(sample_ids=Y - 1), "sample_ids must lie in"),
        "too large": (lambda: drawn(sample_ids=Y + 2**32), "sample_ids must lie in"),
        "too few": (lambda: drawn(sample_ids=Y[:2]), r"sample_ids is torch.int64 \(2,\)"),
        "floats": (lambda: drawn(sample_ids=Y.float()), "sample_ids is torch.float32"),
    },
    "shapes to draw": {
        "no pixels": (lambda: drawn(shape=(1, 0, 8)), r"shape = \(1, 0, 8\)"),
        "halves": (lambda: drawn(shape=(1, 8.5, 8)), "shape = "),
        "three channels": (lambda: drawn(shape=(3, 8, 8)), "3 channels: the network takes 1"),
        "odd": (lambda: drawn(shape=(1, 7, 8)), "images are 7x8: .* divisible by 2"),
    },
    "weights as tensors": {
        "too few": (lambda: drawn(w=torch.ones(3)), r"w has shape \(3,\); pass one .*, or 4"),
        "not finite": (
            lambda: drawn(w=torch.tensor([0, math.nan, 0, 0])),
            "pass one finite number, or 4",
        ),
        "to guide": (ValueError, lambda: guidance.guide(X, X, torch.ones(3)), "w has shape"),
        "nan": (ValueError, lambda: guidance.guide(X, X, math.nan), "w = nan is not a finite"),
        "a scale": (lambda: guidance.w_from_scale(math.inf), "scale = inf"),
    },
    "a clip": {
        "0": (lambda: drawn(clip=0.0), "clip = 0.0"),
        "nan": (lambda: drawn(clip=math.nan), "clip = nan"),
    },
    "seeds as objects": {
        "text": (lambda: drawn(seed="7"), "seed = '7' is not an integer"),
        "a float": (lambda: drawn(seed=7.0), "seed = 7.0 is not"),
        "yes": (lambda: drawn(seed=True), "seed = True is not"),
        "of a split": (lambda: split(DATA, 0.5, seed=-1), "seed = -1 is not"),
        "of a run": (lambda: TrainConfig(seed=True), "seed = True .* an integer"),
        "of noise": (ValueError, lambda: philox.normal(2**64, Y, 1, (1,)), "seed = 18446744073709"),
    },
    "tables": {
        "of another prediction": (
            lambda: drawn(table=solvers.ddpm(SCHEDULE, 2, prediction="v")),
            "table is for prediction = 'v', and the model's is 'eps'",
        ),
        "without rows": (
            lambda: drawn(table=replace(TABLE, t=Y[:0], s=Y[:0], rows=TABLE.rows[:0])),
            r"rows has shape \(0, 8\); pass n >= 1 rows",
        ),
        "with a list of times": (
            lambda: replace(TABLE, t=[10, 5]),
            r"t is \[10, 5\]; pass an int64",
        ),
        "with times that rise": (lambda: replace(TABLE, t=Y[1:3]), "does not decrease"),
        "weighted by another schedule": (
            lambda: solvers.with_interval(TABLE, Schedule.linear(10), 0.0, 1.0),
            "schedule is 'linear' .* made from 'cosine'",
        ),
        "of a solver that is none": (lambda: solvers.named("heun"), "solver = 'heun'"),
        "of no steps": (lambda: solvers.ddim(SCHEDULE, 0), "steps = 0 is outside 1..10"),
        "of times that rise": (lambda: solvers.ddim(SCHEDULE, [3, 5]), "pass decreasing"),
    },
    "schedules as objects": {
        "of no steps": (lambda: Schedule.linear(0), "T = 0"),
        "of half a step": (lambda: Schedule.cosine(2.5), "T = 2.5"),  # pyright: ignore
        "of no name": (lambda: Schedule.named("square", 10), "schedule = 'square'"),
        "that do not rise": (lambda: Schedule.from_log_snr(torch.ones(3)), "does not increase"),
        "beyond float64": (lambda: Schedule.from_log_snr(Y[:2] * 99.0), "not within -36..36"),
        "without data at T = 1": (lambda: Schedule.cosine(1).zero_terminal_snr(), "T = 1"),
    },
    "a data set's images": {
        "nan": (DataError, lambda: data(x=at(math.nan)), "finite values in -1..1"),
        "infinite": (DataError, lambda: data(x=at(-math.inf)), "finite values in -1..1"),
        "beyond 1": (DataError, lambda: data(x=at(1.01)), "x holds 0..1.01"),
        "bytes": (DataError, lambda: data(x=X.byte()), "x is torch.uint8"),
        "flat": (DataError, lambda: data(x=X[:, 0]), r"\(4, 8, 8\): pass float32 \(N, C"),
        "none": (DataError, lambda: data(x=X[:0], y=Y[:0]), r"\(0, 1, 8, 8\)"),
    },
    "a data set's labels": {
        "beyond the classes": (DataError, lambda: data(y=Y + 1), "y holds 1..3"),
        "too few": (DataError, lambda: data(y=Y[:3]), r"int64 \(4,\)"),
        "floats": (DataError, lambda: data(y=Y.float()), "y is torch.float32"),
        "classes twice": (DataError, lambda: data(classes=("a", "a", "b")), "all names different"),
        "no classes": (DataError, lambda: data(classes=()), "has no name: pass one"),
        "a size": (lambda: load_data("folder:x", 0), "size = 0 is outside"),
    },
    "settings as objects": {
        "a float for an integer": (lambda: replace(CONFIG, steps=2.0), "steps = 2.0 .* integer"),
        "text": (lambda: replace(CONFIG, lr="fast"), "lr = 'fast'"),
        "yes": (lambda: replace(CONFIG, ema=True), "ema = True"),
        "a schedule": (lambda: replace(CONFIG, schedule="square"), "schedule = 'square'"),
        "a prediction": (lambda: replace(CONFIG, prediction="mean"), "prediction = 'mean'"),
        "half a level": (lambda: replace(CONFIG, multipliers=(1.5,)), "multipliers = 1.5"),
    },
    "training": {
        "odd images": (
            lambda: train_steps(data(x=X[..., :7]), CONFIG),
            "images are 8x7: 2 levels need",
        ),
        "a resumed run with other settings": (
            lambda: train_steps(
                DATA, replace(CONFIG, lr=0.1), resume=next(iter(train_steps(DATA, CONFIG)))
            ),
            "lr = 0.1, but the run to resume was started with 0.003",
        ),
        "a resumed run on other images": (
            lambda: train_steps(
                data(x=X + 1), CONFIG, resume=next(iter(train_steps(DATA, CONFIG)))
            ),
            "started on other images",
        ),
        "a classifier of small images": (
            lambda: train_classifier(data(x=X[..., :4])),
            "8x8 or more",
        ),
        "a classifier of few images": (
            lambda: train_classifier(DATA),
            "data has 1 of class 1: 2 or more",
        ),
    },
    "pictures to edit": {
        "bytes": (lambda: edited(x0=X.byte()), "x0 is torch.uint8"),
        "nan": (lambda: edited(x0=at(math.nan)), "finite floats"),
        "too few": (lambda: edited(x0=X[:2]), "pass 4 images"),
        "a strength": (lambda: edited(strength=1.5), "strength = 1.5 is outside 0..1"),
        "a time": (lambda: editing.noised(X, 11, SCHEDULE, X), "t = 11 is outside 0..10"),
        "a mask": (
            lambda: editing.inpaint(NET, X, X, Y, TABLE, SCHEDULE),  # pyright: ignore
            "known is torch.float32",
        ),
    },
    "what is scored": {
        "one row": (lambda: frechet_distance(ROWS[:1], ROWS), "a has 1 rows"),
        "nan": (lambda: frechet_distance(ROWS, ROWS * np.nan), "b has 4 rows, not all finite"),
        "unlike": (lambda: frechet_distance(ROWS, ROWS[:, :1]), r"b \(4, 1\)"),
        "no probabilities": (lambda: inception_score(ROWS), "adding up to 1"),
        "one of a class": (lambda: within_class_spread(ROWS, Y.numpy()), "fewer than 2"),
        "too few neighbours": (lambda: precision_recall(ROWS, ROWS, 4), "k = 4, 4 samples"),
    },
    "rules called": {
        "by name": (lambda: drawn(rule="rescale"), "rule = 'rescale' is not a function; pass one"),
        "unlike": (ValueError, lambda: guidance.guide(X, X[:2], 1.0), r"out_null \(2, 1, 8, 8\)"),
        "rescale": (lambda: guidance.rescale(X, X, 1.0, X, 1.0, 1.0, phi=2.0), "phi = 2.0"),
        "apg": (lambda: guidance.apg(X, X, 1.0, X, 1.0, 1.0, r=0.0), "r = 0.0"),
        "dynamic_threshold": (
            lambda: guidance.dynamic_threshold(X, X, 1.0, X, 1.0, 1.0, P=99.0),
            "P = 99.0",
        ),
    },
    "other projects' networks and schedules": {
        "classes": (
            lambda: Autoguided(NET, UNet(1, 4, width=8), Y),
            "num_classes = 4 and good has num_classes = 3",
        ),
        "chains": (lambda: Autoguided(NET, NET, Y)(X[:3], Y[:3], Y[:3]), "y has 3 labels"),
        "betas": (
            lambda: schedule_from_diffusers({"beta_schedule": "exp"}),
            "= 'exp'; pass linear",
        ),
        "steps": (lambda: schedule_from_diffusers({"num_train_timesteps": 0}), "timesteps = 0"),
    },
    "pictures and pages": {
        "five channels": (
            lambda: plots.mosaic(X[None].repeat(1, 1, 5, 1, 1)),
            r"with 1\.\.4 channels",
        ),
        "labels": (lambda: plots.image_grid(X[None], ["a"], ["b"], ""), "1 column_labels"),
        "no frames": (lambda: plots.denoising_gif([], "x.gif"), "frames is empty"),  # pyright: ignore
        "no stops": (page, "stops is empty"),
    },
    "places": {
        "a checkpoint with a null": (DataError, lambda: load("a\0b"), "is not there"),
        "a checkpoint of a folder": (DataError, lambda: load("."), "is not there"),
        "a device to write": (
            MachineError,
            lambda: write_atomic("/dev/null", b""),
            "a folder or a device",
        ),
        "a folder of a file": (
            MachineError,
            lambda: check_writable("/dev/null/run"),
            "cannot be written to",
        ),
        "a checkpoint that could not be read": (
            lambda: save("x", Checkpoint(NET, replace(CONFIG, width=16), ("a",), (1, 8, 8), 1, "")),
            "is not saved, because it has",
        ),
    },
}


def calls() -> list[Call]:
    """The table, a line a call."""
    made = list[Call]()
    for kind, rows in CALLS.items():
        for name, (*error, call, said) in rows.items():
            made.append(Call(kind, name, call, *error or [UsageError], said))
    return made
