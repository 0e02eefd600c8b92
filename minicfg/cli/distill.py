"""The command `minicfg distill`: progress, signals and files around `minicfg.distillation`."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

from minicfg.cli.options import DEFAULT_DATA, DataOptions
from minicfg.cli.run_folder import check_out_is_outside_data, lock_run_folder, state_file
from minicfg.cli.sample import model_path
from minicfg.cli.train import run_steps, state_to_resume
from minicfg.cli.training_data import load_training_data
from minicfg.config import OptimiserSettings
from minicfg.datasets import describe
from minicfg.distillation import distill_steps
from minicfg.distributed import SINGLE_PROCESS, Ranks
from minicfg.errors import UsageError
from minicfg.io.atomic import check_writable
from minicfg.io.checkpoint import load


def run_distill(
    out: Path,
    path: Path,
    *,
    w: str,
    optimiser: OptimiserSettings,
    resume: bool = False,
    data_spec: str = "",
    reading: DataOptions = DEFAULT_DATA,
    device: str = "cpu",
) -> int:
    """Train a student and save it into `out`; return the exit code, 128 + n after signal n.

    Args:
        out: folder of the run.
        path: the teacher, or the folder of its run.
        w: the range of guidance weights, `LOW:HIGH`.
        optimiser: the settings that replace those of the teacher's training.
        resume: whether to continue the run in the folder.
        data_spec: where the training data of the teacher are now; "" for built-in data.
        reading: how the images of folders are read.
        device: auto, cpu or cuda.
    """
    w_range = parse_range(w)
    teacher = load(model_path(path), Ranks().device(device))
    config = replace(teacher.config, **asdict(optimiser))
    if data_spec:
        check_out_is_outside_data(out, data_spec)
    data = load_training_data(path, teacher, data_spec, reading)
    resumed = state_to_resume(out, resume, SINGLE_PROCESS, teacher.device)
    # The call refuses what does not fit together, before anything is written.
    states = distill_steps(teacher, data, config, w_range=w_range, resume=resumed)
    check_writable(out)
    with lock_run_folder(out):
        if not resume and state_file(out).exists():
            raise UsageError(
                f"--out {out} now contains a run that has just ended; add --resume to continue it, "
                "or choose another folder."
            )
        print(describe(data))
        state, code = run_steps(
            states,
            config,
            data.shape,
            out,
            resumed,
            how_to_resume="to go on, repeat the command with --resume",
        )
    print(f"step {state.step} of {config.steps}: {out / 'model.safetensors'}")
    return code


def parse_range(text: str) -> tuple[float, float]:
    """Parse `0:4`, the smallest and the largest weight.

    >>> parse_range("-1:4")
    (-1.0, 4.0)

    Raises:
        UsageError: unless it is two finite numbers, the smaller one first.
    """
    try:
        low, high = map(float, text.split(":"))
    except ValueError:  # no number, or not two of them
        low = high = math.nan
    if not -math.inf < low <= high < math.inf:
        raise UsageError(
            f"--w {text} is not a range of weights; write LOW:HIGH, two finite numbers such as 0:4."
        )
    return low, high
