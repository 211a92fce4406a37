"""localstripe on a free port of the loopback, and what it lacks of the Stripe that the pipeline talks to.

Run by the interpreter of .venv-localstripe; it prints its port and serves until it is ended. Added here, after
Stripe's documentation: idempotency keys, captures in parts, metadata of a capture, limits of refunds, reasons of
declines, and what newer versions of the API call their parameters. docs/fidelity.md lists it.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import json
import socket
from typing import Any

from aiohttp import web
from localstripe import resources
from localstripe.errors import UserError
from localstripe.resources import PaymentIntent, PaymentMethod, Refund

DECLINES = {
    "pm_card_visa_chargeDeclined": ("card_declined", "generic_decline"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": ("card_declined", "insufficient_funds"),
    "pm_card_visa_chargeDeclinedStolenCard": ("card_declined", "stolen_card"),
    "pm_card_authenticationRequired": ("authentication_required", "authentication_required"),
}
SINGLE_CAPTURE = "pm_card_credit_disableEnterpriseCardFeatures"

answered: dict[str, tuple[tuple[str, bytes], int, str]] = {}
listing = PaymentIntent._api_list_all.__func__


def refused(code: str, status: int = 400, **more: Any) -> UserError:
    return UserError(status, code, {"code": code, **more})


class Intent(PaymentIntent):
    """A PaymentIntent whose amount can be captured in parts."""

    def __init__(self, **data: Any) -> None:
        data.pop("allowed_payment_method_types", None)
        super().__init__(**data)
        self.amount_received = 0
        self._closed = False
        self._last_error: dict[str, Any] | None = None
        self._single = False

    @property
    def amount_capturable(self) -> int:
        return self.amount - self.amount_received if self.status == "requires_capture" else 0

    @property
    def status(self) -> str:
        if self._last_error:
            return "canceled" if self._canceled else "requires_payment_method"
        return "succeeded" if self._closed and not self._canceled else super().status

    @property
    def last_payment_error(self) -> dict[str, Any] | None:
        return self._last_error

    @classmethod
    def _api_confirm(cls, id: str, payment_method: str | None = None, off_session: Any = None) -> Intent:  # noqa: A002 - the route names it
        intent = cls._api_retrieve(id)
        if intent.latest_charge or intent._canceled:
            raise refused("payment_intent_unexpected_state")
        if payment_method in DECLINES:
            code, detail = DECLINES[payment_method]
            intent._last_error = {"code": code, "decline_code": detail, "type": "card_error"}
            raise refused(code, 402, decline_code=detail)
        intent._single = payment_method == SINGLE_CAPTURE
        try:
            intent.payment_method = PaymentMethod._api_retrieve("pm_card_visa" if intent._single else payment_method).id
        except UserError:
            raise refused("resource_missing", param="payment_method") from None
        intent._confirm(on_failure_now=intent._report_failure)
        intent.latest_charge.payment_method_details = {
            "card": {"multicapture": {"status": "unavailable" if intent._single else "available"}}
        }
        return intent

    @classmethod
    def _api_capture(cls, id: str, amount_to_capture: Any = None, final_capture: Any = True, metadata: Any = None) -> Intent:  # noqa: A002 - the route names it
        intent = cls._api_retrieve(id)
        amount, final = int(amount_to_capture), str(final_capture).lower() == "true"
        if intent.status != "requires_capture" or (intent._single and not final):
            raise refused("payment_intent_unexpected_state")
        if amount > intent.amount_capturable:
            raise refused("amount_too_large")
        intent.amount_received += amount
        intent.metadata |= metadata or {}
        intent._closed = final
        return intent

    @classmethod
    def _api_cancel(cls, id: str) -> Intent:  # noqa: A002 - the route names it
        intent = cls._api_retrieve(id)
        if intent.status in {"succeeded", "canceled"}:
            raise refused("payment_intent_unexpected_state")
        intent._canceled = True
        return intent

    @classmethod
    def _api_list_all(cls, url: str, created: Any = None, **given: Any) -> Any:
        found = listing(PaymentIntent, url, **given)
        found._list = [one for one in found._list if int(created["gte"]) <= one.created < int(created["lt"])]
        return found


class BoundedRefund(Refund):
    """A Refund of no more than was captured and not yet given back."""

    def __init__(self, payment_intent: str, amount: Any, metadata: Any = None) -> None:
        intent = Intent._api_retrieve(payment_intent)
        given = sum(one.amount for one in resources.store.values() if isinstance(one, Refund) and one.payment_intent == payment_intent)
        if int(amount) > intent.amount_received - given:
            raise refused("charge_already_refunded")
        super().__init__(payment_intent=payment_intent, amount=amount, metadata=metadata)


@web.middleware
async def idempotent(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer a key as it was answered before, and refuse it for another request."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return await handler(request)
    asked = (request.path, await request.read())
    if key not in answered:
        response = await handler(request)
        if response.status in {200, 402}:
            answered[key] = (asked, response.status, response.text)
        return response
    before, status, text = answered[key]
    if before != asked:
        error = {"error": {"type": "idempotency_error", "message": "Keys can only be used with the same parameters."}}
        return web.json_response(error, status=400)
    return web.json_response(json.loads(text), status=status, headers={"Idempotent-Replayed": "true"})


async def forget(_: web.Request) -> web.Response:
    """Forget all keys, as Stripe does after a day."""
    answered.clear()
    return web.Response()


def main() -> None:
    # The store would be written to a file that all processes share.
    resources.Store.dump_to_disk = lambda _: None
    here = {f"/v1/payment_intents/{{id}}/{name}": getattr(Intent, f"_api_{name}") for name in ("confirm", "capture", "cancel")}
    routes = [route for route in resources.extra_apis if isinstance(route[0], str)]
    resources.extra_apis[:] = [(method, url, here.get(url, answer)) for method, url, answer in routes]
    PaymentIntent._api_list_all = Intent._api_list_all
    PaymentIntent._api_create = classmethod(lambda _, **data: Intent(**data))
    Refund._api_create = classmethod(lambda _, **data: BoundedRefund(**data))
    from localstripe import server  # noqa: PLC0415 - it makes its routes when it is imported

    server.app.middlewares.insert(0, idempotent)
    server.app.router.add_delete("/_config/idempotency", forget)
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    web.run_app(server.app, sock=listening, access_log=None, print=None)


if __name__ == "__main__":
    main()
