"""What the book is made from: the lessons as they are, their equations, and the tests of each.

Nothing here needs Sphinx. The rules by which equations and tests are found are those that
tests/test_course_map.py demands of every lesson.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DISPLAY = re.compile(r"^\$\$ (.+) \$\$ \((\d+\.\d+)\)$", re.MULTILINE)
TEST = re.compile(r"def test_(\d+)_(\d+)_by_(\w+)\(")


@dataclass(frozen=True)
class Lesson:
    """One module of tutorial/, taken apart."""

    name: str
    title: str
    """As in `Step 4. The posterior ...`, with its mathematics."""
    derivation: str
    """The docstring after the title."""
    code: str
    """The module after the docstring."""
    drawing: str
    """The module in tutorial/figures with its figure and its checks."""
    caption: str
    """What its figure shows."""
    claim: str
    """Its row in the README."""
    twin: str
    """The same in torch, from that row, as Markdown relative to the root."""
    equations: dict[str, str]
    """LaTeX by ID."""
    routes: dict[str, list[str]]
    """By ID, how the tests reach it."""
    tests: str
    """The file of its tests."""

    @property
    def step(self) -> int:
        """4 of `step04_posterior`."""
        return int(self.name[4:6])

    @property
    def part(self) -> int:
        """2 of `Step 13, part 2.`; 1 if there are no parts or this is the first."""
        found = re.match(r"Step \d+, part (\d+)\.", self.title)
        return int(found[1]) if found else 1


def sorted_ids(ids: list[str]) -> list[str]:
    """`4.2` before `4.10`."""
    return sorted(ids, key=lambda i: [int(number) for number in i.split(".")])


def readme() -> str:
    """The front page of the checkout, which has tables that the book shows."""
    return (ROOT / "README.md").read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next."""
    after = text.partition(f"\n{heading}\n")[2]
    if not after:
        raise ValueError(f"no heading {heading!r}")
    return re.split(r"^#+ ", after, maxsplit=1, flags=re.MULTILINE)[0].strip()


def rows(table: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def routes_of(tests: str) -> dict[str, list[str]]:
    """By ID, the routes of `test_N_k_by_<route>`; refusals of bad input are none."""
    found: dict[str, list[str]] = {}
    for n, k, route in TEST.findall(tests):
        if not route.startswith("refusal"):
            found.setdefault(f"{n}.{k}", []).append(route)
    return found


def read(path: Path, row: list[str]) -> Lesson:
    """Take a module apart; `row` is its row in the README's table of lessons."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    title, _, derivation = (ast.get_docstring(tree) or "").partition("\n")
    drawing = (ROOT / "tutorial/figures" / path.name).read_text(encoding="utf-8")
    functions = [n for n in ast.parse(drawing).body if isinstance(n, ast.FunctionDef)]
    figure = next(function for function in functions if function.name == "figure")
    docstring_ends = tree.body[0].end_lineno or 0
    tests = (ROOT / "tests/tutorial" / f"test_{path.stem}.py").read_text(encoding="utf-8")
    return Lesson(
        name=path.stem,
        title=title,
        derivation=derivation.strip(),
        code="\n".join(source.splitlines()[docstring_ends:]).strip() + "\n",
        drawing=drawing,
        caption=" ".join((ast.get_docstring(figure) or "").split()),
        claim=row[1],
        twin=row[4],
        equations={i: tex for tex, i in DISPLAY.findall(derivation)},
        routes=routes_of(tests),
        tests=tests,
    )


def lessons() -> list[Lesson]:
    """All lessons in the order of reading."""
    row = {
        re.sub(r".*?`(step\w+)`.*", r"\1", r[2]): r
        for r in rows(section(readme(), "## The lessons"))
    }
    found = [read(path, row[path.stem]) for path in (ROOT / "tutorial").glob("step*.py")]
    return sorted(found, key=lambda lesson: (lesson.step, lesson.part, lesson.name))
