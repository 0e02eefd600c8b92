"""The glyphs: pictures of letters whose factors are known."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

from minicfg.data import Dataset, split
from minicfg.datasets import glyphs as module
from minicfg.datasets import load_data, load_held_out
from minicfg.datasets.glyphs import FACES, LETTERS, draw_factors, draw_glyphs, letter_colour
from minicfg.errors import DataError, UsageError
from minicfg.metrics.stratified import limit_size

SOME = np.arange(52)


@pytest.fixture(scope="module")
def pictures() -> Dataset:
    """Two letters: quick, and yet with all that a data set of glyphs has."""
    return load_data("glyphs:RA")


def test_the_probabilities_of_the_faces() -> None:
    probabilities = [face.probability for face in FACES]
    assert math.isclose(sum(probabilities), 1)
    assert max(probabilities) == 0.3 and min(probabilities) == 0.01
    assert len({face.file for face in FACES}) == len({face.name for face in FACES}) == len(FACES)


def test_the_factors_have_the_stated_distributions() -> None:
    """26,000 pictures; 4.5 standard errors, for about 50 comparisons."""
    n = 26_000
    factors = draw_factors(np.arange(n))
    count = torch.bincount(factors["face"], minlength=len(FACES))
    for face, found in zip(FACES, count.tolist(), strict=True):
        p = face.probability
        assert abs(found - n * p) < 4.5 * math.sqrt(n * p * (1 - p)), face.name
    ranges = {
        "hue": (0.0, 360.0),
        "angle": (-module.MAX_ANGLE, module.MAX_ANGLE),
        "size": (module.MIN_SIZE, module.MAX_SIZE),
        "position": (-module.MAX_SHIFT, module.MAX_SHIFT),
    }
    for name, (low, high) in ranges.items():
        u = ((factors[name] - low) / (high - low)).reshape(n, -1)
        assert bool(((u > 0) & (u < 1)).all()), name
        # A uniform number has variance 1/12, and its square has variance 1/5 - 1/9 = 4/45.
        assert bool(((u.mean(0) - 1 / 2).abs() < 4.5 * math.sqrt(1 / 12 / n)).all()), name
        assert bool(((u.square().mean(0) - 1 / 3).abs() < 4.5 * math.sqrt(4 / 45 / n)).all()), name


def test_factors_are_independent_of_each_other_and_of_the_letter() -> None:
    """A correlation of n independent pairs has standard error 1 / sqrt(n)."""
    n = 26_000
    factors = draw_factors(np.arange(n))
    letter = torch.arange(n)[:, None] % 26
    columns = [letter, *(values.reshape(n, -1) for values in factors.values())]
    correlation = torch.corrcoef(torch.cat([column.double() for column in columns], dim=1).T)
    assert float((correlation - torch.eye(7)).abs().max()) < 4.5 / math.sqrt(n)


def test_a_picture_is_a_function_of_seed_and_index() -> None:
    x, factors = draw_glyphs(SOME)
    some = np.array([51, 3, 30])
    again, same = draw_glyphs(some)
    assert torch.equal(again, x[some])
    assert all(torch.equal(same[name], factors[name][some]) for name in factors)
    other, _ = draw_glyphs(some, seed=1)
    assert not torch.equal(other, again)


def test_every_machine_draws_the_same_pictures() -> None:
    """The same bytes with matplotlib 3.10.8 and 3.11.2, and without NumPy's AVX2 and AVX-512."""
    x, _ = draw_glyphs(SOME)
    levels = ((x + 1) * 127.5).round().byte().numpy()
    assert hashlib.sha256(levels.tobytes()).hexdigest()[:16] == "6862457087787a69"


def test_the_letters_do_not_depend_on_which_others_are_there(pictures: Dataset) -> None:
    assert pictures.classes == ("A", "R") and pictures.shape == (3, 32, 32)
    assert len(pictures) == 2 * module.PICTURES_PER_LETTER
    x, factors = draw_glyphs(np.array([0, 17, 26, 26 + 17]))
    assert torch.equal(pictures.x[:4], x)
    assert torch.equal(pictures.labels[:4], torch.tensor([0, 1, 0, 1]))
    assert torch.equal(pictures.factors["face"][:4], factors["face"])


def test_values_are_those_of_bytes_and_the_border_is_dark(pictures: Dataset) -> None:
    """Letters are inside: at most a fifth of a pixel of their edge reaches the outermost one."""
    x = pictures.x
    values = (x + 1) * 127.5
    assert float((values - values.round()).abs().max()) < 1e-4  # float32 of numbers up to 255
    assert float(x.min()) == -1
    border = torch.cat([x[..., 0], x[..., -1], x[..., 0, :], x[..., -1, :]])
    assert float(border.max()) < -0.6


@pytest.mark.parametrize("side", [16, 28, 32, 64])
def test_the_moments_of_a_letter_are_its_factors(side: int) -> None:
    """An I without serifs is a rectangle: its centre of light is its middle, as are its axes.

    A pixel is the mean of a few points, so an end of the bar is known to a fraction of a pixel; the
    largest error of the centre that was seen is 0.105 pixels, at side 64 with one point. The area
    of the letter is that of its mask, scaled by the size.
    """
    index = 26 * np.arange(200) + LETTERS.index("I")
    x, factors = draw_glyphs(index, 1, side)
    upright = factors["face"] == 0  # DejaVu Sans
    light = ((x[:, 0] + 1) / 2)[upright].double()
    place = (torch.arange(side).double() + 0.5) / side - 0.5
    mass = light.sum((1, 2))
    right = (light.sum(1) @ place) / mass
    down = (light.sum(2) @ place) / mass
    centre = torch.stack([right, down], dim=1)
    assert float((centre - factors["position"][upright]).abs().max()) * side < 0.12
    mask = module.all_masks()[LETTERS.index("I"), 0] / 255
    area = mask.sum() / module.LETTER_PIXELS**2
    size = factors["size"][upright]
    assert torch.allclose(mass / side**2, area * size**2, rtol=0.02)
    # The long axis of its inertia stands upright before it is turned.
    across = place[None, :] - right[:, None]
    along = place[None, :] - down[:, None]
    xx = (light.sum(1) * across**2).sum(1)
    yy = (light.sum(2) * along**2).sum(1)
    xy = torch.einsum("nij,ni,nj->n", light, along, across)
    angle = torch.rad2deg(torch.atan2(2 * xy, yy - xx) / 2)
    assert float((angle - factors["angle"][upright]).abs().max()) < 1.5


def test_every_hue_is_a_colour_that_can_be_shown() -> None:
    colour = letter_colour(np.arange(0.0, 360.0))
    assert colour.min() > 0.1 and colour.max() < 1
    # Luminance of sRGB, from 0 to 1: no letter is much darker than another.
    linear = ((colour + 0.055) / 1.055) ** 2.4
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    assert luminance.min() > 0.38 and luminance.max() < 0.45


def test_the_hue_is_the_angle_in_oklab() -> None:
    """Back from sRGB by the other two matrices of Ottosson, which have ten digits as well."""
    hue = np.arange(0.0, 360.0)
    linear = ((letter_colour(hue) + 0.055) / 1.055) ** 2.4
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    lightness, a, b = (np.cbrt(linear @ to_cones.T) @ to_lab.T).T
    assert np.allclose(lightness, module.LIGHTNESS, atol=1e-6)
    assert np.allclose(a, module.CHROMA * np.cos(np.radians(hue)), atol=1e-6)
    assert np.allclose(b, module.CHROMA * np.sin(np.radians(hue)), atol=1e-6)


def test_the_hue_is_in_the_picture(pictures: Dataset) -> None:
    """The brightest pixel of a letter has its colour; 1/255 is rounding, twice."""
    brightest = pictures.x.sum(1).flatten(1).argmax(1)
    pixel = pictures.x.flatten(2)[torch.arange(len(pictures)), :, brightest]
    colour = torch.from_numpy(letter_colour(pictures.factors["hue"].numpy())).float()
    found = (pixel + 1) / 2
    full = found.amax(1) / colour.amax(1)
    assert float(full.quantile(0.5)) > 0.97
    assert float((found - full[:, None] * colour).abs().max()) < 2 / 255


def test_grey_glyphs_have_no_hue() -> None:
    x, factors = draw_glyphs(SOME, 1, 28)
    assert x.shape == (52, 1, 28, 28) and "hue" not in factors
    assert float(x.max()) == 1
    colour, _ = draw_glyphs(SOME, 3, 28)
    # The letters are the same. A coloured one is darker, but has at least half the brightness in
    # one channel.
    grey = (x + 1) / 2
    brightest = (colour.amax(1, keepdim=True) + 1) / 2
    assert bool((brightest <= grey).all()) and bool((brightest >= grey / 2 - 1 / 255).all())


def test_held_out_pictures_are_others(pictures: Dataset) -> None:
    held_out = load_held_out("glyphs:RA")
    assert held_out is not None
    assert held_out.classes == pictures.classes and held_out.shape == pictures.shape
    assert len(held_out) == 2 * module.HELD_OUT_PER_LETTER
    assert not set(held_out.factors["hue"].tolist()) & set(pictures.factors["hue"].tolist())


def test_the_factors_follow_their_pictures(pictures: Dataset) -> None:
    """Split, limited, selected: the hue of a picture stays in its row."""
    hue_of = {bytes(x.numpy()): float(h) for x, h in zip(pictures.x, pictures.factors["hue"])}  # noqa: B905
    train, held_out = split(pictures, 0.25)
    many = pictures.select(torch.arange(10_100) % len(pictures), "many")
    for part in (train, held_out, pictures.select(torch.tensor([5, 2]), "two"), limit_size(many)):
        assert all(len(values) == len(part) for values in part.factors.values())
        for i in range(0, len(part), 397):
            assert hue_of[bytes(part.x[i].numpy())] == float(part.factors["hue"][i])


@pytest.mark.parametrize("values", [torch.zeros(3), torch.zeros(())])
def test_factors_without_a_row_for_each_sample_are_refused(values: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"data: factors\['hue'\] is .*: pass a tensor with one"):
        Dataset(torch.zeros(4, 2), torch.zeros(4, 1), factors={"hue": values})


def test_factors_are_no_part_of_the_digest(pictures: Dataset) -> None:
    bare = Dataset(pictures.x, pictures.y, pictures.classes)
    assert bare.digest == pictures.digest


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("glyphs:", "does not name glyphs: use glyphs, or glyphs:CxS:LETTERS"),
        ("glyphs:1x", "does not name glyphs"),
        ("glyphs:28", "does not name glyphs"),
        ("glyphs:ABC:1x28", "does not name glyphs"),
        ("glyphs:abc", "letters = 'abc': pass one or more of the capital letters A to Z"),
        ("glyphs:ABA", "letters = 'ABA'"),
        ("glyphs:ÄB", "letters = 'ÄB'"),
        ("glyphs:2x32", "channels = 2: glyphs have 3 channels, or 1"),
        ("glyphs:3x15", "side = 15 is outside 16..64: choose a side inside"),
        ("glyphs:3x65:A", "side = 65 is outside 16..64"),
    ],
)
def test_glyphs_that_there_are_not(spec: str, complaint: str) -> None:
    for load in (load_data, load_held_out):
        with pytest.raises(UsageError, match=f"^data = '{spec}'.*{complaint}"):
            load(spec)


def test_the_name_is_the_shortest_specification() -> None:
    assert load_data("glyphs:3x32:BA").name == "glyphs:AB"
    assert load_data("glyphs:1x28:A").name == "glyphs:1x28:A"
    assert module.glyphs_name(LETTERS, 3, 32) == "glyphs"


def test_a_font_that_is_missing_or_differs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = FACES[3]
    source = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{face.file}.ttf")
    folder = tmp_path / "fonts" / "ttf"
    folder.mkdir(parents=True)
    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    remedy = "install that version, pip install --force-reinstall matplotlib=="
    with pytest.raises(DataError, match=f"font of Computer Modern, cannot be read.*{remedy}"):
        module.read_font(face)
    content = bytearray(source.read_bytes())
    (folder / source.name).write_bytes(content)
    assert len(list(module.outlines(module.read_font(face)))) == 26
    content[-1] ^= 1
    (folder / source.name).write_bytes(content)
    with pytest.raises(DataError, match=f"cmr10.ttf, the font of .* differs .*{remedy}"):
        module.read_font(face)


def test_letters_that_are_filled_differently_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FACES", FACES[:1])
    with pytest.raises(DataError, match=r"filled with NumPy .* and fontTools .*have the digest"):
        module.all_masks.__wrapped__()


def test_a_filled_shape_has_its_area() -> None:
    """A ring: the inner contour runs against the outer one, so its winding number is 0."""

    def contour(half: float, turn: int) -> list[tuple[np.ndarray, np.ndarray]]:
        corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])[::turn]
        return list(pairwise(corners))

    ring = np.array(contour(300.0, 1) + contour(100.0, -1))
    mask = module.fill(ring)
    size = module.LETTER_PIXELS
    assert mask.sum() == 255 * (size**2 - (size // 3) ** 2)
    middle = len(mask) // 2
    assert mask[middle, middle] == 0
    assert mask[middle, module.MARGIN] == 255 and mask[middle, module.MARGIN - 1] == 0
