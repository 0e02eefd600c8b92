"""A study: channels-last output, read tile by tile

**The question.** Networks that run in the channels-last format return `out` with the channels of a
pixel side by side, while x_t has one channel after the other. Rung 8 reads such an `out` element
by element. What does reading it by tiles save?

**The idea.** A program takes all C channels of a piece of PIXELS pixels. In `out` the piece is one
contiguous range, [PIXELS, C], so it is loaded with 128-bit accesses and mixed as it is. Only the
result g is transposed to [C, PIXELS], the order of x_t, which moves it between the threads of the
program through shared memory. The rest is rung 7, for rows with d = e = 0, with the block of noise
of each channel's pixels.

**Bytes.** 3 reads and 1 write, as before. Element by element, the two halves of 16 elements need
32 accesses of 32 bits in float32; by tiles they need 8 of 128 bits.

**Instructions**, per element, compiled for an H100 with 4 channels and 2 warps:

    element by element (rung 8)     69.8 in float32     73.1 in bfloat16
    by tiles                        53.3 in float32     57.8 in bfloat16

The accesses are 1.5 of the 16.5 that are saved in float32. Most others are the division of each
element's number by the number of pixels, and the addresses. A part is the row, which rung 8 looks
up and this kernel has as arguments.

**The limits.** C has to be a power of 2, because a block has such sizes, and 4 has to divide the
number of pixels, because a block of noise must not contain two channels. Whether it is faster, a
GPU has to show (`kernels/results/README.md`). The sampler does not use this kernel.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import philox, reference
from kernels.ladder import trial
from kernels.ladder.arguments import Row, check_one_w, check_step
from kernels.triton_normals import normals

SAMPLING = tl.constexpr(philox.SAMPLING)
TILE = 1024


@triton.jit(do_not_specialize=["k"])
def step_kernel(
    xt,  # pointer to (B, C, pixels)
    out,  # pointer to (2B, pixels, C), the conditional half first
    xs,  # pointer to (B, C, pixels), written
    p,
    q,
    a,
    b,
    c,
    m,
    w,
    clip,
    seed: tl.uint64,  # pyright: ignore[reportInvalidTypeForm]
    k,
    sample_ids,  # pointer to (B,) integers
    B,
    pixels,
    C: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """Move all channels of PIXELS pixels of one sample."""
    sample = tl.program_id(1)
    first = tl.program_id(0) * PIXELS
    pixel = first + tl.arange(0, PIXELS)
    channel = tl.arange(0, C)
    size = C * pixels  # of a sample
    at = sample * size + channel[:, None] * pixels + pixel[None, :]  # [C, PIXELS]
    out_at = sample * size + pixel[:, None] * C + channel[None, :]  # [PIXELS, C]
    inside = tl.broadcast_to(pixel[None, :] < pixels, (C, PIXELS))
    out_inside = tl.broadcast_to(pixel[:, None] < pixels, (PIXELS, C))

    cond = tl.load(out + out_at, mask=out_inside).to(tl.float32)
    null = tl.load(out + B * size + out_at, mask=out_inside).to(tl.float32)
    g = tl.trans(cond + m * w * (cond - null))
    x = tl.load(xt + at, mask=inside).to(tl.float32)
    x0hat = tl.clamp(p * x + q * g, -clip, clip, propagate_nan=tl.PropagateNan.ALL)
    y = a * x0hat + b * x
    if c != 0:
        sample_id = tl.load(sample_ids + sample).to(tl.uint32)
        block = channel[:, None] * (pixels // 4) + (first // 4 + tl.arange(0, PIXELS // 4)[None, :])
        z = normals(seed, (k + 1).to(tl.uint32), sample_id, block.to(tl.uint32), SAMPLING)
        y += c * tl.reshape(z, (C, PIXELS))
    tl.store(xs + at, y.to(xs.dtype.element_ty), mask=inside)


def step(
    xt: Tensor,
    out: Tensor,
    row: Row,
    w: float,
    clip: float,
    seed: int,
    k: int,
    sample_ids: Tensor,
) -> Tensor:
    """Launch the kernel.

    Args:
        xt: (B, C, H, W) float16, bfloat16 or float32; C is 1, 2, 4 ... 256, and 4 divides H W.
        out: (2B, C, H, W) in the same dtype and in the format channels-last.
        row: (p, q, a, b, c, d, e, m) with d = e = 0.
        w: the guidance weight.
        clip: the guess of the data is clipped to [-clip, clip]; infinity leaves it as it is.
        seed: 0..2^64-1.
        k: the number of the step, counted from 0.
        sample_ids: (B,) integers in 0..2^32-1, which name the samples' noise.

    Returns:
        x_s, of the shape and dtype of `xt`.

    Raises:
        ValueError: an argument is of another kind, or the shape or layout is not one of these.
    """
    check_step(xt, out, row, w, clip, seed=seed, k=k, sample_ids=sample_ids, unused="de")
    check_one_w(w)
    if xt.ndim != 4 or not out.is_contiguous(memory_format=torch.channels_last):
        raise ValueError(
            f"xt has shape {tuple(xt.shape)} and out strides {out.stride()}; pass images (B, C, H, "
            "W), and out in torch.channels_last"
        )
    B, C, H, W = xt.shape
    pixels = H * W
    if C & (C - 1) or C > TILE // 4 or pixels % 4 or B > 65535:
        raise ValueError(
            f"xt has shape {tuple(xt.shape)}; this kernel takes at most 65,535 samples, a power of "
            "2 of channels up to 256, and a number of pixels that 4 divides"
        )
    p, q, a, b, c, _, _, m = row
    xs = torch.empty(xt.shape, dtype=xt.dtype, device=xt.device)
    PIXELS = TILE // C
    options: dict = dict(C=C, PIXELS=PIXELS, num_warps=2)
    step_kernel[(triton.cdiv(pixels, PIXELS), B)](
        xt.contiguous(),
        out,
        xs,
        float(p),
        float(q),
        float(a),
        float(b),
        float(c),
        float(m),
        float(w),
        float(clip),
        seed,
        k,
        sample_ids.contiguous(),
        B,
        pixels,
        **options,
    )
    return xs


def check(device: str) -> None:
    """Assert that a step is the reference's on the same output, whatever its layout."""
    rows = torch.tensor([trial.ROW] * (trial.STEP + 1), dtype=torch.float64)
    for C, H, W, dtype in (
        (1, 2, 2, torch.float32),
        (4, 6, 6, torch.float32),
        (2, 23, 28, torch.float32),
        (8, 4, 33, torch.float16),
    ):
        B = 2
        xt = trial.uniform(1, B, C, H, W, dtype=dtype)
        out = trial.uniform(2, 2 * B, C, H, W, dtype=dtype)
        ids = trial.ids(B)
        got = step(
            xt.to(device),
            out.to(device).contiguous(memory_format=torch.channels_last),
            trial.ROW,
            trial.W,
            trial.CLIP,
            trial.SEED,
            trial.STEP,
            ids.to(device),
        )
        wanted, _ = reference.guided_step(
            xt.double(),
            out.double(),
            rows,
            trial.STEP,
            trial.W,
            seed=trial.SEED,
            sample_ids=ids,
            clip=trial.CLIP,
        )
        trial.assert_near(got, wanted)
