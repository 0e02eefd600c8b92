"""Pictures of capital letters with known factors: letter, typeface, hue, angle, size and position.

The class is the letter. Each class has several modes: the typefaces, with the probabilities in
`FACES`, from 30 % down to 1 %. So it can be counted which modes a generator loses. All factors are
independent of each other and of the letter:

    factor      values                         distribution
    face        0..len(FACES) - 1              `Face.probability`, the same for every letter
    hue         0..360 degrees                 uniform; only pictures in colour have it
    angle       -12..12 degrees                uniform; positive is counter-clockwise
    size        0.55..0.75 of the side         uniform; the longer side of the letter's bounding box
    position    -0.05..0.05 of the side        uniform, right and down from the middle

With these ranges every letter lies inside its picture: a square of size 0.75 that is turned by 12
degrees and moved by 0.05 ends at 0.495 from the middle. The letter is bright on black. Its colour
has the same lightness and chroma for every hue in OKLCH coordinates, so that no hue is harder to
read than another. Grey pictures have white letters.

A picture is a function of (seed, index). The factors are drawn by Philox (`kernels.philox`), and
the letter is the index modulo 26. The outlines come from the font files that matplotlib installs.
They are read in the integer units of the fonts and filled by this module, so the versions of
FreeType and Pillow make no difference. A font that differs from the one expected is refused.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
import torch

from kernels import philox
from minicfg.data import Dataset, check_seed
from minicfg.errors import DataError, UsageError

if TYPE_CHECKING:
    from fontTools.ttLib import TTFont
    from jaxtyping import Float, Int, UInt8
    from torch import Tensor

LETTERS = string.ascii_uppercase
MATPLOTLIB = "3.11.2"  # Its fonts have the digests below; so have those of 3.10.8.


@dataclass(frozen=True)
class Face:
    """A typeface.

    Attributes:
        name: in words.
        file: of its font, in matplotlib's folder `fonts/ttf`.
        probability: fraction of the pictures of every letter that have this face.
        sha256: the first 16 digits of the SHA-256 of the font's file.
    """

    name: str
    file: str
    probability: float
    sha256: str


# DejaVu Sans Oblique, DejaVu Sans Mono and Computer Modern Sans are left out: several of their
# letters, such as I, L and F, cannot be distinguished from those of DejaVu Sans at 32 x 32 pixels.
FACES = (
    Face("DejaVu Sans", "DejaVuSans", 0.30, "3fdf69cabf06049e"),
    Face("DejaVu Serif Bold", "DejaVuSerif-Bold", 0.15, "c3753f2ed6bc673f"),
    Face("STIX", "STIXGeneral", 0.10, "167378031e2dddc6"),
    Face("Computer Modern", "cmr10", 0.08, "4dd9761b058c009d"),
    Face("DejaVu Sans Bold", "DejaVuSans-Bold", 0.06, "b184b89e3c1075f2"),
    Face("Computer Modern Typewriter", "cmtt10", 0.05, "6211f09ae9359999"),
    Face("DejaVu Serif", "DejaVuSerif", 0.04, "107244956e9962b9"),
    Face("STIX Italic", "STIXGeneralItalic", 0.04, "6cfcb333d22b7c3c"),
    Face("Computer Modern Bold", "cmb10", 0.04, "074497b50c43ea57"),
    Face("DejaVu Sans Bold Oblique", "DejaVuSans-BoldOblique", 0.03, "6edf0283160186af"),
    Face("DejaVu Serif Italic", "DejaVuSerif-Italic", 0.02, "3e7994fbc54fa10c"),
    Face("STIX Bold", "STIXGeneralBol", 0.02, "e8533dc7083fa346"),
    Face("DejaVu Sans Mono Bold", "DejaVuSansMono-Bold", 0.02, "baada9a5172fe208"),
    Face("Computer Modern Math Italic", "cmmi10", 0.02, "3092965b8811fd6a"),
    Face("Computer Modern Calligraphic", "cmsy10", 0.01, "bb226ed932f3f100"),
    Face("STIX Bold Italic", "STIXGeneralBolIta", 0.01, "98788fd4ba48dfbb"),
    Face("DejaVu Serif Bold Italic", "DejaVuSerif-BoldItalic", 0.01, "d93efec7a9d2e826"),
)

MASKS_SHA256 = "a5be16cee18bfbb0"  # of the result of `all_masks`
_REMEDY = f"install that version, pip install --force-reinstall matplotlib=={MATPLOTLIB}"

MAX_ANGLE = 12.0  # degrees
MIN_SIZE = 0.55  # of the side of the picture, as the next two
MAX_SIZE = 0.75
MAX_SHIFT = 0.05
LIGHTNESS = 0.75  # of the letter's colour in OKLCH; with this chroma every hue lies inside sRGB
CHROMA = 0.12

MIN_SIDE = 16  # pixels; below, letters cannot be read
MAX_SIDE = 64
PICTURES_PER_LETTER = 800
HELD_OUT_PER_LETTER = 200
FIRST_HELD_OUT = 2**20  # The number of the first held-out picture of each letter.

LETTER_PIXELS = 48  # longer side of a letter's bounding box in its mask
MARGIN = 2  # empty pixels around it, so that interpolation outside gives 0
_MASK_PIXELS = LETTER_PIXELS + 2 * MARGIN
_ROWS_PER_PIXEL = 4  # scan lines
_CHORDS = 8  # straight pieces of a Bezier curve
_BATCH = 64  # pictures that are drawn at a time; their arrays then fit into the cache


def glyphs(
    letters: str = LETTERS,
    channels: int = 3,
    side: int = 32,
    *,
    seed: SupportsIndex = 0,
    held_out: bool = False,
) -> Dataset:
    """Return 800 pictures of each letter, or 200 held-out ones.

    The pictures of a letter do not depend on which other letters the data set has.

    Args:
        letters: capital letters, all different. They are the classes, in alphabetical order.
        channels: 3 for colour, 1 for grey.
        side: height and width in pixels, 16..64.
        seed: of the factors, 0..2^64-1.
        held_out: return pictures with other indices.

    Raises:
        UsageError: if an argument is out of range.
        DataError: if a font is missing or differs.
    """
    unknown = [letter for letter in letters if letter not in LETTERS]
    if unknown or not letters or len(set(letters)) < len(letters):
        raise UsageError(
            f"letters = {letters!r}: pass one or more of the capital letters A to Z, each once"
        )
    classes = tuple(sorted(letters))
    count = HELD_OUT_PER_LETTER if held_out else PICTURES_PER_LETTER
    first = FIRST_HELD_OUT if held_out else 0
    numbers = np.array([LETTERS.index(letter) for letter in classes])
    picture = first + np.arange(count)
    indices = (len(LETTERS) * picture[:, None] + numbers).ravel()
    x, factors = draw_glyphs(indices, channels, side, seed=seed)
    name = glyphs_name("".join(classes), channels, side)
    return Dataset(
        x=x,
        y=torch.arange(len(classes)).repeat(count),
        classes=classes,
        name=f"{name}, held-out part" if held_out else name,
        factors=factors,
    )


def read_glyphs(spec: str, *, held_out: bool = False) -> Dataset:
    """Return the glyphs that a specification names: `glyphs`, `glyphs:1x28`, `glyphs:1x28:ABC`.

    After `glyphs` there may be channels and side, then letters, each after a colon. The default is
    3x32 and all letters.

    Raises:
        UsageError: if a part is neither, or out of range; and as `glyphs`.
        DataError: as `glyphs`.
    """
    found = re.fullmatch(r"glyphs(?::(\d{1,9})x(\d{1,9}))?(?::(\D+))?", spec)
    if found is None:
        raise UsageError(
            f"data = {spec!r} does not name glyphs: use glyphs, or glyphs:CxS:LETTERS with C "
            "channels, S pixels and capital letters, such as glyphs:1x28, glyphs:ABC or "
            "glyphs:3x32:ABC"
        )
    channels, side, letters = found.groups()
    try:
        return glyphs(letters or LETTERS, int(channels or 3), int(side or 32), held_out=held_out)
    except UsageError as error:
        raise UsageError(f"data = {spec!r}: {error}") from None


def glyphs_name(letters: str, channels: int, side: int) -> str:
    """The shortest specification of a data set of glyphs, such as `glyphs:1x28:ABC`."""
    parts = ["glyphs"]
    if (channels, side) != (3, 32):
        parts.append(f"{channels}x{side}")
    if letters != LETTERS:
        parts.append(letters)
    return ":".join(parts)


def draw_glyphs(
    indices: Int[np.ndarray, " n"],
    channels: int = 3,
    side: int = 32,
    *,
    seed: SupportsIndex = 0,
    face: Int[np.ndarray, " n"] | None = None,
) -> tuple[Float[Tensor, "n C side side"], dict[str, Tensor]]:
    """Draw the pictures with these indices, in -1..1 and rounded to 256 values.

    Args:
        indices: integers 0..2^32-1; the letter is the index modulo 26.
        channels: 3 for colour, 1 for grey.
        side: height and width in pixels, 16..64.
        seed: of the factors, 0..2^64-1.
        face: the number of every picture's face, to draw these faces; None to draw them at random.

    Returns:
        The pictures, and their factors by name, as the text of the module describes them.

    Raises:
        UsageError: if an argument is out of range.
        DataError: if a font is missing or differs.
    """
    if channels not in (1, 3):
        raise UsageError(f"channels = {channels}: glyphs have 3 channels, or 1 for grey pictures")
    if not MIN_SIDE <= side <= MAX_SIDE:
        raise UsageError(
            f"side = {side} is outside {MIN_SIDE}..{MAX_SIDE}: choose a side inside, because "
            "smaller letters cannot be read"
        )
    masks = all_masks()
    factors = draw_factors(indices, seed)
    if face is None:
        face = factors["face"].numpy()
    elif len(face) and not (face.min() >= 0 and face.max() < len(FACES)):
        raise UsageError(
            f"face holds {face.min()}..{face.max()}: pass numbers in 0..{len(FACES) - 1}"
        )
    factors["face"] = torch.from_numpy(face)
    letter = indices % len(LETTERS)
    if channels == 3:
        colour = letter_colour(factors["hue"].numpy())
    else:
        del factors["hue"]
        colour = np.ones((len(indices), 1))
    x = torch.empty(len(indices), channels, side, side)
    for start in range(0, len(indices), _BATCH):
        rows = slice(start, start + _BATCH)
        of_batch = {name: values[rows].numpy() for name, values in factors.items()}
        coverage = _transform(
            masks[letter[rows], face[rows]],
            of_batch["angle"],
            of_batch["size"],
            of_batch["position"],
            side,
        )
        pixels = coverage[:, None] * colour[rows, :, None, None]
        values = np.floor(255 * pixels + 0.5)
        x[rows] = torch.from_numpy(values).float() / 127.5 - 1
    return x, factors


def draw_factors(indices: Int[np.ndarray, " n"], seed: SupportsIndex = 0) -> dict[str, Tensor]:
    """Draw the factors of the pictures with these indices: face, hue, angle, size, position.

    Shapes are (n,), and (n, 2) for the position. The face is int64, the others are float64.
    """
    u = philox.uniform(check_seed(seed), torch.from_numpy(indices), 0, 6, philox.DATA_IMAGES)
    edges = torch.tensor([face.probability for face in FACES], dtype=torch.float64).cumsum(0)
    return {
        # The last edge is 1 up to rounding, so it is left out: u above the others is the last face.
        "face": torch.bucketize(u[:, 0].contiguous(), edges[:-1], right=True),
        "hue": 360 * u[:, 1],
        "angle": MAX_ANGLE * (2 * u[:, 2] - 1),
        "size": MIN_SIZE + (MAX_SIZE - MIN_SIZE) * u[:, 3],
        "position": MAX_SHIFT * (2 * u[:, 4:6] - 1),
    }


def letter_colour(hue: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """The colour of a letter with this hue in degrees, as sRGB values in 0..1.

    The hue is an angle in the plane of chroma of Oklab (Ottosson 2020, "A perceptual color space
    for image processing"). The six lines are its two matrices.
    """
    h = np.radians(hue)
    a = CHROMA * np.cos(h)
    b = CHROMA * np.sin(h)
    long = (LIGHTNESS + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (LIGHTNESS - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (LIGHTNESS - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    linear = np.stack([red, green, blue], axis=1)
    # The transfer function of sRGB; no component is near its linear part at 0.
    return 1.055 * linear ** (1 / 2.4) - 0.055


def _transform(
    masks: UInt8[np.ndarray, "n P P"],
    angle: Float[np.ndarray, " n"],
    size: Float[np.ndarray, " n"],
    position: Float[np.ndarray, "n 2"],
    side: int,
) -> Float[np.ndarray, "n side side"]:
    """The fraction of every pixel that the turned, scaled and moved letter covers.

    A pixel is the mean of some points in it, at which the mask is interpolated bilinearly. There
    are enough of them that their distance in the mask is at most about 1.5 of its pixels: fewer
    points would miss thin strokes.

    Sums are written out term by term, so that every machine adds in the same order.
    """
    points = math.ceil(MAX_SIDE / side)  # per pixel and axis
    offsets = (np.arange(points) + 0.5) / points
    cos = (np.cos(np.radians(angle)) / size)[:, None, None]
    sin = (np.sin(np.radians(angle)) / size)[:, None, None]
    # The place of a point, in units of the side of the picture, from the middle of the letter.
    pixel = np.arange(side)
    total = np.zeros((len(masks), side, side))
    for down_offset in offsets:
        down = (pixel + down_offset)[None, :, None] / side - 0.5 - position[:, 1, None, None]
        for right_offset in offsets:
            right = (pixel + right_offset)[None, None, :] / side - 0.5 - position[:, 0, None, None]
            # Rows of pictures go down, so this turns counter-clockwise as one sees it.
            column = cos * right - sin * down
            row = sin * right + cos * down
            total += _interpolate(masks, row, column)
    return total / (255 * points**2)


def _interpolate(
    masks: UInt8[np.ndarray, "n P P"],
    row: Float[np.ndarray, "n side side"],
    column: Float[np.ndarray, "n side side"],
) -> Float[np.ndarray, "n side side"]:
    """The masks between their pixels; `row` and `column` are in units of the letter's size."""
    top = _MASK_PIXELS / 2 - 0.5
    row = np.clip(row * LETTER_PIXELS + top, 0, _MASK_PIXELS - 1.001)
    column = np.clip(column * LETTER_PIXELS + top, 0, _MASK_PIXELS - 1.001)
    i = row.astype(np.int64)
    j = column.astype(np.int64)
    down = row - i
    right = column - j
    flat = masks.ravel()
    at = (np.arange(len(masks))[:, None, None] * _MASK_PIXELS + i) * _MASK_PIXELS + j
    upper = flat[at] * (1 - right) + flat[at + 1] * right
    lower = flat[at + _MASK_PIXELS] * (1 - right) + flat[at + _MASK_PIXELS + 1] * right
    return upper * (1 - down) + lower * down


@lru_cache(maxsize=1)
def all_masks() -> UInt8[np.ndarray, "26 F P P"]:
    """The masks of every letter in every face, 0 outside of the letter and 255 inside.

    The longer side of a letter's bounding box is 48 pixels, and the letter is in the middle.

    Raises:
        DataError: if a font is missing or differs, or if its letters are filled differently.
    """
    faces: list[np.ndarray] = []
    for face in FACES:
        faces.append(np.stack([fill(outline) for outline in outlines(read_font(face))]))
    masks = np.stack(faces, axis=1)
    found = _digest(masks.tobytes())
    if found != MASKS_SHA256:
        raise DataError(
            f"glyphs: the letters, filled with NumPy {np.__version__} and fontTools "
            f"{version('fonttools')}, have the digest {found} instead of {MASKS_SHA256}, "
            "so the pictures would differ from those of other machines: install the versions in "
            "constraints.txt, pip install -c constraints.txt numpy fonttools"
        )
    return masks


def read_font(face: Face) -> TTFont:
    """Read the font of a face from the files that matplotlib installs.

    The bytes are compared with the digest of the face before anything in them is interpreted.

    Raises:
        DataError: if the file is missing or differs.
    """
    import matplotlib
    from fontTools.ttLib import TTFont

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{face.file}.ttf")
    installed = f"matplotlib {matplotlib.__version__}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"glyphs: {path}, the font of {face.name}, cannot be read ({error.strerror}) in "
            f"{installed}: {_REMEDY}"
        ) from error
    if _digest(content) != face.sha256:
        raise DataError(
            f"glyphs: {path}, the font of {face.name} in {installed}, differs from the one in "
            f"matplotlib {MATPLOTLIB}, from which this data set is made: {_REMEDY}"
        )
    # The fonts of Computer Modern have an old date, of which fontTools would warn on stderr.
    logging.getLogger("fontTools.ttLib.tables._h_e_a_d").setLevel(logging.ERROR)
    return TTFont(io.BytesIO(content))


def _digest(content: bytes) -> str:
    """The first 16 digits of the SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]


def outlines(font: TTFont) -> Iterator[Float[np.ndarray, "s 2 2"]]:
    """Yield the outline of each of the 26 letters as straight segments, from a point to the next.

    The coordinates of the ends are in units of the font, right and up. A curve, which is a
    quadratic Bezier curve, becomes eight chords.
    """
    from fontTools.pens.recordingPen import DecomposingRecordingPen

    glyph_set = font.getGlyphSet()
    names = font.getBestCmap()
    assert names is not None  # each of our fonts has a table from letters to glyphs
    for letter in LETTERS:
        pen = DecomposingRecordingPen(glyph_set)
        glyph_set[names[ord(letter)]].draw(pen)
        yield _segments(pen.value)


def _segments(drawing: Sequence[tuple[str, Sequence[Any]]]) -> Float[np.ndarray, "s 2 2"]:
    """The segments of the commands moveTo, lineTo, qCurveTo and closePath with their points."""
    from fontTools.pens.basePen import decomposeQuadraticSegment

    u = np.arange(1, _CHORDS + 1)[:, None] / _CHORDS
    contours: list[list[np.ndarray]] = []
    for command, points in drawing:
        match command:
            case "moveTo":
                contours.append([np.array(points[0], float)])
            case "lineTo":
                contours[-1].append(np.array(points[0], float))
            case "qCurveTo":
                for pair in decomposeQuadraticSegment(points):
                    start = contours[-1][-1]
                    control, end = np.array(pair)
                    curve = (1 - u) ** 2 * start + 2 * u * (1 - u) * control + u**2 * end
                    contours[-1].extend(curve)
            case _:  # closePath
                contours[-1].append(contours[-1][0])
    segments: list[np.ndarray] = []
    for contour in contours:
        corners = np.array(contour)
        segments.append(np.stack([corners[:-1], corners[1:]], axis=1))
    return np.concatenate(segments)


def fill(segments: Float[np.ndarray, "s 2 2"]) -> UInt8[np.ndarray, "P P"]:
    """Fill the outline: the fraction of every pixel inside it, from 0 to 255.

    Along each scan line, a segment that crosses at x adds its direction, +1 or -1, to all that is
    right of x. The sum is the winding number, which is not 0 inside. The pixel that contains x gets
    the part of it that is right of x.
    """
    low = segments.min(axis=(0, 1))
    high = segments.max(axis=(0, 1))
    scale = LETTER_PIXELS / (high - low).max()
    middle = (low + high) / 2
    flip = np.array([1, -1])  # Outlines go up, rows of pictures go down.
    x, y = np.moveaxis((segments - middle) * scale * flip + _MASK_PIXELS / 2, -1, 0)
    lines = (np.arange(_MASK_PIXELS * _ROWS_PER_PIXEL) + 0.5) / _ROWS_PER_PIXEL
    is_below = y[None] <= lines[:, None, None]
    line, segment = np.nonzero(is_below[..., 0] != is_below[..., 1])
    along = (lines[line] - y[segment, 0]) / (y[segment, 1] - y[segment, 0])
    crossing = x[segment, 0] + along * (x[segment, 1] - x[segment, 0])
    direction = np.where(is_below[line, segment, 0], 1.0, -1.0)
    pixel = np.floor(crossing).astype(np.int64)
    part = crossing - pixel
    change = np.zeros((len(lines), _MASK_PIXELS))
    np.add.at(change, (line, pixel), direction * (1 - part))
    np.add.at(change, (line, pixel + 1), direction * part)
    winding = np.minimum(np.abs(change.cumsum(axis=1)), 1)
    rows = winding.reshape(_MASK_PIXELS, _ROWS_PER_PIXEL, _MASK_PIXELS)
    total = rows[:, 0]
    for k in range(1, _ROWS_PER_PIXEL):
        total = total + rows[:, k]
    return np.floor(total * (255 / _ROWS_PER_PIXEL) + 0.5).astype(np.uint8)
