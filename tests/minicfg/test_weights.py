"""The trained network that comes with minicfg: which one it is, and how good its samples are."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import minicfg
from minicfg import solvers
from minicfg.bench.modes import draw_figure
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


def row_of_modes(result: dict[str, Any], probabilities: list[float]) -> str:
    """A row of the page's table, from a result of `minicfg.bench.modes`."""
    factors = result["factors"]
    errors = result["standard_errors"]
    scores = result["scores"]
    pairs = zip(factors["faces"], probabilities, strict=True)
    lost = sum(fraction < probability / 5 for fraction, probability in pairs)
    cells = [
        result["way"],
        f"{result['w']:g}" if "w" in result else "",
        f"{100 * scores['accuracy']:.1f} %",
        f"{scores['frechet']:.2f} ± {scores['frechet_se']:.2f}",
        f"{scores['recall']:.2f} ± {scores['recall_se']:.2f}",
        f"{factors['face_entropy']:.2f} ± {errors['face_entropy']:.2f}",
        str(lost),
        f"{1 - factors['hue_concentration']:.2f} ± {errors['hue_concentration']:.2f}",
        f"{factors['angle_std']:.1f} ± {errors['angle_std']:.1f}°",
    ]
    return f"| {' | '.join(cells)} |"


def test_the_table_of_modes_is_the_measurement() -> None:
    measured = json.loads(FILE.with_name("modes.json").read_text())
    assert measured["settings"] == {"each": 10, "seeds": 3, "steps": 25, "solver": "ddim"}
    probabilities = [face["probability"] for face in measured["faces"]]
    results = [r for r in measured["results"] if r["way"] == "constant" or r["w"] in (2, 8)]
    expected = [row_of_modes(r, probabilities) for r in [*results, measured["held_out"]]]
    table = PAGE.read_text().split("<!-- modes -->\n")[1].split("<!-- end -->")[0].splitlines()
    assert table[2:] == expected
    constant = {r["w"]: r for r in results if r["way"] == "constant"}
    at_8 = dict(
        zip(
            [face["name"] for face in measured["faces"]],
            constant[8.0]["factors"]["faces"],
            strict=True,
        )
    )
    text = " ".join(PAGE.read_text().split())
    for name, percent in (("DejaVu Sans Bold", 47), ("DejaVu Serif Bold", 29), ("DejaVu Sans", 3)):
        assert round(100 * at_8[name]) == percent
        assert f"{percent} %" in text and name in text
    rare = [
        fraction
        for fraction, p in zip(constant[0.0]["factors"]["faces"], probabilities, strict=True)
        if p < 0.03
    ]
    assert f"in {100 * sum(rare):.0f} % of its samples" in text


def test_the_figure_of_modes_can_be_drawn_from_the_measurement() -> None:
    """The figure can be drawn from the numbers, with a line for every way of guiding."""
    measured = json.loads(FILE.with_name("modes.json").read_text())
    figure = draw_figure(measured["results"], measured["held_out"])
    entropy = figure.axes[1]
    ways = dict.fromkeys(result["way"] for result in measured["results"])
    assert [text.get_text() for text in entropy.get_legend().get_texts()] == [
        "held-out pictures",
        *ways,
    ]


@pytest.mark.exhaustive
def test_its_samples_are_close_to_held_out_pictures() -> None:
    """At w = 1, by a classifier that is trained for a short time.

    Measured with two seeds: accuracies 0.998 and 0.996, distances 0.91 and 1.00; images of noise
    have a distance of 64. The bounds leave room for other processors, whose classifier differs.
    """
    trained = minicfg.load("glyphs")
    held_out = load_held_out("glyphs")
    assert held_out is not None
    classifier = train_classifier(load_data("glyphs"), steps=300)
    y = torch.arange(26).repeat(20)
    table = solvers.dpmpp_2m(trained.schedule, 8, prediction=trained.config.prediction)
    x = minicfg.sample(trained.model, y, table, shape=trained.shape, w=1.0, seed=0, clip=1.0)
    scores = evaluate(x, y, classifier, held_out)
    assert scores.accuracy > 0.97
    assert scores.frechet < 2
