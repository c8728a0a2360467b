"""Buy the labels of locked waves, each once, whatever happens to the answers."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from kit.db import transaction
from kit.errors import CaravanError
from kit.outgoing import AnswerLost, Outgoing, Partner, PartnerRefused, PartnerUnavailable
from logistics import gateway, labels
from logistics.gateway import CARRIER, Label, LabelVoided
from logistics.labels import Refused, Wanted
from operations.companies import NoEndpoint, endpoint
from operations.ship_report import Tally

LABELS_AT_ONCE: Final = 16
LABELS_A_COMMIT: Final = 200
_VOIDS_A_RUN: Final = 100


async def buy_labels(
    outgoing: Outgoing,
    carrier: str,
    *,
    wave_ids: Sequence[UUID],
    asked: dict[str, UUID],
    tally: Tally,
) -> bool:
    """Ask for the next labels of a carrier and keep the answers; False when none are left."""
    try:
        partner = await endpoint(CARRIER, carrier)
    except NoEndpoint as error:
        tally.problems.append(str(error))
        return False
    async with transaction() as session:
        wanted = await labels.claim(
            session,
            carrier=carrier,
            wave_ids=wave_ids,
            after=asked.get(carrier),
            limit=LABELS_A_COMMIT,
        )
    if not wanted:
        return False
    places = asyncio.Semaphore(LABELS_AT_ONCE)
    answers = await asyncio.gather(
        *(_ask(outgoing, partner, each, places=places, tally=tally) for each in wanted)
    )
    bought = [answer for answer in answers if isinstance(answer, Label)]
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    async with transaction() as session:
        await labels.record(session, bought=bought, refused=refused)
    known = {label.shipment_id for label in bought} | {no.shipment_id for no in refused}
    tally.unknown |= {each.ticket.shipment_id for each in wanted} - known
    tally.labels_refused += len(refused)
    tally.problems += [f"{carrier}: {answer.reason}" for answer in refused]
    asked[carrier] = wanted[-1].ticket.shipment_id
    return True


async def _ask(
    outgoing: Outgoing,
    carrier: Partner,
    wanted: Wanted,
    *,
    places: asyncio.Semaphore,
    tally: Tally,
) -> Label | Refused | None:
    """Return the label, or the carrier's no, or None when it cannot be known now."""
    shipment_id = wanted.ticket.shipment_id
    async with places:
        try:
            if not wanted.asked:
                try:
                    label = await gateway.buy_label(outgoing, carrier, wanted.ticket)
                except AnswerLost:
                    pass  # it may be bought: look before asking again
                else:
                    tally.labels_bought += 1
                    return label
            found = await gateway.find_label(outgoing, carrier, shipment_id)
            if found is not None:
                tally.labels_found += 1
                return found
            label = await gateway.buy_label(outgoing, carrier, wanted.ticket)
        except (AnswerLost, PartnerUnavailable):
            return None
        except (PartnerRefused, LabelVoided) as no:
            return Refused(shipment_id=shipment_id, reason=str(no))
        tally.labels_bought += 1
        return label


async def void_left_over(outgoing: Outgoing, *, tally: Tally) -> None:
    """Give back the labels of parcels that were cancelled after theirs was bought."""
    async with transaction() as session:
        left_over = await labels.superfluous(session, limit=_VOIDS_A_RUN)
    done: list[UUID] = []
    for shipment_id, carrier, label_id in left_over:
        try:
            partner = await endpoint(CARRIER, carrier)
            known = label_id
            if known is None:
                found = await gateway.find_label(outgoing, partner, shipment_id)
                known = None if found is None else found.label_id
            if known is not None:
                await gateway.void_label(outgoing, partner, known)
            done.append(shipment_id)
        except LabelVoided:
            done.append(shipment_id)
        except (AnswerLost, CaravanError) as error:
            tally.problems.append(f"label of {shipment_id}: {error}")
    async with transaction() as session:
        await labels.set_voided(session, done)
    tally.labels_voided += len(done)
