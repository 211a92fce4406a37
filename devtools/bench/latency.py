"""Latency of the order API and of a function that does nothing, in alternating requests."""

import json
import statistics
import time
from collections.abc import Callable
from uuid import uuid4

from devtools import ui, web
from devtools.bench.build import folder, sam
from devtools.cli import UserError
from devtools.local.api_client import ApiClient, order_body, wait_until
from devtools.target import ROOT, Target

STACK = "order-pipeline-bench"
ROUNDS = 60
COLD_ROUNDS = 9
WARM_UP = 10
END_SECONDS = 30.0

type Samples = dict[str, list[float]]


def deploy(target: Target) -> dict[str, str]:
    """Deploy the function that does nothing, behind the pipeline's authorizer; return the stack's outputs."""
    bucket = f"{STACK}-artifacts"
    target.client("s3").create_bucket(Bucket=bucket)
    template = folder() / "control" / "template.yaml"
    sam(
        *(target, "deploy", "--template-file", str(template), "--stack-name", STACK, "--s3-bucket", bucket),
        *("--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--region", "us-east-1"),
    )
    return _outputs(target)


def _outputs(target: Target) -> dict[str, str]:
    [stack] = target.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def measure_posts(target: Target) -> Samples:
    """Return seconds of POST /orders, for the order API and for the bare function behind the same authorizer."""
    outputs = deploy(target)
    shop = ApiClient(target)
    url = f"{target.endpoint}/_aws/execute-api/{outputs['ApiId']}/bench/orders"
    calls = {"order API": lambda: _post(shop, target.api_url("/orders")), "bare": lambda: _post(shop, url)}
    return _alternate("POST in turn", calls, ROUNDS, between=lambda: _settle(target))


def invocations(target: Target) -> dict[str, Samples]:
    """Return seconds of warm and cold invocations of the order API and of the bare function, which `measure_posts` deployed."""
    place, bare = target.resources["OrdersPlace"], _outputs(target)["BareFunction"]
    warm = {"order API": lambda: _invoke(target, place), "bare": lambda: _invoke(target, bare)}
    cold = {"order API": lambda: _cold(target, place), "bare": lambda: _cold(target, bare)}
    return {
        "warm invoke": _alternate("warm invoke", warm, ROUNDS, between=lambda: _settle(target)),
        "cold invoke": _alternate("cold invoke", cold, COLD_ROUNDS, warm_up=0, between=lambda: _settle(target)),
    }


def medians(samples: Samples) -> dict[str, float]:
    """Return the median of each name's samples."""
    return {name: statistics.median(seconds) for name, seconds in samples.items()}


def _alternate(
    title: str, calls: dict[str, Callable[[], float]], rounds: int, *, warm_up: int = WARM_UP, between: Callable[[], None] | None = None
) -> Samples:
    samples: Samples = {name: [] for name in calls}
    with ui.stage(title) as step:
        for done in range(-warm_up, rounds):
            step.detail = f"{max(done + 1, 0)} of {rounds}"
            for name, call in calls.items():
                seconds = call()
                if between:
                    between()
                if done >= 0:
                    samples[name].append(seconds)
    return samples


def _post(shop: ApiClient, url: str) -> float:
    headers = {"Authorization": f"Bearer {shop.token('ann')}", "Content-Type": "application/json", "Idempotency-Key": str(uuid4())}
    raw = json.dumps(order_body(("MUG-BLUE", 1))).encode()
    began = time.perf_counter()
    answer = web.call("POST", url, headers=headers, body=raw)
    seconds = time.perf_counter() - began
    if answer.status != 201:
        raise UserError(f"POST {url} answered {answer.status} instead of 201: {answer.body[:200]!r}")
    return seconds


def _settle(target: Target) -> None:
    """Wait until no order is active, so that its saga does not slow down the next measured call."""
    orders = target.client("dynamodb")
    table = target.resources["OrderLog"]
    if not wait_until(lambda: not orders.scan(TableName=table, IndexName="open-orders", Select="COUNT")["Count"], END_SECONDS, 0.02):
        raise UserError(f"orders are still active after {END_SECONDS:.0f} s; look at .local/*.log")


def _invoke(target: Target, function: str) -> float:
    event = json.loads((ROOT / "events/orders/place_order/accepted.json").read_text("utf-8"))
    event["headers"]["Idempotency-Key"] = str(uuid4())
    payload = json.dumps(event).encode()
    began = time.perf_counter()
    answer = target.client("lambda").invoke(FunctionName=function, Payload=payload)
    response = json.loads(answer["Payload"].read())
    seconds = time.perf_counter() - began
    if response.get("statusCode") != 201:
        raise UserError(f"invoking {function} answered {str(response)[:200]}")
    return seconds


def _cold(target: Target, function: str) -> float:
    """Invoke after a change of configuration, which replaces the warm processes."""
    functions = target.client("lambda")
    variables = functions.get_function_configuration(FunctionName=function).get("Environment", {}).get("Variables", {})
    functions.update_function_configuration(FunctionName=function, Environment={"Variables": variables | {"BENCH": str(uuid4())}})
    return _invoke(target, function)
