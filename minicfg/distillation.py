r"""Guidance distilled: one evaluation of the network per step instead of two.

Guided sampling evaluates a network twice at each step, with the condition and without it. A student
is a network that takes the guidance weight as an input and predicts the mixture of both outputs at
once (Meng et al. 2022, arXiv:2210.03142, sec. 3.1; their w is ours). It is trained to minimise

    loss = E || guide(teacher(x_t, t, y), teacher(x_t, t, null), w) - student(x_t, t, y, w) ||^2

with x_t, t and the dropped labels as in `minicfg.training`, and w uniform in a range that is given.
The error is that of the raw output, before the guess of x_0 is formed and clipped. So a student
works with any solver and any clip that needs only g. A dropped label has the same output in both
halves, and the target is the null output at every w; so a student remains an unconditional model
too, for the label `null`.

A student has an attribute `w_range`, the smallest and the largest weight of its training, and four
arguments, `out = student(xt, t, y, w)`, with `w` (B,) float32. `minicfg.sample` evaluates it once
on B samples at any `w` in this range. Negative weights are allowed; at w = -1 the teacher's output
is its null output. What needs both outputs (a rule, a negative condition, the solver `cfgpp`) is
refused, and so is a weight outside the range.

The student of a `UNet` has the teacher's architecture and starts from the teacher's weights. Its
only new layer, which embeds w, starts at zero, so that before the first step the output is the
teacher's conditional output at every w. A teacher of another kind needs a network for the student,
`distill(..., model=net)`.

Measured on the digits: a student of 2,000 steps takes half the processor time per picture at w = 1,
2 and 4, and its accuracy and Frechet distance equal its teacher's within their standard errors. At
w = 0, where the teacher too needs one evaluation, its samples are less diverse. The table is in
`notebooks/book/bring_your_own.md`; the command is

    minicfg distill runs/digits --w 0:4 --out runs/student

The weights w of step n are a function of (seed, n), as all noise of training is, so that a run can
be resumed after step n and then equals the uninterrupted run bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kernels import philox
from minicfg.conditions import Condition, each_part, null_condition
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.distributed import SINGLE_PROCESS
from minicfg.errors import UsageError, check_type
from minicfg.guidance import check_w_range, guide
from minicfg.sampling import (
    Denoiser,
    Trained,
    check_denoiser,
    check_output,
    concatenate,
    device_of,
    eval_mode,
)
from minicfg.schedule import Schedule
from minicfg.training import (
    TrainState,
    batch_indices,
    batch_of,
    check_gradient,
    check_run,
    dropped_condition,
    forward_context,
    loss_weight,
    noised_examples,
    optimizer_step,
    prepare_network,
    start,
)
from minicfg.unet import UNet

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def distill(
    teacher: Denoiser | nn.Module | Trained,
    data: Dataset,
    config: TrainConfig,
    *,
    w_range: tuple[float, float],
    model: nn.Module | None = None,
    resume: TrainState | None = None,
) -> TrainState:
    """Train a student until `config.steps`, and return the last state.

    Its average of the weights is the student to sample from:

        teacher = minicfg.load("runs/demo/model")
        config = dataclasses.replace(teacher.config, steps=1000, lr=1e-3)
        state = minicfg.distill(teacher, data, config, w_range=(0.0, 4.0))
        minicfg.sample(minicfg.Checkpoint.of(state), [3, 3, 7], w=2)

    The arguments, and the errors, are those of `distill_steps`.
    """
    states = distill_steps(teacher, data, config, w_range=w_range, model=model, resume=resume)
    state = resume
    for state in states:  # noqa: B007
        pass
    assert state is not None  # a new run has at least one step
    return state


def distill_steps(
    teacher: Denoiser | nn.Module | Trained,
    data: Dataset,
    config: TrainConfig,
    *,
    w_range: tuple[float, float],
    model: nn.Module | None = None,
    resume: TrainState | None = None,
) -> Iterator[TrainState]:
    """Train a student until `config.steps`, yielding the state after each step.

    Args:
        teacher: a `Checkpoint`, or a denoiser with a null condition. It is not changed. The student
            is trained on its device.
        data: the images and labels that the teacher was trained on, or others of the same kind.
        config: the settings of the run. Schedule and prediction must be the teacher's, and the
            settings of the network too if the teacher is a `UNet`. `p_uncond` is the fraction of
            the conditions for which the student learns the null output.
        w_range: the smallest and the largest guidance weight, two finite numbers.
        model: the student, a module with `out = model(xt, t, y, w)` and with this `w_range` as an
            attribute. It is trained in place. Without it, the student of a `UNet` is made.
        resume: a state to continue from, of a run with the same arguments.

    Raises:
        UsageError: before the first step, if the arguments do not fit together; at the first step,
            if an output has not the shape of its input.
        MachineError: at a step whose loss or gradient is not finite, before the weights change.
    """
    network, digest = _check_teacher(teacher, config)
    w_range = check_w_range(w_range)
    if resume is None:
        device = device_of(network)
        student = new_student(network, data, config, w_range) if model is None else model
        _check_student(data, config, student, w_range)
        state = start(config, data.shape, data.classes, data.digest, device, student)
        state = replace(state, teacher_digest=digest)
    else:
        check_run(data, config, resume, model=model)
        _check_resumed(resume, w_range, digest)
        state = resume
    return _distillation_steps(network, data, state, w_range)


def _distillation_steps(
    teacher: Denoiser, data: Dataset, state: TrainState, w_range: tuple[float, float]
) -> Iterator[TrainState]:
    """The loop of `minicfg.training` with weights w, and the guided output as the target."""
    config = state.config
    device = state.device
    model = state.model.train()
    net = prepare_network(model, config, SINGLE_PROCESS)
    alpha_bar = Schedule.of(config).alpha_bar.to(device)
    ids = torch.arange(config.batch, device=device)
    for step in range(state.step + 1, config.steps + 1):
        index = batch_indices(config.seed, step, config.batch, len(data))
        x0, y = batch_of(data, index, device)
        xt, t, dropped, _, log_snr = noised_examples(config, alpha_bar, x0, step, ids)
        y = dropped_condition(config, model, y, dropped, step, ids)
        w = random_weights(config.seed, step, ids, w_range)
        target = guided_output(teacher, xt, t, y, w)
        with forward_context(config, step, SINGLE_PROCESS, device):
            out = net(xt, t, y, w)
        check_output("model(xt, t, y, w)", out, xt)
        check_gradient(out)
        error = (target - out.to(target.dtype)).square().flatten(1).mean(1)
        loss = (loss_weight(config, log_snr) * error).sum() / config.batch
        state.optimizer.zero_grad()
        state.scaler.scale(loss).backward()
        optimizer_step(state, step, loss.detach())
        state.ema.update_parameters(model)
        yield replace(state, step=step, loss=loss.item())


def random_weights(
    seed: int, step: int, ids: Int[Tensor, " B"], w_range: tuple[float, float]
) -> Float[Tensor, " B"]:
    """The guidance weights of a step, float32, uniform in `w_range`.

    Args:
        seed: of the run, 0..2^64-1.
        step: the number of the step, 0..2^32-1.
        ids: (B,) integers in 0..2^32-1, the positions of the samples in the batch.
        w_range: the smallest and the largest weight.
    """
    low, high = w_range
    u = philox.uniform(seed, ids, step, 1, philox.GUIDANCE_WEIGHT)[:, 0]
    return (low + (high - low) * u).float()


@torch.no_grad()
def guided_output(
    teacher: Denoiser,
    xt: Float[Tensor, "B *D"],
    t: Int[Tensor, " B"] | Float[Tensor, " B"],
    y: Condition,
    w: Float[Tensor, " B"],
) -> Float[Tensor, "B *D"]:
    """The teacher's guided output, with dropout off, from one evaluation of a batch of 2B."""
    both = each_part(concatenate, y, null_condition(teacher, y))
    with eval_mode(teacher):
        out = teacher(torch.cat([xt, xt]), torch.cat([t, t]), both)
    check_output("teacher(xt, t, y)", out, torch.cat([xt, xt]))
    out_cond, out_null = out.chunk(2)
    return guide(out_cond, out_null, w)


def new_student(
    teacher: object, data: Dataset, config: TrainConfig, w_range: tuple[float, float]
) -> UNet:
    """The student of a `UNet`: the same network and weights, and a zero layer that embeds w.

    Raises:
        UsageError: if the teacher is no `UNet`, or one with other settings than `config`.
    """
    if not isinstance(teacher, UNet):
        raise UsageError(
            f"teacher is a {type(teacher).__name__} and not a UNet: pass the network of the "
            "student too, distill(..., model=net)"
        )
    check_type("data", data, Dataset, "pass a minicfg.Dataset")
    with torch.random.fork_rng(devices=[]):  # the random weights are replaced
        student = UNet.of(config, data.shape, data.num_classes, w_range)
    own = {name: p.shape for name, p in student.state_dict().items() if "embed_w" not in name}
    if own != {name: p.shape for name, p in teacher.state_dict().items()}:
        raise UsageError(
            "config, or the shape or the classes of the data, describe another network than the "
            "teacher: pass replace(teacher.config, ...) and the data of the teacher"
        )
    student.load_state_dict(teacher.state_dict(), strict=False)
    return student


def weights_digest(model: object) -> str:
    """SHA-256 of the names and values of a module's tensors; empty for a function."""
    if not isinstance(model, nn.Module):
        return ""
    sha256 = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1)
        sha256.update(values.view(torch.uint8).numpy().data)
    return sha256.hexdigest()


# Checks


def _check_teacher(
    teacher: Denoiser | nn.Module | Trained, config: TrainConfig
) -> tuple[Denoiser, str]:
    """The network of the teacher and the digest of its weights.

    Raises:
        UsageError: if it is a student itself, or was trained with another schedule or prediction.
    """
    check_type("config", config, TrainConfig, "pass a minicfg.TrainConfig")
    network = check_denoiser(teacher.model if isinstance(teacher, Trained) else teacher, "teacher")
    if getattr(network, "w_range", None) is not None:
        raise UsageError(
            f"teacher is a {type(network).__name__} with w_range, which is a student itself: pass "
            "the model that it was distilled from"
        )
    if network.prediction != config.prediction:
        raise UsageError(
            f"config.prediction = {config.prediction!r}, but teacher.prediction = "
            f"{network.prediction!r}: make them equal"
        )
    schedule = getattr(teacher, "schedule", None)
    wanted = Schedule.of(config)
    if isinstance(schedule, Schedule) and not torch.equal(schedule.alpha_bar, wanted.alpha_bar):
        raise UsageError(
            f"config describes the schedule {wanted.name!r} with T = {wanted.T}, and the teacher "
            f"has {schedule.name!r} with T = {schedule.T}: pass replace(teacher.config, ...)"
        )
    return network, weights_digest(network)


def _check_student(
    data: Dataset, config: TrainConfig, student: nn.Module, w_range: tuple[float, float]
) -> None:
    """Raise a UsageError unless a new student fits the data and the settings."""
    check_run(data, config, model=student)
    own = getattr(student, "w_range", None)
    if own != w_range:
        raise UsageError(
            f"model.w_range = {own!r}, but w_range = {w_range}: give the student this attribute, "
            "and a fourth argument w"
        )


def _check_resumed(resume: TrainState, w_range: tuple[float, float], digest: str) -> None:
    """Raise a UsageError unless the run to resume has this range of w and this teacher."""
    own = getattr(resume.model, "w_range", None)
    if own != w_range:
        raise UsageError(
            f"w_range = {w_range}, but the run to resume has {own}: use the same range, or start a "
            "new run"
        )
    if resume.teacher_digest != digest:
        raise UsageError(
            "teacher has other weights than that of the run to resume: pass the same teacher, or "
            "start a new run"
        )
