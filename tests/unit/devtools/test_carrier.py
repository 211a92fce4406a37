"""`make carrier` explains what the carrier refuses."""

import pytest

from devtools.cli import UserError
from devtools.commands import parsed
from devtools.local import carrier
from shipping.carrier import CarrierRefused, Contradiction


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (Contradiction.UNKNOWN_SHIPMENT, "no shipment of ord_1 is requested: check the id, and that the order is confirmed"),
        (Contradiction.RECALLED, "the shipment of ord_1 is recalled, because the order is cancelled"),
        (Contradiction.LINES_EXCEEDED, "the shipment of ord_1 has no such units left to dispatch"),
        (Contradiction.ID_REUSED, "the carrier knows another parcel of this id"),
    ],
)
def test_refused_parcel_is_explained(monkeypatch: pytest.MonkeyPatch, code: Contradiction, line: str) -> None:
    def refuse(*_: object) -> str:
        raise CarrierRefused(code)

    monkeypatch.setattr(carrier.Carrier, "dispatch", refuse)
    with pytest.raises(UserError, match=f"^{line}$"):
        carrier.main(parsed("carrier", "--order", "ord_1", "--parcel", "parcel_1"))
