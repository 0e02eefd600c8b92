"""One run by 1, 2 or 4 processes: the same weights to float64's rounding, and what a death leaves.

The processes are forked here and meet over gloo by `minicfg.distributed.process_group` itself, as
torchrun's do; `test_run_folder.py` has torchrun's own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # the optimiser needs it, and forks of this process then have it
from safetensors.torch import load_file, save_file
from torch.distributed import TCPStore

from minicfg.cli.train import run_train
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.distributed import Ranks, process_group
from minicfg.errors import MachineError
from minicfg.io.checkpoint import load_state
from minicfg.training import TrainState, train_steps
from tests.minicfg.headers import metadata_of
from tests.minicfg.logs import log_without_times

MESSAGE = 512  # bytes of a rank's environment; a pipe neither splits nor joins so few
TINY = TrainConfig(width=8, multipliers=(1, 2), steps=12, batch=6, T=20, seed=5)


@contextmanager
def meeting_place() -> Iterator[dict[str, str]]:
    """The environment by which ranks find one another: a store, kept open by this process.

    torchrun does the same. A port that is only looked up, closed, and opened again by rank 0 may be
    another process's by then.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    yield {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }


def exit_codes(world: int, run: Callable[[], int], seconds: float = 120) -> list[int]:
    """Run `run` in `world` processes that know of one another; their exit codes, or minus a signal.

    All are forked before the store exists. Its thread looks up the name of each caller, and a
    process that is forked meanwhile gets the C library's lock of names, locked for ever.

    Fails if one of them still runs after so many seconds, and then kills them all.
    """
    waits, tells = os.pipe()
    children = [start_rank(rank, world, run, (waits, tells)) for rank in range(world)]
    os.close(waits)
    codes: dict[int, int] = {}
    deadline = time.monotonic() + seconds
    try:
        with meeting_place() as environment:
            for _ in children:
                os.write(tells, json.dumps(environment).encode().ljust(MESSAGE))
            while len(codes) < world:
                assert time.monotonic() < deadline, f"a rank still runs after {seconds} s"
                for child in set(children) - codes.keys():
                    ended, status = os.waitpid(child, os.WNOHANG)
                    if ended:
                        codes[child] = os.waitstatus_to_exitcode(status)
                time.sleep(0.02)
    finally:
        os.close(tells)
        for child in set(children) - codes.keys():
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return [codes[child] for child in children]


def start_rank(rank: int, world: int, run: Callable[[], int], pipe: tuple[int, int]) -> int:
    """Fork a process that is one of the ranks; its number. It reads its environment from a pipe."""
    child = os.fork()
    if child:
        return child
    code = 1
    # A fork has none of the threads of its parent. If tests before this one made a pool of threads,
    # the first parallel loop of the child would wait for it for ever.
    torch.set_num_threads(1)
    try:
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world}
        waits, tells = pipe
        os.close(tells)
        environment = json.loads(os.read(waits, MESSAGE))
        os.environ.update(environment | {name: str(value) for name, value in own.items()})
        code = run()
    except MachineError as error:
        print(error, file=sys.stderr)
        code = 4
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def last(states: Iterator[TrainState]) -> TrainState:
    """The last state of a run, which takes every step of it."""
    state = next(states)
    for following in states:
        state = following
    return state


def images(n: int = 20) -> Dataset:
    x = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Dataset(x, torch.arange(n) % 2, ("a", "b"), "noise")


def train_in_float64(out: Path) -> int:
    """Twelve steps with weights, images and sums in float64; rank r leaves what it ended with."""
    data = images()
    torch.set_default_dtype(torch.float64)
    object.__setattr__(data, "x", data.x.double())  # a data set is float32, this one excepted
    with process_group() as group:
        state = last(train_steps(data, TINY, ranks=group))
        found = {f"model.{n}": p for n, p in state.model.state_dict().items()}
        found |= {f"ema.{n}": p for n, p in state.ema.state_dict().items()}
        found["loss"] = torch.tensor(state.loss)
        assert found["model.stem.weight"].dtype == torch.float64
        save_file({n: p.contiguous() for n, p in found.items()}, out / f"{group.rank}.safetensors")
    return 0


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_one_two_and_four_ranks_are_one_run_to_float64(tmp_path: Path):
    """Batches of 6: four ranks have 1, 2, 1 and 2 images.

    Gradients differ by the order of their sums, 1e-16 of them; AdamW's first steps divide each by
    its own size, and so keep that; twelve steps of 3e-3. Measured 3e-15; float32 would leave 1e-7.
    """
    for world in (1, 2, 4):
        (folder := tmp_path / str(world)).mkdir()
        assert exit_codes(world, lambda: train_in_float64(folder)) == [0] * world
    alone = load_file(tmp_path / "1/0.safetensors")
    for world in (2, 4):
        for rank in range(world):
            found = load_file(tmp_path / f"{world}/{rank}.safetensors")
            assert found.keys() == alone.keys()
            for name in alone:
                torch.testing.assert_close(found[name], alone[name], rtol=0, atol=1e-12)


def test_shares_are_whole_and_even_to_one():
    for world in (1, 2, 3, 4, 7):
        for n in (world, 10, 128):
            shares = [range(n)[Ranks(rank, world).local_slice(n)] for rank in range(world)]
            assert [i for share in shares for i in share] == list(range(n))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.usefixtures("unchecked")
def test_a_rank_that_is_killed_ends_the_others_and_the_run_goes_on_exactly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    config = TrainConfig(
        data="toy:dots", width=8, multipliers=(1, 2), steps=40, batch=6, T=20, seed=5
    )
    from minicfg.cli.options import SavingOptions

    often = SavingOptions(save_every=5)

    def run(out: Path, *, resume: bool = False) -> Callable[[], int]:
        return lambda: run_train(out, config, resume=resume, saving=often)

    def run_that_breaks() -> int:
        """Rank 1 kills itself after step 17, so that a quick machine and a slow one do the same."""
        from minicfg.cli import train as train_command

        def train_to_17(*given: Any, **named: Any) -> Iterator[TrainState]:
            for state in train_steps(*given, **named):
                if os.environ["RANK"] == "1" and state.step == 17:
                    (tmp_path / "killed").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                yield state

        train_command.train_steps = train_to_17  # pyright: ignore[reportAttributeAccessIssue]
        return run(broken)()

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert exit_codes(2, run(whole)) == [0, 0]
    assert exit_codes(2, run_that_breaks) == [4, -signal.SIGKILL]
    assert time.time() - (tmp_path / "killed").stat().st_mtime < 30
    assert "another rank is gone" in capfd.readouterr().err
    assert metadata_of(broken / "state.safetensors")["step"] == 15
    assert exit_codes(2, run(broken, resume=True)) == [0, 0]
    ours, theirs = load_state(broken / "state"), load_state(whole / "state")
    for name, p in theirs.model.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], p), name
    for name, p in theirs.ema.state_dict().items():
        assert torch.equal(ours.ema.state_dict()[name], p), name
    assert log_without_times(broken) == log_without_times(whole)


class Network:
    """Something that can be referred to weakly."""


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (RuntimeError("Connection closed by peer"), MachineError),
        (MachineError("the loss is not finite"), MachineError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_what_an_error_holds_is_released_before_the_group_is_destroyed(
    error: BaseException, raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
):
    """A network that outlived its group made about one rank in 20 hang after another had ended."""
    networks = list[weakref.ref[Network]]()
    released = list[bool]()

    def step() -> None:
        network = Network()
        networks.append(weakref.ref(network))
        raise error

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("torch.distributed.init_process_group", lambda backend: None)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    monkeypatch.setattr(
        "torch.distributed.destroy_process_group",
        lambda: released.extend(network() is None for network in networks),
    )
    with pytest.raises(raised), process_group():
        step()
    assert released == [True]


LATE = """
import os, time, torch
from minicfg.distributed import process_group

def threads_of_gloo():
    found = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm") as file:
                name = file.read()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended since it was listed
        if "gloo" in name:
            found.append(name)
    return found

with process_group() as group:
    import torch._dynamo  # an optimiser's first use imports it too
    assert group.sum(torch.ones(3)).tolist() == [2, 2, 2]
    assert threads_of_gloo()
# The kernel lists a thread for a moment after it was joined; one that is left stays for good.
deadline = time.monotonic() + 20
while threads_of_gloo() and time.monotonic() < deadline:
    time.sleep(0.01)
print(threads_of_gloo())
"""


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_no_thread_of_the_group_is_left_to_meet_the_end_of_the_interpreter():
    """One that is left aborts the process now and then, with all its work done."""
    with meeting_place() as environment:
        env = os.environ | environment | {"WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        own = [env | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        both = [subprocess.Popen([sys.executable, "-c", LATE], env=e, **pipes) for e in own]
        said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [out for out, _ in said] == ["[]\n", "[]\n"]
