"""Adapters: networks of diffusers and of flow matching, autoguidance, several weights at once.

Diffusers counts the noised steps from 0, so its time index is our `t` minus 1, and clean data (our
t = 0) has no index there. This module does not import diffusers: it is given the network itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from minicfg.conditions import (
    Condition,
    batch_size,
    check_condition,
    each_part,
    null_condition,
    parts_of,
)
from minicfg.config import check_choice, check_integer
from minicfg.errors import UsageError, check_number, check_type, short_repr
from minicfg.guidance import check_w
from minicfg.sampling import Denoiser, as_condition, check_denoiser, concatenate
from minicfg.schedule import Schedule
from minicfg.solvers import Prediction

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class DiffusersModel(nn.Module):
    """A class-conditional network of diffusers as a denoiser, to train or to sample from.

    Make a `UNet2DModel` with `num_class_embeds = K + 1`, and a `DiTTransformer2DModel` with
    `num_embeds_ada_norm = K`. In both, the last row of the label embedding then belongs to the null
    label, as in `UNet`. A DiT drops 10 % of the labels itself in training, in each block by itself.
    That is switched off here, because `train` drops labels.

    Args:
        net: the network.
        num_classes: K.
        prediction: what the network predicts, `"eps"`, `"x0"`, `"v"` or `"velocity"`.

    Raises:
        UsageError: if the network has no row for the null label.
    """

    def __init__(self, net: nn.Module, num_classes: int, prediction: Prediction = "eps") -> None:
        super().__init__()
        check_type("net", net, nn.Module, "pass a network of diffusers")
        check_integer("num_classes", num_classes, 1, 2**31)
        check_choice("prediction", prediction, Prediction)
        config: Mapping[str, Any] = getattr(net, "config", {})
        for name, least in (
            ("num_class_embeds", num_classes + 1),
            ("num_embeds_ada_norm", num_classes),
        ):
            given = config.get(name, least)
            if given is None or given < least:
                raise UsageError(
                    f"net has {name} = {given}; make it with {name} = {least}, so that the null "
                    "label has a row in its embedding"
                )
        for module in net.modules():
            if hasattr(module, "token_drop"):  # the label embedding of a DiT block
                setattr(module, "dropout_prob", 0.0)  # noqa: B010  # unknown to the type checker
        self.net = net
        self.num_classes = num_classes
        self.prediction: Prediction = prediction

    def forward(
        self, xt: Float[Tensor, "B C H W"], t: Int[Tensor, " B"], y: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C H W"]:
        """The network's output, `t` in 1..T and `y` in 0..K."""
        return self.net(xt, t - 1, class_labels=y).sample


class FlowModel(nn.Module):
    """A network of flow matching as a denoiser, to train or to sample from.

    Such a network predicts a velocity, `net(X, u, y)`, at the state `X = (1 - u) x_0 + u eps` of
    the flow (step 21 of the course). Our x_t is this state divided by its scale
    `sqrt((1 - u)^2 + u^2)`, and u is t / T. So x_t is multiplied by the scale, and t is divided by
    T. The model's `schedule` is `Schedule.flow(T)`, from which its tables are made:

        model = FlowModel(net, num_classes=10)
        table = minicfg.solvers.ddim(model.schedule, 50, model.prediction)  # Euler's method
        x = minicfg.sample(model, y, table, shape=(1, 28, 28), w=2)

    Train it with `schedule="flow"`, `prediction="velocity"` and the same T in `TrainConfig`.

    Args:
        net: the network, a function of X (B, *D), u (B,) in (0, 1] and y.
        num_classes: K; the network must have been trained with the null label K as well.
        T: number of times u that a sampler can visit, 1..10000.
        data_at_1: whether the network's time is 1 - u, which is 0 at the noise and 1 at the data.
            Its velocity is then `x_0 - eps`. Liu et al. (arXiv:2209.03003) and Lipman et al.
            (arXiv:2210.02747) count so.

    Raises:
        UsageError: naming the argument that is wrong.
    """

    prediction: Prediction = "velocity"

    def __init__(
        self, net: nn.Module, num_classes: int, T: int = 1000, *, data_at_1: bool = False
    ) -> None:
        super().__init__()
        check_type("net", net, nn.Module, "pass a network of flow matching")
        check_integer("num_classes", num_classes, 1, 2**31)
        check_integer("T", T, 1, 10_000)
        check_type("data_at_1", data_at_1, bool, "pass True or False")
        self.net = net
        self.num_classes = num_classes
        self.schedule = Schedule.flow(T)
        self.data_at_1 = data_at_1

    def forward(
        self, xt: Float[Tensor, "B *D"], t: Int[Tensor, " B"], y: Int[Tensor, " B"]
    ) -> Float[Tensor, "B *D"]:
        """The velocity `eps - x_0`, for `t` in 1..T and `y` in 0..K."""
        u = t.to(xt.dtype) / self.schedule.T
        scale = ((1 - u).square() + u.square()).sqrt()
        X = scale.reshape(-1, *[1] * (xt.ndim - 1)) * xt
        return -self.net(X, 1 - u, y) if self.data_at_1 else self.net(X, u, y)


class Autoguided(nn.Module):
    """Autoguidance: the null output is replaced by a worse model's output for the same condition.

    Karras et al. 2024, arXiv:2406.02507, `good + w (good - bad)`, with any solver and any rule;
    appendix O of the course.

    Args:
        good: the model to sample from.
        bad: a model with larger errors, of the same conditions and prediction.
        y: the labels, or another condition, that are passed to `sample`.

    Raises:
        UsageError: if the two models differ in their classes or predictions.
    """

    def __init__(self, good: Denoiser | nn.Module, bad: Denoiser | nn.Module, y: Condition) -> None:
        super().__init__()
        self.good: Any = check_denoiser(good, "good")
        self.bad: Any = check_denoiser(bad, "bad")
        self.y = as_condition("y", check_condition("y", y), self.good)
        for name in ("num_classes", "prediction"):
            of_good = getattr(good, name, None)
            of_bad = getattr(bad, name, None)
            if of_good != of_bad:
                raise UsageError(
                    f"bad has {name} = {of_bad!r} and good has {name} = {of_good!r}; pass two "
                    "models that agree"
                )

    @property
    def prediction(self) -> Prediction:
        """What both models predict."""
        return self.good.prediction

    def null(self, y: Condition) -> Condition:
        """The null condition of `good`, which marks the half that `bad` computes."""
        return null_condition(self.good, y)

    def forward(
        self, xt: Float[Tensor, "B *D"], t: Int[Tensor, " B"], y: Condition
    ) -> Float[Tensor, "B *D"]:
        """The output of `good`, and in the null half that of `bad`, for the condition `self.y`."""
        if not xt.is_cuda or not torch.cuda.is_current_stream_capturing():
            self._check_condition(y)
        n = batch_size(self.y)
        out = self.good(xt[:n], t[:n], self.y)
        return out if len(xt) == n else torch.cat([out, self.bad(xt[n:], t[n:], self.y)])

    def _check_condition(self, y: Condition) -> None:
        """Refuse a condition that is not the attribute `y`, alone or followed by the null."""
        both = each_part(concatenate, self.y, self.null(self.y))
        for allowed in (self.y, both):
            pairs = list(zip(parts_of(y), parts_of(allowed), strict=False))
            if len(pairs) == len(parts_of(y)) and all(torch.equal(a, b) for a, b in pairs):
                return
        raise UsageError(
            f"y has {batch_size(y)} labels, which are not the {batch_size(self.y)} labels of "
            "Autoguided; pass the same labels to Autoguided and to sample"
        )


class Composed(nn.Module):
    """Guidance with one weight per attribute, for a model whose condition is a tuple.

        out = null + sum over i of (1 + w_i) (out_i - null)

    `out_i` is the output for attribute i alone, with the null in place of the others, and `null`
    the output for no attribute (Liu et al. 2022, arXiv:2206.01714, sec. 3.2, with `1 + w_i` for
    their weight; it assumes that the attributes are independent given x). The model must have been
    trained with the attributes dropped separately (`TrainConfig.drop_separately`). Leave `w` of
    `sample` at 0: the weights stand here. Each step evaluates the model once, on a batch of n + 1
    parts for n attributes.

    Args:
        model: a denoiser whose condition is a tuple, with a method `null`; of a checkpoint,
            `checkpoint.model`.
        weights: w_i, one finite number per attribute; -1 leaves an attribute out.

    Raises:
        UsageError: if a weight is not a finite number, or the model is not a denoiser.
    """

    def __init__(self, model: Denoiser | nn.Module, weights: Sequence[float]) -> None:
        super().__init__()
        self.model: Any = check_denoiser(model)
        check_type("weights", weights, (tuple, list), "pass one number per attribute")
        if not weights:
            raise UsageError(f"weights = {weights}; pass one number per attribute")
        self.weights = tuple(check_w(w) for w in weights)

    @property
    def prediction(self) -> Prediction:
        """What the model predicts."""
        return self.model.prediction

    def null(self, y: Condition) -> Condition:
        """The null condition of the model."""
        return null_condition(self.model, y)

    def forward(
        self, xt: Float[Tensor, "B *D"], t: Int[Tensor, " B"], y: Condition
    ) -> Float[Tensor, "B *D"]:
        """The composed output for the tuple `y`."""
        n = len(self.weights)
        if isinstance(y, Tensor) or len(y) != n:
            raise UsageError(
                f"y has {len(parts_of(y))} attributes, but there are {n} weights; pass a tuple of "
                "one tensor per weight"
            )
        null = parts_of(self.null(y))
        # Attribute i alone is the null condition with part i of y; the last copy is the null.
        alone = [tuple(y[j] if i == j else null[j] for j in range(n)) for i in range(n)]
        batch = tuple(torch.cat(copies) for copies in zip(*alone, null, strict=True))
        out = self.model(xt.repeat(n + 1, *[1] * (xt.ndim - 1)), t.repeat(n + 1), batch)
        *out_alone, out_null = out.chunk(n + 1)
        composed = out_null
        for w, out_i in zip(self.weights, out_alone, strict=True):
            composed = composed + (1 + w) * (out_i - out_null)
        return composed


def schedule_from_diffusers(config: Mapping[str, Any]) -> Schedule:
    """The schedule of a diffusers scheduler's config, computed in float64.

    >>> schedule_from_diffusers({"num_train_timesteps": 1000, "beta_schedule": "linear",
    ...                          "beta_start": 1e-4, "beta_end": 0.02}).T
    1000

    Raises:
        UsageError: naming the entry for which this course has no schedule.
    """
    check_type("config", config, Mapping, "pass the scheduler's config, scheduler.config")
    kind = config.get("beta_schedule", "linear")
    T = config.get("num_train_timesteps", 1000)
    if isinstance(T, bool) or not isinstance(T, int) or T < 1:
        raise UsageError(f"num_train_timesteps = {T!r}; pass an integer from 1 on")
    if config.get("trained_betas") is not None:
        beta = _as_betas(config["trained_betas"])
    elif kind in ("linear", "scaled_linear"):
        low = config.get("beta_start", 1e-4)
        high = config.get("beta_end", 0.02)
        for name, value in (("beta_start", low), ("beta_end", high)):
            check_number(name, value, "pass a number in (0, 1)")
            if not 0 < value < 1:
                raise UsageError(f"{name} = {value}; pass a number in (0, 1)")
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


def _as_betas(betas: Any) -> Tensor:
    """Given beta_1..beta_T as a float64 tensor on the CPU."""
    try:
        beta = torch.as_tensor(betas, dtype=torch.float64, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(
            f"trained_betas = {short_repr(betas)}; pass a list of numbers in (0, 1)"
        ) from None
    if beta.ndim != 1:
        raise UsageError(
            f"trained_betas has shape {tuple(beta.shape)}; pass a list of numbers in (0, 1)"
        )
    return beta
