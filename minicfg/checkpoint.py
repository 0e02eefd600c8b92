"""Checkpoints: safetensors for the numbers, JSON for the rest, and never pickle.

`<path>.safetensors` is the checkpoint. Its header carries a JSON text with the settings, the class
names, the image shape, the step, and a SHA-256 of all of these and of every tensor. So one rename
replaces a checkpoint as a whole: a reader finds the old one or the new one. `<path>.json` is the
same text once more, for people and other programs. It may be missing, which is what a crash between
the two renames leaves, but it may not say anything else.

Two kinds share the format: a model (`save`, `load`: the averaged weights, to sample from) and a
training state (`save_state`, `load_state`: all that `train(..., resume=)` needs).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from minicfg.config import TrainConfig
from minicfg.errors import DataError, MachineError, UsageError
from minicfg.schedule import Schedule
from minicfg.training import TrainState, start
from minicfg.unet import UNet

VERSION = 1
_SAVER = {"model": "minicfg.checkpoint.save", "state": "minicfg.checkpoint.save_state"}
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
        return self.model.stem.weight.device

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


def check_writable(folder: str | Path) -> Path:
    """Make `folder` and write into it, so that a refusal comes before the work and not after it.

    Raises:
        MachineError: where that fails.
    """
    probe = Path(folder) / f"minicfg-was-here-{os.getpid()}.tmp"  # ranks come here together
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise MachineError(
            f"{folder} cannot be written to ({error.strerror}): another folder is needed"
        ) from error
    return Path(folder)


def _write(path: str | Path, kind: str, about: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    file, beside = _files(path)
    about = {"format": "minicfg", "version": VERSION, "kind": kind} | about
    about = json.loads(json.dumps(about, allow_nan=False))  # tuples to lists, as it will be read
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about["sha256"] = _digest(about, tensors)
    try:
        _check(about, kind, tensors)
    except DataError as error:
        raise UsageError(f"{file}, if it were saved, {error}") from error
    text = json.dumps(about, indent=2) + "\n"
    contents = {file: to_bytes(tensors, {"minicfg": text}), beside: text.encode()}
    temporary = {target: Path(f"{target}.tmp") for target in contents}
    try:
        for target, content in contents.items():
            temporary[target].unlink(missing_ok=True)  # left by a save that was killed
            with temporary[target].open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        # All that takes space is done. From here on, wherever it ends, `file` is a whole checkpoint
        # and the text beside it, if there is one, its own.
        beside.unlink(missing_ok=True)
        for target in contents:
            temporary[target].replace(target)
        _fsync_folder(file.parent)
    except OSError as error:
        raise MachineError(
            f"{file} cannot be saved ({error.strerror}): free space, or another folder, is needed"
        ) from error
    finally:
        for target in temporary.values():
            with contextlib.suppress(OSError):
                target.unlink(missing_ok=True)
    return file


def _read(path: str | Path, kind: str) -> tuple[dict[str, Any], Checkpoint, dict[str, Tensor]]:
    file, beside = _files(path)
    if not file.is_file():
        raise DataError(f"{file} is not there: what minicfg saved, .safetensors, is needed")
    try:
        with safe_open(file, framework="pt") as opened:
            about = _parsed((opened.metadata() or {}).get("minicfg", ""))
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if beside.exists() and _parsed(beside.read_text(errors="replace")) != about:
            raise DataError(
                f"does not go with {beside.name}, which belongs to another checkpoint or was "
                "edited: the one it was saved with is needed there, or none"
            )
        return about, _check(about, kind, tensors), tensors
    except DataError as error:
        raise DataError(f"{file} {error}") from error
    except (SafetensorError, OSError) as error:
        raise DataError(f"{file} is damaged ({error}): a whole copy is needed") from error


def _check(about: dict[str, Any], kind: str, tensors: dict[str, Tensor]) -> Checkpoint:
    """Check what a checkpoint says, in words and in numbers; its model has no weights yet.

    A complaint reads on from the name of the file.
    """
    if about.get("format") != "minicfg":
        raise DataError("is not a checkpoint of minicfg: what minicfg saved is needed")
    if about.get("version") != VERSION:
        raise DataError(f"has format version {about.get('version')!r}: {VERSION} is needed")
    if about.get("sha256") != _digest(about, tensors):
        raise DataError("does not match its own SHA-256, so it is damaged: a whole copy is needed")
    if about.get("kind") != kind:
        raise DataError(f"holds a {about.get('kind')!r}: a {kind!r} is needed, from {_SAVER[kind]}")
    _check_fields("", about, _FIELDS[kind])
    _check_fields("config.", about["config"], _CONFIG)
    _check_items("classes", about["classes"], str)
    _check_items("shape", about["shape"], int)
    step, shape, classes = about["step"], tuple(about["shape"]), tuple(about["classes"])
    if step < 0:
        raise DataError(f"has step = {step}: 0 or more is needed")
    if len(shape) != 3 or not all(1 <= size <= 2**16 for size in shape):
        raise DataError(f"has shape = {shape}: three sizes in 1..65536 are needed")
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
        with torch.device("meta"):  # shapes without memory, however large the file says they are
            model = UNet.of(config, shape, len(classes)).eval()
    except UsageError as error:
        raise DataError(f"describes what cannot be ({error}): a whole copy is needed") from error
    needed = _needed(model, kind, config.precision == "float16")
    for name in sorted(needed.keys() | tensors.keys()):
        found, wanted = (
            f"{t.dtype} {tuple(t.shape)}" if t is not None else "nothing"
            for t in (tensors.get(name), needed.get(name))
        )
        if found != wanted:
            raise DataError(f"has {found} for {name!r}: its settings need {wanted}")
    return Checkpoint(model, config, classes, shape, step)


def _needed(model: UNet, kind: str, scaled: bool) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, on the device `meta`: a name, a shape and a dtype."""
    weights = model.state_dict()
    if kind == "model":
        return weights
    scalar = torch.empty((), device="meta")
    needed = {"ema.n_averaged": scalar.long()}
    if scaled:
        needed |= {"scaler.scale": scalar, "scaler.growth_tracker": scalar.long()}
    for name, p in weights.items():
        needed |= {f"{part}.{name}": p for part in ("model", "ema.module")}
        needed |= {f"optimizer.{key}.{name}": p for key in _MOMENTS}
        needed[f"optimizer.step.{name}"] = scalar
    return needed


def _check_fields(prefix: str, found: dict[str, Any], needed: dict[str, type]) -> None:
    for name in sorted(needed.keys() | found.keys()):
        if name not in found or name not in needed:
            lacks_or_has = "lacks the field" if name in needed else "has an unknown field"
            raise DataError(f"{lacks_or_has} {prefix}{name}: a whole copy is needed")
        # A float may have been given as 1, which JSON keeps; a bool is an int only to Python.
        allowed = (float, int) if needed[name] is float else (needed[name],)
        if type(found[name]) not in allowed:
            raise DataError(
                f"has {prefix}{name} = {found[name]!r:.40}: {needed[name].__name__} is needed"
            )


def _check_items(name: str, values: list[Any], kind: type) -> None:
    if not all(type(value) is kind for value in values):
        raise DataError(f"has {name} = {values!r:.60}: a list of {kind.__name__} is needed")


def _digest(about: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """SHA-256 of all that is said, but this, and of every tensor's name, dtype, shape and bytes."""
    said = {name: value for name, value in about.items() if name != "sha256"}
    told = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        told.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        told.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return told.hexdigest()


def _parsed(text: str) -> dict[str, Any]:
    """The JSON object in `text`, or an empty one, which no checkpoint is."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # not JSON, an absurd number, or nested absurdly deep
        return {}
    return found if isinstance(found, dict) else {}


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _files(path: str | Path) -> tuple[Path, Path]:
    """`a/model`, `a/model.safetensors` and `a/model.json` all name the same two files."""
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    return Path(f"{stem}.safetensors"), Path(f"{stem}.json")


def _fsync_folder(folder: Path) -> None:
    """Make the renames last through a power cut; only POSIX opens folders."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
