"""Several processes, one run: who of those that `torchrun` started does what.

Each process is a rank. All hold the same weights and take their own share of every batch; torch's
DistributedDataParallel averages the gradients, gloo on CPUs and NCCL on GPUs carry them. Noise is a
function of (seed, place in the batch, step), so the batch is the same however many share it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

# Its functions take the group there is when it is first imported as a default, and keep it for
# good: imported by something later, it would keep gloo's threads alive past the end of `ranks`,
# and a thread that lets go of a tensor while the interpreter is being taken down aborts it.
import torch.distributed.nn
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from minicfg.errors import MachineError, UsageError

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Ranks:
    """This process, `rank` in 0..world-1, and how many there are."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that prints and writes."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This rank's part of `n` places; the parts differ by one at most."""
        return slice(n * self.rank // self.world, n * (self.rank + 1) // self.world)

    def sum(self, x: Float[Tensor, "*D"]) -> Float[Tensor, "*D"]:
        """The sum over the ranks, on every rank; `x` itself where there is one."""
        if self.world > 1:
            x = x.clone()
            dist.all_reduce(x)
        return x

    def largest(self, number: int, device: torch.device) -> int:
        """The largest over the ranks."""
        if self.world == 1:
            return number
        x = torch.tensor(number, device=device)
        dist.all_reduce(x, dist.ReduceOp.MAX)
        return int(x)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with its gradients averaged over the ranks."""
        return DistributedDataParallel(model) if self.world > 1 else model

    def device(self, asked: str) -> torch.device:
        """`auto` is this rank's GPU, or the CPU where there is none."""
        if asked == "auto":
            asked = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(asked)
        except RuntimeError:
            raise UsageError(f"--device {asked}: auto, cpu or cuda is needed") from None
        if device.type not in ("cpu", "cuda"):
            raise UsageError(f"--device {asked}: auto, cpu or cuda is needed")
        if device.type == "cuda" and not torch.cuda.is_available():
            raise MachineError(f"--device {asked}: torch finds no CUDA device here; --device cpu")
        if device.type == "cuda" and self.world > 1:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        return device


@contextmanager
def ranks() -> Iterator[Ranks]:
    """The group that torchrun's environment speaks of, or this process alone.

    Raises:
        MachineError: where another rank is gone. What was saved is what there is to go on from.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Ranks(dist.get_rank(), world)
    except dist.DistError as error:
        raise MachineError(f"rank {dist.get_rank()}: another rank is gone ({error})") from error
    except RuntimeError as error:
        if "onnection" not in str(error) and "gloo" not in str(error):
            raise
        raise MachineError(f"rank {dist.get_rank()}: another rank is gone ({error})") from error
    finally:
        dist.destroy_process_group()
