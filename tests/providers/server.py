"""localstripe on a free loopback port, with the Stripe features that it lacks and the pipeline uses.

The interpreter of .venv-localstripe runs it; it prints its port and serves until it is terminated. Added after Stripe's
documentation: idempotency keys, partial captures, metadata of a capture, limits and statuses of refunds, reasons of declines,
refusals of payment methods and amounts, disputes, events by type, and the parameter names of newer API versions.
docs/fidelity.md lists them.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import json
import socket
from typing import Any

from aiohttp import web
from localstripe import resources
from localstripe.errors import UserError
from localstripe.resources import Event, List, PaymentIntent, PaymentMethod, Refund, StripeObject

DECLINES = {
    "pm_card_visa_chargeDeclined": ("card_declined", "generic_decline"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": ("card_declined", "insufficient_funds"),
    "pm_card_visa_chargeDeclinedStolenCard": ("card_declined", "stolen_card"),
    "pm_card_authenticationRequired": ("authentication_required", "authentication_required"),
}
# The confirmation of these payment methods answers 400 with this code and parameter.
REFUSED = {
    "pm_usBankAccount": ("payment_method_unsupported_type", "payment_method"),
    "pm_card_wrongCurrency": ("payment_method_currency_mismatch", "payment_method"),
    "pm_card_used": (None, None),
    "pm_card_ours": ("parameter_unknown", "off_session"),
}
# The first and the final status of refunds of these cards. The first two are among Stripe's test cards.
REFUNDS = {
    "pm_card_pendingRefund": ("pending", "succeeded"),
    "pm_card_refundFail": ("succeeded", "failed"),
    "pm_card_refundFailAtOnce": ("failed", "failed"),
}
MINIMUM = 50
SINGLE_CAPTURE = "pm_card_credit_disableEnterpriseCardFeatures"

answered: dict[str, tuple[tuple[str, bytes], int, str]] = {}
original_list = PaymentIntent._api_list_all.__func__
events = Event._api_list_all.__func__


def refused(code: str | None, status: int = 400, **more: Any) -> UserError:
    return UserError(status, code or "refused", {name: value for name, value in {"code": code, **more}.items() if value})


class Intent(PaymentIntent):
    """A PaymentIntent whose amount can be captured in parts."""

    def __init__(self, **data: Any) -> None:
        data.pop("allowed_payment_method_types", None)
        if int(data["amount"]) < MINIMUM:
            raise refused("amount_too_small", param="amount")
        super().__init__(**data)
        self.amount_received = 0
        self._closed = False
        self._last_error: dict[str, Any] | None = None
        self._single = False
        self._refunds = ("succeeded", "succeeded")

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
        if payment_method in REFUSED:
            code, param = REFUSED[payment_method]
            raise refused(code, param=param)
        intent._single = payment_method == SINGLE_CAPTURE
        intent._refunds = REFUNDS.get(payment_method or "", intent._refunds)
        plain = intent._single or payment_method in REFUNDS
        try:
            intent.payment_method = PaymentMethod._api_retrieve("pm_card_visa" if plain else payment_method).id
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
        found = original_list(PaymentIntent, url, **given)
        found._list = [one for one in found._list if int(created["gte"]) <= one.created < int(created["lt"])]
        return found


class BoundedRefund(Refund):
    """A Refund of at most the captured amount without earlier refunds."""

    def __init__(self, payment_intent: str, amount: Any, metadata: Any = None) -> None:
        intent = Intent._api_retrieve(payment_intent)
        refunds = [one for one in resources.store.values() if isinstance(one, Refund) and one.payment_intent == payment_intent]
        given = sum(one.amount for one in refunds if one.status != "failed")
        if int(amount) > intent.amount_received - given:
            raise refused("charge_already_refunded")
        super().__init__(payment_intent=payment_intent, amount=amount, metadata=metadata)
        self.status, self._later = intent._refunds
        self.failure_reason = "declined" if self.status == "failed" else None
        Event("refund.created", self)

    def _conclude(self) -> None:
        if self.status != self._later:
            self.status = self._later
            self.failure_reason = "expired_or_canceled_card" if self.status == "failed" else None
            Event("refund.failed" if self.status == "failed" else "refund.updated", self)


class Dispute(StripeObject):
    """A dispute of a payment; `withdrawn` is the amount withdrawn from the merchant's balance."""

    object = "dispute"
    _id_prefix = "dp_"

    def __init__(self, payment_intent: str) -> None:
        super().__init__()
        self.payment_intent = payment_intent
        self.reason = "fraudulent"

    @classmethod
    def _change(
        cls, status: str, dispute: str = "", payment_intent: str = "", amount: Any = 0, currency: str = "eur", withdrawn: Any = 0
    ) -> Dispute:
        """Dispute an intent's amount, or change a dispute's status (by its id)."""
        changed = cls._api_retrieve(dispute) if dispute else cls(payment_intent)
        if not dispute:
            changed.amount, changed.currency = int(amount), currency
        changed.status = status
        changed.balance_transactions = [{"amount": -int(withdrawn)}] if int(withdrawn) else []
        Event("charge.dispute.updated" if dispute else "charge.dispute.created", changed)
        return changed

    @classmethod
    def _of(cls, payment_intent: str, limit: Any = None, starting_after: str | None = None) -> List:
        found = cls._api_list_all("/v1/disputes", limit=limit, starting_after=starting_after)
        found._list = [one for one in found._list if one.payment_intent == payment_intent]
        return found


def conclude_refunds() -> List:
    """Complete or fail the pending refunds."""
    refunds = [one for one in resources.store.values() if isinstance(one, BoundedRefund)]
    for refund in refunds:
        refund._conclude()
    return List("/_config/refunds")


def listed_events(url: str, types: list[str], created: dict[str, str], **given: Any) -> List:
    """Return the events of these types that were created in this period."""
    found = events(Event, url, **given)
    found._list = [one for one in found._list if one.type in types and int(created["gte"]) <= one.created < int(created["lt"])]
    return found


@web.middleware
async def idempotent(request: web.Request, handler: Any) -> web.StreamResponse:
    """Repeat the answer of a known idempotency key, and refuse the key with another request."""
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


async def expire_keys(_: web.Request) -> web.Response:
    """Delete all idempotency keys, as Stripe does after a day."""
    answered.clear()
    return web.Response()


def main() -> None:
    # By default, localstripe writes its store to a file that all processes share.
    resources.Store.dump_to_disk = lambda _: None
    here = {f"/v1/payment_intents/{{id}}/{name}": getattr(Intent, f"_api_{name}") for name in ("confirm", "capture", "cancel")}
    routes = [route for route in resources.extra_apis if isinstance(route[0], str)]
    resources.extra_apis[:] = [(method, url, here.get(url, answer)) for method, url, answer in routes]
    resources.extra_apis += [
        ("GET", "/v1/disputes", Dispute._of),
        ("GET", "/v1/disputes/{id}", Dispute._api_retrieve),
        ("POST", "/_config/disputes", Dispute._change),
        ("POST", "/_config/refunds", conclude_refunds),
    ]
    PaymentIntent._api_list_all = Intent._api_list_all
    Event._api_list_all = listed_events
    PaymentIntent._api_create = classmethod(lambda _, **data: Intent(**data))
    Refund._api_create = classmethod(lambda _, **data: BoundedRefund(**data))
    from localstripe import server  # noqa: PLC0415 - creates its routes at import

    server.app.middlewares.insert(0, idempotent)
    server.app.router.add_delete("/_config/idempotency", expire_keys)
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    web.run_app(server.app, sock=listening, access_log=None, print=None)


if __name__ == "__main__":
    main()
