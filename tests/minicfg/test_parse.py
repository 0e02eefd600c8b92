"""The help of the command line, and the sentences that say what is wrong with its arguments."""

from __future__ import annotations

from collections.abc import Sequence

import docstring_parser
import pytest

import minicfg
from minicfg.cli.main import COMMANDS, Sample, Train, parse_command
from minicfg.cli.parse import flags_of
from minicfg.config import (
    DataSettings,
    DiffusionSettings,
    NetworkSettings,
    OptimiserSettings,
)
from minicfg.errors import UsageError


def printed(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line prints before it ends with code 0."""
    with pytest.raises(SystemExit, match="0"):
        parse_command(arguments)
    return capsys.readouterr().out


def test_the_help_fits_a_screen_with_one_line_per_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = printed(["--help"], capsys).splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    for name in COMMANDS:
        assert len([line for line in lines if line.startswith(f"  {name} ")]) == 1


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(["--version"], capsys) == f"minicfg {minicfg.__version__}\n"


def test_the_help_of_train_is_in_groups(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = printed(["train", "--help"], capsys)
    places = [text.index(f"{name} options") for name in ("data", "diffusion", "network")]
    places += [text.index(f"{name} options") for name in ("optimiser", "output")]
    assert places == sorted(places)
    for group, flag in zip(places, ("data", "schedule", "width", "lr", "keep"), strict=True):
        following = [place for place in places if place > group]
        assert f" --{flag} " in text[group : min(following, default=len(text))]


def test_the_help_has_no_line_breaks_of_the_source(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    text = printed(["train", "--help"], capsys)
    for group in (Train, DataSettings, DiffusionSettings, NetworkSettings, OptimiserSettings):
        described = docstring_parser.parse_from_object(group).params
        assert any("\n" in (field.description or "") for field in described)
        for field in described:
            assert " ".join((field.description or "").split()) in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_is_in_the_help(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = printed([command, "--help"], capsys)
    missing = {flag for flag in flags_of(COMMANDS[command]) if f"{flag} " not in text}
    assert missing <= {"--checkpoint"}  # which has no flag, but a place


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("--versoin", r"--versoin is not a command\. The commands are demo, train, "),
        ("smple", r"smple is not a command; did you mean sample\? The commands are demo, train, "),
        ("xyz", r"xyz is not a command\. The commands are demo, train, "),
        (
            "train --out x --stpes 3",
            r"--stpes is not a flag of minicfg train; did you mean --steps",
        ),
        ("train --lout x", r"--lout is not a flag of minicfg train; did you mean --out\?"),
        ("train --out x --p_uncnd=1", r"--p_uncnd is not a flag .* did you mean --p-uncond\?"),
        (
            "train --out x --zzz",
            r"--zzz is not a flag of minicfg train\. minicfg train --help lists",
        ),
        ("sample m --out x --lables 3", r"--lables is not a flag .* did you mean --labels\?"),
        ("sample m n --out x", "n is one argument too many for minicfg sample; remove it"),
        (
            "train",
            r"minicfg train lacks --out PATH \(Folder .*\); add it, or see minicfg train --h",
        ),
        ("train --out", "--out lacks its value; give a value after it"),
        ("train --out x --lr fast", "--lr fast is not a number"),
        ("train --out x --steps 1e3", "--steps 1e3 is not an integer"),
        (
            "train --out x --precision int8",
            "--precision int8 is unknown; choose one of float32, bf",
        ),
        (
            "sample m --out x --interval 1",
            "--interval 1 is not FLOAT FLOAT; see minicfg sample --h",
        ),
        ("sample m --out x --eta few", "--eta few is not FLOAT; see minicfg sample --help"),
        ("evaluate m --out x --w few", "--w few has the wrong type; see minicfg evaluate --help"),
    ],
)
def test_what_is_wrong_is_a_sentence(
    typed: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the width of the terminal, in which tyro wraps its own text."""
    for columns in ("40", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        with pytest.raises(UsageError, match=f"^{sentence}"):
            parse_command(typed.split())


def test_underscores_and_equal_signs_are_taken() -> None:
    train = parse_command(["train", "--out=x", "--p_uncond=0.5"])
    assert isinstance(train, Train) and train.settings().p_uncond == 0.5
    sample = parse_command(["sample", "m", "--out", "x.png", "--labels", "-1", "3"])
    assert isinstance(sample, Sample) and sample.labels == ("-1", "3")
