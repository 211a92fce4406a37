"""How a command line tool of this folder ends: one line for what its user can put right, never a traceback."""

import os
import sys
from collections.abc import Callable
from http.client import HTTPException
from typing import NoReturn

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from devtools import ui


class UserError(Exception):
    """Something the person at the keyboard can put right. Its text is one line and says how."""


STOPPED = "the target stopped answering ({0}); look at .local/*.log, then `make run` starts again from where it can"


def explain(error: BaseException) -> str | None:
    """The one line for an error that is the user's or the target's doing, or None when it is a defect of the tool."""
    match error:
        case UserError():
            return str(error)
        case ClientError():
            return " ".join(str(error).split())
        case HTTPClientError() | BotoCoreError() | HTTPException() | ConnectionError() | TimeoutError():
            return STOPPED.format(" ".join(str(error).split()) or type(error).__name__)
        case _:
            return None


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a tool and exit with its answer (None is 0); 1 after an explained error, 130 after Ctrl-C."""
    try:
        code = main() or 0
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader (`| head`) has gone: there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        print(f"error: {ui.one_line(line)}", file=sys.stderr)
        code = 1
    sys.exit(code)


def option(name: str, default: str = "") -> str:
    """A variable of make's command line (`make trace ORDER=…`), stripped; the default when absent or empty.

    Make passes it in the environment: on a command line, a shell would run what stands in it.
    """
    return os.environ.get(name, "").strip() or default


def whole_number(name: str, default: int) -> int:
    """An option that must be a whole number of at least 1. Raises UserError naming it otherwise."""
    text = option(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UserError(f"{name} must be a whole number of at least 1, not {text!r}")
    return int(text)
