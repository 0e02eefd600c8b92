"""The count of modes: its statistics, and the program with quick settings."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from minicfg.bench import modes as module
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.datasets import load_data
from minicfg.datasets.glyphs import FACES, MAX_ANGLE, MAX_SHIFT, MAX_SIZE, MIN_SIZE
from minicfg.io.checkpoint import Checkpoint, load, save
from minicfg.metrics import glyph_reader
from minicfg.metrics.glyph_reader import Reading
from minicfg.training import train

SPEC = "glyphs:1x16:RA"
SMALL = TrainConfig(data=SPEC, width=8, multipliers=(1, 2), steps=2, batch=8, T=20, prediction="v")


@pytest.fixture(scope="module")
def glyphs() -> Dataset:
    return load_data(SPEC)


@pytest.fixture(scope="module")
def trained(glyphs: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("modes") / "model", train(glyphs, SMALL))


def true_reading(data: Dataset) -> Reading:
    """What a reader without errors would find."""
    factors = data.factors
    return Reading(
        letter=torch.tensor([ord(data.classes[label]) - ord("A") for label in data.labels]),
        face=factors["face"],
        hue=factors["hue"].float() if "hue" in factors else None,
        angle=factors["angle"].float(),
        size=factors["size"].float(),
        position=factors["position"].float(),
    )


def test_statistics_of_the_truth() -> None:
    """The stated distributions give them in closed form; 5 of their own standard errors."""
    data = load_data("glyphs:3x16:RA")
    letters = torch.tensor([0, 17])
    factors, errors = module.factors_of(true_reading(data), data.labels, letters)
    for face, found, error in zip(FACES, factors.faces, errors.faces, strict=True):
        assert abs(found - face.probability) < 5 * error, face.name
        binomial = math.sqrt(found * (1 - found) / len(data))
        assert 0.4 < error / binomial < 1.8  # a jackknife of 20 parts is known to 16 %
    entropy = -sum(face.probability * math.log(face.probability) for face in FACES)
    # The entropy of n fractions is too small by (F - 1) / 2n.
    bias = (len(FACES) - 1) / (2 * len(data))
    assert abs(factors.face_entropy + bias - entropy) < 5 * errors.face_entropy
    assert factors.letter_accuracy == 1 and errors.letter_accuracy == 0
    assert factors.hue_concentration < 4 / math.sqrt(800)  # of 800 uniform angles, twice
    # A uniform number has the standard deviation of its range over sqrt(12).
    for name, width in (
        ("angle_std", 2 * MAX_ANGLE),
        ("size_std", MAX_SIZE - MIN_SIZE),
        ("position_std", 2 * MAX_SHIFT),
    ):
        expected = width / math.sqrt(12)
        assert abs(getattr(factors, name) - expected) < 5 * getattr(errors, name), name


def test_statistics_of_one_mode() -> None:
    """Every sample is the same: no entropy, no spread, one hue, and half of the letters right."""
    n = 40
    found = Reading(
        letter=torch.zeros(n, dtype=torch.int64),
        face=torch.full((n,), 3),
        hue=torch.full((n,), 350.0),
        angle=torch.full((n,), 5.0),
        size=torch.full((n,), 0.6),
        position=torch.zeros(n, 2),
    )
    y = torch.arange(n) % 2
    factors, _ = module.factors_of(found, y, torch.tensor([0, 17]))
    assert factors.faces[3] == 1 and factors.face_entropy == 0
    assert factors.letter_accuracy == 0.5
    assert math.isclose(factors.hue_concentration, 1, rel_tol=1e-6)
    assert factors.angle_std == factors.size_std == factors.position_std == 0


def test_spread_between_letters_is_no_spread_within() -> None:
    """The angle of a picture is its label's."""
    y = torch.arange(60) % 2
    angle = 10.0 * y
    found = Reading(
        letter=torch.where(y == 0, 0, 17),
        face=y,
        hue=180.0 * y,
        angle=angle,
        size=angle,
        position=torch.stack([angle, angle], dim=1),
    )
    factors, _ = module.factors_of(found, y, torch.tensor([0, 17]))
    assert factors.letter_accuracy == 1
    assert factors.angle_std == factors.size_std == factors.position_std == 0
    assert math.isclose(factors.hue_concentration, 1, rel_tol=1e-6)


def test_the_concentration_of_hues_has_no_bias() -> None:
    """400 labels of four uniform hues each: their mean vectors have length 1/2 by chance.

    R^2 of four has mean 1/4 and variance 3/64, so the mean of (4 R^2 - 1) / 3 has standard
    deviation 0.015, and its root is below 0.25 by four of these.
    """
    n = 1600
    y = torch.arange(n) // 4
    zero = torch.zeros(n)
    hue = 360 * torch.rand(n, generator=torch.Generator().manual_seed(0))
    found = Reading(y, y % 17, hue, zero, zero, torch.zeros(n, 2))
    factors, _ = module.factors_of(found, y, torch.zeros(400, dtype=torch.int64))
    assert factors.hue_concentration < 0.25


def test_ways_differ_and_share_their_noise(trained: Path) -> None:
    checkpoint = load(trained)
    with torch.no_grad():  # a network that has hardly been trained returns nearly the same for all
        for p in checkpoint.model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    other = load(trained).model
    y = torch.arange(2).repeat(2)
    ways = module.ways_of_guiding(other)
    samples = {way.name: module.draw(checkpoint, way, y, 2.0, 3, 5) for way in ways}
    for name, x in samples.items():
        assert x.shape == (4, 1, 16, 16) and bool(x.isfinite().all()), name
        others = [x for other, x in samples.items() if other != name]
        assert not any(torch.equal(x, other) for other in others), name
    unguided = [module.draw(checkpoint, way, y, 0.0, 3, 5) for way in ways if way.name != "rescale"]
    for x in unguided[1:]:
        assert torch.allclose(x, unguided[0], atol=1e-5)


def test_the_ramp_rises_from_nothing_to_twice_the_weight() -> None:
    (ramp,) = (way.weight for way in module.ways_of_guiding(None) if way.name == "ramp")
    assert ramp is not None
    at = ramp(torch.tensor([-math.inf, -60.0, 0.0, 60.0], dtype=torch.float64))
    assert np.allclose(at, [0, 0, 1, 2], atol=1e-12)


@pytest.mark.exhaustive
def test_the_program(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    quick_reader = partial(glyph_reader.train_glyph_reader, pictures=1)
    monkeypatch.setattr(module, "train_glyph_reader", quick_reader)
    monkeypatch.setattr(glyph_reader, "TESTED", 1)
    small = ["--each", "4", "--seeds", "2", "--steps", "2", "--w", "0", "2"]
    quick = ["--reader-steps", "2", "--classifier-steps", "2"]
    out = tmp_path / "out"
    arguments = [str(trained), "--weak", str(trained), "--out", str(out), *small, *quick]
    assert module.main(arguments) == 0
    found = json.loads((out / "modes.json").read_text())
    assert [(r["way"], r["w"]) for r in found["results"]] == [
        ("constant", 0),
        *((way, 2) for way in ("constant", "interval", "ramp", "rescale", "apg", "autoguidance")),
    ]
    for result in found["results"]:
        assert result["n"] == 16 and math.isclose(sum(result["factors"]["faces"]), 1)
    Image.open(out / "modes.png").verify()
    assert "the reader, on" in capsys.readouterr().out


def test_what_the_program_refuses(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert module.main([str(tmp_path / "none")]) == 3
    assert module.main([str(trained), "--each", "0"]) == 2
    assert module.main([str(trained), "--each", "1", "--seeds", "2"]) == 2
    assert module.main([str(trained), "--ways", "constant", "guide"]) == 2
    checkpoint = load(trained)
    digits = TrainConfig(data="digits", width=8, multipliers=(1, 2), T=20, prediction="v")
    other = Checkpoint(checkpoint.model, digits, ("R", "A"), (1, 16, 16), 1, "0" * 64)
    assert module.main([str(save(tmp_path / "digits", other))]) == 3
    errors = capsys.readouterr().err.splitlines()
    for error, complaint in zip(
        errors,
        (
            "none.safetensors",
            "--each 0 draws nothing",
            "draws 2 of every letter",
            "--ways guide is none of constant, interval, ramp, rescale, apg; choose among them",
            "has no factors",
        ),
        strict=True,
    ):
        assert error.startswith("minicfg.bench.modes: ") and complaint in error
