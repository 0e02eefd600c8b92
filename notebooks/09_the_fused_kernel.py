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
# **After this sitting you can** count what a computation moves through memory and say from that how fast it can be, write a Triton kernel that takes a whole guided step in one pass, hold it against a reference at sizes that do not fit, and say why its noise is a function and no stream.
#
# No GPU: Triton's interpreter runs kernels on the CPU, one program after the other, on the same source. It is slow, and it is right. A minute of computing, about 60 minutes with the exercises. Read `kernels/README.md`, `kernels/reference.py` and `kernels/triton_step.py` beside it, and `tutorial/step22_swap_in.py` for the noise. Triton comes for Linux only; elsewhere the cells that run a kernel say so, and all others run. On a hosted machine that has torch already: clone the repository, `pip install -e . -c constraints.txt --no-deps`, and restart the kernel.

# %%
# %matplotlib inline
import os
import time

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported; on a GPU, leave this line out

import check
import matplotlib.pyplot as plt
import numpy as np
import torch

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
plt.ylabel("ns an element")
plt.title("one guided step of 2 million elements on this CPU, a piece after the other")
plt.show()

# %% [markdown]
# Every point is the **same arithmetic on the same numbers**, by the same torch operations. **Ask yourself:** why are small pieces slow? And why are large ones?
#
# At the left there are many calls, each with its price. At the right, a tensor no longer fits into the processor's cache: every operation fetches its operands from memory, does one instruction's worth of work on each, and carries the result back, where the next one finds it again. A GPU has the same two troubles, and a kernel of your own is the cure for both.
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
# A kernel is what **one** of many programs does: take a piece of `BLOCK` elements, a power of 2, all at once. Which piece, it asks by `program_id`. A tensor is the address where it starts, so `x0 + at` are the addresses of its elements. This one takes notebook 1's jump, and notes who wrote what.


# %%
@triton.jit
def noise_it(x0, eps, xt, who, signal, noise, n, BLOCK: tl.constexpr):
    program = tl.program_id(0)
    at = program * BLOCK + tl.arange(0, BLOCK)  # my places
    inside = at < n  # the last piece may stick out
    x = tl.load(x0 + at, mask=inside)
    z = tl.load(eps + at, mask=inside)
    tl.store(xt + at, signal * x + noise * z, mask=inside)
    tl.store(who + at, program, mask=inside)


n, BLOCK, abar = 10, 4, 0.6
x0, eps, who = torch.randn(n), torch.randn(n), torch.zeros(n, dtype=torch.int32)
jumped = torch.empty(n)
grid = (triton.cdiv(n, BLOCK),)  # as many programs as it takes
noise_it[grid](x0, eps, jumped, who, abar**0.5, (1 - abar) ** 0.5, n, BLOCK=BLOCK)
expected = abar**0.5 * x0 + (1 - abar) ** 0.5 * eps
print("programs:", *grid, "  right:", torch.allclose(jumped, expected))
plt.figure(figsize=(7, 1.8), layout="constrained")
plt.bar(np.arange(12), 1, width=0.9, color="white", edgecolor=GREY, hatch="///")
plt.bar(np.arange(n), 1, width=0.9, color=[(BLUE, ORANGE, GREEN)[i] for i in who])
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
# **Exercise 9.2** (find the mistake). `out` holds the network's answers, `n` with the label and right behind them `n` with the null label. This kernel passed its author's tests, which were of 1024 elements, and it spoils its neighbours' memory. There are two mistakes; write `my_mix` without them.
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
    given = torch.randn(2 * n + 64)
    expected = torch.full((n + 64,), torch.nan)
    expected[:n] = given[:n] + 2.0 * (given[:n] - given[n : 2 * n])
    for name, kernel in (("shown", shown), ("yours", my_mix)):
        g = torch.full((n + 64,), torch.nan)  # longer than it has to be: nobody is harmed
        kernel[(triton.cdiv(n, 8),)](given, g, 2.0, n, BLOCK=8)
        wrong[name].append(int((~torch.isclose(g, expected, equal_nan=True)).sum()))
plt.figure(figsize=(7, 3), layout="constrained")
plt.bar(sizes, wrong["shown"], color=RED, label="shown")
plt.bar(sizes, wrong["yours"], color=BLUE, label="yours")
plt.xlabel("elements")
plt.ylabel("wrong, or not ours")
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
# DDIM draws no noise and neither looks back nor renoises: its `c`, `d` and `e` are 0.
#
# **Exercise 9.3** (write a kernel). Take that step, for rows with `c = d = e = 0`. `row` is where the eight numbers stand, one behind the other: inside a kernel a tensor is an address, so `p` is `tl.load(row)` and `q` is `tl.load(row + 1)`, while `row[1]` or unpacking would not do. `clip` may be infinity. `xt` and `out` may be float16: load, turn to `tl.float32`, and let only the store round. `tl.minimum` and `tl.maximum`, or `tl.clamp`, clip.


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
# Your kernel as a sampler: 20 steps of DDIM at `w = 1`, with the oracle of three Gaussians for a network. A kernel reads memory, and knows nothing of a tensor's strides: what it is handed has to be `contiguous()`, or it takes the gaps for numbers. **Predict:** how far apart will your samples and the reference's be?

# %%
table, w = solvers.ddim(TorchSchedule.linear(100), 20), 1.0
model = InTorch(oracle_eps(three_gaussians(), Schedule.linear(100)))  # NumPy's, for torch
y, ids = torch.arange(300) % 3, torch.arange(300)
yours = theirs = philox.normal(7, ids, 0, (2,)).contiguous()
moved = torch.empty_like(yours)


def ask(x, t):
    """Both halves of what the network says of `x`, in the order that the kernel reads."""
    both = model(torch.cat([x, x]), t.expand(600), torch.cat([y, torch.full_like(y, 3)]))
    return both.contiguous()


for k, t in enumerate(table.t):
    n, row = yours.numel(), table.rows[k].float()
    my_step[(triton.cdiv(n, 256),)](yours, ask(yours, t), moved, row, w, np.inf, n, BLOCK=256)
    yours = moved.clone()
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
# A step with noise could read it from memory. It is cheaper to make it where it is used, and then it must not come from a stream, which hands out numbers to whoever comes first: programs come in any order. So noise here is a function of (seed, sample id, step, place): the words are enciphered by Philox, and two words make two normals by Box and Muller.
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
# ## The course's kernel is right
#
# `kernels/triton_step.py` is your kernel with the noise, the other columns and any layout of the network's output. The reference in float64 is the truth. **Predict:** in which dtype is the error largest, and in units of that dtype's own spacing (one ulp)?

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
        same = {"seed": 7, "sample_ids": torch.arange(B), "clip": 1.0}
        got, _ = guided_step(x, both, row, 0, 2.0, **same)
        truth, _ = reference.guided_step(x.double(), both.double(), row, 0, 2.0, **same)
        spacing = torch.finfo(dtype).eps * truth.abs().clamp(min=1)
        errors.append(((got.double() - truth).abs() / spacing).max().item())
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
# Float32 is furthest off by that measure, since its spacing is finer than the noise is exact; bfloat16 goes up to 1 because the interpreter cuts where a GPU rounds.
#
# ## What the compiler made of it
#
# Triton brings its assemblers along, so a kernel can be compiled for a chip that is not here, and its machine code read. NVIDIA's data sheet gives the H100 3.35 TB/s of memory and 33.5 T float32 instructions a second (67 TFLOP/s, a multiply-add counted as two). Float32 moves 16 bytes an element here. **Predict:** how many instructions an element are free, in the time that memory needs anyway? And how many does a step take?

# %%
from check.compiled import compiled

found = compiled(my_step.fn)
count = np.linspace(1, 260, 200)
plt.figure(figsize=(8, 3.4), layout="constrained")
for nbytes, color, dtype in ((16, BLUE, "float32"), (8, ORANGE, "bfloat16")):
    time_ps = np.maximum(nbytes / 3.35, count / 33.5)
    plt.plot(count, time_ps, color=color, label=f"{dtype}: {nbytes} bytes an element")
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
plt.xlabel("instructions an element, counted in code compiled for an H100")
plt.ylabel("ps an element, at best")
plt.legend(loc="lower right", fontsize=8)
plt.show()
for what, report in found.items():
    print(f"{what}: {report['spills']} spills, loads up to {report['widest']} bits wide")

# %% [markdown]
# What lies on a level line waits for memory, and its arithmetic is free; what lies on the slope does not. This is why the course makes its noise by hand: with Triton's own `tl.randn` the step takes three times as many instructions (`kernels/README.md`, exercise 3). These are counts and data sheets, and no measurement: what is really reached, only a GPU can say.
#
# **On a GPU** the same source runs compiled: leave out the line with `TRITON_INTERPRET`, put the tensors on `device="cuda"`, and take `BLOCK=1024` (the checks above stay with the interpreter). Programs then run at once and in any order, and a store without a mask is no longer harmless. `python -m kernels.bench` times it against the nine operations.

# %% [markdown]
# ## You now know
#
# - an elementwise step costs what it moves: nine operations 22 passes, one pass 4 (`kernels/reference.py` counts);
# - a kernel is what one program does to its places, with a mask for those that do not exist (`kernels/triton_step.py`, the function `places`);
# - mix, guess, clip and move fit in one pass for every solver, since each is a row of eight numbers (`minicfg/solvers.py`);
# - noise that is a function of who and when needs no memory and no order (`tutorial/step22_swap_in.py`, equation 22.3, and `kernels/philox.py`).
#
# **Try:** the exercises of `kernels/README.md`; add `c z` to your kernel with `tl.randn(seed, at)`, and compile that. This is the last sitting: `minicfg/sampling.py` is where the kernel is called, once a step.
