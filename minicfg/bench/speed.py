"""Comparisons of whole samples: guided sampling with each one's network and sampler, and mixed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minicfg import solvers
from minicfg.adapters import DiffusersUNet, LucidrainsUnet
from minicfg.bench.measure import Bar, Comparison, Sizes, interleaved, rates
from minicfg.bench.networks import (
    diffusers_sampler,
    diffusers_unet,
    flops,
    lucidrains,
    lucidrains_sampler,
    lucidrains_unet,
    parameters,
)
from minicfg.sampling import sample
from minicfg.schedule import Schedule
from minicfg.unet import UNet

K, W = 10, 2.0
MULTIPLIERS = (1, 2, 4)
MIXED = "our sampler, their network"
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
NOT_EQUAL_NETWORKS = (
    "Networks are of about equal parameter count, not of equal design: lucidrains' attends at "
    "every level (linearly) and in the middle, diffusers' in the middle, ours nowhere. What that "
    "buys in quality, the comparison of quality says."
)
NOISE = (
    "Ours makes its noise by Philox, a function of seed and sample, theirs by torch.randn, which "
    "is four to five times cheaper on a CPU. Each does so inside the time."
)


def networks(s: Sizes) -> tuple[UNet, nn.Module, nn.Module, Any]:
    """Ours, lucidrains' and diffusers' for pictures of `s.side`, and lucidrains' module.

    Widths are in the same proportion; at the default ones they have 1.61, 1.69 and 1.61 million
    parameters.
    """
    torch.manual_seed(0)
    module, u = lucidrains(), s.width // 8
    blocks = tuple(8 * max(1, n * u // 5) for n in (3, 6, 13))
    lucid = lucidrains_unet(module, max(8, 24 * u // 5), MULTIPLIERS, K)
    theirs = diffusers_unet(s.side, blocks, 8, K)
    return our_unet(s), lucid.eval().to(s.device), theirs.eval().to(s.device), module


def our_unet(s: Sizes) -> UNet:
    """Ours."""
    return UNet(1, K, width=s.width, multipliers=MULTIPLIERS).eval().to(s.device)


def labels(s: Sizes, n: int) -> Tensor:
    """Every class in turn."""
    return torch.arange(n, device=s.device) % K


def size(net: nn.Module) -> str:
    """For a note."""
    return f"{parameters(net) / 1e6:.2f} M parameters"


def bfloat16(device: str) -> bool:
    """Whether there are instructions for it; without them it is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        return bool({"avx512_bf16", "amx_bf16"} & set(Path("/proc/cpuinfo").read_text().split()))
    except OSError:
        return False


def our_ways(net: UNet, s: Sizes) -> dict[str, Callable[[], object]]:
    """Ours, plain and at its best on this machine: 20 steps of guided DDPM from the same noise."""
    table = solvers.ddpm(Schedule.cosine(1000), s.steps)
    y, shape = labels(s, s.batch), (1, s.side, s.side)

    def draw(net: Any) -> Tensor:
        return sample(net, y, table, shape=shape, w=W, seed=7, clip=1.0)

    return {"ours": lambda: draw(net)} | tuned("ours", our_unet(s), draw, s)


def tuned(
    name: str, net: Any, draw: Callable[[Any], object], s: Sizes
) -> dict[str, Callable[[], object]]:
    """`draw` with the network at what documentation has for speed: the same settings for all."""
    if not s.compiled:
        return {}
    net = net.to(memory_format=torch.channels_last)
    net.compile()

    def half() -> object:
        with torch.autocast(s.device, torch.bfloat16):
            return draw(net)

    ways: dict[str, Callable[[], object]] = {f"{name}, compiled": lambda: draw(net)}
    return ways | ({f"{name}, compiled, bfloat16": half} if bfloat16(s.device) else {})


@contextmanager
def tf32() -> Iterator[None]:
    """Matrix products as cuDNN's convolutions are by default, of numbers with 10 bits."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def bars(
    times: dict[str, tuple[float, ...]], amount: float | int, notes: dict[str, str]
) -> list[Bar]:
    """Rates; a way's name says whose it is, and after a comma how it is tuned."""
    return [
        Bar(way, whose(way), rates(amount, each), notes.get(way, ""), "," in way)
        for way, each in times.items()
    ]


def whose(way: str) -> Any:
    """Of a way to do a task, by its name."""
    return "ours" if way.startswith("our") else "theirs"


def sampling_lucidrains(s: Sizes) -> Iterator[Comparison]:
    """Guided sampling, whole: network and sampler, against denoising-diffusion-pytorch."""
    ours, theirs, _, module = networks(s)
    draw = lucidrains_sampler(module, theirs, s.side, s.steps, s.device)
    y = labels(s, s.batch)
    table = solvers.ddpm(Schedule.cosine(1000), s.steps)
    ways = our_ways(ours, s) | {
        "lucidrains": lambda: draw(y, W),
        MIXED: lambda: sample(
            LucidrainsUnet(theirs), y, table, shape=(1, s.side, s.side), w=W, clip=1.0
        ),
    }
    times = interleaved(ways, s.repeats)
    mixed = times.pop(MIXED)
    yield Comparison(
        "sampling, lucidrains",
        f"{s.batch} images of {s.side}x{s.side}x1, {s.steps} guided steps, w = {W:g}",
        "images/s",
        True,
        tuple(bars(times, s.batch, {"ours": size(ours), "lucidrains": size(theirs)})),
        "1.5, at best 3",
        (
            NOT_EQUAL_NETWORKS,
            "lucidrains' runs as its documentation has it, float32 and not compiled: DDIM with "
            "eta = 1, two passes a step, the part of the guidance along the conditional answer "
            "taken out and the deviation rescaled. Ours: DDPM, one pass of both halves, mixed as "
            "in the paper. Its progress bar is switched off.",
            NOISE,
        ),
    )
    yield same_network("lucidrains", s, mixed, times["lucidrains"])


def sampling_diffusers(s: Sizes) -> Iterator[Comparison]:
    """The same against diffusers, and how far each network is from this machine's best product."""
    ours, lucid, theirs, _ = networks(s)
    y, shape = labels(s, s.batch), (1, s.side, s.side)
    plain = diffusers_sampler(theirs, K, shape, s.steps, **COSINE)
    table = solvers.ddpm(Schedule.cosine(1000), s.steps)
    ways = our_ways(ours, s) | {
        "diffusers": lambda: plain(y, W),
        MIXED: lambda: sample(DiffusersUNet(theirs, K), y, table, shape=shape, w=W, clip=1.0),
    }
    ways |= tuned(
        "diffusers",
        networks(s)[2],
        lambda net: diffusers_sampler(net, K, shape, s.steps, **COSINE)(y, W),
        s,
    )
    times = interleaved(ways, s.repeats)
    mixed = times.pop(MIXED)
    yield Comparison(
        "sampling, diffusers",
        f"{s.batch} images of {s.side}x{s.side}x1, {s.steps} guided steps, w = {W:g}",
        "images/s",
        True,
        tuple(bars(times, s.batch, {"ours": size(ours), "diffusers": size(theirs)})),
        "1.2, at best 2",
        (
            NOT_EQUAL_NETWORKS,
            "diffusers' network has DownBlock2D and UpBlock2D at every level, one layer each, "
            "its fastest choice; guidance is one batch of both halves, as in its pipelines. Its "
            "best settings are its documentation's for speed, and then ours too: channels-last, "
            "torch.compile, and bfloat16 where there are instructions for it.",
            NOISE,
        ),
    )
    yield same_network("diffusers", s, mixed, times["diffusers"])
    yield share_of_peak(s, ours, lucid, theirs)


@torch.no_grad()
def share_of_peak(s: Sizes, ours: nn.Module, lucid: nn.Module, theirs: nn.Module) -> Comparison:
    """One guided pass of each network in operations a second, beside a large matrix product."""
    x, a = torch.randn(2 * s.batch, 1, s.side, s.side), torch.randn(s.product, s.product)
    x, a, t = x.to(s.device), a.to(s.device), torch.full((2 * s.batch,), 500, device=s.device)
    y = labels(s, 2 * s.batch)
    passes: dict[str, Callable[[], object]] = {
        "ours": lambda: ours(x, t, y),
        "lucidrains": lambda: lucid(x, t, y, cond_drop_prob=0.0),
        "diffusers": lambda: theirs(x, t, class_labels=y),
        "matrix product": lambda: torch.mm(a, a),
    }
    counts = {way: flops(run) for way, run in passes.items()}
    with tf32():
        times = interleaved(passes, s.repeats)
    found = [
        Bar(
            way,
            "bound" if way == "matrix product" else whose(way),
            rates(counts[way] / 1e9, each),
            f"{counts[way] / 1e9:.3g} Gflop a call",
        )
        for way, each in times.items()
    ]
    peak = found[-1].median
    return Comparison(
        "share of the peak",
        f"one pass of {2 * s.batch} images, float32 eager, beside {s.product}^3 torch.mm",
        "Gflop/s",
        True,
        tuple(found),
        "none",
        (
            "Convolutions and matrix products are counted, 2 a multiplication and addition; time "
            "is that of everything. On a GPU products are in TF32, as its convolutions are.",
        ),
        ", ".join(f"{bar.way} {bar.median / peak:.0%} of the peak" for bar in found[:-1]),
    )


def same_network(
    name: str, s: Sizes, mixed: tuple[float, ...], whole: tuple[float, ...]
) -> Comparison:
    """Their network under our sampler and theirs, of the same rounds: what differs is the loop."""
    return Comparison(
        f"same network, {name}",
        f"the network of {name} under both samplers, {s.batch} images, {s.steps} guided steps",
        "images/s",
        True,
        (
            Bar("our sampler", "ours", rates(s.batch, mixed)),
            Bar("their sampler", "theirs", rates(s.batch, whole)),
        ),
        "1",
        (NOISE,),
    )
