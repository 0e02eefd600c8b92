"""The loop that runs any solver's table on any denoiser: a generator, one forward pass a step."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from kernels import guided_step, philox
from minicfg.errors import UsageError
from minicfg.guidance import check_w

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from minicfg.solvers import Prediction, Table


@runtime_checkable
class Denoiser(Protocol):
    """All a sampler knows of a network. `y = num_classes` is the null label."""

    @property
    def num_classes(self) -> int:
        """K: labels are 0..K-1."""
        ...

    @property
    def prediction(self) -> Prediction:
        """What it puts out."""
        ...

    def __call__(
        self, xt: Float[Tensor, "B *D"], t: Int[Tensor, " B"], y: Int[Tensor, " B"]
    ) -> Float[Tensor, "B *D"]:
        """The network's raw output at `xt`, time `t` in 1..T and label `y` in 0..num_classes."""
        ...


@dataclass(frozen=True, eq=False)
class State:
    """Where the chain is after row `k`: at time `s`, in `x`, having guessed `x0`."""

    k: int
    s: int
    x: Float[Tensor, "B *D"]
    x0: Float[Tensor, "B *D"]


@torch.no_grad()
def sample(
    model: Denoiser,
    y: Int[Tensor, " B"],
    table: Table,
    *,
    shape: Sequence[int],
    w: float | Float[Tensor, " B"] = 0.0,
    seed: int = 0,
    sample_ids: Int[Tensor, " B"] | None = None,
    clip: float = math.inf,
) -> Float[Tensor, "B *D"]:
    """Draw one sample for each label; what `sample_steps` ends with.

    >>> import minicfg
    >>> table = minicfg.solvers.ddpm(minicfg.Schedule.cosine(1000), steps=4)
    >>> model = minicfg.UNet(channels=1, num_classes=10)
    >>> minicfg.sample(model, torch.arange(10), table, shape=(1, 8, 8), w=2.0).shape
    torch.Size([10, 1, 8, 8])
    """
    states = sample_steps(
        model, y, table, shape=shape, w=w, seed=seed, sample_ids=sample_ids, clip=clip
    )
    return deque(states, maxlen=1).pop().x


@torch.no_grad()
def sample_steps(
    model: Denoiser,
    y: Int[Tensor, " B"],
    table: Table,
    *,
    shape: Sequence[int],
    w: float | Float[Tensor, " B"] = 0.0,
    seed: int = 0,
    sample_ids: Int[Tensor, " B"] | None = None,
    clip: float = math.inf,
) -> Iterator[State]:
    """Run the reverse chain from noise, yielding a `State` after each row of the table.

    The conditional and the null half go through the network as one batch of 2B; where `w` is the
    number 0 and the solver has no use for the null half, the plain conditional model runs alone.

    Args:
        model: the denoiser; `table` must have been built for its `prediction`.
        y: (B,) labels in 0..K-1, or K for the unconditional law, on the device to run on.
        table: from `minicfg.solvers`.
        shape: of one sample.
        w: guidance weight, one finite number or one a sample, (B,).
        seed: 0..2^64-1. Sample i is a function of (model, y, w, table, seed, id) alone.
        sample_ids: (B,) integers in 0..2^32-1; 0..B-1 by default.
        clip: clamp the guess of x_0 to [-clip, clip]; off by default.

    Raises:
        UsageError: naming the argument, before the network runs.
    """
    w, sample_ids = _checked(model, y, w, sample_ids, clip, seed)
    alone = isinstance(w, float) and w == 0 and not bool(table.rows[:, 5].any())
    labels = y if alone else torch.cat([y, torch.full_like(y, model.num_classes)])
    rows = table.rows.to(y.device)
    x = philox.normal(seed, sample_ids, 0, shape)
    x0 = None
    for k, (t, s) in enumerate(zip(table.t.tolist(), table.s.tolist(), strict=True)):
        out = model(x if alone else torch.cat([x, x]), torch.full_like(labels, t), labels)
        x, x0 = guided_step(
            x,
            out,
            rows,
            k,
            None if alone else w,
            seed=seed,
            sample_ids=sample_ids,
            x0prev=x0,
            clip=clip,
        )
        yield State(k, s, x, x0)


def _checked(
    model: Denoiser,
    y: Tensor,
    w: float | Tensor,
    sample_ids: Tensor | None,
    clip: float,
    seed: int,
) -> tuple[float | Tensor, Tensor]:
    K = model.num_classes
    if y.dtype != torch.int64 or y.ndim != 1 or len(y) == 0:
        raise UsageError(f"y is {y.dtype} {tuple(y.shape)}: (B,) int64 labels are needed, B >= 1")
    if int(y.min()) < 0 or int(y.max()) > K:
        raise UsageError(
            f"y holds {int(y.min())}..{int(y.max())}: labels are 0..{K - 1}, or {K} for none"
        )
    if isinstance(w, Tensor):
        if w.shape != y.shape or not bool(torch.isfinite(w).all()):
            raise UsageError(f"w has shape {tuple(w.shape)}: {len(y)} finite weights are needed")
    else:
        w = check_w(w)
    try:
        philox.check_seed(seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not clip > 0:
        raise UsageError(f"clip = {clip}: a positive number or infinity is needed")
    if sample_ids is None:
        sample_ids = torch.arange(len(y), device=y.device)
    if sample_ids.shape != y.shape or sample_ids.dtype != torch.int64:
        raise UsageError(
            f"sample_ids is {sample_ids.dtype} {tuple(sample_ids.shape)}: ({len(y)},) int64"
        )
    if int(sample_ids.min()) < 0 or int(sample_ids.max()) >= 2**32:
        raise UsageError("sample_ids must lie in 0..2^32-1")
    return w, sample_ids
