"""Networks, samplers and training loops of other projects, as their own documentation writes them.

- denoising-diffusion-pytorch (by lucidrains): `Unet` and `GaussianDiffusion` of its module
  `classifier_free_guidance`. Its documentation ends with `loss.backward()`. The optimiser, the
  clipping and the average of the weights are those of the project's `Trainer`.
- diffusers: `UNet2DModel` with class labels, `DDPMScheduler`, and the loop of its training example.
  That example has no classes, so the null class and its dropout are added here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from minicfg.bench.measure import import_package, load_file, require
from minicfg.data import Dataset
from minicfg.solvers import Prediction

if TYPE_CHECKING:
    from jaxtyping import Float, Int

P_UNCOND = 0.1


def lucidrains() -> Any:
    """The module `classifier_free_guidance`, without its progress bar, which takes time."""
    require("einops", "tqdm")
    module: Any = load_file("denoising_diffusion_pytorch", "classifier_free_guidance")
    module.tqdm = lambda steps, **_: steps
    return module


def lucidrains_unet(module: Any, dim: int, dim_mults: tuple[int, ...], K: int) -> nn.Module:
    """The network of lucidrains, which drops a label as often as ours, and not half the time."""
    return module.Unet(
        dim=dim, num_classes=K, cond_drop_prob=P_UNCOND, dim_mults=dim_mults, channels=1
    )


def lucidrains_sampler(
    module: Any, net: nn.Module, side: int, steps: int, device: str = "cpu"
) -> Callable[[Tensor, float], Tensor]:
    """A function `draw(y, w)` that calls `GaussianDiffusion.sample`, with images in -1..1.

    The defaults stay: DDIM with eta = 1, guidance without the component parallel to the conditional
    output, and a standard deviation rescaled by 0.7. The sampler fails at a `cond_scale` of exactly
    1, so w = 0 is run as 1e-6. With 2, 3 or 5 steps its samples are NaN on some processors, because
    float32 rounds the argument of a square root to below 0.
    """
    process = module.GaussianDiffusion(net, image_size=side, sampling_timesteps=steps)
    process.to(device).eval()
    return lambda y, w: 2 * process.sample(y, cond_scale=1 + (w or 1e-6)) - 1


def diffusers_unet(side: int, blocks: tuple[int, ...], groups: int, K: int) -> nn.Module:
    """The network of diffusers: convolutions at each level, and attention in the middle."""
    diffusers = import_package("diffusers")
    return diffusers.UNet2DModel(
        sample_size=side,
        in_channels=1,
        out_channels=1,
        num_class_embeds=K + 1,
        block_out_channels=blocks,
        layers_per_block=1,
        norm_num_groups=groups,
        down_block_types=("DownBlock2D",) * len(blocks),
        up_block_types=("UpBlock2D",) * len(blocks),
    )


def diffusers_sampler(
    net: Callable[..., Any],
    K: int,
    shape: tuple[int, ...],
    steps: int,
    name: str = "DDPMScheduler",
    **config: Any,
) -> Callable[[Tensor, float], Tensor]:
    """A function `draw(y, w)`: a scheduler in the documented loop, both halves in one batch.

    At w = 0 only the conditional half is evaluated, as in the pipelines of diffusers.
    """
    diffusers = import_package("diffusers")
    scheduler = getattr(diffusers, name)(1000, **config)

    @torch.no_grad()
    def draw(y: Tensor, w: float) -> Tensor:
        x = torch.randn(len(y), *shape, device=y.device)
        labels = torch.cat([y, torch.full_like(y, K)])
        scheduler.set_timesteps(steps)  # DPM-Solver++(2M) keeps outputs of the call before
        for t in scheduler.timesteps:
            if w == 0:
                eps = net(x, t, class_labels=y).sample
            else:
                cond, null = net(torch.cat([x, x]), t, class_labels=labels).sample.chunk(2)
                eps = null + (1 + w) * (cond - null)
            x = scheduler.step(eps, t, x).prev_sample
        return x

    return draw


@dataclass(frozen=True)
class LucidrainsUnet:
    """The `Unet` of lucidrains as a denoiser; its null condition is a parameter of the network.

    Their sampler evaluates it twice, mixes with `cond_scale` = 1 + w and, by default, keeps only
    the component of the difference that is perpendicular to the conditional output. Here it is
    evaluated once, with both halves in one batch, and mixed as in the paper.
    """

    net: Any
    prediction: Prediction = "eps"

    @property
    def num_classes(self) -> int:
        """K, which is also the null label."""
        return self.net.classes_emb.num_embeddings

    def __call__(
        self, xt: Float[Tensor, "B C H W"], t: Int[Tensor, " B"], y: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C H W"]:
        """The network's output, for `t` in 1..T and `y` in 0..K. Their index t - 1 is our t."""
        keep = y < self.num_classes
        return self.net(xt, t - 1, y.where(keep, 0), cond_keep_mask=keep)


@dataclass(frozen=True)
class Recipe:
    """The settings of a training loop."""

    batch: int
    lr: float
    warmup: int = 0


LUCIDRAINS = Recipe(batch=16, lr=1e-4)  # the defaults of its Trainer
DIFFUSERS = Recipe(batch=16, lr=1e-4, warmup=500)  # "Train a diffusion model", its TrainingConfig


def batches(data: Dataset, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches without end, all of them full, as from a DataLoader with `drop_last`."""
    rng = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(data), generator=rng)
        if len(order) < batch:
            order = torch.randint(len(data), (batch,), generator=rng)
        for index in order.split(batch):
            if len(index) == batch:
                yield data.x[index], data.labels[index]


def train_lucidrains(
    module: Any, net: nn.Module, data: Dataset, recipe: Recipe, seed: int
) -> Iterator[nn.Module]:
    """Train with the loss of lucidrains and the steps of its Trainer; yield a network per step.

    A step is Adam with gradients clipped to norm 1. Every tenth step updates an average of the
    weights, which begins after 100 steps and has a decay that grows, as in ema-pytorch.
    """
    torch.manual_seed(seed)
    device = next(net.parameters()).device
    process = module.GaussianDiffusion(net, image_size=data.shape[1]).to(device).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.lr, betas=(0.9, 0.99))
    ema = AveragedModel(net, multi_avg_fn=ema_pytorch_update)
    for step, (x, y) in enumerate(batches(data, recipe.batch, seed), start=1):
        # `process` takes images in 0..1, and drops labels itself.
        process((x.to(device) + 1) / 2, classes=y.to(device)).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step >= 100 and step % 10 == 0:
            ema.update_parameters(net)
        yield ema.module if step >= 100 else net


def ema_pytorch_update(averaged: Any, current: Any, n: Tensor | int) -> None:
    """The n-th update of ema-pytorch with the Trainer's settings, whose decay grows with n."""
    kept = min(0.995, 1 - (1 + 10 * int(n)) ** (-2 / 3))
    get_ema_multi_avg_fn(kept)(averaged, current, n)


def train_diffusers(
    net: nn.Module, data: Dataset, recipe: Recipe, seed: int, steps: int
) -> Iterator[nn.Module]:
    """Train as the example of diffusers: AdamW, a warm-up, then half a cosine over `steps`.

    There is no average of the weights. Yields the network after each step.
    """
    diffusers = import_package("diffusers")
    cosine = import_package("diffusers.optimization").get_cosine_schedule_with_warmup
    torch.manual_seed(seed)
    noising = diffusers.DDPMScheduler(1000)
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.lr)
    device = next(net.parameters()).device
    rate = cosine(optimizer, min(recipe.warmup, steps // 5), steps)
    net.train()
    for (x, y), _ in zip(batches(data, recipe.batch, seed), range(steps), strict=False):
        x, y = x.to(device), y.to(device)
        t = torch.randint(0, 1000, (len(x),), device=device)
        noise = torch.randn_like(x)
        dropped = torch.rand(len(x), device=device) < P_UNCOND
        out = net(
            noising.add_noise(x, noise, t),
            t,
            class_labels=y.masked_fill(dropped, data.num_classes),
            return_dict=False,
        )[0]
        F.mse_loss(out, noise).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
        yield net


def parameter_count(net: nn.Module) -> int:
    """The number of parameters."""
    return sum(p.numel() for p in net.parameters())


def flops(run: Callable[[], object]) -> int:
    """The floating-point operations of the convolutions and matrix products in one call.

    A multiplication and an addition count as 2. All other operations, which are a few per cent of
    the arithmetic and more of the time, are not counted.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@dataclass(frozen=True, eq=False)
class ConstantDenoiser:
    """A denoiser that returns a constant tensor, so that only the loop around it takes time."""

    out: Float[Tensor, "B *D"]
    num_classes: int = 10
    prediction: str = "eps"

    def __call__(self, xt: Tensor, t: Tensor, y: Int[Tensor, " B"]) -> Tensor:
        """The same tensor at every call."""
        return self.out[: len(xt)]


def constant_lucidrains(module: Any, out: Tensor) -> nn.Module:
    """The same as a network of lucidrains: its sampler calls it twice, with half a batch each."""

    class Net(module.Unet):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.channels = self.out_dim = out.shape[1]
            self.random_or_learned_sinusoidal_cond = False

        def forward(self, x: Tensor, *_: Any, cond_drop_prob: float = 0.0) -> Tensor:
            half = len(x) if cond_drop_prob else 0
            return out[half : half + len(x)]

    return Net()
