"""Students: how they are sampled, what they learn, what they are saved as, and what is refused.

The sampler is tested with an exact student, a function that computes its teacher's guided output.
Training is tested on points of three Gaussians, whose denoisers are known.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import minicfg
from kernels import graph, philox
from minicfg import Checkpoint, Dataset, Schedule, TrainConfig, UNet, guidance, solvers
from minicfg.adapters import Autoguided
from minicfg.conditions import each_part
from minicfg.config import Prediction
from minicfg.distillation import (
    distill,
    distill_steps,
    guided_output,
    random_weights,
    weights_digest,
)
from minicfg.editing import image_to_image
from minicfg.errors import DataError, UsageError
from minicfg.io.checkpoint import load_state, save_state
from minicfg.sampling import sample, sample_steps
from minicfg.training import TrainState, noised_examples
from tests.minicfg.test_checkpoint import forge, said_in

K = 3
T = 20
MEANS = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
VAR = 0.25
W_RANGE = (0.0, 4.0)
SCHEDULE = Schedule.cosine(T)
LABELS = torch.tensor([0, 1, 2, 0, 1, K])


class Exact:
    """The denoiser of three Gaussians of equal weight: with label K, of their mixture."""

    num_classes = K
    schedule = SCHEDULE

    def __init__(self, prediction: Prediction = "v") -> None:
        self.prediction: Prediction = prediction
        self.calls = 0

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        self.calls += len(xt)
        signal = SCHEDULE.alpha_bar[t].sqrt().float()[:, None]
        noise = (1 - signal**2).sqrt()
        var = signal**2 * VAR + noise**2
        off = xt[:, None] - signal[..., None] * MEANS  # (B, K, 2)
        of_class = MEANS + (signal * VAR / var)[..., None] * off  # E[x_0 | x_t, class]
        p = torch.softmax(-off.square().sum(2) / (2 * var), dim=1)
        own = torch.eye(K)[y.clamp(max=K - 1)]
        p = torch.where(y[:, None] == K, p, own)
        x0 = (p[..., None] * of_class).sum(1)
        eps = (xt - signal * x0) / noise
        v = signal * eps - noise * x0
        return {"eps": eps, "v": v, "velocity": eps - x0}[self.prediction]


class ExactStudent:
    """The guided output of `Exact`, as a function of w."""

    num_classes = K
    schedule = SCHEDULE
    w_range = (-1.0, 4.0)

    def __init__(self, prediction: Prediction = "v") -> None:
        self.prediction: Prediction = prediction
        self.teacher = Exact(prediction)
        self.calls = 0
        self.weights = torch.empty(0)

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor, w: Tensor) -> Tensor:
        self.calls += len(xt)
        self.weights = w
        return guided_output(self.teacher, xt, t, y, w)


class Small(nn.Module):
    """A student for points of the plane."""

    prediction = "v"
    num_classes = K
    w_range = W_RANGE

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.time = nn.Embedding(T + 1, width)
        self.label = nn.Embedding(K + 1, width)
        self.first = nn.Linear(3, width)
        self.rest = nn.Sequential(
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 2),
        )

    def forward(self, xt: Tensor, t: Tensor, y: Tensor, w: Tensor) -> Tensor:
        inputs = torch.cat([xt, w[:, None]], dim=1)
        return self.rest(self.first(inputs) + self.time(t) + self.label(y))


def small(width: int = 64) -> Small:
    """The same weights at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Small(width)


def points(n: int = 3000) -> Dataset:
    y = torch.arange(n) % K
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    return Dataset(MEANS[y] + VAR**0.5 * noise, y, ("a", "b", "c"), "points")


POINTS = points()
CONFIG = TrainConfig(T=T, prediction="v", steps=3, batch=16, lr=1e-2, ema=0.99)
PIXELS = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
IMAGES = Dataset(PIXELS, torch.arange(12) % K, ("a", "b", "c"), "noise")
UNET_CONFIG = TrainConfig(T=T, steps=4, batch=4, width=8, multipliers=(1, 2), seed=2)


@pytest.fixture(scope="module")
def teacher() -> Checkpoint:
    """A UNet after four steps."""
    return Checkpoint.of(minicfg.train(IMAGES, UNET_CONFIG))


@pytest.fixture(scope="module")
def student(teacher: Checkpoint) -> TrainState:
    return distill(teacher, IMAGES, UNET_CONFIG, w_range=W_RANGE)


# Sampling


TABLES = {
    "ddpm": lambda prediction: solvers.ddpm(SCHEDULE, 6, prediction),
    "dpmpp_2m": lambda prediction: solvers.dpmpp_2m(SCHEDULE, 6, prediction),
    "interval": lambda prediction: solvers.with_interval(
        solvers.ddim(SCHEDULE, 6, prediction), SCHEDULE, -2.0, 3.0
    ),
    "ramp": lambda prediction: solvers.with_weight(
        solvers.ddim(SCHEDULE, 6, prediction), SCHEDULE, lambda log_snr: (log_snr / 20).sigmoid()
    ),
}


@pytest.mark.parametrize("w", [0.0, 3.0, -1.0, torch.tensor([0.0, 1.0, 4.0, -1.0, 0.3, 2.0])])
@pytest.mark.parametrize("prediction", ["eps", "v", "velocity"])
@pytest.mark.parametrize("name", TABLES)
def test_an_exact_student_samples_what_its_teacher_does(
    name: str, prediction: Prediction, w: float | Tensor
) -> None:
    """Up to rounding: m w is rounded to float32, where guided steps multiply in the same order."""
    table = TABLES[name](prediction)
    given: dict[str, Any] = dict(shape=(2,), w=w, seed=5, clip=3.0)
    x = sample(ExactStudent(prediction), LABELS, table, **given)
    wanted = sample(Exact(prediction), LABELS, table, **given)
    torch.testing.assert_close(x, wanted, rtol=0, atol=1e-4)


def test_a_student_is_evaluated_once_per_sample_and_step_at_m_w() -> None:
    model = ExactStudent()
    table = TABLES["interval"]("v")
    w = torch.tensor([0.0, 1.0, 4.0, -1.0, 0.3, 2.0])
    seen = list[Tensor]()
    for state in sample_steps(model, LABELS, table, shape=(2,), w=w):
        seen.append(model.weights)
        assert model.calls == 6 * (state.k + 1)
    for m, weights in zip(table.rows[:, 7].float(), seen, strict=True):
        assert weights.dtype == torch.float32
        assert torch.equal(weights, m * w)
    assert 0 < sum(float(m) for m in table.rows[:, 7]) < len(table)  # both kinds of row


def test_a_student_is_evaluated_once_at_w_0_too() -> None:
    model = ExactStudent()
    sample(model, LABELS, TABLES["ddpm"]("v"), shape=(2,), w=0.0)
    assert model.calls == 6 * 6 and torch.equal(model.weights, torch.zeros(6))


def test_a_students_step_is_recorded_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a graph replays is the step as a function of tensors; here it is only called."""
    recorded = list[graph.Step]()

    def record(step: graph.Step, k: Tensor, x: Tensor, x0: Tensor) -> graph.Step:
        recorded.append(step)
        return step

    monkeypatch.setattr(graph, "record", record)
    monkeypatch.setattr(Tensor, "is_cuda", True)
    monkeypatch.setattr("kernels.dispatch._fused", lambda x: False)
    x = sample(ExactStudent(), LABELS, TABLES["ddpm"]("v"), shape=(2,), w=2.0)
    monkeypatch.undo()
    assert len(recorded) == 1
    assert torch.equal(x, sample(ExactStudent(), LABELS, TABLES["ddpm"]("v"), shape=(2,), w=2.0))


def test_images_are_edited_with_a_student() -> None:
    table = TABLES["ddpm"]("v")
    x0 = MEANS[LABELS.clamp(max=2)]
    given: dict[str, Any] = dict(strength=0.5, w=1.0)
    x = image_to_image(ExactStudent(), x0, LABELS, table, SCHEDULE, **given)
    wanted = image_to_image(Exact(), x0, LABELS, table, SCHEDULE, **given)
    torch.testing.assert_close(x, wanted, rtol=0, atol=1e-4)


def rescaled(*args: Any) -> Tensor:
    return guidance.rescale(*args)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "above": ({"w": 4.5}, r"w is 4\.5, which is outside -1\.\.4, the weights that the model was"),
    "below": ({"w": -1.01}, r"w is -1\.01, which"),
    "one of them": ({"w": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}, r"w is 0\.\.5, which"),
    "a rule": ({"rule": rescaled}, "rule needs the conditional and the null output"),
    "a negative": ({"null": [1] * 6}, "null needs the conditional and the null output"),
}


@pytest.mark.parametrize(("given", "said"), REFUSED.values(), ids=REFUSED)
def test_what_a_student_cannot_do_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sample(ExactStudent(), LABELS, TABLES["ddpm"]("v"), shape=(2,), **given)


def test_a_table_that_adds_the_null_output_is_refused() -> None:
    table = solvers.cfgpp(SCHEDULE, 6, "v")
    with pytest.raises(UsageError, match="table needs the conditional and the null output"):
        sample(ExactStudent(), LABELS, table, shape=(2,), w=-0.5)


def test_a_weight_that_the_table_takes_out_of_the_range_is_refused() -> None:
    """Where m = 0 the student would be evaluated at w = 0."""
    model = ExactStudent()
    model.w_range = (1.0, 4.0)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(
        UsageError, match=r"w times m, the factor in the rows of the table, is 0\.\.2"
    ):
        sample(model, LABELS, TABLES["interval"]("v"), shape=(2,), w=2.0)
    sample(model, LABELS, TABLES["ddpm"]("v"), shape=(2,), w=2.0)


def test_the_ends_of_the_range_belong_to_it_in_float32_too() -> None:
    model = ExactStudent()
    model.w_range = (-0.7, 0.3)  # pyright: ignore[reportAttributeAccessIssue]
    for w in (0.3, torch.tensor([0.3, -0.7] * 3), -0.7):
        sample(model, LABELS, TABLES["ddpm"]("v"), shape=(2,), w=w)


@pytest.mark.parametrize(
    ("w_range", "said"),
    [
        ((1.0, 0.0), "is empty"),
        ((0.0,), "has 1 entries"),
        ((0.0, math.inf), "not a finite"),
        ((math.nan, 1.0), "not a finite"),
        ([0.0, 1.0], "has type list"),
        ((False, 1.0), "has type bool"),
        (2.0, "has type float"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_range_that_is_none_is_refused(w_range: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        UNet(w_range=w_range)
    with pytest.raises(UsageError, match=said):
        distill(Exact(), POINTS, CONFIG, w_range=w_range, model=small())


def test_a_student_without_a_fourth_argument_is_refused() -> None:
    model = Exact()
    model.w_range = W_RANGE  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(UsageError, match="does not take four arguments"):
        sample(model, LABELS, TABLES["ddpm"]("v"), shape=(2,))


# The network


def test_the_unet_of_a_student_starts_as_the_teachers_conditional_output(
    teacher: Checkpoint,
) -> None:
    state = next(distill_steps(teacher, IMAGES, replace(UNET_CONFIG, lr=1e-30), w_range=W_RANGE))
    t = torch.arange(1, 13)
    w = torch.linspace(0, 4, 12)
    with torch.no_grad():
        out = state.model.eval()(PIXELS, t, IMAGES.labels, w)
        assert torch.equal(out, teacher.model(PIXELS, t, IMAGES.labels))
        state.model.embed_w.weight.fill_(0.1)  # pyright: ignore
        assert not torch.equal(out, state.model(PIXELS, t, IMAGES.labels, w))


def test_a_unet_takes_w_if_and_only_if_it_has_a_range() -> None:
    inputs = (PIXELS, torch.ones(12), IMAGES.labels)
    plain = UNet(1, K, width=8)
    with pytest.raises(UsageError, match="w is given, but the network has no w_range"):
        plain(*inputs, torch.ones(12))
    takes_w = UNet(1, K, width=8, w_range=W_RANGE)
    assert takes_w(*inputs, torch.ones(12)).shape == PIXELS.shape
    with pytest.raises(UsageError, match="w = None has type NoneType; pass floats of shape"):
        takes_w(*inputs)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("w", [torch.ones(1), torch.ones(12, 1), torch.ones(12).long()])
def test_weights_that_would_be_broadcast_are_refused(w: Tensor) -> None:
    model = UNet(1, K, width=8, w_range=W_RANGE)
    with pytest.raises(UsageError, match=r"w is torch.* pass floats of shape \(12,\)"):
        model(PIXELS, torch.ones(12), IMAGES.labels, w)


# Training


def errors(model: Any, w: float) -> tuple[float, float]:
    """Root mean square of the student's error in the output, and of what guidance changes there."""
    fresh = replace(CONFIG, seed=99, p_uncond=0.0)
    xt, t, _, _, _ = noised_examples(fresh, SCHEDULE.alpha_bar, POINTS.x, 1, torch.arange(3000))
    weights = torch.full((3000,), w)
    target = guided_output(Exact(), xt, t, POINTS.y, weights)
    with torch.no_grad():
        error = model(xt, t, POINTS.y, weights) - target
    change = target - Exact()(xt, t, POINTS.labels)
    return float(error.square().mean().sqrt()), float(change.square().mean().sqrt())


def test_a_small_student_comes_closer_to_the_guided_oracle() -> None:
    """60 steps leave less than half of the error; 0.35 to 0.39 of it with five seeds."""
    config = replace(CONFIG, steps=60, batch=128)
    model = small(32)
    before, _ = errors(model, 2.0)
    state = distill(Exact(), POINTS, config, w_range=W_RANGE, model=model)
    after, _ = errors(state.model, 2.0)
    assert after < before / 2


@pytest.mark.exhaustive
def test_a_student_samples_what_the_guided_oracle_does() -> None:
    """Where chains of ten DDIM steps end, from the same noise.

    The root mean square of the distance was at most 0.06, 0.03 and 0.15 at w = 0, 2 and 4 with four
    seeds, where guidance moves the samples by 0.50 and 0.79 at w = 2 and 4. The tolerances are
    twice these distances, and less than half of what guidance does.
    """
    config = replace(CONFIG, steps=800, batch=256)
    state = distill(Exact(), POINTS, config, w_range=W_RANGE, model=small())
    table = solvers.ddim(SCHEDULE, 10, "v")
    y = torch.arange(300) % K
    of_class = sample(Exact(), y, table, shape=(2,), w=0.0)
    for w, tolerance in ((0.0, 0.12), (2.0, 0.06), (4.0, 0.3)):
        wanted = sample(Exact(), y, table, shape=(2,), w=w)
        x = sample(state.ema.module, y, table, shape=(2,), w=w)
        error = float((x - wanted).square().mean().sqrt())
        change = float((of_class - wanted).square().mean().sqrt())
        assert error < tolerance
        assert w == 0 or tolerance < change / 2


def test_the_target_is_the_guided_output_with_dropout_off() -> None:
    """The tolerance is that of float32: the outputs reach 22, and the two terms 110 at w = 4."""
    model = UNet(1, K, width=8, dropout=0.5)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name == "head.weight" or name.endswith("conv2.weight"):
                p.normal_(generator=generator)
    w = torch.linspace(-1, 4, 12)
    t = torch.arange(1, 13)
    model.train()
    target = guided_output(model, PIXELS, t, IMAGES.labels, w)
    assert model.training and not target.requires_grad
    model.eval()
    with torch.no_grad():
        out_cond = model(PIXELS, t, IMAGES.labels)
        out_null = model(PIXELS, t, model.null(IMAGES.labels))
    each = w[:, None, None, None]
    torch.testing.assert_close(target, (1 + each) * out_cond - each * out_null, rtol=0, atol=1e-3)
    assert not torch.allclose(out_cond, out_null)


def test_weights_are_uniform_in_the_range_and_a_function_of_seed_step_and_position() -> None:
    ids = torch.arange(10_000)
    w = random_weights(3, 7, ids, (-1.0, 3.0))
    assert w.dtype == torch.float32 and float(w.min()) >= -1 and float(w.max()) <= 3
    # The standard errors of mean and variance are 0.012 and 0.012; this is five of them.
    assert abs(float(w.mean()) - 1) < 0.06 and abs(float(w.var()) - 4 / 3) < 0.06
    assert torch.equal(random_weights(3, 7, ids[5:9], (-1.0, 3.0)), w[5:9])
    assert not torch.equal(random_weights(3, 8, ids, (-1.0, 3.0)), w)
    assert not torch.equal(random_weights(4, 7, ids, (-1.0, 3.0)), w)
    assert torch.equal(random_weights(3, 7, ids[:2], (2.0, 2.0)), torch.full((2,), 2.0))
    u = philox.uniform(3, ids, 7, 1, philox.TRAINING_CHOICE)[:, 0]  # the times' stream
    assert not torch.allclose(w.double(), -1 + 4 * u)


def test_a_dropped_label_has_the_null_output_as_its_target() -> None:
    """With every label dropped, no w changes the target, so a constant in w is learnt."""
    y = torch.full((8,), K)
    xt = torch.randn(8, 2, generator=torch.Generator().manual_seed(1))
    t = torch.full((8,), 5)
    null = Exact()(xt, t, y)
    for w in (-1.0, 0.0, 4.0):
        assert torch.equal(guided_output(Exact(), xt, t, y, torch.full((8,), w)), null)


def test_distill_needs_neither_labels_nor_images() -> None:
    """A condition of two tensors, and a teacher without parameters."""

    class Pair:
        prediction: Prediction = "v"

        def null(self, y: tuple[Tensor, Tensor]) -> Any:
            return each_part(torch.zeros_like, y)

        def __call__(self, xt: Tensor, t: Tensor, y: tuple[Tensor, Tensor]) -> Tensor:
            return xt + y[0] + y[1]

    class PairStudent(nn.Module):
        prediction = "v"
        w_range = W_RANGE

        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.zeros(()))

        def null(self, y: tuple[Tensor, Tensor]) -> Any:
            return each_part(torch.zeros_like, y)

        def forward(self, xt: Tensor, t: Tensor, y: tuple[Tensor, Tensor], w: Tensor) -> Tensor:
            return xt + (1 + w[:, None]) * self.gain * (y[0] + y[1])

    data = Dataset(POINTS.x[:32], (torch.ones(32, 2), torch.ones(32, 2)))
    config = replace(CONFIG, steps=60, lr=0.1, ema=0.0)
    state = distill(Pair(), data, config, w_range=W_RANGE, model=PairStudent())
    # The guided output is xt + (1 + w) (y_1 + y_2), which this student is at a gain of 1.
    # 60 steps of at most 0.1 oscillate around it and settle while the rate falls to 0.
    gain = state.model.state_dict()["gain"]
    assert float(gain) == pytest.approx(1, abs=0.01)


# Resuming, and files


def test_a_resumed_run_is_the_run_bit_for_bit(
    teacher: Checkpoint, student: TrainState, tmp_path: Path
) -> None:
    for state in distill_steps(teacher, IMAGES, UNET_CONFIG, w_range=W_RANGE):
        if state.step == 2:
            save_state(tmp_path / "half", state)
            break
    half = load_state(tmp_path / "half")
    assert half.step == 2 and half.teacher_digest == weights_digest(teacher.model)
    resumed = distill(teacher, IMAGES, UNET_CONFIG, w_range=W_RANGE, resume=half)
    for name, value in student.ema.state_dict().items():
        assert torch.equal(resumed.ema.state_dict()[name], value), name
    assert resumed.loss == student.loss


def test_a_student_is_saved_and_loaded(
    teacher: Checkpoint, student: TrainState, tmp_path: Path
) -> None:
    loaded = minicfg.load(minicfg.save(tmp_path / "model", student))
    assert loaded.model.w_range == W_RANGE
    assert loaded.teacher_digest == weights_digest(teacher.model) != ""
    given: dict[str, Any] = dict(w=2.0, steps=2)
    wanted = sample(Checkpoint.of(student), ["a", "b"], **given)
    assert torch.equal(sample(loaded, ["a", "b"], **given), wanted)
    with pytest.raises(UsageError, match=r"w is 5, which is outside 0\.\.4"):
        sample(loaded, ["a"], w=5.0)


def test_a_file_of_a_network_of_ones_own_needs_a_network_with_its_range(tmp_path: Path) -> None:
    state = distill(Exact(), POINTS, CONFIG, w_range=W_RANGE, model=small(8))
    file = minicfg.save(tmp_path / "model", state)
    assert minicfg.load(file, model=small(8)).teacher_digest == ""
    other = small(8)
    other.w_range = (0.0, 9.0)
    with pytest.raises(DataError, match=r"w_range = \(0.0, 4.0\), but model.w_range = \(0.0, 9.0"):
        minicfg.load(file, model=other)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"w_range": None}, "lacks the field w_range"),
        ({"teacher_digest": None}, "lacks the field teacher_digest"),
        ({"w_range": [4.0, 0.0]}, "invalid config .*is empty"),
        ({"w_range": [0.0]}, "invalid config .*has 1 entries"),
        ({"w_range": [0.0, math.nan]}, "invalid config .*not a finite"),
        ({"w_range": ["0", "4"]}, "invalid config .*has type str"),
        ({"w_range": "0:4"}, "has w_range = '0:4': it must be a list"),
        ({"teacher_digest": 1}, "has teacher_digest = 1: it must be text"),
        (
            {"w_range": None, "teacher_digest": None},
            "for 'embed_w.bias', but its config has nothing",
        ),
    ],
)
def test_a_file_whose_range_is_none_is_refused(
    changes: dict[str, Any], said: str, student: TrainState, tmp_path: Path
) -> None:
    minicfg.save(tmp_path / "model", student)
    metadata, tensors = said_in(tmp_path / "model")
    changed = {name: value for name, value in (metadata | changes).items() if value is not None}
    forge(tmp_path / "model", changed, tensors)
    with pytest.raises(DataError, match=said):
        minicfg.load(tmp_path / "model")


def test_only_the_file_of_a_student_has_its_fields(teacher: Checkpoint, tmp_path: Path) -> None:
    metadata, _ = said_in(minicfg.save(tmp_path / "model", teacher).with_suffix(""))
    assert not metadata.keys() & {"w_range", "teacher_digest"}


# What is refused


def with_other_weights(teacher: Checkpoint) -> Checkpoint:
    model = UNet.of(teacher.config, teacher.shape, K)
    return replace(teacher, model=model)


def test_a_run_is_resumed_only_with_its_teacher_and_its_range(
    teacher: Checkpoint, student: TrainState
) -> None:
    half = replace(student, step=2)
    with pytest.raises(UsageError, match="teacher has other weights than that of the run"):
        distill(with_other_weights(teacher), IMAGES, UNET_CONFIG, w_range=W_RANGE, resume=half)
    with pytest.raises(UsageError, match=r"w_range = \(0.0, 2.0\), but the run to resume has"):
        distill(teacher, IMAGES, UNET_CONFIG, w_range=(0.0, 2.0), resume=half)
    longer = replace(UNET_CONFIG, steps=9)
    with pytest.raises(UsageError, match="steps = 9, but the run to resume was started with 4"):
        distill(teacher, IMAGES, longer, w_range=W_RANGE, resume=half)


def test_training_is_not_continued_as_distillation_nor_the_other_way(
    teacher: Checkpoint, student: TrainState
) -> None:
    with pytest.raises(UsageError, match=r"takes w as an input: train it with minicfg\.distill"):
        minicfg.train(IMAGES, UNET_CONFIG, resume=replace(student, step=2))
    with pytest.raises(UsageError, match=r"takes w as an input: train it with minicfg\.distill"):
        minicfg.train(POINTS, CONFIG, model=small())
    trained = replace(minicfg.train(IMAGES, UNET_CONFIG), step=2)
    with pytest.raises(UsageError, match="the run to resume has None"):
        distill(teacher, IMAGES, UNET_CONFIG, w_range=W_RANGE, resume=trained)


def test_a_student_is_no_teacher(student: TrainState) -> None:
    with pytest.raises(UsageError, match="is a student itself"):
        distill(Checkpoint.of(student), IMAGES, UNET_CONFIG, w_range=W_RANGE)
    good = Autoguided(student.model, student.model, IMAGES.y)
    with pytest.raises(UsageError, match="w = None has type NoneType"):
        good(PIXELS, torch.ones(12).long(), IMAGES.y)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prediction": "v"}, "config.prediction = 'v', but teacher.prediction = 'eps'"),
        ({"T": 30}, "the schedule 'cosine' with T = 30, and the teacher has 'cosine' with T = 20"),
        ({"width": 16}, "describe another network than the teacher"),
        ({"multipliers": (1, 2, 2)}, "describe another network than the teacher"),
    ],
)
def test_settings_that_are_not_the_teachers_are_refused(
    changes: dict[str, Any], said: str, teacher: Checkpoint
) -> None:
    with pytest.raises(UsageError, match=said):
        distill(teacher, IMAGES, replace(UNET_CONFIG, **changes), w_range=W_RANGE)


def test_an_equal_prediction_need_not_be_the_same_string() -> None:
    """As in a file that was read, whose strings are objects of their own."""
    prediction: Any = "".join(["e", "ps"])
    config = replace(CONFIG, prediction="eps", steps=1)
    student = small()
    student.prediction = "eps"
    run = distill_steps(Exact(prediction), POINTS, config, w_range=W_RANGE, model=student)
    assert next(run).step == 1


def test_data_of_other_classes_are_refused(teacher: Checkpoint) -> None:
    two = Dataset(PIXELS, torch.arange(12) % 2, ("a", "b"))
    with pytest.raises(UsageError, match="describe another network than the teacher"):
        distill(teacher, two, UNET_CONFIG, w_range=W_RANGE)


def test_a_teacher_that_is_no_unet_needs_a_network_for_its_student() -> None:
    with pytest.raises(UsageError, match="teacher is a Exact and not a UNet: pass the network"):
        distill(Exact(), POINTS, CONFIG, w_range=W_RANGE)


def test_a_network_with_another_range_is_refused() -> None:
    with pytest.raises(UsageError, match=r"model.w_range = \(0.0, 4.0\), but w_range = \(0.0, 1"):
        distill(Exact(), POINTS, CONFIG, w_range=(0.0, 1.0), model=small())


def test_the_callers_random_state_stays(teacher: Checkpoint) -> None:
    before = torch.random.get_rng_state()
    distill(teacher, IMAGES, replace(UNET_CONFIG, steps=1), w_range=W_RANGE)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_teacher_stays_as_it_is(teacher: Checkpoint) -> None:
    model = UNet.of(UNET_CONFIG, teacher.shape, K)
    model.load_state_dict(teacher.model.state_dict())
    before = weights_digest(model)
    distill(model, IMAGES, UNET_CONFIG, w_range=W_RANGE)
    assert weights_digest(model) == before and model.training
