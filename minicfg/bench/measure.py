"""Time several ways to do one task side by side, and compare them.

The speed of a machine drifts. So the ways take turns: every round runs each way once. The ratio of
two ways is the median of the rounds' ratios, and not the ratio of two medians.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch

from minicfg.errors import MachineError, UsageError

PACKAGES = ("diffusers", "denoising-diffusion-pytorch", "smalldiffusion", "einops")
# The least time that one measurement lasts, long against a clock's tick and a scheduler's slice.
MIN_SECONDS = 0.05


@dataclass(frozen=True)
class Sizes:
    """The sizes of all tasks. The published figures have the defaults; tests use smaller ones."""

    device: str = "cpu"
    # Sampling, the loop alone, and training.
    side: int = 28  # of the images, in pixels
    batch: int = 32
    steps: int = 20
    train_batch: int = 64
    width: int = 40  # of our UNet
    repeats: int = 5  # rounds of timing
    compiled: bool = True  # whether the ways with torch.compile run as well
    product: int = 1024  # side of the matrices whose product is the bound of speed
    # One step without a network.
    step_shape: tuple[int, int, int] = (3, 64, 64)
    step_batch: int = 64
    # The exact denoiser.
    points: int = 100_000  # at which it is evaluated
    drawn: int = 800  # size of the finite set that smalldiffusion's denoiser knows
    # Quality after equal time, and in few steps.
    seconds: float = 60.0  # of training
    seeds: int = 3
    samples: int = 500
    chain: int = 20  # sampling steps
    classifier_steps: int = 400
    ws: tuple[float, ...] = (0.0, 0.3, 1.0)
    train_steps: int = 2000
    long_chain: int = 1000  # sampling steps of DDPM, with which few steps are compared
    few: tuple[int, ...] = (4, 6, 8, 10, 12, 16, 20, 25)
    # Time at equal distance.
    pictures: int = 1000
    equal_seconds: float = 60.0  # of training
    equal_steps: tuple[int, ...] = (3, 4, 5, 6, 8, 10, 15)
    equal_ws: tuple[float, ...] = (0.0, 1.0)
    student_steps: int = 2000  # of the distillation of the long student
    # Growth of time and memory.
    grow_steps: tuple[int, ...] = (5, 10, 20, 40)
    grow_batch: tuple[int, ...] = (8, 16, 32, 64)
    grow_side: tuple[int, ...] = (16, 32, 48, 64)
    grow_chain: tuple[int, ...] = (100, 1000, 4000, 10_000)


@dataclass(frozen=True)
class Result:
    """One way to do a task: who owns it, its figure in every round, and a note."""

    way: str
    owner: Literal["ours", "theirs", "bound"]
    values: tuple[float, ...]
    note: str = ""
    tuned: bool = False
    """Whether it runs at its owner's best documented settings, and not at the defaults."""

    @property
    def median(self) -> float:
        """The median over rounds."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Ratio:
    """How many times better `ours` is than `theirs`: the median, least and most over rounds."""

    ours: str
    theirs: str
    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}..{self.most:.2f})"


@dataclass(frozen=True)
class Comparison:
    """The results of several ways to do one task."""

    task: str
    what: str
    unit: str
    more_is_better: bool
    results: tuple[Result, ...] = ()
    aim: str = ""
    differs: tuple[str, ...] = ()
    """What is not equal between the ways, and which of them it favours."""
    found: str = ""
    """What else was found."""
    skipped: str = ""
    """Why there are no results."""

    def best_first(self, owner: str) -> list[Result]:
        """The results of one owner, the best median first."""
        results = [result for result in self.results if result.owner == owner]
        return sorted(results, key=lambda result: result.median, reverse=self.more_is_better)

    def untuned(self, owner: str) -> list[Result]:
        """The results of one owner at default settings, in the order of `results`."""
        return [result for result in self.results if result.owner == owner and not result.tuned]

    def ratios(self) -> list[Ratio]:
        """Our first untuned way against each untuned one of theirs.

        If any way is tuned, there follows our best way, tuned or not, against each tuned one of
        theirs, and last against the best one of theirs.
        """
        ours = self.untuned("ours")
        theirs = self.untuned("theirs")
        if not ours or not theirs:
            return []
        found = [ratio(ours[0], result, self.more_is_better) for result in theirs]
        if any(result.tuned for result in self.results):
            our_best = self.best_first("ours")[0]
            their_best, *others = self.best_first("theirs")
            opponents = [*(result for result in reversed(others) if result.tuned), their_best]
            found += [ratio(our_best, result, self.more_is_better) for result in opponents]
        return found


def ratio(ours: Result, theirs: Result, more_is_better: bool) -> Ratio:
    """How many times better `ours` is than `theirs`, round by round.

    Where one of the two figures is 0, the ratio is infinite or 0; where both are, it is 1.
    """
    if len(ours.values) != len(theirs.values) or not ours.values:
        raise UsageError(
            f"{ours.way!r} has {len(ours.values)} rounds and {theirs.way!r} {len(theirs.values)}: "
            "give both as many rounds, one or more, because they are compared round by round"
        )
    pairs = zip(ours.values, theirs.values, strict=True)
    each = [_over(a, b) if more_is_better else _over(b, a) for a, b in pairs]
    return Ratio(ours.way, theirs.way, statistics.median(each), min(each), max(each))


def _over(a: float, b: float) -> float:
    """`a / b`, with the limits that `ratio` names where b is 0."""
    if b:
        return a / b
    return math.inf if a else 1.0


def interleaved(
    ways: Mapping[str, Callable[[], object]], repeats: int, min_seconds: float = MIN_SECONDS
) -> dict[str, tuple[float, ...]]:
    """Seconds of one call of each way, in each of `repeats` rounds: A B C, A B C, ...

    Each way is first called once, to load, tune and compile. If it is quick, a second call
    estimates how many calls take `min_seconds`; the figure of a round is the mean of so many.
    """
    if repeats < 1:
        raise UsageError(f"repeats = {repeats} times nothing: give 1 or more")
    calls = dict.fromkeys(ways, 1)
    for way, run in ways.items():
        if seconds(run) < 20 * min_seconds:
            calls[way] = max(1, math.ceil(min_seconds / max(seconds(run), 1e-7)))
    rounds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, run in ways.items():
            rounds[way].append(seconds(run, calls[way]))
    return {way: tuple(each) for way, each in rounds.items()}


def seconds(run: Callable[[], object], calls: int = 1) -> float:
    """Seconds of one call, as the mean of `calls`, including what a GPU still has to finish."""
    synchronize()
    began = time.perf_counter()
    for _ in range(calls):
        run()
    synchronize()
    return (time.perf_counter() - began) / calls


def synchronize() -> None:
    """Wait until the GPU has finished, if one is in use."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def rates(amount: float | int, each: Sequence[float]) -> tuple[float, ...]:
    """`amount` per second, round by round."""
    return tuple(amount / s for s in each)


def fit_line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """`(a, b, off)`: the line a + b x with the least sum of squared relative errors.

    `off` is the largest relative error. Errors are relative, because timings of a small and of a
    large case err by about the same fraction.
    """
    if len(x) != len(y) or len(x) < 3:
        raise UsageError(
            f"x has {len(x)} entries and y {len(y)}: give both the same number, 3 or more"
        )
    # The normal equations of sum ((a + b x) / y - 1)^2, whose weights are 1 / y^2.
    w = [1 / v**2 for v in y]
    s0, s1, s2 = (sum(wi * xi**n for wi, xi in zip(w, x, strict=True)) for n in (0, 1, 2))
    r0, r1 = (sum(wi * yi * xi**n for wi, xi, yi in zip(w, x, y, strict=True)) for n in (0, 1))
    b = (s0 * r1 - s1 * r0) / (s0 * s2 - s1**2)
    a = (r0 - b * s1) / s0
    off = max(abs((a + b * xi) / yi - 1) for xi, yi in zip(x, y, strict=True))
    return a, b, off


def installed_version(package: str) -> str:
    """The version of an installed distribution."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def require(*packages: str) -> None:
    """Raise MachineError if a package is not installed; the message says how to install it."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MachineError(
                f"{package} is not installed: run 'make .venv/peers', or pip install {package}"
            )


def import_package(name: str) -> Any:
    """Import an installed package, or a module of it, only when a task uses it."""
    require(name.split(".")[0])
    return importlib.import_module(name)


def load_file(package: str, name: str) -> ModuleType:
    """Load one file of an installed package by its path, without importing the package itself.

    The packages' own `__init__` files import much that is not installed here.
    """
    require(package)
    found = importlib.util.find_spec(package)
    folders = found.submodule_search_locations if found else None
    path = Path(next(iter(folders or [""]))) / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{package}_{name}_alone", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise MachineError(
            f"{package} {installed_version(package)} has no {name}.py: install the version that "
            "constraints.txt names"
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
