"""The ladder: each rung computes the reference's step, refuses bad arguments, and compiles."""

from __future__ import annotations

import importlib
import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import triton
from matplotlib.image import imread
from triton.compiler import make_backend

from kernels import triton_normals
from kernels.inspection.compile import TARGETS as TARGETS_TO_COMPILE
from kernels.inspection.machine_code import Report, count_waits
from kernels.ladder import (
    __main__ as program,
)
from kernels.ladder import (
    arguments,
    channels_last,
    coefficients,
    pictures,
    rung1_mix,
    rung2_step,
    rung3_noise,
    rung4_four_from_one,
    rung5_our_normals,
    rung6_tiles,
    rung7_look_back,
    small_tensors,
    table,
    trial,
)
from kernels.ladder.rungs import RUNGS
from tests.kernels.device import DEVICE

ROOT = Path(__file__).parents[2]
TARGETS = ("sm_80", "sm_90", "gfx942")


@pytest.mark.parametrize("rung", RUNGS[:-1], ids=lambda rung: rung.module.__name__[15:])
def test_a_rung_is_the_reference_at_odd_sizes(rung) -> None:
    rung.module.check(DEVICE)


@pytest.mark.parametrize("study", [channels_last, small_tensors], ids=lambda m: m.__name__[15:])
def test_the_kernel_of_a_study_is_the_reference(study) -> None:
    study.check(DEVICE)


# Mistakes in a rung that its own check must notice: (module, text, text in its place).
MISTAKES = [
    (rung1_mix, "out + n + at", "out + tl.num_programs(0) * BLOCK + at"),
    (rung1_mix, "cond + w * (cond - null),", "cond + w * (null - cond),"),
    (rung2_step, "cond + m * w", "cond + w"),
    (rung2_step, "clip, propagate_nan", "2 * clip, propagate_nan"),
    (rung2_step, "a * x0hat + b * x\n", "b * x0hat + a * x\n"),
    (rung3_noise, "tl.randn(seed, at)", "tl.randn(seed, at // 2)"),
    (rung3_noise, "c * tl.randn", "b * tl.randn"),
    (rung4_four_from_one, "tl.join(z0, z2), tl.join(z1, z3)", "tl.join(z0, z1), tl.join(z2, z3)"),
    (rung4_four_from_one, "tl.program_id(0) * (BLOCK // 4)", "tl.program_id(0) * BLOCK"),
    (rung5_our_normals, "(k + 1).to", "k.to"),
    (rung6_tiles, "(sample < B) & (element < n)", "at < B * n"),
    (rung6_tiles, "weight = tl.load(w + sample", "weight = tl.load(w + 0 * sample"),
    (rung6_tiles, "tl.load(sample_ids + sample", "tl.load(sample_ids + 0 * sample"),
    (rung7_look_back, "y += d * null", "y += d * cond"),
    (rung7_look_back, "y += e * tl.load(x0prev", "y += e * tl.load(xt"),
    (rung7_look_back, "x0hat.to(x0.dtype", "(p * x + q * g).to(x0.dtype"),
    (channels_last, "channel[:, None] * (pixels // 4) + (", "(pixels // 4) + ("),
    (
        channels_last,
        "pixel[:, None] * C + channel[None",
        "channel[None, :] * pixels + pixel[:, None",
    ),
    (small_tensors, "row = rows + k * 8", "row = rows + 8"),
    (small_tensors, "y += d * null", "y += d * cond"),
    (small_tensors, "(k + 1).to", "k.to"),
    (small_tensors, "sample_ids + sample", "sample_ids + 0 * sample"),
]


@pytest.mark.parametrize(
    ("module", "right", "wrong"),
    MISTAKES,
    ids=lambda value: getattr(value, "__name__", value)[-24:],
)
def test_the_check_of_a_rung_notices_mistakes(
    module: Any, right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a changed copy of the rung. A wrong start of the null half is seen at odd sizes alone."""
    lecture, kernel, wrapper = re.split(
        r"(?=\n@triton.jit|\n\ndef )", Path(module.__file__).read_text(), maxsplit=2
    )
    assert kernel.count(right) == 1
    path = tmp_path / "changed.py"
    path.write_text(lecture + kernel.replace(right, wrong) + wrapper)
    spec = importlib.util.spec_from_file_location("changed", path)
    assert spec is not None and spec.loader is not None
    changed = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "changed", changed)  # a dataclass looks there
    spec.loader.exec_module(changed)
    with pytest.raises(AssertionError):
        changed.check(DEVICE)


def test_a_mask_keeps_a_rung_inside_its_tensor() -> None:
    """The kernel of rung 1 on 5 of a buffer's elements; the others stay as they are."""
    g = torch.full((2000,), 7.0, device=DEVICE)
    out = torch.arange(2000.0, device=DEVICE)
    rung1_mix.mix_kernel[(1,)](out, g, 0.0, 5, BLOCK=1024)
    assert g[:5].tolist() == [0, 1, 2, 3, 4]
    assert (g[5:] == 7).all()


@pytest.mark.parametrize(("m", "w"), [(0.0, 2.0), (1.0, 2.0), (0.0, None)])
def test_the_null_half_is_read_in_every_row_if_there_is_one(m: float, w: float | None) -> None:
    """Also with m = 0 and d = 0, as rung 7 says: NaN there is in the result."""
    xt = torch.ones(1, 4, device=DEVICE)
    out = torch.full((1 if w is None else 2, 4), 1.0, device=DEVICE)
    out[1:] = torch.nan
    row = (1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, m)
    xs, _ = rung7_look_back.step(xt, out, row, w, 9.0, 0, 0, torch.arange(1, device=DEVICE))
    assert bool(xs.isnan().all()) == (w is not None)
    assert "If there is a null half, every row reads it." in (rung7_look_back.__doc__ or "")


def test_wide_accesses_need_tensors_at_multiples_of_16_bytes() -> None:
    """`contiguous()` leaves a slice where it is, and Triton tests the address."""
    backend = make_backend(TARGETS_TO_COMPILE["sm_90"])
    whole = torch.zeros(1024)
    cut = whole[1:].contiguous()
    assert whole.data_ptr() % 16 == 0 and cut.data_ptr() == whole.data_ptr() + 4
    assert "D" in backend.get_tensor_specialization(whole, align=True)
    assert "D" not in backend.get_tensor_specialization(cut, align=True)
    assert "both tensors begin at multiples of 16 bytes" in (rung1_mix.__doc__ or "")


XT, OUT, IDS = torch.zeros(2, 3), torch.zeros(4, 3), torch.arange(2)
QUIET = (1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0)
NOISY = (1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0)
BACK = (1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0)
EACH = torch.ones(2)
ROWS = torch.tensor([QUIET, NOISY])
REFUSED = [
    (lambda: rung1_mix.mix(torch.zeros(3, 2), 1.0), r"out has shape \(3, 2\); pass \(2B, ...\)"),
    (lambda: rung1_mix.mix(OUT.double(), 1.0), "out is torch.float64; .* a tensor of float32"),
    (lambda: rung1_mix.mix(OUT, float("nan")), "w = nan is not a finite number"),
    (lambda: rung1_mix.mix(OUT, EACH), "w is a Tensor; this rung takes one number. Rung 6"),
    (lambda: rung1_mix.mix(torch.zeros(0, 2), 1.0), "out has 0 elements"),
    (lambda: rung1_mix.mix(torch.empty(2**31, device="meta"), 1.0), "has 2147483648 elements"),
    (lambda: rung2_step.step(XT, XT, QUIET, 1.0, 1.0), r"out has shape \(2, 3\); pass \(4, 3\)"),
    (lambda: rung2_step.step(XT, OUT, NOISY, 1.0, 1.0), "row has c = 1, and this rung leaves"),
    (lambda: rung2_step.step(XT, OUT, QUIET[:5], 1.0, 1.0), "pass a tuple of the eight numbers"),
    (lambda: rung2_step.step(XT, OUT, QUIET, 1.0, 0.0), "clip = 0.0; pass a positive number"),
    (lambda: rung2_step.step(XT, OUT, QUIET, None, 1.0), r"out has shape"),
    (lambda: rung2_step.step(XT.double(), OUT, QUIET, 1.0, 1.0), "xt is torch.float64"),
    (lambda: rung2_step.step(XT, OUT.half(), QUIET, 1.0, 1.0), "out is torch.float16 and xt"),
    (lambda: rung3_noise.step(XT, OUT, BACK, 1.0, 1.0, 0), "row has e = 1"),
    (lambda: rung3_noise.step(XT, OUT, NOISY, 1.0, 1.0, -1), "seed = -1 is not an integer in"),
    (lambda: rung4_four_from_one.step(XT, OUT, NOISY, EACH, 1.0, 0), "w is a Tensor"),
    (lambda: rung5_our_normals.step(XT, OUT, NOISY, 1.0, 1.0, 0, -1), "k = -1 is outside"),
    (lambda: rung6_tiles.step(XT, OUT, NOISY, 1.0, 1.0, 0, 0, IDS), "w is a float; .* tensor of"),
    (
        lambda: rung6_tiles.step(XT, OUT, NOISY, EACH, 1.0, 0, 0, IDS[:1]),
        r"sample_ids has shape \(1,\); pass \(2,\)",
    ),
    (lambda: rung6_tiles.groups(65536 * 4, 4), "xt has 262144 samples, 4 per program"),
    (lambda: rung7_look_back.step(XT, OUT, BACK, 1.0, 1.0, 0, 0, IDS), "row has e = 1"),
    (
        lambda: channels_last.step(XT, OUT, NOISY, 1.0, 1.0, 0, 0, IDS),
        r"xt has shape \(2, 3\) and out strides \(3, 1\); pass images",
    ),
    (
        lambda: channels_last.step(
            torch.zeros(2, 3, 2, 2),
            torch.zeros(4, 3, 2, 2).to(memory_format=torch.channels_last),
            NOISY,
            1.0,
            1.0,
            0,
            0,
            IDS,
        ),
        r"xt has shape \(2, 3, 2, 2\); this kernel takes .* a power of 2 of channels",
    ),
    (
        lambda: small_tensors.step(XT.T, OUT[:3].T, ROWS, 0, 1.0, 1.0, 0, torch.arange(3)),
        r"out has shape \(3, 3\); pass \(6, 2\)",
    ),
    (
        lambda: small_tensors.step(XT.T, torch.zeros(6, 2), ROWS, 0, 1.0, 1.0, 0, torch.arange(3)),
        r"strides \(1, 3\); this kernel takes contiguous tensors",
    ),
    (lambda: small_tensors.step(XT, OUT, ROWS, 2, 1.0, 1.0, 0, IDS), "k = 2"),
    (lambda: small_tensors.step(XT, OUT, ROWS, 0, EACH, 1.0, 0, IDS), "w is a Tensor"),
    (
        lambda: rung7_look_back.step(XT, OUT, BACK, 1.0, 1.0, 0, 0, IDS, XT[:1]),
        r"x0prev has shape \(1, 3\); pass \(2, 3\)",
    ),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_bad_arguments_are_refused_with_a_sentence(call, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize(("n", "expected"), [(16384, (1, 1024)), (192, (4, 256)), (4, (256, 4))])
def test_the_tiles_of_rung_6_are_those_of_its_text(n: int, expected: tuple[int, int]) -> None:
    assert rung6_tiles.tile(n) == expected
    SAMPLES, BLOCK = expected
    text = " ".join((rung6_tiles.__doc__ or "").split())
    assert f"n = {n:,} BLOCK = {BLOCK}, SAMPLES = {SAMPLES}" in text


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.adds)
def test_the_text_of_a_rung_has_its_numbers(rung) -> None:
    """Passes, bytes and the count by hand stand in the docstring."""
    text = " ".join((rung.module.__doc__ or "").split())
    assert text.startswith(f"Rung {rung.number}. ")
    assert "**The question.**" in text and "**Bytes.**" in text
    assert rung.reads == 2 + (rung.number > 1) and rung.writes == 1
    assert f"{rung.reads} reads" in text and f"{rung.writes} write" in text
    if rung.number < 8:
        assert f"{rung.bytes_per_element()} bytes" in text
        assert rung.by_hand.rstrip("+") in text


def test_the_coefficients_are_found_again() -> None:
    """The kernel's errors are at most a fifth above the smallest that is possible in float64.

    Rounding to float32 explains that: a coefficient of size 1.2 is rounded by up to 6e-8, and the
    cosine multiplies it by at most 1/4. The coefficients themselves agree to 1e-5 of their size.
    """
    source = Path(triton_normals.__file__).read_text()
    *log, log2, c2, c4, c6, s1, s3, s5, s7 = map(float, re.findall(r"-?\d\.\d{6,}", source))
    in_kernel = {
        "cosine": (c2, c4, c6),
        "sine": (s1, s3, s5, s7),
        "logarithm": (*log[4:], *log[:4]),  # the source has the higher four first
    }
    assert log2 == -math.log(2)
    rung5 = " ".join((rung5_our_normals.__doc__ or "").split())
    for fit in coefficients.fits():
        found = coefficients.minimax(fit)
        used = np.array(in_kernel[fit.name])
        np.testing.assert_allclose(used, found, rtol=1e-5)
        assert fit.error(used) < 1.25 * fit.error(found), fit.name
        assert fit.error(used) < 5.2e-8
        error = f"{fit.error(used.astype(np.float32).astype(float)):.1e}".replace("e-0", "e-")
        name = {"cosine": "cos to", "sine": "sin to", "logarithm": "its largest error is"}[fit.name]
        assert f"{name} {error}" in source
        if name != "its largest error is":
            assert error in rung5, fit.name
    # The polynomials are in x, with h = (pi/2) x: the sine's begins with pi/2 and not with 1.
    assert np.float32(s1) == np.float32(math.pi / 2)
    assert "sin h is replaced by s1 x" in rung5 and "so s1 is pi/2, rounded to float32" in rung5
    assert "It computes x, the position in the quarter, from 0 to 1, less 1/2" in rung5


@pytest.mark.slow
@pytest.mark.exhaustive
def test_every_picture_of_the_lecture_is_drawn() -> None:
    """The roofline is given its counts here, because an interpreted process cannot compile."""
    given = {"float32": [(rung, REPORT) for rung in RUNGS], "bfloat16": [(RUNGS[3], REPORT)]}
    for name, draw in pictures.PICTURES.items():
        figure = pictures.roofline(given) if draw is pictures.roofline else draw()
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=pictures.DPI)
        if draw is not pictures.roofline:
            assert same_picture(buffer, name), f"python -m kernels.ladder.pictures {name}"
    readme = (ROOT / "kernels/README.md").read_text()
    assert set(re.findall(r"\(pictures/(\w+)\.png\)", readme)) == set(pictures.PICTURES)
    # 1472 instructions for 8 elements, less 8 slow paths of 54, over 16 bytes.
    (axes,) = pictures.roofline(given).axes
    drawn = [line.get_xydata() for line in axes.lines if line.get_marker() == "o"]
    assert any(len(point) and np.allclose(point, (130 / 16, 3.35e12 * 130 / 16)) for point in drawn)


def same_picture(drawn: io.BytesIO, name: str) -> bool:
    """Whether the picture beside the README is this one; another FreeType moves some edges."""
    drawn.seek(0)
    new = imread(drawn)
    kept = imread(ROOT / pictures.FOLDER / f"{name}.png")
    return new.shape == kept.shape and bool(np.abs(new - kept).mean() < 0.002)


REPORT = Report(54, 40, 32, 0, {128: 6}, {128: 2}, 1472, 54, 8, 8.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "load"), [("sm_90", "LDG.E.128 "), ("gfx942", "buffer_load_dwordx4")]
)
def test_the_listing_of_a_rung_is_printed(target: str, load: str) -> None:
    environment = {name: v for name, v in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "kernels.ladder", target, "--listing", "1"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    loads = 2 * 1024 // 4 // (128 if target == "sm_90" else 256)  # two halves, 128-bit accesses
    assert ran.returncode == 0 and ran.stdout.count(load) == loads, ran.stderr


def test_slow_paths_are_subtracted_and_marked() -> None:
    """1472 instructions for 8 elements, 8 slow paths of 54 each."""
    assert table.without_slow_paths(REPORT) == 130
    row = table.cells(RUNGS[2], REPORT, None)
    assert row == ("3 noise", "3, 1", "16", "70+", "184.0+", "130.0", "54", "40", "32")


def test_what_a_rung_launches_can_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA graph records no copy from the host, and a tensor made in the call would be timed."""
    called = [rung.prepare for rung in RUNGS]
    called += [each.prepare for each in small_tensors.contenders()]
    for prepare in called:
        call = prepare(table.Problem.of((1, 1, 8, 8), torch.float32, DEVICE))
        with monkeypatch.context() as patch:
            for maker in ("tensor", "full", "zeros", "arange"):
                patch.setattr(torch, maker, None)
            call()


def test_waits_are_counted_in_order() -> None:
    """Two loads under way together, then one whose address is a loaded number, and a branch."""
    loads = ["LDG.E.64 R4, desc[UR4][R2.64]", "@P0 LDG.E.128 R8, desc[UR4][R6.64]"]
    assert count_waits([*loads, "EXIT"]) == 0  # nothing needs the data
    assert count_waits([*loads, "FADD R0, R11, R1", "EXIT"]) == 1
    follows = "LDG.E R12, desc[UR4][R4.64]"
    assert count_waits([*loads, follows, "FADD R0, R11, R1", "EXIT"]) == 1
    assert count_waits([*loads, follows, "STG.E desc[UR4][R14.64], R12", "EXIT"]) == 2
    assert count_waits([*loads, "IMAD.WIDE R16, R3, R2, R4", follows, "FADD R0, R12, R1"]) == 2
    late = "LDG.E R12, desc[UR4][R20.64]"  # needs nothing, but stands behind the branch
    branch = ["FSETP.NEU.AND P1, PT, R5, RZ, PT", "@!P1 BRA 0x100"]
    assert count_waits([*loads, *branch, late, "FADD R0, R12, R1", "EXIT"]) == 2
    assert count_waits([*loads, late, *branch, "FADD R0, R12, R1", "EXIT"]) == 1
    assert count_waits([*loads, "EXIT", "FADD R0, R8, R1"]) == 0
    # An operand of 64 bits is two registers.
    high = "LDG.E R3, desc[UR4][R20.64]"
    assert count_waits([high, "LDG.E R12, desc[UR4][R2.64]", "EXIT"]) == 1
    assert count_waits([high, "IMAD.WIDE R16, R10, R11, R2", "EXIT"]) == 1
    assert count_waits([high, "IMAD R16, R10, R11, R2", "EXIT"]) == 0
    # Of a stored vector the last register is still to arrive.
    assert count_waits([*loads, "STG.E.128 desc[UR4][R14.64], R8", "EXIT"]) == 1
    assert count_waits([loads[0], "STG.E.128 desc[UR4][R14.64], R0", "EXIT"]) == 0
    assert count_waits([loads[0], "STG.E.128 desc[UR4][R14.64], R2", "EXIT"]) == 1


def test_small_tensors_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kernel of the table runs; here a timing takes 1 ms, and the code is that of a rung."""
    from kernels.bench.report import Timing

    def timed(run, device: str) -> Timing:
        run()
        return Timing(1.0, 1.0, 1.0)

    monkeypatch.setattr(small_tensors, "timed", timed)
    monkeypatch.setattr(small_tensors, "compile_launch", lambda launch, target: REPORT)
    monkeypatch.setattr(small_tensors, "SIZES", {"64 KiB": (1, 4, 16, 16)})
    for each in small_tensors.contenders():
        assert small_tensors.microseconds(each, (1, 4, 16, 16), DEVICE) == 1000
    monkeypatch.setattr(small_tensors, "microseconds", lambda contender, shape: 1000)
    head, _, *rows = small_tensors.lines("sm_90", timing=True)
    assert head.count("us, ") == 1 and len(rows) == 9
    assert [cell.strip() for cell in rows[-1].split("|")][2:-1] == ["4", "1472", "", "1000.00"]
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert small_tensors.main() == 4


def test_a_rung_is_timed_beside_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is timed runs; here each timing takes 2 ms for a rung and 1 ms for a copy."""
    from kernels.bench.report import Timing

    def timed(run, device: str, record: bool = True) -> Timing:
        run()
        milliseconds = 2.0 if record else 1.0
        return Timing(milliseconds, milliseconds, milliseconds)

    monkeypatch.setattr(table, "timed", timed)
    found = table.speed(RUNGS[1], (1, 1, 8, 8), DEVICE)
    assert found.microseconds == 2000
    assert found.gigabytes_per_second == pytest.approx(16 * 64 / 2e-3 / 1e9)
    assert found.of_a_copy == 0.5
    monkeypatch.setattr(table, "speed", lambda rung: found)
    *_, line = table.lines("sm_90", [(RUNGS[2], REPORT)], timing=True)
    assert [cell.strip() for cell in line.split("|")][-4:] == ["2000.0", "0", "50%", ""]


def test_the_program_checks_and_refuses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(sys, "argv", ["ladder"])
    assert program.main() == 4
    assert "unset it" in capsys.readouterr().err
    for rung in RUNGS[:-1]:
        monkeypatch.setattr(rung.module, "check", lambda device: None)
    monkeypatch.setattr("kernels.bench.contenders.check", lambda device: {})
    monkeypatch.setattr(sys, "argv", ["ladder", "--check"])
    assert program.main() == 0
    assert capsys.readouterr().out.count("as the reference") == 8
    monkeypatch.delenv("TRITON_INTERPRET")
    monkeypatch.setattr(sys, "argv", ["ladder", "sm_99"])
    with pytest.raises(SystemExit, match="2"):
        program.main()
    assert "sm_99 is unknown: choose from sm_80, sm_90, gfx942" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["ladder", "--listing", "9"])
    with pytest.raises(SystemExit, match="2"):
        program.main()
    assert "argument --listing: invalid choice: 9" in capsys.readouterr().err


# What is interpreted cannot be compiled, so another process compiles all rungs.
COMPILE = """
import json
from dataclasses import asdict
from torch import bfloat16
from kernels.ladder.table import TARGETS, reports
found = {t: [asdict(report) for _, report in reports(t)] for t in TARGETS}
found["bfloat16"] = [asdict(report) for _, report in reports("sm_90", bfloat16)]

import torch
from kernels.bench.contenders import ROW
from kernels.inspection.compile import compile_launch, meta_tensor, record_launch
from kernels.ladder import channels_last

def tiled(dtype):
    xt, ids = meta_tensor(dtype, 64, 4, 64, 64), meta_tensor(torch.int64, 64)
    out = meta_tensor(dtype, 128, 4, 64, 64).to(memory_format=torch.channels_last)
    call = lambda: channels_last.step(xt, out, ROW, 2.0, 1.0, 2**63, 7, ids)
    return record_launch(channels_last, "step_kernel", call, xt.numel())

found["channels_last"] = [
    asdict(compile_launch(tiled(dtype), TARGETS["sm_90"])) for dtype in (torch.float32, bfloat16)
]

from kernels import triton_step
from kernels.bench import contenders
from kernels.inspection.compile import Variant
from kernels.ladder import small_tensors
contenders.guided_step = triton_step.guided_step

def given(shape, dtype):  # a row that reads given noise
    p, row = contenders.Problem.of(shape, dtype, "meta"), torch.tensor([contenders.GIVEN_ROW])
    call = lambda: p.step(row.to("meta"), given=True)
    return record_launch(triton_step, "step_kernel", call, p.xt.numel())

sm_90 = TARGETS["sm_90"]
found["by_element"] = [asdict(compile_launch(Variant(channels_last=True).launch(), sm_90))]
image = (1, 4, 64, 64)
found["small"] = [
    asdict(compile_launch(each.launch(image), sm_90)) for each in small_tensors.contenders()
]
p = contenders.Problem.of(image, torch.float32, "meta")

def constant(tile):
    call = lambda: small_tensors.compiled_in(p, tile)
    return record_launch(small_tensors, "compiled_in_kernel", call, p.xt.numel())

found["constant"] = [asdict(compile_launch(constant(tile), sm_90)) for tile in (256, 1024)]
shapes = {torch.float32: image, bfloat16: (2, 4, 64, 64)}
found["given"] = [
    asdict(compile_launch(given(shape, dtype), sm_90)) for dtype, shape in shapes.items()
]

from dataclasses import replace

def by_warps(dtype, shape, warps, channels_last=False):
    xt, out = meta_tensor(dtype, 4096, *shape), meta_tensor(dtype, 8192, *shape)
    rows, ids = meta_tensor(torch.float32, 50, 8), meta_tensor(torch.int64, 4096)
    call = lambda: triton_step.guided_step(
        xt, out.to(memory_format=torch.channels_last) if channels_last else out,
        rows, 7, 2.0, seed=2**63, sample_ids=ids, want_x0=False,
    )
    launch = record_launch(triton_step, "step_kernel", call, xt.numel())
    return compile_launch(replace(launch, options={**launch.options, "num_warps": warps}), sm_90)

latent, small, odd = (4, 64, 64), (3, 8, 8), (3, 73, 75)
found["fails"] = [asdict(by_warps(*case)) for case in (
    (bfloat16, latent, 4), (bfloat16, latent, 2), (bfloat16, latent, 1),
    (bfloat16, latent, 2, True),
    (bfloat16, small, 2), (bfloat16, odd, 4), (bfloat16, odd, 2),
    (torch.float32, latent, 2, True), (torch.float32, small, 2),
    (torch.float32, odd, 4), (torch.float32, odd, 2), (torch.float32, odd, 1),
)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def compiled() -> dict[str, list[Report]]:
    environment = {name: v for name, v in os.environ.items() if name != "TRITON_INTERPRET"}
    ran = subprocess.run(
        [sys.executable, "-c", COMPILE], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return {
        target: [
            Report(**said | {"loads": numbered(said["loads"]), "stores": numbered(said["stores"])})
            for said in found
        ]
        for target, found in json.loads(ran.stdout).items()
    }


def need_the_pinned_triton() -> None:
    pinned = re.search(r"triton==([\d.]+)", (ROOT / "constraints.txt").read_text())
    assert pinned
    if triton.__version__ != pinned[1]:
        pytest.skip(f"the texts are for triton {pinned[1]}, and this is {triton.__version__}")


def numbered(widths: dict[str, int]) -> dict[int, int]:
    return {int(bits): count for bits, count in widths.items()}


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("target", TARGETS)
def test_every_rung_compiles(target: str, compiled: dict[str, list[Report]]) -> None:
    """Rungs 3 and 4 alone have slow paths; every access to a tensor is 128 bits wide."""
    for rung, report in zip(RUNGS, compiled[target], strict=True):
        uses_library = rung.number in (3, 4)
        assert (report.spills + report.stack + report.repeats > 0) == (
            uses_library and target != "gfx942"
        ), rung
        if rung.by_hand.endswith("+"):
            assert report.per_element > 2 * float(rung.by_hand[:-1])
        else:
            assert float(rung.by_hand) < report.per_element
        moved = rung.bytes_per_element() * report.elements
        assert 16 * (report.loads[128] + report.stores[128]) == moved, rung
        assert rung.reads * report.stores[128] == rung.writes * report.loads[128], rung


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_texts_show_what_the_compiler_makes(compiled: dict[str, list[Report]]) -> None:
    """To the digit under the Triton that is pinned; another version makes other code."""
    need_the_pinned_triton()
    found = dict(zip(RUNGS, compiled["sm_90"], strict=True))
    readme = (ROOT / "kernels/README.md").read_text()
    assert "\n".join(table.lines("sm_90", found.items())) in readme, (
        "paste python -m kernels.ladder"
    )
    count = {rung.number: report.per_element for rung, report in found.items()}
    text = {rung.number: " ".join((rung.module.__doc__ or "").split()) for rung in RUNGS}
    assert f"or {count[1]:.2f} per element" in text[1] and "has 50 instructions" in text[1]
    assert f"has {count[2]:.1f}." in text[2]
    assert f"H100 has {count[3]:.0f} per element, {count[3] / count[2]:.0f} times" in text[3]
    assert f"has {count[4]:.0f} per element, of which 54 are again slow paths: 73" in text[4]
    assert f"H100 has {count[5]:.1f}, without stack" in text[5]
    assert f"H100 has {count[6]:.1f} per element" in text[6]
    assert f"cost {8 * (count[6] - count[5]):.0f} instructions per thread" in text[6]
    quiet = found[RUNGS[6]].per_element_without_noise
    assert f"has {count[7]:.1f} per element, and {quiet:.1f} of them remain" in text[7]
    assert f"falls to {count[8]:.1f} per element" in text[8]
    three, four = found[RUNGS[2]], found[RUNGS[3]]
    assert (three.registers, three.spills, three.stack, three.skippable) == (54, 40, 32, 54)
    assert (four.registers, four.spills, four.repeats) == (52, 40, 8)
    assert round(table.without_slow_paths(three)) == 130
    assert round(table.without_slow_paths(four)) == 73
    narrow = dict(zip(range(2, 9), compiled["bfloat16"], strict=True))
    assert round(table.without_slow_paths(narrow[3])) == 132
    assert round(table.without_slow_paths(narrow[4])) == 79
    assert f"at least 132 / 80 = {132 / 80:.2f} times the time of the bytes" in text[3]
    assert f"all 130 instructions take 130 / 128 = {130 / 128:.2f}" in text[3]
    # Units work at the same time, so the count of all instructions is a bound, and no sum is.
    assert not any("twice and" in page or "counted twice" in page for page in text.values())
    assert f"{count[2]:.1f} / 16 = {count[2] / 16:.2f}" in text[2]
    assert f"z costs {count[7] - quiet:.0f} of the {count[7]:.1f} instructions" in text[7]
    assert f"(The compiled code for an H100 has {narrow[2].per_element:.1f}.)" in (
        " ".join(readme.split())
    )
    assert f"in bfloat16 {narrow[6].per_element:.1f} are executed and 80 are free" in text[6]
    assert f"In bfloat16 {narrow[8].per_element:.1f} are needed" in text[8]
    # A register is allocated to a thread in units of eight; Little's law in bytes under way.
    warps = {rung: 65536 // (32 * 8 * math.ceil(found[rung].registers / 8)) for rung in RUNGS}
    assert (warps[RUNGS[1]], warps[RUNGS[2]], warps[RUNGS[3]], warps[RUNGS[7]]) == (64, 36, 36, 32)
    loaded = 16 * three.loads[128]
    needed = 3.35e12 * 700e-9
    assert f"= {needed:.1e}".replace("e+06", "e6") + " bytes" in text[3]
    assert f"or {needed / 132 / 1e3:.0f} kB for each of the 132" in text[3]
    assert f"36 x 32 x {loaded} bytes = {36 * 32 * loaded / 1e3:.0f} kB" in text[3]
    assert f"({narrow[5].per_element:.1f} are executed, 80 are free)" in text[5]
    drawn = io.BytesIO()
    counts = {
        "float32": list(found.items()),
        "bfloat16": list(zip(RUNGS[1:], compiled["bfloat16"], strict=True)),
    }
    pictures.roofline(counts).savefig(drawn, dpi=pictures.DPI)
    assert same_picture(drawn, "roofline"), "python -m kernels.ladder.pictures roofline"
    wide, half = compiled["channels_last"]
    assert f"{wide.per_element:.1f} in float32     {half.per_element:.1f} in bfloat16" in (
        channels_last.__doc__ or ""
    )
    assert (wide.loads[128], wide.spills, wide.stack) == (12, 0, 0)
    by_element = compiled["by_element"][0]
    contiguous = found[RUNGS[7]]
    more = by_element.per_element - contiguous.per_element
    accesses = (sum(by_element.loads.values()) - sum(contiguous.loads.values())) / 16
    assert f"Of the {more:.0f} more, {accesses:.1f} are accesses" in text[8]
    saved = round(by_element.per_element, 1) - round(wide.per_element, 1)
    row = 7  # numbers that rung 8 looks up
    fewer = (sum(by_element.loads.values()) - row - sum(wide.loads.values())) / 16
    assert f"The accesses are {fewer:.1f} of the {saved:.1f} that are saved in float32" in " ".join(
        (channels_last.__doc__ or "").split()
    )
    assert found[RUNGS[4]].registers == found[RUNGS[1]].registers == 32
    assert found[RUNGS[7]].registers == 60


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_waits_of_small_tensors(compiled: dict[str, list[Report]]) -> None:
    """The counts under the pinned Triton, and the differences of the measured times."""
    need_the_pinned_triton()
    text = " ".join((small_tensors.__doc__ or "").split())
    empty, constant, rung7, *others = compiled["small"]
    assert (empty.waits, empty.loads) == (0, {})
    assert (constant.waits, constant.elements, rung7.waits) == (1, 2, 3)
    assert (
        "which are 2 elements per thread, it has one wait. (With tiles of 1024 it has two.)" in text
    )
    assert [report.waits for report in compiled["constant"]] == [1, 2]
    rows = [
        f"{name} {number.waits} {number.instructions} {memory.waits} {memory.instructions}"
        for name, number, memory in zip(
            ("rung 8", "here, tiles of 1024", "here, tiles of 256"),
            others[:3],
            others[3:],
            strict=True,
        )
    ]
    assert " ".join(rows) in text
    assert f"is 274 / 4 = {others[2].per_element:.1f} instructions per element in place" in text
    # The listing with given noise also has the wait for the sample's number, which c = 0 jumps
    # over.
    wide, half = compiled["given"]
    own = others[0]
    assert (own.waits, wide.waits) == (3, 3 + 1)
    assert (compiled["bfloat16"][-1].waits, half.waits) == (2, 2 + 1)
    executed = wide.instructions - wide.skippable
    assert f"executes {own.instructions} instructions per thread and not {executed}" in text

    times = measured_times("nvidia-h100-80gb-hbm3.json")
    wider = [
        times[dtype, "fused, given"][i] - times[dtype, "compiled, given"][i]
        for dtype in ("float32", "bfloat16")
        for i in range(2)
    ]
    assert (
        "takes {:.2f} us longer for one image of 32 x 32 and {:.2f} us for".format(*wider) in text
    )
    assert "takes {:.2f} and {:.2f} us longer".format(*wider[2:]) in text
    per_wait = [wider[0] / 2, wider[1] / 2, wider[2], wider[3]]
    assert f"{min(per_wait):.1f} to {max(per_wait):.1f} us per wait" in text
    noise = [
        times[dtype, "fused"][i] - times[dtype, "fused, given"][i]
        for dtype in ("float32", "bfloat16")
        for i in range(2)
    ]
    assert f"takes {min(noise):.0f} to {max(noise):.1f} us longer" in text
    fused, given = times["float32", "fused"], times["float32", "fused, given"]
    assert f"takes {fused[0]:.1f} us for 4 KiB and {fused[1]:.1f} us for 64 KiB" in text
    assert f"it takes {given[0]:.1f} and {given[1]:.1f} us" in text
    assert [f"{t:.1f}" for t in times["float32", "compiled, given"][:2]] == ["5.8", "5.8"]


@pytest.mark.slow
@pytest.mark.exhaustive
def test_where_the_prediction_fails(compiled: dict[str, list[Report]]) -> None:
    """The counts of the table, and its fractions of a copy from the bandwidths above it."""
    need_the_pinned_triton()
    text = (ROOT / "kernels/results/README.md").read_text(encoding="utf-8")
    *shown, one_warp = compiled["fails"]
    rows = re.findall(
        r"^\| (\w+), (.*) \| (\d) \| ([\d.]+) \| (\d+) \| (\d) \| (\d+)% \|$", text, re.M
    )
    speeds = {
        name: [[float(speed) for speed in cell.split(",")] for cell in (wide, narrow)]
        for name, wide, narrow in re.findall(
            r"^\| step, ([^|]+?) \| ([^|]+) \| ([^|]+) \|$", text.replace("**", ""), re.M
        )
    }
    names = {
        "channels-last": "`out` channels-last",
        "3 x 8 x 8": "3 x 8 x 8, 4 samples per program",
    }
    names["3 x 73 x 75"] = "3 x 73 x 75, an odd size"
    for report, row in zip(shown, rows, strict=True):
        dtype, case, warps, count, free, waits, of_copy = row
        narrow = dtype == "bfloat16"
        assert (count, waits) == (f"{report.per_element:.1f}", str(report.waits)), row
        assert free == ("80" if narrow else "160")
        speed = speeds[names.get(case, case)][narrow][(4, 2, 1).index(int(warps))]
        assert f"{100 * speed / (2963 if narrow else 2965):.0f}" == of_copy, row
    copies = measured_times("nvidia-h100-80gb-hbm3-launched.json")
    for dtype, rate in (("float32", 2965), ("bfloat16", 2963)):
        assert round(4 * 2**28 / copies[dtype, "copy"][6] / 1e3) == rate
    waits = [report.waits for report in (*shown[-2:], one_warp)]
    counts = "{} times with 4 warps, {} times with 2, and {} times with 1".format(*waits)
    assert f"waits for memory {counts}" in " ".join(text.split())
    rung8 = " ".join((RUNGS[7].module.__doc__ or "").split())
    assert f"{waits[0]} times with 4 warps and {waits[1]} times with 2" in rung8


def measured_times(name: str) -> dict[tuple[str, str], list[float]]:
    """Medians in microseconds, by dtype and way, in the order of the sizes."""
    found: dict[tuple[str, str], list[float]] = {}
    file = json.loads((ROOT / "kernels/results" / name).read_text())
    for each in file["measurements"] + file.get("recorded_copies", []):
        found.setdefault((each["dtype"], each["way"]), []).append(1e3 * each["time"]["median"])
    return found


@pytest.mark.parametrize(
    ("way", "passes"),
    [
        ("fused", 4),
        ("fused, given", 5),
        ("compiled, given", 5),
        ("copy, recorded", 4),
    ],
)
def test_a_time_is_a_latency_and_its_bytes(way: str, passes: int) -> None:
    """t0 + bytes / bandwidth, fitted to the relative errors of the sizes up to 64 MiB."""
    times = measured_times("nvidia-h100-80gb-hbm3.json")
    text = (ROOT / "kernels/results/README.md").read_text(encoding="utf-8")
    cells = [way]
    for dtype in ("float32", "bfloat16"):
        took = np.array(times[dtype, way][:6])
        moved = np.array([passes * 2.0**e for e in (12, 16, 20, 22, 24, 26)])
        if dtype == "bfloat16":
            moved[0] /= 2  # the smallest tensor has 1,024 elements in both
        design = np.stack([np.ones(6), moved], axis=1) / took[:, None]
        (t0, per_byte), *_ = np.linalg.lstsq(design, np.ones(6), rcond=None)
        worst = np.abs((t0 + per_byte * moved) / took - 1).max()
        cells += [f"{t0:.1f}", f"{1e-3 / per_byte:.0f}", f"{worst:.0%}"]
    assert "| " + " | ".join(cells) + " |" in text


def test_what_16_mib_lack_to_a_copy() -> None:
    kernel = copy = measured_times("nvidia-h100-80gb-hbm3.json")
    text = " ".join((ROOT / "kernels/results/README.md").read_text(encoding="utf-8").split())
    dtypes = ("float32", "bfloat16")
    longer = [kernel[d, "fused"][4] - copy[d, "copy, recorded"][4] for d in dtypes]
    of_copy = [copy[d, "copy, recorded"][i] / kernel[d, "fused"][i] for d in dtypes for i in (3, 4)]
    low, high = min(of_copy), max(of_copy)
    lecture = (ROOT / "kernels/README.md").read_text(encoding="utf-8")
    assert f"and {100 * low:.0f} to {100 * high:.0f} % of a recorded one" in lecture
    assert f"recorded copy it is {of_copy[3]:.0%} and {of_copy[1]:.0%}" in text.replace(" %", "%")
    wide, narrow = longer
    assert (
        f"takes {wide:.1f} us longer than the recorded copy in float32 and {narrow:.1f} us" in text
    )
    own, given = (kernel["bfloat16", way] for way in ("fused", "fused, given"))
    four, five = (passes * 2**24 / 3e3 for passes in (4, 5))  # us at 3,000 GB/s
    assert own[4] - own[0] - four > given[4] - given[0] - five + 1


def test_the_products_of_philox_that_rung_3_needs() -> None:
    """For each word: is it the same for all elements? Then from the end: is it needed?"""
    differs = [[True, False, False, False]]  # c0 to c3 before round 1; only c0 is the element
    for _ in range(10):
        c0, c1, c2, c3 = differs[-1]
        differs.append([c2 or c1, c2, c0 or c3, c0])
    before = {0: {1, 2}, 1: {2}, 2: {0, 3}, 3: {0}}

    def counted(needed: set[int]) -> tuple[list[int], list[int], int]:
        """Products and exclusive ors per element, for these words after round 10."""
        hi, lo = [0] * 11, [0] * 11  # per round; the first is not used
        exclusive_ors = 0
        for round_ in range(10, 0, -1):
            c0, _, c2, _ = differs[round_ - 1]
            hi[round_] = (0 in needed and c2) + (2 in needed and c0)
            lo[round_] = (1 in needed and c2) + (3 in needed and c0)
            exclusive_ors += sum(word in needed and differs[round_][word] for word in (0, 2))
            needed = set().union(*(before[word] for word in needed))
        return hi, lo, exclusive_ors

    hi, lo, exclusive_ors = counted({0, 1})  # two of four words make one normal
    text = rung3_noise.__doc__ or ""
    for name, rounds in (("hi", hi), ("lo", lo)):
        shown = (*rounds[1:3], sum(rounds[3:8]), *rounds[8:], sum(rounds))
        assert re.search(rf"\n    {name} +" + " +".join(map(str, shown)) + "\n", text)
    assert f"in all {sum(hi) + sum(lo)} products per element" in text
    alone = sum(hi) + sum(lo) + exclusive_ors
    words = " ".join(text.split())
    assert f"{exclusive_ors} of the 20 exclusive ors are needed, so {alone} of the 60" in words
    hi, lo, exclusive_ors = counted({0, 1, 2, 3})
    products = sum(hi) + sum(lo)
    words = " ".join((rung4_four_from_one.__doc__ or "").split())
    assert f"used, {products} of the 40 products are needed" in words
    assert f"The exclusive ors are {exclusive_ors} of 20" in words
    assert f"These {products + exclusive_ors} are" in words
    shared = (products + exclusive_ors) / 4
    assert f"are {shared} per element, in place of the {alone} of rung 3" in words


# Rungs 3 and 4 in code for an H100: per element the products by the two constants of Philox, with
# either half, and the instructions outside slow paths; the lengths of the slow paths, and the
# accesses to the stack inside and outside of them; the places of the loads of 128 bits.
LISTING = r"""
import json
import re
import torch
from kernels.inspection import compile, machine_code
from kernels.ladder.rungs import RUNGS

read_sass, to_code = machine_code.read_sass, compile.triton.compile

def compiled(*args, **options):
    global made
    made = to_code(*args, **options)
    return made

compile.triton.compile = compiled

def counted(text, elements):
    code = re.findall(r"/\*([0-9a-f]{4,})\*/\s+([^;]+?)\s*;", text)
    place = {int(address, 16): i for i, (address, _) in enumerate(code)}
    jumps = [(i, re.search(r"\bBRA\S* .*?(0x[0-9a-f]+)", line)) for i, (_, line) in enumerate(code)]
    jumps = [(i, place[int(to[1], 16)]) for i, to in jumps if to and int(to[1], 16) in place]
    loops = [i for i, to in jumps if to < i]
    over = [range(i + 1, to) for i, to in jumps if any(i < loop < to for loop in loops)]
    slow = [part for part in over if not any(part[0] in other for other in over if other != part)]
    kinds = "IMAD IADD3 VIADD LOP3 SHF LEA ISETP FSETP FMNMX".split()  # those of 64 per clock
    quick = [i for i in range(len(code)) if not any(i in part for part in slow)]
    words = [re.sub(r"^@\\S+ ", "", code[i][1]).split()[0].split(".")[0] for i in quick]
    slower = sum(word in kinds for word in words)
    local = [i for i, (_, line) in enumerate(code) if re.search(r"\b(LDL|STL)\b", line)]
    inside = sum(any(i in part for part in slow) for i in local)
    products = re.findall(r"IMAD(?:\.HI\.U32)? [^;]*-0x(?:2daee0ad|326172a9)", text)
    loads = [i for i, (_, line) in enumerate(code) if "LDG.E.128" in line]
    report = read_sass(text, elements)
    lengths = [len(part) for part in slow]
    executed = (report.instructions - sum(lengths)) / elements
    outside = len(local) - inside
    print(json.dumps(
        [len(products) / elements, executed, lengths, inside, outside, loads, slower / elements]
    ))
    return report

machine_code.read_sass = counted
for rung in RUNGS[2:4]:
    for dtype in (torch.float32, torch.bfloat16):
        compile.compile_launch(rung.launch(dtype), compile.TARGETS["sm_90"])
        # Neighbours per thread in the layout of a range: of elements, and of blocks of four.
        text = made.asm["ttgir"]
        layouts = dict(re.findall(r"(#\w+) = #ttg.blocked<.sizePerThread = \[(\d+)\],", text))
        ranges = re.findall(r"make_range \{end = (\d+) .*?tensor<\d+xi32, (#\w+)>", text)
        print(json.dumps([{end: int(layouts[name]) for end, name in ranges}, made.metadata.shared]))
"""


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_listings_of_rungs_3_and_4_have_their_products_and_slow_paths() -> None:
    need_the_pinned_triton()
    environment = {name: v for name, v in os.environ.items() if name != "TRITON_INTERPRET"}
    ran = subprocess.run(
        [sys.executable, "-c", LISTING], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    three, three_narrow, four, four_narrow = lines[::2]
    layouts = lines[1::2]
    rung3, rung4 = (" ".join((m.__doc__ or "").split()) for m in (rung3_noise, rung4_four_from_one))
    for products, _, lengths, inside, outside, _, _ in (three, three_narrow):
        assert f"The compiled code has {products:.0f}: each thread also" in rung3
        assert f"{products:.0f} products of Philox take {products:.0f} / 64 = 0.5 clocks" in rung3
        assert f"All {inside} accesses to the stack lie in the slow paths" in rung3
        assert outside == 0 and len(lengths) == 8
    assert set(three[2]) == {54} and three[1] == 130
    assert "Here all have 54 instructions" in rung3
    assert len(three[5]) == 6 and three[5][-1] - three[5][0] < 30
    assert "the six loads of 16 bytes lie within 30 instructions" in rung3
    clocks = three[6] / 64
    assert f"its {three[6]:.0f} instructions per element would take {clocks:.2f} clocks" in rung3
    assert 1.09 < clocks / (130 / 128) < 1.11  # a tenth more
    assert three_narrow[1] >= 132
    low, high = min(three_narrow[2]), max(three_narrow[2])
    assert (
        f"at least 132 (its slow paths have {low} to {high}, and the count takes {high})" in rung3
    )
    assert sorted(four[2]) == [53] * 7 + [54]
    assert "Seven of the eight in a thread have 53" in rung4
    assert f"so {four[1]:.0f} are executed" in rung4
    assert f"79 are executed by this count and {four_narrow[1]:.0f} by the lengths" in rung4
    # Which thread has which block: neighbours are divided among 128 threads, round and round.
    wide, narrow = layouts[2:]
    assert wide[0] == {"1024": 4, "256": 1} and narrow[0] == {"1024": 8, "256": 1}
    made = [{block for block in range(256) if block % 128 == t} for t in range(128)]
    assert all(blocks == {t, t + 128} for t, blocks in enumerate(made))
    assert "thread t computes the blocks t and t + 128" in rung4
    kept = {}
    for size in (4, 8):
        owner = [element // size % 128 for element in range(1024)]
        held = [{e // 4 for e in range(1024) if owner[e] == t} for t in range(128)]
        kept[size] = sum(len(blocks & held[t]) for t, blocks in enumerate(made))
        assert size == 4 or all(blocks == {2 * t, 2 * t + 1} for t, blocks in enumerate(held))
    assert kept == {4: 256, 8: 2} and "have computed almost all of them" in rung4
    assert wide[1] == 0 and narrow[1] > 0  # bytes of shared memory


def test_the_inputs_are_as_large_as_the_tolerance_supposes() -> None:
    """No term before the clip exceeds 7."""
    p, q, *_ = trial.ROW
    assert abs(p) + abs(q) * (1 + 2 * trial.W) < 7
    assert trial.ATOL > 15 * 7 * 2**-24 + 2e-6
    assert arguments.LETTERS == "pqabcdem"
