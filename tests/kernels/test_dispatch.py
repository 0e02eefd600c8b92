"""The public functions: what they refuse, where a step runs, and that `torch.compile` traces it."""

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
from tests.kernels.device import there_and_back

ROOT = Path(__file__).parents[2]


def test_cpu_goes_to_the_reference(case: Callable) -> None:
    args = case((3, 2, 5))
    ours, theirs = kernels.guided_step(**args), reference.guided_step(**args)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


REFUSED = [
    (
        dict(xt=torch.zeros(2, 3, dtype=torch.int64)),
        r"xt is torch.int64; pass float16, .* or float64",
    ),
    (dict(out=torch.zeros(2, 3)), r"out has shape \(2, 3\); pass \(4, 3\) for .*two halves"),
    (dict(out=torch.zeros(4, 4)), r"out has shape \(4, 4\); pass \(4, 3\)"),
    (dict(w=None), r"out has shape \(4, 3\); pass \(2, 3\) for .* with w = None"),
    (dict(rows=torch.zeros(8)), r"rows has shape \(8,\); pass a table of shape \(n, 8\)"),
    (dict(rows=torch.zeros(3, 7)), r"rows has shape \(3, 7\); pass a table of shape \(n, 8\)"),
    (dict(k=3), r"k = 3 is outside 0\.\.2"),
    (dict(k=-1), r"k = -1 is outside 0\.\.2"),
    (dict(w=torch.zeros(3)), r"w has shape \(3,\); pass \(2,\)"),
    (dict(w=math.nan), r"w = nan is not a finite"),
    (dict(w=math.inf), r"w = inf is not a finite"),
    (dict(sample_ids=torch.arange(3)), r"sample_ids has shape \(3,\); pass \(2,\)"),
    (dict(x0prev=torch.zeros(2, 4)), r"x0prev has shape \(2, 4\); pass \(2, 3\)"),
    (dict(clip=0.0), r"clip = 0\.0; pass a positive number, or infinity"),
    (dict(clip=math.nan), r"clip = nan; pass a positive number"),
    (dict(out=torch.zeros(4, 3, device="meta")), r"out is on meta and xt on cpu"),
    (dict(x0prev=torch.zeros(2, 3, device="meta")), r"x0prev is on meta and xt on cpu"),
    (dict(w=torch.zeros(2, device="meta")), r"w is on meta and xt on cpu"),
    (dict(sample_ids=torch.arange(2, device="meta")), r"sample_ids is on meta and xt on cpu"),
    (dict(rows=torch.zeros(3, 8, device="meta")), r"rows is on meta and xt on cpu"),
    (dict(k=torch.tensor(1, device="meta")), r"k is on meta and xt on cpu"),
    (
        dict(out=torch.zeros(4, 3).half()),
        r"out is torch.float16 and xt torch.float32; pass out as float32",
    ),
    (
        dict(xt=torch.zeros(2, 3).half()),
        r"out is torch.float32 and xt torch.float16; pass out as float16",
    ),
    (dict(x0prev=torch.zeros(2, 3).double()), r"x0prev is torch.float64 .* pass x0prev as float32"),
    (dict(w=torch.zeros(2).int()), r"w is torch.int32 and xt .* or float32 or float64"),
    (dict(rows=torch.zeros(3, 8).long()), r"rows is torch.int64 .* or float64"),
    (dict(sample_ids=torch.zeros(2)), r"sample_ids is torch.float32 .* as int32 or int64"),
    (dict(k=torch.zeros(1).long()), r"k has shape \(1,\); pass \(\)"),
    (dict(k=torch.tensor(1.0)), r"k is torch.float32 and xt torch.float32; pass k as int64"),
    (dict(xt=torch.tensor(1.0)), r"xt is a single number; pass a batch of samples"),
    (dict(xt=torch.zeros(2, 3, requires_grad=True)), r"xt requires grad, and this step has none"),
    (dict(out=torch.zeros(4, 3, requires_grad=True)), r"out requires grad"),
    (dict(w=torch.zeros(2, requires_grad=True)), r"w requires grad, .* torch.no_grad\(\)"),
    (dict(seed=-1), r"seed = -1 is not an integer in 0\.\.2\^64-1"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_refusals(change: dict, message: str, case: Callable) -> None:
    args = case((2, 3))
    op.check_step(**args)
    with pytest.raises(ValueError, match=message):
        op.check_step(**args | change)


@pytest.mark.usefixtures("unchecked")
def test_a_row_index_that_is_no_integer_is_refused(case: Callable) -> None:
    with pytest.raises(ValueError, match=r"k = 0.5 is not an integer; pass the index of a row"):
        op.check_step(**case((2, 3)) | {"k": 0.5})


@pytest.mark.usefixtures("unchecked")
def test_refusals_come_before_anything_runs(
    case: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "guided_step", None)
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
    args = case((2, 3)) | dict(seed=seed)
    ours, theirs = kernels.guided_step(**args), reference.guided_step(**args)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_where_a_cuda_tensor_goes(case: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the kernel; in float64, or without Triton, to the reference."""
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    assert op._fused(torch.zeros(1)) and not op._fused(torch.zeros(1, dtype=torch.float64))
    with monkeypatch.context() as patch:
        patch.setattr(op, "HAS_TRITON", False)
        assert not op._fused(torch.zeros(1))
    monkeypatch.undo()
    assert not op._fused(torch.zeros(1))


def test_a_fused_step_is_the_kernels(case: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = triton_step.guided_step
    launched = list[str]()

    def counted(*args: object, **options: object) -> object:
        launched.append("kernel")
        return kernel(*args, **options)  # pyright: ignore

    monkeypatch.setattr(triton_step, "guided_step", counted)
    monkeypatch.setattr(op, "_fused", lambda x: True)
    for change in (dict(), dict(k=torch.tensor(1), w=torch.tensor([1.0, 2.0]))):
        args = case((2, 3)) | change
        run = there_and_back(kernels.guided_step)
        got = run(**args)
        assert run(**args, want_x0=False)[1] is None
        for a, b in zip(got, reference.guided_step(**args), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)  # float32, of numbers below 30
    assert launched == 4 * ["kernel"]


LOOP = """
import sys

import torch
from torch._dynamo.utils import counters

import kernels
from kernels import dispatch

g = torch.Generator().manual_seed(0)
rows = torch.randn((4, 8), dtype=torch.float64, generator=g)
xt, x0prev = torch.randn((2, 3, 2, 4, 5), generator=g)
net = torch.nn.Conv2d(2, 2, 3, padding=1)
ids = torch.arange(3)


def loop(x, x0hat, w, seed, k_is_tensor):
    for k in range(len(rows)):
        k = torch.tensor(k) if k_is_tensor else k
        out = net(torch.cat([x, x + 1]))
        x, x0hat = kernels.guided_step(
            x, out, rows, k, w, seed=seed, sample_ids=ids, x0prev=x0hat, clip=2.0
        )
    return 2 * x, x0hat

"""
ON_THE_CPU = (
    LOOP
    + """
# The whole loop in one graph: fullgraph refuses any break.
import sys

compiled = torch.compile(loop, fullgraph=True, backend="aot_eager")
w = torch.tensor([0.0, 2.0, -1.0]) if sys.argv[1] == "one w per sample" else 2.0
k_is_tensor = sys.argv[2] == "k in a tensor"
with torch.no_grad():
    for seed in (1, 2**64 - 1):
        torch._dynamo.reset()
        args = xt, x0prev, w, seed, k_is_tensor
        for got, wanted in zip(compiled(*args), loop(*args), strict=True):
            # The noise's logarithms and cosines are those of the same torch: only the order of
            # two sums may differ, of numbers below 100.
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
assert not counters["graph_break"], counters
print("traced")
"""
)
FOR_A_GPU = (
    LOOP
    + """
# As if these tensors were on a GPU. The graph that torch.compile would hand to its compiler is kept
# and not run: it has one launch of the kernel per step.
import torch.utils._triton

torch.utils._triton.has_triton = lambda: True
dispatch._fused = lambda x: True
launches = []

class Traced(Exception):
    pass


def keep(module, inputs):
    launches.extend(n for n in module.graph.nodes if "triton_kernel_wrapper" in str(n.target))

    def end(*_):
        raise Traced

    return end


for k_is_tensor in (True, False):
    torch._dynamo.reset()
    launches.clear()
    try:
        with torch.no_grad():
            torch.compile(loop, fullgraph=True, backend=keep)(xt, x0prev, 2.0, 7, k_is_tensor)
    except Traced:
        assert len(launches) == 4, launches
    else:
        raise AssertionError("nothing was traced")
print("traced")
"""
)


def run_apart(program: str, *arguments: str) -> None:
    """In a process of its own, without the shape checks of these tests, which do not trace."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPATH": str(ROOT)},
        cwd="/",
    )
    assert run.stdout == "traced\n", run.stderr


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("k", ["k as an integer", "k in a tensor"])
@pytest.mark.parametrize("w", ["one w", "one w per sample"])
def test_a_compiled_loop_on_the_cpu_has_no_break(w: str, k: str) -> None:
    run_apart(ON_THE_CPU, w, k)


@pytest.mark.slow
def test_a_compiled_loop_for_a_gpu_has_no_break() -> None:
    run_apart(FOR_A_GPU)


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
    (
        dict(x0=torch.zeros(4, 3, dtype=torch.uint8)),
        r"x0 is torch.uint8; pass float16, .* or float64",
    ),
    (dict(x0=torch.tensor(1.0)), r"x0 is a single number"),
    (dict(x0=torch.zeros(4, 3, requires_grad=True)), r"x0 requires grad"),
    (dict(y=torch.arange(3)), r"y has shape \(3,\); pass \(4,\)"),
    (dict(y=torch.zeros(4)), r"y is torch.float32 and x0 torch.float32; pass y as int64"),
    (dict(y=torch.arange(4, device="meta")), r"y is on meta and x0 on cpu"),
    (dict(alpha_bar=torch.ones(1).double()), r"alpha_bar has shape \(1,\); pass \(T \+ 1,\)"),
    (dict(alpha_bar=torch.ones(9)), r"alpha_bar is torch.float32 .* as float64"),
    (dict(p_uncond=1.5), r"p_uncond = 1.5 is outside 0\.\.1"),
    (dict(p_uncond=math.nan), r"p_uncond = nan is outside"),
    (dict(prediction="score"), r"prediction = 'score'; pass 'eps', 'x0', 'v' or 'velocity'"),
    (dict(seed=2**64), r"seed = 18446744073709551616 is not an integer in 0\.\.2\^64-1"),
    (dict(step=-1), r"step = -1 is outside 0\.\.2\^32-1"),
    (dict(step=1.9), r"step = 1.9 is outside 0\.\.2\^32-1 or not an integer"),
    (dict(sample_ids=torch.arange(5)), r"sample_ids has shape \(5,\); pass \(4,\)"),
    (dict(sample_ids=torch.zeros(4)), r"sample_ids is torch.float32 .* as int32 or int64"),
    (dict(null=3.7), r"null = 3.7; pass the null label as an integer"),
    (dict(null=-5), r"null = -5; pass the null label"),
    (dict(null=3), r"y holds 0\.\.3 and null = 3; pass labels in 0\.\.K-1 and null = K"),
    (dict(y=torch.arange(4) - 1), r"y holds -1\.\.2 and null = 10"),
    (dict(alpha_bar=torch.tensor([1, math.nan]).double()), r"alpha_bar holds nan\.\.nan"),
    (dict(alpha_bar=torch.tensor([1.5, 0.5]).double()), r"alpha_bar holds 0.5\.\.1.5; pass"),
    (dict(alpha_bar=torch.tensor([1, -0.1]).double()), r"alpha_bar holds -0.1\.\.1; pass"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("change", "message"), REFUSED_BATCHES)
def test_refused_batches(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernels.noised_batch(**batch(**change))
