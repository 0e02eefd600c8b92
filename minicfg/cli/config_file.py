"""`config.toml`: the settings of a training run in a file, to repeat the run or a variant of it."""

from __future__ import annotations

import json
import math
import sys
import tomllib
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from minicfg.cli.parse import did_you_mean
from minicfg.config import TrainConfig
from minicfg.errors import UsageError
from minicfg.io.atomic import write_atomic

CONFIG = "config.toml"
MAX_BYTES = 2**20  # of a file; the settings of a run take about 1,000
_TYPES = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


def write_config_file(out: Path, config: TrainConfig) -> None:
    """Write the settings of a run to `out / "config.toml"`."""
    lines = [
        "# The settings of this training run. To repeat it, run in the same working directory",
        "# minicfg train --config THIS_FILE --out FOLDER",
        "# with the same --device, --follow-links and --skip-bad, which are not settings.",
        *(f"{name} = {_to_toml(value)}" for name, value in asdict(config).items()),
    ]
    # Bytes of a path that are not text (surrogates) cannot be written in TOML.
    write_atomic(out / CONFIG, ("\n".join(lines) + "\n").encode(errors="replace"))


def read_config_file(file: Path, base: TrainConfig) -> TrainConfig:
    """`base` with the settings that `file` contains.

    Raises:
        UsageError: if the file is missing or is not TOML, or a setting is unknown or invalid.
    """
    settings: dict[str, Any] = {}
    hints = get_type_hints(TrainConfig)
    names = [field.name for field in fields(TrainConfig)]
    for name, value in _read_toml(file).items():
        if name not in names:
            guess = did_you_mean(name, names)
            raise UsageError(
                f"--config {file}: {name!r:.80} is not a setting of a training run"
                f"{guess} Correct the name, or remove the line."
            )
        settings[name] = _checked(file, name, value, hints[name])
    try:
        return replace(base, **settings)
    except UsageError as error:
        raise UsageError(f"--config {file}: {error}") from None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        if not file.is_file():
            raise UsageError(f"--config {file} is not a file; name a TOML file with settings.")
        if file.stat().st_size > MAX_BYTES:
            raise UsageError(
                f"--config {file} has more than {MAX_BYTES} bytes; name a TOML file with settings."
            )
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"--config {file} cannot be read ({error.strerror}); check its name and permissions."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"--config {file} is not valid TOML ({error}); correct it.") from None


def _checked(file: Path, name: str, value: object, hint: Any) -> object:
    """The value as `TrainConfig` takes it, or an error if it has another type."""
    if get_origin(hint) is tuple:
        if isinstance(value, list) and all(type(item) is int for item in value):
            return tuple(value)
        wanted = "a list of integers"
    else:
        kind = hint if hint in _TYPES else type(get_args(hint)[0])  # a Literal of strings
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value) if abs(value) <= sys.float_info.max else math.inf
        wanted = _TYPES[kind]
    raise UsageError(
        f"--config {file}: {name} = {value!r:.80} has type {type(value).__name__}; write {wanted}."
    )


def _to_toml(value: object) -> str:
    """A string, a boolean, a number or a tuple of integers."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, str):
        # TOML has the escapes of JSON, and demands one more, of the character DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
