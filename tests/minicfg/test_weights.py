"""The trained network that comes with minicfg: which one it is, and how good its samples are."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import minicfg
from minicfg import solvers
from minicfg.cli.main import main
from minicfg.datasets import load_data, load_held_out
from minicfg.metrics.classifier import train_classifier
from minicfg.metrics.evaluate import evaluate

FILE = Path(minicfg.__file__).parent / "weights/glyphs.safetensors"
PAGE = FILE.with_name("README.md")


def test_the_file_is_the_one_that_its_page_describes() -> None:
    content = FILE.read_bytes()
    assert f"`{hashlib.sha256(content).hexdigest()}`" in PAGE.read_text()
    assert len(content) <= 4e6


def test_it_was_trained_on_the_glyphs_of_this_version() -> None:
    trained = minicfg.load("glyphs")
    assert trained.data_digest == load_data("glyphs").digest
    command = re.search(r"minicfg train (.*)", PAGE.read_text())
    assert command and f"--steps {trained.step} " in command[0]
    assert trained.config.data == "glyphs" and trained.shape == (3, 32, 32)


def test_the_command_draws_a_letter_right_after_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["sample", "glyphs", "--labels", "R", "--w", "3", "--steps", "5", "--out", "r.npz"]
    monkeypatch.setattr("sys.argv", ["minicfg", *words])
    with pytest.raises(SystemExit, match="0"):
        main()
    picture = np.load("r.npz")["x"]
    assert picture.shape == (1, 3, 32, 32)
    # A bright letter on black: most pixels are dark, and some are not.
    assert 0.5 < (picture.max(1) < -0.5).mean() < 0.97


@pytest.mark.exhaustive
def test_its_samples_are_close_to_held_out_pictures() -> None:
    """At w = 1, by a classifier that is trained for a short time.

    Measured: accuracy 0.998 and a distance of 1.31 with a standard error of 0.10; images of noise
    have a distance of 64. The bounds leave room for other processors, whose classifier differs.
    """
    trained = minicfg.load("glyphs")
    held_out = load_held_out("glyphs")
    assert held_out is not None
    classifier = train_classifier(load_data("glyphs"), steps=300)
    y = torch.arange(26).repeat(20)
    table = solvers.ddim(trained.schedule, 20, prediction=trained.config.prediction)
    x = minicfg.sample(trained.model, y, table, shape=trained.shape, w=1.0, seed=0, clip=1.0)
    scores = evaluate(x, y, classifier, held_out)
    assert scores.accuracy > 0.97
    assert scores.frechet < 2
