"""Images, labels and class names in one `.npz` file of NumPy arrays."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from minicfg.data import Dataset
from minicfg.datasets.arrays import (
    FLOAT_BYTES,
    LABEL_BYTES,
    MAX_CLASSES,
    check_channels,
    check_every_class_occurs,
    check_memory,
    check_values,
    images_from_bytes,
    listed,
    numbered_classes,
    read_at_most,
)
from minicfg.errors import DataError

# The arrays that are read, and the bytes per item of what they are converted to.
CONVERTED_BYTES = {"x": FLOAT_BYTES, "y": LABEL_BYTES, "classes": 0}


def read_npz(file: Path, name: str) -> Dataset:
    """Read the arrays `x`, `y` and, if it is there, `classes`. Other arrays are left alone.

    Raises:
        DataError: if the file is missing or damaged, or if an array has the wrong shape or type.
    """
    arrays = _read_arrays(file)
    y = _labels(file, arrays["y"])
    return Dataset(
        x=_images(file, arrays["x"]),
        y=torch.from_numpy(y),
        classes=_class_names(file, arrays.get("classes"), y),
        name=name,
    )


def _images(file: Path, x: np.ndarray) -> torch.Tensor:
    if x.ndim == 3:
        x = x[:, None]
    is_bytes = x.dtype == np.uint8
    if x.ndim != 4 or not (is_bytes or x.dtype.kind == "f"):
        raise DataError(
            f"{file}: x is {x.dtype} {x.shape}: save bytes or floats of shape (N, H, W) or "
            "(N, C, H, W)"
        )
    check_channels(file, x.shape)
    if is_bytes:
        return images_from_bytes(x)
    with np.errstate(over="ignore"):  # A value that overflows becomes infinite, and is refused.
        images = torch.from_numpy(x.astype(np.float32))
    if images.numel() > 0:  # `Dataset` refuses an empty array.
        check_values(file, images)
    return images


def _labels(file: Path, y: np.ndarray) -> np.ndarray:
    if y.ndim != 1 or y.dtype.kind not in "iu" or 0 in y.shape:
        raise DataError(f"{file}: y is {y.dtype} {y.shape}: save integers of shape (N,)")
    y = y.astype(np.int64)  # Labels beyond int64 become negative, and are refused as such.
    if not 0 <= int(y.max()) < MAX_CLASSES:
        raise DataError(
            f"{file}: y goes up to {int(y.max())}: number the classes from 0 to at most "
            f"{MAX_CLASSES - 1}"
        )
    return y


def _class_names(file: Path, classes: np.ndarray | None, y: np.ndarray) -> tuple[str, ...]:
    if classes is None:
        K = int(y.max()) + 1
        check_every_class_occurs(file, y, K, named=False)
        return numbered_classes(K)
    if classes.ndim != 1 or classes.dtype.kind != "U":
        raise DataError(
            f"{file}: classes is {classes.dtype} {classes.shape}: save an array of K names"
        )
    check_every_class_occurs(file, y, len(classes), named=True)
    return tuple(map(str, classes))


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Return the arrays `x`, `y` and `classes` by their names, as far as they are there.

    Other arrays are not unpacked, whatever they contain.
    """
    if not file.is_file():
        raise DataError(f"{file} is not there, or is not a file: name an .npz file with x and y")
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.namelist()
            if len(set(members)) < len(members):
                raise DataError(f"{file} contains an array twice: save each name once")
            names = [member.removesuffix(".npy") for member in members]
            if not {"x", "y"} <= set(names):
                found = listed(sorted(names)) or "nothing"
                raise DataError(f"{file} contains {found}: save the arrays under the names x and y")
            arrays = dict[str, np.ndarray]()
            taken = 0
            for name, member in zip(names, members, strict=True):
                if name in CONVERTED_BYTES:
                    arrays[name], taken = _read_array(archive, member, file, taken)
            return arrays
    except DataError:
        raise
    # The archive has a password or an unknown compression, or a header is no Python literal.
    except (RuntimeError, SyntaxError, tokenize.TokenError) as error:
        raise DataError(
            f"{file} cannot be read ({error}): save it again with numpy.savez"
        ) from error
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, zlib.error) as error:
        raise DataError(
            f"{file} is damaged ({error}): restore a whole copy, or save it again"
        ) from error


def _read_array(
    archive: zipfile.ZipFile, member: str, file: Path, taken: int
) -> tuple[np.ndarray, int]:
    """Read one array, after its header has been compared with the size of the member.

    Arrays of Python objects are refused, because reading them would run code.

    Returns:
        The array, and the bytes of memory that it and the arrays before it, `taken`, will need.
    """
    size = archive.getinfo(member).file_size
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        if dtype.hasobject or any(side < 0 for side in shape):
            raise DataError(
                f"{file}: {member} contains Python objects: save an array of numbers or of names"
            )
        bytes_each = dtype.itemsize + CONVERTED_BYTES[member.removesuffix(".npy")]
        taken = check_memory(file, shape or (1,), bytes_each * math.prod(shape[1:]), taken)
        expected = dtype.itemsize * math.prod(shape)
        found = read_at_most(stream.read, expected) if size >= expected else bytearray()
    if len(found) < expected:
        raise DataError(
            f"{file}: {member} has fewer bytes than its shape {shape}: restore a whole copy"
        )
    array = np.frombuffer(found, dtype).reshape(shape, order="F" if is_fortran else "C")
    return array, taken
