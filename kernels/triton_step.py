"""Rung 8. The kernel: every solver's step, for tensors of any size and layout

**The question.** Rung 7 of `kernels/ladder` computes every row of every solver. What is missing
before a sampler can call it?

**A row that the GPU looks up.** Rungs 2 to 7 receive the row's numbers as arguments, so the host
has to know them. Here the whole table is in the GPU's memory, and `k` names the row. The kernel
loads eight numbers, or seven if it does not look back, with one access per number and thread. If
`k` is in memory, it is one load more, for which the others wait. To read a table in the GPU's
memory the host would have to wait for the GPU; here it never reads it.

This makes a CUDA graph possible, which is a list of launches that the host starts with one call. A
recorded launch keeps the values of its arguments; for a tensor this is its address. With rung 7
every replay would take the same row. Here `k` is in memory, and the graph of `kernels/graph.py`
contains the addition k = k + 1. But the kernel writes x_s to another address than that of x_t. So
the graph also copies x_s to the place of x_t, and x0hat to that of x0prev if the guess is kept.
Then the next replay reads the new state, and one recording serves the whole chain.

**64-bit addresses.** B n may exceed 2^31. The number of a sample and the first element of a tile
are therefore computed in 64 bits.

**A third axis of the grid.** The second axis ends at 65,535 programs. Groups of samples continue
along the third one.

**Warps.** With 2 warps per program in place of 4, a thread has 16 elements in place of 8. The
instructions that compute addresses and load the row are shared by twice as many elements. So the
count falls to 51.7 per element, although the row costs loads. The price is registers: 60 per thread
(rounded up to 64), and an occupancy of 50 %. Half as many warps with twice the elements have as
many bytes under way, which is what Little's law of rung 3 requires. On an H100, bfloat16 tensors of
256 MiB then move at the speed of a copy.

If n is not a multiple of 16, accesses are of single elements, and the kernel has 4 warps. Measured
on an H100, it lost 23 % of its speed with 2 in float32, and 7 % in bfloat16. In float32 the count
of instructions does not predict this loss. In the listing a warp waits for memory 3 times with 4
warps and 8 times with 2 (`kernels/ladder/small_tensors.py`), which may be the cause.

**Channels-last output.** Some networks return `out` with the channels of a pixel side by side,
while x_t has one channel after the other. The kernel reads `out` where it is, through the index of
the pixel and the channel. This saves a copy, and costs instructions: 69.8 per element in the place
of 51.7. Of the 18 more, 1.5 are accesses, which are of single elements. Most others compute the
addresses: an integer division by the number of pixels, which rung 6 avoids, and 64-bit sums.

**Bytes.** 3 reads and 1 write, 16 bytes in float32: x_t, the two halves of `out`, x_s. A solver
that looks back has 4 reads and 2 writes. In a graph each copy is one read and one write more, so
there a step moves 6 passes and not 4, or 10 and not 6. All threads load the same row, so it comes
from a cache, and adds instructions but hardly any bytes. Eager torch runs
`kernels.reference.guided_step` as eight operations, with 11 reads and 8 writes, if the drawing of z
is counted as one write. In fact the drawing alone is more than a hundred operations.

**What limits it.** In float32 an H100 has time for 160 instructions per element, and 51.7 are
needed, so it is memory-bound. In bfloat16 56.4 are needed. An H100 has time for 80 at 8 bytes, and
an H200 for 56, so there the kernel is at the edge. On the H100 tensors of 64 MiB and more reached
95 to 103 % of the bandwidth of a copy (`kernels/results/README.md`).
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from kernels import philox
from kernels.triton_normals import normals

SAMPLING = tl.constexpr(philox.SAMPLING)
TILE = 1024  # elements a program moves
MAX_GRID_Y = 65535  # places along a grid's second and third axis; 2^31 - 1 along the first


@triton.jit
def places(group, first, B, n, SAMPLES: tl.constexpr, BLOCK: tl.constexpr):
    """The places of a tile.

    Returns:
        sample: [SAMPLES, 1], int64.
        element: [1, BLOCK], int64, within a sample.
        at: [SAMPLES, BLOCK], int64, the address of each element relative to the tensor's first.
        inside: [SAMPLES, BLOCK], whether the element exists.
        block: [1, BLOCK // 4], uint32, the numbers of the elements' blocks of four.
    """
    # In 64 bits, because B n may exceed 2^31.
    sample = group.to(tl.int64) * SAMPLES + tl.arange(0, SAMPLES)[:, None]
    start = first.to(tl.int64) * BLOCK
    element = start + tl.arange(0, BLOCK)[None, :]
    block = (start // 4 + tl.arange(0, BLOCK // 4)[None, :]).to(tl.uint32)
    return sample, element, sample * n + element, (sample < B) & (element < n), block


@triton.jit(do_not_specialize=["k", "seed", "B"])  # one compiled kernel for all of their values
def step_kernel(
    xt,  # (B, n)
    out,  # (2B, n), conditional half first; (B, n) where w and w_each are None
    x0prev,  # (B, n) or None
    xs,  # (B, n), written
    x0,  # (B, n), written: x0hat; or None
    rows,  # (K, 8)
    k,  # the row: a number, or a pointer to one, so that a recorded launch can be replayed
    w,  # one weight for all, or None
    w_each,  # (B,) weights, or None
    seed: tl.uint64,  # pyright: ignore[reportInvalidTypeForm]
    sample_ids,  # (B,)
    clip,
    B,
    n,
    pixels,  # per sample, if `out` is channels-last; None if its layout is that of x_t
    SAMPLES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Move a tile of SAMPLES samples by BLOCK elements along row `k`."""
    # Groups of samples fill the grid's second axis and continue along the third.
    group = tl.program_id(1) + tl.program_id(2) * tl.num_programs(1)
    first = tl.program_id(0)
    sample, element, at, inside, block = places(group, first, B, n, SAMPLES, BLOCK)  # type: ignore
    out_at = at
    if pixels is not None:  # channel j of pixel i is element j pixels + i, and lies at i C + j
        j = element.to(tl.uint32) // pixels.to(tl.uint32)
        i = element.to(tl.uint32) - j * pixels
        out_at = sample * n + (i * (n // pixels) + j)

    # (p, q, a, b, c, d, e, m), from device memory, so that the host does not have to wait for it.
    if k.dtype.is_ptr():
        k = tl.load(k)
    row = rows + k * 8
    p = tl.load(row).to(tl.float32)
    q = tl.load(row + 1).to(tl.float32)
    a = tl.load(row + 2).to(tl.float32)
    b = tl.load(row + 3).to(tl.float32)
    c = tl.load(row + 4).to(tl.float32)
    d = tl.load(row + 5).to(tl.float32)
    e = tl.load(row + 6).to(tl.float32)
    m = tl.load(row + 7).to(tl.float32)

    # g = out_cond + m w (out_cond - out_null). The null half begins B samples after the conditional
    # half, so `out` is neither split nor copied. Tests against None are decided at compile time.
    x = tl.load(xt + at, mask=inside).to(tl.float32)
    cond = tl.load(out + out_at, mask=inside).to(tl.float32)
    g = cond
    null = cond
    if w is not None or w_each is not None:
        null = tl.load(out + B.to(tl.int64) * n + out_at, mask=inside).to(tl.float32)
        if w_each is not None:
            w = tl.load(w_each + sample, mask=sample < B).to(tl.float32)
        g = cond + m * w * (cond - null)

    # x0hat = clip(p x_t + q g). A NaN passes the clip, as it does in torch.
    x0hat = tl.clamp(p * x + q * g, -clip, clip, propagate_nan=tl.PropagateNan.ALL)
    if x0 is not None:
        tl.store(x0 + at, x0hat.to(x0.dtype.element_ty), mask=inside)

    # x_s = a x0hat + b x_t + d out_null + e x0prev + c z. A term whose coefficient is 0 is left
    # out, not multiplied: 0 times infinity would be NaN, and x0prev and z are not free.
    y = a * x0hat + b * x
    if d != 0:
        y += d * null
    if x0prev is not None and e != 0:
        y += e * tl.load(x0prev + at, mask=inside).to(tl.float32)
    if c != 0:
        sample_id = tl.load(sample_ids + sample, mask=sample < B).to(tl.uint32)
        z = normals(seed, (k + 1).to(tl.uint32), sample_id, block, SAMPLING)
        y += c * tl.reshape(z, (SAMPLES, BLOCK))
    tl.store(xs + at, y.to(xs.dtype.element_ty), mask=inside)


def tiles(B: int, n: int) -> tuple[tuple, dict]:
    """The grid for B samples of n elements, and a program's tile: small samples share one."""
    block = min(TILE, max(4, triton.next_power_of_2(n)))
    groups = triton.cdiv(B, TILE // block)
    grid = (triton.cdiv(n, block), min(groups, MAX_GRID_Y), triton.cdiv(groups, MAX_GRID_Y))
    # With two warps each thread has 16 elements, which share their addresses and the row: an H100
    # then moves bfloat16 tensors at the speed of a copy, and with four warps at 95 % of it. If n is
    # not a multiple of 16, accesses are not wide, and there two warps lose 23 % of the speed in
    # float32. The cause was not measured.
    num_warps = 2 if n % 16 == 0 else 4
    # enable_fp_fusion: a product and a sum are fused and rounded once, Triton's default before
    # 3.10.
    return grid, dict(
        SAMPLES=TILE // block, BLOCK=block, num_warps=num_warps, enable_fp_fusion=True
    )


def guided_step(
    xt: torch.Tensor,
    out: torch.Tensor,
    rows: torch.Tensor,
    k: int | torch.Tensor,
    w: float | torch.Tensor | None,
    *,
    seed: int,
    sample_ids: torch.Tensor,
    x0prev: torch.Tensor | None = None,
    clip: float = math.inf,
    want_x0: bool = True,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Launch the kernel: `kernels.reference.guided_step`, whose arguments these are.

    The host does not wait for the GPU, so it cannot refuse what only values show, as the reference
    does: without `x0prev` a term with e != 0 is left out, ids are taken modulo 2^32, and a `k` in
    device memory must lie inside the table.
    """
    B = len(xt)
    n = math.prod(xt.shape[1:])
    xs = torch.empty(xt.shape, dtype=xt.dtype, device=xt.device)
    x0hat = torch.empty_like(xs) if want_x0 else None
    if xs.numel() == 0:
        return xs, x0hat
    channels_last = out.ndim > 2 and n < 2**31 and out.movedim(1, -1).is_contiguous()
    pixels = n // out.shape[1] if channels_last and not out.is_contiguous() else None
    w_is_tensor = isinstance(w, torch.Tensor)
    grid, options = tiles(B, n)
    with torch.cuda.device(xt.get_device()):
        step_kernel[grid](
            xt.contiguous(),
            out if channels_last else out.contiguous(),
            None if x0prev is None else x0prev.contiguous(),
            xs,
            x0hat,
            rows.contiguous(),
            k,
            None if w_is_tensor else w,
            w.contiguous() if w_is_tensor else None,
            seed,
            sample_ids.contiguous(),
            float(clip),
            B,
            n,
            pixels,
            **options,
        )
    return xs, x0hat
