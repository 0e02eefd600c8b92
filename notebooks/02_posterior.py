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
# **The question.** The forward chain adds noise. We want to go back, one small step at a time. Given $x_t$, where was the chain one step before?
#
# **After this sitting you can** derive the distribution of one step back from two Gaussians, say why its variance is smaller than $\beta_t$ and 0 at the last step, convert a network's output between three units, and clip in the right place.
#
# **You need** sitting 1 and 50 minutes. The notebook runs in a minute, without a GPU. The lectures `tutorial/step04_posterior.py`, `tutorial/step05_best_guess.py` and `tutorial/step06_reverse.py` go deeper. On a hosted machine that has torch already: clone the repository, `pip install -e . -c constraints.txt --no-deps`, and restart the kernel.

# %% alt="Line plot of forty chains over t from 0 to 100. All start at x = 1, spread out over the first forty steps, and then fluctuate around 0, mostly between -2 and 2."
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
# Without more information the answer depends on the unknown data. So first suppose that $x_0$ is known as well. Then everything is Gaussian, and Bayes' rule gives the answer. Bayes' rule for the two events $A$ and $B$ is $p(A | B) = p(B | A) \, p(A) / p(B)$. Here $A$ is the state $x_{t-1}$, $B$ is the state $x_t$, and every density is conditioned on $x_0$ as well:
#
# $$ q(x_{t-1} | x_t, x_0) = \frac{q(x_t | x_{t-1}, x_0) \, q(x_{t-1} | x_0)}{q(x_t | x_0)} $$
#
# The distribution of a step depends on $x_{t-1}$ only: if $x_{t-1}$ is given, $x_0$ has no further influence on $x_t$. So the first factor is $q(x_t | x_{t-1})$:
#
# $$ q(x_{t-1} | x_t, x_0) = \frac{q(x_t | x_{t-1}) \, q(x_{t-1} | x_0)}{q(x_t | x_0)} $$
#
# This density of $x_{t-1}$ is called the *posterior*. The denominator does not depend on $x_{t-1}$. So the posterior is proportional to a product of two Gaussians that you know from sitting 1: one step from $x_{t-1}$ to $x_t$, and one jump from $x_0$ to $x_{t-1}$.
#
# **Before you run the next cell:** as a function of $x_{t-1}$, one factor is centred near $x_t$ and the other near $x_0$. Where is the product, and is it wider or narrower than each factor? The first panel shows them, for $t = 3$ of ten steps; a factor is called a clue there. The other two panels belong to the exercises below.

# %% alt="Left: densities of x at t = 2; the posterior, peak at 0.74, is the narrowest, between the factor from the data point, 0.9, and the wider one from x at t = 3, 0.3. Middle: over t the coefficient of the data point falls from 1 to 0. Right: the variance ratio rises from 0 to 1."
step04_posterior.figure()

# %% [markdown]
# <details><summary>Answer</summary>
#
# It lies between the two, nearer to the narrower one. It is narrower than each, because it is large only where both factors are large.
#
# </details>
#
# ## The product of two Gaussians
#
# For a Gaussian the exponent is $-\frac{1}{2} (x - m)^2 / V$. In a product the exponents add up. Let the means be $m_1, m_2$ and the variances $V_1, V_2$. Leave out the common factor $-\frac{1}{2}$, multiply out the squares, and write dots for what does not depend on $x$:
#
# $$ \frac{(x - m_1)^2}{V_1} + \frac{(x - m_2)^2}{V_2} = \left( \frac{1}{V_1} + \frac{1}{V_2} \right) x^2 - 2 \left( \frac{m_1}{V_1} + \frac{m_2}{V_2} \right) x + \ldots $$
#
# A Gaussian with mean $m$ and variance $V$ has $x^2 / V - 2 (m / V) x + \ldots$ in the same place. Compare the factors of $x^2$ and of $x$:
#
# $$ \frac{1}{V} = \frac{1}{V_1} + \frac{1}{V_2} \qquad \frac{m}{V} = \frac{m_1}{V_1} + \frac{m_2}{V_2} $$
#
# The number $1 / V$ is called the precision. So precisions add up, and the mean is the average of the two means, weighted by their precisions. For example, means 0 and 3 with variances 1 and 0.5 have precisions 1 and 2, so the product has precision 3, variance $1/3$ and mean $(1 \cdot 0 + 2 \cdot 3) / 3 = 2$. Multiply numerator and denominator by $V_1 V_2$ to write both without reciprocals:
#
# $$ V = \frac{V_1 V_2}{V_1 + V_2} \qquad m = \frac{V_2 m_1 + V_1 m_2}{V_1 + V_2} $$
#
# Each mean is multiplied by the variance of the *other* factor. This form also holds if one variance is 0.
#
# Now the two factors. The jump has mean $\sqrt{\bar\alpha_{t-1}} x_0$ and variance $1 - \bar\alpha_{t-1}$. The step $q(x_t | x_{t-1})$ is a density of $x_t$. Its exponent contains $(x_t - \sqrt{\alpha_t} x_{t-1})^2 / \beta_t$. To read it as a function of $x_{t-1}$, pull $\sqrt{\alpha_t}$ out of the square, which becomes a factor $\alpha_t$, and exchange the two terms:
#
# $$ \frac{(x_t - \sqrt{\alpha_t} \, x_{t-1})^2}{\beta_t} = \frac{\alpha_t (x_t / \sqrt{\alpha_t} - x_{t-1})^2}{\beta_t} = \frac{(x_{t-1} - x_t / \sqrt{\alpha_t})^2}{\beta_t / \alpha_t} $$
#
# As a function of $x_{t-1}$ it is a Gaussian with mean $x_t / \sqrt{\alpha_t}$ and variance $\beta_t / \alpha_t$, up to a constant factor.
#
# **Exercise 2.1** (fill in a formula). Write the mean of the posterior. Insert $m_1, V_1$ of the jump and $m_2, V_2$ of the step into the formula for $m$. Then multiply numerator and denominator by $\alpha_t$. The denominator becomes $\alpha_t (1 - \bar\alpha_{t-1}) + \beta_t$, and you know from sitting 1 that this is $1 - \bar\alpha_t$. The result has the form $c_0 x_0 + c_t x_t$ with two numbers $c_0$ and $c_t$. At $t = 1$ it has to be $x_0$.


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
# **The same by simulation:** run half a million chains from $x_0 = 1$, keep those that pass near $x_3 = 0.2$, and see where they were at $t = 2$.

# %% alt="Two histograms of x at t = 2 with a curve. The histogram of the chains that pass near 0.2 at t = 3 is narrower than that of all chains and lies a little to its left. It follows the curve of the posterior, whose peak is at the vertical line of the mean, 0.74."
short = Schedule.linear(10)
chain = forward_chain(np.full((500_000, 1), 1.0), short, rng)
_, x2, x3 = (x[:, 0] for _, x in zip(range(3), chain, strict=False))
kept = x2[np.abs(x3 - 0.2) < 0.02]
posterior = q_posterior(np.array([1.0]), np.array([0.2]), 3, short)
grid = np.linspace(-1.0, 2.4, 200)[:, None]
plt.figure(figsize=(7, 3), layout="constrained")
plt.hist(x2, 80, density=True, color=GREY, alpha=0.4, label="all chains at t = 2")
plt.hist(kept, 50, density=True, color=ORANGE, alpha=0.6, label="those near 0.2 at t = 3")
plt.plot(grid, np.exp(posterior.log_density(grid)), color=RED, label="the posterior")
plt.axvline(posterior_mean(1.0, 0.2, 3, short), color="k", lw=0.8, label="your mean")
plt.xlabel("$x_2$")
plt.ylabel("density")
plt.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## Its variance
#
# The variance is the reciprocal of the sum of the precisions $\alpha_t / \beta_t$ and $1 / (1 - \bar\alpha_{t-1})$. Use the form without reciprocals here as well. The result is called $\tilde\beta_t$.
#
# **Exercise 2.2** (fill in a formula). Write this variance for `t` in 1..T, without a special case for `t = 1`. Which value must it have there, and which entry of the table gives this value?


# %% nbgrader={"grade": false, "grade_id": "ex_2_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
def posterior_var(t, schedule):
    ### BEGIN SOLUTION
    abar, abar_prev = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
    return schedule.beta[t] * (1 - abar_prev) / (1 - abar)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_2_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_2_2(posterior_var)

# %% [markdown]
# <details><summary>Answer</summary>
#
# At $t = 1$ the variance is 0, because the point one step back is $x_0$ itself, which is given. The entry `alpha_bar[0] = 1` makes it 0. So a sampler adds no noise in its last step.
#
# </details>
#
# **Predict:** how much smaller than $\beta_t$ is it at $t = 2$ of this schedule: hardly at all, half as large, or a quarter? And at $t = 100$? In this schedule $\beta_1 = 0.0010$ and $\beta_2 = 0.0030$.

# %% alt="Line plot over t of the posterior variance divided by beta. The ratio is 0 at t = 1, 0.25 at t = 2 and about 0.8 at t = 10, and it is close to 1 from t = 50 on."
times = np.arange(1, 101)
ratio = np.array([posterior_var(t, schedule) / schedule.beta[t] for t in times])
print(f"t = 1: {ratio[0]:.2f}   t = 2: {ratio[1]:.2f}   t = 100: {ratio[99]:.5f}")
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(times, ratio, ".-", color=BLUE)
plt.xlabel("t")
plt.ylabel(r"$\tilde\beta_t / \beta_t$")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# A quarter at $t = 2$. The ratio is $(1 - \bar\alpha_1) / (1 - \bar\alpha_2)$, nearly $\beta_1 / (\beta_1 + \beta_2) = 0.0010 / 0.0040$. At $t = 100$ both numerator and denominator are nearly 1, so the ratio is nearly 1: $x_0$ then contains almost no information about $x_{99}$ beyond that of $x_{100}$.
#
# </details>
#
# Move the slider to see both of your formulas at any `t`, for $x_0 = 1$ and $x_t = -0.5$ in a chain of 50 steps. If the slider does not move (no running kernel), look at the row below it. **Ask yourself:** which of the two factors has the larger precision near `t = 1`, and which near `t = 50`?


# %% alt="Four panels of densities of the state one step back, for t = 2, 5, 10 and 50. At t = 2 the factor from the data point is narrow and the product is next to it; from t = 5 on the product is nearer to the factor from the state. At t = 50 all three are wide."
line, fifty = np.linspace(-2.5, 2.5, 300), Schedule.linear(50)


def at_time(ax, t):
    """Both factors and the product at `t`."""
    alpha, abar_prev = fifty.alpha[t], fifty.alpha_bar[t - 1]
    for mean, var, color, label in (
        (np.sqrt(abar_prev), 1 - abar_prev, GREY, "from $x_0$"),
        (-0.5 / np.sqrt(alpha), (1 - alpha) / alpha, ORANGE, "from $x_t$"),
        (posterior_mean(1.0, -0.5, t, fifty), posterior_var(t, fifty), RED, "yours"),
    ):
        bell = np.exp(-((line - mean) ** 2) / (2 * var)) / np.sqrt(2 * np.pi * var)
        ax.plot(line, bell, color=color, label=label)
    ax.set(title=f"t = {t}", xlabel="$x_{t-1}$")


def show(t):
    """One panel, for the slider."""
    _, ax = plt.subplots(figsize=(4.5, 3), layout="constrained")
    at_time(ax, t)
    plt.show()


slider = ipywidgets.IntSlider(5, min=2, max=50, description="t", continuous_update=False)
ipywidgets.interact(show, t=slider)
fig, panels = plt.subplots(1, 4, figsize=(10, 2.7), layout="constrained", sharey=True)
for ax, t in zip(panels, (2, 5, 10, 50), strict=True):
    at_time(ax, t)
panels[0].set_ylabel("density")
panels[-1].legend(fontsize=8)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# At $t = 2$ the factor from $x_0$ has precision 500, and that from $x_t$ has 98. From $t = 4$ on (33 and 37) the factor from $x_t$ is the narrower one. At $t = 50$ both are wide (1.0 and 1.5), so the posterior is wide as well. So $x_0$ fixes the state only at the very end of the way back.
#
# </details>
#
# ## What a network has to supply
#
# A sampler does not know $x_0$. It puts a guess $\hat x_0$ in its place, and a network supplies the guess. The network may predict the data $x_0$, the noise $\epsilon$, or a combination of both, the *velocity* $v$. Since $x_t$ is known, each of the three gives the other two:
#
# $$ x_t = \sqrt{\bar\alpha_t} \, x_0 + \sqrt{1 - \bar\alpha_t} \, \epsilon \qquad v = \sqrt{\bar\alpha_t} \, \epsilon - \sqrt{1 - \bar\alpha_t} \, x_0 $$
#
# For example, a predicted noise implies the guess
#
# $$ \hat x_0 = (x_t - \sqrt{1 - \bar\alpha_t} \, \epsilon) / \sqrt{\bar\alpha_t} $$
#
# This course mostly predicts the noise, as Ho, Jain and Abbeel (2020) did. Below you see what an error costs in each of the three units, and sitting 3 shows what else the choice changes.
#
# With a guess in the place of $x_0$, the step back is one Gaussian. The true distribution of $x_{t-1}$, given $x_t$ alone, is an average of such Gaussians over all $x_0$, weighted by how probable each $x_0$ is, given $x_t$:
#
# $$ q(x_{t-1} | x_t) = \int q(x_{t-1} | x_t, x_0) \, q(x_0 | x_t) \, dx_0 $$
#
# **Ask yourself:** for data at $\pm 1$, does it look like one Gaussian if the chain has 4 steps? And with 1000? In the picture $t$ is half of $T$ and $x_t = 0$. The dotted *model* is the step with the guess $\hat x_0 = 0$, the mean of the two data points. The dashed curve is a Gaussian with the mean and the variance of the true density.

# %% alt="Three panels of densities of the state one step back. With T = 4 the true density has two peaks, near -0.8 and 0.8, and the model has one high peak between them. With T = 16 both have one peak and the model is narrower, and with T = 1000 the curves lie on top of each other."
step06_reverse.figure()

# %% [markdown]
# <details><summary>Answer</summary>
#
# With 4 steps it has two separate peaks, because the state may come from either data point. The model has its peak between them, where the true density is low. With 1000 steps all three curves agree to the eye. This is why the way back is taken in many small steps.
#
# </details>
#
# **Exercise 2.3** (fill in a formula). Write $c = \sqrt{\bar\alpha_t}$ and $s = \sqrt{1 - \bar\alpha_t}$. Since $c^2 + s^2 = 1$, they are the cosine and the sine of an angle, and the two equations for $x_t$ and $v$ are a rotation of the pair $(x_0, \epsilon)$:
#
# $$ x_t = c \, x_0 + s \, \epsilon \qquad v = -s \, x_0 + c \, \epsilon $$
#
# The inverse of a rotation matrix is its transpose. Rotate back, and return $x_0$ from `v` and `xt`.


# %% nbgrader={"grade": false, "grade_id": "ex_2_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
def x0_from_v(v, xt, t, schedule):
    ### BEGIN SOLUTION
    abar = schedule.alpha_bar[t]
    return np.sqrt(abar) * xt - np.sqrt(1 - abar) * v
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_2_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_2_3(x0_from_v)

# %% [markdown]
# **Predict, then measure.** The output of a network has an error of 0.01. How large is the error of the guess of $x_0$, at small $t$ and at large $t$, for a network that predicts eps and for one that predicts v?

# %% alt="Line plot over t of the error in the guess of the data, on a logarithmic axis. For a network that predicts x0 it is 0.01 throughout, and for v it rises from 0.0003 to 0.01. For eps it rises from 0.0003 at t = 1 to about 2 at t = 100."
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
# <details><summary>Answer</summary>
#
# For v it is at most 0.01. For eps it is multiplied by $\sqrt{(1 - \bar\alpha_t) / \bar\alpha_t}$, the factor of $\epsilon$ in $\hat x_0$: the error is 0.0003 at $t = 1$, 0.035 at $t = 50$ and 2.2 at $t = 100$, where $\bar\alpha_t = 0.00002$. That is larger than the data. So a network that predicts the noise guesses the data precisely at small $t$ and poorly at large $t$.
#
# </details>
#
# If the data lie in $[-1, 1]$, so should the guess of $x_0$, and samplers clip it to this range. Clipping removes the large errors at large $t$.
#
# **Exercise 2.4** (find the mistake). This code clips, but its result does not change. Why? Its last line is the mean of Exercise 2.1 after the guess has been written in eps; the fold below the check has the steps. Correct the mean of the reverse step; `x0_from` and your own functions may help.
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
# <details><summary>Answer</summary>
#
# The code computes a clipped guess and then does not use it: the last line is a formula in eps. The clipped guess must be inserted into the mean of Exercise 2.1.
#
# The formula in eps is right without a clip. Insert $\hat x_0 = (x_t - \sqrt{1 - \bar\alpha_t} \, \epsilon) / \sqrt{\bar\alpha_t}$ into $c_0 \hat x_0 + c_t x_t$. Because $\bar\alpha_t = \alpha_t \bar\alpha_{t-1}$, the first coefficient becomes
#
# $$ \frac{c_0}{\sqrt{\bar\alpha_t}} = \frac{\sqrt{\bar\alpha_{t-1}} \, \beta_t}{(1 - \bar\alpha_t) \sqrt{\bar\alpha_t}} = \frac{\beta_t}{(1 - \bar\alpha_t) \sqrt{\alpha_t}} $$
#
# Times $-\sqrt{1 - \bar\alpha_t}$ this is the factor of $\epsilon$ in the code. The factor of $x_t$ is
#
# $$ \frac{c_0}{\sqrt{\bar\alpha_t}} + c_t = \frac{\beta_t + \alpha_t (1 - \bar\alpha_{t-1})}{(1 - \bar\alpha_t) \sqrt{\alpha_t}} = \frac{1}{\sqrt{\alpha_t}} $$
#
# </details>
#
# What is clipping good for? The next cell shows the error of the mean of a step from $t = 80$, for data at $\pm 1$ and a prediction of eps with normal errors of standard deviation 0.3. By the factor from above, the guess of $x_0$ then has an error of standard deviation 9. **Ask yourself:** which values can the clipped guess have, and why has the blue histogram three peaks?

# %% alt="Two histograms of the error of the mean of x at t = 79. Without a clip it is wide, from about -0.1 to 0.1. With clip = 1 it has three narrow peaks, a high one at 0 and two of less than half its height near -0.012 and 0.012."
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
# <details><summary>Answer</summary>
#
# Most guesses with an error of this size are outside of the range, so the clip moves them to $-1$ or 1. If this is the right data point, the error is 0, the middle peak. If it is the wrong one, the guess is off by 2 and the mean by $2 c_0 = 0.012$, the two outer peaks. The root mean square error falls from 0.052 to 0.008.
#
# </details>

# %% [markdown]
# ## You now know
#
# - if $x_0$ is known, one step back is a product of two Gaussians: precisions add up, and means are weighted by precision (`tutorial/step04_posterior.py`, equations 4.4 to 4.6);
# - its variance is below $\beta_t$, and 0 at $t = 1$: no noise in the last step (4.8);
# - eps, x0 and v are three units of one guess, and the guess of $x_0$ is what is clipped (`tutorial/step05_best_guess.py`, 5.2 to 5.7; `tutorial/step06_reverse.py`, 6.5).
#
# ## Five questions
#
# 1. Two measurements of one length are 2 m and 4 m, with variances 1 and 3. Which length is the most probable, and with which variance?
# 2. Why is the variance of the step back smaller than $\beta_t$?
# 3. Which variance does the last step have, and why?
# 4. What does a network supply, and what is computed without it?
# 5. Why is clipping applied to the guess of $x_0$ and not to $x_t$?
#
# <details><summary>Answers</summary>
#
# 1. The precisions are 1 and $1/3$, so the mean is $(2 + 4/3) / (4/3) = 2.5$ m and the variance is $3/4$.
# 2. $\tilde\beta_t = \beta_t (1 - \bar\alpha_{t-1}) / (1 - \bar\alpha_t)$, and $\bar\alpha_t < \bar\alpha_{t-1}$ makes the ratio less than 1.
# 3. It is 0, because the point one step back is then $x_0$ itself, which is given.
# 4. A guess of $x_0$, in one of three units. The weights and the variance come from the schedule.
# 5. $x_t$ contains noise and may leave the range of the data. $x_0$ may not.
#
# </details>
#
# **Try:** `pytest -m step04`, then write `schedule.beta[t]` for the variance in the lesson and see which tests fail. The torch twin is `minicfg/solvers.py`. Next: sitting 3, how the guess is learned and what the best one is.
