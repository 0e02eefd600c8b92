"""`make test` and `make hardening` together run every case; the lessons need no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITHOUT_TORCH = """
import sys
from functools import partial
from importlib.machinery import PathFinder

def find(original, name, *rest):
    return None if name == "torch" else original(name, *rest)

PathFinder.find_spec = partial(find, PathFinder.find_spec)
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
MARKED = """
import pytest

def test_plain(): pass

@pytest.mark.exhaustive
def test_long(): pass

@pytest.mark.parametrize("n", [2, pytest.param(9, marks=pytest.mark.exhaustive)])
def test_two_sizes(n): pass

@pytest.mark.exhaustive(one_in=1000)
@pytest.mark.parametrize("n", range(3))
def test_few(n): pass

@pytest.mark.exhaustive(one_in=4)
@pytest.mark.parametrize("b", range(8))
@pytest.mark.parametrize("a", range(8))
def test_grid(a, b): pass
"""


def collected(folder: Path, *options: str) -> list[str]:
    """The tests that pytest collects in `folder` on a machine without torch."""
    command = [sys.executable, "-c", WITHOUT_TORCH, "--collect-only", "-q", *options]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # they take long to import
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The tests that `--cases` selects in a file with markers; `all` is the default."""
    folder = tmp_path_factory.mktemp("marked")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = exhaustive\n")
    (folder / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (folder / "test_marked.py").write_text(MARKED)
    (folder / "test_with_torch.py").write_text("import torch\n\ndef test_torch(): pass\n")
    options = {"all": [], "sample": ["--cases=sample"], "rest": ["--cases=rest"]}
    return {name: collected(folder, *some) for name, some in options.items()}


def test_sample_and_rest_together_are_all(marked: dict[str, list[str]]) -> None:
    assert len(marked["all"]) == len(set(marked["all"])) == 1 + 1 + 2 + 3 + 64
    assert sorted(marked["sample"] + marked["rest"]) == sorted(marked["all"])


def test_sample_leaves_out_what_the_marker_says(marked: dict[str, list[str]]) -> None:
    sample = [name.removeprefix("test_marked.py::") for name in marked["sample"]]
    grid = [name for name in sample if name.startswith("test_grid")]
    assert [name for name in sample if name not in grid] == [
        "test_plain",
        "test_two_sizes[2]",
        "test_few[0]",  # the first case, because no name's hash is divisible by 1000
    ]
    # 16 are expected of 64, with a standard deviation of 3.5. A row or column of the grid that is
    # always in the sample would be a fault: it would be 8 of them.
    assert 6 <= len(grid) <= 26
    for parameter in (0, 1):
        values = [name.partition("[")[2].rstrip("]").split("-")[parameter] for name in grid]
        assert len(set(values)) >= 5


def test_files_that_import_torch_are_not_collected_without_it(
    marked: dict[str, list[str]],
) -> None:
    assert not any("torch" in name for name in marked["all"])


@pytest.mark.exhaustive
def test_a_lesson_is_tested_without_torch() -> None:
    tests = collected(ROOT, "tests/tutorial/test_step04_posterior.py")
    assert len(tests) > 20


def test_a_program_that_tests_start_ignores_no_signal() -> None:
    shown = "import signal; print(*(signal.getsignal(n) is signal.SIG_IGN for n in (1, 2)))"
    ran = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


def test_the_tests_run_in_the_background_and_under_nohup() -> None:
    """The test above, run by a process that ignores Ctrl-C and SIGHUP."""
    this = f"{__file__}::{test_a_program_that_tests_start_ignores_no_signal.__name__}"
    program = (
        "import os, signal, sys\n"
        "for number in (signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', "
        "sys.argv[1]])"
    )
    command = [sys.executable, "-c", program, this]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0 and "1 passed" in ran.stdout, ran.stdout
