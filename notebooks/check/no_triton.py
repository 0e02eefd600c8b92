"""In the place of Triton where there is none, as on macOS: kernels can be read, and not be run."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class _Kernel:
    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        raise ModuleNotFoundError(
            "Triton is not installed here, so no kernel runs. It comes for Linux: a hosted "
            "notebook, WSL, or a container will do, and needs no GPU."
        )


tl = SimpleNamespace(constexpr=None)
triton = SimpleNamespace(jit=_Kernel, cdiv=lambda n, block: -(-n // block))
