"""Where a step runs: checked once, on the host; then CUDA -> Triton, any other -> reference."""

from __future__ import annotations

import importlib.util
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kernels import reference
from kernels.philox import check_seed

if TYPE_CHECKING:
    from jaxtyping import Float, Int

HAS_TRITON = importlib.util.find_spec("triton") is not None
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def guided_step(
    xt: Float[Tensor, "B *D"],
    out: Float[Tensor, "B_out *D"],
    rows: Float[Tensor, "n 8"],
    k: int,
    w: float | Float[Tensor, " B"] | None,
    *,
    seed: int,
    sample_ids: Int[Tensor, " B"],
    x0prev: Float[Tensor, "B *D"] | None = None,
    clip: float = math.inf,
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "B *D"]]:
    """`kernels.reference.guided_step`, fused in one kernel where `xt` is a CUDA tensor.

    Raises:
        ValueError: naming the argument, what it is and what it may be, before anything runs.
    """
    check(xt, out, rows, k, w, seed=seed, sample_ids=sample_ids, x0prev=x0prev, clip=clip)
    step = reference.guided_step
    if xt.is_cuda and HAS_TRITON and xt.dtype != torch.float64:
        from kernels.triton_step import guided_step as step
    return step(xt, out, rows, k, w, seed=seed, sample_ids=sample_ids, x0prev=x0prev, clip=clip)


def check(
    xt: Tensor,
    out: Tensor,
    rows: Tensor,
    k: int,
    w: float | Tensor | None,
    *,
    seed: int,
    sample_ids: Tensor,
    x0prev: Tensor | None,
    clip: float,
) -> None:
    """Refuse what a step cannot do. Reads shapes and host numbers only; never waits for a GPU."""
    B = len(xt)
    halves = 1 if w is None else 2
    if xt.dtype not in DTYPES:
        raise ValueError(f"xt is {xt.dtype}: float16, bfloat16, float32 or float64 is needed")
    if out.shape != (halves * B, *xt.shape[1:]):
        raise ValueError(
            f"out has shape {tuple(out.shape)}: {(halves * B, *xt.shape[1:])} is needed beside xt "
            f"{tuple(xt.shape)} with w {'= None' if w is None else 'given (two halves)'}"
        )
    if rows.ndim != 2 or rows.shape[1] != 8:
        raise ValueError(f"rows has shape {tuple(rows.shape)}: (n, 8) is needed")
    if not 0 <= k < len(rows):
        raise ValueError(f"k = {k} is outside 0..{len(rows) - 1}")
    if isinstance(w, Tensor):
        if w.shape != (B,):
            raise ValueError(f"w has shape {tuple(w.shape)}: a float or ({B},) is needed")
    elif w is not None and not math.isfinite(w):
        raise ValueError(f"w = {w} is not finite")
    if sample_ids.shape != (B,):
        raise ValueError(f"sample_ids has shape {tuple(sample_ids.shape)}: ({B},) is needed")
    if x0prev is not None and x0prev.shape != xt.shape:
        raise ValueError(f"x0prev has shape {tuple(x0prev.shape)}: {tuple(xt.shape)} is needed")
    if not clip > 0:
        raise ValueError(f"clip = {clip}: a positive number or infinity is needed")
    for name, tensor in (("out", out), ("sample_ids", sample_ids), ("x0prev", x0prev), ("w", w)):
        if isinstance(tensor, Tensor) and tensor.device != xt.device:
            raise ValueError(f"{name} is on {tensor.device} and xt on {xt.device}")
    if any(isinstance(v, Tensor) and v.requires_grad for v in (xt, out, w, x0prev)):
        raise ValueError("a solver step has no gradient: call it under torch.no_grad()")
    check_seed(seed)
