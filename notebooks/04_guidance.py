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
# # 4. Guidance
#
# **After this sitting you can** say what the null label's answer is, write guidance in one line and in both conventions, mix and clip in the right order, and say what a larger weight gives and takes.
#
# No GPU, a minute of computing, about 50 minutes with the exercises. Read `tutorial/step09_condition.py`, `step11_guidance.py` and `step12_trade_off.py` beside it. On a hosted machine that has torch already: clone the repository, `pip install -e . -c constraints.txt --no-deps`, and restart the kernel.

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

from tutorial.figures import step09_condition, step11_guidance, step12_trade_off
from tutorial.figures.program import CLASS_COLORS, GREY
from tutorial.step01_toy_data import pinwheel, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import noised, oracle_eps
from tutorial.step07_sampling import ancestral_sample

rng = np.random.default_rng(0)
schedule, mixture = Schedule.cosine(100), three_gaussians()
model, null = oracle_eps(mixture, schedule), mixture.num_classes
fig, panels = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
for ax, asked, title in ((panels[0], 0, "asked for class 0"), (panels[1], null, "null label")):
    x = ancestral_sample(model, np.full(600, asked), schedule, 0.0, rng)
    ax.scatter(*x.T, s=3, color=CLASS_COLORS[0] if asked == 0 else GREY)
    ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title=title)
plt.show()

# %% [markdown]
# ## One line
#
# The same denoiser, told the class and told nothing: the null label, `K`, stands for all images.
#
# **Exercise 4.1** (fill in a formula). Ask one network twice about the same $x_t$, with the label (`eps_cond`) and with the null label (`eps_null`). Write the guided answer: `w = 0` is the conditional model, `w = -1` the unconditional one.


# %% nbgrader={"grade": false, "grade_id": "ex_4_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_guide(eps_cond, eps_null, w):
    ### BEGIN SOLUTION
    return eps_cond + w * (eps_cond - eps_null)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_4_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_4_1(my_guide)

# %% [markdown]
# **Predict:** the left panels show where samples of class 0 are drawn, for three weights. What becomes of the arrows between the classes, and of those inside class 0?

# %%
fig = Figure(figsize=(14, 3.6), layout="constrained")
step11_guidance.draw_guidance(fig)
fig

# %% [markdown]
# ## The null label
#
# Its best answer is a mean of what is best for each class. **Ask yourself:** weighed by what? Near class 0, should class 2 count as much as class 0?
#
# **Exercise 4.2** (fill in a formula). `each` is `(K, n, 2)`, the answers for each class; `p` is `(n, K)`, $p(y | x_t)$ of each point; `shares` is `(K,)`, how much of the data each class is. Return the null label's answer, `(n, 2)`. You may not need all three.


# %% nbgrader={"grade": false, "grade_id": "ex_4_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
def null_answer(each, p, shares):
    ### BEGIN SOLUTION
    return (p.T[:, :, None] * each).sum(0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_4_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_4_2(null_answer)

# %%
line, t = np.stack([np.zeros(121), np.linspace(-3, 3, 121)], 1), 40
each = np.stack([model(line, t, np.full(121, k)) for k in range(3)])
p = np.exp(noised(mixture, t, schedule).log_class_probability(line))
plt.figure(figsize=(7, 3), layout="constrained")
for k, name in ((0, "class 0"), (1, "class 1 or 2: mirror images")):
    plt.plot(line[:, 1], each[k, :, 1], color=CLASS_COLORS[k], label=name)
plt.plot(line[:, 1], null_answer(each, p, mixture.weights)[:, 1], "k--", label="null, yours")
plt.xlabel("place on a line through class 0 (at the right)")
plt.ylabel("eps along the line")
plt.legend(fontsize=8)
plt.show()

# %% [markdown]
# Where only one class can be, the null answer is that class's, and guidance does nothing. **When** in the chain does a label help most? It depends on the unit. The right panel shows its effect on the prediction of eps, its effect on the guess of $x_0$, and how uncertain the label is when only $x_t$ is known.

# %%
fig = Figure(figsize=(11, 3.6), layout="constrained")
step09_condition.draw_condition(fig)
fig

# %% [markdown]
# ## Two conventions
#
# Others write $\epsilon(x_t, \phi) + s (\epsilon(x_t, y) - \epsilon(x_t, \phi))$ and call $s$ `guidance_scale`.
#
# **Exercise 4.3** (predict, then measure). A pipeline uses `guidance_scale=7.5`. Which `w` is that here?

# %% nbgrader={"grade": false, "grade_id": "ex_4_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
w = ...
### BEGIN SOLUTION
w = 6.5
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_4_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_4_3(w)

# %%
cond, none = model(line, t, np.zeros(121, int)), model(line, t, np.full(121, null))
theirs = none + 7.5 * (cond - none)
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(line[:, 1], theirs[:, 1], lw=4, alpha=0.4, label="theirs, scale 7.5")
plt.plot(line[:, 1], my_guide(cond, none, w)[:, 1], "k--", label=f"yours, w = {w}")
plt.plot(line[:, 1], my_guide(cond, none, 7.5)[:, 1], ":", label="the number taken over, w = 7.5")
plt.xlabel("place on the same line")
plt.ylabel("eps along the line")
plt.legend()
plt.show()

# %% [markdown]
# ## Mix, then clip
#
# Guidance may be done on eps, x0 or v alike, because the change between them is affine. A clip is not.
#
# **Exercise 4.4** (find the mistake). Somebody kept guesses of $x_0$ in range like this. The result leaves the range. Write it as it should be.
#
# ```python
# return my_guide(np.clip(x0_cond, -clip, clip), np.clip(x0_null, -clip, clip), w)
# ```


# %% nbgrader={"grade": false, "grade_id": "ex_4_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def guided_guess(x0_cond, x0_null, w, clip):
    ### BEGIN SOLUTION
    return np.clip(my_guide(x0_cond, x0_null, w), -clip, clip)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_4_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_4_4(guided_guess)

# %%
x0_null = np.linspace(-3, 3, 301)
first = my_guide(np.full(301, 0.5), np.clip(x0_null, -1, 1), 3.0)
plt.figure(figsize=(7, 3), layout="constrained")
plt.axhspan(-1, 1, color=GREY, alpha=0.2, label="where data are")
plt.plot(x0_null, first, "--", label="clipped first")
plt.plot(x0_null, guided_guess(np.full(301, 0.5), x0_null, 3.0, 1.0), label="yours")
plt.xlabel("null guess; the conditional one is 0.5, w = 3")
plt.ylabel("guided guess")
plt.legend()
plt.show()

# %% [markdown]
# ## What it gives, and what it takes
#
# **Exercise 4.5** (predict, then measure). The `pinwheel` has five classes of equal shares. Ask for each class equally often, but sample at `w = -1`. What share of the samples is of the class that was asked for, as the exact classifier sees it?

# %% nbgrader={"grade": false, "grade_id": "ex_4_5", "locked": false, "schema_version": 3, "solution": true, "task": false}
accuracy = ...
### BEGIN SOLUTION
accuracy = 1 / 5
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_4_5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_4_5(accuracy)

# %%
wheel, few = pinwheel(), Schedule.cosine(50)
asked, weights, measured = np.repeat(np.arange(5), 300), (-1.0, -0.5, 0.0, 1.0, 4.0), []
for weight in weights:
    x = ancestral_sample(oracle_eps(wheel, few), asked, few, weight, np.random.default_rng(0))
    measured.append((wheel.log_class_probability(x).argmax(1) == asked).mean())
    print(f"w = {weight:4}: {measured[-1]:.3f} of the class asked for")
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(weights, measured, "o-")
plt.axhline(accuracy, color=GREY, label="your prediction at w = -1")
plt.xlabel("w")
plt.ylabel("accuracy")
plt.legend()
plt.show()

# %% [markdown]
# **Predict:** accuracy goes up with `w`. What goes down, and does it go down for ever?

# %%
step12_trade_off.figure()

# %% [markdown]
# Samples of class 0 at any `w`, always from the same noise: move the slider. Where no kernel is alive, the row below it says the same. **Ask yourself:** what moves first, the centre of the samples or their width?


# %%
def at_weight(ax, w):
    """Samples at `w`."""
    same = np.random.default_rng(0)
    x = ancestral_sample(oracle_eps(mixture, few), np.zeros(300, int), few, w, same)
    ax.scatter(*x.T, s=3, color=CLASS_COLORS[0])
    ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title=f"w = {w}")


def show(w):
    """One panel, for the slider."""
    _, ax = plt.subplots(figsize=(3, 3), layout="constrained")
    at_weight(ax, w)
    plt.show()


slider = ipywidgets.FloatSlider(1, min=-2, max=6, step=0.5, continuous_update=False)
ipywidgets.interact(show, w=slider)
fig, panels = plt.subplots(1, 4, figsize=(10, 2.7), layout="constrained")
for ax, weight in zip(panels, (-1.0, 0.0, 1.0, 4.0), strict=True):
    at_weight(ax, weight)
plt.show()

# %% [markdown]
# The same as a film, `t` from `T` to 0 at four weights. **Watch** when a strong weight has carried the samples to their class, and what they do from then on.

# %%
film = Figure(figsize=(8.8, 2.4), layout="constrained")
panels, writer = film.subplots(1, 4), PillowWriter(fps=8)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "film.gif"
    with writer.saving(film, path, dpi=60):
        for t in step12_trade_off.clouds(panels, (-1.0, 0.0, 1.0, 4.0)):
            panels[0].set_ylabel(f"t = {t}")
            for _ in range(12 if t == 0 else t % 5 == 0):  # every fifth step, and a long end
                writer.grab_frame()
    gif = path.read_bytes()
Image(gif)

# %% [markdown]
# ## You now know
#
# - the null label's answer is the mean over the classes $x_t$ may be of (`tutorial/step09_condition.py`, equation 9.3);
# - guidance is one line, `w` is the paper's weight and `s = 1 + w` the other one (`tutorial/step11_guidance.py`, 11.1 to 11.3);
# - mix the raw answers and clip once, last (11.5 and 11.6);
# - relevance goes up with `w`, diversity down to about `w = 4` here (`tutorial/step12_trade_off.py`).
#
# **Try:** `pytest -m step11`, then write the other convention into the lesson. The torch twins are `minicfg/guidance.py` and `minicfg/metrics/evaluate.py`.
