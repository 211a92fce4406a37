"""`make rebuild-view`: drops the customers' lists of orders and makes them again from the log, piece by piece."""

import json
from typing import Any

from botocore.config import Config

from devtools import cli, ui
from devtools import target as targets
from devtools.cli import UserError
from devtools.target import Target

# A piece takes the function's time; an answer that is waited for too briefly would be asked for again.
PIECE_SECONDS = 90


def rebuild(target: Target) -> tuple[int, int]:
    """Work off one piece after the other; return how many rows were dropped and how many orders listed. Raises UserError."""
    function = target.resources.get("OrdersRebuild")
    if not function:
        raise UserError("the deployed stack has no rebuild function; run `make run` to deploy the present one")
    dropped, listed = 0, 0
    piece: dict[str, Any] | None = {}
    with ui.stage("lists of orders") as stage:
        while piece is not None:
            answer = _invoke(target, function, piece)
            dropped, listed, piece = dropped + answer["dropped"], listed + answer["listed"], answer.get("next")
            stage.detail = f"{dropped} rows dropped, {listed} orders listed"
    return dropped, listed


def _invoke(target: Target, function: str, piece: dict[str, Any]) -> dict[str, Any]:
    patient = Config(read_timeout=PIECE_SECONDS, retries={"max_attempts": 0}, proxies={})
    session: Any = target.session
    answer: Any = session.client("lambda", config=patient).invoke(FunctionName=function, Payload=json.dumps(piece).encode())
    payload: dict[str, Any] = json.loads(answer["Payload"].read() or b"{}")
    if answer.get("FunctionError") or "errorMessage" in payload:
        raise UserError(" ".join(str(payload.get("errorMessage", payload)).split()))
    return payload


def main() -> None:
    """Rebuild, and say how much there was."""
    rebuild(targets.from_environment())


if __name__ == "__main__":
    cli.run(main)
