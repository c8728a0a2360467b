"""Suppliers over HTTP: send an order under its own id, and ask by that id what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar, Final, TypeVar
from uuid import UUID

import msgspec

from kit.errors import Conflict
from kit.outgoing import Outgoing
from kit.partners import Answer, AnswerLost, Partner, PartnerRefused
from suppliers.orders import SupplyOrder

Kind = TypeVar("Kind")

_LONGEST_REASON: Final = 300


class OrderRefused(Conflict):
    """The supplier will never take this order."""

    code: ClassVar[str] = "supplier.order_refused"

    def __init__(self, supplier: str, reason: str) -> None:
        super().__init__(f"{supplier} refused the order: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The supplier has the order."""

    supplier_ref: str


class _Listed(msgspec.Struct, frozen=True):
    supplier_ref: str
    client_ref: str


class _Lookup(msgspec.Struct, frozen=True):
    items: list[_Listed]


def order_document(order: SupplyOrder, *, ordered_at: datetime) -> dict[str, Any]:
    """Return an order as suppliers read it."""
    return {
        "client_ref": str(order.id),
        "ordered_at": ordered_at.isoformat(),
        "currency": "CNY",
        "lines": [
            {
                "line_no": line.line_no,
                "sku": line.sku,
                "warehouse": line.warehouse,
                "units": line.units.unanswered_units,
                "unit_price_fen": line.unit_price_fen,
                "requested_at": line.requested_at.isoformat(),
            }
            for line in order.lines
            if line.units.unanswered_units
        ],
    }


@dataclass(frozen=True, slots=True)
class SupplierGateway:
    """One supplier's endpoint."""

    outgoing: Outgoing
    partner: Partner

    async def send(self, order: SupplyOrder, *, ordered_at: datetime) -> Taken:
        """Send the order; the same order again is answered in the same way.

        `ordered_at` must be the same on every try, because the supplier compares the documents.

        Raises:
            OrderRefused: the supplier will never take it (422).
            PartnerRefused: another refusal, which says more about our set-up than about the order.
            PartnerUnavailable: nothing happened; try again later.
            AnswerLost: it may have happened; look it up before anything else.
        """
        try:
            answer = await self.outgoing.post(
                self.partner,
                "/purchase-orders",
                document=order_document(order, ordered_at=ordered_at),
                idempotency_key=str(order.id),
            )
        except PartnerRefused as refused:
            if refused.status == HTTPStatus.UNPROCESSABLE_ENTITY:
                raise OrderRefused(self.partner.code, _reason(refused.body)) from refused
            raise
        return self._taken([_document(answer, _Listed)], order.id)

    async def look_up(self, po_id: UUID) -> Taken | None:
        """Return what the supplier knows of the order, None when it never heard of it.

        Raises:
            PartnerUnavailable: it cannot be asked now.
            PartnerRefused: it will not say.
            AnswerLost: its answer cannot be understood.
        """
        answer = await self.outgoing.get(
            self.partner, "/purchase-orders", params={"client_ref": str(po_id)}
        )
        found = _document(answer, _Lookup).items
        return self._taken(found, po_id) if found else None

    def _taken(self, found: Sequence[_Listed], po_id: UUID) -> Taken:
        for listed in found:
            if listed.client_ref == str(po_id):
                return Taken(supplier_ref=listed.supplier_ref)
        raise AnswerLost(f"{self.partner.code} answered about another order than {po_id}")


def _document(answer: Answer, kind: type[Kind]) -> Kind:
    try:
        return msgspec.convert(answer.document, type=kind)
    except msgspec.ValidationError as error:
        raise AnswerLost(f"the answer is not what the protocol says: {error}") from error


def _reason(body: bytes) -> str:
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "no reason given"
    code, message = document.get("code", ""), document.get("message", "")
    return f"{code}: {message}"[:_LONGEST_REASON]
