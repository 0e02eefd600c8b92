r"""Step 10. A classifier as a guide, and why we do not need one

**The question.** Step 9 draws samples of a class as the data contain them, and some are ambiguous.
In the pinwheel of step 1, 10 % of the points of a class lie where another class is more probable. A
user who asks for a three usually wants a clear three. How can the sampler be pushed towards images
for which $p(y | x)$ is larger?

**The idea.** Read as a function of the noisy image, $p(y | x_t)$ is a classifier: its input is
$x_t$ and its output is the probability of class $y$. The gradient of its logarithm with respect to
$x_t$ points in the direction in which the class becomes more probable fastest. The sampler already
follows a gradient, the score of step 5. So we can add the gradient of a classifier to the score.
Two questions remain. Which distribution does the sum belong to? And where do we get a classifier
for noisy images?

**Bayes' rule in gradients.** Write $s(x_t | y) = \nabla \log p(x_t | y)$ for the score of class $y$
and $s(x_t) = \nabla \log p(x_t)$ for the score of all data. All gradients are with respect to
$x_t$. Bayes' rule connects the two densities with the classifier. Its logarithm is

$$ \log p(x_t | y) = \log p(x_t) + \log p(y | x_t) - \log \pi_y $$

The frequency $\pi_y$ of the class does not depend on $x_t$, so its gradient is 0:

$$ s(x_t | y) = s(x_t) + \nabla \log p(y | x_t) $$

The score of a class is the score of all data plus the gradient of the classifier. So an
unconditional model together with a classifier replaces a conditional model. Solved for the
gradient:

$$ \nabla \log p(y | x_t) = s(x_t | y) - s(x_t) $$ (10.1)

**An example.** We continue with the two images 1 and -1 of step 9, with $\bar\alpha_t = 0.5$ and
$x_t = 0.4$. The ratio of the two densities of $x_t$ is
$e^{-(x_t - 0.707)^2 + (x_t + 0.707)^2} = e^{2.83 x_t}$. So the probability of class 0 is
$p = 1 / (1 + e^{-2.83 x_t})$, which is 0.756 at $x_t = 0.4$. The derivative of $\log p$ is
$2.83 (1 - p) = 2.83 \cdot 0.244 = 0.690$. For the right side of (10.1) divide the predictions of
step 9 by $-\sqrt{1 - \bar\alpha_t} = -0.707$. The score of class 0 is $-0.434 / (-0.707) = 0.614$,
the score of all data is $0.054 / (-0.707) = -0.076$, and their difference is 0.690 as well.

**How large is the gradient?** By step 9 the score of all data is the mean of the scores of the
classes $k$ with the weights $p(k | x_t)$. Inserted into (10.1), this gives

$$ \nabla \log p(y | x_t) = \sum_k p(k | x_t) (s(x_t | y) - s(x_t | k)) $$

The term $k = y$ is 0. The other terms contain the probabilities of the other classes. Where the
classifier is nearly certain of $y$, all these probabilities are small, and so is the gradient,
unless the scores differ very much. With the same exception, where another class $k$ is nearly
certain, the gradient is nearly $s(x_t | y) - s(x_t | k)$. Between these cases each difference of
two scores counts with its probability. In the example the difference is 2.83 at every $x_t$, and
class 1 has the probability 0.244 at $x_t = 0.4$. The product is 0.690 again.

Weighted with the probabilities of the classes, the gradients of all classes cancel. To see this,
multiply the gradient of $\log p(y | x_t)$ by the probability. The product is the gradient of the
probability. The probabilities add up to 1, and the gradient of the constant 1 is 0:

$$ \sum_y p(y | x_t) \nabla \log p(y | x_t) = \sum_y \nabla p(y | x_t) = \nabla 1 $$
$$ \sum_y p(y | x_t) \nabla \log p(y | x_t) = 0 $$ (10.2)

So the weighted gradient of one class is opposite to the sum of those of all other classes. In the
example the gradient for class 1 is -2.139, and $0.756 \cdot 0.690 + 0.244 \cdot (-2.139)$ is 0 up
to rounding.

**Classifier guidance.** Now multiply the gradient by a factor before adding it. Let $\gamma \ge 0$
be the number of gradients that we add to the score of all data. It need not be an integer. The sum
is again a score:

$$ s(x_t) + \gamma \nabla \log p(y | x_t) = \nabla \log(p(x_t) p(y | x_t)^\gamma) $$

At $\gamma = 0$ this is the unconditional model, and at $\gamma = 1$ it is the conditional one. What
happens above 1? By Bayes' rule

$$ p(x_t) p(y | x_t)^\gamma = \pi_y p(x_t | y) p(y | x_t)^{\gamma - 1} $$

So for $\gamma > 1$ the density of the class is multiplied by a further power of $p(y | x_t)$.
Ambiguous places lose density, and after normalisation the clear ones gain. Take class 0 of the
pinwheel at $t = 0$ and integrate the normalised product numerically over a grid. The fraction that
lies where another class is more probable is 9.9 % for $\gamma = 1$, 2.6 % for $\gamma = 2$ and 0.4
% for $\gamma = 4$. So here a larger $\gamma$ makes ambiguous points rarer. Step 12 measures what it
costs.

These numbers describe the product of densities at $t = 0$. A sampler uses the products at all $t$:
at each $t$ it follows the score of $p(x_t) p(y | x_t)^\gamma$. These products are not the product
at $t = 0$ with noise added. Steps 11 and 13 show what follows from this.

Now we return to predictions of the noise. From here on $\epsilon_y$ is short for
$\epsilon(x_t, y)$, and $\epsilon_\phi$ for $\epsilon(x_t, \phi)$. Multiplying by
$-\sqrt{1 - \bar\alpha_t}$ gives the prediction that belongs to the sum:

$$ \tilde\epsilon = \epsilon_\phi - \gamma \sqrt{1 - \bar\alpha_t} \nabla \log p(y | x_t) $$ (10.3)

The sign is negative because the prediction and the score have opposite signs (step 5). This is the
classifier guidance of Dhariwal and Nichol (2021). It requires a second network. The classifier must
be trained on noisy images at every $t$, because noisy images are unlike any input of a classifier
of clean images. Its gradient must be computed in every step of the sampler. Moreover, the gradient
of a trained classifier need not point to more typical images. Following it, one can find images
that look unchanged and are nevertheless assigned to another class. They are called adversarial
examples.

**The gradient without a classifier.** We used (10.1) to turn an unconditional model into a
conditional one. Now read it in the other direction. Its right side contains only scores, and the
network of step 9 predicts both of them. With $s = -\epsilon / \sqrt{1 - \bar\alpha_t}$ from step 5,

$$ \nabla \log p(y | x_t) = (\epsilon_\phi - \epsilon_y) / \sqrt{1 - \bar\alpha_t} $$ (10.4)

In the example this is $(0.054 + 0.434) / 0.707 = 0.690$ once more. So the vector $d$ of step 9, by
which the label changes the prediction, is $-\sqrt{1 - \bar\alpha_t}$ times the gradient of a
classifier of noisy images. This classifier was never trained. Two evaluations of one network give
its gradient at $x_t$ without differentiation. They do not give its probabilities, but guidance uses
only the gradient.

For exact predictions (10.4) is exact. The two predictions of a trained network are approximations.
The difference of their errors is an error of the gradient, and (10.3) multiplies it by $\gamma$.
The difference of the predictions need not even be a gradient. The matrix of derivatives of a
gradient is symmetric, and nothing makes the outputs of a network obey this.

**What the label does in one reverse step.** By (9.2) the mean of the reverse step is linear in the
prediction. Let $\Delta\mu$ be the mean with the label minus the mean without it. In this difference
$x_t$ cancels:

$$ \Delta\mu = \beta_t (\epsilon_\phi - \epsilon_y) / \sqrt{\alpha_t (1 - \bar\alpha_t)} $$

With (10.4) this is a multiple of the gradient:

$$ \Delta\mu = (\beta_t / \sqrt{\alpha_t}) \nabla \log p(y | x_t) $$ (10.5)

Dhariwal and Nichol give a second algorithm, which leaves the prediction as it is. It adds $\gamma$
times the variance of the step times the gradient to the mean. With the variance $\tilde\beta_t$ of
step 4 the factor of one gradient is $\tilde\beta_t$, in the place of $\beta_t / \sqrt{\alpha_t}$ in
(10.5). The quotient of these factors is $\sqrt{\alpha_t} (1 - \bar\alpha_{t-1}) / (1 -
\bar\alpha_t)$. For the linear schedule with $T = 1000$ it lies between 0.98 and 1 for $t \ge 100$.
It is 0.85 at $t = 10$, 0.45 at $t = 2$ and 0 at $t = 1$. So for this schedule the two factors
differ by more than 2 % only in the last tenth of the sampling steps. The means of the two
algorithms differ by $\gamma (\beta_t / \sqrt{\alpha_t} - \tilde\beta_t)$ times the gradient.

**At the noise end.** How large is the gradient in almost pure noise? Step 5 expressed the score by
the best guess of the data. With $\hat x_y = E[x_0 | x_t, y]$,

$$ s(x_t | y) = (\sqrt{\bar\alpha_t} \hat x_y - x_t) / (1 - \bar\alpha_t) $$

The same holds without a label, with $\hat x_\phi = E[x_0 | x_t]$. By (10.1) the gradient is the
difference of the two scores, in which $x_t$ cancels:

$$ s(x_t | y) - s(x_t) = \sqrt{\bar\alpha_t} (\hat x_y - \hat x_\phi) / (1 - \bar\alpha_t) $$

As $\bar\alpha_t$ goes to 0, $x_t$ contains less and less information about the image. Bayes' rule
weighs each image $x_0$ of the class with $\exp(-|x_t - \sqrt{\bar\alpha_t} x_0|^2 / (2 (1 -
\bar\alpha_t)))$. For a fixed $x_t$, the largest term in which $x_0$ occurs is
$\sqrt{\bar\alpha_t} x_t \cdot x_0$. So the weights of bounded images differ from a common constant
by a relative amount of the order of $\sqrt{\bar\alpha_t}$. Therefore $\hat x_y$ is the mean $\mu_y$
of the class, and $\hat x_\phi$ is the mean $m$ of all data, both up to an error of this order. The
factor in front of their difference has the order of $\sqrt{\bar\alpha_t}$ as well. So for a fixed
$x_t$, and up to an error of the order of $\bar\alpha_t$,

$$ \nabla \log p(y | x_t) \approx \sqrt{\bar\alpha_t} (\mu_y - m) $$ (10.6)

The right side is the same vector for every $x_t$. If $\mu_y$ is not $m$, the gradient at the start
of sampling therefore has nearly the same direction for all samples of a class. It is small there,
because it vanishes like $\sqrt{\bar\alpha_t}$.

**At the boundary.** With a single class the classifier is always certain, and the gradient is 0
everywhere. At $t = 0$ (10.1) still holds if the classes have densities that are positive and
differentiable, but (10.3) and (10.4) do not apply, because there is no noise to predict. In the
example the data are two points. There $p(y | x_0)$ is defined only at these points and has no
gradient.

**What goes wrong.** A plus sign in (10.3) drives samples away from the class. Using
$1 - \bar\alpha_t$ in place of its root multiplies the added gradient by $\sqrt{1 - \bar\alpha_t}$.
This factor is nearly 1 at the noise end and small near the data. A classifier of clean images also
returns a gradient at every $t$, but at large $t$ its inputs are unlike its training data.

**Where it goes on.** Step 11 inserts (10.4) into (10.3). What remains is one line of code.

**Source.** Dhariwal and Nichol 2021, arXiv:2105.05233, sec. 4, algs. 1 and 2; Ho and Salimans 2022,
arXiv:2207.12598, sec. 3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import score

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def classifier_gradient(
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, "n 2"]:
    """The exact gradient of `log p(y | x_t)`, for `t` in 0..T; 0 for the null label, y = K."""
    null = np.full_like(y, mixture.num_classes)
    s_y = score(xt, t, y, mixture, schedule)
    s_null = score(xt, t, null, mixture, schedule)
    return s_y - s_null  # (10.1)


def mean_gradient(
    p: Float[np.ndarray, "n K"], gradients: Float[np.ndarray, "K n 2"]
) -> Float[np.ndarray, "n 2"]:
    """The gradients of all classes, weighted by the probabilities `p(y | x_t)`. The sum is 0."""
    total = np.zeros(gradients.shape[1:])
    for y in range(len(gradients)):
        total += p[:, [y]] * gradients[y]  # (10.2)
    return total


def classifier_guided_eps(
    eps_null: Float[np.ndarray, "*n D"],
    gradient: Float[np.ndarray, "*n D"],
    gamma: float,
    t: int,
    schedule: Schedule,
) -> Float[np.ndarray, "*n D"]:
    """The unconditional prediction with `gamma` gradients of a classifier, for `t` in 1..T."""
    noise = np.sqrt(1 - schedule.alpha_bar[schedule.check_t(t)])
    return eps_null - gamma * noise * gradient  # (10.3)


def gradient_from_eps(
    eps_cond: Float[np.ndarray, "*n D"],
    eps_null: Float[np.ndarray, "*n D"],
    t: int,
    schedule: Schedule,
) -> Float[np.ndarray, "*n D"]:
    """The gradient of `log p(y | x_t)` from two predictions of one network, for `t` in 1..T."""
    noise = np.sqrt(1 - schedule.alpha_bar[schedule.check_t(t)])
    return (eps_null - eps_cond) / noise  # (10.4)


def mean_shift(
    gradient: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n D"]:
    """How far the label moves the mean of the reverse step, for `t` in 1..T."""
    schedule.check_t(t)
    return schedule.beta[t] / np.sqrt(schedule.alpha[t]) * gradient  # (10.5)


def gradient_at_noise_end(
    t: int, mixture: GaussianMixture, schedule: Schedule
) -> Float[np.ndarray, "K 2"]:
    """The gradient of each class, one row per class, where `alpha_bar` is small; `t` in 0..T."""
    signal = np.sqrt(schedule.alpha_bar[schedule.check_t(t, first=0)])
    m, _ = mixture.moments()
    return signal * (mixture.means - m)  # (10.6)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step10_classifier")
