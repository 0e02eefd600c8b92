r"""Step 19. Rules that bend the mix: rescaling it, and holding the guess in bounds.

**Claim.** Guided chains overshoot (step 13). A rule turns the answers $g_y$, $g_\phi$ of a row into
$g$, before (17.2). Each tames that by one parameter, and is plain guidance at one value of it.

**Rescale.** Bring the mix's standard deviation, over the numbers of one sample, back to that of
$g_y$, by a share $\varphi$ in 0..1:

$$ g' = (\varphi\, std(g_y) / std(g) + 1 - \varphi) g $$ (19.1)
$$ std(g') = \varphi\, std(g_y) + (1 - \varphi) std(g) $$ (19.2)

as the factor is positive. Plain at $\varphi = 0$, and at $w = 0$ for all $\varphi$. Where
$std(g) = 0$ there is nothing to scale and $g$ stays. Of a picture's thousands of numbers the
deviation is steady. A point has two: $std(g) = |g_1 - g_2| / 2$ comes near 0 by chance, and the
factor has no bound. At $\varphi = 0.7$ some 2% of the points below end more than 5 off.

**Thresholds.** Data lie in $[-c, c]$, and so should guesses. The static threshold is (17.2)'s clip,
plain at $c = \infty$. In the dynamic one a sample's quantile $P$ says what to cut and to shrink:

$$ u = \max(c, quantile_P |\hat x_0|) $$ (19.3)
$$ \hat x_0' = (c / u) clip(\hat x_0, -u, u) $$ (19.4)

Plain at $c = \infty$, and for guesses inside $c$. At $P = 1$ nothing is cut, so a guess keeps its
direction; at $P = 0$ it is the static one if the guess's smallest number is inside.

**Measured.** The top class of step 1 (height 1.5, variance 0.25 each way), exact outputs, $w = 3$,
50 rows of DDIM on the cosine chain, 4,000 samples (standard errors below .008):

| rule | mean height | variance across, along | |
|---|---|---|---|
| none, $w = 0$ | 1.50 | .239, .233 | the class |
| plain | 2.37 | .137, .079 | overshoots, shrinks |
| rescaled, $\varphi = 0.7$ | 2.38 | .149, .087 | all points as one picture: eps is mostly noise |
| the same of the guesses of $x_0$ | 1.85 | .117, .062 | not the same rule in another unit |
| static, $c = 2$ | 1.71 | .069, .075 | a ceiling: back inside, narrower still |
| dynamic, $c = 2$, $P = 1$ | 1.71 | .101, .073 | the same height, less narrow across |

**Source.** Lin et al., arXiv:2305.08891, sec. 3.4; Saharia et al., arXiv:2205.11487, sec. 2.3.

**APG: guide less along the guess, not too far, and not the same way again.**

**Claim.** Of the label's difference $D = \hat x_y - \hat x_\phi$ between two guesses of the data,
the part along $\hat x_y$ makes a picture more saturated and the part across it changes what is
seen. Adaptive projected guidance keeps a share $\eta$ of the first and all of the second, after a
bound $r$ on the size of $D$. With $\langle a, b \rangle$ summed over the numbers of one sample:

$$ D' = \min(1, r / |D|) D $$ (19.5)
$$ D_\parallel = \langle D', \hat x_y \rangle \hat x_y / |\hat x_y|^2 $$ (19.6)
$$ \hat x_0 = \hat x_y + w (D' - (1 - \eta) D_\parallel) $$ (19.7)

Our $w$ is the paper's scale less 1. Plain guidance is $\eta = 1$ and $r = \infty$. By (11.4) that
may be mixed in any unit. The projection may not: of eps it is another rule.

**Reverse momentum.** The paper's third part puts a memory of earlier rows in the place of $D$,

$$ D^{(k)} = \hat x_y - \hat x_\phi + \beta D^{(k - 1)} $$ (19.8)

with $\beta < 0$; plain at $\beta = 0$. A difference that stays the same tends to $D / (1 - \beta)$:
so this is also a smaller $w$, by a third at $\beta = -1/2$, except in the first row.

**What a projection cannot do.** At $\eta = 0$ the two terms of (19.7) are orthogonal, so

$$ |\hat x_0|^2 = |\hat x_y|^2 + w^2 |D' - D_\parallel|^2 $$ (19.9)

and still grows with $w$. And "along the guess" means: away from the origin. Move all data by $v$,
and plain guidance moves its samples by $v$. (19.6) does not: it needs data whose 0 means something,
as the grey of a picture does.

**Measured.** As above. The class's mean lies straight above the origin:

| rule | mean height | variance across, along | |
|---|---|---|---|
| plain | 2.37 | .137, .079 | |
| $\eta = 0$ | 1.52 | .043, .229 | no overshoot; along is the class again, across shrinks more |
| $\eta = 0$, data moved aside by 6 | 2.34 | .244, .077 | the directions have changed places |
| $r = 0.3$ | 1.91 | .153, .143 | half the overshoot |
| $\beta = -1/2$ | 2.16 | .148, .093 | like a smaller weight |

**Boundary.** At $w = 0$, $\hat x_0 = \hat x_y$ for all parameters. A guess of 0 has no direction:
there $D_\parallel = 0$. A difference of 0 stays 0.

**Source.** Sadat et al. 2024, arXiv:2410.02416 (saturation, norm, reverse momentum).
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

Rule = Callable[[np.ndarray, np.ndarray, float, np.ndarray, float, float], np.ndarray]


def plain(
    cond: Float[np.ndarray, "n *D"], null: Float[np.ndarray, "n *D"], w: float, *_: object
) -> Float[np.ndarray, "n *D"]:
    """No rule. All take both answers, the row's weight `m w`, x_t and the row's `p, q`; give g."""
    return guide(cond, null, w)


def rescale(
    cond: Float[np.ndarray, "n *D"],
    null: Float[np.ndarray, "n *D"],
    w: float,
    *_: object,
    phi: float = 0.7,
) -> Float[np.ndarray, "n *D"]:
    """The mix with its deviation brought back by the share `phi`, 0..1; 0 is plain guidance."""
    g = guide(cond, null, w)
    numbers = tuple(range(1, g.ndim))
    of_cond = cond.std(numbers, keepdims=True)
    of_g = g.std(numbers, keepdims=True)
    ratio = np.divide(of_cond, of_g, out=np.ones_like(of_g), where=of_g > 0)
    return (phi * ratio + 1 - phi) * g  # (19.1), so that (19.2) holds


def as_one_picture(
    cond: Float[np.ndarray, "n D"], null: Float[np.ndarray, "n D"], w: float, *_: object
) -> Float[np.ndarray, "n D"]:
    """`rescale` by the deviation of all samples' numbers together."""
    return rescale(cond[None], null[None], w)[0]


def as_one_picture_of_x0(
    cond: Float[np.ndarray, "n *D"],
    null: Float[np.ndarray, "n *D"],
    w: float,
    xt: Float[np.ndarray, "n *D"],
    p: float,
    q: float,
) -> Float[np.ndarray, "n *D"]:
    """The same of the guesses of the data: rescaling depends on the unit."""
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
    """The mix whose guess keeps to `bound` (inf is plain guidance); `P`, 0..1, says what is cut."""
    g = guide(cond, null, w)
    guess = p * xt + q * g
    numbers = tuple(range(1, xt.ndim))
    u = np.maximum(bound, np.quantile(np.abs(guess), P, axis=numbers, keepdims=True))  # (19.3)
    cut = np.clip(guess, -u, u)
    kept = cut if bound == np.inf else bound / u * cut  # (19.4)
    return g + (kept - guess) / q  # to the last bit g, where nothing was changed


def run_rule(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    table: Table,
    w: float,
    rng: Normals,
    rule: Rule = plain,
    clip: float = np.inf,
) -> Float[np.ndarray, "n 2"]:
    """Step 17's `run` with `rule` in the place of the mix, (17.1)."""
    xt = rng.standard_normal((len(y), 2))
    null = np.full_like(y, model.num_classes)
    x0prev = 0.0
    for t, (p, q, a, b, c, d, e, m) in zip(table.t, table.rows, strict=True):
        of_y = model(xt, int(t), y)
        of_null = model(xt, int(t), null)
        g = rule(of_y, of_null, m * w, xt, p, q)
        x0hat = np.clip(p * xt + q * g, -clip, clip)
        z = rng.standard_normal(xt.shape)
        xt = a * x0hat + b * xt + d * of_null + e * x0prev + c * z
        x0prev = x0hat
    return xt


def top_class(
    rule: Rule = plain,
    w: float = 3.0,
    table: Table | None = None,
    clip: float = np.inf,
    n: int = 4000,
) -> Float[np.ndarray, "n 2"]:
    """Samples of step 1's top class as measured above."""
    schedule = Schedule.cosine(1000)
    if table is None:
        table = ddim(schedule, 50)
    model = oracle_eps(three_gaussians(), schedule)
    y = np.zeros(n, int)
    return run_rule(model, y, table, w, np.random.default_rng(0), rule, clip)


def dot(a: Float[np.ndarray, "n *D"], b: Float[np.ndarray, "n *D"]) -> Float[np.ndarray, "n *ones"]:
    """The product of each sample of `a` with that of `b`, in a shape that spreads over both."""
    return (a * b).sum(tuple(range(1, a.ndim)), keepdims=True)


def project(
    guess: Float[np.ndarray, "n *D"], D: Float[np.ndarray, "n *D"], eta: float, r: float
) -> Float[np.ndarray, "n *D"]:
    """What a unit of weight adds to the guess: `D`, at most `r` > 0 long, `eta` of it along."""
    length = np.sqrt(dot(D, D))
    scale = np.divide(r, length, out=np.ones_like(length), where=length > r)
    bounded = scale * D  # (19.5)
    square = dot(guess, guess)
    square = np.where(square > 0, square, 1)  # a guess of 0 has no direction
    along = dot(bounded, guess) / square * guess  # (19.6)
    return bounded - (1 - eta) * along  # orthogonal to the guess at eta = 0, so (19.9) holds


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
    """The rule without momentum; `eta` = 1 and `r` = inf is plain guidance.

    In the network's own unit, where a difference of guesses is `q` times one of outputs.
    """
    guess = p * xt + q * cond
    D = q * (cond - null)
    return cond + w / q * project(guess, D, eta, r)  # (19.7)


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
    """A chain guided by APG with momentum `beta`, -1 < beta <= 0, which lives as long as it."""
    D_previous = np.zeros((len(y), 2))

    def rule(
        cond: np.ndarray, null: np.ndarray, w: float, xt: np.ndarray, p: float, q: float
    ) -> np.ndarray:
        nonlocal D_previous
        D = q * (cond - null) + beta * D_previous  # (19.8)
        D_previous = D
        guess = p * xt + q * cond
        return cond + w / q * project(guess, D, eta, r)

    return run_rule(model, y, table, w, rng, rule)


def moved(v: tuple[float, float], rule: Rule, n: int = 4000) -> Float[np.ndarray, "n 2"]:
    """The top class of data that were moved by `v`, guided with w = 3, and moved back."""
    data = three_gaussians()
    schedule = Schedule.cosine(1000)
    model = oracle_eps(GaussianMixture(data.means + v, data.covs, data.weights), schedule)
    y = np.zeros(n, int)
    x = run_rule(model, y, ddim(schedule, 50), 3.0, np.random.default_rng(0), rule)
    return x - v


def remembering(beta: float, n: int = 4000) -> Float[np.ndarray, "n 2"]:
    """The top class, guided with w = 3 and momentum alone."""
    schedule = Schedule.cosine(1000)
    model = oracle_eps(three_gaussians(), schedule)
    y = np.zeros(n, int)
    rng = np.random.default_rng(0)
    return run_apg(model, y, ddim(schedule, 50), 3.0, rng, eta=1.0, beta=beta)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step19_rules")
