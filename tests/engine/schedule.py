"""Concurrent coroutines, of which the test decides who takes the next step.

Each runs until it comes to a gate, and goes on when the test opens it. There is no
clock and no sleep, so a schedule can be found by Hypothesis and be replayed.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Result = TypeVar("Result")

_process: ContextVar[int | None] = ContextVar("process", default=None)
# Turns of the event loop within which all that can go on without a gate has done so.
_TURNS = 12


class Schedule:
    """The processes under way, by their numbers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._gates: dict[int, asyncio.Future[None]] = {}
        self._at_work = 0
        self._count = 0

    @property
    def waiting(self) -> list[int]:
        """Those who are at a gate, the oldest first."""
        return sorted(self._gates)

    def start(self, process: Coroutine[Any, Any, None]) -> int:
        """Run a coroutine until its first gate; return its number."""
        self._count += 1
        self.run(self._start(self._count, process))
        return self._count

    def step(self, number: int) -> None:
        """Let a process go on until its next gate; raises what it raises."""
        self._gates.pop(number).set_result(None)
        self.run(self._settle())

    def finish(self) -> None:
        """Let all go on to their ends, the oldest first; raises what one raises."""
        errors = []
        while self._gates:
            try:
                self.step(self.waiting[0])
            except Exception as error:
                errors.append(error)
        assert not self._tasks, "somebody waits for ever"
        if errors:
            raise errors[0]

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something at once that no gate holds up."""
        return self._loop.run_until_complete(work)

    async def gate(self) -> None:
        """Wait here until the test lets this process go on."""
        number = _process.get()
        if number is None:
            return
        gate = self._gates[number] = self._loop.create_future()
        await gate

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Say that what goes on here ends without a gate, however long it takes."""
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1

    async def _start(self, number: int, process: Coroutine[Any, Any, None]) -> None:
        _process.set(number)
        self._tasks[number] = asyncio.create_task(process)
        _process.set(None)
        await self._settle()

    async def _settle(self) -> None:
        turns = 0
        while turns < _TURNS:
            await asyncio.sleep(0)
            turns = 0 if self._at_work else turns + 1
        done = [number for number, task in self._tasks.items() if task.done()]
        results = [self._tasks.pop(number).exception() for number in done]
        for error in filter(None, results):
            raise error
