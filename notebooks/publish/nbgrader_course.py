"""A course for nbgrader: one assignment per sitting, the solved notebook and its checks.

`python notebooks/publish/nbgrader_course.py` writes it into runs/course; the next commands are in
notebooks/README.md.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[1]
CONFIG = """c = get_config()
c.CourseDirectory.course_id = "minicfg"
c.Execute.timeout = 300  # seconds a cell, when a submission is run
"""


def write_course(out: Path) -> list[str]:
    """Write `out/source/<assignment>`, and the configuration if there is none; the assignments."""
    assignments = []
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        folder = out / "source" / path.stem
        hidden = shutil.ignore_patterns("__pycache__")
        shutil.copytree(NOTEBOOKS / "check", folder / "check", ignore=hidden, dirs_exist_ok=True)
        shutil.copy(path, folder)
        assignments.append(path.stem)
    if not (config := out / "nbgrader_config.py").exists():
        config.write_text(CONFIG, encoding="utf-8")
    return assignments


if __name__ == "__main__":
    out = Path(sys.argv[1] if sys.argv[1:] else "runs/course")
    for assignment in write_course(out):
        print(out / "source" / assignment)
