"""One solver step in plain torch: the meaning of the kernel, and what runs where there is no GPU.

    g     = out_cond + m w (out_cond - out_null)        guidance, on the network's raw output
    x0hat = clip(p x_t + q g)                           what the output says about the data
    x_s   = a x0hat + b x_t + d out_null + e x0prev + c z

Row `k` of `rows` holds (p, q, a, b, c, d, e, m); every solver is such a table.

Traffic of an eager step with noise, in passes over a tensor of x_t's size, reads and writes:

    g        difference 2, 1    times m w 1, 1    plus out_cond 2, 1
    x0hat    p x_t 1, 1         q g 1, 1          sum 2, 1                 clamp 1, 1
    x_s      a x0hat 1, 1       b x_t 1, 1        sum 2, 1
    noise    z 0, 1             c z 1, 1          sum 2, 1

That is 17 reads and 13 writes. One pass that makes its noise in registers: 3 reads (x_t and the two
halves of `out`) and 2 writes (x_s and x0hat), a sixth.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kernels import philox

if TYPE_CHECKING:
    from jaxtyping import Float, Int


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
    """Move `xt` along row `k`.

    Args:
        xt: the present state, float16, bfloat16, float32 or float64. Arithmetic is float32, or
            float64 for float64.
        out: the network's output, (2B, *D) with the conditional half first and the null half
            second; or (B, *D) with `w=None`: guidance already mixed, or none wanted.
        rows: the solver's table.
        k: which row, 0..n-1.
        w: guidance weight, one for all or one a sample; None where `out` is (B, *D).
        seed: 0..2^64-1. The noise is step k + 1 of sample `sample_ids[i]`; step 0 is the start.
        sample_ids: (B,) integers in 0..2^32-1.
        x0prev: the previous step's x0hat, for rows whose e is not 0.
        clip: x0hat is clamped to [-clip, clip]; infinity for no clipping.

    Returns:
        `(xs, x0hat)` in the dtype of `xt`.
    """
    dtype = torch.float64 if xt.dtype == torch.float64 else torch.float32
    p, q, a, b, c, d, e, m = rows[k].to("cpu", torch.float64).tolist()
    x, cond = xt.to(dtype), out[: len(xt)].to(dtype)
    null = out[len(out) - len(xt) :].to(dtype)
    g = cond
    if w is not None:
        if isinstance(w, Tensor):
            w = w.to(dtype).reshape(-1, *[1] * (xt.ndim - 1))
        g = cond + m * w * (cond - null)
    x0hat = (p * x + q * g).clamp(-clip, clip)
    xs = a * x0hat + b * x
    if d:
        xs = xs + d * null
    if e:
        if x0prev is None:
            raise ValueError(f"row {k} looks back one step (e = {e:.3g}): x0prev is needed")
        xs = xs + e * x0prev.to(dtype)
    if c:
        xs = xs + c * philox.normal(seed, sample_ids, k + 1, xt.shape[1:]).to(dtype)
    return xs.to(xt.dtype), x0hat.to(xt.dtype)
