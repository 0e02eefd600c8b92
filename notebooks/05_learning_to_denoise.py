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
# # 5. Learning to denoise
#
# **After this sitting you can** take a loss back through a layer by hand, hide labels so that one network learns both answers, measure how far it is from the best there is, say what guidance does with its errors, and prove a gradient by a test.
#
# No GPU, under a minute of computing, about 55 minutes with the exercises. Run it from the checkout; on a hosted machine that has torch already, do first what `01_forward_process` says. Read `tutorial/step15_learning.py` and `tutorial/appendix/e_backprop.py` beside it.

# %%
# %matplotlib inline
import tempfile
from pathlib import Path

import check
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure

from tutorial.appendix.e_backprop import MLP, angles, backward, forward, init, silu, squared_error
from tutorial.figures.appendix import e_backprop
from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, RED
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import oracle_eps
from tutorial.step07_sampling import ancestral_sample
from tutorial.step15_learning import adam_step, excess, guided_curl, guided_error, parabola

schedule, mixture = Schedule.linear(100), three_gaussians()
oracle = oracle_eps(mixture, schedule)
untaught = MLP(init(3, 32, np.random.default_rng(0)), schedule, 3)
print(sum(array.size for array in untaught.params.values()), "numbers, all of them chance as yet")
grid = np.stack(np.meshgrid(np.linspace(-3, 3, 13), np.linspace(-3, 3, 13)), -1).reshape(-1, 2)
fig, panels = plt.subplots(1, 2, figsize=(7, 3.4), layout="constrained")
for ax, model, title in ((panels[0], oracle, "the oracle"), (panels[1], untaught, "a new network")):
    eps = model(grid, 20, np.zeros(len(grid), int))
    ax.quiver(*grid.T, *-eps.T, color=CLASS_COLORS[0], angles="xy", scale=40, width=0.006)
    ax.set(title=f"-eps at t = 20, class 0: {title}", aspect="equal")
plt.show()

# %% [markdown]
# ## Back through a layer
#
# A network of three layers stands for the oracle; time enters by four numbers of its angle, the label by a row of a table of $K + 1$, the last row the null label's. It learns from samples alone: nobody tells it the left picture.
#
# Learning needs the gradient of the loss in every number. Write $G_z$ for the gradient in an array $z$, of the same shape: a small change $dz$ changes the loss by the sum over all entries of $G_z$ times $dz$.
#
# **Exercise 5.1** (fill in a formula). Forward, a layer is `h = silu(a)` and `z = h @ W + b`, a sample a row. You are given `a` and `G`, the gradient in `z`, both `(n, H)`, and `W`, `(H, H)`. Return the gradient in `a`, `(n, H)`. `silu`, imported above, gives two arrays: the value, and the slope, entry by entry.


# %% nbgrader={"grade": false, "grade_id": "ex_5_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def back(G, W, a):
    ### BEGIN SOLUTION
    return G @ W.T * silu(a)[1]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_5_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_5_1(back)

# %% [markdown]
# Your rule, twice, from the loss down to the weights of time, beside what the loss does when one of them is moved a little:

# %%
rng, h = np.random.default_rng(1), 1e-5
p, tau, y = init(3, 32, rng), angles(np.arange(10, 90, 10), schedule), np.arange(8) % 4
xt, eps = rng.standard_normal((2, 8, 2))
a_1 = xt @ p["Wx"] + tau @ p["Wt"] + p["E"][y]
a_2 = silu(a_1)[0] @ p["W2"] + p["b2"]
G_f = 2 / 8 * (silu(a_2)[0] @ p["W3"] + p["b3"] - eps)
yours = tau.T @ back(back(G_f, p["W3"], a_2), p["W2"], a_1)
measured = np.zeros_like(yours)
for i in np.ndindex(yours.shape):
    for sign in (1, -1):
        moved = p["Wt"].copy()
        moved[i] += sign * h
        f = forward(p | {"Wt": moved}, xt, tau, y)[0]
        measured[i] += sign * squared_error(eps, f)[0] / (2 * h)
plt.figure(figsize=(4.2, 3.2), layout="constrained")
plt.scatter(measured, yours, s=9, color=BLUE)
plt.axline((0, 0), slope=1, color=GREY, lw=0.8)
plt.xlabel("change of the loss, measured")
plt.ylabel("gradient in Wt, yours")
plt.show()

# %% [markdown]
# ## Two answers from one network
#
# In training, each label is hidden with probability `p_uncond`, so that the network learns the null label's answer too: that of all images.
#
# **Exercise 5.2** (find the mistake). `u` is `(n,)`, a number in 0..1 for each sample, drawn evenly; `null` is the null label, `K`. Somebody hid labels like this, and asked for class 0 the network draws all images. Write it as it should be.
#
# ```python
# return np.where(u < p_uncond, 0, y)  # 0: no label
# ```


# %% nbgrader={"grade": false, "grade_id": "ex_5_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
def hide(y, u, p_uncond, null):
    ### BEGIN SOLUTION
    return np.where(u < p_uncond, null, y)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_5_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_5_2(hide)

# %% [markdown]
# All of training is the loop below: draw data, times and noise, hide labels, take the gradient, move every number a little. **Predict:** a network that always says 0 has a loss of 2. Where does the loss end, at 0?


# %%
def slopes(p, xt, tau, y, eps):
    f, passed = forward(p, xt, tau, y)
    return backward(p, squared_error(eps, f)[1], passed)


def learn(slopes, hide, steps=600, width=32, n=100):
    rng = np.random.default_rng(0)
    p = init(3, width, rng)
    mean = square = {name: np.zeros_like(array) for name, array in p.items()}
    for k in range(1, steps + 1):
        (x0, y), t = mixture.sample(n, rng), rng.integers(1, schedule.T + 1, n)
        eps, abar = rng.standard_normal(x0.shape), schedule.alpha_bar[t][:, None]
        xt, tau = np.sqrt(abar) * x0 + np.sqrt(1 - abar) * eps, angles(t, schedule)
        y = hide(y, rng.random(n), 0.2, 3)
        loss = squared_error(eps, forward(p, xt, tau, y)[0])[0]
        G, rate = slopes(p, xt, tau, y, eps), 0.01 * (1 - (k - 1) / steps)
        p, mean, square = adam_step(p, G, mean, square, k, rate)
        yield loss, MLP(p, schedule, 3)


def smooth(losses):
    return np.convolve(losses, np.ones(20) / 20, "valid")


history = list(learn(slopes, hide))
network, loss = history[-1][1], [paid for paid, _ in history]
floor, rng = [], np.random.default_rng(1)
for t in range(1, schedule.T + 1):
    x0, y = mixture.sample(400, rng)
    eps, y = rng.standard_normal(x0.shape), hide(y, rng.random(400), 0.2, 3)
    floor.append(squared_error(eps, oracle(xt_from_x0(x0, eps, t, schedule), t, y))[0])
print(f"the last hundred steps: {np.mean(loss[-100:]):.2f}; the oracle: {np.mean(floor):.2f}")
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(loss, color=BLUE, alpha=0.25)
plt.plot(np.arange(20, 601), smooth(loss), color=BLUE, label="the network's loss")
plt.axhline(np.mean(floor), color=GREY, label="what the oracle pays")
plt.xlabel("training step")
plt.legend()
plt.show()

# %% [markdown]
# Not at 0: $x_t$ does not tell noise and data apart for sure (5.1). The loss alone says little, as nearly all of it is floor. Below are your `hide` and the mistake, trained alike, asked for class 0 and for nothing. **Ask yourself:** in the last panel, what has the row of the null label been taught?

# %%
mistaken = list(learn(slopes, lambda y, u, p_uncond, null: hide(y, u, p_uncond, 0)))[-1][1]
fig, panels = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
for pair, model, name in ((panels[:2], network, "yours"), (panels[2:], mistaken, "the mistake")):
    for ax, asked in zip(pair, (0, 3), strict=True):
        x = ancestral_sample(model, np.full(300, asked), schedule, 0.0, np.random.default_rng(0))
        ax.scatter(*x.T, s=3, color=CLASS_COLORS[0] if asked == 0 else GREY)
        ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal")
        ax.set_title(f"{name}: " + ("class 0" if asked == 0 else "null label"))
plt.show()

# %% [markdown]
# The same as a film: samples of the network as it learns, from the same noise each time. **Watch** what it learns first, and what still happens when the loss has long been flat.

# %%
film, labels = Figure(figsize=(6.4, 3)), np.repeat([0, 1, 2], 50)
(cloud, curve), writer = film.subplots(1, 2), PillowWriter(fps=4)
film.subplots_adjust(bottom=0.2)
dots = cloud.scatter(*np.zeros((2, 150)), s=4, c=np.repeat(CLASS_COLORS[:3], 50))
cloud.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal")
curve.plot(np.arange(20, 601), smooth(loss), color=GREY)
curve.set(xlabel="training step", title="loss")
now = curve.axvline(0, color=RED)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "film.gif"
    with writer.saving(film, path, dpi=60):
        for k in (15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 400, 600):
            model, noise = history[k - 1][1], np.random.default_rng(0)
            dots.set_offsets(ancestral_sample(model, labels, schedule, 0.0, noise))
            now.set_xdata([k, k])
            cloud.set_title(f"after {k} steps")
            for _ in range(4 if k == 600 else 1):
                writer.grab_frame()
    gif = path.read_bytes()
Image(gif)

# %% [markdown]
# ## Against the oracle
#
# What the loss has above its floor is the mean square distance from the oracle, the excess. **Predict:** which answer is farther off, the one with the label or the null label's? Only one in five samples taught the latter.

# %%
times = range(1, 101, 6)
plt.figure(figsize=(7, 3), layout="constrained")
for null, name, color in ((False, "with the label", BLUE), (True, "null label", ORANGE)):
    far = [excess(network, oracle, t, null, 400, np.random.default_rng(1))[1] for t in times]
    plt.semilogy(times, np.mean(far, axis=1), "o-", ms=3, color=color, label=name)
plt.xlabel("t")
plt.ylabel("excess")
plt.legend()
plt.show()

# %% [markdown]
# ## What guidance does with errors
#
# Guidance is linear, so it mixes the two errors as it mixes the two answers.
#
# **Exercise 5.3** (predict, then measure). At some point the answer with the label errs by $e_y = (0.1, 0)$ and the null label's by $e_\phi = (0, 0.2)$. How long is the error of the guided answer at $w = 3$, to two digits after the point?

# %% nbgrader={"grade": false, "grade_id": "ex_5_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
length = ...
### BEGIN SOLUTION
length = np.hypot(4 * 0.1, 3 * 0.2)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_5_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_5_3(length)

# %% [markdown]
# So the mean square error is a parabola in `w` (15.7): three means, and no more, say it for every weight. The network's own, and the point of your exercise:

# %%
rng, weights, t = np.random.default_rng(3), np.linspace(-1, 4, 101), 20
x0, y = mixture.sample(500, rng)
xt = xt_from_x0(x0, rng.standard_normal(x0.shape), t, schedule)
c = parabola(network, oracle, xt, t, y)
dots = [(guided_error(network, oracle, xt, t, y, w) ** 2).sum(1).mean() for w in range(-1, 5)]
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(weights, c[0] + c[1] * weights + c[2] * weights**2, color=BLUE, label="three means")
plt.plot(range(-1, 5), dots, "o", color=BLUE, label="measured, network at t = 20")
plt.plot(weights, 0.01 * (1 + weights) ** 2 + 0.04 * weights**2, "--", color=GREY)
plt.plot(3, length**2, "o", color=GREY, label="your answer, squared, and its parabola")
plt.xlabel("w")
plt.ylabel("mean square error")
plt.legend()
plt.show()

# %% [markdown]
# And along a whole chain, where each step asks at a place to which the errors have led? Move `w`: each line joins a sample of the network with the oracle's from the same noise.

# %%
asked = np.repeat([0, 1, 2], 50)


def end_to_end(ax, w):
    ends = [
        ancestral_sample(m, asked, schedule, w, np.random.default_rng(2)) for m in (oracle, network)
    ]
    ax.plot(*np.stack(ends, 1).T, color=GREY, lw=0.7)
    ax.scatter(*ends[1].T, s=7, c=np.repeat(CLASS_COLORS[:3], 50), zorder=2)
    ax.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal")
    apart = np.linalg.norm(ends[1] - ends[0], axis=1).mean()
    ax.set_title(f"w = {w:g}: {apart:.2f} apart")


def show(w):
    end_to_end(plt.figure(figsize=(3.6, 3.6), layout="constrained").subplots(), w)
    plt.show()


slider = ipywidgets.FloatSlider(0.0, min=-1, max=6, step=0.5, continuous_update=False)
ipywidgets.interactive(show, w=slider)

# %% [markdown]
# Where no kernel is alive, four of its places:

# %%
fig, panels = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
for ax, w in zip(panels, (-1.0, 0.0, 1.0, 4.0), strict=True):
    end_to_end(ax, w)
plt.show()

# %% [markdown]
# The guided oracle is a slope of a logarithm, so it cannot turn: its curl is 0 at any weight (15.8). Nothing in the loss asks that of a network. **Ask yourself:** what can be said of a network by its curl alone, where nobody knows the oracle?

# %%
line = np.linspace(-4, 4, 41)
places = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
fig, panels = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
for ax, model, w in zip(panels, (oracle, network, network), (3.0, 0.0, 3.0), strict=True):
    field = guided_curl(model, places, 20, np.zeros(len(places), int), w).reshape(41, 41)
    shades = ax.pcolormesh(line, line, field, cmap="PuOr", vmin=-1.5, vmax=1.5)
    ax.set(aspect="equal", title=f"curl, {'oracle' if model is oracle else 'network'}, w = {w:g}")
fig.colorbar(shades, ax=panels)
plt.show()

# %% [markdown]
# ## How do you know the gradient is right?
#
# **Predict:** three gradients that are wrong: half as large, with a weight not turned round (the mistake of 5.1), and one in which class 0 learns nothing. Which of them would you notice by the loss?


# %%
def half(*batch):
    return {name: G / 2 for name, G in slopes(*batch).items()}


def not_turned(p, xt, tau, y, eps):
    f, passed = forward(p, xt, tau, y)
    wrong = backward(p | {"W2": p["W2"].T}, squared_error(eps, f)[1], passed)
    return slopes(p, xt, tau, y, eps) | {name: wrong[name] for name in ("Wx", "Wt", "E")}


def frozen(*batch):
    G = slopes(*batch)
    return G | {"E": G["E"] * np.array([[0], [1], [1], [1]])}


plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(smooth(loss), color=BLUE, lw=3, alpha=0.5, label="right")
print(f"right: the last hundred steps {np.mean(loss[-100:]):.3f}")
for wrong, color in ((half, ORANGE), (not_turned, RED), (frozen, GREY)):
    paid = [paid for paid, _ in learn(wrong, hide)]
    plt.plot(smooth(paid), color=color, lw=1, label=wrong.__name__)
    print(f"{wrong.__name__}: the last hundred steps {np.mean(paid[-100:]):.3f}")
plt.xlabel("training step")
plt.ylabel("loss")
plt.legend()
plt.show()

# %% [markdown]
# None of them. Adam's step does not see a factor of the gradient at all (15.2), and the rest of a network works round what is wrong in one array. A test of ten lines tells in a hundredth of a second.
#
# **Exercise 5.4** (prove by a test; the hardest here). Write a test of a function `gradient(p, xt, tau, y, eps)`. It returns a dict: for each array in `p`, by its name, the gradient of the loss, of the same shape. Your test uses `assert`: it has to let the lesson's gradient through, and to stop one that is wrong in any array, by any factor. `loss_at` is the loss, so that you can move a number a little and look; `p | {name: moved}` is `p` with another array of that name. The labels `y` of the batch of 8 are yours to choose, in 0..3; 3 is the null label. Finish the test below.


# %% nbgrader={"grade": false, "grade_id": "ex_5_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def loss_at(p, xt, tau, y, eps):
    return squared_error(eps, forward(p, xt, tau, y)[0])[0]


def my_test(gradient):
    rng = np.random.default_rng(0)
    p, tau = init(3, 6, rng), angles(np.arange(10, 90, 10), Schedule.linear(100))
    xt, eps = rng.standard_normal((2, 8, 2))
    ### BEGIN SOLUTION
    y, h = np.array([0, 1, 2, 3, 3, 2, 1, 0]), 1e-5  # every label, the null label as well
    found = gradient(p, xt, tau, y, eps)
    for name, array in p.items():
        for i in np.ndindex(array.shape):
            up, down = array.copy(), array.copy()
            up[i], down[i] = up[i] + h, down[i] - h
            change = loss_at(p | {name: up}, xt, tau, y, eps)
            change -= loss_at(p | {name: down}, xt, tau, y, eps)
            assert abs(found[name][i] - change / (2 * h)) < 1e-8, f"{name}{list(i)}"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_5_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_5_4(my_test)

# %% [markdown]
# How small should a step be? The middle panel shows the error of a difference: it grows with the square of a large step, and a small step divides the rounding of the loss. The left panel shows the four inputs that represent the time. In the right panel two networks learn, one with the right gradient and one with a wrong one.

# %%
e_backprop.figure()

# %% [markdown]
# ## You now know
#
# - the way back through a layer: turn the weight round, then the slope of what came before it (`tutorial/appendix/e_backprop.py`, equations E.6 to E.8);
# - a network near the oracle with the label and without it, by a coin for each sample (`tutorial/step15_learning.py`, 15.4 and 15.5);
# - guidance mixes errors too, and the larger one wins as `w` grows (`tutorial/step15_learning.py`, 15.6 to 15.9);
# - that a falling loss proves nothing about a gradient, and a test of ten lines does.
#
# **Try:** `pytest -m step15`, then `python -m tutorial.step15_learning --full`. The torch twins are `minicfg/unet.py` and `minicfg/training.py`. Next: `06_the_papers_algorithms`.
