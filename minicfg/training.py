r"""Training a denoiser, with label dropout for classifier-free guidance.

Training minimises the mean squared error of the prediction,

    loss = E || target - model(sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, t, y or null) ||^2

with t uniform in 1..T (Ho et al. 2020, arXiv:2006.11239, eq. 14). For a fraction `p_uncond` of the
images the label is replaced by the null label (Ho and Salimans 2022, arXiv:2207.12598, Algorithm
1), so that one network learns both denoisers which guidance combines. The loss is averaged over all
elements of a sample. Labels can be any other condition (`minicfg.conditions`), and the network any
module.

`train` runs to the end and returns the last state. `train_steps` is a generator that yields the
state after each step, so that the caller can show the progress, save and stop. The loop itself is
in `_training_steps`; the functions below it do one part of a step each.

The images, times, dropped labels and noise of step n are functions of (seed, n, position in the
batch). torch's global random stream gives the first weights of a UNet and the dropout masks: it is
seeded for the purpose and restored afterwards. A module that the caller passes keeps its weights.
So a run can be resumed after step n from the weights, their average, the moments of the optimiser,
the state of the scaler (float16 only) and the integer n. It then equals the uninterrupted run bit
for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn

from kernels import noised_batch, philox, reference
from minicfg.conditions import Condition, drop, each_part, null_condition, parts_of
from minicfg.config import TrainConfig
from minicfg.data import Dataset, permutation
from minicfg.distributed import SINGLE_PROCESS, Ranks
from minicfg.errors import MachineError, UsageError, check_type, short_repr
from minicfg.sampling import check_denoiser, check_output
from minicfg.schedule import Schedule, log_snr_angle
from minicfg.unet import UNet, check_image_shape

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["TrainConfig", "TrainState", "check_run", "start", "train", "train_steps"]


@dataclass(frozen=True, eq=False)
class TrainState:
    """A training run after `step` steps.

    The model, its average, the optimiser and the scaler are the run's own objects, not copies:
    the next step changes them.
    """

    step: int
    loss: float
    """The loss of that step, over the batches of all ranks; NaN before the first step."""
    config: TrainConfig
    classes: tuple[str, ...]
    """The names of the classes; empty if the condition is not a label."""
    shape: tuple[int, ...]
    """The shape of one sample; of an image: channels, height, width."""
    data_digest: str
    """`Dataset.digest` of the training data."""
    model: nn.Module
    ema: AveragedModel
    """The exponential moving average of the weights; `ema.module` is the model to sample from."""
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    """Scales the loss if the precision is float16, and does nothing otherwise."""
    teacher_digest: str = ""
    """`minicfg.distillation.weights_digest` of the teacher; empty if the run has none."""

    @property
    def device(self) -> torch.device:
        """The device that the model is on."""
        return next(self.model.parameters()).device


def train(
    data: Dataset,
    config: TrainConfig,
    *,
    model: nn.Module | None = None,
    resume: TrainState | None = None,
    device: torch.device | str = "cpu",
    ranks: Ranks = SINGLE_PROCESS,
) -> TrainState:
    """Train until `config.steps`, and return the last state.

    Its average of the weights is the model to sample from: `minicfg.Checkpoint.of(state)`. The
    arguments, and the errors, are those of `train_steps`, which also shows what happens on the way.
    """
    states = train_steps(data, config, model=model, resume=resume, device=device, ranks=ranks)
    state = resume
    for state in states:  # noqa: B007
        pass
    assert state is not None  # a new run has at least one step
    return state


def train_steps(
    data: Dataset,
    config: TrainConfig,
    *,
    model: nn.Module | None = None,
    resume: TrainState | None = None,
    device: torch.device | str = "cpu",
    ranks: Ranks = SINGLE_PROCESS,
) -> Iterator[TrainState]:
    """Train until `config.steps`, yielding the state after each step.

    Args:
        data: the images and labels, or other samples and conditions. `config.data` is only
            recorded; nothing is loaded from it.
        config: the settings of the run.
        model: the network to train, any module with `out = model(xt, t, y)`, as
            `minicfg.sampling.Denoiser` describes it. It is trained in place, from the weights that
            it has. The settings of the network in `config` (width, multipliers, blocks, attention,
            dropout, checkpointing) then have no effect. Without it, a `UNet` with these settings is
            made for the data.
        resume: a state to continue from, of a run with the same `data` and `config`. Training
            changes its model and optimiser in place, on the device that they are on.
        device: the device of a new run.
        ranks: the processes that share each batch. The weights equal those of a single process up
            to rounding, unless the network has dropout, whose masks every rank draws by itself.

    Raises:
        UsageError: before the first step, if `check_run` finds that the arguments do not fit; at
            the first step, if the output of the model has not the shape of its input.
        MachineError: at a step whose loss is not finite, or whose gradient is not finite in another
            precision than float16, before the weights change.
    """
    check_run(data, config, resume, ranks, model)
    _refuse_student(model if resume is None else resume.model)
    state = resume or start(config, data.shape, data.classes, data.digest, device, model)
    return _training_steps(data, state, ranks)


def _training_steps(data: Dataset, state: TrainState, ranks: Ranks) -> Iterator[TrainState]:
    """The training loop: batch, noise, prediction, loss, optimiser step, average."""
    config = state.config
    device = state.device
    model = state.model.train()
    net = prepare_network(model, config, ranks)
    alpha_bar = Schedule.of(config).alpha_bar.to(device)
    local = ranks.local_slice(config.batch)  # this rank's part of each batch
    ids = torch.arange(config.batch, device=device)[local]
    for step in range(state.step + 1, config.steps + 1):
        index = batch_indices(config.seed, step, config.batch, len(data))[local]
        x0, y = batch_of(data, index, device)
        xt, t, dropped, target, log_snr = noised_examples(config, alpha_bar, x0, step, ids)
        y = dropped_condition(config, model, y, dropped, step, ids)
        with forward_context(config, step, ranks, device):
            out = net(xt, t, y)
        check_output("model(xt, t, y)", out, xt)
        check_gradient(out)
        error = (target - out.to(target.dtype)).square().flatten(1).mean(1)
        loss = (loss_weight(config, log_snr) * error).sum() / config.batch
        state.optimizer.zero_grad()
        # Averaging the gradients over the ranks divides them by `world`.
        state.scaler.scale(loss * ranks.world).backward()
        total_loss = ranks.sum(loss.detach())
        optimizer_step(state, step, total_loss)
        state.ema.update_parameters(model)
        yield replace(state, step=step, loss=total_loss.item())


# The start of a run


def check_run(
    data: Dataset,
    config: TrainConfig,
    resume: TrainState | None = None,
    ranks: Ranks = SINGLE_PROCESS,
    model: nn.Module | None = None,
) -> None:
    """Check that `train` can run with these arguments. No network is built.

    Raises:
        UsageError: if an argument has the wrong type, the batch is smaller than the number of
            processes, the data do not fit the network, or `resume` belongs to a run with other
            settings or other data.
    """
    if not isinstance(data, Dataset):
        raise UsageError(
            f"data is a {type(data).__name__}: make a minicfg.Dataset of it, with "
            "minicfg.datasets.from_torch if it is a Dataset or DataLoader of torch"
        )
    if not isinstance(config, TrainConfig):
        raise UsageError(f"config is a {type(config).__name__}: pass a minicfg.config.TrainConfig")
    if resume is not None and not isinstance(resume, TrainState):
        raise UsageError(
            f"resume = {short_repr(resume)} is a {type(resume).__name__}: load the state with "
            "minicfg.io.checkpoint.load_state, and pass that"
        )
    check_type("ranks", ranks, Ranks, "leave it out, or pass minicfg.distributed.Ranks")
    if config.batch < ranks.world:
        raise UsageError(
            f"batch = {config.batch} is smaller than the {ranks.world} processes, and each of them "
            "takes at least one image: use a larger batch or fewer processes"
        )
    if config.drop_separately and isinstance(data.y, Tensor):
        raise UsageError(
            "drop_separately = True, but the condition is one tensor: pass a tuple of tensors as "
            "Dataset.y, or leave drop_separately out"
        )
    if resume is not None and model is not None:
        raise UsageError(
            "model and resume are both given: pass the model to minicfg.io.checkpoint.load_state, "
            "and only its state to train"
        )
    if resume is not None:
        _check_same_run(data, config, resume)
    elif model is not None:
        _check_model(data, config, model)
    else:
        _check_unet_fits(data, config)


def _check_unet_fits(data: Dataset, config: TrainConfig) -> None:
    """Raise a UsageError unless the data are images with labels, of a size that a UNet takes."""
    if not data.classes or len(data.shape) != 3:
        raise UsageError(
            f"data = {data.name} has samples of shape {data.shape} and {data.num_classes} classes, "
            "and the UNet is for images (C, H, W) with one label each: pass your own network, "
            "train(data, config, model=net)"
        )
    channels = data.shape[0]  # the network is made for the channels of the data
    check_image_shape(data.shape, channels, len(config.multipliers))


def _check_model(data: Dataset, config: TrainConfig, model: nn.Module) -> None:
    """Raise a UsageError unless a network of the caller's can be trained on the data."""
    if not isinstance(model, nn.Module):
        if isinstance(model, type):
            raise UsageError(
                f"model is the class {model.__name__}: pass a network of this class, "
                f"{model.__name__}(...)"
            )
        raise UsageError(f"model is a {type(model).__name__}: pass a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError(
            f"model is a {type(model).__name__} without parameters to train: pass a network with "
            "parameters, and call model.requires_grad_() if they are frozen"
        )
    for parameter_name, parameter in model.named_parameters():
        if parameter.dtype in (torch.float16, torch.bfloat16):
            raise UsageError(
                f"model.{parameter_name} is {parameter.dtype}, in which small updates are lost: "
                "pass model.float(), and TrainConfig(precision=...) for faster arithmetic"
            )
    prediction = check_denoiser(model).prediction
    if prediction != config.prediction:
        raise UsageError(
            f"config.prediction = {config.prediction!r}, but model.prediction = {prediction!r}: "
            "make them equal"
        )
    num_classes = getattr(model, "num_classes", None)
    if isinstance(num_classes, int) and num_classes != data.num_classes:
        raise UsageError(
            f"model.num_classes = {num_classes}, but data = {data.name} has {data.num_classes} "
            "classes: make them equal"
        )
    if config.p_uncond > 0:
        null_condition(model, each_part(lambda part: part[:1], data.y))


def _refuse_student(model: nn.Module | None) -> None:
    """Raise a UsageError if the network takes the guidance weight as an input."""
    if getattr(model, "w_range", None) is not None:
        raise UsageError(
            f"model is a {type(model).__name__} with w_range = {getattr(model, 'w_range', None)}, "
            "which takes w as an input: train it with minicfg.distill, or pass a network without "
            "w_range"
        )


def check_gradient(out: Tensor) -> None:
    """Raise a UsageError if no gradient flows from the output to the weights."""
    if not out.requires_grad:
        raise UsageError(
            f"model(xt, t, y) returns {out.dtype} without a gradient: return floats that depend on "
            "the parameters, and call neither detach nor torch.no_grad in forward"
        )


def _check_same_run(data: Dataset, config: TrainConfig, resume: TrainState) -> None:
    """Raise a UsageError unless `resume` was started with these settings on these images."""
    for field in fields(config):
        started_with = getattr(resume.config, field.name)
        value = getattr(config, field.name)
        if value != started_with:
            raise UsageError(
                f"{field.name} = {value!r}, but the run to resume was started with "
                f"{started_with!r}: use the same settings, or start a new run"
            )
    if resume.data_digest != data.digest:
        raise UsageError(
            f"data = {data.name}, but the run to resume was started on other images: use the same "
            "images, or start a new run"
        )


def start(
    config: TrainConfig,
    shape: tuple[int, ...],
    classes: tuple[str, ...],
    data_digest: str = "",
    device: torch.device | str = "cpu",
    model: nn.Module | None = None,
) -> TrainState:
    """The state before the first step, of a `UNet` if no `model` is given.

    The random weights of a UNet are a function of the seed. The caller's random state does not
    change.
    """
    if model is None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            model = UNet.of(config, shape, len(classes))
    model = model.to(check_device(device))

    def update_average(average: PARAM_LIST, weights: PARAM_LIST, n: Tensor | int) -> None:
        decay = ema_decay(config, int(n))
        get_ema_multi_avg_fn(decay)(average, weights, n)

    ema = AveragedModel(model, multi_avg_fn=update_average)
    return TrainState(
        step=0,
        loss=math.nan,
        config=config,
        classes=classes,
        shape=shape,
        data_digest=data_digest,
        model=model,
        ema=ema.eval().requires_grad_(False),
        optimizer=torch.optim.AdamW(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        ),
        scaler=torch.amp.GradScaler(
            torch.device(device).type, enabled=config.precision == "float16"
        ),
    )


def check_device(device: torch.device | str) -> torch.device:
    """Return the device, and raise a MachineError if this machine has none of this name."""
    remedy = "pass text such as 'cpu' or 'cuda'"
    check_type("device", device, (str, int, torch.device), remedy)
    if str(device).startswith("meta"):
        raise UsageError(f"device = {str(device)!r} stores no values; {remedy}")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise MachineError(
            f"device = {str(device)!r} is not available ({reason}): use 'cpu', or run minicfg "
            "doctor to see what this machine has"
        ) from error
    return found


def prepare_network(model: nn.Module, config: TrainConfig, ranks: Ranks) -> nn.Module:
    """The model to call in training: synchronised between ranks, compiled if `config.compile`."""
    net = ranks.wrap(model)
    return torch.compile(net) if config.compile else net  # pyright: ignore[reportReturnType]


# The batch and its noise


def batch_indices(seed: int, step: int, batch: int, n: int) -> Int[Tensor, " batch"]:
    """The indices, in 0..n-1, of the `batch` images that step `step` trains on; steps count from 1.

    Epochs follow each other without a gap, each a permutation of all images. So the end of an
    epoch leaves no image out, and a batch may be larger than the data set.
    """
    position = torch.arange((step - 1) * batch, step * batch)
    first_epoch = int(position[0]) // n + 1
    last_epoch = int(position[-1]) // n + 1
    parts = []
    for epoch in range(first_epoch, last_epoch + 1):
        in_epoch = position[position // n + 1 == epoch] % n
        parts.append(_cached_permutation(seed, epoch, n)[in_epoch])
    return torch.cat(parts)


# Most batches lie in one epoch or across two, so two permutations are enough to keep.
_cached_permutation = lru_cache(maxsize=2)(permutation)


def batch_of(
    data: Dataset, index: Int[Tensor, " B"], device: torch.device
) -> tuple[Float[Tensor, "B *D"], Condition]:
    """The samples at `index` and their conditions, on `device`."""
    return data.x[index].to(device), each_part(lambda part: part[index].to(device), data.y)


def noised_examples(
    config: TrainConfig,
    alpha_bar: Float[Tensor, " T1"],
    x0: Float[Tensor, "B *D"],
    step: int,
    ids: Int[Tensor, " B"],
) -> tuple[
    Float[Tensor, "B *D"],
    Int[Tensor, " B"] | Float[Tensor, " B"],
    Bool[Tensor, " B"],
    Float[Tensor, "B *D"],
    Float[Tensor, " B"],
]:
    """The noised samples of a step, with times, dropped conditions, targets and log SNRs.

    Times are drawn uniformly from 1..T, or by `algorithm_1` if `config.continuous`.

    Args:
        config: the settings of the run.
        alpha_bar: (T + 1,) float64, the table of the schedule.
        x0: samples.
        step: the number of the step.
        ids: (B,) integers in 0..2^32-1, the positions of the samples in the batch.

    Returns:
        `(xt, t, dropped, target, log_snr)`, with `dropped` true where the null condition replaces
        the sample's own.
    """
    if config.continuous:
        return algorithm_1(config, x0, step, ids)
    # With the label 0 everywhere and the null label 1, the labels that come back are the mask.
    xt, t, dropped, target = noised_batch(
        x0,
        torch.zeros_like(ids),
        alpha_bar,
        null=1,
        p_uncond=config.p_uncond,
        prediction=config.prediction,
        seed=config.seed,
        step=step,
        sample_ids=ids,
    )
    log_snr = torch.logit(alpha_bar[t])  # log(abar / (1 - abar))
    return xt, t, dropped == 1, target, log_snr


def algorithm_1(
    config: TrainConfig, x0: Float[Tensor, "B *D"], step: int, ids: Int[Tensor, " B"]
) -> tuple[
    Float[Tensor, "B *D"],
    Float[Tensor, " B"],
    Bool[Tensor, " B"],
    Float[Tensor, "B *D"],
    Float[Tensor, " B"],
]:
    """Algorithm 1 of the guidance paper: each image has its own real-valued log SNR, lambda.

        u ~ U[0, 1],    lambda = -2 log tan(a u + b),    x_t = cos(a u + b) x_0 + sin(a u + b) eps

    (Ho and Salimans 2022, arXiv:2207.12598; step 16 of the course), with b = arctan(e^-10) and a =
    pi / 2 - 2 b, so that lambda falls from 20 at u = 0 to -20 at u = 1. The network receives the
    time `t = 1 + u (T - 1)`, a real number. At an integer t, lambda equals `log_snr[t]` of the
    schedule named log_snr, and samplers evaluate the network only there; Algorithm 2 is
    `solvers.ddpm(schedule, steps, v=...)`. T therefore sets the units of t and limits the number of
    sampling steps, but training covers all log SNRs between -20 and 20.

    u and the dropped labels come from the same random words as those of `kernels.noised_batch`. So
    with the same seed, both drop the same labels, and have the same noise and nearly the same t.

    Args:
        config: the settings of the run, of which it uses `T`, `p_uncond`, `prediction` and `seed`.
        x0: samples.
        step: the number of the step, 0..2^32-1.
        ids: (B,) integers in 0..2^32-1, the positions of the samples in the batch.

    Returns:
        `(xt, t, dropped, target, log_snr)`, with t in 1..T as float32, and log SNRs in -20..20 as
        float64.
    """
    u, u_label = philox.uniform(config.seed, ids, step, 2, philox.TRAINING_CHOICE).unbind(1)
    angle = log_snr_angle(u)
    xt, target = reference.noised(
        x0,
        angle.cos(),
        angle.sin(),
        prediction=config.prediction,
        seed=config.seed,
        step=step,
        sample_ids=ids,
    )
    t = 1 + u * (config.T - 1)
    log_snr = -2 * angle.tan().log()
    return xt, t.float(), u_label < config.p_uncond, target, log_snr


def dropped_condition(
    config: TrainConfig,
    model: nn.Module,
    y: Condition,
    dropped: Bool[Tensor, " B"],
    step: int,
    ids: Int[Tensor, " B"],
) -> Condition:
    """The conditions of a batch, with the null in place of those that are dropped.

    The tensors of a tuple are dropped together. With `config.drop_separately`, each has a mask of
    its own, the first of which is `dropped`.
    """
    if config.p_uncond == 0:
        return y
    n = len(parts_of(y))
    masks = [dropped] * n
    if config.drop_separately:
        u = philox.uniform(config.seed, ids, step, 1 + n, philox.TRAINING_CHOICE)
        masks = [dropped, *(u[:, 2:] < config.p_uncond).unbind(1)]
    return drop(y, null_condition(model, y), masks)


def choices(config: TrainConfig, step: int) -> tuple[Int[Tensor, " B"], Bool[Tensor, " B"]]:
    """For each image of a batch, the time t, uniform in 1..T, and whether its label is dropped."""
    ids = torch.arange(config.batch)
    return reference.choices(config.T, config.p_uncond, config.seed, step, ids)


# Precision, dropout and the loss


@contextmanager
def forward_context(
    config: TrainConfig, step: int, ranks: Ranks, device: torch.device
) -> Iterator[None]:
    """Run the network in the precision of `config`, with the dropout masks of this step and rank.

    torch draws the masks from its global random stream. The stream is seeded for the step, and
    restored afterwards.
    """
    on_gpu = device.type == "cuda"
    dtype = getattr(torch, config.precision)
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        seed = dropout_seed(config, step, ranks.rank)
        if on_gpu:
            torch.cuda.manual_seed(seed)
        torch.default_generator.manual_seed(seed)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            yield


def dropout_seed(config: TrainConfig, step: int, rank: int = 0) -> int:
    """The seed of the dropout masks of a step and rank.

    It is a word of the random stream from which `choices` draws, at a position that no image has.
    """
    position = torch.tensor([2**32 - 1 - rank])
    return int(philox.words(config.seed, position, step, 1, philox.TRAINING_CHOICE)[0, 0, 0])


def loss_weight(config: TrainConfig, log_snr: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The weight of a squared error at `log_snr`: 1, or min-SNR if `config.min_snr` is not 0.

    Min-SNR (Hang et al. 2023, arXiv:2303.09556) multiplies the squared error in x_0 by
    min(SNR, min_snr). The squared error in eps is SNR times, that in v SNR + 1 times, and that in
    the velocity (sqrt(SNR) + 1)^2 times as large as the squared error in x_0, so their weights are
    divided by these factors.
    """
    if not config.min_snr:
        return torch.ones_like(log_snr, dtype=torch.float32)
    snr = log_snr.exp()
    capped = snr.clamp(max=config.min_snr)
    weights = {
        "eps": capped / snr,
        "x0": capped,
        "v": capped / (snr + 1),
        "velocity": capped / (snr.sqrt() + 1) ** 2,
    }
    return weights[config.prediction].float()


# The optimiser and the average


def optimizer_step(state: TrainState, step: int, loss: Float[Tensor, ""]) -> None:
    """Clip the gradient and change the weights, with the learning rate of the step.

    With float16, a gradient that overflows is not an error: the scaler skips the step and lowers
    its scale.

    Raises:
        MachineError: if the loss or the norm of the gradient is not finite. The weights are then
            still those of the step before.
    """
    config = state.config
    state.scaler.unscale_(state.optimizer)
    gradient_norm = nn.utils.clip_grad_norm_(state.model.parameters(), config.grad_clip)
    loss_is_finite = math.isfinite(loss.item())
    norm_is_finite = math.isfinite(gradient_norm.item())
    if not loss_is_finite or not (norm_is_finite or state.scaler.is_enabled()):
        raise MachineError(
            f"step {step}: the loss is {loss.item():.6g} and the norm of its gradient is "
            f"{gradient_norm.item():.6g}. The weights are still those of step {step - 1}; try a "
            f"smaller lr than {config.lr:g}"
        )
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, step)
    state.scaler.step(state.optimizer)
    state.scaler.update()


def learning_rate(config: TrainConfig, step: int) -> float:
    """The learning rate of a step: one cycle of half cosines, from 0 up to `lr` and down to 0.

    (Smith and Topin 2018, arXiv:1708.07120.) It is a function of the step, so resuming a run needs
    no state of a scheduler.
    """
    now = step - 0.5  # the middle of the step, so that the rate of no step is 0
    peak = config.warmup * config.steps
    rising = now / peak
    falling = (config.steps - now) / (config.steps - peak)
    fraction = min(rising, falling)
    return config.lr * math.sin(math.pi / 2 * fraction) ** 2


def ema_decay(config: TrainConfig, n: int) -> float:
    """The decay of the average of the weights after n steps, `config.ema` in the long run.

    At first it is (1 + n) / (10 + n), so that the average covers about the last tenth of the steps
    so far, without the untrained weights. The weights of the first step are copied.
    """
    return min(config.ema, (1 + n) / (10 + n))
