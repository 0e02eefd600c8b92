"""Kill a process that saves, at every step of a save and at random moments: nothing is lost.

    python -m tests.hardening.kill_save --n 200

A parent forks a child for each kill. Afterwards the checkpoint must be complete and no older than
the last save that had returned, and the next save must remove the temporary file.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minicfg.io.checkpoint import load, save
from minicfg.io.format import open_checkpoint_file
from minicfg.training import TrainState, start
from tests.hardening.fuzz_loader import SMALLEST, quick_networks

PIECES = 3  # A file is written in three pieces, so that a kill can come between them.


def save_step(path: Path, state: TrainState, step: int) -> None:
    """Save a checkpoint whose metadata and tensors both contain `step`."""
    with torch.no_grad():
        state.ema.module.get_parameter("stem.bias").fill_(step)
    save(path, replace(state, step=step))


def step_of(path: Path) -> int:
    """The step of the checkpoint at `path`, which must be complete."""
    with open_checkpoint_file(path) as opened:
        step = opened.metadata["step"]
        bias = opened.read_tensors()["stem.bias"]
    assert bool((bias == step).all()), f"metadata of step {step}, tensors of step {bias[0]}"
    return step


def steps_end_at(last: int) -> Callable[[], int]:
    """Kill this process before step `last` (0, 1, ...) of a save; return a counter of the steps."""
    taken = 0

    def take() -> None:
        nonlocal taken
        if taken == last:
            os.kill(os.getpid(), signal.SIGKILL)
        taken += 1

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            take()
            return function(*arguments, **named)

        return step

    @contextlib.contextmanager
    def open_in_pieces(path: Path, mode: str) -> Iterator[Any]:
        with open(path, mode, buffering=0) as stream:

            class Pieces:
                fileno, flush = stream.fileno, stream.flush

                def write(self, content: bytes) -> None:
                    for begin in range(0, len(content), 1 + len(content) // PIECES):
                        take()
                        stream.write(content[begin : begin + 1 + len(content) // PIECES])

            yield Pieces()

    os.fsync = counted(os.fsync)
    Path.open = counted(open_in_pieces)
    for name in ("replace", "unlink"):
        setattr(Path, name, counted(getattr(Path, name)))
    return lambda: taken


def forked(work: Callable[[int], None]) -> tuple[int, int]:
    """Fork a child that runs `work`; return its process ID and the descriptor of its answer."""
    receive, answer = os.pipe()
    if not (child := os.fork()):
        try:
            work(answer)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(answer)
    return child, receive


def killed_at_every_step(path: Path, state: TrainState) -> list[tuple[int, bool]]:
    """`(temporary files left, whether the new checkpoint is in place)` for a kill at each step."""
    outcomes = list[tuple[int, bool]]()
    step = step_of(path)
    for last in itertools.count():

        def work(answer: int, last: int = last, new: int = step + 1) -> None:
            steps_end_at(last)
            save_step(path, state, new)

        child, receive = forked(work)
        _, status = os.waitpid(child, 0)
        os.close(receive)
        if not os.WIFSIGNALED(status):
            assert status == 0 and step_of(path) == step + 1
            return outcomes
        found = step_of(path)
        assert found in (step, step + 1)
        outcomes.append((_swept(path, state, step + 2), found == step + 1))
        step += 2


def killed_at_random(path: Path, state: TrainState, n: int, seed: int) -> Counter[str]:
    """Kill `n` children, which save in a loop, each after about the time of one save."""
    rng, counts = np.random.default_rng(seed), Counter[str]()
    duration = _seconds_of_a_save(path, state)
    for _ in range(n):
        before = step_of(path)

        def work(answer: int, before: int = before) -> None:
            for step in itertools.count(before + 1):
                save_step(path, state, step)
                os.write(answer, step.to_bytes(8, "little"))

        child, receive = forked(work)
        first = os.read(receive, 8)  # The child has begun.
        time.sleep(rng.uniform(0, 2 * duration))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        with os.fdopen(receive, "rb") as stream:
            returned = int.from_bytes((first + stream.read())[-8:], "little")
        found = step_of(path)
        # The next save may have been complete before the child could report it.
        assert found in (returned, returned + 1), f"lost: {returned} was saved, {found} is there"
        half = _swept(path, state, found + 1)
        counts["kills"] += 1
        counts["left a file half written"] += half > 0
        counts["a whole save that had not returned"] += found == returned + 1
    return counts


def _seconds_of_a_save(path: Path, state: TrainState) -> float:
    began, step = time.perf_counter(), step_of(path)
    for more in range(1, 6):
        save_step(path, state, step + more)
    return (time.perf_counter() - began) / 5


def _swept(path: Path, state: TrainState, step: int) -> int:
    """Save again, and return how many temporary files that removed."""
    stale = len(list(path.parent.glob("*.tmp")))
    save_step(path, state, step)
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ["model.safetensors"] and step_of(path) == step
    return stale


def main() -> None:
    """Kill, and print the outcomes as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200, help="kills in all")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    state, began = start(SMALLEST, (1, 1, 1), ("a",)), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, quick_networks():
        path = Path(folder) / "model"
        save_step(path, state, 1)
        steps = killed_at_every_step(path, state)
        counts = killed_at_random(path, state, given.n - len(steps), given.seed)
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # Once more as users load, without the cached network.
        save_step(Path(folder) / "model", state, 1)
        assert load(Path(folder) / "model").step == 1
    outcome = {"steps": steps, "random": counts, "seconds": round(time.monotonic() - began, 1)}
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
