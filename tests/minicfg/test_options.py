"""The flags of solver, rule and interval: what they make, and what they refuse."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from minicfg import Schedule, guidance, solvers
from minicfg.cli.options import PARAMETERS, How
from minicfg.errors import UsageError

SCHEDULE = Schedule.cosine(100)


@pytest.mark.parametrize(
    ("how", "table"),
    [
        (How(), solvers.ddpm(SCHEDULE, 7, "v")),
        (How(v=0.3), solvers.ddpm(SCHEDULE, 7, "v", v=0.3)),
        (How("ddim", eta=0.4), solvers.ddim(SCHEDULE, 7, 0.4, "v")),
        (How("dpmpp_2m"), solvers.dpmpp_2m(SCHEDULE, 7, "v")),
        (How("cfgpp"), solvers.cfgpp(SCHEDULE, 7, "v")),
        (
            How("ddim", interval=(-1.0, math.inf)),
            solvers.with_interval(solvers.ddim(SCHEDULE, 7, 0.0, "v"), SCHEDULE, -1.0, math.inf),
        ),
    ],
    ids=lambda x: str(x) if isinstance(x, How) else "",
)
def test_tables_are_the_solvers(how: How, table: solvers.Table) -> None:
    found = how.table(SCHEDULE, 7, "v")
    assert torch.equal(found.rows, table.rows) and torch.equal(found.t, table.t)
    assert found.prediction == "v"


RULES = [
    (How(rule="rescale"), guidance.rescale),
    (How(rule="rescale", phi=0.2), partial(guidance.rescale, phi=0.2)),
    (
        How(rule="dynamic_threshold", P=0.5, bound=0.3),
        partial(guidance.dynamic_threshold, P=0.5, bound=0.3),
    ),
    (How(rule="apg", apg_eta=0.4, apg_r=0.6), partial(guidance.apg, eta=0.4, r=0.6)),
]


@pytest.mark.parametrize(("how", "rule"), RULES, ids=[str(how) for how, _ in RULES])
def test_rules_are_guidances(how: How, rule: partial[torch.Tensor]) -> None:
    cond, null, xt = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0))
    mix = how.mix()
    assert mix is not None
    given = cond, null, torch.tensor([2.0, 0.5]), xt, torch.tensor(1.6), torch.tensor(-1.3)
    assert torch.equal(mix(*given), rule(*given))


def test_the_papers_sum_is_left_to_the_kernel() -> None:
    assert How().mix() is None


def test_it_says_what_was_chosen() -> None:
    how = How("ddim", eta=0.5, rule="apg", apg_r=2.5, interval=(-2.0, math.inf))
    assert str(how) == "ddim, eta 0.5, apg, r 2.5, log SNR in -2..inf"
    assert str(How()) == "ddpm"


@pytest.mark.parametrize("name", [name for name, _, _ in PARAMETERS])
def test_a_parameter_of_what_is_not_chosen_is_refused(name: str) -> None:
    flag = name.replace("_", "-")
    other = {"eta": "--solver ddpm", "v": "--solver ddim"}.get(name, "--rule guide")
    solver = other.split()[1] if "solver" in other else "ddpm"
    with pytest.raises(UsageError, match=f"--{flag} 0.5: {other} has no {flag}"):
        How(solver, **{name: 0.5})  # pyright: ignore


@pytest.mark.parametrize("value", [-1.0, math.nan])
@pytest.mark.parametrize(
    ("rule", "name", "said"),
    [
        ("rescale", "phi", "phi"),
        ("dynamic_threshold", "P", "P"),
        ("dynamic_threshold", "bound", "bound"),
        ("apg", "apg_eta", "eta"),
        ("apg", "apg_r", "r"),
    ],
)
def test_parameters_that_cannot_be_are_refused_without_a_model(
    rule: str, name: str, said: str, value: float
) -> None:
    how = How(rule=rule, **{name: value})  # pyright: ignore
    with pytest.raises(UsageError, match=f"--rule {rule}: {said} = {value}: a number"):
        how.mix()


@pytest.mark.parametrize("ends", [(2.0, 1.0), (math.nan, 1.0), (0.0, math.nan)])
def test_an_interval_that_is_none_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match=r"--interval \S+ \S+: LOW <= HIGH is needed"):
        How(interval=ends)


def test_weights_are_the_solvers() -> None:
    How().check_ws([-3.0, 9.0])
    How("cfgpp").check_ws([-1.0, 0.0])
    with pytest.raises(UsageError, match=r"--w 0.1: cfgpp wants a weight in -1\.\.0"):
        How("cfgpp").check_ws([-0.5, 0.1])
    with pytest.raises(UsageError, match="w = nan"):
        How().check_ws([math.nan])
