"""The samples of the saga's steps in the order of `make invoke`, on one log."""

import json
from typing import Any

from devtools.local import invoke, samples
from orderflow.aws.order_log import OrderLog
from orderflow.aws.payment_tokens import PaymentTokens
from tests.faults.paths import PATHS, Stage
from tests.faults.simulation import REVIEW_STEPS, STEPS

ALSO = {"OrdersPlace": ("accepted",)}
ON_ORDERS = {*STEPS, *REVIEW_STEPS, "OrdersCancel", "OrdersCreateReturn", "ReviewsDecide", "ReviewsClose"}


def test_samples_have_their_answers_in_order(stage: Stage) -> None:
    simulation = stage.simulation(PATHS[0])

    def call(function: str, event: str) -> Any:
        return simulation.invoke(function, json.loads(event))

    client = simulation.aws.dynamodb.client
    invoke.prepare(OrderLog("OrderLog", client), PaymentTokens("PaymentTokens", client), call)
    wrong = [
        f"{sample.parent.name}/{sample.stem}: {line}"
        for function in samples.functions()
        for sample in function.samples
        if function.name in ON_ORDERS or sample.stem in ALSO.get(function.name, ())
        for line in samples.check(sample, call(function.name, sample.read_text()))
    ]
    assert not wrong
