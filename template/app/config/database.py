from pydantic import Field, field_validator

from app.config.address import parse_address
from app.config.driver import DriverSettings


class DatabaseSettings(DriverSettings):
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

    @field_validator("database_url")
    @classmethod
    def _understood(cls, value: str) -> str:
        return parse_address(value).render_as_string(hide_password=False)
