"""Reading the settings, and saying in one line what is wrong with them."""

import os
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from app.config.env import env_path, name_problems, read_env_file
from app.config.settings import Settings
from app.errors import StartupError

MASK = "********"


@lru_cache
def get_settings() -> Settings:
    """Return the settings of this process, read once.

    The environment wins over the file that ENV_FILE names (default `.env`; empty: no
    file). Raises StartupError, which names variable, value and what is allowed.
    """
    path = env_path()
    in_file = read_env_file(path) if path else {}
    if problems := name_problems(in_file, os.environ, leftovers=False):
        raise StartupError("; ".join(problems))
    try:
        return Settings(**_values(in_file))
    except ValidationError as error:
        lines = [_explain(details) for details in error.errors()]
        raise StartupError("; ".join(lines)) from None


def value_problems(
    in_file: Mapping[str, str | None], besides: Collection[str] = ()
) -> list[str]:
    """Return one line for every wrong value, except for the settings in `besides`."""
    try:
        Settings(**_values(in_file))
    except ValidationError as error:
        return [
            _explain(details)
            for details in error.errors()
            if _field_name(details).upper() not in besides
        ]
    return []


def _values(in_file: Mapping[str, str | None]) -> dict[str, Any]:
    """Return what the file says and the environment does not."""
    in_environment = {name.lower() for name in os.environ}
    in_file = {name.lower(): value for name, value in in_file.items()}
    names = Settings.model_fields.keys() & in_file.keys() - in_environment
    return {name: in_file[name] for name in names}


def _explain(details: ErrorDetails) -> str:
    name = _field_name(details)
    field = Settings.model_fields.get(name)
    meaning = f" ({field.description})" if field else ""
    if details["type"] == "missing":
        return (
            f"{name.upper()} is not set: put it into .env or the environment{meaning}"
        )
    problem = details["msg"].removeprefix("Value error, ")
    problem = problem.replace("Input should", "should").replace(
        "String should", "should"
    )
    return f"{name.upper()}={_shown(name, details['input'])} {problem}{meaning}"


def _field_name(details: ErrorDetails) -> str:
    return str(details["loc"][0]) if details["loc"] else ""


def _shown(name: str, value: object) -> str:
    """Return a value that may be logged."""
    field = Settings.model_fields.get(name)
    if field is None or field.annotation is SecretStr:
        return MASK
    if name.endswith("_url") and "@" in str(value):
        try:
            return make_url(str(value)).render_as_string()
        except (ArgumentError, ValueError):
            return MASK
    return repr(value)
