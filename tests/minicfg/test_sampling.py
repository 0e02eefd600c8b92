"""The loop: one pass a step, a picture that depends on its own id alone, and its refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, replace
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kernels import guided_step, philox
from minicfg import Checkpoint, Schedule, TrainConfig, UNet, guide, sample, solvers
from minicfg.errors import UsageError
from minicfg.guidance import apg, dynamic_threshold, rescale
from minicfg.sampling import sample_steps
from tutorial import step17_solvers, step19_rules
from tutorial.step02_forward import Schedule as LectureSchedule

TABLE = solvers.ddpm(Schedule.cosine(100), 10)


@dataclass
class Linear:
    """A denoiser with nothing to learn, which notes how it was called."""

    num_classes: int = 3
    prediction: str = "eps"
    calls: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        self.calls.append((t, y))
        return 0.9 * xt + 0.02 * y.to(xt.dtype).view(-1, *[1] * (xt.ndim - 1))


def test_guided_step_is_one_pass_of_two_halves() -> None:
    model, y = Linear(), torch.tensor([0, 2])
    sample(model, y, TABLE, shape=(1, 4, 4), w=1.5)
    assert len(model.calls) == len(TABLE)
    for (t, labels), expected in zip(model.calls, TABLE.t.tolist(), strict=True):
        assert labels.tolist() == [0, 2, 3, 3]
        assert t.tolist() == [expected] * 4


def test_plain_conditional_model_is_one_pass_of_one_half() -> None:
    model, y = Linear(), torch.tensor([0, 2])
    plain = sample(model, y, TABLE, shape=(5,), w=0.0)
    assert all(labels.tolist() == [0, 2] for _, labels in model.calls)
    # The same with the null half computed and mixed in with weight 0.
    mixed = sample(Linear(), y, TABLE, shape=(5,), w=torch.zeros(2))
    torch.testing.assert_close(plain, mixed, atol=0, rtol=0)


@pytest.mark.parametrize("w", [2.0, -0.5, -1.0])
def test_guidance_moves_the_label_of_an_affine_model(w: float) -> None:
    """`Linear` is affine in y: mixed, it says what it says at the label y + w (y - null)."""
    y = torch.tensor([0, 2])
    moved = y + w * (y - 3)

    class Moved(Linear):
        def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
            return super().__call__(xt, t, moved)

    guided = sample(Linear(), y, TABLE, shape=(4,), w=w)
    # Ten steps of float32, in which a sample grows to about 40.
    torch.testing.assert_close(guided, sample(Moved(), y, TABLE, shape=(4,)), atol=1e-4, rtol=0)
    each = sample(Linear(), y, TABLE, shape=(4,), w=torch.full((2,), w))
    torch.testing.assert_close(guided, each, atol=0, rtol=0)


def test_loop_by_hand() -> None:
    """Any row of any table, one number at a time: guidance, clip, both halves, a look back."""
    rows = 0.5 * torch.randn((4, 8), generator=torch.Generator().manual_seed(0)).double()
    rows[:, 4] = rows[0, 6] = 0  # no noise; the first row has no guess before it
    table = solvers.Table(torch.tensor([9, 6, 4, 1]), torch.tensor([6, 4, 1, 0]), rows)
    found = sample_steps(Linear(), torch.tensor([2]), table, shape=(1,), w=1.5, clip=0.4)
    x, before = float(philox.normal(0, torch.tensor([0]), 0, (1,))), 0.0
    for (p, q, a, b, _, d, e, m), state in zip(rows.tolist(), found, strict=True):
        cond, null = (0.9 * x + 0.02 * y for y in (2, 3))
        x0 = min(max(p * x + q * (cond + m * 1.5 * (cond - null)), -0.4), 0.4)
        x, before = a * x0 + b * x + d * null + e * before, x0
        # float32, numbers below 2
        assert (float(state.x), float(state.x0hat)) == pytest.approx((x, x0), abs=1e-6)


SOLVERS = {
    "ddpm": TABLE,
    "looks back": solvers.dpmpp_2m(Schedule.cosine(100), 10),
    "renoises with the null output": solvers.cfgpp(Schedule.cosine(100), 10),
}


@pytest.mark.parametrize("table", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("w", [0.0, 1.5, torch.tensor([0.5, 2.0])], ids=["0", "1.5", "each"])
@pytest.mark.parametrize(
    "rule", [partial(rescale, phi=0.0), partial(dynamic_threshold, bound=math.inf)]
)
def test_neutral_rule_is_none(
    rule: Callable[..., Tensor], w: float | Tensor, table: solvers.Table
) -> None:
    """Through the whole loop, with a weight over time in the rows as well."""
    rows = table.rows.clone()
    rows[:, 7] = torch.linspace(0, 2, len(rows))
    table, y = solvers.Table(table.t, table.s, rows), torch.tensor([0, 2])
    ruled, plain = (
        sample(Linear(), y, table, shape=(4,), w=w, clip=2.0, rule=r) for r in (rule, None)
    )
    # The same but for the order of float32 operations, on numbers of order ten.
    torch.testing.assert_close(ruled, plain, atol=1e-4, rtol=0)


RULES = [
    (rescale, step19_rules.rescale),
    (
        partial(dynamic_threshold, P=0.5, bound=0.5),
        partial(step19_rules.dynamic_threshold, P=0.5, bound=0.5),
    ),
    (partial(apg, eta=0.2, r=0.3), partial(step19_rules.apg, eta=0.2, r=0.3)),
]


@pytest.mark.parametrize(("ours", "lectures"), RULES)
def test_rule_in_the_loop_is_the_lectures(
    ours: Callable[..., Tensor], lectures: step19_rules.Rule
) -> None:
    """The same chain without noise: its start is all that the two have to share."""

    class Affine:
        num_classes, prediction = 2, "eps"

        def __call__(self, xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
            return 0.9 * xt + np.array([0.3, -0.2]) * y[:, None] + 0.1

    class Twin(Affine):
        def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:  # pyright: ignore
            return torch.from_numpy(super().__call__(xt.numpy(), 0, y.numpy())).to(xt.dtype)

    class Start:
        def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
            return philox.normal_numpy(5, np.arange(4), 0, size[1:])

    y, table = torch.tensor([0, 1, 1, 2]), solvers.ddim(Schedule.cosine(40), 8)
    found = sample(Twin(), y, table, shape=(2,), w=1.5, seed=5, rule=ours)
    rows = step17_solvers.ddim(LectureSchedule.cosine(40), 8)
    wanted = step19_rules.run_rule(Affine(), y.numpy(), rows, 1.5, Start(), lectures)
    # float32, eight rows, with 1 / signal = 27 in the first, on numbers up to thirty
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_chain_starts_from_the_noise_of_step_0_of_each_id() -> None:
    ids = torch.tensor([7, 3])
    seen = list[Tensor]()

    class Watched(Linear):
        def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
            seen.append(xt.clone())  # the loop writes x anew, where it is
            return super().__call__(xt, t, y)

    sample(Watched(), torch.tensor([0, 1]), TABLE, shape=(2, 5), seed=11, sample_ids=ids)
    # Steps of the solver are 1, 2, ...: no noise is used twice.
    assert torch.equal(seen[0], philox.normal(11, ids, 0, (2, 5)))


@pytest.mark.parametrize("B", [1, 7, 64])
def test_sample_5_is_the_same_in_any_batch(B: int) -> None:
    """The batch has other ids, another order and another size; sample 5 is where it was."""
    everyone = sample(Linear(), torch.arange(8) % 3, TABLE, shape=(2, 3), w=2.0, seed=7)
    ids = torch.arange(100, 100 + B)
    ids[B // 2] = 5
    y = torch.zeros(B, dtype=torch.int64)
    y[B // 2] = 5 % 3
    batch = sample(Linear(), y, TABLE, shape=(2, 3), w=2.0, seed=7, sample_ids=ids)
    torch.testing.assert_close(batch[B // 2], everyone[5], atol=1e-6, rtol=0)


@pytest.mark.parametrize("table", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("rule", [None, *(ours for ours, _ in RULES)])
def test_a_sample_is_its_own_w_with_every_rule_and_solver(
    rule: Callable[..., Tensor] | None, table: solvers.Table
) -> None:
    y, ids, w = torch.tensor([0, 2, 1]), torch.tensor([4, 9, 2]), torch.tensor([-0.8, 0.0, -0.3])
    given = {"table": table, "shape": (2, 3), "seed": 3, "clip": 3.0, "rule": rule}
    together = sample(Linear(), y, w=w, sample_ids=ids, **given)
    for i in range(3):
        at = slice(i, i + 1)
        alone = sample(Linear(), y[at], w=float(w[i]), sample_ids=ids[at], **given)
        # float32: sums over a sample may be taken in another order, ten rows, numbers of order ten
        torch.testing.assert_close(together[at], alone, rtol=0, atol=1e-5)
    assert (together - sample(Linear(), y, w=0.0, sample_ids=ids, **given))[0].abs().max() > 0.01


@pytest.fixture(scope="module")
def unet() -> UNet:
    """With no layer at zero, or it would say 0 and any law would hold."""
    torch.manual_seed(0)
    model = UNet(channels=1, num_classes=3, width=8, multipliers=(1, 2)).eval()
    model.requires_grad_(False)  # the tests' shape checks hide the generator from no_grad
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def test_networks_sample_is_the_same_in_a_batch_of_1_7_and_64(unet: UNet) -> None:
    """The noise to the bit; convolutions add in an order that suits the batch.

    1e-7 of numbers of order 1 in each of ten rows, through a network that may double it: 1.2e-6
    was measured, and ten times that is allowed.
    """
    chains, starts = list[Tensor](), list[Tensor]()
    for B in (1, 7, 64):
        ids = torch.arange(100, 100 + B)
        ids[B // 2] = 5
        y = torch.arange(B) % 3
        y[B // 2] = 2
        given = {"shape": (1, 8, 8), "w": 2.0, "seed": 7, "sample_ids": ids, "clip": 1.0}
        chains.append(torch.stack([s.x[B // 2] for s in sample_steps(unet, y, TABLE, **given)]))
        starts.append(philox.normal(7, ids, 0, (1, 8, 8))[B // 2])
    for start, chain in zip(starts, chains, strict=True):
        assert torch.equal(start, starts[0])
        torch.testing.assert_close(chain, chains[0], rtol=0, atol=1e-5)
    assert chains[0][-1].std() > 0.1


def test_one_pass_of_two_halves_is_two_passes_through_a_network(unet: UNet) -> None:
    """A chain whose halves are asked for one by one; the tolerance is that of the batches above."""

    class Apart:
        num_classes, prediction = unet.num_classes, unet.prediction

        def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
            halves = zip(xt.chunk(2), t.chunk(2), y.chunk(2), strict=True)
            return torch.cat([unet(*half) for half in halves])

    y, given = torch.tensor([0, 1, 2, 1]), {"shape": (1, 8, 8), "w": 2.0, "clip": 1.0}
    together, apart = (sample(model, y, TABLE, **given) for model in (unet, Apart()))
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-5)


def test_rows_in_float64_leave_a_float32_chain_as_it_is() -> None:
    """The table's digits beyond float32 are rounded away: a few roundings, on numbers up to 40."""
    single = replace(TABLE, rows=TABLE.rows.float().double())
    x, y = (sample(Linear(), torch.tensor([0, 2]), t, shape=(4,), w=2.0) for t in (TABLE, single))
    assert x.dtype == y.dtype == torch.float32
    torch.testing.assert_close(x, y, rtol=0, atol=1e-4)


def test_seed_and_id_change_the_picture() -> None:
    y = torch.zeros(2, dtype=torch.int64)
    a = sample(Linear(), y, TABLE, shape=(8,), seed=0)
    b = sample(Linear(), y, TABLE, shape=(8,), seed=1)
    assert (a[0] - a[1]).abs().min() > 0
    assert (a - b).abs().min() > 0


def test_steps_end_at_the_data() -> None:
    states = list(sample_steps(Linear(), torch.tensor([1]), TABLE, shape=(2,), w=1.0, clip=0.5))
    assert [s.k for s in states] == list(range(10))
    assert [s.s for s in states] == TABLE.s.tolist()
    assert torch.equal(states[-1].x, states[-1].x0hat)
    assert states[-1].x.abs().max() <= 0.5
    with pytest.raises(FrozenInstanceError):
        states[-1].k = 0  # pyright: ignore


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"w": math.nan}, "w = nan is not a finite number"),
        ({"w": torch.tensor([1.0, math.inf])}, "w has shape .*finite number, or 2 of them"),
        ({"w": torch.ones(3)}, "w has shape .*3.* finite number, or 2 of them"),
        ({"w": torch.ones(1)}, "w has shape .*1.* finite number, or 2 of them"),
        ({"y": torch.tensor([0, 4])}, r"y holds 0..4; labels are 0..2, and 3 is the null label"),
        ({"y": torch.tensor([-1, 0])}, r"y holds -1..0"),
        ({"y": torch.tensor([], dtype=torch.int64)}, "B >= 1"),
        ({"y": torch.tensor([0, 1], dtype=torch.int32)}, "pass int64 labels"),
        ({"y": torch.zeros(2, 2, dtype=torch.int64)}, "y is .*pass int64 labels"),
        ({"y": torch.tensor(1)}, "y is .*pass int64 labels"),
        ({"sample_ids": torch.tensor([0])}, "sample_ids is .*int64"),
        ({"sample_ids": torch.arange(3)}, "sample_ids is .*int64"),
        ({"sample_ids": torch.tensor([0, -1])}, "sample_ids must lie in"),
        ({"seed": -1}, "seed = -1 is not an integer in 0"),
        ({"clip": 0.0}, "clip = 0.0; pass a positive number"),
        ({"clip": math.nan}, "clip = nan; pass a positive number"),
        ({"shape": (4, 0)}, r"shape = \(4, 0\); pass the sizes of one sample"),
        ({"shape": (-1,)}, r"shape = \(-1,\); pass the sizes of one sample"),
        ({"shape": (2.0,)}, r"shape = \(2.0,\); pass the sizes of one sample"),
        (
            {"table": solvers.ddpm(Schedule.cosine(100), 10, "v")},
            "table is for prediction = 'v', and the model's is 'eps'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_before_the_network_runs(
    arguments: dict[str, object], message: str
) -> None:
    model = Linear()
    given = {"y": torch.tensor([0, 1]), "shape": (4,), "table": TABLE} | arguments
    with pytest.raises(ValueError, match=message):
        sample(model, **given)  # pyright: ignore
    assert not model.calls


def test_refusals_are_usage_errors() -> None:
    with pytest.raises(UsageError):
        sample(Linear(), torch.tensor([9]), TABLE, shape=(4,))
    for bad in (-1, 2**32, 2**32 + 1):
        with pytest.raises(UsageError, match="sample_ids must lie in"):
            sample(Linear(), torch.tensor([0]), TABLE, shape=(4,), sample_ids=torch.tensor([bad]))


@pytest.mark.parametrize("e", [0.1, -0.1])
def test_a_first_row_that_looks_back_is_refused(e: float) -> None:
    rows = TABLE.rows.clone()
    rows[0, 6] = e
    with pytest.raises(UsageError, match=rf"rows\[0\] has e = {e} and looks back"):
        sample(Linear(), torch.tensor([0]), replace(TABLE, rows=rows), shape=(4,))


class Leaning(Linear):
    """One with a weight to learn, which notes whether its steps are recorded for gradients."""

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        self.recorded = torch.is_grad_enabled()
        return super().__call__(xt, t, y) * torch.ones((), requires_grad=True)


def test_no_gradients_are_kept() -> None:
    """A chain that kept them would hold every step's activations."""
    model = Leaning()
    x = sample(model, torch.tensor([0, 2]), TABLE, shape=(4,))
    assert not x.requires_grad and not model.recorded


def test_by_default_w_and_the_seed_are_0_and_nothing_is_clipped() -> None:
    y, ids = torch.tensor([0, 2]), torch.arange(2)
    wanted = sample(Linear(), y, TABLE, shape=(4,), w=0.0, seed=0, sample_ids=ids, clip=math.inf)
    assert torch.equal(sample(Linear(), y, TABLE, shape=(4,)), wanted)
    *_, last = sample_steps(Linear(), y, TABLE, shape=(4,))
    assert torch.equal(last.x, wanted)


def test_a_guess_that_nobody_asked_for_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that need not write it is a pass over memory shorter."""
    wanted = list[bool]()

    def step(*args: object, want_x0: bool, **others: object) -> tuple[Tensor, Tensor | None]:
        wanted.append(want_x0)
        return guided_step(*args, want_x0=want_x0, **others)  # pyright: ignore

    monkeypatch.setattr("minicfg.sampling.guided_step", step)
    sample(Linear(), torch.tensor([0]), TABLE, shape=(4,))
    assert not any(wanted)
    sample(Linear(), torch.tensor([0]), solvers.dpmpp_2m(Schedule.cosine(100), 4), shape=(4,))
    assert all(wanted[-4:])


def dropping() -> UNet:
    """A network in training mode with dropout, one block of which is in eval mode."""
    torch.manual_seed(0)
    model = UNet(channels=1, num_classes=3, width=8, multipliers=(1, 2), dropout=0.3)
    model.requires_grad_(False)  # the tests' shape checks hide the generator from no_grad
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    model.middle.eval()
    return model


def modes(model: torch.nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def test_dropout_is_off_and_the_modes_are_restored() -> None:
    model = dropping()
    before = modes(model)
    assert set(before.values()) == {True, False}
    given = {"shape": (1, 8, 8), "w": 1.0, "seed": 1, "clip": 1.0}
    first = sample(model, torch.arange(3), TABLE, **given)
    assert modes(model) == before
    assert torch.equal(first, sample(model, torch.arange(3), TABLE, **given))
    *_, last = sample_steps(model, torch.arange(3), TABLE, **given)
    assert modes(model) == before
    assert torch.equal(first, last.x)
    model.eval()
    assert torch.equal(first, sample(model, torch.arange(3), TABLE, **given))
    assert not any(modes(model).values())


def test_the_modes_are_restored_when_a_chain_ends_early() -> None:
    model = dropping()
    before = modes(model)
    states = sample_steps(model, torch.arange(3), TABLE, shape=(1, 8, 8))
    next(states)
    assert not any(modes(model).values())
    states.close()
    assert modes(model) == before

    class Failing(UNet):
        def forward(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
            raise RuntimeError("out of memory")

    failing = Failing(channels=1, num_classes=3, width=8)
    with pytest.raises(RuntimeError, match="out of memory"):
        sample(failing, torch.arange(3), TABLE, shape=(1, 8, 8))
    assert all(modes(failing).values())


def test_a_model_that_is_no_module_is_left_alone() -> None:
    class Other(Linear):
        training = True

        def eval(self) -> None:
            raise AssertionError

    model = Other()
    sample(model, torch.tensor([0]), TABLE, shape=(4,))
    assert model.training


def test_a_table_of_another_schedule_than_the_models_is_refused() -> None:
    class Trained(Linear):
        schedule = Schedule.linear(100)

    model = Trained()
    with pytest.raises(UsageError, match=r"schedule is 'linear' .*made from 'cosine' with T = 100"):
        sample(model, torch.tensor([0]), TABLE, shape=(4,))
    assert not model.calls
    own = solvers.ddpm(Schedule.linear(100), 10)
    for table in (own, replace(own, schedule=None)):
        sample(model, torch.tensor([0]), table, shape=(4,))


def test_numpy_and_lists_mean_what_tensors_mean() -> None:
    y, ids, w = torch.arange(3), torch.tensor([4, 9, 2]), torch.tensor([0.0, 1.0, 2.5])
    wanted = sample(Linear(), y, TABLE, shape=(4,), w=w, seed=3, sample_ids=ids)

    def same(**changed: object) -> bool:
        given = {"y": y, "table": TABLE, "shape": (4,), "w": w, "seed": 3, "sample_ids": ids}
        return torch.equal(sample(Linear(), **(given | changed)), wanted)  # pyright: ignore

    assert same(y=[0, 1, 2]) and same(y=np.arange(3)) and same(y=range(3))
    assert same(y=list(np.arange(3))) and same(y=np.arange(3, dtype=np.int32))
    assert same(w=[0.0, 1.0, 2.5]) and same(w=np.array([0.0, 1.0, 2.5]))
    assert same(seed=np.int64(3)) and same(seed=np.uint64(3)) and same(seed=torch.tensor(3))
    assert same(sample_ids=[4, 9, 2]) and same(sample_ids=ids.numpy())
    one = sample(Linear(), y, TABLE, shape=(4,), w=2.0)
    assert torch.equal(sample(Linear(), y, TABLE, shape=(4,), w=np.float64(2.0)), one)
    assert torch.equal(sample(Linear(), y, TABLE, shape=(4,), w=np.array(2.0)), one)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": [0.0, 1.0]}, r"y is \[0.0, 1.0\]; pass a list of integers"),
        ({"y": np.array([0.0, 1.0])}, r"y is float64 \(2,\); pass a list of integers"),
        ({"y": [True, False]}, r"y is \[True, False\]; pass a list of integers"),
        ({"y": np.array([True, False])}, r"y is bool \(2,\); pass a list of integers"),
        ({"y": np.zeros((2, 1), int)}, r"y is int64 \(2, 1\); pass a list of integers"),
        ({"y": 1}, "y is 1; pass a list of integers"),
        ({"y": "01"}, "y is '01'; pass a list of integers"),
        ({"y": [0, 2**70]}, r"y is \[0, 1180591620717411303424\]; pass a list"),
        ({"y": []}, "B >= 1"),
        ({"y": [0, 4]}, r"y holds 0\.\.4; labels are"),
        ({"w": [0.0, 1.0, 2.0]}, r"w has shape \(3,\); pass one finite number, or 2"),
        ({"w": [0.0, math.nan]}, r"w has shape \(2,\); pass one finite number, or 2"),
        ({"w": ["1", "2"]}, r"w is \['1', '2'\]; pass a list of numbers"),
        ({"w": [True, False]}, r"w is \[True, False\]; pass a list of numbers"),
        ({"w": np.ones((2, 1))}, r"w is float64 \(2, 1\); pass a list of numbers"),
        ({"seed": np.float64(3)}, r"seed = np.float64\(3.0\) is not an integer"),
        ({"seed": np.True_}, "seed = np.True_ is not an integer"),
        ({"seed": np.int64(-1)}, r"seed = np.int64\(-1\) is not an integer in 0"),
        ({"seed": torch.tensor(True)}, r"seed = tensor\(True\) is not an integer"),
        ({"seed": np.array([3])}, r"seed = array\(\[3\]\) is not an integer"),
        ({"sample_ids": [0.0, 1.0]}, r"sample_ids is \[0.0, 1.0\]; pass a list of integers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.usefixtures("unchecked")
def test_what_means_no_integer_or_number_is_refused(
    arguments: dict[str, object], message: str
) -> None:
    model = Linear()
    given = {"y": torch.tensor([0, 1]), "shape": (4,), "table": TABLE} | arguments
    with pytest.raises(UsageError, match=message):
        sample(model, **given)  # pyright: ignore
    assert not model.calls


@pytest.mark.parametrize("w", [0.0, 1.5])
def test_guide_as_a_rule_is_no_rule(w: float) -> None:
    """With w = 0 it is also one pass of one half."""
    ruled, plain, y = Linear(), Linear(), torch.tensor([0, 2])
    x = sample(ruled, y, TABLE, shape=(4,), w=w, rule=guide)
    assert torch.equal(x, sample(plain, y, TABLE, shape=(4,), w=w))
    assert [len(labels) for _, labels in ruled.calls] == [len(labels) for _, labels in plain.calls]
    *_, last = sample_steps(Linear(), y, TABLE, shape=(4,), w=w, rule=guide)
    assert torch.equal(last.x, x)


@pytest.mark.usefixtures("unchecked")
def test_the_name_of_a_rule_is_refused_with_an_example() -> None:
    said = r"rule = 'rescale' is not a function; .*rule=minicfg\.guidance\.rescale"
    model, y = Linear(), torch.tensor([0])
    for draw in (sample, lambda *a, **b: next(sample_steps(*a, **b))):
        with pytest.raises(UsageError, match=said):
            draw(model, y, TABLE, shape=(4,), rule="rescale")  # pyright: ignore
    assert not model.calls


# A checkpoint and labels


def checkpoint_of(K: int = 3, T: int = 30, shape: tuple[int, ...] = (1, 8, 8)) -> Checkpoint:
    config = TrainConfig(T=T, width=8, multipliers=(1, 2), prediction="v")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = UNet(1, K, width=8, multipliers=(1, 2), prediction="v")
        nn.init.normal_(model.head.weight, std=0.3)
    return Checkpoint(model, config, tuple("abc"), shape, 1, "")


@pytest.mark.usefixtures("unchecked")
def test_four_lines_sample_a_checkpoint() -> None:
    c = checkpoint_of()
    x = sample(c, [2, 2, 0], w=2, solver="dpmpp_2m", steps=10, seed=7)
    table = solvers.dpmpp_2m(c.schedule, 10, "v")
    wanted = sample(cast(Any, c.model), [2, 2, 0], table, shape=(1, 8, 8), w=2.0, seed=7, clip=1.0)
    assert torch.equal(x, wanted)
    assert torch.equal(x, sample(c, ["c", "c", "a"], w=2, solver="dpmpp_2m", steps=10, seed=7))
    assert torch.equal(x, sample(c, [2, 2, 0], table, w=2, seed=7))
    *_, last = sample_steps(c, [2, 2, 0], w=2, solver="dpmpp_2m", steps=10, seed=7)
    assert torch.equal(x, last.x)


def test_defaults_of_a_checkpoint() -> None:
    """DDIM, 50 steps or as many as there are, and the clip of images."""
    c = checkpoint_of(T=60)
    model = cast(Any, c.model)
    table = solvers.ddim(c.schedule, 50, "v")
    wanted = sample(model, [1], table, shape=(1, 8, 8), clip=1.0)
    assert torch.equal(sample(c, [1]), wanted)
    assert not torch.equal(sample(c, [1], clip=math.inf), wanted)
    short = checkpoint_of(T=20)
    table = solvers.ddim(short.schedule, None, "v")
    wanted = sample(cast(Any, short.model), [1], table, shape=(1, 8, 8), clip=1.0)
    assert torch.equal(sample(short, [1]), wanted)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            {"y": ["d"]},
            r"y = \['d'\] contains 'd', which is not the name of a class; pass .* a, b, c",
        ),
        ({"y": "abc"}, "y = 'abc' contains 'abc', which is not the name"),
        ({"y": [3.5]}, "pass a list of integers"),
        ({"y": [4]}, "y holds 4..4; labels are 0..2, and 3 is the null label"),
        ({"steps": 31}, "steps = 31 is outside 1..30"),
        ({"solver": "euler"}, "solver = 'euler' is unknown: use ddpm, ddim"),
        ({"null": ["d"]}, r"null = .* contains 'd', which is not"),
        ({"model": "runs/demo/model"}, "model is a str; pass a Checkpoint, or a network with"),
        ({"model": nn.Linear(2, 2)}, "Linear with prediction = None; set model.prediction"),
        ({"model": UNet(1, 3, width=8)}, "table is missing; pass a table from minicfg.solvers"),
    ],
)
def test_odd_calls_with_a_checkpoint_are_refused(given: dict[str, Any], complaint: str) -> None:
    arguments = {"model": checkpoint_of(), "y": [0]} | given
    with pytest.raises(UsageError, match=complaint):
        sample(**arguments)


@pytest.mark.usefixtures("unchecked")
def test_a_table_and_a_solver_are_refused_together() -> None:
    c = checkpoint_of()
    table = solvers.ddim(c.schedule, 5, "v")
    with pytest.raises(UsageError, match="and a table; pass either the table, or solver and steps"):
        sample(c, [0], table, steps=5)
    with pytest.raises(UsageError, match="work with a Checkpoint only"):
        sample(cast(Any, c.model), [0], table, shape=(1, 8, 8), steps=5)
    other = solvers.ddim(Schedule.linear(30), 5, "v")
    with pytest.raises(UsageError, match=r"schedule"):
        sample(c, [0], other)


@pytest.mark.usefixtures("unchecked")
def test_a_start_noise_of_the_callers() -> None:
    c = checkpoint_of()
    drawn = philox.normal(7, torch.arange(2), 0, (1, 8, 8))
    assert torch.equal(sample(c, [0, 1], noise=drawn, seed=7), sample(c, [0, 1], seed=7))
    other = sample(c, [0, 1], noise=drawn.flip(0), seed=7)
    assert not torch.equal(other, sample(c, [0, 1], seed=7))
    for noise in (drawn[:1], drawn[:, 0], drawn.int(), drawn * math.nan):
        with pytest.raises(UsageError, match="noise is torch"):
            sample(c, [0, 1], noise=noise, seed=7)
