"""Where labelled images come from: scikit-learn's digits, IDX files, folders, arrays, a toy.

Nothing is downloaded, nothing in a file is run, and a file is believed only as far as its own size
bears out: what a header promises is held against the bytes that are there before memory is taken.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from minicfg.data import Dataset
from minicfg.errors import DataError, UsageError

MOST_BYTES = 2**33  # of a data set in memory
MOST_PIXELS = 2**26  # of one image file, before it is scaled down
MOST_CLASSES = 10_000
SUFFIXES = (".png", ".jpg", ".jpeg")
TOY_SHARP = 1.2  # standard deviation of a dot, in pixels


def load_data(spec: str, size: int = 32) -> Dataset:
    """The data set that `spec` names.

    - `digits`: scikit-learn's 1,797 handwritten digits, 8x8, grey. They come with the package.
    - `idx:DIR`: the MNIST format, `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` in DIR,
      gzipped or not.
    - `folder:DIR`: one folder a class, its name the class's, of PNG or JPEG files.
    - `npz:FILE`: NumPy arrays `x`, (N, H, W) or (N, C, H, W), of bytes 0..255 or of floats in
      -1..1, `y`, (N,) integers 0..K-1, and perhaps `classes`, (K,) names.
    - `toy:dots`: the lecture's three Gaussians in the plane, each point a soft dot, 16x16.

    Args:
        spec: as above.
        size: height and width that images of a folder are scaled to, 1..1024.

    Raises:
        UsageError: for a spec that is none of these.
        DataError: naming the file, what is wrong with it and what is needed.
    """
    if not 1 <= size <= 1024:
        raise UsageError(f"size = {size} is outside 1..1024")
    kind, _, where = spec.partition(":")
    try:
        if spec == "digits":
            return _digits()
        if where and kind == "idx":
            return _idx(Path(where), spec)
        if where and kind == "folder":
            return _folder(Path(where), size, spec)
        if where and kind == "npz":
            return _npz(Path(where), spec)
        if spec == "toy:dots":
            return _dots()
    except OSError as error:  # a name too long, a folder that may not be read
        raise DataError(f"data = {spec!r} cannot be read ({error.strerror})") from error
    raise UsageError(
        f"data = {spec!r}: one of digits, idx:DIR, folder:DIR, npz:FILE, toy:dots is needed"
    )


def _digits() -> Dataset:
    from sklearn.datasets import load_digits  # takes a second to import

    images, labels = load_digits(return_X_y=True)
    return Dataset(
        x=(torch.from_numpy(images) / 8 - 1).float().reshape(-1, 1, 8, 8),
        y=torch.from_numpy(labels).long(),
        classes=_numbered(10),
        name="digits",
    )


def _dots(n: int = 3000, side: int = 16) -> Dataset:
    """Class k is N(mean k, I / 4), the means at radius 1.5, first up; the picture is -4..4."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    angle = np.pi / 2 + 2 * np.pi / 3 * y
    means = 1.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    right, up = (means + 0.5 * rng.standard_normal((n, 2))).T
    centre, pixel = (side - 1) / 2, np.arange(side)
    column = (pixel - (centre + right[:, None] * side / 8)) / TOY_SHARP
    row = (pixel - (centre - up[:, None] * side / 8)) / TOY_SHARP
    x = 2 * np.exp(-(row[:, :, None] ** 2 + column[:, None, :] ** 2) / 2) - 1
    return Dataset(
        torch.from_numpy(x[:, None]).float(), torch.from_numpy(y), ("top", "left", "right"),
        "toy:dots",
    )  # fmt: skip


def _idx(folder: Path, name: str) -> Dataset:
    images = _idx_file(folder, "train-images-idx3-ubyte", 3)
    labels = _idx_file(folder, "train-labels-idx1-ubyte", 1)
    if len(images) != len(labels) or len(labels) == 0:
        raise DataError(
            f"{name}: {len(images)} images and {len(labels)} labels: as many, 1 or more, are needed"
        )
    y = torch.from_numpy(labels.astype(np.int64))
    return Dataset(_from_bytes(images[:, None]), y, _numbered(int(labels.max()) + 1), name)


def _idx_file(folder: Path, stem: str, ndim: int) -> np.ndarray:
    """The bytes in an IDX file: two zeros, the type (8: bytes), the dimensions, then each size."""
    plain, packed = folder / stem, folder / f"{stem}.gz"
    if not (plain.is_file() or packed.is_file()):
        raise DataError(f"{plain} is not there, nor with .gz: the two MNIST files are needed")
    file = plain if plain.is_file() else packed
    try:
        with file.open("rb") if file == plain else gzip.open(file) as stream:
            head = stream.read(4 + 4 * ndim)
            if len(head) < 4 + 4 * ndim or head[:4] != bytes([0, 0, 8, ndim]):
                raise DataError(f"{file} does not begin as an IDX file of bytes in {ndim} dims")
            shape = struct.unpack(f">{ndim}I", head[4:])
            _check_size(file, shape, 4 * math.prod(shape[1:]))
            found = _at_most(stream.read, math.prod(shape))
            if stream.read(1) or len(found) < math.prod(shape):
                raise DataError(f"{file} says {shape}: it holds more or fewer bytes than that")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} is damaged ({error}): a whole copy is needed") from error
    return np.frombuffer(found, np.uint8).reshape(shape)


def _at_most(read: Callable[[int], bytes], n: int) -> bytearray:
    """Up to `n` bytes, a piece at a time: what a header promises takes no memory by itself."""
    found = bytearray()
    while len(found) < n and (piece := read(min(n - len(found), 2**24))):
        found += piece
    return found


def _folder(folder: Path, size: int, name: str) -> Dataset:
    if not folder.is_dir():
        raise DataError(f"{name}: {folder} is no folder: one that holds a folder a class is needed")
    inside = os.path.realpath(folder)
    classes = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    for path in classes:
        if not path.is_dir():
            raise DataError(f"{path} is no folder: {folder} must hold one folder a class")
    files = [
        (path, label)
        for label, of_class in enumerate(classes)
        for path in sorted(of_class.iterdir())
        if not path.name.startswith(".")
    ]
    _check_size(folder, (len(files), 3, size, size), 12 * size * size)
    empty = [c.name for k, c in enumerate(classes) if all(label != k for _, label in files)]
    if not files or empty:
        raise DataError(f"{name}: no images{' of ' + ', '.join(empty) if empty else ''}")
    pictures = [_picture(path, size, inside) for path, _ in files]
    grey = all(picture.mode == "L" for picture in pictures)
    pixels = np.stack([np.asarray(p if grey else p.convert("RGB")) for p in pictures])
    x = pixels[:, None] if grey else pixels.transpose(0, 3, 1, 2)
    y = torch.tensor([label for _, label in files])
    return Dataset(_from_bytes(x), y, tuple(c.name for c in classes), name)


def _picture(path: Path, size: int, inside: str) -> Image.Image:
    """One image, scaled and centre-cropped to a square; grey stays grey, all else becomes RGB."""
    if not Path(os.path.realpath(path)).is_relative_to(inside):  # which ends where links go round
        raise DataError(f"{path} is a link out of {inside}: the image itself is needed")
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is no image file: {', '.join(SUFFIXES)} are needed")
    try:
        with path.open("rb") as stream, Image.open(stream, formats=("PNG", "JPEG")) as opened:
            width, height = opened.size
            if width * height > MOST_PIXELS:
                raise DataError(f"{path} has {width}x{height} pixels: at most {MOST_PIXELS}")
            upright = ImageOps.exif_transpose(opened)
            if upright.mode == "I;16":  # of 16 bits the upper 8; converted, they would saturate
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            mode = "L" if upright.mode in ("L", "1", "LA") else "RGB"
            return ImageOps.fit(upright.convert(mode), (size, size), Image.Resampling.BICUBIC)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(
            f"{path} is neither PNG nor JPEG, whatever its name: one is needed"
        ) from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, MemoryError) as error:
        raise DataError(f"{path} cannot be read ({error}): a whole PNG or JPEG is needed") from None


def _npz(file: Path, name: str) -> Dataset:
    if not file.is_file():
        raise DataError(f"{file} is not there: a file of NumPy arrays x and y, .npz, is needed")
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if len(set(names)) < len(names):
                raise DataError(f"{file} holds an array twice: each once is needed")
            found = {n.removesuffix(".npy"): _array(archive, n, file) for n in names}
    except DataError:
        raise
    # With a password, or packed in a way unknown here; a header that is no Python literal.
    except (RuntimeError, SyntaxError, tokenize.TokenError) as error:
        raise DataError(f"{file} cannot be read ({error}): a plain .npz is needed") from error
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, zlib.error) as error:
        raise DataError(f"{file} is damaged ({error}): a whole .npz is needed") from error
    if not {"x", "y"} <= found.keys():
        raise DataError(f"{file} holds {', '.join(sorted(found)) or 'nothing'}: x and y are needed")
    x, y = found["x"], found["y"]
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or x.dtype.kind not in "uf" or (x.dtype.kind == "u" and x.dtype != np.uint8):
        raise DataError(f"{file}: x is {x.dtype} {x.shape}: bytes or floats (N, C, H, W)")
    if not 1 <= x.shape[1] <= 4:
        raise DataError(f"{file}: x has {x.shape[1]} channels: 1 to 4 are needed")
    if y.ndim != 1 or y.dtype.kind not in "iu" or 0 in y.shape:
        raise DataError(f"{file}: y is {y.dtype} {y.shape}: integers (N,) are needed")
    y = y.astype(np.int64)  # labels beyond int64 turn negative, and are refused as that
    named = found.get("classes")
    if named is not None and (named.ndim != 1 or named.dtype.kind != "U"):
        raise DataError(f"{file}: classes is {named.dtype} {named.shape}: (K,) names are needed")
    if not 0 <= int(y.max()) < MOST_CLASSES:
        raise DataError(f"{file}: y goes up to {int(y.max())}: labels are 0..{MOST_CLASSES - 1}")
    classes = _numbered(int(y.max()) + 1) if named is None else tuple(map(str, named))
    with np.errstate(over="ignore"):  # to infinity, which is refused
        images = _from_bytes(x) if x.dtype == np.uint8 else torch.from_numpy(x.astype(np.float32))
    return Dataset(images, torch.from_numpy(y), classes, name)


def _array(archive: zipfile.ZipFile, member: str, file: Path) -> np.ndarray:
    """One array, its header held against its size first; objects, which would be code, refused."""
    stated = archive.getinfo(member).file_size
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0
        shape, fortran, dtype = (
            read if version == (1, 0) else np.lib.format.read_array_header_2_0
        )(stream)
        if dtype.hasobject or any(side < 0 for side in shape):
            raise DataError(f"{file}: {member} holds Python objects: numbers or names are needed")
        _check_size(file, shape or (1,), dtype.itemsize * math.prod(shape[1:]))
        if stated < dtype.itemsize * math.prod(shape):
            raise DataError(f"{file}: {member} says {shape}: it holds fewer bytes than that")
        found = _at_most(stream.read, dtype.itemsize * math.prod(shape))
    if len(found) < dtype.itemsize * math.prod(shape):
        raise DataError(f"{file}: {member} says {shape}: it holds fewer bytes than that")
    return np.frombuffer(found, dtype).reshape(shape, order="F" if fortran else "C")


def _check_size(file: Path, shape: tuple[int, ...], bytes_each: int) -> None:
    if shape[0] * bytes_each > MOST_BYTES:
        raise DataError(f"{file} says {shape}: more than {MOST_BYTES // 2**30} GiB in memory")


def _from_bytes(x: np.ndarray) -> torch.Tensor:
    """0..255 to -1..1, without a second copy in a wider type."""
    return torch.from_numpy(np.ascontiguousarray(x)).float().div_(127.5).sub_(1)


def _numbered(K: int) -> tuple[str, ...]:
    return tuple(str(label) for label in range(K))
