"""`minicfg sample --noise FILE`: the array from which the chains start, instead of drawn noise."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from minicfg.errors import DataError


def read_noise(file: Path, n: int, shape: Sequence[int]) -> Tensor:
    """Read `n` images of noise of `shape` as float32, from an .npy file or a one-array .npz file.

    Raises:
        DataError: if the file is missing or damaged, or the array has the wrong shape or type, or
            a value that is not finite.
    """
    if not file.is_file():
        raise DataError(
            f"--noise {file} is not there, or is not a file; name an .npy or .npz file."
        )
    wanted = (n, *shape)
    try:
        array = _read_array(file, 8 * math.prod(wanted))
    except (zipfile.BadZipFile, SyntaxError, tokenize.TokenError, EOFError, zlib.error) as error:
        raise DataError(f"--noise {file} is damaged ({error}); save it again.") from error
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        raise DataError(
            f"--noise {file} cannot be read ({error}); save one array with numpy.save."
        ) from error
    if array.shape != wanted:
        raise DataError(
            f"--noise {file} has shape {array.shape}; save an array of shape {wanted}: the number "
            "of samples, then the shape of an image of this model."
        )
    if array.dtype.kind != "f":
        raise DataError(f"--noise {file} has type {array.dtype}; save floating-point numbers.")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused
        noise = torch.from_numpy(array.astype(np.float32))
    if not bool(noise.isfinite().all()):
        raise DataError(
            f"--noise {file} contains values that are not finite float32 numbers; replace them."
        )
    return noise


def _read_array(file: Path, most_bytes: int) -> np.ndarray:
    """The array of an .npy file, or the only one of an .npz file.

    Arrays of Python objects are refused, because reading them would run code.
    """
    most_bytes += 4096  # the header takes less
    with file.open("rb") as stream:
        size = file.stat().st_size
        if size > most_bytes:
            raise ValueError(f"it has {size} bytes, too many for these samples")
        start = stream.read(6)
        if not start.startswith((b"PK", b"\x93NUMPY")):
            raise ValueError("it is not a NumPy array")
        stream.seek(0)
        found = np.load(stream, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        if len(found.files) != 1:
            raise ValueError(f"it contains {len(found.files)} arrays, not one")
        (member,) = found.zip.infolist()
        if member.file_size > most_bytes:
            raise ValueError(f"its array has {member.file_size} bytes, too many for these samples")
        return found[found.files[0]]
