"""What can be set from outside, read once when a process starts."""

from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

DAY_SECONDS = 86_400


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class Settings(BaseSettings):
    """Every setting is an environment variable `CARAVAN_<NAME>`; defaults suit one machine."""

    model_config = SettingsConfigDict(env_prefix="CARAVAN_", extra="ignore")

    env: Environment = Environment.DEVELOPMENT
    home: Path = Path(".caravan")
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    prefect_api_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("PREFECT_API_URL", "CARAVAN_PREFECT_API_URL"),
    )
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65_535)
    prefect_port: int = Field(default=4200, ge=1, le=65_535)
    api_workers: int = Field(default=1, ge=1, le=64)
    data_dir: Path = Path("../shared/data")
    cases_dir: Path = Path("../shared/optimizer-cases")

    # The payment provider: one WeChat Pay v3 merchant; the sandbox speaks the same protocol.
    pay_provider: str = "sandbox"
    pay_url: str | None = None
    pay_keys_dir: Path | None = None
    pay_notify_url: str | None = None

    # Partners' endpoints may lie on this machine only outside production.
    allowed_hosts: list[str] = ["127.0.0.1", "localhost"]
    approval_limit_fen: int = Field(default=5_000_000, ge=0)
    refunds_per_second: int = Field(default=100, ge=1, le=150)
    closing_grace_seconds: int = Field(default=600, ge=0)
    # A replay packs hours into minutes, but rates are judged by the wall clock.
    rate_limit_factor: int = Field(default=1, ge=1, le=10_000)

    db_pool_size: int = Field(default=8, ge=1, le=100)

    @field_validator("database_url", "redis_url")
    @classmethod
    def _is_url(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            if value is not None:
                make_url(value.get_secret_value())
        except (ArgumentError, ValueError):
            raise ValueError("it is no URL of a server") from None
        return value

    @property
    def production(self) -> bool:
        return self.env is Environment.PRODUCTION


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process; tests clear the cache after changing the environment."""
    return Settings()
