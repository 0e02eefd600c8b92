"""The metadata of a checkpoint, read with the safetensors library alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open


def metadata_of(file: Path) -> dict[str, Any]:
    """The JSON object in the header of a `.safetensors` file."""
    with safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["minicfg"])
