"""Rung 2. Step: guidance, clip and mean in one pass

**The question.** A deterministic step of a solver mixes the two outputs, guesses the data, clips
the guess, and combines it with x_t. What is gained if one kernel does all of it?

**The formula.** A solver is a table of rows (p, q, a, b, c, d, e, m), and one step is

    g     = cond + m w (cond - null)
    x0hat = clip(p x_t + q g)
    x_s   = a x0hat + b x_t                     for a row with c = d = e = 0, such as DDIM's

where x_s is the next state (in a step with noise, its mean given x_t), w the guidance weight, and

    m       factor of w; 0 switches guidance off for the step
    p, q    weights of x_t and of the guided output g in the guess x0hat
    a, b    weights of the guess and of x_t in the next state

The numbers of the row are arguments of the kernel here, like w. Rung 8 reads them from memory. The
terms with c, d and e follow on rungs 3 and 7.

**Registers.** A value such as `x0hat` exists only between two lines. It is held in registers, the
storage inside a multiprocessor from which arithmetic takes its operands. It is never written to
memory. This is what fusing means, and all that it does: the operations are the same.

**Bytes.** Executed one after the other, the operations are

    diff = cond - null     2 reads, 1 write
    g = cond + m w diff    2 reads, 1 write
    u = p x_t              1 read,  1 write
    v = u + q g            2 reads, 1 write
    x0hat = clip(v)        1 read,  1 write
    u = a x0hat            1 read,  1 write
    x_s = u + b x_t        2 reads, 1 write

which together are 11 reads and 7 writes, 18 passes over a tensor. One kernel has 3 reads (x_t and
both halves) and 1 write, which are 16 bytes in float32. If every kernel is memory-bound
and moves its bytes at the same speed, the step becomes 18 / 4 = 4.5 times as fast.

**Instructions.** By hand: one access instruction per element (4 tensors, four elements each), and
8 of arithmetic: a subtraction, a multiply-add for g, a product and a multiply-add for the guess, a
minimum, a maximum, a product and a multiply-add for x_s. That is 9. (The product m w is the same
for all elements, so each thread computes it once.) The compiled code for an H100 has 13.9.

**The roofline.** Let N be the instructions and M the bytes per element. An H100 needs at least

    time = max(M / 3.35e12, N / 33.5e12) seconds per element

The first term is larger as long as N is below 10 M. The attainable number of instructions per
second is N / time. Plotted over N / M, it rises along a line up to N / M = 10 and is level beyond
it, like a roof. Here N / M is 13.9 / 16 = 0.87, so the kernel is memory-bound. By this model 160 -
14 = 146 float32 instructions per element could be added without cost.

**Types.** A tensor may be float16 or bfloat16. The kernel converts what it loads to float32,
computes in float32, and rounds once, at the store. (`xs` is a pointer, and `xs.dtype.element_ty`
is the type of what it points to.) In 16 bits every line would round: to 8 significant bits in
bfloat16, and to 11 in float16, where `cond - null` could also exceed the largest number, 65,504.

**What goes wrong.** `tl.clamp` without `propagate_nan` turns a NaN into a finite number, so that a
network that has diverged seems to produce an image.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import reference
from kernels.ladder import trial
from kernels.ladder.arguments import Row, check_one_w, check_step

BLOCK = 1024


@triton.jit
def step_kernel(
    xt,  # pointer to n elements
    out,  # pointer to 2n: the conditional outputs, then the null outputs
    xs,  # pointer to n, written
    p,
    q,
    a,
    b,
    m,
    w,
    clip,
    n,
    BLOCK: tl.constexpr,
):
    """Move BLOCK elements by one step without noise."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    x = tl.load(xt + at, mask=inside).to(tl.float32)
    cond = tl.load(out + at, mask=inside).to(tl.float32)
    null = tl.load(out + n + at, mask=inside).to(tl.float32)
    g = cond + m * w * (cond - null)
    x0hat = tl.clamp(p * x + q * g, -clip, clip, propagate_nan=tl.PropagateNan.ALL)
    y = a * x0hat + b * x
    tl.store(xs + at, y.to(xs.dtype.element_ty), mask=inside)


def step(xt: Tensor, out: Tensor, row: Row, w: float, clip: float) -> Tensor:
    """Launch the kernel.

    Args:
        xt: (B, ...) float16, bfloat16 or float32.
        out: (2B, ...) in the same dtype, the conditional half first.
        row: (p, q, a, b, c, d, e, m) with c = d = e = 0.
        w: the guidance weight.
        clip: the guess of the data is clipped to [-clip, clip]; infinity leaves it as it is.

    Returns:
        x_s, of the shape and dtype of `xt`.

    Raises:
        ValueError: an argument is of another kind, or the row has a term that this rung lacks.
    """
    check_step(xt, out, row, w, clip, unused="cde")
    check_one_w(w)
    p, q, a, b, _, _, _, m = row
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
        float(m),
        float(w),
        float(clip),
        n,
        BLOCK=BLOCK,  # pyright: ignore[reportArgumentType]
    )
    return xs


def check(device: str) -> None:
    """Assert that a step is the reference's, at odd sizes and in every dtype."""
    p, q, a, b, _, d, e, m = trial.ROW
    row = (p, q, a, b, 0.0, d, e, m)
    for (B, *D), dtype in trial.cases():
        xt = trial.uniform(1, B, *D, dtype=dtype)
        out = trial.uniform(2, 2 * B, *D, dtype=dtype)
        got = step(xt.to(device), out.to(device), row, trial.W, trial.CLIP)
        wanted, _ = reference.guided_step(
            xt.double(),
            out.double(),
            torch.tensor([row], dtype=torch.float64),
            0,
            trial.W,
            seed=0,
            sample_ids=torch.arange(B),
            clip=trial.CLIP,
        )
        trial.assert_near(got, wanted)
