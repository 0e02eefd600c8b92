"""Load the data that a model was trained on, to score the model or to train it further.

A checkpoint stores the specification of its training data, such as `idx:DIR`, and their digest. The
digest decides whether data are the same, so they may have moved since. A checkpoint may come from a
stranger. So a path in it is opened only if the user names it too.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path

from minicfg.cli.options import DEFAULT_DATA, DataOptions
from minicfg.data import Dataset
from minicfg.datasets import load_data
from minicfg.errors import DataError, UsageError
from minicfg.io.checkpoint import Checkpoint
from minicfg.io.format import printable

MAX_SHOWN = 1000  # characters of a specification in a message


def load_training_data(
    path: Path,
    trained: Checkpoint,
    spec: str,
    reading: DataOptions = DEFAULT_DATA,
) -> Dataset:
    """Load the data that the model in the file `path` was trained on.

    Args:
        path: of the checkpoint, for messages.
        trained: the checkpoint.
        spec: where the data are now; "" for the specification in the checkpoint, if it is one of
            the built-in data sets.
        reading: how the images of folders are read.

    Raises:
        UsageError: if `spec` is "" and the checkpoint names no built-in data set.
        DataError: if the data cannot be read, or are not those that the model was trained on.
    """
    recorded = _escaped(trained.config.data)
    if not spec and not recorded:
        raise UsageError(
            f"--data is missing: {path} was trained on a data set that was made in Python and has "
            "no specification; save its images, labels and class names as an .npz file, and add "
            "--data npz:FILE."
        )
    if not spec and names_a_path(recorded):
        raise UsageError(
            f"--data is missing: {path} was trained on {recorded}, and a path in a checkpoint is "
            f"opened only if you name it too; add --data {shlex.quote(recorded)}, or name where "
            "these data are now."
        )
    spec = spec or trained.config.data
    data = load_data(spec, trained.config.size, **asdict(reading))
    difference = _difference(data, trained)
    if difference:
        source = recorded or "a data set that was made in Python"
        raise DataError(
            f"--data {_escaped(spec)} has {difference}. {path} was trained on {source}; name "
            "where the same images, labels and class names are now by --data."
        )
    return data


def names_a_path(spec: str) -> bool:
    """Whether `spec` names files, as `idx:DIR` does, and not a built-in data set."""
    return ":" in spec and not spec.startswith(("toy:", "glyphs:"))


def data_flag(spec: str) -> str:
    """The flag, after a space, that a command needs to find the data of a model, or ""."""
    return f" --data {shlex.quote(spec)}" if names_a_path(spec) else ""


def _escaped(spec: str) -> str:
    """The specification as one line without control characters; an ordinary one is unchanged."""
    return spec if spec.isprintable() and len(spec) <= MAX_SHOWN else printable(spec)


def _difference(data: Dataset, trained: Checkpoint) -> str:
    """What distinguishes the data from those that the model was trained on; "" if nothing does."""
    if data.num_classes != len(trained.classes) or data.shape != trained.shape:
        return (
            f"{data.num_classes} classes of images {data.shape}, but the training data had "
            f"{len(trained.classes)} classes of images {trained.shape}"
        )
    if data.classes != trained.classes:
        return "other class names than the training data"
    if data.digest != trained.data_digest:
        return "other images or labels than the training data"
    return ""
