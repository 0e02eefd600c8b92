r"""Appendix F. The variance of Algorithm 2: what v changes with few steps, and why not with many

**The question.** Algorithm 2 of step 16 adds noise in every step. Its variance lies between two
values, and a number $v$ from 0 to 1 decides where (16.11). The paper used 0.3 and 0.2, for images
of two sizes. Step 16 found that this choice strongly changes the variance of the samples with 16
levels, and hardly with 1,024. Why is this so? Is there one distribution that the samples approach
for every choice, and how fast? And is there a right value?

**The setting.** We use one coordinate and a case in which everything can be computed. The class is
the Gaussian $N(\mu, S_y)$, all data together are $N(0, S)$, and the predictions are exact. The
letters are those of step 16, and a prime marks the next, less noisy level. By step 5 the variance
of the state $z$ is $C_y = a^2 S_y + \sigma^2$ in the class and $C = a^2 S + \sigma^2$ in all data.

**An example.** A class of mean 0 and variance 1/4 lies in data of variance 1, and $w = 1$. There
are only the two levels $\lambda = 0$ and $\log 4$ of the example in step 16, where the smaller
variance of the step is 0.15 and the larger one 0.375. The chain starts with variance 1. We will see
that the step multiplies the state by 0.2214 before it adds the noise, and that the last guess
multiplies the result by 0.2236. If the noise has the smaller variance, the samples have the
variance $0.2236^2 (0.2214^2 + 0.15) = 0.00995$. If it has the larger one, they have 0.0212, more
than twice as much. Neither is near the limit that we will find, 0.1094.

**One step, exactly.** The exact prediction of the noise for a Gaussian is $-\sigma$ times its score
(5.9). For the class it is $\sigma (z - a \mu) / C_y$, and for all data $\sigma z / C$. In the
guided mixture (16.9) we collect the terms with the state:

$$ \tilde\epsilon = \sigma g z - (1 + w) \sigma a \mu / C_y, \quad g = (1 + w) / C_y - w / C $$

Insert this into the guess of the data (16.10):

$$ \tilde x = (1 - \sigma^2 g) z / a + (1 + w) \sigma^2 \mu / C_y $$ (F.1)

This is a factor times the state plus a constant, and so is the mean of the next state (16.12). Call
the factor $A$ and the constant $b$. In $A$ the quotient $a' / a$ is a common factor. The other
factor is $1 - \delta + \delta (1 - \sigma^2 g)$, which is $1 - \delta \sigma^2 g$:

$$ A = (1 - \delta) (a' / a) + \delta a' (1 - \sigma^2 g) / a = (a' / a) (1 - \delta \sigma^2 g) $$
$$ b = \delta a' (1 + w) \sigma^2 \mu / C_y $$

The chain starts with a Gaussian, and every step keeps it one. Let $m$ be the mean of the state and
$V$ its variance, and let $\sigma_v^2$ be the variance of the noise (16.11). A factor enters a
variance squared, and the variance of independent noise is added:

$$ m' = A m + b, \quad V' = A^2 V + \sigma_v^2 $$ (F.2)

The recursion begins with mean 0 and variance 1, and it ends with the last guess, which adds no
noise. Two facts follow at once. The mean of the samples does not depend on $v$ at all. Their
variance grows with $v$, because the variance of the noise of every step grows with $v$ and is
multiplied by squares afterwards. (If a later factor $A$ is 0, all noise before it is lost, and the
variance is the same for every $v$. The boundary below has an example.)

**Small steps: v drops out.** To compare levels we divide the state by the factor of the data. The
noised data then become the data plus noise of the variance $\tau = \sigma^2 / a^2 = e^{-\lambda}$.
A step reduces it to $\tau'$, and $\delta = 1 - \tau' / \tau$. Let $\bar V = V / a^2$ be the
variance of the divided state. To write the factor $A$ with the new letter, divide numerators and
denominators by $a^2$:

$$ \sigma^2 g = \tau G, \quad G = (1 + w) / (S_y + \tau) - w / (S + \tau) $$

So the divided state is multiplied by $1 - (\tau - \tau') G$. The variance of the noise is divided
by $a'^2$. At its two ends, $v = 0$ and $v = 1$, the result is

$$ \delta \sigma'^2 / a'^2 = (\tau - \tau') \tau' / \tau $$
$$ \delta \sigma^2 / a'^2 = (\tau - \tau') (1 + \tau') / (1 + \tau) $$

In a step that is short compared with $\tau$, both are the length $\tau - \tau'$ of the step, up to
terms of second order. So is every value between them. This is the reason why $v$ has no effect in
the limit. Between two fixed levels the number of steps grows only like one over their length, so
the sum of all terms of second order goes to 0. (At both ends the steps are not short until there
are very many: with 1,024 levels of the grid (16.6), the first step leads from $e^{20}$ to
$e^{12.9}$ and the last one from $e^{-12.9}$ to $e^{-20}$. The bound (F.7) shows that even so $v$
has little effect, and the table below shows that the variance comes close to its limit.) Insert the
first order into (F.2):

$$ \bar V' = (1 - (\tau - \tau') G)^2 \bar V + (\tau - \tau') + \dots $$

Subtract the variance before the step, divide by the change of $\tau$, which is negative, and let
the step go to 0:

$$ d\bar V / d\tau = 2 G \bar V - 1 $$ (F.3)

**Solving it.** First leave out the -1. The logarithm of a solution then has the derivative $2 G$.
Both terms of $G$ have a logarithm as their integral. Taking the exponential gives the solution

$$ H = (S_y + \tau)^{2 + 2 w} (S + \tau)^{-2 w} $$

To include the -1 we look at the quotient of $\bar V$ and this solution. By the quotient rule its
derivative is

$$ (\bar V / H)' = (2 G \bar V - 1) / H - \bar V (2 G H) / H^2 = -1 / H $$

At the noise end the chain starts with variance 1, and divided by $a^2$ this is $1 + \tau$. But $H$
grows like $\tau^2$. So if the chain starts far enough in the noise, the quotient begins at 0.
Integrate from there down to the data, where $\tau = 0$:

$$ \bar V = H(0) \int_0^\infty d\tau / H $$

The substitution $\rho = (S + \tau) / (S_y + \tau)$ makes the integrand a power. (This $\rho$ was
called $q$ in appendix D, where $\rho$ was $S_y / S$.) The new variable runs from $R = S / S_y$ to
1, and $d\rho = -(S - S_y) d\tau / (S_y + \tau)^2$. So

$$ \int_0^\infty d\tau / H = \int_1^R \rho^{2 w} d\rho / (S - S_y) $$

The integral of the power is $(R^{1 + 2 w} - 1) / (1 + 2 w)$. Multiply by $H(0) = S_y^2 R^{-2 w}$.
At the data the factor $a$ is 1, so this is the variance of the samples:

$$ V = S_y (R - R^{-2 w}) / ((1 + 2 w) (R - 1)) $$ (F.4)

In the letters of appendix D this is (D.9), the limit of the loop of step 7. So Algorithm 2 has the
same limit, for every $v$. (The mean does not depend on $v$, so its limit is (D.8).)

**Guidance itself narrows the class.** Insert $H(0)$ and $S - S_y = S_y (R - 1)$ before the integral
of the power. Then (F.4) is $S_y$ times the mean of $(\rho / R)^{2 w}$ over $\rho$ from 1 to $R$:

$$ V = (S_y / (R - 1)) \int_1^R (\rho / R)^{2 w} d\rho $$

For a class narrower than the data and $w > 0$ this mean is below 1. So the samples vary less than
the class, in the limit of small steps and for every $v$. In the example $R = 4$, and the limit is
$0.25 (4 - 1/16) / 9 = 0.1094$, less than half of the variance of the class. No number of steps
repairs this. (The tilted distribution has the variance $1 / (2 / 0.25 - 1) = 0.1429$ here, so the
chain does not sample it either.)

**How fast.** The table gives the exact variance (F.2) for the example with the grid (16.6) from -20
to 20. The last line is the difference from the limit at 1,024 levels, times 1,024.

| levels | v = 0 | v = 0.3 | v = 1 |
|---|---|---|---|
| 16 | 0.0604 | 0.0729 | 0.1294 |
| 64 | 0.0918 | 0.0974 | 0.1138 |
| 256 | 0.1042 | 0.1060 | 0.1104 |
| 1,024 | 0.1080 | 0.1085 | 0.1096 |
| limit | 0.1094 | 0.1094 | 0.1094 |
| difference times levels | -1.40 | -0.91 | 0.27 |

For many levels the error is close to a constant times one over the number of levels. For $v = 0$
the error times the number of levels is -0.78, -1.12, -1.32 and -1.40 in the four rows. The constant
depends on $v$, and so does its sign. With other data the constants and their signs are others. For
the top class of the three Gaussians with $w = 1$ and the same three values of $v$, the variance
along the horizontal axis is 0.154, 0.175 and 0.257 with 16 levels (step 16). With 1,024 levels it
is 0.227, 0.227 and 0.229. The numbers for 1,024 levels were measured with 40,000 samples from the
same noise. Each has the standard error 0.0016, but their differences are much more accurate.

**The right v.** Without guidance the mean of each step is exact, so only its variance can be wrong
(step 6). By (6.3) the true variance is the smaller one plus a term from the uncertainty of the
data:

$$ Var(z' | z) = \delta \sigma'^2 + (\delta a')^2 Var(x | z) $$

For the Gaussian class the two clues about the data have the precisions $1 / S_y$ and
$a^2 / \sigma^2$. Their sum is $C_y / (S_y \sigma^2)$, and the conditional variance is one over it.
Insert this and divide by the smaller variance. To first order in $\delta$ the prime makes no
difference in the second term:

$$ Var(z' | z) / (\delta \sigma'^2) = 1 + \delta a^2 S_y / C_y + \dots $$

The larger variance must be divided by the smaller one in the same way. Since
$\sigma^2 = \tau / (1 + \tau)$ and $\tau' = (1 - \delta) \tau$, the quotient is

$$ \sigma^2 / \sigma'^2 = (1 - \delta \sigma^2) / (1 - \delta) = 1 + \delta a^2 + \dots $$

To first order the logarithm of each quotient is its second term. By (16.11) the first logarithm
should be $v$ times the second. So the right value is

$$ v = S_y / C_y $$ (F.5)

It goes from $S_y$ at the noise end to 1 near the data (right panel of the figure). So for
$0 < S_y < 1$ it is a permitted $v$ at every level, but another one at each. No constant is right at
more than one level. The paper chose its two values by experiment.

**Exactly.** The quotient $S_y / C_y$ also has a meaning for long steps. With
$\sigma^2 = \tau / (1 + \tau)$, and $a^2 = 1 / (1 + \tau)$, the variance of the noise changes by

$$ \sigma^2 - \sigma'^2 = (\tau - \tau') / ((1 + \tau) (1 + \tau')) = \delta \sigma^2 a'^2 $$

Times $\delta$, this is the larger variance minus the smaller one. The last term of (6.3) above is
$(\delta a')^2 S_y \sigma^2 / C_y$, which is the same difference times $S_y / C_y$. So the true
variance lies at the fraction $S_y / C_y$ of the way from the smaller variance to the larger one:

$$ Var(z' | z) = \delta \sigma'^2 + (S_y / C_y) (\delta \sigma^2 - \delta \sigma'^2) $$

Subtract both sides from the larger variance:

$$ \delta \sigma^2 - Var(z' | z) = \delta^2 \sigma^2 a'^2 (1 - S_y / C_y) $$ (F.6)

The smaller variance is too small in every step, for every class of positive variance, because the
term that is added to it is positive. For $S_y < 1$ the difference (F.6) is positive, because $C_y$
lies between 1 and $S_y$. So the larger variance is too large in every step. For $S_y > 1$ the
difference is negative. Then even the larger variance is too small in every step, and the samples
are too narrow with every permitted $v$.

**How much v can change.** Let $V_0$ and $V_1$ be the variance of the samples for $v = 0$ and
$v = 1$. Every other $v$ gives a value between them. How far apart can they be? We assume $w \ge 0$,
$S_y \le S$, and that no step is so long that it changes the sign of the divided state, so
$(\tau - \tau') G \le 1$. (The example has this property with 16 levels or more.) For $w \ge 0$ and
$S_y \le S$, the definition of $G$ gives $G \ge 1 / (S_y + \tau)$. So the factor of the divided
state satisfies

$$ 0 \le 1 - (\tau - \tau') G \le 1 - (\tau - \tau') / (S_y + \tau) $$
$$ 1 - (\tau - \tau') / (S_y + \tau) = (S_y + \tau') / (S_y + \tau) $$

The noise of a step that ends at $\tau'$ is multiplied by the factors of all later steps, down to
$\tau = 0$. In the product of their bounds neighbours cancel, and $S_y / (S_y + \tau')$ is left. Let
$c$ be the larger of 1 and $S_y$. Multiplying out shows that

$$ S_y / (S_y + \tau') \le c / (1 + \tau') = c a'^2 $$

With $v = 1$ the noise of the step has a variance larger by $\delta^2 \sigma^2 a'^2$ than with
$v = 0$, as we have just seen. For the divided state this is $\delta^2 \sigma^2$. Multiply it by the
square of $c a'^2$, and use $\delta \sigma^2 a'^2 = \sigma^2 - \sigma'^2$. So this step contributes
to $V_1 - V_0$ at most

$$ \delta^2 \sigma^2 c^2 a'^4 = c^2 (\sigma^2 - \sigma'^2)^2 / \sigma^2 $$
$$ c^2 (\sigma^2 - \sigma'^2)^2 / \sigma^2 \le 4 c^2 (\sigma - \sigma')^2 $$

The inequality holds because $\sigma^2 - \sigma'^2$ is $\sigma - \sigma'$ times $\sigma + \sigma'$,
and this sum is at most $2 \sigma$. Now only the change of $\sigma$ in the step is left. It is small
in a fine grid also at the noise end, where the change of $\tau$ is large. Let $s$ be the largest
change of $\sigma$ in one step. All changes together are at most 1, so their squares add up to at
most $s$:

$$ 0 \le V_1 - V_0 \le 4 c^2 s $$ (F.7)

On the grid (16.6), $\sigma$ is the sine of an angle that changes by at most $\pi / 2$ in $T - 1$
equal steps. So $s$ is at most $\pi / (2 (T - 1))$, and the bound is $2 \pi c^2 / (T - 1)$. With
1,024 levels this is 0.0061. The table has 0.1096 - 0.1080 = 0.0016.

**At the boundary.** For $S_y = S$ (F.4) reads 0 / 0, and the integral over $\tau$ gives $S_y$. For
$w = 0$ the limit (F.4) is $S_y$, and for $w = -1$ it is $S$. For $w = -1/2$ it reads 0 / 0, too,
and the integral gives $S_y R \log R / (R - 1)$. If the class is a single point and there is no
guidance, every guess is that point, and $v$ has no effect. A class of variance 1 has the right
value 1 at every level.

**What goes wrong.** A value of $v$ that was chosen for 16 levels is used with 1,000, where it has
hardly any effect, or the reverse. A variance below that of the class is taken for a fault of the
noise, although guidance causes it. The smaller and the larger variance are exchanged, which turns
$v$ into $1 - v$. Noise is added after the last guess.

**Where it goes on.** Appendix G keeps $v$ and changes the grid. Appendix H gives the limits of
other samplers in closed form.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 4 (their v); Bao et al. 2022,
arXiv:2201.06503 (the best variance of a step); Bradley and Nakkiran 2024, arXiv:2408.09000 (the
limit for $S_y = 1$ and $S = 2$). (F.6) and (F.7) are derived here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import three_gaussians
from tutorial.step05_best_guess import oracle_eps
from tutorial.step16_log_snr import (
    algorithm_2,
    log_snr_grid,
    reverse_var,
    schedule_from,
    signal_noise,
)

if TYPE_CHECKING:
    from jaxtyping import Float


def step_of_z(
    mean: float, var: float, var_all: float, log_snr: float, log_snr_next: float, w: float
) -> tuple[float, float]:
    """`A` and `b` of the mean of a step, for a class N(`mean`, `var`) in N(0, `var_all`)."""
    a, sigma = signal_noise(log_snr)
    a_next, _ = signal_noise(log_snr_next)
    C_y = a**2 * var + sigma**2
    C = a**2 * var_all + sigma**2
    g = (1 + w) / C_y - w / C
    slope = (1 - sigma**2 * g) / a  # (F.1), the factor of z
    offset = (1 + w) * sigma**2 * mean / C_y  # (F.1), the rest
    # The mean of Algorithm 2's step (16.12), with slope * z + offset for its guess.
    delta = -np.expm1(log_snr - log_snr_next)
    A = (1 - delta) * a_next / a + delta * a_next * slope
    b = delta * a_next * offset
    return float(A), float(b)


def moments_of_samples(
    mean: float, var: float, var_all: float, log_snr: Float[np.ndarray, " T"], w: float, v: float
) -> tuple[float, float]:
    """Mean and variance of the samples of Algorithm 2, for `v` in 0..1."""
    m = 0.0
    variance = 1.0
    for here, there in pairwise([*log_snr.tolist(), np.inf]):
        # The step to an infinite log SNR is the last guess, without noise.
        A, b = step_of_z(mean, var, var_all, here, there, w)
        noise = reverse_var(here, there, v) if there < np.inf else 0.0
        m = A * m + b  # (F.2)
        variance = A**2 * variance + noise  # (F.2)
    return m, variance


def slope_of_var(V_bar: float, tau: float, var: float, var_all: float, w: float) -> float:
    """The derivative of the divided variance with respect to tau, in the limit of many steps."""
    G = (1 + w) / (var + tau) - w / (var_all + tau)
    return 2 * G * V_bar - 1  # (F.3)


def limit_var(var: float, var_all: float, w: float) -> float:
    """The variance of samples in the limit of many steps, for `var` other than `var_all`."""
    R = var_all / var
    if w == -0.5:  # the formula is 0 / 0
        return var * R * float(np.log(R)) / (R - 1)
    return var * (R - R ** (-2 * w)) / ((1 + 2 * w) * (R - 1))  # (F.4)


def right_v(var: float, log_snr: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """The `v` that gives a small step its true variance at w = 0, for a class of variance `var`."""
    a, sigma = signal_noise(log_snr)
    return var / np.asarray(a**2 * var + sigma**2)  # (F.5)


def true_step_var(var: float, log_snr: float, log_snr_next: float) -> float:
    """The variance of the next state given this one, for a class of variance `var`."""
    narrow = reverse_var(log_snr, log_snr_next, 0.0)
    wide = reverse_var(log_snr, log_snr_next, 1.0)
    quotient = float(right_v(var, np.array([log_snr]))[0])  # S_y / C_y
    too_large = (wide - narrow) * (1 - quotient)  # (F.6)
    return wide - too_large


def bound_on_effect_of_v(var: float, log_snr: Float[np.ndarray, " T"]) -> float:
    """At most so much do the variances of samples for v = 1 and v = 0 differ, on this grid.

    The class has the variance `var`, at most that of all data, and `w` >= 0. No step changes the
    sign of the divided state.
    """
    sigma = np.asarray(signal_noise(log_snr)[1])
    s = float((sigma[:-1] - sigma[1:]).max())
    c = max(1.0, var)
    return 4 * c**2 * s  # (F.7)


def spread(T: int, v: float, n: int) -> float:
    """The horizontal variance of `n` samples of the top class of three Gaussians with w = 1."""
    grid = log_snr_grid(T)
    rng = np.random.default_rng(0)
    model = oracle_eps(three_gaussians(), schedule_from(grid))
    x = algorithm_2(model, np.zeros(n, dtype=int), grid, 1.0, v, rng)
    return float(x[:, 0].var())


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.f_variance")
