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
# # 1. The forward process
#
# **After this sitting you can** say what one step of noising does and why its two coefficients belong together, jump from the data to any time in one draw, and read the schedule's letters off one table.
#
# It needs NumPy and matplotlib, no GPU, and under a minute of computing; plan 40 minutes. Run it from the checkout (`make lab`); the edition without solutions is made by `make student`. On a hosted machine that has torch already: clone the repository, `pip install -e . -c constraints.txt --no-deps`, and restart the kernel.
#
# Everything used here is imported from the lessons: read `tutorial/step01_toy_data.py` to `tutorial/step03_marginal.py` beside it. An exercise ends in a check that says right, or what is probably wrong.

# %%
# %matplotlib inline
import check
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from tutorial.figures import step01_toy_data, step02_forward, step03_marginal
from tutorial.figures.program import CLASS_COLORS
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule, forward_chain

rng = np.random.default_rng(0)
schedule = Schedule.cosine(100)
print(f"T = {schedule.T}; beta[0] = {schedule.beta[0]}, alpha_bar[0] = {schedule.alpha_bar[0]}")
print(f"alpha_bar[T] = {schedule.alpha_bar[-1]:.2e}")
step01_toy_data.figure()

# %% [markdown]
# These are the data of the course: labelled, in the plane, of a density that is known.
#
# ## One table
#
# `beta[t]` is the share of the variance that step `t` replaces by noise. All other letters are arithmetic on it: `alpha = 1 - beta`, `alpha_bar` its running product, `log_snr = log(alpha_bar / (1 - alpha_bar))`.
#
# **Before you run the next cell:** with the linear schedule, at which `t` of 1000 is half of the variance noise? A quarter of the way? Half?

# %%
linear = Schedule.linear(1000)
print("linear: half the variance is noise at t =", int(np.argmax(linear.alpha_bar < 0.5)))
fig = Figure(figsize=(11, 3.4), layout="constrained")
step02_forward.draw_schedules(fig)
fig

# %% [markdown]
# ## One step
#
# $$ q(x_t | x_{t-1}) = N(x_t; \sqrt{1 - \beta_t} x_{t-1}, \beta_t I) $$
#
# **Exercise 1.1** (fill in a formula). Take that step: from `x`, and a standard normal `z` of the same shape, to the next state.


# %% nbgrader={"grade": false, "grade_id": "ex_1_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def one_step(x, beta, z):
    ### BEGIN SOLUTION
    return np.sqrt(1 - beta) * x + np.sqrt(beta) * z
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_1_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_1_1(one_step)

# %% [markdown]
# **Predict:** the data below have variance 1 in each coordinate. What is their variance at `t = 30`? What would it be without the factor $\sqrt{1 - \beta_t}$? The last panel answers, for three starts and two slips.

# %%
fig = Figure(figsize=(11, 3.2), layout="constrained")
step02_forward.draw_forward(fig)
fig

# %% [markdown]
# **Exercise 1.2** (predict, then measure). Data of variance 4 take one step of $\beta = 0.36$. What is their variance now, to two digits after the point? Write the number down before you run the cell after the check.

# %% nbgrader={"grade": false, "grade_id": "ex_1_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
variance = ...
### BEGIN SOLUTION
variance = (1 - 0.36) * 4 + 0.36
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_1_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_1_2(variance)

# %%
x, measured = 2 * rng.standard_normal((50_000, 1)), []
for _ in range(12):
    measured.append(x.var())
    x = one_step(x, 0.36, rng.standard_normal(x.shape))
print(f"measured after one step: {measured[1]:.3f}")
plt.figure(figsize=(6, 3), layout="constrained")
plt.plot(measured, "o-")
plt.axhline(1, color="grey", lw=0.8)
plt.xlabel("steps of beta = 0.36")
plt.ylabel("variance")
plt.show()

# %% [markdown]
# The variance goes to 1. What goes where is the *shape*: the next data sit on four points, at $\pm 1$ in each coordinate, and have variance 1 from the start. **Ask yourself:** what share of them will lie beyond 2 in the end?

# %%
x0 = np.sign(rng.standard_normal((50_000, 2)))  # variance 1, and nothing like a Gaussian
fig, panels = plt.subplots(1, 4, figsize=(10, 2.6), layout="constrained", sharey=True)
shown = iter(panels)
for t, x in enumerate(forward_chain(x0, schedule, rng), start=1):
    if t in (1, 30, 60, 100):
        tail = (np.abs(x) > 2).mean()
        print(f"t = {t:3}   variance {x.var():.3f}   share beyond 2: {tail:.4f}")
        next(shown).hist(x[:, 0], np.linspace(-3.5, 3.5, 71), density=True)
print("a Gaussian has 0.0455 beyond 2")
for ax, t in zip(panels, (1, 30, 60, 100), strict=True):
    ax.set(title=f"t = {t}", xlabel="first coordinate", ylim=(0, 1.2))
plt.show()

# %% [markdown]
# ## One jump
#
# Steps of independent noise merge into one: $q(x_t | x_0) = N(\sqrt{\bar\alpha_t} x_0, (1 - \bar\alpha_t) I)$. So training never runs the chain.
#
# **Exercise 1.3** (fill in a formula). Write the jump, with the noise `eps` given. `schedule.alpha_bar` is indexed by the paper's `t`.


# %% nbgrader={"grade": false, "grade_id": "ex_1_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
def jump(x0, eps, t, schedule):
    ### BEGIN SOLUTION
    abar = schedule.alpha_bar[t]
    return np.sqrt(abar) * x0 + np.sqrt(1 - abar) * eps
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_1_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_1_3(jump)

# %% [markdown]
# **Check it by your own eyes:** the same time reached by 60 small steps, and by your jump.

# %%
t = 60
chain = forward_chain(x0, schedule, rng)
*_, stepped = (x for _, x in zip(range(t), chain, strict=False))
jumped = jump(x0, rng.standard_normal(x0.shape), t, schedule)
bins = np.linspace(-4, 4, 80)
plt.figure(figsize=(7, 3), layout="constrained")
plt.hist(stepped[:, 0], bins, density=True, alpha=0.5, label=f"{t} steps")
plt.hist(jumped[:, 0], bins, density=True, histtype="step", color="k", label="one jump")
plt.xlabel(f"first coordinate of $x_{{{t}}}$")
plt.ylabel("density")
plt.legend()
plt.show()

# %% [markdown]
# The labelled data again, at any `t`, by your jump: move the slider. Where no kernel is alive, the row below it says the same. **Ask yourself:** at which `t` could you no longer tell the classes apart? Is that halfway?


# %%
data, labels = three_gaussians().sample(600, rng)
noise = rng.standard_normal(data.shape)


def at_time(ax, t):
    """The data and their noise at `t`."""
    ax.scatter(*jump(data, noise, t, schedule).T, s=3, c=np.array(CLASS_COLORS)[labels])
    ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title=f"t = {t}")


def show(t):
    """One panel, for the slider."""
    _, ax = plt.subplots(figsize=(3, 3), layout="constrained")
    at_time(ax, t)
    plt.show()


slider = ipywidgets.IntSlider(40, min=0, max=100, description="t", continuous_update=False)
ipywidgets.interact(show, t=slider)
fig, panels = plt.subplots(1, 4, figsize=(10, 2.7), layout="constrained")
for ax, t in zip(panels, (0, 40, 70, 100), strict=True):
    at_time(ax, t)
plt.show()

# %% [markdown]
# ## From anywhere to anywhere
#
# A sampler that skips steps needs $q(x_t | x_s)$ for $s < t$: a factor of $x_s$ and a variance.
#
# **Exercise 1.4** (find the mistake). Somebody wrote
#
# ```python
# kept = schedule.alpha[t] / schedule.alpha[s]
# return np.sqrt(kept), 1 - kept
# ```
#
# and at `s = 0` it looked right for `t = 1`. Write it as it should be.


# %% nbgrader={"grade": false, "grade_id": "ex_1_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def stride(s, t, schedule):
    ### BEGIN SOLUTION
    kept = schedule.alpha_bar[t] / schedule.alpha_bar[s]
    return np.sqrt(kept), 1 - kept
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_1_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_1_4(stride)

# %% [markdown]
# **Before you look:** the lesson's first panel draws chains that all start at $x_0 = 2$. Where does the mean go, and how wide is the band at the end? The last one asks how far $x_T$ is from pure noise, which is where a sampler starts.

# %%
step03_marginal.figure()

# %% [markdown]
# ## You now know
#
# - why `sqrt(1 - beta)` and `beta` belong together: they keep unit variance (`tutorial/step02_forward.py`, equations 2.3 and 2.4);
# - why a jump to any `t` is one draw (`tutorial/step03_marginal.py`), and from any `s` too;
# - that `t = 0` is data, and every table is indexed by the paper's `t` (`tutorial/step02_forward.py`).
#
# **Try:** `python -m tutorial.step03_marginal` prints each claim beside the number that checks it, and `pytest -m step03` runs the proofs. Then break one line of `step02_forward.py` and see which test tells you. The torch twins are `minicfg/schedule.py` and `minicfg/training.py`. Next: `02_posterior`, the way back.
