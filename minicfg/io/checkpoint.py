"""Checkpoints: what they contain, and the checks that they pass before they are used.

There are two kinds, in the same file format (`format.py`):

- a model, by `save` and `load`: the averaged weights, from which one samples;
- a training state, by `save_state` and `load_state`: everything that `train(..., resume=)` needs.

A file contains the weights of any network, but no code. A `UNet` is built from the configuration.
Any other network must be passed to `load` and `load_state`, with the architecture that it had.

The metadata of a student (`minicfg.distillation`) have two fields more: its range of w, and the
digest of its teacher.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minicfg.config import TrainConfig
from minicfg.errors import DataError, UsageError, check_type
from minicfg.guidance import check_w_range
from minicfg.io.atomic import write_atomic
from minicfg.io.format import (
    add_format_and_digest,
    checkpoint_path,
    describe_tensor,
    open_checkpoint_file,
    printable,
    to_bytes,
)
from minicfg.schedule import Schedule
from minicfg.training import TrainState, check_device, start
from minicfg.unet import UNet

__all__ = ["Checkpoint", "load", "load_state", "save", "save_state"]

_MODEL_FIELDS = {
    "format": str,
    "version": int,
    "kind": str,
    "network": str,
    "step": int,
    "shape": list,
    "classes": list,
    "config": dict,
    "data_digest": str,
    "sha256": str,
}
_STATE_FIELDS = _MODEL_FIELDS | {"loss": float}
_FIELDS = {"model": _MODEL_FIELDS, "state": _STATE_FIELDS}
_STUDENT_FIELDS = {"w_range": list, "teacher_digest": str}  # both or neither
# JSON has no tuples: they are stored as lists.
_CONFIG_FIELDS = {
    f.name: list if type(f.default) is tuple else type(f.default) for f in fields(TrainConfig)
}
_TYPES = {
    bool: "true or false",
    int: "an integer",
    float: "a finite number",
    str: "text",
    list: "a list",
    dict: "an object",
}
WEIGHTS = Path(__file__).parents[1] / "weights"  # The trained models that come with minicfg.
_UNET = f"{UNet.__module__}.{UNet.__qualname__}"  # The network that `load` builds by itself.
_MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW keeps two tensors for each weight.


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model with its configuration, the names of its classes and the shape of a sample.

    `minicfg.sample(checkpoint, labels)` samples from it.
    """

    model: nn.Module
    config: TrainConfig
    classes: tuple[str, ...]
    """Empty if the condition is not a label."""
    shape: tuple[int, ...]
    """Of an image: channels, height, width."""
    step: int
    data_digest: str
    """`Dataset.digest` of the training data. Scoring against other data is refused."""
    teacher_digest: str = ""
    """`minicfg.distillation.weights_digest` of the teacher of a student; else empty."""

    def __post_init__(self) -> None:
        """Refuse attributes of other types."""
        check_type("model", self.model, nn.Module, "pass a network, a torch.nn.Module")
        check_type("config", self.config, TrainConfig, "pass a minicfg.TrainConfig")
        check_type("classes", self.classes, tuple, "pass a tuple of names, empty without labels")
        check_type("shape", self.shape, tuple, "pass the sizes of one sample, such as (1, 8, 8)")

    @classmethod
    def of(cls, state: TrainState) -> Checkpoint:
        """Return the averaged weights of a training run, which change if the run continues."""
        check_type("state", state, TrainState, "pass the result of minicfg.train")
        return cls(
            state.ema.module,
            state.config,
            state.classes,
            state.shape,
            state.step,
            state.data_digest,
            state.teacher_digest,
        )

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    @property
    def schedule(self) -> Schedule:
        """The noise schedule that the model was trained with."""
        return Schedule.of(self.config)


def save(path: str | Path, checkpoint: Checkpoint | TrainState) -> Path:
    """Write a model to `<path>.safetensors` atomically, and return the path of the file.

    Args:
        path: with or without the suffix. An existing file is replaced.
        checkpoint: or a training state, of which the averaged weights are saved.

    Raises:
        MachineError: if the file cannot be written. The old file is then unchanged.
        UsageError: if `load` would refuse the file, because model and `config` do not agree.
    """
    c = Checkpoint.of(checkpoint) if isinstance(checkpoint, TrainState) else checkpoint
    check_type("checkpoint", c, Checkpoint, "pass a Checkpoint, or the result of minicfg.train")
    metadata = {
        "network": _network_name(c.model),
        "step": c.step,
        "shape": c.shape,
        "classes": c.classes,
        "config": asdict(c.config),
        "data_digest": c.data_digest,
        **_student_metadata(c.model, c.teacher_digest),
    }
    return _write(path, "model", metadata, c.model.state_dict(), c.model)


def load(
    path: str | Path, device: torch.device | str = "cpu", *, model: nn.Module | None = None
) -> Checkpoint:
    """Load onto `device` a model that `save` wrote, in evaluation mode. No code of the file is run.

    Args:
        path: with or without the suffix; or the name of a model in `minicfg/weights`, if the
            working folder has no file of that name.
        device: of the model.
        model: the network that gets the weights, if it is not a `UNet`. It is changed in place.

    Raises:
        DataError: if the file is missing, damaged, not a model of minicfg, or of a network other
            than `model`.
        MachineError: if this machine has no such device.
    """
    device = check_device(device)
    _, checkpoint, tensors = _read(find_model(path), "model", model)
    if model is None:
        checkpoint.model.to_empty(device=device)
    checkpoint.model.to(device).eval().load_state_dict(tensors)
    return checkpoint


def find_model(path: str | Path) -> Path:
    """Return the file of a model: that of a trained model in `minicfg/weights`, or `path`.

    A name without a folder, such as `digits`, names one of `minicfg/weights`, if there is one and
    if the working folder has no file `digits.safetensors`. The suffix is added.
    """
    file = checkpoint_path(path)
    stored = WEIGHTS / file.name
    is_name = len(file.parts) == 1
    # These two functions give False where a path cannot be looked up; reading it then says why.
    return stored if is_name and not os.path.exists(file) and os.path.isfile(stored) else file


def save_state(path: str | Path, state: TrainState) -> Path:
    """Write everything that a run needs to continue; `path` and errors are those of `save`."""
    check_type("state", state, TrainState, "pass the result of minicfg.train")
    if state.step == 0:
        raise UsageError("step = 0: train for at least one step before you save the state")
    tensors = {f"model.{name}": p for name, p in state.model.state_dict().items()}
    tensors |= {f"ema.{name}": p for name, p in state.ema.state_dict().items()}
    for name, p in state.model.named_parameters():
        moments = state.optimizer.state.get(p, {})  # none for a weight that got no gradient
        tensors |= {f"optimizer.{key}.{name}": value for key, value in moments.items()}
    if state.scaler.is_enabled():
        scaler = state.scaler.state_dict()
        tensors["scaler.scale"] = torch.tensor(scaler["scale"])
        tensors["scaler.growth_tracker"] = torch.tensor(scaler["_growth_tracker"])
    metadata = {
        "network": _network_name(state.model),
        "step": state.step,
        "shape": state.shape,
        "classes": state.classes,
        "config": asdict(state.config),
        "loss": state.loss,
        "data_digest": state.data_digest,
        **_student_metadata(state.model, state.teacher_digest),
    }
    return _write(path, "state", metadata, tensors, state.model)


def load_state(
    path: str | Path, device: torch.device | str = "cpu", *, model: nn.Module | None = None
) -> TrainState:
    """Load a state that `save_state` wrote to `device`, to pass it to `train(..., resume=)`.

    The arguments, and the errors, are those of `load`.
    """
    device = check_device(device)
    metadata, c, tensors = _read(path, "state", model)
    if model is None:
        c.model.to_empty(device=device)
    state = start(c.config, c.shape, c.classes, c.data_digest, device, c.model)
    state.model.load_state_dict(_with_prefix("model.", tensors))
    state.ema.load_state_dict(_with_prefix("ema.", tensors))
    for name, p in state.model.named_parameters():
        if f"optimizer.step.{name}" not in tensors:
            continue
        # A moment gets the memory layout of its weight, because the fused optimiser walks through
        # all three in the same order.
        moments = {
            key: torch.empty_like(p, requires_grad=False).copy_(tensors[f"optimizer.{key}.{name}"])
            for key in _MOMENTS
        }
        steps = tensors[f"optimizer.step.{name}"].to(p.device)
        state.optimizer.state[p] = {"step": steps, **moments}
    if state.scaler.is_enabled():
        scaler = state.scaler.state_dict()
        scaler["scale"] = tensors["scaler.scale"].item()
        scaler["_growth_tracker"] = int(tensors["scaler.growth_tracker"])
        state.scaler.load_state_dict(scaler)
    return replace(
        state, step=metadata["step"], loss=metadata["loss"], teacher_digest=c.teacher_digest
    )


def _network_name(model: nn.Module) -> str:
    """The name of a network's class, to say in an error which network a file is of."""
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _student_metadata(model: nn.Module, teacher_digest: str) -> dict[str, Any]:
    """The fields that only the file of a student has."""
    w_range = getattr(model, "w_range", None)
    return {} if w_range is None else {"w_range": w_range, "teacher_digest": teacher_digest}


def _write(
    path: str | Path,
    kind: str,
    metadata: dict[str, Any],
    tensors: dict[str, Tensor],
    model: nn.Module,
) -> Path:
    file = checkpoint_path(path)
    if not Path(path).name:
        raise UsageError(f"path = {str(path)!r} names no file; pass a path such as 'runs/model'")
    # A copy of each, because tied weights share their memory, which safetensors refuses.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    metadata = add_format_and_digest({"kind": kind} | metadata, tensors)
    layout = {name: describe_tensor(p.dtype, p.shape) for name, p in tensors.items()}
    try:
        _check(metadata, kind, layout, None if metadata["network"] == _UNET else model)
        content = to_bytes(metadata, tensors)
    except DataError as error:
        raise UsageError(f"{file} is not saved, because it {error}") from error
    write_atomic(file, content)
    return file


def _read(
    path: str | Path, kind: str, model: nn.Module | None
) -> tuple[dict[str, Any], Checkpoint, dict[str, Tensor]]:
    """Return the metadata, a checkpoint whose model has no weights yet, and all tensors."""
    if model is not None:
        check_type("model", model, nn.Module, "pass the network that gets the weights")
    with open_checkpoint_file(path) as opened:
        checkpoint = _check(opened.metadata, kind, opened.layout, model)
        tensors = opened.read_tensors()
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise DataError(
                f"{checkpoint_path(path)} has values in {name!r:.60} that are not finite: the "
                "training diverged; train again with a smaller lr, or load an earlier file"
            )
    return opened.metadata, checkpoint, tensors


def _check(
    metadata: dict[str, Any], kind: str, layout: dict[str, str], own: nn.Module | None
) -> Checkpoint:
    """Check metadata and layout, and return a checkpoint whose model has no weights yet.

    The model is `own`, a network of the caller's, or a UNet on torch's device `meta`.

    Raises:
        DataError: whose message continues a sentence that begins with the name of the file.
    """
    if metadata.get("kind") != kind:
        found = repr(metadata.get("kind"))
        saver = {"model": "save", "state": "save_state"}[kind]
        raise DataError(
            f"contains a {found:.40}, not a {kind!r}: choose a file that minicfg.io.checkpoint."
            f"{saver} wrote"
        )
    is_student = not metadata.keys().isdisjoint(_STUDENT_FIELDS)
    _check_types("", metadata, _FIELDS[kind] | (_STUDENT_FIELDS if is_student else {}))
    _check_types("config.", metadata["config"], _CONFIG_FIELDS)
    step = metadata["step"]
    if not 0 <= step < 2**32:
        raise DataError(f"has step = {step!r:.40}: steps must be in 0..{2**32 - 1}")
    if own is None and metadata["network"] != _UNET:
        raise DataError(
            f"has the weights of a network {printable(metadata['network'])!r:.80}, which minicfg "
            "cannot build: pass the network, load(path, model=net)"
        )
    shape = tuple(metadata["shape"])
    sizes_are_valid = all(type(n) is int and 1 <= n <= 2**16 for n in shape)
    if own is None and (len(shape) != 3 or not sizes_are_valid):
        raise DataError(f"has shape = {shape!r:.60}: it must be three integers in 1..65536")
    if not 1 <= len(shape) <= 8 or not sizes_are_valid:
        raise DataError(f"has shape = {shape!r:.60}: it must be 1 to 8 integers in 1..65536")
    classes = tuple(metadata["classes"])
    is_text = all(type(name) is str for name in classes)
    is_missing = own is None and not classes
    if is_missing or not is_text or len(set(classes)) < len(classes):
        raise DataError(f"has classes = {classes!r:.60}: they must be names, all different")
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in metadata["config"].items()
    }
    try:
        config = TrainConfig(**settings)
        w_range = check_w_range(tuple(metadata["w_range"])) if is_student else None
        model = own or _empty_unet(config, shape, len(classes), len(layout), w_range)
    except UsageError as error:
        raise DataError(
            f"has an invalid config ({printable(error)}): restore a whole copy"
        ) from error
    prediction = getattr(model, "prediction", None)
    if prediction != config.prediction:
        raise DataError(
            f"is of a network that predicts {config.prediction}, but model.prediction = "
            f"{prediction!r}: set it to {config.prediction!r}"
        )
    own_range = getattr(model, "w_range", None)
    if own_range != w_range:
        raise DataError(
            f"is of a network with w_range = {w_range}, but model.w_range = {own_range}: pass the "
            "network that was saved"
        )
    expected = _expected_layout(model, kind, with_scaler=config.precision == "float16")
    if own is not None:
        # A weight that got no gradient has no moments.
        expected = {
            name: description
            for name, description in expected.items()
            if name in layout or not name.startswith("optimizer.")
        }
    has = "its config has " if own is None else "the network has "
    for name in sorted(expected.keys() | layout.keys()):
        found = layout.get(name, "nothing")
        wanted = expected.get(name, "nothing")
        if found != wanted:
            raise DataError(f"has {found:.60} for {name!r:.60}, but {has}{wanted}")
    return Checkpoint(
        model,
        config,
        classes,
        shape,
        step,
        metadata["data_digest"],
        metadata.get("teacher_digest", ""),
    )


def _empty_unet(
    config: TrainConfig,
    shape: tuple[int, ...],
    K: int,
    tensors: int,
    w_range: tuple[float, float] | None,
) -> UNet:
    """The network that `config` describes, in evaluation mode and without memory for its weights.

    Raises:
        DataError: if a file with this number of tensors is of another network.
    """
    # This bound comes before the network is built, which takes seconds if it is large. Each block
    # has four layers with a weight and a bias, and there are as many blocks on the way up as on the
    # way down.
    at_least = 16 * config.blocks * len(config.multipliers)
    if tensors < at_least:
        raise DataError(f"has {tensors} tensors, but its config describes at least {at_least}")
    with torch.device("meta"):  # Tensors with shapes but without memory.
        return UNet.of(config, shape, K, w_range).eval()


def _expected_layout(model: nn.Module, kind: str, *, with_scaler: bool) -> dict[str, str]:
    """Return the description of every tensor that a checkpoint of this model must contain."""
    weights = {name: describe_tensor(p.dtype, p.shape) for name, p in model.state_dict().items()}
    if kind == "model":
        return weights
    real = describe_tensor(torch.float32, [])
    count = describe_tensor(torch.int64, [])
    expected = {"ema.n_averaged": count}
    if with_scaler:
        expected["scaler.scale"] = real
        expected["scaler.growth_tracker"] = count
    for name, description in weights.items():
        expected[f"model.{name}"] = description
        expected[f"ema.module.{name}"] = description
    for name, p in model.named_parameters():
        for key in _MOMENTS:
            expected[f"optimizer.{key}.{name}"] = describe_tensor(p.dtype, p.shape)
        expected[f"optimizer.step.{name}"] = real
    return expected


def _check_types(prefix: str, found: dict[str, Any], expected: dict[str, type]) -> None:
    """Refuse a missing field, an unknown field, and a value of another type."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise DataError(f"lacks the field {prefix}{name}: restore a whole copy")
        if name not in expected:
            raise DataError(f"has an unknown field {prefix}{printable(name)}: restore a whole copy")
        value = found[name]
        wanted = expected[name]
        if wanted is float:
            # JSON stores a float that was given as 1 as an integer. In Python it also accepts NaN,
            # and integers that no float can represent. A bool is not accepted as a number.
            is_valid = type(value) in (float, int) and abs(value) <= sys.float_info.max
        else:
            is_valid = type(value) is wanted
        if not is_valid:
            raise DataError(f"has {prefix}{name} = {value!r:.40}: it must be {_TYPES[wanted]}")


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose name begins with `prefix`, under their names without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
