r"""Appendix P. Model guidance: train the guided output, and ask once.

**Claim.** Guidance need not wait for the sampler. Put it into the target of training, with the
network's own two outputs, through which no gradient goes:

$$ \epsilon' = \epsilon + w (\epsilon_\theta(x_t, y) - \epsilon_\theta(x_t, \phi)) $$ (P.1)

while $\phi$ is trained on $\epsilon$ as ever. The labelled output settles at a guided one,

$$ \epsilon_\infty = \epsilon^*(x_t, y) + w' (\epsilon^*(x_t, y) - \epsilon^*(x_t, \phi)) $$ (P.2)

with $w' = w / (1 - w)$, a scale $1 + w' = 1 / (1 - w)$, where $\epsilon^*$ are the conditional
means. One evaluation a step of the sampler, and one $w$ for ever.

**Why.** A regression settles at the mean of its target given what it sees (5.1). The added term is
fixed by $x_t$ and $y$, so it is its own mean. Learn to the end, look again, and in round $k$

$$ \epsilon_{k+1} = \epsilon^*(x_t, y) + w (\epsilon_k - \epsilon^*(x_t, \phi)) $$ (P.3)

If this is to stay as it is, $(1 - w) \epsilon = \epsilon^*(x_t, y) - w \epsilon^*(x_t, \phi)$:
divide, and (P.2) is there. Its slope in $\epsilon_k$ is $w$ everywhere, so what is off shrinks by

$$ \epsilon_k - \epsilon_\infty = w^k (\epsilon_0 - \epsilon_\infty) $$ (P.4)

Strong guidance is learnt slowly: a scale of 5 is $w = 0.8$, and each round leaves 80% of the gap.

**Boundary.** $w = 0$ is plain training. At $w = 1$ the labelled output would run away by the whole
difference in each round, and beyond there is no limit. For $w < 0$ the scale is below 1, towards
the unconditional model, and for $w \le -1$ the rounds overshoot for ever. All of step 13 holds: a
network that says the guided eps samples what guided chains sample, not the tilted law.

**Source.** Tang et al. 2025, arXiv:2502.12154.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import oracle_eps
from tutorial.step11_guidance import guide

if TYPE_CHECKING:
    from jaxtyping import Float


def target(
    eps: Float[np.ndarray, "n D"],
    now: Float[np.ndarray, "n D"],
    null: Float[np.ndarray, "n D"],
    w: float,
) -> Float[np.ndarray, "n D"]:
    """What training asks of the labelled output, from the noise and the network's two outputs."""
    return eps + w * (now - null)  # (P.1)


def next_round(
    best: Float[np.ndarray, "n D"],
    now: Float[np.ndarray, "n D"],
    null: Float[np.ndarray, "n D"],
    w: float,
) -> Float[np.ndarray, "n D"]:
    """The labelled output that is best for the targets of `now`; `best` and `null` are means."""
    return best + w * (now - null)  # (P.3)


def settled(
    best: Float[np.ndarray, "n D"], null: Float[np.ndarray, "n D"], w: float
) -> Float[np.ndarray, "n D"]:
    """Where the rounds end, for -1 < `w` < 1: guidance of a larger weight."""
    if not -1 < w < 1:
        raise ValueError(f"w = {w} is outside (-1, 1): the rounds do not settle")
    larger = w / (1 - w)
    return guide(best, null, larger)  # (P.2), which rounds approach by (P.4)


def learnt_weights(w: float, n: int, rounds: int) -> Float[np.ndarray, " 2"]:
    """What the two conditional means count in a linear regression on `n` draws, by rounds."""
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
    share = np.array([1.0, 0.0])  # begin with the plain conditional model
    for _ in range(rounds):
        now = np.tensordot(share, seen, 1)
        wanted = target(eps, now, null, w)
        share = np.linalg.lstsq(seen.reshape(2, -1).T, wanted.ravel())[0]
    return np.asarray(share)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.p_distillation")
