"""The lecture `kernels/README.md`: its code, counts and times hold; its exercises are solved.

`test_inspection.py` and `test_ladder.py` compare its tables with the compiler.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kernels import philox, triton_step
from kernels.bench import report
from kernels.bench.report import Measurement, Timing
from kernels.inspection.compile import TARGETS, Variant, compile_launch

ROOT = Path(__file__).parents[2]
README = (ROOT / "kernels/README.md").read_text()
RESULTS = sorted((ROOT / "kernels/results").glob("*.json"))
# The sources of the blocks of code in the lecture, in order.
SHOWN = (
    "bench/contenders.py",
    "ladder/rung1_mix.py",
    "ladder/rung2_step.py",
    "ladder/rung7_look_back.py",
    "triton_step.py",
)
RESULTS = [path for path in RESULTS if not path.name.endswith("-peers.json")]


def rows(text: str, first: str) -> list[list[str]]:
    """The cells of the Markdown table whose head begins with `first`."""
    lines = text.splitlines()
    begins = [i for i, line in enumerate(lines) if line.startswith(f"| {first}")]
    assert len(begins) == 1, f"{len(begins)} tables begin with {first}"
    table = next(list(g) for k, g in groupby(lines[begins[0] :], lambda s: s.startswith("|")) if k)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_the_code_is_the_code() -> None:
    """Every line shown stands in a source, in this order within its block."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == len(SHOWN)
    for block, path in zip(blocks, SHOWN, strict=True):
        source = (ROOT / "kernels" / path).read_text()
        at = -1
        for line in filter(None, block.splitlines()):
            at = source.find(f"\n{line}\n", at + 1)
            assert at >= 0, f"not in {path}, or not in this order: {line}"


def test_the_table_of_passes_adds_up() -> None:
    *operations, together = rows(README, "operation")
    passes = np.array([[int(n) for n in row[1:]] for row in operations])
    assert len(passes) == 9
    assert [f"**{n}**" for n in passes.sum(axis=0)] == together[1:]
    assert f"**{passes.sum() / 4} times**" in README  # 3 reads and 1 write


def test_the_free_instructions_follow_from_the_data_sheets() -> None:
    """A multiply-add counts as two operations; 16 and 8 bytes an element."""
    for name, bandwidth, flops, *free in rows(README, "GPU"):
        rate = float(flops) / 2 / float(bandwidth)  # instructions a byte
        assert [int(n) for n in free] == [round(rate * 16), round(rate * 8)], name
    assert 67e12 / 2 == 33.5e12
    assert "33.5e12 instructions per second" in README


def test_times_are_those_of_the_results() -> None:
    """Each file of results is shown as it is, beside the file."""
    folder = (ROOT / "kernels/results/README.md").read_text()
    for path in RESULTS:
        result = json.loads(path.read_text())
        about = result["machine"]
        assert {"date", "python", "torch", "triton"} <= set(about), path
        found = [
            Measurement(**m | dict(shape=tuple(m["shape"]), time=Timing(**m["time"])))
            for m in result["measurements"]
        ]
        for _, size in groupby(found, key=lambda m: (m.dtype, m.shape)):
            line = list(report.lines(list(size), first=False))[-1]
            assert line in folder, path
        assert (about.get("gpu") or about["processor"]) in folder, path
        assert f"({path.name})" in folder


# Exercise 1. Count.


class Traffic(TorchDispatchMode):
    """Counts the tensors of `numel` elements that operations read and write."""

    def __init__(self, numel: int) -> None:
        super().__init__()
        self.numel, self.passes = numel, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not any(r.alias_info for r in func._schema.returns):  # no views
            tensors = [a for a in args if isinstance(a, Tensor) and a.numel() == self.numel]
            self.passes += len(tensors) + 1
        return result


@pytest.mark.slow  # the first dispatch mode of a process imports 900 modules of torch's
def test_exercise_1_count() -> None:
    """21 passes against 6, so 3.5 times: clipping and looking back cost the kernel little more."""
    xt, out, x0prev = torch.randn(100), torch.randn(2, 100), torch.randn(100)
    p, q, a, b, e, w = 1.4, -1.0, 0.3, 0.7, 0.1, 2.0
    with Traffic(100) as traffic:
        cond, null = out[0], out[1]
        g = torch.add(cond, cond - null, alpha=w)
        x0hat = torch.add(p * xt, g, alpha=q).clamp(-1, 1)
        torch.add(torch.add(a * x0hat, xt, alpha=b), x0prev, alpha=e)
    assert traffic.passes == 21
    kernel = 4 + 2  # x_t, both halves and x0prev; x_s and x0hat
    assert traffic.passes / kernel == 3.5
    # In the table: bits of the wide accesses, over the 16 elements of a thread, 32 bits each.
    (row,) = [row for row in rows(README, "sm_90") if row[0] == "float32, x0hat kept and used"]
    wide = sum(int(n) for n in re.findall(r"(\d+) x 128", " ".join(row[5:7])))
    assert wide * 128 / (16 * 32) == kernel


# Exercise 2. Find the row.


def test_exercise_2_find_the_row() -> None:
    """Only b and c: x_s = sqrt(abar) x_t + sqrt(1 - abar) z. `w` is None, and `out` whatever it is.

    Since p = q = a = 0, the output is read and multiplied by 0; it only must be finite.
    """
    abar, ids, seed = 0.3, torch.tensor([5, 2]), 11
    row = [0.0, 0.0, 0.0, abar**0.5, (1 - abar) ** 0.5, 0.0, 0.0, 0.0]
    x0 = torch.linspace(-1, 1, 24).reshape(2, 3, 4)
    xt, _ = triton_step.guided_step(
        x0, torch.full_like(x0, 1e3), torch.tensor([row]), 0, None, seed=seed, sample_ids=ids
    )
    z = philox.normal_numpy(seed, ids.numpy(), 1, (3, 4))  # row 0 is step 1
    wanted = abar**0.5 * x0.double().numpy() + (1 - abar) ** 0.5 * z
    # Three roundings of numbers below 4, and a float32 normal, right to 2e-6.
    np.testing.assert_allclose(xt.numpy(), wanted, rtol=0, atol=3 * 2**-24 * 4 + 2e-6)


# Exercise 3. Compile.


@triton.jit
def normals_by_randn(seed, step, sample_id, block, STREAM: tl.constexpr):
    """In the shape of `kernels.triton_normals.normals`, from Triton's generator, one call each."""
    four = tl.arange(0, 2)[:, None] * 2 + tl.arange(0, 2)[None, :]
    element = 4 * block[:, :, None, None] + four[None, None, :, :].to(tl.uint32)
    return tl.randn(seed, element)


def inspect_randn() -> dict[str, Any]:
    """What the compiler makes of it; to be called where kernels are not interpreted."""
    triton_step.normals = normals_by_randn
    found = compile_launch(Variant().launch(), TARGETS["sm_90"])
    return dict(
        per_element=found.per_element,
        quiet=found.per_element_without_noise,
        stack=found.stack,
        repeats=found.repeats,
    )


@pytest.mark.slow
@pytest.mark.exhaustive
def test_exercise_3_compile() -> None:
    """Three times the instructions of the whole step, more than any chip has time for."""
    folder = str(Path(__file__).parent)
    program = f"import sys; sys.path.insert(0, {folder!r}); import json, test_readme as t; "
    command = [sys.executable, "-c", program + "print(json.dumps(t.inspect_randn()))"]
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout)
    # Counted under Triton 3.6 and 3.7: 182, with 32 bytes of stack; under 3.9: 228, without.
    assert 150 < found["per_element"] < 260
    assert found["per_element"] > max(int(n) for row in rows(README, "GPU") for n in row[3:])
    assert found["repeats"] > 0
    assert found["quiet"] < 25  # the noise is all the difference
    pinned = re.search(r"triton==([\d.]+)", (ROOT / "constraints.txt").read_text())
    if pinned and triton.__version__ == pinned[1]:
        assert (round(found["per_element"]), found["stack"]) == (182, 32)
        assert "it has 182, a stack, and loops" in README
