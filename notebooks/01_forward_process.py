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
# **The idea.** Destroy the data a little at a time by adding noise, until nothing of them is left. Then learn to undo each small step. The first direction is easy and needs no learning: it turns the unknown distribution into a normal distribution, from which it is easy to draw. The second direction starts from such a draw and leads back, step by step, to a new sample.
#
#     data   --- add a little noise, T times: known exactly --->   pure noise
#     data   <-- remove a little noise, T times: learned -------   pure noise
#
# Why in small steps? One large step back would have to guess a whole picture from pure noise. Pure noise fits every picture, and the guess with the smallest mean squared error is then the average of all of them, which is blurred. In a small step back the two states differ only by a little noise, so few pictures are left to average over.
#
# If the network is also given a label, it draws cats or dogs on demand. Some of its cats may look like dogs. *Guidance*, in sitting 4, makes the samples clearer members of their class, with one line in the loop on the way back.
#
# This sitting is about the first direction. Sittings 2 and 3 lead back.
#
# **After this sitting you can** say what one step of noise does and why its two coefficients belong together, jump from the data to any time in one draw, and compute the coefficients of each step and each jump from one table of numbers.
#
# **You need** the normal distribution and NumPy arrays, and 45 minutes. The notebook runs on NumPy and matplotlib in under a minute, without a GPU. Every exercise ends in a check, which says that your answer is right or what is probably wrong. The lectures `tutorial/step00_the_idea.py` to `step03_marginal.py` go deeper.
#
# `make lab` opens the edition without solutions. On a hosted machine that has torch already: clone the repository, `pip install -e . -c constraints.txt --no-deps`, and restart the kernel.

# %% alt="Four panels over the plane. First and third: samples with contours of the density, three round classes at the corners of a triangle, and five long ones like the arms of a pinwheel. Second and fourth: the plane coloured by p(y given x), where the cross at (0.3, 0.3) lies in the blue part, close to green."
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
# These are the two data sets of the course: points in the plane, with a label that is shown as a colour. The first and the third panel show samples and contours of the density. The other two show $p(y | x)$, the probability of each label $y$ at the point $x$, as a mixture of the colours. For example, at the cross it is 0.75 for blue, 0.24 for green and 0.01 for yellow. Both the density and $p(y | x)$ are formulas here, so for everything that a network would have to learn, the exact answer is known.
#
# ## One table of numbers
#
# Time $t$ counts the steps: $t = 0$ is the data, $t = T$ is the end. Step $t$ removes a fraction $\beta_t$ of the variance and adds noise of variance $\beta_t$. For data of variance 1 the two are equal. The table $\beta_1, \ldots, \beta_T$ is called the schedule. Two more letters save writing:
#
# $$ \alpha_t = 1 - \beta_t \qquad \bar\alpha_t = \alpha_1 \alpha_2 \cdots \alpha_t $$
#
# So $\alpha_t$ is the fraction that one step keeps, and $\bar\alpha_t$ is the fraction of the data's variance that is left after $t$ steps. For example, $\beta_1 = 0.2$ and $\beta_2 = 0.3$ give $\bar\alpha_2 = 0.8 \cdot 0.7 = 0.56$. In code all arrays have $T + 1$ entries, and `alpha_bar[0]` is 1.
#
# **Before you run the next cell:** in the *linear* schedule with $T = 1000$, $\beta_t$ grows in equal steps from 0.0001 to 0.02. (For another $T$ both ends are multiplied by $1000 / T$, so that the sum of all $\beta_t$ stays nearly the same.) The *cosine* schedule fixes $\bar\alpha_t$ instead: up to a small offset it is $\cos^2(\pi t / 2 T)$. For data of variance 1, at which $t$ of 1000 does the linear schedule reach $\bar\alpha_t = 1/2$, so that half of the variance is noise? At a quarter of the way, or at half?

# %% alt="Line plots over t for the linear and the cosine schedule. Left and middle: beta, on a logarithmic axis, rises to 0.02 and 1; alpha bar falls from 1 to 0 and reaches one half near t = 260 and t = 500. Right: the log signal-to-noise ratio falls from about 10 to -10 and -20."
linear = Schedule.linear(1000)
print("linear: half the variance is noise at t =", int(np.argmax(linear.alpha_bar < 0.5)))
fig = Figure(figsize=(11, 3.4), layout="constrained")
step02_forward.draw_schedules(fig)
fig

# %% [markdown]
# <details><summary>Answer</summary>
#
# At $t = 260$, about a quarter of the way. For small $\beta$, $\log(1 - \beta)$ is nearly $-\beta$, so
#
# $$ \log \bar\alpha_t = \log(1 - \beta_1) + \ldots + \log(1 - \beta_t) \approx -(\beta_1 + \ldots + \beta_t) $$
#
# At $t = 260$ the sum is about 260 times the mean of $\beta_1 = 0.0001$ and $\beta_{260} = 0.0053$, which is $0.70$. That is $\log 2 = 0.69$ up to rounding. The cosine schedule reaches one half at $t = 497$.
#
# The third panel shows $\lambda_t = \log(\bar\alpha_t / (1 - \bar\alpha_t))$, the logarithm of the ratio of the two variances, that of the data over that of the noise. It is 0 where both are equal. Sitting 6 uses it.
#
# </details>
#
# ## One step
#
# A step scales the state and adds noise. With a standard normal $z$,
#
# $$ x_t = \sqrt{1 - \beta_t} \, x_{t-1} + \sqrt{\beta_t} \, z $$
#
# The same can be written as a density. Let $N(x; m, V)$ be the normal density at $x$ with mean $m$ and covariance $V$, and let $I$ be the identity matrix. The letter $q$ is used for all densities of the forward chain. The density of $x_t$, given $x_{t-1}$, is
#
# $$ q(x_t | x_{t-1}) = N(x_t; \sqrt{1 - \beta_t} x_{t-1}, \beta_t I) $$
#
# Why these two coefficients? Variances of independent numbers add up, and a factor enters the variance squared. If $x_{t-1}$ has variance $V$, then
#
# $$ \mathrm{Var}(x_t) = (1 - \beta_t) V + \beta_t $$
#
# For $V = 1$ this is 1 again. This has two uses. The numbers have the same scale at every $t$, so one network can work on all of them. And the chain approaches a distribution that is known in advance: the data fade out, and noise of variance 1 remains, whatever the data were. A sampler can start there. With other pairs of coefficients the variance would grow without bound or approach another value.
#
# Why the square roots? The fractions $1 - \beta_t$ and $\beta_t$ refer to variances. A factor $a$ multiplies a variance by $a^2$, so the factors of $x_{t-1}$ and $z$ are the roots of the fractions.
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
# **Predict:** the data below have variance 1 in each coordinate. What is their variance at `t = 30` of a chain with the linear schedule and $T = 100$? What would it be without the factor $\sqrt{1 - \beta_t}$? Look for the answers in the last panel, which shows three initial variances and two common mistakes.

# %% alt="Left: four scatter plots of the pinwheel at t = 0, 10, 30 and 100, from five arms to one mixed cloud. Right: the variance over t goes from 4, 1 and 0.1 to 1; with the factor 1 it is 1.9 at t = 30 and leaves the panel, and with 1 - beta it falls to about 0.55."
fig = Figure(figsize=(11, 3.2), layout="constrained")
step02_forward.draw_forward(fig)
fig

# %% [markdown]
# <details><summary>Answer</summary>
#
# The variance stays 1. Without the factor each step adds $\beta_t$, so it would be $1 + \beta_1 + \ldots + \beta_{30} = 1.90$ (the grey dashed line), and 11 at $t = T$.
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

# %% alt="Line plot of the variance over the number of steps with beta = 0.36. It falls from 4 to 2.93 after one step, then more and more slowly, and is close to the horizontal line at 1 after 11 steps."
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
# The variance approaches 1 from any start. Subtract 1 from both sides of the formula above to see how fast:
#
# $$ \mathrm{Var}(x_t) - 1 = (1 - \beta_t) V + \beta_t - 1 = (1 - \beta_t) (V - 1) $$
#
# So each step multiplies the distance from 1 by $1 - \beta_t$. If the variance is 1 from the start, it does not change, but the *shape* of the distribution does. The data in the next cell lie on four points, at $\pm 1$ in each coordinate. **Ask yourself:** which fraction of the coordinates will lie beyond $\pm 2$ at $t = T$?

# %% alt="Four histograms of the first coordinate. At t = 1 it has two narrow bars at -1 and 1, at t = 30 two overlapping peaks near -0.9 and 0.9, and at t = 60 and t = 100 a single peak at 0 with a height of about 0.4."
x0 = np.sign(rng.standard_normal((50_000, 2)))  # variance 1, and nothing like a Gaussian
fig, panels = plt.subplots(1, 4, figsize=(10, 2.6), layout="constrained")
shown = iter(panels)
for t, x in enumerate(forward_chain(x0, schedule, rng), start=1):
    if t in (1, 30, 60, 100):
        tail = (np.abs(x) > 2).mean()
        print(f"t = {t:3}   variance {x.var():.3f}   fraction beyond 2: {tail:.4f}")
        next(shown).hist(x[:, 0], np.linspace(-3.5, 3.5, 71), density=True)
print("a Gaussian has 0.0455 beyond 2")
for ax, t in zip(panels, (1, 30, 60, 100), strict=True):
    ax.set(title=f"t = {t}", xlabel="first coordinate")
panels[0].set_ylabel("density")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The fraction that a standard normal distribution has there, 4.55 %. At $t = 100$ the cell measures 4.5 %. The two peaks at $\pm 1$ become wider, move towards 0, and merge into one normal density.
#
# </details>
#
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
# Every further step merges in the same way. Suppose that $x_{t-1}$ is $\sqrt{\bar\alpha_{t-1}} \, x_0$ plus noise of variance $1 - \bar\alpha_{t-1}$. Step $t$ multiplies the factor of $x_0$ by $\sqrt{\alpha_t}$, which gives $\sqrt{\bar\alpha_t}$. It multiplies the variance of the noise by $\alpha_t$ and adds $\beta_t = 1 - \alpha_t$:
#
# $$ \alpha_t (1 - \bar\alpha_{t-1}) + 1 - \alpha_t = 1 - \alpha_t \bar\alpha_{t-1} = 1 - \bar\alpha_t $$
#
# So for any $t$
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

# %% alt="Two histograms of the first coordinate of x at t = 60 on top of each other, one for 60 steps and one for a single jump. Both have one peak near 0 with a height of about 0.38, and they agree up to small fluctuations."
t = 60
chain = forward_chain(x0, schedule, rng)
*_, stepped = (x for _, x in zip(range(t), chain, strict=False))  # the last of t states
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
# Move the slider to see the labelled data at any `t`, by your jump. If the slider does not move (no running kernel), look at the row below it. **Ask yourself:** up to which `t` could you still tell the classes apart? Is that before or after the middle, $t = 50$?


# %% alt="Four scatter plots of three classes, at t = 0, 40, 70 and 100. The classes are separate at t = 0, overlap at their edges at t = 40, overlap strongly at t = 70, and form one cloud of mixed colours at t = 100."
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
# There is no sharp limit. The best possible classifier chooses the label with the largest $p(y | x_t)$. Measured on 200,000 points, it finds the right one for 99 % of them at $t = 0$, for 88 % at $t = 40$, 79 % at $t = 50$, 70 % at $t = 60$ and 51 % at $t = 80$. Chance would be one third. So in the middle of the chain most labels can still be told.
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
# **Before you look:** the first panel below shows chains that all start at $x_0 = 2$. Which value does their mean approach, and how wide is the band of two standard deviations at the end? The last panel shows how far the distribution of $x_t$ is from pure noise $N(0, 1)$, as a Kullback-Leibler divergence (KL). It is the mean of the logarithm of the ratio of both densities, and it is 0 if they are equal. This matters at $t = T$, because a sampler starts from pure noise.

# %% alt="Left: the mean of twelve chains from x = 2 falls to 0, and the band of two standard deviations ends between -2 and 2. Middle: the densities at t = 5, 20, 50 and 100 move from 2 to 0 and become wider. Right: the KL divergence falls to 0.00002 (linear) and to one billionth (cosine)."
step03_marginal.figure()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The mean $\sqrt{\bar\alpha_t} \cdot 2$ approaches 0, and the standard deviation $\sqrt{1 - \bar\alpha_t}$ approaches 1: so the band is from $-2$ to 2. At the end $x_T$ is almost standard normal, whatever $x_0$ was. The divergence that is left for $x_0 = 1$ and $T = 1000$ is 0.00002 for the linear schedule and $10^{-9}$ for the cosine schedule.
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
