"""Build the book: `make book`. Writes HTML that needs no network to runs/book."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

# What a browser fetches to show a page; a link that a reader may follow is none of it.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\ssrc=["']?(?:https?:)?//[^"'\s>]+
    |<link\b(?![^>]*rel=["']?(?:canonical|author|license))[^>]*\shref=["']?(?:https?:)?//[^"'\s>]+
    |@import\s+(?:url\()?["']?(?:https?:)?//[^"')\s]+
    |url\(["']?(?:https?:)?//[^"')\s]+""",
    re.VERBOSE | re.IGNORECASE,
)


def remote_resources(folder: Path) -> list[str]:
    """Scripts, styles, fonts and images that pages would fetch from elsewhere."""
    return [
        f"{path.relative_to(folder)}: {found[0]}"
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".html", ".css")
        for found in FETCHED.finditer(path.read_text(encoding="utf-8"))
    ]


def build(out: Path, work: Path) -> int:
    """Write the pages, draw what figures are missing, run Sphinx; a warning is an error."""
    from sphinx.cmd.build import build_main

    from notebooks.book import figures, lessons, pages

    source = work / "source"
    pages.write(source)
    names = [lesson.path for lesson in lessons.lessons()]
    names += [figures.KERNEL + name for name in pages.kernel_pictures()]
    figures.draw_all(names, work / "figures", source / "figures")
    shutil.rmtree(out, ignore_errors=True)
    strict = ["-b", "html", "-q", "-W", "--keep-going", "-n"]
    places = ["-c", str(HERE), "-d", str(work / "doctrees"), str(source), str(out)]
    status = build_main(strict + places)
    shutil.copytree(HERE / "play", out / "play")
    for fault in remote_resources(out):
        print(f"fetched from elsewhere: {fault}", file=sys.stderr)
        status = 1
    return status


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two figures are drawn side by side
    sys.exit(build(ROOT / "runs/book", ROOT / "runs/book-build"))
