"""The resource diagrams: complete, separated by context, and valid Mermaid identifiers."""

import re

from devtools import template
from devtools.checks import diagram


def _diagrams() -> dict[str, str]:
    return {part.partition("\n")[0]: part for part in diagram.page().split("\n## ")[1:]}


def test_every_function_is_in_the_diagram_of_its_context() -> None:
    drawn = _diagrams()
    for name, resource in template.source()["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            assert f'  {name}["λ {name}"]' in drawn[resource["Properties"]["Handler"].partition(".")[0]]


def test_every_arrow_connects_two_declared_nodes() -> None:
    for part in _diagrams().values():
        declared = set(re.findall(r"^  (\w+)[\[({>]", part, re.MULTILINE))
        for source, target in re.findall(r"^  (\w+) -\S*> (\w+)$", part, re.MULTILINE):
            assert {source, target} <= declared


def test_consumer_is_drawn_from_bus_to_dead_letters() -> None:
    drawn = _diagrams()["shipping"]
    assert "EventBus --> ShippingRequestRule" in drawn
    assert "ShippingRequestRule --> ShippingRequestQueue" in drawn
    assert "ShippingRequestQueue --> ShippingRequest\n" in drawn
    assert "ShippingRequestQueue -.-> ShippingRequestDeadLetters" in drawn


def test_queue_is_drawn_in_the_diagram_of_its_consumer_only() -> None:
    assert [context for context, part in _diagrams().items() if "MailDeadLetters" in part] == ["notifications"]
