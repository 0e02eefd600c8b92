"""The recorded step: the loop it is recorded from, when it is recorded, and what if that fails.

Without a GPU, CUDA's part is played by stand-ins that fail where it fails. What is replayed is the
step that runs here; that a replay gives the same picture is tested where there is a GPU.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from kernels import dispatch, graph, philox, reference
from minicfg import Schedule, solvers
from minicfg.sampling import sample, sample_steps
from minicfg.solvers import Table

ROOT = Path(__file__).parents[2]
SCHEDULE = Schedule.cosine(100)
TABLES = {
    "ddpm": solvers.ddpm(SCHEDULE, 6),
    "looks back": Table(*vars(solvers.ddpm(SCHEDULE, 6)).values()),
    "uses the null half": Table(*vars(solvers.ddpm(SCHEDULE, 6)).values()),
    "one row": solvers.ddpm(SCHEDULE, 1),
}
for _name, _column in (("looks back", 6), ("uses the null half", 5)):
    _rows = TABLES[_name].rows.clone()
    _rows[1:, _column] = 0.1
    TABLES[_name] = Table(TABLES[_name].t, TABLES[_name].s, _rows)
Y, IDS = torch.tensor([0, 2, 1]), torch.tensor([5, 2**32 - 1, 0])


class Curved:
    """A denoiser with nothing to learn, which needs its t and y; `refusal` is raised if set."""

    num_classes = 3
    prediction = "eps"

    def __init__(self) -> None:
        self.refusal: str | None = None
        self.calls = 0

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        if self.refusal:
            raise RuntimeError(self.refusal)
        each = (-1, *[1] * (xt.ndim - 1))
        return torch.sin(xt + y.view(each)) + t.view(each) / 100


def plain(model: Curved, table: Table, w: float | Tensor, clip: float) -> list[tuple[Tensor, ...]]:
    """The loop as one would write it at once: a new x a step, and the host counts."""
    x, x0, states = philox.normal(7, IDS, 0, (2, 3)), None, []
    for k, t in enumerate(table.t.tolist()):
        y = torch.cat([Y, torch.full_like(Y, 3)])
        out = model(torch.cat([x, x]), torch.full_like(y, t), y)
        x, x0 = reference.guided_step(
            x, out, table.rows, k, w, seed=7, sample_ids=IDS, x0prev=x0, clip=clip
        )
        assert x0 is not None
        states.append((x, x0))
    return states


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest) -> Table:
    return TABLES[request.param]


@pytest.mark.parametrize("w", [1.5, 0.0, torch.tensor([0.0, 2.0, -1.0])], ids=str)
@pytest.mark.parametrize("clip", [math.inf, 1.0])
def test_steps_in_place_are_steps(table: Table, w: float | Tensor, clip: float) -> None:
    """To the bit: x, x0 and k that stay where they are, beside new ones every step."""
    wanted = plain(Curved(), table, w, clip)
    given: dict[str, Any] = dict(shape=(2, 3), w=w, seed=7, sample_ids=IDS, clip=clip)
    states = list(sample_steps(Curved(), Y, table, **given))
    assert [(s.k, s.s) for s in states] == list(enumerate(table.s.tolist()))
    for state, (x, x0) in zip(states, wanted, strict=True):
        assert torch.equal(state.x, x) and torch.equal(state.x0hat, x0)
    assert torch.equal(sample(Curved(), Y, table, **given), wanted[-1][0])


def test_a_first_row_that_looks_back_is_refused() -> None:
    rows = TABLES["ddpm"].rows.clone()
    rows[0, 6] = 0.1
    with pytest.raises(ValueError, match="looks back to a step that does not exist"):
        sample(Curved(), Y, Table(TABLES["ddpm"].t, TABLES["ddpm"].s, rows), shape=(2,))


class Cuda:
    """In the place of `torch.cuda`: a current stream, and captures that end as they are told to."""

    def __init__(self, model: Curved, begins: bool = True, refusal: str | None = None) -> None:
        self.model, self.begins, self.refusal = model, begins, refusal
        self.current, self.reset = "default", 0
        self.Stream = lambda: "side"
        self.CUDAGraph = lambda: SimpleNamespace(reset=self.count_reset, replay=None)

    def count_reset(self) -> None:
        self.reset += 1

    @contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        yield

    @contextmanager
    def stream(self, stream: str) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph: object, stream: str) -> Iterator[None]:
        """As torch's: the stream stays current if the capture does not end well."""
        if not self.begins:
            raise RuntimeError("CUDA error: out of memory\nmore about it")
        self.current, self.model.refusal = "inside", self.refusal
        try:
            yield
        finally:
            self.model.refusal = None
            raise RuntimeError("CUDA error: operation failed due to a previous error\nmore")


@pytest.fixture
def as_if_on_cuda(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(dispatch, "_fused", lambda x: False)  # steps still run on the CPU
    monkeypatch.setattr(graph, "_FAILED", [])
    return monkeypatch


@pytest.mark.parametrize(
    ("cuda", "reason"),
    [
        (dict(begins=False), "CUDA error: out of memory"),
        (dict(refusal="operation not permitted when stream is capturing"), "operation not permit"),
    ],
    ids=["before it begins", "in the network"],
)
def test_what_cannot_be_recorded_runs_as_it_is(
    cuda: dict[str, Any], reason: str, as_if_on_cuda: pytest.MonkeyPatch
) -> None:
    """Same samples, one warning with the first cause, stream restored, graph kept and emptied."""
    wanted = sample(Curved(), Y, TABLES["ddpm"], shape=(2, 3), w=1.5, capture=False)
    model = Curved()
    stand_in = Cuda(model, **cuda)
    as_if_on_cuda.setattr(graph.torch, "cuda", stand_in)
    with pytest.warns(RuntimeWarning, match=rf"not be recorded as a CUDA graph \({reason}") as told:
        found = sample(model, Y, TABLES["ddpm"], shape=(2, 3), w=1.5)
    assert len(told) == 1 and "\n" not in str(told[0].message)
    assert torch.equal(found, wanted)
    assert stand_in.current == "default" and stand_in.reset == 1 and len(graph._FAILED) == 1
    assert model.calls == len(TABLES["ddpm"]) + ("refusal" in cuda)


def test_the_second_step_is_recorded_and_stands_for_the_rest(
    as_if_on_cuda: pytest.MonkeyPatch, table: Table
) -> None:
    """The first has run by then. What the recorder gives back is what runs from there on."""
    recorded, replays = list[int](), list[int]()
    model = Curved()

    def replay_of(run: Any, device: torch.device) -> Any:
        assert device == Y.device
        recorded.append(model.calls)
        return lambda: (replays.append(model.calls), run())

    as_if_on_cuda.setattr(graph, "_replay_of", replay_of)
    found = sample(model, Y, table, shape=(2, 3), w=1.5, seed=7, sample_ids=IDS)
    assert torch.equal(found, plain(Curved(), table, 1.5, math.inf)[-1][0])
    assert recorded == [1] * (len(table) > 1)
    assert replays == list(range(1, len(table)))


def test_a_step_that_was_recorded_is_replayed(as_if_on_cuda: pytest.MonkeyPatch) -> None:
    ran = list[str]()

    @contextmanager
    def capture(graph: object, stream: str) -> Iterator[None]:
        yield

    stand_in = Cuda(Curved())
    stand_in.graph = capture
    stand_in.CUDAGraph = lambda: SimpleNamespace(replay=lambda: ran.append("replayed"))
    as_if_on_cuda.setattr(graph.torch, "cuda", stand_in)
    replay = graph._replay_of(lambda: ran.append("stepped"), torch.device("cpu"))
    assert replay is not None
    replay()
    assert ran == ["stepped", "replayed"] and not graph._FAILED


@pytest.mark.parametrize("y_is_there", [True, False])
def test_nothing_is_recorded_elsewhere_or_unasked(
    y_is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "is_cuda", y_is_there)
    monkeypatch.setattr(dispatch, "_fused", lambda x: False)
    monkeypatch.setattr(graph, "record", None)
    sample(Curved(), Y, TABLES["ddpm"], shape=(2, 3), w=1.5, capture=not y_is_there)


ON_A_GPU = """
import warnings

import torch

import minicfg
from minicfg.sampling import sample_steps

warnings.simplefilter("error")
torch.set_num_threads(1)
torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
model = minicfg.UNet(channels=1, num_classes=10, width=8).to(device).eval()
torch.nn.init.normal_(model.head.weight, std=0.1)
table = minicfg.solvers.ddpm(minicfg.Schedule.cosine(1000), 5)
y = torch.arange(4, device=device)
for w in (2.0, 0.0, torch.linspace(0, 3, 4, device=device)):
    given = dict(shape=(1, 8, 8), w=w, seed=7, clip=1.0)
    plain = minicfg.sample(model, y, table, **given, capture=False)
    states = list(sample_steps(model, y, table, **given))
    for recorded in (minicfg.sample(model, y, table, **given), states[-1].x):
        # The same kernels in the same order; a library may pick others while it is recorded.
        torch.testing.assert_close(recorded, plain, rtol=0, atol=1e-4)
    assert len({state.x.data_ptr() for state in states}) == 5
print("same")
"""


@pytest.mark.exhaustive
@pytest.mark.slow
def test_recorded_or_not_the_pictures_are_the_same() -> None:
    """On a GPU if there is one, in a process where Triton compiles; elsewhere both run as one."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-c", ON_A_GPU],
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPATH": str(ROOT)},
    )
    assert run.stdout == "same\n", run.stderr
