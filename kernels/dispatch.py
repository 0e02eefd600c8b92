"""Where a step runs: checked once, on the host; then CUDA -> Triton, any other -> reference.

The solver's step is a torch operator, `torch.ops.minicfg.guided_step`, so that `torch.compile` sees
one node of known shapes in its place and need not look inside. `guided_step` is its checked face.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kernels import reference
from kernels.philox import check_seed

if TYPE_CHECKING:
    from jaxtyping import Float, Int

HAS_TRITON = importlib.util.find_spec("triton") is not None
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTS = (torch.int32, torch.int64)


def guided_step(
    xt: Float[Tensor, "B *D"],
    out: Float[Tensor, "B_out *D"],
    rows: Float[Tensor, "n 8"],
    k: int | Int[Tensor, ""],
    w: float | Float[Tensor, " B"] | None,
    *,
    seed: int,
    sample_ids: Int[Tensor, " B"],
    x0prev: Float[Tensor, "B *D"] | None = None,
    clip: float = math.inf,
    want_x0: bool = True,
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "B *D"] | None]:
    """`kernels.reference.guided_step`, fused in one kernel where `xt` is a CUDA tensor.

    Under `torch.compile` k and seed may change freely; a new float w or clip is compiled anew, as
    floats are there, and w as (B,) is not.

    Raises:
        ValueError: naming the argument, what it is and what it may be, before anything runs.
    """
    check(xt, out, rows, k, w, seed=seed, sample_ids=sample_ids, x0prev=x0prev, clip=clip)
    number, place = (0, k) if isinstance(k, Tensor) else (k, None)
    one, each = (None, w) if isinstance(w, Tensor) else (w, None)
    signed = seed - 2**64 if seed >= 2**63 else seed  # an operator's integers have a sign
    xs, x0hat = _operator(
        xt, out, rows, number, place, one, each, signed, sample_ids, x0prev, clip, want_x0
    )
    return xs, x0hat if want_x0 else None


def noised_batch(
    x0: Float[Tensor, "B *D"],
    y: Int[Tensor, " B"],
    alpha_bar: Float[Tensor, " T1"],
    *,
    null: int,
    p_uncond: float,
    prediction: str,
    seed: int,
    step: int,
    sample_ids: Int[Tensor, " B"],
) -> tuple[Float[Tensor, "B *D"], Int[Tensor, " B"], Int[Tensor, " B"], Float[Tensor, "B *D"]]:
    """`kernels.reference.noised_batch`, fused in one kernel where `x0` is a CUDA tensor.

    Raises:
        ValueError: naming the argument, what it is and what it may be, before anything runs.
    """
    _check_batch("x0", x0)
    if alpha_bar.ndim != 1 or len(alpha_bar) < 2:
        raise ValueError(f"alpha_bar has shape {tuple(alpha_bar.shape)}: (T + 1,) is needed")
    if not 0 <= p_uncond <= 1:
        raise ValueError(f"p_uncond = {p_uncond} is outside 0..1")
    if prediction not in ("eps", "x0", "v"):
        raise ValueError(f"prediction = {prediction!r}: eps, x0 or v is needed")
    if not 0 <= step < 2**32:
        raise ValueError(f"step = {step} is outside 0..2^32-1")
    check_seed(seed)
    B = x0.shape[:1]
    _check_beside("x0", x0, "y", y, B, (torch.int64,))
    _check_beside("x0", x0, "alpha_bar", alpha_bar, alpha_bar.shape, (torch.float64,))
    _check_beside("x0", x0, "sample_ids", sample_ids, B, INTS)
    run = reference.noised_batch
    if x0.is_cuda and _fused(x0):
        from kernels.triton_noising import noised_batch as run
    return run(
        x0,
        y,
        alpha_bar,
        null=null,
        p_uncond=p_uncond,
        prediction=prediction,
        seed=seed,
        step=step,
        sample_ids=sample_ids,
    )


def check(
    xt: Tensor,
    out: Tensor,
    rows: Tensor,
    k: int | Tensor,
    w: float | Tensor | None,
    *,
    seed: int,
    sample_ids: Tensor,
    x0prev: Tensor | None,
    clip: float,
) -> None:
    """Refuse what a step cannot do. Reads shapes and host numbers only; never waits for a GPU."""
    _check_batch("xt", xt)
    B, D = xt.shape[0], xt.shape[1:]
    halves = 1 if w is None else 2
    if out.shape != (halves * B, *D):
        raise ValueError(
            f"out has shape {tuple(out.shape)}: {(halves * B, *D)} is needed beside xt "
            f"{tuple(xt.shape)} with w {'= None' if w is None else 'given (two halves)'}"
        )
    if rows.ndim != 2 or rows.shape[1] != 8:
        raise ValueError(f"rows has shape {tuple(rows.shape)}: (n, 8) is needed")
    if isinstance(k, Tensor):
        _check_beside("xt", xt, "k", k, (), (torch.int64,))
    elif not 0 <= k < len(rows):
        raise ValueError(f"k = {k} is outside 0..{len(rows) - 1}")
    if isinstance(w, Tensor):
        _check_beside("xt", xt, "w", w, (B,), FLOATS)
    elif w is not None and not -math.inf < w < math.inf:  # which torch.compile can trace
        raise ValueError(f"w = {w} is not finite")
    if not clip > 0:
        raise ValueError(f"clip = {clip}: a positive number or infinity is needed")
    check_seed(seed)
    _check_beside("xt", xt, "out", out, out.shape, (xt.dtype,))
    _check_beside("xt", xt, "rows", rows, rows.shape, FLOATS)
    _check_beside("xt", xt, "sample_ids", sample_ids, (B,), INTS)
    if x0prev is not None:
        _check_beside("xt", xt, "x0prev", x0prev, xt.shape, (xt.dtype,))


def _check_batch(name: str, x: Tensor) -> None:
    if x.ndim == 0:
        raise ValueError(f"{name} is a single number: a batch of samples is needed")
    if x.dtype not in FLOATS:
        raise ValueError(f"{name} is {x.dtype}: float16, bfloat16, float32 or float64 is needed")
    _check_gradient(name, x)


def _check_beside(
    name: str,
    x: Tensor,
    other: str,
    tensor: Tensor,
    shape: Sequence[int],
    dtypes: Sequence[torch.dtype],
) -> None:
    """`tensor`, called `other`, must have one of these types, this shape, and the device of `x`."""
    if tensor.shape != shape:
        raise ValueError(f"{other} has shape {tuple(tensor.shape)}: {tuple(shape)} is needed")
    if tensor.dtype not in dtypes:
        raise ValueError(
            f"{other} is {tensor.dtype} beside {name} {x.dtype}: "
            f"{' or '.join(str(dtype).removeprefix('torch.') for dtype in dtypes)} is needed"
        )
    if tensor.device != x.device:
        raise ValueError(f"{other} is on {tensor.device} and {name} on {x.device}")
    _check_gradient(other, tensor)


def _check_gradient(name: str, x: Tensor) -> None:
    if x.requires_grad and torch.is_grad_enabled():
        raise ValueError(f"{name} requires grad, and this has none: call it under torch.no_grad()")


def _fused(x: Tensor) -> bool:
    """Whether there is a kernel for a CUDA tensor like `x`: float64 has none."""
    return HAS_TRITON and x.dtype != torch.float64


def _anywhere(
    xt: Tensor,
    out: Tensor,
    rows: Tensor,
    k: int,
    k_at: Tensor | None,
    w: float | None,
    w_each: Tensor | None,
    seed: int,
    sample_ids: Tensor,
    x0prev: Tensor | None,
    clip: float,
    want_x0: bool,
    step: Callable[..., tuple[Tensor, Tensor | None]] = reference.guided_step,
) -> tuple[Tensor, Tensor]:
    """`step` with the arguments of the operator: no unions, and two tensors whatever is wanted."""
    xs, x0hat = step(
        xt,
        out,
        rows,
        k if k_at is None else k_at,
        w if w_each is None else w_each,
        seed=seed % 2**64,
        sample_ids=sample_ids,
        x0prev=x0prev,
        clip=clip,
        want_x0=want_x0,
    )
    return xs, xt.new_empty(0) if x0hat is None else x0hat


def _on_cuda(xt: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
    if not _fused(xt):
        return _anywhere(xt, *args)
    from kernels import triton_step

    return _anywhere(xt, *args, step=triton_step.guided_step)


def _shapes(xt: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
    want_x0 = args[-1]
    return xt.new_empty(xt.shape), xt.new_empty(xt.shape if want_x0 else 0)


torch.library.define(
    "minicfg::guided_step",
    "(Tensor xt, Tensor out, Tensor rows, SymInt k, Tensor? k_at, float? w, Tensor? w_each, "
    "SymInt seed, Tensor sample_ids, Tensor? x0prev, float clip, bool want_x0) -> (Tensor, Tensor)",
    tags=torch.Tag.pt2_compliant_tag,
)
torch.library.impl("minicfg::guided_step", "default", _anywhere)
torch.library.impl("minicfg::guided_step", "cuda", _on_cuda)
torch.library.register_fake("minicfg::guided_step", _shapes)
_operator = torch.ops.minicfg.guided_step.default
