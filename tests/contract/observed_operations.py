"""Run the functions that keep the pipeline healthy: recovery, rebuilds, publication, redrive, remediation and failed batches."""

import copy
import importlib
import io
import json
from datetime import timedelta
from typing import Any

import pytest

from operations import redrive_routes
from operations.domain import alarm_signals
from operations.domain.alarm_names import NAMES
from operations.handlers import decide_remediation
from operations.redrive_routes import dead_letters
from orderflow.aws.batch import FailedRecordQueue
from tests.contract.observer import Observer, sample
from tests.contract.stack import referred
from tests.contract.test_routing import RESOURCES, short
from tests.support import prepared

# Each consumer of a stream, and the queue of its failed records.
STREAM_CONSUMERS = {
    function["Handler"].removesuffix(".handler"): short(RESOURCES[referred(queue)]["Properties"]["QueueName"])
    for function in (resource["Properties"] for resource in RESOURCES.values() if resource["Type"] == "AWS::Lambda::Function")
    if (queue := function["Environment"]["Variables"].get("RETRY_QUEUE_URL"))
}


def every_recovery(observed: Observer) -> None:
    """Recover a confirmed order whose marker was not cleared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("operations.handlers.recover_orders.STUCK_AFTER", timedelta(0))
        confirm_with_marker(observed)
        observed.run("operations.handlers.recover_orders", {})


def confirm_with_marker(observed: Observer) -> None:
    """Confirm an order without clearing its active-order marker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observed.aws.dynamodb, "update_item", lambda **_: {})
        prepared.prepare(
            observed.log,
            "ord_with_marker",
            "inventory.handlers.reserve_stock",
            "fraud.handlers.screen_order",
            "payments.handlers.authorize_payment",
            "orders.handlers.confirm_order",
        )


def every_rebuild(observed: Observer) -> None:
    """Rebuild the tables of an invoiced order, of one with reserved and returned stock, and of an unpaid one."""
    prepared.place(observed.log, "ord_unpaid")
    prepared.prepare(observed.log, "ord_000000screenscreenedbefore")
    observed.run("orders.handlers.rebuild_view", {})
    invoiced = {"orders": ["ord_0000000000invoiceconfirmed"]}
    observed.run("invoices.handlers.rebuild_invoices", invoiced)
    observed.run("fraud.handlers.rebuild_history", sample("fraud/rebuild_history/screened"))
    orders = {"orders": ["ord_leaving", "ord_000000screenscreenedbefore"]}
    observed.run("inventory.handlers.rebuild_stock", orders)
    for levels in ({"MUG-BLUE": (1, 1)}, {"NO-ROW": (1, 0)}):
        observed.run("inventory.handlers.rebuild_stock", {"levels": levels})


def every_publication(observed: Observer) -> None:
    """Publish an event of a sampled order, and detect a missing one."""
    record = sample("orders/publish/appended")["Records"][0]
    record["dynamodb"]["NewImage"]["outbox"] = {"S": "0"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orderflow.aws.order_log_items.SAMPLE", 1)
        patch.setattr("operations.handlers.publish_missing_events.OVERDUE_AFTER", timedelta(0))
        prepared.place(observed.log, "ord_sampled")
        observed.run("orders.handlers.publish", {"Records": [record]})
        observed.run("operations.handlers.publish_missing_events", {})


def every_redrive(observed: Observer) -> None:
    """Redrive a dead letter of every queue, one that a rule could not deliver, and a failed batch of the publisher."""
    body = json.dumps({"detail": {"order_id": "ord_good", "correlation_id": "c"}, "order_id": "ord_good", "correlation_id": "c"})
    dead_letter = {"MessageId": "m", "ReceiptHandle": "r", "Body": body}
    for queue in redrive_routes.routes("operations", topic="", saga="", workflows={redrive_routes.REVIEW: ""}):
        observed.lend(receive_message=[{"Messages": [dead_letter]}])
        observed.run("operations.handlers.redrive", {"queue": queue, "max": 1})
    of_rule = {"RULE_ARN": {"DataType": "String", "StringValue": "rule"}}
    observed.lend(receive_message=[{"Messages": [{**dead_letter, "MessageAttributes": of_rule}]}])
    observed.run("operations.handlers.redrive", {"queue": "mail", "max": 1})
    key_range = {"streamArn": "arn:aws:dynamodb:stream", "shardId": "s", "startSequenceNumber": "1", "endSequenceNumber": "1"}
    keys = {"order_id": {"S": "ord_good"}, "version": {"N": "1"}}
    observed.lend(
        receive_message=[{"Messages": [{**dead_letter, "Body": json.dumps({"DDBStreamBatchInfo": key_range})}]}],
        get_shard_iterator={"ShardIterator": "i"},
        get_records={"Records": [{"eventName": "INSERT", "dynamodb": {"Keys": keys, "SequenceNumber": "1"}}]},
        put_events={"FailedEntryCount": 0, "Entries": []},
    )
    observed.run("operations.handlers.redrive", {"queue": "publish", "max": 1})
    failed = {**dead_letter, "Body": json.dumps({**json.loads(body), "workflow": "review"})}
    observed.lend(receive_message=[{"Messages": [failed]}])
    observed.run("operations.handlers.redrive", {"queue": "operations", "max": 1})


def every_remediation(observed: Observer) -> None:
    """Decide on alarms of every kind, and perform every action."""
    states = ((3, "DEPLOYING"), (2, "COMPLETE"), (1, "COMPLETE"))
    flags = [{"DeploymentNumber": number, "State": state, "ConfigurationVersion": "1"} for number, state in states]
    found: dict[str, Any] = {
        "describe_alarms": {"MetricAlarms": [{"StateValue": "ALARM"}]},
        "list_deployment_groups": {"deploymentGroups": ["group"]},
        "batch_get_deployments": {"deploymentsInfo": [{"deploymentId": "d-1", "creator": "CloudFormation"}]},
        "get_event_source_mapping": {"FunctionArn": "function"},
        "get_function_configuration": {"FunctionName": "function"},
        "get_queue_attributes": {"Attributes": {"ApproximateNumberOfMessages": "0"}},
        "filter_log_events": {"events": []},
        "receive_message": {"Messages": [{"MessageId": "1", "Body": "", "Attributes": {"SentTimestamp": "1"}}]},
        "create_hosted_configuration_version": {"VersionNumber": 3},
        "put_events": {"FailedEntryCount": 0, "Entries": []},
    }

    def lend() -> None:
        documents = [{"Content": io.BytesIO(b"{}")} for _ in range(9)]
        observed.lend(**found, list_deployments={"Items": flags, "deployments": ["d-1"]}, get_hosted_configuration_version=documents)

    alarms = [sample("operations/decide_remediation/unlisted")["alarm"]]
    queues = [dead_letters(name) for name in redrive_routes.routes("operations", topic="", saga="", workflows={redrive_routes.REVIEW: ""})]
    watched = [("ApproximateNumberOfMessagesVisible", queue) for queue in queues]
    watched += [("ApproximateAgeOfOldestMessage", queue) for queue in alarm_signals.LIMITS]
    metrics = [{"namespace": "AWS/SQS", "name": name, "dimensions": {"QueueName": f"order-pipeline-{queue}"}} for name, queue in watched]
    metrics += [{"namespace": "AWS/ApiGateway", "name": "5XXError", "dimensions": {"ApiName": "order-pipeline"}}]
    assert len(metrics) <= len(NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide_remediation.CONSUMERS, "_mappings", dict.fromkeys(redrive_routes.QUEUES, "mapping"))
        for name, metric in zip(sorted(NAMES), metrics, strict=False):
            alarm = copy.deepcopy(alarms[0])
            alarm["detail"] |= {"alarmName": f"order-pipeline-{name}", "configuration": {"metrics": [{"metricStat": {"metric": metric}}]}}
            lend()
            observed.run("operations.handlers.decide_remediation", {"alarm": alarm, "execution": "e"})
        raised = {"claim": {"S": "raise_concurrency shipping-request"}, "raised_to": {"N": "20"}, "restore_to": {"N": "10"}}
        observed.aws.dynamodb.client.put_item(TableName="Remediations", Item=raised)
        found["describe_alarms"] = {"MetricAlarms": [{"StateValue": "OK"}]}
        found["get_event_source_mapping"] |= {"ScalingConfig": {"MaximumConcurrency": 20}}
        recovered = sample("operations/decide_remediation/recovered")
        lend()
        observed.run("operations.handlers.decide_remediation", recovered)
    for action in ("raise_concurrency", "hold_orders", "roll_back_flags", "stop_release"):
        lend()
        decision = {"outcome": "perform", "action": {"action": action, "target": "x", "before": {"flags": "x"}, "number": 1}}
        given = {**sample("operations/remediate/refused"), "decision": decision}
        observed.run("operations.handlers.remediate", {name: value for name, value in given.items() if name != "result"})


def every_stream_failure(observed: Observer) -> None:
    """Fail a record in each stream consumer, and redrive a failed batch."""
    with pytest.MonkeyPatch.context() as patch:
        for module, queue in STREAM_CONSUMERS.items():
            consumer = importlib.import_module(module)
            patch.setattr(consumer, "FAILED_RECORDS", FailedRecordQueue(f"https://sqs.invalid/{queue}"))
            observed.run(module, {"Records": [{"eventSource": "aws:kinesis", "kinesis": {"data": ""}}]})
    key_range = {"streamArn": "arn:aws:kinesis:stream", "shardId": "s", "startSequenceNumber": "1", "endSequenceNumber": "1"}
    body = {"requestContext": {"functionArn": "arn:aws:lambda:r:a:function:ledger-post"}, "KinesisBatchInfo": key_range}
    observed.lend(
        receive_message=[{"Messages": [{"MessageId": "m", "ReceiptHandle": "r", "Body": json.dumps(body)}]}],
        get_shard_iterator={"ShardIterator": "i"},
        get_records={"Records": [{"SequenceNumber": "1", "Data": b'{"type": "PaymentAuthorized"}'}]},
    )
    observed.run("operations.handlers.redrive", {"queue": "ledger", "max": 1})
