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
# # 2. The posterior, and the reverse step
#
# **After this sitting you can** derive the law of one step back from two Gaussians, say why its variance is smaller than $\beta_t$ and 0 at the end, read a network's output in four units, and clip in the right place.
#
# No GPU, a minute of computing, about 45 minutes with the exercises. Read `tutorial/step04_posterior.py` and `tutorial/step06_reverse.py` (and the second half of `step05_best_guess.py`) beside it; on a hosted machine that has torch already: clone the repository, `pip install -e . -c constraints.txt --no-deps`, and restart the kernel.

# %%
# %matplotlib inline
import check
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np

from tutorial.figures import step04_posterior, step06_reverse
from tutorial.figures.program import BLUE, GREY, ORANGE, RED
from tutorial.step02_forward import Schedule, forward_chain
from tutorial.step03_marginal import xt_from_x0
from tutorial.step04_posterior import q_posterior
from tutorial.step05_best_guess import x0_coefficients, x0_from

rng = np.random.default_rng(0)
schedule = Schedule.linear(100)
paths = np.stack([np.full((40, 1), 1.0), *forward_chain(np.full((40, 1), 1.0), schedule, rng)])
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(paths[:, :, 0], color=GREY, lw=0.6)
plt.xlabel("t")
plt.ylabel("$x_t$")
plt.title("Forty chains from the same point: which way is back?")
plt.show()

# %% [markdown]
# Forward is easy, but where did $x_t$ come from? If the data $x_0$ are known too, Bayes answers: $q(x_{t-1} | x_t, x_0) \propto q(x_t | x_{t-1}) q(x_{t-1} | x_0)$, a product of two Gaussians in $x_{t-1}$.
#
# **Before you run the next cell:** one factor is centred near $x_t$, the other near $x_0$. Where is the product, and is it wider or narrower than each?

# %%
step04_posterior.figure()

# %% [markdown]
# Precisions add, so it is narrower than both; its mean is $c_0 x_0 + c_t x_t$.
#
# **Exercise 2.1** (fill in a formula). Write the mean. The factors are $N(x_t; \sqrt{\alpha_t} x_{t-1}, \beta_t)$ and $N(x_{t-1}; \sqrt{\bar\alpha_{t-1}} x_0, 1 - \bar\alpha_{t-1})$; complete the square, and use $\alpha_t (1 - \bar\alpha_{t-1}) + \beta_t = 1 - \bar\alpha_t$.


# %% nbgrader={"grade": false, "grade_id": "ex_2_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def posterior_mean(x0, xt, t, schedule):
    ### BEGIN SOLUTION
    abar, abar_prev = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
    c_0 = np.sqrt(abar_prev) * schedule.beta[t] / (1 - abar)
    c_t = np.sqrt(schedule.alpha[t]) * (1 - abar_prev) / (1 - abar)
    return c_0 * x0 + c_t * xt
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_2_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_2_1(posterior_mean)

# %% [markdown]
# **Measured** instead of derived: half a million chains from $x_0 = 1$. Keep those that pass near $x_3 = 0.2$ and ask them where they were at $t = 2$.

# %%
short = Schedule.linear(10)
chain = forward_chain(np.full((500_000, 1), 1.0), short, rng)
_, x2, x3 = (x[:, 0] for _, x in zip(range(3), chain, strict=False))
kept = x2[np.abs(x3 - 0.2) < 0.02]
law = q_posterior(np.array([1.0]), np.array([0.2]), 3, short)
grid = np.linspace(-0.6, 1.8, 200)[:, None]
plt.figure(figsize=(7, 3), layout="constrained")
plt.hist(x2, 80, density=True, color=GREY, alpha=0.4, label="all chains at t = 2")
plt.hist(kept, 50, density=True, color=ORANGE, alpha=0.6, label="those near 0.2 at t = 3")
plt.plot(grid, np.exp(law.log_density(grid)), color=RED, label="the posterior")
plt.axvline(posterior_mean(1.0, 0.2, 3, short), color="k", lw=0.8, label="your mean")
plt.xlabel("$x_2$")
plt.ylabel("density")
plt.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## Its variance
#
# **Exercise 2.2** (fill in a formula). Write the variance for `t` in 1..T, without a case for `t = 1`. What does it have to be there, and which entry of the table takes care of it?


# %% nbgrader={"grade": false, "grade_id": "ex_2_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
def posterior_var(t, schedule):
    ### BEGIN SOLUTION
    abar, abar_prev = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
    return schedule.beta[t] * (1 - abar_prev) / (1 - abar)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_2_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_2_2(posterior_var)

# %% [markdown]
# **Predict:** by what factor is it below $\beta_t$ at $t = 2$ of this schedule: hardly, by half, or by ten? And at $t = 100$?

# %%
times = np.arange(1, 101)
ratio = np.array([posterior_var(t, schedule) / schedule.beta[t] for t in times])
print(f"t = 1: {ratio[0]:.2f}   t = 2: {ratio[1]:.2f}   t = 100: {ratio[99]:.5f}")
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(times, ratio, ".-", color=BLUE)
plt.xlabel("t")
plt.ylabel(r"$\tilde\beta_t / \beta_t$")
plt.show()

# %% [markdown]
# Both of your formulas at any `t`, for $x_0 = 1$ and $x_t = -0.5$ in a chain of ten steps: move the slider. Where no kernel is alive, the row below it says the same. **Ask yourself:** which of the two factors decides near `t = 1`, and which near `t = 10`?


# %%
line = np.linspace(-2.5, 2.5, 300)


def at_time(ax, t):
    """Both factors and the product at `t`."""
    alpha, abar_prev = short.alpha[t], short.alpha_bar[t - 1]
    for mean, var, color, label in (
        (np.sqrt(abar_prev), 1 - abar_prev, GREY, "from $x_0$"),
        (-0.5 / np.sqrt(alpha), (1 - alpha) / alpha, ORANGE, "from $x_t$"),
        (posterior_mean(1.0, -0.5, t, short), posterior_var(t, short), RED, "yours"),
    ):
        bell = np.exp(-((line - mean) ** 2) / (2 * var)) / np.sqrt(2 * np.pi * var)
        ax.plot(line, bell, color=color, label=label)
    ax.set(title=f"t = {t}", xlabel="$x_{t-1}$")


def show(t):
    """One panel, for the slider."""
    _, ax = plt.subplots(figsize=(4.5, 3), layout="constrained")
    at_time(ax, t)
    plt.show()


slider = ipywidgets.IntSlider(3, min=2, max=10, description="t", continuous_update=False)
ipywidgets.interact(show, t=slider)
fig, panels = plt.subplots(1, 4, figsize=(10, 2.7), layout="constrained", sharey=True)
for ax, t in zip(panels, (2, 3, 5, 10), strict=True):
    at_time(ax, t)
panels[-1].legend(fontsize=8)
plt.show()

# %% [markdown]
# ## What a network has to supply
#
# A sampler does not know $x_0$. It puts a guess in its place, and a network may say that guess in several units: the noise `eps`, the data `x0`, or `v` $= \sqrt{\bar\alpha_t} \epsilon - \sqrt{1 - \bar\alpha_t} x_0$. A network's one Gaussian for a step back is right only if steps are small: **ask yourself** what the true law of a step looks like for data at $\pm 1$, in 4 steps and in 1000.

# %%
step06_reverse.figure()

# %% [markdown]
# **Exercise 2.3** (fill in a formula). $(x_t, v)$ is $(x_0, \epsilon)$ turned by an angle. Turn back: $x_0$ from `v` and `xt`.


# %% nbgrader={"grade": false, "grade_id": "ex_2_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
def x0_from_v(v, xt, t, schedule):
    ### BEGIN SOLUTION
    abar = schedule.alpha_bar[t]
    return np.sqrt(abar) * xt - np.sqrt(1 - abar) * v
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_2_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_2_3(x0_from_v)

# %% [markdown]
# **Predict, then measure.** A network errs by 0.01 in its output. By how much does it err in $x_0$, near the data and far from them, for `eps` and for `v`?

# %%
q = {
    unit: [abs(x0_coefficients(t, schedule, unit)[1]) for t in times] for unit in ("eps", "x0", "v")
}
plt.figure(figsize=(7, 3), layout="constrained")
for (unit, factors), color in zip(q.items(), (BLUE, GREY, ORANGE), strict=True):
    plt.semilogy(times, 0.01 * np.array(factors), color=color, label=unit)
plt.xlabel("t")
plt.ylabel("error in $x_0$")
plt.legend()
plt.show()

# %% [markdown]
# Far from the data an error in `eps` is multiplied. If the data lie in $[-1, 1]$ one clips the guess of $x_0$ to that range.
#
# **Exercise 2.4** (find the mistake). This code clips, and nothing changes. Why? Write the mean of the reverse step as it should be; `x0_from` and your own functions may help.
#
# ```python
# x0hat = np.clip(x0_from(eps, xt, t, schedule), -clip, clip)
# alpha, abar = schedule.alpha[t], schedule.alpha_bar[t]
# return (xt - (1 - alpha) / np.sqrt(1 - abar) * eps) / np.sqrt(alpha)
# ```


# %% nbgrader={"grade": false, "grade_id": "ex_2_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mean_after_clip(xt, eps, t, schedule, clip):
    ### BEGIN SOLUTION
    x0hat = np.clip(x0_from(eps, xt, t, schedule), -clip, clip)
    return posterior_mean(x0hat, xt, t, schedule)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_2_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_2_4(mean_after_clip)

# %% [markdown]
# What it is good for: the mean of a step from $t = 80$, data at $\pm 1$, when `eps` is off by normal errors of 0.3.

# %%
x0 = np.sign(rng.standard_normal((20_000, 1)))
eps = rng.standard_normal(x0.shape)
xt = xt_from_x0(x0, eps, 80, schedule)
off = eps + 0.3 * rng.standard_normal(x0.shape)
true = posterior_mean(x0, xt, 80, schedule)
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for clip, color in ((np.inf, GREY), (1.0, BLUE)):
    error = (mean_after_clip(xt, off, 80, schedule, clip) - true)[:, 0]
    print(f"clip = {clip}: root mean square error of the mean {np.sqrt((error**2).mean()):.4f}")
    ax.hist(error, np.linspace(-0.2, 0.2, 81), alpha=0.6, color=color, label=f"clip = {clip}")
ax.set(xlabel="error of the mean of $x_{79}$", ylabel="chains")
ax.legend()
plt.show()

# %% [markdown]
# ## You now know
#
# - the step back is a product of two Gaussians: means by precision, precisions add (`tutorial/step04_posterior.py`, equations 4.4 to 4.6);
# - its variance is below $\beta_t$, and 0 at `t = 1`: no noise at the last step (4.8);
# - eps, x0, v and score are one guess, and a clip acts on the guess of $x_0$ (`tutorial/step05_best_guess.py`, 5.2 to 5.7; `tutorial/step06_reverse.py`, 6.5).
#
# **Try:** `pytest -m step04`, then put `schedule.beta[t]` for the variance in the lesson and see which tests tell you. The torch twin is `minicfg/solvers.py`. Next: `03_loss_and_oracle`, how the guess is learned and what the best one is.
