"""Where the database is: its address, as providers of PostgreSQL print it.

They print it for libpq, PostgreSQL's library for C. Its parameters are those of
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.errors import StartupError


class DatabaseSettings(BaseSettings):
    database_url: str = Field(
        repr=False,
        description="Where the data is: sqlite+aiosqlite:///data/app.db"
        " or postgresql+asyncpg://user:password@host:5432/name",
    )
    database_pool_size: int = Field(
        default=5, ge=1, le=1000, description="Open connections per process, 1 to 1000"
    )
    database_pool_timeout: float = Field(
        default=5.0,
        gt=0,
        le=300,
        description="Longest time that a request waits for a free connection, in "
        "seconds",
    )

    @field_validator("database_url")
    @classmethod
    def _understood(cls, value: str) -> str:
        return parse_address(value).render_as_string(hide_password=False)

    def database_arguments(self, *, limited: bool = True) -> dict[str, Any]:
        """Return what the driver has to be told besides the address."""
        return {}


DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
# asyncpg reads these from an address, as libpq does.
_DRIVERS_OWN = {
    *("host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version", "sslnegotiation"),
    *("target_session_attrs", "passfile", "krbsrvname", "gsslib"),
}
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_FOR_SERVER = {"application_name", "options"}
_KNOWN = _DRIVERS_OWN | _FOR_SERVER
_ALLOWED = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": (
        *("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
    ),
}
# Asking for no more than what is done anyway.
_DROPPED = {
    "channel_binding": ("prefer", "disable"),
    "gssencmode": ("prefer", "disable"),
    "client_encoding": ("auto", "utf8", "UTF8", "utf-8", "UTF-8"),
}
_OTHER_NAMES = {"ssl": "sslmode", "fallback_application_name": "application_name"}
_POOLER = "write DATABASE_POOLER=true in its place"
_INSTEAD = {
    "channel_binding": "write sslmode=verify-full in its place: it checks the server",
    "connection_limit": "write DATABASE_POOL_SIZE in its place",
    "pool_timeout": "write DATABASE_POOL_TIMEOUT in its place",
    "statement_timeout": "write DATABASE_STATEMENT_TIMEOUT in its place",
    "command_timeout": "write DATABASE_STATEMENT_TIMEOUT in its place",
    "timeout": "write connect_timeout in its place",
    "schema": "write options=-c%20search_path=NAME in its place",
    "search_path": "write options=-c%20search_path=NAME in its place",
    "currentSchema": "write options=-c%20search_path=NAME in its place",
    "sslpassword": "use a key without a password",
    "pgbouncer": _POOLER,
    "statement_cache_size": _POOLER,
    "prepared_statement_cache_size": _POOLER,
}


def parse_address(text: str) -> URL:
    """Return an address with the driver's name, and its parameters as libpq has them.

    Raises ValueError, which says what to write and shows no part of a password.
    """
    if _is_ambiguous(text):
        raise ValueError("has an @ in its password or user: write it as %40")
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        if "," in text:
            hosts = "name several hosts as ?host=one:5432,two:5432"
            raise ValueError(f"should be a URL; {hosts}") from None
        raise ValueError("should be a URL") from None
    if url.drivername not in DRIVERS:
        raise ValueError("should begin with sqlite+aiosqlite or postgresql+asyncpg")
    url = url.set(drivername=DRIVERS[url.drivername])
    if url.get_backend_name() == "postgresql":
        url = _complete(url)
    if not url.database:
        raise ValueError("should name the database after the last slash")
    if url.database == ":memory:":
        raise ValueError("should name a file: memory is not shared by connections")
    return url


def shown(text: str) -> str:
    """Return an address that may be logged; nothing of it where it cannot be told."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        return ""
    if _is_ambiguous(text) or any("password" in name.lower() for name in url.query):
        return ""
    return url.render_as_string()


def connect_timeout(text: str) -> str | None:
    """Return what an address says of the seconds to wait for a connection."""
    try:
        value = make_url(text).query.get("connect_timeout")
    except (ArgumentError, ValueError):
        return None
    return value if isinstance(value, str) else None


def driver_arguments(url: URL) -> dict[str, Any]:
    """Return what asyncpg's `connect` has to be told of the parameters of a URL.

    Raises StartupError for a file that is not there, which the driver would not name.
    """
    query = {k: v for k, v in url.query.items() if k != "connect_timeout"}
    settings = {name: query.pop(name) for name in _FOR_SERVER & query.keys()}
    arguments: dict[str, Any] = {"server_settings": settings}
    if query.get("sslrootcert") == "system":
        del query["sslrootcert"]
        query.pop("sslmode", None)
        arguments["ssl"] = True  # asyncpg's word for verify-full with the system's
    for name in _FILES:
        if name in query and not Path(str(query[name])).is_file():
            raise StartupError(
                f"DATABASE_URL has a {name} that is no file here: {query[name]}"
            )
    if query:
        arguments["dsn"] = f"postgresql://?{urlencode(query)}"
    return arguments


def _is_ambiguous(text: str) -> bool:
    """Return whether a password cannot be told from the host."""
    rest = text.partition("://")[2].partition("?")[0]
    login, _, place = rest.partition("/")[0].rpartition("@")
    if "@" in login.partition(":")[2]:
        return True
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        return rest.count("@") > 1
    return "@" in (url.host or "") or ("@" in (url.database or "") and not place)


def _complete(url: URL) -> URL:
    """Put what the parameters say of the address itself in its place."""
    for name in url.query:
        if not isinstance(url.query[name], str):
            raise ValueError(f"has the parameter {name} twice")
    query: dict[str, str] = {k: v for k, v in url.query.items() if isinstance(v, str)}
    url = url.set(
        username=query.pop("user", None) or url.username,
        password=query.pop("password", None) or url.password,
        database=query.pop("dbname", None) or url.database,
    )
    host = query.get("host") or ""
    if (url.host or "").lower().startswith("%2f"):
        query["host"] = (url.host or "").replace("%2F", "/").replace("%2f", "/")
        if url.port:
            query["port"] = str(url.port)
        url = url._replace(host=None, port=None)
    elif host and not host.startswith("/") and "," not in host:
        url = url.set(host=query.pop("host"), port=_port(query.pop("port", "")))
    return url.set(query=_translated(query))


def _port(text: str) -> int | None:
    if text and not text.isdecimal():
        raise ValueError("has a parameter port that is no number")
    return int(text) if text else None


def _translated(query: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters as libpq writes them, without those that change nothing."""
    translated = {}
    for given, value in query.items():
        name = _OTHER_NAMES.get(given, given)
        if given == "ssl":
            value = {"true": "require", "false": "disable"}.get(value, value)
        if value in _DROPPED.get(name, ()):
            continue
        if name == "connect_timeout":
            if not value.isdecimal():
                raise ValueError("has a connect_timeout that is no number of seconds")
        elif name not in _KNOWN:
            advice = _INSTEAD.get(name, "remove it")
            raise ValueError(
                f"has the parameter {given}, which the driver does not know: {advice}"
            )
        if value not in _ALLOWED.get(name, (value,)):
            allowed = ", ".join(_ALLOWED[name])
            raise ValueError(f"has a {given} that should be one of {allowed}")
        translated[name] = value
    return translated
