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
ID = r"(?:\d+|[A-Q])\.\d+"
DISPLAY = re.compile(rf"^\$\$ (.+) \$\$ \(({ID})\)$", re.MULTILINE)
TEST = re.compile(r"def test_(\d+|[a-q])_(\d+)_by_(\w+)\(")


@dataclass(frozen=True)
class Lesson:
    """One module of tutorial/ or of tutorial/appendix/, taken apart."""

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
    """Its row in tutorial/README.md."""
    twin: str
    """The same in torch, from that row, as Markdown relative to tutorial/."""
    equations: dict[str, str]
    """LaTeX by ID."""
    routes: dict[str, list[str]]
    """By ID, how the tests reach it."""
    tests: str
    """The file of its tests."""

    @property
    def is_appendix(self) -> bool:
        """Whether it is a module of tutorial/appendix."""
        return not self.name.startswith("step")

    @property
    def number(self) -> str:
        """`4` of `step04_posterior`, `D` of `d_relevance`: what its equations begin with."""
        return self.name[0].upper() if self.is_appendix else str(int(self.name[4:6]))

    @property
    def path(self) -> str:
        """Its place below tutorial/ and tutorial/figures/, such as `appendix/d_relevance`."""
        return f"appendix/{self.name}" if self.is_appendix else self.name

    @property
    def module(self) -> str:
        """As it is imported, such as `tutorial.appendix.d_relevance`."""
        return "tutorial." + self.path.replace("/", ".")

    @property
    def test_file(self) -> str:
        """The file of its tests, from the root."""
        folder = "tests/tutorial/appendix" if self.is_appendix else "tests/tutorial"
        return f"{folder}/test_{self.name}.py"

    @property
    def marker(self) -> str:
        """The marker by which `pytest -m` selects its tests."""
        return f"appendix_{self.name[0]}" if self.is_appendix else self.name[:6]


def sorted_ids(ids: list[str]) -> list[str]:
    """`4.2` before `4.10`, for the equations of one lesson."""
    return sorted(ids, key=lambda i: int(i.partition(".")[2]))


def page_of_lessons() -> str:
    """The page with the tables of lessons and of the papers' equations."""
    return (ROOT / "tutorial/README.md").read_text(encoding="utf-8")


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
            found.setdefault(f"{n.upper()}.{k}", []).append(route)
    return found


def read(path: Path, row: list[str]) -> Lesson:
    """Take a module apart; `row` is its row in tutorial/README.md."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    title, _, derivation = (ast.get_docstring(tree) or "").partition("\n")
    folder = path.parent.relative_to(ROOT / "tutorial")
    drawing = (ROOT / "tutorial/figures" / folder / path.name).read_text(encoding="utf-8")
    functions = [n for n in ast.parse(drawing).body if isinstance(n, ast.FunctionDef)]
    figure = next(function for function in functions if function.name == "figure")
    docstring_ends = tree.body[0].end_lineno or 0
    tests = (ROOT / "tests/tutorial" / folder / f"test_{path.stem}.py").read_text(encoding="utf-8")
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
    """All lessons in the order of reading: the steps, then the appendix."""
    page = page_of_lessons()
    tables = [section(page, heading) for heading in ("## The steps", "## The appendix")]
    row = {re.sub(r".*?`(\w+)`.*", r"\1", r[2]): r for table in tables for r in rows(table)}
    steps = sorted((ROOT / "tutorial").glob("step*.py"))
    appendix = sorted((ROOT / "tutorial/appendix").glob("[a-q]_*.py"))
    return [read(path, row[path.stem]) for path in steps + appendix]
