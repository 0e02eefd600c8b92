"""The package on a GPU beside the package on the CPU: TRITON_INTERPRET=0 python -m pytest -k gpu.

The same pictures and the same training, to what float32 leaves open once convolutions are exact:
cuDNN's, by default, round their inputs to 10 bits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import minicfg
from minicfg.config import TrainConfig
from minicfg.datasets import load_data
from minicfg.training import train_steps

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "0", reason="needs a GPU and TRITON_INTERPRET=0"
)
SMALL = TrainConfig(width=8, batch=32, steps=20)


@pytest.fixture(autouse=True)
def exact_convolutions() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("w", [0.0, 2.0, "each"])
@pytest.mark.parametrize("solver", ["ddpm", "ddim", "dpmpp_2m", "cfgpp"])
def test_a_picture_does_not_depend_on_the_device(solver: str, w: float | str) -> None:
    torch.manual_seed(0)
    model = minicfg.UNet(channels=1, num_classes=10, width=16).eval()
    torch.nn.init.normal_(model.head.weight, std=0.1)
    schedule, y = minicfg.Schedule.cosine(1000), torch.arange(12) % 11
    table = getattr(minicfg.solvers, solver)(schedule, 20)
    weight = torch.linspace(0, 3, 12) if w == "each" else w

    def draw(device: str) -> torch.Tensor:
        return minicfg.sample(
            model.to(device), y.to(device), table, shape=(1, 16, 16), w=weight, seed=7, clip=1.0
        ).cpu()

    torch.testing.assert_close(draw("cuda"), draw("cpu"), rtol=0, atol=2e-3)


@pytest.mark.parametrize("change", [{}, dict(prediction="v", min_snr=5.0), dict(attention=(2,))])
def test_training_is_that_of_the_cpu(change: dict) -> None:
    data, config = load_data("digits"), replace(SMALL, **change)
    on_gpu, on_cpu = (
        [state.loss for state in train_steps(data, config, device=device)]
        for device in ("cuda", "cpu")
    )
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=2e-2)
    np.testing.assert_allclose(on_gpu[:3], on_cpu[:3], rtol=1e-4)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns(precision: str) -> None:
    config = replace(SMALL, precision=precision, steps=60)
    losses = [state.loss for state in train_steps(load_data("digits"), config, device="cuda")]
    exact = [state.loss for state in train_steps(load_data("digits"), replace(SMALL, steps=60))]
    assert np.mean(losses[-10:]) == pytest.approx(np.mean(exact[-10:]), rel=0.05)


def command(*arguments: str) -> str:
    """A `minicfg` command as a user gives it: without shape checks, and with TF32."""
    ran = subprocess.run(
        [sys.executable, "-m", "minicfg", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stderr


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_compiled_run_moves_between_devices(precision: str, tmp_path: Path) -> None:
    """Begun and ended on the GPU, compiled; sampled on either."""
    run = str(tmp_path / "run")
    settings = ["--steps", "40", "--width", "8", "--compile", "--precision", precision]
    command("train", "--out", run, *settings, "--device", "cuda")
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run/log.jsonl").open()]
    assert losses[-1] < 0.8 * losses[0]
    pictures = {}
    for device in ("cuda", "cpu"):
        out = tmp_path / f"{device}.npz"
        said = command("sample", f"{run}/model", "--out", str(out), "--device", device, "--w", "1")
        assert "Warning" not in said  # the step was recorded
        pictures[device] = np.load(out)["x"]
    assert np.abs(pictures["cuda"] - pictures["cpu"]).max() < 0.05  # TF32, 50 steps
