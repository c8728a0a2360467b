"""Warehouse systems: shelves, counts, goods in and parcels out."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from sandbox.answers import json_answer, parse
from sandbox.behaviours import WarehouseBehaviour
from sandbox.config import WarehouseConfig
from sandbox.consignments import Consignment
from sandbox.envelopes import in_parts
from sandbox.keyed import KeyedAnswers, idempotency_key
from sandbox.offices import Office
from sandbox.refusal import Refusal
from sandbox.wire import Despatch, PickedShipment, ShelfChange, ShelfLine

_STOCK_LIMIT: Final = 1000

# Called with the carrier's code and the tracking numbers that wait at the ramp.
HandOver = Callable[[str, Sequence[str]], None]


@dataclass(slots=True)
class Shelf:
    """Where one SKU lies."""

    on_hand: int = 0  # everything there
    held: int = 0  # the part of it that cannot be sold


@dataclass(slots=True, kw_only=True)
class Wave:
    """Parcels to make and to hand to one carrier."""

    wave_id: str
    carrier: str
    waiting: list[PickedShipment]  # could leave, if the goods are there
    later: list[PickedShipment] = field(default_factory=list)  # left behind on purpose
    status: str = "queued"

    def as_listed(self) -> dict[str, str]:
        """Return the wave as its call and its lookup show it."""
        return {"wave_id": self.wave_id, "status": self.status}


class Warehouse:
    """One warehouse system."""

    def __init__(
        self,
        config: WarehouseConfig,
        *,
        office: Office,
        carriers: Collection[str],
        hand_over: HandOver,
    ) -> None:
        self.office = office
        self.behaviour: WarehouseBehaviour = config.behaviour
        self._handling = timedelta(hours=config.handling_hours)
        self._carriers = carriers
        self._hand_over = hand_over
        self._shelves: dict[str, Shelf] = {}
        self._version = 0  # of the shelves, for the ETag
        self._waves: dict[str, Wave] = {}
        self._short_waves: list[Wave] = []  # ordered to leave, but goods are missing
        self._answers = KeyedAnswers()
        self._door = office.door(lambda: self.behaviour.answers)
        if config.snapshot_hours is not None:
            self._count_every(timedelta(hours=config.snapshot_hours))

    # --- the shop's calls -------------------------------------------------------------

    async def despatch(self, request: Request) -> Response:
        """POST /despatches."""

        def handle(body: bytes) -> Response:
            terms = parse(body, Despatch)
            key = idempotency_key(request, expected=terms.wave_id)
            if (given := self._answers.again(key, terms=terms)) is not None:
                return given
            if terms.carrier not in self._carriers:
                raise Refusal(422, "unknown_carrier", f"{terms.carrier} does not call here")
            wave = Wave(wave_id=terms.wave_id, carrier=terms.carrier, waiting=list(terms.shipments))
            self._waves[wave.wave_id] = wave
            self.office.counts["waves"] += 1
            leaves_at = max(self.office.clock.now + self._handling, terms.cut_off_at)
            self.office.clock.at(leaves_at, lambda: self._leave(wave))
            return self._answers.give(key, wave.as_listed(), terms=terms, status=202)

        return await self._door.answer(request, call="despatch", handle=handle)

    async def lookup(self, request: Request) -> Response:
        """GET /despatches?client_ref=WAVE_ID."""

        def handle(_: bytes) -> Response:
            wave = self._waves.get(request.query_params.get("client_ref", ""))
            return json_answer({"items": [] if wave is None else [wave.as_listed()]})

        return await self._door.answer(request, call="lookup", handle=handle)

    async def stock(self, request: Request) -> Response:
        """GET /stock?after=SKU&limit=N."""

        def handle(_: bytes) -> Response:
            etag = f'"{self.office.mark}-{self._version}"'
            if request.headers.get("if-none-match") == etag:
                return Response(status_code=304, headers={"ETag": etag})
            after = request.query_params.get("after", "")
            limit = _limit(request.query_params.get("limit"))
            skus = sorted(sku for sku in self._shelves if sku > after)
            page = skus[:limit]
            content = {
                "as_of": self.office.clock.now.isoformat(),
                "lines": [self._line(sku) for sku in page],
                "next": page[-1] if len(skus) > limit else None,
            }
            return json_answer(content, etag=etag)

        return await self._door.answer(request, call="stock", handle=handle)

    # --- what happens inside ----------------------------------------------------------

    def fill(self, lines: Sequence[ShelfLine]) -> None:
        """Put this on the shelves, and nothing else, and send a full count."""
        self._shelves = {
            line.sku: Shelf(line.on_hand, min(line.held, line.on_hand)) for line in lines
        }
        self._version += 1
        self.count()
        self._retry_short_waves()

    def change(self, changes: Sequence[ShelfChange]) -> None:
        """Let something break, be found or be put aside, and tell the shop.

        Raises:
            Refusal: more would go than lies there; nothing is changed then.
        """
        after: dict[str, Shelf] = {}
        for change in changes:
            if change.units == 0:
                raise Refusal(422, "validation", "units is not 0")
            known = self._shelves.get(change.sku, Shelf())
            shelf = after.setdefault(change.sku, Shelf(known.on_hand, known.held))
            shelf.on_hand += change.units
            if change.bucket == "held":
                shelf.held += change.units
        if any(not 0 <= shelf.held <= shelf.on_hand for shelf in after.values()):
            raise Refusal(409, "not_there", "more would go than lies there")
        self._shelves |= after
        self._version += 1
        deltas = [
            {
                "id": self.office.number("delta"),
                "sku": change.sku,
                "units": change.units,
                "bucket": change.bucket,
                "reason": change.reason,
                "occurred_at": self.office.clock.now.isoformat(),
            }
            for change in changes
        ]
        for part in in_parts(deltas):
            self._announce("inventory.delta", {"deltas": part})
        self._retry_short_waves()

    def count(self) -> None:
        """Count everything and send it as a snapshot, in parts when it is large."""
        as_of = self.office.clock.now.isoformat()
        lines = [self._counted(sku) for sku in sorted(self._shelves)]
        parts = list(in_parts(lines))
        for part in parts:
            data = {"as_of": as_of, "complete": len(parts) == 1, "lines": part}
            self._announce("inventory.snapshot", data)

    def receive(self, consignment: Consignment) -> None:
        """Take goods in at the gate and tell the shop."""
        for line in consignment.lines:
            shelf = self._shelves.setdefault(line.sku, Shelf())
            shelf.on_hand += line.good_units + line.damaged_units
            shelf.held += line.damaged_units
            self.office.counts["units_received"] += line.good_units + line.damaged_units
        self._version += 1
        data: dict[str, Any] = {
            "receipt_no": self.office.number("grn"),
            "client_ref": consignment.client_ref,
            "received_at": self.office.clock.now.isoformat(),
            "lines": [
                {
                    "line_no": line.line_no,
                    "good_units": line.good_units,
                    "damaged_units": line.damaged_units,
                }
                for line in consignment.lines
            ],
        }
        if consignment.asn_no is not None:
            data["asn_no"] = consignment.asn_no
        self._announce("receipt_advice.posted", data)
        self._retry_short_waves()

    def _leave(self, wave: Wave) -> None:
        part = self.behaviour.part_wave
        if self.office.chances.strikes("part_wave", part, subjects=(wave.wave_id,)):
            count = int(len(wave.waiting) * part.fraction)
            wave.waiting, wave.later = wave.waiting[:count], wave.waiting[count:]
            delay = timedelta(hours=part.rest_after_hours)
            self.office.clock.after(delay, lambda: self._leave_rest(wave))
        self._ship(wave)

    def _leave_rest(self, wave: Wave) -> None:
        wave.waiting += wave.later
        wave.later = []
        self._ship(wave)

    def _ship(self, wave: Wave) -> None:
        """Send what can leave; parcels whose goods are missing wait for the next goods."""
        leaving = [shipment for shipment in wave.waiting if self._pick(shipment)]
        gone = {shipment.shipment_id for shipment in leaving}
        wave.waiting = [shipment for shipment in wave.waiting if shipment.shipment_id not in gone]
        if wave.waiting and wave not in self._short_waves:
            self._short_waves.append(wave)
        if not leaving:
            return
        wave.status = "partly_despatched" if wave.waiting or wave.later else "despatched"
        self._version += 1
        self.office.counts["parcels"] += len(leaving)
        despatched_at = self.office.clock.now.isoformat()
        listed = [
            {"shipment_id": shipment.shipment_id, "tracking_no": shipment.tracking_no}
            for shipment in leaving
        ]
        for part in in_parts(listed):
            self._announce(
                "shipment.despatched",
                {"wave_id": wave.wave_id, "despatched_at": despatched_at, "shipments": part},
            )
        self._hand_over(wave.carrier, [shipment.tracking_no for shipment in leaving])

    def _pick(self, shipment: PickedShipment) -> bool:
        wanted: dict[str, int] = {}
        for line in shipment.lines:
            wanted[line.sku] = wanted.get(line.sku, 0) + line.units
        for sku, units in wanted.items():
            shelf = self._shelves.get(sku, Shelf())
            if shelf.on_hand - shelf.held < units:
                return False
        for sku, units in wanted.items():
            self._shelves[sku].on_hand -= units
            self.office.counts["units_shipped"] += units
        return True

    def _retry_short_waves(self) -> None:
        waves, self._short_waves = self._short_waves, []
        for wave in waves:
            self._ship(wave)

    def _count_every(self, pause: timedelta) -> None:
        def count() -> None:
            self.count()
            self._count_every(pause)

        self.office.clock.after(pause, count)

    def _line(self, sku: str) -> dict[str, Any]:
        shelf = self._shelves[sku]
        return {"sku": sku, "on_hand": shelf.on_hand, "held": shelf.held}

    def _counted(self, sku: str) -> dict[str, Any]:
        line = self._line(sku)
        miscount = self.behaviour.miscount
        if self.office.chances.strikes("miscount", miscount, subjects=(sku,)):
            line["on_hand"] = max(line["on_hand"] - miscount.units, line["held"])
        return line

    def _announce(self, kind: str, data: dict[str, Any]) -> None:
        self.office.counts[kind] += 1
        self.office.announcer.announce(kind, data, faults=self.behaviour.events)


def _limit(text: str | None) -> int:
    if text is None:
        return _STOCK_LIMIT
    if not text.isdecimal() or not 1 <= int(text) <= _STOCK_LIMIT:
        raise Refusal(422, "validation", f"limit is 1 to {_STOCK_LIMIT}")
    return int(text)
