"""The noise schedule in torch: the tables of `tutorial.step00_notation`, letter for letter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from minicfg.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Float

    from minicfg.config import TrainConfig


@dataclass(frozen=True, eq=False)
class Schedule:
    """`beta` in float64, shape (T + 1,), indexed by the paper's t: `beta[0] = 0` is data."""

    beta: Float[Tensor, " T1"]
    name: str = "custom"

    def __post_init__(self) -> None:
        """Refuse a table that is no schedule."""
        if self.beta.dtype != torch.float64:
            raise UsageError(f"beta is {self.beta.dtype}: tables are built in torch.float64")
        if len(self.beta) < 2 or self.beta[0] != 0:
            raise UsageError("beta needs beta[0] = 0 (data) and at least one step after it")
        if not bool(((self.beta[1:] > 0) & (self.beta[1:] < 1))[:-1].all()):
            raise UsageError("beta[1:] must lie in (0, 1)")
        if not 0 < self.beta[-1] <= 1:
            raise UsageError("beta[T] must lie in (0, 1]; 1 is zero terminal SNR")

    @classmethod
    def linear(cls, T: int = 1000) -> Schedule:
        """Linear in beta (Ho et al. 2020, arXiv:2006.11239), ends scaled by 1000 / T."""
        t = np.arange(1, _steps(T) + 1)
        beta = 1000 / T * (1e-4 + (0.02 - 1e-4) * (t - 1) / max(T - 1, 1))
        return cls._from_numpy(np.minimum(beta, 0.999), "linear")

    @classmethod
    def cosine(cls, T: int = 1000) -> Schedule:
        """Cosine (Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 17), beta capped at 0.999."""
        f = np.cos((np.arange(_steps(T) + 1) / T + 0.008) / 1.008 * np.pi / 2) ** 2
        return cls._from_numpy(np.minimum(1 - f[1:] / f[:-1], 0.999), "cosine")

    @classmethod
    def sigmoid(cls, T: int = 1000) -> Schedule:
        """Sigmoid in abar, from -3 to 3 (Jabri et al. 2022, arXiv:2212.11972), as above capped."""
        f = 1 / (1 + np.exp(6 * np.arange(_steps(T) + 1) / T - 3))
        abar = (f - f[-1]) / (f[0] - f[-1])
        return cls._from_numpy(np.minimum(1 - abar[1:] / abar[:-1], 0.999), "sigmoid")

    @classmethod
    def named(cls, name: str, T: int) -> Schedule:
        """What a configuration calls `linear`, `cosine`, `sigmoid` or `log_snr`.

        `log_snr` is the guidance paper's own, on T points of its map from -20 to 20: t uniform in
        1..T is its Algorithm 1, but for the grid.
        """
        if name == "log_snr":
            return cls.from_log_snr(log_snr_grid(T))
        if name not in ("linear", "cosine", "sigmoid"):
            raise UsageError(f"schedule = {name!r}: linear, cosine, sigmoid or log_snr is needed")
        return getattr(cls, name)(T)

    @classmethod
    def of(cls, config: TrainConfig) -> Schedule:
        """The one a model is trained on."""
        schedule = cls.named(config.schedule, config.T)
        return schedule.zero_terminal_snr() if config.zero_snr else schedule

    @classmethod
    def from_log_snr(cls, log_snr: Float[Tensor, " T"]) -> Schedule:
        """The chain on an increasing grid of log SNRs: the first is t = T (step 13 of the course).

        Values in -36..36: beyond, 1 and what is beside it are the same number in float64.
        """
        if not len(log_snr) or not bool((log_snr.diff() > 0).all()):
            raise UsageError(f"log_snr = {log_snr.tolist()}: increasing values are needed")
        if not bool((log_snr.abs() <= 36).all()):
            raise UsageError(f"log_snr in {log_snr[0]:g}..{log_snr[-1]:g} is not within -36..36")
        log_snr = log_snr.double()
        later = torch.cat([log_snr[1:], log_snr.new_full((1,), torch.inf)])
        beta = -torch.expm1(log_snr - later) * torch.sigmoid(-log_snr)
        # 1 - (1 - beta): rounded as 1 - alpha_bar will be, so that the last step ends on x0hat.
        return cls(torch.cat([beta.new_zeros(1), 1 - (1 - beta.flip(0))]), "log_snr")

    def zero_terminal_snr(self) -> Schedule:
        """The same with `sqrt(abar)` moved and scaled so that nothing of the data is left at T.

        (Lin et al. 2023, arXiv:2305.08891, alg. 1.) Sampling starts from pure noise; now training
        ends there too. x_T then is the noise: predicting it teaches nothing, and what it says of
        x_0 is 0 / 0. So `prediction` has to be v or x0.
        """
        if self.T < 2:
            raise UsageError("T = 1: a schedule of two steps or more can end at zero SNR")
        signal = self.alpha_bar.sqrt()
        moved = signal[1:] - signal[-1]
        abar = torch.cat([signal[:1], moved * (signal[1] / moved[0])]).square()
        return Schedule(torch.cat([self.beta[:1], 1 - abar[1:] / abar[:-1]]), f"{self.name}, zero")

    @classmethod
    def _from_numpy(cls, beta: np.ndarray, name: str) -> Schedule:
        return cls(torch.from_numpy(np.concatenate([[0.0], beta])), name)

    @property
    def T(self) -> int:
        """Number of steps."""
        return len(self.beta) - 1

    @cached_property
    def alpha(self) -> Float[Tensor, " T1"]:
        """`1 - beta`."""
        return 1 - self.beta

    @cached_property
    def alpha_bar(self) -> Float[Tensor, " T1"]:
        """Product of `alpha` up to t; `alpha_bar[0] = 1`."""
        return torch.cumprod(self.alpha, 0)

    @cached_property
    def posterior_var(self) -> Float[Tensor, " T1"]:
        """`beta_t (1 - abar_{t-1}) / (1 - abar_t)`, exactly 0 at t = 1 (and set to 0 at t = 0)."""
        abar = self.alpha_bar
        var = self.beta[1:] * (1 - abar[:-1]) / (1 - abar[1:])
        return torch.cat([var.new_zeros(1), var])

    @cached_property
    def log_snr(self) -> Float[Tensor, " T1"]:
        """`log(abar / (1 - abar))`; infinite at t = 0."""
        return torch.log(self.alpha_bar / (1 - self.alpha_bar))


def log_snr_grid(
    steps: int, log_snr_min: float = -20.0, log_snr_max: float = 20.0
) -> Float[Tensor, " steps"]:
    """The log SNRs that the guidance paper samples at, from the lowest up (step 13), in float64.

    `-2 log tan` of an angle in even steps (Ho and Salimans 2022, arXiv:2207.12598, sec. 2);
    one step is at `log_snr_min`.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise UsageError(f"steps = {steps!r}: an integer of at least 1 is needed")
    if not -36 <= log_snr_min < log_snr_max <= 36:
        raise UsageError(
            f"log_snr_min = {log_snr_min}, log_snr_max = {log_snr_max}: two values in -36..36 "
            "are needed, the first the smaller"
        )
    ends = torch.tensor([log_snr_min, log_snr_max], dtype=torch.float64)
    first, last = torch.atan(torch.exp(-ends / 2)).tolist()
    angle = torch.linspace(first, last, steps, dtype=torch.float64)
    return -2 * torch.log(torch.tan(angle))


def log_snr_angle(u: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """The guidance paper's `a u + b` at u in 0..1, from log SNR 20 to -20, in float64 (step 13).

    Its cosine is the scale of the data, its sine that of the noise; the log SNR is `-2 log tan`.
    """
    b = math.atan(math.exp(-10))
    return (math.pi / 2 - 2 * b) * u.double() + b


def _steps(T: int) -> int:
    if isinstance(T, bool) or not isinstance(T, int) or T < 1:
        raise UsageError(f"T = {T!r}: a schedule needs an integer number of steps, at least 1")
    return T
