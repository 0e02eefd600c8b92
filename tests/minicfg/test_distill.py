"""The command `minicfg distill`, and what the other commands do with a student."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minicfg.cli import distill as command
from minicfg.cli import evaluate
from minicfg.cli.distill import parse_range
from minicfg.cli.main import run_command
from minicfg.cli.train import run_training
from minicfg.config import TrainConfig
from minicfg.datasets.load import load_data
from minicfg.distillation import weights_digest
from minicfg.errors import UsageError
from minicfg.io.checkpoint import load
from minicfg.training import TrainState

FLAGS = ["--steps", "3", "--batch", "8", "--w", "0:4", "--device", "cpu"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three steps."""
    out = tmp_path_factory.mktemp("teacher")
    config = TrainConfig(data="digits", steps=3, batch=8, width=8, multipliers=(1, 2), T=20)
    run_training(load_data("digits"), config, out)
    return out


@pytest.fixture(scope="module")
def student(teacher: Path) -> Path:
    """The folder of its student."""
    out = teacher / "student"
    assert run_command(["distill", str(teacher), "--out", str(out), *FLAGS]) == 0
    return out


def test_a_student_is_trained_and_saved(teacher: Path, student: Path) -> None:
    saved = load(student / "model")
    assert saved.model.w_range == (0.0, 4.0)
    assert saved.teacher_digest == weights_digest(load(teacher / "model").model)
    assert (saved.config.steps, saved.config.batch, saved.config.lr) == (3, 8, 1e-3)
    assert (saved.config.width, saved.config.T) == (8, 20)
    assert (student / "loss.png").stat().st_size > 0
    # `minicfg train --config` would repeat another run than this one.
    assert not (student / "config.toml").exists()


def test_the_other_commands_use_it_like_any_model(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = evaluate.train_classifier
    monkeypatch.setattr(
        evaluate, "train_classifier", lambda data, seed, advance: train(data, seed=seed, steps=3)
    )
    few = ["--steps", "2", "--device", "cpu"]
    picture = str(tmp_path / "x.png")
    assert run_command(["sample", str(student), "--out", picture, "--w", "3", *few]) == 0
    scores = str(tmp_path / "scores")
    many = ["--n", "40", "--w", "0", "4"]
    assert run_command(["evaluate", str(student), "--out", scores, *many, *few]) == 0
    found = json.loads((tmp_path / "scores/metrics.json").read_text())
    assert [score["w"] for score in found["scores"]] == [0, 4]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sample", "--w", "4.5"], "w is 4.5, which is outside 0..4"),
        (["sample", "--rule", "apg"], "rule needs the conditional and the null output"),
        (["sample", "--negative", "3"], "null needs the conditional and the null output"),
        (["sample", "--solver", "cfgpp", "--w", "0"], "table needs the conditional and the null"),
        (["evaluate", "--w", "0", "5"], "w is 5, which is outside 0..4"),
        (["sweep", "--w", "0:5:1"], "w is 5, which is outside 0..4"),
        (["sweep", "--w", "0,1", "--p-uncond", "0.2"], "is a student of another one"),
        (["distill"], "is a student itself"),
    ],
)
def test_what_a_student_cannot_do_is_refused_before_anything_is_written(
    arguments: list[str],
    said: str,
    student: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, *flags = arguments
    folder = tmp_path / "out"
    out = str(folder / "x.png" if name == "sample" else folder)
    steps = [] if name == "distill" else ["--steps", "2"]
    words = [name, str(student / "model"), "--out", out, *steps, "--device", "cpu", *flags]
    assert run_command(words) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
    assert not folder.exists()


@pytest.mark.parametrize(
    ("text", "found"), [("0:4", (0, 4)), ("-1:2.5", (-1, 2.5)), ("1:1", (1, 1))]
)
def test_a_range_of_weights_is_parsed(text: str, found: tuple[float, float]) -> None:
    assert parse_range(text) == found


@pytest.mark.parametrize("text", ["4:0", "1", "0:1:2", "a:b", "0:inf", "nan:1", ":", "0:"])
def test_what_is_no_range_of_weights_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a range of weights; write LOW:HIGH"):
        parse_range(text)


def test_a_stopped_run_is_resumed_exactly(
    teacher: Path,
    student: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = command.distill_steps

    def stopping(*args: Any, **named: Any) -> Iterator[TrainState]:
        def run() -> Iterator[TrainState]:
            for state in steps(*args, **named):
                if state.step == 2:
                    signal.raise_signal(signal.SIGINT)
                yield state

        return run()

    monkeypatch.setattr(command, "distill_steps", stopping)
    words = ["distill", str(teacher), "--out", str(tmp_path), *FLAGS]
    assert run_command(words) == 130
    assert "to go on, repeat the command with --resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert run_command(words) == 2
    assert "already contains a run; add --resume to continue it" in capsys.readouterr().err
    assert run_command([*words, "--resume", "--lr", "0.002"]) == 2
    assert "lr = 0.002, but the run to resume was started with 0.001" in capsys.readouterr().err
    assert run_command([*words, "--resume"]) == 0
    whole, resumed = (folder / "model.safetensors" for folder in (student, tmp_path))
    assert resumed.read_bytes() == whole.read_bytes()


def test_a_run_of_train_is_not_resumed_as_a_student(
    teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (teacher / "state.safetensors").read_bytes()
    words = ["distill", str(teacher), "--out", str(teacher), "--resume", "--device", "cpu"]
    assert run_command([*words, "--steps", "3", "--batch", "8", "--lr", "0.003"]) == 2
    assert "the run to resume has None" in capsys.readouterr().err
    assert (teacher / "state.safetensors").read_bytes() == before


def test_a_student_is_not_resumed_as_a_run_of_train(
    student: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (student / "state.safetensors").read_bytes()
    assert run_command(["train", "--out", str(student), "--resume", "--device", "cpu"]) == 2
    assert "takes w as an input: train it with minicfg.distill" in capsys.readouterr().err
    assert (student / "state.safetensors").read_bytes() == before
