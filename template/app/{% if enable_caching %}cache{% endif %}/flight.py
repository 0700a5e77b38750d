"""Single flight: concurrent misses of one key wait for one run of the handler.

A run is told apart by its key *and* the versions of its namespaces, so a request that
starts after an invalidation never joins a run that began before it.
"""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Flight(Generic[T]):
    """One run, whose leader lands it with a result that all may share, or without."""

    def __init__(self) -> None:
        self._landed: asyncio.Future[T | None] = (
            asyncio.get_running_loop().create_future()
        )
        self.abandoned = False

    async def wait(self) -> T | None:
        """Return the leader's result, or None when each has to run for himself."""
        # The shield keeps a follower that is cancelled from cancelling the others.
        return await asyncio.shield(self._landed)

    def land(self, result: T | None, abandoned: bool) -> None:
        """Tell the followers; `abandoned` says that the handler was cancelled."""
        if not self._landed.done():
            self.abandoned = abandoned
            self._landed.set_result(result)


class Flights(Generic[T]):
    """The runs under way in this process; each is gone as soon as it has landed."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def under_way(self, key: Hashable) -> Flight[T] | None:
        """Return the run to follow, None when there is none."""
        return self._flights.get(key)

    def lead(self, key: Hashable) -> Flight[T]:
        """Begin a run that others can follow."""
        flight = self._flights[key] = Flight[T]()
        return flight

    def land(
        self,
        key: Hashable,
        flight: Flight[T],
        result: T | None,
        abandoned: bool,
    ) -> None:
        """End a run."""
        if self._flights.get(key) is flight:
            del self._flights[key]
        flight.land(result, abandoned)
