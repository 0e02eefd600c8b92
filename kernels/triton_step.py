"""The step as one pass over memory: every solver, its guidance and its noise, in a Triton kernel.

What moves. A GPU does arithmetic much faster than its memory can feed it, so the price of a step is
what it reads and writes. Eager torch runs `kernels.reference.guided_step` as eight operations, with
11 reads and 8 writes of a tensor of x_t's size. The kernel reads x_t and the two halves of `out`,
and writes x_s: 3 reads and 1 write. (A solver that looks back needs 4 and 2.) The noise moves
nothing, because it is made where it is used.

What is computed. Arithmetic is not free without limit: at 16 bytes per element an H100 has time for
about a hundred instructions per element, and the kernel needs 52, most of them for the noise. So
one Philox call serves four neighbours, and logarithm, sine and cosine are polynomials on the words
themselves, without branches.

The file follows the data: the noise, from a word to a normal; the tile; the launch.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from kernels import philox

SAMPLING = tl.constexpr(philox.SAMPLING)
TILE = 1024  # elements a program moves
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
def normals(seed, step, sample_id, block, STREAM: tl.constexpr):
    """The noise of four neighbours, `z[4 block : 4 block + 4]`, from one Philox call."""
    w0, w1, w2, w3 = tl.philox(seed, block, step, sample_id, STREAM)  # pyright: ignore
    z0, z1 = normal_pair(w0, w1)
    z2, z3 = normal_pair(w2, w3)
    return tl.join(tl.join(z0, z2), tl.join(z1, z3))  # [..., 2, 2], in the order of memory


@triton.jit
def places(group, first, B, n, SAMPLES: tl.constexpr, BLOCK: tl.constexpr):
    """A tile's samples, elements, addresses, which of them exist, and the blocks of their noise."""
    # One sample a row of the tile, not one an element; in 64 bits, what may pass 2^31.
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
    k,  # the row: a number, or where one stands, so that a recorded launch can be replayed
    w,  # one weight for all, or None
    w_each,  # (B,) weights, or None
    seed: tl.uint64,  # pyright: ignore[reportInvalidTypeForm]
    sample_ids,  # (B,)
    clip,
    B,
    n,
    pixels,  # of a sample, where `out` is channels-last; or None: it lies as x_t does
    SAMPLES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Move a tile of SAMPLES samples by BLOCK elements along row `k`."""
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
    # then moves 16-bit tensors at the speed of a copy, and with four warps at 94 % of it. If n is
    # not a multiple of 16, accesses are not wide, and more threads hide more of their latency:
    # there two warps lose a quarter of the speed.
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
    does: without `x0prev` a term with e != 0 is left out, ids are taken modulo 2^32, and a `k` on
        the
    device must lie inside the table.
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
