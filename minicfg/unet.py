"""The network: a small class-conditional UNet that predicts the noise in an image, or x_0, or v.

    level 0, full size    xt -> stem -> blocks ------- skip -------> blocks -> head -> out
                                          v                            ^
    level 1, a half                     blocks ------- skip -------> blocks
                                          v                            ^
    level 2, a quarter                  blocks -> skip & middle ---> blocks

Every level halves the picture, so the middle sees all of it; the skips bring back the detail that
halving lost. Time and label reach every block as one embedding, which scales and shifts channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from minicfg.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from minicfg.config import TrainConfig
    from minicfg.solvers import Prediction

GROUP = 8  # channels normalised together; every width is a multiple


class UNet(nn.Module):
    """A denoiser: `out = model(xt, t, y)` has the shape and dtype of `xt`.

    Args:
        channels: of the images.
        num_classes: K. Labels are 0..K-1, and K is the null label: one more row of the same table,
            so it is learnt as a class is, and is none.
        width: channels at full size, a multiple of 8.
        multipliers: channels of each level, in units of `width`.
        blocks: residual blocks of a level, each way.
        attention: levels, 0 the finest, whose blocks also attend over the whole picture.
        dropout: share of a block's activations dropped in training.
        checkpointing: in training, compute a block's activations again instead of keeping them.
        prediction: what `out` means, `"eps"`, `"x0"` or `"v"`; kept for whoever trains or samples.

    Height and width must be divisible by `2^(levels - 1)`. The last layer starts at zero, so an
    untrained network puts out 0 everywhere: the mean of the noise, hence a first loss of 1. Weights
    are stored channels-last, as convolutions want them.
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
    ) -> None:
        super().__init__()
        self.channels, self.num_classes = channels, num_classes
        self.prediction: Prediction = prediction
        self.width, self.levels, self.blocks = width, len(multipliers), blocks
        self.checkpointing = checkpointing
        told = 4 * width
        self.embed_t = nn.Sequential(nn.Linear(width, told), nn.SiLU(), nn.Linear(told, told))
        self.embed_y = nn.Embedding(num_classes + 1, told)

        levels = [level for level in range(self.levels) for _ in range(blocks)]
        widths = [width] + [width * multipliers[level] for level in levels]
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(
            Block(c, c_next, told, dropout, level in attention)
            for level, (c, c_next) in zip(levels, pairwise(widths), strict=True)
        )
        self.middle = Block(widths[-1], widths[-1], told, dropout, self.levels - 1 in attention)
        # Back the same way. A block is given its skip as well, as many channels again.
        self.up = nn.ModuleList(
            Block(2 * c, c_next, told, dropout, level in attention)
            for level, (c_next, c) in reversed(list(zip(levels, pairwise(widths), strict=True)))
        )
        self.norm = nn.GroupNorm(width // GROUP, width)
        self.head = zeroed(nn.Conv2d(width, channels, 3, padding=1))
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # hole

    @classmethod
    def of(cls, config: TrainConfig, shape: tuple[int, int, int], num_classes: int) -> UNet:
        """The network that a configuration describes, for images of `shape` (C, H, W)."""
        model = cls(
            shape[0],
            num_classes,
            width=config.width,
            multipliers=config.multipliers,
            blocks=config.blocks,
            attention=config.attention,
            dropout=config.dropout,
            checkpointing=config.checkpointing,
            prediction=config.prediction,
        )
        model.check_shape(shape)
        return model

    def forward(
        self,
        xt: Float[Tensor, "B C H W"],
        t: Int[Tensor, " B"] | Float[Tensor, " B"],
        y: Int[Tensor, " B"],
    ) -> Float[Tensor, "B C H W"]:
        """The prediction at `xt`, time `t` in 1..T and label `y` in 0..num_classes.

        Samplers ask at whole t. Training may also show what lies between, as float32.
        """
        self.check_shape(xt.shape[1:])
        told = F.silu(self.embed_t(sinusoids(t, self.width)) + self.embed_y(y))
        x = self.stem(xt.to(self.stem.weight.dtype, memory_format=torch.channels_last))
        skips: list[Tensor] = []
        for i, block in enumerate(self.down):
            if i and i % self.blocks == 0:
                x = F.avg_pool2d(x, 2)
            x = self.run(block, x, told)
            skips.append(x)
        x = self.run(self.middle, x, told)
        for i, block in enumerate(self.up):
            if i and i % self.blocks == 0:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = self.run(block, torch.cat([x, skips.pop()], dim=1), told)
        return self.head(F.silu(self.norm(x))).to(xt.dtype)

    def run(self, block: nn.Module, x: Tensor, told: Tensor) -> Tensor:
        """One block, twice in all where its activations are not kept."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, x, told, use_reentrant=False)
        return block(x, told)

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse images that this network cannot take."""
        factor = 2 ** (self.levels - 1)
        channels, height, width = shape
        if channels != self.channels:
            raise UsageError(f"images have {channels} channels: the network takes {self.channels}")
        if height % factor or width % factor:
            raise UsageError(
                f"images are {height}x{width}: {self.levels} levels need height and width "
                f"divisible by {factor}"
            )


class Block(nn.Module):
    """Two convolutions around a residual; `told` scales and shifts between them (FiLM)."""

    def __init__(self, c: int, c_out: int, told: int, dropout: float, attends: bool) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(c // GROUP, c)
        self.conv1 = nn.Conv2d(c, c_out, 3, padding=1)
        self.film = nn.Linear(told, 2 * c_out)
        self.norm2 = nn.GroupNorm(c_out // GROUP, c_out, affine=False)  # `film` is its affine map
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(c_out, c_out, 3, padding=1))
        self.skip = nn.Conv2d(c, c_out, 1) if c != c_out else nn.Identity()
        self.attention = Attention(c_out) if attends else nn.Identity()

    def forward(self, x: Float[Tensor, "B c H W"], told: Float[Tensor, "B e"]) -> Tensor:
        """(B, c_out, H, W); the block begins as the identity, up to `skip`."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.film(told)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        return self.attention(self.skip(x) + self.conv2(self.dropout(h)))


class Attention(nn.Module):
    """Every pixel looks at all pixels and adds what it finds; one head, pre-normalised."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(c // GROUP, c)
        self.qkv = nn.Conv2d(c, 3 * c, 1)
        self.out = zeroed(nn.Conv2d(c, c, 1))

    def forward(self, x: Float[Tensor, "B c H W"]) -> Float[Tensor, "B c H W"]:
        """`x` and what was found; at first, `x`."""
        pixels = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)  # (B, H W, 3 c)
        q, k, v = pixels.chunk(3, dim=2)
        found = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(found.transpose(1, 2).reshape_as(x))


def sinusoids(t: Int[Tensor, " B"] | Float[Tensor, " B"], n: int) -> Float[Tensor, "B n"]:
    """Cosines and sines of t at n / 2 frequencies, from 1 down to 1/10,000 radian a step.

    The fastest tells neighbours apart, and the slowest does not come round within 60,000 steps: so
    it does for any schedule from T = 1 to there. t itself goes in, not t / T: a network belongs to
    the schedule it was trained on.
    """
    frequency = torch.logspace(0, -4, n // 2, device=t.device)
    angle = t[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """Start at zero, so that what it is added to passes unchanged at first."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(cast(Tensor, layer.bias))
    return layer
