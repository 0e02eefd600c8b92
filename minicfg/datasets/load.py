"""Load the data set that a short text such as `idx:DIR` names.

Nothing is downloaded, and nothing in a file is executed. Sizes that a header states are compared
with the bytes of the file before memory is allocated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from minicfg.data import Dataset
from minicfg.datasets.digits import digits
from minicfg.datasets.folder import read_folder
from minicfg.datasets.glyphs import read_glyphs
from minicfg.datasets.idx import read_idx, read_idx_held_out
from minicfg.datasets.npz import read_npz
from minicfg.datasets.toy import dots
from minicfg.errors import DataError, UsageError, check_type


def load_data(
    spec: str,
    size: int = 32,
    *,
    follow_links: bool = False,
    skip_bad: bool = False,
) -> Dataset:
    """Load the data set that `spec` names.

    - `digits`: the 1,797 handwritten digits of scikit-learn, grey, 8x8 pixels. They are installed
      with it.
    - `glyphs`: 20,800 letters in 17 typefaces, in colour, 32x32 pixels. They are drawn from the
      fonts of matplotlib, and the data set has their factors. `glyphs:1x28` are grey and have 28x28
      pixels, `glyphs:ABC` are three letters only, and `glyphs:1x28:ABC` is both
      (`minicfg.datasets.glyphs`).
    - `idx:DIR`: the format of MNIST, `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` in
      DIR, gzipped or not. There may be a dot before `idx`, as other programs write it.
    - `folder:DIR`: PNG, JPEG, WebP and BMP files in one subfolder per class, which is named after
      the class. Transparent pixels are laid on white.
    - `npz:FILE`: NumPy arrays `x`, of shape (N, H, W) or (N, C, H, W), with bytes in 0..255 or
      floats in -1..1, `y`, N integers in 0..K-1, and optionally `classes`, K names.
    - `toy:dots`: the three Gaussians of the tutorial in the plane; each point becomes an image of
      16x16 pixels with one soft dot.

    A `~` at the beginning of DIR or FILE is the home folder.

    Args:
        spec: one of the above.
        size: height and width to which the images of a folder are scaled, 1..1024.
        follow_links: read images of a folder through links that lead out of it. Without it they
            are refused.
        skip_bad: leave out files of a folder that cannot be used, and print on standard error how
            many there are and the first five. Without it they are refused.

    Raises:
        UsageError: if `spec` is none of these.
        DataError: if a file is missing or damaged, or does not have the expected content.
    """
    _check_size(size)
    kind, where = _parse(spec)
    with _errors_of_the_system_named(spec):
        match kind:
            case "digits":
                return digits()
            case "glyphs":
                return read_glyphs(spec)
            case "toy":
                return dots()
            case "idx":
                return read_idx(where, spec)
            case "folder":
                return read_folder(where, size, spec, follow_links=follow_links, skip_bad=skip_bad)
            case _:
                return read_npz(where, spec)


def load_held_out(spec: str, size: int = 32) -> Dataset | None:
    """Load the images that the data set holds out, if it has such a part.

    `idx:DIR` has one: the files `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte` beside those
    of the training set. `glyphs` have one: 200 other pictures of each letter. The classes are those
    of the training set.

    Args:
        spec: as for `load_data`.
        size: as for `load_data`.

    Returns:
        The held-out images, or None if the data set has no such part.

    Raises:
        UsageError: as `load_data`.
        DataError: as `load_data`, and if the held-out images do not fit the training set.
    """
    _check_size(size)
    kind, where = _parse(spec)
    if kind == "glyphs":
        return read_glyphs(spec, held_out=True)
    if kind != "idx":
        return None
    with _errors_of_the_system_named(spec):
        return read_idx_held_out(where, spec)


def describe(data: Dataset) -> str:
    """Describe images, classes and values in one line, which shows most mistakes in the data.

    For example: 1797 images of 1 x 8 x 8, 174 to 183 per class (10 classes), values -1 to 1
    """
    check_type("data", data, Dataset, "load it first, load_data(...)")
    shape = " x ".join(map(str, data.shape))
    counts = torch.bincount(data.labels, minlength=data.num_classes)
    fewest = int(counts.min())
    most = int(counts.max())
    per_class = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    return (
        f"{len(data)} images of {shape}, {per_class} per class ({data.num_classes} classes), "
        f"values {data.x.min():.4g} to {data.x.max():.4g}"
    )


def data_folder(spec: str) -> Path | None:
    """Return the folder whose every subfolder `load_data` takes for a class, or None."""
    kind, where = _parse(spec)
    return where if kind == "folder" else None


def _check_size(size: int) -> None:
    if isinstance(size, bool) or not isinstance(size, int):
        raise UsageError(f"size = {size!r} is not an integer: pass one in 1..1024")
    if not 1 <= size <= 1024:
        raise UsageError(f"size = {size} is outside 1..1024: choose a size inside")


def _parse(spec: str) -> tuple[str, Path]:
    """Split `idx:DIR` into its kind and its path, in which a leading `~` is the home folder."""
    check_type("data", spec, str, "pass text such as 'digits' or 'folder:DIR'")
    kind, _, where = spec.partition(":")
    if (
        kind == "glyphs"
        or spec in ("digits", "toy:dots")
        or (where and kind in ("idx", "folder", "npz"))
    ):
        return kind, Path(os.path.expanduser(where))
    hint = ""
    path = os.path.expanduser(spec)
    if spec and os.path.isdir(path):
        hint = f"; to read the pictures in that folder, write folder:{spec}"
    elif spec.endswith(".npz") and os.path.isfile(path):
        hint = f"; to read that file, write npz:{spec}"
    raise UsageError(
        f"data = {spec!r} is not a data set: choose one of digits, glyphs, idx:DIR, folder:DIR, "
        f"npz:FILE, toy:dots{hint}"
    )


@contextmanager
def _errors_of_the_system_named(spec: str) -> Iterator[None]:
    """Turn an OSError, such as for a name that is too long, into a DataError that names `spec`."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"data = {spec!r} cannot be read ({error.strerror}): check the path and its permissions"
        ) from error
