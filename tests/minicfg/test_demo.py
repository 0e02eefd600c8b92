"""The main job, from the data to the page, in a few steps: what it leaves, and that it fits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from minicfg.cli.demo import WS, make_demo
from minicfg.config import TrainConfig
from minicfg.io.checkpoint import load

TINY = TrainConfig(data="digits", steps=3, batch=8, width=8, multipliers=(1,), seed=3)


@pytest.mark.slow
def test_the_demo_leaves_a_model_pictures_figures_and_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_demo(tmp_path, TINY, n=80, steps=2, classifier_steps=5) == 0
    said = capsys.readouterr().out
    assert (
        str(tmp_path / "report.html") in said
        and "Accuracy of the classifier on held-out real digits" in said
    )
    for name in ("grid.png", "trade_off.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "denoising.gif").read_bytes().startswith(b"GIF89a")
    told = json.loads((tmp_path / "metrics.json").read_text())
    assert [line["w"] for line in told["scores"]] == list(WS)
    assert told["sampling"] == {"steps": 2, "seed": 3, "samples": 80}
    assert told["config"]["steps"] == 3
    assert replace(load(tmp_path / "model").config, steps=3) == TINY
    page = (tmp_path / "report.html").read_text()
    assert all(f"{w:g}</td>" in page for w in WS)  # a row of the table each
    assert page.count("data:image") >= len(WS) and "http" not in page.split("<body>")[1]
