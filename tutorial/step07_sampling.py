r"""Step 7. Sampling: the reverse chain.

**Claim.** A sampler starts from noise and takes the reverse step of step 6, $T$ times:

$$ x_T \sim N(0, I) $$ (7.1)
$$ x_{t-1} = c_0 \hat x_0 + c_t x_t + \sqrt{\tilde\beta_t} z, \quad z \sim N(0, I) $$ (7.2)

$$ \epsilon = (1 + w) \epsilon(x_t, y) - w \epsilon(x_t, \phi) $$ (7.3)

with $\hat x_0$ from a noise predictor, mixed as step 11 explains. For data $N(\mu, S)$, the oracle
and $w = 0$ the law of every $x_t$ is known (appendix B). At finite $T$ it is not that of the noised
data: samples are too narrow, by about $1 / T$.

**Boundary.** At $t = 1$, $c_0 = 1$ and $c_t = \tilde\beta_1 = 0$. Noise added there hides in the
samples (with $T = 50$ it takes millions to see), but not in a single step:

$$ x_0 = \hat x_0(x_1) $$ (7.4)

**Source.** Ho et al. 2020, arXiv:2006.11239, alg. 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser, Normals, last
from tutorial.step02_forward import Schedule
from tutorial.step06_reverse import p_xprev_given_xt

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def ancestral_steps(
    model: Denoiser, y: Int[np.ndarray, " n"], schedule: Schedule, w: float, rng: Normals
) -> Iterator[tuple[int, Float[np.ndarray, "n 2"]]]:
    """Yield `(t, x_t)` for t = T..0, a chain a label of `y` in 0..K; `rng` draws T + 1 times."""
    null = np.full_like(y, model.num_classes)
    xt = rng.standard_normal((len(y), 2))  # (7.1)
    yield schedule.T, xt
    for t in range(schedule.T, 0, -1):
        out = model(xt, t, y)
        if w != 0:
            out_null = model(xt, t, null)
            out = (1 + w) * out - w * out_null  # (7.3); step11_guidance.guide
        law = p_xprev_given_xt(xt, out, t, schedule, model.prediction)
        z = rng.standard_normal(xt.shape)
        # At t = 1 the variance is 0, so that x_0 is the guess of the data (7.4).
        xt = law.mean + np.sqrt(law.var) * z  # (7.2)
        yield t - 1, xt


def ancestral_sample(
    model: Denoiser, y: Int[np.ndarray, " n"], schedule: Schedule, w: float, rng: Normals
) -> Float[np.ndarray, "n 2"]:
    """One sample of each label in `y`, in 0..K, with guidance weight `w`.

    >>> from tutorial.step01_toy_data import three_gaussians
    >>> from tutorial.step05_best_guess import oracle_eps
    >>> model = oracle_eps(three_gaussians(), Schedule.cosine(10))
    >>> y, rng = np.array([0, 1, 2]), np.random.default_rng(0)
    >>> ancestral_sample(model, y, Schedule.cosine(10), 0.0, rng).shape
    (3, 2)
    """
    _, x0 = last(ancestral_steps(model, y, schedule, w, rng))
    return x0


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step07_sampling")
