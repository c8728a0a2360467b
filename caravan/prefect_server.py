"""How the Prefect server is run: offline, on its own database, with messaging on Valkey."""

import json
import sys
from pathlib import Path
from typing import Final

# Runs are disposable: what is older than this tells nobody anything.
_RUN_RETENTION_DAYS: Final = 14


def offline_settings(home: Path) -> dict[str, str]:
    """Return what server, runner and clients all need: no telemetry, no calls to the outside."""
    return {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
        "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }


def server_settings(
    home: Path, *, database_url: str, messaging_url: str, docket_url: str, public_url: str
) -> dict[str, str]:
    """Return the environment of the server process.

    Args:
        database_url: a database of Prefect's own, `postgresql+asyncpg://`; it needs pg_trgm.
        messaging_url: a Valkey database of its own.
        docket_url: another one.
        public_url: where the browser reaches the server, ending in `/api`.
    """
    return offline_settings(home) | {
        "PREFECT_API_DATABASE_CONNECTION_URL": database_url,
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "true",
        "PREFECT_SERVER_UI_API_URL": public_url,
        "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_REDIS_MESSAGING_URL": messaging_url,
        "PREFECT_SERVER_DOCKET_URL": docket_url,
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": json.dumps(["events", "flow_runs"]),
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(_RUN_RETENTION_DAYS * 86_400),
        # One person looks at one server: small pools keep it small.
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "5",
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "10",
    }


def server_command(*, host: str, port: int) -> list[str]:
    """Return the command line of the server process."""
    return [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        host,
        "--port",
        str(port),
        "--log-level",
        "WARNING",
    ]
