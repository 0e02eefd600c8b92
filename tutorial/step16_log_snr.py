r"""Step 16. The log SNR as time: the process of the guidance paper and its two algorithms

**The question.** So far we chose a number of steps and a schedule first. Then a network was trained
for these noise levels, and a sampler could only visit them. Can we train a network once, for every
noise level, and choose the steps afterwards? The guidance paper of Ho and Salimans does this. It
does not use a time $t$ at all. It describes a point by the amount of noise in it, and its two
algorithms train and sample with this number. We derive them here and compare them with the chain of
steps 2 to 8.

**The process.** A time matters only because it determines how much signal and how much noise a
point contains. The log signal-to-noise ratio $\lambda$ of step 2 describes the same without a
schedule. So we use $\lambda$ itself as the time. This lesson uses the letters of the paper, so that
the two can be compared. The table lists those that are new or had another meaning in the other
lessons. Each is defined again where it first occurs.

| in this lesson | in the other lessons |
|---|---|
| $x$ and $z$, the data and the noised data | $x_0$ and $x_t$; $z$ was new noise |
| $a$, the factor of the data | $\sqrt{\bar\alpha_t}$ |
| $\sigma$, the factor of the noise | $\sqrt{1 - \bar\alpha_t}$ |
| a prime, as in $\lambda'$ and $z'$, for the less noisy of two levels | the index $s$ or $t - 1$ |
| $\delta$, the fraction of new noise in a step towards noise | $\beta_t$ is $\delta \sigma^2$ |
| $\xi$, the new noise of a step back | $z$ |
| $v$, a number from 0 to 1 that selects the variance of a step back | the velocity of step 5 |
| $u$, a number from 0 to 1 that selects a level | what is guessed in step 5 |

A noised point is the sum of two terms. Let $a_\lambda$ be the factor of the data $x$ in it, and
$\sigma_\lambda$ the factor of the noise $\epsilon$:

$$ z = a_\lambda x + \sigma_\lambda \epsilon, \quad \epsilon \sim N(0, I) $$

In step 3 the squares of the two factors are $\bar\alpha_t$ and $1 - \bar\alpha_t$. They add up to
1, and $\lambda$ is the logarithm of their quotient:

$$ a_\lambda^2 + \sigma_\lambda^2 = 1, \quad a_\lambda^2 = e^\lambda \sigma_\lambda^2 $$

Inserting the second equation into the first gives an equation for the noise alone,
$(1 + e^\lambda) \sigma_\lambda^2 = 1$. So

$$ a_\lambda^2 = 1 / (1 + e^{-\lambda}), \quad \sigma_\lambda^2 = 1 / (1 + e^\lambda) $$ (16.1)

At $\lambda = 0$ both are $1/2$. A large $\lambda$ means almost clean data, and a very negative one
almost pure noise. The paper uses values from -20 to 20. At -20 the factor of the data is only
$4.5 \cdot 10^{-5}$.

**A step towards noise.** Let $\lambda'$ be a second level that is less noisy, so it is the larger
number. For two levels we leave out the index: $a$, $\sigma$ and $z$ belong to the noisier level,
and $a'$, $\sigma'$ and $z'$ to the other. How do we get from $z'$ to $z$? We multiply by a number
and add new, independent noise. The factor of the data must change from $a'$ to $a$, so the number
is $a / a'$. The noise in $z'$ is multiplied too. Its variance becomes the left side below. By the
equations before (16.1), $a^2 = e^\lambda \sigma^2$, and the same holds at the other level. So

$$ (a / a')^2 \sigma'^2 = e^{\lambda - \lambda'} \sigma^2 $$

This is the variance of the old noise in $z$. All noise in $z$ must have the variance $\sigma^2$, so
the old noise makes up the fraction $e^{\lambda - \lambda'}$ of it. This is the quotient of the two
signal-to-noise ratios, and it is below 1. The rest must be new. We call the new fraction $\delta$:

$$ \delta = 1 - e^{\lambda - \lambda'} $$
$$ q(z | z') = N((a / a') z', \delta \sigma^2 I) $$ (16.2)

A small step has a small $\delta$. Formula (3.6) is the same statement for two times of a schedule.

**A step back, if we knew the data.** Now $z$ and $x$ are given, and we look for the distribution of
$z'$. As in step 4 there are two clues. The first comes from the data. Given $x$ alone, $z'$ has the
mean $a' x$ and the variance $\sigma'^2$. The second clue comes from $z$. As a function of $z'$,
(16.2) is a Gaussian with mean $(a' / a) z$. Its variance is $\delta \sigma^2$ times $(a' / a)^2$.
To simplify it, insert $e^{\lambda - \lambda'} = 1 - \delta$ into the equation for the old noise.
Then solve for $(a' / a)^2 \sigma^2$ and multiply by $\delta$:

$$ (a / a')^2 \sigma'^2 = (1 - \delta) \sigma^2 $$
$$ (a' / a)^2 \delta \sigma^2 = \delta \sigma'^2 / (1 - \delta) $$

By (4.1) the precisions of the two clues add up, where a precision is 1 over a variance:

$$ 1 / \sigma'^2 + (1 - \delta) / (\delta \sigma'^2) = 1 / (\delta \sigma'^2) $$

So the posterior variance is $\delta \sigma'^2$. By (4.2) each mean is multiplied by its precision
and by the posterior variance. For the data this factor is $\delta$, and for the other clue it is
$1 - \delta$. The results are

$$ E[z' | z, x] = (1 - \delta) (a' / a) z + \delta a' x $$ (16.3)
$$ Var(z' | z, x) = \delta \sigma'^2 $$ (16.4)

**An example.** Take a step from $\lambda = 0$ to $\lambda' = \log 4 = 1.386$. The squared factors
of the data are 0.5 and 0.8. The fraction of new noise is $1 - 1/4 = 0.75$. The step towards noise
multiplies by $\sqrt{0.5 / 0.8} = 0.791$ and adds noise of variance $0.75 \cdot 0.5 = 0.375$. The
posterior mean is $0.316 z + 0.671 x$, and the posterior variance is $0.75 \cdot 0.2 = 0.15$. The
formulas of step 4, with $\alpha_t = 0.5 / 0.8$, give the same numbers.

**The chain of the other lessons.** A grid of levels makes a chain with one step for each level. We
number the levels as before, from the noisiest $\lambda_T$ to $\lambda_1$, and put
$\lambda_0 = \infty$ for the data. (The paper counts in the opposite direction.) The variance in
(16.2) is the $\beta_t$ of step 2:

$$ \beta_t = (1 - e^{\lambda_t - \lambda_{t-1}}) / (1 + e^{\lambda_t}) $$ (16.5)

Every function of the other lessons can be applied to this table. A table of $\bar\alpha_t$ is less
accurate than one of $\lambda_t$, however. At the level 20 the noise has the variance
$2.1 \cdot 10^{-9}$. Computed as a difference from 1 in double precision, this number has only 7 or
8 correct digits.

**Which noise levels?** We need a rule that chooses levels, at random for training and on a grid for
sampling. The squares in (16.1) add up to 1. So the two factors are the cosine and the sine of an
angle $\omega$, as in step 5, and its tangent is $\sigma_\lambda / a_\lambda = e^{-\lambda / 2}$.
The paper distributes this angle uniformly. Let $\omega_0$ be the angle at the clean end, with
$\lambda = \lambda_{max}$, and $\omega_1$ the angle at the noisy end, with
$\lambda = \lambda_{min}$. A number $u$ from 0 to 1 selects an angle between them, and the angle
determines $\lambda$:

$$ \omega = \omega_0 + (\omega_1 - \omega_0) u, \quad \lambda = -2 \log \tan \omega $$ (16.6)
$$ a_\lambda = \cos \omega, \quad \sigma_\lambda = \sin \omega $$ (16.7)

(In the paper the angle is written `a u + b`.) The cosine schedule (2.12) is the same rule with
slightly different ends, apart from its division by $f(0)$ and its cap. For a grid we let $u$ fall
from 1 to 0 in equal steps. With five levels and ends at -20 and 20, the levels are -20, -1.76, 0,
1.76 and 20. The first and the last step are very large, because the tangent changes by large
factors only near the ends.

If $u$ is uniformly distributed, what is the density of $\lambda$? First solve (16.6) for $u$. Then
differentiate: the derivative of $\arctan h$ is $1 / (1 + h^2)$, and here $h = e^{-\lambda / 2}$.
Because $u$ falls while $\lambda$ rises, we take the negative of the derivative:

$$ u = (\arctan e^{-\lambda / 2} - \omega_0) / (\omega_1 - \omega_0) $$
$$ -du / d\lambda = e^{-\lambda / 2} / (2 (\omega_1 - \omega_0) (1 + e^{-\lambda})) $$

The density of $u$ is 1, so the second line is the density of $\lambda$. Multiply numerator and
denominator by $e^{\lambda / 2}$. The denominator then contains
$e^{\lambda / 2} + e^{-\lambda / 2}$, which is $2 \cosh(\lambda / 2)$:

$$ p(\lambda) = 1 / (4 (\omega_1 - \omega_0) \cosh(\lambda / 2)) $$ (16.8)

This holds between the two ends, and outside the density is 0. Where do most draws lie? With ends at
-20 and 20 the angle runs from 0.003 to 89.997 degrees, which is almost from 0 to 90. Half of the
draws have an angle in the middle half of this range, between 22.5 and 67.5 degrees. The tangent of
22.5 degrees is $\sqrt 2 - 1$, so the larger border is

$$ -2 \log(\sqrt 2 - 1) = 2 \log(\sqrt 2 + 1) = 1.763 $$

By symmetry the smaller one is -1.763.

**Algorithm 2: sampling.** We begin with the sampler, because exact predictions suffice to test it.
It starts with $z \sim N(0, I)$ at the noisiest level and visits the grid in the order of increasing
$\lambda$. Let $\lambda'$ always be the next level. As in step 11, $\epsilon_y$ and $\epsilon_\phi$
are the predictions with and without the label, here for $z$ and $\lambda$. The first two operations
mix them and solve $z = a x + \sigma \epsilon$ for the data:

$$ \tilde\epsilon = (1 + w) \epsilon_y - w \epsilon_\phi $$ (16.9)
$$ \tilde x = (z - \sigma \tilde\epsilon) / a $$ (16.10)

The result $\tilde x$ is a guess of the data. The paper does not clip it. The guess takes the place
of $x$ in the posterior mean (16.3), as in step 6. Which variance belongs to this step? By (6.3) the
posterior variance, $\delta \sigma'^2$, is right if the data are a single point. The variance of the
step towards noise, $\delta \sigma^2$, is right if the data are $N(0, I)$. For other data whose
coordinates have a mean square of at most 1, the variance of $z'$ given $z$ alone lies between the
two on average over $z$ (step 6). The paper takes a value between them. It interpolates the
logarithms linearly, with a number $v$ from 0 to 1. This is a choice and not a derivation, because
any other mean of the two would also lie between them. Let $\sigma_v^2$ be the result:

$$ \log \sigma_v^2 = (1 - v) \log(\delta \sigma'^2) + v \log(\delta \sigma^2) $$
$$ \sigma_v^2 = (\delta \sigma'^2)^{1 - v} (\delta \sigma^2)^v $$ (16.11)

With new noise $\xi \sim N(0, I)$ the next state is

$$ z' = (1 - \delta) (a' / a) z + \delta a' \tilde x + \sigma_v \xi $$ (16.12)

We continue the example with the two images 1 and -1 of step 11. At $\lambda = 0$ and $z = 0.4$ the
predictions are -0.434 and 0.054. With $w = 1$ the mixture is -0.922, and the guess is 1.488. Take
the step of the example above, to $\log 4$. The smaller variance is 0.15 and the larger one 0.375.
With $v = 0.3$ the mean and the variance of the next state are

$$ 0.316 \cdot 0.4 + 0.671 \cdot 1.488 = 1.125 $$
$$ 0.15^{0.7} \cdot 0.375^{0.3} = 0.197 $$

After the last level of the grid come the data, where $\lambda'$ is infinite. There
$\delta = a' = 1$ and $\sigma' = 0$. So the mean is the guess, and for $v < 1$ the variance is 0.
The paper ends in this way for every $v$. The sample is the last guess:

$$ x = \tilde x \text{ at } \lambda_{max} $$ (16.13)

With $v = 0$ this is the loop of step 7 for the table (16.5). How much does $v$ matter? The two
variances differ by the factor $\sigma^2 / \sigma'^2$. On the grid of the paper with 16 levels, this
factor is 5 million in the step to the last level, and between 1.01 and 4 in all other steps. With
more levels the steps become smaller, and at a given noise level the two variances come closer
together. (The last steps of the grid are an exception. With 1,024 levels their factors are still
2.2, 3.9 and 1,212. But these variances are smaller than 0.00002.) For example, take the top class
of the three Gaussians with $w = 1$, and consider the variance along the horizontal axis. With 16
levels it is 0.154, 0.175 and 0.257 for $v$ = 0, 0.3 and 1. With 1,024 levels it is about 0.23 for
all three (appendix F).

**Algorithm 1: training.** The update is that of step 15, but the noise level is drawn in another
way:

- Draw samples $(x, y)$, and hide each label with probability `p_uncond` (9.5).
- For each sample draw a noise $\epsilon$ and a uniform $u$, and compute $\lambda$ by (16.6).
- Compute the noised sample $z$, and the prediction of the network from it, the level and the label.
- Change the parameters with the gradient of the mean squared error of the prediction.

How does the network receive the level? In step 15 its time input consisted of four numbers, the
cosine and sine of the angle and of twice the angle. By (16.7) and the formulas for twice an angle
they are

$$ a_\lambda, \sigma_\lambda, a_\lambda^2 - \sigma_\lambda^2, 2 a_\lambda \sigma_\lambda $$ (16.14)

They contain neither $t$ nor $T$. So one network can be trained for every noise level, and the same
network can be used on any grid, with any number of steps. (The section "At the boundary" below adds
a caution about the noisy end.)

**What the distribution of the noise level decides.** Let $L(\lambda)$ be the mean squared error of
the network at one level. Training minimises its average over the draws, $L$. A uniform average over
$u$ is an average over $\lambda$ with the density (16.8):

$$ L = \int_0^1 L(\lambda(u)) du = \int L(\lambda) p(\lambda) d\lambda $$ (16.15)

So the density acts as a weight. Other weights are possible. By (8.4) the bound of step 8 gives
every $\lambda$ the same weight, in the limit of small steps. So a uniformly drawn $\lambda$ trains
with the weights of the bound. The density of the paper gives more weight to intermediate noise. In
the middle it is 0.159, which is 6.4 times the uniform density 1/40. At -8 and 8 it is only 0.006.
Whether this is a good choice is a question for experiments, and (16.15) does not answer it. One
observation supports it for our data. Let $d$ be the difference of the exact predictions with and
without the label. By step 9 information about the label appears at the rate $E|d|^2 / 2$ per unit
of $\lambda$. For the three Gaussians the mean entropy of $p(y | z)$ falls from $\log 3 = 1.099$ in
pure noise to 0.025 at the data. Between -1.763 and 1.763 it falls from 0.930 to 0.112, which is
76 % of the whole. (The last three entropies are sums over a grid of points.) The density of the
paper has half of its draws there, and the uniform density has 9 %.

The weight does not change which prediction is best. By (15.5) the loss at one level is its lowest
value plus the excess, the mean squared distance from the exact prediction. Both kinds of training
reach the minimum if the excess is 0 at each level that can be drawn. A network of limited size and
training trades errors at one level for errors at another. We trained the network of step 15 in both
ways on the three Gaussians, with 3,000 updates, `p_uncond` 0.2 and five random starts. The table
shows the excess, measured on 500 samples at each level. The columns of the middle are means over 9
levels from -1.76 to 1.76. The columns of the ends are means over the levels -12, -8, 8 and 12. Each
entry gives the lowest and the highest of the five runs.

| level drawn | middle, with label | middle, without | ends, with label | ends, without |
|---|---|---|---|---|
| by (16.6) | .0016 to .0018 | .014 to .018 | .005 to .013 | .009 to .016 |
| uniformly | .0037 to .0078 | .048 to .075 | .0007 to .0014 | .0016 to .0025 |

*Each kind of training is more accurate at the levels that it draws more often.*

**The lowest loss depends on the weight.** Two losses with different weights cannot be compared,
even for the same network. To see this, we compute the lowest values for a class $N(\mu_y, S_y I)$
in $D$ dimensions. From here on the prediction is the best one, so $L(\lambda)$ is the lowest loss
at one level and $L$ its average. Formula (5.16) gives the first. Divide numerator and denominator
by $a_\lambda^2$:

$$ L(\lambda) = D a_\lambda^2 S_y / (a_\lambda^2 S_y + \sigma_\lambda^2) $$
$$ L(\lambda) = D S_y / (S_y + \tan^2 \omega) $$

For the rule of the paper we average over a uniform angle. If the ends are far out, it runs from 0
to $\pi / 2$. Let $h = \tan \omega$, so that $d\omega = dh / (1 + h^2)$. The average is

$$ L = (2 D / \pi) \int_0^\infty S_y / ((S_y + h^2) (1 + h^2)) dh $$

For $S_y \ne 1$ the fraction can be split in two. The integrals of the parts are
$\pi / (2 \sqrt{S_y})$ and $\pi / 2$:

$$ S_y / ((S_y + h^2) (1 + h^2)) = (S_y / (1 - S_y)) (1 / (S_y + h^2) - 1 / (1 + h^2)) $$
$$ L = D (S_y / (1 - S_y)) (1 / \sqrt{S_y} - 1) $$

The last bracket is $(1 - \sqrt{S_y}) / \sqrt{S_y}$. The denominator is
$1 - S_y = (1 - \sqrt{S_y}) (1 + \sqrt{S_y})$, and one factor cancels:

$$ L = D \sqrt{S_y} / (1 + \sqrt{S_y}) $$ (16.16)

At $S_y = 1$ the fraction cannot be split in this way. But the integral is continuous in $S_y$, so
(16.16) holds there too and gives $D / 2$. If $\lambda$ is uniform between $-\lambda_{max}$ and
$\lambda_{max}$, we write the lowest loss with $e^\lambda$. It is then the derivative of a
logarithm:

$$ L(\lambda) / D = S_y e^\lambda / (S_y e^\lambda + 1) = d \log(1 + S_y e^\lambda) / d\lambda $$

At the upper end the logarithm is close to $\log S_y + \lambda_{max}$. At the lower end it is close
to 0. Both differences are of the order $e^{-\lambda_{max}}$ and are left out. Dividing the rise of
the logarithm by the length of the interval gives

$$ L_{uniform} = D (1 / 2 + \log S_y / (2 \lambda_{max})) $$ (16.17)

In the plane, with $S_y = 1/4$ and ends at -20 and 20, the lowest losses are 0.667 and 0.931. So a
loss of 0.94 is nearly perfect for one kind of training, and poor for the other. This holds if every
label is shown. A hidden label raises the lowest loss at one level by $E|d|^2$ (9.4). For the three
Gaussians the average of $E|d|^2$ is 0.279 over the angle and 0.0537 over a uniform $\lambda$. With
`p_uncond` 0.2 a fifth of it is added, and the lowest losses are 0.722 and 0.941. So with hidden
labels no network reaches 0.94 in the second kind of training.

**At the boundary.** For the step to the data, $\delta = 1$: the mean (16.3) is $x$, and the
variance (16.4) is 0. At the level 20 the noise has the factor $4.5 \cdot 10^{-5}$. The best
prediction of the noise is almost 0, and $L(\lambda)$ is close to its largest value $D$. At -20 the
point is the noise itself, and the lowest loss is close to 0. At both ends the best prediction is
nearly a fixed function, 0 or $z$ itself, so there is little to learn. (A network has to learn even
this, as the errors at the ends in the table above show.) At -20, however, (16.10) divides by
$4.5 \cdot 10^{-5}$. An error of the prediction becomes 22,026 times as large in the guess. With few
steps from -20 a trained network can therefore fail where exact predictions do not. Appendix G shows
when this happens, and that a start at -8 avoids it in the case of 16 levels.

**What goes wrong.** The table shows mistakes in Algorithm 2 and the variance along the horizontal
axis that they produce, for the top class with $w = 1$, $v = 0.3$ and 16 levels. The algorithm of
the paper gives 0.175. (This value and the first three of the table are sums over a grid, without
random error. The others are from 10,000 samples or more, and their standard errors are at most 1.5
% of them.) A mistake may come nearer to the variance of the class, 0.25, or to that of the tilted
distribution, 0.244. It is a mistake nevertheless, because it is another algorithm.

| mistake | variance |
|---|---|
| v is ignored, and the variance is that of the posterior | 0.154 |
| the variances are interpolated, and not their logarithms | 0.185 |
| v and 1 - v are exchanged | 0.211 |
| the grid is uniform in the log SNR, and not in the angle | 0.122 |
| the state is used again as the new noise | 67 |
| the guess is left out of the mean | 0.0000002 |
| noise is added to the last guess | 0.175 |
| the last state is returned, and not the last guess | 0.175 |

The last two mistakes have no visible effect, because the noise at the level 20 is so small. Only a
test of a single step finds them.

**Where it goes on.** The chains of this lesson draw new noise in every step. Step 17 writes the
steps of many samplers in one form and shows that the noise is not necessary. Appendix F computes
the effect of $v$.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 2 and 4, alg. 1 and 2; Kingma et al. 2021,
arXiv:2107.00630 (the log SNR as time); Nichol and Dhariwal 2021, arXiv:2102.09672, sec. 3.1
(interpolating the logarithms of the two variances); Kingma and Gao 2023, arXiv:2303.00848 (a
distribution of noise levels is a weight).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from tutorial.appendix.e_backprop import MLP, Arrays, backward, forward, init, squared_error
from tutorial.contract import Denoiser, Normals, last
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step09_condition import drop_labels
from tutorial.step11_guidance import guide
from tutorial.step15_learning import adam_step, excess

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def signal_noise(
    log_snr: Float[np.ndarray, "*n"] | float,
) -> tuple[Float[np.ndarray, "*n"] | float, Float[np.ndarray, "*n"] | float]:
    """`a_lambda` and `sigma_lambda`, to rounding at any log SNR, also an infinite one."""
    # logaddexp(0, x) = log(1 + e^x), without overflow and without losing a small e^x beside 1.
    a = np.exp(-0.5 * np.logaddexp(0, -log_snr))  # (16.1)
    sigma = np.exp(-0.5 * np.logaddexp(0, log_snr))  # (16.1)
    return a, sigma


def forward_var(
    log_snr: Float[np.ndarray, "*n"] | float, log_snr_next: Float[np.ndarray, "*n"] | float
) -> Float[np.ndarray, "*n"] | float:
    """The variance of `z` at `log_snr`, given the cleaner state at `log_snr_next` (data: `inf`)."""
    if not np.all(np.asarray(log_snr) < log_snr_next):
        raise ValueError(f"log_snr = {log_snr} is not below log_snr_next = {log_snr_next}")
    _, sigma = signal_noise(log_snr)
    delta = -np.expm1(log_snr - log_snr_next)  # 1 - e^x without a difference of close numbers
    return delta * sigma**2  # (16.2)


def q_posterior_log_snr(
    x0: Float[np.ndarray, "*n D"], z: Float[np.ndarray, "*n D"], log_snr: float, log_snr_next: float
) -> Gaussian:
    """The distribution of the less noisy state at `log_snr_next` (data: `inf`), given `z`, `x0`."""
    a, sigma = signal_noise(log_snr)
    a_next, sigma_next = signal_noise(log_snr_next)
    kept = np.exp(log_snr - log_snr_next)  # 1 - delta
    delta = forward_var(log_snr, log_snr_next) / sigma**2
    mean = kept * (a_next / a) * z + delta * a_next * x0  # (16.3)
    var = delta * sigma_next**2  # (16.4)
    return Gaussian(mean, float(var))


def schedule_from(log_snr: Float[np.ndarray, " T"]) -> Schedule:
    """The chain of the other lessons on an increasing grid; the first value belongs to t = T."""
    if not len(log_snr) or not (np.diff(log_snr) > 0).all():
        raise ValueError(f"log_snr = {log_snr}: pass increasing values, at least one")
    log_snr_next = np.append(log_snr[1:], np.inf)
    from_noise = np.asarray(forward_var(log_snr, log_snr_next))  # (16.5)
    beta = from_noise[::-1]
    # 1 - (1 - beta) has the rounding of 1 - alpha_bar. Otherwise c_0 is not exactly 1 at t = 1.
    return Schedule(np.append(0.0, 1 - (1 - beta)))


def map_ends(low: float, high: float) -> tuple[float, float]:
    """The numbers `a` and `b` of the paper's angle `a u + b`: it is `b` at `high`."""
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"low = {low}, high = {high}: pass finite ends, low below high")
    b = np.arctan(np.exp(-high / 2))
    a = np.arctan(np.exp(-low / 2)) - b
    return float(a), float(b)


def log_snr_of(
    u: Float[np.ndarray, "*n"] | float, low: float = -20.0, high: float = 20.0
) -> Float[np.ndarray, "*n"] | float:
    """The log SNR at `u` in 0..1: `high` at 0 and `low` at 1."""
    a, b = map_ends(low, high)
    if not np.all((np.asarray(u) >= 0) & (np.asarray(u) <= 1)):
        raise ValueError(f"u = {u} is outside 0..1")
    omega = a * u + b  # cos(omega) is the factor of the data, sin(omega) of the noise: (16.7)
    return -2 * np.log(np.tan(omega))  # (16.6)


def log_snr_grid(T: int, low: float = -20.0, high: float = 20.0) -> Float[np.ndarray, " T"]:
    """The `T` >= 1 levels of a sampler, from `low` up to `high`; only `low` if `T` = 1."""
    if not T >= 1 or T % 1:
        raise ValueError(f"T = {T}: a grid needs a whole number of values, at least 1")
    return np.asarray(log_snr_of(np.linspace(1, 0, T), low, high))


def log_snr_density(
    log_snr: Float[np.ndarray, "*n"], low: float = -20.0, high: float = 20.0
) -> Float[np.ndarray, "*n"]:
    """The density of the log SNR if `u` is uniform; 0 outside `low`..`high`."""
    a, _ = map_ends(low, high)
    inside = (low <= log_snr) & (log_snr <= high)
    return inside / (4 * a * np.cosh(log_snr / 2))  # (16.8)


def reverse_var(log_snr: float, log_snr_next: float, v: float) -> float:
    """The variance of the noise that Algorithm 2 adds, for `v` in 0..1."""
    if not 0 <= v <= 1:
        raise ValueError(f"v = {v} is outside 0..1")
    zero = np.zeros(1)
    wide = forward_var(log_snr, log_snr_next)
    narrow = q_posterior_log_snr(zero, zero, log_snr, log_snr_next).var
    return float(narrow ** (1 - v) * wide**v)  # (16.11)


def algorithm_2_steps(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    log_snr: Float[np.ndarray, " T"],
    w: float,
    v: float,
    rng: Normals,
) -> Iterator[tuple[int, Float[np.ndarray, "n 2"]]]:
    """Yield `(t, z)` for t = T..0, the times of `schedule_from(log_snr)`; `rng` draws T times.

    `model` predicts eps on that schedule. Labels in 0..K, `v` in 0..1; the last state is `x~`.
    """
    if model.prediction != "eps":
        raise ValueError(f"prediction = {model.prediction!r}: Algorithm 2 is written for eps")
    null = np.full_like(y, model.num_classes)
    T = len(log_snr)
    z = rng.standard_normal((len(y), 2))
    yield T, z
    for t in range(T, 0, -1):
        here = float(log_snr[T - t])
        a, sigma = signal_noise(here)
        eps = model(z, t, y)
        if w != 0:
            eps = guide(eps, model(z, t, null), w)  # (16.9)
        x = (z - sigma * eps) / a  # (16.10)
        if t == 1:
            yield 0, x  # (16.13)
            return
        there = float(log_snr[T - t + 1])
        mean = q_posterior_log_snr(x, z, here, there).mean
        sigma_of_step = np.sqrt(reverse_var(here, there, v))
        xi = rng.standard_normal(z.shape)
        z = mean + sigma_of_step * xi  # (16.12)
        yield t - 1, z


def algorithm_2(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    log_snr: Float[np.ndarray, " T"],
    w: float,
    v: float,
    rng: Normals,
) -> Float[np.ndarray, "n 2"]:
    """One sample of each label in `y`, with guidance weight `w`."""
    _, x = last(algorithm_2_steps(model, y, log_snr, w, v, rng))
    return x


STEPS = 3000
MIXTURE = three_gaussians()
Draw = Callable[[np.ndarray], np.ndarray | float]


def four_numbers(log_snr: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 4"]:
    """The four inputs by which a network receives the log SNR."""
    a, sigma = signal_noise(log_snr)
    return np.stack([a, sigma, a**2 - sigma**2, 2 * a * sigma], axis=1)  # (16.14)


def algorithm_1(
    mixture: GaussianMixture,
    p_uncond: float,
    steps: int,
    rng: np.random.Generator,
    draw: Draw = log_snr_of,
    width: int = 48,
    n: int = 112,
    rate: float = 0.01,
) -> Iterator[tuple[int, float, Arrays]]:
    """Yield (k, loss of the batch, parameters after update k), k = 1..steps; the rate falls to 0.

    `draw` maps uniform numbers in 0..1 to log SNRs.
    """
    p = init(mixture.num_classes, width, rng)
    mean = {name: np.zeros_like(value) for name, value in p.items()}
    square = {name: np.zeros_like(value) for name, value in p.items()}
    for k in range(1, steps + 1):
        x, y = mixture.sample(n, rng)
        y = drop_labels(y, p_uncond, mixture.num_classes, rng)
        eps = rng.standard_normal(x.shape)
        log_snr = np.asarray(draw(rng.random(n)))  # (16.15)
        a, sigma = signal_noise(log_snr[:, None])
        z = a * x + sigma * eps
        f, passed = forward(p, z, four_numbers(log_snr), y)
        loss, Gf = squared_error(eps, f)
        G = backward(p, Gf, passed)
        r = rate * (1 - (k - 1) / steps)
        p, mean, square = adam_step(p, G, mean, square, k, r)
        yield k, loss, p


def floors(var: float, D: int, end: float = 20.0) -> tuple[float, float]:
    """The lowest losses for a class of variance `var` in `D` dimensions: both kinds of draws."""
    L = D * var**0.5 / (1 + var**0.5)  # (16.16)
    L_uniform = D * (0.5 + np.log(var) / (2 * end))  # (16.17)
    return L, float(L_uniform)


def uniform(u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The linear map from 0..1 to log SNRs from 20 down to -20, which is not the paper's."""
    return 20 - 40 * u


@cache
def trained(steps: int, draw: Draw = log_snr_of) -> Arrays:
    """The parameters after `steps` of Algorithm 1, p_uncond = 0.2."""
    run = algorithm_1(MIXTURE, 0.2, steps, np.random.default_rng(0), draw)
    _, _, params = last(tqdm(run, "Algorithm 1", total=steps, disable=None))
    return params


def errors(params: Arrays, log_snr: Float[np.ndarray, " T"], null: bool) -> list[float]:
    """The excess (15.5) at each log SNR, with labels or without."""
    schedule = schedule_from(log_snr)
    rng = np.random.default_rng(2)
    model = MLP(params, schedule, 3)
    oracle = oracle_eps(MIXTURE, schedule)
    times = range(len(log_snr), 0, -1)
    found: list[float] = []
    for t in times:
        _, square = excess(model, oracle, t, null, 500, rng)
        found.append(float(square.mean()))
    return found


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step16_log_snr")
