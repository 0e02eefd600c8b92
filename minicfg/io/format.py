"""One file of words and numbers, and how it stays whole: safetensors, JSON in it, never pickle.

`<path>.safetensors` is the file. Its header carries a JSON text, what the numbers are `about`, with
a SHA-256 of all of it and of every tensor. So one rename replaces words and numbers as a whole: a
reader finds the old ones or the new ones. `<path>.json` is the same text once more, for people and
other programs. It may be missing, which is what a crash between the two renames leaves, but it may
not say anything else.

A file is believed only as far as it bears itself out. Its sizes are held against bounds before they
take memory; names, types and shapes are told before a number is read; and no number is handed on
before the digest is right. Nothing in a file is run. Two things are not promised: whoever can write
a file can also write a digest that fits it; and a file must not be cut short while it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from minicfg.errors import DataError, MachineError

VERSION = 1
MOST_WORDS = 2**22  # bytes of a header: 10,000 classes of 50 Chinese letters each still fit
MOST_BYTES = 2**35  # of a file: the training state of 2 billion weights
_DTYPES = {"F32": torch.float32, "I64": torch.int64}  # all that is ever saved


@dataclass(frozen=True)
class Stored:
    """A file that is open: what it says, and its tensors' types and shapes, by name."""

    about: dict[str, Any]
    layout: dict[str, str]
    inside: safe_open

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor. Only here are numbers read, so check the layout first.

        Raises:
            DataError: where words and numbers together do not match the digest.
        """
        found = {name: self.inside.get_tensor(name) for name in self.layout}
        if self.about.get("sha256") != digest(self.about, found):
            raise DataError(
                "does not match its own SHA-256, so it is damaged: a whole copy is needed"
            )
        return found


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Stored]:
    """Open what `write` wrote; a DataError on the way, also from within, gets the file's name.

    Raises:
        DataError: naming the file, what is wrong with it and what would do.
        MachineError: where it does not fit into memory.
    """
    file, beside = files(path)
    try:
        header = _header(file)
        with _mapped(file) as inside:
            if not _parsed(header):
                raise DataError("has a header that says a thing twice: a whole copy is needed")
            about = _parsed((inside.metadata() or {}).get("minicfg", ""))
            if about.get("format") != "minicfg":
                raise DataError("is not a checkpoint of minicfg: what minicfg saved is needed")
            if about.get("version") != VERSION:
                found = repr(about.get("version"))
                raise DataError(f"has format version {found:.40}: {VERSION} is needed")
            if os.path.lexists(beside) and _beside(beside) != about:
                raise DataError(
                    f"does not go with {beside.name}, which belongs to another checkpoint or was "
                    "edited: the one it was saved with is needed there, or none"
                )
            slices = {name: inside.get_slice(name) for name in inside.keys()}  # noqa: SIM118
            layout = {
                name: told(_DTYPES.get(part.get_dtype(), part.get_dtype()), part.get_shape())
                for name, part in slices.items()
            }
            yield Stored(about, layout, inside)
    except DataError as error:
        raise DataError(f"{file} {error}") from error
    except SafetensorError as error:
        raise DataError(f"{file} is damaged ({plain(error)}): a whole copy is needed") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): a copy is needed") from error


def sealed(about: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """`about` as it will be read, with the format's name and version before it and the digest."""
    about = {"format": "minicfg", "version": VERSION} | about
    about = json.loads(json.dumps(about, allow_nan=False))  # tuples to lists
    return about | {"sha256": digest(about, tensors)}


def packed(
    path: str | Path, about: dict[str, Any], tensors: dict[str, Tensor]
) -> dict[Path, bytes]:
    """What each of the two files will hold.

    Raises:
        DataError: where that is more than `opened` takes. It reads on from the file's name.
    """
    file, beside = files(path)
    text = json.dumps(about, indent=2) + "\n"
    whole = to_bytes(tensors, {"minicfg": text})
    _check_sizes(int.from_bytes(whole[:8], "little"), len(whole))
    return {file: whole, beside: text.encode()}


def write(contents: dict[Path, bytes]) -> None:
    """Put what was `packed` in place, all or nothing.

    Raises:
        MachineError: where the disk is full or the folder refuses; what stood there still stands.
    """
    file, beside = contents
    temporary = {target: Path(f"{target}.tmp") for target in contents}
    try:
        for target, content in contents.items():
            temporary[target].unlink(missing_ok=True)  # left by a save that was killed
            with temporary[target].open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        # All that takes space is done. From here on, wherever it ends, `file` is a whole checkpoint
        # and the text beside it, if there is one, its own.
        beside.unlink(missing_ok=True)
        for target in contents:
            temporary[target].replace(target)
        _fsync_folder(file.parent)
    except OSError as error:
        raise MachineError(
            f"{file} cannot be saved ({error.strerror}): free space, or another folder, is needed"
        ) from error
    finally:
        for target in temporary.values():
            with contextlib.suppress(OSError):
                target.unlink(missing_ok=True)


def check_writable(folder: str | Path) -> Path:
    """Make `folder` and write into it, so that a refusal comes before the work and not after it.

    Raises:
        MachineError: where that fails.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A file without a name where there is such a thing: ranks come here together, and what is
        # killed here leaves nothing behind.
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
            probe.flush()
    except OSError as error:
        raise MachineError(
            f"{folder} cannot be written to ({error.strerror}): another folder is needed"
        ) from error
    return folder


def files(path: str | Path) -> tuple[Path, Path]:
    """`a/model`, `a/model.safetensors` and `a/model.json` all name the same two files."""
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    return Path(f"{stem}.safetensors"), Path(f"{stem}.json")


def told(dtype: object, shape: list[int] | torch.Size) -> str:
    """A tensor in words, as in `torch.float32 (8, 1, 3, 3)`."""
    return f"{dtype} {tuple(shape)}"


def plain(what: object) -> str:
    """In one short line of plain letters, though a file's own words be in it."""
    return str(what).encode("unicode_escape").decode()[:200]


def digest(about: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """SHA-256 of all that is said, but this, and of every tensor's name, dtype, shape and bytes."""
    said = {name: value for name, value in about.items() if name != "sha256"}
    sums = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sums.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        sums.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sums.hexdigest()


def _header(file: Path) -> bytes:
    """The header of a safetensors file, or as much of it as is there."""
    if not file.is_file():
        raise DataError("is not there: what minicfg saved, .safetensors, is needed")
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        _check_sizes(length, file.stat().st_size)
        return stream.read(length)


def _mapped(file: Path) -> safe_open:
    try:
        return safe_open(file, framework="pt")
    except (MemoryError, RuntimeError) as error:
        size = file.stat().st_size
        raise MachineError(f"{file} is {size} bytes: as much free memory is needed") from error


def _check_sizes(header: int, whole: int) -> None:
    if header > MOST_WORDS:
        raise DataError(f"has a header of {header} bytes: at most {MOST_WORDS} are needed")
    if whole > MOST_BYTES:
        raise DataError(f"has {whole} bytes: at most {MOST_BYTES} are needed")


def _beside(file: Path) -> dict[str, Any]:
    """What the text beside says; nothing, where it is no file or too long to be one of ours."""
    if not file.is_file() or file.stat().st_size > MOST_WORDS:
        return {}
    return _parsed(file.read_bytes())


def _parsed(text: str | bytes) -> dict[str, Any]:
    """The JSON object in `text`, or an empty one, which no checkpoint is."""
    try:
        found = json.loads(text, object_pairs_hook=_all_different)
    # Not JSON, not text, an absurd number, a name twice; or nested absurdly deep.
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _all_different(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _fsync_folder(folder: Path) -> None:
    """Make the renames last through a power cut; only POSIX opens folders."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
