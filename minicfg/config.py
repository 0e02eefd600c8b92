"""The settings of a training run: a frozen dataclass in four groups, which also makes the flags.

The names that a user can choose from (schedules, predictions, precisions, solvers, guidance rules)
are `Literal` types here. Every other list of them is read from these types with
`typing.get_args`. This module does not import torch, so that `minicfg train --help` starts quickly.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from minicfg.errors import UsageError, short_repr

ScheduleName = Literal["cosine", "linear", "sigmoid", "log_snr", "flow"]
Prediction = Literal["eps", "x0", "v", "velocity"]
SolverName = Literal["ddpm", "ddim", "dpmpp_2m", "cfgpp"]
RuleName = Literal["guide", "rescale", "dynamic_threshold", "apg"]

# Defaults of the solvers (`minicfg.solvers`) and of the guidance rules (`minicfg.guidance`). They
# stand here because the help of the command line prints them, and it must not import torch.
DDIM_ETA = 0.0
DDPM_V = 0.0
RESCALE_PHI = 0.7
DYNAMIC_THRESHOLD_P = 0.995
DYNAMIC_THRESHOLD_BOUND = 1.0
APG_ETA = 0.0
APG_R = math.inf

# There is float16 as well as bfloat16 because the free GPUs of hosted notebooks (NVIDIA T4) have
# arithmetic for float16 but none for bfloat16. Small gradients underflow to 0 in float16, so the
# loss is scaled up before the backward pass (`torch.amp.GradScaler`).
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class DataSettings:
    """The images of a training run."""

    data: str = ""
    """Training data: digits, glyphs (glyphs:1x28 for grey ones of 28x28 pixels, glyphs:ABC for some
    letters), idx:DIR, folder:DIR, npz:FILE or toy:dots. It is empty for a data set that was made in
    Python."""
    size: int = 32
    """Height and width in pixels, 1..1024, to which the images of folder:DIR are scaled and
    cropped."""


@dataclass(frozen=True)
class DiffusionSettings:
    """The noise process, what the network predicts, and the loss."""

    schedule: ScheduleName = "cosine"
    """Noise schedule. log_snr is the one of the guidance paper. flow has the noise levels of flow
    matching (arXiv:2209.03003); its x_T is pure noise, so it requires prediction velocity, v or
    x0."""
    zero_snr: bool = False
    """Rescale the schedule so that x_T is pure noise (arXiv:2305.08891). Use it if samples are
    never very dark or very bright; it requires prediction velocity, v or x0."""
    continuous: bool = False
    """Draw a real-valued log SNR for each image instead of one of T values: Algorithm 1 of the
    guidance paper (arXiv:2207.12598). It requires schedule log_snr; T is then the largest number
    of steps that a sampler can take."""
    T: int = 1000
    """Number of steps of the noise schedule, 1..10000."""
    prediction: Prediction = "eps"
    """What the network predicts: the noise eps, the data x0,
    v = sqrt(abar) eps - sqrt(1 - abar) x0, or velocity = eps - x0, the target of flow matching."""
    min_snr: float = 0.0
    """0 for no min-SNR weighting (arXiv:2303.09556): a squared error in the predicted quantity has
    weight 1 at every t. With a positive value, a squared error in x_0 is multiplied by
    min(SNR, value); try the paper's 5 if training is slow."""
    p_uncond: float = 0.1
    """Probability, 0..1, that the label of an image is replaced by the null label."""


@dataclass(frozen=True)
class NetworkSettings:
    """The UNet."""

    width: int = 24
    """Number of channels at full resolution, a multiple of 8 in 8..1024."""
    multipliers: tuple[int, ...] = (1, 2, 2)
    """Number of channels of each level in units of width: 1 to 6 integers, each 1..16. Every level
    after the first halves the resolution."""
    blocks: int = 1
    """Number of residual blocks per level, 1..16, on the way down and again on the way up."""
    attention: tuple[int, ...] = ()
    """Levels with self-attention over all pixels, where 0 is the finest."""
    dropout: float = 0.0
    """Fraction of the activations that are set to 0 in training, in [0, 1)."""


@dataclass(frozen=True)
class OptimiserSettings:
    """The steps of a training run, their length, and how they are computed."""

    steps: int = 2000
    """Number of optimiser steps, 1..2^32-1."""
    batch: int = 128
    """Number of images per step, 1..2^20, over all processes."""
    lr: float = 3e-3
    """Largest learning rate, above 0. The rate rises from 0 to it and falls to 0 again, in half
    cosines."""
    warmup: float = 0.15
    """Fraction of the steps in which the learning rate rises, in (0, 1). A longer warm-up helps if
    the loss jumps in the first steps."""
    weight_decay: float = 0.01
    """Weight decay of AdamW (arXiv:1711.05101), 0 or more: each step multiplies the weights by
    1 - learning rate * weight_decay."""
    grad_clip: float = 1.0
    """Largest norm of the gradient, above 0; a longer gradient is scaled down to it. Lower it if
    single batches make the loss jump; a large value such as 1e9 switches clipping off."""
    ema: float = 0.995
    """Decay per step of the exponential moving average of the weights, in [0, 1). Samples are drawn
    with the average, which covers about 1 / (1 - ema) steps, fewer at the start. Raise it in long
    runs; with 0 the average equals the weights."""
    precision: Precision = "float32"
    """Arithmetic of the network; the weights stay float32. On a GPU, bfloat16 is faster, and so is
    float16 on GPUs without bfloat16 (such as the T4 of free hosted notebooks)."""
    checkpointing: bool = False
    """Recompute activations in the backward pass instead of storing them (arXiv:1604.06174). It
    takes a third more time; use it if a batch does not fit into the GPU's memory."""
    compile: bool = False
    """Compile the network with torch.compile before the first step. That takes about a minute, so
    it pays in runs of many steps on a GPU."""
    seed: int = 0
    """Seed of the weights, the noise and the order of the data, 0..2^64-1."""


@dataclass(frozen=True)
class TrainConfig(OptimiserSettings, NetworkSettings, DiffusionSettings, DataSettings):
    """The settings of a training run, which together with the data determine its result.

    They are declared in four groups, which are also the groups of flags of `minicfg train`. Only
    `drop_separately` is no flag, because data of the command line have one label per image.

    Raises:
        UsageError: if a setting has an invalid value, or two settings contradict each other.
    """

    drop_separately: bool = False
    """For a condition of several tensors: drop each with probability p_uncond by itself, not all
    together. Then all n are dropped together with probability p_uncond^n."""

    def __post_init__(self) -> None:
        """Check every setting, then the settings that depend on each other."""
        check_choice("schedule", self.schedule, ScheduleName)
        check_choice("precision", self.precision, Precision)
        check_choice("prediction", self.prediction, Prediction)
        for name in ("zero_snr", "continuous", "drop_separately", "checkpointing", "compile"):
            _check_bool(name, getattr(self, name))
        if not isinstance(self.data, str):
            raise UsageError(
                f"data = {short_repr(self.data)} has type {type(self.data).__name__}: use text, "
                "such as 'digits'"
            )
        for name in ("multipliers", "attention"):
            value = getattr(self, name)
            if not isinstance(value, tuple):
                raise UsageError(
                    f"{name} = {short_repr(value)} is not a tuple: use a tuple of integers"
                )
        check_integer("size", self.size, 1, 1024)
        check_integer("T", self.T, 1, 10_000)
        check_integer("steps", self.steps, 1, 2**32 - 1)
        check_integer("batch", self.batch, 1, 2**20)
        _check_number("p_uncond", self.p_uncond, lambda v: 0 <= v <= 1, "in 0..1")
        _check_number("min_snr", self.min_snr, lambda v: v >= 0, "of 0 or more")
        _check_number("warmup", self.warmup, lambda v: 0 < v < 1, "in (0, 1)")
        _check_number("lr", self.lr, lambda v: v > 0, "above 0")
        _check_number("weight_decay", self.weight_decay, lambda v: v >= 0, "of 0 or more")
        _check_number("grad_clip", self.grad_clip, lambda v: v > 0, "above 0")
        _check_number("ema", self.ema, lambda v: 0 <= v < 1, "in [0, 1)")
        check_integer("width", self.width, 8, 1024)
        if self.width % 8:
            raise UsageError(
                f"width = {self.width} is not divisible by 8, the size of a normalised group of "
                "channels: use a multiple of 8"
            )
        levels = len(self.multipliers)
        if not 1 <= levels <= 6:
            raise UsageError(
                f"multipliers = {self.multipliers} describes {levels} levels: use 1..6 levels"
            )
        for multiplier in self.multipliers:
            check_integer("multipliers", multiplier, 1, 16)
        check_integer("blocks", self.blocks, 1, 16)
        for level in self.attention:
            check_integer("attention", level, 0, levels - 1)
        _check_number("dropout", self.dropout, lambda v: 0 <= v < 1, "in [0, 1)")
        check_integer("seed", self.seed, 0, 2**64 - 1)
        if self.zero_snr and (self.prediction == "eps" or self.T == 1):
            raise UsageError(
                f"zero_snr with prediction = {self.prediction!r}, T = {self.T}: x_T is then pure "
                "noise and contains nothing of x_0; use prediction velocity, v or x0, and T of 2 "
                "or more"
            )
        if self.schedule == "flow" and self.prediction == "eps":
            raise UsageError(
                "schedule = 'flow' with prediction = 'eps': x_T is then pure noise, and its eps "
                "determines nothing of x_0; use prediction velocity, v or x0"
            )
        if self.continuous and (self.schedule != "log_snr" or self.zero_snr or self.T == 1):
            raise UsageError(
                f"continuous with schedule = {self.schedule!r}, T = {self.T}, zero_snr = "
                f"{self.zero_snr}: Algorithm 1 is defined for log_snr alone; use schedule log_snr "
                "without zero_snr, and T of 2 or more"
            )


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raise a UsageError unless `value` is one of the strings of `choices`, a `Literal` type."""
    allowed = get_args(choices)
    if not isinstance(value, str) or value not in allowed:
        listed = ", ".join(allowed[:-1]) + f" or {allowed[-1]}"
        raise UsageError(f"{name} = {short_repr(value)} is unknown: use {listed}")


def _check_bool(name: str, value: object) -> None:
    """Raise a UsageError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise UsageError(
            f"{name} = {short_repr(value)} has type {type(value).__name__}: use True or False"
        )


def check_integer(name: str, value: object, low: int, high: int) -> None:
    """Raise a UsageError unless `value` is an integer with low <= value <= high."""
    if isinstance(value, bool) or not isinstance(value, int):
        wrong = f"has type {type(value).__name__}"
    elif not low <= value <= high:
        wrong = "is out of range"
    else:
        return
    raise UsageError(f"{name} = {short_repr(value)} {wrong}: use an integer in {low}..{high}")


def _check_number(name: str, value: object, holds: Callable[[float], bool], allowed: str) -> None:
    """Raise a UsageError unless `value` is a finite number for which `holds` is true."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        wrong = f"has type {type(value).__name__}"
    elif not abs(value) <= sys.float_info.max:  # NaN, infinities and integers beyond any float
        wrong = "is not a finite number"
    elif not holds(value):
        wrong = "is out of range"
    else:
        return
    raise UsageError(f"{name} = {short_repr(value)} {wrong}: use a number {allowed}")
