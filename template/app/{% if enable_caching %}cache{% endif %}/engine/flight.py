"""Single flight: concurrent misses of one key wait for one run of the handler.

A run is told apart by its place *and* the versions that it began with, so a request
that starts after an invalidation never joins a run that began before it.
"""

import asyncio
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Generic, TypeVar

from anyio import to_thread

T = TypeVar("T")

LONGEST_WAIT = 20.0  # seconds that a request waits for the run of another one
_MOST_LENT = 1000  # threads


class Flight(Generic[T]):
    """One run, whose leader lands it with a result that all may share, or without."""

    def __init__(self) -> None:
        self._landed: asyncio.Future[T | None]
        self._landed = asyncio.get_running_loop().create_future()
        self.abandoned = False
        self.waiting = 0

    async def wait(self, seconds: float, *, in_thread: bool) -> T | None:
        """Return the leader's result, or None when each has to run for himself.

        `in_thread` says that one of anyio's worker threads waits for this. Raises
        TimeoutError after so many seconds.
        """
        with _lent_thread() if in_thread else nullcontext():
            self.waiting += 1
            try:
                async with asyncio.timeout(seconds):
                    # The shield keeps a cancelled follower from cancelling others.
                    return await asyncio.shield(self._landed)
            finally:
                self.waiting -= 1

    def land(self, result: T | None, *, abandoned: bool) -> None:
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

    @property
    def waiting(self) -> int:
        """How many follow one of them."""
        return sum(flight.waiting for flight in self._flights.values())

    def under_way(self, run: Hashable) -> Flight[T] | None:
        """Return the run to follow, None when there is none."""
        return self._flights.get(run)

    def lead(self, run: Hashable) -> Flight[T]:
        """Begin a run that others can follow."""
        flight = self._flights[run] = Flight[T]()
        return flight

    def land(
        self, run: Hashable, flight: Flight[T], result: T | None, *, abandoned: bool
    ) -> None:
        """End a run."""
        if self._flights.get(run) is flight:
            del self._flights[run]
        flight.land(result, abandoned=abandoned)


_lent = 0


@contextmanager
def _lent_thread() -> Iterator[None]:
    """Let another call have the place of a worker thread that only waits.

    A function that is called in a thread cannot give that back. Without this, as many
    followers as there are threads would keep their leader from ever getting one.
    """
    global _lent
    if _lent >= _MOST_LENT:
        yield
        return
    threads = to_thread.current_default_thread_limiter()
    threads.total_tokens += 1
    _lent += 1
    try:
        yield
    finally:
        _lent -= 1
        threads.total_tokens -= 1
