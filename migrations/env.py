"""Alembic's environment: online only, through the driver that the project runs on."""

import asyncio

from alembic import context
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from kit.db import make_engine
from migrations import metadata

assert metadata is SQLModel.metadata  # noqa: S101 - importing it filled the metadata


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


async def _online(url: str) -> None:
    engine = make_engine(url, pool_size=1, application="caravan-migrate")
    async with engine.connect() as connection:
        # Migrations may take longer than a request is allowed to.
        await connection.exec_driver_sql("SET statement_timeout = 0")
        await connection.exec_driver_sql("SET lock_timeout = '10s'")
        await connection.commit()
        await connection.run_sync(_run)
        await connection.commit()
    await engine.dispose()


asyncio.run(_online(context.config.attributes["url"]))
