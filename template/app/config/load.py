"""Reading the settings, and saying in one line what is wrong with them."""

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from app.config.env import env_path, name_problems, read_env_file
from app.config.settings import Settings
from app.errors import StartupError


@lru_cache
def get_settings() -> Settings:
    """Return the settings of this process, read once.

    The environment wins over the file that ENV_FILE names (default `.env`; empty: none).
    Raises StartupError, which names the variable, its value and what is allowed.
    """
    path = env_path()
    in_file = read_env_file(path) if path else {}
    problems = name_problems(in_file, os.environ)
    if problems:
        raise StartupError("; ".join(problems))
    try:
        return _settings(in_file)
    except ValidationError as error:
        raise StartupError("; ".join(map(_explain, error.errors()))) from None


def value_problems(in_file: Mapping[str, str | None]) -> list[str]:
    """Return one line for every setting whose value is missing or not allowed."""
    try:
        _settings(in_file)
    except ValidationError as error:
        return [_explain(details) for details in error.errors()]
    return []


def _settings(in_file: Mapping[str, str | None]) -> Settings:
    in_environment = {name.upper() for name in os.environ}
    values: dict[str, Any] = {
        name.lower(): value
        for name, value in in_file.items()
        if name.lower() in Settings.model_fields and name.upper() not in in_environment
    }
    return Settings(**values)


def _explain(details: ErrorDetails) -> str:
    field_name = str(details["loc"][0]) if details["loc"] else "settings"
    name = field_name.upper()
    field = Settings.model_fields.get(field_name)
    meaning = field.description if field else None
    if details["type"] == "missing":
        return f"{name} is not set: put it into .env or the environment. {meaning}"
    message = details["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return f"{name}={_masked(field_name, details['input'])} {message}. {meaning}"


def _masked(field_name: str, value: object) -> str:
    field = Settings.model_fields.get(field_name)
    if field is None or field.annotation is SecretStr:
        return "********"
    if field_name.endswith("_url"):
        try:
            return make_url(str(value)).render_as_string(hide_password=True)
        except (ArgumentError, ValueError):
            return "********" if "@" in str(value) else str(value)
    return str(value)
