"""Reading the settings, and saying in one line what is wrong with them."""

import difflib
import os
import re
import time
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from app.config.database import shown as shown_address
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
        missing = any(details["type"] == "missing" for details in error.errors())
        if missing and path and not path.exists():
            lines.append(f"there is no {path} in {Path.cwd()}")
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
        return shown_address(str(value)) or MASK
    return repr(value)


# What Docker Compose and the servers beside the service read from the same file.
FOREIGN_PREFIXES = ("COMPOSE_", "DOCKER_", "POSTGRES_")
# What the libraries in this process read; they look for it in the environment.
LIBRARIES = ("OTEL_", "FASTAPI_", "UVICORN_", "SENTRY_", "TZ")
# Settings of parts that this service may have been rendered without.
PARTS = {
    "REDIS_": "-d enable_caching=true -d cache_backend=redis",
    "CACHE_TIMEOUT": "-d enable_caching=true -d cache_backend=redis",
    "CACHE_FALLBACK_TTL": "-d enable_caching=true -d cache_backend=redis",
    "CACHE_": "-d enable_caching=true",
    "DATABASE_CONNECT_TIMEOUT": "-d database=postgresql",
    "DATABASE_STATEMENT_TIMEOUT": "-d database=postgresql",
    "DATABASE_POOLER": "-d database=postgresql",
    "RATE_LIMIT_": "-d rate_limit=true",
}
SWITCHES = ("REDIS_ENABLED", "CACHE_ENABLED", "RATE_LIMIT_ENABLED")
OFF = ("", "0", "false", "no", "off", "f", "n")


def setting_names() -> list[str]:
    """Return the name of every setting, as written in `.env`."""
    return [name.upper() for name in Settings.model_fields]


def env_path() -> Path | None:
    """Return the file that ENV_FILE names; None when it is set to nothing."""
    name = os.environ.get("ENV_FILE", ".env")
    return Path(name) if name else None


def read_env_file(path: Path) -> dict[str, str | None]:
    """Return what a `.env` file sets; nothing when there is no such file.

    `${NAME}` stays as it is written: a password may hold it.
    """
    if not path.exists():
        if "ENV_FILE" in os.environ:
            raise StartupError(f"ENV_FILE={path} does not exist")
        return {}
    try:
        return dotenv_values(path, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"{path} cannot be read: {error}") from None


def hand_on(in_file: Mapping[str, str | None]) -> None:
    """Put what others in this process read into the environment, which wins."""
    for name, value in in_file.items():
        if value and name.startswith(LIBRARIES):
            os.environ.setdefault(name, value)
    if "TZ" in in_file and hasattr(time, "tzset"):
        time.tzset()


def name_problems(
    in_file: Mapping[str, str | None],
    environment: Mapping[str, str],
    *,
    leftovers: bool = True,
) -> list[str]:
    """Return one line for every name that is no setting.

    `leftovers` also counts what a part that is gone has left behind, though it does
    nothing: a service whose cache was switched has to start with its old file.

    In the environment, which is shared with others, only a switch counts that turns on
    a part that is not there.
    """
    lines = [_problem(name, value, leftovers) for name, value in in_file.items()]
    lines += [
        _problem(name, environment[name], leftovers)
        for name in SWITCHES
        if name in environment
    ]
    return list(dict.fromkeys(line for line in lines if line))


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that was probably meant."""
    return next(iter(difflib.get_close_matches(name, list(names), 1, 0.75)), None)


def _problem(name: str, value: str | None, leftovers: bool) -> str | None:
    known = setting_names()
    upper = name.upper()
    if upper in (*known, "ENV_FILE", "WEB_CONCURRENCY"):
        return None
    if upper.startswith(FOREIGN_PREFIXES + LIBRARIES):
        return None
    meant = nearest(upper, known)
    for prefix, answers in PARTS.items():
        if upper.startswith(prefix) and not any(it.startswith(prefix) for it in known):
            on = upper in SWITCHES and (value or "").lower() not in OFF
            if not on and (upper in SWITCHES or not leftovers):
                return None
            return (
                f"{name} belongs to a part that this service was rendered without;"
                " remove it, or add the part with:"
                f" api-admin update {answers}"
            )
    if meant:
        return f"{name} is no setting: did you mean {meant}?"
    return f"{name} is no setting, or no longer one: remove it, or see .env.example"
