"""Run a command: options parsed, and one line for every mistake or failure that its user can act on, never a traceback."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import NoReturn

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError, NoRegionError

from devtools import commands, options, ui


class UserError(Exception):
    """A failure that the user can correct. Its text is one line and says how."""

    code = 1


class UsageError(UserError):
    """An option's value is wrong."""

    code = options.USAGE_ERROR


STOPPED = "the target stopped answering ({0}); look at .local/*.log, then `make run` starts it again"


def explain(error: BaseException) -> str | None:
    """Return one line about an error that the user or the target caused, or None for a defect of the tool."""
    match error:
        case UserError():
            return str(error)
        case ClientError():
            return " ".join(str(error).split())
        case NoCredentialsError() | NoRegionError():
            return f"{error} set AWS_PROFILE, or AWS_DEFAULT_REGION and credentials"
        case HTTPClientError() | BotoCoreError() | HTTPException() | ConnectionError() | TimeoutError():
            return STOPPED.format(" ".join(str(error).split()) or type(error).__name__)
        case _:
            return None


def run(name: str, main: Callable[[Namespace], int | None], words: Sequence[str] | None = None) -> NoReturn:
    """Run a command of `devtools.commands` with the options of make or of the command line, and exit.

    The exit code is what `main` returns (None is 0), 1 after an explained error, 2 after a mistake in the options, 130 after Ctrl-C.
    """
    command = commands.COMMANDS[name]
    found = options.arguments(command, sys.argv[1:] if words is None else words, os.environ)
    os.environ.pop(options.MAKE_VARIABLES, None)
    os.environ.update(options.settings(command, found))
    sys.exit(_code(lambda: main(found)))


def _code(main: Callable[[], int | None]) -> int:
    try:
        return main() or 0
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has closed the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        print(f"error: {ui.one_line(line)}", file=sys.stderr)
        return error.code if isinstance(error, UserError) else 1
