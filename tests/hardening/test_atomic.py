"""A file is written completely or not at all, also on a full disk; one run at a time per folder."""

from __future__ import annotations

import ast
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from minicfg.cli import train as runs
from minicfg.cli.main import main
from minicfg.cli.train import run_training
from minicfg.config import TrainConfig
from minicfg.datasets.load import load_data
from minicfg.errors import MachineError
from minicfg.io import atomic
from minicfg.io.atomic import lock_folder, write_atomic
from minicfg.viz import plots
from minicfg.viz.page import Picture, write_report
from tests.minicfg.forked import Child, forked

ROOT = Path(__file__).parents[2]
TINY = ["--steps", "2", "--batch", "8", "--width", "8", "--multipliers", "1", "2"]
IMAGES = torch.zeros(1, 1, 1, 8, 8)
GRID = plots.image_grid(IMAGES, ["a"], ["b"], "c")
STOPS = [("w = 0", Picture(plots.png_bytes(GRID), ""))]
WRITERS: dict[str, Callable[[Path], object]] = {
    "bytes": lambda path: write_atomic(path, bytes(10_000)),
    "a picture": lambda path: plots.save_figure(GRID, path),
    "a film": lambda path: plots.denoising_gif([(1, IMAGES)] * 2, path),
    "a page": lambda path: write_report(
        path, title="", sentences=(), stops=STOPS, pictures=(), made={}
    ),
}


@contextmanager
def full() -> Iterator[None]:
    """Limit files to 300 bytes, so that a write fails in its middle, as on a full disk."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limits there")
@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_write_that_fails_leaves_what_was(
    write: Callable[[Path], object], there: bool, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    if there:
        path.write_text("what was")
    with full(), pytest.raises(MachineError, match=r"x cannot be saved \(File too large\)"):
        write(path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["what was"] * there
    write(path)
    assert [file.name for file in tmp_path.iterdir()] == ["x"] and path.stat().st_size > 300


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limits there")
@pytest.mark.parametrize("name", ["x.png", "x.npz", "x.gif"])
def test_a_full_disk_is_exit_code_4(
    name: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["sample", str(trained / "model"), "--out", str(tmp_path / name), "--steps", "2"]
    monkeypatch.setattr(sys, "argv", ["minicfg", *given])
    with full(), pytest.raises(SystemExit, match="4"):
        main()
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and "File too large" in err
    assert not list(tmp_path.iterdir())


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "x").symlink_to("there/y")
    for content in (b"one", b"two"):
        write_atomic(tmp_path / "x", content)
        assert (tmp_path / "there/y").read_bytes() == content
    assert (tmp_path / "x").is_symlink() and len(list(tmp_path.rglob("*"))) == 3


def test_a_device_stays_one() -> None:
    """Root could replace /dev/null by a file."""
    before = os.stat(os.devnull)
    with pytest.raises(MachineError, match="is a folder or a device: choose another name"):
        write_atomic(os.devnull, b"x")
    assert os.stat(os.devnull).st_mode == before.st_mode


def test_the_longest_name_is_no_longer_on_the_way(tmp_path: Path) -> None:
    write_atomic(tmp_path / ("a" * 255), b"x")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.name != "posix", reason="only POSIX can tell whether a process runs")
def test_leftovers_of_processes_that_have_ended_are_removed(tmp_path: Path) -> None:
    """A temporary file of a process that runs may be half written by it, so it must stay."""
    with forked(lambda child: 0) as ended:
        assert ended.code() == 0
    stale = tmp_path / f".minicfg-{ended.pid}.tmp"
    running = tmp_path / f".minicfg-{os.getppid()}.tmp"
    other = tmp_path / ".minicfg-notes.tmp"
    for file in (stale, running, other):
        file.write_bytes(b"half")
    write_atomic(tmp_path / "x", b"x")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [running.name, other.name, "x"]
    )
    assert running.read_bytes() == b"half"


# The other modules that open a file to write: write_atomic itself; the log, line by line, and
# TensorBoard's own; and a file in /proc that resets the high-water mark of memory.
ELSEWHERE = {"atomic.py", "run_folder.py", "costs.py"}


def test_nothing_is_written_otherwise() -> None:
    """By what would: an open to write, a method that writes."""
    found = list[str]()
    for file in sorted((ROOT / "minicfg").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name, said = node.func.attr, ast.unparse(node)
            opens = name in ("open", "fdopen") and any(f"'{m}" in said for m in "wax")
            figure = name == "savefig" and "buffer" not in said
            if opens or figure or name in ("write_text", "write_bytes", "save_file", "tofile"):
                found.append(f"{file.name}: {said}")
    assert {line.split(":")[0] for line in found} <= ELSEWHERE, found
    assert found  # so that something is looked for


# One run at a time


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of two steps."""
    out = tmp_path_factory.mktemp("trained")
    run_training(
        load_data("digits"),
        TrainConfig(data="digits", steps=2, batch=8, width=8, multipliers=(1,)),
        out,
    )
    return out


def holds(folder: Path) -> Callable[[Child], int]:
    def work(child: Child) -> int:
        with lock_folder(folder) as free:
            child.say(f"{free}")
            time.sleep(60)
        return 0

    return work


@pytest.mark.parametrize("command", ["train", "evaluate", "sweep", "demo"])
def test_a_folder_that_is_written_is_not_written_twice(
    command: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    what = {"train": TINY, "demo": []}.get(command, [str(trained / "model")])
    given = [command, *what, "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["minicfg", *given])
    with forked(holds(tmp_path)) as child:
        child.wait_for("True")
        with pytest.raises(SystemExit, match="2"):
            main()
    err = capsys.readouterr().err
    assert err == (
        f"minicfg: --out {tmp_path}: another process is writing into this folder; "
        "wait until it ends, or choose another folder.\n"
    )
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_held_is_free(tmp_path: Path) -> None:
    with forked(holds(tmp_path)) as child:
        child.wait_for("True")
        with lock_folder(tmp_path) as free:
            assert not free
        child.send(signal.SIGKILL)
        assert child.code() == -signal.SIGKILL
        with lock_folder(tmp_path) as free, lock_folder(tmp_path) as again:
            assert (free, again) == (True, False)
    assert not list(tmp_path.iterdir())


def test_without_locks_every_folder_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    with lock_folder(tmp_path):
        monkeypatch.setattr("fcntl.flock", none)
        with lock_folder(tmp_path) as free:
            assert free
        monkeypatch.setattr(atomic, "fcntl", None)
        with lock_folder(tmp_path) as free:
            assert free


@pytest.mark.usefixtures("trained")  # It imports what a run needs before the processes are forked.
def test_of_two_that_start_at_once_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither finds a run when it looks, and then both try to take the folder.

    The second one is refused by the lock. If it comes after the first one has ended, it is refused
    because of the run that the first one left.
    """
    out = tmp_path / "run"
    monkeypatch.setattr(runs, "_write_report", lambda *_: "")

    def run(child: Child) -> int:
        load = runs.load_data

        def waiting(*given: Any, **options: Any) -> object:
            child.say("looked")
            child.wait_for_go()
            return load(*given, **options)

        runs.load_data = waiting  # pyright: ignore[reportAttributeAccessIssue]
        sys.argv = ["minicfg", "train", *TINY, "--out", str(out)]
        main()
        return 0

    with forked(run) as one, forked(run) as other:
        for child in (one, other):
            child.wait_for("looked")
        one.go()
        other.go()
        codes = sorted((one.code(), other.code()))
    assert codes == [0, 2], one.said() + other.said()
    # Removed before the two are forked, because they look for it as soon as they start.
    (out / "state.safetensors").unlink()
    with forked(run) as late, forked(run) as first:
        for child in (late, first):
            child.wait_for("looked")
        first.go()
        assert first.code() == 0
        late.go()
        assert late.code() == 2 and "a run that has just ended" in late.said()


def test_pictures_are_whole(tmp_path: Path) -> None:
    WRITERS["a picture"](tmp_path / "x.png")
    Image.open(tmp_path / "x.png").verify()
