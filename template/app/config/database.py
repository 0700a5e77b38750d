from pydantic import Field, field_validator
from pydantic_settings import BaseSettings
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


class DatabaseSettings(BaseSettings):
    database_url: str = Field(
        repr=False,
        description="Where the data is: sqlite+aiosqlite:///data/app.db"
        " or postgresql+asyncpg://user:password@host:5432/name",
    )
    database_pool_size: int = Field(
        default=5, ge=1, le=1000, description="Open connections per process, 1 to 1000"
    )

    @field_validator("database_url")
    @classmethod
    def _known_driver(cls, value: str) -> str:
        try:
            url = make_url(value)
        except (ArgumentError, ValueError):
            raise ValueError("should be a URL") from None
        if url.drivername not in DRIVERS:
            raise ValueError("should begin with sqlite+aiosqlite or postgresql+asyncpg")
        if not url.database:
            raise ValueError("should name the database after the last slash")
        if url.database == ":memory:":
            raise ValueError("should name a file: memory is not shared by connections")
        url = url.set(drivername=DRIVERS[url.drivername])
        return url.render_as_string(hide_password=False)
