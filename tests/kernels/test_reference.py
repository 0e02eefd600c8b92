"""The reference against the formula in float64 NumPy; its refusals; the traffic it claims."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import kernels
from kernels import op, philox, reference

COLUMNS = "pqabcdem"
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("w", [0.0, 2.0, -1.0, "each", None])
@pytest.mark.parametrize("clip", [math.inf, 0.7])
def test_against_numpy(
    dtype: torch.dtype, w: float | str | None, clip: float, case: Callable, numpy_step, assert_exact
) -> None:
    args = case((3, 2, 5), dtype, w, clip=clip)
    assert_exact(reference.guided_step(**args), numpy_step(**args))


def test_float64_is_float64(case: Callable, numpy_step) -> None:
    """Without noise, which is float32, a float64 step is right to a few of its own roundings."""
    args = case((3, 40), torch.float64)
    args["rows"][:, 4] = 0
    xs, x0hat = reference.guided_step(**args)
    exact = numpy_step(**args)
    np.testing.assert_allclose(xs.numpy(), exact.xs, rtol=0, atol=1e-13)
    np.testing.assert_allclose(x0hat.numpy(), exact.x0hat, rtol=0, atol=1e-13)


@pytest.mark.parametrize("column", range(8), ids=list(COLUMNS))
def test_every_column_alone(column: int, case: Callable) -> None:
    """What x_s gains when one number of the row grows by one, written out by hand."""
    args = case((3, 40), torch.float64)
    before = reference.guided_step(**args)[0]
    p, q, a, m = args["rows"][1, [0, 1, 2, 7]].tolist()
    args["rows"][1, column] += 1
    gain = reference.guided_step(**args)[0] - before
    x, cond, null = args["xt"], args["out"][:3], args["out"][3:]
    g = (1 + m * 2) * cond - m * 2 * null
    noise = philox.normal_numpy(args["seed"], args["sample_ids"].numpy(), 2, (40,))
    derivative = {
        "p": a * x,
        "q": a * g,
        "a": p * x + q * g,
        "b": x,
        "c": torch.from_numpy(noise),
        "d": null,
        "e": args["x0prev"],
        "m": a * q * 2 * (cond - null),
    }[COLUMNS[column]]
    # Noise is float32 and off by 2e-6 at most; all else is float64.
    np.testing.assert_allclose(gain, derivative, rtol=0, atol=2e-6 if column == 4 else 1e-12)


def test_zero_leaves_a_term_out(case: Callable) -> None:
    """Not multiplied by 0: a NaN in a tensor that the row does not use stays there."""
    args = case((2, 8), w=None)
    args["rows"][:, 4:7] = 0
    clean = reference.guided_step(**args)[0]
    args["x0prev"].fill_(math.nan)
    assert torch.equal(reference.guided_step(**args)[0], clean)


def test_mixed_already(case: Callable) -> None:
    """w = None on the mixed output is w on the two halves, for a row that ignores the null half."""
    args = case((3, 7), torch.float64, w=1.5)
    args["rows"][:, 5], args["rows"][:, 7] = 0, 1
    halves = reference.guided_step(**args)[0]
    cond, null = args["out"].chunk(2)
    mixed = reference.guided_step(**args | dict(out=2.5 * cond - 1.5 * null, w=None))[0]
    np.testing.assert_allclose(halves, mixed, rtol=0, atol=1e-13)


def test_looking_back_needs_a_past(case: Callable) -> None:
    args = case((2, 3)) | dict(x0prev=None)
    with pytest.raises(ValueError, match=r"row 1 looks back one step \(e = .*\): x0prev is needed"):
        reference.guided_step(**args)


def test_cpu_goes_to_the_reference(case: Callable) -> None:
    args = case((3, 2, 5))
    ours, theirs = kernels.guided_step(**args), reference.guided_step(**args)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


REFUSED = [
    (dict(xt=torch.zeros(2, 3, dtype=torch.int64)), r"xt is torch.int64: float16, .* is needed"),
    (dict(out=torch.zeros(2, 3)), r"out has shape \(2, 3\): \(4, 3\) is needed .*two halves"),
    (dict(out=torch.zeros(4, 4)), r"out has shape \(4, 4\): \(4, 3\) is needed"),
    (dict(w=None), r"out has shape \(4, 3\): \(2, 3\) is needed .* with w = None"),
    (dict(rows=torch.zeros(8)), r"rows has shape \(8,\): \(n, 8\) is needed"),
    (dict(rows=torch.zeros(3, 7)), r"rows has shape \(3, 7\): \(n, 8\) is needed"),
    (dict(k=3), r"k = 3 is outside 0\.\.2"),
    (dict(k=-1), r"k = -1 is outside 0\.\.2"),
    (dict(w=torch.zeros(3)), r"w has shape \(3,\): a float or \(2,\) is needed"),
    (dict(w=math.nan), r"w = nan is not finite"),
    (dict(w=math.inf), r"w = inf is not finite"),
    (dict(sample_ids=torch.arange(3)), r"sample_ids has shape \(3,\): \(2,\) is needed"),
    (dict(x0prev=torch.zeros(2, 4)), r"x0prev has shape \(2, 4\): \(2, 3\) is needed"),
    (dict(clip=0.0), r"clip = 0\.0: a positive number or infinity is needed"),
    (dict(clip=math.nan), r"clip = nan: a positive number"),
    (dict(out=torch.zeros(4, 3, device="meta")), r"out is on meta and xt on cpu"),
    (dict(x0prev=torch.zeros(2, 3, device="meta")), r"x0prev is on meta and xt on cpu"),
    (dict(w=torch.zeros(2, device="meta")), r"w is on meta and xt on cpu"),
    (dict(sample_ids=torch.arange(2, device="meta")), r"sample_ids is on meta and xt on cpu"),
    (dict(xt=torch.zeros(2, 3, requires_grad=True)), r"a solver step has no gradient"),
    (dict(w=torch.zeros(2, requires_grad=True)), r"a solver step has no gradient"),
    (dict(seed=-1), r"seed = -1 is not an integer in 0\.\.2\^64-1"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_refusals(change: dict, message: str, case: Callable) -> None:
    args = case((2, 3))
    op.check(**args)
    with pytest.raises(ValueError, match=message):
        op.check(**args | change)


class Traffic(TorchDispatchMode):
    """Counts the tensors of `numel` or more elements that operations read and write."""

    def __init__(self, numel: int) -> None:
        super().__init__()
        self.numel, self.reads, self.writes = numel, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        view = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
        if not view:
            self.reads += sum(isinstance(a, Tensor) and a.numel() >= self.numel for a in args)
            self.writes += isinstance(result, Tensor) and result.numel() >= self.numel
        return result


@pytest.mark.slow  # the first dispatch mode of a process imports 900 modules of torch's
def test_traffic_is_what_the_docstring_says(
    case: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """17 passes that read and 13 that write; a kernel's 3 and 2 are a sixth of them."""
    monkeypatch.setattr(philox, "normal", lambda seed, ids, step, shape: torch.randn(4, *shape))
    args = case((4, 100))
    args["rows"][:, 5:7] = 0
    with Traffic(400) as traffic:
        reference.guided_step(**args)
    assert (traffic.reads, traffic.writes) == (17, 13)
    assert "17 reads and 13 writes" in " ".join((reference.__doc__ or "").split())
    assert (traffic.reads + traffic.writes) / (3 + 2) == 6
