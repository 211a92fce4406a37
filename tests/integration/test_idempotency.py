"""One Idempotency-Key places one order, however often the request is repeated, also concurrently."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import uuid4

import pytest

from devtools.local.api_client import ApiClient, order_body
from devtools.web import Answer
from tests.integration.deployed_stack import ANSWER_SECONDS, DeployedStack, same_answers

AT_ONCE = 50


def test_repeated_request_gets_an_identical_answer(stack: DeployedStack):
    customer, key, body = stack.customer(), str(uuid4()), order_body((stack.product(), 2))

    first, second = stack.shop.place(customer, body, key), stack.shop.place(customer, body, key)

    assert first.status == 201
    assert same_answers([first, second])


def test_repeated_request_after_the_end_gets_the_same_answer(stack: DeployedStack):
    customer, key, body = stack.customer(), str(uuid4()), order_body((stack.product(), 2))
    first = stack.shop.place(customer, body, key)
    stack.ended(customer, first.json()["order_id"])

    assert same_answers([first, stack.shop.place(customer, body, key)])


def test_same_key_with_other_body_is_rejected(stack: DeployedStack):
    customer, key, sku = stack.customer(), str(uuid4()), stack.product()
    order_id = stack.accept(customer, order_body((sku, 1)), key)

    answer = stack.shop.place(customer, order_body((sku, 2)), key)

    assert answer.status == 422
    assert answer.json()["type"].endswith(":idempotency-key-reused")
    assert stack.ended(customer, order_id)[0]["data"]["lines"][0]["quantity"] == 1


def test_two_customers_may_use_the_same_key(stack: DeployedStack):
    key, body = str(uuid4()), order_body((stack.product(), 1))

    orders = {stack.accept(stack.customer(), body, key) for _ in range(2)}

    assert len(orders) == 2


@pytest.mark.needs("isolated-transactions")
def test_fifty_concurrent_requests_with_one_key_place_one_order(stack: DeployedStack):
    customer, key, sku = stack.customer(), str(uuid4()), stack.product()
    body, together = order_body((sku, 1)), Barrier(AT_ONCE)
    # The authorizer's answer is cached by an earlier request. The client retries 5xx answers, as docs/problems.md says: some of
    # fifty concurrent cold starts may fail on the emulator (docs/fidelity.md).
    shop = ApiClient(stack.target, timeout=ANSWER_SECONDS, patience=ANSWER_SECONDS)
    shop.order(customer, "ord_none")

    def place(_: int) -> Answer:
        together.wait()
        return shop.place(customer, body, key)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(place, range(AT_ONCE)))

    assert {answer.status for answer in answers} == {201}
    assert same_answers(answers)
    order_id = answers[0].json()["order_id"]
    assert stack.outcome(customer, order_id) == "confirmed"
    assert len(stack.charges(order_id)) == 1
    assert stack.stock(sku) == (99, 1)
    assert len(stack.emails(order_id)) == 1
