"""API keys, as clients see them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from app.managers.scopes import ALL_SCOPES, Scope
from app.schemas.fields import Expiry, Name

MAX_SCOPES = max(20, len(ALL_SCOPES))

EXAMPLE: JsonDict = {
    "id": 1,
    "name": "nightly report",
    "prefix": "k3v9x0q2ma",
    "scopes": ["profile:read"],
    "active": True,
    "expires_at": "2099-01-01T00:00:00Z",
    "last_used_at": None,
    "created_at": "2026-01-02T14:23:45Z",
}


class ApiKeyOut(BaseModel):
    model_config = ConfigDict(
        from_attributes=True, json_schema_extra={"examples": [EXAMPLE]}
    )

    id: int
    name: str
    prefix: str = Field(description="The public part of the key's text")
    scopes: list[str]
    active: bool
    expires_at: datetime | None
    last_used_at: datetime | None = Field(
        description="Up to a minute behind; null if the key was never used"
    )
    created_at: datetime


class ApiKeyCreated(ApiKeyOut):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                EXAMPLE
                | {"key": "ak_1_k3v9x0q2ma_5gB1…the rest is shown only this once"}
            ]
        }
    )

    key: str = Field(description="The key's text, which is not shown again")


class ApiKeyCreate(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "nightly report",
                    "scopes": ["profile:read"],
                    "expires_at": "2099-01-01T00:00:00Z",
                }
            ]
        },
    )

    name: Name
    scopes: list[Scope] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_SCOPES,
        description="Without: all that the user may read",
    )
    expires_at: Expiry | None = Field(
        default=None,
        description="A time to come, with its offset. Without: never, or when the"
        " API key that creates this one expires",
    )


def _optional(schema: JsonDict) -> None:
    """The default stands for "leave as it is" and is no value to send."""
    del schema["default"]


class ApiKeyUpdate(BaseModel):
    """Only the fields that are sent change."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"active": False}]}
    )

    name: Name = Field(default="", json_schema_extra=_optional)
    active: bool = Field(default=True, json_schema_extra=_optional)
    scopes: list[Scope] = Field(
        default=[], min_length=1, max_length=MAX_SCOPES, json_schema_extra=_optional
    )
    expires_at: Expiry | None = Field(
        default=None,
        json_schema_extra=_optional,
        description="A time to come, with its offset; null: never",
    )
