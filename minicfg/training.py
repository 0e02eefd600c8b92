"""Training: each image's label is dropped now and then, and the rest is the usual noise loss.

    loss = E || target - model(sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, t, y or null) ||^2

with t uniform in 1..T (Ho et al. 2020, arXiv:2006.11239, eq. 14; label dropout: Ho and Salimans
2022, arXiv:2207.12598, Algorithm 1), averaged over pixels, so that it starts at 1. `algorithm_1` is
the whole of that paper's: each image at a real-valued log SNR of its own. `train` is a generator:
whoever runs it owns the progress bar, the saving and the stopping.

Nothing comes from a global random stream. The first weights are a function of the seed; the images,
times, dropped labels, noise and dropout of step n are functions of (seed, n). So a run that goes on
after step n needs the weights, their average, the optimiser's moments and that one integer, and is
then the run that never stopped, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn

from kernels import noised_batch, philox, reference
from minicfg.algorithm_1 import algorithm_1
from minicfg.config import TrainConfig
from minicfg.data import Dataset, permutation
from minicfg.distributed import Ranks
from minicfg.errors import MachineError, UsageError
from minicfg.schedule import Schedule
from minicfg.unet import UNet

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["TrainConfig", "TrainState", "start", "train"]

ALONE = Ranks()

_lasting_order = lru_cache(maxsize=2)(permutation)  # a batch lies in one epoch, or across two


@dataclass(frozen=True, eq=False)
class TrainState:
    """Where a run is after `step` steps. The last four live on and change."""

    step: int
    loss: float
    config: TrainConfig
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    data_digest: str
    model: UNet
    ema: AveragedModel
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler  # of float16 gradients; else it does nothing

    @property
    def device(self) -> torch.device:
        """Where the run is."""
        return self.model.stem.weight.device


def train(
    data: Dataset,
    config: TrainConfig,
    *,
    resume: TrainState | None = None,
    device: torch.device | str = "cpu",
    ranks: Ranks = ALONE,
) -> Iterator[TrainState]:
    """Train to `config.steps`, yielding the state after each step.

    Args:
        data: what to learn from; `config.data`, its name, is only kept.
        config: the run.
        resume: a state to go on from, of the same `data` and `config`. It is used up: its model
            and optimiser are trained on, where they are.
        device: where to begin a new run.
        ranks: who shares the batch. Weights are those of a run alone, to rounding, unless the
            network has dropout, whose masks every rank draws for itself.

    Raises:
        UsageError: at once, where `resume` belongs to another run, or the images do not fit the
            network.
        MachineError: on the way, where loss or gradient is not finite, before it can reach the
            weights.
    """
    if config.batch < ranks.world:
        raise UsageError(f"batch = {config.batch}: {ranks.world} processes need an image each")
    if resume is None:
        begun = start(config, data.shape, data.classes, data.digest, device)
        return _steps(data, begun, ranks)
    for field in fields(config):
        was, now = getattr(resume.config, field.name), getattr(config, field.name)
        if was != now:
            raise UsageError(
                f"{field.name} = {now!r}, but the run to resume was begun with {was!r}: the same "
                "settings are needed"
            )
    if resume.data_digest != data.digest:
        raise UsageError(f"data = {data.name}: the run to resume was begun on other images")
    return _steps(data, resume, ranks)


def start(
    config: TrainConfig,
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    data_digest: str = "",
    device: torch.device | str = "cpu",
) -> TrainState:
    """The state before the first step: weights from the seed, no average yet, no moments.

    The caller's own random state is left as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        model = UNet.of(config, shape, len(classes)).to(device)

    def average(old: PARAM_LIST, new: PARAM_LIST, n: Tensor | int) -> None:
        get_ema_multi_avg_fn(ema_decay(config, int(n)))(old, new, n)

    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
    )
    ema = AveragedModel(model, multi_avg_fn=average).eval().requires_grad_(False)
    half = config.precision == "float16"
    scaler = torch.amp.GradScaler(torch.device(device).type, enabled=half)
    return TrainState(
        0, math.nan, config, classes, shape, data_digest, model, ema, optimizer, scaler
    )


def _steps(data: Dataset, state: TrainState, ranks: Ranks) -> Iterator[TrainState]:
    config, model, optimizer, scaler = (
        state.config,
        state.model.train(),
        state.optimizer,
        state.scaler,
    )
    schedule, device = Schedule.of(config), state.device
    abar, log_snrs = schedule.alpha_bar.to(device), schedule.log_snr.to(device)
    mine = ranks.share(config.batch)
    ids = torch.arange(config.batch, device=device)[mine]
    net = ranks.wrap(model)
    if config.compile:
        net = torch.compile(net)
    for step in range(state.step + 1, config.steps + 1):
        index = batch_indices(config.seed, step, config.batch, len(data))[mine]
        x0, y = data.x[index].to(device), data.y[index].to(device)
        if config.continuous:
            xt, t, y, target, log_snr = algorithm_1(config, x0, y, data.num_classes, step, ids)
        else:
            xt, t, y, target = noised_batch(
                x0,
                y,
                abar,
                null=data.num_classes,
                p_uncond=config.p_uncond,
                prediction=config.prediction,
                seed=config.seed,
                step=step,
                sample_ids=ids,
            )
            log_snr = log_snrs[t]
        with _dropout(config, step, ranks, device), _autocast(config, device):
            out = net(xt, t, y)
        error = (target - out.to(target.dtype)).square().flatten(1).mean(1)
        weight = loss_weight(config, log_snr)
        loss = (weight * error).sum() / config.batch  # this rank's part of it
        optimizer.zero_grad()
        scaler.scale(loss * ranks.world).backward()  # averaged over the ranks on the way
        scaler.unscale_(optimizer)
        length = torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip).item()
        whole = ranks.sum(loss.detach()).item()
        # A float16 gradient that overflows is the scaler's to skip, and to try again smaller.
        if not math.isfinite(whole) or not (scaler.is_enabled() or math.isfinite(length)):
            raise MachineError(
                f"step {step}: the loss is {whole:.6g} and its gradient {length:.6g} long. Weights "
                f"are still those of step {step - 1}; a smaller lr than {config.lr:g} may do"
            )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        scaler.step(optimizer)
        scaler.update()
        state.ema.update_parameters(model)
        yield replace(state, step=step, loss=whole)


def loss_weight(config: TrainConfig, log_snr: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """What a squared error there counts: 1, or min-SNR (Hang et al. 2023, arXiv:2303.09556).

    The error in x_0 is weighed by min(SNR, min_snr). In eps it is 1 / SNR times as large, in v
    1 / (SNR + 1) times, so there the weights are that much larger or smaller.
    """
    if not config.min_snr:
        return torch.ones_like(log_snr, dtype=torch.float32)
    snr = log_snr.exp()
    capped = snr.clamp(max=config.min_snr)
    by = {"eps": capped / snr, "x0": capped, "v": capped / (snr + 1)}[config.prediction]
    return by.float()


@contextmanager
def _dropout(config: TrainConfig, step: int, ranks: Ranks, device: torch.device) -> Iterator[None]:
    """Dropout is the one thing that torch draws itself: from a seed of this step and rank."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        seed = dropout_seed(config, step, ranks.rank)
        if cuda:
            torch.cuda.manual_seed(seed)
        torch.default_generator.manual_seed(seed)
        yield


def _autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    dtype = getattr(torch, config.precision)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


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
    return reference.choices(config.T, config.p_uncond, config.seed, step, ids)


def dropout_seed(config: TrainConfig, step: int, rank: int = 0) -> int:
    """A word of `choices`' stream from a place in the batch that no image can have."""
    nobody = torch.tensor([2**32 - 1 - rank])
    return int(philox.words(config.seed, nobody, step, 1, philox.TRAINING_CHOICE)[0, 0, 0])


def learning_rate(config: TrainConfig, step: int) -> float:
    """One cycle of half cosines (Smith and Topin 2018, arXiv:1708.07120): up, then down to 0.

    A function of the step, so there is no scheduler to save.
    """
    peak, now = config.warmup * config.steps, step - 0.5
    share = now / peak if now < peak else (config.steps - now) / (config.steps - peak)
    return config.lr * math.sin(math.pi / 2 * share) ** 2


def ema_decay(config: TrainConfig, n: int) -> float:
    """What the average keeps of itself after n steps: at first little, to forget the start.

    (1 + n) / (10 + n) reaches back over a tenth of the steps so far, until that is as far as
    `config.ema` does. The first step's weights are simply copied.
    """
    return min(config.ema, (1 + n) / (10 + n))
