r"""Step 05. The best guess, and four ways to write it

**The question.** Step 4 went one step back with the help of the data point $x_0$. When we make new
data, the data point is not known yet. There is only a noisy $x_t$, and many data points could lie
behind it. What is the best guess of $x_0$, given $x_t$? And how can this guess be learned, if the
right one is not known for any $x_t$? The best guess turns out to be a conditional mean, and
minimising a squared error finds it. It can be written in four equivalent ways: as the data, the
noise, a velocity, or a score.

**An example.** The data are two numbers, 1 and -1, each with probability one half. At some $t$ with
$\bar\alpha_t = 0.5$ we see $x_t = 0.5$. Which number lies behind it? By step 3 the noisy value has
mean 0.707 or -0.707 and variance 0.5. Bayes' rule compares the two densities at 0.5. The squared
distances from the two means differ by
$(0.5 + 0.707)^2 - (0.5 - 0.707)^2 = 4 \cdot 0.5 \cdot 0.707$. Divided by twice the variance, this
is the logarithm of the ratio of the densities, so the ratio is $\exp(1.414) = 4.11$. So the data
point is 1 with probability 0.804 and -1 with probability 0.196.

Suppose we guess 1. In 19.6 % of the cases the guess is wrong by 2, and the mean squared error is
$0.196 \cdot 4 = 0.782$. Now suppose we guess the mean, $0.804 - 0.196 = 0.609$. The mean squared
error is then the variance, $1 - 0.609^2 = 0.629$. The mean is the better guess, although it is not
a possible data point. It is a compromise between the two possibilities. For images such a
compromise looks blurred.

**Why a squared error finds the mean.** Let $u$ be the quantity that is to be guessed. Here it is
the data point, and further below it is the noise. Let $u^* = E[u | x_t]$ be its conditional mean,
and let $f$ be any other guess that is computed from $x_t$. We write $u - f = (u - u^*) + (u^* - f)$
and take the square:

$$ |u - f|^2 = |u - u^*|^2 + 2 (u - u^*) \cdot (u^* - f) + |u^* - f|^2 $$

Now we average over $u$ while $x_t$ stays fixed. Then $u^* - f$ is fixed too, because both are
functions of $x_t$. The middle term vanishes, because the mean of $u - u^*$ is zero by the
definition of $u^*$:

$$ E[(u - u^*) \cdot (u^* - f) | x_t] = (E[u | x_t] - u^*) \cdot (u^* - f) = 0 $$

Averaging over $x_t$ as well leaves two terms:

$$ E|u - f|^2 = E|u - u^*|^2 + E|u^* - f|^2 $$ (5.1)

The first term does not depend on the guess. The second is zero if $f = u^*$, and it is never
negative. So no guess has a smaller mean squared error than the conditional mean. In the example,
0.782 is 0.629 plus $(1 - 0.609)^2 = 0.153$.

In this way the best guess can be learned without ever being seen. We draw a data point, add noise
to it, and let the network guess the data point from the result. We know the data point, so we can
compute the squared error of this one guess. Many data points lead to similar values of $x_t$. The
network cannot tell them apart, so one output has to serve them all. The mean squared error of this
output is smallest if the output is the mean of these data points. This conclusion assumes enough
data, a network that can represent the conditional mean, and training that finds the minimum. The
same argument holds if the guess may also use a label $y$: the best guess is then $E[u | x_t, y]$.

**First and second form: data and noise.** By step 3,
$x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} \epsilon$, where $\epsilon$ is standard
normal. If $x_t$ is given, the data point and the noise determine each other:

$$ x_0 = (x_t - \sqrt{1 - \bar\alpha_t} \epsilon) / \sqrt{\bar\alpha_t} $$ (5.2)
$$ \epsilon = (x_t - \sqrt{\bar\alpha_t} x_0) / \sqrt{1 - \bar\alpha_t} $$ (5.3)

Each is an affine function of the other, and the mean of an affine function is the same function of
the mean. So the two formulas also connect the best guesses $\hat x_0 = E[x_0 | x_t]$ and
$\hat\epsilon = E[\epsilon | x_t]$. In the example the noise is $(0.5 - 0.707) / 0.707 = -0.293$ if
the data point is 1, and 1.707 if it is -1. The mean of the noise is
$0.8044 \cdot (-0.2929) + 0.1956 \cdot 1.7071 = 0.0983$. Formula (5.2) turns this into
$(0.5 - 0.7071 \cdot 0.0983) / 0.7071 = 0.609$, the guess from above.

A network can therefore be trained to output either of them. Ho et al. (2020) chose the noise. With
a perfect network the choice makes no difference. A real network makes errors, and the two losses
give different weights to its errors at different times. By (5.2) an error in the noise becomes an
error in the data point when it is multiplied by $\sqrt{1 - \bar\alpha_t} / \sqrt{\bar\alpha_t}$.
This factor is small near the data and large near the noise. A network that makes equal errors in
the noise at all times therefore makes small errors in the data where $t$ is small. Whether this is
the better use of a network is a matter of experiment. Ho et al. report that training for the data
gave worse images in their early experiments. Step 8 derives the weights that belong to the
likelihood.

**Third form: the velocity.** The noise is a poor output where $x_t$ consists of noise almost alone,
because the factor above is then huge. The data point is a poor output where there is almost no
noise. There $x_t$ is a good guess already, and if a method needs the noise, (5.3) divides the error
by the small number $\sqrt{1 - \bar\alpha_t}$. A third choice avoids both divisions. The
squares of $\sqrt{\bar\alpha_t}$ and $\sqrt{1 - \bar\alpha_t}$ add up to 1. So they are the cosine
and the sine of an angle $\omega_t$ between 0 and 90 degrees:

$$ x_t = \cos\omega_t x_0 + \sin\omega_t \epsilon $$

With the data point and the noise fixed, $x_t$ moves from one to the other while the angle grows.
Its derivative with respect to the angle is $-\sin\omega_t x_0 + \cos\omega_t \epsilon$. It is
called the velocity, $v$. (In step 4 the letter was a variance.)

$$ v = \sqrt{\bar\alpha_t} \epsilon - \sqrt{1 - \bar\alpha_t} x_0 $$ (5.4)

To get the data point back, multiply $x_t$ by the cosine and $v$ by the sine, and subtract. The
noise cancels, and the squares of the cosine and the sine add up to 1:

$$ \cos\omega_t x_t - \sin\omega_t v = (\cos^2\omega_t + \sin^2\omega_t) x_0 $$

In the usual symbols this is

$$ x_0 = \sqrt{\bar\alpha_t} x_t - \sqrt{1 - \bar\alpha_t} v $$ (5.5)

Here an error of the network is multiplied by the sine. In the same way
$\epsilon = \sqrt{1 - \bar\alpha_t} x_t + \sqrt{\bar\alpha_t} v$ multiplies it by the cosine.
Neither formula divides, so no error grows at either end of the chain.

**One formula for three outputs.** Let $g$ be the output of the network. In all three cases the
guess is a sum of two multiples,

$$ \hat x_0 = p_t x_t + q_t g $$ (5.6)

with numbers $p_t$ and $q_t$ that depend on the kind of output. (As densities, $p$ and $q$ are
followed by a bracket. As factors they have the index $t$ and no bracket.)

| output $g$ | name in the code | $p_t$ | $q_t$ |
|---|---|---|---|
| the noise | `eps` | $1 / \sqrt{\bar\alpha_t}$ | $-\sqrt{1 - \bar\alpha_t} / \sqrt{\bar\alpha_t}$ |
| the data | `x0` | 0 | 1 |
| the velocity | `v` | $\sqrt{\bar\alpha_t}$ | $-\sqrt{1 - \bar\alpha_t}$ |

An error in the output is multiplied by $q_t$ in the guess. For the noise this factor is a simple
function of the log signal-to-noise ratio of step 2, $\lambda_t = \log(\bar\alpha_t / (1 -
\bar\alpha_t))$:

$$ |q_t| = \sqrt{(1 - \bar\alpha_t) / \bar\alpha_t} = e^{-\lambda_t / 2} $$ (5.7)

With 1000 steps it is 157 at the end of the linear schedule, where
$\bar\alpha_T = 4.04 \cdot 10^{-5}$. At the end of the cosine schedule, where
$\bar\alpha_T = 2.43 \cdot 10^{-9}$, it is 20,291. The second number is finite only because the last
$\beta_t$ is limited to 0.999 (step 2). The third panel of the figure shows the factor for all three
outputs.

**Fourth form: the score.** The gradient of a log density with respect to its argument is called the
score. It points in the direction in which the density rises fastest. Its length is the slope of the
density divided by the density. For the Gaussian $q(x_t | x_0)$ of step 3 it is

$$ \nabla \log q(x_t | x_0) = -(x_t - \sqrt{\bar\alpha_t} x_0) / (1 - \bar\alpha_t) $$

where the gradient is taken with respect to $x_t$. By (5.3) the first bracket is
$\sqrt{1 - \bar\alpha_t}$ times the noise. So this score is the noise with the opposite sign, on
another scale:

$$ \nabla \log q(x_t | x_0) = -\epsilon / \sqrt{1 - \bar\alpha_t} $$ (5.8)

It contains the data point, which we do not know. We now look for the score of the density of $x_t$
alone. This density is $p(x_t) = \int q(x_t | x_0) p(x_0) dx_0$, where $p(x_0)$ is the density of
the data. (For data such as two points the integral is a sum.) The Gaussian and its derivatives are
bounded and smooth in $x_t$, so we may differentiate under the integral. The derivative of a
logarithm gives $\nabla q = q \nabla \log q$. Together they yield

$$ \nabla p(x_t) = \int q(x_t | x_0) p(x_0) \nabla \log q(x_t | x_0) dx_0 $$

Divide both sides by $p(x_t)$. The left side becomes the score of $p(x_t)$. On the right, by Bayes'
rule, $q(x_t | x_0) p(x_0) / p(x_t)$ is the density of the data point given $x_t$. So the right side
is a conditional mean:

$$ \nabla \log p(x_t) = E[\nabla \log q(x_t | x_0) | x_t] $$

So the score of the noisy data is the mean of (5.8) over the data points that may lie behind $x_t$.
Inserting (5.8) on the right and solving for the mean of the noise gives (5.9), the best guess of
the noise. Inserting this guess into (5.2) gives (5.10), the best guess of the data:

$$ E[\epsilon | x_t] = -\sqrt{1 - \bar\alpha_t} \nabla \log p(x_t) $$ (5.9)
$$ E[x_0 | x_t] = (x_t + (1 - \bar\alpha_t) \nabla \log p(x_t)) / \sqrt{\bar\alpha_t} $$ (5.10)

The second line is known as Tweedie's formula. Both lines hold for data of any distribution. So a
network that has learned to guess the noise also gives the score of the noisy data, although no
density was ever computed. If a label is given, the same lines hold with every density conditional
on it.

**The exact guess for the toy data.** For a Gaussian mixture we can write the score down, and with
it the best guess. Let class $y$ have the probability $\pi_y$, the mean $\mu_y$ and the covariance
$S_y$, as in step 1. Given the class, $x_t$ is a sum of two independent Gaussians. Means and
covariances add, and a factor enters a covariance squared. So the noisy data are a mixture with the
same probabilities:

$$ p(x_t | y) = N(\sqrt{\bar\alpha_t} \mu_y, \bar\alpha_t S_y + (1 - \bar\alpha_t) I) $$ (5.11)
$$ p(x_t) = \sum_y \pi_y p(x_t | y) $$ (5.12)
$$ p(y | x_t) = \pi_y p(x_t | y) / p(x_t) $$ (5.13)

The last line is Bayes' rule. Let $C_y$ stand for the covariance in (5.11). Write $s(x_t | y)$ for
the score of one class and $s(x_t)$ for the score of the mixture. The exponent of a Gaussian is
quadratic, so the score of a class is an affine function of $x_t$:

$$ s(x_t | y) = -C_y^{-1} (x_t - \sqrt{\bar\alpha_t} \mu_y) $$ (5.14)

For the mixture, differentiate (5.12) and use $\nabla p = p \nabla \log p$ in every class:

$$ \nabla p(x_t) = \sum_y \pi_y p(x_t | y) s(x_t | y) $$

Dividing by $p(x_t)$ turns the factors into the probabilities of (5.13):

$$ s(x_t) = \sum_y p(y | x_t) s(x_t | y) $$ (5.15)

The score of each class points in the direction in which the density of this class rises fastest. If
$C_y$ is a multiple of $I$, this is the direction from $x_t$ towards the mean of the noisy data of
the class, $\sqrt{\bar\alpha_t} \mu_y$. The scores of the classes are weighted by how probable the
classes are given $x_t$. The first two panels of the figure show the score of a mixture and of one
of its classes. In the example each class is a single number, so its covariance is 0 and
$C_y = 0.5$. The scores are $-(0.5 - 0.7071) / 0.5 = 0.4142$ and $-(0.5 + 0.7071) / 0.5 = -2.4142$.
Their weighted sum is $0.8044 \cdot 0.4142 - 0.1956 \cdot 2.4142 = -0.139$. Tweedie's formula gives
$(0.5 - 0.5 \cdot 0.139) / 0.7071 = 0.609$ once more.

In the code, `oracle_eps` returns this exact guess of the noise as a function with the interface of
a network. We call it the oracle. Later lessons use it in the place of a trained network, so that an
error of a method cannot be mistaken for an error of training. It takes one label $y$ for each row
of $x_t$. With $K$ classes the labels are 0 to $K - 1$, and $y = K$ means "no label": then it uses
the score of the mixture.

**The lowest possible loss.** Even the best guess of the noise is not exact. Its loss follows from
(5.1) with the guess $f = 0$. If $x_t$ has $D$ coordinates, the left side is then
$E|\epsilon|^2 = D$. By (5.9) the last term is $(1 - \bar\alpha_t)$ times the mean square of the
score $s$ at $x_t$. This leaves

$$ E|\epsilon - \hat\epsilon|^2 = D - (1 - \bar\alpha_t) E|s|^2 $$

Let $x_t$ belong to one Gaussian class. Then the score (5.14) has mean 0 and covariance
$C_y^{-1} C_y C_y^{-1} = C_y^{-1}$, so that $E|s|^2$ is the trace of $C_y^{-1}$. With
$D = tr(C_y C_y^{-1})$ the right side becomes a single trace:

$$ D - (1 - \bar\alpha_t) tr(C_y^{-1}) = tr((C_y - (1 - \bar\alpha_t) I) C_y^{-1}) $$

By (5.11) the inner bracket is $\bar\alpha_t S_y$, so the lowest loss of a class is

$$ E|\epsilon - \hat\epsilon|^2 = \bar\alpha_t tr(S_y C_y^{-1}) $$ (5.16)

No network has a smaller expected loss on new data of this class at this $t$. (On the data that it
was trained with, a network can have a smaller loss, if it has memorised them.) Now take the mean
over the classes, weighted by $\pi_y$. For this mean, the lowest loss with a label is never above
the lowest loss without one, because a guess that uses the label may also ignore it. The right panel
of the figure compares the two means.

**At the boundary.** At $t = 0$ there is nothing to predict, and (5.3) would divide by zero. The
code raises an error for $t = 0$. At the other end $\bar\alpha_t$ tends to 0. Then $x_t$ tends to
the noise itself, and it becomes independent of the data point. So the best guess of the noise tends
to $x_t$, and the best guess of the data tends to what it would be without seeing $x_t$:

$$ E[\epsilon | x_t, y] \to x_t, \quad E[x_0 | x_t, y] \to E[x_0 | y] $$ (5.17)

So the best guess from pure noise is the mean of the class, or the mean of all data if no label is
given. It does not depend on the noise that we started from. If this guess were returned as the
result, all results would be the same blurred average. This is why one step is not enough.

**What goes wrong.** The noise in these formulas is the noise of all steps together, from $x_0$ to
$x_t$. It is not the noise that the last forward step added. A second mistake is to take the score
for the noise: the sign is opposite, and the scale differs by $\sqrt{1 - \bar\alpha_t}$. A third is
to use the variance $1 - \bar\alpha_t$ where its square root belongs. The tests of this lesson
compare each formula with an integral over the data, so that the second and the third mistake make
them fail. The first mistake can only be made in a program that trains.

**Where it goes on.** We have a guess of the data point. Step 4 showed where the chain was one step
earlier, if the guess were true. But the guess is only a mean over possible data points. May we use
it as if it were the data point? This is the question of step 6.

**Source.** Ho et al. 2020, arXiv:2006.11239, sec. 3.2 (the noise as output); Salimans and Ho 2022,
arXiv:2202.00512, app. D (the velocity); Vincent 2011, Neural Comp. 23:1661 (the score of the noisy
data as a conditional mean); Efron 2011, J. Am. Stat. Assoc. 106:1602 (Tweedie's formula).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def excess_loss(
    f: Float[np.ndarray, "n D"], best: Float[np.ndarray, "n D"]
) -> Float[np.ndarray, " n"]:
    """By how much the mean loss of the guesses `f` exceeds that of `best`, one term per sample."""
    return ((best - f) ** 2).sum(1)  # (5.1)


def x0_coefficients(t: int, schedule: Schedule, prediction: str = "eps") -> tuple[float, float]:
    """`(p, q)` of `x0hat = p x_t + q out` for `t` in 1..T; `prediction` is eps, x0 or v."""
    abar = float(schedule.alpha_bar[schedule.check_t(t)])
    signal = abar**0.5
    noise = (1 - abar) ** 0.5
    table = {
        "eps": (1 / signal, -noise / signal),  # (5.2); the size of q is (5.7)
        "x0": (0.0, 1.0),
        "v": (signal, -noise),  # (5.5)
    }
    if prediction not in table:
        raise ValueError(f"prediction = {prediction!r} is none of {', '.join(table)}")
    return table[prediction]


def x0_from(
    out: Float[np.ndarray, "*n D"],
    xt: Float[np.ndarray, "*n D"],
    t: int,
    schedule: Schedule,
    prediction: str = "eps",
) -> Float[np.ndarray, "*n D"]:
    """The guess of the data that follows from a network's output `out`, for `t` in 1..T."""
    p, q = x0_coefficients(t, schedule, prediction)
    return p * xt + q * out  # (5.6)


def eps_from_x0(
    x0: Float[np.ndarray, "*n D"], xt: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n D"]:
    """The noise in `x_t` if `x0` is the data, for `t` in 1..T."""
    abar = schedule.alpha_bar[schedule.check_t(t)]
    return (xt - np.sqrt(abar) * x0) / np.sqrt(1 - abar)  # (5.3)


def v_from(
    x0: Float[np.ndarray, "*n D"], eps: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n D"]:
    """The velocity that belongs to the data `x0` and the noise `eps`, for `t` in 1..T."""
    abar = schedule.alpha_bar[schedule.check_t(t)]
    return np.sqrt(abar) * eps - np.sqrt(1 - abar) * x0  # (5.4)


def score_from_eps(
    eps: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n D"]:
    """The gradient of `log q(x_t | x_0)`, for `t` in 1..T; with `E[eps | x_t]`, of `log p(x_t)`."""
    return -eps / np.sqrt(1 - schedule.alpha_bar[schedule.check_t(t)])  # (5.8)


def noised(mixture: GaussianMixture, t: int, schedule: Schedule) -> GaussianMixture:
    """The distribution of `x_t` with its labels, for `t` in 0..T: a mixture again."""
    abar = schedule.alpha_bar[schedule.check_t(t, first=0)]
    means = np.sqrt(abar) * mixture.means
    covs = abar * mixture.covs + (1 - abar) * np.eye(mixture.means.shape[1])  # (5.11)
    return GaussianMixture(means, covs, mixture.weights)  # (5.12)


def score(
    xt: Float[np.ndarray, "n D"],
    t: int,
    y: Int[np.ndarray, " n"],
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, "n D"]:
    """The gradient of `log p(x_t | y)`, each row with its own `y` in 0..K, for `t` in 0..T."""
    K = mixture.num_classes
    law = noised(mixture, t, schedule)
    if len(y) and not (y.min() >= 0 and y.max() <= K):
        raise ValueError(f"y in {y.min()}..{y.max()} is outside 0..{K} ({K}: the null label)")
    probability = (y[:, None] == np.arange(K)).astype(np.float64)  # (n, K)
    # In logarithms: far from all classes every p(x_t | y) is 0 in float64.
    probability[y == K] = np.exp(law.log_class_probability(xt[y == K]))  # (5.13)
    inverse = np.linalg.inv(law.covs)
    s = np.zeros(xt.shape)
    for k in range(K):
        s_k = -(xt - law.means[k]) @ inverse[k]  # (5.14), one row per sample
        s += probability[:, [k]] * s_k  # (5.15)
    return s


def mean_x0(
    xt: Float[np.ndarray, "n D"],
    t: int,
    y: Int[np.ndarray, " n"],
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, "n D"]:
    """`E[x_0 | x_t, y]` for `t` in 1..T and `y` in 0..K: the best guess of the data."""
    abar = schedule.alpha_bar[schedule.check_t(t)]
    s = score(xt, t, y, mixture, schedule)
    return (xt + (1 - abar) * s) / np.sqrt(abar)  # (5.10)


@dataclass(frozen=True, eq=False)
class Oracle:
    """The exact denoiser `E[eps | x_t, y]` of a mixture, with the interface of a network."""

    mixture: GaussianMixture
    schedule: Schedule
    num_classes: int  # K, which is also the label for "no label"
    prediction: str = "eps"

    def __call__(
        self, xt: Float[np.ndarray, "n D"], t: int, y: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n D"]:
        """The mean of the noise in each row of `xt`, for `t` in 1..T and `y` in 0..K."""
        noise = np.sqrt(1 - self.schedule.alpha_bar[self.schedule.check_t(t)])
        # As abar goes to 0, the score goes to -x_t and this output to x_t (5.17).
        return -noise * score(xt, t, y, self.mixture, self.schedule)  # (5.9)


def oracle_eps(mixture: GaussianMixture, schedule: Schedule) -> Oracle:
    """The exact denoiser of a labelled Gaussian mixture.

    >>> from tutorial.step01_toy_data import three_gaussians
    >>> model = oracle_eps(three_gaussians(), Schedule.cosine(10))
    >>> model(np.zeros((2, 2)), 5, np.array([0, model.num_classes])).shape
    (2, 2)
    """
    return Oracle(mixture, schedule, mixture.num_classes)


def lowest_loss(y: int, t: int, mixture: GaussianMixture, schedule: Schedule) -> float:
    """The lowest mean of `|eps - f|^2` that is possible for class `y` in 0..K-1, `t` in 1..T."""
    C = noised(mixture, schedule.check_t(t), schedule).covs
    inverse = np.linalg.inv(C)[y]
    return float(schedule.alpha_bar[t] * np.trace(mixture.covs[y] @ inverse))  # (5.16)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step05_best_guess")
