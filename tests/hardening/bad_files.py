"""Bad files by kind, each with the expected message, and a function that writes them all."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

rng = np.random.default_rng(0)
X = (2 * rng.random((6, 8, 8)) - 1).astype(np.float32)
Y = np.array([0, 1] * 3)
GREY = np.zeros((9, 9), np.uint8)

Make = Callable[[Path], object]  # It creates a file or a folder at that path.


def npz(**arrays: Any) -> Make:
    """An .npz of X and Y, with these instead."""

    def make(path: Path) -> None:
        given = {"x": X, "y": Y} | arrays
        np.savez(path, **{k: a for k, a in given.items() if a is not None})  # pyright: ignore

    return make


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def headed(text: str) -> bytes:
    """An .npy file of this header, and nothing after it."""
    head = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


def header(descr: str, shape: str) -> Make:
    """An .npz whose x says so."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"
    return zipped({"x.npy": headed(text), "y.npy": npy(Y)})


def zipped(members: dict[str, bytes], harm: Callable[[bytearray], object] | None = None) -> Make:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        content = bytearray(path.read_bytes())
        if harm:
            harm(content)
        path.write_bytes(content)

    return make


def flag(first: int, central: int, value: int) -> Callable[[bytearray], None]:
    """Change a byte in the first member's two headers."""

    def harm(content: bytearray) -> None:
        content[first] = content[content.find(b"PK\1\2") + central] = value

    return harm


WHOLE = {"x.npy": npy(X), "y.npy": npy(Y)}


def twice(path: Path) -> None:
    zipped(WHOLE | {"z.npy": npy(X)})(path)
    path.write_bytes(path.read_bytes().replace(b"z.npy", b"x.npy"))


def images(n: int, h: int, w: int, held: int | None = None) -> bytes:
    size = n * h * w if held is None else held
    return b"\0\0\x08\3" + struct.pack(">III", n, h, w) + bytes(size)


def labels(n: int) -> bytes:
    return b"\0\0\x08\1" + struct.pack(">I", n) + bytes(n)


def idx(of_images: bytes | None, of_labels: bytes | None, suffix: str = "") -> Make:
    def make(path: Path) -> None:
        path.mkdir()
        for stem, content in (
            ("train-images-idx3-ubyte", of_images),
            ("train-labels-idx1-ubyte", of_labels),
        ):
            if content is not None:
                (path / f"{stem}{suffix}").write_bytes(content)

    return make


def picture(array: np.ndarray = GREY, form: str = "PNG", **given: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, form, **given)
    return stream.getvalue()


def png(width: int, height: int, data: bytes = b"", extra: bytes = b"") -> bytes:
    """A grey PNG that says it is so large, whatever it holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    size = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    text = chunk(b"zTXt", extra) if extra else b""
    body = chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + size + text + body


def beside(name: str, content: bytes | Make, kind: str = "a") -> Make:
    """A folder of one good picture and, in one of its classes, this."""

    def make(path: Path) -> None:
        (path / "a").mkdir(parents=True)
        (path / "a/good.png").write_bytes(picture())
        target = path / kind / name
        target.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            content(target)

    return make


def several(path: Path) -> None:
    beside("a.txt", b"hello")(path)
    (path / "a/b.txt").write_bytes(b"hello")
    (path / "x.png").write_bytes(picture())


def forty(path: Path) -> None:
    beside("00.txt", b"hello")(path)
    for i in range(1, 40):
        (path / f"a/{i:02}.txt").write_bytes(b"hello")


def link(to: str) -> Make:
    return lambda path: path.symlink_to(to)


def not_text(path: Path) -> None:
    beside("good.png", picture())(path)
    os.rename(path / "a", os.fsencode(path) + b"/\xff")


FRAMES = [Image.fromarray(np.full((9, 9), 50 * i, np.uint8)) for i in range(3)]
NOISE, JPEG = (picture(rng.integers(0, 255, (40, 40, 3), np.uint8), f) for f in ("PNG", "JPEG"))
OBJECTS = "contains Python objects"

# What --data names, how it is made, and what is said of it.
FILES: dict[str, dict[str, tuple[Make, str]]] = {
    "IDX files with lying sizes": {
        "idx:huge": (idx(images(2**32 - 1, 2**32 - 1, 9, 0), labels(2)), "more than 8 GiB"),
        "idx:fewer": (
            idx(images(2, 8, 8, 5), labels(2)),
            r"more or fewer bytes than its shape \(2, 8, 8\)",
        ),
        "idx:more": (
            idx(images(2, 8, 8, 500), labels(2)),
            r"more or fewer bytes than its shape \(2, 8, 8\)",
        ),
        "idx:unlike": (idx(images(2, 8, 8), labels(3)), "2 images and 3 labels"),
        "idx:flat": (idx(images(2, 0, 0), labels(2)), r"\(2, 1, 0, 0\)"),
    },
    "IDX files that are none": {
        "idx:alone": (idx(images(2, 8, 8), None), "train-labels-idx1-ubyte is not there"),
        "idx:blank": (idx(b"", labels(2)), "does not begin as an IDX file"),
        "idx:floats": (idx(b"\0\0\x0d\3" + images(2, 8, 8)[4:], labels(2)), "does not begin as"),
        "idx:swapped": (idx(images(2, 8, 8), images(2, 8, 8)), "of bytes in 1 dimensions"),
        "idx:plain": (idx(images(2, 8, 8), labels(2), ".gz"), "is damaged .Not a gzipped"),
        "idx:torn": (idx(gzip.compress(images(2, 8, 8))[:30], b"", ".gz"), "is damaged"),
    },
    "arrays of objects": {
        "npz:objects.npz": (npz(y=Y.astype(object)), OBJECTS),
        "npz:object_header.npz": (header("'O'", "(6, 8, 8)"), OBJECTS),
        "npz:hidden_objects.npz": (header("[('a', 'O')]", "(6,)"), OBJECTS),
        "npz:code.npz": (header("__import__('os').abort()", "(6,)"), "malformed node"),
    },
    "arrays with lying headers": {
        "npz:huge.npz": (header("'<f4'", "(1000000000, 1000)"), "more than 8 GiB"),
        "npz:absurd.npz": (header("'<f4'", "(99999999999999999999, 8)"), "more than 8 GiB"),
        "npz:less.npz": (header("'<f4'", "(6, 8, 8)"), "has fewer bytes than its shape"),
        "npz:negative.npz": (header("'<f4'", "(-1, 8, 8)"), "x.npy"),
        "npz:spam.npz": (header("'spam'", "(6, 8, 8)"), "not a valid dtype"),
        "npz:open.npz": (
            zipped({"x.npy": headed("(((("), "y.npy": npy(Y)}),
            "cannot be read .*save it again",
        ),
    },
    "archives": {
        "npz:empty.npz": (zipped({}), "contains nothing: save the arrays under the names x and y"),
        "npz:none_inside.npz": (npz(y=None), "contains x: save the arrays under the names x and y"),
        "npz:cut.npz": (zipped(WHOLE, lambda b: b.__delitem__(slice(200, None))), "is damaged"),
        "npz:locked.npz": (zipped(WHOLE, flag(6, 8, 1)), "encrypted.*save it again"),
        "npz:packed.npz": (zipped(WHOLE, flag(8, 10, 99)), "compression.*save it again"),
        "npz:twice.npz": (twice, "contains an array twice"),
        "npz:text.npz": (lambda path: path.write_text("no archive"), "not a zip file"),
    },
    "arrays of the wrong shape or type": {
        "npz:one.npz": (npz(x=X[0]), r"x is float32 \(8, 8\)"),
        "npz:int32.npz": (npz(x=X.astype(np.int32)), "x is int32"),
        "npz:uint16.npz": (npz(x=X.astype(np.uint16)), "x is uint16"),
        "npz:complex.npz": (npz(x=X * 1j), "x is complex"),
        "npz:channels.npz": (npz(x=X[:, None].repeat(5, 1)), "5 channels: .* with 1 to 4"),
        "npz:records.npz": (npz(x=np.zeros(6, [("a", "f4")])), "x is "),
    },
    "values that are not finite, or out of range": {
        "npz:nan.npz": (npz(x=X * np.nan), "x holds nan..nan: .*finite values in -1..1"),
        "npz:inf.npz": (npz(x=X + np.inf), "inf: .*finite values"),
        "npz:bytes.npz": (npz(x=X * 255), "finite values in -1..1"),
        "npz:unit.npz": (npz(x=(X + 1) / 2), r"x holds 0.\d+..0.\d+, but black is -1"),
        "npz:float64.npz": (npz(x=X * np.float64(1e300)), "inf: .*finite values"),
    },
    "labels of images": {
        "npz:minus.npz": (npz(y=-Y), "y holds -1..0: labels are 0..0"),
        "npz:real.npz": (npz(y=Y * 1.0), "y is float64"),
        "npz:far.npz": (npz(y=Y * 10**6), "y goes up to 1000000: .* at most 9999"),
        "npz:wrapped.npz": (npz(y=np.full(6, 2**64 - 1, np.uint64)), "y goes up to -1"),
        "npz:short.npz": (npz(y=Y[:3]), r"y is torch.int64 \(3,\)"),
    },
    "names of classes": {
        "npz:few.npz": (npz(classes=["a"]), "y holds 0..1: labels are 0..0"),
        "npz:same.npz": (npz(classes=["a", "a"]), "all names different"),
        "npz:numbers.npz": (npz(classes=[1, 2]), "classes is int64"),
        "npz:surrogate.npz": (npz(classes=["a\udcff", "b"]), "is not valid UTF-8 text: rename it"),
        "folder:not_text": (not_text, "is not valid UTF-8 text: rename it"),
    },
    "no images, or none of a class": {
        "npz:nothing.npz": (npz(x=X[:0], y=Y[:0]), r"y is int64 \(0,\)"),
        "idx:no_images": (idx(images(0, 8, 8), labels(0)), "0 images and 0 labels"),
        "npz:from_1.npz": (npz(y=Y + 1), r"no image has the label 0: .* save y - 1 in"),
        "folder:nothing": (lambda path: path.mkdir(), "no images"),
        "folder:hollow": (beside("b", lambda path: path.mkdir(), "."), "no images of b"),
        "folder:hidden": (beside(".x.png", picture(), "b"), "no images of b"),
    },
    "folders with something else in them": {
        "folder:notes": (beside("notes.txt", b"hello"), "notes.txt is not an image file"),
        "folder:loose": (beside("x.png", picture(), "."), "x.png is not a folder"),
        "folder:nested": (beside("x.png", lambda path: path.mkdir()), "x.png is not an image file"),
        "folder:piped": (beside("x.png", os.mkfifo), "x.png is not an image file"),
    },
    "several bad files in one folder": {
        "folder:notes_and_more": (
            several,
            "3 files in .*x.png is not a folder.*; .*a.txt .*; .*b.txt ",
        ),
        "folder:forty": (forty, r"40 files in .*/a/00.txt is .*/a/04.txt is [^;]* and 35 more \("),
    },
    "links out of a folder": {
        "folder:link": (beside("x.png", link("../../good/a/good.png")), "leads out of"),
        "folder:device": (beside("x.png", link("/dev/zero")), "leads out of"),
        "folder:class": (beside("b", link("../good/a"), "."), "leads out of"),
        "folder:round": (beside("x.png", link("x.png")), "x.png is not an image file"),
        "folder:dangling": (beside("x.png", link("gone.png")), "x.png is not an image file"),
    },
    "pictures that are damaged": {
        "folder:jpeg": (beside("x.jpg", JPEG[: len(JPEG) // 2]), "x.jpg cannot be read"),
        "folder:png": (beside("x.png", NOISE[: len(NOISE) // 2]), "x.png cannot be read"),
        "folder:zeros": (
            beside("x.png", bytes(100)),
            "x.png is not a PNG, JPEG, WebP or BMP image",
        ),
        "folder:no_bytes": (beside("x.png", b""), "x.png is not a PNG, JPEG, WebP or BMP image"),
        "folder:no_width": (
            beside("x.png", png(0, 8)),
            "x.png is not a PNG, JPEG, WebP or BMP image",
        ),
    },
    "pictures that are bombs": {
        "folder:bomb": (beside("x.png", png(60000, 60000, bytes(1000))), "x.png cannot be read"),
        "folder:big": (
            beside("x.png", png(9000, 9000, bytes(1000))),
            "9000x9000 pixels, and at most",
        ),
        "folder:hollow_bomb": (beside("x.png", png(8000, 8000, bytes(9))), "truncated"),
        "folder:text": (
            beside("x.png", png(9, 9, bytes(90), b"a\0\0" + zlib.compress(bytes(2**24)))),
            "too large",
        ),
    },
    "pictures of another format": {
        "folder:gif": (
            beside("x.png", picture(form="GIF", save_all=True, append_images=FRAMES)),
            "x.png is not a PNG, JPEG, WebP or BMP image",
        ),
        "folder:pdf": (
            beside("x.jpg", picture(form="PDF")),
            "x.jpg is not a PNG, JPEG, WebP or BMP image",
        ),
        "folder:tiff": (beside("x.tif", picture(form="TIFF")), "x.tif is not an image file"),
    },
}


def make_all(root: Path) -> None:
    """Every bad file, and what else the table names, beside a run's `model` and `state`."""
    for files in FILES.values():
        for spec, (make, _) in files.items():
            make(root / spec.partition(":")[2])
    beside("x.png", picture())(root / "good")
    npz(x=X[:, :7, :7])(root / "odd.npz")
    for name in ("folder.png", "folder.safetensors", "broken"):
        (root / name).mkdir()
    for name in ("fifo", "fifo.png", "fifo.safetensors"):
        os.mkfifo(root / name)
    for name in ("zero.png", "zero.safetensors"):
        (root / name).symlink_to("/dev/zero")
    for name in ("loop", "loop.safetensors"):
        (root / name).symlink_to(name)
    (root / "file").write_text("")
    model, state = ((root / f"{name}.safetensors").read_bytes() for name in ("model", "state"))
    (root / "half.safetensors").write_bytes(model[: len(model) // 2])
    (root / "flipped.safetensors").write_bytes(model[:-9] + bytes([model[-9] ^ 1]) + model[-8:])
    (root / "text.safetensors").write_text("weights")
    (root / "broken/state.safetensors").write_bytes(state[:-1])
