"""The checkpoint file: tensors and JSON metadata in one `.safetensors` file, and no pickle.

The header of a safetensors file can carry text. A checkpoint stores its metadata there, as JSON
under the key `minicfg`. Metadata and tensors are therefore replaced together by one rename, and a
reader finds either the old checkpoint or the new one. Two lines print the metadata:

    from safetensors import safe_open
    print(safe_open("runs/digits/model.safetensors", "pt").metadata()["minicfg"])

A file is checked in this order before anything in it is used:

1. The sizes of the header and of the file must lie within fixed bounds, so that they cannot exhaust
   the memory.
2. The metadata must be a JSON object without duplicate keys, of a known format and version.
3. The caller compares names, types and shapes of the tensors with the ones that it expects.
4. After the tensors are read, the SHA-256 of metadata and tensors must match the stored digest.

Nothing in a file is executed. Two things are not promised. The digest detects damage but not
forgery, because whoever can write the file can also write a matching digest. And the file must not
be truncated while it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from minicfg.errors import DataError, MachineError, check_type

VERSION = 2
MAX_HEADER_BYTES = 2**22  # Enough for 10,000 class names of 50 Chinese characters each.
MAX_FILE_BYTES = 2**35  # Enough for the training state of a network with 2 billion weights.
# The types of weights and buffers that a checkpoint may contain. A UNet has the first two only.
_DTYPES = {
    "F32": torch.float32,
    "I64": torch.int64,
    "F64": torch.float64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class OpenCheckpoint:
    """An open file: its metadata, and a description of each tensor such as `torch.float32 (8,)`."""

    metadata: dict[str, Any]
    layout: dict[str, str]
    file: safe_open

    def read_tensors(self) -> dict[str, Tensor]:
        """Read every tensor. Check the layout first, because this call allocates the memory.

        Raises:
            DataError: if metadata and tensors do not match the digest.
        """
        tensors = {name: self.file.get_tensor(name) for name in self.layout}
        if self.metadata.get("sha256") != digest(self.metadata, tensors):
            raise DataError("is damaged (it does not match its own SHA-256): restore a whole copy")
        return tensors


@contextlib.contextmanager
def open_checkpoint_file(path: str | Path) -> Iterator[OpenCheckpoint]:
    """Open a checkpoint and check its header.

    A `DataError` that is raised inside the `with` block gets the name of the file put before it.

    Raises:
        DataError: if the file is missing, damaged, or no checkpoint.
        MachineError: if the file does not fit into memory.
    """
    file = checkpoint_path(path)
    try:
        header = _read_header(file)
        with _map_into_memory(file) as mapped:
            if not _parse_object(header):
                raise DataError("has a header with a duplicate key: restore a whole copy")
            metadata = _parse_object((mapped.metadata() or {}).get("minicfg", ""))
            if metadata.get("format") != "minicfg":
                raise DataError("is not a checkpoint of minicfg: choose a file that minicfg saved")
            if metadata.get("version") != VERSION:
                found = repr(metadata.get("version"))
                raise DataError(
                    f"has format version {found:.40}, but this minicfg reads only version "
                    f"{VERSION}: load it with the minicfg that saved it"
                )
            slices = {name: mapped.get_slice(name) for name in mapped.keys()}  # noqa: SIM118
            layout = {
                name: describe_tensor(
                    _DTYPES.get(part.get_dtype(), part.get_dtype()), part.get_shape()
                )
                for name, part in slices.items()
            }
            yield OpenCheckpoint(metadata, layout, mapped)
    except DataError as error:
        raise DataError(f"{file} {error}") from error
    except SafetensorError as error:
        raise DataError(f"{file} is damaged ({printable(error)}): restore a whole copy") from error
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror}): check the disk and the file's permissions"
        ) from error


def add_format_and_digest(metadata: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Return `metadata` as it will be read back, with the format, its version and the digest."""
    complete = {"format": "minicfg", "version": VERSION} | metadata
    complete = json.loads(json.dumps(complete, allow_nan=False))  # Tuples become lists.
    return complete | {"sha256": digest(complete, tensors)}


def to_bytes(metadata: dict[str, Any], tensors: dict[str, Tensor]) -> bytes:
    """Return the content of a checkpoint file.

    Raises:
        DataError: if it is larger than `open_checkpoint_file` accepts.
    """
    content = to_safetensors(tensors, {"minicfg": json.dumps(metadata, indent=2) + "\n"})
    header = int.from_bytes(content[:8], "little")
    _check_sizes(header, len(content), "use fewer classes or a smaller network")
    return content


def checkpoint_path(path: str | Path) -> Path:
    """Return the path with its suffix: `a/model` and `a/model.safetensors` name the same file."""
    check_type("path", path, (str, Path), "pass text or a pathlib.Path")
    path = Path(path)
    return path if path.suffix == ".safetensors" else Path(f"{path}.safetensors")


def describe_tensor(dtype: object, shape: list[int] | torch.Size) -> str:
    """Return type and shape of a tensor as text, such as `torch.float32 (8, 1, 3, 3)`."""
    return f"{dtype} {tuple(shape)}"


def printable(value: object) -> str:
    """Return `value` as one line of at most 200 ASCII characters, for text out of a file."""
    return str(value).encode("unicode_escape").decode()[:200]


def digest(metadata: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """SHA-256 of the metadata without its digest, and of each tensor's name, type, shape, bytes."""
    hashed = {name: value for name, value in metadata.items() if name != "sha256"}
    sha256 = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha256.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        sha256.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def _read_header(file: Path) -> bytes:
    """Return the header of a safetensors file, or the part of it that the file contains."""
    if not file.is_file():
        raise DataError("is not there, or is not a file: choose a .safetensors that minicfg saved")
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        _check_sizes(length, file.stat().st_size, "choose a file that minicfg saved")
        return stream.read(length)


def _map_into_memory(file: Path) -> safe_open:
    try:
        return safe_open(file, framework="pt")
    except (MemoryError, RuntimeError) as error:
        size = file.stat().st_size
        raise MachineError(
            f"{file} has {size} bytes and does not fit into memory: close other programs"
        ) from error


def _check_sizes(header: int, file: int, remedy: str) -> None:
    if header > MAX_HEADER_BYTES:
        raise DataError(
            f"has a header of {header} bytes, more than the limit of {MAX_HEADER_BYTES}: {remedy}"
        )
    if file > MAX_FILE_BYTES:
        raise DataError(f"has {file} bytes, more than the limit of {MAX_FILE_BYTES}: {remedy}")


def _parse_object(text: str | bytes) -> dict[str, Any]:
    """Return the JSON object in `text`. Anything else gives {}, which is never valid metadata."""
    try:
        found = json.loads(text, object_pairs_hook=_without_duplicates)
    # The text is not JSON, not UTF-8, has a number that is too long or a duplicate key, or it is
    # nested too deeply.
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("duplicate key")
    return found
