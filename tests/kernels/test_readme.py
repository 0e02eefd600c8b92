"""The lecture `kernels/README.md`: its code, counts and times hold; its exercises are solved.

`test_inspection.py` and `test_ladder.py` compare its tables with the compiler.
"""

from __future__ import annotations

import json
import math
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

from kernels import graph, philox, reference, triton_normals, triton_step
from kernels.bench import report
from kernels.bench.report import Measurement, Timing
from kernels.inspection.compile import TARGETS, Variant, compile_launch
from kernels.ladder import rung1_mix, rung3_noise, rung6_tiles
from tests.kernels.device import DEVICE

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
    # Four schedulers start an instruction of a warp of 32 threads each, in every clock.
    assert f"{132 * 4 * 32 * 1.98e9 / 1e12:.1f}" == "33.5"
    rung1 = " ".join((rung1_mix.__doc__ or "").split())
    assert "132 multiprocessors x 128 x 1.98e9 clocks per second = 33.5e12" in rung1


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


def test_times_are_compared_with_the_bytes_of_the_data_sheet() -> None:
    """From 64 MiB on: the kernel and `torch.compile`, over 4 passes at 3.35 TB/s."""
    result = json.loads((ROOT / "kernels/results/nvidia-h100-80gb-hbm3.json").read_text())
    ratios: dict[tuple[str, str], list[float]] = {}
    for m in result["measurements"]:
        size = math.prod(m["shape"]) * {"float32": 4, "bfloat16": 2}[m["dtype"]]
        if size >= 2**26:
            ratio = m["time"]["median"] / 1e3 / (4 * size / 3.35e12)
            ratios.setdefault((m["dtype"], m["way"]), []).append(ratio)
    span = {key: f"{min(found):.2f} to {max(found):.2f}" for key, found in ratios.items()}
    rung3 = " ".join((rung3_noise.__doc__ or "").split())
    wide, narrow = span["float32", "compiled"], span["bfloat16", "compiled"]
    assert f"`torch.compile` takes {narrow} times as long. In float32" in TEXT
    assert f"`torch.compile` takes {wide} times as long. The kernel" in TEXT
    assert f"took {wide} times the time" in rung3 and f"and {narrow} times in bfloat16" in rung3
    wide, narrow = span["float32", "fused"], span["bfloat16", "fused"]
    assert f"takes {narrow} times as long in bfloat16 and {wide} times in float32" in TEXT
    assert f"Rung 8 took {wide} and {narrow} times" in rung3
    assert min(ratios["bfloat16", "compiled"]) > 132 / 80  # the count is a lower bound
    # Sitting 12 compares the times of 256 MiB in the same way.
    sitting = (ROOT / "notebooks/12_the_whole_kernel.py").read_text(encoding="utf-8")
    bytes_us = 1e6 * 4 * 2**28 / 3.35e12
    for way in ("compiled", "fused"):
        us = bytes_us * ratios["bfloat16", way][1]
        assert f"${us:.0f} / {bytes_us:.0f} = {us / bytes_us:.1f}$ times that time" in sitting
    assert f"at least $132 / 80 = {132 / 80:.2f}$ times the time of the bytes" in sitting
    assert not re.search("products counted twice|half the rate", sitting)


def test_times_below_64_mib_are_those_of_the_results() -> None:
    """The kernel's times up to 1 MiB, and its fraction of a copy at 4 and 16 MiB."""
    result = json.loads((ROOT / "kernels/results/nvidia-h100-80gb-hbm3.json").read_text())
    us: dict[str, dict[int, list[float]]] = {}
    copies: dict[tuple[str, int], float] = {}
    of_copy: list[float] = []
    for m in result["measurements"]:
        size = math.prod(m["shape"]) * {"float32": 4, "bfloat16": 2}[m["dtype"]]
        time = 1e3 * m["time"]["median"]
        us.setdefault(m["way"], {}).setdefault(size, []).append(time)
        if m["way"] == "copy":
            copies[m["dtype"], size] = time
        if m["way"] == "fused" and size in (2**22, 2**24):
            of_copy.append(copies[m["dtype"], size] / time)
    small = [time for size, times in us["fused"].items() if size <= 2**20 for time in times]
    assert f"Up to 1 MiB a step takes {min(small):.1f} to {max(small):.1f} us" in TEXT
    low, high = 100 * min(of_copy), 100 * max(of_copy)
    assert f"at 4 and 16 MiB the kernel reaches {low:.0f} to {high:.0f} % of a copy" in TEXT
    spans = []
    for way in ("fused", "compiled, given"):
        times = [time for size, found in us[way].items() if size <= 2**16 for time in found]
        spans.append(f"{min(times):.1f} to {max(times):.1f}")
    results = " ".join((ROOT / "kernels/results/README.md").read_text().split())
    fused, given = spans
    text = f"Up to 64 KiB a recorded step takes {fused} us, and `torch.compile` with given noise"
    assert f"{text} {given}." in results


def test_a_replay_needs_the_copies_of_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each copy is one read and one write more. A replay needs them to read the new state."""
    monkeypatch.setattr(graph, "_replay_of", lambda run, device: run)

    def looks_back(k: Tensor, x: Tensor, x0prev: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * x + x0prev + k, x + 1

    def keeps_no_guess(k: Tensor, x: Tensor, x0prev: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * x + k, x0prev

    for step, copied in ((looks_back, 2), (keeps_no_guess, 1)):
        k, x, x0hat = torch.tensor(3), torch.zeros(100), torch.ones(100)
        replayed = graph.record(step, k, x, x0hat)
        found = replayed(k, x, x0hat)
        with Copies() as copies:
            found = replayed(k, *found)
        assert copies.tensors == copied
        for i in (3, 4):
            x, x0hat = step(torch.tensor(i), x, x0hat)
        assert torch.equal(found[0], x) and torch.equal(found[1], x0hat)
    rung8 = " ".join((triton_step.__doc__ or "").split())
    passes = (4, 4 + 2 * 1, 6, 6 + 2 * 2)  # a solver that looks back keeps its guess
    assert "a step moves {1} passes and not {0}, or {3} and not {2}".format(*passes) in rung8
    for text in (rung8, TEXT.replace("`", "")):
        assert "copies x_s to the place of x_t, and x0hat to that of x0prev if the guess" in text


class Copies(TorchDispatchMode):
    """Counts tensors that are copied; to copy a tensor to itself moves nothing."""

    tensors = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.copy_.default:
            self.tensors += args[0] is not args[1]
        return func(*args, **(kwargs or {}))


def test_the_drawing_of_z_takes_longer_than_its_bytes() -> None:
    """From 64 MiB on: eight of the nine operations move their passes as fast as the kernel."""
    result = json.loads((ROOT / "kernels/results/nvidia-h100-80gb-hbm3.json").read_text())
    size_of = {"float32": 4, "bfloat16": 2}
    us: dict[tuple[str, int], dict[str, float]] = {}
    for m in result["measurements"]:
        size = math.prod(m["shape"]) * size_of[m["dtype"]]
        us.setdefault((m["dtype"], size), {})[m["way"]] = 1e3 * m["time"]["median"]
    us = {key: ways for key, ways in us.items() if key[1] >= 2**26}
    assert len(us) == 6
    drawn = {key: ways["eager"] - ways["eager, given"] for key, ways in us.items()}
    over_bytes = {key: t / (key[1] / 3.35e6) for key, t in drawn.items()}
    slower = [ways["eager, given"] / ways["fused"] for ways in us.values()]
    eight = [21 * key[1] / 1e3 / ways["eager, given"] for key, ways in us.items()]
    kernel = [4 * key[1] / 1e3 / ways["fused"] for key, ways in us.items()]
    wide, narrow = ("float32", 2**28), ("bfloat16", 2**28)

    span = f"{min(slower):.1f} to {max(slower):.1f} times as long as the kernel"
    sheet = f"{2**28 / 3.35e6:.0f} by the data sheet"
    assert f"other eight operations take {span}, and 21 / 4 = {21 / 4} is predicted" in TEXT
    assert f"21 passes at {min(eight):,.0f} to {max(eight):,.0f} GB/s" in TEXT
    assert f"the kernel its 4 at {min(kernel):,.0f} to {max(kernel):,.0f}. The drawing" in TEXT
    assert f"takes {drawn[narrow]:.0f} microseconds, and its bytes take {sheet}" in TEXT
    assert f"half as many elements, it takes {drawn[wide]:.0f}. So" in TEXT
    folder = " ".join((ROOT / "kernels/results/README.md").read_text().split())
    for dtype, phrase in (
        ("float32", "it takes {} times the time of its bytes by the data sheet in float32"),
        ("bfloat16", "and {} times in bfloat16"),
    ):
        found = [ratio for key, ratio in over_bytes.items() if key[0] == dtype]
        assert phrase.format(f"{min(found):.1f} to {max(found):.1f}") in folder
    nine = (ROOT / "notebooks/09_the_fused_kernel.py").read_text(encoding="utf-8")
    assert f"and take {span} with its 4" in nine
    assert f"in bfloat16 it takes {drawn[narrow]:.0f} us, and the bytes take {sheet}" in nine
    twelve = (ROOT / "notebooks/12_the_whole_kernel.py").read_text(encoding="utf-8")
    ways = us[narrow]
    given, fused = ways["eager, given"], ways["fused"]
    for phrase in (
        f"take {given:,.0f} us for 21 passes. This is {21 * 2**28 / 1e3 / given:,.0f} GB/s, and "
        f"the kernel has {4 * 2**28 / 1e3 / fused:,.0f}.",
        f"${given:.0f} / {fused:.0f} = {given / fused:.1f}$ times as long",
        f"${ways['eager']:.0f} - {given:.0f} = {drawn[narrow]:.0f}$ us, and its bytes take {sheet}",
        f"half as many elements, and the drawing takes {drawn[wide]:.0f} us",
    ):
        assert phrase in twelve, phrase
    hints = (ROOT / "notebooks/check/ex_12.py").read_text(encoding="utf-8")
    rest, excess = ways["eager"] - 22 * 2**28 / 3.35e6, drawn[narrow] - 2**28 / 3.35e6
    assert excess > rest / 2
    assert "More than half " in hints


def test_the_profiler_counts_what_the_listing_has() -> None:
    """An instruction there is one of a warp of 32 threads."""
    counters = (ROOT / "kernels/results/nvidia-h100-80gb-hbm3-ncu.txt").read_text()
    executed = re.findall(r"smsp__inst_executed.sum +inst +([\d,]+)", counters)
    each = [int(n.replace(",", "")) * 32 / (1024 * 4 * 64 * 64) for n in executed]
    assert len(each) == 2
    assert f"counted {executed[0]} executed instructions of warps in float32" in TEXT
    assert f"and {executed[1]} in bfloat16" in TEXT
    assert f"these are {each[0]:.1f} and {each[1]:.1f} per element" in TEXT


def test_two_warps_or_four() -> None:
    """Rung 8 gives what the other number of warps loses."""
    results = (ROOT / "kernels/results/README.md").read_text()
    table = rows(results, "kernel ")
    cells = {row[0]: [cell.replace("*", "").split(", ") for cell in row[1:]] for row in table}
    wide, narrow = cells["step, 3 x 73 x 75, an odd size"]
    lost = [100 * (1 - int(speeds[1]) / int(speeds[0])) for speeds in (wide, narrow)]
    rung8 = " ".join(Path(triton_step.__file__).read_text().replace("#", "").split())
    assert f"lost {lost[0]:.0f} % of its speed with 2 in float32, and {lost[1]:.0f} %" in rung8
    assert f"two warps lose {lost[0]:.0f} % of the speed in float32" in rung8
    four = int(cells["step, 4 x 64 x 64"][1][0])
    recorded = rows(results.split("## Launched")[0], "x_t ")
    (copy,) = [row[1] for row in recorded if row[0] == "bfloat16 8192x4x64x64"]
    assert f"with four warps at {100 * four / int(copy):.0f} % of it" in rung8


# The tasks of rungs 1, 2, 4, 5 and 6, whose answers stand in the lecture.

TEXT = " ".join(README.split())


def test_task_of_rung_1_programs_and_places() -> None:
    n, BLOCK = 1_000_000, rung1_mix.BLOCK
    programs = triton.cdiv(n, BLOCK)
    assert f"so there are {programs} programs" in TEXT
    assert f"{programs * BLOCK:,} places, of which {programs * BLOCK - n} are masked" in TEXT
    assert n % 16 == 0 and (n + 1) % 16 != 0
    assert (2 + 3 / 4, 2 + 3) == (2.75, 5)
    assert "the count is 5 per element and not 2.75" in TEXT


def test_task_of_rung_2_in_bfloat16() -> None:
    """The count of the compiled code, 17.4, is compared in `test_ladder.py`."""
    (h100, _) = rows(README, "GPU")
    assert f"1 before the store: {8 + 4 / 8 + 3 + 1} per element" in TEXT
    assert f"At {4 * 2} bytes {h100[4]} are free" in TEXT


def test_task_of_rung_4_joins_eight_in_order() -> None:
    """NumPy's `stack` along a new last axis is `tl.join`."""
    (answer,) = re.findall(r"```text\n(join.*?)```", README, re.DOTALL)
    i = np.arange(5)
    names = {f"z{j}": 8 * i + j for j in range(8)}  # number i of z_j belongs to element 8 i + j
    joined = eval(answer, {"join": lambda x, y: np.stack([x, y], axis=-1)} | names)
    np.testing.assert_array_equal(joined.reshape(-1), np.arange(40))


@triton.jit
def one_pair(word, turn, z):
    """Two normals of two words."""
    z0, z1 = triton_normals.normal_pair(tl.load(word), tl.load(turn))
    tl.store(z, z0)
    tl.store(z + 1, z1)


def test_task_of_rung_5_by_hand() -> None:
    """By the kernel, and by the formula of Box and Muller."""
    word, turn = 2**31, 2**29
    by_hand = math.sqrt(math.log(2))
    assert f"sqrt(log 2) = {by_hand:.4f}" in TEXT
    assert np.float32(np.float32(word) / 2**32 + 2**-33) == 0.5
    r, angle = math.sqrt(2 * math.log(2)), 2 * math.pi * turn / 2**32
    assert r * math.cos(angle) == pytest.approx(by_hand, rel=1e-12)
    assert f"= {r:.4f} x {math.cos(angle):.4f} = {by_hand:.4f}" in TEXT
    z = torch.zeros(2, device=DEVICE)
    words = [torch.tensor([v], dtype=torch.int64, device=DEVICE) for v in (word, turn)]
    one_pair[(1,)](*[v.to(torch.uint32) for v in words], z)
    np.testing.assert_allclose(z.cpu().numpy(), by_hand, rtol=0, atol=2e-6)


def test_task_of_rung_6_tiles() -> None:
    """The count of the compiled code, 54.6, is that of the table."""
    n = 1 * 28 * 28
    SAMPLES, BLOCK = rung6_tiles.tile(n)
    grid = (triton.cdiv(n, BLOCK), rung6_tiles.groups(64, SAMPLES))
    text = f"n = {n}, so BLOCK = {BLOCK}, SAMPLES = {SAMPLES}, and the grid is {grid}"
    assert text in TEXT
    masked = BLOCK - n
    assert f"{masked} are masked, which is {100 * masked / BLOCK:.0f} %" in TEXT
    (row,) = [row for row in rows(README, "rung, sm_90") if row[0] == "6 tiles"]
    each = float(row[4]) * BLOCK / n
    assert f"{row[4]} x {BLOCK} / {n} = {each:.1f} per element that exists" in TEXT
    assert each < 160


# Exercise 1. Count.


class Traffic(TorchDispatchMode):
    """Counts operations, and the tensors of `numel` elements that they read and write."""

    def __init__(self, numel: int) -> None:
        super().__init__()
        self.numel, self.passes, self.operations = numel, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        aliases = [r.alias_info for r in func._schema.returns if r.alias_info]
        if all(alias.is_write for alias in aliases):  # no views
            self.operations += 1
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


@pytest.mark.slow
def test_the_operations_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight if the drawing of z is one. The generator of a GPU is more than a hundred by itself."""
    (*_, operations) = re.findall(r"it has (\d+) operations and (\d+) passes", TEXT)
    assert operations == ("8", "19")
    assert "generator alone is more than a hundred operations" in TEXT
    monkeypatch.setattr(philox, "words", philox._words_torch)  # which runs on a GPU
    xt, out, ids = torch.randn(4, 100), torch.randn(8, 100), torch.arange(4)
    counted = {}
    for c in (0.0, 0.5):
        rows = torch.tensor([(1.4, -1.0, 0.3, 0.7, c, 0.0, 0.0, 1.0)])
        with Traffic(xt.numel()) as traffic:
            reference.guided_step(xt, out, rows, 0, 2.0, seed=1, sample_ids=ids, clip=1.0)
        counted[c] = traffic
    assert counted[0.0].operations + 2 == 8  # z is drawn, and c z is added
    assert counted[0.0].passes + 1 + 3 == 19
    with Traffic(xt.numel()) as traffic:
        philox.normal(1, ids, 1, (100,))
    assert traffic.operations > 100
    assert counted[0.5].operations == counted[0.0].operations + traffic.operations + 1


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
