r"""Appendix P. Guidance in one evaluation: a student that takes w, and model guidance

**The question.** Guided sampling evaluates a network twice per step, with the label and with the
null label (step 11). Only one mixture of the two outputs is used. Can a network be trained to
output the mixture itself, so that one evaluation is enough? This appendix shows two ways. In the
first a trained network teaches a second one, which takes the guidance weight as a further input. In
the second a single network learns a guided output while it is trained on data, for one weight only.

**An example.** We continue with the two images 1 and -1 of steps 9 and 11, at $x_t = 0.4$ and
$\bar\alpha_t = 0.5$. The prediction for class 0 is -0.434, and the one for the null label is 0.054.
Guidance turns them into -0.922 for $w = 1$ and into -1.898 for $w = 3$. All these numbers lie on
the line $-0.434 - 0.488 w$, where -0.488 is the difference of the two predictions. A network that
sees $x_t$, the label and $w$ could output the point on the line directly.

**A student that takes w.** Let $f(x_t, y)$ be the output of a trained network, which is called the
teacher. Let $g(x_t, y, w)$ be the output of the student. Training draws noised data $x_t$ with
their labels, and independently of both a weight $w$, uniformly from a range. The loss of the
student is its mean squared distance from the guided output of the teacher, at each $t$:

$$ L(g) = E |(1 + w) f(x_t, y) - w f(x_t, \phi) - g(x_t, y, w)|^2 $$ (P.1)

What is the best student? Call the first two terms the target $h$. Step 5 splits every squared loss
into a part that depends on $g$ and a part that does not. The known quantities are now the three
inputs of the student:

$$ L(g) = E |h - E[h | x_t, y, w]|^2 + E |E[h | x_t, y, w] - g(x_t, y, w)|^2 $$

In step 5 the first part was positive, because the noise cannot be computed from $x_t$. Here it is
0: the target is a function of the inputs, so it equals its conditional mean. Therefore the best
student is the target, for all inputs that occur in training,

$$ g(x_t, y, w) = (1 + w) f(x_t, y) - w f(x_t, \phi) $$ (P.2)

and its loss is 0. It draws the guided samples of its teacher with half of the evaluations. If the
teacher is the oracle of step 5, the best student is the guided oracle. If the teacher has errors,
the student learns them, too. The student also learns the null output, if some labels are dropped as
in step 9. For $y = \phi$ both outputs of the teacher are equal, so the target does not depend on
$w$.

**The guided oracle, learned exactly.** For the three Gaussians of step 1 a small student can reach
the loss 0. All classes have the covariance $S I$. With noise they have the covariance $c I$, where
$c = \bar\alpha_t S + 1 - \bar\alpha_t$. By (5.9) and (5.14) the oracle's prediction for the class
$y$ with the mean $\mu_y$ is

$$ \epsilon(x_t, y) = \sqrt{1 - \bar\alpha_t} (x_t - \sqrt{\bar\alpha_t} \mu_y) / c $$

Let $\hat\mu = \sum_y p(y | x_t) \mu_y$ be the mean of the class means given $x_t$. By (9.3) the
prediction for the null label is the mean of the predictions over the classes, with the weights
$p(y | x_t)$. The factor of $x_t$ is the same for all classes, so only the means are averaged:

$$ \epsilon(x_t, \phi) = \sqrt{1 - \bar\alpha_t} (x_t - \sqrt{\bar\alpha_t} \hat\mu) / c $$

Both are linear combinations of the two coordinates of $x_t$, the three probabilities and a
constant. The constant is a multiple of the sum of the probabilities, which is 1. So we give the
student five features, the coordinates and the probabilities. It also gets each feature multiplied
by $w$. Its output is linear in these ten numbers, with a matrix for each label and each $t$. The
matrix is fitted by least squares to about 200 draws per class, with $w$ from 0 to 4. The target
contains no noise, so this is enough, and the fit is exact up to rounding.

The table shows the mean height of 2000 samples of the top class, with 50 rows of DDIM and the
cosine schedule with $T = 1000$. All columns start from the same noise. The last one is a student
that was trained in the same way, but without $w$ among its inputs.

| w | guided oracle | student | student without w |
|---|---|---|---|
| 0 | 1.50 | 1.50 | 2.17 |
| 1 | 1.91 | 1.91 | 2.17 |
| 2 | 2.17 | 2.17 | 2.17 |
| 3 | 2.37 | 2.37 | 2.17 |

The guided oracle takes 100 evaluations for a sample with $w \ne 0$, and the student takes 50. Each
sample of the student differs from the guided oracle's by less than 1e-9 (left panel of the figure).
The student overshoots the height 1.5 exactly as its teacher does. *Distillation makes guidance
cheaper, and it does not change what guidance samples* (step 13).

**Why w must be an input.** Suppose that the student is not given $w$, but $w$ is drawn as before.
Then the target is not a function of the inputs, and the best student is its mean over $w$. Since
$w$ is drawn independently of $x_t$ and $y$, its mean given these inputs is $\bar w$. The target is
an affine function of $w$, so its mean is guidance with the mean weight $\bar w$:

$$ g(x_t, y) = (1 + \bar w) f(x_t, y) - \bar w f(x_t, \phi) $$ (P.3)

The target of one draw differs from this output by

$$ h - g(x_t, y) = (w - \bar w) (f(x_t, y) - f(x_t, \phi)) $$

The weight is independent of $x_t$ and $y$, so the mean square is a product of two means:

$$ L(g) = Var(w) E |f(x_t, y) - f(x_t, \phi)|^2 $$ (P.4)

For $w$ uniform in 0 to 4, $\bar w = 2$ and $Var(w) = 4^2 / 12 = 1.33$. The table of step 9 gives
0.526 for the last factor at $t = 40$ of $T = 100$, so the loss is 0.70. In the table above the
student without $w$ samples as with $w = 2$ for every weight that is requested.

**Guiding a student again.** The output of a student is guided already. A program may mix it once
more with its null output, with another weight $w_2$. Its null output is $f(x_t, \phi)$ if labels
were dropped in its training. With $d = f(x_t, y) - f(x_t, \phi)$ the student outputs
$f(x_t, \phi) + (1 + w) d$. The second mixture is

$$ (1 + w_2) (f(x_t, \phi) + (1 + w) d) - w_2 f(x_t, \phi) = f(x_t, \phi) + (1 + w_2) (1 + w) d $$

This is guidance with the total weight

$$ w_{total} = (1 + w) (1 + w_2) - 1 $$ (P.5)

The scales multiply. Two weights of 3 are two scales of 4, so the total scale is 16, and the total
weight is 15.

**Model guidance.** Is a teacher necessary? Tang et al. change the target of ordinary training. Let
$f$ now be the network that is being trained. For a sample with noise $\epsilon$ and label $y$ the
new target is

$$ \epsilon' = \epsilon + \omega (f(x_t, y) - f(x_t, \phi)) $$ (P.6)

The factor $\omega$ is fixed during training. (The authors call it $w$.) The two outputs in the
target are treated as constants, so no gradient passes through them. For the null label the target
remains $\epsilon$. We assume that the null output has already reached its best value,
$\epsilon_\phi = \epsilon(x_t, \phi)$, and we write $\epsilon_y$ for $\epsilon(x_t, y)$.

The target depends on the network that learns from it. To which output does such training lead?
Suppose first that the training goes in rounds. In each round the target is frozen, the network is
trained until its output is the best one for it, and only then the target is computed anew. Let
$f_k$ be the output for the label after $k$ rounds. By (5.1) the best output is the mean of the
target given $x_t$ and $y$. The second term of (P.6) is a function of these, so

$$ f_{k+1} = \epsilon_y + \omega (f_k - \epsilon_\phi) $$ (P.7)

An output $f_\infty$ that no longer changes satisfies

$$ (1 - \omega) f_\infty = \epsilon_y - \omega \epsilon_\phi $$

Divide by $1 - \omega$. The two factors $1 / (1 - \omega)$ and $-\omega / (1 - \omega)$ add up to 1,
so this is guidance:

$$ f_\infty = (1 + w) \epsilon_y - w \epsilon_\phi, \quad w = \omega / (1 - \omega) $$ (P.8)

In the example with $\omega = 0.5$ let $f_0$ be the prediction for class 0. The rounds give -0.434,
-0.678, -0.800 and so on. They approach -0.922, the guided output for $w = 1$. The scale is
$1 + w = 1 / (1 - \omega)$, so a scale of 5 needs $\omega = 0.8$ (middle panel).

**How fast does the training converge?** Subtract (P.8) from (P.7). The distance from $f_\infty$ is
multiplied by $\omega$ in every round:

$$ f_k - f_\infty = \omega^k (f_0 - f_\infty) $$ (P.9)

For $\omega = 0.8$ it takes 21 rounds to reduce the distance to 1 %, because
$\log 0.01 / \log 0.8 = 20.6$. For $\omega \le -1$ the rounds do not converge. But training does not
go in such rounds. In practice the target is computed anew at every gradient step. A simple model of
such training moves the output at each $x_t$ and $y$ by a fraction $r$ of the way to the mean of its
present target. The other $1 - r$ of the old output remains:

$$ f_{k+1} = (1 - r) f_k + r (\epsilon_y + \omega (f_k - \epsilon_\phi)) $$

Subtracting $f_\infty$, which stays the same in this step too, leaves

$$ f_k - f_\infty = (1 - r (1 - \omega))^k (f_0 - f_\infty) $$ (P.10)

This converges for every $\omega < 1$, also below -1, if $r < 2 / (1 - \omega)$. With $r = 0.1$ the
distance falls to 1 % in 228 steps for $\omega = 0.8$, and in 44 steps for $\omega = 0$ (right
panel). So for small $r$ a guided output takes about $1 + w$ times as many steps as a conditional
one. A network that shares its parameters between all $x_t$ does not follow this model exactly.

**At the boundary.** A student at $w = 0$ is the conditional teacher, which needs one evaluation
anyway. At $w = -1$ it is the null output. For $\omega = 0$ model guidance is ordinary training. At
$\omega = 1$ the output moves by $\epsilon_y - \epsilon_\phi$ in every round. So it has no limit
where the two differ. Negative $\omega$ gives scales between 0 and 1.

**What goes wrong.** The student is evaluated at a weight outside the range of its training. The
student of this appendix is exact there too, because it is linear in $w$. Other networks need not
be. A student is used with a method that needs both outputs of the teacher, such as CFG++ (step 20).
The gradient passes through $f(x_t, y)$ in the target of (P.6) as well. At one $x_t$ and $y$ the
mean of target minus output is $\epsilon_y - \omega \epsilon_\phi - (1 - \omega) f$, which is
$(1 - \omega) (f_\infty - f)$. Its derivative with respect to $f$ is $-(1 - \omega)$, and it would
be $-1$ with a constant target. So each gradient step is multiplied by $1 - \omega$ once more. The
limit is the same for $\omega < 1$, but (P.10) has $(1 - \omega)^2$ in the place of $1 - \omega$,
and $\omega = 0.8$ takes five times as long again. The factor $\omega$ is read as the guidance
weight: 0.8 then counts as a scale of 1.8, and not of 5.

**Where it goes on.** `minicfg/distillation.py` trains such a student with a UNet on images, and its
text shows what the training costs and how many evaluations it saves.

**Source.** Meng et al. 2022, arXiv:2210.03142, sec. 3.1 (stage one: the student takes $w$; its loss
has a further weight that depends on $t$). Tang et al. 2025, arXiv:2502.12154 (model guidance).
(P.10) is derived here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import noised, oracle_eps
from tutorial.step11_guidance import guide
from tutorial.step17_solvers import ddim, run

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def best_student(
    cond: Float[np.ndarray, "n D"], null: Float[np.ndarray, "n D"], w: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n D"]:
    """The output of the best student from the teacher's two outputs, with one weight per row."""
    return cond + w[:, None] * (cond - null)  # (P.2)


def distillation_loss(
    out: Float[np.ndarray, "n D"],
    cond: Float[np.ndarray, "n D"],
    null: Float[np.ndarray, "n D"],
    w: Float[np.ndarray, " n"],
) -> float:
    """The loss of a student with the outputs `out`."""
    target = (1 + w[:, None]) * cond - w[:, None] * null
    return float(((target - out) ** 2).sum(1).mean())  # (P.1)


def best_without_w(
    cond: Float[np.ndarray, "n D"], null: Float[np.ndarray, "n D"], w_mean: float
) -> Float[np.ndarray, "n D"]:
    """The output of the best student that is not given w; `w_mean` is the mean of w."""
    return guide(cond, null, w_mean)  # (P.3)


def loss_without_w(
    cond: Float[np.ndarray, "n D"], null: Float[np.ndarray, "n D"], w_var: float
) -> float:
    """The loss of this student; `w_var` is the variance of w."""
    return float(w_var * ((cond - null) ** 2).sum(1).mean())  # (P.4)


def repeated_weight(w: float, again: float) -> float:
    """The weight that results if an output of weight `w` is guided again with `again`."""
    return (1 + w) * (1 + again) - 1  # (P.5)


def features(
    xt: Float[np.ndarray, "n 2"], t: int, mixture: GaussianMixture, schedule: Schedule
) -> Float[np.ndarray, "n F"]:
    """Both coordinates and the K probabilities p(y given x_t). These add up to 1."""
    p = np.exp(noised(mixture, t, schedule).log_class_probability(xt))
    return np.hstack([xt, p])


def inputs(
    h: Float[np.ndarray, "n F"], w: Float[np.ndarray, " n"], with_w: bool
) -> Float[np.ndarray, "n G"]:
    """The features, and with `with_w` also each of them times w."""
    return np.hstack([h, w[:, None] * h]) if with_w else h


@dataclass(frozen=True, eq=False)
class Student:
    """A denoiser that is linear in its inputs. It is evaluated at the one weight `w`.

    `weights` has the matrix of each label in 0..K for every t at which the student was trained.
    """

    mixture: GaussianMixture
    schedule: Schedule
    weights: dict[int, Float[np.ndarray, "labels G 2"]]
    w: float
    with_w: bool
    prediction: str = "eps"

    @property
    def num_classes(self) -> int:
        """The number of classes, K."""
        return self.mixture.num_classes

    def __call__(
        self, xt: Float[np.ndarray, "n 2"], t: int, y: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n 2"]:
        """One evaluation, with the label or the null label in each row."""
        h = features(xt, t, self.mixture, self.schedule)
        seen = inputs(h, np.full(len(xt), self.w), self.with_w)
        return np.einsum("ng,ngk->nk", seen, self.weights[t][y])


def trained(
    times: Sequence[int],
    mixture: GaussianMixture,
    schedule: Schedule,
    w_range: tuple[float, float],
    n: int = 600,
    with_w: bool = True,
) -> dict[int, Float[np.ndarray, "labels G 2"]]:
    """The weights that minimise (P.1) over `n` draws, for each time and label.

    The teacher is the oracle. The null label is trained with all draws, a class with its own.
    """
    rng = np.random.default_rng(0)
    teacher = oracle_eps(mixture, schedule)
    K = mixture.num_classes
    weights: dict[int, Float[np.ndarray, "labels G 2"]] = {}
    for t in times:
        x0, y = mixture.sample(n, rng)
        eps = rng.standard_normal(x0.shape)
        xt = xt_from_x0(x0, eps, t, schedule)
        w = rng.uniform(*w_range, n)
        cond = teacher(xt, t, y)
        null = teacher(xt, t, np.full(n, K))
        h = best_student(cond, null, w)
        seen = inputs(features(xt, t, mixture, schedule), w, with_w)
        of_labels: list[np.ndarray] = []
        for label in range(K):
            own = y == label
            of_labels.append(np.linalg.lstsq(seen[own], h[own])[0])
        h_null = best_student(null, null, w)  # both outputs of the teacher are equal
        of_labels.append(np.linalg.lstsq(seen, h_null)[0])
        weights[t] = np.stack(of_labels)
    return weights


@cache
def course_student(with_w: bool) -> dict[int, Float[np.ndarray, "labels G 2"]]:
    """The weights of a student of `three_gaussians` for 50 rows, with w from 0 to 4."""
    schedule = Schedule.cosine(1000)
    times = [int(t) for t in ddim(schedule, 50).t]
    return trained(times, three_gaussians(), schedule, (0.0, 4.0), with_w=with_w)


def top_by_student(w: float, with_w: bool = True, n: int = 2000) -> Float[np.ndarray, "n 2"]:
    """The top class by a student, with 50 rows of DDIM and one evaluation in each."""
    mixture = three_gaussians()
    schedule = Schedule.cosine(1000)
    student = Student(mixture, schedule, course_student(with_w), w, with_w)
    return run(student, np.zeros(n, int), ddim(schedule, 50), 0.0, np.random.default_rng(0))


def target(
    eps: Float[np.ndarray, "n D"],
    now: Float[np.ndarray, "n D"],
    null: Float[np.ndarray, "n D"],
    omega: float,
) -> Float[np.ndarray, "n D"]:
    """The target of model guidance, from the noise and the present outputs of the network."""
    return eps + omega * (now - null)  # (P.6)


def next_round(
    best: Float[np.ndarray, "n D"],
    now: Float[np.ndarray, "n D"],
    null: Float[np.ndarray, "n D"],
    omega: float,
) -> Float[np.ndarray, "n D"]:
    """The best output for the targets made of `now`; `best` and `null` are conditional means."""
    return best + omega * (now - null)  # (P.7)


def settled(
    best: Float[np.ndarray, "n D"], null: Float[np.ndarray, "n D"], omega: float
) -> Float[np.ndarray, "n D"]:
    """The output at which training ends, for `omega` < 1: guidance with another weight."""
    if not -np.inf < omega < 1:
        raise ValueError(f"omega = {omega} is not below 1: the training does not converge")
    w = omega / (1 - omega)
    return guide(best, null, w)  # (P.8)


def gap_after_rounds(omega: float, k: int) -> float:
    """The fraction of the distance from `settled` that is left after `k` rounds."""
    return omega**k  # (P.9)


def gap_after_steps(omega: float, rate: float, k: int) -> float:
    """The fraction that is left after `k` steps, each by the fraction `rate` of the way."""
    return (1 - rate * (1 - omega)) ** k  # (P.10)


def learnt_weights(omega: float, n: int, rounds: int, rate: float = 1.0) -> Float[np.ndarray, " 2"]:
    """The factors of both conditional means in an output that is learned from `n` draws.

    Each round fits the output to the targets by least squares and moves it by `rate` of the way.
    """
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    t = 40
    rng = np.random.default_rng(0)
    model = oracle_eps(mixture, schedule)
    x0, y = mixture.sample(n, rng)
    eps = rng.standard_normal((n, 2))
    xt = xt_from_x0(x0, eps, t, schedule)
    best = model(xt, t, y)
    null = model(xt, t, np.full(n, 3))
    seen = np.stack([best, null])  # (2, n, D)
    factors = np.array([1.0, 0.0])  # begin with the conditional model
    for _ in range(rounds):
        now = np.tensordot(factors, seen, 1)
        wanted = target(eps, now, null, omega)
        fitted = np.linalg.lstsq(seen.reshape(2, -1).T, wanted.ravel())[0]
        factors = factors + rate * (fitted - factors)
    return np.asarray(factors)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.p_distillation")
