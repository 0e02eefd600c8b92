"""Text of this checkout, for the book: numbers, steps, papers and files become links within it."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from notebooks.book.lessons import ID

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


def anchor_of(path: str, targets: Targets) -> str | None:
    """Where the book has a file of the checkout, if it does."""
    if path in ("kernels", "kernels/README.md"):
        return "#kernel-lecture"
    if found := re.fullmatch(r"notebooks/(\d\d_\w+)\.(?:ipynb|py)", path):
        return f"/notebooks/{found[1]}.ipynb" if found[1] in targets.notebooks else None
    stem = posixpath.splitext(path)[0]
    name = stem.rpartition("/")[2]
    if name.removeprefix("test_") in targets.lessons:
        return f"#tests-{name[5:]}" if name.startswith("test_") else f"#lesson-{name}"
    module = stem.replace("/", ".")
    return f"#api-{module.replace('.', '-')}" if module in targets.modules else None


def with_files_linked(text: str, folder: str, targets: Targets) -> str:
    """Let links to files, relative to `folder`, lead to their place in the book, or to none."""

    def link(found: re.Match[str]) -> str:
        if re.match(r"[a-z]+:", found[2]):
            return found[0]
        path = posixpath.normpath(posixpath.join(folder, found[2]))
        anchor = anchor_of(path, targets)
        return f"[{found[1]}]({anchor})" if anchor else found[1]

    def code(found: re.Match[str]) -> str:
        anchor = anchor_of(found[1], targets)
        return f"[{found[0]}]({anchor})" if anchor else found[0]

    text = LINK.sub(link, text)
    return re.sub(r"(?<!\[)`((?:tutorial|minicfg|kernels|tests)/[\w/]+\.py)`", code, text)


def cell_mathematics(tex: str) -> str:
    r"""Mathematics for a cell of a table, where a bar would end the cell."""
    return "$" + tex.replace(r"\|", r"\Vert ").replace("|", r"\vert ") + "$"
