r"""Step 15, part 2. Overshoot and shrinkage: what guided chains sample, with exact outputs.

**Claim.** Not the tilted law. Let a chain have the oracle for a network, and look at the samples of
one class: their mean $M$, measured from the middle of all data, and a variance $V$. For $w > 0$, in
the three Gaussians here and in the two of part 3,

$$ M_{tilted} < M_{alg. 2} < M_{DDIM} $$ (15.5)
$$ V_{tilted} > V_{alg. 2} > V_{DDIM} $$ (15.6)

**The figures.** The top class of `three_gaussians`, 256 steps of log SNR from -20 to 20, $v = 0.3$.
Height, and in brackets the variance across and along it:

| w | tilted law | Algorithm 2 (step 13) | DDIM (step 14) |
|---|---|---|---|
| 0 | 1.500 (.250, .250) | 1.500 (.245, .245) | 1.500 (.247, .247) |
| 1 | 1.515 (.244, .235) | 1.678 (.224, .203) | 1.914 (.173, .126) |
| 3 | 1.526 (.241, .226) | 1.797 (.221, .198) | 2.365 (.141, .083) |

All are sums over grids, good to their last digit (the chains': see the tests). 40,000 samples have
standard errors of .0025 and less, and agree with all of it.

**It is not the number of steps.** With 1,024 of them Algorithm 2 comes to 1.677 (.228, .206) at
$w = 1$, and DDIM to 1.914 (.175, .128). Finite steps cost every chain a little of its spread
(step 8), at $w = 0$ too: there it is all that is wrong. Part 3 goes to the limit in closed form.

**Why.** The tilt asks a classifier of $x_0$, which is sure of nearly everyone and then says nothing
more. A chain asks one of $x_t$, at every $t$. Early in the chain that is sure of nobody, so it
pulls everybody outwards (9.13), whether or not they will need it. At each $t$ between the ends
guidance aims too far out (10.11) and too narrow (10.10). No later step takes that back: late in
the chain, and well inside the class, guidance adds nothing, neither outwards nor inwards.

DDIM keeps all of every pull. Each step of Algorithm 2 replaces a part of $x_t$ by new noise, and
with it a part of what the pulls have done. Part 4 says what it is pulled back to.

**What it costs.** The tilted law is the class without its doubtful members (15.3). At $w = 3$
about half of DDIM's samples are above 2.37, where the class has 4% of its own, and their variance
along the height is a third of the class's. They look more like the class to a classifier, and they
are less like the class.

**Boundary.** At $w = 0$ all three are the class, at $w = -1$ all data. Between the two the signs of
(15.5) and (15.6) are the other way round: chains fall short, and spread.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, alg. 2; Chidambaram et al. 2024,
arXiv:2409.13074 (proof, for mixtures, that guidance does not sample the tilted law).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from tutorial.step01_toy_data import three_gaussians
from tutorial.step07_oracle import oracle_eps
from tutorial.step13_log_snr import algorithm_2
from tutorial.step13_process import log_snr_grid, schedule_from
from tutorial.step14_ddim import ddim
from tutorial.step14_rows import run

if TYPE_CHECKING:
    from jaxtyping import Float

CHUNK = 4000
TABLE = {
    0.0: ((1.500, 0.250, 0.250), (1.500, 0.245, 0.245), (1.500, 0.247, 0.247)),
    1.0: ((1.515, 0.244, 0.235), (1.678, 0.224, 0.203), (1.914, 0.173, 0.126)),
    3.0: ((1.526, 0.241, 0.226), (1.797, 0.221, 0.198), (2.365, 0.141, 0.083)),
}


@cache
def guided_samples(
    w: float, n: int = CHUNK, T: int = 256, seed: int = 0
) -> Float[np.ndarray, "2 n 2"]:
    """`n` of the top class by Algorithm 2, v = .3, and `n` by DDIM over the same `T` steps."""
    log_snr = log_snr_grid(T)
    rng = np.random.default_rng(seed)
    schedule = schedule_from(log_snr)
    model = oracle_eps(three_gaussians(), schedule)
    table = ddim(schedule)
    by_algorithm_2: list[np.ndarray] = []
    by_ddim: list[np.ndarray] = []
    for start in tqdm(range(0, n, CHUNK), f"w = {w:g}", disable=None):
        y = np.zeros(min(CHUNK, n - start), dtype=int)
        by_algorithm_2.append(algorithm_2(model, y, log_snr, w, 0.3, rng))
        by_ddim.append(run(model, y, table, w, rng))
    return np.array([np.concatenate(by_algorithm_2), np.concatenate(by_ddim)])


def summary(x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "3 2"]:
    """Height, variance across and variance along it, each with its standard error."""
    square = (x - x.mean(0)) ** 2
    each = np.stack([x[:, 1], square[:, 0], square[:, 1]])
    values = each.mean(1)  # M of (15.5) and V of (15.6), across and along
    errors = each.std(1) / len(x) ** 0.5
    return np.stack([values, errors], 1)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step15_overshoot")
