import uuid
from typing import Any

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings
from sqlalchemy import make_url

from app.config.address import connect_timeout, driver_arguments, parse_address


class DatabaseSettings(BaseSettings):
    database_url: str = Field(
        repr=False,
        description="Where the data is: sqlite+aiosqlite:///data/app.db"
        " or postgresql+asyncpg://user:password@host:5432/name",
    )
    database_pool_size: int = Field(
        default=5, ge=1, le=1000, description="Open connections per process, 1 to 1000"
    )
    database_pool_timeout: float = Field(
        default=5.0,
        gt=0,
        le=300,
        description="Longest time that a request waits for a free connection, in "
        "seconds",
    )
    database_connect_timeout: float = Field(
        default=5.0,
        gt=0,
        le=300,
        description="Longest time that connecting to PostgreSQL takes, in seconds",
    )
    database_statement_timeout: float = Field(
        default=10.0,
        gt=0,
        le=86400,
        description="Longest time that PostgreSQL has for a statement, in seconds; "
        "migrations have no limit",
    )
    database_pooler: bool = Field(
        default=False,
        description="PostgreSQL is behind a pooler that lends a connection for one "
        "transaction, such as PgBouncer",
    )

    @field_validator("database_url")
    @classmethod
    def _understood(cls, value: str) -> str:
        return parse_address(value).render_as_string(hide_password=False)

    @model_validator(mode="before")
    @classmethod
    def _timeout_of_the_address(cls, values: dict[str, Any]) -> dict[str, Any]:
        seconds = connect_timeout(str(values.get("database_url", "")))
        # To libpq, 0 is no limit.
        if seconds and seconds.isdecimal() and int(seconds):
            values.setdefault("database_connect_timeout", seconds)
        return values

    def database_arguments(self, *, limited: bool = True) -> dict[str, Any]:
        """Return what the driver has to be told besides the address.

        Only a `limited` connection ends a statement that takes too long.
        """
        url = make_url(self.database_url)
        if url.get_backend_name() == "sqlite":
            return {}
        arguments = driver_arguments(url)
        arguments["timeout"] = self.database_connect_timeout
        if limited:
            arguments["command_timeout"] = self.database_statement_timeout
        if self.database_pooler:
            # The next transaction may be on a connection that does not know what was
            # prepared on this one, or knows another statement by its name.
            arguments["statement_cache_size"] = 0
            arguments["prepared_statement_cache_size"] = 0
            arguments["prepared_statement_name_func"] = _statement_name
        return arguments


def _statement_name() -> str:
    return f"__asyncpg_{uuid.uuid4()}__"
