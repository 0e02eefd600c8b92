"""What `minicfg train` and `sample` do: files, progress and signals around the generators."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from minicfg import solvers
from minicfg.cli.options import How
from minicfg.cli.report import write_page
from minicfg.cli.run_folder import LITTLE, Keeping, keep, logged, read_log, spared
from minicfg.cli.signals import stop_between_steps
from minicfg.config import TrainConfig
from minicfg.data import Dataset, check_seed
from minicfg.datasets.load import load_data
from minicfg.distributed import Ranks, ranks
from minicfg.errors import MachineError, UsageError
from minicfg.io.atomic import check_writable, lock_folder, write_atomic
from minicfg.io.checkpoint import Checkpoint, load, load_state, save, save_state
from minicfg.metrics.classifier import enough, threads
from minicfg.sampling import Denoiser, Rule, sample, sample_steps
from minicfg.training import ALONE, TrainState, train
from minicfg.viz import plots

MOST = 1_000_000  # samples of a label, or to score


def train_into(
    out: Path, config: TrainConfig, *, resume: bool, device: str = "cpu",
    keeping: Keeping = LITTLE,
) -> int:  # fmt: skip
    """Train and save into `out`; returns the exit code, 128 + n after signal n."""
    state_file = out / "state.safetensors"
    with ranks() as group:
        where, begun = group.device(device), None
        # Every rank looks, on its own machine, and all are refused together.
        here = state_file.exists()
        anywhere, nowhere = (group.largest(int(seen), where) for seen in (here, not here))
        if resume:
            if nowhere:
                everywhere = " on every machine" if anywhere else ""
                raise UsageError(f"--resume: {out} holds no run to go on with{everywhere}")
            begun = load_state(state_file, where)
            config = begun.config
        elif anywhere:
            raise UsageError(
                f"--out {out} holds a run: --resume goes on with it, another --out begins"
            )
        data = load_data(config.data, config.size)
        # Not to be run, but to be refused while nothing is written yet.
        train(data, config, resume=begun, device=where, ranks=group)
        check_writable(out)
        with held(out, group, where):
            if not resume and group.largest(int(state_file.exists()), where):
                raise UsageError(f"--out {out} holds a run that has just ended: another is needed")
            began, done = time.perf_counter(), begun.step if begun else 0
            state, code = run_training(data, config, out, begun, where, group, keeping)
            if group.first:
                print(f"step {state.step} of {config.steps}: {out / 'model.safetensors'}")
            if group.first and not code:
                took = f"{time.perf_counter() - began:.0f} s for steps {done + 1} to {state.step}"
                print(_page(out, data, state, f"{took}, on {where}, in {group.world} process(es)"))
            return code


@contextmanager
def held(out: Path, group: Ranks = ALONE, where: torch.device | str = "cpu") -> Iterator[None]:
    """Nobody else writes into `out` meanwhile; all ranks are refused together, if at all."""
    with lock_folder(out) if group.first else nullcontext(True) as free:
        if group.largest(int(not free), torch.device(where)):
            raise UsageError(
                f"--out {out}: another process is writing there; wait, or name another"
            )
        yield


def run_training(
    data: Dataset, config: TrainConfig, out: Path, begun: TrainState | None = None,
    device: torch.device | str = "cpu", group: Ranks = ALONE, keeping: Keeping = LITTLE,
) -> tuple[TrainState, int]:  # fmt: skip
    """Train with a progress bar; `(last state, exit code)`, saved into `out` however it ended.

    A first Ctrl-C or SIGTERM, to any rank, ends it after the step it falls in; a second one at
    once. The first rank alone prints and writes.

    Raises:
        MachineError: after a loss that is not finite; what is saved is the step before it.
    """
    state, done = begun, begun.step if begun else 0
    bar = tqdm(
        total=config.steps * config.batch,
        initial=done * config.batch,
        desc="training",
        unit=" images",
        unit_scale=True,
        disable=None if group.first else True,
    )
    loss, stopped, failed = None, 0, None
    states = train(data, config, resume=begun, device=device, ranks=group)  # or refuses at once
    few = threads(enough(data.shape))
    log_of = logged(out, done, keeping) if group.first else nullcontext(lambda state: None)
    with stop_between_steps() as stop, bar, few, log_of as log:
        try:
            for state in states:
                loss = state.loss if loss is None else 0.98 * loss + 0.02 * state.loss
                bar.update(config.batch)
                bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
                log(state)
                stopped = group.largest(stop.signal or 0, state.device)
                if stopped:
                    break
                if group.first:
                    keep(out, state, keeping)
                    _picture(out, state, keeping.sample_every)
        except MachineError as error:  # the weights are still those of the last step
            failed = error
    if state is None:
        raise failed or UsageError("steps = 0: there is nothing to train")
    if group.first:
        save(out / "model", state)  # the smaller first, where there is little room
        save_state(out / "state", state)
        plots.save_figure(plots.loss_curve(read_log(out)), out / "loss.png")
    if failed:
        raise failed
    if not stopped:
        return state, 0
    if group.first:
        print(f"stopped and saved; to go on: minicfg train --out {out} --resume", file=sys.stderr)
    return state, 128 + stopped


def _picture(out: Path, state: TrainState, every: int) -> None:
    """Two samples a class, after every so many steps and at the end."""
    step = state.step
    if not every or (step % every and step != state.config.steps):
        return
    c = Checkpoint.of(state)
    x, _ = _samples(c, range(len(c.classes)), 2, 1.0, 50)
    grid = plots.image_grid(x, ["", ""], c.classes, f"step {step}, w = 1, the same noise")
    with spared(step):
        (out / "samples").mkdir(exist_ok=True)
        plots.save_figure(grid, out / f"samples/step-{step:07d}.png")


def _page(out: Path, data: Dataset, state: TrainState, took: str) -> Path:
    """The page of a run that is done, with three samples each of ten classes at most, at four w."""
    c, labels = Checkpoint.of(state), range(min(10, data.num_classes))
    drawn, how = list[tuple[float, Tensor]](), ""
    for w in (0.0, 1.0, 2.0, 4.0):
        x, how = _samples(c, labels, 3, w, 25)
        drawn.append((w, x))
    return write_page(out, data, state, drawn, how, took)


def _samples(
    c: Checkpoint, labels: Sequence[int], each: int, w: float, steps: int
) -> tuple[Tensor, str]:
    """`(each, labels, C, H, W)`, from the same noise at every w, and how they were made."""
    y = torch.tensor([*labels] * each, device=c.device)
    table = solvers.ddpm(c.schedule, min(steps, c.schedule.T), c.config.prediction)
    x = draw(c.model, y, table, c.shape, w=w, seed=c.config.seed, bar=tqdm(disable=True))
    how = f"ddpm, {len(table)} steps, seed {c.config.seed}, clipped to [-1, 1]"
    return x.unflatten(0, (each, -1)), how


def sample_into(
    out: Path, checkpoint: Path, *, labels: Sequence[str], each: int, w: float, steps: int,
    seed: int, how: How, device: str = "cpu",
) -> int:  # fmt: skip
    """Sample `each` of every label into `out`, a .png, .npz or .gif; ranks share the work."""
    if out.suffix not in (".png", ".npz", ".gif"):
        raise UsageError(f"--out {out}: a name that ends in .png, .npz or .gif is needed")
    if out.exists() and not out.is_file():
        raise UsageError(f"--out {out}: a folder or a device stands there; a file is needed")
    if not 1 <= each <= MOST:
        raise UsageError(f"--each {each}: at least 1 and at most {MOST} are needed")
    how.check_ws([w])
    check_seed(seed)
    rule = how.mix()
    with ranks() as group:
        trained = load(checkpoint, group.device(device))
        classes = trained.classes
        chosen = [_label(name, classes) for name in labels] or list(range(len(classes)))
        table = how.table(trained.schedule, steps, trained.config.prediction)
        if out.suffix != ".npz":
            plots.check_grid_size(len(chosen), each, trained.shape)
        check_writable(out.parent)
        y = torch.tensor(chosen, device=trained.device).repeat_interleave(each)
        if out.suffix == ".gif":
            if group.first:
                _film(out, trained, y, table, each, w, seed, rule)
                print(out)
            return 0
        x = draw(trained.model, y, table, trained.shape, w=w, seed=seed, rule=rule, group=group)
        if not group.first:
            return 0
    if out.suffix == ".npz":
        content = io.BytesIO()
        names = np.array(classes)
        np.savez_compressed(content, x=x.cpu().numpy(), y=y.cpu().numpy(), classes=names)
        write_atomic(out, content.getvalue())
    else:
        rows = [classes[label] for label in chosen]
        grid = x.reshape(len(chosen), each, *trained.shape)
        numbers = [str(i) for i in range(each)] if each > 1 else [""]
        title = f"w = {w:g}, {how}, {len(table)} steps, seed {seed}"
        plots.save_figure(plots.image_grid(grid, rows, numbers, title), out)
    print(out)
    return 0


def _film(
    out: Path, trained: Checkpoint, y: Tensor, table: solvers.Table, each: int, w: float, seed: int,
    rule: Rule | None,
) -> None:  # fmt: skip
    """The chain: x_t above, the guess of x_0 below, a column a label."""
    given = {"shape": trained.shape, "w": w, "seed": seed, "clip": 1.0, "rule": rule}
    states = sample_steps(trained.model, y, table, **given)

    def frames() -> Iterator[tuple[int, Tensor]]:
        for state in tqdm(states, total=len(table), desc="sampling", unit=" steps", disable=None):
            both = (a.unflatten(0, (-1, each)).transpose(0, 1) for a in (state.x, state.x0))
            yield state.s, torch.cat(list(both))

    blank = [""] * (each - 1)
    with torch.no_grad(), threads(enough(trained.shape)):
        plots.denoising_gif(frames(), out, ["x_t", *blank, "guess of x_0", *blank])


def draw(
    model: Denoiser, y: Tensor, table: solvers.Table, shape: Sequence[int], *, w: float, seed: int,
    rule: Rule | None = None, batch: int = 256, bar: tqdm | None = None, group: Ranks = ALONE,
) -> Tensor:  # fmt: skip
    """`minicfg.sample` in batches, clipped to [-1, 1]; all ranks return all of them.

    Noise and labels do not depend on the batch, but a convolution's last bit may. So ranks share
    whole batches, the same as one process draws, and their pictures are the same bit for bit.
    """
    x = torch.zeros(len(y), *shape, device=y.device)
    batches = torch.arange(len(y), device=y.device).split(batch)
    mine = batches[group.rank :: group.world]
    quiet = None if group.first else True
    own = bar if bar is not None else tqdm(
        total=sum(map(len, mine)), desc="sampling", unit=" images", disable=quiet
    )  # fmt: skip
    given = {"shape": shape, "w": w, "seed": seed, "clip": 1.0, "rule": rule}
    with threads(enough(shape)):
        for ids in mine:
            x[ids] = sample(model, y[ids], table, sample_ids=ids, **given)
            own.update(len(ids))
    if bar is None:
        own.close()
    x = group.sum(x)
    if not bool(x.isfinite().all()):
        raise MachineError(f"w = {w:g}: samples are not finite; another w or model is needed")
    return x


def _label(name: str, classes: Sequence[str]) -> int:
    if name in classes:
        return classes.index(name)
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    raise UsageError(
        f"--labels {name}: one of {', '.join(classes)}, or a number in 0..{len(classes) - 1}"
    )
