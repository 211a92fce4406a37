"""The names of a removed context, or of a part of one, in the rest of the repository."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Every order needs these.
CORE = ("orders", "inventory", "fraud", "payments", "shipping", "notifications", "ledger", "operations", "identity")


@dataclass(frozen=True)
class Part:
    """A part that `make remove` can remove: a context, or use cases of one with their modules.

    `words` are the words of headings and labels for it, `modules` the modules of other folders that only it uses.
    """

    context: str
    words: tuple[str, ...]
    handlers: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    @property
    def is_context(self) -> bool:
        """Return whether it is a whole context."""
        return not self.handlers

    def owns_handler(self, handler: str) -> bool:
        """Return whether a function's handler, such as `loyalty.handlers.award_points.handler`, is of this part."""
        context, _, use_case, _ = handler.split(".")
        return context == self.context and (self.is_context or use_case in self.handlers)


PARTS: dict[str, Part] = {
    "loyalty": Part("loyalty", ("loyalty", "points")),
    "analytics": Part("analytics", ("analytics",), modules=("devtools.ops.sales_report",)),
    "invoices": Part("invoices", ("invoices", "invoice")),
    "reviews": Part("reviews", ("reviews", "review")),
    "tracking": Part(
        "shipping",
        ("tracking", "readings"),
        ("track_parcels", "check_silent_parcels"),
        (
            *("shipping.domain.tracking", "shipping.domain.parcel_watch", "shipping.tracking_store", "shipping.tracking_dependencies"),
            *("shipping.parcel_tracking", "shipping.silence", "shipping.handlers.track_parcels", "shipping.handlers.check_silent_parcels"),
        ),
    ),
}


@dataclass
class Names:
    """Strings and modules that are removed. `paths` are routes of the API, with {} for each parameter."""

    part: Part
    resources: set[str] = field(default_factory=set[str])
    ids: set[str] = field(default_factory=set[str])
    strings: set[str] = field(default_factory=set[str])
    modules: set[str] = field(default_factory=set[str])
    routes: set[str] = field(default_factory=set[str])
    use_cases: set[str] = field(default_factory=set[str])

    def has_module(self, module: str) -> bool:
        """Return whether a module is removed."""
        return any(module == name or module.startswith(f"{name}.") for name in self.modules)

    def names_string(self, text: str) -> bool:
        """Return whether a string names something removed: a resource, queue, variable, module, sample, or route of the API."""
        word = text.removeprefix("{}-")
        # "loyalty.handlers.{}" names a module as "loyalty.handlers.award_points" does.
        is_module = re.fullmatch(r"[\w.]+(\{\})?", word) is not None and "." in word and self.has_module(word.removesuffix(".{}"))
        if word in self.strings or is_module:
            return True
        return self.names_route(word) or self._names_sample(word)

    def names_route(self, text: str) -> bool:
        """Return whether a text is a route that is removed, with or without its method and query."""
        path = re.sub(r"\{\w*\}", "{}", re.sub(r"^(GET|POST) +", "", text)).partition("?")[0]
        return path in self.routes

    def names_line(self, line: str) -> bool:
        """Return whether a line of a table begins with something removed."""
        first = re.split(r"\s*\|\s*|\s{2,}", line.strip(), maxsplit=2)
        return any(self.names_string(one) for one in [" ".join(first[:2]), *first[:1]])

    def _names_sample(self, text: str) -> bool:
        context, _, rest = text.partition("/")
        return context == self.part.context and rest.partition("/")[0] in self.use_cases


def removed(part: Part, resources: Mapping[str, Mapping[str, Any]], owned: Iterable[str], optional: set[str]) -> Names:
    """Return the names of a part whose resources of the template are `owned`; variables in `optional` are read where they are set only."""
    names = Names(part, set(owned), set(owned))
    for name in names.resources:
        _add_resource(names, name, resources[name])
    names.strings |= names.ids | (_own_variables(resources, names.resources) - optional)
    if part.is_context:
        names.strings.add(part.context)
    names.strings |= {name for name, one in PARTS.items() if one == part}
    if part.is_context:
        names.modules.add(part.context)
    names.modules |= set(part.modules)
    return names


def _add_resource(names: Names, name: str, resource: Mapping[str, Any]) -> None:
    properties = resource.get("Properties", {})
    for key in ("FunctionName", "QueueName", "TopicName", "Name", "TableName", "LogGroupName"):
        if text := _text(properties.get(key)):
            names.strings.add(text)
    if resource["Type"] == "AWS::Cognito::UserPoolGroup":
        names.strings.add(properties["GroupName"])
    if resource["Type"] == "AWS::Serverless::Function":
        names.use_cases.add(properties["Handler"].split(".")[2])
        names.ids.add(f"{name}Role")
        for event, source in properties.get("Events", {}).items():
            names.ids.add(f"{name}{event}")
            if source["Type"] == "Api":
                names.routes.add(re.sub(r"\{\w*\}", "{}", source["Properties"]["Path"]))


def _text(value: Any) -> str:
    """Return a name without the stack's."""
    if isinstance(value, dict) and "Fn::Sub" in value and isinstance(value["Fn::Sub"], str):
        found = re.search(r"\$\{AWS::StackName\}-([a-z-]+)$", value["Fn::Sub"])
        return found[1] if found else ""
    return ""


def _own_variables(resources: Mapping[str, Mapping[str, Any]], owned: set[str]) -> set[str]:
    """Return the variables of functions that only removed functions have, or that name a removed resource."""
    ours, others = set[str](), set[str]()
    for name, resource in resources.items():
        variables = resource.get("Properties", {}).get("Environment", {}).get("Variables", {})
        for variable, value in variables.items():
            (ours if name in owned or referred(value) & owned else others).add(variable)
    return ours - others


def referred(value: Any) -> set[str]:
    """Return the logical ids that a part of a template refers to."""
    match value:
        case {"Ref": str(name)}:
            return {name}
        case {"Fn::GetAtt": [str(name), *_]} | {"Fn::GetAtt": str(name)}:
            return {name.partition(".")[0]}
        case {"Fn::Sub": str(text)} | {"Fn::Sub": [str(text), *_]}:
            return {name.partition(".")[0] for name in re.findall(r"\$\{(\w+[^}]*)\}", text)}
        case dict():
            return set[str]().union(*map(referred, cast("dict[str, Any]", value).values()))
        case list():
            return set[str]().union(*map(referred, cast("list[Any]", value)))
        case _:
            return set()
