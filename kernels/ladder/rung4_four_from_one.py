"""Rung 4. Four normals from one call

**The question.** Philox returns four words, and rung 3 uses two of them for one normal. What can
be done with the others?

**The idea.** Box-Muller makes two independent normals from two uniforms, the second with the sine:

    z_0 = sqrt(-2 log u) cos(2 pi v)            z_1 = sqrt(-2 log u) sin(2 pi v)

The first two words of a call make z_0 and z_1, and the other two make z_2 and z_3. So one call can
serve four neighbouring elements. `tl.randn4x(seed, block)` does that. Its counter is the number of
the block of four neighbours, which is the number of the element divided by 4 and rounded down. It
returns four tensors of BLOCK / 4 normals each.

**Order in memory.** Element 4 i + j of the program must receive normal j of block i. `tl.join(x,
y)` adds a last axis of length 2, with x at 0 and y at 1. Joining twice gives [BLOCK / 4, 2, 2]:

    tl.join(z0, z2)          [i, 0] = z0[i], [i, 1] = z2[i]
    tl.join(z1, z3)          [i, 0] = z1[i], [i, 1] = z3[i]
    join of both             [i, 0, 0] = z0, [i, 0, 1] = z1, [i, 1, 0] = z2, [i, 1, 1] = z3

which `tl.reshape` reads as z0, z1, z2, z3, z0, ...

**Which thread has them.** Triton gives neighbouring blocks to neighbouring threads: of the 256
blocks of a program, thread t computes the blocks t and t + 128. In float32 it loads the elements
4 t to 4 t + 3 with one instruction of 128 bits, and 512 + 4 t to 512 + 4 t + 3 with another. These
are the same two blocks, so nothing moves between threads. In 16 bits it loads the elements 8 t to
8 t + 7 with one instruction, and these are the blocks 2 t and 2 t + 1. Other threads have computed
almost all of them. So the normals move between threads through shared memory, which is memory on
the multiprocessor that the threads of a program have in common.

**Bytes.** 3 reads and 1 write, 16 bytes in float32, as before.

**Instructions.** Philox now costs 60 / 4 = 15 per element, if all rounds are counted in full. (Of a
call whose four words are used, 36 of the 40 products are needed: the two of B c2 in round 1 are 0,
and the two of A c0 in round 2 are the same for all elements, as on rung 3. The exclusive ors are 19
of 20, because one of round 1 is the same for all. These 55 are 13.75 per element, in place of the
48 of rung 3.) With the 9 of rung 2 and the multiply-add the count by hand
is 25, without the functions of the library. There are half as many logarithms and roots as on
rung 3, and as many sines and cosines together as cosines there. The compiled code for an H100 has
127 per element, of which 54 are again slow paths: 73 are executed. (The count takes the longest
slow path for all of them. Seven of the eight in a thread have 53 instructions, so 74 are executed.)

**What limits it.** In float32 73 instructions are fewer than the 160 that are free at 16 bytes. In
bfloat16, with the conversions, 79 are executed by this count and 80 by the lengths of all slow
paths. At 8 bytes 80 are free, and the count gives a lower bound of the time, so there the kernel is
at the edge. On an H200, with memory that is 1.4 times as fast, 56 are free at 8 bytes, and in
bfloat16 the kernel is compute-bound. The stack and its 40 spills stay as they are on rung 3. A
thread has 52 registers, rounded up to 56, so the occupancy is 56 % again.

**What goes wrong.** `tl.join(tl.join(z0, z1), tl.join(z2, z3))` is the order z0, z2, z1, z3. The
noise is still standard normal, and no statistical test of the samples notices. The comparison with
the reference does.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.ladder import trial
from kernels.ladder.arguments import Row, check_one_w, check_step

BLOCK = 1024


@triton.jit
def step_kernel(
    xt,  # pointer to n elements
    out,  # pointer to 2n
    xs,  # pointer to n, written
    p,
    q,
    a,
    b,
    c,
    m,
    w,
    clip,
    seed: tl.uint64,  # pyright: ignore[reportInvalidTypeForm]
    n,
    BLOCK: tl.constexpr,
):
    """Move BLOCK elements by one step, four neighbours with one call of the generator."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    x = tl.load(xt + at, mask=inside).to(tl.float32)
    cond = tl.load(out + at, mask=inside).to(tl.float32)
    null = tl.load(out + n + at, mask=inside).to(tl.float32)
    g = cond + m * w * (cond - null)
    x0hat = tl.clamp(p * x + q * g, -clip, clip, propagate_nan=tl.PropagateNan.ALL)
    block = tl.program_id(0) * (BLOCK // 4) + tl.arange(0, BLOCK // 4)
    z0, z1, z2, z3 = tl.randn4x(seed, block)  # pyright: ignore
    z = tl.join(tl.join(z0, z2), tl.join(z1, z3))  # [BLOCK / 4, 2, 2]: z0, z1, z2, z3 in memory
    y = a * x0hat + b * x + c * tl.reshape(z, (BLOCK,))
    tl.store(xs + at, y.to(xs.dtype.element_ty), mask=inside)


def step(xt: Tensor, out: Tensor, row: Row, w: float, clip: float, seed: int) -> Tensor:
    """Launch the kernel.

    Args:
        xt: (B, ...) float16, bfloat16 or float32.
        out: (2B, ...) in the same dtype, the conditional half first.
        row: (p, q, a, b, c, d, e, m) with d = e = 0.
        w: the guidance weight.
        clip: the guess of the data is clipped to [-clip, clip]; infinity leaves it as it is.
        seed: 0..2^64-1. Pass another one at every step.

    Returns:
        x_s, of the shape and dtype of `xt`.

    Raises:
        ValueError: an argument is of another kind, or the row has a term that this rung lacks.
    """
    check_step(xt, out, row, w, clip, seed=seed, unused="de")
    check_one_w(w)
    p, q, a, b, c, _, _, m = row
    xs = torch.empty(xt.shape, dtype=xt.dtype, device=xt.device)
    n = xs.numel()
    grid = (triton.cdiv(n, BLOCK),)
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
        float(w),
        float(clip),
        seed,
        n,
        BLOCK=BLOCK,  # pyright: ignore[reportArgumentType]
    )
    return xs


def check(device: str) -> None:
    """Assert that a step is the reference's with the noise of `tl.randn4x`, recomputed in NumPy."""
    for (B, *D), dtype in trial.cases():
        xt = trial.uniform(1, B, *D, dtype=dtype)
        out = trial.uniform(2, 2 * B, *D, dtype=dtype)
        got = step(xt.to(device), out.to(device), trial.ROW, trial.W, trial.CLIP, trial.SEED)
        z = trial.randn(xt.numel(), calls=-(-xt.numel() // 4)).reshape(xt.shape)
        trial.assert_near(got, trial.step_with_noise(xt, out, z))
