"""Opens the sandbox companies for a stack: their configuration, their secrets, their addresses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from caravan.partners import Endpoint
from kit.clock import business_now
from kit.db import transaction
from sandbox.config import SandboxConfig
from sandbox.keys import keep_keys

_CALLS_PER_SECOND: Final = 1_000.0
_CALLS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Companies:
    """Who stands around the shop, in the terms of the sandbox's configuration file."""

    suppliers: Sequence[Mapping[str, Any]] = ()
    warehouses: Sequence[Mapping[str, Any]] = ()
    carriers: Sequence[Mapping[str, Any]] = ()
    payments: Mapping[str, Any] = field(default_factory=dict)  # the provider's behaviour
    seed: int = 1
    ticks: bool = True  # their business time passes by itself

    def names(self) -> list[str]:
        """Return "suppliers/jade" and so on."""
        return [
            f"{kind}/{company['code']}"
            for kind, companies in self.by_kind().items()
            for company in companies
        ]

    def by_kind(self) -> dict[str, Sequence[Mapping[str, Any]]]:
        return {
            "suppliers": self.suppliers,
            "warehouses": self.warehouses,
            "carriers": self.carriers,
        }


def write_config(
    directory: Path, companies: Companies, *, caravan_url: str, start: datetime
) -> Path:
    """Write the companies' configuration beside their keys and return its path.

    The keys are made at the first call and kept; a company that is new gets a secret.
    """
    keys = keep_keys(directory, companies.names())
    provider = keys.provider().model_dump(mode="json") | {"behaviour": dict(companies.payments)}
    document: dict[str, Any] = {
        "caravan_url": caravan_url,
        "start": start.isoformat(),
        "seed": companies.seed,
        "ticks": companies.ticks,
        "payments": provider,
    }
    for kind, listed in companies.by_kind().items():
        document[kind] = [
            {**company, "secret": keys.secrets[f"{kind}/{company['code']}"]} for company in listed
        ]
    SandboxConfig.model_validate(document)  # our mistake, not the child's
    path = directory / "companies.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def endpoints(directory: Path, companies: Companies, *, sandbox_url: str) -> list[Endpoint]:
    """Return where Caravan calls each company and with which secret."""
    keys = keep_keys(directory, companies.names())
    return [
        Endpoint(
            kind=kind,
            code=str(company["code"]),
            url=f"{sandbox_url}/{kind}/{company['code']}",
            secret=keys.secrets[f"{kind}/{company['code']}"],
            per_second=_CALLS_PER_SECOND,
            at_once=_CALLS_AT_ONCE,
        )
        for kind, listed in companies.by_kind().items()
        for company in listed
    ]


async def of_database() -> Companies:
    """Return the companies that the loaded catalogue names, all of them well-behaved."""
    async with transaction() as session:
        connection = await session.connection()
        items = await connection.execute(
            text(
                "SELECT a.supplier, a.sku, a.capacity_per_day, a.lead_days"
                " FROM supply_agreement a WHERE a.valid_to IS NULL AND a.capacity_per_day > 0"
                " ORDER BY a.supplier, a.sku"
            )
        )
        sold: dict[str, list[dict[str, Any]]] = {}
        for row in items:
            sold.setdefault(row.supplier, []).append(
                {
                    "sku": row.sku,
                    "capacity_per_day": row.capacity_per_day,
                    "lead_days": row.lead_days,
                }
            )
        warehouses = await connection.exec_driver_sql("SELECT code FROM warehouse ORDER BY code")
        carriers = await connection.exec_driver_sql(
            "SELECT c.code, coalesce(min(l.first_fen), 600) AS first_fen,"
            " coalesce(min(l.step_fen), 100) AS step_fen"
            " FROM carrier c LEFT JOIN lane l ON l.carrier = c.code GROUP BY c.code ORDER BY c.code"
        )
        return Companies(
            suppliers=[{"code": code, "items": sold[code]} for code in sorted(sold)],
            warehouses=[{"code": row.code} for row in warehouses],
            carriers=[
                {
                    "code": row.code,
                    "tariff": {"base_fen": row.first_fen, "step_fen": row.step_fen},
                }
                for row in carriers
            ],
        )


async def start_time() -> datetime:
    """Return business time, for companies that open now."""
    async with transaction() as session:
        return await business_now(session)
