"""Pictures of samples and of scores. Images have one grey scale everywhere: -1 black, 1 white."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from minicfg.errors import UsageError
from minicfg.io.atomic import write_atomic

if TYPE_CHECKING:
    from jaxtyping import Float, UInt
    from matplotlib.axes import Axes

    from minicfg.metrics.evaluate import Scores

# Told apart by readers who do not see red and green, and in grey.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BARS = {"color": BLUE, "ecolor": GREY, "elinewidth": 1, "marker": "o", "markersize": 5}
ROUND_WS = (-1, 0, 0.1, 0.3, 0.5, 1, 2, 4, 8, 16, 32)
DPI = 150
CELL = 96  # device pixels that an image takes, about: images are enlarged by whole factors
GAP = 6
MOST_SIDE, MOST_PIXELS = 2**15, 2**27  # of a picture, so that it and its copies fit into memory
LETTER = 0.62 * 9 * DPI / 72  # about the width of a letter of 9 points, in pixels


def mosaic(
    x: Float[Tensor, "R C_ C H W"], scale: int = 1, gap: int = 1
) -> UInt[np.ndarray, "height width 4"]:
    """The images as one RGBA picture, each pixel `scale` wide, `gap` clear pixels between images.

    Values are clipped to [-1, 1]. Images have 1 channel, shown grey, or 3; of 2 or 4 the
    mean is shown, grey.
    """
    if x.ndim != 5 or not 1 <= x.shape[2] <= 4 or 0 in x.shape:
        raise UsageError(f"x has shape {tuple(x.shape)}: (rows, columns, 1..4, H, W) is needed")
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


def check_room(rows: int, columns: int, shape: Sequence[int]) -> None:
    """Refuse more images of `shape` (C, H, W) than one picture has room for."""
    side = max(shape[1:]) * max(1, CELL // max(shape[1:])) + GAP
    if max(rows, columns) * side > MOST_SIDE or rows * columns * side**2 > MOST_PIXELS:
        raise UsageError(
            f"{rows} labels and {columns} of each: more than a picture has room for; .npz has"
        )


def image_grid(
    x: Float[Tensor, "R C_ C H W"],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str,
) -> Figure:
    """A table of images. One pixel of an image is a whole number of pixels of the picture."""
    if x.ndim == 5 and (len(row_labels), len(column_labels)) != x.shape[:2]:
        raise UsageError(
            f"{len(row_labels)} row_labels and {len(column_labels)} column_labels: "
            f"x has {x.shape[0]} rows and {x.shape[1]} columns"
        )
    sheet = mosaic(x, max(1, CELL // max(x.shape[-2:])), GAP)
    height, width, _ = sheet.shape
    step = (np.array([height, width]) + GAP) / x.shape[:2]
    widest = max(map(len, column_labels))
    columns_pt = min(9, step[1] * 72 / DPI / (0.68 * max(widest, 1)))
    left = 40 + round(LETTER * len(max(row_labels, key=len)))
    lines = textwrap.wrap(title, max(20, int((left + width) / LETTER)))
    top, margin = 55 + round(1.3 * 9 * DPI / 72 * len(lines)), 20
    size = np.array([left + width + margin, top + height + margin])
    fig = Figure(figsize=tuple(size / DPI), dpi=DPI)
    box = (left / size[0], margin / size[1], width / size[0], height / size[1])
    axes = fig.add_axes(box, frameon=False)
    axes.imshow(sheet, interpolation="none", extent=(0, width, height, 0))
    down, right = (step - GAP)[:, None] / 2 + step[:, None] * np.arange(max(x.shape[:2]))
    axes.set_yticks(down[: len(row_labels)], row_labels, fontsize=9, parse_math=False)
    axes.set_xticks(
        right[: len(column_labels)], column_labels, fontsize=columns_pt, parse_math=False
    )
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    fig.text(20 / size[0], 1 - 14 / size[1], "\n".join(lines), va="top", fontsize=9)
    return fig


def trade_off(ws: Sequence[float], scores: Sequence[Scores], real: Scores | None = None) -> Figure:
    """Relevance against diversity, and the Frechet distance over w; bars are one standard error.

    `real` is what real images score (`evaluate_real`): the star of the first panel.
    """
    if len(ws) != len(scores) or not scores:
        raise UsageError(f"{len(ws)} ws and {len(scores)} scores: one score a w, one at least")
    fig = Figure(figsize=(10, 4.2), dpi=DPI, layout="constrained")
    relevance, distance = fig.subplots(1, 2)
    spread, score = [s.spread for s in scores], [s.inception_score for s in scores]
    errors = [s.spread_se for s in scores], [s.inception_score_se for s in scores]
    relevance.errorbar(spread, score, errors[1], errors[0], label="samples", **BARS)
    if real:
        at = real.spread, real.inception_score
        relevance.plot(*at, "*", color=ORANGE, markersize=12, label="real images, held out")
    relevance.set(
        xlabel="diversity: spread within a class (real images: 1)",
        ylabel="relevance: Inception-style score",
        title="Relevance against diversity",
    )
    frechet, error = [s.frechet for s in scores], [s.frechet_se for s in scores]
    distance.errorbar(ws, frechet, error, label="samples against real images", **BARS)
    floor = [s.frechet_floor for s in scores]
    distance.plot(ws, floor, "--_", color=ORANGE, label="floor: real against real")
    distance.set_yscale("log")
    distance.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    distance.yaxis.set_major_formatter("{x:g}")
    distance.yaxis.set_minor_locator(NullLocator())
    # Linear around 0 and logarithmic outside: 0, 0.1, 0.3 ... 4 stand apart, and w may be negative.
    distance.set_xscale("asinh", linear_width=0.3)
    low, high = math.asinh(min(ws) / 0.3), math.asinh(max(ws) / 0.3)
    distance.set_xlim(0.3 * math.sinh(low - 0.15), 0.3 * math.sinh(high + 0.15))
    few = ws if len(ws) <= 12 else [w for w in ROUND_WS if min(ws) <= w <= max(ws)]
    distance.set_xticks(few, [f"{w:g}" for w in few])
    distance.xaxis.set_minor_locator(NullLocator())
    distance.set(xlabel="w", ylabel="Frechet distance", title="Frechet distance to real images")
    for axes in (relevance, distance):
        # Above the axes, where there is never a curve.
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
        axes.set_title(axes.get_title(), pad=28)
        axes.spines[["top", "right"]].set_visible(False)
    fig.draw_without_rendering()  # settles the layout, which the labels depend on
    shown = {round(i) for i in np.linspace(0, len(ws) - 1, min(len(ws), 9))}
    labels = [f"w = {w:g}" if i in shown else "" for i, w in enumerate(ws)]
    _annotate(relevance, np.array([spread, score]).T, np.array(errors).T, labels)
    return fig


def sweep_curves(ws: Sequence[float], by_name: Mapping[str, Sequence[Scores]]) -> Figure:
    """Frechet distance and Inception-style score over w, a curve a name; bars: a standard error."""
    fig = Figure(figsize=(10, 4.2), dpi=DPI, layout="constrained")
    frechet, inception = fig.subplots(1, 2)
    for (name, scores), color in zip(by_name.items(), COLORS * len(by_name), strict=False):
        style = {"color": color, "label": name, "elinewidth": 1, "marker": "o", "markersize": 3}
        for axes, figure in ((frechet, "frechet"), (inception, "inception_score")):
            values, errors = (
                [getattr(s, figure + suffix) for s in scores] for suffix in ("", "_se")
            )
            axes.errorbar(ws, values, errors, **style)
    floor = [s.frechet_floor for s in next(iter(by_name.values()))]
    frechet.plot(ws, floor, "--", color=GREY, label="floor: real against real")
    frechet.set(yscale="log", xlabel="w", title="Frechet distance to real images")
    inception.set(xlabel="w", title="Inception-style score")
    frechet.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    frechet.yaxis.set_major_formatter("{x:g}")
    frechet.yaxis.set_minor_locator(NullLocator())
    for axes in (frechet, inception):
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = frechet.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return fig


def loss_curve(log: Sequence[Mapping[str, Any]]) -> Figure:
    """The loss of each step of a run's log, and its running mean over a fiftieth of the steps."""
    fig = Figure(figsize=(7, 3.6), dpi=DPI, layout="constrained")
    axes = fig.add_subplot()
    steps, losses = (np.array([line[key] for line in log]) for key in ("step", "loss"))
    width = max(1, len(losses) // 50)
    smooth = np.convolve(losses, np.ones(width) / width, "valid")
    axes.plot(steps, losses, color=GREY, lw=0.5, alpha=0.5, label="each step")
    axes.plot(steps[width - 1 :], smooth, color=BLUE, label=f"mean of {width}")
    axes.set(yscale="log", xlabel="step", ylabel="loss", title="Training")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return fig


def _annotate(axes: Axes, at: np.ndarray, errors: np.ndarray, labels: Sequence[str]) -> None:
    """Label the points in turn, each label in the place around it that is freest of what is there.

    In pixels: the axes must have their final size and limits.
    """
    em = 8 * DPI / 72
    to_pixels = axes.transData.transform
    points, bars = to_pixels(at), errors * np.eye(2)[:, None]
    curve = [np.linspace(p, q, 30) for p, q in pairwise(points)]
    along = [to_pixels(at + r * bar) for bar in bars for r in np.linspace(-1, 1, 15)]
    dots = np.concatenate([points, *curve, *along])
    taken = np.concatenate([dots - em / 4, dots + em / 4], axis=1)  # left, bottom, right, top
    low, high = axes.transAxes.transform([(0, 0), (1, 1)])
    ways = np.array([(i, j) for i in (1, 0, -1) for j in (1, -1, 0) if (i, j) != (0, 0)])
    for point, label in zip(points, labels, strict=True):
        if not label:
            continue
        half = np.array([0.3 * len(label), 0.6]) * em
        places = np.concatenate([point + ways * (half + r * em) for r in (0.3, 0.8, 1.5, 2.5)])
        boxes = np.concatenate([places - half, places + half], axis=1)
        apart = (boxes[:, None, :2] > taken[:, 2:]) | (boxes[:, None, 2:] < taken[:, :2])
        outside = (places - half < low).any(1) | (places + half > high).any(1)
        weight = np.where(np.arange(len(taken)) < len(dots), 1, 1000)  # two labels never overlap
        best = np.argmin(~apart.any(2) @ weight + 1000 * outside)
        taken = np.vstack([taken, boxes[best]])
        away = point - places[best]
        edge = places[best] + away * min(1, *(half / np.maximum(abs(away), 1e-9)))
        where, edge = axes.transData.inverted().transform([places[best], edge])
        axes.text(where[0], where[1], label, ha="center", va="center", fontsize=8, in_layout=False)
        if best >= 2 * len(ways):  # far off: which point it is of must be seen
            ends = axes.transData.inverted().transform(point)
            line = Line2D([ends[0], edge[0]], [ends[1], edge[1]], color=GREY, lw=0.6)
            axes.add_artist(line).set_in_layout(False)


def denoising_gif(
    frames: Iterable[tuple[int, Float[Tensor, "R C_ C H W"]]],
    path: Path,
    row_labels: Sequence[str] = (),
) -> None:
    """Write the reverse chain as a looping GIF: for each `(t, images)` a table of images.

    Rows may be x_t and the guess of x_0, columns the classes. The last frame, data, stays longer.
    """
    pictures = [_frame(t, x, row_labels) for t, x in frames]
    if not pictures:
        raise UsageError("frames is empty: one (t, images) at least is needed")
    durations = [80] * (len(pictures) - 1) + [2000]  # milliseconds
    film = io.BytesIO()
    pictures[0].save(
        film, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0,
        optimize=True,
    )  # fmt: skip
    write_atomic(path, film.getvalue())


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
    grey = x.shape[2] != 3
    # 32 levels of grey: noise compresses badly, and no eye tells them from 256.
    return frame.convert("L").quantize(32) if grey else frame.quantize(256)


def png(fig: Figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi="figure")  # pyright: ignore[reportUnknownMemberType]
    return buffer.getvalue()


def save_figure(fig: Figure, path: Path) -> None:
    """Write the figure as PNG, whatever the suffix, all or nothing."""
    write_atomic(path, png(fig))
