"""Each notebook and its script are one; what is stored in it came from a clean run, in order."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
import pytest

from notebooks.publish import student

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
# The quick sittings, which `make hardening` runs: 61 of the 336 seconds of processor time in the
# table of notebooks/README.md. `make notebooks` runs all.
SHORT = [path for path in SCRIPTS if path.name[:2] in ("01", "02", "03", "09")]
by_notebook = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def code(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in cells(path) if cell["cell_type"] == "code"]


def printed(path: Path) -> list[str]:
    """What each cell printed, without its pictures."""
    return ["".join("".join(out.get("text", "")) for out in cell["outputs"]) for cell in code(path)]


def pictured(cell: dict[str, Any]) -> bool:
    return any("image/" in kind for out in cell["outputs"] for kind in out.get("data", {}))


@by_notebook
def test_script_and_notebook_say_the_same(script: Path):
    made = jupytext.writes(jupytext.read(script), fmt="ipynb")
    kept = ("cell_type", "source")
    left, right = json.loads(made)["cells"], cells(script.with_suffix(".ipynb"))
    assert [[c[k] for k in kept] for c in left] == [[c[k] for k in kept] for c in right]
    for key in ("nbgrader", "alt"):
        of_both = [[c["metadata"].get(key) for c in side] for side in (left, right)]
        assert of_both[0] == of_both[1]


@by_notebook
def test_jupyter_saves_both_of_a_pair(script: Path):
    """jupytext writes the script whenever the notebook is saved, where both name the formats."""
    header = script.read_text(encoding="utf-8").split("# ---\n")[1]
    assert "#   jupytext:\n#     formats: ipynb,py:percent\n" in header
    notebook = json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))
    assert notebook["metadata"]["jupytext"]["formats"] == "ipynb,py:percent"


@by_notebook
def test_outputs_are_of_a_clean_run_in_order(script: Path):
    ran = code(script.with_suffix(".ipynb"))
    assert [cell["execution_count"] for cell in ran] == list(range(1, len(ran) + 1))
    for cell in ran:
        for out in cell["outputs"]:
            assert out["output_type"] != "error"
            assert out.get("name") != "stderr", "".join(out["text"])


@by_notebook
def test_a_notebook_is_small_and_says_no_machine_path(script: Path):
    text = script.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert len(text.encode()) < 1_500_000
    assert not re.search(r"/(home|root|work|Users)/", text)


@by_notebook
def test_every_third_code_cell_at_least_has_a_picture(script: Path):
    without = 0
    for cell in code(script.with_suffix(".ipynb")):
        without = 0 if pictured(cell) else without + 1
        assert without < 3, "".join(cell["source"])


@by_notebook
def test_every_picture_is_described_in_a_sentence(script: Path):
    """For readers who do not see it. The text is the metadata `alt` of the cell."""
    texts = []
    for cell in code(script.with_suffix(".ipynb")):
        alt = cell["metadata"].get("alt", "")
        assert bool(alt) == pictured(cell), "".join(cell["source"])
        if alt:
            texts.append(alt)
            assert len(alt.split()) >= 8 and alt.endswith("."), alt
            assert "$" not in alt and "`" not in alt, alt  # a screen reader would spell them
    assert len(texts) == len(set(texts))


@by_notebook
def test_it_opens_and_closes_as_the_course_does(script: Path):
    first, *_, last = ("".join(cell["source"]) for cell in cells(script.with_suffix(".ipynb")))
    assert "**After this sitting you can**" in first
    assert last.startswith("## You now know")
    for path in re.findall(r"`((?:tutorial|minicfg)/\w+\.py)`", first + last):
        assert (ROOT / path).is_file()


@by_notebook
def test_a_notebook_redefines_nothing_of_the_lessons(script: Path):
    defined = set(re.findall(r"^def (\w+)", script.read_text(encoding="utf-8"), re.M))
    lessons = {
        name
        for path in (ROOT / "tutorial").glob("*.py")
        for name in re.findall(r"^ *(?:def|class) (\w+)", path.read_text(encoding="utf-8"), re.M)
    }
    assert not defined & lessons


@by_notebook
def test_exercises_carry_what_nbgrader_asks_for(script: Path):
    graded = [c["metadata"].get("nbgrader") for c in code(script.with_suffix(".ipynb"))]
    ids = [grading["grade_id"] for grading in graded if grading]
    assert len(ids) == len(set(ids)) >= 8
    for cell in code(script.with_suffix(".ipynb")):
        grading, source = cell["metadata"].get("nbgrader", {}), "".join(cell["source"])
        assert source.count("### BEGIN SOLUTION") == bool(grading.get("solution"))
        assert source.count("### END SOLUTION") == bool(grading.get("solution"))
        assert ("check.ex_" in source) == bool(grading.get("grade"))


def test_the_student_edition_has_no_solution_and_no_output(tmp_path: Path):
    written = student.write_student_edition(tmp_path / "edition")
    assert [path.name for path in written] == [s.with_suffix(".ipynb").name for s in SCRIPTS]
    for path, script in zip(written, SCRIPTS, strict=True):
        text = path.read_text(encoding="utf-8")
        assert "SOLUTION" not in text
        assert "jupytext" not in json.loads(text)["metadata"]  # a save writes one file
        assert not any(cell["outputs"] for cell in code(path))
        solutions = script.read_text(encoding="utf-8").count("### BEGIN SOLUTION")
        assert text.count("# YOUR CODE HERE") == solutions
        assert len(cells(path)) == len(cells(script.with_suffix(".ipynb")))
    assert (tmp_path / "edition" / "check" / "__init__.py").is_file()


def test_the_student_edition_is_not_written_over_work(tmp_path: Path):
    (mine := tmp_path / SCRIPTS[0].with_suffix(".ipynb").name).write_text("my answers")
    student.write_student_edition(tmp_path)
    assert mine.read_text() == "my answers"


def test_what_a_student_sees_in_the_place_of_a_solution():
    block = "### BEGIN SOLUTION\n{0}return x\n{0}### END SOLUTION"
    function = "def f(x):\n    " + block.format("    ")
    stub = "def f(x):\n    # YOUR CODE HERE\n    raise NotImplementedError"
    assert student.without_solutions(function) == stub
    assert student.without_solutions("w = ...\n" + block.format("")) == "w = ...\n# YOUR CODE HERE"


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("script", SHORT, ids=lambda path: path.stem)
def test_a_run_prints_what_is_stored(script: Path, tmp_path: Path):
    made = tmp_path / "made.ipynb"
    run = [sys.executable, "-m", "jupytext", "--to", "notebook", "--execute"]
    run += ["--run-path", str(script.parent), "--output", str(made), str(script)]
    subprocess.run(run, check=True, capture_output=True, timeout=120)
    assert printed(made) == printed(script.with_suffix(".ipynb"))
