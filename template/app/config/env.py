"""The names in `.env`: which are settings, which are mistakes."""

import difflib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv import dotenv_values

from app.config.settings import Settings
from app.errors import StartupError

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
