"""Examples of requests and answers."""

ORDER_ID = "ord_ibazlc3eqvbfdeoiwt32n4tofu"
REQUEST = {
    "lines": [{"sku": "MUG-BLUE", "quantity": 2}],
    "shipping_address": {"name": "Ann Lee", "street": "1 High St", "city": "Leeds", "postal_code": "LS1 1AA", "country": "GB"},
    "payment": {"token": "tok_approved", "country": "GB"},
}
LINE = {"sku": "MUG-BLUE", "name": "Blue mug", "quantity": 2, "unit_price": {"amount": 1250, "currency": "EUR"}}
ORDER = {
    "order_id": ORDER_ID,
    "state": "placed",
    "lines": [LINE],
    "total": {"amount": 2500, "currency": "EUR"},
    "placed_at": "2026-01-15T10:30:00.123456Z",
}
MUG = {"sku": "MUG-BLUE", "quantity": 1}
RETURN = {
    "return_id": "ret_2xq6wn4jv7hcd5t3yb2zkoemru",
    "state": "requested",
    "lines": [MUG],
    "requested_at": "2026-01-20T09:00:00.123456Z",
    "reason": "too small",
}
DELIVERED = ORDER | {
    "state": "delivered",
    "parcels": [
        {"parcel_id": "parcel_1", "lines": [MUG | {"quantity": 2}], "state": "delivered", "delivered_at": "2026-01-17T12:00:00.123456Z"}
    ],
    "returns": [RETURN],
    "captured": {"amount": 2500, "currency": "EUR"},
}
LIST = {
    "orders": [
        {
            "order_id": ORDER_ID,
            "state": "confirmed",
            "total": {"amount": 2500, "currency": "EUR"},
            "items": 2,
            "placed_at": "2026-01-15T10:30:00.123456Z",
            "updated_at": "2026-01-15T10:30:01.234567Z",
        }
    ],
    "next": "mVtK8v0H3mKQm7n2MjAyNi0wMS0xNVQxMDozMDowMC4xMjM0NTZaI29yZF9pYmF6bGMz",
}
REJECTED = ORDER | {"state": "rejected", "reason": "out_of_stock", "details": ["MUG-BLUE"]}
TIMELINE = {
    "order_id": ORDER_ID,
    "events": [
        {
            "version": 2,
            "type": "StockReserved",
            "occurred_at": "2026-01-15T10:30:00.456789Z",
            "source": "inventory",
            "event_id": f"{ORDER_ID}:2",
            "causation_id": f"{ORDER_ID}:1",
            "data": {"lines": [{"sku": "MUG-BLUE", "quantity": 2}]},
        }
    ],
}
PRODUCT = {
    "sku": "MUG-BLUE",
    "name": "Blue mug",
    "unit_price": {"amount": 1250, "currency": "EUR"},
    "availability": "in_stock",
    "category": "tableware",
}
PRODUCTS = {"products": [PRODUCT], "next": "MUG-BLUE"}
SALES = {
    "per": "day",
    "sales": [
        {
            "period": "2026-01-15",
            "orders": 120,
            "outcomes": [
                {"outcome": "confirmed", "orders": 114, "basis_points": 9500},
                {"outcome": "payment_declined", "orders": 6, "basis_points": 500},
            ],
            "revenue": [{"amount": 285000, "currency": "EUR"}],
            "refunds": [{"amount": 1250, "currency": "EUR"}],
            "stock_outs": 0,
            "cancelled_later": 3,
        }
    ],
}
LEADERBOARD = {"products": [{"sku": "MUG-BLUE", "units": 42}, {"sku": "FILTER-100", "units": 17}], "day": "2026-01-15"}
DECIDED_AT = "2026-01-15T12:00:00.123456Z"
DECISION = {"order_id": ORDER_ID, "decision": "approve", "reviewer": "rex", "note": "known customer", "decided_at": DECIDED_AT}
REVIEWS = {
    "reviews": [
        {
            "order_id": ORDER_ID,
            "opened_at": "2026-01-15T10:30:01.123456Z",
            "total": {"amount": 289900, "currency": "EUR"},
            "score": 60,
            "reasons": ["amount_large"],
        }
    ],
    "next": "WyJvcmRfMSIsIjIwMjYtMDEtMTUiXQ",
}
