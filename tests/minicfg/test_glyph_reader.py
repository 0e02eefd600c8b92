"""The reader of glyphs: what it learns, what it returns, and what it refuses."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from minicfg.datasets.glyphs import (
    FACES,
    LETTER_PIXELS,
    MAX_ANGLE,
    MAX_SHIFT,
    MAX_SIZE,
    MIN_SIZE,
    all_masks,
)
from minicfg.errors import UsageError
from minicfg.metrics import glyph_reader as module
from minicfg.metrics.glyph_reader import hue_difference, read_glyphs, train_glyph_reader


@pytest.mark.exhaustive
def test_a_short_training_reads_most_pictures() -> None:
    """300 of the 1,500 steps; the fractions are well below those that one run gave."""
    reader = train_glyph_reader(steps=300, pictures=20)
    errors = reader.errors
    assert errors.letter_accuracy > 0.95
    assert errors.face_accuracy > 0.75
    assert errors.hue_error is not None and errors.hue_error < 20
    assert errors.angle_error < MAX_ANGLE / 3**0.5  # the error of always reading 0
    assert torch.allclose(errors.confusion.sum(1), torch.ones(len(FACES)))
    assert "letter 9" in str(errors) and "degrees" in str(errors)


def test_the_reader_is_a_function_of_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TESTED", 1)
    monkeypatch.setattr(module, "_uniform_pictures", cache(module._uniform_pictures))
    before = torch.random.get_rng_state()
    first, again, other = (
        train_glyph_reader(1, 16, seed=seed, steps=1, pictures=1) for seed in (3, 3, 4)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.letter.weight, again.letter.weight)
    assert not torch.equal(first.letter.weight, other.letter.weight)
    assert first.errors.n == 26 * len(FACES) and first.errors.hue_error is None
    assert not first.training and not first.letter.weight.requires_grad


def test_numbers_return_from_their_ranges() -> None:
    """What the reader is trained to predict, and what it makes of its predictions, are inverse."""
    x, truth = module._uniform_pictures(1, 0, 3, 16)

    class Perfect(module.GlyphReader):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            letter = torch.nn.functional.one_hot(truth["letter"], 26).float()
            face = torch.nn.functional.one_hot(truth["face"], len(FACES)).float()
            return letter, face[:, None].expand(-1, 26, -1), module._numbers(truth)

    numbers = module._numbers(truth)
    assert float(numbers.abs().max()) <= 1
    first = x[:500]
    truth = {name: values[:500] for name, values in truth.items()}
    found = read_glyphs(Perfect(3, 16), first)
    assert torch.equal(found.letter, truth["letter"]) and torch.equal(found.face, truth["face"])
    assert found.hue is not None
    assert float(hue_difference(found.hue, truth["hue"].float()).abs().max()) < 1e-3  # of 360
    assert torch.allclose(found.angle, truth["angle"].float(), atol=1e-5)
    assert torch.allclose(found.size, truth["size"].float(), atol=1e-6)
    assert torch.allclose(found.position, truth["position"].float(), atol=1e-7)
    assert bool(((found.size > MIN_SIZE) & (found.size < MAX_SIZE)).all())
    assert float(found.position.abs().max()) < MAX_SHIFT


@pytest.mark.parametrize("first", [0, 2**31])
def test_pictures_come_with_their_letter(first: int) -> None:
    """The light of a picture is the area of its letter, which differs between letters."""
    x, truth = module._uniform_pictures(1, first, 1, 32)
    upright = truth["face"] == 0
    light = (x[upright, 0] + 1) / 2
    masks = torch.from_numpy(all_masks()[:, 0]).float() / 255
    masses = masks.sum((1, 2))[truth["letter"][upright]] / LETTER_PIXELS**2
    found = light.sum((1, 2)) / 32**2 / truth["size"][upright].float() ** 2
    assert torch.allclose(found, masses, rtol=0.03)


def test_differences_of_hues_take_the_short_way() -> None:
    a = torch.tensor([350.0, 10.0, 90.0, 0.0])
    b = torch.tensor([10.0, 350.0, 80.0, 180.0])
    assert hue_difference(a, b).tolist() == [-20, 20, 10, -180]


def test_what_the_reader_refuses() -> None:
    with pytest.raises(UsageError, match="steps = 0 trains nothing"):
        train_glyph_reader(steps=0)
    with pytest.raises(UsageError, match="pictures = 0 trains nothing"):
        train_glyph_reader(pictures=0)
    with pytest.raises(UsageError, match=r"side = 15 is outside 16\.\.64"):
        train_glyph_reader(side=15, pictures=1)
    reader = module.GlyphReader(1, 28)
    with pytest.raises(
        UsageError, match=r"x has shape \(2, 3, 32, 32\): this reader takes .*1, 28"
    ):
        read_glyphs(reader, torch.zeros(2, 3, 32, 32))
