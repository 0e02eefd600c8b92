"""Rung 6. Tiles: samples by elements

**The question.** A sample's noise must depend on its own number, and users pass one weight w per
sample. Both are numbers per sample. How does a program that moves 1024 elements find them?

**The obvious way** is to divide: element `at` of the batch belongs to sample `at // n`. A GPU has
no instruction for an integer division and executes a sequence of others. In addition every element
would load its sample's number.

**The tile.** Instead a program takes a tile of SAMPLES samples by BLOCK elements. `sample` has the
shape [SAMPLES, 1], `element` [1, BLOCK], and their combination `sample * n + element` is broadcast
to [SAMPLES, BLOCK], like arrays in NumPy. What belongs to a sample has the shape [SAMPLES, 1], so a
thread loads it once for all its elements of a row of the tile, and not once per element. The
product SAMPLES x BLOCK is always 1024; both are powers of 2, as Triton requires:

    n = 16,384      BLOCK = 1024, SAMPLES = 1       16 programs per sample
    n = 192         BLOCK = 256,  SAMPLES = 4       one program for 4 samples; it masks 64 columns
    n = 4           BLOCK = 4,    SAMPLES = 256     one program for 256 samples

**The grid** has two axes: `tl.program_id(0)` counts tiles along a sample, `tl.program_id(1)`
groups of samples. The mask has two parts, for the last tile of a sample and for the last group.

**The noise** of element 4 i + j of the sample with number s (`sample_id`, not its place in the
batch) at step k is now normal j of the counter (i, k + 1, s, stream) under the key `seed`. It does
not depend on the batch or on the tile. That is the definition in `kernels/philox.py`, so the
reference draws the same noise, and the comparison no longer treats the batch as one sample.

**Bytes.** 3 reads and 1 write, 16 bytes in float32. A weight (float32, 4 bytes) and the number of a
sample (int64, 8 bytes) are 12 bytes per sample, for 16 n bytes of its elements: 0.4 % for n = 192,
and 19 % for n = 4.

**Instructions.** By hand 43.5, as before. The compiled code for an H100 has 54.6 per element:
addresses in two dimensions and the loads per sample, one of them the weight, cost 29 instructions
per thread, for 8 elements.

**What limits it.** Memory, on an H100: in float32 160 are free, and in bfloat16 59.8 are executed
and 80 are free.

**What goes wrong.** The last tile of a sample may reach beyond its end. It must not write the
elements of the next sample, so the mask needs `element < n` and not only `at < B * n`. And
`sample * n + element` is computed in 32 bits here, which ends at 2^31 - 1. The wrapper refuses
larger tensors; rung 8 has 64 bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import philox, reference
from kernels.ladder import trial
from kernels.ladder.arguments import Row, check_step
from kernels.triton_normals import normals

SAMPLING = tl.constexpr(philox.SAMPLING)
TILE = 1024  # elements that one program moves: SAMPLES x BLOCK


@triton.jit(do_not_specialize=["k"])
def step_kernel(
    xt,  # pointer to (B, n)
    out,  # pointer to (2B, n), the conditional half first
    xs,  # pointer to (B, n), written
    p,
    q,
    a,
    b,
    c,
    m,
    w,  # pointer to (B,) weights
    clip,
    seed: tl.uint64,  # pyright: ignore[reportInvalidTypeForm]
    k,  # the number of the step
    sample_ids,  # pointer to (B,) integers
    B,
    n,
    SAMPLES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Move a tile of SAMPLES samples by BLOCK elements."""
    sample = tl.program_id(1) * SAMPLES + tl.arange(0, SAMPLES)[:, None]  # [SAMPLES, 1]
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]  # [1, BLOCK]
    block = tl.program_id(0) * (BLOCK // 4) + tl.arange(0, BLOCK // 4)[None, :]
    at = sample * n + element  # [SAMPLES, BLOCK]
    inside = (sample < B) & (element < n)
    weight = tl.load(w + sample, mask=sample < B).to(tl.float32)
    sample_id = tl.load(sample_ids + sample, mask=sample < B).to(tl.uint32)

    x = tl.load(xt + at, mask=inside).to(tl.float32)
    cond = tl.load(out + at, mask=inside).to(tl.float32)
    null = tl.load(out + B * n + at, mask=inside).to(tl.float32)
    g = cond + m * weight * (cond - null)
    x0hat = tl.clamp(p * x + q * g, -clip, clip, propagate_nan=tl.PropagateNan.ALL)
    z = normals(seed, (k + 1).to(tl.uint32), sample_id, block.to(tl.uint32), SAMPLING)
    y = a * x0hat + b * x + c * tl.reshape(z, (SAMPLES, BLOCK))
    tl.store(xs + at, y.to(xs.dtype.element_ty), mask=inside)


def tile(n: int) -> tuple[int, int]:
    """SAMPLES and BLOCK for samples of n elements: powers of 2, with the product `TILE`.

    BLOCK is n, rounded up to a power of 2, but at least 4, the elements of one Philox call, and at
    most `TILE`.
    """
    block = min(TILE, max(4, 1 << (n - 1).bit_length()))
    return TILE // block, block


def groups(B: int, SAMPLES: int) -> int:
    """The programs along the grid's second axis, on which a GPU takes at most 65,535."""
    count = -(-B // SAMPLES)
    if count > 65535:
        raise ValueError(
            f"xt has {B} samples, {SAMPLES} per program, and the second axis of a grid ends at "
            "65,535 programs: pass a smaller batch, or call kernels.guided_step"
        )
    return count


def step(
    xt: Tensor,
    out: Tensor,
    row: Row,
    w: Tensor,
    clip: float,
    seed: int,
    k: int,
    sample_ids: Tensor,
) -> Tensor:
    """Launch the kernel.

    Args:
        xt: (B, ...) float16, bfloat16 or float32.
        out: (2B, ...) in the same dtype, the conditional half first.
        row: (p, q, a, b, c, d, e, m) with d = e = 0.
        w: (B,) guidance weights.
        clip: the guess of the data is clipped to [-clip, clip]; infinity leaves it as it is.
        seed: 0..2^64-1.
        k: the number of the step, counted from 0.
        sample_ids: (B,) integers in 0..2^32-1, which name the samples' noise.

    Returns:
        x_s, of the shape and dtype of `xt`.

    Raises:
        ValueError: an argument is of another kind, or the row has a term that this rung lacks, or
            the grid would be longer than an axis may be.
    """
    check_step(xt, out, row, w, clip, seed=seed, k=k, sample_ids=sample_ids, unused="de")
    if not isinstance(w, Tensor):
        raise ValueError(f"w is a {type(w).__name__}; this rung takes a tensor of (B,) weights")
    p, q, a, b, c, _, _, m = row
    xs = torch.empty(xt.shape, dtype=xt.dtype, device=xt.device)
    B = len(xt)
    n = xs.numel() // B
    SAMPLES, BLOCK = tile(n)
    grid = (triton.cdiv(n, BLOCK), groups(B, SAMPLES))
    step_kernel[grid](
        xt.contiguous(),
        out.contiguous(),
        xs,
        float(p),
        float(q),
        float(a),
        float(b),
        float(c),
        float(m),
        w.contiguous(),
        float(clip),
        seed,
        k,
        sample_ids.contiguous(),
        B,
        n,
        SAMPLES=SAMPLES,  # pyright: ignore[reportArgumentType]
        BLOCK=BLOCK,  # pyright: ignore[reportArgumentType]
    )
    return xs


def check(device: str) -> None:
    """Assert that a step is the reference's, with numbers out of order and a weight per sample."""
    rows = torch.tensor([trial.ROW] * (trial.STEP + 1), dtype=torch.float64)
    for (B, *D), dtype in trial.cases():
        xt = trial.uniform(1, B, *D, dtype=dtype)
        out = trial.uniform(2, 2 * B, *D, dtype=dtype)
        w = trial.W * trial.uniform(3, B)
        ids = trial.ids(B)
        got = step(
            xt.to(device),
            out.to(device),
            trial.ROW,
            w.to(device),
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
            w.double(),
            seed=trial.SEED,
            sample_ids=ids,
            clip=trial.CLIP,
        )
        trial.assert_near(got, wanted)
