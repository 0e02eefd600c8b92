"""What `minicfg train` and `sample` do: files, progress and signals around the generators."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from minicfg import plots, solvers
from minicfg.checkpoint import Checkpoint, check_writable, load, load_state, save, save_state
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.errors import MachineError, UsageError
from minicfg.guidance import check_w
from minicfg.judge import enough, threads
from minicfg.ranks import Ranks, ranks
from minicfg.sampling import Denoiser, sample
from minicfg.signals import stop_between_steps
from minicfg.sources import load_data
from minicfg.training import ALONE, TrainState, learning_rate, train

LOG = "log.jsonl"


@dataclass(frozen=True)
class Keeping:
    """What a run leaves on the way, besides its end."""

    save_every: int = 500
    """Steps between saved states; a run that is killed outright loses no more."""
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


def train_into(
    out: Path, config: TrainConfig, *, resume: bool, device: str = "cpu",
    keeping: Keeping = Keeping(),
) -> int:  # fmt: skip
    """Train and save into `out`; returns the exit code, 128 + n after signal n."""
    state_file = out / "state.safetensors"
    with ranks() as group:
        where, begun = group.device(device), None
        if resume:
            if not state_file.exists():
                raise UsageError(f"--resume: {out} holds no run to go on with")
            begun = load_state(state_file, where)
            config = begun.config
        elif state_file.exists():
            raise UsageError(
                f"--out {out} holds a run: --resume goes on with it, another --out begins"
            )
        data = load_data(config.data, config.size)
        check_writable(out)
        state, code = run_training(data, config, out, begun, where, group, keeping)
        if group.first:
            print(f"step {state.step} of {config.steps}: {out / 'model.safetensors'}")
        return code


def run_training(
    data: Dataset, config: TrainConfig, out: Path, begun: TrainState | None = None,
    device: torch.device | str = "cpu", group: Ranks = ALONE, keeping: Keeping = Keeping(),
) -> tuple[TrainState, int]:  # fmt: skip
    """Train with a progress bar; `(last state, exit code)`, saved into `out` however it ended.

    A first Ctrl-C or SIGTERM, to any rank, ends it after the step it falls in; a second one at
    once. The first rank alone prints and writes.
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
    loss, stopped = None, 0
    few = threads(enough(data.shape))
    with stop_between_steps() as stop, bar, few, _log(out, done, keeping, group) as log:
        for state in train(data, config, resume=begun, device=device, ranks=group):
            loss = state.loss if loss is None else 0.98 * loss + 0.02 * state.loss
            bar.update(config.batch)
            bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            log(state)
            stopped = group.largest(stop.signal or 0, state.device)
            if stopped:
                break
            if group.first:
                _on_the_way(out, state, keeping)
    if state is None:
        raise UsageError("steps = 0: there is nothing to train")
    if group.first:
        save_state(out / "state", state)
        save(out / "model", state)
        losses = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
        plots.save_figure(plots.loss_curve(losses), out / "loss.png")
    if not stopped:
        return state, 0
    if group.first:
        print(f"stopped and saved; to go on: minicfg train --out {out} --resume", file=sys.stderr)
    return state, 128 + stopped


@contextmanager
def _log(
    out: Path, done: int, keeping: Keeping, group: Ranks
) -> Iterator[Callable[[TrainState], None]]:
    """A line of JSON a step, added to those of the steps that are done and saved."""
    if not group.first:
        yield lambda state: None
        return
    path = out / LOG
    kept = path.read_text().splitlines()[:done] if done and path.exists() else []
    board = _tensorboard(out) if keeping.tensorboard else None
    with path.open("w", buffering=1) as lines:  # line by line, for whoever looks on
        lines.writelines(f"{line}\n" for line in kept)

        def log(state: TrainState) -> None:
            rate = learning_rate(state.config, state.step)
            told = {"step": state.step, "loss": state.loss, "lr": rate}
            lines.write(json.dumps(told) + "\n")
            if board:
                board.add_scalar("loss", state.loss, state.step)
                board.add_scalar("lr", rate, state.step)

        yield log
    if board:
        board.close()


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MachineError("--tensorboard: pip install tensorboard, which is missing") from None
    return SummaryWriter(out / "tensorboard")


def _on_the_way(out: Path, state: TrainState, keeping: Keeping) -> None:
    """What is due after this step: the state, a model to keep, a picture."""
    step, last = state.step, state.step == state.config.steps
    if step % keeping.save_every == 0 and not last:
        save_state(out / "state", state)
        if keeping.keep:
            (out / "kept").mkdir(exist_ok=True)
            save(out / f"kept/step-{step:07d}", state)
            for old in sorted((out / "kept").glob("step-*.safetensors"))[: -keeping.keep]:
                old.unlink()
                old.with_suffix(".json").unlink(missing_ok=True)
    if keeping.sample_every and (step % keeping.sample_every == 0 or last):
        c = Checkpoint.of(state)
        y = torch.arange(2 * len(c.classes), device=state.device) % len(c.classes)
        table = solvers.ddpm(c.schedule, min(50, c.schedule.T), c.config.prediction)
        x = draw(c.model, y, table, c.shape, w=1.0, seed=c.config.seed, bar=tqdm(disable=True))
        grid = plots.image_grid(
            x.unflatten(0, (2, -1)), ["", ""], c.classes, f"step {step}, w = 1, the same noise"
        )
        (out / "samples").mkdir(exist_ok=True)
        plots.save_figure(grid, out / f"samples/step-{step:07d}.png")


def sample_into(
    out: Path, checkpoint: Path, *, labels: Sequence[str], each: int, w: float, solver: str,
    steps: int, seed: int, device: str = "cpu", eta: float | None = None, v: float | None = None,
) -> int:  # fmt: skip
    """Sample `each` of every label into `out`, a .png or an .npz; ranks share the work."""
    if out.suffix not in (".png", ".npz"):
        raise UsageError(f"--out {out}: a name that ends in .png or .npz is needed")
    if each < 1:
        raise UsageError(f"--each {each}: at least 1 is needed")
    check_w(w)
    if solver == "cfgpp" and not -1 <= w <= 0:
        raise UsageError(f"--w {w:g}: cfgpp wants a weight in -1..0, a scale 1 + w in 0..1")
    given = {"eta": eta, "v": v}
    own = {name: value for name, value in given.items() if value is not None}
    for name in own:
        if solver != {"eta": "ddim", "v": "ddpm"}[name]:
            raise UsageError(f"--{name} {own[name]:g}: --solver {solver} has no {name}")
    with ranks() as group:
        trained = load(checkpoint, group.device(device))
        classes = trained.classes
        chosen = [_label(name, classes) for name in labels] or list(range(len(classes)))
        make, prediction = solvers.named(solver), trained.config.prediction
        table = make(trained.schedule, steps, prediction=prediction, **own)
        check_writable(out.parent)
        y = torch.tensor(chosen, device=trained.device).repeat_interleave(each)
        x = draw(trained.model, y, table, trained.shape, w=w, seed=seed, group=group)
        if not group.first:
            return 0
    if out.suffix == ".npz":
        content = io.BytesIO()
        names = np.array(classes)
        np.savez_compressed(content, x=x.cpu().numpy(), y=y.cpu().numpy(), classes=names)
        out.write_bytes(content.getvalue())
    else:
        rows = [classes[label] for label in chosen]
        grid = x.reshape(len(chosen), each, *trained.shape)
        numbers = [str(i) for i in range(each)] if each > 1 else [""]
        title = f"w = {w:g}, {solver}, {len(table)} steps, seed {seed}"
        plots.save_figure(plots.image_grid(grid, rows, numbers, title), out)
    print(out)
    return 0


def draw(
    model: Denoiser, y: Tensor, table: solvers.Table, shape: Sequence[int], *, w: float, seed: int,
    batch: int = 256, bar: tqdm | None = None, group: Ranks = ALONE,
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
    given = {"shape": shape, "w": w, "seed": seed, "clip": 1.0}
    with threads(enough(shape)):
        for ids in mine:
            x[ids] = sample(model, y[ids], table, sample_ids=ids, **given)
            own.update(len(ids))
    if bar is None:
        own.close()
    return group.sum(x)


def _label(name: str, classes: Sequence[str]) -> int:
    if name in classes:
        return classes.index(name)
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    raise UsageError(
        f"--labels {name}: one of {', '.join(classes)}, or a number in 0..{len(classes) - 1}"
    )
