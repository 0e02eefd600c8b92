"""The student edition: every notebook without its solutions and outputs, and `check`.

`make lab` writes it into runs/student and opens it. What it leaves out are the lines
from `### BEGIN SOLUTION` to `### END SOLUTION`. With nbgrader, `nbgrader generate_assignment` does
the same from the notebooks as they are.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[1]
SOLUTION = re.compile(
    r"^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION", re.DOTALL | re.MULTILINE
)


def without_solutions(source: str) -> str:
    """A cell's source for a student: a stub in a function, a comment where a value was set."""
    return SOLUTION.sub(
        lambda found: (
            f"{found[1]}# YOUR CODE HERE"
            + (f"\n{found[1]}raise NotImplementedError" * bool(found[1]))
        ),
        source,
    )


def student_notebook(notebook: dict) -> dict:
    """The same notebook, unsolved, not yet run, and not paired with a script."""
    cells = []
    for cell in notebook["cells"]:
        cell = {**cell, "source": without_solutions("".join(cell["source"]))}
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
        cells.append(cell)
    metadata = {k: v for k, v in notebook["metadata"].items() if k not in ("widgets", "jupytext")}
    return {**notebook, "metadata": metadata, "cells": cells}


def write_student_edition(out: Path) -> list[Path]:
    """Write all notebooks and `check` into `out`; never over work that is already there."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        if (target := out / path.name).exists():
            print(f"{target} is there already and is left as it is")
            continue
        notebook = student_notebook(json.loads(path.read_text(encoding="utf-8")))
        target.write_text(json.dumps(notebook, indent=1) + "\n", encoding="utf-8")
        written.append(target)
    hidden = shutil.ignore_patterns("__pycache__")
    shutil.copytree(NOTEBOOKS / "check", out / "check", ignore=hidden, dirs_exist_ok=True)
    return written


if __name__ == "__main__":
    for written in write_student_edition(Path(sys.argv[1] if sys.argv[1:] else "runs/student")):
        print(written)
