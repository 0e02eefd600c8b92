"""Damage checkpoints at random: loading gives an error of one line, or what was saved.

    python -m tests.hardening.fuzz_loader --n 1000000

`test_loader_fuzz.py` does the same with a smaller number.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from minicfg.config import TrainConfig
from minicfg.errors import DataError
from minicfg.io import checkpoint
from minicfg.io.checkpoint import save, save_state
from minicfg.io.format import checkpoint_path
from minicfg.training import start
from minicfg.unet import UNet

SMALLEST = TrainConfig(width=8, multipliers=(1,), T=2, precision="float16")
LONGEST_LINE = 500  # of a message, after the file's name

Header = dict[str, Any]


@dataclass(frozen=True)
class Good:
    """A valid checkpoint, its parts, and another one of the same config to splice it with."""

    path: Path
    kind: str
    whole: bytes
    header: bytes
    data: bytes
    other: bytes
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def file(self) -> Path:
        return checkpoint_path(self.path)


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder in memory, where there is such a thing: a disk takes longer than the loader."""
    shared = Path("/dev/shm")
    where = shared if shared.is_dir() and os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        yield Path(folder)


def good(folder: Path, kind: str) -> Good:
    """The smallest network there is, after a step on a gradient of noise."""
    state = start(SMALLEST, (1, 1, 1), ("a",), "a digest")
    generator = torch.Generator().manual_seed(0)
    path, wholes = folder / kind, list[bytes]()
    for step in (1, 2):
        for p in state.model.parameters():
            p.grad = torch.randn(p.shape, generator=generator)
        state.optimizer.step()
        state.ema.update_parameters(state.model)
        file = (save if kind == "model" else save_state)(path, replace(state, step=step, loss=0.5))
        wholes.append(file.read_bytes())
    other, whole = wholes
    metadata, _, tensors = checkpoint._read(path, kind, None)
    begin = 8 + int.from_bytes(whole[:8], "little")
    return Good(
        path=path,
        kind=kind,
        whole=whole,
        header=whole[8:begin],
        data=whole[begin:],
        other=other,
        metadata=metadata,
        tensors={name: tensor.clone() for name, tensor in tensors.items()},
    )


@lru_cache(maxsize=16)
def _network(*described: Any) -> UNet:
    return _unet_of(*described)


_unet_of = UNet.of


def quick_networks() -> Any:
    """Networks described before are taken again; building one takes longer than all the rest.

    None is changed here: `load` would fill it, and `_read`, which is what is tried, does not.
    """
    return mock.patch.object(checkpoint.UNet, "of", _network)


def outcome(good: Good) -> str:
    """`refused` or `true`, of what stands in the place of the good checkpoint now.

    Raises:
        AssertionError: where it is neither.
    """
    try:
        metadata, _, tensors = checkpoint._read(good.path, good.kind, None)
    except DataError as error:
        line = str(error)
        name, rest = line[: len(str(good.file))], line[len(str(good.file)) :]
        assert name == str(good.file) and rest.isprintable() and len(rest) < LONGEST_LINE, line
        return "refused"
    assert metadata == good.metadata and tensors.keys() == good.tensors.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == good.tensors[name].dtype, name
        assert torch.equal(tensor, good.tensors[name]), name
    return "true"


# Ways to damage a file. Each returns all of its bytes.


def bytes_flipped(good: Good, rng: np.random.Generator) -> bytes:
    """One bit to eight bytes, in the header as often as in the numbers."""
    damaged = bytearray(good.whole)
    for _ in range(rng.integers(1, 9)):
        damaged[_place(good, rng)] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def numbers_changed(good: Good, rng: np.random.Generator) -> bytes:
    """One to eight bytes of the tensors: nothing but the digest can tell."""
    damaged = bytearray(good.whole)
    for _ in range(rng.integers(1, 9)):
        place = len(good.whole) - 1 - int(rng.integers(len(good.data)))
        damaged[place] = (damaged[place] + int(rng.integers(1, 256))) % 256
    return bytes(damaged) if damaged != good.whole else numbers_changed(good, rng)


def bytes_moved(good: Good, rng: np.random.Generator) -> bytes:
    """A piece put in, left out, put elsewhere, or two pieces exchanged."""
    whole, size = good.whole, int(rng.integers(1, 33))
    a, b = sorted((_place(good, rng), _place(good, rng)))
    match int(rng.integers(4)):
        case 0:
            return whole[:a] + rng.bytes(size) + whole[a:]
        case 1:
            return whole[:a] + whole[a + size :]
        case 2:
            return whole[:b] + whole[a : a + size] + whole[b:]
        case _:
            x, y = whole[a : a + size], whole[b : b + size]
            return whole[:a] + y + whole[a + size : b] + x + whole[b + size :]


def files_spliced(good: Good, rng: np.random.Generator) -> bytes:
    """The beginning of one checkpoint and the end of another that has the same settings."""
    place = _place(good, rng)
    first, second = (good.whole, good.other) if rng.integers(2) else (good.other, good.whole)
    spliced = first[:place] + second[place:]
    return spliced if spliced != good.other else files_spliced(good, rng)


def cut(good: Good, rng: np.random.Generator) -> bytes:
    """The end is missing, or the beginning."""
    place = _place(good, rng)
    return good.whole[:place] if rng.integers(4) else good.whole[place:]


def header_edited(good: Good, rng: np.random.Generator) -> bytes:
    """Valid JSON, of the length that is said, that lies: types, shapes, places, names, words."""
    header = json.loads(good.header)
    names = sorted(header.keys() - {"__metadata__"})
    one, two = (header[str(name)] for name in rng.choice(names, 2, replace=False))
    number = _NUMBERS[rng.integers(len(_NUMBERS))]
    match int(rng.integers(9)):
        case 0:
            one["dtype"] = str(rng.choice(["F64", "I64", "F16", "BF16", "U8", "F4", "object"]))
        case 1:
            one["shape"] = [*one["shape"], number][-int(rng.integers(1, 3)) :]
        case 2:
            one["data_offsets"][rng.integers(2)] = number
        case 3:
            one["data_offsets"], two["data_offsets"] = two["data_offsets"], one["data_offsets"]
        case 4:
            header[str(rng.choice(["x", "", "a\nb", *names]))] = header.pop(names[0])
        case 5:
            header["__metadata__"] = rng.choice([None, "x", 3, {}, {"minicfg": 3}, {"x": "y"}])
        case 6:
            about = json.loads(header["__metadata__"]["minicfg"])
            within = about["config"] if rng.integers(2) else about
            value = _VALUES[rng.integers(len(_VALUES))]
            within[str(rng.choice(["x\n", *within]))] = value
            header["__metadata__"]["minicfg"] = json.dumps(about, indent=2) + "\n"
        case 7:
            text = header["__metadata__"]["minicfg"]
            place = int(rng.integers(len(text)))
            header["__metadata__"]["minicfg"] = (
                text[:place] + chr(rng.integers(1, 0x300)) + text[place + int(rng.integers(2)) :]
            )
        case _:
            written = json.dumps(header).encode()
            name = names[rng.integers(len(names))]
            again = json.dumps({name: header[name] | {"shape": [number]}}).encode()
            return _joined(again[:-1] + b"," + written[1:], good.data)
    return _joined(json.dumps(header).encode(), good.data)


_NUMBERS = (-1, 0, 1, 2, 7, 8, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64 - 1, 2**64, 0.5, None, "8")
_VALUES = (*_NUMBERS, True, [], [1] * 99, {}, {"a": {}}, 1e308, float("nan"), "é\x1b[31m", 10**4000)

WAYS = (bytes_flipped, numbers_changed, bytes_moved, files_spliced, cut, header_edited)


def _place(good: Good, rng: np.random.Generator) -> int:
    """In the length, the header or the numbers."""
    begin = 8 + len(good.header)
    low, high = ((0, 8), (8, begin), (begin, len(good.whole)))[rng.choice(3, p=[0.1, 0.5, 0.4])]
    return int(rng.integers(low, high))


def _joined(header: bytes, data: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def fuzz(good: Good, n: int, seed: int) -> Counter[tuple[str, str]]:
    """Damage `n` copies, and count how many were refused and how many true for each way."""
    rng, counts = np.random.default_rng(seed), Counter[tuple[str, str]]()
    with quick_networks():
        for _ in range(n):
            way = WAYS[rng.integers(len(WAYS))]
            good.file.write_bytes(way(good, rng))
            counts[way.__name__, outcome(good)] += 1
    return counts


def truncated_everywhere(good: Good, every: int = 1) -> int:
    """Cut the file at each of its bytes, or in the numbers at every so many; how many cuts."""
    good.file.write_bytes(good.whole)
    begin = 8 + len(good.header)
    places = [*range(len(good.whole) - 1, begin, -every), *range(begin, -1, -1)]
    for place in places:
        with good.file.open("r+b") as stream:
            stream.truncate(place)
        assert outcome(good) == "refused", place
    return len(places)


def main() -> None:
    """Fuzz both kinds and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    counts, began = Counter[tuple[str, str]](), time.monotonic()
    with in_memory() as folder:
        goods = [good(folder, kind) for kind in ("model", "state")]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for done in range(0, given.n, 10_000):
            n = min(10_000, given.n - done)
            # A state's file is five times as long, and takes as much longer.
            for k, (one, share) in enumerate(zip(goods, (n - n // 5, n // 5), strict=True)):
                counts += fuzz(one, share, given.seed + 2 * done + k)
            print(f"\r{sum(counts.values())}", end="", file=sys.stderr, flush=True)
        cuts = sum(truncated_everywhere(one) for one in goods)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print()
    for (way, found), count in sorted(counts.items()):
        print(f"{way:16} {found:8} {count:8}")
    print(f"{sum(counts.values())} damaged, {cuts} cuts, in {time.monotonic() - began:.0f} s")
    print(f"memory grew by {grown:.0f} MiB")


if __name__ == "__main__":
    main()
