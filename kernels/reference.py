"""One solver step in plain torch: the meaning of the kernel, and what runs where there is no GPU.

    g     = out_cond + m w (out_cond - out_null)        guidance, on the network's raw output
    x0hat = clip(p x_t + q g)                           what the output says about the data
    x_s   = a x0hat + b x_t + d out_null + e x0prev + c z

Row `k` of `rows` holds (p, q, a, b, c, d, e, m); every solver is such a table.

Traffic of an eager step with noise, in passes over a tensor of x_t's size, reads and writes:

    g        difference 2, 1    times m w 1, 1    plus out_cond 2, 1
    x0hat    q g 1, 1           plus p x_t 2, 1   clamp 1, 1
    x_s      a x0hat 1, 1       plus b x_t 2, 1
    noise    z 0, 1             plus c z 2, 1

That is 14 reads and 10 writes, most of them in place: new memory is what an eager step on a CPU
pays most for. One pass that makes its noise in registers: 3 reads (x_t and the two halves of `out`)
and 1 write (x_s), a sixth; 2 writes where x0hat is wanted too, five twenty-fourths.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kernels import philox

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


def guided_step(
    xt: Float[Tensor, "B *D"],
    out: Float[Tensor, "B_out *D"],
    rows: Float[Tensor, "n 8"],
    k: int | Int[Tensor, ""],
    w: float | Float[Tensor, " B"] | None,
    *,
    seed: int,
    sample_ids: Int[Tensor, " B"],
    x0prev: Float[Tensor, "B *D"] | None = None,
    clip: float = math.inf,
    want_x0: bool = True,
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "B *D"] | None]:
    """Move `xt` along row `k`.

    Args:
        xt: the present state, float16, bfloat16, float32 or float64. Arithmetic is float32, or
            float64 for float64.
        out: the network's output, (2B, *D) with the conditional half first and the null half
            second; or (B, *D) with `w=None`: guidance already mixed, or none wanted.
        rows: the solver's table.
        k: which row, 0..n-1; or where that number stands, for a loop that counts on the device.
        w: guidance weight, one for all or one a sample; None where `out` is (B, *D).
        seed: 0..2^64-1. The noise is step k + 1 of sample `sample_ids[i]`; step 0 is the start.
        sample_ids: (B,) integers in 0..2^32-1.
        x0prev: the previous step's x0hat, for rows whose e is not 0.
        clip: x0hat is clamped to [-clip, clip]; infinity for no clipping.
        want_x0: whether x0hat is needed. A kernel that need not write it is a pass shorter.

    Returns:
        `(xs, x0hat)` in the dtype of `xt`, contiguous; `(xs, None)` where x0hat is not wanted.
    """
    dtype = torch.float64 if xt.dtype == torch.float64 else torch.float32
    k = int(k)
    if not 0 <= k < len(rows):
        raise ValueError(f"k = {k} is outside 0..{len(rows) - 1}")
    p, q, a, b, c, d, e, m = rows[k].to("cpu", torch.float64).tolist()
    x, cond = xt.to(dtype), out[: len(xt)].to(dtype)
    null = out[len(out) - len(xt) :].to(dtype)
    g = cond
    if w is not None:
        if isinstance(w, Tensor):
            if not bool(torch.isfinite(w).all()):
                raise ValueError("w is not finite everywhere")
            w = w.to(dtype).reshape(-1, *[1] * (xt.ndim - 1))
        g = (cond - null).mul_(m * w).add_(cond)
    x0hat = (q * g).add_(x, alpha=p).clamp_(-clip, clip)
    xs = (a * x0hat).add_(x, alpha=b)
    if d:
        xs.add_(null, alpha=d)
    if e:
        if x0prev is None:
            raise ValueError(f"row {k} looks back one step (e = {e:.3g}): x0prev is needed")
        xs.add_(x0prev.to(dtype), alpha=e)
    if c:
        xs.add_(philox.normal(seed, sample_ids, k + 1, xt.shape[1:]).to(dtype), alpha=c)
    xs, x0hat = (tensor.to(xt.dtype).contiguous() for tensor in (xs, x0hat))
    return xs, x0hat if want_x0 else None


def noised_batch(
    x0: Float[Tensor, "B *D"],
    y: Int[Tensor, " B"],
    alpha_bar: Float[Tensor, " T1"],
    *,
    null: int,
    p_uncond: float,
    prediction: str,
    seed: int,
    step: int,
    sample_ids: Int[Tensor, " B"],
) -> tuple[Float[Tensor, "B *D"], Int[Tensor, " B"], Int[Tensor, " B"], Float[Tensor, "B *D"]]:
    """What a training step shows the network: `xt = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps`.

    Args:
        x0: images, float16, bfloat16, float32 or float64. Arithmetic is as for `guided_step`.
        y: their labels.
        alpha_bar: (T + 1,) float64, indexed by t; `alpha_bar[0] = 1`.
        null: the label that stands for none.
        p_uncond: share of labels dropped, 0..1.
        prediction: the target, `"eps"`, `"x0"` or `"v" = sqrt(abar_t) eps - sqrt(1 - abar_t) x0`.
        seed: 0..2^64-1.
        step: of training, 0..2^32-1.
        sample_ids: (B,) integers in 0..2^32-1, one a place in the batch.

    Returns:
        `(xt, t, y, target)`, with t in 1..T and null for the labels that were dropped.
    """
    t, dropped = choices(len(alpha_bar) - 1, p_uncond, seed, step, sample_ids)
    signal = alpha_bar[t].sqrt()
    noise = (1 - alpha_bar[t]).sqrt()
    xt, target = noised(
        x0, signal, noise, prediction=prediction, seed=seed, step=step, sample_ids=sample_ids
    )
    return xt, t, y.masked_fill(dropped, null), target


def noised(
    x0: Float[Tensor, "B *D"],
    signal: Float[Tensor, " B"],
    noise: Float[Tensor, " B"],
    *,
    prediction: str,
    seed: int,
    step: int,
    sample_ids: Int[Tensor, " B"],
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "B *D"]]:
    """`(xt, target)` of `noised_batch`: `xt = signal x0 + noise eps`, a pair of scales a sample."""
    dtype = torch.float64 if x0.dtype == torch.float64 else torch.float32
    each = (-1, *[1] * (x0.ndim - 1))
    signal, noise = signal.to(dtype).reshape(each), noise.to(dtype).reshape(each)
    eps = philox.normal(seed, sample_ids, step, x0.shape[1:], philox.TRAINING_NOISE).to(dtype)
    x = x0.to(dtype)
    xt = (signal * x + noise * eps).to(x0.dtype)
    target = x if prediction == "x0" else eps if prediction == "eps" else signal * eps - noise * x
    return xt, target.to(x0.dtype)


def choices(
    T: int, p_uncond: float, seed: int, step: int, sample_ids: Int[Tensor, " B"]
) -> tuple[Int[Tensor, " B"], Bool[Tensor, " B"]]:
    """For each image of a batch by itself: t, uniform in 1..T, and whether to drop its label."""
    u = philox.uniform(seed, sample_ids, step, 2, philox.TRAINING_CHOICE)
    return (u[:, 0] * T).long() + 1, u[:, 1] < p_uncond
