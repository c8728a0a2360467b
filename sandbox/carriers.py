"""Carriers: rates, labels, and parcels that move until they are delivered."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from sandbox.answers import json_answer, parse
from sandbox.behaviours import CarrierBehaviour
from sandbox.config import CarrierConfig, Tariff
from sandbox.envelopes import in_parts
from sandbox.keyed import KeyedAnswers, idempotency_key
from sandbox.offices import Office
from sandbox.refusal import Refusal
from sandbox.wire import LabelOrder, Place, RateQuestion

UPDATES_PER_WEBHOOK: Final = 200  # docs/partners.md
_SAME_DAY: Final = timedelta(hours=6)  # a lane of 0 days still takes an afternoon
_LAST_MILE: Final = timedelta(hours=4)  # at most, before delivery
_TROUBLE: Final = timedelta(days=1)
_TOLD_LATE: Final = timedelta(hours=1)


@dataclass(slots=True, kw_only=True)
class Label:
    """A parcel's ticket."""

    label_id: str
    shipment_id: str
    tracking_no: str
    price_fen: int
    origin: Place
    destination: Place
    days: int
    voided: bool = False
    collected: bool = False

    def as_bought(self) -> dict[str, Any]:
        """Return the label as the call that bought it shows it."""
        return {
            "label_id": self.label_id,
            "shipment_id": self.shipment_id,
            "tracking_no": self.tracking_no,
            "price_fen": self.price_fen,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A thing that will happen to a parcel, and when the shop will hear of it."""

    status: str
    occurred_at: datetime
    told_at: datetime


def price_fen(tariff: Tariff, *, weight_grams: int) -> int:
    """Return first weight plus every begun step of continued weight.

    >>> tariff = Tariff(base_fen=600, base_grams=1000, step_fen=50, step_grams=100)
    >>> price_fen(tariff, weight_grams=1000), price_fen(tariff, weight_grams=1001)
    (600, 650)
    """
    over_grams = max(weight_grams - tariff.base_grams, 0)
    return tariff.base_fen + -(-over_grams // tariff.step_grams) * tariff.step_fen


class Carrier:
    """One carrier."""

    def __init__(self, config: CarrierConfig, *, office: Office) -> None:
        self._config = config
        self.office = office
        self.behaviour: CarrierBehaviour = config.behaviour
        self._lanes = {(lane.from_province, lane.to_province): lane.days for lane in config.lanes}
        self._labels: dict[str, Label] = {}  # by shipment_id
        self._labels_by_id: dict[str, Label] = {}
        self._parcels: dict[str, Label] = {}  # by tracking_no
        self._answers = KeyedAnswers()
        self._updates: list[dict[str, str]] = []  # of the present instant, not yet sent
        self._door = office.door(lambda: self.behaviour.answers)

    # --- the shop's calls -------------------------------------------------------------

    async def rates(self, request: Request) -> Response:
        """POST /rates."""

        def handle(body: bytes) -> Response:
            terms = parse(body, RateQuestion)
            return json_answer(
                {
                    "service": self._config.service,
                    "price_fen": price_fen(self._config.tariff, weight_grams=terms.weight_grams),
                    "days": self._days(terms.from_, terms.to.province),
                }
            )

        return await self._door.answer(request, call="rates", handle=handle)

    async def label(self, request: Request) -> Response:
        """POST /labels."""

        def handle(body: bytes) -> Response:
            terms = parse(body, LabelOrder)
            key = idempotency_key(request, expected=terms.shipment_id)
            if (given := self._answers.again(key, terms=terms)) is not None:
                return given
            label = Label(
                label_id=self.office.number("label"),
                shipment_id=terms.shipment_id,
                tracking_no=self.office.number("tn"),
                price_fen=price_fen(self._config.tariff, weight_grams=terms.weight_grams),
                origin=terms.from_,
                destination=Place(province=terms.to.province, city=terms.to.city),
                days=self._days(terms.from_, terms.to.province),
            )
            self._labels[label.shipment_id] = label
            self._labels_by_id[label.label_id] = label
            self._parcels[label.tracking_no] = label
            self.office.counts["labels"] += 1
            self.office.counts["labels_fen"] += label.price_fen
            if "label_created" in self._config.milestones:
                self._tell(label, status="label_created", occurred_at=self.office.clock.now)
            return self._answers.give(key, label.as_bought(), terms=terms, status=201)

        return await self._door.answer(request, call="label", handle=handle)

    async def lookup(self, request: Request) -> Response:
        """GET /labels?client_ref=SHIPMENT_ID."""

        def handle(_: bytes) -> Response:
            label = self._labels.get(request.query_params.get("client_ref", ""))
            items = [] if label is None else [{**label.as_bought(), "voided": label.voided}]
            return json_answer({"items": items})

        return await self._door.answer(request, call="lookup", handle=handle)

    async def void(self, request: Request) -> Response:
        """POST /labels/{label_id}/void."""

        def handle(_: bytes) -> Response:
            label = self._labels_by_id.get(request.path_params["label_id"])
            if label is None:
                raise Refusal(404, "unknown_label", "no such label")
            if label.collected:
                raise Refusal(409, "under_way", "the parcel is under way")
            if not label.voided:
                label.voided = True
                self.office.counts["labels_voided"] += 1
            return json_answer({**label.as_bought(), "voided": True})

        return await self._door.answer(request, call="void", handle=handle)

    # --- what happens on the road -----------------------------------------------------

    def collect(self, tracking_nos: Sequence[str]) -> None:
        """Take parcels from a warehouse's ramp; those without a valid label stay there."""
        now = self.office.clock.now
        by_instant: defaultdict[datetime, list[tuple[Label, Step]]] = defaultdict(list)
        for tracking_no in tracking_nos:
            label = self._parcels.get(tracking_no)
            if label is None or label.voided or label.collected:
                self.office.counts["parcels_refused"] += 1
                continue
            label.collected = True
            self.office.counts["parcels"] += 1
            for step in self._route(label, now=now):
                by_instant[step.told_at].append((label, step))
        for told_at, steps in by_instant.items():
            self.office.clock.at(told_at, partial(self._tell_all, steps))

    def _route(self, label: Label, *, now: datetime) -> list[Step]:
        strikes, behaviour = self.office.chances.strikes, self.behaviour
        parcel = (label.tracking_no, label.shipment_id)
        travel = timedelta(days=label.days) or _SAME_DAY
        arrives_at = now + travel
        moments = {
            "collected": now,
            "in_transit": now + travel / 2,
            "out_for_delivery": arrives_at - min(_LAST_MILE, travel / 4),
        }
        steps = [
            Step(status=status, occurred_at=moment, told_at=moment)
            for status, moment in moments.items()
            if status in self._config.milestones
        ]
        end = "delivered"
        if strikes("trouble", behaviour.trouble, subjects=parcel):
            steps.append(Step(status="exception", occurred_at=arrives_at, told_at=arrives_at))
            arrives_at += _TROUBLE
        if strikes("returned", behaviour.returned, subjects=parcel):
            end = "returned"
        if strikes("lost", behaviour.lost, subjects=parcel):
            end = "lost"
        steps.append(Step(status=end, occurred_at=arrives_at, told_at=arrives_at))
        if strikes("backwards", behaviour.backwards, subjects=parcel):
            steps.append(
                Step(
                    status="in_transit",
                    occurred_at=moments["in_transit"],
                    told_at=arrives_at + _TOLD_LATE,
                )
            )
        return steps

    def _tell_all(self, steps: Sequence[tuple[Label, Step]]) -> None:
        for label, step in steps:
            self._tell(label, status=step.status, occurred_at=step.occurred_at)

    def _tell(self, label: Label, *, status: str, occurred_at: datetime) -> None:
        self.office.counts[status] += 1
        here = label.origin if status in {"label_created", "collected"} else label.destination
        update = {
            "tracking_no": label.tracking_no,
            "event_id": self.office.number("scan"),
            "status": status,
            "occurred_at": occurred_at.isoformat(),
            "place": f"{here.province} {here.city}",
        }
        self._queue(update)
        repeated = self.behaviour.repeated
        if self.office.chances.strikes("repeated", repeated, subjects=(label.tracking_no,)):
            delay = timedelta(seconds=repeated.after_seconds)
            self.office.clock.after(delay, lambda: self._queue(update))

    def _queue(self, update: dict[str, str]) -> None:
        """Let an update go with all others of this instant."""
        if not self._updates:
            self.office.clock.closing(self._send)
        self._updates.append(update)

    def _send(self) -> None:
        updates, self._updates = self._updates, []
        for part in in_parts(updates, longest=UPDATES_PER_WEBHOOK - 1):
            batch = list(part)
            unknown = self.behaviour.unknown_parcel
            if self.office.chances.strikes("unknown_parcel", unknown):
                number = self.office.number("stray")
                batch.append({**batch[0], "tracking_no": number, "event_id": f"{number}-1"})
            self.office.counts["tracking.updated"] += 1
            self.office.announcer.announce(
                "tracking.updated", {"updates": batch}, faults=self.behaviour.events
            )

    def _days(self, origin: Place, to_province: str) -> int:
        lane = self._lanes.get((origin.province, to_province))
        if lane is not None:
            return lane
        days = self._config.days.get(to_province, self._config.default_days)
        if days is None:
            raise Refusal(422, "not_served", f"no parcels to {to_province}")
        return days
