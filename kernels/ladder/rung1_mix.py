"""Rung 1. Mix: the first kernel

**The question.** Guidance combines two outputs of the network, g = cond + w (cond - null). How is
this written as a program for a GPU, and what limits its speed?

**Programs.** A kernel is a function that a GPU executes many times, each time on another part of
the data. One such execution is called a program in Triton, and a thread block in CUDA. All
programs of a launch together are the grid. Here program number i takes the elements 1024 i to
1024 i + 1023, so the grid has n / 1024 programs, rounded up. An H100 has 132 multiprocessors, and
each of them executes several programs at the same time. The other programs follow when there is
room, in an order that is not defined. Therefore no program may use what another program of the
same launch has written.

**Threads and warps.** A program is executed by threads, and 32 threads form a warp, which executes
each instruction for its 32 threads together. By default Triton gives a program 4 warps, which are
128 threads, and divides the 1024 elements among them: 8 per thread. The code below does not
mention threads. A line such as `cond + w * (cond - null)` acts on all 1024 elements.

**Triton's notation.** `@triton.jit` marks a function that Triton compiles when it is first
launched. `mix_kernel[grid](...)` launches it, with as many programs as `grid` has places.
`tl.program_id(0)` is the number of the program along the first axis of the grid. An argument marked
`tl.constexpr` is a constant when the kernel is compiled. `tl.arange(0, BLOCK)` needs such a
constant, a power of 2; it is the BLOCK numbers 0, 1, ..., BLOCK - 1.

**Pointers.** A kernel receives a tensor as a pointer, which is the address of its first element,
so `out + at` are 1024 addresses. It is not given the shape or the strides. The wrapper therefore
passes contiguous tensors. The null half begins n elements after the conditional half.

**Coalesced accesses.** Threads that are neighbours in a warp access neighbouring addresses. Such
accesses are called coalesced, because the hardware serves a whole warp with a few long transfers.
In addition Triton lets each thread load four neighbouring float32 with one instruction of 128 bits.
This requires that n is a multiple of 16 and that both tensors begin at multiples of 16 bytes, as
new tensors of torch do. (A slice such as `t[1:]` may not.) For any other n Triton compiles a second
kernel, whose accesses are of single elements, for two reasons. The null half may then begin at an
address that is not a multiple of 16 bytes. And `at < n` may differ among four neighbours, which one
access with one mask cannot serve. (Four float32 are 16 bytes, so for this kernel a multiple of 4
would do. But 16 is the only divisor for which Triton tests an integer.)

**The mask.** If 1024 does not divide n, the last program has places at n and beyond, which belong
to other data. The mask `inside` marks the places that exist, and an access is made only there. An
`if` cannot replace the mask. The comparison `at < n` has 1024 results, one for each place, and an
`if` chooses one path for the whole program.

**Bytes.** Each element needs 2 reads and 1 write, which are 12 bytes in float32.

**Instructions.** The formula needs one subtraction and one fused multiply-add. Two loads and a
store serve four elements each, which makes 3/4. The count by hand is 2.75 per element, for an n
that is a multiple of 16. The compiled code for an H100 has 50 instructions for the 8 elements of a
thread, or 6.25 per element (6.2 in the table): 16 are arithmetic, 6 are accesses, and 28 compute
addresses and masks or prepare constants.

**What limits it.** According to its data sheet, the memory of an H100 delivers 3.35e12 bytes per
second. Its arithmetic units execute 67e12 float32 operations per second, where a multiply-add
counts as two, so they execute 33.5e12 instructions. This is also the limit for all kinds of
instructions together. A multiprocessor has four schedulers, and each of them starts at most one
instruction of a warp per clock, of whatever kind. These are 128 instructions of a thread, and

    132 multiprocessors x 128 x 1.98e9 clocks per second = 33.5e12 instructions per second

for the clock of 1.98 GHz that the 67e12 suppose. Some kinds of instructions are slower (rung 3), so
a count of instructions gives a lower bound of the time.

Moving 12 bytes takes 12 / 3.35e12 s = 3.6 ps, in which at most 120 instructions can be executed.
The kernel needs about 6. For a tensor of many megabytes it is memory-bound: its time is the time of
its bytes, and fewer instructions would not make it faster. For a small tensor the start of the
kernel takes longer than either.

**What goes wrong.** Without the mask on the store, the last program writes out of bounds. If the
kernel reads the null half at n rounded up to a multiple of 1024, and not at n, the result is right
only where n is such a multiple.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import reference
from kernels.ladder import trial
from kernels.ladder.arguments import check_mix

BLOCK = 1024  # elements that one program moves; a power of 2


@triton.jit
def mix_kernel(
    out,  # pointer to 2n float32: n conditional outputs, then n null outputs
    g,  # pointer to n float32, written
    w,
    n,
    BLOCK: tl.constexpr,
):
    """Mix BLOCK elements: `g = cond + w (cond - null)`."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    cond = tl.load(out + at, mask=inside)
    null = tl.load(out + n + at, mask=inside)
    tl.store(g + at, cond + w * (cond - null), mask=inside)


def mix(out: Tensor, w: float) -> Tensor:
    """Launch the kernel.

    Args:
        out: (2B, ...) float32, the conditional half first, with fewer than 2^31 elements.
        w: the guidance weight.

    Returns:
        (B, ...) float32: `(1 + w) cond - w null`.

    Raises:
        ValueError: `out` is not such a tensor, or `w` is not a finite number.
    """
    check_mix(out, w)
    g = torch.empty(len(out) // 2, *out.shape[1:], dtype=out.dtype, device=out.device)
    n = g.numel()
    grid = (triton.cdiv(n, BLOCK),)
    mix_kernel[grid](
        out.contiguous(),
        g,
        float(w),
        n,
        BLOCK=BLOCK,  # pyright: ignore[reportArgumentType]
    )
    return g


def check(device: str) -> None:
    """Assert that the kernel computes what `kernels.reference.guide` does, at odd sizes."""
    for B, *D in trial.SHAPES:
        out = trial.uniform(B, 2 * B, *D)
        cond, null = out.double().chunk(2)
        wanted = reference.guide(cond, null, trial.W)
        trial.assert_near(mix(out.to(device), trial.W), wanted)
