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
# **The question.** So far the best guess was a formula, the oracle. For photographs there is no formula. Can a network learn the guess from samples alone, with and without the label? And what does guidance do with its errors?
#
# **After this sitting you can** take a gradient back through a layer by hand, train one network for both predictions by dropping labels, measure its distance from the best possible prediction, say what guidance does with its errors, and prove a gradient by a test.
#
# No GPU, under a minute of computing, about 75 minutes with the exercises. You need sittings 1 to 4. The lectures `tutorial/step09_condition.py`, `tutorial/step15_learning.py` and `tutorial/appendix/e_backprop.py` go deeper. On a hosted machine that has torch already, do first what `01_forward_process` says.

# %% alt="Two plots of arrows on a grid in the plane. Left: the arrows of the oracle point to the centre of class 0, near (0, 1.2), and are longer the further they are from it. Right: the arrows of the untrained network are so short that only dots are visible."
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
untrained = MLP(init(3, 32, np.random.default_rng(0)), schedule, 3)
print(
    sum(array.size for array in untrained.params.values()),
    "numbers, all of them random before training",
)
grid = np.stack(np.meshgrid(np.linspace(-3, 3, 13), np.linspace(-3, 3, 13)), -1).reshape(-1, 2)
fig, panels = plt.subplots(1, 2, figsize=(7, 3.4), layout="constrained")
for ax, model, title in (
    (panels[0], oracle, "the oracle"),
    (panels[1], untrained, "an untrained network"),
):
    eps = model(grid, 20, np.zeros(len(grid), int))
    ax.quiver(*grid.T, *-eps.T, color=CLASS_COLORS[0], angles="xy", scale=40, width=0.006)
    ax.set(title=f"-eps, class 0: {title}", aspect="equal")
plt.show()

# %% [markdown]
# The arrows show the negative prediction of the noise, which points towards the data. Those of the oracle lead to class 0. The untrained network predicts almost no noise anywhere, so on the same scale its arrows are dots.
#
# ## Back through a layer
#
# A network of three layers is trained to approximate the oracle. The time enters through four numbers, $\tau = (\cos \omega, \sin \omega, \cos 2 \omega, \sin 2 \omega)$ with $\cos \omega = \sqrt{\bar\alpha_t}$. The label enters through the row $E_y$ of a table with $K + 1$ rows, of which the last belongs to the null label. With $\mathrm{silu}(a) = a / (1 + e^{-a})$, entry by entry, the network is
#
# $$ a_1 = x_t W_x + \tau W_t + E_y \qquad a_2 = \mathrm{silu}(a_1) W_2 + b_2 $$
# $$ f = \mathrm{silu}(a_2) W_3 + b_3 $$
#
# and $f$ is its prediction of the noise. It learns from samples alone; the left picture is not used in training.
#
# Learning needs the gradient of the loss with respect to every number. Write $G_z$ for the gradient with respect to an array $z$; it has the same shape. By definition, a small change $dz$ changes the loss by
#
# $$ dL = \sum_{ij} (G_z)_{ij} \, dz_{ij} $$
#
# Take a layer $z = h W + b$, where each row of $h$ is one sample. A change $dh$ changes $z$ by $dh \, W$, whose entries are $\sum_k dh_{ik} W_{kj}$. So
#
# $$ dL = \sum_{ij} (G_z)_{ij} \sum_k dh_{ik} W_{kj} = \sum_{ik} dh_{ik} \sum_j (G_z)_{ij} W_{kj} $$
#
# The inner sum at the right is an entry of a product of matrices, since $W_{kj} = (W^T)_{jk}$:
#
# $$ dL = \sum_{ik} (G_z W^T)_{ik} \, dh_{ik} $$
#
# Compare with the definition: $G_h = G_z W^T$. Then $h = \mathrm{silu}(a)$ works entry by entry, so $dh = \mathrm{silu}'(a) \, da$, and each entry of $G_a$ is that of $G_h$ times the slope. With one number per array: $W = 3$, slope 0.5 and $G_z = 2$ give $G_a = 2 \cdot 3 \cdot 0.5 = 3$.
#
# **Exercise 5.1** (fill in a formula). You are given `a` and `G`, the gradient with respect to $z$, both of shape `(n, H)`, and `W` of shape `(H, H)`. Return the gradient with respect to `a`, of shape `(n, H)`. The function `silu`, imported above, returns two arrays: the values and the slopes.


# %% nbgrader={"grade": false, "grade_id": "ex_5_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def back(G, W, a):
    ### BEGIN SOLUTION
    return G @ W.T * silu(a)[1]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_5_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_5_1(back)

# %% [markdown]
# Your rule is used twice here, from the loss down to the weights $W_t$ of the time. It starts from $G_f = 2 (f - \epsilon) / n$, because the loss is the mean over $n = 8$ samples of $|f - \epsilon|^2$. It ends with $\tau^T G_{a_1}$: each weight gets the sum over the samples of its input times the gradient at its output. The picture compares the gradient with a measurement: how much the loss changes if one weight is moved a little.

# %% alt="Scatter plot of the gradient from the rule over the measured change of the loss, one point for each weight, both between -0.03 and 0.03. All points lie on the diagonal."
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
# ## Two predictions from one network
#
# Guidance needs $\epsilon_y$ and $\epsilon_\phi$. In training, each label is replaced by the null label with probability `p_uncond`. So one network learns the prediction with a label, and, for the null label, the prediction for all data (sitting 4).
#
# **Exercise 5.2** (find the mistake). `u` has the shape `(n,)` and contains one uniform random number in 0..1 per sample; `null` is the null label `K`. With the following code, samples of class 0 contain many samples of other classes, and the null label is never trained. Correct it.
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
# The whole training is the loop `learn` below. Each step draws data, times and noise, drops labels by your function, computes the gradient, and moves every number a little against its gradient. The length of this move is chosen by Adam, which divides the gradient by its recent size. **Predict:** a network that always predicts 0 has a loss of 2, because $\epsilon$ has two coordinates of variance 1. Does the loss fall to 0?


# %% alt="Line plot of the loss over 600 training steps. The smoothed loss of the network falls from 1.1 at step 20 to about 0.5 at step 40. Then it falls slowly to about 0.4 and fluctuates, mostly just above the horizontal line of the oracle, 0.38."
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
network, loss = history[-1][1], [value for value, _ in history]
floor, rng = [], np.random.default_rng(1)
for t in range(1, schedule.T + 1):
    x0, y = mixture.sample(400, rng)
    eps, y = rng.standard_normal(x0.shape), hide(y, rng.random(400), 0.2, 3)
    floor.append(squared_error(eps, oracle(xt_from_x0(x0, eps, t, schedule), t, y))[0])
print(f"the last hundred steps: {np.mean(loss[-100:]):.2f}; the oracle: {np.mean(floor):.2f}")
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(loss, color=BLUE, alpha=0.25)
plt.plot(np.arange(20, 601), smooth(loss), color=BLUE, label="the network's loss")
plt.axhline(np.mean(floor), color=GREY, label="the loss of the oracle")
plt.xlabel("training step")
plt.legend()
plt.show()

# %% [markdown]
# It falls to about 0.38, the loss of the oracle, and cannot fall further: $x_t$ does not determine the noise (sitting 3). So the value of the loss alone says little about a network, because nearly all of it remains for a perfect one.
#
# The next cell trains with the mistake of Exercise 5.2 as well, and samples with label 0 and with the null label. **Ask yourself:** in the last panel, what has the row of the null label learned?

# %% alt="Four scatter plots of samples. With the right code, class 0 is one round class, and the null label fills a triangle that covers all three. With the mistake, class 0 also has scattered samples where the other classes lie, and the null label gives one round cloud near (0.5, 0.3)."
mistaken = list(learn(slopes, lambda y, u, p_uncond, null: hide(y, u, p_uncond, 0)))[-1][1]
fig, panels = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
for pair, model, name in ((panels[:2], network, "yours"), (panels[2:], mistaken, "the mistake")):
    for ax, label in zip(pair, (0, 3), strict=True):
        x = ancestral_sample(model, np.full(300, label), schedule, 0.0, np.random.default_rng(0))
        ax.scatter(*x.T, s=3, color=CLASS_COLORS[0] if label == 0 else GREY)
        ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal")
        ax.set_title(f"{name}: " + ("class 0" if label == 0 else "null label"))
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Nothing: no sample had the null label, so its row still has its random initial values. And label 0 was given to one fifth of all samples, so its samples contain other classes.
#
# </details>
#
# The film shows samples of the network while it learns, always from the same noise. **Watch** what it learns first, and what still changes when the loss is already flat.

# %% alt="Film of samples, beside their smoothed training loss with a line at the current step. After 15 steps the three colours form one cloud; they separate between steps 30 and 80 and are compact by step 600. The loss falls steeply to 0.5 before step 40, and then slowly to 0.4."
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
# <details><summary>Answer</summary>
#
# It first learns the size of the noise and roughly where the data are: after 15 steps the samples form one cloud. Then it learns the labels: the classes separate between steps 30 and 80, while the loss falls only from 0.5 to 0.4. After step 100 the loss is flat to the eye, but the classes still become compact and the last overlaps vanish.
#
# </details>
#
# *This is about half of the sitting, and a place for a break. When you come back, run the cells above again.*
#
# ## Against the oracle
#
# Write $f$ for the network, $\epsilon^*$ for the oracle, and $\epsilon$ for the noise that was drawn. Since $\epsilon - f = (\epsilon - \epsilon^*) + (\epsilon^* - f)$,
#
# $$ E|\epsilon - f|^2 - E|\epsilon - \epsilon^*|^2 = E|\epsilon^* - f|^2 $$
#
# The mixed term is 0, because $\epsilon^*$ is the mean of $\epsilon$ given $x_t$ and $y$, so that $\epsilon - \epsilon^*$ has the mean 0 at each $x_t$ (sitting 3). So the loss of a network minus the loss of the oracle is the mean squared distance between the two predictions, called the *excess*. **Predict:** which prediction is further from the oracle, the one with a label or the one for the null label? Only one sample in five has the null label.

# %% alt="Line plot of the excess over t on a logarithmic axis. Between t = 7 and t = 25 the null label is five to ten times higher than the prediction with the label, with a peak of 0.2; at t = 1 it is lower. From t = 50 on both are between 0.002 and 0.005."
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
# <details><summary>Answer</summary>
#
# At small $t$ the one for the null label: between $t = 7$ and $t = 25$ its excess is five to ten times as large. There its task is the harder one, because it has to represent all three classes at once. At $t = 1$, and from about $t = 40$ on, neither is clearly further away. There the classes overlap so much that the label changes little.
#
# </details>
#
# ## What guidance does with errors
#
# Guidance is linear, so it mixes the two errors as it mixes the two predictions: the guided error is $(1 + w) e_y - w e_\phi$.
#
# **Exercise 5.3** (predict, then measure). At some point the prediction with the label has the error $e_y = (0.1, 0)$, and the prediction for the null label has the error $e_\phi = (0, 0.2)$. How long is the error of the guided prediction at $w = 3$, to two digits after the point?

# %% nbgrader={"grade": false, "grade_id": "ex_5_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
length = ...
### BEGIN SOLUTION
length = np.hypot(4 * 0.1, 3 * 0.2)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_5_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_5_3(length)

# %% [markdown]
# The guided error is $(1 + w) e_y - w e_\phi = e_y + w (e_y - e_\phi)$. Its squared length is a parabola in $w$:
#
# $$ |e_y|^2 + 2 w \, e_y \cdot (e_y - e_\phi) + w^2 |e_y - e_\phi|^2 $$
#
# So the means of three numbers, those of its coefficients, give the mean squared error at every weight (15.7). The picture shows it for the network, and in grey for the two errors of your exercise, $0.01 (1 + w)^2 + 0.04 w^2$:

# %% alt="Line plot of the mean square error over w. The points measured for the network lie on its parabola, which is close to 0 at w = 0 and rises to 2.1 at w = 4. The grey parabola of the exercise rises less and contains the point 0.52 at w = 3."
rng, weights, t = np.random.default_rng(3), np.linspace(-1, 4, 101), 20
x0, y = mixture.sample(500, rng)
xt = xt_from_x0(x0, rng.standard_normal(x0.shape), t, schedule)
c = parabola(network, oracle, xt, t, y)
dots = [(guided_error(network, oracle, xt, t, y, w) ** 2).sum(1).mean() for w in range(-1, 5)]
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(
    weights,
    c[0] + c[1] * weights + c[2] * weights**2,
    color=BLUE,
    label="parabola from three means",
)
plt.plot(range(-1, 5), dots, "o", color=BLUE, label="measured, network at t = 20")
plt.plot(weights, 0.01 * (1 + weights) ** 2 + 0.04 * weights**2, "--", color=GREY)
plt.plot(3, length**2, "o", color=GREY, label="your number, squared, and its parabola")
plt.xlabel("w")
plt.ylabel("mean square error")
plt.legend()
plt.show()

# %% [markdown]
# What happens along a whole chain, where each step starts at a place that earlier errors have changed? Move the slider for `w`. Each line joins a sample of the network with the sample of the oracle from the same noise.

# %%
wanted = np.repeat([0, 1, 2], 50)


def end_to_end(ax, w):
    ends = [
        ancestral_sample(m, wanted, schedule, w, np.random.default_rng(2))
        for m in (oracle, network)
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
# If the slider does not move (no running kernel), here are four of its positions:

# %% alt="Four scatter plots of samples of the network, with a line from each to that of the oracle. At w = 0 the lines are hardly visible; at w = 1 and 4 they are longer and point outwards from compact classes. At w = -1 the classes are mixed, with long lines in all directions."
fig, panels = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
for ax, w in zip(panels, (-1.0, 0.0, 1.0, 4.0), strict=True):
    end_to_end(ax, w)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The samples of the network end near those of the oracle at $w = 0$, 0.07 apart on average. With a larger weight they are further apart, 0.20 at $w = 1$ and 0.43 at $w = 4$: guidance multiplies the errors of each step. At $w = -1$ they are 0.40 apart, because only the prediction for the null label is used, which has the larger error.
#
# </details>
#
# The guided prediction of the oracle is, up to a factor, the gradient of a logarithm of densities. The *curl* of a field $g$ in the plane is $\partial g_2 / \partial x_1 - \partial g_1 / \partial x_2$. For a gradient the two terms are the same second derivative, so its curl is 0, and that of the oracle is 0 at every weight (15.8). A network is not forced to predict a gradient. **Ask yourself:** what does the curl of a network say where the oracle is not known?

# %% alt="Three colour maps of the curl in the plane, on a scale from -1.5 to 1.5. The map of the oracle at w = 3 is 0 everywhere. The network has faint regions of both signs at w = 0 and much stronger ones at w = 3, down to about -1.2."
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
# <details><summary>Answer</summary>
#
# The oracle has no curl, so a curl that is not 0 proves an error of at least some size. The converse does not hold: a wrong prediction may have no curl. Guidance with $w = 3$ makes it larger, as the panels show.
#
# </details>
#
# ## How do you know that the gradient is right?
#
# **Predict:** here are three wrong gradients. One is half as large as the right one; in one a weight is not transposed (a mistake in Exercise 5.1); in one the row of class 0 gets no gradient. Which of them would you notice from the loss?


# %% alt="Line plot of the smoothed loss over the training step, for the right gradient and three wrong ones. All curves fall from about 1.1 to 0.4 with the same fluctuations and lie on top of each other, except that the one without the transpose is slightly higher in the first fifty steps."
def half(*batch):
    return {name: G / 2 for name, G in slopes(*batch).items()}


def not_transposed(p, xt, tau, y, eps):
    f, passed = forward(p, xt, tau, y)
    wrong = backward(p | {"W2": p["W2"].T}, squared_error(eps, f)[1], passed)
    return slopes(p, xt, tau, y, eps) | {name: wrong[name] for name in ("Wx", "Wt", "E")}


def frozen(*batch):
    G = slopes(*batch)
    return G | {"E": G["E"] * np.array([[0], [1], [1], [1]])}


plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(smooth(loss), color=BLUE, lw=3, alpha=0.5, label="right")
print(f"right: the last hundred steps {np.mean(loss[-100:]):.3f}")
for wrong, color, width in ((half, ORANGE, 2), (not_transposed, RED, 1), (frozen, GREY, 1)):
    losses = [value for value, _ in learn(wrong, hide)]
    plt.plot(smooth(losses), color=color, lw=width, label=wrong.__name__)
    print(f"{wrong.__name__}: the last hundred steps {np.mean(losses[-100:]):.3f}")
plt.xlabel("training step")
plt.ylabel("loss")
plt.legend()
plt.show()

# %% [markdown]
# None of them. The step of Adam does not depend on a constant factor of the gradient (15.2), and the other arrays of a network compensate for what is wrong in one of them. A test of ten lines finds all three in a hundredth of a second.
#
# **Exercise 5.4** (prove by a test; the hardest of this sitting). Write a test of a function `gradient(p, xt, tau, y, eps)`. This function returns a dictionary with the gradient of the loss with respect to each array in `p`, under the name of the array. Your test must use `assert`. It must pass for the right gradient, and fail for one that is wrong in any array or by any factor. `loss_at` computes the loss, so that you can move one number a little and measure the change; `p | {name: moved}` is `p` with another array under this name. Choose the labels `y` of the batch of 8 yourself, in 0..3, where 3 is the null label. Finish the test below.


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
# How small should the step $h$ of a difference be? The left panel shows the four inputs that represent the time. The middle panel shows the error of a central difference over this step, which the axis calls $r$. In the right panel two networks learn, one with the right gradient and one with a wrong one.

# %% alt="Left: the four inputs, which change with t between -1 and 1. Middle: the error of a central difference over its distance, both logarithmic, is V-shaped and lowest near 0.00003. Right: the loss over the updates falls from 1.4 to below 0.8 with the right gradient, and almost equally with the wrong one."
e_backprop.figure()

# %% [markdown]
# <details><summary>Answer</summary>
#
# About $10^{-5}$. A central difference has an error proportional to $h^2$, and it divides the rounding of the loss, about $10^{-16}$, by $h$. The two are equal where $h^3$ is about $10^{-16}$, which is $h = 5 \cdot 10^{-6}$.
#
# </details>

# %% [markdown]
# ## You now know
#
# - the gradient goes back through a layer by the transposed weight, and then by the slope of the activation (`tutorial/appendix/e_backprop.py`, equations E.6 to E.8);
# - one network learns the prediction with a label and the one for the null label, if a random number per sample decides whether the label is dropped (`tutorial/step15_learning.py`, 15.4 and 15.5);
# - guidance mixes errors as it mixes predictions, so they grow with `w` (15.6 to 15.9);
# - a falling loss proves nothing about a gradient, and a test of ten lines does.
#
# ## Five questions
#
# 1. Why does the loss not fall to 0, even for a perfect network?
# 2. Why is the label dropped for each sample separately, and not for a whole batch?
# 3. The errors of both predictions are equal at a point. What is the guided error there?
# 4. Which of the two predictions needs more of the network, and why?
# 5. A gradient is right for all arrays but 1 % too large in one. Which test finds it?
#
# <details><summary>Answers</summary>
#
# 1. The noise is not determined by $x_t$. What remains is its conditional variance.
# 2. Then every batch trains both predictions, and the gradient has less noise. (On average both give the same loss.)
# 3. The same error, at every $w$: $(1 + w) e - w e = e$.
# 4. The one for the null label: it must represent all classes at once, and it gets fewer samples.
# 5. The comparison with finite differences, array by array.
#
# </details>
#
# **Try:** `pytest -m step15`, then `python -m tutorial.step15_learning --full`. The torch twins are `minicfg/unet.py` and `minicfg/training.py`. Next: sitting 6, the paper's own algorithms and faster solvers.
