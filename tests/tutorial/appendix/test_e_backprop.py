"""Appendix E by loops, by differences, and by the automatic derivatives of torch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from tutorial.appendix.e_backprop import (
    MLP,
    Arrays,
    angles,
    backward,
    central_difference,
    forward,
    furthest,
    init,
    silu,
    squared_error,
)
from tutorial.contract import Denoiser
from tutorial.figures.appendix.e_backprop import Backward, descend, not_transposed
from tutorial.step02_forward import Schedule

SCHEDULE = Schedule.linear(100)
ALGEBRA = 1e-12  # float64, sums of a few dozen terms of order one
K = 3
WIDTH = 5
Y = np.array([0, 3, 1, 3, 0, 3, 0])  # the null label among them, label 2 not


def problem(seed: int = 0) -> tuple[Arrays, np.ndarray, np.ndarray, np.ndarray]:
    """Parameters (biases too, and no layer small), `xt`, `tau`, `eps` for the labels `Y`."""
    rng = np.random.default_rng(seed)
    p = {name: rng.standard_normal(a.shape) for name, a in init(K, WIDTH, rng).items()}
    xt, eps = rng.standard_normal((2, len(Y), 2))
    return p, xt, angles(rng.integers(1, 101, len(Y)), SCHEDULE), eps


def gradient(p: Arrays, xt: np.ndarray, tau: np.ndarray, eps: np.ndarray, y: np.ndarray) -> Arrays:
    f, passed = forward(p, xt, tau, y)
    return backward(p, squared_error(eps, f)[1], passed)


def in_torch(p: Arrays, xt: np.ndarray, tau: np.ndarray) -> dict[str, torch.Tensor]:
    """Every array on the way from the parameters `p` to the output, with gradients kept."""
    F = torch.nn.functional
    z = {k: torch.tensor(v, requires_grad=True) for k, v in p.items()}
    rows = F.embedding(torch.tensor(Y), z["E"])
    x = torch.tensor(np.hstack([xt, tau]))
    z["a1"] = F.linear(x, torch.cat([z["Wx"], z["Wt"]]).T) + rows
    z["h1"] = F.silu(z["a1"])
    z["a2"] = F.linear(z["h1"], z["W2"].T, z["b2"])
    z["h2"] = F.silu(z["a2"])
    z["f"] = F.linear(z["h2"], z["W3"].T, z["b3"])
    for a in z.values():
        a.retain_grad()
    return z


def slope_of(a: torch.Tensor) -> np.ndarray:
    """The gradient that torch left in an array."""
    assert a.grad is not None
    return a.grad.numpy()


def torch_gradients() -> tuple[Arrays, dict[str, torch.Tensor]]:
    p, xt, tau, eps = problem()
    z = in_torch(p, xt, tau)
    loss = torch.nn.functional.mse_loss(z["f"], torch.tensor(eps), reduction="sum") / len(Y)
    loss.backward()
    return gradient(p, xt, tau, eps, Y), z


def test_e_1_by_powers_of_a_complex_number() -> None:
    t = np.arange(101)
    z = np.sqrt(SCHEDULE.alpha_bar) + 1j * np.sqrt(1 - SCHEDULE.alpha_bar)
    expected = np.stack([z.real, z.imag, (z**2).real, (z**2).imag], axis=1)
    np.testing.assert_allclose(angles(t, SCHEDULE), expected, atol=ALGEBRA)


@pytest.mark.parametrize("schedule", [SCHEDULE, Schedule.cosine(100)])
def test_e_1_by_log_snr(schedule: Schedule) -> None:
    """Noise over signal is the angle's tangent, so the log SNR alone gives the angle."""
    t = np.array([1, 2, 30, 99, 100])
    angle = np.arctan(np.exp(-schedule.log_snr[t] / 2))
    expected = np.imag(
        [1j * np.exp(-1j * angle), np.exp(1j * angle), 1j * np.exp(-2j * angle), np.exp(2j * angle)]
    ).T
    np.testing.assert_allclose(angles(t, schedule), expected, atol=ALGEBRA)


def test_e_1_by_its_two_ends() -> None:
    np.testing.assert_array_equal(angles(np.array([0]), SCHEDULE), [[1, 0, 1, 0]])
    end = angles(np.array([1000]), Schedule.cosine(1000))
    np.testing.assert_allclose(end, [[0, 1, -1, 0]], atol=2e-4)  # sqrt(alpha_bar_T) = 0.00005


def by_loops(p: Arrays, xt: np.ndarray, tau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`h1` and the output, one sample and one unit at a time."""
    h1 = np.zeros((len(Y), WIDTH))
    f = np.zeros((len(Y), 2))
    for i in range(len(Y)):
        for j in range(WIDTH):
            a = sum(xt[i, d] * p["Wx"][d, j] for d in range(2)) + p["E"][Y[i], j]
            a += sum(tau[i, d] * p["Wt"][d, j] for d in range(4))
            h1[i, j] = a / (1 + math.exp(-a))
        a2 = [sum(h1[i] * p["W2"][:, j]) + p["b2"][j] for j in range(WIDTH)]
        for d in range(2):
            terms = (a / (1 + math.exp(-a)) * p["W3"][j, d] for j, a in enumerate(a2))
            f[i, d] = sum(terms) + p["b3"][d]
    return h1, f


def test_e_2_by_loops() -> None:
    p, xt, tau, _ = problem()
    passed = forward(p, xt, tau, Y)[1]
    np.testing.assert_allclose(passed["h1"], by_loops(p, xt, tau)[0], atol=ALGEBRA)


def test_e_2_by_torch() -> None:
    p, xt, tau, _ = problem()
    h1 = in_torch(p, xt, tau)["h1"].detach().numpy()
    np.testing.assert_allclose(forward(p, xt, tau, Y)[1]["h1"], h1, atol=ALGEBRA)


def test_e_2_by_sizes_at_the_start() -> None:
    """A unit input makes first sums of variance 1 (Wx), 1/2 (Wt) and 1/4 (E), and the next of 1."""
    H = 2000  # the variance of so many has a standard error of sqrt(2 / 2000), 3.2 percent: five
    p = init(K, H, np.random.default_rng(0))
    shapes = {name: a.shape for name, a in p.items()}
    assert shapes == {
        "Wx": (2, H),
        "Wt": (4, H),
        "E": (4, H),
        "W2": (H, H),
        "b2": (H,),
        "W3": (H, 2),
        "b3": (2,),
    }
    tau = angles(np.array([50]), SCHEDULE)
    assert (np.ones(2) @ p["Wx"]).var() == pytest.approx(1, rel=0.16)
    assert (tau @ p["Wt"]).var() == pytest.approx(0.5, rel=0.16)
    assert p["E"].var() == pytest.approx(0.25, rel=0.16)
    assert (np.ones(H) @ p["W2"]).var() == pytest.approx(1, rel=0.16)
    assert (p["W3"] ** 2).sum() == pytest.approx(0.02, rel=0.16)
    assert not p["b2"].any() and not p["b3"].any()


def test_e_3_by_loops() -> None:
    p, xt, tau, _ = problem()
    np.testing.assert_allclose(forward(p, xt, tau, Y)[0], by_loops(p, xt, tau)[1], atol=ALGEBRA)


def test_e_3_by_torch() -> None:
    p, xt, tau, _ = problem()
    f = in_torch(p, xt, tau)["f"].detach().numpy()
    np.testing.assert_allclose(forward(p, xt, tau, Y)[0], f, atol=ALGEBRA)


def test_e_3_by_the_denoiser_contract() -> None:
    """As a denoiser: one t for all rows, each row by itself, its own label, the null label K."""
    p, xt, _, _ = problem()
    model = MLP(p, SCHEDULE, K)
    assert isinstance(model, Denoiser)
    assert (model.num_classes, model.prediction) == (3, "eps")
    out = model(xt, 100, Y)
    assert (out.shape, out.dtype) == (xt.shape, xt.dtype)
    tau = np.tile(angles(np.array([100]), SCHEDULE), (len(Y), 1))
    np.testing.assert_allclose(out, forward(p, xt, tau, Y)[0], atol=ALGEBRA)
    np.testing.assert_allclose(out[2:3], model(xt[2:3], 100, Y[2:3]), atol=ALGEBRA)
    assert np.abs(model(xt, 1, Y) - out).min() > 1e-3
    assert np.abs(model(xt, 100, np.full(len(Y), 2)) - out).min() > 1e-3
    assert model(xt[:0], 1, Y[:0]).shape == (0, 2)


@pytest.mark.parametrize("y", [-1, 4])
def test_e_3_by_refusal_of_wrong_y(y: int) -> None:
    """-1 would read the null label's row and answer."""
    p, xt, _, _ = problem()
    with pytest.raises(ValueError, match=r"outside 0\.\.3"):
        MLP(p, SCHEDULE, K)(xt[:1], 1, np.array([y]))


@pytest.mark.parametrize("t", [-1, 0, 101])
def test_e_3_by_refusal_of_wrong_t(t: int) -> None:
    p, xt, _, _ = problem()
    with pytest.raises(ValueError, match=rf"t = {t} is outside 1\.\.100"):
        MLP(p, SCHEDULE, K)(xt, t, Y)


def test_e_4_by_integrating_the_slope() -> None:
    """From a = -60, where silu is below 1e-24."""
    for a in (-3.0, -1.0, 0.5, 4.0):
        area = quad(lambda x: silu(np.array([[x]]))[1][0, 0], -60, a, epsabs=1e-12, limit=200)[0]
        assert silu(np.array([[a]]))[0][0, 0] == pytest.approx(area, abs=1e-10)


def test_e_4_by_mirror() -> None:
    """silu(a) - silu(-a) = a, so the slopes at a and -a add up to 1; silu(log 3) = 3/4 log 3."""
    a = np.linspace(-8, 8, 33)[:, None]
    value, slope = silu(a)
    np.testing.assert_allclose(value - value[::-1], a, atol=ALGEBRA)
    np.testing.assert_allclose(slope + slope[::-1], 1, atol=ALGEBRA)
    log3 = math.log(3)
    at = silu(np.array([[log3]]))
    assert at[0][0, 0] == pytest.approx(0.75 * log3, abs=ALGEBRA)
    assert at[1][0, 0] == pytest.approx(0.75 * (1 + 0.25 * log3), abs=ALGEBRA)


def test_e_4_by_its_far_ends() -> None:
    """1 / (1 + e^1000) overflows on the way; warnings are errors here."""
    value, slope = silu(np.array([[-1000.0, 0.0, 1000.0]]))
    np.testing.assert_array_equal(value, [[0, 0, 1000]])
    np.testing.assert_array_equal(slope, [[0, 0.5, 1]])


def test_e_5_by_loops_and_differences() -> None:
    _, f, _, eps = problem(1)
    loss, G = squared_error(eps, f)
    by_hand = sum((eps[i, d] - f[i, d]) ** 2 for i in range(len(f)) for d in range(2)) / len(f)
    assert loss == pytest.approx(by_hand, abs=ALGEBRA)
    h = 1e-3  # a quadratic has no third derivative: any step is exact, a large one rounds least
    for i in np.ndindex(f.shape):
        move = np.zeros_like(f)
        move[i] = h
        slope = (squared_error(eps, f + move)[0] - squared_error(eps, f - move)[0]) / (2 * h)
        assert G[i] == pytest.approx(slope, abs=ALGEBRA)


def test_e_5_by_torch() -> None:
    _, f, _, eps = problem(1)
    f_torch = torch.tensor(f, requires_grad=True)
    loss = (f_torch - torch.tensor(eps)).square().sum(1).mean()
    loss.backward()
    found, G = squared_error(eps, f)
    assert found == pytest.approx(loss.item(), abs=ALGEBRA)
    np.testing.assert_allclose(G, slope_of(f_torch), atol=ALGEBRA)


def test_e_4_by_each_step() -> None:
    """The slope of the logistic function in three forms, and the product rule."""
    a = np.linspace(-4, 4, 17)[:, None]
    sigma = 1 / (1 + np.exp(-a))
    h = 1e-5  # a difference is off by h^2 / 6 times a third derivative below 1, and rounds 1e-11
    by_difference = (1 / (1 + np.exp(-a - h)) - 1 / (1 + np.exp(-a + h))) / (2 * h)
    np.testing.assert_allclose(np.exp(-a) / (1 + np.exp(-a)) ** 2, by_difference, atol=1e-10)
    np.testing.assert_allclose(sigma * (1 - sigma), by_difference, atol=1e-10)
    _, slope = silu(a)
    np.testing.assert_allclose(slope, sigma + a * sigma * (1 - sigma), atol=ALGEBRA)


def test_e_5_by_each_step() -> None:
    """A small change of all outputs changes the loss by the sum of products."""
    _, f, _, eps = problem(1)
    _, G = squared_error(eps, f)
    df = 1e-4 * np.random.default_rng(2).standard_normal(f.shape)
    change = (squared_error(eps, f + df)[0] - squared_error(eps, f - df)[0]) / 2
    assert change == pytest.approx((G * df).sum(), abs=ALGEBRA)  # a quadratic: no third derivative


def test_e_5_by_the_example() -> None:
    """The network of one number per layer; the second output is right and adds nothing."""
    x, epsilon, first, second = 0.5, 2.0, 2.0, 1.5
    value, slope = silu(np.array([[first * x]]))
    h, bend = value[0, 0], slope[0, 0]
    f = second * h
    L, Gf = squared_error(np.array([[epsilon, 0.0]]), np.array([[f, 0.0]]))
    G_f = Gf[0, 0]
    G_h = second * G_f
    G_a = bend * G_h
    found = [h, f, L, G_f, h * G_f, G_h, bend, G_a, x * G_a]
    printed = [0.7311, 1.0966, 0.8162, -1.8068, -1.3209, -2.7102, 0.9277, -2.5142, -1.2571]
    assert found == pytest.approx(printed, abs=6e-5)

    def loss(w: float) -> float:
        return (epsilon - second * w * x / (1 + math.exp(-w * x))) ** 2

    assert (loss(2 + 1e-5) - loss(2 - 1e-5)) / 2e-5 == pytest.approx(x * G_a, abs=1e-9)


def test_e_6_by_each_step() -> None:
    """The last layer entry by entry: z, its small change, and the three sums."""
    p, xt, tau, eps = problem()
    f, passed = forward(p, xt, tau, Y)
    _, Gz = squared_error(eps, f)
    G = backward(p, Gz, passed)
    h, W, b = passed["h2"], p["W3"], p["b3"]
    n = len(Y)
    rng = np.random.default_rng(3)
    dh, dW, db = (1e-6 * rng.standard_normal(a.shape) for a in (h, W, b))
    moved = (h + dh) @ (W + dW) + b + db
    first_order = np.zeros((n, 2))
    for i in range(n):
        for j in range(2):
            z = sum(h[i, k] * W[k, j] for k in range(WIDTH)) + b[j]
            assert f[i, j] == pytest.approx(z, abs=ALGEBRA)
            first_order[i, j] = sum(dh[i, k] * W[k, j] + h[i, k] * dW[k, j] for k in range(WIDTH))
            first_order[i, j] += db[j]
    # What is left is the product of two small changes, 5 terms of about 1e-12.
    np.testing.assert_allclose(moved - f, first_order, atol=1e-10)
    A = np.array(
        [[sum(Gz[i, j] * W[k, j] for j in range(2)) for k in range(WIDTH)] for i in range(n)]
    )
    B = np.array(
        [[sum(h[i, k] * Gz[i, j] for i in range(n)) for j in range(2)] for k in range(WIDTH)]
    )
    c = np.array([sum(Gz[i, j] for i in range(n)) for j in range(2)])
    by_sums = (A * dh).sum() + (B * dW).sum() + (c * db).sum()
    assert by_sums == pytest.approx((Gz * first_order).sum(), abs=ALGEBRA)
    np.testing.assert_allclose(G["W3"], B, atol=ALGEBRA)
    np.testing.assert_allclose(G["b3"], c, atol=ALGEBRA)
    np.testing.assert_allclose(G["b2"], (A * passed["slope2"]).sum(0), atol=1e-11)


def test_e_6_by_the_shapes_of_products() -> None:
    """The shape finds a transposed gradient, unless W is square: there only its numbers do."""
    p, xt, tau, eps = problem()
    f, passed = forward(p, xt, tau, Y)
    _, Gf = squared_error(eps, f)
    G = backward(p, Gf, passed)
    assert (passed["h2"].T @ Gf).shape == p["W3"].shape != (Gf.T @ passed["h2"]).shape
    Ga2 = (Gf @ p["W3"].T) * passed["slope2"]
    transposed = Ga2.T @ passed["h1"]
    assert transposed.shape == p["W2"].shape
    np.testing.assert_allclose(G["W2"], passed["h1"].T @ Ga2, atol=ALGEBRA)
    assert np.abs(G["W2"] - transposed).max() > 0.01


def test_e_9_by_each_step() -> None:
    """The series of exp around 0.3, and the difference with its next term."""
    h = 0.01
    e = math.exp(0.3)
    for sign in (1, -1):
        series = e * (1 + sign * h + h**2 / 2 + sign * h**3 / 6)
        assert math.exp(0.3 + sign * h) == pytest.approx(series, abs=e * h**4 / 20)  # next: / 24
    found = central_difference(lambda p: float(np.exp(p).sum()), np.array([0.3]), h)
    assert found[0] == pytest.approx(e + h**2 * e / 6, abs=e * h**4 / 100)  # next: / 120


def test_e_9_by_a_cubic() -> None:
    """The third derivative of p^3 is 6, so each difference is off by h^2, and by no more."""
    p = np.array([[0.5, -1.0, 2.0], [0.0, 1.5, -0.3]])
    for h in (0.5, 0.1):
        found = central_difference(lambda p: float((p**3).sum()), p, h)
        np.testing.assert_allclose(found, 3 * p**2 + h**2, atol=ALGEBRA)


def test_e_9_by_steps_of_different_size() -> None:
    """Two errors: h^2 for large steps, rounding / h for small ones. The best is near 1e-5."""
    off = {h: max(furthest(h).values()) for h in (1e-10, 1e-5, 3e-5, 1e-3, 1e-2)}
    assert off[1e-2] / off[1e-3] == pytest.approx(100, rel=0.05)
    assert max(off[1e-5], off[3e-5]) < 1e-10
    assert off[1e-10] > 1e-7  # 1e-16 / h is 1e-6


def test_e_9_by_one_side() -> None:
    """exp at 0.3 from one side: off by h / 2 times the second derivative; at best about 1e-8."""
    e = math.exp(0.3)
    off = {h: abs((math.exp(0.3 + h) - e) / h - e) for h in (1e-4, 1e-5)}
    assert off[1e-4] / off[1e-5] == pytest.approx(10, rel=0.01)
    assert off[1e-5] > 1e-6
    assert abs((math.exp(0.3 + 1e-8) - e) / 1e-8 - e) < 1e-7


def test_e_6_by_the_number_of_parameters() -> None:
    """For three classes and 48 units, as in step 15, and two losses for each."""
    count = sum(a.size for a in init(3, 48, np.random.default_rng(0)).values())
    assert (count, 2 * count) == (2930, 5860)


def other_slope(p: Arrays, Gf: np.ndarray, passed: Arrays) -> Arrays:
    return backward(p, Gf, passed | {"slope1": passed["slope2"]})


def value_for_slope(p: Arrays, Gf: np.ndarray, passed: Arrays) -> Arrays:
    return backward(p, Gf, passed | {"slope2": passed["h2"]})


def mean_for_sum(p: Arrays, Gf: np.ndarray, passed: Arrays) -> Arrays:
    G = backward(p, Gf, passed)
    return G | {"b2": G["b2"] / len(Gf), "b3": G["b3"] / len(Gf)}


def frozen_class(p: Arrays, Gf: np.ndarray, passed: Arrays) -> Arrays:
    G = backward(p, Gf, passed)
    return G | {"E": G["E"] * np.array([[0.0], [1.0], [1.0], [1.0]])}


MISTAKES = (not_transposed, other_slope, value_for_slope, mean_for_sum, frozen_class)
WRONG: dict[str, Backward] = {f.__name__: f for f in MISTAKES}


@pytest.mark.parametrize("name", WRONG)
def test_e_6_by_losses_of_wrong_gradients(name: str) -> None:
    """With each mistake of the text the loss falls by a third in 100 plain updates."""
    losses = descend(WRONG[name], 100)
    assert losses[-20:].mean() < losses[:3].mean() * 2 / 3


@pytest.mark.slow
def test_e_6_by_two_losses_in_the_text() -> None:
    """Plain descent on the same batches is not chaotic: other processors move the digits after."""
    right = descend(backward)
    wrong = descend(not_transposed)
    assert right[0] == wrong[0] == pytest.approx(1.7, abs=0.2)
    assert right[:5].mean() == pytest.approx(1.74, abs=0.03)
    assert right[-100:].mean() == pytest.approx(0.77, abs=0.01)
    assert wrong[-100:].mean() == pytest.approx(0.79, abs=0.01)
    assert (wrong[-100:] > right[-100:]).mean() > 0.8


def differences(names: tuple[str, ...]) -> None:
    """Every number of the named gradients against a central difference of losses."""
    p, xt, tau, eps = problem()
    G = gradient(p, xt, tau, eps, Y)
    h = 1e-5
    for name in names:
        assert G[name].shape == p[name].shape
        for i in np.ndindex(p[name].shape):
            ends = []
            for moved in (p[name][i] + h, p[name][i] - h):
                q = p | {name: p[name].copy()}
                q[name][i] = moved
                ends.append(squared_error(eps, forward(q, xt, tau, Y)[0])[0])
            # Losses are near 20: rounding 20 x 1e-16 / h = 2e-10, and h^2 times a third derivative.
            assert G[name][i] == pytest.approx((ends[0] - ends[1]) / (2 * h), abs=2e-8)


def test_e_6_by_central_differences() -> None:
    differences(("Wx", "Wt", "W2", "b2", "W3", "b3"))


def test_e_6_by_torch() -> None:
    G, z = torch_gradients()
    assert sorted(G) == ["E", "W2", "W3", "Wt", "Wx", "b2", "b3"]
    for name in ("Wx", "Wt", "W2", "b2", "W3", "b3"):
        np.testing.assert_allclose(G[name], slope_of(z[name]), atol=1e-11)  # values up to 100


def test_e_6_by_the_lessons_own_check() -> None:
    """It holds, and it is a check: with a step of 1 it sees the next term of the series."""
    assert max(furthest(1e-5).values()) < 1e-9
    assert max(furthest(1.0).values()) > 1e-4


def test_e_7_by_torch() -> None:
    """A bias sees what arrives at its sums: the gradients before the bend, added over samples."""
    G, z = torch_gradients()
    slope = silu(z["a2"].detach().numpy())[1]
    np.testing.assert_allclose(G["b2"], (slope_of(z["h2"]) * slope).sum(0), atol=1e-11)
    np.testing.assert_allclose(G["b2"], slope_of(z["a2"]).sum(0), atol=1e-11)


def test_e_7_by_difference_at_one_sample() -> None:
    """Of one sample, the gradient in `b2` is that in `a_2`, entry by entry; `E`'s is `a_1`'s."""
    p, xt, tau, eps = problem()
    G = gradient(p, xt[:1], tau[:1], eps[:1], Y[:1])
    h = 1e-5
    for j in range(WIDTH):
        for name, at, found in (("b2", j, G["b2"][j]), ("E", (Y[0], j), G["E"][Y[0], j])):
            ends = []
            for step in (h, -h):
                q = p | {name: p[name].copy()}
                q[name][at] += step
                f = forward(q, xt[:1], tau[:1], Y[:1])[0]
                ends.append(((eps[:1] - f) ** 2).sum())
            assert found == pytest.approx((ends[0] - ends[1]) / (2 * h), abs=2e-8)


def test_e_8_by_central_differences() -> None:
    differences(("E",))


def test_e_8_by_torch() -> None:
    G, z = torch_gradients()
    np.testing.assert_allclose(G["E"], slope_of(z["E"]), atol=1e-11)


def test_e_8_by_samples_one_at_a_time() -> None:
    """Each sample moves its own label's row alone; label 2, in no sample, learns nothing."""
    p, xt, tau, eps = problem()
    expected = np.zeros_like(p["E"])
    for i in range(len(Y)):
        alone = gradient(p, *(a[i : i + 1] for a in (xt, tau, eps, Y)))["E"]
        assert np.flatnonzero(alone.any(1)).tolist() == [Y[i]]
        expected += alone / len(Y)
    G = gradient(p, xt, tau, eps, Y)["E"]
    np.testing.assert_allclose(G, expected, atol=ALGEBRA)
    assert not G[2].any()
