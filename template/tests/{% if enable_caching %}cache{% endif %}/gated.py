"""A backend at whose operations the processes of a schedule wait."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi_cache.types import Backend

from app.cache.storage import PlainStorage, storage_over
from tests.cache.schedule import Schedule

_OF_STORAGE = (
    *("get_many", "put", "add_many", "fence", "renew"),
    *("acquire", "release"),
)
_OF_BACKEND = ("get", "get_with_ttl", "set", "clear")


def gated(backend: Backend, schedule: Schedule) -> Backend:
    """Put a gate before each operation that a cache asks of the backend."""
    own = not isinstance(storage_over(backend), PlainStorage)
    for name in _OF_STORAGE if own else _OF_BACKEND:
        setattr(backend, name, _gated(getattr(backend, name), schedule))
    if own:
        vars(backend)["acquire"] = _never_refused(storage_over(backend).acquire)
    return backend


def _gated(
    operation: Callable[..., Awaitable[Any]], schedule: Schedule
) -> Callable[..., Awaitable[Any]]:
    async def wait_and_operate(*args: Any, **kwargs: Any) -> Any:
        await schedule.gate()
        async with schedule.at_work():
            return await operation(*args, **kwargs)

    return wait_and_operate


def _never_refused(
    acquire: Callable[..., Awaitable[tuple[bool, bytes | None]]],
) -> Callable[..., Awaitable[tuple[bool, bytes | None]]]:
    # Who waits for a lease looks at the clock. More runs make more interleavings.
    async def acquire_always(*args: Any) -> tuple[bool, bytes | None]:
        _, value = await acquire(*args)
        return True, value

    return acquire_always
