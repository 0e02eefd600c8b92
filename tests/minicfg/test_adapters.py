"""Networks of flow matching as denoisers; two models as one: autoguidance, by its distribution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kernels import philox
from minicfg import Dataset, Schedule, TrainConfig, sample, solvers, train
from minicfg.adapters import Autoguided, FlowModel
from minicfg.errors import UsageError
from tutorial import step17_solvers, step18_dpmpp, step20_weights
from tutorial.appendix import o_null
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule as LectureSchedule
from tutorial.step05_best_guess import oracle_eps

SCHEDULE, LECTURE = Schedule.cosine(200), LectureSchedule.cosine(200)
DATA = three_gaussians()
WIDE = GaussianMixture(DATA.means, 2 * DATA.covs, DATA.weights)
Y = torch.tensor([0, 1, 2, 2, 0])


class Oracle:
    """The exact denoiser of a mixture in 2-D, of the lecture, in torch."""

    num_classes, prediction = 3, "eps"

    def __init__(self, data: GaussianMixture) -> None:
        self.eps = oracle_eps(data, LECTURE)

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return torch.from_numpy(self.eps(xt.double().numpy(), int(t[0]), y.numpy())).to(xt.dtype)


class Noise:
    """The noise of the sampling loop, for the lecture's."""

    def __init__(self) -> None:
        self.k = -1

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        self.k += 1
        return philox.normal_numpy(5, np.arange(size[0]), self.k, size[1:])


@pytest.mark.parametrize("w", [0.0, 1.0, -0.4])
@pytest.mark.parametrize(
    ("ours", "lectures"),
    [
        (solvers.ddpm, step17_solvers.ddpm),
        (solvers.ddim, step17_solvers.ddim),
        (solvers.dpmpp_2m, step18_dpmpp.dpmpp_2m),
        (solvers.cfgpp, step20_weights.cfgpp),
    ],
)
def test_autoguidance_is_the_lectures_with_every_solver(
    ours: Callable[..., solvers.Table], lectures: Callable[..., step17_solvers.Table], w: float
) -> None:
    model = Autoguided(Oracle(DATA), Oracle(WIDE), Y)
    w = -abs(w) if ours is solvers.cfgpp else w  # its range is -1..0
    found = sample(model, Y, ours(SCHEDULE, 12), shape=(2,), w=w, seed=5)
    lecture = o_null.Autoguided(oracle_eps(DATA, LECTURE), oracle_eps(WIDE, LECTURE), Y.numpy())
    wanted = step17_solvers.run(lecture, Y.numpy(), lectures(LECTURE, 12), w, Noise())
    # float32, twelve rows, with 1 / signal = 130 in the first
    np.testing.assert_allclose(found.double().numpy(), wanted, rtol=0, atol=1e-3)


def test_autoguidance_does_not_overshoot_and_narrows() -> None:
    """(O.2), w = 1, N = 4000 chains of 50 rows: the mean stays, the variance is halved to .125.

    Standard errors: of the mean .34 / 63 = .005, five of them allowed; of the variance 2 %, besides
    the 6 % that 50 rows leave of it, as in the lecture's table.
    """
    y = torch.zeros(4000, dtype=torch.int64)
    table = solvers.ddim(SCHEDULE, 50)
    guided = sample(Autoguided(Oracle(DATA), Oracle(WIDE), y), y, table, shape=(2,), w=1.0)
    assert float(guided[:, 1].mean()) == pytest.approx(1.5, abs=0.025)
    assert float(guided.var(0).mean()) == pytest.approx(
        o_null.autoguided_var(0.25, 0.5, 1.0), rel=0.12
    )
    plain = sample(Oracle(DATA), y, table, shape=(2,), w=1.0)
    assert float(plain[:, 1].mean()) > 1.8


def test_two_models_that_do_not_fit_are_refused() -> None:
    other = Oracle(WIDE)
    other.prediction = "v"
    with pytest.raises(
        UsageError, match="bad has prediction = 'v' and good has prediction = 'eps'"
    ):
        Autoguided(Oracle(DATA), other, Y)


@pytest.mark.parametrize("w", [0.0, 1.0])
@pytest.mark.parametrize("y", [Y[:2], Y.flip(0) * 0, torch.cat([Y, Y])], ids=["few", "other", "2n"])
def test_labels_other_than_its_own_are_refused(y: Tensor, w: float) -> None:
    """Ten labels are not five and their null halves."""
    model = Autoguided(Oracle(DATA), Oracle(WIDE), Y)
    with pytest.raises(UsageError, match="are not the 5 labels of Autoguided"):
        sample(model, y, solvers.ddim(SCHEDULE, 3), shape=(2,), w=w)


class Velocity(nn.Module):
    """`eps - x_0` of data N(1, 0.5^2), or N(0, 1.5^2) for label 1, at the state X and the time u.

    A network whose time is 0 at the noise is given 1 - u, and returns `x_0 - eps`.
    """

    def __init__(self, *, data_at_1: bool = False) -> None:
        super().__init__()
        self.data_at_1 = data_at_1
        self.seen = list[Tensor]()

    def forward(self, X: Tensor, time: Tensor, y: Tensor) -> Tensor:
        self.seen.append(time)
        u = (1 - time if self.data_at_1 else time)[:, None]
        mu = torch.where(y == 1, 0.0, 1.0)[:, None]
        var = torch.where(y == 1, 2.25, 0.25)[:, None]
        standard = (X - (1 - u) * mu) / ((1 - u) ** 2 * var + u**2)
        F = u * standard - mu - (1 - u) * var * standard
        return -F if self.data_at_1 else F


@pytest.mark.parametrize("data_at_1", [False, True])
@pytest.mark.parametrize("w", [0.0, 2.0])
def test_a_network_of_flow_matching_is_integrated_by_euler(w: float, data_at_1: bool) -> None:
    """Its own states and times, from the noise down to the data, without schedule and rows."""
    T, steps, ids = 40, 8, torch.arange(6)
    net = Velocity(data_at_1=data_at_1)
    model = FlowModel(net, num_classes=1, T=T, data_at_1=data_at_1)
    table = solvers.ddim(model.schedule, steps, model.prediction)
    y = torch.zeros(6, dtype=torch.int64)
    found = sample(model, y, table, shape=(3,), w=w, seed=4)
    assert all(bool(((time >= 0) & (time <= 1)).all()) for time in net.seen)
    exact = Velocity()
    X = philox.normal(4, ids, 0, (3,)).double()
    for k in range(steps, 0, -1):
        u = torch.full((6,), k / steps, dtype=torch.float64)
        F_y, F_null = exact(X, u, y), exact(X, u, y + 1)
        X = X - (F_y + w * (F_y - F_null)) / steps
    # Eight float32 steps of numbers below 10, whose errors guidance multiplies by 1 + 2 w.
    torch.testing.assert_close(found.double(), X, rtol=0, atol=8 * 10 * 5 * 2**-23)


def test_a_network_of_flow_matching_is_trained() -> None:
    """Least squares: from `F = a X` the loss falls, and the schedule is that of the config."""

    class Slope(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Parameter(torch.zeros(()))

        def forward(self, X: Tensor, u: Tensor, y: Tensor) -> Tensor:
            return self.a * X

    data = Dataset(torch.zeros(32, 2), torch.zeros(32, dtype=torch.int64), ("0",), "zeros")
    config = TrainConfig(
        schedule="flow", prediction="velocity", T=100, steps=200, batch=64, lr=0.1, weight_decay=0.0
    )
    model = FlowModel(Slope(), num_classes=1, T=100)
    state = train(data, config, model=model)
    assert torch.equal(model.schedule.alpha_bar, Schedule.of(config).alpha_bar)
    # With x_0 = 0, F = eps and X = u eps. The best slope is E[u] / E[u^2], close to 3 / 2.
    u = torch.arange(1, 101) / 100
    best = float(u.mean() / u.square().mean())
    found = float(state.ema.module.net.a)  # pyright: ignore
    assert found == pytest.approx(best, abs=0.05)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"net": None}, "net = None .* pass a network of flow matching"),
        ({"num_classes": 0}, "num_classes = 0 is out of range"),
        ({"T": 0}, "T = 0 is out of range"),
        ({"T": 10_001}, "T = 10001 is out of range"),
        ({"data_at_1": 1}, "data_at_1 = 1 has type int; pass True or False"),
    ],
)
def test_what_is_no_network_of_flow_matching_is_refused(given: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FlowModel(**{"net": Velocity(), "num_classes": 1, **given})


def test_a_table_of_another_clock_is_refused() -> None:
    model = FlowModel(Velocity(), num_classes=1, T=40)
    table = solvers.ddim(Schedule.cosine(40), 5, "velocity")
    with pytest.raises(UsageError, match="schedule is 'flow' with T = 40, and the table was made"):
        sample(model, torch.zeros(2, dtype=torch.int64), table, shape=(2,))


def test_autoguidance_of_two_flows() -> None:
    """A bad model equal to the good one changes nothing at any weight; another one does."""
    y = torch.zeros(3, dtype=torch.int64)
    good = FlowModel(Velocity(), num_classes=1, T=40)
    table = solvers.ddim(good.schedule, 8, "velocity")
    plain = sample(good, y, table, shape=(2,), seed=1)
    same = sample(Autoguided(good, good, y), y, table, shape=(2,), seed=1, w=2.0)
    torch.testing.assert_close(same, plain, rtol=0, atol=1e-6)  # lerp of equal outputs is exact
    turned = FlowModel(Velocity(), num_classes=1, T=40, data_at_1=True)
    other = sample(Autoguided(good, turned, y), y, table, shape=(2,), seed=1, w=2.0)
    assert (other - plain).abs().max() > 0.1
