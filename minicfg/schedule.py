"""The noise schedule: how much of the data and how much noise there is in x_t, for t = 0..T.

A schedule is one table, beta_1..beta_T, from which the others follow (step 2 and 3 of the course).
The tables are those of `tutorial.step02_forward` under the same names, as float64 tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from minicfg.config import ScheduleName, TrainConfig, check_choice
from minicfg.errors import UsageError, check_number, check_type

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Schedule:
    """A noise schedule, given by `beta`.

    Args:
        beta: (T + 1,) float64, indexed by the t of the paper. `beta[0] = 0` belongs to the data.
        name: the name to print.

    Raises:
        UsageError: if `beta` has another type, or a value outside (0, 1).
    """

    beta: Float[Tensor, " T1"]
    name: str = "custom"

    def __post_init__(self) -> None:
        """Check the type and the values of `beta`."""
        _check_vector("beta", self.beta)
        if self.beta.dtype != torch.float64:
            raise UsageError(
                f"beta is {self.beta.dtype}, in which 1 - alpha_bar loses digits: pass float64, "
                "for example beta.double()"
            )
        if len(self.beta) < 2:
            raise UsageError(
                f"beta has {len(self.beta)} entries: pass beta[0] = 0 and at least one step after "
                "it"
            )
        if self.beta[0] != 0:
            raise UsageError(
                f"beta[0] = {self.beta[0]:g}, but x_0 is data without noise: put a 0 before the "
                "first step's beta"
            )
        inner = self.beta[1:-1]
        # A comparison with NaN is false, so a NaN is refused too.
        inside = (inner > 0) & (inner < 1)
        if not bool(inside.all()):
            t = 1 + int(inside.long().argmin())
            raise UsageError(f"beta[{t}] = {self.beta[t]:g} is out of range: use values in (0, 1)")
        if not 0 < self.beta[-1] <= 1:
            raise UsageError(
                f"beta[T] = {self.beta[-1]:g} is out of range: use a value in (0, 1], where 1 "
                "means that x_T is pure noise"
            )

    @classmethod
    def linear(cls, T: int = 1000) -> Schedule:
        """Betas that grow linearly in t (Ho et al. 2020, arXiv:2006.11239), scaled by 1000 / T."""
        t = np.arange(1, _check_steps(T) + 1)
        beta = 1000 / T * (1e-4 + (0.02 - 1e-4) * (t - 1) / max(T - 1, 1))
        return cls._from_numpy(np.minimum(beta, 0.999), "linear")

    @classmethod
    def cosine(cls, T: int = 1000) -> Schedule:
        """alpha_bar is a squared cosine of t (Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 17).

        As in the paper, beta is capped at 0.999.
        """
        f = np.cos((np.arange(_check_steps(T) + 1) / T + 0.008) / 1.008 * np.pi / 2) ** 2
        return cls._from_numpy(np.minimum(1 - f[1:] / f[:-1], 0.999), "cosine")

    @classmethod
    def sigmoid(cls, T: int = 1000) -> Schedule:
        """alpha_bar is a sigmoid of t, from 3 to -3 (Jabri et al. 2022, arXiv:2212.11972).

        As in `cosine`, beta is capped at 0.999.
        """
        f = 1 / (1 + np.exp(6 * np.arange(_check_steps(T) + 1) / T - 3))
        abar = (f - f[-1]) / (f[0] - f[-1])
        return cls._from_numpy(np.minimum(1 - abar[1:] / abar[:-1], 0.999), "sigmoid")

    @classmethod
    def flow(cls, T: int = 1000) -> Schedule:
        """The noise levels of flow matching at the flow's times u = t / T (step 21 of the course).

        The state of the flow is `(1 - u) x_0 + u eps`, on a straight line from the data to the
        noise (Liu et al. 2022, arXiv:2209.03003; Lipman et al. 2022, arXiv:2210.02747). Divided by
        `sqrt((1 - u)^2 + u^2)` it is an x_t, with `alpha_bar = (1 - u)^2 / ((1 - u)^2 + u^2)`. At
        t = T it is pure noise, `alpha_bar[T] = 0`. So the prediction must be velocity, v or x0, as
        with `zero_terminal_snr`. `solvers.ddim` on this schedule is Euler's method for the flow.
        """
        u = np.arange(_check_steps(T) + 1) / T
        alpha_bar = (1 - u) ** 2 / ((1 - u) ** 2 + u**2)
        return cls._from_numpy(1 - alpha_bar[1:] / alpha_bar[:-1], "flow")

    @classmethod
    def named(cls, name: str, T: int) -> Schedule:
        """The schedule with T steps that a configuration calls `name`.

        Args:
            name: one of `minicfg.config.ScheduleName`. `"log_snr"` is the schedule of the guidance
                paper on T points between log SNR -20 and 20; training with t uniform in 1..T is
                then the paper's Algorithm 1 on a grid.
            T: number of steps.
        """
        check_choice("schedule", name, ScheduleName)
        if name == "log_snr":
            return cls.from_log_snr(log_snr_grid(T))
        return getattr(cls, name)(T)

    @classmethod
    def of(cls, config: TrainConfig) -> Schedule:
        """The schedule that a model with this configuration is trained on."""
        check_type("config", config, TrainConfig, "pass a minicfg.TrainConfig")
        schedule = cls.named(config.schedule, config.T)
        return schedule.zero_terminal_snr() if config.zero_snr else schedule

    @classmethod
    def from_log_snr(cls, log_snr: Float[Tensor, " T"]) -> Schedule:
        """The schedule that passes through given log SNRs (step 16 of the course).

        Args:
            log_snr: increasing values in -36..36; the first belongs to t = T. Beyond 36, alpha_bar
                or 1 - alpha_bar is smaller than the spacing of float64 at 1.
        """
        _check_vector("log_snr", log_snr)
        if not len(log_snr) or not bool((log_snr.diff() > 0).all()):
            raise UsageError(
                f"log_snr = {log_snr.tolist()} does not increase: pass one or more values from the "
                "smallest to the largest"
            )
        if not bool((log_snr.abs() <= 36).all()):
            raise UsageError(
                f"log_snr in {log_snr[0]:g}..{log_snr[-1]:g} is not within -36..36: use a "
                "narrower range, because beyond it float64 rounds alpha_bar to 0 or 1"
            )
        log_snr = log_snr.double()
        later = torch.cat([log_snr[1:], log_snr.new_full((1,), torch.inf)])
        beta = -torch.expm1(log_snr - later) * torch.sigmoid(-log_snr)
        # 1 - (1 - beta) rounds beta as `alpha_bar` will be rounded. So beta_1 = 1 - alpha_bar_1
        # holds exactly, and the last sampling step returns exactly x0hat.
        return cls(torch.cat([beta.new_zeros(1), 1 - (1 - beta.flip(0))]), "log_snr")

    def zero_terminal_snr(self) -> Schedule:
        """This schedule with `sqrt(alpha_bar)` shifted and scaled so that `alpha_bar[T] = 0`.

        (Lin et al. 2023, arXiv:2305.08891, Algorithm 1.) Sampling starts from pure noise, so
        training should include pure noise. With eps as the prediction, x0hat would be 0 / 0 at
        t = T, because x_T is the noise; so the prediction must be velocity, v or x0.
        """
        if self.T < 2:
            raise UsageError(
                "T = 1: the only step cannot both keep its alpha_bar and end at 0; use T of 2 or "
                "more"
            )
        signal = self.alpha_bar.sqrt()
        moved = signal[1:] - signal[-1]
        abar = torch.cat([signal[:1], moved * (signal[1] / moved[0])]).square()
        return Schedule(torch.cat([self.beta[:1], 1 - abar[1:] / abar[:-1]]), f"{self.name}, zero")

    @classmethod
    def _from_numpy(cls, beta: np.ndarray, name: str) -> Schedule:
        return cls(torch.from_numpy(np.concatenate([[0.0], beta])), name)

    @property
    def T(self) -> int:
        """The number of steps."""
        return len(self.beta) - 1

    @cached_property
    def alpha(self) -> Float[Tensor, " T1"]:
        """`1 - beta`."""
        return 1 - self.beta

    @cached_property
    def alpha_bar(self) -> Float[Tensor, " T1"]:
        """The product of `alpha` up to t; `alpha_bar[0] = 1`."""
        return torch.cumprod(self.alpha, 0)

    @cached_property
    def posterior_var(self) -> Float[Tensor, " T1"]:
        """`beta_t (1 - abar_{t-1}) / (1 - abar_t)`: 0 at t = 1, and set to 0 at t = 0."""
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
    """The log SNRs at which the guidance paper samples, in increasing order and float64 (step 16).

    They are `-2 log tan(angle)` for equally spaced angles (Ho and Salimans 2022,
    arXiv:2207.12598, sec. 2). A grid with one step consists of `log_snr_min`.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise UsageError(
            f"steps = {steps!r} is not a number of steps: use an integer of at least 1"
        )
    check_number("log_snr_min", log_snr_min, "pass a number in -36..36")
    check_number("log_snr_max", log_snr_max, "pass a number in -36..36")
    if not -36 <= log_snr_min < log_snr_max <= 36:
        raise UsageError(
            f"log_snr_min = {log_snr_min}, log_snr_max = {log_snr_max}: use two values in -36..36, "
            "the smaller one first"
        )
    ends = torch.tensor([log_snr_min, log_snr_max], dtype=torch.float64)
    first, last = torch.atan(torch.exp(-ends / 2)).tolist()
    angle = torch.linspace(first, last, steps, dtype=torch.float64)
    return -2 * torch.log(torch.tan(angle))


def log_snr_angle(u: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """The angle `a u + b` of the guidance paper, in float64, for u in 0..1 (step 16).

    Its cosine is the scale of the data and its sine that of the noise, so the log SNR is
    `-2 log tan(angle)`. It is 20 at u = 0 and -20 at u = 1.
    """
    b = math.atan(math.exp(-10))
    return (math.pi / 2 - 2 * b) * u.double() + b


def _check_vector(name: str, values: object) -> None:
    """Refuse what is not a tensor with one dimension."""
    check_type(name, values, Tensor, "pass a tensor, torch.as_tensor(values)")
    assert isinstance(values, Tensor)
    if values.ndim != 1:
        raise UsageError(
            f"{name} has shape {tuple(values.shape)}; pass a tensor with one dimension, the time"
        )


def _check_steps(T: int) -> int:
    if isinstance(T, bool) or not isinstance(T, int) or T < 1:
        raise UsageError(f"T = {T!r} is not a number of steps: use an integer of at least 1")
    return T
