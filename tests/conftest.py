"""Set-up of every test: shape types are executed, lessons carry markers, cases are selected.

`--cases` selects among the tests that the marker `exhaustive` names; `make test`, `make hardening`
and a plain `pytest` differ in nothing else. The folder `tests/tutorial` needs no torch. On a
machine without torch, the files that import it are not collected.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib.util
import os
import re
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest

# Before any kernel module is imported: a decorated kernel is then run by Triton's interpreter.
os.environ.setdefault("TRITON_INTERPRET", "1")
# A GPU is hidden, so that a test does the same on every machine. TRITON_INTERPRET=0 compiles the
# kernels and runs the tests of `tests/kernels` and `tests/minicfg/test_gpu.py` on the GPU.
if os.environ["TRITON_INTERPRET"] != "0":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

# A process that a shell starts in the background ignores Ctrl-C, and one under `nohup` SIGHUP, and
# so do the processes that it starts. Tests that send such a signal would then wait for ever. A
# handler is not inherited, so with one the programs that tests start do not ignore the signal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)  # as before, it does not end the tests

# The packages import their shape types for type checkers only, so that they run without jaxtyping.
# Here the names are put in scope and every annotated call is checked against its shapes.
for _name in ("Bool", "Float", "Int", "UInt"):
    setattr(builtins, _name, getattr(jaxtyping, _name))

HAS_TORCH = importlib.util.find_spec("torch") is not None
HOOKED = ["tutorial"]
if HAS_TORCH:
    import torch

    # The tensors are small: a second thread in each process costs more in waiting than it brings.
    torch.set_num_threads(1)
    HOOKED += ["minicfg", "kernels.philox", "kernels.reference", "kernels.dispatch"]
jaxtyping.install_import_hook(HOOKED, "beartype.beartype")

# A program, whose extra `mutants` the tests do not need.
collect_ignore = ["mutants.py"]
IMPORTS_TORCH = re.compile(
    r"^(import|from) (torch|minicfg|kernels|tests\.(hardening|notebooks))\b", re.M
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--cases`."""
    parser.addoption(
        "--cases",
        choices=("all", "sample", "rest"),
        default="all",
        help="Which cases of the tests marked `exhaustive` are run: all of them (the default), "
        "only the sample of `make test`, or only the rest, which `make hardening` runs.",
    )


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without torch, leave out the files that import it, and a folder whose `conftest.py` does."""
    if HAS_TORCH:
        return None
    file = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    if file.suffix != ".py" or not file.is_file() or file == Path(__file__):
        return None
    return True if IMPORTS_TORCH.search(file.read_text()) else None


def is_in_sample(name: str, one_in: int | None) -> bool:
    """Whether an exhaustive case is in the sample, which depends on nothing but its name.

    Every eighth case, counted, would be another one after a case was added before it; and in a grid
    it would always have the same value of the last parameter. A hash of the name has neither fault.
    """
    if one_in is None:
        return False
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") % one_in == 0


def sample(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests that are not exhaustive, and the sample of those that are."""
    chosen = list[pytest.Item]()
    cases = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        marker = item.get_closest_marker("exhaustive")
        if marker is None:
            chosen.append(item)
            continue
        one_in = marker.kwargs.get("one_in")
        if one_in is not None:
            cases[item.nodeid.partition("[")[0]].append(item)
        if is_in_sample(item.name, one_in):
            chosen.append(item)
    # A function none of whose cases is in the sample is represented by its first case.
    taken = {item.nodeid.partition("[")[0] for item in chosen}
    chosen += [those[0] for function, those in cases.items() if function not in taken]
    return chosen


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of a lesson, and deselect the cases that `--cases` leaves out.

    The tests of `test_step04_*.py` get the marker `step04`, so that `pytest -m step04` runs them,
    and those of `appendix/test_d_*.py` get `appendix_d`.
    """
    for item in items:
        step = re.match(r"test_(step\d\d)_", item.path.name)
        if step:
            item.add_marker(step.group(1))
        appendix = re.match(r"test_([a-q])_", item.path.name)
        if appendix and item.path.parent.name == "appendix":
            item.add_marker(f"appendix_{appendix.group(1)}")
    cases = config.getoption("cases")
    if cases == "all":
        return
    in_sample = set(sample(items))
    kept = [item for item in items if (item in in_sample) == (cases == "sample")]
    kept_items = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept_items])
    items[:] = kept


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Run as users do, without shape checks, so that the package's own checks raise the errors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
