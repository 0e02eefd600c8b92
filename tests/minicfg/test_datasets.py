"""Each kind of data set is read as it was written, and a bad file is refused by its name."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from minicfg.datasets import (
    arrays,
    data_folder,
    describe,
    folder,
    from_torch,
    load_data,
    load_held_out,
)
from minicfg.errors import DataError, UsageError

FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist


def idx(array: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + bytes(array)
    )


def write_idx(
    folder: Path,
    images: bytes,
    labels: bytes,
    gzipped: bool = False,
    part: str = "train",
    before_idx: str = "-",
) -> str:
    for stem, content in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
        name = f"{part}-{stem.replace('-', before_idx, 1)}" + (".gz" if gzipped else "")
        (folder / name).write_bytes(gzip.compress(content) if gzipped else content)
    return f"idx:{folder}"


def npz(file: Path, **arrays: Any) -> str:
    np.savez_compressed(file, **arrays)
    return f"npz:{file}"


def picture(
    path: Path, mode: str = "L", size: tuple[int, int] = (40, 30), color: Any = 255
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
LABELS = np.array([0, 2, 1], np.uint8)


@pytest.mark.parametrize("gzipped", [False, True])
def test_idx_files_are_read_pixel_for_pixel(tmp_path: Path, gzipped: bool) -> None:
    data = load_data(write_idx(tmp_path, idx(IMAGES), idx(LABELS), gzipped))
    assert data.shape == (1, 4, 5) and data.classes == ("0", "1", "2")
    assert data.y.tolist() == [0, 2, 1]
    assert np.array_equal(((data.x[:, 0] + 1) * 127.5).round().numpy(), IMAGES)


@pytest.mark.parametrize("gzipped", [False, True])
def test_idx_files_may_have_a_dot_in_their_names(tmp_path: Path, gzipped: bool) -> None:
    """Kaggle, 7-Zip and the extractor of macOS write train-images.idx3-ubyte."""
    spec = write_idx(tmp_path, idx(IMAGES), idx(LABELS), gzipped, before_idx=".")
    assert load_data(spec).shape == (1, 4, 5)


def test_idx_files_of_colours(tmp_path: Path) -> None:
    colours = np.arange(3 * 3 * 4 * 5, dtype=np.uint8).reshape(3, 3, 4, 5)
    data = load_data(write_idx(tmp_path, idx(colours), idx(LABELS)))
    assert np.array_equal(((data.x + 1) * 127.5).round().numpy(), colours)


@pytest.mark.parametrize("before_idx", ["-", "."])
def test_the_held_out_part_of_idx_files(tmp_path: Path, before_idx: str) -> None:
    spec = write_idx(tmp_path, idx(IMAGES), idx(LABELS))
    assert load_held_out(spec) is None
    write_idx(tmp_path, idx(IMAGES[::-1]), idx(LABELS % 2), part="t10k", before_idx=before_idx)
    held_out = load_held_out(spec)
    assert held_out is not None
    assert held_out.classes == ("0", "1", "2") and held_out.y.tolist() == [0, 0, 1]
    assert torch.equal(held_out.x.flip(0), load_data(spec).x)
    assert held_out.name == f"{spec}, held-out part"


@pytest.mark.parametrize(
    ("images", "labels", "complaint"),
    [
        (idx(IMAGES[:, :2]), idx(LABELS), r"t10k have shape \(2, 5\), those of train \(4, 5\)"),
        (idx(IMAGES), idx(LABELS + 1), "y holds 1..3: labels are 0..2"),
        (idx(IMAGES), idx(LABELS[:2]), "held-out part has 3 images and 2 labels"),
        (idx(IMAGES)[:-1], idx(LABELS), "t10k-images-idx3-ubyte has more or fewer bytes"),
    ],
    ids=["shape", "labels", "numbers", "cut"],
)
def test_a_held_out_part_that_does_not_fit(
    tmp_path: Path, images: bytes, labels: bytes, complaint: str
) -> None:
    spec = write_idx(tmp_path, idx(IMAGES), idx(LABELS))
    write_idx(tmp_path, images, labels, part="t10k")
    with pytest.raises(DataError, match=complaint):
        load_held_out(spec)


def test_half_of_a_held_out_part_is_refused(tmp_path: Path) -> None:
    spec = write_idx(tmp_path, idx(IMAGES), idx(LABELS))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(IMAGES))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte is not there"):
        load_held_out(spec)


def test_other_data_sets_hold_nothing_out(tmp_path: Path) -> None:
    assert load_held_out("digits") is None and load_held_out(f"folder:{tmp_path}", 8) is None
    with pytest.raises(UsageError, match="is not a data set"):
        load_held_out("mnist")


@pytest.mark.slow
@pytest.mark.skipif(not FASHION.is_dir(), reason="apt-get install dataset-fashion-mnist")
def test_fashion_mnist() -> None:
    held_out = load_held_out(f"idx:{FASHION}")
    assert held_out is not None and torch.bincount(held_out.y).tolist() == [1000] * 10
    data = load_data(f"idx:{FASHION}")
    assert data.x.shape == (60_000, 1, 28, 28) and data.num_classes == 10
    assert torch.bincount(data.y).tolist() == [6000] * 10
    assert float(data.x.min()) == -1 and float(data.x.max()) == 1


BAD_IDX = {
    "text": (b"hello, world, this is no such file", idx(LABELS), "does not begin as an IDX"),
    "another type": (bytes([0, 0, 13, 3]) + idx(IMAGES)[4:], idx(LABELS), "of bytes in 3 or 4 dim"),
    "cut in the sizes": (idx(IMAGES)[:9], idx(LABELS), "of bytes in 3 or 4 dimensions"),
    "labels for images": (idx(LABELS), idx(LABELS), "IDX file of bytes in 3 or 4"),
    "cut short": (idx(IMAGES)[:-1], idx(LABELS), r"more or fewer bytes than its shape \(3, 4, 5\)"),
    "too long": (idx(IMAGES) + b"x", idx(LABELS), "has more or fewer bytes"),
    "a huge promise": (
        bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**20, 2**10, 2**10),
        idx(LABELS),
        "more than 8 GiB",
    ),
    "fewer labels": (idx(IMAGES), idx(LABELS[:2]), "3 images and 2 labels"),
    "five channels": (idx(np.zeros((3, 5, 5, 6), np.uint8)), idx(LABELS), "has 5 channels"),
    "no images": (
        idx(IMAGES[:0]),
        idx(LABELS[:0]),
        "0 images and 0 labels: use two files .* 1 or more",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", BAD_IDX.values(), ids=BAD_IDX.keys())
def test_bad_idx_files_are_named(tmp_path: Path, bad: tuple[bytes, bytes, str]) -> None:
    with pytest.raises(DataError, match=bad[2]):
        load_data(write_idx(tmp_path, *bad[:2]))


def test_damaged_gzip_is_named(tmp_path: Path) -> None:
    spec = write_idx(tmp_path, idx(IMAGES), idx(LABELS), gzipped=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz is damaged"):
        load_data(spec)


def test_a_gzip_bomb_is_not_ungzipped(tmp_path: Path) -> None:
    """100 MB of zeros behind a header that speaks of one image: read no further than that."""
    bomb = bytes([0, 0, 8, 3]) + struct.pack(">3I", 1, 2, 2) + bytes(10**8)
    spec = write_idx(tmp_path, bomb, idx(LABELS[:1]), gzipped=True)
    with pytest.raises(DataError, match="has more or fewer bytes"):
        load_data(spec)


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    """A folder a class, in order of name; scaled and cropped at the centre; grey stays grey."""
    picture(tmp_path / "cat/b.png", color=255)
    picture(tmp_path / "cat/a.JPG", color=0)
    picture(tmp_path / "ape/x.png", size=(8, 20), color=51)
    (tmp_path / "cat/.hidden").write_text("left alone")
    data = load_data(f"folder:{tmp_path}", size=8)
    assert data.classes == ("ape", "cat") and data.y.tolist() == [0, 1, 1]
    assert data.shape == (1, 8, 8)
    assert data.x.mean(dim=(1, 2, 3)).tolist() == pytest.approx([-0.6, -1, 1], abs=1e-6)
    wide = Image.new("RGB", (30, 10), "red")
    wide.paste("blue", (10, 0, 20, 10))  # all that is left of it
    wide.save(tmp_path / "ape/wide.png")
    data = load_data(f"folder:{tmp_path}", size=4)
    assert data.shape == (3, 4, 4)
    assert torch.equal(data.x[0, :, 1, 1], torch.tensor([-1.0, -1.0, 1.0]))


def test_16_bits_keep_their_upper_8(tmp_path: Path) -> None:
    array = np.full((9, 9), 51 * 256 + 7, np.uint16)
    (tmp_path / "a").mkdir()
    Image.fromarray(array).save(tmp_path / "a/deep.png")
    assert load_data(f"folder:{tmp_path}", size=9).x.mean() == pytest.approx(-0.6)


def exif(*entries: tuple[int, int, bytes]) -> bytes:
    """An EXIF block whose entries (tag, type, four bytes of value) are little-endian."""
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries))
    for tag, kind, value in entries:
        block += struct.pack("<HHI", tag, kind, 1) + value
    return block + bytes(4)


def orientation(value: int) -> tuple[int, int, bytes]:
    return 0x112, 3, struct.pack("<HH", value, 0)


WHITE = 255


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB", "P with alpha"])
def test_transparent_pixels_are_white(tmp_path: Path, mode: str) -> None:
    """The left half is opaque grey, the right half hides a dark value under alpha 0."""
    hidden = np.full((8, 8), 51, np.uint8)
    hidden[:, :4] = 153
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:, :4] = WHITE
    grey = Image.fromarray(hidden)
    given: dict[str, Any] = {}
    if mode == "RGBA":
        image = Image.merge("RGBA", [grey, grey, grey, Image.fromarray(alpha)])
    elif mode == "LA":
        image = Image.merge("LA", [grey, Image.fromarray(alpha)])
    elif mode == "RGB":
        image = grey.convert("RGB")
        given = {"transparency": (51, 51, 51)}
    elif mode == "L":
        image = grey
        given = {"transparency": 51}
    else:
        image = grey.convert("P")
        given = {"transparency": 51}
        if mode == "P with alpha":
            given = {"transparency": bytes(52) + bytes([WHITE]) * 204}
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "a/x.png", **given)
    data = load_data(f"folder:{tmp_path}", 8)
    assert data.shape == ((1, 8, 8) if mode in ("LA", "L") else (3, 8, 8))
    expected = torch.full((8, 8), 1.0)
    expected[:, :4] = 153 / 127.5 - 1
    assert torch.allclose(data.x[0], expected, atol=1e-6)


def test_half_transparent_black_is_grey(tmp_path: Path) -> None:
    picture(tmp_path / "a/x.png", "LA", (8, 8), (0, 153))
    assert load_data(f"folder:{tmp_path}", 8).x.mean() == pytest.approx(102 / 127.5 - 1)


def test_black_icons_on_a_transparent_ground_differ(tmp_path: Path) -> None:
    for name, rows in {"bar": slice(0, 4), "foot": slice(4, 8)}.items():
        icon = np.zeros((8, 8, 4), np.uint8)
        icon[rows, :, 3] = WHITE
        (tmp_path / name).mkdir()
        Image.fromarray(icon).save(tmp_path / name / "x.png")
    x = load_data(f"folder:{tmp_path}", 8).x
    assert x[0, :, :4].max() == -1 and x[0, :, 4:].min() == 1
    assert torch.equal(x[0], -x[1])


def test_one_level_of_16_bits_may_be_transparent(tmp_path: Path) -> None:
    levels = np.full((8, 8), 51 * 257, np.uint16)
    levels[:, 4:] = 51 * 257 + 1  # The upper 8 bits are the same.
    (tmp_path / "a").mkdir()
    Image.fromarray(levels).save(tmp_path / "a/x.png", transparency=51 * 257 + 1)
    x = load_data(f"folder:{tmp_path}", 8).x
    assert x[..., 4:].min() == 1 and x[..., :4].mean() == pytest.approx(51 / 127.5 - 1)


@pytest.mark.parametrize("held", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_every_orientation_is_turned_upright_as_pillow_does(
    tmp_path: Path, held: int, suffix: str
) -> None:
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:8] = 90
    pixels[:, :8] += 80
    (tmp_path / "a").mkdir()
    file = tmp_path / f"a/x.{suffix}"
    Image.fromarray(pixels).save(file, exif=exif(orientation(held)))
    with Image.open(file) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    read = (load_data(f"folder:{tmp_path}", 16).x[0, 0] + 1) * 127.5
    assert np.array_equal(read.round().numpy(), upright)


BAD_EXIF = {
    "a width in floats": exif(orientation(6), (0x100, 11, struct.pack("<f", 1.5))),
    "a negative width": exif(orientation(6), (0x100, 9, struct.pack("<i", -5))),
    "a width far away": exif(orientation(6), (0x100, 12, struct.pack("<I", 2**31))),
    "an unknown orientation": exif(orientation(99)),
    "an orientation in words": exif((0x112, 2, b"six\0")),
    "an orientation far away": exif((0x112, 5, struct.pack("<I", 2**32 - 1))),
    "cut": exif(orientation(6))[:-14],
    "a start far away": b"Exif\0\0MM\0*\xff\xff\xff\xff",
    "empty": b"Exif\0\0",
    "text": b"Exif\0\0nothing",
}


@pytest.mark.parametrize("block", BAD_EXIF.values(), ids=BAD_EXIF.keys())
def test_damaged_exif_data_are_no_obstacle(tmp_path: Path, block: bytes) -> None:
    (tmp_path / "a").mkdir()
    Image.new("RGB", (12, 8), "red").save(tmp_path / "a/x.jpg", exif=block)
    assert load_data(f"folder:{tmp_path}", 8).shape == (3, 8, 8)


def test_bad_pictures_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "in/a/x.png")
    spec, bad = f"folder:{tmp_path / 'in'}", tmp_path / "in/a/bad.png"

    def refused(match: str) -> None:
        with pytest.raises(DataError, match=match):
            load_data(spec)
        bad.unlink()

    bad.write_bytes((tmp_path / "in/a/x.png").read_bytes()[:60])
    refused(r"bad.png cannot be read")
    bad.write_text("no image")
    refused(r"bad.png is not a PNG, JPEG, WebP or BMP image")
    Image.new("L", (5, 5)).save(bad, format="GIF")
    refused(r"bad.png is not a PNG, JPEG, WebP or BMP image")
    picture(tmp_path / "outside.png")
    bad.symlink_to(tmp_path / "outside.png")
    refused(r"bad.png leads out of")
    os.mkfifo(bad)
    refused(r"bad.png is not an image file")
    bad = tmp_path / "in/a/notes.txt"
    bad.write_text("x")
    refused(r"notes.txt is not an image file: .* one of .png, .jpg, .jpeg, .jfif, .webp, .bmp")
    bad = tmp_path / "in/stray.png"
    picture(bad)
    refused(r"stray.png is not a folder")
    monkeypatch.setattr(folder, "MAX_PIXELS", 40 * 30 - 1)
    with pytest.raises(DataError, match=r"x.png has 40x30 pixels, and at most 1199"):
        load_data(spec)


@pytest.mark.parametrize("suffix", folder.SUFFIXES)
def test_every_suffix_is_read(tmp_path: Path, suffix: str) -> None:
    picture(tmp_path / f"a/x{suffix}", "RGB", (8, 8), (51, 102, 153))
    x = load_data(f"folder:{tmp_path}", 8).x
    expected = torch.tensor([51, 102, 153]) / 127.5 - 1
    assert torch.allclose(x[0, :, 4, 4], expected, atol=3 / 127.5)  # JPEG and WebP round.


def with_bad_files(folder: Path) -> str:
    """Two classes of one good image, six files that are none, and one beside the subfolders."""
    for name in ("a", "b"):
        picture(folder / name / "good.png", size=(8, 8))
    for i in range(6):
        (folder / f"b/{i}.txt").write_text("no image")
    (folder / "labels.csv").write_text("a,b")
    return f"folder:{folder}"


def test_all_bad_files_are_named_at_once(tmp_path: Path) -> None:
    spec = with_bad_files(tmp_path)
    with pytest.raises(DataError) as found:
        load_data(spec, 8)
    message = str(found.value)
    assert message.startswith(
        f"7 files in {tmp_path} cannot be used: {tmp_path}/labels.csv is not a f"
    )
    assert message.count(".txt is not an image file: ") == 4 and " and 2 more (skip_bad=" in message
    assert "\n" not in message


def test_one_of_several_processes_names_the_skipped_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun sets a variable to the rank of each process."""
    spec = with_bad_files(tmp_path)
    for rank, lines in (("1", 0), ("0", 1)):
        monkeypatch.setenv("RANK", rank)
        assert len(load_data(spec, 8, skip_bad=True)) == 2
        assert capsys.readouterr().err.count("left out") == lines


def test_bad_files_can_be_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    spec = with_bad_files(tmp_path / "data")
    hostile = "b/\x1b]0;title.txt"
    (tmp_path / "data" / hostile).write_text("no image")
    data = load_data(spec, 8, skip_bad=True)
    assert data.y.tolist() == [0, 1] and data.classes == ("a", "b")
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("minicfg: 8 left out: ") and err.endswith(" and 3 more\n")
    assert "labels.csv is not a folder" in err and r"\x1b]0;title.txt is not an image file" in err
    (tmp_path / "data/b/good.png").unlink()
    with pytest.raises(DataError, match="there are no images of b: put"):
        load_data(spec, 8, skip_bad=True)


def test_links_out_of_the_folder_are_followed_if_asked(tmp_path: Path) -> None:
    """As in the stores of DVC, git-annex and the Hugging Face cache, which consist of links."""
    picture(tmp_path / "store/0a1b.png", color=51)
    picture(tmp_path / "data/a/good.png", color=51)
    (tmp_path / "data/a/x.png").symlink_to(tmp_path / "store/0a1b.png")
    (tmp_path / "data/b").symlink_to(tmp_path / "store")
    spec = f"folder:{tmp_path / 'data'}"
    with pytest.raises(DataError, match=r"a/x.png leads out of .*--follow-links.*b/0a1b.png leads"):
        load_data(spec, 8)
    data = load_data(spec, 8, follow_links=True)
    assert data.y.tolist() == [0, 0, 1]
    assert torch.equal(data.x[0], data.x[2]) and torch.equal(data.x[0], data.x[1])


def test_a_link_to_a_device_is_not_followed(tmp_path: Path) -> None:
    picture(tmp_path / "a/good.png")
    (tmp_path / "a/x.png").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"x.png is not an image file"):
        load_data(f"folder:{tmp_path}", 8, follow_links=True)


def test_a_thousand_classes_of_pictures(tmp_path: Path) -> None:
    for i in range(1000):
        picture(tmp_path / f"{i:04}/x.png", size=(1, 1), color=i % 256)
    data = load_data(f"folder:{tmp_path}", 1)
    assert data.num_classes == 1000 and data.y.tolist() == list(range(1000))


def test_the_folder_of_a_data_set(tmp_path: Path) -> None:
    assert data_folder(f"folder:{tmp_path}") == tmp_path
    assert data_folder("folder:~/x") == Path.home() / "x"
    assert data_folder("digits") is data_folder("idx:x") is data_folder("npz:x") is None


def test_describe_shows_numbers_classes_and_values(tmp_path: Path) -> None:
    line = "1797 images of 1 x 8 x 8, 174 to 183 per class (10 classes), values -1 to 1"
    assert describe(load_data("digits")) == line
    x = np.linspace(-0.5, 0.25, 3 * 3 * 4 * 5, dtype=np.float32).reshape(3, 3, 4, 5)
    data = load_data(npz(tmp_path / "a.npz", x=x, y=LABELS))
    line = "3 images of 3 x 4 x 5, 1 per class (3 classes), values -0.5 to 0.25"
    assert describe(data) == line


def test_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone is not a folder"):
        load_data(f"folder:{tmp_path / 'gone'}")
    with pytest.raises(DataError, match="no images"):
        load_data(f"folder:{tmp_path}")
    picture(tmp_path / "a/x.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="no images of b"):
        load_data(f"folder:{tmp_path}")


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays(tmp_path: Path, order: Any) -> None:
    x = np.asarray(IMAGES.reshape(3, 1, 4, 5), order=order)
    data = load_data(npz(tmp_path / "a.npz", x=x, y=LABELS, classes=np.array(["a", "b", "c"])))
    assert data.classes == ("a", "b", "c") and data.shape == (1, 4, 5)
    assert np.array_equal(((data.x + 1) * 127.5).round().numpy(), IMAGES[:, None])
    floats = np.linspace(-1, 1, 3 * 3 * 4 * 4, dtype=np.float64).reshape(3, 3, 4, 4)
    data = load_data(npz(tmp_path / "a.npz", x=floats, y=LABELS.astype(np.int32)))
    assert data.classes == ("0", "1", "2") and data.shape == (3, 4, 4)
    np.testing.assert_allclose(data.x.numpy(), floats, atol=6e-8, rtol=0)  # half an ulp


X = np.zeros((3, 4, 4), np.uint8)
BAD_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "no y": ({"x": X}, "contains x: save the arrays under the names x and y"),
    "objects": ({"x": X, "y": np.array([0, None, {}], object)}, "y.npy contains Python objects"),
    "too many dims": ({"x": X[None, None], "y": LABELS}, r"x is uint8 \(1, 1, 3, 4, 4\)"),
    "wide integers": ({"x": X.astype(np.int16), "y": LABELS}, "x is int16"),
    "float labels": ({"x": X, "y": LABELS / 2}, "y is float64"),
    "a label a thousand": ({"x": X, "y": LABELS.astype(np.int64) * 10**5}, "y goes up to 200000"),
    "negative labels": ({"x": X, "y": -LABELS.astype(np.int64)}, "y holds -2..0"),
    "labels short": ({"x": X, "y": LABELS[::2]}, r"y is torch.int64 \(2,\)"),
    "no labels": ({"x": X[:0], "y": LABELS[:0]}, r"y is uint8 \(0,\)"),
    "values": ({"x": X + 2.0, "y": LABELS}, "x holds 2..2: .*finite values in -1..1"),
    "just above 1": ({"x": X - np.float32(1 + 2**-23), "y": LABELS}, "-1.0000001..-1.0000001: sc"),
    "floats of bytes": (
        {"x": IMAGES.astype(np.float32), "y": LABELS},
        r"x holds 0..59: .*finite values in -1..1, or pass bytes: x.astype\(numpy.uint8\)",
    ),
    "0 to 1": (
        {"x": IMAGES / 59, "y": LABELS},
        r"x holds 0..1, but black is -1 .*: use 2 \* x - 1",
    ),
    "black and white": (
        {"x": (IMAGES > 9) * 1.0, "y": LABELS},
        r"x holds 0..1, .*: use 2 \* x - 1",
    ),
    "all white": ({"x": X + 1.0, "y": LABELS}, r"x holds 1..1, .*: use 2 \* x - 1"),
    "all zero": ({"x": X + 0.0, "y": LABELS}, r"x holds 0..0, .*: use 2 \* x - 1"),
    "channels last": (
        {"x": np.zeros((3, 28, 28, 3), np.uint8), "y": LABELS},
        r"shape \(3, 28, 28, 3\), with the channels last: .* x.transpose\(0, 3, 1, 2\)",
    ),
    "nan": ({"x": X + np.nan, "y": LABELS}, "finite values"),
    "numbers for names": ({"x": X, "y": LABELS, "classes": LABELS}, "classes is uint8"),
    "too few names": ({"x": X, "y": LABELS, "classes": np.array(["a"])}, "labels are 0..0"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
def test_bad_arrays_are_named(tmp_path: Path, bad: tuple[dict[str, Any], str]) -> None:
    with pytest.raises(DataError, match=bad[1]):
        load_data(npz(tmp_path / "a.npz", **bad[0]))


FROM_1 = np.array([1, 2, 3])


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"y": FROM_1}, r"labels 1..3 of 4 classes, .* the label 0: .* so save y - 1 in"),
        ({"y": FROM_1 + 1}, r"labels 2..4 of 5 classes, .* the label 0, 1: .* so save y - 2 in"),
        ({"y": np.array([0, 5, 10])}, r"label 1, 2, 3, 4, 6 and 3 more: .* numpy.unique\(y"),
        ({"y": np.array([0, 1, 9999])}, r"of 10000 classes, .* 2, 3, 4, 5, 6 and 9992 more: num"),
        ({"y": LABELS, "classes": np.array(list("abcdefg"))}, "label 3, 4, 5, 6: pass the names"),
        ({"y": FROM_1, "classes": np.array(list("nabc"))}, "label 0: pass the names of the class"),
    ],
    ids=["from 1", "from 2", "gaps", "9,999 of three images", "names", "names, from 1"],
)
def test_a_class_without_an_image_is_refused(
    tmp_path: Path, arrays: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(DataError, match=rf"a\.npz: y holds .*{complaint}"):
        load_data(npz(tmp_path / "a.npz", x=IMAGES, **arrays))


def test_emnist_letters_whose_labels_start_at_1_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels 1..3 of 4 classes, .* label 0: .* save y - 1"):
        load_data(write_idx(tmp_path, idx(IMAGES), idx(LABELS + 1)))


def test_a_thousand_classes_of_arrays(tmp_path: Path) -> None:
    spec = npz(tmp_path / "a.npz", x=np.zeros((1000, 8, 8), np.uint8), y=np.arange(1000)[::-1])
    data = load_data(spec)
    assert data.num_classes == 1000 and data.y[:2].tolist() == [999, 998]


def test_floats_in_their_range_are_taken_as_they_are(tmp_path: Path) -> None:
    """A least value just below 0 is enough to tell -1..1 from 0..1."""
    x = np.linspace(-0.01, 1, 3 * 4 * 4, dtype=np.float32).reshape(3, 4, 4)
    data = load_data(npz(tmp_path / "a.npz", x=x, y=LABELS))
    assert np.array_equal(data.x[:, 0].numpy(), x)


def test_a_lying_array_takes_no_memory(tmp_path: Path) -> None:
    """A header of 1 GiB, which is 5 GiB with the floats, over 10 bytes."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": (2**20, 32, 32)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", head.getvalue() + bytes(10))
        archive.writestr("y.npy", b"")
    with pytest.raises(DataError, match="has fewer bytes than its shape"):
        load_data(f"npz:{tmp_path / 'a.npz'}")


def test_other_arrays_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a bomb nor an array of objects beside x and y is looked at."""
    bomb = np.zeros(2**22, np.uint8)
    objects = np.array([None, {}], object)
    spec = npz(tmp_path / "a.npz", x=IMAGES, y=LABELS, bomb=bomb, objects=objects)
    opened = list[str]()
    open_member = zipfile.ZipFile.open

    def noted(self: zipfile.ZipFile, name: Any, *args: Any, **kwargs: Any) -> Any:
        opened.append(name)
        return open_member(self, name, *args, **kwargs)

    monkeypatch.setattr(zipfile.ZipFile, "open", noted)
    assert len(load_data(spec)) == 3
    assert opened == ["x.npy", "y.npy"]


@pytest.mark.parametrize(
    ("dtype", "bytes_of_x"), [(np.uint8, 1 + 4), (np.float32, 4 + 4), (np.float64, 8 + 4)]
)
def test_memory_is_counted_as_floats_and_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any, bytes_of_x: int
) -> None:
    x = IMAGES if dtype == np.uint8 else (IMAGES / 30 - 1).astype(dtype)
    spec = npz(tmp_path / "a.npz", x=x, y=LABELS, classes=np.array(["a", "b", "c"]))
    needed = bytes_of_x * IMAGES.size + (1 + 8) * 3 + 4 * 3
    monkeypatch.setattr(arrays, "MAX_BYTES", needed)
    assert len(load_data(spec)) == 3
    monkeypatch.setattr(arrays, "MAX_BYTES", needed - 1)
    with pytest.raises(DataError, match=r"an array of shape \(3,\), with which the data set takes"):
        load_data(spec)
    monkeypatch.setattr(arrays, "MAX_BYTES", bytes_of_x * IMAGES.size - 1)
    with pytest.raises(DataError, match=r"an array of shape \(3, 4, 5\), with which the data set"):
        load_data(spec)


def test_memory_of_idx_files_is_summed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = write_idx(tmp_path, idx(IMAGES), idx(LABELS), gzipped=True)
    needed = (1 + 4) * IMAGES.size + (1 + 8) * 3
    monkeypatch.setattr(arrays, "MAX_BYTES", needed)
    assert len(load_data(spec)) == 3
    monkeypatch.setattr(arrays, "MAX_BYTES", needed - 1)
    with pytest.raises(DataError, match=r"labels-idx1-ubyte.gz has an array of shape \(3,\), with"):
        load_data(spec)


def test_npz_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match=r"a\.npz is damaged"):
        load_data(f"npz:{tmp_path / 'a.npz'}")
    with pytest.raises(DataError, match=r"gone\.npz is not there"):
        load_data(f"npz:{tmp_path / 'gone.npz'}")


def test_toy_dots_are_the_lectures_three_gaussians() -> None:
    """A dot's centre of light is its point: the classes' means and spread are those of lesson 1.

    1,000 points a class of standard deviation 0.5: 5 standard errors are 0.08 for a mean. Half a
    pixel is 0.25; the dots of 2-sigma points stay inside the picture.
    """
    data = load_data("toy:dots")
    assert data.shape == (1, 16, 16) and data.classes == ("top", "left", "right")
    light, pixel = (data.x[:, 0] + 1) / 2, torch.arange(16) - 7.5
    mass = light.sum((1, 2))
    right, up = (light.sum(1) @ pixel) / mass / 2, -(light.sum(2) @ pixel) / mass / 2
    points = torch.stack([right, up], dim=1)
    for k, mean in enumerate([(0, 1.5), (-1.299, -0.75), (1.299, -0.75)]):
        of_class = points[data.y == k]
        assert torch.allclose(of_class.mean(0), torch.tensor(mean), atol=0.08)
        assert torch.allclose(of_class.std(0), torch.tensor(0.5), atol=0.06)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell leaves it as it is after a colon."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    picture(tmp_path / "pictures/a/x.png")
    write_idx(tmp_path / "mnist", idx(IMAGES), idx(LABELS))
    npz(tmp_path / "a.npz", x=IMAGES, y=LABELS)
    assert len(load_data("folder:~/pictures", 8)) == 1
    assert len(load_data("idx:~/mnist")) == len(load_data("npz:~/a.npz")) == 3


PAIRS = TensorDataset(torch.from_numpy(IMAGES[:, None].copy()), torch.from_numpy(LABELS.copy()))
NAMES = ["a", "b", "c"]


class Pairs(TorchDataset[Any]):
    """A map-style data set of these pairs."""

    def __init__(self, *pairs: Any) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> Any:
        return self.pairs[i]


class Stream(IterableDataset[Any]):
    """A data set without a length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


@pytest.mark.parametrize("data", [PAIRS, DataLoader(PAIRS, 2)], ids=["data set", "loader"])
def test_data_of_torch(data: Any) -> None:
    found = from_torch(data, NAMES, name="mine")
    assert found.classes == ("a", "b", "c") and found.name == "mine"
    assert found.y.tolist() == [0, 2, 1]
    assert np.array_equal(((found.x[:, 0] + 1) * 127.5).round().numpy(), IMAGES)


def test_floats_and_plain_labels_of_torch() -> None:
    """As torchvision's data sets return them after ToTensor and Normalize(0.5, 0.5)."""
    x = torch.linspace(-1, 1, 3 * 3 * 4 * 5, dtype=torch.float64).reshape(3, 3, 4, 5)
    found = from_torch(Pairs(*zip(x, (0, 1, np.int64(2)), strict=True)), NAMES)
    assert torch.equal(found.x, x.float()) and found.y.tolist() == [0, 1, 2]
    points = from_torch(TensorDataset(torch.full((3, 2), 7.0), torch.arange(3)), NAMES)
    assert points.shape == (2,)  # Values of points in the plane have no range.


X0 = torch.full((1, 4, 5), -1.0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (DataLoader(PAIRS, 2, shuffle=True), "the DataLoader shuffles.*shuffle=False"),
        (Stream(), "is of type Stream: pass .* that has a length, or a DataLoader"),
        (Pairs(), "is empty"),
        (Pairs(X0), "returns Tensor: return pairs"),
        (Pairs((Image.new("L", (4, 4)), 0)), "x is of type Image: return tensors, .*PILToTensor"),
        (Pairs((X0, 0), (X0[:, 1:], 1)), r"shape \(1, 3, 5\), and the samples before it \(1, 4, 5"),
        (Pairs((X0, 0.5)), r"y is torch.float32 \(1,\): return one integer"),
        (Pairs((X0, [1, 0, 0])), r"y is torch.int64 \(1, 3\): return one integer"),
        (Pairs((X0, 0), (X0, 1)), "the label 2: pass the names"),
        (Pairs((X0, 0), (X0, 1), (X0, 2), (X0, 3)), "y holds 0..3: labels are 0..2"),
        (Pairs(*((X0 + 1, k) for k in range(3))), r"x holds 0..0, .*: use 2 \* x - 1"),
        (Pairs(*((X0 * 2, k) for k in range(3))), "x holds -2..-2: scale the images"),
        (Pairs(*((X0.reshape(5, 4, 1), k) for k in range(3))), "with the channels"),
        (Pairs(*((X0.int(), k) for k in range(3))), "x is torch.int32"),
    ],
)
def test_data_of_torch_that_are_refused(data: Any, complaint: str) -> None:
    with pytest.raises(DataError, match=rf"^torch data.*{complaint}"):
        from_torch(data, NAMES)


@pytest.mark.parametrize("spec", ["", "digit", "idx:", "folder:", "npz", "toy:moons", "http://x"])
def test_specs_that_are_none(spec: str) -> None:
    with pytest.raises(UsageError, match="digits, glyphs, idx:DIR, folder:DIR, npz:FILE, toy:dots"):
        load_data(spec)


@pytest.mark.parametrize("size", [0, 1025])
def test_sizes_that_are_none(size: int) -> None:
    with pytest.raises(UsageError, match=r"size = \d+ is outside 1..1024"):
        load_data("digits", size)
