r"""Step 14. Modes: which samples guidance loses, and when the overshoot fades

**The question.** In step 13 every class was a single Gaussian. Guided samples of it lay too far out
and too close together. Classes of images have several modes. For example, a class of dogs contains
common breeds and rare ones. Which modes does guidance lose? Step 13 leaves a second question. Its
classes were close to each other, in a plane. Images have many dimensions, in which classes can be
far apart. Does the overshoot remain?

**A class with two modes.** Let each component $j$ of a Gaussian mixture belong to one class. Class
0 has two components of variance 0.1, at 2 and at -2 on a line. The first is frequent, with 70 % of
the class. The second is rare, with 30 %. Class 1 has a single component of the same variance, and
it is half of all data. We shall place it at 0, at -4 or at 4. In the code the points have a second
coordinate. It has the same distribution in all components, so it does not influence the first.

In step 9 the prediction without a label was a mean over the classes (9.3). In the same way the
exact prediction for a class is a mean over its components. Let $\epsilon(x_t, j)$ be the prediction
for component $j$ alone (step 5). The sum is over the components $j$ of class $y$ (without the
label, over all components). The probability $p(j | x_t, y)$ is that of component $j$ among these,
by Bayes' rule:

$$ \epsilon(x_t, y) = \sum_{j \in y} p(j | x_t, y) \epsilon(x_t, j) $$ (14.1)

**What the tilted distribution retains.** Let $r_j$ be the fraction of component $j$ in its class.
The tilted distribution multiplies the density of the class by $p(y | x)^w$ and normalises (13.1).
The probability of one component is therefore multiplied by the mean of this factor over the
component:

$$ r_j(w) = r_j E[p(y | x)^w | j] / \sum_{i \in y} r_i E[p(y | x)^w | i] $$ (14.2)

Where the components do not overlap with the other class, all these means are close to 1. Then the
fractions hardly change. With class 1 at 0 the rare mode has the fraction 0.3000 at $w = 0$ and
0.2996 at $w = 7$. If guidance sampled the tilted distribution, it would lose no mode.

**What a guided chain retains.** We use the chain without fresh noise of step 13, because its start
$x_T$ determines its result. Insert $\hat x_0 = (x_t - \sqrt{1 - \bar\alpha_t} \tilde\epsilon) /
\sqrt{\bar\alpha_t}$ into (13.5), and write $k_t$ for the factor of $\tilde\epsilon$:

$$ x_{t-1} = \sqrt{\bar\alpha_{t-1} / \bar\alpha_t} x_t + k_t \tilde\epsilon $$
$$ k_t = \sqrt{1 - \bar\alpha_{t-1}} - \sqrt{\bar\alpha_{t-1} (1 - \bar\alpha_t) / \bar\alpha_t} $$

If $\bar\alpha_{t-1} / \bar\alpha_t$ is close to 1, the factor of $x_t$ is close to 1 and $k_t$ is
close to 0. The slope of the prediction $\tilde\epsilon$ is bounded at all noise levels together. To
see this, let $C = 0.1 \bar\alpha_t + 1 - \bar\alpha_t$ be the variance of a noised component, and
$W$ the variance of the positions under the probabilities $p(j | x_t, y)$. The derivative of (14.1)
on the line is $\sqrt{1 - \bar\alpha_t} (1 / C - \bar\alpha_t W / C^2)$. Here $C$ is at least 0.1,
and $W$ at most 9, because all positions lie in an interval of length 6. (For data that are single
points the slope would not be bounded.) So on a line such a step is an increasing function of $x_t$.
At the noise end of the cosine schedule the ratio is not close to 1; at $t = T$ it is 1000, because
$\beta_T = 0.999$. There, however, both $\bar\alpha$ are close to 0, and $\tilde\epsilon$ is nearly
$x_t$. We show that the slope of the step is close to 1 there too. As a function of $x_0$, the
likelihood (3.1) is proportional to $\exp((\sqrt{\bar\alpha_t} x_t x_0 - \bar\alpha_t x_0^2 / 2) /
(1 - \bar\alpha_t))$. It contains $x_t$ only in the product $\sqrt{\bar\alpha_t} x_t$. The product
is in the exponent, as $w$ was in step 13. So the derivative of $E[x_0 | x_t]$ with respect to it is
again a covariance, $Var[x_0 | x_t] / (1 - \bar\alpha_t)$. It is bounded, because the variance of
$x_0$ is at most $0.1 + 9$, and so is the derivative of the guess for a class. The guided guess
$\hat x_0$ is a sum of both, with the factors $-w$ and $1 + w$. So its slope as a function of $x_t$
is of the order of $\sqrt{\bar\alpha_t}$. Because $\tilde\epsilon = (x_t - \sqrt{\bar\alpha_t} \hat
x_0) / \sqrt{1 - \bar\alpha_t}$, its slope differs from 1 by a term of the order of $\bar\alpha_t$.
The step multiplies this term by $k_t$, the difference of two terms that lie between 0 and
$\sqrt{\bar\alpha_{t-1} / \bar\alpha_t}$. So its absolute value is at most this root, and what
remains is of the order of $\sqrt{\bar\alpha_{t-1} \bar\alpha_t}$, which is close to 0. The slope of
the step is therefore nearly the sum of $k_t$ and the factor of $x_t$. This sum is close to 1:

$$ \sqrt{1 - \bar\alpha_{t-1}} + \sqrt{\bar\alpha_{t-1}/\bar\alpha_t} (1 - \sqrt{1-\bar\alpha_t}) $$

The bracket is about $\bar\alpha_t / 2$, so the second term is about $\sqrt{\bar\alpha_{t-1}
\bar\alpha_t} / 2$, which is close to 0. Two chains that begin at different places therefore never
cross, if the other steps are small enough. There is one boundary $b$: chains that start below $b$
end in the rare mode, and chains that start above it end in the frequent one. The start has the
distribution $N(0, 1)$. With $\Phi$ for its distribution function, the fraction of samples in the
rare mode is

$$ r(w) = \Phi(b) $$ (14.3)

(Without an index, $r(w)$ belongs to the chain; $r_j(w)$ in (14.2) belongs to the tilted
distribution.) To find $b$, start 17 chains at equal distances between -6 and 6. The boundary lies
between the last one that ends below 0 and the first one that ends above it. Start the next 17
chains in this interval, which is a sixteenth of the one before. After five rounds its length is $12
/ 16^5$, which is 0.00001. No random numbers are needed. (If all of the first 17 chains end on the
same side, there is no boundary between -6 and 6. The fraction is then 0 or 1, up to $\Phi(-6) =
10^{-9}$.) Here are the fractions of the rare mode for the cosine schedule with $T = 250$. With $T =
100$ no entry differs by more than 0.004.

| class 1 at | w = 0 | 1 | 3 | 7 | tilted, w = 7 |
|---|---|---|---|---|---|
| 0, between both modes | 0.299 | 0.256 | 0.198 | 0.127 | 0.2996 |
| -4, beside the rare mode | 0.299 | 0.046 | 0.000 | 0.000 | 0.2988 |
| 4, beside the frequent mode | 0.299 | 0.516 | 0.908 | 1.000 | 0.3009 |

In the first row the modes are equally far from the other class, and they differ in their frequency
alone. The rare mode falls from 30 % to less than half of that at $w = 7$. In the second row it
disappears. In the third row, however, the *frequent* mode disappears. *In these examples guidance
loses samples of the mode that is nearer to the other class. If both are equally near, it loses
samples of the rare one.* The tilted distribution retains both modes.

The ancestral chain of step 7 shows the same pattern. For 5,000 samples and 250 steps the fractions
at $w = 3$ are 0.181, 0.021 and 0.772 in the three rows, with standard errors below 0.007.

**Why.** The decision is made early. For example, with guidance only where $\bar\alpha_t < 0.3$, in
the first 93 of the 250 steps, the fractions at $w = 3$ are 0.199, 0.000 and 0.900 in the three
rows, nearly those of the table. Let $\mu_y$ be the mean of the class and $m$ the mean of all data.
Where $\bar\alpha_t$ goes to 0, the noisy point contains no information. The best guess of the data
is then $\mu_y$ with the label and $m$ without it. By (11.4) guidance may be applied to guesses, so
the guided guess is

$$ (1 + w) \mu_y - w m = \mu_y + w (\mu_y - m) $$ (14.4)

This guess is the same for every chain. So in the first steps guidance changes the guesses of all
chains by the same amount, which is the first push. Only at lower noise levels does the guess depend
on the position of the chain. In the example $\mu_y = 0.7 \cdot 2 - 0.3 \cdot 2 = 0.8$, and $m$ is
the mean of 0.8 and the position of class 1:

| class 1 at | m | first guess at w = 3 | mode that gains |
|---|---|---|---|
| 0 | 0.4 | 2.0 | the frequent one, at 2 |
| -4 | -1.6 | 8.0 | the frequent one, at 2 |
| 4 | 2.4 | -4.0 | the rare one, at -2 |

Compared with $w = 0$, the first guess has moved by $w (\mu_y - m)$, which is 1.2, 7.2 and -4.8. In
each row the mode in the direction of this displacement gains: the one at 2 if it is positive, the
one at -2 if it is negative. In the first row the displacement is positive because the class mean
lies nearer to the frequent mode, and class 1 lies halfway between the modes. This is how frequency
enters. In the other rows the position of class 1 decides. However, this is only the first push, and
the later pushes can have another direction. With class 1 at 0.8 the first push is 0, and yet the
fraction of the rare mode rises to 0.37 at $w = 3$. Let $V_y$ and $V$ be the variances of the class
and of all data, here 3.46 and 1.78. By the derivative above, at high noise levels the guesses with
and without the label differ by about $\mu_y - m + (V_y - V) \sqrt{\bar\alpha_t} x_t / (1 -
\bar\alpha_t)$. So the next push is away from 0. At $w = 0$ the boundary is at $b = -0.53$, and
chains that start a little above it are now pushed into the rare mode. Nor does the mode nearer to
the other class always lose. A class 1 at 0.4 is nearer to the frequent mode, and yet the rare mode
falls to 0.278 at $w = 3$. There the first push is positive. With class 1 at 0.5 the first push and
the later ones nearly balance: the rare mode has 0.300 at $w = 3$. The difference between chain and
tilted distribution has the same cause as in step 13: the tilted distribution uses $p(y | x_0)$,
which is close to 1 in both modes. The chain uses $p(y | x_t)$, which is not close to 1 at high
noise levels.

**Distances in many dimensions.** Let all classes have the covariance $S_y I$ in $D$ dimensions. At
noise level $t$ they have a common covariance too, $(\bar\alpha_t S_y + 1 - \bar\alpha_t) I$. By
(1.8) the log odds of two classes then change only along the difference of their means. So $p(y |
x_t)$ depends only on the projection of $x_t$ onto the space that the differences of the $K$ means
span. This space has at most $K - 1$ dimensions. By (11.2) and (10.4) guidance adds a multiple of
the gradient of $\log p(y | x_t)$, which lies in this space. For three classes whose means do not
lie on one line it is a plane for every $D \ge 2$. Step 13 has computed what happens in a plane, for
one arrangement of the means. What changes with $D$ is the distance of the means. If their
coordinates are drawn independently from $N(0, 1)$, the squared distance of two means is $2 D$ on
average, and for large $D$ all distances are close to $\sqrt{2 D}$. So three means are nearly
equally far from each other. The standard deviation of a class along each axis remains $\sqrt{S_y}$.
Adding one vector to all means moves the samples by this vector and changes nothing else, apart from
the start of the chain, where $\sqrt{\bar\alpha_T}$ times the vector is close to 0. So in this model
we may keep the three Gaussians of the plane. We multiply their means by a factor $c$ and leave
their variance at $1/4$. Their squared distances are then $6.75 c^2$. This is $2 D$ for $D = 3.375
c^2$, so $c = 16$ corresponds to 864 dimensions. (Classes of images may be closer to each other than
this.) As in step 13 we sample the top class, whose mean is $(0, 1.5 c)$, with $w = 3$. The
overshoot is here the mean of the second coordinate, the height, minus $1.5 c$. The table is for the
cosine schedule with $T = 1000$ and 20,000 samples.

| c | 1 | 2 | 4 | 8 | 16 |
|---|---|---|---|---|---|
| overshoot, ancestral chain | 0.298 | 0.152 | 0.078 | 0.041 | 0.022 |
| variance of its samples along the height | 0.200 | 0.235 | 0.245 | 0.247 | 0.248 |
| overshoot without fresh noise | 0.864 | 0.865 | 0.867 | 0.872 | 0.882 |
| variance of its samples along the height | 0.084 | 0.084 | 0.084 | 0.084 | 0.085 |

The standard errors are below 0.004 for the overshoot and below 0.003 for the variance. The
ancestral chain's overshoot is about halved each time the distance doubles, and its variance returns
to that of the class. Without fresh noise the overshoot and the variance remain almost the same.
(The rise to 0.882 is an error of finite steps: with $T = 4000$ the overshoot at $c = 16$ is 0.868.)
The overshoot then becomes small only in comparison with the distance.

**Why the two chains differ.** Once $p(y | x_t)$ is close to 1, guidance has almost no effect, and
the chain follows the conditional model. What becomes of a displacement that guidance has caused
before? Measure noise in units of the data. Dividing $x_t$ by $\sqrt{\bar\alpha_t}$ gives the data
plus noise of variance $\tau = (1 - \bar\alpha_t) / \bar\alpha_t$:

$$ x_t / \sqrt{\bar\alpha_t} = x_0 + \sqrt\tau \epsilon $$

Let the class be $N(\mu_y, S_y)$ on a line. The best guess of $x_0$ weighs the class mean and the
observation by their precisions, $1/S_y$ and $1/\tau$ (step 4):

$$ E[x_0 | x_t, y] = \mu_y + (x_t / \sqrt{\bar\alpha_t} - \mu_y) S_y / (S_y + \tau) $$

Each step of the ancestral chain has the mean $E[x_{t-1} | x_t, y]$ (step 9). For a Gaussian class
each of these means is an affine function of the state, and the mean of an affine function is the
function of the mean. Write $g(x_{t-1})$ for $E[x_{t-2} | x_{t-1}, y]$. Given $x_t$, the chain's
$x_{t-2}$ then has the mean $g(E[x_{t-1} | x_t, y])$. In the forward process $x_t$ adds nothing
about $x_{t-2}$ once $x_{t-1}$ is known. So by the law of total expectation the same number is
$E[x_{t-2} | x_t, y]$. Repeated down to 0, this shows that the samples of all chains that pass
through $x_t$ have the mean $E[x_0 | x_t, y]$. A displacement of $x_t / \sqrt{\bar\alpha_t}$ by one
unit moves this mean by

$$ \text{ancestral chain: } S_y / (S_y + \tau) $$ (14.5)

For the chain without fresh noise write $\bar x$ for $x_t / \sqrt{\bar\alpha_t}$. Let $\hat x_0$ be
the guess above, and $\hat\epsilon$ the noise that belongs to it, so that $\bar x = \hat x_0 +
\sqrt\tau \hat\epsilon$. The step (13.5) keeps both and changes $\sqrt\tau$:

$$ \hat\epsilon = (\bar x - \hat x_0) / \sqrt\tau = \sqrt\tau (\bar x - \mu_y) / (S_y + \tau) $$
$$ d\bar x = \hat\epsilon d\sqrt\tau = \hat\epsilon d\tau / (2 \sqrt\tau) $$

In the limit of small steps this is a differential equation. Its solutions are known:

$$ d\bar x / d\tau = (\bar x - \mu_y) / (2 (S_y + \tau)) $$
$$ \bar x - \mu_y = \text{constant} \cdot \sqrt{S_y + \tau} $$

(So the distribution of $\bar x$, $N(\mu_y, S_y + \tau)$, becomes that of the class.) At the data
$\tau$ is 0. So a displacement is multiplied by

$$ \text{without fresh noise: } \sqrt{S_y / (S_y + \tau)} $$ (14.6)

With $S_y = 1/4$ and $\tau = 1$ the ancestral chain retains 20 % of a displacement and the other
chain 45 %. Now let the classes be $c$ times as far apart. Coming from the noise, $p(y | x_t)$
approaches 0 or 1 where the standard deviation $\sqrt\tau$ of the noise becomes comparable to the
distance of the class means, so $\tau$ is of the order of $c^2$. If $c$ is large, $S_y$ is small
compared with $\tau$ from the noise down to this level. With $S_y = 0$ the guess for a class is its
mean, and $p(y | x_t)$ is proportional to $\exp(-(\bar x - \mu_y)^2 / (2 \tau))$ for equally
frequent classes. So multiplying the means, $\bar x$ and $\sqrt\tau$ by $c$ leaves $p(y | x_t)$
unchanged and multiplies every guess by $c$. How does a step scale? Let $\tau'$ be the level at $t -
1$. Insert $\bar\alpha_t = 1 / (1 + \tau)$ and $\bar\alpha_{t-1} = 1 / (1 + \tau')$ into (4.4) to
(4.6), so that $\beta_t / (1 - \bar\alpha_t) = 1 - \tau' / \tau$, and divide by
$\sqrt{\bar\alpha_{t-1}}$. The step (7.2) then leads from $\bar x$ to $\hat x_0 + (\tau' / \tau)
(\bar x - \hat x_0)$ and adds noise of variance $\tau' (1 - \tau' / \tau)$. If $\bar x$ and $\hat
x_0$ are multiplied by $c$ and both levels by $c^2$, the result is multiplied by $c$, and so is
$d\bar x = \hat\epsilon d\sqrt\tau$ without fresh noise, because $\hat\epsilon$ is unchanged. With
an unchanged guess, a step from $\tau$ to $\tau'$ and one from there to $\tau''$ give the same
distribution as one step from $\tau$ to $\tau''$. In small steps the guess hardly changes, so in the
limit it does not matter which noise levels the schedule visits. At the noise end $\bar x$ is nearly
$\sqrt\tau x_T$, so from the same $x_T$ the chain with the factor $c$ starts $c$ times as far out,
at the level $c^2 \tau$. So both chains with the factor $c$ are, at the level $c^2 \tau$, nearly the
chains for $c = 1$ and $S_y = 0$ at the level $\tau$, with all lengths multiplied by $c$. So the
displacement that guidance has caused down to the level $\tau = c^2$ is of the order of $c$. If $c$
is large, the following remains of it. The first expression is with fresh noise, the second without:

$$ c S_y/(S_y + c^2) \approx S_y / c, \quad c \sqrt{S_y / (S_y + c^2)} \approx \sqrt{S_y} $$ (14.7)

This explains the two rows of the overshoot: one falls like $1 / c$, the other is constant. Guidance
also changes the variance of $\bar x$. All lengths are multiplied by $c$, so at the level $\tau =
c^2$ this change is of the order of $c^2$. Below this level both chains are affine, so the change is
multiplied by the square of (14.5) or (14.6). What remains is of the order of $S_y^2 / c^2$ with
fresh noise, and of the order of $S_y$ without. This agrees with the two rows of the variance: one
approaches $1/4$, and the other is below $1/4$ by the same amount for every $c$. All of this is an
estimate of orders of magnitude, and not a proof.

The loss of modes does not fade in this way. If the modes are at $\pm 4$ in place of $\pm 2$ and
class 1 is at 0, the rare mode has the fraction 0.197 at $w = 3$, where it had 0.198 before. The
reason is that the modes are decided early as well. At the noise level $\tau$ of this decision the
variance 0.1 of a component is negligible. So $p(j | x_t)$ is proportional to the frequency of
component $j$ times $\exp(-(\bar x - \mu_j)^2 / (2 \tau))$, where $\mu_j$ is its position. Doubling
$\bar x$, all positions and $\sqrt\tau$ leaves $p(j | x_t)$ unchanged and doubles every guess. So
$\hat\epsilon = (\bar x - \hat x_0) / \sqrt\tau$ is unchanged, and $d\bar x = \hat\epsilon
d\sqrt\tau$ is doubled. In the limit of small steps this means: if the old chain has the state $\bar
x$ at the level $\tau$, the chain with doubled positions has the state $2 \bar x$ at the level $4
\tau$. At the noise end $x_t$ is nearly $\bar x / \sqrt\tau$. Numerator and denominator are both
doubled, so the two chains have the same start $x_t$. So the boundary $b$ stays where it is.

**At the boundary.** At $w = 0$ the chain retains the fractions of the class, up to the error of
finite steps. With a single component per class (14.1) is the prediction of step 5. If $\mu_y = m$,
the first guess does not depend on $w$. If too few steps are used, chains can cross, and (14.3) need
not hold. The function `boundary_of_modes` raises an error if two of the chains that it computes end
in the wrong order. It does not check all other starts. For the three positions and the weights of
the table, no chain that starts between -6 and 6 leaves $-8 \le x_t \le 8$. With $T = 250$ no step
has a slope below 0.52 there. With $T = 100$ and $w = 7$ the smallest slope is -0.18 for each of the
three positions, at $t = 11$ between class 1 and a mode. So this step is not an increasing function.
However, 4,001 chains whose starts lie at equal distances between -6 and 6 meet no slope below 0.8,
and the fractions are those of $T = 250$ up to 0.004.

**What goes wrong.** A drawing of the tilted density shows both modes, but it does not show that
guided chains reach them. The accuracy of a classifier does not show a lost mode either: if all
samples come from one mode, the accuracy can still be perfect. Count the samples of each mode, or
compare the diversity within the class. Another mistake is to conclude that guidance always loses
rare modes. In the second and the third row of the table the position of the other class decides,
and not the frequencies.

**Where it goes on.** So far every prediction was exact. Step 15 trains a network and looks at what
its errors do. Step 20 guides only in a part of the chain, which avoids the early pushes.

**Source.** Jin, Shi and Gu 2025, arXiv:2509.22007 (stages of guided sampling and the loss of
modes); Pavasovic, Verbeek, Biroli and Mezard 2025, arXiv:2502.07849 (the overshoot vanishes in high
dimension, for a process with fresh noise). The example on the line and its numbers are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr  # pyright: ignore[reportMissingTypeStubs]  # SciPy has none

from tutorial.contract import Denoiser, last
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import noised
from tutorial.step13_tilted import steps_without_noise

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class ModesOracle:
    """The exact prediction of eps if a class consists of several components of a mixture.

    `class_of[j]` in 0..K-1 is the class of component `j`.
    """

    components: GaussianMixture
    class_of: Int[np.ndarray, " C"]
    schedule: Schedule
    prediction: str = "eps"

    @property
    def num_classes(self) -> int:
        """K, which is also the null label."""
        return int(self.class_of.max()) + 1

    def __call__(
        self, xt: Float[np.ndarray, "n 2"], t: int, y: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n 2"]:
        """The mean of the noise in each row of `xt`, for `t` in 1..T and `y` in 0..K."""
        abar = self.schedule.alpha_bar[self.schedule.check_t(t)]
        law = noised(self.components, t, self.schedule)
        inverse = np.linalg.inv(law.covs)
        log_p = law.log_class_probability(xt)  # (n, C)
        belongs = (self.class_of == y[:, None]) | (y[:, None] == self.num_classes)
        log_p = np.where(belongs, log_p, -np.inf)
        largest = log_p.max(1, keepdims=True)  # avoids underflow
        p = np.exp(log_p - largest)
        p = p / p.sum(1, keepdims=True)
        eps = np.zeros_like(xt)
        for j in range(len(self.class_of)):
            score_j = -(xt - law.means[j]) @ inverse[j]
            eps_j = -np.sqrt(1 - abar) * score_j
            eps = eps + p[:, [j]] * eps_j  # (14.1)
        return eps


def two_modes(other: float = 0.0, mode: float = 2.0, rare: float = 0.3) -> GaussianMixture:
    """Three components of variance 0.1, at `mode`, `-mode` and `other` on the first axis.

    The first two are class 0, in the proportion `1 - rare` to `rare`. The third is class 1. Both
    classes are equally frequent.
    """
    if not 0 < rare < 1:
        raise ValueError(f"rare = {rare} is outside (0, 1); take the fraction of the second mode")
    means = np.array([[mode, 0.0], [-mode, 0.0], [other, 0.0]])
    covs = np.tile(0.1 * np.eye(2), (3, 1, 1))
    weights = np.array([(1 - rare) / 2, rare / 2, 0.5])
    return GaussianMixture(means, covs, weights)


CLASS_OF = np.array([0, 0, 1])  # the classes of the components of `two_modes`


def tilted_fractions(
    components: GaussianMixture,
    class_of: Int[np.ndarray, " C"],
    y: int,
    w: float,
    half: float = 8.0,
    n: int = 321,
) -> Float[np.ndarray, " C"]:
    """The fraction of each component in the tilted distribution of class `y`; `w` >= 0.

    The means over the components are sums over `n` x `n` points of the square -half..half.
    """
    if not w >= 0:
        raise ValueError(f"w = {w} is below 0; the means may then be infinite")
    axis = np.linspace(-half, half, n)
    x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    p = np.exp(components.log_class_probability(x))  # (n * n, C)
    of_class = p[:, class_of == y].sum(1)
    fractions = np.zeros(len(class_of))
    for j in np.flatnonzero(class_of == y):
        density = np.exp(components.log_density(x, int(j)))
        kept = (density * of_class**w).sum() / density.sum()
        fractions[j] = components.weights[j] * kept
    return fractions / fractions.sum()  # (14.2)


def boundary_of_modes(
    model: Denoiser, y: int, schedule: Schedule, w: float, cut: float = 0.0
) -> float:
    """The start on the first axis whose chain without noise ends at `cut`, to 1e-5.

    The classes must be symmetric in the second coordinate, so that a chain that starts on the
    first axis remains on it. The interval that contains the start, at first -6..6, is divided into
    16 parts in each round. If all chains of the first round end above `cut`, the result is -inf. If
    all end below it, the result is inf.
    """
    low = -6.0
    high = 6.0
    while high - low > 2e-5:
        starts = np.zeros((17, 2))
        starts[:, 0] = np.linspace(low, high, 17)
        _, ends = last(steps_without_noise(model, np.full(17, y), schedule, w, starts))
        if not (np.diff(ends[:, 0]) > 0).all():
            raise ValueError(f"w = {w}: chains cross each other; take a schedule with more steps")
        first_above = int(np.searchsorted(ends[:, 0], cut))
        if not 0 < first_above < 17:
            return -np.inf if first_above == 0 else np.inf
        low = float(starts[first_above - 1, 0])
        high = float(starts[first_above, 0])
    return (low + high) / 2


def fraction_below(
    model: Denoiser, y: int, schedule: Schedule, w: float, cut: float = 0.0
) -> float:
    """The fraction of samples of class `y` below `cut` on the first axis, without fresh noise.

    The second coordinate must have the same distribution in all components.
    """
    boundary = boundary_of_modes(model, y, schedule, w, cut)
    return float(ndtr(boundary))  # (14.3)


def first_guess(
    mu_y: Float[np.ndarray, " 2"], m: Float[np.ndarray, " 2"], w: float
) -> Float[np.ndarray, " 2"]:
    """The guided guess of the data at the noise end, from the means of the class and of all."""
    return mu_y + w * (mu_y - m)  # (14.4)


def move_apart(mixture: GaussianMixture, c: float) -> GaussianMixture:
    """The same classes with their means `c` times as far apart; `c` > 0."""
    if not c > 0:
        raise ValueError(f"c = {c} is not above 0")
    return GaussianMixture(c * mixture.means, mixture.covs, mixture.weights)


def remains_with_noise(S_y: float, tau: float) -> float:
    """The factor by which the ancestral chain reduces a displacement made at noise level `tau`."""
    return S_y / (S_y + tau)  # (14.5)


def remains_without_noise(S_y: float, tau: float) -> float:
    """The same for the chain without fresh noise."""
    return float(np.sqrt(S_y / (S_y + tau)))  # (14.6)


def remaining_push(c: float, S_y: float) -> tuple[float, float]:
    """What remains of a push of size `c` at noise level `c ** 2`: with and without fresh noise."""
    tau = c**2
    with_noise = c * remains_with_noise(S_y, tau)
    without_noise = c * remains_without_noise(S_y, tau)
    return with_noise, without_noise  # (14.7)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step14_modes")
