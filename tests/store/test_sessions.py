"""Tokens: shown once, kept as hashes, judged by the wall clock."""

import pytest

from groups import sessions
from kit.db import transaction
from tests.store.groups_world import add_token, count
from tests.store.rows import sql

pytestmark = pytest.mark.usefixtures("store")


async def test_a_buyer_is_made_once_and_known_by_every_token() -> None:
    first, ann = await add_token("ann")
    second, again = await add_token("ann")

    async with transaction() as session:
        found = await sessions.who_are(
            session, {sessions.token_hash(first), sessions.token_hash(second), b"nobody"}
        )

    assert ann == again
    assert {who.user_id for who in found.values()} == {ann}
    assert len(found) == 2
    assert await count("buyer") == 1


async def test_a_token_is_not_in_the_database() -> None:
    token, _ = await add_token("ann")

    (row,) = await sql("SELECT token_hash FROM session")

    assert len(token) >= 43  # 256 bit
    assert row.token_hash == sessions.token_hash(token)
    assert token.encode() not in row.token_hash


async def test_an_operators_token_carries_the_name_and_no_buyer() -> None:
    async with transaction() as session:
        token = await sessions.ops_token(session, "olga")
        who = await sessions.who(session, sessions.token_hash(token))

    assert who == sessions.Who(role="ops", user_id=None, actor="olga")


@pytest.mark.parametrize(
    ("change", "alive"),
    [
        ("UPDATE session SET used_at = now() - interval '119 minutes'", True),
        ("UPDATE session SET used_at = now() - interval '121 minutes'", False),
        ("UPDATE session SET expires_at = now() + interval '1 second'", True),
        ("UPDATE session SET expires_at = now()", False),
    ],
)
async def test_a_token_lives_two_hours_idle_and_seven_days_at_most(
    change: str, *, alive: bool
) -> None:
    token, _ = await add_token("ann")
    (lifetime,) = await sql("SELECT expires_at - created_at AS whole FROM session")
    await sql(change)

    async with transaction() as session:
        who = await sessions.who(session, sessions.token_hash(token))

    assert lifetime.whole.days == 7
    assert (who is not None) is alive
