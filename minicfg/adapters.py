"""Adapters: a network and a noise schedule of diffusers, and autoguidance by two models.

Diffusers counts the noised steps from 0, so its time index is our `t` minus 1, and clean data (our
t = 0) has no index there. This module does not import diffusers: it is given the network itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from minicfg.errors import UsageError
from minicfg.sampling import Denoiser
from minicfg.schedule import Schedule
from minicfg.solvers import Prediction

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True)
class DiffusersUNet:
    """A class-conditional `diffusers.UNet2DModel`, made with `num_class_embeds = K + 1`.

    The last row of its embedding is that of the null label, as in `UNet`; train it that way.

    Attributes:
        net: the network.
        num_classes: K.
        prediction: what the network was trained to predict.
    """

    net: Any
    num_classes: int
    prediction: Prediction = "eps"

    def __call__(
        self, xt: Float[Tensor, "B C H W"], t: Int[Tensor, " B"], y: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C H W"]:
        """The network's output, `t` in 1..T and `y` in 0..K."""
        return self.net(xt, t - 1, class_labels=y).sample


@dataclass(frozen=True, eq=False)
class Autoguided:
    """Autoguidance: the null output is replaced by a worse model's output for the same labels.

    Karras et al. 2024, arXiv:2406.02507, `good + w (good - bad)`, with any solver and any rule;
    step 17 of the course.

    Attributes:
        good: the model to sample from.
        bad: a model with larger errors, of the same classes and prediction.
        y: the labels that are passed to `sample`.
    """

    good: Denoiser
    bad: Denoiser
    y: Int[Tensor, " B"]

    def __post_init__(self) -> None:
        """Refuse two models of different classes or predictions."""
        for name in ("num_classes", "prediction"):
            good = getattr(self.good, name)
            bad = getattr(self.bad, name)
            if good != bad:
                raise UsageError(
                    f"bad has {name} = {bad!r} and good has {name} = {good!r}; pass two models "
                    "that agree"
                )

    @property
    def num_classes(self) -> int:
        """K, the number of classes of both models."""
        return self.good.num_classes

    @property
    def prediction(self) -> Prediction:
        """What both models predict."""
        return self.good.prediction

    def __call__(
        self, xt: Float[Tensor, "B *D"], t: Int[Tensor, " B"], y: Int[Tensor, " B"]
    ) -> Float[Tensor, "B *D"]:
        """The output of `good`, and in the null half that of `bad` for the labels `self.y`."""
        n = len(self.y)
        if not y.is_cuda or not torch.cuda.is_current_stream_capturing():
            self._check_labels(y)
        out = self.good(xt[:n], t[:n], y[:n])
        return out if len(y) == n else torch.cat([out, self.bad(xt[n:], t[n:], self.y)])

    def _check_labels(self, y: Tensor) -> None:
        """Refuse labels other than those of the attribute `y`, alone or followed by null labels."""
        n = len(self.y)
        null = torch.full_like(self.y, self.num_classes)
        if not any(torch.equal(y, labels) for labels in (self.y, torch.cat([self.y, null]))):
            raise UsageError(
                f"y has {len(y)} labels, which are not the {n} labels of Autoguided; pass the same "
                "labels to Autoguided and to sample"
            )


def schedule_from_diffusers(config: Mapping[str, Any]) -> Schedule:
    """The schedule of a diffusers scheduler's config, computed in float64.

    >>> schedule_from_diffusers({"num_train_timesteps": 1000, "beta_schedule": "linear",
    ...                          "beta_start": 1e-4, "beta_end": 0.02}).T
    1000

    Raises:
        UsageError: naming the entry for which this course has no schedule.
    """
    kind = config.get("beta_schedule", "linear")
    T = config.get("num_train_timesteps", 1000)
    if isinstance(T, bool) or not isinstance(T, int) or T < 1:
        raise UsageError(f"num_train_timesteps = {T!r}; pass an integer from 1 on")
    if config.get("trained_betas") is not None:
        beta = torch.as_tensor(config["trained_betas"], dtype=torch.float64, device="cpu").detach()
    elif kind in ("linear", "scaled_linear"):
        low = config.get("beta_start", 1e-4)
        high = config.get("beta_end", 0.02)
        power = 1 if kind == "linear" else 2
        beta = torch.linspace(low ** (1 / power), high ** (1 / power), T, dtype=torch.float64)
        beta = beta**power
    elif kind == "squaredcos_cap_v2":
        beta = Schedule.cosine(T).beta[1:]
    else:
        raise UsageError(
            f"beta_schedule = {kind!r}; pass linear, scaled_linear, squaredcos_cap_v2, or "
            "trained_betas"
        )
    schedule = Schedule(torch.cat([beta.new_zeros(1), beta]), f"diffusers {kind}")
    return schedule.zero_terminal_snr() if config.get("rescale_betas_zero_snr") else schedule
