"""Init script of LocalEmu: it polls event sources as promptly as Lambda does, and repeats no work and waits less.

By itself, LocalEmu polls an idle queue about every ten seconds and a stream every second. It builds the grammar of JSONPath again for
each path that a workflow reads, which takes a third of its time. An update of a function waits up to two seconds for the function's
queue of asynchronous invocations, while other updates wait for it. Each management event has a thread that waits a minute to copy the
event to the default event bus, where this project has no rules. A new container of a function with one layer gets a copy of it, which
takes longer than the rest of its start; here it mounts the layer, read-only as on AWS, where LocalEmu runs on the host.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

STREAM_SECONDS = 0.25
IDLE_QUEUE_SECONDS = 1.0
INVOCATION_QUEUE_SECONDS = 0.25

event_sources: Any = import_module("localemu.services.lambda_.event_source_mapping.esm_worker")
invocation_queues: Any = import_module("localemu.services.lambda_.invocation.internal_sqs_queue")
paths: Any = import_module("localemu.services.stepfunctions.asl.utils.json_path")
result_paths: Any = import_module("localemu.services.stepfunctions.asl.component.common.path.result_path")
cloudtrail: Any = import_module("localemu.services.cloudtrail.recording_hook")
settings: Any = import_module("localemu.config")
containers: Any = import_module("localemu.utils.container_utils.container_client")
layers: Any = import_module("localemu.services.lambda_.invocation.layer_mounter")
starting_container: Any = import_module("localemu.services.lambda_.hooks").start_docker_executor


def briefly(receive: Callable[..., Any]) -> Callable[..., Any]:
    """Shorten the wait of receiving a function's asynchronous invocations."""

    @functools.wraps(receive)
    def received(*args: Any, **options: Any) -> Any:
        return receive(*args, **options | {"WaitTimeSeconds": min(options.get("WaitTimeSeconds") or 0, INVOCATION_QUEUE_SECONDS)})

    return received


def mounting(prepare: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Mount the layer of a function that has one, when its container is created."""

    @functools.wraps(prepare)
    def prepared(container: Any, version: Any) -> None:
        prepare(container, version)
        if _has_one_layer(version):
            [layer] = version.config.layers
            container.volumes = container.volumes or containers.VolumeMappings()
            container.volumes.add(containers.BindMount(str(layers._unzip_layer_to_cache(layer)), "/opt", read_only=True))

    return prepared


def copying_several(prepare: Callable[[Any], object]) -> Callable[[Any], object]:
    """Let only functions with several layers get copies."""

    @functools.wraps(prepare)
    def prepared(version: Any) -> object:
        return None if _has_one_layer(version) else prepare(version)

    return prepared


def _has_one_layer(version: Any) -> bool:
    return len(version.config.layers or ()) == 1


def _forward_nothing(**_event: Any) -> None:
    pass


event_sources.LAMBDA_EVENT_SOURCE_MAPPING_POLL_INTERVAL_SEC = STREAM_SECONDS
event_sources.LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_EMPTY_POLL_SEC = IDLE_QUEUE_SECONDS
invocation_queues.FakeSqsClient.receive_message = briefly(invocation_queues.FakeSqsClient.receive_message)
for module in (paths, result_paths):
    module.parse = functools.cache(module.parse)
cloudtrail._emit_cloudtrail_to_eventbridge = _forward_nothing
if not settings.is_in_docker:
    starting_container.run = mounting(starting_container.run)
    layers.prepare_merged_opt = copying_several(layers.prepare_merged_opt)
