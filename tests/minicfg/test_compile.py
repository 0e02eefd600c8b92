"""`minicfg train --compile`: the network is one graph, and trains as it does uncompiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# `aot_eager` traces forwards and backwards as the default does, and then writes no C++, which would
# take a minute. The tests' shape checks cannot be traced, so this is a process of its own.
PROGRAM = """
from dataclasses import replace

import torch

torch.set_num_threads(1)
calls = []
compile = torch.compile

def whole(net):
    calls.append(net)
    return compile(net, backend="aot_eager", fullgraph=True)

torch.compile = whole

from minicfg.config import TrainConfig
from minicfg.sources import load_data
from minicfg.training import train

config = TrainConfig(width=8, multipliers=(1, 2), attention=(1,), batch=8, steps=4)
data = load_data("digits")
plain = [state.loss for state in train(data, config)]
assert not calls
compiled = [state.loss for state in train(data, replace(config, compile=True))]
assert len(calls) == 1
# The same operations, but for what autograd's decompositions round otherwise.
torch.testing.assert_close(torch.tensor(compiled), torch.tensor(plain), rtol=1e-4, atol=0)
print("one graph")
"""


@pytest.mark.slow
def test_a_compiled_network_trains_as_it_does_uncompiled() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert ran.stdout == "one graph\n", ran.stderr[-2000:]
