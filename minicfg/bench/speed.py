"""Compare the speed of guided sampling with each project's network and sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minicfg import solvers
from minicfg.adapters import DiffusersModel
from minicfg.bench.measure import Comparison, Result, Sizes, interleaved, rates
from minicfg.bench.networks import (
    LucidrainsUnet,
    diffusers_sampler,
    diffusers_unet,
    flops,
    lucidrains,
    lucidrains_sampler,
    lucidrains_unet,
    parameter_count,
)
from minicfg.sampling import sample
from minicfg.schedule import Schedule
from minicfg.unet import UNet

K, W = 10, 2.0
MULTIPLIERS = (1, 2, 4)
MIXED = "our sampler, their network"
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
NOT_EQUAL_NETWORKS = (
    "Networks are of about equal parameter count, but not of equal design: lucidrains' has "
    "(linear) attention at every level and in the middle, diffusers' in the middle, ours nowhere. "
    "The comparison of quality shows what that gains."
)
NOISE = (
    "Ours makes its noise by Philox, a function of seed and sample, theirs by torch.randn, which "
    "is four to five times cheaper on a CPU. The time includes the noise."
)


def networks(s: Sizes) -> tuple[UNet, nn.Module, nn.Module, Any]:
    """Our network, those of lucidrains and diffusers for the same images, and lucidrains' module.

    Their widths are proportional to ours. At the default sizes they have 1.61, 1.69 and 1.61
    million parameters.
    """
    torch.manual_seed(0)
    module = lucidrains()
    u = s.width // 8
    blocks = tuple(8 * max(1, n * u // 5) for n in (3, 6, 13))
    lucid = lucidrains_unet(module, max(8, 24 * u // 5), MULTIPLIERS, K)
    theirs = diffusers_unet(s.side, blocks, 8, K)
    return our_unet(s), lucid.eval().to(s.device), theirs.eval().to(s.device), module


def our_unet(s: Sizes) -> UNet:
    """Our network."""
    return UNet(1, K, width=s.width, multipliers=MULTIPLIERS).eval().to(s.device)


def labels(s: Sizes, n: int) -> Tensor:
    """`n` labels, every class in turn."""
    return torch.arange(n, device=s.device) % K


def size_note(net: nn.Module) -> str:
    """The number of parameters, as text."""
    return f"{parameter_count(net) / 1e6:.2f} M parameters"


def has_bfloat16(device: str) -> bool:
    """Whether the device has instructions for bfloat16; without them it is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        return bool({"avx512_bf16", "amx_bf16"} & set(Path("/proc/cpuinfo").read_text().split()))
    except OSError:
        return False


def our_ways(net: UNet, s: Sizes) -> dict[str, Callable[[], object]]:
    """Guided DDPM with our network: at default settings, and at the best ones on this machine."""
    table = solvers.ddpm(Schedule.cosine(1000), s.steps)
    y, shape = labels(s, s.batch), (1, s.side, s.side)

    def draw(net: Any) -> Tensor:
        return sample(net, y, table, shape=shape, w=W, seed=7, clip=1.0)

    return {"ours": lambda: draw(net)} | tuned("ours", our_unet(s), draw, s)


def tuned(
    name: str, net: Any, draw: Callable[[Any], object], s: Sizes
) -> dict[str, Callable[[], object]]:
    """`draw` with the settings that documentation recommends for speed, the same for all."""
    if not s.compiled:
        return {}
    net = net.to(memory_format=torch.channels_last)
    net.compile()

    def half() -> object:
        with torch.autocast(s.device, torch.bfloat16):
            return draw(net)

    ways: dict[str, Callable[[], object]] = {f"{name}, compiled": lambda: draw(net)}
    return ways | ({f"{name}, compiled, bfloat16": half} if has_bfloat16(s.device) else {})


@contextmanager
def tf32() -> Iterator[None]:
    """Let matrix products round their inputs to 10 bits, as cuDNN's convolutions do by default."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def rate_results(
    times: dict[str, tuple[float, ...]], amount: float | int, notes: dict[str, str]
) -> list[Result]:
    """Results per second. A way whose name has a comma is tuned."""
    return [
        Result(way, owner_of(way), rates(amount, each), notes.get(way, ""), "," in way)
        for way, each in times.items()
    ]


def owner_of(way: str) -> Any:
    """The owner of a way, read from its name."""
    return "ours" if way.startswith("our") else "theirs"


def sampling_lucidrains(s: Sizes) -> Iterator[Comparison]:
    """Guided sampling, network and sampler together, against denoising-diffusion-pytorch."""
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
        tuple(
            rate_results(times, s.batch, {"ours": size_note(ours), "lucidrains": size_note(theirs)})
        ),
        "1.5, at best 3",
        (
            NOT_EQUAL_NETWORKS,
            "lucidrains' runs as documented, in float32 and not compiled: DDIM with eta = 1, two "
            "passes per step, guidance without its component parallel to the conditional output, "
            "and a rescaled standard deviation. Ours is DDPM with one pass of both halves, mixed "
            "as in the paper. The progress bar of lucidrains' is switched off.",
            NOISE,
        ),
    )
    yield same_network("lucidrains", s, mixed, times["lucidrains"])


def sampling_diffusers(s: Sizes) -> Iterator[Comparison]:
    """The same against diffusers, and each network's speed beside that of a matrix product."""
    ours, lucid, theirs, _ = networks(s)
    y, shape = labels(s, s.batch), (1, s.side, s.side)
    plain = diffusers_sampler(theirs, K, shape, s.steps, **COSINE)
    table = solvers.ddpm(Schedule.cosine(1000), s.steps)
    ways = our_ways(ours, s) | {
        "diffusers": lambda: plain(y, W),
        MIXED: lambda: sample(DiffusersModel(theirs, K), y, table, shape=shape, w=W, clip=1.0),
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
        tuple(
            rate_results(times, s.batch, {"ours": size_note(ours), "diffusers": size_note(theirs)})
        ),
        "1.2, at best 2",
        (
            NOT_EQUAL_NETWORKS,
            "diffusers' network has DownBlock2D and UpBlock2D at every level, one layer each, "
            "its fastest choice. Guidance is one batch of both halves, as in its pipelines. The "
            "tuned ways have the settings that its documentation recommends for speed, and ours "
            "has them too: channels-last, torch.compile, and bfloat16 where the device has "
            "instructions for it.",
            NOISE,
        ),
    )
    yield same_network("diffusers", s, mixed, times["diffusers"])
    yield fraction_of_peak(s, ours, lucid, theirs)


@torch.no_grad()
def fraction_of_peak(s: Sizes, ours: nn.Module, lucid: nn.Module, theirs: nn.Module) -> Comparison:
    """Operations per second of one guided pass of each network, and of a large matrix product."""
    x = torch.randn(2 * s.batch, 1, s.side, s.side).to(s.device)
    a = torch.randn(s.product, s.product).to(s.device)
    t = torch.full((2 * s.batch,), 500, device=s.device)
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
        Result(
            way,
            "bound" if way == "matrix product" else owner_of(way),
            rates(counts[way] / 1e9, each),
            f"{counts[way] / 1e9:.3g} Gflop per call",
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
            "Only convolutions and matrix products are counted, 2 for a multiplication and an "
            "addition; the time is that of everything. On a GPU products are in TF32, as its "
            "convolutions are.",
        ),
        ", ".join(f"{each.way} {each.median / peak:.0%} of the peak" for each in found[:-1]),
    )


def same_network(
    name: str, s: Sizes, mixed: tuple[float, ...], whole: tuple[float, ...]
) -> Comparison:
    """Their network under our sampler and under theirs, in the same rounds."""
    return Comparison(
        f"same network, {name}",
        f"the network of {name} under both samplers, {s.batch} images, {s.steps} guided steps",
        "images/s",
        True,
        (
            Result("our sampler", "ours", rates(s.batch, mixed)),
            Result("their sampler", "theirs", rates(s.batch, whole)),
        ),
        "1",
        (NOISE,),
    )
