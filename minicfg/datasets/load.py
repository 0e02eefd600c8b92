"""Load the data set that a short text such as `idx:DIR` names.

Nothing is downloaded, and nothing in a file is executed. Sizes that a header states are compared
with the bytes of the file before memory is allocated.
"""

from __future__ import annotations

from pathlib import Path

from minicfg.data import Dataset
from minicfg.datasets.digits import digits
from minicfg.datasets.folder import read_folder
from minicfg.datasets.idx import read_idx
from minicfg.datasets.npz import read_npz
from minicfg.datasets.toy import dots
from minicfg.errors import DataError, UsageError


def load_data(spec: str, size: int = 32) -> Dataset:
    """Load the data set that `spec` names.

    - `digits`: the 1,797 handwritten digits of scikit-learn, grey, 8x8 pixels. They are installed
      with it.
    - `idx:DIR`: the format of MNIST, `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` in
      DIR, gzipped or not.
    - `folder:DIR`: PNG and JPEG files in one subfolder per class, which is named after the class.
    - `npz:FILE`: NumPy arrays `x`, of shape (N, H, W) or (N, C, H, W), with bytes in 0..255 or
      floats in -1..1, `y`, N integers in 0..K-1, and optionally `classes`, K names.
    - `toy:dots`: the three Gaussians of the tutorial in the plane; each point becomes an image of
      16x16 pixels with one soft dot.

    Args:
        spec: one of the above.
        size: height and width to which the images of a folder are scaled, 1..1024.

    Raises:
        UsageError: if `spec` is none of these.
        DataError: if a file is missing or damaged, or does not have the expected content.
    """
    if not 1 <= size <= 1024:
        raise UsageError(f"size = {size} is outside 1..1024: choose a size inside")
    kind, _, where = spec.partition(":")
    try:
        if spec == "digits":
            return digits()
        if spec == "toy:dots":
            return dots()
        if where and kind == "idx":
            return read_idx(Path(where), spec)
        if where and kind == "folder":
            return read_folder(Path(where), size, spec)
        if where and kind == "npz":
            return read_npz(Path(where), spec)
    except OSError as error:  # The name is too long, or the folder may not be read.
        raise DataError(
            f"data = {spec!r} cannot be read ({error.strerror}): check the path and its permissions"
        ) from error
    raise UsageError(
        f"data = {spec!r} is not a data set: choose one of digits, idx:DIR, folder:DIR, npz:FILE, "
        "toy:dots"
    )
