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
from collections.abc import Callable
from pathlib import Path
from typing import Any

TARGET, N, BLOCK = "sm_90", 2**20, 1024  # NVIDIA H100 and H200; 8 elements per thread
HEAD = "import triton\nimport triton.language as tl\n\n\n"


def compiled(*kernels: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """What is in the machine code of these kernels, and of the rungs of the ladder.

    Args:
        kernels: functions under `triton.jit` with the arguments of exercises 9.3 and 9.4.

    Returns:
        By the name of a kernel, or `rung 4` and so on: instructions per element in the listing, and
        without the slow paths of library functions; registers, spills, and the widest load in bits.
    """
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "my_kernels.py")
        source = "\n\n".join(inspect.getsource(kernel) for kernel in kernels)
        path.write_text(HEAD + source, encoding="utf-8")
        command = [sys.executable, __file__, str(path), *(kernel.__name__ for kernel in kernels)]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ran.returncode:
        raise RuntimeError(f"it does not compile:\n{ran.stderr[-2000:]}")
    return json.loads(ran.stdout)


def main(path: str, *names: str) -> None:
    """Print what was found as JSON."""
    import torch

    from kernels.inspection.compile import TARGETS, Launch, compile_launch, meta_tensor
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
    launches = {}
    for name in names:
        kernel = getattr(module, name)
        args = tuple(values[argument] for argument in kernel.arg_names if argument != "BLOCK")
        launches[name] = Launch(kernel, (N // BLOCK,), args, {"BLOCK": BLOCK}, N)
    launches |= {f"rung {rung.number}": rung.launch() for rung in RUNGS}
    launches["rung 8, bfloat16"] = RUNGS[-1].launch(torch.bfloat16)
    found = {}
    for name, launch in launches.items():
        report = compile_launch(launch, TARGETS[TARGET])
        found[name] = {
            "instructions": report.per_element,
            "executed": without_slow_paths(report),
            "registers": report.registers,
            "spills": report.spills,
            "widest": max(report.loads),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
