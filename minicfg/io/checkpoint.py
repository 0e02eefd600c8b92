"""Checkpoints: what they hold, and whether it can be. How a file is kept whole: `storage`.

Two kinds share the format: a model (`save`, `load`: the averaged weights, to sample from) and a
training state (`save_state`, `load_state`: all that `train(..., resume=)` needs).
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from minicfg.config import TrainConfig
from minicfg.errors import DataError, UsageError
from minicfg.io import format as storage
from minicfg.io.format import check_writable
from minicfg.schedule import Schedule
from minicfg.training import TrainState, start
from minicfg.unet import UNet

__all__ = ["Checkpoint", "check_writable", "load", "load_state", "save", "save_state"]

_SAVER = {"model": "minicfg.io.checkpoint.save", "state": "minicfg.io.checkpoint.save_state"}
_ABOUT = {"format": str, "version": int, "kind": str, "step": int, "shape": list, "classes": list}
_ABOUT |= {"config": dict, "sha256": str}
_FIELDS = {"model": _ABOUT, "state": _ABOUT | {"loss": float, "data_digest": str}}
_CONFIG = {
    f.name: list if type(f.default) is tuple else type(f.default) for f in fields(TrainConfig)
}
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model and what it takes to use it: its settings, classes and image shape."""

    model: UNet
    config: TrainConfig
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    step: int

    @classmethod
    def of(cls, state: TrainState) -> Checkpoint:
        """The averaged weights of a training run; they go on changing if the run does."""
        model = cast(UNet, state.ema.module)
        return cls(model, state.config, state.classes, state.shape, state.step)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def schedule(self) -> Schedule:
        """The noise schedule it was trained on."""
        return Schedule.of(self.config)


def save(path: str | Path, checkpoint: Checkpoint | TrainState) -> Path:
    """Write `<path>.safetensors` and `<path>.json`, all or nothing; return the first.

    Args:
        path: with either suffix or none. What stands there is replaced.
        checkpoint: or a training state, of which the averaged weights are kept.

    Raises:
        MachineError: where the disk is full or the folder refuses; what stood there still stands.
        UsageError: where `load` would refuse the result, the model not being what `config` says.
    """
    c = Checkpoint.of(checkpoint) if isinstance(checkpoint, TrainState) else checkpoint
    about = {"step": c.step, "shape": c.shape, "classes": c.classes, "config": asdict(c.config)}
    return _write(path, "model", about, c.model.state_dict())


def load(path: str | Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read what `save` wrote, onto `device`; the model is in evaluation mode.

    Raises:
        DataError: naming the file, what is wrong with it and what would do. Nothing in it is run.
    """
    _, checkpoint, tensors = _read(path, "model")
    checkpoint.model.to_empty(device=device).load_state_dict(tensors)
    return checkpoint


def save_state(path: str | Path, state: TrainState) -> Path:
    """Write all that a run needs to go on; `path` and errors as for `save`."""
    if state.step == 0:
        raise UsageError("step = 0: a run that has taken a step is needed")
    tensors = {f"model.{name}": p for name, p in state.model.state_dict().items()}
    tensors |= {f"ema.{name}": p for name, p in state.ema.state_dict().items()}
    for name, p in state.model.named_parameters():
        moments = state.optimizer.state[p]
        tensors |= {f"optimizer.{key}.{name}": value for key, value in moments.items()}
    if state.scaler.is_enabled():
        kept = state.scaler.state_dict()
        tensors["scaler.scale"] = torch.tensor(kept["scale"])
        tensors["scaler.growth_tracker"] = torch.tensor(kept["_growth_tracker"])
    about = {"step": state.step, "shape": state.shape, "classes": state.classes}
    about |= {"config": asdict(state.config), "loss": state.loss, "data_digest": state.data_digest}
    return _write(path, "state", about, tensors)


def load_state(path: str | Path, device: torch.device | str = "cpu") -> TrainState:
    """Read what `save_state` wrote, onto `device`, to pass to `train(..., resume=)`.

    Raises:
        DataError: as for `load`.
    """
    about, c, tensors = _read(path, "state")
    state = start(c.config, c.shape, c.classes, about["data_digest"], device)
    state.model.load_state_dict(_below("model.", tensors))
    state.ema.load_state_dict(_below("ema.", tensors))
    for name, p in state.model.named_parameters():
        # Moments lie in memory as their weight does: the fused optimiser walks all three together.
        moments = {
            key: torch.empty_like(p, requires_grad=False).copy_(tensors[f"optimizer.{key}.{name}"])
            for key in _MOMENTS
        }
        steps = tensors[f"optimizer.step.{name}"].to(p.device)
        state.optimizer.state[p] = {"step": steps, **moments}
    if state.scaler.is_enabled():
        scale, tracker = tensors["scaler.scale"], tensors["scaler.growth_tracker"]
        known = state.scaler.state_dict() | {"scale": scale.item()}
        state.scaler.load_state_dict(known | {"_growth_tracker": int(tracker)})
    return replace(state, step=about["step"], loss=about["loss"])


def _write(path: str | Path, kind: str, about: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    file, _ = storage.files(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about = storage.sealed({"kind": kind} | about, tensors)
    layout = {name: storage.told(tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
    try:
        _check(about, kind, layout)
        contents = storage.packed(path, about, tensors)
    except DataError as error:
        raise UsageError(f"{file}, if it were saved, {error}") from error
    storage.write(contents)
    return file


def _read(path: str | Path, kind: str) -> tuple[dict[str, Any], Checkpoint, dict[str, Tensor]]:
    with storage.opened(path) as stored:
        checkpoint = _check(stored.about, kind, stored.layout)
        return stored.about, checkpoint, stored.tensors()


def _check(about: dict[str, Any], kind: str, layout: dict[str, str]) -> Checkpoint:
    """Check what a checkpoint says and how its numbers lie; its model has no weights yet.

    A complaint reads on from the name of the file.
    """
    if about.get("kind") != kind:
        found = repr(about.get("kind"))
        raise DataError(f"holds a {found:.40}: a {kind!r} is needed, from {_SAVER[kind]}")
    _check_fields("", about, _FIELDS[kind])
    _check_fields("config.", about["config"], _CONFIG)
    _check_items("classes", about["classes"], str)
    _check_items("shape", about["shape"], int)
    step, shape, classes = about["step"], tuple(about["shape"]), tuple(about["classes"])
    if not 0 <= step < 2**32:
        raise DataError(f"has step = {step!r:.40}: 0..{2**32 - 1} is needed")
    if len(shape) != 3 or not all(1 <= size <= 2**16 for size in shape):
        raise DataError(f"has shape = {shape!r:.60}: three sizes in 1..65536 are needed")
    if not classes or len(set(classes)) < len(classes):
        raise DataError(f"has classes = {classes!r:.60}: names, all different, are needed")
    for name in ("multipliers", "attention"):
        _check_items(f"config.{name}", about["config"][name], int)
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in about["config"].items()
    }
    try:
        config = TrainConfig(**settings)
        # Before there is a network, which takes seconds where it is large: each of its blocks, as
        # many on the way up as on the way down, has four layers of a weight and a bias.
        if len(layout) < 16 * config.blocks * len(config.multipliers):
            raise DataError(f"has {len(layout)} tensors: its settings need more")
        with torch.device("meta"):  # shapes without memory, however large the file says they are
            model = UNet.of(config, shape, len(classes)).eval()
    except UsageError as error:
        raise DataError(
            f"describes what cannot be ({storage.plain(error)}): a whole copy is needed"
        ) from error
    needed = _needed(model, kind, config.precision == "float16")
    for name in sorted(needed.keys() | layout.keys()):
        found, wanted = (lies.get(name, "nothing") for lies in (layout, needed))
        if found != wanted:
            raise DataError(f"has {found:.60} for {name!r:.60}: its settings need {wanted}")
    return Checkpoint(model, config, classes, shape, step)


def _needed(model: UNet, kind: str, scaled: bool) -> dict[str, str]:
    """Every tensor of a checkpoint in words, by name."""
    weights = {n: storage.told(p.dtype, p.shape) for n, p in model.state_dict().items()}
    if kind == "model":
        return weights
    number, count = (storage.told(dtype, []) for dtype in (torch.float32, torch.int64))
    needed = {"ema.n_averaged": count}
    if scaled:
        needed |= {"scaler.scale": number, "scaler.growth_tracker": count}
    for name, p in weights.items():
        needed |= {f"{part}.{name}": p for part in ("model", "ema.module")}
        needed |= {f"optimizer.{key}.{name}": p for key in _MOMENTS}
        needed[f"optimizer.step.{name}"] = number
    return needed


def _check_fields(prefix: str, found: dict[str, Any], needed: dict[str, type]) -> None:
    for name in sorted(needed.keys() | found.keys()):
        if name not in found or name not in needed:
            lacks_or_has = "lacks the field" if name in needed else "has an unknown field"
            raise DataError(f"{lacks_or_has} {prefix}{storage.plain(name)}: a whole copy is needed")
        # A float may have been given as 1, which JSON keeps; a bool is an int only to Python.
        is_float = needed[name] is float
        typed = type(found[name]) in ((float, int) if is_float else (needed[name],))
        # JSON in Python also knows NaN, and integers that no float holds.
        if not typed or (is_float and not abs(found[name]) <= sys.float_info.max):
            raise DataError(
                f"has {prefix}{name} = {found[name]!r:.40}: {needed[name].__name__} is needed"
            )


def _check_items(name: str, values: list[Any], kind: type) -> None:
    if not all(type(value) is kind for value in values):
        raise DataError(f"has {name} = {values!r:.60}: a list of {kind.__name__} is needed")


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
