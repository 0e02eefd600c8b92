"""The command `minicfg doctor`: versions, device, implementation of a step, memory and disk."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from pathlib import Path


def run_doctor() -> int:
    """Print one line per dependency and resource, then how to install what is missing."""
    import torch

    import kernels
    from kernels.dispatch import HAS_TRITON

    advice: list[str] = []
    print(f"python      {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in ("minicfg", "numpy", "scipy", "torch", "triton", "safetensors", "matplotlib"):
        print(f"{name:11} {installed_version(name)}")
    if torch.cuda.is_available():
        print(f"device      {torch.cuda.get_device_name()}")
    else:
        print(f"device      cpu, {torch.get_num_threads()} threads")
    if not HAS_TRITON:
        print("kernel      the plain torch reference on every device: triton is not installed")
        if platform.system() == "Linux":
            advice.append("pip install -c constraints.txt triton    for the fused kernel on a GPU")
    else:
        print(
            "kernel      the Triton kernel for CUDA tensors, the plain torch reference for others"
        )
    for line in kernel_lines(HAS_TRITON, torch.cuda.is_available(), assembler_is_here()):
        print(line)
    print(f"kernels     {Path(kernels.__file__).parent}")
    if hasattr(os, "sysconf"):
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        print(f"memory      {pages / 2**30:.1f} GiB")
    print(f"disk        {shutil.disk_usage('.').free / 2**30:.1f} GiB free here")
    if importlib.util.find_spec("jupyterlab") is None:
        advice.append("make lab    installs Jupyter and opens the course")
    print("\n".join(["", *advice]) if advice else "\nnothing is missing")
    return 0


def kernel_lines(has_triton: bool, on_gpu: bool, has_assembler: bool) -> list[str]:
    """What this machine can do with the fused kernel: interpret, compile and time it.

    Args:
        has_triton: Triton is installed.
        on_gpu: torch finds a CUDA device.
        has_assembler: Triton contains NVIDIA's assembler and disassembler.
    """
    if not has_triton:
        no = "no: triton is not installed"
        return [f"interpreted {no}", f"compiled    {no}", f"timed       {no}"]
    interpreted = "yes, on the CPU: python -m kernels.ladder --check"
    if on_gpu:
        interpreted = "yes, on the CPU: set TRITON_INTERPRET=1 before Triton is imported"
    compiled = "yes, for GPUs that need not be here: python -m kernels.ladder"
    if not has_assembler:
        compiled = "no: this build of triton has no assembler for NVIDIA"
    elif os.environ.get("TRITON_INTERPRET") == "1":
        compiled = "not while TRITON_INTERPRET=1 is set: unset it"
    timed = "yes: python -m kernels.bench" if on_gpu else "no: there is no CUDA device"
    return [f"interpreted {interpreted}", f"compiled    {compiled}", f"timed       {timed}"]


def assembler_is_here() -> bool:
    """Whether Triton is installed with the programs that write and read NVIDIA's machine code."""
    try:
        from triton import knobs

        return all(
            Path(tool.path).is_file() for tool in (knobs.nvidia.ptxas, knobs.nvidia.cuobjdump)
        )
    except (ImportError, AttributeError, RuntimeError):
        return False


def installed_version(name: str) -> str:
    """The version of an installed package, or `not installed`."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
