"""Rung 5. Our own normals: no slow path

**The question.** Of the about 73 instructions that rung 4 executes per element, 25 are the formula
and Philox, counted by hand. About 5 are addresses, masks and constants, as on rung 2, which has
13.9 and 9 by hand. The other 43 are mostly the logarithm, the root, the sine and the cosine of a
library. Which of them are necessary if we know where the arguments come from?

**What is known.** Each pair of normals is made of two 32-bit words, `word` and `turn`. The first
makes the uniform number

    u = word / 2^32 + 2^-33                     word and the sum are rounded to float32

which lies between 2^-33 (word = 0) and 1 (the largest word, after rounding). It is never 0,
infinite or subnormal, so -log u needs no special case. The angle is turn / 2^32 of one turn, so it
needs no reduction of large angles, and therefore no table, no loop and no stack.

**The logarithm.** A float32 stores an exponent in the upper bits and a fraction in the lower 23. We
write u = 2^E m with m in [2/3, 4/3), so that log u = E log 2 + log m. To find E, the kernel
subtracts the bits of 2/3 from those of u, as integers, and clears the lower 23 bits: what is left
is E 2^23. This number, subtracted from the bits of u, gives the bits of m. With f = m - 1,

    log m = f + f^2 P(f)

with a polynomial P of degree 6. For u near 1, where -log u is close to 0, E is 0 and f is exact, so
that the relative error stays small. (The m of the row is another number.)

**The circle of quarter turns.** The two top bits of `turn` are the quarter. The other 30 bits are
the position in it, and h is the angle from the quarter's middle M, so |h| <= pi/4. Then

    cos(M + h) = cos M cos h - sin M sin h
    sin(M + h) = sin M cos h + cos M sin h

M is 45, 135, 225 or 315 degrees, so cos M and sin M are +-1/sqrt(2). The factor 1/sqrt(2) cancels
the 2 of sqrt(-2 log u). The signs are bits of `turn`, which become the sign bit of a float32: sin M
is negative where the top bit is 1, and cos M where the two top bits differ.

**Cosine and sine.** The kernel does not compute h. It computes x, the position in the quarter, from
0 to 1, less 1/2, so that |x| <= 1/2 and h = (pi/2) x. On so short an interval two polynomials in x
with four terms replace cos h and sin h, with errors of at most 4.1e-8 and 4.1e-9 (c2 to c6 are
constants here, not the words of Philox, and x is not x_t):

    cos h    is replaced by    1 + c2 x^2 + c4 x^4 + c6 x^6
    sin h    is replaced by    s1 x + s3 x^3 + s5 x^5 + s7 x^7

**Where the coefficients come from.** They minimise the largest error over the interval. The
logarithm stands under a root, r = sqrt(-2 log u), and an error of log u changes r by that error
divided by r. So the errors of the logarithm are weighted with 1 / r. For small h sin h is close to
h = (pi/2) x, so s1 is pi/2, rounded to float32, and the others are fitted after it. The program
`kernels/ladder/coefficients.py` finds all of them again, to five digits. The normals differ from
those of float64 by at most 2e-6, which the tests require.

**Bytes.** 3 reads and 1 write, 16 bytes in float32.

**Instructions.** By hand, for a pair of normals:

    u               2    a conversion, a multiply-add
    logarithm      14    3 integer operations for E and m, a conversion of E, f = m - 1, f^2,
                         6 multiply-adds for P, one for f + f^2 P, one for E log 2
    root            1
    signs           4    a shift, and 3 logical operations with up to three words
    x               4    a shift, an exclusive or, a conversion, a product
    cos h, sin h    8    x^2, 3 multiply-adds each, and one product by x for sin h
    combine         4    a product and a multiply-add for each normal

These are 37, or 18.5 per element.
With 15 for Philox, the 9 of rung 2 and the multiply-add that is 43.5. The compiled code for an
H100 has 51.0, without stack, spills or loops, in 32 registers. No instruction runs twice, so the
listing is a bound.

**What limits it.** Memory, in float32 (160 are free) and in bfloat16 (57.1 are executed, 80 are
free), by the count. On an H200 56 are free at 8 bytes, one less than are executed, so there
bfloat16 is just compute-bound.

**The function.** `normals(seed, step, sample_id, block, STREAM)` of `kernels/triton_normals.py`
makes four normals for each number in `block`, from one Philox call with the counter (block, step,
sample_id, STREAM). It joins them in the order of rung 4. STREAM is a constant that separates noise
for different purposes; SAMPLING, which is 0, is the one for samplers.

**The counter.** The wrapper takes the number k of the step, and the counter is (block, k + 1, 0,
0): each step has its own noise under one seed. The second word is k + 1 and not k, because the
value 0 is used for the noise x_T with which a chain starts. The third word is for the sample's
number, from rung 6 on. Here it is 0, and the whole batch is treated like one large sample. For the
comparison, `check` passes the batch to the reference in this shape.

**One kernel for all steps.** Triton compiles an integer argument that is 1 into the kernel, and
compiles another kernel for multiples of 16, as it does for n. `do_not_specialize=["k"]` switches
this off, because k takes all values in turn. (The seed changes seldom, so here it stays as it is;
rung 8 lists it, too.)

**What goes wrong.** `u` must be rounded in the same way wherever the noise is computed, because
near u = 1 a change in the last bit of u changes -log u by a large factor.
`kernels/philox.py` defines it.
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
BLOCK = 1024


@triton.jit(do_not_specialize=["k"])
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
    k,  # the number of the step
    n,
    BLOCK: tl.constexpr,
):
    """Move BLOCK elements by one step, four neighbours with one Philox call and our own normals."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    x = tl.load(xt + at, mask=inside).to(tl.float32)
    cond = tl.load(out + at, mask=inside).to(tl.float32)
    null = tl.load(out + n + at, mask=inside).to(tl.float32)
    g = cond + m * w * (cond - null)
    x0hat = tl.clamp(p * x + q * g, -clip, clip, propagate_nan=tl.PropagateNan.ALL)
    block = tl.program_id(0) * (BLOCK // 4) + tl.arange(0, BLOCK // 4)
    z = normals(seed, (k + 1).to(tl.uint32), 0, block.to(tl.uint32), SAMPLING)
    y = a * x0hat + b * x + c * tl.reshape(z, (BLOCK,))
    tl.store(xs + at, y.to(xs.dtype.element_ty), mask=inside)


def step(xt: Tensor, out: Tensor, row: Row, w: float, clip: float, seed: int, k: int) -> Tensor:
    """Launch the kernel.

    Args:
        xt: (B, ...) float16, bfloat16 or float32.
        out: (2B, ...) in the same dtype, the conditional half first.
        row: (p, q, a, b, c, d, e, m) with d = e = 0.
        w: the guidance weight.
        clip: the guess of the data is clipped to [-clip, clip]; infinity leaves it as it is.
        seed: 0..2^64-1.
        k: the number of the step, counted from 0.

    Returns:
        x_s, of the shape and dtype of `xt`.

    Raises:
        ValueError: an argument is of another kind, or the row has a term that this rung lacks.
    """
    check_step(xt, out, row, w, clip, seed=seed, k=k, unused="de")
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
        k,
        n,
        BLOCK=BLOCK,  # pyright: ignore[reportArgumentType]
    )
    return xs


def check(device: str) -> None:
    """Assert that a step is the reference's, where the whole batch is one sample, number 0."""
    rows = torch.tensor([trial.ROW] * (trial.STEP + 1), dtype=torch.float64)
    for (B, *D), dtype in trial.cases():
        xt = trial.uniform(1, B, *D, dtype=dtype)
        out = trial.uniform(2, 2 * B, *D, dtype=dtype)
        got = step(
            xt.to(device),
            out.to(device),
            trial.ROW,
            trial.W,
            trial.CLIP,
            trial.SEED,
            trial.STEP,
        )
        wanted, _ = reference.guided_step(
            xt.double().reshape(1, -1),
            out.double().reshape(2, -1),
            rows,
            trial.STEP,
            trial.W,
            seed=trial.SEED,
            sample_ids=torch.tensor([0]),
            clip=trial.CLIP,
        )
        trial.assert_near(got, wanted.reshape(xt.shape))
