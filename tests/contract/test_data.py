"""Stored data: backups, encryption, deletion with the stack, and the event archive."""

from typing import Any

import pytest

from orderflow.domain import remediation_events
from orderflow.domain.events import EVENT_TYPES, Event
from tests.contract.stack import Stack, referred
from tests.support.guidance import require_same

# Tables with lasting data; the disposable ones hold data that expires or can be rebuilt.
RETAINED = {
    "OrderLog",
    "Invoices",
    "LoyaltyPoints",
    "Catalogue",
    "Stock",
    "Reservations",
    "ReturnedStock",
    "Reviews",
    "Fraud",
    "LedgerEntries",
    "LedgerBalances",
    "StripePayments",
    "PaymentRoutes",
}
DISPOSABLE = {
    "PaymentTokens",
    "Allowances",
    "SandboxPayments",
    "SandboxShipments",
    "Tracking",
    "MailIdempotency",
    "Remediations",
    "OrderView",
    "AnalyticsSums",
}


class TestData:
    def test_every_table_has_point_in_time_recovery(self, stack: Stack) -> None:
        tables = stack.of("DynamoDB::Table")
        where = "RETAINED in this file, or DISPOSABLE if its data expires or can be rebuilt"
        require_same(RETAINED | DISPOSABLE, tables, where, "the tests of this class check how each table is kept")
        for name, table in tables.items():
            # A deleted payment token must not remain in a backup.
            recovered = name != "PaymentTokens"
            assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": recovered}, name

    def test_no_stack_operation_loses_orders_or_stock(self, stack: Stack) -> None:
        for name in RETAINED:
            assert stack.resources[name]["DeletionPolicy"] in {"Retain", "RetainExceptOnCreate"}, name
            assert stack.resources[name]["UpdateReplacePolicy"] == "Retain", name
            assert stack.of("DynamoDB::Table")[name]["DeletionProtectionEnabled"] == {"Fn::If": ["IsProtected", True, False]}
        assert stack.resources["UserPool"]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert stack.resources["UserPool"]["UpdateReplacePolicy"] == "Retain"

    def test_invoice_bucket_is_private_encrypted_and_versioned(self, stack: Stack) -> None:
        for name, bucket in stack.of("S3::Bucket").items():
            assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, name
            assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"], name
            assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}, name
            assert stack.resources[name]["DeletionPolicy"] == "RetainExceptOnCreate", name
            [policy] = [p for p in stack.of("S3::BucketPolicy").values() if referred(p["Bucket"]) == name]
            [statement] = policy["PolicyDocument"]["Statement"]
            assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}}), name

    def test_disposable_tables_are_deleted_with_the_stack(self, stack: Stack) -> None:
        for name in DISPOSABLE:
            assert stack.resources[name]["DeletionPolicy"] == "Delete", name

    def test_everything_is_encrypted_at_rest(self, stack: Stack) -> None:
        assert all(queue["SqsManagedSseEnabled"] is True for queue in stack.of("SQS::Queue").values())
        keys = [referred(topic["KmsMasterKeyId"]) for topic in stack.of("SNS::Topic").values()]
        assert {stack.kind(key) for key in keys} == {"KMS::Key"}
        # DynamoDB always encrypts, by default with its own key.
        assert all("SSESpecification" not in table for table in stack.of("DynamoDB::Table").values())
        assert all(key["EnableKeyRotation"] for key in stack.of("KMS::Key").values())


class TestArchive:
    @pytest.fixture
    def delivery(self, stack: Stack) -> dict[str, Any]:
        """Return the delivery stream, the only writer of the archive."""
        [stream] = stack.of("KinesisFirehose::DeliveryStream").values()
        return stream

    def test_archived_objects_cannot_be_changed(self, stack: Stack) -> None:
        bucket = stack.of("S3::Bucket")["AuditArchive"]
        assert bucket["ObjectLockEnabled"] is True
        assert bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]["Mode"] == "GOVERNANCE"
        assert stack.resources["AuditArchive"]["UpdateReplacePolicy"] == "Retain"
        writers = [role for role in stack.of("IAM::Role") if any(name.startswith("AuditArchive") for _, name in stack.grants(role))]
        assert writers == ["AuditDeliveryRole"]

    def test_archive_receives_every_event_of_the_stream(self, delivery: dict[str, Any]) -> None:
        assert delivery["DeliveryStreamType"] == "KinesisStreamAsSource"
        assert referred(delivery["KinesisStreamSourceConfiguration"]["KinesisStreamARN"]) == "EventStream"
        assert "DeliveryStreamName" in delivery

    def test_objects_are_compressed_lines_by_day_and_type_of_their_events(self, delivery: dict[str, Any]) -> None:
        destination = delivery["ExtendedS3DestinationConfiguration"]
        assert referred(destination["BucketARN"]) == "AuditArchive"
        assert destination["CompressionFormat"] == "GZIP"
        assert destination["Prefix"] == "events/date=!{partitionKeyFromQuery:date}/type=!{partitionKeyFromQuery:type}/"
        assert destination["DynamicPartitioningConfiguration"]["Enabled"] is True
        # The minimum for dynamic partitioning.
        assert destination["BufferingHints"]["SizeInMBs"] >= 64
        [query, delimiter] = [
            {one["ParameterName"]: one["ParameterValue"] for one in processor["Parameters"]}
            for processor in destination["ProcessingConfiguration"]["Processors"]
        ]
        assert query == {"MetadataExtractionQuery": "{date: .occurred_at[0:10], type: .type}", "JsonParsingEngine": "JQ-1.6"}
        assert delimiter == {"Delimiter": r"\n"}

    def test_delivery_role_may_read_the_stream_and_write_objects_only(self, stack: Stack, delivery: dict[str, Any]) -> None:
        roles = {referred(delivery[name]["RoleARN"]) for name in ("KinesisStreamSourceConfiguration", "ExtendedS3DestinationConfiguration")}
        assert roles == {"AuditDeliveryRole"}
        assert stack.grants("AuditDeliveryRole") == {
            *((f"kinesis:{action}", "EventStream") for action in ("DescribeStream", "ListShards", "GetShardIterator", "GetRecords")),
            *((f"s3:{action}", "AuditArchive") for action in ("GetBucketLocation", "ListBucket", "ListBucketMultipartUploads")),
            *((f"s3:{action}", "AuditArchive/*") for action in ("PutObject", "AbortMultipartUpload")),
            ("logs:PutLogEvents", "AuditDeliveryLogs"),
        }
        [statement] = stack.resources["AuditDeliveryRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "firehose.amazonaws.com"}

    def test_archive_delivery_failures_raise_an_alarm(self, stack: Stack, delivery: dict[str, Any]) -> None:
        logging = delivery["ExtendedS3DestinationConfiguration"]["CloudWatchLoggingOptions"]
        assert logging["Enabled"] is True
        counted = [referred(one["LogGroupName"]) for one in stack.of("Logs::MetricFilter").values()]
        assert referred(logging["LogGroupName"]) in counted
        found = {alarm.get("MetricName") for alarm in stack.of("CloudWatch::Alarm").values()}
        # The last is the age of records that any reader of the event stream gets, Firehose among them.
        assert found >= {"DeliveryToS3.DataFreshness", "AuditDeliveryErrors", "GetRecords.IteratorAgeMilliseconds"}

    def test_athena_finds_every_day_and_type(self, stack: Stack, delivery: dict[str, Any]) -> None:
        table = stack.of("Glue::Table")["AuditTable"]["TableInput"]
        parameters = table["Parameters"]
        separator, values = parameters["projection.type.values"]["Fn::Join"]
        assert (separator, values) == (",", [*EVENT_TYPES, *(event.type for event in remediation_events.EVENTS)]), (
            "run `make contracts`, which writes this list"
        )
        assert parameters["storage.location.template"] == {"Fn::Sub": "s3://${AuditArchive}/events/date=${!date}/type=${!type}/"}
        columns = [column["Name"] for column in (*table["StorageDescriptor"]["Columns"], *table["PartitionKeys"])]
        assert sorted(columns) == sorted(["date", *Event.__struct_fields__])

    def test_athena_workgroup_limits_scanned_bytes(self, stack: Stack) -> None:
        [workgroup] = stack.of("Athena::WorkGroup").values()
        configuration = workgroup["WorkGroupConfiguration"]
        assert configuration["EnforceWorkGroupConfiguration"] is True
        assert configuration["BytesScannedCutoffPerQuery"] > 0
        for query in stack.of("Athena::NamedQuery").values():
            assert (referred(query["Database"]), referred(query["WorkGroup"])) == ("AuditCatalogue", "AuditQueries")
