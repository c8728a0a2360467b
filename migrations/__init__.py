"""Alembic migrations of every room's tables."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlmodel import SQLModel

# Imported for their effect: each fills the one metadata.
from groups import tables as _groups
from inventory import tables as _inventory
from kit import tables as _kit
from logistics import tables as _logistics
from payments import tables as _payments
from suppliers import tables as _suppliers

ROOMS = (_groups, _inventory, _kit, _logistics, _payments, _suppliers)
metadata = SQLModel.metadata


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["url"] = url
    return config


def upgrade(url: str) -> None:
    """Bring the database at `url` to the newest schema; does nothing when it is there."""
    command.upgrade(_config(url), "head")


def draft(url: str, *, message: str, revision: str) -> None:
    """Write a migration module from what differs between the tables and the database."""
    command.revision(_config(url), message=message, rev_id=revision, autogenerate=True)


def check(url: str) -> None:
    """Raise when the tables in code differ from the database's schema."""
    command.check(_config(url))
