"""The command line as a user meets it: exit codes, one line an error, and nothing half-written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kernels import philox
from minicfg import load, sample, solvers
from minicfg.cli import evaluate
from minicfg.cli.main import main
from minicfg.cli.sample import _save_pictures
from minicfg.cli.start_noise import read_noise
from minicfg.cli.train import run_training
from minicfg.config import TrainConfig
from minicfg.datasets.load import load_data
from minicfg.errors import DataError
from minicfg.metrics.classifier import Classifier
from tests.minicfg.headers import metadata_of

# A second thread of so small a network waits for the first, on a busy machine for long.
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
SAMPLE = ["sample", "CKPT", "--out", "OUT/x.png"]
EVALUATE = ["evaluate", "CKPT", "--out", "OUT"]
TINY = ["--steps", "3", "--batch", "8", "--width", "8", "--multipliers", "1", "2"]


def run(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """`minicfg ARGUMENTS` in this process: exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["minicfg", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of three steps."""
    out = tmp_path_factory.mktemp("trained")
    config = TrainConfig(data="digits", steps=3, batch=8, width=8, multipliers=(1, 2))
    run_training(load_data("digits"), config, out)
    return out


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "demo, train, distill, sample, evaluate, sweep, bench, doctor"),
        (["smple"], r"smple is not a command; did you mean sample\?"),
        (["train"], "minicfg train lacks --out PATH"),
        (["demo", "--fast"], r"--fast is not a flag of minicfg demo\. minicfg demo --help"),
        (["train", "--out", "OUT", "--steps", "many"], "--steps many is not an integer"),
        (
            ["train", "--out", "OUT", "--steps", "0"],
            "steps = 0 is out of range: use an integer in 1",
        ),
        (["train", "--out", "OUT", "--batch", "0"], "batch = 0"),
        (["train", "--out", "OUT", "--T", "0"], "T = 0"),
        (
            ["train", "--out", "OUT", "--p-uncond", "1.5"],
            r"p_uncond = 1.5 is out of range: .* 0\.\.1",
        ),
        (["train", "--out", "OUT", "--lr", "nan"], "lr = nan"),
        (["train", "--out", "OUT", "--schedule", "sigmoidal"], "--schedule sigmoidal is unknown"),
        (["train", "--out", "OUT", "--data", "mnist"], "data = 'mnist'"),
        (["train", "--out", "OUT", "--seed", "-1"], "seed = -1"),
        (["train", "--out", "OUT", "--resume"], "--resume: .* contains no state"),
        (
            ["sample", "CKPT", "--out", "OUT/x.jpg"],
            "--out .*x.jpg has .* .png, .npz or .gif, or in /",
        ),
        (["sample", "CKPT", "--out", "OUT/x.png", "--w", "nan"], "w = nan is not a finite"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--w", "-inf"], "w = -inf is not a finite"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--steps", "0"], r"steps = 0 is outside 1..1000"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--steps", "1001"], "steps = 1001 is outside"),
        (
            ["sample", "CKPT", "--out", "OUT/x.png", "--labels", "10"],
            r"--labels 10 is not .*0\.\.9",
        ),
        (["sample", "CKPT", "--out", "OUT/x.png", "--labels", "-1"], "-1"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--labels", "cat"], "--labels cat"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--negative", "cat"], "--negative cat is not"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--each", "0"], "--each 0 is outside 1"),
        ([*SAMPLE, "--each", "1000000000000"], "--each 1000000000000 is outside 1..1000000;"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--seed", "-3"], "seed = -3"),
        ([*SAMPLE, "--seed", "18446744073709551616"], "seed = 18446744073709551616"),
        ([*SAMPLE, "--solver", "heun"], "--solver heun is unknown; choose one of ddpm, ddim"),
        ([*SAMPLE, "--rule", "zero"], "--rule zero is unknown; choose one of guide"),
        ([*SAMPLE, "--rule", "rescale", "--phi", "2"], r"--rule rescale: phi = 2.0; .* 0\.\.1"),
        ([*SAMPLE, "--rule", "rescale", "--phi", "nan"], "--rule rescale: phi = nan"),
        ([*SAMPLE, "--rule", "dynamic_threshold", "--P", "99"], "dynamic_threshold: P = 99"),
        ([*SAMPLE, "--rule", "dynamic_threshold", "--bound", "0"], "bound = 0.0; .* above 0"),
        ([*SAMPLE, "--rule", "apg", "--apg-eta", "-1"], r"--rule apg: eta = -1.0; .* 0\.\.1"),
        ([*SAMPLE, "--rule", "apg", "--apg-r", "0"], "--rule apg: r = 0.0; .* above 0"),
        ([*SAMPLE, "--phi", "0.5"], "--phi 0.5 works only with --rule rescale; the rule is guide"),
        ([*SAMPLE, "--interval", "2", "-2"], "--interval 2 -2 is not .* LOW <= HIGH"),
        ([*SAMPLE, "--interval", "nan", "2"], "--interval nan 2 is not .* LOW <= HIGH"),
        ([*SAMPLE, "--interval", "2"], "--interval 2 is not FLOAT FLOAT"),
        (
            ["sample", "CKPT", "--out", "OUT/x.gif", "--solver", "cfgpp"],
            r"--w 2 is outside -1\.\.0, .* cfgpp",
        ),
        ([*EVALUATE, "--rule", "apg", "--apg-r", "nan"], "--rule apg: r = nan"),
        ([*EVALUATE, "--solver", "ddim", "--eta", "7"], r"eta = 7.0 is outside 0\.\.1"),
        ([*EVALUATE, "--steps", "0"], r"steps = 0 is outside 1\.\.1000"),
        ([*EVALUATE, "--w", "0", "inf"], "w = inf is not a finite"),
        (
            ["sweep", "CKPT", "--out", "OUT", "--solver", "cfgpp"],
            r"--w 0.1 is outside -1\.\.0, .* cfgpp",
        ),
        (["sweep", "CKPT", "--out", "OUT", "--p-uncond", "2"], "p_uncond = 2.0"),
        (
            ["sample", "CKPT", "--out", "OUT/x.png", "--device", "tpu"],
            "--device tpu is not supported: use auto, cpu",
        ),
        (["sample", "CKPT", "--out", "OUT/x.png", "--v", "2"], r"v = 2.0 is outside 0\.\.1"),
        (
            ["sample", "CKPT", "--out", "OUT/x.png", "--eta", "1"],
            "--eta 1 works only with --solver ddim; the solver is ddpm",
        ),
        (
            ["sample", "CKPT", "--out", "OUT/x.png", "--solver", "cfgpp"],
            r"--w 2 is outside -1\.\.0, .* cfgpp",
        ),
        (
            ["evaluate", "CKPT", "--out", "OUT", "--n", "10"],
            "--n 10 is outside 40..1000000; choose at least 4",
        ),
        (["sweep", "CKPT", "--out", "OUT", "--w", "4:0:1"], "--w 4:0:1 is not .* from:to:step"),
    ],
    ids=lambda a: " ".join(a) if isinstance(a, list) else "",
)
def test_usage_is_exit_code_2_and_one_line(
    arguments: list[str],
    said: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"CKPT": str(trained / "model"), "OUT": str(tmp_path / "out")}
    given = [places.get(a, a) for a in arguments]
    given = [a.replace("OUT/", places["OUT"] + "/") for a in given]
    code, _, err = run(given, monkeypatch, capsys)
    assert code == 2
    assert err.startswith("minicfg: ")
    assert err.count("\n") == 1, err
    assert re.search(said, err), err
    assert not list(tmp_path.rglob("*.*")), "something was written"


@pytest.mark.parametrize("damage", ["missing", "truncated", "not a checkpoint", "edited"])
def test_checkpoint_that_cannot_be_trusted_is_exit_code_3(
    damage: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = (trained / "model.safetensors").read_bytes()
    if damage == "truncated":
        (tmp_path / "model.safetensors").write_bytes(content[: len(content) // 2])
    if damage == "not a checkpoint":
        (tmp_path / "model.safetensors").write_bytes(b"PK\x03\x04" + content)
    if damage == "edited":
        edited = content.replace(rb"\"step\": 3", rb"\"step\": 4")
        assert edited != content
        (tmp_path / "model.safetensors").write_bytes(edited)
    picture = tmp_path / "x.png"
    given = ["sample", str(tmp_path / "model"), "--out", str(picture)]
    code, _, err = run(given, monkeypatch, capsys)
    assert code == 3
    assert err.count("\n") == 1
    assert "model" in err
    assert not picture.exists()


@pytest.mark.parametrize("command", ["sample", "evaluate", "sweep"])
def test_no_checkpoint_is_exit_code_3_whoever_asks(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [command, str(tmp_path / "none"), "--out", str(tmp_path / "out.png")]
    code, _, err = run(given, monkeypatch, capsys)
    assert (code, err.count("\n")) == (3, 1)
    assert "none" in err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("npz:none.npz", "none.npz"),
        ("npz:garbage.npz", "garbage.npz"),
        ("folder:none", "none"),
        ("folder:empty", "empty"),
        ("folder:pictures", "broken.png"),
        ("idx:empty", "empty"),
    ],
)
def test_data_that_cannot_be_read_are_exit_code_3(
    data: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder in ("empty", "pictures/a", "pictures/b"):
        (tmp_path / folder).mkdir(parents=True)
    for broken in ("garbage.npz", "pictures/a/broken.png", "pictures/b/broken.png"):
        (tmp_path / broken).write_bytes(b"not what it says")
    monkeypatch.chdir(tmp_path)
    code, _, err = run(["train", "--data", data, "--out", "run", *TINY], monkeypatch, capsys)
    assert (code, err.count("\n")) == (3, 1), err
    assert said in err and not Path("run").exists()


@pytest.mark.parametrize("out", ["pictures/run", "pictures", "elsewhere/../pictures/a/run"])
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_results_inside_the_folder_of_the_data_are_refused(
    command: str,
    out: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The folder of results would be a class of the data when they are read again."""
    monkeypatch.chdir(tmp_path)
    Path("pictures/a").mkdir(parents=True)
    Image.new("L", (8, 8)).save("pictures/a/x.png")
    Path("elsewhere").mkdir()
    if command == "train":
        arguments = ["train", "--data", "folder:pictures", "--size", "8", *TINY]
    else:
        config = TrainConfig(data="folder:pictures", size=8, steps=1, width=8, multipliers=(1,))
        run_training(load_data("folder:pictures", 8), config, tmp_path / "elsewhere")
        arguments = ["evaluate", "elsewhere/model", "--data", "folder:pictures"]
    code, output, err = run([*arguments, "--out", out], monkeypatch, capsys)
    assert (code, output) == (2, ""), err
    assert f"--out {out} lies inside pictures, the folder of the data" in err
    assert sorted(os.listdir("pictures")) == ["a"] and os.listdir("pictures/a") == ["x.png"]


@pytest.mark.exhaustive
def test_a_folder_with_bad_files_and_links_is_trained_on_if_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pictures/a").mkdir(parents=True)
    Image.new("L", (8, 8)).save("outside.png")
    Path("pictures/a/x.png").symlink_to(tmp_path / "outside.png")
    Path("pictures/a/notes.txt").write_text("no image")
    train = ["train", "--data", "folder:pictures", "--size", "8", "--out", "run", *TINY]
    code, output, err = run([*train, "--follow-links"], monkeypatch, capsys)
    assert (code, output) == (3, "") and "notes.txt is not an image" in err and "--skip-bad" in err
    code, output, err = run([*train, "--skip-bad", "--follow-links"], monkeypatch, capsys)
    assert code == 0 and "minicfg: 1 left out: pictures/a/notes.txt is not an image file" in err
    assert output.startswith("1 images of 1 x 8 x 8, 1 per class (1 classes), values -1 to -1\n")


def test_control_characters_do_not_reach_the_terminal(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b]0;title\x07\u202e\x9b31m \u732b"
    arguments = ["sample", str(trained / "model"), "--out", "x.png", "--labels", hostile]
    code, _, err = run(arguments, monkeypatch, capsys)
    assert code == 2
    assert r"--labels \x1b]0;title\x07\u202e\x9b31m " + "\u732b is not a class" in err
    assert err.rstrip("\n").isprintable()


@pytest.mark.parametrize("command", ["train", "evaluate", "sweep"])
def test_the_options_of_reading_reach_load_data(
    command: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = list[object]()

    def load(spec: str, size: int, **options: bool) -> None:
        seen.append((spec, options))
        raise DataError("seen")

    monkeypatch.setattr("minicfg.cli.training_data.load_data", load)
    monkeypatch.setattr("minicfg.cli.train.load_data", load)
    model = [] if command == "train" else [str(trained / "model")]
    arguments = [command, *model, "--out", str(tmp_path / "new"), "--follow-links"]
    assert run(arguments, monkeypatch, capsys)[0] == 3
    assert seen == [("digits", {"follow_links": True, "skip_bad": False})]


@pytest.mark.parametrize("command", ["sample", "evaluate", "sweep"])
def test_no_place_for_what_a_model_says_is_exit_code_4(
    command: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("")
    given = [command, str(trained / "model"), "--out", str(tmp_path / "file/run/x.png")]
    monkeypatch.setattr(
        "minicfg.cli.evaluate.train_classifier", lambda *_, **__: pytest.fail("work was done")
    )
    code, _, err = run(given, monkeypatch, capsys)
    assert (code, err.count("\n")) == (4, 1)
    assert "cannot be written to" in err and "choose another folder" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("command", ["train", "sample", "evaluate", "sweep"])
def test_no_gpu_is_exit_code_4(
    command: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    what = TINY if command == "train" else [str(trained / "model")]
    given = [command, *what, "--out", str(tmp_path / "x.png"), "--device", "cuda"]
    code, _, err = run(given, monkeypatch, capsys)
    assert (code, err.count("\n")) == (4, 1)
    assert "no CUDA device on this machine" in err and not list(tmp_path.iterdir())


def _of_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


@pytest.mark.parametrize(
    "work",
    [lambda: bytearray(2**62), lambda: torch.empty(2**50), _of_a_gpu],
    ids=["Python's", "torch's on the CPU", "a GPU's"],
)
@pytest.mark.parametrize(
    ("command", "where"), [("sample", "sample.draw"), ("sweep", "evaluate.draw")]
)
def test_no_memory_is_exit_code_4(
    command: str,
    where: str,
    work: Callable[[], object],
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "minicfg.cli.evaluate.train_classifier", lambda data, **_: Classifier(data.shape, 10)
    )
    monkeypatch.setattr(f"minicfg.cli.{where}", lambda *_, **__: work())
    given = [command, str(trained / "model"), "--out", str(tmp_path / "x.png")]
    code, _, err = run(given, monkeypatch, capsys)
    assert (code, err.count("\n")) == (4, 1), err
    assert "not enough memory (" in err


def test_an_error_of_ours_is_not_taken_for_a_lack_of_memory(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr("minicfg.cli.sample.draw", broken)
    argv = ["minicfg", "sample", str(trained / "model"), "--out", str(tmp_path / "x.png")]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        main()


@pytest.mark.parametrize(
    ("command", "where"), [("sample", "sample.draw"), ("sweep", "evaluate.draw")]
)
def test_ctrl_c_while_sampling_is_exit_code_130(
    command: str,
    where: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "minicfg.cli.evaluate.train_classifier", lambda data, **_: Classifier(data.shape, 10)
    )
    monkeypatch.setattr(f"minicfg.cli.{where}", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    given = [command, str(trained / "model"), "--out", str(tmp_path / "x.png")]
    code, _, err = run(given, monkeypatch, capsys)
    assert (code, err) == (130, "minicfg: stopped\n")


@pytest.mark.exhaustive(one_in=3)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["sample", "--steps", "few"], 2),
        (["sample", "none", "--out", "x.png"], 3),
        (["train", "--out", "file/run", *TINY], 4),
    ],
)
def test_exit_codes_of_the_program_itself(arguments: list[str], code: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    program = [str(Path(sys.executable).parent / "minicfg"), *arguments]
    ran = subprocess.run(program, cwd=tmp_path, env=ONE_THREAD, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (code, "", 1), ran.stderr
    assert ran.stderr.startswith("minicfg: ")


@pytest.mark.parametrize("command", [["demo"], ["train", *TINY]])
def test_unwritable_folder_is_found_before_training_and_is_exit_code_4(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Below a file there can be no folder, whoever asks (permissions do not stop root)."""
    (tmp_path / "file").write_text("")
    for module in ("demo", "train"):
        monkeypatch.setattr(
            f"minicfg.cli.{module}.run_training", lambda *_, **__: pytest.fail("it was trained")
        )
    given = [*command, "--out", str(tmp_path / "file" / "run")]
    code, _, err = run(given, monkeypatch, capsys)
    assert code == 4
    assert err.count("\n") == 1
    assert "cannot be written to" in err


def test_sample_writes_a_picture_and_arrays(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, picture, arrays = str(trained / "model"), tmp_path / "x.png", tmp_path / "x.npz"
    flags = ["--labels", "3", "1", "4", "--each", "2", "--w", "1.5", "--steps", "4"]
    assert run(["sample", model, "--out", str(picture), *flags], monkeypatch, capsys)[0] == 0
    Image.open(picture).verify()
    assert run(["sample", model, "--out", str(arrays), *flags], monkeypatch, capsys)[0] == 0
    with np.load(arrays) as drawn:
        assert drawn["x"].shape == (6, 1, 8, 8)
        assert drawn["y"].tolist() == [3, 3, 1, 1, 4, 4]


@pytest.mark.slow
def test_a_flow_is_trained_sampled_and_evaluated_like_any_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The three commands; `sample` with `ddim` draws what Euler's method along F does."""
    out, arrays = tmp_path / "flow", tmp_path / "x.npz"
    flow = ["--data", "digits", "--schedule", "flow", "--prediction", "velocity"]
    code, _, err = run(["train", *flow, "--out", str(out), *TINY], monkeypatch, capsys)
    assert code == 0, err
    c = load(out / "model")
    assert (c.config.schedule, c.config.prediction) == ("flow", "velocity")
    assert c.schedule.alpha_bar[-1] == 0
    flags = ["--labels", "3", "1", "--w", "1", "--solver", "ddim", "--steps", "4", "--clip", "inf"]
    code, _, err = run(
        ["sample", str(out), "--out", str(arrays), "--seed", "5", *flags], monkeypatch, capsys
    )
    assert code == 0, err
    y, null = torch.tensor([3, 1]), torch.tensor([10, 10])
    X = philox.normal(5, torch.arange(2), 0, (1, 8, 8))
    for u in (1.0, 0.75, 0.5, 0.25):
        t = torch.full((2,), round(1000 * u))
        xt = X / ((1 - u) ** 2 + u**2) ** 0.5
        with torch.no_grad():
            F_y, F_null = c.model(xt, t, y), c.model(xt, t, null)
        X = X - 0.25 * (2 * F_y - F_null)
    with np.load(arrays) as drawn:
        # four float32 steps of numbers below 8
        np.testing.assert_allclose(drawn["x"], X.numpy(), rtol=0, atol=8 * 2**-20)
    train = evaluate.train_classifier
    monkeypatch.setattr(
        evaluate, "train_classifier", lambda data, seed, advance: train(data, seed=seed, steps=3)
    )
    few = ["--n", "40", "--w", "0", "1", "--steps", "2"]
    scores = ["evaluate", str(out), "--out", str(tmp_path / "scores"), *few]
    assert run(scores, monkeypatch, capsys)[0] == 0
    assert (tmp_path / "scores/metrics.json").exists()


def test_a_negative_label_moves_samples_away_from_a_class(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command draws what `minicfg.sample(..., null=)` does."""
    out = tmp_path / "x.npz"
    flags = ["--labels", "3", "1", "--negative", "8", "--steps", "4", "--solver", "ddim"]
    code, _, err = run(
        ["sample", str(trained / "model"), "--out", str(out), *flags], monkeypatch, capsys
    )
    assert code == 0, err
    c = load(trained / "model")
    x = sample(c, [3, 1], w=2.0, steps=4, null=[8, 8])
    with np.load(out) as drawn:
        assert np.array_equal(drawn["x"], x.numpy())
    assert not torch.equal(x, sample(c, [3, 1], w=2.0, steps=4))


@pytest.mark.parametrize("each", [1, 2])
def test_sample_writes_the_chain_of_the_same_samples(
    each: int,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As many frames as steps; in the last, x_t and the guess are the samples, to 32 greys."""
    model, arrays, film = str(trained / "model"), tmp_path / "x.npz", tmp_path / "x.gif"
    flags = ["--labels", "3", "1", "4", "--each", str(each), "--steps", "4", "--rule", "rescale"]
    for path in (arrays, film):
        assert run(["sample", model, "--out", str(path), *flags], monkeypatch, capsys)[0] == 0
    with np.load(arrays) as drawn:
        x = drawn["x"].reshape(3, each, 8, 8)
    with Image.open(film) as frames:
        assert getattr(frames, "n_frames", 1) == 4
        frames.seek(3)
        last = np.asarray(frames.convert("L"), float) / 127.5 - 1
    left = last.shape[1] - 3 * 52 - 4  # images of 48 pixels, 4 between two, 8 beside the last
    for row in range(2 * each):
        for column in range(3):
            image = last[36 + 52 * row :, left + 52 * column :][3:48:6, 3:48:6]
            # 32 greys for 256, chosen among those that are there: within 12, of 127.5 a unit.
            np.testing.assert_allclose(image, x[column, row % each, ...], rtol=0, atol=0.1)


def test_rule_interval_and_solver_change_the_picture(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = dict[str, np.ndarray]()
    for how in (
        "--w 2",
        "--w 0",
        "--w 2 --interval 0 0",
        "--w 2 --interval -inf inf",
        "--w 2 --rule apg",
        "--w 2 --rule apg --apg-eta 1",
        "--w 2 --rule apg --apg-r 0.01",
        "--w 2 --solver dpmpp_2m",
        "--w 2 --rule dynamic_threshold --P 0.5",
        "--w 2 --rule rescale --phi 1",
    ):
        path = tmp_path / "x.npz"
        given = ["sample", str(trained / "model"), "--out", str(path), "--steps", "4", "--each"]
        assert run([*given, "2", *how.split()], monkeypatch, capsys)[0] == 0
        with np.load(path) as drawn:
            seen[how] = drawn["x"]
    plain, none = seen.pop("--w 2"), seen.pop("--w 0")
    np.testing.assert_array_equal(seen.pop("--w 2 --interval 0 0"), none)
    np.testing.assert_array_equal(seen.pop("--w 2 --interval -inf inf"), plain)
    # The mix by other operations: float32, four rows, 1 / signal = 20,000 in the first, clipped.
    np.testing.assert_allclose(seen.pop("--w 2 --rule apg --apg-eta 1"), plain, rtol=0, atol=0.01)
    for how, x in seen.items():
        assert np.abs(x - plain).max() > 1e-3, how


@pytest.mark.parametrize("clip", ["0.5", "inf"])
def test_clip_is_that_of_the_sampler(
    clip: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In `sample` for arrays, and in `evaluate` for the samples that are scored."""
    model, arrays = str(trained / "model"), tmp_path / "x.npz"
    flags = ["--steps", "3", "--clip", clip]
    assert run(["sample", model, "--out", str(arrays), *flags], monkeypatch, capsys)[0] == 0
    c = load(trained / "model")
    table = solvers.ddpm(c.schedule, 3)
    y = torch.arange(10)
    wanted = sample(c.model, y, table, shape=c.shape, w=2.0, clip=float(clip)).numpy()
    with np.load(arrays) as drawn:
        np.testing.assert_array_equal(drawn["x"], wanted)
    assert np.abs(wanted).max() == 0.5 if clip == "0.5" else np.abs(wanted).max() > 1
    given = list[float]()

    def noted(*_: object, clip: float, **__: object) -> torch.Tensor:
        given.append(clip)
        raise MemoryError

    monkeypatch.setattr("minicfg.cli.sample.sample", noted)
    monkeypatch.setattr(
        "minicfg.cli.evaluate.train_classifier", lambda data, **_: Classifier(data.shape, 10)
    )
    for command in ("evaluate", "sweep"):
        words = [command, model, "--out", str(tmp_path / "out"), *flags]
        assert run(words, monkeypatch, capsys)[0] == 4
    assert given == [float(clip)] * 2


def test_sample_writes_a_folder_of_pictures(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One PNG per sample, with its pixels; from the folder of the run as well as from its model."""
    folder, arrays = tmp_path / "pics", tmp_path / "x.npz"
    flags = ["--labels", "3", "1", "--each", "2", "--steps", "2"]
    given = ["sample", str(trained), "--out", f"{folder}/", *flags]
    assert run(given, monkeypatch, capsys)[0] == 0
    given = ["sample", str(trained / "model"), "--out", str(arrays), *flags]
    assert run(given, monkeypatch, capsys)[0] == 0
    names = [f"{i:06d}-{label}.png" for i, label in enumerate((3, 3, 1, 1))]
    assert sorted(path.name for path in folder.iterdir()) == names
    with np.load(arrays) as drawn:
        for name, x in zip(names, drawn["x"], strict=True):
            with Image.open(folder / name) as picture:
                assert (picture.mode, picture.size) == ("L", (8, 8))
                pixels = np.asarray(picture, float)
            np.testing.assert_allclose(pixels / 127.5 - 1, x[0], rtol=0, atol=0.51 / 127.5)
    code, _, err = run(["sample", str(trained), "--out", f"{folder}/", *flags], monkeypatch, capsys)
    assert code == 2 and "contains files already; choose a new or an empty folder" in err


def test_names_of_classes_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    x = torch.zeros(2, 3, 4, 4)
    _save_pictures(tmp_path, x, torch.tensor([0, 1]), ["../../a b", "\u4e2d" * 300])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["000000-______a_b.png", "000001-" + "\u4e2d" * 40 + ".png"]
    with Image.open(tmp_path / names[0]) as picture:
        assert picture.mode == "RGB"


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_noise_from_a_file_starts_the_chains(
    suffix: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The noise of seed 7 in a file gives the samples of seed 7; other noise gives others."""
    noise = philox.normal(7, torch.arange(10), 0, (1, 8, 8)).numpy()
    file, out = tmp_path / f"noise.{suffix}", tmp_path / "x.npz"
    flags = ["--steps", "4", "--solver", "ddim", "--seed"]
    drawn = list[np.ndarray]()
    for seed, array in (("7", None), ("3", noise), ("3", -noise)):
        given = ["sample", str(trained), "--out", str(out), *flags, seed]
        if array is not None:
            save = np.save if suffix == "npy" else np.savez
            save(file, array)
            given += ["--noise", str(file)]
        assert run(given, monkeypatch, capsys)[0] == 0
        with np.load(out) as content:
            drawn.append(content["x"])
    np.testing.assert_array_equal(drawn[1], drawn[0])
    assert np.abs(drawn[2] - drawn[0]).max() > 0.1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((9, 1, 8, 8)), r"has shape \(9, 1, 8, 8\); save an array of shape \(10, 1, 8, 8"),
        (np.zeros((10, 1, 8, 8), int), "has type int64; save floating-point numbers"),
        (np.full((10, 1, 8, 8), np.nan), "contains values that are not finite"),
        (np.full((10, 1, 8, 8), 1e300), "contains values that are not finite float32"),
        (np.full((10, 1, 8, 8), None), r"cannot be read \(.*; save one array with numpy.save"),
        ({"a": np.zeros(1), "b": np.zeros(1)}, r"\(it contains 2 arrays, not one\)"),
        ({"a": np.zeros(10**5)}, r"its array has 800128 bytes, too many for these samples"),
        (np.zeros((10**5,)), r"\(it has 800128 bytes, too many for these samples\)"),
        (b"text", "it is not a NumPy array"),
        (b"PK\x03\x04", "is damaged"),
    ],
    ids=range(10),
)
def test_noise_that_does_not_fit_is_refused(
    array: np.ndarray | dict[str, np.ndarray] | bytes, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "noise"
    with file.open("wb") as stream:
        if isinstance(array, bytes):
            stream.write(array)
        elif isinstance(array, dict):
            np.savez_compressed(stream, **array)
        else:
            np.save(stream, array)
    with pytest.raises(DataError, match=f"^--noise {re.escape(str(file))} .*{message}"):
        read_noise(file, 10, (1, 8, 8))


def test_a_run_is_not_begun_over_another(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "state.safetensors").read_bytes()
    code, _, err = run(["train", "--out", str(trained), *TINY], monkeypatch, capsys)
    assert (code, "add --resume to continue it" in err) == (2, True)
    assert (trained / "state.safetensors").read_bytes() == before


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_saves_says_how_to_go_on_and_going_on_is_exact(
    number: int, code: int, tmp_path: Path
) -> None:
    minicfg = [sys.executable, "-m", "minicfg"]
    flags = ["--batch", "8", "--width", "8", "--multipliers", "1", "2", "--steps", "100"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    subprocess.run([*minicfg, "train", "--out", str(whole), *flags], check=True, env=ONE_THREAD)
    # Signalled in the middle of its steps: the program below waits there for the signal.
    noisy = [sys.executable, "-c", _NOISY, "train", "--out", str(stopped), *flags]
    with subprocess.Popen(noisy, stderr=subprocess.PIPE, text=True, env=ONE_THREAD) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "step 20" in line:
                break
        child.send_signal(number)
        rest = child.stderr.read()
    assert child.returncode == code
    assert f"minicfg train --out {stopped} --resume" in rest
    assert metadata_of(stopped / "state.safetensors")["step"] == 20
    resume = [*minicfg, "train", "--out", str(stopped), "--resume"]
    subprocess.run(resume, check=True, env=ONE_THREAD)
    ours, theirs = (f / "model.safetensors" for f in (stopped, whole))
    assert ours.read_bytes() == theirs.read_bytes()


_NOISY = """
import signal, sys, time
from minicfg.cli import train as command
from minicfg.cli import evaluate
from minicfg.cli.main import main

quiet = command.train_steps

def train_steps(*args, **kwargs):
    for state in quiet(*args, **kwargs):
        if state.step == 20:
            held = signal.getsignal(signal.SIGINT)
            print("step 20", file=sys.stderr, flush=True)
            while signal.getsignal(signal.SIGINT) is held:  # it gives way at the first signal
                time.sleep(0.01)
        yield state

command.train_steps = train_steps
main()
"""


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    program = (
        "import sys; sys.argv = ['minicfg', 'train', '--help']\n"
        "from minicfg.cli.main import main\n"
        "try: main()\n"
        "finally: print('HEAVY', [m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "minicfg train --data digits" in ran.stdout
    assert "HEAVY []" in ran.stdout


def test_doctor_names_versions_and_the_way_a_step_goes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(["doctor"], monkeypatch, capsys)
    assert code == 0
    assert "torch" in out
    assert "Triton kernel" in out or "triton is not installed" in out


def test_doctor_says_so_where_triton_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kernels.dispatch.HAS_TRITON", False)
    _, out, _ = run(["doctor"], monkeypatch, capsys)
    assert "triton is not installed" in out
    assert "interpreted no: triton is not installed" in out


def test_doctor_says_what_this_machine_can_do_with_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interpreted, compiled without a GPU, and timed, each by itself."""
    from minicfg.cli.doctor import assembler_is_here, kernel_lines

    def can(**machine: bool) -> list[str]:
        lines = kernel_lines(**machine)
        assert [line[:12].strip() for line in lines] == ["interpreted", "compiled", "timed"]
        return [line[12:].partition(":")[0].partition(",")[0] for line in lines]

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert can(has_triton=False, on_gpu=False, has_assembler=False) == ["no", "no", "no"]
    assert can(has_triton=True, on_gpu=False, has_assembler=True) == ["yes", "yes", "no"]
    assert can(has_triton=True, on_gpu=True, has_assembler=True) == ["yes", "yes", "yes"]
    assert can(has_triton=True, on_gpu=False, has_assembler=False) == ["yes", "no", "no"]
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert "unset it" in kernel_lines(has_triton=True, on_gpu=False, has_assembler=True)[1]
    pytest.importorskip("triton")
    assert assembler_is_here()
