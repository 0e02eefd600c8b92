"""A network that reads the letter, the face, the hue and so on back from pictures of glyphs.

It counts the modes of a generator that was trained on `minicfg.datasets.glyphs`: how many samples
show which letter, in which typeface, in which hue, at which angle. It is trained on drawn pictures
only, in which every face is equally frequent, so that it does not prefer the common ones. Its
errors are measured on other drawn pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minicfg.data import check_seed
from minicfg.datasets.glyphs import (
    FACES,
    LETTERS,
    MAX_ANGLE,
    MAX_SHIFT,
    MAX_SIZE,
    MIN_SIZE,
    draw_glyphs,
)
from minicfg.errors import UsageError
from minicfg.threads import thread_count, threads

if TYPE_CHECKING:
    from jaxtyping import Float, Int

STEPS = 1500
BATCH = 128
NOISE = 0.05  # standard deviation of the noise that is added in training, as samples have a little
PICTURES = 60  # of every letter in every face, for training
TESTED = 10  # the same, for the errors
# The seeds of pictures of a data set are small as a rule; these pictures have others.
_PICTURE_SEED = 2**40


@dataclass(frozen=True, eq=False)
class Reading:
    """What the reader finds in n pictures.

    Attributes:
        letter: its number in the alphabet, int64 (n,).
        face: its number in `FACES`, int64 (n,).
        hue: degrees in [0, 360), float32 (n,); None for grey pictures.
        angle: degrees, counter-clockwise, float32 (n,).
        size: of the longer side of the letter, as a fraction of the side of the picture (n,).
        position: right and down from the middle, as fractions of the side (n, 2).
    """

    letter: Int[Tensor, " n"]
    face: Int[Tensor, " n"]
    hue: Float[Tensor, " n"] | None
    angle: Float[Tensor, " n"]
    size: Float[Tensor, " n"]
    position: Float[Tensor, "n 2"]


@dataclass(frozen=True, eq=False)
class ReadingErrors:
    """The errors of a reader on `n` pictures that it was not trained on.

    Attributes:
        letter_accuracy: fraction of the letters that are right, where faces are equally frequent.
        face_accuracy: the same of the faces, where these have their probabilities in `FACES`.
        confusion: (F, F), for each face in a row the fractions that are read as each face.
        hue_error: root mean square, in degrees, as the next one; None for grey pictures.
        angle_error: the same of the angle.
        size_error: the same of the size, as a fraction of the side, as the next one.
        position_error: the same of both coordinates of the position.
        n: number of pictures.
    """

    letter_accuracy: float
    face_accuracy: float
    confusion: Float[Tensor, "F F"]
    hue_error: float | None
    angle_error: float
    size_error: float
    position_error: float
    n: int

    def __str__(self) -> str:
        """In words, with the three largest confusions."""
        others = self.confusion.clone().fill_diagonal_(0)
        worst = others.flatten().topk(3)
        parts: list[str] = []
        for fraction, k in zip(worst.values.tolist(), worst.indices.tolist(), strict=True):
            true, read = divmod(k, len(FACES))
            if fraction > 0:
                parts.append(f"{fraction:.1%} of {FACES[true].name} as {FACES[read].name}")
        hue = "" if self.hue_error is None else f"hue {self.hue_error:.1f} degrees, "
        largest = f"; it reads {', '.join(parts)}" if parts else ""
        return (
            f"the reader, on {self.n:,} other pictures: letter {self.letter_accuracy:.2%}, face "
            f"{self.face_accuracy:.2%} right; root mean square errors: {hue}angle "
            f"{self.angle_error:.1f} degrees, size {self.size_error:.3f} and position "
            f"{self.position_error:.3f} of the side{largest}"
        )


class GlyphReader(nn.Module):
    """A convolutional network of (C, S, S) pictures; `train_glyph_reader` trains one.

    It has logits of the 26 letters; for each letter, logits of the faces, because a face looks
    different in every letter; and six numbers (`_numbers`): the hue as a vector, and angle, size
    and position in units of their ranges.
    """

    errors: ReadingErrors

    def __init__(self, channels: int = 3, side: int = 32) -> None:
        super().__init__()
        self.shape = (channels, side, side)
        layers: list[nn.Module] = []
        width = channels
        for out in (32, 64, 96):
            layers += [nn.Conv2d(width, out, 3, stride=2, padding=1), nn.BatchNorm2d(out)]
            layers += [nn.ReLU(), nn.Conv2d(out, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
            width = out
            side = (side + 1) // 2
        layers += [nn.Flatten(), nn.Linear(width * side**2, 256), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.letter = nn.Linear(256, len(LETTERS))
        self.face = nn.Linear(256, len(LETTERS) * len(FACES))
        self.numbers = nn.Linear(256, 6)

    def forward(
        self, x: Float[Tensor, "n C S S"]
    ) -> tuple[Float[Tensor, "n 26"], Float[Tensor, "n 26 F"], Float[Tensor, "n 6"]]:
        """The logits of letters, the logits of faces for each letter, and the six numbers."""
        hidden = self.body(x)
        faces = self.face(hidden).unflatten(1, (len(LETTERS), len(FACES)))
        return self.letter(hidden), faces, self.numbers(hidden)


def train_glyph_reader(
    channels: int = 3,
    side: int = 32,
    *,
    seed: SupportsIndex = 0,
    steps: int = STEPS,
    pictures: int = PICTURES,
    advance: Callable[[int, str], object] | None = None,
) -> GlyphReader:
    """Train a reader of glyphs, and measure its errors, which are `reader.errors`.

    The result is a function of the arguments, and torch's global generator keeps its state.

    Args:
        channels: of the pictures, 3 or 1.
        side: height and width of the pictures, 16..64.
        seed: of the weights and the batches, 0..2^64-1.
        steps: number of training steps, each with 128 pictures, at least 1.
        pictures: number of training pictures of every letter in every face, at least 1.
        advance: called after every step with 1 and a note, which is empty, to show progress; None
            to show nothing.

    Raises:
        UsageError: if an argument is out of range.
        DataError: if a font of the glyphs is missing or differs.
    """
    seed = check_seed(seed)
    for name, value in (("steps", steps), ("pictures", pictures)):
        if value < 1:
            raise UsageError(f"{name} = {value} trains nothing: pass 1 or more")
    x, truth = _uniform_pictures(pictures, 0, channels, side)
    truth["numbers"] = _numbers(truth)
    with torch.random.fork_rng(devices=[]), threads(thread_count(tuple(x.shape[1:]))):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
        reader = GlyphReader(channels, side)
        optimizer = torch.optim.AdamW(reader.parameters(), weight_decay=0.01, fused=True)
        for i in range(steps):
            warm_up = min(1, 10 * (i + 1) / steps)
            decay = math.cos(math.pi / 2 * i / steps) ** 2
            optimizer.param_groups[0]["lr"] = 3e-3 * warm_up * decay
            rows = torch.randint(len(x), (BATCH,))
            noisy = x[rows] + NOISE * torch.randn(BATCH, *x.shape[1:])
            optimizer.zero_grad()
            _loss(reader(noisy), truth, rows).backward()
            optimizer.step()
            if advance is not None:
                advance(1, "")
        reader.eval().requires_grad_(False)
        reader.errors = _errors(reader)
    return reader


@torch.no_grad()
def read_glyphs(reader: GlyphReader, x: Float[Tensor, "n C S S"]) -> Reading:
    """Read pictures, which are clipped to [-1, 1] first.

    The letter is the most probable one, and the face is the most probable one for this letter.

    Raises:
        UsageError: if the pictures have another shape than those of the reader.
    """
    if tuple(x.shape[1:]) != reader.shape:
        raise UsageError(
            f"x has shape {tuple(x.shape)}: this reader takes pictures of shape "
            f"(n, {', '.join(map(str, reader.shape))}); train one with train_glyph_reader"
        )
    letters: list[Tensor] = []
    faces: list[Tensor] = []
    numbers: list[Tensor] = []
    with threads(thread_count(reader.shape)):
        for part in x.split(512):
            clipped = part.to(reader.numbers.weight).clamp(-1, 1)
            of_letters, of_faces, of_numbers = reader(clipped)
            letter = of_letters.argmax(1)
            letters.append(letter)
            faces.append(of_faces[torch.arange(len(part)), letter].argmax(1))
            numbers.append(of_numbers)
    right, up, angle, size, *position = torch.cat(numbers).unbind(1)
    hue = torch.rad2deg(torch.atan2(up, right)) % 360
    return Reading(
        letter=torch.cat(letters),
        face=torch.cat(faces),
        hue=hue if reader.shape[0] == 3 else None,
        angle=MAX_ANGLE * angle,
        size=(MAX_SIZE + MIN_SIZE) / 2 + (MAX_SIZE - MIN_SIZE) / 2 * size,
        position=MAX_SHIFT * torch.stack(position, dim=1),
    )


def hue_difference(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The hue a minus the hue b, in degrees in [-180, 180)."""
    return (a - b + 180) % 360 - 180


def _uniform_pictures(
    count: int, first: int, channels: int, side: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw `count` pictures of every letter in every face, and return them with their truth."""
    number = np.arange(len(LETTERS) * len(FACES) * count)
    face = number // len(LETTERS) % len(FACES)
    indices = first + number
    x, factors = draw_glyphs(indices, channels, side, seed=_PICTURE_SEED, face=face)
    return x, {"letter": torch.from_numpy(indices % len(LETTERS)), **factors}


def _numbers(truth: dict[str, Tensor]) -> Float[Tensor, "n 6"]:
    """The six numbers that the reader has to predict, each in -1..1.

    Grey pictures have no hue: the first two numbers are then 0, and are not read.
    """
    hue = torch.deg2rad(truth["hue"]) if "hue" in truth else None
    zero = torch.zeros_like(truth["angle"])
    numbers = [
        zero if hue is None else hue.cos(),
        zero if hue is None else hue.sin(),
        truth["angle"] / MAX_ANGLE,
        (2 * truth["size"] - MAX_SIZE - MIN_SIZE) / (MAX_SIZE - MIN_SIZE),
        *(truth["position"] / MAX_SHIFT).unbind(1),
    ]
    return torch.stack(numbers, dim=1).float()


def _loss(outputs: tuple[Tensor, Tensor, Tensor], truth: dict[str, Tensor], rows: Tensor) -> Tensor:
    """The cross-entropies of letter and face, and the squared error of the six numbers."""
    letters, faces, numbers = outputs
    letter = truth["letter"][rows]
    of_letter = faces[torch.arange(len(rows)), letter]
    return (
        F.cross_entropy(letters, letter)
        + F.cross_entropy(of_letter, truth["face"][rows])
        + F.mse_loss(numbers, truth["numbers"][rows])
    )


def _errors(reader: GlyphReader) -> ReadingErrors:
    """Measure the errors on pictures that are not among those of training."""
    x, truth = _uniform_pictures(TESTED, 2**31, *reader.shape[:2])
    found = read_glyphs(reader, x)
    confusion = torch.zeros(len(FACES), len(FACES))
    confusion.index_put_((truth["face"], found.face), torch.ones(len(x)), accumulate=True)
    confusion /= confusion.sum(1, keepdim=True)
    probability = torch.tensor([face.probability for face in FACES])
    hue_error = None
    if found.hue is not None:
        hue_error = _root_mean_square(hue_difference(found.hue, truth["hue"]))
    return ReadingErrors(
        letter_accuracy=float((found.letter == truth["letter"]).double().mean()),
        face_accuracy=float(probability @ confusion.diagonal()),
        confusion=confusion,
        hue_error=hue_error,
        angle_error=_root_mean_square(found.angle - truth["angle"]),
        size_error=_root_mean_square(found.size - truth["size"]),
        position_error=_root_mean_square(found.position - truth["position"]),
        n=len(x),
    )


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
