"""The kernel's machine code: no stack, no spills, wide accesses, few instructions; and its reader.

Tests interpret Triton, and what is interpreted cannot be compiled. So one other process compiles
the few kernels that are looked at here and says what it found in JSON.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import triton

from kernels import triton_step
from kernels.inspection import compile as inspection
from kernels.inspection import machine_code
from kernels.inspection.compile import Noising, Variant

ROOT = Path(__file__).parents[2]
BF16 = torch.bfloat16
# Every dtype, kind of w and history with each other option at least once.
STEPS = [
    Variant(),
    Variant(w="each", history="used"),
    Variant(w="none", history="kept"),
    Variant(torch.float16, w="each", history="kept"),
    Variant(torch.float16, w="none", history="used"),
    Variant(BF16),
    Variant(BF16, w="each", history="used"),
    Variant(k_on_device=True),
]
SHOWN = list(inspection.README_VARIANTS)
ON = {
    "sm_80": SHOWN,
    "sm_90": SHOWN + [v for v in STEPS if v not in SHOWN] + [Noising(BF16, "v")],
    "gfx942": SHOWN,
}
# The process's arguments: pairs of a target and the repr of a variant, which Python reads back.
PROGRAM = """
import json, sys
from dataclasses import asdict, replace
import torch
from torch import bfloat16, float16, float32
from triton.runtime.jit import create_function_from_signature
from kernels.inspection.compile import *
from kernels.inspection.compile import source

found = {}
for target, variant in json.loads(sys.argv[1]):
    launch = eval(variant).launch()
    found[target + variant] = asdict(compile_launch(launch, TARGETS[target]))

    # What Triton would compile for this launch, by the code that its own launches go through.
    backend, kernel, given = make_backend(TARGETS[target]), launch.kernel, dict(launch.options)
    bind = create_function_from_signature(kernel.signature, kernel.params, backend)
    bound, special, options = bind(*launch.args, **given)
    packed = kernel._pack_args(backend, given, bound, special, backend.parse_options(options))
    ours = source(launch, TARGETS[target])
    names = kernel.arg_names
    constants = {names[path[0]]: value for path, value in packed[2].items()}
    assert ours.signature == packed[1], (ours.signature, packed[1])
    assert {names[i[0]]: v for i, v in ours.constants.items()} == constants
    assert {i: v for i, v in ours.attrs.items() if v} == {i: v for i, v in packed[3].items() if v}

# Where accesses are of single elements: with fewer warps per program than the launcher chooses.
odd = Variant(odd=True).launch()
for warps in (2, 1):
    launch = replace(odd, options=odd.options | {"num_warps": warps})
    found[f"odd, {warps} warps"] = asdict(compile_launch(launch, TARGETS["sm_90"]))

# What the benchmark counts on a GPU: its own launch, of tensors with data, recorded.
from kernels.bench import run as bench
from kernels.bench import contenders
contenders.guided_step = triton_step.guided_step
problem = bench.Problem.of((64, 4, 64, 64), float32, "cpu")
found["timed"] = [
    bench.instructions_per_element(problem, given, TARGETS["sm_90"]) for given in (False, True)
]
print(json.dumps(found))
"""


def compiling(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with Triton's compiler in place of its interpreter."""
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)


# The tests that use `reports`, which compiles every variant: half a minute of processor time.
compiles = pytest.mark.exhaustive


@pytest.fixture(scope="module")
def reports() -> dict[str, Any]:
    asked = [(target, repr(variant)) for target, chosen in ON.items() for variant in chosen]
    ran = compiling("-c", PROGRAM, json.dumps(asked))
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout)


def report(reports: dict[str, Any], target: str, variant: Variant | Noising) -> machine_code.Report:
    """As it was, its keys integers again."""
    return read(reports[target + repr(variant)])


def read(said: dict[str, Any]) -> machine_code.Report:
    for way in ("loads", "stores"):
        said[way] = {int(bits): n for bits, n in said[way].items()}
    return machine_code.Report(**said)


@pytest.mark.slow
@compiles
@pytest.mark.parametrize("target", ON)
def test_no_stack_no_spills_nothing_runs_twice(target: str, reports: dict[str, Any]) -> None:
    for variant in ON[target]:
        r = report(reports, target, variant)
        assert (r.stack, r.spills) == (0, 0), variant
        if isinstance(variant, Variant) and not variant.channels_last:
            # With channels last, Triton 3.6 puts one of AMD's blocks out of order: it jumps back.
            assert r.repeats == 0, variant
        # 72 registers leave a multiprocessor of 65,536 of them 28 of these warps.
        assert 16 < r.registers <= 72, variant
        # Four neighbours' normals are made by one thread. It has these elements, too, if its
        # accesses are of four; of eight or of one, normals move through shared memory.
        if isinstance(variant, Variant):
            moves = variant.odd or variant.dtype.itemsize == 2
            assert r.shared == (0 if not moves else 4096 if variant.odd else 2048), variant


@pytest.mark.slow
@compiles
@pytest.mark.parametrize(
    ("target", "variant"),
    [(target, v) for target in ON for v in ON[target] if v in STEPS],
    ids=str,
)
def test_every_access_to_a_tensor_is_128_bits_wide(
    target: str, variant: Variant, reports: dict[str, Any]
) -> None:
    """The 128-bit accesses alone move all that a thread must: so no tensor has any other."""
    r = report(reports, target, variant)
    reads = 3 - (variant.w == "none") + (variant.history == "used")
    writes = 1 + (variant.history != "none")
    each = r.elements * variant.dtype.itemsize
    assert 16 * r.loads[128] == reads * each
    assert 16 * r.stores[128] == writes * each
    assert set(r.stores) == {128}
    scalars = sum(n for bits, n in r.loads.items() if bits < 128)
    assert scalars <= 8 + 3  # the row; k, the sample's id and its w


@pytest.mark.slow
@compiles
def test_the_float32_step_is_at_most_56_instructions_an_element(reports: dict[str, Any]) -> None:
    for variant in STEPS:
        if variant.dtype == torch.float32:
            r = report(reports, "sm_90", variant)
            assert r.elements == 16
            assert r.per_element <= 56, variant
            # Of these the noise, skipped where c = 0, is two thirds: 10 rounds of Philox for four
            # elements, each at least 2 x 2 products and 2 exclusive ors, are 15 an element alone.
            assert 15 < r.skippable / r.elements < 45
    bf16 = report(reports, "sm_90", STEPS[5])
    assert bf16.per_element <= 60  # conversions, and pairs of noise through shared memory


@pytest.mark.slow
@compiles
def test_what_is_timed_is_what_is_inspected(reports: dict[str, Any]) -> None:
    """With given noise, one more tensor is read, and the noise is not made."""
    plain = report(reports, "sm_90", Variant())
    own, given = reports["timed"]
    assert own == plain.per_element
    assert plain.per_element_without_noise < given < plain.per_element_without_noise + 8
    # A `k` in memory, an int64, is one load more, as kernels/README.md says below its tables.
    assert report(reports, "sm_90", Variant(k_on_device=True)).loads == plain.loads | {64: 1}


@pytest.mark.slow
@compiles
def test_sizes_that_vectors_do_not_divide_fall_back_to_single_elements(
    reports: dict[str, Any],
) -> None:
    r = report(reports, "sm_90", Variant(odd=True))
    assert set(r.loads) | set(r.stores) == {32}
    assert r.elements == 3 * 31 * 33 / (3 * 128)  # three programs a sample, the last one ragged


@pytest.mark.slow
@compiles
def test_sitting_12_shows_the_odd_size_with_fewer_warps(reports: dict[str, Any]) -> None:
    """Exercise 12.5: instructions per place of a tile, registers, and the warps that fit."""
    pinned = re.search(r"triton==([\d.]+)", (ROOT / "constraints.txt").read_text())
    if not pinned or triton.__version__ != pinned[1]:
        pytest.skip("the text is for the Triton that is pinned")
    r = {warps: read(reports[f"odd, {warps} warps"]) for warps in (2, 1)}
    r[4] = report(reports, "sm_90", Variant(odd=True))
    places = {warps: each.instructions * 32 * warps / triton_step.TILE for warps, each in r.items()}
    rounded = {warps: 8 * math.ceil(each.registers / 8) for warps, each in r.items()}
    fit = {warps: 65536 // (32 * warps * regs) * warps for warps, regs in rounded.items()}
    programs = {warps: fit[warps] // warps for warps in fit}
    assert (programs[4], programs[2]) == (10, 10)
    text = (ROOT / "notebooks/12_the_whole_kernel.py").read_text(encoding="utf-8")
    for phrase in (
        f"its code has {places[2]:.0f} instructions per place of a tile, and 2,999 GB/s with 4 "
        f"warps and {places[4]:.0f} instructions",
        f"{places[4]:.0f} and {places[2]:.0f} are far below 160. Not C",
        f"a thread has {r[4].registers} registers with 4 warps per program and {r[2].registers} "
        f"with 2. They are allocated in groups of 8, so the {r[4].registers} take {rounded[4]}.",
        f"10 programs fit in both cases: {fit[4]} warps and {fit[2]}.",
        f"a thread has {r[1].registers} registers, so only {programs[1]} programs fit",
    ):
        assert phrase in text, phrase
    results = (ROOT / "kernels/results/README.md").read_text(encoding="utf-8")
    by_warps = [(places[n], r[n].registers, programs[n]) for n in (4, 2, 1)]
    lists = (
        "{:.0f}, {:.0f} and {:.0f}".format(*numbers) for numbers in zip(*by_warps, strict=True)
    )
    has, registers, fitting = lists
    results = " ".join(results.split())
    assert f"for an H100 has {has} instructions per place of a tile" in results
    assert f"A thread has {registers} registers, so {fitting} programs fit" in results
    hints = (ROOT / "notebooks/check/ex_12.py").read_text(encoding="utf-8")
    assert f"two warps execute {places[2]:.0f} instructions per place and four" in hints
    assert f"execute {places[4]:.0f}. Both" in hints


def test_the_recorder_launches_nothing_and_is_put_away() -> None:
    kernel = triton_step.step_kernel
    launch = Variant(history="used").launch()
    assert triton_step.step_kernel is kernel is launch.kernel
    assert launch.grid == (16, 64, 1)
    assert launch.elements == 64 * 4 * 64 * 64
    assert launch.args[0].device.type == "meta"
    with pytest.raises(ZeroDivisionError):
        inspection.record_launch(triton_step, "step_kernel", lambda: 1 / 0, 1)
    assert triton_step.step_kernel is kernel


def test_every_variant_is_named_and_launched_once() -> None:
    chosen = list(inspection.variants())
    assert len({str(v) for v in chosen}) == len(chosen) == 3 * (3 * 3 * 2 * 2 + 1 + 4)
    for variant in (*STEPS, *SHOWN):
        assert variant in chosen
        assert variant.launch().elements > 0


def lines_of(target: str, reports: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of a table, made of what the other process found."""
    monkeypatch.setattr(Variant, "launch", lambda variant: variant)
    monkeypatch.setattr(Noising, "launch", lambda variant: variant)
    monkeypatch.setattr(
        inspection, "compile_launch", lambda variant, _: report(reports, target, variant)
    )
    return list(inspection.table(target, inspection.README_VARIANTS))


@pytest.mark.slow
@compiles
@pytest.mark.parametrize("target", ON)
def test_the_lecture_shows_what_the_compiler_makes(
    target: str, reports: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the digit under the Triton that is pinned; another version makes other code."""
    pinned = re.search(r"triton==([\d.]+)", (ROOT / "constraints.txt").read_text())
    readme = (ROOT / "kernels/README.md").read_text()
    assert pinned and f"Triton {pinned[1]}" in readme
    if triton.__version__ != pinned[1]:
        pytest.skip(f"the tables are for triton {pinned[1]}, and this is {triton.__version__}")
    *lines, _ = lines_of(target, reports, monkeypatch)
    assert len(lines) == 2 + len(SHOWN)
    assert "\n".join(lines) in readme, "paste what python -m kernels.inspection --few prints"


def test_the_program_prints_a_table_for_each_target(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = machine_code.Report(40, 1, 2, 0, {128: 6, 32: 8}, {128: 2}, 461, 307, 1, 8.0)
    monkeypatch.setattr(inspection, "compile_launch", lambda launch, target: found)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(sys, "argv", ["inspection", "--few"])
    assert inspection.main() == 0
    out = capsys.readouterr().out
    assert out.count("| 40        | 1      | 2     | 0      | 6 x 128, 8 x 32") == 3 * len(SHOWN)
    assert "57.6+" in out
    assert out.count("6 kernels: at most 40 registers; 18 spills and bytes of stack") == 3


def test_where_there_is_only_the_interpreter_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(sys, "argv", ["inspection"])
    assert inspection.main() == 4
    assert "unset it" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["inspection", "sm_99"])
    with pytest.raises(SystemExit, match="2"):
        inspection.main()
    assert "sm_99 is unknown: choose from sm_80, sm_90, gfx942" in capsys.readouterr().err


AMD = """
kernel:
	s_load_dwordx2 s[2:3], s[0:1], 0x0
	s_cbranch_vccnz .LBB0_2  ; over three
	global_load_dwordx4 v[0:3], v[0:1], off
	buffer_load_ushort v1, v2, s[4:7], 0
	global_load_b64 v[0:1], v2, off
.LBB0_2:
	global_store_dwordx2 v[4:5], v[0:1], off
	s_cbranch_scc1 .LBB0_2
	s_endpgm
	.section	.rodata
    .group_segment_fixed_size: 128
    .private_segment_fixed_size: 24
    .sgpr_spill_count: 1
    .vgpr_count:     28
    .vgpr_spill_count: 2
"""


def test_amds_assembly_is_read() -> None:
    r = machine_code.read_amdgcn(AMD, 2.0)
    assert (r.registers, r.spills, r.stack, r.shared) == (28, 3, 24, 128)
    assert (r.loads, r.stores) == ({128: 1, 64: 1, 16: 1}, {64: 1})
    assert (r.instructions, r.skippable, r.repeats) == (8, 3, 1)
    assert (r.per_element, r.per_element_without_noise) == (4, 2.5)


SASS = """
 Function kernel:
  REG:40 STACK:24 SHARED:16 LOCAL:0 CONSTANT[0]:448
	code for sm_90
        /*0000*/  LDC R1, c[0x0][0x28] ;  /* 0x00 */
  /* 0x00 */
        /*0010*/  @!P4 BRA 0x50 ;  /* 0x00 */
        /*0020*/  @P0 LDG.E.128.CONSTANT R12, desc[UR10][R8.64] ;  /* 0x00 */
        /*0030*/  LDG.E.U16 R9, desc[UR10][R6.64+0x800] ;  /* 0x00 */
        /*0040*/  STL.64 [R1], R2 ;  /* 0x00 */
        /*0050*/  STG.E desc[UR10][R34.64], R20 ;  /* 0x00 */
        /*0060*/  CALL.REL.NOINC 0x80 ;  /* 0x00 */
        /*0070*/  EXIT ;  /* 0x00 */
        /*0080*/  @P1 BRA 0x80 ;  /* 0x00 */
"""


def test_nvidias_listing_is_read() -> None:
    """A backward branch, a call, a stack and a spill are seen; padding is not counted."""
    text = SASS.replace("BRA 0x80", "BRA 0x30")
    text += "        /*0090*/  BRA 0x20 ;\n        /*00a0*/  BRA 0xa0;\n        /*00b0*/  NOP;\n"
    r = machine_code.read_sass(text, 2.0)
    assert (r.registers, r.spills, r.stack, r.shared) == (40, 1, 24, 16)
    assert (r.loads, r.stores) == ({128: 1, 16: 1}, {32: 1})
    assert (r.instructions, r.skippable) == (10, 3)
    assert r.repeats == 3  # two branches back and a call
