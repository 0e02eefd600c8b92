"""The step as one pass over memory: every solver, its guidance and its noise, in a Triton kernel.

What moves. A GPU does elementwise arithmetic much faster than its memory can feed it, so the price
of such an operation is what it reads and writes. Eager torch runs `kernels.reference.guided_step`
as a dozen operations, and each reads its operands from memory and writes its result back: 17 reads
and 13 writes of a tensor of x_t's size. The kernel reads x_t and the two halves of `out`, keeps
what lies between in registers, and writes x_s and x0hat: 3 reads and 2 writes (4 reads for a row
that looks back, e != 0). The noise moves nothing: it is computed where it is used.

What is computed. Free arithmetic has an end: at 20 bytes an element there is time for roughly a
hundred instructions, and noise is most of them. So one Philox call serves four neighbours, and
logarithm, sine and cosine are polynomials on the words themselves, without branches. Compiled for
an NVIDIA H100, the whole float32 step is about 60 instructions an element.

Read on in the order of the data: the noise, from a word to a normal; the tile; the launch.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import philox

if TYPE_CHECKING:
    from jaxtyping import Float, Int

STREAM = tl.constexpr(philox.SAMPLING)
TILE = 1024  # elements a program moves: 8 a thread, two 128-bit accesses a tensor (one in 16 bits)
MAX_GRID_Y = 65535  # places along a grid's second and third axis; 2^31 - 1 along the first


@triton.jit
def minus_log(u):
    """`-log u` for u in [2^-33, 1]: no zero, no infinity, nothing subnormal to look out for.

    u = 2^E m with m in [2/3, 4/3); log m = f + f^2 P(f) with f = m - 1, exact where u is near 1.
    """
    bits = u.to(tl.int32, bitcast=True)
    exponent = (bits - 0x3F2AAAAB) & -0x800000  # E 2^23; the constant is 2/3
    f = (bits - exponent).to(tl.float32, bitcast=True) - 1.0
    # Minimax for sqrt(-2 log u), whose error is 5.1e-8 with these float32 coefficients.
    poly = 0.197881386 + f * (-0.162178159 + f * (0.17172192 + f * -0.162786514))
    poly = -0.499996632 + f * (0.333378881 + f * (-0.250213772 + f * poly))
    return exponent.to(tl.float32) * (-0.6931471805599453 * 2.0**-23) - (f + f * f * poly)


@triton.jit
def normal_pair(word, turn):
    """Two normals from two words: `sqrt(-2 log u) (cos, sin)(2 pi turn / 2^32)`, u in (0, 1].

    Split the turn into its quarter, the top two bits, and an angle h from the quarter's middle M:
    cos(M + h) = cos M cos h - sin M sin h, and cos M, sin M are +-1/sqrt(2), which takes the 2
    out of the root. |h| <= pi/4 needs no range reduction, so no slow path and no stack.
    """
    u = word.to(tl.float32) * 2.0**-32 + 2.0**-33
    r = tl.sqrt(minus_log(u)).to(tl.uint32, bitcast=True)
    # cos M is negative in the quarters 1 and 2, sin M in 2 and 3.
    r_cos = (r | ((turn ^ (turn << 1)) & 0x80000000)).to(tl.float32, bitcast=True)
    r_sin = (r | (turn & 0x80000000)).to(tl.float32, bitcast=True)
    # The lower 30 bits, as a signed fraction of a quarter: x in [-1/2, 1/2), h = pi/2 x.
    x = ((turn << 2) ^ 0x80000000).to(tl.int32, bitcast=True).to(tl.float32) * 2.0**-32
    xx = x * x
    # Minimax on |x| <= 1/2: cos to 4.1e-8, sin to 2.2e-8, with these float32 coefficients.
    cos = 1.0 + xx * (-1.2336979 + xx * (0.25360626 + xx * -0.020426249))
    sin = x * (1.57079637 + xx * (-0.64596349 + xx * (0.079680033 + xx * -0.00460165786)))
    return r_cos * cos - r_sin * sin, r_sin * cos + r_cos * sin


@triton.jit
def normals(seed, step, sample_id, block):
    """The noise of four neighbours, `z[4 block : 4 block + 4]`, from one Philox call."""
    w0, w1, w2, w3 = tl.philox(seed, block, step, sample_id, STREAM)  # pyright: ignore
    z0, z1 = normal_pair(w0, w1)
    z2, z3 = normal_pair(w2, w3)
    return tl.join(tl.join(z0, z2), tl.join(z1, z3))  # [..., 2, 2], in the order of memory


@triton.jit(do_not_specialize=["k", "seed", "B"])  # one compiled kernel for all of their values
def step_kernel(
    xt,  # (B, n)
    out,  # (2B, n), conditional half first; (B, n) where w and w_each are None
    x0prev,  # (B, n) or None
    xs,  # (B, n), written
    x0,  # (B, n), written: x0hat
    rows,  # (K, 8)
    k,
    w,  # one weight for all, or None
    w_each,  # (B,) weights, or None
    seed: tl.uint64,  # pyright: ignore[reportInvalidTypeForm]
    sample_ids,  # (B,)
    clip,
    B,
    n,
    SAMPLES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Move a tile of SAMPLES samples by BLOCK elements along row `k`."""
    # Where the tile lies. A sample's number is one value a row of the tile, not one an element;
    # what may pass 2^31 is computed in 64 bits.
    group = tl.program_id(1) + tl.program_id(2) * tl.num_programs(1)
    sample = group.to(tl.int64) * SAMPLES + tl.arange(0, SAMPLES)[:, None]
    start = tl.program_id(0).to(tl.int64) * BLOCK
    element = start + tl.arange(0, BLOCK)[None, :]
    inside = (sample < B) & (element < n)
    at = sample * n + element

    # (p, q, a, b, c, d, e, m), from device memory: the host does not know it, nor waits for it.
    row = rows + k * 8
    p, q = tl.load(row).to(tl.float32), tl.load(row + 1).to(tl.float32)
    a, b = tl.load(row + 2).to(tl.float32), tl.load(row + 3).to(tl.float32)
    c, d = tl.load(row + 4).to(tl.float32), tl.load(row + 5).to(tl.float32)
    e, m = tl.load(row + 6).to(tl.float32), tl.load(row + 7).to(tl.float32)

    # g = out_cond + m w (out_cond - out_null). The null half is B samples further on: no chunk,
    # no copy. Tests against None are settled when the kernel is compiled.
    x = tl.load(xt + at, mask=inside).to(tl.float32)
    cond = tl.load(out + at, mask=inside).to(tl.float32)
    g = cond
    null = cond
    if w is not None or w_each is not None:
        null = tl.load(out + B.to(tl.int64) * n + at, mask=inside).to(tl.float32)
        if w_each is not None:
            w = tl.load(w_each + sample, mask=sample < B).to(tl.float32)
        g = cond + m * w * (cond - null)

    # x0hat = clip(p x_t + q g). A NaN passes the clip, as it does in torch.
    x0hat = tl.clamp(p * x + q * g, -clip, clip, propagate_nan=tl.PropagateNan.ALL)
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
        block = (start // 4 + tl.arange(0, BLOCK // 4)[None, :]).to(tl.uint32)
        z = normals(seed, (k + 1).to(tl.uint32), sample_id, block)
        y += c * tl.reshape(z, (SAMPLES, BLOCK))
    tl.store(xs + at, y.to(xs.dtype.element_ty), mask=inside)


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
    """Launch the kernel: `kernels.reference.guided_step`, whose arguments these are.

    Two things the reference sees and a host that does not wait cannot: `x0prev` missing for a row
    with e != 0, whose term is then left out, and sample ids outside 0..2^32-1, which are taken
    modulo 2^32. Keep `rows` on the device of `xt`; they are copied there at every call otherwise.
    """
    xt, out, rows = xt.contiguous(), out.contiguous(), rows.to(xt.device).contiguous()
    x0prev = None if x0prev is None else x0prev.contiguous()
    xs, x0hat = torch.empty_like(xt), torch.empty_like(xt)
    if xt.numel() == 0:
        return xs, x0hat
    one, each = (None, w.contiguous()) if isinstance(w, Tensor) else (w, None)
    B, n = len(xt), math.prod(xt.shape[1:])
    # Small samples share a program: SAMPLES of them, each padded to a power of 2.
    block = min(TILE, max(4, triton.next_power_of_2(n)))
    groups = triton.cdiv(B, TILE // block)
    grid = (triton.cdiv(n, block), min(groups, MAX_GRID_Y), triton.cdiv(groups, MAX_GRID_Y))
    ids = sample_ids.contiguous()
    args = (xt, out, x0prev, xs, x0hat, rows, k, one, each, seed, ids, float(clip), B, n)
    # A product and a sum may be fused, rounded once: that is Triton's habit until version 3.10.
    options = dict(SAMPLES=TILE // block, BLOCK=block, enable_fp_fusion=True)
    with torch.cuda.device(xt.device) if xt.is_cuda else nullcontext():
        step_kernel[grid](*args, **options)
    return xs, x0hat
