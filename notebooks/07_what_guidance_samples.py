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
# # 7. What guidance samples
#
# **The question.** Guidance was derived from a distribution: that of the class, reweighted by $p(y | x)^w$. Do guided chains sample this distribution? If not, where do they end, which samplers reach it, and what do the usual rules against overshooting do?
#
# **After this sitting you can** write down the distribution that guidance is meant to sample and draw from it by hand, show that a guided chain does not sample it, compute how far off one ends, name three samplers that come near it and the cost of each, and say what the usual rules against overshooting do.
#
# No GPU, a minute of computing, about 85 minutes with the exercises. You need sittings 4 and 6. The lectures `tutorial/step13_tilted.py`, `step19_rules.py`, `step20_weights.py` and appendices H to P go deeper. On a hosted machine that has torch already, do first what `01_forward_process` says.

# %% alt="Two scatter plots of the same 1,500 points. Left: three classes, each a round cloud, at the top, lower left and lower right. Right: the points are coloured by p(y = top given x), which is close to 1 in the top cloud and close to 0 in the others; only a few points at the border have values between."
# %matplotlib inline
import tempfile
from itertools import pairwise
from pathlib import Path

import check
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure

from tutorial.appendix.h_gaussian_pairs import EXAMPLE, ddim_law, ddpm_law, sampled
from tutorial.appendix.i_predictor_corrector import levels
from tutorial.appendix.j_levels import mix, of_mixture
from tutorial.appendix.k_correctors import corrector_step
from tutorial.figures import step13_tilted, step19_rules
from tutorial.figures.appendix import l_feynman_kac, m_gibbs
from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step11_guidance import guide, log_tilted, tilt
from tutorial.step13_tilted import moments_on_grid, tilted_on_grid
from tutorial.step17_solvers import ddim, ddpm, run_steps
from tutorial.step19_rules import top_class
from tutorial.step20_weights import cfgpp, with_interval

plt.rcParams["figure.dpi"] = 72
rng, mixture = np.random.default_rng(0), three_gaussians()
x, y = mixture.sample(1500, rng)
sure = np.exp(mixture.log_class_probability(x)[:, 0])
fig, panels = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
panels[0].scatter(*x.T, s=3, c=np.array(CLASS_COLORS)[y])
dots = panels[1].scatter(*x.T, s=3, c=sure, cmap="viridis")
fig.colorbar(dots, label="$p(y = top | x)$")
for ax, title in zip(
    panels, ("three classes", "how sure a classifier is of the top one"), strict=True
):
    ax.set(xlim=(-3.5, 3.5), ylim=(-3, 3.5), aspect="equal", title=title)
plt.show()

# %% [markdown]
# ## The distribution that was meant
#
# Sitting 4 derived that guidance follows, at every $t$, the gradient of $\log [p(x_t | y) \, p(y | x_t)^w]$. Bayes' rule is $p(y | x_t) = p(y) \, p(x_t | y) / p(x_t)$, and $p(y)$ does not depend on $x_t$. So
#
# $$ p(x_t | y) \, p(y | x_t)^w \propto p(x_t | y)^{1 + w} \, p(x_t)^{-w} $$
#
# At $t = 0$ this belongs to a distribution of data, the **tilted distribution**
#
# $$ p_w(x | y) \propto p(x | y) \, p(y | x)^w $$
#
# It is the class, reweighted: the more clearly $x$ belongs to the class, the more often it occurs.
#
# **Exercise 7.1** (fill in a formula). `p_class` and `p_all` are the densities $p(x | y)$ and $p(x)$ at the points of a grid, whose cells have the size `area`. Return the density of the tilted distribution at these points. It must integrate to 1: its sum over the grid, times `area`.


# %% nbgrader={"grade": false, "grade_id": "ex_7_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def tilted_density(p_class, p_all, w, area):
    ### BEGIN SOLUTION
    tilted = p_class ** (1 + w) * p_all**-w
    return tilted / (tilted.sum() * area)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_7_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_7_1(tilted_density)

# %% [markdown]
# **Predict:** the top class has its mean at a height of 1.5. Where is the mean of the tilted distribution with `w = 3`: at 1.5, 1.8 or 2.4?

# %% alt="Three curves of the density along the height on a logarithmic scale, for w = 0, 1 and 3. They agree above a height of about 1 and have their peak at 1.5; in the lower tail the density is lower for a larger w. The means are 1.500, 1.515 and 1.526."
grid = tilted_on_grid(mixture, 0, 0.0)[0]
height = grid[:, 1].reshape(401, 401)[:, 0]
p_class, p_all = (np.exp(mixture.log_density(grid, label)) for label in (0, None))
plt.figure(figsize=(7, 3), layout="constrained")
for w, color in ((0.0, GREY), (1.0, ORANGE), (3.0, BLUE)):
    density = tilted_density(p_class, p_all, w, 0.02**2).reshape(401, 401)
    along = density.sum(1) * 0.02
    plt.semilogy(height, along, color=color, label=f"w = {w:g}: mean {along @ height * 0.02:.3f}")
plt.xlabel("height")
plt.ylabel("your density along the height")
plt.xlim(-0.5, 3.5)
plt.ylim(1e-3, 1)
plt.legend()
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Near 1.5, as the legend shows. Almost all members of the class have $p(y | x)$ close to 1, so the factor $p(y | x)^w$ changes little.
#
# </details>
#
# ## By hand
#
# The tilted distribution can be sampled without any diffusion. Draw $x$ from the class, compute $p(y | x)$, and keep $x$ with probability $p(y | x)^w$. This is called rejection sampling.
#
# **Exercise 7.2** (prove by a test). You are given a function `kept(p, w, rng)`. `p` has the shape `(n,)` and contains $p(y | x)$ of `n` samples; `rng` is a NumPy generator. It returns `n` booleans, which say which samples are kept. Write a test that fails, by `assert`, if the function keeps with another probability than $p^w$. The check runs it on a right function and on several wrong ones. You choose `p`: with `n` copies of one number you can count a fraction.


# %% nbgrader={"grade": false, "grade_id": "ex_7_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
def test_of_keeping(kept):
    rng = np.random.default_rng(0)
    ### BEGIN SOLUTION
    for w in (0.0, 0.5, 3.0):
        for p in (0.3, 0.8, 1.0):
            share = kept(np.full(10_000, p), w, rng).mean()
            assert abs(share - p**w) < 0.025  # 5 standard errors of a share of 10,000
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_7_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_7_2(test_of_keeping)

# %% [markdown]
# The left panels of the next picture are the paper's figure 2: tilted densities, normalised on a grid; no sampler was run. **Ask yourself:** of 3,000 members of the top class, how many are rejected at `w = 3`? They are red in the right panel.

# %% alt="Three panels with tilted densities of the three classes as shaded contours: from w = 0 to w = 3 a pale gap opens between the classes, and their centres stay where they are. The fourth panel shows samples of the top class: the few rejected ones lie at its lower edge, near the line p(y given x) = 1/2."
fig = Figure(figsize=(14, 3.9), layout="constrained")
step13_tilted.draw_tilted(fig)
fig

# %% [markdown]
# <details><summary>Answer</summary>
#
# 62 of 3,000, about 2 %. They lie near the border to the other classes, where $p(y | x)$ is 1/2 or less, and $(1/2)^3 = 1/8$.
#
# </details>
#
# *The tilted distribution is the class without its few ambiguous members.* No sample is moved.
#
# ## What the chains sample
#
# The black curve in each panel encloses 95 % of the tilted distribution at that $t$, whose score guidance follows there. **Predict:** do the samples, all of the top class with `w = 3` and exact predictions, stay inside it? Which of the two chains leaves it more, DDIM or DDPM?

# %% alt="Nine scatter plots: rows for t = 1000, 500 and 0, each with the curve around 95 % of the tilted distribution. At w = 0 the samples of the class fill it. At w = 3 and t = 0 those of DDIM lie at its upper edge, and those of DDPM mostly inside, slightly too high."
schedule = Schedule.cosine(1000)
model, asked = oracle_eps(mixture, schedule), np.zeros(400, int)
side = np.linspace(-5, 5, 101)
points = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
kinds = (("class, w = 0", ddim, 0.0, GREY), ("DDIM, w = 3", ddim, 3.0, ORANGE))
kinds += (("DDPM, w = 3", ddpm, 3.0, BLUE),)
chains = [
    list(run_steps(model, asked, make(schedule, 40), w, np.random.default_rng(1)))
    for _, make, w, _ in kinds
]


def show_after(panels, k):
    """All three chains after k of 40 rows, on the tilts of their level."""
    for ax, (name, _, w, color), chain in zip(panels, kinds, chains, strict=True):
        t, xt = chain[k]
        p = np.exp(log_tilted(points, t, np.zeros(len(points), int), w, mixture, schedule))
        ordered = np.sort(p / p.sum())
        level = ordered[np.searchsorted(np.cumsum(ordered), 0.05)]
        ax.clear()
        ax.scatter(*xt.T, s=3, color=color)
        ax.contour(side, side, (p / p.sum()).reshape(101, 101), [level], colors="black")
        ax.set(xlim=(-3, 3), ylim=(-2.6, 3.8), aspect="equal", title=name)
    panels[0].set_ylabel(f"t = {chains[0][k][0]}")


fig, rows = plt.subplots(3, 3, figsize=(8, 8), layout="constrained")
for panels, k in zip(rows, (0, 20, 40), strict=True):
    show_after(panels, k)
plt.show()

# %% [markdown]
# The film shows `t` from `T` to 0. **Watch** when the orange samples leave the curve, and whether anything brings them back.

# %% alt="A film of three scatter plots for t from 1000 to 0, with the curve of the tilted distribution. From about t = 500 on nearly all samples of DDIM are in the upper half of the curve or beyond it, and they stay there until t = 0. Those of DDPM lie a little too high, mostly inside."
film = Figure(figsize=(7.5, 2.9))
panels, writer = film.subplots(1, 3), PillowWriter(fps=4)
film.subplots_adjust(left=0.08, right=0.99)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "film.gif"
    with writer.saving(film, path, dpi=60):
        for k in range(0, 41, 4):
            show_after(panels, k)
            for _ in range(6 if k == 40 else 1):
                writer.grab_frame()
    gif = path.read_bytes()
Image(gif)

# %% [markdown]
# Both chains overshoot the mean and shrink the spread, DDIM more. Why? Early in the chain $p(y | x_t)$ is close to $1/3$ for every sample, because $x_t$ is almost noise. So guidance pushes all of them outwards. The tilted distribution would have changed almost none of them, because $p(y | x_0)$ is close to 1 for most of the class. More steps do not help, as the next section shows for Gaussians: even with infinitely many steps the chain ends elsewhere.
#
# ## Where a chain ends, exactly
#
# For Gaussians the end of a chain can be computed. Let the class be $N(0, 1)$ and all data $N(0, 2)$. Write $\tau = (1 - \bar\alpha_t) / \bar\alpha_t$ for the variance of the noise in $x = x_t / \sqrt{\bar\alpha_t}$. Then $x$ has the variance $1 + \tau$ in the class and $2 + \tau$ in all data. The two scores are $-x / (1 + \tau)$ and $-x / (2 + \tau)$, so the guided score is $-k x$ with
#
# $$ k = (1 + w) / (1 + \tau) - w / (2 + \tau) $$
#
# DDIM retains the guess and the predicted noise: $x = \hat x_0 + \sqrt\tau \hat\epsilon$. So a small step changes $x$ by $\hat\epsilon$ times the change of $\sqrt\tau$, which is $d\tau / (2 \sqrt\tau)$. The predicted noise is $-\sqrt\tau$ times the score (sitting 3), here $\sqrt\tau \, k x$. Together
#
# $$ dx / d\tau = \hat\epsilon / (2 \sqrt\tau) = k x / 2 $$
#
# Every $x$ is multiplied by the same number, so the variance $V$ is multiplied by its square: $d \log V / d\tau = 2 \cdot k / 2 = k$. On the way from $\tau$ to 0 it is divided by the exponential of
#
# $$ \int_0^\tau k \, ds = (1 + w) \log (1 + \tau) - w \log (1 + \tau / 2) $$
#
# which is
#
# $$ G(\tau) = (1 + \tau)^{1 + w} (1 + \tau / 2)^{-w} $$
#
# A check: at $w = 0$ it is $1 + \tau$, and the variance $1 + \tau$ becomes 1, that of the class.
#
# **Exercise 7.3** (predict, then measure). A chain starts at a very large $\tau$, with the variance $\tau$. Which variance do its samples have at `w = 3`, to three digits after the point? (The tilted distribution has another one: the reciprocals of the variances mix as the scores do, so it is $1 / ((1 + w) / 1 - w / 2) = 1 / 2.5 = 0.4$.)

# %% nbgrader={"grade": false, "grade_id": "ex_7_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
variance = ...
### BEGIN SOLUTION
variance = 2.0**-3  # tau / G: the powers of tau cancel, and 2^w is left below
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_7_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_7_3(variance)

# %% alt="A histogram of 4,000 samples of DDIM with two normal densities around 0. The histogram follows the narrow density with the predicted variance, whose peak is 1.13. The density of the tilted distribution is wider, and its peak is 0.63."
_, by_ddim = sampled(3.0, n=4000, T=128)
line = np.linspace(-2, 2, 200)
plt.figure(figsize=(7, 3), layout="constrained")
plt.hist(by_ddim[:, 1], 50, density=True, color=ORANGE, alpha=0.4, label="DDIM, 4,000 samples")
for name, var, color in (("your variance", variance, ORANGE), ("tilted distribution", 0.4, GREY)):
    normal = np.exp(-(line**2) / 2 / var) / np.sqrt(2 * np.pi * var)
    plt.plot(line, normal, color=color, label=name)
plt.xlim(-2, 2)
plt.xlabel("a coordinate, class $N(0, 1)$ in $N(0, 2)$")
plt.legend(fontsize=8)
plt.show()
print(f"measured: {by_ddim[:, 1].var():.2f}")

# %% [markdown]
# Move the slider to see every `w`, with the mean of the class at 1. If the slider does not move (no running kernel), look at the row of four below it. **Ask yourself:** at which `w` do all three distributions agree? There are two, and one is negative.


# %% alt="Four panels with the densities of the tilted distribution, DDPM and DDIM for w = -1, 0, 2 and 4. For w = -1 and 0 the three curves coincide. For w = 2 and 4 the tilted density is leftmost and widest, that of DDPM is next, and that of DDIM is rightmost and narrowest."
def three_laws(ax, w):
    """The tilted distribution and where both chains end, along the axis on which the class is moved."""
    at = np.linspace(-3, 5, 300)
    for name, law_of, color in zip(
        ("tilted", "DDPM", "DDIM"), (tilt, ddpm_law, ddim_law), (GREY, BLUE, ORANGE), strict=True
    ):
        law = law_of(*EXAMPLE, w)
        normal = np.exp(-((at - law.mean[0]) ** 2) / 2 / law.var) / np.sqrt(2 * np.pi * law.var)
        ax.plot(at, normal, color=color, label=name)
    ax.set(title=f"w = {w:g}", ylim=(0, 2), xlabel="x")


def at_weight(w):
    """One panel, for the slider."""
    _, ax = plt.subplots(figsize=(5, 3), layout="constrained")
    three_laws(ax, w)
    ax.legend(fontsize=8)
    plt.show()


weight = ipywidgets.FloatSlider(2.0, min=-1.0, max=6.0, step=0.25, description="w")
ipywidgets.interact(at_weight, w=weight)
fig, panels = plt.subplots(1, 4, figsize=(10, 2.6), layout="constrained", sharey=True)
for ax, w in zip(panels, (-1.0, 0.0, 2.0, 4.0), strict=True):
    three_laws(ax, w)
panels[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# At $w = 0$, the class, and at $w = -1$, all data: there the guided score is the score of a distribution of noised data at every $t$.
#
# </details>
#
# *This is about half of the sitting, and a place for a break. When you come back, run the cells above again.*
#
# ## Samplers of the tilted distribution
#
# **Langevin steps.** With a score $s$ and a small $\delta$, the step $x + \delta s / 2 + \sqrt\delta z$ leaves the distribution with this score nearly unchanged. For $N(0, 1)$ the variance becomes $(1 - \delta / 2)^2 + \delta = 1 + \delta^2 / 4$, so the error is of second order in $\delta$. Repeated at one $\tau$, the step leads near this distribution from any start. So take a step of DDIM to the next $\tau$, and then $n$ Langevin steps towards the tilted distribution of this level. They are called correctors.
#
# **Exercise 7.4** (find the mistake). In the following corrector, `step` is the variance of the noise. Its samples end in a distribution that is too narrow. Correct it. To test a guess: for $N(0, 1)$ the score is $-x$, and a small step must leave a variance of 1 unchanged.
#
# ```python
# return x + step * s + np.sqrt(step) * z
# ```


# %% nbgrader={"grade": false, "grade_id": "ex_7_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def one_corrector(x, s, step, z):
    ### BEGIN SOLUTION
    return x + step / 2 * s + np.sqrt(step) * z
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_7_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_7_4(one_corrector)

# %% [markdown]
# Your corrector in a chain of 30 levels at `w = 3`. **Predict:** how many correctors per level does it need? Each costs as much as a step of DDIM.

# %% alt="Three scatter plots of samples on contours of the tilted distribution, for n = 0, 2 and 10 correctors per level. Without correctors the samples lie at the upper edge of the contours, with a mean height of 2.38 and a variance of 0.07. With n = 2 the height is 1.78, and with n = 10 it is 1.55."
scores, taus = of_mixture(mixture, 0), levels(30, 1e4, 1e-3)
aim = tilted_on_grid(mixture, 0, 3.0)
(_, high), cov = moments_on_grid(*aim)
fig, panels = plt.subplots(1, 3, figsize=(8, 3.4), layout="constrained", sharey=True)
for ax, n in zip(panels, (0, 2, 10), strict=True):
    x = 100 * rng.standard_normal((600, 2))
    for tau, later in pairwise(taus):
        x = x + (tau - np.sqrt(tau * later)) * mix(scores(x, tau), 3.0)  # DDIM
        step = corrector_step(later, 3.0, 0.25, 0.3)
        for _ in range(n):
            x = one_corrector(x, mix(scores(x, later), 3.0), step, rng.standard_normal(x.shape))
    ax.scatter(*x.T, s=3, color=ORANGE)
    ax.contour(aim[1].reshape(401, 401), 5, extent=(-4, 4, -4, 4), colors=GREY)
    ax.set(xlim=(-1.8, 1.8), ylim=(-0.4, 3.6), aspect="equal")
    ax.set(
        title=f"n = {n}: height {x[:, 1].mean():.2f}", xlabel=f"variance along {x[:, 1].var():.2f}"
    )
plt.show()
print(f"tilted distribution: height {high:.2f}, variance along {cov[1, 1]:.2f}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# About ten here. Without correctors the mean height is 2.38 and the variance along the height 0.07; with two they are 1.78 and 0.23; with ten 1.55 and 0.24. The tilted distribution has 1.53 and 0.23. Ten correctors per level are eleven evaluations for each one of DDIM.
#
# </details>
#
# **Weights** (Feynman and Kac). Leave the chain as it is, and give each sample a weight that corrects for the difference between what it samples and what it should sample (appendix L). **Ask yourself:** what is left of a few hundred samples if two of them have nearly all the weight?

# %% alt="Three plots over w. Left: the variance of weighted DDPM samples follows that of the tilted distribution, and with equal weights it is lower, 0.22 against 0.33 at w = 4. Middle: the exact effective sample size falls from 1 to 0 above w = 3; right: the mean weight falls to 0.6 of the exact mass."
l_feynman_kac.figure()

# %% [markdown]
# **Noise and denoise** (Gibbs). Start from samples of the class, add a little noise, remove it with guidance, and repeat. Where the noise is small, the error of guidance is small for most samples (appendix M). **Ask yourself:** why not take the smallest noise of all?

# %% alt="Left: error of the guided score over the height for three noise variances; at 0.01 it is a narrow bump near 0, away from the class mean at 1.5. Middle: errors at samples grow with the noise. Right: the final variance falls from 0.5, the tilted one, at low noise to 0.25, that of DDIM, at high noise."
m_gibbs.figure()

# %% [markdown]
# <details><summary>Answers</summary>
#
# Then only two samples count: the effective number of samples is about two. And with very little noise a round moves a sample very little, so many rounds are needed.
#
# </details>
#
# `tutorial/appendix/n_costs.py` compares the three: distance to the tilted distribution against evaluations of the network. Most of them take several times the evaluations of a plain chain. A few rounds of one step can take fewer, if the class is near its tilted distribution. All were measured with exact scores.
#
# ## Rules
#
# In practice the mixture is changed by a rule instead. **Predict,** before you look: below are five rules at `w = 3`, with the class itself in grey. Which one brings the height back, and which one the spread?

# %% alt="Five scatter plots of samples at w = 3 over the class in grey, whose mean height is 1.5. Plain guidance lies above the class. Rescaling each point scatters the samples to the upper right, rescaling as one picture lowers them in part, and both thresholds press them against a flat edge at 2, below which they are narrow."
fig = Figure(figsize=(12, 3.2), layout="constrained")
step19_rules.draw_rules(fig)
fig

# %% [markdown]
# <details><summary>Answer</summary>
#
# None restores both. The thresholds bring the height down, because no coordinate can exceed 2, but they press many samples against this bound, and the samples are narrow below it. Rescaling all samples together, as one picture, brings back part of both. Rescaling each point by itself gives another distribution altogether: two numbers are too few for a standard deviation.
#
# </details>
#
# **Exercise 7.5** (find the mistake). *Rescaling* brings the standard deviation of a mixture back to that of the conditional prediction, by the fraction `phi`; `phi = 0` is plain guidance. With this code the result for an image depends on the other images of its batch. Correct it for images of shape `(n, C, H, W)`, with one standard deviation per image, over all of its numbers. A mixture with standard deviation 0 stays as it is.
#
# ```python
# g = guide(cond, null, w)
# return phi * cond.std() / g.std() * g + (1 - phi) * g
# ```


# %% nbgrader={"grade": false, "grade_id": "ex_7_5", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bring_back(cond, null, w, phi):
    ### BEGIN SOLUTION
    g = guide(cond, null, w)
    of_cond, of_g = (a.std((1, 2, 3), keepdims=True) for a in (cond, g))
    ratio = np.divide(of_cond, of_g, out=np.ones_like(of_g), where=of_g > 0)
    return phi * ratio * g + (1 - phi) * g
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_7_5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_7_5(bring_back)

# %% alt="Three nearly straight lines for w from 0 to 6. The standard deviation of the mixture grows from 1.1 to about 9 for phi = 0 and to 3.4 for phi = 0.7, and it stays at 1.1 for phi = 1."
cond, null = rng.standard_normal((2, 1, 1, 8, 8))
shares, weights = np.linspace(0, 1, 21), np.linspace(0, 6, 25)
plt.figure(figsize=(7, 3), layout="constrained")
for phi, color in ((0.0, GREY), (0.7, ORANGE), (1.0, BLUE)):
    of_mix = [bring_back(cond, null, w, phi).std() for w in weights]
    plt.plot(weights, of_mix, color=color, label=f"phi = {phi}")
plt.xlabel("w")
plt.ylabel("standard deviation of your mix")
plt.legend()
plt.show()

# %% [markdown]
# **APG** splits the difference that guidance adds into a part parallel to the guess and a part orthogonal to it, and drops the parallel part. **Predict:** the class lies straight above the origin. What changes if all data are moved aside by 6, as in the third panel? Should a rule depend on where the origin is?

# %% alt="Five scatter plots over the class in grey, whose mean height is 1.5. Without the parallel part the samples of APG lie much lower than those of plain guidance and end in a thin vertical line; with all data moved by (6, 0) they lie as high. With a limited difference or momentum they lie between these."
fig = Figure(figsize=(12, 3.2), layout="constrained")
step19_rules.draw_apg(fig)
fig

# %% [markdown]
# <details><summary>Answer</summary>
#
# With the origin below the class, the parallel part is most of the difference, and dropping it removes most of the overshoot. Moved aside by 6, the guess points sideways from the origin, the difference is nearly orthogonal to it, and APG is almost plain guidance. A change of coordinates should not change the samples; for pictures the origin is a grey picture, so there it has a meaning, but it remains a choice.
#
# </details>
#
# Two more rules are only other numbers in the table of the solver: guidance in a **limited interval** of log SNR, and **CFG++**, which puts the noise back with the null prediction. **Predict:** the samples of a solver should converge as the number of rows grows. Do those of CFG++?

# %% alt="Left: bars of the overshoot of the mean height for guidance in one window of log SNR; they are high between -6 and 2, and the highest is 0.46 between -2 and 0. Right: the mean height over the number of rows stays at 2.4 for DDIM and rises from 1.5 to 2.9 for CFG++."
fig, (window, settle) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
lows, table = np.arange(-8, 6, 2), ddim(schedule, 50)
for low in lows:
    x = top_class(table=with_interval(table, schedule, float(low), float(low) + 2), n=400)
    window.bar(low + 1, x[:, 1].mean() - 1.5, width=1.8, color=BLUE)
window.set(xlabel="log SNR: w = 3 in a window of 2, else 0", ylabel="overshoot of the mean height")
counts = (5, 10, 20, 50, 100)
for name, make, w, color in (
    ("CFG++, w = -0.4", cfgpp, -0.4, ORANGE),
    ("DDIM, w = 3", ddim, 3.0, BLUE),
):
    heights = [top_class(w=w, table=make(schedule, n), n=300)[:, 1].mean() for n in counts]
    settle.semilogx(counts, heights, "o-", color=color, label=name)
settle.axhline(1.5, color=GREY, ls=":", label="the class")
settle.set_xticks(counts, [str(n) for n in counts])
settle.minorticks_off()
settle.set(xlabel="rows", ylabel="mean height")
settle.legend(fontsize=8)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Those of CFG++ do not converge here: the mean height grows from 1.5 with 5 rows to 2.9 with 100, while that of DDIM stays at 2.4. With $\sigma^2 = (1 - \bar\alpha) / \bar\alpha$, a step of CFG++ is a step of DDIM with the weight $(1 + w) \sigma_t / (\sigma_t - \sigma_s) - 1$ (20.6), which grows as the rows become shorter. So its `w` has a meaning only together with the number of rows. The left panel shows that nearly all of the overshoot comes from log SNR between -6 and 2.
#
# </details>

# %% [markdown]
# ## You now know
#
# - the tilted distribution is $p(x | y)^{1 + w} p(x)^{-w}$, normalised: the class without its ambiguous members (`tutorial/step13_tilted.py`, equations 13.1 to 13.3);
# - guided chains overshoot it and shrink, DDIM more than DDPM and Algorithm 2, however many the steps (`tutorial/step13_tilted.py`; `tutorial/appendix/h_gaussian_pairs.py`, H.1 to H.4);
# - Langevin steps at each level come near it, as do rounds of a little noise and, with enough chains, weights, each at its cost (`tutorial/appendix/k_correctors.py`, K.1 to K.4; `tutorial/appendix/n_costs.py`);
# - rules bound a sample, in one unit and relative to one origin, or act for part of the time; none samples the tilted distribution (`tutorial/step19_rules.py`, `tutorial/step20_weights.py`).
#
# ## Five questions
#
# 1. What does the tilted distribution do with a sample for which $p(y | x) = 0.99$, and with one for which it is 0.5, at $w = 3$?
# 2. Guidance follows the score of the tilted distribution of each level. Why does a chain of small steps still not sample the one at $t = 0$?
# 3. In the example of 7.3, which variance do the samples of DDIM have at $w = 1$, and which one has the tilted distribution?
# 4. Why does the score in a Langevin step have the factor $\delta / 2$ and not $\delta$?
# 5. Why must rescaling use one standard deviation per image?
#
# <details><summary>Answers</summary>
#
# 1. It keeps them with the probabilities $0.99^3 = 0.97$ and $0.5^3 = 0.125$.
# 2. A step of a chain moves samples from the distribution of one level to that of the next only if the score belongs to data with noise. The tilted distributions of the levels are not noised versions of the one at $t = 0$.
# 3. $\tau / G(\tau)$ with $G = (1 + \tau)^2 / (1 + \tau / 2)$, which tends to $1/2$. The tilted distribution has $1 / (2 - 1/2) = 2/3$.
# 4. The noise adds the variance $\delta$, and the score must remove as much. For $N(0, 1)$ the factor $\delta / 2$ does: $(1 - \delta / 2)^2$ is about $1 - \delta$.
# 5. With one for the batch, a sample would depend on the other samples that are drawn with it.
#
# </details>
#
# **Try:** `pytest -m appendix_k`, then leave the noise out of the lesson's corrector. The torch twins of the rules are in `minicfg/guidance.py`, the tables in `minicfg/solvers.py`. Next: `08_a_unet_on_glyphs`.
