"""Ctrl-C, SIGTERM and SIGHUP, in training and elsewhere: the exit code, and what is left.

Each run is a fork of this process that says where it is, so that the signal comes just there.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minicfg.cli import evaluate
from minicfg.cli import sample as sample_command
from minicfg.cli import train as train_command
from minicfg.cli.main import main
from minicfg.cli.signals import stop_between_steps, termination_is_raised
from minicfg.cli.train import run_training
from minicfg.config import TrainConfig
from minicfg.datasets.load import load_data
from minicfg.io.checkpoint import load, load_state
from minicfg.metrics.classifier import Classifier
from tests.minicfg.forked import SECONDS, Child, forked

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork here"),
    pytest.mark.exhaustive(one_in=3),
]

TINY = ["--batch", "8", "--width", "8", "--multipliers", "1", "--save-every", "2"]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
AT_ONCE = 10  # seconds; measured: 0.1, where the work that is broken off would take 60
Work = Callable[[Child], int]


@pytest.fixture(scope="module", autouse=True)
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of two steps; and what it imported, no fork imports again."""
    out = tmp_path_factory.mktemp("trained")
    run_training(
        load_data("digits"),
        TrainConfig(data="digits", steps=2, batch=8, width=8, multipliers=(1,)),
        out,
    )
    return out


def typed(*words: object) -> int:
    sys.argv = ["minicfg", *map(str, words)]
    main()
    return 0


def training(out: Path, at: int, where: Callable[[Child], None]) -> Work:
    """A run that comes to `where` in the middle of step `at`."""

    def work(child: Child) -> int:
        train_steps = train_command.train_steps

        def watched(*given: Any, **named: Any) -> Iterator[Any]:
            for state in train_steps(*given, **named):
                if state.step == at:
                    where(child)
                yield state

        train_command.train_steps = watched  # pyright: ignore[reportAttributeAccessIssue]
        return typed("train", "--out", out, "--steps", 100_000, *TINY)

    return work


def until_told(child: Child) -> None:
    """Say so, and wait for the first signal: its handler gives way to what was there before."""
    held = signal.getsignal(signal.SIGINT)
    child.say("here")
    while signal.getsignal(signal.SIGINT) is held:
        time.sleep(0.01)
    child.say("told")


def a_long_step(child: Child) -> None:
    until_told(child)
    time.sleep(SECONDS)


@pytest.mark.parametrize("number", CODES)
def test_once_while_training_saves(number: int, tmp_path: Path) -> None:
    with forked(training(tmp_path, 5, until_told)) as child:
        child.wait_for("here")
        child.send(number)
        assert child.code() == CODES[number], child.said()
        said = child.said()
    assert f"stopped and saved; to go on: minicfg train --out {tmp_path} --resume" in said
    assert load_state(tmp_path / "state").step == load(tmp_path / "model").step == 5
    assert not list(tmp_path.glob("*.tmp")) and not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("second", CODES)
@pytest.mark.parametrize("first", CODES)
def test_twice_while_training_ends_at_once(first: int, second: int, tmp_path: Path) -> None:
    """Before the step is done: what was saved after step 4 is what there is."""
    with forked(training(tmp_path, 5, a_long_step)) as child:
        child.wait_for("here")
        child.send(first)
        child.wait_for("told")
        child.send(second)
        assert child.code(AT_ONCE) == CODES[second], child.said()
        assert child.said().splitlines()[-1] == "minicfg: stopped"
        assert "Traceback" not in child.said()
    assert load_state(tmp_path / "state").step == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("config.toml", "log.jsonl", "state.safetensors")
    ]


@pytest.mark.parametrize("number", CODES)
def test_twice_while_saving_leaves_the_last_whole_save(number: int, tmp_path: Path) -> None:
    """The second comes when the state of step 6 is written and not yet in place."""

    def saving(child: Child) -> None:
        until_told(child)
        fsync = os.fsync

        def slow(descriptor: int) -> None:
            fsync(descriptor)
            if list(tmp_path.glob("*.tmp")):
                child.say("saving")
                time.sleep(SECONDS)

        os.fsync = slow

    with forked(training(tmp_path, 6, saving)) as child:
        child.wait_for("here")
        child.send(number)
        child.wait_for("saving")
        child.send(number)
        assert child.code(AT_ONCE) == CODES[number], child.said()
    assert load_state(tmp_path / "state").step == 4
    assert not list(tmp_path.glob("*.tmp"))


# Where there is nothing to save


def busy(child: Child) -> None:
    child.say("here")
    time.sleep(SECONDS)


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("command", ["sample x.png", "sample x.gif", "evaluate", "sweep"])
def test_while_drawing_ends_at_once(
    command: str, number: int, trained: Path, tmp_path: Path
) -> None:
    """What stood there stands, byte for byte; one line says why it ended."""
    command, _, name = command.partition(" ")
    out = tmp_path / "out"
    out.mkdir()
    olds = [out / name] if name else [out / "metrics.json", out / "sweep.json", out / "report.html"]
    for old in olds:
        old.write_text("what was")

    def work(child: Child) -> int:
        draw: Any = lambda *_, **__: busy(child)  # noqa: E731
        sample_command.draw = sample_command.sample_steps = evaluate.draw = draw
        evaluate.train_classifier = lambda data, **_: Classifier(data.shape, 10)
        return typed(command, trained / "model", "--out", out / name)

    with forked(work) as child:
        child.wait_for("here")
        child.send(number)
        assert child.code(AT_ONCE) == CODES[number], child.said()
        assert child.said() == "minicfg: stopped\n"
    assert all(old.read_text() == "what was" for old in olds)
    assert {p.name for p in out.iterdir()} - {p.name for p in olds} <= {"classifier.safetensors"}


@pytest.mark.parametrize("number", CODES)
def test_while_a_result_is_written_leaves_the_old_one(
    number: int, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.npz").write_text("what was")

    def work(child: Child) -> int:
        os.fsync = lambda _: busy(child)
        return typed("sample", trained / "model", "--out", tmp_path / "x.npz", "--steps", 1)

    with forked(work) as child:
        child.wait_for("here")
        assert len(list(tmp_path.iterdir())) == 2  # the new one, beside
        child.send(number)
        assert child.code(AT_ONCE) == CODES[number], child.said()
    assert [p.read_text() for p in tmp_path.iterdir()] == ["what was"]


def test_while_a_classifier_learns_ends_at_once(trained: Path, tmp_path: Path) -> None:
    """In the middle of torch's own work, which is asked between two operations."""

    def work(child: Child) -> int:
        learn = evaluate.train_classifier

        def told(*given: Any, **named: Any) -> Classifier:
            child.say("here")
            return learn(*given, **named, steps=100_000)

        evaluate.train_classifier = told
        return typed("evaluate", trained / "model", "--out", tmp_path)

    with forked(work) as child:
        child.wait_for("here")
        time.sleep(0.3)  # well into it; nothing depends on how far
        child.send(signal.SIGTERM)
        assert child.code(AT_ONCE) == 143, child.said()
    assert not list(tmp_path.iterdir())


def test_handlers_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in CODES]
    with stop_between_steps() as stop:
        assert stop.signal is None
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
        assert [signal.getsignal(number) for number in CODES] == before
    monkeypatch.setattr(sys, "argv", ["minicfg", "doctor"])
    with pytest.raises(SystemExit):
        main()
    assert [signal.getsignal(number) for number in CODES] == before


def test_a_signal_that_is_ignored_stays_ignored(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`nohup` ignores SIGHUP, so that a command outlives its terminal."""

    def work(child: Child) -> int:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with termination_is_raised():
            signal.raise_signal(signal.SIGHUP)
        with stop_between_steps() as stop:
            signal.raise_signal(signal.SIGHUP)
        return 7 if stop.signal is None else 1

    with forked(work) as child:
        assert child.code(AT_ONCE) == 7, child.said()


def test_a_closed_terminal_ends_training_with_its_work_saved(tmp_path: Path) -> None:
    """A terminal of its own for the child: when it closes, the system sends SIGHUP."""
    pid, terminal = pty.fork()
    if not pid:  # the child, whose standard streams are the terminal
        code = 99
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under `nohup`
        try:
            flags = ["--steps", "100000", *TINY]
            sys.argv = ["minicfg", "train", "--out", str(tmp_path), *flags]
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)
    ended = status = 0
    try:
        deadline = time.monotonic() + SECONDS
        while not (tmp_path / "state.safetensors").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.close(terminal)
        deadline = time.monotonic() + SECONDS
        while not ended:
            assert time.monotonic() < deadline, "it still runs"
            time.sleep(0.05)
            ended, status = os.waitpid(pid, os.WNOHANG)
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert load_state(tmp_path / "state").step == load(tmp_path / "model").step >= 2


# Streams that are closed


def program(*words: str) -> list[str]:
    return [sys.executable, "-m", "minicfg", *words]


@pytest.mark.exhaustive(one_in=2)
@pytest.mark.slow
@pytest.mark.parametrize("words", [("doctor",), ("train", "--help")], ids=" ".join)
def test_a_reader_that_has_ended_ends_the_program_without_a_word(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(program(*words), stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (141, "")


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("stream", ["1", "2"])
def test_a_closed_stream_does_not_stop_sampling(stream: str, trained: Path, tmp_path: Path) -> None:
    words = program("sample", str(trained / "model"), "--steps", "1", "--out", "x.npz")
    shell = f'exec "$@" {stream}>&-'
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = ["sh", "-c", shell, "sh", *words]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
    assert ran.returncode == 0
    with np.load(tmp_path / "x.npz") as drawn:
        assert drawn["x"].shape == (10, 1, 8, 8)


def test_one_line_whatever_the_run_was_doing(trained: Path, tmp_path: Path) -> None:
    """No library turns SIGTERM into an error of its own: torch's operators are one way through."""

    def work(child: Child) -> int:
        sample = sample_command.sample

        def told(*given: Any, **named: Any) -> torch.Tensor:
            child.say("here")
            for _ in range(100_000):
                sample(*given, **named)
            return torch.zeros(1)

        sample_command.sample = told  # pyright: ignore[reportAttributeAccessIssue]
        return typed("sample", trained / "model", "--out", tmp_path / "x.png", "--steps", 2)

    with forked(work) as child:
        child.wait_for("here")
        time.sleep(0.3)
        child.send(signal.SIGTERM)
        assert child.code(AT_ONCE) == 143
        assert re.fullmatch("minicfg: stopped\n", child.said())
    assert not list(tmp_path.iterdir())
