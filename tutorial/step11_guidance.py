r"""Step 11. Guidance: where (1 + w) eps_y - w eps_null comes from

**The question.** Classifier guidance moves samples towards their class with the gradient of a
classifier (step 10). The same step found this gradient in the difference between two predictions of
one network. So we can insert one result into the other. What remains of classifier guidance? Four
more questions follow from the result. In which convention is its strength given? Does it matter
whether the network predicts the noise or the data? Do we clip before or after? And which
distribution do we hope to sample? (Which strength is good is a question for measurements, in step
12.)

Throughout this lesson $\epsilon_y$ is short for $\epsilon(x_t, y)$, the prediction with the label,
and $\epsilon_\phi$ for $\epsilon(x_t, \phi)$, the prediction without it.

**The derivation.** Classifier guidance adds $\gamma$ gradients to the score of all data. In the
unit of the noise this is (10.3):

$$ \tilde\epsilon = \epsilon_\phi - \gamma \sqrt{1 - \bar\alpha_t} \nabla \log p(y | x_t) $$

By (10.4) the gradient is $(\epsilon_\phi - \epsilon_y) / \sqrt{1 - \bar\alpha_t}$. The two roots
cancel:

$$ \tilde\epsilon = \epsilon_\phi + \gamma (\epsilon_y - \epsilon_\phi) $$

At $\gamma = 1$ this is $\epsilon_y$, the conditional model. From now on the word guidance means
only the gradients beyond this first one. Let $\gamma = 1 + w$, where $w$ is called the guidance
weight. Collecting terms gives the formula of this course:

$$ \tilde\epsilon = (1 + w) \epsilon_y - w \epsilon_\phi $$ (11.1)

No classifier is left in it, so the method is called classifier-free guidance. It evaluates one
network twice at the same $x_t$, once with the label and once with the null label. The network was
trained for both by hiding some of the labels (step 9). In the loop of step 7, $\tilde\epsilon$
takes the place of the prediction, and the rest of each step remains as it was. The price is a
second evaluation in every step.

The same formula can be written as a correction of the conditional prediction:

$$ \tilde\epsilon = \epsilon_y + w (\epsilon_y - \epsilon_\phi) $$ (11.2)

It starts from the prediction for the class and adds $w$ times what the label has changed. By (10.4)
this adds $w$ gradients of the classifier to the conditional model. So $w$ gradients on the
conditional model equal $1 + w$ gradients on the unconditional one. The reason is that the
conditional model already contains one gradient.

The factors $1 + w$ and $-w$ add up to 1. So $\tilde\epsilon$ is a point on the straight line
through the two predictions. It lies between them for $-1 < w < 0$ and beyond $\epsilon_y$ for
$w > 0$. Where the label changes nothing, the two predictions agree, and $\tilde\epsilon$ agrees
with them for every $w$.

**An example.** We continue with the two images 1 and -1 of steps 9 and 10, with
$\bar\alpha_t = 0.5$ and $x_t = 0.4$. The prediction for class 0 is -0.434, and the prediction
without a label is 0.054. Each mixture implies a guess for the data,
$(0.4 - 0.707 \tilde\epsilon) / 0.707$. The numbers are rounded at the end:

| w | mixture | guess for the data |
|---|---|---|
| -1 | 0.054 | 0.512, the mean of what the image may be |
| 0 | -0.434 | 1.000, the image of class 0 |
| 1 | -0.922 | 1.488 |
| 3 | -1.898 | 2.463 |

For $w > 0$ the guess lies beyond every image. This is not an error of the network, since the
predictions are exact. It is a consequence of extrapolation, and clipping (below) is one remedy.

**Two conventions.** Many programs count from the unconditional prediction instead. Their parameter
is the number of gradients of the derivation, $\gamma = 1 + w$, often under the name
`guidance_scale`:

$$ \tilde\epsilon = \epsilon_\phi + \gamma (\epsilon_y - \epsilon_\phi) $$ (11.3)

| w | scale | factor of eps_y | factor of eps_phi | result |
|---|---|---|---|---|
| -1 | 0 | 0 | 1 | the unconditional model |
| 0 | 1 | 1 | 0 | the conditional model, no guidance |
| 1 | 2 | 2 | -1 | guided |
| 4 | 5 | 5 | -4 | the largest weight in the paper |

The weight $w$ is the convention of Ho and Salimans and of this course. If a value of one convention
is used in the other, the strength is wrong by exactly one gradient, and no error is raised. For
example, a scale of 1 means no guidance, but $w = 1$ means guidance. A weight $w = 0$ gives the
conditional model, but a scale of 0 gives the unconditional one.

**Which form to program.** On paper the three forms are equal. In floating point they are not. Let
both predictions be 0.1 and $w = 3$. Then (11.1) gives 0.09999999999999998, and (11.2) gives 0.1.
Now let $\epsilon_y = 0.1$, $\epsilon_\phi = 0.4$ and $w = 0$. Then (11.3) gives
0.09999999999999998, and (11.2) gives 0.1. Of the three only (11.2) returns $\epsilon_y$ to the last
bit in both cases, at $w = 0$ and where the label changes nothing. The function `guide` below uses
it. So a run with $w = 0$ can be compared bit by bit with a run without guidance. At $w = -1$ it
returns $\epsilon_\phi$ up to rounding.

**Other units.** Some networks predict $x_0$ or $v$ (step 5) in place of the noise. The guess for
the data is $p_t x_t + q_t g$ for a prediction $g$ in any of these units. The numbers $p_t$ and
$q_t$ depend on $t$ only and stand in the table of step 5. Every other change of unit has the same
form. Does it matter in which unit we mix? Let $g_y$ be the prediction with the label and $g_\phi$
the one without, and let $\tilde g = (1 + w) g_y - w g_\phi$ be their mixture. The factors of
$p_t x_t$ add up to 1:

$$ (1 + w) (p_t x_t + q_t g_y) - w (p_t x_t + q_t g_\phi) = p_t x_t + q_t \tilde g $$ (11.4)

On the left the unit is changed first and the guesses are mixed. On the right the predictions are
mixed first. The result is the same. So guidance may be applied to the noise, the data, $v$ or the
score. Both predictions must be made at the same $x_t$, or the two terms with $p_t$ do not combine
into one.

**Clipping comes last.** Step 6 clipped the guess of the data to an interval $[-c, c]$ that contains
the data. With guidance there are two guesses, $\hat x_y$ with the label and $\hat x_\phi$ without.
Do we clip these guesses, or their mixture? The order matters. To see why, we ask which functions
$f$ give the same result before mixing and after it. For such a function

$$ f((1 + w) a - w b) = (1 + w) f(a) - w f(b) $$

holds for all $a$, $b$ and $w$. Let $h = f - f(0)$, so that $h(0) = 0$. It obeys the same equation,
because the constant $f(0)$ occurs on the right with the factors $1 + w$ and $-w$, whose sum
is 1. We insert $b = 0$, then $w = -1/2$, and combine the two:

$$ h((1 + w) a) = (1 + w) h(a) $$
$$ h((a + b) / 2) = (h(a) + h(b)) / 2 $$
$$ h(a + b) = 2 h((a + b) / 2) = h(a) + h(b) $$

So $h$ is linear, and $f$ is linear plus a constant. A change of unit is of this kind, and clipping
is not. We mix the raw predictions and clip once, at the end:

$$ \hat x_0 = clip(p_t x_t + q_t \tilde g) $$ (11.5)

Then the result lies in $[-c, c]$ for every $w$. The guidance is unchanged wherever the mixture
needs no clipping. If only the two guesses are clipped, and not their mixture, the result can be as
large as

$$ |(1 + w) clip(\hat x_y) - w clip(\hat x_\phi)| \le (|1 + w| + |w|) c $$ (11.6)

For $w > 0$ the bound is reached when the two guesses are $c$ and $-c$. With $w = 3$ the mixture is
then $7 c$. For $-1 \le w \le 0$ the bound is $c$, because the mixture is a weighted mean of two
numbers in the interval. The two orders differ even if both results lie in the interval. With
$c = 1$, $w = 1$, $\hat x_y = 0.5$ and $\hat x_\phi = 1.5$, mixing first gives
$2 \cdot 0.5 - 1.5 = -0.5$. Clipping first turns 1.5 into 1 and gives $2 \cdot 0.5 - 1 = 0$.

In the table above, clipping to $[-1, 1]$ turns the guesses 1.488 and 2.463 into 1. (That this is
the image of class 0 is a coincidence: the image lies at the end of the interval.) The algorithm of
Ho and Salimans has no clipping. Saharia et al. found that images sampled with large weights need
it.

**Which distribution do we hope for?** Divide (11.1) by $-\sqrt{1 - \bar\alpha_t}$ to obtain scores
(step 5). If the predictions are exact, these are the true scores of the class and of all data:

$$ -\tilde\epsilon / \sqrt{1 - \bar\alpha_t} = (1 + w) s(x_t | y) - w s(x_t) $$

Both scores are gradients of log densities, so their mixture is the gradient of a logarithm, too.
(For trained predictions this need not be true, as step 10 explained.)

$$ -\tilde\epsilon / \sqrt{1 - \bar\alpha_t} = \nabla \log(p(x_t | y)^{1 + w} p(x_t)^{-w}) $$ (11.7)

What is this product of powers? By Bayes' rule the density of all data is
$p(x_t) = \pi_y p(x_t | y) / p(y | x_t)$. Inserting this into the second factor gives

$$ p(x_t | y)^{1 + w} p(x_t)^{-w} = \pi_y^{-w} p(x_t | y) p(y | x_t)^w $$ (11.8)

Apart from a constant, the right side is the density of the class multiplied by $p(y | x_t)^w$. For
$w > 0$ ambiguous places lose density, and after normalisation the clear ones gain. At $t = 0$,
normalised, we call this the tilted distribution. It is what one hopes to sample with guidance:
images of the class, with the ambiguous ones made rare. We integrate it for class 0 of the pinwheel
of step 1, by sums over a grid. The fraction that lies where another class is more probable falls
from 9.9 % at $w = 0$ to 2.6 % at $w = 1$ and 0.4 % at $w = 3$. The points also come closer
together: the sum of the two variances falls from 0.56 to 0.47 and 0.44.

In the example of two images the label is certain at $t = 0$. For class 0 and every $w > -1$ the
tilted distribution is therefore the image 1 itself, which is also the result without guidance. And
yet the guided guesses in the table lie far from this image. This is a first sign of a difficulty.

**The guided scores belong to another distribution.** The scores that the chain of step 7 follows
without guidance belong to one distribution of data with more and more noise added. Therefore each
of its steps leads from the density of $x_t$ to the density of $x_{t-1}$, up to the error of a
finite step.
The tilted distribution would be sampled if the chain followed the scores of the tilted distribution
with noise added. Guidance follows other scores. In (11.7) noise is added to the class and to all
data first. Then the two noisy densities are combined by powers. The two orders, tilting before
adding noise and tilting afterwards, do not agree. The following example can be computed by hand and
shows this.

Let the data be numbers. Let the class be $N(\mu_y, S_y)$, and let all data together be $N(0, S)$.
First we tilt without noise. The exponent of the product of powers is
$-(1 + w) (x - \mu_y)^2 / (2 S_y) + w x^2 / (2 S)$. In it $x$ has the factor $(1 + w) \mu_y / S_y$.
With $R = (1 + w) S - w S_y$ the factor of $x^2$ is

$$ -(1 + w) / (2 S_y) + w / (2 S) = -R / (2 S_y S) $$

A Gaussian with mean $M$ and variance $V$ has the exponent $-x^2 / (2 V) + M x / V$ plus a constant.
Comparing the factors of $x^2$ gives $V = S_y S / R$. Comparing the factors of $x$ gives
$M = (1 + w) \mu_y V / S_y$. So the tilted distribution is

$$ N(\mu_y, S_y)^{1 + w} N(0, S)^{-w} \propto N((1 + w) \mu_y S / R, S_y S / R) $$ (11.9)

Adding noise as in step 3 multiplies a mean by $\sqrt{\bar\alpha_t}$. It multiplies a variance by
$\bar\alpha_t$ and adds $1 - \bar\alpha_t$. For the other order we do this first. The variances of
the class and of all data with noise are

$$ C_y = \bar\alpha_t S_y + 1 - \bar\alpha_t, \quad C = \bar\alpha_t S + 1 - \bar\alpha_t $$

We apply (11.9) to these two Gaussians. In the place of $R$ we obtain

$$ R_t = (1 + w) C - w C_y = \bar\alpha_t R + 1 - \bar\alpha_t $$

Let $\Delta V$ be the variance in this order, noise first, minus the variance of the tilted
distribution with noise:

$$ \Delta V = C_y C / R_t - (\bar\alpha_t S_y S / R + 1 - \bar\alpha_t) $$

Multiply by $R_t$ and expand both products. The first is

$$ C_y C = \bar\alpha_t^2 S_y S + (1 - \bar\alpha_t)^2 + \bar\alpha_t (1 - \bar\alpha_t)(S_y + S) $$

The second product is the bracket times $R_t = \bar\alpha_t R + 1 - \bar\alpha_t$. It has the same
two squares, and $S_y S / R + R$ in the place of $S_y + S$. So the squares cancel in the difference.
The second line below writes the remaining factor as a product:

$$ R_t \Delta V = \bar\alpha_t (1 - \bar\alpha_t) (S_y + S - S_y S / R - R) $$
$$ S_y + S - S_y S / R - R = -(R - S_y) (R - S) / R $$

The definition of $R$ gives $R - S_y = (1 + w) (S - S_y)$ and $R - S = w (S - S_y)$. The result is

$$ \Delta V = -w (1 + w) \bar\alpha_t (1 - \bar\alpha_t) (S - S_y)^2 / (R R_t) $$ (11.10)

The means are $(1 + w) \sqrt{\bar\alpha_t} \mu_y$ times $C / R_t$ in the first case and times
$S / R$ in the second. For the difference $\Delta M$ of the means we first bring the two fractions
to a common denominator:

$$ C / R_t - S / R = (1 - \bar\alpha_t) (R - S) / (R R_t) $$
$$ \Delta M = w (1 + w) \sqrt{\bar\alpha_t} (1 - \bar\alpha_t) \mu_y (S - S_y) / (R R_t) $$ (11.11)

What are the signs? A class is part of the data, so $\pi_y p(x | y) \le p(x)$ everywhere, and $p(x |
y) / p(x)$ is bounded. So $S_y$ cannot be larger than $S$, because the exponent of the ratio would
then grow like $x^2$. If $S_y = S$, the exponent is linear in $x$, so the ratio is bounded only for
$\mu_y = 0$, and the class is like all data. So let $S_y < S$ and $w > 0$. Then $R = S + w (S -
S_y)$ is positive. At every $t$ between the ends, the guided scores belong to a distribution that is
narrower than the tilted distribution with noise. Unless $\mu_y = 0$, its mean is also further from
the mean of all data.

For example, let $\mu_y = 1$, $S_y = 1/4$ and $S = 1$. The ratio of the densities is at most
$2 e^{2/3} = 3.895$, so the class may be a quarter of the data. With $w = 3$ and
$\bar\alpha_t = 1/2$, guided scores belong to $N(1.331, 0.294)$. The tilted distribution with noise
is $N(0.870, 0.538)$.

The consequence for samples can be computed, too. Let $M_t$ and $V_t$ be the mean and the variance
of the distribution to which the guided score belongs. Its score is $-(x_t - M_t) / V_t$, so by
(5.10) the guided guess is $(x_t - (1 - \bar\alpha_t) (x_t - M_t) / V_t) / \sqrt{\bar\alpha_t}$.
This is linear in $x_t$, with the slope $k_t = (1 - (1 - \bar\alpha_t) / V_t) /
\sqrt{\bar\alpha_t}$. So by (7.2) a step of the guided chain maps a Gaussian to a Gaussian. It
multiplies the variance by $(c_0 k_t + c_t)^2$ and adds $\tilde\beta_t$. The new mean is $c_0$ times
the guess at the old mean, plus $c_t$ times the old mean. Started from $N(0, 1)$, with the cosine
schedule and 1000 steps, the chain of step 7 ends in $N(1.328, 0.047)$. The tilted distribution is
$N(1.231, 0.077)$. So the guided samples lie further out than the tilted distribution, and closer
together.

**At the boundary.** At $w = 0$ and at $w = -1$ one of the two predictions has the factor 0, and
both differences are 0. They are also 0 at $t = 0$ and in the limit $\bar\alpha_t \to 0$. For $-1 <
w < 0$ they have the opposite sign. For $w < -1$ guidance moves away from the class. If $w$ is at or
below $-S / (S - S_y)$, then $R$ is not positive, and the product of powers cannot be normalised.

**What goes wrong.** The following mistakes all run without an error message. The sign of the second
term is wrong, so that guidance adds the unconditional prediction. The two predictions are
exchanged, so that samples avoid the class. The weight is read in the other convention. Only some of
the channels of an image are guided. The guesses are clipped before they are mixed and not
afterwards. The label is passed to both evaluations, so that every weight gives the conditional
model. The directory `tests/mistakes` contains all of them, and names programs in which some of them
were found.

**Where it goes on.** Step 12 measures what $w$ gains and costs on samples. Step 13 compares the
tilted distribution with the one in which guided chains end.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 3, eq. 6, and sec. 4 for the weights; there
is no clipping in its algorithm 2. Saharia et al. 2022, arXiv:2205.11487, sec. 2.3 (large weights
need clipping). Bradley and Nakkiran 2024, arXiv:2408.09000 (the example with two Gaussians).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step05_best_guess import noised, oracle_eps, score_from_eps, x0_from

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def guide(
    eps_cond: Float[np.ndarray, "*n D"], eps_null: Float[np.ndarray, "*n D"], w: float
) -> Float[np.ndarray, "*n D"]:
    """The guided prediction for any finite weight `w`. Predictions of x0 or v are mixed alike.

    >>> guide(np.array([1.0, 2.0]), np.array([0.5, 2.0]), 3.0)
    array([2.5, 2. ])
    """
    if not np.isfinite(w):
        raise ValueError(f"w = {w} is not a finite number")
    if eps_cond.shape != eps_null.shape:
        raise ValueError(f"eps_null has shape {eps_null.shape}, eps_cond has {eps_cond.shape}")
    # On paper this is (11.1). In floating point only this form is exact at w = 0 and where the two
    # predictions agree.
    return eps_cond + w * (eps_cond - eps_null)  # (11.2)


def w_from_scale(scale: float) -> float:
    """The weight w that belongs to a scale s of the other convention."""
    return scale - 1  # (11.3)


def guided_x0(
    out_cond: Float[np.ndarray, "*n D"],
    out_null: Float[np.ndarray, "*n D"],
    xt: Float[np.ndarray, "*n D"],
    t: int,
    schedule: Schedule,
    w: float,
    prediction: str = "eps",
    clip: float = np.inf,
) -> Float[np.ndarray, "*n D"]:
    """The guess for the data from two raw outputs, for `t` in 1..T.

    The outputs are predictions of eps, x0 or v. The result is clipped to `-clip..clip`.
    """
    if not clip > 0:
        raise ValueError(f"clip = {clip} is not above 0 (inf: no clipping)")
    out = guide(out_cond, out_null, w)
    x0hat = x0_from(out, xt, t, schedule, prediction)  # (11.4)
    return np.clip(x0hat, -clip, clip)  # (11.5)


def largest_mix(w: float, clip: float) -> float:
    """The largest possible mixture of two guesses that were clipped to `-clip..clip` before."""
    return (abs(1 + w) + abs(w)) * clip  # (11.6)


def guided_score(
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    w: float,
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, "n 2"]:
    """The guided score if the model is the oracle, for `t` in 1..T and `y` in 0..K."""
    model = oracle_eps(mixture, schedule)
    null = np.full_like(y, model.num_classes)
    eps_cond = model(xt, t, y)
    eps_null = model(xt, t, null)
    eps = guide(eps_cond, eps_null, w)
    return score_from_eps(eps, t, schedule)  # (11.7)


def log_tilted(
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    w: float,
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, " n"]:
    """The log of the product of powers, not normalised, for `t` in 0..T and `y` in 0..K-1."""
    mixture_t = noised(mixture, t, schedule)
    log_p_y_given_xt = mixture_t.log_class_probability(xt)[np.arange(len(y)), y]
    log_pi_y = np.log(mixture_t.weights[y])
    return mixture_t.log_density(xt, y) + w * (log_p_y_given_xt - log_pi_y)  # (11.8)


def tilt(given_y: Gaussian, var_all: float, w: float) -> Gaussian:
    """The Gaussian proportional to `given_y^(1 + w) N(0, var_all)^-w`.

    A ValueError is raised where this product cannot be normalised.
    """
    mu_y = given_y.mean
    S_y = given_y.var
    S = var_all
    R = (1 + w) * S - w * S_y
    if not R > 0:
        raise ValueError(f"w = {w} makes R = {R}, not above 0: no such density can be normalised")
    M = (1 + w) * mu_y * S / R
    V = S_y * S / R
    return Gaussian(M, V)  # (11.9)


def add_noise(given_x0: Gaussian, t: int, schedule: Schedule) -> Gaussian:
    """The distribution of `x_t` if that of `x_0` is `given_x0`, for `t` in 0..T (step 3)."""
    abar = float(schedule.alpha_bar[schedule.check_t(t, first=0)])
    return Gaussian(abar**0.5 * given_x0.mean, abar * given_x0.var + 1 - abar)


def both_orders(
    given_y: Gaussian, var_all: float, w: float, t: int, schedule: Schedule
) -> tuple[Gaussian, Gaussian]:
    """Noise first and then the tilt, which is guidance; tilt first and then noise. `t` in 0..T."""
    given_y_t = add_noise(given_y, t, schedule)
    all_t = add_noise(Gaussian(np.zeros(1), var_all), t, schedule)
    noise_first = tilt(given_y_t, all_t.var, w)
    tilt_first = add_noise(tilt(given_y, var_all, w), t, schedule)
    return noise_first, tilt_first


def gap(
    given_y: Gaussian, var_all: float, w: float, t: int, schedule: Schedule
) -> tuple[Float[np.ndarray, "*n D"], float]:
    """Mean and variance of the first of `both_orders` minus those of the second."""
    abar = float(schedule.alpha_bar[schedule.check_t(t, first=0)])
    mu_y = given_y.mean
    S_y = given_y.var
    S = var_all
    R = (1 + w) * S - w * S_y
    R_t = abar * R + 1 - abar
    delta_V = -w * (1 + w) * abar * (1 - abar) * (S - S_y) ** 2 / (R * R_t)  # (11.10)
    delta_M = w * (1 + w) * abar**0.5 * (1 - abar) * mu_y * (S - S_y) / (R * R_t)  # (11.11)
    return delta_M, delta_V


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step11_guidance")
