"""Kill a run with signal 9 at a random moment, go on, and compare: bit for bit the run unkilled.

    python -m tests.hardening.kill_resume --n 50

Compared are the bytes of `state.safetensors` (weights, their average, the optimiser's moments, the
scaler, the loss) and of `model.safetensors`, and the lines of `log.jsonl` without their times.
There is no data loader to vary: a batch is a function of (seed, step).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from minicfg.cli import train as command
from minicfg.cli.options import SavingOptions
from minicfg.cli.run_folder import LOG
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.datasets import load_data
from minicfg.io.checkpoint import load_state
from tests.hardening.kill_save import forked
from tests.minicfg.logs import log_without_times

# 88 images in batches of 8: an epoch is 11 steps, and a state is saved within it.
IMAGES = 88
CONFIG = TrainConfig(
    data="toy:dots", width=8, multipliers=(1,), steps=20, batch=8, T=20, dropout=0.2, seed=3
)
CONFIGS = (CONFIG, replace(CONFIG, precision="float16"))  # the second has a scaler
SAVING = SavingOptions(save_every=3)
COMPARED = ("state.safetensors", "model.safetensors", LOG)


def images() -> Dataset:
    """The first of the toy's pictures."""
    data = load_data(CONFIG.data)
    return Dataset(data.x[:IMAGES], data.y[:IMAGES], data.classes, data.name)


def run(data: Dataset, config: TrainConfig, out: Path) -> None:
    """Begin, or go on, as `minicfg train` does; no picture of the loss, which takes longest."""
    state = out / "state.safetensors"
    begun = load_state(state) if state.exists() else None
    with (
        mock.patch.object(command.plots, "save_figure"),
        mock.patch.object(command.plots, "loss_curve"),
    ):
        _, code = command.run_training(data, config, out, begun, saving=SAVING)
    assert code == 0


def in_child(data: Dataset, config: TrainConfig, out: Path) -> int:
    """Begin or go on in a process of its own; its number."""
    child, receive = forked(lambda _: run(data, config, out))
    os.close(receive)
    return child


def finished(child: int) -> None:
    """Wait for a child that is left alone."""
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the run ended with {status}"


def wait_for_step(out: Path, step: int, child: int) -> None:
    """Wait until a state is saved and the log has come to `step`, or until the child has ended."""
    while True:
        # WNOWAIT leaves the child to be waited for again.
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        saved = (out / "state.safetensors").exists()
        if saved and (out / LOG).read_bytes().count(b"\n") >= step:
            return
        time.sleep(0.002)


def trial(
    data: Dataset, config: TrainConfig, whole: Path, seconds: float, rng: np.random.Generator
) -> list[int]:
    """Kill a run once or twice on its way; the steps it had logged by then. Compares."""
    killed = list[int]()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for _ in range(int(rng.integers(1, 3))):
            child = in_child(data, config, out)
            # By what it has logged and not by the clock: on a busy machine the clock would kill all
            # runs near their first steps.
            wait_for_step(out, int(rng.integers(SAVING.save_every, config.steps)), child)
            time.sleep(rng.uniform(0, seconds / config.steps))
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            if os.WIFSIGNALED(status):
                killed.append((out / LOG).read_bytes().count(b"\n"))
        finished(in_child(data, config, out))
        for name in COMPARED:
            if name == LOG:
                same = log_without_times(out) == log_without_times(whole)
            else:
                same = (out / name).read_bytes() == (whole / name).read_bytes()
            assert same, f"killed after {killed}: {name} differs"
    return killed


def main() -> None:
    """Kill runs, compare, and print the steps they were killed after as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=50, help="runs, each killed once or twice")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data, rng, began = images(), np.random.default_rng(given.seed), time.monotonic()
    killed = list[list[int]]()
    with tempfile.TemporaryDirectory() as folder:
        wholes, seconds = list[Path](), 0.0
        for k, config in enumerate(CONFIGS):
            wholes.append(Path(folder) / str(k))
            wholes[k].mkdir()
            # Here, so that children find all that torch imports on the way; and not the first
            # run, which waits for that, is timed, but the last.
            begun = time.perf_counter()
            run(data, config, wholes[k])
            seconds = time.perf_counter() - begun
        while len(killed) < given.n:
            k = len(killed) % len(CONFIGS)
            steps = trial(data, CONFIGS[k], wholes[k], seconds, rng)
            if steps:  # else it was done before it could be killed
                killed.append(steps)
    print(json.dumps({"killed": killed, "seconds": round(time.monotonic() - began, 1)}))


if __name__ == "__main__":
    main()
