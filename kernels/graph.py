"""A step of a loop, recorded as a CUDA graph and replayed: one launch in place of many.

Launching a small network's kernels one by one takes longer than running them. A CUDA graph is the
list of launches of one step, which the GPU then starts by itself. It reads and writes fixed memory,
so the state, the guess and the number of the row each stay in one tensor, and a replay updates
them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # (k, x, x0hat) -> (x, x0hat)

# Graphs that could not be recorded. Torch's allocator still asks them which memory is theirs, so
# they must not be freed.
_FAILED = list[torch.cuda.CUDAGraph]()


def record(step: Step, k: Tensor, x: Tensor, x0hat: Tensor) -> Step:
    """`step(k, x, x0hat)` as one CUDA graph, for this row and the rows that follow it in order.

    The result has the signature of `step`, counts `k` by itself, and returns the same two tensors
    each time, written anew.

    Args:
        step: has run before, so that its kernels are loaded and compiled.
        k: the first row to be replayed, an int64 tensor without dimensions.
        x: a state, for its shape and device.
        x0hat: a guess, likewise.

    Returns:
        The replay; or `step` itself, with a warning, if it cannot be recorded.
    """
    k = k.clone()
    x = x.clone()
    x0hat = x0hat.clone()

    def step_in_place() -> None:
        xs, new_x0hat = step(k, x, x0hat)
        x.copy_(xs)
        x0hat.copy_(new_x0hat)
        k.add_(1)

    replay = _replay_of(step_in_place, x.device)
    if replay is None:
        return step

    def replayed(_: Tensor, new_x: Tensor, new_x0hat: Tensor) -> tuple[Tensor, Tensor]:
        if new_x is not x:
            x.copy_(new_x)
        if new_x0hat is not x0hat:
            x0hat.copy_(new_x0hat)
        replay()
        return x, x0hat

    return replayed


def _replay_of(run: Callable[[], None], device: torch.device) -> Callable[[], None] | None:
    """What replays the graph of `run`; None, after a warning, if `run` cannot be recorded."""
    with torch.cuda.device(device):
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()
        try:
            # A graph whose recording fails leaves its stream current; the outer context restores
            # it.
            with torch.cuda.stream(stream), torch.cuda.graph(graph, stream=stream):
                run()
        except RuntimeError as error:
            graph.reset()  # frees its memory
            _FAILED.append(graph)
            # The first cause; the error itself is often that the recording could not be ended.
            reason = str(error.__context__ or error).strip().splitlines()[0]
            warnings.warn(
                f"the step could not be recorded as a CUDA graph ({reason}); it runs without one, "
                "and is slower. Pass capture=False to sample() to skip the attempt",
                RuntimeWarning,
                stacklevel=4,
            )
            return None
    return graph.replay
