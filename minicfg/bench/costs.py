"""Compare costs: the exact denoiser, the growth of time and memory, and the start of a process."""

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
    Comparison,
    Result,
    Sizes,
    fit_line,
    interleaved,
    load_file,
    require,
)
from minicfg.bench.speed import K, W, our_unet
from minicfg.errors import MachineError
from minicfg.sampling import sample
from minicfg.schedule import Schedule
from tutorial.step01_toy_data import GaussianMixture

# The exact denoiser of the tutorial is one of the things timed here.
from tutorial.step02_forward import Schedule as LectureSchedule
from tutorial.step05_best_guess import oracle_eps


def oracle(s: Sizes) -> Iterator[Comparison]:
    """The exact denoiser of a mixture of 8 Gaussians, and one that is exact for a finite set."""
    require("einops")
    theirs: Any = load_file("smalldiffusion", "model")
    components = 8
    angle = 2 * np.pi * np.arange(components) / components
    mixture = GaussianMixture(
        3 * np.stack([np.cos(angle), np.sin(angle)], 1),
        np.tile(0.25 * np.eye(2), (components, 1, 1)),
        np.full(components, 1 / components),
    )
    schedule = LectureSchedule.linear(1000)
    t = 300
    exact = oracle_eps(mixture, schedule)
    rng = np.random.default_rng(0)
    x0, _ = mixture.sample(s.points, rng)
    abar = float(schedule.alpha_bar[t])
    eps = rng.standard_normal(x0.shape)
    xt = np.sqrt(abar) * x0 + np.sqrt(1 - abar) * eps
    null = np.full(s.points, components)
    drawn = torch.from_numpy(mixture.sample(s.drawn, rng)[0]).float()
    ideal = theirs.IdealDenoiser([drawn[i] for i in range(len(drawn))])
    # Theirs takes x / sqrt(abar) and sigma = sqrt(1 / abar - 1), the variance-exploding scaling.
    scaled = torch.from_numpy(xt / np.sqrt(abar)).float()
    sigma = torch.tensor((1 / abar - 1) ** 0.5)
    # The bounds: the two matrix products that any such denoiser computes, of the same sizes.
    features = rng.standard_normal((s.points, 6))
    weights = rng.random((s.points, components))
    to_log_p = rng.standard_normal((6, components))
    to_eps = rng.standard_normal((components, 6))

    def products() -> object:
        return features @ to_log_p, weights @ to_eps

    def products_and_softmax() -> object:
        log_p = features @ to_log_p
        p = np.exp(log_p - log_p.max(1, keepdims=True))
        return (p / p.sum(1, keepdims=True)) @ to_eps

    with torch.no_grad():
        ways: dict[str, Callable[[], object]] = {
            "ours": lambda: exact(xt, t, null),
            "smalldiffusion": lambda: ideal(scaled, sigma),
            "two matrix products": products,
            "products and softmax": products_and_softmax,
        }
        times = interleaved(ways, s.repeats)
        apart = float(np.abs(ideal(scaled, sigma).numpy() - exact(xt, t, null)).mean())
    owners: dict[str, Any] = {"ours": "ours", "smalldiffusion": "theirs"}
    found = [
        Result(way, owners.get(way, "bound"), tuple(1e3 * v for v in each))
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
            "Ours is the exact denoiser of the tutorial, in NumPy and float64, for any "
            "covariances, and knows the mixture. smalldiffusion's IdealDenoiser is exact only for "
            f"a finite set, here {s.drawn} points drawn from the mixture, and computes in float32. "
            "Its time is proportional to the size of the set, so the ratio depends on that size.",
        ),
        f"ours takes {ours.median / bound.median:.1f} times the two products and "
        f"{ours.median / softmax.median:.1f} times these with the softmax between them; the two "
        f"denoisers' outputs are {apart:.2f} apart on average, which is the finite set's error",
    )


def growth(s: Sizes) -> Iterator[Comparison]:
    """How the time and memory of our sampler grow with each of four sizes."""
    s = replace(s, steps=s.grow_steps[1], batch=s.grow_batch[0])  # a few seconds a round
    cases = {f"steps {n}": (replace(s, steps=n), 1000) for n in s.grow_steps}
    cases |= {f"batch {n}": (replace(s, batch=n), 1000) for n in s.grow_batch}
    cases |= {f"pixels {n**2}": (replace(s, side=n), 1000) for n in s.grow_side}
    cases |= {f"T {T}": (s, T) for T in s.grow_chain}
    ways = {name: sampling_call(*case) for name, case in cases.items()}
    times = interleaved(ways, min(3, s.repeats))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        memory = pool.submit(peak_memory, cases).result()
    for axis in ("steps", "batch", "pixels", "T"):
        of_axis = {way: each for way, each in times.items() if way.startswith(f"{axis} ")}
        x = [float(way.split()[1]) for way in of_axis]
        found = tuple(
            Result(way, "ours", tuple(1e3 * v for v in each), memory.get(way, ""))
            for way, each in of_axis.items()
        )
        a, b, off = fit_line(x, [result.median for result in found])
        yield Comparison(
            f"growth over {axis}",
            f"guided sampling; other sizes: {s.steps} steps, batch {s.batch}, {s.side}x{s.side}x1",
            "ms",
            False,
            found,
            "10 %",
            (),
            f"{off:.0%} off a line; {a:.3g} + {b:.3g} {axis} ms",
        )


def sampling_call(s: Sizes, T: int) -> Callable[[], object]:
    """A function without arguments that makes a table and samples with it."""
    net = our_unet(s)
    y = torch.arange(s.batch) % K

    def draw() -> object:
        table = solvers.ddpm(Schedule.cosine(T), min(s.steps, T))
        return sample(net, y, table, shape=(1, s.side, s.side), w=W)

    return draw


def peak_memory(cases: dict[str, tuple[Sizes, int]]) -> dict[str, str]:
    """The peak memory of each case, above that of the process before it.

    Only Linux reports it: the high-water mark in /proc can be reset. That of `getrusage` cannot,
    and in a child process it begins at the parent's. Before each case, memory that an earlier case
    freed is returned to the system.
    """
    import ctypes

    status = Path("/proc/self/status")
    mark = Path("/proc/self/clear_refs")
    if not (status.exists() and mark.exists()):
        return {}

    def mib(name: str) -> float:
        return float(status.read_text().split(f"{name}:")[1].split()[0]) / 2**10

    found: dict[str, str] = {}
    smallest, T = min(cases.values(), key=lambda case: case[0].batch * case[0].side ** 2)
    sampling_call(replace(smallest, batch=1), T)()  # loads what the first call loads
    for name, case in cases.items():
        draw = sampling_call(*case)
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
    """How long a new Python process takes, from its start to its end."""

    def run(arguments: list[str]) -> None:
        root = Path(__file__).parents[2]
        ran = subprocess.run([sys.executable, *arguments], capture_output=True, cwd=root)
        if ran.returncode:
            why = ran.stderr.decode()[-200:]
            raise MachineError(f"python {' '.join(arguments)} fails, so it is not timed: {why}")

    require("diffusers")
    ways: dict[str, Callable[[], object]] = {
        way: lambda arguments=arguments: run(arguments) for way, arguments in PROGRAMS.items()
    }
    times = interleaved(ways, s.repeats, 0.0)
    names = ("import minicfg", "minicfg --help", "import diffusers")
    network = ("UNet of minicfg", "UNet of diffusers")
    for name, programs, bounds, aim in (
        ("start, names", names, ("python",), "0.2, 0.5"),
        ("start, a network", network, ("python", "import torch"), "none"),
    ):
        yield Comparison(
            name,
            "a new Python process, to its end",
            "s",
            False,
            tuple(
                Result(
                    way,
                    "bound" if way in bounds else ("theirs", "ours")["minicfg" in way],
                    times[way],
                )
                for way in (*programs, *bounds)
            ),
            aim,
            ("Both packages import torch only when it is first used.",),
        )
