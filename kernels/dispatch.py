"""Where a step runs: the Triton kernel on a GPU, the plain torch reference anywhere else.

Arguments are checked here, on the host, at every call. `torch.compile` traces both ways without a
break.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kernels import reference
from kernels.philox import as_integer, check_seed

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

    Raises:
        ValueError: naming the argument, what it is and what it may be, before anything runs.
    """
    check_step(xt, out, rows, k, w, seed=seed, sample_ids=sample_ids, x0prev=x0prev, clip=clip)
    step = reference.guided_step
    if _fused(xt):
        from kernels.triton_step import guided_step as step
    return step(
        xt,
        out,
        rows,
        k,
        w,
        seed=seed,
        sample_ids=sample_ids,
        x0prev=x0prev,
        clip=clip,
        want_x0=want_x0,
    )


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
    _check_noising(
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
    noise = reference.noised_batch
    if _fused(x0):
        from kernels.triton_noising import noised_batch as noise
    return noise(
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


def check_step(
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
    """Refuse what a step cannot do, by shapes and host numbers only: nothing waits for a GPU."""
    _check_batch("xt", xt)
    B, D = xt.shape[0], xt.shape[1:]
    halves = 1 if w is None else 2
    if out.shape != (halves * B, *D):
        raise ValueError(
            f"out has shape {tuple(out.shape)}; pass {(halves * B, *D)} for xt {tuple(xt.shape)} "
            f"with w {'= None' if w is None else 'given (two halves)'}"
        )
    if rows.ndim != 2 or rows.shape[1] != 8:
        raise ValueError(f"rows has shape {tuple(rows.shape)}; pass a table of shape (n, 8)")
    if isinstance(k, Tensor):
        _check_tensor("xt", xt, "k", k, (), (torch.int64,))
    elif as_integer(k) is None:
        raise ValueError(f"k = {k!r} is not an integer; pass the index of a row")
    elif not 0 <= k < len(rows):
        raise ValueError(f"k = {k} is outside 0..{len(rows) - 1}, the rows of the table")
    if isinstance(w, Tensor):
        _check_tensor("xt", xt, "w", w, (B,), FLOATS)
    elif w is not None:
        reference.check_w(w)
    if not clip > 0:
        raise ValueError(f"clip = {clip}; pass a positive number, or infinity for no clipping")
    check_seed(seed)
    _check_tensor("xt", xt, "out", out, out.shape, (xt.dtype,))
    _check_tensor("xt", xt, "rows", rows, rows.shape, FLOATS)
    _check_tensor("xt", xt, "sample_ids", sample_ids, (B,), INTS)
    if x0prev is not None:
        _check_tensor("xt", xt, "x0prev", x0prev, xt.shape, (xt.dtype,))


def _check_noising(
    x0: Tensor,
    y: Tensor,
    alpha_bar: Tensor,
    *,
    null: int,
    p_uncond: float,
    prediction: str,
    seed: int,
    step: int,
    sample_ids: Tensor,
) -> None:
    """Refuse what cannot be noised; the values of tensors are read on the CPU only."""
    _check_batch("x0", x0)
    if alpha_bar.ndim != 1 or len(alpha_bar) < 2:
        raise ValueError(f"alpha_bar has shape {tuple(alpha_bar.shape)}; pass (T + 1,) numbers")
    if not 0 <= p_uncond <= 1:
        raise ValueError(f"p_uncond = {p_uncond} is outside 0..1")
    if prediction not in ("eps", "x0", "v", "velocity"):
        raise ValueError(f"prediction = {prediction!r}; pass 'eps', 'x0', 'v' or 'velocity'")
    if as_integer(null) is None or null < 0:
        raise ValueError(
            f"null = {null!r}; pass the null label as an integer: K, for labels in 0..K-1"
        )
    if as_integer(step) is None or not 0 <= step < 2**32:
        raise ValueError(f"step = {step!r} is outside 0..2^32-1 or not an integer")
    check_seed(seed)
    B = x0.shape[:1]
    _check_tensor("x0", x0, "y", y, B, (torch.int64,))
    _check_tensor("x0", x0, "alpha_bar", alpha_bar, alpha_bar.shape, (torch.float64,))
    _check_tensor("x0", x0, "sample_ids", sample_ids, B, INTS)
    if x0.device.type != "cpu" or torch.compiler.is_compiling():
        return
    # A comparison with NaN is false, so a NaN is refused too.
    if not bool(((alpha_bar >= 0) & (alpha_bar <= 1)).all()):
        raise ValueError(
            f"alpha_bar holds {float(alpha_bar.min()):.6g}..{float(alpha_bar.max()):.6g}; pass "
            "numbers in 0..1, such as those of a schedule"
        )
    if len(y) and not (int(y.min()) >= 0 and int(y.max()) < null):
        raise ValueError(
            f"y holds {int(y.min())}..{int(y.max())} and null = {null}; pass labels in 0..K-1 and "
            "null = K, which is the label of no class"
        )


def _check_batch(name: str, x: Tensor) -> None:
    if x.ndim == 0:
        raise ValueError(f"{name} is a single number; pass a batch of samples")
    if x.dtype not in FLOATS:
        raise ValueError(f"{name} is {x.dtype}; pass float16, bfloat16, float32 or float64")
    _check_gradient(name, x)


def _check_tensor(
    name: str,
    x: Tensor,
    other: str,
    tensor: Tensor,
    shape: Sequence[int],
    dtypes: Sequence[torch.dtype],
) -> None:
    """Refuse `tensor`, called `other`, unless it has this shape, one of these types, x's device."""
    if tensor.shape != shape:
        raise ValueError(f"{other} has shape {tuple(tensor.shape)}; pass {tuple(shape)}")
    if tensor.dtype not in dtypes:
        raise ValueError(
            f"{other} is {tensor.dtype} and {name} {x.dtype}; pass {other} as "
            f"{' or '.join(str(dtype).removeprefix('torch.') for dtype in dtypes)}"
        )
    if tensor.device != x.device:
        raise ValueError(
            f"{other} is on {tensor.device} and {name} on {x.device}; move both to one device"
        )
    _check_gradient(other, tensor)


def _check_gradient(name: str, x: Tensor) -> None:
    if x.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            f"{name} requires grad, and this step has none; call it under torch.no_grad()"
        )


def _fused(x: Tensor) -> bool:
    """Whether there is a kernel for a tensor like `x`: on a GPU, in every type but float64."""
    return x.is_cuda and HAS_TRITON and x.dtype != torch.float64
