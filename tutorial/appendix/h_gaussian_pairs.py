r"""Appendix H. Two Gaussians: where guided chains end, in closed form

**The question.** Step 13 found that guided chains do not sample the tilted distribution, even if
every prediction is exact. The samples lie further out and vary less, and both effects are larger
for DDIM than for Algorithm 2. The numbers belong to three classes of one data set and to 256
levels. How much of these differences is an error of finite steps? Do the three distributions always
come in this order, and why? If the class and all data are Gaussians, the limit of small steps can
be computed with pencil and paper. This appendix does so.

**The setting.** The class is $N(m, S_y I)$, and all data together are $N(0, S I)$. Means are
measured in the direction of the vector $m$, so $m$ also stands for its length. Let $R = S / S_y$.
For example, let the label be a vector with the distribution $N(0, (S - S_y) I)$, and let the class
of the label $m$ be $N(m, S_y I)$. Then all data are $N(0, S I)$, and $R > 1$. So such a pair can
occur. (A mixture of a few Gaussian classes is not a Gaussian. There the results are only an
approximation, of unknown accuracy.) We assume exact predictions. As in appendix F we divide the
state by the factor of the data, $x = x_t / \sqrt{\bar\alpha_t}$. Then $x$ is the data plus noise of
the variance $\tau = (1 - \bar\alpha_t) / \bar\alpha_t$. The results hold in the limit of small
steps and for a chain that starts far in the noise, with $\tau \to \infty$. The chains are DDIM
(step 17) and Algorithm 2 (step 16) with any $v$. With $v = 0$ the latter is the loop of step 7,
called DDPM.

**An example.** Bradley and Nakkiran chose $S_y = 1$ and $S = 2$. We also move the class, to
$m = 1$, and take $w = 2$. The formulas below give, along the direction of $m$,

| | tilted distribution | DDPM | DDIM |
|---|---|---|---|
| mean | 1.5 | 1.75 | 2 |
| variance | 0.5 | 0.3875 | 0.25 |

A program with 20,000 samples and 256 levels measures the mean 1.743 and the variance 0.381 for
Algorithm 2, and 2.004 and 0.248 for DDIM. Each variance is a mean over both coordinates, which have
the same limit. The standard errors are 0.004 for the means and below 0.003 for the variances. So
the measured chains are much closer to the formulas than to the tilted distribution. The differences
between the columns are not caused by finite steps. They are a property of the chains.

**The guided prediction.** A chain sees the data only through its predictions, so we compute these
first. The exact prediction of the noise is minus the standard deviation of the noise times the
score (5.9). For $x$ this standard deviation is $\sqrt\tau$. The noised class is $N(m, S_y + \tau)$
in each coordinate, and all noised data are $N(0, S + \tau)$. So

$$ \epsilon_y = \sqrt\tau (x - m) / (S_y + \tau), \quad \epsilon_\phi = \sqrt\tau x / (S + \tau) $$

Collect the terms with $x$ in the mixture $(1 + w) \epsilon_y - w \epsilon_\phi$:

$$ \tilde\epsilon = \sqrt\tau (k x - c) $$
$$ k = (1 + w) / (S_y + \tau) - w / (S + \tau), \quad c = (1 + w) m / (S_y + \tau) $$

Both depend on the level. The first is the strength with which the mixture pulls the state, and the
second comes from the mean of the class. (Appendix F writes $G$ for $k$.) Apart from a constant the
mixture is linear in the state, and so is every step of both chains. It maps Gaussians to Gaussians.
We need only two numbers at each level, the mean and the variance. Let $M$ and $V$ be those of the
samples.

**DDIM.** The state $x$ is the guess plus $\sqrt\tau$ times the prediction. A step of DDIM keeps
both and reduces the factor to $\sqrt{\tau'}$. So the state changes by the difference of the two
factors times the prediction (17.15). For a small step this difference is
$(\tau' - \tau) / (2 \sqrt\tau)$, up to terms of second order:

$$ x' - x = (\sqrt{\tau'} - \sqrt\tau) \tilde\epsilon = (\tau' - \tau) (k x - c) / 2 + \dots $$
$$ dx / d\tau = (k x - c) / 2 $$

First, how much of a displacement survives? Start the equation from two states. In the difference of
the two solutions $c$ cancels, so the difference satisfies the equation without $c$. Its logarithm
changes at the rate $k / 2$. Both terms of $k$ have a logarithm as their integral. From 0 to $\tau$
this gives

$$ G(\tau) = \exp \int_0^\tau k d\tau = (1 + \tau / S_y)^{1 + w} (1 + \tau / S)^{-w} $$

A displacement at the level $\tau$ is divided by $\sqrt G$ when it arrives at the data. In the
example $G(1) = 2^3 / 1.5^2 = 3.56$, so a displacement by 1 at the level 1 arrives as 0.53. From the
level 10 it arrives as 0.16, and from the level 100 as 0.05. DDIM adds no noise, so all variance of
the samples comes from the start. A chain starts with $x_T \sim N(0, I)$, and $x$ is $x_T$ divided
by $\sqrt{\bar\alpha_T}$. So there the state has the variance $1 / \bar\alpha_T = 1 + \tau$. It
arrives divided by $G$. Far in the noise, 1 is negligible in comparison with $\tau$, $\tau / S_y$
and $\tau / S$. So the variance at the start is close to $\tau$, each of the two factors of $G$ is
close to a power, and together these leave a single factor $\tau$:

$$ G \approx (\tau / S_y)^{1 + w} (\tau / S)^{-w} = \tau S_y^{-1 - w} S^w $$

In the quotient of the two, $\tau$ cancels:

$$ V = \lim \tau / G = S_y^{1 + w} S^{-w} $$
$$ V_{DDIM} = S_y R^{-w} $$ (H.1)

For $R > 1$ the variance falls exponentially in the weight.

Second, where is the mean? It obeys the equation with $c$. On the way down to the data, the term
with $c$ adds $c / 2$ times the length $d\tau$ of the step to the mean. This amount arrives divided
by $\sqrt G$, like any displacement. The mean at the start is 0 and contributes nothing. The
contributions of all levels add up:

$$ M = \int_0^\infty c / (2 \sqrt G) d\tau $$

To compute the integral, let $r$ be the standard deviation of the clean class divided by that of the
noised class. It runs from 1 at the data to 0 in pure noise. Let $\rho$ be the quotient of the two
noised variances. For the last equation, write $S + \tau = (S_y + \tau) + (R - 1) S_y$:

$$ r = \sqrt{S_y / (S_y + \tau)}, \quad \rho = (S + \tau) / (S_y + \tau) = 1 + (R - 1) r^2 $$

Differentiate $r$, and write $G$ with the new letters:

$$ dr = -r d\tau / (2 (S_y + \tau)) $$
$$ G = ((S_y + \tau) / S_y) (R / \rho)^w = (R / \rho)^w / r^2 $$

So $d\tau / (S_y + \tau) = -2 dr / r$, and $1 / \sqrt G = r (\rho / R)^{w / 2}$. The two factors $r$
cancel. In the integral over $\tau$ the variable $r$ runs from 1 to 0, and the minus sign exchanges
these limits:

$$ M_{DDIM} = (1 + w) m \int_0^1 ((1 + (R - 1) r^2) / R)^{w / 2} dr $$ (H.2)

In the example the integrand is $(1 + r^2) / 2$. Its integral is 2/3, and the mean is
$3 \cdot 2/3 = 2$. If $w$ is a positive even number, the integrand is a polynomial. For other
weights we compute the integral numerically.

**DDPM.** Divide the posterior mean (16.3) by $a'$, the factor of the data at the new level. As in
appendix F, $\delta = 1 - \tau' / \tau$. So the state is multiplied by $\tau' / \tau$ and the guess
by $1 - \tau' / \tau$. The guess is $x - \sqrt\tau \tilde\epsilon$. For $v = 0$ the variance is
$\delta \sigma'^2$ by (16.4), where $\sigma'^2 = a'^2 \tau'$ is the variance of the noise at the new
level. Divided by $a'^2$ it is $\delta \tau'$. So the mean of a step and its variance are

$$ (\tau' / \tau) x + (1 - \tau' / \tau) (x - \tau (k x - c)) = x - (\tau - \tau') (k x - c) $$
$$ (\tau - \tau') \tau' / \tau = (\tau - \tau') + \dots $$

The mean moves twice as far as in a small step of DDIM. So a displacement is divided by $G$ and not
by its root. In the example 0.28 of a displacement survives from the level 1, and 0.027 from the
level 10. Unlike DDIM, each step adds fresh noise. To first order its variance is $\tau - \tau'$. By
appendix F this variance is the same for every $v$, to this order. The start now arrives with the
variance $(1 + \tau) / G^2$, which goes to 0. All variance of the samples is fresh noise, and noise
that is added at one level arrives with its variance divided by $G^2$. With the mean as before,

$$ V = \int_0^\infty d\tau / G^2, \quad M = \int_0^\infty (c / G) d\tau $$

For DDPM $\rho$ itself is the best variable. It runs from $R$ at the data to 1 in pure noise, with

$$ d\rho = -(S - S_y) d\tau / (S_y + \tau)^2 $$

By the formula for $G$ above, $1 / G = (\rho / R)^w S_y / (S_y + \tau)$. So its square contains the
factor that $d\rho$ needs. With $S - S_y = S_y (R - 1)$ the first integral becomes

$$ V = (S_y / (R - 1)) \int_1^R (\rho / R)^{2 w} d\rho $$

The integral of the power $\rho^{2 w}$ is $(R^{1 + 2 w} - 1) / (1 + 2 w)$. So

$$ V_{DDPM} = S_y (R - R^{-2 w}) / ((R - 1) (1 + 2 w)) $$ (H.3)

This is (F.4), which appendix F derived from an equation of the variance alone. The integral for the
mean contains $c / G$. Its factor $c = (1 + w) m / (S_y + \tau)$ and the factor of $1 / G$ above
make up the $1 / (S_y + \tau)^2$ of $d\rho$ again. The integral of $\rho^w$ is
$(R^{1 + w} - 1) / (1 + w)$, and $1 + w$ cancels:

$$ M = ((1 + w) m / (R - 1)) \int_1^R (\rho / R)^w d\rho $$
$$ M_{DDPM} = m (R - R^{-w}) / (R - 1) $$ (H.4)

**The three side by side.** The tilted distribution is (11.9), where $R$ is another quantity, equal
to $S + w (S - S_y)$. Its mean is $(1 + w) m S / (S + w (S - S_y))$, and its variance is
$S_y S / (S + w (S - S_y))$. The table continues the example. Each entry is the mean, and in
brackets the variance.

| w | tilted distribution | DDPM | DDIM |
|---|---|---|---|
| 0 | 1 (1) | 1 (1) | 1 (1) |
| 1 | 1.3333 (0.6667) | 1.5 (0.5833) | 1.6232 (0.5) |
| 2 | 1.5 (0.5) | 1.75 (0.3875) | 2 (0.25) |
| 4 | 1.6667 (0.3333) | 1.9375 (0.2218) | 2.3333 (0.0625) |

In every row but the first, the three means increase from left to right, and the variances fall. At
$w = 0$ there is no guidance, and all three are the class. Bradley and Nakkiran write
$\gamma = 1 + w$, as in step 11. Their variances $2 / (\gamma + 1)$ and $2^{1 - \gamma}$ are those
of the tilted distribution and of DDIM.

**The same chains for any data.** The derivation of the two small steps used the Gaussians only in
the prediction. Other lessons need the chains for other data. For any data let $s_w$ be the guided
score (11.7) of the divided state, with the gradient taken with respect to $x$. The mixture of the
predictions is $-\sqrt\tau s_w$, so $k x - c$ becomes $-s_w$. As before, the guess $\hat x_0$ of the
data is the state minus $\sqrt\tau$ times the mixture:

$$ \tilde\epsilon = -\sqrt\tau s_w, \quad \hat x_0 = x + \tau s_w $$

In small steps, with $d\tau < 0$ and $z \sim N(0, I)$, the two chains are

$$ \text{DDIM: } dx = -\tfrac{1}{2} s_w d\tau $$ (H.5)
$$ \text{DDPM: } dx = -s_w d\tau + \sqrt{|d\tau|} z $$ (H.6)

The first is the probability flow of step 18 with the guided score in the place of the score.
Appendices I to M start from these two lines.

**Why the three come in this order.** The closed forms do not show why the chains overshoot. There
is a second way to compute them, which does. For two Gaussians the guided score at one level is
$-k (x - c / k)$. If $k > 0$, this is the score of a Gaussian with the mean $h = c / k$ and the
variance $1 / k$. For $w > 0$ and $R > 1$ this is so, because the first fraction of $k$ is then
larger than the second. At $\tau = 0$ the Gaussian is the tilted distribution. Multiply numerator
and denominator of $h$ by both noised variances, and differentiate:

$$ h = (1 + w) m (S + \tau) / (S + \tau + w (S - S_y)) $$
$$ dh / d\tau = w (1 + w) m (S - S_y) / (S + \tau + w (S - S_y))^2 $$

For $w > 0$, $R > 1$ and $m > 0$ the mean $h$ falls from $(1 + w) m$ in pure noise to the tilted
mean at the data. (In the example, which has $w = 2$, $h = 1.8$ at the level 1.) The mean of a chain
follows $h$ with a delay. It starts at 0, so it rises until it meets $h$. From a start at the level
$10^4$ this happens at the level 98 for DDPM and at 23 for DDIM in the example. There the mean
stands still while $h$ falls on, so the mean cannot meet $h$ again. It falls towards $h$ and ends
beyond it. Let $M$ now be the mean at each level. That of DDPM obeys $dM / d\tau = k M - c$, and
$c = k h$. Subtract $dh / d\tau$ from both sides:

$$ d(M - h) / d\tau = k (M - h) - dh / d\tau $$

This has the form of the equation of the mean itself, with another source. For DDIM there is $k / 2$
in the place of $k$, and the source is the same. At the start $M - h$ is close to $-(1 + w) m$.
Divided by $G$ or $\sqrt G$ it vanishes in the limit $\tau \to \infty$. Only the source remains, so
at $\tau = 0$ the distances from the tilted mean are

$$ M_{DDPM} - M_{tilted} = \int_0^\infty (dh / d\tau) / G d\tau $$
$$ M_{DDIM} - M_{tilted} = \int_0^\infty (dh / d\tau) / \sqrt G d\tau $$ (H.7)

In the example the two integrals are 0.25 and 0.5. *The overshoot is what a chain retains of the
more distant means of earlier levels.* Since $k$ is positive, $G$ is larger than 1, and its root is
smaller than itself. So DDIM retains more. For two Gaussians this proves the order (13.6), for every
$w > 0$ and $R > 1$. (If $m = 0$, the three means are equal.)

The variances can be compared in the same way. A displacement changes at the rate $k$ in DDPM and
$k / 2$ in DDIM, and a variance at twice these rates. DDPM also adds fresh noise on the way down. So
the variance $V$ at each level obeys $dV / d\tau = 2 k V - 1$ for DDPM and $dV / d\tau = k V$ for
DDIM. The variance to compare them with is $1 / k$. Let $k_y = 1 / (S_y + \tau)$ and
$k_\phi = 1 / (S + \tau)$ be the two fractions, so that $k = (1 + w) k_y - w k_\phi$. The derivative
of each fraction is minus its square. So the derivative of $k$ is minus the left side of the
following identity. Expanding both squares on the right verifies it:

$$ (1 + w) k_y^2 - w k_\phi^2 = k^2 - w (1 + w) (k_y - k_\phi)^2 $$

The derivative of $1 / k$ is minus that of $k$, divided by $k^2$. So divide the identity by $k^2$:

$$ d(1 / k) / d\tau = 1 - P, \quad P = w (1 + w) (k_y - k_\phi)^2 / k^2 $$

The term $P$ is 0 if the two noised variances agree. Then $1 / k$ grows at the rate 1, like the
variance $S_y + \tau$ of the noised class. Subtract this line from the two equations. On the right
sides write $2 k V = 2 k (V - 1 / k) + 2$ for DDPM and $k V = k (V - 1 / k) + 1$ for DDIM. All
constants cancel:

$$ d(V_{DDPM} - 1 / k) / d\tau = 2 k (V_{DDPM} - 1 / k) + P $$
$$ d(V_{DDIM} - 1 / k) / d\tau = k (V_{DDIM} - 1 / k) + P $$

Again $P$ is a source, now with the opposite sign, and its effects are divided by $G^2$ and by $G$.
Does the start contribute? There $V = 1 + \tau$, and for DDIM this number makes up all the variance
of the samples. Now the question is how far it is from $1 / k$. Write the definition of $k$ as one
fraction and divide with remainder:

$$ 1 / k = (S_y + \tau) (S + \tau) / (S + \tau + w (S - S_y)) $$
$$ 1 / k = \tau + S_y - w (S - S_y) + \dots $$

The omitted term goes to 0 as $\tau \to \infty$. So the distance $V - 1 / k$ stays bounded at the
start, while $G$ grows without bound. The start contributes nothing, and at $\tau = 0$

$$ V_{tilted} - V_{DDPM} = \int_0^\infty (P / G^2) d\tau $$
$$ V_{tilted} - V_{DDIM} = \int_0^\infty (P / G) d\tau $$ (H.8)

In the example they are 0.1125 and 0.25. For $w > 0$ and $R > 1$ both integrals are positive. The
second is larger, because $G > 1$ is smaller than its square. For two Gaussians this proves the
order (13.7). For weights between -1 and 0 and $R > 1$, $k$ is again positive, but both sources have
the opposite sign. So both orders are reversed.

**Finite steps.** The table has $w = 2$ and the grid (16.6) from -20 to 20. It gives the exact mean
and, in brackets, the variance. Both can be computed without samples, because all steps are linear.

| levels | Algorithm 2, v = 0.3 | DDIM |
|---|---|---|
| 16 | 1.781 (0.294) | 2.012 (0.203) |
| 64 | 1.757 (0.360) | 2.003 (0.238) |
| 256 | 1.752 (0.380) | 2.001 (0.247) |
| 1,024 | 1.750 (0.386) | 2.000 (0.249) |

With many levels the errors are nearly proportional to one over their number. With 256 levels they
are 1 to 2 % of the variance, while guidance has reduced it from 1 to 0.39 and 0.25.

**The start.** A real chain starts at a finite $\tau_1$ with the mean 0. Which mean would a chain
from $\tau = \infty$ have there? It is the same sum of contributions as above, but only of the
levels $\tau$ above $\tau_1$. Far in the noise $c \approx (1 + w) m / \tau$. Since $G$ is nearly
proportional to $\tau$, a displacement at $\tau$ is multiplied by $\sqrt{\tau_1 / \tau}$ in DDIM,
and by $\tau_1 / \tau$ in DDPM, until it arrives at $\tau_1$. The two means are about

$$ \int_{\tau_1}^\infty ((1 + w) m / (2 \tau)) \sqrt{\tau_1 / \tau} d\tau = (1 + w) m $$
$$ \int_{\tau_1}^\infty ((1 + w) m / \tau) (\tau_1 / \tau) d\tau = (1 + w) m $$

The real chain lacks this mean at $\tau_1$. The difference arrives divided by $\sqrt G$ or $G$. So
for large $\tau_1$ the mean lacks about

$$ \text{DDIM: } (1 + w) m / \sqrt{G(\tau_1)}, \quad \text{DDPM: } (1 + w) m / G(\tau_1) $$ (H.9)

For the linear schedule with $T = 1000$, $\bar\alpha_T = 0.00004$ and $\tau_1 = 25{,}000$. In the
example the mean of DDIM is then 1.9905 and not 2, however many steps it takes. The mean of DDPM
lacks only 0.00003. A chain from the log SNR -20 has a far larger $\tau_1$, and DDIM lacks 0.00007.
The limit therefore needs two things, small steps and a start far in the noise.

**At the boundary.** At $w = 0$ the three distributions are the class, and at $w = -1$ all data. For
$R = 1$ the label only moves the data. Then (H.3) and (H.4) read 0 / 0. The integrals over $\tau$
show that the variance is $S_y$ and the mean $(1 + w) m$, as for DDIM and the tilted distribution.
For $w = -1/2$ (H.3) reads 0 / 0, too, and the integral gives $S_y R \log R / (R - 1)$. For $R < 1$
the class is wider than all data, and the tilted distribution exists only for $S + w (S - S_y) > 0$
(11.9). Then $k > 0$ at all levels, and (H.7) and (H.8) hold. With $w > 0$ the order of the
variances is the same as before, and that of the means is reversed.

For $R > 1$ and $w \to \infty$ all three variances tend to 0, by (11.9), (H.1) and (H.3). Where are
the means then? Those of the tilted distribution and of DDPM tend to $m R / (R - 1)$, by (11.9) and
(H.4). For DDIM, only values of $r$ close to 1 contribute to (H.2), because the integrand is a large
power of a number that is 1 at $r = 1$ and smaller for smaller $r$. Let $u = 1 - r$. To first order
this number is $1 - 2 u (R - 1) / R$, and its logarithm is $-2 u (R - 1) / R$. Multiply the
logarithm by $w / 2$. Values of $u$ above 1 would contribute almost nothing, so the integral may
extend to infinity:

$$ M_{DDIM} \approx (1 + w) m \int_0^\infty \exp(-w u (R - 1) / R) du = (1 + 1 / w) m R / (R - 1) $$

The terms that were neglected change this by a fraction of the order of $1 / w$. So for
$w \to \infty$ all three distributions shrink to one point. It is the point at which $p(y | x)$ is
largest. By Bayes' rule this is where the class is most dense in comparison with all data:

$$ d(\log p(x | y) - \log p(x)) / dx = -(x - m) / S_y + x / S = 0 $$
$$ x = m R / (R - 1) $$ (H.10)

In the example this is 2. The means of the tilted distribution and of DDPM approach it from below.
The mean of DDIM reaches it at $w = 2$ and passes it. At $w = 6$ it is 2.4, which is close to its
maximum, and at $w = 20$ it is back at 2.13.

**What goes wrong.** The scale $\gamma$ of a paper is inserted for $w$. A chain is expected to
sample the tilted distribution, because the score that it follows at the last level is that of the
tilted distribution. DDIM and DDPM are expected to agree in small steps, because they do so without
guidance. Without guidance the score at every level is that of the same data with noise. Guided
scores are not of this kind (step 11). The missing variance of samples is blamed on the number of
steps. More steps bring it closer to (H.1) or (H.3) and never to the tilted distribution.

**Where it goes on.** Appendix I splits each step of DDPM into one of DDIM and one of Langevin
dynamics. Appendices K to M correct the chains.

**Source.** Bradley and Nakkiran 2024, arXiv:2408.09000, sec. 3 (the variances for $m = 0$ and
$R = 2$). The means, general $R$, (H.7) and (H.8) are derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step16_log_snr import algorithm_2, log_snr_grid, schedule_from
from tutorial.step17_solvers import ddim, run

if TYPE_CHECKING:
    from jaxtyping import Float, Int

# Gauss-Legendre quadrature: f(NODES) @ NODE_WEIGHTS is the integral of a smooth f from 0 to 1.
_at, _weight = np.polynomial.legendre.leggauss(60)
NODES = (1 + _at) / 2
NODE_WEIGHTS = _weight / 2
# The class and the variance of all data. The example has m = 1 along axis 0, and 0 along axis 1.
EXAMPLE = Gaussian(np.array([1.0, 0.0]), 1.0), 2.0


def score_at(
    x: Float[np.ndarray, "n 2"], tau: float, w: float, given_y: Gaussian, var_all: float
) -> Float[np.ndarray, "n 2"]:
    """The guided score `s_w` at the level `tau` >= 0, for states divided by the signal."""
    score_y = -(x - given_y.mean) / (given_y.var + tau)
    score_all = -x / (var_all + tau)
    return (1 + w) * score_y - w * score_all


def small_step_of_ddim(
    x: Float[np.ndarray, "n 2"],
    tau: float,
    step: float,
    w: float,
    given_y: Gaussian,
    var_all: float,
) -> Float[np.ndarray, "n 2"]:
    """The state at `tau - step`, for a small `step` > 0."""
    s_w = score_at(x, tau, w, given_y, var_all)
    return x + s_w * step / 2  # (H.5)


def small_step_of_ddpm(
    x: Float[np.ndarray, "n 2"],
    tau: float,
    step: float,
    w: float,
    given_y: Gaussian,
    var_all: float,
    z: Float[np.ndarray, "n 2"],
) -> Float[np.ndarray, "n 2"]:
    """The state at `tau - step`, for a small `step` > 0 and the normal numbers `z`."""
    s_w = score_at(x, tau, w, given_y, var_all)
    return x + s_w * step + np.sqrt(step) * z  # (H.6)


@dataclass(frozen=True, eq=False)
class TwoGaussians:
    """The exact denoiser: label 0 is the class `given_y`, the null label 1 is N(0, var_all)."""

    given_y: Gaussian
    var_all: float
    schedule: Schedule
    num_classes: int = 1
    prediction: str = "eps"

    def __call__(
        self, xt: Float[np.ndarray, "n 2"], t: int, y: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n 2"]:
        """The mean of the noise in each row of `xt`, for `t` in 1..T and `y` in 0..1."""
        abar = self.schedule.alpha_bar[self.schedule.check_t(t)]
        x = xt / np.sqrt(abar)
        tau = (1 - abar) / abar
        score_y = score_at(x, tau, 0.0, self.given_y, self.var_all)
        score_all = score_at(x, tau, -1.0, self.given_y, self.var_all)
        s = np.where((y == 0)[:, None], score_y, score_all)
        return -np.sqrt(tau) * s


def growth(
    tau: Float[np.ndarray, "*n"] | float, w: float, given_y: Gaussian, var_all: float
) -> Float[np.ndarray, "*n"] | float:
    """`G`: DDPM divides a displacement at `tau` by G on its way to the data, DDIM by its root."""
    return (1 + tau / given_y.var) ** (1 + w) * (1 + tau / var_all) ** -w


def ddim_law(given_y: Gaussian, var_all: float, w: float) -> Gaussian:
    """The distribution of the samples of DDIM in the limit of small steps."""
    R = var_all / given_y.var
    V = given_y.var * R**-w  # (H.1)
    rho = 1 + (R - 1) * NODES**2
    integral = NODE_WEIGHTS @ (rho / R) ** (w / 2)
    M = (1 + w) * given_y.mean * integral  # (H.2)
    return Gaussian(M, V)


def ddpm_law(given_y: Gaussian, var_all: float, w: float) -> Gaussian:
    """The distribution of the samples of DDPM, and of Algorithm 2, in the limit of small steps."""
    S_y = given_y.var
    R = var_all / S_y
    if R == 1:  # the label only moves the data
        return Gaussian((1 + w) * given_y.mean, S_y)
    if w == -1 / 2:  # the formula is 0 / 0
        var = S_y * R * np.log(R) / (R - 1)
    else:
        var = S_y * (R - R ** (-2 * w)) / ((R - 1) * (1 + 2 * w))  # (H.3)
    M = given_y.mean * (R - R**-w) / (R - 1)  # (H.4)
    return Gaussian(M, float(var))


def differences_from_tilted(
    given_y: Gaussian, var_all: float, w: float
) -> tuple[Float[np.ndarray, "2 D"], Float[np.ndarray, " 2"]]:
    """Mean of the chain minus tilted mean, tilted variance minus that of the chain: DDPM, DDIM.

    The tilted distribution has to exist, at all levels.
    """
    S_y = given_y.var
    S = var_all
    # tau as a function of r, which makes the integrals those of smooth functions over 0..1
    tau = S_y / NODES**2 - S_y
    d_tau = NODE_WEIGHTS * 2 * S_y / NODES**3
    G = growth(tau, w, given_y, S)
    k_y = 1 / (S_y + tau)
    k_null = 1 / (S + tau)
    k = (1 + w) * k_y - w * k_null
    dh = w * (1 + w) * (S - S_y) / (S + tau + w * (S - S_y)) ** 2  # per unit of m
    P = w * (1 + w) * (k_y - k_null) ** 2 / k**2
    overshoot = np.array([dh / G @ d_tau, dh / np.sqrt(G) @ d_tau])  # (H.7)
    lost = np.array([P / G**2 @ d_tau, P / G @ d_tau])  # (H.8)
    return overshoot[:, None] * given_y.mean, lost


def lost_by_start(
    given_y: Gaussian, var_all: float, w: float, tau: float
) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]]:
    """Approximately what the means of DDIM and DDPM lack if the chain starts at a large `tau`."""
    G = growth(tau, w, given_y, var_all)
    there = (1 + w) * given_y.mean
    return there / np.sqrt(G), there / G  # (H.9)


def most_probable_point(given_y: Gaussian, var_all: float) -> Float[np.ndarray, " D"]:
    """The point at which `p(y | x)` is largest, for `var_all` above the variance of the class."""
    R = var_all / given_y.var
    return given_y.mean * R / (R - 1)  # (H.10)


@cache
def sampled(w: float, n: int = 20_000, T: int = 256) -> Float[np.ndarray, "2 n 2"]:
    """`n` samples of `EXAMPLE` by Algorithm 2 with v = 0.3, and `n` by DDIM, with `T` levels."""
    log_snr = log_snr_grid(T)
    y = np.zeros(n, dtype=int)
    rng = np.random.default_rng(0)
    schedule = schedule_from(log_snr)
    model = TwoGaussians(*EXAMPLE, schedule)
    by_algorithm_2 = algorithm_2(model, y, log_snr, w, 0.3, rng)
    by_ddim = run(model, y, ddim(schedule), w, rng)
    return np.array([by_algorithm_2, by_ddim])


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.h_gaussian_pairs")
