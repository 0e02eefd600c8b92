"""Two models as one denoiser: autoguidance, against the lecture and by its law."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from kernels import philox
from minicfg import Schedule, sample, solvers
from minicfg.adapters import Autoguided
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
