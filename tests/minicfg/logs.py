"""The log of a run without its times, which differ between two runs that are otherwise equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TIMES = ("seconds", "images_per_second")


def log_without_times(out: Path) -> list[dict[str, Any]]:
    """Every line of `log.jsonl`; each must have both times."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    for line in lines:
        for name in TIMES:
            assert line.pop(name) >= 0
    return lines
