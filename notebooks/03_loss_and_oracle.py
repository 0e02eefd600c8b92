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
# # 3. The loss, the best denoiser of all, and sampling
#
# **After this sitting you can** say what training minimises and what it drops from the likelihood, write down the best answer any network could give for Gaussian classes, know the loss it pays, and run the reverse chain with it.
#
# No GPU, a minute of computing, about 50 minutes with the exercises. Read `tutorial/step05_best_guess.py`, `step07_sampling.py`, `step08_loss.py` and `tutorial/appendix/a_elbo.py` beside it. On a hosted machine that has torch already: clone the repository, `pip install -e . -c constraints.txt --no-deps`, and restart the kernel.

# %%
# %matplotlib inline
import check
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np

from tutorial.figures import step05_best_guess, step07_sampling, step08_loss
from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import oracle_eps
from tutorial.step06_reverse import p_xprev_given_xt

rng = np.random.default_rng(0)
schedule, mixture = Schedule.cosine(100), three_gaussians()
x0, y = mixture.sample(1500, rng)
fig, panels = plt.subplots(1, 4, figsize=(10, 2.7), layout="constrained")
for ax, t in zip(panels, (0, 20, 50, 90), strict=True):
    xt = xt_from_x0(x0, rng.standard_normal(x0.shape), t, schedule)
    ax.scatter(*xt.T, s=2, c=np.array(CLASS_COLORS)[y])
    ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title=f"t = {t}")
plt.show()

# %% [markdown]
# ## The loss
#
# The bound on the likelihood is a sum of regressions on the noise, each with a weight; the simple loss puts 1 for every weight. **Ask yourself:** which touches does that raise, the last, nearly noiseless ones, or the first?

# %%
step08_loss.figure()

# %% [markdown]
# **Exercise 3.1** (fill in a formula). The simple loss of a batch: `eps` and the network's `out`, both `(n, D)`, to one number, $E |\epsilon - \epsilon_\theta|^2$.


# %% nbgrader={"grade": false, "grade_id": "ex_3_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def loss(eps, out):
    ### BEGIN SOLUTION
    return ((eps - out) ** 2).sum(-1).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_3_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_3_1(loss)

# %% [markdown]
# **Before you run it:** a network answers $\rho x_t$ with one number $\rho$. At small `t`, $x_t$ is mostly data; at large `t` it is the noise. Where does the best $\rho$ lie at each?

# %%
slopes = np.linspace(0, 1.1, 56)
plt.figure(figsize=(7, 3), layout="constrained")
for t, color in ((10, BLUE), (50, ORANGE), (90, GREY)):
    eps = rng.standard_normal(x0.shape)
    xt = xt_from_x0(x0, eps, t, schedule)
    paid = [loss(eps, rho * xt) for rho in slopes]
    best = slopes[np.argmin(paid)]
    plt.plot(slopes, paid, color=color, label=f"t = {t}: best {best:.2f}")
plt.xlabel(r"$\rho$")
plt.ylabel("your loss")
plt.legend()
plt.show()

# %% [markdown]
# ## The floor
#
# No function of $x_t$ gets to 0, because $x_t$ does not tell noise and data apart for sure.
#
# **Exercise 3.2** (predict, then measure). One class, in the plane, $N(\mu, I/4)$, at $\bar\alpha_t = 1/2$. What is the lowest loss there can be, to two digits after the point? Use that the best answer is the regression of `eps` on $x_t$, a coordinate at a time.

# %% nbgrader={"grade": false, "grade_id": "ex_3_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
floor = ...
### BEGIN SOLUTION
floor = 2 * 0.5 * 0.25 / (0.5 * 0.25 + 0.5)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_3_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_3_2(floor)

# %%
half = Schedule(np.array([0.0, 0.5]))
data = 0.5 * rng.standard_normal((50_000, 2))
eps = rng.standard_normal(data.shape)
xt, factors = xt_from_x0(data, eps, 1, half), np.linspace(0, 2, 81)
paid = [loss(eps, factor * xt) for factor in factors]
print(f"lowest measured: {min(paid):.3f}")
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(factors, paid, color=BLUE)
plt.axhline(floor, color=GREY, label="your floor")
plt.xlabel(r"answer: this factor times $x_t$")
plt.ylabel("loss")
plt.legend()
plt.show()

# %% [markdown]
# ## The oracle
#
# For Gaussian classes the best answer is a formula, so this course can compare every network and every sampler with the truth. Left: the score without a label; middle: with one; right: the floor. In units of eps, the label lowers the floor most in the middle of the chain. **Ask yourself:** is its effect on the guess of the image also largest there? Sitting 4 shows both.

# %%
step05_best_guess.figure()

# %% [markdown]
# **Exercise 3.3** (fill in a formula). $E[\epsilon | x_t]$ for one class $N(\mu, v I)$: `xt` is `(n, 2)`, `abar` a number, `mu` `(2,)`, `var` the number $v$.


# %% nbgrader={"grade": false, "grade_id": "ex_3_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_eps(xt, abar, mu, var):
    ### BEGIN SOLUTION
    spread = abar * var + 1 - abar
    return np.sqrt(1 - abar) * (xt - np.sqrt(abar) * mu) / spread
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_3_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_3_3(best_eps)

# %% [markdown]
# Your formula on a line through the class, beside noises that were really there:

# %%
one = GaussianMixture(np.array([[1.0, 0.0]]), 0.25 * np.eye(2)[None], np.ones(1))
data, _ = one.sample(600, rng)
eps = rng.standard_normal(data.shape)
xt = xt_from_x0(data, eps, 1, half)
line = np.stack([np.linspace(-1.5, 3, 50), np.zeros(50)], 1)
plt.figure(figsize=(7, 3), layout="constrained")
plt.scatter(xt[:, 0], eps[:, 0], s=4, color=GREY, label="noise that was there")
plt.plot(line[:, 0], best_eps(line, 0.5, one.means[0], 0.25)[:, 0], label="your best answer")
plt.xlabel("first coordinate of $x_t$")
plt.ylabel("eps")
plt.legend()
plt.show()

# %% [markdown]
# ## Sampling
#
# From $x_T \sim N(0, I)$, take the reverse step $T$ times.
#
# **Exercise 3.4** (find the mistake). A sampler had this step. Its samples look right but carry a little noise that is not the data's. Write the step as it should be, given `eps` from the network and a standard normal `z`; no special case for `t = 1` is needed.
#
# ```python
# law = p_xprev_given_xt(xt, eps, t, schedule)
# return law.mean + np.sqrt(schedule.beta[t]) * z
# ```


# %% nbgrader={"grade": false, "grade_id": "ex_3_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def one_step_back(xt, eps, z, t, schedule):
    ### BEGIN SOLUTION
    law = p_xprev_given_xt(xt, eps, t, schedule)
    return law.mean + np.sqrt(law.var) * z
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_3_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_3_4(one_step_back)

# %% [markdown]
# Your step, a hundred times, with the oracle for a network. No training, and the data come out:

# %%
model, labels = oracle_eps(mixture, schedule), np.repeat([0, 1, 2], 300)
x = rng.standard_normal((900, 2))
fig, panels = plt.subplots(1, 4, figsize=(10, 2.7), layout="constrained")
shown = iter(panels)
for t in range(100, 0, -1):
    if t in (100, 50, 20):
        next(shown).scatter(*x.T, s=2, c=np.array(CLASS_COLORS)[labels])
    x = one_step_back(x, model(x, t, labels), rng.standard_normal(x.shape), t, schedule)
panels[3].scatter(*x.T, s=2, c=np.array(CLASS_COLORS)[labels])
for ax, t in zip(panels, (100, 50, 20, 0), strict=True):
    ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title=f"t = {t}")
plt.show()
print(f"variance in a class: {np.mean([x[labels == k].var(0) for k in range(3)]):.3f}, data 0.250")

# %% [markdown]
# How many steps does it take? Above each panel is the variance in a class; the data's is 0.250. Move the slider for `T`, from the same noise; where no kernel is alive, the row below it says the same. **Before you do:** two steps, or five, what could be wrong with the samples?


# %%
start = rng.standard_normal((300, 2))


def with_steps(ax, T):
    """Your chain of `T` steps."""
    few, draws, y = Schedule.cosine(T), np.random.default_rng(1), np.repeat([0, 1, 2], 100)
    oracle, x = oracle_eps(mixture, few), start
    for t in range(T, 0, -1):
        x = one_step_back(x, oracle(x, t, y), draws.standard_normal(x.shape), t, few)
    ax.scatter(*x.T, s=3, c=np.array(CLASS_COLORS)[y])
    width = np.mean([x[y == k].var(0) for k in range(3)])
    ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal")
    ax.set_title(f"T = {T}, variance {width:.3f}", fontsize=10)


def show(T):
    """One panel, for the slider."""
    _, ax = plt.subplots(figsize=(3, 3), layout="constrained")
    with_steps(ax, T)
    plt.show()


slider = ipywidgets.IntSlider(10, min=1, max=100, description="T", continuous_update=False)
ipywidgets.interact(show, T=slider)
fig, panels = plt.subplots(1, 4, figsize=(10, 2.7), layout="constrained")
for ax, T in zip(panels, (2, 5, 20, 100), strict=True):
    with_steps(ax, T)
plt.show()

# %% [markdown]
# The lesson knows more: the exact law of such samples. **Predict:** are they too wide or too narrow, and how does that fall with the number of steps?

# %%
step07_sampling.figure()

# %% [markdown]
# ## You now know
#
# - the loss is the square of a length, averaged over the batch, with the bound's weights dropped (`tutorial/step08_loss.py`, equation 8.5);
# - the best denoiser is a mean given $x_t$, and its loss is not 0 (`tutorial/step05_best_guess.py`, 5.9 and 5.16);
# - the reverse chain ends without noise, and at finite `T` a little narrower than the data (`tutorial/step07_sampling.py`, 7.2 and 7.6; `tutorial/appendix/b_chain_distribution.py`, B.6).
#
# **Try:** `pytest -m step07`, then leave out the noise in the lesson. The torch twins are `minicfg/training.py` and `minicfg/sampling.py`. Next: `04_guidance`.
