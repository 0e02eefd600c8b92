"""Count which modes guided sampling keeps, on glyphs, where every factor is known.

Guidance samples approximately from `p(x given y) p(y given x)^w`, up to a constant. Each class of
the glyphs is a letter, and its modes are the faces. A factor that does not change p(y given x),
such as the hue, would keep its distribution if guidance sampled this tilted distribution exactly.
This program measures which factors do:

    python -m minicfg.bench.modes runs/glyphs/model --out runs/modes

For each way of guiding and each weight w it draws samples of every letter, reads their factors back
with a small network (`minicfg.metrics.glyph_reader`), and counts. Held-out pictures are read as
well, so that the errors of the reader can be compared with the effects of guidance. The program
writes modes.json and the figure modes.png.

The ways of guiding:

    constant       w at every time
    interval       w where the log SNR lies in [-2.1, 2.5), and 0 elsewhere (arXiv:2404.07724)
    ramp           w times a factor that rises with the angle atan(exp(log SNR / 2)) from 0 at pure
                   noise to 2 at the data
    rescale        constant, rescaled towards the conditional standard deviation (arXiv:2305.08891)
    apg            constant, without the component parallel to the guess (arXiv:2410.02416)
    autoguidance   a smaller network replaces the null output (arXiv:2406.02507); with --weak
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from minicfg import guidance, solvers
from minicfg.adapters import Autoguided
from minicfg.data import Dataset
from minicfg.datasets import load_data, load_held_out
from minicfg.datasets.glyphs import FACES, LETTERS
from minicfg.errors import DataError, MachineError, UsageError
from minicfg.io.atomic import check_writable, write_atomic
from minicfg.io.checkpoint import Checkpoint, load
from minicfg.metrics.classifier import Classifier, train_classifier
from minicfg.metrics.evaluate import MIN_SAMPLES_PER_CLASS, evaluate, evaluate_real
from minicfg.metrics.glyph_reader import GlyphReader, Reading, read_glyphs, train_glyph_reader
from minicfg.sampling import Rule, sample
from minicfg.threads import thread_count, threads
from minicfg.viz import plots

INTERVAL = (-2.1, 2.5)  # log SNRs of the noise levels 2.9 and 0.28 of arXiv:2404.07724
FOLDS = 20  # for the standard errors
BATCH = 260  # samples at a time: ten of each letter


@dataclass(frozen=True)
class Way:
    """A way of guiding.

    Attributes:
        name: of the list above.
        rule: how the two outputs are mixed; None for `guide`.
        weight: the factor of w, as a function of the log SNR; None for 1.
        weak: the network that replaces the null output; None for the null output.
    """

    name: str
    rule: Rule | None = None
    weight: Callable[[Tensor], Tensor] | None = None
    weak: torch.nn.Module | None = None


@dataclass(frozen=True)
class Factors:
    """What was read in n pictures. Every number has a standard error in a second `Factors`.

    Attributes:
        faces: the fraction of every face, in the order of `FACES`.
        face_entropy: of these fractions, in nats.
        letter_accuracy: fraction of the pictures in which the letter of their label is read.
        hue_concentration: length of the mean hue as a unit vector, within a letter: 0 for the
            uniform distribution, 1 for a single hue. NaN for grey pictures.
        angle_std: standard deviation within a letter, in degrees.
        size_std: the same of the size, as a fraction of the side.
        position_std: the same of a coordinate of the position.
    """

    faces: tuple[float, ...]
    face_entropy: float
    letter_accuracy: float
    hue_concentration: float
    angle_std: float
    size_std: float
    position_std: float


def ways_of_guiding(weak: torch.nn.Module | None) -> list[Way]:
    """The ways that the text of the module lists; autoguidance only with a weak network."""
    low, high = INTERVAL
    ways = [
        Way("constant"),
        Way("interval", weight=lambda log_snr: ((low <= log_snr) & (log_snr < high)).double()),
        Way("ramp", weight=lambda log_snr: 4 / math.pi * torch.atan(torch.exp(log_snr / 2))),
        Way("rescale", rule=guidance.rescale),
        Way("apg", rule=guidance.apg),
    ]
    return ways if weak is None else [*ways, Way("autoguidance", weak=weak)]


def draw(checkpoint: Checkpoint, way: Way, y: Tensor, w: float, steps: int, seed: int) -> Tensor:
    """Draw one sample per label. Sample i has the same noise for every way and every w."""
    schedule = checkpoint.schedule
    table = solvers.ddim(schedule, steps, prediction=checkpoint.config.prediction)
    if way.weight is not None:
        table = solvers.with_weight(table, schedule, way.weight)
    x: list[Tensor] = []
    for ids in torch.arange(len(y)).split(BATCH):
        model = checkpoint.model
        if way.weak is not None:
            model = Autoguided(checkpoint.model, way.weak, y[ids])
        x.append(
            sample(
                model,
                y[ids],
                table,
                shape=checkpoint.shape,
                w=w,
                seed=seed,
                sample_ids=ids,
                clip=1.0,
                rule=way.rule,
            )
        )
    return torch.cat(x)


def factors_of(found: Reading, y: Tensor, letters: Tensor) -> tuple[Factors, Factors]:
    """The factors, and their standard errors by a jackknife over 20 parts of the pictures.

    The pictures of a label are dealt to the parts in turn, so a label with three or more pictures
    keeps two when a part is left out.

    Args:
        found: what the reader read.
        y: the label of every picture, for which it was drawn; each label three times or more.
        letters: of every label, the number of its letter in the alphabet.
    """
    n = len(y)
    folds = min(FOLDS, n // 2)
    part = torch.empty(n, dtype=torch.int64)
    for label in y.unique():
        members = torch.nonzero(y == label).flatten()
        part[members] = (torch.arange(len(members)) + label) % folds
    values = _statistics(found, y, letters, torch.ones(n, dtype=torch.bool))
    without = np.stack([_statistics(found, y, letters, part != k) for k in range(folds)])
    errors = np.sqrt((folds - 1) * without.var(axis=0))
    return _as_factors(values), _as_factors(errors)


def _statistics(found: Reading, y: Tensor, letters: Tensor, rows: Tensor) -> np.ndarray:
    """The fields of `Factors`, one after the other, for some of the pictures."""
    faces = torch.bincount(found.face[rows], minlength=len(FACES)).double()
    faces = faces / faces.sum()
    labels = y[rows]
    hue = math.nan if found.hue is None else _concentration(found.hue[rows], labels)
    rest = (
        float(torch.special.entr(faces).sum()),
        float((found.letter[rows] == letters[labels]).double().mean()),
        hue,
        _std_within(found.angle[rows], labels),
        _std_within(found.size[rows], labels),
        _std_within(found.position[rows], labels),
    )
    return np.array([*faces.tolist(), *rest])


def _as_factors(values: np.ndarray) -> Factors:
    count = len(FACES)
    return Factors(tuple(values[:count].tolist()), *values[count:].tolist())


def _std_within(values: Tensor, y: Tensor) -> float:
    """The root of the variance within a label, averaged over labels and coordinates."""
    variances = [values[y == label].double().var(0).mean() for label in y.unique()]
    return float(torch.stack(variances).mean().sqrt())


def _concentration(hue: Tensor, y: Tensor) -> float:
    """The root of the squared length of the mean hue, without bias, averaged over labels.

    The mean of n unit vectors with independent uniform angles has squared length 1 / n on average,
    so (n R^2 - 1) / (n - 1) has mean 0 there; it is 1 where all hues are equal.
    """
    angle = torch.deg2rad(hue.double())
    squares: list[Tensor] = []
    for label in y.unique():
        of_label = angle[y == label]
        n = len(of_label)
        square = of_label.cos().mean() ** 2 + of_label.sin().mean() ** 2
        squares.append((n * square - 1) / (n - 1))
    return math.sqrt(max(0.0, float(torch.stack(squares).mean())))


def measure(
    checkpoint: Checkpoint,
    held_out: Dataset,
    reader: GlyphReader,
    classifier: Classifier,
    *,
    ways: Sequence[Way],
    ws: Sequence[float],
    each: int,
    seeds: int,
    steps: int,
) -> Iterator[dict[str, Any]]:
    """Yield one result for every way of guiding and every w, with standard errors.

    A result has the way, w, `factors` and `scores` (those of `evaluate`). At w = 0 all ways are
    equal, and only constant guidance is measured.

    Args:
        checkpoint: the network.
        held_out: pictures of the same letters, to compare with.
        reader: of pictures of this shape.
        classifier: of these letters; its features measure distances.
        ways: the ways of guiding.
        ws: the weights.
        each: samples of every letter for each seed.
        seeds: number of seeds, 0, 1, ...; their samples are counted together.
        steps: of the solver.
    """
    K = len(checkpoint.classes)
    y = torch.arange(K).repeat(each)
    asked = y.repeat(seeds)
    letters = _letters(checkpoint.classes)
    for way in ways:
        for w in ws:
            if w == 0 and way.name != "constant":
                continue
            x = torch.cat([draw(checkpoint, way, y, w, steps, seed) for seed in range(seeds)])
            factors, errors = factors_of(read_glyphs(reader, x), asked, letters)
            scores = evaluate(x, asked, classifier, held_out)
            yield {
                "way": way.name,
                "w": w,
                "n": len(x),
                "factors": asdict(factors),
                "standard_errors": asdict(errors),
                "scores": asdict(scores),
            }


def measure_held_out(
    held_out: Dataset, reader: GlyphReader, classifier: Classifier, n: int
) -> dict[str, Any]:
    """The same for held-out pictures, which no network has made."""
    found = read_glyphs(reader, held_out.x)
    factors, errors = factors_of(found, held_out.labels, _letters(held_out.classes))
    return {
        "way": "held-out pictures",
        "n": len(held_out),
        "factors": asdict(factors),
        "standard_errors": asdict(errors),
        "scores": asdict(evaluate_real(classifier, held_out, held_out, n)),
    }


def _letters(classes: Sequence[str]) -> Tensor:
    return torch.tensor([LETTERS.index(name) for name in classes])


def draw_figure(results: Sequence[dict[str, Any]], real: dict[str, Any]) -> Figure:
    """The figure: faces, their entropy, the other factors, and the Frechet distance over w."""
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    (top_left, top_right), (bottom_left, bottom_right) = figure.subplots(2, 2)
    constant = [result for result in results if result["way"] == "constant"]

    place = np.arange(len(FACES))
    probability = np.array([face.probability for face in FACES])
    for k in place:
        label = "probability in the data" if k == 0 else None
        top_left.plot([k - 0.4, k + 0.4], [probability[k]] * 2, color="black", lw=1.5, label=label)
    shown = [constant[k] for k in sorted({0, len(constant) // 2, len(constant) - 1})]
    for i, (result, color) in enumerate(zip(shown, plots.COLORS, strict=False)):
        offset = 0.25 * (i - (len(shown) - 1) / 2)
        top_left.errorbar(
            place + offset,
            result["factors"]["faces"],
            result["standard_errors"]["faces"],
            fmt="o",
            ms=4,
            lw=1,
            color=color,
            label=f"w = {result['w']:g}",
        )
    top_left.set(title="Fraction of each typeface, constant w", ylabel="fraction of the samples")
    top_left.set_yscale("symlog", linthresh=0.005)
    top_left.set_ylim(0, 1)
    ticks = (0, 0.002, 0.01, 0.03, 0.1, 0.3, 1)
    top_left.set_yticks(ticks, [f"{100 * tick:g} %" for tick in ticks], minor=False)
    top_left.minorticks_off()
    top_left.set_xticks(place, [face.name for face in FACES], rotation=90, fontsize=7)
    top_left.legend(fontsize=8)

    for axes, title, label in (
        (top_right, "Entropy of the typefaces", "nats"),
        (bottom_right, "Fréchet distance (colours as above)", "distance to held-out pictures"),
    ):
        axes.set(title=title, xlabel="w", ylabel=label)
        is_entropy = axes is top_right
        names = list(dict.fromkeys(r["way"] for r in results))
        for name, color in zip(names, plots.COLORS[: len(names)], strict=True):
            # All ways are equal at w = 0.
            of_way = [r for r in results if r["way"] == name or r["w"] == 0]
            of_way.sort(key=lambda r: r["w"])
            values, errors = zip(*(_entropy_or_frechet(r, is_entropy) for r in of_way), strict=True)
            ws = [r["w"] for r in of_way]
            axes.errorbar(ws, values, errors, fmt="o-", ms=4, lw=1, color=color, label=name)
        level, _ = _entropy_or_frechet(real, is_entropy)
        axes.axhline(level, color="black", ls="--", lw=1, label="held-out pictures")
    top_right.legend(fontsize=8)
    bottom_right.set_yscale("log")

    for (name, label), color in zip(
        (
            ("angle_std", "angle"),
            ("size_std", "size"),
            ("position_std", "position"),
        ),
        plots.COLORS,
        strict=False,
    ):
        base = real["factors"][name]
        values = [result["factors"][name] / base for result in constant]
        errors = [result["standard_errors"][name] / base for result in constant]
        ws = [result["w"] for result in constant]
        label = f"standard deviation of the {label}, relative to held-out pictures"
        bottom_left.errorbar(ws, values, errors, fmt="o-", ms=4, lw=1, color=color, label=label)
    values = [1 - result["factors"]["hue_concentration"] for result in constant]
    if not np.isnan(values).any():
        errors = [result["standard_errors"]["hue_concentration"] for result in constant]
        label = "1 - length of the mean hue"
        ws = [result["w"] for result in constant]
        bottom_left.errorbar(
            ws, values, errors, fmt="s-", ms=4, lw=1, color=plots.COLORS[3], label=label
        )
    bottom_left.axhline(1, color="black", ls="--", lw=1)
    bottom_left.set(title="Spread within a letter, constant w", xlabel="w", ylim=(0, 1.5))
    bottom_left.legend(fontsize=8, loc="upper right")
    return figure


def _entropy_or_frechet(result: dict[str, Any], is_entropy: bool) -> tuple[float, float]:
    """The value, and its standard error."""
    if is_entropy:
        return result["factors"]["face_entropy"], result["standard_errors"]["face_entropy"]
    return result["scores"]["frechet"], result["scores"]["frechet_se"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a line for each result, and write modes.json and modes.png."""
    parser = argparse.ArgumentParser(
        prog="python -m minicfg.bench.modes",
        description="Count which modes guided sampling keeps, on glyphs.",
    )
    add = partial(parser.add_argument, metavar="N", type=int)
    parser.add_argument("checkpoint", help="a model that was trained on glyphs")
    parser.add_argument("--weak", help="a smaller model of the same data, for autoguidance")
    parser.add_argument("--ways", nargs="+", metavar="WAY", help="some of the ways (default: all)")
    parser.add_argument("--out", type=Path, default=Path("runs/modes"), help="folder")
    parser.add_argument("--w", type=float, nargs="+", default=[0.0, 0.5, 1.0, 2.0, 4.0, 8.0])
    add("--each", default=40, help="samples of every letter for each seed (default 40)")
    add("--seeds", default=3, help="number of seeds (default 3)")
    add("--steps", default=25, help="steps of DDIM (default 25)")
    add("--reader-steps", default=1500, help="training steps of the reader (default 1500)")
    add("--classifier-steps", default=1000, help="the same of the classifier (default 1000)")
    given = parser.parse_args(arguments)
    try:
        run(**vars(given))
    except (UsageError, DataError, MachineError) as error:
        print(f"minicfg.bench.modes: {error}", file=sys.stderr)
        return {UsageError: 2, DataError: 3, MachineError: 4}[type(error)]
    return 0


def run(
    checkpoint: str,
    out: Path,
    weak: str | None,
    ways: Sequence[str] | None,
    w: Sequence[float],
    each: int,
    seeds: int,
    steps: int,
    reader_steps: int,
    classifier_steps: int,
) -> None:
    """Train the reader and the classifier, measure, and write the two files."""
    trained = load(checkpoint)
    for name, value in (("each", each), ("seeds", seeds)):
        if value < 1:
            raise UsageError(f"--{name} {value} draws nothing: choose 1 or more")
    if each * seeds < MIN_SAMPLES_PER_CLASS:
        raise UsageError(
            f"--each {each} with --seeds {seeds} draws {each * seeds} of every letter: choose "
            f"{MIN_SAMPLES_PER_CLASS} or more in all, which the scores take"
        )
    data = load_data(trained.config.data)
    held_out = load_held_out(trained.config.data)
    if held_out is None or not data.factors:
        raise DataError(
            f"{checkpoint} was trained on {data.name}, which has no factors: choose a model "
            "that was trained on glyphs"
        )
    if data.digest != trained.data_digest:
        raise DataError(
            f"{checkpoint} was trained on other pictures than {data.name}: train it again with "
            "this version of minicfg"
        )
    chosen = ways_of_guiding(None if weak is None else load(weak).model)
    if ways is not None:
        names = [way.name for way in chosen]
        for name in ways:
            if name not in names:
                raise UsageError(f"--ways {name} is none of {', '.join(names)}; choose among them")
        chosen = [way for way in chosen if way.name in ways]
    check_writable(out)
    channels, side, _ = trained.shape
    reader = train_glyph_reader(channels, side, steps=reader_steps)
    print(reader.errors)
    classifier = train_classifier(data, steps=classifier_steps)
    print(f"the classifier: {classifier.held_out_accuracy:.2%} of the letters right")
    real = measure_held_out(held_out, reader, classifier, each * seeds * len(data.classes))
    print(_line(real))
    results: list[dict[str, Any]] = []
    with threads(thread_count(trained.shape)):
        for result in measure(
            trained,
            held_out,
            reader,
            classifier,
            ways=chosen,
            ws=w,
            each=each,
            seeds=seeds,
            steps=steps,
        ):
            print(_line(result))
            results.append(result)
            content = {
                "checkpoint": {"step": trained.step, "data": trained.config.data},
                "faces": [{"name": face.name, "probability": face.probability} for face in FACES],
                "settings": {"each": each, "seeds": seeds, "steps": steps, "solver": "ddim"},
                "reader": str(reader.errors),
                "held_out": real,
                "results": results,
            }
            # After every result, so that a measurement that is interrupted leaves what it has.
            write_atomic(out / "modes.json", json.dumps(content, indent=1).encode())
            plots.save_figure(draw_figure(results, real), out / "modes.png")
    print(out / "modes.png")


def _line(result: dict[str, Any]) -> str:
    factors = result["factors"]
    errors = result["standard_errors"]
    scores = result["scores"]
    at = f"{result['way']}, w = {result['w']:g}" if "w" in result else result["way"]
    rare = sum(
        p for p, face in zip(factors["faces"], FACES, strict=True) if face.probability < 0.03
    )
    return (
        f"{at:24} letters {factors['letter_accuracy']:.3f}, entropy of faces "
        f"{factors['face_entropy']:.3f} +- {errors['face_entropy']:.3f}, rare faces {rare:.3f}, "
        f"hue {factors['hue_concentration']:.3f}, angle {factors['angle_std']:.2f}, Frechet "
        f"{scores['frechet']:.3f} +- {scores['frechet_se']:.3f}, precision "
        f"{scores['precision']:.3f}, recall {scores['recall']:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())
