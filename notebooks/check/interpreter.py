"""The right solution of an exercise as source, which can be evaluated with parts of it changed.

Compiling thousands of changed solutions would take most of the time of a search. So this module
interprets a solution, and reuses the values of the parts that a change does not affect.
"""

from __future__ import annotations

import ast
import operator
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Case = tuple[Any, ...]
# The replacements of each node. Of several, each contains the one before it.
Changes = Mapping[ast.AST, tuple[ast.AST, ...]]

OPERATIONS: Mapping[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.MatMult: operator.matmul,
    ast.USub: operator.neg,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
BUILTINS = {f.__name__: f for f in (enumerate, len, max, min, range, reversed, zip)}
# Quantities that are taken for each other, for every solution with a schedule.
LEVELS = (
    "schedule.beta[t]",
    "schedule.alpha[t]",
    "schedule.alpha_bar[t]",
    "schedule.alpha_bar[t - 1]",
    "1 - schedule.alpha_bar[t]",
    "1 - schedule.alpha_bar[t - 1]",
)
NOTHING = object()  # the value of a line that is not a `return`


@dataclass
class Solution:
    """The right solution of an exercise: its source, and the functions that it uses.

    The source is a function, in the names of the notebook, or an expression for a number. In a
    sentence a name of `shown` is written as what it stands for. `quantities` are expressions that
    are taken for each other. `most_pairs` is the number of pairs of edits that a search tries. If
    an evaluation `is_slow`, edits are first evaluated at one input in place of four, and no values
    are kept.
    """

    source: str
    names: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[str, str] = field(default_factory=dict)
    quantities: tuple[str, ...] = ()
    most_pairs: int = 3000
    is_slow: bool = False

    def __post_init__(self) -> None:
        """Parse the source, and note what contains each node."""
        source = textwrap.dedent(self.source).strip()
        if not source.startswith("def "):
            source = f"def number():\n    return {source}"
        if "schedule" in source.partition("\n")[0]:
            self.quantities += LEVELS
        self.definition: Any = ast.parse(source).body[0]
        self.arguments = [a.arg for a in self.definition.args.args]
        self.nodes = list(ast.walk(self.definition))
        self.parents = {child: n for n in self.nodes for child in ast.iter_child_nodes(n)}
        names = [n for n in self.nodes if isinstance(n, ast.Name)]
        self.reads = [n for n in names if not is_stored(n)]
        self.found_affected: dict[ast.AST, set[ast.AST]] = {}

    def __call__(self, *case: Any) -> Any:
        """The right result."""
        return Run(self, case, {}).result()

    def ancestors(self, node: ast.AST) -> Iterator[Any]:
        """All nodes that contain this one, the smallest first."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def affected(self, node: ast.AST) -> set[ast.AST]:
        """All nodes whose value may depend on that of `node`, directly or through a variable."""
        if node not in self.found_affected:
            found, todo = {node}, [node]
            while todo:
                for above in self.ancestors(todo.pop()):
                    is_line = isinstance(above, ast.stmt) and above is not self.definition
                    if is_line and above not in found:
                        stored = {name_of(n) for n in ast.walk(above) if is_stored(n)}
                        uses = {n for n in self.reads if n.id in stored} - found
                        todo += uses
                        found |= uses
                    found.add(above)
            self.found_affected[node] = found
        return self.found_affected[node]


def is_stored(node: Any) -> bool:
    """Whether a name is assigned to, and not read."""
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def name_of(node: Any) -> str:
    """The last part of a name, such as `sqrt` for `np.sqrt` and for `sqrt`."""
    return str(getattr(node, "attr", getattr(node, "id", "")))


class Run:
    """One evaluation of a solution with some of its nodes changed.

    `kept` are values of the right solution, which are used for all nodes outside of `affected`.
    """

    def __init__(
        self,
        solution: Solution,
        case: Case,
        changes: Changes,
        kept: Mapping[ast.AST, Any] | None = None,
        affected: set[ast.AST] | frozenset[ast.AST] = frozenset(),
    ) -> None:
        """Bind the arguments; lists are copied, because a solution may take entries out of them."""
        given = (list(a) if isinstance(a, list) else a for a in case)
        self.local = {**BUILTINS, "np": np, **solution.names}
        self.local.update(zip(solution.arguments, given, strict=True))
        self.body = solution.definition.body
        self.start = solution.definition
        self.changes = dict(changes)
        self.kept = kept or {}
        self.affected = affected
        self.traced: dict[ast.AST, Any] | None = None

    def result(self) -> Any:
        """What the function returns."""
        start: Any = self.changes.get(self.start, (self.start,))[-1]
        found = self.lines(start.body)
        return None if found is NOTHING else found

    def trace(self) -> dict[ast.AST, Any]:
        """The value of each node outside of loops."""
        self.traced = {}
        self.result()
        return self.traced

    def lines(self, body: list[Any]) -> Any:
        """Execute lines, and return the value of the first `return`."""
        for line in body:
            found = self.line(line)
            if found is not NOTHING:
                return found
        return NOTHING

    def line(self, line: Any) -> Any:
        """Execute one line."""
        if line in self.changes:
            return self.changed(line, self.line)
        if isinstance(line, ast.Return):
            return self.value(line.value)
        if isinstance(line, ast.Assign):
            self.store(line.targets[0], self.value(line.value))
        elif isinstance(line, ast.AugAssign):
            target: Any = line.target
            self.local[target.id] = OPERATIONS[type(line.op)](
                self.local[target.id], self.value(line.value)
            )
        elif isinstance(line, ast.Expr):
            self.value(line.value)
        elif isinstance(line, ast.If):
            return self.lines(line.body if self.value(line.test) else line.orelse)
        elif isinstance(line, ast.For):
            return self.loop(line)
        return NOTHING

    def loop(self, line: ast.For) -> Any:
        """Execute a loop. Values in it differ from step to step, and none of them is kept."""
        items = self.value(line.iter)
        traced, self.traced = self.traced, None
        for item in items:
            self.store(line.target, item)
            found = self.lines(line.body)
            if found is not NOTHING:
                return found
        self.traced = traced
        return NOTHING

    def store(self, target: Any, value: Any) -> None:
        """Assign a value to a name, or to several."""
        if isinstance(target, ast.Tuple):
            for one, part in zip(target.elts, value, strict=True):
                self.store(one, part)
        else:
            self.local[target.id] = value

    def changed(self, node: ast.AST, evaluate: Callable[[Any], Any]) -> Any:
        """Evaluate what stands in the place of a node; it may contain the node itself."""
        news = self.changes.pop(node)
        *inner, outer = news
        if inner:
            self.changes[node] = tuple(inner)
        try:
            return evaluate(outer)
        finally:
            self.changes[node] = news

    def value(self, node: Any) -> Any:
        """The value of an expression."""
        if node in self.changes:
            return self.changed(node, self.value)
        if node in self.kept and node not in self.affected:
            return self.kept[node]
        value = KINDS[type(node)](self, node)
        if self.traced is not None:
            self.traced[node] = value
        return value

    def call(self, node: ast.Call) -> Any:
        """The value of a function."""
        named = {k.arg: self.value(k.value) for k in node.keywords if k.arg}
        return self.value(node.func)(*[self.value(a) for a in node.args], **named)


KINDS: Mapping[type, Callable[[Run, Any], Any]] = {
    ast.Constant: lambda run, node: node.value,
    ast.Name: lambda run, node: run.local[node.id],
    ast.Attribute: lambda run, node: getattr(run.value(node.value), node.attr),
    ast.Subscript: lambda run, node: run.value(node.value)[run.value(node.slice)],
    ast.Slice: lambda run, node: slice(
        *(part and run.value(part) for part in (node.lower, node.upper, node.step))
    ),
    ast.Tuple: lambda run, node: tuple(run.value(part) for part in node.elts),
    ast.List: lambda run, node: [run.value(part) for part in node.elts],
    ast.BinOp: lambda run, node: OPERATIONS[type(node.op)](
        run.value(node.left), run.value(node.right)
    ),
    ast.UnaryOp: lambda run, node: OPERATIONS[type(node.op)](run.value(node.operand)),
    ast.Compare: lambda run, node: OPERATIONS[type(node.ops[0])](
        run.value(node.left), run.value(node.comparators[0])
    ),
    ast.Call: Run.call,
}
