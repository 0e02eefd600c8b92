"""Sampling that starts from pictures, by laws that are known and by what must not change."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from kernels import philox
from minicfg import Schedule, guide, sample, solvers
from minicfg.editing import image_to_image, inpaint, noised
from minicfg.errors import UsageError
from minicfg.guidance import dynamic_threshold

SCHEDULE = Schedule.cosine(40)
TABLE = solvers.ddim(SCHEDULE)
Y = torch.tensor([0, 1, 0])
X0 = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)


class OneGaussian:
    """E[eps | x_t] of data N(m, v) pixel by pixel, with m = +-0.5 by class and 0 for the null."""

    num_classes, prediction = 2, "eps"
    var = 0.04

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        abar = SCHEDULE.alpha_bar[int(t[0])]
        mean = torch.tensor([-0.5, 0.5, 0.0], dtype=torch.float64)[y].reshape(-1, 1, 1)
        away = xt.double() - abar.sqrt() * mean
        return ((1 - abar).sqrt() * away / (abar * self.var + 1 - abar)).to(xt.dtype)


MODEL = OneGaussian()


def test_all_the_way_is_a_sample() -> None:
    """At T the cosine schedule keeps 2e-5 of the signal's amplitude squared: 0.005 of x_0."""
    x = image_to_image(MODEL, X0, Y, TABLE, SCHEDULE, strength=1.0, w=1.5, seed=4)
    plain = sample(MODEL, Y, TABLE, shape=(2, 4), w=1.5, seed=4)
    torch.testing.assert_close(x, plain, rtol=0, atol=0.02)
    assert not torch.equal(x, plain)


def test_all_the_way_of_a_flow_is_a_sample_exactly() -> None:
    """At u = 1 nothing is left of the pictures, and halfway something is."""

    class Shrinks:
        num_classes, prediction = 2, "velocity"

        def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
            return 0.5 * xt + y.reshape(-1, 1, 1)

    schedule = Schedule.flow(40)
    table = solvers.ddim(schedule, 8, "velocity")
    plain = sample(Shrinks(), Y, table, shape=(2, 4), w=1.5, seed=4)
    edit = partial(image_to_image, Shrinks(), X0, Y, table, schedule, w=1.5, seed=4)
    assert torch.equal(edit(strength=1.0), plain)
    assert not torch.equal(edit(strength=0.5), plain)
    eps = philox.normal(4, torch.arange(3), 0, (2, 4))
    # The state of the flow at u = 1/2, divided by its scale; a few roundings of numbers below 4.
    halfway = (X0 + eps) / 2 / 0.5**0.5
    torch.testing.assert_close(noised(X0, 20, schedule, eps), halfway, rtol=0, atol=4e-6)


def test_none_of_the_way_is_the_picture() -> None:
    assert torch.equal(image_to_image(MODEL, X0, Y, TABLE, SCHEDULE, strength=0.0), X0)


def test_part_of_the_way_is_the_probability_flow_by_hand() -> None:
    """DDIM of a Gaussian is affine: each row multiplies what is off the class's mean.

    10 of 40 rows, from x_10; the factor of each row by the formula of step 17, float64. float32
    rows err by 1e-6.
    """
    x = image_to_image(MODEL, X0, Y, TABLE, SCHEDULE, strength=0.25, seed=1)
    abar, mean = SCHEDULE.alpha_bar, torch.tensor([-0.5, 0.5, -0.5]).double().reshape(3, 1, 1)
    eps = philox.normal(1, torch.arange(3), 0, (2, 4)).double()
    off = abar[10].sqrt() * (X0.double() - mean) + (1 - abar[10]).sqrt() * eps
    for t in range(10, 0, -1):
        var_t = abar[t] * MODEL.var + 1 - abar[t]
        kept = abar[t].sqrt() * MODEL.var / var_t  # of E[x_0 | x_t], what is off the mean
        noise = (1 - abar[t]).sqrt() / var_t
        off = (abar[t - 1].sqrt() * kept + (1 - abar[t - 1]).sqrt() * noise) * off
    torch.testing.assert_close(x.double(), mean + off, rtol=0, atol=5e-6)


def test_a_mix_of_two_images_gives_the_mix_of_their_results() -> None:
    """This model is affine, so the middle is the middle, to float32 rounding."""
    given = {"strength": 0.5, "w": 1.0, "seed": 2}
    a = image_to_image(MODEL, X0, Y, TABLE, SCHEDULE, **given)
    b = image_to_image(MODEL, X0.flip(0), Y, TABLE, SCHEDULE, **given)
    middle = image_to_image(MODEL, (X0 + X0.flip(0)) / 2, Y, TABLE, SCHEDULE, **given)
    torch.testing.assert_close(middle, (a + b) / 2, rtol=0, atol=1e-5)


def test_what_is_known_comes_out_as_it_went_in_and_the_rest_does_not() -> None:
    known = torch.zeros(3, 2, 4, dtype=torch.bool)
    known[:, :, :2] = True
    x = inpaint(MODEL, X0, known, Y, solvers.ddpm(SCHEDULE), SCHEDULE, w=1.0, seed=3)
    assert torch.equal(x[known], X0[known])
    # Pixels are independent under this model: the rest is what a sample has there.
    plain = sample(MODEL, Y, solvers.ddpm(SCHEDULE), shape=(2, 4), w=1.0, seed=3)
    assert torch.equal(x[~known], plain[~known])


def test_noised_at_0_is_the_picture() -> None:
    assert torch.equal(noised(X0, 0, SCHEDULE, torch.ones_like(X0)), X0)


@pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
def test_strength_is_refused(strength: float) -> None:
    with pytest.raises(UsageError, match=r"strength = .* is outside 0..1"):
        image_to_image(MODEL, X0, Y, TABLE, SCHEDULE, strength=strength)


def test_what_else_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"strength = 0.5 begins at row 20 .* looks back to a step that does not"
    ):
        image_to_image(MODEL, X0, Y, solvers.dpmpp_2m(SCHEDULE), SCHEDULE, strength=0.5)


def test_another_schedule_than_the_tables_is_refused() -> None:
    other = Schedule.linear(40)
    known = torch.zeros(X0.shape, dtype=torch.bool)
    for edit in (
        partial(image_to_image, MODEL, X0, Y, TABLE, other, strength=0.5),
        partial(image_to_image, MODEL, X0, Y, TABLE, other, strength=0.0),
        partial(inpaint, MODEL, X0, known, Y, TABLE, other),
    ):
        with pytest.raises(UsageError, match=r"schedule is 'linear' .* made from 'cosine'"):
            edit()


@pytest.mark.usefixtures("unchecked")
def test_a_mask_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"known is torch.float32"):
        inpaint(MODEL, X0, X0, Y, TABLE, SCHEDULE)


BAD = [
    ("bytes", (X0 * 100).byte(), r"x0 is torch.uint8"),
    ("not finite", X0 / 0, "3 images of finite floats"),
    ("bytes in floating point", (X0 + 1) * 127.5, "reaches .* in absolute value; pass images on"),
    ("one for three labels", X0[:1], r"x0 is torch.float32 \(1, 2, 4\); pass 3 images"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("x0", "said"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_pictures_that_are_none_are_refused(x0: Tensor, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        image_to_image(MODEL, x0, Y, TABLE, SCHEDULE, strength=0.0)
    with pytest.raises(UsageError, match=said):
        inpaint(MODEL, x0, torch.ones_like(x0, dtype=torch.bool), Y, TABLE, SCHEDULE)


def test_a_sample_somewhat_outside_the_data_is_edited() -> None:
    """An unclipped chain may end there."""
    x0 = X0 * 4
    assert torch.equal(image_to_image(MODEL, x0, Y, TABLE, SCHEDULE, strength=0.0), x0)


def test_the_largest_absolute_value_is_10() -> None:
    x0 = X0 / X0.abs().max() * 10
    assert torch.equal(image_to_image(MODEL, x0, Y, TABLE, SCHEDULE, strength=0.0), x0)
    with pytest.raises(UsageError, match=r"x0 reaches 10\.01 in absolute value"):
        image_to_image(MODEL, 1.001 * x0, Y, TABLE, SCHEDULE, strength=0.0)


@pytest.mark.parametrize("w", [2.0, -1.5, torch.tensor([-0.5, 0.0, 0.1])])
def test_a_weight_that_cfgpp_does_not_have_is_refused(w: float | Tensor) -> None:
    table = solvers.cfgpp(SCHEDULE)
    known = torch.zeros(X0.shape, dtype=torch.bool)
    with pytest.raises(UsageError, match=r"w = .* is outside -1\.\.0, the range of this table"):
        image_to_image(MODEL, X0, Y, table, SCHEDULE, strength=1.0, w=w)
    with pytest.raises(UsageError, match=r"w = .* is outside -1\.\.0, the range of this table"):
        inpaint(MODEL, X0, known, Y, table, SCHEDULE, w=w)


@pytest.mark.parametrize("t", [-1, 41])
def test_times_outside_the_schedule_are_refused(t: int) -> None:
    """An index of -1 would be the noisiest time of all."""
    with pytest.raises(UsageError, match=f"t = {t} is outside 0..40"):
        noised(X0, t, SCHEDULE, X0)


@pytest.mark.parametrize("e", [-0.1, 0.1])
def test_a_first_row_that_looks_back_is_refused(e: float) -> None:
    rows = TABLE.rows.clone()
    rows[-20, 6] = e
    table = replace(TABLE, rows=rows)
    with pytest.raises(UsageError, match="begins at row 20 of the table, which looks back"):
        image_to_image(MODEL, X0, Y, table, SCHEDULE, strength=0.5)
    image_to_image(MODEL, X0, Y, table, SCHEDULE, strength=0.75)


def test_by_default_the_seed_is_0_and_w_is_0() -> None:
    known = X0 > 0
    edits = (
        partial(image_to_image, MODEL, X0, Y, TABLE, SCHEDULE, strength=0.5),
        partial(inpaint, MODEL, X0, known, Y, TABLE, SCHEDULE),
    )
    for edit in edits:
        assert torch.equal(edit(), edit(w=0.0, seed=0))
        assert not torch.equal(edit(), edit(seed=1))


def test_a_rule_is_heeded() -> None:
    """At the last row x is the guess, which this rule has shrunk."""
    given = {"w": 3.0, "seed": 2}
    rule = partial(dynamic_threshold, bound=0.1, P=0.5)
    known = torch.zeros(X0.shape, dtype=torch.bool)
    for edit in (
        partial(image_to_image, MODEL, X0, Y, TABLE, SCHEDULE, strength=0.5),
        partial(inpaint, MODEL, X0, known, Y, TABLE, SCHEDULE),
    ):
        assert edit(**given, rule=rule).abs().max() <= 0.1 + 1e-6  # rounding
        assert edit(**given).abs().max() > 0.5
        assert torch.equal(edit(**given, rule=guide), edit(**given))
