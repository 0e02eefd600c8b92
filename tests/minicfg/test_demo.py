"""The main job, from the data to the page, in a few steps: what it leaves, and that it fits."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from minicfg.cli import demo
from minicfg.cli.demo import WS, make_demo, run_demo
from minicfg.config import TrainConfig
from minicfg.datasets import load_data
from minicfg.errors import UsageError
from minicfg.io.checkpoint import load, save, save_state
from minicfg.training import train

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
    for name in ("grid.png", "trade_off.png", "glyphs.png", "modes.png"):
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


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training run."""
    out = tmp_path_factory.mktemp("trained")
    state = train(load_data("digits"), TINY)
    save(out / "model", state)
    save_state(out / "state", state)
    return out


@pytest.mark.parametrize("metrics", [None, "{", "[]", '{"scores": []}', '{"config": {"steps": 9}}'])
def test_the_demo_does_not_overwrite_a_training_run(
    trained: Path, tmp_path: Path, metrics: str | None
) -> None:
    """Nor where `evaluate` has written its metrics there, or the run of a demo was extended."""
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    if metrics is not None:
        (out / "metrics.json").write_text(metrics)
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(UsageError, match="contains a training run, whose model the demo would"):
        run_demo(out, quick=True, seed=0)
    assert (out / "model.safetensors").read_bytes() == before


def test_the_demo_replaces_the_results_of_an_earlier_one(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"config": asdict(TINY)}))
    shutil.copy(trained / "state.safetensors", tmp_path)
    began = list[Path]()

    def begin(out: Path, *_: object, **__: object) -> int:
        began.append(out)
        return 0

    monkeypatch.setattr(demo, "make_demo", begin)
    assert run_demo(tmp_path, quick=True, seed=1) == 0
    assert run_demo(tmp_path / "new", quick=True, seed=1) == 0
    assert began == [tmp_path, tmp_path / "new"]
