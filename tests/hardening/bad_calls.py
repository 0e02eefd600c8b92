"""Bad input by kind, to the functions of the package: the call, its error, and what it says."""

# Most of these calls are wrong because of a type, which is what the type checker says too.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from kernels import philox
from minicfg import editing, guidance, sampling, solvers
from minicfg.adapters import (
    Autoguided,
    Composed,
    DiffusersModel,
    FlowModel,
    schedule_from_diffusers,
)
from minicfg.config import TrainConfig
from minicfg.data import Dataset, split
from minicfg.datasets import describe, from_torch, load_data
from minicfg.errors import DataError, MachineError, UsageError
from minicfg.io.atomic import check_writable, write_atomic
from minicfg.io.checkpoint import Checkpoint, load, save, save_state
from minicfg.metrics.classifier import Classifier, train_classifier
from minicfg.metrics.evaluate import evaluate, evaluate_real
from minicfg.metrics.frechet import frechet_distance
from minicfg.metrics.inception_score import inception_score
from minicfg.metrics.nearest import nearest_images
from minicfg.metrics.precision_recall import precision_recall
from minicfg.metrics.spread import within_class_spread
from minicfg.schedule import Schedule, log_snr_grid
from minicfg.training import train, train_steps
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
ROWS_OF_TWO = torch.ones(4, 2)
TIMES = torch.ones(4, dtype=torch.int64)
CLASSIFIER = Classifier((1, 8, 8), 3)
CHECKPOINT = Checkpoint(NET, CONFIG, ("a", "b", "c"), (1, 8, 8), 1, DATA.digest)
PAIRS = TensorDataset(X - 0.5, Y)


class Net(nn.Module):
    """A network for images with labels 0..2, whose output is changed by `end`."""

    prediction = "eps"

    def __init__(self, end: Callable[[Tensor], object] = torch.clone, num_classes: Any = 3) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.end = end
        self.num_classes = num_classes

    def forward(self, xt: Tensor, t: Tensor, y: Tensor) -> object:
        return self.end(self.scale * xt)


class Unconditional(Net):
    """A network without a condition, as other courses have it."""

    def forward(self, xt: Tensor, t: Tensor) -> object:  # pyright: ignore
        return self.scale * xt


class Pair(nn.Module):
    """A network for points whose condition is a pair of labels."""

    prediction = "eps"

    def __init__(self, null: Callable[[Any], object] = lambda y: (y[0] * 0, y[1] * 0)) -> None:
        super().__init__()
        self.null = null

    def forward(self, xt: Tensor, t: Tensor, y: Any) -> Tensor:
        return xt + y[0][:, None] + y[1][:, None]


PAIR = Pair()
FROZEN = Net().requires_grad_(False)


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


def drawn(y: Any = Y, table: Any = TABLE, model: Any = NET, **given: Any) -> object:
    return sampling.sample(model, y, table, **({"shape": (1, 8, 8)} | given))


def asked(y: Any, table: Any = None, **given: Any) -> object:
    return sampling.sample(CHECKPOINT, y, table, **given)


def paired(y: Any, model: Any = PAIR) -> object:
    return sampling.sample(model, y, TABLE, shape=(2,))


def weighted(weight: Any) -> object:
    return solvers.with_weight(TABLE, SCHEDULE, weight)


def between(low: Any, high: Any) -> object:
    return solvers.with_interval(TABLE, SCHEDULE, low, high)


def ruled(rule: Any, out: Tensor = X, **given: Any) -> object:
    return rule(out, out, 1.0, out, 1.0, 1.0, **given)


def diffused(**config: Any) -> object:
    return schedule_from_diffusers(config)


def read(data: Any, classes: Any = ("a", "b", "c")) -> object:
    return from_torch(data, classes)


def data(**changed: Any) -> Dataset:
    return replace(DATA, **changed)


def edited(**changed: Any) -> object:
    given: dict[str, Any] = {"strength": 0.5} | changed
    x0 = given.pop("x0", X)
    y = given.pop("y", Y)
    table = given.pop("table", TABLE)
    schedule = given.pop("schedule", SCHEDULE)
    return editing.image_to_image(NET, x0, y, table, schedule, **given)


def inpainted(known: Any) -> object:
    return editing.inpaint(NET, X, known, Y, TABLE, SCHEDULE)


def scored(**changed: Any) -> object:
    given = {"x": X, "y": Y, "classifier": CLASSIFIER, "real": DATA} | changed
    return evaluate(**given)


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
        "beyond 1": (DataError, lambda: data(x=at(1.01)), "x holds 0..1.00999999"),
        "bytes": (DataError, lambda: data(x=X.byte()), "x is torch.uint8"),
        "flat": (DataError, lambda: data(x=X[:, 0, 0, 0]), r"\(4,\): pass float32 \(N, C"),
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
        "images without channels": (
            lambda: train_steps(data(x=X[:, 0]), CONFIG),
            r"samples of shape \(8, 8\) and 3 classes, and the UNet is for images",
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
    "labels of other types": {
        "names, without a checkpoint": (lambda: drawn(["a", "b"]), "pass a list of integers"),
        "one name": (lambda: asked("a"), "y = 'a' contains 'a', which is not"),
        "a name that is no class": (lambda: asked(["dog"]), r"of the names a, b, c"),
        "a name and a number": (lambda: asked(["a", 1]), r"y is \['a', 1\]; pass a list"),
        "one number": (lambda: asked(1), "y is 1; pass a list of integers"),
        "None": (lambda: asked(None), "y is None; pass a list of integers"),
        "an empty list": (lambda: asked([]), r"y is torch.int64 \(0,\)"),
        "a generator": (lambda: asked(i for i in range(3)), "pass a list of integers"),
        "a set": (lambda: asked({0, 1}), r"y is \{0, 1\}; pass a list"),
        "one-hot": (lambda: drawn(torch.eye(3)), r"y is torch.float32 \(3, 3\)"),
        "from 1": (lambda: asked([1, 2, 3, 4]), "y holds 1..4; labels are 0..2"),
        "beyond int64": (lambda: asked([2**70]), "pass a list of integers"),
        "a column": (lambda: asked(np.zeros((2, 1), int)), r"y is int64 \(2, 1\)"),
        "two attributes": (
            lambda: drawn((Y, Y)),
            "tuple of 2 values, but the model has num_classes",
        ),
    },
    "conditions of the wrong structure": {
        "one tensor for a pair": (lambda: paired(Y), r"model.null\(y\) is \("),
        "three tensors for a pair": (lambda: paired((Y, Y, Y)), r"model.null\(y\) is \("),
        "a list of tensors": (lambda: paired([Y, Y]), "pass a list of integers"),
        "tensors of two batches": (
            lambda: paired((Y, Y[:3])),
            r"y has tensors for \[4, 3\] samples",
        ),
        "a tensor and None": (lambda: paired((Y, None)), "y contains a NoneType"),
        "a text": (lambda: paired(["a dog"]), "pass a list of integers"),
        "nan": (
            lambda: paired((Y, torch.full((4,), math.nan))),
            "y contains values that are not f",
        ),
        "a dictionary": (lambda: paired({"shape": Y}), "pass a list of integers"),
    },
    "models": {
        "a class": (lambda: drawn(model=UNet), r"model is the class UNet; pass .* UNet\(...\)"),
        "a path": (lambda: drawn(model="model"), "model is a str; pass a Checkpoint"),
        "None": (lambda: drawn(model=None), "model is a NoneType; pass a Checkpoint"),
        "weights": (lambda: drawn(model=NET.state_dict()), "model is a OrderedDict"),
        "settings": (lambda: drawn(model=CONFIG), "model is a TrainConfig"),
        "a function": (lambda: drawn(model=lambda xt, t, y: xt), "set model.prediction to what"),
        "without labels": (lambda: drawn(model=Unconditional()), "does not take three arguments"),
        "that returns a tuple": (lambda: drawn(model=Net(lambda x: (x, x))), "returns a tuple"),
        "that returns None": (lambda: drawn(model=Net(lambda x: None)), "returns a NoneType"),
        "that returns NumPy": (lambda: drawn(model=Net(lambda x: x.numpy())), "returns a ndarray"),
        "that returns one sample": (
            lambda: drawn(model=Net(lambda x: x[:1])),
            r"\(1, 1, 8, 8\); return a tensor of the shape of xt, \(4, 1, 8, 8\)",
        ),
        "that returns half": (lambda: drawn(model=Net(torch.Tensor.half)), "returns torch.float16"),
        "that returns double": (
            lambda: drawn(model=Net(torch.Tensor.double)),
            "returns torch.float64; return the dtype of xt, torch.float32",
        ),
        "with a null of another shape": (
            lambda: paired((Y, Y), model=Pair(lambda y: (y[0][:1], y[1]))),
            r"model.null\(y\) is \(torch.int64 \(1,\)",
        ),
        "with a number of classes as text": (
            lambda: drawn(model=Net(num_classes="3"), w=1),
            "model is a Net without a null condition; give it a method",
        ),
    },
    "weights of other types": {
        "text": (lambda: drawn(w="2"), "w is '2'; pass a list of numbers, one per label, or one"),
        "None": (lambda: drawn(w=None), "w = None has type NoneType; pass a finite number"),
        "yes": (lambda: drawn(w=True), "w = True has type bool"),
        "complex": (lambda: drawn(w=1j), "w = 1j has type complex"),
        "beyond float32": (lambda: drawn(w=1e39), r"w = 1e\+39 is beyond float32; pass a smaller"),
        "beyond any float": (lambda: drawn(w=10**400), "is beyond float32"),
        "beyond float32, one per label": (lambda: drawn(w=[1e39] * 4), "that fit into float32"),
        "a mask": (lambda: drawn(w=Y > 0), r"w is torch.bool \(4,\); pass one real number"),
        "a complex tensor": (lambda: drawn(w=Y * 1j), "w is torch.complex64"),
        "a dictionary": (lambda: drawn(w={"a": 1}), r"w = \{'a': 1\} has type dict"),
        "a list that is too short": (lambda: drawn(w=[1.0, 2.0]), r"w has shape \(2,\); pass"),
        "a column": (lambda: drawn(w=np.ones((4, 1))), r"w is float64 \(4, 1\)"),
        "a scale as text": (lambda: guidance.w_from_scale("7.5"), "scale = '7.5' has type str"),
        "a scale of None": (lambda: guidance.scale_from_w(None), "w = None has type NoneType"),
    },
    "steps": {
        "0": (lambda: asked([0], steps=0), "steps = 0 is outside 1..10; choose a number of steps"),
        "half of one": (
            lambda: asked([0], steps=2.5),
            "steps = 2.5; pass decreasing integer times",
        ),
        "text": (lambda: asked([0], steps="2"), "steps = '2'; pass"),
        "a set": (lambda: solvers.ddim(SCHEDULE, {10, 1}), "steps = .*; pass decreasing integer"),
        "a dictionary": (lambda: solvers.ddim(SCHEDULE, {10: 1}), r"steps = \{10: 1\}; pass"),
        "with the data's time": (lambda: solvers.ddim(SCHEDULE, [10, 0]), r"steps = \[10, 0\]"),
        "beyond T": (lambda: solvers.ddim(SCHEDULE, [11]), r"steps = \[11\]"),
        "floats": (lambda: solvers.ddim(SCHEDULE, np.linspace(10, 1, 4)), r"steps = \[10.0, 7.0"),
        "with a table": (lambda: asked([0], TABLE, steps=2), "and a table; pass either the table"),
    },
    "names of solvers": {
        "in capitals": (lambda: asked([0], solver="DDIM"), "solver = 'DDIM' is unknown: use ddpm"),
        "none": (lambda: asked([0], solver=""), "solver = '' is unknown: use ddpm"),
        "no": (lambda: asked([0], solver=False), "solver = False is unknown: use ddpm"),
        "a function": (lambda: asked([0], solver=solvers.ddim), "solver = <function ddim"),
        "a list": (lambda: asked([0], solver=["ddim"]), r"solver = \['ddim'\] is unknown"),
    },
    "what is no table": {
        "a name": (lambda: asked([0], "ddim"), "table = 'ddim' has type str; pass a table from"),
        "a number": (lambda: asked([0], 50), "table = 50 has type int; pass a table from"),
        "rows": (lambda: drawn(table=TABLE.rows), "has type Tensor; pass a table from"),
        "a schedule": (lambda: drawn(table=SCHEDULE), "has type Schedule; pass a table from"),
        "of another prediction's name": (lambda: replace(TABLE, prediction="epsilon"), "'epsilon'"),
        "of a schedule's name": (lambda: replace(TABLE, schedule="cosine"), "schedule = 'cosine'"),
        "of a shorter schedule": (
            lambda: replace(TABLE, schedule=Schedule.cosine(5)),
            "schedule has T = 5 and the table begins at t = 10",
        ),
        "with a gap": (lambda: replace(TABLE, s=torch.tensor([3, 0])), "does not lead to t"),
        "with rows in float32": (lambda: replace(TABLE, rows=TABLE.rows.float()), "float32"),
        "weighted by None": (lambda: weighted(None), "weight = None is not a function"),
        "weighted by a number": (lambda: weighted(2.0), "weight = 2.0 is not a function"),
        "weighted by a function of NumPy": (
            lambda: weighted(lambda log_snr: log_snr.numpy() * 0),
            "weight returned float64 .*; return 2 finite numbers, one per row, in a tensor",
        ),
        "weighted by one number": (lambda: weighted(lambda log_snr: 1.0), "weight returned 1.0"),
        "weighted by complex numbers": (lambda: weighted(lambda log_snr: 1j * log_snr), "complex"),
        "in an interval of text": (lambda: between("a", "b"), "low = 'a' has type str; pass a log"),
        "in an interval of None": (lambda: between(None, 1.0), "low = None has type NoneType"),
    },
    "parameters of solvers": {
        "a schedule's name": (
            lambda: solvers.ddim("cosine", 2),
            "schedule = 'cosine' has type str",
        ),
        "None": (lambda: solvers.ddpm(None, 2), "schedule = None .* pass a minicfg.Schedule"),
        "the class": (lambda: solvers.cfgpp(Schedule, 2), "schedule = the class Schedule has type"),
        "the settings": (
            lambda: solvers.dpmpp_2m(CONFIG),
            "has type TrainConfig; pass a minicfg.S",
        ),
        "a checkpoint": (lambda: solvers.ddim(CHECKPOINT, 2), "has type Checkpoint; .*.schedule"),
        "a prediction": (lambda: solvers.ddim(SCHEDULE, 2, "epsilon"), "prediction = 'epsilon' is"),
        "eta in another's place": (lambda: solvers.ddim(SCHEDULE, 2, 0.5), "prediction = 0.5 is"),
        "eta as text": (lambda: solvers.ddim(SCHEDULE, 2, eta="1"), "eta = '1' has type str"),
        "eta of None": (
            lambda: solvers.ddim(SCHEDULE, 2, eta=None),
            "eta = None has type NoneType",
        ),
        "yes for eta": (lambda: solvers.ddim(SCHEDULE, 2, eta=True), "eta = True has type bool"),
        "v as text": (lambda: solvers.ddpm(SCHEDULE, 2, v="0.5"), "v = '0.5' has type str; pass"),
        "v beyond 1": (lambda: solvers.ddpm(SCHEDULE, 2, v=2.0), "v = 2.0 is outside 0..1; pass"),
        "eps without signal": (
            lambda: solvers.ddim(SCHEDULE.zero_terminal_snr(), 2),
            "prediction = 'eps': at zero terminal SNR",
        ),
    },
    "shapes and clips of other types": {
        "one size": (lambda: drawn(shape=8), "shape = 8; pass the sizes of one sample, a tuple"),
        "text": (lambda: drawn(shape="1x8x8"), "shape = '1x8x8'; pass the sizes"),
        "a generator": (lambda: drawn(shape=(n for n in (1, 8, 8))), "shape = <generator"),
        "with the batch": (lambda: drawn(shape=X.shape), r"xt is torch.float32 \(4, 4, 1, 8, 8\)"),
        "without channels": (lambda: drawn(shape=(8, 8)), r"\(4, 8, 8\): pass floats"),
        "a clip as text": (lambda: drawn(clip="1"), "clip = '1' has type str; pass a positive"),
        "yes for a clip": (lambda: drawn(clip=True), "clip = True has type bool"),
        "two ends for a clip": (lambda: drawn(clip=(-1, 1)), r"clip = \(-1, 1\) has type tuple"),
        "a negative clip": (lambda: drawn(clip=-1), "clip = -1; pass a positive number"),
    },
    "nulls": {
        "one label": (lambda: drawn(null=2, w=1), "null is 2; pass a list of integers"),
        "too few": (lambda: drawn(null=[0, 1], w=1), r"null is torch.int64 \(2,\) on cpu, but y"),
        "beyond the classes": (
            lambda: drawn(null=[4] * 4, w=1),
            "null holds 4..4; labels are 0..2",
        ),
        "a name": (lambda: asked([0], null="a", w=1), "null = 'a' contains 'a', which is not"),
        "beyond the classes, at w = 0": (lambda: drawn(null=[9] * 4), "null holds 9..9"),
    },
    "rules of the wrong form": {
        "of two arguments": (
            lambda: drawn(rule=lambda out_cond, out_null: out_cond, w=1),
            "does not take six arguments; write it as g = rule",
        ),
        "a class": (lambda: drawn(rule=torch.nn.ReLU, w=1), "does not take six arguments"),
        "that returns None": (lambda: drawn(rule=lambda *_: None, w=1), "returns a NoneType"),
        "that returns NumPy": (lambda: drawn(rule=lambda c, *_: c.numpy(), w=1), "a ndarray"),
        "that returns one sample": (
            lambda: drawn(rule=lambda c, *_: c[:1], w=1),
            "of the shape of",
        ),
        "that returns one number": (lambda: drawn(rule=lambda c, *_: c.mean(), w=1), "float32 ()"),
        "that returns double": (
            lambda: drawn(rule=lambda c, *_: c.double(), w=1),
            "float64; return",
        ),
        "phi as text": (lambda: ruled(guidance.rescale, phi="a"), "phi = 'a' has type str; pass"),
        "yes for phi": (lambda: ruled(guidance.rescale, phi=True), "phi = True has type bool"),
        "r as text": (lambda: ruled(guidance.apg, r="x"), "r = 'x' has type str; pass a number"),
        "a bound of None": (lambda: ruled(guidance.dynamic_threshold, bound=None), "bound = None"),
        "arrays of NumPy": (
            lambda: guidance.rescale(X.numpy(), X.numpy(), 1.0, X, 1.0, 1.0),
            "has type ndarray; pass a tensor",
        ),
        "numbers for samples": (
            lambda: ruled(guidance.rescale, X[:, 0, 0, 0]),
            r"shape \(4,\); pass",
        ),
        "guide of NumPy": (
            ValueError,
            lambda: guidance.guide(X.numpy(), X.numpy(), 1.0),
            "out_cond is a ndarray; pass a torch tensor of floats",
        ),
        "guide with text for w": (
            ValueError,
            lambda: guidance.guide(X, X, "1"),
            "w is a str; pass one number, or a tensor of them",
        ),
        "guide with NumPy for w": (
            ValueError,
            lambda: guidance.guide(X, X, np.ones(4)),
            "w is a ndarray; pass one number",
        ),
        "guide of labels": (
            ValueError,
            lambda: guidance.guide(Y, Y, 1.0),
            "out_cond is torch.int64",
        ),
        "guide of two dtypes": (
            ValueError,
            lambda: guidance.guide(X, X.double(), 1.0),
            "out_null torch.float64; pass two outputs of the same dtype",
        ),
    },
    "schedules of other types": {
        "a list of betas": (lambda: Schedule([0, 0.1]), "beta = .* has type list; pass a tensor"),
        "a column of betas": (
            lambda: Schedule(torch.zeros(3, 1).double()),
            r"beta has shape \(3, 1",
        ),
        "one beta": (lambda: Schedule(torch.tensor(0.1).double()), r"beta has shape \(\); pass"),
        "text for T": (lambda: Schedule.linear("10"), "T = '10' is not a number of steps"),
        "a list of names": (
            lambda: Schedule.named(["cosine"], 10),
            "schedule = .* is unknown: use",
        ),
        "settings as a dictionary": (lambda: Schedule.of({"T": 10}), "config = .* has type dict"),
        "a list of log SNRs": (
            lambda: Schedule.from_log_snr([-1.0, 1.0]),
            "log_snr = .* type list",
        ),
        "a table of log SNRs": (lambda: Schedule.from_log_snr(torch.ones(1, 2)), r"shape \(1, 2\)"),
        "a grid of text": (lambda: log_snr_grid(4, "a", 2.0), "log_snr_min = 'a' has type str"),
    },
    "networks": {
        "without channels": (lambda: UNet(0, 3), "channels = 0 is out of range: use an integer"),
        "without classes": (lambda: UNet(1, 0), "num_classes = 0 is out of range"),
        "with names for a number": (
            lambda: UNet(1, ("a", "b")),
            "num_classes = .* is out of range",
        ),
        "of another width": (lambda: UNet(1, 3, width=12), "width = 12 is not divisible by 8"),
        "without levels": (lambda: UNet(1, 3, multipliers=()), r"multipliers = \(\): use one"),
        "with a number for levels": (lambda: UNet(1, 3, multipliers=2), "multipliers = 2 has type"),
        "without blocks": (lambda: UNet(1, 3, blocks=0), "blocks = 0 is out of range"),
        "with attention nowhere": (
            lambda: UNet(1, 3, attention=(9,)),
            "has no level 9: use levels",
        ),
        "with dropout of nan": (lambda: UNet(1, 3, dropout=math.nan), "dropout = nan is out of"),
        "of no prediction": (lambda: UNet(1, 3, prediction="epsilon"), "prediction = 'epsilon' is"),
        "with text for a bool": (lambda: UNet(1, 3, checkpointing="no"), "checkpointing = 'no'"),
        "for bytes": (lambda: NET(X.byte(), Y + 1, Y), "xt is torch.uint8 .* pass floats"),
        "for NumPy": (lambda: NET(X.numpy(), Y + 1, Y), "xt = .* has type ndarray; pass a tensor"),
        "at one time": (lambda: NET(X, 5, Y), r"t = 5 has type int; pass a tensor of shape \(4,\)"),
        "at a time that is broadcast": (lambda: NET(X, Y[:1] + 1, Y), r"t has shape \(1,\): pass"),
        "for a label that is broadcast": (
            lambda: NET(X, Y + 1, Y[:1]),
            r"y is torch.int64 \(1,\): pass",
        ),
        "for one-hot labels": (lambda: NET(X, Y + 1, torch.eye(4)), r"y is torch.float32 \(4, 4\)"),
        "for labels as floats": (
            lambda: NET(X, Y + 1, Y.float()),
            "y is torch.float32 .* pass int64",
        ),
        "for a list of labels": (
            lambda: NET(X, Y + 1, [0, 1, 2, 0]),
            "y = .* has type list; pass int64",
        ),
        "for an image without batch": (
            lambda: NET(X[:, 0], Y + 1, Y),
            r"xt is torch.float32 \(4, 8, 8\)",
        ),
        "for a shape without channels": (
            lambda: UNet.of(CONFIG, (8, 8), 3),
            r"shape \(8, 8\); pass",
        ),
    },
    "data sets of other types": {
        "arrays": (DataError, lambda: data(x=X.numpy()), "x is a ndarray: pass a tensor"),
        "double": (DataError, lambda: data(x=X.double()), "x is torch.float64"),
        "channels last": (
            DataError,
            lambda: data(x=torch.zeros(4, 8, 8, 3)),
            r"x has shape \(4, 8, 8, 3\), with the channels last: transpose it",
        ),
        "labels as an array": (DataError, lambda: data(y=Y.numpy()), "y is ndarray: pass int64"),
        "labels of None": (DataError, lambda: data(y=None), "y is NoneType: pass int64"),
        "names in one text": (
            DataError,
            lambda: data(classes="abc"),
            "classes = 'abc' is not a tup",
        ),
        "names in a list": (
            DataError,
            lambda: data(classes=["a", "b", "c"]),
            "is not a tuple of n",
        ),
        "a number of names": (
            DataError,
            lambda: data(classes=3),
            "classes = 3 is not a tuple of n",
        ),
        "numbers for names": (
            DataError,
            lambda: data(classes=(0, 1, 2)),
            "is not a tuple of names",
        ),
        "no names": (
            DataError,
            lambda: data(classes=None),
            "classes = None is not a tuple of names",
        ),
        "a data set in a data set": (
            DataError,
            lambda: data(x=DATA),
            "x is a Dataset: pass a tensor",
        ),
        "no name": (DataError, lambda: data(name=None), "name = None is not text: pass a str"),
        "split by text": (
            lambda: split(DATA, "half"),
            "held_out = 'half' has type str; pass a frac",
        ),
        "split of nothing": (
            lambda: split(None, 0.5),
            "data = None has type NoneType; pass a mini",
        ),
        "a path to load": (lambda: load_data(Path("x")), "has type .*; pass text such as 'digits'"),
        "None to load": (lambda: load_data(None), "data = None has type NoneType; pass text such"),
        "a size as text": (
            lambda: load_data("digits", "32"),
            "size = '32' is not an integer: pass",
        ),
        "half a pixel": (
            lambda: load_data("digits", 8.5),
            "size = 8.5 is not an integer: pass one",
        ),
    },
    "data of torch": {
        "names in one text": (
            DataError,
            lambda: read(PAIRS, "abc"),
            "classes = 'abc' is not a list",
        ),
        "a number of names": (DataError, lambda: read(PAIRS, 3), "classes = 3 is not a list: pass"),
        "a tensor": (DataError, lambda: read(X), r"returns Tensor: return pairs \(x, y\)"),
        "a weighted draw": (
            DataError,
            lambda: read(DataLoader(PAIRS, sampler=WeightedRandomSampler([1.0] * 4, 4))),
            "shuffles, so each run would have other data",
        ),
        "a random order of batches": (
            DataError,
            lambda: read(DataLoader(PAIRS, batch_sampler=BatchSampler(RandomSampler(X), 2, False))),
            "shuffles, so each run would have other data",
        ),
        "a loader that leaves samples out": (
            DataError,
            lambda: read(DataLoader(PAIRS, batch_size=3, drop_last=True)),
            "drop_last = True, which leaves out the last samples",
        ),
        "a loader without batches": (
            DataError,
            lambda: read(DataLoader(PAIRS, batch_size=None)),
            "the DataLoader has batch_size = None: pass its data set",
        ),
        "labels as text": (DataError, lambda: read([(X[0], "cat")]), "y = 'cat' is not a label"),
        "labels of None": (
            DataError,
            lambda: read([(X[0], None)]),
            "y = None is not a label: return",
        ),
        "a label and a list": (
            DataError,
            lambda: read([(X[0], 0), (X[0], [1])]),
            r"y is torch.int64 \(1, 1\): return one integer label",
        ),
        "floats and bytes": (
            DataError,
            lambda: read([(X[0], 0), (X[0].byte(), 1)]),
            "x is torch.uint8, and the samples before it are torch.float32",
        ),
        "classes from 1": (
            DataError,
            lambda: read(TensorDataset(X - 0.5, Y + 1)),
            "y holds labels 1",
        ),
    },
    "runs of other types": {
        "a pair for data": (
            lambda: train((X, Y), CONFIG),
            "data is a tuple: make a minicfg.Dataset",
        ),
        "a dictionary": (
            lambda: train(DATA, {"steps": 1}),
            "config is a dict: pass a minicfg.config",
        ),
        "a class": (lambda: train(DATA, CONFIG, model=UNet), "model is the class UNet: pass a net"),
        "a frozen network": (
            lambda: train(DATA, CONFIG, model=FROZEN),
            "without parameters to train",
        ),
        "half a network": (
            lambda: train(DATA, CONFIG, model=Net().half()),
            "in which small updates",
        ),
        "an output without gradient": (
            lambda: train(DATA, CONFIG, model=Net(torch.Tensor.detach)),
            "without a gradient: return floats that depend on the parameters",
        ),
        "an output of integers": (
            lambda: train(DATA, CONFIG, model=Net(torch.Tensor.long)),
            "returns torch.int64 without a gradient",
        ),
        "a path to resume": (
            lambda: train(DATA, CONFIG, resume="state"),
            "resume = 'state' is a str",
        ),
        "a checkpoint to resume": (
            lambda: train(DATA, CONFIG, resume=CHECKPOINT),
            "is a Checkpoint: load the state with minicfg.io.checkpoint.load_state",
        ),
        "a device of None": (
            lambda: train(DATA, CONFIG, device=None),
            "device = None has type None",
        ),
        "a device without values": (lambda: train(DATA, CONFIG, device="meta"), "stores no values"),
        "a device that is none": (
            MachineError,
            lambda: train(DATA, CONFIG, device="gpu"),
            "device = 'gpu' is not available",
        ),
        "a number of ranks": (
            lambda: train(DATA, CONFIG, ranks=2),
            "ranks = 2 has type int; leave",
        ),
        "a schedule in an array": (
            lambda: replace(CONFIG, schedule=np.array(["cosine"])),
            "unknown",
        ),
        "a data set for its name": (
            lambda: replace(CONFIG, data=DATA),
            "data = .* has type Dataset",
        ),
    },
    "adapters of other types": {
        "no models": (lambda: Autoguided(None, None, Y), "good is a NoneType; pass a Checkpoint"),
        "one model": (lambda: Autoguided(NET, None, Y), "bad is a NoneType; pass a Checkpoint"),
        "classes": (lambda: Autoguided(UNet, UNet, Y), "good is the class UNet; pass a network of"),
        "checkpoints": (lambda: Autoguided(CHECKPOINT, CHECKPOINT, Y), "good is a Checkpoint"),
        "a list of labels": (lambda: Autoguided(NET, NET, [0, 1]), "y is a list; pass a tensor"),
        "labels that are none": (
            lambda: Autoguided(NET, NET, Y + 9),
            "y holds 9..11; labels are 0",
        ),
        "a weight for all": (lambda: Composed(PAIR, 2.0), "weights = 2.0 has type float; pass one"),
        "weights as text": (
            lambda: Composed(PAIR, ("1", "2")),
            "w = '1' has type str; pass a finite",
        ),
        "no weights": (
            lambda: Composed(PAIR, ()),
            r"weights = \(\); pass one number per attribute",
        ),
        "a set of weights": (
            lambda: Composed(PAIR, {1.0, 2.0}),
            "has type set; pass one number per",
        ),
        "no model": (lambda: Composed(None, (1.0, 2.0)), "model is a NoneType; pass a Checkpoint"),
        "too many weights": (
            lambda: paired((Y, Y), model=Composed(PAIR, (1, 2, 3))),
            "are 3 weights",
        ),
        "no network": (
            lambda: DiffusersModel(None, 3),
            "net = None .* pass a network of diffusers",
        ),
        "names for a number": (
            lambda: DiffusersModel(NET, ("a",)),
            "num_classes = .* has type tuple",
        ),
        "another's prediction": (
            lambda: DiffusersModel(NET, 3, "v_prediction"),
            "= 'v_prediction' is",
        ),
        "no network of a flow": (
            lambda: FlowModel(None, 3),
            "net = None .* pass a network of flow matching",
        ),
        "times of a flow as text": (
            lambda: FlowModel(NET, 3, T="1000"),
            "T = '1000' has type str: use an integer",
        ),
        "a clock as a number": (
            lambda: FlowModel(NET, 3, data_at_1=1),
            "data_at_1 = 1 has type int; pass True or False",
        ),
        "a scheduler": (lambda: schedule_from_diffusers(object()), "pass the scheduler's config"),
        "a beta as text": (lambda: diffused(beta_start="a"), "beta_start = 'a' has type str; pass"),
        "a beta below 0": (
            lambda: diffused(beta_start=-1.0),
            r"beta_start = -1.0; pass .* in \(0, 1\)",
        ),
        "betas as text": (
            lambda: diffused(trained_betas="abc"),
            "trained_betas = 'abc'; pass a list",
        ),
        "a table of betas": (
            lambda: diffused(trained_betas=[[0.1]]),
            r"shape \(1, 1\); pass a list",
        ),
    },
    "edits of other types": {
        "arrays": (
            lambda: edited(x0=X.numpy()),
            "x0 = .* has type ndarray; pass a tensor of floats",
        ),
        "None": (lambda: edited(x0=None), "x0 = None has type NoneType; pass a tensor of floats"),
        "floats of bytes": (lambda: edited(x0=X + 200), "x0 reaches 200 in absolute value; pass"),
        "labels of None": (lambda: edited(y=None), "y is None; pass a list of integers"),
        "a strength as text": (
            lambda: edited(strength="half"),
            "strength = 'half' has type str; pass",
        ),
        "yes for a strength": (lambda: edited(strength=True), "strength = True has type bool"),
        "weights at strength 0": (lambda: edited(strength=0, w="x"), "w is 'x'; pass a list"),
        "labels at strength 0": (lambda: edited(strength=0, y=Y + 9), "y holds 9..11"),
        "a schedule's name": (
            lambda: edited(schedule="cosine"),
            "schedule = 'cosine' has type str",
        ),
        "a table's name": (
            lambda: edited(table="ddim"),
            "table = 'ddim' has type str; pass a table",
        ),
        "another schedule": (
            lambda: edited(schedule=Schedule.linear(10)),
            "table was made from 'cos",
        ),
        "a mask of None": (lambda: inpainted(None), "known = None has type NoneType; pass a bool"),
        "a mask of NumPy": (
            lambda: inpainted(X.numpy() > 0),
            "known = .* has type ndarray; pass a b",
        ),
        "a mask of one image": (
            lambda: inpainted(X[0] > 0),
            r"known is torch.bool \(1, 8, 8\); pass",
        ),
        "half a time": (
            lambda: editing.noised(X, 2.5, SCHEDULE, X),
            "t = 2.5 is not an integer; pass",
        ),
        "times": (
            lambda: editing.noised(X, Y, SCHEDULE, X),
            "t = tensor.* is not an integer; pass",
        ),
        "noise that is broadcast": (
            lambda: editing.noised(X, 3, SCHEDULE, X[:1]),
            r"eps has shape \(1",
        ),
        "bytes to noise": (lambda: editing.noised(X.byte(), 3, SCHEDULE, X), "x0 is torch.uint8"),
    },
    "checkpoints of other types": {
        "a network to save": (
            lambda: save("x", NET),
            "checkpoint = .* type UNet; pass a Checkpoint",
        ),
        "weights to save": (lambda: save("x", NET.state_dict()), "OrderedDict; pass a Checkpoint"),
        "the arguments swapped": (
            lambda: save(CHECKPOINT, "x"),
            "checkpoint = 'x' has type str; pass",
        ),
        "no file": (lambda: save("", CHECKPOINT), "path = '' names no file; pass a path such as"),
        "a path of None": (
            lambda: save(None, CHECKPOINT),
            "path = None has type NoneType; pass text",
        ),
        "a checkpoint to continue": (
            lambda: save_state("x", CHECKPOINT),
            "pass the result of minicfg",
        ),
        "without a network": (
            lambda: replace(CHECKPOINT, model=None),
            "model = None .* torch.nn.Mod",
        ),
        "with a dictionary": (
            lambda: replace(CHECKPOINT, config={}),
            r"config = \{\} has type dict",
        ),
        "with names in a list": (
            lambda: replace(CHECKPOINT, classes=["a"]),
            r"classes = \['a'\] has",
        ),
        "with one size": (lambda: replace(CHECKPOINT, shape=8), "shape = 8 has type int; pass the"),
        "with a step below 0": (
            lambda: save("x", replace(CHECKPOINT, step=-1)),
            "step = -1: steps",
        ),
        "of a network": (
            lambda: Checkpoint.of(NET),
            "has type UNet; pass the result of minicfg.train",
        ),
        "a network for the device": (
            lambda: load("x", NET),
            "device = UNet.* has type UNet; pass text",
        ),
        "a class for the network": (
            lambda: load("x", model=UNet),
            "model = the class UNet has type",
        ),
        "a number to load": (lambda: load(3), "path = 3 has type int; pass text or a pathlib.Path"),
        "nothing to load": (
            DataError,
            lambda: load("x"),
            "x.safetensors is not there, or is not a",
        ),
    },
    "labels and times of a network": {
        "beyond the null": (
            lambda: NET(X, TIMES, Y + 2),
            "y contains the label 4: labels are 0..2",
        ),
        "below 0": (
            lambda: NET(X, TIMES, Y - 1),
            "y contains the label -1: .* 3 is the null label",
        ),
        "int32": (lambda: NET(X, TIMES, (Y + 2).int()), "y contains the label 4: labels are 0..2"),
        "yes and no for times": (lambda: NET(X, TIMES.bool(), Y), "t is torch.bool: pass times in"),
        "complex times": (lambda: NET(X, TIMES.cfloat(), Y), "t is torch.complex64: pass times"),
    },
    "scores of other types": {
        "samples in an array": (
            lambda: scored(x=X.numpy()),
            "x = .* has type ndarray; pass a tens",
        ),
        "a class": (lambda: scored(x=Checkpoint), "x = the class Checkpoint has type type; pass a"),
        "labels in a list": (lambda: scored(y=[0, 1, 2, 0]), "y = .* has type list; pass an int64"),
        "labels in an array": (lambda: scored(y=Y.numpy()), "y = .* has type ndarray; pass an int"),
        "no classifier": (
            lambda: scored(classifier=None),
            "classifier = None has type NoneType; pass the result of train_classifier",
        ),
        "another network": (
            lambda: scored(classifier=NET),
            "classifier = UNet.* has type UNet; pass the result of train_classifier",
        ),
        "real images in a tensor": (lambda: scored(real=X), "real = .* pass a minicfg.Dataset of"),
        "a specification": (lambda: scored(real="digits"), "real = 'digits' has type str; pass"),
        "of real images in a tensor": (
            lambda: evaluate_real(CLASSIFIER, DATA, X, 12),
            "unseen = .* has type Tensor; pass a minicfg.Dataset",
        ),
        "of no real images": (
            lambda: evaluate_real(CLASSIFIER, DATA, DATA, 0),
            "n = 0 is out of range: use an integer in 12",
        ),
        "a classifier's data as text": (
            lambda: train_classifier("digits"),
            "data = 'digits' has type str; pass a minicfg.Dataset",
        ),
        "a classifier's steps as text": (
            lambda: train_classifier(DATA, steps="10"),
            "steps = '10' is not an integer: give 1 or more",
        ),
        "a classifier of points": (
            lambda: train_classifier(data(x=ROWS_OF_TWO)),
            r"samples of shape \(2,\): the classifier takes images",
        ),
        "bytes beside the nearest": (
            lambda: nearest_images(X.byte(), X.byte()),
            "x is torch.uint8: pass a tensor of floats",
        ),
        "an array beside the nearest": (
            lambda: nearest_images(X, X.numpy()),
            "images = .* has type ndarray; pass a tensor of floats",
        ),
    },
    "features of other types": {
        "a list": (
            lambda: frechet_distance(ROWS.tolist(), ROWS),
            "a = .* has type list; pass a Nu",
        ),
        "a tensor": (lambda: frechet_distance(ROWS, ROWS_OF_TWO), "b = .* of a tensor, x.cpu"),
        "None": (lambda: frechet_distance(None, ROWS), "a = None has type NoneType; pass a NumPy"),
        "text": (
            lambda: frechet_distance(ROWS.astype(str), ROWS),
            "a has dtype <U.*: pass an array",
        ),
        "complex numbers": (lambda: frechet_distance(ROWS * 1j, ROWS), "a has dtype complex128"),
        "objects": (
            lambda: frechet_distance(ROWS, ROWS.astype(object)),
            "b has dtype object: pass",
        ),
        "no coordinate": (
            lambda: frechet_distance(ROWS[:, :0], ROWS[:, :0]),
            "the same d of 1 or more",
        ),
        "a list of neighbours": (
            lambda: precision_recall(ROWS, ROWS.tolist()),
            "real = .* has type list; pass a NumPy array",
        ),
        "a tensor of neighbours": (
            lambda: precision_recall(ROWS_OF_TWO, ROWS),
            "samples = .* has type Tensor; pass a NumPy",
        ),
        "half a neighbour": (
            lambda: precision_recall(ROWS, ROWS, 2.5),
            "k = 2.5 is not an integer",
        ),
        "neighbours as text": (lambda: precision_recall(ROWS, ROWS, "3"), "k = '3' is not an int"),
        "yes for neighbours": (
            lambda: precision_recall(ROWS, ROWS, True),
            "k = True is not an int",
        ),
        "a tensor to spread": (
            lambda: within_class_spread(ROWS_OF_TWO, Y.numpy()),
            "features = .* has type Tensor; pass a NumPy array",
        ),
        "a list of labels to spread": (
            lambda: within_class_spread(ROWS, [0, 0, 1, 1]),
            "y = .* has type list; pass a NumPy array",
        ),
        "probabilities in a list": (
            lambda: inception_score([[0.0]]),
            "log_probabilities = .* has type list; pass a NumPy array",
        ),
    },
    "data without values": {
        "on no device": (DataError, lambda: data(x=X.to("meta")), "on meta: pass a dense tensor"),
        "sparse": (DataError, lambda: data(x=X.to_sparse()), "layout torch.sparse_coo .*to_dense"),
        "in 0..1": (
            DataError,
            lambda: data(x=torch.arange(256).reshape(4, 1, 8, 8) / 255),
            "x holds 0..1, but black is -1 and white is 1: use 2",
        ),
        "described by a name": (
            lambda: describe("digits"),
            "data = 'digits' has type str; load it",
        ),
        "pictures in an array": (lambda: plots.mosaic(X[None].numpy()), "x = .* has type ndarray"),
        "no pictures": (
            lambda: plots.image_grid(None, [""], [""], ""),
            "x = None has type NoneType",
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
