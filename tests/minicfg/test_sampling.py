"""The loop: one pass a step, a picture that depends on its own id alone, and its refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from kernels import philox
from minicfg import Schedule, sample, solvers
from minicfg.errors import UsageError
from minicfg.guidance import apg, dynamic_threshold, rescale
from minicfg.sampling import sample_steps
from tutorial import step14_ddim, step17_apg, step17_rules
from tutorial.step00_notation import Schedule as LectureSchedule

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
        assert (float(state.x), float(state.x0)) == pytest.approx((x, x0), abs=1e-6)


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
    (rescale, step17_rules.rescale),
    (
        partial(dynamic_threshold, P=0.5, bound=0.5),
        partial(step17_rules.dynamic_threshold, P=0.5, bound=0.5),
    ),
    (partial(apg, eta=0.2, r=0.3), partial(step17_apg.apg, eta=0.2, r=0.3)),
]


@pytest.mark.parametrize(("ours", "lectures"), RULES)
def test_rule_in_the_loop_is_the_lectures(
    ours: Callable[..., Tensor], lectures: step17_rules.Rule
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
    rows = step14_ddim.ddim(LectureSchedule.cosine(40), 8)
    wanted = step17_rules.run_rule(Affine(), y.numpy(), rows, 1.5, Start(), lectures)
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
    assert torch.equal(states[-1].x, states[-1].x0)
    assert states[-1].x.abs().max() <= 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"w": math.nan}, "w = nan is not a finite number"),
        ({"w": torch.tensor([1.0, math.inf])}, "w has shape .* 2 finite weights are needed"),
        ({"w": torch.ones(3)}, "w has shape .*3.* 2 finite weights"),
        ({"y": torch.tensor([0, 4])}, r"y holds 0..4: labels are 0..2, or 3 for none"),
        ({"y": torch.tensor([-1, 0])}, r"y holds -1..0"),
        ({"y": torch.tensor([], dtype=torch.int64)}, "B >= 1"),
        ({"y": torch.tensor([0, 1], dtype=torch.int32)}, "int64 labels are needed"),
        ({"sample_ids": torch.tensor([0])}, "sample_ids is .*int64"),
        ({"sample_ids": torch.tensor([0, -1])}, "sample_ids must lie in"),
        ({"seed": -1}, "seed = -1 is not an integer in 0"),
        ({"clip": 0.0}, "clip = 0.0: a positive number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_before_the_network_runs(
    arguments: dict[str, object], message: str
) -> None:
    model = Linear()
    given = {"y": torch.tensor([0, 1]), "shape": (4,)} | arguments
    with pytest.raises(ValueError, match=message):
        sample(model, table=TABLE, **given)  # pyright: ignore
    assert not model.calls


def test_refusals_are_usage_errors() -> None:
    with pytest.raises(UsageError):
        sample(Linear(), torch.tensor([9]), TABLE, shape=(4,))
