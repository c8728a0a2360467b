"""Loads a catalogue: all of it or nothing, and nothing twice."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from pydantic import ValidationError
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import campaigns
from inventory import budgets
from inventory.products import save_products
from kit import wakeups
from kit.clock import business_now
from kit.db import transaction
from kit.errors import Unprocessable
from kit.tables import Partner
from kit.upserts import Saved, upsert
from logistics.network_store import replace_lanes, save_carriers, save_warehouses
from operations.cap_groups import terms_on_sale
from operations.catalogue_document import Catalogue
from operations.catalogue_reading import Document, Problem, Unreadable, read
from operations.catalogue_rows import (
    agreements_of,
    campaign_terms,
    endpoint_rows,
    lane_rows,
    supplier_row,
)
from operations.catalogue_rules import Known, broken_rules
from suppliers import capability
from suppliers.agreements import save_agreements, save_suppliers, skus_of

MOST_PROBLEMS: Final = 100
_LOAD_LOCK: Final = 0xCA7A


class CatalogueInvalid(Unprocessable):
    """The document breaks rules; nothing was changed."""

    code: ClassVar[str] = "catalogue_invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more}")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the entries of one section."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a load did, by section."""

    name: str
    counts: Mapping[str, Counts]

    @property
    def changed_anything(self) -> bool:
        return any(each.added or each.changed or each.removed for each in self.counts.values())

    @property
    def sentence(self) -> str:
        """What the load did, for people.

        >>> LoadReport(name="a.yaml", counts={"products": Counts(added=2, unchanged=1)}).sentence
        'a.yaml: products 2 added, 1 unchanged'
        """
        parts = []
        for section, counts in self.counts.items():
            numbers = {
                "added": counts.added,
                "changed": counts.changed,
                "removed": counts.removed,
                "unchanged": counts.unchanged,
            }
            said = ", ".join(f"{number} {what}" for what, number in numbers.items() if number)
            if said:
                parts.append(f"{section} {said}")
        return f"{self.name}: {'; '.join(parts) or 'nothing in it'}"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a catalogue file."""
    document = Catalogue.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}


async def load_catalogue(document: bytes, *, name: str) -> LoadReport:
    """Load a catalogue document, YAML or JSON, in one transaction.

    Loading the same document again changes nothing. Changed terms of an agreement or a campaign
    become a new version; purchase orders and groups keep the version they were made under. What
    the document does not name stays, except the lanes of a warehouse that it does name.

    Args:
        name: the file's name, for problems.

    Raises:
        CatalogueInvalid: it breaks rules; at most the first hundred are told.
    """
    # A large file takes seconds to read, and others share this process.
    read_document, catalogue = await asyncio.to_thread(_understood, document, name)
    async with transaction(long=True) as session:
        # One load at a time: what it read of versions must not change before it writes.
        connection = await session.connection()
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOAD_LOCK})
        known = await _known(session, catalogue)
        broken = broken_rules(catalogue, known)
        if broken:
            raise CatalogueInvalid(
                [read_document.problem(place, rule) for place, rule in broken[:MOST_PROBLEMS]]
            )
        return LoadReport(name=name, counts=await _save(session, catalogue, known))


def _understood(content: bytes, name: str) -> tuple[Document, Catalogue]:
    try:
        document = read(content, name=name)
    except Unreadable as error:
        raise CatalogueInvalid([error.problem]) from error
    return document, _validated(document)


def _validated(document: Document) -> Catalogue:
    try:
        return Catalogue.model_validate(document.value)
    except ValidationError as error:
        raise CatalogueInvalid(
            [
                document.problem(found["loc"], _rule(found["type"], found["msg"], found["input"]))
                for found in error.errors(include_url=False)[:MOST_PROBLEMS]
            ]
        ) from error


def _rule(kind: str, message: str, value: object) -> str:
    if kind == "missing":
        return "the field is missing"
    if kind == "extra_forbidden":
        return "there is no such field"
    said = message.removeprefix("Value error, ")
    shown = f" (it is {value!r})" if isinstance(value, str | int | float | None) else ""
    return f"{said[:1].lower()}{said[1:]}{shown[:80]}"


async def _known(session: AsyncSession, catalogue: Catalogue) -> Known:
    """Return what the database knows of whatever the document refers to but does not hold."""
    agreements = [each for supplier in catalogue.suppliers for each in supplier.agreements]
    lanes = [lane for warehouse in catalogue.warehouses for lane in warehouse.lanes]
    skus = {each.sku for each in agreements} | {each.sku for each in catalogue.campaigns}
    return Known(
        skus=await _named(session, "product", "sku", skus),
        carriers=await _named(session, "carrier", "code", {lane.carrier for lane in lanes}),
        warehouses=await _named(
            session,
            "warehouse",
            "code",
            {code for supplier in catalogue.suppliers for code in supplier.freight_fen},
        ),
        campaigns=await campaigns.current(session, [each.code for each in catalogue.campaigns]),
        median_unit_fen=await campaigns.median_unit_prices(
            session, {each.sku for each in catalogue.campaigns}
        ),
    )


async def _named(
    session: AsyncSession, table: str, column: str, names: Collection[str]
) -> frozenset[str]:
    connection = await session.connection()
    rows = await connection.execute(
        text(f"SELECT {column} FROM {table} WHERE {column} = ANY(CAST(:names AS text[]))"),  # noqa: S608 - three constants above
        {"names": list(names)},
    )
    return frozenset(row[0] for row in rows)


async def _save(session: AsyncSession, catalogue: Catalogue, known: Known) -> Mapping[str, Counts]:
    products = await save_products(session, [each.model_dump() for each in catalogue.products])
    carriers = await save_carriers(
        session, [each.model_dump(exclude={"endpoint"}) for each in catalogue.carriers]
    )
    warehouses = await save_warehouses(
        session, [each.model_dump(exclude={"endpoint", "lanes"}) for each in catalogue.warehouses]
    )
    lanes = [row for warehouse in catalogue.warehouses for row in lane_rows(warehouse)]
    network = await replace_lanes(
        session, lanes, warehouses=[each.code for each in catalogue.warehouses]
    )
    suppliers = await save_suppliers(session, [supplier_row(each) for each in catalogue.suppliers])
    valid, ended = agreements_of(catalogue)
    agreements = await save_agreements(session, valid, ended=ended, now=await business_now(session))
    sold = await campaigns.save(
        session, [campaign_terms(each) for each in catalogue.campaigns], before=known.campaigns
    )
    endpoints = await _save_endpoints(session, catalogue)
    resupplied = {pair.sku for pair in agreements.touched}
    resupplied |= await skus_of(session, [code for (code,) in suppliers.touched])
    offered = {each.sku for each in catalogue.campaigns if each.code in sold.added | sold.changed}
    await _tell_budgets(session, resupplied | offered)
    if products.touched or resupplied or offered:
        await wakeups.wake(session, "cap_groups", reason="catalogue")
    return {
        "products": _counts(products, of=len(catalogue.products)),
        "carriers": _counts(carriers, of=len(catalogue.carriers)),
        "warehouses": _counts(warehouses, of=len(catalogue.warehouses)),
        "lanes": _counts(network.saved, of=len(lanes), removed=network.removed),
        "suppliers": _counts(suppliers, of=len(catalogue.suppliers)),
        "agreements": Counts(
            added=len(agreements.added),
            changed=len(agreements.changed),
            removed=len(agreements.ended),
            unchanged=len(valid) + len(ended) - len(agreements.touched),
        ),
        "campaigns": Counts(
            added=len(sold.added),
            changed=len(sold.changed),
            unchanged=len(catalogue.campaigns) - len(sold.added) - len(sold.changed),
        ),
        "endpoints": endpoints,
    }


async def _tell_budgets(session: AsyncSession, skus: Collection[str]) -> None:
    """Write what is on sale and what supply can do now; the clerk works the budgets out."""
    if not skus:
        return
    ordered = sorted(skus)
    await budgets.ensure(session, ordered)
    await budgets.set_terms(session, await terms_on_sale(session, ordered))
    await capability.refresh(session, ordered)
    await budgets.mark_dirty(session, ordered)


def _counts(saved: Saved, *, of: int, removed: int = 0) -> Counts:
    return Counts(
        added=len(saved.added),
        changed=len(saved.changed),
        unchanged=of - len(saved.touched),
        removed=removed,
    )


async def _save_endpoints(session: AsyncSession, catalogue: Catalogue) -> Counts:
    rows = endpoint_rows(catalogue)
    saved = await upsert(session, Partner, rows, key=["kind", "code"])
    return _counts(saved, of=len(rows))
