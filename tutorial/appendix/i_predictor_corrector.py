r"""Appendix I. Predictor and corrector: what the noise of a guided chain pulls towards

**The question.** With the exact denoiser of a class, DDIM and DDPM both sample the class if their
steps are small. With guidance they do not agree. In the example of appendix H, DDIM of weight 2
ends with the variance 0.25 and DDPM with 0.3875. The tilted distribution, which guidance is meant
to sample, has 0.5. Both chains follow one score, and DDPM adds noise. There is another method that
follows a score and adds noise. It is called Langevin dynamics, and its steps stay at one noise
level. Many small steps of it lead to the distribution whose score they follow (appendix J). Is
there a Langevin step inside each step of DDPM? And to which distribution does it lead?

**Notation.** The letters are those of appendix H. The state is $x = x_t / \sqrt{\bar\alpha_t}$, and
$\tau = (1 - \bar\alpha_t) / \bar\alpha_t$ is the variance of its noise. The scores of the noisy
class and of all noisy data are $s_y$ and $s$, and $s_w = (1 + w) s_y - w s$ is the guided score of
weight $w$. A step leads from the level $\tau$ to the next smaller level $\tau'$, and
$\delta = \tau - \tau'$ is its size. (In appendix H, $\delta$ was this difference divided by
$\tau$.) The letter $z$ is a standard normal vector, which is drawn anew for each use. A Langevin
step of size $\delta$ with the weight $b$ adds $\delta s_b / 2 + \sqrt\delta z$ to the state. The
first term is called its drift.

**An example.** Consider the first coordinate of the example of appendix H. The class is $N(1, 1)$,
and all data are $N(0, 2)$. At the level $\tau = 1$ noise has made the variances 2 and 3. So at
$x = 2$ the scores are -1/2 for the class and -2/3 for all data. Let the size of the step be
$\delta = 0.06$.

| weight | 0 | 2 | 4 |
|---|---|---|---|
| guided score | -1/2 | -1/6 | 1/6 |
| size times score | -0.03 | -0.01 | 0.01 |

The score of weight 2 is the mean of its two neighbours in the table. DDPM of weight 2 moves by
-0.01 and adds noise. DDIM without guidance moves by half of -0.03, which is -0.015. The difference
of the two moves is -0.01 + 0.015 = 0.005. This is half of 0.01, so it is the drift of a Langevin
step of weight 4. It is positive, because it pulls towards the tilted distribution of weight 4. By
(11.9) with the variances 2 and 3, that distribution has the mean 2.14, which lies beyond 2.
The next two sections show that such a split always exists.

**Two weights.** Collect the terms of the guided score that contain the weight:

$$ s_w = s_y + w (s_y - s) $$

So the guided score is a constant plus a multiple of the weight. Take any two weights $a$ and $b$.
The mean of their scores is

$$ (s_a + s_b) / 2 = s_y + ((a + b) / 2) (s_y - s) $$

Compare the two lines. They agree if the mean of $a$ and $b$ is $w$:

$$ s_w = (s_a + s_b) / 2, \quad a + b = 2 w $$ (I.1)

Nothing has been assumed about the data. The scores need not even be exact, so this holds for the
predictions of a network, too.

**The split of a step.** For small $\delta$ a step of DDPM moves the state by
$\delta s_w + \sqrt\delta z$, which is (H.6). A step of DDIM with the weight $a$ moves it by
$\delta s_a / 2$, which is (H.5). Insert (I.1) into the step of DDPM:

$$ \delta s_w + \sqrt\delta z = \delta s_a / 2 + (\delta s_b / 2 + \sqrt\delta z) $$ (I.2)

So DDPM makes the other two moves at once. What does each of them do alone? The DDIM step takes the
state to the next level and is called the predictor. The Langevin step is called the corrector. Many
small correctors at one fixed level lead to the distribution whose score is $s_b$. (By (J.1) they
keep this distribution, and by (J.5) they bring other distributions closer to it.) By (11.7) it is
the tilted distribution of weight $b$ at that level. Its density is proportional to
$p(x | y)^{1 + b} p(x)^{-b}$, where both densities are those with noise. The integral of this
product has to be finite. For $a = 10$ and $b = -6$ it is infinite at the level 1 of the example.
Then (I.2) still holds, but the Langevin steps lead to no distribution.

Bradley and Nakkiran choose $a = 0$ and $b = 2 w$. Then the predictor is DDIM without guidance, and
the corrector leads towards the tilted distribution of twice the weight. In the other convention the
scale of DDPM is $\gamma = 1 + w$, and the scale of the corrector is $1 + 2 w = 2 \gamma - 1$. In
the example these are 3 and 5. The choice $a = b = w$ is the one that one would write down first:
DDIM and a corrector, both with the weight of DDPM. Both choices describe the same DDPM. So DDPM
alone does not determine to which distribution its Langevin step leads. The split determines it.

**Why only for small steps.** In (I.2) all scores are evaluated at the same state and level. A
sampler makes the two moves one after the other. It evaluates $s_b$ at the state and the level that
the predictor has reached. Both have changed by an amount proportional to $\delta$. If the scores
are smooth,

$$ s_b(x + \delta s_a / 2, \tau - \delta) = s_b(x, \tau) + O(\delta) $$

This score is multiplied by $\delta / 2$, so one step changes by $O(\delta^2)$. A given interval of
$\tau$ contains of the order of $1 / \delta$ steps, and their changes add up to $O(\delta)$. In the
example above the predictor leads to the state 1.985 at the level 0.94. There the score of weight 4
is 0.1620 and not 0.1667. The two moves add up to -0.01014 and not to -0.01.

The noise of DDPM is also slightly different. Its variance is that of the posterior of step 4:

$$ \delta \tau' / \tau = \delta - \delta^2 / \tau $$

The ratio of this to $\delta$ tends to 1. The claim of this appendix is therefore one about a limit.
Take DDPM of weight $w$, and chains of a predictor and one corrector per level with $a + b = 2 w$.
Let them lead from one fixed level to another with the same start, and let the scores between these
levels be smooth, with bounded derivatives. As the levels become finer, the distributions at the end
of all these chains converge to the same one. (The bound on the derivatives ensures that the later
steps multiply a change by a bounded factor only.)

**Exactly, for two Gaussians.** How far from the limit is a real chain, and what changes with more
than one corrector per level? Let the class have the covariance $S_y I$, and let all data have the
mean 0 and the covariance $S I$. At the level $\tau$ the guided score is then
$s_w = -k_w (x - M_w)$, if $k_w$ is not 0. The vector $M_w$ is called $h$ in appendix H. It does not
depend on $x$. In the two scores $-x$ has the factors $1 / (S_y + \tau)$ and $1 / (S + \tau)$. So in
the guided score it has the factor

$$ k_w(\tau) = (1 + w) / (S_y + \tau) - w / (S + \tau) $$

Where it is positive, it is the precision of the tilted distribution of this level, that is, the
reciprocal of its variance (11.9). The predictor at $\tau$, and the drift of a corrector at $\tau'$,
lead from $x$ to

$$ x + \delta s_a / 2 = (1 - \delta k_a(\tau) / 2) x + \delta k_a(\tau) M_a / 2 $$
$$ x + \delta s_b / 2 = (1 - \delta k_b(\tau') / 2) x + \delta k_b(\tau') M_b / 2 $$

The last term of each line is a constant, so it does not change the variance $V$ of a coordinate.
The variance is multiplied by the square of the factor of $x$. The noise of the corrector is
independent of the state, and its variance $\delta$ is added. So one level with $n$ correctors
replaces $V$ by

$$ V \leftarrow (1 - \delta k_a(\tau) / 2)^2 V $$ (I.3)
$$ V \leftarrow (1 - \delta k_b(\tau') / 2)^2 V + \delta, \quad n \text{ times} $$ (I.4)

The table shows the variance at the end for weight 2 and one corrector per level. The chains start
at $\tau = 10^4$ with the variance $10^4$ and end at $10^{-4}$. The ratio of neighbouring levels is
constant. We count the levels without the first one, which is the number of steps. The last row is
DDPM itself, with the noise of the posterior.

| levels | 50 | 100 | 400 | 1600 |
|---|---|---|---|---|
| a = 0, b = 4 | 0.4023 | 0.3943 | 0.3892 | 0.3879 |
| a = 2, b = 2 | 0.4302 | 0.4083 | 0.3926 | 0.3888 |
| a = 4, b = 0 | 0.4522 | 0.4184 | 0.3950 | 0.3894 |
| DDPM | 0.3118 | 0.3473 | 0.3770 | 0.3849 |

All rows tend to 0.3876. At $\tau = 0$ the limit is 0.3875, the value of (H.3). There $k_w = 2$, and
by (I.5) below the variance has the slope $2 \cdot 2 \cdot 0.3875 - 1 = 0.55$. So the limit at
$10^{-4}$ exceeds it by $5.5 \cdot 10^{-5}$. Four times as many levels divide the distance from the
limit by about four. With 50 levels the chains still differ by up to 0.14. The left panel of the
figure shows the four rows.

**More correctors.** Now let $n$ be any number. For small $\delta$ the squares in (I.3) and (I.4)
become

$$ (1 - \delta k / 2)^2 = 1 - \delta k + O(\delta^2) $$

Multiply the factors of one level, add the noise, and keep the terms of first order. From $\tau$ to
$\tau'$ the variance changes by

$$ V(\tau') - V(\tau) = -\delta (k_a + n k_b) V + n \delta + O(\delta^2) $$

Divide by $\tau' - \tau = -\delta$ and let $\delta$ go to 0:

$$ dV / d\tau = (k_a + n k_b) V - n $$ (I.5)

For $n = 1$ the two weights occur only in the sum $k_a + k_b$, which is $2 k_w$ by (I.1). So all
splits of one weight end with one variance. With more correctors they do not. Assume that $k_b$ is
positive, and let $V_b = 1 / k_b$ be the variance of the tilted distribution of weight $b$ at this
level. How far is $V$ from it for large $n$? Let $U = V - V_b$, and insert $V = V_b + U$ into (I.5).
The terms $n k_b V_b$ and $-n$ cancel, and $dV_b / d\tau$ goes to the right side:

$$ dU / d\tau = (k_a + n k_b) U + k_a V_b - dV_b / d\tau $$

On the way down to the data the first term reduces $U$, at a rate that grows with $n$. The other
terms do not depend on $n$. By itself the first term divides $U$ by $e$ on each interval of $\tau$
of length about $1 / (n k_b)$. About $\log n$ such intervals divide it by $n$. A few times $\log n$
intervals make what is left of the initial $U$ negligible. From there on the first term is as large
as the others, with the opposite sign. So $U$ is of the order of $1 / n$, and so are $dU / d\tau$
and $k_a U$. We neglect these two, and what remains is $0 = n k_b U + k_a V_b - dV_b / d\tau$. Solve
it for $U$, with $1 / k_b = V_b$. The two terms that were neglected change $U$ by something of the
order of $1 / n^2$:

$$ V \approx V_b + (dV_b / d\tau - k_a V_b) V_b / n $$ (I.6)

The first term contains only $b$. The mean $M$ of the samples behaves in the same way. By the two
lines before (I.3), one level changes it by $\delta k_a (M_a - M) / 2 + n \delta k_b (M_b - M) / 2$
to first order. So for large $n$ it is $M_b$ plus something of the order of $1 / n$. Many correctors
therefore lead to the tilted distribution of weight $b$, and the weight of the predictor does not
matter. In (I.6) the bracket compares two slopes. The first is that of the variance to which the
correctors lead. The second is that of the variance along the predictor alone, because (I.5) without
correctors is $dV / d\tau = k_a V$. If a predictor followed the tilted distributions from level to
level, the bracket would be 0, and no corrector would be necessary.

At $\tau = 0$ the bracket is 4/9 - 1/3 for $a = 0$ and $b = 4$. DDIM without guidance reduces the
variance too slowly, so the end is too wide, by $1 / (27 n)$. For $a = b = 2$ it is 5/8 - 1. Guided
DDIM reduces the variance too fast, and the end is too narrow, by $3 / (16 n)$. The table contains
the solutions of (I.5) for weight 2 at $\tau = 0$:

| correctors per level | 1 | 4 | 16 | 64 | tilted, weight b |
|---|---|---|---|---|---|
| a = 0, b = 4 | 0.3875 | 0.3434 | 0.3357 | 0.3339 | 0.3333 |
| a = 2, b = 2 | 0.3875 | 0.4595 | 0.4887 | 0.4971 | 0.5 |
| a = 4, b = 0 | 0.3875 | 0.6866 | 0.8917 | 0.9699 | 1 |

In the first column all splits have the variance of DDPM. With more correctors the variance falls in
the first row and rises in the other two (right panel). Only the second row tends to the tilted
distribution of weight 2, which has the variance 0.5. This sampler is the one of appendix K.

**At the boundary.** Without correctors the chain is DDIM of weight $a$. With $a = b = 0$ the
predictor and the corrector both follow the class, and in the limit every $n$ ends with its
variance, which is 1. The split $a = -1$, $b = 1$ also has the mean weight 0, and it ends with 1 for
one corrector per level. For four it ends with 0.7464.

Correctors that are repeated at one level converge only if $0 < \delta k_b(\tau') < 4$. Otherwise
the factor of $V$ in (I.4) is at least 1. For $b \ge 0$ and $S \ge S_y$ the precision is largest at
$\tau = 0$. So levels at a constant distance are too far apart near the data, if this distance is
larger than $4 / k_b(0)$. With 20 levels from 100 to 0 the distance is 5. For $b = 4$ it may be at
most 4/3, and the last corrector multiplies the variance by 42.25. The chain with $a = 0$ ends with
the variance 87.4. With 20 levels at a constant ratio, from 100 to $10^{-4}$, it ends with 0.422.

**What goes wrong.** The samples of DDPM of weight $w$ are taken for samples of the tilted
distribution of weight $2 w$. One corrector per level does not reach that distribution: 0.3875 is
not 0.3333. Nor is that distribution the only one towards which a Langevin step inside DDPM leads,
because another $a$ gives another $b$. The scale of the corrector is taken to be $2 \gamma$, which
is too large by one. More correctors with the weight $2 w$ are added in the hope of sampling the
weight $w$. In the table this moves the variance away from 0.5. The noise of the corrector gets the
factor $\delta$ and not its root. With 400 levels, $a = 0$ and $b = 4$ the variance is then 0.0299
and not 0.3892. The corrector is evaluated at the level that the predictor has left. In the limit
this makes no difference, but with 50 levels and $a = b = 2$ the variance is 0.4924 and not 0.4302.

**Where it goes on.** Appendix J shows why Langevin steps keep the tilted distribution of a level,
and why adding or removing noise does not lead from one level to the next. Appendix K chooses the
number and the size of the correctors.

**Source.** Bradley and Nakkiran 2024, arXiv:2408.09000, sec. 4 (the split with $a = 0$, in the
limit). Song et al. 2021, arXiv:2011.13456, sec. 4.2 (predictor and corrector). (I.6) is derived
here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.appendix.h_gaussian_pairs import score_at
from tutorial.contract import Normals
from tutorial.step02_forward import Gaussian

if TYPE_CHECKING:
    from jaxtyping import Float


def levels(steps: int, high: float = 1e4, low: float = 1e-4) -> Float[np.ndarray, " steps1"]:
    """`steps` + 1 variances of noise, from `high` down to `low`, with a constant ratio."""
    return np.geomspace(high, low, steps + 1)


def split_score(
    x: Float[np.ndarray, "n 2"],
    tau: float,
    a: float,
    b: float,
    given_y: Gaussian,
    var_all: float,
) -> Float[np.ndarray, "n 2"]:
    """The guided score of weight `(a + b) / 2`, from the scores of the weights `a` and `b`."""
    s_a = score_at(x, tau, a, given_y, var_all)
    s_b = score_at(x, tau, b, given_y, var_all)
    return (s_a + s_b) / 2  # (I.1)


def predictor_corrector_steps(
    x: Float[np.ndarray, "n 2"],
    taus: Float[np.ndarray, " levels"],
    a: float,
    b: float,
    n: int,
    given_y: Gaussian,
    var_all: float,
    rng: Normals,
) -> Iterator[Float[np.ndarray, "n 2"]]:
    """Yield `x` at each of the falling `taus` except the first.

    At each level: one predictor of weight `a`, then `n` correctors of weight `b`.
    """
    for tau, tau_next in pairwise(map(float, taus)):
        delta = tau - tau_next
        s_a = score_at(x, tau, a, given_y, var_all)
        x = x + delta * s_a / 2  # (I.2), the predictor
        for _ in range(n):
            s_b = score_at(x, tau_next, b, given_y, var_all)
            z = rng.standard_normal(x.shape)
            x = x + delta * s_b / 2 + np.sqrt(delta) * z  # (I.2), the corrector
        yield x


def precision(tau: float, w: float, given_y: Gaussian, var_all: float) -> float:
    """k_w: the factor of -x in the guided score of weight `w` at the level `tau`."""
    return (1 + w) / (given_y.var + tau) - w / (var_all + tau)


def chain_variance(
    taus: Float[np.ndarray, " levels"],
    a: float,
    b: float,
    n: int,
    given_y: Gaussian,
    var_all: float,
) -> float:
    """The variance with which `predictor_corrector_steps` ends, from the variance `taus[0]`."""
    var = float(taus[0])
    for tau, tau_next in pairwise(map(float, taus)):
        delta = tau - tau_next
        k_a = precision(tau, a, given_y, var_all)
        k_b = precision(tau_next, b, given_y, var_all)
        var = (1 - delta * k_a / 2) ** 2 * var  # (I.3)
        for _ in range(n):
            var = (1 - delta * k_b / 2) ** 2 * var + delta  # (I.4)
    return var


def ddpm_variance(
    taus: Float[np.ndarray, " levels"], w: float, given_y: Gaussian, var_all: float
) -> float:
    """The variance with which DDPM of weight `w` ends, from the variance `taus[0]`.

    Its step is (H.6), but its noise has the variance of the posterior.
    """
    var = float(taus[0])
    for tau, tau_next in pairwise(map(float, taus)):
        delta = tau - tau_next
        k_w = precision(tau, w, given_y, var_all)
        var = (1 - delta * k_w) ** 2 * var + delta * tau_next / tau
    return var


def slope_of_variance(
    tau: float, V: float, a: float, b: float, n: int, given_y: Gaussian, var_all: float
) -> float:
    """dV / dtau at the level `tau` in the limit of fine levels."""
    k_a = precision(tau, a, given_y, var_all)
    k_b = precision(tau, b, given_y, var_all)
    return (k_a + n * k_b) * V - n  # (I.5)


def with_many_correctors(
    tau: float, a: float, b: float, n: int, given_y: Gaussian, var_all: float
) -> float:
    """The variance at the level `tau` for large `n`, in the limit of fine levels."""
    k_a = precision(tau, a, given_y, var_all)
    V_b = 1 / precision(tau, b, given_y, var_all)
    slope_of_k = b / (var_all + tau) ** 2 - (1 + b) / (given_y.var + tau) ** 2
    slope_of_V_b = -slope_of_k * V_b**2
    return V_b + (slope_of_V_b - k_a * V_b) * V_b / n  # (I.6)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.i_predictor_corrector")
