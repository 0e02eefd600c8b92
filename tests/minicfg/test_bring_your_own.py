"""The programs of the page "Bring your own" and of the README, run as they stand but shorter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import minicfg
from minicfg.io.checkpoint import load_state

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "notebooks/book/bring_your_own.md"
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The heading under which a program stands, and its number there.
PROGRAMS = {
    (heading.splitlines()[0], k): code
    for heading in PAGE.read_text().split("\n## ")[1:]
    for k, code in enumerate(CODE.findall(heading))
}
SHORT = {  # a user would write no more
    ("Your data", 0),
    ("Your data", 1),
    ("Sampling from a checkpoint", 0),
    ("Your condition", 4),
    ("Your rule and your table", 0),
    ("Your rule and your table", 1),
    ("One pass instead of two", 0),
    ("Stopping and resuming", 0),
}


@pytest.fixture(scope="module")
def trained() -> minicfg.Checkpoint:
    config = minicfg.TrainConfig(data="digits", steps=2, batch=8, width=8)
    return minicfg.Checkpoint.of(minicfg.train(minicfg.load_data("digits"), config))


@pytest.fixture
def folder(trained: minicfg.Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the programs read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/demo").mkdir(parents=True)
    minicfg.save(tmp_path / "runs/demo/model", trained)
    rng = np.random.default_rng(0)
    np.save("images.npy", rng.integers(0, 256, (20, 28, 28), dtype=np.uint8))
    np.save("labels.npy", np.arange(20) % 2)
    return tmp_path


def run(code: str) -> dict[str, Any]:
    """The names that a program leaves behind; its runs have 4 steps in place of 2000."""
    settings = code.count("TrainConfig(") + code.count("replace(teacher.config")
    assert settings == len(re.findall(r"steps=2000", code))
    short = code.replace("steps=2000", "steps=4, batch=8").replace("== 1000", "== 2")
    names: dict[str, Any] = {"__name__": "a program"}
    exec(compile(short, "program", "exec"), names)
    return names


@pytest.mark.exhaustive(one_in=4)
@pytest.mark.usefixtures("unchecked", "folder")
@pytest.mark.parametrize("key", PROGRAMS, ids=lambda key: f"{key[0]}, {key[1] + 1}")
def test_programs_of_the_page_run(key: tuple[str, int]) -> None:
    code = PROGRAMS[key]
    if "diffusers" in code:
        pytest.importorskip("diffusers", reason="the extra peers is not installed")
    names = run(code)
    for name in ("x", "pictures"):
        if name in names:
            assert len(names[name]) in (3, 4, 8) and bool(names[name].isfinite().all())
    if key in SHORT:
        lines = [line for line in code.splitlines() if line and not line.startswith("import")]
        assert len(lines) <= 10


@pytest.mark.usefixtures("unchecked", "folder")
def test_the_resumed_program_is_the_uninterrupted_run() -> None:
    names = run(PROGRAMS["Stopping and resuming", 0])
    whole = minicfg.train(names["data"], names["config"]).ema.module.state_dict()
    found = names["final"].ema.module.state_dict()
    assert names["final"].step == 4 and load_state("half").step == 2
    assert all(torch.equal(found[name], value) for name, value in whole.items())


@pytest.mark.usefixtures("unchecked")
def test_programs_of_the_readme_run(folder: Path) -> None:
    pages = ("README.md", "minicfg/README.md")
    programs = [code for page in pages for code in CODE.findall((ROOT / page).read_text())]
    names: dict[str, Any] = {}
    for code in programs:
        exec(compile(code, "README.md", "exec"), names)
    assert names["x"].shape == (2, 3, 32, 32) and names["whole"].shape == (10, 1, 8, 8)
    assert (folder / "runs/demo").is_dir()


@pytest.mark.exhaustive
@pytest.mark.usefixtures("unchecked", "folder")
def test_the_small_image_is_a_condition_that_can_be_dropped() -> None:
    names = run(PROGRAMS["Your condition", 1])
    model = names["state"].ema.module
    y = names["y"]
    assert y.shape == (8, 1, 4, 4) and not model.null(y).any()
    xt = torch.zeros(8, 1, 8, 8)
    t = torch.full((8,), 500)
    assert not torch.equal(model(xt, t, y), model(xt, t, model.null(y)))


@pytest.mark.exhaustive
@pytest.mark.usefixtures("unchecked", "folder")
def test_the_frozen_encoder_is_not_trained_and_its_null_is() -> None:
    names = run(PROGRAMS["Your condition", 2])
    state = names["state"]
    assert "characters" not in dict(state.model.named_parameters())
    assert state.model.nothing.any()  # it begins at 0
    assert torch.equal(names["encode"](["one"])[0, 0], names["characters"][ord("o")])
    other = names["encode"](["seven"] * 3)
    c = minicfg.Checkpoint.of(state)
    assert not torch.equal(minicfg.sample(c, other, w=1.0, steps=50), names["x"])
