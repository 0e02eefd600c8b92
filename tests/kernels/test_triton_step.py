"""The kernel, interpreted, against float64 NumPy and the reference: every size, type and option."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import philox, reference, triton_step
from kernels.triton_step import TILE, guided_step

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


@pytest.mark.parametrize("w", WEIGHTS)
@pytest.mark.parametrize("prev", [True, False])
@pytest.mark.parametrize("clip", [math.inf, 0.7])
def test_options(
    w: float | str | None, prev: bool, clip: float, case: Callable, numpy_step, assert_exact
) -> None:
    args = case((3, 2, 5, 7), w=w, prev=prev, clip=clip)
    assert_exact(guided_step(**args), numpy_step(**args))


@pytest.mark.slow
@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_anything(data, case: Callable, numpy_step, assert_exact) -> None:
    """Shapes, types and rows with zeros, ones and large numbers in any column."""
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    w = data.draw(st.sampled_from(["each", None]) | st.floats(-10, 100, width=32))
    dtype, clip = data.draw(st.sampled_from(DTYPES)), data.draw(st.sampled_from([math.inf, 1.0]))
    args = case(shape, dtype, w, clip=clip, seed=data.draw(st.integers(0, 99)))
    number = st.sampled_from([0.0, 1.0]) | st.floats(-20, 20)
    args["rows"][1] = torch.tensor(data.draw(st.lists(number, min_size=8, max_size=8)))
    assert_exact(guided_step(**args), numpy_step(**args))


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


def test_strides(case: Callable) -> None:
    """Inputs that are not contiguous give the bits that contiguous ones give."""
    args = case((3, 4, 6, 5), w="each")
    wanted = guided_step(**args)
    strided = args | dict(
        xt=args["xt"].transpose(1, 3).contiguous().transpose(1, 3),
        out=args["out"].to(memory_format=torch.channels_last),
        x0prev=args["x0prev"].flip(0).contiguous().flip(0)[:, :, ::1].expand(3, 4, 6, 5),
        rows=args["rows"].T.contiguous().T,
        w=torch.stack([args["w"], args["w"] + 1], dim=1)[:, 0],
        sample_ids=torch.stack([args["sample_ids"]] * 2, dim=1)[:, 1],
    )
    assert not any(strided[n].is_contiguous() for n in ("xt", "out", "rows", "w", "sample_ids"))
    assert all(torch.equal(a, b) for a, b in zip(guided_step(**strided), wanted, strict=True))


def test_output_of_another_dtype(case: Callable, numpy_step, assert_exact) -> None:
    """A network under autocast answers a float32 state in bfloat16: both are read as they are."""
    args = case((3, 10))
    args["out"] = args["out"].to(torch.bfloat16)
    assert_exact(guided_step(**args), numpy_step(**args))


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


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0,)])
def test_nothing_to_do(
    shape: tuple[int, ...], case: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No launch: a GPU refuses a grid of no programs, where the interpreter just does nothing."""
    monkeypatch.setattr(triton_step, "step_kernel", None)
    xs, x0hat = guided_step(**case(shape))
    assert xs.shape == x0hat.shape == shape


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


def test_nothing_else_is_written(case: Callable) -> None:
    """The tile overhangs a sample of 5; what lies beside the tensors must not change."""
    args = case((3, 5))
    arena = torch.full((1000,), 7.0)
    empty_like, places = torch.empty_like, iter((arena[100:115], arena[500:515]))
    torch.empty_like = lambda x: next(places).view(3, 5)
    try:
        guided_step(**args)
    finally:
        torch.empty_like = empty_like
    inside = torch.zeros(1000, dtype=torch.bool)
    inside[100:115] = inside[500:515] = True
    assert (arena[~inside] == 7).all()
    assert (arena[inside] != 7).all()
