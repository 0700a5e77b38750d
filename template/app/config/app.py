import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from app.config.types import CommaList

ORIGIN = re.compile(r"\*|https?://[^/?#\s]+")


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


class AppSettings(BaseSettings):
    environment: Literal["development", "production", "test"] = Field(
        default="development", description="Where the service runs"
    )
    api_docs: Annotated[bool | None, BeforeValidator(_empty_is_none)] = Field(
        default=None,
        description="Whether /docs, /redoc and /openapi.json are served, true or false;"
        " empty: unless ENVIRONMENT is production",
    )
    hsts_max_age: int = Field(
        default=0,
        ge=0,
        le=63072000,
        description="How long browsers use https only, once they came by it, in"
        " seconds, 0 to 63072000; 0: as they like",
    )
    cors_credentials: bool = Field(
        default=False,
        description="Whether pages of CORS_ORIGINS may send cookies, true or false;"
        " tokens and API keys need no such right",
    )
    cors_origins: CommaList = Field(
        default=(),
        description="Web origins whose pages may call the service, separated by commas,"
        " such as https://app.example.com; empty: none; *: all",
    )

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(
        cls, value: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        if "*" in value and info.data.get("cors_credentials"):
            raise ValueError(
                "would let every page act as its visitor: name the origins, or leave"
                " out CORS_CREDENTIALS"
            )
        for origin in value:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(f"has {origin!r}, which should be https:// and a host")
        return value

    @property
    def serves_docs(self) -> bool:
        if self.api_docs is None:
            return self.environment != "production"
        return self.api_docs
