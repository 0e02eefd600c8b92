r"""Step 19. Rules that bound the guided guess: rescaling, thresholds and projected guidance

**The question.** With $w = 3$ the samples of DDIM overshoot their class. Step 13 measured a mean
height of 2.37 for the top class of step 1. The mean height of the class itself is 1.5. A better
solver does not help, because it solves the same equation (step 18). Programs for images therefore
change the guided prediction itself before they use it. We call such a change a rule. This lesson
treats four: rescaling, the static and the dynamic threshold, and adaptive projected guidance. It
answers the same three questions for each. Which quantity does the rule bound? For which values of
its parameters is it plain guidance? Does it depend on the unit of the network, or on where the
origin lies among the data?

**The setting.** A rule replaces the mixture in (17.1). In a row with the output $g_y$ for the
label, $g_\phi$ for the null label and the weight $w$, plain guidance gives
$g = g_y + w (g_y - g_\phi)$. The guess of the data is $\hat x_0 = p x_t + q g$. We write $\hat x_y$
and $\hat x_\phi$ for the guesses that belong to $g_y$ and $g_\phi$. All formulas hold for one
sample, which is a vector of several numbers.

The parameters of the rules have the letters of their papers. Some of these had another meaning
before:

| letter | in this lesson | before |
|---|---|---|
| $\varphi$ | the strength of rescaling | not $\phi$, the null label |
| $c$ | the bound of a threshold | a number of a row (step 17) |
| $P$, $u$ | a probability, and where a guess is cut | a covariance and a state (steps 17, 18) |
| $D$, $r$ | a difference and its largest length | a dimension and a place (steps 16, 17) |
| $\eta$ | the fraction of a part of $D$ | the noise of DDIM (step 17) |
| $\beta$ | the momentum | the variance of a forward step (step 2) |
| $v$ | a vector by which data are moved | the velocity (step 5) |
| a prime | the quantity after the rule, as in $g'$ | the previous row (step 17) |

As an example, let a sample consist of two numbers, $\hat x_y = (0.6, 0.8)$ and
$\hat x_\phi = (0.6, 0.2)$. The label moves the second number only. With $w = 3$ plain guidance
gives $(0.6, 0.8 + 3 \cdot 0.6) = (0.6, 2.6)$. If data lie in $[-1, 1]$, this guess is impossible.

**Rescaling.** Lin et al. found that guidance with a large weight increases the contrast of a
picture. They measure it by the standard deviation $std$ over all numbers of one sample. Their rule
multiplies the mixture by a factor. The number $\varphi$, from 0 to 1, determines how close the new
standard deviation comes to that of $g_y$:

$$ g' = f g, \quad f = \varphi std(g_y) / std(g) + 1 - \varphi $$ (19.1)

The factor $f$ is not negative, so the standard deviation of $f g$ is $f$ times that of $g$. If
$std(g) > 0$,

$$ std(g') = \varphi std(g_y) + (1 - \varphi) std(g) $$ (19.2)

So the new standard deviation lies between those of $g_y$ and $g$. At $\varphi = 1$ it is that of
$g_y$ for every weight, so there the rule bounds it. For $\varphi < 1$ it is at least
$(1 - \varphi) std(g)$, and in general this has no bound for large $w$. At $\varphi = 0$ the rule is
plain guidance. If $std(g) = 0$ the ratio is not defined, and $g$ stays as it is.

What happens to the guess? Insert $g' = f g$, then add and subtract $f p x_t$:

$$ \hat x_0' = p x_t + f q g $$
$$ \hat x_0' = f (p x_t + q g) + (1 - f) p x_t $$

The first bracket is the guess of plain guidance:

$$ \hat x_0' = f \hat x_0 + (1 - f) p x_t $$ (19.3)

For $f < 1$ rescaling moves the guess towards $p x_t$, the guess that belongs to the output 0. If
the mixture has a smaller standard deviation than $g_y$, then $f > 1$, and the guess moves away from
this point. The point depends on the unit (step 5). It is 0 for a network that predicts $x_0$,
$x_t / \sqrt{\bar\alpha_t}$ for one that predicts eps, and $\sqrt{\bar\alpha_t} x_t$ for one that
predicts v. Mixing is the same in every unit (11.4), but rescaling is a different rule in each. In
eps the factor is close to 1 at both ends of the chain. At the noise end both outputs consist mostly
of the noise in $x_t$, so their mixture has nearly the same standard deviation. Near the data the
two outputs agree for all samples that are not ambiguous. Between the ends the factor has to be
measured (below). In the example, in the unit $x_0$, the two standard deviations are 0.1 and 1.0.
With $\varphi = 0.7$ the factor is 0.37, and the guess becomes $(0.222, 0.962)$. Its standard
deviation is 0.37. With $w = 30$ it would be 2.80, instead of 9.1 without the rule.

**Thresholds.** A threshold bounds the largest absolute value in the guess. The static threshold is
the clip of (17.2) to $[-c, c]$. It changes only the numbers outside, so in general it changes the
direction of the guess. In the example it gives $(0.6, 1)$. Many numbers of a picture may end
exactly on the border, where they are all equal. Saharia et al. therefore choose another interval
for each sample.
Let $quantile_P$ be the $P$-quantile of the absolute values of its numbers. To find it, sort the $n$
numbers and count them from 0. The quantile is the value at the position $P (n - 1)$, interpolated
linearly between neighbours. The dynamic threshold cuts the guess at $u$ and then shrinks it to $c$:

$$ u = \max(c, quantile_P |\hat x_0|) $$ (19.4)
$$ \hat x_0' = (c / u) clip(\hat x_0, -u, u) $$ (19.5)

With $c = 1$ and $P = 1$ the example has $u = 2.6$ and becomes $(0.231, 1)$: both numbers are
divided by 2.6, and the direction is kept. Without the maximum in (19.4) a small guess would be
enlarged to the bound. Both thresholds give a guess in $[-c, c]$. The last row of the tables of
steps 17 and 18 returns its guess, so the samples lie in this interval too. If $c$ is infinite, both
thresholds are plain guidance. Both act on the guess, so they are the same rule in every unit.

**Projected guidance.** Adaptive projected guidance (APG) of Sadat et al. changes the difference
that the label makes in the guess, $D = \hat x_y - \hat x_\phi$. So it does not depend on the unit
either. First it bounds the length of $D$ by a positive number $r$:

$$ D' = \min(1, r / |D|) D $$ (19.6)

If $D = 0$, the label makes no difference, and $D' = 0$.

Then it splits $D'$ into a part parallel to $\hat x_y$ and a part orthogonal to it. Let
$\langle a, b \rangle$ be the sum of the products of the numbers of $a$ and $b$. The parallel part
is the multiple of $\hat x_y$ that is closest to $D'$:

$$ D_\parallel = \langle D', \hat x_y \rangle \hat x_y / |\hat x_y|^2 $$ (19.7)

A fraction $\eta$ of the parallel part is retained, $0 \le \eta \le 1$, and all of the orthogonal
part $D_\perp = D' - D_\parallel$:

$$ \hat x_0 = \hat x_y + w (D' - (1 - \eta) D_\parallel) $$ (19.8)

With $\eta = 1$ and an infinite $r$ it is plain guidance. The reason for a small $\eta$ is an
observation on images: the authors found that the parallel part mainly increases the saturation of
the colours. In the example $D = (0, 0.6)$, and $\hat x_y$ has the length 1. The sum of the products
is 0.48, so $D_\parallel = (0.288, 0.384)$. With $\eta = 0$ the guess is
$(0.6, 0.8) + 3 (-0.288, 0.216) = (-0.264, 1.448)$. With $\eta = 1$ and $r = 0.3$ it is
$(0.6, 1.7)$.

**What APG bounds.** At $\eta = 0$ only $w D_\perp$ is added to $\hat x_y$. Multiply (19.7) by
$\hat x_y$. The product of $\hat x_y$ with itself is its squared length, which cancels:

$$ \langle D_\parallel, \hat x_y \rangle = \langle D', \hat x_y \rangle $$

So $D_\parallel$ and $D'$ have the same product with $\hat x_y$, and $D_\perp$ is orthogonal to it:

$$ \langle D_\perp, \hat x_y \rangle = \langle D' - D_\parallel, \hat x_y \rangle = 0 $$

By the theorem of Pythagoras,

$$ |\hat x_0|^2 = |\hat x_y|^2 + w^2 |D_\perp|^2 $$ (19.9)

In the example this is $1 + 9 \cdot 0.1296 = 2.166$. So the guess is turned about the origin, and it
becomes longer. Nothing limits $|D_\perp|$ here, so $\eta$ alone bounds nothing. The bound comes
from $r$. The bracket in (19.8) is $D' - (1 - \eta) D_\parallel = D_\perp + \eta D_\parallel$,
because $D'$ is the sum of its two parts. The same theorem, applied to these parts, gives

$$ |D_\perp + \eta D_\parallel|^2 = |D_\perp|^2 + \eta^2 |D_\parallel|^2 \le |D'|^2 \le r^2 $$

and with (19.8)

$$ |\hat x_0 - \hat x_y| \le |w| r $$ (19.10)

**Momentum.** The third part of APG replaces $D$ by a sum over the rows of the chain. Let $D^{(k)}$
be the sum in row $k$, with $D^{(0)} = 0$. It takes the place of $D$ in (19.6). The number $\beta$
lies between -1 and 0, and 0 means no momentum.

$$ D^{(k)} = \hat x_y - \hat x_\phi + \beta D^{(k - 1)} $$ (19.11)

What is the effect? Suppose that the difference is the same vector $D$ in every row. Then the sum is
a geometric series:

$$ D^{(k)} = D (1 + \beta + \beta^2 + \dots + \beta^{k - 1}) $$
$$ D^{(k)} = D (1 - \beta^k) / (1 - \beta) $$ (19.12)

At $\beta = -1/2$ the factors of the first five rows are 1, 0.5, 0.75, 0.625 and 0.6875, and the
limit is 2/3. So for an infinite $r$ and a difference that changes slowly, negative momentum acts
like the smaller weight $w / (1 - \beta)$ as soon as $\beta^k$ is small, here like $2 w / 3$ after
about five rows. (At $\beta = -0.95$ the fifth factor is still 0.91, and the limit is 0.51.)

**Measured.** As in step 13 we sample the top class of step 1 with exact outputs. They are
predictions of eps, and $w = 3$ if nothing else is written. The chain is DDIM with 50 rows on the
cosine schedule with 1000 times. There are 4000 samples, and the standard errors of the heights are
below 0.008. For rescaling all 4000 points were treated as one picture of 8000 numbers, because a
single point has only two. In the table, across is the horizontal direction, and along is the
vertical one, in which the height is measured.

| rule | mean height | variance across | variance along |
|---|---|---|---|
| the tilted distribution (step 13) | 1.53 | 0.241 | 0.226 |
| no guidance, $w = 0$ | 1.50 | 0.239 | 0.233 |
| plain guidance | 2.37 | 0.137 | 0.079 |
| plain guidance, $w = 2$ | 2.17 | 0.147 | 0.092 |
| rescaling in eps, $\varphi = 0.7$ | 2.38 | 0.149 | 0.087 |
| rescaling in $x_0$, $\varphi = 0.7$ | 1.85 | 0.117 | 0.062 |
| static threshold, $c = 2$ | 1.71 | 0.069 | 0.075 |
| dynamic threshold, $c = 2$, $P = 1$ | 1.71 | 0.101 | 0.073 |
| APG, $\eta = 0$ | 1.52 | 0.043 | 0.229 |
| APG, $\eta = 0$, all data moved by $(6, 0)$ | 2.34 | 0.244 | 0.077 |
| APG, $\eta = 1$, $r = 0.3$ | 1.91 | 0.153 | 0.143 |
| APG, $\eta = 1$, $\beta = -1/2$ | 2.16 | 0.148 | 0.093 |

None of the rules gives the tilted distribution. Rescaling in eps changes little here: $f$ lies
between 0.968 and 1.002 along the chain, and both variances rise by about a tenth. In $x_0$ the
factor of the first row is 0.475. There the guesses of all samples are the means, $(0, 1.5)$ with
the label and $(0, 0)$ without it, so the mixture is $(0, 6)$. Half of the 8000 numbers are 0 and
the others are equal. So the standard deviations are half the heights, 0.75 and 3, and
$f = 0.7 \cdot 0.75 / 3 + 0.3$. The thresholds lower the height, but the class becomes narrower
across, and no wider along. With $r = 0.3$ about half of the overshoot remains, and the variances
shrink less than with plain guidance. Momentum agrees with the weight $w = 2$, as (19.12) predicts.

APG with $\eta = 0$ restores the height and the variance along. But the variance across is a sixth
of that without guidance (0.043 against 0.239), and the figure shows the reason. The samples have
collapsed towards a line through the origin: 22 % of them lie within 0.02 of the vertical axis,
against 3 % of the class. The class lies straight above the origin, and $D$ points upwards. So its
orthogonal part turns every guess above the origin towards the vertical axis.

**The origin.** Move all data by a vector $v$. The noisy states then move by
$\sqrt{\bar\alpha_t} v$, and the guesses that belong to them move by $v$. The factors $1 + w$ and
$-w$ add up to 1, so the guess of plain guidance also moves by $v$. By (17.11) a row of DDIM takes
the moved state and guess to a state moved by
$a v + b \sqrt{\bar\alpha_t} v = \sqrt{\bar\alpha_s} v$. So the samples move with the data.

In (19.6) and (19.11) there are only differences of guesses, from which the vector cancels. But
(19.7) contains $\hat x_y$ itself: "parallel" means away from 0. After a move by $(6, 0)$ the class
lies to the right of the origin, so the part that is removed points across. The variance across is
then nearly that without guidance (0.244 against 0.239), and the height is nearly that of plain
guidance (2.34 against 2.37). Thresholds depend on the origin too, and so does
rescaling in $x_0$. Rescaling in eps does not, because the noise in $x_t$ remains the same when the
data are moved. (All this holds up to the start: a chain starts from noise around 0, while the moved
data have the mean $\sqrt{\bar\alpha_T} v$ at $t = T$, which is almost 0.) For images 0 is the
middle grey, and this choice has a meaning. For other data it should be checked.

**The three answers** for each rule and each part of APG:

| rule | bounds | plain guidance at | unit matters | origin matters |
|---|---|---|---|---|
| rescaling | at $\varphi = 1$, $std$ of the output | $\varphi = 0$ | yes | yes, but not in eps |
| both thresholds | the largest absolute value of the guess | $c = \infty$ | no | yes |
| APG, $r$ | the distance of the guess from $\hat x_y$ | $r = \infty$ | no | no |
| APG, $\eta$ | nothing | $\eta = 1$ | no | yes |
| APG, $\beta$ | nothing | $\beta = 0$ | no | no |

**At the boundary.** Without guidance, at $w = 0$, rescaling changes nothing, and APG returns
$\hat x_y$ for all parameters. The thresholds still act there, if a guess lies outside $[-c, c]$. A
guess of length 0 has no direction, and then $D_\parallel = 0$. At $P = 0$ the dynamic threshold is
the static one for each sample that has at least one number inside the bound. A standard deviation
over few numbers is not reliable. For $n$ independent normal numbers its relative error is about
$1 / \sqrt{2 n}$, which is 1 % for 5000 numbers. A point in the plane has two numbers, and its
standard deviation is $|g_1 - g_2| / 2$. For the mixture $g$ this can be close to 0 by chance. The
factor divides by it, so it has no upper bound. If each point is rescaled alone, in eps and with
$\varphi = 0.7$, 2 % of the samples end with a coordinate larger than 5 in absolute value.

**What goes wrong.** The standard deviation is computed over the whole batch, so a sample depends on
the others. A standard deviation of 0 gives 0 / 0, and the whole picture is lost. A threshold is
applied to the network's output and not to the guess. A program projects eps and not the guess,
which is another rule. The scale $1 + w$ of the APG paper is used as $w$. The momentum of one chain
is still in memory when the next chain starts.

**Where it goes on.** All rules here use the same weight in every row; step 20 lets the weight
change along the chain.

**Source.** Lin et al. 2023, arXiv:2305.08891, sec. 3.4 (rescaling). Saharia et al. 2022,
arXiv:2205.11487, sec. 2.3 (thresholds). Sadat et al. 2024, arXiv:2410.02416 (APG). (19.3), (19.10)
and (19.12) are derived here, and the table is computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser, Normals
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step11_guidance import guide
from tutorial.step17_solvers import Table, ddim

if TYPE_CHECKING:
    from jaxtyping import Float, Int

# A rule takes the outputs g_y and g_phi, the weight m w of the row, x_t, p and q, and returns g.
Rule = Callable[[np.ndarray, np.ndarray, float, np.ndarray, float, float], np.ndarray]


def plain(
    cond: Float[np.ndarray, "n *D"], null: Float[np.ndarray, "n *D"], w: float, *_: object
) -> Float[np.ndarray, "n *D"]:
    """Plain guidance, in the form of a rule."""
    return guide(cond, null, w)


def rescale(
    cond: Float[np.ndarray, "n *D"],
    null: Float[np.ndarray, "n *D"],
    w: float,
    *_: object,
    phi: float = 0.7,
) -> Float[np.ndarray, "n *D"]:
    """The mixture, rescaled towards the standard deviation of `cond`, sample by sample.

    `phi` is in 0..1; 0 is plain guidance.
    """
    g = guide(cond, null, w)
    numbers = tuple(range(1, g.ndim))
    std_cond = cond.std(numbers, keepdims=True)
    std_g = g.std(numbers, keepdims=True)
    ratio = np.divide(std_cond, std_g, out=np.ones_like(std_g), where=std_g > 0)
    f = phi * ratio + 1 - phi
    return f * g  # (19.1)


def std_after(std_cond: float, std_g: float, phi: float) -> float:
    """The standard deviation of a mixture after `rescale`, from those of `cond` and the mixture."""
    return phi * std_cond + (1 - phi) * std_g  # (19.2)


def guess_after(
    x0hat: Float[np.ndarray, "n *D"], xt: Float[np.ndarray, "n *D"], p: float, f: float
) -> Float[np.ndarray, "n *D"]:
    """The guess of plain guidance, `x0hat`, after its output was multiplied by `f`."""
    return f * x0hat + (1 - f) * p * xt  # (19.3)


def as_one_picture(
    cond: Float[np.ndarray, "n D"], null: Float[np.ndarray, "n D"], w: float, *_: object
) -> Float[np.ndarray, "n D"]:
    """`rescale` with one standard deviation over the numbers of all samples."""
    return rescale(cond[None], null[None], w)[0]


def as_one_picture_of_x0(
    cond: Float[np.ndarray, "n *D"],
    null: Float[np.ndarray, "n *D"],
    w: float,
    xt: Float[np.ndarray, "n *D"],
    p: float,
    q: float,
) -> Float[np.ndarray, "n *D"]:
    """The same rule in the unit x0: the guesses are rescaled, and the result is turned into g."""
    x0_cond = p * xt + q * cond
    x0_null = p * xt + q * null
    x0hat = as_one_picture(x0_cond, x0_null, w)
    return (x0hat - p * xt) / q


def dynamic_threshold(
    cond: Float[np.ndarray, "n *D"],
    null: Float[np.ndarray, "n *D"],
    w: float,
    xt: Float[np.ndarray, "n *D"],
    p: float,
    q: float,
    *,
    P: float = 0.995,
    bound: float = 1.0,
) -> Float[np.ndarray, "n *D"]:
    """The mixture, changed so that its guess lies in `-bound..bound`; inf is plain guidance.

    `P`, in 0..1, is the quantile at which the guess of a sample is cut before it is shrunk.
    """
    g = guide(cond, null, w)
    guess = p * xt + q * g
    numbers = tuple(range(1, xt.ndim))
    u = np.maximum(bound, np.quantile(np.abs(guess), P, axis=numbers, keepdims=True))  # (19.4)
    cut = np.clip(guess, -u, u)
    kept = cut if bound == np.inf else bound / u * cut  # (19.5)
    return g + (kept - guess) / q  # exactly g where the guess was not changed


def dot(a: Float[np.ndarray, "n *D"], b: Float[np.ndarray, "n *D"]) -> Float[np.ndarray, "n *ones"]:
    """For each sample, the sum of the products; all axes are kept, with length 1."""
    return (a * b).sum(tuple(range(1, a.ndim)), keepdims=True)


def project(
    guess: Float[np.ndarray, "n *D"], D: Float[np.ndarray, "n *D"], eta: float, r: float
) -> Float[np.ndarray, "n *D"]:
    """What APG adds to `guess` for w = 1, if the label makes the difference `D`.

    `D` is shortened to `r` > 0, which may be infinite. A fraction `eta`, 0..1, of the part parallel
    to `guess` is retained.
    """
    length = np.sqrt(dot(D, D))
    scale = np.divide(r, length, out=np.ones_like(length), where=length > r)
    bounded = scale * D  # (19.6)
    square = dot(guess, guess)
    square = np.where(square > 0, square, 1)  # a guess of length 0 has no direction
    parallel = dot(bounded, guess) / square * guess  # (19.7)
    return bounded - (1 - eta) * parallel


def with_difference(
    cond: Float[np.ndarray, "n *D"],
    D: Float[np.ndarray, "n *D"],
    w: float,
    xt: Float[np.ndarray, "n *D"],
    p: float,
    q: float,
    eta: float,
    r: float,
) -> Float[np.ndarray, "n *D"]:
    """The output g for the guess of APG, if the label makes the difference `D` in the guess.

    A change of the guess is `q` times a change of the output, so the result is in the unit of
    `cond`.
    """
    guess = p * xt + q * cond
    return cond + w / q * project(guess, D, eta, r)  # (19.8)


def apg(
    cond: Float[np.ndarray, "n *D"],
    null: Float[np.ndarray, "n *D"],
    w: float,
    xt: Float[np.ndarray, "n *D"],
    p: float,
    q: float,
    *,
    eta: float = 0.0,
    r: float = np.inf,
) -> Float[np.ndarray, "n *D"]:
    """APG without momentum; `eta` = 1 and `r` = inf is plain guidance."""
    D = q * (cond - null)
    return with_difference(cond, D, w, xt, p, q, eta, r)


def squared_length(
    guess: Float[np.ndarray, "n *D"], orthogonal: Float[np.ndarray, "n *D"], w: float
) -> Float[np.ndarray, "n *ones"]:
    """The squared length of APG's guess at eta = 0, from `guess` and the orthogonal part of D'."""
    return dot(guess, guess) + w**2 * dot(orthogonal, orthogonal)  # (19.9)


def longest_move(w: float, r: float) -> float:
    """The greatest distance between APG's guess and the guess with the label."""
    return abs(w) * r  # (19.10)


def run_rule(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    table: Table,
    w: float,
    rng: Normals,
    rule: Rule = plain,
    clip: float = np.inf,
) -> Float[np.ndarray, "n 2"]:
    """`run` of step 17 with a rule in the place of (17.1)."""
    xt = rng.standard_normal((len(y), 2))
    null = np.full_like(y, model.num_classes)
    x0prev = 0.0
    for t, (p, q, a, b, c, d, e, m) in zip(table.t, table.rows, strict=True):
        g_y = model(xt, int(t), y)
        g_null = model(xt, int(t), null)
        g = rule(g_y, g_null, m * w, xt, p, q)
        x0hat = np.clip(p * xt + q * g, -clip, clip)
        z = rng.standard_normal(xt.shape)
        xt = a * x0hat + b * xt + d * g_null + e * x0prev + c * z
        x0prev = x0hat
    return xt


def run_apg(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    table: Table,
    w: float,
    rng: Normals,
    *,
    eta: float = 0.0,
    r: float = np.inf,
    beta: float = 0.0,
) -> Float[np.ndarray, "n 2"]:
    """A chain guided by APG with momentum `beta`, -1 < beta <= 0. Every chain starts at 0."""
    D_previous = np.zeros((len(y), 2))

    def rule(
        cond: np.ndarray, null: np.ndarray, w: float, xt: np.ndarray, p: float, q: float
    ) -> np.ndarray:
        nonlocal D_previous
        D = q * (cond - null) + beta * D_previous  # (19.11)
        D_previous = D
        return with_difference(cond, D, w, xt, p, q, eta, r)

    return run_rule(model, y, table, w, rng, rule)


def after_equal_rows(
    D: Float[np.ndarray, "n *D"], beta: float, k: int
) -> Float[np.ndarray, "n *D"]:
    """The sum with momentum in row `k` = 1, 2, ..., if the difference is `D` in every row."""
    return D * (1 - beta**k) / (1 - beta)  # (19.12)


def top_class(
    rule: Rule = plain,
    w: float = 3.0,
    table: Table | None = None,
    clip: float = np.inf,
    n: int = 4000,
) -> Float[np.ndarray, "n 2"]:
    """Samples of the top class of step 1, with exact outputs; DDIM with 50 rows is the default."""
    schedule = Schedule.cosine(1000)
    if table is None:
        table = ddim(schedule, 50)
    model = oracle_eps(three_gaussians(), schedule)
    y = np.zeros(n, int)
    return run_rule(model, y, table, w, np.random.default_rng(0), rule, clip)


def top_class_moved(v: tuple[float, float], rule: Rule, n: int = 4000) -> Float[np.ndarray, "n 2"]:
    """The top class of data that were moved by `v`, guided with w = 3; the result is moved back."""
    data = three_gaussians()
    schedule = Schedule.cosine(1000)
    model = oracle_eps(GaussianMixture(data.means + v, data.covs, data.weights), schedule)
    y = np.zeros(n, int)
    x = run_rule(model, y, ddim(schedule, 50), 3.0, np.random.default_rng(0), rule)
    return x - v


def top_class_with_momentum(beta: float, n: int = 4000) -> Float[np.ndarray, "n 2"]:
    """The top class, guided with w = 3 and momentum alone: eta = 1, and r is infinite."""
    schedule = Schedule.cosine(1000)
    model = oracle_eps(three_gaussians(), schedule)
    y = np.zeros(n, int)
    rng = np.random.default_rng(0)
    return run_apg(model, y, ddim(schedule, 50), 3.0, rng, eta=1.0, beta=beta)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step19_rules")
