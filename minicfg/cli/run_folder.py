"""The folder of a run: its lock, its log, and the states and models saved on the way.

If a save on the way fails, for example because the disk is full, one line on standard error says so
and training continues: the files saved before are intact, and the next save may succeed. If the
save at the end fails, the run fails with `MachineError`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from minicfg.cli.options import SavingOptions
from minicfg.config import TrainConfig
from minicfg.datasets import data_folder
from minicfg.distributed import SINGLE_PROCESS, Ranks
from minicfg.errors import MachineError, UsageError
from minicfg.io.atomic import lock_folder
from minicfg.io.checkpoint import save, save_state
from minicfg.io.format import open_checkpoint_file
from minicfg.training import TrainState, learning_rate

LOG = "log.jsonl"


def check_out_is_outside_data(out: Path, data: str) -> None:
    """Refuse a folder for results inside the folder of `--data`, where it would become a class."""
    folder = data_folder(data)
    if folder and out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            f"--out {out} lies inside {folder}, the folder of the data, whose subfolders are the "
            "classes; choose a folder outside."
        )


@contextmanager
def lock_run_folder(
    out: Path,
    group: Ranks = SINGLE_PROCESS,
    device: torch.device | str = "cpu",
) -> Iterator[None]:
    """Keep every other process from writing into `out` within this context.

    The first rank takes the lock. If another process holds it, all ranks raise `UsageError`.
    """
    with lock_folder(out) if group.first else nullcontext(True) as free:
        if group.largest(int(not free), torch.device(device)):
            raise UsageError(
                f"--out {out}: another process is writing into this folder; wait until it ends, or "
                "choose another folder."
            )
        yield


def state_file(out: Path) -> Path:
    """The file from which a run is resumed."""
    return out / "state.safetensors"


def read_config_of_run(out: Path) -> TrainConfig | None:
    """The settings of the run in `out`; None if there is no run, or `load_state` will refuse it."""
    if not state_file(out).exists():
        return None
    with open_checkpoint_file(state_file(out)) as opened:
        settings = opened.metadata.get("config")
    if not isinstance(settings, dict):
        return None
    try:
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()
        }
        return TrainConfig(**values)
    except (TypeError, UsageError):  # an unknown or an invalid setting
        return None


@contextmanager
def report_failed_write(step: int) -> Iterator[None]:
    """Print a line if a write within this context fails, and let training continue."""
    try:
        yield
    except (MachineError, OSError) as error:
        _print_failure(step, error)


def _print_failure(step: int, error: Exception) -> None:
    line = " ".join(f"minicfg: step {step}: {error}; training goes on".split())
    tqdm.write(line, file=sys.stderr)  # above the progress bar, not into it


def save_on_the_way(out: Path, state: TrainState, saving: SavingOptions) -> None:
    """Save the state, and a model if models are to be kept, where this step is due for it."""
    step = state.step
    if step % saving.save_every or step == state.config.steps:
        return
    with report_failed_write(step):
        save_state(out / "state", state)
        if saving.keep:
            (out / "kept").mkdir(exist_ok=True)
            save(out / f"kept/step-{step:07d}", state)
            for old in sorted((out / "kept").glob("step-*.safetensors"))[: -saving.keep]:
                old.unlink()


@contextmanager
def open_log(
    out: Path,
    done: int,
    saving: SavingOptions,
    extended_from: int | None = None,
) -> Iterator[Callable[[TrainState], None]]:
    """Yield a function that appends one line of JSON per step to the log.

    A line has the step, its loss and learning rate, the seconds of training so far, and the images
    per second since the line before. If the run has become longer, its first new line also has
    `extended`, the number of steps before and now.

    Lines of steps after `done`, the last saved step, are removed first, because these steps are
    repeated. A line that cannot be written is written together with that of the next step, so at
    most the last lines are lost.
    """
    board = _open_tensorboard(out, done) if saving.tensorboard else None
    # Without a buffer, each line is in the file at once, and `write` returns how much of it is.
    with (out / LOG).open("ab", buffering=0) as file:
        saved_lines = [line for line in _complete_lines(out) if json.loads(line)["step"] <= done]
        file.truncate(sum(len(line) for line in saved_lines))
        seconds_before = json.loads(saved_lines[-1])["seconds"] if saved_lines else 0.0
        start = time.perf_counter()
        last = start
        unwritten = b""
        failed = False

        def log(state: TrainState) -> None:
            nonlocal unwritten, failed, last
            rate = learning_rate(state.config, state.step)
            now = time.perf_counter()
            record = {
                "step": state.step,
                "loss": state.loss,
                "lr": rate,
                "seconds": round(seconds_before + now - start, 3),
                "images_per_second": float(f"{state.config.batch / max(now - last, 1e-9):.4g}"),
            }
            last = now
            if extended_from is not None and state.step == done + 1:
                record["extended"] = [extended_from, state.config.steps]
            unwritten += json.dumps(record).encode() + b"\n"
            try:
                unwritten = unwritten[file.write(unwritten) :]
                if board:
                    board.add_scalar("loss", state.loss, state.step)
                    board.add_scalar("lr", rate, state.step)
            except OSError as error:
                if not failed:
                    failure = MachineError(f"{out / LOG} cannot be written ({error.strerror})")
                    _print_failure(state.step, failure)
                failed = True
            else:
                failed = False

        yield log
    if board:
        with report_failed_write(done):
            board.close()


def read_log(out: Path) -> list[dict[str, Any]]:
    """Read the log; an incomplete last line is left out."""
    return [json.loads(line) for line in _complete_lines(out)]


def _complete_lines(out: Path) -> list[bytes]:
    lines = (out / LOG).read_bytes().splitlines(keepends=True)
    return [line for line in lines if line.endswith(b"\n")]


def _open_tensorboard(out: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MachineError(
            "--tensorboard: the package tensorboard is not installed; run pip install tensorboard."
        ) from None
    # Events after the saved state are removed, because these steps are repeated.
    return SummaryWriter(out / "tensorboard", purge_step=done + 1 if done else None)
