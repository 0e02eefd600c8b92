"""What `minicfg train` and `sample` do: files, progress and signals around the generators."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from minicfg import plots, solvers
from minicfg.checkpoint import check_writable, load, load_state, save, save_state
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.errors import UsageError
from minicfg.guidance import check_w
from minicfg.sampling import Denoiser, sample
from minicfg.signals import stop_between_steps
from minicfg.sources import load_data
from minicfg.training import TrainState, train

SAVE_EVERY = 500  # steps; a run that is killed outright loses no more


def train_into(out: Path, config: TrainConfig, *, resume: bool) -> int:
    """Train and save into `out`; returns the exit code, 128 + n after signal n."""
    state_file = out / "state.safetensors"
    begun = None
    if resume:
        if not state_file.exists():
            raise UsageError(f"--resume: {out} holds no run to go on with")
        begun = load_state(state_file)
        config = begun.config
    elif state_file.exists():
        raise UsageError(f"--out {out} holds a run: --resume goes on with it, another --out begins")
    data = load_data(config.data, config.size)
    check_writable(out)
    state, code = run_training(data, config, out, begun)
    print(f"step {state.step} of {config.steps}: {out / 'model.safetensors'}")
    return code


def run_training(
    data: Dataset, config: TrainConfig, out: Path, begun: TrainState | None = None
) -> tuple[TrainState, int]:
    """Train with a progress bar; `(last state, exit code)`, saved into `out` however it ended.

    A first Ctrl-C or SIGTERM ends it after the step it falls in; a second one at once.
    """
    state = begun
    done = begun.step if begun else 0
    bar = tqdm(
        total=config.steps * config.batch,
        initial=done * config.batch,
        desc="training",
        unit=" images",
        unit_scale=True,
        disable=None,
    )
    loss = None
    with stop_between_steps() as stop, bar:
        for state in train(data, config, resume=begun):
            loss = state.loss if loss is None else 0.98 * loss + 0.02 * state.loss
            bar.update(config.batch)
            bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            if stop.signal:
                break
            if state.step % SAVE_EVERY == 0 and state.step < config.steps:
                save_state(out / "state", state)
    if state is None:
        raise UsageError("steps = 0: there is nothing to train")
    save_state(out / "state", state)
    save(out / "model", state)
    if not stop.signal:
        return state, 0
    print(f"stopped and saved; to go on: minicfg train --out {out} --resume", file=sys.stderr)
    return state, stop.exit_code


def sample_into(
    out: Path,
    checkpoint: Path,
    *,
    labels: Sequence[str],
    each: int,
    w: float,
    steps: int,
    seed: int,
) -> int:
    """Sample `each` of every label into `out`, a .png or an .npz."""
    if out.suffix not in (".png", ".npz"):
        raise UsageError(f"--out {out}: a name that ends in .png or .npz is needed")
    if each < 1:
        raise UsageError(f"--each {each}: at least 1 is needed")
    check_w(w)
    trained = load(checkpoint)
    classes = trained.classes
    chosen = [_label(name, classes) for name in labels] or list(range(len(classes)))
    table = solvers.ddpm(trained.schedule, steps, trained.config.prediction)
    check_writable(out.parent)
    y = torch.tensor(chosen).repeat_interleave(each)
    x = draw(trained.model, y, table, trained.shape, w=w, seed=seed)
    if out.suffix == ".npz":
        content = io.BytesIO()
        np.savez_compressed(content, x=x.numpy(), y=y.numpy())
        out.write_bytes(content.getvalue())
    else:
        rows = [classes[label] for label in chosen]
        grid = x.reshape(len(chosen), each, *trained.shape)
        numbers = [str(i) for i in range(each)] if each > 1 else [""]
        title = f"w = {w:g}, {len(table)} steps, seed {seed}"
        plots.save_figure(plots.image_grid(grid, rows, numbers, title), out)
    print(out)
    return 0


def draw(
    model: Denoiser,
    y: Tensor,
    table: solvers.Table,
    shape: Sequence[int],
    *,
    w: float,
    seed: int,
    batch: int = 256,
    bar: tqdm | None = None,
) -> Tensor:
    """`minicfg.sample` in batches, clipped to [-1, 1]: the pictures do not depend on their size."""
    parts: list[Tensor] = []
    own = bar or tqdm(total=len(y), desc="sampling", unit=" images", disable=None)
    for ids in torch.arange(len(y)).split(batch):
        parts.append(
            sample(model, y[ids], table, shape=shape, w=w, seed=seed, sample_ids=ids, clip=1.0)
        )
        own.update(len(ids))
    if bar is None:
        own.close()
    return torch.cat(parts)


def _label(name: str, classes: Sequence[str]) -> int:
    if name in classes:
        return classes.index(name)
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    raise UsageError(
        f"--labels {name}: one of {', '.join(classes)}, or a number in 0..{len(classes) - 1}"
    )
