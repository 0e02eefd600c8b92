"""Step 12, part 3, by two routes an equation: known errors, fits, circulation, torch's autograd."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tutorial.contract import Denoiser
from tutorial.step07_oracle import oracle_eps
from tutorial.step12_backprop import MLP, angles, init
from tutorial.step12_learning import ORACLE, train
from tutorial.step12_learning_guided import (
    apart,
    at,
    curl,
    guided_curl,
    guided_eps,
    guided_error,
    parabola,
    same_noise,
)

SCHEDULE = ORACLE.schedule
ALGEBRA = 1e-12  # float64, a few dozen terms of order one


def network(seed: int = 0) -> MLP:
    """One that has learned nothing, with a last layer as large as the others."""
    p = init(3, 16, np.random.default_rng(seed))
    return MLP(p | {"W3": 10 * p["W3"]}, SCHEDULE, 3)


@dataclass(frozen=True, eq=False)
class Wrong:
    """The oracle with an error of (.1, .2) times x_t with the label, and (0, .3) without."""

    num_classes: int = 3
    prediction: str = "eps"

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
        e_y = np.array([0.1, 0.2]) * xt
        e_null = np.array([0.0, 0.3])
        return ORACLE(xt, t, y) + np.where((y == 3)[:, None], e_null, e_y)


WEIGHTS = (-1.0, 0.0, 0.7, 4.0)


@pytest.mark.parametrize("t", [1, 50, 100])
@pytest.mark.parametrize("w", WEIGHTS)
def test_12_14_by_a_known_error(t: int, w: float) -> None:
    xt, t, y = at(t)
    expected = (1 + w) * np.array([0.1, 0.2]) * xt - w * np.array([0.0, 0.3])
    error = guided_error(Wrong(), ORACLE, xt, t, y, w)
    np.testing.assert_allclose(error, expected, atol=ALGEBRA)


def test_12_14_by_a_straight_line_through_its_ends() -> None:
    """The errors of both outputs, at w = 0 and -1, and a line through them; d is its slope."""
    model = network()
    xt, t, y = at(30)
    at_0 = model(xt, t, y) - ORACLE(xt, t, y)
    at_minus_1 = model(xt, t, np.full(len(y), 3)) - ORACLE(xt, t, np.full(len(y), 3))
    for w in WEIGHTS:
        line = at_0 + w * (at_0 - at_minus_1)
        np.testing.assert_allclose(guided_error(model, ORACLE, xt, t, y, w), line, atol=ALGEBRA)


def test_12_14_by_agreeing_outputs() -> None:
    """Where the two outputs have the same error, no weight adds any."""
    p = network().params
    same = MLP(p | {"E": np.tile(p["E"][:1], (4, 1))}, SCHEDULE, 3)
    xt, t, y = at(30)
    np.testing.assert_allclose(
        guided_eps(same, xt, t, y, 4.0), guided_eps(same, xt, t, y, 0.0), atol=ALGEBRA
    )


def test_12_14_by_the_same_noise() -> None:
    """A second oracle ends where the first does, and an error in eps carries samples away.

    To first order the ends move in proportion to an error in eps, and guidance makes (1 + w) of it.
    """
    assert apart(oracle_eps(ORACLE.mixture, SCHEDULE), 1.0) == 0
    assert same_noise(ORACLE, 1.0).shape == (300, 2)
    by_class = same_noise(ORACLE, 1.0).reshape(3, 100, 2).mean(1)
    nearest = np.linalg.norm(by_class[:, None] - ORACLE.mixture.means, axis=2).argmin(1)
    np.testing.assert_array_equal(nearest, [0, 1, 2])

    @dataclass(frozen=True, eq=False)
    class Off:
        size: float
        num_classes: int = 3
        prediction: str = "eps"

        def __call__(self, xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
            return ORACLE(xt, t, y) + np.where((y == 3)[:, None], 0.0, self.size)

    small = apart(Off(0.01), 0.0)
    double = apart(Off(0.02), 0.0)
    assert 0.005 < small < 0.1
    assert double == pytest.approx(2 * small, rel=0.02)
    assert (
        apart(Off(0.01), 2.0) > 1.5 * small
    )  # (1 + w) times the error, and a field that contracts


@pytest.mark.parametrize("model", [network(), Wrong()], ids=["network", "wrong oracle"])
def test_12_15_by_a_fit(model: Denoiser) -> None:
    """Three squares fix a parabola: the polynomial through them."""
    ws = np.array([-0.5, 1.0, 3.0])
    squares = [(guided_error(model, ORACLE, *at(20), w) ** 2).sum(1).mean() for w in ws]
    fit = np.polynomial.polynomial.polyfit(ws, squares, 2)
    np.testing.assert_allclose(parabola(model, ORACLE, *at(20)), fit, rtol=1e-10)


def test_12_15_by_moments_of_a_known_error() -> None:
    """e_y = (.1 x, .2 y) and d = e_y - (0, .3) have means that moments of x_t give."""
    xt, t, y = at(60)
    x, z = xt.T
    first = 0.01 * (x**2).mean() + 0.04 * (z**2).mean()
    second = first - 0.06 * z.mean()
    third = first - 0.12 * z.mean() + 0.09
    found = parabola(Wrong(), ORACLE, xt, t, y)
    np.testing.assert_allclose(found, [first, 2 * second, third], atol=ALGEBRA)


def test_12_16_by_fields_of_known_curl() -> None:
    """Turning by a right angle has curl 2; a gradient 0; (y^2, x^3) has 3 x^2 - 2 y."""
    x = np.random.default_rng(0).uniform(-2, 2, (50, 2))
    np.testing.assert_allclose(curl(lambda x: x @ np.array([[0, 1], [-1, 0]]), x), 2, atol=1e-9)
    gradient = curl(lambda x: np.stack([2 * x[:, 0] * x[:, 1], x[:, 0] ** 2], 1), x)
    np.testing.assert_allclose(gradient, 0, atol=1e-9)  # rounding 1e-15 / 1e-5
    found = curl(lambda x: np.stack([x[:, 1] ** 2, x[:, 0] ** 3], 1), x)
    np.testing.assert_allclose(found, 3 * x[:, 0] ** 2 - 2 * x[:, 1], atol=1e-9)


def circulation(model: Denoiser, centre: np.ndarray, t: int, w: float) -> float:
    """The guided field of class 1 along a small circle, over the circle's area (Stokes)."""
    n = 64
    radius = 1e-2
    angle = 2 * np.pi * np.arange(n) / n
    out = np.stack([np.cos(angle), np.sin(angle)], 1)
    along = np.stack([-np.sin(angle), np.cos(angle)], 1)
    g = guided_eps(model, centre + radius * out, t, np.ones(n, int), w)
    return float((g * along).sum() * (2 * np.pi * radius / n) / (np.pi * radius**2))


def test_12_16_by_circulation() -> None:
    model = network()
    x = np.random.default_rng(1).standard_normal((10, 2))
    found = guided_curl(model, x, 30, np.ones(10, int), 2.0)
    assert np.abs(found).min() > 1e-3
    # A circle of radius r averages the curl over it: off by r^2 / 8 of its Laplacian, 1e-5 of it.
    expected = [circulation(model, c, 30, 2.0) for c in x]
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("t", [1, 30, 100])
@pytest.mark.parametrize("w", WEIGHTS)
def test_12_16_by_the_oracle_that_has_none(t: int, w: float) -> None:
    xt, t, y = at(t)
    np.testing.assert_allclose(guided_curl(ORACLE, xt, t, y, w), 0, atol=1e-8)
    assert abs(circulation(ORACLE, xt[0], t, w)) < 1e-8


def torch_curls(model: MLP, xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
    """The curl of the plain output by automatic differentiation."""
    p = {name: torch.tensor(a) for name, a in model.params.items()}
    x = torch.tensor(xt, requires_grad=True)
    silu = torch.nn.functional.silu
    tau = torch.tensor(angles(np.full(len(xt), t), SCHEDULE))
    h1 = silu(x @ p["Wx"] + tau @ p["Wt"] + p["E"][torch.tensor(y)])
    f = silu(h1 @ p["W2"] + p["b2"]) @ p["W3"] + p["b3"]
    d_f1, d_f2 = (torch.autograd.grad(f[:, i].sum(), x, retain_graph=True)[0] for i in (0, 1))
    return (d_f2[:, 0] - d_f1[:, 1]).numpy()


def test_12_17_by_torch() -> None:
    model = network()
    xt, t, y = at(30)
    of_y, of_null = (torch_curls(model, xt, t, labels) for labels in (y, np.full(len(y), 3)))
    for w in WEIGHTS:
        found = guided_curl(model, xt, t, y, w)
        np.testing.assert_allclose(found, (1 + w) * of_y - w * of_null, atol=1e-8)


def test_12_17_by_circulation_of_both_outputs() -> None:
    model = network(1)
    centre = np.array([0.4, -0.7])
    of_y = circulation(model, centre, 30, 0.0)
    of_null = circulation(model, centre, 30, -1.0)
    found = guided_curl(model, centre[None], 30, np.array([1]), 3.0)[0]
    assert abs(of_y) > 1e-3 and abs(of_y - of_null) > 1e-3
    assert found == pytest.approx(4 * of_y - 3 * of_null, abs=1e-3)  # seven times that of a circle


def test_12_17_by_growth_with_w() -> None:
    """What the lesson's figure shows, on a network that has learned a little."""
    run = train(ORACLE.mixture, SCHEDULE, 0.2, 300, np.random.default_rng(0))
    *_, (_, _, model) = run
    xt, t, y = at(20)
    sizes = [np.abs(guided_curl(model, xt, t, y, w)).mean() for w in (0.0, 1.0, 3.0)]
    assert 1e-3 < sizes[0] < sizes[1] < sizes[2]


def test_12_16_by_samples_at_t() -> None:
    """`at` gives x_t around sqrt(alpha_bar) mu, of the noised variance: 500, 5 standard errors."""
    for t in (1, 50, 100):
        xt, same_t, y = at(t)
        assert same_t == t and len(xt) == len(y) == 500
        abar = SCHEDULE.alpha_bar[t]
        rest = xt - np.sqrt(abar) * ORACLE.mixture.means[y]
        var = abar * 0.25 + 1 - abar
        assert np.abs(rest.mean(0)).max() < 5 * np.sqrt(var / 500)
        assert rest.var() == pytest.approx(var, rel=5 * np.sqrt(2 / 1000))
