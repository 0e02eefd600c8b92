"""A study: the time of a small tensor is not that of its bytes

**The question.** On an H100 a step of rung 8 in float32 takes 7.1 us for 4 KiB and 6.9 us for 64
KiB. So this is not the time of the bytes. With noise that is given in memory (as x0prev, by a row
with e = c and c = 0) it takes 6.7 and 6.9 us. `torch.compile`, which compiles the coefficients in,
then takes 5.8 us for both. What does rung 8 do in the further microsecond?

**A time without bytes.** The measured times are nearly t0 + bytes / bandwidth
(`kernels/results/README.md`). Here t0 is the question. It contains the launch, which no kernel can
avoid, and what a program does from its first instruction to its last. A tensor of 64 KiB has 16
programs of 1024 elements. So most of the 132 multiprocessors have no program, and those that have
one have two warps, where they could have 32.

**Waits.** A warp executes its instructions in order. A load does not stop it. It stops at the first
instruction that needs data which have not arrived, and waits. Loads that are under way together
cost one wait. A load is part of a later wait for one of three reasons: its address depends on
another load, it stands behind a branch that depends on one, or the compiler has put it behind an
instruction that waits. (The compiler does that to use fewer registers.) For a large tensor a wait
costs no time, because other warps of the multiprocessor go on. Here there are none.
`kernels.inspection` counts the waits in the listing.

**Rung 8**, compiled for an H100 in float32, has three waits. The first is for the row and a part of
the data. The second is for the other data, which the compiler loads later. The third is for the
number of the sample, which is loaded behind the branch `if c != 0`. With given noise c is 0, and
the third wait is for x0prev, behind the branch `if e != 0`. In bfloat16 the compiler loads all data
together, so there are two waits. Looking up the row is not a wait of its own, if
`k` is a number. (Rung 7 has no row to look up, and also three waits.)

**Coefficients that are compiled in** leave no branch, and with small tiles the compiler loads all
data together. The kernel `compiled_in_kernel` below is of this kind. With tiles of 256 and 4 warps,
which are 2 elements per thread, it has one wait. (With tiles of 1024 it has two.) The listing of
`torch.compile` on the H100 was not kept, so that its kernel has one wait is an assumption.

**Are the waits the microsecond?** The times fit. With given noise rung 8 then has two waits more
than `torch.compile` in float32, and takes 0.90 us longer for one image of 32 x 32 and 1.15 us for
64 KiB. In bfloat16 it has one more, and takes 0.70 and 0.67 us longer. That is 0.4 to 0.7 us per
wait, a latency, for which rung 3 assumes 0.7 us. Instructions matter less: rung 8 with its own
noise has as many waits as with given noise. It executes 827 instructions per thread and not 288
(861 in the listing with x0prev, less the 573 that c = 0 jumps over), and takes 0 to 0.4 us longer.
So the waits can explain the difference. This is no proof, because the two launches differ in their
arguments and tiles, too.

**Two changes** remove waits. First, all that does not depend on the row is loaded before it.
Second, a tile has 256 elements in place of 1024. Then four times as many multiprocessors work. A
thread has 4 elements in place of 16. All of its loads are under way together, and it executes a
third of the instructions. Counted per thread, for an H100 in float32:

                              k is a number            k is in memory
                           waits  instructions      waits  instructions
    rung 8                   3        827             6        825
    here, tiles of 1024      2        825             2        822
    here, tiles of 256       1        274             2        273

A `k` in memory is what a recorded step of the sampler has. It is one load more, on which the
addresses of the row depend. In rung 8 most data stand behind that wait, and the compiler divides
them among further ones.

The price of small tiles is 274 / 4 = 68.5 instructions per element in place of 51.7, because fewer
elements share the addresses and the row. For large tensors that is a loss. So the size of a tile
would have to depend on the size of the tensor.

**What a GPU has to show.** Nobody has timed these changes.

    python -m kernels.ladder.small_tensors

prints the counts, and on a GPU the times. The table also has an empty kernel with rung 8's
arguments, which is the launch alone, the kernel with compiled coefficients, and rung 7. At 0.4 to
0.7 us per wait a `k` that is a number should gain about a microsecond, and a `k` in memory two or
three. If it does, the changes belong into rung 8, and what was measured of rung 8 has to be
measured again. A network takes far longer: the sampler's step takes 820 us.

**The limits.** The kernel takes one weight, contiguous tensors, and rows with e = 0. The sampler
does not use it.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import dispatch, philox, reference, triton_step
from kernels.bench.contenders import CLIP, ROW, SEED, Problem, W
from kernels.bench.run import timed
from kernels.inspection.compile import TARGETS, Launch, compile_launch, record_launch
from kernels.ladder import trial
from kernels.ladder.arguments import check_one_w
from kernels.ladder.rungs import RUNGS
from kernels.triton_normals import normals
from kernels.triton_step import MAX_GRID_Y, places

SAMPLING = tl.constexpr(philox.SAMPLING)
SIZES = {"4 KiB": (1, 1, 32, 32), "64 KiB": (1, 4, 64, 64), "1 MiB": (16, 4, 64, 64)}  # of x_t


@triton.jit(do_not_specialize=["k", "seed", "B"])
def step_kernel(
    xt,  # pointer to (B, n)
    out,  # pointer to (2B, n), the conditional half first
    xs,  # pointer to (B, n), written
    rows,  # pointer to (K, 8)
    k,  # the row: a number, or a pointer to one
    w,
    seed: tl.uint64,  # pyright: ignore[reportInvalidTypeForm]
    sample_ids,  # pointer to (B,) integers
    clip,
    B,
    n,
    SAMPLES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Move a tile of SAMPLES samples by BLOCK elements along row `k`."""
    sample, _, at, inside, block = places(tl.program_id(1), tl.program_id(0), B, n, SAMPLES, BLOCK)  # type: ignore

    # First all that does not depend on the row.
    x = tl.load(xt + at, mask=inside).to(tl.float32)
    cond = tl.load(out + at, mask=inside).to(tl.float32)
    null = tl.load(out + B.to(tl.int64) * n + at, mask=inside).to(tl.float32)
    sample_id = tl.load(sample_ids + sample, mask=sample < B).to(tl.uint32)

    if k.dtype.is_ptr():
        k = tl.load(k)
    row = rows + k * 8
    p = tl.load(row)
    q = tl.load(row + 1)
    a = tl.load(row + 2)
    b = tl.load(row + 3)
    c = tl.load(row + 4)
    d = tl.load(row + 5)
    m = tl.load(row + 7)

    g = cond + m * w * (cond - null)
    x0hat = tl.clamp(p * x + q * g, -clip, clip, propagate_nan=tl.PropagateNan.ALL)
    y = a * x0hat + b * x
    if d != 0:
        y += d * null
    if c != 0:
        z = normals(seed, (k + 1).to(tl.uint32), sample_id, block, SAMPLING)
        y += c * tl.reshape(z, (SAMPLES, BLOCK))
    tl.store(xs + at, y.to(xs.dtype.element_ty), mask=inside)


@triton.jit
def compiled_in_kernel(
    xt,  # pointer to n elements
    out,  # pointer to 2n, the conditional half first
    z,  # pointer to n, the given noise
    xs,  # pointer to n, written
    n: tl.constexpr,
    p: tl.constexpr,
    q: tl.constexpr,
    a: tl.constexpr,
    b: tl.constexpr,
    c: tl.constexpr,
    w: tl.constexpr,
    clip: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Move BLOCK elements. All numbers are constants, as in the kernel that torch.compile makes."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    x = tl.load(xt + at, mask=inside).to(tl.float32)
    cond = tl.load(out + at, mask=inside).to(tl.float32)
    null = tl.load(out + n + at, mask=inside).to(tl.float32)
    noise = tl.load(z + at, mask=inside).to(tl.float32)
    g = cond + w * (cond - null)
    x0hat = tl.clamp(p * x + q * g, -clip, clip, propagate_nan=tl.PropagateNan.ALL)
    y = a * x0hat + b * x + c * noise
    tl.store(xs + at, y.to(xs.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["k", "seed", "B"])
def empty_kernel(
    xt,
    out,
    xs,
    rows,
    k,
    w,
    seed: tl.uint64,  # pyright: ignore[reportInvalidTypeForm]
    sample_ids,
    clip,
    B,
    n,
):
    """Do nothing. What remains is the launch."""
    return


def compiled_in(p: Problem, tile: int = 256) -> Tensor:
    """x_s with given noise, by the row and the weight of the benchmark, which are compiled in."""
    xs = torch.empty_like(p.xt)
    n = p.xt.numel()
    numbers: dict = dict(zip("pqabc", ROW[:5], strict=True), w=W, clip=CLIP, n=n)
    numbers |= dict(BLOCK=tile, num_warps=4)
    compiled_in_kernel[(triton.cdiv(n, tile),)](p.xt, p.out, p.z, xs, **numbers)
    return xs


def step(
    xt: Tensor,
    out: Tensor,
    rows: Tensor,
    k: int | Tensor,
    w: float,
    clip: float,
    seed: int,
    sample_ids: Tensor,
    tile: int = 256,
) -> Tensor:
    """Launch the kernel.

    Args:
        xt: (B, ...) contiguous, float16, bfloat16 or float32.
        out: (2B, ...) contiguous, the conditional half first.
        rows: (K, 8) float32, with e = 0.
        k: the row, 0..K-1: a number, or an int64 tensor without dimensions.
        w: the guidance weight.
        clip: the guess of the data is clipped to [-clip, clip]; infinity leaves it as it is.
        seed: 0..2^64-1.
        sample_ids: (B,) integers in 0..2^32-1, which name the samples' noise.
        tile: elements per program, a power of 2 from 4.

    Returns:
        x_s, of the shape and dtype of `xt`.

    Raises:
        ValueError: an argument is of another kind, not contiguous, or has more samples than one
            axis of the grid has places.
    """
    dispatch.check_step(
        xt, out, rows, k, w, seed=seed, sample_ids=sample_ids, x0prev=None, clip=clip
    )
    check_one_w(w)
    B = len(xt)
    n = math.prod(xt.shape[1:])
    block = min(tile, max(4, triton.next_power_of_2(n)))
    groups = triton.cdiv(B, tile // block)
    if groups > MAX_GRID_Y or not (xt.is_contiguous() and out.is_contiguous()):
        raise ValueError(
            f"xt has shape {tuple(xt.shape)} and strides {xt.stride()}; this kernel takes "
            f"contiguous tensors, and at most {MAX_GRID_Y:,} groups of samples. "
            "kernels.guided_step takes any"
        )
    xs = torch.empty_like(xt)
    options: dict = dict(SAMPLES=tile // block, BLOCK=block, num_warps=2)
    step_kernel[(triton.cdiv(n, block), groups)](
        xt, out, xs, rows, k, w, seed, sample_ids, float(clip), B, n, **options
    )
    return xs


def check(device: str) -> None:
    """Assert that a step is the reference's, with both tiles and both kinds of `k`.

    The same for the kernel whose coefficients are compiled in.
    """
    p = Problem.of((3, 7, 11), torch.float32, device)
    z = p.z.double().cpu()
    given = torch.tensor([(*ROW[:4], 0.0, 0.0, ROW[4], 1.0)], dtype=torch.float64)
    wanted, _ = reference.guided_step(
        p.xt.double().cpu(),
        p.out.double().cpu(),
        given,
        0,
        W,
        seed=0,
        sample_ids=p.ids.cpu(),
        x0prev=z,
        clip=CLIP,
    )
    trial.assert_near(compiled_in(p), wanted)
    weights = [*trial.ROW]
    weights[5] = 0.25  # d
    rows = torch.full((trial.STEP + 1, 8), math.nan, dtype=torch.float64)
    rows[trial.STEP] = torch.tensor(weights, dtype=torch.float64)
    for shape, dtype in trial.cases():
        xt = trial.uniform(1, *shape, dtype=dtype)
        out = trial.uniform(2, 2 * shape[0], *shape[1:], dtype=dtype)
        ids = trial.ids(shape[0])
        wanted, _ = reference.guided_step(
            xt.double(),
            out.double(),
            rows,
            trial.STEP,
            trial.W,
            seed=trial.SEED,
            sample_ids=ids,
            clip=trial.CLIP,
        )
        for tile, k in ((256, trial.STEP), (1024, torch.tensor(trial.STEP, device=device))):
            got = step(
                xt.to(device),
                out.to(device),
                rows.float().to(device),
                k,
                trial.W,
                trial.CLIP,
                trial.SEED,
                ids.to(device),
                tile,
            )
            trial.assert_near(got, wanted)


@dataclass(frozen=True)
class Contender:
    """One kernel, and how its call is made from the tensors of a problem."""

    name: str
    module: ModuleType
    kernel: str
    prepare: Callable[[Problem], Callable[[], Any]]

    def launch(self, shape: Sequence[int]) -> Launch:
        """The launch for x_t of `shape` in float32, recorded on tensors without data."""
        problem = Problem.of(shape, torch.float32, "meta")
        return record_launch(self.module, self.kernel, self.prepare(problem), problem.xt.numel())


def contenders() -> Iterator[Contender]:
    """The kernels of the table, in its order."""
    this = sys.modules[__name__]
    rung7 = RUNGS[6]
    yield Contender("an empty kernel", this, "empty_kernel", _empty)
    yield Contender(
        "coefficients compiled in, given noise",
        this,
        "compiled_in_kernel",
        lambda p: lambda: compiled_in(p),
    )
    yield Contender("rung 7, the row in arguments", rung7.module, rung7.kernel, rung7.prepare)
    for in_memory in (False, True):
        where = "k in memory" if in_memory else "k a number"
        yield Contender(f"rung 8, {where}", triton_step, "step_kernel", _rung8(in_memory))
        for tile in (1024, 256):
            name = f"here, {where}, tiles of {tile}"
            yield Contender(name, this, "step_kernel", _here(in_memory, tile))


def _row_and_k(p: Problem, in_memory: bool) -> tuple[Tensor, int | Tensor]:
    rows = torch.tensor([ROW], device=p.xt.device)
    return rows, torch.zeros((), dtype=torch.int64, device=p.xt.device) if in_memory else 0


def _empty(p: Problem) -> Callable[[], Any]:
    rows, k = _row_and_k(p, in_memory=False)
    arguments = (p.xt, p.out, p.z, rows, k, W, SEED, p.ids, CLIP, *p.xt.flatten(1).shape)
    options: dict = dict(num_warps=2)
    return lambda: empty_kernel[(triton.cdiv(p.xt.numel(), 1024),)](*arguments, **options)


def _rung8(in_memory: bool) -> Callable[[Problem], Callable[[], Any]]:
    def prepare(p: Problem) -> Callable[[], Any]:
        rows, k = _row_and_k(p, in_memory)
        return lambda: triton_step.guided_step(
            p.xt, p.out, rows, k, W, seed=SEED, sample_ids=p.ids, clip=CLIP, want_x0=False
        )

    return prepare


def _here(in_memory: bool, tile: int) -> Callable[[Problem], Callable[[], Any]]:
    def prepare(p: Problem) -> Callable[[], Any]:
        rows, k = _row_and_k(p, in_memory)
        return lambda: step(p.xt, p.out, rows, k, W, CLIP, SEED, p.ids, tile)

    return prepare


def lines(target: str, timing: bool) -> Iterator[str]:
    """The lines of a Markdown table, each as soon as its kernel is compiled or timed."""
    head = ["kernel", "programs", "instructions", "waits"]
    if timing:
        head += [f"us, {name}" for name in SIZES]
    widths = [max(len(contender.name) for contender in contenders()), *map(len, head[1:])]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(str.ljust, cells, widths)) + " |"

    yield line(head)
    yield line(["-" * width for width in widths])
    for contender in contenders():
        launch = contender.launch(SIZES["64 KiB"])
        report = compile_launch(launch, TARGETS[target])
        waits = "" if report.waits is None else str(report.waits)
        cells = [contender.name, str(math.prod(launch.grid)), str(report.instructions), waits]
        if timing:
            cells += [f"{microseconds(contender, shape):.2f}" for shape in SIZES.values()]
        yield line(cells)


@torch.no_grad()
def microseconds(contender: Contender, shape: Sequence[int], device: str = "cuda") -> float:
    """The median time of a recorded call, after the GPU's cache was emptied."""
    return 1e3 * timed(contender.prepare(Problem.of(shape, torch.float32, device)), device).median


def main() -> int:
    """Print the table; return the exit code, 4 if kernels are interpreted here."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        print(
            "TRITON_INTERPRET = 1 makes Triton interpret kernels, not compile them: unset it",
            file=sys.stderr,
        )
        return 4
    print(f"triton {triton.__version__}, sm_90, float32; programs for 64 KiB\n")
    for row in lines("sm_90", timing=torch.cuda.is_available()):
        print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
