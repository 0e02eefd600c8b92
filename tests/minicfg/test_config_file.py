"""`config.toml`: what is written is read back, and what cannot be a setting is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from minicfg.cli.config_file import MAX_BYTES, read_config_file, write_config_file
from minicfg.cli.main import Train, parse_command
from minicfg.config import TrainConfig
from minicfg.errors import UsageError

pytestmark = pytest.mark.usefixtures("unchecked")  # types are what these tests are about

BASE = TrainConfig(data="digits")


@pytest.mark.parametrize(
    "config",
    [
        BASE,
        TrainConfig(
            data='npz:a "b"\\c\n\x7f\u00e4\u4e2d.npz',
            lr=1e-5,
            grad_clip=1e22,
            ema=0.0,
            attention=(0, 2),
            seed=2**64 - 1,
            compile=True,
            prediction="v",
            zero_snr=True,
        ),
    ],
    ids=["defaults", "others"],
)
def test_what_is_written_is_read_back(config: TrainConfig, tmp_path: Path) -> None:
    write_config_file(tmp_path, config)
    read = read_config_file(tmp_path / "config.toml", TrainConfig(data="toy:dots", steps=7))
    assert read == config
    assert type(read.attention) is tuple


def test_settings_that_are_not_in_the_file_are_those_of_the_base(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("steps = 5\nlr = 1\n")
    base = replace(BASE, batch=9)
    assert read_config_file(tmp_path / "a.toml", base) == replace(base, steps=5, lr=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stpes = 5", r"'stpes' is not a setting of a training run; did you mean steps\?"),
        ("[data]\nsize = 3", "data = {'size': 3} has type dict; write a string"),
        ("steps = 'many'", "steps = 'many' has type str; write an integer"),
        ("steps = 5.0", "steps = 5.0 has type float; write an integer"),
        ("steps = true", "steps = True has type bool; write an integer"),
        ("lr = true", "lr = True has type bool; write a number"),
        ("lr = '1'", "lr = '1' has type str; write a number"),
        ("compile = 1", "compile = 1 has type int; write true or false"),
        ("multipliers = 2", "multipliers = 2 has type int; write a list of integers"),
        ("multipliers = [1, 2.0]", r"multipliers = \[1, 2.0\] has type list; write a list of int"),
        ("prediction = 3", "prediction = 3 has type int; write a string"),
        ("prediction = 'noise'", "prediction = 'noise' is unknown: use eps, x0, v or velocity"),
        ("steps = 0", "steps = 0 is out of range: use an integer"),
        ("lr = 1" + "0" * 400, "lr = inf is not a finite number"),
        ("lr = nan", "lr = nan is not a finite number"),
        ("zero_snr = true", "zero_snr with prediction = 'eps'"),
        ("steps = ", "is not valid TOML"),
        ("steps = 5\nsteps = 6", "is not valid TOML"),
        ("x = " + "[" * 5000, "is not valid TOML"),
        ("#" * (MAX_BYTES + 1), "has more than 1048576 bytes"),
    ],
    ids=lambda text: text[:30],
)
def test_a_file_that_is_no_settings_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=f"^--config {re.escape(str(file))}.*{message}"):
        read_config_file(file, BASE)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"data = '\xff'")
    with pytest.raises(UsageError, match="is not valid TOML"):
        read_config_file(tmp_path / "a.toml", BASE)


def test_several_attributes_are_for_python_only(tmp_path: Path) -> None:
    """Every run writes drop_separately = false, which is taken."""
    write_config_file(tmp_path, BASE)
    words = ["train", "--out", "new", "--config", str(tmp_path / "config.toml")]
    command = parse_command(words)
    assert isinstance(command, Train) and command.settings() == BASE
    write_config_file(tmp_path, replace(BASE, drop_separately=True))
    with pytest.raises(UsageError, match=r"drop_separately = true works only in Python, .* remove"):
        parse_command(words)
