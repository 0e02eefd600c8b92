r"""Step 03. The marginal: from the data to any time in one draw

**The question.** Training will need noisy points $x_t$ at random times, millions of them. The
chain of step 2 reaches $x_t$ only after $t$ steps, each with its own noise, and the states on the
way are not used. Can we draw $x_t$ directly from the data? We can, if we know its distribution
given $x_0$. It is often called a marginal of the forward process, because the states between
$x_0$ and $x_t$ have been averaged out. It is still conditional on $x_0$.

**An example.** Let a chain take two steps, the first with $\beta_1 = 0.2$ and the second with
$\beta_2 = 0.3$. By step 2, the state is multiplied by the root of 0.8 in the first step, and by
the root of 0.7 in the second. The two noises are independent and standard normal. We call them
$\epsilon_1$ and $\epsilon_2$.

$$ x_1 = \sqrt{0.8} x_0 + \sqrt{0.2} \epsilon_1 $$
$$ x_2 = \sqrt{0.7} x_1 + \sqrt{0.3} \epsilon_2 $$

Put the first line into the second. The factors of the data multiply, and 0.8 times 0.7 is 0.56.
The first noise is multiplied by the factor of the second step, and 0.2 times 0.7 is 0.14:

$$ x_2 = \sqrt{0.56} x_0 + \sqrt{0.14} \epsilon_1 + \sqrt{0.3} \epsilon_2 $$

The two noise terms are independent Gaussians with variances 0.14 and 0.30. The sum of independent
Gaussians is Gaussian, and its variance is the sum of theirs, 0.44. So one noise can replace the
two. We scale it to variance 1 and call it $\epsilon$:

$$ \epsilon = (\sqrt{0.14} \epsilon_1 + \sqrt{0.3} \epsilon_2) / \sqrt{0.44} $$
$$ x_2 = \sqrt{0.56} x_0 + \sqrt{0.44} \epsilon $$

The variance of the noise is 1 - 0.56: what the data have lost, the noise has gained. Only
variances add in this way. The standard deviations of the two terms are 0.374 and 0.548. Their sum
is 0.922, but the standard deviation of the whole noise is 0.663.

**The claim.** After any number of steps, all noises can be replaced by a single one. With the
product $\bar\alpha_t$ of step 2, the distribution of $x_t$ given the data is

$$ q(x_t | x_0) = N(x_t; \sqrt{\bar\alpha_t} x_0, (1 - \bar\alpha_t) I) $$ (3.1)

To draw $x_t$ we therefore draw a single standard normal noise $\epsilon$ and set

$$ x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} \epsilon $$ (3.2)

In the example $\bar\alpha_2$ is 0.56. With $x_0 = 1$ and $\epsilon = -0.5$ the result is 0.7483 -
0.5 · 0.6633 = 0.4167.

**The derivation.** We first examine what one more step does. Suppose that some steps have led from
$x_0$ to a state $x$ in which the data have the factor $\sqrt{A}$ and the noise has variance
$1 - A$. Here $A$ is a number between 0 and 1. One more step follows. It multiplies $x$ by
$\sqrt{\alpha}$ and adds new noise of variance $1 - \alpha$. Call its result $x'$:

$$ x = \sqrt{A} x_0 + \sqrt{1 - A} \epsilon $$
$$ x' = \sqrt{\alpha} x + \sqrt{1 - \alpha} \epsilon' $$
$$ x' = \sqrt{\alpha A} x_0 + \sqrt{\alpha (1 - A)} \epsilon + \sqrt{1 - \alpha} \epsilon' $$

The noise $\epsilon$ was made by earlier steps, and the new noise is independent of it. So the
last two terms are independent Gaussians, and their sum is a Gaussian with mean 0. Its variance is

$$ \alpha (1 - A) + (1 - \alpha) = 1 - \alpha A $$ (3.3)

So the new state has the same form as the old one, with $\alpha A$ in the place of $A$. This is
the step of an induction. After the first step, (3.1) is the forward step itself, because
$\bar\alpha_1 = \alpha_1$. Suppose that (3.1) holds at $t - 1$. Take $\bar\alpha_{t-1}$ for $A$
and $\alpha_t$ for $\alpha$. Their product is $\bar\alpha_t$, so (3.1) holds at $t$ too.

**What the noise is.** The $\epsilon$ of (3.2) is not the noise of any single step. It is the
weighted sum of the noises of all steps, scaled to variance 1, as in the example. A network will
later be trained to predict this sum from $x_t$. If we knew it, we could solve (3.2) for $x_0$,
unless $\bar\alpha_t$ is 0. So a prediction of the noise is also a prediction of the data. We cannot
know the noise exactly, because many pairs of $x_0$ and $\epsilon$ lead to the same $x_t$. Step 5
finds the best prediction.

**From any time to any later time.** Nothing in the argument depends on starting at 0. Let $s$ and
$t$ be two times with $s \le t$. If we start at $x_s$, the induction collects only the factors
$\alpha_{s+1}, \dots, \alpha_t$. Their product is a ratio of two entries of the table. We write it
with the index $t|s$, which is read "at $t$ given the state at $s$":

$$ \alpha_{t|s} = \bar\alpha_t / \bar\alpha_s $$ (3.4)
$$ q(x_t | x_s) = N(x_t; \sqrt{\alpha_{t|s}} x_s, (1 - \alpha_{t|s}) I) $$ (3.5)

For the second step of the example the ratio is 0.56 / 0.8 = 0.7, as it must be. A chain that
visits only the times 0, 10, 20 and so on has these distributions as its forward steps. It is a
shorter chain with another schedule, but with the same marginals at the times that it visits. So a
sampler can also be built with fewer and longer steps. Longer steps back have a price, as the
variances in step 0 show; step 17 returns to it.

By (3.4) the step from $s$ to $t$ depends on two values of $\bar\alpha$, and on nothing else. The
times themselves do not matter, so they can be renamed or spaced differently. In place of
$\bar\alpha$ we can also use the log signal-to-noise ratio $\lambda$ of step 2, because each
determines the other: $\bar\alpha = 1 / (1 + e^{-\lambda})$. The guidance paper describes its
process by $\lambda$ alone, and step 16 will use its formula for the noise of a step. To derive it,
we divide the signal-to-noise ratio at $t$, $\bar\alpha_t / (1 - \bar\alpha_t)$, by the one at $s$.
The quotient of the two numerators is $\alpha_{t|s}$ by (3.4). The denominators contribute
$(1 - \bar\alpha_s) / (1 - \bar\alpha_t)$:

$$ e^{\lambda_t - \lambda_s} = \alpha_{t|s} (1 - \bar\alpha_s) / (1 - \bar\alpha_t) $$

Multiply both sides by $1 - \bar\alpha_t$. By (3.4), $\alpha_{t|s} \bar\alpha_s$ is $\bar\alpha_t$:

$$ e^{\lambda_t - \lambda_s} (1 - \bar\alpha_t) = \alpha_{t|s} - \bar\alpha_t $$

Subtract both sides from $1 - \bar\alpha_t$. Then $\bar\alpha_t$ cancels on the right, and the
noise variance of (3.5) remains:

$$ 1 - \alpha_{t|s} = (1 - e^{\lambda_t - \lambda_s}) (1 - \bar\alpha_t) $$ (3.6)

In the example the signal-to-noise ratio is 0.8 / 0.2 = 4 after the first step, and 0.56 / 0.44 =
1.273 after the second. Equation (3.6) gives (1 - 1.273 / 4) · 0.44 = 0.30, which is the variance
of the second noise. For $s = 0$ the exponential is 0, and (3.6) gives $1 - \bar\alpha_t$, in
agreement with (3.1).

**At the start.** At $t = 0$ no noise has been added. The distribution is a point, and has no
density:

$$ q(x_0 | x_0): \text{mean } x_0, \text{ variance } 0 $$ (3.7)

**At the end.** A sampler will start from $N(0, I)$. The forward process ends in (3.1) with $t = T$,
which still depends a little on the data. How different are the two? A common measure is the
Kullback-Leibler divergence. For two densities $q$ and $p$ it is the mean of $\log q(x) - \log p(x)$
over samples $x$ of $q$. Because the logarithm is natural, the unit of the divergence is called the
nat. The divergence is 0 if the two distributions are equal, and positive otherwise. This follows
from $\log u \le u - 1$, which is an equality only at $u = 1$. With $u = p(x) / q(x)$ the divergence
is the mean of $-\log u$ under $q$, so it is at least 1 minus the mean of $u$. If $q$ is positive
everywhere, as here, the mean of $u$ is the integral of $q(x) u = p(x)$, which is 1.

Take one coordinate first, with $q = N(m, v)$ and $p = N(0, 1)$. By (2.2) the difference of the
logarithms is

$$ \log q(x) - \log p(x) = -(x - m)^2 / (2 v) - \tfrac{1}{2} \log v + x^2 / 2 $$

Now take the mean under $q$. That of $(x - m)^2$ is $v$, and that of $x^2$ is $m^2 + v$:

$$ KL = -\tfrac{1}{2} - \tfrac{1}{2} \log v + (m^2 + v) / 2 $$

By (3.1), $m$ is $\sqrt{\bar\alpha_t}$ times a coordinate of $x_0$, and $v$ is $1 - \bar\alpha_t$.
For one coordinate this gives

$$ KL = (\bar\alpha_t x_0^2 + (1 - \bar\alpha_t) - 1 - \log(1 - \bar\alpha_t)) / 2 $$

The coordinates are independent, so their divergences add. In $D$ dimensions the divergence of
$q(x_t | x_0)$ from $N(0, I)$ is

$$ (\bar\alpha_t |x_0|^2 - D \bar\alpha_t - D \log(1 - \bar\alpha_t)) / 2 $$ (3.8)

For small $\bar\alpha_t$ the last two terms almost cancel, because $-\log(1 - a)$ is $a$ plus terms
of order $a^2$. So the divergence is about $\bar\alpha_t |x_0|^2 / 2$, unless $x_0$ is almost zero.
For example, let $T = 1000$ and let the data point be a single number, $x_0 = 1$. At the end of the
linear schedule the mean of $x_T$ is still 0.0064, and the divergence is 2.0e-5 nats. At the end of
the cosine schedule the mean is 0.000049, and the divergence is 1.2e-9 nats.

For one number the divergence is small, but the divergences of all coordinates add. A colour picture
of 64 x 64 pixels has 12,288 numbers, between -1 and 1. If their mean square is 1/4, for example,
then $|x_0|^2$ is 3,072. With $\bar\alpha_T = 0.0000404$ the linear schedule leaves 0.062 nats, and
the cosine schedule 3.7e-6. What does a divergence of 0.062 nats mean? By Pinsker's inequality, the
probabilities of any event under the two distributions differ by at most $\sqrt{KL / 2}$, which is
0.18 here.

These numbers hold for one given picture. But a sampler does not know $x_0$. It draws from $N(0, I)$
in the place of $q(x_T)$, the distribution of $x_T$ over all data. This is the average of (3.1) over
$x_0$. The divergence of $q(x_T)$ from $N(0, I)$ is at most the average of (3.8) over $x_0$. To show
this, write $p$ for the density of $N(0, I)$. Draw a data point $x_0$, and $x_T$ from
$q(x_T | x_0)$. Three means over such pairs are needed:

- The mean of $\log(q(x_T | x_0) / p(x_T))$ is the average of (3.8).
- The mean of $\log(q(x_T | x_0) / q(x_T))$ is the average of the divergences of $q(x_T | x_0)$ from
  $q(x_T)$. It is not negative, because no divergence is negative.
- The mean of $\log(q(x_T) / p(x_T))$ is the divergence of $q(x_T)$ from $N(0, I)$.

The first logarithm is the sum of the other two. So the first mean is the sum of the other two
means, and the third mean is at most the first. It can be far smaller than the first. Take
`three_gaussians` and the linear schedule, where $\bar\alpha_T$ is 4.036e-5. By step 1 the mean of
$|x_0|^2$ is 2 · 1.375 = 2.75, so the average of (3.8) is 4.036e-5 · 2.75 / 2 = 5.55e-5 nats. But
the divergence of $q(x_T)$, computed by a sum over a grid, is 1.1e-10. So $N(0, I)$ is an excellent
approximation of $q(x_T)$ here.

**What goes wrong.** Several mistakes cause no error message, because all shapes are right. The
numbers below belong to the example with two steps. If the data are multiplied by $\bar\alpha_t$ in
place of its root, the factor is 0.56 in place of 0.748. If the variance is written as
$1 - \sqrt{\bar\alpha_t}$, it is 0.252 in place of 0.44. If $\alpha_t$ is used for $\bar\alpha_t$,
only the noise of one step is added, and the variance is 0.3. If standard deviations are added in
place of variances, the variance is 0.850. Another mistake is to read the table one entry too early.
Then the state at $t = 1$ contains no noise at all, and all others contain too little.

**Where it goes on.** The way from a data point to noise is now completely known. (For the
mixtures of step 1, step 5 adds the distribution of $x_t$ over all data.) The problem is the way
back. If we knew both ends, $x_0$ and $x_t$, where was the chain one step before $x_t$? That is
step 4.

**Source.** Ho et al. 2020, arXiv:2006.11239, eq. 4, for (3.1); Ho and Salimans 2022,
arXiv:2207.12598, sec. 2, for (3.6); Lin et al. 2023, arXiv:2305.08891, on schedules that leave
too much of the data at $T$; Cover and Thomas 2006, Elements of Information Theory, sec. 2.6, 2.7
and 11.6, for the properties of the divergence and Pinsker's inequality.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Gaussian, Schedule

if TYPE_CHECKING:
    from jaxtyping import Float


def q_xt_given_x0(x0: Float[np.ndarray, "*n D"], t: int, schedule: Schedule) -> Gaussian:
    """The distribution of `x_t` given the data, for `t` in 0..T. At t = 0 it is a point.

    >>> q_xt_given_x0(np.array([2.0, 1.0]), 0, Schedule.linear(10))
    Gaussian(mean=array([2., 1.]), var=0.0)
    """
    schedule.check_t(t, first=0)
    abar = schedule.alpha_bar[t]
    # At t = 0, abar = 1: the mean is x_0 and the variance is 0 (3.7).
    return Gaussian(np.sqrt(abar) * x0, float(1 - abar))  # (3.1)


def xt_from_x0(
    x0: Float[np.ndarray, "*n D"], eps: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n D"]:
    """`x_t` from the data and a given noise, for `t` in 0..T."""
    q = q_xt_given_x0(x0, t, schedule)
    return q.mean + np.sqrt(q.var) * eps  # (3.2)


def one_more_step(A: float, alpha: float) -> tuple[float, float]:
    """The squared factor of the data, and the variance of the noise, after one more step.

    Args:
        A: the squared factor before the step, 0..1. The noise has the variance 1 - A.
        alpha: the squared factor of the step, 0..1. Its noise has the variance 1 - alpha.
    """
    A_next = alpha * A
    noise = alpha * (1 - A) + (1 - alpha)  # (3.3)
    return A_next, noise


def q_xt_given_xs(xs: Float[np.ndarray, "*n D"], s: int, t: int, schedule: Schedule) -> Gaussian:
    """The distribution of `x_t` given an earlier state `x_s`, for `t` in 0..T and `s` in 0..t."""
    schedule.check_t(t, first=0)
    _check_s(s, t)
    alpha_ts = schedule.alpha_bar[t] / schedule.alpha_bar[s]  # (3.4)
    return Gaussian(np.sqrt(alpha_ts) * xs, float(1 - alpha_ts))  # (3.5)


def var_given_xs_by_log_snr(s: int, t: int, schedule: Schedule) -> float:
    """The variance of `q(x_t | x_s)` from the log SNR at both times, `t` in 0..T and `s` in 0..t.

    At s = t = 0 both are infinite, and their difference is taken to be 0.
    """
    schedule.check_t(t, first=0)
    _check_s(s, t)
    difference = schedule.log_snr[t] - schedule.log_snr[s] if s < t else 0.0
    return float(-np.expm1(difference) * (1 - schedule.alpha_bar[t]))  # (3.6)


def kl_to_noise(
    x0: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n"] | float:
    """The KL divergence of `q(x_t | x_0)` from N(0, I), in nats, for `t` in 1..T."""
    abar = schedule.alpha_bar[schedule.check_t(t)]
    # log1p: at the end of a chain the two terms without x_0 cancel down to abar^2 / 2.
    return 0.5 * (abar * x0**2 - abar - np.log1p(-abar)).sum(-1)  # (3.8)


def _check_s(s: int, t: int) -> None:
    if not 0 <= s <= t:
        raise ValueError(f"s = {s} is outside 0..{t}: the forward process runs from s to t")


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step03_marginal")
