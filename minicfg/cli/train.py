"""The command `minicfg train`: progress, signals and files around `minicfg.training.train`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from minicfg import solvers
from minicfg.cli.config_file import write_config_file
from minicfg.cli.options import DEFAULT_DATA, DEFAULT_SAVING, DataOptions, SavingOptions
from minicfg.cli.progress import advance_silently, progress
from minicfg.cli.real_images import classes_with_few_images
from minicfg.cli.report import write_training_report
from minicfg.cli.run_folder import (
    check_out_is_outside_data,
    lock_run_folder,
    open_log,
    read_log,
    report_failed_write,
    save_on_the_way,
    state_file,
)
from minicfg.cli.sample import draw
from minicfg.cli.signals import stop_between_steps
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.datasets import describe, load_data
from minicfg.distributed import SINGLE_PROCESS, Ranks, process_group
from minicfg.errors import MachineError, UsageError
from minicfg.io.atomic import check_writable
from minicfg.io.checkpoint import Checkpoint, load_state, save, save_state
from minicfg.threads import thread_count, threads
from minicfg.training import TrainState, check_run, train_steps
from minicfg.viz import plots

MAX_CLASSES_IN_PICTURE = 10


def run_train(
    out: Path,
    config: TrainConfig,
    *,
    resume: bool,
    device: str = "cpu",
    saving: SavingOptions = DEFAULT_SAVING,
    reading: DataOptions = DEFAULT_DATA,
) -> int:
    """Train and save into `out`; return the exit code, 128 + n after signal n."""
    with process_group() as group:
        torch_device = group.device(device)
        resumed = state_to_resume(out, resume, group, torch_device)
        extended_from = None
        if resumed:
            if config.steps > resumed.config.steps:
                extended_from = resumed.config.steps
            resumed = with_new_settings(resumed, config, out)
        check_out_is_outside_data(out, config.data)
        data = load_data(config.data, config.size, **asdict(reading))
        check_run(data, config, resumed, group)  # before anything is written
        check_writable(out)
        with lock_run_folder(out, group, torch_device):
            if not resume and group.largest(int(state_file(out).exists()), torch_device):
                raise UsageError(
                    f"--out {out} now contains a run that has just ended; add --resume to continue "
                    "it, or choose another folder."
                )
            if group.first:
                print(describe(data))
                if few := classes_with_few_images(data):
                    print(few)
            start_time = time.perf_counter()
            first_step = resumed.step + 1 if resumed else 1
            state, code = run_training(
                data, config, out, resumed, torch_device, group, saving, extended_from
            )
            if group.first:
                print(f"step {state.step} of {config.steps}: {out / 'model.safetensors'}")
                if first_step > config.steps:
                    print(
                        f"nothing was left to do; to train longer: minicfg train --out {out} "
                        f"--resume --steps N, with N above {config.steps}"
                    )
            if group.first and not code:
                seconds = time.perf_counter() - start_time
                duration = (
                    f"{seconds:.0f} s for steps {first_step} to {state.step}, on {torch_device}, "
                    f"in {group.world} process(es)"
                )
                print(_write_report(out, data, state, duration))
            return code


def state_to_resume(
    out: Path,
    resume: bool,
    group: Ranks,
    device: torch.device,
) -> TrainState | None:
    """The saved state if the run is to be resumed, or None for a new run.

    Every rank looks on its own machine, and either all ranks are refused or none is.
    """
    exists = state_file(out).exists()
    exists_somewhere = group.largest(int(exists), device)
    missing_somewhere = group.largest(int(not exists), device)
    if not resume:
        if exists_somewhere:
            raise UsageError(
                f"--out {out} already contains a run; add --resume to continue it, or choose "
                "another folder."
            )
        return None
    if missing_somewhere:
        on_every_machine = " on every machine" if exists_somewhere else ""
        raise UsageError(
            f"--resume: {out} contains no state.safetensors{on_every_machine}; leave out --resume "
            "to start a new run, or name the folder of a run."
        )
    return load_state(state_file(out), device)


def with_new_settings(resumed: TrainState, config: TrainConfig, out: Path) -> TrainState:
    """The state to continue with `config`, which may have more steps and another place of the data.

    Every other setting must be that of the run. Whether the images are the same is checked later,
    by their digest.
    """
    if config.steps < resumed.config.steps:
        raise UsageError(
            f"--steps {config.steps} is smaller than {resumed.config.steps}, the number of steps "
            f"of the run in {out}; a run can only become longer, so leave out --steps, choose a "
            "larger number, or start a new run."
        )
    for field in fields(TrainConfig):
        value = getattr(config, field.name)
        of_the_run = getattr(resumed.config, field.name)
        if value != of_the_run and field.name not in ("steps", "data"):
            flag = field.name.replace("_", "-")
            raise UsageError(
                f"--{flag} {_as_flag(value)} differs from {_as_flag(of_the_run)}, the setting of "
                f"the run in {out}; leave out --{flag} to resume this run, or start a new run in "
                "another folder."
            )
    return replace(resumed, config=config)


def _as_flag(value: object) -> str:
    """A setting as it is typed on the command line."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def run_training(
    data: Dataset,
    config: TrainConfig,
    out: Path,
    resumed: TrainState | None = None,
    device: torch.device | str = "cpu",
    group: Ranks = SINGLE_PROCESS,
    saving: SavingOptions = DEFAULT_SAVING,
    extended_from: int | None = None,
) -> tuple[TrainState, int]:
    """Train with a progress bar, and save into `out` however training ends.

    The log says where a run became longer: `extended_from` is its number of steps before that.
    What is returned and raised is that of `run_steps`.
    """
    # The call refuses bad arguments; training begins with the loop in `run_steps`.
    states = train_steps(data, config, resume=resumed, device=device, ranks=group)
    if group.first:
        write_config_file(out, config)
    return run_steps(
        states,
        config,
        data.shape,
        out,
        resumed,
        group=group,
        saving=saving,
        extended_from=extended_from,
        how_to_resume=f"to go on: minicfg train --out {out} --resume",
    )


def run_steps(
    states: Iterator[TrainState],
    config: TrainConfig,
    shape: tuple[int, ...],
    out: Path,
    resumed: TrainState | None,
    *,
    group: Ranks = SINGLE_PROCESS,
    saving: SavingOptions = DEFAULT_SAVING,
    extended_from: int | None = None,
    how_to_resume: str,
) -> tuple[TrainState, int]:
    """Run the steps of `states` with a progress bar, and save into `out` however they end.

    `shape` is that of one sample, and `how_to_resume` is printed if a signal stops the run.

    The first Ctrl-C or SIGTERM, to any rank, ends training after the current step; the second one
    ends the program at once. Only the first rank prints and writes.

    Returns:
        The last state, and the exit code.

    Raises:
        MachineError: after a loss that is not finite; the step before it has then been saved.
    """
    state = resumed
    done = resumed.step if resumed else 0
    smoothed_loss = None
    stopped = 0
    failure = None
    bar = progress(
        config.steps,
        "training",
        "steps",
        done=done,
        show=group.first,
    )
    few_threads = threads(thread_count(shape))
    if group.first:
        open_or_no_log = open_log(out, done, saving, extended_from)
    else:
        open_or_no_log = nullcontext(lambda state: None)
    with stop_between_steps() as stop, bar as advance, few_threads, open_or_no_log as log:
        try:
            for state in states:
                if smoothed_loss is None:
                    smoothed_loss = state.loss
                smoothed_loss = 0.98 * smoothed_loss + 0.02 * state.loss
                advance(1, f"loss {smoothed_loss:.4f}")
                log(state)
                stopped = group.largest(stop.signal or 0, state.device)
                if stopped:
                    break
                if group.first:
                    save_on_the_way(out, state, saving)
                    _save_sample_grid(out, state, saving.sample_every)
        except MachineError as error:  # the weights are still those of the last step
            failure = error
    if state is None:
        assert failure is not None  # there is at least one step, and it did not end
        raise failure
    if group.first:
        save(out / "model", state)  # the smaller file first, where there is little room
        save_state(out / "state", state)
        plots.save_figure(plots.loss_curve(read_log(out)), out / "loss.png")
    if failure:
        raise failure
    if not stopped:
        return state, 0
    if group.first:
        print(f"stopped and saved; {how_to_resume}", file=sys.stderr)
    return state, 128 + stopped


def _save_sample_grid(out: Path, state: TrainState, every: int) -> None:
    """Save two samples of each of the first classes after every `every` steps and at the end."""
    step = state.step
    if not every or (step % every and step != state.config.steps):
        return
    checkpoint = Checkpoint.of(state)
    classes = checkpoint.classes[:MAX_CLASSES_IN_PICTURE]
    labels = range(len(classes))
    x = _draw_grid(checkpoint, _table(checkpoint, 50), labels, each=2, w=1.0)
    title = f"step {step}, w = 1, the same noise"
    grid = plots.image_grid(x, ["", ""], classes, title)
    with report_failed_write(step):
        (out / "samples").mkdir(exist_ok=True)
        plots.save_figure(grid, out / f"samples/step-{step:07d}.png")


def _write_report(out: Path, data: Dataset, state: TrainState, duration: str) -> Path:
    """Write the page of a finished run, with three samples of each of the first classes at 4 w."""
    checkpoint = Checkpoint.of(state)
    table = _table(checkpoint, 25)
    labels = range(min(MAX_CLASSES_IN_PICTURE, data.num_classes))
    samples = list[tuple[float, Tensor]]()
    for w in (0.0, 1.0, 2.0, 4.0):
        samples.append((w, _draw_grid(checkpoint, table, labels, each=3, w=w)))
    sampling = f"ddpm, {len(table)} steps, seed {checkpoint.config.seed}, clipped to [-1, 1]"
    return write_training_report(out, data, state, samples, sampling, duration)


def _table(checkpoint: Checkpoint, steps: int) -> solvers.Table:
    """The table of `ddpm` with `steps` steps, or with T where T is smaller."""
    schedule = checkpoint.schedule
    return solvers.ddpm(schedule, min(steps, schedule.T), checkpoint.config.prediction)


def _draw_grid(
    checkpoint: Checkpoint,
    table: solvers.Table,
    labels: Sequence[int],
    *,
    each: int,
    w: float,
) -> Tensor:
    """Draw `(each, labels, C, H, W)` from the seed of the run: the same noise at every w."""
    y = torch.tensor([*labels] * each, device=checkpoint.device)
    x = draw(
        checkpoint.model,
        y,
        table,
        checkpoint.shape,
        w=w,
        seed=checkpoint.config.seed,
        advance=advance_silently,
    )
    return x.unflatten(0, (each, -1))
