"""Draw the pictures of the ladder: `python -m kernels.ladder.pictures`.

They are kept in `kernels/pictures`, where `kernels/README.md` shows them; the book draws its own.
All but the last are drawn from the formulas of the rungs. The roofline is a prediction from the
bytes that must move, the instructions in code compiled for an H100, and that GPU's data sheet.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, FancyArrowPatch, Rectangle

from kernels import philox

if TYPE_CHECKING:
    from kernels.inspection.machine_code import Report
    from kernels.ladder.rungs import Rung

# These colours remain distinct for readers who confuse red and green.
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
GREY = "#999999"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE)

H100_BYTES = 3.35e12  # per second, from NVIDIA's data sheet
H200_BYTES = 4.8e12
INSTRUCTIONS = 33.5e12  # float32 instructions per second, of both

FOLDER = Path("kernels/pictures")
DPI = 100


def programs() -> Figure:
    """Which program moves which element of g, and where it finds both outputs."""
    n, BLOCK = 10, 4
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    result, outputs = figure.subplots(2, 1, sharex=True)
    for at in range(3 * BLOCK):
        _box(result, at, COLOURS[at // BLOCK], str(at), exists=at < n)
    for program in range(3):
        middle = program * BLOCK + (BLOCK - 1) / 2
        text = f"program {program}" + ": two places masked" * (program == 2)
        result.text(middle, 0.85, text, ha="center")
    result.set_title(
        "g, n = 10 elements, BLOCK = 4: the grid has 3 programs", loc="left", fontsize=10
    )
    for at in range(2 * n):
        _box(outputs, at, COLOURS[at % n // BLOCK], str(at))
    for start, name in ((0, "conditional half: out + at"), (n, "null half: out + n + at")):
        outputs.text(start + (n - 1) / 2, 0.85, name, ha="center")
    outputs.axvline(n - 0.5, color="black", lw=1.5, ymax=0.8)
    outputs.set_title(
        "out, 2n elements: each program reads the places of its own colour", loc="left", fontsize=10
    )
    for axes in (result, outputs):
        axes.set(xlim=(-0.6, 2 * n - 0.4), ylim=(-0.6, 1.3))
        axes.axis("off")
    return figure


def _box(axes: Axes, at: float, colour: str, text: str, exists: bool = True) -> None:
    """One element of memory; a place that does not exist is hatched."""
    face, hatch = (colour, "") if exists else ("white", "////")
    box = Rectangle((at - 0.45, -0.45), 0.9, 0.9, facecolor=face, edgecolor=colour, hatch=hatch)
    axes.add_patch(box)
    axes.text(at, 0, text if exists else "", ha="center", va="center", color="white", fontsize=9)


def tiles() -> Figure:
    """The tiles of the programs over a batch, for small and for large samples."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    small, large = figure.subplots(1, 2, width_ratios=(1, 2))
    _tiles(small, B=10, n=192, SAMPLES=4, BLOCK=256, columns=1)
    _tiles(large, B=3, n=16384, SAMPLES=1, BLOCK=1024, columns=4)
    large.set_title("n = 16,384: SAMPLES = 1, BLOCK = 1024; the first 4 of 16 tiles per sample")
    small.set_title("n = 192: SAMPLES = 4, BLOCK = 256")
    for axes in (small, large):
        axes.set(xlabel="element of the sample", ylabel="sample")
        axes.title.set_fontsize(10)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _tiles(axes: Axes, B: int, n: int, SAMPLES: int, BLOCK: int, columns: int) -> None:
    groups = math.ceil(B / SAMPLES)
    for group in range(groups):
        for first in range(columns):
            colour = COLOURS[(group + first) % 4]
            corner = first * BLOCK, group * SAMPLES - 0.5
            axes.add_patch(
                Rectangle(corner, BLOCK, SAMPLES, fc="white", ec=colour, hatch="////", lw=2)
            )
            width = min(BLOCK, n - first * BLOCK)
            height = min(SAMPLES, B - group * SAMPLES)
            axes.add_patch(Rectangle(corner, width, height, fc=colour, ec="white", lw=2))
            axes.text(
                first * BLOCK + width / 2,
                group * SAMPLES - 0.5 + height / 2,
                f"program\n({first}, {group})",
                ha="center",
                va="center",
                color="white",
                fontsize=9,
            )
    axes.set_xlim(0, columns * BLOCK)
    axes.set_ylim(groups * SAMPLES - 0.5, -0.5)
    axes.set_xticks(
        sorted({0, *(min(n, i * BLOCK) for i in range(1, columns + 1)), columns * BLOCK})
    )
    axes.set_yticks(range(B))


def noise() -> Figure:
    """From a counter to four words to four normals, with the numbers of one block."""
    seed, sample, step, block = 7, 5, 3, 2
    words = philox.words_numpy(seed, np.array([sample]), step, block + 1)[0, block]
    z = philox.normal_numpy(seed, np.array([sample]), step, (4 * block + 4,))[0, -4:]
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots()
    counter = (f"block {block}", f"step {step}", f"sample {sample}", "stream 0")
    for i in range(4):
        x = 2.6 * i
        _cell(axes, x, 3, counter[i], GREY)
        _cell(axes, x, 1.5, f"word {i}\n{words[i]:,}", BLUE)
        _cell(axes, x, 0, f"z[{4 * block + i}]\n{z[i]:+.4f}", GREEN)
    axes.add_patch(Rectangle((-0.9, 2.0), 9.6, 0.5, facecolor="white", edgecolor="black"))
    axes.text(3.9, 2.25, f"Philox4x32-10 under the key {seed}, the seed", ha="center", va="center")
    for i in range(4):
        _arrow(axes, (2.6 * i, 2.82), (2.6 * i, 2.5))
        _arrow(axes, (2.6 * i, 2.0), (2.6 * i, 1.76))
        pair = 5.2 * (i // 2)
        _arrow(axes, (pair, 1.24), (2.6 * i, 0.26))
        _arrow(axes, (pair + 2.6, 1.24), (2.6 * i, 0.26))
    for pair in (0, 1):
        text = "r from the first word,\nangle from the second:\nr cos, r sin"
        axes.text(
            1.3 + 5.2 * pair,
            0.8,
            text,
            ha="center",
            va="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    for y, name in ((3, "counter"), (1.5, "random words"), (0, "normals")):
        axes.text(-1.2, y, name, ha="right", va="center", fontsize=10)
    axes.set(xlim=(-3.2, 9.0), ylim=(-0.4, 3.3))
    axes.axis("off")
    return figure


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    arrow = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, shrinkA=0, shrinkB=0)
    axes.add_patch(arrow)


def _cell(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    axes.text(
        x,
        y,
        text,
        ha="center",
        va="center",
        color="white",
        fontsize=9,
        bbox={"boxstyle": "round", "facecolor": colour, "edgecolor": "none"},
    )


def quarter_turns() -> Figure:
    """An angle as a quarter, its middle M, and the rest h."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    circle, curves = figure.subplots(1, 2, width_ratios=(1, 1.1))
    bits = ("00", "01", "10", "11")
    for quarter in range(4):
        middle = np.pi / 4 + quarter * np.pi / 2
        circle.add_patch(
            Arc(
                (0, 0),
                2,
                2,
                theta1=90 * quarter,
                theta2=90 * quarter + 90,
                color=COLOURS[quarter],
                lw=4,
            )
        )
        x, y = np.cos(middle), np.sin(middle)
        circle.plot([0, x], [0, y], "--", color=COLOURS[quarter], lw=1)
        sign_cos = ">" if x > 0 else "<"
        sign_sin = ">" if y > 0 else "<"
        text = (
            f"top bits {bits[quarter]}\nM = {45 + 90 * quarter}°\n"
            f"cos M {sign_cos} 0\nsin M {sign_sin} 0"
        )
        circle.text(
            1.7 * np.sign(x),
            0.85 * np.sign(y),
            text,
            ha="center",
            va="center",
            fontsize=9,
            color=COLOURS[quarter],
        )
    angle = np.radians(20)
    circle.plot([0, np.cos(angle)], [0, np.sin(angle)], color="black")
    circle.plot(np.cos(angle), np.sin(angle), "ko")
    circle.add_patch(Arc((0, 0), 1.1, 1.1, theta1=20, theta2=45, color="black"))
    circle.text(0.62, 0.39, "h", fontsize=11)
    circle.set(xlim=(-2.2, 2.2), ylim=(-1.3, 1.3), aspect="equal")
    circle.set_title("angle = M + h, |h| ≤ 45°", fontsize=10)
    circle.axis("off")
    h = np.linspace(-np.pi, np.pi, 400)
    near = np.abs(h) <= np.pi / 4
    for function, name, colour in ((np.cos, "cos h", BLUE), (np.sin, "sin h", ORANGE)):
        curves.plot(np.degrees(h), function(h), color=GREY, lw=1)
        curves.plot(np.degrees(h[near]), function(h[near]), color=colour, lw=3, label=name)
    curves.axvspan(-45, 45, color=GREY, alpha=0.15)
    curves.set_xticks([-180, -90, -45, 0, 45, 90, 180])
    curves.set(xlabel="h in degrees", ylabel="value")
    curves.set_title("four terms suffice, because h stays in the shaded interval", fontsize=10)
    curves.legend(loc="upper left")
    return figure


def roofline(found: dict[str, list[tuple[Rung, Report]]] | None = None) -> Figure:
    """The eight rungs under the roofline of an H100, as a prediction.

    Args:
        found: by dtype, each rung and its machine code for sm_90; compiled here if it is None,
            which takes a minute.
    """
    from kernels.ladder.table import without_slow_paths

    found = compiled() if found is None else found
    figure = Figure(figsize=(8.5, 5.4), layout="constrained")
    axes = figure.subplots()
    x = np.geomspace(0.3, 40, 200)
    for bandwidth, colour, name in ((H100_BYTES, "black", "H100"), (H200_BYTES, GREY, "H200")):
        axes.plot(
            x, np.minimum(bandwidth * x, INSTRUCTIONS), color=colour, label=f"{name}, data sheet"
        )
    axes.axvline(INSTRUCTIONS / H100_BYTES, color="black", ls=":", lw=0.8)
    for dtype, colour, size, below in (("float32", BLUE, 4, True), ("bfloat16", ORANGE, 2, False)):
        points: dict[float, list[int]] = {}
        for rung, report in found[dtype]:
            moved = size * (rung.reads + rung.writes)
            intensity = without_slow_paths(report) / moved
            near = next((i for i in points if abs(math.log(i / intensity)) < 0.12), intensity)
            points.setdefault(near, []).append(rung.number)
            rate = min(H100_BYTES * intensity, INSTRUCTIONS)
            axes.plot(intensity, rate, "o", color=colour, ms=6)
        for intensity, numbers in points.items():
            rate = min(H100_BYTES * intensity, INSTRUCTIONS)
            axes.annotate(
                ", ".join(map(str, numbers)),
                (intensity, rate),
                (8, -12) if below else (-8, 8),
                textcoords="offset points",
                ha="left" if below else "right",
                color=colour,
                fontsize=9,
            )
        axes.plot([], [], "o", color=colour, label=f"rungs in {dtype}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([0.3, 1, 3, 10, 30], ["0.3", "1", "3", "10", "30"])
    axes.minorticks_off()
    axes.set_ylim(8e11, 8e13)
    axes.text(1.0, 4.3e13, "memory-bound on an H100", ha="center", fontsize=9)
    axes.text(19, 4.3e13, "compute-bound", ha="center", fontsize=9)
    axes.set(
        xlabel="instructions per byte, counted in code compiled for an H100",
        ylabel="instructions per second, at best",
    )
    axes.set_title("A prediction from counts and data sheets; no GPU was used", fontsize=10)
    axes.legend(loc="lower right", fontsize=8)
    return figure


def compiled() -> dict[str, list[tuple[Rung, Report]]]:
    """Every rung compiled for an H100, in both types."""
    import torch

    from kernels.ladder.table import reports

    return {
        name: list(reports("sm_90", dtype))
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }


PICTURES: dict[str, Callable[[], Figure]] = {
    "programs": programs,
    "tiles": tiles,
    "noise": noise,
    "quarter_turns": quarter_turns,
    "roofline": roofline,
}


def main() -> int:
    """Draw the pictures that are asked for, and print their paths."""
    parser = argparse.ArgumentParser(
        prog="python -m kernels.ladder.pictures",
        description="Draw the pictures of kernels/README.md.",
        epilog="example: python -m kernels.ladder.pictures tiles",
    )
    parser.add_argument(
        "name", nargs="*", help=f"one or more of {', '.join(PICTURES)} (default: all)"
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to (%(default)s)")
    given = parser.parse_args()
    if unknown := set(given.name) - set(PICTURES):
        parser.error(f"picture {', '.join(unknown)} is unknown: choose from {', '.join(PICTURES)}")
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.name or PICTURES:
        path = given.out / f"{name}.png"
        PICTURES[name]().savefig(path, dpi=DPI)
        print(path, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
