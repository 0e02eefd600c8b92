"""Classifier-free guidance: the mix, and the one place that speaks of the other convention."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

from minicfg.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Float


def guide(
    out_cond: Float[Tensor, "B *D"],
    out_null: Float[Tensor, "B *D"],
    w: float | Float[Tensor, " B"],
) -> Float[Tensor, "B *D"]:
    """`(1 + w) out_cond - w out_null` (Ho and Salimans 2022, arXiv:2207.12598, eq. 6).

    `w = 0` is the conditional model, `w = -1` the unconditional one. `w` is one finite number or
    one a sample. Written as `out_cond + w (out_cond - out_null)`, which at w = 0 is `out_cond` to
    the last bit.
    """
    if out_cond.shape != out_null.shape:
        raise UsageError(
            f"out_cond has shape {tuple(out_cond.shape)} and out_null {tuple(out_null.shape)}"
        )
    if isinstance(w, Tensor):
        if w.shape != out_cond.shape[:1]:
            raise UsageError(f"w has shape {tuple(w.shape)}: one a sample is {out_cond.shape[:1]}")
        w = w.reshape(-1, *[1] * (out_cond.ndim - 1)).to(out_cond.dtype)
    else:
        check_w(w)
    return out_cond + w * (out_cond - out_null)


def check_w(w: float) -> float:
    """Return `w` if it is a finite number."""
    if not math.isfinite(w):
        raise UsageError(f"w = {w} is not a finite number")
    return float(w)


def scale_from_w(w: float) -> float:
    """The weight as diffusers (`guidance_scale`) and others (`cond_scale`) count it: `1 + w`."""
    return 1 + w


def w_from_scale(scale: float) -> float:
    """The paper's weight from the other convention's: `scale - 1`."""
    return scale - 1
