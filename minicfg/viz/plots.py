"""Figures of samples and of scores. In all of them an image value of -1 is black and 1 is white."""

from __future__ import annotations

import io
import math
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from minicfg.errors import UsageError, check_type, escape_controls
from minicfg.io.atomic import write_atomic

if TYPE_CHECKING:
    from jaxtyping import Float, UInt
    from matplotlib.axes import Axes

    from minicfg.metrics.evaluate import Scores

# Colours that are distinct for readers with red-green blindness, and in greyscale.
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREY = "#666666"
COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BARS = {"color": BLUE, "ecolor": GREY, "elinewidth": 1, "marker": "o", "markersize": 5}
ROUND_WS = (-1, 0, 0.1, 0.3, 0.5, 1, 2, 4, 8, 16, 32)  # Ticks for many w.
MAX_LABELLED_WS = 9  # More labels beside the points of a curve would hide it.
DPI = 150
CELL = 96  # Pixels of the figure that an image takes, about: images are enlarged by whole factors.
GAP = 6  # Pixels between images.
MAX_SIDE = 2**15  # Pixels of the longer side of a figure.
MAX_PIXELS = 2**27  # Pixels of a figure, so that a few copies of it fit into memory.
FONT_SIZE = 9  # Points, of 72 to the inch.
LETTER_WIDTH = 0.62 * FONT_SIZE * DPI / 72  # Mean width of a letter, in pixels.
LINE_HEIGHT = 1.3 * FONT_SIZE * DPI / 72


def mosaic(
    x: Float[Tensor, "R C_ C H W"], scale: int = 1, gap: int = 1
) -> UInt[np.ndarray, "height width 4"]:
    """Return the images as one RGBA array, with `gap` transparent pixels between images.

    Each pixel of an image becomes a square of `scale` x `scale`. Values are clipped to [-1, 1].
    Images with one channel are grey and images with three are RGB. Of two or four channels the
    mean is shown, in grey.
    """
    check_type("x", x, Tensor, "pass a tensor of floats (rows, columns, channels, H, W)")
    if x.ndim != 5 or not 1 <= x.shape[2] <= 4 or 0 in x.shape:
        raise UsageError(
            f"x has shape {tuple(x.shape)}: give images as (rows, columns, channels, H, W) with "
            "1..4 channels and no empty dimension"
        )
    if x.shape[2] in (2, 4):
        x = x.mean(2, keepdim=True)
    levels = ((x.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().byte()
    images = levels.expand(*x.shape[:2], 3, *x.shape[3:]).permute(0, 1, 3, 4, 2).numpy()
    images = images.repeat(scale, axis=2).repeat(scale, axis=3)
    rows, columns, height, width, _ = images.shape
    sheet = np.zeros((rows, height + gap, columns, width + gap, 4), np.uint8)
    sheet[:, :height, :, :width, :3] = images.transpose(0, 2, 1, 3, 4)
    sheet[:, :height, :, :width, 3] = 255
    sheet = sheet.reshape(rows * (height + gap), columns * (width + gap), 4)
    return sheet[: len(sheet) - gap, : sheet.shape[1] - gap]


def check_grid_size(rows: int, columns: int, shape: Sequence[int]) -> None:
    """Refuse a grid of images of `shape` (C, H, W) that is too large for one figure."""
    longer = max(shape[1:])
    side = longer * max(1, CELL // longer) + GAP
    if max(rows, columns) * side > MAX_SIDE or rows * columns * side**2 > MAX_PIXELS:
        raise UsageError(
            f"{rows} labels and {columns} samples of each do not fit into one picture: sample "
            "fewer, or write an .npz file"
        )


def image_grid(
    x: Float[Tensor, "R C_ C H W"],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str,
) -> Figure:
    """Draw a table of images. Each pixel of an image becomes a square of whole pixels.

    Labels may be in any script. A character that no installed font has is shown by its escape.
    """
    check_type("x", x, Tensor, "pass a tensor of floats (rows, columns, channels, H, W)")
    if x.ndim == 5 and (len(row_labels), len(column_labels)) != x.shape[:2]:
        raise UsageError(
            f"{len(row_labels)} row_labels and {len(column_labels)} column_labels for "
            f"{x.shape[0]} rows and {x.shape[1]} columns of images: give one label for each"
        )
    row_labels, row_families = _legible(row_labels)
    column_labels, column_families = _legible(column_labels)
    (title,), title_families = _legible([title])
    sheet = mosaic(x, max(1, CELL // max(x.shape[-2:])), GAP)
    height, width, _ = sheet.shape
    rows, columns = x.shape[:2]
    row_step = (height + GAP) / rows
    column_step = (width + GAP) / columns

    # Margins, in pixels: row labels on the left, the title and the column labels at the top.
    margin = 20
    left = 40 + round(LETTER_WIDTH * max(map(_width_in_letters, row_labels)))
    lines = textwrap.wrap(title, max(20, int((left + width) / LETTER_WIDTH)))
    top = 55 + round(LINE_HEIGHT * len(lines))
    title_width = round(LETTER_WIDTH * max(map(_width_in_letters, lines), default=0))
    figure_width = max(left + width, 20 + title_width) + margin
    figure_height = top + height + margin
    fig = Figure(figsize=(figure_width / DPI, figure_height / DPI), dpi=DPI)
    box = (
        left / figure_width,
        margin / figure_height,
        width / figure_width,
        height / figure_height,
    )
    axes = fig.add_axes(box, frameon=False)
    axes.imshow(sheet, interpolation="none", extent=(0, width, height, 0))

    row_centres = (row_step - GAP) / 2 + row_step * np.arange(rows)
    column_centres = (column_step - GAP) / 2 + column_step * np.arange(columns)
    longest = max(1, *map(_width_in_letters, column_labels))
    column_font = min(FONT_SIZE, column_step * 72 / DPI / (0.68 * longest))
    axes.set_yticks(
        row_centres,
        row_labels,
        fontsize=FONT_SIZE,
        fontfamily=row_families,
        parse_math=False,
    )
    axes.set_xticks(
        column_centres,
        column_labels,
        fontsize=column_font,
        fontfamily=column_families,
        parse_math=False,
    )
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    x_title = 20 / figure_width
    y_title = 1 - 14 / figure_height
    fig.text(
        x_title,
        y_title,
        "\n".join(lines),
        va="top",
        fontsize=FONT_SIZE,
        fontfamily=title_families,
    )
    return fig


def _legible(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return texts that can be drawn, and the font families to draw them with.

    The families are matplotlib's default ones and, for each text with characters that those lack,
    one installed font that has these characters. Where no font has them they are escaped.
    """
    default = _characters(font_manager.findfont(font_manager.FontProperties()))
    families = list[str](matplotlib.rcParams["font.family"])
    shown = list[str]()
    for text in map(escape_controls, texts):
        lacking = {c for c in text if ord(c) not in default}
        family = _family_with(lacking) if lacking else None
        if family and family not in families:
            families.append(family)
        if lacking and not family:
            text = "".join(c.encode("unicode_escape").decode() if c in lacking else c for c in text)
        shown.append(text)
    return shown, families


def _family_with(characters: set[str]) -> str | None:
    """Return the first installed font family that has all of these characters, or None."""
    needed = {ord(c) for c in characters}
    for font in font_manager.fontManager.ttflist:
        if font.style != "normal" or font.name.startswith("Last Resort"):
            continue  # Last Resort has a box for every character there is.
        if needed <= _characters(font.fname):
            return font.name
    return None


@lru_cache(maxsize=1024)
def _characters(file: str) -> frozenset[int]:
    """Return the characters that the font in this file has."""
    return frozenset(font_manager.get_font(file).get_charmap())


def _width_in_letters(text: str) -> int:
    """Return the width of a text in letters; a Chinese, Japanese or Korean character counts 2."""
    return len(text) + sum(unicodedata.east_asian_width(c) in "WF" for c in text)


def trade_off(ws: Sequence[float], scores: Sequence[Scores], real: Scores | None = None) -> Figure:
    """Plot relevance against diversity, and the Frechet distance over w.

    Bars show one standard error. `real` are the scores of real images (`evaluate_real`), drawn as
    a star in the first panel.
    """
    if len(ws) != len(scores) or not scores:
        raise UsageError(f"{len(ws)} ws and {len(scores)} scores: give one score for each w")
    fig = Figure(figsize=(10, 4.2), dpi=DPI, layout="constrained")
    relevance, distance = fig.subplots(1, 2)
    _plot_relevance(relevance, scores, real)
    _plot_distance(distance, ws, scores)
    for axes in (relevance, distance):
        # The legend stands above the axes, where there is no curve.
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
        axes.set_title(axes.get_title(), pad=28)
        axes.spines[["top", "right"]].set_visible(False)
    fig.draw_without_rendering()  # This settles the layout, on which the labels depend.
    count = min(len(ws), MAX_LABELLED_WS)
    labelled = {round(i) for i in np.linspace(0, len(ws) - 1, count)}
    labels = [f"w = {w:g}" if i in labelled else "" for i, w in enumerate(ws)]
    points = np.array([(s.spread, s.inception_score) for s in scores])
    errors = np.array([(s.spread_se, s.inception_score_se) for s in scores])
    _label_points(relevance, points, errors, labels)
    return fig


def _plot_relevance(axes: Axes, scores: Sequence[Scores], real: Scores | None) -> None:
    axes.errorbar(
        [s.spread for s in scores],
        [s.inception_score for s in scores],
        xerr=[s.spread_se for s in scores],
        yerr=[s.inception_score_se for s in scores],
        label="samples",
        **BARS,
    )
    if real:
        axes.plot(
            real.spread,
            real.inception_score,
            "*",
            color=ORANGE,
            markersize=12,
            label="real images, held out",
        )
    axes.set(
        xlabel="diversity: spread within a class (real images: 1)",
        ylabel="relevance: Inception-style score",
        title="Relevance against diversity",
    )


def _plot_distance(axes: Axes, ws: Sequence[float], scores: Sequence[Scores]) -> None:
    axes.errorbar(
        ws,
        [s.frechet for s in scores],
        yerr=[s.frechet_se for s in scores],
        label="samples against real images",
        **BARS,
    )
    floor = [s.frechet_floor for s in scores]
    axes.plot(ws, floor, "--_", color=ORANGE, label="floor: real against real")
    _set_log_scale(axes, subs=(1, 2, 3, 5, 7))
    # The axis is linear around 0 and logarithmic outside, because w may be negative and 0, 0.1,
    # 0.3 ... 4 must stand apart.
    linear_width = 0.3
    axes.set_xscale("asinh", linear_width=linear_width)
    low = math.asinh(min(ws) / linear_width)
    high = math.asinh(max(ws) / linear_width)
    axes.set_xlim(linear_width * math.sinh(low - 0.15), linear_width * math.sinh(high + 0.15))
    ticks = ws if len(ws) <= 12 else [w for w in ROUND_WS if min(ws) <= w <= max(ws)]
    axes.set_xticks(ticks, [f"{w:g}" for w in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="w", ylabel="Frechet distance", title="Frechet distance to real images")


def _set_log_scale(axes: Axes, subs: tuple[int, ...]) -> None:
    """Make the y axis logarithmic, with ticks at `subs` times the powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def sweep_curves(ws: Sequence[float], by_name: Mapping[str, Sequence[Scores]]) -> Figure:
    """Plot Frechet distance and Inception-style score over w, one curve per name.

    Bars show one standard error.
    """
    fig = Figure(figsize=(10, 4.2), dpi=DPI, layout="constrained")
    frechet, inception = fig.subplots(1, 2)
    for (name, scores), color in zip(by_name.items(), COLORS * len(by_name), strict=False):
        style = {"color": color, "label": name, "elinewidth": 1, "marker": "o", "markersize": 3}
        frechet.errorbar(ws, [s.frechet for s in scores], [s.frechet_se for s in scores], **style)
        inception.errorbar(
            ws, [s.inception_score for s in scores], [s.inception_score_se for s in scores], **style
        )
    floor = [s.frechet_floor for s in next(iter(by_name.values()))]
    frechet.plot(ws, floor, "--", color=GREY, label="floor: real against real")
    frechet.set(xlabel="w", title="Frechet distance to real images")
    inception.set(xlabel="w", title="Inception-style score")
    _set_log_scale(frechet, subs=(1, 2, 3, 5, 7))
    for axes in (frechet, inception):
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = frechet.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return fig


def loss_curve(log: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot the loss of each step of a run, and its running mean over 1/50 of the steps."""
    if not log:
        raise UsageError("log is empty: pass one line with step and loss for each step of a run")
    fig = Figure(figsize=(7, 3.6), dpi=DPI, layout="constrained")
    axes = fig.add_subplot()
    steps = np.array([line["step"] for line in log])
    losses = np.array([line["loss"] for line in log])
    width = max(1, len(losses) // 50)
    smooth = np.convolve(losses, np.ones(width) / width, "valid")
    axes.plot(steps, losses, color=GREY, lw=0.5, alpha=0.5, label="each step")
    axes.plot(steps[width - 1 :], smooth, color=BLUE, label=f"mean of {width}")
    axes.set(xlabel="step", ylabel="loss", title="Training")
    _set_log_scale(axes, subs=(1, 2, 5))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return fig


def _label_points(
    axes: Axes, points: np.ndarray, errors: np.ndarray, labels: Sequence[str]
) -> None:
    """Label the points one after the other, each where its label covers the least.

    A label has 32 possible places: 8 directions at 4 distances. A place is worse the more dots of
    the curve and of the error bars it covers. Covering another label or leaving the axes is worst.
    All lengths are in pixels, so the axes must have their final size and limits.
    """
    em = 8 * DPI / 72  # The font size of the labels.
    to_pixels = axes.transData.transform
    to_data = axes.transData.inverted().transform
    centres = to_pixels(points)
    # Curve and error bars as dots, each a square of em / 2.
    curve = [np.linspace(p, q, 30) for p, q in pairwise(centres)]
    bars = errors * np.eye(2)[:, None]
    along_bars = [to_pixels(points + r * bar) for bar in bars for r in np.linspace(-1, 1, 15)]
    dots = np.concatenate([centres, *curve, *along_bars])
    # The boxes that are taken: left, bottom, right, top.
    taken = np.concatenate([dots - em / 4, dots + em / 4], axis=1)
    low, high = axes.transAxes.transform([(0, 0), (1, 1)])
    directions = np.array([(1, 1), (1, -1), (1, 0), (0, 1), (0, -1), (-1, 1), (-1, -1), (-1, 0)])
    for centre, label in zip(centres, labels, strict=True):
        if not label:
            continue
        half = np.array([0.3 * len(label), 0.6]) * em
        distances = (0.3 * em, 0.8 * em, 1.5 * em, 2.5 * em)
        places = np.concatenate([centre + directions * (half + r) for r in distances])
        boxes = np.concatenate([places - half, places + half], axis=1)
        apart = (boxes[:, None, :2] > taken[:, 2:]) | (boxes[:, None, 2:] < taken[:, :2])
        covers = ~apart.any(2)
        is_outside = (places - half < low).any(1) | (places + half > high).any(1)
        weight = np.where(np.arange(len(taken)) < len(dots), 1, 1000)
        best = np.argmin(covers @ weight + 1000 * is_outside)
        taken = np.vstack([taken, boxes[best]])
        x, y = to_data(places[best])
        axes.text(x, y, label, ha="center", va="center", fontsize=8, in_layout=False)
        if best >= 2 * len(directions):  # The label is far off, so a line leads to its point.
            away = centre - places[best]
            edge = places[best] + away * min(1, *(half / np.maximum(abs(away), 1e-9)))
            ends = to_data([centre, edge])
            line = Line2D(ends[:, 0], ends[:, 1], color=GREY, lw=0.6)
            axes.add_artist(line).set_in_layout(False)


def denoising_gif(
    frames: Iterable[tuple[int, Float[Tensor, "R C_ C H W"]]],
    path: Path,
    row_labels: Sequence[str] = (),
) -> None:
    """Write the reverse chain as a looping GIF, with a table of images for each `(t, images)`.

    For example, the rows are x_t and the guess of x_0, and the columns are the classes. The last
    frame stays longer.
    """
    pictures = [_frame(t, x, row_labels) for t, x in frames]
    if not pictures:
        raise UsageError("frames is empty: give at least one pair (t, images)")
    durations = [80] * (len(pictures) - 1) + [2000]  # Milliseconds.
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,  # For ever.
        optimize=True,
    )
    write_atomic(path, buffer.getvalue())


def _frame(t: int, x: Tensor, row_labels: Sequence[str]) -> Image.Image:
    scale = max(1, 48 // max(x.shape[-2:]))
    sheet = Image.fromarray(mosaic(x, scale, 4))
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 15)
    left = max((math.ceil(font.getlength(label)) + 12 for label in row_labels), default=0)
    frame = Image.new("RGB", (left + sheet.width + 16, sheet.height + 44), "white")
    frame.paste(sheet, (left + 8, 36), sheet)
    draw = ImageDraw.Draw(frame)
    draw.text((left + 8, 9), f"t = {t}", "black", font)
    for i, label in enumerate(row_labels):
        middle = 36 + (i + 0.5) * (sheet.height + 4) / len(row_labels) - 2
        draw.text((8, middle), label, "black", font, anchor="lm")
    if x.shape[2] == 3:
        return frame.quantize(256)
    # Noise compresses badly, and 32 levels of grey look like 256.
    return frame.convert("L").quantize(32)


def png_bytes(fig: Figure) -> bytes:
    """Return the figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi="figure")  # pyright: ignore[reportUnknownMemberType]
    return buffer.getvalue()


def save_figure(fig: Figure, path: Path) -> None:
    """Write the figure atomically as PNG, whatever the suffix of `path`."""
    check_type("fig", fig, Figure, "pass a figure of matplotlib")
    write_atomic(path, png_bytes(fig))
