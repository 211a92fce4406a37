"""Reads metrics from the printed lines of functions."""

from __future__ import annotations

import json
from collections import defaultdict


def values(printed: str) -> dict[str, list[float]]:
    """Return the values of each metric in lines of the embedded metric format."""
    found: dict[str, list[float]] = defaultdict(list)
    for line in printed.splitlines():
        if '"_aws"' not in line:
            continue
        document = json.loads(line)
        for directive in document["_aws"]["CloudWatchMetrics"]:
            for metric in directive["Metrics"]:
                value = document[metric["Name"]]
                found[metric["Name"]] += value if isinstance(value, list) else [value]
    return dict(found)
