"""The audit: a sound shop is clean, and each planted violation is reported, alone, with its row."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from kit.db import transaction
from operations.audit import Violation, audit
from operations.audit.report import INVARIANTS, MOST_ROWS
from tests.store import audit_plants_of_demand, audit_plants_of_supply
from tests.store.audit_plant import Plant
from tests.store.audit_world import build

pytestmark = pytest.mark.usefixtures("store")


async def _world() -> dict[str, UUID]:
    async with transaction() as session:
        return await build(session)


def _named(ids: dict[str, UUID]) -> dict[str, Any]:
    return {name.replace(" ", "_"): value for name, value in ids.items()}


async def _run(statements: tuple[str, ...], ids: dict[str, UUID]) -> None:
    async with transaction() as session:
        connection = await session.connection()
        for statement in statements:
            await connection.execute(text(statement), _named(ids))


async def _found() -> list[Violation]:
    return list((await audit()).violations)


async def test_a_sound_shop_is_clean() -> None:
    await _world()

    report = await audit()

    assert report.violations == ()
    assert report.checked == tuple(invariant.name for invariant in INVARIANTS)
    assert len(set(report.checked)) == 36


PLANTS = (*audit_plants_of_demand.PLANTS, *audit_plants_of_supply.PLANTS)


@pytest.mark.parametrize(
    "planted", PLANTS, ids=[f"{each.invariant}-{each.says[:40]}" for each in PLANTS]
)
async def test_each_planted_violation_is_found_alone_with_its_row(planted: Plant) -> None:
    ids = await _world()
    ids["new"] = UUID(int=7)
    await _run(planted.statements, ids)

    found = await _found()

    assert [(each.invariant, each.row) for each in found] == [
        (planted.invariant, planted.row.format_map(ids))
    ], found
    assert planted.says.format_map(ids) in found[0].detail


def test_every_invariant_has_a_plant() -> None:
    assert {each.invariant for each in PLANTS} == {invariant.name for invariant in INVARIANTS}


async def test_a_rule_broken_everywhere_is_told_a_hundred_times() -> None:
    async with transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "INSERT INTO ledger_transaction (id, kind, reference, occurred_at)"
            " SELECT gen_random_uuid(), 'earn', n::text, now() FROM generate_series(1, 500) n"
        )

    assert len(await _found()) == MOST_ROWS


async def test_the_audit_sees_one_moment_and_writes_nothing() -> None:
    await _world()
    async with transaction() as session:
        connection = await session.connection()
        # Not committed: the audit must neither see it nor wait for it.
        await connection.exec_driver_sql("UPDATE stock_level SET on_hand = 99")

        assert await _found() == []
