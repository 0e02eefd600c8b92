"""Networks as denoisers: other projects', with their noise schedules, and two models as one.

Others' index `t - 1` is our `t`: 0 is their first noised step, and the data have none. Nothing here
imports another project; whoever has a network of one has the project too.
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

    The last row of its table is the null label, as ours is: train it so.
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
    """`good` guided away from a worse model that is asked for the same label, not for none.

    Karras et al. 2024, arXiv:2406.02507: `good + w (good - bad)`, with any solver and any rule.
    Step 17 of the course. `y` are the labels of the chains, those that `sample` is given.
    """

    good: Denoiser
    bad: Denoiser
    y: Int[Tensor, " B"]

    def __post_init__(self) -> None:
        """Refuse two models that do not speak of the same thing."""
        for name in ("num_classes", "prediction"):
            good, bad = getattr(self.good, name), getattr(self.bad, name)
            if good != bad:
                raise UsageError(f"bad has {name} = {bad!r} and good {good!r}")

    @property
    def num_classes(self) -> int:
        """Of both."""
        return self.good.num_classes

    @property
    def prediction(self) -> Prediction:
        """Of both."""
        return self.good.prediction

    def __call__(
        self, xt: Float[Tensor, "B *D"], t: Int[Tensor, " B"], y: Int[Tensor, " B"]
    ) -> Float[Tensor, "B *D"]:
        """The good model's answers, and in the second half, where the loop asks of none, bad's."""
        n = len(self.y)
        if len(y) not in (n, 2 * n):
            raise UsageError(f"y has {len(y)} labels: the chains that were said are {n}")
        out = self.good(xt[:n], t[:n], y[:n])
        return out if len(y) == n else torch.cat([out, self.bad(xt[n:], t[n:], self.y)])


def schedule_from_diffusers(config: Mapping[str, Any]) -> Schedule:
    """The schedule of a diffusers scheduler's config, computed in float64.

    >>> schedule_from_diffusers({"num_train_timesteps": 1000, "beta_schedule": "linear",
    ...                          "beta_start": 1e-4, "beta_end": 0.02}).T
    1000

    Raises:
        UsageError: naming the entry that this course has no schedule for.
    """
    kind, T = config.get("beta_schedule", "linear"), config.get("num_train_timesteps", 1000)
    if isinstance(T, bool) or not isinstance(T, int) or T < 1:
        raise UsageError(f"num_train_timesteps = {T!r}: an integer of at least 1 is needed")
    if config.get("trained_betas") is not None:
        beta = torch.as_tensor(config["trained_betas"], dtype=torch.float64, device="cpu").detach()
    elif kind in ("linear", "scaled_linear"):
        low, high = config.get("beta_start", 1e-4), config.get("beta_end", 0.02)
        power = 1 if kind == "linear" else 2
        beta = torch.linspace(low ** (1 / power), high ** (1 / power), T, dtype=torch.float64)
        beta = beta**power
    elif kind == "squaredcos_cap_v2":
        return Schedule.cosine(T)
    else:
        raise UsageError(
            f"beta_schedule = {kind!r}: linear, scaled_linear, squaredcos_cap_v2 or trained_betas"
        )
    schedule = Schedule(torch.cat([beta.new_zeros(1), beta]), f"diffusers {kind}")
    return schedule.zero_terminal_snr() if config.get("rescale_betas_zero_snr") else schedule
