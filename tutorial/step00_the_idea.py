r"""Step 00. The idea: turn data into noise, learn the way back, and steer it

We have samples of an unknown distribution, for example photographs, and we would like to draw new
ones. We cannot write that distribution down. But there is one distribution from which we can
always draw: Gaussian noise. So we connect the two. Adding noise, a little at a time, turns any
data into pure noise, by a process that we know exactly. If we could reverse it in small steps, we
could start from fresh noise and end at new data. Each step back needs a guess of the clean data
behind a noisy sample. A network can learn such guesses by regression. Guidance steers the result
towards a class: it enlarges the difference between the guess made with the label and the guess
made without it.

The figure of this lesson has three rows: noise is added, noise is removed, and guidance changes
the result. The rest of this page carries this out in NumPy, on data so simple that the best
possible guess is a formula. Later steps derive each formula slowly. Here it is enough to see how
the pieces fit together.

**The data.** In place of photographs we use points in the plane. There are three classes, 0, 1 and
2, and each has probability 1/3. Class $y$ is a Gaussian cloud with mean $\mu_y$. Within a class the
two coordinates are independent, and each has variance $v = 1/4$. The three means lie at distance
1.5 from the origin, 120 degrees apart. That of class 0 is at the top, $\mu_0 = (0, 1.5)$; class 1
is at the lower left and class 2 at the lower right. We call a data point $x_0$.

**Adding noise.** Time runs from $t = 0$, where we have data, to $t = T$, where we have noise;
here $T = 100$. At time $t$ we mix the data point with standard normal noise $\epsilon$, one
independent number per coordinate:

$$ x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} \epsilon $$ (0.1)

The number $\bar\alpha_t$ falls from 1 to 0 with time. So the factor of the data falls from 1 to 0,
and that of the noise rises from 0 to 1. The squares of the two factors add up to 1; step 2 explains
why they are chosen in this way. On this page $\bar\alpha_t$ is the squared cosine of an angle that
grows linearly with $t$, from 0 to 90 degrees. At $t = 50$ the angle is 45 degrees, so
$\bar\alpha_t = 1/2$, and both factors are 0.707.

**The best guess.** Given a noisy point $x_t$, where was the data point? We look for the guess
$\hat x_0$ with the smallest mean squared error. Step 5 will prove that this is the conditional
mean of $x_0$ given $x_t$: the average over all data points, each weighted by its probability
given $x_t$.

Suppose first that we know the class $y$. Then $x_0$ and $x_t$ are jointly Gaussian, because $x_t$
is a sum of $x_0$ and independent Gaussian noise. The coordinates are independent, so each can be
guessed by itself. For two jointly Gaussian numbers $X$ and $Z$, the conditional mean is the
regression line of a first course in probability:

$$ E[X | Z] = E[X] + Cov(X, Z) / Var(Z) \cdot (Z - E[Z]) $$

Here $X$ is a coordinate of $x_0$, and $Z$ is the same coordinate of $x_t$. Only the first term of
(0.1) contributes to the covariance, which is therefore $\sqrt{\bar\alpha_t} v$. We call the
variance of $x_t$ in its class $C_t$, and the slope of the line $b_t$:

$$ C_t = \bar\alpha_t v + 1 - \bar\alpha_t $$
$$ b_t = \sqrt{\bar\alpha_t} v / C_t $$

The means are $\mu_y$ for the data point and $\sqrt{\bar\alpha_t} \mu_y$ for the noisy one. So the
guess for class $y$ is

$$ \hat x_0(x_t, y) = \mu_y + b_t (x_t - \sqrt{\bar\alpha_t} \mu_y) $$ (0.2)

Without the label we must average over the classes as well. Bayes' rule gives the probability of
each class after $x_t$ has been seen. Under class $y$ the noisy point is Gaussian with variance
$C_t$. The probability 1/3 and the normalisation $1 / (2 \pi C_t)$ are the same for the three
classes, so they cancel. The letter $k$ runs over the three classes:

$$ p(x_t | y) \propto \exp(-|x_t - \sqrt{\bar\alpha_t} \mu_y|^2 / (2 C_t)) $$
$$ p(y | x_t) = p(x_t | y) / \sum_k p(x_t | k) $$ (0.3)

The guess without a label is the mean of the three guesses, weighted by these probabilities:

$$ \hat x_0(x_t) = \sum_y p(y | x_t) \hat x_0(x_t, y) $$ (0.4)

For an example, let $t = 50$ and let $x_t$ be the origin. Then $C_t = 0.5 / 4 + 0.5 = 0.625$ and
$b_t = 0.707 / 4 / 0.625 = 0.283$. The guess for class 0 has the height
$1.5 - 0.283 \cdot 0.707 \cdot 1.5 = 1.2$, so it is the point (0, 1.2). The three classes are
equally probable at the origin, and their guesses cancel: without the label the guess is (0, 0). The
density of the data at the origin is $e^{-1.5^2 / (2 v)} / (2 \pi v) = 0.0071$. At the centre of a
class it is almost exactly $1 / (3 \cdot 2 \pi v) = 0.212$, 30 times as high. So the best guess is
an average over possible data points, but it need not be a probable data point itself.

**One step back.** For this reason we do not jump to the guess at once. We take one small step
towards it, to $t - 1$, and guess again from there. With less noise the classes overlap less. So
for most points one of the probabilities (0.3) approaches 1, and the guess becomes an average over
one class only. A guess of the data implies an estimate of the noise, if we solve (0.1) for
$\epsilon$:

$$ \hat\epsilon = (x_t - \sqrt{\bar\alpha_t} \hat x_0) / \sqrt{1 - \bar\alpha_t} $$ (0.5)

We mix the two again as in (0.1), now with the factors of time $t - 1$: a little more data, a
little less noise.

$$ x_{t-1} = \sqrt{\bar\alpha_{t-1}} \hat x_0 + \sqrt{1 - \bar\alpha_{t-1}} \hat\epsilon $$ (0.6)

The noise that was added at random cannot be taken out exactly, because it is not known. The step
has another purpose: it changes the *distribution* of the noisy points at time $t$ into the one at
time $t - 1$, up to an error that is small for small steps. Step 17 derives it; here we only check
its result. In the example the guess for class 0 gives $\hat\epsilon = (0, -1.2)$, and the next
point is (0, 0.027). One step of a hundred moves a point only a little. To sample, we draw $x_T$
from $N(0, I)$, the standard normal distribution in the plane. Then we make a guess and apply (0.5)
and (0.6), for $t = T$, $T - 1$, ..., 1. If we use the guess for class 0 at every step, 40,000
samples have the mean height 1.50, which is right. Their variance is 0.24 in each coordinate, and
that of the class is 0.25. The steps are too long: the guess should change within a step, and (0.6)
keeps it fixed. With $T = 1000$ the variance is 0.25, and with $T = 10$ it is 0.18. With $T = 1$ it
is 0. There the only step returns its guess, which is $\mu_0$ for every $x_T$, because $b_T = 0$. So
the steps need to be small. Step 7 computes how much variance a similar loop loses, and step 17 does
so for this one.

**Guidance.** The guess with the label differs from the guess without it. By (0.2), the guesses for
two classes $y$ and $k$ differ by $\mu_y - \mu_k$ times $1 - b_t \sqrt{\bar\alpha_t}$, at every
$x_t$. The probabilities add up to 1. So by (0.4) the guess with the label, minus the guess without
it, is

$$ (1 - b_t \sqrt{\bar\alpha_t}) \sum_k p(k | x_t) (\mu_y - \mu_k) $$

The term with $k = y$ is 0. So at a given $t$ the difference is near 0 where class $y$ is nearly
certain. It is large where class $y$ is improbable, and there it points from the means of the
probable classes to that of class $y$. Guidance multiplies this difference by a weight $w$ and adds
it to the guess with the label:

$$ \tilde x_0 = \hat x_0(x_t, y) + w (\hat x_0(x_t, y) - \hat x_0(x_t)) $$ (0.7)

In the example and for $w = 1$, the guided guess is $(0, 1.2) + (0, 1.2) = (0, 2.4)$. It takes the
place of the guess in (0.5) and (0.6), and nothing else changes. The table compares the class
itself with 40,000 samples for class 0 at each of three weights. Its last column counts ambiguous
samples: those to which (0.3), at $t = 0$, gives a probability of class 0 below 0.9.

| samples | mean height | horizontal variance | vertical variance | ambiguous |
|---|---|---|---|---|
| of the class itself | 1.50 | 0.25 | 0.25 | 2.8 % |
| $w = 0$ | 1.50 | 0.24 | 0.24 | 2.6 % |
| $w = 1$ | 1.91 | 0.17 | 0.12 | none |
| $w = 3$ | 2.37 | 0.14 | 0.08 | none |

Guidance has the intended effect: no sample is ambiguous any more. This is what it is used for. On
these well separated classes there is little to gain, because few samples were ambiguous before.
There is also a cost. The samples are less diverse, and at $w = 3$ their mean lies 1.7 standard
deviations of the class above its centre. Guided samples do not have the distribution of the class.
Steps 12 to 14 examine which distribution they have, and compare it with the one that guidance was
meant to produce.

**At the boundaries.** For $w = 0$, (0.7) is the guess with the label. For $w = -1$ it is the
guess without the label, and the samples come from all three classes. At $t = T$ the weight of the
data is 0, so $x_T$ is pure noise and contains no trace of $x_0$. At $t = 1$ the step (0.6)
returns the guess itself, because $\bar\alpha_0 = 1$.

**What is missing here.** The formulas (0.2) and (0.3) use the means and the variance of the data.
So the program has learned nothing from samples: its distribution was written down beforehand. For
photographs these formulas are unknown. A network replaces them, and is trained to predict the noise
in $x_t$, with the label and without it (steps 8, 9 and 15). The loop stays the same. That is why
the course keeps to simple data for so long: where the best guess is known, each method can be
compared with the exact result.

**Where it goes on.** Steps 1 to 3 build the data and the noise, and steps 4 to 7 the way back.
Step 8 describes the training, and steps 9 to 11 the label and guidance. Steps 12 to 14 measure
what guidance does. The later steps train a network and replace the plain loop of this page by
better ones. One question comes first: for which data is everything known?

**Source.** Sohl-Dickstein et al. 2015, arXiv:1503.03585 (the idea); Ho et al. 2020,
arXiv:2006.11239 (its modern form); Song et al. 2020, arXiv:2010.02502 (the step (0.6)); Ho and
Salimans 2022, arXiv:2207.12598 (guidance).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

# The data: three classes of equal probability, with means at distance 1.5 from the origin.
MEANS = 1.5 * np.array([[0, 1], [-np.sqrt(3) / 2, -1 / 2], [np.sqrt(3) / 2, -1 / 2]])
VAR = 0.25  # the variance v of each class in each coordinate


def alpha_bar(T: int) -> Float[np.ndarray, " T1"]:
    """The weights of the data at t = 0..T: squared cosines of angles from 0 to 90 degrees."""
    if T < 1:
        raise ValueError(f"T = {T}: a chain has at least one step")
    angle = np.linspace(0, np.pi / 2, T + 1)
    return np.cos(angle) ** 2


def add_noise(
    x0: Float[np.ndarray, "n 2"], eps: Float[np.ndarray, "n 2"], abar: float
) -> Float[np.ndarray, "n 2"]:
    """The noisy points `x_t`, from data points and noise, at the time with weight `abar`."""
    return np.sqrt(abar) * x0 + np.sqrt(1 - abar) * eps  # (0.1)


def guess_of_each_class(xt: Float[np.ndarray, "n 2"], abar: float) -> Float[np.ndarray, "n 3 2"]:
    """The best guess of `x_0` for each of the three classes."""
    C = abar * VAR + 1 - abar
    b = np.sqrt(abar) * VAR / C
    offset = xt[:, None] - np.sqrt(abar) * MEANS  # (n, 3, 2)
    return MEANS + b * offset  # (0.2)


def class_probability(xt: Float[np.ndarray, "n 2"], abar: float) -> Float[np.ndarray, "n 3"]:
    """The probability of each class after `xt` has been seen."""
    C = abar * VAR + 1 - abar
    offset = xt[:, None] - np.sqrt(abar) * MEANS
    exponent = -(offset**2).sum(2) / (2 * C)
    # The largest exponent is subtracted, so that far from the data not all terms become 0.
    p = np.exp(exponent - exponent.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)  # (0.3)


def guess_without_label(xt: Float[np.ndarray, "n 2"], abar: float) -> Float[np.ndarray, "n 2"]:
    """The best guess of `x_0` when the class is unknown."""
    p = class_probability(xt, abar)
    of_class = guess_of_each_class(xt, abar)
    return (p[:, :, None] * of_class).sum(1)  # (0.4)


def guess_with_guidance(
    xt: Float[np.ndarray, "n 2"], abar: float, y: int, w: float
) -> Float[np.ndarray, "n 2"]:
    """The guess for class `y` in 0..2, plus `w` times its difference from that without a label."""
    if not 0 <= y < len(MEANS):
        raise ValueError(f"y = {y} is outside 0..{len(MEANS) - 1}")
    of_y = guess_of_each_class(xt, abar)[:, y]
    of_all = guess_without_label(xt, abar)
    return of_y + w * (of_y - of_all)  # (0.7)


def step_back(
    xt: Float[np.ndarray, "n 2"], x0hat: Float[np.ndarray, "n 2"], abar: float, abar_prev: float
) -> Float[np.ndarray, "n 2"]:
    """`x_{t-1}` from `x_t` and a guess of the data, with the weights of times t and t - 1."""
    epshat = (xt - np.sqrt(abar) * x0hat) / np.sqrt(1 - abar)  # (0.5)
    return np.sqrt(abar_prev) * x0hat + np.sqrt(1 - abar_prev) * epshat  # (0.6)


def sample(
    n: int, y: int, w: float, rng: np.random.Generator, T: int = 100
) -> Float[np.ndarray, "n 2"]:
    """`n` samples for class `y` in 0..2, guided with weight `w`, in `T` steps from pure noise.

    `w` = 0 samples the class, `w` = -1 all three classes, and `w` > 0 guides.
    """
    abar = alpha_bar(T)
    x = rng.standard_normal((n, 2))
    for t in range(T, 0, -1):
        x0hat = guess_with_guidance(x, abar[t], y, w)
        x = step_back(x, x0hat, abar[t], abar[t - 1])
    return x


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step00_the_idea")
