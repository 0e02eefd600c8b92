"""Training: each image's label is dropped now and then, and the rest is the usual noise loss.

    loss = E || target - model(sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, t, y or null) ||^2

with t uniform in 1..T (Ho et al. 2020, arXiv:2006.11239, eq. 14; label dropout: Ho and Salimans
2022, arXiv:2207.12598, Algorithm 1), averaged over pixels, so that it starts at 1. `train` is a
generator: whoever runs it owns the progress bar, the saving and the stopping.

Nothing comes from a global random stream. The first weights are a function of the seed; the images,
times, dropped labels, noise and dropout of step n are functions of (seed, n). So a run that goes on
after step n needs the weights, their average, the optimiser's moments and that one integer, and is
then the run that never stopped, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn

from kernels import philox
from minicfg.config import TrainConfig
from minicfg.data import Dataset, permutation
from minicfg.errors import MachineError, UsageError
from minicfg.schedule import Schedule
from minicfg.unet import UNet

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

__all__ = ["TrainConfig", "TrainState", "start", "train"]

_lasting_order = lru_cache(maxsize=2)(permutation)  # a batch lies in one epoch, or across two


@dataclass(frozen=True, eq=False)
class TrainState:
    """Where a run is after `step` steps. `model`, `ema` and `optimizer` live on and change."""

    step: int
    loss: float
    config: TrainConfig
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    data_digest: str
    model: UNet
    ema: AveragedModel
    optimizer: torch.optim.AdamW


def train(
    data: Dataset, config: TrainConfig, *, resume: TrainState | None = None
) -> Iterator[TrainState]:
    """Train to `config.steps`, yielding the state after each step.

    Args:
        data: what to learn from; `config.data`, its name, is only kept.
        config: the run.
        resume: a state to go on from, of the same `data` and `config`. It is used up: its model
            and optimiser are trained on.

    Raises:
        UsageError: at once, where `resume` belongs to another run, or the images do not fit the
            network.
        MachineError: on the way, where loss or gradient is not finite, before it can reach the
            weights.
    """
    if resume is None:
        return _steps(data, start(config, data.shape, data.classes, data.digest))
    for field in fields(config):
        was, now = getattr(resume.config, field.name), getattr(config, field.name)
        if was != now:
            raise UsageError(
                f"{field.name} = {now!r}, but the run to resume was begun with {was!r}: the same "
                "settings are needed"
            )
    if resume.data_digest != data.digest:
        raise UsageError(f"data = {data.name}: the run to resume was begun on other images")
    return _steps(data, resume)


def start(
    config: TrainConfig,
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    data_digest: str = "",
) -> TrainState:
    """The state before the first step: weights from the seed, no average yet, no moments.

    The caller's own random state is left as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        model = UNet.of(config, shape, len(classes))

    def average(old: PARAM_LIST, new: PARAM_LIST, n: Tensor | int) -> None:
        get_ema_multi_avg_fn(ema_decay(config, int(n)))(old, new, n)

    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
    )
    ema = AveragedModel(model, multi_avg_fn=average).eval().requires_grad_(False)
    return TrainState(0, math.nan, config, classes, shape, data_digest, model, ema, optimizer)


def _steps(data: Dataset, state: TrainState) -> Iterator[TrainState]:
    config, model, optimizer = state.config, state.model.train(), state.optimizer
    abar = Schedule.named(config.schedule, config.T).alpha_bar
    ids = torch.arange(config.batch)
    for step in range(state.step + 1, config.steps + 1):
        index = batch_indices(config.seed, step, config.batch, len(data))
        x0, (t, dropped) = data.x[index], choices(config, step)
        y = data.y[index].masked_fill(dropped, data.num_classes)
        eps = philox.normal(config.seed, ids, step, data.shape, philox.TRAINING_NOISE)
        signal = abar[t].sqrt().float()[:, None, None, None]
        noise = (1 - abar[t]).sqrt().float()[:, None, None, None]
        xt = signal * x0 + noise * eps
        target = {"eps": eps, "x0": x0, "v": signal * eps - noise * x0}[config.prediction]

        with torch.random.fork_rng(devices=[]):  # dropout is the one thing that torch draws itself
            torch.default_generator.manual_seed(dropout_seed(config, step))
            loss = (target - model(xt, t, y)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        length = torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        if not math.isfinite(loss.item()) or not math.isfinite(length.item()):
            raise MachineError(
                f"step {step}: the loss is {loss:.6g} and its gradient {length:.6g} long. Weights "
                f"are still those of step {step - 1}; a smaller lr than {config.lr:g} may do"
            )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        optimizer.step()
        state.ema.update_parameters(model)
        yield replace(state, step=step, loss=loss.item())


def batch_indices(seed: int, step: int, batch: int, n: int) -> Int[Tensor, " batch"]:
    """The images of step 1, 2, ...: epochs laid end to end, each a permutation of all `n`.

    No image is left out at an epoch's end, and a batch may be larger than the data set.
    """
    place = torch.arange((step - 1) * batch, step * batch)
    epochs = range(int(place[0]) // n + 1, int(place[-1]) // n + 2)
    return torch.cat([_lasting_order(seed, e, n)[place[place // n + 1 == e] % n] for e in epochs])


def choices(config: TrainConfig, step: int) -> tuple[Int[Tensor, " B"], Bool[Tensor, " B"]]:
    """For each image of the batch by itself: t, uniform in 1..T, and whether to drop its label."""
    ids = torch.arange(config.batch)
    u = philox.uniform(config.seed, ids, step, 2, philox.TRAINING_CHOICE)
    return (u[:, 0] * config.T).long() + 1, u[:, 1] < config.p_uncond


def dropout_seed(config: TrainConfig, step: int) -> int:
    """A word of `choices`' stream from a place in the batch that no image can have."""
    nobody = torch.tensor([2**32 - 1])
    return int(philox.words(config.seed, nobody, step, 1, philox.TRAINING_CHOICE)[0, 0, 0])


def learning_rate(config: TrainConfig, step: int) -> float:
    """One cycle of half cosines (Smith and Topin 2018, arXiv:1708.07120): up, then down to 0.

    A function of the step, so there is no scheduler to save.
    """
    peak, now = 0.15 * config.steps, step - 0.5
    share = now / peak if now < peak else (config.steps - now) / (config.steps - peak)
    return config.lr * math.sin(math.pi / 2 * share) ** 2


def ema_decay(config: TrainConfig, n: int) -> float:
    """What the average keeps of itself after n steps: at first little, to forget the start.

    (1 + n) / (10 + n) reaches back over a tenth of the steps so far, until that is as far as
    `config.ema` does. The first step's weights are simply copied.
    """
    return min(config.ema, (1 + n) / (10 + n))
