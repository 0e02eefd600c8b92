"""The kernel against float64 NumPy and the reference: every size, type and option.

Interpreted; or compiled, where `tests/kernels/device.py` says so.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import philox, reference, triton_step
from kernels.triton_step import TILE
from tests.kernels.device import COMPILED, DEVICE, there_and_back

ROOT = Path(__file__).parents[2]
guided_step = there_and_back(triton_step.guided_step)
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
WEIGHTS = [2.0, "each", None, 0.0, -1]
# One element; around a block of noise (4), a power of 2, and the tile; primes.
SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 63, 64, 65, 127, 251, 1023, 1024, 1025]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", SIZES)
def test_sizes(n: int, dtype: torch.dtype, case: Callable, numpy_step, assert_exact) -> None:
    """The options take turns, so that each meets small, large, even and odd sizes."""
    turn = SIZES.index(n) + DTYPES.index(dtype)
    w, clip = WEIGHTS[turn % 5], (math.inf, 0.7)[turn // 2 % 2]
    args = case((2, n), dtype, w, prev=turn % 3 > 0, clip=clip, seed=n)
    assert_exact(guided_step(**args), numpy_step(**args))


@pytest.mark.parametrize("n", SIZES)
def test_an_output_that_is_multiplied_by_1_plus_1e_5_is_noticed(
    n: int, case: Callable, numpy_step, assert_exact
) -> None:
    """In float32, as kernels/README.md says. Single outputs may hide it where terms cancel."""
    args = case((2, n), seed=n)
    xs, x0hat = guided_step(**args)
    exact = numpy_step(**args)
    assert_exact((xs, x0hat), exact)
    with pytest.raises(AssertionError, match="xs off by"):
        assert_exact((xs * (1 + 1e-5), x0hat), exact)
    readme = " ".join((ROOT / "kernels/README.md").read_text().split())
    assert "an output that is multiplied by 1 + 10^-5 is noticed" in readme


@pytest.mark.parametrize("w", WEIGHTS)
@pytest.mark.parametrize("prev", [True, False])
@pytest.mark.parametrize("clip", [math.inf, 0.7])
def test_options(
    w: float | str | None, prev: bool, clip: float, case: Callable, numpy_step, assert_exact
) -> None:
    args = case((3, 2, 5, 7), w=w, prev=prev, clip=clip)
    assert_exact(guided_step(**args), numpy_step(**args))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_anything(data, case: Callable, numpy_step, assert_exact) -> None:
    """Shapes, strides, types, and rows with zeros, ones and large numbers in any column."""
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    w = data.draw(st.sampled_from(["each", None]) | st.floats(-10, 100, width=32))
    dtype, clip = data.draw(st.sampled_from(DTYPES)), data.draw(st.sampled_from([math.inf, 1.0]))
    args = case(shape, dtype, w, clip=clip, seed=data.draw(st.integers(0, 99)))
    number = st.sampled_from([0.0, 1.0]) | st.floats(-20, 20)
    args["rows"][1] = torch.tensor(data.draw(st.lists(number, min_size=8, max_size=8)))
    exact = numpy_step(**args)
    for name in ("xt", "out", "x0prev"):  # the axes of a sample in any order in memory
        order = [0, *data.draw(st.permutations(range(1, len(shape))))]
        back = [order.index(i) for i in range(len(shape))]
        args[name] = args[name].permute(order).contiguous().permute(back)
    if data.draw(st.booleans()):
        args["k"] = torch.tensor(1)
    assert_exact(guided_step(**args), exact)


@pytest.mark.parametrize("rows_dtype", [torch.float64, torch.float32])
def test_every_row_of_the_table(rows_dtype: torch.dtype, case: Callable, numpy_step) -> None:
    args = case((2, 5))
    args["rows"] = args["rows"].to(rows_dtype)
    for k in range(3):
        xs = guided_step(**args | dict(k=k))[0].numpy()
        exact = numpy_step(**args | dict(k=k))
        assert (abs(xs - exact.xs) <= exact.xs_error + 2.0**-23 * abs(exact.xs)).all()


@pytest.mark.parametrize("n", [1, 6, 64, TILE + 3])
@pytest.mark.parametrize("seed", [0, 2**31, 2**64 - 1])
def test_noise_alone(n: int, seed: int, case: Callable) -> None:
    """c = 1 and all else 0: each element holds the normal of its own seed, sample, step and place.

    Of a wrong word nothing is left that would agree to 2e-6 at every element.
    """
    args = case((3, n), prev=False) | dict(seed=seed, k=2)
    args["rows"].zero_()[:, 4] = 1
    args["sample_ids"] = torch.tensor([2**32 - 1, 0, 2**31])
    wanted = philox.normal_numpy(seed, args["sample_ids"].numpy(), 3, (n,))
    np.testing.assert_allclose(guided_step(**args)[0].numpy(), wanted, rtol=0, atol=2e-6)


def test_batch_order(case: Callable) -> None:
    """A sample's result is the same bits wherever in the batch it stands, and alone."""
    args, order = case((5, 2, 9), w="each"), torch.tensor([3, 0, 4, 2, 1])
    xs, x0hat = guided_step(**args)

    def batch(pick: torch.Tensor) -> dict:
        own = {name: args[name][pick] for name in ("xt", "w", "sample_ids", "x0prev")}
        return args | own | dict(out=args["out"][torch.cat([pick, pick + 5])])

    for pick in (order, order[:1]):
        moved = guided_step(**batch(pick))
        assert torch.equal(moved[0], xs[pick])
        assert torch.equal(moved[1], x0hat[pick])


def test_strides(case: Callable, numpy_step, assert_exact) -> None:
    """Inputs that are not contiguous give what contiguous ones give."""
    args = case((3, 4, 6, 5), w="each")
    strided = args | dict(
        xt=args["xt"].transpose(1, 3).contiguous().transpose(1, 3),
        out=args["out"].to(memory_format=torch.channels_last),
        x0prev=args["x0prev"].flip(0).contiguous().flip(0)[:, :, ::1].expand(3, 4, 6, 5),
        rows=args["rows"].T.contiguous().T,
        w=torch.stack([args["w"], args["w"] + 1], dim=1)[:, 0],
        sample_ids=torch.stack([args["sample_ids"]] * 2, dim=1)[:, 1],
    )
    assert not any(strided[n].is_contiguous() for n in ("xt", "out", "rows", "w", "sample_ids"))
    same(guided_step(**strided), guided_step(**args), numpy_step(**args), assert_exact)


def same(got: tuple, wanted: tuple, exact: object, assert_exact: Callable) -> None:
    """To the bit where both are interpreted.

    Compiled, the other layout is another kernel, and the assembler fuses other products with sums.
    """
    assert_exact(got, exact)
    assert COMPILED or all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


CHANNELS_LAST = [(3, 4, 6, 5), (2, 3, 32, 32), (5, 2, 7), (2, 3, 2, 3, 5), (1, 7, 1, 3), (2, 2, 2)]


@pytest.mark.parametrize("shape", CHANNELS_LAST, ids=str)
@pytest.mark.parametrize("w", [2.0, None])
def test_channels_last_out_is_read_where_it_lies(
    shape: tuple[int, ...],
    w: float | None,
    case: Callable,
    numpy_step,
    assert_exact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a contiguous `out` would be, noise included, and no copy on the way."""
    args = case(shape, w=w)
    out = args["out"].movedim(1, -1).contiguous().movedim(-1, 1)
    assert not out.is_contiguous()
    got = guided_step(**args | dict(out=out))
    same(got, guided_step(**args), numpy_step(**args), assert_exact)
    with Launches(monkeypatch) as launches:
        triton_step.guided_step(**args | dict(out=out))
    assert launches[0][1] is out


@pytest.mark.parametrize("shape", [(3, 4, 6, 5), (2, 1, 3, 3), (2, 3, 1, 1), (4, 9), (6,)], ids=str)
def test_contiguous_tensors_are_not_copied(
    shape: tuple[int, ...], case: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the element's place is not computed the long way, also where both layouts are one."""
    args = case(shape, w="each")
    with Launches(monkeypatch) as launches:
        triton_step.guided_step(**args)
    for name in ("xt", "out", "x0prev", "rows", "w", "sample_ids"):
        assert any(v is args[name] for v in launches[0]), name
    assert launches[0][-1] is None  # pixels


class Launches(list):
    """What the kernel is launched with, instead of the launch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.monkeypatch = monkeypatch

    def __enter__(self) -> Launches:
        self.monkeypatch.setattr(triton_step, "step_kernel", self)
        return self

    def __getitem__(self, grid):
        return super().__getitem__(grid) if isinstance(grid, int) else self.launch

    def launch(self, *args: object, **options: object) -> None:
        self.append(args)

    def __exit__(self, *error: object) -> None:
        self.monkeypatch.undo()


@pytest.mark.parametrize(("side", "copied"), [(2**14, False), (2**15, True)])
def test_channels_last_samples_past_2_to_the_31_are_copied(
    side: int, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their pixels could not be counted in 32 bits. On tensors that have shapes and no data."""
    xt = torch.empty(1, 2, side, side, device="meta")
    out = torch.empty(2, side, side, 2, device="meta").movedim(-1, 1)
    rows, ids = torch.empty(1, 8, device="meta"), torch.empty(1, device="meta").long()
    with Launches(monkeypatch) as launches:
        triton_step.guided_step(xt, out, rows, 0, 2.0, seed=0, sample_ids=ids)
    assert launches[0][1].is_contiguous() == copied
    assert launches[0][-1] == (None if copied else side * side)  # pixels


def test_k_may_stand_in_memory(case: Callable) -> None:
    """As a recorded loop has it, which counts on the device."""
    args = case((3, 10))
    for k in range(3):
        wanted = guided_step(**args | dict(k=k))
        got = guided_step(**args | dict(k=torch.tensor(k)))
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


def test_x0hat_is_written_only_where_it_is_wanted(case: Callable) -> None:
    args = case((3, 10), clip=0.7)
    xs, x0hat = guided_step(**args | dict(want_x0=False))
    assert x0hat is None
    assert torch.equal(xs, guided_step(**args)[0])


@triton.jit(do_not_specialize=["group", "first", "B"])
def write_places(
    group, first, B, n, ids, at, inside, blocks, SAMPLES: tl.constexpr, BLOCK: tl.constexpr
):
    sample, _, address, exists, block = triton_step.places(group, first, B, n, SAMPLES, BLOCK)
    i, j = tl.arange(0, SAMPLES)[:, None], tl.arange(0, BLOCK)[None, :]
    tl.store(ids + i, sample)
    tl.store(at + i * BLOCK + j, address)
    tl.store(inside + i * BLOCK + j, exists.to(tl.int8))
    tl.store(blocks + tl.arange(0, BLOCK // 4)[None, :], block.to(tl.int64))


FAR = [  # B, n, group, first
    (5, 2**33 + 6, 4, 2**23),  # one sample past 2^31, its last tile
    (5, 2**33 + 6, 1, 2**21 - 1),
    (2**20 + 3, 4096, 2**20 + 2, 3),  # many samples
    (2**31 + 9, 4, 2**23, 0),  # many small ones, the last of them a group of 9
    (2**31 - 1, 1024, 2**31 - 2, 0),
    (3, 7, 0, 0),
]


@pytest.mark.parametrize(("B", "n", "group", "first"), FAR)
def test_addresses_past_2_to_the_31(B: int, n: int, group: int, first: int) -> None:
    """The kernel's own arithmetic, alone, beside Python's integers. No tensor is that large."""
    options = triton_step.tiles(B, n)[1]
    S, L = options["SAMPLES"], options["BLOCK"]
    ids, blocks, at = (
        torch.empty(shape, dtype=torch.int64, device=DEVICE) for shape in (S, L // 4, (S, L))
    )
    inside = torch.empty(S, L, dtype=torch.int8, device=DEVICE)
    write_places[(1,)](group, first, B, n, ids, at, inside, blocks, SAMPLES=S, BLOCK=L)
    samples, elements = range(group * S, group * S + S), range(first * L, first * L + L)
    assert ids.tolist() == list(samples)
    assert at.tolist() == [[i * n + j for j in elements] for i in samples]
    assert inside.tolist() == [[i < B and j < n for j in elements] for i in samples]
    assert blocks.tolist() == [j // 4 for j in elements[::4]]


@pytest.mark.parametrize(
    ("B", "n"), [(1, 1), (2**31 + 9, 4), (5, 2**33 + 6), (2**20, 4096), (7, 3)]
)
def test_the_grid_reaches_everything(B: int, n: int) -> None:
    """Within a GPU's limits: 2^31 - 1 programs along the first axis, 65,535 along the others."""
    (x, y, z), options = triton_step.tiles(B, n)
    assert x * options["BLOCK"] >= n and y * z * options["SAMPLES"] >= B
    assert x < 2**31 and y < 2**16 and z < 2**16
    assert options["SAMPLES"] * options["BLOCK"] == triton_step.TILE


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("w", "clip"), [(2.0, math.inf), (2.0, 0.7), (None, 0.7)])
@pytest.mark.parametrize("zero", ["", "d", "e", "decm"])
def test_nan_and_infinity(
    dtype: torch.dtype, w: float | None, clip: float, zero: str, case: Callable
) -> None:
    """They land where the reference lands them, whichever tensor they came in."""
    args = case((2, 16), dtype, w, clip=clip)
    for letter in zero:
        args["rows"][:, "pqabcdem".index(letter)] = 0
    bad = torch.tensor([math.nan, math.inf, -math.inf]).to(dtype)
    args["xt"][0, 0:3] = args["out"][0, 3:6] = args["x0prev"][0, 6:9] = bad
    args["out"][-2, 9:12] = bad  # the null half, where there is one
    args["xt"][1, 0], args["out"][1, 0] = math.inf, math.inf
    with np.errstate(invalid="ignore"):
        got = guided_step(**args)
    for ours, theirs in zip(got, reference.guided_step(**args), strict=True):
        assert torch.equal(ours.isnan(), theirs.isnan())
        assert torch.equal(ours.isposinf(), theirs.isposinf())
        assert torch.equal(ours.isneginf(), theirs.isneginf())


CLIPPED = """
import triton
from kernels.inspection.compile import TARGETS, Variant, source

target = TARGETS["sm_90"]
print(triton.compile(source(Variant().launch(), target), target=target).asm["ptx"])
"""


@pytest.mark.exhaustive
@pytest.mark.slow
def test_nan_passes_the_compiled_clip() -> None:
    """The interpreter clips with NumPy, which keeps NaN whatever the kernel asks for."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-c", CLIPPED],
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPATH": str(ROOT)},
    )
    words = run.stdout.split()
    # 8 elements a thread, at either bound.
    assert words.count("max.NaN.f32") == words.count("min.NaN.f32") == 8, run.stderr
    assert "max.f32" not in words and "min.f32" not in words


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0,)])
def test_nothing_to_do(
    shape: tuple[int, ...], case: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No launch: a GPU refuses a grid of no programs, where the interpreter just does nothing."""
    monkeypatch.setattr(triton_step, "step_kernel", None)
    xs, x0hat = guided_step(**case(shape))
    assert x0hat is not None and xs.shape == x0hat.shape == shape


def test_one_number_a_sample(case: Callable, numpy_step, assert_exact) -> None:
    args = case((6,))
    assert_exact(guided_step(**args), numpy_step(**args))


@pytest.mark.parametrize(("B", "n"), [(5, 8), (7, 3), (1, 30), (9, 4)])
def test_grids_larger_than_an_axis(
    B: int, n: int, case: Callable, numpy_step, assert_exact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """65535 made 2, and the tile 8: groups of samples go on along the third axis, and overshoot."""
    monkeypatch.setattr(triton_step, "TILE", 8)
    monkeypatch.setattr(triton_step, "MAX_GRID_Y", 2)
    args = case((B, n))
    assert_exact(guided_step(**args), numpy_step(**args))


def test_nothing_else_is_written(case: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tile overhangs a sample of 5; what lies beside the tensors must not change."""
    args = case((3, 5))
    arena = torch.full((1000,), 7.0, device=DEVICE)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", lambda *_, **__: arena[100:115].view(3, 5))
        patch.setattr(torch, "empty_like", lambda _: arena[500:515].view(3, 5))
        guided_step(**args)
    inside = torch.zeros(1000, dtype=torch.bool, device=DEVICE)
    inside[100:115] = inside[500:515] = True
    assert (arena[~inside] == 7).all()
    assert (arena[inside] != 7).all()
