"""What the provider said and nobody can believe: kept for a person, never applied."""

import json
from typing import Any, ClassVar

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.errors import Unprocessable
from kit.ids import new_id


class WrongMoney(Unprocessable):
    """The provider tells of money that is not what was asked for; recorded, nothing applied."""

    code: ClassVar[str] = "wrong_money"

    def __init__(self, reason: str, **detail: Any) -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


async def keep(
    session: AsyncSession, wrong: WrongMoney, *, provider: str, external_id: str
) -> None:
    """Keep an anomaly, once per message and reason."""
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO payment_anomaly (id, provider, external_id, reason, detail)"
            " SELECT CAST(:id AS uuid), CAST(:provider AS text), CAST(:external_id AS text),"
            " CAST(:reason AS text), CAST(:detail AS jsonb)"
            " WHERE NOT EXISTS (SELECT FROM payment_anomaly WHERE provider = :provider"
            " AND external_id = :external_id AND reason = :reason)"
        ),
        {
            "id": new_id(),
            "provider": provider,
            "external_id": external_id,
            "reason": wrong.reason,
            "detail": json.dumps(wrong.detail),
        },
    )
