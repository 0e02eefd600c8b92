"""Set-up of every test: shapes are executed, lessons carry markers, Triton interprets."""

from __future__ import annotations

import builtins
import os
import re
from collections.abc import Iterator

import jaxtyping
import pytest
import torch

# Before any kernel module is imported: a decorated kernel is then run by Triton's interpreter.
os.environ.setdefault("TRITON_INTERPRET", "1")
# And a GPU that there may be is left alone, so that a test is the same everywhere. Those of the
# kernels and of `test_gpu.py` are compiled and run on it by TRITON_INTERPRET=0.
if os.environ["TRITON_INTERPRET"] != "0":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

# The packages import their shape types for type checkers only, so that they run without jaxtyping.
# Here the names are put in scope and every annotated call is checked against its shapes.
for _name in ("Bool", "Float", "Int", "UInt"):
    setattr(builtins, _name, getattr(jaxtyping, _name))
# A program, whose extra `mutants` the tests do without.
collect_ignore = ["mutants.py"]
# Small tensors: a second thread a process costs more in waiting than it brings.
torch.set_num_threads(1)
jaxtyping.install_import_hook(
    ["tutorial", "minicfg", "kernels.philox", "kernels.reference", "kernels.dispatch"],
    "beartype.beartype",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark `test_step04_*.py` with `step04`: `pytest -m step04` is that lesson's syllabus."""
    for item in items:
        step = re.match(r"test_(step\d\d)_", item.path.name)
        if step:
            item.add_marker(step.group(1))


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Run as users do, without shape checks, so that the package's own refusals answer."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
