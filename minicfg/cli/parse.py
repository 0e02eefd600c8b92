"""Parse the arguments of a command into its dataclass, and report an error as one sentence."""

from __future__ import annotations

import contextlib
import difflib
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import TypeVar, get_type_hints

import tyro

from minicfg.errors import UsageError

Command = TypeVar("Command")

FLAGS = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
# With defaults that are not those of the dataclass, a flag may be on, so each one can be set to
# either value: --zero-snr and --no-zero-snr.
FLAGS_IN_PAIRS = (tyro.conf.OmitArgPrefixes,)


def check_words(arguments: Sequence[str]) -> None:
    """Refuse arguments that no command can mean."""
    for argument in arguments:
        # An empty argument is most often a shell variable that is not set, and as a path it would
        # mean the current folder.
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            raise UsageError(
                f"{argument or 'an argument'} is empty; give it a value, and check that the shell "
                "variables in the command are set."
            )
        if "\0" in argument:
            raise UsageError(f"{argument!r} contains a null character; remove it.")


def parse(
    command: type[Command],
    arguments: Sequence[str],
    prog: str,
    default: Command | None = None,
) -> Command:
    """Parse all arguments of a command.

    Args:
        command: the dataclass whose fields are the flags.
        arguments: the words after `prog`.
        prog: what was typed before them, `minicfg train`.
        default: values for the flags that are not given; None for those of the dataclass.

    Raises:
        UsageError: if a flag is unknown or lacks its value, or a value has the wrong type.
    """
    _check_flags(arguments, prog, list(flags_of(command)))
    parsed, unknown = _run_tyro(command, arguments, prog, default, add_help=True)
    if unknown and unknown[0].startswith("--no-") and default is None:
        raise UsageError(
            f"{unknown[0]} works only with --config or --resume, to switch off a setting that they "
            "contain; leave it out."
        )
    if unknown:
        raise UsageError(
            f"{unknown[0]} is one argument too many for {prog}; remove it, or put its flag before "
            "it."
        )
    return parsed


def parse_some(command: type[Command], arguments: Sequence[str], prog: str) -> Command:
    """Parse the flags that `command` has, and ignore all other arguments."""
    return _run_tyro(command, arguments, prog, None, add_help=False)[0]


def _run_tyro(
    command: type[Command],
    arguments: Sequence[str],
    prog: str,
    default: Command | None,
    *,
    add_help: bool,
) -> tuple[Command, list[str]]:
    """The parsed command, and the arguments that it does not know."""
    if add_help and not {"-h", "--help"}.isdisjoint(arguments):
        _join_lines_of_help(command)
    frame = io.StringIO()
    try:
        with contextlib.redirect_stderr(frame):
            return tyro.cli(  # pyright: ignore[reportReturnType]
                command,
                args=list(arguments),
                prog=prog,
                default=default,
                config=FLAGS if default is None else FLAGS_IN_PAIRS,
                return_unknown_args=True,
                add_help=add_help,
            )
    except SystemExit as end:
        if not end.code:  # --help
            raise
        raise UsageError(_sentence(frame.getvalue(), prog)) from None


def _join_lines_of_help(command: type) -> None:
    """Give tyro the docstring of each field as one line, which it breaks where the terminal ends.

    Of a docstring it would also keep the line breaks of the source.
    """
    import docstring_parser  # tyro requires it, and imports it as late

    hints = get_type_hints(command)
    described = docstring_parser.parse_from_object(command).params
    texts = {doc.arg_name: doc.description for doc in described}
    for field in fields(command):
        text = texts.get(field.name)
        if text is not None:
            field.metadata = MappingProxyType({"help": " ".join(text.split())})
        if is_dataclass(hints[field.name]):
            _join_lines_of_help(hints[field.name])


def flags_of(command: type) -> Iterator[str]:
    """The flags of a command, such as --p-uncond, including those of its groups."""
    hints = get_type_hints(command)
    for field in fields(command):
        if is_dataclass(hints[field.name]):
            yield from flags_of(hints[field.name])
        else:
            yield f"--{field.name.replace('_', '-')}"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """`; did you mean --steps?` if one of the known words resembles `word`, or else `.`"""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else "."


def _check_flags(arguments: Sequence[str], prog: str, flags: Collection[str]) -> None:
    """Refuse a flag that is not one of `flags`, nor one of them with `no-` before its name."""
    for argument in arguments:
        flag = argument.partition("=")[0]
        name = flag.replace("_", "-").replace("--no-", "--")
        if flag.startswith("--") and name not in (*flags, "--help"):
            guess = did_you_mean(name, flags)
            raise UsageError(
                f"{flag} is not a flag of {prog}{guess} {prog} --help lists the flags."
            )


def _sentence(frame: str, prog: str) -> str:
    """The text inside the frame that tyro draws, as a sentence that says what to do."""
    lines = [line.strip(" │|") for line in frame.splitlines()[1:]]
    lines = [line for line in lines if line.strip("─╰╭╮╯-+")]
    text = " ".join(lines).partition("Argument helptext:")[0].partition("For full helptext")[0]
    see_help = f"see {prog} --help."
    if lines[0].startswith("Missing from"):
        meaning = " ".join(lines[2:]).partition(" (required)")[0].rstrip(".")
        return f"{prog} lacks {lines[1]} ({meaning}); add it, or {see_help}"
    if found := re.match(r"Missing value for argument '(.*?)'\. Expected (\d+)", text):
        flag, count = found.groups()
        values = "a value" if count == "1" else f"{count} values"
        return f"{flag} lacks its value; give {values} after it, or leave it out; {see_help}"
    if found := re.match(r"invalid choice '(.*)' for argument '(.*)'.*one of \((.*)\)", text):
        value, flag, choices = found.groups()
        return f"{flag} {value} is unknown; choose one of {choices}.".replace("'", "")
    if found := re.match(r"Error parsing (\S+): invalid literal for int.*: '(.*)'", text):
        return f"{' '.join(found.groups())} is not an integer; write one, such as 100."
    if found := re.match(r"Error parsing (\S+): could not convert .* to float: '(.*)'", text):
        return f"{' '.join(found.groups())} is not a number; write one, such as 0.5."
    if found := re.match(
        r"Error parsing (\S+): no type matching .*\|(.*) could .*\[(.*)\]\.", text
    ):
        flag, wanted, words = found.groups()
        words = words.replace("'", "").replace(",", "")
        return f"{flag} {words} is not {wanted.strip('{}')}; {see_help}"
    if found := re.match(r"Error parsing (\S+): Could not find .*: \[(.*)\]", text):
        flag, words = found.groups()
        return f"{flag} {words} has the wrong type; {see_help}".replace("'", "")
    return f"{text.strip()}; {see_help}"
