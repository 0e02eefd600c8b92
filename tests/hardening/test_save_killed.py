"""A save survives being killed, a full disk and a folder that turns read-only: nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minicfg.cli import train as runs
from minicfg.cli.options import SavingOptions
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.errors import DataError, MachineError
from minicfg.io.atomic import check_writable
from minicfg.io.checkpoint import load, save
from minicfg.training import TrainState, start
from tests.hardening.fuzz_loader import SMALLEST
from tests.hardening.kill_save import save_step, step_of
from tests.minicfg.logs import log_without_times

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is killed by forking it first")
@pytest.mark.parametrize("n", [30, pytest.param(100, marks=pytest.mark.exhaustive)])
def test_kills_lose_nothing(n: int, tmp_path: Path) -> None:
    """One kill comes at each step of a save, the others at random; the script checks the files."""
    command = [sys.executable, "-m", "tests.hardening.kill_save", "--n", str(n)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    half, new = zip(*outcome["steps"], strict=True)
    # The steps are: open, three pieces, fsync, rename, fsync of the folder, and an unlink that
    # removes what a failed save would have left. A kill comes before its step is taken.
    assert len(half) == 8
    # The old checkpoint is in place until the rename, and the new one afterwards.
    assert list(new) == [False] * 6 + [True] * 2
    assert list(half) == [0] + [1] * 5 + [0] * 2
    at_random = n - len(half)
    # How many of these leave a file half written depends on the disk, so no number is demanded: the
    # steps above have shown that a kill at each moment of a save is harmless.
    assert outcome["random"]["kills"] == at_random


@pytest.fixture
def state() -> TrainState:
    return start(SMALLEST, (1, 1, 1), ("a",))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return `disk(options)`, which mounts a small disk in memory, or remounts it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def mount(options: str) -> Path:
        nonlocal mounted
        options = f"remount,{options}" if mounted else options
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no program `mount` to make a small disk with")
        if done.returncode:
            pytest.skip(f"only root may mount a small disk: {done.stderr.strip()}")
        mounted = True
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_leaves_what_was_saved(state: TrainState, disk: Callable[[str], Path]) -> None:
    """The file has 34 kB, so a disk of 64 kB has no room for a second one beside it."""
    path = disk("size=64k") / "model"
    save_step(path, state, 1)
    with pytest.raises(MachineError, match=r"No space left on device.*: free some space") as error:
        save_step(path, state, 2)
    assert "\n" not in str(error.value)
    assert step_of(path) == 1 and load(path).step == 1
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]
    disk("size=128k")
    save_step(path, state, 3)
    assert step_of(path) == 3


def test_folder_that_turns_read_only_is_named(
    state: TrainState, disk: Callable[[str], Path]
) -> None:
    path = disk("size=1m") / "model"
    save_step(path, state, 1)
    disk("ro")
    with pytest.raises(MachineError, match="Read-only file system"):
        save_step(path, state, 2)
    with pytest.raises(MachineError, match=r"cannot be written to \(Read-only file system"):
        check_writable(path.parent)
    assert step_of(path) == 1
    disk("rw")
    save_step(path, state, 2)
    assert step_of(path) == 2


@pytest.mark.slow
def test_training_goes_on_after_a_save_that_failed(
    disk: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Saves on the way fail, and are said to; the last one fails the run.

    It goes on from a whole state when there is room, and is then the run that never lacked any.
    """
    config = TrainConfig(width=8, multipliers=(1,), T=4, steps=6, batch=2)
    data = Dataset(
        torch.linspace(-1, 1, 64).reshape(4, 1, 4, 4), torch.arange(4) % 2, ("a", "b"), "4"
    )
    saving = SavingOptions(save_every=1)
    (tmp_path / "whole").mkdir()
    whole, _ = runs.run_training(data, config, tmp_path / "whole", saving=saving)
    one = (tmp_path / "whole/state.safetensors").stat().st_size // 1024

    out = disk(f"size={one + one // 2}k")
    with pytest.raises(MachineError, match=r"No space left on device"):
        runs.run_training(data, config, out, saving=saving)
    said = capfd.readouterr().err.splitlines()
    assert sum("cannot be saved (No space left on device)" in line for line in said) == 4
    assert all(line.endswith("training goes on") for line in said if "cannot" in line)
    assert not list(out.glob("*.tmp"))
    begun = runs.load_state(out / "state")
    assert begun.step == 1  # 2 to 5 found no room beside it

    disk(f"size={20 * one}k")
    ended, _ = runs.run_training(data, config, out, begun, saving=saving)
    assert (ended.step, ended.loss) == (whole.step, whole.loss)
    for name in ("state.safetensors", "model.safetensors"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert log_without_times(out) == log_without_times(tmp_path / "whole")


def test_stale_files_are_never_read(state: TrainState, tmp_path: Path) -> None:
    """A complete temporary file of a process that was killed before the rename does not count."""
    path = tmp_path / "model"
    save_step(path, state, 1)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    (tmp_path / "model.safetensors").rename(tmp_path / f".minicfg-{ended.pid}.tmp")
    with pytest.raises(DataError, match=r"model\.safetensors is not there"):
        load(path)
    save(path, replace(state, step=2))
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
