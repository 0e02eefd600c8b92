"""Standard normals from random 32-bit words, inside a Triton kernel, without branches or tables.

Box-Muller turns two uniform numbers u and v into two independent standard normals:

    z_0 = sqrt(-2 log u) cos(2 pi v)
    z_1 = sqrt(-2 log u) sin(2 pi v)

A library's logarithm, sine and cosine accept every float32, and pay for the cases that are rare.
Here u and v come from 32-bit words, so that both ranges are known, and a short polynomial replaces
each function. `kernels/ladder/rung5_our_normals.py` is the lecture about this file;
`kernels/ladder/coefficients.py` finds the coefficients again.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def minus_log(u):
    """`-log u` for u in [2^-33, 1], where u is positive, finite and not subnormal.

    u = 2^E m with m in [2/3, 4/3), and log m = f + f^2 P(f) with f = m - 1. The split works on the
    bits of the float32: its exponent field is the logarithm's integer part. Subtracting the bits of
    2/3 first makes m start at 2/3 and not at 1, so that f is 0, and the result exact, at u = 1.
    """
    bits = u.to(tl.int32, bitcast=True)
    exponent = (bits - 0x3F2AAAAB) & -0x800000  # E 2^23; the constant holds the bits of 2/3
    f = (bits - exponent).to(tl.float32, bitcast=True) - 1.0
    # Minimax for sqrt(-2 log u): its largest error is 5.0e-8 with these float32 coefficients.
    poly = 0.197881386 + f * (-0.162178159 + f * (0.17172192 + f * -0.162786514))
    poly = -0.499996632 + f * (0.333378881 + f * (-0.250213772 + f * poly))
    return exponent.to(tl.float32) * (-0.6931471805599453 * 2.0**-23) - (f + f * f * poly)


@triton.jit
def normal_pair(word, turn):
    """Two normals from two words: `sqrt(-2 log u) (cos, sin)(2 pi turn / 2^32)`, u in (0, 1].

    The angle is split into its quarter turn, the top two bits, and the rest h, measured from the
    quarter's middle M: cos(M + h) = cos M cos h - sin M sin h, and likewise for the sine. Both
    cos M and sin M are +-1/sqrt(2), and sqrt(-2 log u) / sqrt(2) = sqrt(-log u), so that r below is
    sqrt(-log u) and only signs remain. |h| <= pi/4 needs no range reduction.
    """
    u = word.to(tl.float32) * 2.0**-32 + 2.0**-33
    r = tl.sqrt(minus_log(u)).to(tl.uint32, bitcast=True)
    # A sign is the top bit of a float32. cos M is negative in the quarters 1 and 2, where the two
    # top bits of the turn differ; sin M is negative in 2 and 3, where the first is set.
    r_cos = (r | ((turn ^ (turn << 1)) & 0x80000000)).to(tl.float32, bitcast=True)
    r_sin = (r | (turn & 0x80000000)).to(tl.float32, bitcast=True)
    # The shift drops the quarter. The other 30 bits lie in [0, 1) of a quarter; flipping the top
    # bit and reading a signed integer subtracts 1/2: x in [-1/2, 1/2), and h = pi/2 x.
    x = ((turn << 2) ^ 0x80000000).to(tl.int32, bitcast=True).to(tl.float32) * 2.0**-32
    xx = x * x
    # Minimax on |x| <= 1/2: cos to 4.1e-8, sin to 4.1e-9, with these float32 coefficients.
    cos = 1.0 + xx * (-1.2336979 + xx * (0.25360626 + xx * -0.020426249))
    sin = x * (1.57079637 + xx * (-0.645964801 + xx * (0.0796898827 + xx * -0.0046229572)))
    return r_cos * cos - r_sin * sin, r_sin * cos + r_cos * sin


@triton.jit
def normals(seed, step, sample_id, block, STREAM: tl.constexpr):
    """The noise of four neighbours, `z[4 block : 4 block + 4]`, from one Philox call.

    `block` has the shape [..., n]; the result has [..., n, 2, 2], in the order of memory.
    """
    w0, w1, w2, w3 = tl.philox(seed, block, step, sample_id, STREAM)  # pyright: ignore
    z0, z1 = normal_pair(w0, w1)
    z2, z3 = normal_pair(w2, w3)
    return tl.join(tl.join(z0, z2), tl.join(z1, z3))
