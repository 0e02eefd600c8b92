"""The training kernel: the reference's choices to the bit, its noise to 2e-6."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels import philox, reference, triton_noising, triton_step
from tests.kernels.device import there_and_back

noised_batch = there_and_back(triton_noising.noised_batch)
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
SIZES = [1, 3, 4, 5, 31, 64, 65, 251, 1023, 1024, 1025]


def batch(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, **changes: object) -> dict:
    g = torch.Generator().manual_seed(len(shape))
    return (
        dict(
            x0=torch.randn(shape, generator=g).to(dtype),
            y=torch.randint(0, 10, shape[:1], generator=g),
            alpha_bar=torch.linspace(1, 1e-4, 1001, dtype=torch.float64),
            null=10,
            p_uncond=0.3,
            prediction="v",
            seed=2**63 + 12345,
            step=7,
            sample_ids=torch.randint(0, 2**32, shape[:1], generator=g),
        )
        | changes
    )


def assert_same(got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
    """To the bit for t and y; for the rest, float32's errors and one ulp of the dtype.

    Each side's normal is right to 2e-6, and terms below 8 are rounded four times on either side.
    """
    (xt, t, y, target), (xt_, t_, y_, target_) = got, wanted
    assert torch.equal(t, t_) and torch.equal(y, y_)
    for a, b in ((xt, xt_), (target, target_)):
        assert a.dtype == b.dtype and a.shape == b.shape
        allowed = 4e-6 + 8 * 8 * 2**-24 + torch.finfo(a.dtype).eps * b.double().abs()
        assert ((a.double() - b.double()).abs() <= allowed).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", SIZES)
def test_sizes(n: int, dtype: torch.dtype) -> None:
    prediction = ("eps", "v", "velocity", "x0")[(SIZES.index(n) + DTYPES.index(dtype)) % 4]
    args = batch((3, n), dtype, prediction=prediction)
    assert_same(noised_batch(**args), reference.noised_batch(**args))


@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "velocity"])
@pytest.mark.parametrize("p_uncond", [0.0, 2.0**-33, 0.1, 0.5, 1 - 2.0**-33, 1.0])
def test_options(prediction: str, p_uncond: float) -> None:
    args = batch((50, 2, 4), prediction=prediction, p_uncond=p_uncond)
    assert_same(noised_batch(**args), reference.noised_batch(**args))


@pytest.mark.parametrize("shape", [(300, 1), (70, 3), (17, 2, 33), (6,)], ids=str)
def test_batches_of_small_samples(shape: tuple[int, ...]) -> None:
    """Several programs, the last of them not full."""
    args = batch(shape)
    assert_same(noised_batch(**args), reference.noised_batch(**args))


@pytest.mark.parametrize("T", [1, 2, 1000, 100_000])
def test_choices_of_any_schedule_are_exact(T: int) -> None:
    """Also for the few of two million images whose u T is within T / 2^32 of an integer.

    There half a word more or less, or a u in float32, is another t.
    """
    args = batch((1000, 1), alpha_bar=torch.linspace(1, 0.1, T + 1, dtype=torch.float64))
    everyone = np.arange(2**21)
    words = philox.words_numpy(args["seed"], everyone, args["step"], 1, philox.TRAINING_CHOICE)
    past = (2 * words[:, 0, 0].astype(np.uint64) + 1) * T % 2**33
    close = everyone[(past < 2 * T) | (past >= 2**33 - 2 * T)][:500]
    assert len(close) > 50 or T <= 1000  # T / 1024 are to be expected
    args["sample_ids"][: len(close)] = torch.from_numpy(close)
    got, wanted = noised_batch(**args), reference.noised_batch(**args)
    assert torch.equal(got[1], wanted[1]) and torch.equal(got[2], wanted[2])
    assert got[1].min() >= 1 and got[1].max() <= T


def test_a_label_at_the_edge_is_kept() -> None:
    """With p_uncond its very u, as u < p_uncond is false; and dropped with the next float64."""
    args = batch((1, 4))
    ids, seed, step = args["sample_ids"], args["seed"], args["step"]
    u = float(philox.uniform(seed, ids, step, 2, philox.TRAINING_CHOICE)[0, 1])
    for p_uncond, dropped in ((u, False), (math.nextafter(u, 1), True)):
        for run in (noised_batch, reference.noised_batch):
            y = run(**args | dict(p_uncond=p_uncond))[2]
            assert (int(y) == 10) == dropped


@pytest.mark.parametrize("word", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("side", [-1, 0, 1])
def test_labels_at_the_edge_of_being_dropped(
    word: int, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """p_uncond at, and one float64 to either side of, what a word stands for: (word + 1/2)/2^32.

    The launcher turns p_uncond into the number of words below it, which must be those that the
    reference's comparison of float64 numbers drops.
    """
    u = (word + 0.5) / 2**32
    p_uncond = math.nextafter(u, side * math.inf) if side else u
    launched = list[tuple[object, ...]]()
    record = type("", (), {"__getitem__": lambda self, grid: lambda *a, **_: launched.append(a)})
    monkeypatch.setattr(triton_noising, "noising_kernel", record())
    triton_noising.noised_batch(**batch((1, 4), p_uncond=p_uncond))
    drop_below = launched[0][-3]
    assert (word < drop_below) == (u < p_uncond)
    assert drop_below == word + (u < p_uncond)


def test_strides_and_the_caller_s_tensors() -> None:
    """Inputs that are not contiguous give the same bits, and no input is written to."""
    args = batch((5, 3, 4, 6))
    wanted = noised_batch(**args)
    strided = args | dict(
        x0=args["x0"].to(memory_format=torch.channels_last),
        y=torch.stack([args["y"]] * 2, dim=1)[:, 0],
        sample_ids=torch.stack([args["sample_ids"]] * 2, dim=1)[:, 1],
        alpha_bar=torch.stack([args["alpha_bar"]] * 2, dim=1)[:, 1],
    )
    before = {name: v.clone() for name, v in strided.items() if isinstance(v, Tensor)}
    assert all(torch.equal(a, b) for a, b in zip(noised_batch(**strided), wanted, strict=True))
    assert all(torch.equal(strided[name], v) for name, v in before.items())


def test_float32_would_lose_the_noise_near_the_data() -> None:
    """1 - abar = 1e-9, which float32 takes for 0: the kernel's root is of the float64 table."""
    alpha_bar = torch.tensor([1.0, 1 - 1e-9], dtype=torch.float64)
    args = batch((64, 4), alpha_bar=alpha_bar, prediction="eps")
    args["x0"].zero_()
    xt, _, _, eps = noised_batch(**args)
    # 1 - 1e-9 is stored to 2^-53, a relative 1e-7 of 1e-9; then two roundings to float32
    torch.testing.assert_close(xt, eps * 1e-9**0.5, rtol=3e-7, atol=0)


@pytest.mark.parametrize("shape", [(0, 3), (0,), (2, 0)], ids=str)
def test_empty_batches(shape: tuple[int, ...]) -> None:
    """Images of nothing still have a time and a label; a batch of none launches nothing."""
    args = batch(shape)
    assert_same(noised_batch(**args), reference.noised_batch(**args))


@pytest.mark.parametrize(("B", "n"), [(5, 8), (7, 3), (1, 30)])
def test_grids_larger_than_an_axis(B: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_step, "TILE", 8)
    monkeypatch.setattr(triton_step, "MAX_GRID_Y", 2)
    args = batch((B, n))
    assert_same(noised_batch(**args), reference.noised_batch(**args))


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_anything(data) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    args = batch(
        shape,
        data.draw(st.sampled_from(DTYPES)),
        prediction=data.draw(st.sampled_from(["eps", "x0", "v", "velocity"])),
        p_uncond=data.draw(st.floats(0, 1)),
        seed=data.draw(st.integers(0, 2**64 - 1)),
        step=data.draw(st.integers(0, 2**32 - 1)),
        null=data.draw(st.integers(0, 1000)),
    )
    T = data.draw(st.integers(1, 20))
    args["alpha_bar"] = torch.linspace(1, 0.01, T + 1, dtype=torch.float64)
    assert_same(noised_batch(**args), reference.noised_batch(**args))
