"""The loop that runs any solver's table on any denoiser: a generator, one forward pass a step."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from kernels import guided_step, philox
from minicfg.errors import UsageError
from minicfg.guidance import check_w
from minicfg.solvers import Prediction, Table

if TYPE_CHECKING:
    from jaxtyping import Float, Int


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


# `g = rule(out_cond, out_null, w, xt, p, q)`: `minicfg.guidance` has some.
Rule = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


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
    rule: Rule | None = None,
    capture: bool = True,
) -> Float[Tensor, "B *D"]:
    """Draw one sample for each label; what `sample_steps` ends with.

    >>> import minicfg
    >>> table = minicfg.solvers.ddpm(minicfg.Schedule.cosine(1000), steps=4)
    >>> model = minicfg.UNet(channels=1, num_classes=10)
    >>> minicfg.sample(model, torch.arange(10), table, shape=(1, 8, 8), w=2.0).shape
    torch.Size([10, 1, 8, 8])
    """
    w, sample_ids = checked(model, y, table, w, sample_ids, clip, seed)
    start = _start(seed, sample_ids, shape)
    run = chain(model, y, table, start, w, seed, sample_ids, clip, rule, capture, want_x0=False)
    x, _ = deque(run, maxlen=1).pop()
    return x


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
    rule: Rule | None = None,
    capture: bool = True,
) -> Iterator[State]:
    """Run the reverse chain from noise, yielding a `State` after each row of the table.

    The conditional and the null half go through the network as one batch of 2B; where `w` is the
    number 0 and the solver has no use for the null half, the plain conditional model runs alone.

    On a CUDA device the second step is recorded as a graph, which is then replayed for every other
    one: launching a small network's kernels one by one takes longer than running them. A network
    that cannot be recorded, because it reads a tensor's value on the host or copies from there,
    runs as it would without; a warning says so.

    Args:
        model: the denoiser; `table` must have been built for its `prediction`.
        y: (B,) labels in 0..K-1, or K for the unconditional law, on the device to run on.
        table: from `minicfg.solvers`.
        shape: of one sample.
        w: guidance weight, one finite number or one a sample, (B,).
        seed: 0..2^64-1. Sample i is a function of (model, y, w, table, seed, id) alone.
        sample_ids: (B,) integers in 0..2^32-1; 0..B-1 by default.
        clip: clamp the guess of x_0 to [-clip, clip]; off by default.
        rule: what mixes the two outputs, in the place of `guide`: from `minicfg.guidance`.
        capture: whether to try to record, where that is possible.

    Raises:
        UsageError: naming the argument, before the network runs.
    """
    w, sample_ids = checked(model, y, table, w, sample_ids, clip, seed)
    start = _start(seed, sample_ids, shape)
    run = chain(model, y, table, start, w, seed, sample_ids, clip, rule, capture, want_x0=True)
    for k, (s, (x, x0)) in enumerate(zip(table.s.tolist(), run, strict=True)):
        yield State(k, s, x.clone(), x0.clone())


def chain(
    model: Denoiser,
    y: Tensor,
    table: Table,
    start: Tensor,
    w: float | Tensor,
    seed: int,
    sample_ids: Tensor,
    clip: float,
    rule: Rule | None,
    capture: bool,
    want_x0: bool,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `(x, x0)` after each row: the same two tensors every time, written anew.

    From `start`, x at `table.t[0]`; arguments are those of `sample_steps`, and `checked`. Whoever
    runs it may change x in place between two rows: `minicfg.editing` does.

    Nothing that changes from step to step is known to the host: x, x0 and the number of the row
    stay where they are, and a step updates them there. So a recorded step is every step.
    """
    alone = rule is None and isinstance(w, float) and w == 0 and not bool(table.rows[:, 5].any())
    labels = y if alone else torch.cat([y, torch.full_like(y, model.num_classes)])
    rows, times = table.rows.to(y.device), table.t.to(y.device)
    looks_back = bool(table.rows[:, 6].any())
    x = start.clone()
    x0 = torch.zeros_like(x)
    k = torch.zeros((), dtype=torch.int64, device=y.device)

    def step() -> None:
        t = times.index_select(0, k).repeat(len(labels))
        out = model(x if alone else torch.cat([x, x]), t, labels)
        if rule:
            p, q, _, _, _, _, _, m = rows.index_select(0, k)[0].to(x.dtype)
            cond, null = out.chunk(2)
            # Mixed already: nothing of the null half is to be added, but some rows' d wants it.
            out = torch.cat([rule(cond, null, (m * w).expand(len(x)), x, p, q), null])
        xs, x0hat = guided_step(
            x,
            out,
            rows,
            k,
            None if alone else 0.0 if rule else w,
            seed=seed,
            sample_ids=sample_ids,
            x0prev=x0 if looks_back else None,
            clip=clip,
            want_x0=want_x0 or looks_back,
        )
        x.copy_(xs)
        if x0hat is not None:
            x0.copy_(x0hat)
        k.add_(1)

    run = step
    for row in range(len(table)):
        # The first step also loads, tunes and compiles what cannot be while a graph is recorded.
        if row == 1 and capture and y.is_cuda:
            run = _recorded(step, y.device)
        run()
        yield x, x0


def _recorded(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """`step` as a CUDA graph, which one launch replays; `step` itself, if it cannot be recorded."""
    with torch.cuda.device(device):
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        try:
            # A graph that fails to end leaves its stream current; the outer context does not.
            with torch.cuda.stream(stream), torch.cuda.graph(graph, stream=stream):
                step()
        except RuntimeError as error:
            graph.reset()  # gives back its memory, if it got so far
            _FAILED.append(graph)
            # What went wrong first; then ending the graph went wrong as well.
            reason = str(error.__context__ or error).strip().splitlines()[0]
            warnings.warn(
                f"the step could not be recorded as a CUDA graph ({reason}): it runs unrecorded, "
                "slower; capture=False does not try",
                RuntimeWarning,
                stacklevel=4,
            )
            return step
    return graph.replay


# Torch's allocator goes on asking a graph that failed whose memory is whose: it must not be freed.
_FAILED = list[torch.cuda.CUDAGraph]()


def _start(seed: int, sample_ids: Tensor, shape: Sequence[int]) -> Tensor:
    """The noise that a chain begins with, which is that of step 0."""
    if not all(type(size) is int and size > 0 for size in shape):
        raise UsageError(f"shape = {tuple(shape)}: integers of at least 1 are needed")
    return philox.normal(seed, sample_ids, 0, shape)


def checked(
    model: Denoiser,
    y: Tensor,
    table: Table,
    w: float | Tensor,
    sample_ids: Tensor | None,
    clip: float,
    seed: int,
) -> tuple[float | Tensor, Tensor]:
    """`w` and the sample ids as the chain takes them; refuses what it cannot run."""
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
        w = w.to(y.device, torch.float32)
    else:
        w = check_w(w)
    try:
        philox.check_seed(seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if table.prediction not in (None, model.prediction):
        raise UsageError(
            f"table is for prediction = {table.prediction!r}: the model's is {model.prediction!r}"
        )
    if not clip > 0:
        raise UsageError(f"clip = {clip}: a positive number or infinity is needed")
    if len(table) == 0 or table.rows[0, 6] != 0:
        raise UsageError("table has no rows, or its first looks back, where there is nothing yet")
    if sample_ids is None:
        sample_ids = torch.arange(len(y), device=y.device)
    if sample_ids.shape != y.shape or sample_ids.dtype != torch.int64:
        raise UsageError(
            f"sample_ids is {sample_ids.dtype} {tuple(sample_ids.shape)}: ({len(y)},) int64"
        )
    if int(sample_ids.min()) < 0 or int(sample_ids.max()) >= 2**32:
        raise UsageError("sample_ids must lie in 0..2^32-1")
    return w, sample_ids.to(y.device)
