"""Right answers to exercise 10.2 in other styles than the notebook's: each passes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from notebooks import check

Pair = tuple[Tensor, Tensor]


class Convolutions(nn.Module):
    """With batch normalisation, dropout, and a last layer that starts at zero."""

    prediction = "x0"

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(4, width), nn.Embedding(4, width)])
        self.time = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width))
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.1)
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def null(self, y: Pair) -> Any:
        return tuple(torch.full_like(part, 3) for part in y)

    def forward(self, xt: Tensor, t: Tensor, y: Pair) -> Tensor:
        angle = t[:, None] * torch.logspace(0, -3, 8)
        emb = self.time(torch.cat([angle.sin(), angle.cos()], 1))
        for table, part in zip(self.tables, y, strict=True):
            emb = emb + table(part)
        h = F.silu(self.norm(self.first(xt) + emb[:, :, None, None]))
        return xt + self.last(self.drop(h))


class OneHot(nn.Module):
    """Without tables, and with an output that is limited to -1..1."""

    prediction = "x0"

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(201, 64), nn.ReLU(), nn.Linear(64, 192), nn.Tanh())

    def null(self, y: Pair) -> Pair:
        letter, colour = y
        return letter.new_full(letter.shape, 3), 3 + 0 * colour

    def forward(self, xt: Tensor, t: Tensor, y: Pair) -> Tensor:
        of_y = [F.one_hot(part, 4).float() for part in y]
        h = torch.cat([xt.reshape(len(xt), -1), t.unsqueeze(1).float() / 1000, *of_y], -1)
        return self.net(h).reshape(xt.shape)


class OneTableOfPairs(nn.Module):
    """A vector for each pair, and one for each time."""

    prediction = "x0"

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Embedding(1001, 32)
        self.pair = nn.Embedding(16, 32)
        self.first = nn.Linear(192, 32)
        self.last = nn.Linear(32, 192)

    def null(self, y: Pair) -> Pair:
        return torch.ones_like(y[0]) * 3, torch.ones_like(y[1]) * 3

    def forward(self, xt: Tensor, t: Tensor, y: Pair) -> Tensor:
        emb = self.time(t) + self.pair(4 * y[0] + y[1])
        return self.last(torch.tanh(self.first(xt.flatten(1)) + emb)).unflatten(1, (3, 8, 8))


@pytest.mark.parametrize("network", [Convolutions, OneHot, OneTableOfPairs])
def test_a_right_network_in_another_style_passes(network: type[nn.Module]) -> None:
    assert check.ex_10_2.hint(network) == ""
