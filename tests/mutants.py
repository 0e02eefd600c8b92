"""A test of the tests by mutation: cosmic-ray makes one small change to a module at a time.

    python -m tests.mutants --module minicfg.solvers        # all of its mutants; 1 if one survives
    python -m tests.mutants --module tutorial --sample 8    # 8 of each lesson, drawn with --seed

A mutant is a module with one operator, number, condition, decorator, loop or handler changed. It is
killed if the module's own tests fail: first the quick ones run and, if those pass, the slow ones.
`mutants.txt` lists the known survivors, each with its reason; any other survivor is an error. The
program needs the extra `mutants` and `os.fork`.

Some changes are left out, because no test can or should notice them:

- annotations and `if TYPE_CHECKING:`, which users never run (the tests do execute the shapes);
- `if __name__ == "__main__":`, and the modules in `tutorial/figures`: a figure promises no number,
  and a check with a wider tolerance is still a check. `test_programs.py` runs both;
- the star before keyword-only arguments, which cosmic-ray mistakes for a product;
- changes that do not compile, or that compile with a warning (`is` before a literal);
- a bit operator in the place of an arithmetic one, and the reverse. On a float that raises a
  TypeError, which any test notices, so these mutants would only raise the rate.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import random
import resource
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[1]
KNOWN = Path(__file__).with_suffix(".txt")
MINICFG = (
    "schedule",
    "solvers",
    "guidance",
    "sampling",
    "conditions",
    "unet",
    "training",
    "editing",
    "distillation",
    "io.checkpoint",
    "io.format",
)
MODULES = [
    *(f"minicfg.{name}" for name in MINICFG),
    *("kernels.reference", "kernels.philox"),
    *sorted(f"tutorial.{path.stem}" for path in (ROOT / "tutorial").glob("step*.py")),
    *sorted(
        f"tutorial.appendix.{path.stem}" for path in (ROOT / "tutorial/appendix").glob("[a-q]_*.py")
    ),
]
# The tests of a module are `tests/LAYER/test_NAME.py`, except for these modules.
TESTS = {
    "minicfg.sampling": [
        "tests/minicfg/test_sampling.py",
        "tests/minicfg/test_capture.py",
        "tests/minicfg/test_distillation.py",
        "tests/minicfg/test_own_network.py",
    ],
    "minicfg.training": ["tests/minicfg/test_training.py", "tests/minicfg/test_own_network.py"],
    "minicfg.io.format": ["tests/minicfg/test_checkpoint.py", "tests/minicfg/test_survivors.py"],
    "minicfg.io.checkpoint": [
        "tests/minicfg/test_checkpoint.py",
        "tests/minicfg/test_survivors.py",
        "tests/minicfg/test_own_network.py",
    ],
}
MEMORY = 8 * 2**30
BITS = ("RShift", "LShift", "BitOr", "BitAnd", "BitXor")

Place = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """The `text` of a module in which lines `old` of the function `where` have become `new`."""

    module: str
    where: str
    old: str
    new: str
    text: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Its name in `mutants.txt`, which contains no line numbers."""
        return f"{self.module} {self.where}", self.old, self.new


def unseen(tree: ast.Module) -> Iterator[tuple[Place, Place]]:
    """The spans of a module, each from one place to another, in which nothing is changed."""
    for node in ast.walk(tree):
        spans = list[Any]()
        if isinstance(node, ast.arg | ast.AnnAssign):
            spans = [node.annotation]
        elif isinstance(node, ast.FunctionDef):
            spans = [node.returns]
        elif isinstance(node, ast.If) and ast.unparse(node.test).startswith(
            ("TYPE_CHECKING", "__name__")
        ):
            spans = [node]
        for span in filter(None, spans):
            yield (span.lineno, span.col_offset), (span.end_lineno, span.end_col_offset)


def functions(tree: ast.AST, outer: str = "") -> Iterator[tuple[int, int, str]]:
    """The first line (of a decorator, if any), last line and dotted name of each definition."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            yield first, node.end_lineno or first, outer + node.name
            yield from functions(node, outer + node.name + ".")


def operators() -> list[Any]:
    """The operators of cosmic-ray that need no arguments and do not mix bits with arithmetic."""
    chosen = list[Any]()
    for name in operator_names():
        kinds = [word in BITS for word in name.split("_")[-2:]]
        if not ("ReplaceBinaryOperator" in name and kinds[0] != kinds[1]):
            operator = get_operator(name)
            chosen += [] if operator.arguments() else [operator()]
    return chosen


def mutants(module: str, sample: int | None, rng: random.Random) -> list[Mutant]:
    """All mutants of a module, or a random sample of them."""
    source = (ROOT / (module.replace(".", "/") + ".py")).read_text()
    tree = ast.parse(source)
    hidden = list(unseen(tree))
    nodes = list(ast_nodes(get_ast(source)))
    places = list[tuple[Any, int, int]]()
    for operator in operators():
        found = [(node, at) for node in nodes for at, _ in operator.mutation_positions(node)]
        places += [
            (operator, occurrence, at[0])
            for occurrence, (node, at) in enumerate(found)
            if not any(first <= at < last for first, last in hidden)
            and not (node.parent and node.parent.type == "parameters")
        ]
    rng.shuffle(places)
    names = list(functions(tree))
    chosen = dict[tuple[str, str, str], Mutant]()
    for operator, occurrence, line in places:
        if len(chosen) == sample:
            break
        text = mutate_code(source, operator, occurrence)
        if text is None or not compiles(text):
            continue
        where = [name for first, last, name in names if first <= line <= last]
        changed = list(unified_diff(source.splitlines(), text.splitlines(), n=0, lineterm=""))[3:]
        old, new = (
            " ".join(" ".join(x[1:] for x in changed if x.startswith(sign)).split())
            for sign in "-+"
        )
        mutant = Mutant(module, (where or ["-"])[-1], old, new, text)
        if old != new:
            chosen.setdefault(mutant.key, mutant)
    return list(chosen.values())


def compiles(text: str) -> bool:
    """Whether Python compiles the text without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            compile(text, "mutant", "exec")
        except SyntaxError:
            return False
    return True


def start_worker() -> subprocess.Popen[str]:
    """Start the program `mistakes/worker.py`, with a limit on its memory."""
    environment = os.environ | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TRITON_INTERPRET": "1",  # the worker imports triton before conftest.py can say so
    }
    environment.pop("PYTEST_ADDOPTS", None)
    program = [sys.executable, str(ROOT / "tests/mistakes/worker.py")]
    pipe = subprocess.PIPE
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # a mutant may ask for everything
    return subprocess.Popen(program, stdin=pipe, stdout=pipe, text=True, env=environment)


def ask(worker: subprocess.Popen[str], **job: Any) -> dict[str, Any]:
    """Send a job to a worker, and return its result."""
    assert worker.stdin and worker.stdout
    print(json.dumps(job | {"root": str(ROOT)}), file=worker.stdin, flush=True)
    return json.loads(worker.stdout.readline())


class Tests:
    """The tests of a module, which pass without a mutant, and the time that they take."""

    def __init__(self, worker: subprocess.Popen[str], module: str) -> None:
        layer, *wing, name = module.split(".")
        folder = "tutorial/appendix" if wing == ["appendix"] else layer
        files = TESTS.get(module, [f"tests/{folder}/test_{name}.py"])
        files = [file for file in files if (ROOT / file).exists()]
        self.worker = worker
        self.file = str(ROOT / (module.replace(".", "/") + ".py"))
        self.sets = [[*files, "-m", "not slow"], [*files, "-m", "slow"]]
        self.limits = dict[int, int]()

    def seconds(self, tests: list[str]) -> int:
        """A time limit that only a mutant that hangs exceeds, from a run without a mutant."""
        start = time.monotonic()
        answer = ask(self.worker, tests=tests, seconds=600, wait=6000)
        if answer["code"] not in (0, 5):  # 5: there are no slow tests
            raise SystemExit(f"{tests} fail without a mutant: {answer['failed']} {answer['said']}")
        return 10 + int(6 * (time.monotonic() - start))

    def verdict(self, mutant: Mutant) -> str:
        """`killed`, `stuck` or `survived`."""
        for i, tests in enumerate(self.sets):
            if i not in self.limits:
                self.limits[i] = self.seconds(tests)
            job = {"tests": tests, "file": self.file, "text": mutant.text}
            code = ask(self.worker, **job, seconds=self.limits[i], wait=10 * self.limits[i])["code"]
            if code not in (0, 5):
                return "stuck" if code == -1 else "killed"
        return "survived"


def known() -> dict[tuple[str, str, str], str]:
    """The survivors in `mutants.txt`, with their reasons."""
    found = dict[tuple[str, str, str], str]()
    for block in KNOWN.read_text().split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if not lines:
            continue
        head, reason = lines[0], " ".join(x[2:] for x in lines if x.startswith("= "))
        changes = [line for line in lines[1:] if line[0] in "-+"]
        if not reason.startswith(("equivalent: ", "open: ")) or len(changes) % 2 or not changes:
            raise SystemExit(f"{KNOWN.name}: a block of pairs and a reason is needed, not\n{block}")
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            found[head, old[2:], new[2:]] = reason  # of a line that went nothing is left
    return found


def stale(key: tuple[str, str, str]) -> bool:
    """Whether the lines that were changed are gone."""
    module = key[0].split(" ")[0]
    source = (ROOT / (module.replace(".", "/") + ".py")).read_text()
    return key[1] not in " ".join(source.split())


def report(name: str, counts: Counter[str]) -> None:
    """A line of the table; the rate's error is that of a sample."""
    tried = counts.total()
    dead = counts["killed"] + counts["stuck"]
    rate, of_rest = dead / max(tried, 1), dead / max(tried - counts["equivalent"], 1)
    error = math.sqrt(rate * (1 - rate) / max(tried, 1))
    print(
        f"{name:32} {tried:5} tried {dead:5} killed ({counts['stuck']} stuck) "
        f"{counts['equivalent']:4} equivalent {counts['open']:3} open {counts['unlisted']:3} new "
        f"{100 * rate:5.1f} % (+- {100 * error:.1f}), {100 * of_rest:5.1f} % without equivalents",
        flush=True,
    )


def main() -> int:
    """Try them; 1 if one survives that is not listed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--module", action="append", help="or how its name begins; all by default")
    parser.add_argument("--sample", type=int, help="how many of each module; all by default")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    args = parser.parse_args()
    begins = tuple(args.module or [""])
    chosen = [name for name in MODULES if name.startswith(begins)]
    listed = known()
    if gone := [key for key in listed if stale(key)]:
        raise SystemExit(f"{KNOWN.name} quotes what is not there: {gone}")
    worker = start_worker()
    total, survivors = Counter[str](), list[Mutant]()
    struck = list[tuple[str, str, str]]()
    for module in chosen:
        tests, counts = Tests(worker, module), Counter[str]()
        for mutant in mutants(module, args.sample, random.Random(f"{args.seed} {module}")):
            verdict = tests.verdict(mutant)
            reason = listed.get(mutant.key, "unlisted: ")
            if verdict == "survived":
                verdict = reason.split(":")[0]
                if verdict == "unlisted":
                    survivors.append(mutant)
                    print(
                        f"\n{mutant.module} {mutant.where}\n- {mutant.old}\n+ {mutant.new}",
                        flush=True,
                    )
            elif mutant.key in listed:
                struck.append(mutant.key)
            counts[verdict] += 1
        for i in tests.limits:
            tests.seconds(tests.sets[i])  # what killed them was not something else
        report(module, counts)
        total += counts
    report("all", total)
    for key in struck:
        print("listed, and killed now:", *key, sep="\n  ")
    worker.communicate()
    print(f"CPU {sum(os.times()[:4]):.0f} s")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
