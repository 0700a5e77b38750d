"""Users, as clients see them."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from app.models.user import Role
from app.schemas.fields import Email, Name, NewPassword, Password


class UserOut(BaseModel):
    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": 1,
                    "email": "ada@example.com",
                    "first_name": "Ada",
                    "last_name": "Lovelace",
                    "role": "user",
                    "banned": False,
                    "created_at": "2026-01-02T14:23:45Z",
                    "updated_at": "2026-01-02T14:23:45Z",
                }
            ]
        },
    )

    id: int
    email: str
    first_name: str
    last_name: str
    role: Role
    banned: bool
    created_at: datetime
    updated_at: datetime


class UserUpdate(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "email": "ada@example.com",
                    "first_name": "Ada",
                    "last_name": "King",
                }
            ]
        },
    )

    email: Email
    first_name: Name
    last_name: Name


class PasswordChange(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "password": "a brand new passphrase",
                    "current_password": "correct horse battery staple",
                }
            ]
        },
    )

    password: NewPassword
    current_password: Password | None = Field(
        default=None, description="Needed to change one's own password"
    )
    revoke_api_keys: bool = Field(
        default=False, description="Delete the user's API keys, too"
    )


class SearchField(StrEnum):
    """Columns that a search can look into."""

    email = "email"
    first_name = "first_name"
    last_name = "last_name"
    role = "role"
