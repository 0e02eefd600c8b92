r"""Step 06. The reverse step: a guess in the place of the data

**The question.** Step 4 found the distribution of $x_{t-1}$ if both $x_t$ and the data point are
known. Step 5 found the best guess of the data point if only $x_t$ is known. We would like to put
this guess into the formulas of step 4. Is this right? The guess is only a mean over many possible
data points, and a mean need not behave like any of them. This lesson writes down the true
distribution of $x_{t-1}$ given $x_t$. It compares the true mean, the true shape and the true
variance with those of the model.

**The true step and the model.** If the data point were known, step 4 would apply. It is not known,
so we average the posterior over all data points that may lie behind $x_t$:

$$ q(x_{t-1} | x_t) = \int q(x_{t-1} | x_t, x_0) q(x_0 | x_t) dx_0 $$ (6.1)

We write $q$ for the distributions of the forward process, which are the truth here. To compute
(6.1) we would need the distribution of the data, which we do not have. The model replaces the
average by a single posterior, with the guess $\hat x_0$ in the place of the data point. We write
$p$ for the distribution of the model:

$$ p(x_{t-1} | x_t) = N(x_{t-1}; c_0 \hat x_0 + c_t x_t, \tilde\beta_t I) $$ (6.2)

**An example that fails, and one that works.** The data are the numbers 1 and -1, each with
probability one half. Take a cosine schedule of only 4 steps, with $\bar\alpha_1 = 0.847$ and
$\bar\alpha_2 = 0.494$. Look at $t = 2$ and $x_t = 0$, which lies half way between the two. Both
data points are equally probable, so the guess is 0. The schedule gives $c_0 = 0.758$ and
$\tilde\beta_2 = 0.126$. So the true distribution of $x_1$ consists of two Gaussians with means
0.758 and -0.758 and standard deviation 0.355. The model has a single Gaussian with mean 0. It is
highest where the true density has a valley.

Now take the cosine schedule with 1000 steps, and look at $t = 500$, where $\bar\alpha_t$ is 0.494
as well. Here $c_0 = 0.00437$, and the standard deviation is 0.0560. The two Gaussians still exist,
but their means are only 0.009 apart, which is a sixth of their standard deviation. In the figure
their sum looks like a single Gaussian. The figure shows both cases and one between them. This is
the reason for many small steps.

**The mean is exact.** By step 4, the mean of $x_{t-1}$ given $x_t$ and the data point is
$c_0 x_0 + c_t x_t$. We average it over the data point while $x_t$ is fixed:

$$ E[x_{t-1} | x_t] = c_0 E[x_0 | x_t] + c_t x_t $$

This is the mean of the model if $\hat x_0 = E[x_0 | x_t]$. The two means agree at every $x_t$, for
data of any distribution and for steps of any size. For this reason the guess of step 5 has to be a
conditional mean, and not for example the most probable data point. (But the states of a sampler are
not distributed exactly like those of the forward process, so their overall mean need not be right;
see step 7.)

**The shape is nearly Gaussian if the steps are small.** Bayes' rule shows why, for data of any
distribution. As a function of $x_{t-1}$,

$$ q(x_{t-1} | x_t) \propto q(x_t | x_{t-1}) q(x_{t-1}) $$

The first factor is the likelihood of step 4, a Gaussian with the small variance
$\beta_t / \alpha_t$. The second is the true density of the noisy data at time $t - 1$. (Step 5
wrote $p$ for it. Here $p$ is the model.) For $t \ge 2$ this density is smooth, because noise of
variance $1 - \bar\alpha_{t-1}$ has been added to the data. If $\beta_t$ is small enough, the
logarithm of the second factor is nearly linear over the width of the first. A Gaussian times the
exponential of a linear function is a Gaussian again, with a shifted mean. So the product is nearly
Gaussian.

In the example the means of the two parts are $2 c_0$ apart, with
$c_0 = \sqrt{\bar\alpha_{t-1}} \beta_t / (1 - \bar\alpha_t)$. Compare steps of different size at the
same noise level. If they are small, $c_0$ is nearly proportional to $\beta_t$. The standard
deviation of each part is $\sqrt{\tilde\beta_t}$, which is about $\sqrt{\beta_t}$. So if the steps
become a hundred times smaller, the distance falls to about a hundredth, but the width only to about
a tenth. In small steps the two parts merge.

A number that measures the shape is the excess kurtosis, $E(X - m)^4 / Var(X)^2 - 3$ for a random
variable $X$ with mean $m$. It is 0 for a Gaussian and $-2$ for two points with equal probabilities.
In the example $x_t = 0$, and the state at $t - 1$ is $X = c_0 x_0 + \sqrt{\tilde\beta_t} z$. Here
$x_0$ is 1 or -1 with equal probabilities, and $z$ is standard normal and independent of $x_0$. So
$E x_0^2 = E x_0^4 = E z^2 = 1$ and $E z^4 = 3$. We multiply out $X^2$ and $X^4$. The products
$x_0 z$, $x_0^3 z$ and $x_0 z^3$ have mean 0, because $x_0$ and $z$ are independent and
$E z = E z^3 = 0$. The other terms give

$$ E X^2 = c_0^2 + \tilde\beta_t, \quad E X^4 = c_0^4 + 6 c_0^2 \tilde\beta_t + 3 \tilde\beta_t^2 $$

and the excess kurtosis follows by inserting them:

$$ E X^4 / (E X^2)^2 - 3 = -2 c_0^4 / (c_0^2 + \tilde\beta_t)^2 $$

It is -1.35 with 4 steps, -0.20 with 16 and -0.00007 with 1000, always half way along a cosine
schedule and at $x_t = 0$. If the steps are small, $c_0^2 / \tilde\beta_t$ is nearly proportional to
$\beta_t$ at a given noise level, so the excess kurtosis is nearly proportional to $\beta_t^2$.

Close to the data, steps of the usual size are not small enough. With 1000 steps the ratio
$c_0^2 / \tilde\beta_t$ is 0.006 at $t = 500$, 0.67 at $t = 100$ and 47 at $t = 20$. So at $x_t = 0$
the excess kurtosis is -0.32 at $t = 100$ and -1.92 at $t = 20$. But there the two data points are
so clearly separated that a state half way between them hardly occurs. Call a state ambiguous if
each data point has a probability of at least 1 % given $x_t$. As in the example of step 5, the log
odds of the two data points are $2 \sqrt{\bar\alpha_t} x_t / (1 - \bar\alpha_t)$. So the ambiguous
states are those in which this number lies between $-\log 99$ and $\log 99$. By the Gaussians of
step 3 they are 91 % of all states at $t = 500$, 1.4 % at $t = 200$, and 2 in a hundred million at
$t = 100$. In all other states one Gaussian has almost the whole weight.

**The variance is too small.** The variance of a random quantity is the mean of its conditional
variance plus the variance of its conditional mean (the law of total variance). Here we condition on
the data point, with $x_t$ fixed throughout. The model has the same variance in every coordinate and
no correlation between them, so we look at one coordinate:

$$ Var(x_{t-1} | x_t) = E[Var(x_{t-1} | x_t, x_0) | x_t] + Var(E[x_{t-1} | x_t, x_0] | x_t) $$

By step 4 the conditional variance is $\tilde\beta_t$, and the conditional mean is
$c_0 x_0 + c_t x_t$. In this mean only $x_0$ varies, and a factor enters a variance squared:

$$ Var(x_{t-1} | x_t) = \tilde\beta_t + c_0^2 Var(x_0 | x_t) $$ (6.3)

The model has only the first term. The second term is missing, because the model treats its guess as
certain. (In the same way the model lacks the covariances between coordinates, which are $c_0^2$
times those of $x_0$ given $x_t$.) How large is the missing term? If all data are one point, nothing
is uncertain and the term is zero. If the data are $N(0, I)$, then the data point and $x_t$ have
variance 1 and correlation $\sqrt{\bar\alpha_t}$. As in step 4, the variance of one given the other
is 1 minus the squared correlation, so $Var(x_0 | x_t) = 1 - \bar\alpha_t$. With $c_0$ from step 4
the missing term is then

$$ c_0^2 (1 - \bar\alpha_t) = \bar\alpha_{t-1} \beta_t^2 / (1 - \bar\alpha_t) $$

We add $\tilde\beta_t = \beta_t (1 - \bar\alpha_{t-1}) / (1 - \bar\alpha_t)$. Both terms have the
denominator $1 - \bar\alpha_t$, and their numerators add up to $\beta_t$ times

$$ 1 - \bar\alpha_{t-1} + \bar\alpha_{t-1} \beta_t = 1 - \bar\alpha_t $$

because $\bar\alpha_{t-1} (1 - \beta_t) = \bar\alpha_t$. So the sum is $\beta_t$, the variance of
the forward step.

Now consider data for which the mean square $E x_0^2$ of every coordinate is at most 1. Images with
values in $[-1, 1]$ are such data. We show that the true variance, averaged over $x_t$, then lies
between $\tilde\beta_t$ and $\beta_t$. To do so, we compare the best guess with the simpler guess
$\sqrt{\bar\alpha_t} x_t$. We insert $x_t$ from step 3. In one coordinate the error of the simpler
guess, $x_0 - \sqrt{\bar\alpha_t} x_t$, is

$$ (1 - \bar\alpha_t) x_0 - \sqrt{\bar\alpha_t (1 - \bar\alpha_t)} \epsilon $$

The data point and the noise are independent and the noise has mean 0. So the mean squared error of
the simpler guess is

$$ (1 - \bar\alpha_t)^2 E x_0^2 + \bar\alpha_t (1 - \bar\alpha_t) $$

For $E x_0^2 \le 1$ this is at most $1 - \bar\alpha_t$. The mean squared error of the best guess is
the average of $Var(x_0 | x_t)$ over $x_t$. By (5.1) it cannot be larger than that of another guess,
so it is at most $1 - \bar\alpha_t$ too. So the average of (6.3) over $x_t$ is at least
$\tilde\beta_t$ and at most $\tilde\beta_t + c_0^2 (1 - \bar\alpha_t)$. We found above that this
upper bound is $\beta_t$.

At a single $x_t$ the true variance may be larger. In the example with 4 steps it is
$0.126 + 0.758^2 = 0.701$ at $x_t = 0$, while $\beta_2 = 0.417$. So in general neither
$\tilde\beta_t$ nor $\beta_t$ is right at every $x_t$. A sampler may use either. Ho et al. found
similar results with both, for images and 1000 steps. With few steps the two differ. Step 7 computes
the variance of samples for Gaussian data. For data $N(0, 1/4)$ and 50 steps of the linear schedule
it is 0.197 with $\tilde\beta_t$, in place of 0.25. With $\beta_t$, and no noise at $t = 1$, it is
0.266. This course uses $\tilde\beta_t$ at every $t$. So the model is always the posterior of step
4, with the guess in the place of the data.

**The mean, written with the noise.** Many papers write the mean of the model with the predicted
noise $\hat\epsilon$ instead of the guess. Insert
$\hat x_0 = (x_t - \sqrt{1 - \bar\alpha_t} \hat\epsilon) / \sqrt{\bar\alpha_t}$ from step 5, and
collect the terms with $x_t$ and with $\hat\epsilon$. The factor of $x_t$ is
$c_0 / \sqrt{\bar\alpha_t} + c_t$. With $\bar\alpha_t = \alpha_t \bar\alpha_{t-1}$ both of its terms
get the same denominator:

$$ c_0 / \sqrt{\bar\alpha_t} = \beta_t / (\sqrt{\alpha_t} (1 - \bar\alpha_t)) $$
$$ c_t = \alpha_t (1 - \bar\alpha_{t-1}) / (\sqrt{\alpha_t} (1 - \bar\alpha_t)) $$

The sum of the two numerators is $1 - \bar\alpha_t$, as in step 4. So the factor of $x_t$ is
$1 / \sqrt{\alpha_t}$. The factor of $\hat\epsilon$ is
$-c_0 \sqrt{1 - \bar\alpha_t} / \sqrt{\bar\alpha_t}$. By the first of the two lines, its size is

$$ c_0 \sqrt{1 / \bar\alpha_t - 1} = \beta_t / \sqrt{\alpha_t (1 - \bar\alpha_t)} $$

Together, with $\mu$ for the mean of the model and $\beta_t = 1 - \alpha_t$,

$$ \mu = (x_t - ((1 - \alpha_t) / \sqrt{1 - \bar\alpha_t}) \hat\epsilon) / \sqrt{\alpha_t} $$ (6.4)

In words: remove a part of the predicted noise, and undo the shrinking of the forward step. This is
the same mean as in (6.2), written in another way.

**Clipping.** A trained network makes errors, and step 5 showed that an error in the noise may be
multiplied by a large factor. If every coordinate of the data lies in $[-1, 1]$, as for images, then
so does every mean of data points, and so does the best guess. A guess outside this interval is
certainly wrong. Moving it to the nearest end of the interval is called clipping. It brings the
guess closer to every point of the interval, and so to the best guess. With clipping, the guess in
(6.2) is

$$ \hat x_0 = clip(p_t x_t + q_t g) $$ (6.5)

where $g$ is the output of the network, and the factors $p_t$ and $q_t$ are those of step 5. For
data without known bounds, such as the toy data, nothing is clipped. Take the cosine schedule with
1000 steps at $t = 1000$. There an error $e$ in the noise changes the guess by $20291 e$. By (6.4)
it changes the mean by $0.999 / \sqrt{0.001} = 31.6$ times $e$, because $\beta_T = 0.999$. With
clipping the guess can move by at most 2, from one end of the interval to the other. So the mean
moves by at most $2 c_0 = 0.0031$, however large the error is.

**At the boundary.** At $t = 1$ the coefficients are $c_0 = 1$, $c_t = 0$ and $\tilde\beta_1 = 0$
(step 4). The last step returns the guess itself, and adds no noise:

$$ p(x_0 | x_1) = \text{the point } \hat x_0 $$ (6.6)

**What goes wrong.** The most common mistake is to clip the guess and then to compute the mean from
(6.4) with the old noise. The old noise does not belong to the clipped guess. And (6.4) does not
contain the guess, so the clipping has no effect at all. Use (6.2), or compute the noise that
belongs to the clipped guess first, as `eps_from_x0` of step 5 does. Another mistake is to add noise
of variance $\beta_1$ in the last step. It is true that the data point given $x_1$ is still
uncertain, so (6.6) is an approximation. But independent noise in every pixel is no remedy: it is
visible as grain, whether or not the images of the data have any. Its standard deviation is
$\sqrt{\beta_1}$. This is 0.01 for 1000 linear steps and 0.045 for 50. If the values of the pixels
lie in $[-1, 1]$, two neighbouring grey levels are 1 / 127.5 apart (step 2). So the noise is 1.3
levels with 1000 steps, and about six with 50.

**Where it goes on.** We can now go one step back from any $x_t$. How do we get from noise to a new
data point, and how far is the result from the data? Step 7 runs the loop.

**Source.** Ho et al. 2020, arXiv:2006.11239, eq. 11 and sec. 3.2; Sohl-Dickstein et al. 2015,
arXiv:1503.03585 (small steps).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step04_posterior import posterior_coefficients, q_posterior
from tutorial.step05_best_guess import x0_from

if TYPE_CHECKING:
    from jaxtyping import Float


def two_point_density(
    x: Float[np.ndarray, " n"], xt: float, t: int, schedule: Schedule
) -> Float[np.ndarray, " n"]:
    """The true `q(x_{t-1} | x_t)` on a line whose data are -1 and 1, for `t` in 2..T."""
    abar = schedule.alpha_bar[schedule.check_t(t, first=2)]
    up = (1 + np.tanh(np.sqrt(abar) * xt / (1 - abar))) / 2  # the probability of x_0 = 1, by Bayes
    from_low = q_posterior(np.array([-1.0]), np.array([xt]), t, schedule)
    from_high = q_posterior(np.array([1.0]), np.array([xt]), t, schedule)
    low = np.exp(from_low.log_density(x[:, None]))
    high = np.exp(from_high.log_density(x[:, None]))
    return (1 - up) * low + up * high  # (6.1)


def p_xprev_given_xt(
    xt: Float[np.ndarray, "*n D"],
    out: Float[np.ndarray, "*n D"],
    t: int,
    schedule: Schedule,
    prediction: str = "eps",
    clip: float = np.inf,
) -> Gaussian:
    """The reverse step from a network's output `out`, for `t` in 1..T; `clip` > 0 bounds x0hat."""
    if not clip > 0:
        raise ValueError(f"clip = {clip} is not above 0 (inf: no clipping)")
    x0hat = x0_from(out, xt, t, schedule, prediction)
    x0hat = np.clip(x0hat, -clip, clip)  # (6.5)
    # At t = 1 the variance is 0 and the mean is x0hat (6.6).
    return q_posterior(x0hat, xt, t, schedule)  # (6.2)


def reverse_var(var_x0: float, t: int, schedule: Schedule) -> float:
    """The true variance of `x_{t-1}` given `x_t`, from that of the data given `x_t`."""
    c_0, _, posterior_var = posterior_coefficients(t, schedule)
    return posterior_var + c_0**2 * var_x0  # (6.3)


def mean_from_eps(
    eps: Float[np.ndarray, "*n D"], xt: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n D"]:
    """The mean of the reverse step written with eps, without a clip, for `t` in 1..T."""
    alpha = schedule.alpha[schedule.check_t(t)]
    abar = schedule.alpha_bar[t]
    return (xt - (1 - alpha) / np.sqrt(1 - abar) * eps) / np.sqrt(alpha)  # (6.4)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step06_reverse")
