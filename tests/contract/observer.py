"""Record the calls of each function: its handler runs on the in-memory AWS, and each call becomes a grant, an action on a resource."""

import importlib
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from orderflow.aws.order_log import OrderLog
from tests.conftest import ENVIRONMENT, ROOT, TABLES, Aws
from tests.contract.stack import Grant
from tests.fakes.aws import clients
from tests.fakes.aws.appconfig import FakeAppConfig
from tests.fakes.aws.dynamodb import FakeDynamoDB, Parameters
from tests.support import stock_shards
from tests.support.runtime import CONTEXT

WRITES = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
EVENTS = ROOT / "events"
REVIEW = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:%s:${AWS::StackName}-review"
FLAGS = (
    "arn:${AWS::Partition}:appconfig:${AWS::Region}:${AWS::AccountId}"
    ":application/${Flags}/environment/${FlagsEnvironment}/configuration/${FlagsProfile}"
)
FLAG_DEPLOYMENTS = "arn:${AWS::Partition}:appconfig:${AWS::Region}:${AWS::AccountId}:application/${Flags}*"
STRATEGY = "arn:${AWS::Partition}:appconfig:${AWS::Region}:${AWS::AccountId}:deploymentstrategy/${FlagsImmediate}"
# The ARN pattern of resources whose names start with the name of the stack.
OWN = "arn:${{AWS::Partition}}:{0}:${{AWS::Region}}:${{AWS::AccountId}}:{1}${{AWS::StackName}}-*"
# What SES authorizes an email for: the sender's identity, and the default configuration set of the identity.
SENDING = [f"arn:${{AWS::Partition}}:ses:${{AWS::Region}}:${{AWS::AccountId}}:{kind}/*" for kind in ("identity", "configuration-set")]


class PreparedClient:
    """A client of any service: reports each call to `seen` and returns or raises the prepared answer."""

    def __init__(self, seen: Any, answers: dict[str, Any]) -> None:
        self._seen = seen
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        def call(**parameters: Any) -> Any:
            self._seen("".join(map(str.title, name.split("_"))), parameters)
            answer = self._answers.get(name, {})
            if isinstance(answer, list):
                answer = answer.pop(0) if answer else {}
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


class Observer:
    """Runs handlers on the in-memory AWS and records the calls of each function: action and resource."""

    def __init__(self) -> None:
        self.grants: dict[str, set[Grant]] = defaultdict(set)
        self.function = ""
        self.aws = Aws(dynamodb=FakeDynamoDB(*TABLES))
        self.aws.dynamodb.before = lambda operation, given: self._note(_tables(operation, given))
        self.log = OrderLog("OrderLog", self.aws.dynamodb.client)
        self.lend()

    def lend(self, **answers: Any) -> None:
        """Give the functions the in-memory services; `answers` maps methods of SQS, SNS and SES to their answers."""
        services = {
            "events": lambda _, given: self._note(("events:PutEvents", _bus(entry)) for entry in given["Entries"]),
            "sqs": lambda operation, given: self._note([(f"sqs:{operation}", _queue(given["QueueUrl"]))]),
            "sns": lambda operation, given: self._note([(f"sns:{operation}", given["TopicArn"].rpartition(":")[2].title())]),
            "secretsmanager": lambda operation, given: self._note([(f"secretsmanager:{operation}", given["SecretId"].rpartition(":")[2])]),
            "stepfunctions": lambda operation, given: self._note([(f"states:{operation}", _workflow(given))]),
            "kinesis": lambda operation, _: self._note([(f"kinesis:{operation}", "EventStream")]),
            "dynamodbstreams": lambda operation, _: self._note([(f"dynamodb:{operation}", "OrderLog")]),
            "s3": lambda operation, given: self._note([(f"s3:{operation}", f"{given['Bucket']}/*")]),
            "ses": lambda operation, given: self._note([(f"ses:{operation}", resource) for resource in SENDING]),
            "appconfig": lambda operation, _: self._note(_flags(operation)),
            "cloudwatch": lambda operation, _: self._note([(f"cloudwatch:{operation}", OWN.format("cloudwatch", "alarm:"))]),
            "codedeploy": lambda operation, _: self._note([(f"codedeploy:{operation}", OWN.format("codedeploy", "*:"))]),
            "lambda": lambda operation, _: self._note([(f"lambda:{operation}", _of_lambda(operation))]),
            "logs": lambda operation, _: self._note([(f"logs:{operation}", OWN.format("logs", "log-group:/aws/lambda/"))]),
        }
        flags = FakeAppConfig()
        flags.before = lambda operation, _: self._note([(f"appconfig:{operation}", FLAGS)])
        others = {name: PreparedClient(seen, answers) for name, seen in services.items()}
        clients.lend(dynamodb=self.aws.dynamodb, appconfigdata=flags, **others)

    def run(self, module: str, event: Any) -> Any:
        """Run the handler of a module (orders.handlers.place_order) on an event; return its answer or exception."""
        handler = importlib.import_module(module).handler
        self.function = f"{module}.handler"
        try:
            return handler(event, CONTEXT)
        except Exception as error:  # noqa: BLE001 - the calls before the failure count
            return error
        finally:
            self.function = ""

    def step(self, order_id: str, *modules: str) -> None:
        """Run steps of the saga on an order."""
        for module in modules:
            self.run(module, {"order_id": order_id, "correlation_id": "c", "step": "authorize", "error": "States.Timeout"})

    @contextmanager
    def conflicting(self, times: int) -> Iterator[None]:
        """Cancel the first `times` transactions with a conflict on stock rows, within the context."""
        noted, inject = self.aws.dynamodb.before, stock_shards.conflicting(times)

        def hook(operation: str, given: Parameters) -> None:
            if noted:
                noted(operation, given)
            inject(operation, given)

        self.aws.dynamodb.before = hook
        yield
        self.aws.dynamodb.before = noted

    def _note(self, grants: Any) -> None:
        if self.function:
            self.grants[self.function] |= set(grants)


def _flags(operation: str) -> list[Grant]:
    found = [(f"appconfig:{operation}", FLAG_DEPLOYMENTS)]
    return [*found, (f"appconfig:{operation}", STRATEGY)] if operation == "StartDeployment" else found


def _of_lambda(operation: str) -> str:
    mapping = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:event-source-mapping:*"
    return mapping if operation.endswith("EventSourceMapping") else OWN.format("lambda", "function:")


def _tables(operation: str, given: Parameters) -> Iterator[Grant]:
    if operation == "TransactWriteItems":
        for item in given["TransactItems"]:
            [(kind, write)] = item.items()
            yield f"dynamodb:{WRITES[kind]}", write["TableName"]
    elif operation == "BatchGetItem":
        yield from (("dynamodb:BatchGetItem", table) for table in given["RequestItems"])
    else:
        index = f"/index/{given['IndexName']}" if "IndexName" in given else ""
        yield f"dynamodb:{operation}", given["TableName"] + index


def _queue(url: str) -> str:
    name = "".join(map(str.title, url.rpartition("/")[2].split("-")))
    return name if name.endswith("DeadLetters") else f"{name}Queue"


def _workflow(given: dict[str, Any]) -> str:
    """Return the state machine of a call, or the ARN pattern if the policy can only name a pattern."""
    if "stateMachineArn" in given:
        return given["stateMachineArn"].rpartition(":")[2].title()
    return REVIEW % "execution" + ":*" if "executionArn" in given else REVIEW % "stateMachine"


def _bus(entry: dict[str, Any]) -> str:
    assert entry["EventBusName"] == ENVIRONMENT["EVENT_BUS"]
    return "EventBus"


def sample(path: str) -> Any:
    return json.loads((EVENTS / f"{path}.json").read_text("utf-8"))


def message(order_id: str) -> Any:
    """Return an SQS message with an event about an order."""
    body = json.dumps({"detail": {"order_id": order_id, "correlation_id": "c", "event_id": f"{order_id}:9"}})
    return {"messageId": "m", "body": body, "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs"}


def messages(*bodies: Any) -> Any:
    """Return an SQS batch with these bodies."""
    of_sqs = {"eventSource": "aws:sqs", "attributes": {"ApproximateReceiveCount": "1"}}
    return {
        "Records": [
            {"messageId": str(number), "receiptHandle": "r", "body": json.dumps(body), **of_sqs} for number, body in enumerate(bodies)
        ]
    }
