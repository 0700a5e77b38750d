import re
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from app.config.types import CommaList

ORIGIN = re.compile(r"\*|https?://[^/?#\s]+")


class AppSettings(BaseSettings):
    environment: Literal["development", "production", "test"] = Field(
        default="development", description="Where the service runs"
    )
    cors_origins: CommaList = Field(
        default=(),
        description="Web origins whose pages may call the service, separated by commas,"
        " such as https://app.example.com; empty: none; *: all",
    )

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(f"has {origin!r}, which should be https:// and a host")
        return value
