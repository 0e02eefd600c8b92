"""The mix at its end points, per sample, the other convention, and rules against the lecture."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from minicfg import guide
from minicfg.errors import UsageError
from minicfg.guidance import apg, dynamic_threshold, rescale, scale_from_w, w_from_scale
from tutorial import step19_rules

COND, NULL = torch.randn(2, 4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
ROUNDING = 1e-6  # float32, three operations on numbers of order ten


def test_w_0_is_the_conditional_model_to_the_bit() -> None:
    assert torch.equal(guide(COND, NULL, 0.0), COND)


def test_w_minus_1_is_the_unconditional_model() -> None:
    torch.testing.assert_close(guide(COND, NULL, -1.0), NULL, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("w", [0.3, 2.0, 7.5])
def test_is_the_papers_equation_6(w: float) -> None:
    torch.testing.assert_close(
        guide(COND, NULL, w), (1 + w) * COND - w * NULL, atol=4 * (1 + w) * ROUNDING, rtol=0
    )


def test_is_the_other_convention_with_scale_1_plus_w() -> None:
    scale = scale_from_w(2.0)
    assert scale == 3.0
    torch.testing.assert_close(
        guide(COND, NULL, w_from_scale(scale)), NULL + scale * (COND - NULL), atol=1e-5, rtol=0
    )


def test_one_w_a_sample() -> None:
    w = torch.tensor([0.0, -1.0, 1.0, 3.5])
    for i in range(4):
        alone = guide(COND[i : i + 1], NULL[i : i + 1], float(w[i]))
        torch.testing.assert_close(guide(COND, NULL, w)[i : i + 1], alone, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("w", [math.nan, math.inf, -math.inf])
def test_w_that_is_no_number_is_refused(w: float) -> None:
    with pytest.raises(ValueError, match=f"w = {w} is not a finite number"):
        guide(COND, NULL, w)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("n", [1, 3, 5])
def test_weights_for_other_samples_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match=rf"w has shape \({n},\); .* one per sample: \(4,\)"):
        guide(COND, NULL, torch.ones(n))


# Of a row: what the guess has of x_t and of the output.
XT, P, Q = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1)), 1.6, -1.3
RULES = [
    (rescale, step19_rules.rescale, {"phi": 0.7}),
    (rescale, step19_rules.rescale, {"phi": 1.0}),
    (dynamic_threshold, step19_rules.dynamic_threshold, {"P": 0.9, "bound": 1.0}),
    (dynamic_threshold, step19_rules.dynamic_threshold, {"P": 1.0, "bound": 2.0}),
    (apg, step19_rules.apg, {"eta": 0.0}),
    (apg, step19_rules.apg, {"eta": 0.3, "r": 5.0}),
]


@pytest.mark.parametrize(("ours", "lectures", "parameter"), RULES)
@pytest.mark.parametrize("w", [0.0, 2.0])
def test_rules_are_the_lectures(
    ours: Callable[..., torch.Tensor],
    lectures: Callable[..., np.ndarray],
    parameter: dict[str, float],
    w: float,
) -> None:
    found = ours(COND, NULL, w, XT, P, Q, **parameter)
    arrays = (a.double().numpy() for a in (COND, NULL, XT))
    cond, null, xt = arrays
    wanted = lectures(cond, null, w, xt, P, Q, **parameter)
    # float32, two dozen operations on numbers up to thirty
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=3e-5)


NEUTRAL = [
    partial(rescale, phi=0.0),
    partial(dynamic_threshold, bound=math.inf),
    partial(dynamic_threshold, bound=float("inf")),  # another object
    partial(dynamic_threshold, bound=100.0),
    partial(apg, eta=1.0),
]


@pytest.mark.parametrize("rule", NEUTRAL)
def test_rules_at_their_neutral_parameter_are_the_mix(rule: Callable[..., torch.Tensor]) -> None:
    plain = guide(COND, NULL, 2.0)
    torch.testing.assert_close(rule(COND, NULL, 2.0, XT, P, Q), plain, atol=1e-5, rtol=0)
    each = torch.tensor([0.0, -1.0, 1.0, 3.5])
    torch.testing.assert_close(
        rule(COND, NULL, each, XT, P, Q), guide(COND, NULL, each), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("rule", "parameter", "allowed"),
    [
        (rescale, {"phi": -0.1}, "in 0..1"),
        (rescale, {"phi": 1.1}, "in 0..1"),
        (rescale, {"phi": math.nan}, "in 0..1"),
        (dynamic_threshold, {"P": -0.1}, "in 0..1"),
        (dynamic_threshold, {"P": 99.5}, "in 0..1"),
        (dynamic_threshold, {"P": math.nan}, "in 0..1"),
        (dynamic_threshold, {"bound": 0.0}, "above 0"),
        (dynamic_threshold, {"bound": -1.0}, "above 0"),
        (dynamic_threshold, {"bound": math.nan}, "above 0"),
        (apg, {"eta": -0.1}, "in 0..1"),
        (apg, {"eta": 1.5}, "in 0..1"),
        (apg, {"eta": math.nan}, "in 0..1"),
        (apg, {"r": 0.0}, "above 0"),
        (apg, {"r": -2.0}, "above 0"),
        (apg, {"r": math.nan}, "above 0"),
    ],
    ids=lambda a: getattr(a, "__name__", str(a)),
)
def test_parameters_that_cannot_be_are_refused(
    rule: Callable[..., torch.Tensor], parameter: dict[str, float], allowed: str
) -> None:
    ((name, value),) = parameter.items()
    with pytest.raises(UsageError, match=f"{name} = {value}; pass a number {allowed}"):
        rule(COND, NULL, 2.0, XT, P, Q, **parameter)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("rule", [rescale, dynamic_threshold, apg])
def test_shapes_that_would_be_broadcast_are_refused(rule: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="out_null"):
        rule(COND, NULL[:1], 2.0, XT, P, Q)
    if rule is not rescale:  # which does not look at x_t
        with pytest.raises(UsageError, match=r"xt has shape \(1, 3, 5, 5\) and out_cond \(4, "):
            rule(COND, NULL, 2.0, XT[:1], P, Q)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_conventions_refuse_what_is_no_weight(bad: float) -> None:
    with pytest.raises(UsageError, match=f"w = {bad}"):
        scale_from_w(bad)
    with pytest.raises(UsageError, match=f"scale = {bad}"):
        w_from_scale(bad)


@pytest.mark.parametrize("scale", [1e-3, 0.2, 30.0])
def test_rescale_has_no_unit(scale: float) -> None:
    """Both outputs in another unit: the result in this unit, also where deviations are below 1."""
    found = rescale(scale * COND, scale * NULL, 2.0, XT, P, Q, phi=0.7)
    expected = scale * rescale(COND, NULL, 2.0, XT, P, Q, phi=0.7)
    torch.testing.assert_close(found, expected, rtol=0, atol=20 * scale * ROUNDING)


def test_rules_without_deviation_guess_or_difference_have_no_nan() -> None:
    one, zero = torch.ones(2, 3), torch.zeros(2, 3)
    assert torch.equal(rescale(one, zero, 2.0, one, P, Q, phi=1.0), 3 * one)
    assert torch.equal(rescale(zero, zero, 2.0, zero, P, Q, phi=1.0), zero)
    for out in (apg(zero, one, 2.0, zero, P, Q), apg(one, one, 2.0, one, P, Q, r=0.1)):
        assert out.isfinite().all()
    assert torch.equal(apg(one, one, 2.0, one, P, Q, r=0.1), one)
    assert torch.equal(dynamic_threshold(zero, zero, 2.0, zero, P, Q), zero)


def test_ends_of_each_range_are_allowed_and_the_defaults_are_the_papers() -> None:
    given = (COND, NULL, 2.0, XT, P, Q)
    for rule in (rescale, dynamic_threshold, apg):
        name = {rescale: "phi", dynamic_threshold: "P", apg: "eta"}[rule]
        for end in (0.0, 1.0):
            assert rule(*given, **{name: end}).isfinite().all()
    assert torch.equal(rescale(*given), rescale(*given, phi=0.7))
    assert torch.equal(dynamic_threshold(*given), dynamic_threshold(*given, P=0.995, bound=1.0))
    assert torch.equal(apg(*given), apg(*given, eta=0.0, r=math.inf))
