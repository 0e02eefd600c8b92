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
# # 12. The whole kernel: rungs 4 to 8
#
# **The question.** Sitting 9 ended with a kernel that makes its own noise. It executes 130 instructions per element. Its noise depends on the place in the batch, and one weight applies to all samples. It counts elements in 32 bits, so its addresses overflow from $2^{31}$ on. What is missing before a sampler can call it? And how do you find out whether it reads or writes where it must not?
#
# **After this sitting you can** predict what one Philox call for four elements saves, reduce an angle to the short interval of a polynomial, write a kernel with tiles of samples by elements and a mask in both directions, explain what is decided when a kernel is compiled and what when it runs, compute at which size an address overflows, and write a test that notices accesses out of bounds, reads included.
#
# You need sitting 9, and 105 minutes with the exercises. The computing takes less than a minute. As in sitting 9, kernels run in Triton's interpreter if there is no GPU, and compiled if there is one; the switch is `ON_GPU` in the next cell. Triton exists for Linux only; elsewhere the cells that run or compile a kernel stop and print that, and so do not give the numbers that some later cells need. The rungs are `kernels/ladder/rung4_four_from_one.py` to `rung7_look_back.py`, and rung 8 is `kernels/triton_step.py`.

# %%
# %matplotlib inline
import json
import os
from pathlib import Path

import torch

ON_GPU = torch.cuda.is_available()  # the switch; False interprets the kernels on the CPU
DEVICE = "cuda" if ON_GPU else "cpu"  # where kernels find their tensors
os.environ["TRITON_INTERPRET"] = "0" if ON_GPU else "1"  # before Triton is imported

import check
import matplotlib.pyplot as plt
import numpy as np

from kernels import philox
from kernels.ladder import pictures
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, PURPLE, RED

try:
    import triton
    import triton.language as tl

    from kernels.triton_normals import normals
except ModuleNotFoundError:
    from check.no_triton import tl, triton

    print("No Triton here: the cells that run a kernel will stop and say so.")

torch.set_num_threads(1)

# %% alt="Two horizontal bars of instructions per element in code for an H100. Rung 3 executes 130 and lists 54 more in slow paths. Rung 8 executes 52 and has no slow path. Four dotted lines mark the instructions that are free: 56 and 80 in bfloat16 on an H200 and an H100, 112 and 160 in float32."
from check.compiled import compiled

counts = compiled(others=("rung 3", "rung 8"))
fig, ax = plt.subplots(figsize=(9, 2.4), layout="constrained")
for i, (name, found) in enumerate(counts.items()):
    slow = found["instructions"] - found["executed"]
    ax.barh(i, found["executed"], color=BLUE, label="executed" if i == 0 else None)
    ax.barh(i, slow, left=found["executed"], color=GREY, label="slow paths" if i == 0 else None)
    print(f"{name}: {found['executed']:.1f} executed, {found['spills']} spills")
free_on = {"H100, float32": 160, "H200, float32": 112, "H100, bfloat16": 80, "H200, bfloat16": 56}
for label, free in free_on.items():
    ax.axvline(free, color=ORANGE, ls=":")
    ax.text(free + 1, 0.5, label, color=ORANGE, va="center", fontsize=8)
ax.set_yticks((0, 1), list(counts))
ax.set_xlabel("instructions per element, in code for an H100; dotted lines: free instructions")
ax.set_xlim(0, 215)
ax.legend(loc="upper right", fontsize=8)
plt.show()

# %% [markdown]
# The two bars are counted in machine code for an H100, in float32. The *listing* is this code as text, one instruction per line. Rung 3 is the kernel with which sitting 9 ended, and rung 8 the one with which this sitting ends. A *slow path* is code that is in the listing but is never executed here. A *spill* is an access to memory for what cannot be held in registers. Rung 5 explains where both come from. A dotted line is the number of *free* instructions: those that a GPU executes while its memory moves the bytes of one element, 16 in float32 and 8 in bfloat16.
#
# A GPU consists of *multiprocessors*, which execute the programs; an H100 and an H200 have 132. Each of them starts at most four instructions per clock, of whatever kind, each for one warp of 32 threads. So at 1.98 GHz a GPU executes at most $132 \cdot 4 \cdot 32 \cdot 1.98 \cdot 10^9 = 33.5 \cdot 10^{12}$ instructions per second (`kernels/ladder/rung1_mix.py`). So the number of all instructions gives a lower bound of the time. Some kinds are slower, such as products of integers and roots, and can make the time longer (`kernels/ladder/rung3_noise.py`).
#
# **Ask yourself:** the data sheet of an H200 has 4.8 TB/s, and 67 TFLOP/s. A multiply-add counts as two there, so these are the same $33.5 \cdot 10^{12}$ instructions per second. In bfloat16 rung 3 executes 132 per element, because numbers are converted. What is the smallest possible ratio of its time to the time of its bytes there?
#
# <details><summary>Answer</summary>
#
# The memory takes $8 / (4.8 \cdot 10^{12})$ s $= 1.67$ ps per element, and in that time the GPU executes $1.67 \cdot 10^{-12} \cdot 33.5 \cdot 10^{12} = 56$ instructions: this is the leftmost dotted line. Rung 3 executes 132, so it is compute-bound and takes at least $132 / 56 = 2.36$ times as long as its bytes. Rung 8 executes 52 in float32, and 56 in bfloat16, where numbers are converted. So by this count it is memory-bound at three of the lines, and at the edge on an H200 in bfloat16.
#
# </details>
#
# ## Rung 4: four normals from one call
#
# Most of the instructions are noise. One call of Philox has ten rounds. A round multiplies two words by constants and computes both halves of each 64-bit product, which are 4 instructions. It also forms two exclusive ors of three words each. These are 2 instructions, because one instruction takes three words. Ten rounds have $10 \cdot (4 + 2) = 60$. The call returns four words of 32 bits, numbered from 0. Box and Muller's method makes *two* normals from two words. The words 0 and 1 give $z_0$ and $z_1$, and the words 2 and 3 give $z_2$ and $z_3$ in the same way. Let $u = (\text{word}_0 + \tfrac12) / 2^{32}$ and $v = \text{word}_1 / 2^{32}$. The half keeps $u$ from being 0, where the logarithm is infinite. Then
#
# $$ z_0 = \sqrt{-2 \log u} \, \cos(2 \pi v) \qquad z_1 = \sqrt{-2 \log u} \, \sin(2 \pi v) $$
#
# (Rung 5 and `kernels/philox.py` make $u$ and $v$ in this way. The formula of sitting 9 adds the half to $v$ as well, which is not necessary, because an angle may be 0. Triton's own `tl.randn` and `tl.randn4x`, which rungs 3 and 4 call, do it in a slightly different way.)
#
# Rung 3 calls Philox for every element, uses the words 0 and 1, and never computes $z_1$. Rung 4 calls it for every *block* of four neighbours. Take 10 elements, and leave masked places out of the count. Rung 3 makes 10 calls, that is 40 words, of which it uses 20. Rung 4 makes $\lceil 10 / 4 \rceil = 3$ calls, that is 12 words, of which it uses 10.
#
# **Exercise 12.1** (predict, then measure). Rung 3 executes 130 instructions per element. Suppose that 60 of them are its call, as counted above. If nothing changes but the number of calls, how many per element does rung 4 execute?

# %% nbgrader={"grade": false, "grade_id": "ex_12_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
per_element = ...
### BEGIN SOLUTION
per_element = 130 - 60 + 60 / 4
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_12_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_12_1(per_element)

# %% alt="Stacked bars of instructions per element. Rung 3: 10 for the formula, 49 for Philox, 71 for logarithm, root, cosine and the rest, and 54 in slow paths. Rung 4: 10, 14, 49 and 54. The dotted line of your answer, 85, is a little above the 73 that rung 4 executes."
counts |= compiled(others=("rung 4", "rung 5"))
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
needed = {"rung 3": 32 + 17, "rung 4": (36 + 19) / 4}  # products and exclusive ors of Philox
for i, (name, call) in enumerate(needed.items()):
    found, bottom = counts[name], 0.0
    parts = {
        "formula": 10,
        "Philox": call,
        "log, root, cos, sin, rest": found["executed"] - 10 - call,
    }
    parts["slow paths"] = found["instructions"] - found["executed"]
    for (part, size), color in zip(parts.items(), (GREEN, ORANGE, BLUE, GREY), strict=True):
        ax.bar(name, size, bottom=bottom, color=color, label=part if i == 0 else None)
        ax.text(i, bottom + size / 2, f"{size:.0f}", ha="center", va="center", color="white")
        bottom += size
ax.axhline(per_element, color="black", ls=":", label="your answer")
ax.set_ylabel("instructions per element")
ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
print(f"rung 4 executes {counts['rung 4']['executed']:.1f} per element")

# %% [markdown]
# The height of each bar, with and without its slow paths, is counted in the listing. Two parts of it are counted in the same code or by hand.
#
# - **Formula: 10.** There are 9 instructions of arithmetic and one access per element: there are four passes, and an access moves four elements. The 9 are a subtraction and a multiply-add for $g$; a product, a multiply-add, a minimum and a maximum for the clipped guess; and a product and two multiply-adds for the new state.
# - **Philox: 49 and 14.** A call counted in full has 40 products and 20 exclusive ors. The compiler leaves out those that are the same for all elements or are never used. On rungs 3 and 4 three words of the counter are 0, and rung 3 uses only two of the four words that a call returns. So 31 products and 17 exclusive ors are needed on rung 3; the code has 32 products, because it computes some twice, together 49. On rung 4, which uses all four words, 36 and 19 remain, and four elements share them: $55 / 4 \approx 14$ (`kernels/ladder/rung3_noise.py` and `rung4_four_from_one.py`).
#
# The blue part is the rest. It contains about 5 instructions for addresses, the mask and constants: on rung 2, which has no noise, 13.9 are executed and 9 counted by hand.
#
# So the calls save $49 - 14 = 35$ instructions per element, and not the $60 - 15 = 45$ of the prediction. If nothing else changed, rung 4 would execute $130 - 35 = 95$. **Ask yourself:** it executes 73, which is 22 less. What else do two elements share now?
#
# <details><summary>Answer</summary>
#
# The logarithm, the root and the angle. A pair of normals has one $u$ and one $v$, so it needs one logarithm and one root. Its sine and its cosine have the same angle, so the compiled code also divides it by $\pi / 2$ (rung 5 explains this step) once per pair. (The slow path for large angles is not shared: the sine and the cosine have one each, so the grey part is 54 again.) So the blue part falls by 22, from 71 to 49. The polynomials after the division are not shared: a pair needs one sine and one cosine, and on rung 3 two elements needed two cosines. (The prediction of 85 is only 12 too high, because two errors partly cancel: it saves 10 too many at the calls, and does not contain these 22.)
#
# </details>
#
# There is one trap. A program calls Philox for its `BLOCK / 4` blocks together, so it has four tensors `z0, z1, z2, z3` of `BLOCK / 4` normals each, and element $4 i + j$ has to get number $i$ of $z_j$. `tl.join(x, y)` joins two tensors along a new *last* axis, so `x` and `y` alternate in memory. **Predict:** in which order does `tl.join(tl.join(z0, z1), tl.join(z2, z3))` put the four?


# %% alt="Two rows of 16 boxes, coloured by the tensor that each number came from. In the upper row, joined as z0 with z2 and z1 with z3, the colours repeat as z0, z1, z2, z3. In the lower row, joined as z0 with z1 and z2 with z3, they repeat as z0, z2, z1, z3."
@triton.jit
def joined(made, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK // 4)
    z0, z1, z2, z3 = 0 * i, 0 * i + 1, 0 * i + 2, 0 * i + 3  # z_j is full of j
    at = tl.arange(0, BLOCK)
    z = tl.join(tl.join(z0, z2), tl.join(z1, z3))  # [BLOCK / 4, 2, 2]
    tl.store(made + at, tl.reshape(z, (BLOCK,)))
    z = tl.join(tl.join(z0, z1), tl.join(z2, z3))
    tl.store(made + BLOCK + at, tl.reshape(z, (BLOCK,)))


order = torch.zeros(2, 16, dtype=torch.int32, device=DEVICE)
joined[(1,)](order, BLOCK=16)
fig, ax = plt.subplots(figsize=(9, 1.8), layout="constrained")
for row, numbers in enumerate(order.tolist()):
    for place, j in enumerate(numbers):
        ax.bar(place, 0.8, bottom=1 - row, width=0.9, color=(BLUE, ORANGE, GREEN, RED)[j])
        ax.text(place, 1.4 - row, f"z{j}", ha="center", va="center", color="white")
ax.set_yticks((0.4, 1.4), ["(z0, z1), (z2, z3)", "(z0, z2), (z1, z3)"])
ax.set(xticks=range(16), xlabel="element")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# As z0, z2, z1, z3. The inner join makes the pairs $(z_0, z_1)$ and $(z_2, z_3)$; the outer one takes the first of each pair, then the second. The right call is `tl.join(tl.join(z0, z2), tl.join(z1, z3))`.
#
# </details>
#
# With the wrong order the noise is still standard normal and independent. No statistical test of the samples notices it. Only the comparison with a definition does, such as `kernels/philox.py`.
#
# ## Rung 5: our own normals
#
# The blue part of rung 4 has 49 instructions per element. About 5 of them are addresses, the mask and constants, so about 44 are logarithm, root, sine and cosine. The listing contains 54 more per element in slow paths, which are never executed here. A library's cosine accepts *every* float32. Its first step is to divide the angle by $\pi / 2$, because the remainder and the number of the quarter turn determine the cosine. If the angle is 105,615 or more (the limit is a constant in CUDA's headers), the library multiplies it by a long table of digits of $2 / \pi$, in a loop. It collects the product in an array. Registers cannot be indexed, so each thread has the array in memory, on its *stack*. The accesses to it are the spills. The compiler does not know that our angles are below $2 \pi$.
#
# We know more: the angle is made of one 32-bit word, `turn`, and is $\text{turn} / 2^{32}$ of a whole turn. (This is $v$ of the formula in rung 4.) The two top bits are the number of the quarter turn, 0 to 3. The other 30 bits are the place in the quarter. Let $M$ be the angle of the quarter's middle, 45, 135, 225 or 315 degrees, and $h$ the angle minus $M$:
#
# $$ \cos(M + h) = \cos M \cos h - \sin M \sin h \qquad \sin(M + h) = \sin M \cos h + \cos M \sin h $$
#
# $\cos M$ and $\sin M$ are $\pm 1 / \sqrt 2$. Only their signs depend on the quarter, that is on the two bits. And $|h|$ never exceeds 45 degrees.

# %% alt="Left: a circle in four coloured quarters, each with its two top bits, the angle M of its middle and the signs of cos M and sin M; an angle of 20 degrees is marked together with its distance h from the middle of its quarter. Right: sine and cosine over h from -180 to 180 degrees, of which only the shaded part from -45 to 45 degrees is used."
pictures.quarter_turns()

# %% [markdown]
# By hand: for `turn` $= 1{,}342{,}177{,}280 = 1.25 \cdot 2^{30}$ the quarter is 1, and the place in it is 0.25. From the middle this is $x = 0.25 - 0.5 = -0.25$ of a quarter turn, so $h = -22.5$ and $M + h = 135 - 22.5 = 112.5$ degrees. The whole word gives the same: $1.25 / 4 \cdot 360 = 112.5$.
#
# **Exercise 12.2** (one line). Write $x = h / 90$ degrees as a function of `turn`. `turn` is an array of integers in $0..2^{32} - 1$ (NumPy's int64, so nothing overflows). Your result is float64, NumPy's default, and lies in $-1/2 .. 1/2$.


# %% nbgrader={"grade": false, "grade_id": "ex_12_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_rest(turn):
    ### BEGIN SOLUTION
    return turn % 2**30 / 2**30 - 0.5
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_12_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_12_2(my_rest)

# %% [markdown]
# The kernel's polynomials for $\cos h$ and $\sin h$ have four terms in $x$. **Predict:** Taylor's polynomial of the cosine with four terms, $1 - h^2/2 + h^4/24 - h^6/720$ with $h$ in radians, is wrong by about $h^8 / 8!$. How much is that at 45 degrees, and how much at 180?


# %% alt="Left: the error of four terms of the cosine over x from -2 to 2, on a logarithmic scale. Within the shaded interval from -1/2 to 1/2 the kernel's polynomial stays below 1e-7 and Taylor's reaches 4e-6; at x = 2 both are wrong by about 0.2. Right: 64 points computed from your function lie uniformly on the unit circle, one colour per quarter."
def cos_of(x):
    """The kernel's polynomial for the cosine of x quarter turns, |x| <= 1/2."""
    return 1 + x**2 * (-1.2336979 + x**2 * (0.25360626 + x**2 * -0.020426249))


def sin_of(x):
    """The same for the sine."""
    return x * (1.57079637 + x**2 * (-0.645964801 + x**2 * (0.0796898827 + x**2 * -0.0046229572)))


x = np.linspace(-2, 2, 2001)
h = x * np.pi / 2
taylor = 1 - h**2 / 2 + h**4 / 24 - h**6 / 720
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.semilogy(x, np.abs(taylor - np.cos(h)) + 1e-12, color=ORANGE, label="Taylor")
left.semilogy(x, np.abs(cos_of(x) - np.cos(h)) + 1e-12, color=BLUE, label="the kernel's")
left.axvspan(-0.5, 0.5, color=GREY, alpha=0.2)
left.set(xlabel="x, in quarter turns", ylabel="error of the cosine", ylim=(1e-11, 3))
left.legend(fontsize=8)
turn = np.arange(64) * 2**26 + 2**25
quarter, rest = turn >> 30, my_rest(turn)
sign_cos, sign_sin = np.where((quarter == 1) | (quarter == 2), -1, 1), np.where(quarter > 1, -1, 1)
cosine = (sign_cos * cos_of(rest) - sign_sin * sin_of(rest)) / np.sqrt(2)
sine = (sign_sin * cos_of(rest) + sign_cos * sin_of(rest)) / np.sqrt(2)
right.scatter(cosine, sine, s=14, c=np.array((BLUE, ORANGE, GREEN, PURPLE))[quarter])
right.set(aspect="equal", title="64 angles, from your x", xlabel="cosine", ylabel="sine")
plt.show()
inside = np.abs(x) <= 0.5
print(f"Taylor, to 45 degrees: {np.abs(taylor - np.cos(h))[inside].max():.1e}")
print(f"the kernel's polynomial: {np.abs(cos_of(x) - np.cos(h))[inside].max():.1e}")
apart = np.abs(cosine - np.cos(2 * np.pi * turn / 2**32)).max()
print(f"your cosines: {apart:.0e} from the library's")
five = counts["rung 5"]
print(f"rung 5: {five['executed']:.1f} instructions per element, {five['spills']} spills")

# %% [markdown]
# <details><summary>Answer</summary>
#
# At 45 degrees $h = 0.785$ and $h^8 / 8! = 0.145 / 40320 = 3.6 \cdot 10^{-6}$. At 180 degrees it is $\pi^8 / 8! = 0.24$. The kernel's coefficients are not Taylor's: they were chosen to make the *largest* error over the interval small. It is $4 \cdot 10^{-8}$, below the spacing of float32 numbers near 1. With four terms this is possible only on a short interval.
#
# </details>
#
# The logarithm is made in the same way: a float32 stores its exponent in separate bits, so $\log(2^E m) = E \log 2 + \log m$, and a polynomial is left for $\log m$. The format has $m$ in $[1, 2)$. If $m$ is at least $4/3$, the kernel halves it and adds 1 to $E$. Then $m$ lies in $[2/3, 4/3)$, and numbers just below 1 have $E = 0$. Without this step 0.999 would be $2^{-1} \cdot 1.998$. Its logarithm would be $-0.6931 + 0.6921$, two large terms that cancel, so digits would be lost. Rung 5 executes 51 instructions, without a stack and without spills. The function is `normals(seed, step, sample_id, block, stream)` of `kernels/triton_normals.py`. For each number in `block` it returns the four normals of that block, in the order in which its elements lie in memory. `stream` separates noise for different purposes; samplers use 0.
#
# ## Rung 6: tiles
#
# A sample's noise must not depend on its place in the batch. So users pass a *number* for each sample, on which the noise depends, and a weight for each sample. How does a program that moves 1024 elements find both? It could divide: if a sample has `n` elements, element `at` of the batch belongs to sample `at // n`. A GPU has no instruction for an integer division and executes a sequence of others, and every element would load the weight and the number of its sample. These are 2048 loads per program.
#
# Instead, each program takes a *tile* of `SAMPLES` by `BLOCK` elements, 1024 together. `sample` contains the places of the tile's samples in the batch and has the shape [SAMPLES, 1]. `element` contains places within a sample and has the shape [1, BLOCK]. `sample * n + element` is broadcast to [SAMPLES, BLOCK], as in NumPy. A thread loads what belongs to a sample once for all its elements in a *row* of the tile. A program has 128 threads with 8 elements each: thread $t$ has the places $4 t$ to $4 t + 3$ and $512 + 4 t$ to $512 + 4 t + 3$ of the tile, counted row by row. In a tile of 1 x 1024 they are in one row, so the threads make $128 \cdot 2 = 256$ loads instead of 2048. In a tile of 4 x 256 place 512 begins the third row, so they are in two rows, and these are 512. And a tile needs few different values:
#
# | elements per sample | BLOCK | SAMPLES | programs | different weights and sample numbers |
# |---|---|---|---|---|
# | 192 (3 x 8 x 8) | 256 | 4 | 1 for 4 samples | 8 per program |
# | 16,384 (4 x 64 x 64) | 1024 | 1 | 16 for 1 sample | 2 per program |
#
# `BLOCK` is `n` rounded up to a power of 2, at least 4 and at most 1024. So the mask has two directions: a tile can reach beyond the end of a *sample*, and the last group of samples beyond the last sample. **Predict:** 10 samples of 192 elements make 3 groups of 4. Which fraction of all places in these tiles is masked? And with many samples, at which sizes $n \ge 4$ is this fraction largest?

# %% alt="The masked fraction over the number of elements per sample. For 1,024 samples it is a sawtooth that falls to 0 at every power of 2 and jumps behind it, to 0.375 at 5 elements and to almost one half from 65 on. The highest tooth is at 1,025, and beyond it each tooth is lower than the one before. For 10 samples it is higher up to 256 elements, and from 257 on both curves are equal. At 192 elements they are 0.25 and 0.375; at 16,384 both are 0."
sizes = np.unique(np.geomspace(4, 20000, 3000).astype(int))
sizes = np.union1d(sizes, (192, 513, 1025, 16384))


def masked(n, B):
    """The fraction of the places of all tiles that do not exist."""
    block = min(1024, max(4, 1 << (int(n) - 1).bit_length()))
    samples = 1024 // block
    places = -(-n // block) * block * -(-B // samples) * samples
    return 1 - n * B / places


plt.figure(figsize=(9, 3), layout="constrained")
plt.semilogx(sizes, [masked(n, 1024) for n in sizes], color=BLUE, lw=3, label="1024 samples")
plt.semilogx(sizes, [masked(n, 10) for n in sizes], color=ORANGE, lw=1, label="10 samples")
for n, offset in ((192, (8, 40)), (16384, (-20, 40))):
    plt.plot((n, n), (masked(n, 10), masked(n, 1024)), "ko", ms=4)
    plt.annotate(
        f"n = {n:,}",
        (n, masked(n, 10)),
        offset,
        textcoords="offset points",
        arrowprops={"arrowstyle": "-", "color": GREY},
    )
plt.xlabel("elements per sample")
plt.ylabel("masked fraction")
plt.legend(fontsize=8)
plt.show()
print("n = 192:", masked(192, 10), "of 10 samples,", masked(192, 1024), "of 1024")
print(f"n = 513: {masked(513, 1024):.4f}, n = 1025: {masked(1025, 1024):.4f}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# $3 \cdot 4 \cdot 256 = 3072$ places, of which $10 \cdot 192 = 1920$ exist, so 37.5 % do not. With many samples only the columns count, and $1 - 192 / 256 = 25$ % are masked. Up to 1,024 elements the fraction jumps just above each power of 2: to 37.5 % at 5, and to 49.90 % at 513. Beyond, it jumps just above each multiple of 1,024. It is largest at 1,025, where the second of two tiles has one element: 49.95 %. At 2,049 it is 33 %, and the further jumps are lower still. A small batch of small samples is worse still, because most rows of its tile have no sample: 10 samples of 4 elements fill 40 of 1024 places. A masked place moves no bytes but executes the instructions. 513 is not a multiple of 16, so each access is of one element (`kernels/ladder/rung1_mix.py`), and rung 8 executes 75 instructions per place (`kernels/README.md`). That is about $2 \cdot 75 = 150$ per element that exists, close to the 160 that are free in float32 on an H100.
#
# </details>
#
# **Exercise 12.3** (write a kernel). Write the kernel of rung 6:
#
# $$ g = g_y + w \, (g_y - g_\phi) \qquad \hat x_0 = \text{clip}(p \, x_t + q \, g) \qquad x_s = a \hat x_0 + b x_t + c z $$
#
# - `xt` and `xs` have the shape (B, n), `out` has (2B, n), conditional half first, all float32. (On a GPU a later cell times your kernel in bfloat16, too: convert with `.to(tl.float32)` after each of these loads.) `w` and `ids` have one entry per sample: its weight, in float32, and its number, in int32. In the formula $w$ is the weight of the sample that the element belongs to. (Rung 6 multiplies it by a factor $m$ that the solver has for each step. It is 1 here.) As in sitting 9, $g_y$ is the conditional and $g_\phi$ the null half of `out`. All other arguments are plain numbers. `clip` is the bound: the clipped guess lies between `-clip` and `clip`.
# - `tl.program_id(0)` counts tiles along a sample, `tl.program_id(1)` groups of samples. Begin with the two lines below. Compute `at` from them, and a mask with both directions.
# - `normals(seed, k + 1, sample_id, block, 0)` returns the noise of step `k`. Its argument `step` is `k + 1`, because `step` 0 is the noise from which a chain starts. `sample_id` has the shape [SAMPLES, 1]. `block` has [1, BLOCK // 4]: it is the number of each *block of four* within its sample. The result is [SAMPLES, BLOCK // 4, 2, 2]; `tl.reshape` it.
#
# ```python
# sample = tl.program_id(1) * SAMPLES + tl.arange(0, SAMPLES)[:, None]  # [SAMPLES, 1]
# element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]  # [1, BLOCK]
# ```


# %% nbgrader={"grade": false, "grade_id": "ex_12_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
@triton.jit
def my_tile(
    xt, out, xs, w, ids, p, q, a, b, c, clip, seed, k, B, n,
    SAMPLES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    ### BEGIN SOLUTION
    sample = tl.program_id(1) * SAMPLES + tl.arange(0, SAMPLES)[:, None]
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    block = tl.program_id(0) * (BLOCK // 4) + tl.arange(0, BLOCK // 4)[None, :]
    at = sample * n + element
    inside = (sample < B) & (element < n)
    weight = tl.load(w + sample, mask=sample < B)
    sample_id = tl.load(ids + sample, mask=sample < B)
    x = tl.load(xt + at, mask=inside).to(tl.float32)
    cond = tl.load(out + at, mask=inside).to(tl.float32)
    null = tl.load(out + B * n + at, mask=inside).to(tl.float32)
    g = cond + weight * (cond - null)
    x0hat = tl.clamp(p * x + q * g, -clip, clip)
    z = tl.reshape(normals(seed, k + 1, sample_id, block, 0), (SAMPLES, BLOCK))
    tl.store(xs + at, a * x0hat + b * x + c * z, mask=inside)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_12_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_12_3(my_tile)

# %% [markdown]
# The check launches your kernel with 4 x 8 tiles at sizes such as 9 samples of 13 elements, in tensors that are parts of longer ones. It compares what is written, so it cannot notice a load without a mask if the value is not stored. **Before you run the next cell:** your kernel makes noise for samples 0 to 7 in tiles of 4 x 16, and then for samples 5, 2 and 7 alone in tiles of 2 x 64. Which rows occur again?


# %% alt="Two maps of noise with one row of 24 numbers per sample: above samples 0 to 7 in one batch, below samples 5, 2 and 7 alone. The row of each sample below is equal to its row above."
def launch_tiles(xt, out, w, ids, numbers, clip, seed, k, samples, block):
    """One step by your kernel, in tiles of samples by block."""
    B, n = xt.shape
    xs = torch.empty_like(xt)
    grid = (triton.cdiv(n, block), triton.cdiv(B, samples))
    given = (*numbers, clip, seed, k, B, n)
    my_tile[grid](xt, out, xs, w, ids, *given, SAMPLES=samples, BLOCK=block)
    return xs


def noise_by_tiles(of, samples, block):
    """The noise of step 0: all terms but c z are 0."""
    nothing = torch.zeros(len(of), 24, device=DEVICE)
    ids, w = torch.tensor(of, dtype=torch.int32, device=DEVICE), nothing[:, 0].contiguous()
    row = (0.0, 0.0, 0.0, 0.0, 1.0)
    return launch_tiles(
        nothing, torch.cat([nothing, nothing]), w, ids, row, 1.0, 7, 0, samples, block
    ).cpu()


batch, alone = noise_by_tiles(list(range(8)), 4, 16), noise_by_tiles([5, 2, 7], 2, 64)
fig, panels = plt.subplots(
    2, 1, figsize=(8, 3.4), layout="constrained", height_ratios=(8, 3), sharex=True
)
for ax, made, of in zip(panels, (batch, alone), (range(8), (5, 2, 7)), strict=True):
    ax.imshow(made, cmap="RdBu", vmin=-3, vmax=3, aspect="auto")
    ax.set_yticks(range(len(of)), [f"sample {i}" for i in of], fontsize=8)
panels[1].set_xlabel("element")
plt.show()
print("samples 5, 2 and 7 have the same noise alone:", torch.equal(batch[[5, 2, 7]], alone))
defined = philox.normal(7, torch.arange(8), 1, (24,))
print("and it is that of the definition:", torch.allclose(batch, defined, atol=1e-5))
counts |= compiled(my_tile.fn, others=("rung 6",))
for name in ("my_tile", "rung 6"):
    print(f"{name}: {counts[name]['executed']:.1f} instructions, {counts[name]['spills']} spills")

# %% [markdown]
# <details><summary>Answer</summary>
#
# All three. The counter consists of the block within the sample, the step, the number of the sample and the stream. It contains no place in the batch and no tile. The addresses in two directions and the loads per row cost 3.6 instructions per element: rung 6 has 54.6, and rung 5 has 51.0. (The model solution of the exercise has 53.5, which is 9 instructions per thread of 8 elements less than rung 6. Sample numbers of 64 bits are 4 of these 9, the factor $m$ is 2, and a seed of 64 bits is 1; the other 2 were not traced.)
#
# </details>
#
# *This is about half of the sitting, and a place for a break. When you come back, run the cells above again.*
#
# ## Rung 7: what is None costs nothing
#
# DPM-Solver++(2M) reads the guess of the step before, `x0prev`, and writes its own. A step without guidance has no null half. One kernel computes the steps of all solvers, with guidance and without. Should it read `x0prev` for DDIM, where the factor $e$ of `x0prev` is 0?
#
# ```python
# # x0 is where the guess is written, or None: this is known when the kernel is compiled
# if x0 is not None:
#     tl.store(x0 + at, x0hat, mask=inside)
# y = a * x0hat + b * x
# if x0prev is not None and e != 0:  # e is a number of the row: known when the kernel runs
#     y += e * tl.load(x0prev + at, mask=inside)
# if c != 0:
#     y += c * z
# ```
#
# Triton compiles one kernel for each combination of arguments that are None, at the first launch with it: this is *specialisation*. The compiled kernel contains only the lines that were chosen. The row, here, is the solver's row of eight numbers for one step, among them $p, q, a, b, c$ and $e$. It is different at every step, so its numbers are tested when the kernel runs. All threads take the same branch, because `e` is one number: the branch is *uniform*. **Predict:** how many bytes per element move in float32 for DDIM that does not write its guess (`want_x0=False` in the picture), for 2M, and for DDIM with neither guess nor guidance? (The picture and the counts above it are those of rung 8, which has the same branches.)

# %% alt="Bars of bytes per element in the accesses of 128 bits of compiled code, in three variants of rung 8: 12 without guidance, 16 for DDIM without its guess, and 24 for 2M, which reads x0prev and writes x0hat."
variants = {"float32, no w": "no guidance", "float32": "DDIM, want_x0=False"}
variants |= {"float32, x0hat kept and used": "2M: x0prev read, x0hat written"}
found = compiled(others=tuple(variants))
plt.figure(figsize=(8, 2.4), layout="constrained")
for i, (name, label) in enumerate(variants.items()):
    plt.barh(label, found[name]["bytes"], color=BLUE)
    plt.text(found[name]["bytes"] + 0.3, i, f"{found[name]['bytes']:.0f}", va="center")
    executed, quiet = found[name]["executed"], found[name]["without noise"]
    print(f"{label}: {quiet:.1f} instructions per element; a row with c > 0: {executed:.1f}")
plt.xlim(0, 27)
plt.xlabel("bytes per element, counted in code for sm_90")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# DDIM moves `xt`, the two halves of `out` and `xs`: 4 passes, 16 bytes. 2M moves two more, `x0prev` and `x0hat`: 24 bytes. Without guidance the null half is not read: 12 bytes. The compiled code contains exactly these accesses. (In the picture, sm_90 is the name of the H100's instruction set.)
#
# </details>
#
# **Ask yourself:** at the first step of 2M there is no guess of the step before, so $e = 0$. If `x0prev` was made by `torch.empty`, its memory may contain any number, for example infinity. Without the branch, what would the step add to the new state?

# %%
from kernels.ladder import rung7_look_back

xt, out = torch.zeros(1, 4, device=DEVICE), torch.zeros(2, 4, device=DEVICE)
unwritten = torch.full_like(xt, torch.inf)  # what torch.empty could contain
first_row, ids = (1.0, -1.0, 0.5, 0.5, 0.0, 0.0, 0.0, 1.0), torch.tensor([0], device=DEVICE)
moved, _ = rung7_look_back.step(xt, out, first_row, 1.0, 1.0, 7, 0, ids, x0prev=unwritten)
print("with the branch:", moved.tolist(), " multiplied by 0:", (moved + 0.0 * unwritten).tolist())

# %% [markdown]
# <details><summary>Answer</summary>
#
# 0 times infinity is NaN, so the whole chain would be NaN. The read would also cost a pass. A DDIM step, which never needs `x0prev`, would take $20 / 16 = 1.25$ times as long. In the same way, noise multiplied by $c = 0$ would still cost its instructions.
#
# </details>
#
# ## Rung 8: addresses of 64 bits
#
# Triton passes a `B` or `n` below $2^{31}$ as a number of 32 bits, so `sample * n + element` has 32 bits, too. Here *address* means the number that is added to the pointer. A signed number of 32 bits ends at $2^{31} - 1 = 2{,}147{,}483{,}647$. Take samples of 4 x 256 x 256 elements, so $n = 2^{18}$. Sample 8,192 starts at $2^{13} \cdot 2^{18} = 2^{31}$, which becomes $-2^{31}$: the kernel reads *before* the tensor. **Ask yourself:** a batch has $B = 5000$ such samples (5.2 GB in float32), so no address within `xt` reaches $2^{31}$. A kernel reads the null half at `out + (B * n + at)`. Is it right?


# %% alt="Addresses of the first element of each of 5,000 samples in the null half, computed in 64 and in 32 bits. Both lines rise together to 2 to the power 31 at sample 3,192. There the line of 32 bits falls to minus 2 to the power 31 and rises again, and the other one goes on."
@triton.jit
def addresses(narrow, wide, B, n, count, BLOCK: tl.constexpr):
    sample = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = sample < count
    tl.store(narrow + sample, B * n + sample * n, mask=inside)
    tl.store(wide + sample, (B + sample.to(tl.int64)) * n, mask=inside)


B, n = 5000, 2**18
narrow, wide = torch.zeros(2, B, dtype=torch.int64, device=DEVICE)
addresses[(triton.cdiv(B, 1024),)](narrow, wide, B, n, B, BLOCK=1024)
first_wrong = int((narrow != wide).nonzero()[0])
plt.figure(figsize=(8, 3), layout="constrained")
plt.plot(wide.cpu(), color=BLUE, label="64 bits")
plt.plot(narrow.cpu(), color=RED, ls="--", label="32 bits")
plt.axhline(2**31, color=GREY, ls=":", label="$2^{31}$")
plt.axhline(0, color="black", lw=0.6)
plt.xlabel("sample")
plt.ylabel("address in the null half")
plt.legend(fontsize=8)
plt.show()
print("first wrong address: sample", first_wrong)

# %% [markdown]
# <details><summary>Answer</summary>
#
# No. `out` has twice as many elements. Its null half starts at $B n = 5000 \cdot 2^{18} = 1.3 \cdot 10^9$. The address $(5000 + \text{sample}) \cdot 2^{18}$ reaches $2^{31} = 8192 \cdot 2^{18}$ at sample $8192 - 5000 = 3192$. From there on the null half is read from before the tensor. The brackets matter: `out + B * n + at` is `(out + B * n) + at`, where each number of 32 bits is added to a pointer of 64 bits. Then the first error comes at $B n = 2^{31}$, with 8,192 samples. Rung 8 computes `sample` and the start of a tile in 64 bits.
#
# </details>
#
# The cell also shows how to test this without the 21 GB of `xt`, `out` and `xs`: let the kernel store its *addresses* in a small tensor.
#
# Rung 8 adds four more things.
#
# 1. **A row that the GPU looks up.** On rung 7 the row's numbers are arguments of the launch. On rung 8 the table of rows is in the GPU's memory, and `k`, the number of the row, can be there, too. This serves a *CUDA graph*, which is a list of launches that is recorded once and then started by one call (`kernels/graph.py`). A graph repeats the arguments as they were recorded, and for a tensor this is its address. So with rung 7 every step would use the same row. With `k` in memory the graph adds 1 to `k` after each step and copies the new state to the place of $x_t$, so one recording serves all steps. The copy is one read and one write, so a step moves 6 passes instead of 4.
# 2. **A third axis of the grid.** CUDA limits the second one to 65,535, and the groups of samples continue along the third.
# 3. **An output whose channels come last in memory** is read without a copy. The price is an integer division per element and accesses of single elements: 69.8 instructions per element instead of 51.7.
# 4. **2 warps instead of 4** per program, if an access can have 16 bytes. Each thread then has 16 elements instead of 8, so twice as many elements share the instructions that compute addresses and read the row.
#
# ## How to test a kernel
#
# A kernel gets addresses, and nothing stops it at the end of a tensor. What it reads there is often 0, and what it overwrites is often unused, so a wrong kernel can pass a test. The test has to own the memory *around* the tensors, so each of them has to be a part of a longer one. The function `framed` in exercise 12.4 returns the part and the longer tensor.
#
# Surround the *output* by a number that no kernel would write. If it is still there afterwards, nothing was written there. Such a number is called a *canary*. But what shows a *read*? A common mistake is to read without a mask and then to multiply by 0, and $0 \cdot 7 = 0$. The next cell launches such a kernel. Each program computes the mean of its null outputs and subtracts it from its conditional outputs. When it sums for the mean, it multiplies the places beyond the end by 0. It is launched for 13 elements in programs of 8 places, with 0, 7 and NaN in the places around `out`. **Predict:** what is its result for each?


# %% alt="Three rows of memory around a result of 13 places, one per content of the frame around out: 0, 7 and NaN. With 0 and with 7 the 13 results are right, and only the three places behind them are overwritten. With NaN the last five results are NaN as well."
@triton.jit
def careless(out, g, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = (at < n).to(tl.float32)
    cond = tl.load(out + at)  # no mask
    null = tl.load(out + n + at)
    mean = tl.sum(exists * null) / tl.sum(exists)  # masked by a multiplication
    tl.store(g + at, cond - mean)


fig, panels = plt.subplots(3, 1, figsize=(9, 3.2), layout="constrained", sharex=True)
n, pad = 13, 8
values = (torch.arange(2.0 * n) + 3) % 8  # the two means are 3.5 and 2
right = values[:n] - torch.cat([values[n:21].mean().expand(8), values[21:].mean().expand(5)])
for ax, around in zip(panels, (0.0, 7.0, torch.nan), strict=True):
    memory = torch.full((2 * n + 2 * pad,), around, device=DEVICE)
    memory[pad:-pad] = values
    written = torch.full((n + 2 * pad,), 99.0, device=DEVICE)  # the canary
    careless[(2,)](memory[pad:], written[pad:], n, BLOCK=8)
    written = written.cpu()
    for place, value in enumerate(written.tolist()):
        is_result = pad <= place < pad + n
        is_right = written[place] == (right[place - pad] if is_result else 99)
        color = (BLUE if is_result else GREY) if is_right else RED
        ax.bar(place - pad, 1, width=0.9, color=color)
        ax.text(place - pad, 0.5, f"{value:.2g}", ha="center", va="center", color="white", size=7)
    ax.set(yticks=[], ylabel=f"{around:g}")
panels[0].set_title("memory around g; rows: content of the frame around out; orange: wrong")
panels[-1].set_xlabel("place, relative to g")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# With 0 and with 7 all 13 results are right, because 0 times a number is 0: no comparison notices the reads. Only the canary behind `g` shows that the store has no mask. (The loads of `cond` have no mask either. At the places 13 to 15 they read the first three null outputs, which lie behind the conditional half. So they never reach the frame, and no frame shows them.) With NaN the results of the second program are NaN, because 0 times NaN is NaN. So surround the *inputs* by NaN, and the *output* by an ordinary number: a kernel that reads NaN and writes NaN beyond the end would not change a frame of NaN.
#
# </details>
#
# If a kernel reads out of bounds and does not use the value, its results do not change, and no test of them can notice the read. On a GPU such a read can still stop the program, if the address does not exist. NVIDIA's `compute-sanitizer` watches every access for that. Torch takes memory from the GPU in large blocks, so the address behind a tensor usually exists, and the tool reports nothing. The environment variable `PYTORCH_NO_CUDA_MEMORY_CACHING=1` gives each tensor a block of its own, whose end the tool knows, so it can report a read behind the tensor. The other half of a test is the choice of *sizes*: 1, a number below the block, an odd number, and a number that takes several programs.
#
# **Exercise 12.4** (prove by a test). `guided(out, w, g)` launches a kernel that computes $g = g_y + w \, (g_y - g_\phi)$ with each sample's own weight. `out` has the shape (2B, n), `w` has (B,), `g` has (B, n) and is written. Write a test, with `assert`, that passes for a right kernel and fails for every kernel that computes something else, changes `out` or `w`, or accesses memory out of bounds in a way that can be noticed, around any of the three. NaN is not equal to NaN, so `torch.equal` is False for two tensors that contain NaN, even at the same places. `torch.allclose(x, y, rtol=0, atol=0, equal_nan=True)` compares them exactly and counts NaN as equal to NaN. Create all tensors on `device`, because a later cell calls your test with a kernel. The check tries it on 21 such functions, some of which make mistakes only beyond 64 places or only where 8 does not divide the number of elements, and names the first for which it passes.


# %% nbgrader={"grade": false, "grade_id": "ex_12_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def framed(values, around, pad=16):
    """A copy of `values` as a part of a longer tensor, and that tensor."""
    whole = torch.full((values.numel() + 2 * pad,), around, device=values.device)
    inner = whole[pad:-pad].view(values.shape)
    inner.copy_(values)
    return inner, whole


def bounds_test(guided, device="cpu"):
    ### BEGIN SOLUTION
    for B, n in ((1, 1), (3, 5), (2, 77)):
        out, whole_out = framed(torch.randn(2 * B, n, device=device), torch.nan)
        w, whole_w = framed(torch.arange(1.0, B + 1, device=device), torch.nan)
        g, whole_g = framed(torch.full((B, n), torch.nan, device=device), 99.0)
        cond, null = out.chunk(2)
        expected = cond + w[:, None] * (cond - null)
        out_before, w_before = whole_out.clone(), whole_w.clone()  # the frames as well
        guided(out, w, g)
        assert torch.allclose(g, expected, atol=1e-5)  # NaN is not close
        assert torch.allclose(whole_out, out_before, rtol=0, atol=0, equal_nan=True)
        assert torch.allclose(whole_w, w_before, rtol=0, atol=0, equal_nan=True)
        assert (whole_g[:16] == 99).all()
        assert (whole_g[-16:] == 99).all()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_12_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_12_4(bounds_test)

# %% [markdown]
# Your test also works for a kernel: with $p = 0$, $q = 1$, $a = 1$, $b = c = 0$ and an infinite bound `clip` the tile kernel of 12.3 computes $g$. The picture compares your test with two weaker ones. **Predict:** a test compares the results at one size, 64 x 16. Which does it notice: wrong results, a changed `out` or `w`, accesses out of bounds?


# %% alt="A table of three tests by 21 faulty functions; a filled cell means that the test fails, as it should. The comparison at one size notices the first 4, odd sizes with frames of zeros notice 9, and your test notices all 21. No test but yours notices one of the last eight: four write around out or w, and four read out of bounds."
from check import ex_12

FAULTY = ex_12.FAULTY


def by_tiles(out, w, g):
    """Your tile kernel as a function that mixes."""
    B, n = g.shape
    ids, x = torch.zeros(B, dtype=torch.int32, device=g.device), torch.zeros_like(g)
    row, tile = (0.0, 1.0, 1.0, 0.0, 0.0, torch.inf), {"SAMPLES": 2, "BLOCK": 8}
    grid = (triton.cdiv(n, 8), triton.cdiv(B, 2))
    my_tile[grid](x, out, g, w, ids, *row, 7, 0, B, n, **tile)


def one_size_test(guided):
    """The results, at 64 samples of 16 elements."""
    out, w, g = torch.randn(128, 16), torch.arange(64.0), torch.zeros(64, 16)
    cond, null = out.chunk(2)
    expected = cond + w[:, None] * (cond - null)
    guided(out, w, g)
    assert torch.allclose(g, expected, atol=1e-4)


def zero_frames_test(guided):
    """The results and a frame of 0, at odd sizes."""
    for B, n in ((1, 1), (3, 5), (2, 77)):
        out, w = framed(torch.randn(2 * B, n), 0.0)[0], framed(torch.arange(1.0, B + 1), 0.0)[0]
        g, whole = framed(torch.zeros(B, n), 0.0)
        cond, null = out.chunk(2)
        expected = cond + w[:, None] * (cond - null)
        guided(out, w, g)
        assert torch.allclose(g, expected, atol=1e-5)
        assert (whole[:16] == 0).all() and (whole[-16:] == 0).all()


def noticed(test, function):
    """Whether the test fails for this function."""
    try:
        test(function)
    except AssertionError:
        return True
    return False


bounds_test(by_tiles, DEVICE)
print("your tile kernel passes your test")
tests = {"one size": one_size_test, "frames of 0": zero_frames_test, "yours": bounds_test}
table = np.array([[noticed(test, f) for f in FAULTY.values()] for test in tests.values()])
fig, ax = plt.subplots(figsize=(10, 3.2), layout="constrained")
ax.imshow(table, cmap="Blues", vmin=0, vmax=1.4, aspect="auto")
ax.set_xticks(range(len(FAULTY)), list(FAULTY), rotation=40, ha="right", fontsize=8)
ax.set_yticks(range(3), [f"{name}: {row.sum()}" for name, row in zip(tests, table, strict=True)])
ax.set_xticks(np.arange(len(FAULTY) + 1) - 0.5, minor=True)
ax.set_yticks(np.arange(4) - 0.5, minor=True)
ax.grid(which="minor", color="white", lw=2)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Only wrong results, and not all of them. It notices four of the 21: one with the other convention of the weight, one that uses the weight of sample 0 for all samples, one that stops after 64 places, and one that sets all weights to 0. A kernel that adds to `g` is right here, because `g` was 0. So is one that begins the null half at a multiple of 8, because 8 divides $64 \cdot 16$. Neither `out` and `w` after the launch nor the memory around the tensors are compared.
#
# Frames of 0 at odd sizes notice five more: four that write a number other than 0 around `g`, and the null half from a multiple of 8. They miss a 0 that is written there, what happens to `out` and `w`, and every read whose value is not used.
#
# </details>
#
# ## On a GPU
#
# The next cell asserts on any machine that your tile kernel and the course's agree with each other, noise included, and with torch for $c = 0$. If there is a GPU, it then times them, `torch.compile` and a copy of as many bytes, in float32 and bfloat16.

# %%
from kernels.bench.run import timed
from kernels.triton_step import guided_step

B, n = (4096, 16384) if ON_GPU else (3, 2048)
row = (1.4, -1.0, 0.26, 0.73, 0.37)
ids, w = torch.arange(B, device=DEVICE), torch.full((B,), 2.0, device=DEVICE)


def ways_of(dtype):
    """The ways to compute one step, as functions of the factor c of the noise."""
    xt = torch.randn(B, n, device=DEVICE).to(dtype)
    out = torch.randn(2 * B, n, device=DEVICE).to(dtype)
    narrow_ids = ids.to(torch.int32)  # as in 12.3: `normals` takes numbers of 32 bits
    rows = {c: torch.tensor([(*row[:4], c, 0.0, 0.0, 1.0)], device=DEVICE) for c in (0.0, row[4])}

    def yours(c):
        return launch_tiles(xt, out, w, narrow_ids, (*row[:4], c), 1.0, 7, 0, 1, 1024)

    def course(c):
        return guided_step(xt, out, rows[c], 0, w, seed=7, sample_ids=ids, clip=1.0, want_x0=False)[
            0
        ]

    def in_torch(c):
        p, q, a, b, _ = row
        cond, null = out.chunk(2)
        x0hat = (p * xt + q * (cond + 2.0 * (cond - null))).clamp(-1, 1)
        y = a * x0hat + b * xt
        return y + c * torch.randn_like(xt) if c else y

    return {"your kernel": yours, "the course's": course, "torch": in_torch}


ways = ways_of(torch.float32)
for name, way in ways.items():
    assert torch.allclose(way(0.0), ways["torch"](0.0), atol=1e-4), name
assert torch.allclose(ways["your kernel"](0.37), ways["the course's"](0.37), atol=1e-4)
print("all agree, on", DEVICE)
if ON_GPU:
    for dtype in (torch.float32, torch.bfloat16):
        ways = ways_of(dtype)
        ways["torch.compile"] = torch.compile(ways.pop("torch"))
        source = torch.empty(2 * B, n, device=DEVICE, dtype=dtype)
        destination = torch.empty_like(source)
        ways["a copy of as many bytes"] = lambda c, s=source, d=destination: d.copy_(s)
        for name, way in ways.items():
            ms = timed(lambda way=way: way(0.37), DEVICE, record=False).median
            moved = 4 * B * n * dtype.itemsize
            print(f"{dtype}, {name}: {1e3 * ms:.0f} us, {moved / ms / 1e6:.0f} GB/s")
else:
    print("no GPU here, so nothing is timed: the next cell has an H100's times")

# %% [markdown]
# ## Explain what was measured
#
# These times were measured on an H100 (`kernels/results/README.md`; 26 November 2026). In the picture $x_t$, $x_s$, the noise and each half of `out` have 256 MiB, so there are twice as many elements in bfloat16. The *nine operations* are the step in plain torch, with one kernel for each operation (`kernels/README.md` has the table of their passes). *The kernel, noise read* is rung 8 with $c = 0$, which gets the noise as `x0prev` and its factor as $e$, so it reads a fifth tensor and makes no noise. All launches are recorded in a CUDA graph, except those of pair 5 in the next exercise, so the time that the host takes for a launch is not in them. What the GPU itself needs to start a kernel is in them. The dashed lines, and the numbers in brackets, are the prediction from the data sheet: bytes divided by 3.35 TB/s.

# %% alt="Bars of microseconds, measured on an H100 for tensors of 256 MiB, and dashed lines at the time of the bytes by the data sheet. In float32 the nine operations take 2,029, torch.compile 365, and the kernel 354, against 321 by the data sheet; with noise read from memory the kernel takes 442. In bfloat16 they take 2,170, 713, 357 and 440."
results = json.loads(Path("../kernels/results/nvidia-h100-80gb-hbm3.json").read_text())
times = {
    (m["dtype"], tuple(m["shape"]), m["way"]): 1e3 * m["time"]["median"]
    for m in results["measurements"]
}
large = {"float32": (4096, 4, 64, 64), "bfloat16": (8192, 4, 64, 64)}  # 256 MiB each
bars = {"eager": "nine operations", "compiled": "torch.compile", "fused": "the kernel"}
bars |= {"fused, given": "the kernel, noise read"}
fig, panels = plt.subplots(1, 2, figsize=(11, 2.8), layout="constrained", sharey=True)
for ax, (dtype, shape) in zip(panels, large.items(), strict=True):
    for i, (way, label) in enumerate(bars.items()):
        us = times[dtype, shape, way]
        passes = {"eager": 22, "fused, given": 5}.get(way, 4)
        predicted = passes * 2**28 / 3.35e6  # bytes by bytes per microsecond
        ax.barh(label, us, color=(GREY, ORANGE, BLUE, GREEN)[i])
        ax.plot((predicted, predicted), (i - 0.4, i + 0.4), "k--")
        ax.text(us + 40, i, f"{us:,.0f} ({predicted:,.0f})", va="center")
    ax.set(xlim=(0, 3100), title=f"{dtype}, tensors of 256 MiB")
    ax.set_xlabel("microseconds (dashed, and in brackets: the time of the bytes)")
panels[0].invert_yaxis()
plt.show()
small = {"fused": ((1, 1, 32, 32), (16, 4, 64, 64)), "compiled": ((1, 1, 32, 32),)}
for way, shapes in small.items():
    for shape in shapes:
        us = times["float32", shape, way]
        print(f"{bars[way]}, float32, {' x '.join(map(str, shape))}: {us:.1f} us")

# %% [markdown]
# **Exercise 12.5** (explain). Here are six pairs of measurements, all on this H100, and four reasons. E means that none of the four explains the pair. First write one sentence with a number for each pair, on paper. Then give the letters; a reason can occur twice. The model answer is in the fold below the check.
#
# | | measured |
# |---|---|
# | 1 | float32, 256 MiB: `torch.compile` calls Philox once per element and takes 365 us; the kernel calls it once per four elements and takes 354 us, nearly the same |
# | 2 | bfloat16, 256 MiB: the same `torch.compile` takes 713 us, and the kernel 357 us |
# | 3 | float32, 256 MiB: the kernel takes 442 us if it reads its noise, and 354 us if it makes it |
# | 4 | float32: the kernel takes 7.1 us for 1 x 1 x 32 x 32, and 7.9 us for 256 times as many elements |
# | 5 | float32, 256 MiB, samples of 3 x 73 x 75: this size is odd. Most samples do not start at a multiple of 16 bytes, so each access has 4 bytes instead of 16. The kernel reaches 2,319 GB/s with 2 warps per program, where its code has 80 instructions per place of a tile, and 2,999 GB/s with 4 warps and 75 instructions |
# | 6 | bfloat16, 256 MiB: the nine operations take 2,170 us, the kernel 357 us |
#
# | letter | reason |
# |---|---|
# | A | the slower one moves more bytes |
# | B | the slower one has many more instructions than are free |
# | C | both move the same bytes, and the further instructions of one are free or nearly free |
# | D | both take a time that hardly depends on the size: their bytes need only a small part of it; the launch, and the waits of each program for its loads, need the rest |
# | E | none of A to D; the cause was not measured |

# %% nbgrader={"grade": false, "grade_id": "ex_12_5", "locked": false, "schema_version": 3, "solution": true, "task": false}
reasons = {1: "", 2: "", 3: "", 4: "", 5: "", 6: ""}  # a letter for each
### BEGIN SOLUTION
reasons = {1: "C", 2: "B", 3: "A", 4: "D", 5: "E", 6: "A"}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_12_5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_12_5(reasons)

# %% [markdown]
# <details><summary>A model answer</summary>
#
# 1. C. Both read `xt` and two halves and write `xs`, 16 bytes per element. As an estimate for `torch.compile` we take rung 3, which also calls Philox once per element: it executes 130 instructions, and the kernel 52. 160 are free, so the count is no limit for either. It gives only a lower bound of the time; that the further instructions are nearly free is measured: $365 / 354 = 1.03$. Even a part of the 11 us can have another reason: a second small kernel makes the seeds of `torch.compile`. On the smallest tensor, where the bytes take no time, it takes $12.8 - 7.1 = 5.7$ us longer (printed above).
# 2. B. In bfloat16 8 bytes leave time for 80. The 132 of rung 3 take at least $132 / 80 = 1.65$ times the time of the bytes, which is 321 us by the data sheet. `torch.compile` takes $713 / 321 = 2.2$ times that time. The count is a lower bound, and why the time exceeds it by a third was not examined. The kernel's 56 are free, and it takes $357 / 321 = 1.1$ times that time.
# 3. A. Read noise is a fifth pass: $5 / 4 = 1.25$, and $442 / 354 = 1.25$. With the noise term the kernel executes $51.7 - 15.9 = 36$ instructions more (both were printed in the section on rung 7), which are free.
# 4. D. At 3 TB/s the 4 MiB of the larger one take 1.4 us and the 16 KiB of the smaller one 0.005 us. Both are small compared with the 7 us. A part of the 7 us is the start of the kernel on the GPU, which no kernel avoids. In addition each program waits for memory three times, one after another: for the row and a part of the data, for the other data, and for the sample's number. For a large tensor other warps go on meanwhile; here there are hardly any. How the time divides into the launch and the waits was not measured (`kernels/ladder/small_tensors.py` estimates 0.4 to 0.7 us per wait).
# 5. E. Not A: both read and write the same tensors, so the same bytes have to move. (Whether the narrow accesses cause further transfers between the caches and memory was not counted.) Not B: 75 and 80 are far below 160. Not C: one takes $2999 / 2319 = 1.29$ times as long. Not D: four passes of 256 MiB take 463 us at 2,319 GB/s. So none of the four is the cause, and the number of warps on a multiprocessor does not explain it either. In the compiled code a thread has 44 registers with 4 warps per program and 96 with 2. They are allocated in groups of 8, so the 44 take 48. A multiprocessor has 65,536, so 10 programs fit in both cases: 40 warps and 20. But each of the 20 warps has twice the elements, so as many bytes can be under way. With 1 warp per program a thread has 255 registers, so only 8 programs fit, and yet the kernel reaches 2,387 GB/s, more than with 2. One more count goes with the loss: in the listing a warp waits for loads 3 times, one after another, with 4 warps per program, 8 times with 2, and twice with 1 (`kernels/ladder/small_tensors.py` explains how this is counted). With 8 waits the loads are under way in small groups. That this is the cause was not measured. (`kernels/results/README.md`, What is still open, has all these numbers.)
# 6. A. 22 passes and 4: the ratio can be 5.5, and 6.1 is measured. The rest is the drawing of $z$. With given noise the other eight operations (`eager, given` in `kernels/results/README.md`) take 1,858 us for 21 passes. This is 3,033 GB/s, and the kernel has 3,012. So they take $1858 / 357 = 5.2$ times as long as the kernel, and $21 / 4 = 5.25$ is predicted. The drawing takes $2170 - 1858 = 312$ us, and its bytes take 80 by the data sheet. In float32 as many bytes are half as many elements, and the drawing takes 160 us. So its time depends on the elements and not on the bytes.
#
# </details>

# %% [markdown]
# ## You now know
#
# - a Philox call has four words, which make four normals: 14 instructions of Philox per element instead of 49 (`kernels/ladder/rung4_four_from_one.py`);
# - knowing the interval of an argument replaces a library's slow path by a short polynomial (`kernels/ladder/rung5_our_normals.py`);
# - a tile is [SAMPLES, 1] and [1, BLOCK], broadcast; what belongs to a sample is read once per row, and the mask has two directions (`kernels/ladder/rung6_tiles.py`);
# - an argument that is None is decided at compile time and costs nothing, and a test of a number of the row is a uniform branch, decided when the kernel runs (`kernels/ladder/rung7_look_back.py`);
# - addresses of 32 bits end at $2^{31}$, which the sum $B n + \text{at}$ of the null half reaches first (`kernels/triton_step.py`);
# - a test of a kernel owns the memory around the tensors: NaN around inputs, a number around outputs, odd sizes; after the call it compares all of this memory.
#
# ## Five questions
#
# 1. Why does a wrong order of the four normals pass every statistical test?
# 2. A sample has 300 elements. What are `BLOCK` and `SAMPLES`, and which fraction of a full tile is masked?
# 3. Why is the mask `at < B * n` not enough?
# 4. A guided step reads `x0prev` and keeps its guess. How many bytes per element is that in bfloat16, and how many instructions are free on an H100?
# 5. Why does a frame of NaN belong around the inputs and not around the output?
#
# <details><summary>Answers</summary>
#
# 1. The four are independent and have the same distribution, so every order of them has the same distribution.
# 2. `BLOCK` = 512 and `SAMPLES` = 2. $1 - 300 / 512 = 41$ % are masked.
# 3. If $n$ is not a multiple of `BLOCK`, the last tile of a sample goes on into the next sample, where `at` is still below $B n$. It can overwrite the first elements there with values made from another sample's weight and noise.
# 4. Six passes of 2 bytes are 12 bytes. They take $12 / 3.35 = 3.6$ ps, in which the GPU executes $3.6 \cdot 33.5 = 120$ instructions.
# 5. NaN shows a read, because it survives a multiplication by 0. Around the output it would hide a kernel that reads NaN beyond the input and writes it beyond the output.
#
# </details>
#
# **Try:** exercises 1 to 3 of `kernels/README.md`: count, find the row, compile. This is the last sitting about the kernel: `minicfg/sampling.py` calls it, once per step.
