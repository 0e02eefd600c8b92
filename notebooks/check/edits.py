"""The edits of a right solution.

An edit changes one place, or all places where the same change is possible. Its clause names the
change.

The changes are those that students make: a sign, a root, a square, a factor, a term, brackets, an
index, a name in the place of another, an axis, a bound, a line of a loop.
"""

from __future__ import annotations

import ast
import copy
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .interpreter import Solution, is_stored, name_of

LONG = 44  # the most characters of a formula that a sentence quotes in full
# Functions, and attributes, that are taken for each other.
ALIKE = (
    ("exp", "log"),
    ("sin", "cos", "tan", "arctan"),
    ("minimum", "maximum"),
    ("min", "max"),
    ("mean", "sum"),
    ("std", "var"),
    ("alpha", "beta", "alpha_bar"),
    ("mean", "var"),
)
WITH_AXIS = ("sum", "mean", "std", "var", "max")
INVERTED = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE}
MODULES = ("np", "torch")

New = Iterator[tuple[Any, str, int]]  # what stands there, the clause about it, the size of the edit


@dataclass(frozen=True, eq=False)
class Edit:
    """Some nodes of a solution, the nodes that replace them, and a clause that names the change.

    `size` is 0, 1 or 2. The smaller ones are tried first.
    """

    changes: Mapping[ast.AST, ast.AST]
    clause: str
    size: int


class Put(ast.NodeTransformer):
    """Replaces names by expressions."""

    def __init__(self, parts: Mapping[str, ast.AST]) -> None:
        """Note what replaces each name."""
        self.parts = parts

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Replace a name."""
        return self.parts.get(node.id, node)


def of(template: str, **parts: ast.AST) -> Any:
    """An expression such as `1 - x`, with a node in the place of each letter."""
    return Put(parts).visit(ast.parse(template, mode="eval").body)


def with_(node: ast.AST, **fields: Any) -> Any:
    """A copy of a node, with other fields."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def is_number(node: ast.AST, *values: float) -> bool:
    """Whether a node is a number, or one of these numbers."""
    is_any = isinstance(node, ast.Constant) and type(node.value) in (int, float)
    return is_any and (not values or node.value in values)  # type: ignore[attr-defined]


def is_sum(node: ast.AST) -> bool:
    """Whether a node is a sum or a difference."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub))


def is_product(node: ast.AST) -> bool:
    """Whether a node is a product or a quotient."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div, ast.MatMult))


def is_call(node: ast.AST, name: str) -> bool:
    """Whether a node is a call of `np.name`, `x.name`, or `name`."""
    return isinstance(node, ast.Call) and name_of(node.func) == name


def alike(name: str) -> list[str]:
    """The names that are taken for this one."""
    return [other for group in ALIKE if name in group for other in group if other != name]


class Finder:
    """All edits of one solution."""

    def __init__(self, solution: Solution) -> None:
        """Find which names are values, which are indices, and which are functions or tables."""
        self.solution = solution
        self.parents = solution.parents
        self.texts: dict[ast.AST, str] = {}
        self.meanings = {name: of(meaning) for name, meaning in solution.shown.items()}
        names = [n for n in solution.nodes if isinstance(n, ast.Name)]
        used = [n for n in names if not is_stored(n)]
        self.indices = {n.id for n in used if self.is_index(n)}
        tables = {n.id for n in used if self.is_table(n)}
        self.stored = {n.id for n in names if is_stored(n)}
        self.values = {n.id for n in names} | set(solution.arguments)
        self.values -= tables | set(solution.names) | set(MODULES)
        self.values -= self.indices - {n.id for n in used if not self.is_index(n)}
        self.arguments = [name for name in solution.arguments if name in self.values]
        everything = [ast.unparse(n) for n in solution.nodes if isinstance(n, ast.expr)]
        self.count = {text: everything.count(text) for text in everything}

    def is_table(self, node: ast.AST) -> bool:
        """Whether a name is called, or has an attribute other than `T` and methods with an axis."""
        parent = self.parents[node]
        if isinstance(parent, ast.Attribute):
            return parent.attr not in (*WITH_AXIS, "T")
        return isinstance(parent, ast.Call) and parent.func is node

    def is_index(self, node: ast.AST) -> bool:
        """Whether a node belongs to an index, or to the bounds of a loop."""
        below = node
        for above in self.solution.ancestors(node):
            if isinstance(above, ast.Subscript):
                return above.slice is below
            if isinstance(above, ast.Call):
                return is_call(above, "range")
            below = above
        return False

    # What a sentence quotes.
    def written(self, node: ast.AST) -> str:
        """A part of the solution in full, as the notebook writes it."""
        if node not in self.texts:
            known = ast.unparse(Put(self.meanings).visit(copy.deepcopy(node)))
            self.texts[node] = re.sub(r"\b(np|torch|schedule)\.", "", known)
        return self.texts[node]

    def text(self, node: ast.AST) -> str:
        """A part of the solution; of a long one the inner parts are left out."""
        text = self.written(node)
        for depth in (4, 3, 2, 1):
            if len(text) <= LONG:
                break
            text = self.written(outline(node, depth))
        return f"`{text}`"

    def where(self, node: ast.AST) -> str:
        """Which of several equal parts is meant: the smallest part around it that is unique."""
        for around in (node, *self.solution.ancestors(node)):
            if isinstance(around, ast.Assign) and around is not node:
                name = ast.unparse(around.targets[0])
                return "" if name in self.solution.shown else f", in {self.text(around.targets[0])}"
            if not isinstance(around, ast.expr):
                return ""
            is_bare = around is node and not isinstance(node, (ast.BinOp, ast.Call))
            if self.count[ast.unparse(around)] == 1 and not is_bare:
                return f", in {self.text(around)}"
        return ""

    # All edits.
    def edits(self) -> list[Edit]:
        """All edits, ordered by size.

        If several places have the same clause, there is an edit of each place and one of all.
        """
        alike: dict[str, list[tuple[ast.AST, Any, int]]] = {}
        for node in self.solution.nodes:
            if isinstance(node, ast.stmt):
                news = self.line(node)
            elif isinstance(node, ast.expr) and self.is_value(node):
                news = self.expression(node)
            else:
                continue
            for new, clause, size in news:
                alike.setdefault(clause, []).append((node, new, size))
        found: list[Edit] = []
        for clause, places in alike.items():
            nodes = [node for node, _, _ in places]
            if len(set(nodes)) == 1:
                everywhere = ", in all places" if self.is_defined_once(nodes[0]) else ""
                found += [Edit({node: new}, clause + everywhere, n) for node, new, n in places]
                continue
            found += [Edit({node: new}, clause + self.where(node), n) for node, new, n in places]
            changes = {node: new for node, new, _ in places}
            found.append(Edit(changes, f"{clause}, in all places", places[0][2]))
        return sorted(found, key=lambda edit: edit.size)

    def is_defined_once(self, node: ast.AST) -> bool:
        """Whether a node is in the definition of a name of `shown` that is read at least twice."""
        for above in self.solution.ancestors(node):
            if isinstance(above, ast.Assign):
                name = ast.unparse(above.targets[0])
                return name in self.solution.shown and self.count.get(name, 0) > 2
        return False

    def is_value(self, node: ast.AST) -> bool:
        """Whether a node is no name of a function, a module or a schedule."""
        if is_stored(node):
            return False
        parent = self.parents[node]
        if isinstance(parent, ast.Call) and parent.func is node:
            return False
        return not isinstance(node, ast.Name) or node.id in self.values | self.indices

    # The edits of one expression.
    def expression(self, node: Any) -> New:
        """All edits of an expression."""
        if isinstance(self.parents[node], ast.Return):
            yield from self.result(node)
        if isinstance(node, ast.Name):
            yield from self.name(node)
        elif isinstance(node, ast.Attribute):
            yield from self.attribute(node)
        elif isinstance(node, ast.Subscript):
            yield from self.table(node)
        if self.is_index(node):
            yield from self.index(node)
            return
        if is_sum(node):
            yield from self.sum(node)
        elif is_product(node):
            yield from self.product(node)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            yield from self.power(node)
        elif isinstance(node, ast.UnaryOp):
            yield node.operand, f"the minus sign of {self.text(node)} is left out", 1
        elif isinstance(node, ast.Call):
            yield from self.call(node)
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in INVERTED:
            new = with_(node, ops=[INVERTED[type(node.ops[0])]()])
            yield new, f"the comparison {self.text(node)} is the other way round", 2
        elif is_number(node):
            yield from self.number(node)
        elif isinstance(node, ast.Tuple) and isinstance(self.parents[node], ast.Return):
            yield with_(node, elts=node.elts[::-1]), "the results are in the other order", 1
        yield from self.value(node)

    def result(self, node: Any) -> New:
        """The sign of the whole result, and a part of it in its place."""
        yield of("-x", x=node), "the whole result has the opposite sign", 0
        for part in ast.walk(node):
            is_part = isinstance(part, (ast.BinOp, ast.Call, ast.Name)) and self.is_value(part)
            if part is not node and is_part and not self.is_index(part):
                yield part, f"only the part {self.text(part)} is returned", 2
        for name in self.arguments:
            term = ast.Name(name, ast.Load())
            sum_ = ast.BinOp(node, ast.Add(), term)
            yield sum_, f"{self.text(term)} is added to the whole result", 2
            difference = with_(sum_, op=ast.Sub())
            yield difference, f"{self.text(term)} is subtracted from the whole result", 2
        for name in sorted(self.stored):
            yield ast.Name(name, ast.Load()), f"{self.text(ast.Name(name))} is returned", 2

    def sum(self, node: Any) -> New:
        """A sign, an order, a term."""
        left, right = node.left, node.right
        a, b, whole = self.text(left), self.text(right), self.text(node)
        if isinstance(node.op, ast.Add):
            yield with_(node, op=ast.Sub()), f"{b} is subtracted where it has to be added", 1
            yield of("y - x", x=left, y=right), f"{a} is subtracted where it has to be added", 1
            yield right, f"the term {a} is left out", 1
        else:
            yield with_(node, op=ast.Add()), f"{b} is added where it has to be subtracted", 1
            swapped = with_(node, left=right, right=left)
            yield swapped, f"the difference {whole} is taken the other way round", 1
            if is_number(left):
                yield right, f"{b} stands where {whole} belongs", 1
            yield of("-x", x=right), f"the term {a} is left out", 1 + is_number(left)
        yield left, f"the term {b} is left out", 1 + is_number(left)
        product = with_(node, op=ast.Mult())
        yield product, f"{a} and {b} are multiplied, and have to be added or subtracted", 2
        if is_product(left) and is_product(right):
            for i, j in itertools.product(("left", "right"), repeat=2):
                one, two = getattr(left, i), getattr(right, j)
                new = with_(node, left=with_(left, **{i: two}), right=with_(right, **{j: one}))
                pair = f"{self.text(one)} and {self.text(two)}"
                yield new, f"the factors {pair} of the two terms are exchanged", 0

    def product(self, node: Any) -> New:
        """A factor, a quotient for a product, brackets."""
        left, right = node.left, node.right
        a, b, whole = self.text(left), self.text(right), self.text(node)
        if isinstance(node.op, ast.Div):
            yield left, f"the division by {b} is left out", 1
            yield with_(node, op=ast.Mult()), f"{b} is a factor and not a denominator", 1
            swapped = with_(node, left=right, right=left)
            yield swapped, f"the quotient {whole} is upside down", 1
            yield of("1 / x", x=right), f"the factor {a} is left out", 2
        else:
            yield right, f"the factor {a} is left out", 1
            yield left, f"the factor {b} is left out", 1
            yield of("x / y", x=left, y=right), f"{b} is a denominator and not a factor", 1
            yield of("y / x", x=left, y=right), f"{a} is a denominator and not a factor", 1
            yield with_(node, op=ast.Add()), f"{a} and {b} are added, not multiplied", 2
        if isinstance(node.op, ast.MatMult):
            yield with_(node, left=right, right=left), f"the factors of {whole} are exchanged", 1
            yield with_(node, op=ast.Mult()), f"`*` stands where `@` belongs, in {whole}", 1
        if is_sum(left):
            new = with_(left, right=with_(node, left=left.right))
            yield new, f"the brackets around {a} are left out", 1
        if is_sum(right) or (is_product(right) and isinstance(node.op, ast.Div)):
            new = with_(right, left=with_(node, right=right.left))
            yield new, f"the brackets around {b} are left out", 1

    def power(self, node: Any) -> New:
        """A square, an exponent."""
        left, right = node.left, node.right
        a, b = self.text(left), self.text(right)
        if is_number(right, 2):
            yield left, f"{a} is not squared", 1
            yield of("np.abs(x)", x=left), f"the absolute value of {a} is taken, not its square", 1
            if is_sum(left):
                of_each = with_(
                    left, left=with_(node, left=left.left), right=with_(node, left=left.right)
                )
                yield of_each, f"each term of {a} is squared, and not the whole", 1
            return
        yield left, f"the exponent {b} is left out", 1
        yield of("x * y", x=left, y=right), f"{b} is a factor and not the exponent of {a}", 1
        yield of("x ** -y", x=left, y=right), f"the exponent {b} of {a} has the opposite sign", 1

    def call(self, node: Any) -> New:
        """A root, a clip, a function for another, an axis, the order of two arguments."""
        name, args, whole = name_of(node.func), node.args, self.text(node)
        is_method = isinstance(node.func, ast.Attribute)
        is_method = is_method and getattr(node.func.value, "id", "") not in MODULES
        if name in ("sqrt", "abs", "exp", "log", "tan", "arctan") and len(args) == 1:
            called = "square root" if name == "sqrt" else f"function `{name}`"
            yield args[0], f"the {called} of {self.text(args[0])} is left out", 1
        if name == "clip" and len(args) == 3:
            one, low, high = args
            text = self.text(one)
            yield one, f"{text} is not clipped", 1
            yield of("np.minimum(x, y)", x=one, y=high), f"{text} is clipped from above only", 1
            yield of("np.maximum(x, y)", x=one, y=low), f"{text} is clipped from below only", 1
            yield with_(node, args=[one, of("0"), high]), f"{text} is clipped at 0 from below", 1
            for inner in sorted({n.id for n in ast.walk(one) if isinstance(n, ast.Name)}):
                if inner in self.values:
                    clipped = with_(node, args=[ast.Name(inner, ast.Load()), low, high])
                    new = Put({inner: clipped}).visit(copy.deepcopy(one))
                    yield new, f"`{inner}` is clipped, and not {text}", 1
                    again = with_(node, args=[new, low, high])
                    yield again, f"`{inner}` is clipped, and the whole as well", 1
        if isinstance(node.func, ast.Attribute):
            for other in alike(name):
                new = with_(node, func=with_(node.func, attr=other))
                yield new, f"`{other}` stands where `{name}` belongs, in {whole}", 1
        if is_method and name in WITH_AXIS:
            yield node.func.value, f"`{name}` is left out, in {whole}", 1
            keywords = [k for k in node.keywords if k.arg == "keepdims"]
            if args:
                yield with_(node, args=[], keywords=[]), f"{whole} is taken over all axes", 1
            for axis in ("0", "1", "-1", "(2, 3)"):
                new = with_(node, args=[of(axis)], keywords=keywords)
                yield new, f"{whole} is taken over the axis {axis}", 1
        for i, j in itertools.combinations(range(len(args)), 2):
            swapped = list(args)
            swapped[i], swapped[j] = args[j], args[i]
            pair = f"{self.text(args[i])} and {self.text(args[j])}"
            yield with_(node, args=swapped), f"{pair} are exchanged in `{name}`", 1

    def name(self, node: ast.Name) -> New:
        """Another name."""
        others = self.indices if self.is_index(node) else self.values
        for other in sorted(others - {node.id}):
            new = ast.Name(other, ast.Load())
            yield new, f"{self.text(new)} stands where {self.text(node)} belongs", 1

    def attribute(self, node: ast.Attribute) -> New:
        """Another result, a transposition."""
        for other in alike(node.attr):
            if not isinstance(self.parents[node], ast.Subscript):
                new = with_(node, attr=other)
                yield new, f"{self.text(new)} stands where {self.text(node)} belongs", 1
        if node.attr == "T" and isinstance(node.value, ast.Name) and node.value.id in self.values:
            yield node.value, f"{self.text(node.value)} is not transposed", 1

    def table(self, node: ast.Subscript) -> New:
        """Another table of the schedule."""
        if isinstance(node.value, ast.Attribute):
            for other in alike(node.value.attr):
                new = with_(node, value=with_(node.value, attr=other))
                yield new, f"{self.text(new)} stands where {self.text(node)} belongs", 1

    def number(self, node: Any) -> New:
        """Another number."""
        value: Any = node.value
        others = [0, 1, 2, 2 * value, value / 2, -value]
        others += [value - 1, value + 1] if isinstance(value, int) else []
        for other in dict.fromkeys(others):
            if other != value:
                yield of(f"{other:g}"), f"{other:g} stands where {value:g} belongs", 2

    def index(self, node: Any) -> New:
        """An index that is off by one."""
        if isinstance(self.parents[node], ast.BinOp):
            return
        news = [of("x - 1", x=node), of("x + 1", x=node)]
        if is_sum(node):
            news = [node.left, with_(node, op=ast.Sub()), with_(node, op=ast.Add())]
        elif is_number(node):
            news = [of(str(node.value + by)) for by in (-1, 1, -2)]  # type: ignore[attr-defined]
        elif not isinstance(node, (ast.Name, ast.Attribute)):
            return
        parent = self.parents[node]
        for new in news:
            if ast.unparse(new) == ast.unparse(node):
                continue
            if isinstance(parent, ast.Subscript):
                changed = self.text(with_(parent, slice=new))
                yield new, f"{changed} stands where {self.text(parent)} belongs", 1
            else:
                clause = f"{self.text(new)} stands where {self.text(node)} belongs"
                yield new, f"{clause}, in {self.text(parent)}", 1

    def value(self, node: Any) -> New:
        """A root, a square, a complement, a sign or a factor that does not belong there."""
        kinds = (ast.BinOp, ast.Call, ast.Name, ast.Subscript, ast.Attribute)
        parent = self.parents[node]
        if not isinstance(node, kinds) or isinstance(parent, (ast.Subscript, ast.Attribute)):
            return
        one = self.text(node)
        if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name):
            yield of("1 - x", x=node), self.instead("1 - x", node), 1
            yield of("-x", x=node), f"{one} has the opposite sign", 1
            return
        is_whole = isinstance(parent, ast.Return)
        one = "the whole result" if is_whole else one
        is_root = is_call(node, "sqrt")
        is_squared = isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow)
        is_squared = is_squared or is_call(parent, "sqrt")
        if not is_root:
            yield of("np.sqrt(x)", x=node), f"there is a square root too many, of {one}", 1
        if not is_squared and not is_root:
            yield of("x ** 2", x=node), f"there is a square too many, of {one}", 1
        if is_root or not isinstance(node, (ast.BinOp, ast.Call)):
            yield of("1 - x", x=node), self.instead("1 - x", node), 1
            yield of("1 + x", x=node), self.instead("1 + x", node), 1
        yield of("2 * x", x=node), f"{one} is doubled", 2
        yield of("x / 2", x=node), f"{one} is halved", 2
        if not is_whole:
            yield of("-x", x=node), f"{one} has the opposite sign", 2
            yield of("1 / x", x=node), f"the reciprocal of {one} is taken", 2
        if isinstance(node, ast.Name) and node.id in self.arguments:
            yield of("np.abs(x)", x=node), f"the absolute value of {one} is taken", 2
            yield of("np.maximum(x, 0)", x=node), f"{one} is replaced by 0 where it is negative", 2
        if is_whole or (is_sum(parent) and isinstance(self.parents[parent], ast.Return)):
            for name in self.arguments:
                factor = ast.Name(name, ast.Load())
                shown = self.text(factor)
                times = ast.BinOp(node, ast.Mult(), factor)
                yield times, f"{one} has the factor {shown} too many", 2
                yield with_(times, op=ast.Div()), f"{one} is divided by {shown}, too", 2
        if self.is_quantity(node):
            for other in self.solution.quantities:
                new = of(other)
                if self.written(new) != self.written(node):
                    yield new, f"{self.text(new)} stands where {self.text(node)} belongs", 1

    def is_quantity(self, node: ast.AST) -> bool:
        """Whether a node is `1 - x`, an entry of a table, or the name of one."""
        if isinstance(node, ast.BinOp):
            return isinstance(node.op, ast.Sub) and is_number(node.left, 1)
        return isinstance(node, ast.Subscript) or (
            isinstance(node, ast.Name) and node.id in self.solution.shown
        )

    def instead(self, template: str, node: Any) -> str:
        """The clause about an expression that contains what it replaces."""
        return f"{self.text(of(template, x=node))} stands where {self.text(node)} belongs"

    # The edits of lines.
    def line(self, node: Any) -> New:
        """A line that is left out or moved, a condition, the direction of a loop."""
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.Expr)):
            yield ast.Pass(), f"{self.brief(node)} is left out", 1
        elif isinstance(node, ast.If):
            under = self.brief(node.body[0])
            always = with_(node, test=of("1"))
            yield always, f"the condition {self.text(node.test)} of {under} is left out", 1
        elif isinstance(node, ast.For):
            items = node.iter
            turned = with_(node, iter=of("reversed(x)", x=items))
            yield turned, f"the loop over {self.text(items)} runs backwards", 1
        body = getattr(node, "body", None)
        if isinstance(body, list):
            for new, clause in self.moved(body):
                yield with_(node, body=new), clause, 1

    def moved(self, body: list[Any]) -> Iterator[tuple[list[Any], str]]:
        """The lines of a block in other orders, and across the start or end of a loop."""
        for i, (first, second) in enumerate(itertools.pairwise(body)):
            before, after = body[:i], body[i + 2 :]
            if not isinstance(second, ast.Return):
                clause = f"{self.brief(second)} comes before {self.brief(first)}"
                yield [*before, second, first, *after], clause
            elif isinstance(first, ast.For):
                inside = with_(first, body=[*first.body, second])
                yield [*before, inside, second], "the `return` stands inside the loop"
            if isinstance(second, ast.For):
                inside = with_(second, body=[first, *second.body])
                yield [*before, first, inside, *after], f"{self.brief(first)} stands in the loop"
                for line in second.body:
                    rest = [other for other in second.body if other is not line]
                    clause = f"{self.brief(line)} stands before the loop"
                    yield [*before, first, line, with_(second, body=rest), *after], clause
            if isinstance(first, ast.For):
                for line in first.body:
                    rest = [other for other in first.body if other is not line]
                    clause = f"{self.brief(line)} stands after the loop"
                    yield [*before, with_(first, body=rest), line, second, *after], clause

    def brief(self, line: Any) -> str:
        """A line, as a sentence names it."""
        if isinstance(line, ast.Assign):
            value = line.value
            by = f" by `{name_of(value.func)}`" if isinstance(value, ast.Call) else ""
            return f"the line that computes {self.text(line.targets[0])}{by}"
        if isinstance(line, ast.AugAssign):
            return f"the line that changes {self.text(line.target)}"
        if isinstance(line, ast.Expr):
            return f"the line {self.text(line.value)}"
        return "the condition" if isinstance(line, ast.If) else "the loop"


def outline(node: ast.AST, depth: int) -> ast.AST:
    """An expression whose parts below some depth are written as three dots."""
    if depth == 0 and isinstance(node, (ast.BinOp, ast.Call, ast.Subscript, ast.Tuple)):
        return ast.Name("...", ast.Load())
    new = copy.copy(node)
    for name, part in ast.iter_fields(node):
        if isinstance(part, ast.expr) and name != "func":
            setattr(new, name, outline(part, depth - 1))
        elif isinstance(part, list) and all(isinstance(p, ast.expr) for p in part):
            setattr(new, name, [outline(p, depth - 1) for p in part])
    return new
