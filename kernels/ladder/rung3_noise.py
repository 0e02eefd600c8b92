"""Rung 3. Noise: correct, and expensive

**The task.** Read to the end of the paragraph on Philox, and no further. Then write this kernel
from rungs 1 and 2, with `tl.randn(seed, at)` for the noise, and predict its bytes and its
instructions.

**The question.** An ancestral step such as DDPM's adds c z with z a standard normal. Reading z
from memory is a fifth pass over a tensor, and writing it before is a sixth. Can the kernel make z
itself?

**A generator without a state.** A sequential generator hands out its numbers in order, and
programs run in any order. `tl.randn(seed, at)` is a function instead: Philox maps the key `seed`
and the counter `at` to four random 32-bit words, and nothing is carried from one call to the next.
The annotation `seed: tl.uint64` makes Triton pass the seed in 64 bits, whatever its value. Without
it Triton would choose 32 or 64 bits by the value, and compile a kernel for each. The first
two words become one normal by the method of Box and Muller,

    z = sqrt(-2 log u) cos(2 pi v)              u, v uniform in [0, 1)

where the first word makes u and the second v. Triton reads a word as a signed integer i and takes
(i or -1 - i, whichever is not negative) times 4.6566127342e-10, a little less than 2^-31, so that u
stays below 1. u = 0 needs care (last paragraph).

**Philox.** The counter has four words, c0 to c3, and the key two, k0 and k1. Here c0 is `at` and
the other three are 0; k0 and k1 are the lower and the upper half of the seed. A and B are two
constants, and hi and lo are the upper and the lower 32 bits of a product of 64. One round is

    c0, c1, c2, c3  =  hi(B c2) ^ c1 ^ k0,  lo(B c2),  hi(A c0) ^ c3 ^ k1,  lo(A c0)

with the old words on the right-hand side and ^ for the exclusive or. Then a constant is added to
each word of the key. After ten rounds c0 to c3 are the four random words. (The c of the row is
another number.)

**Bytes.** 3 reads and 1 write, 16 bytes in float32, as on rung 2: the noise is never in memory.

**Instructions.** A GPU has one instruction for the upper half of a product and one for the lower
half, so a round has 4 of them. (There is also one for both, which writes two registers.) It has one
instruction for the exclusive or of three words, and a round has 2 of those. Ten rounds are 60 per
element, if all are counted in full. (The keys of the rounds are the same for all elements.) With
the 9 of rung 2 and the multiply-add for c z the count by hand is 70, without the logarithm, the
root and the cosine. The compiled code for an H100 has 184 per element, 13 times as many as rung 2.

**Products that are not needed.** Not all of the 40 products must be computed for each element. In
round 1 c2 is 0, so both halves of B c2 are 0. Then c0 becomes k0, which is the same for all
elements, so A c0 of round 2 is computed once per thread. At the other end only the words c0 and c1
of the result are used. They need both halves of B c2 of round 10, and the words c1 and c2 that
round 9 leaves. These need lo(B c2) and hi(A c0) of round 9, and the words c0, c2 and c3 that round
8 leaves. Of the products of round 8 they contain hi(B c2), hi(A c0) and lo(A c0). So there are

    round           1    2    3 to 7    8    9    10    together
    hi              1    1    10        2    1    1     16
    lo              1    1    10        1    1    1     15

in all 31 products per element. The compiled code has 32: each thread also computes the two of round
2 that are the same for all elements, and some others twice. For the same reasons 17 of the 20
exclusive ors are needed, so 48 of the 60 instructions.

**The stack.** The table in `kernels/README.md` shows 32 bytes of stack and 40 spills. The compiler
puts what it cannot keep in registers into local memory, which is memory reserved for each thread,
and the stack is the part of it that a kernel uses. Usually the reason is that there are too few
registers, and an access to a value that was moved there is called a spill. That table counts every
access to local memory. Here the reason is the cosine. It accepts any angle, and first has to reduce
it to a quarter turn. For an angle of 105,615 or more (`CUDART_TRIG_PLOSS_F` of CUDA's
math_constants.h) the library multiplies with a long table of digits of 2 / pi, in a loop, and
collects the product in an array. Registers cannot be indexed, so the array is on the stack. That
slow path has 54 instructions, and the code contains it once per element. Our angles lie below 2 pi,
so it is never taken, but the compiler does not know that. Without it 130 instructions are executed.
All 40 accesses to the stack lie in the slow paths, so none of them is executed. (The column `no
slow path` of that table subtracts the longest slow path for each of them. Here all have 54
instructions.)

**Warp divergence.** If some threads of a warp needed the slow path and others did not, the warp
would execute both paths one after the other. This is called warp divergence.

**Occupancy.** A multiprocessor of an H100 has 65,536 registers and keeps at most 64 warps. While
one warp waits for memory, another one computes. A thread gets its registers in groups of 8, so the
54 of this rung take 56. 65,536 / (32 x 56) = 36.6, so 36 warps fit. With the 32 of rung 2 all 64
fit. The ratio to 64, 56 % here, is called occupancy.

**Little's law.** Whether 56 % is too low depends on the bytes that are under way. The time from a
load to the arrival of its data is called the latency. To keep the memory busy, the loads of one
latency must be under way at any time, which is Little's law:

    bytes under way = bandwidth x latency = 3.35e12 bytes per second x 700e-9 seconds = 2.3e6 bytes

or 18 kB for each of the 132 multiprocessors. (The 700 ns are an assumption: the data sheet has no
latency.) In the listing the six loads of 16 bytes lie within 30 instructions, so 36 warps can have
36 x 32 x 96 bytes = 111 kB under way. The 18 kB are a sixth of that, so it suffices if a sixth of
the warps have their loads under way. In bfloat16 a warp loads half the bytes, and a third of the
warps suffices. Under this assumption the occupancy does not limit this rung. Rung 8 has an
occupancy of 50 % and reaches 95 to 103 % of the bandwidth of a copy. A low occupancy harms a kernel
whose warps have few bytes under way.

**What limits it.** The count of all instructions gives a lower bound of the time (rung 1). Some
kinds are slower. Per clock a multiprocessor of compute capability 9.0 computes 128 float32
products, but only 64 integer products, additions, exclusive ors, comparisons, minima or maxima, and
16 roots (CUDA C++ Programming Guide, arithmetic instructions). Units for different kinds work at
the same time, so these times are not added. The 32 products of Philox take 32 / 64 = 0.5 clocks per
element, and all 130 instructions take 130 / 128 = 1.02, so the products alone do not raise the
bound. The guide does not say which kinds share a unit. If all that are done 64 per clock, shifts
and sums of addresses included, shared one (IMAD, IADD3, VIADD, LOP3, SHF, LEA, ISETP, FSETP and
FMNMX in the listing), its 71 instructions per element would take 1.11 clocks, a tenth more than the
bound. Whenever a slower unit has too much to do, the kernel takes longer than the bound.

In float32 160 instructions are free at 16 bytes, and 130 are executed, so by this count memory is
the limit. In bfloat16 8 bytes leave time for 80. The code that is compiled for bfloat16 executes at
least 132 (its slow paths have 53 to 55, and the count takes 55), so there the kernel is
compute-bound. It takes at least 132 / 80 = 1.65 times the time of the bytes.

There is no measurement of this rung. But `torch.compile` also calls Philox once per element. On an
H100, from 64 MiB on, its kernel took 1.14 to 1.30 times the time that the data sheet gives for the
bytes in float32, and 2.19 to 2.36 times in bfloat16. Rung 8 took 1.08 to 1.20 and 1.08 to 1.24
times. In bfloat16 the 2.19 to 2.36 of `torch.compile` are 33 to 43 % more than 1.65, the bound of
this rung's code. How many instructions the code of `torch.compile` has was not kept.

**What is wrong with the noise.** It depends on the place in the batch and not on the sample, so a
sample's picture changes with the batch that it is drawn in. It does not depend on the
step, so the caller has to pass another seed at every step. Rungs 5 and 6 repair both. Finally,
Triton replaces a u below 1e-7 by 1e-7, so that no normal exceeds sqrt(-2 log 1e-7) = 5.68.
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
    """Move BLOCK elements by one step, each with its own call of Triton's generator."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    x = tl.load(xt + at, mask=inside).to(tl.float32)
    cond = tl.load(out + at, mask=inside).to(tl.float32)
    null = tl.load(out + n + at, mask=inside).to(tl.float32)
    g = cond + m * w * (cond - null)
    x0hat = tl.clamp(p * x + q * g, -clip, clip, propagate_nan=tl.PropagateNan.ALL)
    y = a * x0hat + b * x + c * tl.randn(seed, at)
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
    """Assert that a step is the reference's with the noise of `tl.randn`, recomputed in NumPy."""
    for (B, *D), dtype in trial.cases():
        xt = trial.uniform(1, B, *D, dtype=dtype)
        out = trial.uniform(2, 2 * B, *D, dtype=dtype)
        got = step(xt.to(device), out.to(device), trial.ROW, trial.W, trial.CLIP, trial.SEED)
        z = trial.randn(xt.numel(), calls=xt.numel()).reshape(xt.shape)
        trial.assert_near(got, trial.step_with_noise(xt, out, z))
