"""Reading the settings, and saying in one line what is wrong with them."""

import os
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from app.config import address
from app.config.env import env_path, hand_on, name_problems, read_env_file
from app.config.settings import Settings
from app.errors import StartupError

MASK = "********"
# What Kubernetes sets as MAIL_PORT in all pods beside a service "mail".
LINK = re.compile(r"(tcp|udp|sctp)://")


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
    hand_on(in_file)
    try:
        return Settings(**_values(in_file))
    except ValidationError as error:
        lines = [_explain(details, in_file) for details in error.errors()]
        raise StartupError("; ".join(lines)) from None


def value_problems(
    in_file: Mapping[str, str | None], besides: Collection[str] = ()
) -> list[str]:
    """Return one line for every wrong value, except for the settings in `besides`."""
    try:
        Settings(**_values(in_file))
    except ValidationError as error:
        return [
            _explain(details, in_file)
            for details in error.errors()
            if _field_name(details).upper() not in besides
        ]
    return []


def _values(in_file: Mapping[str, str | None]) -> dict[str, Any]:
    """Return what the file says and the environment does not."""
    environment = {name.lower(): value for name, value in os.environ.items()}
    in_file = {name.lower(): value for name, value in in_file.items()}
    names = Settings.model_fields.keys() & in_file.keys() - environment.keys()
    values: dict[str, Any] = {name: in_file[name] for name in names}
    if _workers_name(in_file) == "WEB_CONCURRENCY":
        values["workers"] = {**in_file, **environment}["web_concurrency"]
    for name in Settings.model_fields.keys() & environment.keys():
        if name.endswith("_port") and LINK.match(environment[name]):
            values[name] = in_file.get(name, Settings.model_fields[name].default)
    return values


def _workers_name(in_file: Mapping[str, str | None]) -> str:
    """Return which of its two names, ours and that of platforms, WORKERS was given."""
    for given in (os.environ, in_file):
        for name in ("WORKERS", "WEB_CONCURRENCY"):
            if name in {it.upper() for it in given}:
                return name
    return "WORKERS"


def _explain(details: ErrorDetails, in_file: Mapping[str, str | None]) -> str:
    name = _field_name(details)
    written = _workers_name(in_file) if name == "workers" else name.upper()
    field = Settings.model_fields.get(name)
    meaning = f" ({field.description})" if field else ""
    if details["type"] == "missing":
        return f"{written} is not set: put it into .env or the environment{meaning}"
    problem = details["msg"].removeprefix("Value error, ")
    if not name:  # of several settings together, which it names
        return problem
    problem = problem.replace("Input should", "should").replace(
        "String should", "should"
    )
    return f"{written}={_shown(name, details['input'])} {problem}{meaning}"


def _field_name(details: ErrorDetails) -> str:
    return str(details["loc"][0]) if details["loc"] else ""


def _shown(name: str, value: object) -> str:
    """Return a value that may be logged."""
    field = Settings.model_fields.get(name)
    if field is None or field.annotation is SecretStr:
        return MASK
    if name.endswith("_url") and ("@" in str(value) or "password" in str(value)):
        return address.shown(str(value)) or MASK
    return repr(value)
