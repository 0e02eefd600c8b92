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
# # 11. Flow matching is the same chain on another clock
#
# **The question.** Many recent models are trained by flow matching. Their papers contain no betas and no chain. They draw a straight line from a data point to a noise, train a network on the velocity along this line, and follow the velocity from noise to data. Is this a different process from the chain of sittings 1 to 7, and does guidance act differently there?
#
# **After this sitting you can** write the training loss and the sampler of flow matching, explain why a mean velocity is enough, convert between velocity, noise and data, guide a velocity, read a network that counts its time backwards, prove that Euler's step is DDIM, and explain what is straight and what is not.
#
# No GPU, half a minute of computing, about 85 minutes with the exercises. You need sittings 1 to 4 and the section on DDIM in sitting 6. All but the last section uses NumPy alone; the last one needs torch. The lecture `tutorial/step21_flow.py` goes deeper, and `tutorial/step17_solvers.py` introduces the rows of a solver. (Flow matching: Liu et al. 2022, arXiv:2209.03003; Lipman et al. 2022, arXiv:2210.02747.) On a hosted machine that has torch already, do first what `01_forward_process` describes.

# %% alt="Two panels with the same 150 noises in grey. Left: straight lines lead from noises to data points of the three classes, and they cross in all directions. Right: the paths of the samples do not cross, most of them bend, and they end in the same three regions."
# %matplotlib inline
from itertools import pairwise

import check
import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp, trapezoid

from tutorial.figures.program import BLUE, CLASS_COLORS, GREEN, GREY, ORANGE, RED
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step11_guidance import guide
from tutorial.step17_solvers import chain_var, ddim, run, run_steps
from tutorial.step21_flow import (
    VelocityOracle,
    euler,
    flow_schedule,
    plain,
    root,
    top_class,
    with_zero_init,
    zero_star,
)

plt.rcParams["figure.dpi"] = 80
mixture, clock = three_gaussians(), flow_schedule(1000)
x0, of_x0 = mixture.sample(150, np.random.default_rng(1))
noise = np.random.default_rng(0).standard_normal((150, 2))
table = euler(clock, 100)
chain = run_steps(
    VelocityOracle(mixture, clock, 3), np.full(150, 3), table, 0.0, np.random.default_rng(0)
)
paths = np.stack([root(t / 1000) * x for t, x in chain])  # (101, 150, 2)
ends = mixture.log_class_probability(paths[-1]).argmax(1)
_, panels = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained", sharey=True)
for ax, lines, label, title in (
    (panels[0], np.stack([noise, x0]), of_x0, "the lines that the training uses"),
    (panels[1], paths, ends, "the paths that the samples take"),
):
    for k in range(150):
        ax.plot(*lines[:, k].T, color=CLASS_COLORS[label[k]], lw=0.6)
    ax.scatter(*lines[0].T, s=6, color=GREY, label="noise")
    ax.scatter(*lines[-1].T, s=10, color=np.array(CLASS_COLORS)[label], label="data or samples")
    ax.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal", title=title)
    ax.set(xlabel="first coordinate")
panels[0].set_ylabel("second coordinate")
panels[0].legend(fontsize=8, loc="lower left")
plt.show()

# %% [markdown]
# Both panels start from the same 150 noises (grey). At the left each noise is joined to a random data point of the three classes by a straight line. At the right each noise moves along the velocity that a perfect network predicts. The lines cross. The paths do not cross, and most of them bend. Yet both panels begin and end with the same distributions. This sitting explains why.
#
# ## A straight line from data to noise
#
# Let $u$ be the time of the flow. It runs from 0 at the data to 1 at the noise. (The papers call it $t$, and some of them count it backwards.) The state on the line from the data point $x_0$ to the noise $\epsilon \sim N(0, I)$ is written $X_u$:
#
# $$ X_u = (1 - u) x_0 + u \epsilon $$
#
# Its velocity is the derivative in $u$. It is the same on the whole line:
#
# $$ V = dX_u / du = \epsilon - x_0 $$
#
# For example, with one coordinate, let $x_0 = 2$ and $\epsilon = -1$. The state goes from 2 to $-1$ with $V = -3$, and at $u = 1/3$ it is $2/3 \cdot 2 - 1/3 = 1$. Another pair is $x_0 = 0$ and $\epsilon = 3$. Its velocity is 3, and at $u = 1/3$ its state is 1 as well. The two lines cross there. A network that is given $X = 1$ and $u = 1/3$ cannot know whether the velocity is $-3$ or 3. It is trained with the squared error, which is smallest for the mean (sitting 3):
#
# $$ F(X, u) = E[\epsilon - x_0 \,|\, X_u = X] $$
#
# Given a label $y$, the mean is over the pairs with data of this class, and it is written $F_y$. For the null label it is over all pairs, and it is written $F_\phi$.
#
# **Exercise 11.1** (fill in a formula). Return the training loss: the mean over the batch of the squared length of the error, $|\text{out} - V|^2$. `net(X, u)` is the network, `x0` and `eps` have the shape `(n, 2)`, and `u` has the shape `(n, 1)`, with one time per sample.


# %% nbgrader={"grade": false, "grade_id": "ex_11_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_loss(net, x0, eps, u):
    ### BEGIN SOLUTION
    X = (1 - u) * x0 + u * eps
    return ((net(X, u) - (eps - x0)) ** 2).sum(1).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_11_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_11_1(my_loss)

# %% [markdown]
# This loss contains no betas and no weights. For a Gaussian class $N(\mu, S I)$ the output with the lowest loss is a formula. Data and noise are independent, so in each coordinate the mean and the variance of $X_u$ are
#
# $$ m_u = (1 - u) \mu \qquad C_u = (1 - u)^2 S + u^2 $$
#
# The velocity $V = \epsilon - x_0$ has the mean $-\mu$. Its covariance with $X_u = (1 - u) x_0 + u \epsilon$ has two parts: $u$ from the noise, and $-(1 - u) S$ from the data. $V$ and $X_u$ are jointly Gaussian, so the mean of $V$ given $X_u$ is linear in $X_u$. Its slope is the covariance divided by the variance of $X_u$:
#
# $$ F_y(X, u) = -\mu + \frac{u - (1 - u) S}{C_u} (X - m_u) $$
#
# For example, at $u = 1/2$ with $S = 1/4$, $C_u = 0.0625 + 0.25 = 0.3125$, and the slope is $0.375 / 0.3125 = 1.2$. For the null label, $F_\phi$ is the mean of the $F_y$ with the weights $p(y | X_u)$, as in sitting 4. The cell below contains both. **Predict:** is the loss of this perfect network 0? Where in $u$ is it largest, and where smallest?

# %% alt="The loss over u, from data at 0 to noise at 1. The prediction 0 has a constant 4.7; with the label the loss follows the dashed 2 S / C_u, from 2 to 2.5 at u = 0.2, then down to 0.5. With the null label it rises to 4.5 near u = 0.65 and ends at 2.7."
means, S = mixture.means, 0.25  # of the three classes, (3, 2), and their variance


def exact(X, u, y):
    """The mean velocity given X (n, 2), the time u and the labels y (n,); 3 is the null label."""
    u = np.reshape(u, (-1, 1, 1))
    C = (1 - u) ** 2 * S + u**2
    away = X[:, None] - (1 - u) * means  # from the mean of each class, (n, 3, 2)
    of_class = -means + (u - (1 - u) * S) / C * away
    log_p = -(away**2).sum(2) / (2 * C[:, :, 0])
    weight = np.exp(log_p - log_p.max(1, keepdims=True))
    weight /= weight.sum(1, keepdims=True)
    weight = np.where(y[:, None] == 3, weight, y[:, None] == np.arange(3))
    return (weight[:, :, None] * of_class).sum(1)


rng, times = np.random.default_rng(0), np.linspace(0, 1, 21)
x0, of_x0 = mixture.sample(4000, rng)
eps, unknown = rng.standard_normal((4000, 2)), np.full(4000, 3)
nets = {
    "prediction 0": (lambda X, u: 0 * X, GREY),
    "exact, null label": (lambda X, u: exact(X, u, unknown), ORANGE),
    "exact, with the label": (lambda X, u: exact(X, u, of_x0), BLUE),
}
lowest = {}  # averages over u
_, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for name, (net, color) in nets.items():
    losses = [my_loss(net, x0, eps, np.full((4000, 1), u)) for u in times]
    ax.plot(times, losses, "o-", ms=3, color=color, label=f"your loss: {name}")
    lowest[name] = trapezoid(losses, times)
    print(f"{name}: {losses[10]:.2f} at u = 0.5, {lowest[name]:.2f} on average over u")
ax.plot(times, 2 * S / ((1 - times) ** 2 * S + times**2), "k--", label="2 S / C_u")
ax.set(xlabel="u (left: data, right: noise)", ylabel="loss", ylim=(0, 7.6))
ax.set_title("the loss of three networks")
ax.legend(fontsize=8, ncols=2, loc="upper center")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# No, because lines cross. The loss of the exact mean is the variance of $V$ that remains when $X_u$ is known. In one coordinate this is the variance of $V$, which is $1 + S$, minus the square of the covariance divided by the variance of $X_u$:
#
# $$ 1 + S - (u - (1 - u) S)^2 / C_u = S / C_u $$
#
# (Put both terms over $C_u$. The numerator $(1 + S) C_u - (u - (1 - u) S)^2$ is $S (1 - u + u)^2 = S$.) At $u = 1/2$ this is $1.25 - 0.1406 / 0.3125 = 0.8$. There are two coordinates, so the loss is 1.6.
#
# At $u = 0$ the loss is 2: $X_u$ is the data point and contains no information about the noise. It is largest, $2 (1 + S) = 2.5$, at $u = 0.2$, where the covariance is 0. There $X_u$ contains no information about $V$ at all, because both are Gaussian. It is smallest, $2 S = 0.5$, at $u = 1$: the noise is known, and only the data point is unknown. For the null label more is unknown, so the loss is higher.
#
# </details>
#
# ## Why the mean velocity is enough
#
# The training used lines. A sampler has no lines, because it does not know the data. It moves each point with the mean velocity: $dY_u / du = F(Y_u, u)$, where $Y_1$ is a random noise. **The claim** is that at every $u$ the points $Y_u$ have the same distribution as the states $X_u$ on the lines. Then at $u = 0$ they have the distribution of the data.
#
# To derive it, take one coordinate and any smooth function $f$, and compute how the mean of $f$ changes with $u$. We begin with the lines. By the chain rule,
#
# $$ \frac{d}{du} E[f(X_u)] = E[f'(X_u) V] $$
#
# where $V$ does not change with $u$ on a line. Take this mean in two stages: first over all pairs whose line is at the same place $X_u$, then over the places. In the first stage $f'(X_u)$ is constant and $V$ becomes its mean, which is $F$:
#
# $$ E[f'(X_u) V] = E[f'(X_u) \, E[V | X_u]] = E[f'(X_u) F(X_u, u)] $$
#
# For the points that move with $F$, the chain rule gives directly
#
# $$ \frac{d}{du} E[f(Y_u)] = E[f'(Y_u) F(Y_u, u)] $$
#
# Both right sides are the integral $\int f'(X) \, F(X, u) \, p(X) \, dX$, where $p$ is the density of $X_u$ in one case and of $Y_u$ in the other. Both left sides are the derivative of $\int f(X) \, p(X) \, dX$. So the two densities obey the same equation. At $u = 1$ both are standard normal. If $F$ is smooth, the equation has only one solution, so the two densities are equal at every $u$.
#
# This equation can be written for the density $p_u$ itself. Write both means as integrals over $X$, and integrate the right one by parts. The terms at the two ends are zero, because $p_u F$ goes to 0 far away from the data:
#
# $$ \int f \, \frac{\partial p_u}{\partial u} \, dX = \int f' p_u F \, dX = -\int f \, \frac{\partial (p_u F)}{\partial X} \, dX $$
#
# This holds for every $f$, so the factors of $f$ are equal. The result is the *continuity equation*:
#
# $$ \frac{\partial p_u}{\partial u} = -\frac{\partial (p_u F)}{\partial X} $$
#
# In words: the product $p_u F$ is the flux, the probability that passes the place $X$ per unit of time. A short interval gains what flows in at its left end, and loses what flows out at its right end. The flux is a sum over all lines that pass the place. If as many of them pass with the velocity 3 as with $-3$, the flux is 0. So only the mean velocity matters.
#
# **A check by hand.** Take a Gaussian class. With $f(Y) = Y$ the derivative of the mean is $E[F_y] = -\mu$, which is the derivative of $m_u = (1 - u) \mu$. The derivative of the variance is twice the covariance of $Y$ and $F_y$, which is twice the slope times $C_u$, or $2 u - 2 (1 - u) S$. This is the derivative of $C_u$. At $u = 1/2$ with $S = 1/4$ it is 0.75, so from $u = 0.50$ to 0.51 the variance should grow by 0.0075. By the formula for $C_u$ it grows from 0.3125 to 0.3201, by 0.0076.
#
# The figure below has two data points, $-1$ and 1, in one coordinate. Given the data point, $X_u$ is Gaussian with the mean $\pm (1 - u)$ and the variance $u^2$. By Bayes' rule the probabilities of the two points have the ratio of these densities. The squares of $X_u$ and of $1 - u$ cancel in it:
#
# $$ \frac{p(x_0 = 1 \,|\, X_u)}{p(x_0 = -1 \,|\, X_u)} = \exp \frac{(X_u + 1 - u)^2 - (X_u - 1 + u)^2}{2 u^2} = \exp \frac{2 (1 - u) X_u}{u^2} = \frac{e^g}{e^{-g}} \quad \text{with} \quad g = \frac{(1 - u) X_u}{u^2} $$
#
# So the mean of the data is $E[x_0 | X_u] = (e^g - e^{-g}) / (e^g + e^{-g}) = \tanh g$. The state is $X_u = (1 - u) x_0 + u \epsilon = x_0 + u (\epsilon - x_0) = x_0 + u V$. So the mean velocity $F$ is $X_u$ minus this mean, divided by $u$. A solver of SciPy moves the points. **Predict:** do the solutions cross, as the lines do? Which starts end at 1?


# %% alt="Left: 50 straight lines from noises at u = 1 to the data points -1 and 1 at u = 0; many cross. Middle: the solutions from the same noises do not cross, and those from above 0 end at 1, the others at -1. Right: both histograms at u = 0.4 have two modes and follow the density."
def two_points(u, X):
    """The mean velocity if the data are -1 and 1, each with probability 1/2."""
    return (X - np.tanh((1 - u) * X / u**2)) / u


def bump(X, mean, var):
    return np.exp(-((X - mean) ** 2) / (2 * var)) / np.sqrt(2 * np.pi * var)


def density(X, u):
    """Of X_u, for the two points."""
    return (bump(X, 1 - u, u**2) + bump(X, u - 1, u**2)) / 2


rng = np.random.default_rng(0)
start, data = rng.standard_normal(4000), rng.choice([-1.0, 1.0], 4000)
grid = np.linspace(1, 0.02, 99)
moved = solve_ivp(two_points, (1, 0.02), start, t_eval=grid, rtol=1e-6, atol=1e-6).y
at = int(np.argmin(np.abs(grid - 0.4)))
_, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.2), layout="constrained")
for k in range(50):
    left.plot([1, 0], [start[k], data[k]], color=CLASS_COLORS[int(data[k] > 0)], lw=0.6)
    middle.plot(grid, moved[k], color=CLASS_COLORS[int(moved[k, -1] > 0)], lw=0.6)
for ax, title in ((left, "lines of 50 pairs"), (middle, "solutions from the same noises")):
    ax.axvline(0.4, color="black", lw=0.8, ls=":")
    ax.set(xlabel="u", ylabel="X", title=title, xlim=(1, 0), ylim=(-2.8, 2.8))
axis, bins = np.linspace(-2.5, 2.5, 201), np.linspace(-2.5, 2.5, 51)
on_lines = 0.6 * data + 0.4 * start
right.hist(on_lines, bins, density=True, histtype="step", color=ORANGE, label="on the lines")
right.hist(moved[:, at], bins, density=True, histtype="step", color=BLUE, label="on the solutions")
right.plot(axis, density(axis, 0.4), "k--", label="density")
right.set(xlabel="X at u = 0.4", title="4000 of each, at the dotted line")
right.legend(fontsize=8, loc="lower center")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Solutions do not cross. At one place and time $F$ has one value, so two points that met would stay together from there on. Therefore the points keep their order, and exactly the starts above 0 end at 1, although half of the lines from there lead to $-1$. Both histograms agree with the density of $X_u$, so at this time both have the same distribution. What differs is which noise belongs to which data point.
#
# </details>
#
# The next figure compares the two sides of the continuity equation at $u = 1/2$. The left side (blue) is computed from densities at a slightly later and a slightly earlier $u$. The right side (orange) is computed from the flux at a slightly larger and a slightly smaller $X$.

# %% alt="Two panels for u = 1/2, one for a Gaussian class and one for two points. In each the dashed curve of the flux lies exactly on the thick one of the change of the density. Both are positive at X = 0, and negative near 1.1 for the class and near -0.75 and 0.75 for two points."
h, u = 1e-4, 0.5
slope = (u - (1 - u) * S) / ((1 - u) ** 2 * S + u**2)
cases = {
    "a Gaussian class, mean 1.5": (
        lambda X, u: bump(X, (1 - u) * 1.5, (1 - u) ** 2 * S + u**2),
        lambda X: -1.5 + slope * (X - (1 - u) * 1.5),
    ),
    "two points, -1 and 1": (density, lambda X: two_points(u, X)),
}
_, panels = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
for ax, (name, (p, F)) in zip(panels, cases.items(), strict=True):
    change = (p(axis, u + h) - p(axis, u - h)) / (2 * h)
    flux_in = -(p(axis + h, u) * F(axis + h) - p(axis - h, u) * F(axis - h)) / (2 * h)
    ax.plot(axis, p(axis, u), color=GREY, label="density")
    ax.plot(axis, change, color=BLUE, lw=5, alpha=0.5, label="change of the density in u")
    ax.plot(axis, flux_in, "--", color=ORANGE, label="minus the change of the flux in X")
    ax.set(xlabel="X", title=f"{name}, u = 1/2")
    print(f"{name}: the two sides differ by at most {np.abs(change - flux_in).max():.0e}")
panels[0].set_ylim(-1.5, 2.6)
panels[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# ## The sampler
#
# A program follows $F$ in steps of finite length. Euler's method steps from $u_t$ to an earlier $u_s$ with the velocity at the start of the step:
#
# $$ X_{u_s} = X_{u_t} + (u_s - u_t) \, F(X_{u_t}, u_t) $$
#
# For example, from $X = 1$ at $u_t = 1/2$ with $F = -3$ to $u_s = 1/4$: $1 + (1/4 - 1/2) (-3) = 1.75$.
#
# **Exercise 11.2** (write a loop). Go from `u = 1` to `u = 0` in `steps` steps of equal length. `F(X, u)` returns the velocity at the time `u`, which is one number here, and `X` contains the noises, of shape `(n, 2)`. Return the samples.


# %% nbgrader={"grade": false, "grade_id": "ex_11_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_euler(F, X, steps):
    ### BEGIN SOLUTION
    for k in range(steps, 0, -1):
        X = X - F(X, k / steps) / steps
    return X
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_11_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_11_2(my_euler)

# %% [markdown]
# **Predict:** what does a single step return, with the label and without? (At $u = 1$ the state is the noise itself and contains no information about the data.)

# %% alt="Eight scatter plots of samples after 1, 2, 5 and 50 steps. With labels, one step returns only three points, the class means, and more steps return three clouds that become wider. With the null label, one step returns only the origin, two steps a filled triangle, and 50 steps three clouds."
labels = np.repeat([0, 1, 2], 200)
noise = np.random.default_rng(0).standard_normal((600, 2))
fig, panels = plt.subplots(2, 4, figsize=(10, 5.2), layout="constrained", sharex=True, sharey=True)
for line, y, name in (
    (panels[0], labels, "with labels"),
    (panels[1], np.full(600, 3), "null label"),
):
    for ax, steps in zip(line, (1, 2, 5, 50), strict=True):
        x = my_euler(lambda X, u, y=y: exact(X, u, y), noise, steps)
        ax.scatter(*x.T, s=3, c=np.array([*CLASS_COLORS[:3], GREY])[y])
        ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
        ax.set_title(f"{name}, {steps} step{'s' * (steps > 1)}", fontsize=10)
fig.supxlabel("first coordinate", fontsize=9)
fig.supylabel("second coordinate", fontsize=9)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# At $u = 1$ the best guess of the data is the mean of the class, so $F_y = X - \mu$. A step of length 1 returns $X - (X - \mu) = \mu$ for every noise. For the null label it is the mean of all data, which is 0 here and lies between the classes.
#
# </details>
#
# **Exercise 11.3** (predict, then measure). A class is $N(\mu, I / 4)$. Its samples are drawn with *two* steps, from $u = 1$ to $1/2$ to 0. What is their variance in one coordinate? Use the formula of $F_y$: by which factor does each of the two steps multiply the distance from the mean $m_u$? (The mean itself is always right, because the term $-\mu$ of $F_y$ is the derivative of $m_u$, which is constant.) The slope in $F_y$ is 1 at $u = 1$, and 1.2 at $u = 1/2$. The noise has the variance 1.

# %% nbgrader={"grade": false, "grade_id": "ex_11_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
variance = ...
### BEGIN SOLUTION
variance = (1 - 0.5 * 1.0) ** 2 * (1 - 0.5 * 1.2) ** 2
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_11_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_11_3(variance)

# %% alt="The variance of the samples over the number of steps on a logarithmic axis. It rises from 0 for one step over 0.04 for two, where your prediction lies, to 0.24 for 100 steps, below the dashed line of the class at 0.25."
counts = (1, 2, 3, 5, 10, 20, 50, 100)
many, top = np.random.default_rng(1).standard_normal((20_000, 2)), np.zeros(20_000, int)
found = [my_euler(lambda X, u: exact(X, u, top), many, n).var(0).mean() for n in counts]
_, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.semilogx(counts, found, "o-", color=BLUE, label="your sampler, one class")
ax.axhline(0.25, color=GREY, ls="--", label="the class")
ax.plot(2, variance, "*", ms=14, color=RED, label="your prediction")
ax.set(xlabel="steps", ylabel="variance of the samples", title="few steps lose variance")
ax.set_xticks(counts, counts)
ax.minorticks_off()
ax.legend(fontsize=8)
plt.show()
print("variance:", ", ".join(f"{v:.3f} for {n}" for n, v in zip(counts, found, strict=True)))

# %% [markdown]
# <details><summary>Why 0.04</summary>
#
# The first step multiplies the distance from the mean by $1 - 1/2 \cdot 1 = 0.5$, and the second by $1 - 1/2 \cdot 1.2 = 0.4$. The variance is multiplied by the squares, $1 \cdot 0.25 \cdot 0.16 = 0.04$. With the exact solution it goes from 1 to 0.3125 and then to 0.25. Most is lost in the second step. It uses the slope 1.2 on its whole way, and the slope falls to $-1$ at $u = 0$.
#
# </details>
#
# ## What is straight, and what is not
#
# It is often claimed that flow matching needs few steps because its paths are straight. If a solution were straight and had a constant velocity, one step of Euler's method would be exact. You have just measured that it is not exact, even for one Gaussian class.
#
# For a Gaussian class the solutions are known. Let $z$ be the noise at which a solution starts. Then the solution is
#
# $$ Y_u = m_u + \sqrt{C_u} \, z $$
#
# At $u = 1$ it is $z$, because $m_1 = 0$ and $C_1 = 1$. To see that it follows $F_y$, take its derivative. We have $m_u' = -\mu$. The derivative of $\sqrt{C_u}$ is $C_u' / (2 \sqrt{C_u})$, with $C_u' = 2 (u - (1 - u) S)$. So
#
# $$ Y_u' = -\mu + \frac{u - (1 - u) S}{\sqrt{C_u}} z = -\mu + \frac{u - (1 - u) S}{C_u} (Y_u - m_u) $$
#
# The second step uses $z = (Y_u - m_u) / \sqrt{C_u}$, and the result is $F_y$ at $Y_u$. So the distance from the mean is $\sqrt{(1 - u)^2 S + u^2}$ times $z$. As a function of $u$ this root is a straight line only for $S = 0$, a class with a single data point. **Predict:** the data are $N(0, 1)$, the same as the noise, so $S = 1$. Where does a solution end, and how does it get there? What does one step of Euler's method return?

# %% alt="Three panels for S = 0, 0.25 and 1: the distance from the mean from u = 1 to 0 for four starts. For S = 0 solutions, straight lines and Euler steps coincide. Otherwise solutions bend towards the mean and away again, for S = 1 back to the start, and one Euler step ends at 0."
u = np.linspace(0, 1, 101)
_, panels = plt.subplots(1, 3, figsize=(11, 3), layout="constrained", sharey=True)
for ax, var in zip(panels, (0.0, 0.25, 1.0), strict=True):
    for z in (-2, -1, 1, 2):
        path = np.sqrt((1 - u) ** 2 * var + u**2) * z
        ax.plot(u, path, color=BLUE, label="solution" if z == 2 else None)
        ax.plot([1, 0], [path[-1], path[0]], ":", color=GREY, label="straight" if z == 2 else None)
        step = [z, z - z]  # X - F at u = 1, where F = X - mean
        ax.plot([1, 0], step, "--", color=ORANGE, label="one Euler step" if z == 2 else None)
    ax.set(xlabel="u", xlim=(1, 0), title=f"one class, S = {var:g}")
panels[0].set_ylabel("distance from the mean")
panels[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# For $S = 1$ every solution ends where it starts (right panel, blue). On its way it comes closer to the mean, to $0.71 z$ in the middle, because $X_{1/2}$ is the mean of two independent numbers and has the variance 1/2. One step returns the mean, 0, for every start (orange), although every line of the training is straight.
#
# </details>
#
# **Explain** in three or four sentences, before you open the fold. A colleague writes: "The paths of flow matching are straight, so one step is enough." What is straight, what is not, and when would the colleague be right?
#
# <details><summary>A model answer</summary>
#
# The line of one pair of data and noise is straight, and its velocity is constant. Many lines cross at one place, so a network can only predict the mean of their velocities. A solution follows this mean, which changes on the way, because the pairs that are possible at its place change. One step keeps the first mean, which leads to the mean of the data. It would be exact if no lines crossed, because then the velocity of the only line at a place is also the mean. This is so for a single data point. (Liu et al. train a second network on pairs of a noise and the sample that the first network made of it. They call this reflow. Its purpose is that fewer lines cross.)
#
# </details>
#
# *This is about half of the sitting, and a place for a break. When you come back, run the cells above again.*
#
# ## The same chain on another clock
#
# Now compare with the chain of sittings 1 to 3, $x_t = \sqrt{\bar\alpha_t} \, x_0 + \sqrt{1 - \bar\alpha_t} \, \epsilon$. There the squares of the two factors add up to 1. In the flow the factors are $1 - u$ and $u$, and their squares do not add up to 1. So divide the state by
#
# $$ R_u = \sqrt{(1 - u)^2 + u^2} $$
#
# Now the squares add up to 1. So $X_u / R_u$ is a state $x_t$ of the chain, with the noise level
#
# $$ \bar\alpha = (1 - u)^2 / ((1 - u)^2 + u^2) $$
#
# The ratio of noise to signal, $\sigma_t = \sqrt{(1 - \bar\alpha_t) / \bar\alpha_t}$, is not changed by the division. In the flow it is $u / (1 - u)$. Solved for $u$,
#
# $$ u_t = \sigma_t / (1 + \sigma_t) $$
#
# For example, $\bar\alpha_t = 0.5$ has $\sigma_t = 1$ and $u_t = 1/2$; $\bar\alpha_t = 0.8$ has $\sigma_t = 1/2$ and $u_t = 1/3$. Each noise level of the chain occurs in the flow exactly once. Only the clock differs.
#
# The outputs correspond to each other as well. The state was written above with the velocity and the data. Take the mean of both sides given the state:
#
# $$ X_u = x_0 + u V \qquad \Rightarrow \qquad X_u = \hat x_0 + u F $$
#
# So $\hat x_0 = X_u - u F$: the velocity is one more affine view of the best guess, like $\epsilon$ and the $v$ of sitting 2. For example, $X = 1$, $u = 1/3$ and $F = -3$ give the guess 2.
#
# **Exercise 11.4** (fill in a formula). A network of the chain predicts the noise, `eps`, at the state `xt` with the noise level of `u`, where 0 < u < 1. Return the velocity $F$ that belongs to it. Write $X_u$ with $\epsilon$ and $V$, as it was written with $x_0$ and $V$ above. The state of the flow is $X_u = R_u x_t$.


# %% nbgrader={"grade": false, "grade_id": "ex_11_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_velocity(eps, xt, u):
    ### BEGIN SOLUTION
    X = np.sqrt((1 - u) ** 2 + u**2) * xt
    return (eps - X) / (1 - u)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_11_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_11_4(my_velocity)

# %% [markdown]
# The left panel shows the clocks: the log SNR of the flow, $2 \log((1 - u) / u)$, and that of two schedules over $t / T$. The right panel compares two velocities at $u = 1/2$, on a vertical line through the middle of class 0. One is the formula for $F$, which was derived without a chain. The other is your function, applied to the oracle of sitting 3.

# %% alt="Left: log SNR over u or t / T; the curves of the flow and the cosine schedule lie close together, and that of the linear schedule lies lower nearly everywhere. Right: velocities at u = 1/2, a straight line for class 0 and a curve with a dip for the null label; formula and conversion coincide."
u = 0.5
oracle = oracle_eps(mixture, clock)
X = np.stack([np.zeros(121), np.linspace(-3, 3, 121)], 1)
xt = X / np.sqrt((1 - u) ** 2 + u**2)
_, (left, right) = plt.subplots(1, 2, figsize=(11, 3.2), layout="constrained")
grid = np.arange(1, 1000)
left.plot(grid / 1000, 2 * np.log((1000 - grid) / grid), color=BLUE, label="flow")
for schedule, color, name in (
    (Schedule.cosine(1000), ORANGE, "cosine"),
    (Schedule.linear(1000), GREY, "linear"),
):
    left.plot(grid / 1000, schedule.log_snr[1:1000], color=color, label=name)
left.set(xlabel="u, or t / T", ylabel="log SNR", title="three clocks")
left.legend(fontsize=8)
for y, color, name in ((0, BLUE, "class 0"), (3, ORANGE, "null")):
    label = np.full(121, y)
    F, yours = exact(X, u, label), my_velocity(oracle(xt, 500, label), xt, u)
    right.plot(X[:, 1], F[:, 1], color=color, lw=5, alpha=0.4, label=f"{name}: formula")
    right.plot(X[:, 1], yours[:, 1], "--", color=color, label=f"{name}: yours, from eps")
    print(f"{name}: largest difference {np.abs(F - yours).max():.0e}")
right.set(xlabel="second coordinate of X", title="velocity at u = 1/2")
right.set_ylabel("second coordinate of F")
right.legend(fontsize=8)
plt.show()

# %% [markdown]
# The clock of the flow is close to that of the cosine schedule: away from the data the log SNRs differ by less than 1. Near the data the small offset of the cosine schedule makes a difference of up to 3.7. The two velocities agree to rounding. So a model that was trained on $\epsilon$ can be sampled as a flow, and a flow can be sampled as a chain. What differs is how training weighs errors. By your formula an error of $\epsilon$ is divided by $1 - u$ in $F$. So the loss on velocities is the loss on $\epsilon$ with the weight $1 / (1 - u)^2$, which is 1.23 at $u = 0.1$ and 100 at $u = 0.9$. (Compared with a loss on $x_0$ the weight is $1 / u^2$, because $\hat x_0 = X_u - u F$.) The best output at each noise level is the same.
#
# ## Guidance
#
# Guidance of the guesses has the factors $1 + w$ and $-w$. They add up to 1, so the term $X_u$ remains as it is:
#
# $$ (1 + w) (X_u - u F_y) - w (X_u - u F_\phi) = X_u - u \, [F_y + w (F_y - F_\phi)] $$
#
# The left side is the guided guess. The right side is the guess of the guided velocity. So at each noise level guidance of the velocity is guidance of $\epsilon$ (sitting 4), in another unit.
#
# **Exercise 11.5** (find the mistake). A network of another project counts its time from the noise, 0, to the data, 1, as Liu et al. and Lipman et al. do, and predicts the velocity for this direction, $x_0 - \epsilon$. It is evaluated by `theirs(X, time, y)`. The code below was meant to return the guided velocity on our clock, at the time `u`. It runs without an error, and at $u = 1/2$ its result is right. Correct it.
#
# ```python
# out_y, out_null = theirs(X, u, y), theirs(X, u, null)
# F_y, F_null = -out_y, -out_null
# return F_y + w * (F_y - F_null)
# ```


# %% nbgrader={"grade": false, "grade_id": "ex_11_5", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_guided(theirs, X, u, y, null, w):
    ### BEGIN SOLUTION
    out_y, out_null = theirs(X, 1 - u, y), theirs(X, 1 - u, null)
    F_y, F_null = -out_y, -out_null
    return F_y + w * (F_y - F_null)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_11_5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_11_5(my_guided)

# %% [markdown]
# The figure shows samples of class 0 (blue) on the data (grey), at $w = 0$ and $w = 3$. They were drawn with the code as it was, with your function, and with the chain of sitting 6: DDIM on the cosine schedule with predictions of $\epsilon$. All start from the same noises. The height of a sample is its second coordinate. In the class its mean is 1.5 and its variance 0.25. **Predict:** does the flow overshoot at $w = 3$, as the chain does? Can you recognise the mistake from the pictures?


# %% alt="Six scatter plots of class 0 in blue on the data in grey, at w = 0 above and w = 3 below. Your function and DDIM give the same clouds, at the heights 1.49 and 2.36. The code as it was gives a cloud at 1.10, and at w = 3 a thin wedge at 2.47."
def theirs(X, time, y):
    """The exact network on the other clock."""
    return -exact(X, 1 - time, y)


def as_it_was(theirs, X, u, y, null, w):
    return guide(-theirs(X, u, y), -theirs(X, u, null), w)


y, null = np.zeros(1000, int), np.full(1000, 3)
noise = np.random.default_rng(0).standard_normal((1000, 2))
cosine = Schedule.cosine(1000)
oracle = oracle_eps(mixture, cosine)
fig, panels = plt.subplots(2, 3, figsize=(9.5, 6.8), layout="constrained", sharex=True, sharey=True)
for line, w in zip(panels, (0.0, 3.0), strict=True):
    drawn = {
        name: my_euler(lambda X, u, f=f, w=w: f(theirs, X, u, y, null, w), noise, 50)
        for name, f in (("as it was", as_it_was), ("yours", my_guided))
    }
    same_noise = np.random.default_rng(0)
    drawn["DDIM, eps"] = run(oracle, y, ddim(cosine, 50), w, same_noise)
    for ax, (name, x) in zip(line, drawn.items(), strict=True):
        ax.scatter(*mixture.sample(600, np.random.default_rng(2))[0].T, s=2, color=GREY)
        ax.scatter(*x.T, s=3, color=BLUE)
        ax.set(xlim=(-3.6, 3.6), ylim=(-3.6, 3.6), aspect="equal")
        numbers = f"height {x[:, 1].mean():.2f}, its variance {x[:, 1].var():.3f}"
        ax.set_title(f"w = {w:g}, {name}\n{numbers}", fontsize=10)
fig.supxlabel("first coordinate", fontsize=9)
fig.supylabel("second coordinate", fontsize=9)
plt.show()
apart = np.abs(drawn["yours"] - drawn["DDIM, eps"]).max()
print(f"yours and DDIM at w = 3: two samples of one noise are {apart:.2f} apart at most")

# %% [markdown]
# <details><summary>Answer</summary>
#
# Yes, by the same amount. At $w = 3$ the samples lie at a mean height of 2.36 and are too narrow. Flow and chain agree sample by sample, up to the errors of 50 steps. So what sitting 7 found about guided chains holds for flow matching too. The mistake is hard to recognise. At $w = 0$ its samples have nearly the right variance, and their mean height is 1.10 where 1.5 is right. At $w = 3$ their variance is a third of that of the right code. Without known data to compare with, it is easily overlooked.
#
# </details>
#
# ## Euler's step is a row of DDIM
#
# Why do the flow and DDIM agree so closely? In sitting 6 the step of DDIM was $x_s = a \hat x_0 + b x_t$. In terms of $\bar\alpha$ its two numbers are
#
# $$ b = \sqrt{(1 - \bar\alpha_s) / (1 - \bar\alpha_t)} \qquad a = \sqrt{\bar\alpha_s} - b \sqrt{\bar\alpha_t} $$
#
# (Insert $\hat\epsilon = (x_t - \sqrt{\bar\alpha_t} \, \hat x_0) / \sqrt{1 - \bar\alpha_t}$ into $x_s = \sqrt{\bar\alpha_s} \, \hat x_0 + \sqrt{1 - \bar\alpha_s} \, \hat\epsilon$.) Now write Euler's step with the guess. Insert $F = (X_{u_t} - \hat x_0) / u_t$:
#
# $$ X_{u_s} = X_{u_t} + \frac{u_s - u_t}{u_t} (X_{u_t} - \hat x_0) $$
#
# $$ X_{u_s} = \frac{u_s}{u_t} X_{u_t} + \left(1 - \frac{u_s}{u_t}\right) \hat x_0 $$
#
# Return to the unit of the chain: insert $X_{u_t} = R_{u_t} x_t$, and divide by $R_{u_s}$:
#
# $$ x_s = \frac{u_s R_{u_t}}{u_t R_{u_s}} x_t + \frac{1 - u_s / u_t}{R_{u_s}} \hat x_0 $$
#
# The factor of $x_t$ is the $b$ of DDIM, because $\sqrt{1 - \bar\alpha} = u / R_u$, and $b$ is the quotient of two such roots. The factor of $\hat x_0$ is the $a$ of DDIM. To see this, insert $\sqrt{\bar\alpha} = (1 - u) / R_u$ into $a$:
#
# $$ a = \frac{1 - u_s}{R_{u_s}} - \frac{u_s R_{u_t}}{u_t R_{u_s}} \cdot \frac{1 - u_t}{R_{u_t}} = \frac{(1 - u_s) - (u_s / u_t) (1 - u_t)}{R_{u_s}} = \frac{1 - u_s / u_t}{R_{u_s}} $$
#
# For example, let the guess be 1, and $x_t = 0.4$ at $u_t = 1/2$. Then $X = 0.707 \cdot 0.4 = 0.283$ and $F = (0.283 - 1) / 0.5 = -1.434$. The step to $u_s = 1/3$ gives $0.283 + (1/3 - 1/2) (-1.434) = 0.522$, and $x_s = 0.522 / 0.745 = 0.700$. In DDIM the levels are $\bar\alpha_t = 0.5$ and $\bar\alpha_s = 0.8$, so $b = 0.632$ and $a = 0.447$, and $0.447 \cdot 1 + 0.632 \cdot 0.4 = 0.700$.
#
# **Exercise 11.6** (prove by a test). You are given a function `row(u_t, u_s)` that returns the two numbers `(a, b)` of Euler's step, for $1 \ge u_t > u_s \ge 0$. Write a test that uses `assert`, and fails unless they are those of DDIM at the noise levels $\bar\alpha = (1 - u)^2 / R_u^2$ of `u_t` and `u_s`. The check tries your test on the right function, and on seven that contain a mistake.


# %% nbgrader={"grade": false, "grade_id": "ex_11_6", "locked": false, "schema_version": 3, "solution": true, "task": false}
def test_of_row(row):
    ### BEGIN SOLUTION
    for u_t, u_s in ((1.0, 0.9), (1.0, 0.2), (0.8, 0.3), (0.5, 0.4), (0.1, 0.0), (1.0, 0.0)):
        abar_t = (1 - u_t) ** 2 / ((1 - u_t) ** 2 + u_t**2)
        abar_s = (1 - u_s) ** 2 / ((1 - u_s) ** 2 + u_s**2)
        a, b = row(u_t, u_s)
        right_b = np.sqrt((1 - abar_s) / (1 - abar_t))
        assert abs(b - right_b) < 1e-9
        assert abs(a - (np.sqrt(abar_s) - right_b * np.sqrt(abar_t))) < 1e-9
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_11_6", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_11_6(test_of_row)

# %% [markdown]
# So a sampler of the flow differs from DDIM only in the noise levels that it visits: those with uniform $u$. The left panel shows the levels of ten rows on both clocks. The right panel is about a Gaussian class with the variance $S$. It shows the variance of samples that were drawn with few rows, divided by $S$. Both are computed exactly. **Predict:** does the flow need fewer rows than the cosine schedule?

# %% alt="Left: the log SNR of nine rows; those of the flow reach from -4.4 to 4.4, and those of the cosine schedule from -3.7 to 3.6. Right: variance divided by S over the number of rows; all curves rise towards 1, and those of flow and cosine schedule almost coincide for each S."
_, (left, right) = plt.subplots(1, 2, figsize=(11, 3), layout="constrained")
counts = (2, 3, 5, 10, 20, 50, 100)
for k, (name, schedule, color) in enumerate((("flow", clock, BLUE), ("cosine", cosine, ORANGE))):
    visited = ddim(schedule, 10).t[1:]
    left.plot(schedule.log_snr[visited], np.full(9, k), "o", color=color)
    for var, style in ((0.25, "o-"), (1.0, "s--")):
        kept = [chain_var(ddim(schedule, n), schedule, var) / var for n in counts]
        right.semilogx(counts, kept, style, ms=4, color=color, label=f"{name}, S = {var:g}")
left.set(xlabel="log SNR (left: noise, right: data)", ylim=(-0.6, 1.6))
left.set_title("levels of ten rows, without the first, at u = 1")
left.set_yticks((0, 1), ("flow", "cosine"))
right.set(xlabel="rows", ylabel="variance / S", title="what few rows keep")
right.set_xticks(counts, counts)
right.minorticks_off()
right.legend(fontsize=8)
plt.show()
rows = euler(clock, 50).rows[:, 2:] - ddim(clock, 50).rows[:, 2:]
print(f"Euler's rows and DDIM's, 50 of them: largest difference {np.abs(rows).max():.0e}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# Hardly. The two clocks visit similar levels, and their curves lie close together. For $S = 1/4$ the flow keeps a little more of the variance, and for $S = 1$ the cosine schedule keeps a little more. So with exact predictions the clock of the flow does not save rows. What training and other solvers change was not measured here.
#
# </details>
#
# ## CFG-Zero*
#
# Fan et al. (arXiv:2503.18886) change the guidance of velocities in two ways. The first is a factor $\nu$ for the velocity without the label, one number per sample, which makes $|F_y - \nu F_\phi|^2$ as small as possible. The derivative of this square in $\nu$ is $-2 \langle F_y - \nu F_\phi, F_\phi \rangle$, which vanishes at
#
# $$ \nu = \langle F_y, F_\phi \rangle / |F_\phi|^2 \qquad F = F_y + w (F_y - \nu F_\phi) $$
#
# Here $\langle F_y, F_\phi \rangle$ is the inner product. For example, $F_y = (2, 1)$ and $F_\phi = (1, 0)$ give $\nu = 2$. At $w = 1$ the result is $(2, 1) + (0, 1) = (2, 2)$, and plain guidance gives $(3, 2)$. The second change sets the whole velocity to zero in the first step (*zero-init*), so that $X$ remains where it is while the clock goes on.
#
# The figure shows class 0 at $w = 3$ with exact velocities. For the last two panels all data were moved by $(0, 3)$, and the samples moved back. The dotted line is the mean height of the class. **Predict:** the factors of $F_y$ and $F_\phi$ are now $1 + w$ and $-w \nu$. Does this rule give the same samples if it is applied to $\epsilon$ or $\hat x_0$ in the place of the velocity? Does it give the same samples if the data are moved?

# %% alt="Five scatter plots of class 0 at w = 3, with a dotted line at the class mean of 1.5. Plain guidance has a mean height of 2.37, 2.34 with zero-init, and 2.37 with moved data. With the factor it is 1.97, and with moved data 1.54, in a wide cloud that ends below in a vertical line."
once, fifty = with_zero_init(euler(clock, 50), clock), euler(clock, 50)
settings = {
    "plain": (plain, fifty, (0.0, 0.0)),
    "plain, zero-init": (plain, once, (0.0, 0.0)),
    "factor": (zero_star, fifty, (0.0, 0.0)),
    "plain, data moved": (plain, fifty, (0.0, 3.0)),
    "factor, data moved": (zero_star, fifty, (0.0, 3.0)),
}
_, panels = plt.subplots(1, 5, figsize=(13, 3), layout="constrained", sharey=True)
for ax, (name, (rule, rows, moved)) in zip(panels, settings.items(), strict=True):
    x = top_class(rule, 3.0, rows, 2000, moved)
    ax.scatter(*x.T, s=2, color=BLUE)
    ax.axhline(1.5, color=GREEN, lw=1, ls=":")
    across, along = x.var(0)
    ax.set(xlim=(-2, 2), ylim=(0, 4), aspect="equal", xlabel="first coordinate")
    title = f"{name}\nheight {x[:, 1].mean():.2f}\nvariances {across:.2f}, {along:.2f}"
    ax.set_title(title, fontsize=9)
panels[0].set_ylabel("second coordinate")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The answer is no to both. The factors no longer add up to 1, so the term $X_u$ of the conversion is multiplied by their sum. The same rule, applied to $\epsilon$ or $\hat x_0$, is therefore a different rule. It also depends on the origin. Here the factor reduces the overshoot from 2.37 to 1.97, and with moved data the height is 1.54. Plain guidance gives 2.37 in both cases. One step of 50 with the velocity zero changes little.
#
# </details>
#
# When can zero be a good velocity? At $u = 1$ the exact outputs are $F_y = X - \mu_y$ and $F_\phi = X - m$, where $\mu_y$ is the mean of the class and $m$, without an index, the mean of all data. The guided velocity is $F_y + w (m - \mu_y)$, so its squared distance from $F_y$ is $w^2 |\mu_y - m|^2$. The squared distance of zero from $F_y$ is $|X - \mu_y|^2$. With $D$ coordinates its mean is $D + |\mu_y|^2$, because $X$ is standard normal. So in the mean square zero is closer to $F_y$ than the guided velocity if
#
# $$ |w| > \sqrt{(D + |\mu_y|^2) / |\mu_y - m|^2} $$
#
# For the three classes $D = 2$, $|\mu_y| = 1.5$ and $m = 0$, so the right side is $\sqrt{4.25 / 2.25} = 1.37$. This compares the velocities of one step. It does not show that the samples are better.
#
# ## The same in torch
#
# This section needs torch (`pip install -c constraints.txt -e '.[torch,notebooks]'`); everything before it runs without. In the package, `Schedule.flow(T)` contains the noise levels of the flow, and `prediction="velocity"` names the kind of output. With both, `solvers.ddim` is Euler's method. `adapters.FlowModel` wraps a network `net(X, u, y)`: it computes $X = R_u x_t$ and $u = t / T$ for it. With `data_at_1=True` it also converts time and sign, as in exercise 11.5.
#
# The cell below trains a small network with the loss of exercise 11.1, written for torch. Three labels in ten are replaced by the null label (sitting 5). This is a large fraction, because without the label the velocity is harder to learn here. **Predict:** the loss cannot go to 0. Near which number does it end? (The averages of two losses over $u$ are printed above the second figure.)

# %% alt="Left: the training loss falls from 3 to about 2.3 within 200 steps and ends close to the dashed line of exact velocities at 2.1. Right: samples in the colours of three classes; the colours are mixed at w = -1, separate at w = 0, and further from the origin and narrower at w = 3."
import torch
from torch import nn

import minicfg
from minicfg import solvers
from minicfg.adapters import FlowModel

torch.set_num_threads(1)


class FlowNet(nn.Module):
    """Predicts the velocity at X (B, 2), u (B,), y (B,) in 0..3."""

    def __init__(self):
        super().__init__()
        self.label = nn.Embedding(4, 16)
        widths = (2 + 3 + 16, 128, 128, 128)
        layers = [part for n, m in pairwise(widths) for part in (nn.Linear(n, m), nn.SiLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(128, 2))

    def forward(self, X, u, y):
        u = u[:, None]
        time = torch.cat([u, torch.cos(torch.pi * u), torch.sin(torch.pi * u)], 1)
        return self.layers(torch.cat([X, time, self.label(y)], 1))


torch.manual_seed(0)
net = FlowNet()
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3000)
rng, history = np.random.default_rng(3), []
for _ in range(3000):
    x0, y = (torch.from_numpy(a) for a in mixture.sample(256, rng))
    x0, eps, u = x0.float(), torch.randn(256, 2), torch.rand(256)
    y = torch.where(torch.rand(256) < 0.3, 3, y)
    X = (1 - u[:, None]) * x0 + u[:, None] * eps
    loss = (net(X, u, y) - (eps - x0)).square().sum(1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    decay.step()
    history.append(loss.item())

model = FlowModel(net, num_classes=3)
table = solvers.ddim(model.schedule, 50, model.prediction)
smooth = np.convolve(history, np.ones(50) / 50, "valid")
fig, panels = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
panels[0].plot(np.arange(50, 3001), smooth, color=BLUE, label="mean of 50 steps")
floor = 0.7 * lowest["exact, with the label"] + 0.3 * lowest["exact, null label"]
panels[0].axhline(floor, color=GREY, ls="--", label="of exact velocities")
panels[0].set(xlabel="step", ylabel="loss", title="training on velocities", ylim=(1.5, 3.5))
panels[0].legend(fontsize=8)
given = torch.arange(600) % 3
for ax, w in zip(panels[1:], (-1.0, 0.0, 3.0), strict=True):
    x = minicfg.sample(model, given, table, shape=(2,), w=w, seed=1)
    ax.scatter(*x.T, s=3, c=np.array(CLASS_COLORS)[given])
    height = x[given == 0, 1].mean()
    ax.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal", title=f"w = {w:g}, height {height:.2f}")
    ax.set(xlabel="first coordinate", ylabel="second coordinate")
plt.show()
in_numpy = euler(clock, 50).rows[1:, 2:4]
in_torch = table.rows[1:, 2:4].numpy()
print(f"a and b, NumPy and torch: {np.abs(in_numpy - in_torch).max():.0e} apart")

# %% [markdown]
# <details><summary>Answer</summary>
#
# Given the label, the lowest loss is the average of $2 S / C_u$ over $u$. Substitute $r = u / (1 - u)$, so that $dr = du / (1 - u)^2$ and $C_u = (1 - u)^2 (S + r^2)$:
#
# $$ \int_0^1 \frac{2 S}{C_u} \, du = \int_0^\infty \frac{2 S}{S + r^2} \, dr = 2 S \cdot \frac{\pi}{2 \sqrt S} = \pi \sqrt S = 1.57 $$
#
# Without the label the average is 3.35 (measured above). Three labels in ten are hidden, so the lowest loss is $0.7 \cdot 1.57 + 0.3 \cdot 3.35 = 2.10$. The training ends close to it.
#
# </details>
#
# At $w = -1$ each colour covers all classes, because the label has no effect. At $w = 0$ the samples belong to their classes. At $w = 3$ the mean height of class 0 (blue) is 2.29, and with exact velocities it is 2.37. Guidance multiplies the errors of both outputs. The rows of both layers agree to rounding. (The first row is left out, because the last beta is 0.999 in NumPy and 1 in torch.)

# %% [markdown]
# ## You now know
#
# - the state of the flow is $(1 - u) x_0 + u \epsilon$, and a network is trained on $\epsilon - x_0$; its best output is the mean velocity $F$ (`tutorial/step21_flow.py`, equations 21.1 and 21.4);
# - points that follow $F$ have the distribution of the states at each time, because only the mean velocity enters the continuity equation (`tutorial/step17_solvers.py`, 17.17);
# - divided by $R_u$ the state is one of the chain; the velocity is an affine view of the best guess, $\hat x_0 = X_u - u F$ (21.2, 21.3, 21.5), so guidance commutes (21.6);
# - Euler's step is a row of DDIM (21.7, 21.8), and only the visited noise levels differ;
# - lines of pairs are straight, and solutions in general are not; one step returns the mean of the data;
# - CFG-Zero* depends on the unit and on the origin (21.9 to 21.12).
#
# In the package: `Schedule.flow`, `prediction="velocity"`, `adapters.FlowModel`, and `minicfg train --schedule flow --prediction velocity`.
#
# ## Five questions
#
# 1. Two lines cross at the same $u$ with the velocities $-3$ and 3. Which output has the lowest loss there, if both pairs are equally likely?
# 2. Why do the solutions not cross, although the lines do?
# 3. A network predicts $\epsilon$ at $\bar\alpha_t = 0.8$. At which time of the flow is that, and by what is its state multiplied?
# 4. Guidance of the velocity is guidance of $\epsilon$ in another unit, because its factors add up to 1. Which term of the conversion would be wrong if they did not?
# 5. Euler's method for a flow and DDIM for a chain visit the same noise levels, with the same guesses and from the same noise. How do their samples differ?
#
# <details><summary>Answers</summary>
#
# 1. The mean, 0. It is the velocity of neither pair.
# 2. At one place and time $F$ has one value, so two solutions that met would be the same one.
# 3. At $u = 1/3$, because $\sigma_t = 1/2$ and $u_t = \sigma_t / (1 + \sigma_t)$. It is multiplied by $R_u = \sqrt{4/9 + 1/9} = 0.745$.
# 4. The term $X_u$ in $\hat x_0 = X_u - u F$ would be multiplied by their sum. Guidance in another unit would then be another rule.
# 5. They do not differ, up to rounding, because Euler's step is the row of DDIM.
#
# </details>
