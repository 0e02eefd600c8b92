"""Text of this checkout, for the book: numbers, steps, papers and files become links within it.

A link to a file of the checkout that the book does not contain becomes the path of the file. A link
to a file that does not exist is an error.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from notebooks.book.lessons import ID, ROOT

# What no link may be made in: fenced code, mathematics, code, links and headings.
APART = re.compile(
    rf"(```.*?^```|\$\$.*?\$\$(?: \({ID}\))?|\$[^$]+\$|`[^`\n]+`|!?\[[^\]]*\]\([^)]*\)|^#.*?$)",
    re.DOTALL | re.MULTILINE,
)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")
TOKEN = re.compile(
    rf"\((?P<id>{ID})\)|\b(?:[Ss]tep (?P<step>\d+)|[Aa]ppendix (?P<appendix>[A-Q]))\b"
    r"|arXiv:(?P<paper>\d{4}\.\d{4,5})"
)


@dataclass(frozen=True)
class Targets:
    """What there is to link to: equations, lessons by number or letter, modules, papers."""

    equations: frozenset[str]
    numbers: dict[str, str]
    lessons: frozenset[str]
    modules: frozenset[str]
    papers: frozenset[str]
    notebooks: frozenset[str]
    pages: Mapping[str, str]
    """By the path of a file or folder of the checkout, the page of the book that contains it."""


def equation_anchor(i: str) -> str:
    """`eq-4-1` of `4.1`, `eq-d-2` of `D.2`."""
    return f"eq-{i.lower().replace('.', '-')}"


def paper_anchor(paper: str) -> str:
    """`arxiv-2207-12598` of `2207.12598`."""
    return f"arxiv-{paper.replace('.', '-')}"


def with_tokens_linked(text: str, targets: Targets) -> str:
    """Link `(4.5)`, `step 4`, `appendix D` and arXiv ids outside of code and mathematics."""

    def link(found: re.Match[str]) -> str:
        i, number, paper = found["id"], found["step"] or found["appendix"], found["paper"]
        if i in targets.equations:
            return f"[({i})](#{equation_anchor(i)})"
        if number in targets.numbers:
            return f"[{found[0]}](#lesson-{targets.numbers[number]})"
        if paper in targets.papers:
            return f"[{found[0]}](#{paper_anchor(paper)})"
        return found[0]

    parts = APART.split(text)
    return "".join(part if k % 2 else TOKEN.sub(link, part) for k, part in enumerate(parts))


def place_of(path: str, targets: Targets) -> str | None:
    """The place in the book of a file of the checkout, as the target of a link, if it has one."""
    if path in targets.pages:
        return f"/{targets.pages[path]}"
    if found := re.fullmatch(r"notebooks/(\d\d_\w+)\.(?:ipynb|py)", path):
        return f"/notebooks/{found[1]}.ipynb" if found[1] in targets.notebooks else None
    stem = posixpath.splitext(path)[0]
    name = stem.rpartition("/")[2]
    if name.removeprefix("test_") in targets.lessons:
        return f"#tests-{name[5:]}" if name.startswith("test_") else f"#lesson-{name}"
    module = stem.replace("/", ".")
    return f"#api-{module.replace('.', '-')}" if module in targets.modules else None


def with_files_linked(text: str, folder: str, targets: Targets) -> str:
    """Let links to files, relative to `folder`, lead to their place in the book.

    A file that the book does not contain is named by its path in the checkout.

    Raises:
        FileNotFoundError: if a link leads to a file that the checkout does not have.
    """

    def link(found: re.Match[str]) -> str:
        words, target, fragment = found[1], found[2], found[3] or ""
        if re.match(r"[a-z]+:", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        place = place_of(path, targets)
        if place is not None:
            return f"[{words}]({place}{fragment if place.endswith('.md') else ''})"
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"[{words}]({target}), in a file of {folder}/, leads nowhere")
        named_already = words.strip("`").rstrip("/") in (path, posixpath.basename(path))
        return f"`{path}`" if named_already else f"{words} (`{path}`)"

    def code(found: re.Match[str]) -> str:
        place = place_of(found[1], targets)
        return f"[{found[0]}]({place})" if place else found[0]

    text = LINK.sub(link, text)
    return re.sub(r"(?<!\[)`((?:tutorial|minicfg|kernels|tests)/[\w/]+\.py)`", code, text)


def cell_mathematics(tex: str) -> str:
    r"""Mathematics for a cell of a table, where a bar would end the cell."""
    return "$" + tex.replace(r"\|", r"\Vert ").replace("|", r"\vert ") + "$"
