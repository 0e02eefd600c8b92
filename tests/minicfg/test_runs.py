"""What a run leaves behind: its log, its models, its pictures; and runs of two processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from minicfg import load
from minicfg.config import TrainConfig
from minicfg.errors import MachineError, UsageError
from minicfg.ranks import Ranks
from minicfg.runs import Keeping, run_training, train_into

# Sums, and so last bits, depend on the number of threads; here it is 1, as in the tests.
ENV = os.environ | {"OMP_NUM_THREADS": "1"}
TINY = TrainConfig(steps=12, batch=10, width=8, multipliers=(1, 2), seed=3)
FLAGS = ["--steps", "12", "--batch", "10", "--width", "8", "--multipliers", "1", "2", "--seed", "3"]


def lines(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve steps that kept what it could."""
    out = tmp_path_factory.mktemp("whole")
    assert train_into(out, TINY, resume=False, keeping=Keeping(3, 2, 5)) == 0
    return out


def test_a_run_leaves_its_log_models_and_pictures(whole: Path) -> None:
    log = lines(whole)
    assert [line["step"] for line in log] == list(range(1, 13))
    assert all(line["loss"] > 0 and 0 < line["lr"] <= TINY.lr for line in log)
    kept = sorted(path.name for path in (whole / "kept").iterdir())
    names = [f"step-{step:07d}" for step in (6, 9)]  # the last two before the end
    assert kept == [f"{name}{suffix}" for name in names for suffix in (".json", ".safetensors")]
    assert load(whole / "kept/step-0000009").step == 9
    pictures = sorted(path.name for path in (whole / "samples").iterdir())
    assert pictures == [f"step-{step:07d}.png" for step in (5, 10, 12)]
    for path in [whole / "loss.png", *(whole / "samples").iterdir()]:
        Image.open(path).verify()


def test_a_run_killed_outright_goes_on_with_its_log(whole: Path, tmp_path: Path) -> None:
    """Killed after step 8, saved at 6: the lines of steps 7 and 8 are written again, the same."""
    out = tmp_path / "killed"
    program = (
        "import os, sys\nfrom minicfg import runs\n"
        "train = runs.train\n"
        "def dying(*args, **kwargs):\n"
        "    for state in train(*args, **kwargs):\n"
        "        yield state\n"
        "        if state.step == 8: os.kill(os.getpid(), 9)\n"
        "runs.train = dying\n"
        "from minicfg.cli import main\nmain()\n"
    )
    given = ["train", "--out", str(out), *FLAGS, "--save-every", "3"]
    died = subprocess.run([sys.executable, "-c", program, *given], capture_output=True, env=ENV)
    assert died.returncode == -signal.SIGKILL
    assert len(lines(out)) == 8
    assert json.loads((out / "state.json").read_text())["step"] == 6
    assert train_into(out, TINY, resume=True) == 0
    assert lines(out) == lines(whole)
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "given", [{"save_every": 0}, {"keep": -1}, {"sample_every": -5}], ids=lambda g: next(iter(g))
)
def test_what_cannot_be_kept_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(given)).replace('_', '-')} "):
        Keeping(**given)


def test_tensorboard_that_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MachineError, match="pip install tensorboard"):
        train_into(tmp_path, TINY, resume=False, keeping=Keeping(tensorboard=True))


# Ranks


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 6, 7, 100])
def test_shares_are_even_and_cover_all_places_once(n: int, world: int) -> None:
    shares = [np.arange(n)[Ranks(rank, world).share(n)] for rank in range(world)]
    assert np.concatenate(shares).tolist() == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("asked", ["gpu", "tpu", "mps:x"])
def test_devices_that_are_none_are_refused(asked: str) -> None:
    with pytest.raises(UsageError, match=f"--device {asked}: auto, cpu or cuda"):
        Ranks().device(asked)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(MachineError, match="no CUDA device here"):
        Ranks().device("cuda")
    assert Ranks().device("auto") == torch.device("cpu")


def torchrun(processes: int, *arguments: str) -> list[str]:
    """`torchrun -m minicfg ...` on a port of its own."""
    launch = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [sys.executable, "-m", *launch, "-m", "minicfg", *arguments]


@pytest.mark.slow
def test_two_processes_are_one_run(whole: Path, tmp_path: Path) -> None:
    """Same batch, so same gradients but for the order of their sums: float32 rounding, 12 steps.

    AdamW divides by the root of a mean square: a weight whose gradient is all rounding may move by
    lr x rounding / rounding. Measured: 2e-7; allowed 1e-5, an update being about 1e-3. Of sampling,
    each does whole batches of 256, so its file is the same, byte for byte.
    """
    out = tmp_path / "two"
    given = torchrun(2, "train", "--out", str(out), *FLAGS)
    ran = subprocess.run(given, capture_output=True, text=True, env=ENV)
    assert ran.returncode == 0, ran.stderr
    one, two = (load(folder / "model").model.state_dict() for folder in (whole, out))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        [line["loss"] for line in lines(out)], [line["loss"] for line in lines(whole)], rtol=1e-5
    )
    pictures = [tmp_path / "one.npz", tmp_path / "two.npz"]
    flags = ["--each", "200", "--labels", "3", "1", "4", "--steps", "2"]
    for processes, path in zip((1, 2), pictures, strict=True):
        given = ["sample", str(whole / "model"), "--out", str(path), *flags]
        command = (
            torchrun(2, *given) if processes == 2 else [sys.executable, "-m", "minicfg", *given]
        )
        ran = subprocess.run(command, capture_output=True, text=True, env=ENV)
        assert ran.returncode == 0, ran.stderr
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


@pytest.mark.slow
def test_sigterm_ends_all_ranks_after_the_same_step(tmp_path: Path) -> None:
    out = tmp_path / "two"
    flags = [*FLAGS[2:], "--steps", "100000"]
    given = torchrun(2, "train", "--out", str(out), *flags)
    with subprocess.Popen(given, stderr=subprocess.PIPE, text=True, env=ENV) as group:
        log, deadline = out / "log.jsonl", time.monotonic() + 120
        while not (log.exists() and log.stat().st_size > 500):
            assert time.monotonic() < deadline and group.poll() is None
            time.sleep(0.1)
        group.send_signal(signal.SIGTERM)
        said, began = group.communicate()[1], time.monotonic()
    assert time.monotonic() - began < 30
    assert "to go on: minicfg train --out" in said
    step = json.loads((out / "state.json").read_text())["step"]
    assert step == lines(out)[-1]["step"] and load(out / "model").step == step


def test_more_processes_than_images_are_refused(tmp_path: Path) -> None:
    from minicfg.sources import load_data

    with pytest.raises(UsageError, match="batch = 1: 2 processes need an image each"):
        run_training(load_data("digits"), replace(TINY, batch=1), tmp_path, group=Ranks(1, 2))
