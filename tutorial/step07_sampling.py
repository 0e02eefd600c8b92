r"""Step 07. Sampling: the loop, and its error with T steps

**The question.** We can go one step back from any $x_t$. To make a new data point we repeat this
step until nothing is left to undo. Where does the loop start, what exactly happens in it, and is
the result distributed like the data? A program that draws new data in this way is called a sampler.

**The loop.** After many forward steps almost nothing of the data point is left. For the linear
schedule with 1000 steps, step 3 found that $x_T$ has nearly the variance 1 and the mean
$0.0064 x_0$. So the distribution of $x_T$ is nearly the standard normal distribution, for data of
ordinary size. It is easy to draw from, and we start there:

$$ x_T \sim N(0, I) $$ (7.1)

Then we take the reverse step of step 6 for $t = T, T - 1, \dots, 1$. Each step evaluates the model
once, turns its output into the guess $\hat x_0$, and draws from the Gaussian of the model with a
new standard normal $z$:

$$ x_{t-1} = c_0 \hat x_0 + c_t x_t + \sqrt{\tilde\beta_t} z, \quad z \sim N(0, I) $$ (7.2)

The last state, $x_0$, is the sample. From here on $x_t$ is a state of this loop. It resembles a
state of the forward process, but it was not made from data. Without the details, the program is:

    x = standard normal numbers
    for t = T, T - 1, ..., 1:
        out = model(x, t, y)                        # the network, or the oracle of step 5
        x0hat = p_t x + q_t out                     # the guess; clipped if the data have bounds
        x = c_0 x0hat + c_t x + sqrt(posterior_var) z
    return x

This is called ancestral sampling. The label $y$ selects the class, and it is the same in all steps.
The left panel of the figure shows samples of three classes and one chain for each.

**Why not in one step?** The guess at pure noise is the mean of the data (step 5), for every start.
A loop of one step would return it. With more steps, the noise of each step has an influence on the
result. Here is one chain for the data 1 and -1 of step 6, with ten steps of the cosine schedule,
the exact guess, and noise from NumPy's generator with seed 4:

| $t$ | 10 | 9 | 8 | 7 | 6 | 5 | 4 | 3 | 2 | 1 |
|---|---|---|---|---|---|---|---|---|---|---|
| $x_t$ | -0.65 | -0.19 | 1.28 | 1.33 | 0.09 | 0.08 | -0.16 | -0.20 | -0.85 | -0.93 |
| guess | -0.00 | -0.03 | 0.41 | 0.64 | 0.08 | 0.11 | -0.35 | -0.68 | -1.00 | -1.00 |

The first guess is the mean of the data. The noise of the first steps happens to bring the state to
1.28, and the guess follows it to 0.64: at this point the chain would more probably end at 1. Then
noise brings it back to the middle, and to the other side. From $t = 4$ on the guess pulls the state
towards -1. New noise could still bring it back, but in this chain it does not, and the chain ends
there. Other chains end at 1. So the noise determines which data point a chain reaches. At small $t$
the guess is close to one of the two, and the last steps lead to it.

**An example.** Let the data be single numbers with distribution $N(0, 1/4)$, so that their standard
deviation is 0.5. For a Gaussian class with mean 0 and variance $S$, step 5 gives the exact guess
$\sqrt{\bar\alpha_t} S x_t / (\bar\alpha_t S + 1 - \bar\alpha_t)$. (Insert the score of a class into
Tweedie's formula.) Here $S = 1/4$. We run the loop with only two steps of the cosine schedule,
where $\bar\alpha_1 = 0.494$ and $\bar\alpha_2 = 0.0005$.

- At $t = 2$ the state $x_2$ has variance 1. The guess is $0.0056 x_2$, which is almost 0, the mean
  of the data. With $c_0 = 0.702$, $c_t = 0.016$ and $\tilde\beta_2 = 0.506$, the next state is
  $x_1 = 0.020 x_2 + 0.711 z$. It has variance 0.506.
- At $t = 1$ the guess is $0.279 x_1$, and it is returned. The sample has variance
  $0.279^2 \cdot 0.506 = 0.039$.

The samples have the right mean, but a standard deviation of 0.20 instead of 0.5. The guess was
exact in both steps, so this is an error of the loop and not of a network. Already at $t = 1$ the
variance is too small: the noised data have $0.494 / 4 + 0.506 = 0.630$ there.

**Where the variance is lost.** We compute the error of the variance for data $N(0, S)$ in one
dimension. (Appendix B does the same for Gaussian data with any mean in any dimension.) The exact
guess is a multiple of $x_t$, so each step of the loop multiplies $x_t$ by a number $A_t$ and adds
noise. To find $A_t$, let $C_t = \bar\alpha_t S + 1 - \bar\alpha_t$ be the variance of the noised
data. By step 6, the mean of the model's step is the true $E[x_{t-1} | x_t]$ of the forward process.
There $x_{t-1}$ and $x_t$ are jointly Gaussian with mean 0. So by the regression line of step 0 this
mean is $x_t$ times $Cov(x_{t-1}, x_t) / Var(x_t)$. The forward step is $\sqrt{\alpha_t} x_{t-1}$
plus independent noise, so the covariance is

$$ Cov(x_{t-1}, x_t) = \sqrt{\alpha_t} C_{t-1} $$

and therefore

$$ A_t = \sqrt{\alpha_t} C_{t-1} / C_t $$ (7.3)

Let $V_t$ be the variance of the state of the loop at time $t$. It starts at $V_T = 1$ by (7.1), and
by (7.2) it changes in each step by

$$ V_{t-1} = A_t^2 V_t + \tilde\beta_t $$ (7.4)

Now let $x_{t-1}$ and $x_t$ be states of the forward process, with the variances $C_{t-1}$ and
$C_t$. By the law of total variance, $C_{t-1}$ is the variance of the conditional mean $A_t x_t$
plus the true variance of the step. By step 6 the true variance has two terms:

$$ C_{t-1} = A_t^2 C_t + \tilde\beta_t + c_0^2 Var(x_0 | x_t) $$

The loop leaves out the last term. For jointly Gaussian variables, the variance of $x_0$ given $x_t$
is $Var(x_0)$ minus $Cov(x_0, x_t)^2 / Var(x_t)$. Here $Var(x_0) = S$, and the covariance is
$\sqrt{\bar\alpha_t} S$:

$$ Var(x_0 | x_t) = S - \bar\alpha_t S^2 / C_t = (1 - \bar\alpha_t) S / C_t $$

Let $G_t = C_t - V_t$ be the variance that is missing at time $t$. Subtracting the two recursions
gives

$$ G_{t-1} = A_t^2 G_t + c_0^2 (1 - \bar\alpha_t) S / C_t $$ (7.5)

Every added term is positive. The start, $G_T = C_T - 1 = \bar\alpha_T (S - 1)$, is almost 0. For
$S < 1$ it is negative. It contributes $G_T$ times the product of all $A_t^2$ to $G_0$. By (7.3)
this product is $\bar\alpha_T S^2 / C_T^2$. For $S < 1$ we have $S \le C_T$ and
$1 - \bar\alpha_T \le C_T$, so the size of the contribution, $\bar\alpha_T^2 (1 - S) S^2 / C_T^2$,
is at most $\bar\alpha_T^2 S / (1 - \bar\alpha_T)$. The last step alone adds $\beta_1 S / C_1$,
which is at least $\beta_1 S$ because $C_1 \le 1$. So the samples have less variance than the data
if $\bar\alpha_T^2 / (1 - \bar\alpha_T)$ is smaller than $\beta_1$. This holds on both schedules for
$T$ from 2 to a million. It does not hold on the linear schedule with $T = 1$: there
$\bar\alpha_T = 0.9$, and for $S = 1/4$ the samples have the variance 0.53. In a chain of very small
steps $\beta_1$ is very small, so the condition can fail for a small $\bar\alpha_T$ too. With
$\bar\alpha_T = 0.1$ and 50,000 equal $\beta_t$ the variance is 0.2502, again too large. The middle
panel of the figure shows $V_t$ and $C_t$ along the loop.

**How the error falls with the number of steps.** With more steps $\beta_t$ at a given noise level
becomes smaller in proportion to $1 / T$. The loss of one step contains $c_0^2$, which is
proportional to $\beta_t^2$ there. So each step in the middle of the chain loses an amount of the
order $1 / T^2$. The number of these steps is proportional to $T$, so together they lose an amount
of the order $1 / T$. The last steps are different: at $t = 1$ there is always $c_0 = 1$, and the
loss is about $\beta_1$. On the linear schedule it is about $\beta_1 / t$ for the next few $t$, as
long as $\beta_t$ is close to $\beta_1$. Then $1 - \bar\alpha_t$ is about $t \beta_1$, and
$\bar\alpha_{t-1}$ and $S / C_t$ are close to 1. So $c_0$ is about $1 / t$, and the loss in (7.5) is
about $t \beta_1 / t^2$. For very large $T$ the sum of these losses grows like $\beta_1 \log T$, and
$\beta_1$ is of the order $1 / T$. So the whole loss is $1 / T$ times a number that grows slowly
with $T$. For $S = 1/4$, (7.4) gives:

| $T$ | 10 | 20 | 50 | 100 | 200 | 1000 |
|---|---|---|---|---|---|---|
| variance of the samples, linear schedule | 0.091 | 0.148 | 0.197 | 0.219 | 0.233 | 0.246 |
| variance of the samples, cosine schedule | 0.151 | 0.187 | 0.219 | 0.233 | 0.241 | 0.248 |

On the linear schedule the missing variance $G_0$ is $3.1 / T$ at $T = 100$, $3.9 / T$ at $T = 1000$
and $4.1 / T$ at $T = 4000$. On the cosine schedule the numbers are 1.7, 2.0 and 2.1. They depend on
the data: for $S = 4$ and $T = 1000$ they are 25 and 17. For $S = 1/4$ the samples of 100 steps have
12 % too little variance on the linear schedule and 7 % on the cosine schedule. With 1000 steps it
is 1.5 % and 0.8 %. The right panel of the figure shows $G_0$ for both schedules.

**The mean, and mixtures.** For Gaussian data the guess is an affine function of $x_t$, so the error
of the variance does not reach the mean. The mean of the samples is wrong only because the loop
starts with mean 0, and not with the mean of $x_T$. For a mixture the guess is not affine. Then an
error of the variance leads to wrong means and wrong fractions of the classes in general. (For the
data 1 and -1 both are right, by symmetry.) An example in one dimension has 90 % of the data near
-0.5 and 10 % near 1.5, both with variance 0.01. The mean of the data is -0.30. We computed the
density of the loop on a grid of states, without a label, with the exact guess and the linear
schedule. The mean is -0.346 with $T = 20$ and -0.310 with $T = 100$. The rare class has 7.6 % and
9.5 % of the probability. The error falls about like $1 / T$ here too.

All this holds for the exact guess. A trained network makes errors as well. When a later lesson
measures how far samples are from a distribution, a part of the distance may be this effect of
finite $T$.

**At the boundary.** At $t = 1$ we have $c_0 = 1$, $c_t = 0$ and $\tilde\beta_1 = 0$, and (7.2)
returns the guess itself:

$$ x_0 = \hat x_0(x_1) $$ (7.6)

**What goes wrong.** A typical mistake is to add noise in the last step as well, of variance
$\beta_1$. In images it is grain (step 6). In the toy data it is hard to see, because it is smaller
than the error of the loop. With 50 linear steps $\beta_1$ is 0.002. For $S = 1/4$ the mistake
changes the variance of the samples from 0.197 to 0.199, even towards the 0.25 of the data. The
relative change is 1 %. If $n$ samples are Gaussian, the standard error of their variance is
$\sqrt{2 / n}$ times the variance. So with $n = 20000$ samples this change is only one standard
error. A test of the last step alone finds the mistake with one sample: set the last $z$ to a
million and see whether the sample moves. Other mistakes are to skip the step at $t = 1$, to use the
same $z$ in all steps, and to use $x_t$ in the place of $z$.

**Where it goes on.** The loop needs a model of the best guess. For toy data the oracle of step 5 is
one. For images the guess has to be learned. What exactly is trained, and with which weights for the
different $t$? This is step 8. The functions of this lesson also have a parameter `w`. It belongs to
step 11, and until then it is 0.

**Source.** Ho et al. 2020, arXiv:2006.11239, alg. 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser, Normals, last
from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step06_reverse import p_xprev_given_xt

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def ancestral_steps(
    model: Denoiser, y: Int[np.ndarray, " n"], schedule: Schedule, w: float, rng: Normals
) -> Iterator[tuple[int, Float[np.ndarray, "n 2"]]]:
    """Yield `(t, x_t)` for t = T..0, one chain per label of `y` in 0..K; `rng` draws T + 1 times.

    `w` is the weight of guidance, which step 11 explains; with 0 there is none.
    """
    null = np.full_like(y, model.num_classes)
    xt = rng.standard_normal((len(y), 2))  # (7.1)
    yield schedule.T, xt
    for t in range(schedule.T, 0, -1):
        out = model(xt, t, y)
        if w != 0:
            out_null = model(xt, t, null)
            out = (1 + w) * out - w * out_null  # step11_guidance.guide
        law = p_xprev_given_xt(xt, out, t, schedule, model.prediction)
        z = rng.standard_normal(xt.shape)
        # At t = 1 the variance is 0, so that x_0 is the guess of the data (7.6).
        xt = law.mean + np.sqrt(law.var) * z  # (7.2)
        yield t - 1, xt


def ancestral_sample(
    model: Denoiser, y: Int[np.ndarray, " n"], schedule: Schedule, w: float, rng: Normals
) -> Float[np.ndarray, "n 2"]:
    """One sample for each label in `y`, in 0..K, with guidance weight `w` (step 11).

    >>> from tutorial.step01_toy_data import three_gaussians
    >>> from tutorial.step05_best_guess import oracle_eps
    >>> model = oracle_eps(three_gaussians(), Schedule.cosine(10))
    >>> y, rng = np.array([0, 1, 2]), np.random.default_rng(0)
    >>> ancestral_sample(model, y, Schedule.cosine(10), 0.0, rng).shape
    (3, 2)
    """
    _, x0 = last(ancestral_steps(model, y, schedule, w, rng))
    return x0


def loop_variance(
    var_x0: float, schedule: Schedule
) -> tuple[Float[np.ndarray, " T1"], Float[np.ndarray, " T1"]]:
    """`V`, the variance of `x_t` in the loop, and `G`, what it lacks, for t = 0..T.

    The data are N(0, var_x0) in one dimension, with `var_x0` >= 0, and the guess is exact.

    >>> V, G = loop_variance(0.25, Schedule.cosine(2))
    >>> V.round(3)
    array([0.039, 0.506, 1.   ])
    >>> (V + G).round(3)  # the noised data
    array([0.25, 0.63, 1.  ])
    """
    if not var_x0 >= 0:
        raise ValueError(f"var_x0 = {var_x0} is negative; a variance is at least 0")
    S = var_x0
    abar = schedule.alpha_bar
    C = abar * S + 1 - abar
    V = np.ones_like(C)
    G = C - V
    for t in range(schedule.T, 0, -1):
        c_0, _, posterior_var = posterior_coefficients(t, schedule)
        A = np.sqrt(schedule.alpha[t]) * C[t - 1] / C[t]  # (7.3)
        V[t - 1] = A**2 * V[t] + posterior_var  # (7.4)
        G[t - 1] = A**2 * G[t] + c_0**2 * (1 - abar[t]) * S / C[t]  # (7.5)
    return V, G


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step07_sampling")
