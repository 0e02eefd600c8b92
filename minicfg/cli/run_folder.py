"""What a training run leaves on its way: a log, states to go on from, models.

A save on the way that fails, the disk being full, is one line on standard error, and training goes
on: what was saved before still stands, and the next save may succeed. A save at the end that fails
is the run's failure, `MachineError`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minicfg.errors import MachineError, UsageError
from minicfg.io.checkpoint import save, save_state
from minicfg.training import TrainState, learning_rate

LOG = "log.jsonl"


@dataclass(frozen=True)
class Keeping:
    """What a run leaves on the way, besides its end."""

    save_every: int = 500
    """Steps between saved states; a run that is killed outright loses no more, but where a save
    failed, which is said."""
    keep: int = 0
    """Models to keep from the way, the latest ones, one at every saved state."""
    sample_every: int = 0
    """Steps between pictures of two samples a class; 0 for none."""
    tensorboard: bool = False
    """Log loss and learning rate for TensorBoard as well (pip install tensorboard)."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.save_every < 1:
            raise UsageError(f"--save-every {self.save_every}: at least 1 is needed")
        for name, value in (("keep", self.keep), ("sample-every", self.sample_every)):
            if value < 0:
                raise UsageError(f"--{name} {value}: 0 or more is needed")


LITTLE = Keeping()


@contextmanager
def spared(step: int) -> Iterator[None]:
    """What fails to be written in here is said, and training goes on."""
    try:
        yield
    except (MachineError, OSError) as error:
        _say(step, error)


def _say(step: int, error: Exception) -> None:
    line = " ".join(f"minicfg: step {step}: {error}; training goes on".split())
    tqdm.write(line, file=sys.stderr)  # above the progress bar, not into it


def keep(out: Path, state: TrainState, keeping: Keeping) -> None:
    """What is due after this step: the state, a model."""
    step = state.step
    if step % keeping.save_every or step == state.config.steps:
        return
    with spared(step):
        save_state(out / "state", state)
        if keeping.keep:
            (out / "kept").mkdir(exist_ok=True)
            save(out / f"kept/step-{step:07d}", state)
            for old in sorted((out / "kept").glob("step-*.safetensors"))[: -keeping.keep]:
                old.unlink()


@contextmanager
def logged(out: Path, done: int, keeping: Keeping) -> Iterator[Callable[[TrainState], None]]:
    """A line of JSON a step, added to those of the steps that are done and saved.

    Lines that cannot be written wait for the next step's, and so at most the last are lost.
    """
    board = _tensorboard(out, done) if keeping.tensorboard else None
    # Without a buffer: each line is there for whoever looks on, and it is known what was written.
    with (out / LOG).open("ab", buffering=0) as lines:
        lines.truncate(sum(len(line) for line in _whole(out) if json.loads(line)["step"] <= done))
        waiting, failed = b"", False

        def log(state: TrainState) -> None:
            nonlocal waiting, failed
            rate = learning_rate(state.config, state.step)
            told = {"step": state.step, "loss": state.loss, "lr": rate}
            waiting += json.dumps(told).encode() + b"\n"
            try:
                waiting = waiting[lines.write(waiting) :]
                if board:
                    board.add_scalar("loss", state.loss, state.step)
                    board.add_scalar("lr", rate, state.step)
            except OSError as error:
                if not failed:
                    _say(
                        state.step,
                        MachineError(f"{out / LOG} cannot be written ({error.strerror})"),
                    )
                failed = True
            else:
                failed = False

        yield log
    if board:
        with spared(done):
            board.close()


def read_log(out: Path) -> list[dict[str, Any]]:
    """The lines of the log that are whole."""
    return [json.loads(line) for line in _whole(out)]


def _whole(out: Path) -> list[bytes]:
    lines = (out / LOG).read_bytes().splitlines(keepends=True)
    return [line for line in lines if line.endswith(b"\n")]


def _tensorboard(out: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MachineError("--tensorboard: pip install tensorboard, which is missing") from None
    # What was logged beyond the saved state is taken back: it comes again.
    return SummaryWriter(out / "tensorboard", purge_step=done + 1 if done else None)
