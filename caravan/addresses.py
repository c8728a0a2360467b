"""Where the parts of a running stack are reached, kept in its home for the other commands."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from kit.settings import settings


class NoStack(RuntimeError):
    """No stack runs in this home and no database is set; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """URLs of one running stack; those with passwords stay in a file that only we can read."""

    database_url: str  # postgresql://
    redis_url: str
    api_url: str
    prefect_api_url: str
    sandbox_url: str | None
    supervisor_pid: int

    @property
    def prefect_ui_url(self) -> str:
        return self.prefect_api_url.removesuffix("/api")

    def write(self, home: Path) -> None:
        """Keep the addresses in `home`, readable by its owner only."""
        path = home / "stack.json"
        scratch = path.with_suffix(".new")
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        scratch.replace(path)

    @staticmethod
    def forget(home: Path) -> None:
        (home / "stack.json").unlink(missing_ok=True)

    @classmethod
    def read(cls, home: Path) -> "Addresses | None":
        """Return the addresses of the stack in `home`, or None when none was started there."""
        try:
            return cls(**json.loads((home / "stack.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None


def database_url() -> str:
    """Return the database that a command works on: the one set, or the running stack's.

    Raises:
        NoStack: neither is there.
    """
    configured = settings().database_url
    if configured is not None:
        return configured.get_secret_value()
    running = Addresses.read(settings().home)
    if running is None:
        raise NoStack(
            f"no stack runs in {settings().home}: start one with 'caravan up',"
            " or set CARAVAN_DATABASE_URL"
        )
    return running.database_url
