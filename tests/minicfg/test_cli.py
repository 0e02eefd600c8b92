"""The command line as a user meets it: exit codes, one line an error, and nothing half-written."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minicfg.cli import main
from minicfg.config import TrainConfig
from minicfg.runs import run_training
from minicfg.sources import load_data

# A second thread of so small a network waits for the first, on a busy machine for long.
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
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
    config = TrainConfig(steps=3, batch=8, width=8, multipliers=(1, 2))
    run_training(load_data("digits"), config, out)
    return out


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "demo, train, sample, evaluate, sweep, bench, doctor"),
        (["smple"], "smple"),
        (["train"], "--out"),
        (["demo", "--fast"], "--fast"),
        (["train", "--out", "OUT", "--steps", "many"], "--steps.*'many'"),
        (["train", "--out", "OUT", "--steps", "0"], "steps = 0: an integer in 1"),
        (["train", "--out", "OUT", "--batch", "0"], "batch = 0"),
        (["train", "--out", "OUT", "--T", "0"], "T = 0"),
        (["train", "--out", "OUT", "--p-uncond", "1.5"], r"p_uncond = 1.5: a number 0\.\.1"),
        (["train", "--out", "OUT", "--lr", "nan"], "lr = nan"),
        (["train", "--out", "OUT", "--schedule", "sigmoidal"], "--schedule"),
        (["train", "--out", "OUT", "--data", "mnist"], "data = 'mnist'"),
        (["train", "--out", "OUT", "--seed", "-1"], "seed = -1"),
        (["train", "--out", "OUT", "--resume"], "--resume: .* holds no run"),
        (["sample", "CKPT", "--out", "OUT/x.gif"], "--out .*x.gif: .* .png or .npz"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--w", "nan"], "w = nan is not a finite"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--w", "-inf"], "w = -inf is not a finite"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--steps", "0"], r"steps = 0 is outside 1..1000"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--steps", "1001"], "steps = 1001 is outside"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--labels", "10"], r"--labels 10: .*0\.\.9"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--labels", "-1"], "-1"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--labels", "cat"], "--labels cat"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--each", "0"], "--each 0: at least 1"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--seed", "-3"], "seed = -3"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--v", "2"], r"v = 2.0 is outside 0\.\.1"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--eta", "1"], "--eta 1: --solver ddpm has no"),
        (["sample", "CKPT", "--out", "OUT/x.png", "--solver", "cfgpp"], "--w 2: cfgpp wants"),
        (["evaluate", "CKPT", "--out", "OUT", "--n", "10"], "n = 10: at least 40"),
        (["sweep", "CKPT", "--out", "OUT", "--w", "4:0:1"], "--w 4:0:1: from:to:step"),
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


@pytest.mark.parametrize("damage", ["missing", "truncated", "not a checkpoint", "another's json"])
def test_checkpoint_that_cannot_be_trusted_is_exit_code_3(
    damage: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = (trained / "model.safetensors").read_bytes()
    about = json.loads((trained / "model.json").read_text())
    if damage == "truncated":
        (tmp_path / "model.safetensors").write_bytes(content[: len(content) // 2])
    if damage == "not a checkpoint":
        (tmp_path / "model.safetensors").write_bytes(b"PK\x03\x04" + content)
    if damage == "another's json":
        (tmp_path / "model.safetensors").write_bytes(content)
        about["config"]["width"] = 16
        (tmp_path / "model.json").write_text(json.dumps(about))
    picture = tmp_path / "x.png"
    given = ["sample", str(tmp_path / "model"), "--out", str(picture)]
    code, _, err = run(given, monkeypatch, capsys)
    assert code == 3
    assert err.count("\n") == 1
    assert "model" in err
    assert not picture.exists()


@pytest.mark.parametrize("command", [["demo"], ["train", *TINY]])
def test_unwritable_folder_is_found_before_training_and_is_exit_code_4(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Below a file there can be no folder, whoever asks (permissions do not stop root)."""
    (tmp_path / "file").write_text("")
    began = time.perf_counter()
    given = [*command, "--out", str(tmp_path / "file" / "run")]
    code, _, err = run(given, monkeypatch, capsys)
    assert code == 4
    assert err.count("\n") == 1
    assert "cannot be written to" in err
    assert time.perf_counter() - began < 15  # the demo trains for a minute


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


def test_a_run_is_not_begun_over_another(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "state.safetensors").read_bytes()
    code, _, err = run(["train", "--out", str(trained), *TINY], monkeypatch, capsys)
    assert (code, "--resume goes on with it" in err) == (2, True)
    assert (trained / "state.safetensors").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_saves_says_how_to_go_on_and_going_on_is_exact(
    number: int, code: int, tmp_path: Path
) -> None:
    minicfg = [sys.executable, "-m", "minicfg"]
    flags = ["--batch", "8", "--width", "8", "--multipliers", "1", "2", "--steps", "100"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    subprocess.run([*minicfg, "train", "--out", str(whole), *flags], check=True, env=ONE_THREAD)
    # Signalled in the middle of its steps: the program below says when it is there.
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
    assert json.loads((stopped / "state.json").read_text())["step"] < 100
    resume = [*minicfg, "train", "--out", str(stopped), "--resume"]
    subprocess.run(resume, check=True, env=ONE_THREAD)
    ours, theirs = (f / "model.safetensors" for f in (stopped, whole))
    assert ours.read_bytes() == theirs.read_bytes()


_NOISY = """
import sys
from minicfg import runs
from minicfg.cli import main
from minicfg.config import TrainConfig
from minicfg.sources import load_data
from minicfg.runs import run_training

quiet = runs.train

def train(*args, **kwargs):
    for state in quiet(*args, **kwargs):
        print("step", state.step, file=sys.stderr, flush=True)
        yield state

runs.train = train
main()
"""


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    program = (
        "import sys; sys.argv = ['minicfg', 'train', '--help']\n"
        "from minicfg.cli import main\n"
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
    monkeypatch.setattr("kernels.op.HAS_TRITON", False)
    _, out, _ = run(["doctor"], monkeypatch, capsys)
    assert "triton is not installed" in out
