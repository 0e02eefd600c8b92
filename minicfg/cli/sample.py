"""The command `minicfg sample`, and the batched sampling that the other commands use too."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from minicfg.cli.options import MAX_SAMPLES, SamplingOptions
from minicfg.cli.progress import Advance, progress
from minicfg.cli.start_noise import read_noise
from minicfg.data import check_seed
from minicfg.distributed import SINGLE_PROCESS, Ranks, process_group
from minicfg.errors import MachineError, UsageError
from minicfg.io.atomic import check_writable, write_atomic
from minicfg.io.checkpoint import Checkpoint, load
from minicfg.io.format import checkpoint_path
from minicfg.sampling import Denoiser, Rule, as_student, sample, sample_steps
from minicfg.solvers import Table
from minicfg.threads import thread_count, threads
from minicfg.viz import plots


def run_sample(
    out: str | Path,
    path: Path,
    *,
    labels: Sequence[str],
    negative: str | None = None,
    each: int,
    w: float,
    steps: int,
    seed: int,
    options: SamplingOptions,
    noise_file: Path | None = None,
    device: str = "cpu",
) -> int:
    """Draw `each` samples of every label into `out`; return the exit code.

    Ranks share the work.

    Args:
        out: a .png, .npz or .gif file, or a folder of PNGs if its name ends with a slash.
        path: the model, or the folder of its run.
        labels: names or numbers of classes; none for every class once.
        negative: the class that replaces the null label; None for the null label.
        each: samples for each label.
        w: guidance weight.
        steps: solver steps.
        seed: of the noise.
        options: solver, rule and clipping.
        noise_file: array of the noise from which the chains start; None to draw it.
        device: auto, cpu or cuda.
    """
    is_folder = str(out).endswith("/")
    out = Path(out)
    _check_out(out, is_folder=is_folder)
    if not 1 <= each <= MAX_SAMPLES:
        raise UsageError(
            f"--each {each} is outside 1..{MAX_SAMPLES}; choose a number in this range."
        )
    if noise_file is not None and out.suffix == ".gif" and not is_folder:
        raise UsageError(
            f"--noise {noise_file} does not work with an animation; leave it out, or choose an "
            "--out that is no .gif."
        )
    options.check_weights([w])
    check_seed(seed)
    rule = options.make_rule()
    with process_group() as group:
        trained = load(model_path(path), group.device(device))
        classes = trained.classes
        if labels:
            chosen = [_class_number("--labels", name, classes) for name in labels]
        else:
            chosen = list(range(len(classes)))
        table = options.make_table(trained.schedule, steps, trained.config.prediction)
        if out.suffix != ".npz" and not is_folder:
            plots.check_grid_size(len(chosen), each, trained.shape)
        y = torch.tensor(chosen, device=trained.device).repeat_interleave(each)
        null = None
        if negative is not None:
            null = torch.full_like(y, _class_number("--negative", negative, classes))
        as_student(trained.model, table, w, rule, has_null=null is not None)  # before any write
        noise = None
        if noise_file is not None:
            noise = read_noise(noise_file, len(y), trained.shape).to(trained.device)
        check_writable(out if is_folder else out.parent)
        if out.suffix == ".gif" and not is_folder:
            if group.first:
                _save_animation(
                    out,
                    trained,
                    y,
                    table,
                    null=null,
                    each=each,
                    w=w,
                    seed=seed,
                    clip=options.clip,
                    rule=rule,
                )
                print(out)
            return 0
        x = draw(
            trained.model,
            y,
            table,
            trained.shape,
            w=w,
            seed=seed,
            clip=options.clip,
            rule=rule,
            null=null,
            noise=noise,
            group=group,
        )
        if not group.first:
            return 0
    if is_folder:
        _save_pictures(out, x, y, classes)
    elif out.suffix == ".npz":
        _save_arrays(out, x, y, classes)
    else:
        rows = [classes[label] for label in chosen]
        columns = [str(i) for i in range(each)] if each > 1 else [""]
        title = f"w = {w:g}, {options}, {len(table)} steps, seed {seed}"
        cells = x.reshape(len(chosen), each, *trained.shape)
        plots.save_figure(plots.image_grid(cells, rows, columns, title), out)
    print(out)
    return 0


def _check_out(out: Path, *, is_folder: bool) -> None:
    """Refuse a name that says nothing of the kind of output, and what would be overwritten."""
    if is_folder:
        if out.is_dir() and any(out.iterdir()):
            raise UsageError(
                f"--out {out}/ contains files already; choose a new or an empty folder, so that "
                "it contains these samples only."
            )
        return
    if out.suffix not in (".png", ".npz", ".gif"):
        raise UsageError(
            f"--out {out} has an unknown suffix; choose a name that ends in .png, .npz or .gif, or "
            "in / for a folder of PNGs."
        )
    if out.exists() and not out.is_file():
        raise UsageError(f"--out {out} is a folder or a device; choose the name of a file.")


def model_path(path: Path) -> Path:
    """The model of a run where `path` is the folder of the run, and else `path`."""
    in_folder = path / "model.safetensors"
    # These two functions give False where a path cannot be looked up; `load` then says why.
    if not os.path.exists(checkpoint_path(path)) and os.path.isfile(in_folder):
        return in_folder
    return path


def _save_pictures(out: Path, x: Tensor, y: Tensor, classes: Sequence[str]) -> None:
    """Write one PNG per sample, whose name is the number of the sample and its class."""
    for i, (image, label) in enumerate(zip(x, y.tolist(), strict=True)):
        # A class name may be anything, also the path of another folder.
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in classes[label])[:40]
        mode = "RGB" if len(image) == 3 else "L"
        picture = Image.fromarray(plots.mosaic(image[None, None], gap=0)).convert(mode)
        content = io.BytesIO()
        picture.save(content, "PNG")
        write_atomic(out / f"{i:06d}-{safe}.png", content.getvalue())


def _save_arrays(out: Path, x: Tensor, y: Tensor, classes: Sequence[str]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, x=x.cpu().numpy(), y=y.cpu().numpy(), classes=np.array(classes))
    write_atomic(out, content.getvalue())


def _save_animation(
    out: Path,
    trained: Checkpoint,
    y: Tensor,
    table: Table,
    *,
    null: Tensor | None,
    each: int,
    w: float,
    seed: int,
    clip: float,
    rule: Rule | None,
) -> None:
    """Save the chain as an animation: rows x_t above the guess of x_0, one column per label."""
    states = sample_steps(
        trained.model,
        y,
        table,
        shape=trained.shape,
        w=w,
        seed=seed,
        null=null,
        clip=clip,
        rule=rule,
    )

    def frames() -> Iterator[tuple[int, Tensor]]:
        with progress(len(table), "sampling", "steps") as advance:
            for state in states:
                xt = state.x.unflatten(0, (-1, each)).transpose(0, 1)
                x0 = state.x0hat.unflatten(0, (-1, each)).transpose(0, 1)
                yield state.s, torch.cat([xt, x0])
                advance(1, "")

    blank = [""] * (each - 1)
    with torch.no_grad(), threads(thread_count(trained.shape)):
        plots.denoising_gif(frames(), out, ["x_t", *blank, "guess of x_0", *blank])


def draw(
    model: Denoiser | nn.Module,
    y: Tensor,
    table: Table,
    shape: Sequence[int],
    *,
    w: float,
    seed: int,
    clip: float = 1.0,
    rule: Rule | None = None,
    null: Tensor | None = None,
    noise: Tensor | None = None,
    batch: int = 256,
    advance: Advance | None = None,
    group: Ranks = SINGLE_PROCESS,
) -> Tensor:
    """Run `minicfg.sample` in batches; every rank returns all samples.

    Noise and labels do not depend on the batch, but the last bit of a convolution may. So each rank
    draws whole batches, the same ones as a single process, and the samples are equal bit for bit.

    Args:
        model: the network.
        y: the labels, on the device of the model.
        table: the solver's.
        shape: of one sample.
        w: guidance weight.
        seed: of the noise. Sample i has the same noise at every w.
        clip: bound on the guess of x_0; infinity for none.
        rule: the guidance rule; None for `guide`.
        null: labels that replace the null label; None for the null label.
        noise: the states from which the chains start; None to draw them from `seed`.
        batch: samples at a time.
        advance: the function that counts progress; None to show the progress of this call.
        group: the ranks that share the batches.
    """
    x = torch.zeros(len(y), *shape, device=y.device)
    batches = torch.arange(len(y), device=y.device).split(batch)
    batches_of_this_rank = batches[group.rank :: group.world]
    if advance is None:
        total = sum(map(len, batches_of_this_rank))
        counted = progress(total, "sampling", "images", show=group.first)
    else:
        counted = nullcontext(advance)
    with threads(thread_count(shape)), counted as count:
        for ids in batches_of_this_rank:
            x[ids] = sample(
                model,
                y[ids],
                table,
                shape=shape,
                w=w,
                seed=seed,
                sample_ids=ids,
                null=None if null is None else null[ids],
                noise=None if noise is None else noise[ids],
                clip=clip,
                rule=rule,
            )
            count(len(ids), "")
    x = group.sum(x)
    if not bool(x.isfinite().all()):
        raise MachineError(
            f"w = {w:g}: the samples are not finite; choose a w closer to 0 or another model."
        )
    return x


def _class_number(flag: str, name: str, classes: Sequence[str]) -> int:
    """The number of the class with this name, or with this number."""
    if name in classes:
        return classes.index(name)
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    raise UsageError(
        f"{flag} {name} is not a class; choose from {', '.join(classes)}, or a number in "
        f"0..{len(classes) - 1}."
    )
