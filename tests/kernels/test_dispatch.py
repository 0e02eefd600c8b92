"""The public faces: what they refuse, where they send a step, and the operator torch sees."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import kernels
from kernels import dispatch as op
from kernels import reference, triton_step
from tests.kernels.device import DEVICE, there_and_back

ROOT = Path(__file__).parents[2]


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
    (dict(w=torch.zeros(3)), r"w has shape \(3,\): \(2,\) is needed"),
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
    (dict(rows=torch.zeros(3, 8, device="meta")), r"rows is on meta and xt on cpu"),
    (dict(k=torch.tensor(1, device="meta")), r"k is on meta and xt on cpu"),
    (dict(out=torch.zeros(4, 3).half()), r"out is torch.float16 beside xt torch.float32: float32"),
    (dict(xt=torch.zeros(2, 3).half()), r"out is torch.float32 beside xt torch.float16: float16"),
    (dict(x0prev=torch.zeros(2, 3).double()), r"x0prev is torch.float64 .*: float32 is needed"),
    (dict(w=torch.zeros(2).int()), r"w is torch.int32 beside xt .* or float32 or float64 is"),
    (dict(rows=torch.zeros(3, 8).long()), r"rows is torch.int64 .* or float64 is needed"),
    (dict(sample_ids=torch.zeros(2)), r"sample_ids is torch.float32 .*: int32 or int64 is needed"),
    (dict(k=torch.zeros(1).long()), r"k has shape \(1,\): \(\) is needed"),
    (dict(k=torch.tensor(1.0)), r"k is torch.float32 beside xt torch.float32: int64 is needed"),
    (dict(xt=torch.tensor(1.0)), r"xt is a single number: a batch of samples is needed"),
    (dict(xt=torch.zeros(2, 3, requires_grad=True)), r"xt requires grad, and this has none"),
    (dict(out=torch.zeros(4, 3, requires_grad=True)), r"out requires grad"),
    (dict(w=torch.zeros(2, requires_grad=True)), r"w requires grad, .* torch.no_grad\(\)"),
    (dict(seed=-1), r"seed = -1 is not an integer in 0\.\.2\^64-1"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_refusals(change: dict, message: str, case: Callable) -> None:
    args = case((2, 3))
    op.check(**args)
    with pytest.raises(ValueError, match=message):
        op.check(**args | change)


@pytest.mark.usefixtures("unchecked")
def test_refusals_come_before_anything_runs(
    case: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op, "_operator", None)
    for change, message in REFUSED:
        with pytest.raises(ValueError, match=message):
            kernels.guided_step(**case((2, 3)) | change)


def test_tensors_that_require_grad_may_come_under_no_grad(case: Callable) -> None:
    args = case((2, 3))
    args["xt"].requires_grad_()
    with torch.no_grad():
        xs, _ = kernels.guided_step(**args)
    assert not xs.requires_grad


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0,)])
def test_nothing_to_do(shape: tuple[int, ...], case: Callable) -> None:
    args = case(shape)
    xs, x0hat = kernels.guided_step(**args)
    assert x0hat is not None and xs.shape == x0hat.shape == shape
    assert kernels.guided_step(**args, want_x0=False)[1] is None


@pytest.mark.parametrize("seed", [0, 2**63 - 1, 2**63, 2**64 - 1])
def test_all_64_bits_of_the_seed_arrive(seed: int, case: Callable) -> None:
    """Through an operator's integers, which have a sign."""
    args = case((2, 3)) | dict(seed=seed)
    ours, theirs = kernels.guided_step(**args), reference.guided_step(**args)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_where_a_cuda_tensor_goes(case: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is registered for CUDA, called by hand: the kernel, or for float64 the reference."""
    sent = list[str]()
    kernel, plain = triton_step.guided_step, op._anywhere

    def noted(*args: object, **options: object) -> object:
        sent.append("kernel")
        return kernel(*args, **options)  # pyright: ignore

    monkeypatch.setattr(triton_step, "guided_step", noted)
    for change, there in (
        (dict(), ["kernel"]),
        (dict(k=torch.tensor(1), w=torch.tensor([1.0, 2.0])), ["kernel"]),
        (dict(dtype=torch.float64), []),
    ):
        args = case((2, 3), change.pop("dtype", torch.float32)) | change
        with monkeypatch.context() as patch:
            patch.setattr(op, "_operator", op._on_cuda)
            run = there_and_back(kernels.guided_step)
            got = run(**args)
            assert run(**args, want_x0=False)[1] is None
        for a, b in zip(got, reference.guided_step(**args), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)  # float32, of numbers below 30
        assert sent == 2 * there
        sent.clear()
    monkeypatch.setattr(op, "HAS_TRITON", False)
    monkeypatch.setattr(op, "_operator", op._on_cuda)
    kernels.guided_step(**case((2, 3)))
    assert sent == [] and plain is op._anywhere


PROGRAM = """
import sys

import torch
from torch._dynamo.utils import counters

import kernels

device = sys.argv[1]

def case(**changes):
    g = torch.Generator().manual_seed(0)
    rows = torch.randn((3, 8), dtype=torch.float64, generator=g)
    xt, x0prev = torch.randn((2, 3, 2, 5), generator=g)
    out, ids = torch.randn((6, 2, 5), generator=g), torch.arange(3)
    args = dict(xt=xt, out=out, rows=rows, k=1, w=2.0, seed=7, sample_ids=ids, x0prev=x0prev)
    args |= changes
    return {name: v.to(device) if hasattr(v, "to") else v for name, v in args.items()}

def step(**args):
    xs, x0hat = kernels.guided_step(**args)
    return 2 * xs, x0hat

# Traced without a break, once, and once more where a number turns out to vary.
compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
groups = [
    [case(k=k) for k in range(3)],
    [case(seed=seed) for seed in (1, 2, 3, 2**63 - 1)],
    [case(seed=2**64 - 1)],
    [case(w=w) for w in (1.0, 3.0)],
    [case(w=torch.full((3,), w)) for w in (1.0, 2.0)],
    [case(k=torch.tensor(k), want_x0=False) for k in range(3)],
    [case(w=None, out=torch.ones(3, 5, 2).transpose(1, 2), clip=0.5)],
]
for group in groups:
    torch._dynamo.reset()
    counters.clear()
    for args in group:
        for got, wanted in zip(compiled(**args), step(**args), strict=True):
            assert got is wanted is None or torch.equal(got, wanted), args
    assert counters["stats"]["unique_graphs"] <= 2, counters

# What torch asks of an operator: schema, no aliases, shapes, and tracing with sizes that vary.
a = case()
for k_at, w, each, want_x0 in (
    (None, 2.0, None, True),
    (torch.tensor(1, device=device), None, torch.ones(3, device=device), True),
    (None, 2.0, None, False),
):
    inputs = a["xt"], a["out"], a["rows"], 1, k_at, w, each, 7, a["sample_ids"], a["x0prev"], 1.0
    found = torch.library.opcheck(torch.ops.minicfg.guided_step.default, (*inputs, want_x0))
    assert len(found) == 4 and set(found.values()) == {"SUCCESS"}, found
print("traced")
"""


@pytest.mark.slow
def test_torch_compile_sees_one_operator() -> None:
    """In a process of its own, without the shape checks of these tests, which do not trace."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, DEVICE],
        capture_output=True,
        text=True,
        env=environment,
        cwd="/",
    )
    assert run.stdout == "traced\n", run.stderr


# The same for a step of training


def batch(**changes: object) -> dict:
    return (
        dict(
            x0=torch.randn(4, 1, 3, 3),
            y=torch.arange(4),
            alpha_bar=torch.linspace(1, 0.1, 11, dtype=torch.float64),
            null=10,
            p_uncond=0.5,
            prediction="v",
            seed=3,
            step=1,
            sample_ids=torch.arange(4),
        )
        | changes
    )


def test_cpu_goes_to_the_reference_in_training() -> None:
    args = batch()
    ours, theirs = kernels.noised_batch(**args), reference.noised_batch(**args)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


REFUSED_BATCHES = [
    (dict(x0=torch.zeros(4, 3, dtype=torch.uint8)), r"x0 is torch.uint8: float16, .* is needed"),
    (dict(x0=torch.tensor(1.0)), r"x0 is a single number"),
    (dict(x0=torch.zeros(4, 3, requires_grad=True)), r"x0 requires grad"),
    (dict(y=torch.arange(3)), r"y has shape \(3,\): \(4,\) is needed"),
    (dict(y=torch.zeros(4)), r"y is torch.float32 beside x0 torch.float32: int64 is needed"),
    (dict(y=torch.arange(4, device="meta")), r"y is on meta and x0 on cpu"),
    (dict(alpha_bar=torch.ones(1).double()), r"alpha_bar has shape \(1,\): \(T \+ 1,\) is needed"),
    (dict(alpha_bar=torch.ones(9)), r"alpha_bar is torch.float32 .*: float64 is needed"),
    (dict(p_uncond=1.5), r"p_uncond = 1.5 is outside 0\.\.1"),
    (dict(p_uncond=math.nan), r"p_uncond = nan is outside"),
    (dict(prediction="score"), r"prediction = 'score': eps, x0 or v is needed"),
    (dict(seed=2**64), r"seed = 18446744073709551616 is not an integer in 0\.\.2\^64-1"),
    (dict(step=-1), r"step = -1 is outside 0\.\.2\^32-1"),
    (dict(sample_ids=torch.arange(5)), r"sample_ids has shape \(5,\): \(4,\) is needed"),
    (dict(sample_ids=torch.zeros(4)), r"sample_ids is torch.float32 .*: int32 or int64"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("change", "message"), REFUSED_BATCHES)
def test_refused_batches(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernels.noised_batch(**batch(**change))
