"""Errors of commands: one line on stderr and an exit code other than 0."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, InvalidRegionError, NoCredentialsError, NoRegionError, ProfileNotFound

from devtools import cli
from devtools.target import ROOT


def _raising(error: BaseException) -> Callable[[object], None]:
    def main(_: object) -> None:
        raise error

    return main


@pytest.mark.parametrize(
    "error",
    [
        cli.UserError("there is no file x"),
        EndpointConnectionError(endpoint_url="http://127.0.0.1:4566"),
        ConnectionRefusedError(111, "refused"),
        TimeoutError("timed out"),
        ClientError({"Error": {"Code": "AccessDenied", "Message": "no\nway"}}, "PutItem"),
    ],
)
def test_explained_error_is_one_line_on_stderr(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run("trial-balance", _raising(error), [])
    printed = capsys.readouterr()
    assert end.value.code == 1
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:4566/"), "the target stopped answering"),
        (EndpointConnectionError(endpoint_url="https://sqs.eu-nowhere-1.amazonaws.com/"), "AWS does not answer"),
        (NoCredentialsError(), "Unable to locate credentials: set AWS_PROFILE, or AWS_DEFAULT_REGION and credentials"),
        (NoRegionError(), "You must specify a region: set AWS_PROFILE"),
        (ProfileNotFound(profile="staging"), "The config profile (staging) could not be found: set AWS_PROFILE"),
        (InvalidRegionError(region_name="eu west"), "Provided region_name 'eu west' doesn't match a supported format: set AWS_PROFILE"),
    ],
)
def test_explanation_says_what_to_set(error: Exception, line: str) -> None:
    explained = cli.explain(error) or ""
    assert explained.startswith(line)
    assert ("make run" in explained) == ("127.0.0.1" in explained)


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_file_that_cannot_be_written_is_named(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run("trial-balance", _raising(OSError(number, os.strerror(number), "/clone/.local/lock")), [])
    printed = capsys.readouterr().err
    assert end.value.code == 1
    assert printed.startswith(f"error: /clone/.local/lock cannot be written or read: {os.strerror(number)}; ")
    assert printed.count("\n") == 1


def test_missing_file_of_the_tool_keeps_its_traceback() -> None:
    with pytest.raises(FileNotFoundError):
        cli.run("trial-balance", _raising(FileNotFoundError(errno.ENOENT, "No such file", "parts/consumer.txt")), [])


def test_terminal_without_unicode_gets_its_own_characters() -> None:
    program = "from devtools import cli, ui; cli.run('doctor', lambda _: ui.done('stack', 'deployed'), [])"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "stack" in ended.stdout


def test_wrong_value_exits_with_2() -> None:
    with pytest.raises(SystemExit) as end:
        cli.run("trial-balance", _raising(cli.UsageError("FROM must be a day")), [])
    assert end.value.code == 2


def test_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.run("trial-balance", _raising(ZeroDivisionError()), [])


def test_ctrl_c_ends_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run("trial-balance", _raising(KeyboardInterrupt()), [])
    assert end.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


def test_ctrl_c_while_a_command_is_imported_ends_quietly() -> None:
    program = (
        "import importlib, runpy, sys\n"
        "def interrupt(name): raise KeyboardInterrupt\n"
        "importlib.import_module, sys.argv = interrupt, ['devtools', 'doctor']\n"
        "runpy.run_module('devtools', run_name='__main__')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "\ninterrupted\n")


@pytest.mark.parametrize(("answer", "code"), [(None, 0), (0, 0), (1, 1)])
def test_return_value_is_the_exit_code(answer: int | None, code: int) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run("trial-balance", lambda _: answer, [])
    assert end.value.code == code
