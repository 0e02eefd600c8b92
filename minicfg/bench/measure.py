"""How two programs are timed side by side: in turn, round after round, and what is kept of it.

A machine's speed drifts. So no way is run to its end before the next begins: every round runs each
way once, and a ratio is the median of the rounds' ratios, not the ratio of two medians.
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
LEAST = 0.05  # seconds that one measurement lasts: a clock's tick and a scheduler's slice are short


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults are what is published, smaller ones are for tests."""

    device: str = "cpu"
    side: int = 28
    batch: int = 32
    steps: int = 20
    train_batch: int = 64
    width: int = 40
    repeats: int = 5
    compiled: bool = True
    still: tuple[int, int, int] = (3, 64, 64)
    still_batch: int = 64
    points: int = 100_000
    drawn: int = 800
    product: int = 1024
    seconds: float = 60.0
    seeds: int = 3
    samples: int = 500
    chain: int = 20
    judge_steps: int = 400
    ws: tuple[float, ...] = (0.0, 0.3, 1.0)
    train_steps: int = 2000
    long_chain: int = 1000
    few: tuple[int, ...] = (4, 6, 8, 10, 12, 16, 20, 25)
    grow_steps: tuple[int, ...] = (5, 10, 20, 40)
    grow_batch: tuple[int, ...] = (8, 16, 32, 64)
    grow_side: tuple[int, ...] = (16, 32, 48, 64)
    grow_chain: tuple[int, ...] = (100, 1000, 4000, 10_000)


@dataclass(frozen=True)
class Bar:
    """One way to do a task: its figure in every round, and what there is to know of it."""

    way: str
    whose: Literal["ours", "theirs", "bound"]
    values: tuple[float, ...]
    note: str = ""
    tuned: bool = False
    """At that side's best documented settings, not as it comes."""

    @property
    def median(self) -> float:
        """Of the rounds."""
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
    """A task done several ways."""

    task: str
    what: str
    unit: str
    more_is_better: bool
    bars: tuple[Bar, ...] = ()
    aim: str = ""
    differs: tuple[str, ...] = ()
    """What is not equal, and in whose favour."""
    found: str = ""
    """What the bars do not say."""
    skipped: str = ""
    """Why there are no bars."""

    def side(self, whose: str) -> list[Bar]:
        """The bars of one side, the best median first."""
        bars = [bar for bar in self.bars if bar.whose == whose]
        return sorted(bars, key=lambda bar: bar.median, reverse=self.more_is_better)

    def plain(self, whose: str) -> list[Bar]:
        """Those as they come, in the order they were given."""
        return [bar for bar in self.bars if bar.whose == whose and not bar.tuned]

    def ratios(self) -> list[Ratio]:
        """Our plain way to each plain one of theirs; then our best, tuned or not, to their tuned.

        The last is to the best of theirs.
        """
        ours, theirs = self.plain("ours"), self.plain("theirs")
        if not ours or not theirs:
            return []
        found = [ratio(ours[0], bar, self.more_is_better) for bar in theirs]
        if any(bar.tuned for bar in self.bars):
            best, (hardest, *others) = self.side("ours")[0], self.side("theirs")
            asked = [*(bar for bar in reversed(others) if bar.tuned), hardest]
            found += [ratio(best, bar, self.more_is_better) for bar in asked]
        return found


def ratio(ours: Bar, theirs: Bar, more_is_better: bool) -> Ratio:
    """How many times better: over rounds, which are paired by their number.

    A figure of 0, which nothing is a multiple of, makes it infinite or 0; two of them make 1.
    """
    if len(ours.values) != len(theirs.values) or not ours.values:
        raise UsageError(
            f"{ours.way!r} has {len(ours.values)} rounds and {theirs.way!r} {len(theirs.values)}: "
            "as many of each, and one or more, are needed"
        )
    pairs = zip(ours.values, theirs.values, strict=True)
    each = [_over(a, b) if more_is_better else _over(b, a) for a, b in pairs]
    return Ratio(ours.way, theirs.way, statistics.median(each), min(each), max(each))


def _over(a: float, b: float) -> float:
    return a / b if b else math.inf if a else 1.0


def interleaved(
    ways: Mapping[str, Callable[[], object]], repeats: int, least: float = LEAST
) -> dict[str, tuple[float, ...]]:
    """Seconds of one call of each way, in each of `repeats` rounds: A B C, A B C, ...

    Each is called first: to load, tune and compile; and, if quick, once more, to learn how many
    calls last for `least` seconds, which is then what a round's figure is the mean of.
    """
    if repeats < 1:
        raise UsageError(f"repeats = {repeats}: at least 1 is needed")
    calls = dict.fromkeys(ways, 1)
    for way, run in ways.items():
        if seconds(run) < 20 * least:
            calls[way] = max(1, math.ceil(least / max(seconds(run), 1e-7)))
    rounds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, run in ways.items():
            rounds[way].append(seconds(run, calls[way]))
    return {way: tuple(each) for way, each in rounds.items()}


def seconds(run: Callable[[], object], calls: int = 1) -> float:
    """Of one call, the mean of several, to the end of what a GPU was given to do."""
    wait()
    began = time.perf_counter()
    for _ in range(calls):
        run()
    wait()
    return (time.perf_counter() - began) / calls


def wait() -> None:
    """For the GPU, if one is in use."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def rates(amount: float | int, each: Sequence[float]) -> tuple[float, ...]:
    """So much a second, round by round."""
    return tuple(amount / s for s in each)


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """`(a, b, off)`: the line a + b x of least relative squares, and its worst relative miss.

    Relative, for the timings of a small and of a large case err by shares.
    """
    if len(x) != len(y) or len(x) < 3:
        raise UsageError(f"x has {len(x)} entries and y {len(y)}: as many, and 3 or more")
    # Weighted by 1 / y^2: the normal equations of sum ((a + b x) / y - 1)^2.
    w = [1 / v**2 for v in y]
    s0, s1, s2 = (sum(wi * xi**n for wi, xi in zip(w, x, strict=True)) for n in (0, 1, 2))
    r0, r1 = (sum(wi * yi * xi**n for wi, xi, yi in zip(w, x, y, strict=True)) for n in (0, 1))
    b = (s0 * r1 - s1 * r0) / (s0 * s2 - s1**2)
    a = (r0 - b * s1) / s0
    return a, b, max(abs((a + b * xi) / yi - 1) for xi, yi in zip(x, y, strict=True))


def version(package: str) -> str:
    """Of an installed distribution."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def need(*packages: str) -> None:
    """Refuse to go on without these, in a line that says how to get them."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MachineError(
                f"{package} is not installed: run 'make .venv/peers', or pip install {package}"
            )


def package(name: str) -> Any:
    """An installed package, or a module of it, imported only now."""
    need(name.split(".")[0])
    return importlib.import_module(name)


def module_of(package: str, name: str) -> ModuleType:
    """One file of an installed package, by its path, without what the rest of it imports."""
    need(package)
    found = importlib.util.find_spec(package)
    folders = found.submodule_search_locations if found else None
    path = Path(next(iter(folders or [""]))) / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{package}_{name}_alone", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise MachineError(f"{package} {version(package)} has no {name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
