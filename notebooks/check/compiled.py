"""What a compiler makes of a student's kernel, and of the course's, for a GPU that is not here.

A process whose Triton interprets has nothing to compile, so another one does it: this file, run as
a program on a file with the kernel's source.
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

TARGET, N, BLOCK = "sm_90", 2**20, 1024  # NVIDIA H100 and H200; 8 elements a thread
HEAD = "import triton\nimport triton.language as tl\n\n\n"


def compiled(fn: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """Instructions per element and access widths of the step `fn`, and of the course's kernel."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "my_kernel.py")
        path.write_text(HEAD + inspect.getsource(fn), encoding="utf-8")
        command = [sys.executable, __file__, str(path), fn.__name__]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ran.returncode:
        raise RuntimeError(f"it does not compile:\n{ran.stderr[-2000:]}")
    return json.loads(ran.stdout)


def main(path: str, name: str) -> None:
    """Print what was found as JSON."""
    import torch

    from kernels.inspection.compile import (
        TARGETS,
        Launch,
        Variant,
        compile_launch,
        meta_tensor,
    )

    spec = importlib.util.spec_from_file_location("my_kernel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    xt, out, xs = (meta_tensor(torch.float32, n) for n in (N, 2 * N, N))
    args = xt, out, xs, meta_tensor(torch.float32, 8), 2.0, 1.0, N
    yours = Launch(getattr(module, name), (N // BLOCK,), args, {"BLOCK": BLOCK}, N)
    launches = {
        "yours": yours,
        "the course's": Variant().launch(),
        "the course's, bfloat16": Variant(torch.bfloat16).launch(),
    }
    reports = {what: compile_launch(launch, TARGETS[TARGET]) for what, launch in launches.items()}
    found = {
        what: {
            "instructions": r.per_element,
            "without noise": r.per_element_without_noise if what != "yours" else r.per_element,
            "registers": r.registers,
            "spills": r.spills,
            "widest": max(r.loads),
        }
        for what, r in reports.items()
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
