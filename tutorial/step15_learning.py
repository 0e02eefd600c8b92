r"""Step 15. Learning: both predictions from samples alone, and what their errors do under guidance

**The question.** Until now every prediction was exact. We could compute it, because the density of
the data was a formula. In practice we only have samples. Can a network that is trained on samples,
and never on a density, come close to the exact predictions with and without a label? How do we
measure how close it is? And guidance multiplies the output with the label by $1 + w$ and the other
one by $-w$. What happens to the errors of the network when they are multiplied in this way?

**An example.** We continue with the two images 1 and -1 of steps 9 and 11, with
$\bar\alpha_t = 0.5$ and $x_t = 0.4$. The exact predictions of the noise are -0.434 for class 0 and
0.054 without a label. Suppose that a network predicts -0.404 and 0.024. Both outputs are wrong by
only 0.03, the first upwards and the second downwards. With $w = 3$ the exact mixture and that of
the network are

$$ 4 \cdot (-0.434) - 3 \cdot 0.054 = -1.898 $$
$$ 4 \cdot (-0.404) - 3 \cdot 0.024 = -1.688 $$

The difference is 0.21, which is seven times as much as the error of each output. If both outputs
were wrong by 0.03 in the same direction, the error of the mixture would be
$4 \cdot 0.03 - 3 \cdot 0.03$, which is again 0.03. So it matters whether the two errors agree.

**The network.** It is small enough for NumPy. Its inputs are the two coordinates of $x_t$, four
numbers that represent the time, and the label. The four numbers are the cosine and the sine of the
angle of step 5 and of twice this angle. Two hidden layers of 48 units follow, and the output has
two coordinates. The label selects a row of a table with $K + 1$ rows, and the last row belongs to
the null label $\phi$. A row has 48 learned numbers, which are added in the first hidden layer like
a bias. For three classes the numbers of the parameters in the first layer, the table, the second
layer and the output add up to

$$ (2 + 4) \cdot 48 + 4 \cdot 48 + (48 + 1) \cdot 48 + (48 + 1) \cdot 2 = 2930 $$

Appendix E writes the network out and derives the gradient of its loss by the chain rule. Here we
need only the result. For every parameter we can compute the derivative of the loss with respect to
it. We collect the parameters in $\theta$ and the derivatives, the gradient, in $G$.

**One update.** Training repeats the following steps:

- Draw a batch of 112 samples $(x_0, y)$ of the data. (Larger matrix products would start threads,
  which cost more than they save here.) For each sample draw a time $t$ from 1 to $T$ and a noise
  $\epsilon$.
- Hide each label with probability $p_u$ (9.5).
- Compute $x_t$ by (3.2), and the network's prediction $f(x_t, y)$ of the noise.
- Compute the loss, which is the mean of $|\epsilon - f|^2$ over the 112 samples (8.5), and its
  gradient $G$.
- Change the parameters a little in the direction in which the loss falls.

The last item leaves a choice. The plain rule subtracts a multiple of $G$. But derivatives with
respect to different parameters can have very different sizes, and one multiple does not suit all of
them. The method called Adam makes the size of a change independent of the size of the derivative.
For each parameter it keeps a running mean $M_k$ of the derivative and a running mean $Q_k$ of its
square. Both start at 0. At update $k$, with $\rho_1 = 0.9$ and $\rho_2 = 0.999$,

$$ M_k = \rho_1 M_{k-1} + (1-\rho_1) G_k, \quad Q_k = \rho_2 Q_{k-1} + (1-\rho_2) G_k^2 $$ (15.1)

All operations apply to each parameter separately. How large are these means? Inserting the first
formula into itself gives a weighted sum of all derivatives so far. Its weights are a geometric
series:

$$ M_k = (1 - \rho_1) \sum_{j=1}^k \rho_1^{k-j} G_j $$
$$ (1 - \rho_1) \sum_{j=1}^k \rho_1^{k-j} = 1 - \rho_1^k $$

The weights of a mean should add up to 1. Here their sum is smaller, because the start value 0 has
the remaining weight $\rho_1^k$. Dividing by $1 - \rho_1^k$ corrects this, and the same holds for
$Q_k$ with $\rho_2$:

$$ \hat M_k = M_k / (1 - \rho_1^k), \quad \hat Q_k = Q_k / (1 - \rho_2^k) $$

The change of a parameter is the corrected mean divided by the corrected root mean square. It is
multiplied by a number called the learning rate, `rate` in the code. With $\theta_k$ for the
parameters after update $k$,

$$ \theta_k = \theta_{k-1} - \text{rate} \cdot \hat M_k / (\sqrt{\hat Q_k} + 10^{-8}) $$ (15.2)

The number $10^{-8}$ prevents a division by 0. Suppose that all derivatives are multiplied by a
positive constant. Then the numerator and the root are multiplied by it too. The change stays the
same, apart from the $10^{-8}$. At the first update the corrected means are $G_1$ and $G_1^2$
themselves. So each parameter moves by the learning rate, in the direction that lowers the loss.
(This holds for derivatives that are much larger than $10^{-8}$.)

$$ \theta_1 = \theta_0 - \text{rate} \cdot sign(G_1) $$ (15.3)

For example, let the derivatives be 0.5 and then -0.5. The first change is minus the learning rate.
At the second update $M_2 = 0.9 \cdot 0.05 - 0.1 \cdot 0.5 = -0.005$. Corrected it is
$-0.005 / 0.19 = -0.026$, and the corrected root mean square is 0.5. So the second change is only
0.053 times the learning rate, upwards, because two opposite derivatives nearly cancel. With 500 and
-500 the changes are the same. A derivative that keeps its sign and size moves a parameter by the
learning rate in every update. A single derivative after many zeros moves the parameter by
$0.1 / \sqrt{0.001} = 3.16$ times the learning rate in its own update. The updates after it have the
derivative 0 again, but they move the parameter further. In each of them the running mean falls by
the factor 0.9 and the root mean square only by $\sqrt{0.999}$. The sum of all these changes is a
geometric series, $3.16 / (1 - 0.9 / \sqrt{0.999})$, which is 31.8 times the learning rate.

How large is a change if the derivatives are only noise? Let them be independent normal variables
with mean 0 and the same variance. After many updates the root mean square in (15.2) is then close
to their standard deviation. The variance of the running mean is their variance times the sum of its
squared weights. After many updates this sum is close to an infinite geometric series:

$$ (1 - \rho_1)^2 (1 + \rho_1^2 + \rho_1^4 + \dots) = (1 - \rho_1)^2 / (1 - \rho_1^2) $$
$$ (1 - \rho_1)^2 / (1 - \rho_1^2) = (1 - \rho_1) / (1 + \rho_1) = 0.1 / 1.9 $$

Its root is 0.229. The mean absolute value of a standard normal variable is $\sqrt{2 / \pi} = 0.80$.
So a change has the mean size of $0.229 \cdot 0.80 = 0.18$ times the learning rate. To make these
random changes small in the end, we start with a rate of 0.01 and let it fall linearly to 0 during
3,000 updates.

**What hiding labels does to the gradient.** Let $h_i$ be 1 if the label of sample $i$ is hidden,
and 0 if not. Let $G^{(i)}$ be the gradient of its squared error if the label is shown, and
$G_\phi^{(i)}$ if it is hidden. (A raised index in brackets is the number of the sample. The lower
index above was the number of the update.) The gradient of a batch of $n$ samples is

$$ G = (1 / n) \sum_i ((1 - h_i) G^{(i)} + h_i G_\phi^{(i)}) $$

The draws are independent of the samples, and the mean of $h_i$ is $p_u$. Let $G_{cond}$ be the mean
of all $G^{(i)}$ in the batch, and $G_{null}$ the mean of all $G_\phi^{(i)}$. Averaging over the
draws, with the samples of the batch fixed, gives

$$ E[G] = (1 - p_u) G_{cond} + p_u G_{null} $$ (15.4)

So the gradient of a batch is, on average, a weighted sum of both gradients. (A change by (15.2) is
not, because it divides by a root.) By step 9 the best pair of predictions is the same for every
$p_u$ strictly between 0 and 1. Our network has 2,930 parameters and 3,000 updates, so it does not
reach this pair. The weights in (15.4) then influence which of the two predictions is learned
better.

**How close is it?** From here on the data are the three Gaussians of step 1, and the schedule is
the linear one with $T = 100$. The loss alone is not informative. At $t = 20$ the lowest possible
loss with a label is 0.664 (5.16), and the loss of the network that we train below with $p_u = 0.2$
is 0.666. Most of the loss cannot be removed, because $x_t$ does not determine the noise. We need
the difference from the lowest loss. As in step 11, $\epsilon_y$ is short for the exact prediction
$\epsilon(x_t, y)$, which is the conditional mean of the noise. Let $f_y$ be short for the output
$f(x_t, y)$. By (5.1) the difference is a mean squared distance:

$$ E|\epsilon - f_y|^2 - E|\epsilon - \epsilon_y|^2 = E|f_y - \epsilon_y|^2 $$ (15.5)

The right side is $\Delta_y$ of step 9. We call it the excess. The same formula holds for the null
label, with $\phi$ in the place of $y$. On the left only the first term depends on the network. So
the difference between the losses of two networks on the same data is the difference between their
excesses, and it can be measured where the exact prediction is unknown. The right side needs the
exact prediction. It has much less random error, because it does not contain the noise $\epsilon$.
The left side is a difference of two large squares, and both contain the noise. For the null label
at $t = 20$ and 50,000 samples the left side gives $0.0348 \pm 0.0016$. The right side gives
$0.0355 \pm 0.0002$. The numbers after the sign are standard errors.

**What the network learns.** The table shows the excess for $p_u = 0.2$, next to the lowest loss
with a label. Each excess is a mean over 400 samples.

| t | 1 | 10 | 28 | 55 | 100 |
|---|---|---|---|---|---|
| alpha_bar | 0.999 | 0.904 | 0.448 | 0.042 | 0.000 |
| lowest loss with a label | 1.992 | 1.403 | 0.337 | 0.022 | 0.000 |
| excess with the label | 0.0107 | 0.0018 | 0.0020 | 0.0006 | 0.0008 |
| excess without a label | 0.0342 | 0.0729 | 0.0046 | 0.0017 | 0.0008 |

So a network can come close to both predictions. For comparison, a prediction that is always 0 has
an excess of 1.66 with the label, on average over all 100 values of $t$. The prediction without a
label is the harder one. Within one Gaussian class the exact prediction is a linear function of
$x_t$ plus a constant (step 5). Without a label it changes between the classes from the prediction
of one class to that of another. Near the data it does so over a short distance. At $t = 20$ we call
a sample ambiguous if no class has $p(y | x_t) > 0.9$. These are 35 % of 50,000 samples, and they
contribute 56 % of the excess without a label.

Now we vary $p_u$. The entries are the excess, as a mean over the 34 values $t = 1, 4, \dots, 100$.
Brackets contain the lowest and the highest value of five training runs with different random
numbers. The number before the bracket is from the first run, which is used in the rest of this
lesson. In this run the error of the mixture is the largest of the five, or nearly the largest. The
last row is explained further below.

| p_uncond | 0 | 0.1 | 0.2 | 0.5 |
|---|---|---|---|---|
| with the label | 0.0008 | 0.0012 (.0012, .0018) | 0.0014 (.0014, .0021) | 0.0026 (.0023, .0038) |
| without a label | 0.41 | 0.0208 (.0159, .0234) | 0.0136 (.0105, .0154) | 0.0068 (.0056, .0086) |
| mixture, w = 3 | not computed | 0.21 (.16, .21) | 0.15 (.10, .15) | 0.10 (.08, .10) |

A larger $p_u$ improves the prediction without a label and worsens the other one, as (15.4)
suggests. At $p_u = 0$ the row of the null label retains its random start values. With the null
label the loop of step 7 then draws a single cloud of points. Its variance is 0.22 along both axes,
where the data have 1.375. So an untrained null label does not give the distribution of all data.

**Errors under guidance.** Let $e_y = f_y - \epsilon_y$ be the error of the output with the label,
and $e_\phi$ the same without a label. The mixture (11.1) is linear in the two outputs. So the error
$e_w$ of the mixture is the mixture of the errors. We write it with $e_d = e_y - e_\phi$, which is
the error of the difference $d$ of step 9:

$$ e_w = (1 + w) e_y - w e_\phi = e_y + w e_d $$ (15.6)

In the example $e_y = 0.03$, $e_\phi = -0.03$ and $e_d = 0.06$, so
$e_w = 0.03 + 3 \cdot 0.06 = 0.21$. Take the mean of the square at one $t$. The excess of the
mixture is a quadratic function of $w$:

$$ E|e_w|^2 = E|e_y|^2 + 2 w E[e_y \cdot e_d] + w^2 E|e_d|^2 $$ (15.7)

Three means therefore determine it for all weights. Suppose for a moment that the mean of
$e_y \cdot e_\phi$ is 0, and that the two errors have the same mean square. By the first form of
(15.6), guidance with $w = 3$ multiplies it by

$$ (1 + w)^2 + w^2 = 4^2 + 3^2 = 25 $$

From here on the network is the one with $p_u = 0.2$, unless another is named. For it the three
terms at $t = 20$ are $0.0024 + 0.0108 w + 0.0482 w^2$, measured on 500 samples. At $w = 3$ this is
0.469, or 198 times the excess at $w = 0$ (before rounding). In five training runs the factor was
between 140 and 240. It exceeds 25 because $e_d$ contains the error of the prediction without a
label. This error is the larger one. One could hope that two outputs of one network have similar
errors, which would cancel in $e_d$. A measure of this is their correlation (around 0, without
subtracting the means):

$$ E[e_y \cdot e_\phi] / \sqrt{E|e_y|^2 E|e_\phi|^2} $$

It is 1 if one error is the other times a positive number that is the same for all samples. In the
five runs it was between -0.43 and 0.14 at $t = 20$, so there was little cancellation or none.

This explains the last row of the table above. At $w = 3$ the excess of the mixture is lowest for
$p_u = 0.5$, in each of the five runs. Yet these networks have the largest excess with the label. So
in this example no $p_u$ is best for all weights. The excess is not the quality of images, however.
Ho and Salimans measured a distance between the distributions of generated and real images (FID,
lower is better). The lowest value over all weights was 1.55 with $p_u = 0.1$, 1.62 with 0.2 and
1.91 with 0.5.

**From the mixture to samples.** The means above are over noisy data. A guided chain visits other
places. Is the error of the network larger there? We ran the loop of step 7 with the exact
predictions and $w = 3$, 200 chains for each class, and evaluated the error of the network at their
states. The table gives the mean of $|e_w|^2$ at $w = 3$, on 500 noisy data points and on 600 states
of the chains. The standard errors are at most 8 % of the entries.

| t | 55 | 28 | 20 | 10 |
|---|---|---|---|---|
| on the data | 0.024 | 0.085 | 0.47 | 0.77 |
| at the states of the chains | 0.028 | 0.139 | 0.20 | 0.32 |

At first the error is larger than on the data, and later it is smaller. Guided chains have left the
places between the classes by then, and the prediction without a label is worst at these places. At
$t = 20$ its mean squared error is 0.017 at the states of the chains and $0.040 \pm 0.002$ on the
500 points of data used here. (With 50,000 points it is 0.0355.) So the excess on the data can be
too low or too high for a guided chain.

The last measure compares samples. We run the loop of step 7 twice with the same noise, once with
the network and once with the exact predictions. The table gives the mean distance between the two
samples, for 100 samples of each class. The standard deviation of a class is 0.5 along each axis.

| w | 0 | 1 | 2 | 3 | 4 |
|---|---|---|---|---|---|
| mean distance | 0.03 | 0.11 | 0.21 | 0.34 | 0.50 |

The range over five training runs is 0.03 to 0.04 at $w = 0$ and 0.18 to 0.34 at $w = 3$. *A network
whose samples are nearly exact without guidance can be clearly wrong with it.*

**The curl.** The distance needs the exact predictions. There is also an error that can be measured
without them. Step 11 read the guided prediction as the gradient of a log density. Is the output of
a network such a gradient? Fix $t$ and $y$, and let $g_1$ and $g_2$ be the two coordinates of a
prediction at the point $x_t$. Write $\partial_1$ and $\partial_2$ for the derivatives with respect
to the coordinates of this point. If $g$ is the gradient of a smooth function $F$, then
$g_1 = \partial_1 F$ and $g_2 = \partial_2 F$. The order of two derivatives does not matter:

$$ \partial_1 g_2 = \partial_1 \partial_2 F = \partial_2 \partial_1 F = \partial_2 g_1 $$

Therefore the following difference, called the curl, is 0 everywhere:

$$ curl(g) = \partial_1 g_2 - \partial_2 g_1 = 0 $$ (15.8)

Two examples show the difference. The field that maps a point to itself is the gradient of half its
squared length, and its curl is 0. The linear field that maps $(1, 0)$ to $(0, 1)$ and $(0, 1)$ to
$(-1, 0)$ rotates every point by 90 degrees. Its curl is 2, and no function has it as its gradient.

The exact guided prediction is $-\sqrt{1 - \bar\alpha_t}$ times a gradient (11.7), so its curl is 0
for every $w$. The loss of a network does not contain such a condition. The curl is linear in $g$,
so the curl of a mixture is the mixture of the curls. With $f_w$ for the mixture of $f_y$ and
$f_\phi$,

$$ curl(f_w) = (1 + w) curl(f_y) - w curl(f_\phi) $$ (15.9)

We compute the derivatives by central differences. At one point, $x_t = (0.4, 0.6)$ with $t = 20$
and the top class, the curl is 0.0103 with the label and 0.0574 without. At $w = 3$ it is
$4 \cdot 0.0103 - 3 \cdot 0.0574 = -0.131$. Here is the mean absolute value over 500 noisy data
points at $t = 20$:

| w | -1 | 0 | 1 | 3 |
|---|---|---|---|---|
| network | 0.048 | 0.039 | 0.084 | 0.196 |
| exact predictions | 0 | 0 | 0 | 0 |

The last row is 0 up to rounding, below $10^{-9}$. For comparison, the sum
$\partial_1 g_1 + \partial_2 g_2$ of the exact mixture has a mean absolute value of 2.3 at $w = 0$
and 4.9 at $w = 3$. The curl of the network is 2 % of this at $w = 0$ and 4 % at $w = 3$. So with
and without guidance the output of this network is not, up to a factor, the score of any density.
The sampler still runs, and its samples have a distribution. But (11.7) no longer describes the
output exactly.

**At the boundary.** At $w = 0$ the errors are those of the conditional output, and at $w = -1$
those of the null output. Where the two errors are equal, $e_d = 0$ and no weight enlarges them. At
$p_u = 1$ the rows of all classes stay untrained. A curl of 0 does not show that a network is right:
an error that is itself a gradient has no curl.

**What goes wrong.** Runs with different $p_u$ are compared by their total loss, although its lowest
value depends on $p_u$ (step 9). The corrections of $M_k$ and $Q_k$ are left out, and the first
change is 3.16 times the learning rate. The count of updates starts with $k = 0$, and the
corrections divide by 0. A model is accepted because its samples without guidance are good, and then
it is used with a large weight. The schedule matters too. In the first step of sampling, at $t = T$,
an error of the prediction is multiplied by $\beta_T / \sqrt{\alpha_T (1 - \bar\alpha_T)}$ (9.2).
For $T = 100$ this is 32 for the cosine schedule and 0.22 for the linear one, which we use here.

**Where it goes on.** Step 16 trains the same network on all noise levels, without a fixed $T$. This
is how the guidance paper does it. Step 20 limits guidance to a part of the chain.

**Source.** Kingma and Ba 2014, arXiv:1412.6980, alg. 1 and sec. 3 (Adam; its $\beta_1$ and
$\beta_2$ are $\rho_1$ and $\rho_2$ here); Ho and Salimans 2022, arXiv:2207.12598, alg. 1, table 1,
and sec. 3.2 (a mixture of two networks need not be the gradient of any classifier); Chidambaram et
al. 2024, arXiv:2409.13074 (large weights and errors of the score).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from tutorial.appendix.e_backprop import MLP, Arrays, angles, backward, forward, init, squared_error
from tutorial.contract import Denoiser, last
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import Oracle, oracle_eps
from tutorial.step07_sampling import ancestral_sample
from tutorial.step09_condition import drop_labels
from tutorial.step11_guidance import guide

if TYPE_CHECKING:
    from jaxtyping import Float, Int

RHO_1 = 0.9
RHO_2 = 0.999
STEPS = 3000
TIMES = range(1, 101, 3)
# At t = T the linear schedule multiplies an error of the prediction by 0.22 (9.2), cosine by 32.
ORACLE = oracle_eps(three_gaussians(), Schedule.linear(100))


def adam_step(
    p: Arrays, G: Arrays, mean: Arrays, square: Arrays, k: int, rate: float
) -> tuple[Arrays, Arrays, Arrays]:
    """Parameters and both running means after update `k` >= 1; the arguments are not changed."""
    mean = {name: RHO_1 * mean[name] + (1 - RHO_1) * G[name] for name in p}  # (15.1)
    square = {name: RHO_2 * square[name] + (1 - RHO_2) * G[name] ** 2 for name in p}  # (15.1)
    theta: Arrays = {}
    for name in p:
        M = mean[name] / (1 - RHO_1**k)  # the weights of the running mean add up to the divisor
        Q = square[name] / (1 - RHO_2**k)
        theta[name] = p[name] - rate * (M / (np.sqrt(Q) + 1e-8))  # (15.2), and (15.3) at k = 1
    return theta, mean, square


def train(
    mixture: GaussianMixture,
    schedule: Schedule,
    p_uncond: float,
    steps: int,
    rng: np.random.Generator,
    width: int = 48,
    n: int = 112,
    rate: float = 0.01,
) -> Iterator[tuple[int, float, MLP]]:
    """Yield (k, loss of the batch, model after update k), k = 1..steps; the rate falls to 0."""
    # 112 * 48 * 48 < 2^18. Above that OpenBLAS starts threads, which cost more than they save.
    p = init(mixture.num_classes, width, rng)
    mean = {name: np.zeros_like(value) for name, value in p.items()}
    square = {name: np.zeros_like(value) for name, value in p.items()}
    for k in range(1, steps + 1):
        x0, y = mixture.sample(n, rng)
        t = rng.integers(1, schedule.T + 1, n)
        eps = rng.standard_normal(x0.shape)
        abar = schedule.alpha_bar[t][:, None]
        xt = np.sqrt(abar) * x0 + np.sqrt(1 - abar) * eps  # (3.2), each row at its own t
        y = drop_labels(y, p_uncond, mixture.num_classes, rng)  # (15.4)
        f, passed = forward(p, xt, angles(t, schedule), y)
        loss, Gf = squared_error(eps, f)
        G = backward(p, Gf, passed)
        r = rate * (1 - (k - 1) / steps)
        p, mean, square = adam_step(p, G, mean, square, k, r)
        yield k, loss, MLP(p, schedule, mixture.num_classes)


def excess(
    model: Denoiser, oracle: Oracle, t: int, null: bool, n: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Both sides of (15.5) for each of `n` samples at `t`; `null` hides all labels."""
    x0, y = oracle.mixture.sample(n, rng)
    if null:
        y = np.full(n, oracle.num_classes)
    eps = rng.standard_normal(x0.shape)
    xt = xt_from_x0(x0, eps, t, oracle.schedule)
    f = model(xt, t, y)
    exact = oracle(xt, t, y)
    by_losses = ((eps - f) ** 2 - (eps - exact) ** 2).sum(1)  # (15.5), the left side
    by_distance = ((f - exact) ** 2).sum(1)  # (15.5), the right side
    return by_losses, by_distance


@cache
def trained(p_uncond: float, steps: int = STEPS) -> tuple[MLP, Float[np.ndarray, "2 times"]]:
    """A model trained for `ORACLE`, and its excess at each of `TIMES`, with labels and without."""
    run = train(ORACLE.mixture, ORACLE.schedule, p_uncond, steps, np.random.default_rng(0))
    bar = tqdm(run, f"p_uncond = {p_uncond}", total=steps, disable=None)
    _, _, model = last(bar)  # all models together would fill the memory
    rng = np.random.default_rng(1)
    distances: list[list[np.ndarray]] = []
    for null in (False, True):
        distances.append([excess(model, ORACLE, t, null, 400, rng)[1] for t in TIMES])
    return model, np.mean(distances, axis=2)


def guided_eps(
    model: Denoiser, xt: Float[np.ndarray, "n 2"], t: int, y: Int[np.ndarray, " n"], w: float
) -> Float[np.ndarray, "n 2"]:
    """The guided output of a model."""
    null = np.full_like(y, model.num_classes)
    return guide(model(xt, t, y), model(xt, t, null), w)


def guided_error(
    model: Denoiser,
    oracle: Denoiser,
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    w: float,
) -> Float[np.ndarray, "n 2"]:
    """The guided output of a model minus that of the oracle, at each row of `xt`."""
    return guided_eps(model, xt, t, y, w) - guided_eps(oracle, xt, t, y, w)  # (15.6)


def parabola(
    model: Denoiser,
    oracle: Denoiser,
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
) -> Float[np.ndarray, " 3"]:
    """The factors of 1, w and w^2 in the mean square of the guided error."""
    e_y = guided_error(model, oracle, xt, t, y, 0.0)
    e_null = guided_error(model, oracle, xt, t, y, -1.0)
    e_d = e_y - e_null
    sums = [(e_y**2).sum(), 2 * (e_y * e_d).sum(), (e_d**2).sum()]  # (15.7)
    return np.array(sums) / len(xt)


def curl(
    field: Callable[[Float[np.ndarray, "n 2"]], Float[np.ndarray, "n 2"]],
    x: Float[np.ndarray, "n 2"],
    h: float = 1e-5,
) -> Float[np.ndarray, " n"]:
    """The curl of a field at each row of `x`, by central differences."""
    e1, e2 = h * np.eye(2)
    d1 = (field(x + e1) - field(x - e1)) / (2 * h)
    d2 = (field(x + e2) - field(x - e2)) / (2 * h)
    return d1[:, 1] - d2[:, 0]  # (15.8)


def guided_curl(
    model: Denoiser, xt: Float[np.ndarray, "n 2"], t: int, y: Int[np.ndarray, " n"], w: float
) -> Float[np.ndarray, " n"]:
    """The curl of the guided output at each row of `xt`."""
    return curl(lambda x: guided_eps(model, x, t, y, w), xt)  # (15.9)


@cache
def same_noise(model: Denoiser, w: float) -> Float[np.ndarray, "300 2"]:
    """100 samples of each class, from the same noise whatever the model and `w`."""
    y = np.repeat(np.arange(3), 100)
    return ancestral_sample(model, y, ORACLE.schedule, w, np.random.default_rng(2))


def apart(model: Denoiser, w: float) -> float:
    """The mean distance of a model's samples from those of the oracle, from the same noise."""
    off = same_noise(model, w) - same_noise(ORACLE, w)
    return float(np.linalg.norm(off, axis=1).mean())


def at(t: int) -> tuple[Float[np.ndarray, "n 2"], int, Int[np.ndarray, " n"]]:
    """Samples of `x_t`, the time, and their labels: the three inputs of a denoiser."""
    x0, y = ORACLE.mixture.sample(500, np.random.default_rng(3))
    rng = np.random.default_rng(4)
    eps = rng.standard_normal(x0.shape)
    xt = xt_from_x0(x0, eps, t, ORACLE.schedule)
    return xt, t, y


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step15_learning")
