r"""Appendix B. The exact distribution of the samples, for Gaussian data

**The question.** Step 7 showed on a line that the loop samples too little variance, even with an
exact guess. Real data have a mean, and their coordinates are correlated. What is the distribution
of every state of the loop then? And if we know it, how can a test decide from samples whether a
program draws from it?

**An example.** Let the data be $N(1, 1/4)$ on a line, and let the chain have two steps with
$\beta_1 = \beta_2 = 0.5$. The loop starts at $x_2$ with mean 0 and variance 1. The noised data have
the mean 0.5 and the variance 0.8125 there. The results below show that the samples have the mean
0.923 and the variance 0.050. Both are wrong. The reasons differ. The mean is wrong only because the
start has the wrong mean. The variance would be 0.046 after the right start, so the start is not its
only error.

**The claim.** Let the data be $N(\mu, S)$ with any covariance matrix $S$, let the denoiser be the
exact one, and let $w = 0$. Nothing is clipped. Then every state $x_t$ of the loop (7.2) is
Gaussian. Its mean $m_t$ and its covariance matrix $V_t$ follow from two recursions from $t = T$
down to 0. The final mean has a closed form.

**One step is a regression.** By (5.11) the noised data have the covariance matrix
$C_t = \bar\alpha_t S + (1 - \bar\alpha_t) I$. By step 6 the mean of the model's step is the true
$E[x_{t-1} | x_t]$ of the forward process. The forward step multiplies $x_{t-1}$ by
$\sqrt{\alpha_t}$ and adds independent noise. The noise has no covariance with $x_{t-1}$, whose own
covariance matrix is $C_{t-1}$. So the covariance of two neighbours is

$$ Cov(x_{t-1}, x_t) = \sqrt{\alpha_t} C_{t-1} $$

The two states are jointly Gaussian. For such vectors the conditional mean of one is its mean, plus
a matrix times the distance of the other from its mean. The matrix is the covariance of the two
times the inverse covariance matrix of the second. (On a line this is the slope of linear
regression, the covariance divided by the variance.) The means of the noised data are
$\sqrt{\bar\alpha_t} \mu$, so

$$ E[x_{t-1} | x_t] = \sqrt{\bar\alpha_{t-1}} \mu + A_t (x_t - \sqrt{\bar\alpha_t} \mu) $$ (B.1)
$$ A_t = \sqrt{\alpha_t} C_{t-1} C_t^{-1} $$ (B.2)

Every eigenvector of $S$ is an eigenvector of every $C_t$. So these matrices commute, and $A_t$ is
symmetric. In the direction of one eigenvector, the variances below are those of step 7, with its
eigenvalue as the variance of the data.

**The recursions.** The loop replaces $x_t$ by the right side of (B.1) and adds independent noise of
variance $\tilde\beta_t$ in each coordinate. An affine function of a Gaussian vector is Gaussian. To
get the new mean, apply the function to the old one. The covariance matrix $V_t$ becomes
$A_t V_t A_t^T$, and $A_t^T = A_t$ here. The start has $m_T = 0$ and $V_T = I$, so

$$ m_{t-1} = \sqrt{\bar\alpha_{t-1}} \mu + A_t (m_t - \sqrt{\bar\alpha_t} \mu) $$ (B.3)
$$ V_{t-1} = A_t V_t A_t + \tilde\beta_t I $$ (B.4)

In the example $A_2 = \sqrt{0.5} \cdot 0.625 / 0.8125 = 0.544$ and $\tilde\beta_2 = 1/3$. So
$V_1 = 0.544^2 + 1/3 = 0.629$. The last step has $A_1 = \sqrt{0.5} \cdot 0.25 / 0.625 = 0.283$ and
adds no noise. The result is $V_0 = 0.283^2 \cdot 0.629 = 0.050$.

**Only the start makes the mean wrong.** Let $\delta_t = m_t - \sqrt{\bar\alpha_t} \mu$ be the error
of the mean at time $t$. By (B.3) a step only multiplies it by $A_t$. So the whole loop multiplies
it by the product of all these matrices. In the product, each $C_t$ cancels the next inverse. One
factor at each end remains:

$$ \delta_{t-1} = A_t \delta_t $$
$$ A_1 A_2 \cdots A_T = \sqrt{\bar\alpha_T} C_0 C_T^{-1} $$

At the start the error is $\delta_T = -\sqrt{\bar\alpha_T} \mu$, because the loop starts at mean 0.
Since $C_0 = S$, the mean of the samples is

$$ m_0 = \mu - \bar\alpha_T S C_T^{-1} \mu $$ (B.5)

In the example the error is $0.25 \cdot 0.25 / 0.8125 = 0.077$, so the mean is 0.923. On the linear
schedule with $T = 1000$ we have $\bar\alpha_T = 0.00004$, and $C_T$ is close to $I$ if the
variances of the data are of the order 1. For such data the relative error of the mean is of this
size, so the mean is right for every practical purpose.

**Every step loses covariance.** By the law of total variance, the covariance matrix
of $x_{t-1}$ in the forward process is the covariance matrix of the conditional mean plus the mean
conditional covariance matrix. The first is $A_t C_t A_t$. The second is (6.3), with a covariance
matrix in the place of the variance, and $c_0$ is the factor (4.5) of $x_0$ in the posterior:

$$ C_{t-1} = A_t C_t A_t + \tilde\beta_t I + c_0^2 Var(x_0 | x_t) $$

The loop (B.4) has all terms but the last. For Gaussian data this term is known. For jointly
Gaussian vectors, the conditional covariance matrix of the first is its covariance matrix, minus the
matrix of the regression above times the covariance of the second with the first. The covariance of
$x_0$ and $x_t$ is $\sqrt{\bar\alpha_t} S$, so this matrix is $\sqrt{\bar\alpha_t} S C_t^{-1}$, and

$$ Var(x_0 | x_t) = S - \bar\alpha_t S C_t^{-1} S $$
$$ Var(x_0 | x_t) = (S C_t^{-1}) (C_t - \bar\alpha_t S) = (1 - \bar\alpha_t) S C_t^{-1} $$

Let $G_t = C_t - V_t$ be the covariance that is missing at time $t$. Subtract (B.4) from the
recursion for $C_t$:

$$ G_{t-1} = A_t G_t A_t + c_0^2 (1 - \bar\alpha_t) S C_t^{-1} $$ (B.6)

At the start, $G_T = \bar\alpha_T (S - I)$ is almost 0 if $\bar\alpha_T$ is. (In the example it is
$0.25 \cdot (-0.75) = -0.19$: the loop starts with too much variance, and $G_1$ is still slightly
negative.) The added term is positive in every direction in which the data vary. For the three
variances in the figure the missing fraction $G_t / C_t$ of one coordinate grows in every step
towards the data (right panel). Step 7 discusses how the fraction at $t = 0$ falls with $T$. A new
question is how it differs between directions. The table has the eigenvalues of $S$ in its columns.
It shows which fraction of the variance the samples lack on the linear schedule.

| variance of the data | 1/4 | 1 | 4 |
|---|---|---|---|
| $T = 20$ | 41.0 % | 31.3 % | 27.4 % |
| $T = 100$ | 12.3 % | 7.9 % | 6.0 % |
| $T = 1000$ | 1.5 % | 0.9 % | 0.6 % |

In every row of the table narrow directions lose a larger fraction. This is not so for all variances
and schedules: with $T = 20$, the fraction is 29.1 % for the variance 25, more than the 27.4 % for
the variance 4. But in general the fraction differs between directions. Then samples of correlated
data are too narrow, and their correlation is wrong as well. For example, let two coordinates have
the variance 1 and the correlation 0.5. The covariance matrix has the eigenvalues 1.5 and 0.5, along
$(1, 1)$ and $(1, -1)$. With $T = 20$ the samples have the variances 1.056 and 0.323 in these
directions. Half their sum is the variance of a coordinate, and half their difference is the
covariance. The quotient is $(1.056 - 0.323) / (1.056 + 0.323) = 0.53$, so the samples have the
correlation 0.53 and not 0.5.

**A test of the whole distribution.** A test should accept a right program nearly always and refuse
a wrong one nearly always. Take $n$ independent samples of one coordinate, or of one direction (the
product of each sample with a fixed vector). Let $F_n(x)$ be the fraction of them up to $x$, and let
$F$ be the distribution function that we computed. Massart proved a bound for their largest
distance, for every $n$ and every $F$. (It is the inequality of Dvoretzky, Kiefer and Wolfowitz with
the best constant. We use it without a proof.)

$$ P(\sup |F_n - F| > d) \le 2 e^{-2 n d^2} $$

The rate of false alarms should be at most $r$. Set the right side equal to $r$ and solve for $d$:

$$ \log(2 / r) = 2 n d^2 $$
$$ d = \sqrt{\log(2 / r) / (2 n)} $$ (B.7)

A test refuses the samples if the distance is larger than $d$. For $n = 20000$ and a rate of one in
a million, $d = 0.0190$.

How often does a wrong program pass? Let $F'$ be the true distribution function of its samples, and
let its distance $D = \sup |F' - F|$ from $F$ be larger than $d$. By the triangle inequality

$$ D \le \sup |F' - F_n| + \sup |F_n - F| $$

If the program passes, the last term is at most $d$. Then the first term is at least $D - d$: the
samples are that far from the distribution from which they were drawn. The bound of Massart limits
how often this happens:

$$ P(\text{pass}) \le 2 e^{-2 n (D - d)^2} $$ (B.8)

With $T = 20$ linear steps and data of variance 1/4, the exact distribution of the samples is at
$D = 0.063$ from that of the data. (For two Gaussians with the same mean, the distance of the
distribution functions is largest where the densities are equal.) A program that drew from the data
themselves would pass with a probability below $10^{-33}$. So the test sees the difference between
the loop and its data. For $T = 1000$ the distance is 0.0019.

How many samples does a test need to see this distance? If $D = 2 d$, then $D - d = d$, and the
right side of (B.8) is $r$. So a program that draws from the data passes with a probability of at
most $r$. By (B.7), with $d = 0.0019 / 2$, it takes 8 million samples. This is the price of a test
that assumes nothing about the mistake. A test of the variance alone would need 0.8 million for the
same two rates. The variance of the samples is 1.55 % smaller than 1/4. (The table has this number
as 1.5 %.) The variance of $n$ Gaussian samples has the relative standard error $\sqrt{2 / n}$. A
normal variable is farther than 4.89 standard deviations from its mean with the probability $r$, one
in a million. So a test that accepts up to 4.89 standard errors has this rate of false alarms. If
the true difference is twice as large, a program passes only if its variance is another 4.89
standard errors away from its expected value. Setting $2 \cdot 4.89 \sqrt{2 / n} = 0.0155$ gives
$n = 2 (2 \cdot 4.89 / 0.0155)^2$.

**At the boundary.** If the data are one point, $S = 0$ and $A_1 = 0$. The samples are exactly this
point, because the error in (B.5) has the factor $S$. For $T = 1$ the variance is $A_1^2$ in each
direction, and nothing else. If $\bar\alpha_T$ were 0, the mean would be exact.

**What goes wrong.** The samples are compared with the data and not with the distribution of the
loop. Then a correct program fails when $n$ is large, and its author looks for a mistake that does
not exist. The mean and the variance of $F$ are estimated from the samples that are tested. Then a
wrong mean and a wrong variance cannot be seen, and (B.8) does not hold. The same samples are tested
in several directions, each at the rate $r$: the probability of any false alarm can then be as large
as the sum of the rates. $\tilde\beta_t$ is replaced with $\beta_t$ in every step. For $S = I$ the
samples then have exactly the covariance of the data, which the right program does not reach. So a
test that compares them with such data accepts the wrong program and, if $n$ is large enough,
refuses the right one.

**Where it goes on.** Appendix D uses the recursions for a guided chain.

**Source.** Massart 1990, Ann. Probab. 18:1269 (the bound in (B.7)). The rest is derived here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import posterior_coefficients

if TYPE_CHECKING:
    from jaxtyping import Float


def reverse_slope(
    t: int, cov: Float[np.ndarray, "D D"], schedule: Schedule
) -> Float[np.ndarray, "D D"]:
    """The matrix `A_t` of the step from `t` in 1..T, for data of the covariance matrix `cov`."""
    eye = np.eye(len(cov))
    abar = schedule.alpha_bar[t]
    abar_prev = schedule.alpha_bar[t - 1]
    C_t = np.asarray(abar * cov + (1 - abar) * eye)
    C_prev = np.asarray(abar_prev * cov + (1 - abar_prev) * eye)
    return np.sqrt(schedule.alpha[t]) * C_prev @ np.linalg.inv(C_t)  # (B.2)


def mean_of_step(
    xt: Float[np.ndarray, "*n D"],
    t: int,
    mean: Float[np.ndarray, " D"],
    cov: Float[np.ndarray, "D D"],
    schedule: Schedule,
) -> Float[np.ndarray, "*n D"]:
    """`E[x_{t-1} | x_t]` for data N(mean, cov), and `t` in 1..T."""
    signal = np.sqrt(schedule.alpha_bar)
    away = xt - signal[t] * mean
    return signal[t - 1] * mean + away @ reverse_slope(t, cov, schedule).T  # (B.1)


def chain_law(
    mean: Float[np.ndarray, " D"], cov: Float[np.ndarray, "D D"], schedule: Schedule
) -> tuple[Float[np.ndarray, "T1 D"], Float[np.ndarray, "T1 D D"], Float[np.ndarray, "T1 D D"]]:
    """`m`, `V` and `G` of the loop's states for t = 0..T, if the data are N(mean, cov)."""
    abar = schedule.alpha_bar
    eye = np.eye(len(mean))
    C = np.array([a * cov + (1 - a) * eye for a in abar])
    m = np.zeros((len(abar), len(mean)))
    V = np.zeros_like(C) + eye
    G = C - eye
    inverse = np.linalg.inv(C[1:])  # of C_1 .. C_T; the covariance of the data may be singular
    for t in range(schedule.T, 0, -1):
        c_0, _, posterior_var = posterior_coefficients(t, schedule)
        A = reverse_slope(t, cov, schedule)
        m[t - 1] = mean_of_step(m[t], t, mean, cov, schedule)  # (B.3)
        V[t - 1] = A @ V[t] @ A + posterior_var * eye  # (B.4)
        missing = c_0**2 * (1 - abar[t]) * cov @ inverse[t - 1]
        G[t - 1] = A @ G[t] @ A + missing  # (B.6)
    return m, V, G


def final_mean(
    mean: Float[np.ndarray, " D"], cov: Float[np.ndarray, "D D"], schedule: Schedule
) -> Float[np.ndarray, " D"]:
    """The mean of the samples in closed form, if the data are N(mean, cov)."""
    abar_T = schedule.alpha_bar[-1]
    C_T: np.ndarray = abar_T * cov + (1 - abar_T) * np.eye(len(mean))
    return mean - abar_T * cov @ np.linalg.inv(C_T) @ mean  # (B.5)


def dkw_bound(n: int, rate: float) -> float:
    """The distance `d` that `sup |F_n - F|` exceeds with a probability of at most `rate`."""
    return float(np.sqrt(np.log(2 / rate) / (2 * n)))  # (B.7)


def pass_bound(n: int, D: float, rate: float) -> float:
    """A bound on how often samples at distance `D` pass the test; 1 if `D` is not above `d`."""
    d = dkw_bound(n, rate)
    if d >= D:
        return 1.0
    return float(min(1.0, 2 * np.exp(-2 * n * (D - d) ** 2)))  # (B.8)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.b_chain_distribution")
