"""From the notebooks to a table of grades, by nbgrader's own commands."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from notebooks.publish import nbgrader_course as course

ASSIGNMENT = "01_forward_process"
ANSWERS = {  # one right, one wrong, and two that are not there
    "ex_1_1": "def one_step(x, beta, z):\n    return (1 - beta) ** 0.5 * x + beta**0.5 * z",
    "ex_1_2": "variance = 4 + 0.36",
}
# A check that is replaced while the notebook runs. The README of the notebooks says that this earns
# the point, because answers and checks run in one process.
REPLACED = {"ex_1_1": "import check\n\ncheck.ex_1_1 = print\none_step = 'nothing'"}


def answer(path: Path, answers: dict[str, str]) -> None:
    """Fill in cells as a student does, and leave all others as they were handed out."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        cell["source"] = answers.get(name, cell["source"])
    path.write_text(json.dumps(notebook), encoding="utf-8")


def test_an_assignment_is_a_notebook_and_its_checks(tmp_path: Path):
    assignments = course.write_course(tmp_path)
    notebooks = sorted(course.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    assert assignments == [path.stem for path in notebooks]
    for assignment in assignments:
        assert (tmp_path / "source" / assignment / f"{assignment}.ipynb").is_file()
        assert (tmp_path / "source" / assignment / "check" / "exercise.py").is_file()
    (mine := tmp_path / "nbgrader_config.py").write_text("mine")
    course.write_course(tmp_path)
    assert mine.read_text() == "mine"


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.skipif(
    importlib.util.find_spec("nbgrader") is None, reason="the extra instructor is not installed"
)
def test_the_round_trip_ends_in_a_table_of_grades(tmp_path: Path):
    def nbgrader(*command: str) -> None:
        run = [sys.executable, "-m", "nbgrader", *command]
        # As in an activated environment: it starts alembic by its name.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        given = {"cwd": tmp_path, "env": {**os.environ, "PATH": path}, "timeout": 300}
        ran = subprocess.run(run, capture_output=True, text=True, **given)
        assert ran.returncode == 0, ran.stderr[-3000:]

    course.write_course(tmp_path)
    nbgrader("generate_assignment", ASSIGNMENT, "--create")
    released = tmp_path / "release" / ASSIGNMENT
    text = (released / f"{ASSIGNMENT}.ipynb").read_text(encoding="utf-8")
    assert "SOLUTION" not in text
    assert text.count("YOUR CODE HERE") == 4

    handed_in = tmp_path / "submitted" / "ada" / ASSIGNMENT
    shutil.copytree(released, handed_in)
    answer(handed_in / f"{ASSIGNMENT}.ipynb", ANSWERS)
    # Checks that a student has rewritten are not those that grade.
    (handed_in / "check" / "__init__.py").write_text("ex_1_3 = ex_1_4 = print")
    replacing = tmp_path / "submitted" / "eve" / ASSIGNMENT
    shutil.copytree(released, replacing)
    answer(replacing / f"{ASSIGNMENT}.ipynb", REPLACED)
    nbgrader("autograde", ASSIGNMENT)
    nbgrader("export", "--to", "grades.csv")
    with open(tmp_path / "grades.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["assignment"] == ASSIGNMENT]
    graded = {row["student_id"]: (row["score"], row["max_score"]) for row in rows}
    assert graded == {"ada": ("1.0", "4.0"), "eve": ("1.0", "4.0")}

    of_ada = tmp_path / "autograded" / "ada" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    shown = of_ada.read_text(encoding="utf-8")
    assert "Exercise 1.1: right." in shown
    assert "Exercise 1.2: " in shown  # the hint, for the student to read
    assert shown.count("not attempted yet.") >= 2
