"""Looking into the store that commands share with the running service."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, Protocol, TypeVar

from app.cache.engine.store import StoreError
from app.commands.refusals import Refused
from app.config import Settings, get_settings


class Shared(Protocol):
    """The store; StoreError when it does not answer, but for `undelivered`."""

    async def ping(self) -> None:
        """Make sure that the store answers."""
        ...

    async def describe(self) -> dict[str, str]:
        """Return what the server says of itself, by name."""
        ...

    async def processes(self) -> dict[str, dict[str, Any]]:
        """Return what each process that uses it last said of itself, by name."""
        ...

    def undelivered(self) -> str:
        """Return what processes on this machine could not tell it."""
        ...

    def survey(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """Yield every key that begins with `prefix`, and the bytes that it takes."""
        ...

    async def close(self) -> None:
        """Give up all connections."""
        ...


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
