"""Looking into the store that commands share with the running service."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.cache.backend import shared_store
from app.cache.engine.entry import ConfigurationError
from app.cache.engine.store import StoreError
from app.commands.cache.view import Shared
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


def look(settings: Settings, into: Callable[[Shared], Awaitable[T]]) -> T:
    """Return what is found in the store. Raises Refused when it does not answer."""

    async def run() -> T:
        shared = store_of(settings)
        if shared is None:
            raise OnlyTheProcessKnows
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
