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
# # 8. A UNet, built cell by cell, and your own training loop, on glyphs
#
# **The question.** In sittings 1 to 7 all samples were points in the plane, and the denoiser was a formula or a network of a few lines. A colour picture of a letter consists of 3 x 32 x 32 = 3,072 numbers. Which network predicts the noise in all of them, at every noise level and for every label, and how is it trained?
#
# **After this sitting you can** build a small UNet and explain each of its parts, write its training loop with label dropout, sample it over `w`, give each sample its own weight, make a sample a function of its seed and its number, and measure what guidance loses on pictures.
#
# It needs torch, one to two minutes of computing, and no GPU. Plan 110 minutes with the exercises. You need sittings 4 and 5; `minicfg/unet.py`, `minicfg/training.py` and `minicfg/sampling.py` go deeper. On a hosted machine that has torch already: clone the repository, `pip install -e . -c constraints.txt --no-deps`, and restart the kernel.

# %% alt="Two grids of coloured letters on black, with rows A, G, R and S and six pictures in each row. Left: pictures of the data set, in different typefaces, colours and sizes. Right: samples of a trained network, which are legible letters of different typefaces and colours, a few with rough or broken strokes."
# %matplotlib inline
import copy
import tempfile
from functools import partial
from itertools import pairwise
from pathlib import Path

import check
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from IPython.display import Image
from torch import nn

import minicfg
from kernels import philox
from minicfg import sample, solvers
from minicfg.schedule import Schedule as TorchSchedule
from minicfg.training import TrainConfig, ema_decay
from minicfg.viz import plots
from tutorial import step17_solvers, step22_swap_in
from tutorial.figures.program import BLUE, CLASS_COLORS, GREEN, GREY, ORANGE
from tutorial.step02_forward import Schedule

torch.set_num_threads(1)  # a second thread does not make such small networks faster
torch.manual_seed(0)
plt.rcParams["figure.dpi"] = 80


def as_grid(ax, rows, columns, x, title="", scale=2):
    """Pictures (R, C, channels, H, W) as one, with a name for each row and each column."""
    ax.imshow(plots.mosaic(x, scale, 2), interpolation="none")
    side = scale * x.shape[-1] + 2
    for set_ticks, names in ((ax.set_yticks, rows), (ax.set_xticks, columns)):
        set_ticks(side * np.arange(len(names)) + side // 2, names, fontsize=8)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=10)


letters = ["A", "G", "R", "S"]
glyphs = minicfg.load_data("glyphs:" + "".join(letters))
shipped = minicfg.load("glyphs")  # a trained network that comes with minicfg
real = torch.stack([glyphs.x[glyphs.y == k][:6] for k in range(4)])
drawn = torch.stack([sample(shipped, [c] * 6, w=1.0, steps=20, seed=3) for c in letters])
_, panels = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
as_grid(panels[0], letters, [""] * 6, real, "pictures of the data set")
as_grid(panels[1], letters, [""] * 6, drawn, "samples of a trained network, w = 1")
plt.show()

# %% [markdown]
# The data are *glyphs*: letters in 17 typefaces, in any colour, slightly rotated, shifted and scaled. The class is the letter. The right panel was drawn by a network with 730,731 weights, which was trained for an hour. You will build one of the same kind with a fifth of the weights, train it with your own loop in half a minute, and then use the large one where a good network is necessary.
#
# ## What the network has to do
#
# It is a function `out = model(xt, t, y)`. `xt` is a batch of noisy pictures, of shape `(B, C, H, W)` for B pictures with C channels; `t` are B integers in 1..T; `y` are B labels in 0..K. The output has the shape of `xt`, because it contains one predicted number of noise for each number of the picture.
#
# Networks for pictures consist of *convolutions*. A convolution with a 3 x 3 window computes each pixel of its output from 9 pixels of its input (and from all channels there), with the same weights at each place. That suits pictures, because a stroke looks the same wherever it is. But a pixel has to know more than its neighbours: whether it lies on a stroke depends on the whole letter. Each further convolution adds one pixel on each side. So after $n$ of them a pixel depends on a square of width
#
# $$ 1 + 2 n \qquad \text{which is } 13 \text{ for } n = 6 $$
#
# Halving the picture helps. Take two convolutions at full resolution, two at half and two at a quarter, and count backwards from the output. The last two see $1 + 2 \cdot 2 = 5$ pixels of a quarter of the resolution in each direction. These are $5 \cdot 2 = 10$ pixels of half the resolution, and two convolutions there add $2 \cdot 2 = 4$. The same once more at full resolution gives
#
# $$ (5 \cdot 2 + 4) \cdot 2 + 4 = 32 $$
#
# So the same six convolutions see all of a picture of 32 x 32 pixels. They are also cheaper, because a convolution on half the resolution has a quarter of the pixels.


# %% alt="Two maps of 48 x 48 input pixels, which show how strongly one output pixel depends on each of them. At full size it is a small dark spot of 13 x 13 pixels, and after halving twice a spot of 32 x 32 pixels. Both fade from the centre to the edge."
def mean_of_window(x):
    """A 3 x 3 convolution with equal weights."""
    return F.conv2d(x, torch.full((1, 1, 3, 3), 1 / 9), padding=1)


def seen(halved):
    """How strongly the pixel in the middle of the output depends on each pixel of the input."""
    picture = torch.zeros(1, 1, 48, 48, requires_grad=True)
    h = picture
    for level in range(3):
        h = F.avg_pool2d(h, 2) if halved and level else h
        h = mean_of_window(mean_of_window(h))
    h = F.interpolate(h, size=(48, 48)) if halved else h
    h[0, 0, 24, 24].backward()
    return picture.grad[0, 0]


_, panels = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
for ax, halved in zip(panels, (False, True), strict=True):
    width = int((seen(halved).sum(0) > 0).sum())
    ax.imshow(seen(halved).sqrt(), cmap="Blues")
    ax.set_title(f"{'halved twice' if halved else 'full size'}: {width} x {width}", fontsize=10)
plt.suptitle("what one output pixel sees of 48 x 48, after six convolutions", fontsize=10)
plt.show()

# %% [markdown]
# What is lost by halving is the exact place of a stroke. A *UNet* therefore goes down to small pictures and up again, and on the way up it receives the pictures of the way down as well, which are called *skips*. Before the wiring come its three parts: the time, the label, and the block.
#
# ## The time
#
# The noise level decides what the output should be: at small $t$ the noise is what the letter does not explain, at large $t$ it is nearly all of $x_t$. The network gets $t$ as a vector of cosines and sines,
#
# $$ e(t) = (\cos \omega_1 t, \dots, \cos \omega_n t, \sin \omega_1 t, \dots, \sin \omega_n t) $$
#
# with frequencies $\omega$ from 1 down to 1/10,000 radian per step. **Ask yourself:** why not the number $t / T$ itself? Two neighbouring times differ by 0.001 then.


# %% alt="Left: a map of the 16 components of e(t) over t from 0 to 1000; some components alternate in narrow stripes, and others hardly change. Right: the distance of e(t) from e(500) rises steeply next to 500 and then varies between 1.7 and 4.4, while the distance of t / T rises slowly to 0.5."
def embedded(t, n):
    """The vectors e(t) of times (B,), of shape (B, n)."""
    frequency = torch.logspace(0, -4, n // 2)
    angle = t[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)


times = torch.arange(1001)
of_time = embedded(times, 16)
apart = (of_time - of_time[500]).norm(dim=1)
_, (left, right) = plt.subplots(1, 2, figsize=(10, 2.8), layout="constrained")
left.imshow(of_time.T, aspect="auto", cmap="RdBu", interpolation="none")
left.set(xlabel="t", ylabel="component", title="e(t), 16 components")
right.plot(times, apart, color=BLUE, label="|e(t) - e(500)|")
right.plot(times, (times - 500).abs() / 1000, color=ORANGE, label="|t - 500| / 1000")
right.set(xlabel="t", title="distance of t from 500")
right.legend(fontsize=8)
plt.show()
print(f"from 500 to 501: {apart[501]:.2f}, or 0.001 with t / T")

# %% [markdown]
# <details><summary>Answer</summary>
#
# With $t / T$ the network would have to compute functions that change quickly from inputs that differ by 0.001, which takes large weights. In $e(t)$ neighbouring times are clearly apart because of the fast components, and distant times are distinguished by the slow ones. All components lie in -1..1.
#
# </details>
#
# ## The label
#
# A label is a number without an order: C is not "between" B and D. So each label gets its own vector, which is learnt: a row of a table (`nn.Embedding`). The table has $K + 1$ rows. The last one belongs to the null label $\phi$, the integer $K$. With it the same network is both $\epsilon(x_t, y)$ and $\epsilon(x_t, \phi)$. The vectors of time and label are added to one vector `emb`.
#
# **Ask yourself:** why not row 0, or a vector of zeros, for "no label"?

# %% alt="Left: the table of labels as a map of five rows, A, B, C, R and null, by 24 components, with colours in no recognisable pattern. Right: grey pictures of the four letters, eight of each, in different typefaces and widths."
small = minicfg.load_data("glyphs:1x16:ABCR")  # grey pictures of 16 x 16 pixels
K, shape = small.num_classes, small.shape
table = nn.Embedding(K + 1, 24)
_, (left, right) = plt.subplots(1, 2, figsize=(10, 2.2), layout="constrained", width_ratios=(3, 2))
left.imshow(table.weight.detach(), cmap="RdBu", aspect="auto")
left.set_yticks(
    range(K + 1), [*(f"{k}: {name}" for k, name in enumerate(small.classes)), "4: null"]
)
left.set(title="the table before training: a row for each label", xlabel="component")
of_class = torch.stack([small.x[small.y == k][:8] for k in range(K)])
as_grid(right, small.classes, [""] * 8, of_class, f"{len(small)} pictures of {shape}")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Row 0 is a class. A fixed vector of zeros would work too: the other weights of the network would learn what it means. What matters is that the vector is different from those of all classes, and that the network sees it in training. With a learnt row no special case is necessary: the null label is one more value of `y`.
#
# </details>
#
# ## The block
#
# The block is what the network consists of. It changes $x$ by an amount that it learns:
#
# $$ h = \text{conv}_1(\text{silu}(\text{norm}(x))) $$
# $$ h' = (1 + s) \, \text{norm}(h) + b \qquad (s, b) = \text{linear}(\text{emb}) $$
# $$ \text{block}(x) = \text{skip}(x) + \text{conv}_2(\text{silu}(h')) $$
#
# - $\text{norm}$ subtracts the mean and divides by the standard deviation, in groups of 8 channels of one picture. So the numbers keep their size however deep the network is.
# - $\text{silu}(h) = h / (1 + e^{-h})$ is close to 0 for negative $h$, and close to $h$ for large $h$.
# - $s$ and $b$ are one number each per channel. In this way time and label enter: they scale and shift the channels. This is called FiLM.
# - $\text{skip}(x)$ is $x$, or a 1 x 1 convolution if the number of channels changes. $\text{conv}_2$ starts at zero. So an untrained block passes $x$ on, and a deep network is as easy to train at first as a shallow one.
#
# The picture shows what $s$ and $b$ can do with one channel. With a negative $b$ the silu switches the channel off, so a channel can be for some noise levels or letters only.


# %% alt="Five maps of the letter R after the silu, for different s and b. Compared with s = 0 and b = 0, its strokes are brighter with s = 1 and darker than the ground with s = -2. With b = 2 letter and ground are both brighter, and with b = -4 the map is almost uniform."
class ResidualBlock(nn.Module):
    """From c to c_out channels, with the vector emb."""

    def __init__(self, c, c_out, emb_dim):
        super().__init__()
        self.norm1 = nn.GroupNorm(c // 8, c)
        self.conv1 = nn.Conv2d(c, c_out, 3, padding=1)
        self.film = nn.Linear(emb_dim, 2 * c_out)
        self.norm2 = nn.GroupNorm(c_out // 8, c_out, affine=False)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)
        self.skip = nn.Conv2d(c, c_out, 1) if c != c_out else nn.Identity()

    def forward(self, x, emb):
        """Pictures (B, c, H, W) and vectors (B, emb_dim) to (B, c_out, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        s, b = self.film(emb)[:, :, None, None].chunk(2, dim=1)  # (B, c_out, 1, 1) each
        h = F.silu((1 + s) * self.norm2(h) + b)
        return self.skip(x) + self.conv2(h)


block = ResidualBlock(16, 32, 64)
x = torch.randn(5, 16, 8, 8)
print("x", tuple(x.shape), " emb (5, 64)  block(x, emb)", tuple(block(x, torch.randn(5, 64)).shape))
print("untrained, it is skip(x):", torch.equal(block(x, torch.randn(5, 64)), block.skip(x)))
h = (small.x[3, 0] - small.x[3, 0].mean()) / small.x[3, 0].std()
_, panels = plt.subplots(1, 5, figsize=(10, 2.2), layout="constrained")
for ax, (s, b) in zip(panels, ((0, 0), (1, 0), (-2, 0), (0, 2), (0, -4)), strict=True):
    shown = ax.imshow(F.silu((1 + s) * h + b), cmap="viridis", vmin=-0.3, vmax=5)
    ax.set_title(f"s = {s}, b = {b}", fontsize=10)
    ax.axis("off")
plt.colorbar(shown, ax=panels, label="silu(h')")
plt.show()

# %% [markdown]
# ## The wiring
#
# **Exercise 8.0** (fill in a function). Write the way down and up. `down` and `up` are lists of equally many functions of one picture, which are blocks; `middle` is one more; `halve` and `double` change the size of a picture.
#
# 1. On the way down, apply the blocks in their order. Halve the picture before each block but the first. Keep the output of each block.
# 2. Apply `middle`.
# 3. On the way up, apply the blocks in their order. Double the picture before each block but the first. The input of a block is `torch.cat([x, kept output], dim=1)`, where the kept output is the one of the same size.
#
# Return the last output. The check calls your function with simple functions in the place of the blocks, and `halve` and `double` leave the size as it is there. So code with a wrong order runs without an error of shapes, and gets a hint.


# %% nbgrader={"grade": false, "grade_id": "ex_8_0", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_unet(x, down, middle, up, halve, double):
    ### BEGIN SOLUTION
    kept = []
    for i, block in enumerate(down):
        if i > 0:
            x = halve(x)
        x = block(x)
        kept.append(x)
    x = middle(x)
    for i, block in enumerate(up):
        if i > 0:
            x = double(x)
        x = block(torch.cat([x, kept.pop()], dim=1))
    return x
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_8_0", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_8_0(my_unet)

# %% [markdown]
# Now all parts are there. The network below has three levels: 16 x 16, 8 x 8 and 4 x 4 pixels. A first convolution (the *stem*) makes 16 channels of one, and a last one (the *head*) makes one of 16. The head starts at zero as well, so the untrained network predicts 0 everywhere. The drawing shows the shapes that occurred when it was run on one batch.


# %% alt="A drawing of seven blocks in the shape of a V. Three blocks lead down from 16 x 16 to 4 x 4 pixels, the middle block follows, and three blocks lead up again to 16 x 16. Dashed arrows, the skips, join each block of the way down to the block of the same size opposite."
class TinyUNet(nn.Module):
    """Predicts the noise in grey pictures, (B, 1, 16, 16)."""

    prediction = "eps"  # what the output means: samplers read it

    def __init__(self, num_classes, width=16):
        super().__init__()
        self.num_classes = num_classes
        self.width = width
        emb_dim = 4 * width
        self.time = nn.Sequential(nn.Linear(width, emb_dim), nn.SiLU(), nn.Linear(emb_dim, emb_dim))
        self.label = nn.Embedding(num_classes + 1, emb_dim)
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        c, d = width, 2 * width
        self.down = nn.ModuleList(ResidualBlock(i, o, emb_dim) for i, o in ((c, c), (c, d), (d, d)))
        self.middle = ResidualBlock(d, d, emb_dim)
        self.up = nn.ModuleList(
            ResidualBlock(i, o, emb_dim) for i, o in ((d + d, d), (d + d, c), (c + c, c))
        )
        self.norm = nn.GroupNorm(width // 8, width)
        self.head = nn.Conv2d(width, 1, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, xt, t, y):
        """The predicted noise."""
        emb = F.silu(self.time(embedded(t, self.width)) + self.label(y))
        x = my_unet(
            self.stem(xt),
            [partial(block, emb=emb) for block in self.down],
            partial(self.middle, emb=emb),
            [partial(block, emb=emb) for block in self.up],
            halve=lambda x: F.avg_pool2d(x, 2),
            double=lambda x: F.interpolate(x, scale_factor=2),
        )
        return self.head(F.silu(self.norm(x)))


torch.manual_seed(0)
model = TinyUNet(K)
blocks = [*model.down, model.middle, *model.up]
shapes = []
watched = [
    b.register_forward_hook(lambda _, given, out: shapes.append((given[0].shape, out.shape)))
    for b in blocks
]
out = model(small.x[:2], torch.tensor([1, 1000]), torch.tensor([0, K]))
for hook in watched:
    hook.remove()

_, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
names = ["down 0", "down 1", "down 2", "middle", "up 0", "up 1", "up 2"]
places = [(0, 2), (1, 1), (2, 0), (3, -0.7), (4, 0), (5, 1), (6, 2)]
for name, (column, level), (given, made) in zip(names, places, shapes, strict=True):
    text = f"{name}\n{given[1]} -> {made[1]} channels\n{made[2]} x {made[3]}"
    colour = GREEN if name == "middle" else BLUE if "down" in name else ORANGE
    ax.text(column, level, text, ha="center", va="center", fontsize=8,
            bbox={"boxstyle": "round", "fc": "white", "ec": colour})  # fmt: skip
for start, end in pairwise(places):
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "shrinkA": 26, "shrinkB": 26})
for level, (start, end) in enumerate(((0, 6), (1, 5), (2, 4))):
    ax.annotate("", (end - 0.5, 2 - level), (start + 0.5, 2 - level),
                arrowprops={"arrowstyle": "->", "ls": "--", "color": GREY})  # fmt: skip
    ax.text(3, 2.08 - level, "skip", ha="center", color=GREY, fontsize=8)
ax.set(xlim=(-0.6, 6.6), ylim=(-1.1, 2.5))
ax.axis("off")
plt.show()
weights = sum(p.numel() for p in model.parameters())
print(f"{weights:,} weights; output {tuple(out.shape)}, all zero: {not out.any()}")

# %% [markdown]
# The first block of the way up has 64 channels as input: 32 from the middle, and 32 of the skip. The output of the untrained network is 0, the mean of the noise.
#
# ## What is trained
#
# As in sittings 3 and 5, training draws a picture $x_0$ with its label $y$, a time $t$ uniformly from 1..T, and noise $\epsilon$, and makes
#
# $$ x_t = \sqrt{\bar\alpha_t} \, x_0 + \sqrt{1 - \bar\alpha_t} \, \epsilon $$
#
# The loss is the mean over all pixels of $(\epsilon - \text{out})^2$. With probability $p$ the label is dropped: the network gets $\phi$ instead. So the expected loss has two parts. With $| \cdot |^2$ for the mean over all numbers of a picture it is
#
# $$ L = (1 - p) \, E |\epsilon - \text{out}(x_t, t, y)|^2 + p \, E |\epsilon - \text{out}(x_t, t, \phi)|^2 $$
#
# The minimum of the first is $E[\epsilon | x_t, y]$, and that of the second $E[\epsilon | x_t]$: the two predictions of guidance. For example, with $p = 0.1$ and batches of 32 pictures, about 3 pictures in each batch train the second one.
#
# **Exercise 8.1** (fill in a formula). `y` contains the labels 0..K-1 of a batch, of shape `(B,)`. `u` has the same shape and is uniform in 0..1; `p` is the probability of dropping a label; `null` is the null label. Return the labels for the network, a tensor of integers.


# %% nbgrader={"grade": false, "grade_id": "ex_8_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def hidden_labels(y, u, p, null):
    ### BEGIN SOLUTION
    return torch.where(u < p, null, y)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_8_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_8_1(hidden_labels)

# %% alt="A grid of coloured cells, with a row for each of 12 batches and a column for each of 32 places. Four colours are the four labels. Black cells, 13 % of all, are dropped labels, and they are scattered over the grid without a pattern."
own = small.y[torch.randint(len(small), (12, 32))]
given = torch.stack([hidden_labels(y, torch.rand(32), 0.1, K) for y in own])
colours = plt.matplotlib.colors.ListedColormap([*CLASS_COLORS[:4], "black"])
_, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.imshow(given, cmap=colours, vmin=0, vmax=4)
ax.set(xlabel="place in the batch", ylabel="batch")
ax.set_title(f"your labels of 12 batches; black: dropped, {(given == K).float().mean():.0%}")
plt.show()

# %% [markdown]
# ## Your training loop
#
# **Exercise 8.2** (write a loop). This is the exercise of the sitting: about 15 lines that train any denoiser. The arguments are
#
# - `model`, the network, and `average`, a copy of it. Your loop makes its weights an average over the steps;
# - `optimizer`, which has the weights of `model`;
# - `data`, with pictures `data.x` (N, C, H, W), labels `data.y` (N,), and `data.num_classes`, which is K;
# - `alpha_bar`, the table of $\bar\alpha_t$ for t = 0..T, so it has T + 1 entries;
# - `steps`, `batch`, `p`, and `decay`.
#
# Before the loop, switch the network to training mode with `model.train()`. Then, in each of the `steps`:
#
# 1. draw `batch` row numbers with `torch.randint`, and take pictures and labels of these rows;
# 2. draw one `t` per picture, from 1..T, and noise in the shape of the pictures;
# 3. make $x_t$. `alpha_bar[t]` has the shape `(batch,)`; to multiply pictures it needs the shape `(batch, 1, 1, 1)`;
# 4. drop labels with your `hidden_labels`;
# 5. evaluate the network, and compute the mean squared error against the noise;
# 6. `optimizer.zero_grad()`, `loss.backward()`, `optimizer.step()`: delete the last gradient, compute the new one, take a step;
# 7. under `with torch.no_grad():`, move the average towards the weights, $a \leftarrow d \, a + (1 - d) \, b$ with $d$ = `decay`, for all pairs `a, b` in `zip(average.parameters(), model.parameters())`. `a.lerp_(b, f)` writes $(1 - f) a + f b$ into `a`;
# 8. append the loss to a list, as a number: `loss.item()`.
#
# Return the list. The check runs your loop on a small network that records what it is given, and compares that with what should happen; it knows more than 60 mistakes by name.


# %% nbgrader={"grade": false, "grade_id": "ex_8_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_training(model, average, optimizer, data, alpha_bar, steps, batch=32, p=0.1, decay=0.98):
    ### BEGIN SOLUTION
    model.train()
    losses = []
    for _ in range(steps):
        rows = torch.randint(len(data.x), (batch,))
        x0, y = data.x[rows], data.y[rows]
        t = torch.randint(1, len(alpha_bar), (batch,))
        eps = torch.randn_like(x0)
        abar = alpha_bar[t][:, None, None, None]
        xt = abar.sqrt() * x0 + (1 - abar).sqrt() * eps
        y = hidden_labels(y, torch.rand(batch), p, data.num_classes)
        loss = (model(xt, t, y) - eps).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for a, b in zip(average.parameters(), model.parameters(), strict=True):
                a.lerp_(b, 1 - decay)
        losses.append(loss.item())
    return losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_8_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_8_2(my_training)

# %% [markdown]
# Now it trains the UNet, for 500 steps. **Predict:** where does the loss start, since the untrained network predicts 0? Does it go to 0?

# %% alt="The loss on a logarithmic scale over 500 steps, for single batches and as a mean of 25. It starts at 1, the dotted line of the prediction 0, falls to 0.15 within about 80 steps, and then more slowly to about 0.08."
schedule = TorchSchedule.cosine(1000)
torch.manual_seed(1)
average = copy.deepcopy(model).requires_grad_(False)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
losses = my_training(model, average, optimizer, small, schedule.alpha_bar.float(), steps=500)
smooth = np.convolve(losses, np.ones(25) / 25, "valid")
_, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
ax.plot(range(1, 501), losses, color=GREY, lw=0.5, label="one batch")
ax.plot(np.arange(25, 501), smooth, color=BLUE, label="mean of 25")
ax.axhline(1, color=ORANGE, ls=":", label="prediction 0")
ax.set(xlabel="step", ylabel="loss", yscale="log")
ax.legend(fontsize=8)
plt.show()
print(f"first loss {losses[0]:.2f}, mean of the last 100: {np.mean(losses[-100:]):.3f}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# It starts at 1, because the mean of $\epsilon^2$ is 1. It cannot go to 0, because $x_t$ does not determine the noise: many pictures and noises give the same $x_t$. In sitting 3 this lowest loss was known. For glyphs it is not known, so the curve alone does not show whether the network is good.
#
# </details>
#
# *This is about half of the sitting, and a place for a break. When you come back, run the cells above again.*
#
# ## The same sampler as before
#
# Sampling needs nothing new. A sampler evaluates `model(xt, t, y)` and combines the output with a row of a table (sitting 6); it does not matter whether the model is a formula or a UNet. To see this, run the same seed, labels and `w` through the loop of the lessons in NumPy and through `minicfg.sample` in torch, both with the exact denoiser of a Gaussian mixture. **Predict:** how far apart do the samples lie?

# %% alt="Two scatter plots of 300 samples, one from NumPy and one from torch. Both show the same three separate clouds, one per class, with every visible point at the same place."
ids = np.arange(300)
oracle = step22_swap_in.ORACLE
rows = step17_solvers.ddpm(Schedule.linear(step22_swap_in.T))
in_numpy = step17_solvers.run(oracle.model, ids % 3, rows, 2.0, step22_swap_in.Noise(ids))
in_torch = step22_swap_in.in_minicfg(oracle, 2.0, ids)
_, panels = plt.subplots(1, 2, figsize=(6, 3), layout="constrained", sharey=True)
for ax, x, title in ((panels[0], in_numpy, "NumPy"), (panels[1], in_torch, "torch")):
    ax.scatter(*x.T, s=4, c=np.array(CLASS_COLORS)[ids % 3])
    ax.set(title=title, aspect="equal")
plt.show()
print("furthest apart, less than 0.00001:", np.abs(in_torch - in_numpy).max() < 1e-5)

# %% [markdown]
# They agree to rounding, because noise is a function of seed, sample and step in both. So from here on only the model changes. **Predict**, for your network: which letters will the row `w = -1` show, if the labels are A, B, C, R, A, B, ... in every row? What changes from $w = 0$ to $w = 3$?

# %% alt="Grey letters for w = -1, 0, 1 and 3 in rows, with the labels A, B, C, R in columns. At w = -1 most letters are not those of their columns. From w = 0 on they are, and most become clearer with a larger w, while two thin letters C lose a part of their strokes."
table, y = solvers.ddpm(schedule, 40), torch.arange(12) % K
tiny = {"shape": shape, "seed": 3, "clip": 1.0}
ws = (-1.0, 0.0, 1.0, 3.0)
mine = torch.stack([sample(average, y, table, w=w, **tiny) for w in ws])
_, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
columns = [small.classes[k] for k in y.tolist()]
as_grid(ax, [f"w = {w:g}" for w in ws], columns, mine, "your network", scale=3)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# At $w = -1$ the label has no effect: the row shows letters of any class, or shapes between them. From $w = 0$ on the letters are those of their columns. With a larger $w$ most become clearer and bolder. Not all do: two thin letters C lose a part of their strokes at $w = 3$.
#
# </details>
#
# What does dropping labels contribute? If no label were ever dropped, the last row of the table would keep random values that the network has never seen in training. Below, this row of your network is replaced by other random values. (The other weights are those of your training, so this is not quite a training without dropping. Such a training, with `p=0`, gives much the same pictures.) **Predict:** which rows change?

# %% alt="Letters for w = -1, 0, 1 and 3 in rows, after the row of the null label was replaced by random values. At w = -1 there are mostly broken strokes. At w = 0 the letters are those of their columns, and at w = 1 and 3 they are bolder and still legible."
never_dropped = copy.deepcopy(average)
with torch.no_grad():
    row = torch.randn(64, generator=torch.Generator().manual_seed(5))
    never_dropped.label.weight[K] = row
without = torch.stack([sample(never_dropped, y, table, w=w, **tiny) for w in ws])
_, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
title = "your network, with a row for the null label that it has never seen"
as_grid(ax, [f"w = {w:g}" for w in ws], columns, without, title, scale=3)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The row $w = 0$ does not change, because it does not use the null label. The row $w = -1$ changes most: with this null label the network draws no letters, because it has never learnt what to draw. The rows with $w > 0$ are bolder and still legible. Guidance moves away from the bad prediction, and this direction leads roughly towards the letters as well. So the mistake is easily overlooked: no error is raised, and the samples look right. But they are not guided by $p(y | x_t)$, and a picture at $w = -1$ shows it.
#
# </details>
#
# ## The average of the weights
#
# The weights of single steps vary at random, because each batch is random. Their average varies less. With the weights $b_1, b_2, \dots$ after the steps and the start $a_0$, your loop computes
#
# $$ a_1 = d \, a_0 + (1 - d) \, b_1 $$
# $$ a_2 = d \, a_1 + (1 - d) \, b_2 = d^2 a_0 + (1 - d) (d \, b_1 + b_2) $$
#
# and so on: weights from long ago count less and less. This is an *exponential moving average*, EMA. The start $a_0$ is the untrained network.
#
# **Exercise 8.3** (predict, then measure). Large trainings use $d = 0.995$ or more. What is the factor of the untrained weights $a_0$ after 500 steps with $d = 0.995$, to three digits after the point?

# %% nbgrader={"grade": false, "grade_id": "ex_8_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
factor = ...
### BEGIN SOLUTION
factor = 0.995**500
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_8_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_8_3(factor)

# %% [markdown]
# Eight per cent of an untrained network is too much. The package therefore starts with a small $d$ and lets it grow, by `ema_decay`. Your loop used $d = 0.98$, which leaves $0.98^{500} = 4 \cdot 10^{-5}$. At the right: samples with the last weights, and with their average.

# %% alt="Left: factor of the untrained weights over 500 steps: it falls to almost 0 within 250 steps for d = 0.98, but only to 0.08 for d = 0.995, and with ema_decay it is 0. Right: twelve letters from the last weights and from the average; both are legible, with strokes of slightly different brightness."
steps = np.arange(1, 501)
config = TrainConfig(steps=500, ema=0.995)
kept = np.cumprod([ema_decay(config, n) if n else 0.0 for n in range(500)])
_, (left, right) = plt.subplots(1, 2, figsize=(12, 2.8), width_ratios=(2, 3), layout="constrained")
for decay, color in ((0.98, GREEN), (0.995, GREY)):
    left.plot(steps, decay**steps, color=color, label=f"d = {decay}")
left.plot(steps, kept, color=BLUE, label="ema_decay: the first step is copied")
left.plot(500, factor, "o", color=ORANGE, label="your prediction")
left.set(xlabel="step", ylabel="factor of the untrained weights")
left.legend(fontsize=8)
both = torch.stack([sample(net, y, table, w=1.0, **tiny) for net in (model, average)])
as_grid(right, ("last weights", "average"), columns, both, "w = 1", scale=3)
plt.show()

# %% [markdown]
# ## Guidance on pictures
#
# Your network was trained on 500 batches of 32 pictures. The one that comes with `minicfg` was trained on 4,000 batches of 64, has five times as many weights, and knows 26 letters in colour. It predicts $v$ and not $\epsilon$ (sitting 2), which makes no difference to guidance. Each row below is one letter with one noise, and only `w` changes from left to right. **Predict:** what happens to the strokes, the typeface and the colour?

# %% alt="Coloured letters in five rows, B, G, K, R and S, and in columns for w from -1 to 4. At w = -1 none is the letter of its row. From w = 0 on all are, with bolder strokes for a larger w; B turns from pink to orange and R from green to blue-green."
many = solvers.ddpm(shipped.schedule, 25, prediction="v")
big, of_size = shipped.model, {"shape": shipped.shape, "seed": 7, "clip": 1.0}
chosen = torch.tensor([1, 6, 10, 17, 18])
ws = (-1.0, 0.0, 0.5, 1.0, 2.0, 4.0)
over_w = torch.stack([sample(big, chosen, many, w=w, **of_size) for w in ws], 1)
_, ax = plt.subplots(figsize=(6, 4.8), layout="constrained")
as_grid(ax, [shipped.classes[k] for k in chosen], [f"w = {w:g}" for w in ws], over_w)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# At $w = -1$ the letters are not those of their rows. From $w = 0$ on they are, and with a larger $w$ the strokes become bolder and the serifs heavier. Some colours change although the noise is the same: R from green to blue-green, B from pink to orange, and G from orange to pink.
#
# </details>
#
# ## What is lost
#
# The colour of a glyph does not depend on its letter, so $p(y | x_0)$ does not depend on the colour. The tilted density $p(x_0 | y) \, p(y | x_0)^w$ therefore has the same distribution of colours for every $w$. **Predict:** do the samples have it at $w = 4$, too? And what happens to the *ink*, the mean brightness of a picture?


# %% alt="First picture: histograms of the hue; the data and the samples at w = 0 and 1 have all hues, and at w = 4 most lie between 210 and 360 degrees, blue to pink. Second picture: letters A, G, R and S, thin and many-coloured at w = 0, bold and mostly violet or pink at w = 4."
def ink(x):
    """The mean brightness of pictures, in 0..1, from their brightest channel."""
    return ((x.clamp(-1, 1) + 1) / 2).amax(1).mean((1, 2))


def hue(x):
    """The hue of pictures, in degrees: the direction of their mean colour."""
    rgb = (x.clamp(-1, 1) + 1) / 2
    red, green, blue = (rgb * rgb.amax(1, keepdim=True)).sum((2, 3)).unbind(1)
    return torch.rad2deg(torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue)) % 360


labels = torch.tensor([0, 6, 17, 18]).repeat(20)
groups = {"data": glyphs.x}
for w in (0.0, 1.0, 4.0):
    groups[f"w = {w:g}"] = sample(big, labels, many, w=w, **of_size)
for name, x in groups.items():
    part = ((hue(x) > 210) & (hue(x) < 360)).float().mean()
    print(f"{name:5}  hue in 210..360: {part:.0%}, ink {ink(x).mean():.3f}")
_, panels = plt.subplots(1, 4, figsize=(11, 2.6), layout="constrained", sharey=True)
for ax, (name, x) in zip(panels, groups.items(), strict=True):
    counts, edges = np.histogram(hue(x), 12, (0, 360))
    middle = (edges[:-1] + edges[1:]) / 2
    ax.bar(middle, counts / len(x), 28, color=plt.matplotlib.cm.hsv(middle / 360))
    ax.axhline(1 / 12, color=GREY, ls=":")
    ax.set(xlabel="hue in degrees", title=name)
panels[0].set_ylabel("fraction of the pictures")
plt.show()
_, panels = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
for ax, name in zip(panels, ("w = 0", "w = 4"), strict=True):
    as_grid(ax, letters, [""] * 9, groups[name].unflatten(0, (20, 4))[:9].transpose(0, 1), name)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# No. At $w = 4$ four of five letters are violet or pink, with hues between 210 and 360 degrees; in the data it is one of three. The ink is twice that of the data (0.248 and 0.124), so the strokes are bolder. At $w = 0$ both are closer to the data: 25 % and 0.113. One cause is known from sitting 7: a guided chain does not sample the density that guidance has in mind, and overshoots. The other is that both predictions have errors, whose difference guidance multiplies by $w$. This experiment does not separate the two. The typefaces have been counted, too, with a network that reads them: at $w = 8$ nine of the 17 are lost, and a weight that is 0 while there is much noise loses two (the figure is in `minicfg/weights/README.md`).
#
# </details>
#
# Scores express the same as numbers. Those of 520 samples at each `w`, with their standard errors, are in `minicfg/weights/README.md`:
#
# | w | classified as their letter | Frechet distance | recall |
# |---|---|---|---|
# | 0 | 97.3 ± 0.7 % | 0.43 ± 0.06 | 0.85 ± 0.02 |
# | 1 | 99.8 ± 0.3 % | 1.04 ± 0.07 | 0.67 ± 0.03 |
# | 4 | 99.8 ± 0.3 % | 3.90 ± 0.13 | 0.28 ± 0.04 |
# | real pictures | 99.2 ± 0.4 % | 0.25 ± 0.03 | 0.92 ± 0.01 |
#
# A classifier that was trained on real pictures reads the samples; the second column is the fraction that it assigns to their letter. The Frechet distance compares mean and covariance of its features with those of real pictures; it is 0 for equal distributions, and 0.25 for as many real pictures. The recall is the fraction of real pictures with at least one close sample. So guidance gains two per cent of accuracy here, and two thirds of the diversity are gone at $w = 4$.
#
# ## When the label matters
#
# In sitting 4 the label changed the exact prediction of $\epsilon$ most in the middle of the chain, and not at all at its ends. Here are real letters, noised to each $t$, and the mean square of $\epsilon_y - \epsilon_\phi$ of the network. **Predict:** is it 0 at both ends here, too?

# %% alt="The mean square of the difference of the two predictions on a logarithmic scale over t. It is highest, 0.005, at the left end, is almost constant at 0.002 from t = 100 to 800, and falls to less than 0.00001 at t = 990."
x0, of_x0 = glyphs.x[:48], torch.tensor([0, 6, 17, 18])[glyphs.y[:48]]
times = (5, 30, 100, 200, 300, 400, 500, 600, 700, 800, 900, 990)
effect = []
with torch.no_grad():
    for t in times:
        abar = shipped.schedule.alpha_bar[t].float()
        eps = philox.normal(1, torch.arange(48), t, shipped.shape)
        xt, of_t = abar.sqrt() * x0 + (1 - abar).sqrt() * eps, torch.full_like(of_x0, t)
        difference = big(xt, of_t, of_x0) - big(xt, of_t, big.null(of_x0))  # of v
        effect.append(abar * difference.square().mean())  # eps = sqrt(1 - abar) xt + sqrt(abar) v
plt.figure(figsize=(7, 2.8), layout="constrained")
plt.semilogy(times, effect, "o-", color=BLUE)
plt.xlabel("t")
plt.ylabel("mean square of eps_y - eps_null")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# It falls to nearly 0 at the right: at $t$ close to T nothing can be predicted but $x_t$ itself, with the label or without. At the left it does not fall. There $x_t$ shows the letter plainly, so that the exact predictions would agree. What remains must be errors of the network, which differ for the two labels, and guidance multiplies them by $w$.
#
# </details>
#
# ## A weight for each sample
#
# **Exercise 8.4** (find the mistake). To give each sample of a batch its own weight, an author made `w` a tensor of shape `(B,)` and left the rest as it was. With eight pictures of width 8 it runs, and is wrong. Write it for outputs of shape `(B, C, H, W)`.
#
# ```python
# return out_cond + w * (out_cond - out_null)
# ```


# %% nbgrader={"grade": false, "grade_id": "ex_8_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def guided_each(out_cond, out_null, w):
    ### BEGIN SOLUTION
    return out_cond + w[:, None, None, None] * (out_cond - out_null)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_8_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_8_4(guided_each)

# %% [markdown]
# `sample` takes such a `w`. Below is one batch of eight samples with the same label and the same noise, and a weight that grows from left to right. In the second row your function mixes the outputs.

# %% alt="Two rows of eight pictures for w from -1 to 6, the upper one by a tensor of weights and the lower one by your function. The rows look the same: at w = -1 a yellow-green O, and from w = 0 on a green R which becomes bolder and more blue."
grows, eights = torch.linspace(-1, 6, 8), torch.full((8,), 17)
alike = {**of_size, "sample_ids": torch.full((8,), 3)}


def my_rule(out_cond, out_null, w, xt, p, q):
    """What `sample` calls at each step."""
    return guided_each(out_cond, out_null, w)


theirs = sample(big, eights, many, w=grows, **alike)
yours = sample(big, eights, many, rule=my_rule, w=grows, **alike)
_, ax = plt.subplots(figsize=(8, 2.4), layout="constrained")
names = [f"w = {w:g}" for w in grows.tolist()]
as_grid(ax, ("w=tensor", "yours"), names, torch.stack([theirs, yours]))
plt.show()
print("largest difference less than 0.0001:", bool((theirs - yours).abs().max() < 1e-4))

# %% [markdown]
# ## The same sample again
#
# Sample 5 of seed 7 should be the same picture in each batch and at each place in it, so that it can be drawn again later, alone. For this its noise has to be a function of the seed and the number (id) of the sample.
#
# **Exercise 8.5** (prove by a test). You are given a function `noise(seed, ids, shape)`. It returns a normal tensor `(len(ids), *shape)` for a tensor of ids. Write a test that uses `assert`, and fails unless each row depends on the seed and on its own id **alone**, and on both. The check tries your test on the right function and on six wrong ones, as found in public code. One of them is hard to find: with it, sample 3 of seed 7 is sample 2 of seed 8. `torch.equal(a, b)` compares two tensors.


# %% nbgrader={"grade": false, "grade_id": "ex_8_5", "locked": false, "schema_version": 3, "solution": true, "task": false}
def test_of_noise(noise):
    ids = torch.arange(7)
    ### BEGIN SOLUTION
    whole = noise(7, ids, (1, 2, 2))
    for i in range(7):  # alone
        assert torch.equal(noise(7, ids[i : i + 1], (1, 2, 2))[0], whole[i])
    assert torch.equal(noise(7, ids.flip(0), (1, 2, 2)), whole.flip(0))  # in another order
    other = torch.cat([noise(8, ids, (1, 2, 2)), whole])
    assert len(other.unique(dim=0)) == 14  # all different, in two neighbouring seeds
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_8_5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_8_5(test_of_noise)

# %% [markdown]
# **Predict:** sample 5 in a batch of six, of one and of three. Are the pictures equal to the last bit?

# %% alt="Three pictures of sample 5, drawn in a batch of six, of one and of three. They look the same: a dark yellow letter R on black."
five = []
for numbers in (torch.arange(6), torch.tensor([5]), torch.tensor([9, 5, 2])):
    x = sample(big, 17 + 0 * numbers, many, w=1.0, sample_ids=numbers, **of_size)
    five.append(x[numbers == 5])
_, ax = plt.subplots(figsize=(4, 1.9), layout="constrained")
as_grid(ax, ("sample 5",), ("of six", "of one", "of three"), torch.stack(five, 1))
plt.show()
print("less than 0.001 apart:", bool((torch.cat(five) - five[0]).abs().max() < 1e-3))

# %% [markdown]
# <details><summary>Answer</summary>
#
# Not necessarily. The noise is equal to the last bit. But for another batch size a convolution may add its products in another order, so its results can differ by rounding, about one part in ten million at each layer.
#
# </details>
#
# ## Few steps
#
# All chains above took 25 or 40 of the 1000 times. The film shows one with 12: above $x_t$, below the guess of $x_0$. **Watch** what the first guess shows, and what is decided later.

# %% alt="A film with 12 frames of four letters, with x_t above and the guess below. At t = 917 x_t looks like noise, and the guesses are grey, blurred letters A, G, R and S. At t = 583 the guesses have their colours, and until t = 0 x_t becomes clear and the outlines become sharp."
few = torch.tensor([0, 6, 17, 18])
short = solvers.ddpm(shipped.schedule, 12, prediction="v")
chain = minicfg.sample_steps(big, few, short, w=1.0, **of_size)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "film.gif"
    frames = [(state.s, torch.stack([state.x, state.x0hat])) for state in chain]
    plots.denoising_gif(frames, path, ["x_t", "guess"])
    gif = path.read_bytes()
Image(gif)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The first guess is a grey, blurred letter, close to the mean of all pictures of its class, which have all colours. The colour is decided next, here until about $t = 600$, and then the details of the typeface.
#
# </details>
#
# **Predict:** three solvers, with 3 to 25 rows, `w = 1` and the same start. How many rows does each of them need for letters that can be read? Which two agree with each other in the end, and why not with the third?

# %% alt="Three grids of the letters A, B, G, R and S, for DDPM, DDIM and DPM-Solver++(2M), with 3, 5 and 25 rows. All letters are legible, and those with 3 rows are dimmer or greyer. With 25 rows DDIM and DPM-Solver++(2M) show the same pictures, and DDPM shows others."
makers = {"ddpm": solvers.ddpm, "ddim": solvers.ddim, "dpmpp_2m": solvers.dpmpp_2m}
few = torch.tensor([0, 1, 6, 17, 18])
_, panels = plt.subplots(1, 3, figsize=(12, 3), layout="constrained")
for ax, (name, make) in zip(panels, makers.items(), strict=True):
    of_steps = [
        sample(big, few, make(shipped.schedule, n, prediction="v"), w=1.0, **of_size)
        for n in (3, 5, 25)
    ]
    rows = [f"{n} rows" for n in (3, 5, 25)]
    as_grid(ax, rows, [""] * 5, torch.stack(of_steps), name)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Three rows are enough in all of them, though the letters are dim and grey. DDIM and DPM-Solver++(2M) add no noise, so both approximate the same map from the start to a picture, and with 25 rows they agree. Their colours still change between 5 and 25 rows: few rows decide the letter, more rows the details. DDPM adds noise in each row. With another number of rows that is other noise, so each number of rows gives another picture.
#
# </details>

# %% [markdown]
# ## You now know
#
# - a UNet sees the whole picture at low resolution and receives the exact places by its skips; time and label enter by scaling and shifting channels; the table of labels has a row for the null label (`minicfg/unet.py`);
# - a training step is: rows, times, noise, forward sample, dropped labels, squared error, gradient, step, average (`minicfg/training.py`), and each label is dropped independently (`tutorial/step09_condition.py`, equations 9.5 to 9.8);
# - the sampler does not depend on the model, and a sample is a function of model, table, `w`, label, seed and id (`tutorial/step22_swap_in.py`, 22.3); `w` may be one number per sample (`minicfg/guidance.py`);
# - on pictures a larger `w` gains legibility and loses diversity: typefaces, colours, thin strokes.
#
# ## Five questions
#
# 1. Why does a UNet need its skips?
# 2. The table of labels has $K + 1$ rows. What is the last one for, and what happens if it is never trained?
# 3. Why is one random number per batch not enough to drop labels?
# 4. The loss of an untrained network is 1. Why?
# 5. Why can the samples at $w = 4$ have other colours than the data, although a colour does not depend on the letter?
#
# <details><summary>Answers</summary>
#
# 1. At low resolution the exact place of a stroke is lost; the skips carry it to the way up.
# 2. It belongs to the null label. If it is never trained, the null output has no meaning, and guidance moves away from it. No error is raised, and the samples may look right.
# 3. The average over many batches would be right, but each step would train one of the two predictions only, and nine of ten steps none of the second.
# 4. Its last layer is zero, so it predicts 0, and the mean of $\epsilon^2$ is 1.
# 5. Guided chains do not sample the density $p(x_0 | y) p(y | x_0)^w$ exactly, and guidance multiplies the errors of both predictions.
#
# </details>
#
# **Try:** `minicfg.train` runs the same loop with a schedule of learning rates, several processes and exact resuming: train the UNet of the package on `glyphs:1x16:ABCR` for 500 steps, and compare. Your own data and network: `10_your_own_data`. Next: `09_the_fused_kernel`.
