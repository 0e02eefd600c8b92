"""Every lesson is a program: it prints its title, its checks hold, and it saves its figure."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

ROOT = Path(__file__).parents[2]
LESSONS = [
    *sorted((ROOT / "tutorial").glob("step*.py")),
    *sorted((ROOT / "tutorial/appendix").glob("[a-q]_*.py")),
]


def test_every_lesson_has_a_module_with_its_figure_and_checks() -> None:
    modules = [
        *sorted((ROOT / "tutorial/figures").glob("step*.py")),
        *sorted((ROOT / "tutorial/figures/appendix").glob("[a-q]_*.py")),
    ]
    assert [path.stem for path in modules] == [path.stem for path in LESSONS]
    for path in modules:
        tree = ast.parse(path.read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert {"checks", "figure"} <= functions, path


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_draws_nothing_itself(lesson: Path) -> None:
    """A lesson imports its figure, and with it matplotlib, only when it runs as a program."""
    tree = ast.parse(lesson.read_text())
    main = tree.body.pop()
    assert isinstance(main, ast.If) and ast.unparse(main.test) == "__name__ == '__main__'"
    imports = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
    source = "\n".join(ast.unparse(node) for node in imports)
    assert "matplotlib" not in source and "tutorial.figures" not in source


def test_a_lesson_runs_without_its_docstring(tmp_path: Path) -> None:
    """`python -OO` drops docstrings, so the title is the name of the lesson."""
    ran = subprocess.run(
        [sys.executable, "-OO", "-m", "tutorial.step04_posterior"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("step04_posterior")


@pytest.mark.slow
@pytest.mark.exhaustive(one_in=6)
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_runs_as_a_program(lesson: Path, tmp_path: Path) -> None:
    name = lesson.relative_to(ROOT / "tutorial").with_suffix("")  # such as appendix/a_elbo
    done = subprocess.run(
        [sys.executable, "-m", f"tutorial.{'.'.join(name.parts)}"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},  # others run beside it
        capture_output=True,
        text=True,
        timeout=120,  # a lesson takes under 15 s on an idle machine; this one may be busy
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""  # no warnings
    title = (ast.get_docstring(ast.parse(lesson.read_text())) or "").partition("\n")[0]
    assert done.stdout.partition("\n")[0].strip() == title.replace("$", "").strip()
    assert "ok" in done.stdout and "FAILS" not in done.stdout
    picture = matplotlib.image.imread(tmp_path / f"runs/tutorial/{name}.png")
    assert picture.shape[0] > 300 and picture.shape[1] > 600  # pixels, at 150 an inch
    assert picture[..., :3].std() > 0.02  # lines on white give 0.1 and more; an empty page, 0
