# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 9. The fused kernel
#
# **After this sitting you can** count what a computation moves through memory and say from that how fast it can be, write a Triton kernel that takes a whole guided step in one pass, hold it against a reference at sizes that do not fit, and explain why its noise is counter-based and not a sequential generator.
#
# Without a GPU, Triton's interpreter runs kernels on the CPU, one program after the other, on the same source. It is slow, and gives the same numbers up to rounding. With a GPU the same cells and checks run compiled, and the last section times your kernel. The switch is `ON_GPU` in the next cell, and `minicfg doctor` prints what your machine can do. A minute of computing, about 60 minutes with the exercises. Read `kernels/README.md` and the rungs of `kernels/ladder/` beside it, one page each, and `tutorial/step22_swap_in.py` for the noise. Triton comes for Linux only; elsewhere the cells that run a kernel say so, and all others run. On a hosted machine that has torch already: clone the repository, `pip install -e . -c constraints.txt --no-deps`, and restart the kernel.

# %%
# %matplotlib inline
import os
import time

import torch

ON_GPU = torch.cuda.is_available()  # the switch; False interprets the kernels on the CPU
DEVICE = "cuda" if ON_GPU else "cpu"  # where kernels find their tensors
os.environ["TRITON_INTERPRET"] = "0" if ON_GPU else "1"  # before Triton is imported

import check
import matplotlib.pyplot as plt
import numpy as np

from kernels import philox, reference
from kernels.bench.contenders import plain_step
from minicfg import solvers
from minicfg.schedule import Schedule as TorchSchedule
from tutorial.figures.program import BLUE, CLASS_COLORS, GREEN, GREY, ORANGE, RED
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step22_swap_in import InTorch, box_muller

try:
    import triton
    import triton.language as tl
except ModuleNotFoundError:
    from check.no_triton import tl, triton

    print("No Triton here: the cells that run a kernel will stop and say so.")

torch.set_num_threads(1)
N = 2**21
xt, out, z = torch.randn(1, N), torch.randn(2, N), torch.randn(1, N)
pieces, took = 2 ** np.arange(11, 22), []
for piece in pieces:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        for i in range(0, N, int(piece)):
            plain_step(xt[:, i : i + piece], out[:, i : i + piece], z[:, i : i + piece])
        times.append(time.perf_counter() - began)
    took.append(1e9 * min(times) / N)
plt.figure(figsize=(7, 3), layout="constrained")
plt.loglog(pieces, took, "o-", color=BLUE, base=2)
plt.yscale("log", base=2)
plt.xlabel("elements in a piece")
plt.ylabel("ns per element")
plt.title("one guided step of 2 million elements on this CPU, a piece after the other")
plt.show()

# %% [markdown]
# Every point is the **same arithmetic on the same numbers**, by the same torch operations. **Ask yourself:** why are small pieces slow? And why are large ones?
#
# At the left there are many calls, each with a fixed overhead. At the right, a tensor no longer fits into the processor's cache: every operation fetches its operands from memory, executes one instruction for each element, and writes the result back, from where the next operation fetches it again. A GPU has the same two problems, and a single kernel for the whole step solves both.
#
# ## Count first
#
# Here are the operations of that step, with the drawing of the noise. `w`, `p`, `q`, `a`, `b`, `c` are plain numbers, `xt` and the two halves of the network's output are tensors.
#
# ```python
# d = cond - null        # reads cond and null, writes d: 2 reads, 1 write
# g = cond + w * d       # one operation: torch.add(cond, d, alpha=w)
# u = p * xt
# v = u + q * g          # one operation
# x0hat = clip(v)
# u = a * x0hat
# v = u + b * xt         # one operation
# z = randn()
# xs = v + c * z         # one operation
# ```
#
# **Exercise 9.1** (predict, then measure). Count every read and every write of a tensor. One pass over memory would read `xt`, `cond` and `null`, write `xs`, and make its noise on the way. How many times fewer reads and writes is that?

# %% nbgrader={"grade": false, "grade_id": "ex_9_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
times_fewer = ...
### BEGIN SOLUTION
times_fewer = 22 / 4
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_9_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_9_1(times_fewer)

# %%
nine = {"d": (2, 1), "g": (2, 1), "u = p xt": (1, 1), "v": (2, 1), "clip": (1, 1)}
nine |= {"u = a x0hat": (1, 1), "v = u + b xt": (2, 1), "z": (0, 1), "xs": (2, 1)}
together = tuple(sum(moved) for moved in zip(*nine.values(), strict=True))
bars = nine | {"all nine": together, "one pass": (3, 1)}
reads, writes = np.array(list(bars.values())).T
plt.figure(figsize=(8, 3), layout="constrained")
plt.bar(list(bars), reads, color=BLUE, label="reads")
plt.bar(list(bars), writes, bottom=reads, color=ORANGE, label="writes")
plt.axhline(4 * times_fewer, color=GREY, ls=":", label="4 times your answer")
plt.xticks(rotation=30, ha="right")
plt.ylabel("passes over a tensor")
plt.legend()
plt.show()
print(f"nine operations: {together[0]} reads, {together[1]} writes; one pass: 3 and 1")

# %% [markdown]
# That ratio is all that fusing has to give, whatever the chip. **Ask yourself:** DDIM draws no noise, so the last two operations go. What is its ratio?
#
# ## A kernel, line by line
#
# A kernel describes what **one** of many *programs* does: it takes a piece of `BLOCK` elements, a power of 2, all at once. `program_id` is the number of the piece. All programs of a launch are the *grid*. On a GPU a program is executed by *warps* of 32 threads on one multiprocessor; what it computes is held in the multiprocessor's *registers*, and only loads and stores reach memory. A tensor is passed as a *pointer*, the address where it starts, so `x0 + at` are the addresses of its elements. This kernel computes $x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon$ and records which program wrote each element.


# %%
@triton.jit
def noise_it(x0, eps, xt, who, signal, noise, n, BLOCK: tl.constexpr):
    program = tl.program_id(0)
    at = program * BLOCK + tl.arange(0, BLOCK)  # the places of this program
    inside = at < n  # the mask: the last piece may reach beyond the end
    x = tl.load(x0 + at, mask=inside)
    z = tl.load(eps + at, mask=inside)
    tl.store(xt + at, signal * x + noise * z, mask=inside)
    tl.store(who + at, program, mask=inside)


n, BLOCK, abar = 10, 4, 0.6
x0, eps = torch.randn(n, device=DEVICE), torch.randn(n, device=DEVICE)
who = torch.zeros(n, dtype=torch.int32, device=DEVICE)
jumped = torch.empty_like(x0)
grid = (triton.cdiv(n, BLOCK),)  # as many programs as it takes
noise_it[grid](x0, eps, jumped, who, abar**0.5, (1 - abar) ** 0.5, n, BLOCK=BLOCK)
expected = abar**0.5 * x0 + (1 - abar) ** 0.5 * eps
print("programs:", *grid, "  right:", torch.allclose(jumped, expected))
plt.figure(figsize=(7, 1.8), layout="constrained")
plt.bar(np.arange(12), 1, width=0.9, color="white", edgecolor=GREY, hatch="///")
plt.bar(np.arange(n), 1, width=0.9, color=[(BLUE, ORANGE, GREEN)[i] for i in who.tolist()])
for i, program in enumerate(who.tolist()):
    plt.text(i, 0.5, program, ha="center", va="center", color="white")
plt.text(10.5, 0.5, "2, masked", ha="center", va="center", backgroundcolor="white")
plt.xticks(range(12))
plt.yticks([])
plt.xlabel("place in memory")
plt.title("which program wrote it", fontsize=10)
plt.show()

# %% [markdown]
# ## Sizes that do not fit
#
# **Exercise 9.2** (find the mistake). `out` holds the network's outputs, `n` with the label and after them `n` with the null label. This kernel passed its author's tests, which were of 1024 elements, and it writes out of bounds. There are two mistakes; write `my_mix` without them.
#
# ```python
# def shown(out, g, w, n, BLOCK: tl.constexpr):
#     at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
#     cond = tl.load(out + at)
#     null = tl.load(out + tl.num_programs(0) * BLOCK + at)
#     tl.store(g + at, cond + w * (cond - null))
# ```


# %% nbgrader={"grade": false, "grade_id": "ex_9_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
@triton.jit
def my_mix(out, g, w, n, BLOCK: tl.constexpr):
    ### BEGIN SOLUTION
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    cond = tl.load(out + at, mask=inside)
    null = tl.load(out + n + at, mask=inside)
    tl.store(g + at, cond + w * (cond - null), mask=inside)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_9_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_9_2(my_mix)

# %% [markdown]
# **Predict:** at which sizes is the kernel that was shown right, with `BLOCK = 8`?


# %%
@triton.jit
def shown(out, g, w, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    cond = tl.load(out + at)
    null = tl.load(out + tl.num_programs(0) * BLOCK + at)
    tl.store(g + at, cond + w * (cond - null))


sizes, wrong = range(1, 41), {"shown": [], "yours": []}
for n in sizes:
    given = torch.randn(2 * n + 64, device=DEVICE)
    expected = torch.full((n + 64,), torch.nan, device=DEVICE)
    expected[:n] = given[:n] + 2.0 * (given[:n] - given[n : 2 * n])
    for name, kernel in (("shown", shown), ("yours", my_mix)):
        g = torch.full_like(expected, torch.nan)  # longer than n, so that no other memory is hit
        kernel[(triton.cdiv(n, 8),)](given, g, 2.0, n, BLOCK=8)
        wrong[name].append(int((~torch.isclose(g, expected, equal_nan=True)).sum()))
plt.figure(figsize=(7, 3), layout="constrained")
plt.bar(sizes, wrong["shown"], color=RED, label="shown")
plt.bar(sizes, wrong["yours"], color=BLUE, label="yours")
plt.xlabel("elements")
plt.ylabel("wrong, or out of bounds")
plt.legend()
plt.show()

# %% [markdown]
# ## The whole step in one pass
#
# Every solver of this course is a table of rows `(p, q, a, b, c, d, e, m)`, and a step is
#
#     g     = out_cond + m w (out_cond - out_null)
#     x0hat = clip(p x_t + q g)
#     x_s   = a x0hat + b x_t + d out_null + e x0prev + c z
#
# DDIM adds no noise and uses neither the previous guess (`e`) nor the null output alone (`d`): its `c`, `d` and `e` are 0.
#
# **Exercise 9.3** (write a kernel). Take that step, for rows with `c = d = e = 0`. `row` is a tensor of the eight numbers: inside a kernel a tensor is an address, so `p` is `tl.load(row)` and `q` is `tl.load(row + 1)`, while `row[1]` or unpacking would not do. `clip` may be infinity. `xt` and `out` may be float16: load, turn to `tl.float32`, and let only the store round. `tl.minimum` and `tl.maximum`, or `tl.clamp`, clip.


# %% nbgrader={"grade": false, "grade_id": "ex_9_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
@triton.jit
def my_step(xt, out, xs, row, w, clip, n, BLOCK: tl.constexpr):
    ### BEGIN SOLUTION
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    p, q, a, b = tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)
    m = tl.load(row + 7)
    x = tl.load(xt + at, mask=inside).to(tl.float32)
    cond = tl.load(out + at, mask=inside).to(tl.float32)
    null = tl.load(out + n + at, mask=inside).to(tl.float32)
    g = cond + m * w * (cond - null)
    x0hat = tl.clamp(p * x + q * g, -clip, clip)
    tl.store(xs + at, a * x0hat + b * x, mask=inside)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_9_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_9_3(my_step)

# %% [markdown]
# Your kernel as a sampler: 20 steps of DDIM at `w = 1`, with the oracle of three Gaussians for a network. A kernel is not given a tensor's strides. Its arguments have to be `contiguous()`, otherwise it reads the wrong elements. **Predict:** how far apart will your samples and the reference's be?

# %%
table, w = solvers.ddim(TorchSchedule.linear(100), 20), 1.0
model = InTorch(oracle_eps(three_gaussians(), Schedule.linear(100)))  # NumPy's, for torch
y, ids = torch.arange(300) % 3, torch.arange(300)
yours = theirs = philox.normal(7, ids, 0, (2,)).contiguous()
moved = torch.empty_like(yours, device=DEVICE)


def ask(x, t):
    """Both halves of the network's output at `x`, in the order that the kernel reads."""
    both = model(torch.cat([x, x]), t.expand(600), torch.cat([y, torch.full_like(y, 3)]))
    return both.contiguous()


for k, t in enumerate(table.t):
    n, row = yours.numel(), table.rows[k].float()
    given = [v.to(DEVICE) for v in (yours, ask(yours, t))]
    my_step[(triton.cdiv(n, 256),)](*given, moved, row.to(DEVICE), w, np.inf, n, BLOCK=256)
    yours = moved.cpu()
    theirs, _ = reference.guided_step(
        theirs, ask(theirs, t), table.rows, k, w, seed=7, sample_ids=ids
    )
print("the same samples, to 1e-5:", torch.allclose(yours, theirs, rtol=0, atol=1e-5))
plt.figure(figsize=(4, 3.6), layout="constrained")
for k in range(3):
    plt.scatter(*theirs[y == k].T, s=28, facecolors="none", edgecolors=GREY, lw=0.6)
    plt.scatter(*yours[y == k].T, s=4, color=CLASS_COLORS[k])
plt.title("rings: the reference; dots: your kernel", fontsize=10)
plt.axis("equal")
plt.show()

# %% [markdown]
# ## Noise is a function
#
# A step could read its noise from memory. It is cheaper to make it where it is used. It must not come from a sequential generator, because that generator's output depends on the order of execution, and programs run in any order. So noise here is a function of (seed, sample id, step, place): Philox maps the counter (block, step, sample, stream) and the key (seed) to four 32-bit words, and the method of Box and Muller makes two normals from two words.
#
# **Before you run it:** a batch of samples 0 to 7 is drawn, and then samples 5, 2 and 7 alone, by torch's generator with the same seed and by the course's function. Which rows will you find again?

# %%
all_ids, few = torch.arange(8), torch.tensor([5, 2, 7])
rows = {}
for name in ("torch.randn", "philox.normal"):
    for of in (all_ids, few):
        stream = torch.Generator().manual_seed(7)
        rows[name, len(of)] = (
            torch.randn(len(of), 24, generator=stream)
            if name == "torch.randn"
            else philox.normal(7, of, 1, (24,))
        )
fig, panels = plt.subplots(
    2, 2, figsize=(9, 3.6), layout="constrained", height_ratios=(8, 3), sharex=True
)
for i, of in enumerate((all_ids, few)):
    for ax, name in zip(panels[i], ("torch.randn", "philox.normal"), strict=True):
        ax.imshow(rows[name, len(of)], cmap="RdBu", vmin=-3, vmax=3, aspect="auto")
        ax.set_yticks(range(len(of)), [f"sample {i}" for i in of.tolist()], fontsize=7)
        ax.set_title(f"{name}: {'all' if of is all_ids else 'three of them'}", fontsize=9)
plt.show()

# %% [markdown]
# **Exercise 9.4** (prove by a test). Sitting 8 tested noise that goes by the sample; this one has a step and a seed of 64 bits, too. Write a test that `noise(seed, sample_ids, step, shape)` has to pass, with `assert`. `sample_ids` is a tensor of integers, and what comes back is `(len(sample_ids), *shape)`. It should let `philox.normal` through and stop every function that gets it wrong: that goes by the place in the batch, forgets one of its arguments or half of it, or mixes two of them up. `torch.equal(a, b)` compares. The check tries your test on such functions, and names the first that gets through.


# %% nbgrader={"grade": false, "grade_id": "ex_9_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def noise_test(noise):
    ### BEGIN SOLUTION
    ids = torch.tensor([0, 1, 2, 3])
    z = noise(5, ids, 3, (6,))
    assert torch.equal(noise(5, ids.flip(0), 3, (6,)).flip(0), z)  # not by the place
    for i in range(4):
        assert torch.equal(noise(5, ids[i : i + 1], 3, (6,))[0], z[i])  # nor by the batch
        assert not torch.equal(z[i], z[i - 1])  # each sample its own
    for other in (noise(6, ids, 3, (6,)), noise(5 + 2**32, ids, 3, (6,)), noise(5, ids, 4, (6,))):
        for row in other:
            assert not any(torch.equal(row, old) for old in z)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_9_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_9_4(noise_test)

# %% [markdown]
# From words to normals, by equation 22.1. **Ask yourself:** the words are integers of 32 bits. How far out can a normal then lie?

# %%
words = philox.words_numpy(7, np.arange(100), 1, 250)
u, v = (words[..., :2].reshape(-1, 2).T + 0.5) / 2**32
pair = box_muller(u, v)
grid_ = np.linspace(-4.5, 4.5, 100)
fig, panels = plt.subplots(1, 3, figsize=(10, 2.8), layout="constrained")
panels[0].hist(u, 50, density=True, color=BLUE)
panels[0].set(title="words / 2^32", xlabel="u")
panels[1].hist(pair[0], grid_, density=True, color=ORANGE)
panels[1].plot(grid_, np.exp(-(grid_**2) / 2) / np.sqrt(2 * np.pi), "k--")
panels[1].set(title="one of two normals", xlabel="z")
panels[2].scatter(*pair[:, :4000], s=1, color=GREEN)
panels[2].set(title="both", aspect="equal", xlim=(-5, 5), ylim=(-5, 5))
plt.show()
print(f"largest there can be: {np.sqrt(-2 * np.log(2.0**-33)):.2f}")

# %% [markdown]
# ## The course's kernel is correct
#
# `kernels/triton_step.py` is your kernel with the noise, the other columns and any layout of the network's output. Rungs 3 to 7 of `kernels/ladder/` lead from yours to it. It is compared with the reference in float64. **Predict:** in which dtype is the error largest, and in units of that dtype's own spacing (one ulp)?

# %%
from kernels.triton_step import guided_step

shapes = ((1, 1), (5, 7), (3, 3, 5, 5), (2, 1023), (2, 1024), (2, 1025))
row = torch.tensor([[1.4, -1.0, 0.26, 0.73, 0.37, 0.0, 0.0, 1.0]], dtype=torch.float64)
plt.figure(figsize=(8, 3), layout="constrained")
worst = {}
for j, (dtype, color) in enumerate(
    ((torch.float32, BLUE), (torch.float16, ORANGE), (torch.bfloat16, GREEN))
):
    errors = []
    for B, *D in shapes:
        draw = torch.Generator().manual_seed(B)
        x = torch.randn(B, *D, generator=draw).to(dtype)
        both = torch.randn(2 * B, *D, generator=draw).to(dtype)
        given = [v.to(DEVICE) for v in (x, both, row)]
        ids = torch.arange(B, device=DEVICE)
        got, _ = guided_step(*given, 0, 2.0, seed=7, sample_ids=ids, clip=1.0)
        truth, _ = reference.guided_step(
            x.double(), both.double(), row, 0, 2.0, seed=7, sample_ids=torch.arange(B), clip=1.0
        )
        spacing = torch.finfo(dtype).eps * truth.abs().clamp(min=1)
        errors.append(((got.cpu().double() - truth).abs() / spacing).max().item())
    worst[dtype] = max(errors)
    plt.bar(
        np.arange(len(shapes)) + 0.27 * (j - 1), errors, 0.27, color=color, label=str(dtype)[6:]
    )
plt.xticks(range(len(shapes)), [" x ".join(map(str, s)) for s in shapes])
plt.ylabel("largest error, ulp")
plt.legend()
plt.show()
print("float32 within 17 ulp, its noise's error of 2e-6:", worst[torch.float32] < 17)
print("float16, bfloat16 within one:", max(worst[torch.float16], worst[torch.bfloat16]) <= 1)

# %% [markdown]
# By that measure float32 has the largest error, because its spacing is finer than the noise's accuracy of 2e-6. Interpreted, bfloat16 goes up to 1, because the interpreter truncates to bfloat16; a GPU rounds to the nearest, so it stays near a half.
#
# ## What the compiler made of it
#
# Triton contains the vendors' assemblers, so a kernel can be compiled for a GPU that is not here, and its machine code can be read. NVIDIA's data sheet gives the H100 3.35 TB/s of memory and 33.5e12 float32 instructions per second (67 TFLOP/s, a multiply-add counted as two). Float32 moves 16 bytes per element here. **Predict:** how many instructions per element are free, in the time that memory needs anyway? And how many does a step need?

# %%
from check.compiled import compiled

found = compiled(my_step.fn)
count = np.linspace(1, 260, 200)
plt.figure(figsize=(8, 3.4), layout="constrained")
for nbytes, color, dtype in ((16, BLUE, "float32"), (8, ORANGE, "bfloat16")):
    time_ps = np.maximum(nbytes / 3.35, count / 33.5)
    plt.plot(count, time_ps, color=color, label=f"{dtype}: {nbytes} bytes per element")
    plt.axvline(33.5 * nbytes / 3.35, color=color, ls=":", lw=0.8)
for what, nbytes, key, label, above in (
    ("yours", 16, "instructions", "your kernel", -0.6),
    ("the course's", 16, "without noise", "the course's, c = 0", 0.3),
    ("the course's", 16, "instructions", "with noise", -0.6),
    ("the course's, bfloat16", 8, "instructions", "with noise", -0.6),
):
    x = found[what][key]
    y = max(nbytes / 3.35, x / 33.5)
    plt.plot(x, y, "ko", ms=5)
    plt.text(x, y + above, label, fontsize=8)
plt.ylim(0, 8)
plt.xlabel("instructions per element, counted in code compiled for an H100")
plt.ylabel("ps per element, at best")
plt.legend(loc="lower right", fontsize=8)
plt.show()
for what, report in found.items():
    print(f"{what}: {report['spills']} spills, loads up to {report['widest']} bits wide")

# %% [markdown]
# This is the *roofline* model. On the level part of a line a kernel is *memory-bound*, and its arithmetic is free; on the slope it is *compute-bound*. This is why the course makes its noise by hand: with Triton's own `tl.randn` the listing has three times as many instructions (rung 3 of `kernels/ladder/`). These are counts and data sheets, not a measurement: only a GPU can show what is reached.
#
# ## On a GPU
#
# **Predict** from the last picture: how fast can your kernel be on this GPU, in GB/s, and does `torch.compile` lose against it? Without noise there is nothing to compute but what memory waits for. The next cell asserts first that all ways agree, on any machine. If there is a GPU, it then times each of them with Triton's `do_bench`, and a copy of as many bytes.

# %%
from kernels.bench.run import timed

n, w, clip = (2**24 if ON_GPU else 2**12), 2.0, 1.0
x, both = torch.randn(1, n, device=DEVICE), torch.randn(2, n, device=DEVICE)
row = torch.tensor([[1.4, -1.0, 0.26, 0.73, 0.0, 0.0, 0.0, 1.0]], device=DEVICE)
ids, moved = torch.zeros(1, dtype=torch.int64, device=DEVICE), torch.empty_like(x)


def one_by_one():
    """The step in torch, with the same numbers."""
    cond, null = both.chunk(2)
    x0hat = (1.4 * x - (cond + w * (cond - null))).clamp(-clip, clip)
    return 0.26 * x0hat + 0.73 * x


def yours_timed():
    """Your kernel, 1024 elements per program."""
    my_step[(triton.cdiv(n, 1024),)](x, both, moved, row[0], w, clip, n, BLOCK=1024)
    return moved


def course():
    """The course's kernel."""
    return guided_step(x, both, row, 0, w, seed=0, sample_ids=ids, clip=clip, want_x0=False)[0]


ways = {"operations one by one": one_by_one, "your kernel": yours_timed, "the course's": course}
if ON_GPU:
    ways["torch.compile"] = torch.compile(one_by_one)
for name, way in ways.items():
    assert torch.allclose(way(), one_by_one(), atol=1e-5), name
print("all agree, on", DEVICE)
if ON_GPU:
    copied = torch.empty_like(both)
    ways["a copy of as many bytes"] = lambda: copied.copy_(both)
    for name, way in ways.items():
        ms = timed(way, DEVICE, record=False).median
        print(f"{name}: {1e3 * ms:.0f} us, {16 * n / ms / 1e6:.0f} GB/s of 4 passes")
else:
    print("no GPU here, so nothing is timed: kernels/results/README.md has an H100's times")

# %% [markdown]
# ## You now know
#
# - an elementwise step costs what it moves: nine operations 22 passes, one pass 4 (`kernels/README.md` counts);
# - a kernel describes what one program does to its places, with a mask for those that do not exist (`kernels/ladder/rung1_mix.py`);
# - mix, guess, clip and move fit in one pass for every solver, because each is a row of eight numbers (`kernels/ladder/rung7_look_back.py`);
# - noise that is a function of sample and step needs no memory and no order (`tutorial/step22_swap_in.py`, equation 22.3, and `kernels/philox.py`).
#
# **Try:** the exercises of `kernels/README.md`; write rung 3 of `kernels/ladder/` before you read it: add `c z` to your kernel with `tl.randn(seed, at)`, predict its instructions, and compile it. This is the last sitting: `minicfg/sampling.py` is where the kernel is called, once a step.
