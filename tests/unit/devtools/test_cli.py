"""A user's mistake ends in one line."""

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from devtools import cli


def _raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
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
def test_an_explained_error_is_one_line_on_stderr(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run(_raising(error))
    shown = capsys.readouterr()
    assert end.value.code == 1
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.run(_raising(ZeroDivisionError()))


def test_ctrl_c_ends_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run(_raising(KeyboardInterrupt()))
    assert end.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_answer_is_the_exit_code(answer: int | None, code: int) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run(lambda: answer)
    assert end.value.code == code


def test_an_option_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER", " ord_option ")
    assert cli.option("ORDER", "other") == "ord_option"
    monkeypatch.setenv("ORDER", " ")
    assert cli.option("ORDER", "other") == "other"


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "²"])
def test_a_number_that_is_none_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX", text)
    with pytest.raises(cli.UserError, match="MAX"):
        cli.whole_number("MAX", 10)
