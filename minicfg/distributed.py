"""Training and sampling with several processes, as `torchrun` starts them.

Each process has a rank and holds the same weights. In training, every rank takes a slice of each
batch, and torch's DistributedDataParallel averages the gradients, over gloo on CPUs and NCCL on
GPUs. Noise is a function of (seed, position in the batch, step), so the batch does not depend on
the number of processes.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

# The functions of this module store the process group that exists when it is first imported, as a
# default argument, and never release it. It is imported here, before there is a group, because a
# stored gloo group keeps its threads alive beyond the end of `process_group`. A thread that
# releases a tensor while the interpreter shuts down aborts the process.
import torch.distributed.nn
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from minicfg.errors import MachineError, UsageError

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Ranks:
    """The rank of this process, 0..world-1, and the number of processes.

    The methods that communicate must be called by every rank, in the same order.
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process prints and writes files."""
        return self.rank == 0

    def local_slice(self, n: int) -> slice:
        """This rank's part of `n` positions; the sizes of the parts differ by at most 1."""
        return slice(n * self.rank // self.world, n * (self.rank + 1) // self.world)

    def sum(self, x: Float[Tensor, "*D"]) -> Float[Tensor, "*D"]:
        """The sum of `x` over the ranks, on every rank; with one process, `x` itself."""
        if self.world > 1:
            x = x.clone()
            dist.all_reduce(x)
        return x

    def largest(self, number: int, device: torch.device) -> int:
        """The largest `number` of all ranks, on every rank."""
        if self.world == 1:
            return number
        x = torch.tensor(number, device=device)
        dist.all_reduce(x, dist.ReduceOp.MAX)
        return int(x)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, whose backward pass averages the gradients over the ranks."""
        return DistributedDataParallel(model) if self.world > 1 else model

    def device(self, name: str) -> torch.device:
        """The device called `name`, where `auto` is a GPU if there is one, and else the CPU.

        With several processes on GPUs, every process gets the GPU of its local rank.
        """
        requested = name
        if name == "auto":
            requested = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(requested)
        except RuntimeError:
            device = None
        if device is None or device.type not in ("cpu", "cuda"):
            raise UsageError(f"--device {name} is not supported: use auto, cpu or cuda")
        if device.type == "cuda" and not torch.cuda.is_available():
            raise MachineError(
                f"--device {name}: torch finds no CUDA device on this machine; use --device cpu"
            )
        if device.type == "cuda" and self.world > 1:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        return device


SINGLE_PROCESS = Ranks()


def is_first_process() -> bool:
    """Whether this process has rank 0, or is alone; it needs no process group.

    torchrun sets the variable RANK of every process that it starts.
    """
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def process_group() -> Iterator[Ranks]:
    """The process group that torchrun's environment variables describe, or this process alone.

    Raises:
        MachineError: if another rank has ended. The run can be resumed from its last saved state.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield SINGLE_PROCESS
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Ranks(dist.get_rank(), world)
    except BaseException as error:
        # The local variables of the frames that the error has left hold the network of `wrap`, and
        # it holds the group. If it were released after `destroy_process_group`, it would wait for
        # a thread of gloo while it holds the GIL; that thread may wait for the GIL to release its
        # last operation, and then the process never ends. So the network is released here.
        traceback.clear_frames(error.__traceback__)
        if not _is_lost_connection(error):
            raise
        raise _rank_has_ended(error) from error
    finally:
        dist.destroy_process_group()


def _is_lost_connection(error: BaseException) -> bool:
    """Whether another rank has ended; gloo reports that as a plain RuntimeError."""
    if isinstance(error, dist.DistError):
        return True
    words = ("onnection", "gloo")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def _rank_has_ended(error: BaseException) -> MachineError:
    return MachineError(
        f"rank {dist.get_rank()}: another rank is gone ({error}); start the command again, a "
        "training run with --resume"
    )
