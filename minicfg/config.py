"""What a training run is made of: the one configuration that the flags come from and that is saved.

No torch here, so that `minicfg train --help` is quick.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from minicfg.errors import UsageError


@dataclass(frozen=True)
class TrainConfig:
    """A run is a function of this and of the data. Refuses what cannot be, field by field."""

    data: str = "digits"
    """What to learn from: digits, idx:DIR, folder:DIR, npz:FILE or toy:dots."""
    size: int = 32
    """Height and width that the images of folder:DIR are scaled and cropped to."""
    schedule: Literal["cosine", "linear", "sigmoid", "log_snr"] = "cosine"
    """Noise schedule; log_snr is the guidance paper's own."""
    zero_snr: bool = False
    """Leave nothing of the data at t = T (arXiv:2305.08891); needs prediction v or x0."""
    continuous: bool = False
    """Train at a real-valued log SNR of each image's own, not at T of them: the guidance paper's
    Algorithm 1. Needs schedule log_snr; T then is the finest grid that sampling may take."""
    T: int = 1000
    """Steps of the noise schedule, 1..10000."""
    prediction: Literal["eps", "x0", "v"] = "eps"
    """What the network puts out: the noise, the data, or sqrt(abar) eps - sqrt(1 - abar) x0."""
    min_snr: float = 0.0
    """Cap on the signal-to-noise ratio a loss is weighed by (arXiv:2303.09556: 5); 0 for none."""
    steps: int = 2000
    """Optimiser steps."""
    batch: int = 128
    """Images a step."""
    p_uncond: float = 0.1
    """Probability, for each image, that its label is replaced by the null label, 0..1."""
    lr: float = 3e-3
    """Largest learning rate; it rises from 0, then falls to 0, in half cosines."""
    warmup: float = 0.15
    """Share of the steps in which the learning rate rises, in (0, 1)."""
    weight_decay: float = 0.01
    """Decay of AdamW, in units of the learning rate."""
    grad_clip: float = 1.0
    """Longest gradient; a longer one is scaled down to it."""
    ema: float = 0.995
    """Share of the old average kept by a step, in [0, 1); smaller early on."""
    width: int = 24
    """Channels at full size, a multiple of 8."""
    multipliers: tuple[int, ...] = (1, 2, 2)
    """Channels of each level in units of width; every level after the first halves the picture."""
    blocks: int = 1
    """Residual blocks of a level, each way."""
    attention: tuple[int, ...] = ()
    """Levels that attend over the whole picture, 0 the finest."""
    dropout: float = 0.0
    """Share of activations dropped in training, in [0, 1)."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the network; weights stay float32, and with float16 the loss is scaled."""
    checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, a third more time."""
    compile: bool = False
    """Compile the network first: a minute's wait, then faster steps."""
    seed: int = 0
    """Seed of weights, noise and data order, 0..2^64-1."""

    def __post_init__(self) -> None:
        """Refuse what cannot be, naming field, value and range."""
        levels = len(self.multipliers)
        _one_of("schedule", self.schedule, ("cosine", "linear", "sigmoid", "log_snr"))
        _one_of("precision", self.precision, ("float32", "bfloat16", "float16"))
        _one_of("prediction", self.prediction, ("eps", "x0", "v"))
        _integer("size", self.size, 1, 1024)
        _integer("T", self.T, 1, 10_000)
        _integer("steps", self.steps, 1, 2**32 - 1)
        _integer("batch", self.batch, 1, 2**20)
        _real("p_uncond", self.p_uncond, lambda v: 0 <= v <= 1, "0..1")
        _real("min_snr", self.min_snr, lambda v: v >= 0, "0 or more")
        _real("warmup", self.warmup, lambda v: 0 < v < 1, "in (0, 1)")
        _real("lr", self.lr, lambda v: v > 0, "above 0")
        _real("weight_decay", self.weight_decay, lambda v: v >= 0, "0 or more")
        _real("grad_clip", self.grad_clip, lambda v: v > 0, "above 0")
        _real("ema", self.ema, lambda v: 0 <= v < 1, "in [0, 1)")
        _integer("width", self.width, 8, 1024)
        if self.width % 8:
            raise UsageError(f"width = {self.width}: a multiple of 8 is needed")
        if not 1 <= levels <= 6:
            raise UsageError(f"multipliers = {self.multipliers}: 1..6 levels are needed")
        for multiplier in self.multipliers:
            _integer("multipliers", multiplier, 1, 16)
        _integer("blocks", self.blocks, 1, 16)
        for level in self.attention:
            _integer("attention", level, 0, levels - 1)
        _real("dropout", self.dropout, lambda v: 0 <= v < 1, "in [0, 1)")
        _integer("seed", self.seed, 0, 2**64 - 1)
        if self.zero_snr and (self.prediction == "eps" or self.T == 1):
            raise UsageError(
                f"zero_snr with prediction = {self.prediction!r}, T = {self.T}: x_T would be "
                "the noise itself; prediction v or x0, and T of 2 or more, are needed"
            )
        if self.continuous and (self.schedule != "log_snr" or self.zero_snr or self.T == 1):
            raise UsageError(
                f"continuous with schedule = {self.schedule!r}, T = {self.T}, zero_snr = "
                f"{self.zero_snr}: log_snr as it is, with T of 2 or more, is needed"
            )


def _integer(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"{name} = {value!r}: an integer in {low}..{high} is needed")


def _real(name: str, value: object, holds: Callable[[float], bool], allowed: str) -> None:
    number = value if isinstance(value, (int, float)) and type(value) is not bool else math.nan
    if not (math.isfinite(number) and holds(number)):
        raise UsageError(f"{name} = {value!r}: a number {allowed} is needed")


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{name} = {value!r}: one of {', '.join(allowed)} is needed")


# The names and the defaults of the solvers (`minicfg.solvers`) and of the guidance rules
# (`minicfg.guidance`). They stand here because the help of the command line prints them, and it
# must not import torch.
SolverName = Literal["ddpm", "ddim", "dpmpp_2m", "cfgpp"]
RuleName = Literal["guide", "rescale", "dynamic_threshold", "apg"]

DDIM_ETA = 0.0
DDPM_V = 0.0
RESCALE_PHI = 0.7
DYNAMIC_THRESHOLD_P = 0.995
DYNAMIC_THRESHOLD_BOUND = 1.0
APG_ETA = 0.0
APG_R = math.inf
