from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from app.config.server import CommaList

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
CATEGORIES = ("CACHE", "REQUESTS", "AUTH", "DATABASE", "ALL", "NONE")


class LogSettings(BaseSettings):
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severe lines to log"
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="What a line of the log is: text, for people, or json, one object"
        " a line",
    )
    log_categories: CommaList = Field(
        default=("REQUESTS", "AUTH"),
        description="What to log, separated by commas: CACHE, REQUESTS, AUTH, DATABASE,"
        " ALL or NONE. Warnings and errors are always logged",
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_any_case(cls, value: str) -> str:
        return value.upper() if str(value).upper() in LEVELS else value

    @field_validator("log_format", mode="before")
    @classmethod
    def _in_small_letters(cls, value: str) -> str:
        return str(value).lower()

    @field_validator("log_categories")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(name.upper() for name in value)
        for name in names:
            if name not in CATEGORIES:
                allowed = ", ".join(CATEGORIES)
                raise ValueError(f"has {name!r}, but allowed are {allowed}")
        if len(names) > 1 and "NONE" in names:
            raise ValueError("should name NONE alone or not at all")
        return names
