"""The order API as it is usually written with Powertools, as a control for the pipeline's own."""  # noqa: INP001 - deployed by itself

import os
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.parser import BaseModel, Field, parse

logger = Logger()
metrics = Metrics()
tracer = Tracer()
app = APIGatewayRestResolver()
orders = boto3.resource("dynamodb").Table(os.environ["ORDER_LOG_TABLE"])  # pyright: ignore[reportUnknownMemberType]
config = IdempotencyConfig(event_key_jmespath="idempotency_key")
persistence = DynamoDBPersistenceLayer(os.environ["ORDER_LOG_TABLE"])


class Line(BaseModel):
    """A product and its quantity."""

    sku: str = Field(min_length=1, max_length=64)
    quantity: int = Field(ge=1, le=999)


class Address(BaseModel):
    """The shipping address."""

    name: str
    street: str
    city: str
    postal_code: str
    country: str = Field(pattern="^[A-Z]{2}$")


class Payment(BaseModel):
    """The means of payment."""

    token: str
    country: str


class Order(BaseModel):
    """The request's body."""

    lines: list[Line] = Field(min_length=1, max_length=50)
    shipping_address: Address
    payment: Payment


@idempotent_function(data_keyword_argument="order", persistence_store=persistence, config=config)
def accept(*, order: dict[str, Any]) -> dict[str, Any]:
    """Store the order."""
    orders.put_item(Item=order)
    return order


@app.post("/orders")
@tracer.capture_method
def place() -> dict[str, Any]:
    """Place an order."""
    order = parse(event=app.current_event.json_body, model=Order)
    metrics.add_metric("OrderPlaced", MetricUnit.Count, 1)
    return accept(order=order.model_dump())


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer an API Gateway event."""
    return app.resolve(event, context)
