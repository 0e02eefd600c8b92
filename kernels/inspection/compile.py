"""Compile the kernels for GPUs that are not here: `python -m kernels.inspection`.

Triton contains an assembler and a disassembler, so it can compile a kernel for an absent chip. The
machine code shows much of what a profiler would show: how many registers a thread uses, whether
registers spill to memory, how wide each access to memory is, and how many instructions there are.

The launcher runs on tensors of torch's meta device, which have shapes and no data. A recorder
replaces the kernel and keeps the arguments of the launch. The kernel is then compiled for these
arguments, as a launch would compile it. `kernels.inspection.machine_code` reads the result, and
explains the columns of the table and how they are counted.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from types import ModuleType
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend

from kernels import triton_noising, triton_step
from kernels.inspection.machine_code import (
    Report,
    disassemble,
    instructions,
    read_amdgcn,
    read_nvidia,
)

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),  # NVIDIA A100
    "sm_90": GPUTarget("cuda", 90, 32),  # NVIDIA H100, H200
    "gfx942": GPUTarget("hip", "gfx942", 64),  # AMD MI300
}
TYPES = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


@dataclass(frozen=True)
class Launch:
    """The arguments of a launch, and the number of elements that all its threads compute."""

    kernel: Any
    grid: tuple[int, ...]
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    elements: int


@dataclass(frozen=True)
class Variant:
    """One way to call the step; Triton compiles a different kernel for each."""

    dtype: torch.dtype = torch.float32
    w: str = "one"  # "one" weight for all samples, "each" its own, or "none"
    history: str = "none"  # "kept": the kernel writes x0hat; "used": it also reads x0prev
    channels_last: bool = False  # layout of the network's output
    odd: bool = False  # a size that vectors of 128 bits do not divide
    k_on_device: bool = False  # the row's number is a tensor, as in a replayed CUDA graph

    def __str__(self) -> str:
        parts = [str(self.dtype).removeprefix("torch.")]
        parts += [{"each": "own w", "none": "no w"}.get(self.w, "")]
        parts += [{"kept": "x0hat kept", "used": "x0hat kept and used"}.get(self.history, "")]
        parts += ["channels last"] * self.channels_last + ["odd size"] * self.odd
        parts += ["k on device"] * self.k_on_device
        return ", ".join(filter(None, parts))

    def launch(self) -> Launch:
        """Call the launcher on tensors without data."""
        B, *D = shape = (64, 3, 31, 33) if self.odd else (64, 4, 64, 64)
        out = meta_tensor(self.dtype, B if self.w == "none" else 2 * B, *D)
        return record_launch(
            triton_step,
            "step_kernel",
            lambda: triton_step.guided_step(
                meta_tensor(self.dtype, *shape),
                out.to(memory_format=torch.channels_last) if self.channels_last else out,
                meta_tensor(torch.float32, 50, 8),
                meta_tensor(torch.int64) if self.k_on_device else 7,
                {"one": 2.0, "each": meta_tensor(torch.float32, B), "none": None}[self.w],
                seed=2**63,
                sample_ids=meta_tensor(torch.int64, B),
                x0prev=meta_tensor(self.dtype, *shape) if self.history == "used" else None,
                want_x0=self.history != "none",
            ),
            math.prod(shape),
        )


@dataclass(frozen=True)
class Noising:
    """One way to call the kernel that noises a training batch."""

    dtype: torch.dtype = torch.float32
    prediction: str = "eps"

    def __str__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')}, noising for {self.prediction}"

    def launch(self) -> Launch:
        """Call the launcher on tensors without data."""
        B, *_ = shape = (64, 4, 64, 64)
        return record_launch(
            triton_noising,
            "noising_kernel",
            lambda: triton_noising.noised_batch(
                meta_tensor(self.dtype, *shape),
                meta_tensor(torch.int64, B),
                meta_tensor(torch.float64, 1001),
                null=10,
                p_uncond=0.1,
                prediction=self.prediction,
                seed=2**63,
                step=7,
                sample_ids=meta_tensor(torch.int64, B),
            ),
            math.prod(shape),
        )


def meta_tensor(dtype: torch.dtype, *shape: int) -> Tensor:
    """A tensor without data."""
    return torch.empty(shape, dtype=dtype, device="meta")


DTYPES = (torch.float32, torch.float16, torch.bfloat16)
PREDICTIONS = ("eps", "x0", "v", "velocity")
README_VARIANTS = (  # those that kernels/README.md shows
    Variant(),
    Variant(history="used"),
    Variant(torch.bfloat16),
    Variant(channels_last=True),
    Variant(odd=True),
    Noising(),
)


def variants() -> Iterator[Variant | Noising]:
    """Every step by dtype, w, history, layout and size, one with k on the device, every noising."""
    flags = (False, True)
    for each in product(DTYPES, ("one", "each", "none"), ("none", "kept", "used"), flags, flags):
        yield Variant(*each)
    for dtype in DTYPES:
        yield Variant(dtype, k_on_device=True)
        yield from (Noising(dtype, prediction) for prediction in PREDICTIONS)


class _Recorder:
    """Replaces a kernel, and keeps the arguments of each launch instead of launching it."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[int, ...], tuple[Any, ...], dict[str, Any]]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *args, **options: self.calls.append((grid, args, options))


def record_launch(
    module: ModuleType, name: str, call: Callable[[], object], elements: int
) -> Launch:
    """The one launch of the kernel `module.name` that `call()` makes, recorded and not executed."""
    kernel = getattr(module, name)
    recorder = _Recorder()
    setattr(module, name, recorder)
    try:
        call()
    finally:
        setattr(module, name, kernel)
    ((grid, args, options),) = recorder.calls
    return Launch(kernel, grid, args, options, elements)


def source(launch: Launch, target: GPUTarget) -> ASTSource:
    """The kernel with the types, constants and hints that a launch would derive."""
    backend = make_backend(target)
    parameters = launch.kernel.params
    names = [parameter.name for parameter in parameters]
    given = dict(zip(names, launch.args, strict=False)) | dict(launch.options)
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    hints: dict[tuple[int], Any] = {}
    for i, parameter in enumerate(parameters):
        name = parameter.name
        value = given[name]
        fixed = parameter.do_not_specialize
        hint = ""
        one = isinstance(value, int) and value == 1 and not fixed  # Triton compiles a 1 in
        if parameter.is_constexpr or value is None or one:
            signature[name] = "constexpr"
            constants[name] = value
        elif isinstance(value, Tensor):
            signature[name] = TYPES[value.dtype]
            hint = "" if fixed else backend.get_tensor_specialization(value, align=True)
        elif isinstance(value, float):
            signature[name] = "fp32"
        else:
            narrow = "i32" if -(2**31) <= value < 2**31 else "i64"
            signature[name] = parameter.annotation_type or narrow
            hint = "" if fixed else backend.get_int_specialization(value, align=True)
        if hint:
            hints[(i,)] = backend.parse_attr(hint)
    return ASTSource(launch.kernel, signature, constants, hints)


def compile_launch(launch: Launch, target: GPUTarget) -> Report:
    """Compile a launch for `target`, which need not be here, and read the machine code."""
    compiled = _compiled(launch, target)
    threads = compiled.metadata.num_warps * target.warp_size * math.prod(launch.grid)
    elements = launch.elements / threads
    if target.backend == "cuda":
        found = read_nvidia(compiled.asm["cubin"], elements)
    else:
        found = read_amdgcn(compiled.asm["amdgcn"], elements)
    # Triton asks for shared memory when it launches, so the machine code does not contain its size.
    return replace(found, shared=compiled.metadata.shared)


def listing(launch: Launch, target: GPUTarget) -> str:
    """The machine code of a launch for `target` as text, one instruction per line."""
    compiled = _compiled(launch, target)
    if target.backend != "cuda":
        return compiled.asm["amdgcn"]
    code = instructions(disassemble(compiled.asm["cubin"]))
    return "\n".join(f"{address:04x}  {instruction}" for address, instruction in code)


def _compiled(launch: Launch, target: GPUTarget) -> Any:
    names = {parameter.name for parameter in launch.kernel.params}
    options = {name: value for name, value in launch.options.items() if name not in names}
    return triton.compile(source(launch, target), target=target, options=options)


HEAD = ("", "registers", "spills", "stack", "shared", "loads", "stores", "per element", "c = 0")


def table_row(variant: Variant | Noising, report: Report) -> tuple[str, ...]:
    """One row of the table."""

    def counts(widths: Mapping[int, int]) -> str:
        return ", ".join(f"{n} x {bits}" for bits, n in sorted(widths.items(), reverse=True))

    r = report
    numbers = (r.registers, r.spills, r.stack, r.shared, counts(r.loads), counts(r.stores))
    bound = f"{r.per_element:.1f}" + "+" * (r.repeats > 0)
    quiet = f"{r.per_element_without_noise:.1f}" if isinstance(variant, Variant) else ""
    return (str(variant), *map(str, numbers), bound, quiet)


def table(target: str, chosen: Iterable[Variant | Noising]) -> Iterator[str]:
    """The lines of a Markdown table, each as soon as its kernel is compiled, and a summary."""
    launches = {variant: variant.launch() for variant in chosen}
    widths = [max(map(len, map(str, launches))), *map(len, HEAD[1:])]
    widths[5] = widths[6] = 23

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(map(str.ljust, row, widths)) + " |"

    yield line((target, *HEAD[1:]))
    yield line(["-" * width for width in widths])
    reports: list[Report] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = pool.map(
            lambda launch: compile_launch(launch, TARGETS[target]), launches.values()
        )
        for variant, report in zip(launches, compiled, strict=True):
            reports.append(report)
            yield line(table_row(variant, report))
    most = max(r.registers for r in reports)
    memory = sum(r.spills + r.stack for r in reports)
    yield f"\n{len(reports)} kernels: at most {most} registers; {memory} spills and bytes of stack"


def main() -> int:
    """Print a table for each target; return the exit code, 4 if nothing can be compiled."""
    parser = argparse.ArgumentParser(
        prog="python -m kernels.inspection",
        description="Compile the kernels in every variant for GPUs that need not be here, and show "
        "what is in the machine code.",
        epilog="example: python -m kernels.inspection sm_90",
    )
    parser.add_argument(
        "target", nargs="*", help=f"one or more of {', '.join(TARGETS)} (default: all)"
    )
    parser.add_argument(
        "--few", action="store_true", help="only the variants that kernels/README.md shows"
    )
    given = parser.parse_args()
    if unknown := set(given.target) - set(TARGETS):
        parser.error(f"target {', '.join(unknown)} is unknown: choose from {', '.join(TARGETS)}")
    if os.environ.get("TRITON_INTERPRET") == "1":
        print(
            "TRITON_INTERPRET = 1 makes Triton interpret kernels, not compile them: unset it",
            file=sys.stderr,
        )
        return 4
    print(f"triton {triton.__version__}")
    for target in given.target or TARGETS:
        print()
        for line in table(target, README_VARIANTS if given.few else variants()):
            print(line, flush=True)
    return 0
