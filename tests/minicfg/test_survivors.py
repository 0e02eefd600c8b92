"""Properties of `io/format.py` and `io/checkpoint.py` that `tests/mutants.py` found untested."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minicfg.config import TrainConfig
from minicfg.errors import UsageError
from minicfg.io.checkpoint import Checkpoint, load, save
from minicfg.io.format import digest, printable
from minicfg.unet import UNet

CONFIG = TrainConfig(width=8, multipliers=(1, 2), T=37)


def checkpoint(step: int) -> Checkpoint:
    shape, classes = (1, 4, 4), ("cat", "dog")
    return Checkpoint(UNet.of(CONFIG, shape, len(classes)), CONFIG, classes, shape, step, "")


@pytest.mark.parametrize("step", [0, 35, 2**32 - 1])
def test_any_step_comes_back(step: int, tmp_path: Path) -> None:
    save(tmp_path / "model", checkpoint(step))
    assert load(tmp_path / "model").step == step


@pytest.mark.parametrize("step", [-1, 2**32])
def test_a_step_that_no_noise_has_does_not(step: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"has step = {step}: steps must be in 0\.\.4294967295"):
        save(tmp_path / "model", replace(checkpoint(0), step=step))


def test_the_digest_is_of_all_that_is_said_in_any_order() -> None:
    tensors = {"x": torch.ones(2)}
    first = digest({"a": 1, "step": 2}, tensors)
    assert digest({"step": 2, "a": 1}, tensors) == first
    assert digest({"a": 1, "step": 2, "sha256": "?"}, tensors) == first
    for other in ({"a": 1, "step": 3}, {"a": 0, "step": 2}, {"a": 1}):
        assert digest(other, tensors) != first


def test_a_files_own_words_are_cut_to_200_plain_letters() -> None:
    assert printable("\x1b" + 300 * "a") == r"\x1b" + 196 * "a"
