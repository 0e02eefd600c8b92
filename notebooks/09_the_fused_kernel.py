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
# # 9. The fused kernel: the first rungs of a ladder
#
# **The question.** A network's output has to be mixed, turned into a guess, clipped and combined with $x_t$, at each of the steps. These are nine operations on large tensors. How long must they take, and can one program do all of them in the time of a copy?
#
# **After this sitting you can** count what a computation moves through memory and predict from that how fast it can be, write a Triton kernel for a whole guided step and one that makes its own noise, test them at sizes that do not fit, and explain why the noise is counter-based and not from a sequential generator.
#
# Without a GPU, Triton's interpreter runs kernels on the CPU, one program after the other, from the same source. It is slow, and gives the same numbers up to rounding. With a GPU the same cells and checks run compiled, and the last section times your kernels. The switch is `ON_GPU` in the next cell; `minicfg doctor` prints what your machine can do. You need sitting 6. Plan 95 minutes, with less than two minutes of computing. The course's kernel grows out of five lines on eight *rungs*, one page each in `kernels/ladder/`: you write the first three here, and sitting 12 has the others. `kernels/README.md` is the map. Triton exists for Linux only; elsewhere the cells that run a kernel print that, and all others run. On a hosted machine that has torch already: clone the repository, `pip install -e . -c constraints.txt --no-deps`, and restart the kernel.

# %% alt="The time per element over the number of elements in a piece, both on logarithmic scales. The curve is a valley: about 115 ns for pieces of 2,048 elements, a minimum of about 23 ns at 65,536, and again about 115 ns for one piece of 2 million elements."
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
from kernels.ladder import pictures
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
# Each point is the **same arithmetic on the same numbers**, by the same torch operations. A tensor was cut into pieces, and the step was computed piece by piece. **Ask yourself:** why are small pieces slow? And why are large ones?
#
# <details><summary>Answer</summary>
#
# At the left there are many calls, each with a fixed overhead. At the right a tensor no longer fits into the processor's cache, the small and fast memory next to its arithmetic units. Each operation then reads its operands from the main memory, executes one or two instructions per element, and writes the result back. The next operation reads it again. A GPU has the same two problems. A single kernel for the whole step solves both.
#
# </details>
#
# ## Count first
#
# These are the operations of the step, with the drawing of the noise. `w`, `p`, `q`, `a`, `b`, `c` are plain numbers; `xt` and the two halves of the network's output are tensors.
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
# The first line reads `cond` and `null` and writes `d`, which are three *passes* over a tensor.
#
# **Exercise 9.1** (predict, then measure). Count all reads and writes of tensors in the nine operations. A single kernel would read `xt`, `cond` and `null`, write `xs`, and make its noise on the way: 4 passes. How many times fewer is that?

# %% nbgrader={"grade": false, "grade_id": "ex_9_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
times_fewer = ...
### BEGIN SOLUTION
times_fewer = 22 / 4
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_9_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_9_1(times_fewer)

# %% alt="Stacked bars of reads and writes, in passes over a tensor. Each of the nine operations has one to three passes. All nine together have 22, of which 13 are reads, and reach the dotted line of your answer; one pass over all has 3 reads and 1 write."
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
# If the memory traffic alone decides about the time, the single kernel is 5.5 times as fast, on any chip. **Ask yourself:** DDIM draws no noise, so the last two operations are left out. What is its ratio?
#
# <details><summary>Answer</summary>
#
# `z = randn()` is one write, and `xs = v + c * z` is two reads and one write: 4 passes in all. $22 - 4 = 18$ passes remain. The single kernel still makes 4, because it never read the noise. The ratio is $18 / 4 = 4.5$.
#
# </details>
#
# ## Rung 1: what a kernel is
#
# GPUs execute a function many times at once, each time on another part of the data. That function is the *kernel*. The words:
#
# | word | meaning |
# |---|---|
# | program | one execution of the kernel, on `BLOCK` elements at once; `BLOCK` is a power of 2. In CUDA: thread block |
# | grid | all programs of a launch; `tl.program_id(0)` is the number of the program |
# | pointer | the address where a tensor starts. A kernel gets tensors as pointers, so `x0 + at` are addresses of elements |
# | mask | which of the `BLOCK` places exist; `tl.load` and `tl.store` access only those |
# | register | storage inside the chip for values between a load and a store |
# | warp | 32 threads that execute the same instruction; a program has a few warps |
#
# Programs run in any order, so none may use what another one has written. Here is a complete kernel. It computes $x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon$ and records which program wrote each element. With 10 elements and a `BLOCK` of 4 it takes $\lceil 10 / 4 \rceil = 3$ programs; the third has two places too many.


# %% alt="A row of twelve places in memory, each with the number of the program that wrote it. Program 0 wrote places 0 to 3, program 1 places 4 to 7, and program 2 places 8 and 9. Places 10 and 11 are hatched, because they are masked in program 2."
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
# Guidance has the same form, except that it reads two halves. `out` contains the outputs of the network: `n` with the label, and behind them `n` with the null label. The picture shows which addresses each program reads.

# %% alt="A drawing of memory in the colours of three programs. Above are the 10 elements of g: four each for programs 0 and 1, and two for program 2, whose other two places are masked. Below are the 20 elements of out: each program reads its places in the conditional half and the same places in the null half."
pictures.programs()

# %% [markdown]
# **Exercise 9.2** (find the mistake). The following kernel passed its author's tests, which used tensors of 1024 elements. At other sizes it writes out of bounds and its results are wrong. It has two mistakes. Write `my_mix` without them.
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


# %% alt="Bars of the number of elements that are wrong or out of bounds, for tensors of 1 to 40 elements. For the kernel that was shown the bars rise in steps of eight sizes, from 8 to 40, with gaps at 8, 16, 24, 32 and 40 elements. Your kernel has no bars."
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
# <details><summary>Answer</summary>
#
# At multiples of 8 only, where the number of programs times `BLOCK` is `n` and all places exist. So a test at 1024 elements finds neither mistake. Sizes for a test are 1, a number below `BLOCK`, and one that `BLOCK` does not divide.
#
# </details>
#
# ## Rung 2: the whole step in one pass
#
# Sitting 6 wrote all solvers as tables with rows `(p, q, a, b, c, d, e, m)`. A step is
#
# $$ g = g_y + m w (g_y - g_\phi) $$
# $$ \hat x_0 = \text{clip}(p \, x_t + q \, g) $$
# $$ x_s = a \hat x_0 + b x_t + d g_\phi + e \hat x_0' + c z $$
#
# DDIM has $c = d = e = 0$. In a kernel, `g` and `x0hat` are held in registers between two lines and never reach memory. That is all that *fusing* means: the same operations, but 3 reads and 1 write.
#
# **Exercise 9.3** (write a kernel). Write this step for rows with `c = d = e = 0`.
#
# - `row` is a tensor with the eight numbers. Inside a kernel it is a pointer, so `p` is `tl.load(row)`, `q` is `tl.load(row + 1)`, and `m` is `tl.load(row + 7)`. `row[1]` and unpacking do not work.
# - `xt` and `out` can be float16. Convert with `.to(tl.float32)` after loading, and let the store round. In float16 the difference of two outputs alone can be rounded or overflow.
# - `clip` can be infinity. `tl.clamp(x, low, high)` clips.


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
# Your kernel as a sampler: 20 steps of DDIM at `w = 1`. The oracle of three Gaussians replaces the network. A kernel gets no strides. Its arguments have to be `contiguous()`, otherwise it reads the wrong elements. **Predict:** how far apart are your samples and those of the reference?

# %% alt="A scatter plot of 300 samples in three separate clouds, one per class. The samples of the reference are rings and those of your kernel are dots, and there is a dot in the middle of every ring."
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
# <details><summary>Answer</summary>
#
# By rounding only: both compute in float32, in another order of operations.
#
# </details>
#
# *This is about half of the sitting, and a place for a break. When you come back, run the cells above again.*
#
# ## Rung 3: noise without memory
#
# An ancestral step adds $c z$ with a standard normal $z$. Reading it from memory would be a fifth pass. Can the kernel make it? A usual generator has a state: each number changes it, and the next number depends on it. Programs that run in any order cannot pass a state on. So the noise has to be a *function*. Philox maps a counter (four integers) and a key (the seed) to four random 32-bit words, by ten rounds of multiplications and exclusive ors. Equal counters give equal words, and different ones give words that behave like independent ones. Two words $w_1, w_2$ give uniforms and then two normals, by the method of Box and Muller:
#
# $$ u = (w_1 + \tfrac12) / 2^{32} \qquad v = (w_2 + \tfrac12) / 2^{32} $$
# $$ z_0 = \sqrt{-2 \log u} \, \cos(2 \pi v) \qquad z_1 = \sqrt{-2 \log u} \, \sin(2 \pi v) $$
#
# For example, $u = 0.5$ and $v = 0$ give $z_0 = \sqrt{2 \cdot 0.693} = 1.18$ and $z_1 = 0$. The picture shows the counter of one block of four elements in this course, and what it becomes. **Ask yourself:** how large can a normal become in this way?

# %% alt="A diagram with four levels. The counter of block 2, step 3, sample 5 and stream 0 enters Philox4x32-10 with the key 7, which returns four random words. Each pair of words gives two normals, r cos and r sin, which are the elements 8 to 11 of the noise."
pictures.noise()

# %% alt="Left: the histogram of the words divided by 2 to the power 32 is flat from 0 to 1. Middle: the histogram of one normal follows the dashed curve of the standard normal. Right: pairs of normals form a round cloud around the origin."
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
# <details><summary>Answer</summary>
#
# The smallest $u$ is $2^{-33}$, from the word 0. So no normal exceeds $\sqrt{-2 \log 2^{-33}} = 6.76$. A standard normal exceeds it with a probability of about $10^{-11}$.
#
# </details>
#
# In Triton, `tl.randn(seed, counter)` returns one normal per entry of `counter`.
#
# **Exercise 9.4** (write a kernel). Extend your step by $c z$; `c` is the number 4 of the row, `tl.load(row + 4)`. All tensors are float32. Each element needs its own noise: which counter is different for all elements of all programs? (The check accepts every such counter.)


# %% nbgrader={"grade": false, "grade_id": "ex_9_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
@triton.jit
def my_noise_step(xt, out, xs, row, w, clip, seed, n, BLOCK: tl.constexpr):
    ### BEGIN SOLUTION
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    p, q, a, b = tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)
    c, m = tl.load(row + 4), tl.load(row + 7)
    x = tl.load(xt + at, mask=inside)
    cond = tl.load(out + at, mask=inside)
    null = tl.load(out + n + at, mask=inside)
    g = cond + m * w * (cond - null)
    x0hat = tl.clamp(p * x + q * g, -clip, clip)
    y = a * x0hat + b * x + c * tl.randn(seed, at)
    tl.store(xs + at, y, mask=inside)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_9_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_9_4(my_noise_step)

# %% [markdown]
# A row with `c = 1` and all other numbers 0 makes your kernel a generator of noise. **Predict:** what would the left picture show, if the counter were the place within the program?

# %% alt="Left: 64 x 64 values of your noise as a map of red and blue pixels, without visible stripes or repetition. Right: their histogram follows the dashed curve of the standard normal."
n = 64 * 64
only_noise = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], device=DEVICE)
nothing, made = torch.zeros(2 * n, device=DEVICE), torch.empty(n, device=DEVICE)
grid = (triton.cdiv(n, 512),)
my_noise_step[grid](nothing[:n], nothing, made, only_noise, 1.0, 1.0, 7, n, BLOCK=512)
made = made.cpu()
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
left.imshow(made.view(64, 64), cmap="RdBu", vmin=-3, vmax=3)
left.set_title("your noise, 64 x 64, from 8 programs", fontsize=10)
right.hist(made.numpy(), 40, density=True, color=BLUE)
right.plot(grid_, np.exp(-(grid_**2) / 2) / np.sqrt(2 * np.pi), "k--", label="standard normal")
right.set_xlabel("z")
right.legend(fontsize=8)
plt.show()
print("no value occurs twice:", len(made.unique()) == n)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Each program would draw the same 512 numbers, so the picture would consist of eight equal stripes of eight lines. The histogram would look as good as now: a histogram does not test independence.
#
# </details>
#
# ## What is wrong with this noise
#
# It depends on the place in the batch. If sample 5 is drawn alone, it gets the noise that belongs to sample 0, and another picture. The course's kernel (from rung 5 on) uses a counter of the block of four elements, the step and the number of the sample. **Before you run it:** samples 0 to 7 are drawn in one batch, and then samples 5, 2 and 7 alone, by torch's generator with the same seed and by the course's function. Which rows occur again?

# %% alt="Four maps of noise with one row of 24 numbers per sample: above samples 0 to 7, below samples 5, 2 and 7 alone. With torch.randn the rows of samples 5 and 2 below are those of samples 0 and 1 above. With philox.normal the rows of samples 5, 2 and 7 are the same above and below."
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
# <details><summary>Answer</summary>
#
# With torch's generator the rows of samples 0 and 1, and part of that of sample 2, occur again, but as the noise of samples 5, 2 and 7: the numbers belong to the place in the batch. With the course's function the row of sample 5 is the same in both batches, and so are those of 2 and 7.
#
# </details>
#
# **Exercise 9.5** (prove by a test). Sitting 8 tested noise as a function of seed and sample; here there are a step and a seed of 64 bits, too. Write a test, with `assert`, of a function `noise(seed, sample_ids, step, shape)`. `sample_ids` is a tensor of integers, and the result has the shape `(len(sample_ids), *shape)`. Your test should pass for `philox.normal`, and fail for all functions that depend on the place in the batch, ignore one of the arguments or half of it, or confuse two of them. `torch.equal(a, b)` compares two tensors. The check tries your test on seven such functions, and names the first for which it passes.


# %% nbgrader={"grade": false, "grade_id": "ex_9_5", "locked": false, "schema_version": 3, "solution": true, "task": false}
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


# %% nbgrader={"grade": true, "grade_id": "check_9_5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_9_5(noise_test)

# %% [markdown]
# ## What the compiler made of it
#
# Noise costs no memory, but instructions. Are they free? NVIDIA's data sheet gives an H100 a memory bandwidth of 3.35 TB/s, and 67 TFLOP/s in float32, where a multiply-add counts as two: $33.5 \cdot 10^{12}$ instructions per second. A step moves 4 tensors of float32, or 16 bytes per element:
#
# $$ \text{time of the memory} = 16 / (3.35 \cdot 10^{12}) = 4.8 \text{ ps per element} $$
# $$ \text{instructions in that time} = 4.8 \cdot 10^{-12} \cdot 33.5 \cdot 10^{12} = 160 $$
#
# With fewer instructions the kernel is *memory-bound*: arithmetic is free. With more it is *compute-bound*. The larger of the two times is a lower bound, because some kinds of instructions are slower than others (`kernels/ladder/rung3_noise.py`). Drawn over the number of instructions, it is a form of the *roofline*.
#
# Triton contains the vendors' assemblers, so a kernel can be compiled for a GPU that is not here, and its machine code can be read. **Predict:** how many instructions per element do your step and your step with noise need? In bfloat16 a step moves half of the bytes: how many instructions are free then?

# %% alt="Left: bars of instructions per element: at most 14 for kernels without noise, 130 and about 54 more in slow paths for 9.4 and rung 3, and about 50 from rung 5 on. Right: the roofline, flat up to 160 instructions in float32 and 80 in bfloat16; only 9.4 in bfloat16 lies on the rising part."
from check.compiled import compiled

found = compiled(my_step.fn, my_noise_step.fn)
names = {"my_step": "9.3, yours", "my_noise_step": "9.4, yours"}
names |= {key: key for key in found if key.startswith("rung") and "bfloat16" not in key}
listing = np.array([found[key]["instructions"] for key in names])
executed = np.array([found[key]["executed"] for key in names])
count = np.linspace(1, 260, 200)
fig, (left, right) = plt.subplots(1, 2, figsize=(12, 3.4), layout="constrained")
left.bar(list(names.values()), executed, color=BLUE, label="executed")
left.bar(list(names.values()), listing - executed, bottom=executed, color=GREY, label="slow paths")
left.axhline(160, color=BLUE, ls=":", label="free in float32")
left.axhline(80, color=ORANGE, ls=":", label="free in bfloat16")
left.set_ylabel("instructions per element")
left.set_ylim(0, 260)
left.tick_params("x", rotation=40)
left.legend(fontsize=8)
for nbytes, color, dtype in ((16, BLUE, "float32"), (8, ORANGE, "bfloat16")):
    time_ps = np.maximum(nbytes / 3.35, count / 33.5)
    right.plot(count, time_ps, color=color, label=f"{dtype}: {nbytes} bytes per element")
    right.axvline(33.5 * nbytes / 3.35, color=color, ls=":", lw=0.8)
for key, label in (("my_step", "9.3"), ("my_noise_step", "9.4"), ("rung 5", "rung 5")):
    x = found[key]["executed"]
    for nbytes in (16, 8):
        y = max(nbytes / 3.35, x / 33.5)
        right.plot(x, y, "ko", ms=4)
        right.text(x, y + 0.25, label, fontsize=8)
right.set(ylim=(0, 8), xlabel="instructions per element", ylabel="ps per element, at best")
right.legend(loc="upper left", fontsize=8)
plt.show()
for key, label in names.items():
    print(f"{label:10}: {found[key]['registers']} registers, {found[key]['spills']} spills")

# %% [markdown]
# <details><summary>Answer</summary>
#
# The step needs about 14 instructions, far fewer than 160. With noise about 130 are executed: just free in float32, and not in bfloat16, where 80 are free. The listing has 54 more per element. They are a slow path of the cosine for large angles, which is never taken here; but it needs an array that does not fit into registers, so there are *spills*: values that are written to memory and read again.
#
# </details>
#
# The next rungs remove this. Rung 4 uses all four words of a Philox call for four neighbouring elements: a quarter of the multiplications. Rung 5 replaces logarithm, root, sine and cosine by polynomials for exactly these arguments: no slow path, no spills, 51 instructions. Rung 6 gives each sample its own weight and number, by two-dimensional *tiles*: a program takes a few samples by a few hundred elements and loads what belongs to a sample once per row.

# %% alt="Two drawings of tiles, with elements across and samples down. Left: with 192 elements per sample each program has four samples and 256 places, and the places beyond element 192 and beyond the tenth sample are hatched. Right: with 16,384 elements each program has 1,024 elements of one sample."
pictures.tiles()

# %% [markdown]
# Rung 7 adds the terms with `d` and `e` at no cost for solvers without them, and rung 8 is the kernel that `minicfg` runs: 64-bit addresses, other memory layouts, and rows that the GPU reads itself. All of them make the noise of `philox.normal`.
#
# ## The course's kernel is correct
#
# It is compared with the reference in float64, at sizes that do not fit. The unit is the *ulp*, the distance of two neighbouring numbers of a type: $2^{-23}$ for float32 near 1, $2^{-10}$ for float16, $2^{-7}$ for bfloat16. **Predict:** in which type is the error largest, in units of the ulp of this type?

# %% alt="Bars of the largest error in ulp for six tensor shapes and three types. The error of float32 is the largest for every shape, between 0.8 and 2.4. That of float16 is below 0.5, and that of bfloat16 below 1."
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
# <details><summary>Answer</summary>
#
# In float32: its ulp, $1.2 \cdot 10^{-7}$, is smaller than the error of the noise, which is below $2 \cdot 10^{-6}$ or 17 ulp; here it is below 3. In the types of 16 bits only the rounding of the result remains, at most one ulp. (Interpreted, bfloat16 comes close to 1, because the interpreter truncates; a GPU rounds to the nearest, so there it is about a half.)
#
# </details>
#
# ## On a GPU
#
# Counts and data sheets are a prediction. Only a GPU shows what is reached. **Predict** from the roofline: how fast can your kernel of 9.3 be, in GB/s, and does `torch.compile` lose against it? The next cell first asserts that all ways agree, on any machine. If there is a GPU, it then times each of them with Triton's `do_bench`, and a copy of as many bytes.

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
# <details><summary>Answer</summary>
#
# Without noise both are memory-bound, so both can reach the speed of the copy, and neither loses. On an H100 the course's kernel reached 95 to 103 % of the bandwidth of a copy for tensors of 64 MiB and more, 5.5 to 6.2 times the speed of the nine operations (`kernels/results/README.md`). The count allows 5.5 if both move their bytes equally fast. Eight of the nine operations do: with given noise they move 21 passes, and take 4.8 to 5.4 times as long as the kernel with its 4. The ninth is the drawing of $z$, which takes longer than its bytes. For 256 MiB in bfloat16 it takes 312 us, and the bytes take 80 by the data sheet. This is why the ratio can exceed 5.5.
#
# </details>

# %% [markdown]
# ## You now know
#
# - an elementwise step takes the time of what it moves: the nine operations 22 passes, one kernel 4 (`kernels/README.md` counts);
# - a kernel describes what one program does to its places, with a mask for those that do not exist (`kernels/ladder/rung1_mix.py`);
# - mix, guess, clip and move fit into one pass for every solver, because each is a row of eight numbers (`kernels/ladder/rung2_step.py`);
# - noise is a function of a counter and a key, needs no memory and no order, and its instructions are free up to a limit (`kernels/ladder/rung3_noise.py`; `tutorial/step22_swap_in.py`, equations 22.1 to 22.3).
#
# ## Five questions
#
# 1. Why is a kernel with 14 instructions per element no faster than one with 50?
# 2. Why can an `if` not replace a mask?
# 3. Which sizes should a test of a kernel have?
# 4. Why is the noise not drawn by a sequential generator?
# 5. Four passes of float16 are 8 bytes per element. How many instructions are free on a GPU with 2 TB/s and $20 \cdot 10^{12}$ instructions per second?
#
# <details><summary>Answers</summary>
#
# 1. Both are memory-bound: their time is that of the bytes that they move.
# 2. The comparison has one result per place, and a program takes one path for all of its places.
# 3. One element, fewer than `BLOCK`, multiples of it, and sizes between.
# 4. Its numbers depend on the order of the calls, and programs run in any order. A function of (seed, sample, step, place) does not.
# 5. The memory takes $8 / (2 \cdot 10^{12})$ s $= 4$ ps per element, and in 4 ps the GPU executes $4 \cdot 10^{-12} \cdot 20 \cdot 10^{12} = 80$ instructions.
#
# </details>
#
# **Try:** rung 4 of `kernels/ladder/` before you read it: replace `tl.randn` in your kernel by `tl.randn4x`, and compile it. Then the exercises of `kernels/README.md`. Sitting 12 goes on with rungs 4 to 8 and with the tests of a kernel. `minicfg/sampling.py` is where the kernel is called, once per step.
