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
# # 6. The paper's algorithms, and every solver a table of rows
#
# **The question.** So far time was an integer, and a sampler took all $T$ steps. The guidance paper uses another clock, and practice uses ten to fifty steps. What does time mean to the network, and how does one write a faster solver?
#
# **After this sitting you can** use the log SNR as time, train and sample by the paper's two algorithms, say what `v` does and when it no longer matters, write any solver as a table of rows, and prove by a test that a table belongs to DDIM.
#
# No GPU, under a minute of computing, about 75 minutes with the exercises. You need sittings 1 to 5. The lectures `tutorial/step16_log_snr.py`, `step17_solvers.py` and `step18_dpmpp.py` go deeper. On a hosted machine that has torch already, do first what `01_forward_process` says.

# %% alt="Left: the angle over u is a straight line from 0 to 1.57 for the paper and the cosine schedule, and a curve above it for the linear one. Middle: the log SNR falls to -20 for the first two and to -10 for the linear one. Right: the density of lambda has one peak, 0.16 at 0."
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

from tutorial.appendix.e_backprop import MLP
from tutorial.appendix.f_variance import limit_var, moments_of_samples
from tutorial.figures import step16_log_snr
from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, RED
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step11_guidance import guide
from tutorial.step16_log_snr import (
    algorithm_1,
    algorithm_2_steps,
    errors,
    forward_var,
    log_snr_density,
    log_snr_grid,
    q_posterior_log_snr,
    schedule_from,
    signal_noise,
)
from tutorial.step17_solvers import ddim, ddpm, run, run_steps
from tutorial.step18_dpmpp import before_last, dpmpp_2m, even_in_log_snr, flow_error

mixture = three_gaussians()
fig = Figure(figsize=(11, 3.4), layout="constrained")
step16_log_snr.draw_process(fig)
fig

# %% [markdown]
# ## Time is a noise level
#
# The time $t$ tells the network one thing only: how noisy $x_t$ is. The paper uses this noise level itself as time. It writes $z_\lambda = a_\lambda x + \sigma_\lambda \epsilon$ with $a_\lambda^2 + \sigma_\lambda^2 = 1$, and defines the logarithm of the signal-to-noise ratio
#
# $$ \lambda = \log (a_\lambda^2 / \sigma_\lambda^2) $$
#
# So $\lambda = 0$ means equal parts, a large $\lambda$ little noise. Since the squares add up to 1, $a_\lambda$ and $\sigma_\lambda$ are the cosine and the sine of an angle (left panel), and equal parts are the angle $\pi / 4$. The middle panel shows them over $\lambda$.
#
# **Exercise 6.1** (fill in a formula). The paper draws `u` uniformly in 0..1 and lets the *angle* grow linearly in `u`, from that of `high` (little noise) at `u = 0` to that of `low` at `u = 1`. Return $\lambda$ at `u`, which is an array. The tangent of the angle is $\sigma_\lambda / a_\lambda$, so $\lambda = -2 \log \tan(\text{angle})$, and the angle of $\lambda$ is $\arctan(e^{-\lambda / 2})$.


# %% nbgrader={"grade": false, "grade_id": "ex_6_1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_log_snr(u, low, high):
    ### BEGIN SOLUTION
    first, last = np.arctan(np.exp(-high / 2)), np.arctan(np.exp(-low / 2))
    return -2 * np.log(np.tan(first + (last - first) * u))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_6_1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_6_1(my_log_snr)

# %% [markdown]
# **Predict:** the ends are at -20 and 20. How wide is the interval in the middle that contains half of your draws?

# %% alt="Histogram of the draws of lambda between -20 and 20. It has one peak at 0 with a height of 0.16, lies above the dashed uniform density of 0.025 between about -5 and 5, and is hardly visible beyond -10 and 10."
draws = my_log_snr(np.random.default_rng(0).random(20_000), -20.0, 20.0)
print(f"half of them lie between {np.quantile(draws, 0.25):.2f} and {np.quantile(draws, 0.75):.2f}")
plt.figure(figsize=(7, 2.6), layout="constrained")
plt.hist(draws, np.linspace(-20, 20, 81), density=True, color=BLUE, alpha=0.4, label="your draws")
plt.axhline(1 / 40, ls="--", color=GREY, label="uniform in log SNR")
plt.xlabel(r"$\lambda$")
plt.ylabel("density")
plt.legend()
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Half of the draws have `u` between 1/4 and 3/4. The angles of the ends are close to 0 and to $\pi / 2$, so these draws have angles between $\pi / 8$ and $3 \pi / 8$. There $\lambda = -2 \log \tan(\pi / 8) = 1.76$ and $-1.76$. The interval is 3.5 wide, out of 40: the ends are hardly ever drawn.
#
# </details>
#
# ## Algorithm 1
#
# Training draws a separate $\lambda$ for each sample; the rest is the loop of sitting 5. The network gets the angle as its time, never a $T$. **Predict:** at which noise levels does it come close to the oracle, and where not? The dashed line shows how often each level was drawn.

# %% alt="Line plot over lambda, from noise at -12 to data at 12, on a logarithmic axis. With the label the error is lowest, 0.003, at -2 and rises to 0.04 at the right; for the null label it rises from 0.004 at -4 to a peak of 0.1 at 2. The dashed density is highest at 0."
*_, (_, _, params) = algorithm_1(mixture, 0.2, 1000, np.random.default_rng(0))
levels = np.linspace(-12, 12, 25)
plt.figure(figsize=(7, 3), layout="constrained")
for null, name, color in ((False, "with the label", BLUE), (True, "null label", ORANGE)):
    plt.semilogy(levels, errors(params, levels, null), color=color, label=name)
plt.semilogy(levels, log_snr_density(levels), "--", color=GREY, label="its density")
plt.xlabel(r"$\lambda$ (left: noise, right: data)")
plt.ylabel("mean square from the oracle")
plt.ylim(3e-4, 1)
plt.legend(fontsize=8)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The frequency of a level is not all that counts. With a label each class is one Gaussian, which is easy. The prediction for the null label has to change between the classes, which is hardest at middle noise. At the right end hardly any noise is left, so it can hardly be predicted from $z_\lambda$.
#
# </details>
#
# ## Algorithm 2
#
# Sampling uses a grid of increasing $\lambda$, from noise to data. A step goes from $\lambda$ to the next, less noisy $\lambda' > \lambda$. It mixes the two predictions, computes the guess of $x$, and draws from the posterior (sitting 2) with the guess in the place of the data. Only its variance is special. With $\delta = 1 - e^{\lambda - \lambda'}$, the variance of the noise that the forward step from $\lambda'$ to $\lambda$ adds, and that of the posterior, are
#
# $$ \sigma^2_{\lambda | \lambda'} = \delta \sigma_\lambda^2 \qquad \tilde\sigma^2 = \delta \sigma_{\lambda'}^2 $$
#
# They are `forward_var` and `law.var` below. For example, from $\lambda = -1$ to $\lambda' = 1$ they are 0.63 and 0.23. The right variance of a step back lies between these two, for data of variance at most 1. The paper interpolates their logarithms:
#
# $$ \sigma^2 = (\tilde\sigma^2)^{1 - v} (\sigma^2_{\lambda | \lambda'})^v $$
#
# **Exercise 6.2** (find two mistakes). One step from `here` to the less noisy `there`: `eps` is the guided prediction at `z`, and `n` is fresh standard normal noise. Correct the step.
#
# ```python
# a, sigma = signal_noise(here)
# x = (z - sigma * eps) / a
# law = q_posterior_log_snr(x, z, here, there)
# var = (1 - v) * law.var + v * forward_var(here, there)
# return law.mean + np.sqrt(var) * z
# ```


# %% nbgrader={"grade": false, "grade_id": "ex_6_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_step(z, eps, n, here, there, v):
    ### BEGIN SOLUTION
    a, sigma = signal_noise(here)
    x = (z - sigma * eps) / a
    law = q_posterior_log_snr(x, z, here, there)
    var = law.var ** (1 - v) * forward_var(here, there) ** v
    return law.mean + np.sqrt(var) * n
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_6_2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_6_2(my_step)

# %% [markdown]
# Your step on 16 values of $\lambda$, with the oracle. **Predict:** which `v` gives the widest samples? The titles give the variance of the first coordinate in class 0, across the direction from the origin to its mean. The class itself has a variance of 0.25.

# %% alt="Three scatter plots of samples, for v = 0, 0.3 and 1. The three classes stay in the same places and become wider: the variance across class 0 is 0.167, 0.188 and 0.267."
grid, asked = log_snr_grid(16), np.repeat([0, 1, 2], 400)
oracle = oracle_eps(mixture, schedule_from(grid))
fig, panels = plt.subplots(1, 3, figsize=(8.4, 3), layout="constrained")
for ax, v in zip(panels, (0.0, 0.3, 1.0), strict=True):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((len(asked), 2))
    for k, here in enumerate(grid):
        of_y, of_null = oracle(z, 16 - k, asked), oracle(z, 16 - k, np.full_like(asked, 3))
        eps, (a, sigma) = guide(of_y, of_null, 1.0), signal_noise(here)
        if k < 15:
            z = my_step(z, eps, rng.standard_normal(z.shape), here, grid[k + 1], v)
    x = (z - sigma * eps) / a  # the last step is the guess itself, without noise
    ax.scatter(*x.T, s=3, c=np.repeat(CLASS_COLORS[:3], 400))
    ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal")
    ax.set_title(f"v = {v:g}: variance across {x[asked == 0, 0].var():.3f}", fontsize=10)
plt.show()

# %% [markdown]
# With infinitely many samples the variances across would be 0.154, 0.175 and 0.257, so `v = 1` gives the widest samples. **Ask yourself:** is `v` then a parameter for diversity? What is its effect with 1024 steps? If the class and all data are Gaussian, the distribution of the samples is known exactly. The next figure shows its variance over the number of steps, for a class of variance 0.25 in data of variance 1.

# %% alt="Line plot of the variance of samples over T from 8 to 1024, on a logarithmic axis. For v = 1 it falls from 0.157; for v = 0.3 and v = 0 it rises from 0.050 and 0.037. At T = 1024 all three are close to the dashed limit at 0.11."
lengths = 2 ** np.arange(3, 11)
plt.figure(figsize=(7, 3), layout="constrained")
for v, color in ((0.0, BLUE), (0.3, ORANGE), (1.0, RED)):
    of_v = [moments_of_samples(0.8, 0.25, 1.0, log_snr_grid(int(T)), 1.0, v)[1] for T in lengths]
    plt.semilogx(lengths, of_v, "o-", color=color, label=f"v = {v:g}")
plt.axhline(limit_var(0.25, 1.0, 1.0), ls="--", color=GREY, label="the limit of all v")
plt.xlabel("T")
plt.ylabel("variance of samples, w = 1")
plt.legend(loc="lower right")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# With few steps it acts like one: with 8 steps the variances are 0.04, 0.05 and 0.16. But this is an error of the steps. With 1024 steps all three are close to the same limit, 0.11, because for small steps $\lambda'$ is close to $\lambda$, and the two variances between which `v` interpolates become equal. The limit is below 0.25: guidance with $w = 1$ makes the class narrower, for every `v`.
#
# </details>
#
# *This is about half of the sitting, and a place for a break. When you come back, run the cells above again.*
#
# ## Every solver is a table of rows
#
# You know three samplers: the ancestral one of sitting 3, the paper's Algorithm 2, and, from this sitting on, *DDIM*, which adds no noise: it puts the predicted noise back, $x_s = \sqrt{\bar\alpha_s} \hat x_0 + \sqrt{1 - \bar\alpha_s} \hat\epsilon$, where $\hat\epsilon = (x_t - \sqrt{\bar\alpha_t} \hat x_0) / \sqrt{1 - \bar\alpha_t}$ is the noise that belongs to the guess. So $x_s$ is a sum of multiples of $\hat x_0$ and $x_t$. Each of them moves from $x_t$ to an earlier $x_s$ by the same three formulas:
#
# $$ g = g_y + m w (g_y - g_\phi), \quad \hat x_0 = clip(p x_t + q g) $$
# $$ x_s = a \hat x_0 + b x_t + d g_\phi + e \hat x_0' + c z $$
#
# The first is guidance; a row with $m = 1$ uses the weight $w$, and one with $m = 0$ no guidance. The second turns the output $g$ into a guess of $x_0$; $p$ and $q$ depend on the unit (sitting 2). The third combines the guess, the state, the null output, the guess $\hat x_0'$ of the row before, and fresh noise $z$. (All solvers of this sitting have $d = 0$; sitting 7 uses it.) So a solver is a table with one row $(p, q, a, b, c, d, e, m)$ per step, and one loop runs any table. **Ask yourself** before you look: which of `c` and `e` is 0 in ancestral sampling, in DDIM, which adds no noise, and in DPM-Solver++(2M), which uses the guess of the row before? What does the last row have to be in all of them?

# %% alt="Three panels of the coefficients over t, 20 rows each; in all, a falls from 1 in the last row, t = 50, to about 0.1. In ddpm, c rises with t to 1 and e is 0, and in ddim c and e are 0. In 2M, c is 0 and e is negative, down to about -0.4."
short = schedule_from(log_snr_grid(5, -6.0, 6.0))
print("                t -> s      a      b      c      e")
for solver in (ddpm, ddim, dpmpp_2m):
    table = solver(short)
    for t, s, row in zip(table.t, table.s, table.rows, strict=True):
        print(
            f"{solver.__name__:14} {t:2} -> {s}",
            *(f"{number:6.2f}" for number in row[[2, 3, 4, 6]] + 0.0),
        )
long = Schedule.cosine(1000)
fig, panels = plt.subplots(1, 3, figsize=(10, 2.8), sharey=True, layout="constrained")
for ax, solver in zip(panels, (ddpm, ddim, dpmpp_2m), strict=True):
    table = solver(long, 20)
    for column, name, color in ((2, "a", BLUE), (3, "b", ORANGE), (4, "c", GREY), (6, "e", RED)):
        style = "x:" if name == "e" else "o-"  # e lies on c where both are 0
        ax.plot(table.t, table.rows[:, column], style, ms=3, color=color, label=name)
    ax.set(title=f"{solver.__name__}, 20 of 1000", xlabel="t")
panels[1].legend(fontsize=8, loc=(0.72, 0.42))
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Ancestral sampling has $e = 0$, DDIM has $c = e = 0$, and 2M has $c = 0$. The last row returns the guess: $a = 1$, and all others are 0.
#
# </details>
#
# What do few rows cost? Move the slider `rows`, and change the solver. The samples are those of the oracle of the three classes at `w = 1`, always from the same noise.

# %%
teacher, few = oracle_eps(mixture, long), np.repeat([0, 1, 2], 100)


def cloud(ax, solver, rows):
    x = run(teacher, few, solver(long, rows), 1.0, np.random.default_rng(0))
    ax.scatter(*x.T, s=4, c=np.repeat(CLASS_COLORS[:3], 100))
    ax.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal")
    ax.set_title(f"{solver.__name__}, {rows} rows", fontsize=10)


def show(rows, solver):
    cloud(plt.figure(figsize=(3.6, 3.6), layout="constrained").subplots(), solver, rows)
    plt.show()


rows = ipywidgets.IntSlider(10, min=1, max=50, continuous_update=False)
named = ipywidgets.Dropdown(options=[(s.__name__, s) for s in (ddpm, ddim, dpmpp_2m)])
ipywidgets.interactive(show, rows=rows, solver=named)

# %% [markdown]
# If the sliders do not move (no running kernel), here are twelve of their positions. **Look** at how many rows each solver needs until its picture no longer changes. The widths differ even with 50 rows: guided chains with noise and without do not sample the same distribution (sitting 7).

# %% alt="Twelve scatter plots of samples: ddpm, ddim and 2M from top to bottom, with 2, 4, 10 and 50 rows. With 2 rows the three classes are very narrow, and they become wider with more rows. 2M hardly changes after 10 rows, ddim changes a little, and ddpm still becomes wider."
fig, panels = plt.subplots(3, 4, figsize=(9, 7), layout="constrained")
for line, solver in zip(panels, (ddpm, ddim, dpmpp_2m), strict=True):
    for ax, n in zip(line, (2, 4, 10, 50), strict=True):
        cloud(ax, solver, n)
plt.show()

# %% [markdown]
# ## Order
#
# DDIM uses one guess for a whole row. Over rows of length $h$ in $\lambda$ its error is proportional to $h$, so it is of first order. 2M extrapolates this guess by a straight line through the one before; its error is proportional to $h^2$, so it is of second order.
#
# **Exercise 6.3** (predict, then measure). 2M with 64 rows, uniform in $\lambda$, has the error $9.6 \cdot 10^{-4}$ on one class. How large is its error with 256 rows from the same start to the same end?

# %% nbgrader={"grade": false, "grade_id": "ex_6_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
error = ...
### BEGIN SOLUTION
error = 9.6e-4 / 4**2
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_6_3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_6_3(error)

# %% alt="Line plot of the relative error over the number of rows, both logarithmic. From 8 to 512 rows ddim falls in a straight line from 0.2 to 0.004. 2M falls more steeply, from 0.03 to 0.000015, and the star of the prediction at 256 rows lies on its line."
counts = [2**k for k in range(3, 10)]
plt.figure(figsize=(7, 3), layout="constrained")
for solver, color in ((ddim, ORANGE), (dpmpp_2m, BLUE)):
    tables = [(even_in_log_snr(n, -8.0, 8.0), n) for n in counts]
    found = [abs(flow_error(before_last(solver(table)), table, 0.25)) for table, _ in tables]
    plt.loglog(counts, found, "o-", ms=4, color=color, label=solver.__name__)
plt.loglog(256, error, "*", ms=14, color=RED, label="your prediction")
plt.xlabel("rows, even in log SNR")
plt.ylabel("relative error")
plt.legend()
plt.show()

# %% [markdown]
# The network of Algorithm 1, which knows no $T$, in three samplers on 16 values of $\lambda$, `w = 1`, from the same noise. **Watch** which chains move at random, which move smoothly, and whether the two without noise end in the same places. **Ask yourself:** this grid starts at -5, not at -20. By which number does a guess of $x$ divide the error of the network in each case?

# %% alt="Film of three scatter plots from t = 16 to 0: one mixed cloud separates into three classes. In Algorithm 2 the points jump from frame to frame. In DDIM and 2M they move smoothly, look alike in every frame, and end in nearly the same places, which differ from those of Algorithm 2."
grid, y = log_snr_grid(16, -5.0, 8.0), np.repeat([0, 1, 2], 60)
network = MLP(params, schedule_from(grid), 3)
rng = [np.random.default_rng(0) for _ in range(3)]
chains = {"Algorithm 2, v = 0.3": algorithm_2_steps(network, y, grid, 1.0, 0.3, rng[0])}
chains["DDIM"] = run_steps(network, y, ddim(network.schedule), 1.0, rng[1])
chains["2M"] = run_steps(network, y, dpmpp_2m(network.schedule), 1.0, rng[2])
film, writer = Figure(figsize=(8, 2.9)), PillowWriter(fps=4)
panels = film.subplots(1, 3)
dots = [ax.scatter(*np.zeros((2, 180)), s=4, c=np.repeat(CLASS_COLORS[:3], 60)) for ax in panels]
for ax in panels:
    ax.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal")
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "film.gif"
    with writer.saving(film, path, dpi=60):
        for states in zip(*chains.values(), strict=True):
            for ax, dot, name, (t, x) in zip(panels, dots, chains, states, strict=True):
                dot.set_offsets(x)
                ax.set_title(f"{name}, t = {t}")
            for _ in range(4 if t == 0 else 1):
                writer.grab_frame()
    gif = path.read_bytes()
Image(gif)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The chain of Algorithm 2 moves at random, and the two without noise move smoothly. They end in nearly the same places, because both approximate the same map from the start to a sample; that of Algorithm 2 ends elsewhere.
#
# The guess divides by $a_\lambda = 1 / \sqrt{1 + e^{-\lambda}}$, which is 0.082 at -5 and 0.000045 at -20. So from -20 the first guess multiplies an error of the network by 22,026, and from -5 by 12.
#
# </details>
#
# ## What makes a table one of DDIM's?
#
# DDIM is a family of solvers, with a number `eta` in 0..1: at 1 it adds as much fresh noise as ancestral sampling, at 0 none. All of them have one property: if $x_t$ has the right distribution and the guess is right, then $x_s$ has the right distribution.
#
# **Exercise 6.4** (prove by a test; the hardest here). Suppose $x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} \epsilon$, and let the guess be $x_0$ itself. A row has `d = e = 0`. Which two equations do `a`, `b` and `c` have to satisfy, so that $x_s$ contains the data with the factor $\sqrt{\bar\alpha_s}$ and noise of variance $1 - \bar\alpha_s$?
#
# Write a test of a function `solver(schedule, steps, eta)`, which returns a table: `table.t` and `table.s`, where each row starts and ends, and `table.rows`, with the columns $(p, q, a, b, c, d, e, m)$. Your test uses `assert`. It must pass for the lesson's `ddim`, and fail for a solver with a wrong formula for `a`, `b` or `c`, or one that does not go from `T` all the way to 0. Which `steps`, 1 to 20, and `eta` you ask for is yours to choose. Finish the test below.


# %% nbgrader={"grade": false, "grade_id": "ex_6_4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def my_test(solver):
    schedule = Schedule.cosine(20)
    ### BEGIN SOLUTION
    for steps in (20, 7):
        for eta in (0.0, 0.5, 1.0):
            table = solver(schedule, steps, eta)
            a, b, c = table.rows.T[2:5]
            before, after = schedule.alpha_bar[table.t], schedule.alpha_bar[table.s]
            assert np.allclose(a + b * np.sqrt(before), np.sqrt(after)), "the data in x_s"
            assert np.allclose(b**2 * (1 - before) + c**2, 1 - after), "the noise in x_s"
            assert table.t[0] == 20
            assert table.s[-1] == 0
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "check_6_4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check.ex_6_4(my_test)

# %% [markdown]
# Chains of the family from one network: the same three starts (black dots), `w = 0`, 100 rows. Each `eta` takes another path, but, up to the error of 100 rows, $x_t$ has the same distribution at every $t$. The variances are those of 300 samples per class.

# %% alt="Paths of three chains in the plane from the same three starts, for three values of eta. At eta = 0 they are short smooth arcs, at 0.5 they are jagged, and at 1 they are the longest and most jagged. The starts are black dots, the ends squares, which differ between the values of eta."
plt.figure(figsize=(4.4, 4), layout="constrained")
for eta, color in ((0.0, BLUE), (0.5, ORANGE), (1.0, GREY)):
    table = ddim(long, 100, eta)
    path = run_steps(teacher, np.arange(3), table, 0.0, np.random.default_rng(3))
    x = np.stack([x for _, x in path], 1)
    for one, label in zip(x, (f"eta = {eta}", None, None), strict=True):
        plt.plot(*one.T, color=color, lw=0.8, label=label)
        plt.plot(*one[0], "ko", ms=4)
        plt.plot(*one[-1], "s", color=color, ms=5)
    ends = run(teacher, np.repeat([0, 1, 2], 300), table, 0.0, np.random.default_rng(4))
    print(
        f"eta = {eta}: variance in a class {ends.reshape(3, 300, 2).var(1).mean():.3f}, data 0.250"
    )
plt.gca().set_aspect("equal")
plt.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## You now know
#
# - time is a noise level, and the clock of the paper is an angle that grows linearly (`tutorial/step16_log_snr.py`, equations 16.1 to 16.8);
# - Algorithms 1 and 2 (16.9 to 16.15), and that `v` matters with few steps only (`tutorial/appendix/f_variance.py`, F.4);
# - a solver is a table, and one loop runs every table (`tutorial/step17_solvers.py`, 17.1 to 17.3);
# - what all rows of DDIM satisfy (17.8), and what the guess of the row before gains (`tutorial/step18_dpmpp.py`, 18.7).
#
# ## Five questions
#
# 1. What is $\lambda$ where signal and noise have equal variance?
# 2. A network gets the angle as its time. Why can it be sampled with any number of steps?
# 3. Which numbers of a row are 0 for a solver without noise?
# 4. The error of a method of second order is 0.01 with 10 rows. About how large is it with 40?
# 5. Why is the last row of every solver the same?
#
# <details><summary>Answers</summary>
#
# 1. It is 0.
# 2. Its input is the noise level, which does not depend on the number of steps.
# 3. Only $c$, the factor of fresh noise.
# 4. 16 times smaller, about 0.0006.
# 5. At $t = 0$ the state is the data, so the last row returns the guess.
#
# </details>
#
# **Try:** `pytest -m "step16 or step17"`, then write a row of your own into `ddim` and run your test on it. The torch twins are `minicfg/solvers.py` and `minicfg/sampling.py`. Next: sitting 7, what guided chains sample.
