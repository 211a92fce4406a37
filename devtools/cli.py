"""Run a command: options parsed, and one line for every mistake or failure that its user can act on, never a traceback."""

import errno
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from http.client import HTTPException
from io import TextIOWrapper
from typing import NoReturn

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from devtools import commands, options, ui


class UserError(Exception):
    """A failure that the user can correct. Its text is one line and says how."""

    code = 1


class UsageError(UserError):
    """An option's value is wrong."""

    code = options.USAGE_ERROR


STOPPED = "the target stopped answering ({0}); look at .local/*.log, then `make run` starts it again"
UNREACHABLE = "AWS does not answer ({0}); check AWS_DEFAULT_REGION and the network"
# Errors of the file system that its user can correct; each names the file.
FILE_SYSTEM = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT})
# Errors of the settings by which boto3 finds account and region.
SETTINGS = (
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    InvalidRegionError,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
)


def explain(error: BaseException) -> str | None:
    """Return one line about an error that the user or the target caused, or None for a defect of the tool."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ClientError):
        return text
    if isinstance(error, SETTINGS):
        return f"{text.rstrip('.')}: set AWS_PROFILE, or AWS_DEFAULT_REGION and credentials"
    if isinstance(error, OSError) and error.errno in FILE_SYSTEM and error.filename:
        return f"{error.filename} cannot be written or read: {error.strerror}; the clone needs a writable disk with free space"
    if isinstance(error, HTTPClientError | BotoCoreError | HTTPException | ConnectionError | TimeoutError):
        return (UNREACHABLE if "amazonaws.com" in text else STOPPED).format(text)
    return None


def run(name: str, main: Callable[[Namespace], int | None], words: Sequence[str] | None = None) -> NoReturn:
    """Run a command of `devtools.commands` with the options of make or of the command line, and exit.

    The exit code is what `main` returns (None is 0), 1 after an explained error, 2 after a mistake in the options, 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal without Unicode shows marks such as ✓ as question marks.
            stream.reconfigure(errors="replace")
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
