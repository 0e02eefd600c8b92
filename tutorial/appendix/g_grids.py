r"""Appendix G. One network on every grid: at which levels its errors become large

**The question.** The network of step 16 receives the noise level and not a time. So it can be used
on any grid of levels, with any number of steps. Step 16 ended with a caution. At the log SNR -20
the guess of the data divides by a very small number, and an error of the prediction becomes 22,026
times as large. Exact predictions have no error, so no test with them can show any harm. What
happens to the samples of a trained network? On which grids are its errors harmful, and what is the
remedy?

**What we compute.** Suppose that the predictions are exact at all levels but one. At this level the
prediction of the noise is too large by a constant $e$ in one coordinate. By how much does the
sample change? We compute this for Algorithm 2 of step 16 with the weight $w = 0$ and one class, the
Gaussian $N(\mu, S_y I)$. Then every step is linear plus a constant. The answer is exact for an
error of any size, and the effects of errors at several levels add up. The letters are those of step
16, and a prime marks the next, less noisy level. Because $e$ is the error, we write $\exp$ for the
exponential function. The sign $\Delta$ in front of a quantity means the change that the error
causes in it.

**An example.** The grid has 16 levels from -20 to 20, and $S_y = 1/4$. Let the first prediction be
too large by $e = 0.01$. The guess of the data is then too small by $0.01 \cdot 22026 = 220$. The
second level is $\lambda' = -4.50$. The step to it multiplies the guess by 0.1046, so the next state
is too small by 23.0. The remaining steps multiply the difference by 0.0264. The sample is too small
by 0.607, which is more than the standard deviation of the class, 0.5. The noise has the standard
deviation 1. So an error of one hundredth of it in a single prediction displaces the sample by more
than a standard deviation of the class. We now derive the three factors.

**One step.** The guess (16.10) is $\tilde x = (z - \sigma \epsilon) / a$. The mean of the next
state (16.12) contains this guess with the factor $\delta a'$. The state $z$ and the new noise do
not change. So

$$ \Delta \tilde x = -(\sigma / a) e $$
$$ \Delta z' = -\delta a' (\sigma / a) e $$ (G.1)

The dangerous factor is $\sigma / a = \exp(-\lambda / 2)$. In strong noise the state is almost equal
to the noise. The guess is the small difference of two nearly equal numbers, divided by the small
factor of the data.

**The remaining steps** are applied to the displaced state as to any other one. Nothing in the state
shows that it is wrong. Let $C_y = a^2 S_y + \sigma^2$ be the variance of the noised class. By
appendix B the mean of a step is the regression of the next state on the present one, because the
predictions are exact. By (16.2) the state $z$ is $(a / a') z'$ plus independent noise, so the
covariance of the two states is $(a / a') C_y'$. The regression divides it by the variance of $z$.
So the step from $\lambda$ to $\lambda'$ multiplies a displacement of its state by

$$ A = (a / a') C_y' / C_y $$

The error was made in this step, so the product begins with the factor $A'$ of the step after it.
That step leads from $\lambda'$ to the level after it, $\lambda''$:

$$ A' A'' \cdots = (a' / a'') (C_y'' / C_y') \cdot (a'' / a''') (C_y''' / C_y'') \cdots $$

Each $C_y$ and each factor of the data cancels its neighbour, and only $a'$ and $C_y'$ are left from
the beginning. At the end are the data, with the factor 1 and the variance $S_y$. Therefore

$$ A' A'' \cdots = a' S_y / C_y' $$

Multiply (G.1) by this number. The result is the change of the sample. We call the factor $\Gamma$
the sensitivity of the sample to the prediction at this level:

$$ \Delta x = -\Gamma e, \quad \Gamma = \delta a'^2 (\sigma / a) S_y / C_y' $$ (G.2)

In the example $\Gamma = 60.7$ at the first level. At the fifteen other levels it is at most 0.157.
At the last one $\delta = a' = 1$ and $C_y' = S_y$, so $\Gamma = \sigma / a$, which is
$4.5 \cdot 10^{-5}$ at the level 20.

**The first level.** How does its sensitivity depend on the start $\lambda_1$ and on the number $T$
of levels? Let the start be far in the noise. Then $\sigma$ is close to 1. If the second level is
far from the first, $\delta$ is close to 1, too. If it still contains little signal, $C_y'$ is also
close to 1. This excludes very large and very small $T$. For $a'$ we use the angle of step 16. On
the grid (16.6) the angle falls from almost $\pi / 2$ to almost 0 in $T - 1$ equal steps, and $a'$
is the cosine of the angle at the second level:

$$ a' \approx \cos(\pi / 2 - \pi / (2 (T - 1))) = \sin(\pi / (2 (T - 1))) $$

For more than a few levels the sine is close to its argument. Inserting this into (G.2) gives

$$ \Gamma_1 \approx \exp(-\lambda_1 / 2) S_y (\pi / (2 (T - 1)))^2 $$ (G.3)

It falls like $1 / T^2$. The table compares it with (G.2) for the start -20 and $S_y = 1/4$.

| levels | 8 | 16 | 32 | 64 | 128 | 256 | 1,024 |
|---|---|---|---|---|---|---|---|
| first level, exact | 283 | 60.7 | 14.2 | 3.44 | 0.849 | 0.212 | 0.0137 |
| first level by (G.3) | 277 | 60.4 | 14.1 | 3.42 | 0.842 | 0.209 | 0.0130 |
| all other levels together | 1.38 | 1.44 | 1.49 | 1.52 | 1.54 | 1.55 | 1.56 |

With very many levels the approximation becomes too small. The grid begins at an angle a little
below $\pi / 2$, so $a'$ is larger than the sine above. With 1,024 levels it is 6 % too small, and
with 5,000 levels 22 %.

**All levels together.** The last line of the table hardly depends on $T$. Suppose that the same
error is made at every level. Its effects then add up to the sum of all sensitivities. In a small
step $\delta$ is the length $d\lambda$ of the step, up to terms of second order. To the same order
$a'$ and $C_y'$ may be replaced with $a$ and $C_y$:

$$ \Gamma = (a \sigma S_y / C_y) d\lambda + \dots $$

In terms of the angle, $\lambda = -2 \log \tan \omega$ (16.6). The derivative of the tangent is one
over the squared cosine, so

$$ d\lambda = -2 d\omega / (\sin \omega \cos \omega) = -2 d\omega / (a \sigma) $$

The two products $a \sigma$ cancel. The angle falls while $\lambda$ rises, and the minus sign turns
the integral into one from 0 to $\pi / 2$. To compute the integral, divide numerator and denominator
by the squared cosine, and substitute $h = \tan \omega$:

$$ \sum \Gamma \to \int_0^{\pi / 2} 2 S_y d\omega / (S_y \cos^2 \omega + \sin^2 \omega) $$
$$ \int_0^\infty 2 S_y dh / (S_y + h^2) = 2 \sqrt{S_y} (\pi / 2) $$
$$ \sum \Gamma \to \pi \sqrt{S_y} $$ (G.4)

This holds in the limit of many levels, for ends far out. If no error is larger than $e$ in absolute
value, no coordinate of the sample moves by more than $\pi \sqrt{S_y} e$, even if all errors have
the same sign. The errors may also depend on the state. Along one chain they are still one number
per level, and the effects of these numbers add up as before. Divided by the standard deviation of
the class, the bound is $\pi e$ for every $S_y$. So small errors do little harm if the steps are
small everywhere. The first step of a short grid from -20 is not small.

**Remedy 1: a later start.** At $\lambda_1 = -8$ the factor $\sigma / a$ is only 54.6. What does it
cost? The chain starts with $N(0, I)$. At $\lambda_1$ the noised class has the mean $a_1 \mu$, so
the start is displaced by $-a_1 \mu$. All steps together multiply this by $a_1 S_y / C_1$, where
$C_1 = a_1^2 S_y + \sigma_1^2$, by the same product as above. As in (B.5), the mean of the samples
changes by

$$ \Delta x = -(a_1^2 S_y / C_1) \mu $$ (G.5)

The table is for 16 levels and $S_y = 1/4$. The variance is computed by (F.2) with $w = 0$ and
$v = 0.3$.

| start | sensitivity of the first level | missing fraction of the mean | variance of the samples |
|---|---|---|---|
| -20 | 60.7 | 0.0000000005 | 0.1960 |
| -12 | 1.16 | 0.0000015 | 0.1961 |
| -8 | 0.199 | 0.000084 | 0.1965 |
| -6 | 0.103 | 0.00062 | 0.1973 |
| -4 | 0.067 | 0.0046 | 0.1994 |
| -2 | 0.051 | 0.033 | 0.2061 |

From -8 the sensitivity of the first level is 0.199, and that of the others is up to 0.156. The mean
lacks 0.008 %. The variance lacks a fifth because there are only 16 levels (appendix F). A later
start does not increase this loss. It makes the steps shorter.

**A trained network.** Does the calculation describe a real network? We use the network of step 16
after 3,000 updates. At the log SNR -20, the error of its prediction with the label has a mean
length of 0.054, measured on 20,000 noised samples. Each of the three Gaussians has $S_y = 1/4$, so
the first sensitivity is that of the table of (G.3). The error times the sensitivity should be about
the distance between the samples of the network and those of exact predictions with the same noise.
The table shows the mean distance of 300 samples of the three Gaussians with $w = 0$ and $v = 0.3$.

| levels | 8 | 16 | 32 | 64 | 128 | 256 |
|---|---|---|---|---|---|---|
| from -20, expected from the first error | 15.3 | 3.29 | 0.77 | 0.186 | 0.046 | 0.011 |
| from -20, measured | 12.9 | 2.36 | 0.58 | 0.165 | 0.061 | 0.040 |
| from -8, measured | 0.055 | 0.035 | 0.034 | 0.033 | 0.035 | 0.035 |

With few levels the first error dominates, and the expectation has the right size. It is not exact.
The error depends on the state, and the displaced state lies where the network was never trained.
With many levels the errors at all other levels dominate, and their effect hardly depends on the
start. We repeated the training with twelve random starts. From -20 with 16 levels the distance was
between 1.2 and 7.1. Divided by the expectation from the first error of the same network, it was
between 0.38 and 2.3. From -8 it was between 0.024 and 0.037. So a grid from -20 is harmful with 16
levels. With 128 levels, the shortest chain of the paper, a difference remains, here 0.061 against
0.035. With 256 levels the start makes little difference.

**Remedy 2: clipping.** The algorithm of the paper does not clip the guess. Let the data be known to
lie between $-c$ and $c$, and clip every guess to this interval as in step 6. Then each coordinate
of the clipped guess of the network differs from that of a clipped exact guess by at most $2 c$,
however wrong the network is. In (G.2) the number $2 c$ takes the place of $(\sigma / a) e$.

Can clipping in the later steps increase the difference again? Without guidance, inserting the exact
prediction into the guess shows that the guess contains the state with the factor

$$ (1 - \sigma^2 / C_y) / a = a S_y / C_y $$

This is positive. So of two states, the larger one has the larger guess. In the next state (16.12),
the differences of the states and of the guesses therefore have the same sign. Clipping moves no two
guesses further apart, so it can only reduce the second difference, and with it the sum. Therefore

$$ |\Delta x| \le 2 c \delta a'^2 S_y / C_y' $$ (G.6)

For $c = 4$ and the first level of the example the bound is 0.022. We measured the remedy with the
same network and the same noise. Here $v = 0$, because the loop of step 7 can clip. With 16 levels
from -20 the mean distance is 2.36 without clipping, as in the table, and 0.035 with it. Clipping
changes none of the samples of the exact predictions. The remedy requires that the range of the data
is known.

**Other outputs.** A network may predict the velocity of step 5. We write its output as $\hat v$,
because $v$ is the exponent of (16.11) here. Its guess is $a z - \sigma \hat v$. If the output is
too large by $e_v$, nothing is divided:

$$ \Delta z' = -\delta a' \sigma e_v $$ (G.7)

For the first level of the example the factor of $e_v$ is 0.105. For a prediction of the noise it is
2,303. This compares errors of equal size, and which size a network has must be measured. At a level
of pure noise, where $a = 0$, a prediction of the noise determines no guess at all.

**With guidance** the error $e$ in (G.1) is that of the mixture (15.6). The sensitivity (G.2) does
not hold, because the later steps have other factors. For a class of variance 1/4 in data of
variance 1, and $w = 1$, the product of the factors (F.2) gives 12.7 at the first level of the
example. For the three Gaussians with $w = 1$ the mean displacement is about 32 times a very small
error, and 41 to 48 times an error of 0.05, depending on its direction. Without guidance the factor
is 60.7 in both cases, so guidance reduces the displacement here. But it increases the error. For
$w = 3$ the mean length at -20 is 0.30, and not 0.054. The mean distance with 16 levels is 12.4 from
-20, and 0.25 from -8.

**At the boundary.** With one level, the sample is its guess, and $\Gamma = \sigma / a$. In a class
with a very small variance all sensitivities but the last are close to 0, because all later guesses
are close to the mean of the class. A very wide class has $C_y' \approx a'^2 S_y$ at all levels with
some signal. There $\Gamma \approx \delta \sigma / a$. The later steps do not reduce a displacement.
They only divide it by the factor of the data.

**What goes wrong.** The levels on which a network was trained are taken as the levels of a short
chain. The sampler is then tested with exact predictions, passes, and fails with a network. The
training loss is read as the error of the samples. At -20 it is only 0.004 for our network, because
the best prediction is almost the state itself. A network is evaluated in half precision, where a
number between 1 and 2 is rounded with an error of up to $2^{-11}$. At the first level of the
example this alone displaces the sample by up to 0.030. Samples that lie far from their class are
explained by a training that was too short, and not by the grid.

**Where it goes on.** Appendix H computes where guided chains end on fine grids.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 4 (their grids from -20 to 20); Lin et al.
2023, arXiv:2305.08891 (why the noise is a poor output where there is no signal). The sensitivities
are derived here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.appendix.f_variance import step_of_z
from tutorial.step16_log_snr import signal_noise

if TYPE_CHECKING:
    from jaxtyping import Float


def sensitivity_of_step(log_snr: float, log_snr_next: float) -> float:
    """By how much the next state is too small if the prediction of eps is too large by 1."""
    a, sigma = signal_noise(log_snr)
    a_next, _ = signal_noise(log_snr_next)
    delta = -np.expm1(log_snr - log_snr_next)  # 1 - e^x without a difference of close numbers
    return float(delta * a_next * sigma / a)  # (G.1)


def sensitivity_of_step_to_v(log_snr: float, log_snr_next: float) -> float:
    """By how much the next state is too small if a prediction of the velocity is too large by 1."""
    _, sigma = signal_noise(log_snr)
    a_next, _ = signal_noise(log_snr_next)
    delta = -np.expm1(log_snr - log_snr_next)
    return float(delta * a_next * sigma)  # (G.7)


def remaining_factor(var: float, log_snr: float) -> float:
    """The factor by which all steps from `log_snr` to the data multiply a displacement."""
    a, sigma = signal_noise(log_snr)
    C_y = a**2 * var + sigma**2
    return float(a * var / C_y)


def sensitivities(var: float, log_snr: Float[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """By how much a sample is too small if eps is too large by 1 at one level, for each level.

    The samples belong to a class of variance `var` > 0, and there is no guidance.
    """
    found: list[float] = []
    for here, there in pairwise([*log_snr.tolist(), np.inf]):
        Gamma = sensitivity_of_step(here, there) * remaining_factor(var, there)  # (G.2)
        found.append(Gamma)
    return np.array(found)


def first_sensitivity(var: float, low: float, T: int) -> float:
    """Approximately the first of `sensitivities` on a grid from `low` with `T` >= 2 levels."""
    a_next = np.pi / (2 * (T - 1))
    return float(np.exp(-low / 2) * var * a_next**2)  # (G.3)


def total_sensitivity(var: float) -> float:
    """The sum of `sensitivities` in the limit of many levels with ends far out."""
    return np.pi * var**0.5  # (G.4)


def missing_mean(var: float, low: float) -> float:
    """The fraction of the mean of the class that samples lack if the chain starts at `low`."""
    a_1, _ = signal_noise(low)
    return float(a_1 * remaining_factor(var, low))  # (G.5)


def clipped_bound(var: float, c: float, log_snr: float, log_snr_next: float) -> float:
    """The largest displacement of a sample by one prediction, if guesses lie in -c..c."""
    a_next, _ = signal_noise(log_snr_next)
    delta = -np.expm1(log_snr - log_snr_next)
    return float(2 * c * delta * a_next * remaining_factor(var, log_snr_next))  # (G.6)


def guided_sensitivity(
    var: float, var_all: float, log_snr: Float[np.ndarray, " T"], w: float
) -> float:
    """The first of `sensitivities` under guidance, for a class in data N(0, `var_all`)."""
    ends = [*log_snr.tolist(), np.inf]
    displaced = sensitivity_of_step(ends[0], ends[1])
    for here, there in pairwise(ends[1:]):
        A, _ = step_of_z(0.0, var, var_all, here, there, w)
        displaced = A * displaced
    return displaced


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.g_grids")
