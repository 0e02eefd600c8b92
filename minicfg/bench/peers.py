"""`minicfg bench --peers`: compare this package with other projects, task by task.

Every comparison states what is not equal in it. Speeds are those of whole calls, and the ways take
turns. Each way has torch's default number of threads unless the comparison states another number.
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
from minicfg.bench import costs, equal_distance, quality, speed, steps
from minicfg.bench.measure import PACKAGES, Comparison, Result, Sizes, installed_version
from minicfg.errors import MachineError, UsageError
from minicfg.io.atomic import check_writable, write_atomic
from minicfg.viz import plots
from minicfg.viz.page import Headings, Picture, print_table, write_report

ON_A_GPU = Sizes(device="cuda", side=64, batch=64, product=8192)
GPU_TASKS = ("lucidrains", "diffusers", "loop", "training", "one step")
TASKS: dict[str, Callable[[Sizes], Iterator[Comparison]]] = {
    "lucidrains": speed.sampling_lucidrains,
    "diffusers": speed.sampling_diffusers,
    "loop": steps.loop,
    "training": steps.training,
    "one step": steps.one_step,
    "oracle": costs.oracle,
    "growth": costs.growth,
    "start": costs.start,
    "quality": quality.quality,
    "few steps": quality.few_steps,
    "equal distance": equal_distance.equal_distance,
}
HEAD = ("task", "ours", "theirs", "times better", "at best", "aim")
COLORS = {"ours": plots.BLUE, "theirs": plots.ORANGE, "bound": plots.GREY}
SENTENCES = (
    "This package and others did the same work on this machine. Blue is this package, orange "
    "another, and grey a bound. A bar is the median over the rounds, in which all ways took turns; "
    "its whisker reaches from the least to the most.",
    "The list at the end states what is not equal in each comparison, and which side it favours.",
)


def bench_peers(
    out: Path, tasks: Sequence[str] | None = None, sizes: Sizes | None = None, *, cpu: bool = False
) -> int:
    """Run the tasks, print them, and write `peers.json` and `peers.html` into `out` after each.

    Args:
        out: folder for the two files.
        tasks: names from `TASKS`. The default is all of them, and on a GPU `GPU_TASKS`.
        sizes: sizes of the tasks, and their device. The default depends on the device.
        cpu: use the CPU even if there is a GPU.
    """
    if sizes is None:
        sizes = ON_A_GPU if torch.cuda.is_available() and not cpu else Sizes()
    if tasks is None:
        tasks = GPU_TASKS if sizes.device == "cuda" else tuple(TASKS)
    for task in tasks:
        if task not in TASKS:
            raise UsageError(f"task = {task!r} is unknown: choose one of {', '.join(TASKS)}")
    check_writable(out)
    about = machine(sizes.device) | {name: installed_version(name) for name in PACKAGES}
    about["load"] = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    found: list[Comparison] = []
    for task in tasks:
        began = time.perf_counter()
        for comparison in comparisons_of(task, sizes):
            found.append(comparison)
            print("\n".join(lines(comparison)), flush=True)
        print(f"({task}: {time.perf_counter() - began:.0f} s)", flush=True)
        write(out, about, sizes, found)
    print()
    print_table(HEAD, [row(c) for c in found])
    print(out / "peers.json")
    print(out / "peers.html")
    return 0


def comparisons_of(task: str, sizes: Sizes) -> Iterator[Comparison]:
    """The comparisons of a task; one with a reason in `skipped` if the task fails.

    A task fails if a package is missing, or if a new version of a package breaks it.
    """
    try:
        yield from TASKS[task](sizes)
    except MachineError as error:
        yield Comparison(task, "", "", True, skipped=str(error))
    except Exception as error:  # the other tasks must still run
        why = f"failed: {type(error).__name__}: {error}"
        yield Comparison(task, "", "", True, skipped=why.splitlines()[0])


def median_and_range(result: Result) -> str:
    """The median, and in brackets the least and the most if there are several rounds."""
    if len(result.values) == 1:
        return f"{result.median:.4g}"
    return f"{result.median:.4g} ({min(result.values):.4g}..{max(result.values):.4g})"


def lines(c: Comparison) -> Iterator[str]:
    """The lines to print for a comparison."""
    yield f"\n{c.task}: {c.skipped or c.what}"
    for result in c.results:
        yield f"  {result.way:36} {median_and_range(result):>30} {c.unit:16} {result.note}"
    for ratio in c.ratios():
        yield f"  {ratio.ours} against {ratio.theirs}: {ratio} times better"
    if c.found:
        yield f"  {c.found}"


def row(c: Comparison) -> list[str]:
    """The cells below `HEAD`: our untuned way against their best untuned one, then best to best."""
    if c.skipped:
        return [c.task, "-", "-", "-", "-", f"skipped: {c.skipped}"]
    untuned = [result for result in c.best_first("theirs") if not result.tuned]
    if not untuned:
        return [c.task, c.found.split(";")[0], "-", "-", "-", c.aim]
    theirs = untuned[0]
    ours = c.untuned("ours")[0]
    ratios = c.ratios()
    ratio = next(ratio for ratio in ratios if ratio.theirs == theirs.way)
    at_best = f"{ratios[-1].median:.2f}" if any(result.tuned for result in c.results) else "-"
    return [
        c.task,
        f"{ours.median:.4g} {c.unit}",
        f"{theirs.way} {theirs.median:.4g}",
        str(ratio),
        at_best,
        c.aim,
    ]


def write(out: Path, about: Mapping[str, Any], sizes: Sizes, found: Sequence[Comparison]) -> None:
    """Write the JSON file and the page with what has been found so far."""
    result = {
        "machine": about,
        "sizes": asdict(sizes),
        "comparisons": [
            asdict(c) | {"ratios": [asdict(ratio) for ratio in c.ratios()]} for c in found
        ],
    }
    write_atomic(out / "peers.json", f"{json.dumps(result, indent=1)}\n".encode())
    shown = sorted(found, key=lambda c: bool(c.skipped))  # the skipped ones have no picture
    pictured = [c for c in shown if c.results]
    stops = [
        (str(i), Picture(plots.png_bytes(bar_chart(c)), c.what)) for i, c in enumerate(pictured, 1)
    ]
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


def bar_chart(c: Comparison) -> Figure:
    """One bar per way; its whisker reaches from the least to the most."""
    figure = Figure(figsize=(7.5, 1.5 + 0.36 * len(c.results)), layout="constrained")
    axes = figure.add_subplot()
    for i, result in enumerate(c.results):
        low = min(result.values)
        high = max(result.values)
        axes.barh(
            i,
            result.median,
            color=COLORS[result.owner],
            xerr=[[result.median - low], [high - result.median]],
            ecolor="black",
            capsize=3,
        )
        axes.annotate(
            f"{result.median:.4g}",
            (high, i),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(range(len(c.results)), [result.way for result in c.results])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title(f"{c.task}\n{c.what}", fontsize=9, loc="left")
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{c.unit}, {'more' if c.more_is_better else 'less'} is better")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
