r"""Appendix D. Relevance: how it changes along the chain, and an exact trade-off

**The question.** Step 12 measured that guidance raises relevance and lowers diversity. Relevance is
the mean of $p(y | x_0)$ over the samples, with the exact classifier. Why does it rise, in which
part of the chain, and does it rise for every $w$? And is there a case in which one can prove the
trade-off for all $w$ and not only measure it?

**An example.** The data on a line are $N(0, 1)$. A quarter of them belongs to the class
$N(1, 1/4)$, as in step 11. With exact predictions and in the limit of many steps, the formulas that
are derived below give these values for guided samples:

| $w$ | -1 | -0.5 | 0 | 1 | 4 |
|---|---|---|---|---|---|
| relevance | 0.250 | 0.477 | 0.669 | 0.838 | 0.924 |
| entropy, nats | 1.42 | 1.03 | 0.73 | 0.31 | -0.23 |

At $w = -1$ the label is ignored, and the relevance is the fraction of the class. It rises with
every column of the table, and the entropy falls.

**Without guidance relevance stays.** Let $p_t$ be short for $p(y | x_t)$, the probability of the
class given the noisy state. Consider the true reverse step of all data, without a label. We split
this probability according to the less noisy state $x_{t-1}$, by the law of total probability. The
forward noise does not depend on the label. So if $x_{t-1}$ is known, $x_t$ contains no further
information about the label:

$$ p(y | x_t) = \int p(y | x_{t-1}) p(x_{t-1} | x_t) dx_{t-1} $$

The right side is a mean over the reverse step. So, for any data,

$$ w = -1: \quad E[p_{t-1} | x_t] = p_t $$ (D.1)

A process whose expected next value is its present value is called a martingale. A single chain may
move towards the class or away from it, but on average nothing changes. The loop of step 7 draws a
Gaussian in the place of the true reverse step. So for the loop (D.1) holds only to first order in
$\beta_t$.

**With guidance it rises.** Guidance with the weight $w$ moves the mean of the unconditional step by
$1 + w$ times (10.5), which is $\beta_t \nabla \log p_t$ to first order in $\beta_t$. The
unconditional step itself does not change the mean probability, by (D.1). So only the shift changes
it. To first order the change is the scalar product of the gradient and the shift:

$$ E[p_{t-1} | x_t] - p_t \approx \nabla p_t \cdot (1 + w) \beta_t \nabla \log p_t $$

The gradient of the probability itself is $p_t \nabla \log p_t$. Hence, for small steps,

$$ E[p_{t-1} | x_t] - p_t \approx (1 + w) \beta_t p_t |\nabla \log p_t|^2 $$ (D.2)

For every $w > -1$ the right side is positive where the gradient is not 0, and it is nowhere
negative. So relevance, the mean over all chains, rises in each short step. It rises most where
another class is still probable and the gradient is large (step 10).

**The logarithm.** Classifiers are often scored by the logarithm of the probability. Its mean
behaves differently, because the logarithm is concave. Let $\delta = p_{t-1} - p_t$, and expand the
logarithm to second order:

$$ \log p_{t-1} - \log p_t \approx \delta / p_t - \delta^2 / (2 p_t^2) $$

The mean of the first term is (D.2) divided by $p_t$. For the second, the noise of the step has the
variance $\tilde\beta_t$ of step 4 in each direction, which is $\beta_t$ to first order. It moves
$p_t$ along its gradient:

$$ E[\delta^2 | x_t] \approx \beta_t |\nabla p_t|^2 = \beta_t p_t^2 |\nabla \log p_t|^2 $$

The two terms have the same form, with the factors $1 + w$ and $-1/2$:

$$ E[\log p_{t-1} | x_t] - \log p_t \approx (1/2 + w) \beta_t |\nabla \log p_t|^2 $$ (D.3)

So the mean logarithm rises only for $w > -1/2$.

**Two weights at which a mean stays.** At the noise end $p(y | x_T)$ is close to the frequency
$\pi_y$ of the class for all states that the chain draws there. At $w = -1$ the right side of (D.2)
is 0, and at $w = -1/2$ that of (D.3). So in the limit of many small steps, for a mixture of
Gaussians of positive variance,

$$ w = -1: E p(y | x_0) = \pi_y, \quad w = -1/2: E \log p(y | x_0) = \log \pi_y $$ (D.4)

Between the two weights the mean of the probability rises and the mean of its logarithm falls. For
the three classes of step 1, 200 steps and 1000 chains, the fraction with $p(y | x_0) > 1/2$ is 36 %
at $w = -0.95$, 49 % at $w = -0.8$ and 70 % at $w = -0.6$. The mean logarithms are -7.9, -4.9 and
-2.0, because the other samples are far inside wrong classes.

The first half of (D.4) holds for any data, because the samples then have the distribution of the
data. The second half holds as well if $p(y | x_0)$ is above some positive number $c$ for all data.
As in (D.1), $p(y | x_t)$ is the mean of $p(y | x_0)$ given $x_t$. So it is above $c$ at all times,
and its logarithm is bounded. The second half can fail if $p(y | x_0)$ can be 0. As a
counterexample, let the data be the two points 1 and -1, one per class. At the data the logarithm is
then 0 or minus infinity, so its mean cannot be $\log(1/2)$. At every earlier time the mean is still
$\log(1/2)$ in the limit of small steps. But the nearer the data, the more of this mean comes from a
few chains with very negative values. At $w = -1/2$ the fraction of chains that are nearer to the
wrong point at $t = 1$ is 0.8 % with 200 steps and 0.2 % with 2000 (20,000 chains, cosine schedule).

**An exact case.** Take the line again: the class is $N(m, S_y)$, and all data are $N(0, S)$ with
$S_y < S$. The exact predictions are affine functions of the state, and so is the mean of each step.
Appendix B gives its slopes, $A_y$ for the class and $A_\phi$ for all data:

$$ A_y = \sqrt{\alpha_t} C_{y,t-1} / C_{y,t}, \quad A_\phi = \sqrt{\alpha_t} C_{t-1} / C_t $$

Here $C_{y,t} = \bar\alpha_t S_y + 1 - \bar\alpha_t$, and $C_t$ has $S$ in its place. By (11.4)
guidance mixes the guesses with the weights $1 + w$ and $-w$. The mean of a step is an affine
function of the guess, so it is mixed with the same weights. Let $A_w$ be the slope of the mixture.
The mean $M_t$ and the variance $V_t$ of the loop then follow as in appendix B, starting from 0 and
1:

$$ A_w = (1 + w) A_y - w A_\phi $$ (D.5)
$$ M_{t-1} = A_w M_t + (1 + w) (\sqrt{\bar\alpha_{t-1}} - A_y \sqrt{\bar\alpha_t}) m $$ (D.6)
$$ V_{t-1} = A_w^2 V_t + \tilde\beta_t $$ (D.7)

**Small steps.** Divide the state by $\sqrt{\bar\alpha_t}$, and use the variance of the noise in
this unit, $\tau = (1 - \bar\alpha_t) / \bar\alpha_t$, as the time. A step goes from $\tau$ to
$\tau - d\tau$. In this unit the variance of the noised class is
$C_{y,t} / \bar\alpha_t = S_y + \tau$. The slope $A_y$ is multiplied by
$\sqrt{\bar\alpha_t / \bar\alpha_{t-1}} = \sqrt{\alpha_t}$, so it becomes the quotient of two
neighbouring variances:

$$ \sqrt{\alpha_t} A_y = \alpha_t C_{y,t-1} / C_{y,t} = (S_y + \tau - d\tau) / (S_y + \tau) $$

This is $1 - d\tau / (S_y + \tau)$. For all data $S$ takes the place of $S_y$. By (D.5) the guided
step has the slope

$$ 1 - ((1 + w) / (S_y + \tau) - w / (S + \tau)) d\tau $$

A change of the state at the time $\tau$ is multiplied by all later slopes until it reaches the
data. Let $\Phi(\tau)$ be their product. In the limit of small steps its logarithm is an integral:

$$ \log \Phi(\tau) = -\int_0^\tau ((1 + w) / (S_y + r) - w / (S + r)) dr $$

The integrals of the two reciprocals are logarithms. With $\rho = S_y / S$ and
$q = (S + \tau) / (S_y + \tau)$ the product is

$$ \Phi(\tau) = (S_y / (S_y + \tau))^{1 + w} ((S + \tau) / S)^w = (\rho q)^w S_y / (S_y + \tau) $$

In this unit the bracket in (D.6) is 1 minus the slope of the class, so the last term of (D.6) is
$(1 + w) m d\tau / (S_y + \tau)$. Each of these contributions is multiplied by the later slopes, and
the final mean is the integral of all of them:

$$ M_0 = \int_0^\infty \Phi(\tau) (1 + w) m / (S_y + \tau) d\tau $$

Since $dq = -(S - S_y) d\tau / (S_y + \tau)^2$, this is the integral of a power of $q$, from 1 to
$1 / \rho$:

$$ M_0 = (1 + w) m \rho^w S_y / (S - S_y) \int_1^{1 / \rho} q^w dq $$

The integral is $(\rho^{-1-w} - 1) / (1 + w)$. Let $x^* = m S / (S - S_y)$. Then

$$ M_0 \to x^* (1 - \rho^{1 + w}) $$ (D.8)

The noise of a step has the variance
$\tilde\beta_t = \beta_t (1 - \bar\alpha_{t-1}) / (1 - \bar\alpha_t)$. In this unit it is divided by
$\bar\alpha_{t-1}$. The length $d\tau$ of the step is $1 / \bar\alpha_t - 1 / \bar\alpha_{t-1}$,
which is $\beta_t / \bar\alpha_t$. So for small steps the variance tends to $d\tau$:

$$ \tilde\beta_t / \bar\alpha_{t-1} = (\beta_t / \bar\alpha_t) (\tau - d\tau) / \tau $$

A variance is multiplied by $\Phi^2$. The variance of the start is $1 + \tau$ with the largest
$\tau$. There $\Phi^2$ falls like $1 / \tau^2$, so nothing is left of it if the chain starts far
enough in the noise. The rest comes from the added noise:

$$ V_0 = \int_0^\infty \Phi(\tau)^2 d\tau $$

The same substitution gives

$$ V_0 = \rho^{2 w} S_y^2 / (S - S_y) \int_1^{1 / \rho} q^{2 w} dq $$

The integral is $(\rho^{-1 - 2 w} - 1) / (1 + 2 w)$. With $U = S S_y / (S - S_y)$ this is

$$ V_0 \to U (1 - \rho^{1 + 2 w}) / (1 + 2 w) $$ (D.9)

**Relevance.** The probability of the class is the quotient of two Gaussian densities, times the
fraction of the class. The exponent is quadratic in $x$. The difference of the two precisions is
$1 / S_y - 1 / S = 1 / U$. The derivative of the exponent is $m / S_y - x / U$, and it vanishes at
$m U / S_y$, which is $x^*$. So

$$ p(y | x) = p(y | x^*) e^{-(x - x^*)^2 / (2 U)} $$

With the fraction $\pi_y$ of the class and $x^* - m = m S_y / (S - S_y)$, the largest value is

$$ p(y | x^*) = \pi_y \sqrt{S / S_y} e^{(x^*)^2 / (2 S) - (x^* - m)^2 / (2 S_y)} $$
$$ p(y | x^*) = \pi_y e^{m^2 / (2 (S - S_y))} / \sqrt\rho $$

The classifier is therefore most certain of the class at $x^*$. This point lies further out than the
mean of the class. For large $w$ the mean of the samples approaches it and does not pass it, by
(D.8). In $p(y | x)$ the exponential is $\sqrt{2 \pi U}$ times the density of $N(x, U)$ at $x^*$.
The mean of this density over $x$ from $N(M, V)$ is the density at $x^*$ of a sum of independent
variables, $N(M, U + V)$:

$$ E p(y | x_0) = p(y | x^*) \sqrt{U / (U + V)} e^{-(M - x^*)^2 / (2 (U + V))} $$ (D.10)

In the example $x^* = 4/3$ and $U = 1/3$. At $w = 1$ the mean is 1.25 and the variance 0.109.

**The trade-off is a theorem here.** (D.9) is $U$ times the integral of $e^{-(1 + 2 w) s}$ over $s$
from 0 to $\log(1 / \rho)$. So the variance falls as $w$ rises, and with it the entropy
$\log(2 \pi e V_0) / 2$. How fast does it fall? The derivative of the logarithm of this integral is
$-2$ times a mean of $s$, and $s$ is at most $\log(1 / \rho)$. So the logarithm of the variance
falls at most at the rate $2 \log(1 / \rho)$. By (D.8) the logarithm of the squared distance of the
mean from $x^*$ falls at exactly this rate. In (D.10) the root rises, because the variance falls.
The quotient in the exponent becomes smaller, because its numerator falls faster than its
denominator $U + V$. (For $m = 0$ it is 0.) So in the limit of small steps relevance rises and
entropy falls at *every* $w$.

**At the boundary.** At $w = -1/2$, (D.9) is $U \log(1 / \rho)$. With few steps the theorem fails.
With 20 steps on the cosine schedule the slope $A_w$ of the step at $t = 6$ is the first to become
negative: it is negative from $w = 8.1$ on, and $V_0$ rises from $w = 17.8$ on. (The square of a
negative slope grows with $w$.) The class cannot have a larger fraction of the data than
$\sqrt{\rho} e^{-m^2 / (2 (S - S_y))}$, which is 0.257 in the example, because $p(y | x^*)$ would
exceed 1.

**What goes wrong.** The scale $1 + w$ is taken for $w$. Then a chain with $w = 0$, which has the
label, is called the chain without a label, and (D.1) seems to be wrong because relevance rises. The
mean logarithm of the probability is expected to rise whenever the mean probability does. The
weights $1 + w$ and $-w$ are applied to the variances of the two chains and not to their slopes. And
a rise of relevance is taken as proof that the tilted distribution is sampled. (D.10) rises for
any chain whose mean moves towards $x^*$ while its variance does not change.

**Where it goes on.** Step 13 compares guided samples with the tilted distribution.

**Source.** Bradley and Nakkiran 2024, arXiv:2408.09000 ((D.9) for $\rho = 1/2$). The rest is
derived here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import noised, oracle_eps
from tutorial.step07_sampling import ancestral_steps
from tutorial.step10_classifier import classifier_gradient

if TYPE_CHECKING:
    from jaxtyping import Float, Int

EXAMPLE = 1.0, 0.25, 1.0  # m, S_y and S of step 11


def rises(
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    w: float,
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, "2 n"]:
    """The mean change of `p(y | x_t)` and of its logarithm in the next step, for `t` in 1..T."""
    data_t = noised(mixture, schedule.check_t(t), schedule)
    beta = schedule.beta[t]
    p = np.exp(data_t.log_class_probability(xt))[np.arange(len(y)), y]
    gradient = classifier_gradient(xt, t, y, mixture, schedule)
    squared = beta * (gradient**2).sum(1)
    # At w = -1 the first is 0. For the true reverse step this is exact (D.1).
    rise_p = (1 + w) * p * squared  # (D.2)
    rise_log_p = (1 / 2 + w) * squared  # (D.3)
    return np.stack([rise_p, rise_log_p])


def along(w: float, n: int, T: int) -> Iterator[Float[np.ndarray, "2 2 n"]]:
    """For t = T..0: `p(y | x_t)` and its log, and the two sums of the start and of all changes.

    The chains are `n` chains of class 0 of `three_gaussians` on the cosine schedule, seed 0.
    """
    mixture = three_gaussians()
    schedule = Schedule.cosine(T)
    y = np.zeros(n, int)
    model = oracle_eps(mixture, schedule)
    rng = np.random.default_rng(0)
    total = np.zeros((2, n))
    for t, xt in ancestral_steps(model, y, schedule, w, rng):
        log_p = noised(mixture, t, schedule).log_class_probability(xt)[:, 0]
        found = np.stack([np.exp(log_p), log_p])
        if t == T:
            total = found
        yield np.stack([found, total])
        if t > 0:
            total = total + rises(xt, t, y, w, mixture, schedule)  # (D.4)


def pair_law(m: float, S_y: float, S: float, w: float, schedule: Schedule) -> np.ndarray:
    """Rows `M` and `V` of the guided states for t = 0..T, for a class N(m, S_y) in data N(0, S)."""
    abar = schedule.alpha_bar
    C_y = abar * S_y + 1 - abar
    C = abar * S + 1 - abar
    signal = abar**0.5
    M = np.zeros(schedule.T + 1)
    V = np.ones(schedule.T + 1)
    for t in range(schedule.T, 0, -1):
        A_y = schedule.alpha[t] ** 0.5 * C_y[t - 1] / C_y[t]
        A_null = schedule.alpha[t] ** 0.5 * C[t - 1] / C[t]
        A = (1 + w) * A_y - w * A_null  # (D.5)
        M[t - 1] = A * M[t] + (1 + w) * (signal[t - 1] - A_y * signal[t]) * m  # (D.6)
        posterior_var = posterior_coefficients(t, schedule)[2]
        V[t - 1] = A**2 * V[t] + posterior_var  # (D.7)
    return np.stack([M, V])


def pair_limit(m: float, S_y: float, S: float, w: float) -> tuple[float, float]:
    """`M_0` and `V_0` in the limit of many small steps, for 0 < S_y < S."""
    if not 0 < S_y < S:
        raise ValueError(
            f"S_y = {S_y}, S = {S}: the class must be narrower than all data, 0 < S_y < S"
        )
    U = S * S_y / (S - S_y)
    best = m * S / (S - S_y)
    rho = S_y / S
    M_0 = best * (1 - rho ** (1 + w))  # (D.8)
    a = 1 + 2 * w
    log_rho = np.log(rho)
    # (1 - rho^a) / a, and its limit at a = 0.
    integral = -np.expm1(a * log_rho) / a if a != 0 else -log_rho
    V_0 = U * integral  # (D.9)
    return M_0, V_0


def pair_relevance(M: float, V: float, m: float, S_y: float, S: float, fraction: float) -> float:
    """The mean of `p(y | x)` over N(M, V), for a class that is `fraction` of the data."""
    U = S * S_y / (S - S_y)
    best = m * S / (S - S_y)
    at_best = fraction * (S / S_y) ** 0.5 * np.exp(m**2 / (2 * (S - S_y)))
    if not 0 < at_best <= 1:
        largest = (S_y / S) ** 0.5 * np.exp(-(m**2) / (2 * (S - S_y)))
        raise ValueError(
            f"fraction = {fraction} is not in 0..{largest:.4g}; p(y | x) would exceed 1"
        )
    decay = np.exp(-((M - best) ** 2) / (2 * (U + V)))
    return float(at_best * (U / (U + V)) ** 0.5 * decay)  # (D.10)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.d_relevance")
