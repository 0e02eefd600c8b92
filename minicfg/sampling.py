"""The loop that runs any solver's table on any denoiser, with one forward pass per step.

At each row of the table the network is evaluated, and three formulas move the state (step 14 of the
course; `kernels.reference` computes them, and on a GPU one kernel does):

    g     = (1 + m w) out_cond - m w out_null
    x0hat = clip(p x_t + q g)
    x_s   = a x0hat + b x_t + d out_null + e x0prev + c z
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Protocol, SupportsIndex, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from kernels import graph, guided_step, philox
from minicfg.errors import UsageError
from minicfg.guidance import check_w, guide
from minicfg.schedule import Schedule
from minicfg.solvers import Prediction, Table, check_schedule, described

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@runtime_checkable
class Denoiser(Protocol):
    """What a sampler needs of a network. `y = num_classes` is the null label.

    A denoiser may also have an attribute `schedule`, the `Schedule` on which it was trained. Tables
    that were made from another schedule are then refused.
    """

    @property
    def num_classes(self) -> int:
        """K: labels are 0..K-1."""
        ...

    @property
    def prediction(self) -> Prediction:
        """What the network predicts: the noise, the data, or v."""
        ...

    def __call__(
        self, xt: Float[Tensor, "B *D"], t: Int[Tensor, " B"], y: Int[Tensor, " B"]
    ) -> Float[Tensor, "B *D"]:
        """The network's raw output at `xt`, time `t` in 1..T and label `y` in 0..num_classes."""
        ...


# `g = rule(out_cond, out_null, w, xt, p, q)` replaces `guide`; `minicfg.guidance` has three.
Rule = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
# The type of `guide`, which is the rule of a chain to which none is given.
Guide = Callable[[Tensor, Tensor, float | Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class State:
    """The chain after row `k`: its state `x` at time `s`, and the guess `x0` of x_0 in that row."""

    k: int
    s: int
    x: Float[Tensor, "B *D"]
    x0: Float[Tensor, "B *D"]


@torch.no_grad()
def sample(
    model: Denoiser,
    y: Int[Tensor, " B"] | Int[np.ndarray, " B"] | Sequence[SupportsIndex],
    table: Table,
    *,
    shape: Sequence[int],
    w: float | Float[Tensor, " B"] | Float[np.ndarray, "*one_or_B"] | Sequence[float] = 0.0,
    seed: SupportsIndex = 0,
    sample_ids: Int[Tensor, " B"] | Int[np.ndarray, " B"] | Sequence[SupportsIndex] | None = None,
    clip: float = math.inf,
    rule: Rule | Guide | None = None,
    capture: bool = True,
) -> Float[Tensor, "B *D"]:
    """Draw one sample per label: the last state of `sample_steps`, which documents the arguments.

    >>> import minicfg
    >>> table = minicfg.solvers.ddpm(minicfg.Schedule.cosine(1000), steps=4)
    >>> model = minicfg.UNet(channels=1, num_classes=10)
    >>> minicfg.sample(model, torch.arange(10), table, shape=(1, 8, 8), w=2.0).shape
    torch.Size([10, 1, 8, 8])
    """
    rule = check_rule(rule)
    y, w, seed, sample_ids = check_arguments(model, y, table, shape, w, seed, sample_ids, clip)
    x = philox.normal(seed, sample_ids, 0, shape)
    return last_state(chain(model, y, table, x, w, seed, sample_ids, clip, rule, capture))


@torch.no_grad()
def sample_steps(
    model: Denoiser,
    y: Int[Tensor, " B"] | Int[np.ndarray, " B"] | Sequence[SupportsIndex],
    table: Table,
    *,
    shape: Sequence[int],
    w: float | Float[Tensor, " B"] | Float[np.ndarray, "*one_or_B"] | Sequence[float] = 0.0,
    seed: SupportsIndex = 0,
    sample_ids: Int[Tensor, " B"] | Int[np.ndarray, " B"] | Sequence[SupportsIndex] | None = None,
    clip: float = math.inf,
    rule: Rule | Guide | None = None,
    capture: bool = True,
) -> Generator[State]:
    """Run the reverse chain from noise, yielding a `State` after each row of the table.

    The conditional and the null half go through the network as one batch of 2B. If `w` is the
    number 0 and the table does not use the null half, the network is evaluated on the conditional
    half only.

    On a CUDA device the second step is recorded as a graph, which is then replayed for all later
    steps, because launching a small network's kernels one by one takes longer than running them. A
    network that cannot be recorded, because it reads a tensor's value on the host or copies data
    from there, runs without a graph, and a warning gives the reason.

    A `torch.nn.Module` is in eval mode while the chain runs, so dropout is off. Its modes are
    restored after the last row, and also after an error or when the generator is closed.

    Args:
        model: the denoiser; `table` must have been built for its `prediction`.
        y: B labels in 0..K-1, or K for the unconditional distribution. An int64 tensor must be on
            the device of the model; a list or a NumPy array of integers is copied there.
        table: from `minicfg.solvers`.
        shape: of one sample.
        w: guidance weight: one finite number, or one per sample, as a tensor, an array or a list.
        seed: 0..2^64-1. Sample i depends on (model, y[i], w[i], table, seed, sample_ids[i]) only,
            up to the rounding of the network, which can differ in the last bit with the size of a
            batch.
        sample_ids: B integers in 0..2^32-1; 0..B-1 by default.
        clip: clamp the guess of x_0 to [-clip, clip]; infinity, the default, leaves it as it is.
        rule: function that mixes the two outputs in place of `guide`; see `minicfg.guidance`.
        capture: whether to try to record, on a CUDA device.

    Raises:
        UsageError: naming the argument, before the network runs.
    """
    rule = check_rule(rule)
    y, w, seed, sample_ids = check_arguments(model, y, table, shape, w, seed, sample_ids, clip)
    x = philox.normal(seed, sample_ids, 0, shape)
    states = chain(model, y, table, x, w, seed, sample_ids, clip, rule, capture, want_x0=True)
    for k, (x, x0) in enumerate(states):
        yield State(k, int(table.s[k]), x.clone(), x0.clone())


def chain(
    model: Denoiser,
    y: Tensor,
    table: Table,
    x: Tensor,
    w: float | Tensor,
    seed: int,
    sample_ids: Tensor,
    clip: float,
    rule: Rule | None = None,
    capture: bool = True,
    want_x0: bool = False,
) -> Generator[tuple[Tensor, Tensor]]:
    """Start from `x` at time `table.t[0]`; yield the state and its guess of x_0 after each row.

    The arguments are those of `sample_steps`, after `check_arguments`. The guess is meaningful only
    with `want_x0`. Between two rows a caller may change the state in place, as `minicfg.editing`
    does; and a recorded step writes into the tensors that it yielded before, so clone what you
    keep.
    """
    rows = table.rows.to(x.device)
    times = table.t.to(x.device)
    looks_back = table.looks_back
    conditional_only = rule is None and isinstance(w, float) and w == 0 and not table.uses_null
    labels = y if conditional_only else torch.cat([y, torch.full_like(y, model.num_classes)])
    # The step gets w = 0 after a rule, which has mixed the two outputs already.
    step_w = None if conditional_only else w if rule is None else 0.0

    def one_step(k: Tensor, x: Tensor, x0prev: Tensor) -> tuple[Tensor, Tensor]:
        t = times.index_select(0, k).repeat(len(labels))
        out = model(x if conditional_only else torch.cat([x, x]), t, labels)
        if rule is not None:
            out = mix_by_rule(rule, out, w, x, rows.index_select(0, k)[0])
        xs, x0hat = guided_step(
            x,
            out,
            rows,
            k,
            step_w,
            seed=seed,
            sample_ids=sample_ids,
            x0prev=x0prev if looks_back else None,
            clip=clip,
            want_x0=want_x0 or looks_back,
        )
        return xs, x0prev if x0hat is None else x0hat

    step: graph.Step = one_step
    x0hat = torch.zeros_like(x)
    with eval_mode(model):
        for row, k in enumerate(torch.arange(len(table), device=x.device)):
            # The first step has run, so that all it needs is loaded and compiled.
            if row == 1 and capture and x.is_cuda:
                step = graph.record(step, k, x, x0hat)
            x, x0hat = step(k, x, x0hat)
            yield x, x0hat


@contextmanager
def eval_mode(model: object) -> Iterator[None]:
    """Put a `torch.nn.Module` into eval mode, and restore the mode of every submodule at the end.

    A model of another type is left as it is.
    """
    if not isinstance(model, torch.nn.Module):
        yield
        return
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def last_state(states: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    """Run a chain to its end, and return the state there."""
    x, _ = next(states)
    for x, _ in states:  # noqa: B007
        pass
    return x


def mix_by_rule(
    rule: Rule, out: Tensor, w: float | Tensor, x: Tensor, row: Float[Tensor, "8"]
) -> Tensor:
    """The network's output with the rule's mix as its first half.

    The step that follows gets w = 0, which leaves the first half as it is. The null half stays,
    because the rows of CFG++ (d != 0) need it.
    """
    p, q, _, _, _, _, _, m = row.to(x.dtype)
    out_cond, out_null = out.chunk(2)
    g = rule(out_cond, out_null, (m * w).expand(len(x)), x, p, q)
    return torch.cat([g, out_null])


def check_arguments(
    model: Denoiser,
    y: Tensor | np.ndarray | Sequence[SupportsIndex],
    table: Table,
    shape: Sequence[int],
    w: float | Tensor | np.ndarray | Sequence[float],
    seed: SupportsIndex,
    sample_ids: Tensor | np.ndarray | Sequence[SupportsIndex] | None,
    clip: float,
) -> tuple[Tensor, float | Tensor, int, Tensor]:
    """Refuse what `chain` cannot run; return `y`, `w`, `seed` and `sample_ids` as it takes them."""
    K = model.num_classes
    y = as_integers("y", y, device_of(model))
    if y.dtype != torch.int64 or y.ndim != 1 or len(y) == 0:
        raise UsageError(
            f"y is {y.dtype} {tuple(y.shape)}; pass int64 labels of shape (B,) with B >= 1"
        )
    if int(y.min()) < 0 or int(y.max()) > K:
        raise UsageError(
            f"y holds {int(y.min())}..{int(y.max())}; labels are 0..{K - 1}, and {K} is the null "
            "label"
        )
    w = as_weight(w, y)
    try:
        seed = philox.check_seed(seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if table.prediction not in (None, model.prediction):
        raise UsageError(
            f"table is for prediction = {table.prediction!r}, and the model's is "
            f"{model.prediction!r}; build the table with prediction = {model.prediction!r}"
        )
    if not clip > 0:
        raise UsageError(f"clip = {clip}; pass a positive number, or infinity for no clipping")
    schedule = getattr(model, "schedule", None)
    if isinstance(schedule, Schedule):
        check_schedule(table, schedule)
    if not all(type(size) is int and size > 0 for size in shape):
        raise UsageError(
            f"shape = {tuple(shape)}; pass the sizes of one sample, integers from 1 on"
        )
    if sample_ids is None:
        sample_ids = torch.arange(len(y), device=y.device)
    sample_ids = as_integers("sample_ids", sample_ids, y.device)
    if sample_ids.shape != y.shape or sample_ids.dtype != torch.int64:
        raise UsageError(
            f"sample_ids is {sample_ids.dtype} {tuple(sample_ids.shape)}; pass int64 of shape "
            f"({len(y)},), one per label"
        )
    if int(sample_ids.min()) < 0 or int(sample_ids.max()) >= 2**32:
        raise UsageError("sample_ids must lie in 0..2^32-1")
    return y, w, seed, sample_ids.to(y.device)


def check_rule(rule: Rule | Guide | None) -> Rule | None:
    """Refuse what is not a function; return None for `guide`, which a chain without a rule uses."""
    if rule is None or rule is guide:
        return None
    if not callable(rule):
        raise UsageError(
            f"rule = {rule!r} is not a function; pass one, for example "
            "rule=minicfg.guidance.rescale"
        )
    return cast(Rule, rule)


def device_of(model: object) -> torch.device:
    """Where the first parameter of a module is; the CPU for any other model."""
    parameters = model.parameters() if isinstance(model, torch.nn.Module) else iter(())
    first = next(parameters, None)
    return torch.device("cpu") if first is None else first.device


def as_integers(
    name: str, values: Tensor | np.ndarray | Sequence[SupportsIndex], device: torch.device
) -> Tensor:
    """A list or an array of integers as an int64 tensor; a tensor is returned as it is."""
    if isinstance(values, Tensor):
        return values
    items = values.tolist() if isinstance(values, np.ndarray) else values
    given = list(items) if isinstance(items, Sequence) else [None]
    integers = [i for i in map(philox.as_integer, given) if i is not None and abs(i) < 2**63]
    if len(integers) != len(given):
        raise UsageError(f"{name} is {described(values)}; pass a list of integers, one per sample")
    return torch.tensor(integers, dtype=torch.int64, device=device)


def as_weight(
    w: float | Tensor | np.ndarray | Sequence[float], y: Tensor
) -> float | Float[Tensor, " B"]:
    """One finite number, or a float32 tensor of one per label."""
    values = w.tolist() if isinstance(w, np.ndarray) else w
    if isinstance(values, Sequence):
        if not all(isinstance(v, Real) and not isinstance(v, bool) for v in values):
            raise UsageError(f"w is {described(w)}; pass a list of numbers, one per label")
        values = torch.tensor([float(v) for v in values], dtype=torch.float64)
    if not isinstance(values, Tensor):
        return check_w(values)
    if values.shape != y.shape or not bool(torch.isfinite(values).all()):
        raise UsageError(
            f"w has shape {tuple(values.shape)}; pass one finite number, or {len(y)} of them, "
            "one per label"
        )
    return values.to(y.device, torch.float32)
