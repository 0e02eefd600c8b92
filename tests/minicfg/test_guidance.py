"""The mix at its end points, per sample, and the one conversion between conventions."""

from __future__ import annotations

import math

import pytest
import torch

from minicfg import guide
from minicfg.errors import UsageError
from minicfg.guidance import scale_from_w, w_from_scale

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
    with pytest.raises(UsageError, match=f"w = {w} is not a finite number"):
        guide(COND, NULL, w)
