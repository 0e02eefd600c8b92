"""Inputs of odd sizes on which every rung is compared with the reference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from kernels import philox, reference
from kernels.bench.contenders import ROW as FULLY_GUIDED
from kernels.bench.contenders import W

# One element; less than one program moves; sizes that no power of 2 divides; one element too many.
SHAPES = ((1, 1), (3, 5), (2, 3, 7, 11), (2, 1025))
ROW = (*FULLY_GUIDED[:7], 0.5)  # m = 1/2, so that a rung that forgets m is noticed
SEED = 2**63 + 12345  # it needs all of the key's 64 bits
STEP = 6  # row k of a table makes the noise of step k + 1
CLIP = 1.0
# Inputs lie in [-1, 1], so with W = 2 no term before the clip exceeds 7. At most 15 operations
# round it to float32, to a relative 2^-24 each: 15 x 7 x 2^-24 = 6.3e-6. A float32 normal is right
# to 2e-6, and its coefficient is below 1.
ATOL = 1e-5


def uniform(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Numbers in [-1, 1) from a fixed seed."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(shape, generator=generator) - 1).to(dtype)


def assert_near(got: Tensor, wanted: Tensor) -> None:
    """Compare with float64 numbers: to `ATOL`, and to one unit in the last place of `got`.

    A store to 16 bits rounds, by less than that unit. (Triton's interpreter truncates to bfloat16,
    which also errs by less than one unit.)
    """
    eps = torch.finfo(got.dtype).eps
    torch.testing.assert_close(got.double().cpu(), wanted, rtol=eps, atol=ATOL)


def cases() -> Iterator[tuple[tuple[int, ...], torch.dtype]]:
    """Every shape in float32, and one in each type of 16 bits."""
    for shape in SHAPES:
        yield shape, torch.float32
    yield SHAPES[1], torch.float16
    yield SHAPES[2], torch.bfloat16


def randn(n: int, calls: int) -> Tensor:
    """The first `n` normals of `tl.randn` or `tl.randn4x`, in float64, from `calls` Philox calls.

    Triton makes a uniform of 31 bits from a word w, a signed integer: max(w, -w - 1) times a number
    a little below 2^-31. It raises u to 1e-7 before the logarithm, so that no normal exceeds
    sqrt(-2 log 1e-7) = 5.68.
    """
    words = philox.words_numpy(SEED, np.array([0]), 0, calls)[0].view(np.int32)
    uniform = np.maximum(words, -1 - words).astype(np.float32) * np.float32(4.6566127342e-10)
    u, v = uniform[:, 0::2].astype(np.float64), uniform[:, 1::2].astype(np.float64)
    r = np.sqrt(-2 * np.log(np.maximum(1e-7, u)))
    z = np.stack([r * np.cos(2 * np.pi * v), r * np.sin(2 * np.pi * v)], axis=-1)
    each = z.reshape(calls, 4) if calls < n else z[:, 0, :1]  # four, or the first of four
    return torch.from_numpy(each.reshape(-1)[:n])


def step_with_noise(xt: Tensor, out: Tensor, z: Tensor) -> Tensor:
    """The reference's step in float64 with given noise: the row looks back at `z` with e = c."""
    p, q, a, b, c, d, _, m = ROW
    row = torch.tensor([(p, q, a, b, 0.0, d, c, m)], dtype=torch.float64)
    wanted, _ = reference.guided_step(
        xt.double(),
        out.double(),
        row,
        0,
        W,
        seed=0,
        sample_ids=torch.arange(len(xt)),
        x0prev=z,
        clip=CLIP,
    )
    return wanted


def ids(B: int) -> Tensor:
    """Numbers of B samples, out of order, the first of which needs all 32 bits."""
    return 2**32 - 1 - 7 * torch.arange(B)
