"""Wrong answers in sitting 10: exercise, answer, and a phrase of the hint that is meant for it.

Networks are made from the text of one right solution, with the wrong lines put in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

Split = Callable[..., Any]

NETWORK = """
class MyNet(nn.Module):
    prediction = "x0"

    def __init__(self):
        super().__init__()
        self.letter = nn.Embedding(4, 64)
        self.colour = nn.Embedding(4, 64)
        self.time = nn.Linear(1, 64)
        self.first = nn.Linear(192, 64)
        self.middle = nn.Linear(64, 64)
        self.last = nn.Linear(64, 192)

    def null(self, y):
        return torch.full_like(y[0], 3), torch.full_like(y[1], 3)

    def forward(self, xt, t, y):
        emb = self.letter(y[0]) + self.colour(y[1]) + self.time(t[:, None] / 1000)
        h = F.silu(self.first(xt.flatten(1)) + emb)
        h = h + F.silu(self.middle(h) + emb)
        return self.last(h).view_as(xt)
"""
NULL = "torch.full_like(y[0], 3), torch.full_like(y[1], 3)"
METHOD = f"    def null(self, y):\n        return {NULL}\n\n"


def network(*changes: tuple[str, str]) -> Any:
    """The class of the changed text."""
    source = NETWORK
    for old, new in changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    names: dict[str, Any] = {"torch": torch, "F": F, "nn": nn}
    exec(source, names)
    return names["MyNet"]


class InAList(nn.Module):
    """Its layers are in a list, which a module does not look into."""

    prediction = "x0"

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Embedding(4, 192), nn.Embedding(4, 192), nn.Linear(192, 192)]

    def null(self, y: Any) -> Any:
        return torch.full_like(y[0], 3), torch.full_like(y[1], 3)

    def forward(self, xt: Any, t: Any, y: Any) -> Any:
        letter, colour, last = self.layers
        h = xt.flatten(1) + letter(y[0]) + colour(y[1]) + t[:, None] / 1000
        return last(h).view_as(xt)


X = torch.arange(60.0).repeat_interleave(2)[:, None]


def parts(split: Split, seed: int = 0) -> tuple[list[int], list[int]]:
    training, held_out = split(X, seed)
    return training.tolist(), held_out.tolist()


def test_of_the_union(split: Split) -> None:
    """Every row occurs."""
    training, held_out = parts(split)
    assert {*training, *held_out} == set(range(120))


def test_of_the_overlap(split: Split) -> None:
    """No row occurs twice."""
    training, held_out = parts(split)
    assert not {*training} & {*held_out}


def test_of_both(split: Split) -> None:
    """Each row once."""
    training, held_out = parts(split)
    assert sorted(training + held_out) == list(range(120))


def test_that_both_have_rows(split: Split) -> None:
    """Each row once, and a part for each."""
    test_of_both(split)
    training, held_out = parts(split)
    assert training and held_out


def test_of_the_size(split: Split) -> None:
    """And a fifth is held out."""
    test_of_both(split)
    assert len(parts(split)[1]) == 24


def test_of_two_seeds(split: Split) -> None:
    """And another seed holds out other rows."""
    test_of_the_size(split)
    assert parts(split, 1) != parts(split, 2)


def test_of_one_seed_twice(split: Split) -> None:
    """And the same seed the same ones."""
    test_of_two_seeds(split)
    assert parts(split, 1) == parts(split, 1)


def test_of_the_lengths(split: Split) -> None:
    """Everything, but the rows are counted and not compared."""
    training, held_out = split(X, 1)
    assert len(training) + len(held_out) == 120
    assert len(held_out) == 24
    assert not {*X[training].flatten().tolist()} & {*X[held_out].flatten().tolist()}
    assert parts(split, 1) == parts(split, 1) != parts(split, 2)


def test_of_the_training_part(split: Split) -> None:
    """Everything, but the held-out part is not measured."""
    training, held_out = parts(split, 1)
    assert len({*training}) == len(training) == 96
    assert not {*X[training].flatten().tolist()} & {*X[held_out].flatten().tolist()}
    assert parts(split, 1) == parts(split, 1) != parts(split, 2)


def test_that_is_too_strict(split: Split) -> None:
    """Wrong about what is right."""
    training, _ = parts(split)
    assert training == list(range(96))


WRONG: list[tuple[str, Any, str]] = [
    ("10.1", lambda x: torch.from_numpy(x).view(-1, 3, 8, 8).float() / 255, "both mistakes"),
    ("10.1", lambda x: torch.from_numpy(x).permute(0, 3, 1, 2) / 255, "the values lie in 0..1. B"),
    ("10.1", lambda x: torch.from_numpy(x).float().reshape(-1, 3, 8, 8) / 255 * 2 - 1,
     "does not move an axis"),
    ("10.1", lambda x: torch.from_numpy(x).permute(0, 3, 2, 1).float() / 127.5 - 1,
     "reflected at its diagonal"),
    ("10.1", lambda x: torch.tensor(x) / 127.5 - 1, "still the last axis"),
    ("10.1", lambda x: torch.tensor(x).permute(0, 3, 1, 2) / 127.5, "lie in 0..2"),
    ("10.1", lambda x: torch.tensor(x).permute(0, 3, 1, 2) / 255 - 0.5, "lie in -0.5..0.5"),
    ("10.1", lambda x: (torch.tensor(x).permute(0, 3, 1, 2) - 128.0) / 128, "0.992 and not 1"),
    ("10.1", lambda x: torch.tensor(x).permute(0, 3, 1, 2) / 127 - 1, "1.008"),
    ("10.1", lambda x: torch.tensor(x).permute(0, 3, 1, 2) - 127.5, "divide by 127.5 as well"),
    ("10.1", lambda x: torch.tensor(x).permute(0, 3, 1, 2) // 127.5 - 1, "// rounds down"),
    ("10.1", lambda x: torch.tensor(x[..., ::-1].copy()).permute(0, 3, 1, 2) / 127.5 - 1,
     "red and blue are exchanged"),
    ("10.1", lambda x: (2 * torch.tensor(x).permute(0, 3, 1, 2)) / 255 - 1, "bytes end at 255"),
    ("10.1", lambda x: (x.transpose(0, 3, 1, 2) / 127.5 - 1).astype(np.float32),
     "in a NumPy array"),
    ("10.1", lambda x: torch.from_numpy(x.transpose(0, 3, 1, 2) / 127.5 - 1), "in float64"),
    ("10.1", lambda x: (d := torch.tensor(x).permute(0, 3, 1, 2).double()).sub(d.mean()) / d.std(),
     "standard deviation 1"),
    ("10.2", network()(), "without parentheses"),
    ("10.2", network((f"return {NULL}", f"y[0][:], y[1][:] = 3, 3\n        return {NULL}")),
     "the labels of the batch are lost"),
    ("10.2", network(("self.last(h)", "F.dropout(self.last(h))")), "two evaluations"),
    ("10.2", network(("t[:, None] / 1000", "(t[:, None] // 1000).float()")), "below 1000"),
    ("10.2", network(("class MyNet(nn.Module)", "class MyNet"), ("super().__init__()", "pass")),
     "not a torch.nn.Module"),
    ("10.2", network(('    prediction = "x0"\n', "")), "the attribute prediction"),
    ("10.2", network(('prediction = "x0"', 'prediction = "eps"')), "the attribute prediction"),
    ("10.2", network(('"x0"\n', '"x0"\n    num_classes = 3\n')), "remove num_classes"),
    ("10.2", InAList, "has no weights: make"),
    ("10.2", network((METHOD, "")), "no method null"),
    ("10.2", network((NULL, "torch.full_like(y[0], 3)")), "returns one tensor"),
    ("10.2", network((NULL, f"[{NULL}]")), "returns a list"),
    ("10.2", network((NULL, "3, 3, 3")), "a tuple of two tensors"),
    ("10.2", network((NULL, "torch.tensor(3), torch.tensor(3)")), "one value per sample"),
    ("10.2", network((NULL, "3 * torch.ones(len(y[0])), 3 * torch.ones(len(y[1]))")),
     "returns floats"),
    ("10.2", network((NULL, "y[0] + 3, y[1] + 3")), "depends on the values in y"),
    ("10.2", network((NULL, "torch.zeros_like(y[0]), torch.zeros_like(y[1])")),
     "the null is one of 0, 1 and 2"),
    ("10.2", network((NULL, "torch.full_like(y[0], 2), torch.full_like(y[1], 3)")),
     "the null is one of 0, 1 and 2"),
    ("10.2", network((NULL, "torch.full_like(y, 3)")), "it is a pair"),
    ("10.2", network(("self.letter(y[0]) + self.colour(y[1])", "self.letter(y)")),
     "it is a pair"),
    ("10.2", network(("t[:, None] / 1000", "t[:, None]")), "gets integers"),
    ("10.2", network(("t[:, None] / 1000", "t / 1000")), "takes rows"),
    ("10.2", network(("xt.flatten(1)", "xt.flatten()")), "one row of the whole batch"),
    ("10.2", network(("t[:, None] / 1000", "t[:, None].float()")), "drowns the other inputs"),
    ("10.2", network(("self.letter = nn.Embedding(4", "self.letter = nn.Embedding(3")),
     "outside the table"),
    ("10.2", network(("return self.last(h)", "self.last(h)")), "forward returns None"),
    ("10.2", network((".view_as(xt)", "")), "end with .view_as"),
    ("10.2", network(("self.last(h)", "self.last(h.detach()).detach()")), "no gradient flows"),
    ("10.2", network(("self.last(h)", "torch.relu(self.last(h))")), "never negative"),
    ("10.2", network(("t[:, None] / 1000", "t[:1, None] / 1000")), "on the other samples"),
    ("10.2", network(("self.first(xt.flatten(1)) + emb", "emb")), "does not depend on xt"),
    ("10.2", network((" + self.time(t[:, None] / 1000)", "")), "does not depend on t,"),
    ("10.2", network(("self.letter(y[0]) + ", "")), "does not depend on the letter"),
    ("10.2", network((" + self.colour(y[1])", "")), "does not depend on the colour"),
    ("10.2", network(("self.colour(y[1])", "self.letter(y[1])")), "both attributes use one table"),
    ("10.2", network(("self.colour(y[1])", "self.colour(y[1] % 3)")), "the same output as one of"),
    ("10.3", 0.2, "without its colour"),
    ("10.3", 0.2**2, "without both"),
    ("10.3", 0.64, "keep both"),
    ("10.3", 0.32, "lose one of the two"),
    ("10.3", 0.8, "keeps the letter"),
    ("10.3", 0.36, "loses something"),
    ("10.3", 0, "dropped together"),
    ("10.3", 0.2 + 0.2, "are added"),
    ("10.3", 0.1, "multiply"),
    ("10.3", 1 / 4, "equally frequent only"),
    ("10.3", 0.8 * 0.8 * 0.2, "one factor too many"),
    ("10.4", lambda ab, a, b, n, u, v: n + (1 + u) * (a - n) + (1 + v) * (b - n), "this is `Comp"),
    ("10.4", lambda ab, a, b, n, u, v: (1 + u + v) * ab - u * b - v * a, "of this colour only"),
    ("10.4", lambda ab, a, b, n, u, v: (1 + u + v) * ab - u * a - v * b, "strengthens the colour"),
    ("10.4", lambda ab, a, b, n, u, v: (1 + u + v) * ab - (u + v) * n, "only their sum matters"),
    ("10.4", lambda ab, a, b, n, u, v: ab + v * (a - n) + u * (b - n), "are exchanged"),
    ("10.4", lambda ab, a, b, n, u, v: ab + (1 + u) * a + (1 + v) * b - (2 + u + v) * n,
     "one gradient too many"),
    ("10.4", lambda ab, a, b, n, u, v: ab + u * a + v * b - n, "each of the two differences"),
    ("10.4", lambda ab, a, b, n, u, v: ab + u * (n - a) + v * (n - b), "the sign of both"),
    ("10.4", lambda ab, a, b, n, u, v: u * a + v * b + (1 - u - v) * n, "begins at null"),
    ("10.4", lambda ab, a, b, n, u, v: ab + np.mean([u * (a - n), v * (b - n)], 0), "a mean of"),
    ("10.4", lambda ab, a, b, n, u, v: (1 + u) * a + (1 + v) * b - (u + v) * n, "add up to 2"),
    ("10.4", lambda ab, a, b, n, u, v: np.mean([a + u * (a - n), b + v * (b - n)], 0),
     "knows the letter only"),
    ("10.4", lambda ab, a, b, n, u, v: (1 - u - v) * ab + u * a + v * b, "removes the colour"),
    ("10.4", lambda ab, a, b, n, u, v: ab + u * a - v * b - (u - v) * n, "the colour's difference"),
    ("10.4", lambda ab, a, b, n, u, v: ab - u * a + v * b + (u - v) * n, "the letter's difference"),
    ("10.4", lambda ab, a, b, n, u, v: ab + u * v * (a - n) * (b - n), "differences are multi"),
    ("10.4", lambda ab, a, b, n, u, v: (1 + u) * (1 + v) * ab - (u + v) * n, "is not 1 + w_a"),
    ("10.4", lambda ab, a, b, n, u, v: ab + u * a - n + v * b - n, "set parentheses"),
    ("10.4", lambda ab, a, b, n, u, v: ab + u * (a - n) + v * (b - a), "with the letter. Each"),
    ("10.5", test_of_the_lengths, "rows twice and two others"),
    ("10.5", test_of_the_training_part, "every second held-out row"),
    ("10.5", test_of_the_union, "are in both parts"),
    ("10.5", test_of_the_overlap, "loses half"),
    ("10.5", test_of_both, "holds out nothing"),
    ("10.5", test_that_both_have_rows, "trains on a fifth"),
    ("10.5", test_of_the_size, "always holds out the last"),
    ("10.5", test_of_two_seeds, "different at every call"),
    ("10.5", test_of_one_seed_twice, "ignores equal pictures"),
    ("10.5", test_that_is_too_strict, "which is right"),
]  # fmt: skip
