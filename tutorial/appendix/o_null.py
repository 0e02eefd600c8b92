r"""Appendix O. Another model in the null's place: autoguidance; and another weight: ReCFG.

**Claim.** Overshoot comes from the null model's mean, which is not the class's. Two rules get rid
of it, and with exact outputs both pay in variance.

**Autoguidance** guides a model away from a worse one that is asked for the same label:

$$ g = g_{good} + w (g_{good} - g_{bad}) $$ (O.1)

Plain guidance if the bad model is the good one without a label; none at $w = 0$, and at no $w$ if
the two are equal. Let the class be $N(m, S I)$ and let the bad model be exact for
$N(m, S_b I)$, $S_b > S$: too wide, as a small or barely trained model is. With fine steps of DDIM,

$$ M = m, \quad V = S (S / S_b)^w $$ (O.2)

**Why.** Both are at rest at $x_t = \sqrt{\bar\alpha_t} m$, so a chain at the mean stays there. Off
it, the argument of (H.1) holds with the bad model's variance for that of all data.

**ReCFG** keeps the label's model and weighs the null one less, by a ratio in each coordinate:

$$ g = (1 + w) \epsilon(x_t, y) - w \rho \epsilon(x_t, \phi) $$ (O.3)
$$ \rho = E[\epsilon(x_t, y)] / E[\epsilon(x_t, \phi)], \quad x_t \sim q(x_t | y) $$ (O.4)

Plain at $\rho = 1$, or $w = 0$. Then the mean of $g$ over the class's own noised data is that of
$\epsilon(x_t, y)$, which plain guidance shifts by $w$ times the difference. With exact outputs
$E[\epsilon(x_t, y)] = 0$, the mean of a score under its own law, while $\epsilon(x_t, \phi)$ has
one. So the exact ratio is 0, the null model drops out, and what is left is $1 + w$ times the
class's score. From $\tau = (1 - \bar\alpha_T) / \bar\alpha_T$ on, with fine steps of DDIM,

$$ V = (1 + \tau) (S / (S + \tau))^{1 + w} $$ (O.5)

which for $w > 0$ goes to 0 as $\tau \to \infty$: every sample is the class's mean. What ReCFG does
for a trained network rests on its mean not being 0.

**Measured.** As in step 19; the bad oracle has variance 0.5 for 0.25. The limits of (O.2)
are .125 and .031; the rest is the error of 50 rows:

| rule | mean height | variance across, along | |
|---|---|---|---|
| plain, $w = 3$ | 2.37 | .137, .079 | |
| autoguidance, $w = 1$ | 1.50 | .118, .114 | no overshoot, and half the variance |
| autoguidance, $w = 3$ | 1.50 | .028, .027 | no overshoot, and a ninth |
| ReCFG, $\rho = 1/2$, $w = 3$ | 1.60 | .036, .024 | hardly any overshoot, a seventh |
| ReCFG, $\rho = 0$, $w = 3$ | 1.50 | .000, .000 | a point |

**Source.** Karras et al. 2024, arXiv:2406.02507; Xia et al. 2024, arXiv:2410.18737.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import oracle_eps
from tutorial.step11_guidance import guide
from tutorial.step17_solvers import ddim, run

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Autoguided:
    """A denoiser for chains of the labels `y`: asked for none, it answers by the bad model."""

    good: Denoiser
    bad: Denoiser
    y: Int[np.ndarray, " n"]

    @property
    def num_classes(self) -> int:
        """K."""
        return self.good.num_classes

    @property
    def prediction(self) -> str:
        """Of both."""
        return self.good.prediction

    def __call__(
        self, xt: Float[np.ndarray, "n D"], t: int, y: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n D"]:
        """The good model's answer, or for null labels the bad one's about the chains' own."""
        null = (y == self.num_classes)[:, None]
        return np.where(null, self.bad(xt, t, self.y), self.good(xt, t, y))  # (O.1)


def autoguided_var(S: float, S_bad: float, w: float) -> float:
    """Where autoguidance by fine steps of DDIM leaves the variance of a Gaussian class."""
    return S * (S / S_bad) ** w  # (O.2)


def recfg(
    cond: Float[np.ndarray, "n *D"],
    null: Float[np.ndarray, "n *D"],
    w: float,
    *_: object,
    rho: float | Float[np.ndarray, " D"] = 1.0,
) -> Float[np.ndarray, "n *D"]:
    """The rule; `rho` = 1 is plain guidance."""
    return guide(cond, rho * null, w)  # (O.3)


def ratio(
    cond: Float[np.ndarray, "n D"], null: Float[np.ndarray, "n D"]
) -> Float[np.ndarray, " D"]:
    """`rho` from both outputs, eps, at noised data of one class."""
    return cond.mean(0) / null.mean(0)  # (O.4)


def recfg_var(S: float, tau: float, w: float) -> float:
    """Where the exact ratio leaves the variance, from noise over signal `tau` at t = T."""
    return (1 + tau) * (S / (S + tau)) ** (1 + w)  # (O.5)


def autoguided(w: float, widen: float = 2.0, n: int = 4000) -> Float[np.ndarray, "n 2"]:
    """The top class, guided away from an oracle of classes with `widen` times the variance."""
    data = three_gaussians()
    schedule = Schedule.cosine(1000)
    y = np.zeros(n, int)
    bad = oracle_eps(GaussianMixture(data.means, widen * data.covs, data.weights), schedule)
    model = Autoguided(oracle_eps(data, schedule), bad, y)
    return run(model, y, ddim(schedule, 50), w, np.random.default_rng(0))


def both_eps(t: int, n: int, schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
    """Both exact outputs at `n` noised points of the top class."""
    data = three_gaussians()
    rng = np.random.default_rng(0)
    y = np.zeros(n, int)
    x0 = data.means[0] + 0.5 * rng.standard_normal((n, 2))
    eps = rng.standard_normal((n, 2))
    xt = xt_from_x0(x0, eps, t, schedule)
    model = oracle_eps(data, schedule)
    null = np.full(n, model.num_classes)
    return model(xt, t, y), model(xt, t, null)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.o_null")
