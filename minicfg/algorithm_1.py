"""Algorithm 1 of the guidance paper: train at a real-valued log SNR, each image at its own.

    u ~ U[0, 1],    lambda = -2 log tan(a u + b),    x_t = cos(a u + b) x_0 + sin(a u + b) eps

(Ho and Salimans 2022, arXiv:2207.12598; step 13 of the course.) The network is told of it as
`t = 1 + u (T - 1)`, a real number. At a whole t that is the point of the schedule `log_snr`, which
is all that samplers ask for, Algorithm 2 among them: `solvers.ddpm(schedule, steps, v=...)`. So T
numbers the angle and bounds the steps of sampling, and no log SNR is left out for it.

u and the dropped labels are made of the same words as `kernels.noised_batch` makes its choices:
with the same seed, a run on the grid has the same labels, the same noise and nearly the same t.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from kernels import philox, reference
from minicfg.config import TrainConfig
from minicfg.schedule import log_snr_angle

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def algorithm_1(
    config: TrainConfig,
    x0: Float[Tensor, "B *D"],
    y: Int[Tensor, " B"],
    null: int,
    step: int,
    ids: Int[Tensor, " B"],
) -> tuple[Tensor, Float[Tensor, " B"], Int[Tensor, " B"], Tensor, Float[Tensor, " B"]]:
    """What `step` of training shows the network.

    Args:
        config: `T`, `p_uncond`, `prediction` and `seed` of it.
        x0: images.
        y: their labels.
        null: the label that stands for none.
        step: 0..2^32-1.
        ids: (B,) integers in 0..2^32-1, one a place in the batch.

    Returns:
        `(xt, t, y, target, log_snr)`: t in 1..T as float32, null for the labels that were dropped,
        log SNRs in -20..20 as float64.
    """
    u, lot = philox.uniform(config.seed, ids, step, 2, philox.TRAINING_CHOICE).unbind(1)
    angle = log_snr_angle(u)
    xt, target = reference.noised(
        x0,
        angle.cos(),
        angle.sin(),
        prediction=config.prediction,
        seed=config.seed,
        step=step,
        sample_ids=ids,
    )
    t = 1 + u * (config.T - 1)
    y = y.masked_fill(lot < config.p_uncond, null)
    return xt, t.float(), y, target, -2 * angle.tan().log()
