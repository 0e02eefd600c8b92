"""Where the kernels of these tests run: in Triton's interpreter, or compiled, on a GPU.

    TRITON_INTERPRET=0 python -m pytest tests/kernels     # on a machine that has one

The cases and what they are held against stay on the CPU; only the kernel's arguments travel.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

COMPILED = os.environ.get("TRITON_INTERPRET") == "0"
DEVICE = "cuda" if COMPILED else "cpu"


def there_and_back(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run`, its tensors sent to the GPU as they lie in memory, and its answers brought back."""
    if not COMPILED:
        return run

    def there(*args: Any, **kwargs: Any) -> Any:
        sent = [_sent(v) for v in args], {name: _sent(v) for name, v in kwargs.items()}
        return tuple(v.cpu() if isinstance(v, Tensor) else v for v in run(*sent[0], **sent[1]))

    return there


def _sent(v: Any) -> Any:
    if not isinstance(v, Tensor) or v.is_meta:
        return v
    if 0 in v.stride():  # an expanded one, whose elements share memory
        return v.to(DEVICE)
    return torch.empty_strided(v.shape, v.stride(), dtype=v.dtype, device=DEVICE).copy_(v)
