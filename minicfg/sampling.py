"""The loop that runs any solver's table on any denoiser, with one forward pass per step.

At each row of the table the network is evaluated, and three formulas move the state (step 17 of the
course; `kernels.reference` computes them, and on a GPU one kernel does):

    g     = (1 + m w) out_cond - m w out_null
    x0hat = clip(p x_t + q g)
    x_s   = a x0hat + b x_t + d out_null + e x0prev + c z

A student (`minicfg.distillation`) takes m w as an input and returns g itself, so that it is
evaluated once per sample and step, and the first formula is left out.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex, cast, get_args, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from kernels import graph, guided_step, philox
from minicfg.conditions import (
    Condition,
    batch_size,
    check_alike,
    check_condition,
    each_part,
    null_condition,
    parts_of,
)
from minicfg.config import Prediction, SolverName
from minicfg.errors import UsageError, check_number, check_type, short_repr
from minicfg.guidance import check_w, check_w_range, guide
from minicfg.schedule import Schedule
from minicfg.solvers import Table, check_schedule, check_w_of_table, described, named

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@runtime_checkable
class Denoiser(Protocol):
    """What a sampler needs of a network.

    A condition `y` is a tensor or a tuple of tensors, with the batch as first dimension
    (`minicfg.conditions`). Guidance also needs the null condition: a method `null(y)`, or, for
    integer labels 0..K-1, an attribute `num_classes = K`, which is then the null label.

    A denoiser may also have an attribute `schedule`, the `Schedule` on which it was trained. Tables
    that were made from another schedule are then refused.
    """

    @property
    def prediction(self) -> Prediction:
        """What the network predicts: the noise, the data, or v."""
        ...

    def __call__(self, xt: Float[Tensor, "B *D"], t: Int[Tensor, " B"], y: Any) -> Tensor:
        """The network's raw output, (B, *D), at `xt`, time `t` in 1..T and condition `y`.

        Samplers pass integer times. `TrainConfig.continuous` trains on real-valued times too.
        """
        ...


@runtime_checkable
class Student(Protocol):
    """A denoiser that takes the guidance weight as an input and returns the guided output.

    The attribute `w_range` distinguishes it from any other denoiser. It also has a null condition
    and, optionally, a `schedule`, as described in `Denoiser`. `minicfg.distill` trains one.
    """

    @property
    def prediction(self) -> Prediction:
        """What its teacher predicts: the noise, the data, or v."""
        ...

    @property
    def w_range(self) -> tuple[float, float]:
        """The smallest and the largest weight on which it was trained."""
        ...

    def __call__(
        self, xt: Float[Tensor, "B *D"], t: Int[Tensor, " B"], y: Any, w: Float[Tensor, " B"]
    ) -> Tensor:
        """An approximation to the teacher's `(1 + w) out_cond - w out_null`, (B, *D).

        `w` is float32, one weight per sample in `w_range`.
        """
        ...


@runtime_checkable
class Trained(Protocol):
    """A denoiser with what one needs to sample from it; `minicfg.Checkpoint` is one."""

    @property
    def model(self) -> Any:
        """The denoiser."""
        ...

    @property
    def schedule(self) -> Schedule:
        """The noise schedule that it was trained with."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes; empty if its condition is not a label."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        ...


# What a caller may pass as a condition: a list or an array of integers becomes an int64 tensor, and
# names of classes become labels.
GivenCondition = Condition | np.ndarray | Sequence[SupportsIndex] | Sequence[str]
# `g = rule(out_cond, out_null, w, xt, p, q)` replaces `guide`; `minicfg.guidance` has three.
Rule = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
# The type of `guide`. `rule=guide` is accepted, and means the same as no rule.
Guide = Callable[[Tensor, Tensor, float | Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class State:
    """The chain after row `k`: its state `x` at time `s`, and the row's guess `x0hat` of x_0."""

    k: int
    s: int
    x: Float[Tensor, "B *D"]
    x0hat: Float[Tensor, "B *D"]


def sample(
    model: Denoiser | Student | nn.Module | Trained,
    y: GivenCondition,
    table: Table | None = None,
    *,
    shape: Sequence[int] | None = None,
    w: float | Float[Tensor, " B"] | Float[np.ndarray, "*one_or_B"] | Sequence[float] = 0.0,
    solver: SolverName | None = None,
    steps: SupportsIndex | None = None,
    seed: SupportsIndex = 0,
    sample_ids: Int[Tensor, " B"] | Int[np.ndarray, " B"] | Sequence[SupportsIndex] | None = None,
    null: GivenCondition | None = None,
    noise: Float[Tensor, "B *D"] | None = None,
    clip: float | None = None,
    rule: Rule | Guide | None = None,
    capture: bool = True,
) -> Float[Tensor, "B *D"]:
    """Draw one sample per label or other condition: the last state of `sample_steps`.

    There are two ways to call it. A `Checkpoint` contains the network, its noise schedule and the
    shape of a sample, so the labels are enough:

        minicfg.sample(checkpoint, [3, 3, 7], w=2, solver="dpmpp_2m", steps=10, seed=7)

    Any other network is called with a table and the shape of one sample:

    >>> import minicfg
    >>> table = minicfg.solvers.ddpm(minicfg.Schedule.cosine(1000), steps=4)
    >>> model = minicfg.UNet(channels=1, num_classes=10)
    >>> minicfg.sample(model, torch.arange(10), table, shape=(1, 8, 8), w=2.0).shape
    torch.Size([10, 1, 8, 8])

    The arguments, and the errors, are those of `sample_steps`.
    """
    job = prepare_job(
        model,
        y,
        table,
        shape,
        w=w,
        seed=seed,
        sample_ids=sample_ids,
        clip=clip,
        rule=rule,
        null=null,
        solver=solver,
        steps=steps,
    )
    x = start_of(job, noise)
    return last_state(chain(job, x, capture))


def sample_steps(
    model: Denoiser | Student | nn.Module | Trained,
    y: GivenCondition,
    table: Table | None = None,
    *,
    shape: Sequence[int] | None = None,
    w: float | Float[Tensor, " B"] | Float[np.ndarray, "*one_or_B"] | Sequence[float] = 0.0,
    solver: SolverName | None = None,
    steps: SupportsIndex | None = None,
    seed: SupportsIndex = 0,
    sample_ids: Int[Tensor, " B"] | Int[np.ndarray, " B"] | Sequence[SupportsIndex] | None = None,
    null: GivenCondition | None = None,
    noise: Float[Tensor, "B *D"] | None = None,
    clip: float | None = None,
    rule: Rule | Guide | None = None,
    capture: bool = True,
) -> Generator[State]:
    """Run the reverse chain from noise, yielding a `State` after each row of the table.

    The conditional and the null half go through the network as one batch of 2B. The null half is
    left out only if `w` is the number 0, there is no rule, and no row of the table uses it (d = 0).

    A student, a model with an attribute `w_range`, is evaluated on the B samples at every `w`,
    which it takes as an input. In a row whose m is not 1 (`solvers.with_interval`) it gets m w. It
    returns one output and not two. So `rule` and `null` are refused, and so is a table that adds
    the null output by itself (`cfgpp`); sample with the teacher instead.

    On a CUDA device the second step is recorded as a graph, which is then replayed for all later
    steps, because launching a small network's kernels one by one takes longer than running them. A
    network that cannot be recorded, because it reads a tensor's value on the host or copies data
    from there, runs without a graph, and a warning gives the reason.

    A `torch.nn.Module` is in eval mode while the chain runs, so dropout is off. Its modes are
    restored after the last row, and also after an error or when the generator is closed.

    Args:
        model: a `Checkpoint`, or a denoiser.
        y: B labels in 0..K-1, or K for the unconditional distribution, as an int64 tensor, a list
            or a NumPy array; for a checkpoint also names of classes. If the model has no attribute
            `num_classes`, any tensor, or tuple of tensors, with the batch as first dimension.
            Tensors must be on the device of the model.
        table: from `minicfg.solvers`, built for the model's `prediction`. It may be left out for a
            checkpoint.
        shape: of one sample; may be left out for a checkpoint.
        w: guidance weight: one finite number, or one per sample, as a tensor, an array or a list.
            Those of a student, times m, must lie in its `w_range`.
        solver: for a checkpoint without a table: the name of a solver, `"ddim"` by default. (The
            command `minicfg sample` has other defaults: ddpm and w = 2.)
        steps: for a checkpoint without a table: number of steps, 1..T; 50 by default, or T if T is
            smaller.
        seed: 0..2^64-1. Sample i depends on the seed, on its own y, w, null, noise and sample id,
            and on what all samples share, but on no other sample, up to the rounding of the
            network. The rounding depends on the size of a batch, and its effect can grow over the
            steps (measured: up to 3e-5 after 50 steps).
        sample_ids: B integers in 0..2^32-1; 0..B-1 by default.
        null: the condition of the null half, in the same form as `y`; that of the model by default.
            Pass a condition that the samples should *not* have (a negative label, or negative
            prompt), and guidance moves them away from it.
        noise: (B, *shape) finite floats, the states from which the chains start; drawn from `seed`
            by default.
        clip: clamp the guess of x_0 to [-clip, clip]; infinity leaves it as it is. The default is 1
            for a checkpoint whose samples have three dimensions, which are images with pixels in
            [-1, 1] for everything that `minicfg train` reads, and infinity otherwise. Pass infinity
            for latents.
        rule: function that mixes the two outputs in place of `guide`; see `minicfg.guidance`.
        capture: whether to try to record, on a CUDA device.

    Raises:
        UsageError: naming the argument. `sample` raises it when it is called, and `sample_steps`
            when the first state is asked for.
    """
    job = prepare_job(
        model,
        y,
        table,
        shape,
        w=w,
        seed=seed,
        sample_ids=sample_ids,
        clip=clip,
        rule=rule,
        null=null,
        solver=solver,
        steps=steps,
    )
    x = start_of(job, noise)
    states = chain(job, x, capture, want_x0=True)
    for k, (x, x0hat) in enumerate(states):
        yield State(k, int(job.table.s[k]), x.clone(), x0hat.clone())


@dataclass(frozen=True, eq=False)
class Job:
    """What `chain` runs: the arguments of `sample_steps`, checked and as tensors."""

    model: Denoiser
    y: Condition
    null: Condition | None
    """The null condition, in the form of `y`; None if the chain needs no null half."""
    table: Table
    shape: tuple[int, ...]
    w: float | Float[Tensor, " B"]
    seed: int
    sample_ids: Int[Tensor, " B"]
    clip: float
    rule: Rule | None
    """None for `guide`."""
    student: Student | None = None
    """The model, if it takes w as an input; None for any other."""


def chain(
    job: Job,
    x: Float[Tensor, "B *D"],
    capture: bool = True,
    want_x0: bool = False,
) -> Generator[tuple[Tensor, Tensor]]:
    """Start from `x` at time `table.t[0]`; yield the state and its guess of x_0 after each row.

    The guess is meaningful only with `want_x0`. Between two rows a caller may change the state in
    place, as `minicfg.editing` does; and a recorded step writes into the tensors that it yielded
    before, so clone what you keep.
    """
    rows = job.table.rows.to(x.device)
    times = job.table.t.to(x.device)
    looks_back = job.table.looks_back
    y = job.y if job.null is None else each_part(concatenate, job.y, job.null)
    # None: `out` has no null half. 0: a rule has mixed the two halves already.
    step_w = None if job.null is None else job.w if job.rule is None else 0.0

    def one_step(k: Tensor, x: Tensor, x0prev: Tensor) -> tuple[Tensor, Tensor]:
        xt = x if job.null is None else torch.cat([x, x])
        t = times.index_select(0, k).repeat(len(xt))
        if job.student is None:
            out = job.model(xt, t, y)
        else:
            m = rows.index_select(0, k)[0, 7]
            out = job.student(xt, t, y, (m * job.w).float().expand(len(x)))
        check_output("model(xt, t, y)", out, xt)
        check_dtype("model(xt, t, y)", out, xt)
        if job.rule is not None:
            out = mix_by_rule(job.rule, out, job.w, x, rows.index_select(0, k)[0])
        xs, x0hat = guided_step(
            x,
            out,
            rows,
            k,
            step_w,
            seed=job.seed,
            sample_ids=job.sample_ids,
            x0prev=x0prev if looks_back else None,
            clip=job.clip,
            want_x0=want_x0 or looks_back,
        )
        return xs, x0prev if x0hat is None else x0hat

    step: graph.Step = one_step
    x0hat = torch.zeros_like(x)
    with eval_mode(job.model):
        for row, k in enumerate(torch.arange(len(job.table), device=x.device)):
            with torch.no_grad():
                # The first step has run, so that all it needs is loaded and compiled.
                if row == 1 and capture and x.is_cuda:
                    step = graph.record(step, k, x, x0hat)
                x, x0hat = step(k, x, x0hat)
            yield x, x0hat


def concatenate(first: Tensor, second: Tensor) -> Tensor:
    """Concatenate two batches along their first dimension."""
    return torch.cat([first, second])


def start_of(job: Job, noise: Tensor | None) -> Float[Tensor, "B *D"]:
    """The states from which the chains start: `noise`, or standard normal noise of the seed."""
    if noise is None:
        return philox.normal(job.seed, job.sample_ids, 0, job.shape)
    wanted = (batch_size(job.y), *job.shape)
    if not isinstance(noise, Tensor) or tuple(noise.shape) != wanted:
        raise UsageError(f"noise is {described(noise)}; pass a tensor of floats of shape {wanted}")
    if not noise.is_floating_point() or not bool(noise.isfinite().all()):
        raise UsageError(f"noise is {noise.dtype}, or contains NaN or infinity; pass finite floats")
    return noise.to(job.sample_ids.device)


@contextmanager
def eval_mode(model: object) -> Iterator[None]:
    """Put a `torch.nn.Module` into eval mode, and restore the mode of every submodule at the end.

    A model of another type is left as it is.
    """
    if not isinstance(model, nn.Module):
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
    check_output("rule(out_cond, out_null, w, xt, p, q)", g, x)
    check_dtype("rule(out_cond, out_null, w, xt, p, q)", g, x)
    return torch.cat([g, out_null])


def prepare_job(
    model: Denoiser | Student | nn.Module | Trained,
    y: GivenCondition,
    table: Table | None,
    shape: Sequence[int] | None,
    *,
    w: float | Tensor | np.ndarray | Sequence[float],
    seed: SupportsIndex,
    sample_ids: Tensor | np.ndarray | Sequence[SupportsIndex] | None,
    clip: float | None,
    rule: Rule | Guide | None,
    null: GivenCondition | None = None,
    solver: SolverName | None = None,
    steps: SupportsIndex | None = None,
) -> Job:
    """Check the arguments of `sample`, and return them as tensors, with the defaults filled in."""
    if isinstance(model, Trained):
        denoiser = check_denoiser(model.model)
        y = labels_of_names("y", y, model.classes)
        null = labels_of_names("null", null, model.classes) if null is not None else None
        table = table_for(model.schedule, table, solver, steps, denoiser.prediction)
        shape = model.shape if shape is None else shape
        default_clip = 1.0 if len(model.shape) == 3 else math.inf
    else:
        denoiser = check_denoiser(model)
        if table is None or shape is None:
            missing = "table" if table is None else "shape"
            raise UsageError(
                f"{missing} is missing; pass a table from minicfg.solvers and the shape of one "
                "sample, or a Checkpoint as the model"
            )
        if solver is not None or steps is not None:
            raise UsageError(
                f"solver = {solver!r}, steps = {steps!r} work with a Checkpoint only; leave them "
                "out, because the table contains both"
            )
        default_clip = math.inf
    clip = default_clip if clip is None else clip
    check_type("table", table, Table, "pass a table from minicfg.solvers")
    shape = as_shape(shape)
    y = as_condition("y", y, denoiser)
    w = as_weight(w, batch_size(y), parts_of(y)[0].device)
    rule = check_rule(rule)
    check_w_of_table(table, w)
    student = as_student(denoiser, table, w, rule, has_null=null is not None)
    is_guided = rule is not None or table.uses_null or not isinstance(w, float) or w != 0
    needs_null = is_guided and student is None
    null_part: Condition | None = None
    if null is not None:
        null_part = as_condition("null", null, denoiser)
        check_alike("null", null_part, y)
    # A null of another structure shows that `y` is not what the model takes, at w = 0 too.
    if null_part is None and (needs_null or callable(getattr(denoiser, "null", None))):
        null_part = null_condition(denoiser, y)
    try:
        seed = philox.check_seed(seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if table.prediction not in (None, denoiser.prediction):
        raise UsageError(
            f"table is for prediction = {table.prediction!r}, and the model's is "
            f"{denoiser.prediction!r}; build the table with prediction = {denoiser.prediction!r}"
        )
    check_number("clip", clip, "pass a positive number, or infinity for no clipping")
    if not clip > 0:
        raise UsageError(f"clip = {clip}; pass a positive number, or infinity for no clipping")
    schedule = getattr(model, "schedule", None)
    if isinstance(schedule, Schedule):
        check_schedule(table, schedule)
    return Job(
        model=denoiser,
        y=y,
        null=null_part if needs_null else None,
        table=table,
        shape=shape,
        w=w,
        seed=seed,
        sample_ids=as_sample_ids(sample_ids, y),
        clip=float(clip),
        rule=rule,
        student=student,
    )


def as_student(
    model: Denoiser | Student | nn.Module,
    table: Table,
    w: float | Tensor,
    rule: Rule | None = None,
    *,
    has_null: bool = False,
) -> Student | None:
    """Return a model with `w_range` as a `Student`, after the checks that only it needs, or None.

    Args:
        model: a denoiser.
        table: the rows to run.
        w: one weight, or one per sample.
        rule: None for `guide`.
        has_null: whether a condition is given for the null half.

    Raises:
        UsageError: if the model is a student and an argument needs two outputs, or a row's m w lies
            outside `w_range`.
    """
    w_range = getattr(model, "w_range", None)
    if w_range is None:
        return None
    low, high = check_w_range(w_range)
    for name, is_given in (
        ("rule", rule is not None),
        ("null", has_null),
        ("table", table.uses_null),
    ):
        if is_given:
            raise UsageError(
                f"{name} needs the conditional and the null output, and model is a "
                f"{type(model).__name__} with w_range, which returns the guided output only; "
                "sample with the model that it was distilled from"
            )
    m = table.rows[:, 7].unique()
    # In float32, as the model gets them: 0.3 in float32 is larger than 0.3 in float64.
    weights = torch.outer(m, torch.as_tensor(w).reshape(-1).to("cpu", torch.float64)).float()
    limits = torch.tensor([low, high])
    if bool((weights < limits[0]).any()) or bool((weights > limits[1]).any()):
        smallest = float(weights.min())
        largest = float(weights.max())
        found = f"{smallest:g}" if smallest == largest else f"{smallest:g}..{largest:g}"
        times_m = "" if bool((m == 1).all()) else " times m, the factor in the rows of the table,"
        raise UsageError(
            f"w{times_m} is {found}, which is outside {low:g}..{high:g}, the weights that the "
            "model was distilled for; pass w in this range, or sample with the model that it was "
            "distilled from"
        )
    return cast(Student, model)


def check_denoiser(model: object, name: str = "model") -> Denoiser:
    """Refuse what is not a function of (xt, t, y), or a student of (xt, t, y, w)."""
    if isinstance(model, type):
        raise UsageError(
            f"{name} is the class {model.__name__}; pass a network of this class, "
            f"{model.__name__}(...)"
        )
    if not callable(model):
        raise UsageError(
            f"{name} is a {type(model).__name__}; pass a Checkpoint, or a network with out = "
            "model(xt, t, y)"
        )
    prediction = getattr(model, "prediction", None)
    if prediction not in get_args(Prediction):
        raise UsageError(
            f"{name} is a {type(model).__name__} with prediction = {prediction!r}; set "
            f"{name}.prediction to what it predicts, 'eps', 'x0', 'v' or 'velocity'"
        )
    is_student = getattr(model, "w_range", None) is not None
    if not takes(model.forward if isinstance(model, nn.Module) else model, 4 if is_student else 3):
        number = "four" if is_student else "three"
        arguments = "xt, t, y, w" if is_student else "xt, t, y"
        raise UsageError(
            f"{name} is a {type(model).__name__} that does not take {number} arguments; write it "
            f"as out = model({arguments})"
        )
    return cast(Denoiser, model)


def takes(function: Callable[..., object], n: int) -> bool:
    """Whether a function can be called with `n` positional arguments; True if that is unknown."""
    try:
        inspect.signature(function).bind(*range(n))
    except TypeError:
        return False
    except ValueError:  # a function in C, such as torch.lerp, has no signature
        return True
    return True


def check_output(call: str, out: object, xt: Tensor) -> None:
    """Refuse an output that has not the shape of `xt`, and would be broadcast.

    Args:
        call: the function call that returned it, for the message.
        out: the output.
        xt: the noised samples.
    """
    if not isinstance(out, Tensor) or out.shape != xt.shape:
        found = described(out) if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise UsageError(
            f"{call} returns {found}; return a tensor of the shape of xt, {tuple(xt.shape)}"
        )


def check_dtype(call: str, out: Tensor, xt: Tensor) -> None:
    """Refuse an output of another dtype than `xt`; the arguments are those of `check_output`."""
    if out.dtype != xt.dtype:
        raise UsageError(f"{call} returns {out.dtype}; return the dtype of xt, {xt.dtype}")


def as_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The sizes of one sample as a tuple of integers from 1 on."""
    sizes = tuple(shape) if isinstance(shape, Sequence) else ()
    is_valid = isinstance(shape, Sequence) and all(type(n) is int and n > 0 for n in sizes)
    if not is_valid:
        raise UsageError(
            f"shape = {short_repr(shape)}; pass the sizes of one sample, a tuple of integers from "
            "1 on"
        )
    return sizes


def table_for(
    schedule: Schedule,
    table: Table | None,
    solver: SolverName | None,
    steps: SupportsIndex | None,
    prediction: Prediction,
) -> Table:
    """Return the given table, or build one from `solver` and `steps`; giving both is an error."""
    if table is None:
        number = min(50, schedule.T) if steps is None else steps
        return named("ddim" if solver is None else solver)(schedule, number, prediction=prediction)
    if solver is not None or steps is not None:
        raise UsageError(
            f"solver = {solver!r}, steps = {steps!r} and a table; pass either the table, or solver "
            "and steps"
        )
    return table


def labels_of_names(name: str, y: GivenCondition, classes: Sequence[str]) -> GivenCondition:
    """The labels of a list of class names; any other condition as it is."""
    if isinstance(y, Sequence) and len(y) > 0 and all(isinstance(item, str) for item in y):
        if not classes:
            raise UsageError(
                f"{name} = {y!r} is text, but the model has no names of classes; pass a tensor, or "
                "a tuple of tensors"
            )
        unknown = [item for item in y if item not in classes]
        if unknown or isinstance(y, str):
            raise UsageError(
                f"{name} = {y!r} contains {(unknown or [y])[0]!r}, which is not the name of a "
                f"class; pass a list of labels, or of the names {', '.join(classes[:20])}"
            )
        return [classes.index(cast(str, item)) for item in y]
    return y


def as_condition(name: str, y: GivenCondition, model: Denoiser) -> Condition:
    """A condition as tensors; if the model has `num_classes`, labels in its range."""
    K = getattr(model, "num_classes", None)
    if isinstance(y, tuple) and any(isinstance(part, Tensor) for part in y):
        given = y
    elif isinstance(y, np.ndarray) and not isinstance(K, int):
        given = torch.as_tensor(y, device=device_of(model))
    else:
        given = as_integers(name, cast(Any, y), device_of(model))
    if not isinstance(K, int):
        return check_condition(name, given)
    if not isinstance(given, Tensor):
        raise UsageError(
            f"{name} is a tuple of {len(given)} values, but the model has num_classes = {K}; pass "
            "one int64 tensor of labels"
        )
    if given.dtype != torch.int64 or given.ndim != 1 or len(given) == 0:
        raise UsageError(
            f"{name} is {given.dtype} {tuple(given.shape)}; pass int64 labels of shape (B,) with "
            "B >= 1"
        )
    if int(given.min()) < 0 or int(given.max()) > K:
        raise UsageError(
            f"{name} holds {int(given.min())}..{int(given.max())}; labels are 0..{K - 1}, and {K} "
            "is the null label"
        )
    return given


def as_sample_ids(
    sample_ids: Tensor | np.ndarray | Sequence[SupportsIndex] | None, y: Condition
) -> Int[Tensor, " B"]:
    """One id per sample, in 0..2^32-1, on the device of the condition; 0..B-1 by default."""
    B = batch_size(y)
    device = parts_of(y)[0].device
    if sample_ids is None:
        return torch.arange(B, device=device)
    ids = as_integers("sample_ids", sample_ids, device)
    if ids.shape != (B,) or ids.dtype != torch.int64:
        raise UsageError(
            f"sample_ids is {ids.dtype} {tuple(ids.shape)}; pass int64 of shape ({B},), one per "
            "label"
        )
    if int(ids.min()) < 0 or int(ids.max()) >= 2**32:
        raise UsageError("sample_ids must lie in 0..2^32-1")
    return ids.to(device)


def check_rule(rule: Rule | Guide | None) -> Rule | None:
    """Refuse what is not a function; return None for `guide`, which a chain without a rule uses."""
    if rule is None or rule is guide:
        return None
    if not callable(rule):
        raise UsageError(
            f"rule = {rule!r} is not a function; pass one, for example "
            "rule=minicfg.guidance.rescale"
        )
    if not takes(rule, 6):
        raise UsageError(
            f"rule = {short_repr(rule)} does not take six arguments; write it as g = "
            "rule(out_cond, out_null, w, xt, p, q)"
        )
    return cast(Rule, rule)


def device_of(model: object) -> torch.device:
    """Where the first parameter of a module is; the CPU for any other model."""
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
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
    w: float | Tensor | np.ndarray | Sequence[float], B: int, device: torch.device
) -> float | Float[Tensor, " B"]:
    """One finite number, or a float32 tensor of one per label."""
    values = w.tolist() if isinstance(w, np.ndarray) else w
    if isinstance(values, Sequence):
        if not all(isinstance(v, Real) and not isinstance(v, bool) for v in values):
            raise UsageError(f"w is {described(w)}; pass a list of numbers, one per label, or one")
        values = torch.tensor([float(v) for v in values], dtype=torch.float64)
    if not isinstance(values, Tensor):
        return check_w(values)
    if values.is_complex() or values.dtype == torch.bool:
        raise UsageError(f"w is {described(values)}; pass one real number, or one per label")
    weights = values.to(device, torch.float32)  # a number beyond float32 becomes infinite
    if values.shape != (B,) or not bool(torch.isfinite(weights).all()):
        raise UsageError(
            f"w has shape {tuple(values.shape)}; pass one finite number, or {B} of them, one per "
            "label, that fit into float32"
        )
    return weights
