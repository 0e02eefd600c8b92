"""Classifier-free guidance in torch: the formulas of `tutorial` at work on real images.

Public names are loaded when first used, so that `import minicfg` is quick and needs no torch.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minicfg import solvers
    from minicfg.config import TrainConfig
    from minicfg.data import Dataset
    from minicfg.datasets import load_data
    from minicfg.distillation import distill, distill_steps
    from minicfg.guidance import guide
    from minicfg.io.checkpoint import Checkpoint, load, save
    from minicfg.metrics.evaluate import evaluate
    from minicfg.sampling import sample, sample_steps
    from minicfg.schedule import Schedule
    from minicfg.training import train, train_steps
    from minicfg.unet import UNet

__all__ = [
    "Checkpoint",
    "Dataset",
    "Schedule",
    "TrainConfig",
    "UNet",
    "distill",
    "distill_steps",
    "evaluate",
    "guide",
    "load",
    "load_data",
    "sample",
    "sample_steps",
    "save",
    "solvers",
    "train",
    "train_steps",
]

__version__ = "0.2.0"

_HOME = {
    "Checkpoint": "io.checkpoint",
    "Dataset": "data",
    "Schedule": "schedule",
    "TrainConfig": "config",
    "UNet": "unet",
    "distill": "distillation",
    "distill_steps": "distillation",
    "evaluate": "metrics.evaluate",
    "guide": "guidance",
    "load": "io.checkpoint",
    "load_data": "datasets.load",
    "sample": "sampling",
    "sample_steps": "sampling",
    "save": "io.checkpoint",
    "train": "training",
    "train_steps": "training",
}


def __dir__() -> list[str]:
    """The public names, whether they have been loaded or not."""
    return sorted([*__all__, "__version__"])


def __getattr__(name: str) -> object:
    """Import the module of a public name when the name is first used."""
    if name != "solvers" and name not in _HOME:
        raise AttributeError(f"module 'minicfg' has no attribute {name!r}")
    try:
        if name == "solvers":
            return importlib.import_module("minicfg.solvers")
        return getattr(importlib.import_module(f"minicfg.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        raise missing_package(f"minicfg.{name}", error) from error


def missing_package(user: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The same error with a sentence on how to install what `user` lacks."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "minicfg", "kernels", "tutorial"):
        return error
    return ModuleNotFoundError(
        f"{user} imports {package}, which is not installed: in the checkout, run make, or "
        "pip install -c constraints.txt -e '.[torch]'",
        name=error.name,
    )


def _check_kernels_is_ours() -> None:
    """Refuse another project's package `kernels` here, before anything fails inside it."""
    ours = Path(__file__).resolve().parent.parent / "kernels" / "__init__.py"
    spec = importlib.util.find_spec("kernels")
    found = spec.origin if spec else None
    if found is None or Path(found).resolve() != ours:
        raise ImportError(
            f"'import kernels' finds {found}, and minicfg uses its own package {ours}. "
            "Install this checkout, editable, in an environment of its own: run 'make', or "
            "uninstall the other package of that name."
        )


_check_kernels_is_ours()
