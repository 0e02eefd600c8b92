"""What a compiler makes of a student's kernels, and of the ladder's, for a GPU that is not here.

A process in which Triton interprets cannot compile, so another one does it: this file, run as a
program on a file with the source of the kernels.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

NO_TRITON = (
    "Triton is not installed here, so no kernel is compiled. It comes for Linux: a hosted "
    "notebook, WSL, or a container will do, and needs no GPU."
)
TARGET, N, BLOCK = "sm_90", 2**20, 1024  # NVIDIA H100 and H200; 8 elements per thread
SAMPLE = 16384  # elements of a sample in 12.3
HEAD = (
    "import triton\nimport triton.language as tl\n\n"
    "from kernels.triton_normals import normals\n\n\n"
)
RUNGS = tuple(f"rung {number}" for number in range(1, 9))


def compiled(
    *kernels: Callable[..., Any], others: Sequence[str] = (*RUNGS, "rung 8, bfloat16")
) -> dict[str, dict[str, Any]]:
    """What is in the machine code of these kernels, and of others.

    Args:
        kernels: functions under `triton.jit` with the arguments of exercises 9.3, 9.4 and 12.3.
        others: rungs of the ladder, such as `rung 4` or `rung 4, bfloat16`, and variants of rung 8,
            by their names in the table of kernels/README.md or in `kernels.inspection`.

    Returns:
        By the name of a kernel, or `rung 4` and so on: instructions per element in the listing,
        without the slow paths of library functions, and without the noise; registers, spills, the
        widest load in bits, and the bytes per element that accesses of 128 bits move.
    """
    if importlib.util.find_spec("triton") is None:
        raise ModuleNotFoundError(NO_TRITON)
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "my_kernels.py")
        source = "\n\n".join(inspect.getsource(kernel) for kernel in kernels)
        path.write_text(HEAD + source, encoding="utf-8")
        names = [kernel.__name__ for kernel in kernels]
        command = [sys.executable, __file__, str(path), json.dumps(names), json.dumps(others)]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ran.returncode:
        raise RuntimeError(f"it does not compile:\n{ran.stderr[-2000:]}")
    return json.loads(ran.stdout)


def main(path: str, names: str, others: str) -> None:
    """Print what was found as JSON; the two lists are in JSON, too."""
    import torch

    from kernels.inspection.compile import (
        TARGETS,
        Launch,
        Variant,
        compile_launch,
        meta_tensor,
        variants,
    )
    from kernels.ladder.rungs import RUNGS
    from kernels.ladder.table import without_slow_paths

    spec = importlib.util.spec_from_file_location("my_kernels", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    values = {
        "xt": meta_tensor(torch.float32, N),
        "out": meta_tensor(torch.float32, 2 * N),
        "xs": meta_tensor(torch.float32, N),
        "row": meta_tensor(torch.float32, 8),
        "w": 2.0,
        "clip": 1.0,
        "seed": 7,
        "n": N,
    }
    B = N // SAMPLE
    tile_values = [values["xt"], values["out"], values["xs"]]
    tile_values += [meta_tensor(torch.float32, B), meta_tensor(torch.int32, B)]
    tile_values += [1.4, -1.0, 0.26, 0.73, 0.37, 1.0, 7, 3, B, SAMPLE]
    launches = {}
    for name in json.loads(names):
        kernel = getattr(module, name)
        if len(kernel.arg_names) == len(tile_values) + 2:  # 12.3: SAMPLES and BLOCK come last
            tile = {"SAMPLES": 1, "BLOCK": BLOCK}
            launches[name] = Launch(kernel, (SAMPLE // BLOCK, B), tuple(tile_values), tile, N)
        else:
            args = tuple(values[argument] for argument in kernel.arg_names if argument != "BLOCK")
            launches[name] = Launch(kernel, (N // BLOCK,), args, {"BLOCK": BLOCK}, N)
    for dtype, suffix in ((torch.float32, ""), (torch.bfloat16, ", bfloat16")):
        for rung in RUNGS:
            if (name := f"rung {rung.number}{suffix}") in json.loads(others):
                launches[name] = rung.launch(dtype)
    launches |= {
        str(variant): variant.launch()
        for variant in variants()
        if isinstance(variant, Variant) and str(variant) in json.loads(others)
    }
    found = {}
    for name, launch in launches.items():
        report = compile_launch(launch, TARGETS[TARGET])
        wide = report.loads.get(128, 0) + report.stores.get(128, 0)
        found[name] = {
            "instructions": report.per_element,
            "executed": without_slow_paths(report),
            "without noise": report.per_element_without_noise,
            "registers": report.registers,
            "spills": report.spills,
            "widest": max(report.loads),
            "bytes": 16 * wide / report.elements,
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
