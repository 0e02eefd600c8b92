"""The peers' networks, samplers and training loops, each as its own documentation writes them.

- denoising-diffusion-pytorch: `Unet` and `GaussianDiffusion` of its `classifier_free_guidance`. The
  documentation there ends with `loss.backward()`; optimiser, clipping and average are those of the
  `Trainer` beside it.
- diffusers: `UNet2DModel` with class labels, `DDPMScheduler`, and the loop of its training example.
  That example has no classes; the null class and its dropout are added here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from minicfg.bench.measure import module_of, need, package
from minicfg.data import Dataset

if TYPE_CHECKING:
    from jaxtyping import Float, Int

P_UNCOND = 0.1


def lucidrains() -> Any:
    """Its module, without the progress bar, which would be timed as well."""
    need("einops", "tqdm")
    module: Any = module_of("denoising_diffusion_pytorch", "classifier_free_guidance")
    module.tqdm = lambda steps, **_: steps
    return module


def lucidrains_unet(module: Any, dim: int, dim_mults: tuple[int, ...], K: int) -> nn.Module:
    """Its network; a label is dropped as often as in ours, not half the time as is its default."""
    return module.Unet(
        dim=dim, num_classes=K, cond_drop_prob=P_UNCOND, dim_mults=dim_mults, channels=1
    )


def lucidrains_sampler(
    module: Any, net: nn.Module, side: int, steps: int, device: str = "cpu"
) -> Callable[[Tensor, float], Tensor]:
    """`draw(y, w)` by `GaussianDiffusion.sample`, its defaults kept, into -1..1.

    Its defaults are DDIM with eta = 1, no guidance along the conditional answer, and 0.7 of a
    rescaled deviation. At a `cond_scale` of exactly 1 it fails, so w = 0 is 1e-6; at 2 or 5 steps
    its samples are NaN, by the root of a difference that float32 rounds below 0.
    """
    process = module.GaussianDiffusion(net, image_size=side, sampling_timesteps=steps)
    process.to(device).eval()
    return lambda y, w: 2 * process.sample(y, cond_scale=1 + (w or 1e-6)) - 1


def diffusers_unet(side: int, blocks: tuple[int, ...], groups: int, K: int) -> nn.Module:
    """Its network, convolutions alone at each level, as in ours; its middle attends."""
    diffusers = package("diffusers")
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
    net: Callable[..., Any], K: int, shape: tuple[int, int, int], steps: int, **config: Any
) -> Callable[[Tensor, float], Tensor]:
    """`draw(y, w)`: its `DDPMScheduler` in the loop that its documentation writes, one batch."""
    diffusers = package("diffusers")
    scheduler = diffusers.DDPMScheduler(1000, **config)
    scheduler.set_timesteps(steps)

    @torch.no_grad()
    def draw(y: Tensor, w: float) -> Tensor:
        x = torch.randn(len(y), *shape, device=y.device)
        labels = torch.cat([y, torch.full_like(y, K)])
        for t in scheduler.timesteps:
            cond, null = net(torch.cat([x, x]), t, class_labels=labels).sample.chunk(2)
            x = scheduler.step(null + (1 + w) * (cond - null), t, x).prev_sample
        return x

    return draw


@dataclass(frozen=True)
class Recipe:
    """What a loop trains with."""

    batch: int
    lr: float
    warmup: int = 0


LUCIDRAINS = Recipe(batch=16, lr=1e-4)  # the defaults of its Trainer
DIFFUSERS = Recipe(batch=16, lr=1e-4, warmup=500)  # "Train a diffusion model", its TrainingConfig


def batches(data: Dataset, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches without end, whole ones only, as a DataLoader's with `drop_last`."""
    rng = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(data), generator=rng)
        if len(order) < batch:
            order = torch.randint(len(data), (batch,), generator=rng)
        for index in order.split(batch):
            if len(index) == batch:
                yield data.x[index], data.y[index]


def train_lucidrains(
    module: Any, net: nn.Module, data: Dataset, recipe: Recipe, seed: int
) -> Iterator[nn.Module]:
    """Its loss, and a step of its Trainer: Adam, gradients of length 1, an average every 10 steps.

    The average begins after 100 steps and keeps more of itself as it goes on, as ema-pytorch's.
    """
    torch.manual_seed(seed)
    device = next(net.parameters()).device
    process = module.GaussianDiffusion(net, image_size=data.shape[1]).to(device).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.lr, betas=(0.9, 0.99))
    ema = AveragedModel(net, multi_avg_fn=warming)
    for step, (x, y) in enumerate(batches(data, recipe.batch, seed), start=1):
        # It takes images in 0..1, and drops labels itself.
        process((x.to(device) + 1) / 2, classes=y.to(device)).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step >= 100 and step % 10 == 0:
            ema.update_parameters(net)
        yield ema.module if step >= 100 else net


def warming(averaged: Any, current: Any, n: Tensor | int) -> None:
    """The n-th average of ema-pytorch with its Trainer's settings: it forgets the first weights."""
    kept = min(0.995, 1 - (1 + 10 * int(n)) ** (-2 / 3))
    get_ema_multi_avg_fn(kept)(averaged, current, n)


def train_diffusers(
    net: nn.Module, data: Dataset, recipe: Recipe, seed: int, steps: int
) -> Iterator[nn.Module]:
    """The loop of its example: AdamW, warm-up, then half a cosine over `steps`; no average."""
    diffusers = package("diffusers")
    cosine = package("diffusers.optimization").get_cosine_schedule_with_warmup
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


def parameters(net: nn.Module) -> int:
    """How many numbers are learnt."""
    return sum(p.numel() for p in net.parameters())


def flops(run: Callable[[], object]) -> int:
    """Of the convolutions and matrix products in one call; a multiplication and an addition are 2.

    Everything else, a few percent of the arithmetic and more of the time, is not counted.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@dataclass(frozen=True, eq=False)
class Still:
    """A denoiser that does nothing, so that what is timed is the loop: ours, or diffusers' call."""

    out: Float[Tensor, "B *D"]
    num_classes: int = 10
    prediction: str = "eps"

    def __call__(self, xt: Tensor, t: Tensor, y: Int[Tensor, " B"]) -> Tensor:
        """The same numbers every time."""
        return self.out[: len(xt)]


def still_lucidrains(module: Any, out: Tensor) -> nn.Module:
    """The same as a network of its kind: two calls, each of half a batch, and its own mix."""

    class Net(module.Unet):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.channels = self.out_dim = out.shape[1]
            self.random_or_learned_sinusoidal_cond = False

        def forward(self, x: Tensor, *_: Any, cond_drop_prob: float = 0.0) -> Tensor:
            half = len(x) if cond_drop_prob else 0
            return out[half : half + len(x)]

    return Net()
