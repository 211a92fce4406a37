"""The init scripts of LocalEmu change the parts of it that they name; the integration tests run on the real one."""

from __future__ import annotations

import runpy
import sys
from base64 import b64encode
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from devtools.target import ROOT

SERVICES = "localemu.services"


def run(patch: pytest.MonkeyPatch, script: str, **modules: SimpleNamespace) -> None:
    """Run a script where these are LocalEmu's modules, by their names below its services."""
    for name, module in modules.items():
        patch.setitem(sys.modules, f"{SERVICES}.{name}", module)  # pyright: ignore[reportArgumentType]
    runpy.run_path(str(ROOT / "devtools" / "local" / "localemu" / script))


def test_archived_event_has_a_time_that_replays_compare(monkeypatch: pytest.MonkeyPatch):
    archived: list[Any] = []
    service = SimpleNamespace(put_events=lambda _self, events: archived.extend(events))

    run(monkeypatch, "replays.py", **{"events.archive": SimpleNamespace(ArchiveService=service)})
    service.put_events(None, [{"id": "1", "time": "2026-11-28T12:00:00Z"}])

    assert archived == [{"id": "1", "time": datetime(2026, 11, 28, 12, tzinfo=UTC)}]


def test_gateway_response_takes_mapped_headers_from_the_request(monkeypatch: pytest.MonkeyPatch):
    mapping = "method.request.header."
    built = {"X-Correlation-Id": f"{mapping}X-Correlation-Id", "X-Other": f"{mapping}X-Other", "Retry-After": "1"}
    handler = SimpleNamespace(_build_response_headers=lambda *_: dict(built))
    context = SimpleNamespace(invocation_request={"headers": {"X-Correlation-Id": "page-1"}})

    module = "apigateway.next_gen.execute_api.handlers.gateway_exception"
    run(monkeypatch, "mapped_headers.py", **{module: SimpleNamespace(GatewayExceptionHandler=handler)})
    headers = handler._build_response_headers.__func__(None, {}, context)

    assert headers == {"X-Correlation-Id": "page-1", "Retry-After": "1"}


def test_partitioned_records_are_written_below_their_keys_with_delimiters(monkeypatch: pytest.MonkeyPatch):
    written, unpartitioned = dict[str, bytes](), list[Any]()
    provider = SimpleNamespace(_put_records_to_s3_bucket=lambda *given: unpartitioned.append(given[-1]))
    s3 = SimpleNamespace(put_object=lambda **put: written.update({f"{put['Bucket']}/{put['Key'].rpartition('/')[0]}": put["Body"]}))
    module = SimpleNamespace(
        FirehoseProvider=provider, connect_to=lambda: SimpleNamespace(s3=s3), s3_bucket_name=lambda arn: arn.rpartition(":")[2]
    )
    run(monkeypatch, "partitions.py", **{"firehose.provider": module})
    destination: dict[str, Any] = {"BucketARN": "arn:aws:s3:::archive", "Prefix": "a/day=!{partitionKeyFromQuery:day}/b/"}
    query = {"ParameterName": "MetadataExtractionQuery", "ParameterValue": "{day: .at[0:10], type: .type}"}
    end = {"ParameterName": "Delimiter", "ParameterValue": "\\n"}
    processing = {"ProcessingConfiguration": {"Processors": [{"Parameters": [query]}, {"Parameters": [end]}]}}
    bodies = [f'{{"at": "2026-11-{day}T12:00:00Z", "type": "T"}}'.encode() for day in (28, 29, 28)]
    records = [{"Data": b64encode(body)} for body in bodies]

    provider._put_records_to_s3_bucket(
        None, "s", records, destination | processing | {"DynamicPartitioningConfiguration": {"Enabled": True}}
    )
    provider._put_records_to_s3_bucket(None, "s", records, destination)

    assert written == {
        "archive/a/day=2026-11-28/b": b"".join([bodies[0], b"\n", bodies[2], b"\n"]),
        "archive/a/day=2026-11-29/b": bodies[1] + b"\n",
    }
    assert unpartitioned == [destination]


@pytest.fixture
def localemu(monkeypatch: pytest.MonkeyPatch) -> dict[str, SimpleNamespace]:
    """Modules of LocalEmu that return their arguments, changed by less_waiting.py; a parser returns a new object for each call."""
    modules = {
        "lambda_.event_source_mapping.esm_worker": SimpleNamespace(),
        "lambda_.invocation.internal_sqs_queue": SimpleNamespace(
            FakeSqsClient=SimpleNamespace(receive_message=lambda **options: options["WaitTimeSeconds"])
        ),
        "stepfunctions.asl.utils.json_path": SimpleNamespace(parse=lambda _path: object()),
        "stepfunctions.asl.component.common.path.result_path": SimpleNamespace(parse=lambda _path: object()),
        "cloudtrail.recording_hook": SimpleNamespace(),
        "lambda_.invocation.layer_mounter": SimpleNamespace(
            prepare_merged_opt=lambda version: version.config.layers, _unzip_layer_to_cache=lambda layer: f"/unzipped/{layer}"
        ),
        "lambda_.hooks": SimpleNamespace(start_docker_executor=SimpleNamespace(run=lambda *_: None)),
    }
    mounts = SimpleNamespace(
        VolumeMappings=lambda: SimpleNamespace(add=lambda _mount: None), BindMount=lambda *given, **more: (*given, more)
    )
    monkeypatch.setitem(sys.modules, "localemu.utils.container_utils.container_client", mounts)  # pyright: ignore[reportArgumentType]
    monkeypatch.setitem(sys.modules, "localemu.config", SimpleNamespace(is_in_docker=False))  # pyright: ignore[reportArgumentType]
    run(monkeypatch, "less_waiting.py", **modules)
    return modules


def test_path_of_a_workflow_is_parsed_once(localemu: dict[str, SimpleNamespace]):
    parse = localemu["stepfunctions.asl.utils.json_path"].parse

    assert parse("$.order_id") is parse("$.order_id")
    assert parse("$.order_id") is not parse("$.amount")


@pytest.mark.parametrize(("seconds", "waited"), [(2, 0.25), (0, 0), (None, 0)])
def test_poll_of_asynchronous_invocations_is_short(localemu: dict[str, SimpleNamespace], seconds: int | None, waited: float):
    queues = localemu["lambda_.invocation.internal_sqs_queue"].FakeSqsClient

    assert queues.receive_message(WaitTimeSeconds=seconds) == waited


@pytest.mark.parametrize(
    ("attached", "mounted", "copied"),
    [(["a"], [("/unzipped/a", "/opt", {"read_only": True})], None), (["a", "b"], [], ["a", "b"]), ([], [], [])],
)
def test_only_layer_is_mounted_and_several_are_copied(localemu: dict[str, SimpleNamespace], attached: list[str], mounted: Any, copied: Any):
    version, added = SimpleNamespace(config=SimpleNamespace(layers=attached)), list[Any]()
    container = SimpleNamespace(volumes=SimpleNamespace(add=added.append))

    localemu["lambda_.hooks"].start_docker_executor.run(container, version)

    assert added == mounted
    assert localemu["lambda_.invocation.layer_mounter"].prepare_merged_opt(version) == copied
