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
# # 3. The best guess, the loss, and the sampler
#
# **The question.** A step back needs a guess of the noise in $x_t$. What is the best guess, and how does a network learn it? Once it has, how do we draw a sample?
#
# **After this sitting you can** say why a squared error finds a conditional mean, write down the best possible guess for Gaussian classes and its loss, relate it to the score, and write the whole sampler yourself.
#
# **You need** sittings 1 and 2, and 65 minutes. The notebook runs in a minute, without a GPU. The lectures `tutorial/step05_best_guess.py`, `tutorial/step07_sampling.py` and `tutorial/step08_loss.py` go deeper. On a hosted machine that has torch already: clone the repository, `pip install -e . -c constraints.txt --no-deps`, and restart the kernel.

# %% alt="Four scatter plots of the noisy data of three classes, at t = 0, 20, 50 and 90. The classes are separate at t = 0, wider and close together at t = 20, overlapping at t = 50, and almost completely mixed at t = 90."
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
from tutorial.step05_best_guess import oracle_eps, x0_from
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
# The pictures show the data with noise. A network gets a noisy point $x_t$ and the time $t$, and has to predict the noise $\epsilon$ that was added. Its output is $\epsilon_\theta(x_t, t)$, where $\theta$ are its parameters. Training is a regression: draw a data point $x_0$, a time $t$ and a noise $\epsilon$, jump to $x_t$ (sitting 1), and change $\theta$ a little against the gradient of the squared error. The loss is its mean $E$ over data, times and noises:
#
# $$ E \, | \epsilon - \epsilon_\theta(x_t, t) |^2 $$
#
# Where does this loss come from? A model is good if it gives the data a high probability. The logarithm of the probability density that the reverse chain gives to a data point cannot be computed, but it has a lower bound that can. For Gaussian steps of variance $\sigma_t^2$, minus the bound is a sum of such squared errors, one for each $t$, plus terms without the network. Step 8 derives the weight of the error at $t$:
#
# $$ \kappa_t = \frac{\beta_t^2}{2 \sigma_t^2 \alpha_t (1 - \bar\alpha_t)} $$
#
# The *simple* loss replaces all weights by 1. The left panel compares both, scaled to the same sum. The right panel shows what the weights decide: if one number $\rho$ has to serve all $t$ in the prediction $\rho x_t$, the best compromise depends on them.
#
# **Ask yourself:** compared with the bound, does the simple loss emphasise the steps at small $t$, where there is little noise, or those at large $t$?

# %% alt="Left: the weights of the bound, on logarithmic axes, fall from about 0.5 at t = 1 to 0.005 near t = 350 and cross the constant of the simple loss, 0.011, near t = 100. Right: the best rho rises with t from 0 to 1; shared by all t it is 0.54 (bound) and 0.81 (simple loss)."
step08_loss.figure()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Those at large $t$. The weights of the bound are largest near $t = 1$, where the blue area shows by how much the simple loss lowers them. The orange area shows what it raises. Ho, Jain and Abbeel measured better images with the simple loss. Their explanation is that removing very small noise is an easy task, and that the network can use its capacity for the harder ones.
#
# </details>
#
# **Why predict the noise and not the picture?** A network could as well predict $x_0$. By sitting 2 each prediction implies the other, so a perfect network would give the same samples. A real network makes errors, and the choice decides how much an error costs. Let $\hat x_0$ be the guess that a predicted noise implies. Both satisfy $x_t = \sqrt{\bar\alpha_t} \hat x_0 + \sqrt{1 - \bar\alpha_t} \epsilon_\theta$. Subtract this from the same equation with the true values:
#
# $$ 0 = \sqrt{\bar\alpha_t} (x_0 - \hat x_0) + \sqrt{1 - \bar\alpha_t} (\epsilon - \epsilon_\theta) $$
#
# $$ | \epsilon - \epsilon_\theta |^2 = \frac{\bar\alpha_t}{1 - \bar\alpha_t} \, | x_0 - \hat x_0 |^2 $$
#
# So the simple loss in the noise is a weighted loss in the picture, and the weight is the ratio of data to noise. In the linear schedule with $T = 1000$ it is 9999 at $t = 1$, 1.1 at $t = 250$ and 0.00004 at $t = 1000$. The network is trained to guess the picture precisely where little noise is left. Where the noise hides the picture, a guess can only be an average over many pictures (below), and its error counts little.
#
# The noise has three practical advantages. It has mean 0 and variance 1 for all data and all $t$, so one loss suits them all. It is the score in another unit, which guidance needs (sitting 4). And Ho, Jain and Abbeel report that training for $x_0$ gave worse images in their early experiments. It has a price: at large $t$ an error in the noise is a huge error in the picture (sitting 2), so samplers clip the guess, or use $v$.
#
# <details><summary>Is it not better to predict $x_0$ at large $t$?</summary>
#
# It may be. At small $t$ the state $x_t$ is a good guess of $x_0$ already, and what the network has to add is small. Neither is best at every $t$, and which one gives better samples is a matter of experiment.
#
# </details>
#
# **Exercise 3.1** (fill in a formula). Write the simple loss of a batch. `eps` and the network's output `out` have the shape `(n, D)`. Return one number: the mean over the batch of the squared length of $\epsilon - \epsilon_\theta$.


# %% nbgrader={"grade": false, "grade_id": "ex_3_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def loss(eps, out):
    ### BEGIN SOLUTION
    return ((eps - out) ** 2).sum(-1).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_3_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_3_1(loss)

# %% [markdown]
# **Before you run the next cell:** a tiny network predicts $\rho x_t$, with one number $\rho$ for each $t$. At small $t$, $x_t$ is mostly data; at large $t$ it is almost all noise. Where does the best $\rho$ lie in each case?

# %% alt="Line plot of the loss over rho for three times, each curve a parabola that begins near 2. The lowest point is at rho = 0.10 for t = 10, at 0.60 for t = 50 and at 0.98 for t = 90, and the lowest loss falls from just below 2 to 1.2 and 0.1."
slopes = np.linspace(0, 1.1, 56)
plt.figure(figsize=(7, 3), layout="constrained")
for t, color in ((10, BLUE), (50, ORANGE), (90, GREY)):
    eps = rng.standard_normal(x0.shape)
    xt = xt_from_x0(x0, eps, t, schedule)
    losses = [loss(eps, rho * xt) for rho in slopes]
    best = slopes[np.argmin(losses)]
    plt.plot(slopes, losses, color=color, label=f"t = {t}: best {best:.2f}")
plt.xlabel(r"$\rho$")
plt.ylabel("your loss")
plt.legend()
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Near 0 at small $t$, because $x_t$ contains little noise, and near 1 at large $t$, because $x_t$ is almost the noise itself.
#
# </details>
#
# ## A squared error finds the mean
#
# What would a perfect network predict? Fix $x_t$. Many pairs of data and noise lead to the same $x_t$, so $\epsilon$ is still random. A prediction $g$ is one vector for this $x_t$. Let $m = E[\epsilon | x_t]$ be the conditional mean, write $\epsilon - g = (\epsilon - m) + (m - g)$, and multiply out the square:
#
# $$ E[ |\epsilon - g|^2 \, | x_t] = E[|\epsilon - m|^2 \, | x_t] + 2 (m - g) \cdot E[\epsilon - m \, | x_t] + |m - g|^2 $$
#
# The middle term is 0, because $E[\epsilon | x_t] - m = 0$. The first term does not depend on $g$. The last term is smallest, 0, if $g = m$. So the best prediction is the conditional mean of the noise, and the first term is the loss that remains. The whole loss is the average of this over $x_t$ and $t$. A network may choose another $g$ for every $x_t$ and every $t$, so the best choice at each of them is also the best on average. No network gets below the remaining loss.
#
# **Exercise 3.2** (predict, then measure). The data are one class in the plane, $N(\mu, I/4)$, and $\bar\alpha_t = 1/2$. What is the lowest possible loss, to two digits after the point? Work in four steps, on one coordinate first:
#
# 1. $x_t - \sqrt{\bar\alpha_t} \mu$ is a sum $a + b$: $a$ comes from the data and has the variance $A = \bar\alpha_t / 4$, and $b = \sqrt{1 - \bar\alpha_t} \, \epsilon$ has the variance $B = 1 - \bar\alpha_t$.
# 2. Only the sum is known. Given the sum, the density of $b$ is proportional to that of $b$ times that of $a = \text{sum} - b$. Both are Gaussians in $b$, with variances $B$ and $A$. By sitting 2 the product has the variance $A B / (A + B)$.
# 3. Divide by $1 - \bar\alpha_t$ to get the conditional variance of $\epsilon$ from that of $b$.
# 4. Add up both coordinates.

# %% nbgrader={"grade": false, "grade_id": "ex_3_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
floor = ...
### BEGIN SOLUTION
floor = 2 * 0.5 * 0.25 / (0.5 * 0.25 + 0.5)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_3_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_3_2(floor)

# %% alt="Line plot of the loss over the factor in the prediction, from 0 to 2. It is a parabola that falls from 2, touches the horizontal line of the lowest loss, 0.40, at a factor of about 1.13, and rises to 1.35."
half = Schedule(np.array([0.0, 0.5]))
data = 0.5 * rng.standard_normal((50_000, 2))
eps = rng.standard_normal(data.shape)
xt, factors = xt_from_x0(data, eps, 1, half), np.linspace(0, 2, 81)
losses = [loss(eps, factor * xt) for factor in factors]
print(f"lowest measured: {min(losses):.3f}")
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(factors, losses, color=BLUE)
plt.axhline(floor, color=GREY, label="your lowest loss")
plt.xlabel(r"prediction: this factor times $x_t$")
plt.ylabel("loss")
plt.legend()
plt.show()

# %% [markdown]
# ## The oracle, and the score
#
# For Gaussian classes the conditional mean of the noise can be written as a formula. This course calls the formula the *oracle*. Every network can be compared with the oracle, and samplers can be tested with it before anything is trained.
#
# The best guess has a second meaning. The *score* is the gradient of the logarithm of the density of $x_t$. It points where $x_t$ is more probable. All gradients $\nabla$ are with respect to $x_t$.
#
# *One data point.* Given $x_0$, $x_t$ is normal with mean $\sqrt{\bar\alpha_t} x_0$ and variance $1 - \bar\alpha_t$:
#
# $$ \log q(x_t | x_0) = -\frac{| x_t - \sqrt{\bar\alpha_t} x_0 |^2}{2 (1 - \bar\alpha_t)} + \text{const} $$
#
# The derivative of the square is twice the bracket. And $x_t - \sqrt{\bar\alpha_t} x_0$ is the noise part of $x_t$, which is $\sqrt{1 - \bar\alpha_t} \, \epsilon$:
#
# $$ \nabla \log q(x_t | x_0) = -\frac{x_t - \sqrt{\bar\alpha_t} x_0}{1 - \bar\alpha_t} = -\frac{\epsilon}{\sqrt{1 - \bar\alpha_t}} $$
#
# *All data.* The density of $x_t$ is $p(x_t) = \int p(x_0) q(x_t | x_0) \, dx_0$. Its score is $\nabla p(x_t) / p(x_t)$. Take the gradient under the integral and use $\nabla q = q \nabla \log q$:
#
# $$ \nabla \log p(x_t) = \int \frac{p(x_0) \, q(x_t | x_0)}{p(x_t)} \nabla \log q(x_t | x_0) \, dx_0 $$
#
# By Bayes' rule the fraction is $q(x_0 | x_t)$. So the score is the average of the gradient above over the data points that may have led to $x_t$. In this average $\epsilon$ becomes its conditional mean:
#
# $$ \nabla \log p(x_t) = -\frac{E[\epsilon | x_t]}{\sqrt{1 - \bar\alpha_t}} $$
#
# So a network that predicts the noise also predicts the direction in which $p(x_t)$ grows fastest: opposite to the noise. The factor $1 / \sqrt{1 - \bar\alpha_t}$ is a change of unit, because $\epsilon$ has the standard deviation 1 and the noise in $x_t$ has $\sqrt{1 - \bar\alpha_t}$. The first two panels show the density and its score, without and with a label. The third shows by which factor an error of the network becomes an error of the guess of $x_0$ (sitting 2), and the last shows the lowest possible loss, with and without the label. In the unit of eps, the label lowers the loss most in the middle of the chain. **Ask yourself:** is its effect on the guess of the data also largest there?

# %% alt="First two: shaded densities with arrows of the score, which point to the three modes of all classes, and to the one mode of class 0. Third: over t the factor of an error rises to 2000 for the noise and is at most 1 otherwise. Fourth: the lowest loss falls from 2 to 0, earlier with the label."
step05_best_guess.figure()

# %% [markdown]
# <details><summary>Answer</summary>
#
# No. An error in the guess of $x_0$ is an error in eps times $\sqrt{(1 - \bar\alpha_t) / \bar\alpha_t}$ (the third panel), and this factor grows with $t$. The effect of the label on the guess is largest at $t = T$: there the guess is the mean of all data without the label, and the mean of the class with it. Sitting 4 shows both curves.
#
# </details>
#
# **Exercise 3.3** (fill in a formula). Write $E[\epsilon | x_t]$ for one class $N(\mu, v I)$: `xt` has the shape `(n, 2)`, `abar` is the number $\bar\alpha_t$, `mu` has the shape `(2,)`, and `var` is the number $v$. Begin with the density of $x_t$: it is normal, so find its mean and its variance. Write its score as for one data point above. Then the last formula turns the score into the noise.


# %% nbgrader={"grade": false, "grade_id": "ex_3_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_eps(xt, abar, mu, var):
    ### BEGIN SOLUTION
    spread = abar * var + 1 - abar
    return np.sqrt(1 - abar) * (xt - np.sqrt(abar) * mu) / spread
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_3_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_3_3(best_eps)

# %% [markdown]
# Your formula on a line through the class, beside the noise that was really added:

# %% alt="Scatter plot of the added noise over the first coordinate of x at time t. The points rise from about -2.5 at the left to 2.5 at the right and scatter around the straight line of the best guess, which runs through their middle."
one = GaussianMixture(np.array([[1.0, 0.0]]), 0.25 * np.eye(2)[None], np.ones(1))
data, _ = one.sample(600, rng)
eps = rng.standard_normal(data.shape)
xt = xt_from_x0(data, eps, 1, half)
line = np.stack([np.linspace(-1.5, 3, 50), np.zeros(50)], 1)
plt.figure(figsize=(7, 3), layout="constrained")
plt.scatter(xt[:, 0], eps[:, 0], s=4, color=GREY, label="noise that was added")
plt.plot(line[:, 0], best_eps(line, 0.5, one.means[0], 0.25)[:, 0], label="your best guess")
plt.xlabel("first coordinate of $x_t$")
plt.ylabel("eps")
plt.legend()
plt.show()

# %% [markdown]
# ## Sampling
#
# Everything for a sampler is there: start from $x_T \sim N(0, I)$, and take the reverse step of sitting 2 with the guess in the place of the data, $T$ times. In the lessons `p_xprev_given_xt` returns such a step as a Gaussian `back`, with `back.mean` and `back.var`.
#
# **Exercise 3.4** (find the mistake). A sampler had the following step. Its samples look right but contain a little noise that the data do not have. Which variance has the last step, and which has it here? Correct the step. `eps` is the prediction of the network and `z` a standard normal number; no special case for `t = 1` is needed.
#
# ```python
# back = p_xprev_given_xt(xt, eps, t, schedule)
# return back.mean + np.sqrt(schedule.beta[t]) * z
# ```


# %% nbgrader={"grade": false, "grade_id": "ex_3_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def one_step_back(xt, eps, z, t, schedule):
    ### BEGIN SOLUTION
    back = p_xprev_given_xt(xt, eps, t, schedule)
    return back.mean + np.sqrt(back.var) * z
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_3_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_3_4(one_step_back)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The step back has the variance $\tilde\beta_t$ of sitting 2, which is 0 at $t = 1$. The code used $\beta_t$, so noise of variance $\beta_1$ was added in the last step, and no later step removed it.
#
# </details>
#
# One step back from $t = 50$, for twelve points of class 0 (blue dots). The crosses are the guesses of $x_0$. A step moves a point a little towards its guess and adds a little noise:

# %% alt="Scatter plot of class 0 in grey, with twelve points at t = 50, the same points at t = 49, and crosses for the guesses of the data, joined by lines to the points at t = 50. The crosses lie close together within the class; the points at t = 49 stay near those at t = 50."
model, t, few = oracle_eps(mixture, schedule), 50, np.zeros(12, int)
xt = xt_from_x0(x0[y == 0][:12], rng.standard_normal((12, 2)), t, schedule)
eps = model(xt, t, few)
after = one_step_back(xt, eps, rng.standard_normal(xt.shape), t, schedule)
guess = x0_from(eps, xt, t, schedule)
plt.figure(figsize=(4.2, 4), layout="constrained")
plt.scatter(*x0[y == 0].T, s=2, color=GREY, label="data of class 0")
plt.plot(np.stack([xt, guess])[..., 0], np.stack([xt, guess])[..., 1], color=GREY, lw=0.5)
plt.scatter(*xt.T, s=14, color=BLUE, label="$x_{50}$")
plt.scatter(*after.T, s=14, color=ORANGE, label="$x_{49}$")
plt.scatter(*guess.T, marker="x", color="k", label="guess of $x_0$")
plt.axis("equal")
plt.legend(fontsize=8)
plt.show()

# %% [markdown]
# **Exercise 3.5** (write a loop). Now the whole sampler. `model(x, t, labels)` predicts the noise. All random numbers are given, so that your samples can be compared: `z` has the shape `(T + 1, n, 2)`. Start from $x_T$ = `z[T]`, and use `z[t - 1]` in the step from $t$ to $t - 1$. Return $x_0$.


# %% nbgrader={"grade": false, "grade_id": "ex_3_5", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_sampler(model, labels, z, schedule):
    ### BEGIN SOLUTION
    x = z[schedule.T]
    for t in range(schedule.T, 0, -1):
        eps = model(x, t, labels)
        x = one_step_back(x, eps, z[t - 1], t, schedule)
    return x
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_3_5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_3_5(my_sampler)

# %% [markdown]
# You have written a diffusion sampler. Here it runs with the oracle in the place of a network. Nothing was trained:

# %% alt="Three scatter plots. Left: the start, one cloud in which three colours are mixed. Middle and right: your samples form three separate round classes, with means near (0, 1.5), (-1.3, -0.75) and (1.3, -0.75), and look the same as the data beside them."
model, labels = oracle_eps(mixture, schedule), np.repeat([0, 1, 2], 500)
z = rng.standard_normal((schedule.T + 1, 1500, 2))
samples = my_sampler(model, labels, z, schedule)
fig, panels = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
shown = (
    (z[schedule.T], labels, "start: noise"),
    (samples, labels, "your samples"),
    (x0, y, "data"),
)
for ax, (points, classes, title) in zip(panels, shown, strict=True):
    ax.scatter(*points.T, s=2, c=np.array(CLASS_COLORS)[classes])
    ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title=title)
plt.show()
for k in range(3):
    found, true = samples[labels == k], mixture.means[k]
    print(
        f"class {k}: mean {found.mean(0).round(2)} (data {true.round(2)}), variance {found.var(0).mean():.3f}"
    )
print("variance of the data in a class: 0.250")

# %% [markdown]
# How many steps does it take? Move the slider to change `T`; the noise at the start stays the same. If the slider does not move (no running kernel), look at the row below it. **Before you do:** with two steps, or five, are the samples of a class too wide or too narrow?


# %% alt="Four scatter plots of samples with T = 2, 5, 20 and 100 steps. The three classes stay in the same places but become wider: the variance in a class is 0.042, 0.118, 0.213 and 0.246."
start = rng.standard_normal((300, 2))


def with_steps(ax, T):
    """Your chain of `T` steps."""
    few, y = Schedule.cosine(T), np.repeat([0, 1, 2], 100)
    noise = np.random.default_rng(1).standard_normal((T + 1, 300, 2))
    noise[T] = start
    x = my_sampler(oracle_eps(mixture, few), y, noise, few)
    ax.scatter(*x.T, s=3, c=np.array(CLASS_COLORS)[y])
    width = np.mean([x[y == k].var(0) for k in range(3)])
    ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal")
    ax.set_title(f"T = {T}", fontsize=10)
    ax.set_xlabel(f"variance in a class {width:.3f}")


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
# <details><summary>Answer</summary>
#
# Too narrow: the variance in a class is far below 0.25 with two steps and close to it with a hundred. The mean of the step is $c_0 x_0 + c_t x_t$ (sitting 2). Given $x_t$ alone, $x_0$ is uncertain, so the true variance has two parts:
#
# $$ \mathrm{Var}(x_{t-1} | x_t) = \tilde\beta_t + c_0^2 \, \mathrm{Var}(x_0 | x_t) $$
#
# The sampler puts one guess in the place of $x_0$ and leaves out the second part. With many steps $c_0$ is small in all but the last ones, where $\mathrm{Var}(x_0 | x_t)$ is small. With few steps the missing part is large.
#
# </details>
#
# For Gaussian data the distribution of the samples can be computed exactly. The middle panel shows the variance along the chain beside that of the noised data. The right panel shows $G_0$, the variance that is missing at $t = 0$; the dashed lines are $4/T$ and $2/T$. **Predict:** how does the missing variance depend on the number of steps: like $1/T$, or like $1/T^2$?

# %% alt="Left: samples, and one random path per class from the middle to its class. Middle: the variance along the chain ends at 0.15 with T = 10 and at 0.20 with T = 30, below the 0.25 of the data. Right: the missing variance falls with T and approaches the lines 4 / T and 2 / T."
step07_sampling.figure()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Like $1/T$: for large $T$ the curves approach the dashed lines, where the missing variance falls by a factor of ten if $T$ grows by ten.
#
# </details>

# %% [markdown]
# ## You now know
#
# - the loss is the squared error of the predicted noise, averaged over the batch, with the weights of the bound dropped (`tutorial/step08_loss.py`, equation 8.5);
# - the best prediction is the conditional mean, its loss is not 0, and it is the score in another unit (`tutorial/step05_best_guess.py`, 5.9 and 5.16);
# - the sampler is a loop of six lines; it ends without noise, and with few steps its samples are too narrow (`tutorial/step07_sampling.py`, 7.2 and 7.6).
#
# ## Five questions
#
# 1. Why is the lowest possible loss not 0?
# 2. Which number minimises the mean squared distance to 1, 2 and 6?
# 3. A network predicts the noise $(0.3, -0.1)$ at a point. In which direction are the data?
# 4. What does the simple loss drop?
# 5. What is the oracle good for?
#
# <details><summary>Answers</summary>
#
# 1. Different pairs of data and noise lead to the same $x_t$, so the noise cannot be known from it.
# 2. Their mean, 3.
# 3. Opposite to the noise: in the direction $(-0.3, 0.1)$.
# 4. The weights, one for each $t$, that the bound on the likelihood has.
# 5. It is the best possible network for these data. With it, an error of a sampler is an error of the sampler alone.
#
# </details>
#
# **Try:** `pytest -m step07`, then leave out the noise in the lesson and see which tests fail. The torch twins are `minicfg/training.py` and `minicfg/sampling.py`. Next: sitting 4, guidance.
