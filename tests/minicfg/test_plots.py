"""Pictures by their pixels: the right image in the right place, whole, in the one grey scale."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from minicfg.errors import UsageError
from minicfg.metrics.evaluate import Scores
from minicfg.viz import plots


def shades(rows: int, columns: int, channels: int = 1, side: int = 8) -> torch.Tensor:
    """Images of random pixels, every one another."""
    shape = rows, columns, channels, side, side
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 1


def scores(frechet: float, spread: float, inception_score: float) -> Scores:
    return Scores(
        accuracy=0.9,
        frechet=frechet,
        frechet_floor=0.1,
        inception_score=inception_score,
        spread=spread,
        precision=0.8,
        recall=0.7,
        n=100,
        accuracy_se=0.01,
        frechet_se=0.02,
        inception_score_se=0.03,
        spread_se=0.04,
        precision_se=0.02,
        recall_se=0.03,
    )


WS = [0.0, 0.1, 0.3, 0.5, 1.0, 2.0, 4.0]
SCORES = [scores(0.3 + (w - 0.3) ** 2, 1 / (1 + w), 9.9 - 0.5 / (1 + w)) for w in WS]


def test_mosaic_puts_each_image_in_its_cell() -> None:
    x = shades(3, 2)
    sheet = plots.mosaic(x, scale=2, gap=3)
    assert sheet.shape == (3 * 16 + 2 * 3, 2 * 16 + 3, 4)
    covered = np.zeros(sheet.shape[:2], bool)
    for row in range(3):
        for column in range(2):
            cell = np.s_[19 * row : 19 * row + 16, 19 * column : 19 * column + 16]
            covered[cell] = True
            expected = np.rint((x[row, column, 0].numpy() + 1) * 127.5)
            for channel in range(3):
                np.testing.assert_array_equal(sheet[cell][::2, ::2, channel], expected)
                np.testing.assert_array_equal(sheet[cell][1::2, 1::2, channel], expected)
    np.testing.assert_array_equal(sheet[..., 3], 255 * covered)  # what is between is clear


def test_mosaic_has_one_grey_scale_and_clips() -> None:
    """-1 is black and 1 white, whatever range the images at hand span."""
    x = torch.tensor([-7.0, -1, 0.002, 1, 1.2]).reshape(1, 1, 1, 1, 5)
    assert plots.mosaic(x)[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert plots.mosaic(x[..., 2:3])[0, 0, 0] == 128


def test_mosaic_keeps_colours() -> None:
    x = torch.tensor([1.0, -1, 0.2]).reshape(1, 1, 3, 1, 1)
    assert plots.mosaic(x)[0, 0].tolist() == [255, 0, 153, 255]


def cells_of(fig: plots.Figure) -> np.ndarray:
    """The pixels of a saved figure inside its only axes."""
    drawn = np.asarray(Image.open(io.BytesIO(plots.png_bytes(fig))).convert("RGB"))
    box = fig.axes[0].get_window_extent()
    left, bottom, right, top = np.rint(box.extents).astype(int)
    np.testing.assert_allclose(box.extents, [left, bottom, right, top], atol=1e-6)
    return drawn[len(drawn) - top : len(drawn) - bottom, left:right]


@pytest.mark.parametrize(("rows", "columns", "side"), [(3, 5, 8), (1, 1, 32), (10, 7, 9)])
def test_image_grid_draws_the_mosaic_pixel_for_pixel(rows: int, columns: int, side: int) -> None:
    """No resampling: an image's pixel is a square of whole pixels, its grey what was given."""
    x = shades(rows, columns, side=side)
    fig = plots.image_grid(x, [f"row {i}" for i in range(rows)], ["c"] * columns, "A title " * 9)
    expected = plots.mosaic(x, plots.CELL // side, plots.GAP)
    white = np.where(expected[..., 3:] == 0, 255, expected[..., :3])
    np.testing.assert_array_equal(cells_of(fig), white)


def test_image_grid_labels_stand_at_their_cells() -> None:
    rows, columns = ["zero", "one", "two"], ["w = 0", "w = 1"]
    fig = plots.image_grid(shades(3, 2), rows, columns, "title")
    fig.draw_without_rendering()
    (axes,) = fig.axes
    box, step = axes.get_window_extent(), plots.CELL + plots.GAP
    for name, label in zip(rows, axes.get_yticklabels(), strict=True):
        assert label.get_text() == name
        extent = label.get_window_extent()
        middle = box.y1 - plots.CELL / 2 - step * rows.index(name)  # the first row is the top one
        assert extent.y0 < middle < extent.y1
    for name, label in zip(columns, axes.get_xticklabels(), strict=True):
        assert label.get_text() == name
        extent = label.get_window_extent()
        middle = box.x0 + plots.CELL / 2 + step * columns.index(name)
        assert (extent.x0 + extent.x1) / 2 == pytest.approx(middle, abs=1)
        assert extent.y0 > box.y1  # above


@pytest.mark.parametrize("names", [["0"], ["a long class name, rather"], [""]])
@pytest.mark.parametrize("columns", [["w = 0.25", "w = 0.5"], [""]])
def test_image_grid_cuts_no_text(names: list[str], columns: list[str]) -> None:
    fig = plots.image_grid(
        shades(1, len(columns)), names, columns, "w = 3, ddpm, 50 steps, seed 0, words " * 4
    )
    fig.draw_without_rendering()
    (axes,) = fig.axes
    labels = [*axes.get_xticklabels(which="both"), *axes.get_yticklabels(), *fig.texts]
    extents = [text.get_window_extent() for text in labels if text.get_text()]
    for extent in extents:
        assert extent.x0 >= 0 and extent.y0 >= 0, extent
        assert extent.x1 <= fig.bbox.x1 and extent.y1 <= fig.bbox.y1, extent
    for i, one in enumerate(extents):
        assert not any(one.overlaps(other) for other in extents[:i])


@pytest.fixture
def fonts_of_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the fonts that come with matplotlib, and Last Resort, which draws boxes."""
    fonts = plots.font_manager.fontManager.ttflist
    own = [font for font in fonts if font.fname.startswith(plots.matplotlib.get_data_path())]
    monkeypatch.setattr(plots.font_manager.fontManager, "ttflist", own)


SCRIPT_A = "\U0001d49c"  # STIXGeneral has it, DejaVu Sans does not.


@pytest.mark.usefixtures("fonts_of_matplotlib")
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\u017divot \u0444\u044b \u05d0", "\u017divot \u0444\u044b \u05d0"),
        (f"a {SCRIPT_A}", f"a {SCRIPT_A}"),
        ("\u732b", r"\u732b"),
        (f"\u732b {SCRIPT_A} b", r"\u732b \U0001d49c b"),
        ("a\x1b[31mb\u202ec", r"a\x1b[31mb\u202ec"),
        ("$x$", "$x$"),
    ],
)
def test_names_in_any_script_are_drawn_without_a_warning(name: str, shown: str) -> None:
    fig = plots.image_grid(shades(1, 2), [name], [name, "b"], name)
    plots.png_bytes(fig)  # In the tests, a warning of a missing glyph is an error.
    (axes,) = fig.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [shown]
    assert [label.get_text() for label in axes.get_xticklabels()] == [shown, "b"]
    assert [text.get_text() for text in fig.texts] == [shown]
    families = axes.get_yticklabels()[0].get_fontfamily()
    assert families == ["sans-serif", *(["STIXGeneral"] if shown == f"a {SCRIPT_A}" else [])]


def test_wide_characters_count_as_two_letters() -> None:
    assert plots._width_in_letters("\u732b\u732b a") == 6
    edges = [
        plots.image_grid(shades(1, 1), [name], [""], "").axes[0].get_window_extent().x0
        for name in ("ab" * 5, "ab" * 10)
    ]
    assert edges[1] - edges[0] == pytest.approx(10 * plots.LETTER_WIDTH, abs=1)


def lines(axes: plots.Axes) -> dict[str, np.ndarray]:
    found = {container.get_label(): container.lines[0] for container in axes.containers}
    found |= {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    return {str(label): line.get_xydata() for label, line in found.items()}


def test_trade_off_draws_the_figures_it_is_given() -> None:
    fig = plots.trade_off(WS, SCORES, real=scores(0.1, 1.0, 9.7))
    relevance, distance = (lines(axes) for axes in fig.axes)
    expected = [(s.spread, s.inception_score) for s in SCORES]
    np.testing.assert_allclose(relevance["samples"], expected)
    np.testing.assert_allclose(relevance["real images, held out"], [(1.0, 9.7)])
    expected = [(w, s.frechet) for w, s in zip(WS, SCORES, strict=True)]
    np.testing.assert_allclose(distance["samples against real images"], expected)
    np.testing.assert_allclose(distance["floor: real against real"], [(w, 0.1) for w in WS])


def test_trade_off_bars_are_one_standard_error() -> None:
    fig = plots.trade_off(WS, SCORES)
    for axes, sizes in zip(fig.axes, ([0.04, 0.03], [0.02]), strict=True):
        for bars, size in zip(axes.containers[0].lines[2], sizes, strict=True):
            for (start, end), s in zip(bars.get_segments(), SCORES, strict=True):
                assert np.abs(end - start).max() == pytest.approx(2 * size), s


@pytest.mark.parametrize(
    "found",
    [SCORES, [scores(1.0, 1 - 0.01 * i, 9 + 0.02 * i) for i in range(6)] + [scores(1.0, 0.1, 9.9)]],
    ids=["apart", "six in a heap"],
)
def test_trade_off_labels_every_w_near_its_point(found: list[Scores]) -> None:
    fig = plots.trade_off(WS, found)
    fig.draw_without_rendering()
    axes = fig.axes[0]
    assert [text.get_text() for text in axes.texts] == [f"w = {w:g}" for w in WS]
    points = axes.transData.transform([(s.spread, s.inception_score) for s in found])
    box, extents = axes.get_window_extent(), [text.get_window_extent() for text in axes.texts]
    for i, (extent, point) in enumerate(zip(extents, points, strict=True)):
        middle = (extent.p0 + extent.p1) / 2
        assert np.linalg.norm(middle - point) < 100  # pixels, of 1500
        assert not any(extent.overlaps(other) for other in extents[:i])
        assert not any(extent.contains(*other) for other in points)
        assert box.x0 <= extent.x0 and extent.x1 <= box.x1
        assert box.y0 <= extent.y0 and extent.y1 <= box.y1


def test_trade_off_of_many_ws_labels_a_few() -> None:
    ws = np.arange(0, 4.05, 0.1).tolist()
    fig = plots.trade_off(ws, [scores(0.2 + w, 1 / (1 + w), 9 + w / 9) for w in ws])
    texts = [text.get_text() for text in fig.axes[0].texts]
    assert len(texts) == 9
    assert (texts[0], texts[-1]) == ("w = 0", "w = 4")
    assert len(plots.png_bytes(fig)) > 10_000


@pytest.mark.parametrize("ws", [[0.0], [-1.0, 0.0, 8.0]])
def test_trade_off_of_any_ws_is_drawn(ws: list[float]) -> None:
    fig = plots.trade_off(ws, [scores(1 + w**2, 1.0, 9.0) for w in ws])
    low, high = fig.axes[1].get_xlim()
    assert low < min(ws)
    assert high > max(ws)
    assert len(plots.png_bytes(fig)) > 10_000


def test_denoising_gif_plays_every_frame_and_loops(tmp_path: Path) -> None:
    chain = [(t, shades(2, 10) * (0.2 + 0.2 * i)) for i, t in enumerate((900, 600, 300, 0))]
    plots.denoising_gif(chain, tmp_path / "chain.gif", ["x_t", "guess of x_0"])
    with Image.open(tmp_path / "chain.gif") as gif:
        assert gif.info["loop"] == 0  # for ever
        assert gif.n_frames == 4
        assert 300 < gif.width < 900
        durations, frames = [], []
        for i in range(4):
            gif.seek(i)
            durations.append(gif.info["duration"])
            frames.append(np.asarray(gif.convert("L")).astype(int))
    assert durations == [80, 80, 80, 2000]
    height, width = frames[0].shape
    side, step = 48, 52
    left, top = width - 8 - (10 * step - 4), 36
    for frame, (_, x) in zip(frames, chain, strict=True):
        for row, column in ((0, 0), (1, 0), (0, 9), (1, 9), (1, 4)):
            y, z = top + step * row, left + step * column
            cell = frame[y : y + side, z : z + side][3::6, 3::6]
            # 32 shades over 256: half a shade is 4, and the palette need not be even.
            expected = (x[row, column, 0].numpy() + 1) * 127.5
            assert np.abs(cell - expected).max() < 13
    captions = [frame[:34] < 128 for frame in frames]  # ink, whatever the palette
    assert len({caption.tobytes() for caption in captions}) == 4  # t is another in each
    assert min(frame[0, 0] for frame in frames) > 250  # the paper is white
    assert height == top + 2 * step - 4 + 8


def test_denoising_gif_of_colours_is_in_colour(tmp_path: Path) -> None:
    x = torch.tensor([1.0, -1, -1]).reshape(1, 1, 3, 1, 1).expand(1, 2, 3, 8, 8)
    plots.denoising_gif([(1, x), (0, -x)], tmp_path / "red.gif")
    with Image.open(tmp_path / "red.gif") as gif:
        red, green, blue = (int(v) for v in gif.convert("RGB").getpixel((30, 60)))
    assert red > 240
    assert max(green, blue) < 15


def test_of_two_or_four_channels_the_mean_is_shown() -> None:
    for channels in (2, 4):
        x = torch.linspace(-1, 1, channels * 64).reshape(1, 1, channels, 8, 8)
        assert np.array_equal(plots.mosaic(x), plots.mosaic(x.mean(2, keepdim=True)))


def test_save_figure_writes_what_png_says(tmp_path: Path) -> None:
    fig = plots.trade_off(WS, SCORES)
    plots.save_figure(fig, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == (1500, 630)  # 10 x 4.2 inches at 150 dots


@pytest.mark.usefixtures("unchecked")
def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x has shape \(2, 2, 1, 8\)"):
        plots.mosaic(torch.zeros(2, 2, 1, 8))
    with pytest.raises(UsageError, match=r"x has shape \(2, 2, 5, 8, 8\): .* 1\.\.4"):
        plots.mosaic(torch.zeros(2, 2, 5, 8, 8))
    with pytest.raises(
        UsageError, match="3 row_labels and 2 column_labels for 2 rows and 2 columns"
    ):
        plots.image_grid(torch.zeros(2, 2, 1, 8, 8), ["a"] * 3, ["b"] * 2, "")
    with pytest.raises(UsageError, match="2 ws and 1 scores"):
        plots.trade_off([0, 1], SCORES[:1])
    with pytest.raises(UsageError, match="0 ws and 0 scores"):
        plots.trade_off([], [])
    with pytest.raises(UsageError, match="frames is empty"):
        plots.denoising_gif([], tmp_path / "none.gif")
    assert not (tmp_path / "none.gif").exists()
    with pytest.raises(UsageError, match="log is empty: pass one line with step and loss"):
        plots.loss_curve([])
    with pytest.raises(UsageError, match=r"fig .*pass a figure of matplotlib"):
        plots.save_figure(None, tmp_path / "none.png")  # pyright: ignore[reportArgumentType]
