"""What a training step shows the network, as one pass over memory: time, noise and dropped label.

Eager torch writes the noise, scales image and noise, adds them, and does it again for v: 8 reads
and 7 writes of a tensor of x_0's size, counted like those of `kernels.reference`. The kernel reads
x_0 and writes x_t and the target: 1 read and 2 writes. Time and label are one number per sample.

Noise and choices come from streams of their own, so that no draw serves two purposes.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from kernels import philox
from kernels.triton_normals import normals
from kernels.triton_step import places, tiles

NOISE = tl.constexpr(philox.TRAINING_NOISE)
CHOICE = tl.constexpr(philox.TRAINING_CHOICE)


@triton.jit(do_not_specialize=["step", "seed", "B"])  # one compiled kernel for all of their values
def noising_kernel(
    x0,  # (B, n)
    y,  # (B,)
    alpha_bar,  # (T + 1,), float64
    sample_ids,  # (B,)
    xt,  # (B, n), written
    t_of,  # (B,), written
    y_of,  # (B,), written: y, or null
    target,  # (B, n), written; or None, where it is x_0
    step,
    seed: tl.uint64,  # pyright: ignore[reportInvalidTypeForm]
    T,
    null,
    drop_below,  # words below it drop the label, 0..2^32
    B,
    n,
    V: tl.constexpr,  # whether the target is v
    VELOCITY: tl.constexpr,  # whether it is the velocity; if it is neither, it is eps
    SAMPLES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Noise a tile of SAMPLES samples by BLOCK elements."""
    group = tl.program_id(1) + tl.program_id(2) * tl.num_programs(1)
    first = tl.program_id(0)
    sample, _, at, inside, block = places(group, first, B, n, SAMPLES, BLOCK)  # type: ignore
    exists = sample < B
    step = step.to(tl.uint32)
    sample_id = tl.load(sample_ids + sample, mask=exists).to(tl.uint32)

    # t = floor(u T) + 1 with u = (word + 1/2) / 2^32, in integers: exact, as float64 is in torch.
    w0, w1, _, _ = tl.philox(seed, 0, step, sample_id, CHOICE)  # pyright: ignore
    t = (((2 * w0.to(tl.int64) + 1) * T) >> 33) + 1
    if first == 0:
        label = tl.load(y + sample, mask=exists)
        tl.store(t_of + sample, t, mask=exists)
        tl.store(y_of + sample, tl.where(w1.to(tl.int64) < drop_below, null, label), mask=exists)

    # One pair of square roots per sample, in the float64 of the table: near t = 0, float32 would
    # lose the digits of 1 - abar.
    abar = tl.load(alpha_bar + t, mask=exists, other=1.0)
    signal = tl.sqrt(abar).to(tl.float32)
    noise = tl.sqrt(1.0 - abar).to(tl.float32)
    x = tl.load(x0 + at, mask=inside).to(tl.float32)
    eps = tl.reshape(normals(seed, step, sample_id, block, NOISE), (SAMPLES, BLOCK))
    tl.store(xt + at, (signal * x + noise * eps).to(xt.dtype.element_ty), mask=inside)
    if target is not None:
        if V:
            eps = signal * eps - noise * x
        if VELOCITY:
            eps = eps - x
        tl.store(target + at, eps.to(target.dtype.element_ty), mask=inside)


def noised_batch(
    x0: torch.Tensor,
    y: torch.Tensor,
    alpha_bar: torch.Tensor,
    *,
    null: int,
    p_uncond: float,
    prediction: str,
    seed: int,
    step: int,
    sample_ids: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Launch the kernel: `kernels.reference.noised_batch`, whose arguments these are."""
    x0 = x0.contiguous()
    y = y.contiguous()
    xt = torch.empty_like(x0)
    t_of = torch.empty_like(y)
    y_of = torch.empty_like(y)
    target = None if prediction == "x0" else torch.empty_like(x0)
    B = len(x0)
    n = math.prod(x0.shape[1:])
    if B:
        # (word + 1/2) / 2^32 < p_uncond, solved for the word. In float64 none of this is rounded.
        drop_below = math.ceil(p_uncond * 2**32 - 0.5)
        grid, options = tiles(
            B, max(n, 1)
        )  # samples without elements still have a time and a label
        options["V"] = prediction == "v"
        options["VELOCITY"] = prediction == "velocity"
        with torch.cuda.device(x0.get_device()):
            noising_kernel[grid](
                x0,
                y,
                alpha_bar.contiguous(),
                sample_ids.contiguous(),
                xt,
                t_of,
                y_of,
                target,
                step,
                seed,
                len(alpha_bar) - 1,
                null,
                drop_below,
                B,
                n,
                **options,
            )
    return xt, t_of, y_of, x0 if target is None else target
