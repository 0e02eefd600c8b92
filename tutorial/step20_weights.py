r"""Step 20. Weights that change with t: intervals, ramps and CFG++

**The question.** So far one guidance weight $w$ was used in all steps. Step 13 found that guidance
pushes every sample outwards near the noise end, and step 14 that guidance moves samples from one
mode of a class to another, which is decided early. For the three classes of step 1, step 9 found
that information about the class appears fastest, per unit of the log SNR, in the middle of the
chain. Should $w$ be the same at all $t$? This lesson treats three proposals. The first guides only
for part of the time. The second lets the weight grow towards the data. The third, CFG++, uses two
different mixtures in one step. All three need no new loop. They are other numbers in the table of
step 17.

**Guidance for part of the time.** In (17.1) the weight of a row is $m w$. So a column $m$ of zeros
and ones switches guidance on and off. Kynkäänniemi et al. guide only while the noise level lies in
an interval. In log SNR the rule is

$$ m = 1 \text{ if } low \le \lambda_t < high, \text{ else } 0 $$ (20.1)

The authors state the interval for the ratio of noise to signal, as
$\sigma_{lo} < \sigma_t \le \sigma_{hi}$. This ratio is the root of the variance $\tau_t$ in
(17.15). (In step 16, sigma was the factor of the noise alone.) It is related to the log SNR by

$$ \sigma_t = \sqrt{(1 - \bar\alpha_t) / \bar\alpha_t}, \quad \lambda_t = -2 \log \sigma_t $$

So a large ratio is a small log SNR, and the two ends change places:

$$ low = -2 \log \sigma_{hi}, \quad high = -2 \log \sigma_{lo} $$

For ratios from 0.5 to 2 the interval is from -1.386 to 1.386. In the rows outside the interval the
network is evaluated once and not twice, so the rule also saves time.

**A ramp.** Wang et al. compared many weights that change along the chain. They found that simple
weights that rise from the noise to the data work better than a constant one for images. The
simplest is a straight line in $t$, from $m_T$ at the noise end to $m_0$ at the data:

$$ m = m_0 + (m_T - m_0) t / T $$ (20.2)

With $m_T = 0$ and $m_0 = 2$ the mean of $m$ is about 1, so the ramp can be compared with a constant
weight. Time in the chain runs from $T$ to 0. A weight that rises along the chain therefore falls as
a function of $t$, and exchanging the two numbers gives the opposite rule without any error message.

**CFG++.** The row of DDIM uses the guided prediction twice: to compute the guess, and to put noise
back (step 17). Chung et al. use it for the guess only. The noise comes from the prediction without
a label. Why? They argue that guidance with a large weight is an extrapolation, and that it leads
the states to places where noisy data do not occur. So they let the model of all data determine the
path, and use the label only to correct the guess. The corrected guess should agree with the label.
How do they measure this? Let $x$ be a candidate for the data. The noise that leads from $x$ to the
state is

$$ \epsilon = (x_t - \sqrt{\bar\alpha_t} x) / \sqrt{1 - \bar\alpha_t} $$

With a label, the network predicts the noise $\epsilon_y$ from the same state. This belongs to the
guess $\hat x_y$. The loss of the candidate is the squared error of the prediction. In the
difference of the two noises the state cancels, so the loss is a squared distance. The second line
is its gradient:

$$ |\epsilon - \epsilon_y|^2 = (\bar\alpha_t / (1 - \bar\alpha_t)) |x - \hat x_y|^2 $$
$$ \nabla_x |\epsilon - \epsilon_y|^2 = 2 (\bar\alpha_t / (1 - \bar\alpha_t)) (x - \hat x_y) $$

Start at the guess $x = \hat x_\phi$ without a label, and make one step of gradient descent. The
gradient is a multiple of $\hat x_\phi - \hat x_y$, so the result lies on the line from
$\hat x_\phi$ to $\hat x_y$. Let $1 + w$ be the fraction of the way that it has moved, which is the
step size times $2 \bar\alpha_t / (1 - \bar\alpha_t)$. The moved guess is called $\hat x_0$:

$$ \hat x_0 = \hat x_\phi + (1 + w) (\hat x_y - \hat x_\phi) $$

By (11.4) this is the guess that belongs to the mixture $(1 + w) \epsilon_y - w \epsilon_\phi$. The
authors use fractions between 0 and 1, so $w$ lies between -1 and 0. The mixture is then a weighted
mean of the two predictions and not an extrapolation. Without a label the network predicts the noise
$\epsilon_\phi$ in the state. This noise is added to the corrected guess:

$$ x_s = \sqrt{\bar\alpha_s} \hat x_0 + \sqrt{1 - \bar\alpha_s} \epsilon_\phi $$ (20.3)

The argument motivates the step but does not justify it. It does not show that $x_s$ has the
distribution of any noisy data, and (20.6) below shows that the step can be a large extrapolation
after all.

For the table we need $\epsilon_\phi$ from the output $g_\phi$ of a network in any unit. Let $p$ and
$q$ be the numbers of step 5 for this unit, and $p_\epsilon$ and $q_\epsilon$ those for eps. Both
give the same guess without a label:

$$ p x_t + q g_\phi = p_\epsilon x_t + q_\epsilon \epsilon_\phi $$

Solve this for $\epsilon_\phi$ and insert it into (20.3). The factor of $x_t$ is $b$, and the factor
of $g_\phi$ is the column $d$, which no other solver of this course uses:

$$ b = \sqrt{1 - \bar\alpha_s} (p - p_\epsilon) / q_\epsilon $$ (20.4)
$$ d = \sqrt{1 - \bar\alpha_s} q / q_\epsilon $$ (20.5)

For a network that predicts eps, $b = 0$ and $d = \sqrt{1 - \bar\alpha_s}$. In every case
$a = \sqrt{\bar\alpha_s}$ and $c = e = 0$.

**CFG++ is DDIM with a weight that depends on the step.** Why does a scale below 1 have an effect?
To compare the two steps, divide the state by the factor of the data, as in (17.15): let
$\bar x_t = x_t / \sqrt{\bar\alpha_t}$. With $\epsilon$ for any prediction of the noise, the guess
and the step of DDIM are

$$ \hat x_0 = \bar x_t - \sigma_t \epsilon, \quad \bar x_s = \hat x_0 + \sigma_s \epsilon $$

Let $d_\epsilon = \epsilon_y - \epsilon_\phi$. (In step 9 it was $d$, which is a column here.) The
mixture with the scale $\gamma$ (step 11) is $\epsilon_\phi + \gamma d_\epsilon$. DDIM uses it in
both places:

$$ \bar x_s - \bar x_t = -(\sigma_t - \sigma_s) (\epsilon_\phi + \gamma d_\epsilon) $$

CFG++ uses the mixture with $\sigma_t$, and $\epsilon_\phi$ alone with $\sigma_s$:

$$ \bar x_s - \bar x_t = -\sigma_t (\epsilon_\phi + (1 + w) d_\epsilon) + \sigma_s \epsilon_\phi $$
$$ \bar x_s - \bar x_t = -(\sigma_t - \sigma_s) \epsilon_\phi - \sigma_t (1 + w) d_\epsilon $$

The terms with $\epsilon_\phi$ agree. So the steps are equal if the factors of $d_\epsilon$ agree,
too:

$$ (\sigma_t - \sigma_s) \gamma = \sigma_t (1 + w) $$

So without clipping a row of CFG++ is a row of DDIM with the weight $w_t = \gamma - 1$ given by

$$ 1 + w_t = (1 + w) \sigma_t / (\sigma_t - \sigma_s) $$ (20.6)

The scale grows because the step of DDIM is only the difference $\sigma_t - \sigma_s$, while CFG++
moves the label's part by the whole $\sigma_t$. An example: if $\sigma_t = 2$ and $\sigma_s = 1.5$,
the factor is 4, and CFG++ with the scale 0.6 equals DDIM with the scale 2.4, or $w_t = 1.4$.

**The effect depends on the number of steps.** With more steps $\sigma_s$ is closer to $\sigma_t$,
and (20.6) grows without limit. At $t = 500$ of the linear schedule with $T = 1000$ and the scale
0.6, the scale of DDIM is 5.8 with 50 steps and 110 with 1000 steps. The left panel of the figure
shows the scale for the cosine schedule. A value of $w$ that was chosen for one number of steps is
therefore wrong for another. For the same effect with every number of steps, the scale of CFG++ must
become smaller when the steps become shorter. Solve (20.6) for $1 + w$, with a constant $\gamma$ in
the place of $1 + w_t$:

$$ 1 + w = \gamma (1 - \sigma_s / \sigma_t) $$
$$ \sigma_s / \sigma_t = e^{-(\lambda_s - \lambda_t) / 2} $$

So the choice

$$ 1 + w = \gamma (1 - e^{-(\lambda_s - \lambda_t) / 2}) $$ (20.7)

makes CFG++ equal to DDIM with the constant scale $\gamma$.

**Measured.** The table shows the top class of step 1, which has the mean height 1.5 and variance
0.25 in each direction. The chain is DDIM or CFG++ on the cosine schedule with $T = 1000$, the
predictions are exact, and $w = 3$, or $w = -0.4$ for CFG++. The first seven rows of the table use
50 steps and 4000 samples. The last four use 1000 samples. The standard errors of the heights are
below 0.009. For Gaussian samples the relative standard error of a variance is $\sqrt{2 / n}$. This
is 2.2 % for $n = 4000$, and 4.5 % in the last four rows. (The two variances without guidance are an
example. By step 17 both should be 0.235. That 0.239 and 0.233 differ is due to chance.) The tilted
distribution for $w = 3$ has the mean height 1.53 (step 13).

| rule | mean height | variance across | variance along |
|---|---|---|---|
| no guidance, $w = 0$ | 1.50 | 0.239 | 0.233 |
| constant weight | 2.37 | 0.137 | 0.079 |
| guided where $\lambda < -2$, 12 rows | 2.19 | 0.174 | 0.145 |
| guided where $-2 \le \lambda < 2$, 28 rows | 1.97 | 0.127 | 0.063 |
| guided where $2 \le \lambda$, 10 rows | 1.52 | 0.229 | 0.208 |
| ramp, $m_T = 0$ and $m_0 = 2$ | 1.97 | 0.137 | 0.075 |
| ramp, $m_T = 2$ and $m_0 = 0$ | 2.72 | 0.132 | 0.074 |
| CFG++, 10 steps | 1.75 | 0.121 | 0.073 |
| CFG++, 50 steps | 2.47 | 0.099 | 0.036 |
| CFG++, 200 steps | 3.39 | 0.078 | 0.019 |
| CFG++, 500 steps | 4.23 | 0.069 | 0.014 |

With the three intervals the network is evaluated 62, 78 and 60 times, and with the constant weight
100 times. What does the table show? Guidance near the noise end alone gives four fifths of the
overshoot of the constant weight, and it removes about six tenths as much variance. Guidance in the
middle alone gives about half of the overshoot, and it removes at least as much variance as the
constant weight. Near the data guidance hardly moves the mean, and it removes only a tenth to a
sixth of the variance that the constant weight removes. The right panel shows the height for an
interval of length 2 that moves from noise to data. The ramp that rises towards the data has about
half of the overshoot of the constant weight, with the same loss of variance. The opposite ramp
overshoots more. With every increase of the number of steps, CFG++ moves further out and becomes
narrower (middle panel). This agrees with (20.6), by which its weights grow.

**Does one of them sample the tilted distribution?** All guided rows but one clearly do not. In the
row with guidance near the data, the difference from the tilted distribution is within the errors:
the tilted variances are 0.241 and 0.226 (step 13), of which 50 steps lose about 6 %. We therefore
compute this row for short steps and without random numbers. The chain begins at $\lambda = 2$ with
the distribution of the noised class, to which short steps without guidance lead (step 17). Its
moments are computed by quadrature over the state at the beginning, with 200 and with 400 steps. The
error of DDIM is of first order in the length of a step (step 18), so twice the result of 400 steps
minus that of 200 is close to the limit. The mean height is 1.518, and the variances are 0.239 and
0.221. So this rule does not sample the tilted distribution either, but it comes close: the mean
moves by 0.018 where the tilted distribution moves by 0.026. With a constant weight it moves by
0.87. The reason was given in step 13: at low noise $p(y | x_t)$ is close to 1 for almost all of the
class, as $p(y | x_0)$ is.

**The modes of step 14.** There a class had a frequent mode at 2 and a rare one at -2 with the
fraction 0.3. The other class, class 1, had one mode, at 0, -4 or 4. With a constant weight guidance
lost the mode that lies towards class 1. Does a weight that changes with $t$ keep it? The table
gives the fraction of samples in the rare mode, for DDIM with 50 steps of the same schedule, $w = 3$
and the rules of the table above. It is computed with 2,000 starts that divide the normal
distribution into parts of equal probability. (Without guidance it is 0.297 and not 0.300, because
there are only 50 steps.)

| class 1 at | no guidance | constant | noise end | middle | near the data | rising ramp |
|---|---|---|---|---|---|---|
| 0 | 0.297 | 0.193 | 0.205 | 0.273 | 0.297 | 0.262 |
| -4 | 0.297 | 0.000 | 0.000 | 0.068 | 0.297 | 0.048 |
| 4 | 0.297 | 0.917 | 0.840 | 0.414 | 0.297 | 0.473 |

Guidance near the noise end moves almost as many samples between the modes as the constant weight.
Guidance in the middle and the rising ramp move fewer. Guidance near the data moves none, because
each chain has entered its mode by then.

So should $w$ be the same at all $t$? For these mixtures and exact predictions the answer is no, if
the overshoot is to be reduced or the modes are to be kept. Guidance in the middle of the chain, or
a ramp that rises towards the data, overshoots less and keeps more of a mode. But in the table of
the top class it loses as much variance as a constant weight. Guidance near the data alone moves no
sample to another mode, and for the top class it comes close to the tilted distribution. Which rule
is best for images, with a trained network, is a question for measurements on images.

**At the boundary.** An interval from $-\infty$ to $\infty$, or a ramp with $m_T = m_0 = 1$, is
constant guidance. An empty interval, $low = high$, is the conditional model. In the last row of a
table $\sigma_s = 0$, so $w_t = w$, and CFG++ is plain guidance. With a single row this is the whole
chain. At $w = -1$ CFG++ is unconditional DDIM. At $w = 0$ it is not conditional DDIM, because the
noise still comes from the prediction without a label.

**What goes wrong.** The scale of CFG++ is read as $w$, so that $0.6$ becomes $w = 0.6$. A program
adds the noise of the guided prediction and not $\epsilon_\phi$. Its step is then one of DDIM, and
with a $w$ between -1 and 0 the label has less effect than in the conditional model. The interval is
applied to $-\lambda$, or its two ends are exchanged. A ramp overwrites a column $m$ instead of
multiplying it.

**Where it goes on.** Every method so far used the noise schedules of step 2. Many recent models are
trained by flow matching, with a straight line between data and noise. Is that a different process?
This is step 21.

**Source.** Kynkäänniemi et al. 2024, arXiv:2404.07724 (interval). Wang et al. 2024,
arXiv:2404.13040 (weights that change). Chung et al. 2024, arXiv:2406.08070 (CFG++). (20.6) and
(20.7) are derived here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri  # pyright: ignore[reportMissingTypeStubs]  # SciPy has none

from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import x0_coefficients
from tutorial.step11_guidance import guide
from tutorial.step14_modes import CLASS_OF, ModesOracle, two_modes
from tutorial.step17_solvers import Table, table_of, times

if TYPE_CHECKING:
    from jaxtyping import Float


def with_interval(table: Table, schedule: Schedule, low: float, high: float) -> Table:
    """The table with guidance only where `low <= log_snr < high`.

    Both ends may be infinite. The weights that the table already has are multiplied.
    """
    if not low <= high:
        raise ValueError(f"low = {low} is not at most high = {high}")
    log_snr = schedule.log_snr[table.t]
    m = (low <= log_snr) & (log_snr < high)  # (20.1)
    rows = table.rows.copy()
    rows[:, 7] *= m
    return Table(table.t, table.s, rows)


def with_ramp(table: Table, schedule: Schedule, first: float, last: float) -> Table:
    """The table with a weight that goes linearly in t from `first` at T to `last` at 0.

    The weights that the table already has are multiplied.
    """
    if not np.isfinite([first, last]).all():
        raise ValueError(f"first = {first}, last = {last}: both ends must be finite numbers")
    m = last + (first - last) * table.t / schedule.T  # (20.2)
    rows = table.rows.copy()
    rows[:, 7] *= m
    return Table(table.t, table.s, rows)


def fraction_in_rare_mode(table: Table, schedule: Schedule, other: float, w: float) -> float:
    """The fraction of class 0 of step 14 that ends in the rare mode, for a table without noise.

    The other class is at `other`. There are 2,000 starts at quantiles of the normal distribution.
    """
    model = ModesOracle(two_modes(other), CLASS_OF, schedule)
    y = np.zeros(2000, int)
    null = np.full(2000, model.num_classes)
    x = np.stack([ndtri((np.arange(2000) + 0.5) / 2000), np.zeros(2000)], axis=1)
    for t, (p, q, a, b, _, _, _, m) in zip(table.t, table.rows, strict=True):
        eps = guide(model(x, int(t), y), model(x, int(t), null), m * w)
        x = a * (p * x + q * eps) + b * x
    return float((x[:, 0] < 0).mean())


def cfgpp_step(
    xt: Float[np.ndarray, "n 2"],
    eps_y: Float[np.ndarray, "n 2"],
    eps_null: Float[np.ndarray, "n 2"],
    t: int,
    s: int,
    w: float,
    schedule: Schedule,
) -> Float[np.ndarray, "n 2"]:
    """One step of CFG++ for a network that predicts eps, from `t` in 1..T to `s` in 0..t - 1.

    `w` is in -1..0: the scale of its authors less 1.
    """
    p, q = x0_coefficients(t, schedule)
    x0hat = p * xt + q * guide(eps_y, eps_null, w)
    abar_s = schedule.alpha_bar[s]
    return np.sqrt(abar_s) * x0hat + np.sqrt(1 - abar_s) * eps_null  # (20.3)


def cfgpp(
    schedule: Schedule, steps: int | Sequence[int] | None = None, prediction: str = "eps"
) -> Table:
    """The table of CFG++, for a network of any unit and `w` in -1..0, the scale less 1."""
    t, s = times(schedule, steps)
    signal = np.sqrt(schedule.alpha_bar[s])
    noise = np.sqrt(1 - schedule.alpha_bar[s])
    p, q = np.array([x0_coefficients(int(u), schedule, prediction) for u in t]).T
    p_eps, q_eps = np.array([x0_coefficients(int(u), schedule) for u in t]).T
    b = noise * (p - p_eps) / q_eps  # (20.4)
    d = noise * q / q_eps  # (20.5)
    return table_of(schedule, t, s, prediction, signal, b, 0.0, d, 0.0, 1.0)


def weights_of_ddim(w: float, schedule: Schedule, steps: int) -> Float[np.ndarray, " n"]:
    """For each row, the weight with which DDIM makes the step that CFG++ makes with `w`."""
    t, s = times(schedule, steps)
    sigma = np.sqrt((1 - schedule.alpha_bar) / schedule.alpha_bar)
    return (1 + w) * sigma[t] / (sigma[t] - sigma[s]) - 1  # (20.6)


def as_ddim(table: Table, schedule: Schedule, scale: float) -> Table:
    """The table of `cfgpp` that, run with w = 1, is DDIM with the constant scale `scale`."""
    log_snr = schedule.log_snr
    rows = table.rows.copy()
    shorter = -np.expm1((log_snr[table.t] - log_snr[table.s]) / 2)  # 1 - sigma_s / sigma_t
    rows[:, 7] = scale * shorter - 1  # (20.7)
    return Table(table.t, table.s, rows)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step20_weights")
