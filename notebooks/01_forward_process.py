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
# # 1. The idea, and the forward process
#
# **The question.** We have samples of an unknown distribution, such as photographs of cats, and want to draw new ones. Nobody can write down the density of cats. How can a program learn to draw from it?
#
# **The idea.** Destroy the data a little at a time by adding noise, until nothing of them is left. Then learn to undo each small step. The first direction is easy and needs no learning: it turns the unknown distribution into a normal distribution, from which anybody can draw. The second direction starts from such a draw and leads back, step by step, to a new sample.
#
#     data   --- add a little noise, T times: known exactly --->   pure noise
#     data   <-- remove a little noise, T times: learned -------   pure noise
#
# Why in small steps? One large step back would have to guess a whole picture from pure noise, and the best guess is then a blurred average. A small step back only has to guess a little noise. If the network is also given a label, it draws cats or dogs on demand; *guidance*, in sitting 4, makes them clearer with one line in the loop on the way back.
#
# This sitting is about the first direction. Sittings 2 and 3 lead back.
#
# **After this sitting you can** say what one step of noise does and why its two coefficients belong together, jump from the data to any time in one draw, and compute everything from one table of numbers.
#
# It needs NumPy and matplotlib, no GPU, and under a minute of computing; plan 45 minutes. `make lab` opens the edition without solutions. On a hosted machine that has torch already: clone the repository, `pip install -e . -c constraints.txt --no-deps`, and restart the kernel. You need the normal distribution and NumPy arrays. The lectures `tutorial/step00_the_idea.py` to `step03_marginal.py` go deeper. Every exercise ends in a check, which says that your answer is right or what is probably wrong.

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
# These are the data of the course: points in the plane, with a label that is shown as a colour. Their density is a formula, so for everything that a network would have to learn, the exact answer is known here.
#
# ## One table of numbers
#
# Time $t$ counts the steps: $t = 0$ is the data, $t = T$ is the end. Step $t$ removes a fraction $\beta_t$ of the variance and adds noise of variance $\beta_t$. For data of variance 1 the two are equal. The table $\beta_1, \ldots, \beta_T$ is called the schedule. Two more letters save writing:
#
# $$ \alpha_t = 1 - \beta_t \qquad \bar\alpha_t = \alpha_1 \alpha_2 \cdots \alpha_t $$
#
# So $\alpha_t$ is the fraction that one step keeps, and $\bar\alpha_t$ is the fraction of the data's variance that is left after $t$ steps. For example, $\beta_1 = 0.2$ and $\beta_2 = 0.3$ give $\bar\alpha_2 = 0.8 \cdot 0.7 = 0.56$. In code all arrays have $T + 1$ entries, and `alpha_bar[0]` is 1.
#
# **Before you run the next cell:** in the *linear* schedule with $T = 1000$, $\beta_t$ grows in equal steps from 0.0001 to 0.02. (For another $T$ these numbers are multiplied by $1000 / T$.) At which $t$ of 1000 is half of the variance noise? At a quarter of the way, or at half?

# %%
linear = Schedule.linear(1000)
print("linear: half the variance is noise at t =", int(np.argmax(linear.alpha_bar < 0.5)))
fig = Figure(figsize=(11, 3.4), layout="constrained")
step02_forward.draw_schedules(fig)
fig

# %% [markdown]
# <details><summary>Answer</summary>
#
# At $t = 260$, about a quarter of the way. Roughly $\bar\alpha_t = \exp(-\beta_1 - \ldots - \beta_t)$, and the sum reaches $\log 2 = 0.69$ at $t = 260$. The *cosine* schedule reaches one half at $t = 497$.
#
# </details>
#
# ## One step
#
# A step scales the state and adds noise: $x_t = \sqrt{1 - \beta_t} \, x_{t-1} + \sqrt{\beta_t} \, z$, where $z$ is standard normal. As a distribution of $x_t$, given $x_{t-1}$, where $N(x; m, V)$ is the normal density at $x$ with mean $m$ and covariance $V$, $I$ is the identity, and $q$ stands for everything in the forward chain:
#
# $$ q(x_t | x_{t-1}) = N(x_t; \sqrt{1 - \beta_t} x_{t-1}, \beta_t I) $$
#
# Why these two coefficients? Variances of independent numbers add up, and a factor enters the variance squared. If $x_{t-1}$ has variance $V$, then
#
# $$ \mathrm{Var}(x_t) = (1 - \beta_t) V + \beta_t $$
#
# For $V = 1$ this is 1 again. So the scale of the numbers does not change along the chain, which is what a network likes.
#
# **Exercise 1.1** (fill in a formula). Take this step: from `x`, and a standard normal `z` of the same shape, to the next state.


# %% nbgrader={"grade": false, "grade_id": "ex_1_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def one_step(x, beta, z):
    ### BEGIN SOLUTION
    return np.sqrt(1 - beta) * x + np.sqrt(beta) * z
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_1_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_1_1(one_step)

# %% [markdown]
# **Predict:** the data below have variance 1 in each coordinate. What is their variance at `t = 30`? What would it be without the factor $\sqrt{1 - \beta_t}$? Look for the answers in the last panel, which shows three initial variances and two common mistakes.

# %%
fig = Figure(figsize=(11, 3.2), layout="constrained")
step02_forward.draw_forward(fig)
fig

# %% [markdown]
# <details><summary>Answer</summary>
#
# The variance stays 1. Without the factor each step adds $\beta_t$, so it would be $1 + \beta_1 + \ldots + \beta_{30} = 1.24$, and grow much further towards $T$.
#
# </details>
#
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
# The variance approaches 1 from any start: its distance from 1 is multiplied by $1 - \beta$ in each step. What changes if the variance is 1 from the start? The *shape* of the distribution. The data in the next cell lie on four points, at $\pm 1$ in each coordinate. **Ask yourself:** which fraction of the coordinates will lie beyond $\pm 2$ at $t = T$?

# %%
x0 = np.sign(rng.standard_normal((50_000, 2)))  # variance 1, and nothing like a Gaussian
fig, panels = plt.subplots(1, 4, figsize=(10, 2.6), layout="constrained", sharey=True)
shown = iter(panels)
for t, x in enumerate(forward_chain(x0, schedule, rng), start=1):
    if t in (1, 30, 60, 100):
        tail = (np.abs(x) > 2).mean()
        print(f"t = {t:3}   variance {x.var():.3f}   fraction beyond 2: {tail:.4f}")
        next(shown).hist(x[:, 0], np.linspace(-3.5, 3.5, 71), density=True)
print("a Gaussian has 0.0455 beyond 2")
for ax, t in zip(panels, (1, 30, 60, 100), strict=True):
    ax.set(title=f"t = {t}", xlabel="first coordinate", ylim=(0, 1.2))
plt.show()

# %% [markdown]
# ## One jump
#
# Training needs noisy data at random times. Does it have to run the chain up to $t$? No. Take two steps with $\beta_1 = 0.2$ and $\beta_2 = 0.3$ and insert the first into the second:
#
# $$ x_2 = \sqrt{0.7} \, x_1 + \sqrt{0.3} \, z_2 = \sqrt{0.7} \left( \sqrt{0.8} \, x_0 + \sqrt{0.2} \, z_1 \right) + \sqrt{0.3} \, z_2 $$
#
# $$ x_2 = \sqrt{0.56} \, x_0 + \sqrt{0.14} \, z_1 + \sqrt{0.3} \, z_2 $$
#
# The two noises are independent and normal, so their sum is normal. Its variance is $0.14 + 0.3 = 0.44 = 1 - 0.56$. One noise with this variance has the same distribution:
#
# $$ x_2 = \sqrt{0.56} \, x_0 + \sqrt{0.44} \, \epsilon $$
#
# Every further step merges in the same way, because $\alpha (1 - \bar\alpha) + (1 - \alpha) = 1 - \alpha \bar\alpha$. So for any $t$
#
# $$ x_t = \sqrt{\bar\alpha_t} \, x_0 + \sqrt{1 - \bar\alpha_t} \, \epsilon $$
#
# **Exercise 1.3** (fill in a formula). Write the jump, with the noise `eps` given. `schedule.alpha_bar[t]` is $\bar\alpha_t$.


# %% nbgrader={"grade": false, "grade_id": "ex_1_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
def jump(x0, eps, t, schedule):
    ### BEGIN SOLUTION
    abar = schedule.alpha_bar[t]
    return np.sqrt(abar) * x0 + np.sqrt(1 - abar) * eps
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_1_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_1_3(jump)

# %% [markdown]
# **See it:** the distribution of $x_{60}$, reached by 60 small steps and by your jump.

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
# Move the slider to see the labelled data at any `t`, by your jump. If the slider does not move (no running kernel), look at the row below it. **Ask yourself:** up to which `t` could you still tell the classes apart? Is that halfway?


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
# <details><summary>Answer</summary>
#
# There is no sharp limit. The best possible classifier finds the right label for 88 % of the points at $t = 40$, for 71 % at $t = 60$ and for 50 % at $t = 80$; one third would be chance.
#
# </details>
#
# ## From any time to any later time
#
# A sampler that skips steps needs $q(x_t | x_s)$ for $s < t$: a factor of $x_s$, and a variance. The steps $s + 1, \ldots, t$ merge as before, so the fraction that is kept is the product of their $\alpha$.
#
# **Exercise 1.4** (find the mistake). This code was meant to return the factor and the variance:
#
# ```python
# kept = schedule.alpha[t] / schedule.alpha[s]
# return np.sqrt(kept), 1 - kept
# ```
#
# It is right for `s = 0` and `t = 1`, and wrong for larger `t`. Correct it.


# %% nbgrader={"grade": false, "grade_id": "ex_1_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def stride(s, t, schedule):
    ### BEGIN SOLUTION
    kept = schedule.alpha_bar[t] / schedule.alpha_bar[s]
    return np.sqrt(kept), 1 - kept
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_1_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_1_4(stride)

# %% [markdown]
# **Before you look:** the first panel below shows chains that all start at $x_0 = 2$. Which value does their mean approach, and how wide is the band at the end? The last panel shows how far the distribution of $x_T$ is from pure noise. This matters, because a sampler starts from pure noise.

# %%
step03_marginal.figure()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The mean $\sqrt{\bar\alpha_t} \cdot 2$ approaches 0, and the standard deviation $\sqrt{1 - \bar\alpha_t}$ approaches 1: at the end $x_T$ is almost standard normal, whatever $x_0$ was.
#
# </details>

# %% [markdown]
# ## You now know
#
# - the factors $\sqrt{1 - \beta_t}$ and $\sqrt{\beta_t}$ belong together, because they keep a variance of 1 (`tutorial/step02_forward.py`, equations 2.3 and 2.4);
# - a jump to any $t$ is one draw, and so is a jump from $s$ to $t$ (`tutorial/step03_marginal.py`, 3.1 to 3.5);
# - every table is indexed by $t$, and $t = 0$ is the data.
#
# ## Five questions
#
# 1. Which of the two directions has to be learned, and why not the other?
# 2. $\beta_1 = \beta_2 = 0.5$. What is $\bar\alpha_2$, and what is the variance of the noise in $x_2$?
# 3. Data of variance 9 take one step with $\beta = 0.5$. What is the variance now?
# 4. What is wrong with $x_t = (1 - \beta_t) x_{t-1} + \beta_t z$?
# 5. Why can training draw $x_t$ without running the chain?
#
# <details><summary>Answers</summary>
#
# 1. The way back: it depends on the data. The way forward is fixed by the schedule.
# 2. $\bar\alpha_2 = 0.25$, and the variance of the noise is 0.75.
# 3. $0.5 \cdot 9 + 0.5 = 5$.
# 4. The roots are missing. Its variance is $(1 - \beta)^2 V + \beta^2$, which is below 1 for $V = 1$.
# 5. The noises of all steps merge into one normal noise with variance $1 - \bar\alpha_t$.
#
# </details>
#
# **Try:** `python -m tutorial.step03_marginal` prints each claim of the lesson beside the number that checks it, and `pytest -m step03` runs its tests. Then change a sign in `step02_forward.py` and see which test fails. The same formulas in torch are in `minicfg/schedule.py` and `minicfg/training.py`. Next: sitting 2, one step back.
