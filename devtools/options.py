"""Options of a command line, for `make` and for Python alike: their types, their parser, and messages for wrong ones.

`make trace ORDER=ord_1` and `python -m devtools trace --order ord_1` are the same. Like the other modules of `make help`, this one needs
the standard library of Python 3.8 alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from keyword import iskeyword
from typing import Any, NoReturn

USAGE_ERROR = 2
# `make` passes the names of its command line's variables here, and their values in the environment: never through a shell.
MAKE_VARIABLES = "MAKE_VARIABLES"
# The variable that every target of the Makefile takes: the interpreter that devtools/find-python prints.
GLOBAL = frozenset({"PYTHON"})


def positive_number(text: str) -> int:
    """Parse a whole number of at least 1. Raises ArgumentTypeError otherwise."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def port_number(text: str) -> int:
    """Parse a TCP port that needs no privileges. Raises ArgumentTypeError unless it is 1024 to 65535."""
    if not text.isascii() or not text.isdigit() or not 1024 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"must be a number from 1024 to 65535, not {text!r}")
    return int(text)


def timestamp(text: str) -> str:
    """Accept an RFC 3339 time with an offset. Raises ArgumentTypeError otherwise."""
    try:
        if datetime.fromisoformat(text).tzinfo:
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a time such as 2026-11-23T09:00:00Z, not {text!r}")


@dataclass(frozen=True)
class Option:
    """An option of a command: `ORDER=value` for make, `--order value` for Python.

    A `flag` takes no value in Python and any but "" and 0 in make. A `setting` may come from the environment as well: the option
    replaces it there, where shared modules read it. `example` completes the message that a required option is missing. The value of a
    `positional` one is a word of its own for make.
    """

    name: str
    help: str
    default: Any = ""
    type: Callable[[str], Any] = str
    choices: tuple[str, ...] = ()
    required: bool = False
    flag: bool = False
    setting: bool = False
    example: str = ""
    positional: bool = False

    @property
    def argument(self) -> str:
        """The option of Python's command line."""
        return f"--{self.name.lower()}"

    @property
    def attribute(self) -> str:
        """The attribute of the parsed arguments; that of FROM is `from_`."""
        name = self.name.lower()
        return f"{name}_" if iskeyword(name) else name


@dataclass(frozen=True)
class Command:
    """A command: its name for make, the module whose `main(arguments)` runs it, its line in the help, its options.

    `daily` commands are in the short help. `module` is empty where a recipe of the Makefile runs the command.
    """

    name: str
    group: str
    module: str
    summary: str
    options: tuple[Option, ...] = ()
    daily: bool = False
    details: str = ""


class Parser(argparse.ArgumentParser):
    """The parser of a command: a mistake is one line on stderr and exit code 2."""

    def __init__(self, command: Command) -> None:
        """Take the options of the command."""
        super().__init__(
            prog=f"python -m devtools {command.name}",
            description=f"{command.summary}.",
            epilog=f"{command.details} With make: `{make_usage(command)}`.".strip(),
            allow_abbrev=False,
        )
        for option in command.options:
            _add(self, option)

    def error(self, message: str) -> NoReturn:
        """Print the message and exit."""
        refuse(message)


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    default = f" (default: {option.default})" if option.default and not option.setting else ""
    if option.flag:
        parser.add_argument(option.argument, action="store_true", dest=option.attribute, help=option.help.replace("%", "%%"))
        return
    # Choices and required options are checked by `parsed`, in the words of the command line that was used.
    text = option.help.replace("%", "%%") + default
    parser.add_argument(option.argument, metavar=option.name, dest=option.attribute, default=option.default, help=text)


def make_usage(command: Command) -> str:
    """Show how make runs a command, with its options: `make trace ORDER=… [PORT=…]`, of `new` with a word for KIND."""
    return " ".join([f"make {command.name}", *map(_usage, command.options)])


def _usage(option: Option) -> str:
    if option.positional:
        return "|".join(option.choices)
    word = f"{option.name}={'1' if option.flag else '…'}"
    return word if option.required else f"[{word}]"


def refuse(message: str) -> NoReturn:
    """Exit with 2 and one line about a mistake in the command line."""
    print("error:", message.replace("\n", "\\n"), file=sys.stderr)
    sys.exit(USAGE_ERROR)


def arguments(command: Command, words: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """Parse the options of a command: those of Python's command line, and those that make passed on.

    Exits with 2 and one line for an unknown option, a missing one, or a value that is not allowed.
    """
    by_make = MAKE_VARIABLES in environment
    given = [*from_make(command, environment), *words]
    found, unknown = Parser(command).parse_known_args(given)
    if unknown:
        known = ", ".join(option.argument for option in command.options) or "no options"
        refuse(f"unknown option {unknown[0].partition('=')[0]}: {command.name} takes {known}")
    for option in command.options:
        _check(command, option, found, by_make=by_make)
    return found


def settings(command: Command, found: argparse.Namespace) -> dict[str, str]:
    """Return the environment variables that the given options set."""
    given = ((option, getattr(found, option.attribute)) for option in command.options if option.setting)
    return {option.name: str(value) for option, value in given if value}


def from_make(command: Command, environment: Mapping[str, str]) -> list[str]:
    """Translate the variables of make's command line to options, a word each. Exits with 2 for one that the command does not have."""
    known = {option.name: option for option in command.options}
    words: list[str] = []
    for name in sorted(environment.get(MAKE_VARIABLES, "").split()):
        if name in GLOBAL:
            continue
        if name not in known:
            takes = ", ".join(known) or "no options"
            refuse(f"unknown option {name}: make {command.name} takes {takes}")
        option, value = known[name], environment.get(name, "").strip()
        if option.flag and value not in ("", "0"):
            words.append(option.argument)
        elif value and not option.flag:
            words.append(f"{option.argument}={value}")
    return words


def _check(command: Command, option: Option, found: argparse.Namespace, *, by_make: bool) -> None:
    name = option.name if by_make else option.argument
    value = getattr(found, option.attribute)
    if option.required and not value:
        example = f"{option.name}={option.example}" if by_make else f"{option.argument} {option.example.partition(' ')[0]}"
        refuse(f"{name} is missing ({option.help}): {'make' if by_make else 'python -m devtools'} {command.name} {example}")
    if option.choices and value and value not in option.choices:
        refuse(f"{name} must be one of {', '.join(option.choices)}, not {value!r}")
    if isinstance(value, str) and option.type is not str and value:
        try:
            setattr(found, option.attribute, option.type(value))
        except argparse.ArgumentTypeError as error:
            refuse(f"{name} {error}")
