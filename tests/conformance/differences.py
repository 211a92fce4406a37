"""Differences of the targets from AWS's documentation. Each is asserted: one that disappears fails its test."""

from __future__ import annotations

from dataclasses import dataclass

from tests.conformance.targets import EMULATOR, FAKE, MOTO

ACCEPTED = "accepts it"


@dataclass(frozen=True)
class Difference:
    """Tests that fail on a target; `shows` is a part of their failure message.

    `tests` has the names of test functions, with the case in brackets where they have several. A difference that depends on
    timing is `unsteady`: its tests do not run.
    """

    operation: str
    target: str
    does: str
    documented: str
    tests: tuple[str, ...]
    shows: str = ""
    unsteady: bool = False


def _cases(test: str, *cases: str) -> tuple[str, ...]:
    return tuple(f"{test}[{case}]" for case in cases)


_SYNTAX = "ValidationException"
_OVERLAP = "ValidationException for two paths that overlap, and for a clause that occurs twice"

DIFFERENCES = (
    Difference(
        "ConditionExpression, malformed",
        EMULATOR,
        "evaluates parts of `!=`, `&`, arithmetic and the order of booleans: the condition fails",
        _SYNTAX,
        _cases(
            "test_malformed_condition_is_refused",
            "available != :five",
            "available + :five > :five",
            "available < :flag",
            "available & :five",
        ),
        "ConditionalC",
    ),
    Difference(
        "ConditionExpression, malformed",
        MOTO,
        "raises ValueError in the caller's process",
        _SYNTAX,
        _cases(
            "test_malformed_condition_is_refused",
            "available",
            "available = ",
            "available == :five",
            "available != :five",
            "available = :five AND",
            "available = :five label",
            "attribute_exists(available, :five)",
            "attribute_exists(:five)",
            "if_not_exists(available, :five) = :five",
            "available + :five > :five",
            "available & :five",
        ),
        "ValueError",
    ),
    Difference(
        "ConditionExpression, undefined placeholder",
        MOTO,
        "raises KeyError in the caller's process",
        _SYNTAX,
        _cases("test_malformed_condition_is_refused", "available = :undefined", "#undefined = :five"),
        "KeyError",
    ),
    Difference(
        "ConditionExpression, order of booleans",
        MOTO,
        "compares them: the condition fails",
        _SYNTAX,
        _cases("test_malformed_condition_is_refused", "available < :flag"),
        "ConditionalC",
    ),
    Difference(
        "BatchWriteItem, a key twice", MOTO, ACCEPTED, "ValidationException", ("test_batch_of_writes_takes_no_key_twice",), "accepted"
    ),
    Difference("ConditionExpression, empty", MOTO, ACCEPTED, _SYNTAX, ("test_empty_condition_is_refused",), "accepted"),
    Difference(
        "ExpressionAttributeValues, unused",
        MOTO,
        ACCEPTED,
        _SYNTAX,
        _cases("test_unused_or_empty_placeholders_are_refused", "unused value"),
        "accepted",
    ),
    Difference(
        "ConditionExpression, order of different types",
        MOTO,
        "raises TypeError in the caller's process",
        "the comparison is false",
        _cases("test_condition_that_does_not_hold_stops_the_write", "label < :five"),
        "TypeError",
    ),
    Difference(
        "ConditionExpression, begins_with on a number",
        EMULATOR,
        "ValidationException",
        "the function is false for an attribute of another type",
        _cases("test_condition_that_does_not_hold_stops_the_write", "begins_with(available, :x)"),
        "ValidationException",
    ),
    Difference(
        "PutItem, numbers",
        MOTO,
        "returns numbers as they were written",
        "returns numbers in normal form, without leading and trailing zeroes",
        ("test_get_returns_numbers_in_normal_form",),
        "007.50",
    ),
    Difference(
        "PutItem, malformed value",
        MOTO,
        ACCEPTED,
        "ValidationException for 39 digits, a duplicate in a set, and a value of two types",
        _cases("test_malformed_item_is_refused", "39 digits", "set with a duplicate", "two types"),
        "accepted",
    ),
    Difference(
        "PutItem, index key of another type",
        MOTO,
        ACCEPTED,
        "ValidationException",
        ("test_index_key_of_another_type_is_refused",),
        "accepted",
    ),
    Difference(
        "GetItem, key of another type",
        MOTO,
        "finds no item",
        "ValidationException",
        _cases("test_key_that_does_not_match_the_schema_is_refused", "wrong type"),
        "accepted",
    ),
    Difference(
        "UpdateExpression, several REMOVE of a list",
        EMULATOR,
        "applies the second index to the shortened list",
        "applies indexes to the original list",
        _cases("test_update_changes_the_item", "REMOVE l[0], l[1]"),
        "'y'",
    ),
    Difference(
        "UpdateExpression, malformed",
        EMULATOR,
        ACCEPTED,
        "ValidationException for a SET without a value, a sum of three, and a sum with a text",
        _cases("test_malformed_update_is_refused", "SET a", "SET a = a + b + :v", "SET a = label + :v"),
        "accepted",
    ),
    Difference(
        "UpdateExpression, overlapping paths",
        EMULATOR,
        ACCEPTED,
        _OVERLAP,
        _cases("test_malformed_update_is_refused", "SET a = :v SET b = :v", "SET a = :v, a = :v", "SET a = :v REMOVE a"),
        "accepted",
    ),
    Difference(
        "UpdateExpression, sum of three",
        MOTO,
        ACCEPTED,
        _SYNTAX,
        _cases("test_malformed_update_is_refused", "SET a = a + b + :v"),
        "accepted",
    ),
    Difference(
        "UpdateItem, concurrent",
        MOTO,
        "is not safe for threads",
        "every write is atomic",
        ("test_concurrent_updates_never_take_more_than_is_available",),
        unsteady=True,
    ),
    Difference(
        "Query, last page",
        MOTO,
        "names no last key on the last page",
        "a page that ends at Limit names its last key",
        ("test_page_that_ends_at_the_limit_names_its_last_key",),
        "LastEvaluatedKey",
    ),
    Difference(
        "Query, KeyConditionExpression with the sort key first",
        MOTO,
        "raises AssertionError in the caller's process",
        "conditions have no order",
        _cases("test_key_condition_selects_by_sort_key", "version BETWEEN :two AND :three AND order_id = :id"),
        "AssertionError",
    ),
    Difference(
        "Query, malformed KeyConditionExpression",
        EMULATOR,
        ACCEPTED,
        "ValidationException for OR, NOT and `<>`",
        _cases(
            "test_malformed_key_condition_is_refused",
            "order_id = :id OR version = :v",
            "order_id = :id AND version <> :v",
            "order_id = :id AND NOT version = :v",
        ),
        "accepted",
    ),
    Difference(
        "Query, malformed KeyConditionExpression",
        MOTO,
        "raises AssertionError in the caller's process",
        "ValidationException for OR, NOT and `<>`",
        _cases(
            "test_malformed_key_condition_is_refused",
            "order_id = :id OR version = :v",
            "order_id = :id AND version <> :v",
            "order_id = :id AND NOT version = :v",
        ),
        "AssertionError",
    ),
    Difference(
        "Query, unknown index",
        MOTO,
        "ResourceNotFoundException",
        "ValidationException",
        ("test_unknown_index_is_refused",),
        "ResourceNotFoundException",
    ),
    Difference(
        "Stream, write that changes nothing",
        MOTO,
        "writes a MODIFY record",
        "no record",
        ("test_write_that_changes_nothing_has_no_record",),
        "MODIFY",
    ),
    Difference(
        "TransactWriteItems, update of a missing attribute",
        MOTO,
        "ValidationException",
        "TransactionCanceledException with the reason ValidationError",
        ("test_update_of_a_missing_attribute_cancels_the_transaction",),
        "(ValidationException)",
    ),
    Difference(
        "TransactWriteItems, two operations in one item",
        EMULATOR,
        "runs one of them",
        "ValidationException",
        _cases("test_malformed_transaction_is_refused", "two in one"),
        "accepted",
    ),
    Difference(
        "TransactWriteItems, item without an operation",
        MOTO,
        "raises IndexError in the caller's process",
        "ValidationException",
        _cases("test_malformed_transaction_is_refused", "nothing in one"),
        "IndexError",
    ),
    Difference(
        "TransactWriteItems, ClientRequestToken",
        MOTO,
        "runs the same transaction again",
        "the same token again changes nothing",
        ("test_same_token_again_changes_nothing",),
        "'4'",
    ),
    Difference(
        "TransactWriteItems, ClientRequestToken with other writes",
        MOTO,
        ACCEPTED,
        "IdempotentParameterMismatchException",
        ("test_same_token_with_other_writes_is_refused",),
        "accepted",
    ),
    Difference(
        "TransactWriteItems, concurrent",
        MOTO,
        "a cancelled transaction restores whole tables and undoes concurrent writes",
        "transactions are isolated; a conflicting one is cancelled with the reason TransactionConflict",
        ("test_concurrent_transactions_never_take_more_than_is_available",),
        unsteady=True,
    ),
    Difference(
        "SQS ReceiveMessage, DeleteMessage",
        FAKE,
        "not implemented: tests read `sent`",
        "returns messages and makes them invisible",
        (
            "test_sent_message_is_received",
            "test_received_message_is_hidden_until_it_is_released",
            "test_deleted_message_is_not_received_again",
        ),
        "receive_message",
    ),
    Difference(
        "SQS SendMessage",
        FAKE,
        "accepts JSON documents only",
        "takes any text",
        ("test_message_that_is_not_json_is_accepted",),
        "JSONDecodeError",
    ),
    Difference(
        "SQS ChangeMessageVisibility over 12 hours",
        FAKE,
        "raises AssertionError",
        "InvalidParameterValue",
        ("test_visibility_timeout_over_12_hours_is_refused",),
        "at most 12 hours",
    ),
    Difference(
        "SQS ChangeMessageVisibility over 12 hours",
        EMULATOR,
        ACCEPTED,
        "InvalidParameterValue",
        ("test_visibility_timeout_over_12_hours_is_refused",),
        "accepted",
    ),
    Difference(
        "EventBridge PutEvents over its limits",
        FAKE,
        "raises AssertionError",
        "ValidationException over 10 entries or 256 KB",
        _cases("test_bus_refuses_batches_over_its_limits", "11 entries", "over 256 KB"),
        "PutEvents takes",
    ),
    Difference(
        "EventBridge PutEvents over 256 KB",
        EMULATOR,
        ACCEPTED,
        "ValidationException",
        _cases("test_bus_refuses_batches_over_its_limits", "over 256 KB"),
        "accepted",
    ),
    Difference(
        "EventBridge PutEvents over 256 KB",
        MOTO,
        ACCEPTED,
        "ValidationException",
        _cases("test_bus_refuses_batches_over_its_limits", "over 256 KB"),
        "accepted",
    ),
    Difference(
        "Kinesis PutRecords over 500 records",
        FAKE,
        "raises AssertionError",
        "InvalidArgumentException",
        ("test_stream_refuses_more_than_500_records",),
        "PutRecords takes",
    ),
)


def declared(test: str, target: str) -> Difference | None:
    """Return the difference that a test shows on a target."""
    return next((one for one in DIFFERENCES if one.target == target and test in one.tests), None)


def table() -> str:
    """Return the differences as a Markdown table."""
    rows = sorted((one.operation, one.target, one.does, one.documented) for one in DIFFERENCES)
    head = "| operation | target | what it does | what AWS documents |\n|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)
