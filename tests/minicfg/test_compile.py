"""A compiled network is one graph, and trains and samples as it does uncompiled."""

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
from minicfg.datasets import load_data
from minicfg.training import train_steps

config = TrainConfig(width=8, multipliers=(1, 2), attention=(1,), batch=8, steps=4)
data = load_data("digits")
plain = [state.loss for state in train_steps(data, config)]
assert not calls
compiled = [state.loss for state in train_steps(data, replace(config, compile=True))]
assert len(calls) == 1
# The same operations, but for what autograd's decompositions round otherwise.
torch.testing.assert_close(torch.tensor(compiled), torch.tensor(plain), rtol=1e-4, atol=0)

# And as `checkpoint.model.compile()` has it, through the sampler.
import minicfg

torch.compile = compile
torch.manual_seed(0)
net = minicfg.UNet(channels=1, num_classes=10, width=8).eval()
torch.nn.init.normal_(net.head.weight, std=0.1)
table = minicfg.solvers.ddpm(minicfg.Schedule.cosine(1000), 4)

def draw():
    return minicfg.sample(net, torch.arange(4), table, shape=(1, 8, 8), w=2.0, seed=7, clip=1.0)

eager = draw()
net.compile(backend="aot_eager", fullgraph=True)
torch.testing.assert_close(draw(), eager, rtol=0, atol=1e-4)  # of values in -1..1, four steps
print("one graph")
"""


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_compiled_network_is_the_network() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert ran.stdout == "one graph\n", ran.stderr[-2000:]
