"""The flags of solver, rule and interval: what they make, and what they refuse."""

from __future__ import annotations

import inspect
import math
import re
from functools import partial
from typing import get_args, get_type_hints

import pytest
import torch

from minicfg import Schedule, guidance, solvers
from minicfg.cli.options import MAX_W, PARAMETERS, Parameter, SamplingOptions
from minicfg.config import RuleName, SolverName
from minicfg.errors import UsageError

SCHEDULE = Schedule.cosine(100)


@pytest.mark.parametrize(
    ("options", "table"),
    [
        (SamplingOptions(), solvers.ddpm(SCHEDULE, 7, "v")),
        (SamplingOptions(v=0.3), solvers.ddpm(SCHEDULE, 7, "v", v=0.3)),
        (SamplingOptions("ddim", eta=0.4), solvers.ddim(SCHEDULE, 7, "v", 0.4)),
        (SamplingOptions("dpmpp_2m"), solvers.dpmpp_2m(SCHEDULE, 7, "v")),
        (SamplingOptions("cfgpp"), solvers.cfgpp(SCHEDULE, 7, "v")),
        (
            SamplingOptions("ddim", interval=(-1.0, math.inf)),
            solvers.with_interval(solvers.ddim(SCHEDULE, 7, "v", 0.0), SCHEDULE, -1.0, math.inf),
        ),
    ],
    ids=lambda x: str(x) if isinstance(x, SamplingOptions) else "",
)
def test_tables_are_the_solvers(options: SamplingOptions, table: solvers.Table) -> None:
    found = options.make_table(SCHEDULE, 7, "v")
    assert torch.equal(found.rows, table.rows) and torch.equal(found.t, table.t)
    assert found.prediction == "v"


RULES = [
    (SamplingOptions(rule="rescale"), guidance.rescale),
    (SamplingOptions(rule="rescale", phi=0.2), partial(guidance.rescale, phi=0.2)),
    (
        SamplingOptions(rule="dynamic_threshold", P=0.5, bound=0.3),
        partial(guidance.dynamic_threshold, P=0.5, bound=0.3),
    ),
    (SamplingOptions(rule="apg", apg_eta=0.4, apg_r=0.6), partial(guidance.apg, eta=0.4, r=0.6)),
]


@pytest.mark.parametrize(("options", "rule"), RULES, ids=[str(options) for options, _ in RULES])
def test_rules_are_guidances(options: SamplingOptions, rule: partial[torch.Tensor]) -> None:
    cond, null, xt = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0))
    made = options.make_rule()
    assert made is not None
    given = cond, null, torch.tensor([2.0, 0.5]), xt, torch.tensor(1.6), torch.tensor(-1.3)
    assert torch.equal(made(*given), rule(*given))


def test_the_papers_sum_is_left_to_the_kernel() -> None:
    assert SamplingOptions().make_rule() is None


def test_it_says_what_was_chosen() -> None:
    options = SamplingOptions("ddim", eta=0.5, rule="apg", apg_r=2.5, interval=(-2.0, math.inf))
    assert str(options) == "ddim, eta 0.5, apg, r 2.5, log SNR in -2..inf"
    assert str(SamplingOptions()) == "ddpm"


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_a_parameter_of_what_is_not_chosen_is_refused(parameter: Parameter) -> None:
    flag = parameter.name.replace("_", "-")
    solver = "ddim" if parameter.name == "v" else "ddpm"
    chosen = solver if parameter.kind == "solver" else "guide"
    message = (
        f"--{flag} 0.5 works only with --{parameter.kind} {parameter.owner}; "
        f"the {parameter.kind} is {chosen}."
    )
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        SamplingOptions(solver, **{parameter.name: 0.5})  # pyright: ignore


def test_the_help_states_the_defaults_of_the_functions() -> None:
    hints = get_type_hints(SamplingOptions, include_extras=True)
    for parameter in PARAMETERS:
        function = getattr(solvers if parameter.kind == "solver" else guidance, parameter.owner)
        default = inspect.signature(function).parameters[parameter.keyword].default
        (flag,) = hints[parameter.name].__metadata__
        assert flag.help.endswith(f"(default {default:g})."), parameter
        assert flag.help.startswith(f"With --{parameter.kind} {parameter.owner}: "), parameter


def test_every_name_of_a_solver_or_rule_is_a_function() -> None:
    assert {solvers.named(name) for name in get_args(SolverName)} == {
        solvers.ddpm,
        solvers.ddim,
        solvers.dpmpp_2m,
        solvers.cfgpp,
    }
    assert all(callable(getattr(guidance, name)) for name in get_args(RuleName))


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
    options = SamplingOptions(rule=rule, **{name: value})  # pyright: ignore
    with pytest.raises(UsageError, match=f"--rule {rule}: {said} = {value}; pass a number"):
        options.make_rule()


@pytest.mark.parametrize("ends", [(2.0, 1.0), (math.nan, 1.0), (0.0, math.nan)])
def test_an_interval_that_is_none_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(
        UsageError, match=r"--interval \S+ \S+ is not an interval; give .* LOW <= HIGH"
    ):
        SamplingOptions(interval=ends)


@pytest.mark.parametrize("clip", [0.0, -1.0, math.nan, -math.inf])
def test_a_clip_that_is_not_positive_is_refused(clip: float) -> None:
    with pytest.raises(UsageError, match=f"--clip {clip:g} is not above 0; choose a positive"):
        SamplingOptions(clip=clip)


def test_a_clip_that_is_not_the_default_is_in_the_words() -> None:
    assert str(SamplingOptions(clip=math.inf)) == "ddpm, not clipped"
    assert str(SamplingOptions(clip=2.5)) == "ddpm, clip 2.5"


def test_weights_are_the_solvers() -> None:
    SamplingOptions().check_weights([-3.0, 9.0])
    SamplingOptions("cfgpp").check_weights([-1.0, 0.0])
    with pytest.raises(UsageError, match=r"--w 0.1 is outside -1\.\.0, .* --solver cfgpp"):
        SamplingOptions("cfgpp").check_weights([-0.5, 0.1])
    with pytest.raises(UsageError, match="w = nan"):
        SamplingOptions().check_weights([math.nan])


@pytest.mark.parametrize("w", [2 * MAX_W, -2 * MAX_W])
def test_weights_that_float32_cannot_take_are_refused(w: float) -> None:
    SamplingOptions().check_weights([-MAX_W, MAX_W])
    with pytest.raises(UsageError, match=r"is outside -1e\+06\.\.1e\+06; choose"):
        SamplingOptions().check_weights([w])
