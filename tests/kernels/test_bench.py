"""The benchmark, as far as it runs without a GPU: what it compares, its table, picture and file."""

from __future__ import annotations

import itertools
import json
import math
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kernels import reference
from kernels.bench import contenders, report
from kernels.bench import run as bench
from kernels.bench.report import Measurement, Timing
from minicfg.bench import sampler
from minicfg.errors import MachineError
from minicfg.unet import UNet

ROOT = Path(__file__).parents[2]
GPU = {"gpu": "A GPU (of no make)", "multiprocessors": 100, "clocks.max.sm": "2000 MHz"}


class Traffic(TorchDispatchMode):
    """Counts operations, and the tensors of `numel` elements that they read and write."""

    def __init__(self, numel: int) -> None:
        super().__init__()
        self.numel, self.operations, self.reads, self.writes = numel, 0, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        view = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
        if not view:
            self.operations += 1
            drawn = func is torch.ops.aten.randn_like.default  # reads a shape, and no values
            tensors = [a for a in args if isinstance(a, Tensor) and a.numel() >= self.numel]
            self.reads += 0 if drawn else len(tensors)
            self.writes += result.numel() >= self.numel
        return result


@pytest.mark.slow  # the first dispatch mode of a process imports 900 modules of torch's
def test_the_nine_operations_move_what_they_say() -> None:
    """13 reads and 9 writes; the kernel's 3 and 1 are 2/11 of that, 5.5 times less."""
    p = contenders.Problem.of((4, 25), torch.float32, "cpu")
    with Traffic(100) as own:
        contenders.plain_step_own(p.xt, p.out)
    assert (own.operations, own.reads, own.writes) == (9, 13, 9)
    with Traffic(100) as given:
        contenders.plain_step(p.xt, p.out, p.z)
    ways = contenders.contenders(p)
    assert ways["eager"][0] == own.reads + own.writes
    assert ways["eager, given"][0] == given.reads + given.writes
    assert (own.reads + own.writes) / ways["fused"][0] == 5.5


def test_the_row_is_a_ddpm_step() -> None:
    """Its coefficients give q(x_s | x_t, x_0) its mean and variance: checked on the marginals.

    With x_0 = 1: E x_t = sqrt(abar_t), and x_s = a x_0 + b x_t + c z must be of mean sqrt(abar_s)
    and variance 1 - abar_s.
    """
    p, q, a, b, c, d, e, m = contenders.ROW
    abar_t, abar_s = 0.5, 0.6
    assert p * math.sqrt(abar_t) == pytest.approx(1)
    assert q == pytest.approx(-math.sqrt(1 - abar_t) * p)
    assert a + b * math.sqrt(abar_t) == pytest.approx(math.sqrt(abar_s))
    assert b**2 * (1 - abar_t) + c**2 == pytest.approx(1 - abar_s)
    assert (d, e, m) == (0, 0, 1)
    assert contenders.GIVEN_ROW[4:7] == (0, 0, c)


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (3, 2, 5, 7)])
def test_all_ways_take_the_same_step(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the noise, to float32; with their own, in law: so only that it is a step of noise."""
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)
    p = contenders.Problem.of(shape, torch.float32, "cpu")
    ways = {way: run() for way, (_, run) in contenders.contenders(p).items()}
    assert torch.equal(ways.pop("copy"), p.out)
    row = torch.tensor([contenders.GIVEN_ROW], dtype=torch.float64)
    exact, _ = reference.guided_step(
        p.xt.double(), p.out.double(), row, 0, 2.0, seed=0, sample_ids=p.ids, x0prev=p.z.double(),
        clip=1.0,
    )  # fmt: skip
    for way, xs in ways.items():
        if way.endswith("given"):
            # A dozen roundings of terms up to 20.
            torch.testing.assert_close(xs.double(), exact, rtol=0, atol=12 * 2**-24 * 20)
        else:
            noise = (xs - exact + contenders.ROW[4] * p.z) / contenders.ROW[4]
            assert 0 < noise.abs().max() < 6.77  # no normal of Philox is larger


@pytest.mark.slow
def test_the_nine_operations_trace_without_a_break() -> None:
    """`fullgraph=True` raises where there is one; torch's eager backend needs no C compiler."""
    p = contenders.Problem.of((2, 2, 4, 4), torch.float32, "cpu")
    compiled = torch.compile(contenders.plain_step, fullgraph=True, dynamic=False, backend="eager")
    assert torch.equal(compiled(p.xt, p.out, p.z), contenders.plain_step(p.xt, p.out, p.z))


def test_a_right_step_passes_and_a_wrong_one_is_not_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worst = contenders.check("cpu")
    assert len(worst) == 6
    assert all(0 < error < 1 for error in worst.values())
    right = contenders.guided_step

    def wrong(*args: Any, **more: Any) -> tuple[Tensor, None]:
        return right(*args, **more)[0] * (1 + 1e-5), None

    monkeypatch.setattr(contenders, "guided_step", wrong)
    with pytest.raises(SystemExit, match=r"not timed.*float32, own noise"):
        contenders.check("cpu")
    monkeypatch.setattr(contenders, "guided_step", lambda *a, **_: (a[0] * math.nan, None))
    with pytest.raises(SystemExit, match="nan"):
        contenders.check("cpu")


def test_sizes() -> None:
    """A single 32 x 32 image first, then batches of exactly so many bytes."""
    for dtype in (torch.float32, torch.bfloat16):
        shapes = [bench.shape_of(nbytes, dtype) for nbytes in bench.SIZES]
        assert shapes[0] == (1, 1, 32, 32)
        for nbytes, shape in list(zip(bench.SIZES, shapes, strict=True))[1:]:
            assert math.prod(shape) * dtype.itemsize == nbytes
    assert bench.SIZES[-1] == 2**30


def test_the_walls_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(bench.time, "perf_counter", lambda: float(next(ticks)))
    assert bench.timed(lambda: None, "cpu") == Timing(1e3, 1e3, 1e3)


@pytest.fixture
def cpu_for_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of a run on a GPU but its clock: tensors on the CPU, and times made up."""
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)  # imports more than it resets
    of = contenders.Problem.of
    monkeypatch.setattr(bench.Problem, "of", lambda shape, dtype, _: of(shape, dtype, "cpu"))

    def made_up(run: Callable[[], object], device: str, record: bool) -> Timing:
        assert device == "cuda"
        run()
        return Timing(2.0, 1.0, 3.0) if record else Timing(4.0, 4.0, 4.0)

    monkeypatch.setattr(bench, "timed", made_up)


@pytest.mark.usefixtures("cpu_for_gpu")
def test_a_run_on_a_gpu_but_for_its_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = list(bench.time_gpu(sizes=(2**12, 2**16)))
    assert [(r[0].dtype, r[0].shape) for r in runs] == [
        ("float32", (1, 1, 32, 32)),
        ("float32", (1, 4, 64, 64)),
        ("bfloat16", (1, 1, 32, 32)),
        ("bfloat16", (2, 4, 64, 64)),
    ]
    assert all([m.way for m in r][:4] == ["copy", "eager", "compiled", "fused"] for r in runs)
    assert all(len(r) == 7 for r in runs)
    # The copy is launched, and all that it is compared with recorded.
    assert all([m.time.median for m in r] == [4.0] + 6 * [2.0] for r in runs)


@pytest.mark.usefixtures("cpu_for_gpu")
def test_what_does_not_run_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A compiler that fails costs its own times only; memory that is short, those of one size."""

    def fails(*_: Tensor) -> Tensor:
        raise RuntimeError("no compiler here\nat all")

    monkeypatch.setattr(torch, "compile", lambda f, **_: fails)
    (found, _) = bench.time_gpu(sizes=(2**12,))
    assert [m.way for m in found] == ["copy", "eager", "fused", "eager, given", "fused, given"]
    assert "no compiler here" in capsys.readouterr().err
    assert next(report.lines(found, first=False)).count("did not run") == 2

    def short(*_: object) -> Iterator[None]:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(bench, "contenders", short)
    assert list(bench.time_gpu(sizes=(2**12,))) == [[], []]
    assert "no memory" in next(report.lines([], first=False))


@pytest.mark.slow
@pytest.mark.usefixtures("cpu_for_gpu")
def test_the_command_on_a_gpu_but_for_its_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From refusal to files; and what cannot be counted costs nothing but the count."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(report, "machine", lambda device: GPU | {"device": device})
    monkeypatch.setattr(bench, "check", lambda device: {device: 0.5})
    monkeypatch.setattr(bench, "SIZES", (2**12, 2**16))
    found = {"eager": [3.0], "recorded": [1.0], "steps": [50], "batch": 2, "apart": 0.0}
    found |= {"shape": (3, 32, 32), "eager, a step": 0.06, "recorded, a step": 0.02}
    monkeypatch.setattr(sampler, "time_sampler", lambda device: found)
    assert sampler.bench(tmp_path, cpu=False) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        f"a-gpu-of-no-make.{x}" for x in ("json", "png")
    }
    read = json.loads((tmp_path / "a-gpu-of-no-make.json").read_text())
    assert len(read["measurements"]) == 2 * 2 * 7
    assert read["machine"]["device"] == "cuda"
    assert read["sampler"]["recorded"] == [1.0]
    assert "instructions" not in read
    out = capsys.readouterr().out
    assert "instructions were not counted" in out
    assert "one step: eager 60.000 ms, recorded 20.000 ms, 3.00x" in out
    assert out.count("| bfloat16 2x4x64x64") == 1


def made_up_run() -> list[Measurement]:
    """A chip of 1 TB/s whose launches take 5 us: what a picture may look like."""
    found: list[Measurement] = []
    for dtype, nbytes in itertools.product((torch.float32, torch.bfloat16), bench.SIZES):
        shape = bench.shape_of(nbytes, dtype)
        size = math.prod(shape) * dtype.itemsize
        for way, passes in (("copy", 4), ("eager", 22), ("compiled", 4), ("fused", 4)):
            ms = 5e-3 + passes * size / 1e9 * (1 if way == "copy" else 1.05)
            found.append(Measurement(str(dtype)[6:], shape, way, passes, Timing(ms, ms, ms)))
        for way, passes in (("eager", 21), ("compiled", 5), ("fused", 5)):
            ms = 5e-3 + passes * size / 1e9 * 1.05
            time = Timing(ms, 0.9 * ms, 1.1 * ms)
            found.append(Measurement(str(dtype)[6:], shape, f"{way}, given", passes, time))
    return found


def test_the_table_divides_times() -> None:
    found = [replace(m, time=Timing(1.0, 1.0, 1.0)) for m in made_up_run()[:7]]
    found[0] = replace(found[0], time=Timing(0.9, 0.9, 0.9))  # copy
    found[1] = replace(found[1], time=Timing(5.0, 4.0, 6.0))  # eager
    said, head, rule, line = report.lines(found, first=True)
    assert "median" in said
    assert len({len(head), len(rule), len(line)}) == 1
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    names = [cell.strip() for cell in head.strip("|").split("|")]
    row = dict(zip(names, cells, strict=True))
    assert row["x_t"] == "float32 1x1x32x32"
    assert row["copy GB/s"] == f"{4 * 4096 / 0.9e-3 / 1e9:.0f}"
    assert row["eager"] == "5000 (4000-6000)"
    assert (row["of copy"], row["x eager"], row["x compiled"]) == ("90%", "5.00", "1.00")


@pytest.mark.slow
def test_the_file_and_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers are made up, and stay in the test's folder."""
    found = made_up_run()
    counts = {
        f"{t}, fused{g}": n
        for t in ("float32", "bfloat16")
        for g, n in (("", 58.0), (", given", 20.0))
    }
    result = {"machine": GPU, "instructions": counts, "measurements": [asdict(m) for m in found]}
    written = [Path(path) for path in report.write(tmp_path, result, found)]
    assert [path.name for path in written] == ["a-gpu-of-no-make.json", "a-gpu-of-no-make.png"]
    read = json.loads(written[0].read_text())
    assert read["measurements"][0]["time"]["median"] == found[0].time.median
    assert written[1].stat().st_size > 20_000
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "matplotlib is not installed" in report.write(tmp_path, result, found)[1]


def test_the_machine_is_named() -> None:
    about = report.machine("cpu")
    assert about["torch"] == torch.__version__
    assert about["processor"] and about["threads"] == 1
    assert about["date"].startswith("20")


def test_nvidia_smi_is_asked_and_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    said = subprocess.CompletedProcess([], 0, "580.1, 1980 MHz, 700.00 W\n580.1, 1980 MHz, 1 W\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: said)
    expected = {"driver_version": "580.1", "clocks.max.sm": "1980 MHz", "power.limit": "700.00 W"}
    assert report._nvidia_smi() == expected

    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    assert report._nvidia_smi() == {}


@pytest.mark.slow
def test_the_cpu_is_timed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "CPU_SHAPES", ((2, 1, 4, 4),))
    monkeypatch.setattr(bench.time, "perf_counter", itertools.count(0.0).__next__)
    assert sampler.bench(tmp_path, cpu=True) == 0
    (path,) = tmp_path.iterdir()
    read = json.loads(path.read_text())
    ways = {m["way"] for m in read["measurements"]}
    assert {"eager", "reference", "reference, c = 0"} <= ways
    assert read["machine"]["date"] and str(path) in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")  # checking shapes takes longer than the step itself
def test_on_the_cpu_a_step_is_a_small_part_of_sampling() -> None:
    """Under a tenth of the network's time, its noise included; 5 % when the machine is quiet.

    The fastest of each, because other work on the machine only ever adds.
    """
    model, B = UNet(channels=1, num_classes=10).eval(), 16
    p = contenders.Problem.of((B, 1, 8, 8), torch.float32, "cpu")
    row = torch.tensor([contenders.ROW], dtype=torch.float64)
    t, y = torch.full((2 * B,), 500), torch.arange(2 * B) % 10
    with torch.no_grad():
        network = bench.timed(lambda: model(torch.cat([p.xt, p.xt]), t, y), "cpu")
        step = bench.timed(lambda: p.step(row), "cpu")
    assert step.low < 0.1 * network.low


@pytest.mark.parametrize("program", ["kernels.bench", "minicfg.bench", "kernels.inspection"])
def test_each_command_shows_its_own_name(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In its help and, for the benchmarks, in its errors."""
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module(program, run_name="__main__")
    help_text = capsys.readouterr().out
    assert help_text.startswith(f"usage: python -m {program} ")
    assert f"example: python -m {program} " in help_text
    if program.endswith("bench"):
        monkeypatch.setattr(bench, "refusal", lambda cpu: "no place")
        monkeypatch.setattr(sys, "argv", [program])
        with pytest.raises(SystemExit, match="4"):
            runpy.run_module(program, run_name="__main__")
        assert capsys.readouterr().err == f"{program}: no place\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: nothing is refused")
def test_without_a_gpu_it_says_so_and_ends_with_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--out", str(tmp_path / "out")])
    assert bench.main() == 4
    assert capsys.readouterr().err == f"kernels.bench: {bench.NO_GPU}\n"
    with pytest.raises(MachineError, match="--cpu times"):
        sampler.bench(tmp_path / "out", cpu=False)
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["bench", "--cpu", "--out", str(tmp_path / "file" / "out")])
    assert bench.main() == 4
    assert "file" in capsys.readouterr().err


def test_the_sampler_is_timed_by_its_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded and eager calls that take n s and 3 n s, by a clock that knows the calls."""
    clock = [0.0]

    def sample(model, y, table, *, capture: bool, **_: object) -> Tensor:
        clock[0] += len(table) * (1 if capture else 3)
        return torch.zeros(len(y))

    monkeypatch.setattr(sampler, "sample", sample)
    monkeypatch.setattr(sampler.time, "perf_counter", lambda: clock[0])
    found = sampler.time_sampler("cpu", shape=(1, 4, 4), batch=2, steps=(2, 6), repeats=3)
    assert (found["eager"], found["recorded"]) == ([6, 18], [2, 6])
    assert (found["eager, a step"], found["recorded, a step"]) == (3, 1)
    assert "3.00x" in sampler.sampler_lines(found)[-1]
    monkeypatch.setattr(sampler, "sample", lambda *a, capture, **_: torch.ones(1) * capture)
    with pytest.raises(SystemExit, match="differ by 1: not timed"):
        sampler.time_sampler("cpu", shape=(1, 4, 4), batch=2)


# What a bare machine has: torch and what it requires, triton, numpy and tqdm.
BARE = (
    *("torch", "torchgen", "functorch", "triton", "numpy", "numpy.libs", "tqdm", "filelock"),
    *("typing_extensions.py", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec"),
)
PROGRAM = """
import sys
import torch
from minicfg import Schedule, UNet, sample, solvers
model = UNet(channels=1, num_classes=3, width=8, multipliers=(1,))
y, table = torch.arange(3), solvers.ddpm(Schedule.cosine(10), 3)
print(sample(model, y, table, shape=(1, 4, 4), w=1.0, seed=1).shape)
import kernels.inspection.compile, minicfg.bench.sampler
from kernels.bench import run as bench
bench.CPU_SHAPES = ((2, 1, 4, 4),)
sys.exit(bench.main(minicfg.bench.sampler.bench))
"""


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_bare_machine_can_sample_and_time(tmp_path: Path) -> None:
    """In a Python without this environment, but for the packages that a bare one has."""
    bare, out = tmp_path / "bare", tmp_path / "out"
    bare.mkdir()
    installed = Path(torch.__file__).parents[1]
    for name in BARE:
        if (installed / name).exists():
            (bare / name).symlink_to(installed / name)
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    env["PYTHONPATH"] = f"{ROOT}:{bare}"
    command = [sys.executable, "-S", "-c", PROGRAM, "--cpu", "--out", str(out)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert ran.returncode == 0, ran.stderr
    assert "torch.Size([3, 1, 4, 4])" in ran.stdout
    assert "did not run" in ran.stdout  # diffusers, which is not there
    assert list(out.glob("*.json"))
