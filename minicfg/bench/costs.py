"""Comparisons of cost: the exact denoiser, how time and memory grow, and how long a start takes."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minicfg import solvers
from minicfg.bench.measure import (
    Bar,
    Comparison,
    Sizes,
    interleaved,
    line,
    module_of,
    need,
    package,
)
from minicfg.bench.speed import K, W, our_unet
from minicfg.errors import MachineError
from minicfg.sampling import sample
from minicfg.schedule import Schedule


def oracle(s: Sizes) -> Iterator[Comparison]:
    """The exact denoiser of a mixture of 8 Gaussians, beside one that is exact for a finite set."""
    need("einops")
    theirs: Any = module_of("smalldiffusion", "model")
    # The course is not imported by the package: it is looked up here because it is what is timed.
    names = ("step00_notation", "step01_toy_data", "step07_oracle")
    notation, toy_data, step07 = (package(f"tutorial.{name}") for name in names)
    angle, components = 2 * np.pi * np.arange(8) / 8, 8
    mixture = toy_data.GaussianMixture(
        3 * np.stack([np.cos(angle), np.sin(angle)], 1),
        np.tile(0.25 * np.eye(2), (components, 1, 1)),
        np.full(components, 1 / components),
    )
    schedule, t = notation.Schedule.linear(1000), 300
    exact = step07.oracle_eps(mixture, schedule)
    rng = np.random.default_rng(0)
    x0, _ = mixture.sample(s.points, rng)
    abar = float(schedule.alpha_bar[t])
    eps = rng.standard_normal(x0.shape)
    xt, null = np.sqrt(abar) * x0 + np.sqrt(1 - abar) * eps, np.full(s.points, components)
    drawn = torch.from_numpy(mixture.sample(s.drawn, rng)[0]).float()
    ideal = theirs.IdealDenoiser([drawn[i] for i in range(len(drawn))])
    # Theirs is in the units of variance exploding: x / sqrt(abar), sigma = sqrt(1 / abar - 1).
    blown = torch.from_numpy(xt / np.sqrt(abar)).float()
    sigma = torch.tensor((1 / abar - 1) ** 0.5)
    features, shares = rng.standard_normal((s.points, 6)), rng.random((s.points, components))
    form, pull = rng.standard_normal((6, components)), rng.standard_normal((components, 6))

    def products() -> object:
        return features @ form, shares @ pull

    def products_and_softmax() -> object:
        log_p = features @ form
        p = np.exp(log_p - log_p.max(1, keepdims=True))
        return (p / p.sum(1, keepdims=True)) @ pull

    with torch.no_grad():
        ways: dict[str, Callable[[], object]] = {
            "ours": lambda: exact(xt, t, null),
            "smalldiffusion": lambda: ideal(blown, sigma),
            "two matrix products": products,
            "products and softmax": products_and_softmax,
        }
        times = interleaved(ways, s.repeats)
        apart = float(np.abs(ideal(blown, sigma).numpy() - exact(xt, t, null)).mean())
    whose: dict[str, Any] = {"ours": "ours", "smalldiffusion": "theirs"}
    found = [
        Bar(way, whose.get(way, "bound"), tuple(1e3 * v for v in each))
        for way, each in times.items()
    ]
    ours, _, bound, softmax = found
    yield Comparison(
        "exact denoiser",
        f"{s.points} points of the plane, {components} components, one call, null label",
        "ms",
        False,
        tuple(found),
        "3 products",
        (
            "Ours is the tutorial's oracle, NumPy in float64, for covariances in general position, "
            "and knows the mixture. smalldiffusion's IdealDenoiser knows only a finite set, here "
            f"{s.drawn} points drawn from the mixture, is exact for that set alone, in float32, "
            "and takes time in proportion to it: the ratio tells of that number as of the code.",
        ),
        f"ours takes {ours.median / bound.median:.1f} times the two products and "
        f"{ours.median / softmax.median:.1f} times these with the softmax between them; the two "
        f"denoisers' answers are {apart:.2f} apart on average, which is the finite set's error",
    )


def growth(s: Sizes) -> Iterator[Comparison]:
    """How our sampler's time and memory grow with each of its four sizes: no peer is asked."""
    s = replace(s, steps=s.grow_steps[1], batch=s.grow_batch[0])  # a few seconds a round
    cases = {f"steps {n}": (replace(s, steps=n), 1000) for n in s.grow_steps}
    cases |= {f"batch {n}": (replace(s, batch=n), 1000) for n in s.grow_batch}
    cases |= {f"pixels {n**2}": (replace(s, side=n), 1000) for n in s.grow_side}
    cases |= {f"T {T}": (s, T) for T in s.grow_chain}
    ways = {name: drawing(*case) for name, case in cases.items()}
    times = interleaved(ways, min(3, s.repeats))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        memory = pool.submit(peaks, cases).result()
    for axis in ("steps", "batch", "pixels", "T"):
        kept = {way: each for way, each in times.items() if way.startswith(f"{axis} ")}
        x = [float(way.split()[1]) for way in kept]
        found = tuple(
            Bar(way, "ours", tuple(1e3 * v for v in each), memory.get(way, ""))
            for way, each in kept.items()
        )
        a, b, off = line(x, [bar.median for bar in found])
        yield Comparison(
            f"growth over {axis}",
            f"guided sampling, {s.steps} steps, batch {s.batch}, {s.side}x{s.side}x1 if not said",
            "ms",
            False,
            found,
            "10 %",
            (),
            f"{off:.0%} off a line; {a:.3g} + {b:.3g} {axis} ms",
        )


def drawing(s: Sizes, T: int) -> Callable[[], object]:
    """A call that draws, the table made anew."""
    net, y = our_unet(s), torch.arange(s.batch) % K
    return lambda: sample(
        net, y, solvers.ddpm(Schedule.cosine(T), min(s.steps, T)), shape=(1, s.side, s.side), w=W
    )


def peaks(cases: dict[str, tuple[Sizes, int]]) -> dict[str, str]:
    """What each case needs above what a warm process of its own holds.

    Linux alone tells: the high-water mark in /proc can be set back, that of `getrusage` cannot, and
    a child's begins at its parent's. What an earlier case freed is first given back to the system.
    """
    import ctypes

    status, mark = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not (status.exists() and mark.exists()):
        return {}

    def mib(name: str) -> float:
        return float(status.read_text().split(f"{name}:")[1].split()[0]) / 2**10

    found: dict[str, str] = {}
    smallest, T = min(cases.values(), key=lambda case: case[0].batch * case[0].side ** 2)
    drawing(replace(smallest, batch=1), T)()
    for name, case in cases.items():
        draw = drawing(*case)
        getattr(ctypes.CDLL(None), "malloc_trim", id)(0)  # glibc has it
        mark.write_text("5")
        before = mib("VmRSS")
        draw()
        found[name] = f"{mib('VmHWM') - before:.0f} MiB more at its peak"
    return found


PROGRAMS = {
    "python": ["-c", "pass"],
    "import minicfg": ["-c", "import minicfg"],
    "minicfg --help": ["-m", "minicfg", "--help"],
    "UNet of minicfg": ["-c", "import minicfg; minicfg.UNet"],
    "import torch": ["-c", "import torch"],
    "import diffusers": ["-c", "import diffusers"],
    "UNet of diffusers": ["-c", "from diffusers import UNet2DModel"],
}


def start(s: Sizes) -> Iterator[Comparison]:
    """How long a new process takes, from nothing to what is named."""

    def run(arguments: list[str]) -> None:
        root = Path(__file__).parents[2]
        ran = subprocess.run([sys.executable, *arguments], capture_output=True, cwd=root)
        if ran.returncode:
            raise MachineError(f"python {' '.join(arguments)} fails: {ran.stderr.decode()[-200:]}")

    need("diffusers")
    ways: dict[str, Callable[[], object]] = {
        way: lambda arguments=arguments: run(arguments) for way, arguments in PROGRAMS.items()
    }
    times = interleaved(ways, s.repeats, 0.0)
    for name, kept, aim in (
        ("start, names", ("import minicfg", "minicfg --help", "import diffusers"), "0.2, 0.5"),
        ("start, a network", ("UNet of minicfg", "UNet of diffusers"), "none"),
    ):
        bounds = ("python",) if name == "start, names" else ("python", "import torch")
        yield Comparison(
            name,
            "a new Python process, to its end",
            "s",
            False,
            tuple(
                Bar(
                    way,
                    "bound" if way in bounds else ("theirs", "ours")["minicfg" in way],
                    times[way],
                )
                for way in (*kept, *bounds)
            ),
            aim,
            ("Both packages import torch only where it is needed.",),
        )
