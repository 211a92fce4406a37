"""The page: one file with its style, script and plot library, which loads nothing but its data."""

import base64
import hashlib
import json
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path

from devtools.dashboard.reading import Reading

HERE = Path(__file__).parent


def encoded(reading: Reading) -> str:
    """Return a reading as JSON."""
    return json.dumps(asdict(reading), ensure_ascii=False)


def html(*, refresh_seconds: float = 0, reading: Reading | None = None) -> str:
    """Return the page that polls `/data` every `refresh_seconds`, or one that contains a reading and polls nothing."""
    # A product's SKU can contain "</script>".
    data = encoded(reading).replace("<", "\\u003c") if reading else "null"
    scripts = [_plotly(), (HERE / "page.js").read_text("utf-8")]
    policy = [
        "default-src 'none'",
        "script-src " + " ".join(map(_digest, scripts)),
        # The plot library styles each element.
        "style-src 'unsafe-inline'",
        "img-src data:",
        f"connect-src {"'none'" if reading else "'self'"}",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    parts = {
        "policy": "; ".join(policy),
        "refresh": f"{refresh_seconds * 1000:.0f}",
        "style": (HERE / "page.css").read_text("utf-8"),
        "data": data,
        "plotly": scripts[0],
        "script": scripts[1],
    }
    # Split once: an inserted part can contain a placeholder.
    pieces = (HERE / "page.html").read_text("utf-8").split("%%")
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


@cache
def _plotly() -> str:
    return files("plotly").joinpath("package_data/plotly.min.js").read_text("utf-8")


@cache
def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
