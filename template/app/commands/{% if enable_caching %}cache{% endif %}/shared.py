"""Looking into the store that commands share with the running service."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from app.cache.backend import shared_store
from app.cache.engine.entry import ConfigurationError
from app.cache.engine.store import Shared, StoreError
from app.commands.refusals import Refused
from app.config import Settings, get_settings

T = TypeVar("T")


class OnlyTheProcessKnows(Refused):
    """The cache is in the memory of the running process."""

    def __init__(self) -> None:
        super().__init__(
            "The cache is in the memory of the running process, so only that can "
            "tell. Ask it: the header Cache-Status of each answer says hit or miss "
            "and why, and LOG_CATEGORIES=CACHE logs it."
        )


def cache_settings() -> Settings:
    """Return the settings; raises Refused when caching is off."""
    settings = get_settings()
    if not settings.cache_enabled:
        raise Refused("Caching is off: set CACHE_ENABLED=true")
    return settings


def store_of(settings: Settings) -> Shared | None:
    """Return the store; None for memory. Raises Refused for settings of no server."""
    try:
        return shared_store(settings)
    except ConfigurationError as error:
        raise Refused(str(error)) from None


def look(shared: Shared | None, into: Callable[[Shared], Awaitable[T]]) -> T:
    """Return what is found in the store. Raises Refused when it does not answer."""
    if shared is None:
        raise OnlyTheProcessKnows

    async def run() -> T:
        try:
            return await into(shared)
        except StoreError as error:
            raise Refused(
                f"The cache does not answer: {error}; undelivered on this machine: "
                f"{shared.undelivered()}"
            ) from error
        finally:
            await shared.close()

    return asyncio.run(run())


class Count(NamedTuple):
    """How many entries and versions there are, and the bytes that they take."""

    entries: int = 0
    versions: int = 0
    bytes: int = 0


async def count(shared: Shared, prefix: str) -> dict[str, Count]:
    """Count what is stored, by the first segment of its key."""
    found: dict[str, Count] = {}
    async for place, size in shared.survey(f"{prefix}:"):
        kind, _, key = place.removeprefix(f"{prefix}:").partition(":")
        if kind not in ("entry", "value", "token"):
            continue
        is_version = kind == "token"
        if kind == "entry":
            key = key.rpartition("#")[0]  # without the variant
        name = key.partition(":")[0]
        entries, versions, used = found.get(name, Count())
        found[name] = Count(
            entries + (not is_version), versions + is_version, used + size
        )
    return dict(sorted(found.items()))
