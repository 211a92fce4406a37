"""Invariants of random order histories with late, duplicated and unordered commands and webhooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.domain import posting_rules
from orderflow.domain import commands, events
from orderflow.domain.commands import Command, Refusal, decide
from orderflow.domain.events import Event, StockLine
from orderflow.domain.order import Order, covers, evolve, fold, price, remaining, stock_lines
from tests.support import orders

SKUS = tuple(line.sku for line in orders.LINES)
RECEIVED = 10
FEES = posting_rules.Fees(basis_points=140, fixed={"EUR": 25})
SCREENING = (orders.APPROVE, orders.HOLD, orders.REFUSE)
SCREENING_AND_REVIEW = (*SCREENING, orders.APPROVE_REVIEW, orders.REJECT_REVIEW, orders.TIME_OUT_REVIEW)
COMPENSATIONS = (orders.RECALL, orders.FAIL_CANCELLATION, orders.VOID, orders.RELEASE, orders.REJECT, orders.COMPLETE_CANCELLATION)

names = st.sampled_from(("one", "two", "three"))
some_lines = st.dictionaries(st.sampled_from(SKUS), st.integers(1, 3), min_size=1).map(
    lambda wanted: tuple(StockLine(sku, quantity) for sku, quantity in wanted.items())
)


class Life(RuleBasedStateMachine):
    """The life of one order, with its stock, payment provider and ledger."""

    def __init__(self) -> None:
        """Start with a new order and full stock."""
        super().__init__()
        self.order = Order(order_id=orders.ORDER_ID)
        self.log: list[Event] = []
        self.available = Counter(dict.fromkeys(SKUS, RECEIVED))
        self.reserved, self.shipped = Counter[str](), Counter[str]()
        self.held = 0

        self.entries: list[posting_rules.Entry] = []

    @initialize()
    def place(self) -> None:
        """Place the order."""
        self.apply(orders.PLACE)

    def apply(self, command: Command) -> bool:
        """Apply a command; return whether it appended events. Refused and repeated commands change nothing."""
        decided = decide(self.order, command)
        if isinstance(decided, Refusal):
            assert decided.why
            return False
        for data in decided:
            event = orders.event(self.order, data)
            self.log.append(event)
            self.order = evolve(self.order, event)
            self.follow(event.data)
            with suppress(posting_rules.NoMoneyMoved):
                self.entries.append(posting_rules.entry_for(event, FEES))
        if decided:
            assert decide(self.order, command) == ()
        return bool(decided)

    def follow(self, data: events.EventData) -> None:
        """Update stock and provider by the event."""
        match data:
            case events.StockReserved(lines=lines):
                self.move(lines, self.available, self.reserved)
            case events.StockReleased(lines=lines) | events.ReservationExpired(lines=lines):
                self.move(lines, self.reserved, self.available)
            case events.ShipmentDispatched(lines=lines):
                self.move(lines, self.reserved, self.shipped)
            case events.ReturnReceived(lines=lines):
                self.move(lines, self.shipped, self.available)
            case events.PaymentAuthorized(amount=amount):
                self.held += amount.amount
            case events.PaymentCaptured(amount=amount) | events.PaymentVoided(amount=amount):
                self.held -= amount.amount
            case _:
                pass

    def move(self, lines: Iterable[StockLine], giver: Counter[str], taker: Counter[str]) -> None:
        """Move quantities between stock levels."""
        for line in lines:
            giver[line.sku] -= line.quantity
            taker[line.sku] += line.quantity

    @rule(command=st.sampled_from((orders.RESERVE, orders.SHORTAGE, orders.EXPIRE)))
    def stock(self, command: Command) -> None:
        """Reserve stock, record a shortage, or expire the reservation."""
        self.apply(command)

    @rule(
        command=st.sampled_from(
            (orders.APPROVE, orders.HOLD, orders.REFUSE, orders.APPROVE_REVIEW, orders.REJECT_REVIEW, orders.TIME_OUT_REVIEW)
        )
    )
    def screen_or_review(self, command: Command) -> None:
        """Screen the order, or have a reviewer decide."""
        self.apply(command)

    @rule(command=st.sampled_from((orders.AUTHORIZE, orders.DECLINE, orders.FAIL, orders.CONFIRM)))
    def run_saga_step(self, command: Command) -> None:
        """Run the next step of the saga, or fail the order."""
        self.apply(command)

    @rule()
    def confirm_and_ship(self) -> None:
        """Confirm an unblocked order, so that histories are long."""
        for command in (orders.RESERVE, orders.APPROVE, orders.AUTHORIZE, orders.CONFIRM, orders.SHIP):
            self.apply(command)

    @rule(
        command=st.sampled_from(
            (
                orders.CANCEL,
                orders.RECALL,
                orders.FAIL_CANCELLATION,
                orders.VOID,
                orders.RELEASE,
                orders.REJECT,
                orders.COMPLETE_CANCELLATION,
            )
        )
    )
    def compensate(self, command: Command) -> None:
        """Cancel, or run one compensation."""
        self.apply(command)

    @rule()
    def compensate_all(self) -> None:
        """Run all compensations as the saga does, which ends a failing or cancelled order."""
        for parcel in self.order.parcels:
            self.apply(commands.RecordCapture(parcel.parcel_id, f"cap_{parcel.parcel_id}"))
        for command in COMPENSATIONS:
            self.apply(command)
        assert self.order.state not in {"failing", "cancelling"}

    @rule(name=names, lines=some_lines)
    def dispatch(self, name: str, lines: tuple[StockLine, ...]) -> None:
        """Have the carrier report a parcel with arbitrary lines."""
        self.apply(commands.RecordDispatch(name, lines))

    @rule(name=names)
    def dispatch_the_rest(self, name: str) -> None:
        """Dispatch a parcel with all remaining lines."""
        self.apply(commands.RecordDispatch(name, remaining(self.order) if self.order.placed else ()))

    @rule(name=names, lost=st.booleans())
    def report_delivery_or_loss(self, name: str, lost: bool) -> None:
        """Have the carrier report a parcel as delivered or lost, known or not."""
        self.apply(commands.RecordLoss(name) if lost else commands.RecordDelivery(name))

    @rule(name=names)
    def capture(self, name: str) -> None:
        """Have the provider capture the amount of a parcel."""
        self.apply(commands.RecordCapture(name, f"cap_{name}"))

    @rule(name=names, kind=st.sampled_from(("parcel", "return")), number=st.integers(1, 2), part=st.booleans())
    def refund(self, name: str, kind: str, number: int, part: bool) -> None:
        """Have the provider refund a lost parcel or a return, in full or in part."""
        amount = orders.events.Money(1, "EUR") if part else None
        self.apply(commands.RecordRefund(f"ref_{kind}_{name}_{number}", f"{kind}:{name}", amount))

    @rule(name=names, lines=some_lines, days=st.integers(-1, 1))
    def request_return(self, name: str, lines: tuple[StockLine, ...], days: int) -> None:
        """Request a return, in time or too late."""
        self.apply(commands.RequestReturn(name, lines, "too small", orders.START + timedelta(days=days)))

    @rule(name=names)
    def receive_return(self, name: str) -> None:
        """Have the carrier report a received return."""
        self.apply(commands.RecordReturn(name))

    @rule(name=names, kind=st.sampled_from(("parcel", "return")), number=st.integers(1, 2))
    def fail_refund(self, name: str, kind: str, number: int) -> None:
        """Have the provider report a refund as failed, before or after it was recorded."""
        amount = orders.events.Money(1250, "EUR")
        self.apply(commands.RecordRefundFailure(f"ref_{kind}_{name}_{number}", f"{kind}:{name}", amount, "declined"))

    @rule(
        name=names,
        amount=st.integers(-1, 4000),
        currency=st.sampled_from(("EUR", "USD")),
        outcomes=st.lists(st.sampled_from(("won", "lost", "open")), max_size=3),
    )
    def dispute(self, name: str, amount: int, currency: str, outcomes: list[Any]) -> None:
        """Open a dispute in either currency and decide it several times."""
        self.apply(commands.RecordDispute(name, orders.events.Money(amount, currency), "not received"))
        for outcome in outcomes:
            self.apply(commands.ReopenDispute(name) if outcome == "open" else commands.CloseDispute(name, outcome))

    @rule(command=st.sampled_from((orders.SHIP, orders.INVOICE, orders.CREDIT)))
    def ship_or_invoice(self, command: Command) -> None:
        """Ship, invoice or credit the order."""
        self.apply(command)

    @precondition(lambda self: self.order.corrections)
    @rule(data=st.data())
    def credit(self, data: st.DataObject) -> None:
        """Issue the credit note of a correction, also repeatedly."""
        correction = data.draw(st.sampled_from(self.order.corrections))
        self.apply(commands.RecordCreditNote(f"CN-{correction.cause}", "CN.html", correction.cause))

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def repeat_any_command(self, data: st.DataObject) -> None:
        """Apply any command of the table, also repeatedly."""
        self.apply(data.draw(st.sampled_from(sorted(orders.COMMANDS.items())))[1])

    @invariant()
    def stock_is_conserved(self) -> None:
        """No stock level is negative, and the sum is constant."""
        for sku in SKUS:
            assert min(self.available[sku], self.reserved[sku], self.shipped[sku]) >= 0
            assert self.available[sku] + self.reserved[sku] + self.shipped[sku] == RECEIVED

    @invariant()
    def lines_are_credited_once(self) -> None:
        """Each invoice line is credited at most once, at its price, and only if the order was invoiced."""
        corrections = self.order.corrections
        assert len({one.cause for one in corrections}) == len(corrections)
        assert all(price(self.order, one.lines) == one.amount for one in corrections)
        assert sum(one.amount.amount for one in corrections) <= (self.order.total.amount if self.log else 0)
        assert covers(stock_lines(self.order) if self.log else (), [line for one in corrections for line in one.lines])
        noted = [event.data for event in self.log if isinstance(event.data, events.CreditNoteIssued)]
        assert {(data.cause, data.amount, data.number) for data in noted} == {
            (one.cause, one.amount, one.credit_note) for one in corrections if one.credit_note
        }
        assert not noted or self.order.invoice

    @invariant()
    def money_is_in_bounds(self) -> None:
        """Refunded never exceeds captured, nor captured authorized; an ended order holds no authorization."""
        authorized = sum(event.data.amount.amount for event in self.log if isinstance(event.data, events.PaymentAuthorized))
        assert 0 <= self.order.refunded <= self.order.captured <= authorized <= (self.order.total.amount if self.log else 0)
        assert self.held >= 0
        if self.order.state in {"rejected", "cancelled"}:
            assert self.held == 0

    @invariant()
    def ledger_is_balanced(self) -> None:
        """Every journal entry balances, and the accounts agree with the order and the provider."""
        assert all(posting_rules.total(posting_rules.net(entry.postings)) == 0 for entry in self.entries)
        accounts = posting_rules.balances(self.entries).get("EUR", Counter())
        assert posting_rules.total(accounts) == 0
        assert (accounts["holds"], accounts["authorizations"]) == (-self.held, self.held)
        assert (accounts["revenue"], accounts["refunds"]) == (-self.order.captured, self.order.refunded)
        for account, outcome in (("disputes", None), ("losses", "lost")):
            assert accounts[account] == sum(one.amount.amount for one in self.order.disputes if one.outcome == outcome)

    @invariant()
    def dispatched_lines_were_ordered(self) -> None:
        """Parcels and cancelled lines never exceed the order."""
        if self.log:
            moved = Counter[str]()
            for lines in (*(parcel.lines for parcel in self.order.parcels), self.order.cancelled):
                for line in lines:
                    moved[line.sku] += line.quantity
            assert all(moved[line.sku] <= line.quantity for line in stock_lines(self.order))

    @invariant()
    def order_ends_once(self) -> None:
        """An order is rejected or cancelled at most once; only reports and the credit note of an invoice follow."""
        kinds = [event.type for event in self.log if not orders.is_report(event.type)]
        assert len([kind for kind in kinds if kind in {"OrderRejected", "OrderCancelled"}]) <= 1
        if "OrderRejected" in kinds:
            assert kinds[-1] == "OrderRejected"
        if "OrderCancelled" in kinds:
            after = kinds[kinds.index("OrderCancelled") + 1 :]
            assert not after or (after == ["CreditNoteIssued"] and "InvoiceIssued" in kinds)
        assert kinds.count("OrderConfirmed") <= 1

    @invariant()
    def folding_the_log_gives_the_order(self) -> None:
        """Versions have no gap, and folding the log gives the order."""
        assert [event.order_version for event in self.log] == list(range(1, len(self.log) + 1))
        assert fold(orders.ORDER_ID, self.log) == self.order


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40)
