"""The edition for hosted services: two cells fetch the course and keep the machine's torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from notebooks.publish import hosted

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / ".binder/requirements.txt"

# What a service does with the two cells, but with a pip that only prints its arguments.
RUN = """
import sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shell.register_magic_function(lambda line: print("pip", line), magic_name="pip")
for cell in {cells!r}:
    shell.run_cell(cell).raise_error()
print("folder", Path.cwd())
print("path", sys.path[:2])
shell.run_cell("import check, tutorial; print('check', check.__file__, tutorial.__file__)")
"""


def test_a_hosted_notebook_is_the_students_with_two_cells_in_front(tmp_path: Path):
    written = hosted.write_hosted_edition(tmp_path, "https://example.org/minicfg")
    assert len(written) == len(list((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")))
    for path in written:
        clone, install, title, *_ = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert "git clone --quiet --depth 1 https://example.org/minicfg {home}" in clone["source"]
        assert "%pip install" in install["source"]
        assert "".join(title["source"]).startswith("# ")
        assert "### BEGIN SOLUTION" not in path.read_text(encoding="utf-8")
    assert hosted.write_hosted_edition(tmp_path, "https://example.org/minicfg") == []


@pytest.mark.slow
def test_the_two_cells_fetch_the_course_and_pin_the_machines_torch(tmp_path: Path):
    if not (ROOT / ".git").exists():
        pytest.skip("the course is not a git repository here, so it cannot be cloned")
    notebook = hosted.hosted_notebook({"cells": []}, f"file://{ROOT}")
    cells = [cell["source"] for cell in notebook["cells"]]
    for _ in range(2):  # the second time the course is there
        ran = subprocess.run(
            [sys.executable, "-c", RUN.format(cells=cells)],
            cwd=tmp_path,
            env=os.environ | {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        home = tmp_path / "minicfg"
        assert f"pip install --quiet -c {home}/kept.txt -e {home}[torch]" in ran.stdout
        assert f"folder {home}/notebooks" in ran.stdout
        assert f"path ['{home}', '{home}/notebooks']" in ran.stdout
        assert f"check {home}/notebooks/check/__init__.py {home}/tutorial/" in ran.stdout
    kept = (home / "kept.txt").read_text(encoding="utf-8").splitlines()
    assert f"torch=={version('torch')}" in kept and f"numpy=={version('numpy')}" in kept


def test_the_environment_of_a_service_has_the_notebooks_extra_and_no_torch():
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "-c ../constraints.txt",
        "-e .[notebooks]",
    ]
    assert (REQUIREMENTS.parent / "../constraints.txt").resolve().is_file()
    command = (REQUIREMENTS.parent / "postBuild").read_text(encoding="utf-8").split()
    assert (ROOT / command[-2]).is_file() and command[-1] == "runs/student"
    assert os.access(REQUIREMENTS.parent / "postBuild", os.X_OK)
