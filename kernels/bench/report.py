"""Report a benchmark: the machine, a table, a roofline picture and a JSON file."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Timing:
    """Milliseconds: the median, and the bounds between which four runs in five lie."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Measurement:
    """The time of one way to compute a step, for one size and dtype."""

    dtype: str
    shape: tuple[int, ...]
    way: str
    passes: int  # reads and writes of tensors of x_t's size
    time: Timing


def machine(device: str) -> dict[str, Any]:
    """The hardware, the driver, the versions and the date, without which times mean nothing."""
    about: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": _version("triton"),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device == "cpu":
        about |= {"processor": _processor(), "threads": torch.get_num_threads()}
        return about | {"diffusers": _version("diffusers")}
    gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
    about |= {
        "gpu": gpu.name,
        "capability": f"{gpu.major}.{gpu.minor}",
        "multiprocessors": gpu.multi_processor_count,
        "memory_gib": round(gpu.total_memory / 2**30, 1),
        "cuda": torch.version.cuda or torch.version.hip,
    }
    return about | _nvidia_smi()


def _nvidia_smi() -> dict[str, str]:
    fields = ("driver_version", "clocks.max.sm", "power.limit")
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = ran.stdout.splitlines()  # one line per GPU; those of one machine are equal
    return dict(zip(fields, map(str.strip, lines[0].split(",")), strict=False)) if lines else {}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


GPU_HEAD = (
    "x_t",
    "copy GB/s",
    *("eager", "compiled", "fused"),
    *("of copy", "x eager", "x compiled"),
    *("eager, given", "compiled, given", "fused, given"),
)
CPU_HEAD = (
    "x_t",
    *("reference", "eager", "x eager", "diffusers", "x diffusers"),
    *("reference, c = 0", "diffusers, c = 0", "x diffusers"),
)


def lines(found: Sequence[Measurement], first: bool) -> Iterator[str]:
    """The lines of a Markdown table for one size; with `first`, its head comes before them."""
    if not found:
        yield "skipped: no memory for this size and larger ones"
        return
    time = {m.way: m.time.median for m in found}
    cell = {m.way: _microseconds(m.time) for m in found}

    def ratio(way: str, to: str) -> str:
        return f"{time[way] / time[to]:.2f}" if way in time else ""

    def took(*ways: str) -> list[str]:
        return [cell.get(way, "did not run").ljust(23) for way in ways]

    row = [f"{found[0].dtype} {'x'.join(map(str, found[0].shape))}".ljust(24)]
    if "copy" in time:
        head = GPU_HEAD
        row += [f"{_bytes(found[0]) * found[0].passes / time['copy'] / 1e6:.0f}"]
        row += took("eager", "compiled", "fused")
        row += [f"{time['copy'] / time['fused']:.0%}"]
        row += [ratio("eager", "fused"), ratio("compiled", "fused")]
        row += took("eager, given", "compiled, given", "fused, given")
    else:
        head, quiet = CPU_HEAD, ", c = 0"
        row += [*took("reference", "eager"), ratio("eager", "reference")]
        row += [*took("diffusers"), ratio("diffusers", "reference")]
        row += took("reference" + quiet, "diffusers" + quiet)
        row += [ratio("diffusers" + quiet, "reference" + quiet)]
    widths = [max(map(len, column)) for column in zip(head, row, strict=True)]
    if first:
        yield "Microseconds: the median (and the middle 80 %). x: how many times as fast."
        yield _line(head, widths)
        yield _line(["-" * width for width in widths], widths)
    yield _line(row, widths)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(map(str.ljust, row, widths)) + " |"


def _microseconds(time: Timing) -> str:
    median, low, high = (
        f"{us:.0f}" if us >= 1000 else f"{us:.4g}"
        for us in (1e3 * time.median, 1e3 * time.low, 1e3 * time.high)
    )
    return f"{median} ({low}-{high})"


def _bytes(m: Measurement) -> int:
    return getattr(torch, m.dtype).itemsize * torch.Size(m.shape).numel()


def write(out: Path, result: dict[str, Any], found: Sequence[Measurement]) -> list[str]:
    """Write `result` under the device's name, and a picture if there is a GPU; return the paths."""
    device = result["machine"].get("gpu") or result["machine"]["processor"] or "cpu"
    stem = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    path = out / f"{stem}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    if not any(m.way == "copy" for m in found):
        return [str(path)]
    return [str(path), _draw(found, result, out / f"{stem}.png")]


COLOURS = {"copy": "#888888", "eager": "#d95f02", "compiled": "#7570b3", "fused": "#1b9e77"}


def _draw(found: Sequence[Measurement], result: dict[str, Any], path: Path) -> str:
    """Draw speed against size, and the fused step below its roofline.

    Returns the path, or the reason why there is no picture.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "no picture, because matplotlib is not installed: pip install matplotlib"
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    figure.suptitle(f"One solver step on {result['machine']['gpu']}")
    sizes, roof = figure.subplots(1, 2)
    _draw_sizes(sizes, found)
    _draw_roof(roof, found, result)
    figure.savefig(path, dpi=150)
    return str(path)


def _draw_sizes(axes: Any, found: Sequence[Measurement]) -> None:
    for dtype, style in (("float32", "-"), ("bfloat16", "--")):
        for way, colour in COLOURS.items():
            chosen = [m for m in found if (m.dtype, m.way) == (dtype, way)]
            x = [_bytes(m) / 2**20 for m in chosen]
            y = [4 * _bytes(m) / m.time.median / 1e6 for m in chosen]
            axes.plot(x, y, style, marker="o", ms=3, color=colour, label=f"{way}, {dtype}")
    axes.set_xscale("log", base=2)
    axes.set(xlabel="size of x_t, MiB", ylabel="GB/s, of four passes over x_t")
    axes.set_ylim(bottom=0)
    axes.set_title("Four passes over x_t, divided by the time", fontsize=10)
    axes.legend(fontsize=7, handlelength=4)  # long enough to show dashes


def _draw_roof(axes: Any, found: Sequence[Measurement], result: dict[str, Any]) -> None:
    """Instructions per second against instructions per byte, for the largest size of a dtype."""
    copies = [m for m in found if m.way == "copy"]
    bandwidth = max(m.passes * _bytes(m) / m.time.median * 1e3 for m in copies)
    x = [0.5, 50.0]
    axes.plot(x, [bandwidth * v for v in x], color="#888888", label="copy bandwidth, measured")
    clock = re.match(r"(\d+) MHz", result["machine"].get("clocks.max.sm", ""))
    if clock:
        issued = result["machine"]["multiprocessors"] * 128 * int(clock[1]) * 1e6
        axes.axhline(issued, color="black", lw=1, label="128 per clock and multiprocessor")
    for m, marker in ((m, "os"[m.dtype == "bfloat16"]) for m in found):
        largest = max(_bytes(other) for other in found if other.dtype == m.dtype)
        count = result.get("instructions", {}).get(f"{m.dtype}, {m.way}")
        if count and _bytes(m) == largest:
            numel = torch.Size(m.shape).numel()
            intensity = count / (m.passes * getattr(torch, m.dtype).itemsize)
            rate = count * numel / m.time.median * 1e3
            fill = COLOURS["fused"] if m.way == "fused" else "white"
            label = f"{m.way}, {m.dtype}"
            axes.plot(intensity, rate, marker, color=COLOURS["fused"], mfc=fill, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(xlabel="instructions per byte, counted in the listing")
    axes.set_ylabel("instructions of a thread, per second")
    axes.set_title("The fused step under its two roofs", fontsize=10)
    axes.legend(fontsize=7)
