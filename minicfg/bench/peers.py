"""What `minicfg bench --peers` does: the same work by this package and by others, side by side.

Every comparison says what is not equal in it. Speeds are those of whole calls, interleaved; each
side has torch's default number of threads unless a line says otherwise.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from kernels.bench.report import machine
from minicfg.bench import costs as peers_costs
from minicfg.bench import quality as peers_quality
from minicfg.bench import speed as peers_speed
from minicfg.bench import steps as peers_steps
from minicfg.bench.measure import PACKAGES, Bar, Comparison, Sizes, version
from minicfg.errors import MachineError, UsageError
from minicfg.io.atomic import write_atomic
from minicfg.viz import plots
from minicfg.viz.page import Headings, Picture, print_table, write_report

ON_A_GPU = Sizes(device="cuda", side=64, batch=64, product=8192)
GPU_TASKS = ("lucidrains", "diffusers", "loop", "training", "one step")
TASKS: dict[str, Callable[[Sizes], Iterator[Comparison]]] = {
    "lucidrains": peers_speed.sampling_lucidrains,
    "diffusers": peers_speed.sampling_diffusers,
    "loop": peers_steps.loop,
    "training": peers_steps.training,
    "one step": peers_steps.one_step,
    "oracle": peers_costs.oracle,
    "growth": peers_costs.growth,
    "start": peers_costs.start,
    "quality": peers_quality.quality,
    "few steps": peers_quality.few_steps,
}
HEAD = ("task", "ours", "theirs", "times better", "at best", "aim")
COLORS = {"ours": plots.BLUE, "theirs": plots.ORANGE, "bound": plots.GREY}
SENTENCES = (
    "The same work, done by this package and by others on this machine: blue is this package, "
    "orange another, grey a bound that is nobody's. A bar is the median, its whisker the least and "
    "the most of the rounds, in which all ways took turns.",
    "What is not equal in a comparison, and in whose favour, is said under its name at the end.",
)


def bench_peers(
    out: Path, tasks: Sequence[str] | None = None, sizes: Sizes | None = None, *, cpu: bool = False
) -> int:
    """Compare, print, and write `peers.json` and `peers.html` into `out` after every task.

    Args:
        out: a folder.
        tasks: which of `TASKS`: all, or on a GPU those of speed, by default.
        sizes: how much of everything, and where.
        cpu: stay on the CPU, GPU or not.
    """
    if sizes is None:
        sizes = ON_A_GPU if torch.cuda.is_available() and not cpu else Sizes()
    if tasks is None:
        tasks = GPU_TASKS if sizes.device == "cuda" else tuple(TASKS)
    for task in tasks:
        if task not in TASKS:
            raise UsageError(f"task = {task!r}: one of {', '.join(TASKS)} is needed")
    out.mkdir(parents=True, exist_ok=True)
    about = machine(sizes.device) | {name: version(name) for name in PACKAGES}
    about["load"] = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    found: list[Comparison] = []
    for task in tasks:
        began = time.perf_counter()
        for comparison in attempted(task, sizes):
            found.append(comparison)
            print("\n".join(lines(comparison)), flush=True)
        print(f"({task}: {time.perf_counter() - began:.0f} s)", flush=True)
        write(out, about, sizes, found)
    print()
    print_table(HEAD, [row(c) for c in found])
    print(out / "peers.json")
    print(out / "peers.html")
    return 0


def attempted(task: str, sizes: Sizes) -> Iterator[Comparison]:
    """A task's comparisons; what it lacks, or what a peer's new version breaks, is a reason."""
    try:
        yield from TASKS[task](sizes)
    except MachineError as error:
        yield Comparison(task, "", "", True, skipped=str(error))
    except Exception as error:  # or one peer's change would cost every other comparison
        why = f"failed: {type(error).__name__}: {error}"
        yield Comparison(task, "", "", True, skipped=why.splitlines()[0])


def spread(bar: Bar) -> str:
    """Median, least and most."""
    low, high = min(bar.values), max(bar.values)
    return f"{bar.median:.4g}" + (f" ({low:.4g}..{high:.4g})" if len(bar.values) > 1 else "")


def lines(c: Comparison) -> Iterator[str]:
    """A comparison, to read."""
    yield f"\n{c.task}: {c.skipped or c.what}"
    for bar in c.bars:
        yield f"  {bar.way:36} {spread(bar):>30} {c.unit:16} {bar.note}"
    for ratio in c.ratios():
        yield f"  {ratio.ours} against {ratio.theirs}: {ratio} times better"
    if c.found:
        yield f"  {c.found}"


def row(c: Comparison) -> list[str]:
    """Its cells below `HEAD`: our plain way against the hardest plain one, then best to best."""
    if c.skipped:
        return [c.task, "-", "-", "-", "-", f"skipped: {c.skipped}"]
    theirs = [bar for bar in c.side("theirs") if not bar.tuned]
    if not theirs:
        return [c.task, c.found.split(";")[0], "-", "-", "-", c.aim]
    hardest, ours, ratios = theirs[0], c.plain("ours")[0], c.ratios()
    plain = next(ratio for ratio in ratios if ratio.theirs == hardest.way)
    best = f"{ratios[-1].median:.2f}" if any(bar.tuned for bar in c.bars) else "-"
    told = f"{hardest.way} {hardest.median:.4g}"
    return [c.task, f"{ours.median:.4g} {c.unit}", told, str(plain), best, c.aim]


def write(out: Path, about: Mapping[str, Any], sizes: Sizes, found: Sequence[Comparison]) -> None:
    """The JSON file and the page, both of what has been found so far."""
    result = {
        "machine": about,
        "sizes": asdict(sizes),
        "comparisons": [
            asdict(c) | {"ratios": [asdict(ratio) for ratio in c.ratios()]} for c in found
        ],
    }
    write_atomic(out / "peers.json", f"{json.dumps(result, indent=1)}\n".encode())
    shown = sorted(found, key=lambda c: bool(c.skipped))  # the slider's are those with bars
    pictured = [c for c in shown if c.bars]
    stops = [(str(i), Picture(plots.png_bytes(bars(c)), c.what)) for i, c in enumerate(pictured, 1)]
    if not stops:
        return
    differs = {c.task: " ".join((*c.differs, c.found)).strip() for c in shown}
    write_report(
        out / "peers.html",
        title="Side by side with others",
        sentences=SENTENCES,
        stops=stops,
        head=HEAD,
        rows=[[f"{i} {row(c)[0]}", *row(c)[1:]] for i, c in enumerate(shown, 1)],
        pictures=(),
        made={key: str(value) for key, value in about.items()} | differs,
        headings=Headings("One comparison at a time", "Comparison:", "All of them", ""),
    )


def bars(c: Comparison) -> Figure:
    """One bar a way, its whisker from the least to the most."""
    figure = Figure(figsize=(7.5, 1.5 + 0.36 * len(c.bars)), layout="constrained")
    axes = figure.add_subplot()
    for i, bar in enumerate(c.bars):
        error = [[bar.median - min(bar.values)], [max(bar.values) - bar.median]]
        axes.barh(i, bar.median, color=COLORS[bar.whose], xerr=error, ecolor="black", capsize=3)
        axes.annotate(
            f"{bar.median:.4g}", (max(bar.values), i), (5, 0), textcoords="offset points",
            va="center", fontsize=9,
        )  # fmt: skip
    axes.set_yticks(range(len(c.bars)), [bar.way for bar in c.bars])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title(f"{c.task}\n{c.what}", fontsize=9, loc="left")
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{c.unit}, {'more' if c.more_is_better else 'less'} is better")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
