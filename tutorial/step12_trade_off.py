r"""Step 12. The trade-off: what guidance gives and what it takes, measured.

**Claim.** A larger $w$ makes samples more like their class and less unlike each other, up to a
point. Denoiser and classifier are exact here: this is guidance itself, no fault of a network.

**Measured** are, for samples $x_i$ that were asked to be of class $y$, relevance and accuracy

$$ R = (1 / n) \sum_i p(y | x_i) $$ (12.1)
$$ A = (1 / n) \sum_i [p(y | x_i) > p(c | x_i) \text{ for every } c \ne y] $$ (12.2)

and appendix C's entropy (C.6) with its bound by the determinant (C.4). For a class of the
`pinwheel`, 4000 samples of 100 steps, the same noise for every $w$, errors (C.8) in units of the
last digit:

| w | relevance | accuracy | entropy | bound |
|---|---|---|---|---|
| -1 | 0.207 (6) | 0.209 (6) | 2.36 (2) | 2.81 (1) |
| 0 | 0.859 (4) | 0.914 (4) | 0.98 (2) | 1.00 (2) |
| 1 | 0.957 (1) | 0.998 (1) | 0.69 (2) | 0.71 (2) |
| 4 | 0.991 (0) | 1.000 (0) | 0.59 (2) | 0.61 (2) |
| 8 | 0.998 (0) | 1.000 (0) | 0.60 (2) | 0.61 (2) |
| 16 | 1.000 (0) | 1.000 (0) | 0.63 (2) | 0.65 (2) |

The same noise makes changes better known than values. From $w = -1$ to 4, the paper's largest, each
of the figure's six steps adds relevance by over 20 errors of the change and takes determinant by
over 15. Entropy falls by over 9 in the first three and by 2 to 4 in the rest. The paper's own toy,
`three_gaussians`, gains less, 0.989 to 1.000 from $w = 0$ to 4, and pays 0.19 of entropy.

**Where it ends.** Beyond that only relevance goes on: from 8 to 16 the bound *rises* by 24 errors.
Where the classifier is sure its gradient vanishes, and guidance with it. A strong one carries
samples there early and then lets go: see the animation, at $w = 4$. The rest of the chain spreads
them like the class alone, but further out, where there are hardly any data. So less diversity with
more $w$ is no law. In appendix D's exact case it is one, as there the pull grows with the distance.

**Boundary.** At $w = -1$ nobody hears the label. From the same noise come the same samples for
every $y$, and each of them shares out a probability of 1 and a single best guess:

$$ w = -1: \quad \sum_y R_y = \sum_y A_y = 1 $$ (12.3)

The pinwheel can be turned into itself, so each has the mean 1 / 5. At $w = 0$ the samples have the
law (B.4), whose entropy is (C.3).

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 4: the same with FID and Inception score.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.appendix.c_entropy import Estimate, entropy, moment_entropy
from tutorial.step01_toy_data import GaussianMixture, pinwheel
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step07_sampling import ancestral_steps

if TYPE_CHECKING:
    from jaxtyping import Float, Int

SCHEDULE = Schedule.cosine(100)
WEIGHTS = (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def measure(x: Float[np.ndarray, "n 2"], y: int, mixture: GaussianMixture) -> list[Estimate]:
    """Relevance, accuracy, entropy and its bound, of samples asked to be of class `y`."""
    if not 0 <= y < mixture.num_classes:
        raise ValueError(f"y = {y} is outside 0..{mixture.num_classes - 1}")
    log_p = mixture.log_class_probability(x)
    p = np.exp(log_p[:, y])
    hits = (log_p.argmax(1) == y).astype(np.float64)
    # At w = -1 the samples do not depend on y, so that both sum to 1 over y (12.3).
    R = Estimate(float(p.mean()), p)  # (12.1)
    A = Estimate(float(hits.mean()), hits)  # (12.2)
    return [R, A, entropy(x), moment_entropy(x)]


def chains(mixture: GaussianMixture, y: Int[np.ndarray, " n"], w: float) -> list[np.ndarray]:
    """`x_t` for t = T..0, (n, 2), from the same noise whatever `w` and `y` are."""
    model = oracle_eps(mixture, SCHEDULE)
    rng = np.random.default_rng(0)
    return [xt for _, xt in ancestral_steps(model, y, SCHEDULE, w, rng)]


@cache
def sweep() -> list[list[Estimate]]:
    """The measures of class 0 of the pinwheel, a row for each of `WEIGHTS`."""
    y = np.zeros(4000, int)
    mixture = pinwheel()
    return [measure(chains(mixture, y, w)[-1], 0, mixture) for w in WEIGHTS]


def errors_of_change(rows: list[list[Estimate]], k: int) -> Float[np.ndarray, " rows1"]:
    """By how many of its errors measure `k` changes from each row to the next."""
    changes = [after[k] - before[k] for before, after in pairwise(rows)]
    return np.array([change.value / change.error for change in changes])


if __name__ == "__main__":
    from pathlib import Path

    from tutorial.figures.program import present
    from tutorial.figures.step12_trade_off import animate

    present("step12_trade_off")
    print("animation:", animate(Path("runs/tutorial/step12_trade_off.gif")))
