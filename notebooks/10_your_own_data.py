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
# # 10. Your own data, your own network, two conditions
#
# **The question.** You have a folder of pictures, and two things are known about each of them, here its letter and its colour. How do you train a network that you wrote yourself on them, and how do you give each of the two conditions its own guidance weight?
#
# **After this sitting you can** turn a folder or an array into a data set, predict which mistakes are refused and which are not, write a network for two attributes, derive guidance with one weight per attribute and the assumption that it makes, derive what a negative label does, and explain why a metric needs pictures that were held out.
#
# It needs torch, less than a minute of computing, and no GPU. Plan 75 minutes with the exercises. You need sitting 4, and a first look at torch; sitting 8 helps. `minicfg/data.py`, `minicfg/conditions.py` and `minicfg/adapters.py` go deeper, and `notebooks/book/bring_your_own.md` has more programs of this kind.

# %% alt="A grid of small coloured letters on black, with rows L, T and X and 18 columns, six for each of blue, green and red. Size, place and width vary, and so do the hues: some pictures under blue are violet, and some under red are orange, yellow or pink."
# %matplotlib inline
import colorsys
import tempfile
from functools import partial
from pathlib import Path
from textwrap import shorten

import check
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import minicfg
from minicfg import Dataset, TrainConfig, sample, solvers
from minicfg.adapters import Composed
from minicfg.data import split
from minicfg.metrics.nearest import nearest_images
from minicfg.training import choices, dropped_condition, train_steps
from minicfg.viz import plots
from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step07_sampling import ancestral_sample

torch.set_num_threads(1)  # a second thread does not make such small networks faster
plt.rcParams["figure.dpi"] = 80
LETTERS, COLOURS = ("L", "T", "X"), ("red", "green", "blue")
STROKES = {
    "L": (((-0.6, -0.8), (-0.6, 0.8)), ((-0.6, 0.8), (0.7, 0.8))),
    "T": (((-0.8, -0.8), (0.8, -0.8)), ((0, -0.8), (0, 0.8))),
    "X": (((-0.7, -0.8), (0.7, 0.8)), ((0.7, -0.8), (-0.7, 0.8))),
}


def picture(letter, hue, rng, side=8):
    """A letter of this hue (in degrees), of random size, place, angle and width, as bytes."""
    angle, size, width = rng.uniform(-0.15, 0.15), rng.uniform(2.6, 3.4), rng.uniform(0.9, 1.4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = side / 2 + rng.uniform(-0.5, 0.5, 2)
    pixels = np.stack(np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5), -1)
    ink = np.zeros((side, side))
    for stroke in STROKES[letter]:
        start, end = middle + size * np.array(stroke) @ turn.T
        along = (pixels - start) @ (end - start) / ((end - start) @ (end - start))
        nearest = start + along.clip(0, 1)[..., None] * (end - start)
        distance = np.linalg.norm(pixels - nearest, axis=-1)
        ink = np.maximum(ink, (width / 2 + 0.5 - distance).clip(0, 1))
    rgb = np.array(colorsys.hsv_to_rgb(hue / 360 % 1, 0.8, 1))
    return np.round(255 * ink[..., None] * rgb).astype(np.uint8)


def as_grid(ax, rows, columns, x, title="", scale=4):
    """Pictures (R, C, channels, H, W) as one, with a name for each row and each column."""
    ax.imshow(plots.mosaic(x, scale, 2), interpolation="none")
    side = scale * x.shape[-1] + 2
    for set_ticks, names in ((ax.set_yticks, rows), (ax.set_xticks, columns)):
        set_ticks(side * np.arange(len(names)) + side // 2, names, fontsize=8)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=10)


rng = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())
for name in LETTERS:
    (folder / name).mkdir()
    for k, colour_name in enumerate(COLOURS):
        for i in range(80):
            drawn = picture(name, 120 * k + rng.normal(0, 25), rng)
            Image.fromarray(drawn).save(folder / name / f"{colour_name}-{i:02}.png")

of_folder = minicfg.load_data(f"folder:{folder}", size=8)
files = sorted(folder.glob("*/*.png"))  # in the order in which `load_data` reads them
colour = torch.tensor([COLOURS.index(path.name.split("-")[0]) for path in files])
letter, x = of_folder.y, of_folder.x
_, ax = plt.subplots(figsize=(9, 2.6), layout="constrained")
rows = [x[letter == k].unflatten(0, (3, 80))[:, :6].flatten(0, 1) for k in range(3)]
columns = [name for name in ("blue", "green", "red") for _ in range(6)]
as_grid(ax, LETTERS, columns, torch.stack(rows), "some of the pictures in the folder")
plt.show()
print(len(of_folder), "pictures of shape", of_folder.shape, "with the classes", of_folder.classes)

# %% [markdown]
# These are our "own" pictures: 720 files `L/red-00.png`, ..., of 8 x 8 pixels. The cell above drew them. Each letter has a random size, place, angle and width. Each colour is a hue with a standard deviation of 25 degrees around red (0), green (120) or blue (240), so a few pictures are between two colours. In the place of these files you can put your own.
#
# ## From files to a data set
#
# A `Dataset` is a tensor `x` of pictures and a condition `y`, with one row per picture in both. `load_data("folder:...")` reads a folder with one subfolder per class, scales and crops each picture to `size`, and takes the name of the subfolder for the class. So the folder gives us the letters. The colours stand in the names of the files. The order in which `load_data` reads is the order of the sorted names, and the cell above made the tensor `colour` from them in the same order.
#
# Often the pictures are an array already, of bytes 0..255 and of shape `(N, H, W, 3)`: the channels are the last axis, as in a file. The layers of torch take the channels before height and width, and `minicfg` takes floats in $-1..1$:
#
# $$ x = \text{byte} / 127.5 - 1 \qquad \text{so } 0 \to -1, \quad 255 \to 255 / 127.5 - 1 = 1 $$
#
# Why $-1..1$ and not $0..1$? The noise has mean 0 and variance 1, and the chain starts from noise alone. The schedules are made for data of a similar kind: a mean near 0, and values of a size near 1. The sampler also clips its guess to $-1..1$.
#
# **Exercise 10.1** (find the mistakes: there are two). This code runs without an error. `images` is an array of bytes, `(N, 8, 8, 3)`. Return a float32 tensor `(N, 3, 8, 8)` in $-1..1$.
#
# ```python
# x = torch.from_numpy(images).reshape(-1, 3, 8, 8)
# return x.float() / 255
# ```


# %% nbgrader={"grade": false, "grade_id": "ex_10_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_pictures(images):
    ### BEGIN SOLUTION
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    return x.float() / 127.5 - 1
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_10_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_10_1(my_pictures)

# %% [markdown]
# Below, your function converts the files, and the picture shows the result beside that of the code with the mistakes. The bytes of a file lie in the order red, green, blue of the first pixel, then red, green, blue of the second one, and so on. `reshape` does not change this order: it only cuts the bytes into parts of 64. So its "red channel" consists of the first 64 bytes, which are all three colours of the first 21 pixels and the red of the next one. These pixels are fewer than three of the eight rows.

# %% alt="Twelve of the files in two rows. In the row of your function they are coloured letters L, T and X on black. In the row with the mistakes they are scattered coloured pixels on grey, and no letter can be recognised."
images = np.stack([np.asarray(Image.open(path)) for path in files])
mine = my_pictures(images)
scrambled = torch.from_numpy(images).reshape(-1, 3, 8, 8).float() / 255
some = torch.arange(5, 720, 60)
_, ax = plt.subplots(figsize=(8, 1.9), layout="constrained")
both = torch.stack([mine[some], scrambled[some]])
as_grid(ax, ("yours", "mistakes"), [""] * 12, both, "twelve of the files, converted")
plt.show()
print("yours are the pictures that load_data reads:", bool((mine - x).abs().max() < 1e-5))

# %% [markdown]
# ## What is refused, and what is not
#
# A mistake in the data raises no error by itself: a network trains on any numbers. So `Dataset` and `train` look for mistakes before the first step. **Predict:** below, twelve mistakes are tried. Three of them are accepted. Which ones, and why can no program find them? (The last one uses a setting that you do not know yet. It is refused.)

# %% alt="Three groups of six pictures with their labels. Reshape for permute: coloured pixels without a recognisable letter. Colours of others: clear letters whose colours contradict the labels, for example a violet T labelled as red; black for white: coloured letters on white, for example a magenta L labelled as green."
y = (letter, colour)
data = Dataset(mine, y, name="letters in colour")
unet = minicfg.UNet(channels=3, num_classes=3, width=8)
one_label = Dataset(mine, letter, LETTERS)
mixed = colour[torch.randperm(720, generator=torch.Generator().manual_seed(0))]
wrong = {
    "reshape for permute": lambda: Dataset(2 * scrambled - 1, y),
    "values in 0..1": lambda: Dataset((mine + 1) / 2, y),
    "channels last": lambda: Dataset(mine.permute(0, 2, 3, 1), y),
    "float64": lambda: Dataset(mine.double(), y),
    "one colour too few": lambda: Dataset(mine, (letter, colour[:-1])),
    "colours of others": lambda: Dataset(mine, (letter, mixed)),
    "letters 1, 2, 3": lambda: Dataset(mine, letter + 1, LETTERS),
    "black for white": lambda: Dataset(-mine, y),
    "no network": lambda: minicfg.train(data, TrainConfig()),
    "network for labels": lambda: minicfg.train(data, TrainConfig(), model=unet),
    "eps for x0": lambda: minicfg.train(one_label, TrainConfig(prediction="x0"), model=unet),
    "separate one label": lambda: minicfg.train(one_label, TrainConfig(drop_separately=True)),
}


accepted = {}
for name, attempt in wrong.items():
    try:
        accepted[name] = attempt()
        print(f"{name:20} ACCEPTED")
    except ValueError as error:
        print(f"{name:20} {shorten(str(error), 108, placeholder=' ...')}")
_, panels = plt.subplots(1, 3, figsize=(11, 1.4), layout="constrained")
for ax, (name, dataset) in zip(panels, accepted.items(), strict=True):
    of_letter, of_colour = dataset.y
    names = [f"{LETTERS[of_letter[i]]}, {COLOURS[of_colour[i]]}" for i in some[::2]]
    as_grid(ax, [""], names, dataset.x[some[::2]][None], name)
    ax.tick_params(labelsize=7)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The three that are accepted are in the picture. Their numbers have the right type, shape and range, so a program has no sign of the mistake. A person sees it at once. So look at some pictures of a `Dataset`, with their labels above them, before you train. What is refused shows in a range, a shape, a type, a count, or in two settings that contradict each other.
#
# </details>
#
# Two of the refusals need an explanation. "eps for x0": a network has the attribute `prediction`, because its output may be the noise, the data or $v$, and the loss must compare it with the same quantity. "separate one label": the setting `drop_separately` is for two attributes or more, and this sitting uses it below.
#
# ## Your network
#
# `minicfg` trains any module with `out = model(xt, t, y)`. The arguments are noisy pictures `xt` of shape `(B, 3, 8, 8)`, times `t`, which are B integers in 1..1000, and a condition `y`. The output has the shape of `xt`. Here the condition is a *pair* of tensors, `y = (letters, colours)`, each with B integers in 0..2.
#
# Guidance needs a prediction without a condition too. For one label the null is the number of classes, K. For any other condition the network itself supplies it, by the method `null(y)`: a pair with the shapes and types of `y`. In our case both null values are the integer 3, so each table of vectors has four rows.
#
# **Exercise 10.2** (write a network). Write the class `MyNet`, about 20 lines. Its output is the guess of the data, so `prediction = "x0"`. In `__init__` make the layers, after the line that is there; below it write the methods `null(self, y)` and `forward(self, xt, t, y)`. You may design it as you like. This plan works, with vectors of 256 numbers; the numbers in the answers below are those of this plan:
#
# 1. `emb` is the sum of three vectors: a row of a table of letters (`nn.Embedding(4, 256)`), a row of a table of colours, and a linear layer applied to `t[:, None] / 1000`;
# 2. `h` is a linear layer applied to the picture as a row of 192 numbers, `xt.flatten(1)`;
# 3. three times, each time with another layer: `h = h + layer(F.silu(h + emb))`. Keep the three layers in an `nn.ModuleList`;
# 4. a last linear layer from `F.silu(h)` to 192 numbers, and `.view_as(xt)`.
#
# The check runs your network on small batches and looks at what its output depends on. It knows 33 mistakes by name.


# %% nbgrader={"grade": false, "grade_id": "ex_10_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
class MyNet(nn.Module):
    prediction = "x0"

    def __init__(self):
        super().__init__()
        ### BEGIN SOLUTION
        self.letter = nn.Embedding(4, 256)  # three letters and the null
        self.colour = nn.Embedding(4, 256)  # three colours and the null
        self.time = nn.Linear(1, 256)
        self.first = nn.Linear(192, 256)
        self.middle = nn.ModuleList(nn.Linear(256, 256) for _ in range(3))
        self.last = nn.Linear(256, 192)

    def null(self, y):
        return torch.full_like(y[0], 3), torch.full_like(y[1], 3)

    def forward(self, xt, t, y):
        emb = self.letter(y[0]) + self.colour(y[1]) + self.time(t[:, None] / 1000)
        h = self.first(xt.flatten(1))
        for layer in self.middle:
            h = h + layer(F.silu(h + emb))
        return self.last(F.silu(h)).view_as(xt)
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_10_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_10_2(MyNet)

# %% [markdown]
# ## Two conditions, dropped separately
#
# In sittings 5 and 8 one label was dropped now and then, so the network learnt two predictions. With two attributes there are four: given both, the letter alone, the colour alone, and neither. We write them $\text{out}_{ab}$, $\text{out}_a$, $\text{out}_b$ and $\text{out}_\phi$, where $a$ is the letter and $b$ the colour. A weight for each attribute will need all four. If both attributes are dropped together, the network never sees one of them alone. With `drop_separately=True` each is dropped by itself, with the probability `p_uncond`. The picture shows both ways, for 60 samples of a batch.

# %% alt="Two strips of 60 places in a batch, each with a row for the letter and a row for the colour; dark is given and pale is dropped. Dropped together, both rows are pale at the same places. Dropped separately, they are pale at different places, and only rarely at the same one."
torch.manual_seed(0)
net = MyNet()
together = TrainConfig(prediction="x0", p_uncond=0.2, steps=1200, batch=128)
separately = TrainConfig(prediction="x0", p_uncond=0.2, steps=1200, batch=128, drop_separately=True)


def given_in(config, step):
    """For each sample of a batch, whether the network is given its letter, and its colour."""
    ids = torch.arange(config.batch)
    pairs = (ids % 3, ids // 3 % 3)
    _, dropped = choices(config, step)
    shown = dropped_condition(config, net, pairs, dropped, step, ids)
    return torch.stack([part < 3 for part in shown])


_, panels = plt.subplots(2, 1, figsize=(9, 2.4), layout="constrained")
for ax, config, title in zip(
    panels, (together, separately), ("together", "separately"), strict=True
):
    ax.imshow(given_in(config, 1)[:, :60], cmap="Blues", vmin=-0.3, vmax=1.5, aspect="auto")
    ax.set_yticks((0, 1), ("letter", "colour"))
    ax.set_title(f"dropped {title}: dark is given, pale is dropped", fontsize=10)
panels[1].set_xlabel("place in the batch")
plt.show()

# %% [markdown]
# **Exercise 10.3** (predict, then measure). Let each of the two be dropped separately with the probability 0.2. Which fraction of all samples trains $\text{out}_a$, the prediction from the letter alone?

# %% nbgrader={"grade": false, "grade_id": "ex_10_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
fraction = ...
### BEGIN SOLUTION
fraction = 0.8 * 0.2
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_10_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_10_3(fraction)

# %% [markdown]
# The left panel below counts the samples of 100 batches. In the right panel your network is trained, on four fifths of the pictures: `split` holds out the rest, which we need at the end.

# %% alt="Left: bars of the fraction of samples by what is given. Dropped together: both 0.80, none 0.20, one attribute alone 0; dropped separately: both 0.64, letter 0.16, colour 0.16, none 0.04. Right: the loss on a logarithmic scale falls from 1 to 0.1 within about 130 steps and ends near 0.04."
kinds = ("both", "letter", "colour", "none")
_, (left, right) = plt.subplots(1, 2, figsize=(11, 3), layout="constrained")
for config, offset, color in ((together, -0.2, GREY), (separately, 0.2, BLUE)):
    has_letter, has_colour = torch.cat([given_in(config, step) for step in range(1, 101)], 1)
    counts = [
        (has_letter == i).logical_and(has_colour == j).float().mean()
        for i, j in ((True, True), (True, False), (False, True), (False, False))
    ]
    left.bar(np.arange(4) + offset, counts, 0.4, color=color)
    print("separately" if config.drop_separately else "together  ", end=": ")
    print(", ".join(f"{kind} {part:.3f}" for kind, part in zip(kinds, counts, strict=True)))
left.axhline(fraction, color=ORANGE, ls=":", label="your prediction for the letter alone")
left.set_xticks(range(4), kinds)
left.set(xlabel="what the network is given", ylabel="fraction of the samples")
left.set(title="what is given: grey together, blue separately")
left.legend(fontsize=8)

training, held_out = split(data)
losses = []
for state in train_steps(training, separately, model=net):
    losses.append(state.loss)
yours = minicfg.Checkpoint.of(state)
right.plot(losses, color=GREY, lw=0.5, label="one batch")
right.plot(np.arange(49, 1200), np.convolve(losses, np.ones(50) / 50, "valid"), color=BLUE)
right.set(xlabel="step", ylabel="loss", yscale="log", title="your network; blue: mean of 50 steps")
plt.show()
print(f"{len(training)} pictures for training, {len(held_out)} held out")

# %% [markdown]
# So each of $\text{out}_a$ and $\text{out}_b$ was trained with one sample in six, and $\text{out}_\phi$ with one in 25. This is why `p_uncond` is 0.2 here and 0.1 for one label: with 0.1 the last number would be one in a hundred.
#
# **Predict:** the network is now sampled without guidance. The first row is given T and blue, the second T alone, the third blue alone, and the fourth nothing. What do the pictures of the second row have in common, what those of the third, and what those of the last?

# %% alt="Four rows of 14 samples. Given T and blue, all are T, in blue to magenta. Given T alone, all are T in many colours; given blue alone, they are L, T, X and unclear shapes, mostly in blue and violet; given nothing, letters and colours both vary."
NULL = 3


def pairs_of(letter, colour, n):
    """The condition of n samples; `NULL` stands for an attribute that is not given."""
    return torch.full((n,), letter), torch.full((n,), colour)


asked = ((1, 2), (1, NULL), (NULL, 2), (NULL, NULL))
drawn = [sample(yours, pairs_of(*pair, 14), w=0, steps=25, seed=1) for pair in asked]
_, ax = plt.subplots(figsize=(8, 2.8), layout="constrained")
names = ("T, blue", "T", "blue", "nothing")
as_grid(ax, names, [""] * 14, torch.stack(drawn), "what was given, and 14 samples each")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The second row shows T in any colour, the third any letter in blue, and the last any letter in any colour. An attribute that is not given takes the values that it has in the data. A few samples of the last two rows are between two letters, and two of the first row are purple and not blue, because the network is small and nothing was guided. The noise is the same in each column, so the pictures of a column resemble each other.
#
# </details>
#
# ## A weight for each attribute
#
# In sitting 4 guidance multiplied the density of the class by a power of $p(y | x_t)$. With two attributes there are two such factors, and each gets its own weight. We need the gradient of the logarithm of
#
# $$ p(x_t | a, b) \; p(a | x_t)^{w_a} \; p(b | x_t)^{w_b} $$
#
# The first factor is the density of the pictures with this letter and this colour. The second is large where the letter is clear, and the third where the colour is clear. The logarithm turns the product into a sum:
#
# $$ \nabla \log p(x_t | a, b) + w_a \nabla \log p(a | x_t) + w_b \nabla \log p(b | x_t) $$
#
# By Bayes' rule $p(a | x_t)$ is $p(x_t | a) \, p(a) / p(x_t)$, and $p(a)$ does not depend on $x_t$. So, as for one label,
#
# $$ \nabla \log p(a | x_t) = \nabla \log p(x_t | a) - \nabla \log p(x_t) $$
#
# and the same for $b$. All gradients on the right are scores, which the network predicts up to a change of unit. The change of unit is the same for all four predictions, and the factors $1$, $w_a$, $-w_a$, $w_b$ and $-w_b$ add up to 1. So it can be done before or after mixing, as in sitting 4.
#
# **Exercise 10.4** (fill in a formula). Return the guided output from the four outputs, with the weights `w_a` and `w_b`. Check it with numbers before you run the cell: for `ab = 0.5`, `a = 0.4`, `b = 0.3`, `null = 0.2`, `w_a = 2` and `w_b = 1` the result is 1.


# %% nbgrader={"grade": false, "grade_id": "ex_10_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def two_weights(ab, a, b, null, w_a, w_b):
    ### BEGIN SOLUTION
    return ab + w_a * (a - null) + w_b * (b - null)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_10_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_10_4(two_weights)

# %% [markdown]
# First a toy with exact predictions: the *square*, four equally frequent Gaussians of variance 0.4 with their means at $(\pm 1, \pm 1)$. The attribute $a$ is left or right, and $b$ is low or high. The condition is $a$ = right, $b$ = high. The density at which the formula aims, the tilted distribution, can be summed over a grid, and the chain can be run with exact predictions. **Predict:** which way do the samples move with $w_a = 3$ and $w_b = 0$: to the right, up, or both?


# %% alt="Three scatter plots of samples for a = right and b = high. With both weights 0 the means of the samples and of the tilted distribution are at (1, 1). With w_a = 3 the samples move only to the right, to 1.45, and with w_b = 3 only up, to 1.46; the tilted means move to 1.16."
def four_clouds(means):
    """Four equally frequent Gaussians of variance 0.4; the label of (a, b) is 2 a + b."""
    return GaussianMixture(np.array(means, float), np.stack([0.4 * np.eye(2)] * 4), np.ones(4) / 4)


def only(clouds, first, second):
    """Two of the four."""
    rows = [first, second]
    return GaussianMixture(clouds.means[rows], clouds.covs[rows], np.ones(2) / 2)


def densities(clouds, x):
    """p(x | a, b), p(x | a), p(x | b) and p(x), for a = 1 and b = 1."""
    each = np.stack([np.exp(clouds.log_density(x, label)) for label in range(4)])
    return each[3], each[[2, 3]].mean(0), each[[1, 3]].mean(0), each.mean(0)


def chain_of(mix, clouds, n=2000, steps=50):
    """Samples of the chain with the exact outputs for a = 1 and b = 1, mixed by `mix`."""
    few = Schedule.cosine(steps)
    exact = [(clouds, 3), (only(clouds, 2, 3), 2), (only(clouds, 1, 3), 2), (clouds, 4)]
    oracles = [(oracle_eps(of, few), label) for of, label in exact]

    def model(x, t, y):
        return mix(*(oracle(x, t, np.full(len(x), label)) for oracle, label in oracles))

    model.num_classes, model.prediction = 0, "eps"
    return ancestral_sample(model, np.zeros(n, int), few, 0.0, np.random.default_rng(0))


square = four_clouds([(-1, -1), (-1, 1), (1, -1), (1, 1)])
side = np.linspace(-5, 5, 101)
grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
p_ab, p_a, p_b, p = densities(square, grid)
_, panels = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained", sharey=True)
for ax, (w_a, w_b) in zip(panels, ((0, 0), (3, 0), (0, 3)), strict=True):
    z = chain_of(partial(two_weights, w_a=w_a, w_b=w_b), square)
    tilted = p_ab * (p_a / p) ** w_a * (p_b / p) ** w_b
    mean, found = tilted @ grid / tilted.sum(), z.mean(0)
    ax.scatter(*z[:500].T, s=3, color=BLUE)
    ax.plot(*square.means.T, "s", color=GREY, label="means of the four")
    ax.plot(*mean, "k+", ms=14, mew=2, label="mean, tilted")
    ax.plot(*found, "x", color=ORANGE, ms=10, mew=2, label="mean, samples")
    ax.set(aspect="equal", xlim=(-2, 3.5), ylim=(-2, 3.5), xlabel="a: left or right")
    ax.set_title(f"w_a = {w_a}, w_b = {w_b}", fontsize=10)
    print(f"w_a = {w_a}, w_b = {w_b}: mean of tilted {mean.round(2)}, samples {found.round(2)}")
panels[0].set_ylabel("b: low or high")
panels[0].legend(fontsize=7, loc="upper left")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# To the right only, because $p(a | x)$ of the square does not depend on the height. The weight $w_b$ moves them up and not to the right. So each weight changes its own attribute. The samples move further than the tilted distribution, which is the overshoot of sitting 7.
#
# </details>
#
# *This is about half of the sitting, and a place for a break. When you come back, run the cells above again.*
#
# ## Three predictions instead of four
#
# So far no assumption about the two attributes was made. The price is four evaluations of the network in each step. One of the four can be saved under an assumption: that the attributes are *independent given* $x_t$,
#
# $$ p(a, b | x_t) = p(a | x_t) \, p(b | x_t) $$
#
# Take the gradient of the logarithm of both sides, and express each of the three by scores:
#
# $$ \nabla \log p(x_t | a, b) - \nabla \log p(x_t) = [\nabla \log p(x_t | a) - \nabla \log p(x_t)] + [\nabla \log p(x_t | b) - \nabla \log p(x_t)] $$
#
# In terms of outputs this is
#
# $$ \text{out}_{ab} = \text{out}_a + \text{out}_b - \text{out}_\phi $$
#
# The right side can be written as $\text{out}_\phi$ and two differences:
#
# $$ \text{out}_{ab} = \text{out}_\phi + (\text{out}_a - \text{out}_\phi) + (\text{out}_b - \text{out}_\phi) $$
#
# Insert this into your formula. It contains the same two differences, with the factors $w_a$ and $w_b$. So their factors become $1 + w_a$ and $1 + w_b$, and $\text{out}_{ab}$ is not evaluated any more:
#
# $$ \text{out}_\phi + (1 + w_a) (\text{out}_a - \text{out}_\phi) + (1 + w_b) (\text{out}_b - \text{out}_\phi) $$
#
# This is what `minicfg.adapters.Composed` computes, after Liu et al. (arXiv:2206.01714). It can also combine a letter and a colour that never occurred together in training, so that $\text{out}_{ab}$ was never trained. But it is right only where the assumption holds.
#
# In the square it holds, with noise and without, because $a$ decides about the first coordinate only and $b$ about the second only. For another toy, the *row*, the four means lie on one line:
#
# | mean | $-3$ | $-1$ | $1$ | $3$ |
# |---|---|---|---|---|
# | $a$ | 0 | 0 | 1 | 1 |
# | $b$ | 0 | 1 | 0 | 1 |
#
# The condition is again $a = 1$, $b = 1$, so the samples should lie around 3. **Predict:** are $a$ and $b$ independent given $x$ at the point 0, between the second and the third Gaussian?

# %% alt="Densities and histograms over x. With four predictions both have one mode at 3. With three predictions they have a second mode at 0, with a height of 0.08 in the composed density and about 0.26 in the histogram of the samples."
row = four_clouds([(-3, 0), (-1, 0), (1, 0), (3, 0)])
line = np.linspace(-5, 6, 441)
p_ab, p_a, p_b, p = densities(row, np.stack([line, np.zeros(441)], 1))
composed = p_a * p_b / p
_, ax = plt.subplots(figsize=(8, 3), layout="constrained")
for curve, color, name in (
    (p_ab, BLUE, "p(x | a, b)"),
    (composed, ORANGE, "p(x | a) p(x | b) / p(x)"),
):
    ax.plot(line, curve / curve.sum() / (line[1] - line[0]), color=color, label=name)
    print(f"{name:25} left of 1: {curve[line < 1].sum() / curve.sum():5.1%}")
for mix, color, name in (
    (partial(two_weights, w_a=0, w_b=0), BLUE, "samples, four predictions"),
    (lambda ab, a, b, null: a + b - null, ORANGE, "samples, three predictions"),
):
    z = chain_of(mix, row)[:, 0]
    ax.hist(z, 60, range=(-5, 6), density=True, color=color, alpha=0.3, label=name)
    print(f"{name:25} left of 1: {(z < 1).mean():5.1%}")
ax.set(xlabel="x", ylabel="density", title="row, both weights 0")
ax.legend(fontsize=8)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# They are not. A point at 0 is either in the left half with $b = 1$, or in the right half with $b = 0$. Each attribute by itself has the probability 1/2 there, and the product is 1/4, but the pair "right half, $b = 1$" is almost impossible. The composed density therefore has a second bump near 0. To the left of 1 lie 8 % of its probability, and 17 % of the samples of the chain.
#
# </details>
#
# Are the letter and the colour of a picture independent given $x_t$? For a clear picture both are certain, so they are independent. Under much noise they are not: if the red channel looks like an L and the blue one like a T, then "red L" and "blue T" are likely, and "red T" is not. One consequence can be seen without a network. At $t = T$ the best guess of the data is the mean of all pictures that fit the condition. So with three predictions the guess is the mean of all T, plus the mean of all red pictures, minus the mean of all pictures.

# %% alt="Five mean pictures. The mean of all red T is a clear red T, that of all T a grey T, that of all red pictures a blurred red shape, and that of all pictures a blurred grey shape. The combination T + red - all is a paler T with dark red spots beside it."
is_t, is_red = training.y[0] == 1, training.y[1] == 0
means = [training.x[is_t & is_red], training.x[is_t], training.x[is_red], training.x]
means = [group.mean(0) for group in means]
means.append(means[1] + means[2] - means[3])
_, ax = plt.subplots(figsize=(6, 1.7), layout="constrained")
names = ("T, red", "T", "red", "all", "T + red - all")
as_grid(ax, ("mean",), names, torch.stack(means)[None], scale=8)
plt.show()
error = (means[4] - means[0]).square().mean() / (means[0] - means[3]).square().mean()
print(f"squared error of the last, as a fraction of what the condition changes: {error:.2f}")

# %% [markdown]
# The last picture is paler than the first one, and there is red where no T is. Its squared distance from the first one is 0.16 of that between the first one and the mean of all. A colour multiplies a letter, and a sum of two changes cannot express a product. Whether this matters for the samples has to be measured. The class below evaluates all four outputs as one batch of four parts and mixes them by your function. It is a model again, so `sample` takes it in the place of the network. The weights are in this class, so `w` of `sample` stays 0.
#
# **Predict:** in the data the hue does not depend on the letter, so $p(\text{letter} | x_0)$ does not depend on the hue. Does a weight of 3 on the letter leave the hues as they are? The right panel measures how far each hue is from red, green or blue; at 60 degrees it is yellow, cyan or magenta.


# %% alt="Left: samples of L, T and X in three colours, in rows for four pairs of weights and for three predictions. Right: histograms of the distance of the hue from red, green or blue; they fall towards 60 degrees, but with weight 3 on the letter alone there is a second peak above 50."
class TwoWeights(nn.Module):
    """A network for two attributes, guided with one weight for each."""

    prediction = "x0"

    def __init__(self, net, w_a, w_b):
        super().__init__()
        self.net, self.w_a, self.w_b = net, w_a, w_b

    def null(self, y):
        """The null pair of the network."""
        return self.net.null(y)

    def forward(self, xt, t, y):
        """The guided output: the four outputs of one batch, mixed by your function."""
        (a, b), (no_a, no_b) = y, self.net.null(y)
        four = torch.cat([a, a, no_a, no_a]), torch.cat([b, no_b, b, no_b])
        out = self.net(xt.repeat(4, 1, 1, 1), t.repeat(4), four)
        return two_weights(*out.chunk(4), self.w_a, self.w_b)


def hue(x):
    """The hue of pictures in degrees: the direction of their mean colour."""
    rgb = (x.clamp(-1, 1) + 1) / 2
    red, green, blue = (rgb * rgb.amax(1, keepdim=True)).sum((2, 3)).unbind(1)
    return torch.rad2deg(torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue)) % 360


def brightness(x):
    """The brightest channel of each pixel, 0..1, as rows of 64 numbers."""
    return ((x.clamp(-1, 1) + 1) / 2).amax(1).flatten(1)


# A reader of letters: the letter of the most similar of 180 other pictures, drawn for this alone.
others = [(k, picture(LETTERS[k], rng.uniform(0, 360), rng)) for k in range(3) for _ in range(60)]
known = brightness(my_pictures(np.stack([drawn for _, drawn in others])))
known_letter = torch.tensor([k for k, _ in others])


def read(x):
    """Letters and colours of pictures."""
    nearest = torch.cdist(brightness(x), known).argmin(1)
    return known_letter[nearest], ((hue(x) + 60) // 120 % 3).long()


def from_primary(x):
    """How many degrees the hue is from the nearest of red, green and blue, 0..60."""
    return 60 - (hue(x) % 120 - 60).abs()


def described(x, y):
    """How often letter and colour are read as asked, hues between two colours, and brightness."""
    letters, colours = read(x)
    between = (from_primary(x) > 40).float().mean()
    return (
        f"letter {(letters == y[0]).float().mean():4.0%}, colour "
        f"{(colours == y[1]).float().mean():4.0%}, hue of more than 40 degrees {between:3.0%}, "
        f"brightness {brightness(x).mean():.3f}"
    )


def exact_probability(pictures, attribute, t):
    """The exact p(attribute | x_t) of noised pictures, if the data are `training`; 0 is letter."""
    abar = yours.schedule.alpha_bar[t].float()
    noise = torch.randn(20, *pictures.x.shape, generator=torch.Generator().manual_seed(0))
    xt = (abar.sqrt() * pictures.x + (1 - abar).sqrt() * noise).flatten(2)
    distance = torch.cdist(xt, abar.sqrt() * training.x.flatten(1))
    weight = (-(distance**2) / (2 * (1 - abar))).softmax(2)
    same = pictures.y[attribute][:, None] == training.y[attribute]
    return (weight * same).sum(2).mean(0)


table = solvers.ddim(yours.schedule, 25, prediction="x0")
of_each = torch.arange(270) % 3, torch.arange(270) // 3 % 3
settings = {"shape": data.shape, "seed": 2, "clip": 1.0}
guided = {
    (w_a, w_b): sample(TwoWeights(yours.model, w_a, w_b), of_each, table, **settings)
    for w_a, w_b in ((0, 0), (3, 0), (0, 3), (3, 3))
}
three = sample(Composed(yours.model, (0.0, 0.0)), of_each, table, **settings)
_, (left, right) = plt.subplots(1, 2, figsize=(13, 3), layout="constrained", width_ratios=(5, 3))
names = [f"letter {w_a}, colour {w_b}" for w_a, w_b in guided] + ["three predictions"]
all_of_them = [*guided.values(), three]
as_grid(left, names, [""] * 18, torch.stack([z[:18] for z in all_of_them]), "the two weights")
for name, z, color in zip(names[:3], all_of_them, (GREY, BLUE, ORANGE), strict=False):
    right.hist(from_primary(z), 12, range=(0, 60), histtype="step", lw=2, color=color, label=name)
right.set(xlabel="degrees from red, green or blue", ylabel="samples of 270")
right.set_title("hues", fontsize=10)
right.legend(fontsize=8)
plt.show()
print(f"{'held-out pictures':20} {described(held_out.x, held_out.y)}")
for name, z in zip(names, all_of_them, strict=True):
    print(f"{name:20} {described(z, of_each)}")
is_mixed = from_primary(held_out.x) > 30
for attribute, name in enumerate(("letter", "colour")):
    at_700 = exact_probability(held_out, attribute, 700)
    print(
        f"exact p({name} | x_t) at t = 700: {at_700[is_mixed].mean():.2f} for hues of more than "
        f"30 degrees, {at_700[~is_mixed].mean():.2f} for others"
    )

# %% [markdown]
# <details><summary>Answer</summary>
#
# It does not. The fraction of samples whose hue is more than 40 degrees from red, green and blue rises from 8 % to 29 %, and one colour in ten is read as another. The reason is that guidance does not follow $p(\text{letter} | x_0)$ but $p(\text{letter} | x_t)$ at each $t$, and under noise a letter is easier to read in yellow, cyan or magenta, because two of the three channels show it. The last two lines of the output have these probabilities, computed exactly at $t = 700$. For the letter it is 0.84 for hues between two colours and 0.76 for the others. So a weight can change an attribute that is not its own. For the colour it is the other way round, 0.58 and 0.73. So the weight on the colour acts against hues between two colours: added to the weight on the letter, it lowers the fraction from 29 % to 19 %. By itself it leaves the 8 % as they were. The weight on the letter also makes the pictures brighter, 0.255 against 0.211.
#
# The last row has three predictions with both weights 0. Its letters and colours are read as asked in 100 % and 98 % of the cases, nearly as in the first row. So on these pictures the assumption does no harm that this reader can measure.
#
# </details>
#
# ## A negative label
#
# Sometimes one knows what the pictures should *not* be. Then this label $n$ takes the place of the null. It is called a negative label, or a negative prompt if it is a text:
#
# $$ (1 + w) \, \text{out}_y - w \, \text{out}_n $$
#
# To which density does this lead? In terms of scores it is
#
# $$ \nabla \log p(x_t | y) + w [\nabla \log p(x_t | y) - \nabla \log p(x_t | n)] $$
#
# This is the gradient of the logarithm of
#
# $$ p(x_t | y) \left[ \frac{p(x_t | y)}{p(x_t | n)} \right]^w $$
#
# By Bayes' rule, once for $y$ and once for $n$, the ratio is
#
# $$ \frac{p(x_t | y)}{p(x_t | n)} = \frac{p(y | x_t) \, p(x_t) / p(y)}{p(n | x_t) \, p(x_t) / p(n)} = \frac{p(y | x_t)}{p(n | x_t)} \cdot \frac{p(n)}{p(y)} $$
#
# where $p(n) / p(y)$ does not depend on $x_t$. So the density is proportional to
#
# $$ p(x_t | y) \left[ \frac{p(y | x_t)}{p(n | x_t)} \right]^w $$
# With the null the factor was $p(y | x_t)^w$. A probability is at most 1, so this factor is nearly constant where the class is clear, and guidance ends there. The ratio $p(y | x_t) / p(n | x_t)$ has no such limit: it can grow with the distance from $n$, also far from all data.
#
# An example that can be computed: two equally frequent classes in one dimension, $N(\mu_y, S)$ and $N(\mu_n, S)$. The logarithm of their ratio is a line:
#
# $$ \log \frac{p(x | y)}{p(x | n)} = \frac{(x - \mu_n)^2 - (x - \mu_y)^2}{2 S} = \frac{\mu_y - \mu_n}{S} \, x + \text{const} $$
#
# A Gaussian times $e^{k x}$ is the same Gaussian with its mean moved by $k S$. With $k = w (\mu_y - \mu_n) / S$ the tilted distribution is
#
# $$ N(\mu_y + w (\mu_y - \mu_n), \; S) $$
#
# For $\mu_y = 1$, $\mu_n = -1$, $S = 1$ and $w = 1$ its mean is 3, and for $w = 3$ it is 7. With noise the same holds at each $t$: the two means are multiplied by $\sqrt{\bar\alpha_t}$, and so is the new one. So the guided scores are those of the tilted distribution with noise added, and the chain samples it. **Predict:** where is the mean with the null in the place of $n$, at $w = 3$: near 7 as well, or near 1?

# %% alt="Two panels with tilted densities as lines and samples as histograms, for w = 0, 1 and 3. With the null the three densities overlap, with peaks between 1 and 1.5, and the samples at w = 3 lie further right. With the negative label the curves keep their width and have their means at 1, 3 and 7."
two = GaussianMixture(np.array([[-1.0, 0], [1.0, 0]]), np.stack([np.eye(2)] * 2), np.ones(2) / 2)
axis = np.linspace(-5, 12, 1701)
p_n, p_y = (np.exp(-((axis - mean) ** 2) / 2) for mean in (-1, 1))
few = Schedule.cosine(100)
exact_two = oracle_eps(two, few)
_, panels = plt.subplots(1, 2, figsize=(10, 2.8), layout="constrained", sharey=True)
for ax, label, name in ((panels[0], 2, "null"), (panels[1], 0, "negative label")):
    for w, color in ((0, GREY), (1, BLUE), (3, ORANGE)):
        tilted = p_y * (p_y / ((p_n + p_y) / 2 if label == 2 else p_n)) ** w
        tilted /= tilted.sum() * 0.01

        def model(x, t, y, w=w, label=label):
            ones = np.ones(len(x), int)
            out_y, out_n = exact_two(x, t, ones), exact_two(x, t, label * ones)
            return out_y + w * (out_y - out_n)

        model.num_classes, model.prediction = 2, "eps"
        z = ancestral_sample(model, np.ones(4000, int), few, 0.0, np.random.default_rng(0))[:, 0]
        ax.plot(axis, tilted, color=color, label=f"w = {w}")
        ax.hist(z, 68, range=(-5, 12), density=True, color=color, alpha=0.3)
        at = (axis * tilted).sum() * 0.01
        print(
            f"{name:14} w = {w}: mean of the tilted distribution {at:.2f}, of samples {z.mean():.2f}"
        )
    ax.set(xlabel="x", title=f"{name}; lines: tilted, bars: samples")
    ax.legend(fontsize=8)
panels[0].set_ylabel("density")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Nearer to 1. The tilted distribution with the null has its mean at 1.54, and the mean of the samples is 1.95, because the chain overshoots (sitting 7). With the negative label the mean is 7, six standard deviations from the mean of the class, and the samples are there, too. So a small weight moves the samples away from $n$, and a larger one moves them out of the data.
#
# </details>
#
# Now on pictures: the condition is the letter T of any colour, but "not red". So $y$ is (T, null) and $n$ is (T, red). In `sample` the argument `null=` takes $n$. **Predict:** will green and blue be equally frequent at $w = 2$, or will another hue be most frequent?

# %% alt="For w = 0, 0.5 and 2, ten samples of T and a histogram of the hue. At w = 0 all hues occur, at w = 0.5 most lie between 120 and 220 degrees, and at w = 2 63 % lie in one bar at about 170 degrees; the letters are then green or cyan."
asked, unwanted = pairs_of(1, NULL, 300), pairs_of(1, 0, 300)
without_red = {
    w: sample(yours, asked, null=unwanted, w=w, steps=25, seed=5) for w in (0.0, 0.5, 2.0)
}
figure, panels = plt.subplots(2, 3, figsize=(11, 4), layout="constrained", height_ratios=(1, 2))
for (above, below), (w, z) in zip(panels.T, without_red.items(), strict=True):
    as_grid(above, [""], [""] * 10, z[:10][None], f"w = {w:g}")
    counts, edges = np.histogram(hue(z), 18, (0, 360))
    middle = (edges[:-1] + edges[1:]) / 2
    below.bar(middle, counts / len(z), 18, color=plt.matplotlib.cm.hsv(middle / 360))
    below.set(xlabel="hue in degrees", ylim=(0, 0.65))
    part = [((hue(z) + 60) // 120 % 3 == k).float().mean() for k in range(3)]
    far = ((hue(z) - 180).abs() < 30).float().mean()
    print(f"w = {w:g}: red {part[0]:.0%}, hue in 150..210 {far:.0%}")
panels[1, 0].set_ylabel("fraction of the samples")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Another hue is: at $w = 2$ three of four samples have a hue between 150 and 210 degrees, which is cyan. This is the hue that is furthest from red, where $p(n | x_t)$ is smallest, as in the toy. At $w = 0$ it is 9 %. With $w = 0.5$ most of the red is gone already. So a negative label removes what it names, and it does not leave the rest as it was.
#
# </details>
#
# ## Why a metric needs held-out pictures
#
# Is your network good? Pictures that look right do not prove it, because a network that stores its training pictures and returns them draws perfect ones. To notice this, a *metric*, which is a number that measures how good a network or its samples are, has to be computed with pictures of the same kind that were *not* used in training. So some pictures are held out before training.
#
# **Exercise 10.5** (prove by a test). You are given a function `split(x, seed)`. It returns two tensors of row numbers, those for training and those held out. Write a test that uses `assert`, and fails unless
#
# 1. each row is in exactly one of the two parts;
# 2. a fifth of the rows is held out (in the data below: 24 of 120);
# 3. the same seed gives the same split, and seeds 1 and 2 give different ones;
# 4. no held-out picture is equal to a training picture. Real folders contain copies, and so do these data: each picture is there twice.
#
# The check tries your test on a right function and on nine wrong ones. `training.tolist()` makes a list of the numbers, and `x[training]` the pictures.


# %% nbgrader={"grade": false, "grade_id": "ex_10_5", "locked": false, "schema_version": 3, "solution": true, "task": false}
def test_of_split(split):
    x = torch.arange(60.0).repeat_interleave(2)[:, None]  # 120 "pictures" of one number
    ### BEGIN SOLUTION
    training, held_out = split(x, 1)
    assert sorted(training.tolist() + held_out.tolist()) == list(range(120))
    assert len(held_out) == 24
    assert torch.equal(split(x, 1)[1], held_out)
    assert not torch.equal(split(x, 2)[1], held_out)
    assert not torch.isin(x[held_out], x[training]).any()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_10_5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_10_5(test_of_split)

# %% [markdown]
# The function `split` of `minicfg` splits rows, so it does not satisfy the fourth condition: remove copies first. The cell below counts how many of our held-out pictures are training pictures, too.
#
# Then it trains the same network again, for as many steps, on 18 pictures only: two per letter and colour. Call this network B and yours A. **Predict:** which network has the lower loss on its own training pictures, which has it on held-out pictures, and which one draws samples that lie closer to its training pictures?


# %% alt="Left: losses on own and held-out pictures are 0.032 and 0.035 for A, 0.009 and 0.084 for B. Middle: histograms of the distance to the nearest training picture: samples of B lie near 0, those of A near 1.8, held-out pictures near 2 and 4. Right: nine samples of B look like their nearest training pictures."
first_two = torch.cat(
    [
        ((training.y[0] == a) & (training.y[1] == b)).nonzero()[:2, 0]
        for a in range(3)
        for b in range(3)
    ]
)
few_pictures = training.select(first_two, "18 pictures")
torch.manual_seed(0)
of_few = minicfg.Checkpoint.of(minicfg.train(few_pictures, separately, model=MyNet()))


def loss_on(pictures, checkpoint):
    """The mean squared error of the guess of x_0, at t = 50, 150, ..., 950."""
    repeated = pictures.x.repeat(1 + 200 // len(pictures), 1, 1, 1)
    of_letter, of_colour = (part.repeat(1 + 200 // len(pictures)) for part in pictures.y)
    noise, losses = torch.Generator().manual_seed(0), []
    with torch.no_grad():
        for t in range(50, 1000, 100):
            abar = checkpoint.schedule.alpha_bar[t].float()
            eps = torch.randn(repeated.shape, generator=noise)
            xt = abar.sqrt() * repeated + (1 - abar).sqrt() * eps
            out = checkpoint.model(xt, torch.full((len(xt),), t), (of_letter, of_colour))
            losses.append((out - repeated).square().mean().item())
    return np.mean(losses)


print(
    "held-out pictures that are training pictures:",
    int((nearest_images(held_out.x, training.x)[0] == 0).sum()),
)
_, panels = plt.subplots(1, 3, figsize=(13, 3), layout="constrained", width_ratios=(2, 3, 3))
bars = {"A": (yours, training), "B": (of_few, few_pictures)}
for place, (name, (checkpoint, its_own)) in enumerate(bars.items()):
    on_own, on_held_out = loss_on(its_own, checkpoint), loss_on(held_out, checkpoint)
    panels[0].bar([place - 0.2, place + 0.2], [on_own, on_held_out], 0.4, color=[GREY, BLUE])
    z = sample(checkpoint, tuple(part[:144] for part in of_each), w=0, steps=25, seed=4)
    letters, colours = read(z)
    right_ones = (letters == of_each[0][:144]) & (colours == of_each[1][:144])
    distance, index = nearest_images(z, its_own.x)
    real_distance, _ = nearest_images(held_out.x, its_own.x)
    color = CLASS_COLORS[place]
    panels[1].hist(distance, 30, range=(0, 8), color=color, alpha=0.6, label=f"samples of {name}")
    panels[1].hist(
        real_distance,
        30,
        range=(0, 8),
        color=color,
        histtype="step",
        lw=2,
        label=f"held-out pictures, to those of {name}",
    )
    print(
        f"{name}: loss {on_own:.4f} on its own pictures, {on_held_out:.4f} on held-out ones; "
        f"read as asked {right_ones.float().mean():.0%}; median distance {distance.median():.2f}, "
        f"of held-out pictures {real_distance.median():.2f}"
    )
    if name == "B":
        pairs = torch.stack([z[:9], its_own.x[index[:9]]])
        as_grid(panels[2], ("samples of B", "nearest"), [""] * 9, pairs, "copies")
panels[0].set_xticks((0, 1), ("A: 576 pictures", "B: 18 pictures"))
panels[0].set(ylabel="loss", title="grey: own pictures, blue: held out")
panels[1].set(xlabel="distance to the nearest training picture", ylabel="pictures")
panels[1].set_title("how far from the training pictures", fontsize=10)
panels[1].legend(fontsize=8)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# On its own pictures B has the lower loss, 0.009 against 0.032. On held-out pictures it has the higher one, 0.084 against 0.035. The samples of B lie at a distance of 0.14 (median) from a training picture of B, where other real pictures lie at 4.0: they are copies, as the right panel shows. Those of A lie nearly as far from their nearest training picture as held-out pictures do, 1.7 and 2.0. The letters and colours of B are read as asked in all cases, and those of A in 99 %.
#
# A network of another design need not store its pictures in so few steps. With three convolutions in the place of the plan, the losses of B and A were 0.038 and 0.050 on their own pictures, and 0.068 and 0.050 on held-out ones, which is the same order. But the samples of B were at a distance of 2.7 (median), so they were no copies.
#
# </details>
#
# **In your own words.** A classmate reports: "The samples of B are read correctly more often than those of A, and B has the lower loss. So B is better, and needs only 18 pictures." Write three sentences to her, and compare them with the answer.
#
# <details><summary>Answer</summary>
#
# Both metrics use only pictures that B was trained on, or a reader that accepts any copy of a letter, so a network that stores its training pictures gets the best values. On pictures that it has not seen, the loss of B is more than twice that of A. Its samples lie 30 times closer to its training pictures than other real pictures do, so they are copies, and these 18 pictures are nearly all that it draws.
#
# </details>

# %% [markdown]
# ## You now know
#
# - a `Dataset` has floats in -1..1 with the channels first; `Dataset` and `train` refuse what a range, a shape or a type shows, and accept pictures that are scrambled or have the labels of others: look at them (`minicfg/data.py`);
# - a network is any module with `out = model(xt, t, y)`, `prediction` and, for a condition that is not one label, `null(y)` (`minicfg/conditions.py`);
# - with two attributes dropped separately one network learns four predictions; guidance adds $w_a (\text{out}_a - \text{out}_\phi) + w_b (\text{out}_b - \text{out}_\phi)$ to $\text{out}_{ab}$. Three predictions are enough if the attributes are independent given $x_t$ (`minicfg/adapters.py`, `Composed`). A weight can change the other attribute too, because it follows probabilities given $x_t$;
# - a negative label follows $p(y | x_t) / p(n | x_t)$, which has no upper limit, so its weight has to be small (`minicfg/sampling.py`, the argument `null`);
# - a metric needs pictures that were held out, without copies, and the nearest training picture shows what a metric cannot (`minicfg/metrics/nearest.py`).
#
# ## Five questions
#
# 1. Your pictures have values in 0..1. `Dataset` refuses them. What would happen if it did not?
# 2. Which method does a network for two attributes need that one for labels does not, and what does it return?
# 3. What does the network never learn if both attributes are always dropped together?
# 4. Under which assumption is $\text{out}_{ab} = \text{out}_a + \text{out}_b - \text{out}_\phi$?
# 5. At $w = 0$, what is the effect of a negative label?
#
# <details><summary>Answers</summary>
#
# 1. The network would learn pictures without a dark half. The sampler clips to -1..1 and its pictures are stored as if -1 were black, so all samples would look pale. No error would be raised.
# 2. `null(y)`, which returns a pair of null values in the shapes and types of `y`.
# 3. The predictions from one attribute alone, $\text{out}_a$ and $\text{out}_b$.
# 4. If the attributes are independent given $x_t$: $p(a, b | x_t) = p(a | x_t) \, p(b | x_t)$.
# 5. None: $(1 + 0) \, \text{out}_y - 0 \cdot \text{out}_n$ is $\text{out}_y$.
#
# </details>
#
# **Try:** put a folder of your own pictures in the place of ours, with `size=8` or 16, and one more attribute. More programs, with texts and pictures as conditions: `notebooks/book/bring_your_own.md`.
