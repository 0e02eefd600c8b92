"""Load hostile files, each in a process of its own, and measure time and memory.

    python -m tests.hardening.hostile FOLDER

prints one line of JSON per file: the error, seconds of CPU, and MiB by which memory grew. A valid
checkpoint is loaded first, so that the modules that torch imports on the way are not counted.
`test_hostile.py` compares the results with its limits.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes

from minicfg.config import TrainConfig
from minicfg.io.checkpoint import load, load_state
from minicfg.io.format import digest
from tests.hardening.fuzz_loader import Good, good

MEMORY = 2**34  # Bytes that a process may map besides those that it had, to protect the machine.
LONGEST = 60  # Seconds after which a process counts as hanging, on a busy machine too.
# If it were unpickled, it would touch a file.
PICKLE = b"cposix\nsystem\n(S'touch ran'\ntR."


def _header(edit: Callable[[dict[str, Any]], Any], more: bytes = b"") -> Callable[[Good], None]:
    """Return a writer of the valid checkpoint with an edited header."""

    def write(good: Good) -> None:
        header = json.loads(good.header)
        edit(header)
        written = json.dumps(header).encode()
        good.file.write_bytes(len(written).to_bytes(8, "little") + written + good.data + more)

    return write


def _words(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Good], None]:
    """Return a writer of edited metadata with a matching digest, which an attacker can compute."""

    def write(good: Good) -> None:
        metadata = json.loads(json.dumps(good.metadata))
        edit(metadata)
        metadata["sha256"] = digest(metadata, good.tensors)
        good.file.write_bytes(to_bytes(good.tensors, {"minicfg": json.dumps(metadata)}))

    return write


def _text(text: str) -> Callable[[Good], Any]:
    return lambda good: good.file.write_bytes(to_bytes(good.tensors, {"minicfg": text}))


def _raw(header: bytes, length: int | None = None) -> Callable[[Good], Any]:
    stated = (len(header) if length is None else length).to_bytes(8, "little")
    return lambda good: good.file.write_bytes(stated + header)


def _zip(good: Good) -> None:
    with zipfile.ZipFile(good.file, "w") as archive:
        archive.writestr("archive/data.pkl", PICKLE)


def _sparse(size: int) -> Callable[[Good], None]:
    """Return a writer of a sparse file whose header matches its size but not its config."""

    def write(good: Good) -> None:
        header: dict[str, Any] = {"__metadata__": {"minicfg": json.dumps(good.metadata)}}
        header["w"] = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
        _raw(json.dumps(header).encode())(good)
        os.truncate(good.file, good.file.stat().st_size + size)

    return write


def _twice(good: Good) -> None:
    """Write the first tensor twice, the second time with another shape over the same bytes."""
    header = json.loads(good.header)
    name = "head.bias" if good.kind == "model" else "model.head.bias"
    again = json.dumps({name: header[name] | {"shape": [1, 1, 1]}}).encode()
    written = again[:-1] + b"," + good.header.lstrip()[1:]
    good.file.write_bytes(len(written).to_bytes(8, "little") + written + good.data)


def _words_twice(good: Good) -> None:
    text = json.dumps(good.metadata).replace('"T": 2', '"T": 2, "T": 2')
    _text(text)(good)


def _overlap(header: dict[str, Any]) -> None:
    one, two = [name for name, part in header.items() if part.get("shape") == [8]][:2]
    header[one]["data_offsets"] = header[two]["data_offsets"]


def _all(header: dict[str, Any], **changed: Any) -> None:
    for name in header.keys() - {"__metadata__"}:
        header[name].update(changed)


def _loop(file: Path) -> None:
    """Two links, each to the other."""
    other = file.with_name("loop")
    other.unlink(missing_ok=True)
    other.symlink_to(file)
    file.symlink_to(other)


GIANT = {"width": 1024, "multipliers": [16] * 6, "blocks": 16, "attention": [0, 1, 2, 3, 4, 5]}

# Kind, and the files of that kind.
KINDS: dict[str, dict[str, Callable[[Good], Any]]] = {
    "pickle": {
        "bare": lambda good: good.file.write_bytes(PICKLE),
        "behind a length": lambda good: good.file.write_bytes(
            len(PICKLE).to_bytes(8, "little") + PICKLE
        ),
    },
    "zip": {"a pickle within": _zip},
    "torch.save": {
        "tensors": lambda good: torch.save(good.tensors, good.file),
        "a whole object": lambda good: torch.save(TrainConfig(), good.file),
        "before zip": lambda good: torch.save(
            good.tensors, good.file, _use_new_zipfile_serialization=False
        ),
    },
    "header's length": {
        "2^63": _raw(b"{}", 2**63),
        "2^64 - 1": _raw(b"{}", 2**64 - 1),
        "beyond the file": _raw(b"{}", 99_000_000),
        "90 MB are there": _raw(b"{}" + b" " * 90_000_000),
        "none": _raw(b"", 0),
        "cut in the length": lambda good: good.file.write_bytes(b"\1\0\0"),
    },
    "overlapping tensors": {
        "two in one place": _header(_overlap),
        "all in one place": _header(lambda h: _all(h, data_offsets=[0, 4])),
    },
    "names twice": {"a tensor's": _twice, "a setting's": _words_twice},
    "lying offsets": {
        "backwards": _header(lambda h: _all(h, data_offsets=[8, 0])),
        "negative": _header(lambda h: _all(h, data_offsets=[-8, 0])),
        "beyond the end": _header(lambda h: _all(h, data_offsets=[2**40, 2**40 + 4])),
        "bytes that are no tensor's": _header(lambda h: None, bytes(8)),
    },
    "lying shape or type": {
        "half as wide": _header(lambda h: _all(h, dtype="F16")),
        "a class": _header(lambda h: _all(h, dtype="builtins.eval")),
        "four bits": _header(lambda h: _all(h, dtype="F4")),
        "a fraction": _header(lambda h: _all(h, shape=[0.5])),
        "10,000 axes": _header(lambda h: _all(h, shape=[1] * 10_000)),
        "nothing, 2^64 - 1 times": _raw(
            b'{"a":{"dtype":"F32","shape":[18446744073709551615,0],"data_offsets":[0,0]}}'
        ),
    },
    "words of another type": {
        "metadata of a number": _header(lambda h: h.update(__metadata__={"minicfg": 3})),
        "metadata nested": _header(lambda h: h.update(__metadata__={"minicfg": {"a": 1}})),
        "metadata a list": _header(lambda h: h.update(__metadata__=[])),
        "metadata elsewhere": _header(lambda h: h.update(__metadata__={"other": "{}"})),
        "a list": _text("[]"),
        "words": _text("not JSON"),
        "settings a list": _words(lambda about: about.update(config=[])),
        "NaN": _words(lambda about: about["config"].update(lr=float("nan"))),
        "an integer no float holds": _words(lambda about: about["config"].update(lr=10**4000)),
        "lines and escapes": _words(lambda about: about.update({"a\nb\x1b[31m": 1})),
        "half a letter": _words(lambda about: about["config"].update(schedule="\ud800\n")),
    },
    "names of classes": {
        "of YAML": _words(lambda a: a["config"].update(schedule="!!python/name:os.system")),
        "a reducer": _words(lambda a: a.update({"py/reduce": [{"py/type": "os.system"}, ["ls"]]})),
        "a class": _words(lambda a: a["config"].update({"__class__": "os.system"})),
        "a target": _words(lambda a: a["config"].update({"_target_": "os.system"})),
    },
    "absurd nesting": {
        "lists": _text("[" * 1_000_000),
        "objects": _text('{"a":' * 500_000),
        "the header": _raw(b'{"a":' * 500_000),
        "a long number": _text("9" * 3_000_000),
        "a million empty objects": _text("[" + "{}," * 1_000_000 + "{}]"),
    },
    "terabytes": {
        "a tensor's": _raw(
            b'{"a":{"dtype":"F32","shape":[274877906944],"data_offsets":[0,1099511627776]}}'
        ),
        "beyond 2^64": _header(lambda h: _all(h, shape=[2**40, 2**40])),
        "the settings'": _words(lambda about: about["config"].update(GIANT)),
        "classes": _words(lambda about: about.update(classes=[str(n) for n in range(100_000)])),
        "images": _words(lambda about: about.update(shape=[2**16, 2**16, 2**16])),
    },
    "sparse": {"a terabyte": _sparse(2**40), "8 GiB": _sparse(2**33)},
    "no file": {
        "a folder": lambda good: good.file.mkdir(),
        "a pipe": lambda good: os.mkfifo(good.file),
        "a device": lambda good: good.file.symlink_to("/dev/zero"),
        "links in a loop": lambda good: _loop(good.file),
        "a link to nothing": lambda good: good.file.symlink_to("/nowhere"),
        "nothing": lambda good: None,
    },
}  # fmt: skip


def _clear(good: Good) -> None:
    if good.file.is_dir() and not good.file.is_symlink():
        good.file.rmdir()
    good.file.unlink(missing_ok=True)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _try(good: Good, answer: int) -> None:
    """In a child: load the file, and write the outcome to the descriptor `answer`."""
    read = load if good.kind == "model" else load_state
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + 2 * MEMORY,) * 2)
    signal.alarm(LONGEST)
    before, began = _resident(), time.process_time()
    error = None
    try:
        read(good.path)
    except BaseException as caught:  # Every outcome is reported.
        error = caught
    outcome = {
        "error": type(error).__name__,
        "said": ascii(str(error)),
        "lines": str(error).count("\n") + 1,
        "plain": str(error).isprintable(),
        "seconds": time.process_time() - began,
        "MiB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 2**20,
    }
    os.write(answer, json.dumps(outcome).encode())


def main() -> None:
    """Write each file, load it, and print the outcome."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    os.chdir(folder)
    for kind in ("model", "state"):
        one = good(folder, kind)
        (load if kind == "model" else load_state)(one.path)
        for name, ways in KINDS.items():
            # A state is read the same way: of each kind, one file will do.
            for way, write in list(ways.items())[: None if kind == "model" else 1]:
                _clear(one)
                write(one)
                receive, answer = os.pipe()
                if not (child := os.fork()):
                    with contextlib.suppress(BaseException):
                        _try(one, answer)
                    os._exit(0)
                os.close(answer)
                _, status = os.waitpid(child, 0)
                with os.fdopen(receive, "rb") as stream:
                    outcome = json.loads(stream.read() or "{}")
                about = {"kind": kind, "hostile": name, "way": way, "status": status}
                print(json.dumps(about | outcome), flush=True)
        _clear(one)


if __name__ == "__main__":
    main()
