"""No code runs from a file: bad intent is refused, quickly and in little memory."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hardening.hostile import KINDS, PICKLE

ROOT = Path(__file__).parents[2]
MOST_SECONDS, MOST_MIB = 1.0, 200.0


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What came of each file, in a process of its own."""
    folder = tmp_path_factory.mktemp("hostile")
    command = [sys.executable, "-m", "tests.hardening.hostile", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not (folder / "ran").exists()
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("hostile", KINDS)
def test_hostile_file_is_refused(hostile: str, tried: list[dict[str, Any]]) -> None:
    mine = [one for one in tried if one["hostile"] == hostile]
    assert len(mine) == len(KINDS[hostile]) + 1  # models, and a state
    for one in mine:
        assert one["status"] == 0, one  # no signal: it neither crashed nor hung
        assert one["error"] == "DataError", one
        assert one["plain"] and one["lines"] == 1, one
        assert one["seconds"] < MOST_SECONDS and one["MiB"] < MOST_MIB, one


def test_the_pickle_of_these_tests_would_run() -> None:
    """It is one: read by what reads pickles, it calls `os.system` with the words that it holds."""
    import pickletools

    operations = [(op.name, argument) for op, argument, _ in pickletools.genops(PICKLE)]
    assert operations[0] == ("GLOBAL", "posix system") and operations[-2][0] == "REDUCE"


# Nothing in the tree could run it either


UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
LOADERS = {
    *("torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"),
    *("torch.serialization.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load"),
    *("pandas.read_pickle", "pd.read_pickle"),
}
RUNNERS = {"eval", "exec", "__import__"}


def unsafe(source: str, *, may_run: bool = False) -> list[str]:
    """What in a program could run what a file holds; `may_run`: `eval` and the like are its own."""
    found = list[str]()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=module, names=names):
                modules = [module or "", *(f"{module}.{alias.name}" for alias in names)]
            case _:
                modules = []
        found += [m for m in modules if m.split(".")[0] in UNPICKLERS or m in LOADERS]
        if isinstance(node, ast.Attribute) and ast.unparse(node) in LOADERS:
            found.append(ast.unparse(node))
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
            safe = node.arg == "weights_only"
            if not (isinstance(node.value, ast.Constant) and node.value.value is safe):
                found.append(ast.unparse(node))
        if not may_run and isinstance(node, ast.Name) and node.id in RUNNERS:
            found.append(node.id)
    return found


def test_nothing_in_the_tree_unpickles() -> None:
    """The three layers, their tests and the notebooks; tests alone may run what they wrote."""
    files = [
        path
        for folder in ("tutorial", "minicfg", "kernels", "tests", "notebooks")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    layers = {"tutorial", "minicfg", "kernels"}
    assert len(files) > 150 and {p.relative_to(ROOT).parts[0] for p in files} > layers
    for path in files:
        inside = path.relative_to(ROOT).parts[0] in layers
        assert unsafe(path.read_text(), may_run=not inside) == [], path


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "import os, dill as d", "from joblib import load", "import marshal"),
        *("from torch import load", "from torch import load as read", "import torch.hub.load"),
        *("torch.load(f)", "read = torch.load", "torch.load(f, weights_only=True)"),
        *("np.load(f, allow_pickle=True)", "np.load(f, allow_pickle=yes)"),
        *(
            "read(f, weights_only=False)",
            "yaml.load(f)",
            "yaml.unsafe_load(f)",
            "pd.read_pickle(f)",
        ),
        *("eval(text)", "exec(text)", "run = exec", "__import__(name)"),
        *("def f():\n    import shelve", "if x:\n    from pickle import loads"),
    ],
)
def test_what_unpickles_would_be_found(source: str) -> None:
    assert unsafe(f"import torch\n{source}\n")


@pytest.mark.parametrize(
    "source",
    ["json.load(f)", "np.load(f, allow_pickle=False)", "model.eval()", "# pickle", "re.compile(x)"],
)
def test_what_does_not_is_not(source: str) -> None:
    assert unsafe(source) == []
