"""The student edition for a hosted service: each notebook begins by fetching the course.

    python -m notebooks.publish.hosted https://host/owner/minicfg

writes it into runs/hosted. Upload one of its notebooks to a service that runs notebooks, or publish
the folder. The first two cells clone the repository and install what the machine lacks. They keep
the machine's torch, triton and NumPy: pip gets their versions as constraints, and fails if minicfg
cannot run with them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from notebooks.publish.student import write_student_edition

CLONE = """\
# 1. Fetch the course. A second run finds it there.
from pathlib import Path

home = Path.home() / "minicfg"
if not home.exists():
    !git clone --quiet --depth 1 {repository} {{home}}
%cd {{home}}/notebooks"""

INSTALL = """\
# 2. Install what is missing. The torch, triton and NumPy of this machine stay as they are.
import sys
from importlib.metadata import distributions

kept = {d.name: d.version for d in distributions() if d.name in ("numpy", "torch", "triton")}
constraints = home / "kept.txt"
constraints.write_text("".join(f"{name}=={version}\\n" for name, version in kept.items()))
extra = "[torch]" if "torch" in kept else ""
%pip install --quiet -c {constraints} -e {home}{extra}
sys.path[:0] = [str(home), str(home / "notebooks")]"""


def hosted_notebook(notebook: dict[str, Any], repository: str) -> dict[str, Any]:
    """The notebook behind two cells that clone `repository` and install what is missing."""
    sources = (CLONE.format(repository=repository), INSTALL)
    cells = [
        {
            "cell_type": "code",
            "id": f"hosted-{number}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(sources, 1)
    ]
    return {**notebook, "cells": cells + notebook["cells"]}


def write_hosted_edition(out: Path, repository: str) -> list[Path]:
    """Write the student edition into `out`, and put the two cells in front of each notebook.

    Notebooks that are in `out` already are left as they are.
    """
    written = write_student_edition(out)
    for path in written:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        hosted = hosted_notebook(notebook, repository)
        path.write_text(json.dumps(hosted, indent=1) + "\n", encoding="utf-8")
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the student edition for hosted services.")
    parser.add_argument("repository", help="where git clones the course from")
    parser.add_argument("--out", type=Path, default=Path("runs/hosted"), help="folder to write")
    options = parser.parse_args()
    for path in write_hosted_edition(options.out, options.repository):
        print(path)
