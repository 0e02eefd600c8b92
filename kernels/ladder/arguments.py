"""Refuse what a rung of the ladder cannot take, before it launches anything."""

from __future__ import annotations

import torch
from torch import Tensor

from kernels import dispatch

LETTERS = "pqabcdem"
Row = tuple[float, float, float, float, float, float, float, float]  # (p, q, a, b, c, d, e, m)


def check_mix(out: Tensor, w: float) -> None:
    """Refuse an `out` that is no float32 tensor of two halves, and a `w` that is not finite."""
    _check_type("out", out, (torch.float32,))
    if out.ndim == 0 or len(out) % 2:
        raise ValueError(
            f"out has shape {tuple(out.shape)}; pass (2B, ...), the conditional half first"
        )
    _check_size("out", out)
    dispatch.reference.check_w(_one_number(w))


def check_step(
    xt: Tensor,
    out: Tensor,
    row: Row,
    w: float | Tensor | None,
    clip: float,
    *,
    unused: str,
    seed: int = 0,
    k: int = 0,
    sample_ids: Tensor | None = None,
    x0prev: Tensor | None = None,
) -> None:
    """Refuse arguments of a rung that takes a step; shapes are those of `kernels.guided_step`.

    Args:
        xt: (B, ...) float16, bfloat16 or float32, with fewer than 2^31 elements in `out`.
        out: (2B, ...), or (B, ...) if `w` is None.
        row: the eight numbers (p, q, a, b, c, d, e, m).
        w: a weight, (B,) weights, or None.
        clip: a positive number; infinity for none.
        unused: letters of the row that this rung does not implement, so that they must be 0.
        seed: 0..2^64-1.
        k: the number of the step, 0..2^32-2.
        sample_ids: (B,) integers; None for a rung that has none.
        x0prev: a tensor like `xt`; None for none.

    Raises:
        ValueError: naming the argument, its value, what is wrong and what to pass.
    """
    if not isinstance(row, tuple) or len(row) != len(LETTERS):
        raise ValueError(
            f"row = {row!r}; pass a tuple of the eight numbers (p, q, a, b, c, d, e, m)"
        )
    for letter in unused:
        if (value := row[LETTERS.index(letter)]) != 0:
            raise ValueError(
                f"row has {letter} = {value:.3g}, and this rung leaves that term out; pass a row "
                f"with {letter} = 0, or take a higher rung"
            )
    _check_type("xt", xt, (torch.float16, torch.bfloat16, torch.float32))
    ids = torch.empty(xt.shape[:1], dtype=torch.int64, device=xt.device)
    dispatch.check_step(
        xt,
        out,
        torch.empty(1, 8, device=xt.device),
        0,
        w,
        seed=seed,
        sample_ids=ids if sample_ids is None else sample_ids,
        x0prev=x0prev,
        clip=clip,
    )
    if not 0 <= k < 2**32 - 1:
        raise ValueError(f"k = {k} is outside 0..2^32-2, the numbers of steps")
    _check_size("out", out)


def check_one_w(w: object) -> None:
    """Refuse a `w` that is not one number."""
    _one_number(w)


def _one_number(w: object) -> float:
    if isinstance(w, bool) or not isinstance(w, (int, float)):
        raise ValueError(
            f"w is a {type(w).__name__}; this rung takes one number. Rung 6 takes one per sample"
        )
    return w


def _check_type(name: str, x: Tensor, dtypes: tuple[torch.dtype, ...]) -> None:
    if not isinstance(x, Tensor) or x.dtype not in dtypes:
        found = x.dtype if isinstance(x, Tensor) else f"a {type(x).__name__}"
        names = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise ValueError(f"{name} is {found}; this rung takes a tensor of {names}")


def _check_size(name: str, x: Tensor) -> None:
    if not 0 < x.numel() < 2**31:
        raise ValueError(
            f"{name} has {x.numel()} elements; rungs 1 to 7 count places in 32 bits and launch at "
            "least one program: pass 1 to 2^31 - 1. kernels.guided_step takes any number"
        )
