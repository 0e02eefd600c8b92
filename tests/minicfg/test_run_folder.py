"""What a run leaves behind: its log, its models, its pictures; and runs of two processes."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from minicfg import load
from minicfg.cli import train as command
from minicfg.cli.main import Evaluate, Sample, Sweep, Train, parse_command
from minicfg.cli.options import SavingOptions
from minicfg.cli.real_images import classes_with_few_images
from minicfg.cli.run_folder import open_log, read_log
from minicfg.cli.train import run_train, run_training
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.datasets.load import load_data
from minicfg.distributed import Ranks
from minicfg.errors import MachineError, UsageError
from minicfg.io.checkpoint import load_state, save_state
from minicfg.training import TrainState, learning_rate, start, train_steps
from tests.minicfg.headers import metadata_of
from tests.minicfg.logs import log_without_times

# Sums, and so last bits, depend on the number of threads; here it is 1, as in the tests.
ENV = os.environ | {"OMP_NUM_THREADS": "1"}
TINY = TrainConfig(data="digits", steps=12, batch=10, width=8, multipliers=(1, 2), seed=3)
FLAGS = ["--steps", "12", "--batch", "10", "--width", "8", "--multipliers", "1", "2", "--seed", "3"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve steps that kept what it could."""
    out = tmp_path_factory.mktemp("whole")
    assert run_train(out, TINY, resume=False, saving=SavingOptions(3, 2, 5)) == 0
    return out


def test_a_run_leaves_its_log_models_and_pictures(whole: Path) -> None:
    log = log_without_times(whole)
    assert [line["step"] for line in log] == list(range(1, 13))
    assert all(line["loss"] > 0 and 0 < line["lr"] <= TINY.lr for line in log)
    kept = sorted(path.name for path in (whole / "kept").iterdir())
    names = [f"step-{step:07d}" for step in (6, 9)]  # the last two before the end
    assert kept == [f"{name}.safetensors" for name in names]
    assert load(whole / "kept/step-0000009").step == 9
    pictures = sorted(path.name for path in (whole / "samples").iterdir())
    assert pictures == [f"step-{step:07d}.png" for step in (5, 10, 12)]
    for path in [whole / "loss.png", *(whole / "samples").iterdir()]:
        Image.open(path).verify()


@pytest.mark.exhaustive
def test_a_run_killed_outright_goes_on_with_its_log(whole: Path, tmp_path: Path) -> None:
    """Killed after step 8, saved at 6: the lines of steps 7 and 8 are written again, the same."""
    out = tmp_path / "killed"
    program = (
        "import os, sys\nfrom minicfg.cli import train as command\n"
        "train_steps = command.train_steps\n"
        "def dying(*args, **kwargs):\n"
        "    for state in train_steps(*args, **kwargs):\n"
        "        yield state\n"
        "        if state.step == 8: os.kill(os.getpid(), 9)\n"
        "command.train_steps = dying\n"
        "from minicfg.cli.main import main\nmain()\n"
    )
    given = ["train", "--out", str(out), *FLAGS, "--save-every", "3"]
    died = subprocess.run([sys.executable, "-c", program, *given], capture_output=True, env=ENV)
    assert died.returncode == -signal.SIGKILL
    assert len(log_without_times(out)) == 8
    assert metadata_of(out / "state.safetensors")["step"] == 6
    assert run_train(out, TINY, resume=True) == 0
    assert log_without_times(out) == log_without_times(whole)
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


# Resuming with flags


def resume(out: Path, *flags: str) -> int:
    """`minicfg train --resume` with flags: its exit code, 0, or its error."""
    return parse_command(["train", "--out", str(out), "--resume", *flags]).run()


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three steps on data from a file, with tuples and a flag that is on."""
    root = tmp_path_factory.mktemp("short")
    x = np.random.default_rng(0).integers(0, 255, (60, 8, 8)).astype(np.uint8)
    np.savez(root / "a.npz", x=x, y=np.arange(60) % 3)
    config = replace(TINY, data=f"npz:{root}/a.npz", steps=3, prediction="v", zero_snr=True)
    assert run_train(root / "run", config, resume=False) == 0
    return root


@pytest.fixture
def copied(short: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    shutil.copytree(short / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--lr 1", "--lr 1.0 differs from 0.003, the setting of the run in .*; leave out --lr"),
        ("--batch 64 --steps 6", "--batch 64 differs from 10"),
        ("--multipliers 1", "--multipliers 1 differs from 1 2"),
        ("--no-zero-snr", "--zero-snr False differs from True"),
        ("--size 16", "--size 16 differs from 32"),
        ("--steps 2", "--steps 2 is smaller than 3, .* can only become longer"),
        ("--data toy:dots", "data = toy:dots, but the run to resume was started on other images"),
    ],
)
def test_a_flag_that_differs_from_the_run_is_refused_by_name(
    flags: str, message: str, short: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (short / "run").rglob("*")}
    with pytest.raises(UsageError, match=message):
        resume(short / "run", *flags.split())
    assert before == {path: path.stat().st_mtime_ns for path in (short / "run").rglob("*")}


def test_flags_with_the_values_of_a_finished_run_leave_nothing_to_do(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (copied / "state.safetensors").read_bytes()
    assert resume(copied, "--lr", "3e-3", "--steps", "3", "--zero-snr") == 0
    said = capsys.readouterr().out
    assert "step 3 of 3" in said
    assert "nothing was left to do; to train longer: minicfg train --out" in said
    assert "--resume --steps N, with N above 3" in said
    assert (copied / "state.safetensors").read_bytes() == before


@pytest.mark.exhaustive
def test_more_steps_extend_a_run_and_log_and_page_say_so(copied: Path) -> None:
    assert resume(copied, "--steps", "5") == 0
    log = log_without_times(copied)
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5]
    assert [line.get("extended") for line in log] == [None, None, None, [3, 5], None]
    state = load_state(copied / "state")
    assert (state.step, state.config.steps, load(copied / "model").config.steps) == (5, 5, 5)
    rates = [learning_rate(state.config, step) for step in (4, 5)]
    assert [line["lr"] for line in log[3:]] == rates  # those of the longer cycle
    page = (copied / "report.html").read_text(encoding="utf-8")
    assert "At step 4 the run was extended from 3 to 5 steps." in page
    assert "its cycle was stretched" in page
    assert resume(copied) == 0  # the longer run is now the run
    assert len(log_without_times(copied)) == 5


@pytest.mark.exhaustive
def test_data_that_moved_are_named_on_resuming(copied: Path, short: Path, tmp_path: Path) -> None:
    """The digest says whether they are the same images, wherever they are."""
    shutil.copy(short / "a.npz", tmp_path / "b.npz")
    moved = f"npz:{tmp_path}/b.npz"
    assert resume(copied, "--data", moved, "--steps", "4") == 0
    assert load_state(copied / "state").config.data == moved


def test_a_log_counts_seconds_and_images_per_second_across_resuming(copied: Path) -> None:
    assert resume(copied, "--steps", "6") == 0
    log = [json.loads(line) for line in (copied / "log.jsonl").read_text().splitlines()]
    seconds = [line["seconds"] for line in log]
    assert seconds == sorted(seconds) and seconds[0] > 0
    for before, line in pairwise(log[:3]):
        passed = line["seconds"] - before["seconds"]
        # `seconds` is rounded to 0.001
        assert abs(TINY.batch / line["images_per_second"] - passed) < 0.0011


@pytest.mark.exhaustive
def test_a_run_repeats_from_its_file_of_settings(short: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    given = ["train", "--config", str(short / "run/config.toml"), "--out", str(out)]
    assert parse_command(given).run() == 0
    for name in ("model.safetensors", "config.toml"):
        assert (out / name).read_bytes() == (short / "run" / name).read_bytes()
    # Flags override the file, also one that is on.
    command = parse_command([*given, "--no-zero-snr", "--steps", "7"])
    assert isinstance(command, Train)
    config = load_state(out / "state").config
    assert command.settings() == replace(config, zero_snr=False, steps=7)


@pytest.mark.parametrize(
    "given", [{"save_every": 0}, {"keep": -1}, {"sample_every": -5}], ids=lambda g: next(iter(g))
)
def test_what_cannot_be_kept_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(given)).replace('_', '-')} "):
        SavingOptions(**given)


def test_tensorboard_that_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MachineError, match="pip install tensorboard"):
        run_train(tmp_path, TINY, resume=False, saving=SavingOptions(tensorboard=True))


@pytest.mark.exhaustive
def test_tensorboard_holds_what_the_log_holds_once(tmp_path: Path) -> None:
    """Also where a run was killed after its last save: what it had logged since comes again."""
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="pip install tensorboard, which is missing",
    )
    data, out = load_data("digits"), tmp_path / "run"
    saving = SavingOptions(tensorboard=True)
    out.mkdir()
    for state in train_steps(data, TINY):
        if state.step == 5:
            save_state(tmp_path / "state", state)
    run_training(data, TINY, out, saving=saving)
    run_training(data, TINY, out, load_state(tmp_path / "state"), saving=saving)
    board = reader.EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    assert board.Tags()["scalars"] == ["loss", "lr"]
    for name in ("loss", "lr"):
        events = board.Scalars(name)
        assert [event.step for event in events] == list(range(1, 13))
        logged = [line[name] for line in log_without_times(out)]
        # the file holds float32
        np.testing.assert_allclose([event.value for event in events], logged, rtol=1e-6)


# The page


def test_a_run_that_is_done_leaves_its_page(whole: Path) -> None:
    text = (whole / "report.html").read_text(encoding="utf-8")
    for said in (
        *("A model of digits", "After 12 steps", "1797 images of 1 x 8 x 8, 10 classes"),
        *("w = 0", "w = 4", "3 samples of each class", "ddpm, 25 steps, seed 3", "steps 1 to 12"),
        *("after step 5.", "after step 12.", "batch 10", str(whole / "model.safetensors")),
    ):
        assert said in text
    assert text.count("<img") == 4 + 1 + 3  # a grid for each w, the loss, the way
    assert "<h2>Scores" not in text  # there are none
    commands = [shlex.split(c) for c in re.findall("<code>minicfg (.*?)</code>", text)]
    parsed = [parse_command(arguments) for arguments in commands]
    assert [type(command) for command in parsed] == [Sample, Evaluate, Sweep]
    assert {command.checkpoint for command in parsed} == {whole / "model"}  # pyright: ignore


@pytest.mark.exhaustive
def test_commands_of_the_page_of_a_short_schedule_run(tmp_path: Path) -> None:
    """With T below 50, the default of --steps would be refused."""
    assert run_train(tmp_path, replace(TINY, T=20, steps=1), resume=False) == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    commands = [shlex.split(c) for c in re.findall("<code>minicfg (.*?)</code>", text)]
    steps = [parse_command(arguments).steps for arguments in commands]  # pyright: ignore
    assert steps == [20, 20, (20,)]


def test_pictures_on_the_way_show_at_most_ten_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.zeros((24, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(24) % 12)
    data = load_data(f"npz:{tmp_path}/a.npz")
    shown = list[tuple[int, ...]]()

    def grid(x: torch.Tensor, *given: Any) -> Any:
        shown.append((*x.shape[:2], len(given[1])))
        return image_grid(x, *given)

    image_grid = command.plots.image_grid
    monkeypatch.setattr(command.plots, "image_grid", grid)
    run_training(data, replace(TINY, steps=1), tmp_path, saving=SavingOptions(sample_every=1))
    assert shown == [(2, 10, 10)]


def test_a_run_that_was_stopped_leaves_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(*given: Any, **named: Any) -> Iterator[TrainState]:
        for state in train_steps(*given, **named):
            os.kill(os.getpid(), signal.SIGTERM)
            yield state

    monkeypatch.setattr(command, "train_steps", stopping)
    assert run_train(tmp_path, TINY, resume=False) == 143
    assert (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "report.html").exists()


# Saves that fail


def test_a_save_that_fails_on_the_way_is_said_and_training_goes_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """At step 6 of 3, 6 and 9: until then the state of step 3 stands, and the end is the same."""
    out, fsync = tmp_path / "run", os.fsync
    stands = list[int]()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def watched(*given: Any, **named: Any) -> Iterator[TrainState]:
        for state in train_steps(*given, **named):
            monkeypatch.setattr(os, "fsync", full if state.step == 6 else fsync)
            yield state
            if state.step == 6:
                stands.append(metadata_of(out / "state.safetensors")["step"])

    monkeypatch.setattr(command, "train_steps", watched)
    out.mkdir()
    saving = SavingOptions(3, 2)
    _, code = run_training(load_data("digits"), TINY, out, saving=saving)
    assert (code, stands) == (0, [3])
    said = [line for line in capfd.readouterr().err.splitlines() if "No space" in line]
    assert len(said) == 1
    assert said[0].startswith(f"minicfg: step 6: {out / 'state.safetensors'} cannot be saved (No ")
    assert said[0].endswith("training goes on")
    assert log_without_times(out) == log_without_times(whole)
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    kept = sorted(path.name for path in (out / "kept").glob("*.safetensors"))
    assert kept == ["step-0000003.safetensors", "step-0000009.safetensors"]


@pytest.mark.exhaustive
def test_a_run_that_diverges_leaves_its_last_finite_step(tmp_path: Path) -> None:
    """Model and state, long before the first save that was asked for."""
    wild = replace(TINY, lr=1e18)
    with pytest.raises(MachineError, match=r"step [23]: the loss is .* still those of step [12]"):
        run_training(load_data("digits"), wild, tmp_path)
    model, state = load(tmp_path / "model"), load_state(tmp_path / "state")
    assert 1 <= model.step == state.step <= 2
    assert all(bool(p.isfinite().all()) for p in model.model.parameters())


def test_a_save_that_fails_at_the_end_is_the_runs_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, state: TrainState) -> Path:
        raise MachineError("No space left on device")

    monkeypatch.setattr(command, "save_state", full)
    with pytest.raises(MachineError, match="No space"):
        run_train(tmp_path, replace(TINY, steps=1), resume=False)
    assert load(tmp_path / "model").step == 1  # the smaller one, for which there was room


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limits there")
def test_lines_that_cannot_be_written_wait(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A real limit, in the middle of the line of step 50, until step 60: the line is not torn.

    There are fifty lines because the limit holds for what pytest captures as well.
    """
    import resource

    state, seen = start(TINY, (1, 8, 8), tuple("0123456789")), dict[int, int]()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with open_log(tmp_path, 0, SavingOptions()) as log:
            for step in range(1, 63):
                if step == 50:
                    room = (tmp_path / "log.jsonl").stat().st_size + 20
                    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
                if step == 60:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
                log(replace(state, step=step, loss=1.0))
                seen[step] = len(read_log(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [seen[step] for step in (49, 50, 59, 60, 62)] == [49, 49, 49, 60, 62]
    assert [line["step"] for line in log_without_times(tmp_path)] == list(range(1, 63))
    said = capfd.readouterr().err
    assert said.count("log.jsonl cannot be written") == 1 and "training goes on" in said


# Ranks


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 6, 7, 100])
def test_shares_are_even_and_cover_all_places_once(n: int, world: int) -> None:
    shares = [np.arange(n)[Ranks(rank, world).local_slice(n)] for rank in range(world)]
    assert np.concatenate(shares).tolist() == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("asked", ["gpu", "tpu", "mps:x"])
def test_devices_that_are_none_are_refused(asked: str) -> None:
    with pytest.raises(UsageError, match=f"--device {asked} .*: use auto, cpu or cuda"):
        Ranks().device(asked)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(MachineError, match="no CUDA device on this machine; use --device cpu"):
        Ranks().device("cuda")
    assert Ranks().device("auto") == torch.device("cpu")


def torchrun(processes: int, *arguments: str) -> list[str]:
    """`torchrun -m minicfg ...` on a port of its own."""
    launch = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [sys.executable, "-m", *launch, "-m", "minicfg", *arguments]


@pytest.mark.slow
@pytest.mark.exhaustive
def test_two_processes_are_one_run(whole: Path, tmp_path: Path) -> None:
    """Same batch, so same gradients but for the order of their sums: float32 rounding, 12 steps.

    AdamW divides by the root of a mean square: a weight whose gradient is all rounding may move by
    lr x rounding / rounding. Measured: 2e-7; allowed 1e-5, an update being about 1e-3. Of sampling,
    each does whole batches of 256, so its file is the same, byte for byte.
    """
    out = tmp_path / "two"
    given = torchrun(2, "train", "--out", str(out), *FLAGS)
    ran = subprocess.run(given, capture_output=True, text=True, env=ENV)
    assert ran.returncode == 0, ran.stderr
    one, two = (load(folder / "model").model.state_dict() for folder in (whole, out))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        [line["loss"] for line in log_without_times(out)],
        [line["loss"] for line in log_without_times(whole)],
        rtol=1e-5,
    )
    pictures = [tmp_path / "one.npz", tmp_path / "two.npz"]
    flags = ["--each", "200", "--labels", "3", "1", "4", "--steps", "2"]
    for processes, path in zip((1, 2), pictures, strict=True):
        given = ["sample", str(whole / "model"), "--out", str(path), *flags]
        command = (
            torchrun(2, *given) if processes == 2 else [sys.executable, "-m", "minicfg", *given]
        )
        ran = subprocess.run(command, capture_output=True, text=True, env=ENV)
        assert ran.returncode == 0, ran.stderr
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


@pytest.mark.slow
@pytest.mark.exhaustive
def test_sigterm_ends_all_ranks_after_the_same_step(tmp_path: Path) -> None:
    out = tmp_path / "two"
    flags = [*FLAGS[2:], "--steps", "100000"]
    given = torchrun(2, "train", "--out", str(out), *flags)
    with subprocess.Popen(given, stderr=subprocess.PIPE, text=True, env=ENV) as group:
        log, deadline = out / "log.jsonl", time.monotonic() + 120
        while not (log.exists() and log.stat().st_size > 500):
            assert time.monotonic() < deadline and group.poll() is None
            time.sleep(0.1)
        group.send_signal(signal.SIGTERM)
        began = time.monotonic()
        said = group.communicate()[1]
    assert time.monotonic() - began < 30
    assert "to go on: minicfg train --out" in said
    step = metadata_of(out / "state.safetensors")["step"]
    assert step == log_without_times(out)[-1]["step"] and load(out / "model").step == step


def test_more_processes_than_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="batch = 1 is smaller than the 2 processes"):
        run_training(load_data("digits"), replace(TINY, batch=1), tmp_path, group=Ranks(1, 2))


def test_train_names_the_classes_that_will_not_be_scored() -> None:
    """18 images of a class are enough, 17 are not."""
    y = torch.tensor([0] * 18 + [1] * 17 + [2] * 3)
    data = Dataset(torch.zeros(len(y), 1, 4, 4), y, ("enough", "few", "rare"), "pictures")
    assert classes_with_few_images(data) == (
        "evaluate and sweep will not score 2 of 3 classes, which have fewer than 18 images: few, "
        "rare."
    )
    assert classes_with_few_images(load_data("digits")) == ""
