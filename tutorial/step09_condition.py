r"""Step 09. The condition: one network, with a label and without

**The question.** The loss of step 8 trains a network that predicts the noise, and the loop of step
7 turns its predictions into samples. These samples come from all classes, in the proportions of the
data. Often we would like to choose the class, for example to draw a three and not just any digit.
How does the label enter the network? There is a second question. Steps 10 and 11 will compare the
prediction for a label with the prediction without one. Two networks could compute these
predictions, at twice the cost of training and of storage. Can a single network compute both?

**The idea.** The noise is drawn in the same way for every class, so
$q(x_t | x_0, y) = q(x_t | x_0)$. The images of class $y$ alone are therefore a data set like any
other, and steps 2 to 8 hold for it unchanged. The network only needs the label as a further input.
For a prediction without a label we add one more value, the null label $\phi$. Its data set is all
images together. In the code $K$ classes have the numbers 0 to $K - 1$, and the null label is the
integer $K$. The network of this course (`minicfg/unet.py`) has a learned vector for each of these
$K + 1$ numbers and adds it to the vector that represents $t$. So its output can be a different
function of $x_t$ for every label. Other conditions enter in the same way, as long as there is a
value that means "none": the page `notebooks/book/bring_your_own.md` shows a text and two labels at
once.

Throughout this lesson $\epsilon(x_t, y)$ is the best prediction for class $y$, which is the
conditional mean $E[\epsilon | x_t, y]$ of step 5. A network that approximates it is written
$f(x_t, y)$. All statements hold at each $t$ separately, and the loss of step 8 averages them over
$t$. In a mean $E$ without a condition, the image, its label and the noise are drawn at random,
while $t$ is fixed.

**An example.** Suppose that there are only two images, and that each is a single number: 1, which
is class 0, and -1, which is class 1. They are equally frequent. Take the $t$ at which
$\bar\alpha_t = 0.5$. By step 3, $x_t = 0.707 x_0 + 0.707 \epsilon$. We see $x_t = 0.4$.

- Given label 0 we know that $x_0 = 1$, so the noise is $(0.4 - 0.707) / 0.707 = -0.434$.
- Given label 1 we know that $x_0 = -1$, so the noise is $(0.4 + 0.707) / 0.707 = 1.566$.
- Without a label both are possible. The density of $x_t$ in a class is a Gaussian of variance
  $1 - \bar\alpha_t = 0.5$, so the exponent is $-(0.4 - 0.707)^2 / (2 \cdot 0.5)$ for class 0. The
  two densities are in the proportion of $\exp(-(0.4 - 0.707)^2) = 0.910$ to
  $\exp(-(0.4 + 0.707)^2) = 0.294$, and the classes are equally frequent. By Bayes' rule class 0 has
  probability $0.910 / (0.910 + 0.294) = 0.756$, and class 1 has 0.244. The mean of the noise is
  $0.756 \cdot (-0.434) + 0.244 \cdot 1.566 = 0.054$.

By (5.2) the prediction 0.054 corresponds to the guess 0.512 for the data. Neither image lies there.
It is still the guess of least squared error, because it is the mean of what the image may be (step
5).

**With a label.** We put the best prediction into the reverse step of step 6. As there, the left
side is the step of the model, and not the true distribution:

$$ p(x_{t-1} | x_t, y) = N(\mu, \tilde\beta_t I) $$ (9.1)
$$ \mu = (x_t - \beta_t / \sqrt{1 - \bar\alpha_t} \epsilon(x_t, y)) / \sqrt{\alpha_t} $$ (9.2)

The mean is exactly $E[x_{t-1} | x_t, y]$, because the mean of step 6 is linear in the guess. The
Gaussian shape and the variance $\tilde\beta_t$ are approximations, as in step 6. Their error
depends on the label. In the example both are exact with a label, because the label determines
$x_0$. A network puts its output $f(x_t, y)$ in the place of $\epsilon(x_t, y)$.

**Without a label.** The data set of the null label is all images, so its best prediction is
$\epsilon(x_t, \phi) = E[\epsilon | x_t]$. By the law of total expectation it is the mean over the
classes of the best prediction for each class. The weights are the probabilities of the classes
given $x_t$:

$$ E[\epsilon | x_t] = \sum_y p(y | x_t) E[\epsilon | x_t, y] $$

The last item of the example is this sum in numbers. With $\epsilon(x_t, \phi)$ and
$\epsilon(x_t, y)$ for the two means it reads

$$ \epsilon(x_t, \phi) = \sum_y p(y | x_t) \epsilon(x_t, y) $$ (9.3)

Two consequences are important. First, the weights are the probabilities $p(y | x_t) = \pi_y p(x_t |
y) / p(x_t)$ of step 5, which depend on $x_t$. They are not the frequencies $\pi_y$ of the classes
in the data. In the example the frequencies would give $(-0.434 + 1.566) / 2 = 0.566$ instead of
0.054. Second, where one class is much more probable than the others, its weight is close to 1.
Unless the predictions for the classes differ very much, the prediction without a label then nearly
agrees with the prediction for that class. The label of this class then adds little to what $x_t$
shows already. (The exception occurs near the data. With the signal-to-noise ratio of step 8, the
predictions for the two images differ by $2 \sqrt{SNR_t}$, so by 200 at $\bar\alpha_t = 0.9999$.
Where class 0 has the probability 0.99 there, the prediction without a label still differs by 2 from
that for the class. But hardly any $x_t$ lies there, because each image is 100 standard deviations
of the noise away from the point halfway between the images.)

Dividing (9.3) by $-\sqrt{1 - \bar\alpha_t}$ turns predictions into scores. The score of all data is
the same weighted mean of the scores of the classes, as in step 5. A network does not compute this
sum. It learns the left side directly, from images without labels, and (9.3) is the value that it
should reach.

**How much does a label help?** We compare three measures, which lead to different conclusions. Let
$d = \epsilon(x_t, y) - \epsilon(x_t, \phi)$ be the change of the prediction that the label causes.
The first measure is the loss. Let $f$ be any prediction that is computed from $x_t$ and $y$, by a
network or otherwise. By step 5 its loss exceeds the lowest possible loss by its mean squared
distance from the best prediction:

$$ E|\epsilon - f|^2 = E|\epsilon - \epsilon(x_t, y)|^2 + E|f - \epsilon(x_t, y)|^2 $$

The prediction without a label is such an $f$, one that ignores $y$. For it the last term is the
mean of $|d|^2$. So hiding the label raises the lowest loss by

$$ E|\epsilon - \epsilon(x_t, \phi)|^2 - E|\epsilon - \epsilon(x_t, y)|^2 = E|d|^2 $$ (9.4)

The second measure is the same difference for guesses of $x_0$. A difference of two guesses is
$-\sqrt{(1 - \bar\alpha_t) / \bar\alpha_t}$ times $d$ (step 5). The third measure is the uncertainty
that the label would remove. It is the conditional entropy of the label given $x_t$, in nats, which
is the mean of $-\log p(y | x_t)$. The table gives all three for the three Gaussians of step 1 and
the cosine schedule with $T = 100$, by numerical integration over $x_t$:

| t | 1 | 20 | 40 | 50 | 80 | 100 |
|---|---|---|---|---|---|---|
| alpha_bar | 0.999 | 0.899 | 0.647 | 0.494 | 0.094 | 0.000 |
| mean squared difference of predictions of eps | 0.000 | 0.125 | 0.526 | 0.617 | 0.198 | 0.000 |
| mean squared difference of guesses of x_0 | 0.000 | 0.014 | 0.286 | 0.632 | 1.909 | 2.250 |
| entropy of the label given x_t | 0.025 | 0.079 | 0.320 | 0.505 | 0.991 | 1.099 |

For the three Gaussians a label helps the guess of $x_0$ most at the noise end. There $x_t$ contains
no information about the class. The label moves the guess from the mean of all data to the mean of
its class, which is 1.5 away, so the mean square is 2.25. The entropy is $\log 3 = 1.099$. Near the
data a label helps little, because $x_t$ nearly equals $x_0$ for every class. In units of eps the
difference is largest in the middle of the chain. This is a property of the unit. At the noise end
the factor $\sqrt{\bar\alpha_t / (1 - \bar\alpha_t)}$ from guesses to predictions of eps is close to
0, so even a large change of the guess becomes small.

The row of eps is also related to information. Let $I(y; x_t)$ be the entropy of the label minus its
conditional entropy given $x_t$, so it is the information in $x_t$ about the label. Let $\lambda_t$
be the log SNR of step 2. Then $dI / d\lambda_t = E|d|^2 / 2$ for any data. (Appendix Q derives
this.) Half of the row is therefore the rate, per unit of the log SNR, at which information about
the class appears on the way back. We can check this with the table. From $t = 50$ to $t = 40$,
$\lambda_t$ rises by 0.633. Half the mean of 0.617 and 0.526 is 0.286, and the product is 0.181. The
entropy falls by $0.505 - 0.320 = 0.185$. The product is too small: the row is
a concave function of $\lambda_t$ here, so the mean of its two end values is below its mean over the
interval. The ten steps from 50 to 40, added up in the same way, give 0.185.

**One network for both.** To train both predictions, hide some of the labels. Before a sample enters
the network, replace its label by $\phi$ with a probability $p_u$, called `p_uncond` in the code:

$$ y' = \phi \text{ with probability } p_u \text{, else } y $$ (9.5)

The draw must not depend on the sample. If it did, the images that are shown without a label need
not have the proportions of the data. Averaged over this draw, the loss of a network $f$ is a sum of
two losses:

$$ L(f) = (1 - p_u) E|\epsilon - f(x_t, y)|^2 + p_u E|\epsilon - f(x_t, \phi)|^2 $$ (9.6)

The two might be expected to compete, so that $p_u$ would set a compromise. Is this so? Let
$\Delta_y = E|f(x_t, y) - \epsilon(x_t, y)|^2$ be the mean squared distance of the network from the
best prediction with a label, and $\Delta_\phi = E|f(x_t, \phi) - \epsilon(x_t, \phi)|^2$ its
distance without. Step 5 splits each loss into a part that no network can change and this distance:

$$ E|\epsilon - f(x_t, y)|^2 = E|\epsilon - \epsilon(x_t, y)|^2 + \Delta_y $$
$$ E|\epsilon - f(x_t, \phi)|^2 = E|\epsilon - \epsilon(x_t, \phi)|^2 + \Delta_\phi $$

Insert both into (9.6). Let $L^*$ be the loss of the pair of best predictions, for which both
distances are 0. Then only the distances remain in the difference:

$$ L(f) - L^* = (1 - p_u) \Delta_y + p_u \Delta_\phi $$ (9.7)

For $0 < p_u < 1$ both weights are positive, so the right side is 0 only if both distances are 0.
With unlimited data and a network that can represent both predictions, the best network is therefore
the same for every such $p_u$. One network, trained with one loss, contains the conditional and the
unconditional model.

What does $p_u$ change, then? It has three effects.

- It changes the value of the minimum. In the example a label determines the image and with it the
  noise, so the first loss can reach 0. The second cannot go below the variance of the noise given
  $x_t$. The noise has two possible values, which differ by 2. So its variance is
  $0.756 \cdot 0.244 \cdot 2^2 = 0.738$ at $x_t = 0.4$, and numerical integration gives the mean
  0.450 over all $x_t$. The lowest $L$ at this $t$ is therefore $0.450 p_u$. Total losses of runs
  with different $p_u$ cannot be compared.
- It sets the compromise of a network that cannot represent both predictions. A larger $p_u$ gives
  more weight to the error without a label.
- It sets how often each prediction is trained: the fraction $p_u$ of all samples that are drawn in
  training is used without a label, and the rest with it.

Ho and Salimans measured the quality of samples on ImageNet at 64 x 64. They found that 0.1 and 0.2
worked about equally well, and that 0.5 was worse.

**One draw per sample.** In a batch of $n$ samples let $n'$ be the number of hidden labels. It is a
sum of $n$ independent variables, each 1 with probability $p_u$ and 0 otherwise. Each has variance
$p_u - p_u^2$, and variances of independent variables add:

$$ Var(n') = n p_u (1 - p_u) $$ (9.8)

For $n = 64$ and $p_u = 0.2$, 12.8 labels are hidden on average, with a standard deviation of 3.2. A
single draw for the whole batch has the same mean loss and so the same minimum. But then the number
of hidden labels is either 0 or 64, with a standard deviation of 25.6. No update of the network
trains both predictions, and successive updates differ more.

**At the boundary.** At $t = 1$ the variance $\tilde\beta_1$ is 0, and the chain ends in the point
$E[x_0 | x_1, y]$. As $\bar\alpha_t$ goes to 0, $x_t$ becomes pure noise. Both predictions then
approach $x_t$, so $d$ goes to 0. With a single class $d = 0$, because that class is all images. At
$p_u = 0$ the loss does not contain $f(x_t, \phi)$. The network still outputs something for the null
label, but nothing has trained it. At $p_u = 1$ the same is true for all classes.

**What goes wrong.** Some programs give the null label a fixed number, such as 10. With 100 classes
this is also the number of a class. One output then has to serve as the prediction for all images
and as the prediction for that class. With a squared error it becomes a weighted mean of the two,
which is neither. Other programs draw once per batch, or take $p_u$ for the probability of keeping
the label. All of these run without an error message.

**Where it goes on.** We can now draw samples of one class as the data contain them. Some of these
are ambiguous. In the pinwheel of step 1, 10 % of the points of a class lie where another class is
more probable (step 10 gives the numbers). Step 10 looks for a way to obtain clearer samples, and it
will find $d$ again.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, alg. 1, sec. 3.2 and table 1 (label dropout); Ho
et al. 2020, arXiv:2006.11239, eq. 11 (the mean, there without $y$); Guo, Shamai and Verdu 2005,
IEEE Trans. Inf. Theory 51:1261 (information and mean squared error).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step05_best_guess import noised, oracle_eps
from tutorial.step06_reverse import p_xprev_given_xt

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def p_xprev_given_xt_y(
    model: Denoiser,
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    schedule: Schedule,
) -> Gaussian:
    """The reverse step of a model for `t` in 1..T. Each row has its own label `y` in 0..K."""
    out = model(xt, t, y)
    return p_xprev_given_xt(xt, out, t, schedule, model.prediction)  # (9.1), with the mean (9.2)


def eps_null_from_classes(
    xt: Float[np.ndarray, "n 2"], t: int, mixture: GaussianMixture, schedule: Schedule
) -> Float[np.ndarray, "n 2"]:
    """`E[eps | x_t]` as a weighted mean of the oracle's predictions per class, for `t` in 1..T."""
    schedule.check_t(t)
    model = oracle_eps(mixture, schedule)
    p = np.exp(noised(mixture, t, schedule).log_class_probability(xt))  # p(y | x_t), (n, K)
    eps_null = np.zeros(xt.shape)
    for y in range(model.num_classes):
        eps_y = model(xt, t, np.full(len(xt), y))
        eps_null += p[:, [y]] * eps_y  # (9.3)
    return eps_null


def squared_label_effect(
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, " n"]:
    """`|d|^2` of the oracle, one value per row, for `t` in 1..T and `y` in 0..K."""
    model = oracle_eps(mixture, schedule)
    null = np.full_like(y, model.num_classes)
    d = model(xt, t, y) - model(xt, t, null)
    return (d**2).sum(1)  # (9.4)


def check_p(p_uncond: float) -> float:
    """Return `p_uncond` if it is a probability."""
    if not 0 <= p_uncond <= 1:
        raise ValueError(f"p_uncond = {p_uncond} is outside 0..1")
    return p_uncond


def drop_labels(
    y: Int[np.ndarray, " n"], p_uncond: float, null: int, rng: np.random.Generator
) -> Int[np.ndarray, " n"]:
    """The labels `y`, each replaced by `null` independently with probability `p_uncond`.

    >>> drop_labels(np.array([2, 0, 1]), 1.0, 3, np.random.default_rng(0))
    array([3, 3, 3])
    """
    hidden = rng.random(len(y)) < check_p(p_uncond)
    return np.where(hidden, null, y)  # (9.5)


def joint_loss(
    eps: Float[np.ndarray, "n D"],
    f_y: Float[np.ndarray, "n D"],
    f_null: Float[np.ndarray, "n D"],
    p_uncond: float,
) -> Float[np.ndarray, " n"]:
    """The loss of each sample, averaged over whether its label is hidden.

    `f_y` are the network's outputs with the labels, `f_null` those with the null label.
    """
    check_p(p_uncond)
    loss_y = ((eps - f_y) ** 2).sum(1)
    loss_null = ((eps - f_null) ** 2).sum(1)
    return (1 - p_uncond) * loss_y + p_uncond * loss_null  # (9.6)


def excess_joint_loss(
    f_y: Float[np.ndarray, "n D"],
    f_null: Float[np.ndarray, "n D"],
    best_y: Float[np.ndarray, "n D"],
    best_null: Float[np.ndarray, "n D"],
    p_uncond: float,
) -> Float[np.ndarray, " n"]:
    """By how much the mean `joint_loss` of `f` exceeds that of the best pair, a term per sample."""
    check_p(p_uncond)
    delta_y = ((f_y - best_y) ** 2).sum(1)
    delta_null = ((f_null - best_null) ** 2).sum(1)
    return (1 - p_uncond) * delta_y + p_uncond * delta_null  # (9.7)


def dropped_var(n: int, p_uncond: float) -> float:
    """The variance of the number of hidden labels in a batch of `n`."""
    return n * check_p(p_uncond) * (1 - p_uncond)  # (9.8)


def columns_of_label(
    features: Float[np.ndarray, "n F"], label: Int[np.ndarray, " n"], null: int
) -> Float[np.ndarray, "n K1F"]:
    """The features in the columns of the row's label, in 0..`null`, and 0 in all other columns.

    A linear model of these columns has separate weights for every label, the null label included.
    """
    if len(label) and not (label.min() >= 0 and label.max() <= null):
        raise ValueError(f"label in {label.min()}..{label.max()} is outside 0..{null}")
    return np.hstack([features * (label == k)[:, None] for k in range(null + 1)])


def joint_fit(
    with_y: Float[np.ndarray, "n F"],
    with_null: Float[np.ndarray, "n F"],
    eps: Float[np.ndarray, "n D"],
    p_uncond: float,
) -> Float[np.ndarray, "F D"]:
    """The W of least mean `joint_loss` for the outputs `with_y @ W` and `with_null @ W`.

    Every sample is used twice, with its label and with the null label, so no labels are drawn.
    Weights that the loss does not contain are 0.
    """
    # Least squares takes the square roots of the weights of the two losses.
    root_y = np.sqrt(1 - check_p(p_uncond))
    root_null = np.sqrt(p_uncond)
    design = np.vstack([root_y * with_y, root_null * with_null])
    target = np.vstack([root_y * eps, root_null * eps])
    return np.linalg.lstsq(design, target)[0]


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step09_condition")
