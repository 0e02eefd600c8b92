r"""Step 04. One step back, if the data were known

**The question.** The forward process turns data into noise in small steps. To make new data we have
to go back. Going back means that we are given $x_t$ and have to draw $x_{t-1}$. This lesson solves
an easier problem first. Suppose that we are also given the data point $x_0$ that the chain started
from. Where was the chain one step before $x_t$? We cannot know it exactly, because every step adds
random noise. We can compute how probable each position is. The result is a conditional density,
$q(x_{t-1} | x_t, x_0)$. It is called the posterior, because it describes our knowledge of the
earlier state after the later one has been seen.

A program that makes new data does not know the data point. Step 5 finds a guess for it, and step 6
puts this guess into the formulas of this lesson.

**An example.** Let the data be single numbers, with $\alpha_t = 0.9$ and $\bar\alpha_{t-1} = 0.8$.
Then $\beta_t = 0.1$ and $\bar\alpha_t = 0.9 \cdot 0.8 = 0.72$. The data point is 1, and we see
$x_t = 0.2$. There are two clues about the state in between:

- The chain came from the data point 1. By step 3, the earlier state is a Gaussian with mean
  $\sqrt{0.8} \cdot 1 = 0.894$ and variance $1 - 0.8 = 0.2$.
- The chain went on to 0.2. By step 2, this last step multiplied the earlier state by $\sqrt{0.9}$
  and added noise of variance 0.1. Undoing the factor points to an earlier state near
  $0.2 / \sqrt{0.9} = 0.211$, with an uncertainty of variance $0.1 / 0.9 = 0.111$.

The second clue is more precise than the first, so it should count more. We now derive how much
more, and then come back to these numbers.

**Combining two clues.** Each clue is described by a function of $x_{t-1}$, and these two functions
have to be multiplied. (The next section derives this from Bayes' rule. Two arbitrary densities of
the same variable may not be combined in this way.) So we need the product of two Gaussian densities
of the same variable $x$. Let their means be $m_1$ and $m_2$, and their variances $v_1$ and $v_2$.
The logarithm of the product is a constant minus one half of

$$ (x - m_1)^2 / v_1 + (x - m_2)^2 / v_2 = (1/v_1 + 1/v_2) x^2 - 2 (m_1/v_1 + m_2/v_2) x + C $$

where $C$ does not contain $x$. This is a quadratic function of $x$. For a single Gaussian with mean
$m$ and variance $v$, the logarithm is a constant minus one half of another quadratic function:

$$ (x - m)^2 / v = (1/v) x^2 - 2 (m/v) x + m^2 / v $$

The two functions agree, up to a constant, if the coefficients of $x^2$ agree and the coefficients
of $x$ agree. This gives the variance and the mean of the product:

$$ 1 / v = 1 / v_1 + 1 / v_2 $$ (4.1)
$$ m = v (m_1 / v_1 + m_2 / v_2) $$ (4.2)

A constant in the exponent only changes the height of the curve, and a density is always scaled so
that its integral is 1. So the product of two Gaussian densities is proportional to a Gaussian
density. The reciprocal of a variance is called the precision. In words, precisions add, and the new
mean is the average of the two means, weighted by their precisions.

In the example the precisions are $1 / 0.2 = 5$ and $0.9 / 0.1 = 9$. The variance of the product is
$1 / 14 = 0.071$, and its mean is $(5 \cdot 0.894 + 9 \cdot 0.211) / 14 = 0.455$. This is the
posterior. It is narrower than either clue, because each clue adds information. The left panel of
the figure shows such a product, for other numbers.

**Bayes' rule.** Why is it right to multiply? The forward step gives the density of the later state
given the earlier one. Bayes' rule turns it into the density of the earlier state given the later
one. Here every density is also conditional on the data point:

$$ q(x_{t-1} | x_t, x_0) = q(x_t | x_{t-1}, x_0) q(x_{t-1} | x_0) / q(x_t | x_0) $$

We need this as a function of $x_{t-1}$. The denominator does not contain it, so it only scales the
result. In the first factor we may leave out $x_0$, because $x_t$ is made from $x_{t-1}$ and new
noise alone. (The chain is Markov, see step 2.) What remains is the product of the two clues:

$$ q(x_{t-1} | x_t, x_0) \propto q(x_t | x_{t-1}) q(x_{t-1} | x_0) $$

The sign $\propto$ means "equal up to a factor that does not depend on $x_{t-1}$". The density
$q(x_{t-1} | x_0)$ is the first clue, which comes from the data point. By step 3 it is a Gaussian in
$x_{t-1}$, with mean $\sqrt{\bar\alpha_{t-1}} x_0$ and variance $1 - \bar\alpha_{t-1}$. The density
$q(x_t | x_{t-1})$ is the second clue, which comes from the later state. By step 2 it is a Gaussian
in $x_t$, and we need it as a function of $x_{t-1}$. Its exponent contains the square of a
difference. Take the factor $\sqrt{\alpha_t}$ out of this square:

$$ (x_t - \sqrt{\alpha_t} x_{t-1})^2 = \alpha_t (x_{t-1} - x_t / \sqrt{\alpha_t})^2 $$

The exponent of $q(x_t | x_{t-1})$ is minus one half of this square, divided by $\beta_t$. The right
side shows that it is the exponent of a Gaussian in $x_{t-1}$, with mean $x_t / \sqrt{\alpha_t}$ and
variance $\beta_t / \alpha_t$. The forward step multiplied the earlier state by $\sqrt{\alpha_t}$.
Dividing by this factor undoes it, and magnifies the noise too:

$$ q(x_t | x_{t-1}) \propto N(x_{t-1}; x_t / \sqrt{\alpha_t}, (\beta_t / \alpha_t) I) $$ (4.3)

The left side is a density of $x_t$. Taken as a function of $x_{t-1}$, it is called a likelihood. It
is not yet the posterior, because it does not use $x_0$. Here $N(x; m, v I)$ is the density at $x$
of a Gaussian with mean $m$ and variance $v$ in every coordinate. Every covariance in this lesson is
a multiple of the identity $I$. So the formulas for one number hold for each coordinate separately.

**The variance.** Let $\tilde\beta_t$ be the variance of the posterior. (This is the symbol of the
papers. In the code it is `posterior_var`.) By (4.1) the two precisions add:

$$ 1 / \tilde\beta_t = \alpha_t / \beta_t + 1 / (1 - \bar\alpha_{t-1}) $$

We bring the right side to the common denominator $\beta_t (1 - \bar\alpha_{t-1})$. The numerator
becomes simple, because $\alpha_t + \beta_t = 1$ and $\alpha_t \bar\alpha_{t-1} = \bar\alpha_t$:

$$ \alpha_t (1 - \bar\alpha_{t-1}) + \beta_t = 1 - \bar\alpha_t $$

Taking the reciprocal gives the variance:

$$ \tilde\beta_t = \beta_t (1 - \bar\alpha_{t-1}) / (1 - \bar\alpha_t) $$ (4.4)

**The mean.** By (4.2) each clue contributes its mean, times its precision, times $\tilde\beta_t$.
The first clue has the precision $1 / (1 - \bar\alpha_{t-1})$, and its mean is a multiple of the
data point. So the data point enters with the coefficient

$$ c_0 = \tilde\beta_t \sqrt{\bar\alpha_{t-1}} / (1 - \bar\alpha_{t-1}) $$

and inserting (4.4) cancels $1 - \bar\alpha_{t-1}$. The second clue has the precision
$\alpha_t / \beta_t$ and the mean $x_t / \sqrt{\alpha_t}$. So the later state enters with the
coefficient

$$ c_t = \tilde\beta_t \sqrt{\alpha_t} / \beta_t $$

and inserting (4.4) cancels $\beta_t$. The two coefficients and the posterior are

$$ c_0 = \sqrt{\bar\alpha_{t-1}} \beta_t / (1 - \bar\alpha_t) $$ (4.5)
$$ c_t = \sqrt{\alpha_t} (1 - \bar\alpha_{t-1}) / (1 - \bar\alpha_t) $$ (4.6)
$$ q(x_{t-1} | x_t, x_0) = N(x_{t-1}; c_0 x_0 + c_t x_t, \tilde\beta_t I) $$ (4.7)

In the example these formulas give 0.319 and 0.678 for the coefficients and 0.0714 for the variance.
The mean is $0.319 \cdot 1 + 0.678 \cdot 0.2 = 0.455$, as before. The result holds for data of any
distribution. The data point is given, so its distribution was never used.

**The coefficients along the chain.** Take the linear schedule with 100 steps, where $\beta_t$ grows
from 0.001 to 0.2. At $t = 80$ the first clue has the precision 1.001 and the second has
$0.840 / 0.160 = 5.3$. The mean of the first clue is only $0.036 x_0$ there. So the data point has
the coefficient 0.006 and the later state has 0.916. At $t = 2$ the coefficients are 0.75 and 0.25.
The middle panel of the figure shows both coefficients for all $t$. In general they do not add up
to 1. What they obey follows from the law of total expectation: for a given data point, the average
of the posterior mean over $x_t$ is the mean of $x_{t-1}$. By step 3 the mean of $x_t$ is
$\sqrt{\bar\alpha_t} x_0$. So the average is $(c_0 + c_t \sqrt{\bar\alpha_t}) x_0$. The mean of
$x_{t-1}$ is $\sqrt{\bar\alpha_{t-1}} x_0$. Therefore
$c_0 + c_t \sqrt{\bar\alpha_t} = \sqrt{\bar\alpha_{t-1}}$.

**Two variances that differ.** The forward step adds noise of variance $\beta_t$. The variance of
the posterior is smaller by the factor

$$ \tilde\beta_t / \beta_t = (1 - \bar\alpha_{t-1}) / (1 - \bar\alpha_t) $$

which is below 1, because $\bar\alpha_t$ decreases with $t$. There is also a case in which the
variance of a step back is $\beta_t$ itself. Suppose that the data are $N(0, I)$ and that only the
later state is known. Then the two neighbouring states both have variance 1, and their correlation
is $\sqrt{\alpha_t}$ (step 2). If two jointly Gaussian variables have variance 1, the variance of
one given the other is 1 minus the squared correlation. Here this is $1 - \alpha_t = \beta_t$.
Knowing the data point in addition leaves less uncertainty. For other data the variance given the
later state alone can be different (step 6). The variance of the posterior depends neither on the
distribution of the data nor on the two points that are given.

On the linear schedule with 100 steps the factor is 0.25 at $t = 2$, 0.92 at $t = 20$ and 0.9998 at
$t = 80$. So the two variances differ clearly only in the last steps of the way back, which are
close to the data. In these steps both variances are small. The right panel of the figure shows the
factor.

**At the boundary.** At $t = 1$ the earlier state is the data point itself, and it is given. So the
posterior has to be a single point. The derivation needs $t \ge 2$, because it divides by
$1 - \bar\alpha_{t-1}$. The three formulas also hold at $t = 1$. With $\bar\alpha_0 = 1$ and
$1 - \bar\alpha_1 = \beta_1$ they become

$$ t = 1: \quad c_0 = 1, \quad c_t = 0, \quad \tilde\beta_1 = 0 $$ (4.8)

**What goes wrong.** Three mistakes are common. The first is to use $\beta_t$ where (4.4) has
$\tilde\beta_t$. On the schedule above it is four times too large at $t = 2$, and at $t = 1$ it is
not 0. (In step 6 the data point is unknown. There $\beta_t$ can be a good choice for $t \ge 2$.)
The second mistake concerns a table without an entry for $t = 0$. Then $\bar\alpha_t$ is
`abar[t - 1]` and $\bar\alpha_{t-1}$ is `abar[t - 2]`. At $t = 1$ this index is $-1$, and Python
reads the last entry, $\bar\alpha_T$, without an error. The third mistake is to weight each mean by
its own variance. Then the less precise clue counts more.

**Where it goes on.** The mean of the posterior contains the data point. When we make new data we
have only $x_t$. What is the best guess of the data point that can be made from it? This is the
question of step 5.

**Source.** Ho et al. 2020, arXiv:2006.11239, eqs. 6 and 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Gaussian, Schedule

if TYPE_CHECKING:
    from jaxtyping import Float


def product(g1: Gaussian, g2: Gaussian) -> Gaussian:
    """The Gaussian proportional to the product of two densities of the same variable.

    Numerator and denominator are multiplied by both variances, so that one of them may be 0.
    """
    both = g1.var + g2.var
    var = g1.var * g2.var / both  # (4.1)
    mean = (g2.var * g1.mean + g1.var * g2.mean) / both  # (4.2)
    return Gaussian(mean, var)


def likelihood_of_xprev(xt: Float[np.ndarray, "*n D"], t: int, schedule: Schedule) -> Gaussian:
    """The Gaussian in `x_{t-1}` that `q(x_t | x_{t-1})` is proportional to, for `t` in 1..T.

    >>> g = likelihood_of_xprev(np.array([0.8, 0.0]), 1, Schedule(np.array([0, 0.36])))
    >>> g.mean, round(g.var, 4)
    (array([1., 0.]), 0.5625)
    """
    alpha = schedule.alpha[schedule.check_t(t)]
    beta = schedule.beta[t]
    return Gaussian(xt / np.sqrt(alpha), float(beta / alpha))  # (4.3)


def posterior_coefficients(t: int, schedule: Schedule) -> tuple[float, float, float]:
    """`c_0`, `c_t` and the variance `posterior_var` at time `t` in 1..T."""
    schedule.check_t(t)
    beta = schedule.beta[t]
    alpha = schedule.alpha[t]
    abar = schedule.alpha_bar[t]
    abar_prev = schedule.alpha_bar[t - 1]
    # At t = 1, abar_prev = 1, so that c_0 = 1, c_t = 0 and the variance is 0 (4.8).
    posterior_var = beta * (1 - abar_prev) / (1 - abar)  # (4.4)
    c_0 = np.sqrt(abar_prev) * beta / (1 - abar)  # (4.5)
    c_t = np.sqrt(alpha) * (1 - abar_prev) / (1 - abar)  # (4.6)
    return float(c_0), float(c_t), float(posterior_var)


def q_posterior(
    x0: Float[np.ndarray, "*n D"], xt: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Gaussian:
    """The distribution of `x_{t-1}` given `x_0` and `x_t`, for `t` in 1..T.

    >>> schedule = Schedule.linear(10)
    >>> q_posterior(np.array([2.0, 1.0]), np.array([0.5, 0.5]), 1, schedule).mean  # t = 1: x_0
    array([2., 1.])
    """
    c_0, c_t, posterior_var = posterior_coefficients(t, schedule)
    mean = c_0 * x0 + c_t * xt
    return Gaussian(mean, posterior_var)  # (4.7)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step04_posterior")
