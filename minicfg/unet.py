"""The network: a small class-conditional UNet that predicts eps, x_0 or v.

    level 0, full size    xt -> stem -> blocks ------- skip -------> blocks -> head -> out
                                          v                            ^
    level 1, half                       blocks ------- skip -------> blocks
                                          v                            ^
    level 2, quarter                    blocks -> skip & middle ---> blocks

Every level after the first halves height and width, so the middle block sees the whole image. The
skip connections carry the detail that halving loses. An embedding of the time and the label scales
and shifts the channels in every block. A network with `w_range` also takes the guidance weight as
an input, whose embedding is added to that of the time and the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kernels.philox import as_integer
from minicfg.config import Prediction, TrainConfig, check_choice
from minicfg.errors import UsageError, check_number, check_type, short_repr
from minicfg.guidance import check_w_range

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)

GROUP = 8  # channels that are normalised together; every width is a multiple of it


class UNet(nn.Module):
    """A denoiser: `out = model(xt, t, y)` has the shape and dtype of `xt`.

    Args:
        channels: number of channels of the images.
        num_classes: K. Labels are 0..K-1, and K is the null label. It has a row in the embedding
            table as a class has, which is trained in the same way.
        width: number of channels at full resolution, a multiple of 8.
        multipliers: number of channels of each level, in units of `width`.
        blocks: number of residual blocks per level, on the way down and again on the way up.
        attention: levels with self-attention over all pixels, where 0 is the finest.
        dropout: fraction of a block's activations that are set to 0 in training.
        checkpointing: in training, recompute the activations of a block in the backward pass
            instead of storing them.
        prediction: what `out` is trained to be, `"eps"`, `"x0"`, `"v"` or `"velocity"`. The network
            only stores it; training and sampling read it.
        w_range: if given, the smallest and the largest guidance weight of a student, which takes w
            as an input: `out = model(xt, t, y, w)` (`minicfg.distillation`). The layer that embeds
            w starts at zero, so that the output does not depend on w before training.

    Height and width must be divisible by `2^(levels - 1)`. The last layer starts at zero, so an
    untrained network returns 0, the mean of the noise, and its loss in eps is about 1. Weights are
    stored in the channels-last memory format, in which convolutions are fastest.

    Raises:
        UsageError: naming the argument that is out of range.
    """

    def __init__(
        self,
        channels: int = 1,
        num_classes: int = 10,
        *,
        width: int = 24,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 1,
        attention: Sequence[int] = (),
        dropout: float = 0.0,
        checkpointing: bool = False,
        prediction: Prediction = "eps",
        w_range: tuple[float, float] | None = None,
    ) -> None:
        check_type("checkpointing", checkpointing, bool, "use True or False")
        _check(channels, num_classes, width, multipliers, blocks, attention, dropout, prediction)
        super().__init__()
        self.channels = channels
        self.num_classes = num_classes
        self.width = width
        self.levels = len(multipliers)
        self.blocks = blocks
        self.checkpointing = checkpointing
        self.prediction: Prediction = prediction
        self.w_range = None if w_range is None else check_w_range(w_range)

        emb_dim = 4 * width
        self.embed_t = nn.Sequential(
            nn.Linear(width, emb_dim),
            nn.SiLU(),
            nn.Linear(emb_dim, emb_dim),
        )
        self.embed_y = nn.Embedding(num_classes + 1, emb_dim)

        # Block i of the way down is on level `levels[i]`, from `widths[i]` to `widths[i + 1]`.
        levels = [level for level in range(self.levels) for _ in range(blocks)]
        widths = [width] + [width * multipliers[level] for level in levels]
        plan = list(zip(levels, pairwise(widths), strict=True))
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(
            Block(c, c_out, emb_dim, dropout, level in attention) for level, (c, c_out) in plan
        )
        self.middle = Block(widths[-1], widths[-1], emb_dim, dropout, self.levels - 1 in attention)
        # The way up mirrors the way down. A block also receives the output of its partner, which
        # has as many channels as its own input.
        self.up = nn.ModuleList(
            Block(2 * c, c_out, emb_dim, dropout, level in attention)
            for level, (c_out, c) in reversed(plan)
        )
        self.norm = nn.GroupNorm(width // GROUP, width)
        self.head = zero_init(nn.Conv2d(width, channels, 3, padding=1))
        if w_range is not None:
            self.embed_w = zero_init(nn.Linear(width, emb_dim))
        # The type stubs of torch do not know this form of `to`.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    @classmethod
    def of(
        cls,
        config: TrainConfig,
        shape: tuple[int, ...],
        num_classes: int,
        w_range: tuple[float, float] | None = None,
    ) -> UNet:
        """The network that a configuration describes, for images of `shape` (C, H, W)."""
        check_type("config", config, TrainConfig, "pass a minicfg.TrainConfig")
        check_type("shape", shape, tuple, "pass the shape of one image, (C, H, W)")
        channels = shape[0] if shape else 0
        check_image_shape(shape, channels, len(config.multipliers))
        return cls(
            channels,
            num_classes,
            width=config.width,
            multipliers=config.multipliers,
            blocks=config.blocks,
            attention=config.attention,
            dropout=config.dropout,
            checkpointing=config.checkpointing,
            prediction=config.prediction,
            w_range=w_range,
        )

    def forward(
        self,
        xt: Float[Tensor, "B C H W"],
        t: Int[Tensor, " B"] | Float[Tensor, " B"],
        y: Int[Tensor, " B"],
        w: Float[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B C H W"]:
        """The prediction for `xt` at time `t` in 1..T with label `y` in 0..num_classes.

        A network with `w_range` predicts the guided output at the weights `w`, which lie in this
        range. Any other network takes no `w`.

        The network computes in the dtype of its weights, and the output has that of `xt`.
        Samplers pass integers `t`. Algorithm 1 trains on real-valued times in 1..T, as float32.

        Raises:
            UsageError: naming the argument whose shape or dtype is wrong, or a label that is none.
        """
        _check_batch(xt, t, y, self.num_classes)
        check_image_shape(xt.shape[1:], self.channels, self.levels)
        dtype = self.stem.weight.dtype
        emb = self.embed_t(sinusoids(t, self.width).to(dtype)) + self.embed_y(y)
        if self.w_range is not None:
            emb = emb + self.embed_w(sinusoids(check_w_per_image(w, xt), self.width).to(dtype))
        elif w is not None:
            raise UsageError(
                "w is given, but the network has no w_range: leave it out, or make a student with "
                "minicfg.distill"
            )
        emb = F.silu(emb)
        x = self.stem(xt.to(dtype, memory_format=torch.channels_last))
        skips: list[Tensor] = []
        for i, block in enumerate(self.down):
            if i and i % self.blocks == 0:
                x = F.avg_pool2d(x, 2)
            x = self.run_block(block, x, emb)
            skips.append(x)
        x = self.run_block(self.middle, x, emb)
        for i, block in enumerate(self.up):
            if i and i % self.blocks == 0:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = torch.cat([x, skips.pop()], dim=1)
            x = self.run_block(block, x, emb)
        return self.head(F.silu(self.norm(x))).to(xt.dtype)

    def null(self, y: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """The null label, K, once per label of `y`."""
        return torch.full_like(y, self.num_classes)

    def run_block(self, block: nn.Module, x: Tensor, emb: Tensor) -> Tensor:
        """The output of a block, whose activations are stored unless `checkpointing` is on."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, x, emb, use_reentrant=False)
        return block(x, emb)


class Block(nn.Module):
    """A residual block of two convolutions.

    Between them, the channels are scaled and shifted by linear functions of the embedding (FiLM,
    Perez et al. 2017, arXiv:1709.07871).
    """

    def __init__(self, c: int, c_out: int, emb_dim: int, dropout: float, attends: bool) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(c // GROUP, c)
        self.conv1 = nn.Conv2d(c, c_out, 3, padding=1)
        self.film = nn.Linear(emb_dim, 2 * c_out)
        self.norm2 = nn.GroupNorm(c_out // GROUP, c_out, affine=False)  # `film` is its affine map
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zero_init(nn.Conv2d(c_out, c_out, 3, padding=1))
        self.skip = nn.Conv2d(c, c_out, 1) if c != c_out else nn.Identity()
        self.attention = Attention(c_out) if attends else nn.Identity()

    def forward(self, x: Float[Tensor, "B c H W"], emb: Float[Tensor, "B e"]) -> Tensor:
        """(B, c_out, H, W). Before training, the block returns `skip(x)`."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.film(emb)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        h = self.conv2(self.dropout(h))
        return self.attention(self.skip(x) + h)


class Attention(nn.Module):
    """Residual self-attention over all pixels, with one head and a group norm before it."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(c // GROUP, c)
        self.qkv = nn.Conv2d(c, 3 * c, 1)
        self.out = zero_init(nn.Conv2d(c, c, 1))

    def forward(self, x: Float[Tensor, "B c H W"]) -> Float[Tensor, "B c H W"]:
        """`x` plus the attention's output, which is 0 before training."""
        pixels = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)  # (B, H W, 3 c)
        q, k, v = pixels.chunk(3, dim=2)
        attended = F.scaled_dot_product_attention(q, k, v)  # (B, H W, c)
        return x + self.out(attended.transpose(1, 2).reshape_as(x))


def sinusoids(t: Int[Tensor, " B"] | Float[Tensor, " B"], n: int) -> Float[Tensor, "B n"]:
    """Cosines and sines of t at n / 2 frequencies, from 1 down to 1/10,000 radian per step.

    The fastest frequency distinguishes neighbouring times, and the slowest one completes its first
    period after 62,832 steps, more than any schedule has. The argument is t and not t / T, so a
    network belongs to the schedule that it was trained on.
    """
    frequency = torch.logspace(0, -4, n // 2, device=t.device)
    angle = t[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def zero_init(layer: Layer) -> Layer:
    """The layer with weights and bias set to 0, so that its output is 0 before training."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(cast(Tensor, layer.bias))
    return layer


def _check(
    channels: int,
    num_classes: int,
    width: int,
    multipliers: Sequence[int],
    blocks: int,
    attention: Sequence[int],
    dropout: float,
    prediction: str,
) -> None:
    """Refuse the arguments of a `UNet` that have another type or are out of range."""
    check_type("multipliers", multipliers, (tuple, list), "use a tuple of integers")
    check_type("attention", attention, (tuple, list), "use a tuple of levels")
    check_number("dropout", dropout, "use a number in [0, 1)")
    positive = {"channels": channels, "num_classes": num_classes, "width": width, "blocks": blocks}
    for name, value in positive.items():
        if as_integer(value) is None or value < 1:
            raise UsageError(
                f"{name} = {short_repr(value)} is out of range: use an integer of 1 or more"
            )
    if width % GROUP:
        raise UsageError(
            f"width = {width} is not divisible by {GROUP}, the size of a normalised group of "
            f"channels: use a multiple of {GROUP}"
        )
    levels = len(multipliers)
    if not levels or not all(as_integer(m) is not None and m >= 1 for m in multipliers):
        raise UsageError(
            f"multipliers = {multipliers!r}: use one integer of 1 or more per level, for 1 or more "
            "levels"
        )
    for level in attention:
        if as_integer(level) is None or not 0 <= level < levels:
            raise UsageError(
                f"attention = {attention!r} has no level {level!r}: use levels in 0..{levels - 1}, "
                f"because there are {levels} multipliers"
            )
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout = {dropout} is out of range: use a number in [0, 1)")
    check_choice("prediction", prediction, Prediction)


def _check_batch(xt: Tensor, t: Tensor, y: Tensor, num_classes: int) -> None:
    """Refuse inputs that would be truncated or broadcast, and labels that have no embedding.

    No value on a GPU is read, because the program would wait for it.
    """
    check_type("xt", xt, Tensor, "pass a tensor of floats (B, C, H, W)")
    check_type("t", t, Tensor, f"pass a tensor of shape ({len(xt)},), one time per image of xt")
    check_type("y", y, Tensor, f"pass int64 labels of shape ({len(xt)},), one per image of xt")
    if xt.ndim != 4 or not xt.is_floating_point():
        raise UsageError(f"xt is {xt.dtype} {tuple(xt.shape)}: pass floats of shape (B, C, H, W)")
    batch = xt.shape[:1]
    if t.shape != batch:
        raise UsageError(
            f"t has shape {tuple(t.shape)}: pass {tuple(batch)}, one time per image of xt"
        )
    if t.dtype == torch.bool or t.is_complex():
        raise UsageError(f"t is {t.dtype}: pass times in 1..T, as integers or floats")
    if y.shape != batch or y.dtype not in (torch.int64, torch.int32):
        raise UsageError(
            f"y is {y.dtype} {tuple(y.shape)}: pass int64 labels of shape {tuple(batch)}, one per "
            "image of xt"
        )
    if y.device.type == "cpu" and len(y) and not torch.compiler.is_compiling():
        wrong = y[(y < 0) | (y > num_classes)]
        if len(wrong):
            raise UsageError(
                f"y contains the label {int(wrong[0])}: labels are 0..{num_classes - 1}, and "
                f"{num_classes} is the null label"
            )


def check_w_per_image(w: object, xt: Tensor) -> Float[Tensor, " B"]:
    """Return `w` if it is one guidance weight per image of `xt`; no value is read."""
    remedy = f"pass floats of shape ({len(xt)},), one guidance weight per image of xt"
    check_type("w", w, Tensor, remedy)
    weights = cast(Tensor, w)
    if weights.shape != xt.shape[:1] or not weights.is_floating_point():
        raise UsageError(f"w is {weights.dtype} {tuple(weights.shape)}: {remedy}")
    return weights


def check_image_shape(shape: Sequence[int], channels: int, levels: int) -> None:
    """Check that a UNet for `channels` channels with `levels` levels can take images of `shape`.

    Raises:
        UsageError: naming the size that does not fit.
    """
    if len(shape) != 3:
        raise UsageError(f"images have shape {tuple(shape)}; pass images of shape (C, H, W)")
    factor = 2 ** (levels - 1)
    image_channels, height, width = shape
    if image_channels != channels:
        raise UsageError(
            f"images have {image_channels} channels: the network takes {channels}; convert the "
            "images, or make a network for them"
        )
    if height % factor or width % factor:
        raise UsageError(
            f"images are {height}x{width}: {levels} levels need height and width divisible by "
            f"{factor}; resize or pad the images, or use fewer levels (multipliers)"
        )
