"""Registration, login, and the tokens that they give."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.fields import Email, Name, NewPassword, Password, Text


class Registration(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "email": "ada@example.com",
                    "password": "correct horse battery staple",
                    "first_name": "Ada",
                    "last_name": "Lovelace",
                }
            ]
        },
    )

    email: Email
    password: NewPassword
    first_name: Name
    last_name: Name


class Login(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "email": "ada@example.com",
                    "password": "correct horse battery staple",
                }
            ]
        },
    )

    email: Email
    password: Password


class Refresh(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"refresh": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"}]},
    )

    refresh: Annotated[Text, Field(min_length=1, max_length=4096)]


class TokenPair(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "token": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
                    "refresh": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
                    "token_type": "bearer",
                    "expires_in": 900,
                }
            ]
        },
    )

    token: str = Field(description="Goes into `Authorization: Bearer …`")
    refresh: str = Field(description="Gives the next pair, once")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a name
    expires_in: int = Field(description="Seconds that `token` is valid for")


class SessionOut(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0f1c7b9e5a2d48368c4b6f0a1e9d7352",
                    "created_at": "2026-01-02T14:23:45Z",
                    "expires_at": "2026-02-01T14:23:45Z",
                    "current": True,
                }
            ]
        },
    )

    id: str
    created_at: datetime = Field(description="When the user logged in")
    expires_at: datetime = Field(description="Each refresh moves it on")
    current: bool = Field(description="Whether it is the session that asks")


class Message(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"message": "You are logged out."}]}
    )

    message: str
