r"""Appendix Q. Information: at which noise level is the class of a sample decided?

**The question.** Step 9 measured how much a label changes the prediction of the noise. In units of
eps the effect is largest in the middle of the chain, and in units of $x_0$ it is largest at the
noise end. Step 9 also stated, without a derivation, that half of the mean square in units of eps is
a rate of information. This appendix derives that statement for any data. Two consequences follow.
The area under the curve of this rate is the whole information that an image contains about its
class. And the information can be estimated from two losses of a network, without any density.

**Notation.** The letters are those of step 9. The label $y$ has the probability $\pi_y$. The best
predictions of the noise are $\epsilon(x_t, y)$ for a class and $\epsilon(x_t, \phi)$ without a
label, and their difference is $d = \epsilon(x_t, y) - \epsilon(x_t, \phi)$. The log SNR of step 2
is $\lambda = \log(\bar\alpha_t / (1 - \bar\alpha_t))$. We use it in the place of $t$. Every mean
$E$ is taken over the data, their labels and the noise at one $\lambda$. All logarithms are natural,
so the unit of information is the nat.

**What is measured.** Before we see $x_t$, the label has the probability $\pi_y$. Afterwards it has
the probability $p(y | x_t)$. The mutual information of $y$ and $x_t$ is the mean change of the
logarithm:

$$ I(y; x_t) = E[\log p(y | x_t) - \log \pi_y] $$ (Q.1)

It is the entropy of the label minus its conditional entropy given $x_t$. The conditional entropy is
the mean of $-\log p(y | x_t)$, which is never negative. So the information cannot exceed the
entropy of the label, which is $\log K$ for $K$ equally frequent classes. The information is not
negative either, because at each $x_t$ the mean over the labels is the KL divergence of $p(y | x_t)$
from $\pi_y$.

**An example.** The two images of step 9 are the numbers 1 and -1, and each is a class. At
$\lambda = 0$ we saw $x_t = 0.4$ and found the probabilities 0.756 and 0.244. Numerical integration
over all $x_t$ gives $I = 0.3368$ nats at $\lambda = 0$ and 0.3596 at $\lambda = 0.1$. The
difference is 0.0228. In the same interval $E|d|^2$ grows from 0.4496 to 0.4617. The mean of the two
is 0.4556. Half of it, times the length 0.1, is 0.0228 again. Why do these two numbers agree?

**First step: entropies.** The differential entropy $h$ of a density is the mean of its negative
logarithm (appendix C). We divide $x_t$ by the factor of the data, as in step 20, and obtain the
data with added noise:

$$ \bar x = x_t / \sqrt{\bar\alpha_t} = x_0 + \sqrt{\tau} \epsilon, \quad \tau = e^{-\lambda} $$

Here $\tau = (1 - \bar\alpha_t) / \bar\alpha_t$ is the variance of the noise in $\bar x$. A fixed
factor does not change what is known about the label. Divide Bayes' rule by $\pi_y$ and take the
logarithm:

$$ \log p(y | \bar x) - \log \pi_y = \log p(\bar x | y) - \log p(\bar x) $$

Take the mean of both sides. Let $h(\bar x)$ be the entropy of all noisy data, and $h(\bar x | y)$
the entropy of the one class $y$. The information is the first minus the mean of the second over the
classes:

$$ I(y; x_t) = h(\bar x) - \sum_y \pi_y h(\bar x | y) $$ (Q.2)

**Second step: how noise changes an entropy.** Let $D$ be the number of coordinates, and let $g$ be
the density of $\bar x$ given $x_0$. It is a Gaussian with mean $x_0$ and covariance $\tau I$. Its
derivative with respect to $\tau$, and the sum $\nabla^2$ of its second derivatives with respect to
the coordinates of $\bar x$, are

$$ \partial g / \partial \tau = (|\bar x - x_0|^2 / (2 \tau^2) - D / (2 \tau)) g $$
$$ \nabla^2 g = (|\bar x - x_0|^2 / \tau^2 - D / \tau) g $$

The first is half of the second. The density $p$ of $\bar x$ is the mean of $g$ over $x_0$. So it
satisfies the same equation, which is called the heat equation:

$$ \partial p / \partial \tau = \nabla^2 p / 2 $$

This holds for any distribution of $x_0$, in particular for one class alone. We use it to
differentiate the entropy, which is the integral of $-p \log p$:

$$ dh / d\tau = -\int (\log p + 1) (\partial p / \partial \tau) d\bar x $$

The 1 contributes nothing, because the integral of $p$ is 1 for every $\tau$. Insert the heat
equation, and integrate by parts once. The terms at infinity vanish, because $\log p \nabla p$ goes
to 0 there. (We assume this here. It holds for any data with a finite mean square; see the sources.)

$$ dh / d\tau = -\tfrac{1}{2} \int \log p \nabla^2 p d\bar x $$
$$ dh / d\tau = \tfrac{1}{2} \int \nabla \log p \cdot \nabla p d\bar x $$

Write $\bar s = \nabla \log p$ for the score of $\bar x$. Then $\nabla p = p \bar s$, and the
integral is a mean over $p$. This is the identity of de Bruijn:

$$ dh / d\tau = E|\bar s|^2 / 2 $$ (Q.3)

**Third step: from scores to predictions.** Step 5 gives the score of $x_t$ as
$-\hat\epsilon / \sqrt{1 - \bar\alpha_t}$, where $\hat\epsilon$ is the best prediction of the noise.
A gradient with respect to $\bar x$ is $\sqrt{\bar\alpha_t}$ times one with respect to $x_t$, so
$\bar s = -\hat\epsilon / \sqrt{\tau}$ and

$$ E|\bar s|^2 = E|\hat\epsilon|^2 / \tau $$

This holds for all data, where $\hat\epsilon$ is $\epsilon(x_t, \phi)$, and within each class, where
it is $\epsilon(x_t, y)$. The derivative of (Q.2) is therefore

$$ dI / d\tau = (E|\epsilon(x_t, \phi)|^2 - E|\epsilon(x_t, y)|^2) / (2 \tau) $$

It remains to show that the bracket is $-E|d|^2$. Fix $x_t$. Then the prediction without a label is
a fixed vector, and by (9.3) it is the mean of the other prediction over the labels that $x_t$ may
have. So the mean of the product of the two is the mean square of the fixed vector:

$$ E[\epsilon(x_t, y) \cdot \epsilon(x_t, \phi)] = E|\epsilon(x_t, \phi)|^2 $$

Expand the square of $d$ and insert this into its middle term:

$$ E|d|^2 = E|\epsilon(x_t, y)|^2 - E|\epsilon(x_t, \phi)|^2 $$

So the derivative is $-E|d|^2 / (2 \tau)$. More noise never adds information. The variance is
$\tau = e^{-\lambda}$, so its derivative with respect to $\lambda$ is $-\tau$, and the chain rule
gives the result:

$$ dI / d\lambda = E|d|^2 / 2 $$ (Q.4)

Only (9.3) and the Gaussian noise were used. The data may have any distribution with a finite mean
square, and the labels any proportions.

**The area.** Far in the noise $x_t$ shows nothing about the label, so the information begins at 0.
As the noise vanishes, it tends to the information in the clean image (see the sources). The
integral of (Q.4) between these ends is

$$ I(y; x_0) = \tfrac{1}{2} \int_{-\infty}^\infty E|d|^2 d\lambda $$ (Q.5)

The table gives the rate $E|d|^2 / 2$ and the information for the three Gaussians of step 1, by
numerical integration over the plane.

| $\lambda$ | -6 | -4 | -2 | 0 | 2 | 4 | 6 |
|---|---|---|---|---|---|---|---|
| rate | 0.0028 | 0.0200 | 0.1231 | 0.3080 | 0.0771 | 0.0075 | 0.0009 |
| information | 0.0028 | 0.0203 | 0.1370 | 0.6017 | 1.0072 | 1.0663 | 1.0725 |

The whole area is 1.0734. The entropy of the label is $\log 3 = 1.0986$. The difference, 0.0252, is
what stays uncertain even for a clean image, because the three classes overlap a little. Half of the
information has been gained at $\lambda = -0.21$, and 81 % of it is gained between -2 and 2. For the
pinwheel the area is 1.3447 of $\log 5 = 1.6094$, and half is gained at $\lambda = 0.67$, so its
class is decided later (left and middle panels of the figure).

**In steps of a chain.** Neither (Q.1) nor (Q.4) contains the schedule. They are functions of
$\lambda$. A schedule only decides which $\lambda$ each step has. The gains of all steps add up to
$I(y; x_0) - I(y; x_T)$. Only the second term depends on the schedule, and it is almost 0 if $x_T$
is almost pure noise. For the three Gaussians and 100 steps of the linear schedule it is 0.00002, by
(Q.7) below. Half of the information has been gained at about $t = 53$ on the cosine schedule with
100 steps, and at $t = 28$ on the linear one (right panel). So a statement like "the class is
decided in the middle of the chain" depends on the schedule. A statement about $\lambda$ does not.

**Information from two losses.** Let $L_y(f) = E|\epsilon - f(x_t, y)|^2$ be the loss of a network
with labels at one $\lambda$, and $L_\phi(f) = E|\epsilon - f(x_t, \phi)|^2$ its loss without. Step
9 splits each of them into the lowest possible loss and a distance, $\Delta_y$ or $\Delta_\phi$,
from the best prediction. By (9.4) the lowest losses differ by $E|d|^2$, so

$$ L_\phi(f) - L_y(f) = E|d|^2 + \Delta_\phi - \Delta_y $$

Half of the left side, integrated over the log SNR, is therefore an estimate of the information:

$$ \hat I = \tfrac{1}{2} \int (L_\phi(f) - L_y(f)) d\lambda $$ (Q.6)

It needs only samples, labels and a network. Between two levels it exceeds the information gained
there by half of the integral of $\Delta_\phi - \Delta_y$. This error can have either sign, so the
estimate is not a bound. If the network has learned the prediction without a label less well than
the one with a label, the estimate is too large. Suppose that both outputs are 10 % too large. Each
distance is then 0.01 times the mean square of the best prediction. By the step before (Q.4) their
difference is $-0.01 E|d|^2$, so the estimate is 1 % too small.

**At the boundary.** With one class, or with classes of the same distribution, $d = 0$, and there is
no information. If the classes do not overlap, the area is the whole entropy of the label, which is
$\log 2 = 0.6931$ in the example. At the noise end the guesses of $x_0$ become the mean $\mu_y$ of
the class and the mean $m$ of all data. Two predictions of eps at one $x_t$ differ by
$-\sqrt{\bar\alpha_t / (1 - \bar\alpha_t)}$ times the difference of their guesses (step 5), and the
square of this factor is $e^\lambda$. So with $B = \sum_y \pi_y |\mu_y - m|^2 > 0$, for
$\lambda \to -\infty$,

$$ dI / d\lambda \approx e^\lambda B / 2 $$ (Q.7)

For the three Gaussians $B = 2.25$. At $\lambda = -6$ this gives 0.00279, where the exact rate is
0.00278. At $\lambda = -2$ it gives 0.1523 for 0.1231.

**What goes wrong.** The height of the curve at one $\lambda$ is taken for the information there. It
is a rate, and the information is the area on its left. The mean of the rate over all $t$ is taken
for the area. It gives every step the same weight, regardless of its length in $\lambda$. The factor
1/2 is forgotten, which doubles the information. The difference of guesses of $x_0$ is integrated
without its factor $e^\lambda$. If the means of the classes differ, its mean square does not go to 0
at the noise end, so the area grows without limit.

**Where it goes on.** Kong et al. use relations like (Q.6) to estimate densities and information
with large trained networks.

**Source.** Guo, Shamai and Verdu 2005, IEEE Trans. Inf. Theory 51:1261 (the rate of information is
half of a mean squared error, for any input of finite power); Stam 1959, Information and Control
2:101 (the identity of de Bruijn); Kong, Brekelmans and Ver Steeg 2023, arXiv:2302.03792, and Kong
et al. 2024, arXiv:2310.07972 (densities and information from networks). The split of the error in
(Q.6) is this course's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import noised, score
from tutorial.step09_condition import squared_label_effect
from tutorial.step16_log_snr import schedule_from, signal_noise

if TYPE_CHECKING:
    from jaxtyping import Float

D = 2  # coordinates of a point


def level(log_snr: float) -> Schedule:
    """A chain of one step, whose t = 1 has this log SNR."""
    return schedule_from(np.array([log_snr]))


def cells(law: GaussianMixture) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n K"]]:
    """A square lattice, and the probability of each cell with each label.

    The sides of a cell are at most a quarter of the smallest standard deviation of a class. A sum
    over the lattice then approximates the integral of a smooth function times the density. For the
    data sets of step 1 its error is below 1e-7.
    """
    variances = np.linalg.eigvalsh(law.covs)
    largest_side = 0.25 * float(np.sqrt(variances.min()))
    reach = float(np.abs(law.means).max()) + 7 * float(np.sqrt(variances.max()))
    line = np.linspace(-reach, reach, int(2 * reach / largest_side) + 2)
    side = line[1] - line[0]
    x = np.stack(np.meshgrid(line, line), -1).reshape(-1, D)
    p = np.zeros((len(x), law.num_classes))
    for y in range(law.num_classes):
        p[:, y] = law.weights[y] * np.exp(law.log_density(x, y)) * side**2
    return x, p


def information(mixture: GaussianMixture, log_snr: float) -> float:
    """The mutual information of the label and `x_t` at this log SNR, in nats."""
    law = noised(mixture, 1, level(log_snr))
    x, p = cells(law)
    gained = law.log_class_probability(x) - np.log(law.weights)
    return float((p * gained).sum())  # (Q.1)


def entropies(mixture: GaussianMixture, log_snr: float) -> tuple[float, Float[np.ndarray, " K"]]:
    """The entropy of `xbar = x_t / sqrt(abar)` for all data, and within each class."""
    law = noised(mixture, 1, level(log_snr))
    x, p = cells(law)
    signal, _ = signal_noise(log_snr)
    # The density of xbar is signal^D times that of x_t.
    log_scale = D * np.log(signal)
    h = -p.sum(1) @ (law.log_density(x) + log_scale)
    h_y = np.zeros(law.num_classes)
    for y in range(law.num_classes):
        h_y[y] = -p[:, y] @ (law.log_density(x, y) + log_scale) / law.weights[y]
    return float(h), h_y


def information_from_entropies(mixture: GaussianMixture, log_snr: float) -> float:
    """The same information, as the entropy that is not within the classes."""
    h, h_y = entropies(mixture, log_snr)
    return float(h - mixture.weights @ h_y)  # (Q.2)


def entropy_slopes(
    mixture: GaussianMixture, log_snr: float
) -> tuple[float, Float[np.ndarray, " K"]]:
    """The derivatives of both `entropies` with respect to the variance `tau = exp(-log_snr)`."""
    schedule = level(log_snr)
    x, p = cells(noised(mixture, 1, schedule))
    K = mixture.num_classes
    signal, _ = signal_noise(log_snr)

    def squared_score(y: int) -> Float[np.ndarray, " n"]:
        """The squared length of the score of `xbar` at each point, for `y` in 0..K."""
        s_bar = signal * score(x, 1, np.full(len(x), y), mixture, schedule)
        return (s_bar**2).sum(1)

    slope = p.sum(1) @ squared_score(K) / 2  # (Q.3)
    slope_y = np.zeros(K)
    for y in range(K):
        slope_y[y] = p[:, y] @ squared_score(y) / mixture.weights[y] / 2  # (Q.3)
    return float(slope), slope_y


def label_rate(mixture: GaussianMixture, log_snr: float) -> float:
    """The derivative of `information` with respect to the log SNR."""
    schedule = level(log_snr)
    x, p = cells(noised(mixture, 1, schedule))
    mean_square = 0.0
    for y in range(mixture.num_classes):
        squared = squared_label_effect(x, 1, np.full(len(x), y), mixture, schedule)
        mean_square += float(p[:, y] @ squared)
    return mean_square / 2  # (Q.4)


def area(rate: Float[np.ndarray, " m"], log_snr: Float[np.ndarray, " m"]) -> float:
    """The information gained over an increasing grid of log SNR, by the trapezoid rule."""
    return float(np.trapezoid(rate, log_snr))  # (Q.5)


def information_from_losses(
    loss_null: Float[np.ndarray, " m"],
    loss_y: Float[np.ndarray, " m"],
    log_snr: Float[np.ndarray, " m"],
) -> float:
    """The estimate of the information gained over the grid, from a network's mean losses."""
    return area((loss_null - loss_y) / 2, log_snr)  # (Q.6)


def label_rate_in_noise(mixture: GaussianMixture, log_snr: float) -> float:
    """The limit of `label_rate` for a log SNR that goes to minus infinity."""
    m, _ = mixture.moments()
    B = float(mixture.weights @ ((mixture.means - m) ** 2).sum(1))
    return float(np.exp(log_snr) * B / 2)  # (Q.7)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.q_information")
