"""Two routes to every equation run the line of code that computes it, or one does beside a proof.

A route is a test `test_N_k_by_<route>`. A test of that name can compare other code with itself, and
then no change of the lesson makes it fail. So these tests follow the names in the source: from the
route to the helpers of its file, to the functions of the lessons, and to what those call. A route
verifies the equation (N.k) if it comes to the definition in which a comment carries (N.k).

A test that shows the equation without that code, in symbols for example, may be marked with
`pytest.mark.proof` and is then one of the two routes. Further tests of an equation may do as they
like.

A method is found by its name alone, in whatever class of the lessons it stands. So the graph can
contain a path that no run takes. It lacks calls by strings, which nothing here uses.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ID = re.compile(r"\(((?:\d+|[A-Q])\.\d+)\)")
TEST_NAME = re.compile(r"test_(\d+|[a-q])_(\d+)_by_(\w+)")

Node = tuple[str, str]  # a module and a name that stands on its top level, or `Class.method`


@dataclass
class Module:
    """One parsed file.

    Attributes:
        definitions: every top-level name, and every `Class.method`, with the code that defines it.
        imports: every imported name: of a module, or of a name in a module.
        carried: of every equation, the definitions in which a comment carries its ID.
    """

    definitions: dict[str, list[ast.AST]] = field(default_factory=dict)
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    carried: dict[str, set[str]] = field(default_factory=dict)


def parse(source: str) -> Module:
    """Read the definitions, the imports and the comments of one file."""
    module = Module()
    tree = ast.parse(source)
    spans: list[tuple[int, int, str]] = []
    for statement in tree.body:
        for name in _names_of(statement):
            module.definitions.setdefault(name, []).append(statement)
            spans.append((_first_line(statement), statement.end_lineno or 0, name))
        if isinstance(statement, ast.ClassDef):
            for part in statement.body:
                if isinstance(part, ast.FunctionDef):
                    name = f"{statement.name}.{part.name}"
                    module.definitions.setdefault(name, []).append(part)
                    spans.append((_first_line(part), part.end_lineno or 0, name))
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(origin), names=names):
                for alias in names:
                    module.imports[alias.asname or alias.name] = (origin, alias.name)
            case ast.Import(names=names):
                for alias in names:
                    module.imports[alias.asname or alias.name.split(".")[0]] = (alias.name, None)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            around = [span for span in spans if span[0] <= token.start[0] <= span[1]]
            for equation in ID.findall(token.string):
                # The innermost definition: a method, and not its whole class.
                if around:
                    smallest = min(around, key=lambda span: span[1] - span[0])
                    module.carried.setdefault(equation, set()).add(smallest[2])
    return module


def _names_of(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            for target in targets:
                yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _first_line(statement: ast.stmt) -> int:
    decorators = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(d.lineno for d in decorators)])


@dataclass
class Graph:
    """The files of the lessons and of the tests, by the names under which they are imported."""

    modules: dict[str, Module]

    def __post_init__(self) -> None:
        self._edges: dict[Node, list[Node]] = {}
        self._methods: dict[str, list[Node]] = {}
        for name, module in self.modules.items():
            for definition in module.definitions:
                if "." in definition:
                    self._methods.setdefault(definition.split(".")[1], []).append(
                        (name, definition)
                    )

    def reachable(self, start: Node) -> set[Node]:
        """Everything that the code of `start` names, and what that names, and so on."""
        seen: set[Node] = set()
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            if node not in self._edges:
                self._edges[node] = self._named_by(node)
            waiting += self._edges[node]
        return seen

    def _named_by(self, node: Node) -> list[Node]:
        name, definition = node
        module = self.modules[name]
        found: list[Node] = []
        for code in module.definitions.get(definition, []):
            is_class = isinstance(code, ast.ClassDef)
            if is_class:
                # A class that is named is constructed. Its other methods have names of their own.
                for method in ("__init__", "__post_init__", "__call__"):
                    if f"{definition}.{method}" in module.definitions:
                        found.append((name, f"{definition}.{method}"))
                continue
            for part in ast.walk(code):
                match part:
                    case ast.Name(id=used) | ast.arg(arg=used):
                        found += self._resolve(name, used)
                    case ast.Attribute(value=ast.Name(id=owner), attr=used) if (
                        self._module_of(name, owner) is not None
                    ):
                        found += self._resolve(str(self._module_of(name, owner)), used)
                    case ast.Attribute(attr=used):
                        found += self._methods.get(used, [])
        return found

    def _module_of(self, name: str, owner: str) -> str | None:
        """The module that `owner` stands for in the file `name`, or None."""
        origin, member = self.modules[name].imports.get(owner, ("", None))
        for candidate in (origin, f"{origin}.{member}"):
            if candidate in self.modules and (member is None or candidate != origin):
                return candidate
        return None

    def _resolve(self, name: str, used: str) -> list[Node]:
        """The definition of a name that the file `name` uses, if a file of the graph has it."""
        if name not in self.modules:
            return []
        module = self.modules[name]
        if used in module.definitions:
            return [(name, used)]
        origin, member = module.imports.get(used, ("", None))
        if member is not None and origin in self.modules:
            return self._resolve(origin, member)
        return []


def module_name(root: Path, path: Path) -> str:
    """`tutorial.step04_posterior` of `tutorial/step04_posterior.py`."""
    return ".".join(path.relative_to(root).with_suffix("").parts)


def is_proof(test: ast.FunctionDef) -> bool:
    """Whether the test is marked `pytest.mark.proof`."""
    return any(ast.unparse(d).startswith("pytest.mark.proof") for d in test.decorator_list)


def route_faults(lesson: str, tests: str, graph: Graph) -> list[str]:
    """The equations that too few routes verify, and proofs that are none.

    Args:
        lesson: the name under which the lesson is imported.
        tests: the same of its tests.
        graph: of both, and of all other lessons and helpers.
    """
    faults: list[str] = []
    running: dict[str, list[str]] = {}
    proofs: dict[str, list[str]] = {}
    carried = graph.modules[lesson].carried
    for name, definitions in graph.modules[tests].definitions.items():
        test = definitions[-1]
        match = TEST_NAME.fullmatch(name)
        if not match or match[3].startswith("refusal") or not isinstance(test, ast.FunctionDef):
            continue
        equation = f"{match[1].upper()}.{match[2]}"
        reached = graph.reachable((tests, name))
        runs_it = any((lesson, carrier) in reached for carrier in carried.get(equation, ()))
        running.setdefault(equation, [])
        proofs.setdefault(equation, [])
        if runs_it:
            running[equation].append(match[3])
        if is_proof(test):
            proofs[equation].append(match[3])
            if runs_it:
                faults.append(f"{name}: marked as a proof, but it runs the line of ({equation})")
    for equation, found in running.items():
        if not found or len(found) + min(1, len(proofs[equation])) < 2:
            where = ", ".join(sorted(carried.get(equation, ()))) or "no line"
            faults.append(
                f"{lesson}: ({equation}) is computed in {where}; the routes that run it are "
                f"{found}, the proofs {proofs[equation]}"
            )
    return faults


def files() -> list[Path]:
    """Every lesson, and every file of tests and helpers."""
    return [*(ROOT / "tutorial").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]


LESSONS = [
    *sorted((ROOT / "tutorial").glob("step*.py")),
    *sorted((ROOT / "tutorial/appendix").glob("[a-q]_*.py")),
]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph({module_name(ROOT, path): parse(path.read_text()) for path in files()})


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_routes_run_the_line_of_their_equation(path: Path, graph: Graph) -> None:
    lesson = module_name(ROOT, path)
    tests = lesson.replace("tutorial.", "tests.tutorial.").replace(path.stem, f"test_{path.stem}")
    assert route_faults(lesson, tests, graph) == []


LESSON = """
def double(x):
    return 2 * x  # (4.1)


def four_times(x):
    return double(double(x))


class Line:
    def at(self, x):
        return 2 * x + 1  # (4.2)
"""
HELPER = """
from tutorial.step04_x import four_times

def quadrupled():
    return four_times(3)
"""
IMPORTS = """
import pytest
import tutorial.step04_x as lesson
from tests.helper import quadrupled
from tutorial.step04_x import Line, double as twice
"""
THROUGH_A_HELPER = "def test_4_1_by_powers():\n    assert quadrupled() == 12\n"
BY_AN_ALIAS = "def test_4_1_by_addition():\n    assert twice(3) == 3 + 3\n"
BY_A_MODULE = "def test_4_1_by_addition():\n    assert lesson.double(3) == 3 + 3\n"
BY_A_METHOD = "def test_4_2_by_slope():\n    assert Line().at(1) - Line().at(0) == 2\n"
OF_TWO_TABLES = "def test_4_1_by_table():\n    assert [2, 4] == [2, 4]\n"
REFUSAL = "def test_4_1_by_refusal_of_text():\n    assert twice\n"
PROOF = "@pytest.mark.proof\ndef test_4_1_by_sympy():\n    assert True\n"
RUNNING_PROOF = "@pytest.mark.proof\ndef test_4_1_by_sympy():\n    assert twice(1) == 2\n"


@pytest.mark.parametrize(
    ("tests", "count"),
    [
        (THROUGH_A_HELPER + BY_AN_ALIAS, 0),
        (THROUGH_A_HELPER + BY_A_MODULE, 0),
        (THROUGH_A_HELPER + PROOF, 0),
        (THROUGH_A_HELPER, 1),
        (THROUGH_A_HELPER + OF_TWO_TABLES, 1),
        (THROUGH_A_HELPER + REFUSAL, 1),
        (OF_TWO_TABLES + PROOF, 1),
        (PROOF + PROOF.replace("sympy", "series"), 1),
        (THROUGH_A_HELPER + BY_AN_ALIAS + RUNNING_PROOF, 1),
        (BY_A_METHOD, 1),
        (BY_A_METHOD + BY_A_METHOD.replace("slope", "rise"), 0),
        (BY_A_METHOD + BY_A_METHOD.replace("slope", "rise").replace("at", "get"), 1),
    ],
)
def test_planted_faults_are_found(tests: str, count: int) -> None:
    sources = {"tutorial.step04_x": LESSON, "tests.helper": HELPER, "tests.t": IMPORTS + tests}
    planted = Graph({name: parse(source) for name, source in sources.items()})
    assert len(route_faults("tutorial.step04_x", "tests.t", planted)) == count
