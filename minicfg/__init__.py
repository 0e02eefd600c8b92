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
    from minicfg.guidance import guide
    from minicfg.io.checkpoint import load, save
    from minicfg.metrics.evaluate import evaluate
    from minicfg.sampling import sample
    from minicfg.schedule import Schedule
    from minicfg.training import train
    from minicfg.unet import UNet

__all__ = ["Schedule", "UNet", "evaluate", "guide", "load", "sample", "save", "solvers", "train"]

_HOME = {
    "Schedule": "schedule",
    "UNet": "unet",
    "evaluate": "metrics.evaluate",
    "guide": "guidance",
    "load": "io.checkpoint",
    "sample": "sampling",
    "save": "io.checkpoint",
    "train": "training",
}


def __getattr__(name: str) -> object:
    """Import a public name's module when the name is first asked for."""
    if name == "solvers":
        return importlib.import_module("minicfg.solvers")
    if name not in _HOME:
        raise AttributeError(f"module 'minicfg' has no attribute {name!r}")
    return getattr(importlib.import_module(f"minicfg.{_HOME[name]}"), name)


def _check_kernels_is_ours() -> None:
    """`kernels` is another package's import name too: say so here, rather than fail on it later."""
    ours = Path(__file__).resolve().parent.parent / "kernels" / "__init__.py"
    spec = importlib.util.find_spec("kernels")
    found = spec.origin if spec else None
    if found is None or Path(found).resolve() != ours:
        raise ImportError(
            f"minicfg needs its own 'kernels' ({ours}), but 'import kernels' finds {found}. "
            "Install this checkout, editable, in an environment of its own: run 'make', or "
            "uninstall the other package of that name."
        )


_check_kernels_is_ours()
