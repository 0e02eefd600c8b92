"""A trained model scored over w: which weights are meant, what is said of them, what is written."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from minicfg.cli import copies, evaluate, real_images, report, sweep, training_data
from minicfg.cli.evaluate import classifier_remark, floor_remark, run_evaluate
from minicfg.cli.main import Evaluate, Sweep
from minicfg.cli.options import DataOptions, SamplingOptions
from minicfg.cli.real_images import RealImages, load_real_images
from minicfg.cli.sweep import findings, parse_weights, run_sweep
from minicfg.cli.train import run_training
from minicfg.cli.training_data import data_flag, load_training_data
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.datasets.load import load_data
from minicfg.errors import DataError, UsageError
from minicfg.io.checkpoint import Checkpoint, load, load_state, save
from minicfg.metrics import stratified
from minicfg.metrics.evaluate import Scores


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three steps."""
    out = tmp_path_factory.mktemp("trained")
    config = TrainConfig(data="digits", steps=3, batch=8, width=8, multipliers=(1, 2), T=20)
    run_training(load_data("digits"), config, out)
    return out / "model"


@pytest.fixture(autouse=True)
def quick_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    train = evaluate.train_classifier
    monkeypatch.setattr(
        evaluate, "train_classifier", lambda data, seed, advance: train(data, seed=seed, steps=3)
    )


@pytest.mark.parametrize(
    ("text", "ws"),
    [
        ("0:4:0.1", tuple(i / 10 for i in range(41))),
        ("0:1:0.3", (0, 0.3, 0.6, 0.9)),
        ("-1:1:1", (-1, 0, 1)),
        ("2:2:1", (2,)),
        ("0.5", (0.5,)),
        ("-1,0,0.25,7.5", (-1, 0, 0.25, 7.5)),
    ],
)
def test_weights_are_what_the_text_says(text: str, ws: tuple[float, ...]) -> None:
    assert parse_weights(text) == ws


BAD_WS = ["", "a", "0:4", "0:4:0", "4:0:1", "0:4:-1", "0:1:1,2", "1,1", "2,1", "nan", "0,inf"]


@pytest.mark.parametrize("text", BAD_WS)
def test_text_that_means_no_weights_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="from:to:step with a step above 0"):
        parse_weights(text)


def test_too_many_weights_are_refused() -> None:
    with pytest.raises(UsageError, match="at most 1000"):
        parse_weights("0:4:0.001")


def scores(frechet: float, score: float) -> Scores:
    return Scores(
        accuracy=0.9,
        frechet=frechet,
        frechet_floor=0.1,
        inception_score=score,
        spread=0.5,
        precision=0.8,
        recall=0.7,
        n=100,
        accuracy_se=0.01,
        frechet_se=0.01,
        inception_score_se=0.03,
        spread_se=0.04,
        precision_se=0.02,
        recall_se=0.03,
    )


WS = (0.0, 0.3, 1.0, 4.0)


def test_findings_know_what_imagenet_showed() -> None:
    """The shape of the paper's table 1: a minimum at a small w, a score that always rises."""
    as_there = [
        scores(f, s) for f, s in zip((0.5, 0.3, 0.6, 2.0), (8.0, 9.0, 9.5, 9.9), strict=True)
    ]
    rises, dips = findings(WS, {"ours": as_there})
    assert "highest at the largest w, 9.90" in rises
    assert "lowest at w = 0.3, 0.3 +- 0.01, 0.2 below that of w = 0: as on ImageNet" in dips


def test_findings_say_what_was_not_shown() -> None:
    otherwise = [
        scores(f, s) for f, s in zip((0.3, 0.29, 0.6, 2.0), (8.0, 9.0, 9.5, 9.0), strict=True)
    ]
    rises, dips = findings(WS, {"ours": otherwise})
    assert "highest at w = 1, 9.50 +- 0.03, and 9.00 +- 0.03 at w = 4; on ImageNet it rose" in rises
    assert "0.01 below that of w = 0 (standard error 0.014): no significant minimum" in dips


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_sweep_writes_all_that_it_promises(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = dict(
        ws=(0.0, 2.0), steps=(2, 4), p_uncond=(0.1, 0.5), n=80, seed=3, options=SamplingOptions()
    )
    assert run_sweep(tmp_path, trained, **arguments) == 0  # pyright: ignore[reportArgumentType]
    printed = capsys.readouterr().out
    about = json.loads((tmp_path / "sweep.json").read_text())
    names = [f"p_uncond = {p}, {steps} steps" for p in (0.1, 0.5) for steps in (2, 4)]
    assert list(about["scores"]) == names
    assert all(f"Frechet, {name}" in printed and f"score, {name}" in printed for name in names)
    assert all(len(s) == 2 and s[0]["n"] == 80 for s in about["scores"].values())
    assert about["scores"][names[0]] != about["scores"][names[2]]  # another model
    assert about["classifier"]["held_out_accuracy"] > 0
    for name in ("report.html", "curves.png", "trade_off.png", "classifier.safetensors"):
        assert (tmp_path / name).stat().st_size > 1000
    page = (tmp_path / "report.html").read_text()
    assert "with 1,797 training images (digits)" in page
    assert "with 1,797 training images (digits)" in printed
    in_page = [sentence.split(":")[0].replace("+-", "±") for sentence in about["findings"]]
    assert all(sentence in page for sentence in in_page)
    assert any("a random guess" in sentence for sentence in about["findings"])
    # p_uncond = 0.1 is the model's own; the other was trained, once.
    assert not (tmp_path / "p_uncond-0.1").exists()
    file = tmp_path / "p_uncond-0.5/model.safetensors"
    written = file.stat().st_mtime_ns
    assert run_sweep(tmp_path, trained, **arguments) == 0  # pyright: ignore[reportArgumentType]
    assert file.stat().st_mtime_ns == written
    assert json.loads((tmp_path / "sweep.json").read_text()) == about


def test_evaluate_scores_at_each_w_beside_real_images(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = SamplingOptions(rule="rescale", phi=0.5, interval=(-3.0, 4.0))
    assert (
        run_evaluate(tmp_path, trained, ws=(0.0, 1.0), steps=2, n=60, seed=0, options=options) == 0
    )
    about = json.loads((tmp_path / "metrics.json").read_text())
    assert [s["w"] for s in about["scores"]] == [0, 1]
    assert about["real"]["frechet"] == about["scores"][0]["frechet_floor"]
    assert about["sampling"]["options"] == "ddpm, rescale, phi 0.5, log SNR in -3..4"
    figures = {name for name in about["real"] if f"{name}_se" in about["real"]}
    assert figures == about["real"].keys() - {"n", "frechet_floor"} - {f"{f}_se" for f in figures}
    lines = capsys.readouterr().out.splitlines()
    assert "with 1,797 training images (digits)" in lines[4]
    assert [line.split()[0] for line in lines[1:4]] == ["0", "1", "real"]
    assert [line.count("+-") for line in lines[1:4]] == 3 * [len(figures)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ws": (float("nan"),)}, "w = nan"),
        ({"steps": 21}, "steps = 21 is outside 1..20"),
        ({"steps": 0}, "steps = 0"),
        ({"n": 39}, r"--n 39 is outside 40\.\.1000000; choose at least 4"),
        ({"n": 10**20}, r"--n 1\d+ is outside 40\.\.1000000;"),
        ({"seed": -1}, "seed = -1"),
        (
            {"options": SamplingOptions("cfgpp"), "ws": (0.5,)},
            r"--w 0.5 is outside -1\.\.0, .* cfgpp",
        ),
        ({"options": SamplingOptions("ddim", eta=2.0)}, "eta = 2.0 is outside"),
        (
            {"options": SamplingOptions(rule="rescale", phi=2.0)},
            "--rule rescale: phi = 2.0; pass a number",
        ),
    ],
)
def test_refusals_come_before_the_work(
    changed: dict, said: str, trained: Path, tmp_path: Path
) -> None:
    arguments = {
        "ws": (0.0,),
        "steps": 2,
        "n": 80,
        "seed": 0,
        "options": SamplingOptions(),
    } | changed
    with pytest.raises((UsageError, ValueError), match=said):
        run_evaluate(tmp_path / "out", trained, **arguments)
    assert not (tmp_path / "out/metrics.json").exists()


def test_a_rule_a_solver_and_an_interval_reach_the_samples(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is scored at w = 0 and 2, as it comes to `evaluate`."""
    seen = list[torch.Tensor]()

    def look(x: torch.Tensor, *_: object) -> Scores:
        seen.append(x)
        return scores(0.5, 9.0)

    monkeypatch.setattr(evaluate, "evaluate", look)
    monkeypatch.setattr(evaluate, "evaluate_real", lambda *_: scores(0.1, 9.5))
    for options in (
        SamplingOptions(),
        SamplingOptions("dpmpp_2m"),
        SamplingOptions(rule="rescale"),
        SamplingOptions(interval=(0.0, 0.0)),
    ):
        given = {"ws": (0.0, 2.0), "steps": 4, "n": 40, "seed": 0, "options": options}
        assert run_evaluate(tmp_path, trained, **given) == 0
    plain_0, plain, solver_0, _, rule_0, rule, never_0, never = seen
    assert torch.equal(plain_0, never_0) and torch.equal(never_0, never)  # guided nowhere
    torch.testing.assert_close(plain_0, rule_0, rtol=0, atol=1e-4)  # at 0 there is nothing to bend
    for one, other in ((plain_0, plain), (plain_0, solver_0), (plain, rule)):
        assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_shares_that_are_none_are_refused_before_the_work(
    p: float, trained: Path, tmp_path: Path
) -> None:
    given = {"ws": (0.0,), "steps": (2,), "n": 80, "seed": 0, "options": SamplingOptions()}
    with pytest.raises(UsageError, match=f"p_uncond = {p}"):
        run_sweep(tmp_path / "out", trained, p_uncond=(0.1, p), **given)
    assert not (tmp_path / "out").exists()


# Where the training data are now.


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images of a user, `pictures.npz`, and a model of them."""
    out = tmp_path_factory.mktemp("own")
    _save_pictures(out / "pictures.npz")
    config = TrainConfig(
        data=f"npz:{out}/pictures.npz", steps=2, batch=4, width=8, multipliers=(1,), T=20
    )
    run_training(load_data(config.data), config, out)
    return out


def _save_pictures(
    file: Path, *, seed: int = 0, classes: tuple[str, ...] = ("a", "b"), first: int = 0, n: int = 40
) -> None:
    """Save `n` random images with the labels first, first + 1, ... modulo the number of classes."""
    x = np.random.default_rng(seed).integers(0, 256, (n, 8, 8)).astype(np.uint8)
    y = (first + np.arange(n)) % len(classes)
    np.savez(file, x=x, y=y, classes=np.array(classes))


ONE_W: dict[str, Any] = {"ws": (0.0,), "steps": 2, "n": 12, "seed": 0, "options": SamplingOptions()}


def test_data_that_moved_are_found_by_the_flag(own: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.npz"
    _save_pictures(moved)
    assert run_evaluate(tmp_path / "out", own / "model", **ONE_W, data_spec=f"npz:{moved}") == 0
    assert (tmp_path / "out/metrics.json").exists()


def test_built_in_data_are_found_without_the_flag(trained: Path) -> None:
    data = load_training_data(trained, load(trained), "")
    assert data.digest == load_data("digits").digest


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1}, "other images or labels than"),
        ({"first": 1}, "other images or labels than"),
        ({"n": 38}, "other images or labels than"),
        ({"classes": ("b", "a")}, "other class names than"),
        ({"classes": ("a", "b", "c")}, r"3 classes of images \(1, 8, 8\), but the .* 2 classes"),
    ],
)
def test_other_data_are_refused(changed: dict, said: str, own: Path, tmp_path: Path) -> None:
    _save_pictures(tmp_path / "other.npz", **changed)
    with pytest.raises(DataError, match=said) as refusal:
        load_training_data(own / "model", load(own / "model"), f"npz:{tmp_path}/other.npz")
    assert f"was trained on npz:{own}/pictures.npz; name where" in str(refusal.value)


@pytest.mark.parametrize("recorded", ["npz:/tmp/x.npz", "folder:/etc", "idx:x", "new:kind"])
def test_a_path_in_a_checkpoint_is_not_opened(
    recorded: str, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may be a stranger's. The error shows the flag that opens the path."""
    monkeypatch.setattr(training_data, "load_data", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(UsageError, match=f"add --data {recorded}, or name where"):
        load_training_data(own / "model", _with_data(own, recorded), "")


def _with_data(own: Path, spec: str) -> Checkpoint:
    trained = load(own / "model")
    return replace(trained, config=replace(trained.config, data=spec))


def test_a_recorded_path_is_shown_without_control_characters(own: Path) -> None:
    model = _with_data(own, "npz:\x1b[31mü \u202e.npz")
    with pytest.raises(UsageError, match=r"add --data 'npz:\\x1b\[31m\\xfc \\u202e.npz',"):
        load_training_data(own / "model", model, "")
    with pytest.raises(UsageError, match=r"add --data 'npz:ü\.npz',"):
        load_training_data(own / "model", _with_data(own, "npz:ü.npz"), "")


def test_a_model_of_arrays_requires_the_flag(own: Path) -> None:
    model = _with_data(own, "")
    with pytest.raises(UsageError, match=r"made in Python .* add --data npz:FILE"):
        load_training_data(own / "model", model, "")
    data = load_training_data(own / "model", model, f"npz:{own}/pictures.npz")
    assert len(data) == 40


def test_the_commands_pass_the_flag_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[object]()

    def run(*_: object, data_spec: str, **__: object) -> int:
        seen.append(data_spec)
        return 0

    monkeypatch.setattr(evaluate, "run_evaluate", run)
    monkeypatch.setattr(sweep, "run_sweep", run)
    Evaluate(Path("model"), Path("out"), data="npz:a").run()
    Sweep(Path("model"), Path("out"), data="npz:b").run()
    assert seen == ["npz:a", "npz:b"]


def test_commands_in_a_report_name_the_data(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where they are files: built-in data are found without the flag."""
    commands = list[str]()
    monkeypatch.setattr(
        report, "write_report", lambda *_, **given: commands.extend(c for _, c in given["commands"])
    )
    state = load_state(own / "state")
    data = load_data(state.config.data)
    built_in = replace(state, config=replace(state.config, data="digits"))
    for one in (state, built_in):
        report.write_training_report(own, data, one, [], "sampling", "duration")
    flag = f" --data npz:{own}/pictures.npz --"
    assert [flag in command for command in commands] == [False, True, True, False, False, False]
    assert data_flag("npz:a b.npz") == " --data 'npz:a b.npz'"
    assert data_flag("digits") == data_flag("toy:dots") == data_flag("") == ""
    assert data_flag("glyphs:1x28:ABC") == ""


def test_a_variant_of_other_data_is_trained_again(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep reuses a variant in its folder only if it was trained on the same data."""
    model = load(own / "model")
    data = load_data(model.config.data)
    first, _ = sweep._load_or_train_variant(model, data, 0.5, tmp_path)
    assert first is not None
    monkeypatch.setattr(sweep, "run_training", lambda *_, **__: pytest.fail("trained again"))
    sweep._load_or_train_variant(model, data, 0.5, tmp_path)
    save(tmp_path / "model", replace(first, data_digest="of others"))
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        sweep._load_or_train_variant(model, data, 0.5, tmp_path)


def test_a_model_of_other_data_is_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = load_data("digits")
    half = replace(
        digits,
        x=digits.x[digits.labels < 5],
        y=digits.labels[digits.labels < 5],
        classes=tuple("abcde"),
    )
    monkeypatch.setattr(training_data, "load_data", lambda *_, **__: half)
    with pytest.raises(DataError, match="digits has 5 classes of"):
        run_evaluate(tmp_path, trained, ws=(0.0,), steps=2, n=60, seed=0, options=SamplingOptions())


# The real images that samples are compared with.


def test_without_held_out_images_the_training_images_are_compared(own: Path) -> None:
    trained = load(own / "model")
    real = load_real_images(own / "model", trained, f"npz:{own}/pictures.npz", "")
    assert not real.is_held_out
    assert real.training is real.compared is real.complete
    (sentence,) = real.sentences()
    assert "with 40 training images" in sentence and "name them by --real" in sentence
    assert real.describe()["images"] == "training"


def test_held_out_images_that_are_named_are_compared(own: Path, tmp_path: Path) -> None:
    """The classifier is trained on the training images, and the file says which were compared."""
    _save_pictures(tmp_path / "others.npz", seed=5, n=30)
    specs: dict[str, Any] = {
        "data_spec": f"npz:{own}/pictures.npz",
        "real_spec": f"npz:{tmp_path}/others.npz",
    }
    trained = load(own / "model")
    real = load_real_images(own / "model", trained, *specs.values())
    assert real.is_held_out
    assert (len(real.training), len(real.compared)) == (40, 30)
    assert "with 30 held-out images" in real.sentences()[0]
    assert run_evaluate(tmp_path / "out", own / "model", **ONE_W, **specs) == 0
    written = json.loads((tmp_path / "out/metrics.json").read_text())
    assert written["compared_with"]["images"] == "held-out"
    assert (written["compared_with"]["images_used"], written["real"]["n"]) == (30, 12)


def test_held_out_images_beside_the_training_data_are_found(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = _random_images(5, (10, 10))
    monkeypatch.setattr(real_images, "load_held_out", lambda *_: held_out)
    trained = load(own / "model")
    real = load_real_images(own / "model", trained, f"npz:{own}/pictures.npz", "")
    assert real.compared is held_out


def _random_images(seed: int, counts: tuple[int, ...], side: int = 8) -> Dataset:
    """Random images with so many of class a, of class b, and so on."""
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    x = 2 * torch.rand(len(y), 1, side, side, generator=torch.Generator().manual_seed(seed)) - 1
    return Dataset(x, y, tuple("abcdefgh"[: len(counts)]), "random")


@pytest.mark.parametrize(
    ("held_out", "said"),
    [
        (_random_images(5, (20, 20), side=9), r"2 classes of images \(1, 9, 9\), but .* 2 classes"),
        (_random_images(5, (20, 20, 20)), "3 classes of images .* with the same class names"),
        (None, "contains the training images themselves"),
    ],
    ids=["another size", "other classes", "the training images"],
)
def test_held_out_images_that_do_not_fit_are_refused(
    held_out: Dataset | None, said: str, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load(own / "model")
    training = load_data(f"npz:{own}/pictures.npz")
    monkeypatch.setattr(real_images, "load_data", lambda *_, **__: held_out or training)
    with pytest.raises(DataError, match=said):
        load_real_images(own / "model", trained, f"npz:{own}/pictures.npz", "npz:others")


def test_held_out_images_that_are_training_images_are_counted(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever their order and their labels; and refused if all of them are."""
    trained = load(own / "model")
    training = load_data(f"npz:{own}/pictures.npz")
    copies = Dataset(training.x.flip(0)[:7], torch.arange(7) % 2, training.classes, "copies")
    new = _random_images(5, (10, 10))
    mixed = Dataset(
        torch.cat([new.x, copies.x]), torch.cat([new.labels, copies.labels]), new.classes, "mixed"
    )
    for held_out, count in ((new, 0), (mixed, 7)):
        monkeypatch.setattr(real_images, "load_data", lambda *_, held=held_out, **__: held)
        monkeypatch.setattr(real_images, "load_training_data", lambda *_: training)
        real = load_real_images(own / "model", trained, "npz:x", "npz:others")
        assert real.describe()["training_images_among_them"] == count
        (sentence,) = real.sentences()
        assert ("but 7 of the 27 are training images too" in sentence) == (count == 7)
    monkeypatch.setattr(real_images, "load_data", lambda *_, **__: copies)
    with pytest.raises(DataError, match="copies contains the training images themselves and no"):
        load_real_images(own / "model", trained, "npz:x", "npz:others")


@pytest.mark.parametrize(
    ("training", "held_out", "scored", "needed"),
    [
        ((18, 17, 18, 2), None, [0, 2], "18 training images: b, d."),
        (
            (18, 18, 18, 18),
            (8, 8, 7, 8),
            [0, 1, 3],
            "18 training images or fewer than 8 held-out images: c.",
        ),
    ],
)
def test_rare_classes_are_named_and_not_scored(
    training: tuple[int, ...],
    held_out: tuple[int, ...] | None,
    scored: list[int],
    needed: str,
    own: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    complete = _random_images(3, training)
    others = _random_images(4, held_out) if held_out else None
    monkeypatch.setattr(real_images, "load_training_data", lambda *_: complete)
    monkeypatch.setattr(real_images, "load_held_out", lambda *_: others)
    real = load_real_images(own / "model", load(own / "model"), "npz:x", "")
    assert real.labels.tolist() == scored
    names = tuple(complete.classes[label] for label in scored)
    for source, part in ((complete, real.training), (others or complete, real.compared)):
        assert part.classes == names
        for k, label in enumerate(scored):
            assert torch.equal(part.x[part.labels == k], source.x[source.labels == label])
    assert real.sentences()[1].endswith(needed)
    assert real.describe()["classes"] == names


@pytest.mark.parametrize(
    ("training", "held_out", "said"),
    [
        ((17, 2), None, "data has 2 of class 1: 18 or more"),
        ((18, 2), (7, 9), "random has fewer than 8 held-out images of every class"),
    ],
)
def test_data_without_a_class_to_score_are_refused(
    training: tuple[int, ...],
    held_out: tuple[int, ...] | None,
    said: str,
    own: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = _random_images(4, held_out) if held_out else None
    monkeypatch.setattr(real_images, "load_training_data", lambda *_: _random_images(3, training))
    monkeypatch.setattr(real_images, "load_held_out", lambda *_: others)
    with pytest.raises(UsageError, match=said):
        load_real_images(own / "model", load(own / "model"), "npz:x", "")


def test_samples_are_of_the_scored_classes(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's labels are those of its own classes; the classifier's are 0, 1, ..."""
    monkeypatch.setattr(
        real_images, "load_training_data", lambda *_: _random_images(3, (20, 5, 20))
    )
    monkeypatch.setattr(real_images, "load_held_out", lambda *_: None)
    seen = list[list[int]]()

    def draw(model: object, y: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        seen.append(y.tolist())
        return torch.rand(len(y), 1, 8, 8)

    def score(x: torch.Tensor, y: torch.Tensor, *_: object) -> Scores:
        seen.append(y.tolist())
        return scores(0.5, 1.5)

    monkeypatch.setattr(evaluate, "draw", draw)
    monkeypatch.setattr(evaluate, "evaluate", score)
    given: dict[str, Any] = {**ONE_W, "n": 8}
    assert run_evaluate(tmp_path, own / "model", **given) == 0
    assert seen == [[0, 2] * 4, [0, 1] * 4]
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["compared_with"]["classes"] == ["a", "c"]
    assert written["compared_with"]["classes_not_scored"] == ["b"]


def test_the_number_of_images_that_are_used_is_said(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stratified, "MAX_REAL_IMAGES", 20)
    trained = load(own / "model")
    real = load_real_images(own / "model", trained, f"npz:{own}/pictures.npz", "")
    assert "with 20 of 40 training images" in real.sentences()[0]
    assert (real.describe()["images_used"], real.describe()["images_available"]) == (20, 40)


# Copies of training images.


def test_a_model_that_copies_is_found(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At w = 0 the samples are training images, and at w = 1 others of the same distribution."""
    training = _random_images(3, (40, 40))
    monkeypatch.setattr(real_images, "load_training_data", lambda *_: training)
    monkeypatch.setattr(real_images, "load_held_out", lambda *_: None)
    copied = torch.stack([training.x[:6], training.x[40:46]], dim=1).flatten(0, 1)
    others = _random_images(4, (12,)).x
    monkeypatch.setattr(evaluate, "draw", lambda *_, w, **__: copied if w == 0 else others)
    given: dict[str, Any] = {**ONE_W, "ws": (0.0, 1.0)}
    assert run_evaluate(tmp_path, own / "model", **given) == 0
    written = json.loads((tmp_path / "metrics.json").read_text())
    of_copies, of_others = (score["distance_ratio"] for score in written["scores"])
    assert of_copies == 0
    assert of_others == pytest.approx(1, abs=0.1)
    said = capsys.readouterr().out
    assert "from a training image to the nearest other one" in said
    assert f"is 0.00 at w = 0, {of_others:.2f} at w = 1. Near 0 the samples are copies" in said
    with Image.open(tmp_path / "nearest.png") as picture:
        assert picture.width > 8 * 90  # eight pairs, each image enlarged


def test_nearest_images_stand_below_the_samples(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture has two rows: samples, and the training images; the labels name the classes."""
    training = _random_images(3, (20, 20))
    real = RealImages(training, training, training, torch.tensor([0, 1]))
    seen = list[Any]()
    monkeypatch.setattr(copies.plots, "image_grid", lambda *given: seen.extend(given))
    y = torch.tensor([1, 0])
    x = training.x[[30, 5]] + 0.01
    copies.ratio_and_picture(2.0, x, y, real, copies.distances_of_real_images(real))
    cells, rows, columns, title = seen
    assert torch.equal(cells[0], x)
    assert torch.equal(cells[1], training.x[[30, 5]])
    assert (rows, columns) == (["sample", "nearest"], ["b", "a"])
    assert title.startswith("w = 2: samples, and the training image nearest to each")


def test_distances_of_held_out_images_leave_none_out() -> None:
    """A held-out image that is a training image too has distance 0; beside itself it has not."""
    training = _random_images(3, (20, 20))
    held_out = _random_images(3, (20, 20))
    labels = torch.tensor([0, 1])
    of_copies, _ = copies.distances_of_real_images(RealImages(training, training, held_out, labels))
    assert of_copies.tolist() == [0] * 40
    real = RealImages(training, training, training, labels)
    of_training, y = copies.distances_of_real_images(real)
    assert bool((of_training > 0).all()) and y.tolist() == [0] * 20 + [1] * 20
    assert "It cannot be said" in copies.ratio_sentence((0.0,), (None,), real)
    assert "from a held-out image" in copies.ratio_sentence(
        (0.0,), (1.0,), RealImages(training, training, held_out, labels)
    )


# A Frechet distance below its floor, which is 0.1 here, with a standard error of 0.01.


@pytest.mark.parametrize(
    ("distances", "is_held_out", "said"),
    [
        ((0.1, 0.2), False, ""),
        ((0.09, 0.081, 0.2), False, "At w = 0, 0.3 .* within two standard errors, so it may be"),
        ((0.09, 0.07, 0.2), False, "At w = 0, 0.3 .* At w = 0.3 the .*: a sign .* has copied its"),
        ((0.09, 0.07, 0.2), True, "At w = 0.3 the .*; check that no held-out image is a training"),
    ],
)
def test_a_distance_below_its_floor_is_explained(
    distances: tuple[float, ...], is_held_out: bool, said: str
) -> None:
    remark = floor_remark(
        WS[: len(distances)], [scores(d, 9.0) for d in distances], is_held_out=is_held_out
    )
    assert bool(remark) == bool(said)
    assert re.search(said, remark), remark


@pytest.mark.parametrize(
    "accuracy, standard_error, num_classes, warned",
    [
        (0.125, 0.121, 2, True),  # one of eight images
        (0.6, 0.06, 2, True),
        (0.63, 0.06, 2, False),
        (0.4, 0.05, 10, False),
        (0.1, 0.05, 10, True),
    ],
)
def test_a_classifier_no_better_than_chance_is_reported(
    accuracy: float, standard_error: float, num_classes: int, warned: bool
) -> None:
    of_real = replace(scores(1.0, 1.5), accuracy=accuracy, accuracy_se=standard_error)
    remark = classifier_remark(of_real, num_classes)
    assert bool(remark) == warned
    if warned:
        assert f"{accuracy:.1%} +- {standard_error:.1%}" in remark
        assert f"{1 / num_classes:.1%}" in remark and "not reliable" in remark


@pytest.mark.parametrize(
    "command", ["evaluate", pytest.param("sweep", marks=pytest.mark.exhaustive)]
)
def test_the_remarks_on_floor_and_classifier_are_printed(
    command: str,
    own: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The sweep's is among the findings, which its page and `sweep.json` contain."""
    monkeypatch.setattr(evaluate, "draw", lambda *_, **__: _random_images(3, (12,)).x)
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: scores(0.05, 1.5))
    by_chance = replace(scores(0.05, 1.5), accuracy=0.33, accuracy_se=0.1)
    module = evaluate if command == "evaluate" else sweep
    monkeypatch.setattr(module, "evaluate_real", lambda *_: by_chance)
    given: dict[str, Any] = {**ONE_W, "data_spec": f"npz:{own}/pictures.npz"}
    if command == "evaluate":
        assert run_evaluate(tmp_path, own / "model", **given) == 0
    else:
        monkeypatch.setattr(sweep, "draw", lambda *_, **__: _random_images(3, (16,)).x)
        given |= {"steps": (2,), "p_uncond": ()}
        assert run_sweep(tmp_path, own / "model", **given) == 0
        assert "has copied its training" in (tmp_path / "sweep.json").read_text()
        assert "has copied its training" in (tmp_path / "report.html").read_text()
    printed = capsys.readouterr().out
    assert "a sign that the model has copied its training images" in printed
    assert "The classifier names the class of 33.0% +- 10.0%" in printed


def test_a_model_without_labels_cannot_be_scored(own: Path) -> None:
    model = replace(load(own / "model"), classes=())
    with pytest.raises(UsageError, match="was trained without class labels"):
        load_real_images(own / "model", model, f"npz:{own}/pictures.npz", "")


def test_held_out_images_are_read_with_the_options_of_reading(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the training images are."""
    seen = list[dict[str, bool]]()

    def load_pictures(_spec: str, _size: int, **options: bool) -> Dataset:
        seen.append(options)
        return _random_images(5, (20, 20))

    monkeypatch.setattr(real_images, "load_data", load_pictures)
    specs = (f"npz:{own}/pictures.npz", "folder:others")
    reading = DataOptions(skip_bad=True)
    load_real_images(own / "model", load(own / "model"), *specs, reading)
    assert seen == [{"follow_links": False, "skip_bad": True}]
