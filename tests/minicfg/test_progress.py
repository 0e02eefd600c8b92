"""Progress: lines where there is no terminal, a bar where there is one, nothing if not wanted."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from minicfg.cli import progress as module
from minicfg.cli.progress import progress
from minicfg.cli.train import run_training
from minicfg.config import TrainConfig
from minicfg.datasets.load import load_data


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the module reads, which a test sets."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_without_a_terminal_there_is_a_line_every_fifteen_seconds(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress(4000, "sampling", "images", done=40) as advance:
        for _ in range(31):
            clock[0] += 1
            advance(10, "loss 0.5")
    assert capsys.readouterr().err.splitlines() == [
        "sampling: 190 of 4000 images (5%), 10 images/s, 06:21 left, loss 0.5",
        "sampling: 340 of 4000 images (8%), 10 images/s, 06:06 left, loss 0.5",
    ]


def test_nothing_is_shown_of_what_ends_soon_or_is_not_to_be_shown(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress(10, "sampling", "images") as advance:
        advance(10, "")
    with progress(10, "sampling", "images", show=False) as advance:
        clock[0] += 100
        advance(10, "")
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_is_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress(10, "sampling", "images") as advance:
        advance(10, "loss 0.5")
    said = capsys.readouterr().err
    assert "sampling: 100%" in said and "10/10" in said and "loss 0.5" in said


def test_a_reader_that_has_gone_does_not_end_the_work(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(sys.stderr, "write", gone)
    with progress(10, "sampling", "images") as advance:
        clock[0] += 20
        advance(1, "")


def test_training_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    config = TrainConfig(data="digits", steps=2, batch=8, width=8, multipliers=(1,))
    run_training(load_data("digits"), config, tmp_path)
    lines = capsys.readouterr().err.splitlines()
    for line, count in zip(lines, ("1 of 2 steps (50%)", "2 of 2 steps (100%)"), strict=True):
        pattern = rf"training: {re.escape(count)}, .* steps/s, \d\d:\d\d left, loss \d\.\d{{4}}"
        assert re.fullmatch(pattern, line)
