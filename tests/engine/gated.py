"""A store at whose operations the processes of a schedule wait."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from app.cache.engine.store import Store
from tests.engine.schedule import Schedule

_OPERATIONS = "get_many", "put", "add_many", "fence", "renew", "acquire", "release"


def gated(store: Store, schedule: Schedule) -> Store:
    """Put a gate before each operation that a cache asks of the store."""
    put_gates(store, _OPERATIONS, schedule)
    vars(store)["acquire"] = _never_refused(store.acquire)
    return store


def put_gates(thing: object, operations: Collection[str], schedule: Schedule) -> None:
    """Put a gate before each of these operations."""
    for name in operations:
        setattr(thing, name, _gated(getattr(thing, name), schedule))


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
