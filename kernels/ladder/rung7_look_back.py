"""Rung 7. Look back, or do not: what a row leaves out

**The question.** The solver DPM-Solver++(2M) (step 18 of the tutorial) needs the guess of the
previous step. CFG++ (step 20), another rule of guidance, needs the null output by itself. A
distilled network (appendix P) needs no guidance. One kernel should serve all of them.
Should a DDIM step then read a tensor that it multiplies by 0?

**The whole formula.**

    g     = cond + m w (cond - null)
    x0hat = clip(p x_t + q g)
    x_s   = a x0hat + b x_t + d null + e x0prev + c z

**Decided when the kernel is compiled.** An argument that is None is known to the compiler. `if
x0prev is not None` is evaluated then, and code that is not chosen does not exist. To compile one
kernel for each combination of such properties of the arguments is called specialisation. Triton
does it at the first launch with a combination, and keeps the kernel. (Types, constants such as
BLOCK, and divisibility by 16 are such properties, too.) Specialisation is right for properties that
seldom change and that decide how many bytes move: whether x0prev is read, whether x0hat is written
(`want_x0`), whether there is a null half at all, and whether w is one number or one per sample.

**Decided when the kernel runs.** The numbers of the row change at every step, so compiling for
their values would mean compiling for every step. `if c != 0` is a branch at run time. All threads
of all programs take the same way, because c is one number. Such a branch is uniform. It causes no
warp divergence and costs a comparison and a jump. Both kinds of branch look alike in the source.

**Why not multiply by 0?** First, 0 times infinity is NaN. With branches for c, d and e, an infinite
x0prev or null output in a term that the row leaves out does no harm. (All other factors are
multiplied in any case. The null output is also in g, so with m = 0 or w = 0 an infinite null output
still gives NaN, as in the reference.) Second, x0prev costs a read, and z costs 38 of the 55.2
instructions.

**Bytes.** A row that does not look back and does not keep its guess needs 3 reads and 1 write, 16
bytes in float32. A row that looks back reads x0prev and writes x0hat: 4 reads and 2 writes, 24
bytes. Without guidance (w = None) there are 2 reads and 1 write.

**Instructions.** By hand 43.5, as before, for a row with c alone: the terms with d and e are not
executed. The comparisons and jumps are executed, but not counted by hand. The compiled code for an
H100 has 55.2 per element, and 17.2 of them remain for a row with c = 0, which jumps over the noise.
(They are for one weight. Rung 6 loads one per sample.)

**What is read for nothing.** If there is a null half, every row reads it. A row with m = 0 and
d = 0 does not need it. (`minicfg.solvers.with_interval` makes such rows, for the times outside its
interval.) A test of m would be uniform, too, and would save one of the 3 reads of such a row. The
kernel has none, because by then the network has computed the null half, which takes far longer than
reading it. For a network without guidance pass None, which is decided when the kernel is compiled.

**What goes wrong.** `if c != 0` must not be replaced by `tl.where`, which computes both sides.
"""

from __future__ import annotations

from itertools import cycle

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import philox, reference
from kernels.ladder import trial
from kernels.ladder.arguments import Row, check_step
from kernels.ladder.rung6_tiles import groups, tile
from kernels.triton_normals import normals

SAMPLING = tl.constexpr(philox.SAMPLING)


@triton.jit(do_not_specialize=["k"])
def step_kernel(
    xt,  # pointer to (B, n)
    out,  # pointer to (2B, n), the conditional half first; (B, n) where w and w_each are None
    x0prev,  # pointer to (B, n), or None
    xs,  # pointer to (B, n), written
    x0,  # pointer to (B, n), written: x0hat; or None
    p,
    q,
    a,
    b,
    c,
    d,
    e,
    m,
    w,  # one weight for all, or None
    w_each,  # pointer to (B,) weights, or None
    clip,
    seed: tl.uint64,  # pyright: ignore[reportInvalidTypeForm]
    k,
    sample_ids,
    B,
    n,
    SAMPLES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Move a tile of SAMPLES samples by BLOCK elements, with all eight numbers of the row."""
    sample = tl.program_id(1) * SAMPLES + tl.arange(0, SAMPLES)[:, None]
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    block = tl.program_id(0) * (BLOCK // 4) + tl.arange(0, BLOCK // 4)[None, :]
    at = sample * n + element
    inside = (sample < B) & (element < n)

    x = tl.load(xt + at, mask=inside).to(tl.float32)
    cond = tl.load(out + at, mask=inside).to(tl.float32)
    g = cond
    null = cond
    if w is not None or w_each is not None:  # decided when the kernel is compiled
        null = tl.load(out + B * n + at, mask=inside).to(tl.float32)
        if w_each is not None:
            w = tl.load(w_each + sample, mask=sample < B).to(tl.float32)
        g = cond + m * w * (cond - null)
    x0hat = tl.clamp(p * x + q * g, -clip, clip, propagate_nan=tl.PropagateNan.ALL)
    if x0 is not None:
        tl.store(x0 + at, x0hat.to(x0.dtype.element_ty), mask=inside)
    y = a * x0hat + b * x
    if d != 0:  # decided when the kernel runs, by all threads alike
        y += d * null
    if x0prev is not None and e != 0:
        y += e * tl.load(x0prev + at, mask=inside).to(tl.float32)
    if c != 0:
        sample_id = tl.load(sample_ids + sample, mask=sample < B).to(tl.uint32)
        z = normals(seed, (k + 1).to(tl.uint32), sample_id, block.to(tl.uint32), SAMPLING)
        y += c * tl.reshape(z, (SAMPLES, BLOCK))
    tl.store(xs + at, y.to(xs.dtype.element_ty), mask=inside)


def step(
    xt: Tensor,
    out: Tensor,
    row: Row,
    w: float | Tensor | None,
    clip: float,
    seed: int,
    k: int,
    sample_ids: Tensor,
    x0prev: Tensor | None = None,
    want_x0: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Launch the kernel.

    Args:
        xt: (B, ...) float16, bfloat16 or float32.
        out: (2B, ...) in the same dtype, the conditional half first; (B, ...) if `w` is None.
        row: (p, q, a, b, c, d, e, m).
        w: one guidance weight, (B,) weights, or None for a network that is not guided.
        clip: the guess of the data is clipped to [-clip, clip]; infinity leaves it as it is.
        seed: 0..2^64-1.
        k: the number of the step, counted from 0.
        sample_ids: (B,) integers in 0..2^32-1, which name the samples' noise.
        x0prev: the guess of the previous step, for a row with e != 0.
        want_x0: whether the kernel also writes its guess x0hat.

    Returns:
        `(xs, x0hat)`, of the shape and dtype of `xt`; `(xs, None)` if not `want_x0`.

    Raises:
        ValueError: an argument is of another kind, the row looks back and `x0prev` is None, or the
            grid would be longer than an axis may be.
    """
    check_step(
        xt,
        out,
        row,
        w,
        clip,
        seed=seed,
        k=k,
        sample_ids=sample_ids,
        x0prev=x0prev,
        unused="" if x0prev is not None else "e",
    )
    p, q, a, b, c, d, e, m = row
    xs = torch.empty(xt.shape, dtype=xt.dtype, device=xt.device)
    x0hat = torch.empty_like(xs) if want_x0 else None
    B = len(xt)
    n = xs.numel() // B
    SAMPLES, BLOCK = tile(n)
    grid = (triton.cdiv(n, BLOCK), groups(B, SAMPLES))
    w_is_tensor = isinstance(w, Tensor)
    step_kernel[grid](
        xt.contiguous(),
        out.contiguous(),
        None if x0prev is None else x0prev.contiguous(),
        xs,
        x0hat,
        float(p),
        float(q),
        float(a),
        float(b),
        float(c),
        float(d),
        float(e),
        float(m),
        None if w is None or w_is_tensor else float(w),
        w.contiguous() if w_is_tensor else None,
        float(clip),
        seed,
        k,
        sample_ids.contiguous(),
        B,
        n,
        SAMPLES=SAMPLES,  # pyright: ignore[reportArgumentType]
        BLOCK=BLOCK,  # pyright: ignore[reportArgumentType]
    )
    return xs, x0hat


# What decides which kernel is compiled: (the weight, whether the row looks back, want_x0).
ONE, EACH, NONE = "one w", "one w per sample", "no w"
OPTIONS = ((ONE, True, True), (EACH, False, True), (NONE, True, False))


def check(device: str) -> None:
    """Assert that a step is the reference's; the options take turns, every letter is used."""
    for ((B, *D), dtype), option in zip(trial.cases(), cycle(OPTIONS), strict=False):
        weight, looks_back, want_x0 = option
        w = {ONE: trial.W, EACH: trial.W * trial.uniform(3, B), NONE: None}[weight]
        xt = trial.uniform(1, B, *D, dtype=dtype)
        out = trial.uniform(2, B if w is None else 2 * B, *D, dtype=dtype)
        x0prev = trial.uniform(4, B, *D, dtype=dtype) if looks_back else None
        row = (*trial.ROW[:5], 0.25, -0.5 if looks_back else 0.0, 0.5)
        ids = trial.ids(B)

        got, x0hat = step(
            xt.to(device),
            out.to(device),
            row,
            w.to(device) if isinstance(w, Tensor) else w,
            trial.CLIP,
            trial.SEED,
            trial.STEP,
            ids.to(device),
            None if x0prev is None else x0prev.to(device),
            want_x0,
        )
        wanted, wanted_x0hat = reference.guided_step(
            xt.double(),
            out.double(),
            torch.tensor([row] * (trial.STEP + 1), dtype=torch.float64),
            trial.STEP,
            w.double() if isinstance(w, Tensor) else w,
            seed=trial.SEED,
            sample_ids=ids,
            x0prev=None if x0prev is None else x0prev.double(),
            clip=trial.CLIP,
        )
        trial.assert_near(got, wanted)
        assert (x0hat is None) == (not want_x0), "want_x0 decides whether x0hat is returned"
        if x0hat is not None and wanted_x0hat is not None:
            trial.assert_near(x0hat, wanted_x0hat)
