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
# **The question.** A network that is given a label draws samples of that class, but some of them are not clear members of it. Can we make them clearer, without training anything new?
#
# **After this sitting you can** derive guidance from Bayes' rule, write it in one line and in both conventions, say what the network predicts for the null label, mix and clip in the right order, and say what a larger weight gains and loses.
#
# **You need** sittings 1 to 3, and 65 minutes. The notebook runs in a minute, without a GPU. The lectures `tutorial/step09_condition.py` to `step12_trade_off.py` go deeper. On a hosted machine that has torch already: clone the repository, `pip install -e . -c constraints.txt --no-deps`, and restart the kernel.

# %% alt="Two scatter plots. Left: samples with the label 0 form one round class with its centre near (0, 1.5), and a few of them lie near or below the height 0. Right: samples with the null label form three round classes at the corners of a triangle."
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
for ax, label, title in ((panels[0], 0, "with the label 0"), (panels[1], null, "null label")):
    x = ancestral_sample(model, np.full(600, label), schedule, 0.0, rng)
    ax.scatter(*x.T, s=3, color=CLASS_COLORS[0] if label == 0 else GREY)
    ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title=title)
    if label == 0:
        likeliest = mixture.log_class_probability(x).argmax(1)
        print(
            f"{(likeliest != 0).mean():.1%} of the samples with the label 0 fit another class better"
        )
plt.show()

# %% [markdown]
# The left panel shows samples of class 0, the right one samples of all three classes. The oracle drew both here. A network would be trained with the label for most examples and with a special value, the *null label*, for the others.
#
# **What is the null label for?** Guidance, below, compares what is probable for class $y$ with what is probable for all data. It needs both predictions at every $x_t$. Two networks could supply them, one trained with labels and one without. The null label is one more class, of which every example may be a member. With it one network learns both, and is evaluated twice:
#
# - $\epsilon_y = \epsilon(x_t, y)$, if $x_t$ came from an example of class $y$;
# - $\epsilon_\phi = \epsilon(x_t, \phi)$, if it came from any example. Here $\phi$ is the null label, the integer `K` in code.
#
# A few samples at the left lie where another class is more likely; for the data set at the end of this sitting it is one in fourteen (there the accuracy at $w = 0$ is 0.927). This is no error of the oracle: the classes overlap, and so do their samples. But if you ask for a picture of a seven, you want one that is clearly a seven.
#
# ## A classifier for free
#
# How clearly $x_t$ belongs to class $y$ is measured by $p(y | x_t)$. The gradient of $\log p(y | x_t)$ is the direction in which it grows fastest. Samples become clearer if each step also moves $x_t$ in this direction. A classifier could be trained for this; that is *classifier guidance*. It costs a second network, which has to be trained on noisy examples of every $t$. Bayes' rule shows that we have this gradient already:
#
# $$ p(y | x_t) = p(x_t | y) \, p(y) / p(x_t) $$
#
# Take the logarithm, and then the gradient with respect to $x_t$. The term $\log p(y)$ does not depend on $x_t$ and drops out:
#
# $$ \nabla \log p(y | x_t) = \nabla \log p(x_t | y) - \nabla \log p(x_t) $$
#
# The right side is a difference of two scores. In sitting 3 you saw that a score is the predicted noise in another unit:
#
# $$ \nabla \log p(x_t | y) = -\epsilon_y / \sqrt{1 - \bar\alpha_t} \qquad \nabla \log p(x_t) = -\epsilon_\phi / \sqrt{1 - \bar\alpha_t} $$
#
# **Exercise 4.0** (a classifier for free). Return $\nabla \log p(y | x_t)$ from the two predictions. `abar` is $\bar\alpha_t$. No classifier is trained: this is what *classifier-free* means. The two predictions together act as a classifier that is implied by Bayes' rule.


# %% nbgrader={"grade": false, "grade_id": "ex_4_0", "locked": false, "schema_version": 3, "solution": true, "task": false}
def free_classifier(eps_cond, eps_null, abar):
    ### BEGIN SOLUTION
    return (eps_null - eps_cond) / np.sqrt(1 - abar)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_4_0", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_4_0(free_classifier)

# %% [markdown]
# The toy data have a known $p(y | x_t)$, so the gradient can also be found without any network, by finite differences. The two agree:

# %% alt="Arrows in the plane over V-shaped contours of p(class 0 given x) at t = 40. Below the contours the arrows are long and point upwards and towards the middle. They become shorter across the contours and are only dots above them, inside class 0."
t, h = 40, 1e-5
points = rng.standard_normal((5, 2))
exact = np.zeros((5, 2))
at_t = noised(mixture, t, schedule)
for i in range(2):
    forward, backward = points.copy(), points.copy()
    forward[:, i] += h
    backward[:, i] -= h
    difference = at_t.log_class_probability(forward) - at_t.log_class_probability(backward)
    exact[:, i] = difference[:, 0] / (2 * h)
yours = free_classifier(
    model(points, t, np.zeros(5, int)), model(points, t, np.full(5, null)), schedule.alpha_bar[t]
)
print(f"largest difference to finite differences: {np.abs(yours - exact).max():.1e}")

side = np.linspace(-2.6, 2.6, 16)
grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
arrows = free_classifier(
    model(grid, t, np.zeros(256, int)), model(grid, t, np.full(256, null)), schedule.alpha_bar[t]
)
fig, ax = plt.subplots(figsize=(4, 4), layout="constrained")
ax.contour(side, side, np.exp(at_t.log_class_probability(grid)[:, 0]).reshape(16, 16), colors=GREY)
ax.quiver(*grid.T, *arrows.T, color=CLASS_COLORS[0])
ax.set(
    aspect="equal",
    title=f"grey: p(class 0 | x_t) at t = {t}\narrows: your gradient of its logarithm",
)
plt.show()

# %% [markdown]
# ## Guidance
#
# Now follow this gradient. Give it the weight $w$, and add it to the score of the class:
#
# $$ \nabla \log p(x_t | y) + w \nabla \log p(y | x_t) $$
#
# This is the gradient of $\log [ p(x_t | y) \, p(y | x_t)^w ]$. For $w > 0$ this product prefers those $x_t$ of class $y$ that are clear members of it. The distribution that one hopes to sample is the same product for the data, divided by its integral: the *tilted distribution*, proportional to $p(x_0 | y) \, p(y | x_0)^w$. Whether the chains sample it is a question for the end of this sitting. Insert the two scores and your result:
#
# $$ -\epsilon_y / \sqrt{1 - \bar\alpha_t} + w (\epsilon_\phi - \epsilon_y) / \sqrt{1 - \bar\alpha_t} $$
#
# $$ = -[\epsilon_y + w (\epsilon_y - \epsilon_\phi)] / \sqrt{1 - \bar\alpha_t} $$
#
# The bracket stands where the predicted noise stood. So guidance is one line: replace $\epsilon_y$ by the bracket, and leave the sampler as it is. Collect the factors, as Ho and Salimans do:
#
# $$ \epsilon_y + w (\epsilon_y - \epsilon_\phi) = (1 + w) \, \epsilon_y - w \, \epsilon_\phi $$
#
# In $1 + w$, the 1 is the score of the class, and the $w$ comes from the classifier, whose gradient contains the same score once more. The $-w$ is the classifier's other part, the score of all data, which is subtracted. The factors add up to 1. For example, if $\epsilon_y = 0.5$, $\epsilon_\phi = 0.2$ and $w = 2$, it is $0.5 + 2 \cdot 0.3 = 1.1$.
#
# **Exercise 4.1** (fill in a formula). Write the guided prediction of the noise. Check two ends before you run the cell: `w = 0` gives the conditional prediction, and `w = -1` the unconditional one.


# %% nbgrader={"grade": false, "grade_id": "ex_4_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_guide(eps_cond, eps_null, w):
    ### BEGIN SOLUTION
    return eps_cond + w * (eps_cond - eps_null)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_4_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_4_1(my_guide)

# %% [markdown]
# **Predict:** the first three panels show the noised data at one $t$, with arrows in the direction of the guided score of class 0 for three weights. (The fourth belongs to Exercise 4.4.) Which arrows grow with $w$: those between the classes, or those inside class 0?

# %% alt="First three: arrows of the score over the shaded density, to all three modes at w = -1, to class 0 at w = 0, and at w = 3 much longer ones below class 0. Fourth: the guided guess at w = 3 reaches 5 if clipped first, and stays between -1 and 1 if clipped last."
fig = Figure(figsize=(14, 3.6), layout="constrained")
step11_guidance.draw_guidance(fig)
fig

# %% [markdown]
# <details><summary>Answer</summary>
#
# Those between the classes grow. There the two predictions differ, because the label decides where $x_t$ came from. Deep inside class 0 the probability $p(0 | x_t)$ is close to 1 without a label. There nearly all data that may have led to $x_t$ are of class 0, so $\epsilon_y - \epsilon_\phi$ is close to 0, and guidance changes almost nothing.
#
# </details>

# %% [markdown]
# ## The null label
#
# What should the network predict for the null label? The squared error makes it predict the mean of the noise, given $x_t$ only (sitting 3). The label is then unknown, so this mean is an average over the labels that $x_t$ may have:
#
# $$ \epsilon_\phi = \sum_y (\text{weight of } y) \; \epsilon_y $$
#
# **Ask yourself:** which weights? Near class 0, should class 2 count as much as class 0?
#
# **Exercise 4.2** (fill in a formula). `each` has the shape `(K, n, 2)` and contains the predictions for each class. `p` has the shape `(n, K)` and contains $p(y | x_t)$ of each point. `shares` has the shape `(K,)` and contains the fraction of the data in each class. Return the prediction for the null label, of shape `(n, 2)`. You may not need all three.


# %% nbgrader={"grade": false, "grade_id": "ex_4_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
def null_answer(each, p, shares):
    ### BEGIN SOLUTION
    return (p.T[:, :, None] * each).sum(0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_4_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_4_2(null_answer)

# %% alt="Line plot of the vertical component of eps over the vertical coordinate. Class 0, and class 1 or 2 above it, are parallel rising lines. The dashed null prediction follows the upper line up to about -1, goes over to the lower one, and follows it from 1 on."
line, t = np.stack([np.zeros(121), np.linspace(-3, 3, 121)], 1), 40
each = np.stack([model(line, t, np.full(121, k)) for k in range(3)])
p = np.exp(noised(mixture, t, schedule).log_class_probability(line))
plt.figure(figsize=(7, 3), layout="constrained")
for k, name in ((0, "class 0"), (1, "class 1 or 2: mirror images")):
    plt.plot(line[:, 1], each[k, :, 1], color=CLASS_COLORS[k], label=name)
plt.plot(line[:, 1], null_answer(each, p, mixture.weights)[:, 1], "k--", label="null, yours")
plt.xlabel("vertical coordinate, on a line through the middle of class 0, which is at the right")
plt.ylabel("vertical component of eps")
plt.legend(fontsize=8)
plt.show()

# %% [markdown]
# The weights are $p(y | x_t)$, the probabilities of the labels given this $x_t$. Where only one class is possible, the null prediction is that of the class, and guidance changes nothing.
#
# They come from splitting the mean by cases: $E[\epsilon | x_t] = \sum_y p(y | x_t) \, E[\epsilon | x_t, y]$.
#
# **When** in the chain does a label help most? It depends on the unit. In the unit of eps its effect is largest near $t = 50$ and 0 at both ends. Its effect on the guess of $x_0$ grows up to $t = T$, where the guess is the mean of all data without a label, and the mean of the class with one. The left panel shows the three predictions of the last picture once more, with $p(0 | x_t)$ as shading. The right panel shows the effect of the label on the prediction of eps, its effect on the guess of $x_0$, and how uncertain the label is when only $x_t$ is known.

# %% alt="Left: where the shading, p(0 given x), rises from 0 to 1, the prediction without a label goes over from the line of class 1 or 2 to that of class 0. Right, over t: the effect on eps is largest, 0.6, near t = 50; that on the guess of the data rises to 2.25, the entropy to 1.1."
fig = Figure(figsize=(11, 3.6), layout="constrained")
step09_condition.draw_condition(fig)
fig

# %% [markdown]
# ## Two conventions
#
# Many libraries start from the null prediction. They write $\epsilon_\phi + s (\epsilon_y - \epsilon_\phi)$ and call $s$ `guidance_scale`. The same mixture has two names. Collect the factors:
#
# $$ \epsilon_\phi + s (\epsilon_y - \epsilon_\phi) = s \, \epsilon_y + (1 - s) \, \epsilon_\phi $$
#
# Compare this with $(1 + w) \epsilon_y - w \epsilon_\phi$: the factors of $\epsilon_y$ are $s$ and $1 + w$.
#
# **Exercise 4.3** (predict, then measure). A pipeline uses `guidance_scale=7.5`. Which `w` is that here?

# %% nbgrader={"grade": false, "grade_id": "ex_4_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
w = ...
### BEGIN SOLUTION
w = 6.5
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_4_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_4_3(w)

# %% alt="Line plot of the vertical component of eps over the vertical coordinate. The curves for the scale 7.5 and for w = 6.5 coincide and rise from -18 to 2. The curve of the mistake, w = 7.5, is about 2 lower at the left and joins them near 1."
cond, none = model(line, t, np.zeros(121, int)), model(line, t, np.full(121, null))
theirs = none + 7.5 * (cond - none)
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(line[:, 1], theirs[:, 1], lw=4, alpha=0.4, label="theirs, scale 7.5")
plt.plot(line[:, 1], my_guide(cond, none, w)[:, 1], "k--", label=f"yours, w = {w}")
plt.plot(line[:, 1], my_guide(cond, none, 7.5)[:, 1], ":", label="a mistake: w = 7.5")
plt.xlabel("vertical coordinate, on the same line")
plt.ylabel("vertical component of eps")
plt.legend()
plt.show()

# %% [markdown]
# ## Mix, then clip
#
# A network may predict the noise, the data or v. Guidance gives the same result in all three units. For example, the guess of $x_0$ is $p \, x_t + q \, \epsilon$ with numbers $p$ and $q$ that depend on $t$ only (sitting 2). Mix the two guesses:
#
# $$ (1 + w) (p \, x_t + q \, \epsilon_y) - w (p \, x_t + q \, \epsilon_\phi) = p \, x_t + q \, [(1 + w) \, \epsilon_y - w \, \epsilon_\phi] $$
#
# The factors of $p \, x_t$ add up to 1, so the result is the guess of the mixed noise. Clipping the guess of $x_0$ to the range of the data is not affine: a guess outside is moved, a guess inside is not. So the order matters.
#
# **Exercise 4.4** (find the mistake). This code was meant to keep the guided guess of $x_0$ in $[-clip, clip]$, but its result leaves this range. Correct it.
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

# %% alt="Line plot of the guided guess over the null guess, with the range from -1 to 1 shaded. Clipped first, the guided guess is 5 for null guesses below -1 and then falls in a straight line to -1. Clipped last, it is 1 until it meets this line, and never leaves the range."
x0_null = np.linspace(-3, 3, 301)
first = my_guide(np.full(301, 0.5), np.clip(x0_null, -1, 1), 3.0)
plt.figure(figsize=(7, 3), layout="constrained")
plt.axhspan(-1, 1, color=GREY, alpha=0.2, label="range of the data")
plt.plot(x0_null, first, "--", label="clipped first")
plt.plot(x0_null, guided_guess(np.full(301, 0.5), x0_null, 3.0, 1.0), label="yours")
plt.xlabel("null guess; the conditional one is 0.5, w = 3")
plt.ylabel("guided guess")
plt.legend()
plt.show()

# %% [markdown]
# <details><summary>What does the order change?</summary>
#
# If both guesses and their mixture are inside the range, nothing. Otherwise two things change. *The range:* the mixture of two clipped guesses can be anywhere between $-(1 + 2w)$ and $1 + 2w$ times the clip, because $1 + w$ and $w$ are the sizes of the factors. In the picture, with a conditional guess of 0.5 and $w = 3$, it reaches $4 \cdot 0.5 + 3 \cdot 1 = 5$. The next state is then computed from a guess that lies outside the range of the data. *The difference:* clipping the null guess first cuts off a part of $\epsilon_y - \epsilon_\phi$. Guesses of $-1$ and $-3$ without a label then have the same result, so a part of the guidance is lost. Clipping last keeps the range, and uses both predictions as they are.
#
# </details>
#
# ## What a larger weight gains, and what it loses
#
# **Exercise 4.5** (predict, then measure). The data set `pinwheel` has five classes of equal size. Sample with each label equally often, but with `w = -1`. For which fraction of the samples is the given label the most likely one, by the exact $p(y | x_0)$?

# %% nbgrader={"grade": false, "grade_id": "ex_4_5", "locked": false, "schema_version": 3, "solution": true, "task": false}
accuracy = ...
### BEGIN SOLUTION
accuracy = 1 / 5
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_4_5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_4_5(accuracy)

# %% alt="Line plot of the accuracy over w. It is 0.2 at w = -1, on the horizontal line of the prediction, 0.64 at w = -0.5, 0.93 at w = 0, and 1.0 at w = 1 and w = 4."
wheel, few = pinwheel(), Schedule.cosine(50)
asked, weights, measured = np.repeat(np.arange(5), 300), (-1.0, -0.5, 0.0, 1.0, 4.0), []
for weight in weights:
    x = ancestral_sample(oracle_eps(wheel, few), asked, few, weight, np.random.default_rng(0))
    measured.append((wheel.log_class_probability(x).argmax(1) == asked).mean())
    print(f"w = {weight:4}: accuracy {measured[-1]:.3f}")
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(weights, measured, "o-")
plt.axhline(accuracy, color=GREY, label="your prediction at w = -1")
plt.xlabel("w")
plt.ylabel("accuracy")
plt.legend()
plt.show()

# %% [markdown]
# **Predict:** accuracy rises with `w`. What falls, and does it fall without end? In the figure below, the *relevance* is the mean of $p(y | x_0)$ over the samples, and the *diversity* is the entropy of the samples of a class: how widely they are spread. It is estimated from the distances between neighbouring samples. The upper bound is the entropy of a Gaussian with the same covariance. The last panel shows both measures against each other, one point per weight.

# %% alt="Above: samples of the pinwheel on the shaded data; the classes are mixed at w = -1, lie on the data at 0, and move further out up to w = 16. Below: the relevance rises to 1, the entropy falls from 2.4 to 0.6 at w = 4 and then rises slightly, and one against the other."
step12_trade_off.figure()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The diversity falls, most of all between $w = -1$ and $w = 0.5$. It does not fall without end: it is lowest at about $w = 4$, and rises a little beyond. There the samples have left the data, as the upper panels show. The relevance is at most 1, so beyond some weight almost nothing more is gained.
#
# Guidance also costs time: each step evaluates the network twice, with the label and with the null label, for every $w$ other than 0 and $-1$.
#
# </details>
#
# Move the slider to see samples of class 0 at any `w`, always from the same noise. If the slider does not move (no running kernel), look at the row below it. **Ask yourself:** does the mean of the samples move, or does their width change? The numbers stand above each panel.


# %% alt="Four scatter plots of samples with the label 0. At w = -1 they cover all three classes. At w = 0, 1 and 4 they form one round class, whose vertical mean is 1.51, 1.68 and 1.84, while the standard deviation is 0.48, 0.44 and 0.43."
def at_weight(ax, w):
    """Samples at `w`."""
    same = np.random.default_rng(0)
    x = ancestral_sample(oracle_eps(mixture, few), np.zeros(300, int), few, w, same)
    ax.scatter(*x.T, s=3, color=CLASS_COLORS[0])
    mean, width = x.mean(0), x.std(0)
    title = f"w = {w}\nmean {mean[1]:.2f}, std {width[1]:.2f}"
    ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal")
    ax.set_title(title, fontsize=9)


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
# <details><summary>Answer</summary>
#
# Mostly the mean moves: the vertical mean of the samples grows from about 1.5 at $w = 0$ to about 1.8 at $w = 4$, while the standard deviation changes by a few hundredths. The samples end further out than the data, which is called *overshoot*.
#
# </details>
#
# ## Is this the distribution that we hoped for?
#
# We hoped for the tilted distribution, proportional to $p(x_0 | y) \, p(y | x_0)^w$. Here its density is known, so it can be summed over a grid. **Ask yourself:** does its mean move as far as that of the guided samples at $w = 4$? Remember that $p(y | x_0)$ is close to 1 for nearly all data of class 0.

# %% alt="Histogram of the vertical coordinate of guided samples at w = 4, with two curves. The densities of class 0 and of the tilted distribution nearly coincide, with their peaks at 1.5. The histogram is narrower and lies further to the right, with its peak between 1.7 and 2."
side, weight = np.linspace(-4, 7, 331), 4.0
grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
# p(x | y) is proportional to p(x) p(y | x), by Bayes' rule.
log_hoped = mixture.log_density(grid) + (1 + weight) * mixture.log_class_probability(grid)[:, 0]
hoped = np.exp(log_hoped).reshape(331, 331).sum(1)  # the sum over the first coordinate
hoped /= hoped.sum() * (side[1] - side[0])
x = ancestral_sample(model, np.zeros(5000, int), schedule, weight, np.random.default_rng(0))
print(f"mean of the tilted distribution: {(side * hoped).sum() * (side[1] - side[0]):.2f}")
print(f"mean of the guided samples:      {x[:, 1].mean():.2f}")
in_class = np.exp(-2 * (side - 1.5) ** 2) / np.sqrt(np.pi / 2)  # mean 1.5, variance 1/4
plt.figure(figsize=(7, 3), layout="constrained")
plt.hist(x[:, 1], 60, density=True, alpha=0.4, label="guided samples, w = 4")
plt.plot(side, hoped, "k--", label="tilted distribution, w = 4")
plt.plot(side, in_class, color=GREY, label="class 0")
plt.xlim(-1, 4)
plt.xlabel("vertical coordinate")
plt.ylabel("density")
plt.legend()
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# No. The tilted distribution hardly differs from the class: its mean is 1.53 in place of 1.50, because the factor $p(y | x_0)^w$ is close to 1 for most data of the class and only removes those near the other classes. The guided samples have the mean 1.84.
#
# Why? The forward chain adds noise to the tilted distribution at $t = 0$ and so defines one distribution for each $t$. A sampler would need their scores. Guidance uses the score of $p(x_t | y) \, p(y | x_t)^w$, made at each $t$ from the noisy data of that $t$. At large $t$ the classes overlap for nearly all $x_t$, so guidance pushes every sample outwards, also those that are clear members of the class in the end. Sitting 7 measures this difference.
#
# </details>
#
# The film shows the reverse chain, `t` from `T` to 0, at four weights. **Watch** when a large weight has moved the samples to their class, and what happens to them afterwards.

# %% alt="Film of pinwheel samples, which begin at t = 100 as one mixed cloud over the shaded data. At w = 4 the classes have separated by t = 80 and end further out than the data. At w = 0 and 1 they separate gradually after t = 60, and at w = -1 they stay mixed."
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
# <details><summary>Answer</summary>
#
# At $w = 4$ the samples separate early: at $t = 40$ the median of $p(y | x_t)$ over the samples of a class is 0.91, and 0.49 at $w = 0$ (step 12). From then on both predictions nearly agree, guidance has little effect, and the samples follow the model of their class. They spread along its arm, but they stay further out than the data.
#
# </details>

# %% [markdown]
# ## You now know
#
# - the gradient of a classifier is $(\epsilon_\phi - \epsilon_y) / \sqrt{1 - \bar\alpha_t}$, so no classifier is needed (`tutorial/step10_classifier.py`, equation 10.4);
# - guidance follows the gradient of $\log [p(x_t | y) p(y | x_t)^w]$ at every $t$, which is the mixture $(1 + w) \epsilon_y - w \epsilon_\phi$; libraries call $1 + w$ the scale (`tutorial/step11_guidance.py`, 11.1 to 11.3);
# - for the null label the network predicts the mean over the labels that $x_t$ may have (`tutorial/step09_condition.py`, 9.3);
# - mix first, then clip (11.5, 11.6);
# - a larger weight gains relevance and loses diversity, up to about $w = 4$ here (`tutorial/step12_trade_off.py`, 12.2 and 12.3), and each step costs two evaluations of the network;
# - guided chains do not sample the tilted distribution, proportional to $p(x_0 | y) p(y | x_0)^w$: they overshoot it (sitting 7).
#
# In the package the line is `minicfg.guide`.
#
# ## Five questions
#
# 1. Why is the method called classifier-free?
# 2. Which $w$ gives the model without a label, and which `guidance_scale`?
# 3. Where does guidance change nothing, whatever $w$ is?
# 4. Why do the factors $1 + w$ and $-w$ have to add up to 1?
# 5. Does a chain with the guided prediction sample the density $p(x_0 | y) p(y | x_0)^w$?
#
# <details><summary>Answers</summary>
#
# 1. The gradient of $\log p(y | x_t)$ comes from two predictions of one network, and no classifier is trained.
# 2. $w = -1$ and `guidance_scale = 0`.
# 3. Where both predictions agree, because only one class is possible there or because the label has no effect at this $t$.
# 4. Then the conversion between eps, x0 and v commutes with the mixture, and if both predictions are equal, the mixture equals them.
# 5. No. Each step uses the score of $p(x_t | y) p(y | x_t)^w$ at its own $t$, and these densities are not what one gets by adding noise to the one at $t = 0$. Sitting 7 measures the difference.
#
# </details>
