"""Comparing answers with samples, and the samples of each function."""

import json
from pathlib import Path
from typing import Any

import pytest

from devtools.cli import UserError
from devtools.local import containers, samples


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"outcome": "reserved"}, {"outcome": "reserved", "more": 1}),
        ({"statusCode": 201, "body": {"state": "placed"}}, {"statusCode": 201, "body": '{"state": "placed", "total": 1}'}),
        ({"batchItemFailures": []}, {"batchItemFailures": []}),
        ([{"a": 1}], [{"a": 1, "b": 2}]),
    ],
)
def test_answer_can_have_more_fields(expected: Any, actual: Any) -> None:
    assert not list(samples.differences(expected, actual))


@pytest.mark.parametrize(
    ("expected", "actual", "where"),
    [
        ({"outcome": "reserved"}, {"outcome": "out_of_stock"}, "answer.outcome"),
        ({"outcome": "reserved"}, {"errorMessage": "boom", "errorType": "RuntimeError"}, "answer.outcome"),
        ({"outcome": "reserved"}, None, "answer"),
        ({"body": {"state": "placed"}}, {"body": "<html>"}, "answer.body"),
        ({"batchItemFailures": []}, {"batchItemFailures": [{"itemIdentifier": "1"}]}, "answer.batchItemFailures"),
        ([1, 2], [1, 3], "answer[1]"),
        ({"moved": 1}, {"moved": True}, "answer.moved"),
    ],
)
def test_difference_is_reported_with_its_path(expected: Any, actual: Any, where: str) -> None:
    (line,) = samples.differences(expected, actual)
    assert line.startswith(f"{where} is ")


def test_error_fails_a_sample_without_expected_answer(tmp_path: Path) -> None:
    sample = tmp_path / "case.json"
    assert samples.check(sample, {"errorType": "Runtime.ImportModuleError", "errorMessage": "no module"})
    assert not samples.check(sample, {"outcome": "swept"})
    assert not samples.check(sample, None)


def test_names_in_a_sample_are_replaced_as_json_text() -> None:
    text = samples.filled('{"token": "Bearer ${TOKEN_ANN}", "price": "$5"}', {"TOKEN_ANN": 'a"b'})
    assert json.loads(text) == {"token": 'Bearer a"b', "price": "$5"}


def test_unknown_name_in_a_sample_is_reported() -> None:
    with pytest.raises(UserError, match="TOKEN_NOBODY"):
        samples.filled('"${TOKEN_NOBODY}"', {"TOKEN_ANN": "x"})


@pytest.mark.parametrize("function", samples.functions(), ids=lambda function: function.module)
def test_every_function_has_samples(function: samples.Function) -> None:
    assert function.samples


def test_samples_are_json_and_answers_have_samples() -> None:
    for path in samples.EVENTS.rglob("*.json"):
        json.loads(path.read_text())
        if path.name.endswith(".answer.json"):
            assert path.with_name(path.name.replace(".answer.json", ".json")).exists(), path


def test_layer_arn_depends_on_its_content(tmp_path: Path) -> None:
    """SAM reuses the image of a layer with the same ARN."""
    layer, cache = tmp_path / "Layer", tmp_path / "cache"
    layer.mkdir()
    arns: list[str] = []
    for content in ("a = 1", "a = 2", "a = 1"):
        (layer / "module.py").write_text(content)
        arns += containers.downloaded([layer], cache)
        [unpacked] = cache.iterdir()
        assert (unpacked / "module.py").read_text() == content
    assert arns[0] == arns[2] != arns[1]


def test_missing_docker_engine_is_reported_with_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(UserError, match=r"https://docs\.docker\.com") as raised:
        containers.require_engine("x86_64")
    assert "\n" not in str(raised.value)
