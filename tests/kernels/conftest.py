"""The step in float64 NumPy, apart from the code under test, and how far float32 may err."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from kernels import philox

U = 2.0**-24  # one rounding to float32, relative
NORMAL_ERROR = 2e-6  # of a float32 normal; measured: 1.5e-6 by the kernel, 1.2e-6 in torch


@dataclass(frozen=True)
class Exact:
    """`xs` and `x0hat` in float64, and what a float32 computation may be off by."""

    xs: np.ndarray
    x0hat: np.ndarray
    xs_error: np.ndarray
    x0hat_error: np.ndarray


def numpy_step(
    xt: Tensor,
    out: Tensor,
    rows: Tensor,
    k: int,
    w: float | Tensor | None,
    *,
    seed: int,
    sample_ids: Tensor,
    x0prev: Tensor | None = None,
    clip: float = np.inf,
) -> Exact:
    """One sample at a time, straight from the formula.

    The bound sums the sizes of the terms, so that it knows of cancellation. Casts of coefficients
    included, a term passes through at most 9 roundings on its way to x0hat and 6 more to x_s.
    """
    p, q, a, b, c, d, e, m = rows[k].double().tolist()
    B = len(xt)
    parts = []
    for i in range(B):
        x, cond = xt[i].double().numpy(), out[i].double().numpy()
        null = out[i + B].double().numpy() if len(out) == 2 * B else cond
        weight = 0.0 if w is None else m * float(w[i] if isinstance(w, Tensor) else w)
        unclipped = p * x + q * ((1 + weight) * cond - weight * null)
        x0hat = np.clip(unclipped, -clip, clip)
        xs = a * x0hat + b * x + d * null
        size = abs(p * x) + abs(q) * ((1 + abs(weight)) * abs(cond) + abs(weight * null))
        error = 9 * U * size
        xs_size = abs(a) * size + abs(b * x) + abs(d * null)
        if x0prev is not None:
            xs = xs + e * x0prev[i].double().numpy()
            xs_size = xs_size + abs(e * x0prev[i].double().numpy())
        ids = sample_ids[i : i + 1].numpy()
        z = philox.normal_numpy(seed, ids, k + 1, xt.shape[1:])[0]
        xs = xs + c * z
        xs_error = 15 * U * (xs_size + abs(c * z)) + abs(c) * NORMAL_ERROR
        parts.append((xs, x0hat, xs_error, error))
    return Exact(*(np.stack(part) for part in zip(*parts, strict=True)))


def ulp(x: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """The gap between neighbours of `x` in `dtype`; 0 for float64, which is not rounded."""
    if dtype == torch.float64:
        return np.zeros_like(x)
    info = torch.finfo(dtype)
    return info.eps * 2.0 ** np.floor(np.log2(np.maximum(abs(x), info.tiny)))


@pytest.fixture(scope="session", name="numpy_step")
def _numpy_step() -> Callable[..., Exact]:
    return numpy_step


@pytest.fixture(scope="session")
def assert_exact() -> Callable[..., None]:
    """Compare `(xs, x0hat)` with the exact step: one ulp of their dtype, and float32's bound.

    What exceeds the dtype, such as an x0hat of 10^5 in float16, has to be the infinity of its sign.
    """

    def check(got: tuple[Tensor, Tensor], exact: Exact, what: str = "") -> None:
        for name in ("xs", "x0hat"):
            tensor = got[name == "x0hat"]
            value, wanted = tensor.double().numpy(), getattr(exact, name)
            error, largest = getattr(exact, name + "_error"), torch.finfo(tensor.dtype).max
            finite = np.isfinite(value)
            allowed = ulp(np.where(finite, np.maximum(abs(value), abs(wanted)), 1), tensor.dtype)
            off = abs(np.where(finite, value, wanted) - wanted) - allowed - error
            assert np.max(off, initial=-np.inf) <= 0, f"{what}: {name} off by {off.max():.3g} more"
            over = wanted[~finite] * np.sign(value[~finite]) + error[~finite] >= largest
            assert over.all(), f"{what}: {name} is {value[~finite]} for {wanted[~finite]}"

    return check


@pytest.fixture(scope="session")
def case() -> Callable[..., dict]:
    """Arguments of a step: tensors of `shape` and `dtype`, a row with every column in use."""

    def make(
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.float32,
        w: float | str | None = 2.0,
        prev: bool = True,
        clip: float = np.inf,
        seed: int = 0,
    ) -> dict:
        g = torch.Generator().manual_seed(seed)
        B = shape[0]

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=g).to(dtype)

        rows = torch.randn((3, 8), generator=g, dtype=torch.float64)
        if not prev:
            rows[:, 6] = 0
        return dict(
            xt=draw(*shape),
            out=draw(B if w is None else 2 * B, *shape[1:]),
            rows=rows,
            k=1,
            w=torch.randn(B, generator=g) if w == "each" else w,
            seed=2**63 + 12345,  # needs all of its 64 bits
            sample_ids=torch.randint(0, 2**32, (B,), generator=g),
            x0prev=draw(*shape) if prev else None,
            clip=clip,
        )

    return make
